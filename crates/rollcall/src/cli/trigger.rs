//! `rollcall trigger`.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use rollcall_protocol::EventType;
use rollcall_server::StopSignals;
use serde::Serialize;
use strum::IntoEnumIterator as _;

use super::check::{Identity, authorities, configure_with, receiving_url};
use super::failure::Refusal;
use super::output::{IN_PART, Output, counted, line, note};
use crate::private;
use crate::sender::jwks::{JwksServer, Published};
use crate::sender::names::Names;
use crate::sender::{Post, keys};
use crate::trigger::{self, Plan, Scenario, Sent, Setting, Wish};

/// The file in the data folder that keeps the signing key, so that an endpoint that has seen it once knows it again.
const KEY_FILE: &str = "trigger.pem";

/// Send events of any type to an address, with plausible data, without a directory.
///
/// Types may be written short (user:create, unit:update, group:add_user, test); scenarios are joiner, mover, leaver,
/// reorganization and rotation. They are about the same people each time, so that what user:create makes is what
/// user:update_info changes; all their ids hold _trigger_. What the endpoint answers is shown for each event.
///
/// Nothing of a configured hub is used or touched, but for its data folder, in which the signing key is kept. Exit code 1 if
/// a request was not answered as it has to be, 3 if an event was refused or is wanted again.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  rollcall trigger user:create user:update_info --url URL
  rollcall trigger joiner leaver --url URL --batch \\
      --encryption-key key.hex
  rollcall trigger user:push --count 100 --url URL
  rollcall trigger user:create --url URL \\
      --set displayName=Ada --set email=null
  rollcall trigger mover --url URL --record sent.jsonl
  rollcall trigger --replay sent.jsonl --url URL")]
pub(super) struct Trigger {
    /// Types of events and scenarios.
    #[arg(value_name = "TYPE", value_parser = Wish::parse, required_unless_present_any = ["replay", "list"])]
    wishes: Vec<Wish>,
    /// The receiving URL.
    #[arg(long, value_name = "URL", required_unless_present = "list")]
    url: Option<String>,
    #[command(flatten)]
    identity: Identity,
    /// The address on which the public keys are served meanwhile; none: they are not served, because the endpoint has them.
    #[arg(long, value_name = "ADDRESS|none", default_value = "127.0.0.1:8770", value_parser = listening)]
    jwks_listen: Listening,
    /// Which generation of names records have.
    #[arg(long, value_enum, default_value_t = Names::Both)]
    names: Names,
    /// Send all events in one request instead of one each.
    #[arg(long)]
    batch: bool,
    /// Do it so many times, each time about others.
    #[arg(long, value_name = "N", default_value_t = 1)]
    count: usize,
    /// Set a field of every record. What is JSON, such as 5, true or null, is taken as such. Repeat for several.
    #[arg(long, value_name = "FIELD=VALUE", value_parser = Setting::parse)]
    set: Vec<Setting>,
    /// Write what is sent to this file, as lines of JSON, without secrets.
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Send what --record wrote again: the same events, sealed anew.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["wishes", "count", "set", "names"])]
    replay: Option<PathBuf>,
    /// List the types and scenarios, and send nothing.
    #[arg(long)]
    list: bool,
}

/// Where the public keys are served, if they are.
#[derive(Clone, Copy, Debug)]
struct Listening(Option<SocketAddr>);

fn listening(text: &str) -> Result<Listening, String> {
    match text {
        "none" => Ok(Listening(None)),
        _ => text
            .parse()
            .map(|address| Listening(Some(address)))
            .map_err(|_| "write an address with its port, such as 127.0.0.1:8770, or none".to_owned()),
    }
}

/// What is told at the end.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    url: String,
    application_id: String,
    instance_id: String,
    requests: Vec<Sent>,
}

pub(super) async fn run(
    out: &Output,
    arguments: &Trigger,
    ca_file: Option<&Path>,
    data_dir: &Path,
) -> Result<ExitCode> {
    if arguments.list {
        list(out);
        return Ok(ExitCode::SUCCESS);
    }
    let url = receiving_url(arguments.url.as_deref().unwrap_or_default())?;
    let (sender, shows_key) = arguments
        .identity
        .sender(|_| keys::read_or_make_signing(&data_dir.join(KEY_FILE), None))?;
    let plan = match &arguments.replay {
        None => trigger::plan(
            &sender,
            &arguments.wishes,
            arguments.count,
            arguments.names,
            &arguments.set,
        ),
        Some(file) => replayed(file)?,
    };
    let plan = if arguments.batch { plan.in_batches() } else { plan };
    let mut record = match &arguments.record {
        None => None,
        Some(file) => {
            let named = || format!("--record {}", file.display());
            Some((private::create(file).with_context(named)?, file))
        }
    };
    let post = Post::new(url, &authorities(ca_file)?, sender.clock.clone())?;
    let published = Published::default();
    published.add(&sender.signing);
    let server = match arguments.jwks_listen.0 {
        None => None,
        Some(address) => {
            let (instance, application) = (&sender.instance_id, &sender.application_id);
            let started = JwksServer::start(address, instance, application, published.clone()).await;
            let named = || {
                format!(
                    "the public keys cannot be served on {address}; name another with --jwks-listen, or none"
                )
            };
            Some(started.with_context(named)?)
        }
    };
    let jwks_url = server.as_ref().map(|server| server.url.as_str());
    note(&configure_with(&sender, jwks_url, shows_key));
    let mut told = Told {
        url: post.url().to_string(),
        application_id: sender.application_id.clone(),
        instance_id: sender.instance_id.clone(),
        requests: Vec::new(),
    };
    let planned = plan.events();
    let mut unrecorded = None;
    let mut signals = StopSignals::listen()?;
    let ran = trigger::run(sender, &post, &published, plan, signals.next(), |sent, events| {
        if let Some((to, _)) = &mut record
            && let Err(error) = writeln!(to, "{}", trigger::record::line(events))
        {
            unrecorded.get_or_insert(error);
        }
        if !out.json {
            line(&shown(sent));
        }
        told.requests.push(sent.clone());
    })
    .await;
    if let Some(server) = server {
        server.end().await;
    }
    ran?;
    if let (Some(error), Some((_, file))) = (unrecorded, &record) {
        bail!("--record {}: {error}", file.display());
    }
    out.show(&told, || end(&told, planned));
    Ok(code(&told, planned))
}

fn replayed(file: &Path) -> Result<Plan> {
    let named = || format!("--replay {}", file.display());
    let text = std::fs::read_to_string(file).with_context(named)?;
    let plan = trigger::record::read(&text).map_err(|error| {
        Refusal::wrong_use(
            format!("--replay {}: {error}", file.display()),
            "it has to be a file that --record wrote",
        )
    })?;
    if plan.steps.is_empty() {
        bail!(Refusal::wrong_use(
            format!("--replay {}: there is nothing in it", file.display()),
            "it has to be a file that --record wrote",
        ));
    }
    Ok(plan)
}

fn shown(sent: &Sent) -> String {
    let status = match sent.status {
        Some(status) => format!("HTTP {status}  {} ms", sent.milliseconds),
        None => "no answer".to_owned(),
    };
    let mut lines = format!("{status}  {}", counted(sent.events.len() as u64, "event"));
    if let Some(problem) = &sent.problem {
        lines.push_str(&format!("\n  {problem}"));
    }
    for event in &sent.events {
        lines.push_str(&format!(
            "\n  {:<44} {:<26} {:<14} {} {}",
            event.event_type,
            event.biz_id,
            event.list.unwrap_or("–"),
            event.code,
            event.message
        ));
    }
    let lines: Vec<&str> = lines.lines().map(str::trim_end).collect();
    lines.join("\n")
}

fn end(told: &Told, planned: usize) -> String {
    let sent: usize = told.requests.iter().map(|request| request.events.len()).sum();
    let events = || told.requests.iter().flat_map(|request| &request.events);
    let in_list = |name: &str| events().filter(|event| event.list == Some(name)).count();
    let unanswered = events().filter(|event| event.list.is_none()).count();
    let mut line = format!(
        "{} sent: {} success, {} skipped, {} failed, {} retried, {unanswered} without an answer",
        counted(sent as u64, "event"),
        in_list("successEvents"),
        in_list("skippedEvents"),
        in_list("failedEvents"),
        in_list("retriedEvents"),
    );
    if sent < planned {
        line.push_str(&format!("; {} were not sent any more", planned - sent));
    }
    line
}

fn code(told: &Told, planned: usize) -> ExitCode {
    let sent: usize = told.requests.iter().map(|request| request.events.len()).sum();
    if sent < planned || told.requests.iter().any(|request| request.problem.is_some()) {
        ExitCode::FAILURE
    } else if told.requests.iter().all(Sent::is_taken) {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(IN_PART)
    }
}

/// What can be triggered.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    types: Vec<&'static str>,
    scenarios: Vec<&'static str>,
}

fn list(out: &Output) {
    let listed = Listed {
        types: EventType::ALL.iter().map(|kind| kind.short()).collect(),
        scenarios: Scenario::iter().map(Scenario::name).collect(),
    };
    out.show(&listed, || {
        let mut lines = String::from("types\n");
        for kind in &listed.types {
            lines.push_str(&format!("  {kind}\n"));
        }
        lines.push_str("scenarios\n");
        for scenario in Scenario::iter() {
            lines.push_str(&format!("  {:<15} {}\n", scenario.name(), scenario.story()));
        }
        lines
    });
}
