//! Groups. `{id}` is an id or a name.

use std::sync::Arc;

use axum::Json;
use serde::Deserialize;

use super::{apply, page_size};
use crate::access::Permission;
use crate::api::door::Door;
use crate::api::extract::{Body, Path, Query};
use crate::api::routes::Routes;
use crate::api::{Api, Shown};
use crate::directory::search::Wanted;
use crate::directory::{Applied, Command, Group, GroupChanges, NewGroup, query};
use crate::listing;

/// The routes.
pub(super) fn add(routes: Routes<Arc<Api>>) -> Routes<Arc<Api>> {
    routes
        .get(
            "/groups",
            Permission::ReadDirectory,
            "Lists groups by name, those after one; of a search, those in whose name it stands.",
            list_groups,
        )
        .asking(&["search", "after", "limit"])
        .post(
            "/groups",
            Permission::WriteDirectory,
            "Creates a group.",
            create_group,
        )
        .get(
            "/groups/{id}",
            Permission::ReadDirectory,
            "Shows a group, by id or name.",
            show_group,
        )
        .patch(
            "/groups/{id}",
            Permission::WriteDirectory,
            "Changes the fields that are given.",
            update_group,
        )
        .delete(
            "/groups/{id}",
            Permission::WriteDirectory,
            "Deletes a group.",
            delete_group,
        )
        .get(
            "/groups/{id}/members",
            Permission::ReadDirectory,
            "Lists the ids of a group's members.",
            list_members,
        )
        .post(
            "/groups/{id}/members",
            Permission::WriteDirectory,
            "Adds members to a group.",
            add_members,
        )
        .post(
            "/groups/{id}/members/remove",
            Permission::WriteDirectory,
            "Removes members from a group.",
            remove_members,
        )
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

async fn list_groups(api: Door, Query(page): Query<GroupPage>) -> Shown<Vec<Group>> {
    let wanted = Wanted {
        search: page.search,
        sight: api.sight().await?,
        ..Wanted::default()
    };
    let (db, limit) = (&api.shared.hub.db, page.limit.clamp(1, 1_000));
    Ok(Json(listing::groups(db, &wanted, &page.after, limit).await?))
}

async fn show_group(api: Door, Path(id): Path<String>) -> Shown<Group> {
    Ok(Json(api.group(id).await?))
}

async fn update_group(
    api: Door,
    Path(id): Path<String>,
    Body(changes): Body<GroupChanges>,
) -> Shown<Applied> {
    let id = api.group(id).await?.id;
    apply(&api, Command::UpdateGroup { id, changes }).await
}

async fn delete_group(api: Door, Path(id): Path<String>) -> Shown<Applied> {
    let id = api.group(id).await?.id;
    apply(&api, Command::DeleteGroup { id }).await
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Members {
    user_ids: Vec<String>,
}

async fn list_members(api: Door, Path(id): Path<String>) -> Shown<Vec<String>> {
    let id = api.group(id).await?.id;
    Ok(Json(
        api.shared
            .hub
            .db
            .read(move |tx| query::group_members(tx, &id))
            .await?,
    ))
}

async fn add_members(api: Door, Path(id): Path<String>, Body(body): Body<Members>) -> Shown<Applied> {
    let group_id = api.group(id).await?.id;
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
    let group_id = api.group(id).await?.id;
    apply(
        &api,
        Command::RemoveMembers {
            group_id,
            user_ids: body.user_ids,
        },
    )
    .await
}
