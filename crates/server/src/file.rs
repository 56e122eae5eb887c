//! Opening files that hold secrets: regular ones, which belong to this user or to root, and which are closed to
//! others. Anything else is refused with what to do about it.

use std::fs::{File, Metadata, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

/// Everybody but the owner.
const OTHERS: u32 = 0o077;

/// Why a file cannot be used. The text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// There is no such file.
    #[error("{0} does not exist")]
    Missing(PathBuf),
    /// A folder, a device, a pipe.
    #[error("{0} is not a regular file")]
    NotRegular(PathBuf),
    /// Other users can read it.
    #[error("{path} is open to other users (mode {mode:04o}); run: chmod {wanted:o} {path}")]
    Exposed {
        /// Which file or folder.
        path: PathBuf,
        /// Its present mode.
        mode: u32,
        /// The mode that it should have.
        wanted: u32,
    },
    /// It belongs to somebody else.
    #[error("{path} belongs to the user with number {owner}, not to this one; change its owner with chown")]
    Foreign {
        /// Which file.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
    },
    /// The system refuses.
    #[error("{path}: {source}")]
    Io {
        /// Which file or folder.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}

/// Makes the system's error one that names the file.
pub fn io(path: &Path) -> impl Fn(std::io::Error) -> FileError {
    move |source| FileError::Io {
        path: path.to_owned(),
        source,
    }
}

/// Who may read a secret besides the user whose process this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readers {
    /// Nobody.
    Nobody,
    /// The file's group, if the file is root's: that is how a system hands one key to several services.
    GroupOfRoot,
}

/// Opens a regular file for reading, whoever may read it as well.
///
/// # Errors
/// [`FileError`].
pub fn open(path: &Path) -> Result<(File, Metadata), FileError> {
    // Without O_NONBLOCK, opening a pipe would wait for somebody to write into it.
    let open = OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(path);
    let file = match open {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(FileError::Missing(path.to_owned()));
        }
        Err(error) => return Err(io(path)(error)),
    };
    let metadata = file.metadata().map_err(io(path))?;
    if !metadata.is_file() {
        return Err(FileError::NotRegular(path.to_owned()));
    }
    Ok((file, metadata))
}

/// Opens a file with a secret for reading.
///
/// # Errors
/// [`FileError`].
pub fn open_secret(path: &Path, readers: Readers) -> Result<File, FileError> {
    let (file, metadata) = open(path)?;
    let wanted = match readers {
        Readers::GroupOfRoot if metadata.uid() == 0 => 0o640,
        Readers::GroupOfRoot | Readers::Nobody => 0o600,
    };
    if !is_credential(path) {
        check(path, &metadata, wanted)?;
    }
    Ok(file)
}

/// Whether systemd gave the file to this service. It then belongs to root, and lies in a folder that only
/// the service can enter; its mode shows the mask of an access list.
fn is_credential(path: &Path) -> bool {
    std::env::var_os("CREDENTIALS_DIRECTORY").is_some_and(|folder| path.starts_with(folder))
}

/// Checks that a file or a folder is open to nobody who could not come in with the mode `wanted`, and that it belongs
/// to this user or to root.
///
/// # Errors
/// [`FileError::Exposed`] and [`FileError::Foreign`].
pub fn check(path: &Path, metadata: &Metadata, wanted: u32) -> Result<(), FileError> {
    let mode = metadata.mode() & 0o7777;
    if mode & OTHERS & !wanted != 0 {
        return Err(FileError::Exposed {
            path: path.to_owned(),
            mode,
            wanted,
        });
    }
    let own = rustix::process::geteuid().as_raw();
    let owner = metadata.uid();
    if own != 0 && owner != own && owner != 0 {
        return Err(FileError::Foreign {
            path: path.to_owned(),
            owner,
        });
    }
    Ok(())
}
