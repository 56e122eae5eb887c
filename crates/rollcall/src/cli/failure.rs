//! Why a command did not do its work: a sentence and a hint for people, a code for scripts, and the exit code.
//!
//! The codes are those of the administrator's API where both refuse the same; `docs/OPERATIONS.md` lists them.

use std::borrow::Cow;
use std::error::Error;
use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

use clap::error::ErrorKind;
use rollcall_db::DbError;
use rollcall_protocol::SubjectKind;
use rollcall_server::tls::TlsError;
use serde::Serialize;

use super::backend::Refused;
use crate::accounts::AccountError;
use crate::application::ApplicationError;
use crate::connection::ConnectionError;
use crate::delivery::comparison::ComparisonError;
use crate::delivery::job::JobError;
use crate::delivery::ledger::operate::OperateError;
use crate::directory::DirectoryError;
use crate::import::ImportError;
use crate::owner::OwnerError;
use crate::private::PrivateError;
use crate::why::WhyError;

/// The exit code for what cannot work as it was asked for.
const WRONG_USE: u8 = 2;

/// A refusal that the command line itself decides on.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(super) struct Refusal {
    code: &'static str,
    message: String,
    hint: Option<String>,
}

impl Refusal {
    /// What was typed cannot be carried out on any hub.
    pub(super) fn wrong_use(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::of("wrong_use", message, hint)
    }

    /// What cannot be undone waits for `--confirm`.
    pub(super) fn unconfirmed(message: impl Into<String>) -> Self {
        Self::of("unconfirmed", message, "to do it, repeat with --confirm")
    }

    /// Something else, under a code of its own.
    pub(super) fn of(code: &'static str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            hint: Some(hint.into()),
        }
    }
}

/// What is told when a command fails.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Failure {
    pub(super) code: Cow<'static, str>,
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

impl Failure {
    pub(super) fn of(error: &anyhow::Error) -> Self {
        let code = error.chain().find_map(code_of).unwrap_or("failed".into());
        let by_code = match code.as_ref() {
            "secret_needed" => Some("--secret-file FILE enters the token, or the client's secret".to_owned()),
            _ => None,
        };
        Self {
            message: format!("{error:#}"),
            hint: error.chain().find_map(hint_of).or(by_code),
            code,
        }
    }

    /// A command line that cannot be read.
    fn of_clap(error: &clap::Error) -> Self {
        let text = error.render().to_string();
        if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
            return Self {
                code: "wrong_use".into(),
                message: "a command is missing".to_owned(),
                hint: Some("--help lists the commands".to_owned()),
            };
        }
        let mut parts = text
            .split("\n\n")
            .map(|part| part.split_whitespace().collect::<Vec<_>>().join(" "));
        let message = parts.next().unwrap_or_default();
        Self {
            code: "wrong_use".into(),
            message: message.trim_start_matches("error: ").to_owned(),
            hint: parts
                .next()
                .map(|hint| hint.trim_start_matches("tip: ").to_owned()),
        }
    }

    /// Tells of it on the standard error. Returns the exit code.
    pub(super) fn tell(&self, json: bool) -> ExitCode {
        #[derive(Serialize)]
        struct Told<'a> {
            error: &'a Failure,
        }
        let text = match (json, &self.hint) {
            (true, _) => serde_json::to_string(&Told { error: self }).unwrap_or_default(),
            (false, None) => format!("error: {}", self.message),
            (false, Some(hint)) => format!("error: {}\n  hint: {hint}", self.message),
        };
        let _ = writeln!(std::io::stderr(), "{text}");
        match self.code.as_ref() {
            "wrong_use" | "unconfirmed" | "invalid_field" | "secret_needed" | "bad_request"
            | "database_only" => ExitCode::from(WRONG_USE),
            _ => ExitCode::FAILURE,
        }
    }
}

/// Tells why a command line cannot be read, or shows the help or the version that it asks for.
pub(super) fn of_command_line(error: &clap::Error, arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let mut arguments = arguments.take_while(|argument| argument != "--");
    if error.use_stderr() && arguments.any(|argument| argument == "--json") {
        return Failure::of_clap(error).tell(true);
    }
    // Nobody is left to be told if this cannot be printed.
    let _ = error.print();
    u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from)
}

/// What to do about one error of a chain, where its sentence does not say it.
fn hint_of(cause: &(dyn Error + 'static)) -> Option<String> {
    if let Some(refusal) = cause.downcast_ref::<Refusal>() {
        return refusal.hint.clone();
    }
    if let Some(refused) = cause.downcast_ref::<Refused>() {
        return refused.hint.clone();
    }
    if let Some(AccountError::NotFound { what, .. }) = cause.downcast_ref() {
        return Some(format!("rollcall {what} list shows those there are"));
    }
    if let Some(ConnectionError::NotFound(_)) = cause.downcast_ref() {
        return Some("rollcall connection list shows those there are".to_owned());
    }
    let Some(DirectoryError::NotFound { kind, .. }) = cause.downcast_ref() else {
        return None;
    };
    let what = match kind {
        SubjectKind::User => "user",
        SubjectKind::Unit => "unit",
        SubjectKind::Group => "group",
    };
    Some(format!(
        "rollcall {what} list --search TEXT finds what is there by a part of its name"
    ))
}

/// The code of one error of a chain, if it has one.
fn code_of(cause: &(dyn Error + 'static)) -> Option<Cow<'static, str>> {
    match cause.downcast_ref::<Refused>() {
        Some(refused) => Some(refused.code.clone()),
        None => own_code_of(cause).map(Cow::from),
    }
}

fn own_code_of(cause: &(dyn Error + 'static)) -> Option<&'static str> {
    None.or_else(|| cause.downcast_ref().map(|refusal: &Refusal| refusal.code))
        .or_else(|| cause.downcast_ref().map(DirectoryError::code))
        .or_else(|| cause.downcast_ref().map(ApplicationError::code))
        .or_else(|| cause.downcast_ref().map(AccountError::code))
        .or_else(|| cause.downcast_ref().map(ConnectionError::code))
        .or_else(|| cause.downcast_ref().map(WhyError::code))
        .or_else(|| cause.downcast_ref().map(JobError::code))
        .or_else(|| cause.downcast_ref().map(OperateError::code))
        .or_else(|| cause.downcast_ref().map(ComparisonError::code))
        .or_else(|| cause.downcast_ref().map(|error: &DbError| error.class().code()))
        .or_else(|| cause.downcast_ref().map(code_of_import))
        .or_else(|| cause.is::<PrivateError>().then_some("files"))
        .or_else(|| cause.is::<TlsError>().then_some("files"))
        .or_else(|| cause.is::<OwnerError>().then_some("owned"))
}

fn code_of_import(error: &ImportError) -> &'static str {
    match error {
        ImportError::Database(error) => error.class().code(),
        error if error.is_wrong_use() => "wrong_use",
        _ => "failed",
    }
}
