//! Answers about single subjects, kept in memory for as long as they are what the database would answer.
//!
//! The developer API is asked for the same users again and again, and nothing that is answered may be out of date: what
//! an administrator takes away is gone with the next call, and a read sees every committed write, whoever wrote it. So no
//! answer comes from memory before the database has said that nothing has happened meanwhile. On SQLite it says so on the
//! spot ([`Db::version`](rollcall_db::Db::version)); as long as that is the version in which what is kept was looked at
//! last, all of it is what a transaction of this moment would find.
//!
//! If it is another version, a transaction in it ([`Kept::follow`]) sees to that first. What is kept is of two kinds:
//!
//! - What a token may do ([`Token`](super::token::Token)) hangs on rows that have no log, so it is read anew in each
//!   version, by the first call that shows the token there.
//! - Answers hang on nothing but the directory and how far who asks reaches ([`Reach`]). The directory is a function of
//!   the log's position ([`change::since`]), so the log tells which of them are not right any more ([`touched`]), and all
//!   others stay. Cursors of delivery, sessions and attempts that are committed all the time take none away.
//!
//! An answer is made by any reader, beside the position of the log that it finds in its snapshot, and is kept if that is
//! the position to which the log was followed: then the snapshot and what is kept show the same directory.
//!
//! On PostgreSQL there is nothing that could be asked as cheaply, and nothing is kept.

mod store;

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use rollcall_db::{DbError, Tx, Version};
use rollcall_protocol::{EventType, SubjectKind};

use crate::access::Authority;
use crate::change::{self, ChangeKind, News, Seq};
use store::Store;

/// How many bytes the answers take at most. One about a user takes about 1 kB.
const MOST_BYTES: usize = 128 << 20;

/// If more has changed, nothing of what was kept stays.
const MOST_NEWS: i64 = 1_000;

/// How far somebody reaches, so that whoever reaches as far is answered the same: a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Reach([u8; 32]);

impl Reach {
    /// That of an authority.
    pub(super) fn of(authority: &Authority) -> Self {
        let mut context = Context::new(&SHA256);
        // Each text with its length, so that no two lists are written the same.
        let mut tell = |text: &str| {
            context.update(&(text.len() as u64).to_be_bytes());
            context.update(text.as_bytes());
        };
        match authority {
            Authority::Everything => {}
            Authority::Scope { units, groups } => {
                tell("units");
                units.iter().for_each(|id| tell(id));
                tell("groups");
                groups.iter().for_each(|id| tell(id));
            }
            Authority::Owned {
                source_type,
                source_id,
            } => ["owned", source_type, source_id].into_iter().for_each(tell),
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(context.finish().as_ref());
        Self(digest)
    }
}

/// The answers that are kept.
#[derive(Debug)]
pub(super) struct Kept(RwLock<State>);

#[derive(Debug)]
struct State {
    /// In which version all that is kept was looked at last, and the position of the log there.
    at: Option<(Version, Seq)>,
    store: Store,
}

impl Default for Kept {
    fn default() -> Self {
        Self::within(MOST_BYTES)
    }
}

impl Kept {
    /// Answers that take so many bytes at most.
    pub(super) fn within(bytes: usize) -> Self {
        Self(RwLock::new(State {
            at: None,
            store: Store::new(bytes),
        }))
    }

    /// Nobody holds it for longer than it takes to look up a few answers.
    fn state(&self) -> RwLockReadGuard<'_, State> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nobody holds it for longer than it takes to forget or to keep a few answers.
    fn changed(&self) -> RwLockWriteGuard<'_, State> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answer about a subject in this version of the database.
    pub(super) fn get(&self, version: Version, reach: &Reach, kind: SubjectKind, id: &str) -> Option<Bytes> {
        let state = self.state();
        let (at, _) = state.at?;
        (at == version).then(|| state.store.get(kind, id, reach))?
    }

    /// Keeps an answer that was read at this position of the log, if that is the one to which the log was followed.
    pub(super) fn insert(&self, seq: Seq, reach: Reach, kind: SubjectKind, id: &str, body: &[u8]) {
        let mut state = self.changed();
        if state.at.is_some_and(|(_, at)| at == seq) {
            state.store.insert(kind, id, reach, body);
        }
    }

    /// Forgets what is not so any more in the version in which a transaction reads, which it returns; `None` if the
    /// database has no versions. Only closures of [`Db::read_versioned`](rollcall_db::Db::read_versioned) call it, of
    /// which one runs at a time. To do it twice is to do it once.
    ///
    /// # Errors
    /// What the database reports.
    pub(super) fn follow(&self, tx: &mut Tx<'_>) -> Result<Option<Version>, DbError> {
        let Some(version) = tx.version()? else {
            return Ok(None);
        };
        let before = self.state().at;
        if before.is_some_and(|(at, _)| at == version) {
            return Ok(Some(version));
        }
        let head = change::head(tx)?.seq;
        let news = match before {
            Some((_, seq)) => change::since(tx, seq, head, MOST_NEWS)?,
            None => None,
        };
        let touched = news.as_deref().and_then(touched);
        let mut state = self.changed();
        let gone = match touched {
            Some(ids) => {
                ids.into_iter().for_each(|id| state.store.forget(id));
                None
            }
            None => {
                let empty = state.store.emptied();
                Some(std::mem::replace(&mut state.store, empty))
            }
        };
        state.at = Some((version, head));
        drop(state);
        // It may be much, and takes its time when nobody waits for it.
        drop(gone);
        Ok(Some(version))
    }
}

/// The subjects about whom something else is to be answered after these changes; `None` if that may be everybody.
///
/// The answer about a user shows the names of units, and the names and descriptions of groups; how far a scope reaches
/// hangs on the tree of units. Who joins or leaves a group, or is moved by a unit, has a change of its own in the log
/// ([`ChangeKind::Arrival`], [`ChangeKind::Departure`]).
fn touched(news: &[News]) -> Option<Vec<&str>> {
    let mut ids = Vec::with_capacity(news.len());
    for News {
        kind,
        subject_kind,
        subject_id,
    } in news
    {
        match (subject_kind, kind) {
            (SubjectKind::User, _)
            | (
                SubjectKind::Group,
                ChangeKind::Event(
                    EventType::GroupCreate | EventType::GroupAddUser | EventType::GroupRemoveUser,
                ),
            ) => ids.push(subject_id.as_str()),
            (SubjectKind::Unit | SubjectKind::Group, _) => return None,
        }
    }
    Some(ids)
}

#[cfg(test)]
mod tests {
    use rollcall_db::testing::sqlite;
    use rollcall_db::{Db, Options};

    use super::*;

    /// A reader may be slow: what it has read is not right any more if the log was followed further meanwhile, and not
    /// yet if its snapshot is younger than the version in which what is kept was looked at.
    #[tokio::test]
    async fn an_answer_of_another_position_of_the_log_is_not_kept() {
        let database = sqlite();
        let db = Db::open(&database.url, crate::schema::migrations(), Options::default()).unwrap();
        let (kept, version) = (Kept::default(), db.version().await.unwrap());
        let reach = Reach::of(&Authority::Everything);
        let (kind, id) = (SubjectKind::User, "user_a");
        let put = |seq| kept.insert(seq, reach, kind, id, b"{}");
        let got = || kept.get(version, &reach, kind, id);

        put(7);
        assert_eq!(got(), None, "nothing was followed yet");
        kept.changed().at = Some((version, 7));
        for seq in [6, 8] {
            put(seq);
            assert_eq!(got(), None, "of position {seq}");
        }
        put(7);
        assert!(got().is_some());
    }
}
