//! Keys, events that are set aside, and the end of an application, by the forms.

use rollcall::access::{Caller, Principal, Role};
use rollcall::application::{Command, RotationStep, keys, store};
use rollcall::clock::Millis;
use rollcall::delivery::ledger::{attempts, parked};
use rollcall::delivery::model::{Attempt, Source};
use rollcall::hub::Hub;

use super::Served;
use super::forms::Form;
use super::sample::fill;
use crate::world::{on_both, open_hub};

async fn keys_of(hub: &Hub, id: &str) -> Vec<keys::KeyInfo> {
    let (id, now) = (id.to_owned(), hub.clock.now());
    hub.db.read(move |tx| keys::list(tx, &id, now)).await.unwrap()
}

async fn set_aside(hub: &Hub, id: &str) -> Vec<String> {
    let id = id.to_owned();
    let found = hub
        .db
        .read(move |tx| parked::set_aside(tx, &id, 100))
        .await
        .unwrap();
    found.into_iter().map(|parked| parked.event_id).collect()
}

#[test]
fn a_key_is_rotated_tried_withdrawn_and_replaced() {
    on_both("console_keys", |database, _| async move {
        let hub = open_hub(&database).await;
        let sample = fill(&hub).await;
        let served = Served::start(&hub, Some(Role::Administrator)).await;
        let path = format!("/console/applications/{}/keys", sample.wiki);
        let first = keys_of(&hub, &sample.wiki).await[0].kid.clone();
        let text = served.page(&path).await;
        // What the application has accepted before was signed with no key that there is.
        assert!(text.contains("data-label=\"Last accepted\">—"), "{text}");
        let (id, at) = (sample.wiki.clone(), hub.clock.now());
        let accepted = Attempt {
            outcome: "delivered".into(),
            http_status: Some(200),
            succeeded: 1,
            started_at: at,
            ..Attempt::new(Source::Log, Some((1, 2)), (0, 1), 1)
        };
        hub.db
            .write(move |tx| attempts::store(tx, &id, &accepted))
            .await
            .unwrap();
        let text = served.page(&path).await;
        assert!(!text.contains("data-label=\"Last accepted\">—"), "{text}");

        let form = Form::of(&text, &path);
        let text = served
            .refused(form.clone().fill("hours", "soon").tick("do", "rotate"))
            .await;
        assert!(text.contains("id=\"hours-wrong\"") && text.contains("value=\"soon\""));
        let rotate = form.fill("hours", "0.5").tick("do", "rotate");
        let (_, text) = served.accepted(rotate.clone()).await;
        assert!(text.contains("A new key is published"));
        let found = keys_of(&hub, &sample.wiki).await;
        assert_eq!(found.len(), 2);
        let due = found[0].trial.as_ref().unwrap().due_at - hub.clock.now();
        assert!((29 * 60_000..=30 * 60_000).contains(&due), "{due}");
        // Sent twice, it is done once.
        served.refused(rotate).await;
        assert_eq!(keys_of(&hub, &sample.wiki).await.len(), 2);

        let form = Form::of(&text, &path);
        let (_, text) = served.accepted(form.tick("do", "try")).await;
        let due = keys_of(&hub, &sample.wiki).await[0]
            .trial
            .as_ref()
            .unwrap()
            .due_at;
        assert!(due <= hub.clock.now());
        let (_, text) = served
            .accepted(Form::of(&text, &path).tick("do", "withdraw"))
            .await;
        assert_eq!(keys_of(&hub, &sample.wiki).await.len(), 1);

        // The emergency asks first.
        let form = Form::of(&text, &path);
        let text = served.refused(form.clone().tick("do", "replace")).await;
        assert!(text.contains("id=\"sure-wrong\""));
        served
            .accepted(form.tick("sure", "yes").tick("do", "replace"))
            .await;
        let found = keys_of(&hub, &sample.wiki).await;
        assert!(found.len() == 1 && found[0].kid != first);

        // Somebody else was faster.
        let form = Form::of(&served.page(&path).await, &path);
        let name = "grace".to_owned();
        let other: Caller = Principal::Administrator { name }.into();
        let key = keys::NewKey::generate(hub.clock.now(), &*hub.random, &hub.master).unwrap();
        let step = RotationStep::Replace { key };
        let command = Command::RotateSigningKey {
            id: sample.wiki.clone(),
            step,
        };
        hub.apply_application(other, command).await.unwrap();
        let text = served.refused(form.tick("do", "rotate")).await;
        let now = keys_of(&hub, &sample.wiki).await;
        for part in [
            "has been changed since you opened this page",
            "administrator:grace",
            "The signing key was replaced at once",
            &format!("<code>{}</code> → <code>{}</code>", found[0].kid, now[0].kid),
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    });
}

#[test]
fn events_are_sent_again_by_choice_and_by_time() {
    on_both("console_chosen", |database, _| async move {
        let hub = open_hub(&database).await;
        let sample = fill(&hub).await;
        let served = Served::start(&hub, Some(Role::Operator)).await;
        let page = format!("/console/applications/{}/deliveries", sample.chat);
        let path = format!("/console/applications/{}/resend", sample.chat);
        let text = served.page(&page).await;
        assert!(text.contains("value=\"ev_aside_1\" form=\"aside-chosen\""));
        let form = Form::of(&text, &path);

        // Nothing is ticked: that is not everything.
        let answer = form.clone().tick("which", "ticked").send(&served).await;
        assert_eq!(answer.status(), 409);
        assert_eq!(set_aside(&hub, &sample.chat).await.len(), 2);

        // The sample's events tell of changes that are five hours old, and were set aside three hours ago: that counts.
        let field = |at: Millis| {
            let at = jiff::Timestamp::from_millisecond(at).unwrap();
            at.strftime("%Y-%m-%dT%H:%M").to_string()
        };
        let since = |hours: i64| field(hub.clock.now() - hours * 3_600_000);
        let late = form.clone().tick("which", "since").tick("since", &since(2));
        let (to, _) = served.accepted(late).await;
        assert!(to.ends_with("count=0"), "{to}");
        assert_eq!(set_aside(&hub, &sample.chat).await.len(), 2);

        let ticked = form.tick("which", "ticked").tick_too("event", "ev_aside_2");
        let (to, _) = served.accepted(ticked).await;
        assert!(to.ends_with("done=resend&count=1"), "{to}");
        assert_eq!(set_aside(&hub, &sample.chat).await, ["ev_aside_1"]);
        let form = Form::of(&served.page(&page).await, &path);
        let early = form.tick("which", "since").tick("since", &since(4));
        let (to, _) = served.accepted(early).await;
        assert!(to.ends_with("done=resend&count=1"), "{to}");
        assert!(set_aside(&hub, &sample.chat).await.is_empty());
    });
}

#[test]
fn an_application_is_deleted_by_its_name_and_the_plan() {
    on_both("console_delete_application", |database, _| async move {
        let hub = open_hub(&database).await;
        let sample = fill(&hub).await;
        let served = Served::start(&hub, Some(Role::Administrator)).await;
        let path = format!("/console/applications/{}/delete", sample.chat);
        let text = served.page(&path).await;
        assert!(text.contains("Events that are set aside</dt><dd>2"), "{text}");
        let form = Form::of(&text, &path);
        let text = served.refused(form.clone().fill("confirm", "Chat!")).await;
        assert!(text.contains("id=\"confirm-wrong\"") && text.contains("value=\"Chat!\""));

        let id = sample.chat.clone();
        let name = "grace".to_owned();
        let other: Caller = Principal::Administrator { name }.into();
        hub.apply_application(other, Command::DisableSynchronization { id })
            .await
            .unwrap();
        let text = served.refused(form.fill("confirm", "Chat")).await;
        let form = Form::of(&text, &path);
        let (to, text) = served.accepted(form).await;
        assert_eq!(to, "/console/applications?done=application-deleted");
        assert!(!text.contains(&sample.chat));
        let id = sample.chat.clone();
        assert!(hub.db.read(move |tx| store::load(tx, &id)).await.is_err());
    });
}
