//! The log, read once for all applications.
//!
//! One task follows the log and keeps its newest changes in memory. Applications that are caught up
//! take them from there. Those that lag behind what is kept read the database, each at its own pace, in
//! pages that begin at round positions; the last few pages are kept too, so that applications that lag
//! together (as all do when the hub was down) read them once.
//!
//! A [`Tick`] says how far the log and the applications' settings had come in one snapshot. Whoever
//! has looked at the settings of a tick may judge the changes up to the tick's head: a change that was
//! committed after a change of settings never comes with a tick that hides it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use rollcall_db::{Db, DbError};
use tokio::sync::watch;

use super::ticks::{Tick, Ticks};
use crate::application::{Application, store};
use crate::change::{self, Change, Seq};
use crate::delivery::vitals::Life;
use crate::instance;

/// How many changes are kept in memory.
const KEPT: usize = 4_096;
/// How many bytes of records are kept in memory.
const KEPT_BYTES: usize = 16 << 20;
/// How many changes one read of the log's end takes.
const PAGE: usize = 512;
/// How many positions a page of the log further back spans.
const SPAN: Seq = 256;
/// How many such pages are kept.
const PAGES: usize = 16;

/// Changes of a page, in order.
#[derive(Clone, Debug)]
struct Page {
    /// The position that the page begins after.
    start: Seq,
    /// The position up to which the page has everything: its span's end, or that of the log when it was read.
    until: Seq,
    changes: Arc<[Arc<Change>]>,
}

/// The newest changes, and news of more.
#[derive(Debug)]
pub struct Feed {
    db: Db,
    poll: Duration,
    window: RwLock<Window>,
    pages: Mutex<Pages>,
    /// Held by whoever reads a page, so that those who want the same one do not read it too.
    reading: tokio::sync::Mutex<()>,
    versions: RwLock<Arc<HashMap<String, i64>>>,
    ticks: Ticks,
}

/// The last few pages that were read for those that lag.
#[derive(Debug, Default)]
struct Pages {
    kept: VecDeque<Page>,
    /// Grows whenever all of them are forgotten: a page that was asked for before is not kept then.
    generation: u64,
}

impl Pages {
    /// The page that has what follows a position, at least one position more.
    fn after(&self, position: Seq) -> Option<Page> {
        let has = |page: &&Page| page.start <= position && position < page.until;
        self.kept.iter().find(has).cloned()
    }

    fn keep(&mut self, page: Page) {
        self.kept.retain(|kept| kept.start != page.start);
        self.kept.push_back(page);
        if self.kept.len() > PAGES {
            self.kept.pop_front();
        }
    }
}

/// The newest changes. Retention may have left gaps among them: a node that did not run for a while reads what is left.
#[derive(Debug)]
struct Window {
    /// The position before the first change that is kept.
    after: Seq,
    changes: VecDeque<Arc<Change>>,
    bytes: usize,
}

impl Window {
    /// An empty one that begins after a position.
    fn new(after: Seq) -> Self {
        Self {
            after,
            changes: VecDeque::new(),
            bytes: 0,
        }
    }

    /// Takes the next change, and lets go of the oldest if that is more than is kept.
    fn keep(&mut self, change: Change) {
        self.bytes += change.record.len();
        self.changes.push_back(Arc::new(change));
        while self.changes.len() > KEPT || self.bytes > KEPT_BYTES {
            let Some(oldest) = self.changes.pop_front() else {
                break;
            };
            self.bytes -= oldest.record.len();
            self.after = oldest.seq;
        }
    }

    /// Up to `limit` changes after a position; `None` if there may be some that are not kept.
    fn after(&self, position: Seq, limit: usize) -> Option<Vec<Arc<Change>>> {
        if position < self.after {
            return None;
        }
        let skip = self.changes.partition_point(|change| change.seq <= position);
        Some(self.changes.iter().skip(skip).take(limit).cloned().collect())
    }
}

impl Feed {
    /// Begins at the log's present end. Changes that other processes commit are noticed by looking
    /// every `poll`.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn start(db: Db, poll: Duration) -> Result<Arc<Self>, DbError> {
        let (tick, versions) = db
            .read(|tx| Ok::<_, DbError>((read_tick(tx)?, store::versions(tx)?)))
            .await?;
        Ok(Arc::new(Self {
            db,
            poll,
            window: RwLock::new(Window::new(tick.head)),
            pages: Mutex::default(),
            reading: tokio::sync::Mutex::default(),
            versions: RwLock::new(Arc::new(versions.into_iter().collect())),
            ticks: Ticks::new(tick),
        }))
    }

    /// News of the log and of the settings.
    pub fn ticks(&self) -> Ticks {
        self.ticks.clone()
    }

    /// How far the log and the settings have come.
    pub fn now(&self) -> Tick {
        self.ticks.now()
    }

    /// Follows the log until `stopped` says so.
    pub async fn follow(self: Arc<Self>, mut stopped: watch::Receiver<bool>, life: Life) {
        let mut announcements = self.db.announcements();
        loop {
            match self.catch_up().await {
                Ok(()) => life.beat(),
                Err(error) => {
                    tracing::warn!(%error, "the change log cannot be read; trying again");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
            tokio::select! {
                biased;
                _ = stopped.wait_for(|stopped| *stopped) => return,
                changed = announcements.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(self.poll) => {}
            }
        }
    }

    async fn catch_up(&self) -> Result<(), DbError> {
        loop {
            let known = self.now();
            let (tick, changes, versions) = self
                .db
                .read_feed(move |tx| {
                    let tick = read_tick(tx)?;
                    let changes = if tick.head > known.head {
                        change::read_after(tx, known.head, PAGE)?
                    } else {
                        Vec::new()
                    };
                    let versions = if tick.applications == known.applications {
                        None
                    } else {
                        Some(store::versions(tx)?)
                    };
                    Ok::<_, DbError>((tick, changes, versions))
                })
                .await?;
            // A page that is not full ends at the log's end, also if retention has taken the last changes, or all.
            let read_to = match changes.last() {
                Some(last) if changes.len() == PAGE => last.seq,
                _ => tick.head,
            };
            let more = read_to < tick.head;
            if let Some(versions) = versions {
                *self.versions.write().unwrap_or_else(PoisonError::into_inner) =
                    Arc::new(versions.into_iter().collect());
                // Erasing somebody also counts as a change of the applications, so that nothing that was
                // read before is used any more.
                self.forget(known.head);
            }
            self.keep(changes);
            // While there is more to read, the settings of this snapshot may be newer than the changes
            // read so far; that order is the safe one.
            let tick = Tick {
                head: read_to,
                applications: tick.applications,
            };
            self.ticks.tell(tick);
            if !more {
                return Ok(());
            }
        }
    }

    fn keep(&self, changes: Vec<Change>) {
        let mut window = self.window.write().unwrap_or_else(PoisonError::into_inner);
        for change in changes {
            window.keep(change);
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
        let changes = self.page(position).await?.changes;
        let skip = changes.partition_point(|change| change.seq <= position);
        if skip < changes.len() {
            return Ok(changes[skip..].iter().take(limit).cloned().collect());
        }
        // The rest of the page was trimmed from the log; what follows may stand anywhere.
        self.db
            .read(move |tx| change::read_after(tx, position, limit))
            .await
            .map(|changes| changes.into_iter().map(Arc::new).collect())
    }

    /// The page that has what follows a position before the window.
    async fn page(&self, position: Seq) -> Result<Page, DbError> {
        let lock = || self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(page) = lock().after(position) {
            return Ok(page);
        }
        let _reading = self.reading.lock().await;
        let generation = {
            let pages = lock();
            if let Some(page) = pages.after(position) {
                return Ok(page);
            }
            pages.generation
        };
        let start = position / SPAN * SPAN;
        // At the log's end the span may not be filled yet; what is committed meanwhile comes with the next reading.
        let until = self.now().head.min(start + SPAN);
        let changes = self
            .db
            .read(move |tx| change::read_between(tx, start, until))
            .await?;
        let page = Page {
            start,
            until,
            changes: changes.into_iter().map(Arc::new).collect(),
        };
        let mut pages = lock();
        if pages.generation == generation {
            pages.keep(page.clone());
        }
        Ok(page)
    }

    /// Forgets all changes up to a position, so that they are read again.
    fn forget(&self, head: Seq) {
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        pages.kept.clear();
        pages.generation += 1;
        drop(pages);
        *self.window.write().unwrap_or_else(PoisonError::into_inner) = Window::new(head);
    }

    /// The version of an application; `None` if there is no such one.
    pub fn version(&self, application_id: &str) -> Option<i64> {
        let versions = Arc::clone(&self.versions.read().unwrap_or_else(PoisonError::into_inner));
        versions.get(application_id).copied()
    }

    /// Whether an application is known to be another one than when it was loaded, as of a tick, by the tick of now. Until
    /// there is news of the settings, the versions that are known may be older than what was loaded.
    pub fn has_changed(&self, application: &Application, loaded_as_of: Tick, now: Tick) -> bool {
        now.applications != loaded_as_of.applications
            && self.version(&application.id) != Some(application.version)
    }

    fn kept_after(&self, position: Seq, limit: usize) -> Option<Vec<Arc<Change>>> {
        let window = self.window.read().unwrap_or_else(PoisonError::into_inner);
        window.after(position, limit)
    }
}

fn read_tick(tx: &mut rollcall_db::Tx<'_>) -> Result<Tick, DbError> {
    Ok(Tick {
        head: change::head(tx)?.seq,
        applications: instance::applications_version(tx)?,
    })
}

#[cfg(test)]
mod tests {
    use rollcall_protocol::{EventType, SubjectKind};

    use super::*;
    use crate::change::ChangeKind;

    fn change(seq: Seq, bytes: usize) -> Change {
        Change {
            seq,
            event_id: format!("evnt_{seq}"),
            kind: ChangeKind::Event(EventType::UserCreate),
            subject_kind: SubjectKind::User,
            subject_id: "user_1".to_owned(),
            time: seq,
            actor: "test".to_owned(),
            record: "x".repeat(bytes),
            previous: None,
            before: None,
            after: None,
            secret: None,
            withheld_from: None,
        }
    }

    fn seqs(window: &Window, after: Seq, limit: usize) -> Option<Vec<Seq>> {
        let changes = window.after(after, limit)?;
        Some(changes.iter().map(|change| change.seq).collect())
    }

    #[test]
    fn what_retention_has_left_is_found_by_its_position() {
        let mut window = Window::new(3);
        assert_eq!(seqs(&window, 3, 10), Some(vec![]));
        // The changes 4, 5 and 8 were removed before they were read.
        for seq in [6, 7, 9] {
            window.keep(change(seq, 1));
        }
        for (after, found) in [
            (3, vec![6, 7, 9]),
            (4, vec![6, 7, 9]),
            (5, vec![6, 7, 9]),
            (6, vec![7, 9]),
            (7, vec![9]),
            (8, vec![9]),
            (9, vec![]),
        ] {
            assert_eq!(seqs(&window, after, 10), Some(found), "after {after}");
        }
        assert_eq!(seqs(&window, 5, 2), Some(vec![6, 7]));
        assert_eq!(seqs(&window, 2, 10), None);
    }

    #[test]
    fn what_is_let_go_of_is_no_longer_answered_for() {
        let mut window = Window::new(0);
        for seq in [2, 4, 6] {
            window.keep(change(seq, KEPT_BYTES / 2));
        }
        assert_eq!(seqs(&window, 1, 10), None);
        assert_eq!(seqs(&window, 2, 10), Some(vec![4, 6]));
    }
}
