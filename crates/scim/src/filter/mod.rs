//! Filters: which resources, or which values of an attribute, are meant. RFC 7644 section 3.4.2.2.
//!
//! A [`Filter`] is a plain tree. [`Filter::parse`] reads one, `Display` writes it such that the same is
//! read again, [`Filter::matches`] decides it on a resource, and a service provider with a database
//! walks the tree and makes a query of it, with [`ResourceType::find`](crate::ResourceType::find) for
//! what the names mean and [`Filter::check`] for what cannot be compared.

mod check;
mod decide;
mod parse;

use std::fmt;

use serde_json::{Number, Value};

use crate::name::AttrPath;
use crate::text::write_string;

pub use parse::FILTER_LIMIT;

/// Which resources, or which values of an attribute, are meant.
#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    /// All of at least two.
    And(Vec<Filter>),
    /// Any of at least two.
    Or(Vec<Filter>),
    /// Not these.
    Not(Box<Filter>),
    /// `title pr`: the attribute has a value.
    Present(AttrPath),
    /// `title eq "Tour Guide"`.
    Compare {
        /// What is compared.
        path: AttrPath,
        /// How.
        operator: Operator,
        /// With what.
        value: Literal,
    },
    /// `emails[type eq "work"]`: one of the attribute's values is meant by a filter on its parts. There
    /// is no such filter within such a filter.
    Has {
        /// The attribute, without a part.
        path: AttrPath,
        /// Which of its values.
        filter: Box<Filter>,
    },
}

/// How an attribute is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operator {
    /// Equal.
    Eq,
    /// Not equal: exactly what `eq` does not match, also where there is no value.
    Ne,
    /// Contains.
    Co,
    /// Starts with.
    Sw,
    /// Ends with.
    Ew,
    /// Greater, or later.
    Gt,
    /// Greater or equal.
    Ge,
    /// Less, or earlier.
    Lt,
    /// Less or equal.
    Le,
}

impl Operator {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Eq,
        Self::Ne,
        Self::Co,
        Self::Sw,
        Self::Ew,
        Self::Gt,
        Self::Ge,
        Self::Lt,
        Self::Le,
    ];

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Eq => "eq",
            Self::Ne => "ne",
            Self::Co => "co",
            Self::Sw => "sw",
            Self::Ew => "ew",
            Self::Gt => "gt",
            Self::Ge => "ge",
            Self::Lt => "lt",
            Self::Le => "le",
        }
    }

    /// Whether it asks for an order.
    pub fn is_ordering(self) -> bool {
        matches!(self, Self::Gt | Self::Ge | Self::Lt | Self::Le)
    }
}

/// What an attribute is compared with: JSON without arrays and objects.
#[derive(Clone, Debug, PartialEq)]
pub enum Literal {
    /// No value.
    Null,
    /// True or false.
    Bool(bool),
    /// A number.
    Number(Number),
    /// A text, a time, a reference.
    String(String),
}

impl From<&Literal> for Value {
    fn from(literal: &Literal) -> Self {
        match literal {
            Literal::Null => Self::Null,
            Literal::Bool(value) => Self::Bool(*value),
            Literal::Number(value) => Self::Number(value.clone()),
            Literal::String(value) => Self::String(value.clone()),
        }
    }
}

impl From<&str> for Literal {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl Filter {
    /// A comparison.
    pub fn compare(path: AttrPath, operator: Operator, value: impl Into<Literal>) -> Self {
        Self::Compare {
            path,
            operator,
            value: value.into(),
        }
    }

    /// What each of the filters that have to match demands to be equal, if the filter demands nothing
    /// else: `type eq "work" and primary eq true`.
    pub(crate) fn equalities(&self) -> Option<Vec<(&AttrPath, &Literal)>> {
        match self {
            Self::Compare {
                path,
                operator: Operator::Eq,
                value,
            } => Some(vec![(path, value)]),
            Self::And(parts) => {
                let parts: Option<Vec<_>> = parts.iter().map(Self::equalities).collect();
                Some(parts?.into_iter().flatten().collect())
            }
            _ => None,
        }
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => value.fmt(f),
            Self::Number(value) => value.fmt(f),
            Self::String(text) => write_string(f, text),
        }
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::And(parts) => write_all(f, parts, " and ", |part| {
                matches!(part, Self::And(_) | Self::Or(_))
            }),
            Self::Or(parts) => write_all(f, parts, " or ", |part| matches!(part, Self::Or(_))),
            Self::Not(filter) => write!(f, "not ({filter})"),
            Self::Present(path) => write!(f, "{path} pr"),
            Self::Compare {
                path,
                operator,
                value,
            } => write!(f, "{path} {} {value}", operator.as_str()),
            Self::Has { path, filter } => write!(f, "{path}[{filter}]"),
        }
    }
}

fn write_all(
    f: &mut fmt::Formatter<'_>,
    parts: &[Filter],
    between: &str,
    grouped: impl Fn(&Filter) -> bool,
) -> fmt::Result {
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            f.write_str(between)?;
        }
        if grouped(part) {
            write!(f, "({part})")?;
        } else {
            write!(f, "{part}")?;
        }
    }
    Ok(())
}
