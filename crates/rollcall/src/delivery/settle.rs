//! What a round brought, taken over: the attempts, the parked events and the position after it, in one
//! transaction, for whose commit the worker does not wait.

use rollcall_db::DbError;
use tokio::task::JoinHandle;

use super::attempt::{self, Exception};
use super::batch::{Outgoing, Round, Source};
use super::courier::Break;
use super::park::{self, Parked, ParkedState};
use super::worker::{Delivered, Worker};
use super::{grown, job, millis};
use crate::application::store;
use crate::change::Seq;

/// How many settled rounds may wait for their commit.
const UNCOMMITTED: usize = 32;
/// After how many changes that do not concern the application its cursor is stored all the same.
const CURSOR_EVERY: Seq = 10_000;

impl Worker {
    /// Takes over what a round brought. Returns whether what was prepared ahead still holds.
    pub(super) async fn settle(&mut self, round: Round, delivered: Delivered) -> Result<bool, Break> {
        self.suspension = delivered.suspension;
        let now = self.shared().hub.clock.now();
        let mut parks = Vec::new();
        let mut unparks = Vec::new();
        let mut clean = round.held.is_empty();
        for answered in &delivered.answered {
            for outgoing in answered.events.iter() {
                let exception = answered
                    .attempt
                    .exceptions
                    .iter()
                    .find(|e| e.event_id == outgoing.event_id());
                let was_parked = round.source == Source::Parked;
                match self.verdict(outgoing, exception, now) {
                    None if was_parked => {
                        unparks.push(outgoing.event_id().to_owned());
                        parks.extend(self.waiting.release(outgoing.subject_id(), now));
                    }
                    None => {}
                    Some(mut parked) => {
                        clean = false;
                        match (parked.state, was_parked) {
                            (ParkedState::Failed, true) => {
                                parks.extend(self.waiting.release(outgoing.subject_id(), now));
                            }
                            (ParkedState::Failed, false) => {}
                            (_, true) => self.waiting.postpone(&parked),
                            (_, false) => {
                                // Two events of a subject in one request may both be wanted again.
                                if self.waiting.blocks(&parked.subject_id) {
                                    parked.state = ParkedState::Held;
                                }
                                self.waiting.push(parked.clone());
                            }
                        }
                        parks.push(parked);
                    }
                }
            }
        }
        for outgoing in &round.held {
            let parked = outgoing.parked(ParkedState::Held, now);
            self.waiting.push(parked.clone());
            parks.push(parked);
        }
        let answered = delivered.answered.iter().map(|a| (&*a.events, &a.attempt));
        let job = job::settle(self.position.job.as_ref(), &round, answered);
        self.position = round.after;
        if let Some(job) = &job {
            self.position.job = Some(job.clone()).filter(|job| !job.is_finished());
        }
        let cursor = self.position.cursor;
        self.stored_cursor = cursor;
        let attempts: Vec<_> = delivered.answered.into_iter().map(|a| a.attempt).collect();
        let id = self.id().to_owned();
        self.commit(move |tx| {
            for attempt in &attempts {
                attempt::store(tx, &id, attempt)?;
            }
            for event_id in &unparks {
                park::remove(tx, &id, event_id)?;
            }
            for parked in &parks {
                park::store(tx, &id, parked)?;
            }
            if let Some(job) = &job {
                job::store(tx, job, now)?;
            }
            store::move_cursor(tx, &id, cursor)
        })
        .await?;
        Ok(clean)
    }

    /// What becomes of an event: `None` if it is done with, otherwise how it is parked.
    fn verdict(&self, outgoing: &Outgoing, exception: Option<&Exception>, now: i64) -> Option<Parked> {
        let exception = exception?;
        let options = &self.shared().options;
        let attempts = outgoing.attempts + 1;
        let state = match exception.result.as_str() {
            "failed" => ParkedState::Failed,
            "retried" if attempts >= options.event_tries => ParkedState::Failed,
            "retried" => ParkedState::Retrying,
            _ => return None,
        };
        let pause = grown(options.first_pause, attempts - 1, options.longest_pause);
        Some(Parked {
            attempts,
            code: Some(exception.code.clone()),
            message: exception.message.clone(),
            ..outgoing.parked(state, now + millis(self.shared().jitter(pause)))
        })
    }

    /// Queues a transaction without waiting for it, but learns of those that failed before.
    pub(super) async fn commit(
        &mut self,
        work: impl FnMut(&mut rollcall_db::Tx<'_>) -> Result<(), DbError> + Send + 'static,
    ) -> Result<(), Break> {
        while self.commits.front().is_some_and(JoinHandle::is_finished) || self.commits.len() >= UNCOMMITTED {
            let Some(oldest) = self.commits.pop_front() else {
                break;
            };
            oldest
                .await
                .map_err(|error| DbError::Other(error.to_string()))??;
        }
        let queued = self.shared().hub.db.write(work);
        self.commits.push_back(tokio::spawn(queued));
        Ok(())
    }

    pub(super) async fn store_cursor(&mut self, now: bool) -> Result<(), Break> {
        let cursor = self.position.cursor;
        if cursor > self.stored_cursor && (now || cursor - self.stored_cursor >= CURSOR_EVERY) {
            let id = self.id().to_owned();
            self.stored_cursor = cursor;
            self.commit(move |tx| store::move_cursor(tx, &id, cursor)).await?;
        }
        Ok(())
    }

    /// Stores the cursor and waits for everything that was settled to be durable.
    pub(super) async fn finish(&mut self) {
        if let Err(error) = self.store_cursor(true).await {
            tracing::debug!(%error, "the cursor is not stored; some changes are looked at again");
        }
        while let Some(commit) = self.commits.pop_front() {
            if let Ok(Err(error)) = commit.await {
                tracing::warn!(application = self.id(), %error, "a settled request is not stored and will be sent again");
            }
        }
    }
}
