//! Pages and the API's answers are made of a few statements, however much there is: none asks for each row.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rollcall::access::{Caller, Role};
use rollcall::accounts::tokens::Term;
use rollcall::application::Scope;
use rollcall::delivery::job;
use rollcall::delivery::ledger::parked;
use rollcall::delivery::model::{Exception, Source};
use rollcall::directory::{Command, NewUser, UserChanges};
use rollcall::hub::Hub;
use rollcall::id::ROOT_UNIT;
use rollcall::signin::manage;
use rollcall_db::Value;
use rollcall_db::testing::databases;
use serde_json::Value as Json;

use super::Served;
use super::sample::{aside, attempt, sent, sql, synchronized};
use crate::plain::{apply, group, unit};
use crate::world::{add_application, create_users, new_user, open_hub};

/// How many statements a page may take.
const MOST: u64 = 12;

/// Two hubs, of which the second has ten times as much of everything.
const FEW: usize = 3;
const MANY: usize = 30;

/// A hub that has so much of everything, and what pages are about.
struct Filled {
    hub: Hub,
    applications: BTreeSet<String>,
    application: String,
    user: String,
    unit: String,
    group: String,
    account: String,
    token: String,
    connection: String,
    connection_token: String,
    client_secret: String,
    attempt: i64,
    job: String,
    change: i64,
}

impl Filled {
    async fn of(database: &str, rows: usize) -> Self {
        let hub = open_hub(database).await;
        let top = unit(&hub, "Top", ROOT_UNIT).await;
        let mut units = BTreeSet::new();
        for number in 0..rows {
            units.insert(unit(&hub, &format!("Unit {number:03}"), &top).await);
        }
        // As deep as the tree is wide.
        let mut deepest = top.clone();
        for number in 0..rows {
            deepest = unit(&hub, &format!("Deep {number:03}"), &deepest).await;
        }
        let ada = NewUser {
            organizational_unit_ids: units.iter().cloned().collect(),
            ..new_user("ada", &deepest)
        };
        let user = apply(&hub, Command::CreateUser(ada)).await;
        let others = (0..rows).map(|number| new_user(&format!("user{number:03}"), &top));
        let mut members = create_users(&hub, others.collect()).await;
        members.push(user.clone());
        let mut groups = BTreeSet::new();
        for number in 0..rows {
            let group_id = group(&hub, &format!("Group {number:03}")).await;
            let user_ids = members.clone();
            apply(
                &hub,
                Command::AddMembers {
                    group_id: group_id.clone(),
                    user_ids,
                },
            )
            .await;
            groups.insert(group_id);
        }
        let scope = Scope {
            organizational_unit_ids: units.clone(),
            group_ids: groups.clone(),
        };
        let mut applications = BTreeSet::new();
        let mut first = None;
        for number in 0..rows {
            let name = format!("Application {number:03}");
            let made = add_application(&hub, &name, "http://127.0.0.1:1/events", None, scope.clone()).await;
            applications.insert(made.id.clone());
            first.get_or_insert(made);
        }
        let first = first.unwrap();
        let account = Self::access(&hub, rows, &first.id).await;
        let token = hub
            .db
            .read(rollcall::accounts::tokens::list)
            .await
            .unwrap()
            .remove(0)
            .id;
        let connection = crate::scim::connections(&hub, rows).await;
        let named = connection.clone();
        let found = hub
            .db
            .read(move |tx| rollcall::connection::find(tx, &named))
            .await
            .unwrap();
        let connection_token = found.tokens[0].id.clone();
        let (client_secret, _) = crate::developer::make_secret(&hub, &first.id, None).await;
        for number in 0..rows {
            let changes = UserChanges {
                description: Some(Some(format!("said {number}"))),
                ..UserChanges::default()
            };
            let update = Command::UpdateUser {
                id: user.clone(),
                changes,
            };
            let by = Caller::from(rollcall::connection::principal(&connection));
            hub.apply(by, update).await.unwrap();
        }
        let (attempt, change) = Self::history(&hub, rows, &first.id, &user).await;
        let now = hub.clock.now();
        for _ in 0..rows {
            synchronized(&hub, &first, now, |job| {
                job.status = job::JobStatus::PartialSuccess;
                job.ended_at = Some(now + 60_000);
            })
            .await;
        }
        let id = first.id.clone();
        let jobs = hub.db.read(move |tx| job::newest(tx, &id, 1)).await.unwrap();
        Self {
            hub,
            applications,
            application: first.id,
            user,
            unit: top,
            group: groups.first().unwrap().clone(),
            account,
            token,
            connection,
            connection_token,
            client_secret,
            attempt,
            job: jobs[0].id.clone(),
            change,
        }
    }

    /// Accounts and tokens; returns an account.
    async fn access(hub: &Hub, rows: usize, application: &str) -> String {
        let owner = Role::ApplicationOwner([application.to_owned()].into());
        let mut account = String::new();
        for number in 0..rows {
            let name = format!("account-{number:03}");
            account = crate::access::fresh_account(hub, &name, owner.clone())
                .await
                .account
                .id;
            let name = format!("Token {number:03}");
            manage::create_token(hub, Caller::system("test"), name, owner.clone(), Term::Days(9))
                .await
                .unwrap();
        }
        account
    }

    /// Changes of a user, the requests that carried them, and events of it that are set aside; returns the number of a
    /// request, and a change.
    async fn history(hub: &Hub, rows: usize, application: &str, user: &str) -> (i64, i64) {
        for number in 0..rows {
            let changes = UserChanges {
                description: Some(Some(format!("change {number}"))),
                ..UserChanges::default()
            };
            let id = user.to_owned();
            apply(hub, Command::UpdateUser { id, changes }).await;
        }
        sql(
            hub,
            "UPDATE deliveries SET position = $2 WHERE application_id = $1",
            application,
            {
                let head = hub.db.read(rollcall::change::head).await.unwrap().seq;
                move || Value::from(head)
            },
        )
        .await;
        let wanted = user.to_owned();
        let changes = hub
            .db
            .read(move |tx| rollcall::change::of_subject(tx, &wanted))
            .await
            .unwrap();
        let (now, mut last) = (hub.clock.now(), (0, 0));
        for (number, change) in changes.iter().rev().take(rows).enumerate() {
            let mut request = sent(Source::Log, Some((change.seq, change.seq)), 1, now);
            // Of some it is not known yet what became of them.
            if number % 3 == 0 {
                request.exceptions = vec![Exception {
                    event_id: change.event_id.clone(),
                    subject_id: user.to_owned(),
                    event_type: "ud:user:update_info".into(),
                    result: "failed".into(),
                    code: "invalid_email".into(),
                    message: None,
                }];
            }
            last = (attempt(hub, application, request).await, change.seq);
            let (id, event) = (
                application.to_owned(),
                aside(&format!("ev_{number}"), user, change.seq, now),
            );
            hub.db
                .write(move |tx| parked::store(tx, &id, &event))
                .await
                .unwrap();
        }
        last
    }

    /// An address with the ids of what there is.
    fn fill(&self, address: &str) -> String {
        let of = |kind: &str| address.contains(&format!("/{kind}/{{id}}"));
        let id = [
            ("applications", &self.application),
            ("users", &self.user),
            ("units", &self.unit),
            ("organizational-units", &self.unit),
            ("groups", &self.group),
            ("accounts", &self.account),
            ("tokens", &self.token),
            ("connections", &self.connection),
        ]
        .into_iter()
        .find(|(kind, _)| of(kind))
        .map_or("", |(_, id)| id.as_str());
        let filled = address
            .replace("{id}", id)
            .replace("{application}", &self.application)
            .replace("{user}", &self.user)
            .replace("{token}", &self.connection_token)
            .replace("{secret}", &self.client_secret)
            .replace("{job}", &self.job)
            .replace("{number}", &self.attempt.to_string())
            .replace("{seq}", &self.change.to_string())
            .replace("{file}", "rollcall.env");
        assert!(
            !filled.contains('{') && !filled.contains("//"),
            "what stands in {address}?"
        );
        assert!(
            !address.contains("{id}") || !id.is_empty(),
            "what is {address} about?"
        );
        filled
    }

    /// What is asked besides each address as it is: searches, filters, forms about something.
    fn further(&self) -> Vec<(&'static str, String)> {
        let Self {
            application,
            user,
            unit,
            ..
        } = self;
        let app = |rest: &str| format!("/console/applications/{application}/{rest}");
        vec![
            ("a unit", format!("/console/directory?unit={unit}")),
            ("users by name", "/console/directory?search=user".into()),
            ("users in Chinese", "/console/directory?search=%E5%BC%A0".into()),
            ("users by phone", "/console/directory?search=%2B49+170".into()),
            ("groups by name", "/console/groups?search=group".into()),
            (
                "applications by name",
                "/console/applications?search=application".into(),
            ),
            ("a user below a unit", format!("/console/users/new?unit={unit}")),
            ("a unit below a unit", format!("/console/units/new?parent={unit}")),
            ("deliveries in trouble", app("deliveries?outcome=troubled")),
            ("deliveries of a user", app(&format!("deliveries?subject={user}"))),
            (
                "deliveries before one",
                app(&format!("deliveries?before={}", self.attempt)),
            ),
            ("audit of a user", format!("/console/audit?target={user}")),
            ("API: users by name", "/api/v1/users?search=user".into()),
            (
                "API: users in a unit",
                format!("/api/v1/users?organizationalUnitId={unit}"),
            ),
            ("API: a user by name", "/api/v1/users/ada".into()),
            (
                "API: a unit by path",
                "/api/v1/organizational-units/Top%2FDeep%20000%2FDeep%20001".into(),
            ),
            (
                "API: units by name",
                "/api/v1/organizational-units?search=unit".into(),
            ),
            (
                "API: units in one",
                format!("/api/v1/organizational-units?parentId={unit}"),
            ),
            ("API: a group by name", "/api/v1/groups/Group%20001".into()),
            (
                "API: why, by names",
                "/api/v1/applications/Application%20000/why/ada".into(),
            ),
            ("API: audit of a user", "/api/v1/audit?target=ada".into()),
            (
                "API: the newest changes",
                "/api/v1/changes?newestFirst=true".into(),
            ),
            (
                "API: the newest changes of a user",
                "/api/v1/changes?newestFirst=true&subject=ada".into(),
            ),
            ("API: groups after one", "/api/v1/groups?after=Group%20000".into()),
        ]
    }

    /// How many statements each address takes, as somebody of a role.
    async fn statements(&self, role: Role) -> BTreeMap<String, u64> {
        let served = Served::start(&self.hub, Some(role)).await;
        let index = served.ask("/api/v1", "en").await.text().await.unwrap();
        let index: Json = serde_json::from_str(&index).unwrap();
        let routes = index["routes"].as_array().unwrap().iter();
        let reading = routes.filter(|route| route["method"] == "GET");
        let of_api: Vec<String> = reading
            .map(|route| route["path"].as_str().unwrap().to_owned())
            .collect();
        assert!(of_api.len() > 30, "{of_api:?}");
        let mut all: Vec<(String, String)> = rollcall::console::declared()
            .into_iter()
            .chain(of_api)
            .map(|address| {
                let filled = self.fill(&address);
                (address, filled)
            })
            .collect();
        all.extend(
            self.further()
                .into_iter()
                .map(|(what, path)| (what.to_owned(), path)),
        );
        let mut found = BTreeMap::new();
        for (address, path) in all {
            // The first time may note that somebody was there.
            served.count(&self.hub, &path).await;
            if let Some(statements) = served.count(&self.hub, &path).await {
                found.insert(address, statements);
            }
        }
        found
    }
}

impl Served {
    /// How many statements an answer takes; `None` of what is only for deeds.
    async fn count(&self, hub: &Hub, path: &str) -> Option<u64> {
        let before = hub.db.stats().statements;
        let mut answer = self.ask(path, "en").await;
        let allowed = answer
            .headers()
            .get("allow")
            .map(|it| it.to_str().unwrap().to_owned());
        assert!(answer.status().as_u16() < 500, "{path}: {}", answer.status());
        if allowed.is_some_and(|methods| !methods.contains("GET")) {
            return None;
        }
        if answer
            .headers()
            .get("content-type")
            .is_some_and(|it| it == "text/event-stream")
        {
            answer.chunk().await.unwrap().unwrap();
            let statements = hub.db.stats().statements - before;
            drop(answer);
            // Until the hub has noticed that nobody follows any more.
            tokio::time::sleep(Duration::from_millis(300)).await;
            return Some(statements);
        }
        answer.bytes().await.unwrap();
        Some(hub.db.stats().statements - before)
    }
}

/// What is wrong with the numbers of a role.
fn wrong(role: &str, few: &BTreeMap<String, u64>, many: &BTreeMap<String, u64>) -> Vec<String> {
    assert_eq!(few.keys().collect::<Vec<_>>(), many.keys().collect::<Vec<_>>());
    assert!(few.len() > 90, "{}", few.len());
    let mut wrong = Vec::new();
    for (address, statements) in few {
        let more = many[address];
        // A file of everything is written group by group, so that the members of one at most are in memory.
        if address.ends_with("/export") {
            continue;
        }
        if more > *statements {
            wrong.push(format!(
                "{role}: {address}: {statements} statements for few rows, {more} for many"
            ));
        } else if *statements > MOST {
            wrong.push(format!("{role}: {address}: {statements} statements"));
        }
    }
    wrong
}

#[test]
fn pages_and_answers_are_made_of_a_few_statements_however_much_there_is() {
    let both = databases("statements_few")
        .into_iter()
        .zip(databases("statements_many"));
    for (few, many) in both {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let found = runtime.block_on(async {
            let (few, many) = tokio::join!(Filled::of(&few.url, FEW), Filled::of(&many.url, MANY));
            let mut found = Vec::new();
            for (name, role) in [
                (
                    "administrator",
                    (|_: &Filled| Role::Administrator) as fn(&Filled) -> Role,
                ),
                ("owner", |filled| {
                    Role::ApplicationOwner(filled.applications.clone())
                }),
            ] {
                let of_few = few.statements(role(&few)).await;
                let of_many = many.statements(role(&many)).await;
                found.extend(wrong(name, &of_few, &of_many));
            }
            found
        });
        assert!(found.is_empty(), "{:?}:\n{}", few.dialect, found.join("\n"));
    }
}
