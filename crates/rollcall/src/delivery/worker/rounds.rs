//! Which round a worker sends next: of the log, of the job or of parked events, made and sealed.

use std::sync::Arc;

use rollcall_db::DbError;
use rollcall_protocol::SubjectKind;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Worker;
use super::portion::Portion;
use crate::application::Limits;
use crate::change::{self, Seq};
use crate::delivery::job;
use crate::delivery::ledger::Settlement;
use crate::delivery::ledger::parked::{Parked, ParkedState};
use crate::delivery::model::{Position, Round, Source};
use crate::delivery::plan::lanes::Lanes;
use crate::delivery::plan::{LogRound, Room};
use crate::delivery::route::{Request, SealError, Target};
use crate::delivery::send::Interrupt;

/// How many changes are looked at in one go, at first and then.
const FIRST_PAGE: usize = 32;
const PAGE: usize = 512;
/// How many events of an application wait outside its position before no more of the log is read.
const PARKED_AT_MOST: usize = 10_000;

/// A round whose requests are sealed.
pub(super) struct Prepared {
    pub(super) round: Round,
    pub(super) requests: Vec<Request>,
    /// The room that the requests take; none once it was given back.
    pub(super) room: Option<OwnedSemaphorePermit>,
}

impl Prepared {
    /// Gives the room back. The requests are sealed again when they are sent.
    pub(super) fn shed(&mut self) {
        self.requests.iter_mut().for_each(Request::shed);
        self.room = None;
    }
}

impl Worker {
    /// How much goes into a round. While the application is suspended, or wants everything again, one event at a
    /// time tells whether it still is or does.
    fn limits(&self) -> Limits {
        let limits = self.target().application.settings.limits;
        if self.health.stalled > 0 || self.suspension.is_some() {
            Limits {
                max_events: 1,
                lanes: 1,
                ..limits
            }
        } else {
            let portion = self.portion.map_or(u32::MAX, Portion::events);
            Limits {
                max_events: limits.max_events.min(portion),
                ..limits
            }
        }
    }

    /// The next round from where the worker stands; `ready` is one that was made ahead.
    pub(super) async fn next(&mut self, ready: Option<Prepared>) -> Result<Option<Prepared>, Interrupt> {
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
    pub(super) async fn prepare(&self, position: &Position) -> Result<Option<Prepared>, Interrupt> {
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
                if round.cursor() == change.seq && self.target().bears_on_users(&change) {
                    round.note_renamed(&change.subject_id);
                }
                if room == Room::Full {
                    break 'reading;
                }
            }
        }
        Ok(round.finish())
    }

    async fn parked_round(&mut self) -> Result<Option<Round>, Interrupt> {
        let limits = self.limits();
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
            renamed: Vec::new(),
            after: self.position.clone(),
        }))
    }

    async fn give_up(&mut self, parked: &Parked, reason: &str) -> Result<(), Interrupt> {
        let (now, at) = (self.shared().hub.clock.now(), Instant::now());
        let failed = Parked {
            state: ParkedState::Failed,
            next_try: now,
            message: Some(reason.to_owned()),
            ..parked.clone()
        };
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
}
