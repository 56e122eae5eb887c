//! What is old goes, and nobody is left with a gap.

use std::time::Duration;

use rollcall::application::{self, Scope};
use rollcall::change;
use rollcall::delivery::job::{self, JobStatus, Trigger};
use rollcall::directory::Command;
use rollcall::id::ROOT_UNIT;
use rollcall::maintenance::retention::{Retention, Trimmed, trim};

use crate::world::{World, described, on_both};

const FOR_EVER: Duration = Duration::from_secs(1_000_000);

async fn trimmed(world: &World, changes: Duration, laggards: Duration, attempts: Duration) -> Trimmed {
    // What happened in this very millisecond is not older than now.
    tokio::time::sleep(Duration::from_millis(3)).await;
    let retention = Retention {
        changes,
        laggards,
        attempts,
        audit: attempts,
    };
    trim(&world.hub, retention).await.unwrap()
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
fn whether_an_application_was_ever_synchronized_is_told_for_as_long_as_it_is_there() {
    on_both("trimmed_jobs", |hub, mirror| async move {
        let mut world = World::new(&hub, &mirror, Scope::everything()).await;
        world.synchronize().await;
        let newest = world.synchronize().await;
        world.stop().await;
        trimmed(&world, FOR_EVER, FOR_EVER, Duration::ZERO).await;
        let id = world.application.id.clone();
        let kept = world
            .hub
            .db
            .read(move |tx| job::newest(tx, &id, 10))
            .await
            .unwrap();
        let ids: Vec<_> = kept.into_iter().map(|job| job.id).collect();
        assert_eq!(ids, [newest.id], "the newest tells it, and the others go");
        let standing = world.hub.db.read(rollcall::delivery::status::applications);
        let (_, standing) = standing.await.unwrap();
        assert_eq!(standing[0].synchronized_at, newest.ended_at);
    });
}
