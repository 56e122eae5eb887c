//! The pages of an application that takes SCIM, in a real browser: its settings, what *Try it out* says, what a comparison
//! finds, the plan of a repair, and what is left after a synchronization.

use rollcall::delivery::comparison::{self, Status};
use rollcall::directory::{Command, NewUser};
use rollcall::hub::Hub;
use rollcall::id::ROOT_UNIT;
use serde_json::json;

use super::Served;
use super::browser::{Look, signed_in};
use super::webdriver::Browser;
use crate::plain::{apply, deliver, group, settled, until, user};
use crate::scim_push::{add_at, serve};
use crate::world::{hasty, open_hub};

/// Waits until another comparison than this one has ended; returns its id.
async fn compared(hub: &Hub, application: &str, before: &str) -> String {
    let mut found = String::new();
    until("it is compared", async || {
        let (id, now) = (application.to_owned(), hub.clock.now());
        let newest = hub.db.read(move |tx| comparison::newest(tx, &id, now));
        let Some(newest) = newest.await.unwrap() else {
            return false;
        };
        found.clone_from(&newest.id);
        newest.id != before && newest.status == Status::Done
    })
    .await;
    found
}

/// Presses a button without a script.
async fn pressed(served: &Served, path: &str, more: &[(&str, &str)]) {
    let fields = [&[("csrf", served.csrf.as_str())], more].concat();
    let answer = served.post(path, &fields).await;
    assert_eq!(answer.status(), 303, "{path}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_of_an_application_by_scim_are_usable_for_everybody_in_every_dress() {
    let what = "no page of an application by SCIM was looked at in a browser";
    let Some(browser) = Browser::with_axe(what).await else {
        return;
    };
    let database = rollcall_db::testing::sqlite();
    let hub = open_hub(&database.url).await;
    let served = signed_in(&browser, &hub).await;
    let look = Look::new(&browser, &served.address);
    let (app, base) = serve().await;
    let application = add_at(&hub, &base, "s3cret", |_| {}).await;
    let delivery = deliver(&hub, hasty()).await;
    let ada = user(&hub, "ada").await;
    let long = NewUser {
        username: "maximiliane-alexandra.von-und-zu-hohenlohe-langenburg@subsidiary.example.com".into(),
        display_name: "Maximiliane Alexandra Freifrau von und zu Hohenlohe-Langenburg 马克西米利亚娜".into(),
        email: Some("maximiliane-alexandra.von-und-zu-hohenlohe-langenburg@subsidiary.example.com".into()),
        primary_organizational_unit_id: ROOT_UNIT.into(),
        ..NewUser::default()
    };
    let long = apply(&hub, Command::CreateUser(long)).await;
    let bob = user(&hub, "bob").await;
    let staff = group(&hub, "Staff").await;
    let join = Command::AddMembers {
        group_id: staff,
        user_ids: vec![ada.clone(), long, bob],
    };
    apply(&hub, join).await;
    settled(&hub, &application).await;
    app.delete("bob");
    app.by_hand(|users| {
        let mut renamed = 0;
        for it in users.values_mut() {
            renamed += 1;
            it.insert(
                "displayName".to_owned(),
                json!(format!("Somebody else, number {renamed}")),
            );
        }
        for number in 0..3 {
            let stranger = json!({ "id": format!("x{number}"), "userName": format!("stranger{number}") });
            users.insert(format!("x{number}"), stranger.as_object().unwrap().clone());
        }
    });

    let of_it = |what: &str| format!("/console/applications/{}{what}", application.id);
    let mut wrong = look.at("scim-not-compared", &of_it("/comparison")).await;
    pressed(&served, &of_it("/comparison"), &[]).await;
    let before = compared(&hub, &application.id, "").await;
    pressed(&served, &of_it("/test"), &[("probe", "yes")]).await;
    for (name, path) in [
        ("scim-provisioning", of_it("")),
        ("scim-settings", of_it("/scim")),
        ("scim-tried-out", of_it("/test")),
        ("scim-compared", of_it("/comparison")),
        ("scim-foreign", of_it("/comparison?kind=foreign")),
        ("scim-deliveries", of_it("/deliveries")),
        ("scim-user", format!("/console/users/{ada}")),
        ("scim-explain", format!("/console/users/{ada}/{}", application.id)),
    ] {
        wrong.extend(look.at(name, &path).await);
    }
    for language in ["en", "zh-CN"] {
        look.in_language(language).await;
        let address = format!("{}{}", served.address, of_it("/comparison"));
        browser.open(&address).await;
        browser.click("#repair button[value=all]").await;
        browser.wait_for("input[name=token]").await;
        wrong.extend(look.as_it_is("scim-plan", language).await);
    }
    pressed(&served, &of_it("/synchronize"), &[]).await;
    compared(&hub, &application.id, &before).await;
    wrong.extend(look.at("scim-synchronized", &of_it("/synchronize")).await);
    delivery.stop().await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
