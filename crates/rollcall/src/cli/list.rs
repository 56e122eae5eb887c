//! What lists have in common: how much of one is shown, and what is said of the rest.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use indicatif::HumanCount;
use serde::Serialize;

use super::output::{Output, counted, line, note};

/// How many are shown, if nothing is said.
pub(super) const SHOWN: usize = 50;
/// How many are read at once, where all are shown.
const PAGE: usize = 1_000;

/// Which of many are listed.
#[derive(Debug, Args)]
pub(super) struct Listing {
    /// Only those after this name.
    #[arg(long, value_name = "NAME")]
    pub(super) after: Option<String>,
    /// At most this many. Left out: 50; with --json all.
    #[arg(long, value_name = "N")]
    pub(super) limit: Option<usize>,
    /// All of them.
    #[arg(long, conflicts_with = "limit")]
    pub(super) all: bool,
}

impl Listing {
    /// At most how many are shown; `None` for all.
    fn limit(&self, out: &Output) -> Option<usize> {
        match self.limit {
            Some(limit) => Some(limit),
            None => (!self.all && !out.json).then_some(SHOWN),
        }
    }
}

/// Something that is listed.
pub(super) struct Rows<T> {
    /// What one of them is called.
    pub(super) what: &'static str,
    /// The name by which they are in order.
    pub(super) name: fn(&T) -> &str,
    /// The line for people.
    pub(super) line: fn(&T) -> String,
}

/// Shows a list. `read` gives so many after a name; `total` counts all of them, where that is known without reading
/// them.
pub(super) async fn show<T: Serialize>(
    out: &Output,
    listing: &Listing,
    rows: &Rows<T>,
    read: impl AsyncFn(String, usize) -> Result<Vec<T>>,
    total: impl AsyncFnOnce() -> Result<Option<u64>>,
) -> Result<ExitCode> {
    let mut after = listing.after.clone().unwrap_or_default();
    let limit = listing.limit(out);
    let mut collected = Vec::new();
    let mut shown = 0;
    let more = loop {
        // One more than is shown tells whether there are more.
        let wanted = limit.map_or(PAGE, |limit| limit.saturating_add(1));
        let mut page = read(after.clone(), wanted).await?;
        let is_full = page.len() == wanted;
        page.truncate(limit.unwrap_or(wanted));
        shown += page.len() as u64;
        if let Some(last) = page.last() {
            (rows.name)(last).clone_into(&mut after);
        }
        if out.json {
            collected.extend(page);
        } else if !page.is_empty() {
            line(&page.iter().map(rows.line).collect::<Vec<_>>().join("\n"));
        }
        if limit.is_some() || !is_full {
            break is_full && limit.is_some();
        }
    };
    if out.json {
        out.show(&collected, String::new);
    } else if more {
        let of = match total().await? {
            Some(total) => format!("{} of {} shown", HumanCount(shown), counted(total, rows.what)),
            None => format!("{} shown, and there are more", counted(shown, rows.what)),
        };
        note(&format!("{of}; --all, or --after {}", quoted(&after)));
    } else if shown == 0 {
        note(&format!("no {}", rows.what));
    }
    Ok(ExitCode::SUCCESS)
}

/// What is said where so many of the newest are shown, and there are older ones.
pub(super) fn older(shown: usize) -> String {
    format!(
        "the newest {} shown, and there are older ones; --all, or --last {}",
        HumanCount(shown as u64),
        shown.saturating_mul(10).max(10)
    )
}

/// A name as it is typed into a shell.
fn quoted(name: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "._-@/".contains(c);
    match !name.is_empty() && name.chars().all(plain) {
        true => name.to_owned(),
        false => format!("'{}'", name.replace('\'', r"'\''")),
    }
}
