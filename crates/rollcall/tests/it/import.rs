//! Import and export, and the program as a newcomer meets it.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command as Process, Stdio};

use rollcall::access::Caller;
use rollcall::change;
use rollcall::directory::{Command, DirectoryError, Source, query};
use rollcall::export::export;
use rollcall::hub::Hub;
use rollcall::import::{
    Counts, DeletionLimit, Dn, Format, ImportError, ImportReport, Mapping, Options, Problem, import,
};
use rollcall_db::testing::databases;
use rustix::process::{Pid, Signal};

use crate::world::open_hub;

const COMPANY: &str = include_str!("../../assets/demo.csv");

/// What Active Directory and OpenLDAP write, with what is awkward about it.
const ACTIVE_DIRECTORY: &str = include_str!("data/active-directory.ldif");
const OPENLDAP: &str = include_str!("data/openldap.ldif");

pub(crate) struct Place {
    pub(crate) hub: Hub,
    pub(crate) folder: tempfile::TempDir,
}

impl Place {
    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let file = self.folder.path().join(name);
        std::fs::write(&file, text).unwrap();
        file
    }

    pub(crate) async fn import(&self, name: &str, text: &str) -> ImportReport {
        let file = self.file(name, text);
        let format = Format::of(&file).unwrap();
        self.run(&Options::of(file, format)).await
    }

    pub(crate) async fn run(&self, options: &Options) -> ImportReport {
        import(&self.hub, options, |_, _| {}).await.unwrap()
    }

    pub(crate) async fn fails(&self, text: &str, mapping: &[&str]) -> ImportError {
        let options = Options {
            mapping: Mapping::parse(mapping).unwrap(),
            ..Options::of(self.file("x.csv", text), Format::Csv)
        };
        import(&self.hub, &options, |_, _| {}).await.unwrap_err()
    }

    pub(crate) async fn head(&self) -> change::Seq {
        self.hub.db.read(change::head).await.unwrap().seq
    }

    pub(crate) async fn user(&self, name: &str) -> Option<rollcall::directory::User> {
        let name = name.to_owned();
        self.hub
            .db
            .read(move |tx| query::find_user(tx, &name))
            .await
            .unwrap()
    }

    pub(crate) async fn path_of(&self, name: &str) -> String {
        let id = self.user(name).await.unwrap().primary_unit_id();
        self.hub
            .db
            .read(move |tx| query::unit_path(tx, &id))
            .await
            .unwrap()
    }

    pub(crate) async fn members(&self, group: &str) -> Vec<String> {
        let group = group.to_owned();
        let members = self.hub.db.read(move |tx| {
            let group = query::find_group(tx, &group)?.expect("the group is there");
            Ok::<_, DirectoryError>(query::member_usernames(tx, &group.id)?)
        });
        members.await.unwrap().into_iter().map(|(_, name)| name).collect()
    }

    pub(crate) async fn export(&self, format: Format) -> String {
        let mut bytes = Vec::new();
        let base = Dn::parse("dc=example,dc=org").unwrap();
        export(&self.hub, format, &base, &mut bytes).await.unwrap();
        String::from_utf8(bytes).unwrap()
    }
}

pub(crate) fn on_each<F, T>(name: &str, test: F)
where
    F: Fn(Place) -> T,
    T: Future<Output = ()>,
{
    for database in databases(name) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let hub = open_hub(&database.url).await;
            let folder = tempfile::tempdir().unwrap();
            test(Place { hub, folder }).await;
        });
    }
}

/// The lines that problems are about, in order.
pub(crate) fn lines(problems: &[Problem]) -> Vec<u64> {
    let mut lines: Vec<u64> = problems
        .iter()
        .flat_map(|problem| problem.entries.iter().map(|entry| entry.line))
        .collect();
    lines.sort_unstable();
    lines
}

/// The report of a dry run as the run should give it.
pub(crate) fn as_done(planned: ImportReport) -> ImportReport {
    assert!(planned.dry_run);
    ImportReport {
        dry_run: false,
        ..planned
    }
}

pub(crate) fn counts(created: u64, updated: u64, unchanged: u64, deleted: u64) -> Counts {
    Counts {
        created,
        updated,
        unchanged,
        deleted,
    }
}

#[test]
fn a_file_is_imported_once_however_often() {
    on_each("import", |place| async move {
        let report = place.import("company.csv", COMPANY).await;
        assert_eq!(report.errors, []);
        assert_eq!(report.users, counts(1_005, 0, 0, 0));
        assert!(report.organizational_units.created > 50 && report.groups.created > 20);
        let head = place.head().await;
        let again = place.import("company.csv", COMPANY).await;
        assert_eq!(again.users, counts(0, 0, 1_005, 0));
        assert_eq!(place.head().await, head, "nothing was changed");
    });
}

#[test]
fn rows_are_refused_with_their_lines_and_the_rest_is_imported() {
    on_each("import_errors", |place| async move {
        let text = "\u{feff}path,username,display_name,email,status,groups\n\
                    Eng/Optics,ada,Ada,ada@example.org,enabled,Staff;Readers\n\
                    New/Unit,bad name,X,,,\n\
                    \"Eng\",bob,\"Bob\nthe second\",ada@example.org,,\n\
                    Eng,carl,Carl,,sleeping,\n\
                    Eng,dora,Dora,,disabled,Staff\n\
                    Eng,eve,Eve,,\n\
                    Eng,ADA,Ada again,,,\n";
        let report = place.import("people.csv", text).await;
        assert_eq!(
            (
                report.users.created,
                report.organizational_units.created,
                report.groups.created,
                report.members_added
            ),
            (2, 2, 2, 3)
        );
        assert_eq!(lines(&report.errors), [3, 4, 6, 8, 9]);
        assert_eq!(report.errors_total, 5);
        assert!(!report.is_complete());
        let unit = place.hub.db.read(|tx| query::find_unit(tx, "New")).await.unwrap();
        assert_eq!(unit, None, "a refused row leaves nothing behind");
        let dora = place.user("DORA").await.unwrap();
        assert!(!dora.enabled && dora.groups.len() == 1);
        match place.fails("username,colour\n", &[]).await {
            ImportError::UnknownColumn { name, .. } => assert_eq!(name, "colour"),
            error => panic!("{error}"),
        }
        match place.fails("username,path\n", &[]).await {
            ImportError::MissingColumn { name, .. } => assert_eq!(name, "display_name"),
            error => panic!("{error}"),
        }
    });
}

#[test]
fn other_columns_are_mapped_and_the_rest_is_passed_over() {
    on_each("import_mapping", |place| async move {
        let text = "Login,Name,OU,Mobile,Colour,Cost centre,Until\n\
                    ada,Ada,R\\/D/Optics,+49 170 1234567,blue,4711,2031-01-01\n";
        let options = Options {
            mapping: Mapping::parse(&[
                "username=Login",
                "display_name=Name",
                "path=OU",
                "phone=Mobile",
                "custom.costCentre=Cost centre",
                "expires=Until",
            ])
            .unwrap(),
            ..Options::of(place.file("hr.csv", text), Format::Csv)
        };
        assert_eq!(place.run(&options).await.errors, []);
        let ada = place.user("ada").await.unwrap();
        assert_eq!(
            (ada.phone_region.as_deref(), ada.phone_number.as_deref()),
            (Some("49"), Some("1701234567"))
        );
        assert_eq!(ada.custom_fields["costCentre"], "4711");
        assert_eq!(ada.account_expire_time, Some(1_924_992_000_000));
        assert_eq!(place.path_of("ada").await, "R\\/D/Optics");
        assert_eq!(place.run(&options).await.users, counts(0, 0, 1, 0));
        for wrong in ["colour=x", "username", "username=", "custom.=x"] {
            assert!(Mapping::parse(&[wrong]).is_err(), "{wrong}");
        }
    });
}

#[test]
fn an_owner_deletes_what_is_missing_and_nothing_else() {
    on_each("import_owner", |place| async move {
        let options = |text: &str, limit: &str| Options {
            owner: Some("hr:main".parse::<Source>().unwrap()),
            delete_missing: Some(limit.parse::<DeletionLimit>().unwrap()),
            ..Options::of(place.file("hr.csv", text), Format::Csv)
        };
        let header = "username,display_name,path,external_id,groups\n";
        place
            .import("hand.csv", &format!("{header}hand,By Hand,Sales,,\n"))
            .await;
        let first = format!("{header}ada,Ada,Eng,1,Staff\nbob,Bob,Eng/Optics,2,Staff\ncarl,Carl,Sales,3,\n");
        let report = place.run(&options(&first, "10%")).await;
        assert_eq!((report.users, report.errors_total), (counts(3, 0, 0, 0), 0));

        // Too many would go: nothing does. A renamed user is recognised by its external id.
        let second = format!("{header}ada2,Ada,Eng,1,\n");
        let report = place.run(&options(&second, "10%")).await;
        assert_eq!(report.users, counts(0, 1, 0, 0));
        let withheld = report.withheld.unwrap();
        assert_eq!(withheld.deletions, 4, "bob, carl, Staff and Eng/Optics");
        assert!(place.user("bob").await.is_some() && place.user("ada").await.is_none());

        let head = place.head().await;
        let dry = Options {
            dry_run: true,
            ..options(&second, "4")
        };
        let planned = place.run(&dry).await;
        assert_eq!((planned.users, planned.groups.deleted), (counts(0, 0, 1, 2), 1));
        assert!(
            planned.samples.contains(&"delete user bob".to_owned()),
            "{:?}",
            planned.samples
        );
        assert_eq!(place.head().await, head, "a dry run changes nothing");

        let report = place.run(&options(&second, "4")).await;
        assert_eq!((report.users, report.groups.deleted), (counts(0, 0, 1, 2), 1));
        assert_eq!(report.organizational_units.deleted, 1);
        assert_eq!(report.errors, []);
        assert!(place.user("bob").await.is_none());
        assert!(place.user("hand").await.is_some(), "it belongs to somebody else");

        // What belongs to others is left alone, unless it is adopted.
        let theirs = format!("{second}hand,Changed,Eng,9,\n");
        let report = place.run(&options(&theirs, "0")).await;
        assert_eq!((report.users, report.errors_total), (counts(0, 0, 1, 0), 1));
        assert!(
            report.errors[0].message.contains("--adopt"),
            "{:?}",
            report.errors
        );
        let adopting = Options {
            adopt: true,
            ..options(&theirs, "0")
        };
        assert_eq!(place.run(&adopting).await.users, counts(0, 1, 1, 0));
        let hand = place.user("hand").await.unwrap();
        assert_eq!(
            (hand.source.to_string().as_str(), hand.display_name.as_str()),
            ("hr:main", "Changed")
        );

        let ownerless = Options {
            owner: None,
            ..options(&first, "1")
        };
        let refused = import(&place.hub, &ownerless, |_, _| {}).await.unwrap_err();
        assert!(matches!(refused, ImportError::NoOwner));
    });
}

#[test]
fn a_dry_run_says_what_the_import_then_does() {
    on_each("import_dry", |place| async move {
        place
            .import(
                "company.csv",
                &COMPANY.lines().take(500).collect::<Vec<_>>().join("\n"),
            )
            .await;
        let changed = COMPANY.replace("Optics", "Photonics");
        let options = Options::of(place.file("company.csv", &changed), Format::Csv);
        let head = place.head().await;
        let planned = place
            .run(&Options {
                dry_run: true,
                ..options.clone()
            })
            .await;
        assert_eq!(place.head().await, head);
        assert!(
            planned
                .samples
                .iter()
                .any(|sample| sample.starts_with("create user"))
        );
        let done = place.run(&options).await;
        assert!(done.users.created > 400);
        assert_eq!(as_done(planned), done);
    });
}

#[test]
fn openldap_becomes_units_users_and_groups() {
    on_each("import_openldap", |place| async move {
        let report = place.import("openldap.ldif", OPENLDAP).await;
        assert_eq!(lines(&report.errors), [66, 72]);
        assert_eq!(report.users.created, 5, "{report:?}");
        assert_eq!(report.organizational_units.created, 5);
        assert_eq!(report.groups.created, 3);
        assert_eq!(report.passed_over, 2);
        assert_eq!(place.path_of("ada").await, "Engineering/Optics, Lasers + more");
        let ada = place.user("ada").await.unwrap();
        assert_eq!(ada.display_name, "Ada Lovelace née Byron");
        assert_eq!(
            ada.external_id.as_deref(),
            Some("0a1b2c3d-0001-4000-8000-000000000001")
        );
        assert_eq!(ada.units.len(), 2, "{:?}", ada.units);
        let jiri = place.user("jiri").await.unwrap();
        assert_eq!((jiri.email, jiri.enabled), (None, false));
        assert_eq!(place.path_of("jiri").await, "Vývoj");
        assert_eq!(
            place.path_of("no.uid").await,
            "Engineering",
            "the username comes from the mail"
        );
        assert_eq!(
            place.members("everyone").await,
            ["ada", "jiri", "no.uid"],
            "groups in groups count"
        );
        assert_eq!(place.members("builders").await, ["ada", "grace"]);
        assert_eq!(report.notes_total, 3, "{:?}", report.notes);
        let head = place.head().await;
        let again = place.import("openldap.ldif", OPENLDAP).await;
        assert_eq!(
            (again.users, again.groups),
            (counts(0, 0, 5, 0), counts(0, 0, 3, 0))
        );
        assert_eq!(place.head().await, head);
    });
}

#[test]
fn active_directory_becomes_units_users_and_groups() {
    on_each("import_ad", |place| async move {
        let options = Options {
            base: Some(Dn::parse("OU=Corp,DC=example,DC=com").unwrap()),
            owner: Some("ad:example".parse().unwrap()),
            ..Options::of(place.file("ad.ldif", ACTIVE_DIRECTORY), Format::Ldif)
        };
        let report = place.run(&options).await;
        assert_eq!(report.errors, []);
        assert_eq!((report.users.created, report.groups.created), (2, 1));
        assert_eq!(
            report.passed_over, 4,
            "the computer, the contact, the domain and what is outside the base"
        );
        let ann = place.user("ann").await.unwrap();
        assert_eq!(
            ann.external_id.as_deref(),
            Some("00112233-4455-6677-8899-aabbccddeeff")
        );
        assert!(ann.enabled && ann.account_expire_time.is_none());
        let bert = place.user("bert").await.unwrap();
        assert!(!bert.enabled);
        assert_eq!(bert.account_expire_time, Some(1_893_456_000_000));
        assert_eq!(place.path_of("ann").await, "Sales/EMEA");
        assert_eq!(place.members("Sales Staff").await, ["ann", "bert"]);

        // Renamed and moved over there: recognised by its objectGUID here.
        let moved = ACTIVE_DIRECTORY
            .replace("sAMAccountName: ann", "sAMAccountName: anna")
            .replace("CN=Ann Example,OU=EMEA,OU=Sales", "CN=Ann Example,OU=Sales");
        let id = ann.id;
        let options = Options {
            file: place.file("ad.ldif", &moved),
            delete_missing: Some(DeletionLimit::Count(0)),
            ..options
        };
        let report = place.run(&options).await;
        assert_eq!((report.users, report.withheld), (counts(0, 1, 1, 0), None));
        assert_eq!(place.user("anna").await.unwrap().id, id);
        assert_eq!(place.path_of("anna").await, "Sales");
    });
}

#[test]
fn what_is_exported_is_imported_without_a_difference() {
    on_each("export", |place| async move {
        place.import("company.csv", COMPANY).await;
        let awkward = "username,display_name,path,further_paths,email,description,groups,custom.a\n\
                       o.o,\"=Ö, \"\"x\"\"\",A\\/B;C/ü,Engineering,o@example.org,\"two\nlines\",G\\;1;G/2,1\n";
        assert_eq!(place.import("more.csv", awkward).await.errors, []);
        for command in [
            Command::DisableUser {
                id: place.user("o.o").await.unwrap().id,
            },
            Command::CreateGroup(rollcall::directory::NewGroup {
                name: "nobody".into(),
                ..Default::default()
            }),
        ] {
            place.hub.apply(Caller::system("test"), command).await.unwrap();
        }
        let head = place.head().await;
        for (format, name) in [
            (Format::Csv, "x.csv"),
            (Format::Ldif, "x.ldif"),
            (Format::Jsonl, "x.jsonl"),
        ] {
            let text = place.export(format).await;
            let report = place.import(name, &text).await;
            assert_eq!((&report.errors, &report.notes), (&vec![], &vec![]), "{name}");
            assert_eq!(report.users, counts(0, 0, 1_006, 0), "{name}");
            assert_eq!(place.head().await, head, "{name} makes a difference");
        }
        // JSON lines carry everything to another hub.
        let text = place.export(Format::Jsonl).await;
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("other.db").display());
        let other = Place {
            hub: open_hub(&url).await,
            folder,
        };
        assert_eq!(other.import("x.jsonl", &text).await.errors, []);
        let sorted = |text: &str| {
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            lines.sort_unstable();
            lines
        };
        assert!(
            sorted(&other.export(Format::Jsonl).await) == sorted(&text),
            "the other hub differs"
        );
    });
}

#[test]
fn the_format_is_told_from_the_name() {
    assert_eq!(Format::of(Path::new("a/B.LDIF")).unwrap(), Format::Ldif);
    assert!(matches!(
        Format::of(Path::new("people")),
        Err(ImportError::Format(_))
    ));
    for (text, limit) in [("5%", DeletionLimit::Percent(5)), ("7", DeletionLimit::Count(7))] {
        assert_eq!(text.parse(), Ok(limit));
        assert_eq!(limit.to_string(), text);
    }
    assert!("101%".parse::<DeletionLimit>().is_err() && "x".parse::<DeletionLimit>().is_err());
}

#[test]
fn the_demo_ends_with_equal_copies() {
    let output = Process::new(env!("CARGO_BIN_EXE_rollcall"))
        .args(["demo", "--once"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(text.contains("equal, field by field"), "{text}");
    let rate = text.split_whitespace().zip(text.split_whitespace().skip(1));
    let mut rates = rate.filter(|(_, unit)| unit.starts_with("events/s")).peekable();
    assert!(rates.peek().is_some(), "{text}");
    assert!(rates.all(|(rate, _)| !rate.contains('.')), "{text}");
}

#[test]
fn nobody_else_can_look_into_the_folder_of_the_demo() {
    let place = tempfile::tempdir().unwrap();
    let mut demo = Process::new(env!("CARGO_BIN_EXE_rollcall"))
        .args(["demo", "--port", "0"])
        .env("TMPDIR", place.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok);
    assert!(lines.any(|line| line.contains("Your turn")));
    let folders: Vec<_> = std::fs::read_dir(place.path()).unwrap().collect();
    assert_eq!(folders.len(), 1);
    let metadata = folders[0].as_ref().unwrap().metadata().unwrap();
    assert_eq!(metadata.permissions().mode() & 0o777, 0o700);
    rustix::process::kill_process(Pid::from_child(&demo), Signal::INT).unwrap();
    // A reader who goes before the end is another way to end the demo, which is no success.
    lines.for_each(drop);
    assert!(demo.wait().unwrap().success());
    assert_eq!(
        place.path().read_dir().unwrap().count(),
        0,
        "the folder is removed"
    );
}
