//! What takes more than a command: accounts with their first passwords, tokens with their texts. Both are shown once.

use std::sync::Arc;

use rollcall_db::DbError;

use crate::access::{Caller, Role, RoleName};
use crate::accounts::tokens::{self, ApiToken, NewApiToken, Term};
use crate::accounts::{self, Account, AccountError, Applied, Command, NewAccount, password};
use crate::application::{ApplicationError, store};
use crate::hub::Hub;
use crate::secret::{self, ExposeSecret as _, NewToken, SecretString};

/// The name of the account that the first start makes.
pub const FIRST: &str = "admin";

/// An account that has been made or has got another password, which is shown once if nobody chose it.
#[derive(Debug)]
pub struct Fresh {
    /// The account.
    pub account: Account,
    /// Its one-time password.
    pub one_time_password: Option<SecretString>,
}

/// What the first start finds.
#[derive(Debug)]
pub enum First {
    /// There was no account. The first administrator is made.
    Made(Fresh),
    /// Nobody has signed in yet to the account with this name.
    Waits(String),
    /// Somebody has.
    Done,
}

/// The role of this name. Applications may be named, or written by their ids.
///
/// # Errors
/// [`AccountError`].
pub async fn role(hub: &Hub, name: RoleName, applications: Vec<String>) -> Result<Role, AccountError> {
    if name != RoleName::ApplicationOwner && !applications.is_empty() {
        let reason = "go with the role application_owner alone";
        return Err(AccountError::invalid("applications", reason));
    }
    let found = hub.db.read(move |tx| {
        let found = applications.iter().map(|text| Ok(store::find(tx, text)?.id));
        found.collect::<Result<_, ApplicationError>>()
    });
    Ok(Role::of(name, found.await?))
}

/// Makes an account, with this password or, if none is given, with a one-time password. Either has to be changed at the
/// first sign-in.
///
/// # Errors
/// [`AccountError`]; nothing is made then.
pub async fn create(
    hub: &Hub,
    caller: impl Into<Caller>,
    new: NewAccount,
    chosen: Option<SecretString>,
) -> Result<Fresh, AccountError> {
    let (hash, one_time_password) = first_password(hub, &new.name, chosen).await?;
    let new = NewAccount {
        password_hash: Some(hash),
        ..new
    };
    let account = hub.apply_account(caller, Command::Create(new)).await?.account()?;
    Ok(Fresh {
        account,
        one_time_password,
    })
}

/// Gives an account another one-time password. All its sessions end.
///
/// # Errors
/// [`AccountError`]; nothing is changed then.
pub async fn reset_password(
    hub: &Hub,
    caller: impl Into<Caller>,
    account: &Account,
) -> Result<Fresh, AccountError> {
    let (hash, one_time_password) = first_password(hub, &account.name, None).await?;
    let id = account.id.clone();
    let reset = hub
        .apply_account(caller, Command::ResetPassword { id, hash })
        .await?;
    Ok(Fresh {
        account: reset.account()?,
        one_time_password,
    })
}

/// Makes the first administrator if there is no account, with this password or a one-time password.
///
/// # Errors
/// [`AccountError`].
pub async fn first_start(hub: &Hub, chosen: Option<SecretString>) -> Result<First, AccountError> {
    let looked = hub.db.read(|tx| {
        let any = accounts::any(tx)?;
        Ok::<_, DbError>((any, accounts::nobody_signed_in(tx)?))
    });
    match looked.await? {
        (true, Some(name)) => return Ok(First::Waits(name)),
        (true, None) => return Ok(First::Done),
        (false, _) => {}
    }
    let (hash, one_time_password) = first_password(hub, FIRST, chosen).await?;
    let new = NewAccount {
        name: FIRST.to_owned(),
        display_name: None,
        email: None,
        role: Role::Administrator,
        password_hash: Some(hash),
    };
    let create = Command::CreateFirst(new);
    Ok(match hub.apply_account(Caller::system("start"), create).await? {
        // Another node was faster.
        Applied::Nothing => First::Waits(FIRST.to_owned()),
        applied => First::Made(Fresh {
            account: applied.account()?,
            one_time_password,
        }),
    })
}

/// Makes a token. Its text is shown once.
///
/// # Errors
/// [`AccountError`]; nothing is made then.
pub async fn create_token(
    hub: &Hub,
    caller: impl Into<Caller>,
    name: String,
    role: Role,
    term: Term,
) -> Result<(ApiToken, SecretString), AccountError> {
    let token = NewToken::generate(tokens::PREFIX, &*hub.random);
    let new = NewApiToken {
        name,
        prefix: tokens::visible(token.text.expose_secret()),
        hash: token.hash,
        role,
        expires_at: term.end(hub.clock.now())?,
        signing_secret: None,
    };
    make_token(hub, caller, new, token.text).await
}

/// Makes an access key, whose id is the token's. Its secret is shown once.
///
/// # Errors
/// [`AccountError`]; nothing is made then.
pub async fn create_access_key(
    hub: &Hub,
    caller: impl Into<Caller>,
    name: String,
    role: Role,
    term: Term,
) -> Result<(ApiToken, SecretString), AccountError> {
    let secret = NewToken::generate(ACCESS_KEY, &*hub.random).text;
    let new = NewApiToken {
        name,
        prefix: tokens::visible(secret.expose_secret()),
        // Nobody can show what has this hash: an access key signs, and opens nothing by being shown.
        hash: NewToken::generate(tokens::PREFIX, &*hub.random).hash,
        role,
        expires_at: term.end(hub.clock.now())?,
        signing_secret: Some(secret.clone()),
    };
    make_token(hub, caller, new, secret).await
}

async fn make_token(
    hub: &Hub,
    caller: impl Into<Caller>,
    new: NewApiToken,
    shown: SecretString,
) -> Result<(ApiToken, SecretString), AccountError> {
    let made = hub.apply_account(caller, Command::CreateToken(new)).await?;
    Ok((made.token()?, shown))
}

/// How the secret of each access key begins.
const ACCESS_KEY: &str = "rak_";

/// The hash of the password that was chosen, or of a one-time password, which is returned too.
async fn first_password(
    hub: &Hub,
    name: &str,
    chosen: Option<SecretString>,
) -> Result<(String, Option<SecretString>), AccountError> {
    if let Some(chosen) = &chosen {
        password::check(chosen, name)?;
    }
    let random = Arc::clone(&hub.random);
    let hashing = tokio::task::spawn_blocking(move || match chosen {
        Some(chosen) => Ok((secret::hash_password(&chosen, &*random)?, None)),
        None => {
            let one_time = password::one_time(&*random);
            Ok((secret::hash_password(&one_time, &*random)?, Some(one_time)))
        }
    });
    hashing.await.map_err(|error| DbError::Other(error.to_string()))?
}
