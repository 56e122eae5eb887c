//! What is shown before it is done: deletions that take others along, and changes of scope with long lists.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rollcall::access::{Authority, Caller};
use rollcall::application::{ApplicationError, Command as AppCommand, Scope, ScopeEdit};
use rollcall::audit::{self, Filter};
use rollcall::delivery::job::{self, JobError, JobStatus};
use rollcall::delivery::ledger::operate::{self, OperateError};
use rollcall::directory::{Cascade, Command, DirectoryError, NewUser, plan_deletion, query};
use rollcall::hub::Hub;
use rollcall::id::ROOT_UNIT;
use rollcall::maintenance::erasure::erase_user;
use rollcall::maintenance::retention::{Retention, trim};
use rollcall_db::DbError;

use crate::two_doors::{group, make, members, test, unit, within};
use crate::world::{World, new_user, on_both, open_hub};

fn confirmed(id: &str, token: &str) -> Command {
    Command::DeleteUnit {
        id: id.to_owned(),
        cascade: Cascade::Confirmed(token.to_owned()),
    }
}

#[test]
fn a_deletion_takes_along_what_its_plan_shows_or_nothing() {
    on_both("deletion", |database, _| async move {
        let hub = open_hub(&database).await;
        let optics = make(&hub, unit("Optics", ROOT_UNIT)).await;
        let lasers = make(&hub, unit("Lasers", &optics)).await;
        let sales = make(&hub, unit("Sales", ROOT_UNIT)).await;
        let ada = make(&hub, Command::CreateUser(new_user("ada", &lasers))).await;
        let grace = make(&hub, Command::CreateUser(new_user("grace", &optics))).await;
        let both = NewUser {
            organizational_unit_ids: vec![lasers.clone()],
            ..new_user("linus", &sales)
        };
        let linus = make(&hub, Command::CreateUser(both)).await;
        for name in ["Staff", "Fire wardens"] {
            let group = make(&hub, group(name)).await;
            make(&hub, members(&group, &[&ada, &linus])).await;
        }
        let plan = async || {
            let id = optics.clone();
            hub.db.read(move |tx| plan_deletion(tx, &id)).await.unwrap()
        };
        let shown = plan().await;
        assert_eq!(shown.path, "Optics");
        // Users are named in the order of their ids, which is any order of those made in one millisecond.
        let named = |named: &rollcall::directory::Named| {
            let mut first = named.first.clone();
            first.sort();
            (named.count, first.join(" "))
        };
        assert_eq!(
            named(&shown.organizational_units),
            (2, "Optics Optics/Lasers".into())
        );
        assert_eq!(named(&shown.deleted_users), (2, "ada grace".into()));
        assert_eq!(named(&shown.users_that_stay), (1, "linus".into()));
        assert_eq!(
            (shown.memberships, named(&shown.groups)),
            (2, (2, "Fire wardens Staff".into()))
        );

        // Whoever comes in between was not shown.
        let late = make(&hub, Command::CreateUser(new_user("late", &lasers))).await;
        let refused = hub.apply(test(), confirmed(&optics, &shown.token)).await;
        assert!(matches!(refused.unwrap_err(), DirectoryError::PlanChanged));
        let again = plan().await;
        assert_eq!(again.deleted_users.count, 3);
        // A membership belongs to what is shown as well.
        let leave = Command::DeleteUser { id: grace };
        make(&hub, leave).await;
        assert_ne!(plan().await.token, again.token);
        let token = plan().await.token;
        hub.apply(test(), confirmed(&optics, &token)).await.unwrap();
        let left = hub
            .db
            .read(move |tx| {
                let mut left = Vec::new();
                for id in [&ada, &late] {
                    left.push(query::find_user(tx, id)?.is_some());
                }
                let linus = query::find_user(tx, &linus)?.unwrap();
                Ok::<_, DirectoryError>((left, linus.unit_ids(), query::find_unit(tx, "Optics")?.is_none()))
            })
            .await
            .unwrap();
        assert_eq!(left, (vec![false, false], vec![sales], true));
        let root = hub.db.read(|tx| plan_deletion(tx, ROOT_UNIT)).await;
        assert!(matches!(root.unwrap_err(), DirectoryError::Root));
        hub.db.close().await;
    });
}

#[test]
fn a_name_that_is_the_id_of_another_is_not_guessed_at() {
    on_both("ambiguous", |database, _| async move {
        let hub = open_hub(&database).await;
        let ada = make(&hub, Command::CreateUser(new_user("ada", ROOT_UNIT))).await;
        let impostor = make(&hub, Command::CreateUser(new_user(&ada, ROOT_UNIT))).await;
        let staff = make(&hub, group("Staff")).await;
        let other = make(&hub, group(&staff)).await;
        let optics = make(&hub, unit("Optics", ROOT_UNIT)).await;
        let below = make(&hub, unit(&optics, ROOT_UNIT)).await;
        let address = "x@example.com";
        let mut by_address = new_user("other", ROOT_UNIT);
        by_address.email = Some(address.into());
        let by_address = make(&hub, Command::CreateUser(by_address)).await;
        let by_name = make(&hub, Command::CreateUser(new_user(address, ROOT_UNIT))).await;

        let find_user = async |text: &str| {
            let text = text.to_owned();
            let found = hub.db.read(move |tx| query::find_user(tx, &text)).await;
            found.map(|user| user.map(|user| user.id))
        };
        let refused = find_user(&ada).await.unwrap_err();
        assert_eq!(refused.code(), "ambiguous");
        let text = refused.to_string();
        assert!(
            text.contains(&format!("id:{ada}"))
                && text.contains(&format!("name:{ada} (which is {impostor})")),
            "{text}"
        );
        for (written, expected) in [
            (format!("id:{ada}"), &ada),
            (format!("name:{ada}"), &impostor),
            (format!("email:{address}"), &by_address),
            (format!("name:{address}"), &by_name),
            ("ada".to_owned(), &ada),
            (impostor.clone(), &impostor),
        ] {
            assert_eq!(
                find_user(&written).await.unwrap().as_ref(),
                Some(expected),
                "{written}"
            );
        }
        assert_eq!(find_user(address).await.unwrap_err().code(), "ambiguous");
        assert_eq!(find_user("id:ada").await.unwrap(), None);

        let (group_id, unit_id) = (staff.clone(), optics.clone());
        hub.db
            .read(move |tx| {
                assert_eq!(query::find_group(tx, &group_id).unwrap_err().code(), "ambiguous");
                assert_eq!(query::find_unit(tx, &unit_id).unwrap_err().code(), "ambiguous");
                let group = |tx: &mut _, text: String| query::find_group(tx, &text).unwrap().unwrap().id;
                assert_eq!(group(tx, format!("id:{group_id}")), group_id);
                assert_eq!(group(tx, format!("name:{group_id}")), other);
                let unit = |tx: &mut _, text: String| query::find_unit(tx, &text).unwrap().unwrap().id;
                assert_eq!(unit(tx, format!("id:{unit_id}")), unit_id);
                assert_eq!(unit(tx, format!("name:/{unit_id}")), below);
                assert_eq!(unit(tx, "/".to_owned()), ROOT_UNIT);
                Ok::<_, DbError>(())
            })
            .await
            .unwrap();
        hub.db.close().await;
    });
}

async fn users(hub: &Hub, count: usize, unit: &str) {
    let new: Vec<NewUser> = (0..count).map(|n| new_user(&format!("u{n}"), unit)).collect();
    let too = hub.clone();
    hub.db
        .write(move |tx| too.create_users_in(tx, &test(), &new))
        .await
        .unwrap();
}

fn only(unit: &str) -> Scope {
    Scope {
        organizational_unit_ids: [unit.to_owned()].into(),
        ..Scope::default()
    }
}

/// Who entered or left by the list of a job, in its order.
async fn listed(hub: &Hub) -> Vec<(String, String)> {
    hub.db
        .read(|tx| {
            tx.query("SELECT action, subject_id FROM job_items ORDER BY ordinal", &[])?
                .iter()
                .map(|row| Ok((row.get(0)?, row.get(1)?)))
                .collect::<Result<Vec<_>, DbError>>()
        })
        .await
        .unwrap()
}

#[test]
fn nobody_waits_for_the_list_of_a_change_of_scope() {
    on_both("long_list", |hub, mirror| async move {
        let world = World::without_delivery(&hub, &mirror, Scope::default()).await;
        let optics = world.unit("Optics", ROOT_UNIT).await;
        users(&world.hub, 3_000, &optics).await;
        let done = Arc::new(AtomicBool::new(false));
        // Others write meanwhile. That they see a list in parts says that they came between its parts.
        let watching = {
            let (hub, done, unit) = (world.hub.clone(), Arc::clone(&done), optics.clone());
            tokio::spawn(async move {
                let (mut parts, mut late) = (std::collections::BTreeSet::new(), 0);
                while !done.load(Ordering::Relaxed) {
                    let count: i64 = hub
                        .db
                        .write(|tx| tx.query_one("SELECT COUNT(*) FROM job_items", &[])?.get(0))
                        .await
                        .unwrap();
                    if parts.insert(count) && count > 0 && late < 20 {
                        // Somebody who comes while the list is written belongs to it.
                        let new = new_user(&format!("late{late}"), &unit);
                        make(&hub, Command::CreateUser(new)).await;
                        late += 1;
                    }
                }
                (parts, late)
            })
        };
        let edit = ScopeEdit::to(&only(&optics));
        let (plan, job_id) = job::change_scope(&world.hub, test(), &world.application.id, edit, None)
            .await
            .unwrap();
        done.store(true, Ordering::Relaxed);
        let (parts, late) = watching.await.unwrap();
        let total = i64::try_from(listed(&world.hub).await.len()).unwrap();
        assert!(
            parts.iter().any(|count| (1..3_000).contains(count)),
            "the list was there at once: {parts:?} of {total}"
        );
        assert!(late > 0);
        // The list tells of everybody who was there when the scope changed, once, units first.
        let list = listed(&world.hub).await;
        let ids: std::collections::BTreeSet<&String> = list.iter().map(|(_, id)| id).collect();
        assert_eq!(ids.len(), list.len());
        assert_eq!(list[0], ("enter".to_owned(), optics.clone()));
        assert_eq!(plan.enter.counts.users, list.len() as u64 - 1);
        assert!(plan.enter.counts.users > 3_000, "{}", plan.enter.counts.users);
        let mut world = world;
        world.start().await;
        let job = world.job_done(&job_id).await;
        assert_eq!(job.status, JobStatus::Success);
        world.converged().await;
        world.stop().await;
    });
}

#[test]
fn a_list_that_was_read_before_somebody_was_erased_brings_nothing_of_them_back() {
    on_both("erased_list", |hub, mirror| async move {
        let world = World::without_delivery(&hub, &mirror, only(ROOT_UNIT)).await;
        let optics = world.unit("Optics", ROOT_UNIT).await;
        let sales = world.unit("Sales", ROOT_UNIT).await;
        users(&world.hub, 3_000, &optics).await;
        // Those who leave are written in the opposite order of their ids.
        let last: String = world
            .hub
            .db
            .read(|tx| tx.query_one("SELECT MIN(id) FROM users", &[])?.get(0))
            .await
            .unwrap();
        let done = Arc::new(AtomicBool::new(false));
        let watching = {
            let (hub, done, id) = (world.hub.clone(), Arc::clone(&done), last.clone());
            tokio::spawn(async move {
                let (mut erasing, mut known) = (None, 0);
                while !done.load(Ordering::Relaxed) {
                    let of = id.clone();
                    let (count, of_it): (i64, i64) = hub
                        .db
                        .write(move |tx| {
                            // The list is to take its time.
                            std::thread::sleep(Duration::from_millis(50));
                            let sql =
                                "SELECT COUNT(*), COUNT(CASE WHEN subject_id = $1 THEN 1 END) FROM job_items";
                            let row = tx.query_one(sql, &[of.as_str().into()])?;
                            Ok::<_, DbError>((row.get(0)?, row.get(1)?))
                        })
                        .await
                        .unwrap();
                    if erasing.is_none() && count > 0 {
                        assert!(count < 2_500, "the list was there too early: {count}");
                        let (hub, id) = (hub.clone(), id.clone());
                        erasing = Some(tokio::spawn(async move {
                            erase_user(&hub, &test(), &id).await.unwrap();
                        }));
                    }
                    known += of_it;
                }
                erasing.expect("the list was never seen").await.unwrap();
                known
            })
        };
        let edit = ScopeEdit::to(&only(&sales));
        let (plan, _) = job::change_scope(&world.hub, test(), &world.application.id, edit, None)
            .await
            .unwrap();
        done.store(true, Ordering::Relaxed);
        let known = watching.await.unwrap();
        assert_eq!(known, 0, "the list knew of somebody who was erased");
        assert_eq!(plan.leave.counts.users, 2_999);
        let list = listed(&world.hub).await;
        assert!(list.iter().all(|(_, id)| *id != last));
        world.hub.db.close().await;
    });
}

#[test]
fn a_change_of_scope_that_is_refused_leaves_no_list() {
    on_both("discarded", |hub, mirror| async move {
        let world = World::without_delivery(&hub, &mirror, Scope::default()).await;
        let optics = world.unit("Optics", ROOT_UNIT).await;
        users(&world.hub, 700, &optics).await;
        let id = world.application.id.clone();
        let edit = ScopeEdit::to(&only(&optics));
        // Whoever may not, and whoever has read another version, gets nowhere.
        let caller = test().within(within(&[&optics], &[]));
        let refused = job::change_scope(&world.hub, caller, &id, edit.clone(), None).await;
        assert!(matches!(
            refused.unwrap_err(),
            JobError::Application(ApplicationError::NotFound(_))
        ));
        let stale = test().expecting(world.application.update_time - 1);
        let refused = job::change_scope(&world.hub, stale, &id, edit.clone(), None).await;
        assert!(matches!(
            refused.unwrap_err(),
            JobError::Application(ApplicationError::Changed { .. })
        ));
        job::change_scope(&world.hub, test(), &id, edit, None)
            .await
            .unwrap();
        let before = listed(&world.hub).await.len();
        // While one runs, there is no other.
        let back = ScopeEdit::to(&Scope::default());
        let busy = job::change_scope(&world.hub, test(), &id, back, None).await;
        assert!(matches!(busy.unwrap_err(), JobError::Busy(_)));
        assert_eq!(listed(&world.hub).await.len(), before);

        // What a process left behind that died while it wrote is removed some hours later.
        let application_id = id.clone();
        world
            .hub
            .db
            .write(move |tx| {
                tx.execute(
                    "INSERT INTO jobs (id, application_id, kind, trigger, status, position_seq, progress,
                                       statistics, created_at)
                     SELECT 'job_left', application_id, kind, trigger, 'preparing', position_seq, progress,
                            statistics, 0 FROM jobs WHERE application_id = $1",
                    &[application_id.as_str().into()],
                )?;
                tx.execute(
                    "INSERT INTO job_items (job_id, ordinal, action, subject_kind, subject_id)
                     SELECT 'job_left', ordinal, action, subject_kind, subject_id FROM job_items",
                    &[],
                )
            })
            .await
            .unwrap();
        assert_eq!(listed(&world.hub).await.len(), 2 * before);
        trim(&world.hub, Retention::default()).await.unwrap();
        assert_eq!(listed(&world.hub).await.len(), before);
        let left = world.hub.db.read(|tx| job::load(tx, "job_left")).await.unwrap();
        assert!(left.is_none());
    });
}

#[test]
fn what_is_done_to_deliveries_is_told_of_and_has_its_bounds() {
    on_both("operations", |hub, mirror| async move {
        let world = World::without_delivery(&hub, &mirror, Scope::everything()).await;
        let ada = world.user("ada", ROOT_UNIT).await;
        let (hub, id) = (&world.hub, world.application.id.as_str());
        let own = |id: &str| id.to_owned();
        let nobody = || {
            test().within(Authority::Scope {
                units: [own("ou_elsewhere")].into(),
                groups: [].into(),
            })
        };
        for caller in [nobody(), test().expecting(world.application.update_time - 1)] {
            let application = own(id);
            let refused = hub
                .write_as(caller.clone(), move |tx, ctx| {
                    operate::skip(tx, ctx, &application, None)
                })
                .await;
            assert!(matches!(refused.unwrap_err(), OperateError::Application(_)));
            let application = own(id);
            let refused = hub
                .write_as(caller, move |tx, ctx| job::request_full(tx, ctx, &application))
                .await;
            assert!(matches!(refused.unwrap_err(), JobError::Application(_)));
        }
        let administrator = || Caller::from(rollcall::access::Principal::Administrator { name: own("root") });
        let (application, user) = (own(id), ada.clone());
        let (skipped, pushed, job) = hub
            .write_as(administrator(), move |tx, ctx| {
                let skipped = operate::skip(tx, ctx, &application, None)?;
                let pushed = operate::push(tx, ctx, &application, &user)?;
                operate::dismiss(tx, ctx, &application, Some(skipped.as_str()))?;
                operate::resend(tx, ctx, &application, None)?;
                operate::resume(tx, ctx, &application)?;
                let job = job::request_full(tx, ctx, &application).unwrap();
                job::cancel(tx, ctx, &application).unwrap();
                Ok::<_, OperateError>((skipped, pushed, job))
            })
            .await
            .unwrap();
        let pause = AppCommand::DisableSynchronization { id: own(id) };
        hub.apply_application(administrator(), pause).await.unwrap();
        let application = own(id);
        hub.write_as(administrator(), move |tx, ctx| {
            operate::resume(tx, ctx, &application)
        })
        .await
        .unwrap();
        let filter = Filter {
            who: Some(own("administrator:root")),
            targets: vec![own(id)],
            ..Filter::default()
        };
        let entries = hub.db.read(move |tx| audit::list(tx, &filter, 50)).await.unwrap();
        let mut actions: Vec<&str> = entries.iter().map(|entry| entry.action.as_str()).collect();
        actions.reverse();
        assert_eq!(
            actions,
            [
                "skip",
                "push",
                "dismiss",
                "resend",
                "synchronize",
                "cancel",
                "disable_synchronization",
                "enable_synchronization"
            ]
        );
        let of = |action: &str| {
            let entry = entries.iter().find(|entry| entry.action == action).unwrap();
            entry.after.clone().unwrap()
        };
        assert_eq!(of("skip")["event"], skipped.as_str());
        assert_eq!(of("push"), serde_json::json!({ "user": ada, "events": pushed }));
        assert_eq!(of("synchronize")["job"], job.as_str());
        // By what was done, until when; and what is old enough goes.
        let by_action = Filter {
            action: Some(own("synchronization")),
            ..Filter::default()
        };
        let found = hub
            .db
            .read(move |tx| audit::list(tx, &by_action, 50))
            .await
            .unwrap();
        assert_eq!(found.len(), 2);
        let before = Filter {
            until: Some(0),
            ..Filter::default()
        };
        assert!(
            hub.db
                .read(move |tx| audit::list(tx, &before, 50))
                .await
                .unwrap()
                .is_empty()
        );
        tokio::time::sleep(std::time::Duration::from_millis(3)).await;
        let retention = Retention {
            audit: std::time::Duration::ZERO,
            ..Retention::default()
        };
        trim(hub, retention).await.unwrap();
        let all = hub
            .db
            .read(|tx| audit::list(tx, &Filter::default(), 50))
            .await
            .unwrap();
        assert!(all.iter().all(|entry| entry.seq.is_some()), "{all:?}");
    });
}
