//! *Test Connectivity*: sends a `common:test` event and reports each step of its way.

use std::sync::Arc;
use std::time::Duration;

use rollcall_db::DbError;
use rollcall_protocol::{Event, EventType, Reading};
use serde::Serialize;
use tokio::net::TcpStream;

use super::Shared;
use super::batch::{Draft, Origin, Outgoing, Source};
use super::egress::Failure;
use super::link::Link;
use crate::application::{ApplicationError, Encryption, store};
use crate::id;

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
    let link = shared
        .hub
        .db
        .read(move |tx| {
            let application = store::load(tx, &id)?;
            Ok::<_, ApplicationError>(Link::of(tx, application, hub.clock.now(), &hub.master)?)
        })
        .await?;
    let link = Arc::new(link);
    let mut report = Report {
        url: link.url().to_string(),
        steps: Vec::new(),
    };
    run(shared, &link, &mut report)
        .await
        .map_err(ApplicationError::Database)?;
    Ok(report)
}

async fn run(shared: &Arc<Shared>, link: &Arc<Link>, report: &mut Report) -> Result<(), DbError> {
    let clock = &shared.hub.clock;
    let watch = clock.stopwatch();
    let addresses = match shared.egress.resolve(link.url()).await {
        Ok(addresses) => addresses,
        Err(failure) => {
            report.fail("resolve", watch.elapsed(), failure.to_string(), advice(&failure));
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
            report.fail("connect", watch.elapsed(), failure.to_string(), advice(&failure));
            return Ok(());
        }
        Err(_) => {
            let advice = "a firewall may drop the packets: let the hub's outbound addresses in";
            report.fail("connect", watch.elapsed(), "no connection within 5 s", advice);
            return Ok(());
        }
    }

    let now = clock.now();
    let event_id = id::make("evnt", now, &*shared.hub.random);
    let outgoing = Outgoing {
        origin: Origin::Apart(Arc::new(Event {
            event_id: event_id.clone(),
            event_type: EventType::Test.urn().to_owned(),
            event_time: now,
            biz_id: link.application.id.clone(),
            biz_data: "{}".to_owned(),
        })),
        event_type: EventType::Test,
        attempts: 0,
    };
    let watch = clock.stopwatch();
    let draft = Draft {
        lane: 0,
        events: [outgoing].into(),
    };
    let mut request = match link.prepare(shared, draft, Source::Log, None).await {
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
    let encrypted = link.application.settings.callback().encryption == Encryption::Required;
    let how = if encrypted {
        "RS256, encrypted with A256GCM"
    } else {
        "RS256, not encrypted"
    };
    report.pass("sign", watch.elapsed(), how);

    let (attempt, result) = link.send(shared, &mut request, 1).await;
    let took = Duration::from_micros(u64::try_from(attempt.latency_us).unwrap_or(0));
    let https = link.url().scheme() == "https";
    match &result {
        Err(failure @ Failure::Tls(_)) => {
            report.fail("tls", took, failure.to_string(), advice(failure));
            return Ok(());
        }
        _ if https => report.pass("tls", Duration::ZERO, "the certificate is trusted"),
        _ => {
            let detail = "plain http: what is not encrypted can be read on the way".to_owned();
            report.add("tls", Duration::ZERO, StepResult::Skipped { detail });
        }
    }
    let reading = match result {
        Ok(reading) => reading,
        Err(failure) => {
            report.fail("status", took, failure.to_string(), advice(&failure));
            return Ok(());
        }
    };
    report.pass("status", took, "HTTP 200");
    let answer = match reading {
        Reading::Understood(answer) => answer,
        Reading::Assumed(foreign) => {
            let detail = format!("the body is {foreign}: a 200 counts as received, but confirms nothing");
            report.add("answer", Duration::ZERO, StepResult::Skipped { detail });
            return Ok(());
        }
        Reading::Unreadable(why) => {
            report.fail("answer", Duration::ZERO, why, UNREADABLE);
            return Ok(());
        }
    };
    report.pass("answer", Duration::ZERO, "understood");
    let lists = [
        ("successEvents", &answer.success),
        ("skippedEvents", &answer.skipped),
        ("failedEvents", &answer.failed),
        ("retriedEvents", &answer.retried),
    ];
    let found = lists.iter().find_map(|(list, items)| {
        items
            .iter()
            .find(|item| item.event_id == event_id)
            .map(|item| (*list, item))
    });
    match found {
        Some((list @ ("failedEvents" | "retriedEvents"), item)) => report.fail(
            "event",
            Duration::ZERO,
            format!("{list}: {} {}", item.event_code, item.event_message),
            "the application verified the event but did not accept it; its log says why",
        ),
        Some((list, item)) => report.pass("event", Duration::ZERO, format!("{list}: {}", item.event_code)),
        None => {
            let detail = "the answer does not mention the event; it counts as received".to_owned();
            report.add("event", Duration::ZERO, StepResult::Skipped { detail });
        }
    }
    Ok(())
}

const UNREADABLE: &str = "answer with the four lists as the wire contract writes them, or with an empty body";

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
        Failure::Unreadable(_) => UNREADABLE,
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
