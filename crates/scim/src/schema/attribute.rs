//! Attributes and their characteristics, RFC 7643 section 7.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::named;

/// What is known of an attribute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attribute {
    /// Its name.
    pub name: String,
    /// What its values are.
    #[serde(rename = "type", default)]
    pub data_type: DataType,
    /// Whether it may have several values.
    #[serde(default)]
    pub multi_valued: bool,
    /// For people.
    #[serde(default)]
    pub description: String,
    /// Whether it must have a value.
    #[serde(default)]
    pub required: bool,
    /// Values that are usual; others are possible.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub canonical_values: Vec<String>,
    /// Whether texts are compared with regard to case.
    #[serde(default)]
    pub case_exact: bool,
    /// Who may change it, and when.
    #[serde(default)]
    pub mutability: Mutability,
    /// When it is in an answer.
    #[serde(default)]
    pub returned: Returned,
    /// Among which resources a value may be there once.
    #[serde(default)]
    pub uniqueness: Uniqueness,
    /// What a reference leads to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reference_types: Vec<String>,
    /// The parts of a complex attribute.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sub_attributes: Vec<Attribute>,
}

/// What values are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DataType {
    /// Text.
    #[default]
    String,
    /// True or false.
    Boolean,
    /// A number that may have a fraction.
    Decimal,
    /// A whole number.
    Integer,
    /// A point in time.
    DateTime,
    /// A URI.
    Reference,
    /// Bytes in base64.
    Binary,
    /// An object with parts.
    Complex,
}

impl DataType {
    /// For people, to follow "must be".
    pub fn phrase(self) -> &'static str {
        match self {
            Self::String => "text",
            Self::Boolean => "true or false",
            Self::Decimal => "a number",
            Self::Integer => "a whole number",
            Self::DateTime => "a time such as 2011-05-13T04:42:34Z",
            Self::Reference => "a URI",
            Self::Binary => "bytes in base64",
            Self::Complex => "an object",
        }
    }
}

/// Who may change an attribute, and when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Mutability {
    /// The service provider alone.
    ReadOnly,
    /// Clients, at any time.
    #[default]
    ReadWrite,
    /// Clients, while it has no value.
    Immutable,
    /// Clients, who never see it.
    WriteOnly,
}

/// When an attribute is in an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Returned {
    /// Whatever was asked for.
    Always,
    /// Never.
    Never,
    /// Unless others were asked for or it was excluded.
    #[default]
    Default,
    /// If it was asked for.
    Request,
}

/// Among which resources a value may be there once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Uniqueness {
    /// It may be there often.
    #[default]
    None,
    /// Those that one client of the service provider sees.
    Server,
    /// All there are.
    Global,
}

impl Attribute {
    fn new(name: &str, data_type: DataType, description: &str) -> Self {
        Self {
            name: name.to_owned(),
            data_type,
            multi_valued: false,
            description: description.to_owned(),
            required: false,
            canonical_values: Vec::new(),
            case_exact: false,
            mutability: Mutability::ReadWrite,
            returned: Returned::Default,
            uniqueness: Uniqueness::None,
            reference_types: Vec::new(),
            sub_attributes: Vec::new(),
        }
    }

    /// A text.
    pub fn text(name: &str, description: &str) -> Self {
        Self::new(name, DataType::String, description)
    }

    /// True or false.
    pub fn boolean(name: &str, description: &str) -> Self {
        Self::new(name, DataType::Boolean, description)
    }

    /// A whole number.
    pub fn integer(name: &str, description: &str) -> Self {
        Self::new(name, DataType::Integer, description)
    }

    /// A point in time.
    pub fn time(name: &str, description: &str) -> Self {
        Self::new(name, DataType::DateTime, description)
    }

    /// Bytes in base64.
    pub fn binary(name: &str, description: &str) -> Self {
        Self::new(name, DataType::Binary, description).exact()
    }

    /// A URI, and what it leads to.
    pub fn reference(name: &str, description: &str, to: &[&str]) -> Self {
        let mut attribute = Self::new(name, DataType::Reference, description).exact();
        attribute.reference_types = to.iter().map(|&to| to.to_owned()).collect();
        attribute
    }

    /// An object with parts.
    pub fn complex(name: &str, description: &str, parts: Vec<Self>) -> Self {
        let mut attribute = Self::new(name, DataType::Complex, description);
        attribute.sub_attributes = parts;
        attribute
    }

    /// With several values.
    #[must_use]
    pub fn many(mut self) -> Self {
        self.multi_valued = true;
        self
    }

    /// With a value in every resource.
    #[must_use]
    pub fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// With regard to case.
    #[must_use]
    pub fn exact(mut self) -> Self {
        self.case_exact = true;
        self
    }

    /// Of the service provider alone.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.mutability = Mutability::ReadOnly;
        self
    }

    /// Changed as said.
    #[must_use]
    pub fn mutability(mut self, mutability: Mutability) -> Self {
        self.mutability = mutability;
        self
    }

    /// In answers as said.
    #[must_use]
    pub fn returned(mut self, returned: Returned) -> Self {
        self.returned = returned;
        self
    }

    /// There once.
    #[must_use]
    pub fn unique(mut self, among: Uniqueness) -> Self {
        self.uniqueness = among;
        self
    }

    /// With usual values.
    #[must_use]
    pub fn usually(mut self, values: &[&str]) -> Self {
        self.canonical_values = values.iter().map(|&value| value.to_owned()).collect();
        self
    }

    /// A part by its name, without regard to case.
    pub fn sub(&self, name: &str) -> Option<&Self> {
        named(&self.sub_attributes, name)
    }

    /// What is compared where the attribute itself is: `emails co "example"` means their `value`. `None`
    /// if there is nothing to compare.
    pub fn compared(&self) -> Option<&Self> {
        match self.data_type {
            DataType::Complex => self.sub("value"),
            _ => Some(self),
        }
    }

    /// A text as it is compared.
    pub fn folded<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if self.case_exact {
            Cow::Borrowed(text)
        } else {
            Cow::Owned(text.to_lowercase())
        }
    }

    /// Whether the values of a multi-valued attribute are told apart by their `value` alone, because
    /// that never changes, as those of `members` are.
    pub(crate) fn has_fixed_values(&self) -> bool {
        self.sub("value")
            .is_some_and(|value| value.mutability == Mutability::Immutable)
    }
}
