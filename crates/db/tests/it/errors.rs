//! What a caller is told of an error, so that it can act on it.

use rollcall_db::ErrorClass;
use rollcall_db::testing::{postgres, sqlite};

use super::*;

#[tokio::test]
async fn values_that_the_database_refuses_are_told_from_mistakes() {
    for database in databases("refused") {
        let db = open(&database);
        let answer = db
            .write(|tx| {
                tx.execute(
                    "INSERT INTO entries (n, who) VALUES (1, $1)",
                    params![None::<String>],
                )
            })
            .await;
        let Err(error @ DbError::Refused { .. }) = answer else {
            panic!("{answer:?}")
        };
        assert_eq!(error.class(), ErrorClass::Refused);
        let codes = ["23502", "1299"];
        assert!(codes.contains(&error.code().unwrap()), "{error}");

        let answer = db
            .write(|tx| tx.execute("UPDATE entries SET missing = 1", params![]))
            .await;
        let error = answer.unwrap_err();
        assert_eq!(error.class(), ErrorClass::Bug);
        assert!(["42703", "1"].contains(&error.code().unwrap()), "{error}");
        db.close().await;
    }
}

#[tokio::test]
async fn a_text_that_postgres_cannot_store_is_refused_and_the_next_one_is_not() {
    let Some(database) = postgres("nul") else { return };
    let db = open(&database);
    let insert = async |who: String| {
        db.write(move |tx| {
            count(tx, &who)?;
            Ok::<_, DbError>(())
        })
        .await
    };
    let error = insert("a\0b".to_owned()).await.unwrap_err();
    assert_eq!(
        (error.class(), error.code()),
        (ErrorClass::Refused, Some("22021"))
    );
    // An index holds no more than a third of a page.
    let long: String = (0..40_000_u32)
        .filter_map(|n| char::from_u32(0x4e00 + n * 7_919 % 20_000))
        .collect();
    let error = insert(long).await.unwrap_err();
    assert_eq!(
        (error.class(), error.code()),
        (ErrorClass::Refused, Some("54000"))
    );
    insert("good".to_owned()).await.unwrap();
}

#[tokio::test]
async fn a_refused_statement_that_nobody_waited_for_fails_its_own_closure_only() {
    for database in databases("later") {
        let db = open(&database);
        let held = hold_the_writer(&db);
        let calls: Vec<_> = (0..4_i64)
            .map(|i| {
                db.write(move |tx| {
                    let who = (i != 1).then_some("a");
                    tx.execute_later("INSERT INTO entries (n, who) VALUES ($1, $2)", params![i, who])
                })
            })
            .collect();
        drop(held);
        for (i, call) in calls.into_iter().enumerate() {
            let answer = call.await;
            match answer {
                Err(DbError::Refused { .. }) => assert_eq!(i, 1),
                answer => assert_eq!((i == 1, answer), (false, Ok(()))),
            }
        }
        assert_eq!(db.read(logged).await.unwrap(), [0, 2, 3]);
    }
}

#[tokio::test]
async fn a_full_file_is_full_and_reading_goes_on() {
    let database = sqlite();
    let db = open(&database);
    db.write(|tx| count(tx, "a")).await.unwrap();
    // The pragma is the connection's, which is the writer's.
    db.write(|tx| {
        let pages = tx.query_one("PRAGMA page_count", params![])?.get::<i64>(0)?;
        tx.query(&format!("PRAGMA max_page_count = {pages}"), params![])
            .map(drop)
    })
    .await
    .unwrap();
    let big = "x".repeat(1_000_000);
    let error = db.write(move |tx| count(tx, &big)).await.unwrap_err();
    assert_eq!((error.class(), error.code()), (ErrorClass::Full, Some("13")));
    assert_eq!(db.trouble().map(|it| it.class()), Some(ErrorClass::Full));
    assert_eq!(db.read(logged).await.unwrap(), [1]);
    db.write(|tx| {
        tx.query("PRAGMA max_page_count = 1000000", params![])?;
        count(tx, "b")
    })
    .await
    .unwrap();
    assert_eq!(db.trouble(), None);
}

#[tokio::test]
async fn corrupt_pages_are_damage() {
    let database = sqlite();
    let path = database.url.strip_prefix("sqlite:").unwrap().to_owned();
    let db = open(&database);
    let big = "x".repeat(1_000_000);
    db.write(move |tx| count(tx, &big)).await.unwrap();
    db.close().await;
    let mut bytes = std::fs::read(&path).unwrap();
    for byte in &mut bytes[4_096..] {
        *byte = 0xff;
    }
    std::fs::write(&path, bytes).unwrap();
    let answer = Db::open(&database.url, migrations(), Options::default());
    let error = match answer {
        Err(error) => error,
        Ok(db) => db.read(logged).await.unwrap_err(),
    };
    assert_eq!(
        (error.class(), error.code()),
        (ErrorClass::Damaged, Some("11")),
        "{error}"
    );
}
