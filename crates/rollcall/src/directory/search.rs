//! Users and groups in the order of their names, in portions: all of them, or those in whose names a text stands.
//!
//! No index finds a text in the middle of a name, so a search looks at everybody. A portion looks at so few that
//! others can read in between; the module `listing` puts them together.

use std::sync::Arc;

use rollcall_db::{DbError, Tx, params};

use super::fields::fold;
use super::{Group, Sight, User, group, user};

/// How many subjects one portion of a search looks at.
const LOOK: usize = 2_000;

/// Which of many are listed.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Only users directly in this unit.
    pub unit_id: Option<String>,
    /// Only those in whose name this stands, whatever its case: of a group the name, of a user the username, the name
    /// for people or the email address.
    pub search: Option<String>,
    /// Only those who are seen; `None` for all.
    pub sight: Option<Arc<Sight>>,
}

/// A portion of a list.
#[derive(Debug)]
pub struct Portion<T> {
    /// What was found, by name.
    pub found: Vec<T>,
    /// The name after which the next portion begins; `None` if there is none.
    pub next: Option<String>,
}

/// A search: what is looked for, and at how many a portion looks.
struct Search {
    text: Option<String>,
    look: usize,
}

impl Search {
    fn new(wanted: &Wanted, limit: usize) -> Self {
        let text = wanted.search.as_deref().map(fold);
        let look = if text.is_some() || wanted.sight.is_some() {
            LOOK
        } else {
            limit
        };
        Self { text, look }
    }

    fn limit(&self) -> i64 {
        i64::try_from(self.look).unwrap_or(i64::MAX)
    }

    /// Whether the text stands in one of these names, the first of which are folded already.
    fn finds(&self, folded: &[Option<&str>], name: &str) -> bool {
        self.text.as_deref().is_none_or(|text| {
            folded.iter().flatten().any(|folded| folded.contains(text)) || fold(name).contains(text)
        })
    }
}

/// Users after a username, by username.
///
/// # Errors
/// What the database reports.
pub fn users(tx: &mut Tx<'_>, wanted: &Wanted, after: &str, limit: usize) -> Result<Portion<User>, DbError> {
    let search = Search::new(wanted, limit);
    let rows = match &wanted.unit_id {
        None => tx.query(
            "SELECT id, username_folded, email_folded, display_name FROM users
             WHERE username_folded > $1 ORDER BY username_folded LIMIT $2",
            params![fold(after), search.limit()],
        )?,
        Some(unit_id) => tx.query(
            "SELECT u.id, u.username_folded, u.email_folded, u.display_name
             FROM users u JOIN unit_members m ON m.user_id = u.id
             WHERE m.unit_id = $3 AND u.username_folded > $1 ORDER BY u.username_folded LIMIT $2",
            params![fold(after), search.limit(), unit_id.as_str()],
        )?,
    };
    let mut next = None;
    let mut ids = Vec::new();
    for row in &rows {
        let username: String = row.get(1)?;
        let (email, name): (Option<String>, String) = (row.get(2)?, row.get(3)?);
        if search.finds(&[Some(&username), email.as_deref()], &name) {
            ids.push(row.get::<String>(0)?);
        }
        next = Some(username);
        if ids.len() == limit && wanted.sight.is_none() {
            break;
        }
    }
    let next = next.filter(|_| ids.len() == limit || rows.len() == search.look);
    let mut found = user::load_many(tx, &ids)?;
    if let Some(sight) = &wanted.sight {
        found = sight.users(found);
        if found.len() > limit {
            found.truncate(limit);
            let next = found.last().map(|user| user.username.clone());
            return Ok(Portion { found, next });
        }
    }
    Ok(Portion { found, next })
}

/// Groups after a name, by name.
///
/// # Errors
/// What the database reports.
pub fn groups(
    tx: &mut Tx<'_>,
    wanted: &Wanted,
    after: &str,
    limit: usize,
) -> Result<Portion<Group>, DbError> {
    let search = Search::new(wanted, limit);
    let groups = group::page_by_name(tx, &fold(after), search.look)?;
    let looked_at_all = groups.len() < search.look;
    let mut next = None;
    let mut found = Vec::new();
    for group in groups {
        next = Some(group.name.clone());
        let is_seen = wanted
            .sight
            .as_ref()
            .is_none_or(|sight| sight.sees_group(&group.id));
        if is_seen && search.finds(&[], &group.name) {
            found.push(group);
        }
        if found.len() == limit {
            break;
        }
    }
    Ok(Portion {
        next: next.filter(|_| found.len() == limit || !looked_at_all),
        found,
    })
}

/// How many users there are; only those directly in a unit, if given.
///
/// # Errors
/// What the database reports.
pub fn count_users(tx: &mut Tx<'_>, unit_id: Option<&str>) -> Result<u64, DbError> {
    let row = match unit_id {
        None => tx.query_one("SELECT COUNT(*) FROM users", params![])?,
        Some(unit_id) => tx.query_one(
            "SELECT COUNT(*) FROM unit_members WHERE unit_id = $1",
            params![unit_id],
        )?,
    };
    Ok(row.get::<i64>(0)?.unsigned_abs())
}

/// How many groups there are.
///
/// # Errors
/// What the database reports.
pub fn count_groups(tx: &mut Tx<'_>) -> Result<u64, DbError> {
    let row = tx.query_one("SELECT COUNT(*) FROM groups", params![])?;
    Ok(row.get::<i64>(0)?.unsigned_abs())
}
