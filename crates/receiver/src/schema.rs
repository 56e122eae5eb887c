//! The receiver's tables, as migrations for both databases.

use rollcall_db::{Db, DbError, Migrations, Options};

mod sqlite {
    refinery::embed_migrations!("migrations/sqlite");
}

mod postgres {
    refinery::embed_migrations!("migrations/postgres");
}

/// Opens a database (`sqlite:PATH` or `postgres://…`) with the receiver's tables in it.
pub(crate) async fn open(url: &str) -> Result<Db, DbError> {
    let url = url.to_owned();
    let migrations = Migrations {
        sqlite: sqlite::migrations::runner(),
        postgres: postgres::migrations::runner(),
    };
    tokio::task::spawn_blocking(move || Db::open(&url, migrations, Options::default()))
        .await
        .map_err(|error| DbError::Other(error.to_string()))?
}
