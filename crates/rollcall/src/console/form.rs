//! What a form brings, and how it is shown again when something in it is wrong: with what was typed, and beside each
//! field what to do.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Form, FromRequest, FromRequestParts, Request};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};

use super::Console;
use super::error::Failure;
use super::page::{Answer, View, show};
use crate::access::{Caller, Version};
use crate::secret::SecretString;

/// The fields of a form, and what is to be said beside them.
#[derive(Clone, Default)]
pub(super) struct Filled {
    values: Vec<(String, String)>,
    wrong: Vec<(String, String)>,
    present: Vec<(String, String)>,
    alert: Option<String>,
}

impl std::fmt::Debug for Filled {
    /// Some of the values are passwords.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Filled").finish_non_exhaustive()
    }
}

impl Filled {
    /// A form as it is shown at first.
    pub(super) fn with(values: &[(&str, &str)]) -> Self {
        let mut filled = Self::default();
        for (name, value) in values {
            filled.put(name, *value);
        }
        filled
    }

    /// Gives a field another value.
    pub(super) fn put(&mut self, name: &str, value: impl Into<String>) {
        let value = value.into();
        match self.values.iter_mut().find(|(known, _)| known == name) {
            Some(field) => field.1 = value,
            None => self.add(name, value),
        }
    }

    /// Gives a field one more value.
    pub(super) fn add(&mut self, name: &str, value: impl Into<String>) {
        self.values.push((name.to_owned(), value.into()));
    }

    /// What stands in a field, without spaces around it.
    pub(super) fn value(&self, name: &str) -> &str {
        let found = self.values.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value.trim())
    }

    /// The same; nothing if it is empty.
    pub(super) fn given(&self, name: &str) -> Option<String> {
        Some(self.value(name).to_owned()).filter(|value| !value.is_empty())
    }

    /// What stands in fields that there may be several of, in their order.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let fields = self.values.iter().filter(move |(known, _)| known == name);
        fields.map(|(_, value)| value.trim())
    }

    /// Whether a box is ticked.
    pub(super) fn is_on(&self, name: &str) -> bool {
        !self.value(name).is_empty()
    }

    /// Whether a field that chooses among several stands on this one.
    pub(super) fn is(&self, name: &str, value: &str) -> bool {
        self.value(name) == value
    }

    /// The fields of a form that was sent in another way.
    pub(super) fn sent(values: Vec<(String, String)>) -> Self {
        // Browsers end the lines of a text as mail does.
        let values = values
            .into_iter()
            .map(|(name, value)| (name, value.replace("\r\n", "\n")))
            .collect();
        Self {
            values,
            ..Self::default()
        }
    }

    /// Takes a secret out, as it was typed: it is not shown again.
    pub(super) fn take_secret(&mut self, name: &str) -> SecretString {
        let place = self.values.iter().position(|(known, _)| known == name);
        let value = place.map(|place| self.values.swap_remove(place).1);
        SecretString::from(value.unwrap_or_default())
    }

    /// The version of what the form is about.
    pub(super) fn version(&self) -> Option<Version> {
        self.value("version").parse().ok()
    }

    /// Says what is wrong with a field. What was said first stays.
    pub(super) fn refuse(&mut self, name: &str, words: String) {
        if self.wrong(name).is_none() {
            self.wrong.push((name.to_owned(), words));
        }
    }

    /// Says what is wrong with the whole.
    pub(super) fn warn(&mut self, words: String) {
        self.alert = Some(words);
    }

    /// Shows beside each of these fields what is there now, and takes the version of that: sending the form again
    /// overwrites it.
    pub(super) fn compare(&mut self, is: &Self, names: &[&str]) {
        for name in names {
            if self.value(name) != is.value(name) {
                self.present.push(((*name).to_owned(), is.value(name).to_owned()));
            }
        }
        self.put("version", is.value("version"));
    }

    /// Whether it has to be shown again.
    pub(super) fn is_refused(&self) -> bool {
        self.alert.is_some() || !self.wrong.is_empty()
    }

    /// What is wrong with a field.
    pub(super) fn wrong(&self, name: &str) -> Option<&str> {
        let found = self.wrong.iter().find(|(known, _)| known == name);
        found.map(|(_, words)| words.as_str())
    }

    /// Whether it is the field at which to begin.
    pub(super) fn is_first_wrong(&self, name: &str) -> bool {
        self.wrong.first().is_some_and(|(known, _)| known == name)
    }

    /// What somebody else has put into a field meanwhile.
    pub(super) fn present(&self, name: &str) -> Option<&str> {
        let found = self.present.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// What is wrong with the whole.
    pub(super) fn alert(&self) -> Option<&str> {
        self.alert.as_deref()
    }

    /// Whether some field is wrong.
    pub(super) fn has_wrong_fields(&self) -> bool {
        !self.wrong.is_empty()
    }
}

/// A form that a page of this sign-in has sent, and who sent it.
pub(super) struct Posted {
    pub(super) view: View,
    pub(super) form: Filled,
}

impl FromRequest<Arc<Console>> for Posted {
    type Rejection = Response;

    async fn from_request(request: Request, console: &Arc<Console>) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let view = View::from_request_parts(&mut parts, console).await?;
        let sent =
            Form::<Vec<(String, String)>>::from_request(Request::from_parts(parts, body), console).await;
        let Ok(Form(values)) = sent else {
            return Err(Failure::Stale.into_response());
        };
        let form = Filled::sent(values);
        match view.is_genuine(form.value("csrf")) {
            Ok(()) => Ok(Self { view, form }),
            Err(failure) => Err(failure.into_response()),
        }
    }
}

impl Posted {
    /// Who acts, on the ground of the version that the page showed.
    pub(super) fn caller(&self) -> Caller {
        let caller = self.view.visitor.caller();
        match self.form.version() {
            Some(version) => caller.expecting(version),
            None => caller,
        }
    }
}

/// Shows a form again in which something is wrong.
pub(super) fn again(template: &impl Template) -> Answer {
    Ok((StatusCode::UNPROCESSABLE_ENTITY, show(template)?).into_response())
}

/// Leads back to a page, which says what was done.
pub(super) fn done(path: &str, what: &str) -> Answer {
    let mark = if path.contains('?') { '&' } else { '?' };
    Ok(Redirect::to(&format!("{path}{mark}done={what}")).into_response())
}
