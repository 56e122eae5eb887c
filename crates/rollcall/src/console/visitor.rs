//! Who looks at the console, and what they may do there.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;

use axum::http::request::Parts;

use crate::access::Caller;

/// What a page or a button asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// Units, users and groups.
    ReadDirectory,
    /// Applications, and where their keys stand.
    ReadApplications,
    /// What was sent to applications, and what became of it.
    ReadDeliveries,
    /// To test an application, and to synchronize, resend and skip.
    OperateApplications,
    /// Who did what.
    ReadAudit,
}

/// What somebody may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// Everything.
    Administrator,
    /// Sees directory and applications; tests, synchronizes, resends and skips.
    Operator,
    /// Sees everything and changes nothing.
    Auditor,
    /// The same as an operator for the applications with these ids, and nothing beyond them.
    ApplicationOwner(BTreeSet<String>),
}

impl Role {
    /// Whether this role has a permission.
    pub fn may(&self, permission: Permission) -> bool {
        let is_owner = matches!(self, Self::ApplicationOwner(_));
        match permission {
            Permission::ReadApplications | Permission::ReadDeliveries => true,
            Permission::OperateApplications => !matches!(self, Self::Auditor),
            Permission::ReadDirectory => !is_owner,
            Permission::ReadAudit => matches!(self, Self::Administrator | Self::Auditor),
        }
    }

    /// Whether an application exists for it.
    pub fn reaches(&self, application_id: &str) -> bool {
        match self {
            Self::ApplicationOwner(applications) => applications.contains(application_id),
            Self::Administrator | Self::Operator | Self::Auditor => true,
        }
    }

    /// The key of the text that names it.
    pub(super) fn key(&self) -> &'static str {
        match self {
            Self::Administrator => "role-administrator",
            Self::Operator => "role-operator",
            Self::Auditor => "role-auditor",
            Self::ApplicationOwner(_) => "role-application-owner",
        }
    }
}

/// Somebody who has signed in.
#[derive(Clone, Debug)]
pub struct Visitor {
    /// The account's name.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// What every form of theirs has to bring along.
    pub csrf: String,
    /// Who acts, for the doors.
    pub caller: Caller,
}

/// Tells who looks, by what a request brings along.
pub trait Gate: Send + Sync {
    /// Who it is; `None` if they have to sign in first.
    fn visitor<'a>(&'a self, parts: &'a Parts) -> Pin<Box<dyn Future<Output = Option<Visitor>> + Send + 'a>>;
}
