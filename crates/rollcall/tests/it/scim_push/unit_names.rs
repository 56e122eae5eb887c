//! An organizational unit gets another name, which its users bear at the application.

use super::*;

use rollcall::application::ScopeEdit;
use rollcall::delivery::job::{self, JobKind, JobPosition, JobStatus, Trigger};
use rollcall::directory::UnitChanges;
use rollcall::id::ROOT_UNIT;

use crate::plain::unit;
use crate::world::create_users;

const DEPARTMENT: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

impl Scripted {
    /// The names of the departments of all users, by the users' names.
    fn departments(&self) -> BTreeMap<String, Value> {
        self.with(|script| {
            let users = script.provider.users.values();
            users
                .map(|user| {
                    let name = user["userName"].as_str().unwrap().to_owned();
                    let of_unit = user.get(DEPARTMENT).map(|it| it["department"].clone());
                    (name, of_unit.unwrap_or_default())
                })
                .collect()
        })
    }
}

async fn call_unit(hub: &Hub, id: &str, name: &str) {
    let changes = UnitChanges {
        name: Some(name.to_owned()),
        ..UnitChanges::default()
    };
    let id = id.to_owned();
    apply(hub, Command::UpdateUnit { id, changes }).await;
}

async fn user_in(hub: &Hub, name: &str, unit: &str) -> String {
    apply(hub, Command::CreateUser(new_user(name, unit))).await
}

async fn jobs(hub: &Hub, application: &Application) -> Vec<JobPosition> {
    let id = application.id.clone();
    let newest = hub.db.read(move |tx| job::newest(tx, &id, 10));
    newest.await.unwrap()
}

async fn are_over(hub: &Hub, application: &Application, number: usize) -> bool {
    let jobs = jobs(hub, application).await;
    jobs.len() == number && jobs.iter().all(JobPosition::is_finished)
}

fn departments<const N: usize>(of: [(&str, &str); N]) -> BTreeMap<String, Value> {
    of.into_iter()
        .map(|(user, department)| (user.to_owned(), json!(department)))
        .collect()
}

#[test]
fn the_users_of_a_unit_get_its_new_name_and_nobody_else_is_asked_about() {
    on_both("scim_unit_names", |hub, _| async move {
        let hub = open_hub(&hub).await;
        let (app, application) = add(&hub, |_| {}).await;
        let delivery = begin(&hub).await;
        let sales = unit(&hub, "Sales", ROOT_UNIT).await;
        let north = unit(&hub, "North", &sales).await;
        user_in(&hub, "ada", &sales).await;
        user_in(&hub, "bob", &north).await;
        settled(&hub, &application).await;
        app.with(|script| script.provider.calls.clear());
        call_unit(&hub, &sales, "Market").await;
        until("ada is told anew", async || {
            app.departments() == departments([("ada", "Market"), ("bob", "North")])
        })
        .await;
        until("the job is over", async || are_over(&hub, &application, 1).await).await;
        app.with(|script| assert_eq!(script.provider.calls, ["GET Users/1", "PATCH Users/1"]));
        let job = jobs(&hub, &application).await.remove(0);
        assert_eq!(
            (job.kind, job.trigger),
            (JobKind::UnitNames, Trigger::UnitRenamed)
        );
        assert_eq!(job.status, JobStatus::Success, "{job:?}");
        let users = job.statistics.users;
        assert_eq!((users.total, users.success), (1, 1), "{job:?}");
        // Another description, another place, and a unit without users of its own are no reason to tell anybody.
        let changes = UnitChanges {
            description: Some(Some("sells".to_owned())),
            ..UnitChanges::default()
        };
        apply(
            &hub,
            Command::UpdateUnit {
                id: sales.clone(),
                changes,
            },
        )
        .await;
        let empty = unit(&hub, "Empty", ROOT_UNIT).await;
        call_unit(&hub, &empty, "Void").await;
        apply(
            &hub,
            Command::MoveUnit {
                id: north,
                parent_id: empty,
            },
        )
        .await;
        settled(&hub, &application).await;
        assert_eq!(jobs(&hub, &application).await.len(), 1);
        delivery.stop().await;
    });
}

#[test]
fn only_users_in_scope_are_told_and_only_where_they_bear_the_name() {
    on_both("scim_unit_scope", |hub, _| async move {
        let hub = open_hub(&hub).await;
        let (app, application) = add(&hub, |_| {}).await;
        let (plain, unmapped) = serve().await;
        let unmapped = {
            let mut scim = Scim::preset(Preset::Standard, &unmapped, Authentication::BearerToken);
            scim.mapping = [(format!("{DEPARTMENT}:department"), String::new())].into();
            add_named(&hub, "Unmapped", "s3cret", scim).await
        };
        let sales = unit(&hub, "Sales", ROOT_UNIT).await;
        let (ada, _) = (
            user_in(&hub, "ada", &sales).await,
            user_in(&hub, "bob", &sales).await,
        );
        let staff = group_with(&hub, "Staff", &[&ada]).await;
        let delivery = begin(&hub).await;
        settled(&hub, &application).await;
        // The unit is outside, and one of its users is inside by a group.
        let scope = Scope {
            organizational_unit_ids: BTreeSet::new(),
            group_ids: [staff].into(),
        };
        let caller = || Caller::system("test");
        let changed = job::change_scope(&hub, caller(), &application.id, ScopeEdit::to(&scope), None).await;
        changed.unwrap();
        until("the scope is changed", async || {
            are_over(&hub, &application, 1).await
        })
        .await;
        assert_eq!(app.names(), set(&["ada"]));
        call_unit(&hub, &sales, "Market").await;
        until("ada is told anew", async || {
            app.departments() == departments([("ada", "Market")])
        })
        .await;
        until("the job is over", async || are_over(&hub, &application, 2).await).await;
        let job = jobs(&hub, &application).await.remove(0);
        assert_eq!(job.statistics.users.total, 1, "{job:?}");
        settled(&hub, &unmapped).await;
        assert_eq!(jobs(&hub, &unmapped).await.len(), 0);
        assert_eq!(plain.names(), set(&["ada", "bob"]));
        assert!(plain.departments().values().all(Value::is_null));
        delivery.stop().await;
    });
}

#[test]
fn many_users_are_told_although_the_hub_stops_in_between() {
    on_both("scim_unit_many", |hub, _| async move {
        let hub = open_hub(&hub).await;
        let sales = unit(&hub, "Sales", ROOT_UNIT).await;
        // More than one page of them.
        let new = (0..520).map(|number| new_user(&format!("u{number}"), &sales));
        create_users(&hub, new.collect()).await;
        let (app, application) = add(&hub, |_| {}).await;
        synchronize(&hub, &application).await;
        let delivery = begin(&hub).await;
        let patience = Duration::from_secs(60);
        let have = |name: &str| {
            let name = json!(name);
            app.departments().values().filter(|it| **it == name).count()
        };
        until_within(patience, "all are there", async || have("Sales") == 520).await;
        until("the job is over", async || are_over(&hub, &application, 1).await).await;
        call_unit(&hub, &sales, "Market").await;
        until_within(patience, "some are told", async || have("Market") > 100).await;
        delivery.stop().await;
        let delivery = begin(&hub).await;
        until_within(patience, "all are told", async || have("Market") == 520).await;
        until("the job is over", async || are_over(&hub, &application, 2).await).await;
        let job = jobs(&hub, &application).await.remove(0);
        let users = job.statistics.users;
        assert_eq!((users.total, users.success), (520, 520), "{job:?}");
        delivery.stop().await;
    });
}

#[test]
fn other_jobs_take_over_what_is_left_to_tell_of_names() {
    on_both("scim_unit_taken", |hub, _| async move {
        let hub = open_hub(&hub).await;
        let (app, application) = add(&hub, |_| {}).await;
        let delivery = begin(&hub).await;
        let sales = unit(&hub, "Sales", ROOT_UNIT).await;
        let rest = unit(&hub, "Rest", ROOT_UNIT).await;
        user_in(&hub, "ada", &sales).await;
        user_in(&hub, "bob", &rest).await;
        settled(&hub, &application).await;
        app.with(|script| script.refuses_all = true);
        call_unit(&hub, &sales, "Market").await;
        until("the job has begun", async || {
            let jobs = jobs(&hub, &application).await;
            jobs.first().is_some_and(|job| job.status == JobStatus::Running)
        })
        .await;
        // A change of scope leaves bob out, and tells what is left of the names.
        let scope = Scope {
            organizational_unit_ids: [sales.clone()].into(),
            group_ids: BTreeSet::new(),
        };
        let (caller, edit) = (Caller::system("test"), ScopeEdit::to(&scope));
        let changed = job::change_scope(&hub, caller, &application.id, edit, None).await;
        let (_, of_scope) = changed.unwrap();
        let [taken, of_names] = &jobs(&hub, &application).await[..] else {
            panic!("there are two jobs");
        };
        assert_eq!(
            (taken.id.as_str(), taken.statistics.users.total),
            (of_scope.as_str(), 2)
        );
        assert_eq!(of_names.status, JobStatus::Cancelled);
        assert!(
            of_names.error.as_ref().unwrap().contains(&of_scope),
            "{of_names:?}"
        );
        app.with(|script| script.refuses_all = false);
        until("the scope is changed", async || {
            are_over(&hub, &application, 2).await
        })
        .await;
        assert_eq!(app.departments(), departments([("ada", "Market")]));
        // So does a full synchronization, which is the same job then.
        app.with(|script| script.refuses_all = true);
        call_unit(&hub, &sales, "Store").await;
        until("the job has begun", async || {
            let jobs = jobs(&hub, &application).await;
            jobs.len() == 3 && jobs[0].status == JobStatus::Running
        })
        .await;
        let full = synchronize(&hub, &application).await;
        app.with(|script| script.refuses_all = false);
        until("all is told", async || are_over(&hub, &application, 3).await).await;
        let last = jobs(&hub, &application).await.remove(0);
        assert_eq!((last.id.as_str(), last.kind), (full.as_str(), JobKind::Full));
        assert_eq!(last.status, JobStatus::Success, "{last:?}");
        assert_eq!(app.departments(), departments([("ada", "Store")]));
        delivery.stop().await;
    });
}
