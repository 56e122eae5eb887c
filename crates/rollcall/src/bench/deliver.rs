//! From the commit to the acknowledgement: one change on an idle hub, and as much as goes.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::sync::watch;

use super::bare::{Bare, ceiling};
use super::world::World;
use super::{Figure, Sorted, float};
use crate::application::Limits;
use crate::clock::Clock;

/// One event at a time, with pauses: how long until it is acknowledged?
pub(super) async fn idle() -> Result<Vec<Figure>> {
    const CHANGES: usize = 300;
    let world = World::new().await?;
    let users = world.users(10).await?;
    let applications = world.applications(1, Limits::default(), |_| "ok").await?;
    let bare = Bare::of(&world, &applications, 1).await?;
    let clock = Clock::system();
    let mut floors = Vec::new();
    for _ in 0..100 {
        let watch = clock.stopwatch();
        bare.once(0).await?;
        floors.push(watch.elapsed().as_secs_f64() * 1e3);
    }
    let signature = bare.signature()?;
    let delivery = world.deliver().await?;
    let mut acknowledged = delivery.shared().hub.meters.acknowledged();
    let mut times = Vec::new();
    for number in 0..CHANGES {
        let before = *acknowledged.borrow_and_update();
        world.change(&users, number).await?;
        let watch = clock.stopwatch();
        acknowledged.wait_for(|count| *count > before).await?;
        times.push(watch.elapsed().as_secs_f64() * 1e3);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    delivery.stop().await;
    let (times, floor) = (Sorted::new(times), Sorted::new(floors).quantile(0.5));
    let p50 = times.quantile(0.5);
    Ok(vec![
        Figure::new("idle", "commit → acknowledged, p50", p50, "ms")
            .beside("seal + POST + verify", floor)
            .aims("at most the signature + 5 ms", p50 <= signature + 5.0),
        Figure::new("idle", "commit → acknowledged, p99", times.quantile(0.99), "ms")
            .beside("seal + POST + verify", floor),
    ])
}

/// As many events as go, over several applications, one a request and in batches.
pub(super) async fn throughput() -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (applications, batch, changes) in [
        (1, 1, 3_000),
        (1, 100, 20_000),
        (16, 1, 300),
        (16, 100, 5_000),
        (1_000, 1, 15),
        (1_000, 100, 200),
    ] {
        let world = World::new().await?;
        let users = world.users(100).await?;
        let limits = Limits {
            max_events: batch,
            ..Limits::default()
        };
        let all = world.applications(applications, limits, |_| "ok").await?;
        // What can be in flight at once is what the applications allow.
        let bare = Arc::new(Bare::of(&world, &all, batch as usize).await?);
        let before = ceiling(&bare, applications).await?;
        let delivery = world.deliver().await?;
        let acknowledged = delivery.shared().hub.meters.acknowledged();
        // The first change opens the connections.
        world.change(&users, changes).await?;
        wait(&acknowledged, applications).await?;
        let watch = world.hub.clock.stopwatch();
        world.changes(&users, changes).await?;
        let events = changes * applications;
        wait(&acknowledged, applications + events).await?;
        let rate = float(events) / watch.elapsed().as_secs_f64();
        delivery.stop().await;
        let after = ceiling(&bare, applications).await?;
        let floor = before.midpoint(after);
        let name = match (applications, batch) {
            (1, 1) => "1 application, 1 event a request".to_owned(),
            (1, _) => format!("1 application, up to {batch} a request"),
            (_, 1) => format!("{applications} applications, 1 event a request"),
            _ => format!("{applications} applications, up to {batch} a request"),
        };
        let mut figure = Figure::new("deliver", name, rate, "events/s").beside("seal + POST + verify", floor);
        if applications > 1 {
            let least = if batch == 1 { 0.8 } else { 0.7 };
            let met = rate / floor >= least;
            figure = figure.aims(format!("at least {:.0} % of the floor", least * 100.0), met);
        }
        figures.push(figure);
    }
    Ok(figures)
}

/// Waits until so many events are acknowledged. It looks now and then: to be woken for each of them would be measured
/// with them.
pub(super) async fn wait(acknowledged: &watch::Receiver<u64>, events: usize) -> Result<()> {
    let all = async {
        while *acknowledged.borrow() < events as u64 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(300), all)
        .await
        .context("not everything was acknowledged within five minutes")
}
