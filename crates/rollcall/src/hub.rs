//! What every part of the hub shares: the database, the clock, randomness, the master key, and the
//! hub's identity; and the four doors for writes, to the directory, to the applications, to the accounts and to the
//! connections.

use std::sync::Arc;

use rollcall_db::{Create, Db, DbError};
use rollcall_protocol::Random;

use crate::access::{Caller, Context};
use crate::accounts::{self, AccountError};
use crate::application::{self, ApplicationError, keys, store};
use crate::clock::Clock;
use crate::connection::{self, ConnectionError};
use crate::directory::lists::Ladders;
use crate::directory::{self, Applied, Command, DirectoryError};
use crate::instance::{self, Instance, Serving};
use crate::meter::Meters;
use crate::once::{self, Begun, Kept, Once};
use crate::pace::Paces;
use crate::schema;
use crate::secret::MasterKey;

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
    /// How fast applications are asked that want it slow.
    pub paces: Arc<Paces>,
    /// Where pages of lists begin.
    pub ladders: Arc<Ladders>,
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
        Self::open_with(parts, rollcall_db::Options::default()).await
    }

    /// Opens the database as [`Hub::open`] does, and runs it in another way than usual: with more readers, say,
    /// or with faults on purpose. Makes it unless the options forbid that.
    ///
    /// # Errors
    /// [`HubError`].
    pub async fn open_with(parts: HubParts, mut options: rollcall_db::Options) -> Result<Self, HubError> {
        options.read_ahead = Some(directory::read_ahead);
        let may_make = options.create == Create::IfMissing;
        let database = parts.database.clone();
        if !may_make && !Self::exists(database.clone()).await? {
            return Err(HubError::NotAHub);
        }
        let db = tokio::task::spawn_blocking(move || Db::open(&database, schema::migrations(), options))
            .await
            .map_err(|error| DbError::Other(error.to_string()))??;
        Self::found(db, parts, may_make).await
    }

    /// Opens a database on SQLite whose work is done by whoever asks, without threads: for simulations.
    ///
    /// # Errors
    /// [`HubError`].
    pub async fn open_inline(parts: HubParts, options: rollcall_db::Options) -> Result<Self, HubError> {
        let db = Db::open_inline(&parts.database, schema::migrations(), options)?;
        Self::found(db, parts, true).await
    }

    async fn found(db: Db, parts: HubParts, may_make: bool) -> Result<Self, HubError> {
        let HubParts {
            database: _,
            clock,
            random,
            master,
            ali_uid,
            root_name,
        } = parts;
        let now = clock.now();
        let master = Arc::new(master);
        let instance = {
            let (random, master) = (Arc::clone(&random), Arc::clone(&master));
            db.write(move |tx| {
                if !may_make && instance::load(tx)?.is_none() {
                    return Err(HubError::NotAHub);
                }
                let instance = instance::initialize(tx, now, &*random, ali_uid)?;
                let caller = Caller::system("start");
                let context = Context {
                    caller: &caller,
                    now,
                    instance_id: &instance.id,
                    random: &*random,
                    master: &master,
                    keep_passwords: false,
                };
                directory::initialize(tx, &context, &root_name)
                    .map_err(|error| DbError::Other(error.to_string()))?;
                directory::refold(tx)?;
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
            paces: Arc::default(),
            ladders: Arc::default(),
        })
    }

    /// Opens the database of a hub and brings its tables up to date.
    ///
    /// # Errors
    /// [`HubError`]; a database that is not that of a hub is left as it is.
    pub async fn open_existing(parts: HubParts) -> Result<Self, HubError> {
        let options = rollcall_db::Options {
            create: Create::Never,
            ..rollcall_db::Options::default()
        };
        Self::open_with(parts, options).await
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

    /// Stores where this process serves, for the commands beside it.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn serves(&self, serving: Serving) -> Result<(), DbError> {
        self.db
            .write(
                move |tx| match instance::serving(tx)?.as_ref() == Some(&serving) {
                    true => Ok(()),
                    false => instance::set_serving(tx, Some(&serving)),
                },
            )
            .await
    }

    /// Applies one command to the directory and returns once it is durable. It is queued by the call itself, in
    /// the order of the calls.
    ///
    /// # Errors
    /// [`DirectoryError`]; nothing is changed then.
    pub fn apply<C: Into<Caller>>(
        &self,
        caller: C,
        command: Command,
    ) -> impl Future<Output = Result<Applied, DirectoryError>> + Send + use<C> {
        let (hub, caller) = (self.clone(), caller.into());
        let about = command.user_id().map(str::to_owned);
        self.db.write_about(about, move |tx| {
            let applied = hub.apply_in(tx, &caller, &command)?;
            mark(tx, &caller)?;
            Ok(applied)
        })
    }

    /// Applies one command to the directory inside a transaction of somebody else's.
    ///
    /// # Errors
    /// [`DirectoryError`].
    pub fn apply_in(
        &self,
        tx: &mut rollcall_db::Tx<'_>,
        caller: &Caller,
        command: &Command,
    ) -> Result<Applied, DirectoryError> {
        let context = self.context_for(tx, caller, command.carries_password())?;
        directory::apply(tx, &context, command)
    }

    /// Makes many users inside a transaction of somebody else's; see [`directory::create_users`].
    ///
    /// # Errors
    /// [`DirectoryError`].
    pub fn create_users_in(
        &self,
        tx: &mut rollcall_db::Tx<'_>,
        caller: &Caller,
        new: &[directory::NewUser],
    ) -> Result<Vec<Result<String, DirectoryError>>, DirectoryError> {
        let passwords = new.iter().any(|new| new.password.is_some());
        let context = self.context_for(tx, caller, passwords)?;
        directory::create_users(tx, &context, new)
    }

    /// What the directory's door needs; new passwords are kept if there are any and an application wants them.
    fn context_for<'a>(
        &'a self,
        tx: &mut rollcall_db::Tx<'_>,
        caller: &'a Caller,
        passwords: bool,
    ) -> Result<Context<'a>, DbError> {
        Ok(Context {
            keep_passwords: passwords && store::any_wants_passwords(tx)?,
            ..self.context(caller)
        })
    }

    /// Applies one command to an application and returns once it is durable.
    ///
    /// # Errors
    /// [`ApplicationError`]; nothing is changed then.
    pub async fn apply_application(
        &self,
        caller: impl Into<Caller>,
        command: application::Command,
    ) -> Result<application::Applied, ApplicationError> {
        self.write_as(caller, move |tx, ctx| application::apply(tx, ctx, &command))
            .await
    }

    /// Applies several commands to an application, one after the other, all or none of them. A version that the
    /// caller names is that before the first.
    ///
    /// # Errors
    /// [`ApplicationError`]; nothing is changed then.
    pub async fn apply_to_application(
        &self,
        caller: impl Into<Caller>,
        commands: Vec<application::Command>,
    ) -> Result<Vec<application::Applied>, ApplicationError> {
        self.write_as(caller, move |tx, ctx| {
            let later = Caller {
                expected: None,
                ..ctx.caller.clone()
            };
            let mut applied = Vec::with_capacity(commands.len());
            for command in &commands {
                let first = applied.is_empty();
                let caller = if first { ctx.caller } else { &later };
                applied.push(application::apply(tx, &Context { caller, ..*ctx }, command)?);
            }
            Ok(applied)
        })
        .await
    }

    /// Applies one command to accounts, sessions and tokens, and returns once it is durable.
    ///
    /// # Errors
    /// [`AccountError`]; nothing is changed then.
    pub async fn apply_account(
        &self,
        caller: impl Into<Caller>,
        command: accounts::Command,
    ) -> Result<accounts::Applied, AccountError> {
        self.write_as(caller, move |tx, ctx| accounts::apply(tx, ctx, &command))
            .await
    }

    /// Applies one command to a connection or its tokens, and returns once it is durable.
    ///
    /// # Errors
    /// [`ConnectionError`]; nothing is changed then.
    pub async fn apply_connection(
        &self,
        caller: impl Into<Caller>,
        command: connection::Command,
    ) -> Result<connection::Applied, ConnectionError> {
        self.write_as(caller, move |tx, ctx| connection::apply(tx, ctx, &command))
            .await
    }

    /// Runs what asks for a context in a transaction of its own, and returns once it is durable. It may run more
    /// than once, of which one time counts.
    ///
    /// # Errors
    /// Those of what is run; nothing is changed then.
    pub async fn write_as<T, E>(
        &self,
        caller: impl Into<Caller>,
        mut run: impl FnMut(&mut rollcall_db::Tx<'_>, &Context<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        let (hub, caller) = (self.clone(), caller.into());
        self.db
            .write(move |tx| {
                let done = run(tx, &hub.context(&caller))?;
                mark(tx, &caller)?;
                Ok(done)
            })
            .await
    }

    /// Begins a request of somebody under a key, so that it is carried out once: see [`crate::once`].
    ///
    /// # Errors
    /// What the database reports.
    pub async fn begin_once(
        &self,
        principal: String,
        key: String,
        request: String,
    ) -> Result<Begun, DbError> {
        let hub = self.clone();
        self.db
            .write(move |tx| {
                let of = (principal.as_str(), key.as_str());
                once::begin(tx, of, &request, &hub.master, (hub.clock.now(), &*hub.random))
            })
            .await
    }

    /// Keeps what was answered to it, or forgets it, if nothing was done.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn answer_once(&self, once: Once, kept: Option<Kept>) -> Result<(), DbError> {
        let hub = self.clone();
        self.db
            .write(move |tx| once::answer(tx, &once, kept.as_ref(), &hub.master, &*hub.random))
            .await
    }

    /// What either door needs besides the command. New passwords are not kept by it.
    pub fn context<'a>(&'a self, caller: &'a Caller) -> Context<'a> {
        Context {
            caller,
            now: self.clock.now(),
            instance_id: &self.instance.id,
            random: &*self.random,
            master: &self.master,
            keep_passwords: false,
        }
    }
}

/// Marks as done what is carried out once, in the transaction that does it.
fn mark(tx: &mut rollcall_db::Tx<'_>, caller: &Caller) -> Result<(), DbError> {
    caller.once.as_ref().map_or(Ok(()), |once| once::done(tx, once))
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
