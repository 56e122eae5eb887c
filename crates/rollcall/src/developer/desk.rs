//! Where calls come in: reading and writing as whoever calls, within what it may do at that moment.

use std::sync::Arc;

use rollcall_db::Tx;

use super::kept::Kept;
use super::token::{Token, Tokens};
use super::{Access, Need, Refusal, Who, echo};
use crate::access::{Authority, Caller, Origin};
use crate::accounts::tokens::{self, AccessKey};
use crate::change;
use crate::clock::Millis;
use crate::directory::{Applied, Command};
use crate::hub::Hub;
use crate::once::{self, Once};

/// Where the desks stand: what all calls share.
#[derive(Debug)]
pub struct Hall {
    /// The hub.
    pub hub: Hub,
    tokens: Tokens,
    pub(super) kept: Kept,
}

impl Hall {
    /// That of a hub, of which nothing is known yet.
    pub fn new(hub: Hub) -> Self {
        Self {
            hub,
            tokens: Tokens::default(),
            kept: Kept::default(),
        }
    }

    /// Reads an access token that is good now as far as it says itself.
    ///
    /// # Errors
    /// [`Refusal::no_token`], [`Refusal::expired_token`].
    pub fn token(&self, shown: &str, now: Millis) -> Result<Arc<Token>, Refusal> {
        self.tokens.read(&self.hub, shown, now)
    }
}

/// Where the calls of one application, or of one access key, come in.
#[derive(Clone, Debug)]
pub struct Desk {
    pub(super) hall: Arc<Hall>,
    pub(super) who: Who,
    origin: Origin,
    /// Under what the call is carried out once.
    once: Option<Once>,
}

impl Desk {
    /// For the application that has shown a token, from there.
    pub fn new(hall: Arc<Hall>, token: Arc<Token>, origin: Origin) -> Self {
        Self::of(hall, Who::Application(token), origin)
    }

    /// For whoever signs with an access key.
    pub fn of_access_key(hall: Arc<Hall>, key: Arc<AccessKey>, origin: Origin) -> Self {
        Self::of(hall, Who::AccessKey(key), origin)
    }

    fn of(hall: Arc<Hall>, who: Who, origin: Origin) -> Self {
        Self {
            hall,
            who,
            origin,
            once: None,
        }
    }

    /// The same, for a call that is carried out once.
    #[must_use]
    pub fn under(&self, once: Once) -> Self {
        Self {
            once: Some(once),
            ..self.clone()
        }
    }

    /// Who calls, as the logs have it.
    pub fn principal(&self) -> String {
        self.who.principal().to_string()
    }

    /// The hub.
    pub fn hub(&self) -> &Hub {
        &self.hall.hub
    }

    /// Who acts, as far as this reaches.
    pub fn caller(&self, authority: Authority) -> Caller {
        Caller {
            origin: self.origin.clone(),
            once: self.once.clone(),
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
        let (who, now) = (self.who.clone(), self.hub().clock.now());
        self.hub()
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
        let make = move |tx: &mut Tx<'_>, access: &Access| Ok(vec![make(tx, access)?]);
        let mut applied = self.write_all(about, need, make).await?;
        applied
            .pop()
            .ok_or_else(|| Refusal::internal("a command that was not carried out"))
    }

    /// Carries out commands, all of them or none, and returns once they are durable.
    ///
    /// # Errors
    /// [`Refusal`]; nothing is changed then.
    pub async fn write_all(
        &self,
        about: Option<String>,
        need: Need,
        make: impl Fn(&mut Tx<'_>, &Access) -> Result<Vec<Command>, Refusal> + Send + 'static,
    ) -> Result<Vec<Applied>, Refusal> {
        let (desk, now) = (self.clone(), self.hub().clock.now());
        self.hub()
            .db
            .write_about(about, move |tx| {
                let access = Access::load(tx, &desk.who, now)?;
                if let Who::AccessKey(key) = &desk.who
                    && !tokens::is_there(tx, &key.token.id)?
                {
                    // It was revoked since its signature was looked at.
                    return Err(Refusal::access_key());
                }
                access.check(need)?;
                let commands = make(tx, &access)?;
                let quiet = desk.who.without_echo(access.granted);
                let before = quiet.map(|_| change::head(tx)).transpose()?;
                let caller = desk.caller(access.authority);
                let mut applied = Vec::with_capacity(commands.len());
                for command in &commands {
                    applied.push(desk.hub().apply_in(tx, &caller, command)?);
                }
                if let (Some(application_id), Some(before)) = (quiet, before) {
                    echo::withhold(tx, application_id, before.seq)?;
                }
                if let Some(once) = &caller.once {
                    once::done(tx, once)?;
                }
                Ok(applied)
            })
            .await
    }
}
