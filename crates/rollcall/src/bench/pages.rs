//! What each page of the console and each list of the administrator's API takes, beside a bare page of the same size.
//!
//! The pages are asked for over HTTP, one after the other, on one connection. Between two of them goes a bare page of the
//! same size, served by the same server, so that both meet the same machine.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use rollcall_protocol::{EncryptionKey, SigningKey, SystemRandom};
use tokio::sync::oneshot;

use super::client::Client;
use super::database::Kind;
use super::deliver::wait;
use super::scale::{people, users_of};
use super::site::Site;
use super::world::{World, egress, new_user};
use super::{Figure, Options, Sorted, float};
use crate::access::{Caller, Role};
use crate::application::keys::NewKey;
use crate::application::{self, Encryption, Limits, NewApplication, Scope, Settings, Subscription};
use crate::change;
use crate::delivery::Shared;
use crate::delivery::ledger::attempts;
use crate::directory::{Command, NewGroup, NewUser, query};
use crate::import::{self, Format};

/// How often each page is asked for.
const ROUNDS: usize = 40;
/// In how many milliseconds a page is to be there.
const MILLIS: f64 = 20.0;
/// How many statements it is to take at most.
const STATEMENTS: u64 = 12;
/// Groups, each with so many members.
const GROUPS: usize = 200;
const MEMBERS: usize = 100;
/// Changes of which every application was told.
const TOLD: usize = 20;

pub(super) async fn measure(options: &Options) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for kind in Kind::all(options) {
        figures.extend(on(&kind, options).await?);
    }
    Ok(figures)
}

/// What the pages are about.
struct Subjects {
    application: String,
    /// Who is in scope of the owner's application.
    user: String,
    unit: String,
    group: String,
    attempt: i64,
    /// The application of the owner.
    own: String,
    /// How far the log goes.
    head: i64,
    /// In the middle of the users and the applications.
    middle: (String, String),
}

/// Fills a hub.
async fn filled(world: &World, users: usize, applications: usize) -> Result<Subjects> {
    let hub = &world.hub;
    let file = people(world, users)?;
    import::import(hub, &import::Options::of(&file, Format::Csv), |_, _| {}).await?;
    let unit = hub
        .db
        .read(|tx| query::find_unit(tx, "Division 3/Department 43"))
        .await?
        .context("no unit")?
        .id;
    for number in 0..200 {
        let new = NewUser {
            username: format!("zhangwei{number:03}"),
            display_name: format!("张伟{number}"),
            email: None,
            phone_region: Some("86".to_owned()),
            phone_number: Some(format!("138{number:08}")),
            external_id: None,
            primary_organizational_unit_id: unit.clone(),
            ..new_user(number)
        };
        hub.apply(Caller::system("bench"), Command::CreateUser(new))
            .await?;
    }
    let members = hub
        .db
        .read(|tx| query::users_after(tx, "", GROUPS * MEMBERS))
        .await?;
    let members: Vec<String> = members.into_iter().map(|user| user.id).collect();
    let mut group = String::new();
    for number in 0..GROUPS {
        let new = NewGroup {
            name: format!("Group {number:04}"),
            ..NewGroup::default()
        };
        group = hub
            .apply(Caller::system("bench"), Command::CreateGroup(new))
            .await?
            .id;
        let user_ids = members
            .iter()
            .cycle()
            .skip(number * MEMBERS)
            .take(MEMBERS.min(members.len()));
        let add = Command::AddMembers {
            group_id: group.clone(),
            user_ids: user_ids.cloned().collect(),
        };
        hub.apply(Caller::system("bench"), add).await?;
    }
    let all = world
        .applications(applications, Limits::default(), |_| "ok")
        .await?;
    let own = owned(world, &unit).await?;
    let user = hub
        .db
        .read(|tx| query::find_user(tx, "name:zhangwei007"))
        .await?
        .context("no user")?;
    // Requests to every application, as a hub has them that is used.
    let delivery = world.deliver().await?;
    for number in 0..TOLD {
        world.change(std::slice::from_ref(&user.id), number).await?;
    }
    let acknowledged = delivery.shared().hub.meters.acknowledged();
    wait(&acknowledged, TOLD * applications).await?;
    delivery.stop().await;
    let application = all[applications / 2].id.clone();
    let id = application.clone();
    let newest = hub.db.read(move |tx| attempts::newest(tx, &id, 0, 1)).await?;
    Ok(Subjects {
        application,
        user: user.id,
        unit,
        group,
        attempt: newest.first().context("no request")?.0,
        own,
        head: hub.db.read(change::head).await?.seq,
        middle: (
            format!("user{:06}", users / 2),
            format!("application {:04}", applications / 2),
        ),
    })
}

/// An application whose scope is a unit, and whose endpoint is not there.
async fn owned(world: &World, unit: &str) -> Result<String> {
    let der = SigningKey::generate("own")?.pkcs8_der()?;
    let key = SigningKey::from_pkcs8("KEYown", &der)?;
    let new = NewApplication {
        name: "own".to_owned(),
        settings: Settings::event_callback("http://127.0.0.1:1/", Encryption::Required),
        encryption_key: Some(EncryptionKey::generate(&SystemRandom)),
        secret: None,
        scope: Scope {
            organizational_unit_ids: [unit.to_owned()].into(),
            ..Scope::default()
        },
        subscription: Subscription::everything(),
        signing_key: NewKey::of(&key, &SystemRandom, &world.hub.master)?,
    };
    let create = application::Command::Create(Box::new(new));
    let made = world
        .hub
        .apply_application(Caller::system("bench"), create)
        .await?;
    Ok(made.application.id)
}

impl Subjects {
    /// What an administrator looks at: a name for each address.
    fn of_administrator(&self) -> Vec<(&'static str, String)> {
        let Self {
            application,
            user,
            unit,
            group,
            attempt,
            head,
            middle: (name, application_name),
            ..
        } = self;
        let app = |tab: &str| format!("/console/applications/{application}{tab}");
        let api = |path: &str| format!("/api/v1/{path}");
        let folded = |name: &str| name.replace(' ', "%20");
        vec![
            ("home", "/console/".into()),
            ("applications", "/console/applications".into()),
            (
                "applications, from the middle",
                format!("/console/applications?after={}", folded(application_name)),
            ),
            (
                "applications, searched",
                format!("/console/applications?search={}", folded(application_name)),
            ),
            ("provisioning", app("")),
            ("settings", app("/settings")),
            ("scope", app("/scope")),
            ("subscription", app("/subscription")),
            ("connectivity test", app("/test")),
            ("synchronizations", app("/synchronize")),
            ("deliveries", app("/deliveries")),
            (
                "deliveries, of a user",
                app(&format!("/deliveries?subject={user}")),
            ),
            ("a delivery", app(&format!("/deliveries/{attempt}"))),
            ("keys", app("/keys")),
            ("for developers", app("/receive")),
            ("deleting an application", app("/delete")),
            ("directory", "/console/directory".into()),
            (
                "directory, from the middle",
                format!("/console/directory?after={name}"),
            ),
            ("directory, a unit", format!("/console/directory?unit={unit}")),
            ("directory, by name", "/console/directory?search=family42".into()),
            (
                "directory, by phone",
                "/console/directory?search=%2B49+170+0000042".into(),
            ),
            (
                "directory, in Chinese",
                "/console/directory?search=%E5%BC%A0%E4%BC%9F".into(),
            ),
            (
                "directory, nobody",
                "/console/directory?search=nobody-at-all".into(),
            ),
            ("a user", format!("/console/users/{user}")),
            ("why", format!("/console/users/{user}/{application}")),
            ("changing a user", format!("/console/users/{user}/edit")),
            ("moving a user", format!("/console/users/{user}/units")),
            ("deleting a unit", format!("/console/units/{unit}/delete")),
            ("groups", "/console/groups".into()),
            ("groups, searched", "/console/groups?search=group%200042".into()),
            ("a group", format!("/console/groups/{group}")),
            ("transfer", "/console/transfer".into()),
            ("accounts", "/console/accounts".into()),
            ("tokens", "/console/tokens".into()),
            ("sessions", "/console/sessions".into()),
            ("audit", "/console/audit".into()),
            ("audit, of a user", format!("/console/audit?target={user}")),
            ("API: users", api("users")),
            ("API: users, by name", api("users?search=user00")),
            ("API: a user", api("users/zhangwei007")),
            ("API: units", api("organizational-units?search=department")),
            (
                "API: a unit",
                api("organizational-units/Division%203%2FDepartment%2043"),
            ),
            ("API: groups", api("groups")),
            ("API: members", api(&format!("groups/{group}/members"))),
            ("API: applications", api("applications")),
            ("API: an application", api(&format!("applications/{application}"))),
            (
                "API: requests",
                api(&format!("applications/{application}/attempts")),
            ),
            ("API: why", api(&format!("applications/{application}/why/{user}"))),
            ("API: changes", api("changes")),
            (
                "API: changes, at the end",
                api(&format!("changes?after={}", head - 100)),
            ),
            ("API: audit", api("audit")),
        ]
    }

    /// What the owner of an application looks at.
    fn of_owner(&self) -> Vec<(&'static str, String)> {
        let Self { user, own, .. } = self;
        vec![
            ("home", "/console/".into()),
            ("provisioning", format!("/console/applications/{own}")),
            ("deliveries", format!("/console/applications/{own}/deliveries")),
            ("directory", "/console/directory".into()),
            (
                "directory, in Chinese",
                "/console/directory?search=%E5%BC%A0%E4%BC%9F".into(),
            ),
            ("a user", format!("/console/users/{user}")),
            ("why", format!("/console/users/{user}/{own}")),
            ("groups", "/console/groups".into()),
            ("API: users", "/api/v1/users".into()),
            ("API: why", format!("/api/v1/applications/{own}/why/{user}")),
        ]
    }
}

async fn on(kind: &Kind, options: &Options) -> Result<Vec<Figure>> {
    let users = options.users.unwrap_or_else(|| users_of(options));
    let applications = options.applications();
    let world = World::on(kind).await?;
    let subjects = filled(&world, users, applications).await?;
    let shared = Shared::for_one(world.hub.clone(), egress()?).await?;
    let site = Site::serve(&world, shared).await?;
    let administrator = site.session(&world, "administrator", Role::Administrator).await?;
    let owner = Role::ApplicationOwner([subjects.own.clone()].into());
    let owner = site.session(&world, "owner", owner).await?;
    let of = format!("{users} users, {applications} applications, {}", kind.name());
    let mut figures = Vec::new();
    for (who, session, pages) in [
        ("", administrator, subjects.of_administrator()),
        (" (owner)", owner, subjects.of_owner()),
    ] {
        let mut client = Client::connect(site.port, &session).await?;
        let far = ("API: users, far behind", far(&mut client).await?);
        for (name, path) in pages.into_iter().chain([far]) {
            let page = page(&world, &mut client, &path).await?;
            let what = format!("{name}{who}; {of}");
            let median = page.times.quantile(0.5);
            figures.extend([
                Figure::new("pages", &what, median, "ms")
                    .beside(
                        format!("a bare page of {} kB", page.bytes.div_ceil(1_000)),
                        page.bare.quantile(0.5),
                    )
                    .aims(format!("under {MILLIS} ms"), median < MILLIS),
                Figure::new("pages", format!("{what}: p95"), page.times.quantile(0.95), "ms")
                    .beside("the same of the bare page", page.bare.quantile(0.95)),
                #[expect(clippy::cast_precision_loss, reason = "a page takes few statements")]
                Figure::new("pages", format!("{what}: statements"), page.statements as f64, "")
                    .aims(format!("at most {STATEMENTS}"), page.statements <= STATEMENTS),
            ]);
        }
    }
    site.end().await?;
    Ok(figures)
}

/// How many pages of a thousand users lie before the one that is far behind.
const BEFORE: usize = 20;

/// The address of users that many pages lie before.
async fn far(client: &mut Client) -> Result<String> {
    let mut cursor = String::new();
    for _ in 0..BEFORE {
        let path = format!("/api/v1/users?limit=1000{cursor}");
        let page: serde_json::Value = serde_json::from_slice(&client.get(&path).await?.body)?;
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    Ok(format!("/api/v1/users?limit=100{cursor}"))
}

/// What a page takes.
struct Measured {
    times: Sorted,
    bare: Sorted,
    statements: u64,
    bytes: usize,
}

async fn page(world: &World, client: &mut Client, path: &str) -> Result<Measured> {
    let statements = || world.hub.db.stats().statements;
    // The first one fills caches.
    let first = client.get(path).await?;
    ensure!(first.status == 200, "{path}: {}", first.status);
    let bytes = first.body.len();
    let bare = format!("/bare/{bytes}");
    let before = statements();
    client.get(path).await?;
    let statements = statements() - before;
    let (mut times, mut floors) = (Vec::with_capacity(ROUNDS), Vec::with_capacity(ROUNDS));
    for _ in 0..ROUNDS {
        for (path, times) in [(path, &mut times), (&bare, &mut floors)] {
            let watch = world.hub.clock.stopwatch();
            client.get(path).await?;
            times.push(watch.elapsed().as_secs_f64() * 1e3);
        }
    }
    Ok(Measured {
        times: Sorted::new(times),
        bare: Sorted::new(floors),
        statements,
        bytes,
    })
}

/// How many browsers watch.
const WATCHERS: usize = 10;
/// How often delivery is measured with them, and as often without.
const PAIRS: usize = 6;
/// Requests of one measurement, about: enough for some seconds, so that everybody who watches looks in each.
const REQUESTS: usize = 40_000;

/// Deliveries at full speed while browsers follow Home live, and while they do not, in turns.
pub(super) async fn watchers(options: &Options) -> Result<Vec<Figure>> {
    let applications = options.applications();
    let world = World::new().await?;
    // So few that the last change of each in one round is none of the next one's.
    let users = world.users(4).await?;
    let limits = Limits {
        max_events: 1,
        ..Limits::default()
    };
    world.applications(applications, limits, |_| "ok").await?;
    let delivery = world.deliver().await?;
    let site = Site::serve(&world, Arc::clone(delivery.shared())).await?;
    let acknowledged = delivery.shared().hub.meters.acknowledged();
    let changes = (REQUESTS / applications).max(8);
    let mut events = 0;
    let mut rate = async || {
        let watch = world.hub.clock.stopwatch();
        world.changes(&users, changes).await?;
        events += changes * applications;
        wait(&acknowledged, events).await?;
        Ok::<_, anyhow::Error>(float(changes * applications) / watch.elapsed().as_secs_f64())
    };
    // The first round opens the connections.
    rate().await?;
    let (mut watched, mut alone) = (Vec::new(), Vec::new());
    let mut sessions = Vec::new();
    for number in 0..WATCHERS {
        let name = format!("watcher-{number}");
        sessions.push(site.session(&world, &name, Role::Administrator).await?);
    }
    for _ in 0..PAIRS {
        alone.push(rate().await?);
        let mut watching = tokio::task::JoinSet::new();
        for session in &sessions {
            let client = Client::connect(site.port, session).await?;
            let (begun, has_begun) = oneshot::channel();
            watching.spawn(client.follow("/console/live/home", begun));
            // Somebody who watches has opened the page long ago.
            has_begun.await?;
        }
        watched.push(rate().await?);
        ensure!(
            watching.len() == WATCHERS && watching.try_join_next().is_none(),
            "a watcher has stopped"
        );
        watching.shutdown().await;
    }
    delivery.stop().await;
    site.end().await?;
    let (watched, alone) = (mean(&watched), mean(&alone));
    Ok(vec![
        Figure::new(
            "watchers",
            format!("{applications} applications, 1 event a request, {WATCHERS} browsers follow Home live"),
            watched,
            "events/s",
        )
        .beside("the same while nobody watches", alone)
        .aims("at least 98 % of it", watched / alone >= 0.98),
    ])
}

fn mean(rates: &[f64]) -> f64 {
    rates.iter().sum::<f64>() / float(rates.len().max(1))
}
