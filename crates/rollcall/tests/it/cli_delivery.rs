//! Commands for delivery, as processes beside the hub that delivers: push, sync, test, skip, dismiss, log.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use rollcall::application::Scope;
use rollcall::delivery::Options;
use rollcall::delivery::job::JobStatus;
use rollcall::directory::Command;
use rollcall::id::ROOT_UNIT;
use rollcall::private;
use rollcall_receiver::testing::Forgetful;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::forgetful::Simple;
use crate::operate::rollcall;
use crate::plain::{Of, Plain, Say, apply, attempts_of, deliver, parked_of, settled, stored, until, user};
use crate::world::{described, hasty, new_user, on_both, open_hub};

/// A command beside the hub of the test.
pub(crate) struct Beside {
    folder: tempfile::TempDir,
    database: String,
}

impl Beside {
    pub(crate) fn new(database: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        private::make_folder(&data).unwrap();
        let key = data.join("master.key");
        std::fs::write(&key, "07".repeat(32)).unwrap();
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
        Self {
            folder,
            database: database.to_owned(),
        }
    }

    pub(crate) fn start(&self, arguments: &[&str]) -> Child {
        let folder: &Path = self.folder.path();
        rollcall(folder, &["--database", &self.database])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// The exit code and what is printed, on either way.
    pub(crate) async fn run(&self, arguments: &[&str]) -> (i32, String) {
        ended(self.start(arguments)).await
    }

    pub(crate) async fn json(&self, arguments: &[&str]) -> (i32, Value) {
        let (code, text) = self.run(&[&["--json"], arguments].concat()).await;
        (
            code,
            serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}")),
        )
    }
}

/// The exit code of a command and what it printed, on either way.
pub(crate) async fn ended(child: Child) -> (i32, String) {
    let output = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap())
        .await
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap(), text + &error)
}

/// Hasty, but an application that was suspended is left alone.
fn unforgiving() -> Options {
    Options {
        tries: 2,
        first_probe: std::time::Duration::from_secs(3_600),
        longest_probe: std::time::Duration::from_secs(3_600),
        ..hasty()
    }
}

#[test]
fn a_push_tells_each_step_and_ends_with_what_was_answered() {
    on_both("cli_push", |database, _| async move {
        let beside = Beside::new(&database);
        let hub = open_hub(&database).await;
        let optics = crate::plain::apply(
            &hub,
            Command::CreateUnit(rollcall::directory::NewUnit {
                name: "Optics".to_owned(),
                parent_id: ROOT_UNIT.to_owned(),
                ..rollcall::directory::NewUnit::default()
            }),
        )
        .await;
        let ada = apply(&hub, Command::CreateUser(new_user("ada", &optics))).await;
        user(&hub, "outside").await;
        let scope = Scope {
            organizational_unit_ids: [optics].into(),
            ..Scope::default()
        };
        let app = Plain::with_scope(&hub, "App", scope).await;

        // Nobody delivers yet.
        let (code, text) = beside.run(&["push", "ada", "App", "--wait", "0"]).await;
        assert_eq!(code, 3, "{text}");
        assert!(text.contains("A hub has to run"), "{text}");
        let delivery = deliver(&hub, unforgiving()).await;
        until("the push from before is sent", async || {
            parked_of(&hub, &app.application).await.is_empty()
        })
        .await;
        assert_eq!(app.story_of(&ada).len(), 1);

        let (code, text) = beside.run(&["push", "ada", "App"]).await;
        assert_eq!(code, 0, "{text}");
        for part in [
            &format!("ada ({ada})"),
            "in scope of App through organizational unit /Optics",
            "ud:user:push",
            "HTTP 200",
            "App accepted it",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert_eq!(app.story_of(&ada).len(), 2);
        let (code, told) = beside.json(&["push", "ada", "App"]).await;
        assert_eq!((code, &told["accepted"]), (0, &Value::Bool(true)), "{told}");
        let names: Vec<_> = told["steps"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| &it["name"])
            .collect();
        assert_eq!(names, ["found", "scope", "event", "sent", "answered"]);

        let (code, text) = beside.run(&["push", "outside", "App"]).await;
        assert!(
            code == 3
                && text.contains("FAIL scope")
                && text.contains("the scope is organizational unit /Optics"),
            "{text}"
        );
        let (code, text) = beside.run(&["push", "nobody", "App"]).await;
        assert!(code == 1 && text.contains("the user \"nobody\""), "{text}");

        for (say, expected) in [
            (Of::Skipped, "App passed it over"),
            (Of::Failed, "App refused it"),
        ] {
            app.say(move |events| Say::Each(vec![say; events.len()]));
            let (code, text) = beside.run(&["push", "ada", "App"]).await;
            assert!(code == 3 && text.contains(expected), "{text}");
        }
        // What was refused is set aside, and can be dismissed.
        assert_eq!(parked_of(&hub, &app.application).await.len(), 1);
        let (code, text) = beside.run(&["app", "dismiss", "App"]).await;
        assert!(code == 2 && text.contains("--all"), "{text}");
        let (code, text) = beside.run(&["app", "dismiss", "App", "--all"]).await;
        assert!(code == 0 && text.contains("1 event forgotten"), "{text}");
        let (_, text) = beside.run(&["app", "dismiss", "App", "--all"]).await;
        assert!(text.contains("nothing to dismiss"), "{text}");

        app.say(|_| Say::Refusal(500, r#"{"error":"boom"}"#.to_owned()));
        let (code, text) = beside.run(&["push", "ada", "App"]).await;
        assert!(
            code == 3 && text.contains("HTTP 500") && text.contains("boom"),
            "{text}"
        );
        until("the application is suspended", async || {
            stored(&hub, &app.application).await.suspended.is_some()
        })
        .await;
        let (code, text) = beside.run(&["push", "ada", "App"]).await;
        assert!(code == 3 && text.contains("rollcall app resume"), "{text}");

        // Skipped by hand: taken out of the way and forgotten.
        let (code, told) = beside.json(&["app", "skip", "App"]).await;
        assert_eq!(code, 0, "{told}");
        let event = told["skipped"].as_str().unwrap();
        let (code, told) = beside.json(&["app", "dismiss", "App", "--event", event]).await;
        assert_eq!((code, &told["dismissed"]), (0, &Value::from(1)));

        // Somebody who was deleted is found by name, and the deletion is pushed.
        app.say(|_| Say::Yes);
        let (_, text) = beside.run(&["app", "resume", "App"]).await;
        assert!(text.contains("is pushed to again"), "{text}");
        let (_, text) = beside.run(&["app", "resume", "App"]).await;
        assert!(
            text.contains("nothing to change") || text.contains("pushed to again"),
            "{text}"
        );
        apply(&hub, Command::DeleteUser { id: ada.clone() }).await;
        settled(&hub, &app.application).await;
        let (code, text) = beside.run(&["push", "ada", "App"]).await;
        assert!(code == 0 && text.contains("ud:user:delete"), "{text}");
        let (code, text) = beside.run(&["why", "ada", "App"]).await;
        assert!(code == 0 && text.contains("is deleted"), "{text}");
        let (code, text) = beside.run(&["log", "--subject", "ada"]).await;
        assert!(code == 0 && text.contains(&format!("{ada} (ada)")), "{text}");
        delivery.stop().await;
    });
}

#[test]
fn a_synchronization_of_an_application_that_refuses_all_is_not_waited_for() {
    on_both("cli_sync", |database, _| async move {
        let beside = Beside::new(&database);
        let hub = open_hub(&database).await;
        user(&hub, "ada").await;
        let app = Plain::new(&hub, "App").await;
        app.say(|_| Say::Status(401));
        let delivery = deliver(&hub, unforgiving()).await;
        let (code, text) = beside.run(&["app", "sync", "App"]).await;
        assert_eq!(code, 3, "{text}");
        for part in [
            "App is suspended",
            "HTTP 401",
            "goes on by itself",
            "rollcall app resume \"App\"",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        app.say(|_| Say::Yes);
        let allow = beside.folder.path().join("rollcall.toml");
        std::fs::write(&allow, "[egress]\nallow = ['127.0.0.0/8']\n").unwrap();
        let config = ["--config", allow.to_str().unwrap()];
        let test = [config.as_slice(), &["app", "test", "App"]].concat();
        let (code, text) = beside.run(&test).await;
        assert!(code == 0 && text.contains("App is still suspended"), "{text}");
        let (_, tested) = beside.json(&test).await;
        assert_eq!(tested["state"], "suspended");
        let (_, text) = beside.run(&["app", "resume", "App"]).await;
        assert!(text.contains("pushed to again"), "{text}");
        settled(&hub, &app.application).await;
        let (_, text) = beside.run(&["app", "test", "App"]).await;
        assert!(!text.contains("still suspended"), "{text}");
        let (_, text) = beside.run(&["app", "resume", "App"]).await;
        assert!(text.contains("nothing to change"), "{text}");

        let (_, text) = beside.run(&["app", "pause", "App"]).await;
        assert!(text.contains("is paused"), "{text}");
        let (code, text) = beside.run(&["app", "sync", "App"]).await;
        assert!(code == 1 && text.contains("rollcall app resume"), "{text}");
        let (_, text) = beside.run(&test).await;
        assert!(text.contains("App is still paused"), "{text}");
        delivery.stop().await;
    });
}

#[test]
fn ctrl_c_ends_the_waiting_for_a_synchronization_and_says_that_it_goes_on() {
    on_both("cli_interrupt", |database, _| async move {
        let beside = Beside::new(&database);
        let hub = open_hub(&database).await;
        user(&hub, "ada").await;
        let app = Simple::new(&hub, "App", Scope::everything(), Forgetful::new()).await;
        let delivery = deliver(&hub, hasty()).await;
        let held = app.gate.hold_after(0);
        let child = beside.start(&["app", "sync", "App"]);
        app.gate.has(held).await;
        kill_process(Pid::from_child(&child), Signal::INT).unwrap();
        let (code, text) = ended(child).await;
        assert_eq!(code, 3, "{text}");
        for part in [
            "it is not waited for any more",
            "goes on by itself",
            "rollcall app show \"App\"",
            "rollcall app cancel \"App\"",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let job_id = text
            .split_whitespace()
            .find(|word| word.starts_with("job_"))
            .unwrap();
        app.gate.open();
        assert_eq!(app.ended(job_id).await.status, JobStatus::Success);
        app.is_right().await;
        delivery.stop().await;
    });
}

#[test]
fn the_list_of_applications_shows_what_was_set_aside() {
    on_both("cli_list", |database, _| async move {
        let beside = Beside::new(&database);
        let hub = open_hub(&database).await;
        let app = Plain::new(&hub, "App").await;
        let delivery = deliver(&hub, hasty()).await;
        let (_, text) = beside.run(&["app", "list"]).await;
        assert!(text.contains("App") && !text.contains("SET ASIDE"), "{text}");
        app.say(|events| Say::Each(vec![Of::Failed; events.len()]));
        for name in ["ada", "bob"] {
            user(&hub, name).await;
        }
        settled(&hub, &app.application).await;
        let (_, text) = beside.run(&["app", "list"]).await;
        assert!(text.contains("2 events SET ASIDE"), "{text}");
        let (_, listed) = beside.json(&["app", "list"]).await;
        assert_eq!(listed[0]["setAside"], 2, "{listed}");
        app.say(|_| Say::Yes);
        beside.run(&["app", "resend", "App"]).await;
        settled(&hub, &app.application).await;
        let (_, text) = beside.run(&["app", "list"]).await;
        assert!(!text.contains("SET ASIDE"), "{text}");
        delivery.stop().await;
    });
}

#[test]
fn the_log_filters_before_it_cuts() {
    on_both("cli_log", |database, _| async move {
        let beside = Beside::new(&database);
        let hub = open_hub(&database).await;
        let ada = user(&hub, "ada").await;
        let app = Plain::new(&hub, "App").await;
        let delivery = deliver(&hub, hasty()).await;
        settled(&hub, &app.application).await;
        app.say(|events| Say::Each(vec![Of::Failed; events.len()]));
        apply(&hub, described(&ada, "refused")).await;
        until("the refusal is stored", async || {
            !parked_of(&hub, &app.application).await.is_empty()
        })
        .await;
        app.say(|_| Say::Yes);
        let bob = user(&hub, "bob").await;
        for number in 0..3 {
            apply(&hub, described(&bob, &number.to_string())).await;
            settled(&hub, &app.application).await;
        }
        let (_, text) = beside
            .run(&["log", "--app", "App", "--failed", "--last", "1"])
            .await;
        assert!(text.contains("ud:user:update_info failed"), "{text}");
        assert!(text.contains(&format!("  ada ({ada})  ")), "{text}");
        assert!(text.contains("1 event in"), "{text}");
        let (_, text) = beside.run(&["log", "--kind", "user:create", "--last", "2"]).await;
        assert!(text.contains("(ada)") && text.contains("(bob)"), "{text}");
        assert_eq!(text.lines().count(), 2, "{text}");
        let (_, text) = beside.run(&["log", "--subject", "bob", "--last", "2"]).await;
        let shown = text.lines().filter(|line| line.contains("  by ")).count();
        assert_eq!(shown, 2, "{text}");
        let (code, text) = beside.run(&["log", "--subject", "nobody"]).await;
        assert!(code == 1 && text.contains("the user \"nobody\""), "{text}");
        delivery.stop().await;
    });
}

#[test]
fn an_event_that_is_sent_again_says_at_which_try() {
    on_both("cli_tries", |database, _| async move {
        let beside = Beside::new(&database);
        let hub = open_hub(&database).await;
        let ada = user(&hub, "ada").await;
        let app = Plain::new(&hub, "App").await;
        let delivery = deliver(&hub, hasty()).await;
        settled(&hub, &app.application).await;
        let mut refusals = 2;
        app.say(move |events| match refusals {
            0 => Say::Yes,
            _ => {
                refusals -= 1;
                Say::Each(vec![Of::Retried; events.len()])
            }
        });
        apply(&hub, described(&ada, "again")).await;
        settled(&hub, &app.application).await;
        delivery.stop().await;
        let (_, text) = beside.run(&["log", "--app", "App", "--last", "3"]).await;
        let tries: Vec<bool> = text
            .lines()
            .filter(|line| line.contains(" in "))
            .zip(1..)
            .map(|(line, number)| line.contains(&format!("  try {number}  ")))
            .collect();
        assert_eq!(tries, [true; 3], "{text}");
        let (_, text) = beside.run(&["why", "ada", "App"]).await;
        assert!(!text.contains("at try 1"), "{text}");
    });
}

#[test]
fn what_fails_and_what_is_sent_again_is_told_on_the_command_line() {
    on_both("cli_failing", |database, _| async move {
        let hub = open_hub(&database).await;
        let beside = Beside::new(&database);
        let app = Plain::new(&hub, "App").await;
        app.say(|_| Say::Refusal(500, r#"{"error":"boom"}"#.to_owned()));
        let patient = Options {
            tries: 20,
            first_pause: Duration::from_secs(30),
            longest_pause: Duration::from_secs(30),
            ..unforgiving()
        };
        let delivery = deliver(&hub, patient).await;
        user(&hub, "ada").await;
        until("it has failed", async || {
            !attempts_of(&hub, &app.application).await.is_empty()
        })
        .await;
        let (_, text) = beside.run(&["app", "show", "App"]).await;
        assert!(text.contains("failing       failed once since 20"), "{text}");
        assert!(text.contains("boom. It is tried again at 20"), "{text}");
        let (_, text) = beside.run(&["log", "--app", "App"]).await;
        assert!(text.contains("(next try 20"), "{text}");
        delivery.stop().await;

        let mut refusals = 1;
        app.say(move |events| match std::mem::take(&mut refusals) {
            0 => Say::Yes,
            _ => Say::Each(vec![Of::Failed; events.len()]),
        });
        let delivery = deliver(&hub, hasty()).await;
        until("it is set aside", async || {
            parked_of(&hub, &app.application).await.len() == 1
        })
        .await;
        let (code, text) = beside.run(&["app", "resend", "App"]).await;
        assert_eq!(code, 0, "{text}");
        settled(&hub, &app.application).await;
        until("it is taken", async || app.applied().len() == 1).await;
        until("that is stored", async || {
            parked_of(&hub, &app.application).await.is_empty()
        })
        .await;
        let (_, text) = beside.run(&["why", "ada", "App"]).await;
        assert!(text.contains("sent again once, and accepted at 20"), "{text}");
        let (_, text) = beside.run(&["app", "show", "App"]).await;
        assert!(!text.contains("failing"), "{text}");
        delivery.stop().await;
    });
}
