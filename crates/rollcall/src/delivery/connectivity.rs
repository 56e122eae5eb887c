//! *Test Connectivity*: sends a `common:test` event and reports each step of its way; or asks an application that takes
//! SCIM what it can do, and if that is wanted, try it out there.

pub mod finding;
mod probe;
mod scim;

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use rollcall_scim::client::Profile;
use serde::{Deserialize, Serialize};

use self::finding::{Code, Finding};
use super::egress::AddressPolicy;
use super::egress::failure::{Failure, Form, TlsFault};
use super::model::{Outgoing, Source, Verdict};
use super::route::{Judged, Request, Target};
use super::send::connection_test;
use super::shared::Shared;
use crate::application::{ApplicationError, Encryption, SettingsError, store};
use crate::clock::Stopwatch;

/// For how long a name is looked up before a warning is given up.
const LOOK_UP_WITHIN: Duration = Duration::from_secs(3);

/// What came of a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum StepResult {
    /// It worked.
    Passed {
        /// What was found.
        detail: String,
    },
    /// It did not.
    Failed(Finding),
    /// It counts as working, but nothing confirms it.
    Assumed(Finding),
    /// It was not reached, or does not apply.
    Skipped {
        /// Why.
        detail: String,
    },
}

/// A step and how long it took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(rename = "ConnectivityStep")]
pub struct Step {
    /// `resolve`, `connect`, `tls`, `sign`, `status`, `answer` or `event`; of an application that takes SCIM
    /// `discover`, `users`, `groups` or `profile` after the first three, and `probe-create`, `probe-find`, `probe-change`,
    /// `probe-group`, `probe-members`, `probe-deactivate`, `probe-clean` or `proposal` where it was tried out.
    pub name: Cow<'static, str>,
    /// What came of it.
    #[serde(flatten)]
    pub result: StepResult,
    /// How long it took, in milliseconds.
    pub millis: f64,
}

/// The whole test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(rename = "ConnectivityReport")]
pub struct Report {
    /// The receiving URL.
    pub url: String,
    /// Whether no step failed.
    pub passed: bool,
    /// What failed, or was only assumed to work; `None` if every step passed.
    pub code: Option<Code>,
    /// The steps, in their order.
    pub steps: Vec<Step>,
    /// How an application that takes SCIM should be spoken to, by what was tried out, if that is not how it is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proposal: Option<Profile>,
}

impl Report {
    fn add(&mut self, name: &'static str, took: Duration, result: StepResult) {
        match &result {
            StepResult::Failed(finding) => {
                self.passed = false;
                self.code = Some(finding.code);
            }
            StepResult::Assumed(finding) => self.code = Some(finding.code),
            StepResult::Passed { .. } | StepResult::Skipped { .. } => {}
        }
        self.steps.push(Step {
            name: name.into(),
            result,
            millis: took.as_secs_f64() * 1_000.0,
        });
    }

    fn pass(&mut self, name: &'static str, took: Duration, detail: impl Into<String>) {
        let detail = detail.into();
        self.add(name, took, StepResult::Passed { detail });
    }
}

/// A step at which the test ended.
struct Ended {
    step: &'static str,
    took: Duration,
    result: StepResult,
}

fn failed(step: &'static str, watch: Stopwatch, finding: Finding) -> Ended {
    Ended {
        step,
        took: watch.elapsed(),
        result: StepResult::Failed(finding),
    }
}

/// Runs the test. The application need not be switched on.
///
/// # Errors
/// [`ApplicationError`] if the application cannot be loaded. Everything that fails on the way is in
/// the report.
pub async fn test(shared: &Arc<Shared>, application_id: &str) -> Result<Report, ApplicationError> {
    test_with(shared, application_id, Depth::Asking).await
}

/// How far a test goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Nothing is changed at the application.
    Asking,
    /// A user and a group are made there, changed and removed. Only an application that takes SCIM can be asked so.
    TryingOut,
}

/// Runs the test as far as it is wanted.
///
/// # Errors
/// [`ApplicationError`]; also if the application takes events, and is to be tried out.
pub async fn test_with(
    shared: &Arc<Shared>,
    application_id: &str,
    depth: Depth,
) -> Result<Report, ApplicationError> {
    let (hub, id) = (shared.hub.clone(), application_id.to_owned());
    let target = shared
        .hub
        .db
        .read(move |tx| {
            let application = store::load(tx, &id)?;
            Ok::<_, ApplicationError>(Target::of(tx, application, &hub)?)
        })
        .await?;
    let mut report = Report {
        url: target.url().to_string(),
        passed: true,
        code: None,
        steps: Vec::new(),
        proposal: None,
    };
    if depth == Depth::TryingOut && target.provider().is_none() {
        return Err(SettingsError::ScimOnly("what can be tried out").into());
    }
    if let Err(ended) = run(shared, &Arc::new(target), depth, &mut report).await {
        report.add(ended.step, ended.took, ended.result);
    }
    Ok(report)
}

async fn run(
    shared: &Arc<Shared>,
    target: &Arc<Target>,
    depth: Depth,
    report: &mut Report,
) -> Result<(), Ended> {
    let addresses = reach(shared, target, report).await?;
    if let Some(provider) = target.provider() {
        let name = &target.application.name;
        scim::ask(shared, provider, name, report).await?;
        return match depth {
            Depth::Asking => Ok(()),
            Depth::TryingOut => probe::probe(shared, provider, name, report).await,
        };
    }

    let watch = shared.hub.clock.stopwatch();
    let batch = connection_test(shared, target);
    let mut request = target
        .prepare(shared, batch, Source::Test, None)
        .await
        .map_err(|error| {
            let failure = Failure::Unsealed(error.to_string());
            failed("sign", watch, finding::unanswered(target.url(), &failure))
        })?;
    let settings = &target.application.settings;
    let how = match settings.encryption() {
        Encryption::Required => "RS256, encrypted with A256GCM",
        Encryption::Off => "RS256, not encrypted",
    };
    report.pass("sign", watch.elapsed(), how);

    let (judged, took) = ask(shared, target, &mut request, &addresses).await?;
    report.pass("status", took, "HTTP 200");
    let event = request.batch.events.first().map(Outgoing::event_id);
    conclude(report, event.unwrap_or_default(), &judged);
    Ok(())
}

/// The way to the endpoint, up to the first byte of a request.
async fn reach(shared: &Shared, target: &Target, report: &mut Report) -> Result<Vec<SocketAddr>, Ended> {
    let (clock, egress, url) = (&shared.hub.clock, &shared.egress, target.url());
    let watch = clock.stopwatch();
    let addresses = egress
        .resolve(url)
        .await
        .map_err(|failure| failed("resolve", watch, finding::unanswered(url, &failure)))?;
    let shown: Vec<_> = addresses.iter().map(|address| address.ip().to_string()).collect();
    report.pass("resolve", watch.elapsed(), shown.join(", "));

    let watch = clock.stopwatch();
    let stream = egress
        .connect(&addresses)
        .await
        .map_err(|error| failed("connect", watch, finding::unconnected(url, &error)))?;
    let peer = stream
        .peer_addr()
        .map_or_else(|_| "connected".to_owned(), |peer| peer.to_string());
    report.pass("connect", watch.elapsed(), peer);

    if url.scheme() == "https" {
        let watch = clock.stopwatch();
        let secured = egress
            .shake_hands(stream, url)
            .await
            .map_err(|fault| failed("tls", watch, finding::insecure(url, &fault)))?;
        report.pass("tls", watch.elapsed(), secured.to_string());
    } else {
        let detail = "plain http: what is not encrypted can be read on the way".to_owned();
        report.add("tls", Duration::ZERO, StepResult::Skipped { detail });
    }
    Ok(addresses)
}

/// Sends the event. Returns what the answer says, and how long that took.
async fn ask(
    shared: &Shared,
    target: &Arc<Target>,
    request: &mut Request,
    addresses: &[SocketAddr],
) -> Result<(Judged, Duration), Ended> {
    let (judged, attempt) = target.try_once(shared, request, 1).await;
    let took = Duration::from_micros(u64::try_from(attempt.latency_us).unwrap_or(0));
    let failure = match judged {
        Ok(judged) => return Ok((judged, took)),
        Err(failure) => failure,
    };
    let finding = if may_be_tls(target, &failure) && speaks_tls(shared, target, addresses).await {
        finding::tls_expected(target.url())
    } else {
        finding::unanswered(target.url(), &failure)
    };
    let step = match failure {
        Failure::Unreadable(_) => "answer",
        _ => "status",
    };
    let result = StepResult::Failed(finding);
    Err(Ended { step, took, result })
}

/// Whether plain http may have met TLS: that closes the connection, or answers 400 in a language of its own.
fn may_be_tls(target: &Target, failure: &Failure) -> bool {
    let like_tls = match failure {
        Failure::Broken(_) => true,
        Failure::Status { status, form, .. } => *status == 400 && matches!(form, Form::Foreign(_)),
        _ => false,
    };
    like_tls && target.url().scheme() == "http"
}

/// Why the hub will not send to a receiving URL that somebody chooses, and what to set; `None` if it will, or if that
/// cannot be told now.
pub async fn refusal(policy: &AddressPolicy, url: &str) -> Option<String> {
    let url = Url::parse(url).ok()?;
    match tokio::time::timeout(LOOK_UP_WITHIN, policy.resolve(&url)).await {
        Ok(Err(failure)) => forbidden(&failure),
        Ok(Ok(_)) | Err(_) => None,
    }
}

/// The same where no name is to be looked up: of an address that stands in the URL itself.
pub fn refusal_of_address(policy: &AddressPolicy, url: &str) -> Option<String> {
    let url = Url::parse(url).ok()?;
    policy.check_literal(&url).err().as_ref().and_then(forbidden)
}

fn forbidden(failure: &Failure) -> Option<String> {
    match failure {
        Failure::Forbidden { address, .. } => Some(format!(
            "the hub will not send to this URL: {failure}; {}",
            finding::allow(*address)
        )),
        _ => None,
    }
}

async fn speaks_tls(shared: &Shared, target: &Target, addresses: &[SocketAddr]) -> bool {
    let Ok(stream) = shared.egress.connect(addresses).await else {
        return false;
    };
    match shared.egress.shake_hands(stream, target.url()).await {
        Ok(_) => true,
        Err(fault) => !matches!(
            fault,
            TlsFault::NotTls | TlsFault::Closed | TlsFault::TimedOut | TlsFault::Other(_)
        ),
    }
}

fn conclude(report: &mut Report, event_id: &str, judged: &Judged) {
    let mut add = |step, result| report.add(step, Duration::ZERO, result);
    let passed = |detail: &str| StepResult::Passed {
        detail: detail.to_owned(),
    };
    if let Some(what) = judged.foreign {
        return add("answer", StepResult::Assumed(finding::assumed(what)));
    }
    add("answer", passed("understood"));
    add(
        "event",
        match judged.verdicts.first() {
            Some(Verdict::Accepted) => passed("accepted"),
            Some(Verdict::Skipped(remark)) => passed(&format!("skipped: {}", remark.code)),
            Some(Verdict::Refused(remark)) => StepResult::Failed(finding::not_taken(remark, false)),
            Some(Verdict::Again(remark)) => StepResult::Failed(finding::not_taken(remark, true)),
            Some(Verdict::Assumed) | None => {
                StepResult::Assumed(finding::unnamed(event_id, &judged.strangers))
            }
        },
    );
}
