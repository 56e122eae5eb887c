//! `rollcall account`, `rollcall token` and `rollcall session`.

use std::process::ExitCode;

use anyhow::{Result, bail};
use serde_json::json;

use super::args::{Account as AccountVerb, RoleArgs, Session as SessionVerb, Token as TokenVerb};
use super::backend::{AccountChange, Backend, Newcomer, WrittenRole};
use super::failure::Refusal;
use super::output::{Output, counted, note, time};
use super::password;
use crate::access::Role;
use crate::accounts::Account;
use crate::accounts::sessions::Session;
use crate::accounts::tokens::ApiToken;
use crate::api::{FreshAccount, FreshToken};

impl From<RoleArgs> for WrittenRole {
    fn from(args: RoleArgs) -> Self {
        Self {
            role: args.role,
            applications: args.app,
        }
    }
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

pub(super) async fn account(backend: &Backend, out: &Output, verb: AccountVerb) -> Result<ExitCode> {
    match verb {
        AccountVerb::Create {
            name,
            role,
            display_name,
            email,
            password_stdin,
        } => {
            let password = match password_stdin {
                true => Some(password::ask_for().await?),
                false => None,
            };
            let new = Newcomer {
                name,
                display_name,
                email,
                role: role.into(),
                password,
            };
            fresh(out, &backend.create_account(new).await?);
        }
        AccountVerb::List => {
            let all = backend.accounts().await?;
            out.show(&all, || all.iter().map(line_of_account).collect());
        }
        AccountVerb::Show { account } => {
            let account = backend.account(&account).await?;
            let sessions = backend.sessions_of(&account.id).await?;
            out.show(&json!({ "account": account, "sessions": sessions }), || {
                page_of(&account, &sessions)
            });
        }
        AccountVerb::SetRole { account, role } => {
            update(backend, out, &account, AccountChange::Role(role.into())).await?;
        }
        AccountVerb::Disable { account } => {
            update(backend, out, &account, AccountChange::Disabled(true)).await?;
        }
        AccountVerb::Enable { account } => {
            update(backend, out, &account, AccountChange::Disabled(false)).await?;
        }
        AccountVerb::ResetPassword { account } => fresh(out, &backend.reset_password(&account).await?),
        AccountVerb::Link {
            account,
            subject,
            issuer,
        } => {
            let account = backend.link(&account, issuer, subject).await?;
            out.show(&account, || line_of_account(&account));
        }
        AccountVerb::Delete { account, confirm } => {
            let Account { id, name, .. } = backend.account(&account).await?;
            if !confirm {
                bail!(Refusal::unconfirmed(format!("this deletes the account {name}")));
            }
            let account = backend.delete_account(&id).await?;
            out.show(&json!({ "deleted": account.id }), || format!("{name} is deleted"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn update(backend: &Backend, out: &Output, account: &str, change: AccountChange) -> Result<()> {
    let account = backend.update_account(account, change).await?;
    out.show(&account, || line_of_account(&account));
    Ok(())
}

/// Shows an account that has just got its password.
fn fresh(out: &Output, fresh: &FreshAccount) {
    let FreshAccount {
        account,
        one_time_password: password,
    } = fresh;
    let shown = json!({ "account": account, "oneTimePassword": password });
    out.show(&shown, || {
        let mut text = line_of_account(account);
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

pub(super) async fn token(backend: &Backend, out: &Output, verb: TokenVerb) -> Result<ExitCode> {
    match verb {
        TokenVerb::Create {
            name,
            role,
            days,
            never,
            access_key,
        } => {
            let days = (!never).then_some(days);
            let made = backend.create_token(name, role.into(), days, access_key);
            let FreshToken { token, secret } = made.await?;
            out.show(&json!({ "token": token, "secret": secret }), || {
                let shown = match access_key {
                    false => format!("token  {secret}\n       (shown only now)\n"),
                    true => format!(
                        "access key id      {}\naccess key secret  {secret}\n                   (shown only now)\n",
                        token.id
                    ),
                };
                format!("{}{shown}", line_of_token(&token, backend.now()))
            });
        }
        TokenVerb::List => {
            let all = backend.tokens().await?;
            if all.is_empty() && !out.json {
                note("no token; rollcall token create NAME --role ROLE makes one");
            }
            let now = backend.now();
            out.show(&all, || {
                all.iter().map(|token| line_of_token(token, now)).collect()
            });
        }
        TokenVerb::Revoke { token } => {
            let token = backend.revoke_token(&token).await?;
            out.show(&json!({ "revoked": token.id }), || {
                format!("{} is good for nothing any more", token.name)
            });
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn line_of_token(token: &ApiToken, now: i64) -> String {
    format!(
        "{}  {:<20} {}…  {}{}, {}, {}\n",
        token.id,
        token.name,
        token.prefix,
        if token.access_key { "access key, " } else { "" },
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

pub(super) async fn session(backend: &Backend, out: &Output, verb: SessionVerb) -> Result<ExitCode> {
    match verb {
        SessionVerb::List { account } => {
            let sessions = match account {
                Some(account) => backend.sessions_of(&backend.account(&account).await?.id).await?,
                None => backend.sessions().await?,
            };
            let accounts = backend.accounts().await?;
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
            let ended = backend.end_sessions(session, account).await?;
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
