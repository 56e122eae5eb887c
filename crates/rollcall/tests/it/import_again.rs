//! Importing again changes nothing, and a dry run says what the run does: whatever the file, and whatever is there.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use rollcall::directory::Source;
use rollcall::import::{Counts, DeletionLimit, Format, ImportReport, Options};
use rollcall_db::testing::{TestDatabase, databases};
use serde_json::{Value, json};

use crate::import::{Place, as_done, counts, lines, on_each};
use crate::world::open_hub;

const OWNER: &str = "hr:main";

/// A file, how it is imported, and how much of it at once.
#[derive(Clone, Debug)]
struct Case {
    text: String,
    format: Format,
    owner: bool,
    adopt: bool,
    deletions: Option<DeletionLimit>,
    portion: usize,
}

impl Case {
    fn options(&self, place: &Place) -> Options {
        let name = match self.format {
            Format::Csv => "x.csv",
            Format::Ldif => "x.ldif",
            Format::Jsonl => "x.jsonl",
        };
        Options {
            owner: self.owner.then(|| OWNER.parse::<Source>().unwrap()),
            adopt: self.adopt,
            delete_missing: self.deletions.filter(|_| self.owner),
            portion: self.portion,
            ..Options::of(place.file(name, &self.text), self.format)
        }
    }
}

fn pick(values: &'static [&'static str]) -> impl Strategy<Value = &'static str> + Clone {
    proptest::sample::select(values)
}

/// Few values, so that entries meet each other and what is there.
const NAMES: &[&str] = &["a", "b", "B", "c", "d", "e"];
const PATHS: &[&str] = &["", "A", "B", "A/B", "B/A", "a/C", "C/A/B"];
const GROUPS: &[&str] = &["G", "g", "H", "I"];
const IDS: &[&str] = &["", "1", "2", "3", "4"];
const MAILS: &[&str] = &["", "x@e", "X@e", "y@e", "z@e", "none"];
const SOURCES: &[&str] = &["", "", "", OWNER, "ldap:x"];

fn said(object: &mut Value, field: &str, text: &str) {
    if !text.is_empty() {
        object[field] = json!(text);
    }
}

fn sourced(mut object: Value, id: &str, source: &str) -> Value {
    said(&mut object, "externalId", id);
    if let Some((kind, id)) = source.split_once(':') {
        object["source"] = json!({ "sourceType": kind, "sourceId": id });
    }
    object
}

fn split(path: &str) -> Vec<&str> {
    path.split('/').filter(|name| !name.is_empty()).collect()
}

fn json_line() -> impl Strategy<Value = String> {
    let user = (
        (pick(NAMES), pick(PATHS), pick(PATHS), pick(IDS), pick(MAILS)),
        (pick(SOURCES), proptest::collection::vec(pick(GROUPS), 0..2)),
        (any::<Option<bool>>(), proptest::option::of(0_i64..4_000_000_000_000)),
    )
        .prop_map(|((name, path, further, id, mail), (source, groups), (enabled, expires))| {
            let mut user = json!({
                "kind": "user", "username": name, "displayName": mail.to_owned() + name, "path": split(path),
                "groups": groups,
            });
            said(&mut user, "email", mail);
            if !further.is_empty() {
                user["furtherPaths"] = json!([split(further)]);
            }
            if let Some(enabled) = enabled {
                user["enabled"] = json!(enabled);
            }
            if let Some(time) = expires {
                user["accountExpireTime"] = json!(time);
            }
            sourced(user, id, source)
        });
    let unit = (pick(PATHS), pick(IDS), pick(SOURCES)).prop_map(|(path, id, source)| {
        sourced(
            json!({ "kind": "organizational_unit", "path": split(path) }),
            id,
            source,
        )
    });
    let group = (
        pick(GROUPS),
        pick(IDS),
        pick(SOURCES),
        proptest::collection::vec(pick(NAMES), 0..4),
    )
        .prop_map(|(name, id, source, members)| {
            sourced(
                json!({ "kind": "group", "name": name, "members": members }),
                id,
                source,
            )
        });
    prop_oneof![4 => user, 2 => unit, 2 => group].prop_map(|value| value.to_string() + "\n")
}

fn csv_line() -> impl Strategy<Value = String> {
    let cells = (
        pick(NAMES),
        pick(PATHS),
        pick(IDS),
        pick(MAILS),
        pick(GROUPS),
        pick(&["", "yes", "0"]),
    );
    cells.prop_map(|(name, path, id, mail, group, status)| {
        format!("{name};{name} {mail};{path};{id};{mail};{group};{status}\r\n")
    })
}

const CSV_HEADER: &str = "username;display_name;path;external_id;email;groups;status\r\n";

fn ldif_record() -> impl Strategy<Value = String> {
    const UNITS: &[&str] = &["", "ou=A,", "ou=a,", "ou=B,ou=A,", "cn=A,", "o=A,"];
    const BASES: &[&str] = &["dc=e", "dc=e", "dc=e", "o=k,dc=e"];
    const UUIDS: &[&str] = &[
        "",
        "entryUUID: 00000000-0000-4000-8000-000000000001\n",
        "entryUUID: 00000000-0000-4000-8000-000000000002\n",
        "entryUUID: 00000000-0000-4000-8000-000000000003\n",
    ];
    let at = (pick(UNITS), pick(BASES), pick(UUIDS));
    let user = (at.clone(), pick(NAMES), pick(MAILS)).prop_map(|((unit, base, uuid), name, mail)| {
        let mail = if mail.is_empty() {
            String::new()
        } else {
            format!("mail: {mail}\n")
        };
        format!("dn: uid={name},{unit}{base}\nobjectClass: person\nuid: {name}\ncn: {name}\n{mail}{uuid}\n")
    });
    let unit = (at.clone(), pick(&["A", "B", "C"])).prop_map(|((unit, base, uuid), name)| {
        format!("dn: ou={name},{unit}{base}\nobjectClass: organizationalUnit\nou: {name}\n{uuid}\n")
    });
    let member = (at.clone(), pick(NAMES))
        .prop_map(|((unit, base, _), name)| format!("member: uid={name},{unit}{base}\n"));
    let members = proptest::collection::vec(member, 0..4);
    let group = (at, pick(GROUPS), members).prop_map(|((unit, base, uuid), name, members)| {
        let members = members.concat();
        format!("dn: cn={name},{unit}{base}\nobjectClass: groupOfNames\ncn: {name}\n{members}{uuid}\n")
    });
    prop_oneof![4 => user, 2 => unit, 2 => group]
}

fn case() -> impl Strategy<Value = Case> {
    let text = |lines: Vec<String>| lines.concat();
    let file = prop_oneof![
        3 => proptest::collection::vec(json_line(), 0..14).prop_map(move |lines| (Format::Jsonl, text(lines))),
        2 => proptest::collection::vec(csv_line(), 0..10)
            .prop_map(|lines| (Format::Csv, CSV_HEADER.to_owned() + &lines.concat())),
        3 => proptest::collection::vec(ldif_record(), 0..14).prop_map(|lines| (Format::Ldif, lines.concat())),
    ];
    let deletions = prop_oneof![
        Just(None),
        Just(Some(DeletionLimit::Count(100))),
        Just(Some(DeletionLimit::Percent(40)))
    ];
    (file, any::<bool>(), any::<bool>(), deletions, 1_usize..4).prop_map(
        |((format, text), owner, adopt, deletions, portion)| Case {
            text,
            format,
            owner,
            adopt,
            deletions,
            portion,
        },
    )
}

fn changes_nothing(report: &ImportReport) -> bool {
    let still = |counts: Counts| counts.created + counts.updated + counts.deleted == 0;
    still(report.users)
        && still(report.groups)
        && still(report.organizational_units)
        && report.members_added + report.members_removed == 0
}

async fn holds(place: &Place, cases: &[Case]) -> Result<(), TestCaseError> {
    for case in cases {
        let options = case.options(place);
        let dry = Options {
            dry_run: true,
            ..options.clone()
        };
        let before = place.head().await;
        let planned = place.run(&dry).await;
        prop_assert_eq!(place.head().await, before, "a dry run changes something");
        let done = place.run(&options).await;
        prop_assert_eq!(as_done(planned), done);
        let head = place.head().await;
        let again = place.run(&options).await;
        prop_assert!(changes_nothing(&again), "the second import says {:?}", again);
        prop_assert_eq!(place.head().await, head, "the second import changes something");
    }
    Ok(())
}

fn on_random_files(database: impl Fn() -> Option<TestDatabase>, cases: u32) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut runner = TestRunner::new(Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    });
    // The first files make the directory that the last one meets.
    let files = proptest::collection::vec(case(), 1..4);
    let tested = runner.run(&files, |files| {
        let Some(database) = database() else { return Ok(()) };
        runtime.block_on(async {
            let place = Place {
                hub: open_hub(&database.url).await,
                folder: tempfile::tempdir().unwrap(),
            };
            let held = holds(&place, &files).await;
            place.hub.db.close().await;
            held
        })
    });
    if let Err(error) = tested {
        panic!("{error}");
    }
}

#[test]
fn a_dry_run_says_what_the_run_does_and_a_second_one_changes_nothing() {
    // More of them, for a longer search: ROLLCALL_TEST_CASES.
    let cases = std::env::var("ROLLCALL_TEST_CASES")
        .ok()
        .and_then(|text| text.parse().ok());
    on_random_files(|| Some(rollcall_db::testing::sqlite()), cases.unwrap_or(60));
    on_random_files(|| rollcall_db::testing::postgres("import_again"), 6);
}

/// Imports text twice, with a dry run before, and returns the first report.
async fn twice(place: &Place, name: &str, text: &str) -> ImportReport {
    let file = place.file(name, text);
    let format = Format::of(&file).unwrap();
    run_twice(place, Options::of(file, format)).await
}

pub(crate) async fn run_twice(place: &Place, options: Options) -> ImportReport {
    let dry = Options {
        dry_run: true,
        ..options.clone()
    };
    let planned = place.run(&dry).await;
    let done = place.run(&options).await;
    assert_eq!(as_done(planned), done);
    let head = place.head().await;
    let again = place.run(&options).await;
    assert!(changes_nothing(&again), "{again:?}");
    assert_eq!(place.head().await, head);
    done
}

#[test]
fn groups_of_one_name_are_not_one_group() {
    on_each("import_one_name", |place| async move {
        let text = include_str!("data/groups-of-one-name.ldif");
        let report = twice(&place, "europe.ldif", text).await;
        assert_eq!((report.users.created, report.groups.created), (2, 1));
        assert_eq!(lines(&report.errors), [37]);
        assert!(
            report.errors[0].message.contains("line 32"),
            "{:?}",
            report.errors
        );
        assert_eq!(place.members("Managers").await, ["abel"]);
        // The address and the number cannot be; the user is imported without them.
        assert_eq!(lines(&report.notes), [17, 17]);
        let abel = place.user("abel").await.unwrap();
        assert_eq!((abel.email, abel.phone_number), (None, None));
    });
}

#[test]
fn freeipa_is_imported_twice_without_a_difference() {
    on_each("import_freeipa", |place| async move {
        let report = twice(&place, "ipa.ldif", include_str!("data/freeipa.ldif")).await;
        assert_eq!(report.users.created, 3, "{report:?}");
        // The second admin and the second group of editors.
        assert_eq!(lines(&report.errors), [38, 54]);
        assert_eq!(place.path_of("anna").await, "test/ipa/accounts/users");
        assert_eq!(place.path_of("pkidbuser").await, "ipaca/kra/people");
        assert!(!place.user("anna").await.unwrap().enabled);
        assert_eq!(place.members("editors").await, ["admin", "anna"]);
        assert!(
            report.notes[0].message.contains("o=ipaca (2 entries)"),
            "{:?}",
            report.notes
        );
    });
}

#[test]
fn an_import_takes_from_one_what_it_gives_to_another_whatever_their_order() {
    on_each("import_order", |place| async move {
        let header = "username,display_name,path,external_id,email\n";
        let options = |text: String| Options {
            owner: Some(OWNER.parse().unwrap()),
            delete_missing: Some(DeletionLimit::Count(10)),
            ..Options::of(place.file("x.csv", &text), Format::Csv)
        };
        let first = format!("{header}ann,Ann,A,1,ann@e\nbob,Bob,A,2,bob@e\ncyd,Cyd,A,3,cyd@e\n");
        run_twice(&place, options(first)).await;
        // A new Ann gets the name of the old one, who is called Anna now, who gets the address of Bob, who is gone.
        let second = format!("{header}ann,New Ann,A,4,ann@e\nanna,Ann,A,1,bob@e\ncyd,Cyd,A,3,cyd@e\n");
        let report = run_twice(&place, options(second)).await;
        assert_eq!((report.users, report.errors_total), (counts(1, 1, 1, 1), 0));
        assert_eq!(
            place.user("anna").await.unwrap().external_id.as_deref(),
            Some("1")
        );
        assert_eq!(place.user("ann").await.unwrap().display_name, "New Ann");
        // What two want from each other, neither gets.
        let swapped = format!("{header}anna,A,A,4,ann@e\nann,B,A,1,bob@e\ncyd,Cyd,A,3,cyd@e\n");
        let report = run_twice(&place, options(swapped)).await;
        assert_eq!(
            (report.users, lines(&report.errors)),
            (counts(0, 0, 1, 0), vec![2, 3])
        );
    });
}

#[test]
fn units_are_moved_out_of_the_way_first() {
    on_each("import_units", |place| async move {
        let unit = |path: &[&str], id: &str| {
            json!({ "kind": "organizational_unit", "path": path, "externalId": id }).to_string() + "\n"
        };
        let before = [
            unit(&["A"], "1"),
            unit(&["A", "x"], "2"),
            unit(&["B"], "3"),
            unit(&["B", "y"], "4"),
        ];
        twice(&place, "units.jsonl", &before.concat()).await;
        // B becomes A, the old A goes below it as x, and what is called x there is called z.
        let after = [
            unit(&["A"], "3"),
            unit(&["A", "y"], "1"),
            unit(&["A", "y", "z"], "2"),
            unit(&["A", "w"], "4"),
        ];
        let report = twice(&place, "units.jsonl", &after.concat()).await;
        assert_eq!(
            (report.organizational_units, report.errors_total),
            (counts(0, 4, 0, 0), 0)
        );
    });
}

#[test]
fn a_unit_moves_past_those_that_have_its_old_and_its_new_name() {
    on_each("import_past", |place| async move {
        let unit = |path: &[&str], id: &str| {
            json!({ "kind": "organizational_unit", "path": path, "externalId": id }).to_string() + "\n"
        };
        let before = [unit(&["A"], "1"), unit(&["A", "C"], "2"), unit(&["C"], "3")];
        twice(&place, "units.jsonl", &before.concat()).await;
        // C goes below A, where there is a C, and is called A, as its neighbour so far.
        let after = [unit(&["A"], "1"), unit(&["A", "C"], "2"), unit(&["A", "A"], "3")];
        let report = twice(&place, "units.jsonl", &after.concat()).await;
        assert_eq!(
            (report.organizational_units, report.errors_total),
            (counts(0, 1, 2, 0), 0)
        );
    });
}

#[test]
fn an_ended_account_is_not_enabled_and_ended_in_turn() {
    for database in databases("import_ended") {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let place = Place {
                hub: open_hub(&database.url).await,
                folder: tempfile::tempdir().unwrap(),
            };
            let text = "username,display_name,path,status,expires\nold,Old,A,enabled,2001-01-01\n";
            twice(&place, "x.csv", text).await;
            let due = rollcall::directory::Command::ExpireDue;
            place
                .hub
                .apply(rollcall::access::Caller::system("test"), due)
                .await
                .unwrap();
            let report = twice(&place, "x.csv", text).await;
            assert_eq!(report.users, counts(0, 0, 1, 0));
            assert!(!place.user("old").await.unwrap().enabled);
        });
    }
}
