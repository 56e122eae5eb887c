//! Bad luck: endpoints that fail in every way, and databases that go away.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use rollcall::access::Caller;
use rollcall::application::{Scope, SettingsPatch};
use rollcall::delivery::job::{self, JobStatus};
use rollcall::delivery::{Delivery, Options};
use rollcall::directory::{Command, UserChanges};
use rollcall::id::ROOT_UNIT;
use rollcall_db::testing;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::plain::attempts_of;
use crate::world::{Fault, World, add_application, egress, hasty, on_both};

fn renamed(id: &str, name: &str) -> Command {
    let changes = UserChanges {
        display_name: Some(name.into()),
        ..UserChanges::default()
    };
    Command::UpdateUser {
        id: id.into(),
        changes,
    }
}

#[test]
fn a_fault_of_each_kind_loses_and_doubles_nothing() {
    on_both("faults", |hub, mirror| async move {
        let mut world = World::new(&hub, &mirror, Scope::everything()).await;
        world.synchronize().await;
        let ada = world.user("ada", ROOT_UNIT).await;
        world.converged().await;
        for (n, fault) in [
            Fault::Status(500),
            Fault::Status(400),
            Fault::Redirect,
            Fault::Garbage,
            Fault::LostAnswer,
            Fault::Retry(ada.clone()),
        ]
        .into_iter()
        .enumerate()
        {
            world.endpoint.fail_next([fault]);
            world.apply(renamed(&ada, &format!("Name {n}"))).await;
            world.converged().await;
        }
        // A fault that the application applied before it failed comes twice and counts once.
        let attempts = attempts_of(&world.hub, &world.application).await;
        let outcomes: Vec<_> = attempts.into_iter().map(|attempt| attempt.outcome).collect();
        assert!(
            outcomes.iter().any(|outcome| outcome == "refused"),
            "{outcomes:?}"
        );
        assert!(outcomes.iter().any(|outcome| outcome == "broken"), "{outcomes:?}");
        world.stop().await;
    });
}

#[test]
fn an_answer_after_eleven_seconds_is_no_answer() {
    let database = testing::sqlite();
    let mirror = testing::sqlite();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut world = World::new(&database.url, &mirror.url, Scope::everything()).await;
        world.synchronize().await;
        world.endpoint.fail_next([Fault::Late(Duration::from_secs(11))]);
        world.user("ada", ROOT_UNIT).await;
        world
            .until("the attempt times out", async || {
                let attempts = attempts_of(&world.hub, &world.application).await;
                attempts.iter().any(|attempt| attempt.outcome == "timed_out")
            })
            .await;
        world.converged().await;
        world.stop().await;
    });
}

#[test]
fn half_an_answer_is_no_answer() {
    let database = testing::sqlite();
    let mirror = testing::sqlite();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut world = World::without_delivery(&database.url, &mirror.url, Scope::everything()).await;
        world.endpoint.kill().await;
        let address = world
            .endpoint
            .url
            .trim_start_matches("http://")
            .trim_end_matches("/events")
            .to_owned();
        let listener = tokio::net::TcpListener::bind(&address).await.unwrap();
        let broken = tokio::spawn(async move {
            for answer in [
                "HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{\"succ",
                "SMTP ready\r\n",
                "",
            ] {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut buffer = [0; 65_536];
                let _ = stream.read(&mut buffer).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        world.start().await;
        world.user("ada", ROOT_UNIT).await;
        broken.await.unwrap();
        world
            .endpoint
            .serve(&world.hub, &world.application, world.key.clone())
            .await;
        world
            .until("ada arrives", || async {
                world.endpoint.mirror.snapshot().await.unwrap().users.len() == 1
            })
            .await;
        world.stop().await;
    });
}

#[test]
fn a_dead_endpoint_is_suspended_and_continues_where_it_stood() {
    on_both("suspended", |hub, mirror| async move {
        let mut world = World::new(&hub, &mirror, Scope::everything()).await;
        world.synchronize().await;
        let dead = add_application(
            &world.hub,
            "Dead",
            "http://127.0.0.1:1/",
            None,
            Scope::everything(),
        )
        .await;
        world.endpoint.fail_always(Some(Fault::Status(503)));
        let mut users = Vec::new();
        for n in 0..20 {
            users.push(world.user(&format!("u{n}"), ROOT_UNIT).await);
        }
        world
            .until("it is suspended", || async {
                world.stored().await.suspended.is_some()
            })
            .await;
        // A restart finds it suspended, and goes on probing.
        world.stop().await;
        world.start().await;
        world.endpoint.fail_always(None);
        world.converged().await;
        world
            .until("it is not suspended any more", || async {
                world.stored().await.suspended.is_none()
            })
            .await;
        for user in &users {
            assert_eq!(world.endpoint.story_of(user), ["ud:user:create"]);
        }
        let load = || {
            let (db, id) = (world.hub.db.clone(), dead.id.clone());
            async move {
                db.read(move |tx| rollcall::application::store::load(tx, &id))
                    .await
                    .unwrap()
            }
        };
        world
            .until("the dead one is suspended", || async {
                load().await.suspended.is_some()
            })
            .await;
        assert!(load().await.position < world.stored().await.position);
        world.stop().await;
    });
}

#[test]
fn a_hub_that_stops_in_the_middle_goes_on_afterwards() {
    on_both("restarts", |hub, mirror| async move {
        let mut world = World::new(&hub, &mirror, Scope::everything()).await;
        world.synchronize().await;
        for round in 0..6 {
            for n in 0..15 {
                world.user(&format!("u{round}x{n}"), ROOT_UNIT).await;
            }
            if round % 2 == 0 {
                world.endpoint.fail_next([Fault::LostAnswer]);
            }
            world.stop().await;
            world.start().await;
        }
        world.converged().await;
        world.stop().await;
    });
}

#[test]
fn a_receiver_that_is_killed_in_the_middle_loses_nothing() {
    on_both("receiver_killed", |hub, mirror| async move {
        let mut world = World::new(&hub, &mirror, Scope::everything()).await;
        world.synchronize().await;
        for round in 0..4 {
            let changing = async {
                for n in 0..20 {
                    world.user(&format!("u{round}x{n}"), ROOT_UNIT).await;
                }
            };
            let killing = async {
                tokio::time::sleep(Duration::from_millis(15)).await;
                world.endpoint.kill().await;
            };
            tokio::join!(changing, killing);
            world
                .endpoint
                .serve(&world.hub, &world.application, world.key.clone())
                .await;
        }
        world.converged().await;
        world.stop().await;
    });
}

#[test]
fn a_database_that_goes_away_and_returns_loses_nothing() {
    let Some(database) = testing::postgres("goes_away") else {
        return;
    };
    let mirror = testing::sqlite();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut world = World::new(&database.url, &mirror.url, Scope::everything()).await;
        world.synchronize().await;
        for round in 0..5 {
            for n in 0..20 {
                if n == 10 {
                    let database = &database;
                    tokio::task::block_in_place(|| database.cut_connections());
                }
                world.user(&format!("u{round}x{n}"), ROOT_UNIT).await;
            }
        }
        world.converged().await;
        world.stop().await;
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// Whatever is changed and however the endpoint fails: the copy converges, and the events of a
    /// subject that count arrive in the order of the log.
    #[test]
    fn the_copy_converges(steps in prop::collection::vec((0_u8..8, 0_usize..6, 0_u8..8), 1..40)) {
        let database = testing::sqlite();
        let mirror = testing::sqlite();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let mut world = World::without_delivery(&database.url, &mirror.url, Scope::everything()).await;
            let units = [
                world.unit("A", ROOT_UNIT).await,
                world.unit("B", ROOT_UNIT).await,
                world.unit("C", ROOT_UNIT).await,
            ];
            let scope = Scope { organizational_unit_ids: [units[0].clone()].into(), ..Scope::default() };
            let app =
                add_application(&world.hub, "Scoped", &world.endpoint.url, world.key.clone(), scope).await;
            world.endpoint.serve(&world.hub, &app, world.key.clone()).await;
            let id = world.application.id.clone();
            world.command(rollcall::application::Command::Delete { id }).await;
            world.application = app;
            world.delivery =
                Some(Delivery::start(world.hub.clone(), egress(), hasty()).await.unwrap());
            world.synchronize().await;
            let mut users: Vec<String> = Vec::new();
            for (n, (what, which, fault)) in steps.into_iter().enumerate() {
                match fault {
                    0 => world.endpoint.fail_next([Fault::Status(500)]),
                    1 => world.endpoint.fail_next([Fault::LostAnswer]),
                    2 => world.endpoint.fail_next([Fault::Garbage]),
                    _ => {}
                }
                let user = users.get(which % users.len().max(1)).cloned();
                let unit = units[which % 3].clone();
                let other = units[(which + 1) % 3].clone();
                // Some of these are refused (a cycle, a user that is gone); that is part of it.
                let _ = match (what, user) {
                    (0 | 1, _) | (_, None) => {
                        let created = world.user(&format!("u{n}"), &unit).await;
                        users.push(created);
                        continue;
                    }
                    (2, Some(id)) => world.try_apply(renamed(&id, &format!("N{n}"))).await,
                    (3, Some(id)) => {
                        world.try_apply(Command::SetUnits { id, primary: unit, further: vec![other] }).await
                    }
                    (4, Some(id)) => world.try_apply(Command::DeleteUser { id }).await,
                    (5, _) => world.try_apply(Command::MoveUnit { id: unit, parent_id: other }).await,
                    (6, _) => {
                        world.try_apply(Command::MoveUnit { id: unit, parent_id: ROOT_UNIT.into() }).await
                    }
                    (_, Some(id)) => world.try_apply(Command::DisableUser { id }).await,
                };
            }
            let started = Instant::now();
            world.converged().await;
            prop_assert!(started.elapsed() < Duration::from_secs(40));
            world.stop().await;
            Ok(())
        })?;
    }
}

#[test]
fn a_full_synchronization_goes_on_after_a_restart_and_can_be_cancelled() {
    on_both("resumed", |hub, mirror| async move {
        let mut world = World::without_delivery(&hub, &mirror, Scope::everything()).await;
        for n in 0..60 {
            world.user(&format!("u{n}"), ROOT_UNIT).await;
        }
        let settings = SettingsPatch {
            max_events: Some(2),
            ..SettingsPatch::default()
        };
        world.configure(settings).await;
        let id = world.application.id.clone();
        let asking = world.hub.write_as(Caller::system("test"), move |tx, ctx| {
            job::request_full(tx, ctx, &id)
        });
        let job_id = asking.await.unwrap();
        for _ in 0..5 {
            world.start().await;
            tokio::time::sleep(Duration::from_millis(60)).await;
            world.stop().await;
        }
        world.start().await;
        let done = world.job_done(&job_id).await;
        assert_eq!(
            (done.status, done.statistics.users.success),
            (JobStatus::Success, 60)
        );
        world.converged().await;

        world.endpoint.fail_always(Some(Fault::Status(503)));
        let id = world.application.id.clone();
        let cancelled = world
            .hub
            .write_as(Caller::system("test"), move |tx, ctx| {
                job::request_full(tx, ctx, &id)?;
                job::cancel(tx, ctx, &id)
            })
            .await
            .unwrap();
        assert_eq!(world.job_done(&cancelled).await.status, JobStatus::Cancelled);
        world.endpoint.fail_always(None);
        world.user("afterwards", ROOT_UNIT).await;
        world.converged().await;
        world.stop().await;
    });
}

#[test]
fn an_application_that_asks_for_patience_gets_it() {
    on_both("patience", |hub, mirror| async move {
        let mut world = World::new(&hub, &mirror, Scope::everything()).await;
        world.synchronize().await;
        world.endpoint.fail_next([Fault::Busy(1)]);
        world.user("ada", ROOT_UNIT).await;
        world.converged().await;
        world.stop().await;
        let attempts = attempts_of(&world.hub, &world.application).await;
        let [second, first, ..] = attempts.as_slice() else {
            panic!("{attempts:?}")
        };
        assert_eq!((first.http_status, second.http_status), (Some(503), Some(200)));
        assert!(second.started_at - first.started_at >= 1_000, "{attempts:?}");
    });
}

#[test]
fn a_wish_for_patience_has_its_bounds() {
    on_both("patience_bounds", |hub, mirror| async move {
        let mut world = World::without_delivery(&hub, &mirror, Scope::everything()).await;
        world.options = Options {
            first_pause: Duration::from_millis(300),
            longest_pause: Duration::from_secs(60),
            longest_retry_after: Duration::from_secs(1),
            ..hasty()
        };
        world.start().await;
        world.synchronize().await;
        world.endpoint.fail_next([Fault::Busy(100_000), Fault::Busy(0)]);
        world.user("ada", ROOT_UNIT).await;
        world.converged().await;
        world.stop().await;
        let attempts = attempts_of(&world.hub, &world.application).await;
        let [third, second, first, ..] = attempts.as_slice() else {
            panic!("{attempts:?}")
        };
        let pauses = (
            second.started_at - first.started_at,
            third.started_at - second.started_at,
        );
        assert!((1_000..10_000).contains(&pauses.0), "{pauses:?}");
        assert!((300..10_000).contains(&pauses.1), "{pauses:?}");
    });
}
