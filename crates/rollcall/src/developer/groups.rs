//! Groups: looking at them and changing them, and who is in them.

use std::sync::Arc;

use rollcall_db::Tx;
use rollcall_protocol::SubjectKind;
use serde::Serialize;

use super::{Access, Desk, Given, Need, Page, Paged, Refusal, Showing};
use crate::application::Grant;
use crate::clock::Millis;
use crate::directory::lists::{self, Narrowed};
use crate::directory::{Command, Group, GroupChanges, NewGroup, Source, query};

const READ: Need = Need::Groups(Grant::Read);
const WRITE: Need = Need::Groups(Grant::Write);

/// How many users one call may name.
const MOST_USERS: usize = 1_000;

/// A group.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Shown {
    instance_id: String,
    group_id: String,
    group_name: String,
    description: Option<String>,
    group_source_type: Option<String>,
    group_source_id: Option<String>,
    group_external_id: Option<String>,
    create_time: Millis,
    update_time: Millis,
}

impl Shown {
    fn read(tx: &mut Tx<'_>, access: &Access, instance: &str, id: &str) -> Result<Self, Refusal> {
        Ok(Self::of(instance, seen(tx, access, id)?))
    }

    fn of(instance: &str, group: Group) -> Self {
        let [source_type, source_id, external_id] =
            group
                .source
                .on_the_wire(group.external_id.as_ref(), &group.id, instance);
        Self {
            instance_id: instance.to_owned(),
            group_id: group.id,
            group_name: group.name,
            description: group.description,
            group_source_type: source_type,
            group_source_id: source_id,
            group_external_id: external_id,
            create_time: group.create_time,
            update_time: group.update_time,
        }
    }
}

/// The id of a group.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Id {
    group_id: String,
}

/// A member of a group.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    instance_id: String,
    user_id: String,
}

fn seen(tx: &mut Tx<'_>, access: &Access, id: &str) -> Result<Group, Refusal> {
    let sight = access.sight(tx)?;
    let found = query::group(tx, id)?.filter(|group| sight.sees_group(&group.id));
    found.ok_or_else(|| Refusal::not_found(SubjectKind::Group, id))
}

/// A group, as it is shown.
pub const SHOWN: Showing<Shown> = Showing {
    need: READ,
    kind: SubjectKind::Group,
    read: Shown::read,
};

/// Lists groups by id, as far as they are seen.
///
/// # Errors
/// [`Refusal`].
pub async fn list(desk: &Desk, only: Narrowed, page: Paged) -> Result<Page<Shown>, Refusal> {
    let (instance, ladders) = (desk.hub().instance.id.clone(), Arc::clone(&desk.hub().ladders));
    desk.read(READ, move |tx, access| {
        let sight = access.sight(tx)?;
        let part = lists::groups(tx, (&sight, &ladders), only.clone(), &page.wanted())?;
        Ok(Page::of(
            &page,
            part,
            |group| &group.id,
            |group| Shown::of(&instance, group),
        ))
    })
    .await
}

/// Lists the members of a group by id. Whoever is in a group of the scope is in the scope.
///
/// # Errors
/// [`Refusal`].
pub async fn members(desk: &Desk, id: String, only: Narrowed, page: Paged) -> Result<Page<Member>, Refusal> {
    let (instance, ladders) = (desk.hub().instance.id.clone(), Arc::clone(&desk.hub().ladders));
    desk.read(READ, move |tx, access| {
        access.check(Need::Users(Grant::Read))?;
        let group = seen(tx, access, &id)?;
        let part = lists::members(tx, &ladders, (&group.id, only.clone()), &page.wanted())?;
        let member = |user_id| Member {
            instance_id: instance.clone(),
            user_id,
        };
        Ok(Page::of(&page, part, String::as_str, member))
    })
    .await
}

/// Creates a group. It stands nowhere, so that only a scope of the whole directory has room for it.
///
/// # Errors
/// [`Refusal`].
pub async fn create(desk: &Desk, given: &Given) -> Result<Id, Refusal> {
    let new = NewGroup {
        name: given.needed("groupName")?,
        description: given.some("description")?,
        external_id: given.some("groupExternalId")?,
        source: Source::default(),
    };
    let made = desk.write(WRITE, move |_, _| Ok(Command::CreateGroup(new.clone())));
    Ok(Id {
        group_id: made.await?.id,
    })
}

/// Changes the fields of a group that are given.
///
/// # Errors
/// [`Refusal`].
pub async fn patch(desk: &Desk, id: String, given: &Given) -> Result<(), Refusal> {
    let changes = GroupChanges {
        name: given.name("groupName")?,
        description: given.change("description")?,
        external_id: given.change("groupExternalId")?,
        ..GroupChanges::default()
    };
    desk.carry_out(WRITE, Command::UpdateGroup { id, changes }).await
}

/// Deletes a group; its members stay.
///
/// # Errors
/// [`Refusal`].
pub async fn delete(desk: &Desk, id: String) -> Result<(), Refusal> {
    desk.carry_out(WRITE, Command::DeleteGroup { id }).await
}

/// Adds users to a group.
///
/// # Errors
/// [`Refusal`].
pub async fn add_users(desk: &Desk, group_id: String, given: &Given) -> Result<(), Refusal> {
    let user_ids = given.ids("userIds", MOST_USERS)?;
    desk.carry_out(WRITE, Command::AddMembers { group_id, user_ids })
        .await
}

/// Takes users out of a group.
///
/// # Errors
/// [`Refusal`].
pub async fn remove_users(desk: &Desk, group_id: String, given: &Given) -> Result<(), Refusal> {
    let user_ids = given.ids("userIds", MOST_USERS)?;
    desk.carry_out(WRITE, Command::RemoveMembers { group_id, user_ids })
        .await
}
