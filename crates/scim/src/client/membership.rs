//! The members of a group on their way, in portions.

use std::collections::VecDeque;

use serde_json::{Value, json};

use super::Profile;
use super::call::{Call, Method, Outcome, Refusal, Reply, Step};
use crate::patch::{GroupChange, Member, Members, PATCH_SCHEMA};

/// One who joins or leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberChange {
    /// The service provider's id of the member.
    pub id: String,
    /// Whether it joins.
    pub joins: bool,
}

/// What becomes of the members of a group.
///
/// A portion that is refused is halved until whoever is at fault stands alone: the service provider may have lost a
/// member that the client knows, and the others are not to wait for that.
#[derive(Clone, Debug)]
pub struct Membership<'a> {
    profile: &'a Profile,
    group: &'a str,
    changes: Vec<MemberChange>,
    /// What is left: portions of the changes, or whole requests.
    left: VecDeque<Portion>,
    told: Vec<bool>,
    refused: Vec<(usize, Refusal)>,
    /// Whether it is looked whether the group is there, after an answer that may mean either.
    asks: Option<Refusal>,
    over: Option<Outcome>,
}

#[derive(Clone, Debug)]
enum Portion {
    /// Changes by their numbers.
    Changes(Vec<usize>),
    /// A request of those that replace all members.
    Whole(Value),
}

impl<'a> Membership<'a> {
    /// Some who join and leave, in their order; nobody is named twice.
    pub fn change(profile: &'a Profile, group: &'a str, changes: Vec<MemberChange>) -> Self {
        let numbers: Vec<usize> = (0..changes.len()).collect();
        let left = numbers.chunks(at_once(profile));
        Self {
            left: left.map(|numbers| Portion::Changes(numbers.to_vec())).collect(),
            told: vec![false; changes.len()],
            changes,
            ..Self::empty(profile, group)
        }
    }

    /// These are all members: their ids at the service provider.
    pub fn replace(profile: &'a Profile, group: &'a str, members: Vec<String>) -> Self {
        let change = GroupChange {
            members: Members::Replace(members.into_iter().map(Member::user).collect()),
            ..GroupChange::default()
        };
        let requests = change.requests(at_once(profile), profile.removal);
        Self {
            left: requests.into_iter().map(Portion::Whole).collect(),
            ..Self::empty(profile, group)
        }
    }

    fn empty(profile: &'a Profile, group: &'a str) -> Self {
        Self {
            profile,
            group,
            changes: Vec::new(),
            left: VecDeque::new(),
            told: Vec::new(),
            refused: Vec::new(),
            asks: None,
            over: None,
        }
    }

    /// Which of the changes the service provider has taken so far, whatever became of the others.
    pub fn told(&self) -> &[bool] {
        &self.told
    }

    /// Which of the changes it has refused, and why.
    pub fn refused(&self) -> &[(usize, Refusal)] {
        &self.refused
    }

    /// What comes next. At the end, [`Outcome::Refused`] with status 404 means that the group is not there.
    pub fn step(&self) -> Step {
        if let Some(outcome) = &self.over {
            return Step::Over(outcome.clone());
        }
        let call = |method| Call::new(method, "Groups").of(self.group);
        if self.asks.is_some() {
            return Step::Send(call(Method::Get).asking("excludedAttributes", "members"));
        }
        match self.left.front() {
            None => Step::Over(Outcome::Told(None)),
            Some(Portion::Whole(body)) => {
                Step::Send(call(Method::Patch).with(self.written(vec![body.clone()])))
            }
            Some(Portion::Changes(numbers)) => {
                let (mut add, mut remove) = (Vec::new(), Vec::new());
                for change in numbers.iter().filter_map(|number| self.changes.get(*number)) {
                    match change.joins {
                        true => add.push(Member::user(change.id.clone())),
                        false => remove.push(change.id.clone()),
                    }
                }
                let change = GroupChange {
                    members: Members::Change { add, remove },
                    ..GroupChange::default()
                };
                let requests = change.requests(usize::MAX, self.profile.removal);
                Step::Send(call(Method::Patch).with(self.written(requests)))
            }
        }
    }

    /// Takes the answer to the request of the present step.
    pub fn answer(&mut self, reply: &Reply) {
        if let Some(refusal) = self.asks.take() {
            match reply.status {
                404 => self.over = Some(Outcome::Refused(reply.refusal())),
                _ if reply.is_success() => self.halve(refusal),
                _ => self.over = Some(reply.verdict()),
            }
            return;
        }
        match (reply.status, self.left.front()) {
            _ if reply.is_success() => {
                if let Some(Portion::Changes(numbers)) = self.left.pop_front() {
                    for number in numbers {
                        if let Some(told) = self.told.get_mut(number) {
                            *told = true;
                        }
                    }
                }
            }
            (404, Some(Portion::Changes(_))) => self.asks = Some(reply.refusal()),
            (404, _) => self.over = Some(Outcome::Refused(reply.refusal())),
            (_, Some(Portion::Changes(_))) => match reply.verdict() {
                Outcome::Refused(refusal) => self.halve(refusal),
                other => self.over = Some(other),
            },
            _ => self.over = Some(reply.verdict()),
        }
    }

    /// Halves the portion that was refused, or gives up whoever stands alone.
    fn halve(&mut self, refusal: Refusal) {
        let Some(Portion::Changes(numbers)) = self.left.pop_front() else {
            return;
        };
        if let [number] = numbers[..] {
            // Whoever is not there is no member either.
            let leaves = self.changes.get(number).is_some_and(|change| !change.joins);
            match (leaves && refusal.status == 404, self.told.get_mut(number)) {
                (true, Some(told)) => *told = true,
                _ => self.refused.push((number, refusal)),
            }
            return;
        }
        let (first, second) = numbers.split_at(numbers.len() / 2);
        for half in [second, first] {
            self.left.push_front(Portion::Changes(half.to_vec()));
        }
    }

    /// One request with the operations of all these, in the words of the profile.
    fn written(&self, requests: Vec<Value>) -> Value {
        let operations: Vec<Value> = requests
            .into_iter()
            .filter_map(
                |mut request| match request.get_mut("Operations").map(Value::take) {
                    Some(Value::Array(operations)) => Some(operations),
                    _ => None,
                },
            )
            .flatten()
            .map(|operation| match self.profile.paths {
                true => operation,
                false => without_path(operation),
            })
            .collect();
        json!({ "schemas": [PATCH_SCHEMA], "Operations": operations })
    }
}

fn at_once(profile: &Profile) -> usize {
    usize::try_from(profile.members_at_once.max(1)).unwrap_or(usize::MAX)
}

/// What is added or replaced, without its path; what is removed needs one.
fn without_path(mut operation: Value) -> Value {
    let is_members = operation["path"] == "members" && operation["op"] != "remove";
    if is_members && let Some(object) = operation.as_object_mut() {
        object.remove("path");
        let value = object.remove("value").unwrap_or_default();
        object.insert("value".to_owned(), json!({ "members": value }));
    }
    operation
}
