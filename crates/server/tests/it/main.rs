//! The server against callers that send nothing, half of something, or too much, and at the end of the program.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod encrypted;
mod proxied;
mod seldom;

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::routing::{get, post};
use rollcall_server::{Client, Limits, Options, serve};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// Longer than any test waits for.
const LONG: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_millis(100);

/// Limits that nothing here runs into.
fn wide() -> Limits {
    Limits {
        connections: 100,
        per_address: 100,
        header: LONG,
        body: LONG,
        idle: LONG,
        stop: LONG,
    }
}

struct Running {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    server: JoinHandle<usize>,
    /// Says that a slow handler has begun; it ends when it is answered.
    slow: mpsc::Receiver<oneshot::Sender<()>>,
}

async fn start(options: impl Into<Options>) -> Running {
    let options = options.into();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (begun, slow) = mpsc::channel(10);
    let router = Router::new()
        .route("/", get(|| async { "here" }))
        .route("/client", get(async |client: Client| format!("{client:?}")))
        .route("/kept", get(async || ([("cache-control", "max-age=60")], "kept")))
        .route(
            "/length",
            post(|body: Bytes| async move { body.len().to_string() }),
        )
        .route("/refused", post(|| async { "not read" }))
        .route("/large", get(|| async { vec![b'x'; 64 << 20] }))
        .route("/panic", get(|| async { [""][std::hint::black_box(1)] }))
        .route(
            "/slow",
            get(async move || {
                let (end, ended) = oneshot::channel();
                begun.send(end).await.unwrap();
                ended.await.unwrap();
                "at last"
            }),
        );
    let (stop, stopped) = oneshot::channel();
    let server = tokio::spawn(serve(listener, router, options, async move {
        let _ = stopped.await;
    }));
    Running {
        address,
        stop,
        server,
        slow,
    }
}

impl Running {
    async fn send(&self, text: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        stream
    }

    async fn ask(&self, path: &str) -> String {
        rest(
            self.send(&format!(
                "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
            ))
            .await,
        )
        .await
    }
}

/// Reads to the end; a connection that is reset has ended too.
async fn rest(mut stream: TcpStream) -> String {
    let mut text = Vec::new();
    let _ = stream.read_to_end(&mut text).await;
    String::from_utf8(text).unwrap()
}

/// Reads the answer to `GET /` and leaves the connection open.
async fn here(stream: &mut TcpStream) {
    let mut text = Vec::new();
    while !text.ends_with(b"here") {
        assert!(stream.read_buf(&mut text).await.unwrap() > 0);
    }
}

#[tokio::test]
async fn whoever_sends_nothing_or_half_of_a_request_is_closed() {
    let head = start(Limits {
        header: SHORT,
        ..wide()
    })
    .await;
    let body = start(Limits {
        body: SHORT,
        ..wide()
    })
    .await;
    let idle = start(Limits {
        idle: SHORT,
        ..wide()
    })
    .await;
    assert_eq!(rest(head.send("").await).await, "");
    assert_eq!(rest(head.send("GET / HTTP/1.1\r\nhost:").await).await, "");
    let half = "POST /length HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n1234";
    assert_eq!(rest(body.send(half).await).await, "");
    // A second head is limited as the first one is.
    let mut again = head.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    here(&mut again).await;
    again.write_all(b"GET /").await.unwrap();
    assert_eq!(rest(again).await, "");
    let mut kept = idle.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    here(&mut kept).await;
    assert_eq!(rest(kept).await, "");
    // Whoever does not read its answer is closed too, before it has all of it.
    let unread = body.send("GET /large HTTP/1.1\r\nhost: x\r\n\r\n").await;
    while body.is_writing_to(&unread) {
        tokio::time::sleep(SHORT).await;
    }
    assert!(rest(unread).await.len() < 64 << 20);
}

impl Running {
    /// Whether the server still holds its end of this connection, by the system's own table.
    fn is_writing_to(&self, stream: &TcpStream) -> bool {
        let port = |address: SocketAddr| format!("0100007F:{:04X}", address.port());
        let (ours, theirs) = (port(self.address), port(stream.local_addr().unwrap()));
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        table.lines().any(|line| {
            let mut fields = line.split_whitespace().skip(1);
            // 01 is an established connection.
            (fields.next(), fields.next(), fields.next()) == (Some(&ours), Some(&theirs), Some("01"))
        })
    }
}

#[tokio::test]
async fn what_takes_long_in_a_handler_is_not_cut_off() {
    let mut running = start(Limits {
        header: SHORT,
        body: SHORT,
        idle: SHORT,
        ..wide()
    })
    .await;
    let asked = tokio::spawn(rest(
        running
            .send("GET /slow HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            .await,
    ));
    let end = running.slow.recv().await.unwrap();
    tokio::time::sleep(SHORT * 3).await;
    end.send(()).unwrap();
    assert!(asked.await.unwrap().ends_with("at last"));
}

#[tokio::test]
async fn silent_connections_give_way_and_those_that_wait_for_an_answer_do_not() {
    let mut running = start(Limits {
        connections: 4,
        per_address: 4,
        ..wide()
    })
    .await;
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(running.send("").await);
        assert!(running.ask("/").await.ends_with("here"));
    }
    let mut asked = Vec::new();
    let mut ends = Vec::new();
    for _ in 0..4 {
        asked.push(
            running
                .send("GET /slow HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
                .await,
        );
        ends.push(running.slow.recv().await.unwrap());
    }
    // All silent ones are gone, and there is no room for another.
    for stream in silent {
        assert_eq!(rest(stream).await, "");
    }
    assert_eq!(running.ask("/").await, "");
    for (stream, end) in asked.into_iter().zip(ends) {
        end.send(()).unwrap();
        assert!(rest(stream).await.ends_with("at last"));
    }
    assert!(running.ask("/").await.ends_with("here"));
}

#[tokio::test]
async fn an_answer_reaches_whoever_still_writes() {
    let running = start(wide()).await;
    let length = 20 << 20;
    let mut stream = running
        .send(&format!(
            "POST /refused HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n"
        ))
        .await;
    // Written whole although the answer came at once.
    stream.write_all(&vec![b'x'; length]).await.unwrap();
    assert!(rest(stream).await.ends_with("not read"));
}

#[tokio::test]
async fn a_panic_ends_its_own_connection_only() {
    let running = start(wide()).await;
    assert_eq!(running.ask("/panic").await, "");
    assert!(running.ask("/").await.ends_with("here"));
}

#[tokio::test]
async fn the_end_waits_for_answers_and_for_nobody_else() {
    let mut running = start(wide()).await;
    let mut kept = running.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    here(&mut kept).await;
    let silent = running.send("").await;
    let half = running.send("GET / HTTP/1.1\r\nhost:").await;
    let asked = running.send("GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let end = running.slow.recv().await.unwrap();
    running.stop.send(()).unwrap();
    for stream in [kept, silent, half] {
        assert_eq!(rest(stream).await, "");
    }
    assert!(
        TcpStream::connect(running.address).await.is_err(),
        "nobody new is taken"
    );
    end.send(()).unwrap();
    let answer = rest(asked).await;
    assert!(
        answer.contains("connection: close") && answer.ends_with("at last"),
        "{answer}"
    );
    assert_eq!(running.server.await.unwrap(), 0);
}

#[tokio::test]
async fn the_end_has_a_deadline() {
    let running = start(Limits {
        stop: SHORT,
        ..wide()
    })
    .await;
    let half = running
        .send("POST /length HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n1234")
        .await;
    // The server has accepted it once it has answered whoever came later.
    assert!(running.ask("/").await.ends_with("here"));
    running.stop.send(()).unwrap();
    assert_eq!(running.server.await.unwrap(), 1);
    assert_eq!(rest(half).await, "");
}
