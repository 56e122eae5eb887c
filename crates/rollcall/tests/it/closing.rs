//! The inventory that closes a full synchronization, told to an application that wants it again.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use rollcall::access::Caller;
use rollcall::delivery::job::{self, Inventory, JobPosition, JobStatus};
use rollcall::hub::Hub;
use rollcall_protocol::{Event, EventType};

use crate::plain::{Of, Plain, Say, deliver, group, settled, stored, until, user};
use crate::world::{hasty, on_both, open_hub};

/// Has everything pushed, closing with an inventory that is wanted again so often at each step. Returns how the job
/// ended, and how often each inventory came.
async fn closing(hub: &Hub, app: &Plain, refusals: usize) -> (JobPosition, Vec<usize>) {
    let seen: Arc<Mutex<BTreeMap<String, usize>>> = Arc::default();
    let too = Arc::clone(&seen);
    app.say(move |events| {
        let mut seen = too.lock().unwrap();
        let mut said = |event: &Event| {
            if event.kind() != Some(EventType::Inventory) {
                return Of::Success;
            }
            let times = seen.entry(event.event_id.clone()).or_default();
            *times += 1;
            if *times <= refusals {
                Of::Retried
            } else {
                Of::Success
            }
        };
        Say::Each(events.iter().map(&mut said).collect())
    });
    let ended = synchronized(hub, app).await;
    let times = seen.lock().unwrap().values().copied().collect();
    (ended, times)
}

/// Has everything pushed, and waits for the end of it.
async fn synchronized(hub: &Hub, app: &Plain) -> JobPosition {
    let id = app.application.id.clone();
    let requested = hub.write_as(Caller::system("test"), move |tx, ctx| {
        job::request_full(tx, ctx, &id)
    });
    let job_id = requested.await.unwrap();
    let ended = Mutex::new(None);
    until("the synchronization has ended", async || {
        let id = job_id.clone();
        let found = hub.db.read(move |tx| job::load(tx, &id)).await.unwrap().unwrap();
        let done = found.is_finished();
        *ended.lock().unwrap() = Some(found);
        done
    })
    .await;
    settled(hub, &app.application).await;
    ended.into_inner().unwrap().unwrap()
}

#[test]
fn an_inventory_that_is_wanted_again_is_waited_for_but_not_for_ever() {
    on_both("closing", |hub, _| async move {
        let hub = open_hub(&hub).await;
        let app = Plain::new(&hub, "App").await;
        user(&hub, "ada").await;
        group(&hub, "Staff").await;
        let delivery = deliver(&hub, hasty()).await;
        let (job, times) = closing(&hub, &app, 4).await;
        assert_eq!(job.statistics.inventory, Inventory::Accepted);
        // The members of the group, the groups, the users and the organizational units.
        assert_eq!(times, [5; 4]);
        let (job, times) = closing(&hub, &app, usize::MAX).await;
        assert_eq!(
            (job.statistics.inventory, job.status),
            (Inventory::Failed, JobStatus::PartialSuccess)
        );
        assert_eq!(times, [5]);
        assert_eq!(stored(&hub, &app.application).await.suspended, None);
        delivery.stop().await;
    });
}

/// Refuses every request that carries an inventory with a status, as long as `refuses`. Nothing else is refused, and so
/// no connection test.
fn refuse_inventories(app: &Plain, status: u16, refuses: &Arc<AtomicBool>) {
    let refuses = Arc::clone(refuses);
    app.say(move |events| {
        let is_inventory = |event: &Event| event.kind() == Some(EventType::Inventory);
        if refuses.load(Ordering::Relaxed) && events.iter().any(is_inventory) {
            Say::Status(status)
        } else {
            Say::Yes
        }
    });
}

#[test]
fn an_inventory_that_the_application_cannot_take_now_is_not_taken_for_one_that_it_does_not_understand() {
    on_both("closing_fails", |hub, _| async move {
        let hub = open_hub(&hub).await;
        let app = Plain::new(&hub, "App").await;
        user(&hub, "ada").await;
        let delivery = deliver(&hub, hasty()).await;
        let refuses = Arc::new(AtomicBool::new(true));
        for (status, inventory, ends) in [
            (404, Inventory::NotUnderstood, JobStatus::Success),
            (503, Inventory::Failed, JobStatus::PartialSuccess),
        ] {
            refuse_inventories(&app, status, &refuses);
            let job = synchronized(&hub, &app).await;
            assert_eq!(
                (job.statistics.inventory, job.status),
                (inventory, ends),
                "{status}"
            );
            assert_eq!(stored(&hub, &app.application).await.suspended, None);
        }
        let job = synchronized(&hub, &app).await;
        let words = job.statistics.words();
        assert!(words.contains("could not take the closing inventory"), "{words}");
        refuses.store(false, Ordering::Relaxed);
        let job = synchronized(&hub, &app).await;
        assert_eq!(
            (job.statistics.inventory, job.status),
            (Inventory::Accepted, JobStatus::Success)
        );
        delivery.stop().await;
    });
}
