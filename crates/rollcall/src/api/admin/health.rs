//! Whether the hub can do its work, and which nodes it has.

use std::sync::Arc;

use axum::Json;
use rollcall_db::DbError;
use rollcall_server::health::{Part, Report};
use serde::{Deserialize, Serialize};

use crate::access::Permission;
use crate::api::door::Door;
use crate::api::routes::Routes;
use crate::api::{Api, Shown};
use crate::change::{self, Seq};
use crate::delivery::ledger::leases::{self, NodeInfo};
use crate::directory::query;

/// The routes.
pub(super) fn add(routes: Routes<Arc<Api>>) -> Routes<Arc<Api>> {
    routes.get(
        "/health",
        Permission::ReadHealth,
        "Says whether the hub can do its work, part by part, which nodes it has, and how much there is.",
        show,
    )
}

/// How much there is.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(rename = "SubjectCounts")]
#[serde(rename_all = "camelCase")]
pub(crate) struct Counts {
    pub(crate) users: i64,
    pub(crate) organizational_units: i64,
    pub(crate) groups: i64,
}

/// A part of the hub.
#[derive(schemars::JsonSchema)]
#[schemars(rename = "Part")]
#[expect(
    dead_code,
    reason = "it describes a type of a crate below, which knows nothing of schemas"
)]
struct DescribedPart {
    /// What it is called.
    name: String,
    /// `ok`, `warning` or `failed`.
    state: String,
    /// The same in a sentence.
    message: String,
    /// What to do about it.
    #[schemars(skip_serializing_if = "Option::is_none")]
    action: Option<String>,
}

/// How the hub is.
#[derive(Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Health {
    /// The version of the program that answers.
    version: &'static str,
    /// The instance, which is in the paths of public keys.
    instance_id: String,
    /// Whether no part has failed.
    ready: bool,
    /// The parts of the process that answers.
    #[schemars(with = "Vec<DescribedPart>")]
    parts: Vec<Part>,
    /// The processes that deliver.
    nodes: Vec<NodeInfo>,
    /// The end of the change log.
    head: Seq,
    /// The oldest position that the log still holds.
    oldest: Option<Seq>,
    /// How many users, units and groups there are.
    subjects: Counts,
}

async fn show(api: Door) -> Shown<Health> {
    let Report { ready, parts } = api.parts().await.into();
    let read = api.shared.hub.db.read(|tx| {
        let (users, organizational_units, groups) = query::counts(tx)?;
        let subjects = Counts {
            users,
            organizational_units,
            groups,
        };
        Ok::<_, DbError>((
            leases::nodes(tx)?,
            change::head(tx)?.seq,
            change::oldest(tx)?,
            subjects,
        ))
    });
    let (nodes, head, oldest, subjects) = read.await?;
    Ok(Json(Health {
        version: env!("CARGO_PKG_VERSION"),
        instance_id: api.shared.hub.instance.id.clone(),
        ready,
        parts,
        nodes,
        head,
        oldest,
        subjects,
    }))
}
