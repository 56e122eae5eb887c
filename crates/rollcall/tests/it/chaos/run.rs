//! One run: what it starts, lets happen, and looks at in the end.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rollcall::application::Scope;
use rollcall::secret::AdminToken;
use rollcall_protocol::{EncryptionKey, SystemRandom};
use rollcall_receiver::Mirror;

use super::apart::Disk;
use super::checks;
use super::counts::{Findings, Report};
use super::faults::{Faults, LEASE, Link, Victims};
use super::receiver::{self, Post};
use super::set_up::{self, Applications};
use super::writers::{Acknowledged, Api, Writer};
use crate::forgetful::synchronize;
use crate::plain::jwks;
use crate::programs::{Program, address, bound, hub_folder, serve};
use crate::simulation::Dice;
use crate::world::open_hub;

/// One run.
pub(super) struct Run {
    pub(super) name: &'static str,
    pub(super) seed: u64,
    /// How long there are faults.
    pub(super) lasts: Duration,
    /// Where each hub finds the database.
    pub(super) hubs: Vec<String>,
    /// Where we find it, who are not cut off.
    pub(super) database: String,
    pub(super) mirror: String,
    /// Where the mirror finds its own.
    pub(super) of_mirror: String,
    /// Where the receiver without memory writes, if not beside everything else.
    pub(super) receiver: Option<PathBuf>,
    /// The database server, if it is to be killed too.
    pub(super) server: Option<Program>,
    /// What may be cut beside what programs listen at.
    pub(super) links: Vec<Link>,
    /// Whether the network may be cut.
    pub(super) cuts: bool,
    /// The disks that may be filled.
    pub(super) disks: Vec<(&'static str, Disk)>,
}

/// What goes on during the faults.
struct Going {
    applications: Applications,
    api: Api,
    victims: Victims,
    /// Where the receiver without memory writes.
    told: PathBuf,
    /// When the receivers had everything for the first time.
    synchronized: i64,
}

impl Run {
    /// One hub, and no faults that need more than it.
    pub(super) fn new(name: &'static str, seed: u64, lasts: Duration, database: &str, mirror: &str) -> Self {
        Self {
            name,
            seed,
            lasts,
            hubs: vec![database.to_owned()],
            database: database.to_owned(),
            mirror: mirror.to_owned(),
            of_mirror: mirror.to_owned(),
            receiver: None,
            server: None,
            links: Vec::new(),
            cuts: false,
            disks: Vec::new(),
        }
    }

    /// Runs, looks, and prints what there was. The programs belong to the thread that starts them.
    pub(super) fn run(self) -> Report {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        println!(
            "chaos: {}, seed {}, begins, for {} s",
            self.name,
            self.seed,
            self.lasts.as_secs()
        );
        let path = folder.path().to_owned();
        let run = std::panic::AssertUnwindSafe(move || self.go(&path, &runtime));
        let ran = std::panic::catch_unwind(run);
        if !ran.as_ref().is_ok_and(Report::is_well) {
            println!("chaos: what the programs wrote is in {}", folder.keep().display());
        }
        match ran {
            Ok(report) => {
                println!("{report}");
                report
            }
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    fn go(self, folder: &Path, runtime: &tokio::runtime::Runtime) -> Report {
        let (name, seed, lasts) = (self.name, self.seed, self.lasts);
        let (database, mirror) = (self.database.clone(), self.mirror.clone());
        let may_end = self.server.is_some() || !self.disks.is_empty();
        let going = self.start(folder, runtime);
        let end = Arc::new(AtomicBool::new(false));
        let seeds = Dice::new(seed);
        let Applications { groups, units, .. } = &going.applications;
        let writers: Vec<_> = groups
            .iter()
            .enumerate()
            .map(|(number, group)| Writer::start(number, &going.api, seeds.next(), units, group, &end))
            .collect();
        let (victims, counts) = Faults::new(seeds, going.victims).run_for(lasts);
        // They go on for a moment after all is well.
        std::thread::sleep(Duration::from_millis(500));
        end.store(true, Ordering::SeqCst);
        let acknowledged: Vec<Acknowledged> = writers.into_iter().map(|it| it.join().unwrap()).collect();
        assert!(may_end || counts.ends() == 0, "a program ended by itself");

        let mut report = Report {
            name: name.to_owned(),
            seed,
            lasted: lasts,
            counts,
            writes: acknowledged.iter().map(|done| done.writes).sum(),
            in_doubt: going.api.in_doubt.load(Ordering::Relaxed),
            requests: 0,
            events: 0,
            again: 0,
            applied: 0,
            findings: Findings::default(),
        };
        runtime.block_on(async {
            let found = &mut report.findings;
            let hub = open_hub(&database).await;
            checks::told_everything(&hub, &going.applications.mirror).await;
            checks::told_everything(&hub, &going.applications.forgetful).await;
            let everything = checks::in_scope(&hub, &Scope::everything()).await;
            let log = checks::log(&hub).await;
            checks::the_directory(&log, &everything, &acknowledged, found);
            let told = receiver::told(&going.told).await;
            report.requests = told.requests;
            (report.events, report.again) = checks::what_was_told(&told.app, &everything, found);
            let mirror = Mirror::open(&mirror).await.unwrap();
            let should = checks::in_scope(&hub, &going.applications.narrow).await;
            checks::same("the mirror", &should, &mirror.snapshot().await.unwrap(), found);
            report.applied = checks::what_was_applied(&mirror, &log, going.synchronized, found).await;
            mirror.close().await;
            hub.db.close().await;
        });
        let Victims { programs, disks, .. } = victims;
        drop(programs);
        drop(disks);
        report
    }

    /// Makes the databases, starts the programs, and waits until the receivers have everything.
    fn start(self, folder: &Path, runtime: &tokio::runtime::Runtime) -> Going {
        let key = EncryptionKey::generate(&SystemRandom);
        let (at_mirror, at_forgetful) = (address(), address());
        let nodes: Vec<_> = self.hubs.iter().map(|_| address()).collect();
        let token = folder.join("admin.token");
        let api = Api {
            in_doubt: Arc::new(AtomicUsize::new(0)),
            nodes: nodes.clone(),
            token: AdminToken::read_or_make(&token, &SystemRandom)
                .unwrap()
                .expose()
                .to_string(),
        };
        // The first start makes the database, before two make it at once.
        runtime.block_on(async {
            open_hub(&self.database).await.db.close().await;
            let mirror = Mirror::open(&self.mirror).await.unwrap();
            checks::watch(&mirror).await;
            mirror.close().await;
        });
        let mut links = self.links;
        let mut listens = |name: &str, whose: &str, address: std::net::SocketAddr| {
            if self.cuts {
                links.push(Link {
                    name: whose.to_owned(),
                    address: address.ip(),
                    listener: Some(name.to_owned()),
                });
            }
        };
        let mut programs = Vec::new();
        for (index, (listen, database)) in nodes.iter().zip(&self.hubs).enumerate() {
            let (name, listen) = (format!("hub-{index}"), *listen);
            let (data, database, token) = (folder.join(&name), database.clone(), token.clone());
            hub_folder(&data, &configuration());
            listens(&name, &format!("{name} from its callers"), listen);
            programs.push(Program::start(folder, &name, move || {
                let mut command = serve(&data, &database, &listen.to_string());
                command.env("ROLLCALL_ADMIN_TOKEN_FILE", &token);
                // All writers are one caller here.
                command.env("ROLLCALL_ACCESS_REQUESTS_PER_SECOND", "0");
                bound(&command, None)
            }));
        }
        let set_up = set_up::applications(&self.database, self.seed, &api, &key, at_mirror, at_forgetful);
        let applications = runtime.block_on(set_up);
        let keys = runtime.block_on(async {
            let hub = open_hub(&self.database).await;
            let keys = jwks(&hub, &applications.forgetful).await;
            hub.db.close().await;
            serde_json::to_string(&keys).unwrap()
        });
        let told = self.receiver.unwrap_or_else(|| folder.join("receiver"));
        std::fs::create_dir(&told).unwrap();
        let post = Post {
            listen: at_forgetful,
            application: applications.forgetful.id.clone(),
            key: key.to_hex().to_string(),
            jwks: keys,
        };
        post.write(&told);
        listens("receiver", "hubs from the receiver", at_forgetful);
        let of_receiver = told.clone();
        programs.push(Program::start(folder, "receiver", move || {
            receiver::command(&of_receiver)
        }));
        listens("mirror", "hubs from the mirror", at_mirror);
        let config = applications.of_mirror(&self.of_mirror, &post.key, at_mirror, nodes[0]);
        programs.push(set_up::mirror(folder, &config));
        programs.extend(self.server);
        let synchronized = runtime.block_on(async {
            let hub = open_hub(&self.database).await;
            synchronize(&hub, &applications.mirror).await;
            synchronize(&hub, &applications.forgetful).await;
            let head = hub.db.read(rollcall::change::head).await.unwrap();
            hub.db.close().await;
            head.time
        });
        Going {
            applications,
            api,
            victims: Victims {
                programs,
                links,
                disks: self.disks,
            },
            told,
            synchronized,
        }
    }
}

fn configuration() -> String {
    format!(
        "[egress]\nallow = [\"127.0.0.0/8\"]\n[delivery]\nfirst_pause = 1\nlongest_pause = 1\nfirst_probe = 1\n\
         longest_probe = 2\nevent_tries = 20\nlease = {}\n",
        LEASE.as_secs()
    )
}
