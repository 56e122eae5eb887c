//! Bulk requests: RFC 7644 section 3.7.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::Error;
use crate::text::shortened;
use crate::{Object, Strictness};

/// The schema of a bulk request.
pub const BULK_REQUEST_SCHEMA: &str = "urn:ietf:params:scim:api:messages:2.0:BulkRequest";
/// The schema of its answer.
pub const BULK_RESPONSE_SCHEMA: &str = "urn:ietf:params:scim:api:messages:2.0:BulkResponse";

/// How a text refers to what an operation makes.
const REFERENCE: &str = "bulkId:";

/// Several requests in one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BulkRequest {
    /// After how many errors the rest is left undone; without, all is tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fail_on_errors: Option<u64>,
    /// The requests.
    #[serde(rename = "Operations")]
    pub operations: Vec<BulkOperation>,
}

/// One request of several.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BulkOperation {
    /// What is done.
    #[serde(deserialize_with = "method")]
    pub method: BulkMethod,
    /// The client's name for what is made, to refer to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bulk_id: Option<String>,
    /// The version that must be there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// `/Users`, `/Users/{id}`.
    pub path: String,
    /// The body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
}

/// What a request of a bulk does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum BulkMethod {
    /// Makes a resource.
    Post,
    /// Puts a resource in the place of another.
    Put,
    /// Changes a resource.
    Patch,
    /// Deletes a resource.
    Delete,
}

fn method<'de, D: serde::Deserializer<'de>>(from: D) -> Result<BulkMethod, D::Error> {
    let name = String::deserialize(from)?;
    let methods = [
        BulkMethod::Post,
        BulkMethod::Put,
        BulkMethod::Patch,
        BulkMethod::Delete,
    ];
    let found = methods
        .into_iter()
        .find(|method| name.eq_ignore_ascii_case(method.as_str()));
    found.ok_or_else(|| serde::de::Error::custom("method must be POST, PUT, PATCH or DELETE"))
}

impl BulkMethod {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

/// What became of one request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BulkAnswer {
    /// What was done.
    pub method: BulkMethod,
    /// The client's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bulk_id: Option<String>,
    /// Where the resource is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// Its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The status, as text.
    pub status: String,
    /// The body, if it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<Value>,
}

impl BulkRequest {
    /// Reads the body.
    ///
    /// # Errors
    /// `invalidSyntax`, `invalidValue`; status 413 for more operations than allowed.
    pub fn read(body: Value, max_operations: usize, strictness: Strictness) -> Result<Self, Error> {
        if strictness.is_strict() && body.get("schemas") != Some(&json!([BULK_REQUEST_SCHEMA])) {
            return Err(Error::syntax(format!(
                "schemas must be [\"{BULK_REQUEST_SCHEMA}\"]"
            )));
        }
        let request: Self = serde_json::from_value(body)
            .map_err(|error| Error::syntax(format!("the bulk request cannot be read: {error}")))?;
        if request.operations.len() > max_operations {
            let count = request.operations.len();
            let detail = format!("{count} operations are more than the {max_operations} that are possible");
            return Err(Error::status(413, detail));
        }
        let mut named = HashSet::new();
        for (index, operation) in request.operations.iter().enumerate() {
            let wrong = match (operation.method, &operation.bulk_id, &operation.data) {
                (BulkMethod::Post, None, _) if strictness.is_strict() => "POST needs a bulkId",
                (BulkMethod::Post | BulkMethod::Put | BulkMethod::Patch, _, None) => "data is missing",
                (_, Some(id), _) if !named.insert(id.as_str()) => "another operation has this bulkId",
                _ => continue,
            };
            return Err(Error::value(wrong).within(&format!("operation {}", index + 1)));
        }
        Ok(request)
    }

    /// In which order the operations can be done, so that what is referred to is there: their own, but
    /// for references to what comes later. Those that refer to each other in a circle are left out of
    /// the order and returned besides, as are those that wait for them.
    pub fn order(&self) -> (Vec<usize>, Vec<usize>) {
        let named: HashMap<&str, usize> = (self.operations.iter().enumerate())
            .filter_map(|(index, operation)| Some((operation.bulk_id.as_deref()?, index)))
            .collect();
        let mut waits: Vec<HashSet<usize>> = Vec::with_capacity(self.operations.len());
        let mut waited_for: Vec<Vec<usize>> = vec![Vec::new(); self.operations.len()];
        for (index, operation) in self.operations.iter().enumerate() {
            let mut for_whom: HashSet<usize> = HashSet::new();
            each_reference(operation, &mut |id| {
                for_whom.extend(named.get(id));
            });
            for &other in &for_whom {
                waited_for[other].push(index);
            }
            waits.push(for_whom);
        }
        let mut ready: std::collections::BTreeSet<usize> = (0..waits.len())
            .filter(|&index| waits[index].is_empty())
            .collect();
        let mut order = Vec::with_capacity(waits.len());
        while let Some(next) = ready.pop_first() {
            order.push(next);
            for &waiting in &waited_for[next] {
                if waits[waiting].remove(&next) && waits[waiting].is_empty() {
                    ready.insert(waiting);
                }
            }
        }
        let stuck = (0..waits.len())
            .filter(|&index| !waits[index].is_empty())
            .collect();
        (order, stuck)
    }
}

fn each_reference<'a>(operation: &'a BulkOperation, found: &mut impl FnMut(&'a str)) {
    fn inside<'a>(value: &'a Value, found: &mut impl FnMut(&'a str)) {
        match value {
            Value::String(text) => text.strip_prefix(REFERENCE).into_iter().for_each(found),
            Value::Array(values) => values.iter().for_each(|value| inside(value, found)),
            Value::Object(object) => object.values().for_each(|value| inside(value, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    let segments = operation.path.split('/');
    segments
        .filter_map(|part| part.strip_prefix(REFERENCE))
        .for_each(&mut *found);
    operation.data.iter().for_each(|data| inside(data, found));
}

/// What the operations of a bulk have made so far: the ids by the client's names.
#[derive(Clone, Debug, Default)]
pub struct References(HashMap<String, String>);

impl References {
    /// Tells what was made.
    pub fn made(&mut self, bulk_id: impl Into<String>, id: impl Into<String>) {
        self.0.insert(bulk_id.into(), id.into());
    }

    fn resolve(&self, text: &str) -> Result<Option<String>, Error> {
        let Some(name) = text.strip_prefix(REFERENCE) else {
            return Ok(None);
        };
        match self.0.get(name) {
            Some(id) => Ok(Some(id.clone())),
            None => Err(Error::status(
                409,
                format!(
                    "no operation has made a resource with the bulkId `{}`",
                    shortened(name)
                ),
            )),
        }
    }

    /// The operation with ids in the place of the client's names.
    ///
    /// # Errors
    /// Status 409 with the name of what was not made.
    pub fn resolved(&self, mut operation: BulkOperation) -> Result<BulkOperation, Error> {
        let parts: Result<Vec<String>, Error> = (operation.path.split('/'))
            .map(|part| Ok(self.resolve(part)?.unwrap_or_else(|| part.to_owned())))
            .collect();
        operation.path = parts?.join("/");
        if let Some(data) = &mut operation.data {
            self.inside(data)?;
        }
        Ok(operation)
    }

    fn inside(&self, value: &mut Value) -> Result<(), Error> {
        match value {
            Value::String(text) => {
                if let Some(id) = self.resolve(text)? {
                    *text = id;
                }
                Ok(())
            }
            Value::Array(values) => values.iter_mut().try_for_each(|value| self.inside(value)),
            Value::Object(object) => object.values_mut().try_for_each(|value| self.inside(value)),
            Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
        }
    }
}

impl BulkAnswer {
    /// What became of a request that a resource came of, or nothing after DELETE.
    pub fn done(operation: &BulkOperation, status: u16, resource: Option<&Object>) -> Self {
        let meta = |name: &str| {
            let meta = resource?.get("meta")?;
            Some(meta.get(name)?.as_str()?.to_owned())
        };
        Self {
            method: operation.method,
            bulk_id: operation.bulk_id.clone(),
            location: meta("location"),
            version: meta("version"),
            status: status.to_string(),
            response: None,
        }
    }

    /// What became of a request that failed.
    pub fn failed(operation: &BulkOperation, error: &Error) -> Self {
        Self {
            status: error.status.to_string(),
            response: Some(error.to_json()),
            ..Self::done(operation, error.status, None)
        }
    }
}

/// The body of the answer.
pub fn bulk_response(answers: &[BulkAnswer]) -> Value {
    json!({ "schemas": [BULK_RESPONSE_SCHEMA], "Operations": answers })
}
