//! What is shown once and never again: a password or a token that was just made. It stands in the answer to the form
//! that asked for it, and nowhere else.

use askama::Template;

use super::page::Page;
use crate::secret::{ExposeSecret as _, SecretString};

/// A secret that was just made.
#[derive(Template)]
#[template(path = "once.html")]
pub(super) struct ShownOnce {
    pub(super) page: Page,
    /// What it is.
    pub(super) title: String,
    /// What to do with it.
    pub(super) lead: String,
    /// What it is called.
    pub(super) label: String,
    pub(super) secret: SecretString,
    /// What belongs to it and is not secret: what it is called, and it.
    pub(super) beside: Option<(String, String)>,
    /// Where to go on.
    pub(super) back: String,
}
