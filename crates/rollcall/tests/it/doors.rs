//! What must stay shut: secret files, files that others can read, folders that are no hub, a master key that
//! does not fit, a second owner.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Stdio;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rollcall::access::Caller;
use rollcall::application::{self, Scope, SettingsPatch};
use rollcall::directory::{Command, NewPassword};
use rollcall::private::{self, PrivateError};
use rollcall::schema;
use rollcall_db::testing::databases;
use rollcall_db::{Db, DbError, params};
use rollcall_protocol::{EncryptionKey, SystemRandom};
use rollcall_server::file::FileError;

use crate::operate::{Served, done, rollcall};
use crate::world::{add_application, make_hub, on_both, open_hub};

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().mode() & 0o777
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn write_private(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    set_mode(path, 0o600);
}

fn sqlite(data: &Path) -> String {
    format!("sqlite:{}", data.join("rollcall.db").display())
}

/// Runs a command that has to fail, and gives what it says.
fn refused(folder: &Path, arguments: &[&str]) -> String {
    let output = rollcall(folder, arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{arguments:?} was not refused: {said}");
    said
}

const SERVE: [&str; 3] = ["serve", "--listen", "127.0.0.1:0"];

#[test]
fn a_secret_file_is_whole_and_private_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    assert!(matches!(
        private::read(&file),
        Err(PrivateError::File(FileError::Missing(_)))
    ));
    for text in ["", "\n", "   \n"] {
        write_private(&file, text);
        assert!(
            matches!(private::read(&file), Err(PrivateError::Empty(_))),
            "{text:?}"
        );
        assert!(private::read_or_make(&file, &SystemRandom).is_err(), "{text:?}");
    }
    for text in [
        "ab",
        &"ab".repeat(31),
        &"xy".repeat(32),
        &"ab".repeat(33),
        &"é".repeat(32),
    ] {
        write_private(&file, text);
        assert!(
            matches!(private::read(&file), Err(PrivateError::Malformed(_))),
            "{text}"
        );
    }
    std::fs::write(&file, [0xff; 64]).unwrap();
    assert!(matches!(private::read(&file), Err(PrivateError::Malformed(_))));
    write_private(&file, &format!("{}\n", "aB".repeat(32)));
    assert_eq!(*private::read(&file).unwrap(), [0xab; 32]);
    for open in [0o644, 0o640, 0o602] {
        set_mode(&file, open);
        let error = private::read(&file).unwrap_err();
        assert!(matches!(error, PrivateError::File(FileError::Exposed { .. })));
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }
    assert!(matches!(
        private::read(folder.path()),
        Err(PrivateError::File(FileError::NotRegular(_)))
    ));
}

#[test]
fn those_who_make_a_secret_at_once_agree_on_it() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..20 {
        let file = folder.path().join(format!("secret{round}"));
        let made: Vec<_> = std::thread::scope(|scope| {
            let make = || scope.spawn(|| *private::read_or_make(&file, &SystemRandom).unwrap());
            let threads: Vec<_> = (0..8).map(|_| make()).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(made.iter().all(|secret| *secret == made[0]));
        assert_eq!(mode(&file), 0o600);
    }
    // Nothing is left beside them.
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 20);
}

#[test]
fn a_token_file_that_is_empty_or_open_to_others_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    make_hub(&data, &sqlite(&data));
    let token = data.join("admin.token");
    for text in ["", " \n", "abc\n"] {
        write_private(&token, text);
        let said = refused(folder.path(), &SERVE);
        assert!(said.contains("admin.token"), "{said}");
        let kept = std::fs::read_to_string(&token).unwrap();
        assert_eq!(kept, text, "the file is not replaced");
        let doctor = rollcall(folder.path(), &["doctor"]).output().unwrap();
        let text = String::from_utf8_lossy(&doctor.stdout);
        assert!(text.contains("FAIL  administrator's token"), "{text}");
    }
    write_private(&token, &"ab".repeat(32));
    set_mode(&token, 0o644);
    let said = refused(folder.path(), &SERVE);
    assert!(said.contains("chmod 600"), "{said}");
}

#[test]
fn a_request_without_the_token_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let served = Served::start(folder.path(), &sqlite(&data));
    let token = std::fs::read_to_string(data.join("admin.token")).unwrap();
    let ask = |header: &str| served.get_with("/api/v1/users", header);
    for header in [
        "",
        "authorization: \r\n",
        "authorization: Bearer\r\n",
        "authorization: Bearer \r\n",
    ] {
        assert!(ask(header).starts_with("HTTP/1.1 401"), "{header:?}");
    }
    assert!(ask(&format!("authorization: Bearer {}\r\n", token.trim())).starts_with("HTTP/1.1 200"));
}

#[test]
fn nobody_else_can_read_what_the_hub_writes() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    make_hub(&data, &sqlite(&data));
    set_mode(&data, 0o755);
    set_mode(&data.join("rollcall.db"), 0o644);
    let doctor = rollcall(folder.path(), &["doctor"]).output().unwrap();
    let text = String::from_utf8_lossy(&doctor.stdout);
    for line in [
        "FAIL  data folder",
        "FAIL  database files",
        "chmod 700",
        "chmod 600",
    ] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
    let mut served = Served::start(folder.path(), &sqlite(&data));
    done(
        &rollcall(folder.path(), &["user", "create", "ada", "--display-name", "Ada"])
            .output()
            .unwrap(),
    );
    assert_eq!(mode(&data), 0o700);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&data).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        names.push(path.file_name().unwrap().to_str().unwrap().to_owned());
    }
    assert!(names.contains(&"rollcall.db-wal".to_owned()), "{names:?}");
    served.stop();
    std::fs::write(folder.path().join("old.jsonl"), "").unwrap();
    for (verb, file) in [
        ("export", "new.jsonl"),
        ("export", "old.jsonl"),
        ("backup", "hub.backup"),
    ] {
        done(&rollcall(folder.path(), &[verb, file]).output().unwrap());
        assert_eq!(mode(&folder.path().join(file)), 0o600, "{file}");
    }
}

#[test]
fn a_folder_that_is_no_hub_stays_as_it_is() {
    for database in databases("no_hub") {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        for command in [
            &["user", "list"][..],
            &["export"],
            &["backup", "b"],
            &["app", "list"],
            &["log"],
        ] {
            let said = refused(folder.path(), command);
            assert!(
                said.contains("there is no hub in") && said.contains("serve"),
                "{said}"
            );
            let mut all = vec!["--database", database.url.as_str()];
            all.extend(command);
            assert!(refused(folder.path(), &all).contains("there is no hub in"));
        }
        assert!(!data.exists());
        if let Some(file) = rollcall_db::sqlite_file(&database.url) {
            assert!(!file.exists());
        }
        let looked = rollcall_db::has_rows(
            &database.url,
            "refinery_schema_history",
            rollcall_db::Options::default(),
        );
        assert!(!looked.unwrap(), "no table was made");
    }
}

#[test]
fn a_master_key_that_does_not_fit_is_refused_and_one_that_is_missing_not_replaced() {
    for database in databases("master_key") {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        make_hub(&data, &database.url);
        let with = |command: &[&'static str]| {
            let mut all = vec!["--database", database.url.as_str()];
            all.extend(command);
            rollcall(folder.path(), &all).output().unwrap()
        };
        let create = ["app", "create", "Wiki", "--url", "https://wiki.invalid/x"];
        done(&with(&create));
        let key = data.join("master.key");
        let right = std::fs::read_to_string(&key).unwrap();
        for with_check in [true, false] {
            if !with_check {
                // As in a database from before there was a check value.
                let url = database.url.clone();
                let db = Db::open(&url, schema::migrations(), rollcall_db::Options::default()).unwrap();
                db.write_blocking(|tx| tx.execute("DELETE FROM master_key_check", params![]).map(drop))
                    .map_err(|error: DbError| error)
                    .unwrap();
                db.close_blocking();
            }
            for wrong in [Some("08".repeat(32)), None] {
                match &wrong {
                    Some(text) => write_private(&key, text),
                    None => std::fs::remove_file(&key).unwrap(),
                }
                for command in [&SERVE[..], &["app", "list"]] {
                    let output = with(command);
                    let said = String::from_utf8_lossy(&output.stderr).into_owned();
                    assert!(!output.status.success(), "{said}");
                    assert!(said.contains("master.key"), "{said}");
                }
                assert_eq!(key.exists(), wrong.is_some());
                write_private(&key, &right);
            }
            done(&with(&["app", "list"]));
        }
    }
}

#[test]
fn one_process_owns_an_sqlite_database() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut served = Served::start(folder.path(), &sqlite(&data));
    let said = refused(folder.path(), &SERVE);
    for part in [
        &format!("process {}", served.child.id()),
        served.address.as_str(),
        "since",
    ] {
        assert!(said.contains(part), "{part} is missing in {said}");
    }
    // Also under another name of the same database, from another folder.
    let link = folder.path().join("link.db");
    std::os::unix::fs::symlink(data.join("rollcall.db"), &link).unwrap();
    let url = format!("sqlite:{}", link.display());
    let other = [
        "--data-dir",
        "other",
        "--database",
        &url,
        "serve",
        "--listen",
        "127.0.0.1:0",
    ];
    assert!(refused(folder.path(), &other).contains("runs on"));
    // Commands beside it go on working.
    done(&rollcall(folder.path(), &["user", "list"]).output().unwrap());
    // A process that is killed leaves nothing behind that must be cleared away.
    served.child.kill().unwrap();
    served.child.wait().unwrap();
    Served::start(folder.path(), &sqlite(&data)).stop();
}

#[test]
fn many_starts_on_a_fresh_folder_make_one_hub() {
    let folder = tempfile::tempdir().unwrap();
    let mut starts: Vec<_> = (0..6)
        .map(|_| {
            rollcall(folder.path(), &SERVE)
                .stderr(Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    // All but one give up; that one runs.
    while starts.len() > 1 {
        starts.retain_mut(|start| match start.try_wait().unwrap() {
            Some(status) => {
                assert!(!status.success());
                false
            }
            None => true,
        });
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let list = || rollcall(folder.path(), &["user", "list"]).output().unwrap();
    while !list().status.success() {
        assert!(starts[0].try_wait().unwrap().is_none(), "nobody runs");
    }
    let beside: Vec<_> = (0..6)
        .map(|n| {
            let name = format!("u{n}");
            rollcall(folder.path(), &["user", "create", &name, "--display-name", "U"])
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    for command in beside {
        done(&command.wait_with_output().unwrap());
    }
    starts[0].kill().unwrap();
    starts[0].wait().unwrap();
}

#[test]
fn a_database_that_was_emptied_does_not_become_a_new_hub() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    Served::start(folder.path(), &sqlite(&data)).stop();
    for file in private::database_files(&data.join("rollcall.db")) {
        let _ = std::fs::remove_file(file);
    }
    for _ in 0..2 {
        let said = refused(folder.path(), &SERVE);
        assert!(
            said.contains("is empty now") && said.contains("rollcall.db.lock"),
            "{said}"
        );
    }
    std::fs::remove_file(data.join("rollcall.db.lock")).unwrap();
    Served::start(folder.path(), &sqlite(&data)).stop();
}

#[test]
fn a_full_disk_leaves_no_half_of_a_secret() {
    for database in databases("full_disk") {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let with = |limit: &str| {
            let mut process = std::process::Command::new("bash");
            let script = format!("trap '' XFSZ; ulimit -f {limit}; exec \"$0\" \"$@\"");
            process
                .args(["-c", &script, env!("CARGO_BIN_EXE_rollcall")])
                .args(["--database", &database.url])
                .args(SERVE)
                .args(["--log-format", "json"])
                .env("ROLLCALL_DATA_DIR", &data)
                .env_remove("ROLLCALL_LOG");
            process
        };
        // No file can be written: first the key, and once that is there, the token.
        for secret in ["master.key", "admin.token"] {
            let output = with("0").output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(!output.status.success(), "{said}");
            if database.dialect == rollcall_db::Dialect::Postgres {
                assert!(said.contains(secret), "{said}");
            }
            for entry in std::fs::read_dir(&data).unwrap() {
                let name = entry.unwrap().file_name().into_string().unwrap();
                assert!(name != secret && !name.starts_with(".secret"), "{name} is left");
            }
            if secret == "master.key" {
                private::read_or_make(&data.join(secret), &SystemRandom).unwrap();
            }
        }
        // Once there is room, nothing has to be cleared away by hand.
        Served::run(with("unlimited")).stop();
    }
}

#[test]
fn no_secret_rests_in_the_clear() {
    const PASSWORD: &str = "correct horse battery";
    on_both("sealed", |url, _| async move {
        let hub = open_hub(&url).await;
        let key = EncryptionKey::generate(&SystemRandom);
        let hex = key.to_hex();
        let app = "https://app.example/events";
        let app = add_application(&hub, "App", app, Some(key), Scope::everything()).await;
        let update = application::Command::Update {
            id: app.id.clone(),
            name: None,
            secret: None,
            settings: SettingsPatch {
                password_synchronization: Some(true),
                ..SettingsPatch::default()
            },
        };
        hub.apply_application(Caller::system("test"), update)
            .await
            .unwrap();
        let id = crate::plain::user(&hub, "ada").await;
        let password = NewPassword::prepare(PASSWORD.to_owned().into(), &SystemRandom).unwrap();
        crate::plain::apply(&hub, Command::SetPassword { id, password }).await;
        let kept = "SELECT COUNT(*) FROM changes WHERE secret IS NOT NULL";
        let kept: i64 = hub
            .db
            .read(move |tx| tx.query_one(kept, params![])?.get(0))
            .await
            .unwrap();
        assert_eq!(kept, 1, "there must be something to find");
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join("copy");
        rollcall::backup::write(&hub.db, &copy, 1).await.unwrap();
        let mut files = vec![copy];
        if let Some(file) = rollcall_db::sqlite_file(&url) {
            files.extend(
                private::database_files(&file)
                    .into_iter()
                    .filter(|file| file.exists()),
            );
        }
        let bytes: Vec<u8> = (0..32)
            .map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap())
            .collect();
        let master = [7; 32];
        for secret in [
            bytes.as_slice(),
            &master,
            hex.as_bytes(),
            hex.to_uppercase().as_bytes(),
            STANDARD.encode(&bytes).as_bytes(),
            STANDARD.encode(master).as_bytes(),
            PASSWORD.as_bytes(),
            STANDARD.encode(PASSWORD).as_bytes(),
        ] {
            for file in &files {
                let text = std::fs::read(file).unwrap();
                let found = text.windows(secret.len()).any(|window| window == secret);
                assert!(!found, "{} holds {secret:?}", file.display());
            }
        }
        hub.db.close().await;
    });
}
