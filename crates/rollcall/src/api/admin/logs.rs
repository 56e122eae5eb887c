//! The change log and the audit log, as the administrator's API shows them.

use std::borrow::Cow;
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
use crate::why::{self, WhyError};

/// The routes.
pub(super) fn add(routes: Routes<Arc<Api>>) -> Routes<Arc<Api>> {
    routes
        .get(
            "/changes",
            Permission::ReadChanges,
            "Lists changes by position, those after one; or the newest first; or those of one subject.",
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

/// Which changes are wanted.
#[derive(Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Wanted {
    /// Only changes after this position.
    #[serde(default)]
    after: Seq,
    /// Only changes of this user, by id, username or email address, also of somebody who was deleted; or of another
    /// subject, by its id.
    subject: Option<String>,
    /// The newest first.
    #[serde(default)]
    newest_first: bool,
}

/// A change as it is shown.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(rename = "Change")]
#[serde(rename_all = "camelCase")]
pub(crate) struct ShownChange {
    pub(crate) seq: Seq,
    event_id: String,
    pub(crate) kind: Cow<'static, str>,
    subject_kind: Cow<'static, str>,
    pub(crate) subject_id: String,
    pub(crate) time: Millis,
    pub(crate) actor: String,
    pub(crate) record: Value,
    pub(crate) previous: Option<Value>,
}

impl ShownChange {
    /// The name that the subject has in the record, or had before it.
    pub(crate) fn name(&self) -> Option<&str> {
        let records = [Some(&self.record), self.previous.as_ref()];
        let records = records.into_iter().flatten();
        records.filter_map(Value::as_object).find_map(change::name_in)
    }
}

impl From<Change> for ShownChange {
    fn from(change: Change) -> Self {
        let parse = |text: &str| serde_json::from_str(text).unwrap_or(Value::Null);
        Self {
            seq: change.seq,
            kind: change.kind.as_str().into(),
            subject_kind: change.subject_kind.as_str().into(),
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

async fn list_changes(api: Door, paging: Paging<Seq>, Query(wanted): Query<Wanted>) -> Pages<ShownChange> {
    let (cursor, limit) = (paging.after, paging.limit + 1);
    let read = api.shared.hub.db.read(move |tx| {
        let subject = wanted.subject.as_deref();
        let subject = subject.map(|text| why::subject_id(tx, text)).transpose()?;
        let (after, before) = match (cursor, wanted.newest_first) {
            (None, _) => (wanted.after, Seq::MAX),
            (Some(cursor), true) => (wanted.after, cursor),
            (Some(cursor), false) => (cursor, Seq::MAX),
        };
        let wanted = change::Wanted {
            after,
            before,
            subject,
            newest_first: wanted.newest_first,
        };
        Ok::<_, WhyError>(change::page(tx, &wanted, limit)?)
    });
    let changes = read.await?.into_iter().map(ShownChange::from).collect();
    Ok(paging.page_of_more(changes, |change: &ShownChange| change.seq))
}

impl Versioned for ShownChange {}

async fn show_change(api: Door, Path(seq): Path<Seq>) -> Single<ShownChange> {
    let found = api.shared.hub.db.read(move |tx| change::read(tx, seq)).await?;
    let missing = || ApiError::not_found(format!("the log has no change {seq}, or none any more"));
    Ok(Record(found.ok_or_else(missing)?.into()))
}
