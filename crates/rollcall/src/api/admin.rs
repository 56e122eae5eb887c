//! The administrator's API: users, organizational units, groups, applications.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use rollcall_protocol::SubjectKind;
use serde::Deserialize;
use serde_json::{Value, json};

use super::door::Door;
use super::extract::{Body, Path, Query};
use super::logs::{list_audit, list_changes};
use super::routes::Routes;
use super::{Api, ApiError, PREFIX, Shown};
use crate::application::{Application, store};
use crate::clock::Millis;
use crate::delivery::erase::{self, Erased};
use crate::delivery::ledger::attempts;
use crate::delivery::{connectivity, job};
use crate::directory::{
    self, Applied, Cascade, Command, DeletionPlan, Group, GroupChanges, NewGroup, NewPassword, NewUnit,
    NewUser, Unit, UnitChanges, User, UserChanges, query,
};
use crate::id;
use crate::secret::SecretString;
use crate::why::{Why, why};

pub(super) type Hub = State<Arc<Api>>;

pub(super) fn routes() -> Routes<Arc<Api>> {
    Routes::below(PREFIX)
        .get("/users", "Lists users by username, those after one.", list_users)
        .asking(&["organizationalUnitId", "after", "limit"])
        .post("/users", "Creates a user.", create_user)
        .get(
            "/users/{id}",
            "Shows a user, by id, username or email address.",
            show_user,
        )
        .patch("/users/{id}", "Changes the fields that are given.", update_user)
        .delete("/users/{id}", "Deletes a user.", delete_user)
        .post(
            "/users/{id}/erase",
            "Deletes a user and erases every record of it.",
            erase_user,
        )
        .post("/users/{id}/enable", "Lets a user sign in again.", enable_user)
        .post(
            "/users/{id}/disable",
            "Lets a user sign in no more.",
            disable_user,
        )
        .post(
            "/users/{id}/lock",
            "Locks a user, for a time or until further notice.",
            lock_user,
        )
        .post("/users/{id}/unlock", "Unlocks a user.", unlock_user)
        .post("/users/{id}/password", "Sets a user's password.", set_password)
        .post(
            "/users/{id}/organizational-units",
            "Says to which organizational units a user belongs.",
            set_units,
        )
        .get(
            "/organizational-units",
            "Lists the organizational units directly below one.",
            list_units,
        )
        .asking(&["parentId"])
        .post(
            "/organizational-units",
            "Creates an organizational unit.",
            create_unit,
        )
        .get(
            "/organizational-units/{id}",
            "Shows an organizational unit, by id or path.",
            show_unit,
        )
        .patch(
            "/organizational-units/{id}",
            "Changes the fields that are given.",
            update_unit,
        )
        .delete(
            "/organizational-units/{id}",
            "Deletes an organizational unit, with what is below it if it is to cascade.",
            delete_unit,
        )
        .asking(&["cascade", "confirm"])
        .get(
            "/organizational-units/{id}/deletion",
            "Shows what deleting an organizational unit would take along, and the token that confirms it.",
            plan_deletion,
        )
        .post(
            "/organizational-units/{id}/move",
            "Moves an organizational unit below another.",
            move_unit,
        )
        .get("/groups", "Lists groups by name, those after one.", list_groups)
        .asking(&["after", "limit"])
        .post("/groups", "Creates a group.", create_group)
        .get("/groups/{id}", "Shows a group, by id or name.", show_group)
        .patch("/groups/{id}", "Changes the fields that are given.", update_group)
        .delete("/groups/{id}", "Deletes a group.", delete_group)
        .get(
            "/groups/{id}/members",
            "Lists the ids of a group's members.",
            list_members,
        )
        .post("/groups/{id}/members", "Adds members to a group.", add_members)
        .post(
            "/groups/{id}/members/remove",
            "Removes members from a group.",
            remove_members,
        )
        .get("/applications", "Lists applications.", list_applications)
        .get(
            "/applications/{id}",
            "Shows an application, by id or name.",
            show_application,
        )
        .post(
            "/applications/{id}/test",
            "Tests the connection to an application.",
            test_application,
        )
        .get(
            "/applications/{id}/attempts",
            "Lists the newest requests to an application.",
            list_attempts,
        )
        .get(
            "/applications/{id}/why/{user}",
            "Says why a user did or did not arrive.",
            explain,
        )
        .get(
            "/applications/{id}/synchronizations",
            "Lists the newest synchronizations.",
            list_jobs,
        )
        .post(
            "/applications/{id}/synchronizations",
            "Pushes everything.",
            synchronize,
        )
        .get(
            "/changes",
            "Lists changes by position, those after one.",
            list_changes,
        )
        .asking(&["after", "limit"])
        .get("/audit", "Lists who did what, the newest first.", list_audit)
        .asking(&["who", "action", "target", "since", "until", "limit"])
}

pub(super) async fn authorize(State(api): Hub, request: Request, next: Next) -> Result<Response, ApiError> {
    let shown = request
        .headers()
        .get(axum::http::header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "));
    match shown {
        Some(shown) if api.token.is(shown) => Ok(next.run(request).await),
        _ => Err(ApiError::unauthorized()),
    }
}

async fn apply(door: &Door, command: Command) -> Shown<Applied> {
    Ok(Json(
        door.api.shared.hub.apply(door.caller.clone(), command).await?,
    ))
}

// Users. `{id}` is an id, a username or an email address.

async fn user(api: &Api, name: String) -> Result<User, ApiError> {
    let found = {
        let name = name.clone();
        api.shared
            .hub
            .db
            .read(move |tx| query::find_user(tx, &name))
            .await?
    };
    Ok(found.ok_or_else(|| directory::not_found(SubjectKind::User, &name))?)
}

async fn prepare(api: &Api, password: SecretString) -> Result<NewPassword, ApiError> {
    let random = Arc::clone(&api.shared.hub.random);
    let prepared = tokio::task::spawn_blocking(move || NewPassword::prepare(password, &*random)).await;
    Ok(prepared.map_err(|error| ApiError::bad_request(error.to_string()))??)
}

async fn create_user(api: Door, Body(mut body): Body<serde_json::Map<String, Value>>) -> Shown<Applied> {
    let password = body.remove("password").filter(|password| !password.is_null());
    let mut new: NewUser = serde_path_to_error::deserialize(Value::Object(body))
        .map_err(|error| ApiError::bad_request(format!("the body: {error}")))?;
    if let Some(password) = password {
        // The value is not repeated.
        let password = serde_json::from_value(password)
            .map_err(|_| ApiError::bad_request("the body: password: it must be a text"))?;
        new.password = Some(prepare(&api, password).await?);
    }
    apply(&api, Command::CreateUser(new)).await
}

async fn show_user(State(api): Hub, Path(id): Path<String>) -> Shown<User> {
    Ok(Json(user(&api, id).await?))
}

async fn update_user(api: Door, Path(id): Path<String>, Body(changes): Body<UserChanges>) -> Shown<Applied> {
    let id = user(&api, id).await?.id;
    apply(&api, Command::UpdateUser { id, changes }).await
}

async fn delete_user(api: Door, Path(id): Path<String>) -> Shown<Applied> {
    let id = user(&api, id).await?.id;
    apply(&api, Command::DeleteUser { id }).await
}

/// Deletes a user and erases the records of it; the id also of somebody who was deleted before.
async fn erase_user(api: Door, Path(id): Path<String>) -> Shown<Erased> {
    let hub = &api.shared.hub;
    let id = hub.db.read(move |tx| query::user_id(tx, &id)).await?;
    Ok(Json(erase::erase_user(hub, &api.caller, &id).await?))
}

/// Why a user did or did not arrive.
async fn explain(State(api): Hub, Path((id, user)): Path<(String, String)>) -> Shown<Why> {
    let (hub, now) = (&api.shared.hub, api.shared.hub.clock.now());
    let page = hub.db.read(move |tx| why(tx, &user, &id, now)).await?;
    Ok(Json(page))
}

async fn enable_user(api: Door, Path(id): Path<String>) -> Shown<Applied> {
    let id = user(&api, id).await?.id;
    apply(&api, Command::EnableUser { id }).await
}

async fn disable_user(api: Door, Path(id): Path<String>) -> Shown<Applied> {
    let id = user(&api, id).await?.id;
    apply(&api, Command::DisableUser { id }).await
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Lock {
    until: Option<Millis>,
}

async fn lock_user(api: Door, Path(id): Path<String>, Body(lock): Body<Lock>) -> Shown<Applied> {
    let id = user(&api, id).await?.id;
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
    let id = user(&api, id).await?.id;
    apply(&api, Command::UnlockUser { id }).await
}

#[derive(Deserialize)]
struct SetPassword {
    password: SecretString,
}

async fn set_password(api: Door, Path(id): Path<String>, Body(body): Body<SetPassword>) -> Shown<Applied> {
    let id = user(&api, id).await?.id;
    let password = prepare(&api, body.password).await?;
    apply(&api, Command::SetPassword { id, password }).await
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SetUnits {
    primary: String,
    #[serde(default)]
    further: Vec<String>,
}

async fn set_units(api: Door, Path(id): Path<String>, Body(body): Body<SetUnits>) -> Shown<Applied> {
    let id = user(&api, id).await?.id;
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

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    organizational_unit_id: Option<String>,
    after: Option<String>,
    #[serde(default = "page_size")]
    limit: usize,
}

pub(super) fn page_size() -> usize {
    100
}

async fn list_users(State(api): Hub, Query(page): Query<Page>) -> Shown<Vec<User>> {
    let users = api.shared.hub.db.read(move |tx| {
        let unit = page.organizational_unit_id.as_deref();
        query::list_users(tx, unit, page.after.as_deref(), page.limit.clamp(1, 1_000))
    });
    Ok(Json(users.await?))
}

// Organizational units. `{id}` is an id, or a path with %2F between the names.

async fn unit(api: &Api, name: String) -> Result<Unit, ApiError> {
    let found = {
        let name = name.clone();
        api.shared
            .hub
            .db
            .read(move |tx| query::find_unit(tx, &name))
            .await?
    };
    Ok(found.ok_or_else(|| directory::not_found(SubjectKind::Unit, &name))?)
}

async fn create_unit(api: Door, Body(new): Body<NewUnit>) -> Shown<Applied> {
    apply(&api, Command::CreateUnit(new)).await
}

async fn show_unit(State(api): Hub, Path(id): Path<String>) -> Shown<Unit> {
    Ok(Json(unit(&api, id).await?))
}

async fn update_unit(api: Door, Path(id): Path<String>, Body(changes): Body<UnitChanges>) -> Shown<Applied> {
    let id = unit(&api, id).await?.id;
    apply(&api, Command::UpdateUnit { id, changes }).await
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct MoveUnit {
    parent_id: String,
}

async fn move_unit(api: Door, Path(id): Path<String>, Body(body): Body<MoveUnit>) -> Shown<Applied> {
    let id = unit(&api, id).await?.id;
    let parent_id = unit(&api, body.parent_id).await?.id;
    apply(&api, Command::MoveUnit { id, parent_id }).await
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Delete {
    cascade: bool,
    /// The token of the plan: only what it shows is deleted.
    confirm: Option<String>,
}

async fn delete_unit(api: Door, Path(id): Path<String>, Query(how): Query<Delete>) -> Shown<Applied> {
    let id = unit(&api, id).await?.id;
    let cascade = match (how.cascade, how.confirm) {
        (false, _) => Cascade::No,
        (true, None) => Cascade::Yes,
        (true, Some(token)) => Cascade::Confirmed(token),
    };
    apply(&api, Command::DeleteUnit { id, cascade }).await
}

/// What the deletion with `cascade=true` would take along.
async fn plan_deletion(State(api): Hub, Path(id): Path<String>) -> Shown<DeletionPlan> {
    let id = unit(&api, id).await?.id;
    let hub = &api.shared.hub;
    Ok(Json(
        hub.db.read(move |tx| directory::plan_deletion(tx, &id)).await?,
    ))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Below {
    #[serde(default = "root")]
    parent_id: String,
}

fn root() -> String {
    id::ROOT_UNIT.to_owned()
}

async fn list_units(State(api): Hub, Query(below): Query<Below>) -> Shown<Vec<Unit>> {
    let parent_id = unit(&api, below.parent_id).await?.id;
    Ok(Json(
        api.shared
            .hub
            .db
            .read(move |tx| directory::children(tx, &parent_id))
            .await?,
    ))
}

// Groups. `{id}` is an id or a name.

async fn group(api: &Api, name: String) -> Result<Group, ApiError> {
    let found = {
        let name = name.clone();
        api.shared
            .hub
            .db
            .read(move |tx| query::find_group(tx, &name))
            .await?
    };
    Ok(found.ok_or_else(|| directory::not_found(SubjectKind::Group, &name))?)
}

async fn create_group(api: Door, Body(new): Body<NewGroup>) -> Shown<Applied> {
    apply(&api, Command::CreateGroup(new)).await
}

#[derive(Deserialize)]
struct GroupPage {
    after: Option<String>,
    #[serde(default = "page_size")]
    limit: usize,
}

async fn list_groups(State(api): Hub, Query(page): Query<GroupPage>) -> Shown<Vec<Group>> {
    let groups = api
        .shared
        .hub
        .db
        .read(move |tx| query::groups_by_name(tx, page.after.as_deref(), page.limit.clamp(1, 1_000)));
    Ok(Json(groups.await?))
}

async fn show_group(State(api): Hub, Path(id): Path<String>) -> Shown<Group> {
    Ok(Json(group(&api, id).await?))
}

async fn update_group(
    api: Door,
    Path(id): Path<String>,
    Body(changes): Body<GroupChanges>,
) -> Shown<Applied> {
    let id = group(&api, id).await?.id;
    apply(&api, Command::UpdateGroup { id, changes }).await
}

async fn delete_group(api: Door, Path(id): Path<String>) -> Shown<Applied> {
    let id = group(&api, id).await?.id;
    apply(&api, Command::DeleteGroup { id }).await
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Members {
    user_ids: Vec<String>,
}

async fn list_members(State(api): Hub, Path(id): Path<String>) -> Shown<Vec<String>> {
    let id = group(&api, id).await?.id;
    Ok(Json(
        api.shared
            .hub
            .db
            .read(move |tx| query::group_members(tx, &id))
            .await?,
    ))
}

async fn add_members(api: Door, Path(id): Path<String>, Body(body): Body<Members>) -> Shown<Applied> {
    let group_id = group(&api, id).await?.id;
    apply(
        &api,
        Command::AddMembers {
            group_id,
            user_ids: body.user_ids,
        },
    )
    .await
}

async fn remove_members(api: Door, Path(id): Path<String>, Body(body): Body<Members>) -> Shown<Applied> {
    let group_id = group(&api, id).await?.id;
    apply(
        &api,
        Command::RemoveMembers {
            group_id,
            user_ids: body.user_ids,
        },
    )
    .await
}

// Applications. `{id}` is an id or a name.

async fn application(api: &Api, name: String) -> Result<Application, ApiError> {
    Ok(api.shared.hub.db.read(move |tx| store::find(tx, &name)).await?)
}

async fn list_applications(State(api): Hub) -> Shown<Vec<Application>> {
    Ok(Json(api.shared.hub.db.read(store::list).await?))
}

async fn show_application(State(api): Hub, Path(id): Path<String>) -> Shown<Application> {
    Ok(Json(application(&api, id).await?))
}

async fn test_application(State(api): Hub, Path(id): Path<String>) -> Shown<connectivity::Report> {
    let id = application(&api, id).await?.id;
    Ok(Json(connectivity::test(&api.shared, &id).await?))
}

async fn list_attempts(State(api): Hub, Path(id): Path<String>) -> Shown<Vec<attempts::Attempt>> {
    let id = application(&api, id).await?.id;
    let attempts = api
        .shared
        .hub
        .db
        .read(move |tx| attempts::newest(tx, &id, 0, 100))
        .await?;
    Ok(Json(attempts.into_iter().map(|(_, attempt)| attempt).collect()))
}

async fn synchronize(api: Door, Path(id): Path<String>) -> Shown<Value> {
    let hub = &api.shared.hub;
    let id = application(&api, id).await?.id;
    let job_id = hub
        .write_as(api.caller.clone(), move |tx, ctx| job::request_full(tx, ctx, &id))
        .await?;
    Ok(Json(json!({ "id": job_id })))
}

async fn list_jobs(State(api): Hub, Path(id): Path<String>) -> Shown<Vec<job::JobPosition>> {
    let id = application(&api, id).await?.id;
    Ok(Json(
        api.shared.hub.db.read(move |tx| job::newest(tx, &id, 20)).await?,
    ))
}
