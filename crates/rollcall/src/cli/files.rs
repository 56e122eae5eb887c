//! `rollcall import` and `export`.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::{Context as _, Result};
use clap::Args;
use indicatif::HumanCount;
use rollcall_server::StopSignals;

use super::backend::{Backend, transfer};
use super::caller::caller;
use super::output::{IN_PART, Output, Stdout, counted};
use crate::directory::Source;
use crate::export::{self, export};
use crate::hub::Hub;
use crate::import::{
    self, Counts, DeletionLimit, Delimiter, Dn, Format, ImportReport, Mapping, Options, Problem, import,
};
use crate::private;

/// How many kinds of messages people are shown; JSON has more.
const SHOWN: usize = 20;
/// Of how many further entries people are shown the lines for each kind.
const ENTRIES: usize = 3;

const IMPORTS: &str = r#"Examples:
  Look first, then do it; again whenever the file changes:
    rollcall import people.csv --dry-run
    rollcall import people.csv

  A CSV file that a spreadsheet wrote, with columns of its own:
    rollcall import hr.csv --mapping username=Login \
        --mapping display_name=Name --mapping path=Department \
        --mapping status=Active --mapping custom.costCentre="Cost centre"

  A whole directory each night; what it lacks is deleted:
    rollcall import company.ldif --base dc=example,dc=org \
        --owner ldap:example --delete-missing --max-deletions 5%

Exit codes:
  0  everything is done
  1  it failed
  2  the file or the command cannot work like this
  3  done in part: entries refused, deletions withheld, stopped"#;

/// Import users, units and groups from a file.
///
/// Only differences become changes. Entries that are refused are listed with their lines, and the rest is imported.
/// An email address, phone number or description that cannot be one is noted and left out. Ctrl-C, or
/// SIGTERM, stops after the portion that is being written; the same command goes on where it stopped. With --server
/// the file is sent to the hub, which takes 256 MiB at most.
///
/// CSV: the first line names the columns, in any order. username, display_name and path are required. email, phone
/// (+49 170 1234567) or phone_region and phone_number, external_id, description, further_paths, groups, status,
/// expires and custom.NAME may be left out; what they say then stays as it is. `path` is the primary organizational
/// unit from below the root, such as Engineering/Optics; units that are missing are made. `further_paths` and
/// `groups` are lists separated by `;`. A `/` or `;` inside a name is written `\/` or `\;`. `status` is enabled,
/// active, true, yes or 1, or disabled, inactive, false, no or 0. `expires` is a date or a time. The file is UTF-8;
/// `;` and tabs between the columns are recognised.
///
/// LDIF: what OpenLDAP, Active Directory and others export. organizationalUnit entries become units, the tree of
/// their names the tree of units; inetOrgPerson, user and posixAccount entries become users; groupOfNames,
/// groupOfUniqueNames, posixGroup and group entries become groups with their members. The username is uid or
/// sAMAccountName, otherwise what stands before the @ of userPrincipalName or mail; an entry with none of them is
/// refused. An entry without mail becomes a user without email.
///
/// JSON lines: what `rollcall export --format jsonl` writes.
#[derive(Debug, Args)]
#[command(after_long_help = IMPORTS)]
pub(super) struct Import {
    /// The file; `-` reads the standard input.
    pub(super) file: PathBuf,
    /// csv, ldif or jsonl. Left out: told from the file's name.
    #[arg(long, value_enum)]
    pub(super) format: Option<FileFormat>,
    /// A field has another column or attribute, such as username=Login or email=mail,otherMailbox: the first
    /// that has a value counts. Repeat for several fields.
    #[arg(long, value_name = "FIELD=NAME")]
    pub(super) mapping: Vec<String>,
    /// CSV: what separates the columns: comma, semicolon or tab. Left out: told from the header.
    #[arg(long, value_name = "NAME")]
    pub(super) delimiter: Option<Delimiter>,
    /// LDIF: the entry that is the root here, such as ou=Company,dc=example,dc=org. What is elsewhere is
    /// passed over. Left out: what all entries have in common of the dc, o and c at the top.
    #[arg(long, value_name = "DN", value_parser = Dn::parse)]
    pub(super) base: Option<Dn>,
    /// To whom everything belongs that is imported, such as ldap:example. The import then leaves alone what
    /// belongs to others.
    #[arg(long, value_name = "TYPE:ID")]
    pub(super) owner: Option<Source>,
    /// Take over what belongs to others and is in the file.
    #[arg(long)]
    pub(super) adopt: bool,
    /// Say what would be done, and do nothing.
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Delete what belongs to the owner and is not in the file.
    #[arg(long, requires = "owner")]
    pub(super) delete_missing: bool,
    /// With --delete-missing: delete nothing if more than this would go, a number or a percentage.
    #[arg(long, value_name = "N|N%", default_value = "10%")]
    pub(super) max_deletions: DeletionLimit,
}

/// A file format.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(super) enum FileFormat {
    /// A line for each user, under a header.
    Csv,
    /// What LDAP servers export.
    Ldif,
    /// A JSON object for each unit, user and group: everything, without loss.
    Jsonl,
}

impl From<FileFormat> for Format {
    fn from(format: FileFormat) -> Self {
        match format {
            FileFormat::Csv => Self::Csv,
            FileFormat::Ldif => Self::Ldif,
            FileFormat::Jsonl => Self::Jsonl,
        }
    }
}

/// Export users, units and groups.
///
/// What is written can be imported again without a difference. JSON lines hold everything; CSV holds users with their
/// units and groups, but no empty units or groups; LDIF holds what LDAP has attributes for, in a form that OpenLDAP's
/// slapadd loads. Passwords are never exported.
#[derive(Debug, Args)]
pub(super) struct Export {
    /// The file; `-` writes to the standard output.
    #[arg(default_value = "-")]
    pub(super) file: PathBuf,
    /// csv, ldif or jsonl. Left out: told from the file's name; jsonl for the standard output.
    #[arg(long, value_enum)]
    pub(super) format: Option<FileFormat>,
    /// LDIF: the entry above everything.
    #[arg(long, value_name = "DN", value_parser = Dn::parse, default_value = "dc=rollcall")]
    pub(super) base: Dn,
}

pub(super) async fn run_import(backend: &Backend, out: &Output, arguments: Import) -> Result<ExitCode> {
    let from_stdin = arguments.file == Path::new("-");
    let format = match arguments.format {
        Some(format) => format.into(),
        None => Format::of(&arguments.file)?,
    };
    // A file is read in several passes, which a pipe cannot be.
    let spool = if from_stdin {
        let mut spool = tempfile::Builder::new()
            .prefix("stdin")
            .tempfile()
            .context("no temporary file can be made")?;
        io::copy(&mut io::stdin().lock(), &mut spool).context("the standard input cannot be read")?;
        spool.flush()?;
        Some(spool)
    } else {
        None
    };
    let file = spool
        .as_ref()
        .map_or(arguments.file.as_path(), |spool| spool.path());
    let bar = match out.json {
        true => indicatif::ProgressBar::hidden(),
        false => indicatif::ProgressBar::new_spinner(),
    };
    let progress = |what: &str, done: u64| {
        bar.set_message(format!("{done} {what}"));
        bar.tick();
    };
    let report = match backend {
        Backend::Server(client) => transfer::import(client, &arguments, file, format, progress).await,
        Backend::Database(database) => {
            let options = plan_of(&arguments, file, format)?;
            carry_out(&database.hub, progress, &arguments, options).await
        }
    };
    bar.finish_and_clear();
    let report = report?;
    out.show(&report, || lines_of(&report));
    Ok(match report.is_complete() {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(IN_PART),
    })
}

fn plan_of(arguments: &Import, file: &Path, format: Format) -> Result<Options> {
    Ok(Options {
        mapping: Mapping::parse(&arguments.mapping)?,
        delimiter: arguments.delimiter,
        base: arguments.base.clone(),
        owner: arguments.owner.clone(),
        adopt: arguments.adopt,
        dry_run: arguments.dry_run,
        delete_missing: arguments.delete_missing.then_some(arguments.max_deletions),
        ..Options::of(file, format)
    })
}

async fn carry_out(
    hub: &Hub,
    progress: impl Fn(&str, u64) + Send,
    arguments: &Import,
    options: Options,
) -> Result<ImportReport> {
    let stop = Arc::clone(&options.stop);
    let mut signals = StopSignals::listen()?;
    let listening = tokio::spawn(async move {
        signals.next().await;
        stop.store(true, Ordering::Relaxed);
    });
    let report = import(hub, &options, progress).await;
    listening.abort();
    let name = arguments.file.display().to_string();
    let report = report.context(name)?;
    if !report.dry_run {
        let name = arguments
            .file
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        let (name, report) = (name.unwrap_or_else(|| "-".to_owned()), report.clone());
        hub.write_as(caller(), move |tx, ctx| import::note(tx, ctx, &name, &report))
            .await?;
    }
    Ok(report)
}

/// The report of an import for people.
pub(super) fn lines_of(report: &ImportReport) -> String {
    let mut text = String::new();
    if report.dry_run {
        text.push_str("What would be done (nothing is changed):\n");
    }
    text.push_str("                      created   updated unchanged   deleted\n");
    for (name, counts) in [
        ("organizational units", report.organizational_units),
        ("users", report.users),
        ("groups", report.groups),
    ] {
        let Counts {
            created,
            updated,
            unchanged,
            deleted,
        } = counts;
        text.push_str(&format!(
            "{name:<20} {created:>8} {updated:>9} {unchanged:>9} {deleted:>9}\n"
        ));
    }
    if report.members_added + report.members_removed > 0 {
        text.push_str(&format!(
            "members of groups: {} added, {} removed\n",
            report.members_added, report.members_removed
        ));
    }
    if report.passed_over > 0 {
        text.push_str(&format!(
            "passed over, because neither units nor users nor groups, or outside the base: {}\n",
            report.passed_over
        ));
    }
    for sample in report.samples.iter().filter(|_| report.dry_run) {
        text.push_str(&format!("  {sample}\n"));
    }
    for (title, total, problems) in [
        ("noted", report.notes_total, &report.notes),
        ("REFUSED", report.errors_total, &report.errors),
    ] {
        if total > 0 {
            text.push_str(&format!("{} {title}:\n", HumanCount(total)));
        }
        for problem in problems.iter().take(SHOWN) {
            text.push_str(&format!("  {}\n", line_of(problem)));
        }
        if problems.len() > SHOWN {
            text.push_str(&format!(
                "  … and {} (--json shows them)\n",
                counted((problems.len() - SHOWN) as u64, "other message")
            ));
        }
    }
    if let Some(withheld) = &report.withheld {
        text.push_str(&format!(
            "NOTHING DELETED: {} of the owner's {} would have gone, and {} is the limit. If the file is \
             complete, repeat with --max-deletions {}\n",
            withheld.deletions, withheld.owned, withheld.limit, withheld.deletions
        ));
    }
    if report.interrupted {
        text.push_str(
            "STOPPED before its end. What is counted above is done and stays; the same command goes on from \
             here.\n",
        );
    }
    text
}

/// A message with the entry that it is about, and under it the next ones of the kind.
pub(super) fn line_of(problem: &Problem) -> String {
    let Some((first, others)) = problem.entries.split_first() else {
        return problem.message.clone();
    };
    let first = match (first.line, first.subject.as_str()) {
        (0, "") => problem.message.clone(),
        (0, subject) => format!("{subject}: {}", problem.message),
        (line, "") => format!("line {line}: {}", problem.message),
        (line, subject) => format!("line {line}: {subject}: {}", problem.message),
    };
    let more = problem.count - 1;
    if more == 0 {
        return first;
    }
    let named: Vec<String> = others
        .iter()
        .take(ENTRIES)
        .map(|entry| match entry.line {
            0 => entry.subject.clone(),
            line => line.to_string(),
        })
        .filter(|text| !text.is_empty())
        .collect();
    let title = match (named.is_empty(), others.iter().all(|entry| entry.line > 0)) {
        (true, _) => "",
        (false, true) if more == 1 => ", line ",
        (false, true) => ", lines ",
        (false, false) => ": ",
    };
    let rest = if more > named.len() as u64 && !named.is_empty() {
        " …"
    } else {
        ""
    };
    format!(
        "{first}\n    {} more of the kind{title}{}{rest}",
        HumanCount(more),
        named.join(", ")
    )
}

pub(super) async fn run_export(backend: &Backend, out: &Output, arguments: Export) -> Result<ExitCode> {
    let to_stdout = arguments.file == Path::new("-");
    let format = match arguments.format {
        Some(format) => format.into(),
        None if to_stdout => Format::Jsonl,
        None => Format::of(&arguments.file)?,
    };
    let exported = if to_stdout {
        write(backend, format, &arguments.base, io::BufWriter::new(Stdout)).await?
    } else {
        let name = arguments.file.display();
        let sink = private::create(&arguments.file).with_context(|| format!("{name} cannot be written"))?;
        write(backend, format, &arguments.base, io::BufWriter::new(sink)).await?
    };
    let export::Exported {
        organizational_units,
        users,
        groups,
    } = exported;
    if !to_stdout {
        out.show(&exported, || {
            format!(
                "{}, {} and {} exported",
                counted(users, "user"),
                counted(organizational_units, "organizational unit"),
                counted(groups, "group")
            )
        });
    }
    Ok(ExitCode::SUCCESS)
}

async fn write(
    backend: &Backend,
    format: Format,
    base: &Dn,
    sink: impl io::Write + Send,
) -> Result<export::Exported> {
    match backend {
        Backend::Database(database) => Ok(export(&database.hub, format, base, sink).await?),
        Backend::Server(client) => transfer::export(client, format, base, sink).await,
    }
}
