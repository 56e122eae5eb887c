//! Users. `{id}` is an id, a username or an email address.

use std::sync::Arc;

use axum::Json;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::apply;
use crate::access::Permission;
use crate::api::door::Door;
use crate::api::extract::{Body, Fields, FromFields, Path, Query, from_some};
use crate::api::paging::{Pages, Paging};
use crate::api::routes::Routes;
use crate::api::versions::{Record, Single};
use crate::api::{Api, ApiError, Shown};
use crate::clock::Millis;
use crate::directory::fields::fold;
use crate::directory::search::{self, Portion, Wanted};
use crate::directory::{Applied, Command, Group, NewPassword, NewUser, User, UserChanges, query};
use crate::listing;
use crate::maintenance::erasure::{self, Erased};
use crate::secret::SecretString;

/// The routes.
pub(super) fn add(routes: Routes<Arc<Api>>) -> Routes<Arc<Api>> {
    routes
        .get(
            "/users",
            Permission::ReadDirectory,
            "Lists users by username; of a search, those in whose username, name, email address or phone number it stands.",
            list_users,
        )
        .post(
            "/users",
            Permission::WriteDirectory,
            "Creates a user.",
            create_user,
        )
        .creating()
        .get(
            "/users/{id}",
            Permission::ReadDirectory,
            "Shows a user, by id, username or email address.",
            show_user,
        )
        .patch(
            "/users/{id}",
            Permission::WriteDirectory,
            "Changes the fields that are given.",
            update_user,
        )
        .versioned()
        .delete(
            "/users/{id}",
            Permission::WriteDirectory,
            "Deletes a user.",
            delete_user,
        )
        .versioned()
        .get(
            "/users/{id}/groups",
            Permission::ReadDirectory,
            "Lists the groups that a user is in, by name.",
            list_groups,
        )
        .post(
            "/users/{id}/erase",
            Permission::WriteDirectory,
            "Deletes a user and erases every record of it.",
            erase_user,
        )
        .post(
            "/users/{id}/enable",
            Permission::WriteDirectory,
            "Lets a user sign in again.",
            enable_user,
        )
        .versioned()
        .post(
            "/users/{id}/disable",
            Permission::WriteDirectory,
            "Lets a user sign in no more.",
            disable_user,
        )
        .versioned()
        .post(
            "/users/{id}/lock",
            Permission::WriteDirectory,
            "Locks a user, for a time or until further notice.",
            lock_user,
        )
        .versioned()
        .post(
            "/users/{id}/unlock",
            Permission::WriteDirectory,
            "Unlocks a user.",
            unlock_user,
        )
        .versioned()
        .post(
            "/users/{id}/password",
            Permission::WriteDirectory,
            "Sets a user's password.",
            set_password,
        )
        .versioned()
        .post(
            "/users/{id}/organizational-units",
            Permission::WriteDirectory,
            "Says to which organizational units a user belongs.",
            set_units,
        )
        .versioned()
}

async fn prepare(api: &Api, password: SecretString) -> Result<NewPassword, ApiError> {
    let random = Arc::clone(&api.shared.hub.random);
    let prepared = tokio::task::spawn_blocking(move || NewPassword::prepare(password, &*random)).await;
    Ok(prepared.map_err(|error| ApiError::bad_request(error.to_string()))??)
}

/// A new user, and the password.
#[derive(schemars::JsonSchema)]
struct NewUserWithPassword {
    #[serde(flatten)]
    user: NewUser,
    /// The password, 8 to 256 characters.
    #[schemars(with = "Option<String>")]
    password: Option<SecretString>,
}

impl FromFields for NewUserWithPassword {
    fn from_fields(mut fields: Map<String, Value>) -> Result<Self, ApiError> {
        // The password is read apart, so that no error quotes it.
        let password = fields.remove("password").filter(|password| !password.is_null());
        let user = from_some(fields)?;
        let password = password.map(|password| {
            serde_json::from_value(password)
                .map_err(|_| ApiError::bad_request("the body: password: it must be a text"))
        });
        let password = password.transpose()?;
        Ok(Self { user, password })
    }
}

async fn create_user(api: Door, Fields(body): Fields<NewUserWithPassword>) -> Shown<Applied> {
    let mut new = body.user;
    if let Some(password) = body.password {
        new.password = Some(prepare(&api, password).await?);
    }
    apply(&api, Command::CreateUser(new)).await
}

async fn show_user(api: Door, Path(id): Path<String>) -> Single<User> {
    Ok(Record(api.user(id).await?))
}

async fn list_groups(api: Door, Path(id): Path<String>, paging: Paging<String>) -> Pages<Group> {
    // A user is shown with those groups only that the caller sees.
    let ids = api.user(id).await?.groups;
    let groups = api.shared.hub.db.read(move |tx| query::groups(tx, &ids));
    Ok(paging.page_of_all(groups.await?, |group| fold(&group.name)))
}

async fn update_user(api: Door, Path(id): Path<String>, Body(changes): Body<UserChanges>) -> Shown<Applied> {
    let id = api.user(id).await?.id;
    apply(&api, Command::UpdateUser { id, changes }).await
}

async fn delete_user(api: Door, Path(id): Path<String>) -> Shown<Applied> {
    let id = api.user(id).await?.id;
    apply(&api, Command::DeleteUser { id }).await
}

/// Deletes a user and erases the records of it; the id also of somebody who was deleted before.
async fn erase_user(api: Door, Path(id): Path<String>) -> Shown<Erased> {
    let hub = &api.shared.hub;
    let id = hub.db.read(move |tx| query::user_id(tx, &id)).await?;
    Ok(Json(erasure::erase_user(hub, &api.caller, &id).await?))
}

async fn enable_user(api: Door, Path(id): Path<String>) -> Shown<Applied> {
    let id = api.user(id).await?.id;
    apply(&api, Command::EnableUser { id }).await
}

async fn disable_user(api: Door, Path(id): Path<String>) -> Shown<Applied> {
    let id = api.user(id).await?.id;
    apply(&api, Command::DisableUser { id }).await
}

#[derive(Default, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Lock {
    until: Option<Millis>,
}

async fn lock_user(api: Door, Path(id): Path<String>, Body(lock): Body<Lock>) -> Shown<Applied> {
    let id = api.user(id).await?.id;
    apply(
        &api,
        Command::LockUser {
            id,
            until: lock.until,
        },
    )
    .await
}

async fn unlock_user(api: Door, Path(id): Path<String>) -> Shown<Applied> {
    let id = api.user(id).await?.id;
    apply(&api, Command::UnlockUser { id }).await
}

#[derive(Deserialize, schemars::JsonSchema)]
struct SetPassword {
    #[schemars(with = "String")]
    password: SecretString,
}

async fn set_password(api: Door, Path(id): Path<String>, Body(body): Body<SetPassword>) -> Shown<Applied> {
    let id = api.user(id).await?.id;
    let password = prepare(&api, body.password).await?;
    apply(&api, Command::SetPassword { id, password }).await
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SetUnits {
    primary: String,
    #[serde(default)]
    further: Vec<String>,
}

async fn set_units(api: Door, Path(id): Path<String>, Body(body): Body<SetUnits>) -> Shown<Applied> {
    let id = api.user(id).await?.id;
    apply(
        &api,
        Command::SetUnits {
            id,
            primary: body.primary,
            further: body.further,
        },
    )
    .await
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Which {
    /// Only users directly in the organizational unit with this id.
    organizational_unit_id: Option<String>,
    /// Only users in whose username, name, email address or phone number this stands.
    search: Option<String>,
    /// Only users after this username.
    after: Option<String>,
}

async fn list_users(api: Door, paging: Paging<String>, Query(which): Query<Which>) -> Pages<User> {
    let wanted = Wanted {
        unit_id: which.organizational_unit_id,
        search: which.search,
        sight: api.sight().await?,
    };
    let after = paging.after.clone().or(which.after).unwrap_or_default();
    let db = &api.shared.hub.db;
    let Portion { found, next } =
        listing::page(db, search::user_ids, &wanted, &after, paging.limit + 1).await?;
    let mut found = db.read(move |tx| query::users_of(tx, &found)).await?;
    if let Some(sight) = &wanted.sight {
        found = sight.users(found);
    }
    let portion = Portion { found, next };
    Ok(paging.page_of_portion(portion, |user| user.username.clone()))
}
