//! Who runs the hub on an SQLite database: one process, which holds an operating-system lock.
//!
//! The lock is on a file beside the database (`rollcall.db.lock`). `serve` holds it for as long as it runs;
//! the kernel releases it when the process ends, however it ends. Commands beside a running hub do not take
//! it. The file says who holds it, and, also when nobody does, which hub the database belongs to: if the
//! database is emptied or replaced meanwhile, the next start notices, instead of making a new hub.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::clock::{Millis, shown};

/// What the lock file says of its holder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Holder {
    /// The process.
    pub pid: u32,
    /// The machine.
    pub host: String,
    /// Since when.
    pub started_at: Millis,
    /// Where it listens, once it does.
    pub address: Option<String>,
    /// The instance id of the hub in the database, once it is known.
    pub instance: Option<String>,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "process {} on {}, since {}",
            self.pid,
            self.host,
            shown(self.started_at)
        )?;
        match &self.address {
            Some(address) => write!(f, ", listening on {address}"),
            None => Ok(()),
        }
    }
}

/// Why the lock cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum OwnerError {
    /// Another process holds it.
    #[error(
        "a hub runs on {database} already: {holder}. Only one process may deliver from an SQLite database: use \
         that one, or stop it first"
    )]
    Taken {
        /// Which database.
        database: PathBuf,
        /// What its lock file says.
        holder: Holder,
    },
    /// The file cannot be used.
    #[error("the lock file {path}: {source}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}

/// The lock, held until it is dropped.
#[derive(Debug)]
pub struct Owner {
    path: PathBuf,
    file: File,
    holder: Holder,
}

/// The lock file of an SQLite database.
pub fn lock_file(database: &Path) -> PathBuf {
    // Two names of one file must lead to one lock, also before it is made.
    let in_folder = || {
        let folder = database.parent()?.canonicalize().ok()?;
        Some(folder.join(database.file_name()?))
    };
    let whole = database.canonicalize().ok().or_else(in_folder);
    let mut name = whole.unwrap_or_else(|| database.to_owned()).into_os_string();
    name.push(".lock");
    PathBuf::from(name)
}

/// What the lock file of an SQLite database says, whether or not its lock is held.
pub fn last_holder(database: &Path) -> Option<Holder> {
    serde_json::from_slice(&std::fs::read(lock_file(database)).ok()?).ok()
}

impl Owner {
    /// Takes the lock of an SQLite database.
    ///
    /// # Errors
    /// [`OwnerError`].
    pub fn take(database: &Path, now: Millis) -> Result<Self, OwnerError> {
        let path = lock_file(database);
        let failed = |source| OwnerError::File {
            path: path.clone(),
            source,
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        let locked = file.try_lock();
        let mut text = String::new();
        let _ = file.read_to_string(&mut text);
        let before: Holder = serde_json::from_str(&text).unwrap_or_default();
        match locked {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(OwnerError::Taken {
                    database: database.to_owned(),
                    holder: before,
                });
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let holder = Holder {
            pid: std::process::id(),
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            started_at: now,
            address: None,
            instance: before.instance,
        };
        let mut owner = Self { path, file, holder };
        owner.write()?;
        Ok(owner)
    }

    /// The hub that the database belonged to when it was last run.
    pub fn instance(&self) -> Option<&str> {
        self.holder.instance.as_deref()
    }

    /// Notes which hub the database belongs to; `None` after it was restored from elsewhere.
    ///
    /// # Errors
    /// [`OwnerError::File`].
    pub fn set_instance(&mut self, instance: Option<&str>) -> Result<(), OwnerError> {
        self.holder.instance = instance.map(str::to_owned);
        self.write()
    }

    /// Notes where the hub listens.
    ///
    /// # Errors
    /// [`OwnerError::File`].
    pub fn set_address(&mut self, address: &str) -> Result<(), OwnerError> {
        self.holder.address = Some(address.to_owned());
        self.write()
    }

    fn write(&mut self) -> Result<(), OwnerError> {
        let text = serde_json::to_string(&self.holder).unwrap_or_default();
        let written = self
            .file
            .rewind()
            .and_then(|()| self.file.write_all(text.as_bytes()))
            .and_then(|()| self.file.set_len(text.len() as u64))
            .and_then(|()| self.file.sync_all());
        written.map_err(|source| OwnerError::File {
            path: self.path.clone(),
            source,
        })
    }
}
