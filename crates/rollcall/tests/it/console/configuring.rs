//! Setting up an application by the forms: made, changed, with plans that are shown before anything is done.

use rollcall::access::{Caller, Principal, Role};
use rollcall::application::{
    Application, Command, Edit, Encryption, Entitlements, ScopeEdit, SettingsPatch, store,
};
use rollcall::delivery::job;
use rollcall::directory;
use rollcall::hub::Hub;
use rollcall_protocol::EventType;

use super::Served;
use super::forms::Form;
use super::sample::fill;
use crate::world::{on_both, open_hub};

fn somebody_else() -> Caller {
    let name = "grace".to_owned();
    Principal::Administrator { name }.into()
}

async fn application(hub: &Hub, name: &str) -> Application {
    let name = name.to_owned();
    hub.db.read(move |tx| store::find(tx, &name)).await.unwrap()
}

async fn entitlements(hub: &Hub, id: &str) -> Entitlements {
    let id = id.to_owned();
    hub.db.read(move |tx| Entitlements::load(tx, &id)).await.unwrap()
}

/// What stands in the only place of a page where something is to be copied.
fn shown_once(page: &str) -> String {
    let (_, rest) = page.split_once("<div class=\"copy\"><code>").unwrap();
    rest.split('<').next().unwrap().to_owned()
}

#[test]
fn an_application_is_made_and_its_key_is_shown_once() {
    on_both("console_create_application", |database, _| async move {
        let hub = open_hub(&database).await;
        let served = Served::start(&hub, Some(Role::Administrator)).await;
        let path = "/console/applications/new";
        let form = Form::of(&served.page(path).await, path);

        // What is wrong is said beside its field, and what was typed stays.
        let wrong = form
            .clone()
            .fill("name", "Wiki & more")
            .fill("url", "wiki.example/events")
            .fill("maxEvents", "5000");
        let answer = wrong.send(&served).await;
        assert_eq!(answer.status(), 422);
        let text = answer.text().await.unwrap();
        for part in [
            "id=\"url-wrong\"",
            "id=\"maxEvents-wrong\"",
            "A whole number from 1 to 500",
        ] {
            assert!(text.contains(part), "{part}");
        }
        let again = Form::of(&text, path);
        assert_eq!(again.value("name"), "Wiki & more");
        assert_eq!(again.value("url"), "wiki.example/events");
        assert!(hub.db.read(store::list).await.unwrap().is_empty());

        let right = again
            .fill("url", "https://wiki.example/events?token=s3cr3t")
            .fill("maxEvents", "50")
            .tick("passwords", "yes");
        let answer = right.clone().send(&served).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["cache-control"], "no-store");
        let key = shown_once(&answer.text().await.unwrap());
        assert!(
            key.len() == 64 && key.bytes().all(|byte| byte.is_ascii_hexdigit()),
            "{key}"
        );
        let made = application(&hub, "Wiki & more").await;
        assert_eq!(made.settings.limits.max_events, 50);
        assert_eq!(made.settings.encryption(), Encryption::Required);
        assert!(made.settings.password_synchronization);
        assert!(
            entitlements(&hub, &made.id)
                .await
                .current()
                .scope
                .organizational_unit_ids
                .is_empty()
        );
        // Neither the key nor what may be a secret of the address is shown again.
        for tab in [
            "",
            "/settings",
            "/encryption",
            "/receive",
            "/scope",
            "/subscription",
        ] {
            let text = served
                .page(&format!("/console/applications/{}{tab}", made.id))
                .await;
            assert!(!text.contains(&key) && !text.contains("s3cr3t"), "{tab}");
        }
        let text = served.page("/console/audit").await;
        assert!(!text.contains(&key) && !text.contains("s3cr3t"));

        // Sent twice, it makes one.
        let answer = right.send(&served).await;
        assert_eq!(answer.status(), 422);
        assert!(
            answer
                .text()
                .await
                .unwrap()
                .contains("Another application has this name")
        );

        // Passwords do not travel in the clear.
        let answer = form
            .fill("name", "Plain")
            .fill("url", "http://plain.example/")
            .tick("protection", "off")
            .tick("passwords", "yes")
            .send(&served)
            .await;
        assert_eq!(answer.status(), 422);
        assert!(answer.text().await.unwrap().contains("id=\"passwords-wrong\""));
    });
}

#[test]
fn of_two_who_edit_at_once_the_second_is_told_and_nothing_is_overwritten() {
    on_both("console_edit_at_once", |database, _| async move {
        let hub = open_hub(&database).await;
        let sample = fill(&hub).await;
        let served = Served::start(&hub, Some(Role::Administrator)).await;
        let path = format!("/console/applications/{}/settings", sample.wiki);
        let form = Form::of(&served.page(&path).await, &path);
        assert_eq!(form.value("url"), "https://apps.example.com/rollcall/events?…");

        let settings = SettingsPatch {
            max_events: Some(40),
            lanes: Some(3),
            ..SettingsPatch::default()
        };
        let id = sample.wiki.clone();
        let command = Command::Update {
            id,
            name: None,
            secret: None,
            settings,
        };
        hub.apply_application(somebody_else(), command).await.unwrap();

        // One field that the other has changed too, and one that the other has not.
        let answer = form.fill("name", "Wiki 2").fill("lanes", "5").send(&served).await;
        assert_eq!(answer.status(), 422);
        let text = answer.text().await.unwrap();
        for part in [
            "somebody else has changed this",
            "administrator:grace",
            "Now there is: 3",
        ] {
            assert!(text.contains(part), "{part}");
        }
        let again = Form::of(&text, &path);
        assert_eq!(
            [
                again.value("name"),
                again.value("lanes"),
                again.value("maxEvents")
            ],
            ["Wiki 2", "5", "40"]
        );
        assert_eq!(application(&hub, "Wiki").await.settings.limits.lanes, 3);

        let answer = again.send(&served).await;
        assert_eq!(answer.status(), 303);
        let changed = application(&hub, "Wiki 2").await;
        assert_eq!(changed.settings.limits.max_events, 40);
        assert_eq!(changed.settings.limits.lanes, 5);
        // What was hidden of the address is still there.
        assert!(changed.settings.url().ends_with("?tenant=42"));

        // An address with its hidden part in it is not taken for one.
        let form = Form::of(&served.page(&path).await, &path);
        let answer = form
            .fill("url", "https://elsewhere.example/?…")
            .send(&served)
            .await;
        assert_eq!(answer.status(), 422);
        assert!(answer.text().await.unwrap().contains("id=\"url-wrong\""));
    });
}

#[tokio::test]
async fn a_key_is_entered_or_made_and_never_made_twice() {
    let database = rollcall_db::testing::sqlite();
    let hub = open_hub(&database.url).await;
    let sample = fill(&hub).await;
    let served = Served::start(&hub, Some(Role::Administrator)).await;
    let path = format!("/console/applications/{}/encryption", sample.wiki);
    let form = Form::of(&served.page(&path).await, &path);
    let answer = form
        .clone()
        .tick("protection", "enter")
        .fill("key", "abc")
        .send(&served)
        .await;
    assert_eq!(answer.status(), 422);
    let text = answer.text().await.unwrap();
    assert!(text.contains("id=\"key-wrong\"") && !text.contains("value=\"abc\""));
    let typed = "0a".repeat(32);
    let answer = form
        .clone()
        .tick("protection", "enter")
        .fill("key", &typed)
        .send(&served)
        .await;
    assert_eq!(answer.status(), 303);
    let is = application(&hub, "Wiki").await;
    assert!(is.has_encryption_key && is.settings.encryption() == Encryption::Required);

    // The form is of a version that is gone by now.
    let answer = form.send(&served).await;
    assert_eq!(answer.status(), 422);
    let text = answer.text().await.unwrap();
    assert!(text.contains("somebody else has changed this application"));
    let form = Form::of(&text, &path);
    let answer = form.clone().send(&served).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(shown_once(&answer.text().await.unwrap()).len(), 64);
    assert_eq!(form.send(&served).await.status(), 422, "a key was made twice");
}

#[test]
fn a_scope_is_chosen_in_the_tree_and_confirmed_by_its_plan() {
    on_both("console_scope", |database, _| async move {
        let hub = open_hub(&database).await;
        let sample = fill(&hub).await;
        let served = Served::start(&hub, Some(Role::Administrator)).await;
        let path = format!("/console/applications/{}/scope", sample.chat);
        let text = served.page(&path).await;
        // Engineering and 研发中心 and a group: everybody of the sample.
        assert!(text.contains("6 users are covered"), "{text}");
        let form = Form::of(&text, &path);
        assert_eq!(form.all("unit").len(), 2);
        let engineering = form
            .all("unit")
            .into_iter()
            .find(|id| text.contains(&format!("open {id}")))
            .unwrap()
            .to_owned();
        assert!(
            !text.contains(&sample.unit),
            "a unit is shown that nobody has opened"
        );

        // What is below a unit is opened by a button, and what is ticked stays.
        let answer = form
            .tick("do", &format!("open {engineering}"))
            .send(&served)
            .await;
        assert_eq!(answer.status(), 200);
        let text = answer.text().await.unwrap();
        assert!(text.contains(&sample.unit) && text.contains("aria-expanded=\"true\""));
        let form = Form::of(&text, &path);
        assert_eq!(form.all("unit").len(), 2);

        let narrowed = form.untick("unit", &engineering).tick_too("unit", &sample.unit);
        let answer = narrowed.tick("do", "plan").send(&served).await;
        assert_eq!(answer.status(), 200);
        let text = answer.text().await.unwrap();
        for part in ["Who leaves", "edsger", "2 users", "1 unit", "Nobody enters."] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let scope = entitlements(&hub, &sample.chat).await.current().scope.clone();
        assert!(
            scope.organizational_unit_ids.contains(&engineering),
            "the plan was carried out"
        );
        let plan = Form::of(&text, &path);

        // Back leads to what was ticked.
        let answer = plan.clone().tick("do", "back").send(&served).await;
        let back = Form::of(&answer.text().await.unwrap(), &path);
        assert!(back.all("unit").contains(&sample.unit.as_str()));

        // Somebody comes into what would leave: what was confirmed is not what would be done.
        let late = crate::world::new_user("late", &engineering);
        hub.apply(somebody_else(), directory::Command::CreateUser(late))
            .await
            .unwrap();
        let answer = plan.tick("do", "confirm").send(&served).await;
        assert_eq!(answer.status(), 422);
        let text = answer.text().await.unwrap();
        assert!(
            text.contains("not any more what was shown") && text.contains("3 users"),
            "{text}"
        );
        let plan = Form::of(&text, &path);

        // Somebody else takes another unit in: both have their will.
        let answer = plan.tick("do", "confirm").send(&served).await;
        assert_eq!(answer.status(), 303);
        let to = answer.headers()["location"].to_str().unwrap();
        assert!(to.ends_with("/synchronize?done=scope"), "{to}");
        let scope = entitlements(&hub, &sample.chat).await.current().scope.clone();
        assert!(scope.organizational_unit_ids.contains(&sample.unit));
        assert!(!scope.organizational_unit_ids.contains(&engineering));
        assert_eq!(scope.group_ids.len(), 1);
    });
}

#[test]
fn units_are_searched_for_and_what_is_ticked_is_counted() {
    on_both("console_scope_search", |database, _| async move {
        let hub = open_hub(&database).await;
        let sample = fill(&hub).await;
        let served = Served::start(&hub, Some(Role::Administrator)).await;
        let path = format!("/console/applications/{}/scope", sample.chat);
        let form = Form::of(&served.page(&path).await, &path);
        let searched = async |form: Form, text: &str| {
            let answer = form
                .fill("unit-search", text)
                .tick("do", "search")
                .send(&served)
                .await;
            assert_eq!(answer.status(), 200);
            answer.text().await.unwrap()
        };
        let text = searched(form, "PHOTONICS").await;
        for part in [&sample.unit, "/Engineering/Optics", "Also ticked", "/研发中心"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let form = Form::of(&text, &path);
        assert_eq!(form.all("unit").len(), 2, "what was ticked stays");
        let form = form.tick_too("unit", &sample.unit);

        // A sign that means something to databases means nothing here.
        let text = searched(form, "%").await;
        assert!(text.contains("No unit has “%” in its name."), "{text}");
        let form = Form::of(&text, &path);
        assert!(form.all("unit").contains(&sample.unit.as_str()));
        let answer = form.tick("do", "tree").send(&served).await;
        let text = answer.text().await.unwrap();
        assert!(
            text.contains("value=\"open ") && text.contains("Also ticked"),
            "{text}"
        );
        let form = Form::of(&text, &path);
        assert_eq!((form.all("unit").len(), form.value("unit-search")), (3, ""));

        // A script asks how many that covers; nobody else does.
        let count = format!("{path}/count");
        let ticked = [("csrf", served.csrf.as_str()), ("unit", &sample.unit)];
        let answer = served.post(&count, &ticked).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(
            answer.text().await.unwrap(),
            "2 users are covered by what is ticked."
        );
        assert_eq!(served.post(&count, &[("unit", "ou_nothing")]).await.status(), 403);
        let operator = Served::start(&hub, Some(Role::Operator)).await;
        let ticked = [("csrf", operator.csrf.as_str()), ("unit", &sample.unit)];
        assert_eq!(operator.post(&count, &ticked).await.status(), 403);
    });
}

#[test]
fn whoever_edits_a_scope_is_told_what_another_has_made_of_it() {
    on_both("console_scope_meanwhile", |database, _| async move {
        let hub = open_hub(&database).await;
        let sample = fill(&hub).await;
        let served = Served::start(&hub, Some(Role::Administrator)).await;
        let path = format!("/console/applications/{}/scope", sample.chat);
        let form = Form::of(&served.page(&path).await, &path);
        let other = ScopeEdit {
            units: Edit::Change {
                add: [sample.unit.clone()].into(),
                remove: [].into(),
            },
            groups: Edit::Change {
                add: [].into(),
                remove: [sample.group.clone()].into(),
            },
        };
        job::change_scope(&hub, somebody_else(), &sample.chat, other, None)
            .await
            .unwrap();
        let text = served.refused(form.tick("do", "plan")).await;
        for part in [
            "What others have changed meanwhile",
            "administrator:grace",
            "Synchronization scope: <code>全体员工</code> → <code>/Engineering/Optics &#38; Photonics</code>",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let form = Form::of(&text, &path);
        assert!(form.all("unit").contains(&sample.unit.as_str()) && form.all("group").is_empty());
    });
}

#[tokio::test]
async fn a_choice_is_applied_to_what_somebody_else_has_made_of_it() {
    let database = rollcall_db::testing::sqlite();
    let hub = open_hub(&database.url).await;
    let sample = fill(&hub).await;
    let served = Served::start(&hub, Some(Role::Administrator)).await;
    let path = format!("/console/applications/{}/subscription", sample.wiki);
    let form = Form::of(&served.page(&path).await, &path);
    let all = form.all("event").len();
    assert!(all > 10);
    let nothing = Form::of(
        &form
            .clone()
            .tick("do", "none")
            .send(&served)
            .await
            .text()
            .await
            .unwrap(),
        &path,
    );
    assert!(nothing.all("event").is_empty());
    let events = Edit::Change {
        add: [].into(),
        remove: [EventType::UserPush].into(),
    };
    let id = sample.wiki.clone();
    let command = Command::SetSubscription {
        id,
        events,
        confirmed: None,
    };
    hub.apply_application(somebody_else(), command).await.unwrap();

    let wanted = form.untick("event", EventType::UserDelete.short());
    let answer = wanted.tick("do", "plan").send(&served).await;
    assert_eq!(answer.status(), 422);
    let text = answer.text().await.unwrap();
    let told = "<code>ud:user:push</code> → <code>—</code>";
    assert!(
        text.contains("administrator:grace") && text.contains(told),
        "{text}"
    );
    let form = Form::of(&text, &path);
    assert_eq!(form.all("event").len(), all - 2);
    let answer = form.tick("do", "plan").send(&served).await;
    let text = answer.text().await.unwrap();
    assert!(text.contains(EventType::UserDelete.short()) && text.contains("Nothing is changed yet"));
    let answer = Form::of(&text, &path).tick("do", "confirm").send(&served).await;
    assert_eq!(answer.status(), 303);
    let is = entitlements(&hub, &sample.wiki)
        .await
        .current()
        .subscription
        .clone();
    assert!(!is.contains(EventType::UserDelete) && !is.contains(EventType::UserPush));
    assert_eq!(is.events().count(), all - 2);
}
