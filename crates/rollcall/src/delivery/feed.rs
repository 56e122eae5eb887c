//! The log, read once for all applications.
//!
//! One task follows the log and keeps its newest changes in memory. Applications that are caught up
//! take them from there; those that lag behind what is kept read the database themselves, each at its
//! own pace.
//!
//! A [`Tick`] says how far the log and the applications' settings had come in one snapshot. Whoever
//! has looked at the settings of a tick may judge the changes up to the tick's head: a change that was
//! committed after a change of settings never comes with a tick that hides it.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rollcall_db::{Db, DbError};
use tokio::sync::watch;

use crate::change::{self, Change, Seq};
use crate::instance;

/// How many changes are kept in memory.
const KEPT: usize = 4_096;
/// How many bytes of records are kept in memory.
const KEPT_BYTES: usize = 16 << 20;
/// How many changes one read takes.
const PAGE: usize = 512;

/// How far the log and the settings have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick {
    /// The last change.
    pub head: Seq,
    /// See [`instance::applications_version`].
    pub applications: i64,
}

/// The newest changes, and news of more.
#[derive(Debug)]
pub struct Feed {
    db: Db,
    poll: Duration,
    window: RwLock<Window>,
    tick: watch::Sender<Tick>,
}

#[derive(Debug)]
struct Window {
    /// The position before the first change that is kept.
    after: Seq,
    changes: VecDeque<Arc<Change>>,
    bytes: usize,
}

impl Feed {
    /// Begins at the log's present end. Changes that other processes commit are noticed by looking
    /// every `poll`.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn start(db: Db, poll: Duration) -> Result<Arc<Self>, DbError> {
        let tick = db.read(read_tick).await?;
        let window = Window {
            after: tick.head,
            changes: VecDeque::new(),
            bytes: 0,
        };
        Ok(Arc::new(Self {
            db,
            poll,
            window: RwLock::new(window),
            tick: watch::Sender::new(tick),
        }))
    }

    /// News of the log and of the settings.
    pub fn ticks(&self) -> watch::Receiver<Tick> {
        self.tick.subscribe()
    }

    /// How far the log and the settings have come.
    pub fn now(&self) -> Tick {
        *self.tick.borrow()
    }

    /// Follows the log until `stopped` says so.
    pub async fn follow(self: Arc<Self>, mut stopped: watch::Receiver<bool>) {
        let mut announcements = self.db.announcements();
        loop {
            if let Err(error) = self.catch_up().await {
                tracing::warn!(%error, "the change log cannot be read; trying again");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            tokio::select! {
                _ = stopped.wait_for(|stopped| *stopped) => return,
                changed = announcements.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(self.poll) => {}
            }
        }
    }

    async fn catch_up(&self) -> Result<(), DbError> {
        loop {
            let known = self.now().head;
            let (tick, changes) = self
                .db
                .read(move |tx| {
                    let tick = read_tick(tx)?;
                    let changes = if tick.head > known {
                        change::read_after(tx, known, PAGE)?
                    } else {
                        Vec::new()
                    };
                    Ok::<_, DbError>((tick, changes))
                })
                .await?;
            let read_to = changes.last().map_or(known, |change| change.seq);
            let more = read_to < tick.head;
            self.keep(changes);
            // While there is more to read, the settings of this snapshot may be newer than the changes
            // read so far; that order is the safe one.
            let tick = Tick {
                head: read_to,
                applications: tick.applications,
            };
            self.tick
                .send_if_modified(|current| std::mem::replace(current, tick) != tick);
            if !more {
                return Ok(());
            }
        }
    }

    fn keep(&self, changes: Vec<Change>) {
        let mut window = self.window.write().unwrap_or_else(PoisonError::into_inner);
        for change in changes {
            window.bytes += change.record.len();
            window.changes.push_back(Arc::new(change));
        }
        while window.changes.len() > KEPT || window.bytes > KEPT_BYTES {
            let Some(oldest) = window.changes.pop_front() else {
                break;
            };
            window.bytes -= oldest.record.len();
            window.after = oldest.seq;
        }
    }

    /// Up to `limit` changes after a position, in order, from memory if they are there.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn after(&self, position: Seq, limit: usize) -> Result<Vec<Arc<Change>>, DbError> {
        if let Some(changes) = self.kept_after(position, limit) {
            return Ok(changes);
        }
        self.db
            .read(move |tx| change::read_after(tx, position, limit))
            .await
            .map(|changes| changes.into_iter().map(Arc::new).collect())
    }

    fn kept_after(&self, position: Seq, limit: usize) -> Option<Vec<Arc<Change>>> {
        let window = self.window.read().unwrap_or_else(PoisonError::into_inner);
        let skip = usize::try_from(position - window.after).ok()?;
        Some(window.changes.iter().skip(skip).take(limit).cloned().collect())
    }
}

fn read_tick(tx: &mut rollcall_db::Tx<'_>) -> Result<Tick, DbError> {
    Ok(Tick {
        head: change::head(tx)?.seq,
        applications: instance::applications_version(tx)?,
    })
}
