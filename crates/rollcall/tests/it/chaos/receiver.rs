//! The receiver without memory as a process of its own.
//!
//! It is this program of tests, started for the one test below. What it applies it writes to a file before it
//! answers, so that a kill costs it nothing that it has acknowledged; the checks read that file.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command as Process;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::response::Response;
use rollcall_protocol::{EncryptionKey, Event, EventBatch};
use rollcall_receiver::testing::{Act, Forgetful, router};
use rollcall_receiver::{KeySource, Outcome, Process as _, Receiver};

use crate::programs::bound;

const FOLDER: &str = "ROLLCALL_CHAOS_RECEIVER";

/// What the process has to know.
pub(super) struct Post {
    pub(super) listen: SocketAddr,
    pub(super) application: String,
    /// In hexadecimal.
    pub(super) key: String,
    /// The public keys. It never asks for others, as the official SDK does not.
    pub(super) jwks: String,
}

impl Post {
    /// Writes down what the process has to know; it is the folder's only receiver.
    pub(super) fn write(&self, folder: &Path) {
        let head = format!("{}\n{}\n{}\n", self.listen, self.application, self.key);
        std::fs::write(folder.join("post"), head + &self.jwks).unwrap();
        File::create(folder.join("told")).unwrap();
    }

    fn read(folder: &Path) -> Self {
        let text = std::fs::read_to_string(folder.join("post")).unwrap();
        let mut lines = text.splitn(4, '\n').map(str::to_owned);
        let mut next = || lines.next().unwrap();
        Self {
            listen: next().parse().unwrap(),
            application: next(),
            key: next(),
            jwks: next(),
        }
    }
}

/// The command that starts the process.
pub(super) fn command(folder: &Path) -> Process {
    let mut command = Process::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "--ignored", "--nocapture"])
        .arg("chaos::receiver::the_process_of_the_receiver_without_memory")
        .env(FOLDER, folder);
    bound(&command, None)
}

/// What the receiver was told.
pub(super) struct Told {
    pub(super) app: Forgetful,
    pub(super) requests: usize,
}

/// Reads what was told, in its order.
pub(super) async fn told(folder: &Path) -> Told {
    let text = std::fs::read_to_string(folder.join("told")).unwrap();
    let app = Forgetful::new();
    let mut requests = 0;
    for line in text.lines() {
        if line.is_empty() {
            requests += 1;
        } else {
            let batch = EventBatch::from_json(line).unwrap();
            app.process(batch.events, 0).await.unwrap();
        }
    }
    Told { app, requests }
}

/// One line for each event, and an empty one before those of a request.
fn line(event: &Event) -> String {
    let batch = EventBatch {
        instance_id: String::new(),
        event_version: String::new(),
        ali_uid: String::new(),
        events: vec![event.clone()],
    };
    batch.to_json() + "\n"
}

/// Opens the file of what was told. A line that a kill cut short was not answered, and goes.
fn open(path: &PathBuf) -> File {
    let text = std::fs::read(path).unwrap();
    let whole = text
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1);
    let file = OpenOptions::new().append(true).open(path).unwrap();
    file.set_len(u64::try_from(whole).unwrap()).unwrap();
    file
}

/// Adds to the file, or leaves it as it was, as when the disk is full.
fn add(file: &Mutex<File>, line: &str) -> std::io::Result<()> {
    let mut file = file.lock().unwrap();
    let length = file.metadata()?.len();
    let written = file.write_all(line.as_bytes());
    if written.is_err() {
        file.set_len(length)?;
    }
    written
}

/// Waits between applying and answering, so that a kill finds time in between.
async fn slowly(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    response
}

#[test]
#[ignore = "other tests start it as a process"]
fn the_process_of_the_receiver_without_memory() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else {
        return;
    };
    let post = Post::read(&folder);
    let file = Arc::new(Mutex::new(open(&folder.join("told"))));
    let too = Arc::clone(&file);
    let app = Forgetful::answering(
        move |event, _| match add(&file, &line(event)) {
            Ok(()) => Act::Apply,
            Err(error) => Act::Answer(Outcome::exception(error)),
        },
        move |_, _| {
            // Only for counting the requests.
            let _ = add(&too, "\n");
            None
        },
    );
    let receiver = Receiver::builder(KeySource::Document(post.jwks), &post.application)
        .encryption_key(EncryptionKey::from_hex(&post.key).unwrap())
        .build(app)
        .unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(post.listen).await.unwrap();
        let routes = router(Arc::new(receiver), "/events").layer(middleware::from_fn(slowly));
        axum::serve(listener, routes).await.unwrap();
    });
}
