//! Accounts, tokens and sessions from the first start on, with the real program.

use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command as Process, Stdio};

use rollcall_db::testing::databases;
use serde_json::{Value, json};

use crate::operate::{Served, done, rollcall};

/// A hub, and what it wrote to its standard output until it stopped.
struct Run {
    served: Served,
    out: std::process::ChildStdout,
}

/// `rollcall serve` on a free port, which logs JSON.
fn serving(folder: &Path, database: &str) -> Process {
    let arguments = ["--database", database, "serve", "--listen", "127.0.0.1:0"];
    let mut serve = rollcall(folder, &arguments);
    serve.args(["--log-format", "json"]);
    serve
}

impl Run {
    fn start(folder: &Path, database: &str, variables: &[(&str, &str)]) -> Self {
        let mut serve = serving(folder, database);
        serve.stdout(Stdio::piped()).envs(variables.iter().copied());
        let mut served = Served::run(serve);
        let out = served.child.stdout.take().unwrap();
        Self { served, out }
    }

    /// Stops it. Returns its standard output and its log.
    fn stop(mut self) -> (String, String) {
        let rest = self.served.stop();
        let log = format!("{}\n{rest}", self.served.first);
        let mut text = String::new();
        self.out.read_to_string(&mut text).unwrap();
        (text, log)
    }

    fn post(&self, path: &str, headers: &str, body: &Value) -> (u16, String, Value) {
        let answer = self
            .served
            .ask("POST", &format!("/api/v1{path}"), headers, &body.to_string());
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head.to_owned(), serde_json::from_str(body).unwrap())
    }

    fn sign_in(&self, password: &str) -> (u16, String, Value) {
        self.post("/session", "", &json!({ "name": "admin", "password": password }))
    }
}

fn one_time(text: &str) -> String {
    let (_, rest) = text
        .split_once("one-time password ")
        .unwrap_or_else(|| panic!("{text}"));
    rest.split_whitespace().next().unwrap().to_owned()
}

#[test]
fn the_first_start_prints_a_password_once_and_later_ones_say_how_to_get_another() {
    for database in databases("first_start") {
        let folder = tempfile::tempdir().unwrap();
        let (out, log) = Run::start(folder.path(), &database.url, &[]).stop();
        let password = one_time(&out);
        assert_eq!(out.matches(&password).count(), 1);
        assert!(log.contains("the first administrator is made") || log.contains("the hub runs"));
        assert!(!log.contains(&password), "no secret is logged: {log}");

        let mut again = Run::start(folder.path(), &database.url, &[]);
        assert_eq!(again.sign_in("not this one, surely").0, 401);
        let (status, head, body) = again.sign_in(&password);
        assert_eq!(status, 200, "{body}");
        let cookie = head
            .lines()
            .find_map(|line| line.strip_prefix("set-cookie: "))
            .unwrap();
        let headers = format!(
            "cookie: {}\r\nsec-fetch-site: same-origin\r\nx-csrf-token: {}\r\n",
            cookie.split(';').next().unwrap(),
            body["csrfToken"].as_str().unwrap()
        );
        let (status, _, refused) = again.post("/users", &headers, &json!({}));
        assert_eq!((status, refused["code"].as_str()), (403, Some("change_password")));
        let change = json!({ "password": password, "newPassword": "a password of my own" });
        assert_eq!(again.post("/session/password", &headers, &change).0, 200);
        assert_eq!(again.sign_in("a password of my own").0, 200);

        // Somebody who has forgotten it gets another one at the machine.
        let cli = |arguments: &[&str]| {
            let all = [&["--database", database.url.as_str()], arguments].concat();
            done(&rollcall(folder.path(), &all).output().unwrap())
        };
        assert!(cli(&["session", "list"]).contains("admin"));
        let fresh = one_time(&cli(&["account", "reset-password", "ADMIN"]));
        assert_eq!(again.sign_in("a password of my own").0, 401);
        assert_eq!(again.sign_in(&fresh).0, 200);
        assert!(cli(&["session", "end", "--account", "admin"]).contains("1 session ended"));
        let (out, log) = {
            again.served.log_until("\"answered\"");
            again.stop()
        };
        assert_eq!(out, "");
        for secret in [&password, &fresh, "a password of my own"] {
            assert!(!log.contains(secret), "{log}");
        }
    }
}

#[test]
fn a_start_before_the_first_sign_in_says_how_to_get_a_password() {
    let folder = tempfile::tempdir().unwrap();
    let database = format!("sqlite:{}", folder.path().join("hub.db").display());
    Run::start(folder.path(), &database, &[]).stop();
    let mut serve = serving(folder.path(), &database);
    serve.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = serve.spawn().unwrap();
    let mut log = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut told = String::new();
    while !told.contains("the hub runs") {
        assert!(std::io::BufRead::read_line(&mut log, &mut told).unwrap() > 0);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(told.contains("rollcall account reset-password admin"), "{told}");
    let mut out = String::new();
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    assert_eq!(out, "");
}

#[test]
fn the_first_password_may_be_in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let database = format!("sqlite:{}", folder.path().join("hub.db").display());
    let file = folder.path().join("first");
    std::fs::write(&file, "chosen beforehand\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let variable = [("ROLLCALL_ACCESS_INITIAL_PASSWORD_FILE", file.to_str().unwrap())];
    let run = Run::start(folder.path(), &database, &variable);
    let (status, _, body) = run.sign_in("chosen beforehand");
    assert_eq!(
        (status, &body["account"]["mustChangePassword"]),
        (200, &json!(true))
    );
    let (out, log) = run.stop();
    assert!(
        !out.contains("password") && !log.contains("chosen beforehand"),
        "{out}{log}"
    );
    // It has served.
    std::fs::remove_file(&file).unwrap();
    Run::start(folder.path(), &database, &variable).stop();
}

#[test]
fn accounts_and_tokens_are_managed_at_the_command_line() {
    for database in databases("account_cli") {
        let folder = tempfile::tempdir().unwrap();
        let run = Run::start(folder.path(), &database.url, &[]);
        let output = |arguments: &[&str]| {
            let all = [&["--database", database.url.as_str()], arguments].concat();
            rollcall(folder.path(), &all).output().unwrap()
        };
        let cli = |arguments: &[&str]| done(&output(arguments));
        let json = |arguments: &[&str]| -> Value {
            serde_json::from_str(&cli(&[arguments, &["--json"]].concat())).unwrap()
        };
        let refused = |arguments: &[&str]| {
            let output = output(&[arguments, &["--json"]].concat());
            let error: Value = serde_json::from_slice(&output.stderr).unwrap();
            (
                output.status.code().unwrap(),
                error["error"]["code"].as_str().unwrap().to_owned(),
            )
        };
        cli(&["app", "create", "Wiki", "--url", "http://127.0.0.1:1/events"]);
        let made = json(&[
            "account",
            "create",
            "ada",
            "--role",
            "application_owner",
            "--app",
            "wiki",
        ]);
        assert_eq!(made["account"]["role"], "application_owner");
        let password = made["oneTimePassword"].as_str().unwrap();
        let body = json!({ "name": "ada", "password": password });
        assert_eq!(run.post("/session", "", &body).0, 200);
        let shown = json(&["account", "show", "ada"]);
        assert_eq!(shown["sessions"].as_array().unwrap().len(), 1);
        assert!(!shown.to_string().contains(password));
        assert!(cli(&["account", "list"]).contains("application_owner of app_"));
        let session = shown["sessions"][0]["id"].as_str().unwrap();
        assert_eq!(json(&["session", "end", session])["ended"], 1);
        assert_eq!(refused(&["session", "end", session]), (1, "not_found".to_owned()));
        assert_eq!(
            json(&["account", "set-role", "ada", "--role", "operator"])["role"],
            "operator"
        );
        assert_eq!(json(&["account", "disable", "ada"])["disabled"], true);
        assert_eq!(json(&["account", "enable", "ada"])["disabled"], false);
        for (arguments, code) in [
            (&["account", "disable", "admin"][..], (1, "last_administrator")),
            (
                &["account", "create", "ADA", "--role", "auditor"],
                (1, "name_taken"),
            ),
            (
                &["account", "create", "eve", "--role", "application_owner"],
                (2, "invalid_field"),
            ),
            (&["account", "create", "eve", "--role", "king"], (2, "wrong_use")),
            (&["account", "show", "eve"], (1, "not_found")),
            (&["account", "delete", "ada"], (2, "unconfirmed")),
            (
                &["token", "create", "ci", "--role", "auditor", "--days", "400"],
                (2, "invalid_field"),
            ),
            (&["token", "revoke", "ci"], (1, "not_found")),
            (&["session", "end"], (2, "wrong_use")),
        ] {
            assert_eq!(refused(arguments), (code.0, code.1.to_owned()), "{arguments:?}");
        }
        assert_eq!(
            json(&["account", "delete", "ada", "--confirm"])["deleted"],
            made["account"]["id"]
        );

        let token = json(&["token", "create", "ci", "--role", "auditor", "--days", "30"]);
        let secret = token["secret"].as_str().unwrap();
        let bearer = format!("authorization: Bearer {secret}\r\n");
        assert!(
            run.served
                .get_with("/api/v1/audit", &bearer)
                .starts_with("HTTP/1.1 200")
        );
        let listed = cli(&["token", "list"]);
        assert!(listed.contains("ci") && listed.contains("last used") && !listed.contains(secret));
        assert!(cli(&["token", "revoke", "ci"]).contains("good for nothing"));
        assert!(
            run.served
                .get_with("/api/v1/audit", &bearer)
                .starts_with("HTTP/1.1 401")
        );
        let audit = cli(&["audit", "--last", "50"]);
        assert!(
            audit.contains("revoke_token") && !audit.contains(secret),
            "{audit}"
        );
        let (_, log) = run.stop();
        assert!(!log.contains(secret) && !log.contains(password));
    }
}
