//! Parked events: the few that stand outside the cursor.
//!
//! An application may ask for an event again (`retriedEvents`). The cursor does not wait for it; the
//! event is parked and tried again with growing pauses. Later events of the same subject must not
//! overtake it, so they are parked behind it as *held*. After five tries an event is set aside as
//! *failed*: visible, and to be sent again by hand. Then the held ones go on, in their order.

use std::collections::{HashMap, VecDeque};

use rollcall_db::{DbError, Row, Tx, params};
use rollcall_protocol::EventType;
use serde::Serialize;

use crate::application::Entitlements;
use crate::change::{self, Seq};
use crate::clock::Millis;

/// Why an event is parked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ParkedState {
    /// The application asked for it again.
    Retrying,
    /// It waits behind another event of its subject.
    Held,
    /// It is set aside until somebody sends it again.
    Failed,
}

impl ParkedState {
    fn as_str(self) -> &'static str {
        match self {
            Self::Retrying => "retrying",
            Self::Held => "held",
            Self::Failed => "failed",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Retrying, Self::Held, Self::Failed]
            .into_iter()
            .find(|state| state.as_str() == text)
    }
}

/// A parked event.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Parked {
    /// The event's id.
    pub event_id: String,
    /// Its type.
    #[serde(serialize_with = "as_short")]
    pub event_type: EventType,
    /// Whom it concerns.
    pub subject_id: String,
    /// The change that it comes from; `None` for an event of a synchronization job.
    pub seq: Option<Seq>,
    /// The event's time.
    pub event_time: Millis,
    /// The record of an event that comes from a job.
    #[serde(skip)]
    pub record: Option<String>,
    /// Why it is parked.
    pub state: ParkedState,
    /// How often it was sent.
    pub attempts: u32,
    /// When it is sent again.
    pub next_try: Millis,
    /// What the application answered.
    pub code: Option<String>,
    /// What the application said about it.
    pub message: Option<String>,
}

fn as_short<S: serde::Serializer>(event: &EventType, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(event.short())
}

/// The parked events of an application that still wait, by subject, in their order.
#[derive(Clone, Debug, Default)]
pub struct Waiting(HashMap<String, VecDeque<Parked>>);

impl Waiting {
    /// Reads them.
    ///
    /// # Errors
    /// What the database reports.
    pub fn load(tx: &mut Tx<'_>, application_id: &str) -> Result<Self, DbError> {
        let mut waiting = Self::default();
        for parked in list(tx, application_id)? {
            if parked.state != ParkedState::Failed {
                waiting.push(parked);
            }
        }
        Ok(waiting)
    }

    /// Adds an event behind those of its subject.
    pub fn push(&mut self, parked: Parked) {
        self.0
            .entry(parked.subject_id.clone())
            .or_default()
            .push_back(parked);
    }

    /// Whether events of this subject must wait.
    pub fn blocks(&self, subject_id: &str) -> bool {
        !self.0.is_empty() && self.0.contains_key(subject_id)
    }

    /// The events whose time has come, at most one of each subject.
    pub fn due(&self, now: Millis, limit: usize) -> Vec<Parked> {
        let mut due: Vec<_> = self
            .0
            .values()
            .filter_map(VecDeque::front)
            .filter(|parked| parked.next_try <= now)
            .cloned()
            .collect();
        due.sort_by(|a, b| (a.event_time, a.seq, &a.event_id).cmp(&(b.event_time, b.seq, &b.event_id)));
        due.truncate(limit);
        due
    }

    /// When the next event is due.
    pub fn next_due(&self) -> Option<Millis> {
        self.0
            .values()
            .filter_map(VecDeque::front)
            .map(|parked| parked.next_try)
            .min()
    }

    /// Takes away the first event of a subject; the one behind it, if any, is due now and returned.
    pub fn release(&mut self, subject_id: &str, now: Millis) -> Option<Parked> {
        let queue = self.0.get_mut(subject_id)?;
        queue.pop_front();
        let Some(next) = queue.front_mut() else {
            self.0.remove(subject_id);
            return None;
        };
        next.state = ParkedState::Retrying;
        next.next_try = now;
        Some(next.clone())
    }

    /// Notes another try of the first event of a subject.
    pub fn postpone(&mut self, parked: &Parked) {
        if let Some(front) = self.0.get_mut(&parked.subject_id).and_then(VecDeque::front_mut) {
            *front = parked.clone();
        }
    }
}

/// Stores a parked event, or what has become of it.
///
/// # Errors
/// What the database reports.
pub fn store(tx: &mut Tx<'_>, application_id: &str, parked: &Parked) -> Result<(), DbError> {
    tx.execute(
        "INSERT INTO parked_events (application_id, subject_id, event_id, event_type, seq, event_time,
                                    record, state, attempts, next_try, code, message)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
         ON CONFLICT (application_id, event_id) DO UPDATE
         SET state = excluded.state, attempts = excluded.attempts, next_try = excluded.next_try,
             code = excluded.code, message = excluded.message",
        params![
            application_id,
            parked.subject_id.as_str(),
            parked.event_id.as_str(),
            parked.event_type.short(),
            parked.seq,
            parked.event_time,
            parked.record.as_deref(),
            parked.state.as_str(),
            i64::from(parked.attempts),
            parked.next_try,
            parked.code.as_deref(),
            parked.message.as_deref()
        ],
    )?;
    Ok(())
}

/// Forgets a parked event.
///
/// # Errors
/// What the database reports.
pub fn remove(tx: &mut Tx<'_>, application_id: &str, event_id: &str) -> Result<(), DbError> {
    tx.execute(
        "DELETE FROM parked_events WHERE application_id = $1 AND event_id = $2",
        params![application_id, event_id],
    )?;
    Ok(())
}

/// All parked events of an application, in the order in which they were parked.
///
/// # Errors
/// What the database reports.
pub fn list(tx: &mut Tx<'_>, application_id: &str) -> Result<Vec<Parked>, DbError> {
    tx.query(
        "SELECT event_id, event_type, subject_id, seq, event_time, record, state, attempts, next_try,
                code, message
         FROM parked_events WHERE application_id = $1 ORDER BY id",
        params![application_id],
    )?
    .iter()
    .map(from_row)
    .collect()
}

/// What became of the events that were to be sent again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Resent {
    /// They are sent again now.
    pub queued: u32,
    /// A later event of the same subject was delivered meanwhile, which says more than they do;
    /// sending them would turn the subject's clock back. They are forgotten.
    pub superseded: u32,
}

/// Sends events that were set aside as failed again: one, or all of an application.
///
/// # Errors
/// What the database reports.
pub fn resend(
    tx: &mut Tx<'_>,
    application_id: &str,
    event_id: Option<&str>,
    cursor: Seq,
    now: Millis,
) -> Result<Resent, DbError> {
    let mut resent = Resent::default();
    let entitlements = Entitlements::load(tx, application_id)?;
    let all = list(tx, application_id)?;
    for parked in &all {
        if parked.state != ParkedState::Failed || event_id.is_some_and(|id| id != parked.event_id) {
            continue;
        }
        let later_delivered = change::of_subject(tx, &parked.subject_id)?.iter().any(|change| {
            change.seq <= cursor
                && parked
                    .seq
                    .map_or(change.time > parked.event_time, |seq| change.seq > seq)
                && entitlements.at(change.seq).event_for(change).is_some()
                && !all.iter().any(|other| other.event_id == change.event_id)
        });
        if later_delivered {
            remove(tx, application_id, &parked.event_id)?;
            resent.superseded += 1;
        } else {
            let again = Parked {
                state: ParkedState::Retrying,
                attempts: 0,
                next_try: now,
                ..parked.clone()
            };
            store(tx, application_id, &again)?;
            resent.queued += 1;
        }
    }
    crate::application::store::touch(tx, application_id)?;
    Ok(resent)
}

fn from_row(row: &Row) -> Result<Parked, DbError> {
    let unreadable = |what: &str| DbError::Other(format!("a parked event has an unreadable {what}"));
    Ok(Parked {
        event_id: row.get(0)?,
        event_type: EventType::parse(&row.get::<String>(1)?).ok_or_else(|| unreadable("type"))?,
        subject_id: row.get(2)?,
        seq: row.get(3)?,
        event_time: row.get(4)?,
        record: row.get(5)?,
        state: ParkedState::parse(&row.get::<String>(6)?).ok_or_else(|| unreadable("state"))?,
        attempts: u32::try_from(row.get::<i64>(7)?).unwrap_or(u32::MAX),
        next_try: row.get(8)?,
        code: row.get(9)?,
        message: row.get(10)?,
    })
}
