//! `GET /metrics`: what the meters counted, and how delivery stands, for Prometheus.
//!
//! The counts live in the process; lags, parked events and suspensions are read from the database at each
//! look, so that they are right also after a restart.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use rollcall_db::Stats;
use strum::VariantArray as _;

use super::{Api, ApiError};
use crate::delivery::ledger::parked::ParkedState;
use crate::delivery::status::{self, Status};
use crate::meter::present_memory;

type Labels = Vec<(&'static str, String)>;
type Gauges = Family<Labels, Gauge<f64, std::sync::atomic::AtomicU64>>;

pub(super) async fn metrics(State(api): State<Arc<Api>>) -> Result<Response, ApiError> {
    // Nobody has to show a token, so asking must not load the database.
    let text = api.metrics.get(scrape(&api)).await?;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}

async fn scrape(api: &Api) -> Result<String, ApiError> {
    let hub = &api.shared.hub;
    let status = hub.db.read(status::read).await?;
    let mut registry = Registry::default();
    hub.meters.register(&mut registry);
    gauges(
        &mut registry,
        &status,
        hub.clock.now(),
        api.shared.signing.queued(),
        api.tls.as_ref().map(|tls| tls.ends()),
    );
    registry.register_collector(Box::new(Commits(hub.db.stats())));
    let mut text = String::new();
    encode(&mut text, &registry).map_err(|_| ApiError::internal("the metrics cannot be written"))?;
    Ok(text)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "positions and counts are far below 2^52"
)]
fn gauges(
    registry: &mut Registry,
    status: &Status,
    now: i64,
    signing_queue: usize,
    certificate_ends: Option<i64>,
) {
    let mut gauge = |name: &str, help: &str| {
        let family = Gauges::default();
        registry.register(format!("rollcall_{name}"), help, family.clone());
        move |labels: &[(&'static str, &str)], value: f64| {
            let labels = labels
                .iter()
                .map(|(name, value)| (*name, (*value).to_owned()))
                .collect();
            family.get_or_create(&labels).set(value);
        }
    };
    gauge("build_info", "The version")(&[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    gauge("log_head", "The last position of the change log")(&[], status.head as f64);
    gauge("log_oldest", "The oldest position that the change log holds")(
        &[],
        status.oldest.unwrap_or(status.head) as f64,
    );
    gauge("signing_queue", "Requests that wait for a signing thread")(&[], signing_queue as f64);
    if let Some(ends) = certificate_ends {
        let left = (ends * 1_000 - now) as f64 / 1e3;
        gauge(
            "certificate_seconds_left",
            "Seconds until the certificate of the hub's own TLS ends",
        )(&[], left);
    }
    let lag = gauge(
        "cursor_lag_events",
        "Changes that are not settled for the application",
    );
    let lag_seconds = gauge("cursor_lag_seconds", "The age of the oldest of them");
    let parked = gauge("parked_events", "Events that wait outside the cursor");
    let suspended = gauge("suspended", "Whether the application does not answer");
    let paused = gauge("paused", "Whether the application is switched off");
    let refuses_key = gauge(
        "signing_key_refused",
        "Whether the application refuses the new signing key",
    );
    let progress = gauge(
        "synchronization_progress",
        "The part of a running synchronization that is done",
    );
    let states = gauge("applications", "Applications by state");
    for state in ["active", "suspended", "paused"] {
        let count = status
            .applications
            .iter()
            .filter(|it| it.application.state() == state)
            .count();
        states(&[("state", state)], count as f64);
    }
    for application in &status.applications {
        let name = ("application", application.application.name.as_str());
        lag(&[name], application.lag as f64);
        let age = application.oldest.map_or(0, |time| (now - time).max(0));
        lag_seconds(&[name], age as f64 / 1_000.0);
        for (state, count) in ParkedState::VARIANTS.iter().zip(application.parked) {
            parked(&[name, ("state", state.as_str())], count as f64);
        }
        suspended(
            &[name],
            f64::from(u8::from(application.application.state() == "suspended")),
        );
        paused(
            &[name],
            f64::from(u8::from(application.application.state() == "paused")),
        );
        refuses_key(&[name], f64::from(u8::from(application.refuses_key)));
        if let Some(job) = &application.job {
            let (done, total) = (job.statistics.done(), job.statistics.total().max(1));
            progress(&[name], done as f64 / total as f64);
        }
    }
    let subjects = gauge("directory_subjects", "Subjects of the directory");
    let (users, units, groups) = status.subjects;
    for (kind, count) in [("user", users), ("organizational_unit", units), ("group", groups)] {
        subjects(&[("kind", kind)], count as f64);
    }
    if let Some(bytes) = present_memory() {
        let family: Gauge<f64, std::sync::atomic::AtomicU64> = Gauge::default();
        family.set(bytes as f64);
        registry.register("process_resident_memory_bytes", "Memory of the process", family);
    }
}

/// What the database's writer has done.
#[derive(Debug)]
struct Commits(Stats);

impl Collector for Commits {
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        for (name, help, value) in [
            ("rollcall_database_groups", "Commits", self.0.groups),
            (
                "rollcall_database_closures",
                "Transactions that shared them",
                self.0.closures,
            ),
            (
                "rollcall_database_statements",
                "Statements, reading or writing",
                self.0.statements,
            ),
        ] {
            let counter = ConstCounter::new(value);
            let metric = encoder.encode_descriptor(name, help, None, counter.metric_type())?;
            counter.encode(metric)?;
        }
        let buckets: Vec<(f64, u64)> = self
            .0
            .durations
            .iter()
            .enumerate()
            .map(|(class, count)| {
                let last = class + 1 == self.0.durations.len();
                let bound = if last {
                    f64::INFINITY
                } else {
                    f64::from(1_u32 << class) / 10_000.0
                };
                (bound, *count)
            })
            .collect();
        let mut metric = encoder.encode_descriptor(
            "rollcall_database_commit_seconds",
            "From the begin to the commit of a group",
            None,
            prometheus_client::metrics::MetricType::Histogram,
        )?;
        metric.encode_histogram::<NoLabelSet>(self.0.micros as f64 / 1e6, self.0.groups, &buckets, None)
    }
}
