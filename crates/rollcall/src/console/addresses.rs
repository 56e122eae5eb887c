//! The addresses of the console: each is remembered where it is declared, so that a test can ask every one of them.

use std::sync::Arc;

use axum::Router;
use axum::routing::MethodRouter;

use super::Console;

/// Pages, and whatever else the console serves to somebody who has signed in.
#[derive(Default)]
pub(super) struct Addresses {
    router: Router<Arc<Console>>,
    declared: Vec<String>,
}

impl Addresses {
    /// One more, with a place in braces for each id.
    pub(super) fn route(mut self, address: &str, handlers: MethodRouter<Arc<Console>>) -> Self {
        self.declared.push(address.to_owned());
        Self {
            router: self.router.route(address, handlers),
            ..self
        }
    }

    /// Those of another part of the console as well.
    pub(super) fn merge(mut self, others: Self) -> Self {
        self.declared.extend(others.declared);
        Self {
            router: self.router.merge(others.router),
            ..self
        }
    }

    /// What serves them.
    pub(super) fn router(self) -> Router<Arc<Console>> {
        self.router
    }

    /// All of them.
    pub(super) fn declared(self) -> Vec<String> {
        self.declared
    }
}
