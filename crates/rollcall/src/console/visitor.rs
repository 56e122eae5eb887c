//! Who looks at the console, and what they may do there: somebody who has signed in (`crate::signin`).

use std::sync::Arc;

use axum::http::request::Parts;
use rollcall_db::DbError;

use crate::access::{Caller, Permission, Role, RoleName};
use crate::accounts::Account;
use crate::api::browser;
use crate::signin::{Access, Denied, SignIn};

/// Somebody who has signed in.
#[derive(Clone, Debug)]
pub(super) struct Visitor {
    access: Arc<Access>,
    caller: Caller,
}

impl Visitor {
    /// Whoever a request's cookie belongs to; `None` if they have to sign in first. Tokens are for programs.
    pub(super) async fn of(sign_in: &SignIn, parts: &Parts) -> Result<Option<Self>, DbError> {
        let Some(shown) = browser::session_token(parts) else {
            return Ok(None);
        };
        let access = sign_in.session(shown).await?;
        Ok(access.map(|access| Self {
            caller: access.caller(browser::origin(parts)),
            access: Arc::new(access),
        }))
    }

    /// What the doors are told.
    pub(super) fn caller(&self) -> Caller {
        self.caller.clone()
    }

    /// What stands behind the session.
    pub(super) fn access(&self) -> &Access {
        &self.access
    }

    /// The account.
    pub(super) fn account(&self) -> Option<&Account> {
        self.access.session().map(|(account, _)| account)
    }

    /// Whether they sign in with a password, which they may change.
    pub(super) fn has_password(&self) -> bool {
        self.account().is_some_and(|account| account.password_set)
    }

    /// The account's name.
    pub(super) fn name(&self) -> &str {
        self.account().map_or("", |account| &account.name)
    }

    /// What every form of theirs brings along.
    pub(super) fn csrf(&self) -> &str {
        self.access.csrf_token().unwrap_or_default()
    }

    fn role(&self) -> &Role {
        &self.access.role
    }

    /// The key of the text that names the role.
    pub(super) fn role_key(&self) -> &'static str {
        role_key(self.role().name())
    }

    /// Whether the one-time password has to be changed before anything else.
    pub(super) fn has_to_change_password(&self) -> bool {
        matches!(
            self.access.allows(Permission::OwnAccount),
            Err(Denied::ChangePassword)
        )
    }

    /// Whether they may do something.
    pub(super) fn may(&self, permission: Permission) -> bool {
        self.access.allows(permission).is_ok()
    }

    /// Whether an application exists for them.
    pub(super) fn reaches(&self, application_id: &str) -> bool {
        self.role().reaches(application_id)
    }
}

/// The key of the text that names a role.
pub(super) fn role_key(name: RoleName) -> &'static str {
    match name {
        RoleName::Administrator => "role-administrator",
        RoleName::Operator => "role-operator",
        RoleName::Auditor => "role-auditor",
        RoleName::ApplicationOwner => "role-application-owner",
    }
}
