//! Reading small languages: filters, paths and expressions share how names, literals and errors look.

use std::fmt;

use serde_json::Number;

/// Why a text could not be read. Places are counted in characters, from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SyntaxError {
    /// Something else was expected at a place.
    #[error("at character {at}: expected {expected}, found {found}")]
    Expected {
        /// The place.
        at: usize,
        /// What could have stood there.
        expected: &'static str,
        /// What stands there, shortened.
        found: String,
    },
    /// A literal that cannot be read.
    #[error("at character {at}: {what}")]
    Literal {
        /// Where it begins.
        at: usize,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A name that means nothing.
    #[error("at character {at}: there is no {kind} `{name}`")]
    Unknown {
        /// Where it begins.
        at: usize,
        /// What it would name.
        kind: &'static str,
        /// The name, shortened.
        name: String,
    },
    /// A function with the wrong number of arguments.
    #[error("at character {at}: `{function}` takes {takes}, not {given}")]
    Arguments {
        /// Where the function's name begins.
        at: usize,
        /// Its name.
        function: &'static str,
        /// How many it takes, for people.
        takes: &'static str,
        /// How many it was given.
        given: usize,
    },
    /// Groups within groups within groups.
    #[error("at character {at}: more than {limit} groups inside of each other")]
    TooDeep {
        /// Where the group begins that is one too many.
        at: usize,
        /// How many there may be.
        limit: usize,
    },
    /// A text that is too long.
    #[error("longer than {limit} bytes")]
    TooLong {
        /// How long it may be, in bytes.
        limit: usize,
    },
}

impl SyntaxError {
    /// Whether the text was refused for its size alone.
    pub fn is_limit(&self) -> bool {
        matches!(self, Self::TooDeep { .. } | Self::TooLong { .. })
    }
}

/// How much of what was found an error repeats.
const SHOWN: usize = 40;

/// A text that is read from its beginning to its end.
pub(crate) struct Scanner<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

/// How many groups may stand inside of each other.
pub(crate) const DEPTH_LIMIT: usize = 32;

impl<'a> Scanner<'a> {
    pub(crate) fn new(text: &'a str, limit: usize) -> Result<Self, SyntaxError> {
        if text.len() > limit {
            return Err(SyntaxError::TooLong { limit });
        }
        Ok(Self {
            text,
            at: 0,
            depth: 0,
        })
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    pub(crate) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    pub(crate) fn at_end(&self) -> bool {
        self.at == self.text.len()
    }

    /// Where the scanner stands, to go back to or to give to [`Self::place`].
    pub(crate) fn mark(&self) -> usize {
        self.at
    }

    pub(crate) fn back_to(&mut self, mark: usize) {
        self.at = mark;
    }

    /// The number of the character at a mark.
    pub(crate) fn place(&self, mark: usize) -> usize {
        self.text[..mark].chars().count() + 1
    }

    pub(crate) fn skip_spaces(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
    }

    pub(crate) fn eat(&mut self, wanted: char) -> bool {
        let eaten = self.peek() == Some(wanted);
        if eaten {
            self.at += wanted.len_utf8();
        }
        eaten
    }

    /// The longest run of characters of a kind, which may be empty.
    pub(crate) fn run(&mut self, of: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let run = &rest[..rest.find(|next| !of(next)).unwrap_or(rest.len())];
        self.at += run.len();
        run
    }

    /// The error that something else was expected here.
    pub(crate) fn expected(&self, expected: &'static str) -> SyntaxError {
        SyntaxError::Expected {
            at: self.place(self.at),
            expected,
            found: found(self.rest()),
        }
    }

    /// Goes into a group; every way out is [`Self::leave`].
    pub(crate) fn enter(&mut self) -> Result<(), SyntaxError> {
        if self.depth == DEPTH_LIMIT {
            let (at, limit) = (self.place(self.at), DEPTH_LIMIT);
            return Err(SyntaxError::TooDeep { at, limit });
        }
        self.depth += 1;
        Ok(())
    }

    pub(crate) fn leave(&mut self) {
        self.depth -= 1;
    }

    /// A string as JSON has it; the scanner stands at its quotation mark.
    pub(crate) fn string(&mut self) -> Result<String, SyntaxError> {
        let rest = self.rest();
        let mut escaped = false;
        let end = rest.char_indices().skip(1).find_map(|(index, next)| {
            let ends = next == '"' && !escaped;
            escaped = next == '\\' && !escaped;
            ends.then_some(index + 1)
        });
        let wrong = |what| SyntaxError::Literal {
            at: self.place(self.at),
            what,
        };
        let end = end.ok_or_else(|| wrong("this text has no closing quotation mark"))?;
        let text = serde_json::from_str(&rest[..end])
            .map_err(|_| wrong("this is no JSON string (control characters and lone \\ must be escaped)"))?;
        self.at += end;
        Ok(text)
    }

    /// A number as JSON has it; the scanner stands at its sign or its first digit.
    pub(crate) fn number(&mut self) -> Result<Number, SyntaxError> {
        let mark = self.at;
        let run = self.run(|next| next.is_ascii_alphanumeric() || matches!(next, '-' | '+' | '.'));
        number(run).ok_or_else(|| SyntaxError::Literal {
            at: self.place(mark),
            what: "this is no JSON number, or too large a one",
        })
    }
}

/// Reads a number exactly as it will be written: serde_json's own reading of fractions may differ from
/// the nearest double in the last digit.
pub(crate) fn number(text: &str) -> Option<Number> {
    serde_json::from_str::<Number>(text).ok()?;
    if let Ok(whole) = text.parse::<i64>() {
        return Some(whole.into());
    }
    if let Ok(whole) = text.parse::<u64>() {
        return Some(whole.into());
    }
    Number::from_f64(text.parse().ok()?)
}

/// The beginning of what was found.
pub(crate) fn found(rest: &str) -> String {
    if rest.is_empty() {
        return "the end".to_owned();
    }
    format!("`{}`", shortened(rest))
}

/// A text of strangers, short enough for a message.
pub(crate) fn shortened(text: &str) -> String {
    let mut short: String = text.chars().take(SHOWN).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

/// Writes a text as a JSON string.
pub(crate) fn write_string(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    let quoted = serde_json::to_string(text).map_err(|_| fmt::Error)?;
    f.write_str(&quoted)
}
