//! Looking after an open database: whether it works, whether it is whole, and leaving no traces.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::{Db, Engine};
use crate::engine::Message;
use crate::tx::Scrub;
use crate::{DbError, Dialect, ErrorClass};

impl Db {
    /// Why writing fails at present, if the last commit of a writer failed and no closure was to blame: the
    /// database is away, full or damaged. A commit that succeeds ends it.
    pub fn trouble(&self) -> Option<DbError> {
        self.inner.troubles.iter().find_map(|trouble| trouble.get())
    }

    /// Makes sure that the database can do its work now: the open file is the one that stands under its name and
    /// is not empty, its disk has room, a small commit succeeds in each lane, and a read succeeds. If a statement
    /// met damage since the last check, or [`Db::verify`] found some, it verifies once more.
    ///
    /// It waits its turn behind what is queued, so give it a limit of time. It writes a page or a row.
    ///
    /// # Errors
    /// What is wrong, classed by [`DbError::class`].
    pub async fn check(&self) -> Result<(), DbError> {
        self.check_identity()?;
        let place = self.inner.place.clone();
        // On a thread of ours, which may wait for a disk.
        self.read(move |_| place.check_room()).await?;
        self.write(|tx| tx.touch()).await?;
        if self.dialect() == Dialect::Postgres {
            self.settle(|tx| tx.touch()).await?;
        }
        self.read_feed(|tx| tx.query("SELECT 1", &[]).map(drop)).await?;
        if self.inner.damage.get().is_some() {
            self.verify().await?;
        }
        Ok(())
    }

    /// Reads all of a SQLite file and looks whether its pages are whole (`PRAGMA quick_check`), which takes about
    /// a second for each gigabyte. Does nothing on PostgreSQL, whose server watches its own files.
    ///
    /// # Errors
    /// [`DbError::Damaged`] with the first thing that is wrong.
    pub async fn verify(&self) -> Result<(), DbError> {
        let damage = Arc::clone(&self.inner.damage);
        self.read(move |tx| {
            let found = tx.verify();
            match &found {
                Ok(()) => damage.set(None),
                Err(error) if error.class() == ErrorClass::Damaged => damage.set(Some(error.clone())),
                Err(_) => {}
            }
            found
        })
        .await
    }

    /// Makes sure that the open file is still the one that stands under its name. Always so on PostgreSQL.
    ///
    /// # Errors
    /// [`DbError::Damaged`] if the file was removed, replaced or emptied.
    pub fn check_identity(&self) -> Result<(), DbError> {
        self.inner.place.check_identity(self.inner.identity)
    }

    /// Writes SQLite's file anew, from what there is. What is deleted is overwritten at once, but where rows move from
    /// one page to another, copies of them stay behind that nobody overwrites; they go by this alone. It takes about
    /// as long as copying the file three times, and room for it once more; writes wait meanwhile. On PostgreSQL it
    /// does nothing: there old rows go with VACUUM.
    ///
    /// # Errors
    /// [`DbError`]; nothing is changed then.
    pub async fn rebuild(&self) -> Result<(), DbError> {
        self.scrub_part(Scrub::Pages).await
    }

    /// Takes out of SQLite's files what was deleted or overwritten before and still lies in the write-ahead log. On
    /// PostgreSQL it does nothing: the write-ahead log is the server's.
    ///
    /// # Errors
    /// [`DbError::Unavailable`] if somebody reads an old state meanwhile: try again.
    pub async fn scrub(&self) -> Result<(), DbError> {
        self.scrub_part(Scrub::Log).await
    }

    async fn scrub_part(&self, what: Scrub) -> Result<(), DbError> {
        let (reply, answer) = oneshot::channel();
        let message = Message::Scrub(what, Box::new(move |result| drop(reply.send(result))));
        match &self.inner.engine {
            Engine::Threads { log, .. } => {
                log.send(message).await?;
                answer.await.unwrap_or_else(|_| Err(log.unanswered()))
            }
            Engine::Inline(inline) => inline.scrub(what),
        }
    }
}
