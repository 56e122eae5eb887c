//! Organizational units. `{id}` is an id, or a path with %2F between the names.

use std::sync::Arc;

use axum::Json;
use serde::Deserialize;

use super::apply;
use crate::access::Permission;
use crate::api::door::Door;
use crate::api::extract::{Body, Path, Query};
use crate::api::paging::{Pages, Paging};
use crate::api::routes::Routes;
use crate::api::versions::{Record, Single};
use crate::api::{Api, ApiError, Shown};
use crate::directory::fields::fold;
use crate::directory::query::UnitAt;
use crate::directory::{self, Applied, Cascade, Command, DeletionPlan, DirectoryError, NewUnit, UnitChanges};

/// The routes.
pub(super) fn add(routes: Routes<Arc<Api>>) -> Routes<Arc<Api>> {
    routes
        .get(
            "/organizational-units", Permission::ReadDirectory,
            "Lists the organizational units directly below one, or the topmost ones; of a search, those at any depth in whose name it \
             stands.",
            list_units,
        )
        .post(
            "/organizational-units", Permission::WriteDirectory,
            "Creates an organizational unit.",
            create_unit,
        )
        .creating()
        .get(
            "/organizational-units/{id}", Permission::ReadDirectory,
            "Shows an organizational unit, by id or path.",
            show_unit,
        )
        .patch(
            "/organizational-units/{id}", Permission::WriteDirectory,
            "Changes the fields that are given.",
            update_unit,
        )
        .versioned()
        .delete(
            "/organizational-units/{id}", Permission::WriteDirectory,
            "Deletes an organizational unit; with cascade=true and the token of the plan also what is below it.",
            delete_unit,
        )
        .versioned()
        .get(
            "/organizational-units/{id}/deletion", Permission::WriteDirectory,
            "Shows what deleting an organizational unit would take along, and the token that confirms it.",
            plan_deletion,
        )
        .post(
            "/organizational-units/{id}/move", Permission::WriteDirectory,
            "Moves an organizational unit below another.",
            move_unit,
        )
        .versioned()
}

async fn create_unit(api: Door, Body(new): Body<NewUnit>) -> Shown<Applied> {
    apply(&api, Command::CreateUnit(new)).await
}

async fn show_unit(api: Door, Path(id): Path<String>) -> Single<UnitAt> {
    let unit = api.unit(id).await?;
    let path = {
        let id = unit.id.clone();
        api.look(move |tx, sight| {
            let mut paths = sight.paths(tx, std::slice::from_ref(&id))?;
            Ok(paths.remove(&id).unwrap_or_default())
        })
        .await?
    };
    Ok(Record(UnitAt { unit, path }))
}

async fn update_unit(api: Door, Path(id): Path<String>, Body(changes): Body<UnitChanges>) -> Shown<Applied> {
    let id = api.unit(id).await?.id;
    apply(&api, Command::UpdateUnit { id, changes }).await
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct MoveUnit {
    parent_id: String,
}

async fn move_unit(api: Door, Path(id): Path<String>, Body(body): Body<MoveUnit>) -> Shown<Applied> {
    let id = api.unit(id).await?.id;
    let parent_id = api.unit(body.parent_id).await?.id;
    apply(&api, Command::MoveUnit { id, parent_id }).await
}

#[derive(Default, Deserialize, schemars::JsonSchema)]
#[serde(default)]
struct Delete {
    cascade: bool,
    /// The token of the plan: only what it shows is deleted.
    confirm: Option<String>,
}

async fn delete_unit(api: Door, Path(id): Path<String>, Query(how): Query<Delete>) -> Shown<Applied> {
    let id = api.unit(id).await?.id;
    let cascade = match (how.cascade, how.confirm) {
        (false, None) => Cascade::No,
        (false, Some(_)) => {
            let message = "the query: confirm goes with cascade=true";
            return Err(ApiError::bad_request(message));
        }
        // Nobody deletes what nobody has seen.
        (true, None) => return Err(ApiError::unconfirmed(&deletion_of(&api, id).await?)),
        (true, Some(token)) => Cascade::Confirmed(token),
    };
    let delete = Command::DeleteUnit {
        id: id.clone(),
        cascade,
    };
    match api.shared.hub.apply(api.caller.clone(), delete).await {
        Ok(applied) => Ok(Json(applied)),
        Err(error @ DirectoryError::PlanChanged) => {
            Err(ApiError::from(error).with_plan(&deletion_of(&api, id).await?))
        }
        Err(error) => Err(error.into()),
    }
}

async fn deletion_of(api: &Api, id: String) -> Result<DeletionPlan, ApiError> {
    let hub = &api.shared.hub;
    Ok(hub.db.read(move |tx| directory::plan_deletion(tx, &id)).await?)
}

/// What the deletion with `cascade=true` would take along.
async fn plan_deletion(api: Door, Path(id): Path<String>) -> Shown<DeletionPlan> {
    let id = api.unit(id).await?.id;
    Ok(Json(deletion_of(&api, id).await?))
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Below {
    /// Only those directly below this one, by id or path.
    parent_id: Option<String>,
    /// Only those in whose name this stands, at any depth.
    search: Option<String>,
}

async fn list_units(api: Door, paging: Paging<String>, Query(below): Query<Below>) -> Pages<UnitAt> {
    let Below { parent_id, search } = below;
    let parent_id = match parent_id {
        Some(parent_id) => Some(api.unit(parent_id).await?.id),
        None => None,
    };
    let units = api.look(move |tx, sight| Ok(sight.units(tx, parent_id.as_deref(), search.as_deref())?));
    Ok(paging.page_of_all(units.await?, |at| format!("{}\n{}", fold(&at.path), at.unit.id)))
}
