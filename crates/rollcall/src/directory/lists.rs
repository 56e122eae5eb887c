//! Lists of what somebody sees that are paged by number or by id, and looking users and units up by one value.

use rollcall_db::{DbError, Tx, Value, params};

use super::fields::fold;
use super::ladder::Ladder;
use super::sight::{Among, Sight};
use super::{Group, Source, User, group, search, user};

fn number(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A part of a list, and how many there are in all.
#[derive(Debug)]
pub struct Part<T> {
    /// What is on the page.
    pub found: Vec<T>,
    /// How many there are in all.
    pub total: u64,
}

/// Users by id, so many after so many; only those directly in a unit that is seen, if one is given. Of all users, each
/// page costs the same ([`Ladder`]); of a part of them, it costs the more the later it is.
///
/// # Errors
/// What the database reports.
pub fn users(
    tx: &mut Tx<'_>,
    (sight, ladder): (&Sight, &Ladder),
    unit_id: Option<&str>,
    offset: usize,
    limit: usize,
) -> Result<Part<User>, DbError> {
    let (page, total) = match (unit_id, sight.among(tx)?) {
        (Some(unit_id), _) => (
            tx.query(
                "SELECT user_id FROM unit_members WHERE unit_id = $1 ORDER BY user_id LIMIT $2 OFFSET $3",
                params![unit_id, number(limit), number(offset)],
            )?,
            search::count_users(tx, Some(unit_id))?,
        ),
        (None, Among::Everybody) => {
            let (from, skip, total) = match ladder.place(tx, offset as u64)? {
                Some(place) => (place.from, place.skip, place.total),
                None => (String::new(), offset as u64, search::count_users(tx, None)?),
            };
            let page = tx.query(
                "SELECT id FROM users WHERE id >= $1 ORDER BY id LIMIT $2 OFFSET $3",
                params![
                    from.as_str(),
                    number(limit),
                    i64::try_from(skip).unwrap_or(i64::MAX)
                ],
            )?;
            (page, total)
        }
        (None, Among::Few(inside) | Among::Many(inside)) => {
            let sql = format!(
                "{} WHERE u.id = m.user_id ORDER BY u.id LIMIT {limit} OFFSET {offset}",
                inside.only("u.id")
            );
            let page = tx.query(&sql, &inside.values())?;
            let total: i64 = tx.query_one(&inside.count(), &inside.values())?.get(0)?;
            (page, total.unsigned_abs())
        }
    };
    let ids = page
        .iter()
        .map(|row| row.get(0))
        .collect::<Result<Vec<String>, _>>()?;
    Ok(Part {
        found: sight.users(user::load_many(tx, &ids)?),
        total,
    })
}

/// Groups by id after one of them, of whose names this is the beginning, whatever its case.
///
/// # Errors
/// What the database reports.
pub fn groups(
    tx: &mut Tx<'_>,
    sight: &Sight,
    beginning: Option<&str>,
    after: &str,
    limit: usize,
) -> Result<Part<Group>, DbError> {
    let beginning = fold(beginning.unwrap_or_default());
    let ids = match sight.group_ids() {
        // All groups are seen. They are few beside users, so that looking at all their names is soon done.
        None => tx
            .query(
                "SELECT id FROM groups WHERE substr(name_folded, 1, $1) = $2 ORDER BY id",
                params![number(beginning.chars().count()), beginning.as_str()],
            )?
            .iter()
            .map(|row| row.get(0))
            .collect::<Result<Vec<String>, _>>()?,
        Some(seen) => {
            let seen: Vec<String> = seen.iter().cloned().collect();
            let groups = group::load_many(tx, &seen)?.into_iter();
            let mut fitting: Vec<String> = groups
                .filter(|group| fold(&group.name).starts_with(&beginning))
                .map(|group| group.id)
                .collect();
            fitting.sort();
            fitting
        }
    };
    let total = ids.len() as u64;
    let page: Vec<String> = ids
        .into_iter()
        .filter(|id| id.as_str() > after)
        .take(limit)
        .collect();
    let mut found = group::load_many(tx, &page)?;
    found.sort_by(|one, other| one.id.cmp(&other.id));
    Ok(Part { found, total })
}

/// How many members a group has.
///
/// # Errors
/// What the database reports.
pub fn count_members(tx: &mut Tx<'_>, group_id: &str) -> Result<u64, DbError> {
    let row = tx.query_one(
        "SELECT COUNT(*) FROM group_members WHERE group_id = $1",
        params![group_id],
    )?;
    Ok(row.get::<i64>(0)?.unsigned_abs())
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
