//! One row of a database that belongs to somebody else.

use rollcall_db::foreign::Foreign;
use rollcall_db::testing::databases;
use rollcall_db::{Db, params};

use crate::open;

fn fill(db: &Db) {
    db.write_blocking(|tx| {
        for id in [1_i64, 2] {
            let sql = "INSERT INTO names (id, name, active, small) VALUES ($1, $2, $3, $4)";
            tx.execute(
                sql,
                params![id, format!("Zo\u{eb} {id}").as_str(), true, None::<i64>],
            )?;
        }
        Ok::<_, rollcall_db::DbError>(())
    })
    .unwrap();
}

#[test]
fn a_row_is_told_with_the_names_of_its_columns() {
    for database in databases("foreign") {
        let db = open(&database);
        fill(&db);
        let foreign = Foreign::at(&database.url).unwrap();
        let query = "SELECT id, name AS display_name, small FROM names WHERE name = $1;";
        let mut found = foreign.row(query, "Zo\u{eb} 2").unwrap().unwrap();
        found.sort();
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(
            found,
            [
                ("display_name".to_owned(), text("Zo\u{eb} 2")),
                ("id".to_owned(), text("2")),
                ("small".to_owned(), None),
            ]
        );
        assert_eq!(foreign.row(query, "nobody").unwrap(), None);
        let several = foreign.row("SELECT id FROM names WHERE name <> $1", "nobody");
        assert!(several.unwrap_err().to_string().contains("several rows"));
        assert!(
            foreign
                .row("SELECT nonsense FROM names WHERE name = $1", "x")
                .is_err()
        );
        // It can only be looked at.
        for deed in [
            "DELETE FROM names WHERE name <> $1",
            "INSERT INTO names (id, name) VALUES (9, $1)",
        ] {
            assert!(foreign.row(deed, "nobody").is_err(), "{deed}");
        }
        let left = db.read_blocking(|tx| tx.query_one("SELECT count(*) FROM names", &[])?.get::<i64>(0));
        assert_eq!(left.unwrap(), 2);
        db.close_blocking();
    }
}

#[test]
fn no_file_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("missing.db");
    let foreign = Foreign::at(&format!("sqlite:{}", path.display())).unwrap();
    assert!(foreign.row("SELECT $1 AS id", "x").is_err());
    assert!(!path.exists());
    assert!(Foreign::at("mysql://x").is_err());
}
