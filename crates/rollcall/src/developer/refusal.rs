//! Why a call is refused, in the form that the official clients read: a status, a stable code, a sentence.

use std::borrow::Cow;

use rollcall_db::{DbError, ErrorClass};
use rollcall_protocol::SubjectKind;

use crate::directory::DirectoryError;

/// Every code that a call is answered with: its status, and when it comes. `*` stands for the name of a field.
pub const CODES: [(u16, &str, &str); 26] = [
    (400, "InvalidBody", "The body is not JSON, or too large."),
    (400, "InvalidParameter.*", "A field breaks its limits."),
    (
        400,
        "MissingParameter.*",
        "A field that is needed is missing or empty.",
    ),
    (
        400,
        "UnsupportedParameter.*",
        "A field asks for what the hub does not do.",
    ),
    (
        400,
        "UnsupportedGrantType",
        "The token endpoint knows `client_credentials` alone.",
    ),
    (
        401,
        "InvalidAccessToken",
        "There is no access token, or it is not one of this application.",
    ),
    (
        401,
        "AccessTokenExpired",
        "The access token is older than 20 minutes: get another one.",
    ),
    (
        401,
        "AccessTokenRevoked",
        "The access token or its client secret was revoked.",
    ),
    (
        401,
        "InvalidClient",
        "The client id or the client secret is wrong, or the secret was revoked or has expired.",
    ),
    (
        403,
        "DeveloperApiDisabled",
        "An administrator has turned the developer API off for this application.",
    ),
    (
        403,
        "Forbidden.Permission",
        "The application may not do this; an administrator grants it.",
    ),
    (
        403,
        "OperationDenied.OutsideScope",
        "The write would leave the application's synchronization scope.",
    ),
    (
        403,
        "OperationDenied.OrganizationalUnitNotEmpty",
        "There are units or users in the organizational unit.",
    ),
    (
        403,
        "OperationDenied.PrimaryOrganizationalUnit",
        "A user cannot leave the primary unit; name another one as primary first.",
    ),
    (
        403,
        "OperationDenied.RootOrganizationalUnit",
        "The root organizational unit cannot be moved or deleted.",
    ),
    (
        403,
        "OperationDenied.ParentId",
        "A unit cannot be moved below itself.",
    ),
    (
        403,
        "ResourceAmbiguous.User",
        "More than one user has this phone number, in different countries.",
    ),
    (
        403,
        "ResourceDuplicated.*",
        "A name, address, number or external id is taken.",
    ),
    (
        404,
        "ResourceNotFound.Instance",
        "The path names another instance.",
    ),
    (404, "ResourceNotFound.Path", "There is no such call."),
    (
        404,
        "ResourceNotFound.User",
        "There is no such user in the application's scope.",
    ),
    (
        404,
        "ResourceNotFound.OrganizationalUnit",
        "There is no such organizational unit in the application's scope.",
    ),
    (
        404,
        "ResourceNotFound.Group",
        "There is no such group in the application's scope.",
    ),
    (
        429,
        "Throttling",
        "These are more requests than an application may send; `Retry-After` says when another one is worth a try.",
    ),
    (
        500,
        "InternalError",
        "The hub has failed; its log tells of the request by its id.",
    ),
    (503, "ServiceUnavailable", "The hub cannot do it now; try again."),
];

/// Why a call is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Refusal {
    /// The status.
    pub status: u16,
    /// One of [`CODES`].
    pub code: Cow<'static, str>,
    /// What is wrong, and what to do.
    pub message: String,
    /// In how many seconds it is worth another try.
    pub retry_after: Option<u16>,
}

impl Refusal {
    fn of(status: u16, code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self {
            status,
            code: code.into(),
            message: message.into(),
            retry_after: None,
        }
    }

    /// A body that cannot be read.
    pub fn body(message: impl Into<String>) -> Self {
        Self::of(400, "InvalidBody", message)
    }

    /// A field that breaks its limits.
    pub fn invalid(field: &str, message: impl Into<String>) -> Self {
        Self::of(400, format!("InvalidParameter.{}", upper(field)), message)
    }

    /// A field that is needed.
    pub fn missing(field: &str) -> Self {
        Self::of(
            400,
            format!("MissingParameter.{}", upper(field)),
            format!("{field} is needed"),
        )
    }

    /// A field that asks for what the hub does not do.
    pub fn unsupported(field: &str, message: impl Into<String>) -> Self {
        Self::of(400, format!("UnsupportedParameter.{}", upper(field)), message)
    }

    /// Another way to a token than there is.
    pub fn grant_type() -> Self {
        Self::of(
            400,
            "UnsupportedGrantType",
            "grant_type must be client_credentials",
        )
    }

    /// No token, or none of this application.
    pub fn no_token() -> Self {
        let message = "send the header Authorization: Bearer TOKEN, with an access token of this application that \
                       POST …/oauth2/token has given";
        Self::of(401, "InvalidAccessToken", message)
    }

    /// A token whose time is over.
    pub fn expired_token() -> Self {
        Self::of(
            401,
            "AccessTokenExpired",
            "the access token has expired: get another one",
        )
    }

    /// A token that is good for nothing any more.
    pub fn revoked_token() -> Self {
        let message = "the access token was revoked, or the client secret for which it was given";
        Self::of(401, "AccessTokenRevoked", message)
    }

    /// Somebody who does not prove to be the application.
    pub fn client() -> Self {
        let message =
            "client_id must be the application's id, and client_secret one of its secrets that is good";
        Self::of(401, "InvalidClient", message)
    }

    /// The API is turned off.
    pub fn disabled() -> Self {
        let message = "the developer API is turned off for this application; an administrator turns it on";
        Self::of(403, "DeveloperApiDisabled", message)
    }

    /// Something that is not granted.
    pub fn not_granted(what: &str) -> Self {
        let message = format!("this application may not {what}; an administrator grants it");
        Self::of(403, "Forbidden.Permission", message)
    }

    /// A user who would have no primary unit.
    pub fn primary_unit() -> Self {
        let message =
            "a user cannot leave the primary organizational unit; name another one as primary first";
        Self::of(403, "OperationDenied.PrimaryOrganizationalUnit", message)
    }

    /// A number that more than one user has.
    pub fn ambiguous_phone() -> Self {
        let message = "more than one user has this phone number, in different countries";
        Self::of(403, "ResourceAmbiguous.User", message)
    }

    /// Another instance than this one.
    pub fn instance() -> Self {
        Self::of(404, "ResourceNotFound.Instance", "there is no such instance")
    }

    /// No such call.
    pub fn path() -> Self {
        Self::of(404, "ResourceNotFound.Path", "there is no such call")
    }

    /// A subject that there is not, or not for the application.
    pub fn not_found(kind: SubjectKind, id: &str) -> Self {
        let (code, words) = match kind {
            SubjectKind::User => ("ResourceNotFound.User", "user"),
            SubjectKind::Unit => ("ResourceNotFound.OrganizationalUnit", "organizational unit"),
            SubjectKind::Group => ("ResourceNotFound.Group", "group"),
        };
        Self::of(404, code, format!("there is no {words} {id:?}"))
    }

    /// No access key that is good.
    pub fn access_key() -> Self {
        Self::of(
            404,
            "InvalidAccessKeyId.NotFound",
            "there is no such access key, or it has expired",
        )
    }

    /// Another refusal of the management API.
    pub(crate) fn other(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self::of(status, code, message)
    }

    /// More requests than an application may send.
    pub fn throttled(retry_after: u16) -> Self {
        let message = "these are more requests than an application may send; Retry-After says when another one is worth \
                       a try";
        Self {
            retry_after: Some(retry_after),
            ..Self::of(429, "Throttling", message)
        }
    }

    /// Something that the caller cannot help.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::of(500, "InternalError", message)
    }
}

/// A field's name as codes have it.
fn upper(field: &str) -> String {
    let mut chars = field.chars();
    let first = chars.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(chars).collect()
}

impl From<DbError> for Refusal {
    fn from(error: DbError) -> Self {
        match error.class() {
            ErrorClass::Transient => Self {
                retry_after: Some(1),
                ..Self::of(
                    503,
                    "ServiceUnavailable",
                    "the database cannot be reached or is busy; try again",
                )
            },
            _ => {
                tracing::error!(%error, "a call of the developer API has failed");
                Self::internal("the hub has failed; its log says why")
            }
        }
    }
}

impl From<DirectoryError> for Refusal {
    fn from(error: DirectoryError) -> Self {
        let message = error.to_string();
        match error {
            DirectoryError::NotFound { kind, id } => Self::not_found(kind, &id),
            DirectoryError::InvalidField { field, reason } => {
                Self::invalid(field, format!("{field}: {reason}"))
            }
            DirectoryError::Taken { what, .. } => {
                let name = match what {
                    "username" => "Username",
                    "email" => "Email",
                    "phone number" => "PhoneNumber",
                    "external id" => "ExternalId",
                    _ => "Name",
                };
                Self::of(403, format!("ResourceDuplicated.{name}"), message)
            }
            DirectoryError::Cycle { .. } => Self::of(403, "OperationDenied.ParentId", message),
            DirectoryError::Root => Self::of(403, "OperationDenied.RootOrganizationalUnit", message),
            DirectoryError::UnitNotEmpty { unit, units, users } => Self::of(
                403,
                "OperationDenied.OrganizationalUnitNotEmpty",
                format!(
                    "organizational unit {unit} is not empty (units in it: {units}, users: {users}); move them away first"
                ),
            ),
            DirectoryError::OutsideScope { .. } => Self::of(403, "OperationDenied.OutsideScope", message),
            DirectoryError::Database(error) => error.into(),
            DirectoryError::Ambiguous { .. }
            | DirectoryError::PlanChanged
            | DirectoryError::Changed { .. } => Self::internal(message),
        }
    }
}
