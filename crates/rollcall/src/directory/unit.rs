//! Organizational units: a tree under one root.

mod subtree;

use rollcall_db::{DbError, Row, Tx, Value, params};
use rollcall_protocol::{EventType, SubjectKind, UnitPayload};
use serde::{Deserialize, Serialize};

use super::fields::{self, Source, fold, present};
use super::placement::placement;
use super::{Context, DirectoryError, previous};
use crate::change::{ChangeKind, NewChange, columns_of, listed};
use crate::clock::Millis;
use crate::id::{self, ROOT_UNIT};
pub(super) use subtree::{delete, move_below};

/// An organizational unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Unit {
    /// `ou_…`.
    pub id: String,
    /// The unit above; `None` for the root.
    pub parent_id: Option<String>,
    /// Unique among its siblings without regard to case.
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
    /// When it last changed.
    pub update_time: Millis,
}

/// A new organizational unit.
#[derive(Clone, Debug, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewUnit {
    /// Its name.
    pub name: String,
    /// The unit above.
    pub parent_id: String,
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

/// What changes of a unit; what is absent stays, what is null is emptied.
#[derive(Clone, Debug, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct UnitChanges {
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

/// How many columns of a unit there are.
pub(super) const COLUMN_COUNT: usize = 9;

const COLUMNS: &str =
    "id, parent_id, name, description, source_type, source_id, external_id, create_time, update_time";

/// The columns of a unit, for a statement that names other tables as well.
pub(super) fn columns(table: &str) -> String {
    columns_of(table, COLUMNS)
}

pub(super) fn from_row(row: &Row) -> Result<Unit, DbError> {
    Ok(Unit {
        id: row.get(0)?,
        parent_id: row.get(1)?,
        name: row.get(2)?,
        description: row.get(3)?,
        source: Source {
            source_type: row.get(4)?,
            source_id: row.get(5)?,
        },
        external_id: row.get(6)?,
        create_time: row.get(7)?,
        update_time: row.get(8)?,
    })
}

impl Unit {
    /// What its name is compared and sorted by.
    pub(super) fn name_key(&self) -> String {
        fold(&self.name)
    }

    /// The record as it goes on the wire.
    pub fn record(&self, instance_id: &str) -> String {
        // Every field is named, so that a new one is sent, or left out on purpose.
        let Self {
            id,
            parent_id,
            name,
            description,
            source,
            external_id,
            create_time,
            update_time,
        } = self;
        let [source_type, source_id, external_id] = source.on_the_wire(external_id.as_ref(), id, instance_id);
        UnitPayload {
            unit_id: id.clone(),
            name: Some(name.clone()),
            parent_id: parent_id.clone(),
            external_id,
            source_type,
            source_id,
            description: Some(description.clone().unwrap_or_default()),
            create_time: Some(*create_time),
            update_time: Some(*update_time),
        }
        .to_json()
    }

    fn change(&self, ctx: &Context<'_>, kind: ChangeKind) -> NewChange {
        NewChange {
            kind,
            subject_kind: SubjectKind::Unit,
            subject_id: self.id.clone(),
            record: self.record(ctx.instance_id),
            previous: None,
            before: None,
            after: None,
            secret: None,
        }
    }
}

/// Reads a unit.
///
/// # Errors
/// What the database reports.
pub(super) fn get(tx: &mut Tx<'_>, id: &str) -> Result<Option<Unit>, DbError> {
    tx.query_opt(
        &format!("SELECT {COLUMNS} FROM organizational_units WHERE id = $1"),
        params![id],
    )?
    .map(|row| from_row(&row))
    .transpose()
}

/// The units directly below one, by name.
///
/// # Errors
/// What the database reports.
pub fn children(tx: &mut Tx<'_>, parent_id: &str) -> Result<Vec<Unit>, DbError> {
    tx.query(
        &format!("SELECT {COLUMNS} FROM organizational_units WHERE parent_id = $1 ORDER BY name_folded"),
        params![parent_id],
    )?
    .iter()
    .map(from_row)
    .collect()
}

/// Units by id; those that are gone are left out. At most as many as a statement has parameters.
pub(super) fn load_many(tx: &mut Tx<'_>, ids: &[String]) -> Result<Vec<Unit>, DbError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let sql = format!(
        "SELECT {COLUMNS} FROM organizational_units WHERE id IN {}",
        listed(1, ids.len())
    );
    let values: Vec<Value<'_>> = ids.iter().map(|id| Value::from(id.as_str())).collect();
    tx.query(&sql, &values)?.iter().map(from_row).collect()
}

/// All units.
pub(super) fn all(tx: &mut Tx<'_>) -> Result<Vec<Unit>, DbError> {
    tx.query(&format!("SELECT {COLUMNS} FROM organizational_units"), params![])?
        .iter()
        .map(from_row)
        .collect()
}

pub(super) fn require(tx: &mut Tx<'_>, id: &str) -> Result<Unit, DirectoryError> {
    get(tx, id)?.ok_or_else(|| super::not_found(SubjectKind::Unit, id))
}

impl Unit {
    /// Whether the fields keep their limits (wire contract, section 8): all, or those that are different from what
    /// the unit was before.
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
            parent_id: _,
            name,
            description,
            source,
            external_id,
            create_time: _,
            update_time: _,
        } = self;
        fields::Named {
            name: ("organizationalUnitName", name),
            description: description.as_deref(),
            external_id: ("organizationalUnitExternalId", external_id.as_deref()),
            source,
        }
    }
}

/// Who has what another unit wants, for people.
fn holder(row: &Row) -> Result<String, DbError> {
    let (id, name): (String, String) = (row.get(0)?, row.get(1)?);
    Ok(format!("the organizational unit {name:?} ({id})"))
}

/// Says why a unit must not become what it is to be. A name that stays where it is was checked before.
fn check(tx: &mut Tx<'_>, unit: &Unit, before: Option<&Unit>) -> Result<(), DirectoryError> {
    unit.check_limits(before)?;
    let stays = before.is_some_and(|before| before.name == unit.name && before.parent_id == unit.parent_id);
    let taken = match stays {
        true => None,
        false => tx.query_opt(
            "SELECT id, name FROM organizational_units WHERE parent_id = $1 AND name_folded = $2 AND id <> $3",
            params![unit.parent_id.as_deref(), fold(&unit.name), unit.id.as_str()],
        )?,
    };
    if let Some(row) = taken {
        return Err(DirectoryError::Taken {
            what: "name",
            value: unit.name.clone(),
            holder: holder(&row)?,
        });
    }
    if let Some(external_id) = &unit.external_id {
        let taken = tx.query_opt(
            "SELECT id, name FROM organizational_units
             WHERE source_type = $1 AND source_id = $2 AND external_id = $3 AND id <> $4",
            params![
                unit.source.source_type.as_str(),
                unit.source.source_id.as_str(),
                external_id.as_str(),
                unit.id.as_str()
            ],
        )?;
        if let Some(row) = taken {
            let value = external_id.clone();
            return Err(DirectoryError::Taken {
                what: "external id",
                value,
                holder: holder(&row)?,
            });
        }
    }
    Ok(())
}

fn insert(tx: &mut Tx<'_>, unit: &Unit) -> Result<(), DbError> {
    tx.execute(
        "INSERT INTO organizational_units (id, parent_id, name, name_folded, description, source_type,
                                           source_id, external_id, create_time, update_time)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        params![
            unit.id.as_str(),
            unit.parent_id.as_deref(),
            unit.name.as_str(),
            fold(&unit.name),
            unit.description.as_deref(),
            unit.source.source_type.as_str(),
            unit.source.source_id.as_str(),
            unit.external_id.as_deref(),
            unit.create_time,
            unit.update_time
        ],
    )?;
    Ok(())
}

fn update_row(tx: &mut Tx<'_>, unit: &Unit) -> Result<(), DbError> {
    tx.execute(
        "UPDATE organizational_units
         SET parent_id = $2, name_folded = CASE WHEN name = $3 AND parent_id = $2 THEN name_folded ELSE $4 END,
             name = $3, description = $5, external_id = $6, update_time = $7,
             source_type = $8, source_id = $9
         WHERE id = $1",
        params![
            unit.id.as_str(),
            unit.parent_id.as_deref(),
            unit.name.as_str(),
            fold(&unit.name),
            unit.description.as_deref(),
            unit.external_id.as_deref(),
            unit.update_time,
            unit.source.source_type.as_str(),
            unit.source.source_id.as_str()
        ],
    )?;
    Ok(())
}

/// Makes the root, if there is none.
pub(super) fn make_root(tx: &mut Tx<'_>, ctx: &Context<'_>, name: &str) -> Result<(), DirectoryError> {
    if get(tx, ROOT_UNIT)?.is_some() {
        return Ok(());
    }
    let root = Unit {
        id: ROOT_UNIT.to_owned(),
        parent_id: None,
        name: name.to_owned(),
        description: None,
        source: Source::default(),
        external_id: None,
        create_time: ctx.now,
        update_time: ctx.now,
    };
    check(tx, &root, None)?;
    insert(tx, &root)?;
    let after = Some(placement(tx, std::slice::from_ref(&root.id), Vec::new())?);
    ctx.append(
        tx,
        &[NewChange {
            after,
            ..root.change(ctx, ChangeKind::Event(EventType::UnitCreate))
        }],
    )?;
    Ok(())
}

pub(super) fn create(
    tx: &mut Tx<'_>,
    ctx: &Context<'_>,
    new: &NewUnit,
) -> Result<(String, usize), DirectoryError> {
    require(tx, &new.parent_id)?;
    let unit = Unit {
        id: id::make("ou", ctx.now, ctx.random),
        parent_id: Some(new.parent_id.clone()),
        name: new.name.clone(),
        description: new.description.clone(),
        source: new.source.clone(),
        external_id: new.external_id.clone(),
        create_time: ctx.now,
        update_time: ctx.now,
    };
    check(tx, &unit, None)?;
    insert(tx, &unit)?;
    let after = Some(placement(tx, std::slice::from_ref(&unit.id), Vec::new())?);
    ctx.append(
        tx,
        &[NewChange {
            after,
            ..unit.change(ctx, ChangeKind::Event(EventType::UnitCreate))
        }],
    )?;
    Ok((unit.id, 1))
}

impl UnitChanges {
    /// The unit that comes of them.
    pub fn applied_to(&self, before: &Unit) -> Unit {
        let Self {
            name,
            description,
            external_id,
            source,
        } = self;
        let mut unit = before.clone();
        if let Some(name) = name {
            unit.name.clone_from(name);
        }
        if let Some(description) = description {
            unit.description.clone_from(description);
        }
        if let Some(external_id) = external_id {
            unit.external_id.clone_from(external_id);
        }
        if let Some(source) = source {
            unit.source.clone_from(source);
        }
        unit
    }
}

pub(super) fn update(
    tx: &mut Tx<'_>,
    ctx: &Context<'_>,
    id: &str,
    changes: &UnitChanges,
) -> Result<usize, DirectoryError> {
    let before = require(tx, id)?;
    let mut unit = changes.applied_to(&before);
    if unit == before {
        return Ok(0);
    }
    check(tx, &unit, Some(&before))?;
    unit.update_time = ctx.next_version(before.update_time);
    update_row(tx, &unit)?;
    let stands = Some(placement(tx, std::slice::from_ref(&unit.id), Vec::new())?);
    ctx.append(
        tx,
        &[NewChange {
            previous: previous(&before.record(ctx.instance_id), &unit.record(ctx.instance_id)),
            before: stands.clone(),
            after: stands,
            ..unit.change(ctx, ChangeKind::Event(EventType::UnitUpdate))
        }],
    )?;
    Ok(1)
}
