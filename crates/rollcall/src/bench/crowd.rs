//! Strangers who open thousands of connections and say nothing: do they slow delivery?
//!
//! The hub has the 1,024 descriptors that a service has by default, the crowd more connections than that.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use rollcall_protocol::SystemRandom;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::oneshot;

use super::deliver::wait;
use super::world::World;
use super::{Figure, Player, float};
use crate::api::{self, Api};
use crate::application::Limits;
use crate::maintenance::{self, Upkeep};
use crate::secret::AdminToken;

const APPLICATIONS: usize = 16;
const CHANGES: usize = 600;
/// What a service may have open where nothing is said.
const DESCRIPTORS: u64 = 1_024;
const STRANGERS: usize = 8_000;

pub(super) async fn measure() -> Result<Vec<Figure>> {
    let hard = getrlimit(Resource::Nofile).maximum;
    let limit = |current| Rlimit {
        current: Some(current),
        maximum: hard,
    };
    setrlimit(Resource::Nofile, limit(DESCRIPTORS))?;
    let world = World::new().await?;
    let users = world.users(100).await?;
    let limits = Limits {
        max_events: 1,
        ..Limits::default()
    };
    world.applications(APPLICATIONS, limits, |_| "ok").await?;
    let delivery = world.deliver().await?;
    let token = AdminToken::read_or_make(&world.folder.path().join("admin.token"), &SystemRandom)?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port().to_string();
    let upkeep = Arc::new(Upkeep::new(world.hub.clone(), maintenance::Options::default()));
    let router = api::router(Arc::new(Api::new(Arc::clone(delivery.shared()), upkeep, token)));
    let (ending, ended) = oneshot::channel::<()>();
    let limits = rollcall_server::Limits::default();
    let server = tokio::spawn(rollcall_server::serve(listener, router, limits, async {
        drop(ended.await);
    }));

    let acknowledged = delivery.shared().hub.meters.acknowledged();
    let mut events = 0;
    let mut rate = async || {
        let watch = world.hub.clock.stopwatch();
        world.changes(&users, CHANGES).await?;
        events += CHANGES * APPLICATIONS;
        wait(&acknowledged, events).await?;
        Ok::<_, anyhow::Error>(float(CHANGES * APPLICATIONS) / watch.elapsed().as_secs_f64())
    };
    // The first round opens the connections.
    rate().await?;
    let before = rate().await?;
    let strangers = STRANGERS.to_string();
    let crowd = Player::start(&["--crowd".as_ref(), port.as_ref(), strangers.as_ref()])?;
    let connections = crowd.ready;
    let among = rate().await?;
    crowd.end()?;
    let after = rate().await?;
    delivery.stop().await;
    drop(ending);
    server.await?;
    let floor = before.midpoint(after);
    let what = format!(
        "{APPLICATIONS} applications, 1 event a request, {connections} silent connections, {DESCRIPTORS} descriptors"
    );
    Ok(vec![
        Figure::new("crowd", what, among, "events/s")
            .beside("the same without them", floor)
            .aims("at least 95 % of it", among / floor >= 0.95),
    ])
}

/// Opens connections from many addresses, says nothing on them, and holds them until the standard input ends.
pub(super) async fn gather(port: u16, connections: usize, ready: impl FnOnce(usize)) -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let most = Rlimit {
        current: limit.maximum,
        ..limit
    };
    setrlimit(Resource::Nofile, most)?;
    let room = limit.maximum.and_then(|maximum| usize::try_from(maximum).ok());
    let connections = connections.min(room.unwrap_or(usize::MAX).saturating_sub(64));
    let mut held = Vec::with_capacity(connections);
    for number in 0..connections {
        held.push(stranger(port, number).await?);
    }
    ready(held.len());
    super::orphaned().await;
    drop(held);
    Ok(())
}

/// One connection, from one of 250 addresses of the loopback interface.
async fn stranger(port: u16, number: usize) -> Result<TcpStream> {
    let from = IpAddr::V4(Ipv4Addr::new(127, 0, 7, u8::try_from(number % 250)? + 1));
    for _ in 0..50 {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(from, 0))?;
        let connecting = socket.connect(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port));
        match tokio::time::timeout(Duration::from_secs(1), connecting).await {
            Ok(Ok(stream)) => return Ok(stream),
            // The server takes a moment to close those that were silent longest.
            Ok(Err(_)) | Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
    anyhow::bail!("the server takes no connection from {from}")
}
