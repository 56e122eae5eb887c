//! What a change that comes too late is told: who has changed the record since it was read, and what of it.

use std::collections::BTreeSet;

use axum::response::Response;
use rollcall_db::DbError;
use serde::Serialize;
use serde_json::{Value, json};

use super::error::{Stale, add_to_problem};
use super::{Api, ApiError};
use crate::access::Permission;
use crate::audit::{self, Entry};
use crate::clock::Millis;
use crate::listing::Audited;
use crate::signin::Access;

/// How many changes are told at most.
const NEWEST: usize = 10;

/// A change since the record was read.
#[derive(Serialize, schemars::JsonSchema)]
pub(super) struct Since {
    /// When.
    time: Millis,
    /// By whom.
    actor: String,
    /// What was done.
    action: String,
    /// Which fields it changed.
    fields: Vec<String>,
}

impl From<Entry> for Since {
    fn from(entry: Entry) -> Self {
        let sides = [&entry.before, &entry.after].into_iter().flatten();
        let fields: BTreeSet<&String> = sides
            .filter_map(Value::as_object)
            .flat_map(|fields| fields.keys())
            .collect();
        Self {
            fields: fields.into_iter().cloned().collect(),
            time: entry.time,
            actor: entry.actor,
            action: entry.action,
        }
    }
}

/// Adds to an answer that refuses a stale change what was changed, if that is no secret from whoever asks.
pub(super) async fn tell(api: &Api, access: &Access, mut response: Response) -> Result<Response, ApiError> {
    let Some(stale) = response.extensions_mut().remove::<Stale>() else {
        return Ok(response);
    };
    if access.allows(Permission::ReadAudit).is_ok() {
        let changes: Vec<Since> = read(api, stale).await?.into_iter().map(Since::from).collect();
        add_to_problem(&mut response, "changes", json!(changes));
    }
    Ok(response)
}

async fn read(api: &Api, stale: Stale) -> Result<Vec<Entry>, DbError> {
    let wanted = Audited {
        who: None,
        origin: None,
        action: None,
        target: Some(stale.id),
        since: Some(stale.expected + 1),
        until: None,
        limit: NEWEST,
    };
    let page = wanted.page(&api.shared.hub.db, audit::Position::default());
    Ok(page.await?.entries)
}
