//! What an application gets, and in which order.

use std::time::Duration;

use rollcall::access::Caller;
use rollcall::application::{self, Scope, ScopeEdit, SettingsPatch};
use rollcall::delivery::job::{self, JobStatus};
use rollcall::delivery::ledger::operate;
use rollcall::delivery::ledger::parked::{self, ParkedState};
use rollcall::delivery::{Shared, connectivity};
use rollcall::directory::{Command, NewPassword, UserChanges};
use rollcall::id::ROOT_UNIT;
use rollcall::maintenance::{self, Maintenance};
use rollcall_protocol::{EventType, SystemRandom, UserPayload};

use crate::plain::attempts_of;
use crate::world::{Fault, World, add_application, egress, on_both};

fn only(unit: &str) -> Scope {
    Scope {
        organizational_unit_ids: [unit.to_owned()].into(),
        ..Scope::default()
    }
}

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

pub(crate) async fn rescope(world: &World, scope: Scope) -> job::Plan {
    let edit = ScopeEdit::to(&scope);
    let id = &world.application.id;
    let (plan, job_id) = job::change_scope(&world.hub, Caller::system("test"), id, edit, None)
        .await
        .unwrap();
    assert_eq!(world.job_done(&job_id).await.status, JobStatus::Success);
    plan
}

#[test]
fn every_change_arrives_in_order() {
    on_both("every_change", |hub, mirror| async move {
        let mut world = World::new(&hub, &mirror, Scope::everything()).await;
        let unit = world.unit("Engineering", ROOT_UNIT).await;
        let user = world.user("ada", &unit).await;
        let group = world.group("Staff").await;
        world
            .apply(Command::AddMembers {
                group_id: group.clone(),
                user_ids: vec![user.clone()],
            })
            .await;
        world.apply(renamed(&user, "Countess")).await;
        world.apply(Command::DisableUser { id: user.clone() }).await;
        world.apply(Command::EnableUser { id: user.clone() }).await;
        world
            .apply(Command::LockUser {
                id: user.clone(),
                until: None,
            })
            .await;
        world.apply(Command::UnlockUser { id: user.clone() }).await;
        world
            .apply(Command::SetUnits {
                id: user.clone(),
                primary: ROOT_UNIT.into(),
                further: vec![unit],
            })
            .await;
        world.synchronize().await;
        world.converged().await;
        assert_eq!(
            world.endpoint.story_of(&user),
            [
                "ud:user:create",
                "ud:user:update_info",
                "ud:user:disable",
                "ud:user:enable",
                "ud:user:lock",
                "ud:user:unlock",
                "ud:user:update_primary_ou",
                "ud:user:push"
            ]
        );
        world.apply(Command::DeleteUser { id: user.clone() }).await;
        world.converged().await;
        assert!(world.endpoint.mirror.snapshot().await.unwrap().users.is_empty());
        world.stop().await;
    });
}

#[test]
fn subjects_enter_and_leave_the_scope() {
    on_both("scope", |hub, mirror| async move {
        let mut world = World::without_delivery(&hub, &mirror, Scope::everything()).await;
        let inside = world.unit("Inside", ROOT_UNIT).await;
        let outside = world.unit("Outside", ROOT_UNIT).await;
        let team = world.unit("Team", &outside).await;
        let guild = world.group("Guild").await;
        let ada = world.user("ada", &team).await;
        let bob = world.user("bob", &outside).await;
        world.start().await;
        world.converged_after_sync().await;
        // Narrowing the scope deletes who leaves, children first.
        let scope = Scope {
            organizational_unit_ids: [inside.clone()].into(),
            group_ids: [guild.clone()].into(),
        };
        let plan = rescope(&world, scope).await;
        assert_eq!(
            (
                plan.leave.counts.users,
                plan.leave.counts.organizational_units,
                plan.enter.counts.users
            ),
            (2, 3, 0)
        );
        world.converged().await;
        let arrived = world.endpoint.arrived();
        let gone = |id: &str| {
            let of_it = |event: &rollcall_protocol::Event| {
                event.biz_id == id && event.kind().is_some_and(|kind| kind.short().ends_with(":delete"))
            };
            arrived.iter().position(of_it).unwrap()
        };
        assert!(gone(&ada) < gone(&team) && gone(&team) < gone(&outside));

        // A unit that is moved in brings everything below it, parents first.
        world
            .apply(Command::MoveUnit {
                id: team.clone(),
                parent_id: inside.clone(),
            })
            .await;
        world.converged().await;
        assert_eq!(world.endpoint.story_of(&ada).last().unwrap(), "ud:user:create");
        // A member of a group in scope is in scope; then the member comes before the membership.
        world
            .apply(Command::AddMembers {
                group_id: guild.clone(),
                user_ids: vec![bob.clone()],
            })
            .await;
        world.converged().await;
        let last: Vec<_> = world
            .endpoint
            .arrived()
            .iter()
            .rev()
            .take(2)
            .map(|event| event.kind().unwrap())
            .collect();
        assert_eq!(last, [EventType::GroupAddUser, EventType::UserCreate]);
        // Both ways out again.
        world
            .apply(Command::RemoveMembers {
                group_id: guild,
                user_ids: vec![bob.clone()],
            })
            .await;
        world
            .apply(Command::MoveUnit {
                id: team.clone(),
                parent_id: outside,
            })
            .await;
        world.apply(renamed(&ada, "Nobody's business")).await;
        world.converged().await;
        world.user("marker", &inside).await;
        world.converged().await;
        assert_eq!(world.endpoint.story_of(&ada).last().unwrap(), "ud:user:delete");
        assert_eq!(world.endpoint.story_of(&bob).last().unwrap(), "ud:user:delete");
        // Widening creates who enters.
        let plan = rescope(&world, Scope::everything()).await;
        assert_eq!(plan.enter.counts.users, 2);
        world.converged().await;
        world.stop().await;
    });
}

impl World {
    async fn converged_after_sync(&self) {
        assert_eq!(self.synchronize().await.status, JobStatus::Success);
        self.converged().await;
    }
}

#[test]
fn a_full_synchronization_and_live_changes_do_not_disturb_each_other() {
    on_both("full_sync", |hub, mirror| async move {
        let mut world = World::without_delivery(&hub, &mirror, Scope::everything()).await;
        let mut users = Vec::new();
        for n in 0..120 {
            users.push(world.user(&format!("user{n}"), ROOT_UNIT).await);
        }
        let group = world.group("Everybody").await;
        world
            .apply(Command::AddMembers {
                group_id: group.clone(),
                user_ids: users.clone(),
            })
            .await;
        // Lanes and small requests make many rounds, so that changes come in between.
        let settings = SettingsPatch {
            max_events: Some(3),
            lanes: Some(3),
            ..SettingsPatch::default()
        };
        world.configure(settings).await;
        world.start().await;
        let changing = async {
            for (n, user) in users.iter().enumerate() {
                match n % 4 {
                    0 => world.apply(Command::DeleteUser { id: user.clone() }).await,
                    1 => world.apply(renamed(user, &format!("Renamed {n}"))).await,
                    2 => {
                        let user_ids = vec![user.clone()];
                        world
                            .apply(Command::RemoveMembers {
                                group_id: group.clone(),
                                user_ids,
                            })
                            .await
                    }
                    _ => world.user(&format!("late{n}"), ROOT_UNIT).await,
                };
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let (job, ()) = tokio::join!(world.synchronize(), changing);
        assert_eq!(job.status, JobStatus::Success, "{job:?}");
        world.converged().await;
        world.stop().await;
    });
}

#[test]
fn events_wanted_again_hold_back_their_subject_only() {
    on_both("retried", |hub, mirror| async move {
        let mut world = World::new(&hub, &mirror, Scope::everything()).await;
        world.converged_after_sync().await;
        let ada = world.user("ada", ROOT_UNIT).await;
        world.converged().await;
        world.endpoint.fail_always(Some(Fault::Retry(ada.clone())));
        world.apply(renamed(&ada, "First")).await;
        let parked = |state| {
            let (db, id) = (world.hub.db.clone(), world.application.id.clone());
            async move {
                let list = db.read(move |tx| parked::list(tx, &id)).await.unwrap();
                list.into_iter().filter(|parked| parked.state == state).count()
            }
        };
        world
            .until("ada's event is parked", || async {
                parked(ParkedState::Retrying).await == 1
            })
            .await;
        world.apply(renamed(&ada, "Second")).await;
        let bob = world.user("bob", ROOT_UNIT).await;
        world
            .until("bob passes", || async {
                world.endpoint.story_of(&bob).len() == 1
            })
            .await;
        // After five tries each, while others are taken, both of ada's events are set aside.
        let mut number = 0;
        while parked(ParkedState::Failed).await < 2 {
            number += 1;
            assert!(number < 2_000, "ada's events are not set aside");
            world.user(&format!("other{number}"), ROOT_UNIT).await;
        }
        assert_eq!(world.endpoint.story_of(&ada), ["ud:user:create"]);
        world.endpoint.fail_always(None);
        let id = world.application.id.clone();
        let resent = world
            .hub
            .write_as(Caller::system("test"), move |tx, ctx| {
                operate::resend(tx, ctx, &id, None)
            })
            .await
            .unwrap();
        assert_eq!(resent.queued, 2);
        world.converged().await;
        assert_eq!(
            world.endpoint.story_of(&ada),
            ["ud:user:create", "ud:user:update_info", "ud:user:update_info"]
        );
        assert_eq!(parked(ParkedState::Failed).await, 0);
        world.stop().await;
    });
}

#[test]
fn passwords_travel_only_where_they_may_and_are_erased_afterwards() {
    on_both("passwords", |hub, mirror| async move {
        let mut world = World::without_delivery(&hub, &mirror, Scope::everything()).await;
        let ada = world.user("ada", ROOT_UNIT).await;
        let set = |text: &str| {
            let password = NewPassword::prepare(text.to_owned().into(), &SystemRandom).unwrap();
            Command::SetPassword {
                id: ada.clone(),
                password,
            }
        };
        let db = world.hub.db.clone();
        let secrets = || {
            let db = db.clone();
            async move {
                let sql = "SELECT COUNT(*) FROM changes WHERE secret IS NOT NULL";
                db.read(move |tx| tx.query_one(sql, &[])?.get::<i64>(0))
                    .await
                    .unwrap()
            }
        };
        world.apply(set("nobody wants this")).await;
        assert_eq!(
            secrets().await,
            0,
            "a password that no application wants is not kept"
        );
        let settings = SettingsPatch {
            password_synchronization: Some(true),
            ..SettingsPatch::default()
        };
        world.configure(settings).await;
        world.apply(set("correct horse")).await;
        assert_eq!(secrets().await, 1);
        let sql = "SELECT record, secret FROM changes WHERE secret IS NOT NULL";
        let (record, sealed) = world
            .hub
            .db
            .read(move |tx| {
                let row = tx.query_one(sql, &[])?;
                Ok::<_, rollcall_db::DbError>((row.get::<String>(0)?, row.get::<Vec<u8>>(1)?))
            })
            .await
            .unwrap();
        assert!(!record.contains("correct horse"));
        assert!(!sealed.windows(7).any(|window| window == b"correct"));
        world.start().await;
        world
            .until("the password arrives", || async {
                world.endpoint.story_of(&ada).len() == 3
            })
            .await;
        let sent: Vec<_> = world
            .endpoint
            .arrived()
            .iter()
            .filter(|event| event.kind() == Some(EventType::UserUpdatePassword))
            .map(|event| UserPayload::from_json(&event.biz_data).unwrap().password)
            .collect();
        assert_eq!(sent[0], None);
        assert_eq!(sent[1].as_ref().unwrap().expose(), "correct horse");
        world
            .until("the password is erased", || async { secrets().await == 0 })
            .await;
        world.stop().await;
    });
}

#[test]
fn test_connectivity_names_the_step_that_fails() {
    on_both("connectivity", |hub, mirror| async move {
        let world = World::without_delivery(&hub, &mirror, Scope::everything()).await;
        let shared = Shared::for_one(world.hub.clone(), egress()).await.unwrap();
        let failed = async |id: &str| {
            let report = connectivity::test(&shared, id).await.unwrap();
            let last = report.steps.last().unwrap();
            (!report.passed).then_some(last.name.to_string())
        };
        assert_eq!(failed(&world.application.id).await, None);
        for (fault, step) in [
            (Fault::Status(500), "status"),
            (Fault::Redirect, "status"),
            (Fault::Refuse(world.application.id.clone()), "event"),
        ] {
            world.endpoint.fail_next([fault]);
            assert_eq!(failed(&world.application.id).await.as_deref(), Some(step));
        }
        for (url, step) in [
            ("http://127.0.0.1:1/", "connect"),
            ("http://10.1.2.3/", "resolve"),
            ("http://no-such-host.invalid/", "resolve"),
            (&world.endpoint.url.replace("http:", "https:"), "tls"),
        ] {
            let app = add_application(&world.hub, url, url, None, Scope::everything()).await;
            assert_eq!(failed(&app.id).await.as_deref(), Some(step), "{url}");
        }
    });
}

#[test]
fn changes_outside_the_scope_cost_the_application_nothing() {
    on_both("outside", |hub, mirror| async move {
        let mut world = World::without_delivery(&hub, &mirror, Scope::everything()).await;
        let (inside, outside) = (
            world.unit("In", ROOT_UNIT).await,
            world.unit("Out", ROOT_UNIT).await,
        );
        let app = add_application(
            &world.hub,
            "Narrow",
            &world.endpoint.url,
            world.key.clone(),
            only(&inside),
        )
        .await;
        world.endpoint.serve(&world.hub, &app, world.key.clone()).await;
        let id = world.application.id.clone();
        world.command(application::Command::Delete { id }).await;
        world.application = app;
        world.start().await;
        for n in 0..30 {
            world.user(&format!("u{n}"), &outside).await;
        }
        let head = world.hub.db.read(rollcall::change::head).await.unwrap().seq;
        world
            .until("the cursor passes", || async {
                world.stored().await.position == head
            })
            .await;
        let attempts = attempts_of(&world.hub, &world.application).await;
        assert!(attempts.is_empty(), "{attempts:?}");
        world.stop().await;
    });
}

#[test]
fn a_password_waits_no_longer_than_it_may() {
    on_both("passwords_waiting", |hub, mirror| async move {
        let world = World::without_delivery(&hub, &mirror, Scope::everything()).await;
        let settings = SettingsPatch {
            password_synchronization: Some(true),
            ..SettingsPatch::default()
        };
        world.configure(settings).await;
        let id = world.user("ada", ROOT_UNIT).await;
        let password = NewPassword::prepare("correct horse".to_owned().into(), &SystemRandom).unwrap();
        world.apply(Command::SetPassword { id, password }).await;
        let db = world.hub.db.clone();
        let secrets = async || {
            let sql = "SELECT COUNT(*) FROM changes WHERE secret IS NOT NULL";
            let counting = db.read(move |tx| tx.query_one(sql, &[])?.get::<i64>(0));
            counting.await.unwrap()
        };
        assert_eq!(secrets().await, 1);
        // Nobody delivers it. It stays for as long as it may, and goes then.
        for (retention, left) in [(Duration::from_secs(3_600), 1), (Duration::ZERO, 0)] {
            let options = maintenance::Options {
                every: Duration::from_millis(20),
                password_retention: retention,
                ..maintenance::Options::default()
            };
            let maintenance = Maintenance::start(world.hub.clone(), options);
            tokio::time::sleep(Duration::from_millis(300)).await;
            world
                .until("what is due is done", || async { secrets().await == left })
                .await;
            maintenance.stop().await;
        }
    });
}

#[test]
fn a_password_of_somebody_outside_the_scope_goes_while_others_change() {
    on_both("passwords_outside", |hub, mirror| async move {
        let mut world = World::without_delivery(&hub, &mirror, Scope::everything()).await;
        let (inside, outside) = (
            world.unit("In", ROOT_UNIT).await,
            world.unit("Out", ROOT_UNIT).await,
        );
        world.start().await;
        rescope(&world, only(&inside)).await;
        let settings = SettingsPatch {
            password_synchronization: Some(true),
            ..SettingsPatch::default()
        };
        world.configure(settings).await;
        world.stop().await;
        let id = world.user("ada", &outside).await;
        let db = world.hub.db.clone();
        let secrets = async || {
            let sql = "SELECT COUNT(*) FROM changes WHERE secret IS NOT NULL";
            let counting = db.read(move |tx| tx.query_one(sql, &[])?.get::<i64>(0));
            counting.await.unwrap()
        };
        let password = NewPassword::prepare("correct horse".to_owned().into(), &SystemRandom).unwrap();
        world.apply(Command::SetPassword { id, password }).await;
        assert_eq!(secrets().await, 1);
        world.start().await;
        // Something happens all the time, outside of the scope, so that the worker never has a quiet moment in which
        // it stores how far it has looked.
        let others = async {
            for number in 0.. {
                world.user(&format!("u{number}"), &outside).await;
            }
        };
        let erased = world.until("nothing is sealed any more", || async { secrets().await == 0 });
        tokio::select! {
            () = others => {}
            () = erased => {}
        }
        world.stop().await;
    });
}
