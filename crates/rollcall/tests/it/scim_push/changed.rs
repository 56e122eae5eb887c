//! What happens where the settings change while the application is pushed to.

use super::*;

/// Changes the parameters of SCIM.
fn update(application: &Application, settings: SettingsPatch) -> application::Command {
    application::Command::Update {
        id: application.id.clone(),
        name: None,
        secret: None,
        settings,
    }
}

#[test]
fn a_wait_for_the_turn_ends_where_the_hub_stops_or_the_rate_changes() {
    on_both("scim_turn", |hub, _| async move {
        let hub = open_hub(&hub).await;
        let (app, application) = add(&hub, |scim| {
            scim.profile.rate = Some(Rate {
                requests: 1,
                seconds: 3_600,
            });
        })
        .await;
        user(&hub, "ada").await;
        let delivery = begin(&hub).await;
        let asked = |times| app.with(|script| script.provider.calls.len() == times);
        // The next request would go in an hour.
        until("the application is asked", async || asked(1)).await;
        let begun = Instant::now();
        delivery.stop().await;
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        let delivery = begin(&hub).await;
        until("the application is asked again", async || asked(2)).await;
        let faster = ScimPatch {
            profile: ProfilePatch {
                rate: Some(Rate {
                    requests: 0,
                    seconds: 1,
                }),
                ..ProfilePatch::default()
            },
            ..ScimPatch::default()
        };
        let settings = SettingsPatch {
            scim: Some(faster),
            ..SettingsPatch::default()
        };
        hub.apply_application(Caller::system("test"), update(&application, settings))
            .await
            .unwrap();
        until("it is told", async || app.names() == set(&["ada"])).await;
        delivery.stop().await;
    });
}

#[test]
fn nothing_is_believed_of_another_provider_that_the_one_before_has_said() {
    on_both("scim_moved", |hub, _| async move {
        let hub = open_hub(&hub).await;
        let (old, application) = add(&hub, |_| {}).await;
        let delivery = begin(&hub).await;
        let (ada, bob) = (user(&hub, "ada").await, user(&hub, "bob").await);
        group_with(&hub, "Staff", &[&ada]).await;
        settled(&hub, &application).await;
        // The other one has bob under the id that the first one gave to ada.
        let (new, base) = serve().await;
        new.with(|script| {
            let there = json!({ "id": "1", "userName": "bob" });
            let there = there.as_object().unwrap().clone();
            script.provider.users.insert("1".to_owned(), there);
            script.provider.made = 1;
        });
        old.with(|script| script.provider.calls.clear());
        let moving = |secret: Option<&str>| application::Command::Update {
            id: application.id.clone(),
            name: None,
            secret: secret.map(SecretString::from),
            settings: SettingsPatch {
                url: Some(base.clone()),
                ..SettingsPatch::default()
            },
        };
        // The token was entered for the first one.
        let refused = hub.apply_application(Caller::system("test"), moving(None)).await;
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains("entered for another address"), "{refused}");
        hub.apply_application(Caller::system("test"), moving(Some("s3cret")))
            .await
            .unwrap();
        apply(&hub, renamed(&ada, "ada.l")).await;
        apply(&hub, renamed(&bob, "bob.m")).await;
        settled(&hub, &application).await;
        until("both are there", async || {
            new.names() == set(&["ada.l", "bob", "bob.m"])
        })
        .await;
        new.with(|script| {
            // Nobody with the new name and neither id was there, so bob was made too, beside the stranger.
            assert_eq!(script.provider.users["1"]["userName"], "bob");
        });
        old.with(|script| assert_eq!(script.provider.calls, [""; 0]));
        delivery.stop().await;
    });
}

#[test]
fn an_answer_of_the_provider_before_that_comes_late_teaches_nothing() {
    on_both("scim_late", |hub, _| async move {
        let hub = open_hub(&hub).await;
        let (old, application) = add(&hub, |_| {}).await;
        let delivery = begin(&hub).await;
        let gate = old.with(|script| Arc::clone(&script.gate));
        let ada = user(&hub, "ada").await;
        settled(&hub, &application).await;
        let held = gate.lock().await;
        let bob = user(&hub, "bob").await;
        until("the first one has bob", async || old.names().contains("bob")).await;
        // The other one has strangers under the ids that the first one gives.
        let (new, base) = serve().await;
        new.with(|script| {
            for (id, name) in [("1", "mallory"), ("2", "trudy")] {
                let there = json!({ "id": id, "userName": name });
                script
                    .provider
                    .users
                    .insert(id.to_owned(), there.as_object().unwrap().clone());
            }
            script.provider.made = 2;
        });
        let moved = application::Command::Update {
            id: application.id.clone(),
            name: None,
            secret: Some(SecretString::from("s3cret")),
            settings: SettingsPatch {
                url: Some(base),
                ..SettingsPatch::default()
            },
        };
        hub.apply_application(Caller::system("test"), moved)
            .await
            .unwrap();
        drop(held);
        until("bob is told to the other one", async || {
            new.names().contains("bob")
        })
        .await;
        apply(&hub, renamed(&bob, "bob.m")).await;
        apply(&hub, renamed(&ada, "ada.l")).await;
        settled(&hub, &application).await;
        assert_eq!(new.names(), set(&["ada.l", "bob.m", "mallory", "trudy"]));
        new.with(|script| assert_eq!(script.provider.users["2"]["userName"], "trudy"));
        delivery.stop().await;
    });
}

#[test]
fn what_is_in_flight_while_the_mode_changes_is_told_in_the_new_one() {
    on_both("scim_mode", |hub, _| async move {
        let hub = open_hub(&hub).await;
        let plain = Plain::new(&hub, "App").await;
        let (app, base) = serve().await;
        let (id, same) = (plain.application.id.clone(), hub.clone());
        // The callback is taken, but by then the application is another one.
        plain.slow(move || {
            let moved = application::Command::Update {
                id: id.clone(),
                name: None,
                secret: Some(SecretString::from("s3cret")),
                settings: SettingsPatch {
                    mode: Some(ModeName::Scim),
                    url: Some(base.clone()),
                    ..SettingsPatch::default()
                },
            };
            let hub = same.clone();
            async move {
                hub.apply_application(Caller::system("test"), moved)
                    .await
                    .unwrap();
            }
        });
        user(&hub, "ada").await;
        let delivery = begin(&hub).await;
        until("ada is told to the other one", async || {
            app.names() == set(&["ada"])
        })
        .await;
        user(&hub, "bob").await;
        settled(&hub, &plain.application).await;
        assert_eq!(app.names(), set(&["ada", "bob"]));
        assert!(parked_of(&hub, &plain.application).await.is_empty());
        delivery.stop().await;
    });
}

#[test]
fn a_change_that_this_node_has_not_heard_of_holds_nothing_up() {
    on_both("scim_unheard", |database, _| async move {
        let hub = open_hub(&database).await;
        let (app, application) = add(&hub, |_| {}).await;
        let options = Options {
            poll: Duration::from_secs(3_600),
            ..hasty()
        };
        let delivery = deliver(&hub, options).await;
        let gate = app.with(|script| Arc::clone(&script.gate));
        let held = gate.lock().await;
        user(&hub, "ada").await;
        until("it has ada", async || app.names().contains("ada")).await;
        // Another node changes the application while the answer is on its way, and says nothing.
        let other = open_hub(&database).await;
        let changed = application::Command::Update {
            id: application.id.clone(),
            name: Some("Renamed".to_owned()),
            secret: None,
            settings: SettingsPatch::default(),
        };
        other
            .apply_application(Caller::system("test"), changed)
            .await
            .unwrap();
        drop(held);
        settled(&hub, &application).await;
        assert_eq!(app.names(), set(&["ada"]));
        delivery.stop().await;
    });
}
