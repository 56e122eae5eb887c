//! The names of attributes: `userName`, `name.familyName`, `urn:…:User:userName`.

use std::fmt;
use std::str::FromStr;

use crate::text::{Scanner, SyntaxError};

/// How long the name of an attribute may be, in bytes.
const NAME_LIMIT: usize = 1024;

/// The name of an attribute or of a part of one, as it was written: [`crate::ResourceType::find`] says
/// what it names. Names are compared without regard to case there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AttrPath {
    /// The schema's URN, if it was given.
    pub schema: Option<String>,
    /// The attribute.
    pub name: String,
    /// The part of a complex attribute.
    pub sub: Option<String>,
}

const EXPECTED: &str = "the name of an attribute, such as userName or name.familyName";

impl AttrPath {
    /// An attribute of the core schema.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            schema: None,
            name: name.into(),
            sub: None,
        }
    }

    /// Reads the name of an attribute.
    ///
    /// # Errors
    /// If it is none.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        let mut scanner = Scanner::new(text, NAME_LIMIT)?;
        let path = Self::scan(&mut scanner)?;
        if scanner.at_end() {
            Ok(path)
        } else {
            Err(scanner.expected("the end of the name"))
        }
    }

    /// Reads a name where the scanner stands.
    pub(crate) fn scan(scanner: &mut Scanner<'_>) -> Result<Self, SyntaxError> {
        let mark = scanner.mark();
        let run =
            scanner.run(|next| next.is_ascii_graphic() && !matches!(next, '(' | ')' | '[' | ']' | '"' | ','));
        Self::of(run).ok_or_else(|| {
            scanner.back_to(mark);
            scanner.expected(EXPECTED)
        })
    }

    fn of(run: &str) -> Option<Self> {
        // A URN has dots of its own, as in `2.0`; what follows its last colon is the attribute.
        let (schema, attribute) = match run.rsplit_once(':') {
            Some((schema, attribute)) => (Some(schema), attribute),
            None => (None, run),
        };
        let (name, sub) = match attribute.split_once('.') {
            Some((name, sub)) => (name, Some(sub)),
            None => (attribute, None),
        };
        let whole = is_name(name) && sub.is_none_or(is_name) && schema.is_none_or(|urn| !urn.is_empty());
        whole.then(|| Self {
            schema: schema.map(str::to_owned),
            name: name.to_owned(),
            sub: sub.map(str::to_owned),
        })
    }
}

/// Whether a text can name an attribute. The standard's own `$ref` begins with a dollar sign.
pub(crate) fn is_name(text: &str) -> bool {
    let letters = text.strip_prefix('$').unwrap_or(text);
    letters.starts_with(|first: char| first.is_ascii_alphabetic())
        && letters
            .chars()
            .all(|next| next.is_ascii_alphanumeric() || matches!(next, '-' | '_'))
}

impl FromStr for AttrPath {
    type Err = SyntaxError;

    fn from_str(text: &str) -> Result<Self, SyntaxError> {
        Self::parse(text)
    }
}

impl fmt::Display for AttrPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(schema) = &self.schema {
            write!(f, "{schema}:")?;
        }
        f.write_str(&self.name)?;
        match &self.sub {
            Some(sub) => write!(f, ".{sub}"),
            None => Ok(()),
        }
    }
}
