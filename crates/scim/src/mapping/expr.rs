//! The tree of an expression, and how it is written.

use std::collections::BTreeSet;
use std::fmt;

use super::Function;
use crate::text::write_string;

/// An expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expr {
    /// A text.
    Text(String),
    /// A whole number.
    Number(i64),
    /// True or false.
    Bool(bool),
    /// Nothing.
    Null,
    /// What the record has under a name.
    Name(String),
    /// At least two texts, joined.
    Join(Vec<Expr>),
    /// A function of its arguments, of which it has as many as it takes.
    Call(Function, Vec<Expr>),
}

impl Expr {
    /// The names that it asks the record for.
    pub fn names(&self) -> BTreeSet<&str> {
        let mut names = BTreeSet::new();
        self.gather(&mut names);
        names
    }

    fn gather<'a>(&'a self, names: &mut BTreeSet<&'a str>) {
        match self {
            Self::Name(name) => {
                names.insert(name);
            }
            Self::Join(parts) | Self::Call(_, parts) => parts.iter().for_each(|part| part.gather(names)),
            Self::Text(_) | Self::Number(_) | Self::Bool(_) | Self::Null => {}
        }
    }
}

/// Whether a name can be written as it is.
pub(super) fn is_plain(name: &str) -> bool {
    name.split('.').all(|part| {
        let letters = part.strip_prefix('$').unwrap_or(part);
        letters.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && letters.chars().all(is_inner)
    }) && !["true", "false", "null"].contains(&name)
}

/// Whether a character may stand inside of a part of a name.
pub(super) fn is_inner(next: char) -> bool {
    next.is_ascii_alphanumeric() || next == '_'
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write_string(f, text),
            Self::Number(number) => number.fmt(f),
            Self::Bool(flag) => flag.fmt(f),
            Self::Null => f.write_str("null"),
            Self::Name(name) if is_plain(name) => f.write_str(name),
            Self::Name(name) => write!(f, "`{name}`"),
            Self::Join(parts) => {
                for (index, part) in parts.iter().enumerate() {
                    if index > 0 {
                        f.write_str(" + ")?;
                    }
                    match part {
                        Self::Join(_) => write!(f, "({part})")?,
                        part => part.fmt(f)?,
                    }
                }
                Ok(())
            }
            Self::Call(function, arguments) => {
                write!(f, "{}(", function.as_str())?;
                for (index, argument) in arguments.iter().enumerate() {
                    if index > 0 {
                        f.write_str(", ")?;
                    }
                    argument.fmt(f)?;
                }
                f.write_str(")")
            }
        }
    }
}
