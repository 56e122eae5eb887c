//! What is old goes, and nobody is left with a gap.

use std::time::Duration;

use rollcall::access::Caller;
use rollcall::application::{self, Scope};
use rollcall::change;
use rollcall::delivery::erase::erase_user;
use rollcall::delivery::job::{self, JobStatus, Trigger};
use rollcall::delivery::ledger::attempts::{self, Attempt, Exception};
use rollcall::delivery::model::Source;
use rollcall::delivery::retention::{Retention, Trimmed, trim};
use rollcall::directory::{Command, DirectoryError};
use rollcall::id::ROOT_UNIT;

use crate::world::{Fault, World, described, on_both};

const FOR_EVER: Duration = Duration::from_secs(1_000_000);

async fn trimmed(world: &World, changes: Duration, laggards: Duration, attempts: Duration) -> Trimmed {
    // What happened in this very millisecond is not older than now.
    tokio::time::sleep(Duration::from_millis(3)).await;
    let retention = Retention {
        changes,
        laggards,
        attempts,
    };
    trim(&world.hub, retention, &world.hub.meters).await.unwrap()
}

async fn log(world: &World) -> Vec<change::Change> {
    let reading = world.hub.db.read(|tx| change::read_after(tx, 0, usize::MAX));
    reading.await.unwrap()
}

#[test]
fn what_everybody_has_got_goes_and_the_log_goes_on() {
    on_both("trimmed", |hub, mirror| async move {
        let mut world = World::new(&hub, &mirror, Scope::everything()).await;
        world.synchronize().await;
        for n in 0..30 {
            world.user(&format!("u{n}"), ROOT_UNIT).await;
        }
        world.converged().await;
        world.stop().await;
        let kept = trimmed(&world, FOR_EVER, FOR_EVER, FOR_EVER).await;
        assert_eq!(kept, Trimmed::default(), "nothing is old yet");
        // One change that was not delivered stays.
        let user = world.user("late", ROOT_UNIT).await;
        let gone = trimmed(&world, Duration::ZERO, FOR_EVER, Duration::ZERO).await;
        assert!(
            gone.changes >= 30 && gone.attempts > 0 && gone.fallen_behind == 0,
            "{gone:?}"
        );
        let left = log(&world).await;
        assert_eq!(
            left.iter()
                .map(|change| change.subject_id.as_str())
                .collect::<Vec<_>>(),
            [user]
        );
        world.start().await;
        world.user("later", ROOT_UNIT).await;
        world.converged().await;
    });
}

#[test]
fn who_fell_behind_is_pushed_everything_and_keeps_nobody_who_left() {
    on_both("fallen_behind", |hub, mirror| async move {
        let mut world = World::without_delivery(&hub, &mirror, Scope::default()).await;
        let (inside, outside) = (
            world.unit("Inside", ROOT_UNIT).await,
            world.unit("Outside", ROOT_UNIT).await,
        );
        world.start().await;
        let scope = Scope {
            organizational_unit_ids: [inside.clone()].into(),
            ..Scope::default()
        };
        crate::delivery::rescope(&world, scope).await;
        let below = world.unit("Below", &inside).await;
        let mut ids = Vec::new();
        for name in ["deleted", "moved", "with_unit", "stays"] {
            let unit = if name == "with_unit" { &below } else { &inside };
            ids.push(world.user(name, unit).await);
        }
        world.converged().await;
        world.stop().await;
        // While nobody delivers: one is deleted, one moves out, one goes with its unit, one changes, one comes.
        world.apply(Command::DeleteUser { id: ids[0].clone() }).await;
        world
            .apply(Command::SetUnits {
                id: ids[1].clone(),
                primary: outside.clone(),
                further: Vec::new(),
            })
            .await;
        world
            .apply(Command::MoveUnit {
                id: below,
                parent_id: outside,
            })
            .await;
        for n in 0..20 {
            world.apply(described(&ids[3], &format!("change {n}"))).await;
        }
        world.user("new", &inside).await;
        // Switched off as well, so that the synchronization has to wait.
        switch(&world, false).await;
        let gone = trimmed(&world, Duration::ZERO, Duration::ZERO, FOR_EVER).await;
        assert_eq!(gone.fallen_behind, 1);
        assert!(gone.changes >= 21, "{gone:?}");
        let again = trimmed(&world, Duration::ZERO, Duration::ZERO, FOR_EVER).await;
        assert_eq!(
            again,
            Trimmed::default(),
            "there is one synchronization, not one each time"
        );
        let left = log(&world).await;
        assert!(
            left.iter().all(|change| change.subject_id != ids[3]),
            "a push makes up for it"
        );
        world.start().await;
        switch(&world, true).await;
        world.converged().await;
        let id = world.application.id.clone();
        let jobs = world
            .hub
            .db
            .read(move |tx| job::newest(tx, &id, 1))
            .await
            .unwrap();
        assert_eq!(jobs[0].trigger, Trigger::Retention);
        assert_eq!(world.job_done(&jobs[0].id).await.status, JobStatus::Success);
    });
}

async fn switch(world: &World, on: bool) {
    let id = world.application.id.clone();
    let command = if on {
        application::Command::EnableSynchronization { id }
    } else {
        application::Command::DisableSynchronization { id }
    };
    world.command(command).await;
}

#[test]
fn members_that_left_a_group_meanwhile_do_not_stay() {
    on_both("left_group", |hub, mirror| async move {
        let mut world = World::new(&hub, &mirror, Scope::everything()).await;
        world.synchronize().await;
        let group_id = world.group("Staff").await;
        let user_ids = vec![world.user("a", ROOT_UNIT).await, world.user("b", ROOT_UNIT).await];
        let members = (group_id.clone(), user_ids.clone());
        world
            .apply(Command::AddMembers {
                group_id: members.0,
                user_ids: members.1,
            })
            .await;
        world.converged().await;
        world.stop().await;
        world
            .apply(Command::RemoveMembers {
                group_id,
                user_ids: user_ids[..1].to_vec(),
            })
            .await;
        world.apply(described(&user_ids[1], "x")).await;
        assert_eq!(
            trimmed(&world, Duration::ZERO, Duration::ZERO, FOR_EVER)
                .await
                .fallen_behind,
            1
        );
        world.start().await;
        world.converged().await;
    });
}

#[test]
fn somebody_who_is_erased_leaves_no_trace_and_is_deleted_everywhere() {
    on_both("erased", |hub, mirror| async move {
        let mut world = World::new(&hub, &mirror, Scope::everything()).await;
        world.synchronize().await;
        let user = world.user("erika", ROOT_UNIT).await;
        let never_sent = world.user("other", ROOT_UNIT).await;
        world.converged().await;
        world.endpoint.fail_always(Some(Fault::Status(503)));
        world.apply(described(&user, "a private matter")).await;
        let said = Attempt {
            exceptions: vec![Exception {
                event_id: log(&world).await.last().unwrap().event_id.clone(),
                subject_id: user.clone(),
                result: "failed".into(),
                code: "ERR".into(),
                message: Some("erika is known already".into()),
            }],
            ..Attempt::new(Source::Log, Some((1, 1)), (0, 1), 1)
        };
        let id = world.application.id.clone();
        world
            .hub
            .db
            .write(move |tx| attempts::store(tx, &id, &said))
            .await
            .unwrap();
        world
            .until("the application is suspended", || async {
                world.stored().await.suspended.is_some()
            })
            .await;

        let (hub, id) = (world.hub.clone(), user.clone());
        let erased = world
            .hub
            .db
            .write(move |tx| erase_user(&hub, tx, &Caller::system("test"), &id))
            .await
            .unwrap();
        assert!(
            erased.deleted && erased.changes == 3 && erased.attempts == 1,
            "{erased:?}"
        );
        for change in log(&world)
            .await
            .iter()
            .filter(|change| change.subject_id == user)
        {
            assert_eq!((change.record.as_str(), &change.previous), ("", &None));
        }
        let id = world.application.id.clone();
        let attempts = world
            .hub
            .db
            .read(move |tx| attempts::newest(tx, &id, 0, 1_000))
            .await
            .unwrap();
        assert!(!serde_json::to_string(&attempts).unwrap().contains("erika"));

        world.endpoint.fail_always(None);
        world.converged().await;
        let story = world.endpoint.story_of(&user);
        assert_eq!(
            story,
            ["ud:user:create", "ud:user:delete"],
            "what was private was not told"
        );
        assert!(
            world
                .endpoint
                .arrived()
                .iter()
                .all(|event| !event.biz_data.contains("private"))
        );

        // Who was deleted before is erased by id; nobody knows a third one.
        world
            .apply(Command::DeleteUser {
                id: never_sent.clone(),
            })
            .await;
        let hub = world.hub.clone();
        let erased = world
            .hub
            .db
            .write(move |tx| erase_user(&hub, tx, &Caller::system("test"), &never_sent))
            .await
            .unwrap();
        assert!(!erased.deleted && erased.changes == 2);
        let hub = world.hub.clone();
        let unknown = world
            .hub
            .db
            .write(move |tx| erase_user(&hub, tx, &Caller::system("test"), "user_x"))
            .await;
        assert!(matches!(unknown, Err(DirectoryError::NotFound { .. })));
        world.converged().await;
        world.stop().await;
    });
}
