//! The routes of the administrator's API, and the description of them that the API gives of itself.
//!
//! A route is declared once, with what it does and the permission that it asks for, so the description cannot differ
//! from what there is, and no route can be without a permission.

use axum::Router;
use axum::handler::Handler;
use axum::routing::{MethodFilter, on};
use serde::Serialize;

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
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    query: &'static [&'static str],
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

    fn on<H: Handler<T, S>, T: 'static>(
        mut self,
        (filter, method): (MethodFilter, &'static str),
        path: &str,
        permission: Permission,
        does: &'static str,
        handler: H,
    ) -> Self {
        self.described.push(Route {
            method,
            path: format!("{}{path}", self.prefix),
            does,
            permission,
            query: &[],
        });
        Self {
            router: self.router.route(path, on(filter, handler)),
            ..self
        }
    }

    pub(super) fn get<H: Handler<T, S>, T: 'static>(
        self,
        path: &str,
        permission: Permission,
        does: &'static str,
        handler: H,
    ) -> Self {
        self.on((MethodFilter::GET, "GET"), path, permission, does, handler)
    }

    pub(super) fn post<H: Handler<T, S>, T: 'static>(
        self,
        path: &str,
        permission: Permission,
        does: &'static str,
        handler: H,
    ) -> Self {
        self.on((MethodFilter::POST, "POST"), path, permission, does, handler)
    }

    pub(super) fn patch<H: Handler<T, S>, T: 'static>(
        self,
        path: &str,
        permission: Permission,
        does: &'static str,
        handler: H,
    ) -> Self {
        self.on((MethodFilter::PATCH, "PATCH"), path, permission, does, handler)
    }

    pub(super) fn delete<H: Handler<T, S>, T: 'static>(
        self,
        path: &str,
        permission: Permission,
        does: &'static str,
        handler: H,
    ) -> Self {
        self.on((MethodFilter::DELETE, "DELETE"), path, permission, does, handler)
    }

    /// What the route before may be asked for behind the question mark.
    pub(super) fn asking(mut self, query: &'static [&'static str]) -> Self {
        if let Some(route) = self.described.last_mut() {
            route.query = query;
        }
        self
    }

    /// The router, and the description of what it serves.
    pub(super) fn done(self) -> (Router<S>, Vec<Route>) {
        (self.router, self.described)
    }
}
