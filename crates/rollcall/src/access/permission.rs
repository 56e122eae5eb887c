//! What can be permitted, and to which roles it is.
//!
//! Every route of the API is declared with the one permission that it asks for, so a route without one does not
//! compile. `docs/access.md` has the table of all routes and roles, which a test holds against the router.

use serde::Serialize;
use strum::{IntoStaticStr, VariantArray};

use super::Role;

/// What a request may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, IntoStaticStr, VariantArray)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Permission {
    /// Nothing: whoever comes may do it.
    Anybody,
    /// To see who one is.
    OwnIdentity,
    /// One's own session: to sign out, and to change one's own password. Also with a one-time password.
    OwnSignIn,
    /// All of one's own sessions.
    OwnAccount,
    /// Units, users and groups.
    ReadDirectory,
    /// To change them.
    WriteDirectory,
    /// To write the whole directory into a file.
    ExportDirectory,
    /// Whether the hub and its nodes are well.
    ReadHealth,
    /// Applications, and where their keys stand.
    ReadApplications,
    /// What was sent to applications, and what became of it.
    ReadDeliveries,
    /// To test an application, and to synchronize, resend and skip.
    OperateApplications,
    /// To change an application's settings and keys.
    ConfigureApplications,
    /// The change log, which holds the whole directory.
    ReadChanges,
    /// Who did what.
    ReadAudit,
    /// Which accounts and tokens there are.
    ReadAccess,
    /// To change them.
    ManageAccess,
}

impl Permission {
    /// What it is called in the API.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

impl Role {
    /// Whether this role has a permission. What an application owner has reaches no further than the applications
    /// and their scopes.
    pub fn may(&self, permission: Permission) -> bool {
        let is_owner = matches!(self, Self::ApplicationOwner(_));
        match permission {
            Permission::Anybody
            | Permission::OwnIdentity
            | Permission::OwnSignIn
            | Permission::OwnAccount
            | Permission::ReadDirectory
            | Permission::ReadApplications
            | Permission::ReadDeliveries => true,
            Permission::OperateApplications => !matches!(self, Self::Auditor),
            Permission::ReadChanges | Permission::ExportDirectory | Permission::ReadHealth => !is_owner,
            Permission::ReadAudit | Permission::ReadAccess => {
                matches!(self, Self::Administrator | Self::Auditor)
            }
            Permission::WriteDirectory | Permission::ConfigureApplications | Permission::ManageAccess => {
                matches!(self, Self::Administrator)
            }
        }
    }
}
