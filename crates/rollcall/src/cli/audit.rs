//! `rollcall audit`.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Args;

use super::output::{Output, line, time};
use crate::application::store;
use crate::audit::{self, Entry, Filter};
use crate::hub::Hub;

/// Show what was done, by whom, when and from where.
///
/// Newest first: changes of the directory, and what was done to applications, keys, deliveries and imports.
#[derive(Debug, Args)]
pub(super) struct Audit {
    /// Only what somebody did, such as administrator:root, token:admin or import:people.csv; a part suffices.
    #[arg(long)]
    who: Option<String>,
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
    /// At most this many.
    #[arg(long, default_value_t = 50)]
    last: usize,
}

pub(super) async fn run(hub: &Hub, out: &Output, args: Audit) -> Result<ExitCode> {
    let entries = hub
        .db
        .read(move |tx| {
            let targets = match &args.target {
                Some(target) => store::ids_of(tx, target)?,
                None => Vec::new(),
            };
            let filter = Filter {
                who: args.who.clone(),
                action: args.action.clone(),
                targets,
                since: args.since.map(jiff::Timestamp::as_millisecond),
                until: args.until.map(jiff::Timestamp::as_millisecond),
            };
            audit::list(tx, &filter, args.last)
        })
        .await
        .context("the audit log cannot be read")?;
    if out.json {
        out.show(&entries, String::new);
    } else {
        for entry in &entries {
            line(&line_of(entry));
        }
        if entries.is_empty() {
            line("nothing was done that would be shown");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn line_of(entry: &Entry) -> String {
    let name = if entry.target_name.is_empty() {
        entry.target_id.clone()
    } else {
        format!("{} ({})", entry.target_name, entry.target_id)
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
