//! The one place where errors become HTTP statuses.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use rollcall_db::DbError;
use serde_json::json;

use crate::application::ApplicationError;
use crate::delivery::job::JobError;
use crate::directory::DirectoryError;
use crate::why::WhyError;

/// A refusal: a status, a short code and a sentence.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl ApiError {
    /// Something that does not exist.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            code: "not_found",
            message: message.into(),
        }
    }

    /// No token, or a wrong one.
    pub fn unauthorized() -> Self {
        Self {
            status: StatusCode::UNAUTHORIZED,
            code: "unauthorized",
            message: "send the header Authorization: Bearer TOKEN, with the token from admin.token in the \
                      hub's data folder"
                .to_owned(),
        }
    }

    /// Something that the caller cannot help.
    pub fn internal(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            code: "internal",
            message: message.into(),
        }
    }

    /// Not now.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            code: "unavailable",
            message: message.into(),
        }
    }

    /// A body or a parameter that cannot be used.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            code: "bad_request",
            message: message.into(),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (
            self.status,
            Json(json!({ "error": self.code, "errorDescription": self.message })),
        )
            .into_response()
    }
}

impl From<DbError> for ApiError {
    fn from(error: DbError) -> Self {
        tracing::error!(%error, "a request failed at the database");
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            code: "database",
            message: "the database does not do its part now; try again".to_owned(),
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
            | DirectoryError::UnitNotEmpty { .. } => StatusCode::CONFLICT,
        };
        Self {
            status,
            code: error.code(),
            message: error.to_string(),
        }
    }
}

impl From<ApplicationError> for ApiError {
    fn from(error: ApplicationError) -> Self {
        let (status, code) = match &error {
            ApplicationError::Database(inner) => return inner.clone().into(),
            ApplicationError::NotFound(_) => (StatusCode::NOT_FOUND, "not_found"),
            ApplicationError::Changed { .. } => (StatusCode::PRECONDITION_FAILED, "changed"),
            ApplicationError::OutsideScope(_) => (StatusCode::FORBIDDEN, "outside_scope"),
            ApplicationError::PlanChanged => (StatusCode::CONFLICT, "plan_changed"),
            ApplicationError::NoJob(_) => (StatusCode::CONFLICT, "no_job"),
            ApplicationError::NameTaken(_) => (StatusCode::CONFLICT, "name_taken"),
            ApplicationError::Name | ApplicationError::UnknownInScope(_) | ApplicationError::Settings(_) => {
                (StatusCode::BAD_REQUEST, "invalid_field")
            }
        };
        Self {
            status,
            code,
            message: error.to_string(),
        }
    }
}

impl From<WhyError> for ApiError {
    fn from(error: WhyError) -> Self {
        match error {
            WhyError::Application(error) => error.into(),
            WhyError::Database(error) => error.into(),
            WhyError::UnknownUser(_) => Self::not_found(error.to_string()),
        }
    }
}

impl From<JobError> for ApiError {
    fn from(error: JobError) -> Self {
        match error {
            JobError::Application(error) => error.into(),
            JobError::Database(error) => error.into(),
            other => Self {
                status: StatusCode::CONFLICT,
                code: "job",
                message: other.to_string(),
            },
        }
    }
}
