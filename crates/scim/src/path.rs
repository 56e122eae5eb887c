//! Paths: what an operation of a PATCH request is about. RFC 7644 section 3.5.2.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, ScimType};
use crate::filter::{FILTER_LIMIT, Filter};
use crate::name::{AttrPath, is_name};
use crate::text::{Scanner, SyntaxError};

/// What an operation is about.
#[derive(Clone, Debug, PartialEq)]
pub enum Path {
    /// `userName`, `name.familyName`, with or without a schema's URN.
    Attribute(AttrPath),
    /// `emails[type eq "work"]`, `emails[type eq "work"].value`: some values of an attribute, or a part
    /// of each of them.
    Values {
        /// The attribute, without a part.
        path: AttrPath,
        /// Which of its values.
        filter: Filter,
        /// The part.
        sub: Option<String>,
    },
}

/// Why a text is no path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// It is wrong outside of the brackets.
    #[error("the path, {0}")]
    Path(SyntaxError),
    /// The filter in the brackets is wrong.
    #[error("the filter of the path, {0}")]
    Filter(SyntaxError),
}

impl PathError {
    /// Whether the text was refused for its size alone.
    pub fn is_limit(&self) -> bool {
        let (Self::Path(error) | Self::Filter(error)) = self;
        error.is_limit()
    }
}

impl From<PathError> for Error {
    fn from(error: PathError) -> Self {
        let kind = match error {
            PathError::Path(_) => ScimType::InvalidPath,
            PathError::Filter(_) => ScimType::InvalidFilter,
        };
        Self::of(kind, error.to_string())
    }
}

impl Path {
    /// Reads a path.
    ///
    /// # Errors
    /// If the text is none.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let mut scanner = Scanner::new(text, FILTER_LIMIT).map_err(PathError::Path)?;
        let path = AttrPath::scan(&mut scanner).map_err(PathError::Path)?;
        let path = if path.sub.is_none() && scanner.eat('[') {
            let filter = Filter::scan_brackets(&mut scanner).map_err(PathError::Filter)?;
            let sub = if scanner.eat('.') {
                let mark = scanner.mark();
                let name =
                    scanner.run(|next| next.is_ascii_alphanumeric() || matches!(next, '$' | '-' | '_'));
                if !is_name(name) {
                    scanner.back_to(mark);
                    return Err(PathError::Path(
                        scanner.expected("the name of a part, such as value"),
                    ));
                }
                Some(name.to_owned())
            } else {
                None
            };
            Self::Values { path, filter, sub }
        } else {
            Self::Attribute(path)
        };
        if scanner.at_end() {
            Ok(path)
        } else {
            Err(PathError::Path(scanner.expected("the end of the path")))
        }
    }

    /// The attribute that it is about, or is about values of.
    pub fn attribute(&self) -> &AttrPath {
        match self {
            Self::Attribute(path) | Self::Values { path, .. } => path,
        }
    }
}

impl FromStr for Path {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        Self::parse(text)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Attribute(path) => path.fmt(f),
            Self::Values { path, filter, sub } => {
                write!(f, "{path}[{filter}]")?;
                match sub {
                    Some(sub) => write!(f, ".{sub}"),
                    None => Ok(()),
                }
            }
        }
    }
}
