//! The developer API: reads beside a bare page with the same body; writes beside the same commands without requests, and
//! beside the commit of a bare row, both shared by as many callers; and the last page of a list beside the first.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rollcall_db::params;
use rollcall_protocol::SystemRandom;
use serde_json::{Value, json};

use super::client::Client;
use super::scale::users_of;
use super::site::Site;
use super::world::{self, World};
use super::{Figure, Options, Sorted, float};
use crate::access::Caller;
use crate::application::developer::secrets::NewClientSecret;
use crate::application::keys::NewKey;
use crate::application::{
    Application, Command, DeveloperApiPatch, Grant, Limits, NewApplication, Scope, Settings, Subscription,
};
use crate::delivery::Shared;
use crate::directory::{Command as DirectoryCommand, UserChanges};
use crate::hub::Hub;
use crate::secret::ExposeSecret as _;

/// How many connections there are.
const CONNECTIONS: usize = 16;

/// For how long each figure is taken.
const TIME: Duration = Duration::from_secs(3);

/// How often a page is asked for.
const TIMES: usize = 30;

/// How many users a page has.
const PAGE: usize = 100;

/// An application that may change users, and has a token. Each connection has one of its own, since the calls of one
/// application are limited.
struct Peer {
    port: u16,
    path: String,
    authorization: String,
}

impl Peer {
    async fn of(world: &World, site: &Site, number: usize) -> Result<Self> {
        let hub = &world.hub;
        let new = NewApplication {
            name: format!("bench {number}"),
            settings: Settings {
                limits: Limits::default(),
                ..Settings::event_callback("http://127.0.0.1:9/events", crate::application::Encryption::Off)
            },
            encryption_key: None,
            secret: None,
            scope: Scope::everything(),
            subscription: Subscription::everything(),
            signing_key: NewKey::generate(hub.clock.now(), &SystemRandom, &hub.master)?,
        };
        let apply = |command| hub.apply_application(Caller::system("bench"), command);
        let Application { id, .. } = apply(Command::Create(Box::new(new))).await?.application;
        let changes = DeveloperApiPatch {
            enabled: Some(true),
            users: Some(Grant::Write),
            requests_per_second: Some(10_000),
            ..DeveloperApiPatch::default()
        };
        apply(Command::SetDeveloperApi {
            id: id.clone(),
            changes,
        })
        .await?;
        let (new, secret) = NewClientSecret::generate(id.clone(), None, &*hub.random);
        apply(Command::CreateClientSecret(new)).await?;
        let path = format!("/v2/{}/{id}", hub.instance.id);
        let mut client = Client::connect(site.port, "").await?;
        let token = format!(
            "{path}/oauth2/token?grant_type=client_credentials&client_id={id}&client_secret={}",
            secret.expose_secret()
        );
        let granted = client.send("POST", &token, b"").await?;
        ensure!(granted.status == 200, "no token: {}", granted.status);
        let granted: Value = serde_json::from_slice(&granted.body)?;
        let token = granted["access_token"].as_str().context("no token")?;
        Ok(Self {
            port: site.port,
            path,
            authorization: format!("Authorization: Bearer {token}"),
        })
    }

    /// How long a page takes, in milliseconds: the middle one.
    async fn page(&self, world: &World, number: usize) -> Result<f64> {
        let mut client = Client::with(self.port, self.authorization.clone()).await?;
        let path = format!("{}/users?pageSize={PAGE}&pageNumber={number}", self.path);
        let mut times = Vec::with_capacity(TIMES);
        for _ in 0..TIMES {
            let watch = world.hub.clock.stopwatch();
            let answer = client.send("GET", &path, b"").await?;
            ensure!(answer.status == 200, "{path}: {}", answer.status);
            times.push(watch.elapsed().as_secs_f64() * 1e3);
        }
        Ok(Sorted::new(times).quantile(0.5))
    }
}

/// How many requests a second these connections send, each its own one after the other.
async fn rate(
    peers: &[Peer],
    method: &'static str,
    address: impl Fn(usize, &Peer) -> String,
    body: impl Fn(usize, usize) -> Vec<u8> + Send + Sync + Clone + 'static,
) -> Result<f64> {
    let mut asking = Vec::new();
    let clock = crate::clock::Clock::system();
    let watch = clock.stopwatch();
    for (number, peer) in peers.iter().enumerate() {
        let mut client = Client::with(peer.port, peer.authorization.clone()).await?;
        let (path, body, clock) = (address(number, peer), body.clone(), clock.clone());
        asking.push(tokio::spawn(async move {
            let (watch, mut count) = (clock.stopwatch(), 0);
            while watch.elapsed() < TIME {
                let answer = client.send(method, &path, &body(number, count)).await?;
                ensure!(answer.status == 200, "{path}: {}", answer.status);
                count += 1;
            }
            Ok(count)
        }));
    }
    let mut count = 0;
    for asking in asking {
        count += asking.await??;
    }
    Ok(float(count) / watch.elapsed().as_secs_f64())
}

/// How many commits a second as many callers make who share them, each of something of its own.
async fn commits<W: Future<Output = Result<()>> + Send>(
    world: &World,
    users: &[String],
    write: impl Fn(Hub, String, usize) -> W + Copy + Send + 'static,
) -> Result<f64> {
    let clock = world.hub.clock.clone();
    let watch = clock.stopwatch();
    let mut writing = Vec::new();
    for user in users.iter().take(CONNECTIONS) {
        let (hub, user, clock) = (world.hub.clone(), user.clone(), clock.clone());
        writing.push(tokio::spawn(async move {
            let (watch, mut count) = (clock.stopwatch(), 0);
            while watch.elapsed() < TIME {
                write(hub.clone(), user.clone(), count).await?;
                count += 1;
            }
            Ok::<_, anyhow::Error>(count)
        }));
    }
    let mut count = 0;
    for writing in writing {
        count += writing.await??;
    }
    Ok(float(count) / watch.elapsed().as_secs_f64())
}

/// Writes a row, and nothing else.
async fn row(hub: Hub, user: String, count: usize) -> Result<()> {
    let text = count.to_string();
    let write = hub.db.write(move |tx| {
        tx.execute(
            "UPDATE users SET description = $2 WHERE id = $1",
            params![user.as_str(), text.as_str()],
        )
    });
    write.await?;
    Ok(())
}

/// Changes a user as the request does.
async fn change(hub: Hub, user: String, count: usize) -> Result<()> {
    let changes = UserChanges {
        display_name: Some(format!("Somebody else {count}")),
        ..UserChanges::default()
    };
    let command = DirectoryCommand::UpdateUser { id: user, changes };
    hub.apply(Caller::system("bench"), command).await?;
    Ok(())
}

pub(super) async fn measure(options: &Options) -> Result<Vec<Figure>> {
    let count = users_of(options);
    let world = World::new().await?;
    let users = world.users(count).await?;
    let shared = Shared::for_one(world.hub.clone(), world::egress()?).await?;
    let site = Site::serve(&world, shared).await?;
    let mut peers = Vec::with_capacity(CONNECTIONS);
    for number in 0..CONNECTIONS {
        peers.push(Peer::of(&world, &site, number).await?);
    }
    let first = peers.first().context("nobody calls")?;
    let of = |number: usize, peer: &Peer| {
        let user = &users[number * (count / CONNECTIONS)];
        format!("{}/users/{user}", peer.path)
    };
    let mut client = Client::with(site.port, first.authorization.clone()).await?;
    let size = client.send("GET", &of(0, first), b"").await?.body.len();
    let nothing = |_: usize, _: usize| Vec::new();
    let reads = rate(&peers, "GET", of, nothing).await?;
    let bare = rate(&peers, "GET", |_, _| format!("/bare/{size}"), nothing).await?;
    let named = |number: usize, count: usize| {
        json!({ "displayName": format!("Somebody {number} {count}") })
            .to_string()
            .into_bytes()
    };
    let writes = rate(&peers, "PATCH", of, named).await?;
    let changes = commits(&world, &users, change).await?;
    let rows = commits(&world, &users, row).await?;
    let pages = count.div_ceil(PAGE);
    let (first, last) = (first.page(&world, 1).await?, first.page(&world, pages).await?);
    site.end().await?;
    let figure = |what: String, value: f64, unit: &str| Figure::new("developer", what, value, unit);
    Ok(vec![
        figure(format!("reads of a user, {CONNECTIONS} connections"), reads, "/s")
            .beside(format!("a bare page of {size} bytes"), bare)
            .aims("at least 0.7 of it", reads >= 0.7 * bare),
        figure(
            format!("durable writes of a user, {CONNECTIONS} connections"),
            writes,
            "/s",
        )
        .beside("the same commands without requests", changes)
        .aims("at least 0.5 of it", writes >= 0.5 * changes),
        figure("the same".to_owned(), writes, "/s").beside("the commit of a bare row, shared", rows),
        figure(format!("the last page of {count} users, p50"), last, "ms")
            .beside("the first page", first)
            .aims("at most twice as long", last <= 2.0 * first),
    ])
}
