//! `rollcall account`, `rollcall token` and `rollcall session`.

use std::process::ExitCode;

use anyhow::{Result, bail};
use serde_json::json;

use super::args::{Account as AccountVerb, RoleArgs, Session as SessionVerb, Token as TokenVerb};
use super::caller::caller;
use super::failure::Refusal;
use super::output::{Output, counted, note, time};
use super::password;
use crate::access::Role;
use crate::accounts::sessions::{self, Lifetime, Session};
use crate::accounts::tokens::{self, ApiToken, Term};
use crate::accounts::{self, Account, AccountChanges, AccountError, Command, Identity, NewAccount};
use crate::hub::Hub;
use crate::secret::ExposeSecret as _;
use crate::signin::manage::{self, Fresh};

async fn find(hub: &Hub, account: String) -> Result<Account> {
    Ok(hub.db.read(move |tx| accounts::find(tx, &account)).await?)
}

async fn role(hub: &Hub, args: RoleArgs) -> Result<Role> {
    Ok(manage::role(hub, args.role, args.app).await?)
}

/// A role for people: `operator`, `application_owner of app_…`.
fn shown_role(role: &Role) -> String {
    let name = role.name().as_str();
    match role.applications() {
        None => name.to_owned(),
        Some(applications) if applications.is_empty() => format!("{name} of nothing that is left"),
        Some(applications) => {
            let applications: Vec<&str> = applications.iter().map(String::as_str).collect();
            format!("{name} of {}", applications.join(", "))
        }
    }
}

pub(super) async fn account(
    hub: &Hub,
    out: &Output,
    lifetime: Lifetime,
    provider: Option<&str>,
    verb: AccountVerb,
) -> Result<ExitCode> {
    match verb {
        AccountVerb::Create {
            name,
            role: role_args,
            display_name,
            email,
            password_stdin,
        } => {
            let new = NewAccount {
                name,
                display_name,
                email,
                role: role(hub, role_args).await?,
                password_hash: None,
            };
            let chosen = match password_stdin {
                true => Some(password::ask_for().await?),
                false => None,
            };
            fresh(out, manage::create(hub, caller(), new, chosen).await?);
        }
        AccountVerb::List => {
            let all = hub.db.read(accounts::list).await?;
            out.show(&all, || all.iter().map(line_of_account).collect());
        }
        AccountVerb::Show { account } => {
            let account = find(hub, account).await?;
            let (id, now) = (account.id.clone(), hub.clock.now());
            let sessions = hub
                .db
                .read(move |tx| sessions::list(tx, Some(&id), now, lifetime))
                .await?;
            out.show(&json!({ "account": account, "sessions": sessions }), || {
                page_of(&account, &sessions)
            });
        }
        AccountVerb::SetRole { account, role: args } => {
            let role = Some(role(hub, args).await?);
            let changes = AccountChanges {
                role,
                ..AccountChanges::default()
            };
            update(hub, out, account, changes).await?;
        }
        AccountVerb::Disable { account } => switch(hub, out, account, true).await?,
        AccountVerb::Enable { account } => switch(hub, out, account, false).await?,
        AccountVerb::ResetPassword { account } => {
            let account = find(hub, account).await?;
            fresh(out, manage::reset_password(hub, caller(), &account).await?);
        }
        AccountVerb::Link {
            account,
            subject,
            issuer,
        } => {
            let Some(issuer) = issuer.or_else(|| provider.map(str::to_owned)) else {
                bail!("no provider is configured (access.oidc.issuer); name one with --issuer");
            };
            let id = find(hub, account).await?.id;
            let identity = Identity { issuer, subject };
            let linked = hub
                .apply_account(caller(), Command::Link { id, identity })
                .await?;
            let account = linked.account()?;
            out.show(&account, || line_of_account(&account));
        }
        AccountVerb::Delete { account, confirm } => {
            let Account { id, name, .. } = find(hub, account).await?;
            if !confirm {
                bail!(Refusal::unconfirmed(format!("this deletes the account {name}")));
            }
            let deleted = hub.apply_account(caller(), Command::Delete { id }).await?;
            let account = deleted.account()?;
            out.show(&json!({ "deleted": account.id }), || format!("{name} is deleted"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn update(hub: &Hub, out: &Output, account: String, changes: AccountChanges) -> Result<()> {
    let id = find(hub, account).await?.id;
    let applied = hub
        .apply_account(caller(), Command::Update { id, changes })
        .await?;
    let account = applied.account()?;
    out.show(&account, || line_of_account(&account));
    Ok(())
}

async fn switch(hub: &Hub, out: &Output, account: String, disabled: bool) -> Result<()> {
    let changes = AccountChanges {
        disabled: Some(disabled),
        ..AccountChanges::default()
    };
    update(hub, out, account, changes).await
}

/// Shows an account that has just got its password.
fn fresh(out: &Output, fresh: Fresh) {
    let Fresh {
        account,
        one_time_password,
    } = fresh;
    let password = one_time_password
        .as_ref()
        .map(|password| password.expose_secret());
    let shown = json!({ "account": account, "oneTimePassword": password });
    out.show(&shown, || {
        let mut text = line_of_account(&account);
        if let Some(password) = password {
            text.push_str(&format!(
                "one-time password  {password}\n                   (shown only now; it has to be changed at the first \
                 sign-in)\n"
            ));
        }
        text
    });
}

fn state(account: &Account) -> &'static str {
    match (account.disabled, account.must_change_password) {
        (true, _) => "disabled",
        (false, true) => "has to change the password",
        (false, false) => "enabled",
    }
}

fn line_of_account(account: &Account) -> String {
    format!(
        "{}  {:<20} {}, {}, {}\n",
        account.id,
        account.name,
        shown_role(&account.role),
        state(account),
        match account.last_sign_in {
            Some(at) => format!("last signed in {}", time(at)),
            None => "never signed in".to_owned(),
        }
    )
}

/// How somebody signs in to an account.
fn signs_in(account: &Account) -> String {
    match &account.identity {
        Some(identity) => format!("at {} as {}", identity.issuer, identity.subject),
        None if account.password_set => "with a password".to_owned(),
        None => "nowhere".to_owned(),
    }
}

fn page_of(account: &Account, sessions: &[Session]) -> String {
    let or_nothing = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let mut text = format!(
        "{}  {}\nname for people {}\nemail address   {}\nrole            {}\nstate           {}\nsigns in        {}\n\
         created         {}\nlast signed in  {}\nsessions        {}\n",
        account.id,
        account.name,
        or_nothing(&account.display_name),
        or_nothing(&account.email),
        shown_role(&account.role),
        state(account),
        signs_in(account),
        time(account.create_time),
        account.last_sign_in.map_or_else(|| "never".to_owned(), time),
        sessions.len()
    );
    for session in sessions {
        text.push_str(&format!("    {}", line_of_session(session)));
    }
    text
}

pub(super) async fn token(hub: &Hub, out: &Output, verb: TokenVerb) -> Result<ExitCode> {
    match verb {
        TokenVerb::Create {
            name,
            role: role_args,
            days,
            never,
        } => {
            let role = role(hub, role_args).await?;
            let term = if never { Term::Never } else { Term::Days(days) };
            let (token, secret) = manage::create_token(hub, caller(), name, role, term).await?;
            let secret = secret.expose_secret();
            out.show(&json!({ "token": token, "secret": secret }), || {
                format!(
                    "{}token  {secret}\n       (shown only now)\n",
                    line_of_token(&token, hub.clock.now())
                )
            });
        }
        TokenVerb::List => {
            let all = hub.db.read(tokens::list).await?;
            let now = hub.clock.now();
            out.show(&all, || {
                all.iter().map(|token| line_of_token(token, now)).collect()
            });
        }
        TokenVerb::Revoke { token } => {
            let id = hub.db.read(move |tx| tokens::find(tx, &token)).await?.id;
            let revoked = hub.apply_account(caller(), Command::RevokeToken { id }).await?;
            let token = revoked.token()?;
            out.show(&json!({ "revoked": token.id }), || {
                format!("{} is good for nothing any more", token.name)
            });
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn line_of_token(token: &ApiToken, now: i64) -> String {
    format!(
        "{}  {:<20} {}…  {}, {}, {}\n",
        token.id,
        token.name,
        token.prefix,
        shown_role(&token.role),
        match token.expires_at {
            None => "never expires".to_owned(),
            Some(at) if at <= now => format!("EXPIRED {}", time(at)),
            Some(at) => format!("expires {}", time(at)),
        },
        match token.last_used {
            None => "never used".to_owned(),
            Some(at) => format!("last used {}", time(at)),
        }
    )
}

pub(super) async fn session(
    hub: &Hub,
    out: &Output,
    lifetime: Lifetime,
    verb: SessionVerb,
) -> Result<ExitCode> {
    let now = hub.clock.now();
    match verb {
        SessionVerb::List { account } => {
            let id = match account {
                Some(account) => Some(find(hub, account).await?.id),
                None => None,
            };
            let (sessions, accounts) = hub
                .db
                .read(move |tx| {
                    let sessions = sessions::list(tx, id.as_deref(), now, lifetime)?;
                    Ok::<_, rollcall_db::DbError>((sessions, accounts::list(tx)?))
                })
                .await?;
            let name = |id: &str| accounts.iter().find(|account| account.id == id);
            out.show(&sessions, || {
                let lines = sessions.iter().map(|session| {
                    let name = name(&session.account_id).map_or("", |account| &account.name);
                    format!("{name:<20} {}", line_of_session(session))
                });
                lines.collect()
            });
            if sessions.is_empty() && !out.json {
                note("nobody is signed in");
            }
        }
        SessionVerb::End { session, account } => {
            let account_id = match (&session, account) {
                (_, Some(account)) => find(hub, account).await?.id,
                (session, None) => {
                    let wanted = session.clone().unwrap_or_default();
                    let all = hub
                        .db
                        .read(move |tx| sessions::list(tx, None, now, lifetime))
                        .await?;
                    let found = all.into_iter().find(|it| it.id == wanted);
                    let missing = || AccountError::NotFound {
                        what: "session",
                        text: wanted.clone(),
                    };
                    found.ok_or_else(missing)?.account_id
                }
            };
            let command = match session {
                Some(id) => Command::EndSession { id, account_id },
                None => Command::EndSessions { account_id },
            };
            let ended = hub.apply_account(caller(), command).await?.ended();
            out.show(&json!({ "ended": ended }), || {
                format!("{} ended", counted(ended, "session"))
            });
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn line_of_session(session: &Session) -> String {
    format!(
        "{}  signed in {}, last seen {}, from {}, {}\n",
        session.id,
        time(session.created_at),
        time(session.seen_at),
        session.address.as_deref().unwrap_or("an unknown address"),
        session.user_agent.as_deref().unwrap_or("an unknown program")
    )
}
