//! The official client drives every call that the hub has; what it has besides, the table in the docs names.

use std::ffi::OsString;
use std::io::Write as _;
use std::process::{Command as Process, Stdio};

use rollcall::application::Scope;
use rollcall::directory::Command;
use rollcall::id::ROOT_UNIT;
use serde_json::{Value, json};

use super::Developer;
use crate::access::on_each;
use crate::two_doors::{make, unit};

/// Python with the official clients, which `cargo xtask test` installs.
const PYTHON: &str = "ROLLCALL_TEST_OFFICIAL_CLIENTS";

/// Where a script of the tests is.
fn script(name: &str) -> String {
    format!("{}/tests/it/data/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// The interpreter in whose environment the clients are; without it, it is noted that the test did not run.
pub(crate) fn python() -> Option<OsString> {
    let python = std::env::var_os(PYTHON);
    if python.is_none() {
        let why = format!("{PYTHON} names no interpreter; cargo xtask test installs the clients");
        rollcall_db::testing::did_not_run("official clients", &why);
    }
    python
}

/// Runs a script with these settings; what it writes.
pub(crate) async fn drive(python: OsString, name: &str, settings: Value) -> Value {
    let script = script(name);
    let driven = tokio::task::spawn_blocking(move || {
        let mut running = Process::new(python)
            .arg(script)
            .env("NO_PROXY", "*")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        running
            .stdin
            .take()
            .unwrap()
            .write_all(settings.to_string().as_bytes())
            .unwrap();
        running.wait_with_output().unwrap()
    });
    let driven = driven.await.unwrap();
    let beside = String::from_utf8_lossy(&driven.stderr);
    assert!(driven.status.success(), "{beside}");
    serde_json::from_slice(&driven.stdout).unwrap_or_else(|error| panic!("{error}: {beside}"))
}

pub(super) fn names(list: &Value) -> Vec<&str> {
    list.as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect()
}

#[test]
fn the_official_client_makes_every_call_and_reads_back_what_it_sets() {
    let Some(python) = python() else { return };
    on_each("developer_client", |site| {
        let python = python.clone();
        async move {
            let room = make(&site.hub, unit("Engineering", ROOT_UNIT)).await;
            let developer = Developer::of(&site, "Wiki", Scope::everything()).await;
            let settings = json!({
                "endpoint": site.address.to_string(), "protocol": "http",
                "instance": site.hub.instance.id, "application": developer.application.id,
                "secret": developer.secret, "root": ROOT_UNIT, "unit": room, "scope": [ROOT_UNIT],
            });
            let said = drive(python, "developer.py", settings).await;
            // What the hub has is called, and the table in the docs says so of each call of the client.
            let (called, every) = (names(&said["called"]), names(&said["every"]));
            let docs = include_str!("../../../../../docs/api-compatibility.md");
            let (docs, _) = docs.split_once("## The management API").unwrap();
            for name in &every {
                let states: Vec<&str> = docs
                    .lines()
                    .filter_map(|line| line.strip_prefix(&format!("| `{name}` | ")))
                    .collect();
                let [state] = states[..] else {
                    panic!(
                        "{name} stands {} times in docs/api-compatibility.md",
                        states.len()
                    )
                };
                let is_supported = state.starts_with("supported");
                assert_eq!(is_supported, called.contains(name), "{name}: {state}");
            }
            // Every call that the hub has was made by it.
            assert_eq!(called.len(), rollcall::api::developer_calls().len(), "{called:?}");
            // What it did stands in the log as the application's.
            let actor = format!("application:{}", developer.application.id);
            let by_it = site.hub.db.read(move |tx| {
                tx.query_one(
                    "SELECT COUNT(*) FROM changes WHERE actor = $1",
                    &[actor.as_str().into()],
                )?
                .get::<i64>(0)
            });
            assert!(by_it.await.unwrap() > 30);
            let nobody = make(
                &site.hub,
                Command::CreateGroup(rollcall::directory::NewGroup {
                    name: "Unrelated".to_owned(),
                    ..rollcall::directory::NewGroup::default()
                }),
            );
            nobody.await;
        }
    });
}
