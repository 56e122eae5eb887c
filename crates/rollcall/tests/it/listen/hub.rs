//! A hub as a process pushes to the listener.

use std::io::Write as _;
use std::process::Stdio;

use rollcall::application::Scope;
use rollcall::compare;
use rollcall_receiver::Mirror;
use serde_json::Value;
use tempfile::TempDir;

use super::Listening;
use crate::operate::{Served, done, rollcall};
use crate::strangers;
use crate::world::{on_both, open_hub};

/// A hub as a process that may call loopback addresses, and commands beside it.
struct Place {
    database: String,
    folder: TempDir,
    served: Served,
}

impl Place {
    fn start(database: &str) -> Self {
        let folder = strangers::folder("");
        let served = strangers::serve(folder.path(), database);
        Self {
            database: database.to_owned(),
            folder,
            served,
        }
    }

    fn beside<'a>(&'a self, arguments: &[&'a str]) -> Vec<&'a str> {
        let beside = ["--config", "rollcall.toml", "--database", &self.database];
        [&beside[..], arguments].concat()
    }

    fn done(&self, arguments: &[&str]) -> String {
        let output = rollcall(self.folder.path(), &self.beside(arguments)).output();
        done(&output.unwrap())
    }

    /// The same, with this on its standard input.
    fn typing(&self, text: &str, arguments: &[&str]) {
        let mut process = rollcall(self.folder.path(), &self.beside(arguments));
        process
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = process.spawn().unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        done(&child.wait_with_output().unwrap());
    }

    fn listen(&self, arguments: &[&str]) -> Listening {
        Listening::start(self.folder.path(), &self.beside(arguments))
    }

    fn url_of(&self, app: &str) -> String {
        let shown: Value = serde_json::from_str(&self.done(&["app", "show", app, "--json"])).unwrap();
        let text = shown.to_string();
        let (_, rest) = text.split_once("\"url\":\"").unwrap_or_else(|| panic!("{text}"));
        rest.split('"').next().unwrap().to_owned()
    }
}

#[test]
fn what_a_hub_pushes_is_shown_and_kept_and_the_receiving_url_is_set_back() {
    on_both("listen_hub", |database, mirror| async move {
        let place = Place::start(&database);
        let before = "http://127.0.0.1:9/elsewhere";
        for (app, encryption) in [("Plain app", "--no-encryption"), ("Wiki", "--encrypt")] {
            let mut create = vec!["app", "create", app, "--url", before, encryption];
            if encryption == "--encrypt" {
                create.extend(["--password-sync", "true"]);
            }
            place.done(&create);
        }
        let mut listening = place.listen(&["listen", "--app", "Wiki", "--set-url", "--keep", &mirror]);
        assert_eq!(place.url_of("Wiki"), listening.url);
        assert!(place.done(&["app", "test", "Wiki"]).contains("accepted"));
        listening.until("connection test");
        place.done(&["unit", "create", "Research"]);
        let mut create = vec!["user", "create", "ada", "--display-name", "Ada Lovelace"];
        create.extend([
            "--unit",
            "Research",
            "--email",
            "ada@x.example",
            "--password-stdin",
        ]);
        place.typing("Correct-horse-7-battery\n", &create);
        let line = listening.until("ud:user:create");
        assert!(line.contains("Ada Lovelace (ada)"), "{line}");
        let says = listening.line();
        for said in [
            "enabled",
            "email ada@x.example",
            "in Research",
            "password (a password)",
        ] {
            assert!(says.contains(said), "{says}");
        }
        place.done(&["group", "create", "Staff"]);
        place.done(&["group", "add", "Staff", "ada"]);
        listening.until("ud:group:add_user");
        place.done(&["app", "sync", "Wiki"]);
        let hub = open_hub(&database).await;
        let should = hub.db.read(|tx| compare::in_scope(tx, &Scope::everything()));
        let should = should.await.unwrap();
        let (code, printed, beside) = listening.stop("-TERM");
        assert_eq!(code, 0, "{beside}");
        assert!(printed.contains("verified, encrypted, key KEY"), "{printed}");
        assert!(
            !printed.contains("horse") && !beside.contains("horse"),
            "{printed}"
        );
        assert!(!printed.contains('\u{1b}'), "{printed:?}");
        let (_, summary) = printed.split_once("\n\n").unwrap();
        assert!(
            summary.contains("1  common:test") && summary.contains("ud:user:push"),
            "{summary}"
        );
        assert!(
            beside.contains("receives at http://127.0.0.1:9/elsewhere again"),
            "{beside}"
        );
        assert_eq!(place.url_of("Wiki"), before);
        let kept = Mirror::open(&mirror).await.unwrap();
        let has = kept.snapshot().await.unwrap();
        assert_eq!(should.differences(&has), [""; 0]);
        assert_eq!(should.counts().users, 1);
        kept.close().await;

        // In the clear; the command that is shown points the hub here.
        let mut listening = place.listen(&["listen", "--app", "Plain app", "--once"]);
        listening.until("to have the hub send here");
        let command = listening.line();
        assert_eq!(
            command.trim(),
            format!("rollcall app set 'Plain app' --url {}", listening.url)
        );
        place.done(&["app", "set", "Plain app", "--url", &listening.url]);
        let (code, printed, _) = listening.end();
        assert_eq!(code, 0);
        assert!(printed.contains("encryption   none"), "{printed}");
        assert!(printed.contains(": verified, key KEY"), "{printed}");
    });
}

#[test]
fn an_application_of_a_hub_elsewhere_needs_a_token_and_its_key() {
    on_both("listen_elsewhere", |database, _| async move {
        let place = Place::start(&database);
        let key = place.folder.path().join("wiki.key");
        std::fs::write(&key, "5a".repeat(32)).unwrap();
        let key = key.to_str().unwrap();
        let create = ["app", "create", "Wiki", "--url", "http://127.0.0.1:9/x"];
        place.done(&[&create[..], &["--encryption-key-file", key]].concat());
        let server = format!("http://{}", place.served.address);
        let token = place.folder.path().join("data/admin.token");
        let there = tempfile::tempdir().unwrap();
        let elsewhere = ["--server", &server, "--token-file", token.to_str().unwrap()];
        let listen = |more: &[&str]| {
            let words = [&elsewhere[..], &["listen", "--app", "Wiki"], more].concat();
            let mut process = rollcall(there.path(), &words);
            process.args(["--listen", "127.0.0.1:0"]);
            process
        };
        let refused = listen(&["--json"]).output().unwrap();
        let told = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2), "{told}");
        assert!(told.contains("--encryption-key-file"), "{told}");

        let options = ["--encryption-key-file", key, "--set-url", "--once", "--json"];
        let mut listening = Listening::run(listen(&options));
        let created = tokio::task::block_in_place(|| {
            place.done(&["user", "create", "bob", "--display-name", "Bob"]);
            listening.until("ud:user:create")
        });
        let event: Value = serde_json::from_str(&created).unwrap();
        assert_eq!(event["record"]["username"], "bob");
        assert_eq!(event["request"]["encrypted"], true);
        let (code, _, beside) = listening.end();
        assert_eq!(code, 0, "{beside}");
        assert_eq!(place.url_of("Wiki"), "http://127.0.0.1:9/x");
    });
}

#[test]
fn a_hub_sees_a_receiver_that_wants_an_event_again() {
    on_both("listen_retry", |database, _| async move {
        let place = Place::start(&database);
        place.done(&["app", "create", "Wiki", "--url", "http://127.0.0.1:9/x"]);
        let options = [
            "--answer",
            "retry",
            "--answer-for",
            "ud:user:create",
            "--answer-times",
            "1",
        ];
        let listen = [&["listen", "--app", "Wiki", "--set-url"], &options[..]].concat();
        let mut listening = place.listen(&listen);
        place.done(&["user", "create", "ada", "--display-name", "Ada"]);
        listening.until("→ retried: exception");
        let again = listening.until("ud:user:create");
        assert!(again.contains("Ada (ada)"), "{again}");
        listening.until("answered 200");
        let (code, printed, _) = listening.stop("-INT");
        assert_eq!(code, 0);
        assert!(printed.contains("answered: 1 retried, 1 success"), "{printed}");
        let log = place.done(&["log", "--app", "Wiki"]);
        assert!(log.contains("1 wanted again"), "{log}");
    });
}
