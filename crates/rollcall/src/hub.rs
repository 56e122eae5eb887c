//! What every part of the hub shares: the database, the clock, randomness, the master key, and the
//! hub's identity; and the one door through which the directory is written.

use std::sync::Arc;

use rollcall_db::{Db, DbError};
use rollcall_protocol::Random;

use crate::application::keys;
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

/// Why a hub cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// The database is not that of a hub.
    #[error("there is no hub in this database")]
    NotAHub,
    /// The master key does not fit the database.
    #[error("this is not the master key under which the hub's secrets are sealed")]
    WrongKey,
    /// The database.
    #[error(transparent)]
    Database(#[from] DbError),
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
    /// Opens the database, brings its tables up to date, and makes identity and root unit if it is not that
    /// of a hub yet. The master key is checked: the first one that a database is opened with stays its own.
    ///
    /// # Errors
    /// [`HubError`].
    pub async fn open(parts: HubParts) -> Result<Self, HubError> {
        Self::open_as(parts, true).await
    }

    /// Opens the database of a hub and brings its tables up to date.
    ///
    /// # Errors
    /// [`HubError`]; a database that is not that of a hub is left as it is.
    pub async fn open_existing(parts: HubParts) -> Result<Self, HubError> {
        Self::open_as(parts, false).await
    }

    /// Whether there is a hub in the database. Makes nothing.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn exists(database: String) -> Result<bool, DbError> {
        let looking = move || rollcall_db::has_rows(&database, "instance", rollcall_db::Options::default());
        tokio::task::spawn_blocking(looking)
            .await
            .map_err(|error| DbError::Other(error.to_string()))?
    }

    async fn open_as(parts: HubParts, may_make: bool) -> Result<Self, HubError> {
        let HubParts {
            database,
            clock,
            random,
            master,
            ali_uid,
            root_name,
        } = parts;
        if !may_make && !Self::exists(database.clone()).await? {
            return Err(HubError::NotAHub);
        }
        let db = tokio::task::spawn_blocking(move || {
            Db::open(&database, schema::migrations(), rollcall_db::Options::default())
        })
        .await
        .map_err(|error| DbError::Other(error.to_string()))??;
        let now = clock.now();
        let master = Arc::new(master);
        let instance = {
            let (random, master) = (Arc::clone(&random), Arc::clone(&master));
            db.write(move |tx| {
                if !may_make && instance::load(tx)?.is_none() {
                    return Err(HubError::NotAHub);
                }
                let instance = instance::initialize(tx, now, &*random, ali_uid)?;
                let context = directory::Context {
                    now,
                    actor: "system",
                    instance_id: &instance.id,
                    random: &*random,
                    passwords: None,
                };
                directory::initialize(tx, &context, &root_name)
                    .map_err(|error| DbError::Other(error.to_string()))?;
                check_master_key(tx, &instance, &master, &*random)?;
                Ok(instance)
            })
            .await
        };
        let instance = match instance {
            Ok(instance) => instance,
            Err(error) => {
                db.close().await;
                return Err(error);
            }
        };
        Ok(Self {
            db,
            clock,
            random,
            master,
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
            instance_id: &self.instance.id,
            random: &*self.random,
            passwords,
        })
    }
}

/// What is sealed to tell the master key again. It is no secret.
const MASTER_KEY_CHECK: &[u8] = b"rollcall";

/// Refuses a master key under which nothing in the database opens. A database from before there was a check
/// value gets one, provided that its signing keys open.
fn check_master_key(
    tx: &mut rollcall_db::Tx<'_>,
    instance: &Instance,
    master: &MasterKey,
    random: &dyn Random,
) -> Result<(), HubError> {
    let belongs_to = format!("master-key-check/{}", instance.id);
    match instance::master_key_check(tx)? {
        Some(sealed) => master
            .open(&sealed, &belongs_to)
            .map(drop)
            .map_err(|_| HubError::WrongKey),
        None if keys::open_under(tx, master)? == Some(false) => Err(HubError::WrongKey),
        None => {
            let sealed = master.seal(MASTER_KEY_CHECK, &belongs_to, random);
            Ok(instance::set_master_key_check(tx, &sealed)?)
        }
    }
}
