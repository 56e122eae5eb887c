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

mod settle;
mod trial;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use rollcall_db::DbError;
use rollcall_protocol::SubjectKind;
use tokio::sync::{Notify, OwnedSemaphorePermit, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use super::Shared;
use super::job;
use super::ledger::attempts::Attempt;
use super::ledger::leases::Held;
use super::ledger::parked::{Parked, ParkedState};
use super::ledger::{Fence, LedgerError, Settlement};
use super::model::{Answered, Position, Round, Source, Suspension};
use super::plan::lanes::Lanes;
use super::plan::parked::{Health, ParkedQueue};
use super::plan::{LogRound, Room};
use super::route::{Loaded, Request, SealError, Target};
use super::send::sender::{Carried, Interrupt, Sender};
use super::ticks::{Tick, Ticks};
use crate::application::Limits;
use crate::change::{self, Seq};

/// How many changes are looked at in one go, at first and then.
const FIRST_PAGE: usize = 32;
const PAGE: usize = 512;
/// For how long a sealed round may take room from the others.
const ROOM_FOR: Duration = Duration::from_secs(1);
/// How many events of an application wait outside its position before no more of the log is read.
const PARKED_AT_MOST: usize = 10_000;

/// A round whose requests are sealed.
struct Prepared {
    round: Round,
    requests: Vec<Request>,
    /// The room that the requests take; none once it was given back.
    room: Option<OwnedSemaphorePermit>,
}

impl Prepared {
    /// Gives the room back. The requests are sealed again when they are sent.
    fn shed(&mut self) {
        self.requests.iter_mut().for_each(Request::shed);
        self.room = None;
    }
}

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
    trial_at: Option<Instant>,
    /// Since when the position has moved without being stored.
    unstored: Option<Instant>,
    /// Whether the last round was one of parked events.
    served_parked: bool,
    ahead: job::ReadAhead,
    commits: VecDeque<JoinHandle<Result<(), LedgerError>>>,
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
        .read(move |tx| Target::load(tx, &id, epoch, &hub.master))
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
            trial_at: trial::due(&target, now, at, options.longest_trial_pause),
            position: Position { cursor, job },
            suspension,
            unstored: None,
            served_parked: false,
            ahead: job::ReadAhead::default(),
            commits: VecDeque::new(),
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

    /// How much goes into a round. While the application wants everything again, one event at a time tells
    /// whether it still does.
    fn limits(&self) -> Limits {
        let limits = self.target().application.settings.limits;
        if self.health.stalled > 0 {
            Limits {
                max_events: 1,
                lanes: 1,
                ..limits
            }
        } else {
            limits
        }
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
                let until = self.trial_at.map_or(*probe_at, |at| at.min(*probe_at));
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

    /// The next round from where the worker stands; `ready` is one that was made ahead.
    async fn next(&mut self, ready: Option<Prepared>) -> Result<Option<Prepared>, Interrupt> {
        if !self.served_parked
            && let Some(round) = self.parked_round().await?
        {
            self.served_parked = true;
            return self.seal(round).await.map(Some);
        }
        self.served_parked = false;
        if let Some(prepared) = match ready {
            Some(prepared) => Some(prepared),
            None => self.onward().await?,
        } {
            return Ok(Some(prepared));
        }
        match self.parked_round().await? {
            Some(round) => self.seal(round).await.map(Some),
            None => Ok(None),
        }
    }

    /// The next round of the log or of the job.
    async fn onward(&mut self) -> Result<Option<Prepared>, Interrupt> {
        loop {
            let (shared, target) = (Arc::clone(self.shared()), Arc::clone(self.target()));
            let reached = |job: &&job::JobPosition| job.is_pending() && self.position.cursor >= job.position;
            if let Some(job) = self.position.job.as_ref().filter(reached).cloned() {
                self.flush().await?;
                let started =
                    job::start(&shared.hub, &target, &job, &self.fence, self.position.cursor).await?;
                self.fence = self.fence.next();
                self.unstored = None;
                self.position.job = Some(started);
            }
            if let Some(prepared) = self.prepare(&self.position).await? {
                return Ok(Some(prepared));
            }
            if self.queue.len() >= PARKED_AT_MOST {
                return Ok(None);
            }
            // Everything up to the limit was looked at and concerned somebody else.
            let pending = self
                .position
                .job
                .as_ref()
                .filter(|job| job.is_pending())
                .map(|job| job.position);
            let limit = self.limit(&self.position);
            if limit > self.position.cursor {
                self.position.cursor = limit;
                self.unstored.get_or_insert_with(Instant::now);
            }
            if pending.is_none_or(|position| self.position.cursor < position) {
                return Ok(None);
            }
        }
    }

    /// The last change that may be judged from a position.
    fn limit(&self, position: &Position) -> Seq {
        match &position.job {
            Some(job) if job.is_pending() => job.position.min(self.sender.seen.head),
            _ => self.sender.seen.head,
        }
    }

    /// Makes and seals the round that follows a position; `None` if there is nothing to send there.
    async fn prepare(&self, position: &Position) -> Result<Option<Prepared>, Interrupt> {
        // Only so many rounds are made at once as the signing threads can use: those that wait would only
        // take memory. Whoever asks first is served first. What is caught up takes little and does not ask.
        let near = self.limit(position) - position.cursor <= FIRST_PAGE as Seq && position.job.is_none();
        let _permit = match near {
            true => None,
            false => self.shared().preparing.acquire().await.ok(),
        };
        let round = match &position.job {
            Some(job) if !job.is_pending() => {
                let plan = job::Context {
                    hub: &self.shared().hub,
                    target: self.target(),
                    limits: self.limits(),
                    queue: &self.queue,
                    ahead: &self.ahead,
                };
                match job::next_round(&plan, position, job).await? {
                    Some(round) => Some(round),
                    None => {
                        self.log_round(&Position {
                            cursor: position.cursor,
                            job: None,
                        })
                        .await?
                    }
                }
            }
            _ => self.log_round(position).await?,
        };
        match round {
            Some(round) => self.seal(round).await.map(Some),
            None => Ok(None),
        }
    }

    async fn log_round(&self, position: &Position) -> Result<Option<Round>, Interrupt> {
        let limit = self.limit(position);
        let limits = self.limits();
        let mut round = LogRound::new(position.clone(), limits);
        // As much as the round can take; more only as far as it turns out to concern others.
        let mut page = ((limits.max_events * limits.lanes) as usize).clamp(FIRST_PAGE, PAGE);
        'reading: while round.cursor() < limit {
            let changes = self.shared().feed.after(round.cursor(), page).await?;
            page = PAGE;
            if changes.is_empty() {
                break;
            }
            for change in changes {
                if change.seq > limit {
                    break 'reading;
                }
                let outgoing = self.target().outgoing(&change);
                let room = round.look(
                    change.seq,
                    change.subject_kind,
                    outgoing,
                    &self.queue,
                    PARKED_AT_MOST,
                );
                if room == Room::Full {
                    break 'reading;
                }
            }
        }
        Ok(round.finish())
    }

    async fn parked_round(&mut self) -> Result<Option<Round>, Interrupt> {
        let limits = self.target().application.settings.limits;
        let probing = self.suspension.is_some();
        let due = self
            .queue
            .due(Instant::now(), limits.max_events as usize, probing);
        if due.is_empty() {
            return Ok(None);
        }
        let seqs: Vec<_> = due.iter().map(|parked| parked.seq).collect();
        let changes = self
            .shared()
            .hub
            .db
            .read(move |tx| {
                seqs.iter()
                    .map(|seq| seq.map_or(Ok(None), |seq| change::read(tx, seq)))
                    .collect::<Result<Vec<_>, DbError>>()
            })
            .await?;
        let mut lanes = Lanes::new(limits);
        for (parked, change) in due.iter().zip(changes) {
            let Some(outgoing) = Target::again(parked, change) else {
                // The change is no longer in the log, so nobody can send it again.
                self.give_up(parked, "no longer in the change log").await?;
                continue;
            };
            let kind = parked.event_type.subject_kind().unwrap_or(SubjectKind::User);
            if !lanes.take(kind, &outgoing) {
                break;
            }
        }
        if lanes.is_empty() {
            return Ok(None);
        }
        Ok(Some(Round {
            source: Source::Parked,
            from: self.position.cursor,
            batches: lanes.into_batches(),
            held: Vec::new(),
            after: self.position.clone(),
        }))
    }

    async fn give_up(&mut self, parked: &Parked, reason: &str) -> Result<(), Interrupt> {
        let failed = Parked {
            state: ParkedState::Failed,
            message: Some(reason.to_owned()),
            ..parked.clone()
        };
        let (now, at) = (self.shared().hub.clock.now(), Instant::now());
        let next = self.queue.release(&parked.subject_id, now, at);
        self.commit(Settlement {
            park: std::iter::once(failed).chain(next).collect(),
            ..Settlement::default()
        })
        .await
    }

    async fn seal(&self, round: Round) -> Result<Prepared, Interrupt> {
        // All of the round at once: if its requests waited for room one by one, they could wait for each other.
        let room = self.shared().room_for(&round).await;
        let range = round.range();
        let source = round.source;
        let mut requests = Vec::with_capacity(round.batches.len());
        if let [batch] = &round.batches[..] {
            let request = self.target().prepare(self.shared(), batch.clone(), source, range);
            requests.push(request.await?);
        } else {
            let mut sealing = JoinSet::new();
            for batch in round.batches.iter().cloned() {
                let (shared, target) = (Arc::clone(self.shared()), Arc::clone(self.target()));
                sealing.spawn(async move { target.prepare(&shared, batch, source, range).await });
            }
            while let Some(sealed) = sealing.join_next().await {
                requests.push(sealed.map_err(|error| SealError::Seal(error.to_string()))??);
            }
        }
        Ok(Prepared {
            round,
            requests,
            room,
        })
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

    /// Sleeps until there is something to do.
    async fn wait(&mut self) -> Result<(), Interrupt> {
        let idle = self.shared().options.idle;
        let store_at = self.unstored.map(|since| since + idle);
        let wake_at = [self.queue.next_due(), store_at, self.trial_at]
            .into_iter()
            .flatten()
            .fold(Instant::now() + idle, Instant::min);
        let seen = self.sender.seen;
        tokio::select! {
            biased;
            _ = self.sender.stopped.wait_for(|stopped| *stopped) => return Err(Interrupt::Stopped),
            _ = self.sender.ticks.wait_for(|tick| *tick != seen) => {}
            () = tokio::time::sleep_until(wake_at) => {}
        }
        if store_at.is_some_and(|at| at <= Instant::now()) {
            self.store_position().await?;
        }
        Ok(())
    }
}
