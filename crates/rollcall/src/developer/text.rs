//! What a call brings: a JSON object whose fields are read one by one, so that each that is wrong is named.
//!
//! A field that is absent or null stays as it is. A text that is empty says that there is to be none (wire contract,
//! section 8). Fields that nobody knows are passed over, since clients of a later version send them.

use serde_json::{Map, Value};

use super::Refusal;
use crate::secret::SecretString;

/// The fields of a call.
#[derive(Debug, Default)]
pub struct Given(Map<String, Value>);

impl Given {
    /// Reads a body. One that is empty has no fields.
    ///
    /// # Errors
    /// [`Refusal::body`].
    pub fn read(body: &[u8]) -> Result<Self, Refusal> {
        if body.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self::default());
        }
        match serde_json::from_slice(body) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            Ok(_) => Err(Refusal::body("the body must be a JSON object")),
            // What it says may quote what was sent, a password among it.
            Err(error) => Err(Refusal::body(format!(
                "the body is not JSON: line {}, column {}",
                error.line(),
                error.column()
            ))),
        }
    }

    fn get(&self, field: &str) -> Option<&Value> {
        self.0.get(field).filter(|value| !value.is_null())
    }

    /// A text as it was given; `None` if it was not.
    ///
    /// # Errors
    /// [`Refusal::invalid`].
    pub fn text(&self, field: &str) -> Result<Option<String>, Refusal> {
        match self.get(field) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(Refusal::invalid(field, format!("{field} must be a text"))),
        }
    }

    /// A name as it was given; `None` if it was not.
    ///
    /// # Errors
    /// [`Refusal::missing`] if it is empty: what has a name keeps one.
    pub fn name(&self, field: &str) -> Result<Option<String>, Refusal> {
        match self.text(field)? {
            Some(name) if name.is_empty() => Err(Refusal::missing(field)),
            name => Ok(name),
        }
    }

    /// A text that is needed.
    ///
    /// # Errors
    /// [`Refusal::missing`], also if it is empty; [`Refusal::invalid`].
    pub fn needed(&self, field: &str) -> Result<String, Refusal> {
        let given = self.text(field)?.filter(|text| !text.is_empty());
        given.ok_or_else(|| Refusal::missing(field))
    }

    /// A text of something new; `None` if it is absent or empty.
    ///
    /// # Errors
    /// [`Refusal::invalid`].
    pub fn some(&self, field: &str) -> Result<Option<String>, Refusal> {
        Ok(self.text(field)?.filter(|text| !text.is_empty()))
    }

    /// What becomes of a text: `None` if it stays, `Some(None)` if it was given as empty.
    ///
    /// # Errors
    /// [`Refusal::invalid`].
    pub fn change(&self, field: &str) -> Result<Option<Option<String>>, Refusal> {
        Ok(self
            .text(field)?
            .map(|text| Some(text).filter(|text| !text.is_empty())))
    }

    /// Whether something is so; `None` if that was not said.
    ///
    /// # Errors
    /// [`Refusal::invalid`].
    pub fn truth(&self, field: &str) -> Result<Option<bool>, Refusal> {
        match self.get(field) {
            None => Ok(None),
            Some(Value::Bool(truth)) => Ok(Some(*truth)),
            Some(_) => Err(Refusal::invalid(field, format!("{field} must be true or false"))),
        }
    }

    /// A secret; an error does not quote it.
    ///
    /// # Errors
    /// [`Refusal::invalid`].
    pub fn secret(&self, field: &str) -> Result<Option<SecretString>, Refusal> {
        Ok(self.some(field)?.map(SecretString::from))
    }

    /// A list of ids, of which there is one at least.
    ///
    /// # Errors
    /// [`Refusal::missing`], [`Refusal::invalid`].
    pub fn ids(&self, field: &str, most: usize) -> Result<Vec<String>, Refusal> {
        let given = match self.get(field) {
            None => return Err(Refusal::missing(field)),
            Some(Value::Array(given)) => given,
            Some(_) => return Err(Refusal::invalid(field, format!("{field} must be a list of ids"))),
        };
        let texts: Option<Vec<String>> = given.iter().map(|id| id.as_str().map(str::to_owned)).collect();
        match texts {
            Some(ids) if ids.is_empty() => Err(Refusal::missing(field)),
            Some(ids) if ids.len() > most => Err(Refusal::invalid(
                field,
                format!("{field} may name {most} at most"),
            )),
            Some(ids) => Ok(ids),
            None => Err(Refusal::invalid(field, format!("{field} must be a list of ids"))),
        }
    }

    /// A list of ids; empty if it is absent.
    ///
    /// # Errors
    /// [`Refusal::invalid`].
    pub fn some_ids(&self, field: &str, most: usize) -> Result<Vec<String>, Refusal> {
        match self.get(field) {
            None => Ok(Vec::new()),
            Some(_) => self.ids(field, most),
        }
    }

    /// Whether a field was given.
    pub fn has(&self, field: &str) -> bool {
        self.get(field).is_some()
    }

    /// All fields but one, as a text that is the same for the same fields.
    pub fn without(&self, field: &str) -> String {
        let mut fields = self.0.clone();
        fields.remove(field);
        Value::Object(fields).to_string()
    }

    /// The path of the first field that is so: a field, or one that stands below another, also in a list. What stands
    /// below a field that is so is not looked at.
    pub fn first_path(&self, is_so: &dyn Fn(&str) -> bool) -> Option<String> {
        first_path(&self.0, "", is_so)
    }

    /// The objects of a list; none if it is absent.
    ///
    /// # Errors
    /// [`Refusal::invalid`].
    pub fn objects(&self, field: &str) -> Result<Vec<Self>, Refusal> {
        let wrong = || Refusal::invalid(field, format!("{field} must be a list of objects"));
        match self.get(field) {
            None => Ok(Vec::new()),
            Some(Value::Array(given)) => given
                .iter()
                .map(|one| {
                    one.as_object()
                        .map(|fields| Self(fields.clone()))
                        .ok_or_else(wrong)
                })
                .collect(),
            Some(_) => Err(wrong()),
        }
    }

    /// An object; `None` if it is absent.
    ///
    /// # Errors
    /// [`Refusal::invalid`].
    pub fn object(&self, field: &str) -> Result<Option<Self>, Refusal> {
        match self.get(field) {
            None => Ok(None),
            Some(Value::Object(fields)) => Ok(Some(Self(fields.clone()))),
            Some(_) => Err(Refusal::invalid(field, format!("{field} must be an object"))),
        }
    }
}

fn first_path(fields: &Map<String, Value>, above: &str, is_so: &dyn Fn(&str) -> bool) -> Option<String> {
    fields.iter().find_map(|(name, value)| {
        let path = format!("{above}{name}");
        if is_so(&path) {
            return Some(path);
        }
        let below = format!("{path}.");
        match value {
            Value::Object(fields) => first_path(fields, &below, is_so),
            Value::Array(all) => all
                .iter()
                .filter_map(Value::as_object)
                .find_map(|fields| first_path(fields, &below, is_so)),
            _ => None,
        }
    })
}

impl From<Map<String, Value>> for Given {
    fn from(fields: Map<String, Value>) -> Self {
        Self(fields)
    }
}
