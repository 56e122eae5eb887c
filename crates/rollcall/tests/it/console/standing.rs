//! How a user stands with each application: on the user's page, told by real deliveries.

use rollcall::access::{Caller, Role};
use rollcall::delivery::ledger::operate;
use rollcall::id::ROOT_UNIT;
use rollcall_protocol::{Event, EventType};

use super::Served;
use crate::plain::{Of, Plain, Say, apply, deliver, parked_of, says, settled, user};
use crate::world::{add_application, described, hasty, on_both, open_hub};

/// What the page says in the row of an application.
fn row<'a>(page: &'a str, name: &str) -> &'a str {
    let rows = page.split("<tr>");
    let mut of_it = rows.filter(|row| row.contains(&format!(">{name}</a></th>")));
    of_it.next().unwrap_or_else(|| panic!("{name}: {page}"))
}

#[test]
fn a_user_page_tells_what_each_application_was_told_last_and_what_it_answered() {
    on_both("console_standing", |database, _| async move {
        let hub = open_hub(&database).await;
        let early = user(&hub, "early").await;
        let taking = Plain::new(&hub, "Taking").await;
        let refusing = Plain::new(&hub, "Refusing").await;
        refusing.say(|events| match events.iter().any(|event| says(event, "poison")) {
            true => Say::Refusal(400, "no such department".to_owned()),
            false => Say::Yes,
        });
        let skipping = Plain::new(&hub, "Skipping").await;
        skipping.say(|events| Say::Each(vec![Of::Skipped; events.len()]));
        let delivery = deliver(&hub, hasty()).await;
        let ada = user(&hub, "ada").await;
        for app in [&taking, &refusing, &skipping] {
            settled(&hub, &app.application).await;
        }
        apply(&hub, described(&ada, "poison")).await;
        for app in [&taking, &refusing, &skipping] {
            settled(&hub, &app.application).await;
        }
        assert_eq!(parked_of(&hub, &refusing.application).await.len(), 1);
        delivery.stop().await;
        // Nobody sends what is changed now.
        let served = Served::start(&hub, Some(Role::Operator)).await;
        let path = format!("/console/users/{ada}");
        let text = served.page(&path).await;
        let taken = row(&text, "Taking");
        for part in ["In scope", "ud:user:update_info", "Delivered", "Push now"] {
            assert!(taken.contains(part), "{part}: {taken}");
        }
        let refused = row(&text, "Refusing");
        for part in ["ud:user:update_info", "Set aside", "no such department"] {
            assert!(refused.contains(part), "{part}: {refused}");
        }
        assert!(row(&text, "Skipping").contains("Skipped"), "{text}");
        // Each of them is explained in the reader's language.
        let explained = async |app: &Plain, language: &str| {
            let path = format!("{path}/{}", app.application.id);
            served.ask(&path, language).await.text().await.unwrap()
        };
        for (app, language, says) in [
            (
                &taking,
                "en",
                "Taking has everything that it is to have of this user.",
            ),
            (&taking, "zh-CN", "Taking 已拥有此账户的全部应有内容。"),
            (
                &refusing,
                "en",
                "Mend that there, then send the event again under Deliveries.",
            ),
            (&refusing, "zh-CN", "Refusing 拒绝了最新的事件："),
            (&skipping, "zh-CN", "Skipping 收到最新的事件但跳过了它："),
        ] {
            let text = explained(app, language).await;
            assert!(text.contains(says), "{says}: {text}");
            assert!(
                !text.contains("rollcall app"),
                "a command of the command line: {text}"
            );
        }
        let text = explained(&taking, "zh-CN").await;
        assert!(!text.contains("organizational unit"), "{text}");
        let other = served.ask(&path, "zh-CN").await.text().await.unwrap();
        assert!(row(&other, "Taking").contains("已投递") && row(&other, "Refusing").contains("已搁置"));

        apply(&hub, described(&ada, "mended")).await;
        let text = served.page(&path).await;
        assert!(row(&text, "Taking").contains("Waiting"), "{text}");
        let refused = row(&text, "Refusing");
        assert!(
            refused.contains("Waiting") && refused.contains("One event set aside"),
            "{refused}"
        );

        // Of whom no application was told a change, it is said so.
        let text = served.page(&format!("/console/users/{early}")).await;
        assert!(row(&text, "Taking").contains("Not told yet"), "{text}");
    });
}

#[test]
fn a_user_page_tells_how_an_event_that_was_refused_at_first_was_settled() {
    on_both("console_standing_again", |database, _| async move {
        let hub = open_hub(&database).await;
        // Connection tests succeed: otherwise the application is taken for one that is out of order.
        let is_test = |events: &[Event]| events.iter().any(|event| event.kind() == Some(EventType::Test));
        let refuse = move |events: &[Event]| match is_test(events) {
            true => Say::Yes,
            false => Say::Each(vec![Of::Failed; events.len()]),
        };
        let fail = move |events: &[Event]| match is_test(events) {
            true => Say::Yes,
            false => Say::Refusal(400, "no such department".to_owned()),
        };
        let (mending, stubborn) = (
            Plain::new(&hub, "Mending").await,
            Plain::new(&hub, "Stubborn").await,
        );
        let silent = Plain::new(&hub, "Dismissing").await;
        let failing = Plain::new(&hub, "Failing").await;
        let all = [&mending, &stubborn, &silent, &failing];
        let delivery = deliver(&hub, hasty()).await;
        let ada = user(&hub, "ada").await;
        for app in all {
            settled(&hub, &app.application).await;
            app.say(refuse);
        }
        failing.say(fail);
        apply(&hub, described(&ada, "changed")).await;
        for app in all {
            settled(&hub, &app.application).await;
            assert_eq!(parked_of(&hub, &app.application).await.len(), 1);
        }
        mending.say(|_| Say::Yes);
        failing.say(|_| Say::Yes);
        for app in [&mending, &stubborn, &failing] {
            let id = app.application.id.clone();
            hub.write_as(Caller::system("test"), move |tx, ctx| {
                operate::resend(tx, ctx, &id, None)
            })
            .await
            .unwrap();
            settled(&hub, &app.application).await;
        }
        for app in [&stubborn, &silent] {
            let id = app.application.id.clone();
            hub.write_as(Caller::system("test"), move |tx, ctx| {
                operate::dismiss(tx, ctx, &id, None)
            })
            .await
            .unwrap();
        }
        delivery.stop().await;
        let served = Served::start(&hub, Some(Role::Auditor)).await;
        let text = served.page(&format!("/console/users/{ada}")).await;
        for (name, parts) in [
            ("Mending", ["Sent again, taken", "not taken"]),
            ("Stubborn", ["Dismissed", "not taken"]),
            ("Dismissing", ["Dismissed", "not taken"]),
            ("Failing", ["Sent again, taken", "User changed"]),
        ] {
            let row = row(&text, name);
            assert!(parts.iter().all(|part| row.contains(part)), "{name}: {row}");
        }
    });
}

#[test]
fn the_applications_of_a_user_are_read_page_by_page() {
    on_both("console_standing_pages", |database, _| async move {
        let hub = open_hub(&database).await;
        let ada = user(&hub, "ada").await;
        let scope = rollcall::application::Scope {
            organizational_unit_ids: [ROOT_UNIT.to_owned()].into(),
            group_ids: [].into(),
        };
        for index in 0..45 {
            let url = "https://apps.example.com/events";
            add_application(&hub, &format!("App {index:02}"), url, None, scope.clone()).await;
        }
        apply(&hub, described(&ada, "changed")).await;
        let served = Served::start(&hub, Some(Role::Auditor)).await;
        let (mut path, mut seen) = (Some(format!("/console/users/{ada}")), Vec::new());
        while let Some(at) = path {
            let text = served.page(&at).await;
            let names = text.split(">App ").skip(1).map(|rest| rest[..2].to_owned());
            let before = seen.len();
            seen.extend(names);
            assert!((1..=20).contains(&(seen.len() - before)), "{seen:?}");
            assert_eq!(text.matches("Waiting").count(), seen.len() - before);
            // An auditor presses nothing.
            assert!(!text.contains("Push now"));
            let next = text
                .split("href=\"")
                .skip(1)
                .filter_map(|rest| rest.split('"').next());
            path = next.map(str::to_owned).find(|href| href.contains("?after="));
        }
        let all: Vec<String> = (0..45).map(|index| format!("{index:02}")).collect();
        assert_eq!(seen, all);
    });
}
