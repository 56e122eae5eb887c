//! What became of one event of a user: from the log's position, the parked events, and the requests that covered it
//! or carried it.

use std::collections::HashMap;

use rollcall_db::{DbError, Tx};
use rollcall_protocol::EventType;
use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

use super::{CHANGES, ChangeFate, Told};
use crate::application::{Application, Entitlements};
use crate::change::{Change, ChangeKind, Seq};
use crate::clock::Millis;
use crate::delivery::ledger::attempts::{self, Located, Search, Span};
use crate::delivery::ledger::parked::{Parked, ParkedState};
use crate::delivery::model::{Attempt, Carried, Exception, Source};
use crate::delivery::plan::lanes::lane_of;
use crate::placement::Placement;

/// What became of an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "fate", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum Fate {
    /// It does not concern the application.
    NotForIt {
        /// Why not.
        reason: Reason,
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

/// Why a change does not concern an application.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr, schemars::JsonSchema)]
#[schemars(rename = "NotForIt")]
pub enum Reason {
    /// It was made before the application was there.
    #[serde(rename = "the application was added later")]
    #[strum(serialize = "the application was added later")]
    AddedLater,
    /// A half of a move within the scope.
    #[serde(rename = "the user was in scope before and after; what moved is told by another change")]
    #[strum(serialize = "the user was in scope before and after; what moved is told by another change")]
    InScopeAllAlong,
    /// The user was not in scope.
    #[serde(rename = "the user was not in scope")]
    #[strum(serialize = "the user was not in scope")]
    OutOfScope,
    /// A half of a move out of the scope or into it, which the other half tells.
    #[serde(rename = "the other half of the move tells it")]
    #[strum(serialize = "the other half of the move tells it")]
    OtherHalf,
    /// The application has not subscribed to the event.
    #[serde(rename = "the application has not subscribed to this event")]
    #[strum(serialize = "the application has not subscribed to this event")]
    NotSubscribed,
    /// The application wrote it, and is not told of what it writes itself.
    #[serde(rename = "the application wrote this itself, and its echo is off")]
    #[strum(serialize = "the application wrote this itself, and its echo is off")]
    OwnWrite,
}

impl Reason {
    /// The same in words.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

impl Fate {
    /// When the application answered, if that is known.
    pub fn at(&self) -> Option<Millis> {
        match self {
            Self::Delivered { at, .. }
            | Self::Assumed { at, .. }
            | Self::Skipped { at, .. }
            | Self::SentAgain { at, .. }
            | Self::Dismissed { at, .. } => Some(*at),
            Self::NotForIt { .. } | Self::Waiting | Self::Parked { .. } | Self::Settled => None,
        }
    }

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
    /// The changes of the user, newest first.
    changes: &'a [Told],
    /// The requests that covered each change.
    covering: HashMap<Seq, Vec<Attempt>>,
    /// The requests that name the user, oldest first: with parked events, and with events of jobs that were not simply
    /// taken.
    naming: Vec<Attempt>,
}

impl<'a> Inquiry<'a> {
    /// Reads the requests that tell of the newest changes, and of what the application did not simply take of the jobs
    /// of these spans: with three statements, however much there is.
    pub(super) fn begin(
        tx: &mut Tx<'_>,
        search: &mut Search,
        (application, entitlements): (&'a Application, &'a Entitlements),
        (user_id, changes): (&str, &'a [Told]),
        jobs: &[Span],
    ) -> Result<Self, DbError> {
        let mut inquiry = Self {
            application,
            entitlements,
            changes,
            covering: HashMap::new(),
            naming: Vec::new(),
        };
        let was_sent = |(change, parked): &&Told| {
            inquiry.event(change).is_some() && parked.is_none() && change.seq <= application.position
        };
        let sent: Vec<(Seq, Millis)> = inquiry
            .newest()
            .iter()
            .filter(was_sent)
            .map(|(change, _)| (change.seq, change.time))
            .collect();
        let mut spans: Vec<Span> = sent.iter().map(|(_, time)| attempts::since(*time)).collect();
        spans.extend(jobs);
        let located = Located::find(tx, &spans)?;
        let id = application.id.as_str();
        inquiry.covering = attempts::covering(tx, search, &located, id, &sent)?;
        let mut naming = jobs.to_vec();
        let open = inquiry.newest().iter().filter(|told| inquiry.is_open(told));
        naming.extend(open.map(|(change, _)| change.time).min().map(attempts::since));
        inquiry.naming = attempts::about(tx, search, &located, id, user_id, &naming)?;
        Ok(inquiry)
    }

    fn newest(&self) -> &'a [Told] {
        &self.changes[..self.changes.len().min(CHANGES)]
    }

    /// What each of the newest changes is to the application, and what became of it.
    pub(super) fn fates(&self, search: &Search) -> Vec<ChangeFate> {
        let newest = self.newest().iter();
        newest.map(|told| self.fate(told, search)).collect()
    }

    /// What the application said of the user's event of a job, if it did not simply take it: the last time, of the
    /// requests of a span.
    pub(super) fn answer_to_job(&self, user_id: &str, (since, until): Span) -> Option<&Exception> {
        let wanted = |it: &&Exception| {
            it.subject_id == user_id && it.event_type == EventType::UserPush.short() && it.result != "assumed"
        };
        self.naming
            .iter()
            .rev()
            .filter(|attempt| attempt.source == Source::Job.as_str())
            .filter(|attempt| (since..=until).contains(&attempt.started_at))
            .find_map(|attempt| attempt.exceptions.iter().find(wanted))
    }

    /// The request by which the application got a change, if that is known.
    fn received(&self, change: &Change) -> Option<&Attempt> {
        let covers = |attempt: &&Attempt| {
            let lanes = attempt.lanes as usize;
            let by_lane = lane_of(&change.subject_id, lanes) == attempt.lane as usize;
            attempt.was_received() && (lanes <= 1 || by_lane)
        };
        self.covering.get(&change.seq)?.iter().find(covers)
    }

    /// Whether a change was sent, and the request that covered it does not tell what became of it.
    fn is_open(&self, (change, _): &Told) -> bool {
        if !self.covering.contains_key(&change.seq) {
            return false;
        }
        self.received(change).is_none_or(|attempt| {
            let exception = exception(attempt, &change.event_id);
            exception.is_some_and(|it| !["skipped", "assumed"].contains(&it.result.as_str()))
        })
    }

    /// The event that a change is to the application.
    fn event(&self, change: &Change) -> Option<EventType> {
        let is_later = change.seq > self.entitlements.begins();
        let event = self.entitlements.event_for(change);
        event.filter(|_| is_later)
    }

    fn fate(&self, (change, parked): &Told, search: &Search) -> ChangeFate {
        let event = self.event(change);
        let fate = match event {
            None if change.seq <= self.entitlements.begins() => Fate::NotForIt {
                reason: Reason::AddedLater,
            },
            None => Fate::NotForIt {
                reason: not_for_it(self.entitlements, change),
            },
            Some(_) => self.of_event(change, parked.as_ref(), search),
        };
        ChangeFate {
            seq: change.seq,
            event_id: change.event_id.clone(),
            time: change.time,
            kind: change.kind.as_str().to_owned(),
            actor: change.actor.clone(),
            event: event.map(|event| event.short().into()),
            fate,
        }
    }

    fn of_event(&self, change: &Change, parked: Option<&Parked>, search: &Search) -> Fate {
        if let Some(parked) = parked {
            return Fate::Parked {
                state: parked.state,
                attempts: parked.attempts,
                answer: answer(
                    parked.code.as_deref().unwrap_or_default(),
                    parked.message.as_deref(),
                ),
            };
        }
        if change.seq > self.application.position {
            return Fate::Waiting;
        }
        let Some(attempt) = self.received(change) else {
            let again = self.when_sent_again((change, change.time), "");
            return again.unwrap_or(Fate::Settled);
        };
        let at = ended(attempt);
        match exception(attempt, &change.event_id) {
            Some(exception) if exception.result == "skipped" => Fate::Skipped {
                at,
                answer: answer(&exception.code, exception.message.as_deref()),
            },
            Some(exception) if exception.result == "assumed" => assumed(attempt, true),
            // It was parked then and has been dealt with since.
            Some(exception) => {
                let answer = answer(&exception.code, exception.message.as_deref());
                match self.when_sent_again((change, attempt.started_at), &answer) {
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
        }
    }

    /// What became of an event that was parked at a time and is no more.
    fn when_sent_again(&self, (change, since): (&Change, Millis), first_answer: &str) -> Option<Fate> {
        let requests = self.naming.iter();
        let parked = requests.filter(|attempt| attempt.source == Source::Parked.as_str());
        let is_told = |event_id: &str| self.changes.iter().any(|(change, _)| change.event_id == event_id);
        sent_again(
            parked.filter(|attempt| attempt.started_at >= since),
            change,
            &is_told,
            first_answer,
        )
    }
}

/// What became of a change whose event was parked and is no more, as the requests tell that carried parked events since,
/// or what was told of the subject instead. An event of which `is_of_change` does not hold comes from no change.
pub(super) fn sent_again<'a>(
    requests: impl Iterator<Item = &'a Attempt> + Clone,
    change: &Change,
    is_of_change: &dyn Fn(&str) -> bool,
    first_answer: &str,
) -> Option<Fate> {
    let tries = |wanted: &dyn Fn(&Carried) -> bool| -> Vec<(&'a Attempt, &'a Carried)> {
        let carrying = requests.clone().filter_map(|attempt| {
            let carried = attempt.carried.iter().find(|it| wanted(it))?;
            Some((attempt, carried))
        });
        carrying.collect()
    };
    let same = tries(&|it| it.event_id == change.event_id);
    // What is told anew comes from no change.
    let instead = tries(&|it| it.subject_id == change.subject_id && !is_of_change(&it.event_id));
    let refused_again = same.last().is_some_and(|last| outcome(*last) == Some("failed"));
    let anew = same.is_empty() || (refused_again && !instead.is_empty());
    let tries = if anew { instead } else { same };
    let &(attempt, carried) = tries.last()?;
    let at = ended(attempt);
    let said = said(attempt, &carried.event_id);
    match outcome((attempt, carried)) {
        Some("skipped") => Some(Fate::Skipped { at, answer: said }),
        Some("failed") if !anew => Some(Fate::Dismissed { at, answer: said }),
        Some("assumed") => Some(assumed(attempt, exception(attempt, &carried.event_id).is_some())),
        Some("accepted") => Some(Fate::SentAgain {
            at,
            times: u32::try_from(tries.len()).unwrap_or(u32::MAX),
            answer: first_answer.to_owned(),
            anew,
        }),
        _ => None,
    }
}

/// What an application said of an event in particular.
pub(super) fn said(attempt: &Attempt, event_id: &str) -> String {
    exception(attempt, event_id).map_or_else(String::new, |it| answer(&it.code, it.message.as_deref()))
}

/// What a request's answer said of an event in particular.
pub(super) fn exception<'a>(attempt: &'a Attempt, event_id: &str) -> Option<&'a Exception> {
    attempt.exceptions.iter().find(|it| it.event_id == event_id)
}

pub(super) fn not_for_it(entitlements: &Entitlements, change: &Change) -> Reason {
    if entitlements.is_withheld(change) {
        return Reason::OwnWrite;
    }
    let entitlement = entitlements.at(change.seq);
    let covers = |placement: &Option<std::sync::Arc<Placement>>| {
        placement
            .as_ref()
            .is_some_and(|placement| entitlement.scope.covers(change.subject_kind, placement))
    };
    match (covers(&change.before), covers(&change.after), change.kind) {
        (true, true, ChangeKind::Departure | ChangeKind::Arrival) => Reason::InScopeAllAlong,
        (false, false, _) => Reason::OutOfScope,
        (_, _, ChangeKind::Departure | ChangeKind::Arrival) => Reason::OtherHalf,
        _ => Reason::NotSubscribed,
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
