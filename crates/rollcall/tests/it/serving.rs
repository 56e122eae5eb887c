//! What commands know of the hub that runs beside them, and of its configuration.

use std::path::Path;
use std::process::Output;

use rollcall::private;
use rollcall_db::testing::databases;
use serde_json::Value;

use crate::operate::{Served, done, rollcall};
use crate::world::make_hub;

fn text(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    said + &String::from_utf8_lossy(&output.stderr)
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    rollcall(folder, arguments).output().unwrap()
}

/// What `doctor` says of one of its checks.
fn checked(folder: &Path, arguments: &[&str], what: &str) -> Value {
    let output = run(folder, &[&["--json"], arguments, &["doctor"]].concat());
    let checks: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output)));
    let found = checks
        .as_array()
        .unwrap()
        .iter()
        .find(|check| check["what"] == what);
    found
        .unwrap_or_else(|| panic!("{what} is not in {checks:#}"))
        .clone()
}

fn serve(folder: &Path, arguments: &[&str]) -> Served {
    let mut process = rollcall(folder, arguments);
    process.args(["serve", "--listen", "127.0.0.1:0", "--log-format", "json"]);
    Served::run(process)
}

#[test]
fn a_configuration_file_is_found_in_the_data_folder_or_the_working_folder() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let data = folder.join("data");
    make_hub(&data, &format!("sqlite:{}", data.join("rollcall.db").display()));
    let used = |arguments: &[&str]| {
        checked(folder, arguments, "configuration")["detail"]
            .as_str()
            .unwrap()
            .to_owned()
    };

    let none = used(&[]);
    assert!(
        none.contains("there is no file") && none.contains("data/rollcall.toml"),
        "{none}"
    );
    assert_eq!(serve(folder, &[]).first["configuration"], "none");

    std::fs::write(folder.join("rollcall.toml"), "[retention]\nattempts = 7\n").unwrap();
    assert!(used(&[]).starts_with("rollcall.toml;"), "{}", used(&[]));
    assert_eq!(serve(folder, &[]).first["configuration"], "rollcall.toml");
    // It is read, and not only found.
    std::fs::write(folder.join("rollcall.toml"), "[retention]\nattempts = 0\n").unwrap();
    let broken = run(folder, &["app", "list"]);
    assert!(
        !broken.status.success() && text(&broken).contains("retention.attempts"),
        "{}",
        text(&broken)
    );

    let in_data = data.join("rollcall.toml");
    std::fs::write(&in_data, "[retention]\nattempts = 8\n").unwrap();
    assert!(used(&[]).starts_with(in_data.to_str().unwrap()), "{}", used(&[]));
    done(&run(folder, &["app", "list"]));
    let other = folder.join("other.toml");
    std::fs::write(&other, "[retention]\nattempts = 9\n").unwrap();
    assert!(used(&["--config", "other.toml"]).starts_with("other.toml;"));

    // The data folder that a flag names is looked into, not that of the environment.
    let elsewhere = folder.join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    std::fs::write(elsewhere.join("rollcall.toml"), "organization = \" \"\n").unwrap();
    let refused = run(folder, &["--data-dir", "elsewhere", "app", "list"]);
    assert!(text(&refused).contains("organization"), "{}", text(&refused));

    for missing in [
        run(folder, &["--config", "missing.toml", "app", "list"]),
        rollcall(folder, &["app", "list"])
            .env("ROLLCALL_CONFIG", "missing.toml")
            .output()
            .unwrap(),
    ] {
        let said = text(&missing);
        assert!(
            !missing.status.success() && said.contains("missing.toml does not exist"),
            "{said}"
        );
    }
}

#[test]
fn addresses_are_those_of_the_hub_that_runs() {
    for database in databases("serving") {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let database = ["--database", database.url.as_str()];
        let json = |arguments: &[&str]| -> Value {
            let output = run(folder, &[&["--json"], &database[..], arguments].concat());
            serde_json::from_str(&done(&output)).unwrap()
        };
        let noted = |shown: &Value| shown["notes"].to_string();

        let mut served = serve(folder, &database);
        let created = json(&["app", "create", "Wiki", "--url", "https://203.0.114.1/x"]);
        let jwks = created["jwksUrl"].as_str().unwrap();
        let here = format!("http://{}", served.address);
        assert!(jwks.starts_with(&format!("{here}/v2/idaas_")), "{jwks}");
        assert!(
            served.get(&jwks[here.len()..]).starts_with("HTTP/1.1 200"),
            "{jwks}"
        );
        assert!(noted(&created).contains("public_url") && noted(&created).contains("ROLLCALL_PUBLIC_URL"));
        let shown = done(&run(folder, &[&database[..], &["app", "show", "Wiki"]].concat()));
        assert!(shown.contains(jwks) && shown.contains("note "), "{shown}");
        assert_eq!(checked(folder, &database, "hub")["health"], "good");
        served.stop();

        // Also when it does not run any more; and until it is started in another way.
        assert_eq!(json(&["app", "show", "Wiki"])["jwksUrl"], jwks);
        let mut process = rollcall(folder, &database);
        process.args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--public-url",
            "https://hub.example/",
        ]);
        let mut served = Served::run({
            process.args(["--log-format", "json", "--egress-allow", "10.0.0.0/8,127.0.0.0/8"]);
            process
        });
        let set = json(&["app", "set", "Wiki", "--lanes", "2"]);
        assert!(
            set["jwksUrl"]
                .as_str()
                .unwrap()
                .starts_with("https://hub.example/v2/"),
            "{set}"
        );
        assert_eq!(set["notes"], serde_json::json!([]));
        let other = rollcall(folder, &[&database[..], &["app", "show", "Wiki"]].concat())
            .env("ROLLCALL_PUBLIC_URL", "https://new.example")
            .output()
            .unwrap();
        let other = done(&other);
        assert!(
            other.contains("https://hub.example/v2/") && other.contains("restart the hub"),
            "{other}"
        );

        // What the hub may call is its own affair, too.
        let set = json(&["app", "set", "Wiki", "--url", "http://127.0.0.1:1/x"]);
        assert_eq!(set["notes"], serde_json::json!([]), "the hub that runs allows it");
        let tested = run(
            folder,
            &[&["--json"], &database[..], &["app", "test", "Wiki"]].concat(),
        );
        let tested: Value = serde_json::from_slice(&tested.stdout).unwrap();
        assert_eq!(tested["code"], "connection_refused", "{tested:#}");
        let set = json(&["app", "set", "Wiki", "--url", "http://192.168.7.8/x"]);
        for part in ["192.168.7.8/32", "egress.allow", "ROLLCALL_EGRESS_ALLOW"] {
            assert!(noted(&set).contains(part), "{set:#}");
        }
        let created = json(&["app", "create", "Shop", "--url", "http://192.168.7.8:1/x"]);
        assert!(noted(&created).contains("will not send"), "{created:#}");
        served.stop();

        // Elsewhere, nothing of that is true any more.
        done(&run(folder, &[&database[..], &["backup", "hub.backup"]].concat()));
        let elsewhere = folder.join("elsewhere");
        private::make_folder(&elsewhere).unwrap();
        std::fs::copy(folder.join("data/master.key"), elsewhere.join("master.key")).unwrap();
        let there = format!("sqlite:{}", elsewhere.join("rollcall.db").display());
        let there = ["--data-dir", "elsewhere", "--database", &there];
        done(&run(folder, &[&there[..], &["restore", "hub.backup"]].concat()));
        let shown = done(&run(folder, &[&there[..], &["app", "show", "Wiki"]].concat()));
        assert!(shown.contains("http://127.0.0.1:8750/v2/idaas_"), "{shown}");
    }
}

#[test]
fn networks_are_allowed_by_flag_and_by_variable() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let data = folder.join("data");
    make_hub(&data, &format!("sqlite:{}", data.join("rollcall.db").display()));
    done(&run(
        folder,
        &["app", "create", "Wiki", "--url", "http://127.0.0.1:1/"],
    ));
    let code = |networks: &str| -> Value {
        let mut process = rollcall(folder, &["--json", "app", "test", "Wiki"]);
        let output = process.env("ROLLCALL_EGRESS_ALLOW", networks).output().unwrap();
        let shown: Value =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output)));
        shown["code"].clone()
    };
    assert_eq!(code(""), "address_not_allowed");
    assert_eq!(code("10.0.0.0/8"), "address_not_allowed");
    assert_eq!(code("10.0.0.0/8, 127.0.0.0/8"), "connection_refused");
    for wrong in [
        rollcall(folder, &["serve", "--egress-allow", "10.0.0.0/99"])
            .output()
            .unwrap(),
        rollcall(folder, &["app", "list"])
            .env("ROLLCALL_EGRESS_ALLOW", "near")
            .output()
            .unwrap(),
    ] {
        let said = text(&wrong);
        assert!(!wrong.status.success() && said.contains("egress.allow"), "{said}");
    }
}

#[test]
fn times_say_that_they_are_utc() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let data = folder.join("data");
    make_hub(&data, &format!("sqlite:{}", data.join("rollcall.db").display()));
    done(&run(folder, &["user", "create", "ada", "--display-name", "Ada"]));
    done(&run(folder, &["user", "lock", "ada", "--minutes", "5"]));
    done(&run(
        folder,
        &["app", "create", "Wiki", "--url", "https://203.0.114.1/"],
    ));
    let year = jiff::Timestamp::now().strftime("%Y-").to_string();
    for command in [
        &["log"][..],
        &["audit"],
        &["user", "show", "ada"],
        &["app", "key", "show", "Wiki"],
        &["why", "ada", "Wiki"],
    ] {
        let said = done(&run(folder, command));
        let mut times = 0;
        for (at, _) in said.match_indices(&year) {
            let time = &said[at..said.len().min(at + 20)];
            assert!(time.ends_with('Z'), "{command:?}: {time} in\n{said}");
            times += 1;
        }
        assert!(times > 0, "{command:?} shows no time:\n{said}");
    }
}
