//! What an administrator does to delivery: resume, send again, skip, dismiss, push one user.
//!
//! Each of these raises the revision of the application's row in the ledger, in the transaction that does the
//! work, and tells the audit log of it. They ask for the same context as the doors for writes: who comes in, and
//! how far that reaches. Whatever was in flight meanwhile cannot settle any more; the worker loads the application again and
//! goes on from what was decided here. So an old probe cannot undo a resume, and what is sent again is
//! placed before whatever of its subject was in flight, which is then sent after it once more.

mod deletion;

use std::collections::{BTreeSet, HashSet};

use rollcall_db::{DbError, Tx, params};
use rollcall_protocol::{EventType, GroupPayload, SubjectKind};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::parked::{self, Parked, ParkedState};
use super::standing;
use crate::access::Context;
use crate::application::{
    self, Application, ApplicationError, Command, Entitlement, Entitlements, command::open, entitlement,
    store,
};
use crate::audit::{self, Target};
use crate::change::{self, Change, Seq};
use crate::clock::Millis;
use crate::delivery::model::bare_record;
use crate::directory::{MEMBERS_PER_EVENT, query};
use crate::id;
pub use deletion::{ApplicationDeletion, delete, plan_deletion};

/// Which of the events that are set aside as failed are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Chosen {
    /// All of them.
    #[default]
    All,
    /// These, each of which has to be there.
    Events(BTreeSet<String>),
    /// Those that were set aside at this time or later.
    Since(Millis),
}

impl Chosen {
    fn is_meant(&self, parked: &Parked) -> bool {
        match self {
            Self::All => true,
            Self::Events(ids) => ids.contains(&parked.event_id),
            Self::Since(time) => parked.next_try >= *time,
        }
    }

    /// What the audit log says of it.
    fn shown(&self) -> Json {
        match self {
            Self::All => json!("all that failed"),
            Self::Events(ids) => match ids.first() {
                Some(id) if ids.len() == 1 => json!(id),
                _ => json!(ids),
            },
            Self::Since(time) => json!({ "since": time }),
        }
    }
}

impl From<Option<&str>> for Chosen {
    /// The event with this id, or all of them.
    fn from(event_id: Option<&str>) -> Self {
        event_id.map_or(Self::All, |id| Self::Events([id.to_owned()].into()))
    }
}

/// Why delivery cannot be told to do something.
#[derive(Debug, thiserror::Error)]
pub enum OperateError {
    /// No such event waits or is set aside.
    #[error(
        "no event {0} is waiting or set aside for this application; `rollcall app show` lists those that are"
    )]
    NoSuchEvent(String),
    /// There is nothing to skip.
    #[error("there is nothing to skip: everything up to the end of the change log was delivered")]
    NothingToSkip,
    /// The subject is neither in scope nor was it ever.
    #[error("{0} is not in the application's scope, so there is nothing to push")]
    NotInScope(String),
    /// The application has not subscribed to anything that would tell it.
    #[error("the application has not subscribed to any event that would tell it of {0}")]
    NotSubscribed(String),
    /// The application.
    #[error(transparent)]
    Application(#[from] ApplicationError),
    /// The database.
    #[error(transparent)]
    Database(#[from] DbError),
}

impl OperateError {
    /// A short name for scripts.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoSuchEvent(_) => "not_found",
            Self::NothingToSkip => "nothing_to_skip",
            Self::NotInScope(_) => "not_in_scope",
            Self::NotSubscribed(_) => "not_subscribed",
            Self::Application(error) => error.code(),
            Self::Database(error) => error.class().code(),
        }
    }
}

/// Tells the audit log what was done to the delivery to an application.
pub(in crate::delivery) fn note(
    tx: &mut Tx<'_>,
    ctx: &Context<'_>,
    application: &Application,
    action: &str,
    what: &Json,
) -> Result<(), DbError> {
    let target = Target::application(&application.id, &application.name);
    audit::record(tx, ctx, action, &target, None, Some(what))
}

/// Fences off what is in flight, and has the application loaded again. It comes before everything else that is
/// done to its delivery, so that no settlement can come in between.
///
/// # Errors
/// What the database reports.
pub fn interfere(tx: &mut Tx<'_>, application_id: &str) -> Result<(), DbError> {
    store::fence_off(tx, application_id)?;
    store::touch(tx, application_id)
}

/// Does to all applications what [`interfere`] does to one.
///
/// # Errors
/// What the database reports.
pub fn interfere_all(tx: &mut Tx<'_>) -> Result<(), DbError> {
    store::fence_off_all(tx)?;
    store::touch_all(tx)
}

/// Has an application pushed to again: turns *Synchronize users to application* on, and ends a suspension, so
/// that the application is asked again at once.
///
/// # Errors
/// [`OperateError`].
pub fn resume(tx: &mut Tx<'_>, ctx: &Context<'_>, application_id: &str) -> Result<Application, OperateError> {
    interfere(tx, application_id)?;
    let id = application_id.to_owned();
    let application = application::apply(tx, ctx, &Command::EnableSynchronization { id })?.application;
    if let Some(suspension) = &application.suspended {
        tx.execute(
            "UPDATE deliveries SET suspended = NULL WHERE application_id = $1",
            params![application_id],
        )?;
        let what = json!({ "suspendedSince": suspension.since, "tries": suspension.tries });
        note(tx, ctx, &application, "end_suspension", &what)?;
    }
    Ok(store::load(tx, application_id)?)
}

/// What became of events that were to be sent again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Resent {
    /// They are sent again as they were.
    pub queued: u32,
    /// Something later of the same subject was told meanwhile, so that they would turn it back. What is true
    /// of the subject now is sent instead.
    pub refreshed: u32,
    /// As before, but there is nothing to tell the application of the subject any more.
    pub superseded: u32,
}

/// Sends events that were set aside as failed again: some, or all of an application.
///
/// # Errors
/// [`OperateError`].
pub fn resend(
    tx: &mut Tx<'_>,
    ctx: &Context<'_>,
    application_id: &str,
    chosen: impl Into<Chosen>,
) -> Result<Resent, OperateError> {
    let wanted = chosen.into();
    let application = open(tx, ctx, application_id)?;
    interfere(tx, application_id)?;
    let mut resent = Resent::default();
    for parked in &failed(tx, application_id, &wanted)? {
        let member_ids = member_ids(tx, parked)?;
        // An event of many members, from a time before they went in portions, is told anew in portions.
        if member_ids.len() <= MEMBERS_PER_EVENT && is_newest(tx, application_id, parked)? {
            let again = Parked {
                state: waiting_state(tx, application_id, &parked.subject_id)?,
                attempts: 0,
                strikes: 0,
                next_try: ctx.now,
                ..parked.clone()
            };
            parked::store(tx, application_id, &again)?;
            resent.queued += 1;
            continue;
        }
        let kind = parked.event_type.subject_kind().unwrap_or(SubjectKind::User);
        parked::remove(tx, application_id, &parked.event_id)?;
        match refresh(
            tx,
            ctx,
            application_id,
            kind,
            &parked.subject_id,
            &member_ids,
            Known::Perhaps,
        ) {
            Ok(_) => resent.refreshed += 1,
            Err(OperateError::NotInScope(_) | OperateError::NotSubscribed(_)) => resent.superseded += 1,
            Err(error) => return Err(error),
        }
    }
    let what = json!({ "event": wanted.shown(), "events": resent });
    note(tx, ctx, &application, "resend", &what)?;
    Ok(resent)
}

/// Forgets events that were set aside as failed: some, or all of an application. Returns how many.
///
/// # Errors
/// [`OperateError`].
pub fn dismiss(
    tx: &mut Tx<'_>,
    ctx: &Context<'_>,
    application_id: &str,
    chosen: impl Into<Chosen>,
) -> Result<u32, OperateError> {
    let application = open(tx, ctx, application_id)?;
    interfere(tx, application_id)?;
    let chosen = failed(tx, application_id, &chosen.into())?;
    for parked in &chosen {
        parked::remove(tx, application_id, &parked.event_id)?;
    }
    let ids: Vec<&str> = chosen.iter().map(|parked| parked.event_id.as_str()).collect();
    note(tx, ctx, &application, "dismiss", &json!({ "events": ids }))?;
    Ok(u32::try_from(chosen.len()).unwrap_or(u32::MAX))
}

/// Sets an event aside before it is delivered, so that delivery goes on without it: one that waits in the
/// parked queue or stands in the log after the position; without an id, the first that is to be sent.
/// Returns the event's id.
///
/// # Errors
/// [`OperateError`].
pub fn skip(
    tx: &mut Tx<'_>,
    ctx: &Context<'_>,
    application_id: &str,
    event_id: Option<&str>,
) -> Result<String, OperateError> {
    let application = open(tx, ctx, application_id)?;
    interfere(tx, application_id)?;
    let by_hand = |parked: Parked| Parked {
        state: ParkedState::Failed,
        next_try: ctx.now,
        code: Some("skipped".to_owned()),
        message: Some("skipped by an administrator".to_owned()),
        ..parked
    };
    let all = parked::list(tx, application_id)?;
    let waiting = all.into_iter().find(|parked| match event_id {
        Some(id) => parked.event_id == id && parked.state != ParkedState::Failed,
        None => parked.state == ParkedState::Retrying,
    });
    let skipped = if let Some(parked) = waiting {
        let subject = parked.subject_id.clone();
        let skipped = by_hand(parked);
        parked::store(tx, application_id, &skipped)?;
        // What was held behind it goes on.
        let next = parked::list(tx, application_id)?
            .into_iter()
            .find(|parked| parked.subject_id == subject && parked.state != ParkedState::Failed);
        if let Some(next) = next.filter(|next| next.state == ParkedState::Held) {
            let next = Parked {
                state: ParkedState::Retrying,
                next_try: ctx.now,
                ..next
            };
            parked::store(tx, application_id, &next)?;
        }
        skipped.event_id
    } else {
        let ahead = next_of_log(tx, application_id, event_id)?;
        let skipped = by_hand(ahead);
        parked::store(tx, application_id, &skipped)?;
        skipped.event_id
    };
    note(tx, ctx, &application, "skip", &json!({ "event": skipped }))?;
    Ok(skipped)
}

/// The first event of the log after the position, or the one with this id.
fn next_of_log(
    tx: &mut Tx<'_>,
    application_id: &str,
    event_id: Option<&str>,
) -> Result<Parked, OperateError> {
    let entitlements = Entitlements::load(tx, application_id)?;
    let aside: Vec<String> = parked::list(tx, application_id)?
        .into_iter()
        .map(|parked| parked.event_id)
        .collect();
    let mut after = standing(tx, application_id)?.map_or(0, |standing| standing.position);
    loop {
        let page = change::read_after(tx, after, 500)?;
        let Some(last) = page.last() else {
            return Err(match event_id {
                Some(id) => OperateError::NoSuchEvent(id.to_owned()),
                None => OperateError::NothingToSkip,
            });
        };
        after = last.seq;
        for change in page {
            let Some(event_type) = entitlements.event_for(&change) else {
                continue;
            };
            if aside.contains(&change.event_id) || event_id.is_some_and(|id| id != change.event_id) {
                continue;
            }
            return Ok(Parked {
                event_id: change.event_id.clone(),
                event_type,
                subject_id: change.subject_id.clone(),
                seq: Some(change.seq),
                event_time: change.time,
                record: None,
                state: ParkedState::Failed,
                attempts: 0,
                strikes: 0,
                next_try: 0,
                code: None,
                message: None,
            });
        }
    }
}

/// Sends what is true of a user now, ahead of everything else, behind whatever of this user waits already.
/// Returns the ids of the events.
///
/// # Errors
/// [`OperateError`].
pub fn push(
    tx: &mut Tx<'_>,
    ctx: &Context<'_>,
    application_id: &str,
    user_id: &str,
) -> Result<Vec<String>, OperateError> {
    let application = open(tx, ctx, application_id)?;
    interfere(tx, application_id)?;
    let user = SubjectKind::User;
    let pushed = refresh(tx, ctx, application_id, user, user_id, &[], Known::IfTheLogSays)?;
    note(
        tx,
        ctx,
        &application,
        "push",
        &json!({ "user": user_id, "events": pushed }),
    )?;
    Ok(pushed)
}

fn failed(tx: &mut Tx<'_>, application_id: &str, wanted: &Chosen) -> Result<Vec<Parked>, OperateError> {
    let mut found = parked::list(tx, application_id)?;
    found.retain(|parked| parked.state == ParkedState::Failed && wanted.is_meant(parked));
    if let Chosen::Events(ids) = wanted {
        let is_there = |id: &&String| found.iter().any(|parked| parked.event_id == **id);
        if let Some(missing) = ids.iter().find(|id| !is_there(id)) {
            return Err(OperateError::NoSuchEvent(missing.clone()));
        }
    }
    Ok(found)
}

/// Whether nothing later of the event's subject can have been told to the application, and the event is still meant for
/// it. Where that is not certain, the answer is no. (Retention keeps the later changes of whoever has an event set
/// aside, but not the jobs that have told of them.)
fn is_newest(tx: &mut Tx<'_>, application_id: &str, parked: &Parked) -> Result<bool, DbError> {
    let Some(seq) = parked.seq else { return Ok(false) };
    if !is_still_meant(tx, application_id, parked)? {
        return Ok(false);
    }
    let position = standing(tx, application_id)?.map_or(0, |standing| standing.position);
    let later: Option<Seq> = tx
        .query_one(
            "SELECT MAX(seq) FROM changes WHERE subject_id = $1 AND seq > $2 AND seq <= $3
             AND event_id NOT IN (SELECT event_id FROM parked_events WHERE application_id = $4)",
            params![parked.subject_id.as_str(), seq, position, application_id],
        )?
        .get(0)?;
    let pushed = tx.query_opt(
        "SELECT 1 FROM jobs WHERE application_id = $1 AND position_seq >= $2 AND started_at IS NOT NULL LIMIT 1",
        params![application_id, seq],
    )?;
    let told_anew = tx.query_opt(
        "SELECT 1 FROM parked_events WHERE application_id = $1 AND subject_id = $2 AND seq IS NULL LIMIT 1",
        params![application_id, parked.subject_id.as_str()],
    )?;
    Ok(later.is_none() && pushed.is_none() && told_anew.is_none() && change::read(tx, seq)?.is_some())
}

/// Whether an event is meant for an application by its present scope and subscription. A deletion is, wherever its
/// subject is by now.
fn is_still_meant(tx: &mut Tx<'_>, application_id: &str, parked: &Parked) -> Result<bool, DbError> {
    let entitlements = Entitlements::load(tx, application_id)?;
    let Entitlement {
        scope, subscription, ..
    } = entitlements.current();
    let Some(kind) = parked.event_type.subject_kind() else {
        return Ok(false);
    };
    let in_scope = parked.event_type == entitlement::deleted(kind)
        || query::record_of(tx, kind, &parked.subject_id)?
            .is_some_and(|(_, placement)| scope.covers(kind, &placement));
    Ok(in_scope && subscription.contains(parked.event_type))
}

fn waiting_state(tx: &mut Tx<'_>, application_id: &str, subject_id: &str) -> Result<ParkedState, DbError> {
    let before = tx.query_opt(
        "SELECT 1 FROM parked_events WHERE application_id = $1 AND subject_id = $2 AND state = 'retrying' LIMIT 1",
        params![application_id, subject_id],
    )?;
    Ok(match before {
        Some(_) => ParkedState::Held,
        None => ParkedState::Retrying,
    })
}

/// The members that a group's event is about.
fn member_ids(tx: &mut Tx<'_>, parked: &Parked) -> Result<Vec<String>, DbError> {
    if parked.event_type.subject_kind() != Some(SubjectKind::Group) {
        return Ok(Vec::new());
    }
    Ok(parked::record(tx, parked)?
        .and_then(|record| GroupPayload::from_json(&record).ok())
        .and_then(|payload| payload.user_ids)
        .unwrap_or_default())
}

/// Whether an application may know a subject that is not in its scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// It may: there was an event of it. The log may have forgotten that by now, and to delete what is not there does
    /// no harm.
    Perhaps,
    /// If the log has something that it was told.
    IfTheLogSays,
}

/// Parks events that tell what is true of a subject now.
fn refresh(
    tx: &mut Tx<'_>,
    ctx: &Context<'_>,
    application_id: &str,
    kind: SubjectKind,
    subject_id: &str,
    member_ids: &[String],
    known: Known,
) -> Result<Vec<String>, OperateError> {
    let entitlements = Entitlements::load(tx, application_id)?;
    let current = entitlements.current();
    // The time is read before the record: what the record includes is then never told as older than it is.
    let time = change::head(tx)?.time;
    let present = query::record_of(tx, kind, subject_id)?
        .filter(|(_, placement)| current.scope.covers(kind, placement))
        .map(|(record, _)| record);
    let mut events: Vec<(EventType, String)> = Vec::new();
    if let Some(record) = present {
        let told_by = match kind {
            SubjectKind::User => [
                EventType::UserPush,
                EventType::UserUpdateInfo,
                EventType::UserCreate,
            ],
            SubjectKind::Unit => [EventType::UnitPush, EventType::UnitUpdate, EventType::UnitCreate],
            SubjectKind::Group => [
                EventType::GroupCreate,
                EventType::GroupUpdate,
                EventType::GroupUpdate,
            ],
        };
        let event = told_by
            .into_iter()
            .find(|event| current.subscription.contains(*event));
        events.extend(event.map(|event| (event, record.clone())));
        if kind == SubjectKind::Group && !member_ids.is_empty() {
            let members: HashSet<String> = query::group_members(tx, subject_id)?.into_iter().collect();
            let (stay, gone): (Vec<_>, Vec<_>) =
                member_ids.iter().cloned().partition(|id| members.contains(id));
            for (event, ids) in [
                (EventType::GroupAddUser, stay),
                (EventType::GroupRemoveUser, gone),
            ] {
                if !current.subscription.contains(event) {
                    continue;
                }
                for portion in ids.chunks(MEMBERS_PER_EVENT) {
                    if let Ok(mut payload) = GroupPayload::from_json(&record) {
                        payload.user_ids = Some(portion.to_vec());
                        events.push((event, payload.to_json()));
                    }
                }
            }
        }
    } else {
        let event = entitlement::deleted(kind);
        let is_told = |change: &Change| entitlements.at(change.seq).event_for(change).is_some();
        if known == Known::IfTheLogSays && !change::of_subject(tx, subject_id)?.iter().any(is_told) {
            return Err(OperateError::NotInScope(subject_id.to_owned()));
        }
        if current.subscription.contains(event) {
            events.push((event, bare_record(kind, subject_id)));
        }
    }
    if events.is_empty() {
        return Err(OperateError::NotSubscribed(subject_id.to_owned()));
    }
    let mut ids = Vec::new();
    for (event_type, record) in events {
        let parked = Parked {
            event_id: id::make("evnt", ctx.now, ctx.random),
            event_type,
            subject_id: subject_id.to_owned(),
            seq: None,
            event_time: time,
            record: Some(record),
            state: waiting_state(tx, application_id, subject_id)?,
            attempts: 0,
            strikes: 0,
            next_try: ctx.now,
            code: None,
            message: None,
        };
        parked::store(tx, application_id, &parked)?;
        ids.push(parked.event_id);
    }
    Ok(ids)
}
