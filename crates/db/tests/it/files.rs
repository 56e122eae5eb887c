//! The file of a SQLite database.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use rollcall_db::testing::{Fault, Faults, sqlite};
use rollcall_db::{Create, Dialect, ErrorClass, Lane};

use super::*;

fn path(database: &TestDatabase) -> PathBuf {
    database.url.strip_prefix("sqlite:").unwrap().into()
}

fn only_existing() -> Options {
    Options {
        create: Create::Never,
        ..Options::default()
    }
}

fn mode(path: &std::path::Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn only_its_owner_can_read_it() {
    let database = sqlite();
    let path = path(&database);
    let db = open(&database);
    db.write(|tx| count(tx, "a")).await.unwrap();
    let folder = path.parent().unwrap();
    let mut files = 0;
    for file in fs::read_dir(folder).unwrap() {
        files += 1;
        let file = file.unwrap().path();
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
    assert_eq!(files, 3, "the database, its log and that one's index");
    db.close().await;
    // What an earlier version, or a copy, left open is closed.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let db = open(&database);
    assert_eq!(mode(&path), 0o600);
    db.close().await;
}

#[test]
fn a_missing_database_is_not_made_where_that_is_not_wanted() {
    for database in databases("never") {
        let answer = Db::open(&database.url, migrations(), only_existing());
        assert!(matches!(answer, Err(DbError::Missing(_))), "{answer:?}");
        let answer = Db::open(&database.url, migrations(), only_existing());
        assert!(matches!(answer, Err(DbError::Missing(_))), "{answer:?}");
        open(&database).close_blocking();
        let db = Db::open(&database.url, migrations(), only_existing()).unwrap();
        assert_eq!(db.write_blocking(|tx| count(tx, "a")), Ok(1));
        db.close_blocking();
    }
}

#[test]
fn a_file_that_is_empty_or_something_else_is_refused_and_left_alone() {
    let other = |path: &PathBuf| {
        let other = rusqlite::Connection::open(path).unwrap();
        other.execute_batch("CREATE TABLE songs (title TEXT)").unwrap();
    };
    type Make<'a> = &'a dyn Fn(&PathBuf);
    let cases: [(&str, Make<'_>); 3] = [
        ("is empty", &|path| fs::write(path, "").unwrap()),
        ("file is not a database", &|path| {
            fs::write(path, "listen = \"127.0.0.1:7420\"\n").unwrap();
        }),
        ("something else", &other),
    ];
    for (told, make) in cases {
        for create in [Create::IfMissing, Create::Never] {
            let database = sqlite();
            let path = path(&database);
            make(&path);
            let before = fs::read(&path).unwrap();
            let options = Options {
                create,
                ..Options::default()
            };
            let error = Db::open(&database.url, migrations(), options).unwrap_err();
            assert_eq!(error.class(), ErrorClass::Damaged, "{error}");
            assert!(error.to_string().contains(told), "{error}");
            assert_eq!(fs::read(&path).unwrap(), before);
        }
    }
}

#[test]
fn a_failed_first_migration_leaves_no_file() {
    use rollcall_db::refinery::{Migration, Runner};
    let database = sqlite();
    let broken = || Runner::new(&[Migration::unapplied("V1__initial", "CREATE TABLE").unwrap()]);
    let migrations = Migrations {
        sqlite: broken(),
        postgres: broken(),
    };
    assert!(Db::open(&database.url, migrations, Options::default()).is_err());
    let folder = path(&database).parent().unwrap().to_owned();
    assert_eq!(fs::read_dir(folder).unwrap().count(), 0);
    open(&database).close_blocking();
}

#[tokio::test]
async fn a_check_passes_while_all_is_well_and_leaves_nothing_behind() {
    for database in databases("check") {
        let db = open(&database);
        db.write(|tx| count(tx, "a")).await.unwrap();
        let groups = db.stats().groups;
        assert_eq!(db.check().await, Ok(()));
        let committed = db.stats().groups - groups;
        assert_eq!(committed, if database.dialect == Dialect::Sqlite { 1 } else { 2 });
        assert_eq!(db.verify().await, Ok(()));
        assert_eq!(db.read(logged).await.unwrap(), [1]);
        if database.dialect == Dialect::Sqlite {
            let folder = path(&database).parent().unwrap().to_owned();
            assert_eq!(fs::read_dir(folder).unwrap().count(), 3);
        }
        db.close().await;
    }
}

#[tokio::test]
async fn a_check_notices_a_file_that_was_removed_replaced_or_emptied() {
    let database = sqlite();
    let path = path(&database);
    let db = open(&database);
    assert_eq!(db.check().await, Ok(()));
    let copy = path.with_extension("copy");
    fs::copy(&path, &copy).unwrap();
    fs::remove_file(&path).unwrap();
    assert_eq!(db.check().await.unwrap_err().class(), ErrorClass::Damaged);
    fs::rename(&copy, &path).unwrap();
    let error = db.check().await.unwrap_err();
    assert!(error.to_string().contains("replaced"), "{error}");

    let database = sqlite();
    let db = open(&database);
    db.scrub().await.unwrap();
    fs::write(self::path(&database), "").unwrap();
    let error = db.check().await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Damaged);
    assert!(error.to_string().contains("empty"), "{error}");
}

#[tokio::test]
async fn a_check_says_what_the_writers_and_readers_meet() {
    for database in databases("check_faults") {
        let faults = Faults::default();
        let options = Options {
            faults: faults.clone(),
            unavailable_after: Duration::from_millis(50),
            ..Options::default()
        };
        let db = Db::open(&database.url, migrations(), options).unwrap();
        for (fault, class) in [
            (Fault::Full, ErrorClass::Full),
            (Fault::Damaged, ErrorClass::Damaged),
            (Fault::Busy, ErrorClass::Transient),
        ] {
            for lane in [Lane::Log, Lane::Settlement] {
                if lane == Lane::Settlement && database.dialect == Dialect::Sqlite {
                    continue;
                }
                faults.next(lane, [fault]);
                assert_eq!(db.check().await.unwrap_err().class(), class, "{lane:?}");
                assert_eq!(db.check().await, Ok(()));
            }
        }
        db.close().await;
    }
}

#[tokio::test]
async fn corrupt_pages_are_found_by_verifying_and_told_by_the_check_until_they_are_mended() {
    let database = sqlite();
    let path = path(&database);
    let db = open(&database);
    // Many leaf pages, all of which are in the file and not in the write-ahead log.
    db.write(|tx| {
        for n in 0..2_000_i64 {
            let who = "x".repeat(100);
            tx.execute("INSERT INTO entries (n, who) VALUES ($1, $2)", params![n, who])?;
        }
        Ok::<_, DbError>(())
    })
    .await
    .unwrap();
    db.scrub().await.unwrap();
    db.close().await;
    let whole = fs::read(&path).unwrap();
    let mut torn = whole.clone();
    torn[whole.len() / 2..].fill(0xff);
    fs::write(&path, &torn).unwrap();

    let db = open(&database);
    assert_eq!(db.check().await, Ok(()), "nobody has looked there yet");
    let error = db.read(logged).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Damaged, "{error}");
    assert_eq!(db.check().await.unwrap_err().class(), ErrorClass::Damaged);
    db.close().await;
    let db = open(&database);
    assert_eq!(db.verify().await.unwrap_err().class(), ErrorClass::Damaged);
    assert_eq!(db.check().await.unwrap_err().class(), ErrorClass::Damaged);
    db.close().await;

    fs::write(&path, &whole).unwrap();
    let db = open(&database);
    assert_eq!(db.verify().await, Ok(()));
    assert_eq!(db.check().await, Ok(()));
}

#[tokio::test]
async fn what_is_deleted_and_scrubbed_is_in_no_file() {
    for database in databases("scrub") {
        let db = open(&database);
        let secret = "Hedy Lamarr's telephone number";
        db.write(move |tx| count(tx, secret)).await.unwrap();
        db.write(|tx| {
            // Rows before and after it, so that a page with room for it stays.
            for _ in 0..50 {
                count(tx, "somebody")?;
            }
            Ok::<_, DbError>(())
        })
        .await
        .unwrap();
        db.scrub().await.unwrap();
        if database.dialect == rollcall_db::Dialect::Sqlite {
            assert!(found(&database, secret), "the search finds what is there");
        }
        db.write(move |tx| tx.execute("DELETE FROM entries WHERE who = $1", params![secret]))
            .await
            .unwrap();
        db.scrub().await.unwrap();
        if database.dialect == rollcall_db::Dialect::Sqlite {
            assert!(!found(&database, secret));
        }
        assert_eq!(db.write(|tx| count(tx, "a")).await, Ok(52));
        db.close().await;
    }
}

/// Some rows in a table of their own whose tree is balanced over and over, since their keys come in no order.
fn churn(tx: &mut Tx<'_>, rows: u64) -> Result<(), DbError> {
    tx.execute(
        "CREATE TABLE people (key TEXT PRIMARY KEY, name TEXT UNIQUE, told TEXT)",
        params![],
    )?;
    let mut random = 1_u64;
    let mut next = move || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        random >> 33
    };
    for number in 0..rows {
        let (key, name) = (format!("{:08x}", next()), format!("person{number}x"));
        let told = format!("{name} {}", "y".repeat(usize::try_from(next() % 900).unwrap()));
        tx.execute("INSERT INTO people VALUES ($1, $2, $3)", params![key, name, told])?;
    }
    Ok(())
}

#[tokio::test]
async fn what_was_copied_when_rows_moved_is_in_no_file_after_a_rebuild() {
    const ROWS: u64 = 600;
    for database in databases("rebuild") {
        let db = open(&database);
        db.write(|tx| churn(tx, ROWS)).await.unwrap();
        // Every other row goes.
        db.write(|tx| {
            (0..ROWS).step_by(2).try_for_each(|number| {
                let name = format!("person{number}x");
                tx.execute("DELETE FROM people WHERE name = $1", params![name])
                    .map(drop)
            })
        })
        .await
        .unwrap();
        let left = |of: &TestDatabase| {
            let gone = (0..ROWS).step_by(2).map(|number| format!("person{number}x"));
            gone.filter(|name| found(of, name)).count()
        };
        db.scrub().await.unwrap();
        let is_sqlite = database.dialect == rollcall_db::Dialect::Sqlite;
        if is_sqlite {
            assert!(left(&database) > 0, "without copies there is nothing to look for");
        }
        db.rebuild().await.unwrap();
        db.scrub().await.unwrap();
        if is_sqlite {
            assert_eq!(left(&database), 0);
            assert!(found(&database, "person1x"), "the search finds what is there");
        }
        db.close().await;
    }
}

fn found(database: &TestDatabase, text: &str) -> bool {
    fs::read_dir(path(database).parent().unwrap())
        .unwrap()
        .any(|file| {
            let bytes = fs::read(file.unwrap().path()).unwrap();
            bytes.windows(text.len()).any(|it| it == text.as_bytes())
        })
}
