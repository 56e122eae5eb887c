//! What the hub counts and measures while it works. Whoever wants to look at it (the metrics endpoint,
//! the benchmark) reads it here; nothing is global.
//!
//! What can be read from the database (lags, parked events, suspensions) is not counted here but looked
//! up when somebody asks.

use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use tokio::sync::watch;

use crate::clock::Millis;

/// Which attempts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct AttemptLabels {
    /// The application's name.
    pub application: String,
    /// `delivered`, or the code of the failure.
    pub outcome: String,
}

/// Which events.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct EventLabels {
    /// The application's name.
    pub application: String,
    /// `succeeded`, `skipped`, `failed` or `retried`.
    pub result: &'static str,
}

/// Whether a request was answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OutcomeLabel {
    /// `delivered` or `failed`.
    pub outcome: &'static str,
}

/// Which requests to the hub.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RouteLabels {
    /// The route, with the names of its parameters.
    pub route: Cow<'static, str>,
    /// The HTTP status.
    pub status: u16,
}

/// From 100 µs to about 13 s, doubling.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.000_1, 2.0, 18))
}

/// What was counted of all applications since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Events that were acknowledged.
    pub delivered: u64,
    /// Requests that failed.
    pub failed: u64,
}

/// The meters.
#[derive(Debug)]
pub struct Meters {
    /// Requests to applications.
    pub attempts: Family<AttemptLabels, Counter>,
    /// Events in answered requests.
    pub events: Family<EventLabels, Counter>,
    /// From the start of a request to the end of its answer, in seconds.
    pub request_duration: Family<OutcomeLabel, Histogram>,
    /// From the commit of a change to its acknowledgement, in seconds.
    pub delivery_latency: Histogram,
    /// Making, encrypting and signing one request, in seconds.
    pub sealing: Histogram,
    /// Requests to the hub, in seconds.
    pub http: Family<RouteLabels, Histogram>,
    /// Bytes of sealed requests that were sent.
    pub sent_bytes: Counter,
    /// Changes that retention removed.
    pub trimmed_changes: Counter,
    /// Attempts that retention removed.
    pub trimmed_attempts: Counter,
    /// How many events were acknowledged so far.
    acknowledged: watch::Sender<u64>,
    /// How many requests to applications failed so far.
    failed: AtomicU64,
}

impl Default for Meters {
    fn default() -> Self {
        Self::new()
    }
}

impl Meters {
    /// Meters that stand at zero.
    pub fn new() -> Self {
        Self {
            attempts: Family::default(),
            events: Family::default(),
            request_duration: Family::new_with_constructor(seconds),
            delivery_latency: seconds(),
            sealing: seconds(),
            http: Family::new_with_constructor(seconds),
            sent_bytes: Counter::default(),
            trimmed_changes: Counter::default(),
            trimmed_attempts: Counter::default(),
            acknowledged: watch::Sender::new(0),
            failed: AtomicU64::new(0),
        }
    }

    /// How many events were acknowledged so far, and news of more.
    pub fn acknowledged(&self) -> watch::Receiver<u64> {
        self.acknowledged.subscribe()
    }

    /// What was counted so far, of all applications.
    pub fn totals(&self) -> Totals {
        Totals {
            delivered: *self.acknowledged.borrow(),
            failed: self.failed.load(Ordering::Relaxed),
        }
    }

    /// Counts what came of a request to an application.
    pub fn attempt(&self, sent: &Sent<'_>) {
        let Sent {
            application,
            outcome,
            seconds,
            results,
            ..
        } = sent;
        let application = (*application).to_owned();
        self.attempts
            .get_or_create(&AttemptLabels {
                application: application.clone(),
                outcome: (*outcome).to_owned(),
            })
            .inc();
        let delivered = *outcome == "delivered";
        let outcome = if delivered { "delivered" } else { "failed" };
        self.request_duration
            .get_or_create(&OutcomeLabel { outcome })
            .observe(*seconds);
        if !delivered {
            self.failed.fetch_add(1, Ordering::Relaxed);
            return;
        }
        for (result, count) in ["succeeded", "skipped", "failed", "retried"]
            .into_iter()
            .zip(results)
        {
            if *count > 0 {
                let application = application.clone();
                let labels = EventLabels { application, result };
                self.events.get_or_create(&labels).inc_by(u64::from(*count));
            }
        }
        for age in sent.ages {
            // Milliseconds are exact enough, and a clock that was set back must not count as less than nothing.
            #[expect(clippy::cast_precision_loss, reason = "ages are far below 2^52 ms")]
            self.delivery_latency.observe((*age).max(0) as f64 / 1_000.0);
        }
        self.acknowledged
            .send_modify(|count| *count += sent.ages.len() as u64);
    }

    /// Puts the meters under their names.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("rollcall");
        registry.register(
            "attempts",
            "Requests to applications by outcome",
            self.attempts.clone(),
        );
        registry.register(
            "events",
            "Events in answered requests by result",
            self.events.clone(),
        );
        registry.register(
            "request_duration_seconds",
            "From the start of a request to the end of its answer",
            self.request_duration.clone(),
        );
        registry.register(
            "delivery_latency_seconds",
            "From the commit of a change to its acknowledgement",
            self.delivery_latency.clone(),
        );
        registry.register(
            "sealing_duration_seconds",
            "Making, encrypting and signing one request",
            self.sealing.clone(),
        );
        registry.register(
            "http_request_duration_seconds",
            "Requests to the hub",
            self.http.clone(),
        );
        registry.register(
            "sent_bytes",
            "Bytes of sealed requests that were sent",
            self.sent_bytes.clone(),
        );
        registry.register(
            "retention_trimmed_changes",
            "Changes that retention removed",
            self.trimmed_changes.clone(),
        );
        registry.register(
            "retention_trimmed_attempts",
            "Attempts that retention removed",
            self.trimmed_attempts.clone(),
        );
    }
}

/// A request to an application and what came of it.
#[derive(Debug)]
pub struct Sent<'a> {
    /// The application's name.
    pub application: &'a str,
    /// `delivered`, or the code of the failure.
    pub outcome: &'a str,
    /// From the start of the request to the end of its answer.
    pub seconds: f64,
    /// Events that succeeded, were skipped, failed, and are wanted again.
    pub results: [u32; 4],
    /// The time since each event happened.
    pub ages: &'a [Millis],
}

/// The most memory that this process has had, in bytes; `None` where the system does not tell.
pub fn peak_memory() -> Option<u64> {
    memory("VmHWM:")
}

/// The memory that this process has now, in bytes; `None` where the system does not tell.
pub fn present_memory() -> Option<u64> {
    memory("VmRSS:")
}

fn memory(field: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    let kib: u64 = line.trim().trim_end_matches(" kB").trim().parse().ok()?;
    Some(kib * 1_024)
}
