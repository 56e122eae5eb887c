//! A hub that is served as `rollcall serve` does it, over a directory of any size, and people who have signed in.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::extract::Path as Segment;
use axum::routing::get;
use rollcall_protocol::SystemRandom;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::world::World;
use crate::access::{Caller, Role};
use crate::accounts::NewAccount;
use crate::api::{self, Api};
use crate::console::{self, Console};
use crate::delivery::Shared;
use crate::maintenance::{self, Upkeep};
use crate::secret::{AdminToken, ExposeSecret as _, SecretString};
use crate::signin::{SignIn, Visitor, manage};

/// The password of everybody here.
const PASSWORD: &str = "the password of a benchmark";

/// What is served, until this ends.
pub(super) struct Site {
    pub(super) port: u16,
    console: Arc<Console>,
    sign_in: SignIn,
    ending: oneshot::Sender<()>,
    server: JoinHandle<usize>,
}

impl Site {
    /// Serves a hub. `/bare/{bytes}` is a page of so many bytes, made of nothing.
    pub(super) async fn serve(world: &World, shared: Arc<Shared>) -> Result<Self> {
        let hub = &world.hub;
        let token = token(world.folder.path())?;
        let upkeep = Arc::new(Upkeep::new(hub.clone(), maintenance::Options::default()));
        let sign_in = SignIn::new(hub.clone(), upkeep.sessions());
        let api = Arc::new(Api::new(shared, upkeep, token));
        let console = Arc::new(Console::new(Arc::clone(&api), None));
        let bare = Router::new().route("/bare/{bytes}", get(bare));
        let router = api::router_with(api, console::router(Arc::clone(&console))).merge(bare);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let (ending, ended) = oneshot::channel::<()>();
        let limits = rollcall_server::Limits::default();
        let server = tokio::spawn(rollcall_server::serve(listener, router, limits, async {
            drop(ended.await);
        }));
        Ok(Self {
            port,
            console,
            sign_in,
            ending,
            server,
        })
    }

    /// The session of somebody of a role.
    pub(super) async fn session(&self, world: &World, name: &str, role: Role) -> Result<String> {
        let new = NewAccount {
            name: name.to_owned(),
            display_name: None,
            email: None,
            role,
            password_hash: None,
        };
        let fresh = manage::create(&world.hub, Caller::system("bench"), new, None).await?;
        let one_time = fresh.one_time_password.context("no one-time password")?;
        let (new, from) = (SecretString::from(PASSWORD), Visitor::default());
        let changing = self.sign_in.change_password(&fresh.account, one_time, new, &from);
        let signed_in = changing.await?;
        Ok(signed_in.token.expose_secret().to_owned())
    }

    /// Ends it.
    pub(super) async fn end(self) -> Result<()> {
        self.console.end();
        drop(self.ending);
        self.server.await?;
        Ok(())
    }
}

fn token(folder: &Path) -> Result<AdminToken> {
    Ok(AdminToken::read_or_make(
        &folder.join("admin.token"),
        &SystemRandom,
    )?)
}

async fn bare(Segment(bytes): Segment<usize>) -> String {
    "x".repeat(bytes)
}
