//! The receivers of `contrib/receivers`, each as its README starts it, in front of `rollcall check`.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rollcall::check::{self, ReadBack};
use rollcall::clock::Clock;
use rollcall::sender::jwks::{JwksServer, Published};
use rollcall_protocol::{EncryptionKey, SystemRandom};

use super::{options, others, sender};

/// The folder in which `cargo xtask test` makes them.
const FOLDER: &str = "ROLLCALL_TEST_RECEIVERS";

/// What the receiver in Java needs besides the JDK.
const JARS: &str = "/usr/share/java/jackson-databind.jar:/usr/share/java/sqlite-jdbc.jar";

/// The folders of `contrib/receivers`.
const LANGUAGES: [&str; 5] = ["go", "java", "node", "python", "rust"];

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../contrib/receivers")
}

/// What starts a receiver, in its folder; without it, it is noted that the test did not run.
fn command(language: &str) -> Option<Command> {
    if language == "rust" {
        // An example of the workspace, which is built with its tests, beside them.
        let tests = std::env::current_exe().unwrap();
        let built = tests.parent().unwrap().parent().unwrap();
        let program = built.join("examples/receiver");
        if !program.is_file() {
            let why = format!(
                "{} is not built: cargo test --workspace builds it",
                program.display()
            );
            rollcall_db::testing::did_not_run("receiver in rust", &why);
            return None;
        }
        return Some(Command::new(program));
    }
    let folder = std::env::var_os(FOLDER).map(|folder: OsString| Path::new(&folder).join(language));
    let Some(folder) = folder.filter(|folder| folder.join("whole").is_file()) else {
        let why = format!("{FOLDER} names no folder with it; cargo xtask test makes it");
        rollcall_db::testing::did_not_run(&format!("receiver in {language}"), &why);
        return None;
    };
    let mut command = match language {
        "python" => {
            let mut command = Command::new(folder.join(".venv/bin/python"));
            command.arg("receiver.py");
            command
        }
        "node" => {
            let mut command = Command::new("node");
            command.arg("receiver.mjs");
            command
        }
        "java" => {
            let mut command = Command::new("java");
            command.args(["-cp", &format!("build:{JARS}"), "Receiver"]);
            command
        }
        _ => Command::new(folder.join("receiver")),
    };
    command.current_dir(folder);
    Some(command)
}

/// A receiver that runs, and ends with this.
struct Running {
    child: Child,
    /// Where it receives.
    url: String,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    /// Starts it on a free port and waits until it says that it is ready.
    fn start(mut command: Command, settings: &[(&str, String)]) -> Self {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let mut child = command
            .envs(settings.iter().map(|(name, value)| (*name, value)))
            .env("ROLLCALL_LISTEN", address.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Some say it on one of them and some on the other, and either must be read on, lest it fills.
        let (ready, is_ready) = std::sync::mpsc::channel();
        let streams: [Box<dyn std::io::Read + Send>; 2] = [
            Box::new(child.stdout.take().unwrap()),
            Box::new(child.stderr.take().unwrap()),
        ];
        for stream in streams {
            let ready = ready.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines() {
                    let Ok(line) = line else { break };
                    if line.contains("receiving at") {
                        let _ = ready.send(());
                    }
                }
            });
        }
        drop(ready);
        let url = format!("http://{address}/events");
        let running = Self { child, url };
        is_ready
            .recv_timeout(Duration::from_secs(60))
            .expect("it says that it receives");
        running
    }
}

fn passes_everything(language: &str) {
    for is_encrypted in [true, false] {
        let Some(command) = command(language) else { return };
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(passes(language, command, is_encrypted));
    }
}

async fn passes(language: &str, command: Command, is_encrypted: bool) {
    let encryption = is_encrypted.then(|| EncryptionKey::generate(&SystemRandom));
    let hex = encryption.as_ref().map(EncryptionKey::to_hex);
    let sender = sender(encryption);
    let published = Published::default();
    published.add(&sender.signing);
    let listen = "127.0.0.1:0".parse().unwrap();
    let (instance, application) = (&sender.instance_id, &sender.application_id);
    let jwks = JwksServer::start(listen, instance, application, published.clone())
        .await
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("receiver.db").display().to_string();
    let mut settings = vec![
        ("ROLLCALL_JWKS_URL", jwks.url.clone()),
        ("ROLLCALL_APPLICATION_ID", application.clone()),
        ("ROLLCALL_DATABASE", database),
        // As soon as the key is rotated in the middle of it, instead of after half a minute.
        ("ROLLCALL_JWKS_REFETCH_SECONDS", "1".to_owned()),
    ];
    settings.extend(hex.map(|hex| ("ROLLCALL_ENCRYPTION_KEY", hex.to_string())));
    let running = tokio::task::spawn_blocking(move || Running::start(command, &settings))
        .await
        .unwrap();
    let users = running.url.replace("/events", "/users/{id}");
    let read_back = ReadBack::http(&users, &[], Clock::system()).unwrap();
    let mut options = options(sender, &running.url, published, Some(read_back));
    options.settle = Duration::from_millis(1_200);
    let report = check::run(options, &check::cases(), std::future::pending(), |_| {}).await;
    jwks.end().await;
    let unchecked = report.counts.not_checked;
    assert_eq!(
        report.counts.passed + unchecked,
        report.counts.cases,
        "{language}: {:#?}",
        others(&report)
    );
    // What is about encryption.
    assert_eq!(
        unchecked,
        if is_encrypted { 0 } else { 3 },
        "{language}: {:#?}",
        others(&report)
    );
    assert!(report.cleaned.left.is_empty(), "{language}: {:?}", report.cleaned);
}

#[test]
fn the_receiver_in_python_passes_everything() {
    passes_everything("python");
}

#[test]
fn the_receiver_in_node_passes_everything() {
    passes_everything("node");
}

#[test]
fn the_receiver_in_java_passes_everything() {
    passes_everything("java");
}

#[test]
fn the_receiver_in_go_passes_everything() {
    passes_everything("go");
}

#[test]
fn the_receiver_in_rust_passes_everything() {
    passes_everything("rust");
}

#[test]
fn the_table_has_every_receiver_and_no_other() {
    let mut folders: Vec<String> = std::fs::read_dir(sources())
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    folders.sort();
    assert_eq!(folders, LANGUAGES);
    let readme = std::fs::read_to_string(sources().join("README.md")).unwrap();
    let mut rows: Vec<&str> = readme
        .lines()
        .filter_map(|line| {
            line.strip_prefix("| [")?
                .split_once("](")?
                .1
                .split_once("/README.md)")
        })
        .map(|(folder, _)| folder)
        .collect();
    rows.sort_unstable();
    assert_eq!(rows, LANGUAGES);
}
