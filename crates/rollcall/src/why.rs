//! "Why did this user (not) arrive?": everything that is known of a user and an application, on one page.
//!
//! Nothing is ticked off for each event; what became of one follows from the entitlement that was valid at
//! its position, the cursor, the parked events and the attempts that cover it.

mod conclusion;
mod fate;
mod recent;
mod standing;

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use rollcall_db::{DbError, Tx};
use rollcall_protocol::SubjectKind;
use serde::{Deserialize, Serialize};

pub use self::conclusion::{Verdict, Wait};
use self::fate::Inquiry;
pub use self::fate::{Fate, Reason};
pub use self::recent::{Arrived, LOOKED_AT, RECENT, Recent, RecentChange, recent};
pub use self::standing::{Last, Standing, standings};

use crate::application::keys::rotation;
use crate::application::{Application, ApplicationError, Entitlements, Scope, store};
use crate::change::{Change, Placement, Seq};
use crate::clock::{Millis, shown};
use crate::delivery::job::{self, JobKind, JobPosition, Tally};
use crate::delivery::ledger::attempts::{self, Search, Span};
use crate::delivery::ledger::parked::{self, Parked};
use crate::delivery::model::Attempt;
use crate::directory::earlier::{self, Incarnation, SEARCHED, Whom};
use crate::directory::{self, DirectoryError, Sight, User};

/// How many changes, newest first, are looked into.
const CHANGES: usize = 50;

/// A change of the user, and the event of it that is parked for the application.
type Told = (Change, Option<Parked>);

/// The page.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
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
    pub state: Cow<'static, str>,
    /// What all of it comes to.
    #[serde(skip)]
    pub verdict: Verdict,
    /// The answer in a sentence or two, and what to do.
    pub conclusion: String,
    /// How it fails at the moment; `None` if its newest request was answered, or if it is suspended.
    pub failing: Option<Failing>,
    /// What should be known besides: that the application refuses the new signing key, that not all that is kept was
    /// looked at.
    pub warnings: Vec<String>,
    /// Through what the user is in scope now; empty if through nothing.
    pub in_scope_through: Vec<Place>,
    /// Where the user stands.
    pub stands_in: Vec<Place>,
    /// What the scope names.
    pub scope: Vec<Place>,
    /// The changes of the user, newest first, and what became of each.
    pub changes: Vec<ChangeFate>,
    /// Synchronizations that pushed the user or are to.
    pub synchronizations: Vec<Pushed>,
}

/// A unit or a group, as it is named to whoever looks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(into = "String", from = "String")]
#[schemars(with = "String")]
pub struct Place {
    /// Whether it is a unit.
    pub is_unit: bool,
    /// The path of a unit, and the name of a group.
    pub name: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_unit {
            "organizational unit"
        } else {
            "group"
        };
        write!(f, "{kind} {}", self.name)
    }
}

impl From<String> for Place {
    fn from(text: String) -> Self {
        let unit = text.strip_prefix("organizational unit ");
        let name = unit.or_else(|| text.strip_prefix("group ")).unwrap_or(&text);
        Self {
            is_unit: unit.is_some(),
            name: name.to_owned(),
        }
    }
}

impl From<Place> for String {
    fn from(place: Place) -> Self {
        place.to_string()
    }
}

/// Places in words, one after the other.
pub fn in_words(places: &[Place]) -> String {
    if places.is_empty() {
        return "nothing".to_owned();
    }
    let words: Vec<String> = places.iter().map(Place::to_string).collect();
    words.join(", ")
}

/// A change and what became of it.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
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
    pub event: Option<Cow<'static, str>>,
    /// What became of it.
    #[serde(flatten)]
    pub fate: Fate,
}

/// How the application fails at the moment, although it is not suspended yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Failing {
    /// How often in a row.
    pub times: u32,
    /// Since when.
    pub since: Millis,
    /// How it failed the last time.
    pub last: String,
    /// When it is tried again, if that is known.
    pub next_try: Option<Millis>,
}

/// A synchronization and the user.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(rename = "WhySynchronization")]
#[serde(rename_all = "camelCase")]
pub struct Pushed {
    /// The job.
    pub job_id: String,
    /// Its status.
    pub status: Cow<'static, str>,
    /// Why it was made.
    pub trigger: job::Trigger,
    /// When it was asked for.
    pub created_at: Millis,
    /// Whether the user belonged to what it pushes.
    pub included: bool,
    /// What the application said when it passed the user over or refused it; `None` if it accepted it, or if the
    /// attempts of that time are not kept any more.
    pub answer: Option<String>,
    /// What became of all that it pushed.
    #[serde(skip)]
    pub tally: Tally,
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

/// The id of a user as people write it, also of one who was deleted; of another subject, the id as it was written.
///
/// # Errors
/// [`WhyError`].
pub fn subject_id(tx: &mut Tx<'_>, text: &str) -> Result<String, WhyError> {
    match earlier::whom(tx, text)? {
        Whom::Here(found) => Ok(found.0.id),
        Whom::Gone(id) => Ok(id),
        Whom::Several(others) => Err(WhyError::several(text, &others)),
        Whom::Unknown => Err(WhyError::UnknownUser(text.to_owned())),
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

/// The same for somebody who sees a part of the directory: only about users who stand in it, and without the names of
/// what is outside.
///
/// # Errors
/// [`WhyError`].
pub fn why_seen(
    tx: &mut Tx<'_>,
    sight: &Sight,
    user: &str,
    application: &str,
    now: Millis,
) -> Result<Why, WhyError> {
    why_seen_within(tx, &mut Search::default(), sight, user, application, now)
}

/// The same, looking at no more attempts than a search allows.
///
/// # Errors
/// [`WhyError`].
pub fn why_seen_within(
    tx: &mut Tx<'_>,
    search: &mut Search,
    sight: &Sight,
    user: &str,
    application: &str,
    now: Millis,
) -> Result<Why, WhyError> {
    if sight.is_everything() {
        return why_within(tx, search, user, application, now);
    }
    let Some(found) = sight.standing(tx, user)? else {
        return Err(WhyError::Directory(directory::not_found(SubjectKind::User, user)));
    };
    let found = (found.0.id.clone(), Some(found));
    page(tx, search, sight, found, application, now)
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
    let found = match earlier::whom(tx, user)? {
        Whom::Here(found) => (found.0.id.clone(), Some(*found)),
        Whom::Gone(id) => (id, None),
        Whom::Several(others) => return Err(WhyError::several(user, &others)),
        Whom::Unknown => return Err(WhyError::UnknownUser(user.to_owned())),
    };
    page(tx, search, &Sight::EVERYTHING, found, application, now)
}

/// The page about somebody who was found, or who is gone. It is made with a fixed number of statements: what is told of
/// each change, each synchronization and each name is read for all of them at once.
fn page(
    tx: &mut Tx<'_>,
    search: &mut Search,
    sight: &Sight,
    (user_id, found): (String, Option<(User, Arc<Placement>)>),
    application: &str,
    now: Millis,
) -> Result<Why, WhyError> {
    let (application, entitlements) = store::find_entitled(tx, application)?;
    let changes = parked::changes_of(tx, &application.id, &user_id)?;
    let jobs = job::newest(tx, &application.id, 10)?;
    let placement = found.as_ref().map(|(_, placement)| &**placement);
    let pushes: Vec<(JobPosition, bool)> = jobs
        .into_iter()
        .filter(|job| job.kind == JobKind::Full)
        .map(|job| {
            let included = included(&job, &changes, placement, &entitlements);
            (job, included)
        })
        .collect();
    let telling: Vec<Span> = pushes
        .iter()
        .filter(|(job, included)| tells(job, *included))
        .map(|(job, _)| span(job))
        .collect();
    let entitled = (&application, &entitlements);
    let inquiry = Inquiry::begin(tx, search, entitled, (&user_id, &changes), &telling)?;
    let user = found.as_ref().map(|(user, _)| user);
    let scope = &entitlements.current().scope;
    let names = Names::load(tx, sight, scope, user)?;
    let mut page = Why {
        username: match user {
            Some(user) => Some(user.username.clone()),
            None => earlier::name_of(tx, &user_id)?,
        },
        deleted: user.is_none(),
        application_id: application.id.clone(),
        application: application.name.clone(),
        state: application.state().into(),
        verdict: Verdict::default(),
        conclusion: String::new(),
        failing: Failing::of(tx, &application)?,
        warnings: rotation::rotation(tx, &application.id, now)?
            .warning()
            .into_iter()
            .collect(),
        in_scope_through: match placement {
            Some(placement) => names.of(
                placement
                    .units
                    .iter()
                    .filter(|unit| scope.organizational_unit_ids.contains(*unit)),
                placement
                    .groups
                    .iter()
                    .filter(|group| scope.group_ids.contains(*group)),
            ),
            None => Vec::new(),
        },
        stands_in: match user {
            Some(user) => names.of(&user.unit_ids(), &user.groups),
            None => Vec::new(),
        },
        scope: names.of(&scope.organizational_unit_ids, &scope.group_ids),
        synchronizations: pushes
            .into_iter()
            .map(|push| Pushed::of(push, &inquiry, &user_id))
            .collect(),
        changes: inquiry.fates(search),
        user_id,
    };
    if search.was_cut_short() {
        page.warnings.push(
            "there are more requests of that time than are looked at for one answer; what is said to be settled may be \
             told more exactly by rollcall log --app"
                .to_owned(),
        );
    }
    page.verdict = conclusion::conclude(&page, &application);
    page.conclusion = page.verdict.words(&page, now);
    Ok(page)
}

/// How many requests, newest first, are looked at to tell how often the application failed.
const REQUESTS: usize = 100;

/// How long after its time a try is said to be overdue.
const OVERDUE: Millis = 30_000;

impl Failing {
    /// How an application fails, if its newest request did.
    ///
    /// # Errors
    /// What the database reports.
    pub fn of(tx: &mut Tx<'_>, application: &Application) -> Result<Option<Self>, DbError> {
        let newest = attempts::newest(tx, &application.id, 0, REQUESTS)?;
        Ok(Self::among(application, &newest))
    }

    /// The same, told from the application's newest requests, newest first.
    pub fn among(application: &Application, newest: &[(i64, Attempt)]) -> Option<Self> {
        if application.suspended.is_some() {
            return None;
        }
        let failed = newest.iter().take(REQUESTS).map(|(_, attempt)| attempt);
        let failed: Vec<&Attempt> = failed.take_while(|attempt| !attempt.was_received()).collect();
        let (last, first) = (failed.first()?, failed.last()?);
        Some(Self {
            times: u32::try_from(failed.len()).unwrap_or(u32::MAX),
            since: first.started_at,
            last: last.in_full().unwrap_or_else(|| last.outcome.clone()),
            next_try: last.next_try,
        })
    }

    /// For people: how often, since when, how, and when it is tried again.
    pub fn words(&self, now: Millis) -> String {
        let times = match self.times {
            1 => "once".to_owned(),
            more => format!("{more} times in a row"),
        };
        let again = match self.next_try {
            Some(at) if at + OVERDUE < now => format!(
                "It was to be tried again at {}: see whether a hub runs (rollcall doctor)",
                shown(at)
            ),
            Some(at) => format!("It is tried again at {}", shown(at)),
            None => "It is tried again by itself".to_owned(),
        };
        let (since, last) = (shown(self.since), &self.last);
        format!("failed {times} since {since}, the last time with: {last}. {again}")
    }
}

/// When the requests of a job were made.
fn span(job: &JobPosition) -> Span {
    (job.created_at, job.ended_at.unwrap_or(Millis::MAX))
}

/// Whether the requests of a job may tell something of a user.
fn tells(job: &JobPosition, included: bool) -> bool {
    included && job.statistics.users.has_exceptions()
}

impl Pushed {
    /// A job, whether the user belonged to what it pushed, and what the application said of that.
    fn of((job, included): (JobPosition, bool), inquiry: &Inquiry<'_>, user_id: &str) -> Self {
        let answer = inquiry.answer_to_job(user_id, span(&job));
        let answer = answer.filter(|_| tells(&job, included));
        Self {
            answer: answer.map(|exception| {
                let message = exception.message.as_deref().unwrap_or_default();
                let words = [exception.result.as_str(), &exception.code, message];
                words.join(" ").trim().to_owned()
            }),
            included,
            status: job.status.as_str().into(),
            trigger: job.trigger,
            created_at: job.created_at,
            tally: job.statistics.sum(),
            summary: job.statistics.words(),
            job_id: job.id,
        }
    }
}

fn included(
    job: &JobPosition,
    changes: &[Told],
    present: Option<&Placement>,
    entitlements: &Entitlements,
) -> bool {
    let last = changes.iter().find(|(change, _)| change.seq <= job.position);
    let stood = match last {
        Some((change, _)) => change.after.as_deref(),
        None if changes.is_empty() => present,
        None => None,
    };
    let scope = &entitlements.at(job.position).scope;
    stood.is_some_and(|placement| scope.covers(SubjectKind::User, placement))
}

/// What the page calls units and groups.
struct Names {
    paths: HashMap<String, String>,
    groups: HashMap<String, String>,
}

impl Names {
    /// Reads the names of what a scope has, and of what a user stands in.
    fn load(tx: &mut Tx<'_>, sight: &Sight, scope: &Scope, user: Option<&User>) -> Result<Self, DbError> {
        let mut units = scope.organizational_unit_ids.clone();
        units.extend(user.into_iter().flat_map(User::unit_ids));
        let mut groups = scope.group_ids.clone();
        groups.extend(user.into_iter().flat_map(|user| user.groups.iter().cloned()));
        let all = |ids: BTreeSet<String>| ids.into_iter().collect::<Vec<_>>();
        Ok(Self {
            paths: sight.paths(tx, &all(units))?,
            groups: sight.group_names(tx, &all(groups))?,
        })
    }

    fn of<'a>(
        &self,
        units: impl IntoIterator<Item = &'a String>,
        groups: impl IntoIterator<Item = &'a String>,
    ) -> Vec<Place> {
        let path = |id: &String| self.paths.get(id).map_or("", String::as_str);
        let units = units.into_iter().map(|id| Place {
            is_unit: true,
            name: format!("/{}", path(id)),
        });
        let groups = groups.into_iter().map(|id| Place {
            is_unit: false,
            name: self.groups.get(id).unwrap_or(id).clone(),
        });
        units.chain(groups).collect()
    }
}
