//! What every page has: who reads it and in which language, where in the console it is, and what has just been done.

use std::ops::Deref;
use std::sync::Arc;

use askama::Template;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::response::{Html as Body, IntoResponse, Redirect, Response};
use serde::Deserialize;
use serde_json::Value;

use super::Console;
use super::assets::Assets;
use super::docs;
use super::error::Failure;
use super::locale::{Html, Language, Reader};
use super::visitor::Visitor;
use crate::access::Permission;
use crate::api::{browser, encoded};
use crate::application::{Application, ApplicationError, store};
use crate::clock::Millis;
use crate::delivery::job::Tally;
use crate::directory::Sight;

/// A part of the console, as the navigation names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    /// The state at a glance.
    Home,
    /// Applications.
    Applications,
    /// Units, users and groups.
    Directory,
    /// Other directories that feed this one.
    Connections,
    /// Who did what.
    Audit,
    /// Accounts and tokens.
    Access,
}

/// An entry of the navigation.
pub(super) struct Entry {
    pub(super) key: &'static str,
    pub(super) address: &'static str,
    pub(super) icon: &'static str,
    pub(super) is_here: bool,
}

/// What has just been done, as the address of the page tells.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Done {
    done: Option<String>,
    count: Option<u64>,
}

/// The sentences that an address may ask for. Nothing else of it is shown.
const DONE: &[&str] = &[
    "done-password",
    "done-tested",
    "done-synchronize",
    "done-cancel",
    "done-pause",
    "done-resume",
    "done-resend",
    "done-dismiss",
    "done-skip",
    "done-push",
    "done-user-created",
    "done-user-changed",
    "done-user-moved",
    "done-user-enabled",
    "done-user-disabled",
    "done-user-locked",
    "done-user-unlocked",
    "done-user-password",
    "done-user-deleted",
    "done-unit-created",
    "done-unit-changed",
    "done-unit-moved",
    "done-unit-deleted",
    "done-group-created",
    "done-group-changed",
    "done-group-deleted",
    "done-member-added",
    "done-member-removed",
    "done-account-created",
    "done-account-changed",
    "done-account-enabled",
    "done-account-disabled",
    "done-account-deleted",
    "done-token-revoked",
    "done-access-key-revoked",
    "done-sessions-ended",
    "done-application-created",
    "done-application-saved",
    "done-encryption-key",
    "done-scope",
    "done-subscription",
    "done-application-deleted",
    "done-key-rotate",
    "done-key-try",
    "done-key-withdraw",
    "done-key-revert",
    "done-key-replace",
    "done-imported",
    "done-compare",
    "done-cancel-comparison",
    "done-repair",
    "done-profile",
    "done-connection-created",
    "done-connection-saved",
    "done-connection-enabled",
    "done-connection-disabled",
    "done-connection-deleted",
    "done-client-secret-revoked",
    "done-connection-token-revoked",
    "done-developer-api",
];

/// What every page has.
#[derive(Clone, Debug)]
pub(super) struct Page {
    reader: Reader,
    /// Who looks; `None` before they have signed in.
    pub(super) visitor: Option<Visitor>,
    /// Its own address, with what stands behind the question mark.
    pub(super) here: String,
    section: Option<Section>,
    done: Option<(&'static str, u64)>,
}

impl Deref for Page {
    type Target = Reader;

    fn deref(&self) -> &Reader {
        &self.reader
    }
}

impl Page {
    /// A page for a reader, before anybody knows who that is.
    pub(super) fn of(reader: Reader, here: String) -> Self {
        Self {
            reader,
            visitor: None,
            here,
            section: None,
            done: None,
        }
    }

    /// The same for somebody who has signed in.
    #[must_use]
    pub(super) fn seen_by(self, visitor: Visitor) -> Self {
        Self {
            visitor: Some(visitor),
            ..self
        }
    }

    /// The same in a part of the console.
    #[must_use]
    pub(super) fn within(self, section: Section) -> Self {
        Self {
            section: Some(section),
            ..self
        }
    }

    /// The same at another time.
    pub(super) fn at(&self, now: Millis) -> Self {
        Self {
            reader: self.reader.at(now),
            ..self.clone()
        }
    }

    /// The same, saying what has just been done.
    #[must_use]
    fn after(self, done: Done) -> Self {
        let key = DONE
            .iter()
            .copied()
            .find(|key| done.done.as_deref() == key.get(5..));
        Self {
            done: key.map(|key| (key, done.count.unwrap_or(0))),
            ..self
        }
    }

    /// Style sheet and scripts.
    pub(super) fn assets(&self) -> Assets {
        Assets
    }

    /// The first page of the documentation, in the reader's language.
    pub(super) fn docs(&self) -> &'static str {
        docs::first(self.language())
    }

    /// Languages that can be chosen.
    pub(super) fn languages(&self) -> [Language; 2] {
        Language::ALL
    }

    /// What has just been done, in a sentence.
    pub(super) fn notice(&self) -> Option<String> {
        self.done.map(|(key, count)| self.t1(key, "count", count))
    }

    /// What forms bring along.
    pub(super) fn csrf(&self) -> &str {
        self.visitor.as_ref().map_or("", Visitor::csrf)
    }

    /// Whether the visitor has a permission.
    pub(super) fn may(&self, permission: Permission) -> bool {
        self.visitor
            .as_ref()
            .is_some_and(|visitor| visitor.may(permission))
    }

    /// Whether the visitor may test, synchronize, resend and skip.
    pub(super) fn may_operate(&self) -> bool {
        self.may(Permission::OperateApplications)
    }

    /// Whether the visitor may change the settings and keys of applications.
    pub(super) fn may_configure(&self) -> bool {
        self.may(Permission::ConfigureApplications)
    }

    /// Whether the visitor sees the directory, or a part of it.
    pub(super) fn sees_directory(&self) -> bool {
        self.may(Permission::ReadDirectory)
    }

    /// Whether the visitor may change the directory.
    pub(super) fn may_write(&self) -> bool {
        self.may(Permission::WriteDirectory)
    }

    /// Whether the visitor may take the directory away as a file.
    pub(super) fn may_export(&self) -> bool {
        self.may(Permission::ExportDirectory)
    }

    /// Whether the visitor sees accounts, tokens and connections.
    pub(super) fn sees_access(&self) -> bool {
        self.may(Permission::ReadAccess)
    }

    /// Whether the visitor may change accounts, tokens and connections.
    pub(super) fn may_manage_access(&self) -> bool {
        self.may(Permission::ManageAccess)
    }

    /// Whether an application exists for the visitor.
    pub(super) fn reaches(&self, application_id: &str) -> bool {
        let visitor = self.visitor.as_ref();
        visitor.is_some_and(|visitor| visitor.reaches(application_id))
    }

    /// What the navigation shows to the visitor.
    pub(super) fn entries(&self) -> Vec<Entry> {
        let all = [
            (Section::Home, "nav-home", "/console/", "home"),
            (
                Section::Applications,
                "nav-applications",
                "/console/applications",
                "applications",
            ),
            (
                Section::Directory,
                "nav-directory",
                "/console/directory",
                "directory",
            ),
            (
                Section::Connections,
                "nav-connections",
                "/console/connections",
                "connections",
            ),
            (Section::Audit, "nav-audit", "/console/audit", "audit"),
            (Section::Access, "nav-access", "/console/accounts", "access"),
        ];
        let is_shown = |section: &Section| match section {
            Section::Home | Section::Applications => true,
            Section::Directory => self.sees_directory(),
            Section::Audit => self.may(Permission::ReadAudit),
            Section::Connections | Section::Access => self.may(Permission::ReadAccess),
        };
        all.into_iter()
            .filter(|(section, ..)| is_shown(section))
            .map(|(section, key, address, icon)| Entry {
                key,
                address,
                icon,
                is_here: self.section == Some(section),
            })
            .collect()
    }

    /// A drawing that stands beside words, and says nothing without them.
    pub(super) fn icon(&self, name: &str) -> Html {
        Html::new(super::icons::draw(name))
    }

    /// What became of how many, in words.
    pub(super) fn tally(&self, tally: &Tally) -> String {
        let parts = [
            ("tally-accepted-count", tally.success),
            ("tally-skipped-count", tally.skipped),
            ("tally-assumed-count", tally.assumed),
            ("tally-refused-count", tally.failed),
        ];
        let told: Vec<String> = parts
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .map(|(key, count)| self.t1(key, "count", count))
            .collect();
        match told.is_empty() {
            true => self.t("tally-none"),
            false => told.join(" · "),
        }
    }

    /// How much of a hundred is done, as a bar.
    pub(super) fn bar(&self, percent: &u64) -> Html {
        Html::new(format!(
            r#"<svg class="progress" viewBox="0 0 100 1" preserveAspectRatio="none" role="img" aria-label="{percent} %"><rect class="track" width="100" height="1"/><rect class="done" width="{percent}" height="1"/></svg>"#
        ))
    }

    /// A state in words, with a sign and a colour: `good`, `wait`, `warn`, `bad` or `idle`.
    pub(super) fn badge(&self, tone: &str, key: &str) -> Html {
        let words = askama::filters::escape(self.t(key), askama::filters::Html)
            .map_or_else(|_| String::new(), |words| words.to_string());
        Html::new(format!(
            r#"<span class="badge {tone}">{}{words}</span>"#,
            super::icons::draw(tone)
        ))
    }
}

/// Somebody who has signed in, and asks for a page.
pub(super) struct View {
    pub(super) console: Arc<Console>,
    pub(super) page: Page,
    pub(super) visitor: Visitor,
    /// What was asked, but for its body.
    pub(super) request: Parts,
}

/// Somebody who has signed in, also with a one-time password that has to be changed first.
pub(super) struct Entering(pub(super) View);

impl FromRequestParts<Arc<Console>> for Entering {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, console: &Arc<Console>) -> Result<Self, Response> {
        let here = parts.uri.to_string();
        let visitor = Visitor::of(&console.api.sign_in, parts).await;
        let Some(visitor) = visitor.map_err(|error| Failure::from(error).into_response())? else {
            let query = encoded(&here);
            return Err(Redirect::to(&format!("/console/sign-in?next={query}")).into_response());
        };
        let done = axum::extract::Query::<Done>::from_request_parts(parts, console).await;
        let reader = Reader::of(&parts.headers, console.now());
        let page = Page::of(reader, here).seen_by(visitor.clone());
        Ok(Self(View {
            console: Arc::clone(console),
            page: page.after(done.map(|query| query.0).unwrap_or_default()),
            visitor,
            request: parts.clone(),
        }))
    }
}

impl FromRequestParts<Arc<Console>> for View {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, console: &Arc<Console>) -> Result<Self, Response> {
        let Entering(view) = Entering::from_request_parts(parts, console).await?;
        match view.visitor.has_to_change_password() {
            true => Err(Redirect::to("/console/password").into_response()),
            false => Ok(view),
        }
    }
}

impl View {
    /// The same in a part of the console.
    pub(super) fn within(mut self, section: Section) -> Self {
        self.page = self.page.within(section);
        self
    }

    /// Refuses who may not.
    pub(super) fn needs(&self, permission: Permission) -> Result<(), Failure> {
        match self.visitor.may(permission) {
            true => Ok(()),
            false => Err(Failure::Forbidden),
        }
    }

    /// What the visitor sees of the directory.
    pub(super) async fn sight(&self) -> Result<Arc<Sight>, Failure> {
        self.needs(Permission::ReadDirectory)?;
        let authority = self.visitor.access().authority.clone();
        if authority.is_everything() {
            return Ok(Arc::new(Sight::EVERYTHING));
        }
        let looked = self.console.db().read(move |tx| Sight::of(tx, &authority));
        Ok(Arc::new(looked.await?))
    }

    /// Refuses a form that is not from a page of this sign-in.
    pub(super) fn is_genuine(&self, csrf: &str) -> Result<(), Failure> {
        browser::check_change(&self.request, self.visitor.access(), Some(csrf)).map_err(|_| Failure::Stale)
    }

    /// An application, by its id. One that the visitor does not reach does not exist.
    pub(super) async fn application(&self, id: String) -> Result<Application, Failure> {
        if !self.visitor.reaches(&id) {
            return Err(Failure::NotFound);
        }
        let found = self.console.db().read(move |tx| store::load(tx, &id)).await;
        match found {
            Ok(application) => Ok(application),
            Err(ApplicationError::NotFound(_)) => Err(Failure::NotFound),
            Err(error) => Err(error.into()),
        }
    }
}

/// What a handler answers.
pub(super) type Answer = Result<Response, Failure>;

/// A page as it is sent.
pub(super) fn show(template: &impl Template) -> Answer {
    Ok(Body(template.render()?).into_response())
}

/// An address with what stands behind its question mark; what is empty is left out.
pub(super) fn address(path: &str, query: &[(&str, &str)]) -> String {
    let pairs: Vec<String> = query
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{name}={}", encoded(value)))
        .collect();
    match pairs.is_empty() {
        true => path.to_owned(),
        false => format!("{path}?{}", pairs.join("&")),
    }
}

/// A record for people, with its members in the order of their names: in which order they come otherwise is decided
/// by features of libraries that others may switch on.
pub(super) fn pretty(value: &Value) -> String {
    let mut value = value.clone();
    value.sort_all_objects();
    serde_json::to_string_pretty(&value).unwrap_or_default()
}
