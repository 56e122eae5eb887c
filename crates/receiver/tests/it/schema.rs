//! The tables are the same on both databases.

#[test]
fn both_folders_make_the_same_tables() {
    let plain = |text: &str| {
        // Only PostgreSQL has to be told to compare bytes.
        let text = text
            .split_once("\n-- Ids are compared byte by byte")
            .map_or(text, |(before, _)| before);
        text.replace(" COLLATE \"C\"", "")
            .replace("strpos(", "instr(")
            .replace(
                "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
                "INTEGER PRIMARY KEY AUTOINCREMENT",
            )
            .replace("BIGINT", "INTEGER")
            .replace("BOOLEAN", "INTEGER")
    };
    for (sqlite, postgres) in [
        (
            include_str!("../../migrations/sqlite/V1__initial.sql"),
            include_str!("../../migrations/postgres/V1__initial.sql"),
        ),
        (
            include_str!("../../migrations/sqlite/V2__second_edition.sql"),
            include_str!("../../migrations/postgres/V2__second_edition.sql"),
        ),
    ] {
        assert_eq!(plain(sqlite), plain(postgres));
    }
}

mod sqlite {
    refinery::embed_migrations!("migrations/sqlite");
}

mod postgres {
    refinery::embed_migrations!("migrations/postgres");
}

/// What the first edition of the tables knew is kept, but for the failures.
#[tokio::test]
async fn the_second_edition_keeps_what_the_first_knew() {
    use rollcall_db::{Db, DbError, Migrations, Options, params};
    use rollcall_receiver::{Handler, Inbox, InboxOptions};

    struct Nothing;
    impl Handler for Nothing {}

    for database in rollcall_db::testing::databases("editions") {
        let url = database.url.clone();
        let first = refinery::Target::Version(1);
        let migrations = Migrations {
            sqlite: sqlite::migrations::runner().set_target(first),
            postgres: postgres::migrations::runner().set_target(first),
        };
        let db = tokio::task::spawn_blocking(move || Db::open(&url, migrations, Options::default()))
            .await
            .unwrap()
            .unwrap();
        db.write(|tx| {
            for (id, verdict) in [("a", "success"), ("b", "failed"), ("c", "skipped")] {
                tx.execute(
                    "INSERT INTO received_events (taken_by, event_id, received_at, verdict, code, message)
                     VALUES ('mirror', $1, 1, $2, '', '')",
                    params![id, verdict],
                )?;
            }
            for (subject, time) in [("user_1", 5_i64), ("deleted:user_1", 6), ("group_1/user_1", 7)] {
                tx.execute(
                    "INSERT INTO inbox_subjects (subject, event_time) VALUES ($1, $2)",
                    params![subject, time],
                )?;
            }
            Ok::<_, DbError>(())
        })
        .await
        .unwrap();
        db.close().await;

        let inbox = Inbox::open(&database.url, Nothing, InboxOptions::default())
            .await
            .unwrap();
        inbox.close().await;
        let mirror = rollcall_receiver::Mirror::open(&database.url).await.unwrap();
        let (ids, subjects) = mirror
            .db()
            .read(|tx| {
                let ids = tx.query("SELECT event_id FROM received_events ORDER BY event_id", params![])?;
                let subjects = tx.query(
                    "SELECT kind, group_id, subject, event_time FROM inbox_subjects ORDER BY event_time, kind",
                    params![],
                )?;
                let ids = ids.iter().map(|row| row.get::<String>(0)).collect::<Result<Vec<_>, _>>()?;
                let subjects = subjects
                    .iter()
                    .map(|row| {
                        let text = |index| row.get::<String>(index);
                        Ok(format!("{} {} {} {}", text(0)?, text(1)?, text(2)?, row.get::<i64>(3)?))
                    })
                    .collect::<Result<Vec<_>, DbError>>()?;
                Ok::<_, DbError>((ids, subjects))
            })
            .await
            .unwrap();
        assert_eq!(ids, ["a", "c"]);
        assert_eq!(
            subjects,
            [
                "group  user_1 5",
                "organizational_unit  user_1 5",
                "user  user_1 5",
                "deletion  user_1 6",
                "group_member group_1 user_1 7",
            ]
        );
        mirror.close().await;
    }
}
