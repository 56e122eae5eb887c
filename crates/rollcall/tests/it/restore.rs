//! What the applications have after the hub was restored from a backup.

use std::path::Path;
use std::sync::Arc;

use rollcall::access::Caller;
use rollcall::application::Scope;
use rollcall::backup::{self, Restored};
use rollcall::clock::Clock;
use rollcall::delivery::job::{self, JobKind, Trigger};
use rollcall::directory::{Cascade, Command};
use rollcall::id::ROOT_UNIT;
use rollcall::schema;
use rollcall_db::testing::{TestDatabase, databases};
use rollcall_db::{Db, Options};
use rollcall_protocol::SystemRandom;

use crate::world::{World, described, on_both, open_hub, renamed};

fn members(group_id: &str, users: &[&String], add: bool) -> Command {
    let (group_id, user_ids) = (
        group_id.to_owned(),
        users.iter().map(|user| (*user).clone()).collect(),
    );
    if add {
        Command::AddMembers { group_id, user_ids }
    } else {
        Command::RemoveMembers { group_id, user_ids }
    }
}

/// Restores into another database than the one that the backup comes from.
async fn restored(targets: &[TestDatabase], from: &str, file: &Path) -> (String, Restored) {
    let scheme = |url: &str| url.split(':').next().map(str::to_owned);
    let target = targets
        .iter()
        .find(|target| scheme(&target.url) != scheme(from))
        .unwrap_or(&targets[0])
        .url
        .clone();
    let opened = target.clone();
    let db = tokio::task::spawn_blocking(move || Db::open(&opened, schema::migrations(), Options::default()))
        .await
        .unwrap()
        .unwrap();
    let restored = backup::restore(&db, file, Clock::system().now(), Arc::new(SystemRandom))
        .await
        .unwrap();
    db.close().await;
    (target, restored)
}

#[test]
fn what_was_made_renamed_or_deleted_after_the_backup_is_put_right() {
    on_both("restore", |from, mirror| async move {
        let mut world = World::new(&from, &mirror, Scope::everything()).await;
        let upper = world.unit("Upper", ROOT_UNIT).await;
        let lower = world.unit("Lower", &upper).await;
        let gone = world.unit("Gone", ROOT_UNIT).await;
        let (ann, bob, eve) = (
            world.user("ann", &lower).await,
            world.user("bob", &upper).await,
            world.user("eve", ROOT_UNIT).await,
        );
        let (team, club) = (world.group("team").await, world.group("club").await);
        world.apply(members(&team, &[&ann, &bob, &eve], true)).await;
        world.synchronize().await;
        world.converged().await;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("hub.backup");
        backup::write(&world.hub.db, &file, 1).await.unwrap();
        let targets = databases("restore_into");

        // All of this reaches the application, and the backup knows nothing of it.
        world.user("newcomer", &lower).await;
        let unknown = world.unit("Unknown", &lower).await;
        world.user("in_unknown", &unknown).await;
        let newest = world.group("newest").await;
        world.apply(members(&newest, &[&ann], true)).await;
        world.apply(renamed(&ann, "anna")).await;
        world.apply(Command::DeleteUser { id: bob.clone() }).await;
        world.apply(members(&team, &[&eve], false)).await;
        world.apply(members(&club, &[&eve], true)).await;
        world.apply(Command::DeleteGroup { id: club }).await;
        world
            .apply(Command::MoveUnit {
                id: lower.clone(),
                parent_id: ROOT_UNIT.into(),
            })
            .await;
        world
            .apply(Command::DeleteUnit {
                id: gone,
                cascade: Cascade::No,
            })
            .await;
        world.converged().await;
        world.stop().await;
        let before = world.endpoint.mirror.snapshot().await.unwrap();

        let (target, outcome) = restored(&targets, &from, &file).await;
        assert_eq!(outcome.due, 1);
        world.hub = open_hub(&target).await;
        assert_ne!(
            world.should_have().await,
            before,
            "the hub must have forgotten something"
        );
        let id = world.application.id.clone();
        let due = world
            .hub
            .db
            .read(move |tx| job::open_job(tx, &id))
            .await
            .unwrap()
            .unwrap();
        assert_eq!((due.kind, due.trigger), (JobKind::Full, Trigger::Restore));
        world.start().await;
        let ended = world.job_done(&due.id).await;
        assert_eq!(ended.error, None);
        world.converged().await;

        // And what happens from now on is news as well.
        world.apply(described(&ann, "after the restore")).await;
        world.user("newcomer", ROOT_UNIT).await;
        world.converged().await;
        world.stop().await;
    });
}

#[test]
fn a_synchronization_that_the_backup_caught_halfway_begins_again() {
    on_both("restore_job", |from, mirror| async move {
        let mut world = World::without_delivery(&from, &mirror, Scope::everything()).await;
        let ann = world.user("ann", ROOT_UNIT).await;
        let id = world.application.id.clone();
        let halfway = world
            .hub
            .write_as(Caller::system("test"), move |tx, ctx| {
                job::request_full(tx, ctx, &id)
            })
            .await
            .unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("hub.backup");
        backup::write(&world.hub.db, &file, 1).await.unwrap();
        let targets = databases("restore_job_into");
        world.apply(renamed(&ann, "anna")).await;
        let bob = world.user("bob", ROOT_UNIT).await;
        world.start().await;
        world.job_done(&halfway).await;
        world.apply(described(&bob, "also changed")).await;
        world.converged().await;
        world.stop().await;

        let (target, outcome) = restored(&targets, &from, &file).await;
        assert_eq!(outcome.due, 1);
        world.hub = open_hub(&target).await;
        world.start().await;
        world.job_done(&halfway).await;
        world.converged().await;
        world.stop().await;
    });
}
