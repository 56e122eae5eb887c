//! The console: the hub in a browser.
//!
//! Pages are rendered here, by typed templates in `templates/`, one file for each group of pages. Whatever is read is
//! read by the functions that the API and the command line use, and whatever is done goes through the same doors. A
//! form is posted and leads back to a page, so everything works without JavaScript; with it, some parts are followed
//! live ([`live`]).
//!
//! - [`visitor`] tells who looks and what they may do; nothing is shown to anybody else.
//! - [`locale`] says everything in the reader's language and time zone.
//! - [`docs`] serves the documentation to everybody.
//! - [`error`] gives every answer the headers of a private page, and every failure a page.
//!
//! No page asks for a row at a time: each makes a few statements, however much there is.

mod access;
mod account;
mod addresses;
mod application;
mod applications;
mod assets;
mod audit;
mod chart;
mod connection;
mod directory;
mod docs;
mod error;
mod form;
mod health;
mod history;
mod home;
mod icons;
mod live;
mod locale;
mod mistakes;
mod once;
mod page;
mod provider;
mod tested;
mod transfer;
mod visitor;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware;
use axum::response::Redirect;
use axum::routing::{get, post};
use rollcall_db::{Db, DbError};
use rollcall_server::kept::Kept;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::api::Api;
use crate::change;
use crate::clock::Millis;
use crate::hub::Hub;
use crate::signin::oidc;
use addresses::Addresses;
use error::Failure;
use history::History;
use home::Everything;
use tested::Tests;
use transfer::Imports;

/// What the pages share.
pub struct Console {
    api: Arc<Api>,
    /// The address from which requests leave, if one is set.
    source: Option<std::net::IpAddr>,
    history: History,
    /// What Home has shown last.
    everything: Kept<Arc<Everything>>,
    tests: Tests,
    imports: Imports,
    ended: watch::Sender<bool>,
}

impl std::fmt::Debug for Console {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Console").finish_non_exhaustive()
    }
}

/// How often the charts get a new bar.
const MINUTE: Duration = Duration::from_secs(60);

impl Console {
    /// Of a hub. `source` is the address from which requests leave, if one is set.
    pub fn new(api: Arc<Api>, source: Option<std::net::IpAddr>) -> Self {
        Self {
            api,
            source,
            history: History::default(),
            everything: Kept::default(),
            tests: Tests::default(),
            imports: Imports::default(),
            ended: watch::Sender::new(false),
        }
    }

    /// Ends what is followed live, so that nobody who watches keeps the hub from ending.
    pub fn end(&self) {
        self.ended.send_replace(true);
    }

    fn ended(&self) -> watch::Receiver<bool> {
        self.ended.subscribe()
    }

    fn hub(&self) -> &Hub {
        &self.api.shared.hub
    }

    fn db(&self) -> &Db {
        &self.hub().db
    }

    fn now(&self) -> Millis {
        self.hub().clock.now()
    }

    /// The addresses from which requests leave, if they are known.
    fn outbound(&self) -> Vec<String> {
        self.source.iter().map(ToString::to_string).collect()
    }

    /// Notes what was done since the last time, for the charts.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn note(&self) -> Result<(), DbError> {
        let head = self.db().read(change::head).await?.seq;
        self.history.sample(self.now(), head, &self.hub().meters);
        Ok(())
    }

    /// Does that every minute.
    pub fn keep_history(self: &Arc<Self>) -> JoinHandle<()> {
        let console = Arc::clone(self);
        tokio::spawn(async move {
            loop {
                if let Err(error) = console.note().await {
                    tracing::debug!(%error, "the charts of the console miss a minute");
                }
                tokio::time::sleep(MINUTE).await;
            }
        })
    }
}

/// What is served to somebody who has signed in, and what leads there.
fn addresses() -> Addresses {
    Addresses::default()
        .route("/console/", get(home::home))
        .route("/console/live/home", get(home::home_live))
        .merge(application::routes())
        .merge(directory::routes())
        .merge(access::routes())
        .merge(transfer::routes())
        .merge(connection::routes())
        .route("/console/audit", get(audit::audit))
        .route("/console/audit.csv", get(audit::audit_csv))
        .route("/console/sign-in", get(account::sign_in).post(account::enter))
        .route("/console/sign-in/provider", get(provider::leave))
        .route(oidc::RETURN, get(provider::arrive))
        .route("/console/sign-out", post(account::sign_out))
        .route("/console/signed-out", get(provider::signed_out))
        .route(
            "/console/password",
            get(account::password).post(account::change_password),
        )
        .route("/console/language", post(account::language))
}

/// The addresses of the console, with a place in braces for each id; not those of style sheet and scripts.
pub fn declared() -> Vec<String> {
    addresses().declared()
}

/// All pages, with `/`, which leads to the first one.
pub fn router(console: Arc<Console>) -> Router {
    let pages = addresses()
        .route("/console/{*rest}", get(nowhere))
        .route("/docs", get(docs::begin))
        .route("/docs/", get(docs::begin))
        .route("/docs/{*name}", get(docs::serve))
        .router()
        .method_not_allowed_fallback(nowhere)
        .layer(middleware::from_fn_with_state(Arc::clone(&console), error::dress));
    Router::new()
        .route("/", get(to_the_first))
        .route("/console", get(to_the_first))
        .route("/console/assets/{name}", get(assets::serve))
        .merge(pages)
        .with_state(console)
}

async fn to_the_first() -> Redirect {
    Redirect::to("/console/")
}

async fn nowhere() -> Failure {
    Failure::NotFound
}
