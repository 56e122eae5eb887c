//! Groups. `{id}` is an id or a name.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use rollcall_protocol::SubjectKind;
use serde::Deserialize;

use super::{Hub, apply, page_size};
use crate::api::door::Door;
use crate::api::extract::{Body, Path, Query};
use crate::api::routes::Routes;
use crate::api::{Api, ApiError, Shown};
use crate::directory::search::Wanted;
use crate::directory::{self, Applied, Command, Group, GroupChanges, NewGroup, query};
use crate::listing;

/// The routes.
pub(super) fn add(routes: Routes<Arc<Api>>) -> Routes<Arc<Api>> {
    routes
        .get(
            "/groups",
            "Lists groups by name, those after one; of a search, those in whose name it stands.",
            list_groups,
        )
        .asking(&["search", "after", "limit"])
        .post("/groups", "Creates a group.", create_group)
        .get("/groups/{id}", "Shows a group, by id or name.", show_group)
        .patch("/groups/{id}", "Changes the fields that are given.", update_group)
        .delete("/groups/{id}", "Deletes a group.", delete_group)
        .get(
            "/groups/{id}/members",
            "Lists the ids of a group's members.",
            list_members,
        )
        .post("/groups/{id}/members", "Adds members to a group.", add_members)
        .post(
            "/groups/{id}/members/remove",
            "Removes members from a group.",
            remove_members,
        )
}

async fn group(api: &Api, name: String) -> Result<Group, ApiError> {
    let found = {
        let name = name.clone();
        api.shared
            .hub
            .db
            .read(move |tx| query::find_group(tx, &name))
            .await?
    };
    Ok(found.ok_or_else(|| directory::not_found(SubjectKind::Group, &name))?)
}

async fn create_group(api: Door, Body(new): Body<NewGroup>) -> Shown<Applied> {
    apply(&api, Command::CreateGroup(new)).await
}

#[derive(Deserialize)]
struct GroupPage {
    search: Option<String>,
    #[serde(default)]
    after: String,
    #[serde(default = "page_size")]
    limit: usize,
}

async fn list_groups(State(api): Hub, Query(page): Query<GroupPage>) -> Shown<Vec<Group>> {
    let wanted = Wanted {
        search: page.search,
        ..Wanted::default()
    };
    let (db, limit) = (&api.shared.hub.db, page.limit.clamp(1, 1_000));
    Ok(Json(listing::groups(db, &wanted, &page.after, limit).await?))
}

async fn show_group(State(api): Hub, Path(id): Path<String>) -> Shown<Group> {
    Ok(Json(group(&api, id).await?))
}

async fn update_group(
    api: Door,
    Path(id): Path<String>,
    Body(changes): Body<GroupChanges>,
) -> Shown<Applied> {
    let id = group(&api, id).await?.id;
    apply(&api, Command::UpdateGroup { id, changes }).await
}

async fn delete_group(api: Door, Path(id): Path<String>) -> Shown<Applied> {
    let id = group(&api, id).await?.id;
    apply(&api, Command::DeleteGroup { id }).await
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Members {
    user_ids: Vec<String>,
}

async fn list_members(State(api): Hub, Path(id): Path<String>) -> Shown<Vec<String>> {
    let id = group(&api, id).await?.id;
    Ok(Json(
        api.shared
            .hub
            .db
            .read(move |tx| query::group_members(tx, &id))
            .await?,
    ))
}

async fn add_members(api: Door, Path(id): Path<String>, Body(body): Body<Members>) -> Shown<Applied> {
    let group_id = group(&api, id).await?.id;
    apply(
        &api,
        Command::AddMembers {
            group_id,
            user_ids: body.user_ids,
        },
    )
    .await
}

async fn remove_members(api: Door, Path(id): Path<String>, Body(body): Body<Members>) -> Shown<Applied> {
    let group_id = group(&api, id).await?.id;
    apply(
        &api,
        Command::RemoveMembers {
            group_id,
            user_ids: body.user_ids,
        },
    )
    .await
}
