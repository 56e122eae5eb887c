//! What came and what was answered: for people, or as lines of JSON.

use std::time::Duration;

use rollcall_protocol::{AnswerList, Event, OpenError, Opened, Reading, read_answer, shown};
use serde_json::{Value, json};

use super::envelope::Facts;
use super::paint::Paint;
use super::record::{describe, without_secrets};
use super::tally::Tally;
use crate::clock::{Millis, shown as time, written};
use crate::directory::fields::visible;

/// In which form it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// For people.
    People(Paint),
    /// An object in each line.
    Json,
}

/// Who has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By<'a> {
    /// The listener itself.
    Listener,
    /// The program under development, at this address.
    Program(&'a str),
}

/// What is answered to a request.
#[derive(Clone, Debug)]
pub(super) struct Answered<'a> {
    pub(super) by: By<'a>,
    /// `None`: the connection is closed without an answer.
    pub(super) status: Option<u16>,
    pub(super) body: &'a [u8],
    pub(super) took: Duration,
    /// The answer waits for so long besides.
    pub(super) late: Option<Duration>,
    /// Why the program has not answered.
    pub(super) failure: Option<&'a str>,
}

/// A request whose events are known.
pub(super) struct Arrival<'a> {
    pub(super) number: u64,
    pub(super) at: Millis,
    pub(super) verified: bool,
    pub(super) opened: &'a Opened,
    pub(super) answered: Answered<'a>,
}

/// A request that is refused.
pub(super) struct Refusal<'a> {
    pub(super) number: u64,
    pub(super) at: Millis,
    pub(super) error: &'a OpenError,
    pub(super) facts: Facts,
    pub(super) status: u16,
    pub(super) verifies: bool,
}

/// What a hub makes of an answer, for one event.
struct Result {
    name: &'static str,
    code: String,
    message: String,
}

/// How an answer is read by a hub.
struct Understanding {
    reading: Option<Reading>,
    /// What the hub does with events that the answer says nothing of by name.
    otherwise: (&'static str, String),
}

impl Understanding {
    fn of(answered: &Answered<'_>) -> Self {
        let whole = |name, why: String| Self {
            reading: None,
            otherwise: (name, why),
        };
        match answered.status {
            None => whole("unanswered", "the connection is closed".to_owned()),
            Some(200) => match read_answer(answered.body, true) {
                Reading::Understood(answer) => Self {
                    reading: Some(Reading::Understood(answer)),
                    otherwise: ("assumed", "the answer does not name it".to_owned()),
                },
                Reading::Assumed(foreign) => whole(
                    "assumed",
                    format!("{foreign}: it counts as received, and nothing is confirmed"),
                ),
                Reading::Unreadable(why) => whole("refused", format!("{why}; it is sent again")),
            },
            Some(_) => whole("refused", "it is sent again".to_owned()),
        }
    }

    fn result(&self, event: &Event) -> Result {
        if let Some(Reading::Understood(answer)) = &self.reading
            && let Some((list, result)) = answer.result_of(&event.event_id)
        {
            return Result {
                name: match list {
                    AnswerList::Success => "success",
                    AnswerList::Skipped => "skipped",
                    AnswerList::Failed => "failed",
                    AnswerList::Retried => "retried",
                },
                code: visible(&result.event_code),
                message: visible(&result.event_message),
            };
        }
        Result {
            name: self.otherwise.0,
            code: String::new(),
            message: self.otherwise.1.clone(),
        }
    }
}

fn milliseconds(took: Duration) -> f64 {
    (took.as_secs_f64() * 10_000.0).round() / 10.0
}

/// The type of an event, without the prefix if it is known.
fn type_of(event: &Event) -> String {
    match event.kind() {
        Some(kind) => kind.short().to_owned(),
        None => shown(&event.event_type),
    }
}

impl Arrival<'_> {
    /// Counts it.
    pub(super) fn count(&self, tally: &mut Tally) {
        let understanding = Understanding::of(&self.answered);
        for event in &self.opened.batch.events {
            tally.events += 1;
            *tally.types.entry(type_of(event)).or_default() += 1;
            *tally.results.entry(understanding.result(event).name).or_default() += 1;
        }
        tally.unanswered += u64::from(self.answered.failure.is_some());
    }

    pub(super) fn told(&self, form: Form) -> String {
        match form {
            Form::People(paint) => self.for_people(paint),
            Form::Json => self.as_json(),
        }
    }

    fn for_people(&self, paint: Paint) -> String {
        let Self { opened, answered, .. } = self;
        let understanding = Understanding::of(answered);
        let verified = match self.verified {
            true => paint.good("verified"),
            false => paint.warning("NOT VERIFIED"),
        };
        let encrypted = if opened.encrypted { ", encrypted" } else { "" };
        let mut lines = vec![format!(
            "{}  request {}: {verified}{encrypted}, key {}",
            paint.dim(&time(self.at)),
            self.number,
            shown(&opened.kid)
        )];
        let mut counts: Vec<(&'static str, u64)> = Vec::new();
        for event in &opened.batch.events {
            let described = describe(event);
            let result = understanding.result(event);
            lines.push(format!(
                "  {}  {}",
                paint.type_name(&type_of(event)),
                paint.bold(&described.about)
            ));
            if !described.says.is_empty() {
                lines.push(format!("      {}", described.says.join("; ")));
            }
            // What is the same for all stands once, below.
            let is_named = understanding.reading.is_some();
            if is_named && (result.name != "success" || !result.message.is_empty()) {
                let said: Vec<&str> = [result.code.as_str(), &result.message]
                    .into_iter()
                    .filter(|text| !text.is_empty() && *text != "SUCCESS")
                    .collect();
                lines.push(format!(
                    "      → {}: {}",
                    painted(paint, result.name),
                    said.join(": ")
                ));
            }
            match counts.iter_mut().find(|(name, _)| *name == result.name) {
                Some((_, count)) => *count += 1,
                None => counts.push((result.name, 1)),
            }
        }
        lines.push(format!(
            "  → {}",
            self.answer_in_words(paint, &understanding, &counts)
        ));
        lines.join("\n")
    }

    fn answer_in_words(
        &self,
        paint: Paint,
        understanding: &Understanding,
        counts: &[(&'static str, u64)],
    ) -> String {
        let answered = &self.answered;
        let took = milliseconds(answered.took);
        let late = answered
            .late
            .map(|late| format!(", {} s later than that", late.as_secs_f64()))
            .unwrap_or_default();
        let who = match (answered.by, answered.failure) {
            (By::Listener, _) => "answered".to_owned(),
            (By::Program(url), None) => format!("{} answered", visible(url)),
            (By::Program(url), Some(failure)) => {
                let failure = paint.bad(&visible(failure));
                format!("{} gave no answer: {failure}; the hub is told", visible(url))
            }
        };
        let Some(status) = answered.status else {
            let what = paint.warning("the connection is closed without an answer");
            return format!("{what}, in {took} ms");
        };
        let counted: Vec<String> = counts
            .iter()
            .map(|(name, count)| match counts.len() == 1 && *count == 1 {
                true => painted(paint, name),
                false => format!("{count} {}", painted(paint, name)),
            })
            .collect();
        let why = match &understanding.reading {
            Some(_) => String::new(),
            None => format!(" ({})", understanding.otherwise.1),
        };
        let redirect = match (status, answered.by) {
            (300..=399, By::Program(_)) => "; the redirect is not followed",
            _ => "",
        };
        format!(
            "{who} {status} in {took} ms{late}: {}{why}{redirect}",
            counted.join(", ")
        )
    }

    fn as_json(&self) -> String {
        let Self { opened, answered, .. } = self;
        let understanding = Understanding::of(answered);
        let by = match answered.by {
            By::Listener => "listener",
            By::Program(_) => "program",
        };
        let events = &opened.batch.events;
        let line = |event: &Event| {
            let result = understanding.result(event);
            let line = json!({
                "kind": "event",
                "receivedAt": written(self.at),
                "request": {
                    "number": self.number,
                    "events": events.len(),
                    "verified": self.verified,
                    "encrypted": opened.encrypted,
                    "kid": shown(&opened.kid),
                    "envelopeId": shown(&opened.jti),
                    "instanceId": shown(&opened.instance_id),
                    "issuedAt": written(opened.issued_at_ms),
                    "expiresAt": written(opened.expires_at_ms),
                },
                "eventId": event.event_id,
                "eventType": event.event_type,
                "eventTime": event.event_time,
                "bizId": event.biz_id,
                "record": without_secrets(&event.biz_data),
                "answer": {
                    "by": by,
                    "status": answered.status,
                    "milliseconds": milliseconds(answered.took),
                    "result": result.name,
                    "code": result.code,
                    "message": result.message,
                    "failure": answered.failure,
                },
            });
            line.to_string()
        };
        events.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

fn painted(paint: Paint, result: &str) -> String {
    match result {
        "success" => paint.good(result),
        "skipped" | "assumed" => paint.warning(result),
        _ => paint.bad(result),
    }
}

impl Refusal<'_> {
    pub(super) fn told(&self, form: Form) -> String {
        match form {
            Form::People(paint) => self.for_people(paint),
            Form::Json => self.as_json(),
        }
    }

    fn for_people(&self, paint: Paint) -> String {
        let facts = &self.facts;
        let said = [
            ("algorithm", facts.algorithm.clone()),
            ("key", facts.kid.clone()),
            ("issuer", facts.issuer.clone()),
            ("instance", facts.instance_id.clone()),
            ("for", facts.application_id.clone()),
            ("issued", facts.issued_at.map(time)),
            ("expires", facts.expires_at.map(time)),
            ("encrypted", facts.encrypted.map(|it| it.to_string())),
        ];
        let said: Vec<String> = said
            .into_iter()
            .filter_map(|(name, value)| Some(format!("{name} {}", value?)))
            .collect();
        let mut lines = vec![format!(
            "{}  request {}: {}: {}",
            paint.dim(&time(self.at)),
            self.number,
            paint.bad(&format!("REFUSED ({})", self.error.code())),
            visible(&self.error.to_string())
        )];
        if !said.is_empty() {
            lines.push(format!("      it says: {}", said.join(", ")));
        }
        lines.push(format!("      to do: {}", advice(self.error, self.verifies)));
        lines.push(format!("  → answered {}; a hub sends it again", self.status));
        lines.join("\n")
    }

    fn as_json(&self) -> String {
        let mut line = json!({
            "kind": "refused",
            "receivedAt": written(self.at),
            "request": { "number": self.number },
            "error": self.error.code(),
            "reason": self.error.to_string(),
            "advice": advice(self.error, self.verifies),
            "says": self.facts,
            "answer": { "by": "listener", "status": self.status },
        });
        for name in ["issuedAt", "expiresAt"] {
            if let Some(at) = line["says"][name].as_i64() {
                line["says"][name] = Value::String(written(at));
            }
        }
        line.to_string()
    }
}

/// What to do about a request that is refused.
fn advice(error: &OpenError, verifies: bool) -> &'static str {
    match error {
        OpenError::TooLarge { .. } => "have fewer events sent in one request (rollcall app set --max-events)",
        OpenError::NotAnEnvelope(_) | OpenError::NotAJwt(_) => {
            "see who sends this: a hub sends {\"event\":\"JWT\"} and nothing else"
        }
        OpenError::MalformedHeader(_) => {
            "see who sends this: a hub's header has kid, typ and alg, and no crit"
        }
        OpenError::WrongAlgorithm(_) => {
            "nothing, if somebody tries you out: whoever accepts another algorithm can be deceived"
        }
        OpenError::UnknownKey { .. } => {
            "compare the key with those of the JWKS endpoint: is it the endpoint of this application at this hub \
             (rollcall app show), and a file of it not older than the key?"
        }
        OpenError::BadSignature => {
            "see whether something on the way rewrites bodies; otherwise it is forged, and refusing it is right"
        }
        OpenError::MalformedClaims(_) => {
            "see who sends this: claims are a JSON object with iss, sub, aud, exp, iat and jti"
        }
        OpenError::WrongIssuer(_) => "see who sends this: it is neither a hub nor IDaaS",
        OpenError::WrongAudience(_) => {
            "compare the id with that of your application (rollcall app show): another one's URL leads here, or \
             --application-id is another one's"
        }
        OpenError::WrongInstance(_) => "see which hub sends this: it is not the one that was named",
        OpenError::Expired { .. } => {
            "set the clock of this machine, and of the hub; or it is an old request that somebody sends again, and \
             refusing it is right"
        }
        OpenError::NotYetValid { .. } => "set the clock of this machine, and of the hub",
        OpenError::UnreasonableLifetime { .. } => {
            "see who sends this: a hub's envelopes are valid for half an hour"
        }
        OpenError::NotEncrypted => {
            "have the hub encrypt (rollcall app set --encryption-key-file), or begin again without the key, if plain \
             events are meant"
        }
        OpenError::NoDecryptionKey if verifies => {
            "begin again with the application's encryption key (--encryption-key-file; with --app it is taken from the \
             database)"
        }
        OpenError::NoDecryptionKey => {
            "begin again with --encryption-key-file: without the key nobody can read this"
        }
        OpenError::MalformedJwe(_) => {
            "see who encrypts this: alg dir, enc A256GCM, a key of 64 hexadecimal digits"
        }
        OpenError::Undecryptable => {
            "compare the encryption keys: the hub's was changed, or the file here is of another application"
        }
        OpenError::MalformedPayload(_) => "see who sends this: the payload is not that of an event callback",
    }
}
