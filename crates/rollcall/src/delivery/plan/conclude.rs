//! From what a round brought to what is written: pure.

use std::collections::HashSet;
use std::time::Duration;

use rollcall_protocol::EventType;
use tokio::time::Instant;

use super::parked::{Health, ParkedQueue, Waiting};
use super::pause::grown;
use crate::clock::{Millis, millis};
use crate::delivery::model::{Answered, Outgoing, Parked, ParkedState, Remark, Round, Source, Verdict};

/// The pauses before an event is sent again, and how often that is done.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// How often an event is wanted again, although others are taken, before it is set aside.
    pub event_tries: u32,
    /// The pause after the first time.
    pub first_pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
}

/// The present, on both clocks, and a factor for pauses so that what failed together is not tried again
/// together.
#[derive(Clone, Copy, Debug)]
pub struct Present {
    /// The wall clock.
    pub now: Millis,
    /// The monotonic clock.
    pub at: Instant,
    /// From 0.8 to 1.2.
    pub jitter: f64,
}

/// What a round means for the parked events.
#[derive(Clone, Debug, Default)]
pub struct Conclusion {
    /// Parked events that are done with.
    pub unpark: Vec<String>,
    /// Events that are parked, or whose state has changed, in their order.
    pub park: Vec<Parked>,
    /// Whether a round that was planned from the state before is still right.
    pub clean: bool,
    /// Whether the application was asked, and answered.
    pub answers: bool,
    /// What the application says about the events, if it wants all of them again.
    pub all_again: Option<Remark>,
}

/// Concludes a round, and brings the queue and the health up to date.
pub fn conclude(
    round: &Round,
    answered: &[Answered],
    queue: &mut ParkedQueue,
    health: &mut Health,
    patience: &Patience,
    present: &Present,
) -> Conclusion {
    let asked = || answered.iter().filter(|answered| answered.asked);
    let verdicts = || asked().flat_map(|answered| answered.verdicts.iter());
    let before = health.dealt_with;
    let dealt_with = verdicts().filter(|verdict| verdict.is_final()).count();
    health.dealt_with += dealt_with as u64;
    let all_again = match verdicts().next() {
        Some(Verdict::Again(remark)) if dealt_with == 0 => Some(remark.clone()),
        _ => None,
    };
    let answers = asked().next().is_some();
    match (&all_again, round.source) {
        (None, _) if !answers => {}
        (None, _) => health.stalled = 0,
        (Some(_), Source::Parked) => {}
        (Some(_), _) => health.stalled += 1,
    }
    let mut concluding = Concluding {
        queue,
        health: *health,
        took_others: health.dealt_with > before,
        patience,
        present,
        conclusion: Conclusion {
            clean: round.held.is_empty() && round.source != Source::Parked,
            answers,
            all_again,
            ..Conclusion::default()
        },
    };
    // Whoever is wanted again takes with it what follows of its subject in the same round, and whatever adds it to a
    // group. (A subject keeps to one lane, the requests of a lane stand in their order, and groups have no lanes
    // beside them.)
    let mut wanted: HashSet<&str> = HashSet::new();
    for answered in answered {
        for (outgoing, verdict) in answered.events.iter().zip(&answered.verdicts) {
            if outgoing.event_type == EventType::Inventory {
                // It is worth telling only at the end of its synchronization.
                continue;
            }
            match round.source {
                Source::Parked => concluding.parked_again(outgoing, verdict),
                Source::Log | Source::Job | Source::Test | Source::KeyTrial => {
                    if follows_one_of(&wanted, outgoing) {
                        concluding.hold(outgoing);
                        wanted.insert(outgoing.subject_id());
                    } else if concluding.first_time(outgoing, verdict) {
                        wanted.insert(outgoing.subject_id());
                    }
                }
            }
        }
    }
    for outgoing in &round.held {
        concluding.hold(outgoing);
    }
    concluding.conclusion
}

/// Whether an event must arrive after one of a subject that is wanted again.
fn follows_one_of(wanted: &HashSet<&str>, outgoing: &Outgoing) -> bool {
    let is_wanted = |subject: &str| wanted.contains(subject);
    !wanted.is_empty()
        && (is_wanted(outgoing.subject_id()) || outgoing.follows().iter().any(|member| is_wanted(member)))
}

struct Concluding<'a> {
    queue: &'a mut ParkedQueue,
    health: Health,
    took_others: bool,
    patience: &'a Patience,
    present: &'a Present,
    conclusion: Conclusion,
}

impl Concluding<'_> {
    /// Takes over the verdict on an event that was not parked before. Returns whether it is parked and
    /// sent again.
    fn first_time(&mut self, outgoing: &Outgoing, verdict: &Verdict) -> bool {
        match verdict {
            Verdict::Accepted | Verdict::Assumed | Verdict::Skipped(_) => false,
            Verdict::Refused(remark) => {
                self.conclusion.park.push(Parked {
                    attempts: outgoing.attempts + 1,
                    ..said(outgoing.parked(ParkedState::Failed, self.present.now), remark)
                });
                false
            }
            Verdict::Again(remark) => {
                self.conclusion.clean = false;
                let pause = self.pause(1);
                let parked = Parked {
                    attempts: outgoing.attempts + 1,
                    strikes: u32::from(self.took_others),
                    ..said(outgoing.parked(ParkedState::Retrying, self.wall(pause)), remark)
                };
                self.push(parked, outgoing, pause);
                true
            }
        }
    }

    /// Parks an event behind another one.
    fn hold(&mut self, outgoing: &Outgoing) {
        self.conclusion.clean = false;
        self.push(
            outgoing.parked(ParkedState::Held, self.present.now),
            outgoing,
            Duration::ZERO,
        );
    }

    /// Takes over the verdict on an event that was parked.
    fn parked_again(&mut self, outgoing: &Outgoing, verdict: &Verdict) {
        let subject = outgoing.subject_id();
        let Some(waiting) = self.queue.front_mut(subject) else {
            return;
        };
        waiting.parked.attempts += 1;
        match verdict {
            Verdict::Accepted | Verdict::Assumed | Verdict::Skipped(_) => {
                self.conclusion.unpark.push(outgoing.event_id().to_owned());
                self.release(subject);
            }
            Verdict::Refused(remark) => {
                let failed = said(waiting.parked.clone(), remark);
                self.set_aside(failed);
            }
            Verdict::Again(remark) => {
                waiting.parked.strikes += u32::from(self.health.dealt_with > waiting.dealt_with);
                waiting.dealt_with = self.health.dealt_with;
                waiting.parked = said(waiting.parked.clone(), remark);
                if waiting.parked.strikes >= self.patience.event_tries {
                    let failed = waiting.parked.clone();
                    self.set_aside(failed);
                    return;
                }
                let attempts = waiting.parked.attempts;
                let pause = self.pause(attempts);
                let next_try = self.wall(pause);
                if let Some(waiting) = self.queue.front_mut(subject) {
                    waiting.parked.next_try = next_try;
                    waiting.due = self.present.at + pause;
                    self.conclusion.park.push(waiting.parked.clone());
                }
            }
        }
    }

    fn set_aside(&mut self, parked: Parked) {
        let subject = parked.subject_id.clone();
        self.conclusion.park.push(Parked {
            state: ParkedState::Failed,
            next_try: self.present.now,
            ..parked
        });
        self.release(&subject);
    }

    fn release(&mut self, subject: &str) {
        let next = self.queue.release(subject, self.present.now, self.present.at);
        self.conclusion.park.extend(next);
    }

    fn push(&mut self, mut parked: Parked, outgoing: &Outgoing, pause: Duration) {
        if self.queue.holds(&parked.subject_id) {
            parked.state = ParkedState::Held;
        }
        self.queue.push(Waiting {
            parked: parked.clone(),
            follows: outgoing.follows(),
            due: self.present.at + pause,
            dealt_with: self.health.dealt_with,
        });
        self.conclusion.park.push(parked);
    }

    fn pause(&self, attempts: u32) -> Duration {
        let Patience {
            first_pause,
            longest_pause,
            ..
        } = *self.patience;
        grown(first_pause, attempts.saturating_sub(1), longest_pause).mul_f64(self.present.jitter)
    }

    fn wall(&self, pause: Duration) -> Millis {
        self.present.now + millis(pause)
    }
}

fn said(parked: Parked, remark: &Remark) -> Parked {
    Parked {
        code: Some(remark.code.clone()).filter(|code| !code.is_empty()),
        message: remark.message.clone(),
        ..parked
    }
}
