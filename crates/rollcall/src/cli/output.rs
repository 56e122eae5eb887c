//! What the command line prints: lines for people, or JSON for scripts.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::HumanCount;
use serde::Serialize;
use tokio::sync::Notify;

pub(super) use crate::clock::shown as time;

/// The exit code for work that was done in part.
pub(super) const IN_PART: u8 = 3;
/// The exit code if whoever read the output has gone: the one that a shell gives to programs that SIGPIPE ends.
pub(super) const READER_GONE: u8 = 141;

/// Whether whoever read the standard output has gone, as with `| head -1`.
static GONE: AtomicBool = AtomicBool::new(false);
/// Tells [`reader_gone`] of it.
static GOES: Notify = Notify::const_new();

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
            let lines = lines();
            if !lines.is_empty() {
                line(lines.trim_end());
            }
        }
    }
}

/// The standard output. If nobody reads it any more, the program ends without a word about it.
#[derive(Debug)]
pub(super) struct Stdout;

impl Write for Stdout {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        io::stdout().write(buffer).inspect_err(notice)
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().flush().inspect_err(notice)
    }
}

fn notice(error: &io::Error) {
    if error.kind() == io::ErrorKind::BrokenPipe {
        GONE.store(true, Ordering::Relaxed);
        GOES.notify_one();
    }
}

/// Whether whoever read the standard output has gone.
pub(super) fn is_reader_gone() -> bool {
    GONE.load(Ordering::Relaxed)
}

/// Ends when whoever reads the standard output goes.
pub(super) async fn reader_gone() {
    GOES.notified().await;
}

/// Prints a line. What else keeps it from being printed, such as a full disk behind the standard output, does not
/// undo what was done.
pub(super) fn line(text: &str) {
    let mut text = text.to_owned();
    text.push('\n');
    let _ = Stdout.write_all(text.as_bytes());
}

/// Says something about what is printed, beside it: on the standard error, so that it does not end up in what others
/// read.
pub(super) fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// `1 user`, `2 users`, `12,345 users`.
pub(super) fn counted(count: u64, what: &str) -> String {
    if count == 1 {
        format!("1 {what}")
    } else {
        format!("{} {what}s", HumanCount(count))
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
