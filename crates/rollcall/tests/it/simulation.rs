//! Hub and receivers in one thread, on time that only passes when everybody waits, from a seed.
//!
//! A run has a hub with three applications: one with the receiver and mirror of the kit, one that keeps no memory
//! of what it has seen, and one that sees a single organizational unit. While the directory changes, the
//! network loses requests and answers, delays them beyond every time-out, and answers with errors; applications are
//! away for minutes, want events again, and commits of the hub's database fail or go through unheard. Then
//! everything is well again, what was set aside is sent again, and all copies must be equal to the directory.
//!
//! `ROLLCALL_SEED=7 cargo test -p rollcall --test it simulation` repeats the run of one seed and prints its history.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Bytes;
use reqwest::Url;
use rollcall::access::Caller;
use rollcall::application::{Application, Entitlements, Scope, store};
use rollcall::clock::Clock;
use rollcall::compare;
use rollcall::delivery::egress::failure::Failure;
use rollcall::delivery::egress::{Egress, Peer, Reply};
use rollcall::delivery::job;
use rollcall::delivery::ledger::operate;
use rollcall::delivery::ledger::parked::{self, ParkedState};
use rollcall::delivery::signing::Place;
use rollcall::delivery::{Delivery, Options};
use rollcall::directory::{Command, NewGroup, NewUnit};
use rollcall::hub::{Hub, HubParts};
use rollcall::id::ROOT_UNIT;
use rollcall::maintenance::{self, Maintenance};
use rollcall::secret::MasterKey;
use rollcall_db::testing::{Fault, Faults};
use rollcall_protocol::{Event, EventType, Random};
use rollcall_receiver::testing::{Act, Forgetful};
use rollcall_receiver::{KeySource, Mirror, Outcome, Receiver, Snapshot};

use crate::forgetful::without_strangers;
use crate::world::{add_application, described, new_user, renamed};

/// Where the simulated clock begins.
const START: i64 = 1_800_000_000_000;

/// SplitMix64, shared by all who need chance.
#[derive(Clone)]
pub(crate) struct Dice(Arc<Mutex<u64>>);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(seed)))
    }

    pub(crate) fn next(&self) -> u64 {
        let mut state = self.0.lock().unwrap();
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(crate) fn one_in(&self, bound: u64) -> bool {
        self.below(bound) == 0
    }

    pub(crate) fn pick<'a, T>(&self, list: &'a [T]) -> Option<&'a T> {
        let bound = u64::try_from(list.len()).unwrap();
        (bound > 0).then(|| &list[usize::try_from(self.below(bound)).unwrap()])
    }
}

impl Random for Dice {
    fn fill(&self, buffer: &mut [u8]) {
        for byte in buffer {
            *byte = self.next().to_be_bytes()[0];
        }
    }
}

/// What happened, with the time of each thing.
#[derive(Clone)]
struct History {
    clock: Clock,
    lines: Arc<Mutex<String>>,
}

impl History {
    fn note(&self, line: std::fmt::Arguments<'_>) {
        let at = self.clock.now() - START;
        writeln!(self.lines.lock().unwrap(), "{at:>9} {line}").unwrap();
    }
}

enum Copy {
    Mirror(Receiver<Mirror>),
    Forgetful(Receiver<Forgetful>, Forgetful),
}

/// The network, with the applications behind it.
struct Network {
    dice: Dice,
    history: History,
    /// Whether nothing goes wrong any more.
    well: Mutex<bool>,
    copies: Mutex<BTreeMap<String, Arc<Copy>>>,
    /// Until when an application is away.
    away: Mutex<BTreeMap<String, i64>>,
}

impl Network {
    async fn answer(&self, copy: &Copy, body: &[u8]) -> Result<Reply, Failure> {
        let reply = match copy {
            Copy::Mirror(receiver) => receiver.receive(None, body).await,
            Copy::Forgetful(receiver, _) => receiver.receive(None, body).await,
        };
        Ok(Reply {
            status: reply.status,
            body: reply.body.into_bytes(),
            complete: true,
            retry_after: None,
            location: None,
        })
    }

    async fn carry(&self, name: &str, body: &[u8]) -> Result<Reply, Failure> {
        let copy = Arc::clone(&self.copies.lock().unwrap()[name]);
        if *self.well.lock().unwrap() {
            return self.answer(&copy, body).await;
        }
        let refused = |status| {
            Ok(Reply {
                status,
                body: b"not now".to_vec(),
                complete: true,
                retry_after: None,
                location: None,
            })
        };
        let now = self.history.clock.now();
        if self
            .away
            .lock()
            .unwrap()
            .get(name)
            .is_some_and(|until| now < *until)
        {
            return Err(Failure::Connect("away".to_owned()));
        }
        tokio::time::sleep(Duration::from_millis(self.dice.below(50))).await;
        match self.dice.below(24) {
            0 => Err(Failure::Connect("lost on the way there".to_owned())),
            1 => {
                self.answer(&copy, body).await?;
                Err(Failure::Broken("lost on the way back".to_owned()))
            }
            2 => {
                let reply = self.answer(&copy, body).await;
                tokio::time::sleep(Duration::from_secs(self.dice.below(30))).await;
                reply
            }
            3 => refused(503),
            4 => refused(400),
            5 => {
                let until = now + i64::try_from(self.dice.below(1_200_000)).unwrap();
                self.away.lock().unwrap().insert(name.to_owned(), until);
                Err(Failure::Connect("away from now on".to_owned()))
            }
            _ => self.answer(&copy, body).await,
        }
    }
}

impl Peer for Network {
    fn post<'a>(
        &'a self,
        url: &'a Url,
        body: Bytes,
    ) -> Pin<Box<dyn Future<Output = Result<Reply, Failure>> + Send + 'a>> {
        Box::pin(async move {
            let name = url.host_str().unwrap();
            let result = self.carry(name, &body).await;
            let told = match &result {
                Ok(reply) => format!("{} {}", reply.status, String::from_utf8_lossy(&reply.body)),
                Err(failure) => failure.code().to_owned(),
            };
            self.history.note(format_args!("{name}: {told}"));
            result
        })
    }
}

struct Simulation {
    hub: Hub,
    network: Arc<Network>,
    applications: Vec<Application>,
    dice: Dice,
    history: History,
    faults: Faults,
    delivery: Option<Delivery>,
    maintenance: Option<Maintenance>,
}

/// The people and things that commands are about.
#[derive(Default)]
struct Known {
    users: Vec<String>,
    units: Vec<String>,
    groups: Vec<String>,
    made: u64,
}

impl Simulation {
    async fn new(seed: u64) -> Self {
        let dice = Dice::new(seed);
        let clock = Clock::of_runtime(START);
        let history = History {
            clock: clock.clone(),
            lines: Arc::default(),
        };
        let faults = Faults::default();
        let parts = HubParts {
            database: "sqlite::memory:".to_owned(),
            clock: clock.clone(),
            random: Arc::new(dice.clone()),
            master: MasterKey::from_bytes(&[7; 32]),
            ali_uid: 1,
            root_name: "Company".to_owned(),
        };
        let options = rollcall_db::Options {
            faults: faults.one_by_one(),
            // The writer's patience passes in real time, which nobody needs here.
            unavailable_after: Duration::from_millis(1),
            ..rollcall_db::Options::default()
        };
        let network = Arc::new(Network {
            dice: dice.clone(),
            history: history.clone(),
            well: Mutex::new(false),
            copies: Mutex::default(),
            away: Mutex::default(),
        });
        Self {
            hub: Hub::open_inline(parts, options).await.unwrap(),
            network,
            applications: Vec::new(),
            dice,
            history,
            faults,
            delivery: None,
            maintenance: None,
        }
    }

    async fn join(&mut self, name: &str, scope: Scope, mirror: bool) {
        let url = format!("http://{name}/events");
        let application = add_application(&self.hub, name, &url, None, scope).await;
        let (id, now) = (application.id.clone(), self.hub.clock.now());
        let jwks = self
            .hub
            .db
            .read(move |tx| rollcall::application::keys::jwks(tx, &id, now))
            .await
            .unwrap();
        let clock = self.hub.clock.clone();
        let keys = KeySource::Document(serde_json::to_string(&jwks).unwrap());
        let builder = Receiver::builder(keys, &application.id).clock(Arc::new(move || clock.now()));
        let copy = if mirror {
            Copy::Mirror(
                builder
                    .build(Mirror::open_inline("sqlite::memory:").unwrap())
                    .unwrap(),
            )
        } else {
            let dice = self.dice.clone();
            let network = Arc::downgrade(&self.network);
            let moody = move |event: &Event, _| {
                let well = network
                    .upgrade()
                    .is_none_or(|network| *network.well.lock().unwrap());
                let test = event.kind() == Some(EventType::Test);
                if well || test || !dice.one_in(12) {
                    return Act::Apply;
                }
                let again = Outcome::Retry {
                    code: "exception".to_owned(),
                    message: "busy".to_owned(),
                };
                if dice.one_in(2) {
                    Act::Answer(again)
                } else {
                    Act::ApplyAndAnswer(again)
                }
            };
            let forgetful = Forgetful::scripted(moody);
            Copy::Forgetful(builder.build(forgetful.clone()).unwrap(), forgetful)
        };
        let copies = &self.network.copies;
        copies.lock().unwrap().insert(name.to_owned(), Arc::new(copy));
        self.applications.push(application);
    }

    async fn start(&mut self) {
        let options = Options {
            signing: Place::Inline,
            node_name: "simulated".to_owned(),
            ..Options::default()
        };
        let peer: Arc<dyn Peer> = Arc::<Network>::clone(&self.network);
        let egress = Egress::within(peer, self.hub.clock.clone());
        // The database may just not do its part.
        while self.delivery.is_none() {
            self.delivery = Delivery::start(self.hub.clone(), egress.clone(), options.clone())
                .await
                .ok();
        }
        let options = maintenance::Options::default();
        self.maintenance = Some(Maintenance::start(self.hub.clone(), options));
    }

    async fn stop(&mut self) {
        if let Some(maintenance) = self.maintenance.take() {
            maintenance.stop().await;
        }
        if let Some(delivery) = self.delivery.take() {
            delivery.stop().await;
        }
    }

    /// One change of the directory, or something that an administrator does. What the database refuses for the
    /// moment, or the directory for good, is simply not done.
    async fn step(&mut self, known: &mut Known) {
        let dice = self.dice.clone();
        known.made += 1;
        let number = known.made;
        let unit = |known: &Known| {
            dice.pick(&known.units)
                .map_or(ROOT_UNIT, String::as_str)
                .to_owned()
        };
        let user = dice.pick(&known.users).cloned();
        let group = dice.pick(&known.groups).cloned();
        let command = match (dice.below(20), user, group) {
            (0..=4, ..) | (_, None, _) => {
                Command::CreateUser(new_user(&format!("user{number}"), &unit(known)))
            }
            (5..=8, Some(id), _) => described(&id, &format!("text {number}")),
            (9, Some(id), _) => renamed(&id, &format!("renamed{number}")),
            (10, Some(id), _) => Command::DeleteUser { id },
            (11 | 12, Some(id), _) => Command::SetUnits {
                id,
                primary: unit(known),
                further: Vec::new(),
            },
            (13, ..) => Command::CreateUnit(NewUnit {
                name: format!("unit{number}"),
                parent_id: unit(known),
                ..NewUnit::default()
            }),
            (14, ..) => Command::MoveUnit {
                id: unit(known),
                parent_id: unit(known),
            },
            (15, _, _) | (_, _, None) => Command::CreateGroup(NewGroup {
                name: format!("group{number}"),
                ..NewGroup::default()
            }),
            (16 | 17, Some(id), Some(group_id)) => Command::AddMembers {
                group_id,
                user_ids: vec![id],
            },
            (18, Some(id), Some(group_id)) => Command::RemoveMembers {
                group_id,
                user_ids: vec![id],
            },
            (_, _, Some(id)) => Command::DeleteGroup { id },
        };
        let (is_user, is_unit, is_group) = (
            matches!(command, Command::CreateUser(_)),
            matches!(command, Command::CreateUnit(_)),
            matches!(command, Command::CreateGroup(_)),
        );
        let done = self
            .hub
            .apply(Caller::system("simulation"), command.clone())
            .await;
        self.history.note(format_args!("{command:?}: {done:?}"));
        if let Ok(applied) = done {
            let list = match (is_user, is_unit, is_group) {
                (true, ..) => &mut known.users,
                (_, true, _) => &mut known.units,
                (.., true) => &mut known.groups,
                _ => return,
            };
            list.push(applied.id);
        }
    }

    async fn synchronize(&self, application: &Application) {
        let id = application.id.clone();
        let asked = self
            .hub
            .write_as(Caller::system("simulation"), move |tx, ctx| {
                job::request_full(tx, ctx, &id)
            })
            .await;
        self.history
            .note(format_args!("synchronize {}: {asked:?}", application.name));
    }

    /// Whether everything has been sent that there is to send; what was set aside is sent again.
    async fn settled(&self) -> bool {
        let mut settled = true;
        for application in &self.applications {
            let id = application.id.clone();
            settled &= self
                .hub
                .write_as(Caller::system("simulation"), move |tx, ctx| {
                    let parked = parked::list(tx, &id)?;
                    if parked.iter().any(|parked| parked.state == ParkedState::Failed) {
                        operate::resend(tx, ctx, &id, None)
                            .map_err(|error| rollcall_db::DbError::Other(error.to_string()))?;
                        return Ok(false);
                    }
                    let head = rollcall::change::head(tx)?.seq;
                    let stored = store::load(tx, &id)
                        .map_err(|error| rollcall_db::DbError::Other(error.to_string()))?;
                    let job = job::open_job(tx, &id)?;
                    Ok::<_, rollcall_db::DbError>(
                        parked.is_empty() && job.is_none() && stored.position == head,
                    )
                })
                .await
                .unwrap();
        }
        settled
    }

    async fn should_have(&self, application: &Application) -> Snapshot {
        let id = application.id.clone();
        self.hub
            .db
            .read(move |tx| {
                let scope = Entitlements::load(tx, &id)?.current().scope.clone();
                compare::in_scope(tx, &scope)
            })
            .await
            .unwrap()
    }

    async fn has(&self, application: &Application) -> Snapshot {
        let copy = Arc::clone(&self.network.copies.lock().unwrap()[&application.name]);
        match &*copy {
            Copy::Mirror(receiver) => receiver.processor().snapshot().await.unwrap(),
            Copy::Forgetful(_, forgetful) => without_strangers(forgetful.snapshot()),
        }
    }

    async fn run(mut self) -> String {
        let mut known = Known::default();
        self.join("kit", Scope::everything(), true).await;
        self.join("plain", Scope::everything(), false).await;
        let unit = self
            .hub
            .apply(
                Caller::system("simulation"),
                Command::CreateUnit(NewUnit {
                    name: "Narrow".to_owned(),
                    parent_id: ROOT_UNIT.to_owned(),
                    ..NewUnit::default()
                }),
            )
            .await
            .unwrap()
            .id;
        known.units.push(unit.clone());
        self.join(
            "narrow",
            Scope {
                organizational_unit_ids: [unit].into(),
                group_ids: Default::default(),
            },
            false,
        )
        .await;
        self.start().await;
        for application in self.applications.clone() {
            self.synchronize(&application).await;
        }
        self.faults.at_random(
            self.dice.next(),
            40,
            &[
                Fault::Lost,
                Fault::Unheard,
                Fault::UnheardForGood,
                Fault::Busy,
                Fault::Full,
            ],
        );
        for _ in 0..200 {
            self.step(&mut known).await;
            let pause = match self.dice.below(20) {
                0 => self.dice.below(120_000),
                1..=9 => self.dice.below(300),
                _ => 0,
            };
            tokio::time::sleep(Duration::from_millis(pause)).await;
            if self.dice.one_in(60)
                && let Some(application) = self.dice.pick(&self.applications)
            {
                self.synchronize(application).await;
            }
            if self.dice.one_in(80) {
                self.stop().await;
                self.history.note(format_args!("the hub starts again"));
                self.start().await;
            }
        }
        // All is well from now on.
        self.faults.at_random(0, 1, &[]);
        *self.network.well.lock().unwrap() = true;
        self.history.note(format_args!("all is well"));
        let deadline = self.hub.clock.now() + 24 * 3_600_000;
        while !self.settled().await {
            assert!(self.hub.clock.now() < deadline, "it is not settled within a day");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        for application in &self.applications {
            let (should, has) = (self.should_have(application).await, self.has(application).await);
            assert!(
                should == has,
                "{} is different: {:#?}",
                application.name,
                should.differences(&has)
            );
        }
        self.stop().await;
        std::mem::take(&mut *self.history.lines.lock().unwrap())
    }
}

/// Runs a seed; the history is printed if it does not end well.
fn run(seed: u64) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let simulation = Simulation::new(seed).await;
        let lines = Arc::clone(&simulation.history.lines);
        let ended = tokio::spawn(simulation.run()).await;
        ended.unwrap_or_else(|error| {
            let path = std::env::temp_dir().join(format!("rollcall-simulation-{seed}.txt"));
            std::fs::write(&path, lines.lock().unwrap().as_bytes()).unwrap();
            panic!("seed {seed}, history in {}: {error}", path.display())
        })
    })
}

#[test]
fn whatever_goes_wrong_all_copies_end_up_equal() {
    match std::env::var("ROLLCALL_SEED") {
        Ok(seed) => println!("{}", run(seed.parse().unwrap())),
        Err(_) => (1..=12).for_each(|seed| {
            run(seed);
        }),
    }
}

#[test]
fn a_seed_repeats_its_history() {
    let (first, second) = (run(3), run(3));
    let differ = first
        .lines()
        .zip(second.lines())
        .enumerate()
        .find(|(_, (a, b))| a != b);
    assert_eq!(differ, None);
    assert_eq!(first.lines().count(), second.lines().count());
    assert!(
        first.lines().count() > 200,
        "something must have happened: {first}"
    );
}
