//! Accounts, tokens and sessions.

use anyhow::{Result, bail};
use serde_json::json;

use super::{Backend, Database, database_only};
use crate::access::{Role, RoleName};
use crate::accounts::sessions::{self, Session};
use crate::accounts::tokens::{self, ApiToken, Term};
use crate::accounts::{self, Account, AccountChanges, AccountError, Command, Identity, NewAccount};
use crate::api::{Ended, FreshAccount, FreshToken};
use crate::cli::caller::caller;
use crate::secret::{ExposeSecret as _, SecretString};
use crate::signin::manage;

/// A role as people write it.
pub(in crate::cli) struct WrittenRole {
    pub(in crate::cli) role: RoleName,
    /// The applications of their owner, by id or name.
    pub(in crate::cli) applications: Vec<String>,
}

/// An account that is to be made.
pub(in crate::cli) struct Newcomer {
    pub(in crate::cli) name: String,
    pub(in crate::cli) display_name: Option<String>,
    pub(in crate::cli) email: Option<String>,
    pub(in crate::cli) role: WrittenRole,
    /// The first password; `None`: one is made, and shown once.
    pub(in crate::cli) password: Option<SecretString>,
}

/// What changes of an account.
pub(in crate::cli) enum AccountChange {
    Role(WrittenRole),
    Disabled(bool),
}

async fn role(database: &Database, written: WrittenRole) -> Result<Role> {
    let WrittenRole { role, applications } = written;
    Ok(manage::role(&database.hub, role, applications).await?)
}

impl Backend {
    /// An account, by its id or name.
    pub(in crate::cli) async fn account(&self, name: &str) -> Result<Account> {
        match self {
            Self::Database(database) => {
                let name = name.to_owned();
                Ok(database.hub.db.read(move |tx| accounts::find(tx, &name)).await?)
            }
            Self::Server(client) => client.get(&["accounts", name]).answer().await,
        }
    }

    /// All accounts.
    pub(in crate::cli) async fn accounts(&self) -> Result<Vec<Account>> {
        match self {
            Self::Database(database) => Ok(database.hub.db.read(accounts::list).await?),
            Self::Server(client) => client.list(client.get(&["accounts"]), usize::MAX).await,
        }
    }

    /// The sessions of an account, the newest first.
    pub(in crate::cli) async fn sessions_of(&self, account_id: &str) -> Result<Vec<Session>> {
        match self {
            Self::Database(database) => sessions_in(database, Some(account_id.to_owned())).await,
            Self::Server(client) => {
                let sessions = client.get(&["accounts", account_id, "sessions"]);
                client.list(sessions, usize::MAX).await
            }
        }
    }

    /// All sessions, the newest first.
    pub(in crate::cli) async fn sessions(&self) -> Result<Vec<Session>> {
        match self {
            Self::Database(database) => sessions_in(database, None).await,
            Self::Server(_) => {
                let mut all = Vec::new();
                for account in self.accounts().await? {
                    all.extend(self.sessions_of(&account.id).await?);
                }
                all.sort_by(|one, other| other.id.cmp(&one.id));
                Ok(all)
            }
        }
    }

    /// Makes an account.
    pub(in crate::cli) async fn create_account(&self, new: Newcomer) -> Result<FreshAccount> {
        match self {
            Self::Database(database) => {
                let account = NewAccount {
                    name: new.name,
                    display_name: new.display_name,
                    email: new.email,
                    role: role(database, new.role).await?,
                    password_hash: None,
                };
                let made = manage::create(&database.hub, caller(), account, new.password);
                Ok(made.await?.into())
            }
            Self::Server(client) => {
                let body = json!({
                    "name": new.name,
                    "displayName": new.display_name,
                    "email": new.email,
                    "role": new.role.role,
                    "applications": new.role.applications,
                    "password": new.password.as_ref().map(|password| password.expose_secret()),
                });
                client.post(&["accounts"]).body(&body)?.once().answer().await
            }
        }
    }

    /// Changes an account.
    pub(in crate::cli) async fn update_account(&self, name: &str, change: AccountChange) -> Result<Account> {
        match self {
            Self::Database(database) => {
                let (role, disabled) = match change {
                    AccountChange::Role(written) => (Some(role(database, written).await?), None),
                    AccountChange::Disabled(disabled) => (None, Some(disabled)),
                };
                let changes = AccountChanges {
                    role,
                    disabled,
                    ..AccountChanges::default()
                };
                let id = self.account(name).await?.id;
                let update = Command::Update { id, changes };
                Ok(database.hub.apply_account(caller(), update).await?.account()?)
            }
            Self::Server(client) => {
                let body = match change {
                    AccountChange::Role(WrittenRole { role, applications }) => {
                        json!({ "role": role, "applications": applications })
                    }
                    AccountChange::Disabled(disabled) => json!({ "disabled": disabled }),
                };
                client.patch(&["accounts", name]).body(&body)?.answer().await
            }
        }
    }

    /// Gives an account another one-time password.
    pub(in crate::cli) async fn reset_password(&self, name: &str) -> Result<FreshAccount> {
        match self {
            Self::Database(database) => {
                let account = self.account(name).await?;
                let reset = manage::reset_password(&database.hub, caller(), &account);
                Ok(reset.await?.into())
            }
            Self::Server(client) => client.post(&["accounts", name, "reset-password"]).answer().await,
        }
    }

    /// Lets the owner of an account sign in at a provider: this one, or else that of the configuration.
    pub(in crate::cli) async fn link(
        &self,
        name: &str,
        issuer: Option<String>,
        subject: String,
    ) -> Result<Account> {
        let Self::Database(database) = self else {
            bail!(database_only("account link"));
        };
        let configured = database.config.access.oidc.issuer.clone();
        let Some(issuer) = issuer.or(configured) else {
            bail!("no provider is configured (access.oidc.issuer); name one with --issuer");
        };
        let id = self.account(name).await?.id;
        let identity = Identity { issuer, subject };
        let link = Command::Link { id, identity };
        Ok(database.hub.apply_account(caller(), link).await?.account()?)
    }

    /// Deletes an account.
    pub(in crate::cli) async fn delete_account(&self, id: &str) -> Result<Account> {
        match self {
            Self::Database(database) => {
                let delete = Command::Delete { id: id.to_owned() };
                Ok(database.hub.apply_account(caller(), delete).await?.account()?)
            }
            Self::Server(client) => client.delete(&["accounts", id]).answer().await,
        }
    }

    /// All tokens, without what is shown once.
    pub(in crate::cli) async fn tokens(&self) -> Result<Vec<ApiToken>> {
        match self {
            Self::Database(database) => Ok(database.hub.db.read(tokens::list).await?),
            Self::Server(client) => client.list(client.get(&["tokens"]), usize::MAX).await,
        }
    }

    /// Makes a token; `None`: it never expires.
    pub(in crate::cli) async fn create_token(
        &self,
        name: String,
        written: WrittenRole,
        days: Option<u32>,
        access_key: bool,
    ) -> Result<FreshToken> {
        match self {
            Self::Database(database) => {
                let role = role(database, written).await?;
                let term = days.map_or(Term::Never, Term::Days);
                let (hub, caller) = (&database.hub, caller());
                let (token, secret) = match access_key {
                    false => manage::create_token(hub, caller, name, role, term).await?,
                    true => manage::create_access_key(hub, caller, name, role, term).await?,
                };
                Ok(FreshToken {
                    token,
                    secret: secret.expose_secret().to_owned(),
                })
            }
            Self::Server(client) => {
                let body = json!({
                    "name": name,
                    "role": written.role,
                    "applications": written.applications,
                    "expiresInDays": days,
                    "neverExpires": days.is_none(),
                    "accessKey": access_key,
                });
                client.post(&["tokens"]).body(&body)?.once().answer().await
            }
        }
    }

    /// Makes a token good for nothing.
    pub(in crate::cli) async fn revoke_token(&self, name: &str) -> Result<ApiToken> {
        match self {
            Self::Database(database) => {
                let name = name.to_owned();
                let id = database.hub.db.read(move |tx| tokens::find(tx, &name)).await?.id;
                let revoke = Command::RevokeToken { id };
                Ok(database.hub.apply_account(caller(), revoke).await?.token()?)
            }
            Self::Server(client) => client.delete(&["tokens", name]).answer().await,
        }
    }

    /// Ends one session, or all of an account. Returns how many.
    pub(in crate::cli) async fn end_sessions(
        &self,
        session: Option<String>,
        account: Option<String>,
    ) -> Result<u64> {
        let account_id = match (account, &session) {
            (Some(account), _) => self.account(&account).await?.id,
            (None, session) => self.owner_of(session.as_deref().unwrap_or_default()).await?,
        };
        match self {
            Self::Database(database) => {
                let end = match session {
                    Some(id) => Command::EndSession { id, account_id },
                    None => Command::EndSessions { account_id },
                };
                Ok(database.hub.apply_account(caller(), end).await?.ended())
            }
            Self::Server(client) => {
                let mut path = vec!["accounts", account_id.as_str(), "sessions"];
                path.extend(session.as_deref());
                let ended: Ended = client.delete(&path).answer().await?;
                Ok(ended.ended)
            }
        }
    }

    /// The id of the account that a session belongs to.
    async fn owner_of(&self, session_id: &str) -> Result<String> {
        let mut all = self.sessions().await?.into_iter();
        let missing = || AccountError::NotFound {
            what: "session",
            text: session_id.to_owned(),
        };
        let found = all.find(|session| session.id == session_id);
        Ok(found.ok_or_else(missing)?.account_id)
    }
}

async fn sessions_in(database: &Database, account_id: Option<String>) -> Result<Vec<Session>> {
    let lifetime = database.config.maintenance_options().sessions;
    let now = database.hub.clock.now();
    let list = database
        .hub
        .db
        .read(move |tx| sessions::list(tx, account_id.as_deref(), now, lifetime));
    Ok(list.await?)
}
