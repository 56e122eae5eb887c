//! Requests, answers, and what they come to.

use serde_json::Value;

use super::Known;
use crate::error::{Error, ScimType};

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// Reading.
    Get,
    /// Making.
    Post,
    /// Replacing as a whole.
    Put,
    /// Changing in part.
    Patch,
    /// Deleting.
    Delete,
}

impl Method {
    /// Its name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

/// A request. Whoever sends it knows where the service provider is, and encodes id and query.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// What is done.
    pub method: Method,
    /// `Users` or `Groups`.
    pub endpoint: String,
    /// The resource; none for those that are looked for or made.
    pub id: Option<String>,
    /// The query.
    pub query: Vec<(&'static str, String)>,
    /// The body.
    pub body: Option<Value>,
    /// The version that is changed, for `If-Match`.
    pub if_match: Option<String>,
}

impl Call {
    /// A search, or another request that only reads.
    pub fn get(endpoint: &str, query: Vec<(&'static str, String)>) -> Self {
        Self {
            query,
            ..Self::new(Method::Get, endpoint)
        }
    }

    /// A request to an endpoint.
    pub fn new(method: Method, endpoint: &str) -> Self {
        Self {
            method,
            endpoint: endpoint.trim_start_matches('/').to_owned(),
            id: None,
            query: Vec::new(),
            body: None,
            if_match: None,
        }
    }

    /// The same, to a resource.
    #[must_use]
    pub fn of(self, id: &str) -> Self {
        Self {
            id: Some(id.to_owned()),
            ..self
        }
    }

    /// The same, with a body.
    #[must_use]
    pub fn with(self, body: Value) -> Self {
        Self {
            body: Some(body),
            ..self
        }
    }

    /// The same, with something more in the query.
    #[must_use]
    pub fn asking(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }
}

/// An answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The body, if it is JSON.
    pub body: Option<Value>,
    /// The header `ETag`.
    pub etag: Option<String>,
    /// The header `Location`.
    pub location: Option<String>,
}

impl Reply {
    /// Whether the service provider did what it was asked for.
    pub fn is_success(&self) -> bool {
        matches!(self.status, 200..300)
    }

    /// What the service provider says of its refusal.
    pub fn refusal(&self) -> Refusal {
        let said = self
            .body
            .as_ref()
            .and_then(|body| Error::from_json(self.status, body));
        let (scim_type, detail) = said.map_or((None, String::new()), |said| (said.scim_type, said.detail));
        Refusal {
            status: self.status,
            scim_type,
            detail,
        }
    }

    /// What an answer means that is neither a success nor one that the request has an answer to.
    pub fn verdict(&self) -> Outcome {
        match self.status {
            400 | 409 | 413 | 414 | 422 => Outcome::Refused(self.refusal()),
            405 | 501 => Outcome::Unsuitable(self.refusal()),
            _ => Outcome::Failed(self.refusal()),
        }
    }
}

/// What a service provider says where it refuses something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// The kind, if it is a SCIM error that has one.
    pub scim_type: Option<ScimType>,
    /// Its words; they may name people.
    pub detail: String,
}

/// What something comes to.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It is as it has to be, and this is known of it from now on; nothing, if it is not there.
    Told(Option<Known>),
    /// The service provider refuses it for what it is.
    Refused(Refusal),
    /// Somebody else has the name, or the resource keeps changing: it may work later.
    Taken(Refusal),
    /// The service provider does not do such requests at all: its profile is wrong.
    Unsuitable(Refusal),
    /// The answer says nothing of the resource: credentials, limits, failures of the service provider.
    Failed(Refusal),
}

/// What comes next.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// A request is sent; its answer is wanted.
    Send(Call),
    /// A resource with this id has the wanted name and does not bear the client's id. Whether the client keeps it
    /// for nobody else is to be said, by [`super::Provision::claim`].
    Claim(String),
    /// It is over.
    Over(Outcome),
}
