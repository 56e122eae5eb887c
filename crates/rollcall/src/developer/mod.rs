//! The developer API: what an application may do by itself, within its synchronization scope (wire contract, section 8).
//!
//! An application shows its id and a client secret ([`crate::application::developer::secrets`]), gets an access token
//! ([`token`]) and calls with that. A call is one transaction. It looks first whether the token still is good and what
//! the application may do ([`Desk::read`], [`Desk::write`]), so that what an administrator takes away is gone with the
//! next call, also from a write that was under way. Then the scope decides: it is the authority with which a write comes to
//! the directory's door, and what a read sees ([`Sight`]). What is outside answers as if it did not exist.
//!
//! Names, forms and statuses are those that the official clients of the product expect. HTTP is in `api::developer`.
//!
//! The management API calls the same ([`crate::management`]): whoever signs with an access key is let in by the key's role.

mod echo;
pub mod groups;
mod page;
pub mod passwords;
mod refusal;
mod text;
pub mod token;
pub mod units;
pub mod users;

use std::sync::Arc;

use rollcall_db::{DbError, Tx};

use crate::access::{Authority, Caller, Origin, Permission, Principal};
use crate::accounts::tokens;
use crate::application::developer::secrets;
use crate::application::{DeveloperApi, Grant, Scope};
use crate::change;
use crate::clock::Millis;
use crate::directory::{Applied, Command, Sight};
use crate::hub::Hub;
pub use page::{Numbered, Portioned};
pub use refusal::{CODES, Refusal};
pub use text::Given;
use token::Claims;

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
}

/// Who calls.
#[derive(Clone, Debug)]
enum Who {
    /// An application that has shown an access token.
    Application(Arc<Claims>),
    /// Whoever signs with an access key: the key's id.
    AccessKey(String),
}

impl Who {
    fn principal(&self) -> Principal {
        match self {
            Self::Application(claims) => Principal::Application {
                id: claims.application_id.clone(),
            },
            Self::AccessKey(id) => Principal::Token { id: id.clone() },
        }
    }

    /// The application whose writes are not pushed to itself.
    fn without_echo(&self, granted: DeveloperApi) -> Option<&str> {
        match self {
            Self::Application(claims) if !granted.echo => Some(&claims.application_id),
            Self::Application(_) | Self::AccessKey(_) => None,
        }
    }
}

impl Access {
    /// What whoever calls may do now.
    fn load(tx: &mut Tx<'_>, who: &Who, now: Millis) -> Result<Self, Refusal> {
        match who {
            Who::Application(claims) => Self::of_application(tx, claims, now),
            Who::AccessKey(id) => Self::of_access_key(tx, id, now),
        }
    }

    /// The role of an access key says what it may do.
    fn of_access_key(tx: &mut Tx<'_>, id: &str, now: Millis) -> Result<Self, Refusal> {
        let key = tokens::access_key(tx, id, now)?.ok_or_else(Refusal::access_key)?;
        let role = key.token.role;
        let grant = match (
            role.may(Permission::WriteDirectory),
            role.may(Permission::ReadDirectory),
        ) {
            (true, _) => Grant::Write,
            (false, true) => Grant::Read,
            (false, false) => Grant::None,
        };
        Ok(Self {
            scope: Scope::default(),
            authority: key.authority,
            granted: DeveloperApi {
                enabled: true,
                users: grant,
                organizational_units: grant,
                groups: grant,
                passwords: grant == Grant::Write,
                ..DeveloperApi::default()
            },
        })
    }

    /// What the application of these claims may do now.
    fn of_application(tx: &mut Tx<'_>, claims: &Claims, now: Millis) -> Result<Self, Refusal> {
        let granted = secrets::granted(tx, &claims.application_id, &claims.secret_id, &claims.id, now)?;
        let (granted, scope) = granted.ok_or_else(Refusal::revoked_token)?;
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
        })
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

/// Where the calls of one application, or of one access key, come in.
#[derive(Clone, Debug)]
pub struct Desk {
    /// The hub.
    pub hub: Hub,
    who: Who,
    origin: Origin,
}

impl Desk {
    /// For the application that has shown a token, from there.
    pub fn new(hub: Hub, claims: Claims, origin: Origin) -> Self {
        let who = Who::Application(Arc::new(claims));
        Self { hub, who, origin }
    }

    /// For whoever signs with an access key.
    pub fn of_access_key(hub: Hub, id: String, origin: Origin) -> Self {
        let who = Who::AccessKey(id);
        Self { hub, who, origin }
    }

    /// Who acts, as far as this reaches.
    pub fn caller(&self, authority: Authority) -> Caller {
        Caller {
            origin: self.origin.clone(),
            ..Caller::from(self.who.principal()).within(authority)
        }
    }

    /// Reads something in a transaction of its own.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn read<T: Send + 'static>(
        &self,
        need: Need,
        read: impl Fn(&mut Tx<'_>, &Access) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let (who, now) = (self.who.clone(), self.hub.clock.now());
        self.hub
            .db
            .read(move |tx| {
                let access = Access::load(tx, &who, now)?;
                access.check(need)?;
                read(tx, &access)
            })
            .await
    }

    /// Carries out a command that needs nothing of what there is, and returns once it is durable. The user whom it is
    /// about is read together with those of others who share its commit.
    ///
    /// # Errors
    /// [`Refusal`]; nothing is changed then.
    pub async fn carry_out(&self, need: Need, command: Command) -> Result<(), Refusal> {
        let about = command.user_id().map(str::to_owned);
        self.write_about(about, need, move |_, _| Ok(command.clone()))
            .await?;
        Ok(())
    }

    /// Carries out a command, which may be made of what there is, and returns once it is durable.
    ///
    /// # Errors
    /// [`Refusal`]; nothing is changed then.
    pub async fn write(
        &self,
        need: Need,
        make: impl Fn(&mut Tx<'_>, &Access) -> Result<Command, Refusal> + Send + 'static,
    ) -> Result<Applied, Refusal> {
        self.write_about(None, need, make).await
    }

    async fn write_about(
        &self,
        about: Option<String>,
        need: Need,
        make: impl Fn(&mut Tx<'_>, &Access) -> Result<Command, Refusal> + Send + 'static,
    ) -> Result<Applied, Refusal> {
        let (desk, now) = (self.clone(), self.hub.clock.now());
        self.hub
            .db
            .write_about(about, move |tx| {
                let access = Access::load(tx, &desk.who, now)?;
                access.check(need)?;
                let command = make(tx, &access)?;
                let quiet = desk.who.without_echo(access.granted);
                let before = quiet.map(|_| change::head(tx)).transpose()?;
                let caller = desk.caller(access.authority);
                let applied = desk.hub.apply_in(tx, &caller, &command)?;
                if let (Some(application_id), Some(before)) = (quiet, before) {
                    echo::withhold(tx, application_id, before.seq)?;
                }
                Ok(applied)
            })
            .await
    }
}
