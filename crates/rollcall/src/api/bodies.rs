//! The bodies that the administrator's API takes, each with its schema and what reads it, for whoever tries them without
//! doing anything.

use axum::body::Bytes;
use serde_json::Value;

use super::describe::{Read, Taken};
use super::routes::Route;
use super::{ApiError, admin, shape};

/// A body.
#[derive(Clone, Debug)]
pub struct RequestBody {
    /// Method and path of the route.
    pub route: String,
    /// What the description says of it (JSON Schema 2020-12, with all of its parts where they are used).
    pub schema: Value,
    read: Read,
}

impl RequestBody {
    fn of(route: &Route) -> Option<Self> {
        let Some(Taken::Json(make, read)) = route.signature().takes else {
            return None;
        };
        Some(Self {
            route: format!("{} {}", route.method(), route.path()),
            schema: make(&mut shape::of_requests().into_generator()).to_value(),
            read,
        })
    }

    /// Reads a body, and does nothing with it.
    ///
    /// # Errors
    /// What whoever sends it would be told.
    pub fn read(&self, body: Bytes) -> Result<(), ApiError> {
        (self.read)(body)
    }
}

/// All of them, in the order of the routes.
pub fn all() -> Vec<RequestBody> {
    let (_, routes) = admin::routes().done();
    routes.iter().filter_map(RequestBody::of).collect()
}
