//! The rows of accounts.

use std::collections::{BTreeSet, HashMap};

use rollcall_db::{DbError, Row, Tx, Value, params};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};

use super::identity::Identity;
use super::{AccountError, sessions};
use crate::access::{Context, Role, RoleName};
use crate::application::store;
use crate::audit::{self, Target};
use crate::change::placeholders;
use crate::clock::Millis;
use crate::directory::fields::{self, fold, present};
use crate::id;

/// How many applications one owner may have.
const MOST_APPLICATIONS: usize = 500;

/// An account as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Account {
    /// `acc_…`.
    pub id: String,
    /// The name under which somebody signs in; unique without regard to case.
    pub name: String,
    /// For people.
    pub display_name: Option<String>,
    /// For people.
    pub email: Option<String>,
    /// What it may do.
    #[serde(flatten)]
    pub role: Role,
    /// Whether it may not sign in.
    pub disabled: bool,
    /// Whether its password was set by somebody else, and must be changed before anything else.
    pub must_change_password: bool,
    /// Whether there is a password. Without one somebody has to sign in elsewhere.
    pub password_set: bool,
    /// When it was made.
    pub create_time: Millis,
    /// When it was last changed: its version (see [`crate::access`]).
    pub update_time: Millis,
    /// When somebody last signed in.
    pub last_sign_in: Option<Millis>,
    /// Whom the provider knows its owner as, if that is where they sign in.
    pub identity: Option<Box<Identity>>,
}

/// A new account.
#[derive(Clone, Debug)]
pub struct NewAccount {
    /// The name under which somebody signs in: 1 to 64 characters, no spaces.
    pub name: String,
    /// For people.
    pub display_name: Option<String>,
    /// For people.
    pub email: Option<String>,
    /// What it may do.
    pub role: Role,
    /// The hash of a password that has to be changed at the first sign-in; `None` for somebody who signs in elsewhere.
    pub password_hash: Option<String>,
}

/// What changes of an account.
#[derive(Clone, Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(missing_docs, reason = "the fields are those of an account")]
pub struct AccountChanges {
    #[serde(default, deserialize_with = "present")]
    pub display_name: Option<Option<String>>,
    #[serde(default, deserialize_with = "present")]
    pub email: Option<Option<String>>,
    /// Read apart, because applications may be named.
    #[serde(skip)]
    pub role: Option<Role>,
    #[serde(default)]
    pub disabled: Option<bool>,
}

pub(super) const COLUMNS: &str =
    "id, name, display_name, email, role, applications, password_hash, must_change_password, disabled,
                       create_time, update_time, last_sign_in, issuer, subject";

/// An account, and the hash of its password.
pub(super) type Stored = (Account, Option<String>);

/// Which column of an account names its applications.
pub(super) const APPLICATIONS: usize = 5;

/// How many columns there are.
pub(super) const COLUMN_COUNT: usize = 14;

pub(super) fn from_row(row: &Row, there: &BTreeSet<String>) -> Result<Stored, DbError> {
    let hash: Option<String> = row.get(6)?;
    let (issuer, subject): (Option<String>, Option<String>) = (row.get(12)?, row.get(13)?);
    let account = Account {
        id: row.get(0)?,
        name: row.get(1)?,
        display_name: row.get(2)?,
        email: row.get(3)?,
        role: role(&row.get::<String>(4)?, &row.get::<String>(5)?, there)?,
        must_change_password: row.get(7)?,
        disabled: row.get(8)?,
        password_set: hash.is_some(),
        create_time: row.get(9)?,
        update_time: row.get(10)?,
        last_sign_in: row.get(11)?,
        identity: issuer
            .zip(subject)
            .map(|(issuer, subject)| Box::new(Identity { issuer, subject })),
    };
    Ok((account, hash))
}

/// The applications of a role, as they are stored.
pub(super) fn wanted(applications: &str) -> Result<Vec<String>, DbError> {
    let unreadable = |_| DbError::Other(format!("{applications:?} are no applications of a role"));
    serde_json::from_str(applications).map_err(unreadable)
}

/// Of the applications that stand in this column of rows those that are still there: with one statement, however many
/// rows there are.
pub(super) fn there(tx: &mut Tx<'_>, rows: &[Row], column: usize) -> Result<BTreeSet<String>, DbError> {
    let mut ids = BTreeSet::new();
    for row in rows {
        ids.extend(wanted(&row.get::<String>(column)?)?);
    }
    let ids: Vec<String> = ids.into_iter().collect();
    let mut there = BTreeSet::new();
    for portion in ids.chunks(MOST_APPLICATIONS) {
        let sql = format!(
            "SELECT id FROM applications WHERE id IN {}",
            placeholders(1, portion.len())
        );
        let values: Vec<Value<'_>> = portion.iter().map(|id| Value::from(id.as_str())).collect();
        for row in tx.query(&sql, &values)? {
            there.insert(row.get(0)?);
        }
    }
    Ok(there)
}

/// A role as it is stored, without the applications that are gone.
pub(super) fn role(name: &str, applications: &str, there: &BTreeSet<String>) -> Result<Role, DbError> {
    let unreadable = |_| DbError::Other(format!("{name:?} is no role"));
    let name: RoleName = name.parse().map_err(unreadable)?;
    let mut wanted = wanted(applications)?;
    wanted.retain(|id| there.contains(id));
    Ok(Role::of(name, wanted.into_iter().collect()))
}

/// What is stored of a role: its name, and the applications as JSON.
pub(super) fn stored(role: &Role) -> (&'static str, String) {
    let applications = role.applications().map_or_else(|| json!([]), |ids| json!(ids));
    (role.name().as_str(), applications.to_string())
}

/// Refuses an owner of nothing, or of what there is not.
pub(super) fn check_role(tx: &mut Tx<'_>, role: &Role) -> Result<(), AccountError> {
    let Some(applications) = role.applications() else {
        return Ok(());
    };
    if !(1..=MOST_APPLICATIONS).contains(&applications.len()) {
        let reason = format!("an application owner has 1 to {MOST_APPLICATIONS}");
        return Err(AccountError::invalid("applications", reason));
    }
    for id in applications {
        store::load(tx, id)?;
    }
    Ok(())
}

pub(super) fn load(
    tx: &mut Tx<'_>,
    condition: &str,
    values: &[Value<'_>],
) -> Result<Option<Stored>, DbError> {
    let sql = format!("SELECT {COLUMNS} FROM accounts WHERE {condition}");
    let rows = tx.query(&sql, values)?;
    let there = there(tx, &rows, APPLICATIONS)?;
    rows.first().map(|row| from_row(row, &there)).transpose()
}

/// All accounts, by name.
///
/// # Errors
/// What the database reports.
pub fn list(tx: &mut Tx<'_>) -> Result<Vec<Account>, DbError> {
    let sql = format!("SELECT {COLUMNS} FROM accounts ORDER BY name_folded");
    let rows = tx.query(&sql, params![])?;
    let there = there(tx, &rows, APPLICATIONS)?;
    rows.iter().map(|row| Ok(from_row(row, &there)?.0)).collect()
}

/// Accounts after a name, by name.
///
/// # Errors
/// What the database reports.
pub fn page(tx: &mut Tx<'_>, after: &str, limit: usize) -> Result<Vec<Account>, DbError> {
    let sql = format!("SELECT {COLUMNS} FROM accounts WHERE name_folded > $1 ORDER BY name_folded LIMIT $2");
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = tx.query(&sql, params![fold(after), limit])?;
    let there = there(tx, &rows, APPLICATIONS)?;
    rows.iter().map(|row| Ok(from_row(row, &there)?.0)).collect()
}

/// The names of all accounts, by id.
///
/// # Errors
/// What the database reports.
pub fn names(tx: &mut Tx<'_>) -> Result<HashMap<String, String>, DbError> {
    let rows = tx.query("SELECT id, name FROM accounts", params![])?;
    rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
}

/// What people call the actor that a record names: an account by its name, others as they are written.
pub fn called<'n>(actor: &'n str, names: &'n HashMap<String, String>) -> &'n str {
    let name = actor.strip_prefix("account:").and_then(|id| names.get(id));
    name.map_or(actor, String::as_str)
}

/// Whether there is any account.
///
/// # Errors
/// What the database reports.
pub fn any(tx: &mut Tx<'_>) -> Result<bool, DbError> {
    let row = tx.query_opt("SELECT 1 FROM accounts LIMIT 1", params![])?;
    Ok(row.is_some())
}

/// The name of the only account, if nobody has signed in to it yet.
///
/// # Errors
/// What the database reports.
pub fn nobody_signed_in(tx: &mut Tx<'_>) -> Result<Option<String>, DbError> {
    let accounts = list(tx)?;
    Ok(match accounts.as_slice() {
        [only] if only.must_change_password && only.last_sign_in.is_none() => Some(only.name.clone()),
        _ => None,
    })
}

/// The account with this id; `None` if there is none.
pub(super) fn get(tx: &mut Tx<'_>, id: &str) -> Result<Option<Account>, DbError> {
    Ok(load(tx, "id = $1", params![id])?.map(|(account, _)| account))
}

pub(super) fn existing(tx: &mut Tx<'_>, id: &str) -> Result<Account, AccountError> {
    get(tx, id)?.ok_or_else(|| AccountError::not_found("account", id))
}

/// The account that an id or a name names. No name looks like an id.
///
/// # Errors
/// [`AccountError::NotFound`], or what the database reports.
pub fn find(tx: &mut Tx<'_>, text: &str) -> Result<Account, AccountError> {
    let found = load(tx, "id = $1 OR name_folded = $2", params![text, fold(text)])?;
    Ok(found.ok_or_else(|| AccountError::not_found("account", text))?.0)
}

/// The account that signs in under this name, with the hash of its password; `None` if there is none that can.
///
/// # Errors
/// What the database reports.
pub fn with_password(tx: &mut Tx<'_>, name: &str) -> Result<Option<(Account, String)>, DbError> {
    let found = load(tx, "name_folded = $1", params![fold(name)])?;
    Ok(found.and_then(|(account, hash)| Some((account, hash?))))
}

/// What the audit log shows. Names for people and email addresses are left out: the log keeps no personal data.
fn shown(account: &Account) -> Map<String, Json> {
    let mut shown = Map::new();
    if let Json::Object(role) = json!(account.role) {
        shown.extend(role);
    }
    shown.insert("disabled".to_owned(), account.disabled.into());
    shown
}

pub(super) fn tell(
    tx: &mut Tx<'_>,
    ctx: &Context<'_>,
    action: &str,
    account: &Account,
    before: Option<Map<String, Json>>,
    after: Option<Map<String, Json>>,
) -> Result<(), DbError> {
    let target = Target::account(&account.id, &account.name);
    let (before, after) = (before.map(Json::Object), after.map(Json::Object));
    audit::record(tx, ctx, action, &target, before.as_ref(), after.as_ref())
}

pub(super) fn create(tx: &mut Tx<'_>, ctx: &Context<'_>, new: &NewAccount) -> Result<Account, AccountError> {
    let NewAccount {
        name,
        display_name,
        email,
        role,
        password_hash,
    } = new;
    fields::name("name", name, 64)?;
    if name.contains(char::is_whitespace) {
        return Err(AccountError::invalid("name", "must not contain spaces"));
    }
    let folded = fold(name);
    if folded.starts_with("acc_") {
        return Err(AccountError::invalid(
            "name",
            "must not begin with acc_, as ids do",
        ));
    }
    check_people(display_name.as_deref(), email.as_deref())?;
    check_role(tx, role)?;
    let (role_name, applications) = stored(role);
    let id = id::make("acc", ctx.now, ctx.random);
    let made = tx.execute(
        "INSERT INTO accounts (id, name, name_folded, display_name, email, role, applications, password_hash,
                               must_change_password, disabled, create_time, update_time)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11) ON CONFLICT (name_folded) DO NOTHING",
        params![
            id.as_str(),
            name.as_str(),
            folded,
            display_name.as_deref(),
            email.as_deref(),
            role_name,
            applications,
            password_hash.as_deref(),
            password_hash.is_some(),
            false,
            ctx.now
        ],
    )?;
    if made == 0 {
        return Err(AccountError::NameTaken(name.clone()));
    }
    let account = existing(tx, &id)?;
    tell(tx, ctx, "create_account", &account, None, Some(shown(&account)))?;
    Ok(account)
}

fn check_people(display_name: Option<&str>, email: Option<&str>) -> Result<(), AccountError> {
    if let Some(name) = display_name {
        fields::name("displayName", name, 128)?;
    }
    Ok(fields::email(email)?)
}

/// The account, if it still has the version that the caller has read.
pub(super) fn open(tx: &mut Tx<'_>, ctx: &Context<'_>, id: &str) -> Result<Account, AccountError> {
    let account = existing(tx, id)?;
    match ctx.caller.expected {
        Some(expected) if expected != account.update_time => Err(AccountError::Changed {
            id: account.id,
            name: account.name,
            expected,
            found: account.update_time,
        }),
        _ => Ok(account),
    }
}

fn administers(account: &Account) -> bool {
    account.role == Role::Administrator && !account.disabled
}

/// Refuses to leave the hub without an administrator.
fn others_administer(tx: &mut Tx<'_>, account: &Account) -> Result<(), AccountError> {
    // Held, so that two of them cannot go at the same time on two nodes.
    tx.execute(
        "UPDATE accounts SET update_time = update_time WHERE role = 'administrator'",
        params![],
    )?;
    let other = tx.query_opt(
        "SELECT 1 FROM accounts WHERE role = 'administrator' AND NOT disabled AND id <> $1 LIMIT 1",
        params![account.id.as_str()],
    )?;
    match other {
        Some(_) => Ok(()),
        None => Err(AccountError::LastAdministrator(account.name.clone())),
    }
}

pub(super) fn update(
    tx: &mut Tx<'_>,
    ctx: &Context<'_>,
    id: &str,
    changes: &AccountChanges,
) -> Result<Account, AccountError> {
    let before = open(tx, ctx, id)?;
    let AccountChanges {
        display_name,
        email,
        role,
        disabled,
    } = changes.clone();
    let mut after = before.clone();
    after.display_name = display_name.unwrap_or(after.display_name);
    after.email = email.unwrap_or(after.email);
    after.disabled = disabled.unwrap_or(after.disabled);
    if let Some(role) = role {
        check_role(tx, &role)?;
        after.role = role;
    }
    if after == before {
        return Ok(before);
    }
    check_people(after.display_name.as_deref(), after.email.as_deref())?;
    if administers(&before) && !administers(&after) {
        others_administer(tx, &before)?;
    }
    let (role_name, applications) = stored(&after.role);
    after.update_time = ctx.next_version(before.update_time);
    tx.execute(
        "UPDATE accounts SET display_name = $2, email = $3, role = $4, applications = $5, disabled = $6,
                             update_time = $7
         WHERE id = $1",
        params![
            id,
            after.display_name.as_deref(),
            after.email.as_deref(),
            role_name,
            applications,
            after.disabled,
            after.update_time
        ],
    )?;
    // Who was disabled has to sign in again when that is over.
    if after.disabled {
        sessions::forget(tx, id)?;
    }
    let (was, is) = audit::different(&shown(&before), &shown(&after));
    tell(tx, ctx, "update_account", &after, Some(was), Some(is))?;
    Ok(after)
}

fn set_password(
    tx: &mut Tx<'_>,
    ctx: &Context<'_>,
    account: &Account,
    hash: &str,
    must_change: bool,
) -> Result<Account, AccountError> {
    tx.execute(
        "UPDATE accounts SET password_hash = $2, must_change_password = $3, update_time = $4 WHERE id = $1",
        params![
            account.id.as_str(),
            hash,
            must_change,
            ctx.next_version(account.update_time)
        ],
    )?;
    sessions::forget(tx, &account.id)?;
    existing(tx, &account.id)
}

pub(super) fn reset_password(
    tx: &mut Tx<'_>,
    ctx: &Context<'_>,
    id: &str,
    hash: &str,
) -> Result<Account, AccountError> {
    let account = open(tx, ctx, id)?;
    if account.identity.is_some() {
        return Err(AccountError::SignsInElsewhere(account.name));
    }
    let account = set_password(tx, ctx, &account, hash, true)?;
    tell(tx, ctx, "reset_password", &account, None, None)?;
    Ok(account)
}

/// The account, if it may sign in with the password that has this hash.
fn recognized(tx: &mut Tx<'_>, id: &str, hash: &str) -> Result<Account, AccountError> {
    match load(tx, "id = $1", params![id])? {
        Some((account, Some(there))) if there == hash && !account.disabled => Ok(account),
        _ => Err(AccountError::SignIn),
    }
}

pub(super) fn change_password(
    tx: &mut Tx<'_>,
    ctx: &Context<'_>,
    id: &str,
    from: &str,
    to: &str,
) -> Result<Account, AccountError> {
    let account = recognized(tx, id, from)?;
    let account = set_password(tx, ctx, &account, to, false)?;
    tell(tx, ctx, "change_password", &account, None, None)?;
    Ok(account)
}

pub(super) fn sign_in(
    tx: &mut Tx<'_>,
    ctx: &Context<'_>,
    id: &str,
    hash: &str,
) -> Result<Account, AccountError> {
    let account = recognized(tx, id, hash)?;
    note_sign_in(tx, ctx, &account)
}

/// Notes that somebody has signed in.
pub(super) fn note_sign_in(
    tx: &mut Tx<'_>,
    ctx: &Context<'_>,
    account: &Account,
) -> Result<Account, AccountError> {
    tx.execute(
        "UPDATE accounts SET last_sign_in = $2 WHERE id = $1",
        params![account.id.as_str(), ctx.now],
    )?;
    tell(tx, ctx, "sign_in", account, None, None)?;
    existing(tx, &account.id)
}

pub(super) fn delete(tx: &mut Tx<'_>, ctx: &Context<'_>, id: &str) -> Result<Account, AccountError> {
    let account = open(tx, ctx, id)?;
    if administers(&account) {
        others_administer(tx, &account)?;
    }
    sessions::forget(tx, id)?;
    tx.execute("DELETE FROM accounts WHERE id = $1", params![id])?;
    tell(tx, ctx, "delete_account", &account, Some(shown(&account)), None)?;
    Ok(account)
}
