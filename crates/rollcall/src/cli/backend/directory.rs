//! Users, units and groups.

use anyhow::{Result, bail};
use rollcall_db::{DbError, Tx};
use rollcall_protocol::SubjectKind;
use serde_json::json;

use super::client::{Client, Request, refused};
use super::{Backend, Database};
use crate::api::ShownChange;
use crate::cli::caller::caller;
use crate::directory::earlier::{self, Incarnation};
use crate::directory::fields::fold;
use crate::directory::query::{self, Member, UnitAt};
use crate::directory::search::{self, Wanted};
use crate::directory::{
    self, Applied, Cascade, Command, DeletionPlan, Group, NewPassword, NewUser, Unit, User,
};
use crate::listing;
use crate::maintenance::erasure::{self, Erased};
use crate::secret::{ExposeSecret as _, SecretString};

/// What is known of somebody who is to be erased.
pub(in crate::cli) enum Erasable {
    /// The directory or the change log knows the user with this id.
    Known(String),
    /// The change log knows users who were called so.
    Earlier(Vec<Incarnation>),
    /// Nobody knows any.
    Unknown,
}

impl Backend {
    /// A user, by id, username or email address.
    pub(in crate::cli) async fn user(&self, name: &str) -> Result<User> {
        match self {
            Self::Database(database) => existing(database, SubjectKind::User, name, query::find_user).await,
            Self::Server(client) => client.get(&["users", name]).answer().await,
        }
    }

    /// A unit, by id or path.
    pub(in crate::cli) async fn unit(&self, name: &str) -> Result<Unit> {
        match self {
            Self::Database(database) => existing(database, SubjectKind::Unit, name, query::find_unit).await,
            Self::Server(client) => client.get(&["organizational-units", name]).answer().await,
        }
    }

    /// A unit with its path.
    pub(in crate::cli) async fn unit_at(&self, name: &str) -> Result<UnitAt> {
        match self {
            Self::Database(database) => {
                let unit = self.unit(name).await?;
                let id = unit.id.clone();
                let path = database.hub.db.read(move |tx| query::unit_path(tx, &id)).await?;
                Ok(UnitAt { unit, path })
            }
            Self::Server(client) => client.get(&["organizational-units", name]).answer().await,
        }
    }

    /// A group, by id or name.
    pub(in crate::cli) async fn group(&self, name: &str) -> Result<Group> {
        match self {
            Self::Database(database) => existing(database, SubjectKind::Group, name, query::find_group).await,
            Self::Server(client) => client.get(&["groups", name]).answer().await,
        }
    }

    /// The groups that a user is in, by name.
    pub(in crate::cli) async fn groups_of(&self, user: &User) -> Result<Vec<Group>> {
        match self {
            Self::Database(database) => {
                let ids = user.groups.clone();
                Ok(database.hub.db.read(move |tx| query::groups(tx, &ids)).await?)
            }
            Self::Server(client) => {
                let groups = client.get(&["users", &user.id, "groups"]);
                client.list(groups, usize::MAX).await
            }
        }
    }

    /// Users by username, those after one.
    pub(in crate::cli) async fn users(
        &self,
        wanted: &Wanted,
        after: &str,
        limit: usize,
    ) -> Result<Vec<User>> {
        match self {
            Self::Database(database) => Ok(listing::users(&database.hub.db, wanted, after, limit).await?),
            Self::Server(client) => {
                let users = after_name(client.get(&["users"]), after)
                    .with_some("organizationalUnitId", wanted.unit_id.as_ref())
                    .with_some("search", wanted.search.as_ref());
                client.list(users, limit).await
            }
        }
    }

    /// How many users there are, or directly in a unit; `None` if that cannot be told without reading them.
    pub(in crate::cli) async fn count_users(&self, unit_id: Option<String>) -> Result<Option<u64>> {
        match self {
            Self::Database(database) => {
                let count = move |tx: &mut Tx<'_>| search::count_users(tx, unit_id.as_deref());
                Ok(Some(database.hub.db.read(count).await?))
            }
            Self::Server(client) if unit_id.is_none() => count(client, "users").await,
            Self::Server(_) => Ok(None),
        }
    }

    /// Groups by name, those after one.
    pub(in crate::cli) async fn groups(
        &self,
        wanted: &Wanted,
        after: &str,
        limit: usize,
    ) -> Result<Vec<Group>> {
        match self {
            Self::Database(database) => Ok(listing::groups(&database.hub.db, wanted, after, limit).await?),
            Self::Server(client) => {
                let groups =
                    after_name(client.get(&["groups"]), after).with_some("search", wanted.search.as_ref());
                client.list(groups, limit).await
            }
        }
    }

    /// How many groups there are; `None` if that cannot be told.
    pub(in crate::cli) async fn count_groups(&self) -> Result<Option<u64>> {
        match self {
            Self::Database(database) => Ok(Some(database.hub.db.read(search::count_groups).await?)),
            Self::Server(client) => count(client, "groups").await,
        }
    }

    /// The members of a group, by username.
    pub(in crate::cli) async fn members(&self, group_id: &str) -> Result<Vec<Member>> {
        match self {
            Self::Database(database) => {
                let id = group_id.to_owned();
                let read = move |tx: &mut Tx<'_>| query::usernames_after(tx, &id, "", usize::MAX);
                Ok(database.hub.db.read(read).await?)
            }
            Self::Server(client) => {
                let members = client.get(&["groups", group_id, "users"]);
                client.list(members, usize::MAX).await
            }
        }
    }

    /// The units directly below one, or those at any depth below it in whose names a text stands.
    pub(in crate::cli) async fn units(&self, below: &str, search: Option<String>) -> Result<Vec<UnitAt>> {
        match self {
            Self::Database(database) => {
                let id = self.unit(below).await?.id;
                let list = move |tx: &mut Tx<'_>| query::list_units(tx, &id, search.as_deref());
                Ok(database.hub.db.read(list).await?)
            }
            Self::Server(client) => {
                let units = client
                    .get(&["organizational-units"])
                    // Whoever sees a part of the directory begins at the topmost units of that.
                    .with_some("parentId", Some(below).filter(|below| *below != "/"))
                    .with_some("search", search);
                client.list(units, usize::MAX).await
            }
        }
    }

    /// Applies a command to the directory.
    pub(in crate::cli) async fn apply(&self, command: Command) -> Result<Applied> {
        match self {
            Self::Database(database) => Ok(database.hub.apply(caller(), command).await?),
            Self::Server(client) => request(client, &command)?.answer().await,
        }
    }

    /// Makes a user, with a password if there is one.
    pub(in crate::cli) async fn create_user(
        &self,
        new: NewUser,
        password: Option<SecretString>,
    ) -> Result<Applied> {
        match self {
            Self::Database(database) => {
                let prepare = |password| NewPassword::prepare(password, &*database.hub.random);
                let password = password.map(prepare).transpose()?;
                self.apply(Command::CreateUser(NewUser { password, ..new })).await
            }
            Self::Server(client) => {
                let mut body = json!(new);
                if let Some(password) = &password {
                    body["password"] = json!(password.expose_secret());
                }
                client.post(&["users"]).body(&body)?.once().answer().await
            }
        }
    }

    /// Sets a user's password.
    pub(in crate::cli) async fn set_password(&self, id: String, password: SecretString) -> Result<Applied> {
        match self {
            Self::Database(database) => {
                let password = NewPassword::prepare(password, &*database.hub.random)?;
                self.apply(Command::SetPassword { id, password }).await
            }
            Self::Server(client) => {
                let body = json!({ "password": password.expose_secret() });
                client
                    .post(&["users", &id, "password"])
                    .body(&body)?
                    .answer()
                    .await
            }
        }
    }

    /// What the deletion of a unit would take along.
    pub(in crate::cli) async fn plan_deletion(&self, unit_id: &str) -> Result<DeletionPlan> {
        match self {
            Self::Database(database) => {
                let id = unit_id.to_owned();
                let plan = database.hub.db.read(move |tx| directory::plan_deletion(tx, &id));
                Ok(plan.await?)
            }
            Self::Server(client) => {
                let path = ["organizational-units", unit_id, "deletion"];
                client.get(&path).answer().await
            }
        }
    }

    /// Who would be erased.
    pub(in crate::cli) async fn erasable(&self, name: &str) -> Result<Erasable> {
        match self {
            Self::Database(database) => of_database(database, name).await,
            Self::Server(client) => {
                if let Some(user) = found::<User>(client.get(&["users", name]).answer().await)? {
                    return Ok(Erasable::Known(user.id));
                }
                // Somebody who was deleted; the hub says who that may be if there are several.
                let changes = client
                    .get(&["changes"])
                    .with("subject", name)
                    .with("newestFirst", true);
                let changes: Option<Vec<ShownChange>> = found(client.list(changes, 1).await)?;
                Ok(match changes.unwrap_or_default().into_iter().next() {
                    None => Erasable::Unknown,
                    Some(change) if change.subject_id == name => Erasable::Known(change.subject_id),
                    Some(change) => Erasable::Earlier(vec![earlier_one(&change, name)]),
                })
            }
        }
    }

    /// Deletes a user and erases every record of it.
    pub(in crate::cli) async fn erase(&self, id: &str) -> Result<Erased> {
        match self {
            Self::Database(database) => Ok(erasure::erase_user(&database.hub, &caller(), id).await?),
            Self::Server(client) => {
                let erase = client.post(&["users", id, "erase"]);
                erase.patiently().answer().await
            }
        }
    }
}

/// What a name names in the database.
async fn existing<T, E>(
    database: &Database,
    kind: SubjectKind,
    name: &str,
    find: fn(&mut Tx<'_>, &str) -> Result<Option<T>, E>,
) -> Result<T>
where
    T: Send + 'static,
    E: From<DbError> + std::error::Error + Send + Sync + 'static,
{
    let wanted = name.to_owned();
    let found = database.hub.db.read(move |tx| find(tx, &wanted)).await?;
    found.ok_or_else(|| directory::not_found(kind, name).into())
}

async fn of_database(database: &Database, name: &str) -> Result<Erasable> {
    let hub = &database.hub;
    let wanted = name.to_owned();
    let id = hub.db.read(move |tx| query::user_id(tx, &wanted)).await?;
    if erasure::is_known(hub, &id).await? {
        return Ok(Erasable::Known(id));
    }
    let wanted = name.to_owned();
    let others = hub.db.read(move |tx| earlier::named(tx, &wanted)).await?;
    Ok(match others.is_empty() {
        true => Erasable::Unknown,
        false => Erasable::Earlier(others),
    })
}

/// The user of a change, whom somebody calls so.
fn earlier_one(change: &ShownChange, name: &str) -> Incarnation {
    let username = change.name().unwrap_or_default().to_owned();
    let shared = match fold(&username) == fold(name) {
        true => "username",
        false => "email",
    };
    Incarnation {
        id: change.subject_id.clone(),
        username,
        in_directory: false,
        shares: [shared.into()].into(),
        changed_at: change.time,
    }
}

/// What was found; `None` if the hub says that there is none.
pub(super) fn found<T>(answer: Result<T>) -> Result<Option<T>> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(error) if refused(&error).is_some_and(|refused| refused.code == "not_found") => Ok(None),
        Err(error) => Err(error),
    }
}

fn after_name<'a>(request: Request<'a>, after: &str) -> Request<'a> {
    request.with_some("after", Some(after).filter(|after| !after.is_empty()))
}

/// How much there is of something; `None` for somebody who may not see that.
async fn count(client: &Client, what: &str) -> Result<Option<u64>> {
    let health: Result<serde_json::Value> = client.get(&["health"]).answer().await;
    Ok(health.ok().and_then(|health| health["subjects"][what].as_u64()))
}

/// The request that is a command.
fn request<'a>(client: &'a Client, command: &Command) -> Result<Request<'a>> {
    const UNITS: &str = "organizational-units";
    Ok(match command {
        Command::CreateUnit(new) => client.post(&[UNITS]).body(new)?.once(),
        Command::UpdateUnit { id, changes } => client.patch(&[UNITS, id]).body(changes)?,
        Command::MoveUnit { id, parent_id } => {
            let body = json!({ "parentId": parent_id });
            client.post(&[UNITS, id, "move"]).body(&body)?
        }
        Command::DeleteUnit {
            id,
            cascade: Cascade::No,
        } => client.delete(&[UNITS, id]),
        Command::DeleteUnit {
            id,
            cascade: Cascade::Confirmed(token),
        } => client
            .delete(&[UNITS, id])
            .with("cascade", true)
            .with("confirm", token),
        Command::CreateUser(new) => client.post(&["users"]).body(new)?.once(),
        Command::UpdateUser { id, changes } => client.patch(&["users", id]).body(changes)?,
        Command::EnableUser { id } => client.post(&["users", id, "enable"]),
        Command::DisableUser { id } => client.post(&["users", id, "disable"]),
        Command::LockUser { id, until } => {
            let body = json!({ "until": until });
            client.post(&["users", id, "lock"]).body(&body)?
        }
        Command::UnlockUser { id } => client.post(&["users", id, "unlock"]),
        Command::SetUnits { id, primary, further } => {
            let body = json!({ "primary": primary, "further": further });
            client.post(&["users", id, UNITS]).body(&body)?
        }
        Command::DeleteUser { id } => client.delete(&["users", id]),
        Command::CreateGroup(new) => client.post(&["groups"]).body(new)?.once(),
        Command::UpdateGroup { id, changes } => client.patch(&["groups", id]).body(changes)?,
        Command::DeleteGroup { id } => client.delete(&["groups", id]),
        Command::AddMembers { group_id, user_ids } => {
            let body = json!({ "userIds": user_ids });
            client.post(&["groups", group_id, "members"]).body(&body)?
        }
        Command::RemoveMembers { group_id, user_ids } => {
            let body = json!({ "userIds": user_ids });
            client
                .post(&["groups", group_id, "members", "remove"])
                .body(&body)?
        }
        // A password goes its own way, and the rest is nobody's command.
        Command::SetPassword { .. }
        | Command::DeleteUnit {
            cascade: Cascade::Yes,
            ..
        }
        | Command::ExpireDue => bail!("the administrator's API has no request that does this"),
    })
}
