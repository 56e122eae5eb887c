//! What all routes of the administrator's API have in common: pages, versions, keys under which something is done once,
//! and limits.

use rollcall::access::{RateLimit, Role};
use rollcall::once::Begun;
use rollcall_db::testing::databases;
use serde_json::{Value, json};

use crate::access::{Said, Site, bearer, on_each};
use crate::plain::user;

async fn get(site: &Site, path: &str) -> Said {
    let said = site.machine("GET", path, Value::Null).await;
    assert_eq!(said.status, 200, "{path}: {}", said.body);
    said
}

fn new_user(name: &str) -> Value {
    json!({ "username": name, "displayName": name, "primaryOrganizationalUnitId": "ou_root" })
}

/// Reads a list to its end, a page of two after the other.
async fn all(site: &Site, path: &str) -> Vec<Value> {
    let mark = if path.contains('?') { '&' } else { '?' };
    let mut next = format!("{path}{mark}limit=2");
    let mut all = Vec::new();
    loop {
        let page = get(site, &next).await;
        let items = page.body["items"].as_array().unwrap();
        assert!(items.len() <= 2);
        all.extend(items.clone());
        let link = page
            .headers
            .get("link")
            .map(|link| link.to_str().unwrap().to_owned());
        let Some(cursor) = page.body["next"].as_str() else {
            assert_eq!(link, None, "{path}");
            return all;
        };
        let link = link.unwrap();
        let (target, rest) = link.split_once('>').unwrap();
        assert_eq!(rest, "; rel=\"next\"");
        assert!(target.contains(cursor), "{link}");
        target.strip_prefix("</api/v1").unwrap().clone_into(&mut next);
    }
}

#[test]
fn every_list_is_read_page_by_page() {
    on_each("api_pages", |site| async move {
        for name in ["delta", "Alpha", "charlie", "Bravo", "echo"] {
            user(&site.hub, name).await;
            let group = json!({ "name": name });
            let unit = json!({ "name": name, "parentId": "ou_root" });
            let application = json!({ "name": name, "settings": { "url": "http://127.0.0.1:1/" } });
            let token = json!({ "name": name, "role": "auditor" });
            let account = json!({ "name": name, "role": "auditor" });
            for (path, new) in [
                ("/groups", group),
                ("/organizational-units", unit),
                ("/applications", application),
                ("/tokens", token),
                ("/accounts", account),
            ] {
                let made = site.machine("POST", path, new).await;
                assert_eq!(made.status, 200, "{}", made.body);
            }
        }
        let names = |list: Vec<Value>, field: &str| -> Vec<String> {
            let names = list.iter().map(|one| one[field].as_str().unwrap().to_owned());
            names.collect()
        };
        let sorted = ["Alpha", "Bravo", "charlie", "delta", "echo"];
        for (path, field) in [
            ("/users", "username"),
            ("/groups", "name"),
            ("/organizational-units", "name"),
            ("/applications", "name"),
            ("/accounts", "name"),
        ] {
            assert_eq!(names(all(&site, path).await, field), sorted, "{path}");
        }
        let made = ["delta", "Alpha", "charlie", "Bravo", "echo"];
        assert_eq!(
            names(all(&site, "/tokens").await, "name"),
            made,
            "as they were made"
        );
        assert_eq!(
            names(all(&site, "/groups?search=A").await, "name"),
            ["Alpha", "Bravo", "charlie", "delta"]
        );
        let all_users: Vec<String> = names(all(&site, "/users").await, "id");
        let members = json!({ "userIds": all_users });
        assert_eq!(
            site.machine("POST", "/groups/echo/members", members).await.status,
            200
        );
        assert_eq!(all(&site, "/groups/echo/members").await.len(), 5);
        let changes = all(&site, "/changes?after=3").await;
        let positions: Vec<i64> = changes.iter().map(|it| it["seq"].as_i64().unwrap()).collect();
        let expected: Vec<i64> = (4..4 + i64::try_from(positions.len()).unwrap()).collect();
        assert_eq!(positions, expected);
        let whole = get(&site, "/audit?limit=1000").await.body["items"]
            .as_array()
            .unwrap()
            .len();
        assert_eq!(all(&site, "/audit").await.len(), whole);
        for _ in 0..3 {
            let job = site
                .machine("POST", "/applications/echo/synchronizations", Value::Null)
                .await;
            assert_eq!(job.status, 200, "{}", job.body);
            site.machine("POST", "/applications/echo/synchronizations/cancel", Value::Null)
                .await;
        }
        let jobs = names(all(&site, "/applications/echo/synchronizations").await, "id");
        assert_eq!(jobs.len(), 3);
        assert!(jobs.is_sorted_by(|newer, older| newer > older));

        // A cursor fits where it comes from.
        let cursor = get(&site, "/users?limit=1").await.text("next");
        for path in [
            format!("/groups?cursor={cursor}"),
            format!("/users?search=a&cursor={cursor}"),
            "/users?cursor=nonsense".to_owned(),
            "/users?cursor=".to_owned(),
            "/users?limit=0".to_owned(),
            "/users?limit=1001".to_owned(),
            "/users?limit=-1".to_owned(),
            "/users?page=2".to_owned(),
        ] {
            let said = site.machine("GET", &path, Value::Null).await;
            assert_eq!(said.refused(), (400, "bad_request"), "{path}: {}", said.body);
        }
        let unknown = site.machine("GET", "/users?page=2", Value::Null).await;
        assert!(
            unknown
                .text("detail")
                .contains("organizationalUnitId, search, cursor, limit")
        );
    });
}

#[test]
fn a_change_is_held_to_the_version_that_was_read() {
    on_each("api_versions", |site| async move {
        for (path, new, change) in [
            ("/users", new_user("ada"), json!({ "displayName": "Countess" })),
            ("/groups", json!({ "name": "ada" }), json!({ "description": "x" })),
            (
                "/organizational-units",
                json!({ "name": "ada", "parentId": "ou_root" }),
                json!({ "description": "x" }),
            ),
            (
                "/applications",
                json!({ "name": "ada", "settings": { "url": "http://127.0.0.1:1/" } }),
                json!({ "settings": { "lanes": 2 } }),
            ),
            (
                "/accounts",
                json!({ "name": "ada", "role": "auditor" }),
                json!({ "disabled": true }),
            ),
        ] {
            assert_eq!(site.machine("POST", path, new).await.status, 200);
            let one = format!("{path}/ada");
            let tag = |said: &Said| said.headers["etag"].to_str().unwrap().to_owned();
            let read = tag(&get(&site, &one).await);
            let held = async |method: &str, tag: &str, body: &Value| {
                let mut headers = bearer(&site.machine);
                headers.push(("if-match", tag.to_owned()));
                site.ask(method, &one, &headers, body).await
            };
            // The log tells changes by the time.
            tokio::time::sleep(std::time::Duration::from_millis(3)).await;
            assert_eq!(held("PATCH", &read, &change).await.status, 200, "{path}");
            let late = held("DELETE", &read, &Value::Null).await;
            assert_eq!(late.refused(), (412, "changed"), "{path}: {}", late.body);
            let now = tag(&get(&site, &one).await);
            assert_ne!(now, read);
            assert_eq!(format!("\"{}\"", late.body["found"]), now);
            let change = &late.body["changes"][0];
            assert_eq!(change["actor"], "token:admin", "{path}: {}", late.body);
            assert!(!change["fields"].as_array().unwrap().is_empty(), "{}", late.body);
            assert_eq!(late.body["changes"].as_array().unwrap().len(), 1, "{}", late.body);
            assert_eq!(held("PATCH", "\"x\"", &Value::from(1)).await.status, 400);
            let any = held("PATCH", "*", &json!({})).await;
            assert_eq!(any.status, 200, "{}", any.body);
            let path = if path == "/applications" {
                let plan = get(&site, "/applications/ada/deletion").await;
                format!("{one}?confirm={}", plan.text("token"))
            } else {
                one.clone()
            };
            let mut headers = bearer(&site.machine);
            headers.push(("if-match", now));
            let deleted = site.ask("DELETE", &path, &headers, &Value::Null).await;
            assert_eq!(deleted.status, 200, "{}", deleted.body);
        }
        let token = site
            .machine("POST", "/tokens", json!({ "name": "ci", "role": "auditor" }))
            .await;
        assert_eq!(token.status, 200);
        let mut headers = bearer(&site.machine);
        headers.push(("if-match", "\"1\"".to_owned()));
        let other = site.ask("DELETE", "/tokens/ci", &headers, &Value::Null).await;
        assert_eq!(other.refused(), (412, "changed"));
        // Where it has no meaning, nobody is left in the belief that it has.
        let said = site.ask("POST", "/users", &headers, &new_user("bob")).await;
        assert_eq!(said.status, 400, "{}", said.body);
        assert!(said.text("detail").contains("if-match"), "{}", said.body);
    });
}

#[test]
fn who_joins_and_who_leaves_is_a_new_version_of_the_group() {
    on_each("api_versions_members", |site| async move {
        let group = site.machine("POST", "/groups", json!({ "name": "staff" })).await;
        assert_eq!(group.status, 200);
        let mut users = Vec::new();
        for name in ["ada", "bob"] {
            users.push(
                site.machine("POST", "/users", new_user(name))
                    .await
                    .text("id")
                    .to_owned(),
            );
        }
        let tag = async || get(&site, "/groups/staff").await.headers["etag"].clone();
        let members = async |deed: &str, tag: &str, ids: &[&String]| {
            let mut headers = bearer(&site.machine);
            headers.push(("if-match", tag.to_owned()));
            let path = format!("/groups/staff/{deed}");
            let said = site
                .ask("POST", &path, &headers, &json!({ "userIds": ids }))
                .await;
            said.status
        };
        let mut seen = vec![tag().await];
        for (deed, ids) in [
            ("members", vec![&users[0]]),
            ("members", vec![&users[1]]),
            ("members/remove", vec![&users[0], &users[1]]),
        ] {
            let read = seen.last().unwrap().to_str().unwrap().to_owned();
            assert_eq!(members(deed, &read, &ids).await, 200, "{deed}");
            assert_eq!(members("members", &read, &[&users[0]]).await, 412, "{deed}");
            seen.push(tag().await);
        }
        // Whoever is no member cannot leave: nothing changes.
        let read = seen.last().unwrap().to_str().unwrap().to_owned();
        assert_eq!(members("members/remove", &read, &[&users[0]]).await, 200);
        assert_eq!(tag().await, read);
        let different: std::collections::BTreeSet<_> = seen.iter().map(|tag| tag.to_str().unwrap()).collect();
        assert_eq!(different.len(), 4, "{seen:?}");
    });
}

#[test]
fn what_is_made_under_a_key_is_made_once() {
    on_each("api_once", |site| async move {
        let send = async |path: &str, key: &str, body: &Value| {
            let mut headers = bearer(&site.machine);
            headers.push(("idempotency-key", key.to_owned()));
            site.ask("POST", path, &headers, body).await
        };
        let ada = new_user("ada");
        let first = send("/users", "k1", &ada).await;
        assert_eq!(first.status, 200, "{}", first.body);
        assert!(!first.headers.contains_key("idempotency-replayed"));
        let again = send("/users", "\"k1\"", &ada).await;
        assert_eq!((again.status, &again.body), (200, &first.body));
        assert_eq!(again.headers["idempotency-replayed"], "true");
        let other = send("/users", "k1", &new_user("bob")).await;
        assert_eq!(other.refused(), (422, "idempotency_key_reused"));
        assert_eq!(send("/groups", "k1", &json!({ "name": "g" })).await.status, 422);
        assert_eq!(
            send("/users", "k2", &ada).await.refused(),
            (409, "username_taken")
        );
        assert_eq!(send("/users", "a b", &ada).await.status, 400);
        assert_eq!(
            send("/users/ada/lock", "k3", &json!({})).await.status,
            400,
            "it makes nothing"
        );
        // What was refused is judged anew, and the key is free for another body.
        assert_eq!(send("/users", "k2", &new_user("bob")).await.status, 200);
        let users = get(&site, "/users").await.body["items"].as_array().unwrap().len();
        assert_eq!(users, 2);
        // Another caller has keys of its own.
        let token = json!({ "name": "ci", "role": "administrator" });
        let made = send("/tokens", "the-key-of-a-token", &token).await;
        let secret = made.text("secret");
        let again = send("/tokens", "the-key-of-a-token", &token).await;
        assert_eq!(again.text("secret"), secret, "the answer that was lost");
        let mut headers = bearer(&secret);
        headers.push(("idempotency-key", "k1".to_owned()));
        assert_eq!(
            site.ask("POST", "/users", &headers, &new_user("eve"))
                .await
                .status,
            200
        );
        // What is kept of it is sealed.
        let rows = site
            .hub
            .db
            .read(|tx| tx.query("SELECT id, request, answer FROM idempotency_keys", &[]));
        for row in rows.await.unwrap() {
            let answer = row.get::<Option<Vec<u8>>>(2).unwrap().unwrap_or_default();
            let text = String::from_utf8_lossy(&answer).into_owned() + &row.get::<String>(0).unwrap();
            assert!(
                !text.contains(&secret) && !text.contains("the-key-of-a-token"),
                "{text}"
            );
        }
        // After a day it is forgotten.
        site.clock.set(25 * 3_600_000);
        assert_eq!(
            send("/users", "k1", &ada).await.refused(),
            (409, "username_taken")
        );
        rollcall::maintenance::retention::trim(
            &site.hub,
            rollcall::maintenance::retention::Retention::default(),
        )
        .await
        .unwrap();
        let left = site
            .hub
            .db
            .read(|tx| tx.query("SELECT id FROM idempotency_keys", &[]))
            .await
            .unwrap();
        assert!(left.is_empty());
    });
}

#[test]
fn a_request_whose_process_died_is_neither_done_twice_nor_lost() {
    on_each("api_died", |site| async move {
        let begin = async || {
            let of = ["token:admin", "k", "fingerprint"].map(str::to_owned);
            let [principal, key, request] = of;
            site.hub.begin_once(principal, key, request).await.unwrap()
        };
        let make = async |once: &rollcall::once::Once, name: &str| {
            let caller = rollcall::access::Caller {
                once: Some(once.clone()),
                ..rollcall::access::Caller::system("test")
            };
            let new = crate::world::new_user(name, rollcall::id::ROOT_UNIT);
            let create = rollcall::directory::Command::CreateUser(new);
            site.hub.apply(caller, create).await
        };
        let Begun::Now(first) = begin().await else {
            panic!()
        };
        assert_eq!(begin().await, Begun::UnderWay);
        // It took so long that somebody else carries it out; what the first one does late is undone.
        site.clock.set(180_000);
        let Begun::Now(second) = begin().await else {
            panic!()
        };
        assert!(make(&first, "ada").await.is_err());
        make(&second, "ada").await.unwrap();
        // Nobody answered any more: it is done, and stays done.
        assert_eq!(begin().await, Begun::Unanswered);
        site.clock.set(600_000);
        assert_eq!(begin().await, Begun::Unanswered);
        site.hub.answer_once(second, None).await.unwrap();
        assert_eq!(
            begin().await,
            Begun::Unanswered,
            "what was done is not forgotten by an answer that failed"
        );
        let users = get(&site, "/users").await.body["items"].as_array().unwrap().len();
        assert_eq!(users, 1);
    });
}

#[test]
fn whoever_asks_too_often_is_told_when_to_ask_again() {
    for database in databases("api_limit") {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let limit = RateLimit {
                per_second: 1,
                burst: 6,
            };
            let site = Site::limited(&database.url, Some(limit)).await;
            let first = get(&site, "/whoami").await;
            assert_eq!(first.headers["ratelimit-policy"], "\"default\";q=6;w=6");
            assert_eq!(first.headers["ratelimit"], "\"default\";r=5;t=0");
            site.account("ada", Role::Auditor).await;
            let mut refused = None;
            for _ in 0..8 {
                let said = site.machine("GET", "/whoami", Value::Null).await;
                if said.status == 429 {
                    refused = Some(said);
                }
            }
            let refused = refused.unwrap();
            assert_eq!(refused.code(), "too_many_requests");
            let wait: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
            assert!((1..=2).contains(&wait));
            assert!(refused.headers["ratelimit"].to_str().unwrap().contains("r=0"));
            // Others are not held up by it, and neither is whoever has waited.
            let ada = site.sign_in("ada").await;
            assert_eq!(site.get(&ada, "/whoami").await.status, 200);
            tokio::time::sleep(std::time::Duration::from_secs(wait)).await;
            get(&site, "/whoami").await;
            // Whoever is nobody has nothing to be told of.
            let stranger = site.ask("GET", "/users", &[], &Value::Null).await;
            assert_eq!(stranger.status, 401);
            assert!(!stranger.headers.contains_key("ratelimit"));
        });
    }
}
