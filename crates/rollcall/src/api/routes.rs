//! The routes of the administrator's API, and the description of them that the API gives of itself.
//!
//! A route is declared once, with what it does, so the description cannot differ from what there is.

use axum::Router;
use axum::handler::Handler;
use axum::routing::{MethodFilter, on};
use serde::Serialize;

/// One route as it is described.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Route {
    method: &'static str,
    path: String,
    does: &'static str,
    /// What may stand behind the question mark.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    query: &'static [&'static str],
}

impl Route {
    pub(super) fn path(&self) -> &str {
        &self.path
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
        does: &'static str,
        handler: H,
    ) -> Self {
        self.described.push(Route {
            method,
            path: format!("{}{path}", self.prefix),
            does,
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
        does: &'static str,
        handler: H,
    ) -> Self {
        self.on((MethodFilter::GET, "GET"), path, does, handler)
    }

    pub(super) fn post<H: Handler<T, S>, T: 'static>(
        self,
        path: &str,
        does: &'static str,
        handler: H,
    ) -> Self {
        self.on((MethodFilter::POST, "POST"), path, does, handler)
    }

    pub(super) fn patch<H: Handler<T, S>, T: 'static>(
        self,
        path: &str,
        does: &'static str,
        handler: H,
    ) -> Self {
        self.on((MethodFilter::PATCH, "PATCH"), path, does, handler)
    }

    pub(super) fn delete<H: Handler<T, S>, T: 'static>(
        self,
        path: &str,
        does: &'static str,
        handler: H,
    ) -> Self {
        self.on((MethodFilter::DELETE, "DELETE"), path, does, handler)
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
