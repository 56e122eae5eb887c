//! The console: its pages, its texts, who may do what, and how it looks in a browser.

mod browser;
mod pages;
mod permissions;
mod sample;
mod texts;
mod webdriver;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use axum::http::request::Parts;
use rollcall::access::{Caller, Principal};
use rollcall::console::visitor::{Gate, Role, Visitor};
use rollcall::console::{self, Console};
use rollcall::delivery::Shared;
use rollcall::hub::Hub;
use rollcall::instance::Serving;

use crate::world::egress;

/// What forms bring along in these tests.
const CSRF: &str = "csrf-of-the-test";

/// Lets everybody in with one role; nobody, if there is none.
struct Doorman(Option<Role>);

impl Gate for Doorman {
    fn visitor<'a>(&'a self, _: &'a Parts) -> Pin<Box<dyn Future<Output = Option<Visitor>> + Send + 'a>> {
        let principal = Principal::Administrator {
            name: "ada".to_owned(),
        };
        let visitor = self.0.clone().map(|role| Visitor {
            name: "ada".to_owned(),
            role,
            csrf: CSRF.to_owned(),
            caller: Caller::from(principal),
        });
        Box::pin(async move { visitor })
    }
}

/// The console of a hub, served to somebody of this role.
struct Served {
    address: String,
    console: Arc<Console>,
}

impl Served {
    async fn start(hub: &Hub, role: Option<Role>) -> Self {
        let serving = Serving {
            listens_on: "127.0.0.1:8750".to_owned(),
            public_url: Some("https://rollcall.example.com".to_owned()),
            egress_allow: Vec::new(),
        };
        hub.serves(serving).await.unwrap();
        let shared = Shared::for_one(hub.clone(), egress()).await.unwrap();
        let source = "203.0.113.7".parse().ok();
        let console = Arc::new(Console::new(shared, Arc::new(Doorman(role)), source));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let router = console::router(Arc::clone(&console));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, console }
    }

    async fn ask(&self, path: &str, language: &str) -> reqwest::Response {
        client()
            .get(format!("{}{path}", self.address))
            .header("Accept-Language", language)
            .send()
            .await
            .unwrap()
    }

    async fn post(&self, path: &str, form: &[(&str, &str)]) -> reqwest::Response {
        let pairs: Vec<String> = form
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        client()
            .post(format!("{}{path}", self.address))
            .header("Content-Type", "application/x-www-form-urlencoded")
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
