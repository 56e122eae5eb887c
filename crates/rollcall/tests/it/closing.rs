//! The inventory that closes a full synchronization, told to an application that wants it again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use rollcall::access::Caller;
use rollcall::delivery::job::{self, Inventory, JobPosition};
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
    let times = seen.lock().unwrap().values().copied().collect();
    (ended.into_inner().unwrap().unwrap(), times)
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
        assert_eq!(job.statistics.inventory, Inventory::NotUnderstood);
        assert_eq!(times, [5]);
        assert_eq!(stored(&hub, &app.application).await.suspended, None);
        delivery.stop().await;
    });
}
