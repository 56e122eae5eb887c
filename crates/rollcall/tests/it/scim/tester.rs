//! Testers that others have written read what the service provider says of itself, and try it.

use std::ffi::OsString;
use std::process::Command as Process;

use serde_json::Value;
use tempfile::TempDir;

use crate::operate::{Served, done, rollcall};
use crate::strangers;

/// The program of scim2-cli, which `cargo xtask test` installs.
const SCIM2: &str = "ROLLCALL_TEST_SCIM2";

/// The program of scim-sanity, which `cargo xtask test` installs.
const SCIM_SANITY: &str = "ROLLCALL_TEST_SCIM_SANITY";

/// Nobody reads the log of the hub meanwhile, so it may only say where it listens.
const SETTINGS: &str = "
[log]
level = \"error,rollcall::cli::serve=info\"
";

/// The program that a variable names; without it, it is noted that the test did not run.
fn program(variable: &str, name: &str) -> Option<OsString> {
    let program = std::env::var_os(variable);
    if program.is_none() {
        let why = format!("the program {name} is not named by {variable}; cargo xtask test installs it");
        rollcall_db::testing::did_not_run(name, &why);
    }
    program
}

/// A connection of a hub that runs.
struct Connected {
    folder: TempDir,
    _served: Served,
    address: String,
    token: String,
}

impl Connected {
    fn new() -> Self {
        let folder = strangers::folder(SETTINGS);
        let database = format!("sqlite:{}", folder.path().join("data/rollcall.db").display());
        let served = strangers::serve(folder.path(), &database);
        let json = |arguments: &[&str]| -> Value {
            let all = [&["--database", database.as_str(), "--json"], arguments].concat();
            serde_json::from_str(&done(&rollcall(folder.path(), &all).output().unwrap())).unwrap()
        };
        let rate = ["--requests-per-second", "10000"];
        let made = json(&[&["connection", "create", "Tester", "--unit", "/"][..], &rate].concat());
        let token = json(&["connection", "token", "create", "Tester"]);
        let id = made["id"].as_str().unwrap();
        Self {
            address: format!("http://{}/scim/v2/{id}", served.address),
            token: token["secret"].as_str().unwrap().to_owned(),
            folder,
            _served: served,
        }
    }
}

#[test]
fn every_check_of_a_tester_that_others_have_written_passes() {
    let Some(program) = program(SCIM2, "scim2") else {
        return;
    };
    let connected = Connected::new();
    let asked = Process::new(program)
        .args(["--url", &connected.address, "test"])
        .env(
            "SCIM_CLI_HEADERS",
            format!("Authorization: Bearer {}", connected.token),
        )
        .current_dir(connected.folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&asked.stdout);
    let beside = String::from_utf8_lossy(&asked.stderr);
    // What became of a check stands at the beginning of a line, in capitals.
    let is_outcome = |word: &&str| word.len() > 3 && word.bytes().all(|byte| byte.is_ascii_uppercase());
    let outcomes: Vec<&str> = said
        .lines()
        .filter_map(|line| line.split(' ').next())
        .filter(is_outcome)
        .collect();
    assert!(outcomes.len() > 130, "{said}\n{beside}");
    assert!(outcomes.iter().all(|outcome| *outcome == "SUCCESS"), "{said}");
}

/// It has a member added whose id nobody has, and wants to be told that this was done. Who is told so does not send it
/// again, and the membership would be missing for good: the id is ours, so nobody gets it later.
const REFUSED: &str = "PATCH /Groups/{id} add member";

/// It knows of resources that we do not have, and says that it leaves them out.
const LEFT_OUT: usize = 3;

#[test]
fn every_check_but_one_of_another_tester_passes() {
    let Some(program) = program(SCIM_SANITY, "scim-sanity") else {
        return;
    };
    let connected = Connected::new();
    let asked = Process::new(program)
        .args(["probe", &connected.address, "--token", &connected.token])
        .args(["--i-accept-side-effects", "--json-output"])
        .current_dir(connected.folder.path())
        .output()
        .unwrap();
    let beside = String::from_utf8_lossy(&asked.stderr);
    let said: Value =
        serde_json::from_slice(&asked.stdout).unwrap_or_else(|error| panic!("{error}: {beside}"));
    let results = said["results"].as_array().unwrap();
    let of = |status: &str| -> Vec<&str> {
        let these = results.iter().filter(|result| result["status"] == status);
        these.filter_map(|result| result["name"].as_str()).collect()
    };
    assert!(of("pass").len() >= 27, "{said:#}");
    assert_eq!(of("fail"), [REFUSED], "{said:#}");
    assert_eq!(of("skip").len(), LEFT_OUT, "{said:#}");
    assert_eq!(results.len(), of("pass").len() + 1 + LEFT_OUT, "{said:#}");
}
