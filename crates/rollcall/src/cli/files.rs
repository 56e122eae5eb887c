//! `rollcall import` and `export`.

use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result};

use super::args;
use super::output::{IN_PART, Output};
use crate::export::{self, export};
use crate::hub::Hub;
use crate::import::{Counts, Dn, Format, ImportReport, Mapping, Options, import};

/// How many errors and notes people are shown; JSON has more.
const SHOWN: usize = 20;

pub(super) async fn run_import(hub: &Hub, out: &Output, arguments: args::Import) -> Result<ExitCode> {
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
    let options = Options {
        mapping: Mapping::parse(&arguments.mapping)?,
        base: arguments
            .base
            .as_deref()
            .map(Dn::parse)
            .transpose()
            .context("--base")?,
        owner: arguments.owner,
        adopt: arguments.adopt,
        dry_run: arguments.dry_run,
        delete_missing: arguments.delete_missing.then_some(arguments.max_deletions),
        ..Options::of(file, format)
    };
    let bar = if out.json {
        indicatif::ProgressBar::hidden()
    } else {
        indicatif::ProgressBar::new_spinner()
    };
    let report = import(hub, &options, |what, done| {
        bar.set_message(format!("{done} {what}"));
        bar.tick();
    })
    .await
    .with_context(|| arguments.file.display().to_string())?;
    bar.finish_and_clear();
    out.show(&report, || lines_of(&report));
    Ok(if report.is_complete() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(IN_PART)
    })
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
            "{} members of groups added, {} removed\n",
            report.members_added, report.members_removed
        ));
    }
    if report.passed_over > 0 {
        text.push_str(&format!(
            "{} entries are neither units nor users nor groups, and were passed over\n",
            report.passed_over
        ));
    }
    for sample in &report.samples {
        text.push_str(&format!("  {sample}\n"));
    }
    for (title, total, list) in [
        ("noted", report.notes_total, &report.notes),
        ("REFUSED", report.errors_total, &report.errors),
    ] {
        if total > 0 {
            text.push_str(&format!("{total} {title}:\n"));
        }
        for entry in list.iter().take(SHOWN) {
            match entry.line {
                0 => text.push_str(&format!("  {}\n", entry.message)),
                line => text.push_str(&format!("  line {line}: {}\n", entry.message)),
            }
        }
        if total > SHOWN as u64 {
            text.push_str("  … (--json shows up to 1,000)\n");
        }
    }
    if let Some(withheld) = &report.withheld {
        text.push_str(&format!(
            "NOTHING DELETED: {} of the owner's {} would have gone, and {} is the limit. If the file is \
             complete, repeat with --max-deletions {}\n",
            withheld.deletions, withheld.owned, withheld.limit, withheld.deletions
        ));
    }
    text
}

pub(super) async fn run_export(hub: &Hub, out: &Output, arguments: args::Export) -> Result<ExitCode> {
    let to_stdout = arguments.file == Path::new("-");
    let format = match arguments.format {
        Some(format) => format.into(),
        None if to_stdout => Format::Jsonl,
        None => Format::of(&arguments.file)?,
    };
    let base = Dn::parse(&arguments.base).context("--base")?;
    let exported = if to_stdout {
        export(hub, format, &base, io::BufWriter::new(io::stdout())).await?
    } else {
        let name = arguments.file.display();
        let sink =
            std::fs::File::create(&arguments.file).with_context(|| format!("{name} cannot be written"))?;
        export(hub, format, &base, io::BufWriter::new(sink)).await?
    };
    let export::Exported {
        organizational_units,
        users,
        groups,
    } = exported;
    if !to_stdout {
        out.show(&exported, || {
            format!("{users} users, {organizational_units} organizational units and {groups} groups exported")
        });
    }
    Ok(ExitCode::SUCCESS)
}
