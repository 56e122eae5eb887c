//! The audit log in the console: who, what, when, from where, before and after; filtered, and as a file.

use rollcall::access::{Caller, Origin, Principal, Role};
use rollcall::application::{Command, SettingsPatch};
use rollcall::id::ROOT_UNIT;

use super::Served;
use super::forms::Form;
use super::sample::fill;
use crate::world::{create_users, new_user, on_both, open_hub};

fn from(address: &str) -> Caller {
    let caller: Caller = Principal::Administrator {
        name: "grace".to_owned(),
    }
    .into();
    caller.from_there(Origin::Api {
        request_id: "req_sample".to_owned(),
        address: Some(address.parse().unwrap()),
    })
}

#[test]
fn what_was_done_is_found_by_who_what_and_from_where_with_before_and_after() {
    on_both("console_audit", |database, _| async move {
        let hub = open_hub(&database).await;
        let sample = fill(&hub).await;
        let served = Served::start(&hub, Some(Role::Administrator)).await;
        // By the form, with a secret in the address.
        let path = format!("/console/applications/{}/settings", sample.chat);
        let form = Form::of(&served.page(&path).await, &path);
        let form = form
            .fill("name", "Chatter")
            .fill("url", "https://chat.example/in?key=s3cr3t");
        served.accepted(form).await;
        let id = sample.wiki.clone();
        let settings = SettingsPatch {
            max_events: Some(7),
            ..SettingsPatch::default()
        };
        let command = Command::Update {
            id,
            name: None,
            secret: None,
            settings,
        };
        hub.apply_application(from("192.0.2.77"), command).await.unwrap();

        let text = served.page("/console/audit?action=update&target=Chatter").await;
        for part in ["ada-administrator", "Before", "After", "Chatter", "key=***"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains("s3cr3t"));
        let text = served.page("/console/audit?origin=192.0.2.77").await;
        assert!(
            text.contains("192.0.2.77") && text.contains("administrator:grace"),
            "{text}"
        );
        assert!(
            !text.contains("ada-administrator</div>") && !text.contains("Chatter"),
            "{text}"
        );
        let text = served.page("/console/audit?origin=198.51.100.1").await;
        assert!(text.contains("No entry fits this filter."));
        let file = served.ask("/console/audit.csv?origin=192.0.2.77", "en").await;
        assert_eq!(file.headers()["content-type"], "text/csv; charset=utf-8");
        let text = file.text().await.unwrap();
        assert!(text.lines().count() == 2 && text.contains("192.0.2.77"), "{text}");
        assert!(text.starts_with("time,actor,origin,action,"), "{text}");
    });
}

#[test]
fn the_file_has_every_entry_however_many_there_are() {
    on_both("console_audit_file", |database, _| async move {
        let hub = open_hub(&database).await;
        let new = (0..1_200).map(|index| new_user(&format!("user{index:04}"), ROOT_UNIT));
        create_users(&hub, new.collect()).await;
        let served = Served::start(&hub, Some(Role::Auditor)).await;
        let file = served.ask("/console/audit.csv?action=user:create", "en").await;
        let text = file.text().await.unwrap();
        assert_eq!(text.matches("ud:user:create").count(), 1_200);
        let (first, last) = (text.find("user0000"), text.find("user1199"));
        assert!(first > last && last.is_some(), "the newest comes first");
        assert_eq!(text.matches("time,actor,origin").count(), 1, "one head");
    });
}
