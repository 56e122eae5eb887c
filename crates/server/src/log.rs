//! The log on the standard error.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// The form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people: with colours on a terminal, unless the variable `NO_COLOR` is set.
    Text,
    /// One JSON object a line.
    Json,
}

/// Begins to log. Does nothing if the process logs already.
pub fn start(filter: EnvFilter, format: Format) {
    let colours =
        std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(colours)
        .with_writer(std::io::stderr);
    let started = match format {
        Format::Text => log.try_init(),
        Format::Json => log.json().flatten_event(true).try_init(),
    };
    drop(started);
}

/// Reads how much is to be logged: a level, and levels for modules, such as `info,rollcall::delivery=debug`.
///
/// The library takes any word for the name of a module, so that `loud` would log nothing at all; here each
/// part has to name a level.
///
/// # Errors
/// What is wrong, and what there is.
pub fn filter(text: &str) -> Result<EnvFilter, String> {
    let wrong = |part: &str| {
        format!(
            "{part:?} is not a log level: write error, warn, info, debug, trace or off, also by module, such as \
             info,rollcall::delivery=debug"
        )
    };
    for part in text.split(',').map(str::trim) {
        let level = part.rsplit_once('=').map_or(part, |(_, level)| level);
        if level.parse::<LevelFilter>().is_err() || level.is_empty() {
            return Err(wrong(part));
        }
    }
    EnvFilter::try_new(text).map_err(|_| wrong(text))
}
