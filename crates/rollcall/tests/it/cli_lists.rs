//! Lists of the command line and the API: how much is shown, how the rest is got, searching, names beside ids.

use std::fmt::Write as _;

use rollcall_db::testing::databases;
use serde_json::Value;

use crate::cli_doors::Place;

/// What a command prints, and what it says beside it.
fn told(place: &Place, arguments: &[&str]) -> (Vec<String>, String) {
    let output = place.process(arguments).output().unwrap();
    let beside = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {beside}");
    let lines = String::from_utf8(output.stdout).unwrap();
    (lines.lines().map(str::to_owned).collect(), beside)
}

/// More users than one portion of a search looks at, and some who are found.
fn fill(place: &Place) {
    let mut file = "username,display_name,path,email,groups\n".to_owned();
    for number in 0..2_100 {
        let group = if number < 60 { "Staff" } else { "" };
        writeln!(file, "u{number:04},Nobody {number},Engineering/Optics,,{group}").unwrap();
    }
    file.push_str("zoe,Zoë GRÜN,Engineering,zoe@one.example,\n");
    file.push_str("zora,Zora Neale,Sales,z.grün@two.example,\n");
    let path = place.folder.path().join("people.csv");
    std::fs::write(&path, file).unwrap();
    place.done(&["import", path.to_str().unwrap()]);
}

fn usernames(list: &Value) -> Vec<&str> {
    let users = list.as_array().unwrap().iter();
    users.map(|user| user["username"].as_str().unwrap()).collect()
}

#[test]
fn a_list_says_how_much_of_it_is_shown_and_how_to_get_the_rest() {
    for database in databases("cli_lists") {
        let place = Place::new(&database.url);
        let (lines, beside) = told(&place, &["user", "list"]);
        assert!(lines.is_empty() && beside == "no user\n", "{lines:?} {beside}");
        // Where there is nothing yet, it is said how something gets there.
        for (list, how) in [("app", "rollcall app create"), ("token", "rollcall token create")] {
            let (lines, beside) = told(&place, &[list, "list"]);
            assert!(lines.is_empty() && beside.contains(how), "{lines:?} {beside}");
            let (lines, beside) = told(&place, &["--json", list, "list"]);
            assert_eq!((lines.concat().as_str(), beside.as_str()), ("[]", ""));
        }
        fill(&place);

        let (lines, beside) = told(&place, &["user", "list"]);
        assert_eq!(lines.len(), 50);
        assert_eq!(beside, "50 of 2,102 users shown; --all, or --after u0049\n");
        let (lines, beside) = told(&place, &["user", "list", "--after", "u0049", "--limit", "3"]);
        assert_eq!(lines.len(), 3);
        assert!(
            lines[0].contains("u0050") && beside.contains("--after u0052"),
            "{beside}"
        );
        let (lines, beside) = told(&place, &["user", "list", "--all"]);
        assert_eq!((lines.len(), beside.as_str()), (2_102, ""));
        let (lines, beside) = told(&place, &["user", "list", "--unit", "Sales"]);
        assert_eq!((lines.len(), beside.as_str()), (1, ""));
        let (_, beside) = told(&place, &["user", "list", "--unit", "Engineering/Optics"]);
        assert!(beside.starts_with("50 of 2,100 users shown"), "{beside}");
        assert_eq!(place.json(&["user", "list"]).as_array().unwrap().len(), 2_102);
        assert_eq!(
            place
                .json(&["user", "list", "--limit", "7"])
                .as_array()
                .unwrap()
                .len(),
            7
        );

        let (lines, beside) = told(&place, &["log"]);
        assert_eq!(lines.len(), 20);
        assert!(
            beside.contains("newest 20") && beside.contains("--all"),
            "{beside}"
        );
        let (lines, beside) = told(&place, &["log", "--all", "--kind", "user:create"]);
        assert_eq!((lines.len(), beside.as_str()), (2_102, ""));
        let (lines, beside) = told(&place, &["log", "--kind", "group:delete"]);
        assert!(lines.is_empty() && beside == "no change\n", "{beside}");
        let (_, beside) = told(&place, &["audit", "--last", "5"]);
        assert!(beside.contains("newest 5"), "{beside}");
        let (_, beside) = told(&place, &["audit", "--action", "group:create"]);
        assert_eq!(beside, "");

        let (lines, beside) = told(&place, &["group", "show", "Staff"]);
        assert!(lines.iter().any(|line| line.ends_with("  u0000")), "{lines:?}");
        assert!(beside.starts_with("50 of 60 members shown"), "{beside}");
        let (lines, beside) = told(&place, &["group", "show", "Staff", "--all"]);
        assert!(lines.last().unwrap().ends_with("  u0059") && beside.is_empty());
        let group = place.json(&["group", "show", "Staff"]);
        assert_eq!(group["members"][59]["username"], "u0059");
    }
}

#[test]
fn a_search_finds_users_groups_and_units_by_a_part_of_their_names() {
    for database in databases("cli_search") {
        let place = Place::new(&database.url);
        fill(&place);
        // In the name for people whatever its case, and in the address; both stand behind the first portion.
        let found = place.json(&["user", "list", "--search", "grün"]);
        assert_eq!(usernames(&found), ["zoe", "zora"]);
        let (lines, _) = told(&place, &["user", "list", "--search", "two.EXAMPLE"]);
        assert!(
            lines.len() == 1 && lines[0].contains("<z.grün@two.example>"),
            "{lines:?}"
        );
        let (lines, beside) = told(&place, &["user", "list", "--search", "nobody 2"]);
        assert_eq!(lines.len(), 50);
        assert!(
            beside.starts_with("50 users shown, and there are more; --all, or --after u"),
            "{beside}"
        );
        let (lines, beside) = told(&place, &["user", "list", "--search", "nobody 2", "--all"]);
        let right = (0..2_100)
            .filter(|number: &i32| number.to_string().starts_with('2'))
            .count();
        assert_eq!((lines.len(), beside.as_str()), (right, ""));
        let found = place.json(&["user", "list", "--search", "zo", "--unit", "Sales"]);
        assert_eq!(usernames(&found), ["zora"]);
        let (lines, beside) = told(&place, &["user", "list", "--search", "100%"]);
        assert!(lines.is_empty() && beside == "no user\n", "{beside}");

        place.done(&["group", "create", "Night staff"]);
        place.done(&["group", "create", "Board"]);
        let (lines, _) = told(&place, &["group", "list", "--search", "STAFF"]);
        assert!(lines.len() == 2 && lines[0].ends_with("Night staff"), "{lines:?}");
        let (lines, _) = told(&place, &["unit", "list", "--search", "opt"]);
        assert!(
            lines.len() == 1 && lines[0].ends_with("  /Engineering/Optics"),
            "{lines:?}"
        );
        let (lines, _) = told(&place, &["unit", "list", "Engineering"]);
        assert!(
            lines.len() == 1 && lines[0].ends_with("  /Engineering/Optics"),
            "{lines:?}"
        );
        let (lines, beside) = told(&place, &["unit", "list", "Sales", "--search", "opt"]);
        assert!(
            lines.is_empty() && beside.contains("no organizational unit"),
            "{beside}"
        );
    }
}

#[test]
fn who_was_deleted_is_found_by_name_and_named() {
    for database in databases("cli_gone") {
        let place = Place::new(&database.url);
        place.done(&["app", "create", "Wiki", "--url", "https://wiki.invalid/x"]);
        place.done(&["group", "create", "Staff"]);
        let create = |name: &str| {
            let made = place.json(&["user", "create", name, "--display-name", name]);
            made["id"].as_str().unwrap().to_owned()
        };
        let first = create("ada");
        create("grace");
        place.done(&["group", "add", "Staff", "ada", "grace"]);
        place.done(&["user", "delete", "ada"]);

        let page = place.done(&["why", "ADA", "Wiki"]);
        assert!(page.contains(&format!("ada ({first}), deleted")), "{page}");
        let (lines, _) = told(&place, &["log", "--subject", "ada"]);
        assert!(
            lines.iter().all(|line| line.contains(&format!("{first} (ada)"))),
            "{lines:?}"
        );
        let (lines, _) = told(&place, &["log", "--kind", "group:add_user"]);
        assert!(lines[0].contains("(Staff): ada, grace"), "{lines:?}");

        // Another one of that name, and somebody who had it once.
        let second = create("ada");
        place.done(&["user", "delete", "ada"]);
        let third = create("countess");
        place.done(&["user", "update", "countess", "--username", "ada"]);
        place.done(&["user", "update", "ada", "--username", "lady"]);
        for command in [&["why", "ada", "Wiki"] as &[&str], &["log", "--subject", "ada"]] {
            let (code, refused) = place.run(command);
            assert_eq!(code, 1);
            for (id, what) in [
                (&first, "ada  deleted"),
                (&second, "ada  deleted"),
                (&third, "lady  in the directory"),
            ] {
                assert!(refused.contains(&format!("\n  {id}  {what}")), "{refused}");
            }
        }
        let (code, refused) = place.run(&["why", "nobody", "Wiki"]);
        assert!(
            code == 1 && refused.contains("newest 200000 changes"),
            "{refused}"
        );
    }
}
