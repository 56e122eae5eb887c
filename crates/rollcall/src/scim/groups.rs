//! Groups.

use std::collections::{HashMap, HashSet};

use rollcall_db::Tx;
use rollcall_scim::patch::{GroupChange, Member, MemberKind, Members};
use rollcall_scim::{Error, Object, Patch, ScimType, schema};
use serde_json::{Value, json};

use super::{Expected, Kind, Provider, ScimError, missing};
use crate::connection::groups::{self, Kept};
use crate::connection::{source, users};
use crate::directory::{Command, GroupChanges, NewGroup};

/// How many members an answer names at most.
const MOST_MEMBERS: usize = 200_000;

/// Up to so many members a group may have to be shown whole after a part of it was changed. Such a change of a larger one
/// is answered without it: who adds one member to a hundred thousand does not want to read them.
const SHOWN_MEMBERS: usize = 100;

/// A group that is to be, as a connection says it.
#[derive(Clone, Debug)]
struct Said {
    name: String,
    external_id: Option<String>,
    /// `None` if nothing was said of members.
    members: Option<Vec<String>>,
}

/// The ids of members, each once. Only users can be members.
fn user_ids(members: &[Member]) -> Result<Vec<String>, ScimError> {
    let mut seen = HashSet::new();
    let mut ids = Vec::with_capacity(members.len());
    for member in members {
        if member.kind == MemberKind::Group {
            let detail = format!("members: {:?} is a group, and groups have users alone", member.id);
            return Err(Error::of(ScimType::InvalidValue, detail).into());
        }
        if seen.insert(member.id.as_str()) {
            ids.push(member.id.clone());
        }
    }
    Ok(ids)
}

impl Said {
    fn read(body: Value, provider: &Provider) -> Result<Self, ScimError> {
        let says_members = body
            .as_object()
            .is_some_and(|body| body.keys().any(|key| key.eq_ignore_ascii_case("members")));
        let resource = schema::group().read(body, provider.strictness())?;
        let text = |name: &str| resource.get(name).and_then(Value::as_str).map(str::to_owned);
        let members = match resource.get("members") {
            Some(Value::Array(listed)) => {
                let members: Vec<Member> = listed.iter().map(Member::read).collect::<Result<_, _>>()?;
                Some(user_ids(&members)?)
            }
            // An empty list is nobody. By the standard so is a list that is not there, but there are clients that
            // leave the members out when they rename a group.
            _ if says_members || provider.strictness().is_strict() => Some(Vec::new()),
            _ => None,
        };
        Ok(Self {
            name: text("displayName").unwrap_or_default(),
            external_id: text("externalId"),
            members,
        })
    }
}

impl Provider {
    /// The resource of a group, with these members.
    pub(super) fn group_resource(&self, kept: &Kept, members: Vec<Value>) -> Object {
        let version = format!("{}-{}", kept.changed_time, kept.changed_at);
        let times = (kept.create_time, kept.changed_time);
        let mut resource = json!({
            "schemas": [schema::GROUP],
            "id": kept.id,
            "displayName": kept.name,
            "meta": self.meta(Kind::Group, &kept.id, times, &version),
        });
        if let Some(external_id) = &kept.external_id {
            resource["externalId"] = external_id.as_str().into();
        }
        if !members.is_empty() {
            resource["members"] = members.into();
        }
        match resource {
            Value::Object(resource) => resource,
            _ => Object::new(),
        }
    }

    /// The resources of groups; with their members by one more statement, if those are wanted.
    pub(super) fn group_resources(
        &self,
        tx: &mut Tx<'_>,
        kept: &[Kept],
        with_members: bool,
    ) -> Result<Vec<Object>, ScimError> {
        let mut members: HashMap<String, Vec<Value>> = HashMap::new();
        if with_members && !kept.is_empty() {
            let ids: Vec<String> = kept.iter().map(|kept| kept.id.clone()).collect();
            let found = groups::members(tx, &self.connection.id, &ids, MOST_MEMBERS + 1)?;
            if found.len() > MOST_MEMBERS {
                let detail = format!(
                    "these groups have more than {MOST_MEMBERS} members; ask with excludedAttributes=members, or for \
                     fewer groups"
                );
                return Err(Error::of(ScimType::TooMany, detail).into());
            }
            for member in found {
                let to = self.location(Kind::User, &member.user_id);
                members.entry(member.group_id).or_default().push(json!({
                    "value": member.user_id, "$ref": to, "type": "User",
                }));
            }
        }
        let mut of = |kept: &Kept| members.remove(&kept.id).unwrap_or_default();
        Ok(kept
            .iter()
            .map(|kept| {
                let members = of(kept);
                self.group_resource(kept, members)
            })
            .collect())
    }

    fn load_group(&self, tx: &mut Tx<'_>, id: &str) -> Result<Kept, ScimError> {
        groups::ROWS
            .get(tx, &self.connection.id, id)?
            .ok_or_else(|| missing(Kind::Group, id))
    }

    /// Reads a group that is to be changed, if it is what the client has read.
    fn open_group(&self, tx: &mut Tx<'_>, id: &str, expected: &Expected) -> Result<Kept, ScimError> {
        let kept = self.load_group(tx, id)?;
        expected.check(&self.group_resource(&kept, Vec::new()))?;
        Ok(kept)
    }

    pub(super) async fn group(&self, id: String, with_members: bool) -> Result<Object, ScimError> {
        let provider = self.clone();
        let reading = self
            .hub
            .db
            .read(move |tx| provider.shown_group(tx, &id, with_members));
        reading.await
    }

    fn shown_group(&self, tx: &mut Tx<'_>, id: &str, with_members: bool) -> Result<Object, ScimError> {
        let kept = self.load_group(tx, id)?;
        let shown = self.group_resources(tx, &[kept], with_members)?.pop();
        Ok(shown.unwrap_or_default())
    }

    fn update_group(&self, tx: &mut Tx<'_>, id: &str, changes: GroupChanges) -> Result<(), ScimError> {
        let id = id.to_owned();
        self.command(tx, &Command::UpdateGroup { id, changes })?;
        Ok(())
    }

    /// The group as it is now; `None` if it has too many members to be shown after each change.
    fn changed_group(&self, tx: &mut Tx<'_>, id: &str) -> Result<Option<Object>, ScimError> {
        let kept = self.load_group(tx, id)?;
        let few = groups::members(tx, &self.connection.id, &[id.to_owned()], SHOWN_MEMBERS + 1)?;
        if few.len() > SHOWN_MEMBERS {
            return Ok(None);
        }
        Ok(self.group_resources(tx, &[kept], true)?.pop())
    }

    /// Adds users, who have to be the connection's own.
    fn add(&self, tx: &mut Tx<'_>, id: &str, user_ids: Vec<String>) -> Result<(), ScimError> {
        if user_ids.is_empty() {
            return Ok(());
        }
        let owned = users::owned(tx, &self.connection.id, &user_ids)?;
        if let Some(other) = user_ids.iter().find(|id| !owned.contains(*id)) {
            let detail = format!("members: there is no user {other:?}");
            return Err(Error::of(ScimType::InvalidValue, detail).into());
        }
        let group_id = id.to_owned();
        self.command(tx, &Command::AddMembers { group_id, user_ids })?;
        Ok(())
    }

    /// Removes users; those who are not the connection's own are passed over, as they are not shown either.
    fn remove(&self, tx: &mut Tx<'_>, id: &str, user_ids: Vec<String>) -> Result<(), ScimError> {
        if user_ids.is_empty() {
            return Ok(());
        }
        let owned = users::owned(tx, &self.connection.id, &user_ids)?;
        let user_ids: Vec<String> = user_ids.into_iter().filter(|id| owned.contains(id)).collect();
        if !user_ids.is_empty() {
            let group_id = id.to_owned();
            self.command(tx, &Command::RemoveMembers { group_id, user_ids })?;
        }
        Ok(())
    }

    /// Makes these users the only members among the connection's own.
    fn only(&self, tx: &mut Tx<'_>, id: &str, user_ids: Vec<String>) -> Result<(), ScimError> {
        let wanted: HashSet<&String> = user_ids.iter().collect();
        let leaving: Vec<String> = groups::member_ids(tx, &self.connection.id, id)?
            .into_iter()
            .filter(|member| !wanted.contains(member))
            .collect();
        self.remove(tx, id, leaving)?;
        self.add(tx, id, user_ids)
    }

    pub(super) async fn create_group(&self, body: Value) -> Result<Object, ScimError> {
        let said = Said::read(body, self)?;
        let provider = self.clone();
        let making = self.hub.db.write(move |tx| {
            let Said {
                name,
                external_id,
                members,
            } = said.clone();
            let new = NewGroup {
                name,
                external_id,
                source: source(&provider.connection.id),
                ..NewGroup::default()
            };
            let id = provider.command(tx, &Command::CreateGroup(new))?;
            provider.add(tx, &id, members.unwrap_or_default())?;
            provider.shown_group(tx, &id, true)
        });
        making.await
    }

    pub(super) async fn replace_group(
        &self,
        id: String,
        body: Value,
        expected: Expected,
    ) -> Result<Object, ScimError> {
        let said = Said::read(body, self)?;
        let provider = self.clone();
        let replacing = self.hub.db.write(move |tx| {
            provider.open_group(tx, &id, &expected)?;
            let Said {
                name,
                external_id,
                members,
            } = said.clone();
            let changes = GroupChanges {
                name: Some(name),
                external_id: Some(external_id),
                ..GroupChanges::default()
            };
            provider.update_group(tx, &id, changes)?;
            if let Some(members) = members {
                provider.only(tx, &id, members)?;
            }
            // Whoever has sent all of a group is answered with all of it, as the standard wants.
            provider.shown_group(tx, &id, true)
        });
        replacing.await
    }

    pub(super) async fn patch_group(
        &self,
        id: String,
        body: Value,
        expected: Expected,
    ) -> Result<Option<Object>, ScimError> {
        let patch = Patch::read(body, schema::group(), self.strictness())?;
        let GroupChange {
            display_name,
            external_id,
            members,
        } = GroupChange::plan(&patch)?;
        let (only, add, remove) = match members {
            Members::Replace(members) => (Some(user_ids(&members)?), Vec::new(), Vec::new()),
            Members::Change { add, remove } => (None, user_ids(&add)?, remove),
        };
        let changes = GroupChanges {
            name: display_name,
            external_id,
            ..GroupChanges::default()
        };
        let provider = self.clone();
        let patching = self.hub.db.write(move |tx| {
            provider.open_group(tx, &id, &expected)?;
            provider.update_group(tx, &id, changes.clone())?;
            match &only {
                Some(only) => provider.only(tx, &id, only.clone())?,
                None => {
                    provider.remove(tx, &id, remove.clone())?;
                    provider.add(tx, &id, add.clone())?;
                }
            }
            provider.changed_group(tx, &id)
        });
        patching.await
    }

    pub(super) async fn delete_group(&self, id: String, expected: Expected) -> Result<(), ScimError> {
        let provider = self.clone();
        let deleting = self.hub.db.write(move |tx| {
            provider.open_group(tx, &id, &expected)?;
            provider.command(tx, &Command::DeleteGroup { id: id.clone() })?;
            Ok::<_, ScimError>(())
        });
        deleting.await
    }
}
