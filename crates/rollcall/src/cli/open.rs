//! From the configuration to an open hub.
//!
//! Only `serve` makes a hub where there is none ([`own_hub`]). Every other command opens the one that is
//! there ([`hub`]) and makes nothing, so that a mistyped folder is noticed.

use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use rollcall_protocol::SystemRandom;
use rollcall_server::file::FileError;

use super::failure::Refusal;
use crate::clock::Clock;
use crate::config::Config;
use crate::delivery::egress::Egress;
use crate::hub::{Hub, HubError, HubParts};
use crate::owner::Owner;
use crate::private::{self, PrivateError};
use crate::secret::MasterKey;

/// The account number on the wire, if none is configured.
pub(super) const ALI_UID: u64 = 1_000_000_000_000_000;

/// Opens the hub that a configuration describes, and that exists.
pub(super) async fn hub(config: &Config) -> Result<Hub> {
    let database = config.database_url()?;
    let master = match existing_key(config) {
        Ok(master) => master,
        // A folder that is no hub has no key either, and that it is none says more.
        Err(_) if !exists(&database).await? => return Err(no_hub(config, &database)),
        Err(error) => return Err(error),
    };
    match Hub::open_existing(parts(config, database.clone(), master)).await {
        Err(HubError::NotAHub) => Err(no_hub(config, &database)),
        opened => opened.map_err(|error| explain(config, error)),
    }
}

fn no_hub(config: &Config, database: &str) -> anyhow::Error {
    let hint = "rollcall serve makes one; if there is one elsewhere, name its folder with --data-dir or ROLLCALL_DATA_DIR";
    Refusal::of(
        "no_hub",
        format!("there is no hub in {}", place(config, database)),
        hint,
    )
    .into()
}

/// Opens the hub that a configuration describes, which is made if it does not exist. On SQLite this process
/// owns the database from then on.
pub(super) async fn own_hub(config: &Config) -> Result<(Hub, Option<Owner>)> {
    let database = config.database_url()?;
    let mut owner = own(config, &database)?;
    let exists = exists(&database).await?;
    if let (false, Some(before)) = (exists, owner.as_ref().and_then(Owner::instance)) {
        bail!(
            "{} was the database of the hub {before} and is empty now. Restore a backup (rollcall restore FILE), \
             or, to begin with a new hub, remove {}",
            place(config, &database),
            lock_name(&database)
        );
    }
    let master = if exists {
        existing_key(config)?
    } else {
        MasterKey::read_or_make(&config.master_key_path(), &SystemRandom).context("the master key")?
    };
    let hub = Hub::open(parts(config, database.clone(), master))
        .await
        .map_err(|error| explain(config, error))?;
    if let Some(owner) = &mut owner {
        if let Some(before) = owner.instance().filter(|before| *before != hub.instance.id) {
            bail!(
                "{} was the database of the hub {before}, and is that of {} now. If that is meant, remove {}",
                place(config, &database),
                hub.instance.id,
                lock_name(&database)
            );
        }
        owner.set_instance(Some(&hub.instance.id))?;
    }
    Ok((hub, owner))
}

/// Closes the data folder and the database to others and, on SQLite, takes the database's lock.
pub(super) fn own(config: &Config, database: &str) -> Result<Option<Owner>> {
    private::make_folder(&config.data_dir).context("the data folder")?;
    let Some(file) = rollcall_db::sqlite_file(database) else {
        return Ok(None);
    };
    private::close_database(&file).context("the database")?;
    Ok(Some(Owner::take(&file, Clock::system().now())?))
}

async fn exists(database: &str) -> Result<bool> {
    Hub::exists(database.to_owned())
        .await
        .context("the database cannot be opened")
}

fn parts(config: &Config, database: String, master: MasterKey) -> HubParts {
    HubParts {
        database,
        clock: Clock::system(),
        random: Arc::new(SystemRandom),
        master,
        ali_uid: config.ali_uid.unwrap_or(ALI_UID),
        root_name: config.organization.clone(),
    }
}

/// The master key of a hub that exists. It is never replaced: nothing that was sealed would open.
fn existing_key(config: &Config) -> Result<MasterKey> {
    let read = MasterKey::read(&config.master_key_path());
    if let Err(PrivateError::File(FileError::Missing(path))) = &read {
        bail!(Refusal::of(
            "master_key",
            format!(
                "the master key file {} does not exist, but the hub's secrets are sealed under its key",
                path.display()
            ),
            "put the key back from where you keep a copy, or name its file with master_key_file"
        ));
    }
    read.context("the master key")
}

fn explain(config: &Config, error: HubError) -> anyhow::Error {
    match error {
        HubError::WrongKey => Refusal::of(
            "master_key",
            format!(
                "{} does not hold the master key under which this hub's secrets are sealed",
                config.master_key_path().display()
            ),
            "put the right key there, or name its file with master_key_file",
        )
        .into(),
        error => anyhow::Error::from(error).context("the database cannot be opened"),
    }
}

/// How a database is called; a PostgreSQL address may hold a password.
fn place(config: &Config, database: &str) -> String {
    match rollcall_db::sqlite_file(database) {
        Some(file) => file.display().to_string(),
        None if config.database_file.is_some() => {
            "the PostgreSQL database that database_file names".to_owned()
        }
        None => "the PostgreSQL database".to_owned(),
    }
}

fn lock_name(database: &str) -> String {
    rollcall_db::sqlite_file(database)
        .map(|file| crate::owner::lock_file(&file).display().to_string())
        .unwrap_or_default()
}

/// The client that a configuration describes.
pub(super) fn egress(config: &Config) -> Result<Egress> {
    Ok(Egress::new(&config.egress()?, Clock::system())?)
}
