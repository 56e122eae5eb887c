//! A service provider in a few lines, for tests of clients.
//!
//! [`Provider`] keeps to the standard, but for what it is told to do otherwise, and notes what it was asked.

#![allow(clippy::unwrap_used, clippy::panic, reason = "this runs in tests only")]

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::client::{Call, Method, Reply};
use crate::messages::ListResponse;
use crate::schema::{group, user};
use crate::{Error, Filter, Object, Patch, ResourceType, ScimType, Strictness};

/// The service provider.
#[derive(Debug, Default)]
pub struct Provider {
    /// Users, by their ids.
    pub users: BTreeMap<String, Object>,
    /// Groups, by their ids.
    pub groups: BTreeMap<String, Object>,
    /// What it was asked, as `PATCH Users/3`.
    pub calls: Vec<String>,
    /// The bodies.
    pub bodies: Vec<Value>,
    /// Whether it does not look at filters on `externalId`.
    pub passes_over_external_ids: bool,
    /// How many members it takes at once.
    pub members_at_most: Option<usize>,
    /// How many it has made.
    pub made: u32,
}

fn refused(status: u16) -> Reply {
    Reply {
        status,
        body: Some(Error::status(status, "no").to_json()),
        ..Reply::default()
    }
}

fn error(error: &Error) -> Reply {
    Reply {
        status: error.status,
        body: Some(error.to_json()),
        ..Reply::default()
    }
}

impl Provider {
    /// Answers.
    ///
    /// # Panics
    /// If it is asked what no client has to ask.
    pub fn answer(&mut self, call: &Call) -> Reply {
        let id = call.id.as_deref().map_or(String::new(), |id| format!("/{id}"));
        self.calls
            .push(format!("{} {}{id}", call.method.as_str(), call.endpoint));
        self.bodies.extend(call.body.clone());
        let types = match call.endpoint.as_str() {
            "Users" => user(),
            "Groups" => group(),
            other => panic!("{other}"),
        };
        match (call.method, &call.id) {
            (Method::Get, None) => self.list(types, call),
            (Method::Post, None) => self.make(types, call),
            (_, Some(id)) => self.one(types, id, call),
            other => panic!("{other:?}"),
        }
    }

    fn all(&mut self, types: &ResourceType) -> &mut BTreeMap<String, Object> {
        match types.name.as_str() {
            "User" => &mut self.users,
            _ => &mut self.groups,
        }
    }

    fn list(&mut self, types: &ResourceType, call: &Call) -> Reply {
        let asked = |wanted: &str| {
            let found = call.query.iter().find(|(name, _)| *name == wanted);
            found.map(|(_, text)| text.clone())
        };
        let Some(text) = asked("filter") else {
            let number = |name: &str| asked(name).map(|text| text.parse::<usize>().unwrap());
            let (start, count) = (number("startIndex").unwrap_or(1), number("count").unwrap());
            let all = self.all(types);
            let total = all.len() as u64;
            let page = all.values().skip(start - 1).take(count).cloned().collect();
            return answered(200, ListResponse::by_index(total, start as u64, page).to_json());
        };
        let text = text.as_str();
        let filter = Filter::parse(text, Strictness::Strict).unwrap();
        let passes_over = self.passes_over_external_ids && text.starts_with("externalId");
        let found: Vec<Object> = self
            .all(types)
            .values()
            .filter(|resource| passes_over || filter.matches(resource, types))
            .cloned()
            .collect();
        answered(
            200,
            ListResponse::by_index(found.len() as u64, 1, found).to_json(),
        )
    }

    fn is_taken(&mut self, types: &ResourceType, id: &str, resource: &Object) -> bool {
        let name = |resource: &Object| resource.get("userName").cloned();
        types.name == "User"
            && self
                .users
                .iter()
                .any(|(other, it)| other != id && name(it) == name(resource))
    }

    fn make(&mut self, types: &ResourceType, call: &Call) -> Reply {
        let read = types.read(call.body.clone().unwrap(), Strictness::Strict);
        let mut resource = match read {
            Ok(resource) => resource,
            Err(refusal) => return error(&refusal),
        };
        if self.is_taken(types, "", &resource) {
            return error(&Error::of(ScimType::Uniqueness, "taken"));
        }
        self.made += 1;
        let id = self.made.to_string();
        resource.insert("id".to_owned(), id.clone().into());
        self.keep(types, &id, resource, 201)
    }

    fn keep(&mut self, types: &ResourceType, id: &str, mut resource: Object, status: u16) -> Reply {
        let meta = resource.get("meta");
        let version = meta.and_then(|meta| meta["version"].as_str()?.parse::<u32>().ok());
        let version = (version.unwrap_or(0) + 1).to_string();
        resource.insert("meta".to_owned(), json!({ "version": version }));
        self.all(types).insert(id.to_owned(), resource.clone());
        Reply {
            etag: Some(version),
            ..answered(status, resource.into())
        }
    }

    fn one(&mut self, types: &ResourceType, id: &str, call: &Call) -> Reply {
        let Some(before) = self.all(types).get(id).cloned() else {
            return refused(404);
        };
        let version = before.get("meta").and_then(|meta| meta["version"].as_str());
        if call.if_match.is_some() && call.if_match.as_deref() != version {
            return refused(412);
        }
        let body = || call.body.clone().unwrap();
        let after = match call.method {
            Method::Get => {
                return Reply {
                    etag: version.map(str::to_owned),
                    ..answered(200, before.into())
                };
            }
            Method::Delete => {
                self.all(types).remove(id);
                self.end_memberships(id);
                return refused(204);
            }
            Method::Put => types.read(body(), Strictness::Strict).map(|mut after| {
                after.insert("id".to_owned(), id.into());
                if let Some(meta) = before.get("meta") {
                    after.insert("meta".to_owned(), meta.clone());
                }
                after
            }),
            Method::Patch => {
                Patch::read(body(), types, Strictness::Strict).and_then(|patch| patch.apply(&before, types))
            }
            Method::Post => panic!("POST of {id}"),
        };
        let after = match after {
            Ok(after) => after,
            Err(refusal) => return error(&refusal),
        };
        if self.is_taken(types, id, &after) {
            return error(&Error::of(ScimType::Uniqueness, "taken"));
        }
        if let Some(refusal) = self.members(&before, &after) {
            return refusal;
        }
        self.keep(types, id, after, 200)
    }

    /// Whoever is gone is in no group.
    fn end_memberships(&mut self, id: &str) {
        for group in self.groups.values_mut() {
            if let Some(Value::Array(members)) = group.get_mut("members") {
                members.retain(|member| member["value"] != id);
            }
        }
    }

    /// Members have to be users, and not too many may change at once.
    fn members(&self, before: &Object, after: &Object) -> Option<Reply> {
        let (before, after) = (members(before), members(after));
        if after.iter().any(|member| !self.users.contains_key(member)) {
            return Some(refused(400));
        }
        let changed = before.iter().filter(|member| !after.contains(member)).count()
            + after.iter().filter(|member| !before.contains(member)).count();
        let most = self.members_at_most.unwrap_or(usize::MAX);
        (changed > most).then(|| refused(400))
    }
}

fn answered(status: u16, body: Value) -> Reply {
    Reply {
        status,
        body: Some(body),
        ..Reply::default()
    }
}

/// The ids of the members of a group.
///
/// # Panics
/// If one has no id.
pub fn members(group: &Object) -> Vec<String> {
    let members = group.get("members").and_then(Value::as_array);
    let ids = members
        .into_iter()
        .flatten()
        .map(|member| member["value"].as_str());
    ids.map(|id| id.unwrap().to_owned()).collect()
}
