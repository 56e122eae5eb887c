//! The hub's tables, as migrations for both databases.

mod sqlite {
    refinery::embed_migrations!("migrations/sqlite");
}

mod postgres {
    refinery::embed_migrations!("migrations/postgres");
}

/// The migrations that [`rollcall_db::Db::open`] runs.
pub fn migrations() -> rollcall_db::Migrations {
    rollcall_db::Migrations {
        sqlite: sqlite::migrations::runner(),
        postgres: postgres::migrations::runner(),
    }
}

/// The number of the newest migration.
pub fn version() -> i32 {
    let newest = sqlite::migrations::runner();
    let numbers = newest.get_migrations().iter().map(refinery::Migration::version);
    numbers.max().unwrap_or_default()
}

/// The migrations up to one, for what an earlier version of the hub has left.
pub fn migrations_up_to(version: i32) -> rollcall_db::Migrations {
    let rollcall_db::Migrations { sqlite, postgres } = migrations();
    let target = refinery::Target::Version(version);
    rollcall_db::Migrations {
        sqlite: sqlite.set_target(target),
        postgres: postgres.set_target(target),
    }
}
