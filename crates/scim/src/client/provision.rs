//! One resource on its way to what it has to be.

use serde_json::{Value, json};

use super::call::{Call, Method, Outcome, Reply, Step};
use super::{Managed, Profile, Update};
use crate::Object;
use crate::error::ScimType;
use crate::filter::{Filter, Literal, Operator};
use crate::name::AttrPath;
use crate::patch::{Kind, Operation, PATCH_SCHEMA, Patch, Target};
use crate::path::Path;
use crate::schema::ResourceType;

/// How often a resource that changes meanwhile is read again.
const READ_AGAIN: u32 = 3;

/// What is known of a resource at the service provider.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Known {
    /// The service provider's id for it.
    pub id: String,
    /// What it was told last, without what it was not told; `None` if that is not known.
    pub last: Option<Object>,
    /// The version, if the service provider tells one and it is wanted.
    pub etag: Option<String>,
    /// Whether it was disabled because whom it stands for has left.
    pub disabled: bool,
}

/// What has to be.
#[derive(Clone, Debug, PartialEq)]
pub enum Goal {
    /// It is there, so.
    Present(Object),
    /// If it is there, it is not active. Where it is replaced as a whole, it becomes this, but for that.
    Disabled(Object),
    /// It is not there.
    Deleted,
}

/// One resource on its way.
#[derive(Clone, Debug)]
pub struct Provision<'a> {
    types: &'a ResourceType,
    profile: &'a Profile,
    managed: &'a Managed,
    update: Update,
    /// The client's id, which the resource bears as `externalId`.
    key: String,
    goal: Goal,
    /// Whether it is made if it is not there.
    makes: bool,
    state: State,
    /// Whether it was looked for because what was known is not there.
    lost: bool,
    /// Whether it was made, and its id not said.
    made: bool,
    /// How often it changed between reading and changing it.
    stale: u32,
}

#[derive(Clone, Debug)]
enum State {
    /// It is looked for.
    Find {
        by: Key,
        after_conflict: bool,
    },
    /// Somebody has its name.
    Claim(Object),
    Create,
    Read(String),
    Update {
        id: String,
        call: Call,
    },
    Delete(String),
    Over(Outcome),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    ExternalId,
    Name,
}

impl<'a> Provision<'a> {
    /// A resource of a type, of which so much is known.
    pub fn new(
        types: &'a ResourceType,
        profile: &'a Profile,
        managed: &'a Managed,
        update: Update,
        key: impl Into<String>,
        goal: Goal,
        known: Option<Known>,
    ) -> Self {
        let mut provision = Self {
            types,
            profile,
            managed,
            update,
            key: key.into(),
            goal,
            makes: true,
            state: State::Create,
            lost: false,
            made: false,
            stale: 0,
        };
        provision.state = provision.begin(known);
        provision
    }

    /// The same, but what is not there is not made.
    #[must_use]
    pub fn only_if_there(self) -> Self {
        Self { makes: false, ..self }
    }

    /// What comes next.
    pub fn step(&self) -> Step {
        let call = |method| Call::new(method, &self.types.endpoint);
        match &self.state {
            State::Find { by, .. } => Step::Send(self.search(*by)),
            State::Claim(resource) => Step::Claim(id_of(resource).unwrap_or_default()),
            State::Create => match &self.goal {
                Goal::Present(wanted) | Goal::Disabled(wanted) => {
                    Step::Send(call(Method::Post).with(wanted.clone().into()))
                }
                Goal::Deleted => Step::Over(Outcome::Told(None)),
            },
            State::Read(id) => Step::Send(self.without_members(call(Method::Get).of(id))),
            State::Update { call, .. } => Step::Send(call.clone()),
            State::Delete(id) => Step::Send(call(Method::Delete).of(id)),
            State::Over(outcome) => Step::Over(outcome.clone()),
        }
    }

    /// Takes the answer to the request of the present step.
    pub fn answer(&mut self, reply: &Reply) {
        let state = std::mem::replace(&mut self.state, State::Create);
        self.state = match state {
            State::Find { by, after_conflict } => self.searched(by, after_conflict, reply),
            State::Create => self.created(reply),
            State::Read(_) => match reply.status {
                404 => self.is_lost(reply),
                _ if reply.is_success() => match self.read(reply.body.clone()) {
                    Some(resource) => self.found(&resource, reply.etag.clone()),
                    None => State::Over(reply.verdict()),
                },
                _ => State::Over(reply.verdict()),
            },
            State::Update { id, .. } => self.updated(id, reply),
            State::Delete(_) if reply.is_success() => State::Over(Outcome::Told(None)),
            // What is known is gone, but it may have been made again, and nobody has heard of that.
            State::Delete(_) if reply.status == 404 && !self.lost && self.profile.finds_external_ids => {
                self.is_lost(reply)
            }
            State::Delete(_) if reply.status == 404 => State::Over(Outcome::Told(None)),
            State::Delete(_) => State::Over(reply.verdict()),
            state @ (State::Claim(_) | State::Over(_)) => state,
        };
    }

    /// Says whether the resource of [`Step::Claim`] is kept for nobody else.
    pub fn claim(&mut self, is_free: bool) {
        let state = std::mem::replace(&mut self.state, State::Create);
        self.state = match state {
            State::Claim(resource) if is_free => self.found(&resource, None),
            State::Claim(_) => taken(),
            state => state,
        };
    }

    fn begin(&mut self, known: Option<Known>) -> State {
        let Some(known) = known else {
            return self.look();
        };
        match &self.goal {
            Goal::Present(wanted) if !known.disabled && known.last.as_ref() == Some(wanted) => {
                State::Over(Outcome::Told(Some(known)))
            }
            Goal::Disabled(_) if known.disabled => State::Over(Outcome::Told(Some(known))),
            Goal::Deleted => State::Delete(known.id),
            Goal::Present(_) if self.update == Update::Patch && known.last.is_none() => State::Read(known.id),
            // What is not known cannot be put.
            Goal::Disabled(last) if self.update == Update::Put && !self.is_whole(last) => {
                State::Read(known.id)
            }
            Goal::Present(_) | Goal::Disabled(_) => self.renew(known.id, known.last.as_ref(), known.etag),
        }
    }

    /// Whether a resource has what none may be without. Of whoever is gone for long, only the id may be left.
    fn is_whole(&self, resource: &Object) -> bool {
        resource.contains_key(self.name())
    }

    /// Begins to look for it.
    fn look(&self) -> State {
        let by = match self.profile.finds_external_ids {
            true => Key::ExternalId,
            false => Key::Name,
        };
        State::Find {
            by,
            after_conflict: false,
        }
    }

    /// The attribute that a resource of the type has its name in.
    fn name(&self) -> &'static str {
        match self.types.schema.attribute("userName") {
            Some(_) => "userName",
            None => "displayName",
        }
    }

    fn wanted_name(&self) -> Option<&str> {
        match &self.goal {
            Goal::Present(wanted) | Goal::Disabled(wanted) => wanted.get(self.name())?.as_str(),
            Goal::Deleted => None,
        }
    }

    fn search(&self, by: Key) -> Call {
        let (attribute, value) = match by {
            Key::ExternalId => ("externalId", self.key.as_str()),
            Key::Name => (self.name(), self.wanted_name().unwrap_or_default()),
        };
        let filter = Filter::Compare {
            path: AttrPath::new(attribute),
            operator: Operator::Eq,
            value: Literal::String(value.to_owned()),
        };
        self.without_members(
            Call::new(Method::Get, &self.types.endpoint).asking("filter", filter.to_string()),
        )
    }

    /// Groups are read without their members, who may be many.
    fn without_members(&self, call: Call) -> Call {
        match self.types.schema.attribute("members") {
            Some(_) => call.asking("excludedAttributes", "members"),
            None => call,
        }
    }

    fn searched(&self, by: Key, after_conflict: bool, reply: &Reply) -> State {
        let resources = match reply.status {
            // Some answer so if there is nobody.
            404 => Vec::new(),
            _ if reply.is_success() => match self.listed(reply.body.as_ref()) {
                Some(resources) => resources,
                // Nobody is made because an answer cannot be read.
                None => return State::Over(reply.verdict()),
            },
            // Such a filter is not understood; by name is the other way. Any other 400 may be about anything, and nobody
            // is made because of it: they may be there, under the name that they had.
            400 | 501
                if by == Key::ExternalId
                    && (self.wanted_name().is_some() || self.lost)
                    && is_no_filter(reply) =>
            {
                Vec::new()
            }
            _ => return State::Over(reply.verdict()),
        };
        let text = |resource: &Object, name: &str| {
            let value = resource.get(name).and_then(Value::as_str);
            value.filter(|text| !text.is_empty()).map(str::to_owned)
        };
        let is_ours = |resource: &Object| text(resource, "externalId").as_deref() == Some(self.key.as_str());
        let has_name = |resource: &Object| {
            let names = text(resource, self.name());
            names
                .zip(self.wanted_name())
                .is_some_and(|(name, wanted)| name.to_lowercase() == wanted.to_lowercase())
        };
        // A service provider that passes over a filter answers with anybody, so what it answers is looked at.
        if let Some(ours) = resources.iter().find(|resource| is_ours(resource)) {
            return self.found(ours, None);
        }
        let is_leaving = !matches!(self.goal, Goal::Present(_));
        if is_leaving {
            // Whoever only has the same name is somebody else.
            return State::Over(Outcome::Told(None));
        }
        if let Some(named) = resources.into_iter().find(has_name) {
            return State::Claim(named);
        }
        match by {
            _ if after_conflict => taken(),
            // The names of groups need not be unique, so nobody says that one is taken; and where nothing is made, nobody
            // says so either.
            Key::ExternalId if self.name() == "displayName" || !self.makes => State::Find {
                by: Key::Name,
                after_conflict: false,
            },
            Key::ExternalId | Key::Name if self.made => State::Over(reply.verdict()),
            Key::ExternalId | Key::Name if self.makes => State::Create,
            Key::ExternalId | Key::Name => State::Over(Outcome::Told(None)),
        }
    }

    /// The resources of a list, as far as they can be read; `None` if it is no list.
    fn listed(&self, body: Option<&Value>) -> Option<Vec<Object>> {
        let list = body?.as_object()?;
        let resources = match list.get("Resources").or_else(|| list.get("resources")) {
            Some(resources) => resources.as_array()?.as_slice(),
            // An empty list needs none.
            None => list.get("totalResults").map(|_| [].as_slice())?,
        };
        let read = resources
            .iter()
            .filter_map(|resource| self.read(Some(resource.clone())));
        Some(read.collect())
    }

    /// A resource that the service provider answers with; `None` if it has no id or cannot be read.
    fn read(&self, body: Option<Value>) -> Option<Object> {
        let resource = self.types.read_answer(body?).ok()?;
        id_of(&resource).map(|_| resource)
    }

    /// It is there, as it was just read.
    fn found(&self, resource: &Object, etag: Option<String>) -> State {
        let Some(id) = id_of(resource) else {
            return State::Create;
        };
        let etag = etag.or_else(|| version_of(resource));
        match &self.goal {
            Goal::Deleted => State::Delete(id),
            Goal::Disabled(_) if resource.get("active") == Some(&Value::Bool(false)) => self.told(id, etag),
            Goal::Disabled(_) => self.renew(id, Some(resource), etag),
            Goal::Present(wanted) => {
                let present = self.managed.part_of(resource);
                // Members are not read, so nobody knows whether they are the same.
                let is_whole_group = self.update == Update::Put && wanted.contains_key("members");
                if present == self.managed.part_of(wanted) && !is_whole_group {
                    self.told(id, etag)
                } else {
                    self.renew(id, Some(&present), etag)
                }
            }
        }
    }

    /// Changes it from what it is to what it has to be.
    fn renew(&self, id: String, before: Option<&Object>, etag: Option<String>) -> State {
        let wanted = match &self.goal {
            Goal::Present(wanted) | Goal::Disabled(wanted) => wanted,
            Goal::Deleted => return State::Delete(id),
        };
        let if_match = etag.clone().filter(|_| self.profile.etags);
        let (method, body) = match self.update {
            Update::Put => {
                let mut whole = match before {
                    Some(there) if !self.is_whole(wanted) => there.clone(),
                    _ => wanted.clone(),
                };
                // These are the service provider's.
                whole.retain(|name, _| !["meta", "groups"].contains(&name.as_str()));
                whole.insert("id".to_owned(), id.clone().into());
                if let Goal::Disabled(_) = &self.goal {
                    whole.insert("active".to_owned(), false.into());
                }
                (Method::Put, Value::from(whole))
            }
            Update::Patch => {
                let patch = match &self.goal {
                    Goal::Disabled(_) => inactive(),
                    _ => {
                        let nothing = Object::new();
                        Patch::between(before.unwrap_or(&nothing), wanted, self.types)
                    }
                };
                if patch.operations.is_empty() {
                    return self.told(id, etag);
                }
                (Method::Patch, written(&patch, self.profile.paths))
            }
        };
        let call = Call::new(method, &self.types.endpoint).of(&id).with(body);
        State::Update {
            id,
            call: Call { if_match, ..call },
        }
    }

    fn created(&mut self, reply: &Reply) -> State {
        match reply.status {
            409 => State::Find {
                by: Key::Name,
                after_conflict: true,
            },
            _ if reply.is_success() => {
                let resource = reply.body.as_ref().and_then(Value::as_object);
                let id = resource.and_then(id_of).or_else(|| {
                    let location = reply.location.as_deref()?;
                    let last = location.trim_end_matches('/').rsplit('/').next()?;
                    Some(last.to_owned()).filter(|id| !id.is_empty())
                });
                let etag = reply.etag.clone().or_else(|| resource.and_then(version_of));
                match id {
                    Some(id) => self.told(id, etag),
                    // It was made, and its id is not said: it is looked for.
                    None => {
                        self.made = true;
                        self.look()
                    }
                }
            }
            _ => State::Over(reply.verdict()),
        }
    }

    fn updated(&mut self, id: String, reply: &Reply) -> State {
        match reply.status {
            404 => self.is_lost(reply),
            409 => State::Over(Outcome::Taken(reply.refusal())),
            412 if self.stale < READ_AGAIN => {
                self.stale += 1;
                State::Read(id)
            }
            412 => State::Over(Outcome::Taken(reply.refusal())),
            _ if reply.is_success() => {
                let resource = reply.body.as_ref().and_then(Value::as_object);
                let etag = reply.etag.clone().or_else(|| resource.and_then(version_of));
                self.told(id, etag)
            }
            _ => State::Over(reply.verdict()),
        }
    }

    /// What is known is not there any more: it is looked for, once.
    fn is_lost(&mut self, reply: &Reply) -> State {
        if self.lost {
            return State::Over(Outcome::Refused(reply.refusal()));
        }
        self.lost = true;
        self.look()
    }

    fn told(&self, id: String, etag: Option<String>) -> State {
        let (last, disabled) = match &self.goal {
            Goal::Present(wanted) => (Some(wanted.clone()), false),
            Goal::Disabled(_) | Goal::Deleted => (None, true),
        };
        State::Over(Outcome::Told(Some(Known {
            id,
            last,
            etag: etag.filter(|_| self.profile.etags),
            disabled,
        })))
    }
}

/// Whether a refused search says that its filter is at fault.
fn is_no_filter(reply: &Reply) -> bool {
    reply.status == 501 || reply.refusal().scim_type == Some(ScimType::InvalidFilter)
}

/// Somebody else has the name, which no answer has said in so many words.
fn taken() -> State {
    let conflict = Reply {
        status: 409,
        ..Reply::default()
    };
    State::Over(Outcome::Taken(conflict.refusal()))
}

/// The id of a resource; a number is taken too.
fn id_of(resource: &Object) -> Option<String> {
    match resource.get("id")? {
        Value::String(id) if !id.is_empty() => Some(id.clone()),
        Value::Number(id) => Some(id.to_string()),
        _ => None,
    }
}

fn version_of(resource: &Object) -> Option<String> {
    let version = resource.get("meta")?.get("version")?.as_str()?;
    Some(version.to_owned()).filter(|version| !version.is_empty())
}

fn inactive() -> Patch {
    Patch {
        operations: vec![Operation {
            kind: Kind::Replace,
            target: Target::Path(Path::Attribute(AttrPath::new("active"))),
            value: Some(false.into()),
            index: 0,
        }],
        ..Patch::default()
    }
}

/// The body of a PATCH request. Without paths, all that is replaced stands in one value; what is removed has to be
/// named by its path.
fn written(patch: &Patch, paths: bool) -> Value {
    if paths {
        return patch.to_json();
    }
    let mut replaced = Object::new();
    let mut operations = Vec::new();
    for operation in &patch.operations {
        match (&operation.target, operation.kind, &operation.value) {
            (Target::Path(Path::Attribute(path)), Kind::Replace, Some(value)) => {
                put(&mut replaced, path, value.clone());
            }
            _ => operations.push(operation.to_json()),
        }
    }
    if !replaced.is_empty() {
        operations.insert(0, json!({ "op": "replace", "value": replaced }));
    }
    json!({ "schemas": [PATCH_SCHEMA], "Operations": operations })
}

/// Puts a value where a path without a filter leads.
fn put(object: &mut Object, path: &AttrPath, value: Value) {
    let AttrPath { schema, name, sub } = path;
    let mut keys: Vec<&String> = schema.iter().chain([name]).chain(sub.iter()).collect();
    let Some(last) = keys.pop() else {
        return;
    };
    let mut into = object;
    for key in keys {
        let inner = into.entry(key.clone()).or_insert_with(|| json!({}));
        match inner.as_object_mut() {
            Some(inner) => into = inner,
            None => return,
        }
    }
    into.insert(last.clone(), value);
}
