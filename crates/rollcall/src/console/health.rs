//! How an application stands, in one word with a sentence beside it, and what about it needs a person.

use super::locale::Reader;
use crate::clock::Millis;
use crate::delivery::job::JobPosition;
use crate::delivery::model::Suspension;
use crate::delivery::status::ApplicationStatus;

/// For how long changes may wait before an application is said to lag: retries and batches take a moment.
const LAGS_AFTER: Millis = 10_000;

/// How an application stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Health {
    /// Somebody switched it off.
    Paused { waiting: i64 },
    /// Its endpoint does not answer.
    Suspended(Suspension),
    /// A synchronization is under way.
    Synchronizing(Progress),
    /// Changes wait.
    Lagging { changes: i64, since: Millis },
    /// Nothing was ever pushed to it but the changes since it is there.
    NeverSynchronized,
    /// It has everything but the events that are set aside.
    SetAside { events: u64, synchronized_at: Millis },
    /// It has everything.
    InStep { synchronized_at: Millis },
}

/// How far a job is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Progress {
    pub(super) done: u64,
    pub(super) total: u64,
    /// Of a hundred.
    pub(super) percent: u64,
}

impl Progress {
    pub(super) fn of(job: &JobPosition) -> Self {
        let (done, total) = (job.statistics.done(), job.statistics.total());
        Self {
            done,
            total,
            percent: (done * 100 / total.max(1)).min(100),
        }
    }
}

impl Health {
    pub(super) fn of(status: &ApplicationStatus, now: Millis) -> Self {
        let application = &status.application;
        let since = status.oldest.filter(|since| now - since > LAGS_AFTER);
        match (&application.suspended, &status.job, since, status.synchronized_at) {
            _ if !application.synchronize => Self::Paused { waiting: status.lag },
            (Some(suspension), ..) => Self::Suspended(suspension.clone()),
            (None, Some(job), ..) => Self::Synchronizing(Progress::of(job)),
            (None, None, Some(since), _) => Self::Lagging {
                changes: status.lag,
                since,
            },
            (None, None, None, None) => Self::NeverSynchronized,
            (None, None, None, Some(synchronized_at)) => match status.parked[2] {
                0 => Self::InStep { synchronized_at },
                events => Self::SetAside {
                    events,
                    synchronized_at,
                },
            },
        }
    }

    pub(super) fn tone(&self) -> &'static str {
        match self {
            Self::Paused { .. } => "idle",
            Self::Suspended(_) => "bad",
            Self::Synchronizing(_) => "wait",
            Self::Lagging { .. } | Self::NeverSynchronized | Self::SetAside { .. } => "warn",
            Self::InStep { .. } => "good",
        }
    }

    pub(super) fn key(&self) -> &'static str {
        match self {
            Self::Paused { .. } => "health-paused",
            Self::Suspended(_) => "health-suspended",
            Self::Synchronizing(_) => "health-synchronizing",
            Self::Lagging { .. } => "health-lagging",
            Self::NeverSynchronized => "health-never",
            Self::SetAside { .. } => "health-set-aside",
            Self::InStep { .. } => "health-in-step",
        }
    }

    /// What is to be known of it.
    pub(super) fn sentence(&self, reader: &Reader) -> String {
        match self {
            Self::Paused { waiting: 0 } => reader.t("health-paused-detail"),
            Self::Paused { waiting } => reader.t1("health-paused-waiting", "count", waiting),
            Self::Suspended(suspension) => reader.t2(
                "health-suspended-detail",
                "span",
                reader.since(&suspension.since),
                "reason",
                suspension.in_full(),
            ),
            Self::Synchronizing(Progress { total: 0, .. }) => reader.t("health-synchronizing-waits"),
            Self::Synchronizing(Progress { done, total, .. }) => {
                reader.t2("health-synchronizing-detail", "done", done, "total", total)
            }
            Self::Lagging { changes, since } => reader.t2(
                "health-lagging-detail",
                "count",
                changes,
                "span",
                reader.since(since),
            ),
            Self::NeverSynchronized => reader.t("health-never-detail"),
            Self::SetAside {
                events,
                synchronized_at,
            } => reader.t2(
                "health-set-aside-detail",
                "count",
                events,
                "span",
                reader.since(synchronized_at),
            ),
            Self::InStep { synchronized_at } => {
                reader.t1("health-in-step-detail", "span", reader.since(synchronized_at))
            }
        }
    }

    /// The ones that need somebody first.
    pub(super) fn urgency(&self) -> u8 {
        match self {
            Self::Suspended(_) => 0,
            Self::SetAside { .. } => 1,
            Self::Lagging { .. } => 2,
            Self::Synchronizing(_) => 3,
            Self::NeverSynchronized => 4,
            Self::Paused { .. } => 5,
            Self::InStep { .. } => 6,
        }
    }

    pub(super) fn progress(&self) -> Option<&Progress> {
        match self {
            Self::Synchronizing(progress) => Some(progress),
            _ => None,
        }
    }
}

/// An application in a list.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) health: Health,
    pub(super) set_aside: u64,
    pub(super) retrying: u64,
    pub(super) refuses_key: bool,
}

impl Row {
    pub(super) fn of(status: &ApplicationStatus, now: Millis) -> Self {
        let [retrying, held, set_aside] = status.parked;
        Self {
            id: status.application.id.clone(),
            name: status.application.name.clone(),
            health: Health::of(status, now),
            set_aside,
            retrying: retrying + held,
            refuses_key: status.refuses_key,
        }
    }
}

/// What stands in an address for what follows its question mark.
pub(super) const HIDDEN_QUERY: &str = "?…";

/// A receiving URL without what stands behind its question mark, which may be a secret.
pub(super) fn without_query(url: &str) -> String {
    match url.split_once('?') {
        Some((path, _)) => format!("{path}{HIDDEN_QUERY}"),
        None => url.to_owned(),
    }
}

/// Something that needs a person: what it is, where to look, and what to press.
#[derive(Clone, Debug)]
pub(super) struct Todo {
    pub(super) application: String,
    pub(super) tone: &'static str,
    pub(super) what: String,
    pub(super) detail: String,
    /// Where it is looked into: the address, and the key of its words.
    pub(super) look: (String, &'static str),
    /// What does it: where it is posted to, and the key of its words.
    pub(super) press: Option<(String, &'static str)>,
}

/// Why an application needs a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    Suspended,
    NeverSynchronized,
    SetAside,
    Key,
}

/// Why an application needs a person, the most urgent first. To count them costs no words.
pub(super) fn needs(row: &Row) -> impl Iterator<Item = Need> {
    let standing = match &row.health {
        Health::Suspended(_) => Some(Need::Suspended),
        Health::NeverSynchronized => Some(Need::NeverSynchronized),
        _ => None,
    };
    let aside = (row.set_aside > 0).then_some(Need::SetAside);
    let key = row.refuses_key.then_some(Need::Key);
    [standing, aside, key].into_iter().flatten()
}

/// The same in words.
pub(super) fn todo(row: &Row, need: Need, reader: &Reader) -> Todo {
    let at = |tab: &str| format!("/console/applications/{}/{tab}", row.id);
    let (tone, what, detail, look, press) = match need {
        Need::Suspended => (
            "bad",
            reader.t("todo-suspended"),
            row.health.sentence(reader),
            (at("test"), "action-look-test"),
            Some((at("resume"), "action-resume")),
        ),
        Need::NeverSynchronized => (
            "warn",
            reader.t("todo-never"),
            row.health.sentence(reader),
            (at("test"), "action-look-test"),
            Some((at("synchronize"), "action-synchronize")),
        ),
        Need::SetAside => (
            "bad",
            reader.t1("todo-set-aside", "count", row.set_aside),
            reader.t("todo-set-aside-detail"),
            (at("deliveries"), "action-look-deliveries"),
            Some((at("resend"), "action-resend-all")),
        ),
        Need::Key => (
            "bad",
            reader.t("todo-key"),
            reader.t("todo-key-detail"),
            (at("keys"), "action-look-keys"),
            None,
        ),
    };
    Todo {
        application: row.name.clone(),
        tone,
        what,
        detail,
        look,
        press,
    }
}
