//! *Compare*: what an application that takes SCIM has, against what it should have; and the repair of what is ticked.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use rollcall_db::DbError;
use serde::Deserialize;

use super::{Head, Tab, follow};
use crate::access::Permission;
use crate::application::Application;
use crate::console::Console;
use crate::console::error::Failure;
use crate::console::form::{Filled, Posted, done};
use crate::console::page::{Answer, Page, Section, View, address, show};
use crate::delivery::comparison::{
    self, Comparison, ComparisonError, Difference, Kind, RepairPlan, Selection, Status, Subject, Tally,
    Threshold,
};
use crate::delivery::status;

/// How many differences a page has.
const ON_A_PAGE: usize = 50;

#[derive(Clone, Default, Deserialize)]
pub(super) struct Wanted {
    /// Only those of this kind; empty: all but what is foreign.
    #[serde(default)]
    kind: String,
    /// The number of the last one of the page before.
    #[serde(default)]
    after: i64,
}

/// The newest comparison: what is sent again when it has changed.
#[derive(Template)]
#[template(path = "comparison_state.html")]
struct Shown {
    page: Page,
    application_id: String,
    comparison: Option<Comparison>,
}

impl Shown {
    fn is_running(&self) -> bool {
        let newest = self.comparison.as_ref();
        newest.is_some_and(|it| it.status == Status::Running)
    }

    /// What is counted: its key, of users and of groups.
    fn rows(comparison: &Comparison) -> [(&'static str, u64, u64); 10] {
        let of = |key, count: fn(&Tally) -> u64| {
            let counts = &comparison.counts;
            (key, count(&counts.users), count(&counts.groups))
        };
        [
            of("compared-there", |it| it.there),
            of("compared-here", |it| it.here),
            of("compared-same", |it| it.same),
            of("difference-create", |it| it.create),
            of("difference-update", |it| it.update),
            of("difference-disable", |it| it.disable),
            of("difference-delete", |it| it.delete),
            of("difference-unmapped", |it| it.unmapped),
            of("compared-under-way", |it| it.under_way),
            of("difference-foreign", |it| it.foreign),
        ]
    }
}

/// How a comparison stands: its tone, and the key of its words.
pub(super) fn state(comparison: &Comparison) -> (&'static str, &'static str) {
    match comparison.status {
        Status::Running => ("wait", "comparison-running"),
        Status::Done if comparison.counts.differing() == 0 => ("good", "comparison-same"),
        Status::Done => ("warn", "comparison-differs"),
        Status::Failed => ("bad", "comparison-failed"),
        Status::Cancelled => ("idle", "comparison-cancelled"),
        Status::Interrupted => ("bad", "comparison-interrupted"),
    }
}

/// A difference as it is shown.
struct Row {
    difference: Difference,
    kind: &'static str,
    subject: &'static str,
    /// The page of whom it is about, if they are here.
    link: Option<String>,
}

impl Row {
    fn of(difference: Difference) -> Self {
        let (subject, path) = match difference.subject {
            Subject::User => ("comparison-user", "users"),
            Subject::Group => ("comparison-group", "groups"),
        };
        Self {
            kind: kind_key(difference.kind),
            subject,
            link: difference
                .subject_id
                .as_ref()
                .map(|id| format!("/console/{path}/{id}")),
            difference,
        }
    }

    /// Whether its members differ, and not all of it is to be made.
    fn has_members(&self) -> bool {
        self.difference.kind == Kind::Update && self.difference.missing + self.difference.surplus > 0
    }
}

fn kind_key(kind: Kind) -> &'static str {
    match kind {
        Kind::Create => "difference-create",
        Kind::Update => "difference-update",
        Kind::Disable => "difference-disable",
        Kind::Delete => "difference-delete",
        Kind::Unmapped => "difference-unmapped",
        Kind::Foreign => "difference-foreign",
    }
}

#[derive(Template)]
#[template(path = "comparison.html")]
struct ComparisonPage {
    page: Page,
    head: Head,
    shown: Shown,
    kinds: Vec<(&'static str, &'static str)>,
    wanted: Wanted,
    rows: Vec<Row>,
    next: Option<String>,
}

pub(super) async fn show_page(view: View, Path(id): Path<String>, Query(wanted): Query<Wanted>) -> Answer {
    let view = view.within(Section::Applications);
    view.needs(Permission::ReadDeliveries)?;
    let application = view.application(id).await?;
    let (now, asked) = (view.page.now(), wanted.clone());
    let id = application.id.clone();
    let (status, newest, mut found) = view
        .console
        .db()
        .read(move |tx| {
            let newest = comparison::newest(tx, &application.id, now)?;
            let kinds = match asked.kind.parse::<Kind>() {
                Ok(kind) => vec![kind],
                Err(_) => Kind::DIFFERING.to_vec(),
            };
            let found = match &newest {
                Some(it) => comparison::differences(tx, &it.id, &kinds, asked.after, ON_A_PAGE + 1)?,
                None => Vec::new(),
            };
            Ok::<_, DbError>((status::of(tx, application.clone())?, newest, found))
        })
        .await?;
    let has_more = found.len() > ON_A_PAGE;
    found.truncate(ON_A_PAGE);
    let last = found.last().map(|it| it.number.to_string()).filter(|_| has_more);
    let path = format!("/console/applications/{id}/comparison");
    show(&ComparisonPage {
        head: Head::of(&status, Tab::Comparison, &view.page),
        shown: Shown {
            page: view.page.clone(),
            application_id: id,
            comparison: newest,
        },
        kinds: Kind::ALL
            .into_iter()
            .map(|kind| (kind.as_str(), kind_key(kind)))
            .collect(),
        next: last.map(|after| address(&path, &[("kind", &wanted.kind), ("after", &after)])),
        rows: found.into_iter().map(Row::of).collect(),
        wanted,
        page: view.page,
    })
}

pub(super) async fn live_state(
    State(console): State<Arc<Console>>,
    view: View,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    follow(console, view, id, |console, page, id| async move {
        let (of, now) = (id.clone(), console.now());
        let newest = console
            .db()
            .read(move |tx| comparison::newest(tx, &of, now))
            .await?;
        let shown = Shown {
            page,
            application_id: id,
            comparison: newest,
        };
        Ok(shown.render()?)
    })
    .await
}

async fn begin(posted: &Posted, id: String) -> Result<Application, Failure> {
    posted.view.needs(Permission::OperateApplications)?;
    posted.view.application(id).await
}

pub(super) async fn start(Path(id): Path<String>, posted: Posted) -> Answer {
    let application = begin(&posted, id).await?.id;
    let console = &posted.view.console;
    let of = application.clone();
    let begun = console
        .hub()
        .write_as(posted.caller(), move |tx, ctx| comparison::begin(tx, ctx, &of));
    let comparison = begun.await?;
    let path = format!("/console/applications/{application}/comparison");
    tokio::spawn(comparison::run(
        Arc::clone(&console.api.shared),
        application,
        comparison,
    ));
    done(&path, "compare")
}

pub(super) async fn cancel(Path(id): Path<String>, posted: Posted) -> Answer {
    let application = begin(&posted, id).await?.id;
    let of = application.clone();
    let hub = posted.view.console.hub();
    hub.write_as(posted.caller(), move |tx, ctx| comparison::cancel(tx, ctx, &of))
        .await?;
    done(
        &format!("/console/applications/{application}/comparison"),
        "cancel-comparison",
    )
}

#[derive(Template)]
#[template(path = "comparison_plan.html")]
struct PlanPage {
    page: Page,
    form: Filled,
    id: String,
    name: String,
    plan: RepairPlan,
    counts: [(&'static str, u64); 6],
    exceeds: Vec<&'static str>,
}

/// Which differences are meant: those that are ticked, those of a kind, or all.
fn selection(form: &Filled) -> Selection {
    let comparison = form.value("comparison");
    let chosen = Selection {
        differences: form
            .all("number")
            .filter_map(|number| number.parse().ok())
            .collect(),
        ..Selection::of_kinds(comparison, form.all("kind").filter_map(|kind| kind.parse().ok()))
    };
    match form.value("which") {
        "all" if chosen.kinds.is_empty() => Selection::everything(comparison),
        "all" => Selection {
            differences: Vec::new(),
            ..chosen
        },
        _ => Selection {
            kinds: Vec::new(),
            ..chosen
        },
    }
}

/// Shows what a repair does, and does it once that is confirmed.
pub(super) async fn repair(Path(id): Path<String>, posted: Posted) -> Answer {
    let application = begin(&posted, id).await?;
    let caller = posted.caller();
    let Posted { view, mut form } = posted;
    let view = view.within(Section::Applications);
    let selection = selection(&form);
    let Application { id, name, .. } = application;
    if let Some(token) = form.given("token") {
        let repaired =
            comparison::repair(view.console.hub(), caller, &id, selection.clone(), Some(token)).await;
        match repaired {
            Ok(_) => return done(&format!("/console/applications/{id}/synchronize"), "repair"),
            Err(error) if error.code() == "plan_changed" => form.warn(view.page.t("form-plan-changed")),
            Err(error) => return Err(error.into()),
        }
    }
    let (of, now) = (id.clone(), view.page.now());
    let planned = view
        .console
        .db()
        .read(move |tx| comparison::plan(tx, &of, &selection, now))
        .await;
    let plan = match planned {
        Err(ComparisonError::NothingSelected) => {
            return Err(Failure::Conflict(view.page.t("nothing-to-repair")));
        }
        planned => planned?,
    };
    show(&PlanPage {
        page: view.page,
        counts: [
            ("difference-create", plan.create),
            ("difference-update", plan.update),
            ("difference-disable", plan.disable),
            ("difference-delete", plan.delete),
            ("repair-member-removals", plan.member_removals),
            ("repair-emptied-groups", plan.emptied_groups),
        ],
        exceeds: plan
            .exceeds
            .iter()
            .map(|threshold| match threshold {
                Threshold::Leaving => "exceeds-leaving",
                Threshold::MemberRemovals => "exceeds-member-removals",
                Threshold::EmptiedGroups => "exceeds-emptied-groups",
            })
            .collect(),
        form,
        id,
        name,
        plan,
    })
}
