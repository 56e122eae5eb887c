//! Carries a request until it is answered, until its culprit is found, or until it is clear that the
//! application is out of order.
//!
//! A request that fails is sent again with growing pauses. If it still fails, there are two possibilities, and
//! a connection test tells them apart. If that is refused too, nothing gets through: an outage, which suspends
//! the application and costs no event anything. If it is accepted, something in the request is at fault:
//! the request is halved until the event that is refused stands alone. That one is sent once more after the test
//! got through, because the application may just have come back; if it is refused again, and a test accepted
//! again, it is set aside, and the rest goes on.

mod trial;

use std::sync::Arc;
use std::time::Duration;

use rollcall_db::DbError;
use rollcall_protocol::{Event, EventType};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::clock::millis;
use crate::delivery::egress::failure::Failure;
use crate::delivery::ledger::leases::Held;
use crate::delivery::ledger::{self, Fence, LedgerError};
use crate::delivery::model::{Answered, Attempt, Batch, Origin, Outgoing, Remark, Source, Verdict};
use crate::delivery::plan::grown;
use crate::delivery::route::{BreakOff, Going, Request, SealError, Sent, Target, Unsent};
use crate::delivery::shared::Shared;
use crate::delivery::ticks::{Tick, Ticks};
use crate::id;

/// How often a part of a request that failed as a whole is sent.
const TRIES_OF_A_PART: u32 = 2;

/// Why work on an application was broken off.
#[derive(Debug, thiserror::Error)]
pub(in crate::delivery) enum Interrupt {
    /// The hub stops, or the application goes to another node.
    #[error("delivery to the application ends here")]
    Stopped,
    /// The application was changed, or settled by somebody else: load it again.
    #[error("the application was changed")]
    Changed,
    /// The lease may be over.
    #[error("the lease is not confirmed")]
    Unleased,
    /// The database does not do its part.
    #[error(transparent)]
    Database(#[from] DbError),
    /// Requests cannot be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
}

impl From<LedgerError> for Interrupt {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::Fenced => Self::Changed,
            LedgerError::Database(error) => Self::Database(error),
        }
    }
}

impl From<Unsent> for Interrupt {
    fn from(unsent: Unsent) -> Self {
        match unsent {
            Unsent::Database(error) => Self::Database(error),
            Unsent::Broken(BreakOff::Stopped) => Self::Stopped,
            Unsent::Broken(BreakOff::Changed) => Self::Changed,
            // A failure is dealt with where it is known what was sent.
            Unsent::Broken(BreakOff::Unleased) | Unsent::Failed(_) => Self::Unleased,
        }
    }
}

/// What came of a request.
#[derive(Debug)]
pub(in crate::delivery) enum Carried {
    /// It was answered, in one piece or in several, in the order of its events.
    Answered(Vec<Answered>),
    /// Nothing gets through.
    Outage(Box<Attempt>),
}

/// Carries requests to one application.
#[derive(Clone)]
pub(in crate::delivery) struct Sender {
    pub(in crate::delivery) shared: Arc<Shared>,
    pub(in crate::delivery) target: Arc<Target>,
    pub(in crate::delivery) fence: Fence,
    pub(in crate::delivery) held: Held,
    pub(in crate::delivery) ticks: Ticks,
    /// The settings were last looked at as of this tick.
    pub(in crate::delivery) seen: Tick,
    pub(in crate::delivery) stopped: watch::Receiver<bool>,
}

/// What is held against a request of one event.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Suspicion {
    None,
    /// It was refused, and a connection test was accepted after it.
    RefusedAlone,
}

/// What came of a connection test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// The application dealt with it.
    Taken,
    /// It was answered, but not taken.
    Refused(String),
    /// It did not get there, or the application asks for patience.
    Unreached(String),
}

enum Judgement {
    Outage,
    Halve,
    SetAside,
}

/// What counts as said of an event that is refused with the request that carries it alone. An inventory is not set
/// aside for somebody to look at. A 4xx says that the application does not understand it; with anything else it has
/// failed, perhaps for want of its database, and is told again.
fn refused_alone(events: &[Outgoing], failure: &Failure) -> Verdict {
    let remark = Remark {
        code: failure.code().to_owned(),
        message: Some(failure.in_full()),
    };
    let is_inventory = events
        .iter()
        .any(|outgoing| outgoing.event_type == EventType::Inventory);
    match failure.status() {
        Some(400..=499) => Verdict::Refused(remark),
        _ if is_inventory => Verdict::Again(remark),
        _ => Verdict::Refused(remark),
    }
}

impl Sender {
    /// Carries a request: `tries` times as a whole, and then as the case requires.
    pub(in crate::delivery) async fn carry(
        mut self,
        request: Request,
        tries: u32,
    ) -> Result<Carried, Interrupt> {
        let mut answered = Vec::new();
        // The parts that are left, the next one last.
        let mut left = vec![(request, tries, Suspicion::None)];
        while let Some((mut request, tries, suspicion)) = left.pop() {
            let (failure, attempt) = match self.persist(&mut request, tries, &mut answered).await? {
                Ok(()) => continue,
                Err(failed) => *failed,
            };
            match self.judge(&request, &failure).await? {
                Judgement::Outage => return Ok(Carried::Outage(Box::new(attempt))),
                Judgement::Halve => {
                    let [first, second] = request.halves();
                    for half in [second, first] {
                        let alone = half.batch.events.len() == 1;
                        let tries = if alone {
                            self.shared.options.tries
                        } else {
                            TRIES_OF_A_PART
                        };
                        left.push((half, tries, Suspicion::None));
                    }
                }
                Judgement::SetAside if suspicion == Suspicion::None => {
                    left.push((request, 1, Suspicion::RefusedAlone));
                    self.pause(self.shared.options.first_pause).await?;
                }
                Judgement::SetAside => {
                    tracing::warn!(
                        application = self.target.application.id,
                        event = request.batch.events.first().map(Outgoing::event_id),
                        code = failure.code(),
                        "an event is set aside: the application refuses the request that carries it alone"
                    );
                    answered.push(Answered {
                        events: Arc::clone(&request.batch.events),
                        verdicts: vec![refused_alone(&request.batch.events, &failure)],
                        asked: true,
                        attempt: None,
                        remembered: Vec::new(),
                    });
                }
            }
        }
        Ok(Carried::Answered(answered))
    }

    /// Sends a request, and again with growing pauses, up to `tries` times. What is answered in part is a request with
    /// the rest from then on.
    async fn persist(
        &mut self,
        request: &mut Request,
        tries: u32,
        answered: &mut Vec<Answered>,
    ) -> Result<Result<(), Box<(Failure, Attempt)>>, Interrupt> {
        let mut try_number = 1;
        loop {
            self.check_lease()?;
            // Somebody may have been erased, or the receiving URL changed, since the request was made.
            let tick = self.ticks.now();
            self.check_version(tick)?;
            let sent = self
                .target
                .send(&self.shared, request, try_number, &self.going())
                .await;
            let (failure, mut attempt) = match sent {
                Ok(Sent { answered: part, rest }) => {
                    answered.push(part);
                    let Some((rest, failure)) = rest else {
                        return Ok(Ok(()));
                    };
                    *request = rest;
                    try_number = 1;
                    self.pause(self.pause_after(&failure, try_number)).await?;
                    continue;
                }
                Err(Unsent::Failed(failed)) => *failed,
                Err(unsent) => return Err(unsent.into()),
            };
            request.shed();
            let in_vain = failure.is_too_large() && request.batch.events.len() > 1;
            if try_number >= tries || in_vain {
                self.note(&attempt).await?;
                return Ok(Err(Box::new((failure, attempt))));
            }
            let pause = self.pause_after(&failure, try_number);
            attempt.next_try = Some(self.shared.hub.clock.now() + millis(pause));
            self.note(&attempt).await?;
            self.pause(pause).await?;
            try_number += 1;
        }
    }

    /// The pause after a failure: what the application asks for, within bounds, or one that grows.
    fn pause_after(&self, failure: &Failure, try_number: u32) -> Duration {
        let options = &self.shared.options;
        match failure {
            Failure::Status {
                retry_after: Some(asked),
                ..
            } => (*asked).clamp(options.first_pause, options.longest_retry_after),
            _ => self
                .shared
                .jitter(grown(options.first_pause, try_number - 1, options.longest_pause)),
        }
    }

    async fn judge(&mut self, request: &Request, failure: &Failure) -> Result<Judgement, Interrupt> {
        let several = request.batch.events.len() > 1;
        if failure.is_too_large() && several {
            return Ok(Judgement::Halve);
        }
        if !failure.may_be_poison() {
            return Ok(Judgement::Outage);
        }
        Ok(match (self.accepts_a_test().await?, several) {
            (false, _) => Judgement::Outage,
            (true, true) => Judgement::Halve,
            (true, false) => Judgement::SetAside,
        })
    }

    /// Whether a connection test gets through.
    async fn accepts_a_test(&self) -> Result<bool, Interrupt> {
        let (asked, attempt) = self.ask(Source::Test).await?;
        if let Some(attempt) = attempt.filter(|attempt| !attempt.was_received()) {
            self.note(&attempt).await?;
        }
        Ok(asked == Asked::Taken)
    }

    /// Sends a connection test, under the key that its source prescribes.
    pub(super) async fn ask(&self, source: Source) -> Result<(Asked, Option<Attempt>), Interrupt> {
        self.check_lease()?;
        let mut request = Request::new(connection_test(&self.shared, &self.target), source, None);
        let sent = self
            .target
            .send(&self.shared, &mut request, 1, &self.going())
            .await;
        Ok(match sent {
            Ok(Sent { answered, .. }) => {
                let wanted_again = answered.verdicts.iter().find_map(|verdict| match verdict {
                    Verdict::Again(remark) => Some(Asked::Refused(format!("wanted again ({})", remark.code))),
                    _ => None,
                });
                (wanted_again.unwrap_or(Asked::Taken), answered.attempt)
            }
            Err(Unsent::Failed(failed)) => {
                let (failure, attempt) = *failed;
                // In the hub's words: what the application said stands in the attempt.
                let said = failure.to_string();
                match failure.may_be_poison() {
                    true => (Asked::Refused(said), Some(attempt)),
                    false => (Asked::Unreached(said), Some(attempt)),
                }
            }
            Err(unsent) => return Err(unsent.into()),
        })
    }

    fn going(&self) -> Going<'_> {
        Going {
            application: &self.target.application,
            held: &self.held,
            ticks: &self.ticks,
            seen: self.seen,
            stopped: &self.stopped,
        }
    }

    /// Requests are sent only while it is sure that nobody else does.
    fn check_lease(&self) -> Result<(), Interrupt> {
        if self.held.is_valid() {
            Ok(())
        } else {
            Err(Interrupt::Unleased)
        }
    }

    /// Stores a try that failed.
    async fn note(&self, attempt: &Attempt) -> Result<(), Interrupt> {
        let (fence, attempt) = (self.fence.clone(), attempt.clone());
        let version = self.target.application.version;
        let noted = self
            .shared
            .hub
            .db
            .settle(move |tx| ledger::note(tx, &fence, version, attempt.clone()))
            .await;
        Ok(noted?)
    }

    /// Waits, unless the hub stops or the application is changed meanwhile.
    pub(in crate::delivery) async fn pause(&mut self, pause: Duration) -> Result<(), Interrupt> {
        let until = Instant::now() + pause;
        loop {
            let seen = self.seen.applications;
            let tick = tokio::select! {
                biased;
                () = tokio::time::sleep_until(until) => return Ok(()),
                _ = self.stopped.wait_for(|stopped| *stopped) => return Err(Interrupt::Stopped),
                tick = self.ticks.wait_for(|tick| tick.applications != seen) => tick,
            };
            self.check_version(tick)?;
        }
    }

    /// Looks whether the application was changed since it was loaded.
    pub(in crate::delivery) fn check_version(&mut self, tick: Tick) -> Result<(), Interrupt> {
        if self
            .shared
            .feed
            .has_changed(&self.target.application, self.seen, tick)
        {
            return Err(Interrupt::Changed);
        }
        self.seen = tick;
        Ok(())
    }
}

/// A connection test (wire contract, section 5).
pub(in crate::delivery) fn connection_test(shared: &Shared, target: &Target) -> Batch {
    let now = shared.hub.clock.now();
    Batch {
        lane: 0,
        events: [Outgoing {
            origin: Origin::Apart(Arc::new(Event {
                event_id: id::make("evnt", now, &*shared.hub.random),
                event_type: EventType::Test.urn().to_owned(),
                event_time: now,
                biz_id: target.application.id.clone(),
                biz_data: "{}".to_owned(),
            })),
            event_type: EventType::Test,
            attempts: 0,
        }]
        .into(),
    }
}
