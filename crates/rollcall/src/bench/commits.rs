//! Commits of changes beside the bare commit of a row.

use anyhow::Result;

use super::database::{Database, Kind};
use super::world::World;
use super::{Figure, Options, float};
use crate::clock::Clock;

/// For how long each figure is taken, in seconds.
const SECONDS: f64 = 2.0;
/// Callers that share commits.
const CALLERS: usize = 64;

pub(super) async fn measure(options: &Options) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for kind in Kind::all(options) {
        let world = World::on(&kind).await?;
        let bare = match &world.database {
            Database::Sqlite(file) => {
                let file = file.with_file_name("bare.db");
                tokio::task::spawn_blocking(move || bare_sqlite(&file)).await??
            }
            Database::Postgres(_) => {
                let url = world.database.url();
                tokio::task::spawn_blocking(move || bare_postgres(&url)).await??
            }
        };
        let users = world.users(CALLERS).await?;
        figures.extend(on(&world, &users, kind.name(), bare).await?);
    }
    Ok(figures)
}

async fn on(world: &World, users: &[String], database: &str, bare: f64) -> Result<Vec<Figure>> {
    let clock = Clock::system();
    let watch = clock.stopwatch();
    let mut count = 0;
    while watch.elapsed().as_secs_f64() < SECONDS {
        world.change(users, count).await?;
        count += 1;
    }
    let alone = float(count) / watch.elapsed().as_secs_f64();

    let before = world.hub.db.stats();
    let watch = clock.stopwatch();
    let mut callers = Vec::new();
    for user in users.iter().take(CALLERS) {
        let (hub, user) = (world.hub.clone(), user.clone());
        let clock = clock.clone();
        callers.push(tokio::spawn(async move {
            let watch = clock.stopwatch();
            let mut count = 0;
            while watch.elapsed().as_secs_f64() < SECONDS {
                super::world::change(&hub, std::slice::from_ref(&user), count).await?;
                count += 1;
            }
            Ok::<_, anyhow::Error>(count)
        }));
    }
    let mut count = 0;
    for caller in callers {
        count += caller.await??;
    }
    let together = float(count) / watch.elapsed().as_secs_f64();
    let after = world.hub.db.stats();
    #[expect(
        clippy::cast_precision_loss,
        reason = "counts of a benchmark are far below 2^52"
    )]
    let group = (after.closures - before.closures) as f64 / (after.groups - before.groups).max(1) as f64;
    let floor = format!("bare commit of a row, {database}");
    Ok(vec![
        Figure::new("commit", format!("change, one caller, {database}"), alone, "/s").beside(&*floor, bare),
        Figure::new(
            "commit",
            format!("changes, 64 callers, {database}"),
            together,
            "/s",
        )
        .beside(&*floor, bare),
        Figure::new(
            "commit",
            format!("changes in a commit, 64 callers, {database}"),
            group,
            "",
        ),
    ])
}

fn rate(mut commit: impl FnMut(i64) -> Result<()>) -> Result<f64> {
    let watch = Clock::system().stopwatch();
    let mut count = 0;
    while watch.elapsed().as_secs_f64() < SECONDS {
        commit(count)?;
        count += 1;
    }
    #[expect(
        clippy::cast_precision_loss,
        reason = "counts of a benchmark are far below 2^52"
    )]
    Ok(count as f64 / watch.elapsed().as_secs_f64())
}

fn bare_sqlite(file: &std::path::Path) -> Result<f64> {
    let connection = rusqlite::Connection::open(file)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.execute("CREATE TABLE bare (id INTEGER PRIMARY KEY, text TEXT)", [])?;
    let text = "x".repeat(1_000);
    rate(|id| {
        connection
            .prepare_cached("INSERT INTO bare (id, text) VALUES (?1, ?2)")?
            .execute((id, &text))?;
        Ok(())
    })
}

fn bare_postgres(url: &str) -> Result<f64> {
    let mut client = postgres::Client::connect(url, postgres::NoTls)?;
    client.batch_execute("CREATE TABLE bare (id BIGINT PRIMARY KEY, text TEXT)")?;
    let text = "x".repeat(1_000);
    let insert = client.prepare("INSERT INTO bare (id, text) VALUES ($1, $2)")?;
    rate(|id| {
        client.execute(&insert, &[&id, &text])?;
        Ok(())
    })
}
