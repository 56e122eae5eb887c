//! A hub with an organization, applications in every state, and what was sent to them: what the pages are looked at
//! with.

use std::collections::BTreeSet;
use std::time::Duration;

use rollcall::access::{Caller, Principal, Role};
use rollcall::accounts::tokens::Term;
use rollcall::application::developer::secrets::{self, ClientSecret, NewClientSecret};
use rollcall::application::{self, Application, Scope};
use rollcall::application::{DeveloperApiPatch, Grant};
use rollcall::clock::Millis;
use rollcall::connection::tokens::{self, ConnectionToken};
use rollcall::connection::{ConnectionError, users};
use rollcall::delivery::job::{self, Inventory, JobPosition, JobStatus, Phase, Tally};
use rollcall::delivery::ledger::{attempts, parked};
use rollcall::delivery::model::{Attempt, Exception, Parked, ParkedState, Source};
use rollcall::directory::{Command, NewGroup, NewUnit, NewUser, UserChanges};
use rollcall::hub::Hub;
use rollcall::signin::manage;
use rollcall_db::Value;
use rollcall_protocol::EventType;
use serde_json::json;

use crate::world::add_application;

/// The ids of what the pages are about.
pub(super) struct Sample {
    pub(super) wiki: String,
    pub(super) chat: String,
    pub(super) payroll: String,
    pub(super) unit: String,
    pub(super) user: String,
    pub(super) group: String,
    pub(super) attempt: i64,
    pub(super) account: String,
    pub(super) token: String,
    /// How the token begins.
    pub(super) token_begins: String,
    pub(super) access_key: String,
    pub(super) connection: String,
    pub(super) connection_token: String,
    /// How the connection's token begins.
    pub(super) connection_token_begins: String,
    pub(super) client_secret: String,
    /// How the application's client secret begins.
    pub(super) client_secret_begins: String,
    /// A user that came from the connection.
    pub(super) connected: String,
}

const MINUTE: Millis = 60_000;
const HOUR: Millis = 60 * MINUTE;
const DAY: Millis = 24 * HOUR;

fn somebody() -> Caller {
    let name = "ada".to_owned();
    Principal::Administrator { name }.into()
}

/// Applies a command. What comes next has a later id, so that pages list it behind: ids of one millisecond come in any
/// order.
async fn apply(hub: &Hub, command: Command) -> String {
    let id = hub.apply(somebody(), command).await.unwrap().id;
    tokio::time::sleep(Duration::from_millis(2)).await;
    id
}

async fn unit(hub: &Hub, name: &str, parent_id: &str) -> String {
    let new = NewUnit {
        name: name.into(),
        parent_id: parent_id.into(),
        ..NewUnit::default()
    };
    apply(hub, Command::CreateUnit(new)).await
}

async fn user(hub: &Hub, unit: &str, username: &str, name: &str, email: Option<&str>) -> String {
    let new = NewUser {
        username: username.into(),
        display_name: name.into(),
        email: email.map(str::to_owned),
        phone_region: Some("86".into()),
        phone_number: Some(format!("138{:08}", username.bytes().map(u64::from).sum::<u64>())),
        primary_organizational_unit_id: unit.into(),
        ..NewUser::default()
    };
    apply(hub, Command::CreateUser(new)).await
}

async fn app(hub: &Hub, name: &str, scope: Scope) -> Application {
    let url = "https://apps.example.com/rollcall/events?tenant=42";
    add_application(hub, name, url, None, scope).await
}

pub(super) async fn sql(
    hub: &Hub,
    statement: &'static str,
    id: &str,
    value: impl Fn() -> Value<'static> + Send + 'static,
) {
    let id = id.to_owned();
    hub.db
        .write(move |tx| tx.execute(statement, &[Value::from(id.as_str()), value()]))
        .await
        .unwrap();
}

pub(super) async fn attempt(hub: &Hub, id: &str, attempt: Attempt) -> i64 {
    let id = id.to_owned();
    hub.db
        .write(move |tx| {
            attempts::store(tx, &id, &attempt)?;
            Ok::<_, rollcall_db::DbError>(attempts::newest(tx, &id, 0, 1)?[0].0)
        })
        .await
        .unwrap()
}

pub(super) fn sent(source: Source, range: Option<(i64, i64)>, events: u32, at: Millis) -> Attempt {
    Attempt {
        started_at: at,
        latency_us: 42_300,
        outcome: "delivered".into(),
        http_status: Some(200),
        succeeded: events,
        ..Attempt::new(source, range, (0, 1), events as usize)
    }
}

/// A full synchronization that came to this end.
pub(super) async fn synchronized(
    hub: &Hub,
    application: &Application,
    at: Millis,
    end: impl FnOnce(&mut JobPosition),
) {
    let id = application.id.clone();
    let job_id = hub
        .write_as(somebody(), move |tx, ctx| job::request_full(tx, ctx, &id))
        .await
        .unwrap();
    let wanted = job_id.clone();
    let found = hub.db.read(move |tx| job::load(tx, &wanted)).await.unwrap();
    let mut position = found.unwrap();
    position.started_at = Some(at);
    position.statistics.organizational_units = tally(4, 4, 0, 0);
    position.statistics.users = tally(12_480, 12_478, 2, 0);
    position.statistics.groups = tally(96, 90, 0, 6);
    end(&mut position);
    let id = job_id.clone();
    hub.db
        .write(move |tx| job::store(tx, &position, position.ended_at.unwrap_or(at)))
        .await
        .unwrap();
    sql(
        hub,
        "UPDATE jobs SET created_at = $2 WHERE id = $1",
        &id,
        move || Value::from(at - 2_000),
    )
    .await;
}

fn tally(total: u64, success: u64, failed: u64, skipped: u64) -> Tally {
    Tally {
        total,
        success,
        failed,
        skipped,
        assumed: 0,
    }
}

pub(super) fn aside(event: &str, subject: &str, seq: i64, at: Millis) -> Parked {
    Parked {
        event_id: event.into(),
        event_type: EventType::UserUpdateInfo,
        subject_id: subject.into(),
        seq: Some(seq),
        event_time: at,
        record: None,
        state: ParkedState::Failed,
        attempts: 6,
        strikes: 6,
        next_try: at + 2 * HOUR,
        code: Some("invalid_department".into()),
        message: Some("department “Optics & Photonics” is not known here; create it first".into()),
    }
}

/// Waits until what happens next has another time than what happened before: of the same millisecond, nobody knows what was
/// first, and the audit log shows it in any order.
async fn another_moment(hub: &Hub) {
    let before = hub.clock.now();
    while hub.clock.now() == before {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
}

/// The developer API of an application, with a client secret that was used.
async fn client_secret(hub: &Hub, application_id: &str) -> ClientSecret {
    let id = application_id.to_owned();
    let changes = DeveloperApiPatch {
        enabled: Some(true),
        users: Some(Grant::Write),
        passwords: Some(true),
        ..DeveloperApiPatch::default()
    };
    let set = application::Command::SetDeveloperApi { id, changes };
    another_moment(hub).await;
    hub.apply_application(somebody(), set).await.unwrap();
    another_moment(hub).await;
    let now = hub.clock.now();
    let (new, _) = NewClientSecret::generate(application_id.to_owned(), Some(now + 90 * DAY), &*hub.random);
    let create = application::Command::CreateClientSecret(new);
    let made = hub
        .apply_application(somebody(), create)
        .await
        .unwrap()
        .client_secret
        .unwrap();
    let id = made.id.clone();
    hub.db
        .write(move |tx| secrets::note_use(tx, &id, now - MINUTE))
        .await
        .unwrap();
    made
}

/// A connection with a token that was used, a user that it took over, and a group; the connection's id and the token.
async fn connection(hub: &Hub, unit: &str, user: &str) -> (String, ConnectionToken) {
    let changes = json!({
        "organizationalUnitId": unit,
        "takesOver": "email",
        "mapping": { "customFields.title": "title" },
    });
    let (made, _) = crate::scim::connect(hub, "Okta", &changes).await;
    let source = rollcall::connection::source(&made.id);
    let changes = UserChanges {
        source: Some(source.clone()),
        ..UserChanges::default()
    };
    let id = user.to_owned();
    let by = || Caller::from(rollcall::connection::principal(&made.id));
    let update = Command::UpdateUser { id, changes };
    hub.apply(by(), update).await.unwrap();
    let group = NewGroup {
        name: "Optics".into(),
        external_id: Some("00g1".into()),
        source,
        ..NewGroup::default()
    };
    hub.apply(by(), Command::CreateGroup(group)).await.unwrap();
    let (id, user, now) = (made.id.clone(), user.to_owned(), hub.clock.now());
    let found = hub.db.write(move |tx| {
        let said = json!({ "userName": "zhangwei", "active": true });
        users::keep(tx, &id, &user, said.as_object().unwrap(), now)?;
        let token = rollcall::connection::find(tx, &id)?.tokens.remove(0);
        tokens::note_use(tx, &token.id, now - MINUTE)?;
        Ok::<_, ConnectionError>(token)
    });
    (made.id, found.await.unwrap())
}

/// Fills a hub.
pub(super) async fn fill(hub: &Hub) -> Sample {
    let now = hub.clock.now();
    let root = rollcall::id::ROOT_UNIT;
    let engineering = unit(hub, "Engineering", root).await;
    let optics = unit(hub, "Optics & Photonics", &engineering).await;
    let research = unit(hub, "研发中心", root).await;
    unit(
        hub,
        "Sales, Marketing and Customer Relations for Europe, the Middle East and Africa",
        root,
    )
    .await;
    let ada = user(hub, &optics, "ada", "Ada Lovelace", Some("ada@example.com")).await;
    user(hub, &optics, "grace", "Grace Hopper", Some("grace@example.com")).await;
    let zhangwei = user(hub, &research, "zhangwei", "张伟", Some("zhangwei@example.cn")).await;
    user(hub, &research, "wangfang", "王芳", None).await;
    let long = "wolfeschlegelsteinhausenbergerdorff.maximilian.alexander";
    let name = "Maximilian Alexander von Wolfeschlegelsteinhausenbergerdorff";
    user(
        hub,
        &engineering,
        long,
        name,
        Some(&format!("{long}@subsidiary.example.com")),
    )
    .await;
    let off = user(hub, &engineering, "edsger", "Edsger Dijkstra", None).await;
    let disable = Command::DisableUser { id: off };
    apply(hub, disable).await;
    let group = NewGroup {
        name: "全体员工".into(),
        description: Some("Everybody who works here".into()),
        ..NewGroup::default()
    };
    let group = apply(hub, Command::CreateGroup(group)).await;
    let members = Command::AddMembers {
        group_id: group.clone(),
        user_ids: vec![ada.clone()],
    };
    apply(hub, members).await;

    let wiki = app(hub, "Wiki", Scope::everything()).await;
    let scope = Scope {
        organizational_unit_ids: BTreeSet::from([engineering.clone(), research.clone()]),
        group_ids: BTreeSet::from([group.clone()]),
    };
    let chat = app(hub, "Chat", scope.clone()).await;
    let payroll = app(hub, "Payroll", Scope::everything()).await;
    let portal = app(hub, "门户网站", scope.clone()).await;
    app(
        hub,
        "Customer relationship management for Europe, the Middle East and Africa (production)",
        scope,
    )
    .await;

    synchronized(hub, &wiki, now - 2 * DAY - HOUR, |job| {
        job.status = JobStatus::PartialSuccess;
        job.phase = Phase::Done;
        job.ended_at = Some(now - 2 * DAY - HOUR + 94_000);
        job.statistics.inventory = Inventory::Accepted;
    })
    .await;
    synchronized(hub, &chat, now - 3 * DAY - HOUR, |job| {
        job.status = JobStatus::Success;
        job.ended_at = Some(now - 3 * DAY - HOUR + 30_000);
    })
    .await;
    synchronized(hub, &payroll, now - 5 * DAY, |job| {
        job.status = JobStatus::Success;
        job.ended_at = Some(now - 5 * DAY + 30_000);
    })
    .await;

    let mut first = sent(Source::Job, None, 100, now - 2 * DAY);
    first.succeeded = 98;
    first.failed = 2;
    first.exceptions = vec![Exception {
        event_id: "ev_sample".into(),
        subject_id: ada.clone(),
        event_type: "ud:user:push".into(),
        result: "failed".into(),
        code: "invalid_email".into(),
        message: Some("the address is used by another account".into()),
    }];
    attempt(hub, &wiki.id, first).await;
    attempt(hub, &wiki.id, sent(Source::Test, None, 1, now - DAY)).await;
    let carried = attempt(
        hub,
        &wiki.id,
        sent(Source::Log, Some((1, 12)), 12, now - 3 * HOUR),
    )
    .await;
    let failed = |at| Attempt {
        outcome: "timed_out".into(),
        http_status: None,
        succeeded: 0,
        latency_us: 10_004_000,
        detail: Some("no answer within 10 s".into()),
        next_try: Some(now + 2 * MINUTE),
        ..sent(Source::Log, Some((3, 9)), 5, at)
    };
    attempt(hub, &payroll.id, failed(now - 26 * HOUR)).await;
    attempt(hub, &payroll.id, failed(now - 25 * HOUR)).await;
    attempt(hub, &chat.id, sent(Source::Log, Some((1, 6)), 4, now - 4 * HOUR)).await;

    let suspended = format!(
        r#"{{"since":{},"tries":8,"nextProbe":{},"reason":"payroll.internal.example.com refuses connections on port 8443"}}"#,
        now - 26 * HOUR - MINUTE,
        now + 10 * MINUTE
    );
    sql(
        hub,
        "UPDATE deliveries SET suspended = $2 WHERE application_id = $1",
        &payroll.id,
        move || Value::from(suspended.clone()),
    )
    .await;
    let id = portal.id.clone();
    hub.apply_application(somebody(), application::Command::DisableSynchronization { id })
        .await
        .unwrap();
    let (id, subject) = (chat.id.clone(), ada.clone());
    hub.db
        .write(move |tx| {
            parked::store(tx, &id, &aside("ev_aside_1", &subject, 5, now - 5 * HOUR))?;
            parked::store(tx, &id, &aside("ev_aside_2", &subject, 6, now - 5 * HOUR))
        })
        .await
        .unwrap();
    let owner = Role::ApplicationOwner([chat.id.clone(), portal.id.clone()].into());
    let account = crate::access::fresh_account(hub, "grace", owner).await.account;
    let days = Term::Days(90);
    let made = manage::create_token(hub, somebody(), "Provisioning".into(), Role::Auditor, days);
    let (token, _) = made.await.unwrap();
    let made = manage::create_access_key(hub, somebody(), "Staff sync".into(), Role::Administrator, days);
    let (access_key, _) = made.await.unwrap();
    let (connection, connection_token) = connection(hub, &research, &zhangwei).await;
    let client_secret = client_secret(hub, &wiki.id).await;
    Sample {
        account: account.id,
        token: token.id,
        token_begins: token.prefix,
        access_key: access_key.id,
        connection,
        connection_token: connection_token.id,
        connection_token_begins: connection_token.prefix,
        client_secret: client_secret.id,
        client_secret_begins: client_secret.prefix,
        connected: zhangwei,
        wiki: wiki.id,
        chat: chat.id,
        payroll: payroll.id,
        unit: optics,
        user: ada,
        group,
        attempt: carried,
    }
}

impl Sample {
    /// Every page, with a name for its picture.
    pub(super) fn pages(&self) -> Vec<(&'static str, String)> {
        let Self {
            wiki,
            chat,
            payroll,
            unit,
            user,
            group,
            attempt,
            account,
            token,
            token_begins: _,
            access_key,
            connection,
            connection_token,
            connection_token_begins: _,
            client_secret,
            client_secret_begins: _,
            connected,
        } = self;
        let of_it = |what: &str| format!("/console/connections/{connection}{what}");
        let app = |id: &str, tab: &str| format!("/console/applications/{id}{tab}");
        vec![
            ("home", "/console/".into()),
            ("applications", "/console/applications".into()),
            (
                "applications-none-found",
                "/console/applications?search=nothing".into(),
            ),
            ("provisioning", app(chat, "?done=resume&count=1")),
            ("provisioning-suspended", app(payroll, "")),
            ("application-new", "/console/applications/new".into()),
            ("application-edit", app(chat, "/settings")),
            ("scim-new", "/console/applications/new/scim".into()),
            ("scim-edit", app(chat, "/scim")),
            ("callback", app(chat, "/callback")),
            ("encryption", app(chat, "/encryption")),
            ("scope", app(chat, "/scope")),
            ("subscription", app(chat, "/subscription")),
            ("application-delete", app(chat, "/delete")),
            ("test", app(wiki, "/test")),
            ("test-none", app(chat, "/test")),
            ("synchronize", app(wiki, "/synchronize")),
            ("deliveries", app(wiki, "/deliveries")),
            ("deliveries-aside", app(chat, "/deliveries")),
            (
                "deliveries-failed",
                app(payroll, "/deliveries?outcome=troubled&subject=nobody"),
            ),
            ("attempt", app(wiki, &format!("/deliveries/{attempt}"))),
            ("keys", app(wiki, "/keys")),
            ("receive", app(wiki, "/receive")),
            ("developer-api", app(wiki, "/developer-api")),
            ("developer-api-off", app(chat, "/developer-api")),
            ("client-secret-new", app(wiki, "/client-secrets/new")),
            (
                "client-secret-revoke",
                app(wiki, &format!("/client-secrets/{client_secret}/revoke")),
            ),
            ("invitation", app(wiki, "/invite")),
            ("directory", "/console/directory".into()),
            ("directory-unit", format!("/console/directory?unit={unit}")),
            ("directory-search", "/console/directory?search=%E5%BC%A0".into()),
            ("user", format!("/console/users/{user}")),
            ("user-new", format!("/console/users/new?unit={unit}")),
            ("user-edit", format!("/console/users/{user}/edit")),
            ("user-units", format!("/console/users/{user}/units")),
            ("user-groups", format!("/console/users/{user}/groups")),
            ("user-lock", format!("/console/users/{user}/lock")),
            ("user-password", format!("/console/users/{user}/password")),
            ("user-delete", format!("/console/users/{user}/delete")),
            ("unit-new", format!("/console/units/new?parent={unit}")),
            ("unit-edit", format!("/console/units/{unit}/edit")),
            ("unit-move", format!("/console/units/{unit}/move")),
            ("unit-delete", format!("/console/units/{unit}/delete")),
            ("group-new", "/console/groups/new".into()),
            ("group-edit", format!("/console/groups/{group}/edit")),
            ("group-delete", format!("/console/groups/{group}/delete")),
            ("explain", format!("/console/users/{user}/{wiki}")),
            ("groups", "/console/groups".into()),
            ("group", format!("/console/groups/{group}")),
            ("transfer", "/console/transfer".into()),
            ("accounts", "/console/accounts".into()),
            ("account", format!("/console/accounts/{account}")),
            ("account-new", "/console/accounts/new".into()),
            ("account-edit", format!("/console/accounts/{account}/edit")),
            ("account-delete", format!("/console/accounts/{account}/delete")),
            ("tokens", "/console/tokens".into()),
            ("token-new", "/console/tokens/new".into()),
            ("token-revoke", format!("/console/tokens/{token}/revoke")),
            (
                "access-key-revoke",
                format!("/console/tokens/{access_key}/revoke"),
            ),
            ("sessions", "/console/sessions".into()),
            ("connections", "/console/connections".into()),
            ("connection", of_it("")),
            ("connection-new", "/console/connections/new".into()),
            ("connection-settings", of_it("/settings")),
            ("connection-users", of_it("/users")),
            ("connection-groups", of_it("/groups")),
            ("connection-changes", of_it("/changes")),
            ("connection-token-new", of_it("/tokens/new")),
            (
                "connection-token-revoke",
                of_it(&format!("/tokens/{connection_token}/revoke")),
            ),
            ("connection-delete", of_it("/delete")),
            ("connection-of-user", format!("/console/users/{connected}")),
            ("audit", "/console/audit".into()),
            ("sign-in", "/console/sign-in".into()),
            ("password", "/console/password".into()),
            ("not-found", "/console/nothing".into()),
        ]
    }
}
