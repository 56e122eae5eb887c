//! Where calls come in: reading and writing as whoever calls, within what it may do at that moment.

use std::sync::Arc;

use bytes::Bytes;
use rollcall_db::{NoVersion, Tx, Version};
use rollcall_protocol::SubjectKind;
use serde::Serialize;

use super::kept::{Kept, Subject};
use super::token::{Token, Tokens};
use super::{Access, Need, Refusal, Who, echo};
use crate::access::{Authority, Caller, Origin};
use crate::accounts::tokens::{self, AccessKey};
use crate::change;
use crate::directory::{Applied, Command};
use crate::hub::Hub;
use crate::once::{self, Once};

/// Where the desks stand: what all calls share.
#[derive(Debug)]
pub struct Hall {
    /// The hub.
    pub hub: Hub,
    tokens: Tokens,
    kept: Kept,
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

    /// Reads an access token that is good as far as it says itself.
    ///
    /// # Errors
    /// [`Refusal::no_token`], [`Refusal::expired_token`].
    pub fn token(&self, shown: &str) -> Result<Arc<Token>, Refusal> {
        self.tokens.read(&self.hub, shown)
    }
}

/// Where the calls of one application, or of one access key, come in.
#[derive(Clone, Debug)]
pub struct Desk {
    hall: Arc<Hall>,
    who: Who,
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

    /// Shows one subject, as JSON: as [`Desk::read`] finds it, or from memory where that is known to be the same. What
    /// is shown hangs on nothing but the instance, the subject's kind and id, the directory, and how far who calls
    /// reaches.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn show<T: Serialize + 'static>(
        &self,
        need: Need,
        kind: SubjectKind,
        id: String,
        read: Read<T>,
    ) -> Result<Bytes, Refusal> {
        let about = Subject { kind, id };
        match self.known_now(need, &about)? {
            Known::Shown(body) => Ok(body),
            // In a box, because what this takes in memory would have to be found, and moved, also for a call that is
            // answered without it.
            known => Box::pin(self.look_up(need, about, read, known)).await,
        }
    }

    /// What is known of an answer on the spot.
    fn known_now(&self, need: Need, about: &Subject) -> Result<Known, Refusal> {
        let Who::Application(token) = &self.who else {
            return Ok(Known::Nothing);
        };
        match self.hub().db.version() {
            Ok(version) => match token.access(version, self.hub().clock.now()) {
                Some(access) => self.hall.known(version, &access, need, about),
                None => Ok(Known::NotInThisVersion),
            },
            Err(NoVersion::Away) => Ok(Known::NotInThisVersion),
            Err(NoVersion::Never) => Ok(Known::Nothing),
        }
    }

    /// Shows a subject of which no more is known.
    async fn look_up<T: Serialize + 'static>(
        &self,
        need: Need,
        about: Subject,
        read: Read<T>,
        known: Known,
    ) -> Result<Bytes, Refusal> {
        let known = match (known, &self.who) {
            // Something was committed, or the token is shown for the first time.
            (Known::NotInThisVersion, Who::Application(token)) => {
                self.follow(Arc::clone(token), need, about.clone()).await?
            }
            (known, _) => known,
        };
        let can_keep = match known {
            Known::Shown(body) => return Ok(body),
            Known::NotShown | Known::NotInThisVersion => true,
            Known::Nothing => false,
        };
        let (instance, id) = (self.hub().instance.id.clone(), about.id.clone());
        let shown = self.read(need, move |tx, access| {
            let shown = read(tx, access, &instance, &id)?;
            let body = serde_json::to_vec(&shown).map_err(|error| Refusal::internal(error.to_string()))?;
            let seq = match can_keep {
                true => Some(change::head(tx)?.seq),
                false => None,
            };
            // Without the room that the text did not need: it may be kept for long.
            Ok((Bytes::from(body.into_boxed_slice()), seq, access.reach()))
        });
        let (body, seq, reach) = shown.await?;
        if let Some(seq) = seq {
            self.hall.kept.insert(seq, reach, &about, body.clone());
        }
        Ok(body)
    }

    /// What is known of an answer in the version that is there now, after what is kept has followed to it.
    async fn follow(&self, token: Arc<Token>, need: Need, about: Subject) -> Result<Known, Refusal> {
        let (hall, who, now) = (Arc::clone(&self.hall), self.who.clone(), self.hub().clock.now());
        self.hub()
            .db
            .read_versioned(move |tx| {
                let Some(version) = hall.kept.follow(tx)? else {
                    return Ok(Known::Nothing);
                };
                let access = Arc::new(Access::load(tx, &who, now)?);
                token.remember(version, Arc::clone(&access));
                hall.known(version, &access, need, &about)
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

/// What reads a subject for somebody; it gets the ids of the instance and of the subject.
type Read<T> = fn(&mut Tx<'_>, &Access, &str, &str) -> Result<T, Refusal>;

/// What is known of an answer without reading it.
enum Known {
    /// It.
    Shown(Bytes),
    /// That the caller may ask; the answer is worth keeping.
    NotShown,
    /// Nothing in the version that is there now.
    NotInThisVersion,
    /// Nothing, and nothing can be kept.
    Nothing,
}

impl Hall {
    /// What is known of an answer in a version in which this is what the caller has.
    fn known(
        &self,
        version: Version,
        access: &Access,
        need: Need,
        about: &Subject,
    ) -> Result<Known, Refusal> {
        access.check(need)?;
        let body = self.kept.get(version, &access.reach(), about);
        Ok(body.map_or(Known::NotShown, Known::Shown))
    }
}
