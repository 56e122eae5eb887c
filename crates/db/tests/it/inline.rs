//! Closures on the caller's thread.

use super::*;

#[test]
fn closures_run_where_they_are_called() {
    for database in databases("inline") {
        let db = Db::open_inline(&database.url, migrations(), Options::default()).unwrap();
        let here = std::thread::current().id();
        let there = db
            .write_blocking(|tx| {
                count(tx, "a")?;
                tx.announce();
                Ok::<_, DbError>(std::thread::current().id())
            })
            .unwrap();
        assert_eq!(here, there);
        assert_eq!(*db.announcements().borrow(), 1);
        let written = db.read_blocking(|tx| count(tx, "reader"));
        assert!(matches!(written, Err(DbError::Statement { .. })), "{written:?}");
        let nested = db.clone();
        let nested = db.write_blocking(move |_| nested.read_blocking(logged));
        assert!(matches!(nested, Err(DbError::Other(_))), "{nested:?}");
        assert_eq!(db.write_blocking(|tx| count(tx, "b")), Ok(2));
        assert_eq!(db.read_blocking(logged), Ok(vec![1, 2]));
        let closed = db.clone();
        db.close_blocking();
        assert_eq!(closed.read_blocking(logged), Err(DbError::Closed));
    }
}

#[tokio::test]
async fn a_database_in_memory_is_inline() {
    let db = Db::open_inline("sqlite::memory:", migrations(), Options::default()).unwrap();
    assert_eq!(db.write(|tx| count(tx, "a")).await, Ok(1));
    assert_eq!(db.read(logged).await, Ok(vec![1]));
    assert!(Db::open("sqlite::memory:", migrations(), Options::default()).is_err());
}
