//! `rollcall audit`.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Args;

use super::backend::Backend;
use super::list::{SHOWN, older};
use super::output::{Output, line, note, time};
use crate::audit::Entry;
use crate::listing::Audited;

/// Show what was done, by whom, when and from where.
///
/// Newest first: changes of the directory, and what was done to applications, keys, deliveries and imports.
#[derive(Debug, Args)]
pub(super) struct Audit {
    /// Only what somebody did, such as administrator:root, token:admin or import:people.csv; a part suffices.
    #[arg(long)]
    who: Option<String>,
    /// Only what was done from there, such as 192.0.2.7 or the id of a request; a part suffices.
    #[arg(long)]
    origin: Option<String>,
    /// Only what was done to this: a user, unit, group or application, by id or name, or an
    /// imported file, by name.
    #[arg(long)]
    target: Option<String>,
    /// Only what was done like this, such as delete, set_scope or user:update; a part suffices.
    #[arg(long)]
    action: Option<String>,
    /// Only from this time on, such as 2027-01-31T12:00:00Z.
    #[arg(long, value_name = "TIME")]
    since: Option<jiff::Timestamp>,
    /// Only before this time.
    #[arg(long, value_name = "TIME")]
    until: Option<jiff::Timestamp>,
    /// How many of the newest, of those that are wanted.
    #[arg(long, value_name = "N", default_value_t = SHOWN)]
    last: usize,
    /// All of them.
    #[arg(long, conflicts_with = "last")]
    all: bool,
}

pub(super) async fn run(backend: &Backend, out: &Output, args: Audit) -> Result<ExitCode> {
    let wanted = if args.all { usize::MAX } else { args.last };
    let audited = Audited {
        who: args.who,
        origin: args.origin,
        action: args.action,
        target: args.target,
        since: args.since.map(jiff::Timestamp::as_millisecond),
        until: args.until.map(jiff::Timestamp::as_millisecond),
        // One more than is shown tells whether there are more.
        limit: wanted.saturating_add(1),
    };
    let mut entries = backend
        .audited(audited)
        .await
        .context("the audit log cannot be read")?;
    let more = entries.len() > wanted;
    entries.truncate(wanted);
    if out.json {
        out.show(&entries, String::new);
        return Ok(ExitCode::SUCCESS);
    }
    for entry in &entries {
        line(&line_of(entry));
    }
    if more {
        note(&older(wanted));
    } else if entries.is_empty() {
        note("nothing was done that would be shown");
    }
    Ok(ExitCode::SUCCESS)
}

fn line_of(entry: &Entry) -> String {
    let name = match entry.target_name.as_str() {
        name if name.is_empty() || name == entry.target_id => entry.target_id.clone(),
        name => format!("{name} ({})", entry.target_id),
    };
    let text = |value: &Option<serde_json::Value>| value.as_ref().map(ToString::to_string);
    let what = match (text(&entry.before), text(&entry.after)) {
        (Some(before), Some(after)) => format!("\n    {before}\n  → {after}"),
        _ => String::new(),
    };
    format!(
        "{}  {}  {} {name}  by {}{}{what}",
        time(entry.time),
        entry.action,
        entry.target_kind,
        entry.actor,
        entry
            .origin
            .as_ref()
            .map(|origin| format!(" from {origin}"))
            .unwrap_or_default()
    )
}
