//! Who is there: signing in, and from a cookie or a token to what its holder may do.
//!
//! [`SignIn`] is all that a server needs: [`SignIn::sign_in`] makes a session of a name and a password,
//! [`SignIn::session`] and [`SignIn::token`] make an [`Access`] of what a request shows, and [`Access::allows`] says
//! whether that is enough. None of it knows HTTP.
//!
//! - A name that nobody has costs the same time as one that somebody has: a password is always compared with a hash.
//! - Hashing takes processor time and memory on purpose. It runs on threads for blocking work, a few at once; of those
//!   who would have to wait too long, the last are turned away. So a flood of sign-ins starves nobody else.
//! - Whoever signs in gets a new session; the one that the browser had before ends, so that nobody can plant one.
//!   Changing the password ends all sessions and begins a new one.
//! - What protects a session against requests that other sites send is derived from its own token
//!   ([`Access::csrf_token`]), so nothing further has to be kept.

mod hashing;
pub mod manage;
pub mod oidc;

use std::net::IpAddr;

use aws_lc_rs::{constant_time, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rollcall_db::DbError;

use crate::access::{Authority, Caller, Origin, Permission, Principal, Role};
use crate::accounts::sessions::{self, Lifetime, NewSession, Session};
use crate::accounts::throttle::{self, TooEarly, Try};
use crate::accounts::tokens::{self, ApiToken};
use crate::accounts::{self, Account, AccountError, Command, password};
use crate::clock::Millis;
use crate::directory::fields::fold;
use crate::hub::Hub;
use crate::secret::{ExposeSecret as _, NewToken, SecretString, hash_token};
use hashing::{Busy, Hashing};
use oidc::Provider;

/// From where somebody signs in.
#[derive(Clone, Debug, Default)]
pub struct Visitor {
    /// The address.
    pub address: Option<IpAddr>,
    /// The program.
    pub user_agent: Option<String>,
    /// What the audit log says.
    pub origin: Origin,
}

/// How much of a program's name is kept.
const USER_AGENT: usize = 200;

/// Why somebody cannot sign in.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// Too many tries have failed.
    #[error("too many sign-ins have failed; try again in {} s", .0.0.as_secs() + 1)]
    TooEarly(TooEarly),
    /// Nobody signs in with a password here.
    #[error("passwords are switched off here; sign in at the provider, in the console")]
    PasswordsOff,
    /// Too many want to sign in at once.
    #[error("too many want to sign in at once; try again in a few seconds")]
    Busy,
    /// The name or the password is wrong, or a new password is no good.
    #[error(transparent)]
    Account(#[from] AccountError),
}

impl From<DbError> for SignInError {
    fn from(error: DbError) -> Self {
        AccountError::from(error).into()
    }
}

impl From<Busy> for SignInError {
    fn from(Busy: Busy) -> Self {
        Self::Busy
    }
}

/// A session that has just begun.
#[derive(Debug)]
pub struct SignedIn {
    /// What the browser has to show from now on.
    pub token: SecretString,
    /// What its holder may do.
    pub access: Access,
}

impl SignedIn {
    fn of(token: SecretString, session: Session, account: Account, authority: Authority) -> Self {
        Self {
            access: Access::of_session(account, session, authority, token.expose_secret()),
            token,
        }
    }
}

/// By what somebody is known.
#[derive(Clone, Debug)]
enum Known {
    /// By the token in the hub's data folder.
    Machine,
    /// By a token.
    Token(ApiToken),
    /// By a session.
    Session {
        account: Account,
        session: Session,
        csrf: String,
    },
}

/// Why something is not permitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// A one-time password has to be changed first.
    #[error("the password was set by somebody else; change it first")]
    ChangePassword,
    /// It is about one's own account, and a token has none.
    #[error("this is for people who have signed in; a token has no account of its own")]
    NoAccount,
    /// The role does not have the permission.
    #[error("the role {role} does not have the permission {permission}", role = .0.as_str(), permission = .1.as_str())]
    Role(crate::access::RoleName, Permission),
}

/// Who somebody is, and what that permits.
#[derive(Clone, Debug)]
pub struct Access {
    /// Who.
    pub principal: Principal,
    /// What it may do.
    pub role: Role,
    /// How far that reaches into the directory.
    pub authority: Authority,
    known: Known,
}

impl Access {
    /// The machine's own administrator, who can read the file with the hub's token.
    pub fn machine() -> Self {
        Self {
            principal: Principal::Token {
                id: "admin".to_owned(),
            },
            role: Role::Administrator,
            authority: Authority::Everything,
            known: Known::Machine,
        }
    }

    fn of_session(account: Account, session: Session, authority: Authority, token: &str) -> Self {
        Self {
            principal: Principal::Account {
                id: account.id.clone(),
            },
            role: account.role.clone(),
            authority,
            known: Known::Session {
                account,
                session,
                csrf: csrf_token(token),
            },
        }
    }

    /// Whether it has a permission.
    ///
    /// # Errors
    /// [`Denied`].
    pub fn allows(&self, permission: Permission) -> Result<(), Denied> {
        let (own, with_one_time) = match permission {
            Permission::Anybody | Permission::OwnIdentity => (false, true),
            Permission::OwnSignIn => (true, true),
            Permission::OwnAccount => (true, false),
            _ => (false, false),
        };
        match &self.known {
            Known::Session { account, .. } if account.must_change_password && !with_one_time => {
                return Err(Denied::ChangePassword);
            }
            Known::Machine | Known::Token(_) if own => return Err(Denied::NoAccount),
            _ => {}
        }
        match self.role.may(permission) {
            true => Ok(()),
            false => Err(Denied::Role(self.role.name(), permission)),
        }
    }

    /// The account and the session of somebody who has signed in.
    pub fn session(&self) -> Option<(&Account, &Session)> {
        match &self.known {
            Known::Session { account, session, .. } => Some((account, session)),
            Known::Machine | Known::Token(_) => None,
        }
    }

    /// The token of a program.
    pub fn token(&self) -> Option<&ApiToken> {
        match &self.known {
            Known::Token(token) => Some(token),
            Known::Machine | Known::Session { .. } => None,
        }
    }

    /// What a page of ours sends with what it changes, to show that it is ours; only of a session.
    pub fn csrf_token(&self) -> Option<&str> {
        match &self.known {
            Known::Session { csrf, .. } => Some(csrf),
            Known::Machine | Known::Token(_) => None,
        }
    }

    /// Whether this is the token of [`Access::csrf_token`].
    pub fn is_csrf_token(&self, shown: &str) -> bool {
        self.csrf_token().is_some_and(|token| {
            constant_time::verify_slices_are_equal(token.as_bytes(), shown.as_bytes()).is_ok()
        })
    }

    /// Who gives a command, coming from there.
    pub fn caller(&self, origin: Origin) -> Caller {
        Caller::from(self.principal.clone())
            .within(self.authority.clone())
            .from_there(origin)
    }
}

/// Derived from the session's own token, from which alone it can be told.
fn csrf_token(token: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, token.as_bytes());
    URL_SAFE_NO_PAD.encode(hmac::sign(&key, b"rollcall csrf"))
}

/// Somebody whose password was right.
struct Verified {
    account: Account,
    hash: String,
    attempt: Try,
}

/// Signs people in and recognizes them.
#[derive(Debug)]
pub struct SignIn {
    hub: Hub,
    lifetime: Lifetime,
    hashing: Hashing,
    provider: Option<Provider>,
}

impl SignIn {
    /// Of a hub.
    pub fn new(hub: Hub, lifetime: Lifetime) -> Self {
        Self {
            hub,
            lifetime,
            hashing: Hashing::default(),
            provider: None,
        }
    }

    /// The same, where people may sign in at a provider too.
    #[must_use]
    pub fn with_provider(self, provider: Option<Provider>) -> Self {
        Self { provider, ..self }
    }

    /// The provider, if there is one.
    pub fn provider(&self) -> Option<&Provider> {
        self.provider.as_ref()
    }

    /// Whether anybody signs in with a password.
    pub fn takes_passwords(&self) -> bool {
        self.provider.as_ref().is_none_or(Provider::beside_passwords)
    }

    /// How long sessions live.
    pub fn lifetime(&self) -> Lifetime {
        self.lifetime
    }

    /// Begins a session for a name and a password. The session whose token the browser has shown ends.
    ///
    /// # Errors
    /// [`SignInError`].
    pub async fn sign_in(
        &self,
        name: &str,
        password: SecretString,
        from: &Visitor,
        shown: Option<&str>,
    ) -> Result<SignedIn, SignInError> {
        let verified = self.verify(name, password, from).await?;
        let (id, before) = (verified.account.id, shown.map(hash_token));
        self.begin(verified.attempt, id.clone(), from, |session| Command::SignIn {
            id,
            hash: verified.hash,
            session,
            before,
        })
        .await
    }

    /// Changes the password of somebody who shows the present one. All sessions end, and a new one begins.
    ///
    /// # Errors
    /// [`SignInError`].
    pub async fn change_password(
        &self,
        account: &Account,
        present: SecretString,
        new: SecretString,
        from: &Visitor,
    ) -> Result<SignedIn, SignInError> {
        password::check(&new, &account.name)?;
        if present.expose_secret() == new.expose_secret() {
            return Err(AccountError::invalid("password", "must not be the present one").into());
        }
        if account.identity.is_some() {
            return Err(AccountError::SignsInElsewhere(account.name.clone()).into());
        }
        let verified = self.verify(&account.name, present, from).await?;
        let to = self.hashing.hash(new, &self.hub.random).await??;
        let id = verified.account.id;
        self.begin(verified.attempt, id.clone(), from, |session| {
            Command::ChangePassword {
                id,
                from: verified.hash,
                to,
                session,
            }
        })
        .await
    }

    /// Who shows the token of a session; `None` if it is that of none, or of one that has ended.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn session(&self, shown: &str) -> Result<Option<Access>, DbError> {
        let (hash, now, lifetime) = (hash_token(shown), self.hub.clock.now(), self.lifetime);
        let found = self
            .hub
            .db
            .read(move |tx| sessions::with_hash(tx, &hash, now, lifetime));
        let Some((session, account, authority)) = found.await? else {
            return Ok(None);
        };
        if now.saturating_sub(session.seen_at) >= sessions::NOTED_EVERY {
            let id = session.id.clone();
            self.hub
                .db
                .write(move |tx| sessions::note_use(tx, &id, now))
                .await?;
        }
        Ok(Some(Access::of_session(account, session, authority, shown)))
    }

    /// Who shows a token; `None` if it is none of ours, or has expired.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn token(&self, shown: &str) -> Result<Option<Access>, DbError> {
        if !shown.starts_with(tokens::PREFIX) {
            return Ok(None);
        }
        let (hash, now) = (hash_token(shown), self.hub.clock.now());
        let found = self.hub.db.read(move |tx| tokens::with_hash(tx, &hash, now));
        let Some((token, authority)) = found.await? else {
            return Ok(None);
        };
        if tokens::is_unnoted(&token, now) {
            let id = token.id.clone();
            self.hub
                .db
                .write(move |tx| tokens::note_use(tx, &id, now))
                .await?;
        }
        Ok(Some(Access {
            principal: Principal::Token { id: token.id.clone() },
            role: token.role.clone(),
            authority,
            known: Known::Token(token),
        }))
    }

    /// Ends the session of somebody who signs out.
    ///
    /// # Errors
    /// [`AccountError`].
    pub async fn sign_out(&self, access: &Access, origin: Origin) -> Result<(), AccountError> {
        let Some((account, session)) = access.session() else {
            return Ok(());
        };
        let end = Command::EndSession {
            id: session.id.clone(),
            account_id: account.id.clone(),
        };
        match self.hub.apply_account(access.caller(origin), end).await {
            // It has ended already.
            Ok(_) | Err(AccountError::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The account that has this name and password.
    async fn verify(&self, name: &str, plain: SecretString, from: &Visitor) -> Result<Verified, SignInError> {
        if !self.takes_passwords() {
            return Err(SignInError::PasswordsOff);
        }
        let place = self.hashing.queue()?;
        let (attempt, now) = (Try::of(&fold(name), from.address), self.hub.clock.now());
        let (name, of) = (name.to_owned(), attempt.clone());
        let looked_up = self.hub.db.write(move |tx| {
            let begun = throttle::begin(tx, &of, now)?;
            let found = accounts::with_password(tx, &name)?;
            Ok::<_, DbError>(begun.map(|()| found))
        });
        let found = match looked_up.await? {
            Ok(found) => found,
            Err(too_early) => {
                tracing::warn!("too many sign-ins fail; the next try has to wait");
                return Err(SignInError::TooEarly(too_early));
            }
        };
        let hash = found.as_ref().map(|(_, hash)| hash.clone());
        let is_right = place.compare(plain, hash).await?;
        match found {
            Some((account, hash)) if is_right && !account.disabled => Ok(Verified {
                account,
                hash,
                attempt,
            }),
            found => {
                let account = found.map_or_else(|| "none".to_owned(), |(account, _)| account.id);
                tracing::info!(account, "a sign-in failed");
                Err(AccountError::SignIn.into())
            }
        }
    }

    /// Begins a session, by the command that this makes.
    async fn begin(
        &self,
        attempt: Try,
        account_id: String,
        from: &Visitor,
        command: impl FnOnce(NewSession) -> Command,
    ) -> Result<SignedIn, SignInError> {
        let (session, token) = self.new_session(from, self.lifetime.absolute);
        let command = command(session);
        let principal = Principal::Account { id: account_id };
        let caller = Caller::from(principal).from_there(from.origin.clone());
        let begun = self.hub.write_as(caller, move |tx, ctx| {
            throttle::succeed(tx, &attempt)?;
            let (session, account) = accounts::apply(tx, ctx, &command)?.session()?;
            let authority = accounts::authority(tx, &account.role)?;
            Ok::<_, AccountError>((session, account, authority))
        });
        let (session, account, authority) = begun.await?;
        Ok(SignedIn::of(token, session, account, authority))
    }

    /// A session that ends after so long at the latest, and its token.
    fn new_session(&self, from: &Visitor, lives: Millis) -> (NewSession, SecretString) {
        let token = NewToken::generate("", &*self.hub.random);
        let agent = from.user_agent.as_deref().map(|agent| {
            let seen = agent.chars().filter(|c| !c.is_control());
            seen.take(USER_AGENT).collect()
        });
        let session = NewSession {
            hash: token.hash,
            expires_at: self.hub.clock.now().saturating_add(lives),
            address: from.address.map(|address| address.to_string()),
            user_agent: agent,
        };
        (session, token.text)
    }
}
