//! An application in the SCIM mode: a service provider in memory, and the way to it.
//!
//! It knows nothing of events and remembers none. At the end it must have everybody in its scope, once and as they are,
//! and nobody else who is active or in a group.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::Method as HttpMethod;
use rollcall::application::scim::Leavers;
use rollcall::application::{Mode, Settings};
use rollcall::delivery::egress::failure::Failure;
use rollcall::delivery::egress::{Question, Reply};
use rollcall_db::testing::Faults;
use rollcall_receiver::Snapshot;
use rollcall_scim::Object;
use rollcall_scim::client::{Call, GroupUpdate, Method, Update};
use rollcall_scim::schema::ENTERPRISE_USER;
use rollcall_scim::testing::{Provider, members};

use super::chance::Dice;
use super::network::{Copy, Network, cut, whole};
use super::plan::Kind;

/// Settings for one of the ways in which service providers want to be spoken to.
pub(super) fn dialect(name: &str, dice: &Dice) -> Settings {
    let mut settings = Settings::scim_at(format!("https://{name}/"));
    if let Mode::Scim(scim) = &mut settings.mode {
        let one = |most| dice.below(most);
        scim.leavers = [Leavers::Disable, Leavers::Delete][usize::from(one(2) == 0)];
        scim.profile.users = [Update::Patch, Update::Put][usize::from(one(2) == 0)];
        let groups = [GroupUpdate::Change, GroupUpdate::Replace, GroupUpdate::Put];
        scim.profile.groups = dice.pick(&groups).copied().unwrap_or_default();
        scim.profile.paths = one(2) == 0;
        scim.profile.etags = one(2) == 0;
        scim.profile.members_at_once = dice.pick(&[1, 2, 100]).copied().unwrap_or(1);
    }
    settings
}

/// What it has survives its process. Clones share it.
#[derive(Clone)]
pub(super) struct ServiceProvider {
    held: Arc<Mutex<Provider>>,
    /// Nothing goes wrong with its database by itself.
    pub(super) faults: Faults,
}

fn text(object: &Object, attribute: &str) -> Option<String> {
    object.get(attribute)?.as_str().map(str::to_owned)
}

fn is_active(user: &Object) -> bool {
    user.get("active") != Some(&false.into())
}

impl Default for ServiceProvider {
    fn default() -> Self {
        let provider = Provider {
            // Its ids stand in the hub's files behind the word `user`, and must not make the name of somebody there.
            made: 1_000_000,
            ..Provider::default()
        };
        Self {
            held: Arc::new(Mutex::new(provider)),
            faults: Faults::default(),
        }
    }
}

impl ServiceProvider {
    fn answer(&self, question: &Question<'_>) -> Reply {
        let path = question.url.path_segments().into_iter().flatten();
        let mut path = path.filter(|segment| !segment.is_empty()).map(str::to_owned);
        let (endpoint, id) = (path.next().unwrap_or_default(), path.next());
        if !["Users", "Groups"].contains(&endpoint.as_str()) {
            return whole(404, Vec::new());
        }
        let method = match question.method {
            HttpMethod::POST => Method::Post,
            HttpMethod::PUT => Method::Put,
            HttpMethod::PATCH => Method::Patch,
            HttpMethod::DELETE => Method::Delete,
            _ => Method::Get,
        };
        let known = [
            "filter",
            "startIndex",
            "count",
            "attributes",
            "excludedAttributes",
        ];
        let query = question.url.query_pairs().filter_map(|(name, value)| {
            let name = known.into_iter().find(|known| *known == name)?;
            Some((name, value.into_owned()))
        });
        let body = question.body.as_ref();
        let call = Call {
            method,
            endpoint,
            id,
            query: query.collect(),
            body: body.map(|(_, body)| serde_json::from_slice(body).unwrap()),
            if_match: question.if_match.map(str::to_owned),
        };
        let reply = self.held.lock().unwrap().answer(&call);
        let body = reply.body.map(|body| body.to_string()).unwrap_or_default();
        Reply {
            etag: reply.etag,
            location: reply.location,
            ..whole(reply.status, body.into_bytes())
        }
    }

    /// The ids that the hub has for all whom it has made here.
    pub(super) fn of_hub(&self) -> BTreeSet<String> {
        let held = self.held.lock().unwrap();
        let all = held.users.values().chain(held.groups.values());
        all.filter_map(|object| text(object, "externalId")).collect()
    }

    /// What is here and should not be, or should be and is not. Whoever the hub cannot know of any more is passed over
    /// where that is said: nothing tells of them.
    pub(super) fn differences(&self, should: &Snapshot, passes_over: bool) -> Vec<String> {
        let held = self.held.lock().unwrap();
        let mut wrong = Vec::new();
        let mut differs = |what: &str, id: &str, should: &dyn std::fmt::Debug, has: &dyn std::fmt::Debug| {
            wrong.push(format!("{what} of {id} should be {should:?}, and is {has:?}"));
        };
        let mut seen = BTreeSet::new();
        for (id, user) in &held.users {
            let ours = text(user, "externalId").unwrap_or_default();
            let Some(row) = should.users.get(&ours) else {
                if is_active(user) && !passes_over {
                    differs("the account", &ours, &"gone or disabled", user);
                }
                continue;
            };
            if !seen.insert(ours.clone()) {
                differs("the account", &ours, &"there once", id);
            }
            let email = user.get("emails").and_then(|emails| emails[0]["value"].as_str());
            let has = (
                text(user, "userName"),
                text(user, "displayName"),
                email.map(str::to_owned),
            );
            let wanted = (row.username.clone(), row.display_name.clone(), row.email.clone());
            if has != wanted {
                differs("the account", &ours, &wanted, &has);
            }
            // Of a unit outside the scope, the name is not known here.
            let primary = row.units.iter().find(|(_, primary)| **primary);
            let unit = primary.and_then(|(id, _)| should.units.get(id));
            let department = user.get(ENTERPRISE_USER).and_then(|it| it["department"].as_str());
            if unit.is_some_and(|unit| unit.name.as_deref() != department) {
                differs("the department", &ours, &unit, &department);
            }
            let enabled = row.status.as_deref() == Some("enabled");
            if is_active(user) != enabled {
                differs("whether it is active", &ours, &enabled, user);
            }
        }
        let external_ids: BTreeMap<&String, String> = held
            .users
            .iter()
            .filter_map(|(id, user)| Some((id, text(user, "externalId")?)))
            .collect();
        for (id, group) in &held.groups {
            let ours = text(group, "externalId").unwrap_or_default();
            let Some(row) = should.groups.get(&ours) else {
                if !passes_over {
                    differs("the group", &ours, &"gone", group);
                }
                continue;
            };
            if !seen.insert(ours.clone()) {
                differs("the group", &ours, &"there once", id);
            }
            if text(group, "displayName") != row.name {
                differs("the name", &ours, &row.name, group);
            }
            let mut has: BTreeSet<String> = members(group)
                .iter()
                .filter_map(|member| external_ids.get(member).cloned())
                .collect();
            if passes_over {
                has.retain(|member| row.members.contains(member));
            }
            if has != row.members {
                differs("the members", &ours, &row.members, &has);
            }
        }
        for id in should.users.keys().chain(should.groups.keys()) {
            if !seen.contains(id) {
                differs("the object", id, &"there", &"missing");
            }
        }
        wrong
    }
}

impl Network {
    /// Takes a request to a service provider. It is carried out when it is sent or not at all: whatever is slow is the
    /// answer.
    pub(super) async fn ask(&self, name: &str, question: &Question<'_>) -> Result<Reply, Failure> {
        let copy = self.copy(name);
        let Some(Copy::Scim(provider)) = copy.as_deref() else {
            return Err(Failure::Connect("nobody is there".to_owned()));
        };
        let answer = || provider.answer(question);
        if self.is_well() {
            return Ok(answer());
        }
        if self.is_away(name) {
            return Err(Failure::Connect("away".to_owned()));
        }
        tokio::time::sleep(Duration::from_millis(self.dice.below(10))).await;
        Ok(match self.dice.below(96) {
            0 | 1 if self.strikes(Kind::RequestLost) => {
                return Err(Failure::Connect("lost on the way there".to_owned()));
            }
            2..=5 if self.strikes(Kind::AnswerLost) => {
                answer();
                return Err(Failure::Broken("lost on the way back".to_owned()));
            }
            6 | 7 if self.strikes(Kind::Late) => {
                let reply = answer();
                tokio::time::sleep(Duration::from_secs(self.dice.below(30))).await;
                reply
            }
            8 if self.strikes(Kind::Unavailable) => whole(503, b"not now".to_vec()),
            9 if self.strikes(Kind::Unavailable) => Reply {
                retry_after: Some(Duration::from_secs(self.dice.below(90))),
                ..whole(429, b"too many".to_vec())
            },
            10 if self.strikes(Kind::Refused) => whole(400, b"not now".to_vec()),
            11 if self.strikes(Kind::Redirected) => Reply {
                location: Some("http://elsewhere/".to_owned()),
                ..whole(302, Vec::new())
            },
            12 if self.strikes(Kind::Garbage) => {
                answer();
                whole(200, b"<html>thank you</html>".to_vec())
            }
            13 if self.strikes(Kind::Cut) => cut(answer()),
            14 if self.strikes(Kind::Away) => {
                self.leave(name, self.dice.below(1_200_000));
                return Err(Failure::Connect("away from now on".to_owned()));
            }
            15 if self.strikes(Kind::RequestCut) => {
                return Err(Failure::Broken("reset within the body".to_owned()));
            }
            _ => answer(),
        })
    }
}
