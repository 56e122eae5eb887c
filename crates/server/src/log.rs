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
/// part has to name a level. It also takes expressions about spans, of which the hub has none, and over some of them it
/// fails or spends minutes; those are refused.
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
    let is_of_module = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '-');
    let parts: Vec<&str> = text.split(',').map(str::trim).collect();
    for part in parts.iter().copied() {
        let (module, level) = part.rsplit_once('=').unwrap_or(("", part));
        if level.parse::<LevelFilter>().is_err() || level.is_empty() || !module.chars().all(is_of_module) {
            return Err(wrong(part));
        }
    }
    // The library takes a space for a part of a name.
    EnvFilter::try_new(parts.join(",")).map_err(|_| wrong(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaces_between_parts_mean_nothing() {
        let spaced = filter(" info , rollcall::delivery=debug").unwrap().to_string();
        let plain = filter("info,rollcall::delivery=debug").unwrap().to_string();
        assert_eq!(spaced, plain);
        assert!(plain.contains("rollcall::delivery=debug"), "{plain}");
    }

    #[test]
    fn what_is_no_module_is_refused() {
        for text in [
            " wri\u{20a}\u{14d}[nl=debug",
            "\u{20a}=info",
            "i[n{H=h}hhhl=debug",
            "[span]=info",
            " , ",
            "loud",
            "=",
        ] {
            assert!(filter(text).is_err(), "{text}");
        }
    }
}
