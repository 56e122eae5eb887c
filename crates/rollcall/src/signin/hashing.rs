//! Argon2id, a few at once: each one takes a processor and 19 MiB for a while.

use std::sync::Arc;

use rollcall_db::DbError;
use rollcall_protocol::Random;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::accounts::AccountError;
use crate::secret::{self, SecretString, Unhashable};

/// How many passwords are hashed at once.
const AT_ONCE: usize = 2;

/// How many may be there at once, those who wait too.
const QUEUE: usize = 32;

/// There are too many already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Busy;

/// The hash of a password that nobody has: a name that is nobody's takes as long as another.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$cm9sbGNhbGwtbm9ib2R5IQ$LXEWQrcmsEQBYnyp+6wy9chTD7GQPMTbAiWHF5IaSIE";

/// Where passwords are hashed.
#[derive(Debug)]
pub(super) struct Hashing {
    queue: Arc<Semaphore>,
    running: Arc<Semaphore>,
}

impl Default for Hashing {
    fn default() -> Self {
        Self {
            queue: Arc::new(Semaphore::new(QUEUE)),
            running: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }
}

/// A place in the queue.
#[derive(Debug)]
pub(super) struct Place {
    _place: OwnedSemaphorePermit,
    running: Arc<Semaphore>,
}

impl Hashing {
    /// Takes a place, if there is one.
    pub(super) fn queue(&self) -> Result<Place, Busy> {
        let place = Arc::clone(&self.queue).try_acquire_owned().map_err(|_| Busy)?;
        Ok(Place {
            _place: place,
            running: Arc::clone(&self.running),
        })
    }

    /// Hashes a new password.
    pub(super) async fn hash(
        &self,
        plain: SecretString,
        random: &Arc<dyn Random>,
    ) -> Result<Result<String, AccountError>, Busy> {
        let (place, random) = (self.queue()?, Arc::clone(random));
        let hashed = place.run(move || secret::hash_password(&plain, &*random)).await;
        Ok(hashed)
    }
}

impl Place {
    /// Whether this is the password that has this hash; never if there is none, which takes the same time.
    pub(super) async fn compare(
        self,
        plain: SecretString,
        hash: Option<String>,
    ) -> Result<bool, AccountError> {
        self.run(move || {
            let is_right = secret::is_password(&plain, hash.as_deref().unwrap_or(NOBODY))?;
            Ok(is_right && hash.is_some())
        })
        .await
    }

    async fn run<T: Send + 'static>(
        self,
        work: impl FnOnce() -> Result<T, Unhashable> + Send + 'static,
    ) -> Result<T, AccountError> {
        let gone = |error: &dyn std::fmt::Display| DbError::Other(error.to_string());
        let turn = Arc::clone(&self.running)
            .acquire_owned()
            .await
            .map_err(|error| gone(&error))?;
        // The turn goes with the work, which is not stopped when the request that wanted it goes.
        let working = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work()
        });
        Ok(working.await.map_err(|error| gone(&error))??)
    }
}

#[cfg(test)]
mod tests {
    use rollcall_protocol::SystemRandom;

    use super::*;

    #[test]
    fn the_hash_of_nobody_takes_as_long_as_any() {
        let settings = |hash: &str| hash.split('$').take(4).collect::<Vec<_>>().join("$");
        let hash = secret::hash_password(&"x".to_owned().into(), &SystemRandom).unwrap();
        assert_eq!(settings(NOBODY), settings(&hash));
        assert_eq!(NOBODY.len(), hash.len());
        assert_eq!(secret::is_password(&"x".to_owned().into(), NOBODY), Ok(false));
    }
}
