//! Files as people have them: spreadsheets in every dialect, other owners' lines, bases that are not there.

use rollcall::directory::query;
use rollcall::import::{DeletionLimit, Delimiter, Dn, Format, ImportError, Options, import};

use rustix::process::{Pid, Signal, kill_process};

use crate::cli_delivery::{Beside, ended};
use crate::import::{counts, lines, on_each};
use crate::import_again::run_twice;
use crate::plain::until;
use crate::world::{on_both, open_hub};

#[test]
fn a_spreadsheet_is_read_in_its_dialect() {
    on_each("import_dialect", |place| async move {
        for (name, text) in [
            (
                "semicolon.csv",
                "username;display_name;path;status\r\n\r\nada;\"Ada; L\";A;Yes\r\nbob;B,ob;A;0\r\n",
            ),
            (
                "tab.csv",
                "\u{feff}username\tdisplay_name\tpath\tstatus\nada\tAda; L\tA\tactive\nbob\tB,ob\tA\tno",
            ),
            (
                "comma.csv",
                "username,display_name,path,status\nada,Ada; L,A,1\nbob,\"B,ob\",A,FALSE\n",
            ),
        ] {
            let report = place.import(name, text).await;
            assert_eq!(
                (report.errors_total, report.users.unchanged + report.users.created),
                (0, 2),
                "{name}"
            );
            let bob = place.user("bob").await.unwrap();
            assert_eq!(
                (bob.display_name.as_str(), bob.enabled),
                ("B,ob", false),
                "{name}"
            );
            assert_eq!(place.user("ada").await.unwrap().display_name, "Ada; L", "{name}");
        }
        // Lines are counted right whatever ends them, and empty ones and those inside of quotes are lines too.
        let text = "username;display_name;path\r\n\r\n\r\nc;\"two\r\nlines\";A\r\nbad name;X;A\r\n;;\r\n";
        let report = place.import("lines.csv", text).await;
        assert_eq!(lines(&report.errors), [6, 7]);
        assert_eq!(place.user("c").await.unwrap().display_name, "two\nlines");
        // The header decides, unless somebody says better.
        let text = "username,display_name;path\nx,y;z\n";
        let options = Options {
            delimiter: Some(Delimiter::Semicolon),
            ..Options::of(place.file("x.csv", text), Format::Csv)
        };
        let error = import(&place.hub, &options, |_, _| {}).await.unwrap_err();
        assert!(
            error.is_wrong_use() && error.to_string().contains("semicolons"),
            "{error}"
        );
    });
}

#[test]
fn other_encodings_are_refused_with_what_to_do() {
    on_each("import_encoding", |place| async move {
        let utf16: Vec<u8> = "username,display_name,path\n"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        for (bytes, hint) in [
            ([b"\xff\xfe".as_slice(), &utf16].concat(), "UTF-16"),
            (utf16.clone(), "UTF-16"),
            (
                b"username,display_name,path\nada,Ada,A\nbj,Bj\xf6rn,A\n".to_vec(),
                "line 3",
            ),
        ] {
            let file = place.folder.path().join("x.csv");
            std::fs::write(&file, bytes).unwrap();
            let error = import(&place.hub, &Options::of(file, Format::Csv), |_, _| {})
                .await
                .unwrap_err();
            let text = error.to_string();
            assert!(
                error.is_wrong_use() && text.contains(hint) && text.contains("iconv"),
                "{text}"
            );
            assert_eq!(place.user("ada").await, None);
        }
    });
}

#[test]
fn equal_errors_are_counted_together() {
    on_each("import_equal", |place| async move {
        let mut text = "username,display_name,path,status\n".to_owned();
        for number in 0..500 {
            text.push_str(&format!("u{number},U,A,Aktiv\n"));
        }
        let report = place.import("x.csv", &text).await;
        assert_eq!((report.errors_total, report.errors.len()), (500, 1));
        let problem = &report.errors[0];
        assert_eq!((problem.count, problem.entries[0].line), (500, 2));
        assert!(
            problem.message.contains("\"Aktiv\"") && problem.entries.len() <= 20,
            "{problem:?}"
        );
        assert_eq!(problem.entries[1].subject, "u1");
        assert_eq!(problem.entries[1].message, None, "it is that of the first");
    });
}

#[test]
fn errors_that_differ_only_in_what_they_quote_are_of_one_kind() {
    on_each("import_kind", |place| async move {
        let file = |name: &str, extra: &str| {
            let mut text = "username,display_name,path,email\n".to_owned();
            for number in 0..300 {
                text.push_str(&format!("{name}{number},U,A,u{number}@one.example\n"));
            }
            text + extra
        };
        assert_eq!(place.import("first.csv", &file("a", "")).await.errors_total, 0);
        let report = place.import("second.csv", &file("b", "b7,U,A,\n")).await;
        assert_eq!((report.errors_total, report.errors.len()), (301, 2), "{report:?}");
        let taken = report.errors.iter().find(|problem| problem.count == 300).unwrap();
        assert!(taken.message.contains("is taken by the user \"a0\""), "{taken:?}");
        let second = taken.entries[1].message.as_ref().unwrap();
        assert!(
            second.contains("\"u1@one.example\"") && taken.entries[1].line == 3,
            "{second}"
        );
        let same = report.errors.iter().find(|problem| problem.count == 1).unwrap();
        assert_eq!(
            (same.message.as_str(), same.entries[0].line),
            ("line 9 has the same username", 302)
        );
    });
}

#[test]
fn what_is_optional_is_noted_and_what_is_required_is_refused() {
    on_each("import_optional", |place| async move {
        let header = "username,display_name,path,email,phone,description\n";
        place
            .import(
                "x.csv",
                &format!("{header}ada,Ada,A,ada@e,+49 170 1234567,fine\n"),
            )
            .await;
        let long = "x".repeat(300);
        let text = format!("{header}ada,Ada!,A,n/a,030 1234,{long}\nbob,Bob,A,bob,,\nc,,A,c@e,,\n");
        let options = Options::of(place.file("x.csv", &text), Format::Csv);
        let report = run_twice(&place, options).await;
        assert_eq!(
            (report.users, lines(&report.errors)),
            (counts(1, 1, 0, 0), vec![4])
        );
        assert_eq!(lines(&report.notes), [2, 2, 2, 3]);
        assert!(
            report.notes.iter().any(|note| note.count == 2),
            "{:?}",
            report.notes
        );
        let ada = place.user("ada").await.unwrap();
        assert_eq!(ada.email.as_deref(), Some("ada@e"), "what cannot be says nothing");
        assert_eq!(
            (ada.phone_number.as_deref(), ada.description.as_deref()),
            (Some("1701234567"), Some("fine"))
        );
    });
}

#[test]
fn a_line_means_only_what_belongs_to_its_owner() {
    on_each("import_owners", |place| async move {
        let line = |name: &str, kind: &str| {
            format!(
                "{{\"kind\":\"user\",\"username\":\"{name}\",\"displayName\":\"{name}\",\"path\":[],\
                 \"externalId\":\"7\",\"source\":{{\"sourceType\":\"{kind}\",\"sourceId\":\"x\"}}}}\n"
            )
        };
        assert!(place.import("x.jsonl", &line("ada", "hr")).await.is_complete());
        // The same number means somebody else to another owner, who does not own Ada either.
        let report = place
            .import("y.jsonl", &(line("bob", "ldap") + &line("ada", "crm")))
            .await;
        assert_eq!(
            (report.users, lines(&report.errors)),
            (counts(1, 0, 0, 0), vec![2])
        );
        let ada = place.user("ada").await.unwrap();
        assert_eq!(ada.source.to_string(), "hr:x");
        assert!(
            report.errors[0].message.contains("--adopt"),
            "{:?}",
            report.errors
        );
    });
}

#[test]
fn a_base_that_is_not_there_is_an_error_that_names_those_that_are() {
    on_each("import_base", |place| async move {
        let options = |base: &str| Options {
            base: Some(Dn::parse(base).unwrap()),
            owner: Some("ldap:x".parse().unwrap()),
            delete_missing: Some(DeletionLimit::Percent(100)),
            ..Options::of(
                place.file("ipa.ldif", include_str!("data/freeipa.ldif")),
                Format::Ldif,
            )
        };
        let error = import(&place.hub, &options("dc=exmaple"), |_, _| {})
            .await
            .unwrap_err();
        assert!(error.is_wrong_use());
        match &error {
            ImportError::Base { base, found } => {
                assert_eq!(base, "dc=exmaple");
                assert_eq!(found.len(), 3, "{found:?}");
            }
            error => panic!("{error}"),
        }
        assert!(
            error.to_string().contains("dc=ipa,dc=test (4 entries)"),
            "{error}"
        );
        let report = run_twice(&place, options("cn=accounts,dc=ipa,dc=test")).await;
        assert_eq!((report.users.created, lines(&report.errors)), (2, vec![38]));
        assert_eq!(place.path_of("anna").await, "users");
    });
}

#[test]
fn names_that_differ_only_in_how_they_are_written_are_one() {
    on_each("import_spelling", |place| async move {
        let text = "dn: ou=V\u{fd}voj,dc=e\nobjectClass: organizationalUnit\nou: V\u{fd}voj\n\n\
                    dn: uid=a,OU=V\u{dd}VOJ, DC=e\nobjectClass: person\nuid: a\ncn: A\n\n\
                    dn: cn=G,dc=e\nobjectClass: groupOfNames\ncn: G\nmember: uid=A , ou=v\u{fd}voj,dc=E\n";
        let report = run_twice(&place, Options::of(place.file("x.ldif", text), Format::Ldif)).await;
        assert_eq!(report.organizational_units.created, 1, "{report:?}");
        assert_eq!(place.members("G").await, ["a"]);
    });
}

#[test]
fn an_import_that_is_stopped_leaves_whole_portions() {
    on_each("import_stopped", |place| async move {
        let mut text = "username,display_name,path,groups\n".to_owned();
        for number in 0..50 {
            text.push_str(&format!("u{number},U,A,G\n"));
        }
        let options = Options {
            portion: 10,
            ..Options::of(place.file("x.csv", &text), Format::Csv)
        };
        let stop = std::sync::Arc::clone(&options.stop);
        let report = import(&place.hub, &options, |what, done| {
            if what == "users" && done == 20 {
                stop.store(true, std::sync::atomic::Ordering::Relaxed);
            }
        })
        .await
        .unwrap();
        assert!(report.interrupted && !report.is_complete());
        assert_eq!((report.users.created, report.members_added), (20, 20));
        let users = place.hub.db.read(query::counts).await.unwrap().0;
        assert_eq!(users, 20);
        let rest = place.run(&Options::of(options.file, Format::Csv)).await;
        assert_eq!(rest.users, counts(30, 0, 20, 0));
        assert_eq!(place.members("G").await.len(), 50);
    });
}

#[test]
fn an_import_that_is_asked_to_stop_says_what_is_done_and_goes_on_when_it_is_repeated() {
    const PEOPLE: i64 = 20_000;
    on_both("import_signal", |database, _| async move {
        let hub = open_hub(&database).await;
        let beside = Beside::new(&database);
        let folder = tempfile::tempdir().unwrap();
        let mut text = "username,display_name,path\n".to_owned();
        for number in 0..PEOPLE {
            text.push_str(&format!("u{number},U,A\n"));
        }
        let file = folder.path().join("x.csv");
        std::fs::write(&file, text).unwrap();
        let import = ["import", file.to_str().unwrap()];
        let there = async || hub.db.read(query::counts).await.unwrap().0;
        let mut done = 0;
        for signal in [Signal::INT, Signal::TERM] {
            let child = beside.start(&import);
            until("a portion of this run is there", async || there().await > done).await;
            kill_process(Pid::from_child(&child), signal).unwrap();
            let (code, said) = ended(child).await;
            assert_eq!(code, 3, "{said}");
            assert!(
                said.contains("STOPPED before its end") && said.contains("goes on from here"),
                "{said}"
            );
            // What it says is what it has done.
            let row = said.lines().find(|line| line.starts_with("users")).unwrap();
            let created: i64 = row.split_whitespace().nth(1).unwrap().parse().unwrap();
            assert_eq!(created, there().await - done, "{said}");
            done = there().await;
            assert!(done < PEOPLE, "{said}");
        }
        let (code, rest) = beside.json(&import).await;
        let users = |what: &str| rest["users"][what].as_i64().unwrap();
        assert_eq!(code, 0, "{rest}");
        assert_eq!((users("created"), users("unchanged")), (PEOPLE - done, done));
        assert_eq!(there().await, PEOPLE);
    });
}
