//! Who may do what: accounts, sessions, tokens, and what each of them meets.

mod accounts;
mod cli;
mod owner;
mod routes;
mod sessions;
mod throttle;

use std::net::SocketAddr;
use std::sync::Arc;

use reqwest::header::{HeaderMap, SET_COOKIE};
use rollcall::access::{Caller, RateLimit, Role};
use rollcall::accounts::NewAccount;
use rollcall::api::{self, Api};
use rollcall::clock::{Adjustment, Clock, Millis};
use rollcall::delivery::Delivery;
use rollcall::hub::{Hub, HubParts};
use rollcall::maintenance::{self, Upkeep};
use rollcall::secret::AdminToken;
use rollcall::signin::manage::{self, Fresh};
use rollcall_db::testing::databases;
use rollcall_protocol::SystemRandom;
use rollcall_server::{ForwardedBy, Options, Proxies};
use serde_json::{Value, json};

use crate::world::{egress, hasty, parts};

/// The password of everybody here.
pub(crate) const PASSWORD: &str = "a fine long password";

/// An account with a one-time password.
pub(crate) async fn fresh_account(hub: &Hub, name: &str, role: Role) -> Fresh {
    let new = NewAccount {
        name: name.to_owned(),
        display_name: None,
        email: None,
        role,
        password_hash: None,
    };
    manage::create(hub, Caller::system("test"), new, None)
        .await
        .unwrap()
}

/// A hub with its API, whose clock can be set.
pub(crate) struct Site {
    pub(crate) hub: Hub,
    pub(crate) address: SocketAddr,
    pub(crate) clock: Adjustment,
    /// The token of the file.
    pub(crate) machine: String,
    _folder: tempfile::TempDir,
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    /// The JSON, or whatever else it is as text.
    pub(crate) body: Value,
}

impl Said {
    pub(crate) fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    pub(crate) fn refused(&self) -> (u16, &str) {
        (self.status, self.code())
    }

    /// The cookie that it sets, as it is sent back.
    fn cookie(&self) -> String {
        let cookie = self.headers[SET_COOKIE].to_str().unwrap();
        cookie.split(';').next().unwrap().to_owned()
    }

    pub(crate) fn text(&self, name: &str) -> String {
        self.body[name]
            .as_str()
            .unwrap_or_else(|| panic!("{}", self.body))
            .to_owned()
    }
}

/// Somebody who has signed in with a browser.
#[derive(Clone, Debug)]
pub(crate) struct Person {
    cookie: String,
    csrf: String,
}

impl Person {
    fn of(said: &Said) -> Self {
        assert_eq!(said.status, 200, "{}", said.body);
        Self {
            cookie: said.cookie(),
            csrf: said.text("csrfToken"),
        }
    }

    /// The headers of a request that a page of the hub sends.
    pub(crate) fn headers(&self) -> Vec<(&'static str, String)> {
        vec![
            ("cookie", self.cookie.clone()),
            ("x-csrf-token", self.csrf.clone()),
            ("sec-fetch-site", "same-origin".to_owned()),
        ]
    }
}

pub(crate) fn bearer(token: &str) -> Vec<(&'static str, String)> {
    vec![("authorization", format!("Bearer {token}"))]
}

impl Site {
    pub(crate) async fn start(database: &str) -> Self {
        Self::limited(database, None).await
    }

    /// The same, with a limit on what each caller may ask for.
    pub(crate) async fn limited(database: &str, limit: Option<RateLimit>) -> Self {
        // For the client of the test; the hub brings its own.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let (time, clock) = Clock::adjustable();
        let parts = HubParts {
            clock: time,
            ..parts(database)
        };
        let hub = Hub::open(parts).await.unwrap();
        let delivery = Delivery::start(hub.clone(), egress(), hasty()).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let token = AdminToken::read_or_make(&folder.path().join("token"), &SystemRandom).unwrap();
        let machine = token.expose().to_string();
        let upkeep = Arc::new(Upkeep::new(hub.clone(), maintenance::Options::default()));
        let shared = Arc::clone(delivery.shared());
        let routes = api::router(Arc::new(Api::new(shared, upkeep, token).with_rate_limit(limit)));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        // So that a request can say that it came from elsewhere, or encrypted.
        let options = Options {
            proxies: Proxies::new(&["127.0.0.1".to_owned()], ForwardedBy::default()).unwrap(),
            ..Options::default()
        };
        tokio::spawn(rollcall_server::serve(
            listener,
            routes,
            options,
            std::future::pending(),
        ));
        delivery.stop().await;
        Self {
            hub,
            address,
            clock,
            machine,
            _folder: folder,
        }
    }

    pub(crate) async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&'static str, String)],
        body: &Value,
    ) -> Said {
        let mut headers = headers.to_vec();
        if !body.is_null() {
            headers.push(("content-type", "application/json".to_owned()));
        }
        let text = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        self.send(method, path, &headers, text).await
    }

    /// Sends a body as it is.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&'static str, String)],
        body: String,
    ) -> Said {
        let path = format!("/api/v1{path}");
        let (status, headers, bytes) = self.exchange(method, &path, headers, body).await;
        let body = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| Value::from(String::from_utf8_lossy(&bytes).into_owned()));
        Said {
            status,
            headers,
            body,
        }
    }

    /// Sends a request to any path of the hub.
    pub(crate) async fn exchange(
        &self,
        method: &str,
        path: &str,
        headers: &[(&'static str, String)],
        body: String,
    ) -> (u16, HeaderMap, Vec<u8>) {
        let url = format!("http://{}{path}", self.address);
        let mut request = reqwest::Client::new().request(method.parse().unwrap(), url);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let response = request.body(body).send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        (status, headers, response.bytes().await.unwrap().to_vec())
    }

    /// Asks as the machine's own administrator.
    pub(crate) async fn machine(&self, method: &str, path: &str, body: Value) -> Said {
        self.ask(method, path, &bearer(&self.machine), &body).await
    }

    pub(crate) async fn get(&self, person: &Person, path: &str) -> Said {
        self.ask("GET", path, &person.headers(), &Value::Null).await
    }

    async fn post(&self, person: &Person, path: &str, body: Value) -> Said {
        self.ask("POST", path, &person.headers(), &body).await
    }

    async fn delete(&self, person: &Person, path: &str) -> Said {
        self.ask("DELETE", path, &person.headers(), &Value::Null).await
    }

    async fn try_sign_in(&self, name: &str, password: &str) -> Said {
        let body = json!({ "name": name, "password": password });
        self.ask("POST", "/session", &[], &body).await
    }

    pub(crate) async fn sign_in(&self, name: &str) -> Person {
        Person::of(&self.try_sign_in(name, PASSWORD).await)
    }

    /// An account whose password is [`PASSWORD`] and need not be changed.
    pub(crate) async fn account(&self, name: &str, role: Role) -> String {
        let fresh = fresh_account(&self.hub, name, role).await;
        let one_time =
            rollcall::secret::ExposeSecret::expose_secret(&fresh.one_time_password.unwrap()).to_owned();
        let first = Person::of(&self.try_sign_in(name, &one_time).await);
        let change = json!({ "password": one_time, "newPassword": PASSWORD });
        let changed = self.post(&first, "/session/password", change).await;
        assert_eq!(changed.status, 200, "{}", changed.body);
        fresh.account.id
    }

    /// Everything that is stored, as text.
    pub(crate) async fn database(&self) -> String {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("all.backup");
        rollcall::backup::write(&self.hub.db, &file, 1).await.unwrap();
        let mut text = std::fs::read_to_string(&file).unwrap();
        for sql in [
            "SELECT hash, id, account_id, address, user_agent FROM sessions",
            "SELECT subject, subject, subject, subject, subject FROM sign_in_failures",
        ] {
            let rows = self.hub.db.read(move |tx| tx.query(sql, &[])).await.unwrap();
            for row in rows {
                for column in 0..5 {
                    text.push_str(&row.get::<Option<String>>(column).unwrap().unwrap_or_default());
                    text.push('\n');
                }
            }
        }
        text
    }
}

const MINUTE: Millis = 60_000;

/// Runs a test on both databases.
pub(crate) fn on_each<T: Future<Output = ()>>(name: &str, test: impl Fn(Site) -> T) {
    for database in databases(name) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async { test(Site::start(&database.url).await).await });
    }
}
