//! Organizational units: looking at them and changing them.

use std::sync::Arc;

use rollcall_db::Tx;
use rollcall_protocol::SubjectKind;
use serde::Serialize;

use super::{Access, Desk, Given, Need, Page, Paged, Refusal, Showing};
use crate::application::Grant;
use crate::clock::Millis;
use crate::directory::lists::{self, UnitsIn, UnitsWanted};
use crate::directory::{Cascade, Command, NewUnit, Sight, Source, Unit, UnitChanges};

const READ: Need = Need::OrganizationalUnits(Grant::Read);
const WRITE: Need = Need::OrganizationalUnits(Grant::Write);

/// An organizational unit.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Shown {
    instance_id: String,
    organizational_unit_id: String,
    organizational_unit_name: String,
    parent_id: Option<String>,
    description: Option<String>,
    organizational_unit_source_type: Option<String>,
    organizational_unit_source_id: Option<String>,
    organizational_unit_external_id: Option<String>,
    create_time: Millis,
    update_time: Millis,
}

impl Shown {
    fn read(tx: &mut Tx<'_>, access: &Access, instance: &str, id: &str) -> Result<Self, Refusal> {
        let sight = access.sight(tx)?;
        Ok(Self::of(instance, seen(tx, &sight, id)?))
    }

    fn of(instance: &str, unit: Unit) -> Self {
        let [source_type, source_id, external_id] =
            unit.source
                .on_the_wire(unit.external_id.as_ref(), &unit.id, instance);
        Self {
            instance_id: instance.to_owned(),
            organizational_unit_id: unit.id,
            organizational_unit_name: unit.name,
            parent_id: unit.parent_id,
            description: unit.description,
            organizational_unit_source_type: source_type,
            organizational_unit_source_id: source_id,
            organizational_unit_external_id: external_id,
            create_time: unit.create_time,
            update_time: unit.update_time,
        }
    }
}

/// The id of an organizational unit.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Id {
    organizational_unit_id: String,
}

/// The units above one.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ParentIds {
    parent_ids: Vec<String>,
}

/// A unit that is seen.
pub(super) fn seen(tx: &mut Tx<'_>, sight: &Sight, id: &str) -> Result<Unit, Refusal> {
    let found = sight.path_to(tx, id)?.pop();
    found.ok_or_else(|| Refusal::not_found(SubjectKind::Unit, id))
}

/// An organizational unit, as it is shown. The topmost ones of a scope have no parent there.
pub const SHOWN: Showing<Shown> = Showing {
    need: READ,
    kind: SubjectKind::Unit,
    read: Shown::read,
};

/// Lists organizational units by id, as far as they are seen.
///
/// # Errors
/// [`Refusal`].
pub async fn list(desk: &Desk, wanted: UnitsWanted, page: Paged) -> Result<Page<Shown>, Refusal> {
    let (instance, ladders) = (desk.hub().instance.id.clone(), Arc::clone(&desk.hub().ladders));
    desk.read(READ, move |tx, access| {
        let sight = access.sight(tx)?;
        if let UnitsIn::Parent(parent) = &wanted.within {
            seen(tx, &sight, parent)?;
        }
        let part = lists::units(tx, (&sight, &ladders), wanted.clone(), &page.wanted())?;
        Ok(Page::of(
            &page,
            part,
            |unit| &unit.id,
            |unit| Shown::of(&instance, unit),
        ))
    })
    .await
}

/// Names the units above one, the nearest first, as far as they are seen.
///
/// # Errors
/// [`Refusal`].
pub async fn parent_ids(desk: &Desk, id: String) -> Result<ParentIds, Refusal> {
    desk.read(READ, move |tx, access| {
        let sight = access.sight(tx)?;
        let mut path = sight.path_to(tx, &id)?;
        if path.pop().is_none() {
            return Err(Refusal::not_found(SubjectKind::Unit, &id));
        }
        Ok(ParentIds {
            parent_ids: path.into_iter().rev().map(|unit| unit.id).collect(),
        })
    })
    .await
}

/// A unit above another one, and the one above that.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Parent {
    organizational_unit_id: String,
    parent_id: Option<String>,
}

/// The units above one, the nearest first, each with the one above it.
///
/// # Errors
/// [`Refusal`].
pub async fn parents(desk: &Desk, id: String) -> Result<Vec<Parent>, Refusal> {
    desk.read(READ, move |tx, access| {
        let sight = access.sight(tx)?;
        let mut path = sight.path_to(tx, &id)?;
        if path.pop().is_none() {
            return Err(Refusal::not_found(SubjectKind::Unit, &id));
        }
        let above = path.into_iter().rev();
        Ok(above
            .map(|unit| Parent {
                organizational_unit_id: unit.id,
                parent_id: unit.parent_id,
            })
            .collect())
    })
    .await
}

/// The id of the organizational unit of an external id.
///
/// # Errors
/// [`Refusal`].
pub async fn find(desk: &Desk, source: Source, external_id: String) -> Result<Id, Refusal> {
    desk.read(READ, move |tx, access| {
        let sight = access.sight(tx)?;
        let missing = || Refusal::not_found(SubjectKind::Unit, &external_id);
        let id = match lists::unit_id(tx, &source, &external_id)? {
            Some(id) => id,
            // One that was given no external id has its own id as such.
            None if source.is_build_in() => match seen(tx, &sight, &external_id) {
                Ok(unit) if unit.external_id.is_none() => unit.id,
                _ => return Err(missing()),
            },
            None => return Err(missing()),
        };
        let found = seen(tx, &sight, &id).map_err(|_| missing())?;
        Ok(Id {
            organizational_unit_id: found.id,
        })
    })
    .await
}

/// Creates an organizational unit.
///
/// # Errors
/// [`Refusal`].
pub async fn create(desk: &Desk, given: &Given) -> Result<Id, Refusal> {
    let new = NewUnit {
        name: given.needed("organizationalUnitName")?,
        parent_id: given.needed("parentId")?,
        description: given.some("description")?,
        external_id: given.some("organizationalUnitExternalId")?,
        source: Source::default(),
    };
    let made = desk.write(WRITE, move |_, _| Ok(Command::CreateUnit(new.clone())));
    Ok(Id {
        organizational_unit_id: made.await?.id,
    })
}

/// Changes the fields of an organizational unit that are given.
///
/// # Errors
/// [`Refusal`].
pub async fn patch(desk: &Desk, id: String, given: &Given) -> Result<(), Refusal> {
    let changes = UnitChanges {
        name: given.name("organizationalUnitName")?,
        description: given.change("description")?,
        ..UnitChanges::default()
    };
    desk.carry_out(WRITE, Command::UpdateUnit { id, changes }).await
}

/// Puts an organizational unit below another one.
///
/// # Errors
/// [`Refusal`].
pub async fn move_below(desk: &Desk, id: String, given: &Given) -> Result<(), Refusal> {
    let parent_id = given.needed("parentId")?;
    desk.carry_out(WRITE, Command::MoveUnit { id, parent_id }).await
}

/// Deletes an organizational unit: one that is empty, or with what is below it and the users whose primary unit goes.
///
/// # Errors
/// [`Refusal`].
pub async fn delete(desk: &Desk, id: String, cascade: Cascade) -> Result<(), Refusal> {
    desk.carry_out(WRITE, Command::DeleteUnit { id, cascade }).await
}
