//! What becomes of a group, said without a look at its members.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Kind, Operation, Patch, Target, request};
use crate::error::{Error, ScimType};
use crate::filter::{Filter, Literal};
use crate::name::AttrPath;
use crate::path::Path;

/// What becomes of a group. Making and carrying out a change costs what it names, whatever the size of
/// the group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupChange {
    /// The new name.
    pub display_name: Option<String>,
    /// The client's new name for the group; `Some(None)` if it has none any more.
    pub external_id: Option<Option<String>>,
    /// Who is in it.
    pub members: Members,
}

/// Who is in a group after a change. Nobody is named twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Members {
    /// Who is in it already, with some more and without some.
    Change {
        /// Who has to be in it afterwards, and may be already.
        add: Vec<Member>,
        /// The ids of those who must not be in it afterwards, and may not be already.
        remove: Vec<String>,
    },
    /// These and nobody else.
    Replace(Vec<Member>),
}

/// A member.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Member {
    /// The id.
    pub id: String,
    /// What has that id.
    pub kind: MemberKind,
}

/// What a member is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MemberKind {
    /// A user. So is whoever is not said to be something else.
    #[default]
    User,
    /// A group.
    Group,
}

/// How the removal of members is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(
    feature = "schemars",
    derive(schemars::JsonSchema),
    schemars(rename = "ScimRemoval")
)]
#[serde(rename_all = "snake_case")]
pub enum Removal {
    /// `members[value eq "…"]`, one operation for each, as the standard has it.
    #[default]
    ByFilter,
    /// `members` with the list of those who leave, in one operation, as some service providers want it.
    ByList,
}

impl Default for Members {
    fn default() -> Self {
        Self::Change {
            add: Vec::new(),
            remove: Vec::new(),
        }
    }
}

impl Member {
    /// A user.
    pub fn user(id: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            kind: MemberKind::User,
        }
    }
}

/// What was said of members so far.
#[derive(Default)]
struct Said {
    /// Whether it began with nobody.
    replaces: bool,
    /// The last that was said of each, and when: `None` if they leave.
    each: HashMap<String, (usize, Option<Member>)>,
}

impl Said {
    fn say(&mut self, id: String, member: Option<Member>) {
        let count = self.each.len();
        self.each.entry(id).or_insert((count, None)).1 = member;
    }

    fn begin_anew(&mut self) {
        self.replaces = true;
        self.each.clear();
    }

    fn members(self) -> Members {
        let mut each: Vec<_> = self.each.into_iter().collect();
        each.sort_unstable_by_key(|(_, (order, _))| *order);
        let (mut add, mut remove) = (Vec::new(), Vec::new());
        for (id, (_, member)) in each {
            match member {
                Some(member) => add.push(member),
                None => remove.push(id),
            }
        }
        if self.replaces {
            Members::Replace(add)
        } else {
            Members::Change { add, remove }
        }
    }
}

impl GroupChange {
    /// What the operations of a request come to, read with [`crate::schema::group`] or a type of groups
    /// with fewer attributes.
    ///
    /// # Errors
    /// `mutability`, `invalidPath`, `invalidFilter`, `invalidValue`, with the operation of the request.
    pub fn plan(patch: &Patch) -> Result<Self, Error> {
        let mut change = Self::default();
        let mut said = Said::default();
        for operation in &patch.operations {
            change
                .operation(operation, &mut said)
                .map_err(|error| error.within(&format!("operation {}", operation.index + 1)))?;
        }
        change.members = said.members();
        Ok(change)
    }

    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn operation(&mut self, operation: &Operation, said: &mut Said) -> Result<(), Error> {
        let path = match &operation.target {
            Target::Path(path) if path.attribute().schema.is_none() => path,
            target => return Err(cannot(&target.to_text())),
        };
        let text = || match &operation.value {
            Some(Value::String(text)) => Ok(text.clone()),
            _ => Err(Error::value(format!("{path} must be text"))),
        };
        match (path.attribute().name.as_str(), operation.kind) {
            ("displayName", Kind::Remove) => {
                return Err(Error::mutability("displayName must not be removed"));
            }
            ("displayName", _) => self.display_name = Some(text()?),
            ("externalId", Kind::Remove) => self.external_id = Some(None),
            ("externalId", _) => self.external_id = Some(Some(text()?)),
            ("members", _) => members(operation, path, said)?,
            _ => return Err(cannot(&path.to_string())),
        }
        Ok(())
    }

    /// The requests that carry the change out, with at most so many members in each. The names come
    /// first, and whoever leaves before who joins. If members are replaced, the first request replaces
    /// them and the others add to it.
    pub fn requests(&self, chunk: usize, removal: Removal) -> Vec<Value> {
        let chunk = chunk.max(1);
        let mut operations = Vec::new();
        if let Some(name) = &self.display_name {
            operations.push(json!({ "op": "replace", "path": "displayName", "value": name }));
        }
        match &self.external_id {
            Some(Some(id)) => operations.push(json!({ "op": "replace", "path": "externalId", "value": id })),
            Some(None) => operations.push(json!({ "op": "remove", "path": "externalId" })),
            None => {}
        }
        let mut requests: Vec<Value> = (!operations.is_empty())
            .then(|| request(operations))
            .into_iter()
            .collect();
        let (first, add, remove) = match &self.members {
            Members::Change { add, remove } => ("add", add, remove.as_slice()),
            Members::Replace(members) => ("replace", members, [].as_slice()),
        };
        for ids in remove.chunks(chunk) {
            requests.push(request(match removal {
                Removal::ByFilter => ids.iter().map(|id| removed(id)).collect(),
                Removal::ByList => {
                    let listed: Vec<Value> = ids.iter().map(|id| json!({ "value": id })).collect();
                    vec![json!({ "op": "remove", "path": "members", "value": listed })]
                }
            }));
        }
        for (index, members) in add.chunks(chunk).enumerate() {
            let op = if index == 0 { first } else { "add" };
            let listed: Vec<Value> = members.iter().map(Member::to_json).collect();
            requests.push(request(vec![
                json!({ "op": op, "path": "members", "value": listed }),
            ]));
        }
        if matches!(&self.members, Members::Replace(members) if members.is_empty()) {
            requests.push(request(vec![json!({ "op": "remove", "path": "members" })]));
        }
        requests
    }
}

impl Member {
    fn to_json(&self) -> Value {
        match self.kind {
            MemberKind::User => json!({ "value": self.id }),
            MemberKind::Group => json!({ "value": self.id, "type": "Group" }),
        }
    }

    /// Reads a value of `members`.
    ///
    /// # Errors
    /// `invalidValue` if it has no `value`, or a type that is neither `User` nor `Group`.
    pub fn read(value: &Value) -> Result<Self, Error> {
        let text = |name: &str| value.get(name).and_then(Value::as_str);
        let id = text("value").filter(|id| !id.is_empty());
        let id = id.ok_or_else(|| Error::value("every member needs a value, its id"))?;
        let kind = match text("type") {
            None => MemberKind::User,
            Some(kind) if kind.eq_ignore_ascii_case("User") || kind.is_empty() => MemberKind::User,
            Some(kind) if kind.eq_ignore_ascii_case("Group") => MemberKind::Group,
            Some(_) => return Err(Error::value("the type of a member must be User or Group")),
        };
        Ok(Self {
            id: id.to_owned(),
            kind,
        })
    }
}

fn removed(id: &str) -> Value {
    let path = Path::Values {
        path: AttrPath::new("members"),
        filter: Filter::compare(AttrPath::new("value"), crate::filter::Operator::Eq, id),
        sub: None,
    };
    json!({ "op": "remove", "path": path.to_string() })
}

fn cannot(what: &str) -> Error {
    Error::of(
        ScimType::InvalidPath,
        format!("`{what}` of a group cannot be changed"),
    )
}

fn members(operation: &Operation, path: &Path, said: &mut Said) -> Result<(), Error> {
    match (path, operation.kind, &operation.value) {
        (Path::Attribute(AttrPath { sub: None, .. }), Kind::Remove, None) => said.begin_anew(),
        (Path::Attribute(AttrPath { sub: None, .. }), kind, Some(Value::Array(listed))) => {
            let listed: Vec<Member> = listed.iter().map(Member::read).collect::<Result<_, _>>()?;
            if kind == Kind::Replace {
                said.begin_anew();
            }
            for member in listed {
                said.say(member.id.clone(), (kind != Kind::Remove).then_some(member));
            }
        }
        (
            Path::Values {
                filter, sub: None, ..
            },
            Kind::Remove,
            _,
        ) => {
            let ids = meant(filter).ok_or_else(|| {
                let detail = format!("[{filter}]: members are selected by `value eq`, with `or` for several");
                Error::of(ScimType::InvalidFilter, detail)
            })?;
            // Nobody has an empty id.
            for id in ids.into_iter().filter(|id| !id.is_empty()) {
                said.say(id.to_owned(), None);
            }
        }
        _ => {
            let detail = format!("`{path}`: members are added and replaced by `members`, and never change");
            return Err(Error::of(ScimType::InvalidPath, detail));
        }
    }
    Ok(())
}

/// The ids that a filter on members means, if it means members by their ids.
fn meant(filter: &Filter) -> Option<Vec<&str>> {
    if let Filter::Or(parts) = filter {
        let parts: Option<Vec<_>> = parts.iter().map(meant).collect();
        return Some(parts?.into_iter().flatten().collect());
    }
    let mut id = None;
    for (path, literal) in filter.equalities()? {
        let Literal::String(text) = literal else {
            return None;
        };
        if path.name.eq_ignore_ascii_case("value") && id.is_none() {
            id = Some(text.as_str());
        } else if !(path.name.eq_ignore_ascii_case("type") && text.eq_ignore_ascii_case("User")) {
            return None;
        }
    }
    Some(vec![id?])
}
