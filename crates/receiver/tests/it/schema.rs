//! The tables are the same on both databases.

#[test]
fn both_folders_make_the_same_tables() {
    let plain = |text: &str| {
        text.replace(
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
