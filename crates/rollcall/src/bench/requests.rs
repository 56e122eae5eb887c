//! What a request costs while a backlog is delivered: time beside the ceiling, and for one event a request, where
//! it matters most, processor and disk.
//!
//! A backlog, because then nothing but delivery is measured: no change is committed meanwhile. The first part of it
//! is not measured: applications are loaded and connections opened then.

use std::sync::Arc;

use anyhow::{Context as _, Result};

use super::bare::{Bare, ceiling};
use super::database::Kind;
use super::deliver::wait;
use super::world::World;
use super::{Figure, Options, float};
use crate::application::Limits;

/// What was measured of one database and so many applications.
struct Cost {
    /// Deliveries a second.
    rate: f64,
    /// The same without a hub.
    ceiling: f64,
    /// Milliseconds of this process's processor time for a delivery.
    processor: f64,
    /// Milliseconds that a signature takes.
    signature: f64,
    /// Bytes written for a delivery.
    written: f64,
}

pub(super) async fn measure(options: &Options) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (applications, batch, changes) in [(16, 1, 1_000), (200, 1, 160), (16, 100, 10_000)] {
        let mut on_sqlite = None;
        for kind in Kind::all(options) {
            let cost = cost(&kind, applications, batch, changes).await?;
            let carried = match batch {
                1 => "1 event".to_owned(),
                _ => format!("up to {batch}"),
            };
            let of = format!(
                "{applications} applications, {carried} a request, {}",
                kind.name()
            );
            let figure =
                |what: &str, value, unit| Figure::new("requests", format!("{of}{what}"), value, unit);
            let (least, ratio) = (if batch == 1 { 0.9 } else { 0.7 }, cost.rate / cost.ceiling);
            figures.push(
                figure("", cost.rate, "events/s")
                    .beside("seal + POST + verify", cost.ceiling)
                    .aims(
                        format!("at least {:.0} % of the floor", least * 100.0),
                        ratio >= least,
                    ),
            );
            if batch == 1 {
                let besides = cost.processor - cost.signature;
                figures.extend([
                    figure(": processor besides the signature", besides, "ms")
                        .beside("signature", cost.signature)
                        .aims("at most 0.08 ms", besides <= 0.08),
                    figure(": written for a delivery", cost.written, "bytes")
                        .aims("at most 2,048 bytes", cost.written <= 2_048.0),
                ]);
            }
            match on_sqlite {
                None => on_sqlite = Some(cost.rate),
                Some(sqlite) => figures.push(
                    figure("", cost.rate, "events/s")
                        .beside("the same on SQLite", sqlite)
                        .aims("at least 0.85 of it", cost.rate / sqlite >= 0.85),
                ),
            }
        }
    }
    Ok(figures)
}

async fn cost(kind: &Kind, applications: usize, batch: u32, changes: usize) -> Result<Cost> {
    let world = World::on(kind).await?;
    let users = world.users(100).await?;
    let limits = Limits {
        max_events: batch,
        ..Limits::default()
    };
    let all = world.applications(applications, limits, |_| "ok").await?;
    world.changes(&users, changes).await?;
    let bare = Arc::new(Bare::of(&world, &all, batch as usize).await?);
    let signature = bare.signature()?;
    let before = ceiling(&bare, applications).await?;
    let deliveries = changes * applications;
    let delivery = world.deliver().await?;
    let acknowledged = delivery.shared().hub.meters.acknowledged();
    wait(&acknowledged, deliveries / 8).await?;
    let (written, processor) = (world.database.written()?, processor()?);
    let (watch, begun) = (world.hub.clock.stopwatch(), *acknowledged.borrow());
    wait(&acknowledged, deliveries).await?;
    let (seconds, measured) = (
        watch.elapsed().as_secs_f64(),
        deliveries - usize::try_from(begun)?,
    );
    delivery.stop().await;
    let processor = self::processor()? - processor;
    let written = world.database.written()? - written;
    let after = ceiling(&bare, applications).await?;
    Ok(Cost {
        rate: float(measured) / seconds,
        ceiling: before.midpoint(after),
        processor: processor / float(measured),
        signature,
        written: float(usize::try_from(written)?) / float(measured),
    })
}

/// How much processor time this process has had so far, in milliseconds.
fn processor() -> Result<f64> {
    // The name of the program, in brackets, may hold spaces.
    let line = std::fs::read_to_string("/proc/self/stat").context("/proc/self/stat")?;
    let (_, fields) = line
        .rsplit_once(')')
        .context("/proc/self/stat names no program")?;
    let mut ticks = fields.split_whitespace().skip(11).map(str::parse::<f64>);
    let mut next = || ticks.next().context("/proc/self/stat counts no time");
    // A tick is 10 ms wherever Linux runs today.
    Ok((next()?? + next()??) * 10.0)
}
