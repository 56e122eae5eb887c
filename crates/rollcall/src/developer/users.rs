//! Users: looking at them and changing them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rollcall_db::Tx;
use rollcall_protocol::SubjectKind;
use serde::Serialize;

use super::passwords::{first_password, prepare};
use super::{Access, Desk, Given, Need, Page, Paged, Refusal, Showing};
use crate::application::Grant;
use crate::clock::Millis;
use crate::directory::lists::{self, By, Narrowed};
use crate::directory::{Command, NewUser, Sight, Source, User, UserChanges, query};

/// How many units one call may name.
const MOST_UNITS: usize = 100;

/// How many users one call may delete.
const MOST_USERS: usize = 100;

/// A user as a list has it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Listed {
    instance_id: String,
    user_id: String,
    username: String,
    display_name: String,
    password_set: bool,
    email: Option<String>,
    email_verified: bool,
    phone_region: Option<String>,
    phone_number: Option<String>,
    phone_number_verified: bool,
    user_source_type: Option<String>,
    user_source_id: Option<String>,
    user_external_id: Option<String>,
    status: &'static str,
    description: Option<String>,
    register_time: Millis,
    account_expire_time: Option<Millis>,
    lock_expire_time: Option<Millis>,
    create_time: Millis,
    update_time: Millis,
}

impl Listed {
    fn of(instance: &str, user: User) -> Self {
        let [source_type, source_id, external_id] =
            user.source
                .on_the_wire(user.external_id.as_ref(), &user.id, instance);
        Self {
            instance_id: instance.to_owned(),
            username: user.username,
            display_name: user.display_name,
            password_set: user.password_set,
            email: user.email,
            email_verified: user.email_verified,
            phone_region: user.phone_region,
            phone_number: user.phone_number,
            phone_number_verified: user.phone_verified,
            user_source_type: source_type,
            user_source_id: source_id,
            user_external_id: external_id,
            status: if user.enabled { "enabled" } else { "disabled" },
            description: user.description,
            register_time: user.register_time,
            account_expire_time: user.account_expire_time,
            lock_expire_time: user.lock_expire_time,
            create_time: user.create_time,
            update_time: user.update_time,
            user_id: user.id,
        }
    }
}

/// A user in full.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Shown {
    #[serde(flatten)]
    user: Listed,
    primary_organizational_unit_id: Option<String>,
    organizational_units: Vec<OfUnit>,
    groups: Vec<OfGroup>,
    custom_fields: Vec<CustomField>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct OfUnit {
    organizational_unit_id: String,
    organizational_unit_name: String,
    primary: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct OfGroup {
    group_id: String,
    group_name: String,
    description: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct CustomField {
    field_name: String,
    field_value: String,
}

/// The id of a user.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Id {
    /// It.
    pub user_id: String,
}

/// A user who is seen.
fn seen(tx: &mut Tx<'_>, sight: &Sight, id: &str) -> Result<User, Refusal> {
    let found = query::users_of(tx, std::slice::from_ref(&id.to_owned()))?;
    let user = sight.users(found).pop();
    user.ok_or_else(|| Refusal::not_found(SubjectKind::User, id))
}

/// Refuses a user who is not seen.
pub(super) fn require(tx: &mut Tx<'_>, access: &Access, id: &str) -> Result<User, Refusal> {
    let sight = access.sight(tx)?;
    seen(tx, &sight, id)
}

const READ: Need = Need::Users(Grant::Read);

/// A user, as it is shown.
pub const SHOWN: Showing<Shown> = Showing {
    need: READ,
    kind: SubjectKind::User,
    read: Shown::read,
};

impl Shown {
    fn read(tx: &mut Tx<'_>, access: &Access, instance: &str, id: &str) -> Result<Self, Refusal> {
        let user = require(tx, access, id)?;
        let groups = query::groups(tx, &user.groups)?.into_iter();
        let primary = user.units.iter().find(|unit| unit.primary);
        Ok(Self {
            primary_organizational_unit_id: primary.map(|unit| unit.id.clone()),
            organizational_units: user
                .units
                .iter()
                .map(|unit| OfUnit {
                    organizational_unit_id: unit.id.clone(),
                    organizational_unit_name: unit.name.clone(),
                    primary: unit.primary,
                })
                .collect(),
            groups: groups
                .map(|group| OfGroup {
                    group_id: group.id,
                    group_name: group.name,
                    description: group.description,
                })
                .collect(),
            custom_fields: user
                .custom_fields
                .iter()
                .map(|(name, value)| CustomField {
                    field_name: name.clone(),
                    field_value: value.clone(),
                })
                .collect(),
            user: Listed::of(instance, user),
        })
    }
}

/// Which users are listed.
#[derive(Clone, Debug, Default)]
pub struct Which {
    /// Only those directly in this unit.
    pub unit: Option<String>,
    /// Only those who are like this.
    pub only: Narrowed,
}

/// Lists users by id, as far as they are seen.
///
/// # Errors
/// [`Refusal`].
pub async fn list(desk: &Desk, which: Which, page: Paged) -> Result<Page<Listed>, Refusal> {
    let (instance, ladders) = (desk.hub().instance.id.clone(), Arc::clone(&desk.hub().ladders));
    desk.read(Need::Users(Grant::Read), move |tx, access| {
        let sight = access.sight(tx)?;
        let unit = which.unit.as_deref();
        if let Some(unit) = unit {
            super::units::seen(tx, &sight, unit)?;
        }
        let which = (unit, which.only.clone());
        let part = lists::users(tx, (&sight, &ladders), which, &page.wanted())?;
        Ok(Page::of(
            &page,
            part,
            |user| &user.id,
            |user| Listed::of(&instance, user),
        ))
    })
    .await
}

/// A group of a user, as a list has it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Membership {
    instance_id: String,
    group_id: String,
    group_member_relation_source_type: Option<String>,
    group_member_relation_source_id: Option<String>,
}

/// Lists the groups of a user by id.
///
/// # Errors
/// [`Refusal`].
pub async fn groups(desk: &Desk, id: String, page: Paged) -> Result<Page<Membership>, Refusal> {
    let instance = desk.hub().instance.id.clone();
    // The list belongs to both kinds: who may not read groups does not learn of them here.
    desk.read(Need::Users(Grant::Read), move |tx, access| {
        access.check(Need::Groups(Grant::Read))?;
        let user = require(tx, access, &id)?;
        let part = lists::groups_of(tx, &user, &page.wanted())?;
        let of = |group: crate::directory::Group| {
            let [source_type, source_id, _] = group.source.on_the_wire(None, &group.id, &instance);
            Membership {
                instance_id: instance.clone(),
                group_id: group.id,
                group_member_relation_source_type: source_type,
                group_member_relation_source_id: source_id,
            }
        };
        Ok(Page::of(&page, part, |group| &group.id, of))
    })
    .await
}

/// By what a user is looked for.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// A username.
    Username(String),
    /// An email address.
    Email(String),
    /// A phone number.
    PhoneNumber(String),
    /// An external id in a source.
    ExternalId(Source, String),
}

impl Wanted {
    fn by(&self) -> By<'_> {
        match self {
            Self::Username(name) => By::Username(name),
            Self::Email(email) => By::Email(email),
            Self::PhoneNumber(phone) => By::PhoneNumber(phone),
            Self::ExternalId(source, id) => By::ExternalId(source, id),
        }
    }

    fn text(&self) -> &str {
        match self {
            Self::Username(text)
            | Self::Email(text)
            | Self::PhoneNumber(text)
            | Self::ExternalId(_, text) => text,
        }
    }
}

/// The id of the one user of a value.
///
/// # Errors
/// [`Refusal`].
pub async fn find(desk: &Desk, wanted: Wanted) -> Result<Id, Refusal> {
    desk.read(Need::Users(Grant::Read), move |tx, access| {
        let mut ids = lists::user_ids(tx, wanted.by())?;
        if let (true, Wanted::ExternalId(source, id)) = (ids.is_empty(), &wanted)
            && source.is_build_in()
        {
            // Who was given no external id has the own id as such.
            let themselves = query::users_of(tx, std::slice::from_ref(id))?.into_iter();
            ids.extend(
                themselves
                    .filter(|user| user.external_id.is_none())
                    .map(|user| user.id),
            );
        }
        let sight = access.sight(tx)?;
        let mut found = sight.users(query::users_of(tx, &ids)?);
        match (found.pop(), found.is_empty()) {
            (Some(user), true) => Ok(Id { user_id: user.id }),
            (Some(_), false) => Err(Refusal::ambiguous_phone()),
            (None, _) => Err(Refusal::not_found(SubjectKind::User, wanted.text())),
        }
    })
    .await
}

/// Creates a user.
///
/// # Errors
/// [`Refusal`].
pub async fn create(desk: &Desk, given: &Given) -> Result<Id, Refusal> {
    let username = given.needed("username")?;
    let mut custom_fields = BTreeMap::new();
    for field in given.objects("customFields")? {
        let value = field.text("fieldValue")?.unwrap_or_default();
        custom_fields.insert(field.needed("fieldName")?, value);
    }
    let mut new = NewUser {
        display_name: given.some("displayName")?.unwrap_or_else(|| username.clone()),
        primary_organizational_unit_id: given.needed("primaryOrganizationalUnitId")?,
        organizational_unit_ids: given.some_ids("organizationalUnitIds", MOST_UNITS)?,
        email: given.some("email")?,
        email_verified: given.truth("emailVerified")?.unwrap_or(false),
        phone_region: given.some("phoneRegion")?,
        phone_number: given.some("phoneNumber")?,
        phone_verified: given.truth("phoneNumberVerified")?.unwrap_or(false),
        description: given.some("description")?,
        external_id: given.some("userExternalId")?,
        source: Source::default(),
        account_expire_time: None,
        custom_fields: custom_fields
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .collect(),
        disabled: false,
        password: None,
        username,
    };
    let password = first_password(given, &*desk.hub().random)?;
    let sets_password = password.is_some();
    if let Some(password) = password {
        // Nobody spends time on hashing for whoever may not set it.
        desk.read(Need::Passwords, |_, _| Ok(())).await?;
        new.password = Some(prepare(desk, password).await?);
    }
    let applied = desk.write(Need::Users(Grant::Write), move |_, access| {
        if sets_password {
            access.check(Need::Passwords)?;
        }
        Ok(Command::CreateUser(new.clone()))
    });
    Ok(Id {
        user_id: applied.await?.id,
    })
}

/// Changes the fields of a user that are given.
///
/// # Errors
/// [`Refusal`].
pub async fn patch(desk: &Desk, id: String, given: &Given) -> Result<(), Refusal> {
    let mut custom_fields = BTreeMap::new();
    for field in given.objects("customFields")? {
        let (name, value) = (field.needed("fieldName")?, field.some("fieldValue")?);
        let how = match field.some("operation")? {
            Some(how) => Some(how),
            None => field.some("operator")?,
        };
        let value = match how.as_deref().unwrap_or("replace") {
            "add" | "replace" => value,
            "remove" => None,
            _ => {
                let message = "operation must be add, replace or remove";
                return Err(Refusal::invalid("operation", message));
            }
        };
        custom_fields.insert(name, value);
    }
    let changes = UserChanges {
        username: given.name("username")?,
        display_name: given.name("displayName")?,
        email: given.change("email")?,
        email_verified: given.truth("emailVerified")?,
        phone_region: given.change("phoneRegion")?,
        phone_number: given.change("phoneNumber")?,
        phone_verified: given.truth("phoneNumberVerified")?,
        description: given.change("description")?,
        custom_fields,
        ..UserChanges::default()
    };
    desk.carry_out(Need::Users(Grant::Write), Command::UpdateUser { id, changes })
        .await
}

/// Deletes a user.
///
/// # Errors
/// [`Refusal`].
pub async fn delete(desk: &Desk, id: String) -> Result<(), Refusal> {
    desk.carry_out(Need::Users(Grant::Write), Command::DeleteUser { id })
        .await
}

/// Deletes users, all of them or none.
///
/// # Errors
/// [`Refusal`].
pub async fn delete_many(desk: &Desk, given: &Given) -> Result<(), Refusal> {
    let ids: BTreeSet<String> = given.ids("userIds", MOST_USERS)?.into_iter().collect();
    let delete = move |_: &mut Tx<'_>, _: &Access| {
        let ids = ids.iter().cloned();
        Ok(ids.map(|id| Command::DeleteUser { id }).collect())
    };
    desk.write_all(None, Need::Users(Grant::Write), delete).await?;
    Ok(())
}

/// Lets a user sign in, or not.
///
/// # Errors
/// [`Refusal`].
pub async fn set_enabled(desk: &Desk, id: String, is_enabled: bool) -> Result<(), Refusal> {
    let set = match is_enabled {
        true => Command::EnableUser { id },
        false => Command::DisableUser { id },
    };
    desk.carry_out(Need::Users(Grant::Write), set).await
}

/// Puts a user into other units, which are made of those that it has: the primary one, and the others. Whoever is named, the
/// user and the units, has to be seen, so that no answer tells of what is outside.
async fn move_to(
    desk: &Desk,
    id: String,
    named: Vec<String>,
    units: impl Fn(String, Vec<String>) -> Result<(String, Vec<String>), Refusal> + Send + 'static,
) -> Result<(), Refusal> {
    desk.write(Need::Users(Grant::Write), move |tx, access| {
        let sight = access.sight(tx)?;
        seen(tx, &sight, &id)?;
        for unit in &named {
            super::units::seen(tx, &sight, unit)?;
        }
        // All units, also those that the application does not see: they stay.
        let user = query::users_of(tx, std::slice::from_ref(&id))?.pop();
        let user = user.ok_or_else(|| Refusal::not_found(SubjectKind::User, &id))?;
        let primary = user.primary_unit_id();
        let further = user
            .unit_ids()
            .into_iter()
            .filter(|unit| *unit != primary)
            .collect();
        let (primary, further) = units(primary, further)?;
        Ok(Command::SetUnits {
            id: id.clone(),
            primary,
            further,
        })
    })
    .await?;
    Ok(())
}

/// Unlocks a user.
///
/// # Errors
/// [`Refusal`].
pub async fn unlock(desk: &Desk, id: String) -> Result<(), Refusal> {
    desk.carry_out(Need::Users(Grant::Write), Command::UnlockUser { id })
        .await
}

/// Makes another unit the primary one of a user. The one before stays as a further one.
///
/// # Errors
/// [`Refusal`].
pub async fn set_primary_unit(desk: &Desk, id: String, given: &Given) -> Result<(), Refusal> {
    let unit = given.needed("organizationalUnitId")?;
    move_to(desk, id, vec![unit.clone()], move |primary, mut further| {
        if primary != unit {
            further.retain(|further| *further != unit);
            further.push(primary);
        }
        Ok((unit.clone(), further))
    })
    .await
}

/// Puts a user into further units.
///
/// # Errors
/// [`Refusal`].
pub async fn add_units(desk: &Desk, id: String, given: &Given) -> Result<(), Refusal> {
    let units = given.ids("organizationalUnitIds", MOST_UNITS)?;
    move_to(desk, id, units.clone(), move |primary, mut further| {
        for unit in &units {
            if *unit != primary && !further.contains(unit) {
                further.push(unit.clone());
            }
        }
        Ok((primary, further))
    })
    .await
}

/// Takes a user out of units.
///
/// # Errors
/// [`Refusal`], also of the primary unit.
pub async fn remove_units(desk: &Desk, id: String, given: &Given) -> Result<(), Refusal> {
    let units = given.ids("organizationalUnitIds", MOST_UNITS)?;
    move_to(desk, id, units.clone(), move |primary, mut further| {
        if units.contains(&primary) {
            return Err(Refusal::primary_unit());
        }
        further.retain(|further| !units.contains(further));
        Ok((primary, further))
    })
    .await
}
