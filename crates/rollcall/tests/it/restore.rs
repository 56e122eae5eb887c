//! What the applications have after the hub was restored from a backup.

use std::path::Path;
use std::sync::Arc;

use rollcall::access::Caller;
use rollcall::application::keys::NewKey;
use rollcall::application::keys::rotation::{self, Rotation};
use rollcall::application::{self, RotationStep, Scope};
use rollcall::backup::{self, BackupError, Restored};
use rollcall::clock::Clock;
use rollcall::delivery::job::{self, JobKind, Trigger};
use rollcall::directory::{Cascade, Command};
use rollcall::id::ROOT_UNIT;
use rollcall::schema;
use rollcall_db::testing::{TestDatabase, databases};
use rollcall_db::{Db, Options};
use rollcall_protocol::SystemRandom;
use serde_json::{Value, json};

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
    let workshop = file.parent().unwrap();
    let restored = backup::restore(&db, file, workshop, Clock::system().now(), Arc::new(SystemRandom))
        .await
        .unwrap();
    db.close().await;
    (target, restored)
}

/// What a backup would be if its tables were of version 10: without the columns that came later, and with a rotation as
/// it was stored then.
fn of_version_10(text: &str) -> String {
    // Those of one table from the last to the first, so that they can be taken out one after the other.
    let later = [
        ("changes", "withheld_from"),
        ("applications", "developer_api"),
        ("applications", "secret"),
        ("signing_keys", "trial"),
        ("instance", "serving"),
        ("instance", "folding"),
        ("attempts", "next_try"),
        ("attempts", "carried"),
        ("attempts", "said"),
    ];
    let mut lines = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut header = lines.next().unwrap();
    header["schema"] = json!(10);
    // Tables that came later; there is nothing in them.
    header["tables"].as_array_mut().unwrap().retain(|table| {
        !["accounts", "api_tokens", "remote_objects"]
            .map(Value::from)
            .contains(&table["name"])
    });
    let place = |header: &Value, table: &str, column: &str| {
        let tables = header["tables"].as_array().unwrap();
        let table = tables.iter().find(|it| it["name"] == table).unwrap();
        let columns = table["columns"].as_array().unwrap();
        columns.iter().position(|it| it[0] == column).unwrap()
    };
    let removed: Vec<_> = later
        .iter()
        .map(|(table, column)| (*table, place(&header, table, column)))
        .collect();
    let [signs_from, retires_at] =
        ["signs_from", "retires_at"].map(|column| place(&header, "signing_keys", column));
    for table in header["tables"].as_array_mut().unwrap() {
        let name = table["name"].clone();
        for (_, place) in removed.iter().filter(|(table, _)| name == *table) {
            table["columns"].as_array_mut().unwrap().remove(*place);
        }
    }
    let mut all = vec![header];
    for mut row in lines {
        if let Some(cells) = row.as_array_mut() {
            let name = cells[0].clone();
            for (_, place) in removed.iter().filter(|(table, _)| name == *table) {
                let cell = cells.remove(place + 1);
                // The key that signs has done so for a while, and retired a while after the new one was to sign.
                if name == "signing_keys" && cell.is_null() {
                    cells[signs_from + 1] = json!(1);
                    cells[retires_at + 1] = json!(i64::MAX);
                }
            }
        }
        all.push(row);
    }
    all.iter().map(|line| format!("{line}\n")).collect()
}

#[test]
fn a_backup_of_an_earlier_version_is_brought_up_to_date() {
    on_both("restore_earlier", |from, mirror| async move {
        let mut world = World::new(&from, &mirror, Scope::everything()).await;
        world.synchronize().await;
        let unit = world.unit("Unit", ROOT_UNIT).await;
        let ann = world.user("ann", &unit).await;
        world.converged().await;
        world.stop().await;
        let now = world.hub.clock.now();
        let key = NewKey::generate(now, &SystemRandom, &world.hub.master).unwrap();
        let kid = key.kid().to_owned();
        let delay = std::time::Duration::from_secs(3_600);
        world
            .command(application::Command::RotateSigningKey {
                id: world.application.id.clone(),
                step: RotationStep::Publish { key, delay },
            })
            .await;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("hub.backup");
        let rows = backup::write(&world.hub.db, &file, 1).await.unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        let targets = databases("restore_earlier_into");

        // What is of no version that is known is refused, with what to do.
        let refused = async |text: String| {
            let other = folder.path().join("other.backup");
            std::fs::write(&other, text).unwrap();
            let url = targets[0].url.clone();
            let opening = move || Db::open(&url, schema::migrations(), Options::default()).unwrap();
            let db = tokio::task::spawn_blocking(opening).await.unwrap();
            let error = backup::restore(&db, &other, folder.path(), now, Arc::new(SystemRandom)).await;
            db.close().await;
            error.unwrap_err()
        };
        let error = refused(text.replacen("rollcall-backup-2", "rollcall-backup-1", 1)).await;
        assert!(matches!(error, BackupError::WithoutNames), "{error}");
        assert!(
            error
                .to_string()
                .contains("restore it with the version that wrote it")
        );
        let schema_is = |version: i32| format!("\"schema\":{version},");
        let version = schema::version();
        let error = refused(text.replacen(&schema_is(version), &schema_is(version + 1), 1)).await;
        assert!(
            matches!(error, BackupError::Newer { found, known } if (found, known) == (version + 1, version))
        );
        let error = refused(text.replacen("\"username\"", "\"username; DROP\"", 1)).await;
        assert!(matches!(error, BackupError::Malformed(_)), "{error}");
        let error = refused(text.replacen("\"username\"", "\"nickname\"", 1)).await;
        assert!(error.to_string().contains("the columns of users"), "{error}");

        std::fs::write(&file, of_version_10(&text)).unwrap();
        let (target, outcome) = restored(&targets, &from, &file).await;
        assert_eq!((outcome.rows, outcome.due), (rows, 1));
        let left: Vec<_> = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(left.len(), 2, "nothing of it stays behind: {left:?}");
        world.hub = open_hub(&target).await;
        let id = world.application.id.clone();
        let rotation = world
            .hub
            .db
            .read(move |tx| rotation::rotation(tx, &id, now))
            .await;
        // The migrations have made a trial of it.
        let rotation = rotation.unwrap();
        assert!(
            matches!(&rotation, Rotation::Published { kid: waiting, .. } if *waiting == kid),
            "{rotation:?}"
        );
        world.start().await;
        world.apply(renamed(&ann, "anna")).await;
        world.converged().await;
        world.stop().await;
    });
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

#[test]
fn an_application_that_was_switched_off_at_the_backup_is_pushed_everything_too() {
    on_both("restore_off", |from, mirror| async move {
        let mut world = World::without_delivery(&from, &mirror, Scope::everything()).await;
        let ann = world.user("ann", ROOT_UNIT).await;
        let id = world.application.id.clone();
        world
            .command(application::Command::DisableSynchronization { id: id.clone() })
            .await;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("hub.backup");
        backup::write(&world.hub.db, &file, 1).await.unwrap();
        let targets = databases("restore_off_into");
        world
            .command(application::Command::EnableSynchronization { id: id.clone() })
            .await;
        world.start().await;
        world.synchronize().await;
        // What the backup does not know: nobody but the application has these.
        world.apply(renamed(&ann, "anna")).await;
        world.user("bob", ROOT_UNIT).await;
        world.converged().await;
        world.stop().await;

        let (target, outcome) = restored(&targets, &from, &file).await;
        assert_eq!(outcome.due, 1);
        world.hub = open_hub(&target).await;
        world
            .command(application::Command::EnableSynchronization { id })
            .await;
        world.start().await;
        world.converged().await;
        world.stop().await;
    });
}
