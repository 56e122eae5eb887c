//! `rollcall listen`, the real program: a real hub pushes to it, or requests that are sealed here.

mod answers;
mod forwarded;
mod hub;
mod refused;
mod told;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command as Process, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rollcall::clock::Clock;
use rollcall_protocol::{
    EncryptionKey, Event, EventBatch, EventType, JwkSet, SealParams, SigningKey, SystemRandom, seal,
};
use serde_json::Value;
use tempfile::TempDir;

use crate::operate::rollcall;

/// How long anything may take that the tests wait for.
const PATIENCE: Duration = Duration::from_secs(30);

/// The program, listening.
struct Listening {
    child: Child,
    lines: mpsc::Receiver<String>,
    /// What it says beside its output, to its end.
    beside: Option<std::thread::JoinHandle<String>>,
    /// What it has printed so far.
    printed: String,
    url: String,
}

impl Listening {
    /// Starts it at a free port, and waits until it listens.
    fn start(folder: &Path, arguments: &[&str]) -> Self {
        let mut process = rollcall(folder, arguments);
        process.args(["--listen", "127.0.0.1:0"]);
        Self::run(process)
    }

    fn run(mut process: Process) -> Self {
        let mut child = process
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let mut error = child.stderr.take().unwrap();
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in out.lines() {
                let _ = sender.send(line.unwrap());
            }
        });
        let beside = std::thread::spawn(move || {
            let mut text = String::new();
            error.read_to_string(&mut text).unwrap();
            text
        });
        let mut listening = Self {
            child,
            lines,
            beside: Some(beside),
            printed: String::new(),
            url: String::new(),
        };
        let first = listening.line();
        listening.url = match first.strip_prefix("listening at ") {
            Some(rest) => rest.split_whitespace().next().unwrap().to_owned(),
            None => serde_json::from_str::<Value>(&first).unwrap()["url"]
                .as_str()
                .unwrap()
                .to_owned(),
        };
        listening
    }

    fn line(&mut self) -> String {
        let line = self
            .lines
            .recv_timeout(PATIENCE)
            .unwrap_or_else(|_| panic!("nothing more was printed after\n{}", self.printed));
        self.printed.push_str(&line);
        self.printed.push('\n');
        line
    }

    /// Reads on until a line with this text.
    fn until(&mut self, text: &str) -> String {
        loop {
            let line = self.line();
            if line.contains(text) {
                return line;
            }
        }
    }

    fn address(&self) -> String {
        let rest = self.url.strip_prefix("http://").unwrap();
        rest.split('/').next().unwrap().to_owned()
    }

    /// Posts a body to it; the whole answer, with its head.
    fn post(&self, body: &str) -> String {
        self.post_to("/events", body)
    }

    fn post_to(&self, path: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(self.address()).unwrap();
        write!(
            stream,
            "POST {path} HTTP/1.1\r\nhost: here\r\ncontent-type: application/json;charset=utf-8\r\n\
             x-of-the-sender: kept\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Waits for its end: its exit code, all that it printed, and what it said beside.
    fn end(mut self) -> (i32, String, String) {
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            self.printed.push_str(&line);
            self.printed.push('\n');
        }
        let code = self.child.wait().unwrap().code().unwrap();
        let beside = self.beside.take().unwrap().join().unwrap();
        (code, std::mem::take(&mut self.printed), beside)
    }

    /// Asks it to end with a signal, such as `-TERM`.
    fn stop(self, signal: &str) -> (i32, String, String) {
        let pid = self.child.id().to_string();
        assert!(
            Process::new("kill")
                .args([signal, &pid])
                .status()
                .unwrap()
                .success()
        );
        self.end()
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A sender without a directory: a key whose public half lies in a file, and what to seal.
struct Sender {
    folder: TempDir,
    key: SigningKey,
    secret: EncryptionKey,
    encrypts: bool,
    application: &'static str,
    /// How far its clock is ahead.
    ahead_ms: i64,
}

const ADA: &str = r#"{"userId":"user_1","username":"ada","displayName":"Ada Lovelace","status":"enabled","email":"ada@x.example","createTime":"1800000000000"}"#;

impl Sender {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = SigningKey::generate("KEY1").unwrap();
        let secret = EncryptionKey::generate(&SystemRandom);
        let jwks = JwkSet {
            keys: vec![key.public_jwk()],
        };
        std::fs::write(
            folder.path().join("jwks.json"),
            serde_json::to_string(&jwks).unwrap(),
        )
        .unwrap();
        std::fs::write(folder.path().join("key.hex"), secret.to_hex().as_str()).unwrap();
        Self {
            folder,
            key,
            secret,
            encrypts: false,
            application: "app_1",
            ahead_ms: 0,
        }
    }

    /// A listener that believes this sender.
    fn listen(&self, arguments: &[&str]) -> Listening {
        let whom = ["listen", "--jwks", "jwks.json", "--application-id", "app_1"];
        Listening::start(self.folder.path(), &[&whom[..], arguments].concat())
    }

    fn seal(&self, events: Vec<Event>) -> String {
        let batch = EventBatch {
            instance_id: "idaas_1".to_owned(),
            event_version: "V1.0".to_owned(),
            ali_uid: "1".to_owned(),
            events,
        };
        let params = SealParams {
            key: &self.key,
            instance_id: "idaas_1",
            application_id: self.application,
            encryption: self.encrypts.then_some(&self.secret),
            now_ms: Clock::system().now() + self.ahead_ms,
            random: &SystemRandom,
        };
        seal(&batch, &params).unwrap().body
    }

    /// A request with one event.
    fn one(&self, id: &str) -> String {
        self.seal(vec![event(id, EventType::UserCreate, ADA)])
    }
}

fn event(id: &str, kind: EventType, data: &str) -> Event {
    Event {
        event_id: id.to_owned(),
        event_type: kind.urn().to_owned(),
        event_time: 1_800_000_000_000,
        biz_id: "user_1".to_owned(),
        biz_data: data.to_owned(),
    }
}

/// The body of an answer.
fn body(answer: &str) -> Value {
    let (_, body) = answer
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("{answer:?}"));
    serde_json::from_str(body).unwrap_or_else(|_| panic!("{answer}"))
}
