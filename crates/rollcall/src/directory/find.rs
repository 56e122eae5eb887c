//! From what somebody writes to whom it means.
//!
//! A user is written as an id, a username or an email address, a group as an id or a name, a unit as an id
//! or a path, an application as an id or a name. Nothing keeps a name from being the id of another: names come
//! from people and from imports. So what fits more than one is refused ([`DirectoryError::Ambiguous`]), and a
//! prefix says which is meant: `id:`, `name:` (of a user: the username; of a unit: the path) or `email:`.

use std::sync::Arc;

use rollcall_db::{DbError, Tx, Value, params};
use rollcall_protocol::SubjectKind;

use super::fields::fold;
use super::{DirectoryError, Group, Unit, User, group, path, unit, user};
use crate::change::Placement;
use crate::id::ROOT_UNIT;

/// How somebody is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written<'a> {
    /// `id:…`.
    Id(&'a str),
    /// `name:…`.
    Name(&'a str),
    /// `email:…`.
    Email(&'a str),
    /// Without a prefix: any of them.
    Any(&'a str),
}

impl<'a> Written<'a> {
    /// Reads the prefix.
    pub fn of(text: &'a str) -> Self {
        let prefixed = [
            ("id:", Self::Id as fn(&'a str) -> Self),
            ("name:", Self::Name),
            ("email:", Self::Email),
        ];
        prefixed
            .into_iter()
            .find_map(|(prefix, made)| text.strip_prefix(prefix).map(made))
            .unwrap_or(Self::Any(text))
    }

    /// The text behind the prefix.
    pub fn bare(self) -> &'a str {
        match self {
            Self::Id(text) | Self::Name(text) | Self::Email(text) | Self::Any(text) => text,
        }
    }

    /// What it may be as an id.
    pub fn id(self) -> Option<&'a str> {
        match self {
            Self::Id(id) | Self::Any(id) => Some(id),
            Self::Name(_) | Self::Email(_) => None,
        }
    }

    /// What it may be as a name or a path.
    pub fn name(self) -> Option<&'a str> {
        match self {
            Self::Name(name) | Self::Any(name) => Some(name),
            Self::Id(_) | Self::Email(_) => None,
        }
    }

    /// What it may be as an email address.
    pub fn email(self) -> Option<&'a str> {
        match self {
            Self::Email(email) | Self::Any(email) => Some(email),
            Self::Id(_) | Self::Name(_) => None,
        }
    }
}

/// Whom a text fits, each with the prefix by which it does.
type Fitting = Vec<(&'static str, String)>;

/// The one whom a text fits, if it fits at most one.
fn one(kind: SubjectKind, bare: &str, mut fitting: Fitting) -> Result<Option<String>, DirectoryError> {
    let several = fitting.iter().any(|(_, id)| *id != fitting[0].1);
    if several {
        let ways = fitting
            .iter()
            .map(|(prefix, id)| match *prefix {
                "id:" => format!("id:{bare}"),
                prefix => format!("{prefix}{bare} (which is {id})"),
            })
            .collect();
        return Err(DirectoryError::Ambiguous {
            kind,
            text: bare.to_owned(),
            ways,
        });
    }
    Ok(fitting.pop().map(|(_, id)| id))
}

fn fitting_users(tx: &mut Tx<'_>, written: Written<'_>) -> Result<Fitting, DbError> {
    let (id, name, email) = (written.id(), written.name().map(fold), written.email().map(fold));
    let rows = tx.query(
        "SELECT id, username_folded, email_folded FROM users
         WHERE id = $1 OR username_folded = $2 OR email_folded = $3",
        params![id, name.as_deref(), email.as_deref()],
    )?;
    let mut fitting = Vec::new();
    for row in rows {
        let own: String = row.get(0)?;
        let (own_name, own_email): (String, Option<String>) = (row.get(1)?, row.get(2)?);
        if id == Some(own.as_str()) {
            fitting.push(("id:", own.clone()));
        }
        if name.as_ref() == Some(&own_name) {
            fitting.push(("name:", own.clone()));
        }
        if email.is_some() && email == own_email {
            fitting.push(("email:", own));
        }
    }
    fitting.sort_by_key(|(prefix, _)| ["id:", "name:", "email:"].iter().position(|it| it == prefix));
    Ok(fitting)
}

fn fitting_groups(tx: &mut Tx<'_>, written: Written<'_>) -> Result<Fitting, DbError> {
    let (id, name) = (written.id(), written.name().map(fold));
    let rows = tx.query(
        "SELECT id, name_folded FROM groups WHERE id = $1 OR name_folded = $2",
        params![id, name.as_deref()],
    )?;
    let mut fitting = Vec::new();
    for row in rows {
        let (own, own_name): (String, String) = (row.get(0)?, row.get(1)?);
        if id == Some(own.as_str()) {
            fitting.push(("id:", own.clone()));
        }
        if name.as_ref() == Some(&own_name) {
            fitting.push(("name:", own));
        }
    }
    fitting.sort_by_key(|(prefix, _)| *prefix);
    Ok(fitting)
}

fn fitting_units(tx: &mut Tx<'_>, written: Written<'_>) -> Result<Fitting, DbError> {
    let mut fitting = Vec::new();
    if let Some(id) = written.id()
        && let Some(unit) = unit::get(tx, id)?
    {
        fitting.push(("id:", unit.id));
    }
    if let Some(path) = written.name()
        && let Some(id) = unit_at(tx, path)?
    {
        fitting.push(("name:", id));
    }
    Ok(fitting)
}

fn unit_at(tx: &mut Tx<'_>, path: &str) -> Result<Option<String>, DbError> {
    let names = names_in(path);
    if names.is_empty() {
        return Ok(Some(ROOT_UNIT.to_owned()));
    }
    let sql = format!(
        "{} SELECT id FROM found WHERE place = {}",
        way(1, names.len()),
        names.len()
    );
    let mut values = vec![Value::from(ROOT_UNIT)];
    values.extend(names.iter().map(|name| Value::from(name.as_str())));
    tx.query_opt(&sql, &values)?.map(|row| row.get(0)).transpose()
}

/// The names of a path, folded.
fn names_in(path: &str) -> Vec<String> {
    path::split(path).iter().map(|name| fold(name)).collect()
}

/// What a statement begins with that goes a way down from a unit: `found` holds the units on it, and at which `place`
/// each is. The unit is the parameter `first`, those behind it are the folded names, of which there is one at least.
fn way(first: usize, names: usize) -> String {
    let wanted: Vec<String> = (1..=names)
        .map(|place| format!("({place}, ${})", first + place))
        .collect();
    format!(
        "WITH RECURSIVE wanted (place, name) AS (VALUES {}),
         found (id, place) AS (
             SELECT id, 0 FROM organizational_units WHERE id = ${first}
             UNION ALL
             SELECT u.id, f.place + 1
             FROM found f JOIN wanted w ON w.place = f.place + 1
                  JOIN organizational_units u ON u.parent_id = f.id AND u.name_folded = w.name)",
        wanted.join(", ")
    )
}

/// Finds a user by id, username or email address.
///
/// # Errors
/// [`DirectoryError::Ambiguous`], or what the database reports.
pub fn find_user(tx: &mut Tx<'_>, text: &str) -> Result<Option<User>, DirectoryError> {
    Ok(find_standing(tx, text)?.map(|(user, _)| user))
}

/// Finds a user as [`find_user`] does, and where it stands.
///
/// # Errors
/// [`DirectoryError::Ambiguous`], or what the database reports.
pub fn find_standing(tx: &mut Tx<'_>, text: &str) -> Result<Option<(User, Arc<Placement>)>, DirectoryError> {
    let written = Written::of(text);
    if let Written::Id(id) = written {
        return Ok(user::standing(tx, id)?);
    }
    match user::standing_written(tx, written)? {
        user::Found::Nobody => Ok(None),
        user::Found::One(found) => Ok(Some(*found)),
        // They are read once more only to be told apart.
        user::Found::Several => {
            let fitting = fitting_users(tx, written)?;
            one(SubjectKind::User, written.bare(), fitting)?;
            Ok(None)
        }
    }
}

/// The id of a user who is written as an id, a username or an email address. If nobody in the directory is, what is
/// written is taken for the id of somebody who is gone.
///
/// # Errors
/// [`DirectoryError::Ambiguous`], or what the database reports.
pub fn user_id(tx: &mut Tx<'_>, text: &str) -> Result<String, DirectoryError> {
    let found = find_user(tx, text)?;
    Ok(found.map_or_else(|| Written::of(text).bare().to_owned(), |user| user.id))
}

/// Finds a group by id or name.
///
/// # Errors
/// [`DirectoryError::Ambiguous`], or what the database reports.
pub fn find_group(tx: &mut Tx<'_>, text: &str) -> Result<Option<Group>, DirectoryError> {
    let written = Written::of(text);
    if let Written::Id(id) = written {
        return Ok(group::get(tx, id)?);
    }
    let fitting = fitting_groups(tx, written)?;
    match one(SubjectKind::Group, written.bare(), fitting)? {
        Some(id) => Ok(group::get(tx, &id)?),
        None => Ok(None),
    }
}

/// Finds a unit by id or by its path from below the root, such as `Engineering/Optics`. The empty path
/// and `/` are the root.
///
/// # Errors
/// [`DirectoryError::Ambiguous`], or what the database reports.
pub fn find_unit(tx: &mut Tx<'_>, text: &str) -> Result<Option<Unit>, DirectoryError> {
    let written = Written::of(text);
    if let Written::Id(id) = written {
        return Ok(unit::get(tx, id)?);
    }
    let fitting = fitting_units(tx, written)?;
    match one(SubjectKind::Unit, written.bare(), fitting)? {
        Some(id) => Ok(unit::get(tx, &id)?),
        None => Ok(None),
    }
}

/// The ids of all users, units and groups that are written so, for filters: there, several are no mistake.
///
/// # Errors
/// What the database reports.
pub fn ids_of(tx: &mut Tx<'_>, text: &str) -> Result<Vec<String>, DbError> {
    let written = Written::of(text);
    let (name, email) = (written.name().map(fold), written.email().map(fold));
    let mut values = vec![
        Value::from(written.id()),
        Value::from(name.as_deref()),
        Value::from(email.as_deref()),
    ];
    let names = written.name().map(names_in).unwrap_or_default();
    let (way, at_its_end) = match names.len() {
        0 => (String::new(), String::new()),
        count => (
            way(values.len() + 1, count),
            format!("UNION SELECT id FROM found WHERE place = {count}"),
        ),
    };
    if !names.is_empty() {
        values.push(Value::from(ROOT_UNIT));
        values.extend(names.iter().map(|name| Value::from(name.as_str())));
    }
    let sql = format!(
        "{way} SELECT id FROM users WHERE id = $1 OR username_folded = $2 OR email_folded = $3
         UNION SELECT id FROM groups WHERE id = $1 OR name_folded = $2
         UNION SELECT id FROM organizational_units WHERE id = $1 {at_its_end}"
    );
    tx.query(&sql, &values)?.iter().map(|row| row.get(0)).collect()
}

/// The name of a group; `None` if there is none.
///
/// # Errors
/// What the database reports.
pub fn group_name(tx: &mut Tx<'_>, id: &str) -> Result<Option<String>, DbError> {
    Ok(group::get(tx, id)?.map(|group| group.name))
}
