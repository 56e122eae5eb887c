//! Pushing by SCIM: how many requests it takes, how fast it is, and what a comparison costs.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use reqwest::Url;
use rollcall_protocol::SystemRandom;
use rollcall_scim::client::Preset;
use serde_json::json;

use super::provider::Told;
use super::scale::{memory, users_of, wait_for};
use super::world::{self, World};
use super::{Figure, Options, Player, float};
use crate::access::Caller;
use crate::application::keys::NewKey;
use crate::application::scim::{Authentication, Leavers, Scim};
use crate::application::{self, Application, Limits, Mode, NewApplication, Scope, Settings, Subscription};
use crate::change;
use crate::delivery::Shared;
use crate::delivery::comparison::{self, Comparison, Status};
use crate::delivery::egress::Egress;
use crate::directory::{Command, NewGroup, UserChanges};
use crate::secret::SecretString;

/// How many bare requests the floor is made of.
const BARE: usize = 5_000;

/// How many users are changed.
const CHANGES: usize = 5_000;

/// How many members are added to a group in one command.
const MEMBERS: usize = 500;

/// An application that takes SCIM, in another process.
struct Peer {
    player: Player,
    egress: Egress,
}

impl Peer {
    fn start() -> Result<Self> {
        Ok(Self {
            player: Player::start(&["--provider".as_ref()])?,
            egress: world::egress()?,
        })
    }

    fn url(&self, path: &str) -> Result<Url> {
        let port = self.player.ready;
        Ok(Url::parse(&format!("http://127.0.0.1:{port}/{path}"))?)
    }

    /// What it was asked since the last time.
    async fn told(&self) -> Result<Told> {
        let reply = self.egress.get(&self.url("told")?).await?;
        Ok(serde_json::from_slice(&reply.body)?)
    }

    /// How many requests of the size of a user go a second, one after the other, without a hub.
    async fn bare(&self, world: &World) -> Result<f64> {
        let url = self.url("bare")?;
        let user = world::new_user(1);
        let body =
            json!({ "userName": user.username, "displayName": user.display_name, "externalId": "user_0" });
        let watch = world.hub.clock.stopwatch();
        for _ in 0..BARE {
            self.egress.post(&url, body.to_string().into()).await.result?;
        }
        Ok(float(BARE) / watch.elapsed().as_secs_f64())
    }

    /// How many users a second are read page by page, as a comparison reads them, if nothing is done with them.
    async fn bare_pages(&self, world: &World, size: u32) -> Result<f64> {
        let watch = world.hub.clock.stopwatch();
        let mut cursor = String::new();
        let mut read = 0;
        loop {
            let url = self.url(&format!("scim/Users?count={size}&cursor={cursor}"))?;
            let page: serde_json::Value = serde_json::from_slice(&self.egress.get(&url).await?.body)?;
            read += page["Resources"].as_array().map_or(0, Vec::len);
            match page["nextCursor"].as_str() {
                Some(next) => next.clone_into(&mut cursor),
                None => return Ok(float(read) / watch.elapsed().as_secs_f64()),
            }
        }
    }

    /// An application of the hub that is this one.
    async fn add(&self, world: &World) -> Result<Application> {
        let base = self.url("scim/")?;
        let mut scim = Scim::preset(Preset::Standard, base.as_str(), Authentication::BearerToken);
        scim.leavers = Leavers::Delete;
        let (clock, master) = (&world.hub.clock, &world.hub.master);
        let new = NewApplication {
            name: "scim".to_owned(),
            settings: Settings {
                mode: Mode::Scim(Box::new(scim)),
                password_synchronization: false,
                limits: Limits::default(),
            },
            encryption_key: None,
            secret: Some(SecretString::from("secret")),
            scope: Scope::everything(),
            subscription: Subscription::everything(),
            signing_key: NewKey::generate(clock.now(), &SystemRandom, master)?,
        };
        let create = application::Command::Create(Box::new(new));
        let created = world.hub.apply_application(Caller::system("bench"), create);
        Ok(created.await?.application)
    }
}

async fn apply(world: &World, command: Command) -> Result<String> {
    Ok(world.hub.apply(Caller::system("bench"), command).await?.id)
}

/// Waits until the application has all that there is.
async fn told_all(world: &World, application: &Application) -> Result<()> {
    let head = world.hub.db.read(change::head).await?.seq;
    wait_for(world, std::slice::from_ref(application), head).await
}

/// Waits for the end of a comparison.
async fn compare(world: &World, shared: &Arc<Shared>, application: &Application) -> Result<Comparison> {
    let id = application.id.clone();
    let begin = world.hub.write_as(Caller::system("bench"), move |tx, ctx| {
        comparison::begin(tx, ctx, &id)
    });
    comparison::run(Arc::clone(shared), application.id.clone(), begin.await?).await;
    let (id, now) = (application.id.clone(), world.hub.clock.now());
    let newest = world
        .hub
        .db
        .read(move |tx| comparison::newest(tx, &id, now))
        .await?;
    let compared = newest.context("the comparison is gone")?;
    anyhow::ensure!(compared.status == Status::Done, "{:?}", compared.error);
    anyhow::ensure!(
        compared.counts.differing() == 0,
        "something differs: {:?}",
        compared.counts
    );
    Ok(compared)
}

pub(super) async fn measure(options: &Options) -> Result<Vec<Figure>> {
    let count = users_of(options);
    let world = World::new().await?;
    let peer = Peer::start()?;
    // The application comes first: what happens then, it is told.
    let application = peer.add(&world).await?;
    let users = world.users(count).await?;
    let before = peer.bare(&world).await?;
    peer.told().await?;
    let watch = world.hub.clock.stopwatch();
    let delivery = world.deliver().await?;
    told_all(&world, &application).await?;
    let created = float(count) / watch.elapsed().as_secs_f64();
    let a_user = peer.told().await?;
    let floor = before.midpoint(peer.bare(&world).await?);
    peer.told().await?;

    let changes = CHANGES.min(count);
    let watch = world.hub.clock.stopwatch();
    // All of them are queued before the last is waited for.
    let queued = users[..changes].iter().map(|user| {
        let changes = UserChanges {
            display_name: Some("Somebody Else".to_owned()),
            ..UserChanges::default()
        };
        let id = user.clone();
        let command = Command::UpdateUser { id, changes };
        world.hub.apply(Caller::system("bench"), command)
    });
    let mut queued: Vec<_> = queued.collect();
    if let Some(last) = queued.pop() {
        last.await?;
    }
    told_all(&world, &application).await?;
    let changed = float(changes) / watch.elapsed().as_secs_f64();
    let a_change = peer.told().await?;

    let new = NewGroup {
        name: "Everybody".to_owned(),
        ..NewGroup::default()
    };
    let group = apply(&world, Command::CreateGroup(new)).await?;
    let (last, others) = users.split_last().context("nobody")?;
    for members in others.chunks(MEMBERS) {
        let command = Command::AddMembers {
            group_id: group.clone(),
            user_ids: members.to_vec(),
        };
        apply(&world, command).await?;
    }
    told_all(&world, &application).await?;
    peer.told().await?;
    let command = Command::AddMembers {
        group_id: group,
        user_ids: vec![last.clone()],
    };
    apply(&world, command).await?;
    told_all(&world, &application).await?;
    let a_member = peer.told().await?;

    let watch = world.hub.clock.stopwatch();
    let compared = compare(&world, delivery.shared(), &application).await?;
    let rate = float(count) / watch.elapsed().as_secs_f64();
    let size = application
        .settings
        .scim()
        .map_or(100, |scim| scim.profile.page_size);
    let pages = peer.bare_pages(&world, size).await?;
    delivery.stop().await;
    anyhow::ensure!(
        compared.counts.users.same == count as u64,
        "{:?}",
        compared.counts
    );

    let of = |told: Told, objects: usize| float(usize::try_from(told.requests).unwrap_or(0)) / float(objects);
    let (user, change) = (of(a_user, count), of(a_change, changes));
    let figure = |what: String, value: f64, unit: &str| Figure::new("scim", what, value, unit);
    let mut figures = vec![
        figure(
            format!("{count} users, never told before"),
            created * user,
            "requests/s",
        )
        .beside("bare requests, one after the other", floor),
        figure(
            "requests for a new user, who is looked for before".to_owned(),
            user,
            "",
        )
        .aims("2", user <= 2.01),
        figure(
            format!("{changes} changed users, with their commits"),
            changed * change,
            "requests/s",
        )
        .beside("bare requests, one after the other", floor),
        figure("requests for a changed user".to_owned(), change, "").aims("at most 1", change <= 1.0),
        figure(
            format!("requests for one who joins a group of {}", count - 1),
            of(a_member, 1),
            "",
        )
        .aims("1", a_member.requests == 1),
        figure(
            "the same, the largest body".to_owned(),
            float(usize::try_from(a_member.largest)?),
            "bytes",
        )
        .aims("below 1,000", a_member.largest < 1_000),
        figure(
            format!("comparison with {count} users, by cursor"),
            rate,
            "users/s",
        )
        .beside("reading the same pages", pages),
    ];
    figures.extend(memory(
        "scim",
        &format!("{count} users and a group of all of them"),
    ));
    peer.player.end()?;
    Ok(figures)
}
