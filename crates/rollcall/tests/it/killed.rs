//! The hub as a process of its own, killed without warning while it works.

use std::time::Duration;

use rollcall::application::Scope;
use rollcall::id::ROOT_UNIT;

use crate::programs::{Program, hub_folder, serve};
use crate::world::{World, on_both};

#[test]
fn a_hub_that_is_killed_at_any_point_loses_nothing() {
    on_both("killed", |hub, mirror| async move {
        let folder = tempfile::tempdir().unwrap();
        // The process and this test share the master key, as they share the database.
        let data = folder.path().join("data");
        hub_folder(&data, "[egress]\nallow = [\"127.0.0.0/8\"]\n");
        let (database, started_in) = (hub.clone(), data.clone());
        let start = move || serve(&started_in, &database, "127.0.0.1:0");
        let world = World::without_delivery(&hub, &mirror, Scope::everything()).await;
        world.user("first", ROOT_UNIT).await;
        for round in 0..4_u64 {
            let mut program = Program::start(folder.path(), "hub", start.clone());
            // Its changes come from another process, as from the command line.
            for n in 0..40 {
                world.user(&format!("u{round}x{n}"), ROOT_UNIT).await;
                tokio::time::sleep(Duration::from_millis(2 + round * 7)).await;
            }
            program.kill();
        }
        let program = Program::start(folder.path(), "hub", start);
        world.synchronize().await;
        world.converged().await;
        let users: Vec<_> = world.should_have().await.users.into_keys().collect();
        drop(program);
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
