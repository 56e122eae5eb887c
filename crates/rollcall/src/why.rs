//! "Why did this user (not) arrive?": everything that is known of a user and an application, on one page.
//!
//! Nothing is ticked off for each event; what became of one follows from the entitlement that was valid at
//! its position, the cursor, the parked events and the attempts that cover it.

use rollcall_db::{DbError, Tx};
use rollcall_protocol::{EventType, SubjectKind};
use serde::Serialize;

use crate::application::keys::rotation;
use crate::application::{Application, ApplicationError, Entitlements, store};
use crate::change::{self, Change, Placement, Seq};
use crate::clock::Millis;
use crate::delivery::job::{self, JobKind, JobPosition};
use crate::delivery::ledger::attempts::{self, Search};
use crate::delivery::ledger::parked::{self, Parked, ParkedState};
use crate::delivery::model::Attempt;
use crate::delivery::plan::lanes::lane_of;
use crate::directory::earlier::{self, Incarnation, SEARCHED, Whom};
use crate::directory::{DirectoryError, User, query};

/// How many changes, newest first, are looked into.
const CHANGES: usize = 50;

/// The page.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Why {
    /// The user's id.
    pub user_id: String,
    /// The username; of somebody who was deleted, the last one that the change log knows.
    pub username: Option<String>,
    /// Whether the user is in the directory no more.
    pub deleted: bool,
    /// The application's id.
    pub application_id: String,
    /// The application's name.
    pub application: String,
    /// `active`, `suspended` or `paused`.
    pub state: &'static str,
    /// The answer in a sentence or two, and what to do.
    pub conclusion: String,
    /// What should be known besides: that the application refuses the new signing key, that not all that is kept was
    /// looked at.
    pub warnings: Vec<String>,
    /// Through what the user is in scope now; empty if through nothing.
    pub in_scope_through: Vec<String>,
    /// Where the user stands.
    pub stands_in: Vec<String>,
    /// What the scope names.
    pub scope: Vec<String>,
    /// The changes of the user, newest first, and what became of each.
    pub changes: Vec<ChangeFate>,
    /// Synchronizations that pushed the user or are to.
    pub synchronizations: Vec<Pushed>,
}

/// A change and what became of it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ChangeFate {
    /// Its position.
    pub seq: Seq,
    /// Its id on the wire.
    pub event_id: String,
    /// When.
    pub time: Millis,
    /// What happened.
    pub kind: String,
    /// Who did it.
    pub actor: String,
    /// The event that the application gets; `None` if it gets none.
    pub event: Option<&'static str>,
    /// What became of it.
    #[serde(flatten)]
    pub fate: Fate,
}

/// What became of an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
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
    /// The application passed it over.
    Skipped {
        /// When.
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

/// A synchronization and the user.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Pushed {
    /// The job.
    pub job_id: String,
    /// Its status.
    pub status: &'static str,
    /// Why it was made.
    pub trigger: job::Trigger,
    /// When it was asked for.
    pub created_at: Millis,
    /// Whether the user belonged to what it pushes.
    pub included: bool,
    /// What the application said when it passed the user over or refused it; `None` if it accepted it, or if the
    /// attempts of that time are not kept any more.
    pub answer: Option<String>,
    /// What became of the synchronization as a whole.
    pub summary: String,
}

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum WhyError {
    /// Nobody knows the user.
    #[error(
        "neither the directory nor the newest {SEARCHED} changes know the user {0:?}; somebody of long ago is found by \
         the id"
    )]
    UnknownUser(String),
    /// Several users had this name or address before.
    #[error(
        "{written:?} is nobody in the directory now, and was several before; name one by the id:{}",
        lines(others)
    )]
    SeveralUsers {
        /// What was written.
        written: String,
        /// Who had it.
        others: Vec<Incarnation>,
    },
    /// The application.
    #[error(transparent)]
    Application(#[from] ApplicationError),
    /// What is written means more than one user.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The database.
    #[error(transparent)]
    Database(#[from] DbError),
}

impl WhyError {
    /// A short name for scripts.
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownUser(_) => "not_found",
            Self::SeveralUsers { .. } => "ambiguous",
            Self::Application(error) => error.code(),
            Self::Directory(error) => error.code(),
            Self::Database(error) => error.class().code(),
        }
    }

    /// What is written was the name or address of several users.
    pub fn several(written: &str, others: &[Incarnation]) -> Self {
        Self::SeveralUsers {
            written: written.to_owned(),
            others: others.to_vec(),
        }
    }
}

fn lines(others: &[Incarnation]) -> String {
    others.iter().map(|other| format!("\n  {other}")).collect()
}

/// Looks everything up.
///
/// # Errors
/// [`WhyError`].
pub fn why(tx: &mut Tx<'_>, user: &str, application: &str, now: Millis) -> Result<Why, WhyError> {
    why_within(tx, &mut Search::default(), user, application, now)
}

/// The same, looking at no more attempts than a search allows.
///
/// # Errors
/// [`WhyError`].
pub fn why_within(
    tx: &mut Tx<'_>,
    search: &mut Search,
    user: &str,
    application: &str,
    now: Millis,
) -> Result<Why, WhyError> {
    let application = store::find(tx, application)?;
    let (user_id, found) = match earlier::whom(tx, user)? {
        Whom::Here(user) => (user.id.clone(), Some(*user)),
        Whom::Gone(id) => (id, None),
        Whom::Several(others) => return Err(WhyError::several(user, &others)),
        Whom::Unknown => return Err(WhyError::UnknownUser(user.to_owned())),
    };
    let mut changes = change::of_subject(tx, &user_id)?;
    changes.reverse();
    let entitlements = Entitlements::load(tx, &application.id)?;
    let parked = parked::list(tx, &application.id)?;
    let jobs = job::newest(tx, &application.id, 10)?;
    let placement = query::record_of(tx, SubjectKind::User, &user_id)?.map(|(_, placement)| placement);
    let mut fates = Vec::new();
    for change in changes.iter().take(CHANGES) {
        fates.push(fate(tx, search, &application, &entitlements, (&parked, change))?);
    }
    let mut pushes = Vec::new();
    for job in jobs.iter().filter(|job| job.kind == JobKind::Full) {
        let included = included(job, &changes, placement.as_deref(), &entitlements);
        pushes.push(Pushed {
            job_id: job.id.clone(),
            status: job.status.as_str(),
            trigger: job.trigger,
            created_at: job.created_at,
            included,
            answer: match included && job.statistics.users.has_exceptions() {
                true => push_answer(tx, search, &application, job, &user_id)?,
                false => None,
            },
            summary: job.statistics.words(),
        });
    }
    let scope = &entitlements.current().scope;
    let mut page = Why {
        username: match &found {
            Some(user) => Some(user.username.clone()),
            None => earlier::name_of(tx, &user_id)?,
        },
        deleted: found.is_none(),
        application_id: application.id.clone(),
        application: application.name.clone(),
        state: application.state(),
        conclusion: String::new(),
        warnings: rotation::rotation(tx, &application.id, now)?
            .warning()
            .into_iter()
            .collect(),
        in_scope_through: match &placement {
            Some(placement) => through(tx, scope, placement)?,
            None => Vec::new(),
        },
        stands_in: match &found {
            Some(user) => stands_in(tx, user)?,
            None => Vec::new(),
        },
        scope: names(tx, scope.organizational_unit_ids.iter(), scope.group_ids.iter())?,
        synchronizations: pushes,
        changes: fates,
        user_id,
    };
    if search.was_cut_short() {
        page.warnings.push(
            "there are more requests of that time than are looked at for one answer; what is said to be settled may be \
             told more exactly by rollcall log --app"
                .to_owned(),
        );
    }
    page.conclusion = conclude(&page, &application);
    Ok(page)
}

/// What the application said of the event that pushed the user, if it did not simply accept it.
fn push_answer(
    tx: &mut Tx<'_>,
    search: &mut Search,
    application: &Application,
    job: &JobPosition,
    user_id: &str,
) -> Result<Option<String>, DbError> {
    let during = (job.created_at, job.ended_at.unwrap_or(Millis::MAX));
    let event = (user_id, EventType::UserPush);
    let exception = attempts::exception(tx, search, &application.id, event, during)?;
    Ok(exception.map(|exception| {
        let words = [
            exception.result,
            exception.code,
            exception.message.unwrap_or_default(),
        ];
        words.join(" ").trim().to_owned()
    }))
}

fn included(
    job: &JobPosition,
    changes: &[Change],
    present: Option<&Placement>,
    entitlements: &Entitlements,
) -> bool {
    let last = changes.iter().find(|change| change.seq <= job.position);
    let stood = match last {
        Some(change) => change.after.as_deref(),
        None if changes.is_empty() => present,
        None => None,
    };
    let scope = &entitlements.at(job.position).scope;
    stood.is_some_and(|placement| scope.covers(SubjectKind::User, placement))
}

fn fate(
    tx: &mut Tx<'_>,
    search: &mut Search,
    application: &Application,
    entitlements: &Entitlements,
    (parked, change): (&[Parked], &Change),
) -> Result<ChangeFate, DbError> {
    let entitlement = entitlements.at(change.seq);
    let before = change.seq <= entitlements.begins();
    let event = entitlement.event_for(change).filter(|_| !before);
    let fate = match event {
        None if before => Fate::NotForIt {
            reason: "the application was added later",
        },
        None => Fate::NotForIt {
            reason: not_for_it(entitlement, change),
        },
        Some(_) => fate_of_event(tx, search, application, parked, change)?,
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

fn not_for_it(entitlement: &crate::application::Entitlement, change: &Change) -> &'static str {
    let covers = |placement: &Option<std::sync::Arc<Placement>>| {
        placement
            .as_ref()
            .is_some_and(|placement| entitlement.scope.covers(change.subject_kind, placement))
    };
    match (covers(&change.before), covers(&change.after), change.kind) {
        (true, true, change::ChangeKind::Departure | change::ChangeKind::Arrival) => {
            "the user was in scope before and after; what moved is told by another change"
        }
        (false, false, _) => "the user was not in scope",
        (_, _, change::ChangeKind::Departure | change::ChangeKind::Arrival) => {
            "the other half of the move tells it"
        }
        _ => "the application has not subscribed to this event",
    }
}

fn fate_of_event(
    tx: &mut Tx<'_>,
    search: &mut Search,
    application: &Application,
    parked: &[Parked],
    change: &Change,
) -> Result<Fate, DbError> {
    if let Some(parked) = parked.iter().find(|parked| parked.event_id == change.event_id) {
        let said = |text: &Option<String>| text.clone().unwrap_or_default();
        return Ok(Fate::Parked {
            state: parked.state,
            attempts: parked.attempts,
            answer: format!("{} {}", said(&parked.code), said(&parked.message))
                .trim()
                .to_owned(),
        });
    }
    if change.seq > application.position {
        return Ok(Fate::Waiting);
    }
    let covers = |attempt: &Attempt| {
        let lanes = attempt.lanes as usize;
        let by_lane = lane_of(&change.subject_id, lanes) == attempt.lane as usize;
        attempt.was_received() && (lanes <= 1 || by_lane)
    };
    let attempts = attempts::covering(tx, search, &application.id, (change.seq, change.time))?;
    let Some(attempt) = attempts.iter().find(|attempt| covers(attempt)) else {
        return Ok(Fate::Settled);
    };
    let at = attempt.started_at + attempt.latency_us / 1_000;
    let exception = attempt
        .exceptions
        .iter()
        .find(|it| it.event_id == change.event_id);
    Ok(match exception {
        Some(exception) if exception.result == "skipped" => Fate::Skipped {
            at,
            answer: format!(
                "{} {}",
                exception.code,
                exception.message.as_deref().unwrap_or_default()
            )
            .trim()
            .to_owned(),
        },
        // It was parked then and has been dealt with since.
        Some(_) => Fate::Settled,
        None => Fate::Delivered {
            at,
            try_number: attempt.try_number,
        },
    })
}

fn through(
    tx: &mut Tx<'_>,
    scope: &crate::application::Scope,
    placement: &Placement,
) -> Result<Vec<String>, DbError> {
    let units = placement
        .units
        .iter()
        .filter(|unit| scope.organizational_unit_ids.contains(*unit));
    let groups = placement
        .groups
        .iter()
        .filter(|group| scope.group_ids.contains(*group));
    names(tx, units, groups)
}

fn stands_in(tx: &mut Tx<'_>, user: &User) -> Result<Vec<String>, DbError> {
    let units = user.unit_ids();
    names(tx, units.iter(), user.groups.iter())
}

fn names<'a>(
    tx: &mut Tx<'_>,
    units: impl Iterator<Item = &'a String>,
    groups: impl Iterator<Item = &'a String>,
) -> Result<Vec<String>, DbError> {
    let mut names = Vec::new();
    for unit in units {
        names.push(format!("organizational unit /{}", query::unit_path(tx, unit)?));
    }
    for group in groups {
        let name = query::group_name(tx, group)?.unwrap_or_else(|| group.clone());
        names.push(format!("group {name}"));
    }
    Ok(names)
}

fn conclude(page: &Why, application: &Application) -> String {
    let name = &page.application;
    let newest = page
        .changes
        .iter()
        .find(|change| !matches!(change.fate, Fate::NotForIt { .. }));
    let waits = match (&application.suspended, application.synchronize) {
        (_, false) => format!(
            "{name} is switched off since an administrator paused it; rollcall app resume pushes again"
        ),
        (Some(suspension), true) => format!(
            "{name} does not answer ({}); it is asked again by itself, or at once with rollcall app resume",
            suspension.in_full()
        ),
        (None, true) => format!(
            "it is on its way; if it stays so, see whether a hub runs (rollcall doctor) and what rollcall log --app {name:?} shows"
        ),
    };
    match newest.map(|change| &change.fate) {
        Some(Fate::Parked {
            state: ParkedState::Failed,
            answer,
            ..
        }) => format!(
            "{name} refused the newest event: {answer}. Mend that there, then send it again with rollcall app resend"
        ),
        Some(Fate::Parked { answer, .. }) => {
            format!("{name} asked for the newest event again ({answer}), and it is sent again by itself")
        }
        Some(Fate::Waiting) => format!("The newest change has not been sent yet: {waits}"),
        Some(Fate::Skipped { answer, .. }) => {
            format!("{name} got the newest event and passed it over: {answer}")
        }
        _ if page.deleted => match newest.map(|change| &change.fate) {
            Some(_) => format!("The user is deleted, and {name} was told so"),
            None => "The user is deleted, and was never in scope of this application".to_owned(),
        },
        _ if page.in_scope_through.is_empty() => format!(
            "The user is not in scope of {name}: the scope is {}, and the user stands in {}. Change either one",
            page.scope.join(", "),
            page.stands_in.join(", ")
        ),
        Some(Fate::Delivered { .. }) => format!("{name} has everything that it is to have of this user"),
        Some(Fate::Settled) => {
            format!("{name} got everything; the attempts of that time are not kept any more")
        }
        Some(Fate::NotForIt { .. }) | None => {
            let pushed = page.synchronizations.iter().find(|job| job.included);
            match pushed {
                Some(Pushed {
                    job_id,
                    status: "success" | "partial_success",
                    answer: Some(answer),
                    ..
                }) => format!(
                    "{name} got the user by the synchronization {job_id} and did not take it: {answer}. What it skips or refuses there is for its developers to mend; rollcall app sync pushes again"
                ),
                Some(job) if job.status == "success" || job.status == "partial_success" => {
                    format!("{name} was pushed the user by the synchronization {}", job.job_id)
                }
                Some(job) if job.status == "pending" || job.status == "running" => {
                    format!("The synchronization {} pushes the user: {waits}", job.job_id)
                }
                _ => format!(
                    "The user was in scope before {name} was there, and nothing was pushed since: run rollcall app sync {name:?}"
                ),
            }
        }
    }
}
