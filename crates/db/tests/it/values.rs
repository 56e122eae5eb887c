//! What goes in comes out, and what does not fit is told.

use rollcall_db::ErrorClass;

use super::*;

#[tokio::test]
async fn values_come_back_as_they_went_in() {
    for database in databases("values") {
        let db = open(&database);
        db.write(|tx| {
            count(tx, "entry")?;
            tx.execute(
                "INSERT INTO names (id, name, entry, active, small, picture)
                 VALUES ($6, $1, $2, $3, $4, $5), ($7, NULL, NULL, NULL, NULL, NULL)",
                params!["it's $1", 1_i64, true, 7_i64, &b"\0\xff"[..], i64::MAX, i64::MIN],
            )
        })
        .await
        .unwrap();
        let sql = "SELECT id, name, entry, active, small, picture, '$1' FROM names ORDER BY id";
        let rows = db.read(move |tx| tx.query(sql, params![])).await.unwrap();
        assert_eq!(rows.len(), 2);
        let (empty, full) = (&rows[0], &rows[1]);
        assert_eq!(full.get::<i64>(0), Ok(i64::MAX));
        assert_eq!(full.get::<String>(1).as_deref(), Ok("it's $1"));
        assert_eq!(full.get::<Option<i64>>(2), Ok(Some(1)));
        assert_eq!(full.get::<bool>(3), Ok(true));
        assert_eq!(full.get::<i64>(4), Ok(7));
        assert_eq!(full.get::<Vec<u8>>(5).as_deref(), Ok(&b"\0\xff"[..]));
        assert_eq!(full.get::<String>(6).as_deref(), Ok("$1"));
        assert_eq!(empty.get::<i64>(0), Ok(i64::MIN));
        assert_eq!(empty.get::<Option<String>>(1), Ok(None));
        assert_eq!(empty.get::<Option<bool>>(3), Ok(None));
        assert!(empty.get::<String>(1).is_err());
        assert!(full.get::<i64>(1).is_err());
        assert!(full.get::<i64>(7).is_err());
    }
}

#[tokio::test]
async fn violations_are_typed() {
    for database in databases("violations") {
        let db = open(&database);
        let sql = "INSERT INTO names (id, name, strict_entry) VALUES ($1, $2, $3)";
        let insert = async |id: i64, name: &'static str, entry: Option<i64>| {
            db.write(move |tx| tx.execute(sql, params![id, name, entry]))
                .await
        };
        assert_eq!(insert(1, "a", None).await, Ok(1));
        let Err(DbError::Unique { constraint, message }) = insert(2, "a", None).await else {
            panic!()
        };
        assert_eq!(constraint.as_deref(), Some("names.name"));
        assert!(!message.is_empty());
        let Err(DbError::Unique { constraint, .. }) = insert(1, "b", None).await else {
            panic!()
        };
        assert_eq!(constraint.as_deref(), Some("names.id"));
        assert!(matches!(
            insert(3, "c", Some(9)).await,
            Err(DbError::ForeignKey(_))
        ));
        let wrong: Result<_, DbError> = db.write(|tx| tx.execute("INSERT INTO nowhere", params![])).await;
        assert!(matches!(wrong, Err(DbError::Statement { .. })), "{wrong:?}");
        let few: Result<_, DbError> = db.write(move |tx| tx.execute(sql, params![1_i64])).await;
        assert_eq!(few.unwrap_err().class(), ErrorClass::Bug);
        let none = db
            .read(|tx| tx.query_one("SELECT id FROM names WHERE id = 99", params![]))
            .await;
        assert!(matches!(none, Err(DbError::Other(_))));
    }
}

#[test]
fn a_url_that_is_neither_is_refused_without_being_repeated() {
    let error = Db::open("mysql://user:secret@host/db", migrations(), Options::default()).unwrap_err();
    assert!(!error.to_string().contains("secret"));
    assert!(Db::open("sqlite:/nowhere/at/all.db", migrations(), Options::default()).is_err());
}

#[test]
fn migrating_again_changes_nothing() {
    for database in databases("again") {
        let db = open(&database);
        db.write_blocking(|tx| count(tx, "a")).unwrap();
        db.close_blocking();
        let db = open(&database);
        assert_eq!(db.dialect(), database.dialect);
        assert_eq!(db.read_blocking(logged), Ok(vec![1]));
    }
}
