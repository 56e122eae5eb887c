//! Groups. `{id}` is an id or a name.

use std::sync::Arc;

use serde::Deserialize;

use super::apply;
use crate::access::Permission;
use crate::api::door::Door;
use crate::api::extract::{Body, Path, Query};
use crate::api::paging::{Pages, Paging};
use crate::api::routes::Routes;
use crate::api::versions::{Record, Single};
use crate::api::{Api, Shown};
use crate::directory::fields::fold;
use crate::directory::query::{self, Member};
use crate::directory::search::{self, Wanted};
use crate::directory::{Applied, Command, Group, GroupChanges, NewGroup};
use crate::listing;

/// The routes.
pub(super) fn add(routes: Routes<Arc<Api>>) -> Routes<Arc<Api>> {
    routes
        .get(
            "/groups",
            Permission::ReadDirectory,
            "Lists groups by name; of a search, those in whose name it stands.",
            list_groups,
        )
        .post(
            "/groups",
            Permission::WriteDirectory,
            "Creates a group.",
            create_group,
        )
        .creating()
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
        .versioned()
        .delete(
            "/groups/{id}",
            Permission::WriteDirectory,
            "Deletes a group.",
            delete_group,
        )
        .versioned()
        .get(
            "/groups/{id}/members",
            Permission::ReadDirectory,
            "Lists the ids of a group's members.",
            list_members,
        )
        .get(
            "/groups/{id}/users",
            Permission::ReadDirectory,
            "Lists a group's members with their usernames, by username.",
            list_usernames,
        )
        .post(
            "/groups/{id}/members",
            Permission::WriteDirectory,
            "Adds members to a group.",
            add_members,
        )
        .versioned()
        .post(
            "/groups/{id}/members/remove",
            Permission::WriteDirectory,
            "Removes members from a group.",
            remove_members,
        )
        .versioned()
}

async fn create_group(api: Door, Body(new): Body<NewGroup>) -> Shown<Applied> {
    apply(&api, Command::CreateGroup(new)).await
}

#[derive(Deserialize, schemars::JsonSchema)]
struct Which {
    /// Only groups in whose name this stands.
    search: Option<String>,
    /// Only groups after this name.
    after: Option<String>,
}

async fn list_groups(api: Door, paging: Paging<String>, Query(which): Query<Which>) -> Pages<Group> {
    let wanted = Wanted {
        search: which.search,
        sight: api.sight().await?,
        ..Wanted::default()
    };
    let after = paging.after.clone().or(which.after).unwrap_or_default();
    let db = &api.shared.hub.db;
    let portion = listing::page(db, search::groups, &wanted, &after, paging.limit + 1).await?;
    Ok(paging.page_of_portion(portion, |group| group.name.clone()))
}

async fn show_group(api: Door, Path(id): Path<String>) -> Single<Group> {
    Ok(Record(api.group(id).await?))
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

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Members {
    user_ids: Vec<String>,
}

async fn list_members(api: Door, Path(id): Path<String>, paging: Paging<String>) -> Pages<String> {
    let id = api.group(id).await?.id;
    let (after, limit) = (paging.after.clone().unwrap_or_default(), paging.limit + 1);
    let db = &api.shared.hub.db;
    let members = db.read(move |tx| query::members_after(tx, &id, &after, limit));
    Ok(paging.page_of_more(members.await?, String::clone))
}

async fn list_usernames(api: Door, Path(id): Path<String>, paging: Paging<String>) -> Pages<Member> {
    let id = api.group(id).await?.id;
    let (after, limit) = (paging.after.clone().unwrap_or_default(), paging.limit + 1);
    let db = &api.shared.hub.db;
    let members = db.read(move |tx| query::usernames_after(tx, &id, &after, limit));
    Ok(paging.page_of_more(members.await?, |member| fold(&member.username)))
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
