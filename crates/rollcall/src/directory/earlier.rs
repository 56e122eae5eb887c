//! Who may be the same person under another id, by what the change log still holds.
//!
//! A person is recognised by what identifies somebody: the username, the e-mail address, the phone number and the
//! external id of the same source; names alone do not. The log is read page by page, records and the earlier
//! values of fields alike.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use rollcall_db::{DbError, Tx, params};
use rollcall_protocol::SubjectKind;
use serde::{Deserialize, Serialize};

use super::fields::fold;
use super::{DirectoryError, User, Written, query, view};
use crate::change::{self, Placement, Seq};
use crate::clock::{Millis, shown};

/// How many changes one statement reads.
const PAGE: i64 = 2_000;

/// In how many of the newest changes a name is looked for that is in the directory no more. The log has no index of
/// names; this many are read in a second or two.
pub const SEARCHED: Seq = 200_000;

/// A user who shares something with another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Incarnation {
    /// The id.
    pub id: String,
    /// The newest username that the log knows.
    pub username: String,
    /// Whether the user is in the directory.
    pub in_directory: bool,
    /// What is the same: `username`, `email`, `phone number`, `external id`.
    pub shares: BTreeSet<Cow<'static, str>>,
    /// The time of the newest change.
    pub changed_at: Millis,
}

/// The fields of a record by which somebody is recognised.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Traits {
    username: Option<String>,
    email: Option<String>,
    phone_region: Option<String>,
    phone_number: Option<String>,
    source_id: Option<String>,
    external_id: Option<String>,
}

type Identity = (&'static str, String);

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.in_directory {
            "in the directory"
        } else {
            "deleted"
        };
        let shares: Vec<&str> = self.shares.iter().map(AsRef::as_ref).collect();
        write!(
            f,
            "{}  {}  {state}, last changed {}; same {}",
            self.id,
            self.username,
            shown(self.changed_at),
            shares.join(", ")
        )
    }
}

impl Traits {
    fn read(record: &str) -> Self {
        // A record that cannot be read tells nothing.
        serde_json::from_str(record).unwrap_or_default()
    }

    /// What identifies the person. The id of a user is the external id of users that were made here; it is nobody
    /// else's.
    fn identities(&self) -> impl Iterator<Item = Identity> {
        let phone = self.phone_number.as_ref().map(|number| {
            let region = self.phone_region.as_deref().unwrap_or_default();
            ("phone number", format!("{region} {number}"))
        });
        let external = self.external_id.as_ref().map(|id| {
            let source = self.source_id.as_deref().unwrap_or_default();
            ("external id", format!("{source} {id}"))
        });
        let folded = |what, text: &Option<String>| text.as_ref().map(|text| (what, fold(text)));
        [
            folded("username", &self.username),
            folded("email", &self.email),
            phone,
            external,
        ]
        .into_iter()
        .flatten()
        .filter(|(_, text)| !text.trim().is_empty())
    }
}

/// Users under other ids who share something with a user.
///
/// # Errors
/// What the database reports.
pub fn of_user(tx: &mut Tx<'_>, user_id: &str) -> Result<Vec<Incarnation>, DbError> {
    let mut identities: BTreeSet<Identity> = BTreeSet::new();
    let mut add = |record: &str| identities.extend(Traits::read(record).identities());
    if let Some(row) = query::record_of(tx, SubjectKind::User, user_id)? {
        add(&row.0);
    }
    for row in tx.query(
        "SELECT record, previous FROM changes WHERE subject_id = $1 AND record <> ''",
        params![user_id],
    )? {
        add(&row.get::<String>(0)?);
        add(&row.get::<Option<String>>(1)?.unwrap_or_default());
    }
    find(tx, |id| id != user_id, &identities, 0)
}

/// Users of whom the log knows that they had this username or e-mail address, also those who were deleted.
///
/// # Errors
/// What the database reports.
pub fn named(tx: &mut Tx<'_>, name: &str) -> Result<Vec<Incarnation>, DbError> {
    named_since(tx, name, 0)
}

fn named_since(tx: &mut Tx<'_>, name: &str, after: Seq) -> Result<Vec<Incarnation>, DbError> {
    let identities = ["username", "email"]
        .into_iter()
        .map(|what| (what, fold(name)))
        .collect();
    find(tx, |_| true, &identities, after)
}

/// The name of a user, unit or group: of one that is gone, the last that the log knows.
///
/// # Errors
/// What the database reports.
pub fn name_of(tx: &mut Tx<'_>, id: &str) -> Result<Option<String>, DbError> {
    match query::name_of(tx, id)? {
        Some(name) => Ok(Some(name)),
        None => change::last_name(tx, id),
    }
}

/// Whom somebody means by what is written: an id, a username or an e-mail address.
#[derive(Clone, Debug)]
pub enum Whom {
    /// Somebody in the directory, and where it stands.
    Here(Box<(User, Arc<Placement>)>),
    /// A subject that only the change log knows; its id.
    Gone(String),
    /// Several users had this name or address, and none is in the directory under it now.
    Several(Vec<Incarnation>),
    /// Neither the directory nor the newest changes ([`SEARCHED`]) know it.
    Unknown,
}

/// Finds whom somebody means, also among those who were deleted.
///
/// # Errors
/// What is written means several users, or what the database reports.
pub fn whom(tx: &mut Tx<'_>, text: &str) -> Result<Whom, DirectoryError> {
    if let Some(found) = query::find_standing(tx, text)? {
        return Ok(Whom::Here(Box::new(found)));
    }
    let bare = Written::of(text).bare();
    if change::kind_of(tx, bare)?.is_some() {
        return Ok(Whom::Gone(bare.to_owned()));
    }
    let begin = change::head(tx)?.seq - SEARCHED;
    let mut others = named_since(tx, bare, begin)?;
    Ok(match others.len() {
        0 => Whom::Unknown,
        1 => Whom::Gone(others.remove(0).id),
        _ => Whom::Several(others),
    })
}

fn find(
    tx: &mut Tx<'_>,
    wanted: impl Fn(&str) -> bool,
    identities: &BTreeSet<Identity>,
    mut after: Seq,
) -> Result<Vec<Incarnation>, DbError> {
    let mut found: BTreeMap<String, Incarnation> = BTreeMap::new();
    loop {
        let rows = tx.query(
            "SELECT seq, subject_id, time, record, previous FROM changes
             WHERE seq > $1 AND subject_kind = 'user' AND record <> '' ORDER BY seq LIMIT $2",
            params![after, PAGE],
        )?;
        for row in &rows {
            after = row.get(0)?;
            let id: String = row.get(1)?;
            if !wanted(&id) {
                continue;
            }
            let record = Traits::read(&row.get::<String>(3)?);
            let previous = Traits::read(&row.get::<Option<String>>(4)?.unwrap_or_default());
            let shares: BTreeSet<Cow<'static, str>> = record
                .identities()
                .chain(previous.identities())
                .filter(|identity| identities.contains(identity))
                .map(|(what, _)| Cow::from(what))
                .collect();
            if shares.is_empty() && !found.contains_key(&id) {
                continue;
            }
            let entry = found.entry(id).or_insert_with_key(|id| Incarnation {
                id: id.clone(),
                username: String::new(),
                in_directory: false,
                shares: BTreeSet::new(),
                changed_at: 0,
            });
            entry.shares.extend(shares);
            entry.changed_at = row.get(2)?;
            if let Some(username) = record.username {
                entry.username = username;
            }
        }
        if i64::try_from(rows.len()).unwrap_or(PAGE) < PAGE {
            break;
        }
    }
    let ids: Vec<String> = found.keys().cloned().collect();
    let there = view::names(tx, &ids)?;
    let found = found.into_values().map(|incarnation| Incarnation {
        in_directory: there.contains_key(&incarnation.id),
        ..incarnation
    });
    Ok(found.collect())
}
