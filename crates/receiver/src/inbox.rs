//! The durable inbox: store, acknowledge, process afterwards.
//!
//! An event is acknowledged once it is stored; from then on it is the inbox's. A worker hands events
//! to the [`Handler`], in order for each subject. If the handler asks for another try, the event waits
//! with growing pauses, and later events of its subject wait behind it; after ten tries it is set aside
//! as failed, and they go on. It stays visible ([`Inbox::failed`]) until somebody has it tried again or
//! dismisses it.
//!
//! A record that cannot be read or stored is answered *failed* at once. If the hub sends an event again
//! that was set aside, the handler gets it again. An event that is older than the newest one
//! handled for its subject is not handed on. Events of group membership tell of some members only: each
//! of them has a time of its own, and the handler gets those for whom the event is news. An inventory is
//! handed on once everything before it is done with or set aside; `news` says more.
//!
//! Storing is exactly once for each event id. If the process dies after the handler has done its work
//! and before that is noted, the handler sees the event again: make its work idempotent, or keep the
//! event's id with it. Records, which may hold passwords, are erased once an event is done with.

use std::sync::Arc;
use std::time::Duration;

use rollcall_db::{Db, DbError, Options, Row, Tx, params};
use rollcall_protocol::{Event, EventType};
use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::handler::{Handler, Outcome, dispatch};
use crate::receiver::{Clock, Process, ProcessError, system_clock};
use crate::record::Record;
use crate::schema::{self, remember, remembered};

mod news;

/// The name under which events are remembered.
const TAKEN_BY: &str = "inbox";

/// How patient the inbox is.
#[derive(Clone)]
pub struct InboxOptions {
    /// How often an event is handed to the handler before it is set aside.
    pub tries: u32,
    /// The pause after the first failure; it doubles with each further one.
    pub first_pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
    /// How long the handler may take for one event.
    pub handle_within: Duration,
    /// Tells the time.
    pub clock: Clock,
}

impl Default for InboxOptions {
    fn default() -> Self {
        Self {
            tries: 10,
            first_pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(300),
            handle_within: Duration::from_secs(60),
            clock: system_clock(),
        }
    }
}

/// How many events are in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct InboxCounts {
    /// Waiting for the handler.
    pub pending: u64,
    /// Handled, skipped or stale.
    pub done: u64,
    /// Set aside.
    pub failed: u64,
}

/// An event that was set aside.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct FailedEvent {
    /// The event.
    pub event_id: String,
    /// Its type, as it stands on the wire.
    pub event_type: String,
    /// What it is about.
    pub biz_id: String,
    /// How often it was tried.
    pub attempts: u32,
    /// What the handler said last.
    pub message: String,
}

/// Stores events and processes them afterwards. Dropping it stops the worker at once, as a crash would;
/// better [`Inbox::close`] it.
pub struct Inbox {
    db: Db,
    wake: Arc<Notify>,
    stop: watch::Sender<bool>,
    worker: JoinHandle<()>,
}

impl std::fmt::Debug for Inbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inbox").finish_non_exhaustive()
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.worker.abort();
    }
}

struct Stored {
    id: i64,
    attempts: u32,
    event: Event,
}

impl Inbox {
    /// Opens the inbox's database (`sqlite:PATH` or `postgres://…`) and starts to process what is in
    /// it. One process at a time may use it.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn open<H: Handler + 'static>(
        url: &str,
        handler: H,
        options: InboxOptions,
    ) -> Result<Self, DbError> {
        Ok(Self::start(schema::open(url).await?, handler, options))
    }

    /// Opens a database on SQLite whose work is done by whoever asks, without threads: for simulations. The worker is
    /// a task of the asynchronous runtime at hand.
    ///
    /// # Errors
    /// What the database reports.
    pub fn open_inline<H: Handler + 'static>(
        url: &str,
        handler: H,
        options: InboxOptions,
        database: Options,
    ) -> Result<Self, DbError> {
        Ok(Self::start(schema::open_inline(url, database)?, handler, options))
    }

    fn start<H: Handler + 'static>(db: Db, handler: H, options: InboxOptions) -> Self {
        let wake = Arc::new(Notify::new());
        let (stop, stopped) = watch::channel(false);
        let worker = tokio::spawn(work(
            db.clone(),
            Arc::new(handler),
            options,
            Arc::clone(&wake),
            stopped,
        ));
        Self {
            db,
            wake,
            stop,
            worker,
        }
    }

    /// How many events are in which state.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn counts(&self) -> Result<InboxCounts, DbError> {
        self.db
            .read(|tx| {
                let mut counts = InboxCounts::default();
                for row in tx.query(
                    "SELECT state, COUNT(*) FROM inbox_events GROUP BY state",
                    params![],
                )? {
                    let count = row.get::<i64>(1)?.cast_unsigned();
                    match row.get::<String>(0)?.as_str() {
                        "pending" => counts.pending = count,
                        "failed" => counts.failed = count,
                        _ => counts.done = count,
                    }
                }
                Ok(counts)
            })
            .await
    }

    /// The events that are set aside, oldest first.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn failed(&self) -> Result<Vec<FailedEvent>, DbError> {
        self.db
            .read(|tx| {
                tx.query(
                    "SELECT event_id, event_type, biz_id, attempts, message FROM inbox_events
                     WHERE state = 'failed' ORDER BY id",
                    params![],
                )?
                .iter()
                .map(|row| {
                    Ok(FailedEvent {
                        event_id: row.get(0)?,
                        event_type: row.get(1)?,
                        biz_id: row.get(2)?,
                        attempts: u32::try_from(row.get::<i64>(3)?).unwrap_or(u32::MAX),
                        message: row.get::<Option<String>>(4)?.unwrap_or_default(),
                    })
                })
                .collect()
            })
            .await
    }

    /// Gives up an event that was set aside, and erases its record. Says whether there was one.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn dismiss(&self, event_id: &str) -> Result<bool, DbError> {
        let event_id = event_id.to_owned();
        self.db
            .write(move |tx| {
                let gone = tx.execute(
                    "DELETE FROM inbox_events WHERE event_id = $1 AND state = 'failed'",
                    params![event_id.as_str()],
                )?;
                Ok(gone > 0)
            })
            .await
    }

    /// Hands the events that were set aside to the handler again.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn retry_failed(&self) -> Result<u64, DbError> {
        let count = self
            .db
            .write(|tx| {
                tx.execute(
                    "UPDATE inbox_events SET state = 'pending', attempts = 0, next_try = 0 WHERE state = 'failed'",
                    params![],
                )
            })
            .await;
        self.wake.notify_one();
        count
    }

    /// Lets the handler finish the event that it has, and closes the database.
    pub async fn close(mut self) {
        self.stop.send_replace(true);
        if let Err(error) = (&mut self.worker).await {
            tracing::error!(%error, "the inbox's worker failed");
        }
        self.db.clone().close().await;
    }
}

impl Process for Inbox {
    async fn process(&self, events: Vec<Event>, now: i64) -> Result<Vec<Outcome>, ProcessError> {
        let read = events
            .into_iter()
            .map(|event| {
                let record = Record::read(&event);
                (event, record)
            })
            .collect();
        let outcomes = schema::write_each(&self.db, read, now, move |tx, (event, record)| {
            store(tx, event, record, now)
        })
        .await;
        self.wake.notify_one();
        outcomes
    }
}

fn store(
    tx: &mut Tx<'_>,
    event: &Event,
    record: &Result<Record, Outcome>,
    now: i64,
) -> Result<Outcome, DbError> {
    let record = match record {
        Ok(Record::Test) => return Ok(Outcome::success()),
        Ok(record) => record,
        Err(outcome) => return Ok(outcome.clone()),
    };
    if let Some(outcome) = remembered(tx, TAKEN_BY, &event.event_id)? {
        // What the handler had refused is tried again: somebody has wished for it at the hub.
        tx.execute(
            "UPDATE inbox_events SET state = 'pending', attempts = 0, next_try = 0
             WHERE event_id = $1 AND state = 'failed'",
            params![event.event_id.as_str()],
        )?;
        return Ok(outcome);
    }
    let subject = record.subject().unwrap_or(&event.biz_id);
    let outcome = Outcome::Success("stored".to_owned());
    remember(tx, TAKEN_BY, &event.event_id, &outcome, now)?;
    tx.execute(
        "INSERT INTO inbox_events (event_id, event_type, event_time, biz_id, biz_data, state, attempts, next_try,
                                   received_at)
         VALUES ($1, $2, $3, $4, $5, 'pending', 0, 0, $6)",
        params![
            event.event_id.as_str(),
            event.event_type.as_str(),
            event.event_time,
            subject,
            event.biz_data.as_str(),
            now
        ],
    )?;
    Ok(outcome)
}

/// The oldest event of each subject whose time has come. An inventory is of many subjects: it waits for
/// all that came before it.
///
/// None waits longer than the longest pause, also if the clock was set back after it had begun to wait.
fn due(tx: &mut Tx<'_>, now: i64, longest_pause: i64) -> Result<Vec<Stored>, DbError> {
    tx.query(
        "SELECT e.id, e.attempts, e.event_id, e.event_type, e.event_time, e.biz_id, e.biz_data
         FROM inbox_events e
         WHERE e.state = 'pending' AND (e.next_try <= $1 OR e.next_try > $3)
           AND NOT EXISTS (SELECT 1 FROM inbox_events o
                           WHERE o.biz_id = e.biz_id AND o.id < e.id AND o.state = 'pending')
           AND (e.event_type <> $2
                OR NOT EXISTS (SELECT 1 FROM inbox_events o WHERE o.id < e.id AND o.state = 'pending'))
         ORDER BY e.id LIMIT 100",
        params![now, EventType::Inventory.urn(), now.saturating_add(longest_pause)],
    )?
    .iter()
    .map(|row: &Row| {
        Ok(Stored {
            id: row.get(0)?,
            attempts: u32::try_from(row.get::<i64>(1)?).unwrap_or(u32::MAX),
            event: Event {
                event_id: row.get(2)?,
                event_type: row.get(3)?,
                event_time: row.get(4)?,
                biz_id: row.get(5)?,
                biz_data: row.get(6)?,
            },
        })
    })
    .collect()
}

async fn work<H: Handler + 'static>(
    db: Db,
    handler: Arc<H>,
    options: InboxOptions,
    wake: Arc<Notify>,
    mut stopped: watch::Receiver<bool>,
) {
    let longest_pause = millis(options.longest_pause);
    loop {
        let now = (options.clock)();
        let events = db
            .read(move |tx| due(tx, now, longest_pause))
            .await
            .unwrap_or_else(|error| {
                tracing::warn!(%error, "the inbox cannot be read; trying again");
                Vec::new()
            });
        let mut idle = events.is_empty();
        for stored in events {
            if *stopped.borrow() {
                return;
            }
            if let Err(error) = handle(&db, &handler, &options, stored).await {
                tracing::warn!(%error, "the inbox cannot be written; the event will be handled again");
                // Not at once: a disk that is full stays so for a while.
                idle = true;
                break;
            }
        }
        if idle {
            tokio::select! {
                _ = stopped.wait_for(|stopped| *stopped) => return,
                () = wake.notified() => {}
                () = tokio::time::sleep(options.first_pause.min(Duration::from_secs(1))) => {}
            }
        }
    }
}

fn millis(pause: Duration) -> i64 {
    i64::try_from(pause.as_millis()).unwrap_or(i64::MAX)
}

async fn handle<H: Handler + 'static>(
    db: &Db,
    handler: &Arc<H>,
    options: &InboxOptions,
    stored: Stored,
) -> Result<(), DbError> {
    let news = {
        let (event, number) = (stored.event.clone(), stored.id);
        db.read(move |tx| news::look(tx, &event, number)).await?
    };
    let outcome = match news.event {
        None => Outcome::stale(),
        Some(event) => attempt(handler, event, options.handle_within).await,
    };
    let handled = matches!(outcome, Outcome::Success(_));
    let event = &stored.event;
    let attempts = stored.attempts + 1;
    let (state, message) = match outcome {
        Outcome::Success(message) | Outcome::Skipped(message) => ("done", message),
        Outcome::Failed { code, message } => ("failed", format!("{code}: {message}")),
        Outcome::Retry { code, message } if attempts >= options.tries => {
            ("failed", format!("{code}: {message}"))
        }
        Outcome::Retry { code, message } => ("pending", format!("{code}: {message}")),
    };
    let pause = options
        .first_pause
        .saturating_mul(1 << (attempts - 1).min(20))
        .min(options.longest_pause);
    let now = (options.clock)();
    let next_try = now.saturating_add(millis(pause));
    if state == "failed" {
        tracing::error!(event_id = event.event_id, message, "an event is set aside");
    }
    let at = news::Moment {
        time: event.event_time,
        stored: stored.id,
    };
    let subjects = news.subjects;
    let inventory = news.inventory.filter(|_| handled);
    db.write(move |tx| {
        if state == "done" {
            // The event's id is remembered elsewhere; the record may have held a password.
            tx.execute(
                "UPDATE inbox_events SET state = $2, attempts = $3, message = $4, biz_data = '' WHERE id = $1",
                params![stored.id, state, i64::from(attempts), message.as_str()],
            )?;
            if let Some(inventory) = &inventory {
                news::note_inventory(tx, inventory, at, now)?;
            }
            subjects.iter().try_for_each(|subject| subject.note(tx, at))
        } else {
            tx.execute(
                "UPDATE inbox_events SET state = $2, attempts = $3, next_try = $4, message = $5 WHERE id = $1",
                params![stored.id, state, i64::from(attempts), next_try, message.as_str()],
            )
            .map(drop)
        }
    })
    .await
}

/// Calls the handler on a task of its own, so that a panic asks for another try like an error does.
async fn attempt<H: Handler + 'static>(handler: &Arc<H>, event: Event, within: Duration) -> Outcome {
    let handler = Arc::clone(handler);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { tokio::time::timeout(within, dispatch(&*handler, &event)).await });
    match tasks.join_next().await {
        Some(Ok(Ok(outcome))) => outcome,
        Some(Ok(Err(_))) => Outcome::exception(format!("it took longer than {} s", within.as_secs())),
        Some(Err(_)) | None => Outcome::exception("it panicked"),
    }
}
