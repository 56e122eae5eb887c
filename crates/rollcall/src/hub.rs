//! What every part of the hub shares: the database, the clock, randomness, the master key, and the
//! hub's identity; and the one door through which the directory is written.

use std::sync::Arc;

use rollcall_db::{Db, DbError};
use rollcall_protocol::Random;

use crate::clock::Clock;
use crate::directory::{self, Applied, Command, DirectoryError};
use crate::instance::{self, Instance};
use crate::meter::Meters;
use crate::secret::MasterKey;
use crate::{application, schema};

/// The shared parts. Cloning is cheap.
#[derive(Clone)]
pub struct Hub {
    /// The database.
    pub db: Db,
    /// The source of time.
    pub clock: Clock,
    /// The source of randomness.
    pub random: Arc<dyn Random>,
    /// The key under which secrets are stored.
    pub master: Arc<MasterKey>,
    /// Who the hub is.
    pub instance: Instance,
    /// What is counted and measured.
    pub meters: Arc<Meters>,
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub")
            .field("instance", &self.instance)
            .finish_non_exhaustive()
    }
}

/// What a hub is made of, and what it is called at its first start.
pub struct HubParts {
    /// `sqlite:PATH` or `postgres://…`.
    pub database: String,
    /// The source of time.
    pub clock: Clock,
    /// The source of randomness.
    pub random: Arc<dyn Random>,
    /// The key under which secrets are stored.
    pub master: MasterKey,
    /// The account number on the wire.
    pub ali_uid: u64,
    /// The name of the root organizational unit.
    pub root_name: String,
}

impl Hub {
    /// Opens the database, brings its tables up to date, and makes identity and root unit at the first
    /// start.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn open(parts: HubParts) -> Result<Self, DbError> {
        let HubParts {
            database,
            clock,
            random,
            master,
            ali_uid,
            root_name,
        } = parts;
        let db = tokio::task::spawn_blocking(move || {
            Db::open(&database, schema::migrations(), rollcall_db::Options::default())
        })
        .await
        .map_err(|error| DbError::Other(error.to_string()))??;
        let now = clock.now();
        let instance = {
            let random = Arc::clone(&random);
            db.write(move |tx| {
                let context = directory::Context {
                    now,
                    actor: "system",
                    random: &*random,
                    passwords: None,
                };
                directory::initialize(tx, &context, &root_name)
                    .map_err(|error| DbError::Other(error.to_string()))?;
                instance::initialize(tx, now, &*random, ali_uid)
            })
            .await?
        };
        Ok(Self {
            db,
            clock,
            random,
            master: Arc::new(master),
            instance,
            meters: Arc::new(Meters::new()),
        })
    }

    /// Applies one command to the directory and returns once it is durable.
    ///
    /// # Errors
    /// [`DirectoryError`]; nothing is changed then.
    pub async fn apply(&self, actor: impl Into<String>, command: Command) -> Result<Applied, DirectoryError> {
        let (hub, actor) = (self.clone(), actor.into());
        self.db.write(move |tx| hub.apply_in(tx, &actor, &command)).await
    }

    /// Applies one command inside a transaction of the caller's.
    ///
    /// # Errors
    /// [`DirectoryError`].
    pub fn apply_in(
        &self,
        tx: &mut rollcall_db::Tx<'_>,
        actor: &str,
        command: &Command,
    ) -> Result<Applied, DirectoryError> {
        let context = self.context(tx, actor, command.carries_password())?;
        directory::apply(tx, &context, command)
    }

    /// Makes many users inside a transaction of the caller's; see [`directory::create_users`].
    ///
    /// # Errors
    /// [`DirectoryError`].
    pub fn create_users_in(
        &self,
        tx: &mut rollcall_db::Tx<'_>,
        actor: &str,
        new: &[directory::NewUser],
    ) -> Result<Vec<Result<String, DirectoryError>>, DirectoryError> {
        let context = self.context(tx, actor, new.iter().any(|new| new.password.is_some()))?;
        directory::create_users(tx, &context, new)
    }

    fn context<'a>(
        &'a self,
        tx: &mut rollcall_db::Tx<'_>,
        actor: &'a str,
        with_password: bool,
    ) -> Result<directory::Context<'a>, DbError> {
        let passwords = if with_password && application::store::any_wants_passwords(tx)? {
            Some(&*self.master)
        } else {
            None
        };
        Ok(directory::Context {
            now: self.clock.now(),
            actor,
            random: &*self.random,
            passwords,
        })
    }
}
