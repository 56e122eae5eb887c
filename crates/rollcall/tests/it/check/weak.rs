//! An endpoint with one weakness: everything is as it should be, but for that.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::hmac;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rollcall::clock::Clock;
use rollcall_protocol::{
    Answer, EncryptionKey, Event, EventResult, EventType as T, ISSUER, JwkSet, KeySet, OpenError, Opened,
    Opener, SigningKey, SubjectKind, VALID_FOR_S,
};
use serde_json::{Map, Value, json};
use tokio::sync::Semaphore;

/// What is wrong with an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) enum Weakness {
    #[default]
    None,
    AcceptsNone,
    AcceptsHs256,
    AcceptsOtherAlgorithms,
    IgnoresSignatures,
    AcceptsUnknownKids,
    AcceptsMissingKids,
    TrustsEmbeddedKeys,
    AcceptsCrit,
    AcceptsAnyIssuer,
    AcceptsAnyAudience,
    NeverExpires,
    AcceptsTheFuture,
    AcceptsAnyLifetime,
    AcceptsPlaintext,
    SwallowsUndecryptable,
    SwallowsUnreadableBodies,
    SwallowsUnreadablePayloads,
    TakesGet,
    HasNoLeeway,
    ForgetsOldEnvelopes,
    PinsKeys,
    RefusesCrowds,
    AnswersNothing,
    NamesAnother,
    NamesTwice,
    AnswersAsText,
    SkipsTests,
    FailsTests,
    FailsUnknownTypes,
    SucceedsUnknownTypes,
    RefusesUnknownFields,
    ReadsOlderNamesOnly,
    ReadsNewerNamesOnly,
    ReadsNoNumbers,
    HasShortColumns,
    ReadsAsciiOnly,
    RequiresEmail,
    ForgetsTheLast,
    FailsDuplicates,
    HasNoMemory,
    HasNoTimes,
    HasNeither,
    FailsUnknownDeletions,
    WantsUsersFirst,
    FailsKnownUsers,
    AppliesBackwards,
    IgnoresStatus,
    KeepsMissing,
    IgnoresDeletions,
}

use Weakness as W;

/// What is stored of a user.
struct User {
    time: i64,
    /// `None`: deleted.
    record: Option<Map<String, Value>>,
}

#[derive(Default)]
struct Memory {
    users: HashMap<String, User>,
    seen: HashSet<String>,
}

pub(super) struct Weak {
    weakness: Weakness,
    application_id: String,
    keys: Box<dyn Fn() -> JwkSet + Send + Sync>,
    pinned: JwkSet,
    encryption: Option<EncryptionKey>,
    /// What is let through although it should not be is sealed anew with it, and opened.
    own: SigningKey,
    room: Semaphore,
    memory: Mutex<Memory>,
}

pub(super) struct Endpoint {
    pub(super) url: String,
    pub(super) read_back: String,
}

impl Weak {
    pub(super) async fn start(
        weakness: Weakness,
        application_id: &str,
        encryption: Option<EncryptionKey>,
        keys: impl Fn() -> JwkSet + Send + Sync + 'static,
    ) -> Endpoint {
        let weak = Arc::new(Self {
            weakness,
            application_id: application_id.to_owned(),
            pinned: keys(),
            keys: Box::new(keys),
            encryption,
            own: SigningKey::generate("OWN").unwrap(),
            room: Semaphore::new(if weakness == W::RefusesCrowds { 5 } else { 1_000 }),
            memory: Mutex::default(),
        });
        let router = Router::new()
            .route("/events", any(receive))
            .route("/users/{id}", get(user))
            .layer(DefaultBodyLimit::max(8 << 20))
            .with_state(weak);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Endpoint {
            url: format!("http://{address}/events"),
            read_back: format!("http://{address}/users/{{id}}"),
        }
    }

    fn open(&self, body: &[u8]) -> Result<(Opened, String), OpenError> {
        let now = Clock::system().now();
        let published = if self.weakness == W::PinsKeys {
            self.pinned.clone()
        } else {
            (self.keys)()
        };
        let keys = published.verifier();
        let opener = self.opener(&keys);
        // For what it says of a body that is none.
        opener.open(body, now).map(drop).or_else(|error| {
            if self.forgives(&error, body) {
                Ok(())
            } else {
                Err(error)
            }
        })?;
        let body: Value = serde_json::from_slice(body).unwrap();
        let jwt = body["event"].as_str().unwrap();
        match opener.open_jwt_with_payload(jwt, now) {
            Ok(opened) => Ok(opened),
            Err(_) => {
                let keys = JwkSet {
                    keys: vec![self.own.public_jwk()],
                };
                let keys = keys.verifier();
                Opener {
                    require_encryption: false,
                    ..self.opener(&keys)
                }
                .open_jwt_with_payload(&self.repaired(jwt, now), now)
            }
        }
    }

    fn opener<'a>(&'a self, keys: &'a KeySet) -> Opener<'a> {
        Opener {
            decryption: self.encryption.as_ref(),
            require_encryption: self.encryption.is_some(),
            leeway_s: if self.weakness == W::HasNoLeeway { 0 } else { 60 },
            ..Opener::new(keys, &self.application_id)
        }
    }

    /// Whether what is wrong with a request is what this endpoint does not look at.
    fn forgives(&self, error: &OpenError, body: &[u8]) -> bool {
        use OpenError as E;
        let header = |name: &str| header_of(body).get(name).cloned();
        match (self.weakness, error) {
            (W::AcceptsNone, E::WrongAlgorithm(algorithm)) => algorithm.eq_ignore_ascii_case("none"),
            (W::AcceptsHs256, E::WrongAlgorithm(algorithm)) => algorithm == "HS256" && self.is_hmac(body),
            (W::AcceptsOtherAlgorithms, E::WrongAlgorithm(algorithm)) => algorithm == "RS384",
            (W::AcceptsUnknownKids, E::UnknownKey { kid }) => !kid.is_empty(),
            (W::AcceptsMissingKids, E::UnknownKey { kid }) => kid.is_empty(),
            (W::TrustsEmbeddedKeys, E::UnknownKey { .. } | E::BadSignature) => header("jwk").is_some(),
            (W::AcceptsCrit, E::MalformedHeader(_)) => header("crit").is_some(),
            (W::IgnoresSignatures, E::BadSignature)
            | (W::AcceptsAnyIssuer, E::WrongIssuer(_))
            | (W::AcceptsAnyAudience, E::WrongAudience(_))
            | (W::NeverExpires, E::Expired { .. })
            | (W::AcceptsTheFuture, E::NotYetValid { .. })
            | (W::AcceptsAnyLifetime, E::UnreasonableLifetime { .. })
            | (W::AcceptsPlaintext, E::NotEncrypted) => true,
            _ => false,
        }
    }

    /// Whether it is signed with the public key in PEM as the secret.
    fn is_hmac(&self, body: &[u8]) -> bool {
        let body: Value = serde_json::from_slice(body).unwrap();
        let (signed, tag) = body["event"].as_str().unwrap().rsplit_once('.').unwrap();
        let jwk = self.pinned.keys[0].clone();
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
        let components = aws_lc_rs::rsa::PublicKeyComponents {
            n: decode(&jwk.n),
            e: decode(&jwk.e),
        };
        let der = aws_lc_rs::encoding::AsDer::as_der(&components).unwrap();
        let text = STANDARD.encode(der.as_ref());
        let lines: Vec<&str> = (0..text.len())
            .step_by(64)
            .map(|at| &text[at..text.len().min(at + 64)])
            .collect();
        let pem = format!(
            "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
            lines.join("\n")
        );
        let key = hmac::Key::new(hmac::HMAC_SHA256, pem.as_bytes());
        hmac::verify(&key, signed.as_bytes(), &decode(tag)).is_ok()
    }

    /// The token as it would be without its flaw, signed with the own key.
    fn repaired(&self, jwt: &str, now: i64) -> String {
        let claims = jwt.split('.').nth(1).unwrap();
        let mut claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
        claims["iss"] = json!(ISSUER);
        claims["aud"] = json!(self.application_id);
        claims["iat"] = json!(now / 1_000);
        claims["exp"] = json!(now / 1_000 + VALID_FOR_S);
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let unsigned = format!(
            "{}.{}",
            part(&json!({ "alg": "RS256", "kid": "OWN" })),
            part(&claims)
        );
        let signature = self.own.sign(unsigned.as_bytes()).unwrap();
        format!("{unsigned}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// What is answered to a request that cannot be opened.
    fn refuse(&self, error: &OpenError) -> Response {
        use OpenError as E;
        let swallows = matches!(
            (self.weakness, error),
            (W::SwallowsUndecryptable, E::Undecryptable | E::MalformedJwe(_))
                | (W::SwallowsUnreadableBodies, E::NotAnEnvelope(_) | E::NotAJwt(_))
                | (W::SwallowsUnreadablePayloads, E::MalformedPayload(_))
        );
        if swallows {
            return self.say(&Answer::default());
        }
        (StatusCode::BAD_REQUEST, error.to_string()).into_response()
    }

    fn say(&self, answer: &Answer) -> Response {
        let body = serde_json::to_string(answer).unwrap();
        let kind = if self.weakness == W::AnswersAsText {
            "text/plain"
        } else {
            "application/json"
        };
        let response = Response::builder().header("content-type", kind);
        response.body(Body::from(body)).unwrap()
    }

    fn take(&self, opened: &Opened, payload: &str) -> Answer {
        let mut events = opened.batch.events.clone();
        if self.weakness == W::AppliesBackwards {
            events.reverse();
        }
        let payload: Value = serde_json::from_str(payload).unwrap();
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let mut answer = Answer::default();
        for event in &events {
            let list = if self.weakness == W::ReadsNoNumbers && payload["aliUid"].is_number() {
                &mut answer.retried
            } else {
                match self.apply(&mut memory, event) {
                    "skipped" => &mut answer.skipped,
                    "failed" => &mut answer.failed,
                    "retried" => &mut answer.retried,
                    _ => &mut answer.success,
                }
            };
            list.push(EventResult {
                event_id: event.event_id.clone(),
                event_code: "CODE".to_owned(),
                event_message: "<script>alert(1)</script>".to_owned(),
            });
        }
        match self.weakness {
            W::ForgetsTheLast if events.len() > 100 => drop(answer.success.pop()),
            W::NamesTwice => {
                let all = [&answer.success[..], &answer.skipped].concat();
                answer.skipped.extend(all);
            }
            W::NamesAnother => answer.success.push(EventResult {
                event_id: "evnt_of_somebody_else".to_owned(),
                ..EventResult::default()
            }),
            _ => {}
        }
        answer
    }

    fn apply(&self, memory: &mut Memory, event: &Event) -> &'static str {
        let Some(kind) = event.kind() else {
            return match self.weakness {
                W::FailsUnknownTypes => "failed",
                W::SucceedsUnknownTypes => "success",
                _ => "skipped",
            };
        };
        if kind == T::Test {
            return match self.weakness {
                W::SkipsTests => "skipped",
                W::FailsTests => "failed",
                _ => "success",
            };
        }
        let remembers = !matches!(self.weakness, W::HasNoMemory | W::HasNeither);
        if !memory.seen.insert(event.event_id.clone()) && remembers {
            return if self.weakness == W::FailsDuplicates {
                "failed"
            } else {
                "success"
            };
        }
        let record: Map<String, Value> = serde_json::from_str(&event.biz_data).unwrap();
        let is_whole = matches!(kind.subject_kind(), Some(SubjectKind::User | SubjectKind::Unit))
            && !matches!(
                kind,
                T::UserDelete | T::UnitDelete | T::UnitAddUser | T::UnitRemoveUser
            );
        let has = |name: &str| record.contains_key(name);
        let name = record
            .get("displayName")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let is_refused = match self.weakness {
            W::RefusesUnknownFields => has("nickname"),
            W::ReadsOlderNamesOnly => is_whole && !has("lastUpdatedTime"),
            W::ReadsNewerNamesOnly => is_whole && !has("updateTime"),
            W::HasShortColumns => name.chars().count() > 100,
            W::ReadsAsciiOnly => !name.is_ascii(),
            W::RequiresEmail => is_whole && has("userId") && !has("email"),
            _ => false,
        };
        if is_refused {
            return "failed";
        }
        match kind.subject_kind() {
            Some(SubjectKind::User) => self.apply_user(memory, kind, event, record),
            _ => "success",
        }
    }

    fn apply_user(
        &self,
        memory: &mut Memory,
        kind: T,
        event: &Event,
        mut record: Map<String, Value>,
    ) -> &'static str {
        let known = memory.users.get(&event.biz_id);
        let watches_times = !matches!(self.weakness, W::HasNoTimes | W::HasNeither);
        if watches_times && known.is_some_and(|known| event.event_time < known.time) {
            return "success";
        }
        let stored = known.and_then(|known| known.record.as_ref());
        match (self.weakness, kind) {
            (W::FailsUnknownDeletions, T::UserDelete) if stored.is_none() => return "failed",
            (W::WantsUsersFirst, T::UserUpdateInfo | T::UserDisable) if stored.is_none() => return "retried",
            (W::FailsKnownUsers, T::UserCreate) if stored.is_some() => return "failed",
            (W::IgnoresDeletions, T::UserDelete) => return "success",
            _ => {}
        }
        if self.weakness == W::IgnoresStatus {
            record.insert("status".to_owned(), json!("enabled"));
        }
        if self.weakness == W::KeepsMissing
            && let Some(stored) = stored
        {
            for (name, value) in stored {
                record.entry(name.clone()).or_insert_with(|| value.clone());
            }
        }
        let user = User {
            time: event.event_time,
            record: (kind != T::UserDelete).then_some(record),
        };
        memory.users.insert(event.biz_id.clone(), user);
        "success"
    }
}

async fn receive(State(weak): State<Arc<Weak>>, method: Method, body: Bytes) -> Response {
    if method != Method::POST {
        return match weak.weakness {
            W::TakesGet => weak.say(&Answer::default()),
            _ => StatusCode::METHOD_NOT_ALLOWED.into_response(),
        };
    }
    let Ok(_room) = weak.room.try_acquire() else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    if weak.weakness == W::RefusesCrowds {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (opened, payload) = match weak.open(&body) {
        Ok(opened) => opened,
        Err(error) => return weak.refuse(&error),
    };
    let age = Clock::system().now() - opened.issued_at_ms;
    if weak.weakness == W::ForgetsOldEnvelopes && age > 300_000 {
        return StatusCode::BAD_REQUEST.into_response();
    }
    let answer = weak.take(&opened, &payload);
    match weak.weakness {
        W::AnswersNothing => ([("content-type", "application/json")], "").into_response(),
        _ => weak.say(&answer),
    }
}

async fn user(State(weak): State<Arc<Weak>>, Path(id): Path<String>) -> Response {
    let memory = weak.memory.lock().unwrap_or_else(PoisonError::into_inner);
    match memory.users.get(&id).and_then(|user| user.record.as_ref()) {
        Some(record) => axum::Json(record).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn header_of(body: &[u8]) -> Map<String, Value> {
    let body: Value = serde_json::from_slice(body).unwrap();
    let header = body["event"].as_str().unwrap().split('.').next().unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap()
}
