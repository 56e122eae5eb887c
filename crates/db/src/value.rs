//! The values that go into a statement and come out of it: text, integers, booleans and blobs, which
//! is what both databases have in common. JSON is text, a time is an integer of milliseconds.

use std::borrow::Cow;

use crate::DbError;

/// A parameter of a statement. [`params!`](crate::params) makes lists of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// SQL's NULL.
    Null,
    /// `BIGINT`, or a smaller integer if the statement wants one.
    Int(i64),
    /// `TEXT`.
    Text(Cow<'a, str>),
    /// `BOOLEAN`; zero or one on SQLite.
    Bool(bool),
    /// `BYTEA` or `BLOB`.
    Blob(Cow<'a, [u8]>),
}

/// A list of parameters: `params![id, now, name.as_deref()]` is a `&[Value]`.
#[macro_export]
macro_rules! params {
    () => {{
        let none: &[$crate::Value<'_>] = &[];
        none
    }};
    ($($value:expr),+ $(,)?) => { &[$($crate::Value::from($value)),+][..] };
}

macro_rules! from {
    ($type:ty, $value:ident => $made:expr) => {
        impl<'a> From<$type> for Value<'a> {
            fn from($value: $type) -> Self {
                $made
            }
        }
    };
}

from!(i64, value => Value::Int(value));
from!(i32, value => Value::Int(value.into()));
from!(u32, value => Value::Int(value.into()));
from!(u16, value => Value::Int(value.into()));
from!(&'a i64, value => Value::Int(*value));
from!(bool, value => Value::Bool(value));
from!(&'a str, value => Value::Text(Cow::Borrowed(value)));
from!(&'a String, value => Value::Text(Cow::Borrowed(value)));
from!(String, value => Value::Text(Cow::Owned(value)));
from!(Cow<'a, str>, value => Value::Text(value));
from!(&'a [u8], value => Value::Blob(Cow::Borrowed(value)));
from!(&'a Vec<u8>, value => Value::Blob(Cow::Borrowed(value)));
from!(Vec<u8>, value => Value::Blob(Cow::Owned(value)));
from!(&'a Option<i64>, value => Value::from(*value));
from!(&'a Option<String>, value => Value::from(value.as_deref()));
from!(&'a Option<Vec<u8>>, value => Value::from(value.as_deref()));

impl<'a, const N: usize> From<&'a [u8; N]> for Value<'a> {
    fn from(value: &'a [u8; N]) -> Self {
        Value::Blob(Cow::Borrowed(value))
    }
}

impl<'a, T: Into<Value<'a>>> From<Option<T>> for Value<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Value::Null, Into::into)
    }
}

impl<'a> From<&'a Value<'_>> for Value<'a> {
    fn from(value: &'a Value<'_>) -> Self {
        match value {
            Value::Null => Value::Null,
            Value::Int(value) => Value::Int(*value),
            Value::Text(value) => Value::Text(Cow::Borrowed(value)),
            Value::Bool(value) => Value::Bool(*value),
            Value::Blob(value) => Value::Blob(Cow::Borrowed(value)),
        }
    }
}

impl Value<'_> {
    /// The same value, on its own.
    pub(crate) fn to_static(&self) -> Value<'static> {
        match self {
            Value::Null => Value::Null,
            Value::Int(value) => Value::Int(*value),
            Value::Text(value) => Value::Text(Cow::Owned(value.clone().into_owned())),
            Value::Bool(value) => Value::Bool(*value),
            Value::Blob(value) => Value::Blob(Cow::Owned(value.clone().into_owned())),
        }
    }
}

/// A row that a query returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    columns: Box<[Value<'static>]>,
}

impl Row {
    pub(crate) fn new(columns: Vec<Value<'static>>) -> Self {
        Self {
            columns: columns.into(),
        }
    }

    /// The column at a position, from zero.
    ///
    /// # Errors
    /// [`DbError::Other`] if there is no such column, or it has another type, or is NULL where `T` is
    /// not an `Option`.
    pub fn get<T: FromColumn>(&self, index: usize) -> Result<T, DbError> {
        let column = self.columns.get(index).ok_or_else(|| {
            DbError::Other(format!("column {index} of a row that has {}", self.columns.len()))
        })?;
        T::from_column(column).ok_or_else(|| {
            let (found, wanted) = (kind(column), std::any::type_name::<T>());
            DbError::Other(format!("column {index} holds {found}, which is no {wanted}"))
        })
    }
}

/// What a value is, without showing it: errors are logged, and the values may be personal.
pub(crate) fn kind(value: &Value<'_>) -> &'static str {
    match value {
        Value::Null => "NULL",
        Value::Int(_) => "an integer",
        Value::Text(_) => "text",
        Value::Bool(_) => "a boolean",
        Value::Blob(_) => "a blob",
    }
}

/// A type that a column can be read as: `i64`, `bool`, `String`, `Vec<u8>`, and `Option`s of them.
pub trait FromColumn: Sized {
    /// The value, if the column can be read as one.
    fn from_column(column: &Value<'static>) -> Option<Self>;
}

impl FromColumn for i64 {
    fn from_column(column: &Value<'static>) -> Option<Self> {
        if let Value::Int(value) = column {
            Some(*value)
        } else {
            None
        }
    }
}

impl FromColumn for bool {
    /// SQLite has no booleans: there, zero and one are read as such.
    fn from_column(column: &Value<'static>) -> Option<Self> {
        match column {
            Value::Bool(value) => Some(*value),
            Value::Int(0) => Some(false),
            Value::Int(1) => Some(true),
            _ => None,
        }
    }
}

impl FromColumn for String {
    fn from_column(column: &Value<'static>) -> Option<Self> {
        if let Value::Text(value) = column {
            Some(value.clone().into_owned())
        } else {
            None
        }
    }
}

impl FromColumn for Vec<u8> {
    fn from_column(column: &Value<'static>) -> Option<Self> {
        if let Value::Blob(value) = column {
            Some(value.clone().into_owned())
        } else {
            None
        }
    }
}

impl<T: FromColumn> FromColumn for Option<T> {
    fn from_column(column: &Value<'static>) -> Option<Self> {
        if *column == Value::Null {
            Some(None)
        } else {
            T::from_column(column).map(Some)
        }
    }
}
