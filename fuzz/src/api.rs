//! The administrator's API: the router itself, in this process, on a database in memory.

use std::cell::RefCell;
use std::sync::Arc;

use arbitrary::Unstructured;
use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::{Method, Request, StatusCode};
use rollcall::api::{self, Api};
use rollcall::clock::Clock;
use rollcall::delivery::egress::{Egress, EgressOptions};
use rollcall::delivery::{Delivery, Options};
use rollcall::hub::{Hub, HubParts};
use rollcall::maintenance::{self, Upkeep};
use rollcall::secret::{AdminToken, MasterKey};
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt as _;

use crate::fixtures::{Counting, NOW};

/// A hub without applications and without delivery.
pub(crate) struct World {
    pub(crate) runtime: Runtime,
    pub(crate) hub: Hub,
    pub(crate) folder: tempfile::TempDir,
    /// How much was changed in it.
    pub(crate) changes: u32,
    router: Router,
    token: String,
    /// Method and path of every route, as the API describes itself.
    routes: Vec<(Method, String)>,
}

impl Default for World {
    fn default() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let clock = || Clock::of_runtime(NOW);
        let parts = HubParts {
            database: "sqlite::memory:".to_owned(),
            clock: clock(),
            random: Arc::new(Drawn::default()),
            master: MasterKey::from_bytes(&[7; 32]),
            ali_uid: 1,
            root_name: "Company".to_owned(),
        };
        let token = AdminToken::read_or_make(&folder.path().join("token"), &Counting).unwrap();
        let shown = token.expose().to_string();
        let (hub, router, routes) = runtime.block_on(async {
            let hub = Hub::open_inline(parts, rollcall_db::Options::default())
                .await
                .unwrap();
            let egress = Egress::new(&EgressOptions::default(), clock()).unwrap();
            let delivery = Delivery::start(hub.clone(), egress, Options::default())
                .await
                .unwrap();
            let shared = Arc::clone(delivery.shared());
            delivery.stop().await;
            let upkeep = Arc::new(Upkeep::new(hub.clone(), maintenance::Options::default()));
            let router = api::router(Arc::new(Api::new(shared, upkeep, token)));
            let routes = described(&router).await;
            (hub, router, routes)
        });
        Self {
            runtime,
            hub,
            folder,
            changes: 0,
            router,
            token: shown,
            routes,
        }
    }
}

/// Randomness that repeats from run to run, and not within one: ids differ.
#[derive(Default)]
struct Drawn(std::sync::atomic::AtomicU64);

impl rollcall_protocol::Random for Drawn {
    fn fill(&self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            let count = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let mixed = (count ^ 0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            chunk.copy_from_slice(&mixed.to_be_bytes()[..chunk.len()]);
        }
    }
}

async fn described(router: &Router) -> Vec<(Method, String)> {
    let request = Request::get("/api/v1").body(Body::empty()).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    let described: Value = serde_json::from_slice(&body).unwrap();
    let routes = described["routes"].as_array().unwrap();
    let text = |route: &Value, name: &str| route[name].as_str().unwrap().to_owned();
    routes
        .iter()
        .map(|route| (text(route, "method").parse().unwrap(), text(route, "path")))
        .collect()
}

/// What may stand in a path: names that other requests give, and what is no name.
const NAMES: &[&str] = &[
    "ada",
    "ou_root",
    "Company",
    "Staff",
    "Company%2FStaff",
    "all",
    "grace",
    "ada%40example.com",
    "%00",
    "%ff",
    "%20",
    ".",
];

/// The requests of an input, at most eight: what each is about, its query and its body.
pub(crate) fn requests(data: &[u8]) -> impl Iterator<Item = [&[u8]; 3]> {
    data.split(|byte| *byte == b'\n').take(8).map(|line| {
        let mut parts = line.splitn(3, |byte| *byte == 0);
        std::array::from_fn(|_| parts.next().unwrap_or_default())
    })
}

/// Puts a query behind an address.
pub(crate) fn ask(uri: &mut String, query: &[u8]) {
    if !query.is_empty() {
        let query = String::from_utf8_lossy(query);
        uri.push('?');
        uri.push_str(&query.replace(|c: char| !c.is_ascii_graphic(), "+"));
    }
}

/// Requests to every route of the administrator's API, with any body and query, on a directory that earlier requests
/// made. None of them is answered with a failure of ours, and whoever is refused is told why.
pub fn api(data: &[u8]) {
    thread_local! {
        static WORLD: RefCell<Option<World>> = const { RefCell::new(None) };
    }
    WORLD.with_borrow_mut(|kept| {
        let mut world = kept.take().unwrap_or_default();
        let _ = world.requests(data);
        if world.changes < 2_000 {
            *kept = Some(world);
        }
    });
}

impl World {
    /// Each request of an input is a line: the number of the route and the names in its path, the query, and the
    /// body, with zero bytes in between.
    fn requests(&mut self, data: &[u8]) -> arbitrary::Result<()> {
        for [target, query, body] in requests(data) {
            self.request(&mut Unstructured::new(target), query, body)?;
        }
        Ok(())
    }

    /// Sends a request, and returns the status and the body of its answer.
    pub(crate) fn send(&self, request: Request<Body>) -> (StatusCode, Bytes) {
        self.runtime.block_on(async {
            let response = self.router.clone().oneshot(request).await.unwrap();
            let status = response.status();
            (status, to_bytes(response.into_body(), usize::MAX).await.unwrap())
        })
    }

    fn request(&mut self, target: &mut Unstructured<'_>, query: &[u8], body: &[u8]) -> arbitrary::Result<()> {
        // Hashing a password takes longer than ten thousand other requests.
        if body.windows(8).any(|window| window == b"password") && body.len() > 24 {
            return Ok(());
        }
        let number = usize::from(target.arbitrary::<u8>()?) % self.routes.len();
        let (method, path) = self.routes[number].clone();
        let mut uri = String::new();
        for (index, piece) in path.split(['{', '}']).enumerate() {
            uri.push_str(match index % 2 {
                0 => piece,
                _ => NAMES[usize::from(target.arbitrary::<u8>().unwrap_or(0)) % NAMES.len()],
            });
        }
        ask(&mut uri, query);
        let request = Request::builder()
            .method(method.clone())
            .uri(&uri)
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", "application/json")
            .body(Body::from(body.to_vec()));
        // What is no address does not get this far.
        let Ok(request) = request else { return Ok(()) };
        let (status, answer) = self.send(request);
        let shown = || format!("{method} {uri}: {status}: {}", String::from_utf8_lossy(&answer));
        assert!(!status.is_server_error(), "{}", shown());
        if !status.is_success() {
            let refusal: Value = serde_json::from_slice(&answer).unwrap_or_default();
            assert!(
                refusal["detail"].as_str().is_some_and(|text| !text.is_empty()),
                "{}",
                shown()
            );
        } else if method != Method::GET {
            self.changes += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
impl World {
    /// How many routes there are.
    pub(crate) fn count(&self) -> usize {
        self.routes.len()
    }
}
