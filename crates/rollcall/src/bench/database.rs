//! The databases that are measured: each is made for one measurement and gone after it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, Result, anyhow};

use super::Options;

/// Which database management.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    /// A file in a folder of its own.
    Sqlite,
    /// A database on the server with this URL.
    Postgres(String),
}

impl Kind {
    /// All that can be measured.
    pub(super) fn all(options: &Options) -> Vec<Self> {
        let postgres = options.postgres.iter().cloned().map(Self::Postgres);
        std::iter::once(Self::Sqlite).chain(postgres).collect()
    }

    /// Its name, for people.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres(_) => "PostgreSQL",
        }
    }
}

/// A database for one measurement.
pub(super) enum Database {
    Sqlite(PathBuf),
    Postgres(Scratch),
}

impl Database {
    /// Makes one; a file goes into `folder`.
    pub(super) fn make(kind: &Kind, folder: &Path) -> Result<Self> {
        Ok(match kind {
            Kind::Sqlite => Self::Sqlite(folder.join("hub.db")),
            Kind::Postgres(server) => Self::Postgres(Scratch::make(server).context("--postgres")?),
        })
    }

    /// The URL by which a hub opens it.
    pub(super) fn url(&self) -> String {
        match self {
            Self::Sqlite(file) => format!("sqlite:{}", file.display()),
            Self::Postgres(scratch) => scratch.url.clone(),
        }
    }

    /// How large it is, in bytes, with everything in its files.
    pub(super) fn size(&self) -> Result<u64> {
        match self {
            Self::Sqlite(file) => {
                checkpoint(file)?;
                Ok(std::fs::metadata(file)?.len())
            }
            Self::Postgres(scratch) => scratch.count("SELECT pg_database_size(current_database())"),
        }
    }

    /// What was given to the disk for it so far, in bytes, once everything is in its files: by this process, or by
    /// the server for all its databases.
    pub(super) fn written(&self) -> Result<u64> {
        match self {
            Self::Sqlite(file) => {
                checkpoint(file)?;
                let counts = std::fs::read_to_string("/proc/self/io").context("/proc/self/io")?;
                let written = counts.lines().find_map(|line| line.strip_prefix("write_bytes: "));
                Ok(written.context("/proc/self/io counts no write_bytes")?.parse()?)
            }
            Self::Postgres(scratch) => scratch.written(),
        }
    }
}

/// Brings what the write-ahead log holds into the file.
fn checkpoint(file: &Path) -> Result<()> {
    let connection = rusqlite::Connection::open(file)?;
    Ok(connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?)
}

/// A database on a PostgreSQL server, which is dropped with this.
pub(super) struct Scratch {
    server: String,
    name: String,
    url: String,
}

impl Scratch {
    fn make(server: &str) -> Result<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("rollcall_bench_{}_{number}", std::process::id());
        let mut url = reqwest::Url::parse(server)?;
        url.set_path(&name);
        let (create, url) = (format!("CREATE DATABASE {name}"), url.to_string());
        ask(server, move |client| client.batch_execute(&create))?;
        Ok(Self {
            server: server.to_owned(),
            name,
            url,
        })
    }

    fn count(&self, sql: &'static str) -> Result<u64> {
        let count: i64 = ask(&self.url, move |client| client.query_one(sql, &[])?.try_get(0))?;
        Ok(u64::try_from(count)?)
    }

    /// The write-ahead log, and the pages that went into the files.
    fn written(&self) -> Result<u64> {
        const PAGES: &str = "SELECT (buffers_checkpoint + buffers_clean + buffers_backend)::bigint
                             FROM pg_stat_bgwriter";
        // Version 17 counts them elsewhere.
        const PAGES_SINCE_17: &str = "SELECT (SUM(writes))::bigint FROM pg_stat_io WHERE object = 'relation'";
        ask(&self.url, |client| client.batch_execute("CHECKPOINT"))?;
        let log = self.count("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint")?;
        let version = self.count("SELECT current_setting('server_version_num')::bigint")?;
        let pages = self.count(if version < 170_000 { PAGES } else { PAGES_SINCE_17 })?;
        Ok(log + 8_192 * pages)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let drop = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        if let Err(error) = ask(&self.server, move |client| client.batch_execute(&drop)) {
            tracing::warn!(database = self.name, %error, "it stays behind");
        }
    }
}

/// Asks the server, on a thread that runs no async code.
fn ask<T: Send + 'static>(
    url: &str,
    question: impl FnOnce(&mut postgres::Client) -> Result<T, postgres::Error> + Send + 'static,
) -> Result<T> {
    let url = url.to_owned();
    let thread = std::thread::spawn(move || {
        let mut client = postgres::Client::connect(&url, postgres::NoTls)?;
        question(&mut client)
    });
    let answer = thread.join().map_err(|_| anyhow!("asking the server panicked"))?;
    Ok(answer?)
}
