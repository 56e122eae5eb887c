//! One node and two that deliver from one PostgreSQL database.

use std::ffi::OsStr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rollcall_db::{DbError, params};

use super::database::Kind;
use super::world::{self, World};
use super::{Figure, Options, Player, float};
use crate::application::Limits;
use crate::delivery::{self, Delivery};

const APPLICATIONS: usize = 64;
const CHANGES: usize = 300;

pub(super) async fn measure(options: &Options) -> Result<Vec<Figure>> {
    let Some(server) = options.postgres.clone() else {
        return Ok(Vec::new());
    };
    let kind = Kind::Postgres(server);
    let (before, two, after) = (
        rate(&kind, 1).await?,
        rate(&kind, 2).await?,
        rate(&kind, 1).await?,
    );
    let one = before.midpoint(after);
    let what = |nodes: &str| format!("{APPLICATIONS} applications, 1 event a request, {nodes}, PostgreSQL");
    Ok(vec![
        Figure::new("nodes", what("1 node"), one, "events/s"),
        Figure::new("nodes", what("2 nodes"), two, "events/s")
            .beside("1 node on the same processors", one)
            .aims("not less", two >= one),
    ])
}

/// Events a second that so many nodes deliver.
async fn rate(kind: &Kind, nodes: usize) -> Result<f64> {
    let world = World::on(kind).await?;
    let users = world.users(100).await?;
    let limits = Limits {
        max_events: 1,
        ..Limits::default()
    };
    world.applications(APPLICATIONS, limits, |_| "ok").await?;
    let url = world.database.url();
    let running = (0..nodes)
        .map(|_| Player::start(&[OsStr::new("--node"), OsStr::new(&url)]))
        .collect::<Result<Vec<_>>>()?;
    wait_until("the applications are spread over the nodes", async || {
        spread(&world, nodes).await
    })
    .await?;
    let before = delivered(&world).await?;
    let watch = world.hub.clock.stopwatch();
    world.changes(&users, CHANGES).await?;
    let events = CHANGES * APPLICATIONS;
    wait_until("everything is delivered", async || {
        Ok(delivered(&world).await? - before >= i64::try_from(events)?)
    })
    .await?;
    let rate = float(events) / watch.elapsed().as_secs_f64();
    running.into_iter().try_for_each(Player::end)?;
    Ok(rate)
}

async fn wait_until(what: &str, is_true: impl AsyncFn() -> Result<bool>) -> Result<()> {
    let waiting = async {
        while !is_true().await? {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    };
    tokio::time::timeout(Duration::from_secs(120), waiting)
        .await
        .with_context(|| format!("waited two minutes until {what}"))?
}

/// Whether every node has its share, and none of the applications anything left.
async fn spread(world: &World, nodes: usize) -> Result<bool> {
    let shares = world
        .hub
        .db
        .read(|tx| {
            let shares = tx.query(
                "SELECT COUNT(*) FROM deliveries WHERE node IS NOT NULL AND position >= (SELECT seq FROM change_head)
                 GROUP BY node",
                params![],
            )?;
            shares.iter().map(|row| row.get(0)).collect::<Result<Vec<i64>, DbError>>()
        })
        .await?;
    let share = i64::try_from(APPLICATIONS / nodes)?;
    Ok(shares.len() == nodes && shares.iter().all(|count| *count == share))
}

/// How many events were delivered: each application wants every change.
async fn delivered(world: &World) -> Result<i64> {
    let sum = world.hub.db.read(|tx| {
        let row = tx.query_one(
            "SELECT CAST(COALESCE(SUM(position), 0) AS BIGINT) FROM deliveries",
            params![],
        )?;
        row.get(0)
    });
    Ok(sum.await?)
}

/// Delivers as one of the nodes until the standard input ends.
pub(super) async fn serve(database: String, ready: impl FnOnce(usize)) -> Result<()> {
    let hub = world::open(database).await?;
    // Soon spread; what is measured comes later.
    let options = delivery::Options {
        lease: Duration::from_secs(3),
        ..delivery::Options::default()
    };
    let delivery = Delivery::start(hub, world::egress()?, options).await?;
    ready(0);
    super::orphaned().await;
    delivery.stop().await;
    Ok(())
}
