//! The mirror: a copy of the directory, as far as the application may see it, in SQLite or PostgreSQL.
//!
//! All events of a request are applied in one transaction together with their ids and the answers, so
//! an event is applied exactly once whatever happens in between, and is answered alike however often it
//! comes. Records are read before anything is written: one that is malformed or cannot be stored is
//! answered *failed*, does not concern the others, and is tried anew if it is sent again.
//!
//! An event that is older than what is stored for its subject is acknowledged as `stale` and not
//! applied; of two with the same time the one that comes later wins. Subjects that were deleted keep
//! their id and time for that. Memberships of groups have a time for each pair of group and user, since
//! their events tell of some pairs only. Whatever the order in which a history of events with different
//! times arrives, the tables end up the same; `rows` has the rules.
//!
//! An inventory, which closes a full synchronization, deletes what the hub does not know of; `inventory`
//! has the rules.
//!
//! Passwords are not stored: only when the last one came.

use rollcall_db::{Db, DbError, Options, Tx};
use rollcall_protocol::Event;

use crate::handler::Outcome;
use crate::receiver::{Process, ProcessError};
use crate::record::Record;
use crate::schema::{self, remember, remembered};

mod inventory;
mod rows;
mod snapshot;

pub use snapshot::{Counts, GroupRow, Snapshot, UnitRow, UserRow};

/// The name under which events are remembered.
const TAKEN_BY: &str = "mirror";

/// Keeps a copy of the directory.
#[derive(Clone)]
pub struct Mirror {
    db: Db,
}

impl std::fmt::Debug for Mirror {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mirror").finish_non_exhaustive()
    }
}

impl Mirror {
    /// Opens the mirror's database: `sqlite:PATH` or `postgres://…`.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn open(url: &str) -> Result<Self, DbError> {
        Ok(Self {
            db: schema::open(url).await?,
        })
    }

    /// Opens a database on SQLite whose work is done by whoever asks, without threads: for simulations. Here
    /// `sqlite::memory:` works too.
    ///
    /// # Errors
    /// What the database reports.
    pub fn open_inline(url: &str, options: Options) -> Result<Self, DbError> {
        Ok(Self {
            db: schema::open_inline(url, options)?,
        })
    }

    /// The database, for queries of your own on the tables `mirror_*`.
    pub fn db(&self) -> &Db {
        &self.db
    }

    /// Everything that is in the mirror.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn snapshot(&self) -> Result<Snapshot, DbError> {
        self.db.read(snapshot::read).await
    }

    /// Whether an event of this id was taken within the last week.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn has_received(&self, event_id: &str) -> Result<bool, DbError> {
        let event_id = event_id.to_owned();
        self.db
            .read(move |tx| Ok(remembered(tx, TAKEN_BY, &event_id)?.is_some()))
            .await
    }

    /// How much is in the mirror.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn counts(&self) -> Result<Counts, DbError> {
        self.db.read(snapshot::count).await
    }

    /// Up to `limit` users after an id (`""` to begin with), in the order of their ids.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn users(&self, after: &str, limit: u32) -> Result<Vec<(String, UserRow)>, DbError> {
        let after = after.to_owned();
        self.db
            .read(move |tx| snapshot::users(tx, &after, i64::from(limit)))
            .await
    }

    /// Finishes what is queued and closes the database.
    pub async fn close(self) {
        self.db.close().await;
    }
}

impl Process for Mirror {
    async fn process(&self, events: Vec<Event>, now: i64) -> Result<Vec<Outcome>, ProcessError> {
        let read = events
            .into_iter()
            .map(|event| {
                let record = Record::read(&event);
                (event, record)
            })
            .collect();
        schema::write_each(&self.db, read, now, move |tx, (event, record)| {
            take(tx, event, record, now)
        })
        .await
    }
}

fn take(
    tx: &mut Tx<'_>,
    event: &Event,
    record: &Result<Record, Outcome>,
    now: i64,
) -> Result<Outcome, DbError> {
    let record = match record {
        Ok(record) => record,
        // Its id may be unfit for the database.
        Err(outcome) => return Ok(outcome.clone()),
    };
    if let Some(outcome) = remembered(tx, TAKEN_BY, &event.event_id)? {
        return Ok(outcome);
    }
    let outcome = match record {
        Record::Test => Outcome::success(),
        Record::Unknown => Outcome::Skipped(String::new()),
        Record::User(kind, user) => rows::user(tx, *kind, user, event.event_time)?,
        Record::Unit(kind, unit) => rows::unit(tx, *kind, unit, event.event_time)?,
        Record::Group(kind, group) => rows::group(tx, *kind, group, event.event_time)?,
        Record::Inventory(record) => inventory::apply(tx, record, event.event_time, now)?,
    };
    remember(tx, TAKEN_BY, &event.event_id, &outcome, now)?;
    Ok(outcome)
}
