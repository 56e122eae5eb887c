//! What one actor changed of late, and what became of each change at each application: when the hub accepted it, when
//! an application acknowledged it, and how long that took.
//!
//! Nothing is written for it. The log has the time at which a change was accepted, and the attempts that cover it have
//! the time at which an application answered; both are read with as many statements for many changes as for one.

use std::borrow::Cow;

use rollcall_db::{DbError, Tx};
use serde::{Deserialize, Serialize};

use super::fate::{Fate, Reason, not_for_it};
use super::standing::{of_attempt, of_parked, settled};
use crate::application::{Entitlements, store};
use crate::change::{self, Change, Seq};
use crate::clock::Millis;
use crate::delivery::ledger::{attempts, overview, parked};
use crate::delivery::plan::lanes::lane_of;
use crate::directory::fields::fold;

/// How many positions of the log are looked at for one page.
pub const LOOKED_AT: Seq = 20_000;

/// How many changes a page tells of.
pub const RECENT: usize = 20;

/// How many applications are told of, by name.
const APPLICATIONS: usize = 50;

/// Some changes of an actor, the newest first.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(rename = "RecentChanges")]
#[serde(rename_all = "camelCase")]
pub struct Recent {
    /// The changes.
    pub changes: Vec<RecentChange>,
    /// The position before which there may be more.
    pub next: Option<Seq>,
    /// Whether there are more applications than are told of.
    pub is_cut: bool,
}

/// A change, and what became of it at each application.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecentChange {
    /// Its position.
    pub seq: Seq,
    /// When the hub accepted it.
    pub time: Millis,
    /// What happened.
    pub kind: Cow<'static, str>,
    /// What it happened to: `user`, `group` or `organizational_unit`.
    pub subject_kind: Cow<'static, str>,
    /// Its id.
    pub subject_id: String,
    /// What it was called; `None` if it was erased.
    pub name: Option<String>,
    /// What became of it, by the names of the applications.
    pub applications: Vec<Arrived>,
}

/// What became of a change at one application.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Arrived {
    /// The application's id.
    pub application_id: String,
    /// Its name.
    pub application: String,
    /// The event that it gets; `None` if it gets none.
    pub event: Option<Cow<'static, str>>,
    /// When the request left that the application first answered, if that is known.
    pub sent_at: Option<Millis>,
    /// How many milliseconds went by from accepting the change to the answer that settled it, if that is known.
    pub took: Option<Millis>,
    /// What became of it.
    #[serde(flatten)]
    pub fate: Fate,
}

/// What an actor changed of late: up to `limit` changes before a position, or the newest ones.
///
/// # Errors
/// What the database reports.
pub fn recent(tx: &mut Tx<'_>, actor: &str, before: Option<Seq>, limit: usize) -> Result<Recent, DbError> {
    let before = match before {
        Some(before) => before,
        None => change::head(tx)?.seq.saturating_add(1),
    };
    let after = before.saturating_sub(LOOKED_AT).max(0);
    let mut changes = change::of_actor(tx, actor, (after, before), limit + 1)?;
    let has_more = changes.len() > limit;
    changes.truncate(limit);
    let next = match changes.last() {
        Some(last) if has_more => Some(last.seq),
        _ => Some(after + 1).filter(|_| after > 0),
    };
    let mut applications: Vec<(String, String)> = store::names(tx)?.into_iter().collect();
    // Databases differ in what they take for the order of names.
    applications.sort_by_cached_key(|(id, name)| (fold(name), id.clone()));
    let is_cut = applications.len() > APPLICATIONS;
    applications.truncate(APPLICATIONS);
    Ok(Recent {
        changes: arrivals(tx, &changes, &applications)?,
        next,
        is_cut,
    })
}

/// What became of each change at each application.
fn arrivals(
    tx: &mut Tx<'_>,
    changes: &[Change],
    applications: &[(String, String)],
) -> Result<Vec<RecentChange>, DbError> {
    let ids: Vec<String> = applications.iter().map(|(id, _)| id.clone()).collect();
    let entitlements = Entitlements::of_each(tx, &ids)?;
    let positions = overview::positions(tx, &ids)?;
    let event_ids: Vec<&str> = changes.iter().map(|change| change.event_id.as_str()).collect();
    let parked = parked::of_changes(tx, &ids, &event_ids)?;
    let position = |id: &str| positions.get(id).map_or(0, |(position, _)| *position);
    let event = |id: &str, change: &Change| {
        let of_it = entitlements.get(id).filter(|it| change.seq > it.begins())?;
        of_it.event_for(change)
    };
    let of_parked_event = |id: &str, change: &Change| parked.get(&(id.to_owned(), change.event_id.clone()));
    let mut told = Vec::new();
    for change in changes {
        for id in &ids {
            let is_through = change.seq <= position(id) && of_parked_event(id, change).is_none();
            if is_through && event(id, change).is_some() {
                told.push((id.as_str(), change.seq, change.time));
            }
        }
    }
    let received = attempts::first_of_each(tx, &told, |seq, attempt| {
        let lanes = attempt.lanes as usize;
        let subject = changes.iter().find(|change| change.seq == seq);
        let by_lane = |change: &Change| lane_of(&change.subject_id, lanes) == attempt.lane as usize;
        attempt.was_received() && (lanes <= 1 || subject.is_some_and(by_lane))
    })?;
    let after = received.parked_after(tx, |seq, attempt| {
        let mut of_it = changes.iter().filter(|change| change.seq == seq);
        of_it.any(|change| of_attempt(attempt, &change.event_id).is_none())
    })?;
    let arrived = |change: &Change, (id, name): &(String, String)| {
        let event = event(id, change);
        let attempt = received.of(id, change.seq);
        let fate = match (event, of_parked_event(id, change), attempt) {
            (None, ..) => Fate::NotForIt {
                reason: match entitlements.get(id) {
                    Some(of_it) if change.seq > of_it.begins() => not_for_it(of_it, change),
                    _ => Reason::AddedLater,
                },
            },
            (Some(_), Some(parked), _) => of_parked(parked),
            (Some(_), None, _) if change.seq > position(id) => Fate::Waiting,
            (Some(_), None, first) => settled(first, &after, id, change),
        };
        Arrived {
            application_id: id.clone(),
            application: name.clone(),
            event: event.map(|event| event.short().into()),
            sent_at: attempt.map(|attempt| attempt.started_at),
            took: fate.at().map(|at| (at - change.time).max(0)),
            fate,
        }
    };
    let told_of = |change: &Change| RecentChange {
        seq: change.seq,
        time: change.time,
        kind: change.kind.as_str().into(),
        subject_kind: change.subject_kind.as_str().into(),
        subject_id: change.subject_id.clone(),
        name: name_of(change),
        applications: applications.iter().map(|it| arrived(change, it)).collect(),
    };
    Ok(changes.iter().map(told_of).collect())
}

/// What a subject is called in the record of a change.
fn name_of(change: &Change) -> Option<String> {
    let record: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&change.record).ok()?;
    change::name_in(&record).map(str::to_owned)
}
