//! One application's worker: prepare a round, send it, settle it, and again.
//!
//! A round is one request, or several over as many lanes. While it is in flight the next one is
//! prepared and sealed, on the assumption that nothing goes wrong; if something does, that one is
//! thrown away and made again. Settling writes, in one transaction, the attempts, the parked events
//! and the position after the round. The worker does not wait for that commit before it sends the next
//! round: if the process dies in between, the round is sent again and the receiver recognises it by
//! its event ids. It does stop as soon as a commit fails, and starts over from what is stored.
//!
//! Sealed requests are the largest things that a hub holds, and with a thousand applications it could hold
//! thousands. A round therefore waits for room in a common budget before it is sealed, and gives the room
//! back when it is answered, but after a second at the latest: applications that are slow or dead must not
//! hold up the others. For the same reason, what was sealed ahead is dropped where the request in flight takes
//! longer than that, and what was not answered is sealed again for the next try.
//!
//! The worker ends only with the process or the application. Everything that it knows it can load
//! again, which is what it does whenever the application is changed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use rollcall_db::DbError;
use rollcall_protocol::SubjectKind;
use tokio::sync::{Notify, OwnedSemaphorePermit, watch};
use tokio::task::JoinHandle;

use super::attempt::Attempt;
use super::batch::{Lanes, Position, Round, Source};
use super::courier::{Answered, Break, Courier, Sent};
use super::feed::Tick;
use super::job;
use super::link::{Link, LinkError, Loaded, Request};
use super::park::{self, Parked, ParkedState, Waiting};
use super::{Shared, grown, millis};
use crate::application::{Suspension, store};
use crate::change::{self, Seq};

/// How many changes are looked at in one go, at first and then.
const FIRST_PAGE: usize = 32;
const PAGE: usize = 512;
/// For how long a sealed round may take room from the others.
const ROOM_FOR: Duration = Duration::from_secs(1);

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
pub(super) struct Delivered {
    pub(super) answered: Vec<Answered>,
    pub(super) suspension: Option<Suspension>,
}

pub(super) struct Worker {
    /// How to reach the application, and news of the log and of the settings. The changes up to the
    /// head of the tick that it has seen may be judged by the settings loaded.
    pub(super) courier: Courier,
    pub(super) waiting: Waiting,
    pub(super) position: Position,
    pub(super) suspension: Option<Suspension>,
    pub(super) stored_cursor: Seq,
    pub(super) ahead: job::ReadAhead,
    pub(super) commits: VecDeque<JoinHandle<Result<(), DbError>>>,
}

/// Delivers to an application until the hub stops or the application is deleted.
pub(super) async fn run(shared: Arc<Shared>, application_id: String, mut stopped: watch::Receiver<bool>) {
    let mut ticks = shared.feed.ticks();
    loop {
        let seen = *ticks.borrow_and_update();
        match load(&shared, &application_id).await {
            Ok(Some(loaded)) => {
                let mut worker = Worker::new(&shared, &ticks, &stopped, seen, loaded);
                let broken = worker.work().await;
                worker.finish().await;
                match broken {
                    Break::Stopped => return,
                    Break::Changed => continue,
                    Break::Database(error) => {
                        tracing::warn!(application = application_id, %error, "delivery waits for the database");
                    }
                    Break::Link(error) => {
                        tracing::error!(application = application_id, %error, "delivery is held up");
                    }
                }
            }
            // Switched off: any change of the settings may switch it on again.
            Ok(None) => {
                tokio::select! {
                    _ = stopped.wait_for(|stopped| *stopped) => return,
                    _ = ticks.wait_for(|tick| tick.applications != seen.applications) => continue,
                }
            }
            Err(error) => {
                tracing::warn!(application = application_id, %error, "delivery cannot start");
            }
        }
        tokio::select! {
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

async fn load(shared: &Arc<Shared>, application_id: &str) -> Result<Option<Loaded>, DbError> {
    let (hub, id) = (shared.hub.clone(), application_id.to_owned());
    shared
        .hub
        .db
        .read(move |tx| Link::load(tx, &id, hub.clock.now(), &hub.master))
        .await
}

impl Worker {
    fn new(
        shared: &Arc<Shared>,
        ticks: &watch::Receiver<Tick>,
        stopped: &watch::Receiver<bool>,
        seen: Tick,
        loaded: Loaded,
    ) -> Self {
        let cursor = loaded.link.application.cursor;
        Self {
            waiting: loaded.waiting,
            position: Position {
                cursor,
                job: loaded.job,
            },
            suspension: loaded.link.application.suspended.clone(),
            stored_cursor: cursor,
            ahead: job::ReadAhead::default(),
            commits: VecDeque::new(),
            courier: Courier {
                shared: Arc::clone(shared),
                link: loaded.link,
                ticks: ticks.clone(),
                seen,
                stopped: stopped.clone(),
            },
        }
    }

    pub(super) fn id(&self) -> &str {
        &self.link().application.id
    }

    fn link(&self) -> &Arc<Link> {
        &self.courier.link
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.courier.shared
    }

    async fn work(&mut self) -> Break {
        loop {
            if let Err(broken) = self.rounds().await {
                return broken;
            }
        }
    }

    /// Sends rounds as long as there is something to send, then waits for more.
    async fn rounds(&mut self) -> Result<(), Break> {
        let mut ready = None;
        loop {
            self.look_around()?;
            let prepared = match ready.take() {
                Some(prepared) => Some(prepared),
                None => self.next().await?,
            };
            let Some(Prepared {
                round,
                requests,
                room,
            }) = prepared
            else {
                break;
            };
            let answered = Notify::new();
            let delivering = async {
                let delivered = give_back_after(ROOM_FOR, room, self.deliver(requests)).await;
                answered.notify_one();
                delivered
            };
            let ahead = async {
                let mut next = match round.source {
                    // A parked event that is sent now would be found due again.
                    Source::Parked => return Ok(None),
                    Source::Log | Source::Job => self.prepare(&round.after).await?,
                };
                tokio::select! {
                    () = answered.notified() => {}
                    () = tokio::time::sleep(ROOM_FOR) => next.iter_mut().for_each(Prepared::shed),
                }
                Ok::<_, Break>(next)
            };
            let (delivered, ahead) = tokio::join!(delivering, ahead);
            let (mut delivered, left) = delivered?;
            let mut ahead = Some(ahead);
            if !left.is_empty() {
                // This may take days. What was made ahead would only take memory.
                ahead = None;
                self.outlast(left, &mut delivered).await?;
            }
            let clean = self.settle(round, delivered).await?;
            if let (true, Some(ahead)) = (clean, ahead) {
                ready = ahead?;
            }
        }
        self.store_cursor(false).await?;
        self.wait().await
    }

    /// Looks whether the hub stops or the application was changed.
    fn look_around(&mut self) -> Result<(), Break> {
        if *self.courier.stopped.borrow() {
            return Err(Break::Stopped);
        }
        let tick = *self.courier.ticks.borrow_and_update();
        self.courier.check_version(tick)
    }

    /// The next round from where the worker stands.
    async fn next(&mut self) -> Result<Option<Prepared>, Break> {
        if let Some(round) = self.parked_round().await? {
            return self.seal(round).await.map(Some);
        }
        loop {
            let (shared, link) = (Arc::clone(self.shared()), Arc::clone(self.link()));
            if let Some(job) = &mut self.position.job
                && job.is_pending()
                && self.position.cursor >= job.position
            {
                job::start(&shared.hub, &link, job).await?;
            }
            if let Some(prepared) = self.prepare(&self.position).await? {
                return Ok(Some(prepared));
            }
            // Everything up to the limit was looked at and concerned somebody else.
            let pending = self
                .position
                .job
                .as_ref()
                .filter(|job| job.is_pending())
                .map(|job| job.position);
            self.position.cursor = self.position.cursor.max(self.limit(&self.position));
            if pending.is_none_or(|position| self.position.cursor < position) {
                return Ok(None);
            }
        }
    }

    /// The last change that may be judged from a position.
    fn limit(&self, position: &Position) -> Seq {
        match &position.job {
            Some(job) if job.is_pending() => job.position.min(self.courier.seen.head),
            _ => self.courier.seen.head,
        }
    }

    /// Makes and seals the round that follows a position; `None` if there is nothing to send there.
    async fn prepare(&self, position: &Position) -> Result<Option<Prepared>, Break> {
        // Only so many rounds are made at once as the signing threads can use: those that wait would only
        // take memory. Whoever asks first is served first. What is caught up takes little and does not ask.
        let near = self.limit(position) - position.cursor <= FIRST_PAGE as Seq && position.job.is_none();
        let _permit = match near {
            true => None,
            false => self.shared().preparing.acquire().await.ok(),
        };
        let round = match &position.job {
            Some(job) if !job.is_pending() => {
                match job::next_round(
                    &self.shared().hub,
                    self.link(),
                    &self.waiting,
                    position,
                    job,
                    &self.ahead,
                )
                .await?
                {
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

    async fn log_round(&self, position: &Position) -> Result<Option<Round>, Break> {
        let limit = self.limit(position);
        let mut lanes = Lanes::new(self.link().application.settings.limits);
        let mut held = Vec::new();
        let mut cursor = position.cursor;
        let limits = self.link().application.settings.limits;
        // As much as the round can take; more only as far as it turns out to concern others.
        let mut page = ((limits.max_events * limits.lanes) as usize).clamp(FIRST_PAGE, PAGE);
        'reading: while cursor < limit && !lanes.are_full() {
            let changes = self.shared().feed.after(cursor, page).await?;
            page = PAGE;
            if changes.is_empty() {
                break;
            }
            for change in changes {
                if change.seq > limit {
                    break 'reading;
                }
                if let Some(outgoing) = self.link().outgoing(&change) {
                    if self.waiting.blocks(outgoing.subject_id()) {
                        held.push(outgoing);
                    } else if !lanes.take(change.subject_kind, &outgoing) {
                        break 'reading;
                    }
                }
                cursor = change.seq;
            }
        }
        if lanes.is_empty() && held.is_empty() {
            return Ok(None);
        }
        Ok(Some(Round {
            source: Source::Log,
            from: position.cursor,
            drafts: lanes.into_drafts(),
            held,
            after: Position {
                cursor,
                job: position.job.clone(),
            },
        }))
    }

    async fn parked_round(&mut self) -> Result<Option<Round>, Break> {
        let now = self.shared().hub.clock.now();
        let limits = self.link().application.settings.limits;
        let due = self.waiting.due(now, limits.max_events as usize);
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
            let Some(outgoing) = Link::again(parked, change) else {
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
            drafts: lanes.into_drafts(),
            held: Vec::new(),
            after: self.position.clone(),
        }))
    }

    async fn give_up(&mut self, parked: &Parked, reason: &str) -> Result<(), Break> {
        let failed = Parked {
            state: ParkedState::Failed,
            message: Some(reason.to_owned()),
            ..parked.clone()
        };
        let next = self
            .waiting
            .release(&parked.subject_id, self.shared().hub.clock.now());
        let id = self.id().to_owned();
        self.commit(move |tx| {
            park::store(tx, &id, &failed)?;
            next.iter().try_for_each(|next| park::store(tx, &id, next))
        })
        .await
    }

    async fn seal(&self, round: Round) -> Result<Prepared, Break> {
        // All of the round at once: if its requests waited for room one by one, they could wait for each other.
        let room = self.shared().room_for(&round).await;
        let range = (round.source == Source::Log).then_some((round.from + 1, round.after.cursor));
        let sealing = round.drafts.iter().map(|draft| {
            let (shared, link) = (Arc::clone(self.shared()), Arc::clone(self.link()));
            let (draft, source) = (draft.clone(), round.source);
            tokio::spawn(async move { link.prepare(&shared, draft, source, range).await })
        });
        let sealing: Vec<_> = sealing.collect();
        let mut requests = Vec::with_capacity(sealing.len());
        for request in sealing {
            let sealed = request
                .await
                .map_err(|error| LinkError::Seal(error.to_string()))?;
            requests.push(sealed?);
        }
        Ok(Prepared {
            round,
            requests,
            room,
        })
    }

    /// Sends all requests of a round, each as often as the options say. Returns those that were not
    /// answered; the application is suspended then.
    async fn deliver(&self, requests: Vec<Request>) -> Result<(Delivered, Vec<Request>), Break> {
        if self.suspension.is_some() {
            let suspension = self.suspension.clone();
            let answered = Vec::new();
            return Ok((Delivered { answered, suspension }, requests));
        }
        self.send_all(requests).await
    }

    async fn send_all(&self, requests: Vec<Request>) -> Result<(Delivered, Vec<Request>), Break> {
        let mut delivered = Delivered {
            answered: Vec::new(),
            suspension: None,
        };
        let mut left = Vec::new();
        let sending: Vec<_> = requests
            .into_iter()
            .map(|request| tokio::spawn(self.courier.clone().persist(request)))
            .collect();
        for sent in sending {
            match sent.await.map_err(|error| DbError::Other(error.to_string()))?? {
                Sent::Answered(answered) => delivered.answered.push(answered),
                Sent::GaveUp(request, attempt) => {
                    left.push(*request);
                    self.suspend(&mut delivered, &attempt).await?;
                }
            }
        }
        Ok((delivered, left))
    }

    /// Asks a suspended application now and then until it has answered all requests, however long that
    /// takes.
    async fn outlast(&self, mut left: Vec<Request>, delivered: &mut Delivered) -> Result<(), Break> {
        while !left.is_empty() {
            if delivered.suspension.is_some() {
                left.iter_mut().for_each(Request::shed);
                self.probe(&mut left, delivered).await?;
                continue;
            }
            let (more, again) = self.send_all(std::mem::take(&mut left)).await?;
            delivered.answered.extend(more.answered);
            delivered.suspension = more.suspension;
            left = again;
        }
        Ok(())
    }

    /// Waits until the suspended application is to be asked again, and asks with one request.
    async fn probe(&self, requests: &mut Vec<Request>, delivered: &mut Delivered) -> Result<(), Break> {
        let (Some(suspension), Some(mut request)) = (delivered.suspension.clone(), requests.pop()) else {
            return Ok(());
        };
        let mut courier = self.courier.clone();
        courier.wait_until(suspension.next_probe).await?;
        let (attempt, result) = self
            .link()
            .send(self.shared(), &mut request, suspension.tries + 1)
            .await;
        if result.is_err() {
            requests.push(request);
            courier.record(&attempt).await?;
            return self.suspend(delivered, &attempt).await;
        }
        tracing::info!(application = self.id(), "the application answers again");
        delivered.suspension = None;
        let id = self.id().to_owned();
        self.shared()
            .hub
            .db
            .write(move |tx| store::set_suspension(tx, &id, None))
            .await?;
        delivered.answered.push(Answered {
            events: request.draft.events,
            attempt,
        });
        Ok(())
    }

    async fn suspend(&self, delivered: &mut Delivered, attempt: &Attempt) -> Result<(), Break> {
        let options = &self.shared().options;
        let now = self.shared().hub.clock.now();
        let probes = delivered
            .suspension
            .as_ref()
            .map_or(0, |s| s.tries.saturating_sub(options.tries) + 1);
        let pause = grown(options.first_probe, probes, options.longest_probe);
        let suspension = Suspension {
            since: delivered
                .suspension
                .as_ref()
                .map_or(attempt.started_at, |s| s.since),
            tries: attempt.try_number,
            next_probe: now + millis(self.shared().jitter(pause)),
            reason: attempt.detail.clone().unwrap_or_default(),
        };
        if delivered.suspension.is_none() {
            tracing::warn!(
                application = self.id(),
                outcome = attempt.outcome,
                status = attempt.http_status,
                "the application is suspended"
            );
        }
        delivered.suspension = Some(suspension.clone());
        let id = self.id().to_owned();
        self.shared()
            .hub
            .db
            .write(move |tx| store::set_suspension(tx, &id, Some(&suspension)))
            .await?;
        Ok(())
    }

    /// Sleeps until there is something to do.
    async fn wait(&mut self) -> Result<(), Break> {
        let now = self.shared().hub.clock.now();
        let next_due = self.waiting.next_due().map_or(self.shared().options.idle, |due| {
            Duration::from_millis(u64::try_from(due - now).unwrap_or(0)).min(self.shared().options.idle)
        });
        let seen = self.courier.seen;
        tokio::select! {
            _ = self.courier.stopped.wait_for(|stopped| *stopped) => return Err(Break::Stopped),
            _ = self.courier.ticks.wait_for(|tick| *tick != seen) => return Ok(()),
            () = tokio::time::sleep(next_due) => {}
        }
        self.store_cursor(true).await
    }
}
