//! The one place where errors become HTTP statuses, and what is said of them (RFC 9457).

use std::io::ErrorKind;
use std::sync::Arc;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rollcall_db::{DbError, ErrorClass};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use super::stale::Since;
use crate::access::Version;
use crate::accounts::AccountError;
use crate::accounts::throttle::TooEarly;
use crate::application::ApplicationError;
use crate::application::command::SubscriptionPlan;
use crate::connection::ConnectionError;
use crate::delivery::comparison::{ComparisonError, RepairPlan};
use crate::delivery::job::{self, JobError};
use crate::delivery::ledger::operate::{ApplicationDeletion, OperateError};
use crate::directory::{DeletionPlan, DirectoryError};
use crate::export::ExportError;
use crate::import::ImportError;
use crate::signin::{Denied, SignInError};
use crate::why::WhyError;

/// A refusal: a status, a short code and a sentence.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    /// What would be done, and the token that confirms it.
    plan: Option<Box<Value>>,
    /// In how many seconds it is worth another try.
    retry_after: Option<u16>,
    /// What has changed since it was read.
    stale: Option<Stale>,
}

/// A record that is not what somebody has read.
#[derive(Clone, Debug)]
pub(super) struct Stale {
    /// The id of the record.
    pub(super) id: String,
    /// The version that was read.
    pub(super) expected: Version,
    /// The version that there is.
    pub(super) found: Version,
}

impl ApiError {
    fn of(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            plan: None,
            retry_after: None,
            stale: None,
        }
    }

    /// The status.
    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    /// What is wrong, and what to do.
    pub(super) fn message(&self) -> &str {
        &self.message
    }

    /// In how many seconds it is worth another try.
    pub(super) fn retry_after(&self) -> Option<u16> {
        self.retry_after
    }

    /// Something that does not exist.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::of(StatusCode::NOT_FOUND, "not_found", message)
    }

    /// Nobody who is known.
    pub fn unauthorized() -> Self {
        Self::of(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "sign in with POST /api/v1/session, or send the header Authorization: Bearer TOKEN, with a token that an \
             administrator has made or that of admin.token in the hub's data folder",
        )
    }

    /// A change that another site's page may have sent.
    pub fn cross_site(message: impl Into<String>) -> Self {
        Self::of(StatusCode::FORBIDDEN, "cross_site_request", message)
    }

    /// Something that the caller cannot help.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::of(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
    }

    /// A body in another form than JSON.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::of(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            message,
        )
    }

    /// A body that is too large.
    pub fn too_large(message: impl Into<String>) -> Self {
        Self::of(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
    }

    /// A method that a path does not have.
    pub fn method_not_allowed(message: impl Into<String>) -> Self {
        Self::of(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
    }

    /// Something that a plan shows, and that nobody has confirmed.
    pub fn unconfirmed(plan: &impl Plan) -> Self {
        let message = format!(
            "this does what the plan shows; repeat with confirm={} to do just that",
            plan.token()
        );
        Self::of(StatusCode::PRECONDITION_REQUIRED, "unconfirmed", message).with_plan(plan)
    }

    /// The same error with what would be done now.
    #[must_use]
    pub fn with_plan(self, plan: &impl Plan) -> Self {
        Self {
            plan: Some(Box::new(json!(plan))),
            ..self
        }
    }

    /// Whether what was confirmed is not what would be done now.
    pub fn is_changed_plan(&self) -> bool {
        self.code == "plan_changed"
    }

    /// Something that what there is does not permit.
    pub fn conflict(code: &'static str, message: impl Into<String>) -> Self {
        Self::of(StatusCode::CONFLICT, code, message)
    }

    /// A request that is being carried out already.
    pub fn under_way() -> Self {
        Self {
            retry_after: Some(1),
            ..Self::conflict(
                "in_progress",
                "the same request is being carried out just now; ask again with the same Idempotency-Key",
            )
        }
    }

    /// A key under which something else was asked for.
    pub fn other_request(message: impl Into<String>) -> Self {
        Self::of(
            StatusCode::UNPROCESSABLE_ENTITY,
            "idempotency_key_reused",
            message,
        )
    }

    /// More requests than somebody may send.
    pub fn too_many(retry_after: u16) -> Self {
        Self {
            retry_after: Some(retry_after),
            ..Self::of(
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_requests",
                "these are more requests than one caller may send (access.requests_per_second); the header Retry-After \
                 says when another one is worth a try",
            )
        }
    }

    /// A record that has changed since somebody read it.
    pub(super) fn stale((id, name): (&str, &str), expected: Version, found: Version) -> Self {
        let message =
            format!("{name} has changed since you read it (version {expected}, now {found}); read it again");
        Self::of(StatusCode::PRECONDITION_FAILED, "changed", message).since(id, expected, found)
    }

    fn since(self, id: &str, expected: Version, found: Version) -> Self {
        let id = id.to_owned();
        Self {
            stale: Some(Stale { id, expected, found }),
            ..self
        }
    }

    /// A body or a parameter that cannot be used.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::of(StatusCode::BAD_REQUEST, "bad_request", message)
    }
}

/// What is shown before it is done, and the token that confirms it.
pub trait Plan: Serialize {
    /// The token.
    fn token(&self) -> &str;
}

macro_rules! plans {
    ($($plan:ty)*) => {
        $(impl Plan for $plan {
            fn token(&self) -> &str {
                &self.token
            }
        })*
    };
}

plans!(DeletionPlan ApplicationDeletion SubscriptionPlan RepairPlan job::Plan);

/// The form of an error's body.
const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");

/// An error's body (RFC 9457, section 3.1).
#[derive(Serialize, JsonSchema)]
pub(super) struct Problem<'a> {
    /// Which kind of problem it is: an URN that ends with the code.
    r#type: String,
    /// The same in two or three words.
    title: String,
    /// The HTTP status.
    status: u16,
    /// What is wrong, and what to do.
    detail: &'a str,
    /// A short name for scripts, which stays.
    code: &'a str,
    /// The id of the request, under which the log tells of it too.
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<String>,
    /// What would be done, with the token that confirms it.
    #[serde(skip_serializing_if = "Option::is_none")]
    plan: Option<&'a Value>,
    /// The version that was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<Version>,
    /// The version that there is.
    #[serde(skip_serializing_if = "Option::is_none")]
    found: Option<Version>,
    /// What has changed since it was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    changes: Option<Vec<Since>>,
}

impl<'a> Problem<'a> {
    fn of(error: &'a ApiError) -> Self {
        let mut title = error.code.replace('_', " ");
        if let Some(first) = title.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        Self {
            r#type: format!("urn:rollcall:problem:{}", error.code),
            title,
            status: error.status.as_u16(),
            detail: &error.message,
            code: error.code,
            // These are known later: see `add_to_problem`.
            instance: None,
            changes: None,
            plan: error.plan.as_deref(),
            expected: error.stale.as_ref().map(|stale| stale.expected),
            found: error.stale.as_ref().map(|stale| stale.found),
        }
    }
}

impl ApiError {
    /// Its body, where it is told within an answer.
    pub(super) fn problem(&self) -> Value {
        json!(Problem::of(self))
    }
}

/// The body, kept beside the response until everything that it tells is known.
#[derive(Clone)]
struct Told(Arc<Value>);

/// Says something more in an error's body.
pub(super) fn add_to_problem(response: &mut Response, name: &str, value: Value) {
    if let Some(Told(body)) = response.extensions_mut().remove() {
        let mut body = Arc::unwrap_or_clone(body);
        body[name] = value;
        *response.body_mut() = body.to_string().into();
        response.extensions_mut().insert(Told(Arc::new(body)));
    }
}

/// Says in an error's body of which request it tells: under this id the log tells of it too.
pub(super) fn name_request(response: &mut Response, id: &str) {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    // A caller's own id may hold what no URN can.
    if let Some(Told(body)) = response.extensions_mut().remove()
        && id.bytes().all(is_plain)
    {
        let mut body = Arc::unwrap_or_clone(body);
        body["instance"] = format!("urn:rollcall:request:{id}").into();
        *response.body_mut() = body.to_string().into();
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = self.status;
        let body = self.problem();
        let mut response = (status, [(header::CONTENT_TYPE, PROBLEM)], body.to_string()).into_response();
        response.extensions_mut().insert(Told(Arc::new(body)));
        if let Some(stale) = self.stale {
            response.extensions_mut().insert(stale);
        }
        if status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer realm=\"rollcall\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
        }
        if let Some(seconds) = self.retry_after {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// In how many seconds a request is worth another try that the database was too busy for, or away.
const BUSY: u16 = 5;

/// The same if somebody has to see to the database first.
const OUT_OF_ORDER: u16 = 60;

impl From<DbError> for ApiError {
    fn from(error: DbError) -> Self {
        let class = error.class();
        let (status, retry_after, message) = match class {
            ErrorClass::Refused => {
                tracing::info!(%error, "the database refused what a request wants to store");
                let message = format!("this cannot be stored: {error}");
                (StatusCode::UNPROCESSABLE_ENTITY, None, message)
            }
            ErrorClass::Transient => {
                tracing::warn!(%error, "a request found the database busy or away");
                let message =
                    "the database is busy or away; it may be done all the same: look, then try again";
                (StatusCode::SERVICE_UNAVAILABLE, Some(BUSY), message.to_owned())
            }
            ErrorClass::Full => {
                tracing::error!(%error, "a request found no room in the database");
                let message =
                    "the database's disk is full, nothing was changed; make room there, then try again";
                (StatusCode::INSUFFICIENT_STORAGE, None, message.to_owned())
            }
            ErrorClass::Damaged => {
                tracing::error!(%error, "a request met damage of the database");
                let message = "the files of the database are damaged, or gone; rollcall doctor says more";
                (
                    StatusCode::SERVICE_UNAVAILABLE,
                    Some(OUT_OF_ORDER),
                    message.to_owned(),
                )
            }
            ErrorClass::Bug => {
                tracing::error!(%error, "a request failed at the database");
                let message = "the hub made a mistake; its log tells of it under the id that the header X-Request-Id bears";
                (StatusCode::INTERNAL_SERVER_ERROR, None, message.to_owned())
            }
        };
        Self {
            retry_after,
            ..Self::of(status, class.code(), message)
        }
    }
}

impl From<DirectoryError> for ApiError {
    fn from(error: DirectoryError) -> Self {
        let status = match &error {
            DirectoryError::Database(inner) => return inner.clone().into(),
            DirectoryError::NotFound { .. } => StatusCode::NOT_FOUND,
            DirectoryError::InvalidField { .. } => StatusCode::BAD_REQUEST,
            DirectoryError::OutsideScope { .. } => StatusCode::FORBIDDEN,
            DirectoryError::Changed { .. } => StatusCode::PRECONDITION_FAILED,
            DirectoryError::Taken { .. }
            | DirectoryError::Cycle { .. }
            | DirectoryError::Root
            | DirectoryError::UnitNotEmpty { .. }
            | DirectoryError::PlanChanged
            | DirectoryError::Ambiguous { .. } => StatusCode::CONFLICT,
        };
        let refused = Self::of(status, error.code(), error.to_string());
        match &error {
            DirectoryError::Changed {
                id, expected, found, ..
            } => refused.since(id, *expected, *found),
            _ => refused,
        }
    }
}

impl From<ApplicationError> for ApiError {
    fn from(error: ApplicationError) -> Self {
        let status = match &error {
            ApplicationError::Database(inner) => return inner.clone().into(),
            ApplicationError::NotFound(_) | ApplicationError::NoSecret { .. } => StatusCode::NOT_FOUND,
            ApplicationError::Changed { .. } => StatusCode::PRECONDITION_FAILED,
            ApplicationError::OutsideScope(_) => StatusCode::FORBIDDEN,
            ApplicationError::Ambiguous(_)
            | ApplicationError::PlanChanged
            | ApplicationError::NoJob(_)
            | ApplicationError::Rotation(_)
            | ApplicationError::TooManySecrets(_)
            | ApplicationError::NameTaken(_) => StatusCode::CONFLICT,
            ApplicationError::Name(_)
            | ApplicationError::UnknownInScope(_)
            | ApplicationError::Settings(_) => StatusCode::BAD_REQUEST,
        };
        let refused = Self::of(status, error.code(), error.to_string());
        match &error {
            ApplicationError::Changed {
                id, expected, found, ..
            } => refused.since(id, *expected, *found),
            _ => refused,
        }
    }
}

impl From<WhyError> for ApiError {
    fn from(error: WhyError) -> Self {
        let status = match error {
            WhyError::Application(error) => return error.into(),
            WhyError::Database(error) => return error.into(),
            WhyError::Directory(error) => return error.into(),
            WhyError::UnknownUser(_) => StatusCode::NOT_FOUND,
            WhyError::SeveralUsers { .. } => StatusCode::CONFLICT,
        };
        Self::of(status, error.code(), error.to_string())
    }
}

impl From<JobError> for ApiError {
    fn from(error: JobError) -> Self {
        match error {
            JobError::Application(error) => error.into(),
            JobError::Database(error) => error.into(),
            other => Self::of(StatusCode::CONFLICT, other.code(), other.to_string()),
        }
    }
}

impl From<ComparisonError> for ApiError {
    fn from(error: ComparisonError) -> Self {
        let status = match error {
            ComparisonError::Job(error) => return error.into(),
            ComparisonError::Database(error) => return error.into(),
            ComparisonError::NoSuchDifference(_) => StatusCode::NOT_FOUND,
            ComparisonError::Unconfirmed => StatusCode::PRECONDITION_REQUIRED,
            ComparisonError::NotScim(_)
            | ComparisonError::Running(_)
            | ComparisonError::NothingToCancel
            | ComparisonError::NotCompared
            | ComparisonError::Outdated(_)
            | ComparisonError::NothingSelected => StatusCode::CONFLICT,
        };
        Self::of(status, error.code(), error.to_string())
    }
}

impl From<OperateError> for ApiError {
    fn from(error: OperateError) -> Self {
        let status = match error {
            OperateError::Application(error) => return error.into(),
            OperateError::Database(error) => return error.into(),
            OperateError::NoSuchEvent(_) => StatusCode::NOT_FOUND,
            OperateError::NothingToSkip | OperateError::NotInScope(_) | OperateError::NotSubscribed(_) => {
                StatusCode::CONFLICT
            }
        };
        Self::of(status, error.code(), error.to_string())
    }
}

impl From<ImportError> for ApiError {
    fn from(error: ImportError) -> Self {
        match error {
            ImportError::Database(error) => error.into(),
            // The file is ours by then: what cannot be read of it is what was sent.
            ImportError::File(error) if error.kind() != ErrorKind::InvalidData => {
                Self::internal(error.to_string())
            }
            ImportError::Csv(error) if error.is_io_error() => Self::internal(error.to_string()),
            error => Self::bad_request(error.to_string()),
        }
    }
}

impl From<ExportError> for ApiError {
    fn from(error: ExportError) -> Self {
        match error {
            ExportError::Database(error) => error.into(),
            ExportError::Base(base) => {
                let message = format!("the query: base: {base} must begin with dc, o, ou, l, st or c");
                Self::bad_request(message)
            }
            error => Self::internal(error.to_string()),
        }
    }
}

impl From<AccountError> for ApiError {
    fn from(error: AccountError) -> Self {
        let status = match error {
            AccountError::Database(error) => return error.into(),
            AccountError::Application(error) => return error.into(),
            AccountError::NotFound { .. } => StatusCode::NOT_FOUND,
            AccountError::InvalidField { .. } => StatusCode::BAD_REQUEST,
            AccountError::Changed { .. } => StatusCode::PRECONDITION_FAILED,
            AccountError::SignIn => StatusCode::UNAUTHORIZED,
            AccountError::NotYours => StatusCode::FORBIDDEN,
            AccountError::Ambiguous { .. }
            | AccountError::NameTaken(_)
            | AccountError::LastAdministrator(_)
            | AccountError::SignsInElsewhere(_) => StatusCode::CONFLICT,
        };
        let refused = Self::of(status, error.code(), error.to_string());
        match &error {
            AccountError::Changed {
                id, expected, found, ..
            } => refused.since(id, *expected, *found),
            _ => refused,
        }
    }
}

impl From<ConnectionError> for ApiError {
    fn from(error: ConnectionError) -> Self {
        let status = match error {
            ConnectionError::Database(error) => return error.into(),
            ConnectionError::NotFound(_) | ConnectionError::NoToken { .. } => StatusCode::NOT_FOUND,
            ConnectionError::InvalidField { .. } => StatusCode::BAD_REQUEST,
            ConnectionError::Changed { .. } => StatusCode::PRECONDITION_FAILED,
            ConnectionError::OutOfReach => StatusCode::FORBIDDEN,
            ConnectionError::NameTaken(_) | ConnectionError::TooManyTokens(_) => StatusCode::CONFLICT,
        };
        let refused = Self::of(status, error.code(), error.to_string());
        match &error {
            ConnectionError::Changed {
                id, expected, found, ..
            } => refused.since(id, *expected, *found),
            _ => refused,
        }
    }
}

impl From<SignInError> for ApiError {
    fn from(error: SignInError) -> Self {
        let message = error.to_string();
        match error {
            SignInError::Account(error) => error.into(),
            SignInError::TooEarly(TooEarly(wait)) => Self {
                retry_after: u16::try_from(wait.as_secs() + 1).ok(),
                ..Self::of(StatusCode::TOO_MANY_REQUESTS, "too_many_sign_ins", message)
            },
            SignInError::PasswordsOff => Self::of(StatusCode::FORBIDDEN, "password_sign_in_off", message),
            SignInError::Busy => Self {
                retry_after: Some(BUSY),
                ..Self::of(StatusCode::SERVICE_UNAVAILABLE, "busy", message)
            },
        }
    }
}

impl From<Denied> for ApiError {
    fn from(denied: Denied) -> Self {
        let code = match denied {
            Denied::ChangePassword => "change_password",
            Denied::NoAccount | Denied::Role(..) => "forbidden",
        };
        Self::of(StatusCode::FORBIDDEN, code, denied.to_string())
    }
}
