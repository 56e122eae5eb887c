//! The cache over the JWKS endpoint.

use std::future::Future;
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use rollcall_receiver::{Direct, FetchJwks, Handler};

use super::*;

struct Nothing;
impl Handler for Nothing {}

/// An endpoint whose document can be changed.
struct Endpoint {
    document: Mutex<Result<String, String>>,
    fetches: AtomicUsize,
}

impl Endpoint {
    fn new(document: Result<String, String>) -> Arc<Self> {
        Arc::new(Self {
            document: Mutex::new(document),
            fetches: AtomicUsize::new(0),
        })
    }

    fn set(&self, document: Result<String, String>) {
        *self.document.lock().unwrap() = document;
    }

    fn fetches(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }
}

impl FetchJwks for Endpoint {
    fn fetch(&self) -> Pin<Box<dyn Future<Output = Result<String, String>> + Send + '_>> {
        Box::pin(async {
            self.fetches.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(20)).await;
            self.document.lock().unwrap().clone()
        })
    }
}

fn receiver(endpoint: &Arc<Endpoint>) -> (Arc<AtomicI64>, Arc<Receiver<Direct<Nothing>>>) {
    let (now, clock) = clock();
    let keys = KeySource::Endpoint(Arc::clone(endpoint) as Arc<dyn FetchJwks>);
    let receiver = Receiver::builder(keys, "app_1").clock(clock);
    (now, Arc::new(receiver.build(Direct::new(Nothing)).unwrap()))
}

fn body(kid: &'static str) -> String {
    let events = [event("t", EventType::Test, NOW, "", "{}")];
    Envelope {
        kid,
        ..Envelope::default()
    }
    .seal(&events)
}

async fn fifty(receiver: &Arc<Receiver<Direct<Nothing>>>, kid: &'static str) -> Vec<u16> {
    let body = Arc::new(body(kid));
    let calls: Vec<_> = (0..50)
        .map(|_| {
            let (receiver, body) = (Arc::clone(receiver), Arc::clone(&body));
            tokio::spawn(async move { receiver.receive(None, body.as_bytes()).await.status })
        })
        .collect();
    let mut statuses = Vec::new();
    for call in calls {
        statuses.push(call.await.unwrap());
    }
    statuses.dedup();
    statuses
}

#[tokio::test]
async fn a_new_key_is_fetched_once_for_all_who_wait() {
    let endpoint = Endpoint::new(Ok(jwks(&["KEY1"])));
    let (now, receiver) = receiver(&endpoint);
    assert_eq!(fifty(&receiver, "KEY1").await, [200]);
    assert_eq!(endpoint.fetches(), 1);

    // The hub begins to use another key.
    now.fetch_add(40_000, Ordering::SeqCst);
    endpoint.set(Ok(jwks(&["KEY1", "KEY2"])));
    assert_eq!(fifty(&receiver, "KEY2").await, [200]);
    assert_eq!(endpoint.fetches(), 2);
}

#[tokio::test]
async fn made_up_key_ids_do_not_become_a_flood() {
    let endpoint = Endpoint::new(Ok(jwks(&["KEY1"])));
    let (now, receiver) = receiver(&endpoint);
    assert_eq!(fifty(&receiver, "KEY2").await, [400]);
    assert_eq!(
        endpoint.fetches(),
        1,
        "the set is new: nothing is gained by looking again"
    );
    assert_eq!(fifty(&receiver, "KEY2").await, [400]);
    assert_eq!(endpoint.fetches(), 1);
    now.fetch_add(31_000, Ordering::SeqCst);
    assert_eq!(fifty(&receiver, "KEY2").await, [400]);
    assert_eq!(endpoint.fetches(), 2);
    assert_eq!(receiver.receive(None, body("KEY1").as_bytes()).await.status, 200);
}

#[tokio::test]
async fn how_soon_the_document_is_fetched_again_can_be_set() {
    let endpoint = Endpoint::new(Ok(jwks(&["KEY1"])));
    let (now, clock) = clock();
    let keys = KeySource::Endpoint(Arc::clone(&endpoint) as Arc<dyn FetchJwks>);
    let receiver = Receiver::builder(keys, "app_1")
        .clock(clock)
        .refetch_keys_after(Duration::from_secs(1))
        .build(Direct::new(Nothing))
        .unwrap();
    assert_eq!(receiver.receive(None, body("KEY1").as_bytes()).await.status, 200);
    endpoint.set(Ok(jwks(&["KEY1", "KEY2"])));
    now.fetch_add(900, Ordering::SeqCst);
    assert_eq!(receiver.receive(None, body("KEY2").as_bytes()).await.status, 400);
    now.fetch_add(200, Ordering::SeqCst);
    assert_eq!(receiver.receive(None, body("KEY2").as_bytes()).await.status, 200);
    assert_eq!(endpoint.fetches(), 2);
}

#[tokio::test]
async fn old_keys_are_better_than_none() {
    let endpoint = Endpoint::new(Err("not yet up".to_owned()));
    let (now, receiver) = receiver(&endpoint);
    // Without keys nothing can be said about the request: the hub should come again.
    let reply = receiver.receive(None, body("KEY1").as_bytes()).await;
    assert_eq!((reply.status, reply.body.contains("internal_error")), (503, true));
    endpoint.set(Ok(jwks(&["KEY1"])));
    now.fetch_add(3_000, Ordering::SeqCst);
    assert_eq!(receiver.receive(None, body("KEY1").as_bytes()).await.status, 200);

    // After the set has become old and the endpoint is gone, or serves an empty set, it stays in use.
    for broken in [Err("down".to_owned()), Ok(r#"{"keys":[]}"#.to_owned())] {
        let before = endpoint.fetches();
        endpoint.set(broken);
        now.fetch_add(1_000_000, Ordering::SeqCst);
        let envelope = Envelope {
            now: now.fetch_add(2_700_000, Ordering::SeqCst) + 2_700_000,
            ..Envelope::default()
        };
        let known = envelope.seal(&[event("t", EventType::Test, NOW, "", "{}")]);
        assert_eq!(receiver.receive(None, known.as_bytes()).await.status, 200);
        // Meanwhile the endpoint is asked.
        while endpoint.fetches() == before {
            tokio::task::yield_now().await;
        }
        assert_eq!(endpoint.fetches(), before + 1);
        // A key that may exist, but cannot be looked up, is no reason to refuse for good.
        let unknown = Envelope {
            kid: "KEY2",
            ..envelope
        }
        .seal(&[]);
        assert_eq!(receiver.receive(None, unknown.as_bytes()).await.status, 503);
        assert_eq!(endpoint.fetches(), before + 1);
    }
}

#[tokio::test]
async fn keys_are_fetched_over_http() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/jwks", listener.local_addr().unwrap());
    let document = jwks(&["KEY1"]);
    let app = axum::Router::new().route("/jwks", axum::routing::get(move || async move { document }));
    tokio::spawn(async move { axum::serve(listener, app).await });
    let keys = KeySource::Endpoint(Arc::new(rollcall_receiver::HttpJwks::new(url).unwrap()));
    let receiver = Receiver::builder(keys, "app_1").clock(still());
    let receiver = receiver.build(Direct::new(Nothing)).unwrap();
    assert_eq!(receiver.receive(None, body("KEY1").as_bytes()).await.status, 200);
}

/// An endpoint that answers when it is let go.
struct Hanging {
    go: tokio::sync::Semaphore,
    fetches: AtomicUsize,
}

impl FetchJwks for Hanging {
    fn fetch(&self) -> Pin<Box<dyn Future<Output = Result<String, String>> + Send + '_>> {
        Box::pin(async {
            self.fetches.fetch_add(1, Ordering::SeqCst);
            self.go.acquire().await.unwrap().forget();
            Ok(jwks(&["KEY1"]))
        })
    }
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_hangs_holds_up_nobody_whose_key_is_known() {
    let endpoint = Arc::new(Hanging {
        go: tokio::sync::Semaphore::new(1),
        fetches: AtomicUsize::new(0),
    });
    let (now, clock) = clock();
    let keys = KeySource::Endpoint(Arc::clone(&endpoint) as Arc<dyn FetchJwks>);
    let receiver = Receiver::builder(keys, "app_1").clock(clock);
    let receiver = Arc::new(receiver.build(Direct::new(Nothing)).unwrap());
    assert_eq!(fifty(&receiver, "KEY1").await, [200]);

    // From now on it hangs. The keys grow old; requests do not wait, not even in the test's own time.
    let later = now.fetch_add(4_000_000, Ordering::SeqCst) + 4_000_000;
    let sealed = |kid| {
        let envelope = Envelope {
            kid,
            now: later,
            ..Envelope::default()
        };
        envelope.seal(&[event("t", EventType::Test, NOW, "", "{}")])
    };
    let begun = tokio::time::Instant::now();
    for _ in 0..3 {
        let reply = receiver.receive(None, sealed("KEY1").as_bytes()).await;
        assert_eq!(reply.status, 200);
    }
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert_eq!(
        endpoint.fetches.load(Ordering::SeqCst),
        1,
        "the fetch has not begun to run"
    );
    tokio::task::yield_now().await;
    assert_eq!(endpoint.fetches.load(Ordering::SeqCst), 2);

    // Strangers wait for a few seconds, and only so many of them.
    let unknown = Arc::new(sealed("KEY2"));
    let calls: Vec<_> = (0..200)
        .map(|_| {
            let (receiver, unknown) = (Arc::clone(&receiver), Arc::clone(&unknown));
            tokio::spawn(async move {
                let status = receiver.receive(None, unknown.as_bytes()).await.status;
                (status, begun.elapsed() > Duration::ZERO)
            })
        })
        .collect();
    let mut waited = 0;
    for call in calls {
        let (status, has_waited) = call.await.unwrap();
        assert_eq!(status, 503);
        waited += usize::from(has_waited);
    }
    assert_eq!(waited, 64);
    assert_eq!(begun.elapsed().as_secs(), 3);
    assert_eq!(endpoint.fetches.load(Ordering::SeqCst), 2);
}
