//! The management API: what administrators' programs do to the directory and to the provisioning of applications, with the
//! official clients of the product (wire contract, section 7).
//!
//! A call is a signed request ([`signature`]) with an action and flat parameters ([`parameters`]). Whoever signs with an
//! access key is let in as far as the key's role reaches. What concerns the directory is what applications do too, so the
//! calls of the developer API do it ([`crate::developer`]); what concerns provisioning goes through the applications' door
//! ([`provisioning`]). HTTP is in `api::management`.

pub mod parameters;
mod provisioning;
pub mod signature;

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::accounts::tokens::{self, ApiToken};
use crate::clock::Millis;
use crate::developer::{Desk, Given, Numbered, Portioned, Refusal, groups, passwords, units, users};
use crate::hub::Hub;
use crate::id::ROOT_UNIT;
use provisioning::Office;

/// The version of the API.
pub const VERSION: &str = "2021-12-01";

/// The calls that are answered.
pub const ACTIONS: [&str; 41] = [
    "AddUserToOrganizationalUnits",
    "AddUsersToGroup",
    "CreateGroup",
    "CreateOrganizationalUnit",
    "CreateUser",
    "DeleteGroup",
    "DeleteOrganizationalUnit",
    "DeleteUser",
    "DisableApplicationProvisioning",
    "DisableUser",
    "EnableApplicationProvisioning",
    "EnableUser",
    "GetApplicationProvisioningConfig",
    "GetApplicationProvisioningScope",
    "GetGroup",
    "GetOrganizationalUnit",
    "GetRootOrganizationalUnit",
    "GetSynchronizationJob",
    "GetUser",
    "ListGroups",
    "ListGroupsForUser",
    "ListOrganizationalUnitParents",
    "ListOrganizationalUnits",
    "ListSynchronizationJobs",
    "ListUsers",
    "ListUsersForGroup",
    "RemoveUserFromOrganizationalUnits",
    "RemoveUsersFromGroup",
    "RunSynchronizationJob",
    "SetApplicationProvisioningConfig",
    "SetApplicationProvisioningScope",
    "SetUserPrimaryOrganizationalUnit",
    "UnlockUser",
    "UpdateGroup",
    "UpdateGroupDescription",
    "UpdateOrganizationalUnit",
    "UpdateOrganizationalUnitDescription",
    "UpdateOrganizationalUnitParentId",
    "UpdateUser",
    "UpdateUserDescription",
    "UpdateUserPassword",
];

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
    // What the other way of paging says.
    page.remove("maxResults");
    page.remove("nextToken");
    Ok(page)
}

fn done(_: ()) -> Answered {
    Ok(Map::new())
}

/// Refuses what narrows a list in a way that is not known, so that nobody takes everything for what was meant.
fn without(given: &Given, unknown: &[&str]) -> Result<(), Refusal> {
    match unknown.iter().find(|field| given.has(field)) {
        None => Ok(()),
        Some(field) => Err(Refusal::unsupported(
            field,
            format!("{field} does not narrow this list"),
        )),
    }
}

fn numbered(given: &Given) -> Result<Numbered, Refusal> {
    without(given, &["nextToken", "maxResults"])?;
    let (page, size) = (given.some("pageNumber")?, given.some("pageSize")?);
    Numbered::read(page.as_deref(), size.as_deref())
}

/// Carries out a call. What is answered has its names in lower case.
///
/// # Errors
/// [`Refusal`].
pub async fn call(desk: &Desk, key_id: &str, action: &str, given: Given) -> Result<Value, Refusal> {
    let answer = match action {
        _ if action.contains("User") && !action.contains("SynchronizationJob") => {
            of_users(desk, action, &given).await?
        }
        _ if action.contains("OrganizationalUnit") => of_units(desk, action, &given).await?,
        _ if action.contains("Group") => of_groups(desk, action, &given).await?,
        _ => {
            let office = Office::new(desk, key_id);
            provisioning::call(&office, action, &given).await?
        }
    };
    Ok(Value::Object(answer))
}

/// There is no such call.
fn unknown(action: &str) -> Refusal {
    let message =
        format!("there is no call {action:?}; docs/api-compatibility.md lists those that are answered");
    Refusal::other(400, "UnsupportedAction", message)
}

async fn of_users(desk: &Desk, action: &str, given: &Given) -> Answered {
    let user = || given.needed("userId");
    match action {
        "CreateUser" => fields(&users::create(desk, given).await?),
        "GetUser" => under("user", &users::get(desk, user()?).await?),
        "ListUsers" => {
            without(
                given,
                &[
                    "displayNameStartsWith",
                    "email",
                    "phoneNumber",
                    "phoneRegion",
                    "status",
                    "userExternalId",
                    "userIds",
                    "userSourceId",
                    "userSourceType",
                    "usernameStartsWith",
                ],
            )?;
            let unit = given.some("organizationalUnitId")?;
            listed("users", &users::list(desk, unit, numbered(given)?).await?)
        }
        "UpdateUser" | "UpdateUserDescription" => done(users::patch(desk, user()?, given).await?),
        "UpdateUserPassword" => done(passwords::set(desk, user()?, given).await?),
        "DeleteUser" => done(users::delete(desk, user()?).await?),
        "EnableUser" => done(users::set_enabled(desk, user()?, true).await?),
        "DisableUser" => done(users::set_enabled(desk, user()?, false).await?),
        "UnlockUser" => done(users::unlock(desk, user()?).await?),
        "SetUserPrimaryOrganizationalUnit" => done(users::set_primary_unit(desk, user()?, given).await?),
        "AddUserToOrganizationalUnits" => done(users::add_units(desk, user()?, given).await?),
        "RemoveUserFromOrganizationalUnits" => done(users::remove_units(desk, user()?, given).await?),
        "ListGroupsForUser" => {
            let page = Portioned::numbered(numbered(given)?);
            listed("groups", &users::groups(desk, user()?, page).await?)
        }
        "ListUsersForGroup" => {
            without(given, &["userIds"])?;
            let page = Portioned::numbered(numbered(given)?);
            let group = given.needed("groupId")?;
            listed("users", &groups::members(desk, group, page).await?)
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
        "GetOrganizationalUnit" => under("organizationalUnit", &units::get(desk, unit()?).await?),
        "GetRootOrganizationalUnit" => under(
            "organizationalUnit",
            &units::get(desk, ROOT_UNIT.to_owned()).await?,
        ),
        "ListOrganizationalUnits" => {
            without(
                given,
                &[
                    "organizationalUnitIds",
                    "organizationalUnitName",
                    "organizationalUnitNameStartsWith",
                ],
            )?;
            let parent = given.some("parentId")?;
            let page = units::list(desk, parent, numbered(given)?).await?;
            listed("organizationalUnits", &page)
        }
        "ListOrganizationalUnitParents" => under("parents", &units::parents(desk, unit()?).await?),
        "UpdateOrganizationalUnit" | "UpdateOrganizationalUnitDescription" => {
            done(units::patch(desk, unit()?, given).await?)
        }
        "UpdateOrganizationalUnitParentId" => done(units::move_below(desk, unit()?, given).await?),
        "DeleteOrganizationalUnit" => done(units::delete(desk, unit()?).await?),
        _ => Err(unknown(action)),
    }
}

async fn of_groups(desk: &Desk, action: &str, given: &Given) -> Answered {
    let group = || given.needed("groupId");
    match action {
        "CreateGroup" => fields(&groups::create(desk, given).await?),
        "GetGroup" => under("group", &groups::get(desk, group()?).await?),
        "ListGroups" => {
            without(given, &["groupExternalId", "groupIds", "groupName"])?;
            let beginning = given.some("groupNameStartsWith")?;
            let page = Portioned::numbered(numbered(given)?);
            listed("groups", &groups::list(desk, beginning, page).await?)
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
