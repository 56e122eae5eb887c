//! Much of everything: import, full synchronization, sick endpoints, storage, a long backlog.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rollcall_db::{DbError, params};

use super::bare::{Bare, ceiling};
use super::crypto;
use super::world::{World, new_user};
use super::{Figure, Options, Sorted, float};
use crate::access::Caller;
use crate::application::{Application, Command, Limits, store};
use crate::change;
use crate::clock::Clock;
use crate::delivery::job;
use crate::directory::query;
use crate::import::{self, Format};
use crate::meter::peak_memory;

/// A directory of this many users.
pub(super) fn users_of(options: &Options) -> usize {
    if options.full { 100_000 } else { 10_000 }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "bytes of a benchmark are far below 2^52"
)]
pub(super) fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

pub(super) fn memory(section: &str, what: &str) -> Option<Figure> {
    Some(Figure::new(
        section,
        format!("{what}: peak of memory"),
        megabytes(peak_memory()?),
        "MB",
    ))
}

/// A file of invented people in a tree of a thousand units.
pub(super) fn people(world: &World, count: usize) -> Result<std::path::PathBuf> {
    let file = world.folder.path().join("people.csv");
    let mut sink = std::io::BufWriter::new(std::fs::File::create(&file)?);
    writeln!(
        sink,
        "username,display_name,path,email,phone_region,phone_number,external_id,description"
    )?;
    for number in 0..count {
        let user = new_user(number);
        writeln!(
            sink,
            "{},{},Division {}/Department {}/Team {},{},49,{},{},somebody who works here",
            user.username,
            user.display_name,
            number % 10,
            number % 100,
            number % 1_000,
            user.email.unwrap_or_default(),
            user.phone_number.unwrap_or_default(),
            user.external_id.unwrap_or_default(),
        )?;
    }
    sink.flush()?;
    Ok(file)
}

pub(super) async fn import(options: &Options) -> Result<Vec<Figure>> {
    let count = users_of(options);
    let world = World::new().await?;
    let file = people(&world, count)?;
    let mut figures = Vec::new();
    let (from, to) = (file.clone(), world.folder.path().join("bare.db"));
    let bare = tokio::task::spawn_blocking(move || bare_import(&from, &to)).await??;
    for (what, target) in [("first import", 10.0), ("import of the same file again", 10.0)] {
        let watch = world.hub.clock.stopwatch();
        let report = import::import(&world.hub, &import::Options::of(&file, Format::Csv), |_, _| {}).await?;
        anyhow::ensure!(report.is_complete(), "{:?}", report.errors);
        let seconds = watch.elapsed().as_secs_f64();
        let mut figure = Figure::new("import", format!("{what} of {count} users, SQLite"), seconds, "s")
            .beside(
                "reading it and inserting each line into a table with three indexes",
                bare,
            );
        if options.full {
            figure = figure.aims(format!("under {target} s"), seconds < target);
        }
        figures.push(figure);
    }
    figures.extend(memory("import", &format!("import of {count} users")));
    Ok(figures)
}

/// What the least that deserves the name of an import takes, in seconds.
fn bare_import(file: &std::path::Path, database: &std::path::Path) -> Result<f64> {
    let watch = Clock::system().stopwatch();
    let connection = rusqlite::Connection::open(database)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.execute_batch(
        "CREATE TABLE bare (username TEXT PRIMARY KEY, display_name TEXT, path TEXT, email TEXT UNIQUE,
                            phone_region TEXT, phone_number TEXT, external_id TEXT UNIQUE, description TEXT)",
    )?;
    let mut reader = csv::Reader::from_path(file)?;
    let mut records = reader.records().peekable();
    while records.peek().is_some() {
        connection.execute_batch("BEGIN")?;
        for record in records.by_ref().take(500) {
            connection
                .prepare_cached("INSERT INTO bare VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?
                .execute(rusqlite::params_from_iter(record?.iter()))?;
        }
        connection.execute_batch("COMMIT")?;
    }
    Ok(watch.elapsed().as_secs_f64())
}

pub(super) async fn sync(options: &Options) -> Result<Vec<Figure>> {
    let count = users_of(options);
    let world = World::new().await?;
    let file = people(&world, count)?;
    import::import(&world.hub, &import::Options::of(&file, Format::Csv), |_, _| {}).await?;
    let applications = world.applications(1, Limits::default(), |_| "ok").await?;
    // The floor carries the same records.
    let sample = world
        .hub
        .db
        .read(|tx| query::users_page(tx, None, 100, false))
        .await?;
    let records = sample.into_iter().map(|row| (row.id, row.record));
    let batch = crypto::batch_of(records, world.hub.clock.now());
    let bare = Arc::new(Bare::with(&world, &applications, batch).await?);
    let before = ceiling(&bare, 1).await?;
    let delivery = world.deliver().await?;
    let watch = world.hub.clock.stopwatch();
    let id = applications[0].id.clone();
    let application = id.clone();
    let job_id = world
        .hub
        .write_as(Caller::system("bench"), move |tx, ctx| {
            job::request_full(tx, ctx, &application)
        })
        .await?;
    let job = loop {
        let wanted = job_id.clone();
        let job = world.hub.db.read(move |tx| job::load(tx, &wanted)).await?;
        match job.filter(job::JobPosition::is_finished) {
            Some(job) => break job,
            None => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    let seconds = watch.elapsed().as_secs_f64();
    anyhow::ensure!(
        job.status == job::JobStatus::Success,
        "the synchronization ended as {:?}",
        job.status
    );
    delivery.stop().await;
    let sent = world.hub.meters.sent_bytes.get();
    let after = ceiling(&bare, 1).await?;
    let reading = read_all(&world).await?;
    let requests: i64 = world
        .hub
        .db
        .read(move |tx| {
            tx.query_one(
                "SELECT COUNT(*) FROM attempts WHERE application_id = $1",
                params![id.as_str()],
            )?
            .get(0)
        })
        .await?;
    let mut figures = vec![
        Figure::new(
            "sync",
            format!("full synchronization of {count} users"),
            float(count) / seconds,
            "users/s",
        )
        .beside("seal + POST + verify of the same", before.midpoint(after))
        .aims(
            "limited by sealing and the endpoint: reading alone is faster",
            reading > float(count) / seconds,
        ),
        Figure::new(
            "sync",
            "reading the same from the database, alone",
            reading,
            "users/s",
        ),
        #[expect(
            clippy::cast_precision_loss,
            reason = "counts of a benchmark are far below 2^52"
        )]
        Figure::new("sync", "requests", requests as f64, ""),
        Figure::new("sync", "sent", megabytes(sent), "MB"),
    ];
    figures.extend(memory("sync", &format!("full synchronization of {count} users")));
    Ok(figures)
}

/// How many users a second are read as a synchronization reads them, if nothing is done with them.
async fn read_all(world: &World) -> Result<f64> {
    let watch = world.hub.clock.stopwatch();
    let mut after: Option<String> = None;
    let mut count = 0;
    loop {
        let from = after.clone();
        let page = world
            .hub
            .db
            .read(move |tx| query::users_page(tx, from.as_deref(), 500, false))
            .await?;
        let Some(last) = page.last() else {
            return Ok(float(count) / watch.elapsed().as_secs_f64());
        };
        after = Some(last.id.clone());
        count += page.len();
    }
}

/// How those applications are that may be sick.
#[derive(Clone, Copy, PartialEq)]
enum Health {
    Well,
    Sick,
}

/// Lags of changes at the applications that are always healthy, in milliseconds.
async fn lags(applications: usize, sick: usize, health: Health) -> Result<Sorted> {
    const CHANGES: usize = 12;
    let world = World::new().await?;
    let users = world.users(10).await?;
    let manner = |number: usize| match number {
        n if health == Health::Sick && n < sick => "dead",
        n if health == Health::Sick && n < 2 * sick => "slow",
        _ => "ok",
    };
    let limits = Limits::default();
    let all = world.applications(applications, limits, manner).await?;
    let delivery = world.deliver().await?;
    // A change of which every application is told takes so many signatures; a hub at its limit would only
    // show that.
    let pause = Duration::from_millis(applications as u64 * 3);
    // The first change opens the connections.
    world.change(&users, CHANGES).await?;
    tokio::time::sleep(2 * pause).await;
    let opened = world.hub.db.read(change::head).await?.seq;
    for number in 0..CHANGES {
        world.change(&users, number).await?;
        tokio::time::sleep(pause).await;
    }
    let healthy: Vec<String> = all[2 * sick..].iter().map(|it| it.id.clone()).collect();
    let head = world.hub.db.read(change::head).await?.seq;
    wait_for(&world, &all[2 * sick..], head).await?;
    let lags = world
        .hub
        .db
        .read(move |tx| {
            let mut lags = Vec::new();
            for id in &healthy {
                for row in tx.query(
                    "SELECT a.started_at * 1000 + a.latency_us - c.time * 1000 FROM attempts a
                     JOIN changes c ON c.seq = a.to_seq
                     WHERE a.application_id = $1 AND a.outcome = 'delivered' AND a.source = 'log'
                     AND a.from_seq > $2",
                    params![id.as_str(), opened],
                )? {
                    #[expect(clippy::cast_precision_loss, reason = "lags are far below 2^52 µs")]
                    lags.push(row.get::<i64>(0)? as f64 / 1e3);
                }
            }
            Ok::<_, DbError>(lags)
        })
        .await?;
    // Otherwise its workers would go on beside what is measured next.
    delivery.stop().await;
    Ok(Sorted::new(lags))
}

pub(super) async fn wait_for(world: &World, applications: &[Application], head: change::Seq) -> Result<()> {
    for application in applications {
        let mut tries = 0;
        loop {
            let id = application.id.clone();
            let cursor = world.hub.db.read(move |tx| store::load(tx, &id)).await?.position;
            if cursor >= head {
                break;
            }
            tries += 1;
            anyhow::ensure!(
                tries < 6_000,
                "an application did not catch up within five minutes"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    Ok(())
}

pub(super) async fn sick(options: &Options) -> Result<Vec<Figure>> {
    let (all, sick) = if options.full { (1_000, 50) } else { (200, 10) };
    let well = lags(all, sick, Health::Well).await?;
    let among_sick = lags(all, sick, Health::Sick).await?;
    let (floor, p99) = (well.quantile(0.99), among_sick.quantile(0.99));
    let what = format!(
        "p99 lag of {} healthy applications, {sick} dead and {sick} slow ones beside them",
        all - 2 * sick
    );
    Ok(vec![
        Figure::new("sick", "p50 lag of the same", among_sick.quantile(0.5), "ms")
            .beside("the same when none is sick", well.quantile(0.5)),
        Figure::new("sick", "p90 lag of the same", among_sick.quantile(0.9), "ms")
            .beside("the same when none is sick", well.quantile(0.9)),
        Figure::new("sick", what, p99, "ms")
            .beside("the same when none is sick", floor)
            .aims("within 10 % of it", p99 <= floor * 1.1),
    ])
}

/// Bytes that a change and a request take.
pub(super) async fn storage() -> Result<Vec<Figure>> {
    const CHANGES: usize = 5_000;
    let mut per_change = Vec::new();
    for applications in [1, 100] {
        let world = World::new().await?;
        let users = world.users(100).await?;
        world
            .applications(applications, Limits::default(), |_| "ok")
            .await?;
        let before = world.database.size()?;
        world.changes(&users, CHANGES).await?;
        per_change.push(float(usize::try_from(world.database.size()? - before)?) / float(CHANGES));
    }
    let mut per_request = Vec::new();
    for batch in [1_u32, 100] {
        let world = World::new().await?;
        let users = world.users(100).await?;
        let limits = Limits {
            max_events: batch,
            ..Limits::default()
        };
        let requests = 1_000;
        let applications = world.applications(1, limits, |_| "ok").await?;
        world.changes(&users, requests * batch as usize).await?;
        let before = world.database.size()?;
        let delivery = world.deliver().await?;
        let head = world.hub.db.read(change::head).await?.seq;
        wait_for(&world, &applications, head).await?;
        delivery.stop().await;
        per_request.push(float(usize::try_from(world.database.size()? - before)?) / float(requests));
    }
    Ok(vec![
        Figure::new(
            "storage",
            "bytes a change, 100 applications",
            per_change[1],
            "bytes",
        )
        .beside("1 application", per_change[0])
        .aims("the same", (per_change[1] / per_change[0] - 1.0).abs() < 0.05),
        Figure::new(
            "storage",
            "bytes a request of 100 events",
            per_request[1],
            "bytes",
        )
        .beside("a request of 1 event", per_request[0])
        .aims("the same", (per_request[1] / per_request[0] - 1.0).abs() < 0.2),
    ])
}

/// Many users, many applications, and a hub that was away for long.
pub(super) async fn backlog(options: &Options) -> Result<Vec<Figure>> {
    let users = users_of(options);
    let (applications, changes) = if options.full {
        (1_000, 1_000_000)
    } else {
        (1_000, 100_000)
    };
    let world = World::new().await?;
    let file = people(&world, users)?;
    import::import(&world.hub, &import::Options::of(&file, Format::Csv), |_, _| {}).await?;
    let all = world
        .applications(applications, Limits::default(), |_| "ok")
        .await?;
    let ids = world.hub.db.read(|tx| query::users_after(tx, "", 2_000)).await?;
    let ids: Vec<String> = ids.into_iter().map(|user| user.id).collect();
    world.changes(&ids, changes).await?;
    // The applications do not fit through two cores' worth of signatures in any time that a benchmark has;
    // what counts is that they all are at it.
    let delivery = world.deliver().await?;
    let mut acknowledged = delivery.shared().hub.meters.acknowledged();
    let watch = world.hub.clock.stopwatch();
    tokio::time::sleep(Duration::from_secs(20)).await;
    let done = *acknowledged.borrow_and_update();
    let rate = float(usize::try_from(done)?) / watch.elapsed().as_secs_f64();
    let peak = peak_memory().context("the system does not tell how much memory is used")?;
    // Paused ones end at once; the others would go on for minutes.
    for application in &all {
        let id = application.id.clone();
        world
            .hub
            .apply_application(Caller::system("bench"), Command::DisableSynchronization { id })
            .await?;
    }
    delivery.stop().await;
    let what = format!("{users} users, {applications} applications, a backlog of {changes} changes");
    let mut figure = Figure::new(
        "backlog",
        format!("{what}: peak of memory"),
        megabytes(peak),
        "MB",
    );
    if options.full {
        figure = figure.aims("under 200 MB", megabytes(peak) < 200.0);
    }
    Ok(vec![
        figure,
        Figure::new("backlog", "catching up", rate, "events/s"),
    ])
}
