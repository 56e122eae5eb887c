//! `rollcall check`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use reqwest::Url;
use rollcall_protocol::{EncryptionKey, SystemRandom};
use rollcall_server::StopSignals;
use rustls::pki_types::CertificateDer;
use serde::Serialize;

use super::failure::Refusal;
use super::output::{Output, line, note};
use crate::check::{self, Case, Level, Options, Outcome, ReadBack, Report, Verdict};
use crate::clock::Clock;
use crate::sender::jwks::{JwksServer, Published};
use crate::sender::{Post, Sender, keys};

/// Test a receiving endpoint, in any language: send it what a hub sends, and what it has to refuse.
///
/// It serves its own public keys and sends more than a hundred cases, each of which says what is required, where that
/// stands, and what to do if it fails. What to configure the endpoint with is printed first. All users, units and groups
/// that it makes have ids with check_ and a random number, and are deleted at the end: use a test system anyway.
///
/// Nothing of a configured hub is used or touched. Redirects are not followed. Exit code 1 if a case failed that must pass
/// (MUST); what should pass (SHOULD) does not change it.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  rollcall check http://127.0.0.1:3000/events --wait
  rollcall check URL --encryption-key key.hex --html r.html
  rollcall check URL \\
      --read-back 'http://127.0.0.1:3000/users/{id}'
  rollcall check URL --read-back-sql sqlite:app.db \\
      'SELECT display_name FROM users WHERE id = $1'
  rollcall check URL --only batch-500 refuse-alg-none
  rollcall check --list")]
pub(super) struct Check {
    /// The receiving URL.
    #[arg(value_name = "URL", required_unless_present = "list")]
    url: Option<String>,
    #[command(flatten)]
    identity: Identity,
    /// The address on which the public keys are served. Port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8770")]
    listen: SocketAddr,
    /// Wait until the endpoint takes the connection test, for 300 seconds or so many: start it meanwhile, with what is
    /// printed.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "300")]
    wait: Option<u64>,
    /// Where what is stored of a user can be looked at, with {id} in place of the user's id: it answers a JSON object with
    /// the names of the wire (displayName, status, email), or 404.
    #[arg(long, value_name = "URL")]
    read_back: Option<String>,
    /// The same by a query: the database (sqlite:PATH or postgres://…), and a query with $1 for the user's id that finds
    /// one row at most. Its columns are called like the wire's fields (display_name will do), or json.
    #[arg(long, value_names = ["DATABASE", "QUERY"], num_args = 2, conflicts_with = "read_back")]
    read_back_sql: Option<Vec<String>>,
    /// For how many seconds to look until what was answered is stored.
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    settle: u64,
    /// Only these cases.
    #[arg(long, value_name = "ID", num_args = 1..)]
    only: Vec<String>,
    /// Not these cases.
    #[arg(long, value_name = "ID", num_args = 1..)]
    skip: Vec<String>,
    /// List the cases, and send nothing.
    #[arg(long)]
    list: bool,
    /// Also write the report to this file, as JUnit's XML.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Also write the report to this file, as one HTML page.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// Who sends, for the commands that send without a hub.
#[derive(Debug, Args)]
pub(super) struct Identity {
    /// The application's id, for which requests are meant (aud). Left out: always the same one.
    #[arg(long, value_name = "ID")]
    pub(super) application_id: Option<String>,
    /// The instance's id (sub). Left out: always the same one.
    #[arg(long, value_name = "ID")]
    pub(super) instance_id: Option<String>,
    /// Encrypt events with the key in this file (64 hexadecimal digits), or with a new one that is printed: generate.
    /// Left out: they are not encrypted.
    #[arg(long, value_name = "FILE|generate")]
    pub(super) encryption_key: Option<String>,
    /// Sign with this private key (PEM, PKCS #8) instead of a new one, for an endpoint that has its public key already.
    #[arg(long, value_name = "FILE")]
    pub(super) signing_key: Option<PathBuf>,
    /// The id of that key. Left out: one that follows from the key.
    #[arg(long, value_name = "KID", requires = "signing_key")]
    pub(super) kid: Option<String>,
}

impl Identity {
    /// Who sends, signing with a key that is in the file, or comes from `otherwise`.
    pub(super) fn sender(
        &self,
        otherwise: impl FnOnce(&Clock) -> Result<rollcall_protocol::SigningKey, keys::UnusableKey>,
    ) -> Result<(Sender, bool)> {
        let clock = Clock::system();
        let signing = match &self.signing_key {
            Some(file) => keys::read_signing(file, self.kid.as_deref()).context("--signing-key")?,
            None => otherwise(&clock)?,
        };
        let (encryption, generated) = match self.encryption_key.as_deref() {
            None => (None, false),
            Some("generate") => (Some(EncryptionKey::generate(&SystemRandom)), true),
            Some(file) => {
                let key = keys::read_encryption(Path::new(file)).context("--encryption-key")?;
                (Some(key), false)
            }
        };
        let sender = Sender {
            instance_id: self.instance_id.clone().unwrap_or_else(Sender::usual_instance),
            application_id: self
                .application_id
                .clone()
                .unwrap_or_else(Sender::usual_application),
            signing: Arc::new(signing),
            encryption,
            clock,
            random: Arc::new(SystemRandom),
        };
        Ok((sender, generated))
    }
}

/// A receiving URL as it was typed.
pub(super) fn receiving_url(text: &str) -> Result<Url> {
    let refuse = |what: String| {
        Refusal::wrong_use(
            format!("{text:?} is no receiving URL: {what}"),
            "write it whole, such as http://127.0.0.1:3000/events",
        )
    };
    let url = Url::parse(text).map_err(|error| refuse(error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        bail!(refuse("it must begin with http:// or https://".to_owned()));
    }
    Ok(url)
}

pub(super) fn authorities(ca_file: Option<&Path>) -> Result<Vec<CertificateDer<'static>>> {
    match ca_file {
        None => Ok(Vec::new()),
        Some(path) => {
            crate::config::authorities(path).with_context(|| format!("--ca-file {}", path.display()))
        }
    }
}

/// What the endpoint has to be configured with.
pub(super) fn configure_with(sender: &Sender, jwks_url: Option<&str>, shows_key: bool) -> String {
    let mut lines = String::from("configure the endpoint with\n");
    let mut entry = |name: &str, value: &str| lines.push_str(&format!("  {name:<16} {value}\n"));
    if let Some(url) = jwks_url {
        entry("JWKS URL", url);
    }
    entry("key id (kid)", sender.signing.kid());
    entry("application id", &sender.application_id);
    entry("instance id", &sender.instance_id);
    match &sender.encryption {
        None => entry("encryption key", "none: events are not encrypted"),
        Some(key) if shows_key => entry("encryption key", &key.to_hex()),
        Some(_) => entry("encryption key", "the one of --encryption-key"),
    }
    lines
}

/// The cases that were asked for.
fn chosen(arguments: &Check) -> Result<Vec<Case>> {
    let all = check::cases();
    for id in arguments.only.iter().chain(&arguments.skip) {
        if !all.iter().any(|case| case.id == *id) {
            bail!(Refusal::wrong_use(
                format!("there is no case {id:?}"),
                "rollcall check --list shows them all"
            ));
        }
    }
    let is_wanted = |case: &Case| {
        let named = |ids: &[String]| ids.iter().any(|id| case.id == *id);
        (arguments.only.is_empty() || named(&arguments.only)) && !named(&arguments.skip)
    };
    let cases: Vec<Case> = all.into_iter().filter(is_wanted).collect();
    if cases.is_empty() {
        bail!(Refusal::wrong_use(
            "no case is left to be checked",
            "leave --skip or --only out"
        ));
    }
    Ok(cases)
}

pub(super) async fn run(out: &Output, arguments: &Check, ca_file: Option<&Path>) -> Result<ExitCode> {
    let cases = chosen(arguments)?;
    if arguments.list {
        list(out, &cases);
        return Ok(ExitCode::SUCCESS);
    }
    let url = receiving_url(arguments.url.as_deref().unwrap_or_default())?;
    let authorities = authorities(ca_file)?;
    let read_back = read_back(arguments, &authorities)?;
    let (sender, shows_key) = arguments
        .identity
        .sender(|clock| keys::make(clock.now(), &SystemRandom))?;
    let post = Post::new(url, &authorities, sender.clock.clone())?;
    let published = Published::default();
    published.add(&sender.signing);
    let server = JwksServer::start(
        arguments.listen,
        &sender.instance_id,
        &sender.application_id,
        published.clone(),
    )
    .await
    .with_context(|| {
        format!(
            "the public keys cannot be served on {} (--listen)",
            arguments.listen
        )
    })?;
    let say = |text: &str| if out.json { note(text) } else { line(text) };
    say(&configure_with(&sender, Some(&server.url), shows_key));
    let mut signals = StopSignals::listen()?;
    if let Some(seconds) = arguments.wait {
        let waiting = check::wait(&sender, &post, |why| say(&format!("waiting: {why}")));
        tokio::select! {
            waited = tokio::time::timeout(Duration::from_secs(seconds), waiting) => {
                waited.map_err(|_| Refusal::of(
                    "not_ready",
                    format!("the endpoint did not take the connection test within {seconds} s"),
                    "configure it with what is printed above; --wait=SECONDS waits longer",
                ))?;
            }
            () = signals.next() => bail!("interrupted"),
        }
    } else if let Err(error) = check::reach(&sender, &post).await {
        bail!(Refusal::of(
            "no_endpoint",
            format!("nobody answers at {}: {error}", post.url()),
            "start the endpoint, with what is printed above; --wait waits for it",
        ));
    }
    let options = Options {
        sender,
        post,
        published,
        pinned: arguments.identity.signing_key.is_some().then_some(
            "the endpoint may have pinned the key of --signing-key: leave that out to have keys rotated",
        ),
        read_back,
        settle: Duration::from_secs(arguments.settle),
    };
    let mut group = None;
    let report = check::run(options, &cases, signals.next(), |outcome| {
        if !out.json {
            if group != Some(outcome.group) {
                group = Some(outcome.group);
                line(&format!("\n{}", outcome.group.title()));
            }
            line(&row(outcome));
        }
    })
    .await;
    server.end().await;
    write(arguments.html.as_deref(), "--html", || check::html(&report))?;
    write(arguments.junit.as_deref(), "--junit", || check::junit(&report))?;
    out.show(&report, || end(&report));
    Ok(match report.is_good() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn read_back(arguments: &Check, authorities: &[CertificateDer<'static>]) -> Result<Option<ReadBack>> {
    let made = match (&arguments.read_back, arguments.read_back_sql.as_deref()) {
        (Some(template), _) => ReadBack::http(template, authorities, Clock::system()).map_err(|error| {
            (
                format!("--read-back: {error}"),
                "such as 'http://127.0.0.1:3000/users/{id}'",
            )
        }),
        (None, Some([database, query])) => ReadBack::sql(database, query).map_err(|error| {
            (
                format!("--read-back-sql: {error}"),
                "rollcall check --help shows an example",
            )
        }),
        (None, _) => return Ok(None),
    };
    match made {
        Ok(read_back) => Ok(Some(read_back)),
        Err((message, hint)) => bail!(Refusal::wrong_use(message, hint)),
    }
}

fn write(
    file: Option<&Path>,
    option: &str,
    text: impl FnOnce() -> Result<String, askama::Error>,
) -> Result<()> {
    let Some(file) = file else { return Ok(()) };
    std::fs::write(file, text()?).with_context(|| format!("{option} {}", file.display()))
}

/// A case of the list.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed<'a> {
    id: &'a str,
    group: check::Group,
    level: Level,
    requirement: &'a str,
    source: &'a str,
    expected: &'a str,
    advice: &'a str,
}

fn list(out: &Output, cases: &[Case]) {
    let listed: Vec<Listed<'_>> = cases
        .iter()
        .map(|case| Listed {
            id: &case.id,
            group: case.group,
            level: case.level,
            requirement: &case.requirement,
            source: case.source,
            expected: case.expected,
            advice: case.advice,
        })
        .collect();
    out.show(&listed, || {
        let mut lines = String::new();
        let mut group = None;
        for case in cases {
            if group != Some(case.group) {
                group = Some(case.group);
                lines.push_str(&format!("\n{}\n", case.group.title()));
            }
            lines.push_str(&format!(
                "  {:<34} {:<6}  {}\n",
                case.id,
                case.level.as_str(),
                case.requirement
            ));
        }
        lines.trim_start_matches('\n').to_owned()
    });
}

fn row(outcome: &Outcome) -> String {
    let mark = match outcome.verdict {
        Verdict::Passed => "ok",
        Verdict::Failed => "FAIL",
        Verdict::NotChecked => "–",
    };
    let mut row = format!(
        "  {mark:<4} {:<34} {:<6} {:>6} ms  {}",
        outcome.id,
        outcome.level.as_str(),
        outcome.milliseconds,
        outcome.requirement
    );
    if let Some(found) = &outcome.found {
        match outcome.verdict {
            Verdict::NotChecked => row.push_str(&format!("\n       not checked: {found}")),
            _ => row.push_str(&format!(
                "\n       found:    {found}\n       expected: {}\n       to do:    {}\n       source:   {}",
                outcome.expected, outcome.advice, outcome.source
            )),
        }
    }
    row
}

fn end(report: &Report) -> String {
    let mut lines = format!("\n{}", report.sentence());
    let failed: Vec<&str> = report
        .cases
        .iter()
        .filter(|case| case.verdict == Verdict::Failed)
        .map(|case| case.id.as_str())
        .collect();
    if !failed.is_empty() {
        lines.push_str(&format!("\nagain: --only {}", failed.join(" ")));
    }
    match report.cleaned.left.as_slice() {
        [] => lines.push_str(&format!(
            "\nall {} users, units and groups that were made are deleted again (their ids hold check_{})",
            report.cleaned.made, report.run
        )),
        left => lines.push_str(&format!(
            "\n{} of {} could not be deleted: remove what has check_{} in its id",
            left.len(),
            report.cleaned.made,
            report.run
        )),
    }
    lines
}
