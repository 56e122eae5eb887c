//! *Test Connectivity*: sends a `common:test` event and reports each step of its way.

use std::sync::Arc;
use std::time::Duration;

use rollcall_db::DbError;
use serde::Serialize;
use tokio::net::TcpStream;

use super::Target;
use crate::application::{ApplicationError, Encryption, store};
use crate::delivery::Shared;
use crate::delivery::model::{Source, Verdict};
use crate::delivery::send::egress::Failure;
use crate::delivery::send::sender::connection_test;

/// What came of a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum StepResult {
    /// It worked.
    Passed {
        /// What was found.
        detail: String,
    },
    /// It did not.
    Failed {
        /// What was found.
        detail: String,
        /// What to do about it.
        advice: String,
    },
    /// It counts as working, but nothing confirms it.
    Assumed {
        /// What was found.
        detail: String,
        /// What to do about it.
        advice: String,
    },
    /// It was not reached, or does not apply.
    Skipped {
        /// Why.
        detail: String,
    },
}

/// A step and how long it took.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Step {
    /// `resolve`, `connect`, `sign`, `tls`, `status`, `answer` or `event`.
    pub name: &'static str,
    /// What came of it.
    #[serde(flatten)]
    pub result: StepResult,
    /// How long it took, in milliseconds.
    pub millis: f64,
}

/// The whole test.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The receiving URL.
    pub url: String,
    /// The steps, in their order.
    pub steps: Vec<Step>,
}

impl Report {
    /// Whether every step passed.
    pub fn passed(&self) -> bool {
        !self
            .steps
            .iter()
            .any(|step| matches!(step.result, StepResult::Failed { .. }))
    }

    fn add(&mut self, name: &'static str, took: Duration, result: StepResult) {
        self.steps.push(Step {
            name,
            result,
            millis: took.as_secs_f64() * 1_000.0,
        });
    }

    fn pass(&mut self, name: &'static str, took: Duration, detail: impl Into<String>) {
        self.add(
            name,
            took,
            StepResult::Passed {
                detail: detail.into(),
            },
        );
    }

    fn fail(&mut self, name: &'static str, took: Duration, detail: impl Into<String>, advice: &str) {
        self.add(
            name,
            took,
            StepResult::Failed {
                detail: detail.into(),
                advice: advice.to_owned(),
            },
        );
    }
}

/// Runs the test. The application need not be switched on.
///
/// # Errors
/// [`ApplicationError`] if the application cannot be loaded. Everything that fails on the way is in
/// the report.
pub async fn test(shared: &Arc<Shared>, application_id: &str) -> Result<Report, ApplicationError> {
    let (hub, id) = (shared.hub.clone(), application_id.to_owned());
    let target = shared
        .hub
        .db
        .read(move |tx| {
            let application = store::load(tx, &id)?;
            Ok::<_, ApplicationError>(Target::of(tx, application, &hub.master)?)
        })
        .await?;
    let target = Arc::new(target);
    let mut report = Report {
        url: target.url().to_string(),
        steps: Vec::new(),
    };
    run(shared, &target, &mut report)
        .await
        .map_err(ApplicationError::Database)?;
    Ok(report)
}

async fn run(shared: &Arc<Shared>, target: &Arc<Target>, report: &mut Report) -> Result<(), DbError> {
    let clock = &shared.hub.clock;
    let watch = clock.stopwatch();
    let addresses = match shared.egress.resolve(target.url()).await {
        Ok(addresses) => addresses,
        Err(failure) => {
            report.fail("resolve", watch.elapsed(), failure.in_full(), advice(&failure));
            return Ok(());
        }
    };
    let shown: Vec<_> = addresses.iter().map(|address| address.ip().to_string()).collect();
    report.pass("resolve", watch.elapsed(), shown.join(", "));

    let watch = clock.stopwatch();
    let connecting = TcpStream::connect(addresses.as_slice());
    match tokio::time::timeout(Duration::from_secs(5), connecting).await {
        Ok(Ok(stream)) => {
            let peer = stream
                .peer_addr()
                .map_or_else(|_| "connected".to_owned(), |peer| peer.to_string());
            report.pass("connect", watch.elapsed(), peer);
        }
        Ok(Err(error)) => {
            let failure = Failure::Connect(error.to_string());
            report.fail("connect", watch.elapsed(), failure.in_full(), advice(&failure));
            return Ok(());
        }
        Err(_) => {
            let advice = "a firewall may drop the packets: let the hub's outbound addresses in";
            report.fail("connect", watch.elapsed(), "no connection within 5 s", advice);
            return Ok(());
        }
    }

    let watch = clock.stopwatch();
    let batch = connection_test(shared, target);
    let mut request = match target.prepare(shared, batch, Source::Test, None).await {
        Ok(request) => request,
        Err(error) => {
            report.fail(
                "sign",
                watch.elapsed(),
                error.to_string(),
                "mend the application's keys and test again",
            );
            return Ok(());
        }
    };
    let encrypted = target.application.settings.callback().encryption == Encryption::Required;
    let how = if encrypted {
        "RS256, encrypted with A256GCM"
    } else {
        "RS256, not encrypted"
    };
    report.pass("sign", watch.elapsed(), how);

    let sent = target.send(shared, &mut request, 1).await;
    let latency_us = match &sent {
        Ok(answered) => answered.attempt.as_ref().map_or(0, |attempt| attempt.latency_us),
        Err((_, attempt)) => attempt.latency_us,
    };
    let took = Duration::from_micros(u64::try_from(latency_us).unwrap_or(0));
    let https = target.url().scheme() == "https";
    match &sent {
        Err((failure @ Failure::Tls(_), _)) => {
            report.fail("tls", took, failure.in_full(), advice(failure));
            return Ok(());
        }
        _ if https => report.pass("tls", Duration::ZERO, "the certificate is trusted"),
        _ => {
            let detail = "plain http: what is not encrypted can be read on the way".to_owned();
            report.add("tls", Duration::ZERO, StepResult::Skipped { detail });
        }
    }
    let answered = match sent {
        Ok(answered) => answered,
        Err((failure, _)) => {
            let step = if matches!(failure, Failure::Unreadable(_)) {
                "answer"
            } else {
                "status"
            };
            report.fail(step, took, failure.in_full(), advice(&failure));
            return Ok(());
        }
    };
    report.pass("status", took, "HTTP 200");
    let foreign = answered.attempt.filter(|attempt| attempt.outcome == "assumed");
    if let Some(what) = foreign.and_then(|attempt| attempt.detail) {
        report.add("answer", Duration::ZERO, StepResult::Assumed {
            detail: what,
            advice: "a 200 counts as received, whatever answers there; make sure that it is the application and not \
                     a login page or a proxy, and have it answer {\"successEvents\":[…]}"
                .to_owned(),
        });
        return Ok(());
    }
    report.pass("answer", Duration::ZERO, "understood");
    match answered.verdicts.first() {
        Some(Verdict::Accepted) => report.pass("event", Duration::ZERO, "accepted"),
        Some(Verdict::Skipped(remark)) => {
            report.pass("event", Duration::ZERO, format!("skipped: {}", remark.code));
        }
        Some(Verdict::Refused(remark) | Verdict::Again(remark)) => report.fail(
            "event",
            Duration::ZERO,
            format!(
                "{} {}",
                remark.code,
                remark.message.as_deref().unwrap_or_default()
            ),
            "the application verified the event but did not accept it; its log says why",
        ),
        Some(Verdict::Assumed) | None => report.add(
            "event",
            Duration::ZERO,
            StepResult::Assumed {
                detail: "the answer does not name the event; it counts as received".to_owned(),
                advice: "answer each event with the eventId that it bears".to_owned(),
            },
        ),
    }
    Ok(())
}

fn advice(failure: &Failure) -> &'static str {
    match failure {
        Failure::Unsealed(_) => "mend the application's keys and test again",
        Failure::Forbidden(_) => {
            "if this address is meant, add its network to the egress allow-list of the hub's configuration"
        }
        Failure::Resolve(_) => "check the host in the receiving URL, and the hub's DNS",
        Failure::Connect(_) => {
            "check the port in the receiving URL, that the application runs, and that firewalls let the hub in"
        }
        Failure::Tls(_) => {
            "use a certificate that matches the host, or add your own authority to the hub's configuration"
        }
        Failure::TimedOut => "answer within 10 s: store the event, answer, and process it afterwards",
        Failure::Broken(_) => {
            "the connection closed in the middle of the answer: look for crashes and proxies"
        }
        Failure::Unreadable(_) => {
            "answer with a JSON object of the protocol, in UTF-8 and not compressed, that names each event once"
        }
        Failure::Status { status, .. } => match status {
            300..400 => "enter the final address: redirects are not followed",
            401 | 403 => {
                "the application refuses the event: check that it uses this application's id, JWKS address and key"
            }
            404 | 405 => "the path of the receiving URL is wrong, or does not accept POST",
            400..500 => {
                "the application refuses the event: compare its application id, JWKS address and encryption key with those shown here"
            }
            _ => "the application failed: its log says why",
        },
    }
}
