//! The routes of the administrator's API, and the description of them that the API gives of itself.
//!
//! A route is declared once, with what it does and the permission that it asks for, so the description cannot differ
//! from what there is, and no route can be without a permission.

use axum::Router;
use axum::handler::Handler;
use axum::http::header::IF_MATCH;
use axum::http::request::Parts;
use axum::routing::{MethodFilter, on};
use serde::Serialize;

use super::describe::{Signature, Signed};
use super::{ApiError, idempotency};
use crate::access::Permission;

/// One route as it is described.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Route {
    method: &'static str,
    path: String,
    does: &'static str,
    /// What whoever asks needs.
    permission: Permission,
    /// What may stand behind the question mark.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    query: Vec<String>,
    /// Whether `Idempotency-Key` makes sure that it is done once.
    #[serde(skip_serializing_if = "is_false")]
    creates: bool,
    /// Whether `If-Match` holds it to a version.
    #[serde(skip_serializing_if = "is_false")]
    versioned: bool,
    /// What the handler takes and answers.
    #[serde(skip)]
    signature: Signature,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

impl Route {
    pub(super) fn method(&self) -> &'static str {
        self.method
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn permission(&self) -> Permission {
        self.permission
    }

    pub(super) fn does(&self) -> &'static str {
        self.does
    }

    pub(super) fn creates(&self) -> bool {
        self.creates
    }

    pub(super) fn versioned(&self) -> bool {
        self.versioned
    }

    pub(super) fn signature(&self) -> &Signature {
        &self.signature
    }

    pub(super) fn asks(&self, name: &str) -> bool {
        self.query.iter().any(|known| known == name)
    }

    /// Refuses what the route takes no notice of, and whoever sends it believes that it does.
    ///
    /// # Errors
    /// [`ApiError`], with what there is.
    pub(super) fn check(&self, parts: &Parts) -> Result<(), ApiError> {
        let query = parts.uri.query().unwrap_or_default();
        let names = query
            .split('&')
            .map(|pair| pair.split('=').next().unwrap_or_default());
        if let Some(unknown) = names
            .filter(|name| !name.is_empty())
            .find(|name| !self.asks(name))
        {
            let unknown = rollcall_protocol::shown(unknown);
            return Err(ApiError::bad_request(match self.query.as_slice() {
                [] => format!("the query: {unknown}: there are no parameters here"),
                known => format!("the query: {unknown}: there are {}", known.join(", ")),
            }));
        }
        for (header, is_taken) in [(IF_MATCH, self.versioned), (idempotency::KEY, self.creates)] {
            if !is_taken && parts.headers.contains_key(&header) {
                return Err(ApiError::bad_request(format!(
                    "the header {header} has no meaning here; leave it out"
                )));
            }
        }
        Ok(())
    }
}

/// Routes below a prefix.
pub(super) struct Routes<S> {
    prefix: &'static str,
    router: Router<S>,
    described: Vec<Route>,
}

impl<S: Clone + Send + Sync + 'static> Routes<S> {
    pub(super) fn below(prefix: &'static str) -> Self {
        Self {
            prefix,
            router: Router::new(),
            described: Vec::new(),
        }
    }

    fn on<H: Handler<T, S> + Signed<D>, T: 'static, D>(
        mut self,
        (filter, method): (MethodFilter, &'static str),
        path: &str,
        permission: Permission,
        does: &'static str,
        handler: H,
    ) -> Self {
        let signature = H::signature();
        self.described.push(Route {
            query: signature.names(),
            signature,
            method,
            path: format!("{}{path}", self.prefix),
            does,
            permission,
            creates: false,
            versioned: false,
        });
        Self {
            router: self.router.route(path, on(filter, handler)),
            ..self
        }
    }

    pub(super) fn get<H: Handler<T, S> + Signed<D>, T: 'static, D>(
        self,
        path: &str,
        permission: Permission,
        does: &'static str,
        handler: H,
    ) -> Self {
        self.on((MethodFilter::GET, "GET"), path, permission, does, handler)
    }

    pub(super) fn post<H: Handler<T, S> + Signed<D>, T: 'static, D>(
        self,
        path: &str,
        permission: Permission,
        does: &'static str,
        handler: H,
    ) -> Self {
        self.on((MethodFilter::POST, "POST"), path, permission, does, handler)
    }

    pub(super) fn patch<H: Handler<T, S> + Signed<D>, T: 'static, D>(
        self,
        path: &str,
        permission: Permission,
        does: &'static str,
        handler: H,
    ) -> Self {
        self.on((MethodFilter::PATCH, "PATCH"), path, permission, does, handler)
    }

    pub(super) fn delete<H: Handler<T, S> + Signed<D>, T: 'static, D>(
        self,
        path: &str,
        permission: Permission,
        does: &'static str,
        handler: H,
    ) -> Self {
        self.on((MethodFilter::DELETE, "DELETE"), path, permission, does, handler)
    }

    fn last(mut self, change: impl FnOnce(&mut Route)) -> Self {
        if let Some(route) = self.described.last_mut() {
            change(route);
        }
        self
    }

    /// The route before makes something: it takes `Idempotency-Key`.
    pub(super) fn creating(self) -> Self {
        self.last(|route| route.creates = true)
    }

    /// The route before changes a record that has a version: it takes `If-Match`.
    pub(super) fn versioned(self) -> Self {
        self.last(|route| route.versioned = true)
    }

    /// The router, and the description of what it serves.
    pub(super) fn done(self) -> (Router<S>, Vec<Route>) {
        (self.router, self.described)
    }
}
