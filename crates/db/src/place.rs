//! Where a database is, and the connections to it.

use std::path::PathBuf;
use std::time::Duration;

use crate::lookout::Lookout;
use crate::postgres::{self, Postgres, Server};
use crate::sqlite::{self, Identity, Sqlite};
use crate::tx::Connection;
use crate::{Create, DbError, Dialect, Migrations, Options};

/// Where a database is.
#[derive(Clone)]
pub(crate) enum Place {
    Sqlite(PathBuf),
    Postgres(Server),
}

/// The file of an SQLite database, if the URL names one.
pub fn sqlite_file(url: &str) -> Option<PathBuf> {
    sqlite::path(url)
}

/// Whether a database has this table, with a row in it. Neither the database nor a table is made. Blocks this
/// thread, which must not run async code; a PostgreSQL server that does not answer is waited for as by
/// [`Db::open`](crate::Db::open).
///
/// # Errors
/// Those of [`Db::open`](crate::Db::open).
pub fn has_rows(url: &str, table: &str, options: Options) -> Result<bool, DbError> {
    match Place::parse(url, options.unavailable_after)? {
        Place::Sqlite(path) => sqlite::has_rows(&path, table),
        Place::Postgres(server) => Postgres::has_rows(server, table),
    }
}

/// What opening makes.
pub(crate) struct Opened {
    /// The writer of the log.
    pub(crate) writer: Box<dyn Connection>,
    /// The writer of the settlements, where the database can have a second one.
    pub(crate) settler: Option<Box<dyn Connection>>,
    /// What the log's writer is called, if it tells other processes of its commits.
    pub(crate) name: Option<String>,
    /// Which file it is, if it is one.
    pub(crate) identity: Option<Identity>,
}

impl Place {
    pub(crate) fn parse(url: &str, unavailable_after: Duration) -> Result<Self, DbError> {
        if let Some(path) = sqlite::path(url) {
            Ok(Self::Sqlite(path))
        } else if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            Server::new(url, unavailable_after).map(Self::Postgres)
        } else {
            // The URL is not repeated: it may hold a password.
            Err(DbError::Other(
                "a database URL begins with sqlite: or postgres://".into(),
            ))
        }
    }

    pub(crate) fn dialect(&self) -> Dialect {
        match self {
            Self::Sqlite(_) => Dialect::Sqlite,
            Self::Postgres(_) => Dialect::Postgres,
        }
    }

    pub(crate) fn must_be_shareable(&self) -> Result<(), DbError> {
        match self {
            Self::Sqlite(path) if sqlite::is_private(path) => Err(DbError::Other(
                "readers cannot share a database in memory: name a file".into(),
            )),
            _ => Ok(()),
        }
    }

    pub(crate) fn open(&self, create: Create, migrations: &Migrations) -> Result<Opened, DbError> {
        Ok(match self {
            Self::Sqlite(path) => {
                let writer = Sqlite::create(path, create, &migrations.sqlite)?;
                let is_file = !sqlite::is_private(path);
                Opened {
                    writer: Box::new(writer),
                    settler: None,
                    name: None,
                    identity: is_file.then(|| sqlite::identity(path)).transpose()?,
                }
            }
            Self::Postgres(server) => {
                let writer = Postgres::create(server.clone(), create, &migrations.postgres)?;
                let name = writer.name().to_owned();
                Opened {
                    writer: Box::new(writer),
                    settler: Some(Box::new(Postgres::settler(server.clone(), &name))),
                    name: Some(name),
                    identity: None,
                }
            }
        })
    }

    pub(crate) fn reader(&self) -> Result<Box<dyn Connection>, DbError> {
        Ok(match self {
            Self::Sqlite(path) => Box::new(Sqlite::reader(path)?),
            Self::Postgres(server) => Box::new(Postgres::reader(server.clone())),
        })
    }

    /// What tells versions, where the database has them.
    pub(crate) fn lookout(&self) -> Result<Option<Lookout>, DbError> {
        Ok(match self {
            Self::Sqlite(path) => Some(Lookout::new(Sqlite::lookout(path)?)),
            Self::Postgres(_) => None,
        })
    }

    /// Listens for the announcements of other processes until told to end.
    pub(crate) fn listen(
        &self,
        own: &str,
        announcements: &tokio::sync::watch::Sender<u64>,
        closed: tokio::sync::watch::Receiver<bool>,
    ) {
        if let Self::Postgres(server) = self {
            postgres::listen(server, own, announcements, closed);
        }
    }

    /// Whether the file is still the one that was opened.
    pub(crate) fn check_identity(&self, opened: Option<Identity>) -> Result<(), DbError> {
        match (self, opened) {
            (Self::Sqlite(path), Some(opened)) if sqlite::identity(path)? != opened => {
                Err(DbError::Damaged {
                    code: None,
                    message: format!(
                        "{}: the file was replaced while it was open; start again to use the new one",
                        path.display()
                    ),
                })
            }
            _ => Ok(()),
        }
    }

    /// Whether the disk of a file has room.
    pub(crate) fn check_room(&self) -> Result<(), DbError> {
        match self {
            Self::Sqlite(path) if !sqlite::is_private(path) => sqlite::check_room(path),
            _ => Ok(()),
        }
    }
}
