//! The change log and the audit log, as the administrator's API shows them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::access::Permission;
use crate::api::door::Door;
use crate::api::extract::{Path, Query};
use crate::api::paging::{Pages, Paging};
use crate::api::routes::Routes;
use crate::api::versions::{Record, Single, Versioned};
use crate::api::{Api, ApiError};
use crate::audit;
use crate::change::{self, Change, Seq};
use crate::clock::Millis;
use crate::listing::Audited;

/// The routes.
pub(super) fn add(routes: Routes<Arc<Api>>) -> Routes<Arc<Api>> {
    routes
        .get(
            "/changes",
            Permission::ReadChanges,
            "Lists changes by position, those after one.",
            list_changes,
        )
        .get(
            "/changes/{seq}",
            Permission::ReadChanges,
            "Shows a change, by its position.",
            show_change,
        )
        .get(
            "/audit",
            Permission::ReadAudit,
            "Lists who did what, the newest first.",
            list_audit,
        )
}

#[derive(Deserialize, schemars::JsonSchema)]
struct After {
    /// Only changes after this position.
    #[serde(default)]
    after: Seq,
}

/// A change as it is shown.
#[derive(Serialize, schemars::JsonSchema)]
#[schemars(rename = "Change")]
#[serde(rename_all = "camelCase")]
pub(crate) struct ShownChange {
    seq: Seq,
    event_id: String,
    kind: &'static str,
    subject_kind: &'static str,
    subject_id: String,
    time: Millis,
    actor: String,
    record: Value,
    previous: Option<Value>,
}

impl From<Change> for ShownChange {
    fn from(change: Change) -> Self {
        let parse = |text: &str| serde_json::from_str(text).unwrap_or(Value::Null);
        Self {
            seq: change.seq,
            kind: change.kind.as_str(),
            subject_kind: change.subject_kind.as_str(),
            record: parse(&change.record),
            previous: change.previous.as_deref().map(parse),
            event_id: change.event_id,
            subject_id: change.subject_id,
            time: change.time,
            actor: change.actor,
        }
    }
}

async fn list_audit(
    api: Door,
    paging: Paging<audit::Position>,
    Query(mut wanted): Query<Audited>,
) -> Pages<audit::Entry> {
    wanted.limit = paging.limit;
    let page = wanted.page(&api.shared.hub.db, paging.after.unwrap_or_default());
    let audit::Page { entries, next } = page.await?;
    Ok(paging.page(entries, next))
}

async fn list_changes(api: Door, paging: Paging<Seq>, Query(from): Query<After>) -> Pages<ShownChange> {
    let (after, limit) = (paging.after.unwrap_or(from.after), paging.limit + 1);
    let changes = api
        .shared
        .hub
        .db
        .read(move |tx| change::read_after(tx, after, limit))
        .await?;
    let changes = changes.into_iter().map(ShownChange::from).collect();
    Ok(paging.page_of_more(changes, |change: &ShownChange| change.seq))
}

impl Versioned for ShownChange {}

async fn show_change(api: Door, Path(seq): Path<Seq>) -> Single<ShownChange> {
    let found = api.shared.hub.db.read(move |tx| change::read(tx, seq)).await?;
    let missing = || ApiError::not_found(format!("the log has no change {seq}, or none any more"));
    Ok(Record(found.ok_or_else(missing)?.into()))
}
