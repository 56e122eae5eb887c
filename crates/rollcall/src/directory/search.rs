//! Users and groups in the order of their names, in portions: all of them, or those in whose names a text stands.
//!
//! No index finds a text in the middle of a name, so a search looks at everybody. A portion looks at so few that
//! others can read in between; the module `listing` puts them together.

use std::sync::Arc;

use rollcall_db::{DbError, Tx, Value, params};

use super::fields::fold;
use super::sight::Among;
use super::{Group, Sight, User, group, user};

/// How many subjects one portion of a search looks at.
const LOOK: usize = 4_000;

/// Which of many are listed.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Only users directly in this unit.
    pub unit_id: Option<String>,
    /// Only those in whose name this stands, whatever its case: of a group the name, of a user the username, the name
    /// for people, the email address or the phone number.
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
    /// What the text is if it is a phone number, or a part of one.
    digits: Option<String>,
    look: usize,
}

/// How many digits are a part of a phone number. Fewer are in almost all.
const DIGITS: usize = 3;

/// The digits of a text that says a phone number as people write it, or a part of one.
fn digits(text: &str) -> Option<String> {
    let is_phone = |c: char| c.is_ascii_digit() || matches!(c, '+' | ' ' | '-' | '(' | ')' | '.' | '/');
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let is_number = digits.len() >= DIGITS && text.chars().all(is_phone);
    // Two zeros before the country say the same as a plus.
    is_number.then(|| match digits.strip_prefix("00") {
        Some(rest) if rest.len() >= DIGITS => rest.to_owned(),
        _ => digits,
    })
}

impl Search {
    /// One that looks among those who are all seen, or else among everybody.
    fn new(wanted: &Wanted, limit: usize, are_all_seen: bool) -> Self {
        let text = wanted.search.as_deref().map(fold);
        Self {
            look: if text.is_some() || !are_all_seen {
                LOOK
            } else {
                limit
            },
            digits: text.as_deref().and_then(digits),
            text,
        }
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

    /// Whether the text is a part of this phone number.
    fn finds_phone(&self, region: Option<&str>, number: Option<&str>) -> bool {
        self.digits
            .as_deref()
            .zip(number)
            .is_some_and(|(digits, number)| {
                let whole = format!("{}{number}", region.unwrap_or_default());
                // Within a country a number begins with a zero that is not in it.
                let local = digits.strip_prefix('0').filter(|local| local.len() >= DIGITS);
                whole.contains(digits) || local.is_some_and(|local| number.contains(local))
            })
    }
}

/// What a search looks at of users.
const COLUMNS: &str =
    "u.id, u.username_folded, u.email_folded, u.display_name, u.phone_region, u.phone_number";

/// Users after a username, by username.
///
/// # Errors
/// What the database reports.
pub fn users(tx: &mut Tx<'_>, wanted: &Wanted, after: &str, limit: usize) -> Result<Portion<User>, DbError> {
    let Portion { found, next } = user_ids(tx, wanted, after, limit)?;
    let found = user::load_many(tx, &found)?;
    let found = match &wanted.sight {
        Some(sight) => sight.users(found),
        None => found,
    };
    Ok(Portion { found, next })
}

/// The ids of users after a username, by username: for a page that is put together of several portions and reads its
/// users at once.
///
/// # Errors
/// What the database reports.
pub fn user_ids(
    tx: &mut Tx<'_>,
    wanted: &Wanted,
    after: &str,
    limit: usize,
) -> Result<Portion<String>, DbError> {
    let everything = Sight::EVERYTHING;
    let sight = wanted.sight.as_deref().unwrap_or(&everything);
    let among = sight.among(tx)?;
    let (mut values, are_all_seen) = match among {
        Among::Everybody => (Vec::new(), true),
        Among::Few(inside) => (inside.values(), true),
        Among::Many(inside) => (inside.values(), false),
    };
    let search = Search::new(wanted, limit, are_all_seen);
    let (after_at, limit_at) = (values.len() + 1, values.len() + 2);
    let after = fold(after);
    values.extend([Value::from(after.as_str()), Value::from(search.limit())]);
    let mut within = String::new();
    if let Some(unit_id) = &wanted.unit_id {
        values.push(Value::from(unit_id.as_str()));
        within = format!(
            "JOIN unit_members w ON w.user_id = u.id AND w.unit_id = ${}",
            values.len()
        );
    }
    let these = format!("u.username_folded > ${after_at} ORDER BY u.username_folded LIMIT ${limit_at}");
    let sql = match among {
        Among::Everybody => format!("SELECT {COLUMNS} FROM users u {within} WHERE {these}"),
        Among::Few(inside) => format!(
            "{} {within} WHERE u.id = m.user_id AND {these}",
            inside.only(COLUMNS)
        ),
        // The last row has no id: it says how far a portion has looked that has not looked at all.
        Among::Many(inside) => format!(
            "{} UNION ALL SELECT NULL, MAX(name), NULL, '', NULL, NULL FROM looked HAVING COUNT(*) = ${limit_at}
             ORDER BY 2",
            inside.among(
                COLUMNS,
                &format!("SELECT u.id, u.username_folded FROM users u {within} WHERE {these}")
            )
        ),
    };
    let rows = tx.query(&sql, &values)?;
    let mut is_cut = are_all_seen && rows.len() == search.look;
    let mut next = None;
    let mut found = Vec::new();
    for row in &rows {
        let username: String = row.get(1)?;
        let Some(id) = row.get::<Option<String>>(0)? else {
            is_cut = true;
            next = Some(username);
            continue;
        };
        let (email, name): (Option<String>, String) = (row.get(2)?, row.get(3)?);
        let (region, number): (Option<String>, Option<String>) = (row.get(4)?, row.get(5)?);
        let is_found = search.finds(&[Some(&username), email.as_deref()], &name)
            || search.finds_phone(region.as_deref(), number.as_deref());
        if is_found {
            found.push(id);
        }
        next = Some(username);
        if found.len() == limit {
            break;
        }
    }
    let next = next.filter(|_| found.len() == limit || is_cut);
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
    let search = Search::new(wanted, limit, wanted.sight.is_none());
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
