//! The event callback mode: a signed, encrypted POST, and how its answer is read (wire contract, sections
//! 1 to 6).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use axum::body::Bytes;
use reqwest::Url;
use rollcall_db::{DbError, Tx};
use rollcall_protocol::{
    Answer, AnswerList, EncryptionKey, ErrorAnswer, Event, EventBatch, EventResult, Foreign, Reading,
    SealParams, read_answer, seal,
};

use crate::application::keys::{Candidate, SigningKeys};
use crate::application::{Application, Encryption, store};
use crate::clock::Millis;
use crate::delivery::egress::Reply;
use crate::delivery::egress::failure::{Failure, Form};
use crate::delivery::model::{Outgoing, Remark, Source, Verdict, shorten};
use crate::hub::Hub;
use crate::secret::MasterKey;

/// Everything that sealing for an application needs.
#[derive(Debug)]
pub struct Callback {
    pub(super) url: Url,
    signing_keys: SigningKeys,
    encryption_key: Option<Arc<EncryptionKey>>,
    encryption: Encryption,
}

/// A sealed request.
#[derive(Clone, Debug)]
pub(super) struct Body {
    /// Shared by the tries.
    pub(super) bytes: Bytes,
    pub(super) expires_at: Millis,
    /// The key that signed it.
    pub(super) kid: String,
}

/// What an answer says of the events of its request, and what came if it was none.
pub(in crate::delivery) struct Judged {
    pub(in crate::delivery) verdicts: Vec<Verdict>,
    pub(in crate::delivery) foreign: Option<Foreign>,
    /// Events that the answer names and that were not sent, if it leaves out some that were.
    pub(in crate::delivery) strangers: Vec<String>,
}

/// Why a request cannot even be sealed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SealError {
    /// There is no key to sign with.
    #[error("the application has no signing key; rotate its key to make one")]
    NoSigningKey,
    /// Encryption is required and there is no key.
    #[error("the application requires encryption and has no encryption key; set one")]
    NoEncryptionKey,
    /// The envelope cannot be made.
    #[error("the events cannot be sealed: {0}")]
    Seal(String),
}

impl Callback {
    /// Loads the keys.
    ///
    /// # Errors
    /// What the database reports; also if a key does not open under the master key.
    pub(super) fn load(
        tx: &mut Tx<'_>,
        application: &Application,
        url: Url,
        master: &MasterKey,
    ) -> Result<Self, DbError> {
        Ok(Self {
            url,
            signing_keys: SigningKeys::load(tx, &application.id, master)?,
            encryption_key: store::encryption_key(tx, &application.id, master)?.map(Arc::new),
            encryption: application.settings.encryption(),
        })
    }

    /// The key that waits for its trial.
    pub(super) fn candidate(&self) -> Option<&Candidate> {
        self.signing_keys.candidate.as_ref()
    }

    /// Writes, encrypts and signs events. This is computation; it belongs on a signing thread.
    pub(super) fn seal(
        &self,
        hub: &Hub,
        application_id: &str,
        source: Source,
        events: Vec<Event>,
    ) -> Result<Body, SealError> {
        let watch = hub.clock.stopwatch();
        let now = hub.clock.now();
        let key = match source {
            Source::KeyTrial => self.candidate().map(|candidate| &candidate.key),
            Source::Log | Source::Parked | Source::Job | Source::Test => self.signing_keys.signing.as_ref(),
        };
        let key = key.ok_or(SealError::NoSigningKey)?;
        let encryption = match self.encryption {
            Encryption::Off => None,
            Encryption::Required => Some(self.encryption_key.as_deref().ok_or(SealError::NoEncryptionKey)?),
        };
        let batch = EventBatch {
            instance_id: hub.instance.id.clone(),
            event_version: "V1.0".to_owned(),
            ali_uid: hub.instance.ali_uid.clone(),
            events,
        };
        let sealed = seal(
            &batch,
            &SealParams {
                key,
                instance_id: &hub.instance.id,
                application_id,
                encryption,
                now_ms: now,
                random: &*hub.random,
            },
        )
        .map_err(|error| SealError::Seal(error.to_string()))?;
        hub.meters.sealing.observe(watch.elapsed().as_secs_f64());
        Ok(Body {
            bytes: sealed.body.into(),
            expires_at: sealed.expires_at_ms,
            kid: key.kid().to_owned(),
        })
    }
}

/// Reads a response: what it says of each event, or that it is none that can be relied upon.
pub(super) fn judge(reply: &Reply, events: &[Outgoing]) -> Result<Judged, Failure> {
    if reply.status != 200 {
        return Err(refusal(reply));
    }
    match read_answer(&reply.body, reply.complete) {
        Reading::Understood(answer) => {
            let verdicts = verdicts(&answer, events);
            let strangers = match verdicts.contains(&Verdict::Assumed) {
                true => strangers(&answer, events),
                false => Vec::new(),
            };
            Ok(Judged {
                verdicts,
                foreign: None,
                strangers,
            })
        }
        Reading::Assumed(foreign) => Ok(Judged {
            verdicts: vec![Verdict::Assumed; events.len()],
            foreign: Some(foreign),
            strangers: Vec::new(),
        }),
        Reading::Unreadable(why) => Err(Failure::Unreadable(shorten(&why))),
    }
}

/// What an answer says of each event. What it says of events that were not sent is ignored; an event that it
/// does not mention counts as received.
fn verdicts(answer: &Answer, events: &[Outgoing]) -> Vec<Verdict> {
    if answer.skipped.is_empty() && answer.failed.is_empty() && answer.retried.is_empty() {
        // The usual answer: all is well, in the order in which it was sent.
        let same = answer.success.len() == events.len()
            && answer
                .success
                .iter()
                .zip(events)
                .all(|(result, outgoing)| result.event_id == outgoing.event_id());
        if same {
            return vec![Verdict::Accepted; events.len()];
        }
    }
    let mut said: HashMap<&str, Verdict> = HashMap::new();
    said.extend(
        answer
            .success
            .iter()
            .map(|it| (it.event_id.as_str(), Verdict::Accepted)),
    );
    said.extend(
        answer
            .skipped
            .iter()
            .map(|it| (it.event_id.as_str(), Verdict::Skipped(remark(it)))),
    );
    said.extend(
        answer
            .failed
            .iter()
            .map(|it| (it.event_id.as_str(), Verdict::Refused(remark(it)))),
    );
    said.extend(
        answer
            .retried
            .iter()
            .map(|it| (it.event_id.as_str(), Verdict::Again(remark(it)))),
    );
    events
        .iter()
        .map(|outgoing| said.get(outgoing.event_id()).cloned().unwrap_or(Verdict::Assumed))
        .collect()
}

/// The first few events that an answer names although they were not sent.
fn strangers(answer: &Answer, events: &[Outgoing]) -> Vec<String> {
    let sent: HashSet<&str> = events.iter().map(Outgoing::event_id).collect();
    AnswerList::ALL
        .into_iter()
        .flat_map(|list| answer.list(list))
        .filter(|result| !sent.contains(result.event_id.as_str()))
        .map(|result| shorten(&result.event_id))
        .take(3)
        .collect()
}

fn remark(result: &EventResult) -> Remark {
    Remark {
        code: shorten(&result.event_code),
        message: Some(shorten(&result.event_message)).filter(|text| !text.is_empty()),
    }
}

fn refusal(reply: &Reply) -> Failure {
    let answer = ErrorAnswer::parse(&reply.body);
    let form = match &answer {
        Some(answer) => Form::Protocol {
            error: answer.error.clone(),
        },
        None => Form::Foreign(Foreign::of(&reply.body)),
    };
    let redirect = matches!(reply.status, 300..400)
        .then(|| reply.location.as_ref().map(|location| format!("to {location}")))
        .flatten();
    let words = answer.map(|answer| match answer.error_description {
        Some(description) => format!("{}: {description}", answer.error),
        None => answer.error,
    });
    let text = || {
        let text = String::from_utf8_lossy(&reply.body);
        Some(text.trim().to_owned()).filter(|text| !text.is_empty())
    };
    Failure::Status {
        status: reply.status,
        said: redirect.or(words).or_else(text).map(|text| shorten(&text)),
        form,
        retry_after: reply.retry_after,
    }
}
