//! What a hub answers, and what is told where that is no answer.

use std::borrow::Cow;
use std::time::Duration;

use anyhow::Error;
use axum::http::header::{CONTENT_TYPE, LOCATION, RETRY_AFTER};
use reqwest::Response;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::target::Target;
use crate::api::PREFIX;
use crate::clock::Millis;
use crate::delivery::egress::failure::{Failure, TlsFault};
use crate::delivery::egress::{Direct, wait_of};

/// An answer is read no further than this.
const LARGEST: usize = 64 << 20;
/// As much of a text as fits into a sentence.
const FEW_WORDS: usize = 200;
/// How long is waited if the hub asks to wait and does not say how long.
const WAIT: Duration = Duration::from_secs(1);

/// Why a hub elsewhere did not do something.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(in crate::cli) struct Refused {
    /// A short name for scripts: the code of the hub's answer, if there is one.
    pub(in crate::cli) code: Cow<'static, str>,
    message: String,
    /// What to do.
    pub(in crate::cli) hint: Option<String>,
    /// What would be done, and the token that confirms it.
    pub(in crate::cli) plan: Option<Value>,
}

impl Refused {
    fn of(code: &'static str, message: String, hint: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            message,
            hint: Some(hint.into()),
            plan: None,
        }
    }

    /// Says what to do, if that is not said yet.
    pub(super) fn or_hint(self, hint: Option<String>) -> Self {
        Self {
            hint: self.hint.or(hint),
            ..self
        }
    }

    /// Whether there was no answer at all.
    pub(in crate::cli) fn is_without_answer(&self) -> bool {
        matches!(self.code.as_ref(), "unreachable" | "no_answer" | "tls")
    }
}

/// What a hub elsewhere refused, if that is what went wrong.
pub(in crate::cli) fn refused(error: &Error) -> Option<&Refused> {
    error.chain().find_map(|cause| cause.downcast_ref())
}

/// A whole answer.
pub(super) struct Answer {
    status: u16,
    kind: String,
    location: Option<String>,
    retry_after: Option<Duration>,
    body: Vec<u8>,
}

/// An answer that is not what was asked for.
pub(super) enum Unlike {
    /// The hub says why.
    Problem(Box<Problem>),
    /// It succeeded, but cannot be read: the hub is of another version.
    Unreadable(String),
    /// It is not by a hub.
    Foreign(String),
}

impl Answer {
    /// Reads an answer. Of one that is told line by line each line is handed on as it comes.
    pub(super) async fn receive(
        mut response: Response,
        now: Millis,
        line: &mut dyn FnMut(&[u8]),
    ) -> Result<Self, Failure> {
        let header = |name| {
            let value = response.headers().get(name)?;
            Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        let mut answer = Self {
            status: response.status().as_u16(),
            kind: header(CONTENT_TYPE).unwrap_or_default(),
            location: header(LOCATION),
            retry_after: header(RETRY_AFTER).and_then(|value| wait_of(value.trim(), now)),
            body: Vec::new(),
        };
        let mut told = 0;
        while let Some(portion) = Direct::portion(&mut response).await? {
            if answer.body.len() + portion.len() > LARGEST {
                return Err(Failure::Broken(format!(
                    "it is longer than {} MiB",
                    LARGEST >> 20
                )));
            }
            answer.body.extend_from_slice(&portion);
            if answer.kind.starts_with("application/jsonl") {
                while let Some(end) = answer.body[told..].iter().position(|byte| *byte == b'\n') {
                    line(&answer.body[told..told + end]);
                    told += end + 1;
                }
            }
        }
        Ok(answer)
    }

    /// The answer that was told at the end of another one.
    pub(super) fn of_problem(problem: &Value) -> Self {
        let status = problem["status"]
            .as_u64()
            .and_then(|status| status.try_into().ok());
        Self {
            status: status.unwrap_or(500),
            kind: "application/problem+json".to_owned(),
            location: None,
            retry_after: None,
            body: problem.to_string().into_bytes(),
        }
    }

    fn code(&self) -> Option<String> {
        serde_json::from_slice::<Problem>(&self.body)
            .ok()
            .map(|problem| problem.code)
    }

    /// In how long the same is to be sent again; `None` if it is not. A request that is not safe is sent again only
    /// if it was certainly not carried out.
    pub(super) fn wants_again(&self, safe: bool, keyed: bool) -> Option<Duration> {
        let again = match self.status {
            429 => true,
            503 => safe,
            409 => keyed && self.code().as_deref() == Some("in_progress"),
            _ => false,
        };
        again.then(|| self.retry_after.unwrap_or(WAIT))
    }

    pub(super) fn read<T: DeserializeOwned>(self) -> Result<T, Unlike> {
        if (200..300).contains(&self.status) && self.kind.starts_with("application/json") {
            let mut deserializer = serde_json::Deserializer::from_slice(&self.body);
            return serde_path_to_error::deserialize(&mut deserializer)
                .map_err(|error| Unlike::Unreadable(error.to_string()));
        }
        match serde_json::from_slice::<Problem>(&self.body) {
            Ok(problem) if self.status >= 400 => Err(Unlike::Problem(Box::new(Problem {
                status: self.status,
                ..problem
            }))),
            _ => Err(Unlike::Foreign(self.described())),
        }
    }

    fn described(&self) -> String {
        let kind = match self.kind.split(';').next().unwrap_or_default() {
            "" => "nothing that is said to be anything",
            kind => kind,
        };
        match (&self.location, self.said()) {
            (Some(location), _) => format!("HTTP {}, which leads to {location}", self.status),
            (None, Some(said)) => format!("HTTP {}: {said}", self.status),
            (None, None) => format!("HTTP {} with {kind}", self.status),
        }
    }

    /// What it says in plain words, such as that the port speaks TLS; `None` if that is more than a few words.
    fn said(&self) -> Option<&str> {
        let text = std::str::from_utf8(&self.body).ok()?.trim();
        let is_short = !text.is_empty() && text.len() <= FEW_WORDS && !text.contains(char::is_control);
        (is_short && self.kind.starts_with("text/plain")).then_some(text)
    }
}

/// A refusal by a hub (RFC 9457).
#[derive(Deserialize)]
pub(super) struct Problem {
    #[serde(skip)]
    status: u16,
    code: String,
    pub(super) detail: String,
    plan: Option<Value>,
}

impl Problem {
    /// Whether it may be that the hub does not have the route, or does not know what it was asked with.
    pub(super) fn may_be_of_another_version(&self) -> bool {
        self.status == 400 || self.may_be_missing_route()
    }

    /// Whether it may be that there is no such route.
    pub(super) fn may_be_missing_route(&self) -> bool {
        matches!(self.status, 404 | 405)
    }

    pub(super) fn refused(self, route: &Route<'_>, target: &Target) -> Refused {
        let hint = match self.status {
            401 => Some(format!(
                "an administrator makes one with rollcall token create; write it into {}",
                target.token_file()
            )),
            403 if self.code == "forbidden" => Some(format!(
                "an administrator makes a token with a role that may (rollcall token create NAME --role ROLE); write it \
                 into {}",
                target.token_file()
            )),
            404 => route.hint(),
            _ => None,
        };
        let message = match self.status {
            401 => "the hub does not know this token: it was revoked, has expired, or is that of another hub"
                .to_owned(),
            _ => self.detail,
        };
        Refused {
            code: self.code.into(),
            message,
            hint,
            plan: self.plan,
        }
    }
}

/// What was asked for.
pub(super) struct Route<'a> {
    pub(super) method: &'a str,
    /// The parts of the path below the prefix.
    pub(super) path: &'a [String],
}

impl Route<'_> {
    /// How to find what there is.
    fn hint(&self) -> Option<String> {
        let (what, how) = match self.path.first()?.as_str() {
            "users" => ("user", "finds"),
            "organizational-units" => ("unit", "finds"),
            "groups" => ("group", "finds"),
            "accounts" => ("account", "shows"),
            "tokens" => ("token", "shows"),
            "connections" => ("connection", "shows"),
            _ => return None,
        };
        Some(match how {
            "finds" => {
                format!("rollcall {what} list --search TEXT finds what is there by a part of its name")
            }
            _ => format!("rollcall {what} list shows those there are"),
        })
    }
}

/// What to do about two versions that do not understand each other.
pub(in crate::cli) const SAME_VERSION: &str =
    "use the program of the hub's version, or bring the older one up to date";

/// What a hub says of its API.
#[derive(Deserialize)]
pub(super) struct Index {
    version: String,
    routes: Vec<Known>,
}

#[derive(Deserialize)]
struct Known {
    method: String,
    path: String,
}

impl Index {
    /// What may be the cause of a refusal, if the hub is of another version.
    pub(super) fn hint(&self) -> Option<String> {
        let (there, here) = (&self.version, env!("CARGO_PKG_VERSION"));
        (there != here).then(|| {
            format!(
                "the hub is of version {there}, and this program of version {here}: if that is the cause, {SAME_VERSION}"
            )
        })
    }

    pub(super) fn has(&self, route: &Route<'_>) -> bool {
        self.routes.iter().any(|known| {
            let parts = known.path.strip_prefix(PREFIX).unwrap_or(&known.path);
            let parts: Vec<&str> = parts.split('/').skip(1).collect();
            let fits = |(known, asked): (&&str, &String)| known.starts_with('{') || *known == asked;
            known.method == route.method
                && parts.len() == route.path.len()
                && parts.iter().zip(route.path).all(fits)
        })
    }

    /// The hub has no such route.
    pub(super) fn lacks(&self, place: &str, route: &Route<'_>) -> Refused {
        let what = format!("it has no {} {PREFIX}/{}", route.method, route.path.join("/"));
        self.unlike(place, &what)
    }

    /// The hub is of another version.
    pub(super) fn unlike(&self, place: &str, what: &str) -> Refused {
        let (there, here) = (&self.version, env!("CARGO_PKG_VERSION"));
        Refused::of(
            "other_version",
            format!("the hub at {place} is of version {there}, and this program of version {here}: {what}"),
            SAME_VERSION,
        )
    }
}

/// What answers is no hub.
pub(super) fn no_hub(place: &str, what: &str) -> Refused {
    Refused::of(
        "not_a_hub",
        format!("what answers at {place} is not the administrator's API of a Rollcall hub ({what})"),
        "see whether --server is the hub's own address",
    )
}

/// Whether a request may have arrived although there is no answer.
pub(super) fn is_lost(failure: &Failure) -> bool {
    matches!(failure, Failure::TimedOut | Failure::Broken(_))
}

/// Why there is no answer. `doubtful` says that something may have been done all the same.
pub(super) fn failed(place: &str, failure: &Failure, doubtful: bool) -> Refused {
    let reached = "see whether the hub runs there (rollcall serve), and whether --server is right";
    let (code, message, hint) = match failure {
        Failure::Tls(fault) => (
            "tls",
            format!("no TLS with {place}: {fault}"),
            match fault {
                TlsFault::SelfSigned { .. } | TlsFault::UnknownAuthority { .. } => {
                    "--ca-file names a file (PEM) with the certificate of an authority to trust besides the system's"
                }
                TlsFault::NotTls => {
                    "see whether the hub encrypts by itself (server.tls), or a proxy in front of it: if not, its address \
                     begins with http://"
                }
                _ => {
                    "see to the hub's certificate (server.tls), or name the host that it is for with --server"
                }
            },
        ),
        Failure::TimedOut => (
            "no_answer",
            format!("the hub at {place} does not answer in time"),
            reached,
        ),
        Failure::Broken(why) => (
            "no_answer",
            format!("the answer of {place} broke off: {why}"),
            match place.starts_with("http://") {
                true => {
                    "see whether the hub runs there (rollcall serve), and whether it encrypts by itself (server.tls): \
                     its address begins with https:// then"
                }
                false => reached,
            },
        ),
        failure => (
            "unreachable",
            format!("the hub at {place} cannot be reached: {failure}"),
            reached,
        ),
    };
    match doubtful {
        true => Refused::of(code, message, "it may be done all the same: look, then try again"),
        false => Refused::of(code, message, hint),
    }
}
