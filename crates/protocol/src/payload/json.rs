//! Records as JSON: written in the order of their fields, read generously.

use serde_json::{Map, Value};

use super::{PayloadError, UnitMembership};
use crate::event::read_number;

/// Writes one object, field by field, in the order of the calls.
#[derive(Default)]
pub(super) struct Writer(String);

impl Writer {
    fn key(&mut self, key: &str) {
        self.0.push(if self.0.is_empty() { '{' } else { ',' });
        self.0.push('"');
        self.0.push_str(key);
        self.0.push_str("\":");
    }

    /// A value that is JSON already.
    pub(super) fn json(&mut self, key: &str, value: &str) {
        self.key(key);
        self.0.push_str(value);
    }

    pub(super) fn str(&mut self, key: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.key(key);
            crate::event::quote(&mut self.0, value);
        }
    }

    pub(super) fn text(&mut self, key: &str, value: Option<&String>) {
        self.str(key, value.map(String::as_str));
    }

    pub(super) fn texts(&mut self, key: &str, values: &[String]) {
        self.key(key);
        self.0.push('[');
        for (index, value) in values.iter().enumerate() {
            if index > 0 {
                self.0.push(',');
            }
            crate::event::quote(&mut self.0, value);
        }
        self.0.push(']');
    }

    pub(super) fn flag(&mut self, key: &str, value: Option<bool>) {
        if let Some(value) = value {
            self.key(key);
            self.0.push_str(if value { "true" } else { "false" });
        }
    }

    pub(super) fn time(&mut self, key: &str, value: Option<i64>) {
        self.str(key, value.map(|value| value.to_string()).as_deref());
    }

    pub(super) fn finish(mut self) -> String {
        if self.0.is_empty() {
            self.0.push('{');
        }
        self.0.push('}');
        self.0
    }
}

/// Reads fields by either of their names.
pub(super) struct Reader(Map<String, Value>);

impl Reader {
    pub(super) fn parse(text: &str) -> Result<Self, PayloadError> {
        match serde_json::from_str(text) {
            Ok(Value::Object(object)) => Ok(Self(object)),
            Ok(other) => Err(PayloadError::NotAnObject(shorten(&other))),
            Err(error) => Err(PayloadError::NotAnObject(error.to_string())),
        }
    }

    fn get(&self, keys: &[&str]) -> Option<(String, &Value)> {
        keys.iter()
            .filter_map(|key| Some(((*key).to_owned(), self.0.get(*key)?)))
            .find(|(_, value)| !value.is_null())
    }

    pub(super) fn id(&self, key: &'static str) -> Result<String, PayloadError> {
        self.text(&[key])?
            .filter(|id| !id.is_empty())
            .ok_or(PayloadError::Missing(key))
    }

    pub(super) fn text(&self, keys: &[&str]) -> Result<Option<String>, PayloadError> {
        match self.get(keys) {
            None => Ok(None),
            Some((_, Value::String(text))) => Ok(Some(text.clone())),
            Some((_, Value::Number(number))) => Ok(Some(number.to_string())),
            Some((field, other)) => Err(PayloadError::Unreadable {
                field,
                value: shorten(other),
            }),
        }
    }

    pub(super) fn flag(&self, key: &str) -> Result<Option<bool>, PayloadError> {
        match self.get(&[key]) {
            None => Ok(None),
            Some((_, Value::Bool(value))) => Ok(Some(*value)),
            Some((_, Value::String(text))) if text.is_empty() => Ok(None),
            Some((_, Value::String(text))) if text == "true" => Ok(Some(true)),
            Some((_, Value::String(text))) if text == "false" => Ok(Some(false)),
            Some((field, other)) => Err(PayloadError::Unreadable {
                field,
                value: shorten(other),
            }),
        }
    }

    pub(super) fn time(&self, keys: &[&str]) -> Result<Option<i64>, PayloadError> {
        match self.get(keys) {
            None => Ok(None),
            Some((_, Value::String(text))) if text.is_empty() => Ok(None),
            Some((field, value)) => read_number(value)
                .map(Some)
                .ok_or_else(|| PayloadError::Unreadable {
                    field,
                    value: shorten(value),
                }),
        }
    }

    pub(super) fn list(&self, key: &str) -> Result<Option<Vec<String>>, PayloadError> {
        match self.get(&[key]) {
            None => Ok(None),
            Some((field, value)) => {
                serde_json::from_value(value.clone())
                    .map(Some)
                    .map_err(|_| PayloadError::Unreadable {
                        field,
                        value: shorten(value),
                    })
            }
        }
    }

    pub(super) fn units(&self) -> Result<Vec<UnitMembership>, PayloadError> {
        let Some((field, value)) = self.get(&["userOrganizationalUnits", "organizationalUnits"]) else {
            return Ok(Vec::new());
        };
        let unreadable = || PayloadError::Unreadable {
            field: field.clone(),
            value: shorten(value),
        };
        value
            .as_array()
            .ok_or_else(unreadable)?
            .iter()
            .map(|unit| {
                let unit = Self(unit.as_object().ok_or_else(unreadable)?.clone());
                Ok(UnitMembership {
                    id: unit.id("organizationalUnitId")?,
                    name: unit.text(&["organizationalUnitName", "name"])?,
                    primary: unit.flag("primary")?.unwrap_or(false),
                })
            })
            .collect()
    }

    pub(super) fn custom_fields(&self) -> Option<Map<String, Value>> {
        let fields: Map<String, Value> = self
            .0
            .get("customFields")?
            .as_array()?
            .iter()
            .filter_map(|field| {
                Some((
                    field.get("fieldName")?.as_str()?.to_owned(),
                    field.get("fieldValue")?.clone(),
                ))
            })
            .collect();
        (!fields.is_empty()).then_some(fields)
    }
}

pub(super) fn shorten(value: &Value) -> String {
    value.to_string().chars().take(80).collect()
}
