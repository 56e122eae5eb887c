//! The management API: what administrators' programs do to the directory and to the provisioning of applications, with the
//! official clients of the product (wire contract, section 7).
//!
//! A call is a signed request ([`signature`]) with an action and flat parameters ([`parameters`]). Whoever signs with an
//! access key is let in as far as the key's role reaches. What concerns the directory is what applications do too, so the
//! calls of the developer API do it ([`crate::developer`]); what concerns provisioning goes through the applications' door
//! ([`provisioning`]). HTTP is in `api::management`.

mod calls;
mod jobs;
mod once;
pub mod parameters;
mod provisioning;
pub mod signature;

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::accounts::tokens::{self, AccessKey, ApiToken};
use crate::clock::Millis;
use crate::developer::{Desk, Given, Paged, Refusal, groups, passwords, units, users};
use crate::directory::Cascade;
use crate::directory::lists::{Narrowed, UnitsIn, UnitsWanted};
use crate::hub::Hub;
use crate::id::ROOT_UNIT;
use calls::unknown;
pub use calls::{CALLS, Call};
use provisioning::Office;

/// The version of the API.
pub const VERSION: &str = "2021-12-01";

/// What is answered, with names in lower case.
type Answered = Result<Map<String, Value>, Refusal>;

fn fields(body: &impl Serialize) -> Answered {
    match serde_json::to_value(body) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err(Refusal::internal("an answer that is no object")),
        Err(error) => Err(Refusal::internal(error.to_string())),
    }
}

/// An answer in which something stands under a name.
fn under(name: &str, body: &impl Serialize) -> Answered {
    let body = serde_json::to_value(body).map_err(|error| Refusal::internal(error.to_string()))?;
    Ok(Map::from_iter([(name.to_owned(), body)]))
}

/// A page of a list, which is called `data` in the developer API.
fn listed(name: &str, page: &impl Serialize) -> Answered {
    let mut page = fields(page)?;
    let data = page.remove("data").unwrap_or(Value::Null);
    page.insert(name.to_owned(), data);
    Ok(page)
}

fn done(_: ()) -> Answered {
    Ok(Map::new())
}

/// How many subjects a list may be narrowed to by naming them.
const MOST_NAMED: usize = 100;

/// The ids to which a list is narrowed.
fn named(given: &Given, field: &str) -> Result<Option<BTreeSet<String>>, Refusal> {
    let ids = given.some_ids(field, MOST_NAMED)?;
    Ok((!ids.is_empty()).then(|| ids.into_iter().collect()))
}

/// The page by its number.
fn numbered(given: &Given) -> Result<Paged, Refusal> {
    let (page, size) = (given.some("pageNumber")?, given.some("pageSize")?);
    Paged::numbered(page.as_deref(), size.as_deref())
}

/// The page by its number, or by what a page before has named.
fn paged(given: &Given) -> Result<Paged, Refusal> {
    if !given.has("nextToken") && !given.has("maxResults") {
        return numbered(given);
    }
    if let Some(field) = ["pageNumber", "pageSize"].iter().find(|field| given.has(field)) {
        let message = format!("{field} belongs to pages by number, and nextToken or maxResults was given");
        return Err(Refusal::invalid(field, message));
    }
    let (token, size) = (given.some("nextToken")?, given.some("maxResults")?);
    Paged::portioned(token.as_deref(), size.as_deref())
}

/// Carries out a call, once under a `ClientToken`. What is answered has its names in lower case.
///
/// # Errors
/// [`Refusal`].
pub async fn call(desk: &Desk, key: &AccessKey, action: &str, given: Given) -> Result<Value, Refusal> {
    let call = Call::find(action)?;
    call.check(&given)?;
    once::carry_out(desk, action, given, async |desk, given| {
        let answer = match action {
            _ if action.contains("Provisioning") || action.contains("SynchronizationJob") => {
                provisioning::call(&Office::new(&desk, key), action, &given).await?
            }
            _ if action.contains("User") => of_users(&desk, action, &given).await?,
            _ if action.contains("OrganizationalUnit") => of_units(&desk, action, &given).await?,
            _ => of_groups(&desk, action, &given).await?,
        };
        Ok(Value::Object(answer))
    })
    .await
}

/// Which users are listed.
fn which(desk: &Desk, given: &Given) -> Result<users::Which, Refusal> {
    let mut only = Narrowed::default();
    only.enabled(match given.some("status")?.as_deref() {
        None => None,
        Some("enabled") => Some(true),
        Some("disabled") => Some(false),
        Some(_) => {
            let message = "Status must be enabled or disabled";
            return Err(Refusal::invalid("status", message));
        }
    });
    only.username_begins(given.some("usernameStartsWith")?);
    only.display_name_begins(given.some("displayNameStartsWith")?);
    only.email(given.some("email")?);
    only.phone(given.some("phoneRegion")?, given.some("phoneNumber")?);
    only.external_id(given.some("userExternalId")?);
    only.source_type(given.some("userSourceType")?);
    only.source_id(given.some("userSourceId")?, &desk.hub().instance.id);
    only.ids(named(given, "userIds")?);
    Ok(users::Which {
        unit: given.some("organizationalUnitId")?,
        only,
    })
}

/// Which organizational units are listed. Those that are looked for by id or name are looked for everywhere, unless a
/// parent is named.
fn units_wanted(given: &Given) -> Result<UnitsWanted, Refusal> {
    let ids = named(given, "organizationalUnitIds")?;
    let name = given.some("organizationalUnitName")?;
    let beginning = given.some("organizationalUnitNameStartsWith")?;
    let within = match given.some("parentId")? {
        Some(parent) => UnitsIn::Parent(parent),
        None if ids.is_some() || name.is_some() || beginning.is_some() => UnitsIn::Everywhere,
        None => UnitsIn::Top,
    };
    Ok(UnitsWanted {
        within,
        ids,
        name,
        beginning,
    })
}

async fn of_users(desk: &Desk, action: &str, given: &Given) -> Answered {
    let user = || given.needed("userId");
    match action {
        "CreateUser" => fields(&users::create(desk, given).await?),
        "GetUser" => under("user", &desk.get(&users::SHOWN, user()?).await?),
        "ListUsers" => listed(
            "users",
            &users::list(desk, which(desk, given)?, paged(given)?).await?,
        ),
        "UpdateUser" | "UpdateUserDescription" => done(users::patch(desk, user()?, given).await?),
        "UpdateUserPassword" => done(passwords::set(desk, user()?, given).await?),
        "DeleteUser" => done(users::delete(desk, user()?).await?),
        "DeleteUsers" => done(users::delete_many(desk, given).await?),
        "EnableUser" => done(users::set_enabled(desk, user()?, true).await?),
        "DisableUser" => done(users::set_enabled(desk, user()?, false).await?),
        "UnlockUser" => done(users::unlock(desk, user()?).await?),
        "SetUserPrimaryOrganizationalUnit" => done(users::set_primary_unit(desk, user()?, given).await?),
        "AddUserToOrganizationalUnits" => done(users::add_units(desk, user()?, given).await?),
        "RemoveUserFromOrganizationalUnits" => done(users::remove_units(desk, user()?, given).await?),
        "ListGroupsForUser" => listed("groups", &users::groups(desk, user()?, numbered(given)?).await?),
        "ListUsersForGroup" => {
            let mut only = Narrowed::default();
            only.ids(named(given, "userIds")?);
            let group = given.needed("groupId")?;
            listed(
                "users",
                &groups::members(desk, group, only, numbered(given)?).await?,
            )
        }
        "AddUsersToGroup" => done(groups::add_users(desk, given.needed("groupId")?, given).await?),
        "RemoveUsersFromGroup" => done(groups::remove_users(desk, given.needed("groupId")?, given).await?),
        _ => Err(unknown(action)),
    }
}

async fn of_units(desk: &Desk, action: &str, given: &Given) -> Answered {
    let unit = || given.needed("organizationalUnitId");
    match action {
        "CreateOrganizationalUnit" => fields(&units::create(desk, given).await?),
        "GetOrganizationalUnit" => under("organizationalUnit", &desk.get(&units::SHOWN, unit()?).await?),
        "GetRootOrganizationalUnit" => under(
            "organizationalUnit",
            &desk.get(&units::SHOWN, ROOT_UNIT.to_owned()).await?,
        ),
        "ListOrganizationalUnits" => {
            let page = units::list(desk, units_wanted(given)?, numbered(given)?).await?;
            listed("organizationalUnits", &page)
        }
        "ListOrganizationalUnitParents" => under("parents", &units::parents(desk, unit()?).await?),
        "UpdateOrganizationalUnit" | "UpdateOrganizationalUnitDescription" => {
            done(units::patch(desk, unit()?, given).await?)
        }
        "UpdateOrganizationalUnitParentId" => done(units::move_below(desk, unit()?, given).await?),
        "DeleteOrganizationalUnit" => done(units::delete(desk, unit()?, Cascade::No).await?),
        "DeleteOrganizationalUnitChildren" => done(units::delete(desk, unit()?, Cascade::Yes).await?),
        _ => Err(unknown(action)),
    }
}

async fn of_groups(desk: &Desk, action: &str, given: &Given) -> Answered {
    let group = || given.needed("groupId");
    match action {
        "CreateGroup" => fields(&groups::create(desk, given).await?),
        "GetGroup" => under("group", &desk.get(&groups::SHOWN, group()?).await?),
        "ListGroups" => {
            let mut only = Narrowed::default();
            only.external_id(given.some("groupExternalId")?);
            only.ids(named(given, "groupIds")?);
            only.name(given.some("groupName")?);
            only.name_begins(given.some("groupNameStartsWith")?);
            listed("groups", &groups::list(desk, only, numbered(given)?).await?)
        }
        "UpdateGroup" | "UpdateGroupDescription" => done(groups::patch(desk, group()?, given).await?),
        "DeleteGroup" => done(groups::delete(desk, group()?).await?),
        _ => Err(unknown(action)),
    }
}

/// Takes a request once, and notes that its access key was used. What it names itself is remembered until a time at which
/// no request of now is taken any more, also none whose clock is ahead.
///
/// # Errors
/// [`Refusal`] if the request was there before.
pub async fn take_once(hub: &Hub, key: &ApiToken, nonce: String, until: Millis) -> Result<(), Refusal> {
    if nonce.is_empty() || nonce.len() > 128 {
        let message = "x-acs-signature-nonce must have 1 to 128 characters";
        return Err(Refusal::other(400, "IncompleteSignature", message));
    }
    let now = hub.clock.now();
    let (id, is_unnoted) = (key.id.clone(), tokens::is_unnoted(key, now));
    let is_new = hub.db.write(move |tx| {
        if is_unnoted {
            tokens::note_use(tx, &id, now)?;
        }
        tokens::use_nonce(tx, &id, &nonce, until, now)
    });
    match is_new.await? {
        true => Ok(()),
        false => Err(Refusal::other(
            400,
            "SignatureNonceUsed",
            "this request was sent already: every request needs a x-acs-signature-nonce of its own",
        )),
    }
}

/// An answer as it is sent: with the request's id, and names that begin with capitals.
pub fn told(answer: Value, request_id: &str) -> Value {
    let mut told = parameters::capitalized(answer);
    told["RequestId"] = json!(request_id);
    told
}
