//! A hub, an application and what lies between them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use rollcall::access::Caller;
use rollcall::application::keys::NewKey;
use rollcall::application::{
    self, Application, Encryption, Entitlements, NewApplication, Scope, Settings, SettingsPatch,
    Subscription, store,
};
use rollcall::clock::Clock;
use rollcall::compare;
use rollcall::delivery::egress::{AddressPolicy, Egress, EgressOptions};
use rollcall::delivery::job::{self, JobPosition};
use rollcall::delivery::{Delivery, Options};
use rollcall::directory::{Applied, Command, DirectoryError, NewGroup, NewUnit, NewUser, UserChanges};
use rollcall::hub::{Hub, HubParts};
use rollcall::maintenance::{self, Maintenance};
use rollcall::secret::MasterKey;
use rollcall_db::testing::{TestDatabase, databases};
use rollcall_protocol::{Answer, EncryptionKey, Event, EventResult, SystemRandom};
use rollcall_receiver::{Direct, Handler, KeySource, Mirror, Receiver, Snapshot};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// How the endpoint answers a request, instead of as it should.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// With this status.
    Status(u16),
    /// With a wish to be asked again after so many seconds.
    Busy(u32),
    /// With a redirect.
    Redirect,
    /// With a 200 that is no answer; the events are applied.
    Garbage,
    /// Not at all, after the events were applied: as if killed before the answer.
    LostAnswer,
    /// So late that the hub has given up, after the events were applied.
    Late(Duration),
    /// With a wish to have the events of this subject again.
    Retry(String),
    /// With a refusal of the events of this subject.
    Refuse(String),
}

/// The application's endpoint.
#[derive(Clone)]
pub(crate) struct Endpoint {
    pub(crate) url: String,
    pub(crate) mirror: Mirror,
    faults: Arc<Mutex<VecDeque<Fault>>>,
    always: Arc<Mutex<Option<Fault>>>,
    arrived: Arc<Mutex<Vec<Event>>>,
    server: Arc<Mutex<Option<JoinHandle<()>>>>,
}

struct Nothing;
impl Handler for Nothing {}

impl Endpoint {
    /// An endpoint that mirrors what it gets.
    pub(crate) async fn start(mirror_url: &str) -> Self {
        let mirror = Mirror::open(mirror_url).await.unwrap();
        let endpoint = Self {
            url: String::new(),
            mirror,
            faults: Arc::default(),
            always: Arc::default(),
            arrived: Arc::default(),
            server: Arc::default(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self {
            url: format!("http://{}/events", listener.local_addr().unwrap()),
            ..endpoint
        }
        .listen(listener)
    }

    fn listen(self, listener: TcpListener) -> Self {
        *self.server.lock().unwrap() = Some(tokio::spawn(async move {
            // Replaced by `serve` once the application is known.
            let _ = listener.accept().await;
        }));
        self
    }

    /// Serves an application of a hub.
    pub(crate) async fn serve(&self, hub: &Hub, application: &Application, key: Option<EncryptionKey>) {
        self.kill().await;
        let (id, now) = (application.id.clone(), hub.clock.now());
        let jwks = hub
            .db
            .read(move |tx| rollcall::application::keys::jwks(tx, &id, now))
            .await
            .unwrap();
        let source = KeySource::Document(serde_json::to_string(&jwks).unwrap());
        let build = || {
            let builder = Receiver::builder(source.clone(), &application.id);
            match &key {
                Some(key) => builder.encryption_key(key.clone()),
                None => builder,
            }
        };
        let receiver = Arc::new(build().build(self.mirror.clone()).unwrap());
        let opener = Arc::new(build().build(Direct::new(Nothing)).unwrap());
        let endpoint = self.clone();
        let routes = axum::Router::new().route(
            "/events",
            post(move |body: Bytes| {
                let (endpoint, receiver, opener) = (endpoint.clone(), receiver.clone(), opener.clone());
                async move { endpoint.answer(&receiver, &opener, body).await }
            }),
        );
        let address = self
            .url
            .trim_start_matches("http://")
            .trim_end_matches("/events")
            .to_owned();
        let listener = TcpListener::bind(address).await.unwrap();
        *self.server.lock().unwrap() = Some(tokio::spawn(async move {
            axum::serve(listener, routes).await.unwrap()
        }));
    }

    async fn answer(
        &self,
        receiver: &Receiver<Mirror>,
        opener: &Receiver<Direct<Nothing>>,
        body: Bytes,
    ) -> Response {
        let fault = self
            .faults
            .lock()
            .unwrap()
            .pop_front()
            .or_else(|| self.always.lock().unwrap().clone());
        let opened = opener
            .open(&body)
            .await
            .expect("the hub seals what the receiver opens");
        let applied = async {
            self.arrived.lock().unwrap().extend(opened.batch.events.clone());
            receiver.receive(None, &body).await
        };
        match fault {
            None => {
                let reply = applied.await;
                (StatusCode::from_u16(reply.status).unwrap(), reply.body).into_response()
            }
            Some(Fault::Status(status)) => {
                (StatusCode::from_u16(status).unwrap(), "{\"error\":\"test\"}").into_response()
            }
            Some(Fault::Busy(seconds)) => (
                StatusCode::SERVICE_UNAVAILABLE,
                [("retry-after", seconds.to_string())],
            )
                .into_response(),
            Some(Fault::Redirect) => {
                (StatusCode::FOUND, [("location", "http://127.0.0.1:1/elsewhere")]).into_response()
            }
            Some(Fault::Garbage) => {
                applied.await;
                "<html>thank you</html>".into_response()
            }
            Some(Fault::LostAnswer) => {
                applied.await;
                panic!("the connection is lost, as the test wants it")
            }
            Some(Fault::Late(by)) => {
                applied.await;
                tokio::time::sleep(by).await;
                "{}".into_response()
            }
            Some(Fault::Retry(subject)) => self.except(&opened.batch.events, &subject, true, applied).await,
            Some(Fault::Refuse(subject)) => self.except(&opened.batch.events, &subject, false, applied).await,
        }
    }

    /// Answers success for all but the events of one subject. Only requests without that subject are
    /// applied; the tests that use this look at the arrivals.
    async fn except(
        &self,
        events: &[Event],
        subject: &str,
        retry: bool,
        applied: impl Future<Output = rollcall_receiver::Reply>,
    ) -> Response {
        if !events.iter().any(|event| event.biz_id == subject) {
            return applied.await.body.into_response();
        }
        let mut answer = Answer::default();
        for event in events {
            let result = EventResult {
                event_id: event.event_id.clone(),
                ..EventResult::default()
            };
            let list = match (event.biz_id == subject, retry) {
                (false, _) => &mut answer.success,
                (true, true) => &mut answer.retried,
                (true, false) => &mut answer.failed,
            };
            list.push(result);
            if event.biz_id != subject {
                self.arrived.lock().unwrap().push(event.clone());
            }
        }
        serde_json::to_string(&answer).unwrap().into_response()
    }

    /// The next requests meet these faults, one each.
    pub(crate) fn fail_next(&self, faults: impl IntoIterator<Item = Fault>) {
        self.faults.lock().unwrap().extend(faults);
    }

    /// Every request meets this fault, until told otherwise.
    pub(crate) fn fail_always(&self, fault: Option<Fault>) {
        *self.always.lock().unwrap() = fault;
    }

    /// The events that were taken, in the order of their arrival.
    pub(crate) fn arrived(&self) -> Vec<Event> {
        self.arrived.lock().unwrap().clone()
    }

    /// The short types of the events of a subject, in the order of their arrival.
    pub(crate) fn story_of(&self, subject: &str) -> Vec<String> {
        let of_it = |event: &&Event| event.biz_id == subject;
        self.arrived()
            .iter()
            .filter(of_it)
            .map(|event| {
                event
                    .kind()
                    .map_or_else(String::new, |kind| kind.short().to_owned())
            })
            .collect()
    }

    /// Ends the server in the middle of whatever it does.
    pub(crate) async fn kill(&self) {
        let server = self.server.lock().unwrap().take();
        if let Some(server) = server {
            server.abort();
            let _ = server.await;
        }
    }
}

/// A hub with one application.
pub(crate) struct World {
    pub(crate) hub: Hub,
    pub(crate) delivery: Option<Delivery>,
    pub(crate) maintenance: Option<Maintenance>,
    pub(crate) endpoint: Endpoint,
    pub(crate) application: Application,
    pub(crate) key: Option<EncryptionKey>,
    pub(crate) options: Options,
}

/// Delivery that does not make a test wait.
pub(crate) fn hasty() -> Options {
    Options {
        first_pause: Duration::from_millis(5),
        longest_pause: Duration::from_millis(20),
        first_probe: Duration::from_millis(20),
        longest_probe: Duration::from_millis(50),
        poll: Duration::from_millis(20),
        idle: Duration::from_millis(50),
        database_pause: Duration::from_millis(20),
        lease: Duration::from_millis(1_500),
        ..Options::default()
    }
}

pub(crate) fn parts(database: &str) -> HubParts {
    HubParts {
        database: database.to_owned(),
        clock: Clock::system(),
        random: Arc::new(SystemRandom),
        master: MasterKey::from_bytes(&[7; 32]),
        ali_uid: 1,
        root_name: "Company".to_owned(),
    }
}

pub(crate) async fn open_hub(database: &str) -> Hub {
    Hub::open(parts(database)).await.unwrap()
}

/// Makes a hub in a data folder, as `rollcall serve` does at its first start.
pub(crate) fn make_hub(folder: &std::path::Path, database: &str) {
    rollcall::private::make_folder(folder).unwrap();
    let parts = HubParts {
        database: database.to_owned(),
        clock: Clock::system(),
        random: Arc::new(SystemRandom),
        master: MasterKey::read_or_make(&folder.join("master.key"), &SystemRandom).unwrap(),
        ali_uid: 1,
        root_name: "Company".to_owned(),
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async { Hub::open(parts).await.unwrap().db.close().await });
}

pub(crate) fn egress() -> Egress {
    let policy = AddressPolicy {
        allowed: vec!["127.0.0.0/8".parse().unwrap()],
    };
    Egress::new(
        &EgressOptions {
            policy,
            ..EgressOptions::default()
        },
        Clock::system(),
    )
    .unwrap()
}

/// Runs a test on both databases; the mirror lives on SQLite for one and on PostgreSQL for the other.
pub(crate) fn on_both<F, T>(name: &str, test: F)
where
    F: Fn(String, String) -> T,
    T: Future<Output = ()>,
{
    for (hub, mirror) in databases(name)
        .iter()
        .zip(databases(&format!("{name}_mirror")).iter().rev())
    {
        run(hub, mirror, &test);
    }
}

fn run<F, T>(hub: &TestDatabase, mirror: &TestDatabase, test: &F)
where
    F: Fn(String, String) -> T,
    T: Future<Output = ()>,
{
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(test(hub.url.clone(), mirror.url.clone()));
}

impl World {
    /// A hub with an application that sees `scope`; encrypted, delivering.
    pub(crate) async fn new(database: &str, mirror: &str, scope: Scope) -> Self {
        let mut world = Self::without_delivery(database, mirror, scope).await;
        world.start().await;
        world
    }

    pub(crate) async fn without_delivery(database: &str, mirror: &str, scope: Scope) -> Self {
        Self::of(open_hub(database).await, mirror, scope).await
    }

    /// The same with a hub that is open already.
    pub(crate) async fn of(hub: Hub, mirror: &str, scope: Scope) -> Self {
        let endpoint = Endpoint::start(mirror).await;
        let key = Some(EncryptionKey::generate(&SystemRandom));
        let application = add_application(&hub, "App", &endpoint.url, key.clone(), scope).await;
        endpoint.serve(&hub, &application, key.clone()).await;
        Self {
            hub,
            delivery: None,
            maintenance: None,
            endpoint,
            application,
            key,
            options: hasty(),
        }
    }

    pub(crate) async fn start(&mut self) {
        let delivery = Delivery::start(self.hub.clone(), egress(), self.options.clone())
            .await
            .unwrap();
        self.delivery = Some(delivery);
        let options = maintenance::Options {
            every: Duration::from_millis(50),
            ..maintenance::Options::default()
        };
        self.maintenance = Some(Maintenance::start(self.hub.clone(), options));
    }

    pub(crate) async fn stop(&mut self) {
        if let Some(maintenance) = self.maintenance.take() {
            maintenance.stop().await;
        }
        if let Some(delivery) = self.delivery.take() {
            delivery.stop().await;
        }
    }

    pub(crate) async fn try_apply(&self, command: Command) -> Result<Applied, DirectoryError> {
        self.hub.apply(Caller::system("test"), command).await
    }

    pub(crate) async fn apply(&self, command: Command) -> String {
        self.try_apply(command).await.unwrap().id
    }

    /// Changes push parameters of the application.
    pub(crate) async fn configure(&self, settings: SettingsPatch) -> Application {
        self.command(application::Command::Update {
            id: self.application.id.clone(),
            name: None,
            secret: None,
            settings,
        })
        .await
    }

    /// Applies a command to an application.
    pub(crate) async fn command(&self, command: application::Command) -> Application {
        let applied = self.hub.apply_application(Caller::system("test"), command).await;
        applied.unwrap().application
    }

    pub(crate) async fn unit(&self, name: &str, parent_id: &str) -> String {
        let new = NewUnit {
            name: name.into(),
            parent_id: parent_id.into(),
            ..NewUnit::default()
        };
        self.apply(Command::CreateUnit(new)).await
    }

    pub(crate) async fn user(&self, username: &str, unit: &str) -> String {
        self.apply(Command::CreateUser(new_user(username, unit))).await
    }

    pub(crate) async fn group(&self, name: &str) -> String {
        self.apply(Command::CreateGroup(NewGroup {
            name: name.into(),
            ..NewGroup::default()
        }))
        .await
    }

    /// Asks for a full synchronization and waits for its end.
    pub(crate) async fn synchronize(&self) -> JobPosition {
        let id = self.application.id.clone();
        let job_id = self
            .hub
            .write_as(Caller::system("test"), move |tx, ctx| {
                job::request_full(tx, ctx, &id)
            })
            .await
            .unwrap();
        self.job_done(&job_id).await
    }

    pub(crate) async fn job_done(&self, job_id: &str) -> JobPosition {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let wanted = job_id.to_owned();
            let job = self
                .hub
                .db
                .read(move |tx| job::load(tx, &wanted))
                .await
                .unwrap()
                .unwrap();
            if job.is_finished() {
                return job;
            }
            assert!(Instant::now() < deadline, "the job does not end: {job:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) async fn stored(&self) -> Application {
        let id = self.application.id.clone();
        self.hub.db.read(move |tx| store::load(tx, &id)).await.unwrap()
    }

    /// What the application should have.
    pub(crate) async fn should_have(&self) -> Snapshot {
        let id = self.application.id.clone();
        self.hub
            .db
            .read(move |tx| {
                let scope = Entitlements::load(tx, &id)?.current().scope.clone();
                compare::in_scope(tx, &scope)
            })
            .await
            .unwrap()
    }

    /// Waits until the application has what it should.
    pub(crate) async fn converged(&self) {
        let deadline = Instant::now() + Duration::from_secs(40);
        loop {
            let (should, has) = (
                self.should_have().await,
                self.endpoint.mirror.snapshot().await.unwrap(),
            );
            if should == has {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "no convergence: {:#?}",
                should.differences(&has)
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits for something.
    pub(crate) async fn until<T: Future<Output = bool>>(&self, what: &str, mut holds: impl FnMut() -> T) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !holds().await {
            assert!(Instant::now() < deadline, "this does not come: {what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// A change of a user that anybody would notice.
pub(crate) fn described(id: &str, text: &str) -> Command {
    Command::UpdateUser {
        id: id.into(),
        changes: UserChanges {
            description: Some(Some(text.into())),
            ..UserChanges::default()
        },
    }
}

/// Another username.
pub(crate) fn renamed(id: &str, username: &str) -> Command {
    let changes = UserChanges {
        username: Some(username.into()),
        ..UserChanges::default()
    };
    Command::UpdateUser {
        id: id.into(),
        changes,
    }
}

pub(crate) fn new_user(username: &str, unit: &str) -> NewUser {
    NewUser {
        username: username.into(),
        display_name: format!("{username} ☃"),
        primary_organizational_unit_id: unit.into(),
        ..NewUser::default()
    }
}

/// Makes many users at once; returns their ids.
pub(crate) async fn create_users(hub: &Hub, new: Vec<NewUser>) -> Vec<String> {
    let too = hub.clone();
    let made = hub
        .db
        .write(move |tx| too.create_users_in(tx, &Caller::system("test"), &new))
        .await
        .unwrap();
    made.into_iter().map(Result::unwrap).collect()
}

pub(crate) async fn add_application(
    hub: &Hub,
    name: &str,
    url: &str,
    key: Option<EncryptionKey>,
    scope: Scope,
) -> Application {
    let now = hub.clock.now();
    let encryption = if key.is_some() {
        Encryption::Required
    } else {
        Encryption::Off
    };
    let new = NewApplication {
        name: name.to_owned(),
        settings: Settings::event_callback(url, encryption),
        encryption_key: key,
        secret: None,
        scope,
        subscription: Subscription::everything(),
        signing_key: NewKey::generate(now, &SystemRandom, &hub.master).unwrap(),
    };
    let create = application::Command::Create(Box::new(new));
    hub.apply_application(Caller::system("test"), create)
        .await
        .unwrap()
        .application
}
