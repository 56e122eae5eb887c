//! Import by upload, with a plan that is confirmed, and export.

use rollcall::access::{Caller, Role};
use rollcall::directory::{Command, User, query};
use rollcall::hub::Hub;
use rollcall::id::ROOT_UNIT;

use super::Served;
use super::forms::Form;
use crate::world::{described, new_user, on_both, open_hub};

const PATH: &str = "/console/transfer";
const APPLY: &str = "/console/transfer/apply";

async fn user(hub: &Hub, name: &str) -> Option<User> {
    let name = name.to_owned();
    hub.db.read(move |tx| query::find_user(tx, &name)).await.unwrap()
}

impl Served {
    /// Sends a file as a browser does, with these fields.
    async fn upload(&self, fields: &[(&str, &str)], name: &str, content: &str) -> reqwest::Response {
        self.upload_from("same-origin", fields, name, content).await
    }

    async fn upload_from(
        &self,
        site: &str,
        fields: &[(&str, &str)],
        name: &str,
        content: &str,
    ) -> reqwest::Response {
        let mut body = String::new();
        for (field, value) in fields {
            body.push_str(&format!(
                "--limit\r\nContent-Disposition: form-data; name=\"{field}\"\r\n\r\n{value}\r\n"
            ));
        }
        body.push_str(&format!(
            "--limit\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\
             Content-Type: text/csv\r\n\r\n{content}\r\n--limit--\r\n"
        ));
        let request = super::client().post(format!("{}{PATH}", self.address));
        self.with_cookie(request)
            .header("Content-Type", "multipart/form-data; boundary=limit")
            .header("Sec-Fetch-Site", site)
            .body(body)
            .send()
            .await
            .unwrap()
    }

    /// Sends a file that can be planned; returns the page with the plan.
    async fn planned(&self, fields: &[(&str, &str)], name: &str, content: &str) -> String {
        let mut all = vec![("csrf", self.csrf.as_str())];
        all.extend(fields);
        let answer = self.upload(&all, name, content).await;
        let status = answer.status();
        if status != 303 {
            panic!("{status}: {}", answer.text().await.unwrap());
        }
        assert_eq!(answer.headers()["location"], "/console/transfer/plan");
        self.page("/console/transfer/plan").await
    }
}

#[test]
fn an_upload_is_planned_shown_with_its_losses_and_applied_once() {
    on_both("console_import", |database, _| async move {
        let hub = open_hub(&database).await;
        let served = Served::start(&hub, Some(Role::Administrator)).await;
        let head = || async { hub.db.read(rollcall::change::head).await.unwrap().seq };
        let before = head().await;
        let file = "username,display_name,path,email\nada,Ada Lovelace,Engineering,ada@example.com\n\
                    grace,Grace Hopper,Engineering,nobody\nedsger,Edsger Dijkstra,Engineering,\nb a d,Bad,Engineering,\n";
        let page = served.planned(&[("format", "auto")], "people.csv", file).await;
        for words in [
            "Plan for people.csv",
            "3 (grace",
            "is not an email address",
            "One entry is refused",
            "5 (b a d",
            "Make these",
        ] {
            assert!(page.contains(words), "{words}: {page}");
        }
        assert_eq!(head().await, before, "a plan has changed something");
        let form = Form::of(&page, APPLY);
        let again = Form::of(&page, APPLY);
        let (location, page) = served.accepted(form).await;
        assert_eq!(location, "/console/transfer/result?done=imported");
        assert!(
            page.contains("What was done") && page.contains("3 (grace"),
            "{page}"
        );
        assert!(user(&hub, "ada").await.is_some());
        assert_eq!(user(&hub, "grace").await.unwrap().email, None);
        let audit = served.page("/console/audit").await;
        assert!(audit.contains("people.csv"), "{audit}");
        // What is done is not done twice.
        let page = served.refused(again).await;
        assert!(page.contains("The file is not here any more"), "{page}");
        let page = served.planned(&[("format", "auto")], "people.csv", file).await;
        assert!(
            page.contains("There is nothing to do") && !page.contains(APPLY),
            "{page}"
        );
    });
}

#[test]
fn what_is_confirmed_is_done_or_nothing() {
    on_both("console_import_changed", |database, _| async move {
        let hub = open_hub(&database).await;
        let ada = hub.apply(
            Caller::system("test"),
            Command::CreateUser(new_user("ada", ROOT_UNIT)),
        );
        let ada = ada.await.unwrap().id;
        let served = Served::start(&hub, Some(Role::Administrator)).await;
        let file = "username,display_name,path,description\nada,Ada,/,from the file\ngrace,Grace,/,new\n";
        let page = served.planned(&[("format", "csv")], "people", file).await;
        let form = Form::of(&page, APPLY);
        // What has nothing to do with the plan does not change it.
        let other = Command::CreateUser(new_user("somebody", ROOT_UNIT));
        hub.apply(Caller::system("test"), other).await.unwrap();
        let change = Command::UpdateUser {
            id: ada.clone(),
            changes: serde_json::from_str(r#"{"displayName":"Ada"}"#).unwrap(),
        };
        hub.apply(Caller::system("test"), change).await.unwrap();
        let page = served.refused(form).await;
        assert!(page.contains("something else would be done now"), "{page}");
        assert!(user(&hub, "grace").await.is_none());
        hub.apply(Caller::system("test"), described("nobody", "x"))
            .await
            .unwrap_err();
        let other = Command::CreateUser(new_user("another", ROOT_UNIT));
        hub.apply(Caller::system("test"), other).await.unwrap();
        served.accepted(Form::of(&page, APPLY)).await;
        let after = user(&hub, "ada").await.unwrap();
        assert_eq!(after.description.as_deref(), Some("from the file"));
        assert!(user(&hub, "grace").await.is_some());
        // What is discarded is gone.
        let page = served
            .planned(&[("format", "csv")], "x", "username,display_name,path\nx,X,/\n")
            .await;
        let answer = served.submit(&Form::of(&page, "/console/transfer/discard")).await;
        assert_eq!(answer.headers()["location"], PATH);
        let page = served.refused(Form::of(&page, APPLY)).await;
        assert!(page.contains("The file is not here any more"), "{page}");
        assert!(user(&hub, "x").await.is_none());
    });
}

#[tokio::test]
async fn a_form_that_cannot_be_planned_says_why() {
    let database = rollcall_db::testing::sqlite();
    let hub = open_hub(&database.url).await;
    let served = Served::start(&hub, Some(Role::Administrator)).await;
    let file = "username,display_name\nada,Ada\n";
    let csrf = ("csrf", served.csrf.as_str());
    for (fields, name, content, words) in [
        (vec![csrf], "people.csv", "", "Choose a file that is not empty"),
        (
            vec![csrf],
            "people.xlsx",
            file,
            "The name does not tell the format",
        ),
        (
            vec![csrf, ("owner", "me")],
            "people.csv",
            file,
            "TYPE:ID, such as",
        ),
        (
            vec![csrf, ("deleteMissing", "yes"), ("maxDeletions", "10%")],
            "people.csv",
            file,
            "name one",
        ),
        (
            vec![
                csrf,
                ("owner", "hr:1"),
                ("deleteMissing", "yes"),
                ("maxDeletions", "some"),
            ],
            "people.csv",
            file,
            "A number, or a percentage",
        ),
        (
            vec![csrf, ("mapping", "nonsense")],
            "people.csv",
            file,
            "write FIELD=NAME",
        ),
        (
            vec![csrf, ("base", "nonsense")],
            "people.csv",
            file,
            "This cannot be used",
        ),
        (vec![csrf], "people.csv", "surname\nLovelace\n", "unknown column"),
    ] {
        let answer = served.upload(&fields, name, content).await;
        assert_eq!(answer.status(), 422, "{fields:?}");
        let page = answer.text().await.unwrap();
        assert!(page.contains(words), "{words}: {page}");
    }
    // What is typed stays, and the rest is tried.
    let answer = served
        .upload(&[csrf, ("owner", "hr:1"), ("mapping", "x")], "people.csv", file)
        .await;
    assert!(answer.text().await.unwrap().contains("value=\"hr:1\""));
    // A form that is not ours is not read.
    for fields in [vec![], vec![("csrf", "another")]] {
        assert_eq!(served.upload(&fields, "people.csv", file).await.status(), 403);
    }
    let answer = served
        .upload_from("cross-site", &[csrf], "people.csv", file)
        .await;
    assert_eq!(answer.status(), 403);
    // A file that is too large is refused without being kept.
    let large = "x".repeat((64 << 20) + 1);
    let answer = served.upload(&[csrf], "people.csv", &large).await;
    assert_eq!(answer.status(), 422);
    assert!(answer.text().await.unwrap().contains("larger than 64 MiB"));
}

#[tokio::test]
async fn whoever_may_takes_the_directory_away_and_only_administrators_bring_one() {
    let database = rollcall_db::testing::sqlite();
    let hub = open_hub(&database.url).await;
    let new = Command::CreateUser(new_user("ada", ROOT_UNIT));
    hub.apply(Caller::system("test"), new).await.unwrap();
    let application = crate::world::add_application(
        &hub,
        "Chat",
        "http://127.0.0.1:1/events",
        None,
        rollcall::application::Scope::everything(),
    );
    let own = Role::ApplicationOwner([application.await.id].into());
    for (role, sees) in [
        (Role::Administrator, true),
        (Role::Operator, true),
        (Role::Auditor, true),
        (own, false),
    ] {
        let served = Served::start(&hub, Some(role.clone())).await;
        let page = served.ask(PATH, "en").await;
        assert_eq!(page.status(), if sees { 200 } else { 403 }, "{role:?}");
        let page = page.text().await.unwrap();
        assert_eq!(
            page.contains("type=\"file\""),
            role == Role::Administrator,
            "{role:?}"
        );
        let directory = served.page("/console/directory").await;
        assert_eq!(directory.contains(&format!("\"{PATH}\"")), sees, "{role:?}");
        for format in ["jsonl", "csv", "ldif"] {
            let link = format!("/api/v1/export?format={format}");
            assert_eq!(page.contains(&link), sees, "{role:?}");
            let answer = served.ask(&link, "en").await;
            assert_eq!(
                answer.status(),
                if sees { 200 } else { 403 },
                "{link} as {role:?}"
            );
            if sees {
                let disposition = answer.headers()["content-disposition"]
                    .to_str()
                    .unwrap()
                    .to_owned();
                assert!(disposition.starts_with("attachment"), "{disposition}");
                assert!(answer.text().await.unwrap().contains("ada"), "{link}");
            }
        }
        if role != Role::Administrator {
            let csrf = [("csrf", served.csrf.as_str())];
            let answer = served
                .upload(&csrf, "people.csv", "username,display_name,path\nx,X,/\n")
                .await;
            assert_eq!(answer.status(), 403, "{role:?}");
            for path in [APPLY, "/console/transfer/discard"] {
                assert_eq!(served.post(path, &csrf).await.status(), 403, "{path} as {role:?}");
            }
        }
    }
    assert!(user(&hub, "x").await.is_none());
}
