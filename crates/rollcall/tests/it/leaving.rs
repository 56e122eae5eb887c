//! A node that gives an application away and gets it back before its worker has ended.

use std::time::Duration;

use rollcall::application::Scope;
use rollcall::delivery::Options;
use rollcall::delivery::ledger::leases::{self, Policy};
use rollcall::hub::Hub;
use rollcall_db::{DbError, params};
use rollcall_receiver::testing::Forgetful;

use crate::forgetful::Simple;
use crate::plain::{deliver, until, user};
use crate::world::{hasty, on_both, open_hub};

const OTHER: &str = "node_other";

/// How often the node has said that it lives, and whether the other one is still known.
async fn nodes(hub: &Hub) -> (i64, bool) {
    let read = hub.db.read(|tx| {
        let own = tx.query_one("SELECT MAX(beat) FROM nodes WHERE id <> $1", params![OTHER])?;
        let other = tx.query_opt("SELECT 1 FROM nodes WHERE id = $1", params![OTHER])?;
        Ok::<_, DbError>((own.get(0)?, other.is_some()))
    });
    read.await.unwrap()
}

#[test]
fn nobody_begins_with_an_application_while_a_request_to_it_is_under_way() {
    on_both("leaving", |hub, _| async move {
        let hub = open_hub(&hub).await;
        let one = Simple::new(&hub, "One", Scope::everything(), Forgetful::new()).await;
        let two = Simple::new(&hub, "Two", Scope::everything(), Forgetful::new()).await;
        // Of two applications, a second node gets that with the greater id.
        let app = if one.application.id > two.application.id {
            &one
        } else {
            &two
        };
        let options = Options {
            policy: Policy::Shared,
            lease: Duration::from_millis(1_500),
            ..hasty()
        };
        let delivery = deliver(&hub, options).await;
        app.synchronize().await;
        let held = app.gate.hold_after(0);
        user(&hub, "ada").await;
        app.gate.has(held).await;
        let under_way = app.gate.arrived();
        // Another node comes, and is not heard again. So the application is given away, and stays after all.
        let joined = hub
            .db
            .write(|tx| leases::join(tx, OTHER, "other", Policy::Shared, 1));
        joined.await.unwrap();
        until("the other node is given up", async || !nodes(&hub).await.1).await;
        let (beat, _) = nodes(&hub).await;
        until("the node has looked twice since", async || {
            nodes(&hub).await.0 >= beat + 2
        })
        .await;
        assert_eq!(app.gate.arrived(), under_way, "another request came meanwhile");
        app.gate.open();
        app.is_right().await;
        delivery.stop().await;
    });
}
