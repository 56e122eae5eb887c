//! The mirror: a copy of the directory, as far as the application may see it, in SQLite or PostgreSQL.
//!
//! All events of a request are applied in one transaction together with their ids and the answers, so
//! an event is applied exactly once whatever happens in between, and is answered alike however often it
//! comes. Records are read before anything is written: one that is malformed is answered *failed* and
//! does not concern the others.
//!
//! An event that is older than what is stored for its subject is acknowledged as `stale` and not
//! applied; of two with the same time the one that comes later wins. Subjects that were deleted keep
//! their id and time for that. Memberships of groups have a time for each pair of group and user, since
//! their events tell of some pairs only. Whatever the order in which a history of events with different
//! times arrives, the tables end up the same; `rows` has the rules.
//!
//! Passwords are not stored: only when the last one came.

use rollcall_db::{Db, DbError, Tx};
use rollcall_protocol::{
    Event, EventType, GroupPayload, PayloadError, SubjectKind, UnitPayload, UserPayload,
};

use crate::handler::Outcome;
use crate::receiver::{Process, ProcessError};
use crate::schema::{self, remember, remembered};

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

/// An event whose record is parsed, so that nothing malformed reaches the transaction.
enum Parsed {
    User(EventType, Box<UserPayload>),
    Unit(EventType, UnitPayload),
    Group(EventType, GroupPayload),
    /// Nothing is to be written.
    Answered(Outcome),
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
        let parsed: Vec<(Event, Parsed)> = events
            .into_iter()
            .map(|event| {
                let parsed =
                    parse(&event).unwrap_or_else(|error| Parsed::Answered(Outcome::malformed(&error)));
                (event, parsed)
            })
            .collect();
        self.db
            .write(move |tx| {
                schema::forget(tx, now)?;
                parsed
                    .iter()
                    .map(|(event, parsed)| take(tx, event, parsed, now))
                    .collect()
            })
            .await
            .map_err(|error: DbError| ProcessError(error.to_string()))
    }
}

fn parse(event: &Event) -> Result<Parsed, PayloadError> {
    let Some(kind) = event.kind() else {
        return Ok(Parsed::Answered(Outcome::Skipped(String::new())));
    };
    if matches!(kind, EventType::UnitAddUser | EventType::UnitRemoveUser) {
        // The wire contract gives no record for these; the users' own events say the same.
        return Ok(Parsed::Answered(Outcome::Skipped(String::new())));
    }
    Ok(match kind.subject_kind() {
        None => Parsed::Answered(Outcome::success()),
        Some(SubjectKind::User) => Parsed::User(kind, Box::new(UserPayload::from_json(&event.biz_data)?)),
        Some(SubjectKind::Unit) => Parsed::Unit(kind, UnitPayload::from_json(&event.biz_data)?),
        Some(SubjectKind::Group) => Parsed::Group(kind, GroupPayload::from_json(&event.biz_data)?),
    })
}

fn take(tx: &mut Tx<'_>, event: &Event, parsed: &Parsed, now: i64) -> Result<Outcome, DbError> {
    if let Some(outcome) = remembered(tx, TAKEN_BY, &event.event_id)? {
        return Ok(outcome);
    }
    let outcome = match parsed {
        Parsed::Answered(outcome) => outcome.clone(),
        Parsed::User(kind, user) => rows::user(tx, *kind, user, event.event_time)?,
        Parsed::Unit(kind, unit) => rows::unit(tx, *kind, unit, event.event_time)?,
        Parsed::Group(kind, group) => rows::group(tx, *kind, group, event.event_time)?,
    };
    remember(tx, TAKEN_BY, &event.event_id, &outcome, now)?;
    Ok(outcome)
}
