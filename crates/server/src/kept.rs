//! What costs something to find out, kept for a second.
//!
//! Strangers may ask for it as often as they like, so it is found out once for all who ask within that time, and
//! those who ask meanwhile wait for the same answer: nobody can load the database by asking.

use std::future::Future;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

/// For how long an answer is good.
const GOOD_FOR: Duration = Duration::from_secs(1);

/// The last answer, and when it was found.
#[derive(Debug)]
pub struct Kept<T>(Mutex<Option<(Instant, T)>>);

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> Kept<T> {
    /// The last answer if it is fresh, and what `find` gives otherwise. An error is not kept.
    ///
    /// # Errors
    /// That of `find`.
    pub async fn get<E>(&self, find: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        let mut last = self.0.lock().await;
        if let Some((at, answer)) = &*last
            && at.elapsed() < GOOD_FOR
        {
            return Ok(answer.clone());
        }
        let answer = find.await?;
        *last = Some((Instant::now(), answer.clone()));
        Ok(answer)
    }

    /// Keeps an answer that was just found without asking here.
    pub async fn put(&self, answer: T) {
        *self.0.lock().await = Some((Instant::now(), answer));
    }
}
