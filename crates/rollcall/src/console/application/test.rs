//! *Test Connectivity*: the steps of the last test, and the button for another one.

use askama::Template;
use axum::extract::Path;

use super::{Head, Tab};
use crate::access::Permission;
use crate::clock::Millis;
use crate::console::health::without_query;
use crate::console::page::{Answer, Page, Section, View, show};
use crate::delivery::connectivity::{Report, StepResult};
use crate::delivery::status;

/// A step as it is shown.
struct Step {
    key: &'static str,
    tone: &'static str,
    result: &'static str,
    detail: String,
    advice: Option<String>,
    millis: f64,
}

impl Step {
    fn of(step: &crate::delivery::connectivity::Step) -> Self {
        let (tone, result, detail, advice) = match &step.result {
            StepResult::Passed { detail } => ("good", "step-passed", detail, None),
            StepResult::Failed(finding) => (
                "bad",
                "step-failed",
                &finding.detail,
                Some(finding.advice.clone()),
            ),
            StepResult::Assumed(finding) => (
                "warn",
                "step-assumed",
                &finding.detail,
                Some(finding.advice.clone()),
            ),
            StepResult::Skipped { detail } => ("idle", "step-skipped", detail, None),
        };
        Self {
            key: match step.name {
                "resolve" => "step-resolve",
                "connect" => "step-connect",
                "tls" => "step-tls",
                "sign" => "step-sign",
                "status" => "step-status",
                "answer" => "step-answer",
                _ => "step-event",
            },
            tone,
            result,
            detail: detail.clone(),
            advice,
            millis: step.millis,
        }
    }
}

/// A test as it is shown.
struct Tested {
    at: Millis,
    url: String,
    tone: &'static str,
    key: &'static str,
    steps: Vec<Step>,
}

impl Tested {
    fn of(at: Millis, report: &Report) -> Self {
        let (tone, key) = match (report.passed, report.code) {
            (false, _) => ("bad", "test-failed"),
            (true, Some(_)) => ("warn", "test-assumed"),
            (true, None) => ("good", "test-passed"),
        };
        Self {
            at,
            url: without_query(&report.url),
            tone,
            key,
            steps: report.steps.iter().map(Step::of).collect(),
        }
    }
}

#[derive(Template)]
#[template(path = "test.html")]
struct TestPage {
    page: Page,
    head: Head,
    url: String,
    tested: Option<Tested>,
}

pub(super) async fn test(view: View, Path(id): Path<String>) -> Answer {
    let view = view.within(Section::Applications);
    view.needs(Permission::ReadApplications)?;
    let application = view.application(id).await?;
    let tested = view.console.tests.of(&application.id);
    let url = without_query(&application.settings.callback().url);
    let db = view.console.db();
    let status = db.read(move |tx| status::of(tx, application.clone())).await?;
    show(&TestPage {
        head: Head::of(&status, Tab::Test, &view.page),
        url,
        tested: tested.map(|(at, report)| Tested::of(at, &report)),
        page: view.page,
    })
}
