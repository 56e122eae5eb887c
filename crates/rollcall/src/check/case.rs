//! What a case is, and what can come of it.

use std::borrow::Cow;
use std::future::Future;
use std::pin::Pin;

use serde::Serialize;

use super::course::Course;

/// How much depends on a case (RFC 2119).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Level {
    /// Who fails it does not work with a hub, or lets others in.
    #[serde(rename = "MUST")]
    Must,
    /// Who fails it works, and loses something.
    #[serde(rename = "SHOULD")]
    Should,
}

impl Level {
    /// `MUST` or `SHOULD`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Must => "MUST",
            Self::Should => "SHOULD",
        }
    }
}

/// What a case is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, strum::EnumIter)]
#[serde(rename_all = "snake_case")]
pub enum Group {
    /// The connection test and the form of answers.
    Connection,
    /// Every type of event.
    Types,
    /// Requests with few and many events.
    Batches,
    /// Types and fields that nobody knows.
    Unknown,
    /// The two generations of names.
    Names,
    /// Values of fields.
    Values,
    /// What arrives again.
    Repetition,
    /// What arrives late or in another order.
    Order,
    /// Keys and times of envelopes.
    Keys,
    /// Many requests at once.
    Load,
    /// What the endpoint has stored.
    State,
    /// What must be refused.
    Refusal,
}

impl Group {
    /// The group's name for people.
    pub fn title(self) -> &'static str {
        match self {
            Self::Connection => "Connection test and answers",
            Self::Types => "Every type of event",
            Self::Batches => "Batches",
            Self::Unknown => "Unknown types and fields",
            Self::Names => "Both generations of names",
            Self::Values => "Values",
            Self::Repetition => "Duplicates and replays",
            Self::Order => "Late and disordered events",
            Self::Keys => "Keys and times",
            Self::Load => "Many requests at once",
            Self::State => "What was stored",
            Self::Refusal => "What must be refused",
        }
    }
}

/// Why a case did not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The endpoint did something else than it has to. What it did, in words.
    Failed(String),
    /// It could not be found out. Why, in words.
    NotChecked(String),
}

impl Fault {
    pub(super) fn failed<T>(what: impl Into<String>) -> Result<T, Self> {
        Err(Self::Failed(what.into()))
    }
}

impl From<crate::sender::Unsealed> for Fault {
    fn from(error: crate::sender::Unsealed) -> Self {
        Self::NotChecked(error.to_string())
    }
}

/// What a case comes to.
pub(super) type Finding = Result<(), Fault>;

/// A case that runs.
pub(super) type Running<'a> = Pin<Box<dyn Future<Output = Finding> + Send + 'a>>;

type Run = Box<dyn for<'a> Fn(&'a mut Course) -> Running<'a> + Send + Sync>;

/// One case.
pub struct Case {
    /// By which it is named on the command line and in reports; it never changes.
    pub id: Cow<'static, str>,
    /// What it is about.
    pub group: Group,
    /// How much depends on it.
    pub level: Level,
    /// What an endpoint has to do, in a sentence.
    pub requirement: Cow<'static, str>,
    /// Where that stands.
    pub source: &'static str,
    /// What is expected of the endpoint here.
    pub expected: &'static str,
    /// What to do if it fails.
    pub advice: &'static str,
    /// Carries it out.
    pub(super) run: Run,
}

impl std::fmt::Debug for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Case")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// What stands about a case in the table.
pub(super) struct Words {
    pub(super) requirement: Cow<'static, str>,
    pub(super) source: &'static str,
    pub(super) expected: &'static str,
    pub(super) advice: &'static str,
}

impl Case {
    fn new<F>(id: impl Into<Cow<'static, str>>, level: Level, words: Words, run: F) -> Self
    where
        F: for<'a> Fn(&'a mut Course) -> Running<'a> + Send + Sync + 'static,
    {
        Self {
            id: id.into(),
            // The table of all cases sets it.
            group: Group::Connection,
            level,
            requirement: words.requirement,
            source: words.source,
            expected: words.expected,
            advice: words.advice,
            run: Box::new(run),
        }
    }

    pub(super) fn must<F>(id: impl Into<Cow<'static, str>>, words: Words, run: F) -> Self
    where
        F: for<'a> Fn(&'a mut Course) -> Running<'a> + Send + Sync + 'static,
    {
        Self::new(id, Level::Must, words, run)
    }

    pub(super) fn should<F>(id: impl Into<Cow<'static, str>>, words: Words, run: F) -> Self
    where
        F: for<'a> Fn(&'a mut Course) -> Running<'a> + Send + Sync + 'static,
    {
        Self::new(id, Level::Should, words, run)
    }
}

/// Words of the table.
pub(super) fn words(
    requirement: impl Into<Cow<'static, str>>,
    source: &'static str,
    expected: &'static str,
    advice: &'static str,
) -> Words {
    Words {
        requirement: requirement.into(),
        source,
        expected,
        advice,
    }
}
