//! Keeping in memory what was read, for as long as it is known to be so.

use super::{Db, Engine};
use crate::job::Kind;
use crate::{DbError, NoVersion, Tx, Version};

impl Db {
    /// In which version the database is now. Everything that was committed before this was polled first is in it,
    /// whoever committed it. The answer neither reads the disk nor waits for anybody who writes; those who ask at the same
    /// time share it.
    ///
    /// # Errors
    /// [`NoVersion`].
    pub async fn version(&self) -> Result<Version, NoVersion> {
        match &self.inner.engine {
            Engine::Threads {
                versions: Some((lookout, _)),
                ..
            } => lookout.version().await,
            Engine::Threads { versions: None, .. } | Engine::Inline(_) => Err(NoVersion::Never),
        }
    }

    /// Runs a closure as [`Db::read`] does. It finds in [`Tx::version`] in which version it reads; as long as
    /// [`Db::version`] tells that one, what it has read is so. There is one thread for such closures, and
    /// [`Db::version`] knows nothing while one runs, so they should be short. On a database without versions it is run
    /// by those of [`Db::read`].
    ///
    /// # Errors
    /// The closure's, and those of [`DbError`] that prevented it.
    pub fn read_versioned<T, E, F>(
        &self,
        closure: F,
    ) -> impl Future<Output = Result<T, E>> + Send + use<T, E, F>
    where
        F: FnMut(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        self.run(None, Kind::Versioned, closure)
    }
}
