//! "Why did this user (not) arrive?" has an answer on one page.

use std::time::Duration;

use rollcall::access::Caller;
use rollcall::application::Scope;
use rollcall::delivery::Options;
use rollcall::delivery::ledger::attempts::{self, Search};
use rollcall::delivery::ledger::operate;
use rollcall::delivery::ledger::parked::ParkedState;
use rollcall::directory::Command;
use rollcall::id::ROOT_UNIT;
use rollcall::why::{Fate, Why, WhyError, in_words, why, why_within};
use rollcall_db::DbError;

use crate::cli_delivery::Beside;
use crate::plain::{self, Of, Plain, Say, attempts_of, deliver, settled};
use crate::world::{Fault, World, described, hasty, on_both, open_hub};

async fn ask(world: &World, user: &str) -> Result<Why, WhyError> {
    let user = user.to_owned();
    let now = world.hub.clock.now();
    world.hub.db.read(move |tx| why(tx, &user, "app", now)).await
}

async fn conclusion(world: &World, user: &str) -> String {
    ask(world, user).await.unwrap().conclusion
}

#[test]
fn every_reason_is_told() {
    on_both("why", |hub, mirror| async move {
        let mut world = World::without_delivery(&hub, &mirror, Scope::default()).await;
        let inside = world.unit("Inside", ROOT_UNIT).await;
        let old = world.user("old", &inside).await;
        world.user("outside", ROOT_UNIT).await;
        world.start().await;
        let scope = Scope {
            organizational_unit_ids: [inside.clone()].into(),
            ..Scope::default()
        };
        crate::delivery::rescope(&world, scope).await;

        let outside = ask(&world, "outside").await.unwrap();
        assert!(
            outside.conclusion.contains("not in scope of App"),
            "{}",
            outside.conclusion
        );
        assert!(outside.conclusion.contains("/Inside"));
        assert!(matches!(outside.changes[0].fate, Fate::NotForIt { .. }));

        let ada = world.user("ada", &inside).await;
        world.converged().await;
        // The answer is stored a moment after the application has the user.
        world
            .until("the answer is stored", || async {
                !conclusion(&world, "ada").await.contains("not been sent")
            })
            .await;
        let page = ask(&world, &ada).await.unwrap();
        assert!(page.conclusion.contains("has everything"), "{}", page.conclusion);
        assert_eq!(in_words(&page.in_scope_through), "organizational unit /Inside");
        assert!(matches!(
            page.changes[0].fate,
            Fate::Delivered { try_number: 1, .. }
        ));
        assert_eq!(page.changes[0].event.as_deref(), Some("ud:user:create"));

        world.endpoint.fail_next([Fault::Refuse(ada.clone())]);
        world.apply(described(&ada, "refused")).await;
        world
            .until("the refusal is known", || async {
                conclusion(&world, "ada").await.contains("refused")
            })
            .await;
        let page = ask(&world, "ada").await.unwrap();
        assert!(
            page.conclusion.contains("rollcall app resend"),
            "{}",
            page.conclusion
        );
        assert!(matches!(page.changes[0].fate, Fate::Parked { .. }));

        world.endpoint.fail_always(Some(Fault::Status(500)));
        world.apply(described(&old, "waits")).await;
        world
            .until("the application is suspended", || async {
                world.stored().await.suspended.is_some()
            })
            .await;
        let waiting = ask(&world, "old").await.unwrap();
        assert!(waiting.conclusion.contains("HTTP 500"), "{}", waiting.conclusion);
        assert_eq!(
            (waiting.changes[0].fate.clone(), waiting.state.as_ref()),
            (Fate::Waiting, "suspended")
        );
        world.endpoint.fail_always(None);

        world.apply(Command::DeleteUser { id: old.clone() }).await;
        world
            .until("the deletion is told", || async {
                conclusion(&world, &old).await.contains("was told so")
            })
            .await;
        assert!(matches!(
            ask(&world, "nobody").await,
            Err(WhyError::UnknownUser(_))
        ));
        world.stop().await;
    });
}

#[test]
fn who_was_there_before_the_application_waits_for_a_synchronization() {
    on_both("why_before", |hub, mirror| async move {
        let hub_too = crate::world::open_hub(&hub).await;
        let new = crate::world::new_user("early", ROOT_UNIT);
        hub_too
            .apply(Caller::system("test"), Command::CreateUser(new))
            .await
            .unwrap();
        let mut world = World::new(&hub, &mirror, Scope::everything()).await;
        let before = conclusion(&world, "early").await;
        assert!(before.contains("rollcall app sync"), "{before}");
        let job = world.synchronize().await;
        let page = ask(&world, "early").await.unwrap();
        assert!(page.conclusion.contains(&job.id), "{}", page.conclusion);
        assert!(page.synchronizations[0].included);
        world.stop().await;
    });
}

#[test]
fn an_answer_looks_at_so_many_requests_and_says_if_that_was_not_all() {
    on_both("why_bounded", |hub, mirror| async move {
        let mut world = World::new(&hub, &mirror, Scope::everything()).await;
        world.synchronize().await;
        world.endpoint.fail_next([Fault::Status(500)]);
        let ada = world.user("ada", ROOT_UNIT).await;
        world.converged().await;
        for number in 0..5 {
            world.apply(described(&ada, &number.to_string())).await;
            world.converged().await;
        }
        world
            .until("the last answer is stored", || async {
                conclusion(&world, &ada).await.contains("has everything")
            })
            .await;
        world.stop().await;
        let (id, now) = (world.application.id.clone(), world.hub.clock.now());
        world
            .hub
            .db
            .read(move |tx| {
                let mut page = |search: &mut Search| why_within(tx, search, &ada, &id, now).unwrap();
                let all = page(&mut Search::default());
                assert!(all.warnings.is_empty(), "{:?}", all.warnings);
                assert!(matches!(
                    all.changes[0].fate,
                    Fate::Delivered { try_number: 1, .. }
                ));
                assert!(matches!(
                    all.changes[5].fate,
                    Fate::Delivered { try_number: 2, .. }
                ));
                let none = page(&mut Search::of(0));
                assert!(none.warnings[0].contains("more requests"), "{:?}", none.warnings);
                assert!(matches!(none.changes[0].fate, Fate::Settled));
                // The failure lies behind the five requests that came after it, and behind its own second try.
                let mut failed = |search: &mut Search| attempts::newest_failed(tx, search, &id, 0, 10);
                let mut few = Search::of(6);
                assert!(failed(&mut few)?.is_empty() && few.was_cut_short());
                let mut enough = Search::of(7);
                assert_eq!(failed(&mut enough)?.len(), 1);
                let mut all = Search::default();
                let found = failed(&mut all)?;
                assert_eq!((found.len(), found[0].1.http_status), (1, Some(500)));
                assert!(!all.was_cut_short());
                Ok::<_, DbError>(())
            })
            .await
            .unwrap();
    });
}

/// Does something to the delivery of the world's application, as an administrator.
async fn operate<T: Send + 'static>(
    world: &World,
    mut run: impl FnMut(
        &mut rollcall_db::Tx<'_>,
        &rollcall::access::Context<'_>,
        &str,
    ) -> Result<T, operate::OperateError>
    + Send
    + 'static,
) -> T {
    let id = world.application.id.clone();
    let done = world
        .hub
        .write_as(Caller::system("test"), move |tx, ctx| run(tx, ctx, &id))
        .await;
    done.unwrap()
}

async fn fate(world: &World, user: &str) -> Fate {
    ask(world, user).await.unwrap().changes[0].fate.clone()
}

async fn until_fate(world: &World, user: &str, wanted: fn(&Fate) -> bool) {
    world
        .until("its fate is known", || async { wanted(&fate(world, user).await) })
        .await;
}

fn is_set_aside(fate: &Fate) -> bool {
    let failed = ParkedState::Failed;
    matches!(fate, Fate::Parked { state, .. } if *state == failed)
}

#[test]
fn what_became_of_an_event_that_was_sent_again_is_told() {
    on_both("why_again", |hub, mirror| async move {
        let world = World::new(&hub, &mirror, Scope::everything()).await;
        let ada = world.user("ada", ROOT_UNIT).await;
        until_fate(&world, &ada, |fate| matches!(fate, Fate::Delivered { .. })).await;

        // Refused, and sent again by somebody.
        world.endpoint.fail_next([Fault::Refuse(ada.clone())]);
        world.apply(described(&ada, "first")).await;
        until_fate(&world, &ada, is_set_aside).await;
        world.endpoint.fail_next([Fault::Status(503)]);
        operate(&world, |tx, ctx, id| operate::resend(tx, ctx, id, None)).await;
        until_fate(&world, &ada, |fate| matches!(fate, Fate::SentAgain { .. })).await;
        let page = ask(&world, &ada).await.unwrap();
        let Fate::SentAgain { times, anew, .. } = &page.changes[0].fate else {
            panic!("{:?}", page.changes[0]);
        };
        assert_eq!((*times, *anew), (2, false), "the first of the two failed");
        for part in [
            "did not take the newest event at first",
            "when it was sent again",
            "has everything",
        ] {
            assert!(page.conclusion.contains(part), "{}", page.conclusion);
        }

        // Wanted again, and sent again by itself.
        world.endpoint.fail_next([Fault::Retry(ada.clone())]);
        world.apply(described(&ada, "second")).await;
        until_fate(&world, &ada, |fate| {
            matches!(
                fate,
                Fate::SentAgain {
                    times: 1,
                    anew: false,
                    ..
                }
            )
        })
        .await;

        // Refused, overtaken, and told anew.
        world.endpoint.fail_next([Fault::Refuse(ada.clone())]);
        world.apply(described(&ada, "third")).await;
        until_fate(&world, &ada, is_set_aside).await;
        world.apply(described(&ada, "fourth")).await;
        until_fate(&world, &ada, |fate| matches!(fate, Fate::Delivered { .. })).await;
        let resent = operate(&world, |tx, ctx, id| operate::resend(tx, ctx, id, None)).await;
        assert_eq!(resent.refreshed, 1);
        world
            .until("it is told anew", || async {
                let third = ask(&world, &ada).await.unwrap().changes[1].fate.clone();
                matches!(third, Fate::SentAgain { anew: true, .. })
            })
            .await;

        // Refused, and dismissed.
        world.endpoint.fail_next([Fault::Refuse(ada.clone())]);
        world.apply(described(&ada, "fifth")).await;
        until_fate(&world, &ada, is_set_aside).await;
        operate(&world, |tx, ctx, id| operate::dismiss(tx, ctx, id, None)).await;
        let page = ask(&world, &ada).await.unwrap();
        assert!(
            matches!(page.changes[0].fate, Fate::Dismissed { .. }),
            "{:?}",
            page.changes[0]
        );
        assert!(
            page.conclusion.contains("was not sent again"),
            "{}",
            page.conclusion
        );
    });
}

#[test]
fn an_endpoint_that_fails_is_not_called_on_its_way() {
    on_both("why_failing", |hub, mirror| async move {
        let mut world = World::without_delivery(&hub, &mirror, Scope::everything()).await;
        world.options = Options {
            tries: 20,
            first_pause: Duration::from_millis(400),
            longest_pause: Duration::from_secs(60),
            ..hasty()
        };
        world.start().await;
        world.endpoint.fail_always(Some(Fault::Status(500)));
        let ada = world.user("ada", ROOT_UNIT).await;
        world
            .until("it has failed twice", || async {
                let page = ask(&world, &ada).await.unwrap();
                page.failing.is_some_and(|failing| failing.times >= 2)
            })
            .await;
        let page = ask(&world, &ada).await.unwrap();
        for part in [
            "times in a row since 20",
            "HTTP 500: test",
            "It is tried again at 20",
            "rollcall app test",
        ] {
            assert!(page.conclusion.contains(part), "{}", page.conclusion);
        }
        let failing = page.failing.clone().unwrap();
        assert!(
            page.conclusion
                .contains(&failing.words(failing.next_try.unwrap())),
            "{}",
            page.conclusion
        );
        assert!(failing.next_try.unwrap() > failing.since);
        // Once it is answered again, nothing of that is left.
        world.endpoint.fail_always(None);
        world.stop().await;
        world.start().await;
        world
            .until("it arrives", || async {
                ask(&world, &ada).await.unwrap().failing.is_none()
            })
            .await;
        world.stop().await;
    });
}

#[test]
fn what_an_answer_does_not_confirm_is_not_called_accepted() {
    on_both("why_assumed", |database, mirror| async move {
        let beside = Beside::new(&database);
        let mut world = World::new(&database, &mirror, Scope::everything()).await;
        let ada = world.user("ada", ROOT_UNIT).await;
        until_fate(&world, &ada, |fate| matches!(fate, Fate::Delivered { .. })).await;
        // A login page before the application answers with 200.
        world.endpoint.fail_next([Fault::Garbage]);
        world.apply(described(&ada, "first")).await;
        until_fate(&world, &ada, |fate| matches!(fate, Fate::Assumed { .. })).await;
        let page = ask(&world, &ada).await.unwrap();
        let said = "assumed, not confirmed: an HTML page";
        assert!(page.conclusion.contains(said), "{}", page.conclusion);
        assert!(
            !page.conclusion.contains("has everything that"),
            "{}",
            page.conclusion
        );
        let (_, text) = beside.run(&["why", "ada", "App"]).await;
        assert!(text.matches(said).count() == 2, "{text}");
        let (_, text) = beside.run(&["log", "--app", "App", "--last", "1"]).await;
        assert!(text.contains(said), "{text}");
        // What is confirmed later is so, and the rest stays as it was.
        world.apply(described(&ada, "second")).await;
        until_fate(&world, &ada, |fate| matches!(fate, Fate::Delivered { .. })).await;
        let page = ask(&world, &ada).await.unwrap();
        assert!(
            page.conclusion.contains("has everything that"),
            "{}",
            page.conclusion
        );
        assert!(matches!(page.changes[1].fate, Fate::Assumed { .. }));
        world.stop().await;
    });
}

#[test]
fn an_answer_that_names_some_and_not_others_confirms_those_that_it_names() {
    on_both("why_unnamed", |database, _| async move {
        let beside = Beside::new(&database);
        let hub = open_hub(&database).await;
        let app = Plain::new(&hub, "App").await;
        let ask = async |user: &str| {
            let (user, now) = (user.to_owned(), hub.clock.now());
            let page = hub.db.read(move |tx| why(tx, &user, "App", now)).await;
            page.unwrap()
        };
        let mut ids = Vec::new();
        for name in ["ada", "bob", "carol", "dan"] {
            ids.push(plain::user(&hub, name).await);
        }
        // Carol and dan are wanted again once. Of both requests, only bob and dan are not named.
        let [_, bob, carol, dan] = <[String; 4]>::try_from(ids).unwrap();
        let mut number = 0;
        app.say(move |events| {
            number += 1;
            let of = |id: &String| match id {
                id if *id == bob => Of::Unnamed,
                id if number == 1 && (*id == carol || *id == dan) => Of::Retried,
                id if *id == dan => Of::Unnamed,
                _ => Of::Success,
            };
            Say::Each(events.iter().map(|event| of(&event.biz_id)).collect())
        });
        let delivery = deliver(&hub, hasty()).await;
        settled(&hub, &app.application).await;
        assert_eq!(app.requests()[0].len(), 4);
        let first = attempts_of(&hub, &app.application).await.pop().unwrap();
        assert_eq!((first.succeeded, first.retried, first.assumed), (1, 2, 1));

        let said = "the answer named other events of the request, and not this one";
        let assumed = |page: &Why| match &page.changes[0].fate {
            Fate::Assumed { answer, .. } => answer.contains(said),
            _ => false,
        };
        assert!(matches!(ask("ada").await.changes[0].fate, Fate::Delivered { .. }));
        assert!(assumed(&ask("bob").await));
        assert!(matches!(
            ask("carol").await.changes[0].fate,
            Fate::SentAgain { .. }
        ));
        assert!(matches!(ask("dan").await.changes[0].fate, Fate::Assumed { .. }));
        assert!(beside.run(&["why", "bob", "App"]).await.1.contains(said));
        let (_, text) = beside.run(&["why", "ada", "App"]).await;
        assert!(text.contains("has everything that"), "{text}");
        let (_, text) = beside.run(&["log", "--app", "App", "--failed"]).await;
        assert!(
            text.contains("1 not named by the answer") && text.contains("assumed: event_not_named"),
            "{text}"
        );

        // An answer that names everybody or nobody makes no row larger.
        for of in [Of::Success, Of::Unnamed] {
            app.say(move |events| Say::Each(vec![of; events.len()]));
            plain::apply(&hub, described(&ask("ada").await.user_id, &format!("{of:?}"))).await;
            settled(&hub, &app.application).await;
            let newest = attempts_of(&hub, &app.application).await.remove(0);
            assert!(newest.exceptions.is_empty(), "{newest:?}");
        }
        assert!(matches!(ask("ada").await.changes[0].fate, Fate::Assumed { .. }));
        // A synchronization says of nobody that he was not taken because he was not named.
        let unnamed = ask("bob").await.user_id;
        app.say(move |events| {
            let of = |named: bool| if named { Of::Success } else { Of::Unnamed };
            Say::Each(events.iter().map(|event| of(event.biz_id != unnamed)).collect())
        });
        let (_, text) = beside.run(&["app", "sync", "App"]).await;
        assert!(text.contains("not confirmed by the answer"), "{text}");
        let pushed = ask("bob").await.synchronizations.remove(0);
        assert!(pushed.included && pushed.answer.is_none(), "{pushed:?}");
        delivery.stop().await;
    });
}
