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
