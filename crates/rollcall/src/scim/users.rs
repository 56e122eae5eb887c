//! Users.

use std::collections::HashMap;
use std::sync::Arc;

use rollcall_db::{DbError, Tx};
use rollcall_scim::patch::{Operation, Target};
use rollcall_scim::{Object, Patch, Path, schema};
use serde_json::{Value, json};

use super::record::Record;
use super::{Expected, Kind, Provider, ScimError, missing, taken};
use crate::access::{Authority, Caller};
use crate::connection::users::{self, InGroup, Kept};
use crate::connection::{TakesOver, source};
use crate::directory::{Command, NewPassword, NewUser, UserChanges};
use crate::secret::SecretString;

/// What of a resource is never kept.
const PASSWORD: &str = "password";

/// Takes the password out of a resource.
fn take_password(resource: &mut Object) -> Option<String> {
    match resource.remove(PASSWORD) {
        Some(Value::String(password)) if !password.is_empty() => Some(password),
        _ => None,
    }
}

/// The password that a PATCH sets.
fn password_of(patch: &Patch) -> Option<String> {
    let is_password = |operation: &&Operation| {
        matches!(&operation.target, Target::Path(Path::Attribute(path))
            if path.schema.is_none() && path.name == PASSWORD)
    };
    let last = patch.operations.iter().rfind(is_password)?;
    Some(last.value.as_ref()?.as_str()?.to_owned()).filter(|password| !password.is_empty())
}

impl Provider {
    /// The resource of a user.
    pub(super) fn user_resource(&self, kept: &Kept, groups: &[InGroup]) -> Object {
        let mut resource = kept.resource.clone();
        // The directory knows better whether somebody may sign in, where the one is said by the other. Of what nothing
        // was said, or not any more, nothing is told.
        if resource.contains_key("active") && self.connection.expression("enabled") == Some("active") {
            resource.insert("active".to_owned(), kept.enabled.into());
        }
        if !groups.is_empty() {
            let groups: Vec<Value> = groups
                .iter()
                .map(|group| {
                    let to = self.location(Kind::Group, &group.id);
                    json!({ "value": group.id, "$ref": to, "display": group.name, "type": "direct" })
                })
                .collect();
            resource.insert("groups".to_owned(), groups.into());
        }
        let times = (kept.create_time, kept.update_time.max(kept.said_time));
        let version = format!("{}-{}", kept.update_time, kept.said_time);
        resource.insert("id".to_owned(), kept.id.clone().into());
        resource.insert(
            "meta".to_owned(),
            self.meta(Kind::User, &kept.id, times, &version),
        );
        resource
    }

    /// The resources of users, with their groups, by one more statement.
    pub(super) fn user_resources(&self, tx: &mut Tx<'_>, kept: &[Kept]) -> Result<Vec<Object>, DbError> {
        let ids: Vec<String> = kept.iter().map(|kept| kept.id.clone()).collect();
        let groups = match ids.is_empty() {
            true => HashMap::new(),
            false => users::groups_of(tx, &self.connection.id, &ids)?,
        };
        let of = |kept: &Kept| groups.get(&kept.id).map_or(&[][..], Vec::as_slice);
        Ok(kept
            .iter()
            .map(|kept| self.user_resource(kept, of(kept)))
            .collect())
    }

    fn load_user(&self, tx: &mut Tx<'_>, id: &str) -> Result<(Kept, Object), ScimError> {
        let kept = users::ROWS
            .get(tx, &self.connection.id, id)?
            .ok_or_else(|| missing(Kind::User, id))?;
        let resource = self.user_resources(tx, std::slice::from_ref(&kept))?.pop();
        Ok((kept, resource.unwrap_or_default()))
    }

    pub(super) async fn user(&self, id: String) -> Result<Object, ScimError> {
        let provider = self.clone();
        let reading = self.hub.db.read(move |tx| provider.load_user(tx, &id));
        Ok(reading.await?.1)
    }

    /// Hashes a password, which takes long on purpose.
    async fn prepare(&self, password: Option<String>) -> Result<Option<NewPassword>, ScimError> {
        let Some(password) = password else { return Ok(None) };
        let random = Arc::clone(&self.hub.random);
        let hashing =
            tokio::task::spawn_blocking(move || NewPassword::prepare(SecretString::from(password), &*random));
        let hashed = hashing.await.map_err(|error| DbError::Other(error.to_string()))?;
        Ok(Some(hashed?))
    }

    /// Carries out a command as the connection.
    pub(super) fn command(&self, tx: &mut Tx<'_>, command: &Command) -> Result<String, ScimError> {
        Ok(self.hub.apply_in(tx, &self.caller, command)?.id)
    }

    pub(super) async fn create_user(&self, body: Value) -> Result<Object, ScimError> {
        let mut said = schema::user().read(body, self.strictness())?;
        let password = take_password(&mut said);
        let record = Record::of(&self.connection, &said)?;
        let password = self.prepare(password).await?;
        let provider = self.clone();
        let making = self.hub.db.write(move |tx| {
            provider.check_user_name(tx, &said, None)?;
            let id = match provider.to_take_over(tx, &record)? {
                Some(id) => provider.take_over(tx, id, &record, password.as_ref())?,
                None => {
                    let new = record.new_user(&provider.connection)?;
                    let password = password.clone();
                    let new = NewUser { password, ..new };
                    provider.command(tx, &Command::CreateUser(new))?
                }
            };
            let now = provider.hub.clock.now();
            users::keep(tx, &provider.connection.id, &id, &said, now)?;
            Ok::<_, ScimError>(provider.load_user(tx, &id)?.1)
        });
        making.await
    }

    /// Refuses a `userName` that another user of the connection has.
    fn check_user_name(&self, tx: &mut Tx<'_>, said: &Object, own: Option<&str>) -> Result<(), ScimError> {
        let name = said.get("userName").and_then(Value::as_str).unwrap_or_default();
        let same = users::named(tx, &self.connection.id, name)?;
        match same.iter().any(|other| own != Some(other.id.as_str())) {
            true => Err(taken(format!("the userName {name:?} is taken"))),
            false => Ok(()),
        }
    }

    /// Who is there already and becomes the connection's own, as its settings say.
    fn to_take_over(&self, tx: &mut Tx<'_>, record: &Record) -> Result<Option<String>, ScimError> {
        let (username, email) = match self.connection.takes_over {
            TakesOver::Never => return Ok(None),
            TakesOver::Username => (Some(record.username()?), None),
            TakesOver::Email => (None, record.email()),
        };
        if username.is_none() && email.is_none() {
            return Ok(None);
        }
        // What is a connection's own already is in the way, and the directory says so.
        let there = users::there(tx, username.as_deref(), email.as_deref())?;
        Ok(there.filter(|there| !there.is_owned).map(|there| there.id))
    }

    /// Makes a user the connection's own. This is the one act that reaches beyond what is its own already; that it may
    /// say its settings.
    fn take_over(
        &self,
        tx: &mut Tx<'_>,
        id: String,
        record: &Record,
        password: Option<&NewPassword>,
    ) -> Result<String, ScimError> {
        let beyond: Caller = self.caller.clone().within(Authority::Everything);
        let changes = UserChanges {
            source: Some(source(&self.connection.id)),
            ..record.changes(&Record::default(), true)
        };
        let taken = Command::UpdateUser {
            id: id.clone(),
            changes,
        };
        self.hub.apply_in(tx, &beyond, &taken)?;
        self.settle_user(tx, &id, record.enabled()?, password)?;
        Ok(id)
    }

    /// Lets a user sign in, or not, and sets the password.
    fn settle_user(
        &self,
        tx: &mut Tx<'_>,
        id: &str,
        enabled: Option<bool>,
        password: Option<&NewPassword>,
    ) -> Result<(), ScimError> {
        let id = || id.to_owned();
        match enabled {
            Some(true) => drop(self.command(tx, &Command::EnableUser { id: id() })?),
            Some(false) => drop(self.command(tx, &Command::DisableUser { id: id() })?),
            None => {}
        }
        if let Some(password) = password {
            let password = password.clone();
            self.command(tx, &Command::SetPassword { id: id(), password })?;
        }
        Ok(())
    }

    /// Keeps what is said of a user now, and makes it true in the directory.
    fn say(
        &self,
        tx: &mut Tx<'_>,
        (before, shown): (&Kept, &Object),
        said: &Object,
        (password, all): (Option<&NewPassword>, bool),
    ) -> Result<Object, ScimError> {
        let id = &before.id;
        self.check_user_name(tx, said, Some(id))?;
        let was = Record::of(&self.connection, shown)?;
        let is = Record::of(&self.connection, said)?;
        is.username()?;
        let changes = is.changes(&was, all);
        self.command(
            tx,
            &Command::UpdateUser {
                id: id.clone(),
                changes,
            },
        )?;
        let enabled = is.enabled()?.filter(|enabled| {
            let is_said = all || was.enabled().ok().flatten() != Some(*enabled);
            is_said && before.enabled != *enabled
        });
        self.settle_user(tx, id, enabled, password)?;
        if *said != before.resource {
            let said_time = self.hub.clock.now().max(before.said_time + 1);
            users::keep(tx, &self.connection.id, id, said, said_time)?;
        }
        Ok(self.load_user(tx, id)?.1)
    }

    pub(super) async fn replace_user(
        &self,
        id: String,
        body: Value,
        expected: Expected,
    ) -> Result<Object, ScimError> {
        let mut said = schema::user().read(body, self.strictness())?;
        let password = take_password(&mut said);
        let password = self.prepare(password).await?;
        let provider = self.clone();
        let replacing = self.hub.db.write(move |tx| {
            let (before, shown) = provider.load_user(tx, &id)?;
            expected.check(&shown)?;
            schema::user().check_immutable(&before.resource, &said)?;
            provider.say(tx, (&before, &shown), &said, (password.as_ref(), true))
        });
        replacing.await
    }

    pub(super) async fn patch_user(
        &self,
        id: String,
        body: Value,
        expected: Expected,
    ) -> Result<Object, ScimError> {
        let patch = Patch::read(body, schema::user(), self.strictness())?;
        let password = self.prepare(password_of(&patch)).await?;
        let provider = self.clone();
        let patching = self.hub.db.write(move |tx| {
            let (before, shown) = provider.load_user(tx, &id)?;
            expected.check(&shown)?;
            // What only the service provider sets is not said by anybody.
            let mut editable = shown.clone();
            for name in ["id", "meta", "groups"] {
                editable.remove(name);
            }
            let mut said = patch.apply(&editable, schema::user())?;
            take_password(&mut said);
            schema::user().check_required(&said)?;
            provider.say(tx, (&before, &shown), &said, (password.as_ref(), false))
        });
        patching.await
    }

    pub(super) async fn delete_user(&self, id: String, expected: Expected) -> Result<(), ScimError> {
        let provider = self.clone();
        let deleting = self.hub.db.write(move |tx| {
            let (_, shown) = provider.load_user(tx, &id)?;
            expected.check(&shown)?;
            provider.command(tx, &Command::DeleteUser { id: id.clone() })?;
            Ok::<_, ScimError>(())
        });
        deleting.await
    }
}
