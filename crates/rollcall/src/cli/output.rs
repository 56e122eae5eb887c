//! What the command line prints: lines for people, or JSON for scripts.

use std::io::Write as _;

use serde::Serialize;

/// The exit code for work that was done in part.
pub(super) const IN_PART: u8 = 3;

/// Where results go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Output {
    /// Print JSON.
    pub(super) json: bool,
}

impl Output {
    /// Prints a result: its JSON form, or the lines for people.
    pub(super) fn show<T: Serialize>(self, value: &T, lines: impl FnOnce() -> String) {
        if self.json {
            line(&serde_json::to_string_pretty(value).unwrap_or_default());
        } else {
            line(lines().trim_end());
        }
    }
}

/// Prints a line. Whoever reads may have gone; that is no reason to fail.
pub(super) fn line(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Prints an error with its causes.
pub(super) fn complain(error: &anyhow::Error) {
    let _ = writeln!(std::io::stderr(), "error: {error:#}");
}

/// A time for people, in UTC.
pub(super) fn time(millis: i64) -> String {
    if millis < 0 {
        return "never".to_owned();
    }
    jiff::Timestamp::from_millisecond(millis).map_or_else(
        |_| millis.to_string(),
        |time| time.strftime("%Y-%m-%d %H:%M:%S").to_string(),
    )
}

/// `1 user`, `2 users`.
pub(super) fn counted(count: u64, what: &str) -> String {
    if count == 1 {
        format!("1 {what}")
    } else {
        format!("{count} {what}s")
    }
}

/// A list of names in one line.
pub(super) fn listed(names: &[String]) -> String {
    if names.is_empty() {
        "nothing".to_owned()
    } else {
        names.join(", ")
    }
}

/// The first names of so many, behind a count: `: ada, bob, …`; nothing if there are none.
pub(super) fn first_of(names: &[String], count: u64) -> String {
    let more = if count > names.len() as u64 { ", …" } else { "" };
    match names.is_empty() {
        true => String::new(),
        false => format!(": {}{more}", names.join(", ")),
    }
}
