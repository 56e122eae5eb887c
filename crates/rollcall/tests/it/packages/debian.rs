//! The Debian package: what is in it, and its life on a machine, from the installation to the purge.

use std::process::Command;

use super::machine::{Machine, wait_for};
use super::{done, made, text};

/// What the tests call it.
const NAME: &str = "debian package";

/// The commands whose manual pages are looked for by name; that there is one of each is seen by their number.
const PAGES: [&str; 4] = [
    "rollcall",
    "rollcall-serve",
    "rollcall-app",
    "rollcall-app-create",
];

/// Where the package has the service.
const UNIT: &str = "/lib/systemd/system/rollcall.service";

#[test]
fn everything_is_in_the_package() {
    let folder = tempfile::tempdir().unwrap();
    let Some(package) = made("deb", NAME, folder.path()) else {
        return;
    };
    let content = done(Command::new("dpkg-deb").arg("--contents").arg(&package));
    let has = |path: &str| content.lines().any(|line| line.ends_with(path));
    for path in [
        "./usr/bin/rollcall",
        UNIT,
        "./etc/rollcall/rollcall.toml",
        "./usr/share/bash-completion/completions/rollcall",
        "./usr/share/zsh/vendor-completions/_rollcall",
        "./usr/share/fish/vendor_completions.d/rollcall.fish",
        "./usr/share/doc/rollcall/copyright",
        "./usr/share/doc/rollcall/examples/prometheus/alerts.yml",
        "./usr/share/doc/rollcall/examples/grafana/rollcall.json",
    ] {
        assert!(has(path), "{path} is missing:\n{content}");
    }
    for page in PAGES {
        assert!(
            has(&format!("./usr/share/man/man1/{page}.1.gz")),
            "{page} has no page:\n{content}"
        );
    }
    let written = tempfile::tempdir().unwrap();
    done(
        Command::new(env!("CARGO_BIN_EXE_rollcall"))
            .arg("man")
            .arg(written.path()),
    );
    let pages = content
        .lines()
        .filter(|line| line.contains("/usr/share/man/man1/rollcall"))
        .count();
    assert_eq!(pages, std::fs::read_dir(written.path()).unwrap().count());
    let about = |field: &str| done(Command::new("dpkg-deb").arg("--field").arg(&package).arg(field));
    assert_eq!(about("Package").trim(), "rollcall");
    assert!(
        about("Version").starts_with(env!("CARGO_PKG_VERSION")),
        "{}",
        about("Version")
    );
    let depends = about("Depends");
    assert!(
        depends.contains("libc6 (>=") && depends.contains("ca-certificates"),
        "{depends}"
    );
}

#[test]
fn a_machine_runs_the_hub_from_the_installation_to_the_purge() {
    let folder = tempfile::tempdir().unwrap();
    let Some(package) = made("deb", NAME, folder.path()) else {
        return;
    };
    let Some(machine) = Machine::start(NAME) else {
        return;
    };
    let package = machine.take(&package);
    let install = || machine.done(&["dpkg", "--install", &package]);
    let state = || {
        let said = machine.run(&["systemctl", "is-active", "rollcall"]);
        String::from_utf8(said.stdout).unwrap().trim().to_owned()
    };
    let process = || {
        machine.done(&[
            "systemctl",
            "show",
            "--property",
            "MainPID",
            "--value",
            "rollcall",
        ])
    };
    let journal = || {
        machine.done(&[
            "journalctl",
            "--unit",
            "rollcall",
            "--no-pager",
            "--output",
            "cat",
        ])
    };
    let ready = || {
        let ask = "exec 3<>/dev/tcp/127.0.0.1/8750 && printf 'GET /readyz HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n' >&3 && head -1 <&3";
        wait_for("the hub", || {
            let said = machine.run(&["bash", "-c", ask]);
            text(&said).contains(" 200 ").then_some(())
        });
    };
    let users = || machine.done(&["rollcall", "user", "list", "--json"]);

    // It runs as soon as it is installed, and will after a restart of the machine.
    install();
    assert_eq!(state(), "active", "{}", journal());
    assert_eq!(machine.done(&["systemctl", "is-enabled", "rollcall"]), "enabled");
    ready();
    let said = journal();
    assert!(said.contains("one-time password"), "{said}");
    assert!(said.contains("/etc/rollcall/rollcall.toml"), "{said}");
    let warned = machine.run(&["systemd-analyze", "verify", UNIT]);
    assert!(
        warned.status.success() && text(&warned).is_empty(),
        "{}",
        text(&warned)
    );
    // The service's user is one of those that systemd gives out, and exists while it runs (systemd.exec(5)).
    let owner = machine.done(&["stat", "--format", "%u", "/var/lib/rollcall/"]);
    let owner: u32 = owner.parse().unwrap();
    assert!((61_184..=65_519).contains(&owner), "{owner}");

    // Commands find its data without being told where.
    let tested = machine.done(&["rollcall", "self-test"]);
    assert!(tested.ends_with("this machine can run a hub"), "{tested}");
    machine.done(&[
        "rollcall",
        "user",
        "create",
        "ada",
        "--display-name",
        "Ada Lovelace",
    ]);
    assert!(users().contains("Ada Lovelace"));
    let told = machine.run(&["rollcall", "doctor"]);
    assert!(
        text(&told).contains("/etc/rollcall/rollcall.toml"),
        "{}",
        text(&told)
    );

    // Killed, it starts again and has lost nothing.
    let before = process();
    machine.done(&["bash", "-c", &format!("kill -KILL {before}")]);
    wait_for("another process", || {
        (![before.as_str(), "0"].contains(&process().as_str())).then_some(())
    });
    ready();
    assert!(users().contains("Ada Lovelace"));

    // Installed again, as by an upgrade, it is another process; what an administrator has set stays.
    let before = process();
    let set = "echo 'public_url = \"https://hub.example\"' | sed -i '/^#public_url/{r /dev/stdin\nd}' /etc/rollcall/rollcall.toml";
    machine.done(&["sh", "-euc", set]);
    install();
    wait_for("another process", || {
        (![before.as_str(), "0"].contains(&process().as_str())).then_some(())
    });
    ready();
    let kept = machine.done(&["grep", "^public_url", "/etc/rollcall/rollcall.toml"]);
    assert_eq!(kept, "public_url = \"https://hub.example\"");
    assert!(users().contains("Ada Lovelace"));

    // Commands that root ran leave nothing that the service cannot open, whether it runs or not.
    machine.done(&["systemctl", "stop", "rollcall"]);
    assert_eq!(
        machine.done(&["systemctl", "show", "--property", "Result", "--value", "rollcall"]),
        "success"
    );
    machine.done(&["rollcall", "user", "create", "bob", "--display-name", "Bob"]);
    machine.done(&["systemctl", "start", "rollcall"]);
    ready();

    machine.done(&["dpkg", "--remove", "rollcall"]);
    assert_eq!(state(), "inactive");
    machine.done(&["test", "-e", "/etc/rollcall/rollcall.toml"]);
    machine.done(&["dpkg", "--purge", "rollcall"]);
    assert!(
        !machine
            .run(&["test", "-e", "/etc/rollcall/rollcall.toml"])
            .status
            .success()
    );

    // The directory is nobody's to delete but the administrator's.
    install();
    ready();
    let (users, journal) = (users(), journal());
    assert!(
        users.contains("Ada Lovelace") && users.contains("Bob"),
        "{users}\n{journal}"
    );
}
