//! *Test Connectivity*: the steps of the last test, and the button for another one.

use askama::Template;
use axum::extract::Path;

use super::{Head, Tab};
use crate::access::Permission;
use crate::application::{Command, SettingsPatch};
use crate::clock::Millis;
use crate::console::error::Failure;
use crate::console::form::{Posted, done};
use crate::console::health::without_query;
use crate::console::page::{Answer, Page, Section, View, show};
use crate::delivery::connectivity::finding::Code;
use crate::delivery::connectivity::{Report, StepResult};
use crate::delivery::status;

/// The key of what to do about what a test came upon: without the commands that the command line names.
fn advice(code: Code) -> &'static str {
    match code {
        Code::HostNotFound => "advice-host-not-found",
        Code::AddressNotAllowed => "advice-address-not-allowed",
        Code::ConnectionRefused => "advice-connection-refused",
        Code::ConnectionTimedOut => "advice-connection-timed-out",
        Code::Unreachable => "advice-unreachable",
        Code::NotTls => "advice-not-tls",
        Code::TlsExpected => "advice-tls-expected",
        Code::CertificateSelfSigned => "advice-certificate-self-signed",
        Code::CertificateOfAuthority => "advice-certificate-of-authority",
        Code::CertificateUnknownAuthority => "advice-certificate-unknown-authority",
        Code::CertificateOtherHost => "advice-certificate-other-host",
        Code::CertificateExpired => "advice-certificate-expired",
        Code::CertificateNotYetValid => "advice-certificate-not-yet-valid",
        Code::CertificateRefused => "advice-certificate-refused",
        Code::ClientCertificateWanted => "advice-client-certificate-wanted",
        Code::TlsFailed => "advice-tls-failed",
        Code::NotSealed => "advice-not-sealed",
        Code::TimedOut => "advice-timed-out",
        Code::ConnectionLost => "advice-connection-lost",
        Code::Redirected => "advice-redirected",
        Code::RefusedByApplication => "advice-refused-by-application",
        Code::RefusedInBetween => "advice-refused-in-between",
        Code::NotFound => "advice-not-found",
        Code::Busy => "advice-busy",
        Code::GatewayFailed => "advice-gateway-failed",
        Code::ApplicationFailed => "advice-application-failed",
        Code::OtherStatus => "advice-other-status",
        Code::AnswerUnreadable => "advice-answer-unreadable",
        Code::AnswerEmpty => "advice-answer-empty",
        Code::AnswerHtml => "advice-answer-html",
        Code::AnswerForeign => "advice-answer-foreign",
        Code::EventMisnamed => "advice-event-misnamed",
        Code::EventNotNamed => "advice-event-not-named",
        Code::EventRefused => "advice-event-refused",
        Code::EventWantedAgain => "advice-event-wanted-again",
        Code::CredentialsRefused => "advice-credentials-refused",
        Code::GroupsMissing => "advice-groups-missing",
        Code::FiltersPassedOver => "advice-filters-passed-over",
        Code::ProfileDiffers => "advice-profile-differs",
        Code::NotPossible => "advice-not-possible",
        Code::LeftBehind => "advice-left-behind",
    }
}

/// A step as it is shown.
struct Step {
    key: &'static str,
    tone: &'static str,
    result: &'static str,
    detail: String,
    /// The key of what to do about it.
    advice: Option<&'static str>,
    millis: f64,
}

impl Step {
    fn of(step: &crate::delivery::connectivity::Step) -> Self {
        let (tone, result, detail, advice) = match &step.result {
            StepResult::Passed { detail } => ("good", "step-passed", detail, None),
            StepResult::Failed(finding) => {
                ("bad", "step-failed", &finding.detail, Some(advice(finding.code)))
            }
            StepResult::Assumed(finding) => (
                "warn",
                "step-assumed",
                &finding.detail,
                Some(advice(finding.code)),
            ),
            StepResult::Skipped { detail } => ("idle", "step-skipped", detail, None),
        };
        Self {
            key: match step.name.as_ref() {
                "resolve" => "step-resolve",
                "connect" => "step-connect",
                "tls" => "step-tls",
                "sign" => "step-sign",
                "status" => "step-status",
                "answer" => "step-answer",
                "discover" => "step-discover",
                "users" => "step-users",
                "groups" => "step-groups",
                "profile" => "step-profile",
                "probe-create" => "step-probe-create",
                "probe-find" => "step-probe-find",
                "probe-change" => "step-probe-change",
                "probe-group" => "step-probe-group",
                "probe-members" => "step-probe-members",
                "probe-deactivate" => "step-probe-deactivate",
                "probe-clean" => "step-probe-clean",
                "proposal" => "step-proposal",
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
    /// Whether the settings can be set to what works.
    has_proposal: bool,
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
            has_proposal: report.proposal.is_some(),
        }
    }
}

#[derive(Template)]
#[template(path = "test.html")]
struct TestPage {
    page: Page,
    head: Head,
    url: String,
    is_scim: bool,
    tested: Option<Tested>,
}

pub(super) async fn test(view: View, Path(id): Path<String>) -> Answer {
    let view = view.within(Section::Applications);
    view.needs(Permission::ReadApplications)?;
    let application = view.application(id).await?;
    let tested = view.console.tests.of(&application.id);
    let url = without_query(application.settings.url());
    let is_scim = application.settings.scim().is_some();
    let db = view.console.db();
    let status = db.read(move |tx| status::of(tx, application.clone())).await?;
    show(&TestPage {
        head: Head::of(&status, Tab::Test, &view.page),
        url,
        is_scim,
        tested: tested.map(|(at, report)| Tested::of(at, &report)),
        page: view.page,
    })
}

/// Sets the application to what worked when it was tried out last.
pub(super) async fn take_over(Path(id): Path<String>, posted: Posted) -> Answer {
    posted.view.needs(Permission::ConfigureApplications)?;
    let view = &posted.view;
    let application = view.application(id).await?;
    let tested = view.console.tests.of(&application.id);
    let Some(profile) = tested.and_then(|(_, report)| report.proposal.clone()) else {
        return Err(Failure::Conflict(view.page.t("nothing-proposed")));
    };
    let command = Command::Update {
        id: application.id.clone(),
        name: None,
        settings: SettingsPatch::of_profile(&profile),
        secret: None,
    };
    view.console
        .hub()
        .apply_application(posted.caller(), command)
        .await?;
    done(&format!("/console/applications/{}", application.id), "profile")
}
