//! Comparing what an application has with what it should have, and repairing it: two hubs in a chain, of which the
//! second is changed by hand; and an application that does what a script says.

use super::*;

use rollcall::application::scim::Thresholds;
use rollcall::delivery::comparison;

use crate::access::Site;
use crate::scim::connect;

/// What is asked of the API about the comparison of an application.
pub(super) struct Asked<'a> {
    site: &'a Site,
    path: String,
}

impl<'a> Asked<'a> {
    pub(super) fn of(site: &'a Site, application: &Application) -> Self {
        Self {
            site,
            path: format!("/applications/{}/comparison", application.id),
        }
    }

    async fn get(&self, path: &str) -> Value {
        let said = self
            .site
            .machine("GET", &format!("{}{path}", self.path), Value::Null)
            .await;
        assert_eq!(said.status, 200, "{}", said.body);
        said.body
    }

    /// Begins one, after that with which a synchronization ends, if one is under way.
    async fn begin(&self) -> String {
        loop {
            let newest = self.site.machine("GET", &self.path, Value::Null).await;
            if newest.body["status"] != "running" {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let said = self.site.machine("POST", &self.path, Value::Null).await;
        assert_eq!(said.status, 200, "{}", said.body);
        said.text("id")
    }

    /// Compares, and waits for the end.
    pub(super) async fn compare(&self) -> Value {
        let id = self.begin().await;
        loop {
            let newest = self.get("").await;
            assert_eq!(newest["id"], id.as_str());
            if newest["status"] != "running" {
                return newest;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What differs: kind and name.
    pub(super) async fn differences(&self) -> Vec<Value> {
        let mut found = Vec::new();
        let mut query = "/differences?limit=2".to_owned();
        loop {
            let page = self.get(&query).await;
            found.extend(page["items"].as_array().unwrap().iter().cloned());
            match page["next"].as_str() {
                Some(next) => query = format!("/differences?limit=2&cursor={next}"),
                None => return found,
            }
        }
    }

    async fn repair(&self, selection: Value, confirm: Option<&str>) -> crate::access::Said {
        let query = confirm.map_or(String::new(), |token| format!("?confirm={token}"));
        let path = format!("{}/repair{query}", self.path);
        self.site.machine("POST", &path, selection).await
    }

    /// Repairs, and waits for the end.
    async fn repaired(&self, selection: Value, confirm: Option<&str>) -> Value {
        let said = self.repair(selection, confirm).await;
        self.ended(&said).await
    }

    /// Repairs all that the comparison of this id has found, with a confirmation if it takes one.
    pub(super) async fn repaired_all(&self, comparison: &Value) -> Value {
        let everything = json!({ "comparison": comparison, "all": true });
        let said = self.repair(everything.clone(), None).await;
        if said.status != 428 {
            return self.ended(&said).await;
        }
        let token = said.body["plan"]["token"].as_str().unwrap();
        self.repaired(everything, Some(token)).await
    }

    /// The job of a repair, as soon as it has ended.
    async fn ended(&self, said: &crate::access::Said) -> Value {
        assert_eq!(said.status, 200, "{}", said.body);
        let job = said.text("synchronization");
        let path = self
            .path
            .replace("/comparison", &format!("/synchronizations/{job}"));
        loop {
            let job = self.site.machine("GET", &path, Value::Null).await.body;
            if job["endedAt"].is_i64() {
                return job;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

pub(super) fn told(differences: &[Value]) -> BTreeSet<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    differences
        .iter()
        .map(|it| (text(&it["kind"]), text(&it["name"])))
        .collect()
}

fn one<'v>(differences: &'v [Value], kind: &str, name: &str) -> &'v Value {
    let found = differences
        .iter()
        .find(|it| it["kind"] == kind && it["name"] == name);
    found.unwrap_or_else(|| panic!("{kind} {name}: {differences:?}"))
}

fn pairs(of: &[(&str, &str)]) -> BTreeSet<(String, String)> {
    of.iter()
        .map(|(kind, name)| ((*kind).to_owned(), (*name).to_owned()))
        .collect()
}

/// Somebody of a hub, by username.
async fn id_of(hub: &Hub, name: &str) -> String {
    let name = name.to_owned();
    let found = hub
        .db
        .read(move |tx| rollcall::directory::query::find_user(tx, &name));
    found.await.unwrap().unwrap().id
}

#[test]
fn what_was_changed_by_hand_is_named_and_repaired() {
    on_both("compare_chain", |first, second| async move {
        let (a, b) = (Site::start(&first).await, Site::start(&second).await);
        let (connection, token) = connect(&b.hub, "A", &Value::Null).await;
        let base = format!("http://{}/scim/v2/{}", b.address, connection.id);
        let application = add_at(&a.hub, &base, &token, |scim| {
            scim.leavers = Leavers::Disable;
            scim.profile.page_size = 2;
        })
        .await;
        let delivery = begin(&a.hub).await;
        let mut ids = Vec::new();
        for name in ["ada", "bob", "eve", "carl", "dan"] {
            ids.push(user(&a.hub, name).await);
        }
        let staff = group_with(&a.hub, "Staff", &[&ids[0], &ids[1], &ids[2]]).await;
        settled(&a.hub, &application).await;
        apply(&a.hub, Command::DeleteUser { id: ids[3].clone() }).await;
        settled(&a.hub, &application).await;
        let asked = Asked::of(&a, &application);
        let compared = asked.compare().await;
        assert_eq!(compared["status"], "done", "{compared}");
        assert_eq!(asked.differences().await, Vec::<Value>::new());
        assert_eq!(compared["counts"]["users"]["same"], 4, "{compared}");
        assert_eq!(compared["counts"]["users"]["there"], 5);
        assert_eq!(compared["counts"]["groups"]["same"], 1);

        // By hand: another name, a deletion, a new account, and other members.
        let there = async |name: &str| id_of(&b.hub, name).await;
        let of_ada = format!("{base}/Users/{}", there("ada").await);
        let renamed_there = json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
            "Operations": [{ "op": "replace", "path": "displayName", "value": "Somebody else" }],
        });
        let change = reqwest::Client::new().patch(&of_ada).bearer_auth(&token);
        let change = change
            .header("content-type", "application/scim+json")
            .body(renamed_there.to_string());
        assert_eq!(change.send().await.unwrap().status(), 200);
        apply(
            &b.hub,
            Command::DeleteUser {
                id: there("bob").await,
            },
        )
        .await;
        apply(
            &b.hub,
            Command::EnableUser {
                id: there("carl").await,
            },
        )
        .await;
        let stranger = json!({ "userName": "stranger", "active": true });
        let url = format!("{base}/Users");
        let made = reqwest::Client::new().post(&url).bearer_auth(&token);
        let made = made
            .header("content-type", "application/scim+json")
            .body(stranger.to_string());
        assert_eq!(made.send().await.unwrap().status(), 201);
        let group = b
            .hub
            .db
            .read(|tx| rollcall::directory::query::find_group(tx, "Staff"))
            .await
            .unwrap()
            .unwrap()
            .id;
        let leaves = Command::RemoveMembers {
            group_id: group.clone(),
            user_ids: vec![there("eve").await],
        };
        apply(&b.hub, leaves).await;
        join(&b.hub, &group, &[&there("stranger").await]).await;

        let compared = asked.compare().await;
        let differences = asked.differences().await;
        let all = pairs(&[
            ("update", "ada"),
            ("create", "bob"),
            ("disable", "carl"),
            ("foreign", "stranger"),
            ("update", "Staff"),
        ]);
        assert_eq!(told(&differences), all, "{differences:#?}");
        let ada = one(&differences, "update", "ada");
        let attributes = ada["details"]["attributes"].as_array().unwrap();
        let of_name = attributes.iter().find(|it| it["attribute"] == "displayName");
        assert_eq!(of_name.unwrap()["there"], "Somebody else", "{ada}");
        let group = one(&differences, "update", "Staff");
        assert_eq!(group["details"]["firstMissing"], json!(["bob", "eve"]), "{group}");
        assert_eq!(group["details"]["firstSurplus"], json!(["stranger"]), "{group}");
        assert_eq!(compared["counts"]["members"]["missing"], 2, "{compared}");
        assert_eq!(compared["counts"]["users"]["foreign"], 1);
        let only = asked.get("/differences?foreign=false&kind=create").await;
        assert_eq!(only["items"].as_array().unwrap().len(), 1);

        // Nobody is disabled without a confirmation, and what is foreign is not touched.
        let comparison = compared["id"].clone();
        let everything = json!({ "comparison": comparison, "all": true });
        let refused = asked.repair(everything.clone(), None).await;
        assert_eq!(refused.refused(), (428, "unconfirmed"), "{}", refused.body);
        let plan = &refused.body["plan"];
        assert_eq!(plan["exceeds"], json!(["leaving"]), "{plan}");
        assert_eq!(plan["disable"], 1);
        let wrong = asked.repair(everything.clone(), Some("wrong")).await;
        assert_eq!(wrong.refused(), (409, "plan_changed"), "{}", wrong.body);
        let foreign = one(&differences, "foreign", "stranger")["number"].clone();
        let untouched = json!({ "comparison": comparison, "differences": [foreign] });
        assert_eq!(asked.repair(untouched, None).await.status, 404);
        let other = json!({ "comparison": "cmp_0", "all": true });
        assert_eq!(asked.repair(other, None).await.refused(), (409, "not_compared"));

        // One of them, and then everything.
        let number = ada["number"].clone();
        let job = asked
            .repaired(json!({ "comparison": comparison, "differences": [number] }), None)
            .await;
        assert_eq!(job["status"], "success", "{job}");
        asked.compare().await;
        let differences = asked.differences().await;
        let mut rest = all.clone();
        rest.remove(&("update".to_owned(), "ada".to_owned()));
        assert_eq!(told(&differences), rest, "{differences:#?}");
        let newest = asked.get("").await["id"].clone();
        let everything = json!({ "comparison": newest, "all": true });
        let refused = asked.repair(everything.clone(), None).await;
        let token = refused.body["plan"]["token"].as_str().unwrap().to_owned();
        let job = asked.repaired(everything, Some(&token)).await;
        assert_eq!(job["status"], "success", "{job}");
        asked.compare().await;
        let differences = asked.differences().await;
        assert_eq!(
            told(&differences),
            pairs(&[("foreign", "stranger")]),
            "{differences:#?}"
        );

        // What the hub has to tell anyway is no difference.
        delivery.stop().await;
        apply(&a.hub, renamed(&ids[4], "daniel")).await;
        let command = Command::RemoveMembers {
            group_id: staff,
            user_ids: vec![ids[0].clone()],
        };
        apply(&a.hub, command).await;
        let compared = asked.compare().await;
        assert_eq!(
            told(&asked.differences().await),
            pairs(&[("foreign", "stranger")])
        );
        assert_eq!(compared["counts"]["users"]["underWay"], 1, "{compared}");
    });
}

#[test]
fn a_comparison_waits_as_it_is_asked_to_and_ends_whatever_happens() {
    on_both("compare_ends", |database, _| async move {
        let site = Site::start(&database).await;
        let (app, application) = add(&site.hub, |scim| scim.profile.page_size = 1).await;
        let delivery = begin(&site.hub).await;
        for name in ["ada", "bob"] {
            user(&site.hub, name).await;
        }
        settled(&site.hub, &application).await;
        delivery.stop().await;
        let asked = Asked::of(&site, &application);
        let none = site.machine("GET", &asked.path, Value::Null).await;
        assert_eq!(none.status, 404);

        // An application that is busy is asked again, page by page.
        app.with(|script| {
            script.provider.calls.clear();
            script.fates = [Fate::Fine, Fate::Busy, Fate::Fine].into();
        });
        let compared = asked.compare().await;
        assert_eq!(compared["status"], "done", "{compared}");
        assert_eq!(compared["counts"]["users"]["same"], 2, "{compared}");
        app.with(|script| {
            assert_eq!(
                script.provider.calls,
                ["GET Users", "GET Users", "GET Groups"],
                "one user on a page"
            );
        });

        // One that refuses ends it, and says why.
        app.with(|script| script.fates = [Fate::Status(403)].into());
        let compared = asked.compare().await;
        assert_eq!(compared["status"], "failed", "{compared}");
        assert!(compared["error"].as_str().unwrap().contains("403"), "{compared}");
        let everything = json!({ "comparison": compared["id"], "all": true });
        let refused = asked.repair(everything, None).await;
        assert_eq!(refused.refused(), (409, "not_compared"), "{}", refused.body);

        // One whose hub is gone counts as interrupted after a while, and another one can begin.
        let id = application.id.clone();
        let begun = site.hub.write_as(Caller::system("test"), move |tx, ctx| {
            comparison::begin(tx, ctx, &id)
        });
        begun.await.unwrap();
        assert_eq!(asked.get("").await["status"], "running");
        let again = site.machine("POST", &asked.path, Value::Null).await;
        assert_eq!(again.refused(), (409, "comparison"), "{}", again.body);
        site.clock.set(100_000);
        assert_eq!(asked.get("").await["status"], "interrupted");
        assert_eq!(asked.compare().await["status"], "done");

        // It can be broken off.
        let cancel = format!("{}/cancel", asked.path);
        let nothing = site.machine("POST", &cancel, Value::Null).await;
        assert_eq!(nothing.refused(), (409, "comparison"), "{}", nothing.body);
        let id = application.id.clone();
        let begun = site.hub.write_as(Caller::system("test"), move |tx, ctx| {
            comparison::begin(tx, ctx, &id)
        });
        begun.await.unwrap();
        assert_eq!(site.machine("POST", &cancel, Value::Null).await.status, 200);
        assert_eq!(asked.get("").await["status"], "cancelled");

        // Another address is another application, of which nothing was found.
        let another = SettingsPatch {
            url: Some("http://127.0.0.1:9/other".to_owned()),
            ..SettingsPatch::default()
        };
        let update = application::Command::Update {
            id: application.id.clone(),
            name: None,
            settings: another,
            secret: Some(SecretString::from("s3cret")),
        };
        site.hub
            .apply_application(Caller::system("test"), update)
            .await
            .unwrap();
        let none = site.machine("GET", &asked.path, Value::Null).await;
        assert_eq!(none.status, 404, "{}", none.body);
    });
}

#[test]
fn a_repair_sets_members_right_in_every_way_in_which_groups_are_told() {
    for groups in [GroupUpdate::Change, GroupUpdate::Replace, GroupUpdate::Put] {
        on_both("compare_members", move |database, _| async move {
            let site = Site::start(&database).await;
            let (app, application) = add(&site.hub, |scim| {
                scim.profile.groups = groups;
                scim.profile.members_at_once = 2;
                scim.thresholds = Thresholds {
                    member_removals: 1,
                    ..Thresholds::default()
                };
            })
            .await;
            let delivery = begin(&site.hub).await;
            let mut ids = Vec::new();
            for number in 0..6 {
                ids.push(user(&site.hub, &format!("u{number}")).await);
            }
            group_with(&site.hub, "Staff", &ids[..3].iter().collect::<Vec<_>>()).await;
            settled(&site.hub, &application).await;
            // Two are taken out by hand, three come in; and everybody into a group where nobody should be.
            let empty = group_with(&site.hub, "Nobody", &[]).await;
            settled(&site.hub, &application).await;
            app.with(|script| {
                let users: Vec<String> = script.provider.users.keys().cloned().collect();
                let set = |ids: &[String]| {
                    let members = ids.iter().map(|id| json!({ "value": id })).collect::<Vec<_>>();
                    Value::from(members)
                };
                for group in script.provider.groups.values_mut() {
                    let members = match group["displayName"] == "Staff" {
                        true => set(&users[2..]),
                        false => set(&users),
                    };
                    group.insert("members".to_owned(), members);
                }
            });
            let asked = Asked::of(&site, &application);
            asked.compare().await;
            let differences = asked.differences().await;
            let staff = one(&differences, "update", "Staff");
            assert_eq!(
                (&staff["missing"], &staff["surplus"]),
                (&json!(2), &json!(3)),
                "{staff}"
            );
            let nobody = one(&differences, "update", "Nobody");
            assert_eq!(nobody["emptied"], true, "{nobody}");
            assert_eq!(nobody["subjectId"], empty.as_str());
            let everything = json!({ "comparison": asked.get("").await["id"], "kinds": ["update"] });
            let refused = asked.repair(everything.clone(), None).await;
            let plan = &refused.body["plan"];
            assert_eq!(
                plan["exceeds"],
                json!(["member_removals", "emptied_groups"]),
                "{}",
                refused.body
            );
            let token = plan["token"].as_str().unwrap().to_owned();
            let job = asked.repaired(everything, Some(&token)).await;
            assert_eq!(job["status"], "success", "{job}");
            assert_eq!(app.members("Staff"), set(&["u0", "u1", "u2"]));
            assert_eq!(app.members("Nobody"), set(&[]));
            asked.compare().await;
            assert_eq!(asked.differences().await, Vec::<Value>::new());
            delivery.stop().await;
        });
    }
}

#[test]
fn groups_that_are_gone_there_are_made_again_with_all_who_are_in_them() {
    on_both("compare_groups", |database, _| async move {
        let site = Site::start(&database).await;
        let (app, application) = add(&site.hub, |_| {}).await;
        let delivery = begin(&site.hub).await;
        let (ada, bob) = (user(&site.hub, "ada").await, user(&site.hub, "bob").await);
        group_with(&site.hub, "Staff", &[&ada, &bob]).await;
        settled(&site.hub, &application).await;
        app.with(|script| {
            script.provider.groups.clear();
            let bob = script.provider.users.keys().last().unwrap().clone();
            script.provider.users.remove(&bob);
        });
        let asked = Asked::of(&site, &application);
        asked.compare().await;
        let differences = asked.differences().await;
        assert_eq!(
            told(&differences),
            pairs(&[("create", "bob"), ("create", "Staff")])
        );
        let everything = json!({ "comparison": asked.get("").await["id"], "all": true });
        let job = asked.repaired(everything, None).await;
        assert_eq!(job["status"], "success", "{job}");
        assert_eq!(app.names(), set(&["ada", "bob"]));
        assert_eq!(app.members("Staff"), set(&["ada", "bob"]));
        // Whoever is erased is named nowhere.
        asked.compare().await;
        rollcall::maintenance::erasure::erase_user(&site.hub, &Caller::system("test"), &ada)
            .await
            .unwrap();
        let none = site.machine("GET", &asked.path, Value::Null).await;
        assert_eq!(none.status, 404, "{}", none.body);
        delivery.stop().await;
    });
}
