//! Organizational units. `{id}` is an id, or a path with %2F between the names.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use rollcall_protocol::SubjectKind;
use serde::Deserialize;

use super::{Hub, apply};
use crate::api::door::Door;
use crate::api::extract::{Body, Path, Query};
use crate::api::routes::Routes;
use crate::api::{Api, ApiError, Shown};
use crate::directory::query::UnitAt;
use crate::directory::{self, Applied, Cascade, Command, DeletionPlan, NewUnit, Unit, UnitChanges, query};
use crate::id;

/// The routes.
pub(super) fn add(routes: Routes<Arc<Api>>) -> Routes<Arc<Api>> {
    routes
        .get(
            "/organizational-units",
            "Lists the organizational units directly below one; of a search, those at any depth in whose name it \
             stands.",
            list_units,
        )
        .asking(&["parentId", "search"])
        .post(
            "/organizational-units",
            "Creates an organizational unit.",
            create_unit,
        )
        .get(
            "/organizational-units/{id}",
            "Shows an organizational unit, by id or path.",
            show_unit,
        )
        .patch(
            "/organizational-units/{id}",
            "Changes the fields that are given.",
            update_unit,
        )
        .delete(
            "/organizational-units/{id}",
            "Deletes an organizational unit, with what is below it if it is to cascade.",
            delete_unit,
        )
        .asking(&["cascade", "confirm"])
        .get(
            "/organizational-units/{id}/deletion",
            "Shows what deleting an organizational unit would take along, and the token that confirms it.",
            plan_deletion,
        )
        .post(
            "/organizational-units/{id}/move",
            "Moves an organizational unit below another.",
            move_unit,
        )
}

async fn unit(api: &Api, name: String) -> Result<Unit, ApiError> {
    let found = {
        let name = name.clone();
        api.shared
            .hub
            .db
            .read(move |tx| query::find_unit(tx, &name))
            .await?
    };
    Ok(found.ok_or_else(|| directory::not_found(SubjectKind::Unit, &name))?)
}

async fn create_unit(api: Door, Body(new): Body<NewUnit>) -> Shown<Applied> {
    apply(&api, Command::CreateUnit(new)).await
}

async fn show_unit(State(api): Hub, Path(id): Path<String>) -> Shown<Unit> {
    Ok(Json(unit(&api, id).await?))
}

async fn update_unit(api: Door, Path(id): Path<String>, Body(changes): Body<UnitChanges>) -> Shown<Applied> {
    let id = unit(&api, id).await?.id;
    apply(&api, Command::UpdateUnit { id, changes }).await
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct MoveUnit {
    parent_id: String,
}

async fn move_unit(api: Door, Path(id): Path<String>, Body(body): Body<MoveUnit>) -> Shown<Applied> {
    let id = unit(&api, id).await?.id;
    let parent_id = unit(&api, body.parent_id).await?.id;
    apply(&api, Command::MoveUnit { id, parent_id }).await
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Delete {
    cascade: bool,
    /// The token of the plan: only what it shows is deleted.
    confirm: Option<String>,
}

async fn delete_unit(api: Door, Path(id): Path<String>, Query(how): Query<Delete>) -> Shown<Applied> {
    let id = unit(&api, id).await?.id;
    let cascade = match (how.cascade, how.confirm) {
        (false, _) => Cascade::No,
        (true, None) => Cascade::Yes,
        (true, Some(token)) => Cascade::Confirmed(token),
    };
    apply(&api, Command::DeleteUnit { id, cascade }).await
}

/// What the deletion with `cascade=true` would take along.
async fn plan_deletion(State(api): Hub, Path(id): Path<String>) -> Shown<DeletionPlan> {
    let id = unit(&api, id).await?.id;
    let hub = &api.shared.hub;
    Ok(Json(
        hub.db.read(move |tx| directory::plan_deletion(tx, &id)).await?,
    ))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Below {
    #[serde(default = "root")]
    parent_id: String,
    search: Option<String>,
}

fn root() -> String {
    id::ROOT_UNIT.to_owned()
}

async fn list_units(State(api): Hub, Query(below): Query<Below>) -> Shown<Vec<UnitAt>> {
    let parent_id = unit(&api, below.parent_id).await?.id;
    let db = &api.shared.hub.db;
    let units = db.read(move |tx| query::list_units(tx, &parent_id, below.search.as_deref()));
    Ok(Json(units.await?))
}
