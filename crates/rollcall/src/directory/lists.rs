//! Lists of what somebody sees that are paged by number or by id, and looking users and units up by one value.
//!
//! Each page of a list costs the same, wherever it is ([`Ladders`]). A list that is narrowed to few is read as a whole.

use std::collections::BTreeSet;

use rollcall_db::{DbError, Tx, Value};

use super::fields::fold;
use super::ladder::{self, Place};
pub use super::ladder::{Begin, Ladders};
pub use super::listed::Narrowed;
use super::listed::{List, Of, Range};
use super::sight::Sight;
use super::{Group, Source, Unit, User, group, unit, user};
use crate::id::ROOT_UNIT;

/// A part of a list, and how many there are in all.
#[derive(Debug)]
pub struct Part<T> {
    /// What is on the page.
    pub found: Vec<T>,
    /// How many there are in all.
    pub total: u64,
}

/// A page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Where it begins.
    pub begin: Begin,
    /// How many there are on it at most.
    pub limit: usize,
}

/// A page of what is known as a whole: the ids that are on it, in their order.
fn cut(mut ids: Vec<String>, page: &Page) -> Part<String> {
    ids.sort_unstable();
    let total = ids.len() as u64;
    let (after, skip) = match &page.begin {
        Begin::Place(offset) => ("", *offset),
        Begin::After(id) => (id.as_str(), 0),
    };
    let ids = ids.into_iter().filter(|id| id.as_str() > after);
    Part {
        found: ids.skip(skip).take(page.limit).collect(),
        total,
    }
}

/// The ids on a page of a list.
fn page_of(tx: &mut Tx<'_>, ladders: &Ladders, list: &List, page: &Page) -> Result<Part<String>, DbError> {
    let all = Range::default();
    if list.only.leaves_few() || matches!(list.of, Of::Units(_)) {
        // What is left of many, or units, which are few beside users.
        let ids = ladder::ids(tx, list, &all, (0, i64::MAX.unsigned_abs()))?;
        return Ok(cut(ids, page));
    }
    let place = match ladders.place(tx, list, &page.begin, page.limit)? {
        Some(place) => place,
        None => {
            let total = ladder::count(tx, list, &all)?;
            match &page.begin {
                Begin::Place(offset) => Place {
                    range: all,
                    skip: *offset as u64,
                    total,
                },
                Begin::After(id) => Place {
                    range: Range {
                        from: id.clone(),
                        is_after: true,
                        to: None,
                    },
                    skip: 0,
                    total,
                },
            }
        }
    };
    Ok(Part {
        found: ladder::ids(tx, list, &place.range, (place.skip, page.limit as u64))?,
        total: place.total,
    })
}

/// Users by id, as far as they are seen; only those directly in a unit that is seen, if one is given.
///
/// # Errors
/// What the database reports.
pub fn users(
    tx: &mut Tx<'_>,
    (sight, ladders): (&Sight, &Ladders),
    (unit_id, only): (Option<&str>, Narrowed),
    page: &Page,
) -> Result<Part<User>, DbError> {
    let of = match (unit_id, sight.inside()) {
        (Some(unit_id), _) => Of::UsersOfUnit(unit_id.to_owned()),
        (None, None) => Of::Users,
        (None, Some(inside)) => {
            let (units, groups) = inside.parts();
            Of::UsersWithin { units, groups }
        }
    };
    let Part { found, total } = page_of(tx, ladders, &List { of, only }, page)?;
    Ok(Part {
        found: sight.users(user::load_many(tx, &found)?),
        total,
    })
}

/// The ids of the members of a group that is seen, by id.
///
/// # Errors
/// What the database reports.
pub fn members(
    tx: &mut Tx<'_>,
    ladders: &Ladders,
    (group_id, only): (&str, Narrowed),
    page: &Page,
) -> Result<Part<String>, DbError> {
    let of = Of::UsersOfGroup(group_id.to_owned());
    page_of(tx, ladders, &List { of, only }, page)
}

/// Groups by id, as far as they are seen.
///
/// # Errors
/// What the database reports.
pub fn groups(
    tx: &mut Tx<'_>,
    (sight, ladders): (&Sight, &Ladders),
    mut only: Narrowed,
    page: &Page,
) -> Result<Part<Group>, DbError> {
    // Groups are not within units: those that are seen are named one by one, if not all are.
    only.ids(sight.group_ids().cloned());
    let list = List { of: Of::Groups, only };
    let Part { found, total } = page_of(tx, ladders, &list, page)?;
    let mut found = group::load_many(tx, &found)?;
    found.sort_by(|one, other| one.id.cmp(&other.id));
    Ok(Part { found, total })
}

/// The groups of a user, by id.
///
/// # Errors
/// What the database reports.
pub fn groups_of(tx: &mut Tx<'_>, user: &User, page: &Page) -> Result<Part<Group>, DbError> {
    let Part { found, total } = cut(user.groups.clone(), page);
    let mut found = group::load_many(tx, &found)?;
    found.sort_by(|one, other| one.id.cmp(&other.id));
    Ok(Part { found, total })
}

/// Where units are listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum UnitsIn {
    /// Directly below the root, or the topmost ones that are seen.
    #[default]
    Top,
    /// Directly below this one, which is seen.
    Parent(String),
    /// Everywhere.
    Everywhere,
}

/// Which units are listed.
#[derive(Clone, Debug, Default)]
pub struct UnitsWanted {
    /// Where.
    pub within: UnitsIn,
    /// Only these.
    pub ids: Option<BTreeSet<String>>,
    /// Only those of this name, whatever its case.
    pub name: Option<String>,
    /// Only those whose name begins so, whatever its case.
    pub beginning: Option<String>,
}

impl UnitsWanted {
    fn fits(&self, unit: &Unit, top: Option<&str>) -> bool {
        let name = fold(&unit.name);
        let is_there = match &self.within {
            UnitsIn::Top => unit.parent_id.as_deref() == top,
            UnitsIn::Parent(id) => unit.parent_id.as_ref() == Some(id),
            UnitsIn::Everywhere => true,
        };
        is_there
            && self.ids.as_ref().is_none_or(|ids| ids.contains(&unit.id))
            && self.name.as_ref().is_none_or(|wanted| fold(wanted) == name)
            && self
                .beginning
                .as_ref()
                .is_none_or(|wanted| name.starts_with(&fold(wanted)))
    }
}

/// Organizational units by id, as far as they are seen.
///
/// # Errors
/// What the database reports.
pub fn units(
    tx: &mut Tx<'_>,
    (sight, ladders): (&Sight, &Ladders),
    wanted: UnitsWanted,
    page: &Page,
) -> Result<Part<Unit>, DbError> {
    if let Some((seen, top)) = sight.some_units() {
        let mut fitting: Vec<Unit> = seen.filter(|unit| wanted.fits(unit, top)).cloned().collect();
        fitting.sort_by(|one, other| one.id.cmp(&other.id));
        let ids = fitting.iter().map(|unit| unit.id.clone()).collect();
        let Part { found, total } = cut(ids, page);
        fitting.retain(|unit| found.contains(&unit.id));
        return Ok(Part {
            found: fitting,
            total,
        });
    }
    let mut only = Narrowed::default();
    only.ids(wanted.ids);
    only.name(wanted.name);
    only.name_begins(wanted.beginning);
    let of = Of::Units(match wanted.within {
        UnitsIn::Top => Some(ROOT_UNIT.to_owned()),
        UnitsIn::Parent(id) => Some(id),
        UnitsIn::Everywhere => None,
    });
    let Part { found, total } = page_of(tx, ladders, &List { of, only }, page)?;
    let mut found = unit::load_many(tx, &found)?;
    found.sort_by(|one, other| one.id.cmp(&other.id));
    Ok(Part { found, total })
}

/// By what somebody is looked for.
#[derive(Clone, Copy, Debug)]
pub enum By<'a> {
    /// A username, whatever its case.
    Username(&'a str),
    /// An email address, whatever its case.
    Email(&'a str),
    /// A phone number without its region, so that there may be several.
    PhoneNumber(&'a str),
    /// An external id of a source.
    ExternalId(&'a Source, &'a str),
}

/// The ids of the users of this value: one, but for a phone number, by id.
///
/// # Errors
/// What the database reports.
pub fn user_ids(tx: &mut Tx<'_>, by: By<'_>) -> Result<Vec<String>, DbError> {
    let folded;
    let (condition, values): (&str, Vec<Value<'_>>) = match by {
        By::Username(name) => {
            folded = fold(name);
            ("username_folded = $1", vec![folded.as_str().into()])
        }
        By::Email(email) => {
            folded = fold(email);
            ("email_folded = $1", vec![folded.as_str().into()])
        }
        By::PhoneNumber(phone) => ("phone_number = $1", vec![phone.into()]),
        By::ExternalId(source, id) => (OF_SOURCE, of_source(source, id)),
    };
    ids(tx, "users", condition, &values)
}

/// The id of the organizational unit of this external id, if there is one.
///
/// # Errors
/// What the database reports.
pub fn unit_id(tx: &mut Tx<'_>, source: &Source, external_id: &str) -> Result<Option<String>, DbError> {
    Ok(ids(
        tx,
        "organizational_units",
        OF_SOURCE,
        &of_source(source, external_id),
    )?
    .pop())
}

const OF_SOURCE: &str = "source_type = $1 AND source_id = $2 AND external_id = $3";

fn of_source<'a>(source: &'a Source, external_id: &'a str) -> Vec<Value<'a>> {
    vec![
        source.source_type.as_str().into(),
        source.source_id.as_str().into(),
        external_id.into(),
    ]
}

fn ids(tx: &mut Tx<'_>, table: &str, condition: &str, values: &[Value<'_>]) -> Result<Vec<String>, DbError> {
    let sql = format!("SELECT id FROM {table} WHERE {condition}");
    let mut ids = tx
        .query(&sql, values)?
        .iter()
        .map(|row| row.get(0))
        .collect::<Result<Vec<String>, _>>()?;
    ids.sort();
    Ok(ids)
}
