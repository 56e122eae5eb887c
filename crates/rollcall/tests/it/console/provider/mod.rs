//! Signing in at a provider.

mod coming;
mod fake;
mod looks;
mod misfortunes;
mod pages;
mod program;
mod real;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use rollcall::access::{Role, RoleName};
use rollcall::accounts::{self, Account};
use rollcall::api::{self, Api};
use rollcall::clock::{Adjustment, Clock, Millis};
use rollcall::console::{self, Console};
use rollcall::delivery::Shared;
use rollcall::delivery::egress::{Egress, EgressOptions};
use rollcall::hub::{Hub, HubParts};
use rollcall::maintenance::{self, Upkeep};
use rollcall::secret::AdminToken;
use rollcall::signin::oidc::{Grant, Options, Provider};
use rollcall_protocol::SystemRandom;
use serde_json::{Value, json};

use super::client;
use crate::world::{egress, on_both, parts};
use fake::{CLIENT, Fake, SECRET};

const MINUTE: Millis = 60_000;
const HOUR: Millis = 60 * MINUTE;

/// A hub whose people may sign in at a provider.
struct House {
    hub: Hub,
    fake: Arc<Fake>,
    address: String,
    clock: Adjustment,
    machine: String,
    _folder: tempfile::TempDir,
}

/// What an answer says.
struct Said {
    status: u16,
    location: Option<String>,
    text: String,
}

impl Said {
    fn leads_to(&self) -> &str {
        self.location
            .as_deref()
            .unwrap_or_else(|| panic!("{} {}", self.status, self.text))
    }

    /// That nobody was signed in, with this status, and what the page says.
    fn refused(&self, status: u16, says: &str) {
        assert_eq!(self.status, status, "{says}: {}", self.text);
        assert!(self.text.contains(says), "{says} is not in: {}", self.text);
    }
}

/// A browser, with what it keeps.
#[derive(Default)]
struct Browser {
    cookies: HashMap<String, String>,
    /// What it was told about cookies at last.
    told: Vec<String>,
}

impl Browser {
    async fn send(&mut self, request: reqwest::RequestBuilder) -> Said {
        let cookies: Vec<String> = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let answer = request.header("Cookie", cookies.join("; ")).send().await.unwrap();
        self.told.clear();
        for cookie in answer.headers().get_all("set-cookie") {
            let cookie = cookie.to_str().unwrap();
            self.told.push(cookie.to_owned());
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            match value {
                "" => self.cookies.remove(name),
                value => self.cookies.insert(name.to_owned(), value.to_owned()),
            };
        }
        Said {
            status: answer.status().as_u16(),
            location: answer
                .headers()
                .get("location")
                .map(|to| to.to_str().unwrap().to_owned()),
            text: answer.text().await.unwrap(),
        }
    }

    fn session(&self) -> Option<&str> {
        self.cookies.get("rollcall_session").map(String::as_str)
    }
}

fn grant(role: RoleName, applications: &[&str]) -> Grant {
    Grant {
        role,
        applications: applications.iter().map(|name| (*name).to_owned()).collect(),
    }
}

/// Somebody at the provider.
fn ada(roles: &[&str]) -> Value {
    json!({
        "sub": "subject-1", "preferred_username": "ada", "name": "Ada Lovelace", "email": "ada@example.com",
        "realm": { "roles": roles },
    })
}

fn options(issuer: &str, console_url: &str) -> Options {
    Options {
        issuer: issuer.to_owned(),
        client_id: CLIENT.to_owned(),
        client_secret: Some(SECRET.into()),
        scopes: vec!["openid".to_owned(), "profile".to_owned()],
        console_url: console_url.to_owned(),
        roles_claim: Some("realm.roles".to_owned()),
        roles: BTreeMap::from([
            ("admins".to_owned(), grant(RoleName::Administrator, &[])),
            ("operators".to_owned(), grant(RoleName::Operator, &[])),
            ("auditors".to_owned(), grant(RoleName::Auditor, &[])),
            (
                "wiki".to_owned(),
                grant(RoleName::ApplicationOwner, &["Wiki", "Gone"]),
            ),
        ]),
        name_claim: "preferred_username".to_owned(),
        label: Some("Sign in with <Example>".to_owned()),
        contact: Some("help@example.com".to_owned()),
        session: HOUR,
        passwords: true,
        patience: Duration::from_millis(500),
    }
}

fn everywhere() -> Egress {
    let options = EgressOptions {
        policy: rollcall::config::policy(&["0.0.0.0/0".to_owned(), "::/0".to_owned()]).unwrap(),
        ..EgressOptions::default()
    };
    Egress::new(&options, Clock::system()).unwrap()
}

impl House {
    async fn start(database: &str) -> Self {
        Self::start_with(database, |options| options).await
    }

    async fn start_with(database: &str, change: impl FnOnce(Options) -> Options) -> Self {
        let (time, clock) = Clock::adjustable();
        let fake = Fake::start(time.clone()).await;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let parts = HubParts {
            clock: time.clone(),
            ..parts(database)
        };
        let hub = Hub::open(parts).await.unwrap();
        let options = change(options(&fake.issuer, &address));
        let provider = Provider::new(options, everywhere(), time);
        let shared = Shared::for_one(hub.clone(), egress()).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let token = AdminToken::read_or_make(&folder.path().join("token"), &SystemRandom).unwrap();
        let machine = token.expose().to_string();
        let upkeep = Arc::new(Upkeep::new(hub.clone(), maintenance::Options::default()));
        let api = Arc::new(Api::new(shared, upkeep, token).with_provider(Some(provider)));
        let console = Arc::new(Console::new(Arc::clone(&api), None));
        let router = api::router_with(api, console::router(console));
        // So that requests come from an address.
        let server = rollcall_server::Options::default();
        tokio::spawn(rollcall_server::serve(
            listener,
            router,
            server,
            std::future::pending(),
        ));
        Self {
            hub,
            fake,
            address,
            clock,
            machine,
            _folder: folder,
        }
    }

    async fn get(&self, browser: &mut Browser, path: &str) -> Said {
        let url = format!("{}{path}", self.address);
        browser.send(client().get(url)).await
    }

    /// Sends a form as a page of the console does.
    async fn post(&self, browser: &mut Browser, path: &str, form: &str) -> Said {
        let request = client()
            .post(format!("{}{path}", self.address))
            .header("Content-Type", "application/x-www-form-urlencoded")
            .header("Sec-Fetch-Site", "same-origin");
        browser.send(request.body(form.to_owned())).await
    }

    /// Where a browser is sent that wants to sign in.
    async fn leave(&self, browser: &mut Browser) -> Url {
        let said = self.get(browser, "/console/sign-in/provider").await;
        said.leads_to().parse().unwrap()
    }

    /// Comes back from the provider.
    async fn come_back(&self, browser: &mut Browser, query: &[(String, String)]) -> Said {
        let mut url: Url = format!("{}/console/sign-in/return", self.address)
            .parse()
            .unwrap();
        url.query_pairs_mut().extend_pairs(query);
        browser.send(client().get(url)).await
    }

    /// Signs in as whom the claims are about.
    async fn sign_in(&self, browser: &mut Browser, claims: Value) -> Said {
        let departure = self.leave(browser).await;
        let query = self.fake.agree(&departure, claims);
        self.come_back(browser, &query).await
    }

    async fn accounts(&self) -> Vec<Account> {
        self.hub.db.read(accounts::list).await.unwrap()
    }

    async fn account(&self, name: &str) -> Account {
        let name = name.to_owned();
        let found = self.hub.db.read(move |tx| accounts::find(tx, &name));
        found.await.unwrap()
    }

    /// What the audit log tells, the oldest first: who did what.
    async fn audited(&self) -> Vec<(String, String)> {
        let sql = "SELECT actor, action FROM audit_entries ORDER BY id";
        let rows = self.hub.db.read(move |tx| tx.query(sql, &[])).await.unwrap();
        rows.iter()
            .map(|row| (row.get(0).unwrap(), row.get(1).unwrap()))
            .collect()
    }
}

/// Runs a test with a hub on either database.
fn in_a_house<T: Future<Output = ()>>(name: &str, test: impl Fn(House) -> T) {
    on_both(name, |database, _| {
        let test = &test;
        async move { test(House::start(&database).await).await }
    });
}
