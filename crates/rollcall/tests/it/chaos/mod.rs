//! The real programs, killed and stopped from outside while others write.
//!
//! `rollcall serve` (one on SQLite, two on PostgreSQL), `rollcall-mirror` with a part of the directory as its scope,
//! and a receiver without memory that sees everything. Writers use the administrator's API all the time, and know
//! what was acknowledged. Meanwhile a seed says what is killed or stopped, when, and for how long, also beyond the
//! lease. In namespaces of its own the long form also fills the disk and cuts the network. When the faults have stopped, everything has to be where it belongs.
//!
//! The short form is a test like others; `cargo xtask chaos --minutes M` runs the long one, which also kills the
//! database server. Whatever is started ends with the test, also when that is killed itself.

#![allow(clippy::print_stdout, reason = "its counts are for people")]

mod apart;
mod checks;
mod faults;
mod programs;
mod receiver;
mod server;
mod writers;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rollcall::application::{Application, Scope};
use rollcall::hub::Hub;
use rollcall::id::ROOT_UNIT;
use rollcall::secret::AdminToken;
use rollcall_db::testing::{did_not_run, postgres, sqlite};
use rollcall_protocol::{EncryptionKey, SystemRandom};
use rollcall_receiver::Mirror;
use serde_json::json;

use self::apart::Disk;
use self::faults::{Faults, LEASE};
use self::programs::{Program, address, bound};
use self::receiver::Post;
use self::server::Server;
use self::writers::{Acknowledged, Api, Units, Writer};
use crate::forgetful::synchronize;
use crate::plain::{jwks, settled};
use crate::simulation::Dice;
use crate::world::{add_application, open_hub};

const WRITERS: usize = 4;
const MINUTES: &str = "ROLLCALL_CHAOS_MINUTES";
const SEED: &str = "ROLLCALL_CHAOS_SEED";

/// One run.
struct Run<'a> {
    name: &'a str,
    seed: u64,
    /// How long there are faults.
    lasts: Duration,
    nodes: usize,
    database: &'a str,
    mirror: &'a str,
    /// The database server, if it is to be killed too.
    server: Option<Program>,
    /// Whether the network may be cut.
    cuts: bool,
    /// The disk on which the databases are, if it may be filled.
    disk: Option<Disk>,
}

/// Whether programs can be bound to the test that starts them.
fn is_possible() -> bool {
    let found = std::process::Command::new("setpriv").arg("--version").output();
    let possible = found.is_ok_and(|it| it.status.success());
    if !possible {
        did_not_run(
            "setpriv",
            "no programs were killed while they work, because setpriv (util-linux) is missing",
        );
    }
    possible
}

#[test]
fn programs_on_sqlite_that_are_killed_and_stopped_lose_nothing() {
    if is_possible() {
        on_sqlite(1, Duration::from_secs(7), false, None);
    }
}

#[test]
fn two_nodes_on_postgresql_that_are_killed_and_stopped_lose_nothing() {
    if !is_possible() {
        return;
    }
    let (Some(database), Some(mirror)) = (postgres("chaos"), postgres("chaos_mirror")) else {
        return;
    };
    Run {
        name: "PostgreSQL, two nodes",
        seed: 2,
        lasts: Duration::from_secs(7),
        nodes: 2,
        database: &database.url,
        mirror: &mirror.url,
        server: None,
        cuts: false,
        disk: None,
    }
    .run();
}

#[test]
#[ignore = "it takes as long as one wants: cargo xtask chaos --minutes M"]
fn for_as_many_minutes_as_wanted() {
    let number = |name: &str| std::env::var(name).ok().map(|it| it.parse::<u64>().unwrap());
    let Some(minutes) = number(MINUTES).filter(|_| is_possible()) else {
        return;
    };
    let seed = number(SEED).unwrap_or(1);
    // Half of the time for each database.
    let lasts = Duration::from_secs(minutes * 30);
    end_with_xtask();
    let cuts = apart::is_apart();
    if !cuts {
        did_not_run(
            "chaos",
            "no disk was filled and no network cut, which needs root and namespaces (unshare)",
        );
    }
    on_sqlite(seed, lasts, cuts, cuts.then(Disk::new));
    let Some(server) = Server::new() else {
        did_not_run("postgres", "no PostgreSQL of its own to be killed was found");
        return;
    };
    let program = server.start();
    let (database, mirror) = (server.database("hub"), server.database("mirror"));
    Run {
        name: "PostgreSQL, two nodes, its server killed too",
        seed,
        lasts,
        nodes: 2,
        database: &database,
        mirror: &mirror,
        server: Some(program),
        cuts,
        disk: None,
    }
    .run();
}

fn on_sqlite(seed: u64, lasts: Duration, cuts: bool, disk: Option<Disk>) {
    let (database, mirror) = (sqlite(), sqlite());
    let on_disk = |name: &str| disk.as_ref().map(|it| format!("sqlite:{}/{name}.db", it.path()));
    Run {
        name: "SQLite",
        seed,
        lasts,
        nodes: 1,
        database: &on_disk("hub").unwrap_or(database.url),
        mirror: &on_disk("mirror").unwrap_or(mirror.url),
        server: None,
        cuts,
        disk,
    }
    .run();
}

/// Ends with `cargo xtask chaos`, which holds the other end of the standard input.
fn end_with_xtask() {
    std::thread::spawn(|| {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(1);
    });
}

/// The applications and what they have.
struct Applications {
    mirror: Application,
    forgetful: Application,
    /// The hub's id on the wire.
    instance: String,
    narrow: Scope,
    units: Units,
    groups: Vec<String>,
}

impl Run<'_> {
    /// Runs, checks, and prints what there was. The programs belong to the thread that starts them.
    fn run(self) {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        println!(
            "chaos: {}, seed {}, {} s",
            self.name,
            self.seed,
            self.lasts.as_secs()
        );
        let path = folder.path().to_owned();
        let run = std::panic::AssertUnwindSafe(move || self.go(&path, &runtime));
        if let Err(panic) = std::panic::catch_unwind(run) {
            println!("chaos: what the programs wrote is in {}", folder.keep().display());
            std::panic::resume_unwind(panic);
        }
    }

    fn go(self, folder: &Path, runtime: &tokio::runtime::Runtime) {
        let key = EncryptionKey::generate(&SystemRandom);
        let (at_mirror, at_forgetful) = (address(), address());
        let nodes: Vec<_> = (0..self.nodes).map(|_| address()).collect();
        let token = folder.join("admin.token");
        let api = Api {
            nodes: nodes.clone(),
            token: AdminToken::read_or_make(&token, &SystemRandom)
                .unwrap()
                .expose()
                .to_string(),
        };
        // The first start makes the database, before two make it at once.
        runtime.block_on(async {
            open_hub(self.database).await.db.close().await;
            let mirror = Mirror::open(self.mirror).await.unwrap();
            checks::watch(&mirror).await;
            mirror.close().await;
        });
        let hubs = nodes.iter().enumerate().map(|(index, listen)| {
            let (data, database) = (folder.join(format!("hub-{index}")), self.database.to_owned());
            rollcall::private::make_folder(&data).unwrap();
            std::io::Write::write_all(
                &mut rollcall::private::create(&data.join("master.key")).unwrap(),
                "07".repeat(32).as_bytes(),
            )
            .unwrap();
            std::fs::write(data.join("rollcall.toml"), configuration()).unwrap();
            let (address, listen, token) = (*listen, listen.to_string(), token.clone());
            Program::start(folder, &format!("hub-{index}"), address, move || {
                let mut command = bound(Path::new(env!("CARGO_BIN_EXE_rollcall")), None);
                command
                    .args(["serve", "--listen", &listen])
                    .env("ROLLCALL_DATA_DIR", &data)
                    .env("ROLLCALL_DATABASE", &database)
                    .env("ROLLCALL_ADMIN_TOKEN_FILE", &token)
                    .env("ROLLCALL_LOG", "warn");
                command
            })
        });
        let mut programs: Vec<Program> = hubs.collect();
        let applications = runtime.block_on(set_up(&self, &api, &key, at_mirror, at_forgetful));
        let keys = runtime.block_on(async {
            let hub = open_hub(self.database).await;
            let keys = jwks(&hub, &applications.forgetful).await;
            hub.db.close().await;
            serde_json::to_string(&keys).unwrap()
        });
        let posts = folder.join("receiver");
        std::fs::create_dir(&posts).unwrap();
        let post = Post {
            listen: at_forgetful,
            application: applications.forgetful.id.clone(),
            key: key.to_hex().to_string(),
            jwks: keys,
        };
        post.write(&posts);
        let of_receiver = posts.clone();
        programs.push(Program::start(folder, "receiver", at_forgetful, move || {
            receiver::command(&of_receiver)
        }));
        programs.push(mirror(
            folder,
            &self,
            &applications,
            &post.key,
            at_mirror,
            nodes[0],
        ));
        let may_end = self.server.is_some() || self.disk.is_some();
        programs.extend(self.server);
        let synchronized = runtime.block_on(async {
            let hub = open_hub(self.database).await;
            synchronize(&hub, &applications.mirror).await;
            synchronize(&hub, &applications.forgetful).await;
            let head = hub.db.read(rollcall::change::head).await.unwrap();
            hub.db.close().await;
            head.time
        });

        let end = Arc::new(AtomicBool::new(false));
        let seeds = Dice::new(self.seed);
        let writers: Vec<_> = applications
            .groups
            .iter()
            .enumerate()
            .map(|(number, group)| {
                Writer::start(number, &api, seeds.next(), &applications.units, group, &end)
            })
            .collect();
        let (programs, disk, counts) = Faults::new(seeds, programs, self.cuts, self.disk).run_for(self.lasts);
        // They go on for a moment after all is well.
        std::thread::sleep(Duration::from_millis(500));
        end.store(true, Ordering::SeqCst);
        let acknowledged: Vec<Acknowledged> = writers.into_iter().map(|it| it.join().unwrap()).collect();
        let writes: usize = acknowledged.iter().map(|done| done.writes).sum();

        runtime.block_on(async {
            let hub = open_hub(self.database).await;
            settled(&hub, &applications.mirror).await;
            settled(&hub, &applications.forgetful).await;
            let everything = checks::in_scope(&hub, &Scope::everything()).await;
            let log = checks::log(&hub).await;
            checks::nothing_is_lost(&log, &everything, &acknowledged);
            let told = receiver::told(&posts).await;
            let (events, again) = checks::told_in_order(&told.app, &everything);
            let mirror = Mirror::open(self.mirror).await.unwrap();
            let (should, has) = (
                checks::in_scope(&hub, &applications.narrow).await,
                mirror.snapshot().await.unwrap(),
            );
            assert!(should == has, "the mirror: {:#?}", should.differences(&has));
            let applied = checks::nothing_twice(&mirror, &log, synchronized).await;
            println!("{}", counts.report());
            assert!(may_end || counts.ends() == 0, "a program ended by itself");
            println!(
                "chaos: {writes} writes were acknowledged, none is lost; {} changes, {} users at the end",
                log.len(),
                everything.users.len(),
            );
            println!(
                "chaos: the receiver without memory got {} requests with {events} events, {again} of them again, \
                 and has what the directory has",
                told.requests
            );
            println!("chaos: the mirror applied {applied} events of users, none twice, and has its scope");
            assert!(applied > 0 && events > 0 && writes > 0);
            mirror.close().await;
            hub.db.close().await;
        });
        drop(programs);
        drop(disk);
    }
}

fn configuration() -> String {
    format!(
        "[egress]\nallow = [\"127.0.0.0/8\"]\n[delivery]\nfirst_pause = 1\nlongest_pause = 1\nfirst_probe = 1\n\
         longest_probe = 2\nevent_tries = 20\nlease = {}\n",
        LEASE.as_secs()
    )
}

async fn set_up(
    run: &Run<'_>,
    api: &Api,
    key: &EncryptionKey,
    at_mirror: std::net::SocketAddr,
    at_forgetful: std::net::SocketAddr,
) -> Applications {
    let dice = Dice::new(run.seed);
    let unit = |name: &str, parent: &str| {
        let body = json!({ "name": name, "parentId": parent });
        api.make(&dice, "/organizational-units", name, &body)
    };
    let (scope, other) = (unit("Scope", ROOT_UNIT), unit("Other", ROOT_UNIT));
    let movable = [unit("One", &scope), unit("Two", &other)];
    let groups: Vec<String> = (0..WRITERS)
        .map(|number| {
            let name = format!("Group {number}");
            api.make(&dice, "/groups", &name, &json!({ "name": name }))
        })
        .collect();
    let narrow = Scope {
        organizational_unit_ids: [scope.clone()].into(),
        group_ids: [groups[0].clone()].into(),
    };
    let hub: Hub = open_hub(run.database).await;
    let mut applications = Vec::new();
    for (name, listen, scope) in [
        ("mirror", at_mirror, narrow.clone()),
        ("forgetful", at_forgetful, Scope::everything()),
    ] {
        let url = format!("http://{listen}/events");
        applications.push(add_application(&hub, name, &url, Some(key.clone()), scope).await);
    }
    let instance = hub.instance.id.clone();
    hub.db.close().await;
    let forgetful = applications.pop().unwrap();
    Applications {
        mirror: applications.pop().unwrap(),
        forgetful,
        instance,
        narrow,
        units: Units {
            scope,
            other,
            movable,
        },
        groups,
    }
}

/// The real mirror, which fetches the public keys from the first node.
fn mirror(
    folder: &Path,
    run: &Run<'_>,
    applications: &Applications,
    key: &str,
    listen: std::net::SocketAddr,
    node: std::net::SocketAddr,
) -> Program {
    let config = folder.join("rollcall-mirror.toml");
    let text = format!(
        "listen = \"{listen}\"\ndatabase = \"{}\"\napplication_id = \"{}\"\nencryption_key = \"{key}\"\n\
         jwks_url = \"http://{node}/v2/{}/{}/provisioning/jwks\"\n",
        run.mirror, applications.mirror.id, applications.instance, applications.mirror.id,
    );
    std::fs::write(&config, text).unwrap();
    let program = programs::mirror();
    Program::start(folder, "mirror", listen, move || {
        let mut command = bound(&program, None);
        command.arg(&config).env("RUST_LOG", "warn");
        command
    })
}
