//! The file of a SQLite database: how it comes into being, who may read it, and whether it is still there.
//!
//! A new database is made whole: under another name in the same folder, migrated there, and only then
//! linked to its own name. So a file of that name is a database from its first moment on, also for other
//! processes that start at the same time, and a file that is empty was emptied by somebody.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::{Create, DbError};

/// How much must fit on the disk beside the database for a check to pass: what a busy second writes.
const ROOM: usize = 256 * 1024;

/// Only the owner may read and write: there are names, addresses and sealed secrets in it.
const MODE: u32 = 0o600;

/// Which file it is, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    device: u64,
    inode: u64,
}

/// The file that stands under a name now, which must not be empty.
///
/// It is looked at, and not opened: closing a file takes from this process all locks that SQLite holds on it.
pub(crate) fn identity(path: &Path) -> Result<Identity, DbError> {
    let found = fs::metadata(path).map_err(|error| damaged(path, &error.to_string()))?;
    must_hold_something(path, &found)?;
    Ok(Identity {
        device: found.dev(),
        inode: found.ino(),
    })
}

/// Whether there is a file under the name; makes sure that it is not empty, and that only the owner can read it.
pub(super) fn exists(path: &Path, create: Create) -> Result<bool, DbError> {
    match fs::metadata(path) {
        Ok(found) => {
            must_hold_something(path, &found)?;
            restrict(path, &found);
            Ok(true)
        }
        Err(error) if error.kind() != ErrorKind::NotFound => Err(damaged(path, &error.to_string())),
        Err(_) if create == Create::IfMissing => Ok(false),
        Err(_) => Err(DbError::Missing(format!(
            "there is no database at {}",
            path.display()
        ))),
    }
}

fn must_hold_something(path: &Path, found: &fs::Metadata) -> Result<(), DbError> {
    if found.is_file() && found.len() == 0 {
        let why = "the file is empty; remove it, then restore a backup or begin with a new one";
        return Err(damaged(path, why));
    }
    Ok(())
}

/// Makes sure that the disk takes more than a commit, which may find room in the write-ahead log on a full one.
pub(crate) fn check_room(path: &Path) -> Result<(), DbError> {
    static CHECKS: AtomicU64 = AtomicU64::new(0);
    let number = CHECKS.fetch_add(1, Ordering::Relaxed);
    let probe = beside(path, &format!(".room-{}-{number}", std::process::id()));
    let mut open = OpenOptions::new();
    open.write(true).create(true).truncate(true).mode(MODE);
    let written = open.open(&probe).and_then(|mut file| {
        // It has no name any more by the time that it may be large, so nothing is left of it.
        fs::remove_file(&probe)?;
        file.write_all(&vec![0; ROOM])
    });
    written.map_err(|error| from_io(path, &error))
}

/// Takes from everyone but the owner what an earlier version, or a copy, left open; the files beside it
/// follow. Whoever is not the owner cannot, and need not.
fn restrict(path: &Path, found: &fs::Metadata) {
    if found.mode() & 0o077 != 0 {
        for path in [path.to_owned(), beside(path, "-wal"), beside(path, "-shm")] {
            if let Err(error) = fs::set_permissions(&path, Permissions::from_mode(MODE))
                && error.kind() != ErrorKind::NotFound
            {
                tracing::warn!(path = %path.display(), %error, "others may read this file");
            }
        }
    }
}

/// A database in the making. What is left of it goes when it is dropped.
pub(super) struct Draft {
    path: PathBuf,
}

impl Draft {
    /// An empty file beside the place where the database will be, which nobody else can read. `number` tells
    /// several makers within this process apart.
    pub(super) fn new(target: &Path, number: u64) -> Result<Self, DbError> {
        let path = beside(target, &format!(".new-{}-{number}", std::process::id()));
        let made = Self { path };
        // What a process of the same number left behind when it was killed.
        made.remove();
        let open = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(MODE)
            .open(&made.path);
        match open {
            Ok(file) => drop(file.set_permissions(Permissions::from_mode(MODE))),
            Err(error) => return Err(from_io(target, &error)),
        }
        Ok(made)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the finished database its name. If another process was faster, its database stays.
    pub(super) fn publish(self, target: &Path) -> Result<(), DbError> {
        match fs::hard_link(&self.path, target) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(()),
            // Not every file system has hard links.
            Err(_) if !target.exists() => {
                fs::rename(&self.path, target).map_err(|error| from_io(target, &error))?;
            }
            Err(error) => return Err(from_io(target, &error)),
        }
        let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or_else(|| Path::new("."));
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(|error| from_io(target, &error))
    }

    fn remove(&self) {
        for suffix in ["", "-journal", "-wal", "-shm"] {
            drop(fs::remove_file(beside(&self.path, suffix)));
        }
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        self.remove();
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn from_io(path: &Path, error: &std::io::Error) -> DbError {
    if error.kind() == ErrorKind::StorageFull || error.kind() == ErrorKind::QuotaExceeded {
        return DbError::Full {
            code: None,
            message: format!("{}: {error}", path.display()),
        };
    }
    damaged(path, &error.to_string())
}

pub(super) fn damaged(path: &Path, why: &str) -> DbError {
    DbError::Damaged {
        code: None,
        message: format!("{}: {why}", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_maker_leaves_the_first_one_s_database() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a.db");
        let (first, second) = (Draft::new(&target, 1).unwrap(), Draft::new(&target, 2).unwrap());
        fs::write(first.path(), "first").unwrap();
        fs::write(second.path(), "second").unwrap();
        first.publish(&target).unwrap();
        second.publish(&target).unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "first");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert_eq!(fs::metadata(&target).unwrap().mode() & 0o777, MODE);
    }
}
