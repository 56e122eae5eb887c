//! What users must not be: their fields' limits, and what nobody else may have.

use std::collections::{BTreeMap, HashMap};

use rollcall_db::{DbError, Tx, Value};

use super::User;
use crate::change::placeholders;
use crate::directory::DirectoryError;
use crate::directory::Source;
use crate::directory::fields::{self, fold};

/// Values that one look-up asks for.
const AT_ONCE: usize = 500;

/// Says of each user why it must not be stored; `None` if it may. Users of the list count against
/// those that stand after them.
pub(super) fn check(tx: &mut Tx<'_>, users: &[User]) -> Result<Vec<Option<DirectoryError>>, DbError> {
    let mut verdicts: Vec<Option<DirectoryError>> =
        users.iter().map(|user| limits(user, None).err()).collect();
    for key in KEYS {
        unique(tx, users, key, &mut verdicts)?;
    }
    Ok(verdicts)
}

/// Says why a user must not become what it is to be. What does not change was checked before.
pub(super) fn check_change(tx: &mut Tx<'_>, before: &User, user: &User) -> Result<(), DirectoryError> {
    limits(user, Some(before))?;
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

/// A value that at most one user may have, as somebody who plans changes needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UniqueValue {
    /// `username`, `email`, `phone number`, `external id`.
    pub what: &'static str,
    /// As the user wrote it.
    pub shown: String,
    /// A text that is the same for equal values and for no others.
    pub identity: String,
}

impl UniqueValue {
    /// A username.
    pub fn username(username: &str) -> Self {
        username_value(username).unique_value()
    }

    /// An external id within its owner.
    pub fn external_id(source: &Source, external_id: &str) -> Self {
        external_value(source, external_id).unique_value()
    }
}

/// A unique value that a stored user has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Which.
    pub value: UniqueValue,
    /// The id of the user who has it.
    pub id: String,
    /// The username of that user.
    pub username: String,
}

impl Key {
    fn unique_value(&self) -> UniqueValue {
        let mut identity = format!("{}\u{1f}{}", self.column, self.value);
        for (_, value) in &self.within {
            identity.push('\u{1f}');
            identity.push_str(value);
        }
        UniqueValue {
            what: self.what,
            shown: self.shown.clone(),
            identity,
        }
    }
}

impl User {
    /// What nobody else may have of this user's fields.
    pub fn unique_values(&self) -> Vec<UniqueValue> {
        let keys = KEYS.iter().filter_map(|key| key(self));
        keys.map(|key| key.unique_value()).collect()
    }

    /// Whether the fields keep their limits (wire contract, section 8): all, or those that are different from what
    /// the user was before.
    ///
    /// # Errors
    /// [`DirectoryError::InvalidField`].
    pub fn check_limits(&self, before: Option<&Self>) -> Result<(), DirectoryError> {
        limits(self, before)
    }
}

/// Says of each of these users, as they are to be, which of their unique values other stored users have.
pub(in crate::directory) fn held(tx: &mut Tx<'_>, users: &[User]) -> Result<Vec<Vec<Held>>, DbError> {
    let mut held = vec![Vec::new(); users.len()];
    for key in KEYS {
        for keyed in by_realm(users, key, |_| true).into_values() {
            let holders = holders(tx, &keyed)?;
            for (index, key) in keyed {
                if let Some((id, username)) = holders.get(&key.value).filter(|(id, _)| *id != users[index].id)
                {
                    held[index].push(Held {
                        value: key.unique_value(),
                        id: id.clone(),
                        username: username.clone(),
                    });
                }
            }
        }
    }
    Ok(held)
}

/// The values of one kind that these users are to have, each with its user's index, by where they are unique.
fn by_realm(
    users: &[User],
    key: fn(&User) -> Option<Key>,
    wanted: impl Fn(usize) -> bool,
) -> BTreeMap<Realm, Vec<(usize, Key)>> {
    let mut realms: BTreeMap<Realm, Vec<(usize, Key)>> = BTreeMap::new();
    for (index, user) in users.iter().enumerate() {
        if wanted(index)
            && let Some(key) = key(user)
        {
            realms.entry(key.within.clone()).or_default().push((index, key));
        }
    }
    realms
}

fn limits(user: &User, before: Option<&User>) -> Result<(), DirectoryError> {
    // Every field is named, so that a new one is asked for its limits here.
    let User {
        id: _,
        username,
        display_name,
        email,
        email_verified: _,
        phone_region,
        phone_number,
        phone_verified: _,
        password_set: _,
        enabled: _,
        account_expire_time: _,
        lock_expire_time: _,
        register_time: _,
        description,
        custom_fields,
        source,
        external_id,
        create_time: _,
        update_time: _,
        units: _,
        groups: _,
    } = user;
    if before.is_none_or(|before| before.username != *username) {
        fields::username(username)?;
    }
    if before.is_none_or(|before| before.display_name != *display_name) {
        fields::name("displayName", display_name, 128)?;
    }
    if before.is_none_or(|before| before.email != *email) {
        fields::email(email.as_deref())?;
    }
    if before
        .is_none_or(|before| (&before.phone_region, &before.phone_number) != (phone_region, phone_number))
    {
        fields::phone(phone_region.as_deref(), phone_number.as_deref())?;
    }
    if before.is_none_or(|before| before.description != *description) {
        fields::optional_text("description", description.as_deref(), 256)?;
    }
    if before.is_none_or(|before| before.external_id != *external_id) {
        fields::optional_text("userExternalId", external_id.as_deref(), 128)?;
    }
    if before.is_none_or(|before| before.source != *source) {
        source.check()?;
    }
    if before.is_none_or(|before| before.custom_fields != *custom_fields) {
        fields::custom(custom_fields)?;
    }
    Ok(())
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
    Some(username_value(&user.username))
}

fn username_value(username: &str) -> Key {
    Key {
        what: "username",
        shown: username.to_owned(),
        value: fold(username),
        column: "username_folded",
        within: Vec::new(),
    }
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
    Some(external_value(&user.source, user.external_id.as_ref()?))
}

fn external_value(source: &Source, external_id: &str) -> Key {
    Key {
        what: "external id",
        shown: external_id.to_owned(),
        value: external_id.to_owned(),
        column: "external_id",
        within: vec![
            ("source_type", source.source_type.clone()),
            ("source_id", source.source_id.clone()),
        ],
    }
}

fn unique(
    tx: &mut Tx<'_>,
    users: &[User],
    key: fn(&User) -> Option<Key>,
    verdicts: &mut [Option<DirectoryError>],
) -> Result<(), DbError> {
    for keyed in by_realm(users, key, |index| verdicts[index].is_none()).into_values() {
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
