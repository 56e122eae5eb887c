//! The mirror: a copy of the directory, as far as the application may see it, in SQLite or PostgreSQL.
//!
//! All events of a request are applied in one transaction together with their ids, so an event is
//! applied exactly once whatever happens in between. An event that is older than what is stored for
//! its subject is acknowledged and not applied; subjects that were deleted keep their id and time for
//! that. Memberships of groups have a time for each pair of group and user, since their events tell of
//! some pairs only.
//!
//! Passwords are not stored: only when the last one came.

use rollcall_db::{Db, DbError, Tx, params};
use rollcall_protocol::{
    Event, EventType, GroupPayload, PayloadError, SubjectKind, UnitPayload, UserPayload, UserStatus,
};

use crate::handler::Outcome;
use crate::receiver::{Process, ProcessError};
use crate::schema;

mod snapshot;

pub use snapshot::{Counts, GroupRow, Snapshot, UnitRow, UserRow};

/// How long event ids are remembered, in milliseconds: a week. An envelope is valid for half an hour.
const REMEMBERED: i64 = 7 * 24 * 3_600_000;

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
            .read(move |tx| {
                let sql = "SELECT event_id FROM received_events WHERE event_id = $1";
                Ok(tx.query_opt(sql, params![event_id.as_str()])?.is_some())
            })
            .await
    }

    /// How much is in the mirror.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn counts(&self) -> Result<Counts, DbError> {
        self.db.read(snapshot::count).await
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
                tx.execute(
                    "DELETE FROM received_events WHERE received_at < $1",
                    params![now - REMEMBERED],
                )?;
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
    if let Parsed::Answered(outcome) = parsed {
        return Ok(outcome.clone());
    }
    let is_new = tx.execute(
        "INSERT INTO received_events (event_id, received_at) VALUES ($1, $2) ON CONFLICT (event_id) DO NOTHING",
        params![event.event_id.as_str(), now],
    )? > 0;
    if !is_new {
        return Ok(Outcome::Success("applied before".to_owned()));
    }
    let time = event.event_time;
    let applied = match parsed {
        Parsed::User(EventType::UserDelete, user) => delete_user(tx, &user.user_id, time)?,
        Parsed::User(kind, user) => put_user(tx, user, *kind, time)?,
        Parsed::Unit(EventType::UnitDelete, unit) => delete_unit(tx, &unit.unit_id, time)?,
        Parsed::Unit(_, unit) => put_unit(tx, unit, time)?,
        Parsed::Group(EventType::GroupDelete, group) => delete_group(tx, &group.group_id, time)?,
        Parsed::Group(EventType::GroupAddUser, group) => set_members(tx, group, true, time)?,
        Parsed::Group(EventType::GroupRemoveUser, group) => set_members(tx, group, false, time)?,
        Parsed::Group(_, group) => put_group(tx, group, time)?,
        Parsed::Answered(_) => true,
    };
    Ok(Outcome::Success(if applied {
        String::new()
    } else {
        "older than what is stored".to_owned()
    }))
}

fn put_user(tx: &mut Tx<'_>, user: &UserPayload, kind: EventType, time: i64) -> Result<bool, DbError> {
    let password_time = (kind == EventType::UserUpdatePassword || user.password.is_some()).then_some(time);
    let applied = tx.execute(
        "INSERT INTO mirror_users (user_id, event_time, deleted, username, display_name, email, phone_region,
                                   phone_number, status, external_id, description, account_expire_time,
                                   lock_expire_time, password_event_time)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
         ON CONFLICT (user_id) DO UPDATE
         SET event_time = excluded.event_time, deleted = excluded.deleted, username = excluded.username,
             display_name = excluded.display_name, email = excluded.email,
             phone_region = excluded.phone_region, phone_number = excluded.phone_number,
             status = excluded.status, external_id = excluded.external_id,
             description = excluded.description, account_expire_time = excluded.account_expire_time,
             lock_expire_time = excluded.lock_expire_time,
             password_event_time = COALESCE(excluded.password_event_time, mirror_users.password_event_time)
         WHERE mirror_users.event_time <= excluded.event_time",
        params![
            user.user_id.as_str(),
            time,
            false,
            user.username.as_deref(),
            user.display_name.as_deref(),
            user.email.as_deref(),
            user.phone_region.as_deref(),
            user.phone_number.as_deref(),
            user.status.map(UserStatus::as_str),
            user.external_id.as_deref(),
            user.description.as_deref(),
            user.account_expire_time,
            user.lock_expire_time,
            password_time
        ],
    )? > 0;
    if applied {
        tx.execute(
            "DELETE FROM mirror_memberships WHERE user_id = $1",
            params![user.user_id.as_str()],
        )?;
        for unit in &user.units {
            tx.execute(
                "INSERT INTO mirror_memberships (user_id, unit_id, is_primary) VALUES ($1, $2, $3)
                 ON CONFLICT (user_id, unit_id) DO NOTHING",
                params![user.user_id.as_str(), unit.id.as_str(), unit.primary],
            )?;
        }
    }
    Ok(applied)
}

fn delete_user(tx: &mut Tx<'_>, user_id: &str, time: i64) -> Result<bool, DbError> {
    // The personal data goes at once; the id and the time stay.
    let applied = tx.execute(
        "INSERT INTO mirror_users (user_id, event_time, deleted) VALUES ($1, $2, $3)
         ON CONFLICT (user_id) DO UPDATE
         SET event_time = excluded.event_time, deleted = excluded.deleted, username = NULL,
             display_name = NULL, email = NULL, phone_region = NULL, phone_number = NULL, status = NULL,
             external_id = NULL, description = NULL, account_expire_time = NULL, lock_expire_time = NULL,
             password_event_time = NULL
         WHERE mirror_users.event_time <= excluded.event_time",
        params![user_id, time, true],
    )? > 0;
    if applied {
        tx.execute(
            "DELETE FROM mirror_memberships WHERE user_id = $1",
            params![user_id],
        )?;
        tx.execute(
            "UPDATE mirror_group_members SET present = $2, event_time = $3
             WHERE user_id = $1 AND event_time <= $3",
            params![user_id, false, time],
        )?;
    }
    Ok(applied)
}

fn put_unit(tx: &mut Tx<'_>, unit: &UnitPayload, time: i64) -> Result<bool, DbError> {
    Ok(tx.execute(
        "INSERT INTO mirror_organizational_units (unit_id, event_time, deleted, parent_id, name, external_id,
                                                  description)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (unit_id) DO UPDATE
         SET event_time = excluded.event_time, deleted = excluded.deleted, parent_id = excluded.parent_id,
             name = excluded.name, external_id = excluded.external_id, description = excluded.description
         WHERE mirror_organizational_units.event_time <= excluded.event_time",
        params![
            unit.unit_id.as_str(),
            time,
            false,
            unit.parent_id.as_deref(),
            unit.name.as_deref(),
            unit.external_id.as_deref(),
            unit.description.as_deref()
        ],
    )? > 0)
}

fn delete_unit(tx: &mut Tx<'_>, unit_id: &str, time: i64) -> Result<bool, DbError> {
    Ok(tx.execute(
        "INSERT INTO mirror_organizational_units (unit_id, event_time, deleted) VALUES ($1, $2, $3)
         ON CONFLICT (unit_id) DO UPDATE
         SET event_time = excluded.event_time, deleted = excluded.deleted, parent_id = NULL, name = NULL,
             external_id = NULL, description = NULL
         WHERE mirror_organizational_units.event_time <= excluded.event_time",
        params![unit_id, time, true],
    )? > 0)
}

fn put_group(tx: &mut Tx<'_>, group: &GroupPayload, time: i64) -> Result<bool, DbError> {
    Ok(tx.execute(
        "INSERT INTO mirror_groups (group_id, event_time, deleted, name, external_id, description)
         VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (group_id) DO UPDATE
         SET event_time = excluded.event_time, deleted = excluded.deleted, name = excluded.name,
             external_id = excluded.external_id, description = excluded.description
         WHERE mirror_groups.event_time <= excluded.event_time",
        params![
            group.group_id.as_str(),
            time,
            false,
            group.name.as_deref(),
            group.external_id.as_deref(),
            group.description.as_deref()
        ],
    )? > 0)
}

fn delete_group(tx: &mut Tx<'_>, group_id: &str, time: i64) -> Result<bool, DbError> {
    let applied = tx.execute(
        "INSERT INTO mirror_groups (group_id, event_time, deleted) VALUES ($1, $2, $3)
         ON CONFLICT (group_id) DO UPDATE
         SET event_time = excluded.event_time, deleted = excluded.deleted, name = NULL, external_id = NULL,
             description = NULL
         WHERE mirror_groups.event_time <= excluded.event_time",
        params![group_id, time, true],
    )? > 0;
    if applied {
        tx.execute(
            "UPDATE mirror_group_members SET present = $2, event_time = $3
             WHERE group_id = $1 AND event_time <= $3",
            params![group_id, false, time],
        )?;
    }
    Ok(applied)
}

fn set_members(tx: &mut Tx<'_>, group: &GroupPayload, present: bool, time: i64) -> Result<bool, DbError> {
    for user_id in group.user_ids.iter().flatten() {
        tx.execute(
            "INSERT INTO mirror_group_members (group_id, user_id, event_time, present) VALUES ($1, $2, $3, $4)
             ON CONFLICT (group_id, user_id) DO UPDATE
             SET event_time = excluded.event_time, present = excluded.present
             WHERE mirror_group_members.event_time <= excluded.event_time",
            params![group.group_id.as_str(), user_id.as_str(), time, present],
        )?;
    }
    Ok(true)
}
