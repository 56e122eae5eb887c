//! What came of a run.

use serde::Serialize;

use super::case::{Group, Level};
use super::course::Exchange;
use crate::clock::Millis;

/// What came of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The endpoint does what it has to.
    Passed,
    /// It does something else.
    Failed,
    /// That could not be found out.
    NotChecked,
}

impl Verdict {
    /// `passed`, `failed` or `not checked`.
    pub fn title(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::NotChecked => "not checked",
        }
    }
}

/// A case, and what came of it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// The case's id.
    pub id: String,
    /// What it is about.
    pub group: Group,
    /// How much depends on it.
    pub level: Level,
    /// What came of it.
    #[serde(rename = "result")]
    pub verdict: Verdict,
    /// What the endpoint did instead, or why that could not be found out.
    pub found: Option<String>,
    /// What an endpoint has to do.
    pub requirement: String,
    /// Where that stands.
    pub source: String,
    /// What was expected.
    pub expected: String,
    /// What to do if it failed.
    pub advice: String,
    /// How long it took.
    pub milliseconds: u64,
    /// What was sent, and what came back.
    pub exchanges: Vec<Exchange>,
}

/// How many cases came to what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// All of them.
    pub cases: usize,
    /// Passed.
    pub passed: usize,
    /// Failed, at the level MUST.
    pub must_failed: usize,
    /// Failed, at the level SHOULD.
    pub should_failed: usize,
    /// Not checked.
    pub not_checked: usize,
}

impl Counts {
    pub(super) fn of(cases: &[Outcome]) -> Self {
        let count = |wanted: fn(&Outcome) -> bool| cases.iter().filter(|case| wanted(case)).count();
        Self {
            cases: cases.len(),
            passed: count(|case| case.verdict == Verdict::Passed),
            must_failed: count(|case| case.verdict == Verdict::Failed && case.level == Level::Must),
            should_failed: count(|case| case.verdict == Verdict::Failed && case.level == Level::Should),
            not_checked: count(|case| case.verdict == Verdict::NotChecked),
        }
    }
}

/// What was deleted at the end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Cleaned {
    /// How many users, units and groups were made.
    pub made: usize,
    /// Those whose deletion the endpoint did not take.
    pub left: Vec<String>,
}

/// What came of a run.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The endpoint.
    pub url: String,
    /// What stands in the ids of all that was made.
    pub run: String,
    /// When it began.
    pub started_at: Millis,
    /// When it ended.
    pub ended_at: Millis,
    /// The application's id.
    pub application_id: String,
    /// The instance's id.
    pub instance_id: String,
    /// Whether events were encrypted.
    pub encrypted: bool,
    /// Whether what was stored was looked at.
    pub read_back: bool,
    /// Whether it was stopped before its end.
    pub interrupted: bool,
    /// How many cases came to what.
    pub counts: Counts,
    /// Each case.
    pub cases: Vec<Outcome>,
    /// What was deleted at the end.
    pub cleaned: Cleaned,
}

impl Report {
    /// Whether nothing failed that must not, and the run came to its end.
    pub fn is_good(&self) -> bool {
        self.counts.must_failed == 0 && !self.interrupted
    }

    /// The counts in a sentence.
    pub fn sentence(&self) -> String {
        let Counts {
            cases,
            passed,
            must_failed,
            should_failed,
            not_checked,
        } = self.counts;
        format!(
            "{cases} cases: {passed} passed, {must_failed} failed that must pass, {should_failed} failed that should pass, \
             {not_checked} not checked"
        )
    }
}
