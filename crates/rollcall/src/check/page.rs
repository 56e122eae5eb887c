//! A report for others: one HTML page that stands alone, and JUnit's XML. Both are templates, which escape everything.

use askama::Template;

use super::case::{Group, Level};
use super::report::{Outcome, Report, Verdict};
use crate::clock;
use strum::IntoEnumIterator as _;

#[derive(Template)]
#[template(path = "check_report.html")]
struct Page<'a> {
    report: &'a Report,
    groups: Vec<(&'static str, Vec<&'a Outcome>)>,
    failed: Vec<&'a Outcome>,
    version: &'static str,
    started: String,
    took: String,
}

/// The page.
///
/// # Errors
/// What the template reports.
pub fn html(report: &Report) -> Result<String, askama::Error> {
    let of = |group: Group| {
        report
            .cases
            .iter()
            .filter(move |case| case.group == group)
            .collect()
    };
    Page {
        report,
        groups: Group::iter()
            .map(|group| (group.title(), of(group)))
            .filter(|(_, cases): &(_, Vec<_>)| !cases.is_empty())
            .collect(),
        failed: report
            .cases
            .iter()
            .filter(|case| case.verdict == Verdict::Failed)
            .collect(),
        version: env!("CARGO_PKG_VERSION"),
        started: clock::shown(report.started_at),
        took: super::seconds(report.started_at, report.ended_at),
    }
    .render()
}

#[derive(Template)]
#[template(path = "check_junit.xml")]
struct Junit<'a> {
    report: &'a Report,
    groups: Vec<(&'static str, Vec<&'a Outcome>)>,
}

impl Junit<'_> {
    fn time(&self, milliseconds: &u64) -> String {
        format!("{}.{:03}", milliseconds / 1_000, milliseconds % 1_000)
    }
}

/// The report as JUnit's XML. What failed at the level SHOULD is told as skipped, since it does not fail the run.
///
/// # Errors
/// What the template reports.
pub fn junit(report: &Report) -> Result<String, askama::Error> {
    let of = |group: Group| {
        report
            .cases
            .iter()
            .filter(move |case| case.group == group)
            .collect()
    };
    let groups = Group::iter()
        .map(|group| (group.title(), of(group)))
        .filter(|(_, cases): &(_, Vec<_>)| !cases.is_empty())
        .collect();
    let xml = Junit { report, groups }.render()?;
    // XML has no way to write most control characters.
    Ok(xml
        .chars()
        .map(|c| match c {
            '\n' | '\t' => c,
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => '\u{fffd}',
            c => c,
        })
        .collect())
}
