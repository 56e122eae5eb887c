//! Signing in and out, and one's own sessions.

use std::sync::Arc;

use axum::Json;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use serde::{Deserialize, Serialize};
use strum::VariantArray as _;

use super::accounts::{self, Ended};
use crate::access::{Permission, Role};
use crate::accounts::sessions::{self, Session};
use crate::accounts::tokens::ApiToken;
use crate::accounts::{Account, Command};
use crate::api::door::Door;
use crate::api::extract::{Body, Path};
use crate::api::paging::{Pages, Paging};
use crate::api::routes::Routes;
use crate::api::{Api, ApiError, Shown, browser};
use crate::secret::SecretString;
use crate::signin::{Access, Denied, SignedIn};

/// The routes.
pub(super) fn add(routes: Routes<Arc<Api>>) -> Routes<Arc<Api>> {
    routes
        .get(
            "/whoami",
            Permission::OwnIdentity,
            "Says who asks, and what that permits.",
            whoami,
        )
        .post(
            "/session",
            Permission::Anybody,
            "Signs in with a name and a password; the answer sets the cookie.",
            sign_in,
        )
        .get(
            "/session",
            Permission::OwnSignIn,
            "Shows the session of the cookie, and the token that changes need.",
            show_session,
        )
        .delete("/session", Permission::OwnSignIn, "Signs out.", sign_out)
        .post(
            "/session/password",
            Permission::OwnSignIn,
            "Changes one's own password; all sessions end, and the answer sets the cookie of a new one.",
            change_password,
        )
        .get(
            "/sessions",
            Permission::OwnAccount,
            "Lists one's own sessions, the newest first.",
            list_sessions,
        )
        .delete(
            "/sessions/{id}",
            Permission::OwnAccount,
            "Ends one of one's own sessions.",
            end_session,
        )
}

/// A session as its owner sees it.
#[derive(Serialize, schemars::JsonSchema)]
#[schemars(rename = "SignedIn")]
#[serde(rename_all = "camelCase")]
struct ShownSession {
    account: Account,
    session: Session,
    csrf_token: String,
}

impl ShownSession {
    fn of(access: &Access) -> Result<Self, Denied> {
        let (account, session) = access.session().ok_or(Denied::NoAccount)?;
        Ok(Self {
            account: account.clone(),
            session: session.clone(),
            csrf_token: access.csrf_token().unwrap_or_default().to_owned(),
        })
    }
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Credentials {
    name: String,
    #[schemars(with = "String")]
    password: SecretString,
}

type WithCookie<T> = Result<(HeaderMap, Json<T>), ApiError>;

fn begun(api: &Api, parts: &Parts, signed_in: &SignedIn) -> WithCookie<ShownSession> {
    let cookie = browser::set_cookie(parts, &signed_in.token, api.sign_in.lifetime().absolute);
    Ok((cookie, Json(ShownSession::of(&signed_in.access)?)))
}

async fn sign_in(
    axum::extract::State(api): axum::extract::State<Arc<Api>>,
    parts: Parts,
    Body(Credentials { name, password }): Body<Credentials>,
) -> WithCookie<ShownSession> {
    browser::check_sign_in(&parts)?;
    let (visitor, shown) = (browser::visitor(&parts), browser::session_token(&parts));
    let signed_in = api.sign_in.sign_in(&name, password, &visitor, shown).await?;
    begun(&api, &parts, &signed_in)
}

async fn show_session(api: Door) -> Shown<ShownSession> {
    Ok(Json(ShownSession::of(&api.access)?))
}

async fn sign_out(api: Door, parts: Parts) -> WithCookie<Ended> {
    api.access.session().ok_or(Denied::NoAccount)?;
    api.sign_in.sign_out(&api.access, browser::origin(&parts)).await?;
    Ok((browser::forget_cookie(&parts), Json(Ended { ended: 1 })))
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Change {
    #[schemars(with = "String")]
    password: SecretString,
    #[schemars(with = "String")]
    new_password: SecretString,
}

async fn change_password(api: Door, parts: Parts, Body(change): Body<Change>) -> WithCookie<ShownSession> {
    let (account, _) = api.access.session().ok_or(Denied::NoAccount)?;
    let visitor = browser::visitor(&parts);
    let changing = api
        .sign_in
        .change_password(account, change.password, change.new_password, &visitor);
    begun(&api, &parts, &changing.await?)
}

/// One of several sessions.
#[derive(Serialize, schemars::JsonSchema)]
#[schemars(rename = "ListedSession")]
struct Listed {
    #[serde(flatten)]
    session: Session,
    /// Whether it is the one that asks.
    current: bool,
}

async fn list_sessions(api: Door, paging: Paging<String>) -> Pages<Listed> {
    let (account, own) = api.access.session().ok_or(Denied::NoAccount)?;
    let (id, lifetime) = (account.id.clone(), api.sign_in.lifetime());
    let (hub, now) = (&api.shared.hub, api.shared.hub.clock.now());
    let sessions = hub
        .db
        .read(move |tx| sessions::list(tx, Some(&id), now, lifetime))
        .await?;
    let listed = sessions.into_iter().map(|session| Listed {
        current: session.id == own.id,
        session,
    });
    Ok(paging.page_of_all_backwards(listed.collect(), |it| it.session.id.clone()))
}

async fn end_session(api: Door, Path(id): Path<String>) -> Shown<Ended> {
    let (account, _) = api.access.session().ok_or(Denied::NoAccount)?;
    let account_id = account.id.clone();
    accounts::end(&api, Command::EndSession { id, account_id }).await
}

/// Who asks, and what that permits.
#[derive(Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
struct WhoAmI {
    principal: String,
    #[serde(flatten)]
    role: Role,
    permissions: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<Account>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<ApiToken>,
}

async fn whoami(api: Door) -> Shown<WhoAmI> {
    let access = &api.access;
    let permitted = Permission::VARIANTS
        .iter()
        .filter(|permission| access.allows(**permission).is_ok());
    Ok(Json(WhoAmI {
        principal: access.principal.to_string(),
        role: access.role.clone(),
        permissions: permitted.map(|permission| permission.as_str()).collect(),
        account: access.session().map(|(account, _)| account.clone()),
        token: access.token().cloned(),
    }))
}
