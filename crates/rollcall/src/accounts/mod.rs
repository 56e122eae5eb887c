//! Accounts of people, their sessions, and tokens of programs: who may do what.
//!
//! Whatever changes them goes through one door, [`apply`] with a [`Command`], as directory and applications have
//! theirs. It records in the audit log what was done, in the same transaction, and never a secret. Only the notes of
//! when a session or a token was last used, and the counts of sign-ins that failed ([`throttle`]), are written past it:
//! they change nothing that anybody decided.
//!
//! - **Accounts** ([`Account`]) have a name, a [`Role`], and a password of which an Argon2id hash is kept ([`password`]).
//!   There is always an administrator who is not disabled: the last one can be neither disabled, deleted nor given
//!   another role. A password that somebody else has set is good for one thing, choosing another.
//! - **Identities** ([`Identity`]) are what accounts have instead of a password whose owners sign in at a provider. They
//!   alone tell which account is whose; a name is never compared.
//! - **Sessions** ([`sessions`]) are what somebody has who has signed in. Each request reads the session together with
//!   its account, so what is changed there holds from the next request on.
//! - **Tokens** ([`tokens`]) are for programs. They belong to nobody: whoever made one may go.
//!
//! Roles and permissions are in [`crate::access`]; how somebody signs in is in `signin`.

mod account;
mod error;
mod identity;
pub mod password;
pub mod sessions;
pub mod throttle;
pub mod tokens;

use std::collections::{BTreeSet, HashMap};

use rollcall_db::{DbError, Tx};

use crate::access::{Authority, Context, Principal, Role};
use crate::application::{Entitlements, Scope};
pub use account::{
    Account, AccountChanges, NewAccount, any, called, find, list, names, nobody_signed_in, page,
    with_password,
};
pub use error::AccountError;
pub use identity::{Arrival, Identity, with_identity};
use sessions::{NewSession, Session};
use tokens::{ApiToken, NewApiToken};

/// A change that somebody wants.
#[derive(Debug)]
#[expect(missing_docs, reason = "the fields name what the variant says")]
pub enum Command {
    /// Makes an account.
    Create(NewAccount),
    /// Makes the first account, if there is none.
    CreateFirst(NewAccount),
    /// Changes what is named.
    Update { id: String, changes: AccountChanges },
    /// Somebody else sets a password (its hash), which its owner then has to change. All sessions end.
    ResetPassword { id: String, hash: String },
    /// The owner sets a password (its hash) in place of the one that has the other hash. All sessions end, and one
    /// begins.
    ChangePassword {
        id: String,
        from: String,
        to: String,
        session: NewSession,
    },
    /// Deletes an account. Its sessions end.
    Delete { id: String },
    /// Somebody has shown the password that has this hash. The session that was there `before` ends.
    SignIn {
        id: String,
        hash: String,
        session: NewSession,
        before: Option<String>,
    },
    /// A provider vouches for somebody, who gets an account at the first time.
    SignInElsewhere(Arrival),
    /// Gives an account to whom the provider knows so, instead of a password. All sessions end.
    Link { id: String, identity: Identity },
    /// Ends one session of an account.
    EndSession { id: String, account_id: String },
    /// Ends all sessions of an account.
    EndSessions { account_id: String },
    /// Makes a token.
    CreateToken(NewApiToken),
    /// Makes a token good for nothing.
    RevokeToken { id: String },
}

/// What a command was about, as it is now; as it was if it is gone.
#[derive(Debug)]
pub enum Applied {
    /// An account.
    Account(Account),
    /// A session that began, and its account.
    Session(Session, Account),
    /// Sessions that have ended: how many.
    Ended(u64),
    /// A token.
    Token(ApiToken),
    /// There was nothing to do.
    Nothing,
}

impl Applied {
    /// The account that the command was about.
    ///
    /// # Errors
    /// If it was about something else.
    pub fn account(self) -> Result<Account, AccountError> {
        match self {
            Self::Account(account) | Self::Session(_, account) => Ok(account),
            other => Err(other.unexpected()),
        }
    }

    /// The session that began by the command, and its account.
    ///
    /// # Errors
    /// If none did.
    pub fn session(self) -> Result<(Session, Account), AccountError> {
        match self {
            Self::Session(session, account) => Ok((session, account)),
            other => Err(other.unexpected()),
        }
    }

    /// The token that the command was about.
    ///
    /// # Errors
    /// If it was about something else.
    pub fn token(self) -> Result<ApiToken, AccountError> {
        match self {
            Self::Token(token) => Ok(token),
            other => Err(other.unexpected()),
        }
    }

    /// How many sessions have ended by the command.
    pub fn ended(&self) -> u64 {
        match self {
            Self::Ended(count) => *count,
            _ => 0,
        }
    }

    fn unexpected(&self) -> AccountError {
        DbError::Other(format!("a command was about something else: {self:?}")).into()
    }
}

/// Applies a command, if the caller may: whoever does not reach the whole hub may do something only about himself.
///
/// # Errors
/// [`AccountError`]; the caller's transaction must then be undone.
pub fn apply(tx: &mut Tx<'_>, ctx: &Context<'_>, command: &Command) -> Result<Applied, AccountError> {
    let about_himself = match command {
        Command::ChangePassword { id, .. }
        | Command::SignIn { id, .. }
        | Command::EndSession { account_id: id, .. }
        | Command::EndSessions { account_id: id } => {
            matches!(&ctx.caller.principal, Principal::Account { id: own } if own == id)
        }
        _ => false,
    };
    if !ctx.caller.authority.is_everything() && !about_himself {
        return Err(AccountError::NotYours);
    }
    match command {
        Command::Create(new) => account::create(tx, ctx, new).map(Applied::Account),
        Command::CreateFirst(_) if any(tx)? => Ok(Applied::Nothing),
        Command::CreateFirst(new) => account::create(tx, ctx, new).map(Applied::Account),
        Command::Update { id, changes } => account::update(tx, ctx, id, changes).map(Applied::Account),
        Command::ResetPassword { id, hash } => {
            account::reset_password(tx, ctx, id, hash).map(Applied::Account)
        }
        Command::ChangePassword {
            id,
            from,
            to,
            session,
        } => {
            let account = account::change_password(tx, ctx, id, from, to)?;
            Ok(Applied::Session(sessions::begin(tx, ctx, id, session)?, account))
        }
        Command::Delete { id } => account::delete(tx, ctx, id).map(Applied::Account),
        Command::SignIn {
            id,
            hash,
            session,
            before,
        } => {
            let account = account::sign_in(tx, ctx, id, hash)?;
            if let Some(before) = before {
                sessions::replace(tx, before)?;
            }
            Ok(Applied::Session(sessions::begin(tx, ctx, id, session)?, account))
        }
        Command::SignInElsewhere(arrival) => {
            let (session, account) = identity::sign_in(tx, ctx, arrival)?;
            Ok(Applied::Session(session, account))
        }
        Command::Link { id, identity } => identity::link(tx, ctx, id, identity).map(Applied::Account),
        Command::EndSession { id, account_id } => sessions::end(tx, ctx, id, account_id).map(Applied::Ended),
        Command::EndSessions { account_id } => sessions::end_all(tx, ctx, account_id).map(Applied::Ended),
        Command::CreateToken(new) => tokens::create(tx, ctx, new).map(Applied::Token),
        Command::RevokeToken { id } => tokens::revoke(tx, ctx, id).map(Applied::Token),
    }
}

/// How far a role reaches into the directory: an application owner as far as the scopes of the applications.
///
/// # Errors
/// What the database reports.
pub fn authority(tx: &mut Tx<'_>, role: &Role) -> Result<Authority, DbError> {
    let ids: Vec<String> = role.applications().into_iter().flatten().cloned().collect();
    Ok(Reach::load(tx, &ids)?.authority(role))
}

/// The applications of a role that are still there, and what they are told of: read at once, because every request of
/// an application owner asks for both.
struct Reach(HashMap<String, Scope>);

impl Reach {
    fn load(tx: &mut Tx<'_>, applications: &[String]) -> Result<Self, DbError> {
        Ok(Self(Entitlements::scopes_of(tx, applications)?))
    }

    fn there(&self) -> BTreeSet<String> {
        self.0.keys().cloned().collect()
    }

    fn authority(&self, role: &Role) -> Authority {
        let Some(applications) = role.applications() else {
            return Authority::Everything;
        };
        let (mut units, mut groups) = (BTreeSet::new(), BTreeSet::new());
        for scope in applications.iter().filter_map(|id| self.0.get(id)) {
            units.extend(scope.organizational_unit_ids.iter().cloned());
            groups.extend(scope.group_ids.iter().cloned());
        }
        Authority::Scope { units, groups }
    }
}
