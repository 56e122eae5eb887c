//! A hub and a receiving application in one process, each with a database and a port of its own, as they would be on
//! two machines: for the demo, and for the self-test.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use rollcall_protocol::{EncryptionKey, SystemRandom};
use rollcall_receiver::{HttpJwks, KeySource, Mirror, Receiver, Snapshot};
use rollcall_server::Limits;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

use super::open;
use crate::access::Caller;
use crate::api::{self, Api};
use crate::application::keys::NewKey;
use crate::application::{self, Application, Encryption, NewApplication, Scope, Settings, Subscription};
use crate::clock::Clock;
use crate::compare;
use crate::console::{self, Console};
use crate::delivery::egress::{AddressPolicy, Egress, EgressOptions};
use crate::delivery::{Delivery, Options};
use crate::hub::{Hub, HubParts};
use crate::instance::Serving;
use crate::maintenance::{self, Maintenance};
use crate::secret::{AdminToken, MasterKey};

/// The networks that the hub may call.
const LOOPBACK: &str = "127.0.0.0/8";

/// Both sides.
pub(super) struct Pair {
    pub(super) hub: Hub,
    pub(super) application: Application,
    pub(super) mirror: Mirror,
    pub(super) delivery: Delivery,
    /// Where the application finds its public keys.
    pub(super) jwks_url: String,
    /// The token of the administrator's API.
    pub(super) token: Zeroizing<String>,
    maintenance: Maintenance,
    history: JoinHandle<()>,
    servers: [JoinHandle<usize>; 2],
}

/// Makes a hub in a folder, on SQLite.
pub(super) async fn make_hub(folder: &Path, organization: &str) -> Result<Hub> {
    let parts = HubParts {
        database: format!("sqlite:{}", folder.join("hub.db").display()),
        clock: Clock::system(),
        random: Arc::new(SystemRandom),
        master: MasterKey::read_or_make(&folder.join("master.key"), &SystemRandom)?,
        ali_uid: open::ALI_UID,
        root_name: organization.to_owned(),
    };
    Ok(Hub::open(parts).await?)
}

/// What an application that sees everything should have.
pub(super) async fn should_be(hub: &Hub) -> Result<Snapshot> {
    Ok(hub
        .db
        .read(|tx| compare::in_scope(tx, &Scope::everything()))
        .await?)
}

/// Serves until the task is ended.
fn serve(listener: TcpListener, router: axum::Router) -> JoinHandle<usize> {
    tokio::spawn(rollcall_server::serve(
        listener,
        router,
        Limits::default(),
        std::future::pending(),
    ))
}

impl Pair {
    /// Starts both: the hub with its console at the first listener, and an application that sees everything, encrypted,
    /// at the second.
    pub(super) async fn start(
        folder: &Path,
        hub: Hub,
        name: &str,
        (hub_listener, app_listener): (TcpListener, TcpListener),
    ) -> Result<Self> {
        let listens_on = hub_listener.local_addr()?.to_string();
        let app_url = format!("http://{}/events", app_listener.local_addr()?);
        let key = EncryptionKey::generate(&SystemRandom);
        let application = create_application(&hub, name, &app_url, &key).await?;
        let jwks_url = format!(
            "http://{listens_on}/v2/{}/{}/provisioning/jwks",
            hub.instance.id, application.id
        );
        let policy = AddressPolicy {
            allowed: vec![LOOPBACK.parse()?],
        };
        let egress = Egress::new(
            &EgressOptions {
                policy,
                ..EgressOptions::default()
            },
            Clock::system(),
        )?;
        let delivery = Delivery::start(hub.clone(), egress, Options::default()).await?;
        let maintenance = Maintenance::start(hub.clone(), maintenance::Options::default());
        hub.serves(Serving {
            listens_on,
            public_url: None,
            encrypted: false,
            egress_allow: vec![LOOPBACK.to_owned()],
            outbound_addresses: Vec::new(),
        })
        .await?;
        let token = AdminToken::read_or_make(&folder.join("admin.token"), &SystemRandom)?;
        let shown_token = token.expose();
        let (shared, upkeep) = (Arc::clone(delivery.shared()), Arc::clone(maintenance.upkeep()));
        let api = Arc::new(Api::new(shared, upkeep, token));
        let console = Arc::new(Console::new(Arc::clone(&api), None));
        let history = console.keep_history();
        let hub_server = serve(hub_listener, api::router_with(api, console::router(console)));
        let mirror = Mirror::open(&format!("sqlite:{}", folder.join("application.db").display())).await?;
        let source = KeySource::Endpoint(Arc::new(HttpJwks::new(&jwks_url).map_err(anyhow::Error::msg)?));
        let receiver = Receiver::builder(source, &application.id)
            .encryption_key(key)
            .build(mirror.clone())?;
        let app_server = serve(
            app_listener,
            rollcall_receiver::router(Arc::new(receiver), "/events"),
        );
        Ok(Self {
            hub,
            application,
            mirror,
            delivery,
            jwks_url,
            token: shown_token,
            maintenance,
            history,
            servers: [hub_server, app_server],
        })
    }

    /// Ends both.
    pub(super) async fn stop(self) {
        self.history.abort();
        self.maintenance.stop().await;
        self.delivery.stop().await;
        for server in self.servers {
            server.abort();
        }
        self.mirror.close().await;
        self.hub.db.close().await;
    }
}

async fn create_application(hub: &Hub, name: &str, url: &str, key: &EncryptionKey) -> Result<Application> {
    let now = hub.clock.now();
    let new = NewApplication {
        name: name.to_owned(),
        settings: Settings::event_callback(url, Encryption::Required),
        encryption_key: Some(key.clone()),
        secret: None,
        scope: Scope::everything(),
        subscription: Subscription::everything(),
        signing_key: NewKey::generate(now, &*hub.random, &hub.master)?,
    };
    let create = application::Command::Create(Box::new(new));
    Ok(hub
        .apply_application(Caller::system("demo"), create)
        .await?
        .application)
}
