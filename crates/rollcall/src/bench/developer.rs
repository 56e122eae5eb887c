//! The developer API: reads of users by chance, for the first time, again, and while others are changed, beside a bare
//! page with the same body; writes beside the same commands without requests, and
//! beside the commit of a bare row, both shared by as many callers; and the last page of a list beside the first.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
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

/// How many users are changed a second while others are read.
const CHANGES: u32 = 100;

/// In how many turns reads and bare pages are asked for, so that what else the machine does meanwhile concerns both.
const TURNS: u32 = 10;

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

/// What one connection asks for.
struct Asking<'a> {
    /// Which connection it is.
    number: usize,
    /// In which turn.
    turn: u32,
    /// How many requests it has sent before in this turn.
    count: usize,
    /// Where its application's calls are.
    path: &'a str,
}

impl Asking<'_> {
    /// A number below a limit that looks like chance, and is the same in each run.
    fn chance(&self, below: usize) -> usize {
        // SplitMix64.
        let seed = (u64::from(self.turn) << 48) + ((self.number as u64) << 40) + self.count as u64;
        let mut z = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % below.max(1) as u64).unwrap_or_default()
    }
}

/// How many requests a second these connections send, each its own one after the other, until the time is over or there
/// is nothing more to ask for.
async fn rate(
    peers: &[Peer],
    (turn, time): (u32, Duration),
    method: &'static str,
    ask: impl Fn(Asking<'_>) -> Option<(String, Vec<u8>)> + Send + Sync + 'static,
) -> Result<f64> {
    let (mut asking, ask) = (Vec::new(), Arc::new(ask));
    let clock = crate::clock::Clock::system();
    let watch = clock.stopwatch();
    for (number, peer) in peers.iter().enumerate() {
        let mut client = Client::with(peer.port, peer.authorization.clone()).await?;
        let (own, ask, clock) = (peer.path.clone(), Arc::clone(&ask), clock.clone());
        asking.push(tokio::spawn(async move {
            let (watch, mut count) = (clock.stopwatch(), 0);
            while watch.elapsed() < time
                && let Some((path, body)) = ask(Asking {
                    number,
                    turn,
                    count,
                    path: &own,
                })
            {
                let answer = client.send(method, &path, &body).await?;
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

/// Changes users by chance, so many a second if it can, until this is dropped or aborted; how many it has changed.
async fn keep_changing(hub: Hub, users: Arc<[String]>, changed: Arc<AtomicUsize>) -> Result<()> {
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / CHANGES);
    loop {
        ticks.tick().await;
        let count = changed.load(Ordering::Relaxed);
        let asking = Asking {
            number: CONNECTIONS,
            turn: 0,
            count,
            path: "",
        };
        change(hub.clone(), users[asking.chance(users.len())].clone(), count).await?;
        changed.fetch_add(1, Ordering::Relaxed);
    }
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
    let mut client = Client::with(site.port, first.authorization.clone()).await?;
    let someone = format!("{}/users/{}", first.path, users[0]);
    let size = client.send("GET", &someone, b"").await?.body.len();
    let all: Arc<[String]> = users.clone().into();
    let user = |asking: &Asking<'_>, user: &String| [asking.path, "/users/", user].concat();
    let everybody = Arc::clone(&all);
    let once = rate(&peers, (0, TIME), "GET", move |asking| {
        let next = everybody.get(asking.number + asking.count * CONNECTIONS)?;
        Some((user(&asking, next), Vec::new()))
    });
    let once = once.await?;
    let anybody = Arc::clone(&all);
    let by_chance = move |asking: Asking<'_>| {
        let chosen = &anybody[asking.chance(anybody.len())];
        Some((user(&asking, chosen), Vec::new()))
    };
    let (mut reads, mut bare, mut mixed, mut changes) = (0.0, 0.0, 0.0, 0.0);
    for turn in 0..TURNS {
        let turn = (turn, TIME / TURNS);
        reads += rate(&peers, turn, "GET", by_chance.clone()).await?;
        bare += rate(&peers, turn, "GET", move |_| {
            Some((format!("/bare/{size}"), Vec::new()))
        })
        .await?;
        let changed = Arc::new(AtomicUsize::new(0));
        let changing = tokio::spawn(keep_changing(
            world.hub.clone(),
            Arc::clone(&all),
            Arc::clone(&changed),
        ));
        let watch = world.hub.clock.stopwatch();
        mixed += rate(&peers, turn, "GET", by_chance.clone()).await?;
        changes += float(changed.load(Ordering::Relaxed)) / watch.elapsed().as_secs_f64();
        changing.abort();
        if let Ok(ended) = changing.await {
            ended?;
        }
    }
    let [reads, bare, mixed, changed] = [reads, bare, mixed, changes].map(|sum| sum / f64::from(TURNS));
    let named = move |asking: Asking<'_>| {
        let (number, count) = (asking.number, asking.count);
        let chosen = &all[number * (all.len() / CONNECTIONS)];
        let body = json!({ "displayName": format!("Somebody {number} {count}") });
        Some((user(&asking, chosen), body.to_string().into_bytes()))
    };
    let writes = rate(&peers, (0, TIME), "PATCH", named).await?;
    let changes = commits(&world, &users, change).await?;
    let rows = commits(&world, &users, row).await?;
    let pages = count.div_ceil(PAGE);
    let (first, last) = (first.page(&world, 1).await?, first.page(&world, pages).await?);
    site.end().await?;
    let figure = |what: String, value: f64, unit: &str| Figure::new("developer", what, value, unit);
    Ok(vec![
        figure(
            format!("reads of one of {count} users, {CONNECTIONS} connections"),
            reads,
            "/s",
        )
        .beside(format!("a bare page of {size} bytes"), bare)
        .aims("at least 0.7 of it", reads >= 0.7 * bare),
        figure(
            format!("the same while {changed:.0} users a second are changed"),
            mixed,
            "/s",
        )
        .beside("the bare page", bare),
        figure(
            "the same of users who were not read before".to_owned(),
            once,
            "/s",
        )
        .beside("the bare page", bare),
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
