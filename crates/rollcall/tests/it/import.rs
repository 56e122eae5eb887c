//! The CSV import, and the program as a newcomer meets it.

use std::process::Command as Process;

use rollcall::change;
use rollcall::directory::query;
use rollcall::import::{ImportError, RowError, import_csv};
use rollcall_db::testing::databases;

use crate::world::open_hub;

const COMPANY: &str = include_str!("../../assets/demo.csv");

#[test]
fn a_file_is_imported_once_however_often() {
    for database in databases("import") {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let hub = open_hub(&database.url).await;
            let report = import_csv(&hub, "import:test", COMPANY.as_bytes(), |_| {})
                .await
                .unwrap();
            assert_eq!(report.errors, []);
            assert_eq!(report.created, 1_005);
            let head = hub.db.read(change::head).await.unwrap();
            let again = import_csv(&hub, "import:test", COMPANY.as_bytes(), |_| {})
                .await
                .unwrap();
            assert_eq!((again.created, again.updated, again.unchanged), (0, 0, 1_005));
            assert_eq!(
                hub.db.read(change::head).await.unwrap(),
                head,
                "nothing was changed"
            );
        });
    }
}

#[test]
fn rows_are_refused_with_their_lines_and_the_rest_is_imported() {
    for database in databases("import_errors") {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let hub = open_hub(&database.url).await;
            let text = "\u{feff}path,username,display_name,email,status,groups\n\
                        Eng/Optics,ada,Ada,ada@example.org,enabled,Staff;Readers\n\
                        New/Unit,bad name,X,,,\n\
                        \"Eng\",bob,\"Bob\nthe second\",ada@example.org,,\n\
                        Eng,carl,Carl,,sleeping,\n\
                        Eng,dora,Dora,,disabled,Staff\n";
            let report = import_csv(&hub, "import:test", text.as_bytes(), |_| {})
                .await
                .unwrap();
            assert_eq!(
                (report.created, report.units_created, report.groups_created),
                (2, 2, 2)
            );
            let lines: Vec<u64> = report.errors.iter().map(|RowError { line, .. }| *line).collect();
            assert_eq!(lines, [3, 4, 6]);
            let (unit, dora) = hub
                .db
                .read(|tx| {
                    let unit = query::find_unit(tx, "New")?;
                    Ok::<_, rollcall_db::DbError>((unit, query::find_user(tx, "DORA")?.unwrap()))
                })
                .await
                .unwrap();
            assert_eq!(unit, None, "a refused row leaves nothing behind");
            assert!(!dora.enabled && dora.groups.len() == 1);
            for (text, column) in [
                ("username,colour\n", "colour"),
                ("username,path\n", "display_name"),
            ] {
                match import_csv(&hub, "import:test", text.as_bytes(), |_| {})
                    .await
                    .unwrap_err()
                {
                    ImportError::UnknownColumn(name) => assert_eq!(name, column),
                    ImportError::MissingColumn(name) => assert_eq!(name, column),
                    error @ ImportError::Csv(_) => panic!("{error}"),
                }
            }
        });
    }
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
}
