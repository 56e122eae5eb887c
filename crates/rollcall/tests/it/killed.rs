//! The hub as a process of its own, killed without warning while it works.

use std::process::{Child, Command as Process, Stdio};
use std::time::Duration;

use rollcall::application::Scope;
use rollcall::id::ROOT_UNIT;
use rollcall::secret::MasterKey;
use rollcall_protocol::SystemRandom;

use crate::world::{World, on_both};

fn serve(database: &str, folder: &std::path::Path) -> Child {
    let config = folder.join("rollcall.toml");
    std::fs::write(&config, "[egress]\nallow = [\"127.0.0.0/8\"]\n").unwrap();
    Process::new(env!("CARGO_BIN_EXE_rollcall"))
        .args([
            "--config",
            config.to_str().unwrap(),
            "serve",
            "--listen",
            "127.0.0.1:0",
        ])
        .env("ROLLCALL_DATA_DIR", folder)
        .env("ROLLCALL_DATABASE", database)
        .env("ROLLCALL_LOG", "error")
        .stdin(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn a_hub_that_is_killed_at_any_point_loses_nothing() {
    on_both("killed", |hub, mirror| async move {
        let folder = tempfile::tempdir().unwrap();
        // The process and this test share the master key, as they share the database.
        let path = folder.path().join("master.key");
        std::fs::write(&path, "07".repeat(32)).unwrap();
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        MasterKey::read_or_make(&path, &SystemRandom).unwrap();
        let world = World::without_delivery(&hub, &mirror, Scope::everything()).await;
        world.user("first", ROOT_UNIT).await;
        for round in 0..4_u64 {
            let mut child = serve(&hub, folder.path());
            // Its changes come from another process, as from the command line.
            for n in 0..40 {
                world.user(&format!("u{round}x{n}"), ROOT_UNIT).await;
                tokio::time::sleep(Duration::from_millis(2 + round * 7)).await;
            }
            child.kill().unwrap();
            child.wait().unwrap();
        }
        let mut child = serve(&hub, folder.path());
        world.synchronize().await;
        world.converged().await;
        let users: Vec<_> = world.should_have().await.users.into_keys().collect();
        child.kill().unwrap();
        child.wait().unwrap();
        // Every user was created there, not only pushed at the end: no change was skipped.
        for user in users {
            assert_eq!(
                world.endpoint.story_of(&user).first().unwrap(),
                "ud:user:create",
                "{user}"
            );
        }
    });
}
