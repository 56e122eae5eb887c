//! The console: its pages, its texts, who may do what, and how it looks in a browser.

mod accounts;
mod auditing;
mod browser;
mod by_scim;
mod comparing;
mod configuring;
mod connecting;
mod docs;
mod first_load;
mod forms;
mod operating;
mod pages;
mod people;
mod permissions;
mod pictures;
mod provider;
mod receiving;
mod sample;
mod scim;
mod sight;
mod signing_in;
mod standing;
mod statements;
mod story;
mod texts;
mod transfer;
mod webdriver;

use std::sync::Arc;

use rollcall::access::Role;
use rollcall::api::{self, Api};
use rollcall::console::{self, Console};
use rollcall::delivery::Shared;
use rollcall::hub::Hub;
use rollcall::instance::Serving;
use rollcall::maintenance::{self, Upkeep};
use rollcall::secret::{AdminToken, ExposeSecret as _, SecretString};
use rollcall::signin::{SignIn, Visitor};
use rollcall_protocol::SystemRandom;

use crate::access::{PASSWORD, fresh_account};
use crate::world::egress;

/// The console of a hub, served to somebody of a role.
struct Served {
    address: String,
    console: Arc<Console>,
    /// The token of the session; nobody has signed in if there is none.
    session: Option<String>,
    csrf: String,
}

impl Served {
    async fn start(hub: &Hub, role: Option<Role>) -> Self {
        let serving = Serving {
            listens_on: "127.0.0.1:8750".to_owned(),
            public_url: Some("https://rollcall.example.com".to_owned()),
            egress_allow: Vec::new(),
            encrypted: false,
            outbound_addresses: Vec::new(),
        };
        hub.serves(serving).await.unwrap();
        let shared = Shared::for_one(hub.clone(), egress()).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let token = AdminToken::read_or_make(&folder.path().join("token"), &SystemRandom).unwrap();
        let upkeep = Arc::new(Upkeep::new(hub.clone(), maintenance::Options::default()));
        let api = Arc::new(Api::new(shared, Arc::clone(&upkeep), token));
        let console = Arc::new(Console::new(Arc::clone(&api), "203.0.113.7".parse().ok()));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let router = api::router_with(api, console::router(Arc::clone(&console)));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let (mut session, mut csrf) = (None, String::new());
        if let Some(role) = role {
            let name = format!("ada-{}", role.name().as_str());
            let fresh = fresh_account(hub, &name, role).await;
            let sign_in = SignIn::new(hub.clone(), upkeep.sessions());
            let (one_time, new) = (fresh.one_time_password.unwrap(), SecretString::from(PASSWORD));
            let from = Visitor::default();
            let changing = sign_in.change_password(&fresh.account, one_time, new, &from);
            let signed_in = changing.await.unwrap();
            session = Some(signed_in.token.expose_secret().to_owned());
            csrf = signed_in.access.csrf_token().unwrap().to_owned();
        }
        Self {
            address,
            console,
            session,
            csrf,
        }
    }

    fn with_cookie(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        match &self.session {
            Some(session) => request.header("Cookie", format!("rollcall_session={session}")),
            None => request,
        }
    }

    async fn ask(&self, path: &str, language: &str) -> reqwest::Response {
        let request = client().get(format!("{}{path}", self.address));
        let request = self.with_cookie(request).header("Accept-Language", language);
        request.send().await.unwrap()
    }

    /// Sends a form as a page of the console does.
    async fn post(&self, path: &str, form: &[(&str, &str)]) -> reqwest::Response {
        self.post_from("same-origin", path, form).await
    }

    async fn post_from(&self, site: &str, path: &str, form: &[(&str, &str)]) -> reqwest::Response {
        let pairs: Vec<String> = form
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let request = client().post(format!("{}{path}", self.address));
        self.with_cookie(request)
            .header("Content-Type", "application/x-www-form-urlencoded")
            .header("Sec-Fetch-Site", site)
            .body(pairs.join("&"))
            .send()
            .await
            .unwrap()
    }
}

/// What clients of these tests are made of.
fn http() -> reqwest::ClientBuilder {
    // Whoever comes second finds it done.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    reqwest::Client::builder().no_proxy()
}

fn client() -> reqwest::Client {
    let builder = http().redirect(reqwest::redirect::Policy::none());
    builder.build().unwrap()
}
