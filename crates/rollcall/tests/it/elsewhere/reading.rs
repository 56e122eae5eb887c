//! What is read elsewhere is what is read beside the hub, to the letter.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use rollcall::access::Role;
use rollcall::secret::ExposeSecret as _;
use serde_json::json;

use super::{Place, Told, private};
use crate::access::fresh_account;
use crate::plain::{Of, Plain, Say, settled};
use crate::world::on_both;

/// A directory, two applications, and a past.
async fn fill(place: &Place, hub: &rollcall::hub::Hub) -> Plain {
    let mut file = "username,display_name,path,email,groups,description\n".to_owned();
    for number in 0..70 {
        let group = if number < 60 { "Staff" } else { "" };
        writeln!(
            file,
            "u{number:02},Nobody {number},Engineering/Optics,u{number}@one.example,{group},"
        )
        .unwrap();
    }
    file.push_str("zoe,Zoë GRÜN,\"R\\/D\",zoe@two.example,Staff;Night staff,with a note\n");
    let path = place.here.path().join("people.csv");
    std::fs::write(&path, file).unwrap();
    let imported = place.here(&["import", path.to_str().unwrap()]).await;
    assert_eq!(imported.code, 0, "{imported:?}");
    let secret = private(&place.here.path().join("secret"), "s3cret\n");
    for command in [
        &["user", "create", "gone", "--display-name", "Gone"] as &[&str],
        &["group", "add", "Staff", "gone"],
        &[
            "user",
            "update",
            "u00",
            "--custom",
            "costCentre=4711",
            "--expires",
            "2027-01-31T00:00:00Z",
        ],
        &["user", "lock", "u01"],
        &["user", "disable", "u02"],
        &["user", "delete", "gone"],
        &["group", "create", "Empty", "--description", "nobody"],
        &[
            "app",
            "create",
            "Shop",
            "--url",
            "https://203.0.114.1/x",
            "--encrypt",
            "--group",
            "Staff",
            "--unit",
            "R\\/D",
        ],
        &["app", "pause", "Shop"],
        &[
            "app",
            "create",
            "Crm",
            "--mode",
            "scim",
            "--url",
            "https://203.0.114.1/scim",
            "--preset",
            "slack",
            "--secret-file",
            secret.to_str().unwrap(),
            "--group",
            "Staff",
        ],
        &["app", "pause", "Crm"],
        &["app", "key", "rotate", "Shop"],
        &[
            "account",
            "create",
            "grace",
            "--role",
            "auditor",
            "--email",
            "grace@example.com",
        ],
        &[
            "account",
            "create",
            "owner",
            "--role",
            "application_owner",
            "--app",
            "Shop",
        ],
        &["token", "create", "ci", "--role", "operator", "--never"],
        &["connection", "create", "Okta", "--unit", "/", "--map", "email="],
        &["connection", "token", "create", "Okta", "--never"],
        &[
            "app",
            "api",
            "set",
            "Shop",
            "--enabled",
            "true",
            "--groups",
            "none",
        ],
        &["app", "api", "secret", "create", "Shop", "--never"],
    ] {
        let told = place.here(command).await;
        assert_eq!(told.code, 0, "{command:?}: {told:?}");
    }
    // One application that has taken most, passed some over and refused one.
    let app = Plain::new(hub, "Wiki").await;
    app.say(|events| {
        let of = |event: &rollcall_protocol::Event| match event.biz_data.contains("Bad") {
            true => Of::Failed,
            false if event.biz_data.contains("Skipped") => Of::Skipped,
            false => Of::Success,
        };
        Say::Each(events.iter().map(of).collect())
    });
    for (name, shown) in [("bad", "Bad"), ("skipped", "Skipped"), ("fine", "Fine")] {
        let told = place
            .here(&["user", "create", name, "--display-name", shown])
            .await;
        assert_eq!(told.code, 0, "{told:?}");
    }
    settled(hub, &app.application).await;
    let synchronized = place.here(&["app", "sync", "Wiki"]).await;
    assert!([0, 3].contains(&synchronized.code), "{synchronized:?}");
    settled(hub, &app.application).await;
    app
}

/// Every command that reads, with what it is asked; and what other commands refuse, which changes nothing either.
const READING: &[&[&str]] = &[
    &["user", "list"],
    &["user", "list", "--all"],
    &["user", "list", "--after", "u10", "--limit", "7"],
    &["user", "list", "--limit", "1200"],
    &["user", "list", "--search", "grün"],
    &[
        "user",
        "list",
        "--search",
        "nobody 1",
        "--unit",
        "Engineering/Optics",
    ],
    &["user", "list", "--search", "100%"],
    &["user", "list", "--unit", "nothing"],
    &["user", "show", "u00"],
    &["user", "show", "u01@one.example"],
    &["user", "show", "ZOE"],
    &["user", "show", "nobody"],
    &["user", "erase", "u00"],
    &["user", "erase", "gone"],
    &["unit", "list"],
    &["unit", "list", "Engineering"],
    &["unit", "list", "--search", "opt"],
    &["unit", "list", "nothing"],
    &["unit", "show", "/"],
    &["unit", "show", "Engineering/Optics"],
    &["unit", "show", "R\\/D"],
    &["group", "list"],
    &["group", "list", "--search", "STAFF"],
    &["group", "show", "Staff"],
    &["group", "show", "Staff", "--all"],
    &["group", "show", "Empty"],
    &["group", "show", "nothing"],
    &["app", "list"],
    &["app", "show", "Wiki"],
    &["app", "show", "Shop"],
    &["app", "show", "Crm"],
    &["app", "show", "nothing"],
    &["app", "preview", "Crm"],
    &[
        "app",
        "preview",
        "Crm",
        "--user",
        "u00",
        "--map",
        "title=customFields.costCentre",
    ],
    &["app", "preview", "Crm", "--user", "zoe", "--user", "gone"],
    &["app", "preview", "Crm", "--map", "title=nickname"],
    &[
        "app",
        "preview",
        "Crm",
        "--map",
        "active=username",
        "--preset",
        "standard",
    ],
    &["app", "preview", "Shop"],
    &["app", "preview", "Shop", "--url", "https://203.0.114.1/scim"],
    &["app", "preview", "Shop", "--url", "http://203.0.114.1/scim"],
    &["app", "key", "show", "Shop"],
    &["app", "key", "rotate", "Shop", "--now"],
    &["app", "delete", "Shop"],
    &["app", "scope", "Shop", "--add-unit", "Engineering"],
    &["app", "scope", "Shop", "--no-groups", "--no-units"],
    &["app", "scope", "Shop", "--add-group", "Staff"],
    &["app", "scope", "Shop", "--add-group", "nothing"],
    &["app", "scope", "Shop"],
    &["app", "subscription", "Shop", "--remove", "ud:user:create"],
    &["app", "subscription", "Shop", "--all"],
    &["unit", "delete", "Engineering", "--cascade"],
    &["unit", "delete", "/", "--cascade"],
    &["why", "u00", "Wiki"],
    &["why", "bad", "Wiki"],
    &["why", "skipped", "Wiki"],
    &["why", "gone", "Shop"],
    &["why", "nobody", "Wiki"],
    &["why", "u00", "nothing"],
    &["log"],
    &["log", "--last", "5"],
    &["log", "--all", "--kind", "group:add_user"],
    &["log", "--subject", "gone"],
    &["log", "--subject", "zoe", "--last", "1"],
    &["log", "--subject", "nobody"],
    &["log", "--actor", "import", "--last", "3"],
    &["log", "--kind", "nothing"],
    &["log", "--app", "Wiki"],
    &["log", "--app", "Wiki", "--failed"],
    &["log", "--app", "Wiki", "--last", "1"],
    &["log", "--app", "Shop"],
    &["log", "--app", "nothing"],
    &["audit"],
    &["audit", "--last", "3"],
    &["audit", "--all", "--target", "Shop"],
    &[
        "audit",
        "--who",
        "administrator",
        "--action",
        "create",
        "--since",
        "2020-01-01T00:00:00Z",
    ],
    &["audit", "--until", "2020-01-01T00:00:00Z"],
    &["audit", "--origin", "127.0.0.1"],
    &["audit", "--origin", "nowhere"],
    &["account", "list"],
    &["account", "show", "grace"],
    &["account", "show", "owner"],
    &["account", "show", "nobody"],
    &["account", "delete", "grace"],
    &["token", "list"],
    &["connection", "list"],
    &["connection", "show", "okta"],
    &["connection", "show", "nothing"],
    &["connection", "changes", "okta"],
    &["connection", "changes", "okta", "--before", "1"],
    &["connection", "changes", "nothing"],
    &["connection", "delete", "okta"],
    &["connection", "token", "revoke", "okta", "nothing"],
    &["session", "list"],
    &["session", "list", "--account", "signed"],
    &["session", "list", "--account", "nobody"],
    &["session", "end", "nothing"],
    &["export"],
    &["export", "--format", "csv"],
    &["export", "--format", "ldif", "--base", "dc=example"],
    &["user", "delete", "nobody"],
    &["user", "move", "u00", "--unit", "nothing"],
    &["unit", "rename", "nothing", "something"],
    &["group", "add", "Empty", "nobody"],
    &["group", "delete", "nothing"],
    &["token", "revoke", "nothing"],
    &["account", "disable", "nobody"],
    &["push", "nobody", "Wiki"],
    &["app", "cancel", "Wiki"],
    &["app", "skip", "nothing"],
    &["app", "resend", "nothing"],
    &["app", "api", "show", "Shop"],
    &["app", "api", "show", "nothing"],
    &["app", "api", "secret", "revoke", "Shop", "nothing"],
    &["app", "key", "try", "Wiki"],
    &["app", "key", "cancel", "Wiki"],
    &["app", "key", "revert", "Wiki"],
];

/// The commands that change something when they do their work. What they do elsewhere stands in `writing`.
const CHANGING: &[&str] = &[
    "account create",
    "account enable",
    "account reset-password",
    "account set-role",
    "app api secret create",
    "app api set",
    "app compare",
    "app create",
    "app dismiss",
    "app pause",
    "app repair",
    "app resume",
    "app set",
    "app sync",
    "app test",
    "connection create",
    "connection disable",
    "connection enable",
    "connection token create",
    "connection update",
    "group create",
    "group remove",
    "group rename",
    "import",
    "token create",
    "unit create",
    "unit move",
    "user create",
    "user disable",
    "user enable",
    "user lock",
    "user password",
    "user unlock",
    "user update",
];

/// The commands about this machine, its database or no hub at all. What they say elsewhere stands in `refused`, and of
/// `doctor`, which shows the hub's own report there, in the test below.
const OF_THIS_MACHINE: &[&str] = &[
    "account link",
    "backup",
    "bench",
    "check",
    "completions",
    "demo",
    "doctor",
    "example",
    "listen",
    "man",
    "open",
    "restore",
    "self-test",
    "serve",
    "trigger",
];

/// The commands of the program, by its own manual.
fn commands() -> BTreeSet<String> {
    let folder = tempfile::tempdir().unwrap();
    let told = super::program(folder.path()).args(["man", "pages"]).output();
    assert!(told.unwrap().status.success());
    let pages = std::fs::read_dir(folder.path().join("pages")).unwrap();
    let pages: BTreeSet<String> = pages
        .map(|page| page.unwrap().file_name().into_string().unwrap())
        .filter_map(|page| Some(page.strip_prefix("rollcall-")?.strip_suffix(".1")?.to_owned()))
        .collect();
    let holds_others = |page: &&String| {
        let below = format!("{page}-");
        pages.iter().any(|other| other.starts_with(&below))
    };
    pages.iter().filter(|page| !holds_others(page)).cloned().collect()
}

#[test]
fn every_command_there_is_is_compared_or_has_its_place() {
    let commands = commands();
    assert!(commands.len() > 60, "{commands:?}");
    let named = |words: &[&str]| {
        let mut names = (1..=words.len()).map(|count| words[..count].join("-"));
        let found = names.find(|name| commands.contains(name));
        found.unwrap_or_else(|| panic!("{words:?} is no command"))
    };
    let compared: BTreeSet<String> = READING.iter().map(|words| named(words)).collect();
    let others: BTreeSet<String> = [CHANGING, OF_THIS_MACHINE]
        .concat()
        .iter()
        .map(|name| name.replace(' ', "-"))
        .collect();
    assert_eq!(compared.intersection(&others).collect::<Vec<_>>(), [""; 0]);
    let placed: BTreeSet<String> = compared.union(&others).cloned().collect();
    assert_eq!(commands, placed);
}

/// What is the same in both places. What is said beside a list may be less elsewhere, where not everything is counted,
/// and so may the hint of an error.
fn alike(told: &Told) -> (&str, i32, String) {
    let said = match (told.code, told.beside.starts_with('{')) {
        (0, _) => (!told.beside.is_empty()).to_string(),
        (_, true) => format!("{:?}", (told.error().0, told.error().1)),
        (_, false) => told
            .beside
            .split("\n  hint: ")
            .next()
            .unwrap()
            .trim_end()
            .to_owned(),
    };
    (&told.out, told.code, said)
}

#[test]
fn what_is_read_elsewhere_is_what_is_read_beside_the_hub() {
    on_both("elsewhere_reading", |database, _| async move {
        let place = Place::start(&database);
        let hub = place.hub().await;
        let _app = fill(&place, &hub).await;
        let fresh = fresh_account(&hub, "signed", Role::Operator).await;
        let password = fresh.one_time_password.unwrap();
        let body = json!({ "name": "signed", "password": password.expose_secret() });
        let answer = place.served.ask("POST", "/api/v1/session", "", &body.to_string());
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        for command in READING {
            for form in [&[] as &[&str], &["--json"]] {
                let arguments = [form, command].concat();
                let (here, there) = tokio::join!(place.here(&arguments), place.there(&arguments));
                assert_eq!(alike(&here), alike(&there), "{arguments:?}\n{here:?}\n{there:?}");
            }
        }
        // Beside a list too, where the hub is asked how many there are.
        for command in [
            &["user", "list"] as &[&str],
            &["log"],
            &["group", "show", "Staff"],
        ] {
            let (here, there) = (place.here(command).await, place.there(command).await);
            assert_eq!(here.beside, there.beside);
            assert!(!here.beside.is_empty(), "{command:?}");
        }
        let health = place.there(&["doctor"]).await;
        assert!(health.out.contains("ok    database"), "{health:?}");
        let told = place.there(&["doctor", "--json"]).await.json();
        assert_eq!(told[0]["what"], "hub");
        // Names that a path cannot hold.
        for command in [
            ["user", "show", "."],
            ["unit", "show", ".."],
            ["group", "show", ""],
        ] {
            let told = place.there(&[&command[..], &["--json"]].concat()).await;
            assert_eq!((told.code, told.error().0.as_str()), (1, "not_found"), "{told:?}");
        }
    });
}

#[test]
fn a_log_that_is_followed_elsewhere_shows_what_comes() {
    on_both("elsewhere_follow", |database, _| async move {
        let place = Place::start(&database);
        let mut process = place.remote("token", &["log", "--follow", "--json", "--kind", "user:create"]);
        let mut child = process.stdout(std::process::Stdio::piped()).spawn().unwrap();
        let out = child.stdout.take().unwrap();
        let lines = tokio::task::spawn_blocking(move || {
            use std::io::BufRead as _;
            let lines = std::io::BufReader::new(out).lines();
            lines.take(2).map(Result::unwrap).collect::<Vec<_>>()
        });
        for name in ["ada", "bob"] {
            place
                .done(&["user", "create", name, "--display-name", name])
                .await;
        }
        let lines = lines.await.unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(
            lines[0].contains("\"ada\"") && lines[1].contains("\"bob\""),
            "{lines:?}"
        );
    });
}
