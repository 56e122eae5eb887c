//! Accounts. `{id}` is an id or a name.

use std::sync::Arc;

use axum::Json;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::access::{Permission, Role, RoleName};
use crate::accounts::sessions::{self, Session};
use crate::accounts::{self, Account, AccountChanges, Command, NewAccount};
use crate::api::door::Door;
use crate::api::extract::{Body, Fields, FromFields, Path, from_some};
use crate::api::paging::{Pages, Paging};
use crate::api::routes::Routes;
use crate::api::versions::{Record, Single};
use crate::api::{Api, ApiError, Shown};
use crate::directory::fields::fold;
use crate::secret::{ExposeSecret as _, SecretString};
use crate::signin::manage::{self, Fresh};

/// The routes.
pub(super) fn add(routes: Routes<Arc<Api>>) -> Routes<Arc<Api>> {
    routes
        .get(
            "/accounts",
            Permission::ReadAccess,
            "Lists accounts by name.",
            list,
        )
        .post(
            "/accounts",
            Permission::ManageAccess,
            "Creates an account; without a password it gets a one-time password, shown once.",
            create,
        )
        .creating()
        .get(
            "/accounts/{id}",
            Permission::ReadAccess,
            "Shows an account, by id or name.",
            show,
        )
        .patch(
            "/accounts/{id}",
            Permission::ManageAccess,
            "Changes the fields that are given: displayName, email, role with applications, disabled.",
            update,
        )
        .versioned()
        .delete(
            "/accounts/{id}",
            Permission::ManageAccess,
            "Deletes an account.",
            delete,
        )
        .versioned()
        .post(
            "/accounts/{id}/reset-password",
            Permission::ManageAccess,
            "Gives an account another one-time password, shown once, and ends its sessions.",
            reset_password,
        )
        .versioned()
        .get(
            "/accounts/{id}/sessions",
            Permission::ReadAccess,
            "Lists the sessions of an account, the newest first.",
            list_sessions,
        )
        .delete(
            "/accounts/{id}/sessions",
            Permission::ManageAccess,
            "Ends all sessions of an account.",
            end_sessions,
        )
        .delete(
            "/accounts/{id}/sessions/{session}",
            Permission::ManageAccess,
            "Ends one session of an account.",
            end_session,
        )
}

/// An account with the password that is shown once.
#[derive(Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(rename = "AccountWithPassword")]
#[serde(rename_all = "camelCase")]
pub(crate) struct ShownFresh {
    pub(crate) account: Account,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) one_time_password: Option<String>,
}

impl From<Fresh> for ShownFresh {
    fn from(fresh: Fresh) -> Self {
        let one_time_password = fresh.one_time_password.map(|it| it.expose_secret().to_owned());
        Self {
            account: fresh.account,
            one_time_password,
        }
    }
}

async fn account(api: &Door, id: String) -> Result<Account, ApiError> {
    let hub = &api.shared.hub;
    Ok(hub.db.read(move |tx| accounts::find(tx, &id)).await?)
}

async fn apply(api: &Door, command: Command) -> Shown<Account> {
    let applied = api.shared.hub.apply_account(api.caller.clone(), command).await?;
    Ok(Json(applied.account()?))
}

async fn list(api: Door, paging: Paging<String>) -> Pages<Account> {
    let accounts = api.shared.hub.db.read(accounts::list).await?;
    Ok(paging.page_of_all(accounts, |account| fold(&account.name)))
}

async fn show(api: Door, Path(id): Path<String>) -> Single<Account> {
    Ok(Record(account(&api, id).await?))
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct New {
    name: String,
    display_name: Option<String>,
    email: Option<String>,
    role: RoleName,
    #[serde(default)]
    applications: Vec<String>,
    #[schemars(with = "Option<String>")]
    password: Option<SecretString>,
}

async fn create(api: Door, Body(new): Body<New>) -> Shown<ShownFresh> {
    let hub = &api.shared.hub;
    let account = NewAccount {
        name: new.name,
        display_name: new.display_name,
        email: new.email,
        role: manage::role(hub, new.role, new.applications).await?,
        password_hash: None,
    };
    let fresh = manage::create(hub, api.caller.clone(), account, new.password).await?;
    Ok(Json(fresh.into()))
}

/// What changes of the role: both parts, or the applications of somebody who owns some already.
#[derive(Deserialize, schemars::JsonSchema)]
struct RoleChange {
    role: Option<RoleName>,
    applications: Option<Vec<String>>,
}

impl RoleChange {
    async fn read(self, api: &Door, present: &Role) -> Result<Option<Role>, ApiError> {
        let (name, applications) = match (self.role, self.applications) {
            (None, None) => return Ok(None),
            (name, Some(applications)) => (name.unwrap_or(present.name()), applications),
            (Some(name), None) if name == present.name() => return Ok(None),
            (Some(name), None) => (name, Vec::new()),
        };
        Ok(Some(manage::role(&api.shared.hub, name, applications).await?))
    }
}

/// What changes of an account.
#[derive(schemars::JsonSchema)]
struct Changes {
    #[serde(flatten)]
    fields: AccountChanges,
    #[serde(flatten)]
    role: RoleChange,
}

impl FromFields for Changes {
    fn from_fields(mut fields: Map<String, Value>) -> Result<Self, ApiError> {
        let of_role = ["role", "applications"].into_iter();
        let role = of_role.filter_map(|name| fields.remove_entry(name)).collect();
        let role = from_some(role)?;
        let fields = from_some(fields)?;
        Ok(Self { fields, role })
    }
}

async fn update(api: Door, Path(id): Path<String>, Fields(changes): Fields<Changes>) -> Shown<Account> {
    let Account {
        id, role: present, ..
    } = account(&api, id).await?;
    let role = changes.role.read(&api, &present).await?;
    let changes = AccountChanges {
        role,
        ..changes.fields
    };
    apply(&api, Command::Update { id, changes }).await
}

async fn delete(api: Door, Path(id): Path<String>) -> Shown<Account> {
    let id = account(&api, id).await?.id;
    apply(&api, Command::Delete { id }).await
}

async fn reset_password(api: Door, Path(id): Path<String>) -> Shown<ShownFresh> {
    let account = account(&api, id).await?;
    let fresh = manage::reset_password(&api.shared.hub, api.caller.clone(), &account).await?;
    Ok(Json(fresh.into()))
}

async fn list_sessions(api: Door, Path(id): Path<String>, paging: Paging<String>) -> Pages<Session> {
    let id = account(&api, id).await?.id;
    let (hub, lifetime) = (&api.shared.hub, api.sign_in.lifetime());
    let now = hub.clock.now();
    let sessions = hub
        .db
        .read(move |tx| sessions::list(tx, Some(&id), now, lifetime));
    Ok(paging.page_of_all_backwards(sessions.await?, |session| session.id.clone()))
}

async fn end_session(api: Door, Path((id, session)): Path<(String, String)>) -> Shown<Ended> {
    let account_id = account(&api, id).await?.id;
    let id = session;
    end(&api, Command::EndSession { id, account_id }).await
}

async fn end_sessions(api: Door, Path(id): Path<String>) -> Shown<Ended> {
    let account_id = account(&api, id).await?.id;
    end(&api, Command::EndSessions { account_id }).await
}

/// How many sessions were ended.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub(crate) struct Ended {
    pub(crate) ended: u64,
}

/// Ends sessions, and says how many.
pub(super) async fn end(api: &Door, command: Command) -> Shown<Ended> {
    let applied = api.shared.hub.apply_account(api.caller.clone(), command).await?;
    Ok(Json(Ended {
        ended: applied.ended(),
    }))
}
