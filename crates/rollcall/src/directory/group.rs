//! Groups with members.

mod members;

use rollcall_db::{DbError, Row, Tx, Value, params};
use rollcall_protocol::{EventType, GroupPayload, SubjectKind};
use serde::{Deserialize, Serialize};

use super::fields::{self, Source, fold, present};
use super::{Context, DirectoryError, previous, query};
use crate::change::{ChangeKind, NewChange, Placement, placeholders};
use crate::clock::Millis;
use crate::id;
pub(super) use members::{add_members, remove_members};

/// How many members one event names, and one statement. Everybody who joins or leaves is told of, but in portions,
/// so that an event stays small however large the group is: applications and what stands before them refuse large
/// requests, often those of more than 1 MiB.
pub const MEMBERS_PER_EVENT: usize = 500;

/// A group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Group {
    /// `group_…`.
    pub id: String,
    /// Unique without regard to case.
    pub name: String,
    /// For people.
    pub description: Option<String>,
    /// Where it comes from.
    #[serde(flatten)]
    pub source: Source,
    /// Its id there.
    pub external_id: Option<String>,
    /// When it was made.
    pub create_time: Millis,
    /// When it last changed, or somebody last joined or left.
    pub update_time: Millis,
}

/// A new group.
#[derive(Clone, Debug, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewGroup {
    /// Its name.
    pub name: String,
    /// For people.
    #[serde(default)]
    pub description: Option<String>,
    /// Its id in its source.
    #[serde(default)]
    pub external_id: Option<String>,
    /// Where it comes from.
    #[serde(default)]
    pub source: Source,
}

/// What changes of a group; what is absent stays, what is null is emptied.
#[derive(Clone, Debug, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct GroupChanges {
    /// Another name.
    pub name: Option<String>,
    /// Another description.
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub description: Option<Option<String>>,
    /// Another external id.
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub external_id: Option<Option<String>>,
    /// Another source: whoever imports it takes it over.
    pub source: Option<Source>,
}

const COLUMNS: &str = "id, name, description, source_type, source_id, external_id, create_time, update_time";

fn from_row(row: &Row) -> Result<Group, DbError> {
    Ok(Group {
        id: row.get(0)?,
        name: row.get(1)?,
        description: row.get(2)?,
        source: Source {
            source_type: row.get(3)?,
            source_id: row.get(4)?,
        },
        external_id: row.get(5)?,
        create_time: row.get(6)?,
        update_time: row.get(7)?,
    })
}

impl Group {
    fn payload(&self, instance_id: &str) -> GroupPayload {
        // Every field is named, so that a new one is sent, or left out on purpose.
        let Self {
            id,
            name,
            description,
            source,
            external_id,
            create_time,
            update_time,
        } = self;
        let [source_type, source_id, external_id] = source.on_the_wire(external_id.as_ref(), id, instance_id);
        GroupPayload {
            group_id: id.clone(),
            name: Some(name.clone()),
            external_id,
            source_type,
            source_id,
            description: Some(description.clone().unwrap_or_default()),
            create_time: Some(*create_time),
            update_time: Some(*update_time),
            user_ids: None,
        }
    }

    /// The record as it goes on the wire.
    pub fn record(&self, instance_id: &str) -> String {
        self.payload(instance_id).to_json()
    }

    /// Where the group stands: it counts itself.
    pub fn placement(&self) -> std::sync::Arc<Placement> {
        std::sync::Arc::new(Placement {
            units: Vec::new(),
            groups: vec![self.id.clone()],
        })
    }

    fn change(&self, ctx: &Context<'_>, event: EventType) -> NewChange {
        NewChange {
            kind: ChangeKind::Event(event),
            subject_kind: SubjectKind::Group,
            subject_id: self.id.clone(),
            record: self.record(ctx.instance_id),
            previous: None,
            before: Some(self.placement()),
            after: Some(self.placement()),
            secret: None,
        }
    }

    fn members_change(&self, ctx: &Context<'_>, event: EventType, users: &[String]) -> NewChange {
        let payload = GroupPayload {
            user_ids: Some(users.to_vec()),
            ..self.payload(ctx.instance_id)
        };
        NewChange {
            record: payload.to_json(),
            ..self.change(ctx, event)
        }
    }
}

/// Reads a group.
///
/// # Errors
/// What the database reports.
pub(super) fn get(tx: &mut Tx<'_>, id: &str) -> Result<Option<Group>, DbError> {
    tx.query_opt(
        &format!("SELECT {COLUMNS} FROM groups WHERE id = $1"),
        params![id],
    )?
    .map(|row| from_row(&row))
    .transpose()
}

/// Groups after one, by id.
pub(super) fn page(tx: &mut Tx<'_>, after: Option<&str>, limit: usize) -> Result<Vec<Group>, DbError> {
    tx.query(
        &format!("SELECT {COLUMNS} FROM groups WHERE id > $1 ORDER BY id LIMIT $2"),
        params![after.unwrap_or(""), i64::try_from(limit).unwrap_or(i64::MAX)],
    )?
    .iter()
    .map(from_row)
    .collect()
}

/// Groups after a folded name, by folded name.
pub(super) fn page_by_name(tx: &mut Tx<'_>, after: &str, limit: usize) -> Result<Vec<Group>, DbError> {
    tx.query(
        &format!("SELECT {COLUMNS} FROM groups WHERE name_folded > $1 ORDER BY name_folded LIMIT $2"),
        params![after, i64::try_from(limit).unwrap_or(i64::MAX)],
    )?
    .iter()
    .map(from_row)
    .collect()
}

/// The groups with these ids; who is gone is left out.
pub(super) fn load_many(tx: &mut Tx<'_>, ids: &[String]) -> Result<Vec<Group>, DbError> {
    let mut all = Vec::with_capacity(ids.len());
    for ids in ids.chunks(super::query::AT_ONCE) {
        let among = placeholders(1, ids.len());
        let sql = format!("SELECT {COLUMNS} FROM groups WHERE id IN {among}");
        let values: Vec<Value<'_>> = ids.iter().map(Value::from).collect();
        for row in &tx.query(&sql, &values)? {
            all.push(from_row(row)?);
        }
    }
    Ok(all)
}

fn require(tx: &mut Tx<'_>, id: &str) -> Result<Group, DirectoryError> {
    get(tx, id)?.ok_or_else(|| super::not_found(SubjectKind::Group, id))
}

impl Group {
    /// Whether the fields keep their limits (wire contract, section 8): all, or those that are different from what
    /// the group was before.
    ///
    /// # Errors
    /// [`DirectoryError::InvalidField`].
    pub fn check_limits(&self, before: Option<&Self>) -> Result<(), DirectoryError> {
        self.named().check(before.map(Self::named).as_ref())
    }

    fn named(&self) -> fields::Named<'_> {
        // Every field is named, so that a new one is asked for its limits here.
        let Self {
            id: _,
            name,
            description,
            source,
            external_id,
            create_time: _,
            update_time: _,
        } = self;
        fields::Named {
            name: ("groupName", name),
            description: description.as_deref(),
            external_id: ("groupExternalId", external_id.as_deref()),
            source,
        }
    }
}

/// Who has what another group wants, for people.
fn holder(row: &Row) -> Result<String, DbError> {
    let (id, name): (String, String) = (row.get(0)?, row.get(1)?);
    Ok(format!("the group {name:?} ({id})"))
}

/// Says why a group must not become what it is to be. A name that stays was checked before.
fn check(tx: &mut Tx<'_>, group: &Group, before: Option<&Group>) -> Result<(), DirectoryError> {
    group.check_limits(before)?;
    if before.is_none_or(|before| before.name != group.name)
        && let Some(row) = tx.query_opt(
            "SELECT id, name FROM groups WHERE name_folded = $1 AND id <> $2",
            params![fold(&group.name), group.id.as_str()],
        )?
    {
        return Err(DirectoryError::Taken {
            what: "name",
            value: group.name.clone(),
            holder: holder(&row)?,
        });
    }
    if let Some(external_id) = &group.external_id
        && let Some(row) = tx.query_opt(
            "SELECT id, name FROM groups
             WHERE source_type = $1 AND source_id = $2 AND external_id = $3 AND id <> $4",
            params![
                group.source.source_type.as_str(),
                group.source.source_id.as_str(),
                external_id.as_str(),
                group.id.as_str()
            ],
        )?
    {
        let value = external_id.clone();
        return Err(DirectoryError::Taken {
            what: "external id",
            value,
            holder: holder(&row)?,
        });
    }
    Ok(())
}

pub(super) fn create(
    tx: &mut Tx<'_>,
    ctx: &Context<'_>,
    new: &NewGroup,
) -> Result<(String, usize), DirectoryError> {
    let group = Group {
        id: id::make("group", ctx.now, ctx.random),
        name: new.name.clone(),
        description: new.description.clone(),
        source: new.source.clone(),
        external_id: new.external_id.clone(),
        create_time: ctx.now,
        update_time: ctx.now,
    };
    check(tx, &group, None)?;
    tx.execute(
        "INSERT INTO groups (id, name, name_folded, description, source_type, source_id, external_id,
                             create_time, update_time)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        params![
            group.id.as_str(),
            group.name.as_str(),
            fold(&group.name),
            group.description.as_deref(),
            group.source.source_type.as_str(),
            group.source.source_id.as_str(),
            group.external_id.as_deref(),
            group.create_time,
            group.update_time
        ],
    )?;
    ctx.append(
        tx,
        &[NewChange {
            before: None,
            ..group.change(ctx, EventType::GroupCreate)
        }],
    )?;
    Ok((group.id, 1))
}

impl GroupChanges {
    /// The group that comes of them.
    pub fn applied_to(&self, before: &Group) -> Group {
        let Self {
            name,
            description,
            external_id,
            source,
        } = self;
        let mut group = before.clone();
        if let Some(name) = name {
            group.name.clone_from(name);
        }
        if let Some(description) = description {
            group.description.clone_from(description);
        }
        if let Some(external_id) = external_id {
            group.external_id.clone_from(external_id);
        }
        if let Some(source) = source {
            group.source.clone_from(source);
        }
        group
    }
}

pub(super) fn update(
    tx: &mut Tx<'_>,
    ctx: &Context<'_>,
    id: &str,
    changes: &GroupChanges,
) -> Result<usize, DirectoryError> {
    let before = require(tx, id)?;
    let mut group = changes.applied_to(&before);
    if group == before {
        return Ok(0);
    }
    check(tx, &group, Some(&before))?;
    group.update_time = ctx.next_version(before.update_time);
    tx.execute(
        "UPDATE groups SET name_folded = CASE WHEN name = $2 THEN name_folded ELSE $3 END, name = $2, description = $4, external_id = $5, update_time = $6,
                           source_type = $7, source_id = $8
         WHERE id = $1",
        params![
            id,
            group.name.as_str(),
            fold(&group.name),
            group.description.as_deref(),
            group.external_id.as_deref(),
            group.update_time,
            group.source.source_type.as_str(),
            group.source.source_id.as_str()
        ],
    )?;
    let changed = previous(&before.record(ctx.instance_id), &group.record(ctx.instance_id));
    ctx.append(
        tx,
        &[NewChange {
            previous: changed,
            ..group.change(ctx, EventType::GroupUpdate)
        }],
    )?;
    Ok(1)
}

pub(super) fn delete(tx: &mut Tx<'_>, ctx: &Context<'_>, id: &str) -> Result<usize, DirectoryError> {
    let group = require(tx, id)?;
    let members = query::group_members(tx, id)?;
    let changes = remove_members(tx, ctx, id, &members)?;
    tx.execute("DELETE FROM groups WHERE id = $1", params![id])?;
    ctx.append(
        tx,
        &[NewChange {
            after: None,
            ..group.change(ctx, EventType::GroupDelete)
        }],
    )?;
    Ok(changes + 1)
}
