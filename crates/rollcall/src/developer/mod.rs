//! The developer API: what an application may do by itself, within its synchronization scope (wire contract, section 8).
//!
//! An application shows its id and a client secret ([`crate::application::developer::secrets`]), gets an access token
//! ([`token`]) and calls with that. A call is one transaction. It looks first whether the token still is good and what
//! the application may do ([`Desk::read`], [`Desk::write`]), so that what an administrator takes away is gone with the
//! next call, also from a write that was under way. Then the scope decides: it is the authority with which a write comes to
//! the directory's door, and what a read sees ([`Sight`]). What is outside answers as if it did not exist.
//!
//! Names, forms and statuses are those that the official clients of the product expect. HTTP is in `api::developer`.

pub mod groups;
mod page;
mod refusal;
mod text;
pub mod token;
pub mod units;
pub mod users;

use std::sync::Arc;

use rollcall_db::{DbError, Tx};

use crate::access::{Authority, Caller, Origin, Principal};
use crate::application::developer::secrets;
use crate::application::{DeveloperApi, Entitlements, Grant, Scope};
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

impl Access {
    /// What the application of these claims may do now.
    fn load(tx: &mut Tx<'_>, claims: &Claims, now: Millis) -> Result<Self, Refusal> {
        let granted = secrets::granted(tx, &claims.application_id, &claims.secret_id, &claims.id, now)?;
        let granted = granted.ok_or_else(Refusal::revoked_token)?;
        if !granted.enabled {
            return Err(Refusal::disabled());
        }
        let scope = Entitlements::load(tx, &claims.application_id)?
            .current()
            .scope
            .clone();
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

/// Where the calls of one application come in.
#[derive(Clone, Debug)]
pub struct Desk {
    /// The hub.
    pub hub: Hub,
    claims: Arc<Claims>,
    origin: Origin,
}

impl Desk {
    /// For whoever has shown this token, from there.
    pub fn new(hub: Hub, claims: Claims, origin: Origin) -> Self {
        Self {
            hub,
            claims: Arc::new(claims),
            origin,
        }
    }

    /// What the token says.
    pub fn claims(&self) -> &Claims {
        &self.claims
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
        let (claims, now) = (Arc::clone(&self.claims), self.hub.clock.now());
        self.hub
            .db
            .read(move |tx| {
                let access = Access::load(tx, &claims, now)?;
                access.check(need)?;
                read(tx, &access)
            })
            .await
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
        let (desk, now) = (self.clone(), self.hub.clock.now());
        self.hub
            .db
            .write(move |tx| {
                let access = Access::load(tx, &desk.claims, now)?;
                access.check(need)?;
                let command = make(tx, &access)?;
                let id = desk.claims.application_id.clone();
                let caller = Caller {
                    origin: desk.origin.clone(),
                    ..Caller::from(Principal::Application { id }).within(access.authority)
                };
                Ok(desk.hub.apply_in(tx, &caller, &command)?)
            })
            .await
    }
}
