//! A connection by which another directory feeds this one, by SCIM: how fast users come in, what one who joins a large
//! group costs, and listing all users.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use axum::body::Bytes;
use axum::http::HeaderValue;
use reqwest::{Method, Url};
use rollcall_protocol::SystemRandom;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::scale::{megabytes, users_of};
use super::site::Site;
use super::world::{self, World};
use super::{Figure, Options, Sorted, float};
use crate::access::Caller;
use crate::connection::tokens::{NewConnectionToken, Term};
use crate::connection::{Command as ConnectionCommand, NewConnection};
use crate::delivery::Shared;
use crate::delivery::egress::{Egress, Question};
use crate::directory::Command;
use crate::meter::peak_memory;
use crate::secret::ExposeSecret as _;

/// How many requests are on their way at once.
const AT_ONCE: usize = 32;

/// How many users a page has.
const PAGE: usize = 100;

/// How many members a request adds.
const MEMBERS: usize = 1_000;

/// How often somebody joins a group and leaves it.
const TIMES: usize = 50;

/// The kind of all bodies (RFC 7644, section 8.1).
const KIND: &str = "application/scim+json";

/// What a group answers that was changed, if its members are not asked for.
const WITHOUT_MEMBERS: &str = "excludedAttributes=members";

/// Somebody who sends requests to a connection.
#[derive(Clone)]
struct Peer {
    egress: Arc<Egress>,
    base: Url,
    authorization: HeaderValue,
}

impl Peer {
    async fn of(world: &World, site: &Site) -> Result<Self> {
        let hub = &world.hub;
        let caller = || Caller::system("bench");
        let new = json!({
            "name": "Bench", "organizationalUnitId": "ou_root", "requestsPerSecond": 10_000,
        });
        let new: NewConnection = serde_json::from_value(new)?;
        let made = hub
            .apply_connection(caller(), ConnectionCommand::Create(new))
            .await?;
        let id = made.connection().context("no connection")?.id;
        let now = hub.clock.now();
        let (token, text) = NewConnectionToken::generate(id.clone(), Term::Never, now, &SystemRandom)?;
        let create = ConnectionCommand::CreateToken(token);
        hub.apply_connection(caller(), create).await?;
        Ok(Self {
            egress: Arc::new(world::egress()?),
            base: Url::parse(&format!("http://127.0.0.1:{}/scim/v2/{id}/", site.port))?,
            authorization: HeaderValue::from_str(&format!("Bearer {}", text.expose_secret()))?,
        })
    }

    /// Sends a request, and returns the body of its answer.
    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Result<Bytes> {
        let url = self.base.join(path)?;
        let question = Question {
            method,
            url: &url,
            body: body.map(|body| (KIND, Bytes::from(body.to_string()))),
            accept: KIND,
            authorization: Some(self.authorization.clone()),
            if_match: None,
            at_most: 64 << 20,
        };
        let reply = self.egress.ask(question).await?;
        let said = String::from_utf8_lossy(&reply.body);
        anyhow::ensure!(reply.status < 300, "{path}: {}: {said}", reply.status);
        Ok(reply.body.into())
    }

    async fn make(&self, endpoint: &str, body: Value) -> Result<String> {
        let made = self.ask(Method::POST, endpoint, Some(body)).await?;
        let made: Value = serde_json::from_slice(&made)?;
        Ok(made["id"].as_str().context("no id")?.to_owned())
    }

    /// Makes so many users, some at once. Returns their ids.
    async fn make_users(&self, count: usize) -> Result<Vec<String>> {
        let mut making = JoinSet::new();
        for first in 0..AT_ONCE {
            let peer = self.clone();
            making.spawn(async move {
                let mut ids = Vec::new();
                for number in (first..count).step_by(AT_ONCE) {
                    let user = json!({
                        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
                        "userName": format!("user{number:06}"),
                        "displayName": format!("Given{} Family{}", number % 977, number % 1_999),
                        "externalId": format!("employee-{number:06}"),
                        "emails": [{ "value": format!("user{number:06}@example.org"), "primary": true }],
                    });
                    ids.push(peer.make("Users", user).await?);
                }
                Ok::<_, anyhow::Error>(ids)
            });
        }
        let mut all = Vec::with_capacity(count);
        while let Some(ids) = making.join_next().await {
            all.extend(ids??);
        }
        Ok(all)
    }

    /// A group of these users.
    async fn make_group(&self, name: &str, members: &[String]) -> Result<String> {
        let group = json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": name,
        });
        let id = self.make("Groups", group).await?;
        for members in members.chunks(MEMBERS) {
            let members: Vec<Value> = members.iter().map(|id| json!({ "value": id })).collect();
            self.change(&id, json!({ "op": "add", "path": "members", "value": members }))
                .await?;
        }
        Ok(id)
    }

    async fn change(&self, group: &str, operation: Value) -> Result<()> {
        let path = format!("Groups/{group}?{WITHOUT_MEMBERS}");
        let patch = json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": [operation],
        });
        self.ask(Method::PATCH, &path, Some(patch)).await?;
        Ok(())
    }

    /// How long it takes that somebody joins a group, in milliseconds: the middle one.
    async fn join(&self, world: &World, group: &str, user: &str) -> Result<f64> {
        let mut times = Vec::with_capacity(TIMES);
        for _ in 0..TIMES {
            let members = json!([{ "value": user }]);
            let watch = world.hub.clock.stopwatch();
            self.change(group, json!({ "op": "add", "path": "members", "value": members }))
                .await?;
            times.push(watch.elapsed().as_secs_f64() * 1e3);
            let path = format!("members[value eq \"{user}\"]");
            self.change(group, json!({ "op": "remove", "path": path }))
                .await?;
        }
        Ok(Sorted::new(times).quantile(0.5))
    }

    /// Lists users by cursor, so many at least if there are. Returns how many they are, and how many bytes a page has.
    async fn list(&self, least: usize) -> Result<(usize, usize)> {
        let (mut cursor, mut users, mut bytes, mut pages) = (String::new(), 0, 0, 0);
        loop {
            let page = self
                .ask(Method::GET, &format!("Users?count={PAGE}&cursor={cursor}"), None)
                .await?;
            bytes += page.len();
            pages += 1;
            let page: Value = serde_json::from_slice(&page)?;
            users += page["Resources"].as_array().map_or(0, Vec::len);
            match page["nextCursor"].as_str() {
                Some(next) if users < least => next.clone_into(&mut cursor),
                _ => return Ok((users, bytes / pages)),
            }
        }
    }
}

/// How many users a second are made by as many callers at the directory's door, without requests.
async fn bare_users(count: usize) -> Result<f64> {
    let world = World::new().await?;
    let watch = world.hub.clock.stopwatch();
    let mut making = JoinSet::new();
    for first in 0..AT_ONCE {
        let hub = world.hub.clone();
        making.spawn(async move {
            for number in (first..count).step_by(AT_ONCE) {
                let create = Command::CreateUser(world::new_user(number));
                hub.apply(Caller::system("bench"), create).await?;
            }
            Ok::<_, anyhow::Error>(())
        });
    }
    while let Some(made) = making.join_next().await {
        made??;
    }
    Ok(float(count) / watch.elapsed().as_secs_f64())
}

pub(super) async fn measure(options: &Options) -> Result<Vec<Figure>> {
    let count = users_of(options);
    let world = World::new().await?;
    let shared = Shared::for_one(world.hub.clone(), world::egress()?).await?;
    let site = Site::serve(&world, shared).await?;
    let peer = Peer::of(&world, &site).await?;
    let bare = bare_users(count.min(10_000)).await?;
    let watch = world.hub.clock.stopwatch();
    let users = peer.make_users(count).await?;
    let made = float(count) / watch.elapsed().as_secs_f64();
    let (last, others) = users.split_last().context("nobody")?;
    let small = peer.make_group("Few", &others[..10]).await?;
    let large = peer.make_group("Everybody", others).await?;
    let in_small = peer.join(&world, &small, last).await?;
    let in_large = peer.join(&world, &large, last).await?;

    // What half of them leaves in the caches of the database's readers, which have a fixed size, is no growth with their
    // number.
    peer.list(count / 2).await?;
    let before = peak_memory();
    let watch = world.hub.clock.stopwatch();
    let (listed, bytes) = peer.list(usize::MAX).await?;
    let seconds = watch.elapsed().as_secs_f64();
    anyhow::ensure!(listed == count, "{listed} of {count} users were listed");
    let grown = peak_memory().zip(before).map(|(after, before)| after - before);
    let pages = count.div_ceil(PAGE);
    let page = Url::parse(&format!("http://127.0.0.1:{}/bare/{bytes}", site.port))?;
    let watch = world.hub.clock.stopwatch();
    for _ in 0..pages {
        peer.egress.get(&page).await?;
    }
    let floor = float(count) / watch.elapsed().as_secs_f64();
    site.end().await?;

    let figure = |what: String, value: f64, unit: &str| Figure::new("connection", what, value, unit);
    let mut figures = vec![
        figure(
            format!("{count} users made by POST, {AT_ONCE} at once"),
            made,
            "users/s",
        )
        .beside("the same commands without requests", bare),
        figure(
            format!("one joins a group of {}, until it is answered, p50", others.len()),
            in_large,
            "ms",
        )
        .beside("a group of 10", in_small)
        .aims("at most twice as long", in_large <= 2.0 * in_small),
        figure(
            format!("{count} users listed by cursor, {PAGE} on a page"),
            float(count) / seconds,
            "users/s",
        )
        .beside("bare pages of the same size", floor),
    ];
    if let Some(grown) = grown {
        let grown = megabytes(grown);
        figures.push(
            figure(
                "the same: growth of the peak of memory after half of them".to_owned(),
                grown,
                "MB",
            )
            .aims("flat: below 20 MB", grown < 20.0),
        );
    }
    Ok(figures)
}
