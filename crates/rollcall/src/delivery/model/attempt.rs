//! What is told of one request: what it carried, what came of it, and what the application said.

use rollcall_protocol::Foreign;
use serde::{Deserialize, Serialize};

use super::{Outgoing, Remark, Source, Verdict};
use crate::change::Seq;
use crate::clock::Millis;
use crate::delivery::egress::failure::Failure;

/// An event that did not simply succeed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Exception {
    /// The event.
    pub event_id: String,
    /// The unit, user or group that the event is about; unknown in attempts that an earlier version stored.
    #[serde(default)]
    pub subject_id: String,
    /// Its short type, such as `ud:user:create`; empty in what was stored before types were.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub event_type: String,
    /// `skipped`, `failed`, `retried`, or `assumed`: the answer named others of the request, and not this one.
    pub result: String,
    /// The application's code; `event_not_named` if it did not name the event.
    pub code: String,
    /// What the application says about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl Exception {
    fn of(event: &Outgoing, result: &str, remark: &Remark) -> Self {
        Self {
            event_id: event.event_id().to_owned(),
            subject_id: event.subject_id().to_owned(),
            event_type: event.event_type.short().to_owned(),
            result: result.to_owned(),
            code: remark.code.clone(),
            message: remark.message.clone(),
        }
    }
}

/// How many events that an answer did not name, while it named others, are kept by id. Where there are more, the
/// number has to do, so that an application that names only some makes no attempt large.
const UNNAMED: usize = 100;

/// A parked event that a request carried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Carried {
    /// The event.
    pub event_id: String,
    /// Its short type, such as `ud:user:create`.
    pub event_type: String,
    /// Whom it is about.
    pub subject_id: String,
}

/// One request and what came of it.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// `log`, `parked`, `job`, `test` or `key_trial`.
    pub source: String,
    /// The first change of the range; only for events from the log.
    pub from_seq: Option<Seq>,
    /// The last change of the range.
    pub to_seq: Option<Seq>,
    /// Which lane.
    pub lane: u32,
    /// Of how many.
    pub lanes: u32,
    /// 1 for the first try of a request; for events that are sent again, how often one of them was sent, with this time.
    pub try_number: u32,
    /// When the request was sent.
    pub started_at: Millis,
    /// From the start of the request to the end of the answer, in microseconds.
    pub latency_us: i64,
    /// `delivered`, `assumed` (a 200 that is no answer), or the code of the failure.
    pub outcome: String,
    /// The HTTP status.
    pub http_status: Option<u16>,
    /// How many events the request carried.
    pub events: u32,
    /// How many of them the application confirmed.
    pub succeeded: u32,
    /// How many count as received although the answer does not speak of them.
    pub assumed: u32,
    /// How many the application skipped.
    pub skipped: u32,
    /// How many it refused for good.
    pub failed: u32,
    /// How many it wants again.
    pub retried: u32,
    /// The events that did not simply succeed.
    pub exceptions: Vec<Exception>,
    /// The failure, in the hub's words.
    pub detail: Option<String>,
    /// What the application said about it. It may name people, so it goes when somebody is erased.
    pub said: Option<String>,
    /// The events that it carried, if they were parked: no range of the log tells that.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub carried: Vec<Carried>,
    /// When the request was to be sent again, if it failed and was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_try: Option<Millis>,
}

impl Attempt {
    /// An attempt of which nothing is known but what was sent.
    pub fn new(source: Source, range: Option<(Seq, Seq)>, lane: (u32, u32), events: usize) -> Self {
        Self {
            source: source.as_str().to_owned(),
            from_seq: range.map(|(from, _)| from),
            to_seq: range.map(|(_, to)| to),
            lane: lane.0,
            lanes: lane.1,
            try_number: 1,
            started_at: 0,
            latency_us: 0,
            outcome: String::new(),
            http_status: None,
            events: u32::try_from(events).unwrap_or(u32::MAX),
            succeeded: 0,
            assumed: 0,
            skipped: 0,
            failed: 0,
            retried: 0,
            exceptions: Vec::new(),
            detail: None,
            said: None,
            carried: Vec::new(),
            next_try: None,
        }
    }

    /// Notes which events the request carries, if nothing else tells.
    pub fn carry(&mut self, events: &[Outgoing]) {
        if self.source != Source::Parked.as_str() {
            return;
        }
        let carried = events.iter().map(|event| Carried {
            event_id: event.event_id().to_owned(),
            event_type: event.event_type.short().to_owned(),
            subject_id: event.subject_id().to_owned(),
        });
        self.carried = carried.collect();
    }

    /// Notes that the request failed.
    pub fn fail(&mut self, failure: &Failure) {
        failure.code().clone_into(&mut self.outcome);
        self.http_status = failure.status();
        self.detail = Some(shorten(&failure.to_string()));
        self.said = failure.said().map(str::to_owned);
    }

    /// Notes what became of the events. `foreign` says what came instead of an answer, if none did.
    pub fn conclude<'a>(
        &mut self,
        events: impl Iterator<Item = (&'a Outgoing, &'a Verdict)>,
        foreign: Option<Foreign>,
    ) {
        match foreign {
            None => "delivered".clone_into(&mut self.outcome),
            Some(what) => {
                "assumed".clone_into(&mut self.outcome);
                self.detail = Some(format!("assumed, not confirmed: {what}"));
            }
        }
        let mut unnamed = Vec::new();
        for (event, verdict) in events {
            let (count, exception) = match verdict {
                Verdict::Accepted => (&mut self.succeeded, None),
                Verdict::Assumed => {
                    unnamed.push(event);
                    (&mut self.assumed, None)
                }
                Verdict::Skipped(remark) => (&mut self.skipped, Some(("skipped", remark))),
                Verdict::Refused(remark) => (&mut self.failed, Some(("failed", remark))),
                Verdict::Again(remark) => (&mut self.retried, Some(("retried", remark))),
            };
            *count += 1;
            if let Some((result, remark)) = exception {
                self.exceptions.push(Exception::of(event, result, remark));
            }
        }
        // If it named nobody, the number tells which ones: all.
        let named_some = self.assumed < self.events;
        if named_some && unnamed.len() <= UNNAMED {
            let remark = Remark {
                code: "event_not_named".to_owned(),
                message: None,
            };
            let unnamed = unnamed.into_iter();
            self.exceptions
                .extend(unnamed.map(|event| Exception::of(event, "assumed", &remark)));
        }
    }

    /// What became of an event that the request carried: the result of its exception, or else `accepted`, or
    /// `assumed` if that is all that is known.
    pub fn result_of(&self, event_id: &str) -> &str {
        let exception = self.exceptions.iter().find(|it| it.event_id == event_id);
        let told_apart = || self.exceptions.iter().any(|it| it.result == "assumed");
        match exception {
            Some(exception) => &exception.result,
            None if self.assumed > 0 && !told_apart() => "assumed",
            None => "accepted",
        }
    }

    /// The failure with what the application said about it; `None` if it did not fail.
    pub fn in_full(&self) -> Option<String> {
        let texts: Vec<&str> = [self.detail.as_deref(), self.said.as_deref()]
            .into_iter()
            .flatten()
            .filter(|text| !text.is_empty())
            .collect();
        (!texts.is_empty()).then(|| texts.join(": "))
    }

    /// Forgets what the application said, on the whole and of single events.
    pub fn forget_what_was_said(&mut self) {
        self.said = None;
        for exception in &mut self.exceptions {
            exception.message = None;
        }
    }

    /// Notes what is to be known of the key under which the request went, beside what came of it.
    pub fn remark(&mut self, text: &str) {
        self.detail = Some(match self.detail.take() {
            Some(detail) => format!("{detail}; {text}"),
            None => text.to_owned(),
        });
    }

    /// Whether the application took the request, by the wire.
    pub fn was_received(&self) -> bool {
        matches!(self.outcome.as_str(), "delivered" | "assumed")
    }
}

/// What an application says is kept short: it is shown, not worked with.
pub fn shorten(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(300)
        .collect()
}
