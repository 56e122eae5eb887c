//! The developer API: what an application may do by itself, within its synchronization scope (wire contract, section 8).
//!
//! An application shows its id and a client secret ([`crate::application::developer::secrets`]), gets an access token
//! ([`token`]) and calls with that. A call is one transaction. It looks first whether the token still is good and what
//! the application may do ([`Desk::read`], [`Desk::write`]), so that what an administrator takes away is gone with the
//! next call, also from a write that was under way. Where the database can say at once that nothing was committed, a
//! call that shows a single subject is what such a transaction has found before (`showing`, `kept`). Then the scope
//! decides: it is the authority with which a write comes to the directory's door, and what a read sees ([`Sight`]). What
//! is outside answers as if it did not exist.
//!
//! Names, forms and statuses are those that the official clients of the product expect. HTTP is in `api::developer`.
//!
//! The management API calls the same ([`crate::management`]): whoever signs with an access key is let in by the key's role.

mod desk;
mod echo;
pub mod groups;
mod kept;
mod page;
pub mod passwords;
mod refusal;
mod showing;
mod text;
pub mod token;
pub mod units;
pub mod users;

use std::sync::{Arc, OnceLock};

use rollcall_db::{DbError, Tx};

use crate::access::{Authority, Permission, Principal};
use crate::accounts::tokens::AccessKey;
use crate::application::developer::secrets;
use crate::application::{DeveloperApi, Grant, Scope};
use crate::clock::Millis;
use crate::directory::Sight;
pub use desk::{Desk, Hall};
use kept::Reach;
pub use page::{Page, Paged};
pub use refusal::{CODES, Refusal};
pub use showing::{Known, Showing};
pub use text::Given;
use token::{Claims, Token};

/// What a call asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// That the application may call the API at all.
    Nothing,
    /// To look at users, or to change them.
    Users(Grant),
    /// The same of organizational units.
    OrganizationalUnits(Grant),
    /// The same of groups.
    Groups(Grant),
    /// To set passwords.
    Passwords,
}

impl Need {
    fn is_granted(self, granted: DeveloperApi) -> bool {
        match self {
            Self::Nothing => true,
            Self::Users(grant) => granted.users >= grant,
            Self::OrganizationalUnits(grant) => granted.organizational_units >= grant,
            Self::Groups(grant) => granted.groups >= grant,
            Self::Passwords => granted.passwords,
        }
    }

    /// For people: what it is that is not granted.
    fn words(self) -> &'static str {
        match self {
            Self::Nothing => "call the developer API",
            Self::Users(Grant::Write) => "change users",
            Self::Users(_) => "read users",
            Self::OrganizationalUnits(Grant::Write) => "change organizational units",
            Self::OrganizationalUnits(_) => "read organizational units",
            Self::Groups(Grant::Write) => "change groups",
            Self::Groups(_) => "read groups",
            Self::Passwords => "set passwords",
        }
    }
}

/// What an application has at the moment of a call.
#[derive(Debug)]
pub struct Access {
    /// Its synchronization scope.
    pub scope: Scope,
    /// How far it reaches.
    authority: Authority,
    granted: DeveloperApi,
    /// From when on it has nothing any more, unless something happens before; `None` if that is never.
    until: Option<Millis>,
    reach: OnceLock<Reach>,
}

/// Who calls.
#[derive(Clone, Debug)]
enum Who {
    /// An application that has shown an access token.
    Application(Arc<Token>),
    /// Whoever signs with an access key, which was read for looking at the signature.
    AccessKey(Arc<AccessKey>),
}

impl Who {
    fn principal(&self) -> Principal {
        match self {
            Self::Application(token) => Principal::Application {
                id: token.claims.application_id.clone(),
            },
            Self::AccessKey(key) => Principal::Token {
                id: key.token.id.clone(),
            },
        }
    }

    /// The application whose writes are not pushed to itself.
    fn without_echo(&self, granted: DeveloperApi) -> Option<&str> {
        match self {
            Self::Application(token) if !granted.echo => Some(&token.claims.application_id),
            Self::Application(_) | Self::AccessKey(_) => None,
        }
    }
}

impl Access {
    /// What whoever calls may do now.
    fn load(tx: &mut Tx<'_>, who: &Who, now: Millis) -> Result<Self, Refusal> {
        match who {
            Who::Application(token) => Self::of_application(tx, &token.claims, now),
            Who::AccessKey(key) => Ok(Self::of_access_key(key)),
        }
    }

    /// The role of an access key says what it may do.
    fn of_access_key(key: &AccessKey) -> Self {
        let role = &key.token.role;
        let grant = match (
            role.may(Permission::WriteDirectory),
            role.may(Permission::ReadDirectory),
        ) {
            (true, _) => Grant::Write,
            (false, true) => Grant::Read,
            (false, false) => Grant::None,
        };
        Self {
            scope: Scope::default(),
            authority: key.authority.clone(),
            granted: DeveloperApi {
                enabled: true,
                users: grant,
                organizational_units: grant,
                groups: grant,
                passwords: grant == Grant::Write,
                ..DeveloperApi::default()
            },
            until: None,
            reach: OnceLock::new(),
        }
    }

    /// What the application of these claims may do now.
    fn of_application(tx: &mut Tx<'_>, claims: &Claims, now: Millis) -> Result<Self, Refusal> {
        let granted = secrets::granted(tx, &claims.application_id, &claims.secret_id, &claims.id, now)?;
        let secrets::Granted {
            api: granted,
            scope,
            secret_expires_at,
        } = granted.ok_or_else(Refusal::revoked_token)?;
        if !granted.enabled {
            return Err(Refusal::disabled());
        }
        let authority = match scope.is_everything() {
            true => Authority::Everything,
            false => Authority::Scope {
                units: scope.organizational_unit_ids.clone(),
                groups: scope.group_ids.clone(),
            },
        };
        Ok(Self {
            scope,
            authority,
            granted,
            until: secret_expires_at,
            reach: OnceLock::new(),
        })
    }

    /// Whether it has it still, if nothing has happened since.
    fn is_good(&self, now: Millis) -> bool {
        self.until.is_none_or(|until| now < until)
    }

    fn reach(&self) -> Reach {
        *self.reach.get_or_init(|| Reach::of(&self.authority))
    }

    /// What it sees of the directory.
    ///
    /// # Errors
    /// What the database reports.
    pub fn sight(&self, tx: &mut Tx<'_>) -> Result<Sight, DbError> {
        Sight::of(tx, &self.authority)
    }

    fn check(&self, need: Need) -> Result<(), Refusal> {
        match need.is_granted(self.granted) {
            true => Ok(()),
            false => Err(Refusal::not_granted(need.words())),
        }
    }
}
