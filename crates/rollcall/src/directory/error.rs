//! Why a command is refused.

use rollcall_db::DbError;
use rollcall_protocol::SubjectKind;

use crate::access::Version;

/// Why a command is refused. Nothing is changed then.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// No such subject.
    #[error("there is no {} {id:?}", words(*.kind))]
    NotFound {
        /// Of which kind.
        kind: SubjectKind,
        /// The id, name or path that was asked for.
        id: String,
    },
    /// A field that breaks its limits (wire contract, section 8).
    #[error("{field}: {reason}")]
    InvalidField {
        /// The field, as it is named on the wire.
        field: &'static str,
        /// Which limit it breaks.
        reason: String,
    },
    /// Something that must be unique is taken.
    #[error("{what} {value:?} is taken by {holder}; choose another or change that one first")]
    Taken {
        /// `username`, `email`, `phone number`, `external id`, `name`.
        what: &'static str,
        /// What was asked for.
        value: String,
        /// Who has it.
        holder: String,
    },
    /// A unit would be moved below itself.
    #[error("organizational unit {unit} cannot be moved below itself ({target})")]
    Cycle {
        /// The unit.
        unit: String,
        /// The new parent.
        target: String,
    },
    /// The root unit stays where it is.
    #[error("the root organizational unit cannot be moved or deleted")]
    Root,
    /// A unit that is to be deleted is not empty.
    #[error(
        "organizational unit {unit} is not empty (units in it: {units}, users: {users}); move them away, or delete with --cascade (in the API: cascade=true)"
    )]
    UnitNotEmpty {
        /// The unit.
        unit: String,
        /// Units directly below.
        units: i64,
        /// Users that have it as a unit.
        users: i64,
    },
    /// What was confirmed is not what would be done now.
    #[error("the plan has changed since it was shown; look at it again and confirm the new one")]
    PlanChanged,
    /// What was written fits more than one.
    #[error("{text:?} means more than one {}; write one of these: {}", words(*.kind), .ways.join(", "))]
    Ambiguous {
        /// Of which kind.
        kind: SubjectKind,
        /// What was written.
        text: String,
        /// How to write each of them.
        ways: Vec<String>,
    },
    /// The caller's authority ends before it.
    #[error("{} {id:?} would be outside the scope that you may change", words(*.kind))]
    OutsideScope {
        /// Of which kind.
        kind: SubjectKind,
        /// Its id, or its name if it does not exist yet.
        id: String,
    },
    /// It is not what the caller has read.
    #[error("{} {id:?} has changed since you read it (version {expected}, now {found}); read it again", words(*.kind))]
    Changed {
        /// Of which kind.
        kind: SubjectKind,
        /// Its id.
        id: String,
        /// The version that the caller named.
        expected: Version,
        /// The version that there is.
        found: Version,
    },
    /// The database.
    #[error(transparent)]
    Database(DbError),
}

fn words(kind: SubjectKind) -> &'static str {
    match kind {
        SubjectKind::User => "user",
        SubjectKind::Unit => "organizational unit",
        SubjectKind::Group => "group",
    }
}

impl From<DbError> for DirectoryError {
    fn from(error: DbError) -> Self {
        // Conflicts are looked for before writing; one that another process wrote in between still
        // meets the unique index.
        match &error {
            DbError::Unique { constraint, .. } => {
                let columns = constraint.clone().unwrap_or_default();
                let what = if columns.contains("username") {
                    "username"
                } else if columns.contains("email") {
                    "email"
                } else if columns.contains("phone") {
                    "phone number"
                } else if columns.contains("external") {
                    "external id"
                } else {
                    "name"
                };
                Self::Taken {
                    what,
                    value: String::new(),
                    holder: "somebody else".to_owned(),
                }
            }
            _ => Self::Database(error),
        }
    }
}

impl DirectoryError {
    /// A short name for scripts.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "not_found",
            Self::InvalidField { .. } => "invalid_field",
            Self::Taken { what: "username", .. } => "username_taken",
            Self::Taken { what: "email", .. } => "email_taken",
            Self::Taken {
                what: "phone number", ..
            } => "phone_number_taken",
            Self::Taken {
                what: "external id", ..
            } => "external_id_taken",
            Self::Taken { .. } => "name_taken",
            Self::Cycle { .. } => "cycle",
            Self::Root => "root_unit",
            Self::UnitNotEmpty { .. } => "unit_not_empty",
            Self::PlanChanged => "plan_changed",
            Self::Ambiguous { .. } => "ambiguous",
            Self::OutsideScope { .. } => "outside_scope",
            Self::Changed { .. } => "changed",
            Self::Database(error) => error.class().code(),
        }
    }
}
