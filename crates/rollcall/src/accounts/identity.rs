//! Accounts whose owners sign in at a provider: who they are there, and what happens when they arrive.

use rollcall_db::{DbError, Tx, params};
use serde::{Deserialize, Serialize};

use super::account::{self, Account, AccountChanges, NewAccount};
use super::sessions::{self, NewSession, Session};
use super::{AccountError, Role};
use crate::access::{Caller, Context, Principal};

/// Whom a provider knows somebody as. Both together are never given to anybody else (OpenID Connect Core, section 5.7);
/// no other claim is as good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    /// The provider.
    pub issuer: String,
    /// The name that the provider has for them.
    pub subject: String,
}

/// Somebody for whom a provider vouches.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// Who that is.
    pub identity: Identity,
    /// What a new account is called.
    pub name: String,
    /// For people.
    pub display_name: Option<String>,
    /// For people.
    pub email: Option<String>,
    /// What the provider says that they may do.
    pub role: Role,
    /// The session that begins.
    pub session: NewSession,
    /// The hash of the token of the session that ends.
    pub before: Option<String>,
}

/// The account of whom a provider knows so; `None` if there is none.
///
/// # Errors
/// What the database reports.
pub fn with_identity(tx: &mut Tx<'_>, identity: &Identity) -> Result<Option<Account>, DbError> {
    let Identity { issuer, subject } = identity;
    let values = params![issuer.as_str(), subject.as_str()];
    let found = account::load(tx, "issuer = $1 AND subject = $2", values)?;
    Ok(found.map(|(account, _)| account))
}

/// Signs somebody in for whom a provider vouches. What the provider says of them is true of the account from then on.
pub(super) fn sign_in(
    tx: &mut Tx<'_>,
    ctx: &Context<'_>,
    arrival: &Arrival,
) -> Result<(Session, Account), AccountError> {
    let account = match with_identity(tx, &arrival.identity)? {
        Some(account) if account.disabled => return Err(AccountError::SignIn),
        Some(account) => {
            let changes = AccountChanges {
                display_name: Some(arrival.display_name.clone()),
                email: Some(arrival.email.clone()),
                role: Some(arrival.role.clone()),
                disabled: None,
            };
            account::update(tx, ctx, &account.id, &changes)?
        }
        None => {
            let new = NewAccount {
                name: arrival.name.clone(),
                display_name: arrival.display_name.clone(),
                email: arrival.email.clone(),
                role: arrival.role.clone(),
                password_hash: None,
            };
            let account = account::create(tx, ctx, &new)?;
            link(tx, ctx, &account.id, &arrival.identity)?
        }
    };
    // Whoever arrives signs in; what the provider says was carried out by the hub.
    let principal = Principal::Account {
        id: account.id.clone(),
    };
    let caller = Caller::from(principal).from_there(ctx.caller.origin.clone());
    let own = Context {
        caller: &caller,
        ..*ctx
    };
    let account = account::note_sign_in(tx, &own, &account)?;
    if let Some(before) = &arrival.before {
        sessions::replace(tx, before)?;
    }
    let session = sessions::begin(tx, &own, &account.id, &arrival.session)?;
    Ok((session, account))
}

/// Gives an account to whom a provider knows so. The audit log names the provider only: some of them have addresses of
/// people for subjects.
pub(super) fn link(
    tx: &mut Tx<'_>,
    ctx: &Context<'_>,
    id: &str,
    identity: &Identity,
) -> Result<Account, AccountError> {
    let Identity { issuer, subject } = identity;
    if subject.is_empty() || subject.len() > 255 {
        return Err(AccountError::invalid("subject", "must have 1 to 255 characters"));
    }
    let before = account::open(tx, ctx, id)?;
    match with_identity(tx, identity)? {
        Some(other) if other.id == before.id => return Ok(before),
        Some(other) => {
            let reason = format!("is that of the account {}", other.name);
            return Err(AccountError::invalid("subject", reason));
        }
        None => {}
    }
    tx.execute(
        "UPDATE accounts SET issuer = $2, subject = $3, password_hash = NULL, must_change_password = $4,
                             update_time = $5
         WHERE id = $1",
        params![
            id,
            issuer.as_str(),
            subject.as_str(),
            false,
            ctx.next_version(before.update_time)
        ],
    )?;
    sessions::forget(tx, id)?;
    let after = account::existing(tx, id)?;
    let told = serde_json::Map::from_iter([("issuer".to_owned(), issuer.as_str().into())]);
    account::tell(tx, ctx, "link_account", &after, None, Some(told))?;
    Ok(after)
}
