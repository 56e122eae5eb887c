//! The tester of scim2-cli reads what the service provider says of itself, and tries all of it.

use std::process::Command as Process;

use serde_json::Value;

use crate::operate::{done, rollcall};
use crate::strangers;

/// The program, which `cargo xtask test` installs.
const PROGRAM: &str = "ROLLCALL_TEST_SCIM2";

/// Nobody reads the log of the hub meanwhile, so it may only say where it listens.
const SETTINGS: &str = "
[log]
level = \"error,rollcall::cli::serve=info\"
";

#[test]
fn every_check_of_a_tester_that_others_have_written_passes() {
    let Some(program) = std::env::var_os(PROGRAM) else {
        let why = "the program scim2 is not named by ROLLCALL_TEST_SCIM2; cargo xtask test installs it";
        rollcall_db::testing::did_not_run("scim2", why);
        return;
    };
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
    let address = format!(
        "http://{}/scim/v2/{}",
        served.address,
        made["id"].as_str().unwrap()
    );
    let asked = Process::new(program)
        .args(["--url", &address, "test"])
        .env(
            "SCIM_CLI_HEADERS",
            format!("Authorization: Bearer {}", token["secret"].as_str().unwrap()),
        )
        .current_dir(folder.path())
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
