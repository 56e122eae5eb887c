//! What does not work elsewhere, and what is said of it.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rollcall_db::params;
use serde_json::json;

use super::{Place, Told, private, program, run};
use crate::connectivity::Authority;
use crate::world::on_both;

/// Something that answers each request with the same, or with what it makes of the number and the text of the request.
fn answering(answer: impl Fn(usize, &str) -> String + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let counted = Arc::new(AtomicUsize::new(0));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut part = [0; 16_384];
            let count = stream.read(&mut part).unwrap_or(0);
            let request = String::from_utf8_lossy(&part[..count]).into_owned();
            let number = counted.fetch_add(1, Ordering::SeqCst);
            let _ = stream.write_all(answer(number, &request).as_bytes());
        }
    });
    address
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n{headers}\r\n{body}",
        body.len()
    )
}

const JSON: &str = "content-type: application/json\r\n";
const PROBLEM: &str = "content-type: application/problem+json\r\n";

/// What a command with a hub at an address ends with.
async fn at(place: &Place, server: &str, arguments: &[&str]) -> Told {
    let mut process = program(place.there.path());
    process
        .args(["--json", "--server", server, "--token-file", "token"])
        .args(arguments);
    run(process).await
}

#[test]
fn each_role_may_what_it_may_and_is_told_what_it_lacks() {
    on_both("elsewhere_roles", |database, _| async move {
        let place = Place::start(&database);
        for role in ["auditor", "operator"] {
            let made = place.json(&["token", "create", role, "--role", role]).await;
            private(&place.there.path().join(role), made["secret"].as_str().unwrap());
        }
        place
            .done(&["user", "create", "ada", "--display-name", "Ada"])
            .await;
        place
            .done(&["app", "create", "Wiki", "--url", "https://wiki.invalid/x"])
            .await;
        let as_role = |role: &'static str, arguments: &[&str]| run(place.remote(role, arguments));
        for (role, may, may_not, permission) in [
            (
                "auditor",
                &[
                    &["user", "list"] as &[&str],
                    &["audit"],
                    &["app", "show", "Wiki"],
                    &["token", "list"],
                ] as &[&[&str]],
                &[&["user", "disable", "ada"] as &[&str], &["app", "pause", "Wiki"]] as &[&[&str]],
                "write_directory",
            ),
            (
                "operator",
                &[
                    &["user", "list"],
                    &["app", "pause", "Wiki"],
                    &["app", "resume", "Wiki"],
                ],
                &[
                    &["user", "disable", "ada"],
                    &["app", "set", "Wiki", "--lanes", "2"],
                    &["audit"],
                ],
                "write_directory",
            ),
        ] {
            for command in may {
                let told = as_role(role, command).await;
                assert_eq!(told.code, 0, "{role} {command:?}: {told:?}");
            }
            for command in may_not {
                let told = as_role(role, &[command, &["--json"] as &[&str]].concat()).await;
                let (code, message, hint) = told.error();
                assert_eq!(
                    (told.code, code.as_str()),
                    (1, "forbidden"),
                    "{role} {command:?}: {told:?}"
                );
                assert!(
                    message.contains(&format!("the role {role} does not have the permission")),
                    "{message}"
                );
                assert!(hint.contains("rollcall token create"), "{hint}");
            }
            let told = as_role(role, may_not[0]).await;
            assert!(told.beside.contains(permission), "{told:?}");
        }
        assert_eq!(place.json(&["user", "show", "ada"]).await["enabled"], true);
    });
}

#[test]
fn a_token_stays_secret_and_has_to_be_one() {
    on_both("elsewhere_token", |database, _| async move {
        let place = Place::start(&database);
        let folder = place.there.path();
        private(&folder.join("wrong"), &"ab".repeat(32));
        private(&folder.join("empty"), "\n");
        private(&folder.join("two"), "one two\n");
        let open = private(&folder.join("open"), &"ab".repeat(32));
        std::fs::set_permissions(open, std::fs::Permissions::from_mode(0o644)).unwrap();
        for (file, code, exit, says) in [
            ("wrong", "unauthorized", 1, "does not know this token"),
            ("empty", "files", 1, "does not hold one token"),
            ("two", "files", 1, "does not hold one token"),
            ("open", "files", 1, "chmod 600"),
            ("absent", "files", 1, "does not exist"),
        ] {
            let told = run(place.remote(file, &["user", "list", "--json"])).await;
            let (found, message, _) = told.error();
            assert_eq!((told.code, found.as_str()), (exit, code), "{told:?}");
            assert!(message.contains(says), "{message}");
        }
        // One that was good for a while.
        let made = place
            .json(&["token", "create", "short", "--role", "auditor", "--days", "1"])
            .await;
        private(&folder.join("short"), made["secret"].as_str().unwrap());
        let hub = place.hub().await;
        hub.db
            .write(|tx| {
                tx.execute(
                    "UPDATE api_tokens SET expires_at = 1 WHERE name = 'short'",
                    params![],
                )
            })
            .await
            .unwrap();
        let told = run(place.remote("short", &["user", "list", "--json"])).await;
        let (code, message, hint) = told.error();
        assert_eq!((told.code, code.as_str()), (1, "unauthorized"), "{told:?}");
        assert!(message.contains("has expired"), "{message}");
        assert!(
            hint.contains("rollcall token create") && hint.contains("short"),
            "{hint}"
        );

        let mut process = program(folder);
        process.args(["--server", &place.server(), "user", "list", "--json"]);
        let told = run(process).await;
        assert!(
            told.code == 2 && told.error().1.contains("--token-file"),
            "{told:?}"
        );

        // Both may be said once for all commands.
        let mut process = program(folder);
        process
            .env("ROLLCALL_SERVER", format!("{}/api/v1/", place.server()))
            .env("ROLLCALL_TOKEN_FILE", "token")
            .args(["user", "list"]);
        let told = run(process).await;
        assert_eq!((told.code, told.beside.as_str()), (0, "no user\n"));
    });
}

#[test]
fn what_makes_no_sense_with_a_hub_elsewhere_is_said() {
    on_both("elsewhere_use", |database, _| async move {
        let place = Place::start(&database);
        // A token goes over no network where it could be read.
        for server in [
            "http://hub.example",
            "http://10.0.0.1:8750",
            "http://[2001:db8::1]:8750/",
        ] {
            let told = at(&place, server, &["user", "list"]).await;
            let (code, message, hint) = told.error();
            assert_eq!((told.code, code.as_str()), (2, "wrong_use"), "{told:?}");
            assert!(message.contains("could be read on its way"), "{message}");
            assert!(hint.contains("https") && hint.contains("--plain-http"), "{hint}");
        }
        let port = place.served.address.rsplit(':').next().unwrap();
        let open = format!("http://0.0.0.0:{port}");
        assert_eq!(at(&place, &open, &["user", "list"]).await.code, 2);
        assert_eq!(at(&place, &open, &["user", "list", "--plain-http"]).await.code, 0);
        for (server, says) in [
            ("hub.example:8750", "https:// or http://"),
            ("nonsense", "no address of a hub"),
            ("https://me:secret@hub.example", "password"),
            ("https://hub.example/?a=b", "must end with the path"),
        ] {
            let told = at(&place, server, &["user", "list"]).await;
            assert!(told.code == 2 && told.error().1.contains(says), "{told:?}");
            assert!(!told.beside.contains("secret"), "{told:?}");
        }
        // One hub or another.
        for option in [
            ["--database", "sqlite:x"],
            ["--config", "x.toml"],
            ["--data-dir", "x"],
        ] {
            let told = at(
                &place,
                &place.server(),
                &[&option[..], &["user", "list"]].concat(),
            )
            .await;
            let (code, message, _) = told.error();
            assert_eq!((told.code, code.as_str()), (2, "wrong_use"), "{told:?}");
            assert!(
                message.contains(option[0]) && message.contains("--server"),
                "{message}"
            );
        }
        // What is about a machine.
        for command in [&["serve"] as &[&str], &["demo"], &["bench"], &["self-test"]] {
            let told = at(&place, &place.server(), command).await;
            let (code, message, hint) = told.error();
            assert_eq!((told.code, code.as_str()), (2, "wrong_use"), "{told:?}");
            assert!(message.contains(command[0]), "{message}");
            assert!(hint.contains("--server"), "{hint}");
        }
        // What is about its database.
        for command in [
            &["backup", "file"] as &[&str],
            &["restore", "file"],
            &["account", "link", "admin", "--subject", "x"],
        ] {
            let told = at(&place, &place.server(), command).await;
            let (code, message, hint) = told.error();
            assert_eq!((told.code, code.as_str()), (2, "database_only"), "{told:?}");
            assert!(
                message.contains(command[0]) && message.contains("--server"),
                "{message}"
            );
            assert!(hint.contains("reaches its database"), "{hint}");
        }
        // Nobody is to believe that a command went elsewhere.
        for option in [
            &["--token-file", "token"] as &[&str],
            &["--ca-file", "token"],
            &["--plain-http"],
        ] {
            let mut process = program(place.there.path());
            process.args(["--json", "user", "list"]).args(option);
            let told = run(process).await;
            let (code, message, hint) = told.error();
            assert_eq!((told.code, code.as_str()), (2, "wrong_use"), "{told:?}");
            assert!(
                message.contains(option[0]) && hint.contains("--server"),
                "{told:?}"
            );
        }
        // And what is about none works all the same.
        let told = at(&place, &place.server(), &["completions", "bash"]).await;
        assert_eq!(told.code, 0, "{told:?}");
        let help = run({
            let mut process = program(place.there.path());
            process.arg("--help");
            process
        });
        let help = help.await.out;
        for option in [
            "--server <URL>",
            "--token-file <FILE>",
            "ROLLCALL_SERVER",
            "--ca-file",
            "--plain-http",
        ] {
            assert!(help.contains(option), "{option}: {help}");
        }
    });
}

#[test]
fn what_answers_elsewhere_may_be_no_hub_or_another_one() {
    on_both("elsewhere_strange", |database, _| async move {
        let place = Place::start(&database);
        let ask = async |address: &str, arguments: &[&str]| {
            let told = at(&place, &format!("http://{address}"), arguments).await;
            let (code, message, hint) = told.error();
            (told.code, code, message + " " + &hint)
        };
        let nobody = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .to_string();
        let (exit, code, said) = ask(&nobody, &["user", "list"]).await;
        assert_eq!((exit, code.as_str()), (1, "unreachable"), "{said}");
        assert!(
            said.contains(&nobody) && said.contains("rollcall serve"),
            "{said}"
        );

        let astray = format!("{}/elsewhere", place.served.address);
        let (exit, code, said) = ask(&astray, &["user", "list"]).await;
        assert_eq!((exit, code.as_str()), (1, "not_a_hub"), "{said}");
        assert!(said.contains("the hub's own address"), "{said}");

        let page = answering(|_, _| answer("200 OK", "content-type: text/html\r\n", "<h1>Hello</h1>"));
        let away = answering(|_, _| answer("302 Found", "location: https://elsewhere.example/\r\n", ""));
        for (address, says) in [(page, "text/html"), (away, "https://elsewhere.example/")] {
            let (exit, code, said) = ask(&address, &["user", "list"]).await;
            assert_eq!((exit, code.as_str()), (1, "not_a_hub"), "{said}");
            assert!(said.contains(says), "{said}");
        }

        // A hub of another version: it lacks a route, or answers in another form.
        let routes =
            ["/api/v1/users", "/api/v1/changes"].map(|path| json!({ "method": "GET", "path": path }));
        let index = json!({ "version": "9.9.9", "routes": routes });
        let other = answering(move |_, request| match request.split(' ').nth(1) {
            Some("/api/v1") => answer("200 OK", JSON, &index.to_string()),
            Some(path) if path.starts_with("/api/v1/users") => answer(
                "200 OK",
                JSON,
                &json!({ "items": [{ "id": 7 }], "next": null }).to_string(),
            ),
            Some("/api/v1/health") => {
                let health = json!({ "version": "9.9.9", "instanceId": "x", "parts": [] });
                answer("200 OK", JSON, &health.to_string())
            }
            Some(path) if path.starts_with("/api/v1/changes") => {
                let detail = "the query: unknown field `newestFirst`";
                let problem = json!({ "code": "bad_request", "detail": detail });
                answer("400 Bad Request", PROBLEM, &problem.to_string())
            }
            _ => {
                let problem = json!({ "code": "not_found", "detail": "there is nothing at this path" });
                answer("404 Not Found", PROBLEM, &problem.to_string())
            }
        });
        for (command, says) in [
            (&["group", "list"] as &[&str], "it has no GET /api/v1/groups"),
            (&["user", "list"], "items[0].id"),
        ] {
            let (exit, code, said) = ask(&other, command).await;
            assert_eq!((exit, code.as_str()), (1, "other_version"), "{said}");
            for part in [says, "9.9.9", env!("CARGO_PKG_VERSION")] {
                assert!(said.contains(part), "{part}: {said}");
            }
        }

        let told = at(&place, &format!("http://{other}"), &["doctor"]).await;
        assert_eq!(told.code, 3, "{told:?}");
        let advice = told.json()[0]["advice"].as_str().unwrap().to_owned();
        assert!(advice.contains("the program of the hub's version"), "{advice}");

        // It does not know what it is asked with.
        let (exit, code, said) = ask(&other, &["log"]).await;
        assert_eq!((exit, code.as_str()), (2, "bad_request"), "{said}");
        for part in ["newestFirst", "9.9.9", "if that is the cause"] {
            assert!(said.contains(part), "{part}: {said}");
        }

        // One that asks to wait is asked again, and not for ever.
        let busy = |number: usize| {
            let problem =
                json!({ "code": "too_many_requests", "detail": "these are more requests than allowed" });
            match number {
                0 | 1 => answer(
                    "429 Too Many Requests",
                    &format!("{PROBLEM}retry-after: 0\r\n"),
                    &problem.to_string(),
                ),
                _ => answer("200 OK", JSON, r#"{"items":[],"next":null}"#),
            }
        };
        let sometimes = answering(move |number, _| busy(number));
        let told = at(&place, &format!("http://{sometimes}"), &["user", "list"]).await;
        assert_eq!((told.code, told.out.as_str()), (0, "[]\n"), "{told:?}");
        let always = answering(move |_, _| busy(0));
        let (exit, code, said) = ask(&always, &["user", "list"]).await;
        assert_eq!((exit, code.as_str()), (1, "too_many_requests"), "{said}");
        assert!(said.contains("more requests"), "{said}");
    });
}

#[test]
fn a_hub_that_encrypts_is_reached_if_its_authority_is_trusted() {
    on_both("elsewhere_tls", |database, _| async move {
        let authority = Authority::new("An authority");
        let pair = authority.pair(|_| {});
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = (folder.path().join("hub.pem"), folder.path().join("hub.key"));
        std::fs::write(&certificate, pair.cert.pem()).unwrap();
        private(&key, &pair.signing_key.serialize_pem());
        let settings = format!("tls.certificate = {certificate:?}\ntls.key = {key:?}");
        let place = Place::with(&database, &settings);
        std::fs::write(place.there.path().join("ca.pem"), &authority.pem).unwrap();
        let port = place.served.address.rsplit(':').next().unwrap();
        let server = format!("https://localhost:{port}");
        let told = at(&place, &server, &["--ca-file", "ca.pem", "user", "list"]).await;
        assert_eq!((told.code, told.out.as_str()), (0, "[]\n"), "{told:?}");
        let told = at(&place, &server, &["user", "list"]).await;
        let (code, message, hint) = told.error();
        assert_eq!((told.code, code.as_str()), (1, "tls"), "{told:?}");
        assert!(
            message.contains("not trusted") && hint.contains("--ca-file"),
            "{told:?}"
        );
        let told = at(&place, &server, &["--ca-file", "token", "user", "list"]).await;
        assert!(
            told.code == 1 && told.error().1.contains("no certificate in PEM"),
            "{told:?}"
        );
        // Plain http at a port that wants TLS, and the other way round.
        let told = at(&place, &place.server(), &["user", "list"]).await;
        let (code, message, _) = told.error();
        assert_eq!((told.code, code.as_str()), (1, "not_a_hub"), "{told:?}");
        assert!(
            message.contains("HTTP 400: ") && message.contains("https"),
            "{message}"
        );
        let plain = answering(|_, _| answer("400 Bad Request", "", "this is no TLS"));
        let told = at(&place, &format!("https://{plain}"), &["user", "list"]).await;
        let (code, _, hint) = told.error();
        assert_eq!((told.code, code.as_str()), (1, "tls"), "{told:?}");
        assert!(hint.contains("encrypts by itself"), "{told:?}");
    });
}
