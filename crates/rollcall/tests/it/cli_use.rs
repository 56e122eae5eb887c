//! The command line as a program among others: exit codes, errors for scripts, readers that go, help.

use std::process::{Command as Process, Stdio};

use rollcall_db::testing::databases;
use serde_json::{Value, json};

use crate::cli_doors::Place;

/// What a command that fails says under `--json`, and its exit code.
fn refusal(place: &Place, arguments: &[&str]) -> (i32, Value) {
    refusal_of(&mut place.process(&[&["--json"], arguments].concat()))
}

fn refusal_of(process: &mut Process) -> (i32, Value) {
    let output = process.output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.stdout.is_empty(), "{process:?}");
    let error: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{process:?}: {text}"));
    (output.status.code().unwrap(), error["error"].clone())
}

#[test]
fn wrong_use_and_failures_are_told_apart_by_people_and_scripts() {
    for database in databases("cli_use") {
        let place = Place::new(&database.url);
        place.done(&["user", "create", "ada", "--display-name", "Ada"]);
        place.done(&["app", "create", "Wiki", "--url", "https://wiki.invalid/x"]);
        for (code, name, arguments) in [
            (2, "wrong_use", &["user", "lst"] as &[&str]),
            (2, "wrong_use", &["user"]),
            (2, "wrong_use", &["user", "create", "grace"]),
            (2, "wrong_use", &["user", "lock", "ada", "--minutes", "0"]),
            (2, "wrong_use", &["user", "update", "ada", "--expires", "soon"]),
            (
                2,
                "wrong_use",
                &["user", "update", "ada", "--custom", "costCentre"],
            ),
            (2, "wrong_use", &["app", "scope", "Wiki"]),
            (
                2,
                "wrong_use",
                &["app", "subscription", "Wiki", "--add", "ud:user:fly"],
            ),
            (
                2,
                "wrong_use",
                &["app", "key", "rotate", "Wiki", "--after-hours", "-1"],
            ),
            (2, "wrong_use", &["import", "people.odt"]),
            (2, "wrong_use", &["export", "people.csv", "--base", "nonsense"]),
            (2, "unconfirmed", &["app", "delete", "Wiki"]),
            (2, "unconfirmed", &["app", "key", "rotate", "Wiki", "--now"]),
            (2, "unconfirmed", &["user", "erase", "ada"]),
            (
                2,
                "invalid_field",
                &["user", "update", "ada", "--email", "nonsense"],
            ),
            (2, "invalid_field", &["app", "set", "Wiki", "--lanes", "100"]),
            (1, "not_found", &["user", "show", "nobody"]),
            (1, "not_found", &["app", "show", "nothing"]),
            (1, "not_found", &["why", "nobody", "Wiki"]),
            (
                1,
                "username_taken",
                &["user", "create", "ADA", "--display-name", "x"],
            ),
            (1, "job", &["app", "cancel", "Wiki"]),
            (1, "failed", &["import", "absent.csv"]),
        ] {
            let (exit, error) = refusal(&place, arguments);
            assert_eq!(
                (exit, &error["code"]),
                (code, &json!(name)),
                "{arguments:?}: {error}"
            );
            let message = error["message"].as_str().unwrap();
            assert!(!message.is_empty() && !message.starts_with("error"), "{message}");
            let (exit, told) = place.run(arguments);
            assert_eq!(exit, code, "{arguments:?}: {told}");
        }
        let (_, error) = refusal(&place, &["unit", "show", "nothing"]);
        assert!(
            error["hint"]
                .as_str()
                .unwrap()
                .contains("rollcall unit list --search")
        );
        let (_, error) = refusal(&place, &["user"]);
        assert_eq!(error["message"], "a command is missing");
        let (_, error) = refusal(&place, &["user", "lst"]);
        assert_eq!(error["message"], "unrecognized subcommand 'lst'");
        assert_eq!(error["hint"], "a similar subcommand exists: 'list'");
        let (_, error) = refusal(&place, &["app", "delete", "Wiki"]);
        assert!(error["hint"].as_str().unwrap().contains("--confirm"), "{error}");
        let (_, told) = place.run(&["app", "delete", "Wiki"]);
        let [what, hint] = told.lines().collect::<Vec<_>>()[..] else {
            panic!("{told}");
        };
        assert!(what.starts_with("error: this deletes Wiki"), "{told}");
        assert!(hint.trim_start().starts_with("hint: "), "{told}");
        for asks in ["--help", "--version", "help"] {
            let (exit, told) = place.run(&[asks]);
            assert!(exit == 0 && told.contains("rollcall"), "{told}");
        }
    }
}

#[test]
fn a_folder_without_a_hub_is_told_to_scripts() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = Process::new(env!("CARGO_BIN_EXE_rollcall"));
    process.args(["--json", "--data-dir"]).arg(folder.path());
    let (exit, error) = refusal_of(process.args(["user", "list"]));
    assert_eq!((exit, error["code"].as_str()), (1, Some("no_hub")), "{error}");
}

#[test]
fn when_the_reader_goes_a_command_ends_without_a_word() {
    for database in databases("cli_pipe") {
        let place = Place::new(&database.url);
        place.done(&["user", "create", "ada", "--display-name", "Ada"]);
        for arguments in [
            &["user", "list"] as &[&str],
            &["--json", "user", "list"],
            &["log", "--follow"],
            &["export", "--format", "csv"],
            &["export"],
            &["completions", "bash"],
        ] {
            let mut child = place
                .process(arguments)
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            drop(child.stdout.take());
            let output = child.wait_with_output().unwrap();
            let told = String::from_utf8_lossy(&output.stderr);
            assert_eq!((output.status.code(), &*told), (Some(141), ""), "{arguments:?}");
        }
    }
}

#[test]
fn options_of_every_command_stand_last_in_its_help() {
    let output = |arguments: &[&str]| {
        let output = Process::new(env!("CARGO_BIN_EXE_rollcall"))
            .args(arguments)
            .env("COLUMNS", "80")
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    for command in [
        &["user", "create", "--help"] as &[&str],
        &["import", "--help"],
        &["app", "set", "-h"],
    ] {
        let help = output(command);
        let (own, common) = help.split_once("Global options:").unwrap();
        assert!(
            !own.contains("--data-dir") && common.contains("--data-dir"),
            "{help}"
        );
        assert!(help.lines().all(|line| line.chars().count() <= 80), "{help}");
    }
    for code in ["0 ", "1 ", "2 ", "3 ", "141 "] {
        assert!(output(&["--help"]).contains(&format!("\n  {code}")));
    }
}

/// The help of a command, and of all below it, in a terminal of so many columns.
fn helps(command: &[&str], columns: &str) -> Vec<String> {
    let output = Process::new(env!("CARGO_BIN_EXE_rollcall"))
        .args(command)
        .arg("--help")
        .env("COLUMNS", columns)
        .output()
        .unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let commands = help.split_once("Commands:\n").map_or("", |(_, rest)| rest);
    let commands = commands.lines().take_while(|line| !line.is_empty());
    let names = commands.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let below = names
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .flat_map(|name| helps(&[command, &[name]].concat(), columns));
    let below: Vec<_> = below.collect();
    [vec![help], below].concat()
}

#[test]
fn no_word_stands_alone_in_a_help_that_is_narrower_than_it_was_written() {
    for columns in ["60", "72", "80"] {
        let helps = helps(&[], columns);
        assert!(helps.len() > 60, "{}", helps.len());
        let width = columns.parse().unwrap();
        for help in helps {
            let lines: Vec<&str> = help.lines().collect();
            for pair in lines.windows(2) {
                let [line, next] = pair else { continue };
                let indent = |line: &str| line.len() - line.trim_start().len();
                let word = next.split_whitespace().next().unwrap_or_default();
                let table = next.trim_start().contains("  ");
                let goes_on = !table && indent(line) == indent(next) && word.starts_with(char::is_lowercase);
                let few = (1..=2).contains(&line.split_whitespace().count());
                let fits = line.chars().count() + 1 + word.chars().count() <= width;
                assert!(
                    !(goes_on && few && fits),
                    "{columns}: {line:?} before {next:?}\n{help}"
                );
            }
        }
    }
}

#[test]
fn custom_fields_are_set_and_taken_away_one_by_one() {
    for database in databases("cli_custom") {
        let place = Place::new(&database.url);
        let create = ["user", "create", "ada", "--display-name", "Ada"];
        let custom = [
            "--custom",
            "costCentre=4711",
            "--custom",
            "motto=a=b",
            "--custom",
            "empty=",
        ];
        place.done(&[create.as_slice(), custom.as_slice()].concat());
        let fields = || place.json(&["user", "show", "ada"])["customFields"].clone();
        assert_eq!(fields(), json!({"costCentre": "4711", "motto": "a=b"}));
        place.done(&[
            "user",
            "update",
            "ada",
            "--custom",
            "floor=3",
            "--custom",
            "costCentre=12",
        ]);
        assert_eq!(
            fields(),
            json!({"costCentre": "12", "floor": "3", "motto": "a=b"})
        );
        place.done(&[
            "user",
            "update",
            "ada",
            "--clear-custom",
            "motto",
            "--custom",
            "floor=",
        ]);
        assert_eq!(fields(), json!({"costCentre": "12"}));
        let shown = place.done(&["user", "show", "ada"]);
        assert!(shown.contains("costCentre=12"), "{shown}");
        let same = place.done(&["user", "update", "ada", "--clear-custom", "motto"]);
        assert!(same.contains("nothing to change"), "{same}");

        // A file changes those that it names.
        let file = place.folder.path().join("people.csv");
        std::fs::write(&file, "username,display_name,path,custom.floor\nada,Ada,/,4\n").unwrap();
        place.done(&["import", file.to_str().unwrap()]);
        assert_eq!(fields(), json!({"costCentre": "12", "floor": "4"}));
        std::fs::write(&file, "username,display_name,path,custom.floor\nada,Ada,/,\n").unwrap();
        place.done(&["import", file.to_str().unwrap()]);
        assert_eq!(fields(), json!({"costCentre": "12"}));
    }
}

#[test]
fn what_was_done_is_told_as_people_count_it() {
    for database in databases("cli_counted") {
        let place = Place::new(&database.url);
        place.done(&["group", "create", "Staff"]);
        for name in ["ada", "grace"] {
            place.done(&["user", "create", name, "--display-name", name]);
        }
        // The members' own changes of placement are none of what somebody did.
        let added = place.done(&["group", "add", "Staff", "ada", "grace"]);
        assert!(added.trim_end().ends_with(" (2 changes)"), "{added}");
        let again = place.done(&["group", "add", "Staff", "ada", "grace"]);
        assert!(again.contains("nothing to change"), "{again}");
        place.done(&["user", "lock", "ada"]);
        let shown = place.done(&["user", "show", "ada"]);
        assert!(
            shown.contains("locked        until somebody unlocks the user\n"),
            "{shown}"
        );

        let mut file = "username;display_name;path;status\r\n".to_owned();
        for number in 0..1_200 {
            file.push_str(&format!("u{number};U;A;Aktiv{number}\r\n"));
        }
        let path = place.folder.path().join("people.csv");
        std::fs::write(&path, file).unwrap();
        let (code, told) = place.run(&["import", path.to_str().unwrap()]);
        assert_eq!(code, 3, "{told}");
        let lines: Vec<&str> = told.lines().collect();
        let at = lines.iter().position(|line| *line == "1,200 REFUSED:").unwrap();
        assert!(
            lines[at + 1].starts_with("  line 2: u0: status: \"Aktiv0\" is none of"),
            "{told}"
        );
        assert_eq!(lines[at + 2], "    1,199 more of the kind, lines 3, 4, 5 …");
        assert_eq!(lines.len(), at + 3, "{told}");
    }
}
