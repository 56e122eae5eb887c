//! One application's worker: plan a round, send it, settle it, and again.
//!
//! A round is one request, or several over as many lanes. While it is in flight the next one is
//! planned and sealed, on the assumption that nothing goes wrong; if something does, that one is
//! thrown away and made again. What a round brought is settled in the ledger. The worker does not wait for
//! that commit before it sends the next round: if the process dies in between, the round is sent again with
//! the same event ids. It does stop as soon as a settlement fails, and starts over from what is stored; no
//! settlement behind one that failed can succeed.
//!
//! A request that was begun is always seen to its end before the worker starts over, on all lanes: otherwise
//! the application could still be working on it when what follows arrives.
//!
//! Rounds of the log (or of a job) and rounds of parked events take turns, so that neither waits for the
//! end of the other.
//!
//! Sealed requests are the largest things that a hub holds, and with a thousand applications it could hold
//! thousands. A round therefore waits for room in a common budget before it is sealed, and gives the room
//! back when it is answered, but after a second at the latest: applications that are slow or dead must not
//! hold up the others. For the same reason, what was sealed ahead is dropped where the request in flight takes
//! longer than that, and what was not answered is sealed again for the next try. A suspended application
//! holds nothing at all: its next round is planned when it is probed.

mod portion;
mod rounds;
mod settle;
mod trial;

use std::sync::Arc;
use std::time::Duration;

use rollcall_db::DbError;
use tokio::sync::{Notify, OwnedSemaphorePermit, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::job;
use super::ledger::Fence;
use super::ledger::leases::Held;
use super::model::{Answered, Attempt, Position, Source, Suspension};
use super::plan::parked::{Health, ParkedQueue};
use super::route::{Loaded, Request, Target};
use super::send::{Carried, Interrupt, Sender};
use super::shared::Shared;
use super::ticks::{Tick, Ticks};
use portion::Portion;
use rounds::Prepared;
use settle::Commits;

/// For how long a sealed round may take room from the others.
const ROOM_FOR: Duration = Duration::from_secs(1);

/// What a round brought.
enum Delivered {
    Answered(Vec<Answered>),
    /// Nothing gets through; what some of the lanes brought is only noted.
    Outage(Box<Attempt>, Vec<Answered>),
}

struct Worker {
    /// How to reach the application, and news of the log and of the settings. The changes up to the
    /// head of the tick that it has seen may be judged by the settings loaded.
    sender: Sender,
    /// What the next settlement builds upon.
    fence: Fence,
    queue: ParkedQueue,
    health: Health,
    position: Position,
    /// The suspension, and when it is time for the next probe.
    suspension: Option<(Suspension, Instant)>,
    /// When the trial of a new signing key is due.
    trial: Option<trial::Planned>,
    /// Since when the position has moved without being stored.
    unstored: Option<Instant>,
    /// Whether the last round was one of parked events.
    served_parked: bool,
    /// How much goes into a round, where each event takes requests of its own.
    portion: Option<Portion>,
    ahead: job::ReadAhead,
    commits: Commits,
}

/// Delivers to an application while its lease is held.
pub(super) async fn run(
    shared: Arc<Shared>,
    application_id: String,
    epoch: i64,
    held: Held,
    mut stopped: watch::Receiver<bool>,
) {
    let ticks = shared.feed.ticks();
    while !*stopped.borrow() {
        let seen = ticks.now();
        match load(&shared, &application_id, epoch).await {
            Ok(Some(loaded)) => {
                let mut worker = Worker::new(&shared, &ticks, &stopped, &held, seen, loaded);
                let interrupt = worker.work().await;
                worker.finish().await;
                match interrupt {
                    Interrupt::Stopped => return,
                    Interrupt::Changed => continue,
                    Interrupt::Unleased => {
                        tracing::debug!(application = application_id, "delivery waits for its lease");
                    }
                    Interrupt::Database(error) => {
                        tracing::warn!(application = application_id, %error, "delivery waits for the database");
                    }
                    Interrupt::Seal(error) => {
                        tracing::error!(application = application_id, %error, "delivery is held up");
                    }
                }
            }
            // Switched off, or the lease is lost: any change of the settings may switch it on again.
            Ok(None) => {
                tokio::select! {
                    biased;
                    _ = stopped.wait_for(|stopped| *stopped) => return,
                    _ = ticks.wait_for(|tick| tick.applications != seen.applications) => continue,
                }
            }
            Err(error) => {
                tracing::warn!(application = application_id, %error, "delivery cannot start");
            }
        }
        tokio::select! {
            biased;
            _ = stopped.wait_for(|stopped| *stopped) => return,
            () = tokio::time::sleep(shared.options.database_pause) => {}
        }
    }
}

/// Waits for some work, and gives room back while it goes on for long.
async fn give_back_after<T>(
    limit: Duration,
    room: Option<OwnedSemaphorePermit>,
    work: impl Future<Output = T>,
) -> T {
    let mut work = std::pin::pin!(work);
    if let Ok(done) = tokio::time::timeout(limit, work.as_mut()).await {
        return done;
    }
    drop(room);
    work.await
}

async fn load(shared: &Arc<Shared>, application_id: &str, epoch: i64) -> Result<Option<Loaded>, DbError> {
    let (hub, id) = (shared.hub.clone(), application_id.to_owned());
    shared
        .hub
        .db
        .read(move |tx| Target::load(tx, &id, epoch, &hub))
        .await
}

impl Worker {
    fn new(
        shared: &Arc<Shared>,
        ticks: &Ticks,
        stopped: &watch::Receiver<bool>,
        held: &Held,
        seen: Tick,
        loaded: Loaded,
    ) -> Self {
        let Loaded {
            target,
            fence,
            parked,
            job,
        } = loaded;
        let options = &shared.options;
        let (now, at) = (shared.hub.clock.now(), Instant::now());
        let cursor = target.application.position;
        let suspension = target.application.suspended.clone().map(|suspension| {
            // A stored time may have been written by a clock that ran ahead.
            let wait = Duration::from_millis(u64::try_from(suspension.next_probe - now).unwrap_or(0));
            (suspension, at + wait.min(options.longest_probe))
        });
        Self {
            queue: ParkedQueue::load(parked, cursor, now, at, options.longest_pause),
            health: Health::default(),
            trial: trial::due(&target, now, at, options.longest_trial_pause),
            position: Position { cursor, job },
            suspension,
            unstored: None,
            served_parked: false,
            portion: target.provider().map(|_| Portion::default()),
            ahead: job::ReadAhead::default(),
            commits: Commits::default(),
            sender: Sender {
                shared: Arc::clone(shared),
                target,
                fence: fence.clone(),
                held: held.clone(),
                ticks: ticks.clone(),
                seen,
                stopped: stopped.clone(),
            },
            fence,
        }
    }

    fn id(&self) -> &str {
        &self.target().application.id
    }

    fn target(&self) -> &Arc<Target> {
        &self.sender.target
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.sender.shared
    }

    async fn work(&mut self) -> Interrupt {
        loop {
            if let Err(interrupt) = self.rounds().await {
                return interrupt;
            }
        }
    }

    /// Sends rounds as long as there is something to send, then waits for more.
    async fn rounds(&mut self) -> Result<(), Interrupt> {
        let mut ready = None;
        loop {
            self.look_around()?;
            self.hold_trial().await?;
            let mut tries = self.shared().options.tries;
            if let Some((_, probe_at)) = &self.suspension {
                let until = self.trial.map_or(*probe_at, |trial| trial.at.min(*probe_at));
                let is_probe = until == *probe_at;
                ready = None;
                tries = 1;
                let left = until.saturating_duration_since(Instant::now());
                self.sender.pause(left).await?;
                if !is_probe {
                    continue;
                }
            }
            let Some(Prepared {
                round,
                requests,
                room,
            }) = self.next(ready.take()).await?
            else {
                break;
            };
            let answered = Notify::new();
            let begun = Instant::now();
            let delivering = async {
                let delivered = give_back_after(ROOM_FOR, room, self.deliver(requests, tries)).await;
                answered.notify_one();
                delivered
            };
            let ahead = async {
                let mut next = match round.source {
                    Source::Log | Source::Job if self.suspension.is_none() && self.health.stalled == 0 => {
                        self.prepare(&round.after).await?
                    }
                    // What is planned after a round of parked events depends on what comes of it.
                    _ => return Ok(None),
                };
                tokio::select! {
                    biased;
                    () = answered.notified() => {}
                    () = tokio::time::sleep(ROOM_FOR) => next.iter_mut().for_each(Prepared::shed),
                }
                Ok::<_, Interrupt>(next)
            };
            let (delivered, ahead) = tokio::join!(delivering, ahead);
            match delivered? {
                Delivered::Answered(answered) => {
                    if let Some(portion) = &mut self.portion {
                        portion.learn(round.most_in_a_batch(), begun.elapsed());
                    }
                    if self.settle(round, answered).await? {
                        ready = ahead?;
                    }
                }
                Delivered::Outage(attempt, answered) => self.suspend(&attempt, answered).await?,
            }
        }
        self.wait().await
    }

    /// Looks whether the hub stops or the application was changed.
    fn look_around(&mut self) -> Result<(), Interrupt> {
        if *self.sender.stopped.borrow() {
            return Err(Interrupt::Stopped);
        }
        let tick = self.sender.ticks.now();
        self.sender.check_version(tick)
    }

    /// Carries all requests of a round, and waits for all of them whatever comes of each.
    async fn deliver(&self, requests: Vec<Request>, tries: u32) -> Result<Delivered, Interrupt> {
        let mut outcomes = Vec::with_capacity(requests.len());
        let mut carrying = JoinSet::new();
        let several = requests.len() > 1;
        for request in requests {
            let carried = self.sender.clone().carry(request, tries);
            if several {
                carrying.spawn(carried);
            } else {
                outcomes.push(carried.await);
            }
        }
        while let Some(carried) = carrying.join_next().await {
            outcomes.push(carried.map_err(|error| DbError::Other(error.to_string()))?);
        }
        let (mut answered, mut outage) = (Vec::new(), None);
        for outcome in outcomes {
            match outcome? {
                Carried::Answered(parts) => answered.extend(parts),
                Carried::Outage(attempt) => outage = Some(attempt),
            }
        }
        Ok(match outage {
            Some(attempt) => Delivered::Outage(attempt, answered),
            None => Delivered::Answered(answered),
        })
    }

    /// Sleeps until there is something to do; a settlement that failed is something to do.
    async fn wait(&mut self) -> Result<(), Interrupt> {
        let idle = self.shared().options.idle;
        let store_at = self.unstored.map(|since| since + idle);
        let wake_at = [self.queue.next_due(), store_at, self.trial.map(|trial| trial.at)]
            .into_iter()
            .flatten()
            .fold(Instant::now() + idle, Instant::min);
        let seen = self.sender.seen;
        loop {
            tokio::select! {
                biased;
                _ = self.sender.stopped.wait_for(|stopped| *stopped) => return Err(Interrupt::Stopped),
                _ = self.sender.ticks.wait_for(|tick| *tick != seen) => break,
                settled = self.commits.oldest() => settled?,
                () = tokio::time::sleep_until(wake_at) => break,
            }
        }
        if store_at.is_some_and(|at| at <= Instant::now()) {
            self.store_position().await?;
        }
        Ok(())
    }
}
