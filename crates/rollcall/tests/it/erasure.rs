//! What is left of somebody who was erased: nothing.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rollcall::access::Caller;
use rollcall::backup;
use rollcall::delivery::job;
use rollcall::delivery::model::Attempt;
use rollcall::directory::{Command, DirectoryError};
use rollcall::hub::Hub;
use rollcall::id::ROOT_UNIT;
use rollcall::maintenance::erasure::{Erased, erase_user};
use rollcall_protocol::Event;

use crate::forgetful::ended;
use crate::plain::{Of, Plain, Say, apply, attempts_of, deliver, says, settled, until};
use crate::world::{described, hasty, new_user, on_both, open_hub, renamed};

/// A text that stands in no other place.
const NAME: &str = "zyxwvut-quux";

fn caller() -> Caller {
    Caller::system("test")
}

async fn erase(hub: &Hub, id: &str) -> Erased {
    erase_user(hub, &caller(), id).await.unwrap()
}

/// Whether bytes of a file hold the name.
fn holds(path: &Path) -> bool {
    match std::fs::read(path) {
        Ok(bytes) => bytes
            .windows(NAME.len())
            .any(|window| window.eq_ignore_ascii_case(NAME.as_bytes())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
        Err(error) => panic!("{}: {error}", path.display()),
    }
}

/// The files of a database on SQLite.
fn files(url: &str) -> Vec<PathBuf> {
    match url.strip_prefix("sqlite:") {
        Some(path) => ["", "-wal", "-shm", "-journal"]
            .iter()
            .map(|suffix| format!("{path}{suffix}").into())
            .collect(),
        None => Vec::new(),
    }
}

#[test]
fn no_byte_of_somebody_who_is_erased_is_left_in_database_or_backup() {
    on_both("erased_bytes", |url, _| async move {
        let hub = open_hub(&url).await;
        let (app, other) = (Plain::new(&hub, "App").await, Plain::new(&hub, "Other").await);
        // One refuses single events and quotes them; the other refuses every request, with the name.
        let about = |event: &Event| says(event, NAME);
        app.say(move |events| {
            Say::Each(
                events
                    .iter()
                    .map(|event| if about(event) { Of::Failed } else { Of::Success })
                    .collect(),
            )
        });
        other.say(|_| {
            Say::Refusal(
                503,
                format!("{{\"error\":\"e\",\"errorDescription\":\"{NAME} again\"}}"),
            )
        });
        let mut new = new_user(NAME, ROOT_UNIT);
        new.email = Some(format!("{NAME}@example.com"));
        new.description = Some(format!("the one and only {NAME}"));
        let user = apply(&hub, Command::CreateUser(new)).await;
        for number in 0..50 {
            apply(&hub, described(&user, &format!("{NAME} {number}"))).await;
        }
        let bystander = apply(&hub, Command::CreateUser(new_user("bystander", ROOT_UNIT))).await;
        let delivery = deliver(&hub, hasty()).await;
        settled(&hub, &app.application).await;
        until("both have said the name", async || {
            let text = |attempts: Vec<Attempt>| serde_json::to_string(&attempts).unwrap();
            text(attempts_of(&hub, &app.application).await).contains(NAME)
                && text(attempts_of(&hub, &other.application).await).contains(NAME)
        })
        .await;
        let suspended = async || crate::plain::stored(&hub, &other.application).await.suspended;
        until("one is suspended", async || suspended().await.is_some()).await;
        assert!(suspended().await.unwrap().in_full().contains(NAME));
        let folder = tempfile::tempdir().unwrap();
        let (before, after) = (folder.path().join("before"), folder.path().join("after"));
        backup::write(&hub.db, &before, 1).await.unwrap();
        assert!(holds(&before), "the test must be able to find something");

        // What is under way at that moment is answered before anybody looks.
        other.say(|_| Say::Status(503));
        let erased = erase(&hub, &user).await;
        assert!(erased.deleted && erased.changes == 52, "{erased:?}");
        delivery.stop().await;
        backup::write(&hub.db, &after, 1).await.unwrap();
        assert!(!holds(&after), "the backup knows the name");
        for file in files(&url) {
            assert!(!holds(&file), "{} knows the name", file.display());
        }

        // Everybody else is as before, and those who wait are told that the user is gone.
        other.say(|_| Say::Yes);
        let delivery = deliver(&hub, hasty()).await;
        settled(&hub, &other.application).await;
        assert!(other.user(&bystander).is_some());
        assert!(other.user(&user).is_none());
        assert!(!other.applied().iter().any(|event| says(event, NAME)));
        delivery.stop().await;
        hub.db.close().await;
        for file in files(&url) {
            assert!(!holds(&file), "{} knows the name", file.display());
        }
    });
}

#[test]
fn somebody_who_is_erased_is_deleted_everywhere_without_another_word() {
    on_both("erased", |hub, _| async move {
        let hub = open_hub(&hub).await;
        let app = Plain::new(&hub, "App").await;
        let user = apply(&hub, Command::CreateUser(new_user("erika", ROOT_UNIT))).await;
        let never = apply(&hub, Command::CreateUser(new_user("other", ROOT_UNIT))).await;
        let delivery = deliver(&hub, hasty()).await;
        settled(&hub, &app.application).await;
        app.say(|_| Say::Status(503));
        apply(&hub, described(&user, "a private matter")).await;
        until("the application is suspended", async || {
            crate::plain::stored(&hub, &app.application)
                .await
                .suspended
                .is_some()
        })
        .await;
        assert!(erase(&hub, &user).await.deleted);
        // A request that was under way may still have carried it; those that begin now do not.
        let tried = attempts_of(&hub, &app.application).await.len();
        until("it is tried again", async || {
            attempts_of(&hub, &app.application).await.len() > tried + 1
        })
        .await;
        app.say(|_| Say::Yes);
        settled(&hub, &app.application).await;
        let story: Vec<_> = app
            .story_of(&user)
            .iter()
            .map(|event| event.kind().unwrap().short().to_owned())
            .collect();
        assert_eq!(story, ["ud:user:create", "ud:user:delete"]);
        assert!(!app.applied().iter().any(|event| says(event, "private")));

        // Who was deleted before is erased by id; nobody knows a third one.
        apply(&hub, Command::DeleteUser { id: never.clone() }).await;
        let erased = erase(&hub, &never).await;
        assert!(!erased.deleted && erased.changes == 2);
        let unknown = erase_user(&hub, &caller(), "user_x").await;
        assert!(matches!(unknown, Err(DirectoryError::NotFound { .. })));
        settled(&hub, &app.application).await;
        assert!(app.user(&never).is_none());
        delivery.stop().await;
    });
}

#[test]
fn earlier_incarnations_of_the_person_are_named() {
    on_both("erased_earlier", |hub, _| async move {
        let hub = open_hub(&hub).await;
        let make = async |name: &str, email: Option<&str>| {
            let mut new = new_user(name, ROOT_UNIT);
            new.email = email.map(str::to_owned);
            apply(&hub, Command::CreateUser(new)).await
        };
        let first = make("erika", Some("Erika@Example.com")).await;
        apply(&hub, Command::DeleteUser { id: first.clone() }).await;
        let second = make("erika2", Some("erika@example.com")).await;
        apply(&hub, renamed(&second, "mustermann")).await;
        apply(&hub, Command::DeleteUser { id: second.clone() }).await;
        // The newest has the name that the second had for a while, and the first one's too.
        let third = make("ERIKA", None).await;
        apply(&hub, renamed(&third, "Erika2")).await;
        make("stranger", Some("stranger@example.com")).await;

        let erased = erase(&hub, &third).await;
        let found: Vec<_> = erased
            .others
            .iter()
            .map(|other| {
                let shares: Vec<&str> = other.shares.iter().map(AsRef::as_ref).collect();
                (
                    other.id.as_str(),
                    other.username.as_str(),
                    other.in_directory,
                    shares,
                )
            })
            .collect();
        let mut expected = [
            (first.as_str(), "erika", false, vec!["username"]),
            (second.as_str(), "mustermann", false, vec!["username"]),
        ];
        expected.sort();
        assert_eq!(found, expected);
        let erased = erase(&hub, &first).await;
        assert_eq!(
            erased.others.len(),
            1,
            "who was erased is found no more: {erased:?}"
        );
        assert_eq!(Vec::from_iter(&erased.others[0].shares), ["email"]);
        assert!(erase(&hub, &second).await.others.is_empty());
        hub.db.close().await;
    });
}

#[test]
fn a_synchronization_under_way_knows_nothing_more_of_somebody_who_is_erased() {
    on_both("erased_job", |hub, _| async move {
        let hub = open_hub(&hub).await;
        let user = apply(&hub, Command::CreateUser(new_user(NAME, ROOT_UNIT))).await;
        let bystander = apply(&hub, Command::CreateUser(new_user("bystander", ROOT_UNIT))).await;
        let app = Plain::new(&hub, "App").await;
        // It refuses who is pushed, and quotes what it refuses.
        app.say(|events| match events.iter().find(|event| says(event, NAME)) {
            Some(event) => Say::Refusal(503, event.biz_data.clone()),
            None => Say::Yes,
        });
        let id = app.application.id.clone();
        let requesting = hub.write_as(caller(), move |tx, ctx| job::request_full(tx, ctx, &id));
        let job_id = requesting.await.unwrap();
        // Much longer than it takes until delivery knows that somebody was erased.
        let pause = Duration::from_millis(300);
        let patient = rollcall::delivery::Options {
            tries: 1_000,
            first_pause: pause,
            longest_pause: pause,
            ..hasty()
        };
        let delivery = deliver(&hub, patient).await;
        let carries = || {
            let requests = app.requests();
            let carrying = |events: &&Vec<Event>| events.iter().any(|event| says(event, NAME));
            requests.iter().filter(carrying).count()
        };
        until("the push is tried again", async || carries() > 1).await;
        assert!(erase(&hub, &user).await.deleted);
        let carried = carries();
        ended(&hub, &job_id).await;
        settled(&hub, &app.application).await;
        assert!(
            carries() <= carried + 1,
            "only what was on its way then carried the name"
        );
        assert!(app.user(&bystander).is_some() && app.user(&user).is_none());
        let attempts = serde_json::to_string(&attempts_of(&hub, &app.application).await).unwrap();
        assert!(!attempts.contains(NAME), "{attempts}");
        delivery.stop().await;
    });
}
