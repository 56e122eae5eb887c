//! Trying out how an application that takes SCIM wants to be spoken to: a user and a group are made there for that,
//! changed in the ways that there are, and removed again, whatever happens on the way.
//!
//! What an application answers is not believed alone: where it shows what it has, that is looked at after each change.

use std::time::Duration;

use rollcall_scim::client::{Call, GroupUpdate, Method, Profile, Reply, Update};
use rollcall_scim::patch::PATCH_SCHEMA;
use rollcall_scim::{Object, Removal, schema};
use serde_json::{Map, Value as Json, json};

use super::finding;
use super::{Ended, Report, StepResult, failed};
use crate::application::scim::stored_name;
use crate::clock::Stopwatch;
use crate::delivery::egress::failure::Failure;
use crate::delivery::route::scim::{Provider, users_in};
use crate::delivery::shared::Shared;
use crate::id;

/// Something that was made, and has to go again.
struct Made {
    endpoint: &'static str,
    id: String,
}

/// The user and the group of a test, and what was found out with them.
struct Probe<'a> {
    shared: &'a Shared,
    provider: &'a Provider,
    /// What everything that is made is called, so that it is recognised.
    name: String,
    made: Vec<Made>,
    works: Profile,
    /// The evidence of the step that is under way.
    evidence: Vec<String>,
}

/// Why a step came to nothing.
enum Stop {
    /// There is no answer.
    Failure(Failure),
    /// No way works; what was answered is the evidence.
    Nothing,
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

/// Tries it out, and proposes a profile.
pub(super) async fn probe(
    shared: &Shared,
    provider: &Provider,
    name: &str,
    report: &mut Report,
) -> Result<(), Ended> {
    let mut probe = Probe {
        shared,
        provider,
        name: id::make("rollcall_test", shared.hub.clock.now(), &*shared.hub.random),
        made: Vec::new(),
        works: provider.parameters().profile.clone(),
        evidence: Vec::new(),
    };
    let tried = probe.try_out(report).await;
    // Also if a step has failed: nothing is left behind that can be removed.
    probe.clean_up(report).await;
    tried?;
    let differences = differences(&provider.parameters().profile, &probe.works);
    if differences.is_empty() {
        report.pass("proposal", Duration::ZERO, "the settings are what works");
    } else {
        let finding = finding::profile_tried(name, &differences);
        report.add("proposal", Duration::ZERO, StepResult::Assumed(finding));
        report.proposal = Some(probe.works);
    }
    Ok(())
}

/// In what the profile that works differs from the one that is set, and by which options that is set right.
fn differences(is: &Profile, works: &Profile) -> Vec<(String, String)> {
    let ways = |profile: &Profile| {
        [
            ("users are changed by", "--users-by", stored_name(&profile.users)),
            (
                "groups are changed by",
                "--groups-by",
                stored_name(&profile.groups),
            ),
            ("members are removed", "--removal", stored_name(&profile.removal)),
            ("operations name paths", "--paths", profile.paths.to_string()),
            (
                "externalId is looked for",
                "--finds-external-ids",
                profile.finds_external_ids.to_string(),
            ),
        ]
    };
    let both = ways(is).into_iter().zip(ways(works));
    both.filter(|((_, _, is), (_, _, works))| is != works)
        .map(|((what, option, is), (_, _, works))| {
            (
                format!("{what}: {works} works, {is} is set"),
                format!("{option} {works}"),
            )
        })
        .collect()
}

impl Probe<'_> {
    async fn try_out(&mut self, report: &mut Report) -> Result<(), Ended> {
        let watch = self.begin();
        let came = self.make_user().await;
        let user = self.conclude(report, ("probe-create", watch), came)?;
        let watch = self.begin();
        let came = self.find(&user).await;
        self.conclude(report, ("probe-find", watch), came)?;
        let watch = self.begin();
        let came = self.change_user(&user).await;
        self.conclude(report, ("probe-change", watch), came)?;
        if self.provider.parameters().groups {
            let watch = self.begin();
            let came = self.make_group().await;
            let group = self.conclude(report, ("probe-group", watch), came)?;
            let watch = self.begin();
            let came = self.change_members(&group, &user).await;
            self.conclude(report, ("probe-members", watch), came)?;
        }
        let watch = self.begin();
        let came = self.deactivate(&user).await;
        self.conclude(report, ("probe-deactivate", watch), came)
    }

    /// Begins a step.
    fn begin(&mut self) -> Stopwatch {
        self.evidence.clear();
        self.shared.hub.clock.stopwatch()
    }

    /// Reports what came of a step, with the evidence.
    fn conclude<T>(
        &self,
        report: &mut Report,
        (step, watch): (&'static str, Stopwatch),
        came: Result<T, Stop>,
    ) -> Result<T, Ended> {
        let evidence = self.evidence.join("; ");
        match came {
            Ok(came) => {
                report.pass(step, watch.elapsed(), evidence);
                Ok(came)
            }
            Err(Stop::Nothing) => Err(failed(step, watch, finding::not_possible(&evidence))),
            Err(Stop::Failure(failure)) => {
                let finding = finding::unasked(self.provider.url(), &failure);
                Err(failed(step, watch, finding))
            }
        }
    }

    async fn ask(&mut self, what: &str, call: Call) -> Result<Reply, Failure> {
        let answer = self.provider.ask(self.shared, &call).await?;
        let said = match &answer.failure {
            None => format!("HTTP {}", answer.reply.status),
            Some(failure) => failure.in_full(),
        };
        self.evidence.push(format!("{what}: {said}"));
        // Who asks is not asked again: credentials, limits and failures are not about the way.
        match answer.failure {
            Some(
                failure @ Failure::Status {
                    status: 401 | 403 | 429 | 500 | 502..=599,
                    ..
                },
            ) => Err(failure),
            _ => Ok(answer.reply),
        }
    }

    /// Reads something anew, without a word about it.
    async fn look(&self, endpoint: &str, id: &str) -> Result<Json, Failure> {
        let call = Call::new(Method::Get, endpoint).of(id);
        let answer = self.provider.ask(self.shared, &call).await?;
        Ok(answer
            .reply
            .body
            .filter(|_| answer.failure.is_none())
            .unwrap_or_default())
    }

    async fn make(&mut self, endpoint: &'static str, resource: Object) -> Result<Json, Stop> {
        let call = Call::new(Method::Post, endpoint).with(resource.into());
        let reply = self.ask(&format!("POST {endpoint}"), call).await?;
        let body = reply.body.clone().unwrap_or_default();
        match id_of(&body).filter(|_| reply.is_success()) {
            Some(id) => {
                self.made.push(Made {
                    endpoint,
                    id: id.clone(),
                });
                Ok(json!({ "id": id, "resource": body }))
            }
            None => Err(Stop::Nothing),
        }
    }

    async fn make_user(&mut self) -> Result<String, Stop> {
        let fields: Map<String, Json> = [
            ("id", json!(self.name)),
            ("username", json!(self.name)),
            ("displayName", json!("Rollcall Test")),
            ("email", json!(format!("{}@test.invalid", self.name))),
            ("enabled", json!(true)),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
        let mapped = self.provider.checked().users.resource(&fields, schema::user());
        let resource = mapped.map_err(|error| {
            self.evidence
                .push(format!("the mapping makes no user of a test user: {error}"));
            Stop::Nothing
        })?;
        let made = self.make("Users", resource).await?;
        Ok(made["id"].as_str().unwrap_or_default().to_owned())
    }

    /// Whether somebody is found by `externalId`.
    async fn find(&mut self, user: &str) -> Result<(), Stop> {
        let filter = format!("externalId eq \"{}\"", self.name);
        let call = Call::get("Users", vec![("filter", filter)]);
        let reply = self.ask("by externalId", call).await?;
        let found = reply.body.unwrap_or_default();
        let found = found["Resources"].as_array().cloned().unwrap_or_default();
        self.works.finds_external_ids = matches!(&found[..], [one] if id_of(one).as_deref() == Some(user));
        if !self.works.finds_external_ids {
            self.evidence
                .push(format!("{} found instead of one", found.len()));
        }
        Ok(())
    }

    fn patch(&self, endpoint: &str, id: &str, operations: &Json) -> Call {
        let body = json!({ "schemas": [PATCH_SCHEMA], "Operations": operations });
        Call::new(Method::Patch, endpoint).of(id).with(body)
    }

    /// Puts another name into an attribute that the application shows, by PATCH with and without a path, or by PUT.
    async fn change_user(&mut self, user: &str) -> Result<(), Stop> {
        let before = self.look("Users", user).await?;
        let attribute = match before["displayName"].is_string() {
            true => "displayName",
            false => "userName",
        };
        let shows = before[attribute].is_string();
        for (number, way) in ["PATCH with a path", "PATCH without a path", "PUT"]
            .into_iter()
            .enumerate()
        {
            let value = format!("{}.{number}", self.name);
            let call = match number {
                0 => self.patch(
                    "Users",
                    user,
                    &json!([{ "op": "replace", "path": attribute, "value": value }]),
                ),
                1 => self.patch(
                    "Users",
                    user,
                    &json!([{ "op": "replace", "value": { attribute: value } }]),
                ),
                _ => {
                    let mut whole = before.clone();
                    whole[attribute] = json!(value);
                    Call::new(Method::Put, "Users").of(user).with(whole)
                }
            };
            let taken = self.ask(way, call).await?.is_success();
            if taken && (!shows || self.look("Users", user).await?[attribute] == json!(value)) {
                self.works.paths = number != 1;
                self.works.users = match number {
                    2 => Update::Put,
                    _ => Update::Patch,
                };
                return Ok(());
            }
            if taken {
                self.evidence.push("taken, and nothing changed".to_owned());
            }
        }
        Err(Stop::Nothing)
    }

    async fn make_group(&mut self) -> Result<String, Stop> {
        let group = json!({ "schemas": [schema::GROUP], "externalId": self.name, "displayName": self.name });
        let group = group.as_object().cloned().unwrap_or_default();
        let made = self.make("Groups", group).await?;
        Ok(made["id"].as_str().unwrap_or_default().to_owned())
    }

    /// Adds the user to the group and takes it out again: one by one, all at once by PATCH, or by PUT.
    async fn change_members(&mut self, group: &str, user: &str) -> Result<(), Stop> {
        let member = json!([{ "value": user }]);
        let whole = |members: &Json| {
            let body = json!({
                "schemas": [schema::GROUP], "id": group, "externalId": self.name, "displayName": self.name,
                "members": members,
            });
            Call::new(Method::Put, "Groups").of(group).with(body)
        };
        let (put, emptied) = (whole(&member), whole(&json!([])));
        let paths = self.works.paths;
        let written = |op: &str, value: &Json| match paths {
            true => json!([{ "op": op, "path": "members", "value": value }]),
            false => json!([{ "op": op, "value": { "members": value } }]),
        };
        let by_filter = json!([{ "op": "remove", "path": format!("members[value eq \"{user}\"]") }]);
        let by_list = json!([{ "op": "remove", "path": "members", "value": member }]);
        let add = self.patch("Groups", group, &written("add", &member));
        if self.has_members("add", add, group, user, true).await? {
            let removals = [(Removal::ByFilter, by_filter), (Removal::ByList, by_list)];
            for (removal, operations) in removals {
                let call = self.patch("Groups", group, &operations);
                let way = format!("remove {}", stored_name(&removal));
                if self.has_members(&way, call, group, user, false).await? {
                    self.works.groups = GroupUpdate::Change;
                    self.works.removal = removal;
                    return Ok(());
                }
            }
        }
        let replace = self.patch("Groups", group, &written("replace", &member));
        if self.has_members("replace", replace, group, user, true).await? {
            let nobody = self.patch("Groups", group, &written("replace", &json!([])));
            if self
                .has_members("replace by nobody", nobody, group, user, false)
                .await?
            {
                self.works.groups = GroupUpdate::Replace;
                return Ok(());
            }
        }
        if self.has_members("PUT", put, group, user, true).await?
            && self
                .has_members("PUT of nobody", emptied, group, user, false)
                .await?
        {
            self.works.groups = GroupUpdate::Put;
            return Ok(());
        }
        Err(Stop::Nothing)
    }

    /// Whether after a request the user is in the group, or is not, as far as the application shows that.
    async fn has_members(
        &mut self,
        way: &str,
        call: Call,
        group: &str,
        user: &str,
        is_in: bool,
    ) -> Result<bool, Failure> {
        if !self.ask(way, call).await?.is_success() {
            return Ok(false);
        }
        let shown = self.look("Groups", group).await?;
        // Some never show who is in a group; then nothing tells whether somebody is.
        let is_hidden = shown.get("members").is_none() && is_in;
        let holds = users_in(Some(&shown)).contains(user) == is_in;
        if !holds && !is_hidden {
            self.evidence.push("taken, and nothing changed".to_owned());
        }
        if is_hidden {
            self.evidence.push("it does not show the members".to_owned());
        }
        Ok(holds || is_hidden)
    }

    async fn deactivate(&mut self, user: &str) -> Result<(), Stop> {
        let call = match (self.works.users, self.works.paths) {
            (Update::Put, _) => {
                let mut whole = self.look("Users", user).await?;
                whole["active"] = json!(false);
                Call::new(Method::Put, "Users").of(user).with(whole)
            }
            (Update::Patch, true) => {
                let operations = json!([{ "op": "replace", "path": "active", "value": false }]);
                self.patch("Users", user, &operations)
            }
            (Update::Patch, false) => {
                let operations = json!([{ "op": "replace", "value": { "active": false } }]);
                self.patch("Users", user, &operations)
            }
        };
        if !self.ask("active becomes false", call).await?.is_success() {
            return Err(Stop::Nothing);
        }
        let shown = self.look("Users", user).await?;
        match shown.get("active") {
            Some(active) if *active != json!(false) => {
                self.evidence.push("taken, and still active".to_owned());
                Err(Stop::Nothing)
            }
            _ => Ok(()),
        }
    }

    /// Removes what was made, the group first. What stays is named.
    async fn clean_up(&mut self, report: &mut Report) {
        let watch = self.shared.hub.clock.stopwatch();
        self.evidence.clear();
        let mut left = Vec::new();
        for made in std::mem::take(&mut self.made).into_iter().rev() {
            let what = format!("DELETE {}/{}", made.endpoint, made.id);
            let call = Call::new(Method::Delete, made.endpoint).of(&made.id);
            let gone = match self.provider.ask(self.shared, &call).await {
                Ok(answer) => {
                    let status = answer.reply.status;
                    self.evidence.push(format!("{what}: HTTP {status}"));
                    answer.reply.is_success() || status == 404
                }
                Err(failure) => {
                    self.evidence.push(format!("{what}: {failure}"));
                    false
                }
            };
            if !gone {
                left.push(format!("{}/{}", made.endpoint, made.id));
            }
        }
        let evidence = self.evidence.join("; ");
        let result = match left.is_empty() {
            true if evidence.is_empty() => StepResult::Skipped {
                detail: "nothing was made".to_owned(),
            },
            true => StepResult::Passed { detail: evidence },
            false => StepResult::Failed(finding::left_behind(&self.name, &left, &evidence)),
        };
        report.add("probe-clean", watch.elapsed(), result);
    }
}

/// The id of a resource; a number is taken too.
fn id_of(resource: &Json) -> Option<String> {
    match &resource["id"] {
        Json::String(id) if !id.is_empty() => Some(id.clone()),
        Json::Number(id) => Some(id.to_string()),
        _ => None,
    }
}
