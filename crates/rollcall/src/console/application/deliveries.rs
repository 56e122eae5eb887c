//! *Deliveries*: the requests to the application, filtered and live, and the events that are set aside.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use rollcall_db::DbError;
use rollcall_protocol::EventType;
use serde::Deserialize;

use super::{Head, Tab, follow};
use crate::access::Permission;
use crate::console::Console;
use crate::console::error::Failure;
use crate::console::page::{Answer, Page, Section, View, address, show};
use crate::delivery::job::Tally;
use crate::delivery::ledger::attempts::{self, Filter, Outcome, Search};
use crate::delivery::ledger::parked;
use crate::delivery::model::{Attempt, Parked};
use crate::delivery::status;
use crate::directory::{query, view};

/// How many requests a page has.
const ON_A_PAGE: usize = 50;
/// How many events that are set aside.
const SET_ASIDE: usize = 50;
/// How many requests, to all applications together, are looked at for one page.
const LOOKED_AT: i64 = 10_000;

#[derive(Clone, Debug, Default, Deserialize)]
pub(in crate::console) struct Wanted {
    #[serde(default)]
    outcome: String,
    #[serde(default)]
    event: String,
    #[serde(default)]
    subject: String,
    #[serde(default)]
    since: String,
    #[serde(default)]
    until: String,
    before: Option<i64>,
}

/// The outcomes that are offered: what stands in the address, and the key of its words.
const OUTCOMES: [(&str, &str); 3] = [
    ("", "outcome-any"),
    ("accepted", "outcome-accepted"),
    ("troubled", "outcome-troubled"),
];

impl Wanted {
    fn is_filtered(&self) -> bool {
        [
            &self.outcome,
            &self.event,
            &self.subject,
            &self.since,
            &self.until,
        ]
        .iter()
        .any(|text| !text.trim().is_empty())
    }

    fn filter(&self, page: &Page, subject: Option<String>) -> Filter {
        let time = |text: &str| {
            Some(text)
                .filter(|text| !text.is_empty())
                .and_then(|text| page.read_field(text))
        };
        Filter {
            outcome: match self.outcome.as_str() {
                "" => Outcome::Any,
                "accepted" => Outcome::Accepted,
                "troubled" => Outcome::Troubled,
                code => Outcome::Code(code.to_owned()),
            },
            event_type: Some(self.event.clone()).filter(|event| !event.is_empty()),
            subject,
            since: time(&self.since),
            until: time(&self.until),
        }
    }

    fn address(&self, application_id: &str, before: i64) -> String {
        let path = format!("/console/applications/{application_id}/deliveries");
        let query = [
            ("outcome", self.outcome.as_str()),
            ("event", &self.event),
            ("subject", &self.subject),
            ("since", &self.since),
            ("until", &self.until),
            ("before", &before.to_string()),
        ];
        address(&path, &query)
    }
}

/// A request as it stands in the list.
pub(super) struct ShownAttempt {
    pub(super) number: i64,
    pub(super) tone: &'static str,
    pub(super) key: &'static str,
    pub(super) attempt: Attempt,
    pub(super) millis: f64,
    pub(super) detail: Option<String>,
}

impl ShownAttempt {
    pub(super) fn of(number: i64, attempt: Attempt) -> Self {
        let Attempt {
            failed,
            retried,
            skipped,
            assumed,
            ..
        } = attempt;
        let (tone, key) = match attempt.outcome.as_str() {
            "delivered" if failed > 0 => ("bad", "attempt-refused"),
            "delivered" if retried > 0 => ("warn", "attempt-retried"),
            "delivered" if skipped > 0 => ("warn", "attempt-skipped"),
            "delivered" if assumed > 0 => ("warn", "attempt-unnamed"),
            "delivered" => ("good", "attempt-accepted"),
            "assumed" => ("warn", "attempt-assumed"),
            "unsealed" => ("bad", "outcome-unsealed"),
            "forbidden_address" => ("bad", "outcome-forbidden-address"),
            "unresolved" => ("bad", "outcome-unresolved"),
            "unconnected" => ("bad", "outcome-unconnected"),
            "tls" => ("bad", "outcome-tls"),
            "timed_out" => ("bad", "outcome-timed-out"),
            "broken" => ("bad", "outcome-broken"),
            "unreadable_answer" => ("bad", "outcome-unreadable-answer"),
            "unsuitable" => ("bad", "outcome-unsuitable"),
            "refused" => ("bad", "outcome-refused"),
            _ => ("bad", "attempt-failed"),
        };
        #[expect(clippy::cast_precision_loss, reason = "a request takes minutes at most")]
        let millis = attempt.latency_us as f64 / 1_000.0;
        Self {
            number,
            tone,
            key,
            millis,
            detail: attempt.in_full(),
            attempt,
        }
    }

    /// What became of its events.
    pub(super) fn sum(&self) -> Tally {
        let attempt = &self.attempt;
        Tally {
            total: attempt.events.into(),
            success: attempt.succeeded.into(),
            assumed: attempt.assumed.into(),
            failed: u64::from(attempt.failed) + u64::from(attempt.retried),
            skipped: attempt.skipped.into(),
        }
    }

    /// The key of what the request was made of.
    pub(super) fn source(&self) -> &'static str {
        match self.attempt.source.as_str() {
            "log" => "source-log",
            "parked" => "source-parked",
            "job" => "source-job",
            "test" => "source-test",
            _ => "source-key-trial",
        }
    }
}

/// An event that is set aside.
struct Aside {
    parked: Parked,
    subject: String,
    event: &'static str,
}

/// The list: what is sent again when it has changed.
#[derive(Template)]
#[template(path = "attempts.html")]
struct Attempts {
    page: Page,
    application_id: String,
    rows: Vec<ShownAttempt>,
    is_filtered: bool,
    is_cut: bool,
    older: Option<String>,
}

#[derive(Template)]
#[template(path = "deliveries.html")]
struct DeliveriesPage {
    page: Page,
    head: Head,
    wanted: Wanted,
    outcomes: [(&'static str, &'static str); 3],
    events: Vec<&'static str>,
    unknown_subject: bool,
    aside: Vec<Aside>,
    aside_count: u64,
    attempts: Attempts,
    is_live: bool,
}

pub(super) async fn deliveries(view: View, Path(id): Path<String>, Query(wanted): Query<Wanted>) -> Answer {
    let view = view.within(Section::Applications);
    view.needs(Permission::ReadDeliveries)?;
    let application = view.application(id).await?;
    let page = view.page.clone();
    let asked = wanted.clone();
    let (status, aside, names, attempts, unknown_subject) = view
        .console
        .db()
        .read(move |tx| {
            let written = asked.subject.trim();
            let ids = match written.is_empty() {
                true => Vec::new(),
                false => query::ids_of(tx, written)?,
            };
            // Whoever is gone is still found by the id.
            let subject = ids.first().cloned().or_else(|| Some(written.to_owned()));
            let subject = subject.filter(|subject| !subject.is_empty());
            let unknown = ids.is_empty() && subject.is_some();
            let aside = parked::set_aside(tx, &application.id, SET_ASIDE)?;
            let subjects: Vec<String> = aside.iter().map(|parked| parked.subject_id.clone()).collect();
            let names = view::names(tx, &subjects)?;
            let filter = asked.filter(&page, subject);
            let mut search = Search::of(LOOKED_AT);
            let found = attempts::page(tx, &mut search, &application.id, &filter, asked.before, ON_A_PAGE)?;
            let attempts = Attempts {
                page: page.clone(),
                application_id: application.id.clone(),
                rows: shown(found.found),
                is_filtered: asked.is_filtered(),
                is_cut: search.was_cut_short(),
                older: found.before.map(|before| asked.address(&application.id, before)),
            };
            let status = status::of(tx, application.clone())?;
            Ok::<_, DbError>((status, aside, names, attempts, unknown))
        })
        .await?;
    show(&DeliveriesPage {
        head: Head::of(&status, Tab::Deliveries, &view.page),
        outcomes: OUTCOMES,
        events: EventType::ALL.iter().map(|event| event.short()).collect(),
        unknown_subject,
        aside: aside
            .into_iter()
            .map(|parked| Aside {
                subject: names
                    .get(&parked.subject_id)
                    .unwrap_or(&parked.subject_id)
                    .clone(),
                event: parked.event_type.short(),
                parked,
            })
            .collect(),
        aside_count: status.parked[2],
        is_live: !wanted.is_filtered() && wanted.before.is_none(),
        wanted,
        attempts,
        page: view.page,
    })
}

fn shown(found: Vec<(i64, Attempt)>) -> Vec<ShownAttempt> {
    let rows = found.into_iter();
    rows.map(|(number, attempt)| ShownAttempt::of(number, attempt))
        .collect()
}

pub(super) async fn deliveries_live(
    State(console): State<Arc<Console>>,
    view: View,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    follow(console, view, id, |console, page, id| async move {
        let wanted = id.clone();
        let newest = console
            .db()
            .read(move |tx| {
                let mut search = Search::of(LOOKED_AT);
                let found = attempts::page(tx, &mut search, &wanted, &Filter::default(), None, ON_A_PAGE)?;
                Ok::<_, DbError>((found, search.was_cut_short()))
            })
            .await?;
        let (found, is_cut) = newest;
        let attempts = Attempts {
            page,
            older: found.before.map(|before| Wanted::default().address(&id, before)),
            application_id: id,
            rows: shown(found.found),
            is_filtered: false,
            is_cut,
        };
        Ok(attempts.render()?)
    })
    .await
}
