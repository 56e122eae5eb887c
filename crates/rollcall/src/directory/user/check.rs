//! What users must not be: their fields' limits, and what nobody else may have.

use std::collections::{BTreeMap, HashMap};

use rollcall_db::{DbError, Tx, Value};

use super::{NewUser, User};
use crate::change::placeholders;
use crate::directory::DirectoryError;
use crate::directory::fields::{self, fold};

/// Values that one look-up asks for.
const AT_ONCE: usize = 500;

/// Says of each user why it must not be stored; `None` if it may. Users of the list count against
/// those that stand after them.
pub(super) fn check(tx: &mut Tx<'_>, users: &[User]) -> Result<Vec<Option<DirectoryError>>, DbError> {
    let mut verdicts: Vec<Option<DirectoryError>> = users.iter().map(|user| limits(user).err()).collect();
    for key in KEYS {
        unique(tx, users, key, &mut verdicts)?;
    }
    Ok(verdicts)
}

/// Says why a user must not become what it is to be. What does not change was checked before.
pub(super) fn check_change(tx: &mut Tx<'_>, before: &User, user: &User) -> Result<(), DirectoryError> {
    limits(user)?;
    let mut verdict = [None];
    for key in KEYS {
        let value = |user| key(user).map(|key| (key.value, key.within));
        if value(before) != value(user) {
            unique(tx, std::slice::from_ref(user), key, &mut verdict)?;
        }
    }
    let [verdict] = verdict;
    verdict.map_or(Ok(()), Err)
}

/// What nobody may share.
const KEYS: [fn(&User) -> Option<Key>; 4] = [username_key, email_key, phone_key, external_key];

/// Does what [`check`] does for users that are not made yet.
pub(in crate::directory) fn check_new(
    tx: &mut Tx<'_>,
    new: &[NewUser],
) -> Result<Vec<Option<DirectoryError>>, DbError> {
    let users: Vec<User> = new.iter().map(|new| new.to_user(String::new(), 0)).collect();
    check(tx, &users)
}

fn limits(user: &User) -> Result<(), DirectoryError> {
    fields::username(&user.username)?;
    fields::text("displayName", &user.display_name, 128)?;
    fields::email(user.email.as_deref())?;
    fields::phone(user.phone_region.as_deref(), user.phone_number.as_deref())?;
    fields::optional_text("description", user.description.as_deref(), 256)?;
    fields::optional_text("userExternalId", user.external_id.as_deref(), 128)?;
    fields::custom(&user.custom_fields)
}

/// Something that at most one user may have.
struct Key {
    /// What it is called.
    what: &'static str,
    /// As the user wrote it.
    shown: String,
    /// What is looked up, and the column that holds it.
    value: String,
    column: &'static str,
    /// The columns within whose values it is unique.
    within: Realm,
}

/// Columns with the values that they must have.
type Realm = Vec<(&'static str, String)>;

fn username_key(user: &User) -> Option<Key> {
    Some(Key {
        what: "username",
        shown: user.username.clone(),
        value: fold(&user.username),
        column: "username_folded",
        within: Vec::new(),
    })
}

fn email_key(user: &User) -> Option<Key> {
    let email = user.email.as_ref()?;
    Some(Key {
        what: "email",
        shown: email.clone(),
        value: fold(email),
        column: "email_folded",
        within: Vec::new(),
    })
}

fn phone_key(user: &User) -> Option<Key> {
    let number = user.phone_number.as_ref()?;
    Some(Key {
        what: "phone number",
        shown: number.clone(),
        value: number.clone(),
        column: "phone_number",
        within: vec![("phone_region", user.phone_region.clone()?)],
    })
}

fn external_key(user: &User) -> Option<Key> {
    let external_id = user.external_id.as_ref()?;
    Some(Key {
        what: "external id",
        shown: external_id.clone(),
        value: external_id.clone(),
        column: "external_id",
        within: vec![
            ("source_type", user.source.source_type.clone()),
            ("source_id", user.source.source_id.clone()),
        ],
    })
}

fn unique(
    tx: &mut Tx<'_>,
    users: &[User],
    key: fn(&User) -> Option<Key>,
    verdicts: &mut [Option<DirectoryError>],
) -> Result<(), DbError> {
    let mut realms: BTreeMap<Realm, Vec<(usize, Key)>> = BTreeMap::new();
    for (index, user) in users.iter().enumerate() {
        if verdicts[index].is_none()
            && let Some(key) = key(user)
        {
            realms.entry(key.within.clone()).or_default().push((index, key));
        }
    }
    for keyed in realms.into_values() {
        // Who holds each value: those in the database, then the earlier ones of the list.
        let mut holders = holders(tx, &keyed)?;
        for (index, key) in keyed {
            let user = &users[index];
            match holders.get(&key.value) {
                Some((id, username)) if *id != user.id || id.is_empty() => {
                    verdicts[index] = Some(DirectoryError::Taken {
                        what: key.what,
                        value: key.shown,
                        holder: username.clone(),
                    });
                }
                _ => {
                    holders.insert(key.value, (user.id.clone(), user.username.clone()));
                }
            }
        }
    }
    Ok(())
}

/// Who holds these values in the database: id and username. All of them are unique within the same.
fn holders(tx: &mut Tx<'_>, keyed: &[(usize, Key)]) -> Result<HashMap<String, (String, String)>, DbError> {
    let mut holders = HashMap::with_capacity(keyed.len());
    for portion in keyed.chunks(AT_ONCE) {
        let Some((_, Key { column, within, .. })) = portion.first() else {
            break;
        };
        let mut sql = format!(
            "SELECT {column}, id, username FROM users WHERE {column} IN {}",
            placeholders(1, portion.len())
        );
        let mut values: Vec<Value<'_>> = portion
            .iter()
            .map(|(_, key)| Value::from(key.value.as_str()))
            .collect();
        for (name, value) in within {
            values.push(Value::from(value.as_str()));
            sql.push_str(&format!(" AND {name} = ${}", values.len()));
        }
        for row in tx.query(&sql, &values)? {
            holders.insert(row.get(0)?, (row.get(1)?, row.get(2)?));
        }
    }
    Ok(holders)
}
