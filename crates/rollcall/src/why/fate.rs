//! What became of one event of a user: from the log's position, the parked events, and the requests that covered it
//! or carried it.

use rollcall_db::{DbError, Tx};
use serde::Serialize;

use super::{CHANGES, ChangeFate};
use crate::application::{Application, Entitlement, Entitlements};
use crate::change::{Change, ChangeKind};
use crate::clock::Millis;
use crate::delivery::ledger::attempts::{self, Search};
use crate::delivery::ledger::parked::{Parked, ParkedState};
use crate::delivery::model::{Attempt, Carried};
use crate::delivery::plan::lanes::lane_of;
use crate::placement::Placement;

/// What became of an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(tag = "fate", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum Fate {
    /// It does not concern the application.
    NotForIt {
        /// Why not.
        reason: &'static str,
    },
    /// It waits for its turn.
    Waiting,
    /// The application accepted it.
    Delivered {
        /// When.
        at: Millis,
        /// At which try of its request.
        try_number: u32,
    },
    /// The application answered with 200, but nothing in its answer says that it has taken the event.
    Assumed {
        /// When.
        at: Millis,
        /// What came instead.
        answer: String,
    },
    /// The application passed it over.
    Skipped {
        /// When.
        at: Millis,
        /// What the application said.
        answer: String,
    },
    /// The application did not take it at first, and took it, or what was told instead of it, when that was sent.
    SentAgain {
        /// When it was taken.
        at: Millis,
        /// How often it was sent again.
        times: u32,
        /// What the application had said before; empty if that is not kept any more.
        answer: String,
        /// Whether what was true by then was told instead, since later events had been delivered.
        anew: bool,
    },
    /// The application refused it, and it was not sent again: somebody dismissed it, or there was nothing to tell.
    Dismissed {
        /// When it was refused.
        at: Millis,
        /// What the application said.
        answer: String,
    },
    /// It is parked: sent again, held behind another one, or set aside.
    Parked {
        /// How.
        state: ParkedState,
        /// How often it was sent.
        attempts: u32,
        /// What the application said.
        answer: String,
    },
    /// It is settled, but the attempts of that time are not kept any more.
    Settled,
}

impl Fate {
    /// Whether the event is set aside.
    pub fn is_set_aside(&self) -> bool {
        let aside = ParkedState::Failed;
        matches!(self, Self::Parked { state, .. } if *state == aside)
    }
}

/// What is known of a user and an application while one change after the other is looked into.
pub(super) struct Inquiry<'a> {
    application: &'a Application,
    entitlements: &'a Entitlements,
    parked: &'a [Parked],
    /// The changes of the user, newest first.
    changes: &'a [Change],
    /// The requests that carried parked events of the user, oldest first, once somebody wanted to know.
    sent_again: Option<Vec<Attempt>>,
}

impl<'a> Inquiry<'a> {
    pub(super) fn new(
        application: &'a Application,
        entitlements: &'a Entitlements,
        parked: &'a [Parked],
        changes: &'a [Change],
    ) -> Self {
        Self {
            application,
            entitlements,
            parked,
            changes,
            sent_again: None,
        }
    }

    /// What a change is to the application, and what became of it.
    pub(super) fn fate(
        &mut self,
        tx: &mut Tx<'_>,
        search: &mut Search,
        change: &Change,
    ) -> Result<ChangeFate, DbError> {
        let entitlement = self.entitlements.at(change.seq);
        let before = change.seq <= self.entitlements.begins();
        let event = entitlement.event_for(change).filter(|_| !before);
        let fate = match event {
            None if before => Fate::NotForIt {
                reason: "the application was added later",
            },
            None => Fate::NotForIt {
                reason: not_for_it(entitlement, change),
            },
            Some(_) => self.of_event(tx, search, change)?,
        };
        Ok(ChangeFate {
            seq: change.seq,
            event_id: change.event_id.clone(),
            time: change.time,
            kind: change.kind.as_str().to_owned(),
            actor: change.actor.clone(),
            event: event.map(rollcall_protocol::EventType::short),
            fate,
        })
    }

    fn of_event(&mut self, tx: &mut Tx<'_>, search: &mut Search, change: &Change) -> Result<Fate, DbError> {
        if let Some(parked) = self
            .parked
            .iter()
            .find(|parked| parked.event_id == change.event_id)
        {
            return Ok(Fate::Parked {
                state: parked.state,
                attempts: parked.attempts,
                answer: answer(
                    parked.code.as_deref().unwrap_or_default(),
                    parked.message.as_deref(),
                ),
            });
        }
        if change.seq > self.application.position {
            return Ok(Fate::Waiting);
        }
        let covers = |attempt: &Attempt| {
            let lanes = attempt.lanes as usize;
            let by_lane = lane_of(&change.subject_id, lanes) == attempt.lane as usize;
            attempt.was_received() && (lanes <= 1 || by_lane)
        };
        let attempts = attempts::covering(tx, search, &self.application.id, (change.seq, change.time))?;
        let Some(attempt) = attempts.iter().find(|attempt| covers(attempt)) else {
            let again = self.when_sent_again(tx, search, (change, change.time), "")?;
            return Ok(again.unwrap_or(Fate::Settled));
        };
        let at = ended(attempt);
        let exception = attempt
            .exceptions
            .iter()
            .find(|it| it.event_id == change.event_id);
        Ok(match exception {
            Some(exception) if exception.result == "skipped" => Fate::Skipped {
                at,
                answer: answer(&exception.code, exception.message.as_deref()),
            },
            Some(exception) if exception.result == "assumed" => assumed(attempt, true),
            // It was parked then and has been dealt with since.
            Some(exception) => {
                let answer = answer(&exception.code, exception.message.as_deref());
                match self.when_sent_again(tx, search, (change, attempt.started_at), &answer)? {
                    Some(fate) => fate,
                    None if exception.result == "failed" && !search.was_cut_short() => {
                        Fate::Dismissed { at, answer }
                    }
                    None => Fate::Settled,
                }
            }
            None if attempt.result_of(&change.event_id) == "assumed" => assumed(attempt, false),
            None => Fate::Delivered {
                at,
                try_number: attempt.try_number,
            },
        })
    }

    /// What became of an event that was parked at a time and is no more, as the requests tell that carried it, or
    /// what was told of the user instead.
    fn when_sent_again(
        &mut self,
        tx: &mut Tx<'_>,
        search: &mut Search,
        (change, since): (&Change, Millis),
        first_answer: &str,
    ) -> Result<Option<Fate>, DbError> {
        let changes = self.changes;
        let requests = self.requests(tx, search, &change.subject_id)?;
        let requests = requests.iter().filter(|attempt| attempt.started_at >= since);
        let tries = |wanted: &dyn Fn(&Carried) -> bool| -> Vec<(&Attempt, &Carried)> {
            let carrying = requests.clone().filter_map(|attempt| {
                let carried = attempt.carried.iter().find(|it| wanted(it))?;
                Some((attempt, carried))
            });
            carrying.collect()
        };
        let same = tries(&|it| it.event_id == change.event_id);
        // What is told anew comes from no change.
        let instead = tries(&|it| {
            let told = |change: &Change| change.event_id == it.event_id;
            it.subject_id == change.subject_id && !changes.iter().any(told)
        });
        let refused_again = same.last().is_some_and(|last| outcome(*last) == Some("failed"));
        let anew = same.is_empty() || (refused_again && !instead.is_empty());
        let tries = if anew { instead } else { same };
        let Some(&(attempt, carried)) = tries.last() else {
            return Ok(None);
        };
        let at = ended(attempt);
        let exception = attempt
            .exceptions
            .iter()
            .find(|it| it.event_id == carried.event_id);
        let said = exception.map_or_else(String::new, |it| answer(&it.code, it.message.as_deref()));
        Ok(match outcome((attempt, carried)) {
            Some("skipped") => Some(Fate::Skipped { at, answer: said }),
            Some("failed") if !anew => Some(Fate::Dismissed { at, answer: said }),
            Some("assumed") => Some(assumed(attempt, exception.is_some())),
            Some("accepted") => Some(Fate::SentAgain {
                at,
                times: u32::try_from(tries.len()).unwrap_or(u32::MAX),
                answer: first_answer.to_owned(),
                anew,
            }),
            _ => None,
        })
    }

    /// The requests that carried parked events of the user. They are looked for once.
    fn requests(
        &mut self,
        tx: &mut Tx<'_>,
        search: &mut Search,
        user_id: &str,
    ) -> Result<&[Attempt], DbError> {
        if self.sent_again.is_none() {
            let since = self.changes.iter().take(CHANGES).map(|change| change.time).min();
            let about = (user_id, since.unwrap_or_default());
            self.sent_again = Some(attempts::sent_again(tx, search, &self.application.id, about)?);
        }
        Ok(self.sent_again.as_deref().unwrap_or_default())
    }
}

fn not_for_it(entitlement: &Entitlement, change: &Change) -> &'static str {
    let covers = |placement: &Option<std::sync::Arc<Placement>>| {
        placement
            .as_ref()
            .is_some_and(|placement| entitlement.scope.covers(change.subject_kind, placement))
    };
    match (covers(&change.before), covers(&change.after), change.kind) {
        (true, true, ChangeKind::Departure | ChangeKind::Arrival) => {
            "the user was in scope before and after; what moved is told by another change"
        }
        (false, false, _) => "the user was not in scope",
        (_, _, ChangeKind::Departure | ChangeKind::Arrival) => "the other half of the move tells it",
        _ => "the application has not subscribed to this event",
    }
}

/// What became of a parked event with the request that carried it; `None` if that was not answered.
fn outcome<'a>((attempt, carried): (&'a Attempt, &Carried)) -> Option<&'a str> {
    attempt
        .was_received()
        .then(|| attempt.result_of(&carried.event_id))
}

/// The fate of what a request carried that was not confirmed. Of an answer that leaves out very many of its events
/// only their number is kept, so that nobody knows any more whether this one was `told_apart` from the others.
pub(super) fn assumed(attempt: &Attempt, told_apart: bool) -> Fate {
    let answer = match (attempt.outcome.as_str(), &attempt.detail) {
        ("assumed", Some(detail)) => detail.clone(),
        _ if told_apart => {
            "assumed, not confirmed: the answer named other events of the request, and not this one"
                .to_owned()
        }
        _ => format!(
            "assumed, not confirmed: the answer did not name {} of the {} events of the request",
            attempt.assumed, attempt.events
        ),
    };
    let at = ended(attempt);
    Fate::Assumed { at, answer }
}

pub(super) fn ended(attempt: &Attempt) -> Millis {
    attempt.started_at + attempt.latency_us / 1_000
}

/// A code and what was said with it.
pub(super) fn answer(code: &str, message: Option<&str>) -> String {
    format!("{code} {}", message.unwrap_or_default())
        .trim()
        .to_owned()
}
