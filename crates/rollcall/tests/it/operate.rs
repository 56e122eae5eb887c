//! What an operator does: configure, watch, back up.

use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command as Process, Output, Stdio};
use std::sync::{Arc, Mutex, mpsc};

use rollcall::application::Scope;
use rollcall::backup::{self, BackupError};
use rollcall::config::{Config, Overrides, example};
use rollcall::directory::Command;
use rollcall::export::export;
use rollcall::hub::Hub;
use rollcall::id::ROOT_UNIT;
use rollcall::import::{Dn, Format};
use rollcall::schema;
use rollcall_db::testing::databases;
use rollcall_db::{Db, DbError, Options};
use rollcall_protocol::SystemRandom;
use serde_json::Value;

use crate::world::{World, make_hub, new_user, on_both, open_hub};

pub(crate) fn rollcall(folder: &Path, arguments: &[&str]) -> Process {
    let mut process = Process::new(env!("CARGO_BIN_EXE_rollcall"));
    process
        .args(arguments)
        .current_dir(folder)
        .env("ROLLCALL_DATA_DIR", folder.join("data"))
        .env_remove("ROLLCALL_LOG");
    process
}

pub(crate) fn done(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{error}");
    text
}

fn read(text: &str) -> anyhow::Result<Config> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("rollcall.toml");
    std::fs::write(&file, text)?;
    Config::read(Some(&file), Overrides::default())
}

#[test]
fn every_setting_is_shown_in_the_example_and_checked() {
    let shown = example();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let kept = std::fs::read_to_string(root.join("contrib/rollcall.toml")).unwrap();
    assert_eq!(
        kept.trim(),
        shown.trim(),
        "contrib/rollcall.toml is what `rollcall example` prints"
    );
    read(&shown).unwrap();
    for (text, named) in [
        ("dtabase = 'x'", "dtabase"),
        (
            "[egress]\n\nsource = '::1'",
            "line 3: there is no setting \"egress.source\"",
        ),
        (
            "egress = { allow = [\n'::1/128'], source = '::1' }",
            "line 2: there is no setting \"egress.source\"",
        ),
        ("[egres]\nallow = []", "\"egres.allow\""),
        ("[delivery.fast]", "\"delivery.fast\""),
        ("listen = 'nowhere'", "listen"),
        ("public_url = 'ftp://x'", "public_url"),
        ("database = 'a'\ndatabase_file = 'b'", "database_file"),
        ("[retention]\nchanges = 0", "retention.changes"),
        ("[retention]\nchanges = 30\nlaggards = 20", "retention.laggards"),
        ("[delivery]\ntries = 0", "delivery.tries"),
        ("[delivery]\nlongest_pause = 0", "delivery.longest_pause"),
        ("[log]\nlevel = 'lo=ud=ly'", "log.level"),
        ("[log]\nformat = 'xml'", "format"),
        ("[egress]\nallow = ['10.0.0.0/99']", "egress.allow"),
        ("[egress]\nca_file = '/nowhere.pem'", "egress.ca_file"),
        ("[egress]\nca_file = '/etc/passwd'", "no certificate in PEM"),
        ("organization = ' '", "organization"),
        ("[access]\nsession_idle = 0", "access.session_idle"),
        ("[access]\nsession_lifetime = 721", "access.session_lifetime"),
        (
            "[server]\ntrusted_proxies = ['proxy.example']",
            "server.trusted_proxies",
        ),
        ("[server]\nforwarded_by = 'via'", "forwarded_by"),
    ] {
        let error = format!("{:#}", read(text).unwrap_err());
        assert!(error.contains(named), "{text}: {error}");
    }
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("url");
    std::fs::write(&secret, "postgres://u:p@h/d\n").unwrap();
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
    let config = read(&format!("database_file = '{}'", secret.display())).unwrap();
    assert_eq!(config.database_url().unwrap(), "postgres://u:p@h/d");
}

/// A hub as a process, listening on a free port.
pub(crate) struct Served {
    pub(crate) child: Child,
    pub(crate) address: String,
    /// The line of its log that says that it runs.
    pub(crate) first: Value,
    /// What it had logged by then, that line included: it may deliver before it says that it listens.
    pub(crate) beginning: String,
    /// What it logs from then on, by lines.
    log: Mutex<mpsc::Receiver<String>>,
}

/// The lines of a log, which a thread reads as they come: a hub that logs into a full pipe stands still.
fn lines(mut log: impl BufRead + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        while log.read_line(&mut line).unwrap() > 0 {
            // To the end also if nobody listens any more.
            let _ = sender.send(std::mem::take(&mut line));
        }
    });
    lines
}

impl Served {
    pub(crate) fn start(folder: &Path, database: &str) -> Self {
        let mut serve = rollcall(
            folder,
            &["--database", database, "serve", "--listen", "127.0.0.1:0"],
        );
        serve.args(["--log-format", "json"]);
        Self::run(serve)
    }

    /// Starts a hub with a command that logs JSON.
    pub(crate) fn run(mut serve: Process) -> Self {
        let mut child = serve.stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        // Something may be said before, such as that the database is damaged.
        let mut beginning = String::new();
        let (first, address) = loop {
            let before = beginning.len();
            assert!(log.read_line(&mut beginning).unwrap() > 0, "it does not run");
            let first: Value = serde_json::from_str(&beginning[before..]).unwrap();
            if let Some(address) = first["address"].as_str() {
                let address = address.to_owned();
                break (first, address);
            }
        };
        Self {
            child,
            address,
            first,
            beginning,
            log: Mutex::new(lines(log)),
        }
    }

    pub(crate) fn get(&self, path: &str) -> String {
        self.get_with(path, "x-request-id: from-the-test\r\n")
    }

    /// Asks with these further header lines.
    pub(crate) fn get_with(&self, path: &str, headers: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nhost: hub\r\n{headers}connection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Sends a request with a body of JSON.
    pub(crate) fn ask(&self, method: &str, path: &str, headers: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: hub\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n{headers}connection: close\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Sends it a signal, such as `-TERM`.
    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let sent = Process::new("kill").args([signal, &pid]).status().unwrap();
        assert!(sent.success());
    }

    /// Reads its log up to a line with this message, and returns that line.
    pub(crate) fn log_until(&mut self, message: &str) -> String {
        let log = self.log.get_mut().unwrap();
        let found = log.iter().find(|line| line.contains(message));
        found.unwrap_or_else(|| panic!("{message} was not logged"))
    }

    /// Asks it to stop, and returns the rest of its log.
    pub(crate) fn stop(&mut self) -> String {
        self.signal("-TERM");
        let log = self.log.get_mut().unwrap().iter().collect();
        assert!(self.child.wait().unwrap().success());
        log
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_running_hub_can_be_watched_and_stops_when_asked() {
    for database in databases("watched") {
        let folder = tempfile::tempdir().unwrap();
        let mut served = Served::start(folder.path(), &database.url);
        let cli = |arguments: &[&str]| {
            let mut all = vec!["--database", database.url.as_str()];
            all.extend(arguments);
            done(&rollcall(folder.path(), &all).output().unwrap())
        };
        cli(&["user", "create", "ada", "--display-name", "Ada Lovelace"]);
        cli(&[
            "app",
            "create",
            "Wiki",
            "--url",
            "https://wiki.invalid/x",
            "--encrypt",
        ]);
        assert!(served.get("/healthz").starts_with("HTTP/1.1 200"));
        assert!(served.get("/readyz").contains("ready"));
        let missing = served.get("/v2/x/y/provisioning/jwks");
        assert!(missing.starts_with("HTTP/1.1 404") && missing.contains("x-request-id: from-the-test"));
        let metrics = served.get("/metrics");
        for line in [
            "rollcall_log_head{} 2.0",
            "rollcall_cursor_lag_events{application=\"Wiki\"} 0.0",
            "rollcall_suspended{application=\"Wiki\"} 0.0",
            "rollcall_parked_events{application=\"Wiki\",state=\"failed\"} 0.0",
            "rollcall_applications{state=\"active\"} 1.0",
            "rollcall_directory_subjects{kind=\"user\"} 1.0",
            "rollcall_signing_queue{} 0.0",
            "rollcall_http_request_duration_seconds_count{route=\"/healthz\",status=\"200\"} 1",
            "rollcall_database_commit_seconds_bucket{le=\"+Inf\"}",
            "# TYPE rollcall_delivery_latency_seconds histogram",
            "# EOF",
        ] {
            assert!(metrics.contains(line), "{line} is missing in\n{metrics}");
        }
        let log = served.stop();
        let lines: Vec<Value> = log
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert!(
            lines
                .iter()
                .any(|line| line["span"]["id"] == "from-the-test" && line["status"] == 404)
        );
        assert!(
            lines
                .iter()
                .any(|line| line["message"] == "finishing the requests in flight")
        );
        assert!(
            !log.contains("Lovelace") && !log.contains("ada"),
            "no personal data: {log}"
        );
    }
}

async fn everything(hub: &Hub) -> String {
    let mut bytes = Vec::new();
    export(hub, Format::Jsonl, &Dn::parse("").unwrap(), &mut bytes)
        .await
        .unwrap();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn a_backup_fits_either_database_and_the_hub_goes_on_from_there() {
    on_both("backup", |from, mirror| async move {
        let mut world = World::new(&from, &mirror, Scope::everything()).await;
        let unit = world.unit("Ä/Z", ROOT_UNIT).await;
        let below = world.unit("Below", &unit).await;
        for n in 0..700 {
            let new = new_user(&format!("u{n}"), if n % 2 == 0 { &below } else { &unit });
            world.apply(Command::CreateUser(new)).await;
        }
        world.synchronize().await;
        world.converged().await;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("hub.backup");
        // While it is taken, the directory goes on changing.
        let (rows, ()) = tokio::join!(backup::write(&world.hub.db, &file, 1), async {
            for n in 0..50 {
                world.user(&format!("meanwhile{n}"), ROOT_UNIT).await;
            }
        });
        let rows = rows.unwrap();
        assert!(rows > 2_000);
        world.converged().await;
        let later = backup::write(&world.hub.db, &file, 1).await.unwrap();
        assert!(later >= rows);
        let before = everything(&world.hub).await;
        world.stop().await;

        // The other kind of database, where there are two.
        let targets = databases("restored");
        let target = targets
            .iter()
            .rev()
            .find(|target| target.url.split(':').next() != from.split(':').next())
            .unwrap_or(&targets[0])
            .url
            .clone();
        let open = |url: String| async move {
            let opening = move || Db::open(&url, schema::migrations(), Options::default());
            tokio::task::spawn_blocking(opening).await.unwrap().unwrap()
        };
        let whole = std::fs::read_to_string(&file).unwrap();
        let cut = folder.path().join("cut");
        std::fs::write(&cut, &whole[..whole.len() / 2]).unwrap();
        let db = open(target.clone()).await;
        assert!(matches!(
            backup::restore(&db, &cut, folder.path(), 1, Arc::new(SystemRandom)).await,
            Err(BackupError::Malformed(_))
        ));
        let restored = backup::restore(&db, &file, folder.path(), 1, Arc::new(SystemRandom))
            .await
            .unwrap();
        assert_eq!(restored.rows, later);
        assert!(matches!(
            backup::restore(&db, &file, folder.path(), 1, Arc::new(SystemRandom)).await,
            Err(BackupError::NotEmpty)
        ));
        db.close().await;

        let restored = open_hub(&target).await;
        assert_eq!(everything(&restored).await, before);
        assert_eq!(restored.instance, world.hub.instance);
        world.hub = restored;
        world.start().await;
        world.user("after", ROOT_UNIT).await;
        world.converged().await;
        world.stop().await;
    });
}

#[test]
fn a_backup_holds_every_table_and_column() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hub.db");
    let url = format!("sqlite:{}", file.display());
    let db = Db::open_inline(&url, schema::migrations(), Options::default()).unwrap();
    let bytes = folder.path().join("empty.backup");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(backup::write(&db, &bytes, 1)).unwrap();
    let mut tables: Vec<String> = db
        .write_blocking(|tx| {
            tx.query(
                "SELECT name FROM sqlite_master WHERE type = 'table'
                 AND name NOT LIKE 'sqlite_%' AND name NOT LIKE 'refinery_%'
                 -- Of the moment: the processes that deliver just now, who is signed in and who failed to, and requests that
                 -- may be sent again; and what was found when applications were compared.
                 AND name NOT IN ('nodes', 'sessions', 'sign_in_failures', 'idempotency_keys')
                 AND name NOT LIKE 'comparison%'",
                &[],
            )?
            .iter()
            .map(|row| row.get(0))
            .collect::<Result<Vec<String>, DbError>>()
        })
        .unwrap();
    tables.sort_unstable();
    let mut held = backup::columns();
    held.sort_unstable();
    assert_eq!(held.iter().map(|(table, _)| *table).collect::<Vec<_>>(), tables);
    for (table, columns) in held {
        let mut there: Vec<String> = db
            .write_blocking(move |tx| {
                tx.query(
                    &format!("SELECT name FROM pragma_table_info('{table}') WHERE name <> 'node'"),
                    &[],
                )?
                .iter()
                .map(|row| row.get(0))
                .collect::<Result<Vec<String>, DbError>>()
            })
            .unwrap();
        let mut columns = columns;
        there.sort_unstable();
        columns.sort_unstable();
        assert_eq!(columns, there, "{table}");
    }
}

#[test]
fn the_doctor_looks_at_everything_and_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    make_hub(&data, &format!("sqlite:{}", data.join("rollcall.db").display()));
    let run = |arguments: &[&str]| rollcall(folder.path(), arguments).output().unwrap();
    done(&run(&["app", "create", "Wiki", "--url", "http://127.0.0.1:1/x"]));
    let output = run(&["--json", "doctor"]);
    assert_eq!(output.status.code(), Some(1));
    let checks: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let of = |what: &str| {
        let check = checks.iter().find(|check| check["what"] == what);
        check.unwrap_or_else(|| panic!("{what} is not checked")).clone()
    };
    for what in ["configuration", "master key", "database", "clock"] {
        assert_eq!(of(what)["health"], "good", "{}", of(what));
    }
    let wiki = of("application Wiki");
    assert_eq!(wiki["health"], "bad");
    assert!(
        wiki["detail"].as_str().unwrap().contains("egress.allow"),
        "{wiki}"
    );
    let key = folder.path().join("data/master.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let text = String::from_utf8(run(&["doctor"]).stdout).unwrap();
    assert!(
        text.contains("FAIL  master key") && text.contains("chmod 600"),
        "{text}"
    );
}

#[test]
fn dashboard_and_alerts_ask_for_metrics_that_there_are() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let text = |path: &str| std::fs::read_to_string(root.join(path)).unwrap();
    let sources = text("crates/rollcall/src/meter.rs") + &text("crates/rollcall/src/api/metrics.rs");
    let mut asked = std::collections::BTreeSet::new();
    for file in ["contrib/grafana/rollcall.json", "contrib/prometheus/alerts.yml"] {
        for rest in text(file).split("rollcall_").skip(1) {
            let end = rest
                .find(|c: char| !(c.is_ascii_lowercase() || c == '_'))
                .unwrap_or(rest.len());
            asked.insert(rest[..end].to_owned());
        }
    }
    assert!(asked.len() > 15, "{asked:?}");
    for name in asked {
        let plain = ["_total", "_bucket", "_count", "_sum"]
            .iter()
            .find_map(|suffix| name.strip_suffix(suffix))
            .unwrap_or(&name);
        let quoted = [
            format!("\"{plain}\""),
            format!("\"rollcall_{plain}\""),
            format!("\"{name}\""),
        ];
        assert!(
            quoted.iter().any(|name| sources.contains(name)),
            "rollcall_{name} is no metric"
        );
    }
}

#[test]
fn shells_and_manuals_know_the_commands() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let script = done(&rollcall(folder.path(), &["completions", shell]).output().unwrap());
        assert!(script.contains("resend"), "{shell}");
    }
    done(&rollcall(folder.path(), &["man", "man"]).output().unwrap());
    for page in ["rollcall.1", "rollcall-app-sync.1", "rollcall-why.1"] {
        let text = std::fs::read_to_string(folder.path().join("man").join(page)).unwrap();
        assert!(text.contains(".SH NAME"), "{page}");
    }
}
