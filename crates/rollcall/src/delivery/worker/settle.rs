//! How a worker settles: from what a round brought to the ledger, without waiting for each commit.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;

use super::Worker;
use super::trial::Planned;
use crate::clock::millis;
use crate::delivery::comparison;
use crate::delivery::job::{self, JobKind};
use crate::delivery::ledger::parked::{Parked, ParkedState};
use crate::delivery::ledger::{self, LedgerError, Settlement, SuspensionChange};
use crate::delivery::model::{Answered, Attempt, Remembered, Round, Suspension};
use crate::delivery::plan::conclude::{Patience, Present, conclude};
use crate::delivery::plan::grown;
use crate::delivery::send::Interrupt;
use crate::id;

/// How many settlements may wait for their commit.
const UNCOMMITTED: usize = 64;
/// After how many rounds in a row that the application wants again as a whole it is suspended.
const STALLED_ROUNDS: u32 = 3;
/// How often in a row an inventory is told that the application wants again, before the rest of it is left out.
const INVENTORY_TRIES: u32 = 5;

/// Says that an event waits for somebody. What the application said of it may name people, so only its code
/// is logged.
fn tell_set_aside(application_id: &str, parked: &Parked) {
    tracing::warn!(
        application = application_id,
        event = parked.event_id,
        kind = parked.event_type.short(),
        subject = parked.subject_id,
        code = parked.code.as_deref().map(rollcall_protocol::shown),
        "an event is set aside: `rollcall app show` says why; repair the cause, then run `rollcall app resend`"
    );
}

/// What requests that were answered tell: their attempts, and what they taught.
fn told(answered: Vec<Answered>) -> (Vec<Attempt>, Vec<Remembered>) {
    let (mut attempts, mut remembered) = (Vec::new(), Vec::new());
    for answered in answered {
        attempts.extend(answered.attempt);
        remembered.extend(answered.remembered);
    }
    (attempts, remembered)
}

/// Settlements that wait for their commits, the oldest first.
///
/// They are looked at when there is something else to do: to wake a task for each of them costs as much as to make
/// them.
///
/// Each stands in a mutex that is never locked, since the worker, which holds this, is looked at by several futures.
#[derive(Default)]
pub(super) struct Commits(VecDeque<Mutex<Settled>>);

type Settled = Pin<Box<dyn Future<Output = Result<(), LedgerError>> + Send>>;

impl Commits {
    fn push(&mut self, settled: impl Future<Output = Result<(), LedgerError>> + Send + 'static) {
        self.0.push_back(Mutex::new(Box::pin(settled)));
    }

    /// What became of the oldest, once that is known; for ever pending if there is none.
    fn poll_oldest(&mut self, context: &mut Context<'_>) -> Poll<Result<(), LedgerError>> {
        let Some(oldest) = self.0.front_mut() else {
            return Poll::Pending;
        };
        let oldest = oldest.get_mut().unwrap_or_else(PoisonError::into_inner);
        let settled = std::task::ready!(oldest.as_mut().poll(context));
        self.0.pop_front();
        Poll::Ready(settled)
    }

    /// Waits for the oldest; for ever if there is none.
    pub(super) async fn oldest(&mut self) -> Result<(), LedgerError> {
        poll_fn(|context| self.poll_oldest(context)).await
    }

    /// Looks at those that are done.
    fn look(&mut self) -> Result<(), LedgerError> {
        let mut context = Context::from_waker(Waker::noop());
        while let Poll::Ready(settled) = self.poll_oldest(&mut context) {
            settled?;
        }
        Ok(())
    }
}

impl Worker {
    fn present(&self) -> Present {
        let shared = self.shared();
        Present {
            now: shared.hub.clock.now(),
            at: Instant::now(),
            jitter: shared.jitter(Duration::from_secs(1)).as_secs_f64(),
        }
    }

    /// Takes over what a round brought. Returns whether what was prepared ahead still holds.
    pub(super) async fn settle(&mut self, round: Round, answered: Vec<Answered>) -> Result<bool, Interrupt> {
        let options = &self.shared().options;
        let patience = Patience {
            event_tries: options.event_tries,
            first_pause: options.first_pause,
            longest_pause: options.longest_pause,
        };
        let present = self.present();
        let mut conclusion = conclude(
            &round,
            &answered,
            &mut self.queue,
            &mut self.health,
            &patience,
            &present,
        );
        // An inventory goes alone, and is not parked: the job waits for it.
        let wants_inventory = conclusion.all_again.is_some() && round.is_inventory();
        let stays = wants_inventory && self.health.stalled < INVENTORY_TRIES;
        if wants_inventory && !stays {
            // It is given up, and says nothing about other events.
            conclusion.all_again = None;
            self.health.stalled = 0;
        }
        let shared = Arc::clone(self.shared());
        let renamed = job::renamed(&shared.hub, self.target(), &round).await?;
        let job = job::settle(self.position.job.as_ref(), &round, &answered, stays);
        let suspension = match (&conclusion.all_again, &self.suspension) {
            (None, None) => SuspensionChange::Keep,
            (None, Some(_)) if !conclusion.answers => SuspensionChange::Keep,
            (None, Some(_)) => {
                tracing::info!(application = self.id(), "the application answers again");
                self.suspension = None;
                SuspensionChange::Lift
            }
            (Some(_), None) if self.health.stalled < STALLED_ROUNDS => SuspensionChange::Keep,
            (Some(remark), _) => {
                let said = [Some(remark.code.as_str()), remark.message.as_deref()];
                let said: Vec<_> = said
                    .into_iter()
                    .flatten()
                    .filter(|text| !text.is_empty())
                    .collect();
                let said = Some(said.join(" ")).filter(|text| !text.is_empty());
                let reason = "it wants every event again".to_owned();
                SuspensionChange::Set(self.suspended_again(present.now, reason, said))
            }
        };
        let clean = conclusion.clean && suspension == SuspensionChange::Keep && !stays;
        self.position = round.after;
        if let Some(job) = &job {
            self.position.job = Some(job.clone()).filter(|job| !job.is_finished());
        }
        // What was planned ahead may have to wait for the job.
        let keeps_jobs = renamed.is_none();
        if let Some(renamed) = &renamed {
            let open = self.position.job.take();
            self.position.job = renamed.taken_by(open.clone()).or(open);
        }
        let ended = job.as_ref().filter(|job| job.is_finished()).map(|job| job.kind);
        self.unstored = None;
        let (attempts, remembered) = told(answered);
        let settlement = Settlement {
            attempts,
            unpark: conclusion.unpark,
            park: conclusion.park,
            job,
            position: Some(self.position.cursor),
            suspension,
            trial: None,
            remembered,
            renamed,
        };
        if ended == Some(JobKind::Full) && self.target().provider().is_some() {
            self.compare_after(settlement).await?;
        } else {
            self.commit(settlement).await?;
        }
        // After the end of a job, planned ahead or not, the log is read with the job gone.
        Ok(clean && ended.is_none() && keeps_jobs)
    }

    /// Settles the end of a full synchronization, and begins to compare with it. What is there too much no
    /// synchronization tells; a comparison names it.
    async fn compare_after(&mut self, settlement: Settlement) -> Result<(), Interrupt> {
        let shared = Arc::clone(self.shared());
        let comparison = id::make("cmp", shared.hub.clock.now(), &*shared.hub.random);
        self.commit_with(settlement, Some(comparison.clone())).await?;
        self.flush().await?;
        let application = self.id().to_owned();
        // It only reads, so it needs no lease, and goes on where this worker ends.
        tokio::spawn(comparison::run(shared, application, comparison));
        Ok(())
    }

    /// Nothing gets through: the application is asked again only now and then.
    pub(super) async fn suspend(
        &mut self,
        attempt: &Attempt,
        answered: Vec<Answered>,
    ) -> Result<(), Interrupt> {
        if self.suspension.is_none() {
            tracing::warn!(
                application = self.id(),
                outcome = attempt.outcome,
                status = attempt.http_status,
                "the application is suspended"
            );
        }
        if attempt.http_status.is_some_and(|status| status >= 400) {
            // It may know the new key alone by now.
            self.trial = self.trial.map(Planned::hurry);
        }
        let (reason, said) = (attempt.detail.clone().unwrap_or_default(), attempt.said.clone());
        let suspension = self.suspended_again(attempt.started_at, reason, said);
        // What some lanes learned is true whatever became of the others.
        let (attempts, remembered) = told(answered);
        self.commit(Settlement {
            attempts,
            remembered,
            suspension: SuspensionChange::Set(suspension),
            ..Settlement::default()
        })
        .await?;
        self.flush().await
    }

    /// The suspension after one more failure.
    fn suspended_again(&mut self, since: i64, reason: String, said: Option<String>) -> Suspension {
        let options = &self.shared().options;
        let before = self.suspension.as_ref().map(|(suspension, _)| suspension);
        let probes = before.map_or(0, |before| before.tries.saturating_sub(options.tries) + 1);
        let pause = self
            .shared()
            .jitter(grown(options.first_probe, probes, options.longest_probe));
        let suspension = Suspension {
            since: before.map_or(since, |before| before.since),
            tries: before.map_or(options.tries, |before| before.tries + 1),
            next_probe: self.shared().hub.clock.now() + millis(pause),
            reason,
            said,
        };
        self.suspension = Some((suspension.clone(), Instant::now() + pause));
        suspension
    }

    /// Queues a settlement without waiting for it, but learns of those that failed before.
    pub(super) async fn commit(&mut self, settlement: Settlement) -> Result<(), Interrupt> {
        self.commit_with(settlement, None).await
    }

    /// Queues a settlement and, in the same transaction, the beginning of a comparison.
    async fn commit_with(
        &mut self,
        settlement: Settlement,
        comparison: Option<String>,
    ) -> Result<(), Interrupt> {
        self.commits.look()?;
        if self.commits.0.len() >= UNCOMMITTED {
            self.commits.oldest().await?;
        }
        let (fence, now) = (self.fence.clone(), self.shared().hub.clock.now());
        self.fence = fence.next();
        let set_aside: Vec<_> = settlement
            .park
            .iter()
            .filter(|parked| parked.state == ParkedState::Failed)
            .cloned()
            .collect();
        let settled = self.shared().hub.db.settle(move |tx| {
            ledger::settle(tx, &fence, &settlement, now)?;
            if let Some(comparison) = &comparison {
                comparison::begin_after(tx, &fence.application_id, comparison, now)?;
            }
            Ok::<_, LedgerError>(())
        });
        let target = Arc::clone(self.target());
        self.commits.push(async move {
            settled.await?;
            for parked in &set_aside {
                tell_set_aside(&target.application.id, parked);
            }
            Ok(())
        });
        Ok(())
    }

    /// Waits for everything that was settled to be durable.
    pub(super) async fn flush(&mut self) -> Result<(), Interrupt> {
        while !self.commits.0.is_empty() {
            self.commits.oldest().await?;
        }
        Ok(())
    }

    /// Stores the position, if it has moved past changes that concerned others.
    pub(super) async fn store_position(&mut self) -> Result<(), Interrupt> {
        if self.unstored.take().is_some() {
            self.commit(Settlement {
                position: Some(self.position.cursor),
                ..Settlement::default()
            })
            .await?;
        }
        Ok(())
    }

    /// Stores the position and waits for everything that was settled to be durable.
    pub(super) async fn finish(&mut self) {
        let stored = match self.store_position().await {
            Ok(()) => self.flush().await,
            Err(error) => Err(error),
        };
        if let Err(error) = stored {
            tracing::info!(application = self.id(), %error, "a settlement is not stored; what it settled is sent again");
        }
        // None of those behind a settlement that failed can succeed; they are only waited for.
        while !self.commits.0.is_empty() {
            drop(self.commits.oldest().await);
        }
    }
}
