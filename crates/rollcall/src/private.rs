//! Files that only the hub's own user may read: secrets, the database, exports, backups.
//!
//! A file with a secret is written whole or not at all: into a temporary file of the same folder, with mode
//! 0600, which is synced and then given its name, but only if the name is free. Of several processes that
//! start at once, one therefore wins, and all the others read what it wrote. A full disk or a crash leaves
//! no half of a secret under its name.
//!
//! A file with a secret is read with checks: it must be a regular file, owned by this user or by root,
//! closed to everybody else (`rollcall_server::file`), and hold exactly what is expected. Anything else is
//! refused with what to do about it. In particular a file that is empty never counts as a secret.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt};
use std::path::{Path, PathBuf};

use rollcall_protocol::Random;
use rollcall_server::file::{self, FileError, Readers};
use zeroize::Zeroizing;

/// The longest file that is read as a secret, in bytes.
const LONGEST: u64 = 4_096;

/// Everybody but the owner.
const OTHERS: u32 = 0o077;

/// The sticky bit: a folder in which many users have files.
const STICKY: u32 = 0o1000;

/// Why a private file or folder cannot be used. The text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum PrivateError {
    /// It cannot be read, or others can.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file holds nothing, or only white space.
    #[error("{0} is empty, perhaps because the disk was full; {advice}", advice = REPLACE)]
    Empty(PathBuf),
    /// The file holds something else.
    #[error("{0} does not hold 64 hexadecimal digits (32 bytes) and nothing else; {advice}", advice = REPLACE)]
    Malformed(PathBuf),
    /// A folder such as /tmp.
    #[error("{0} is a folder that users share; name a folder of its own for the hub's data")]
    Shared(PathBuf),
}

/// What to do about a secret that cannot be used.
const REPLACE: &str = "put the right one there (from where you keep a copy), or remove the file if this hub has \
                       never run with another";

fn io(path: &Path) -> impl Fn(std::io::Error) -> PrivateError {
    move |source| file::io(path)(source).into()
}

/// 32 secret bytes, which a file holds as 64 hexadecimal digits.
pub type Bytes32 = Zeroizing<[u8; 32]>;

/// Reads 32 bytes from 64 hexadecimal digits, with white space around them allowed.
pub fn from_hex(text: &str) -> Option<Bytes32> {
    let text = text.trim();
    if text.len() != 64 {
        return None;
    }
    let mut bytes = Zeroizing::new([0_u8; 32]);
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let digit = |digit: u8| char::from(digit).to_digit(16);
        *byte = u8::try_from(digit(pair[0])? << 4 | digit(pair[1])?).ok()?;
    }
    Some(bytes)
}

/// Writes bytes as hexadecimal digits.
pub fn to_hex(bytes: &[u8]) -> Zeroizing<String> {
    Zeroizing::new(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Reads a secret of 32 bytes.
///
/// # Errors
/// [`PrivateError`].
pub fn read(path: &Path) -> Result<Bytes32, PrivateError> {
    let text = read_text(path)?;
    from_hex(&text).ok_or_else(|| PrivateError::Malformed(path.to_owned()))
}

/// Reads a secret of any form, which is not empty. White space around it is left out.
///
/// # Errors
/// [`PrivateError`].
pub fn read_text(path: &Path) -> Result<Zeroizing<String>, PrivateError> {
    let file = file::open_secret(path, Readers::Nobody)?;
    let mut text = Zeroizing::new(String::new());
    match file.take(LONGEST).read_to_string(&mut text) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::InvalidData => {
            return Err(PrivateError::Malformed(path.to_owned()));
        }
        Err(error) => return Err(io(path)(error)),
    }
    let trimmed = Zeroizing::new(text.trim().to_owned());
    if trimmed.is_empty() {
        return Err(PrivateError::Empty(path.to_owned()));
    }
    Ok(trimmed)
}

/// Reads a secret of 32 bytes, which is made at random if the file does not exist. If several processes do
/// so at once, all get the same.
///
/// # Errors
/// [`PrivateError`].
pub fn read_or_make(path: &Path, random: &dyn Random) -> Result<Bytes32, PrivateError> {
    match read(path) {
        Err(PrivateError::File(FileError::Missing(_))) => {}
        result => return result,
    }
    let mut bytes = Zeroizing::new([0_u8; 32]);
    random.fill(bytes.as_mut());
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    // Made with mode 0600, and removed again if anything fails before it has its name.
    let mut file = tempfile::Builder::new()
        .prefix(".secret")
        .tempfile_in(folder)
        .map_err(io(path))?;
    file.write_all(to_hex(bytes.as_ref()).as_bytes())
        .and_then(|()| file.write_all(b"\n"))
        .and_then(|()| file.as_file().sync_all())
        .map_err(io(path))?;
    match file.persist_noclobber(path) {
        Ok(_) => {
            File::open(folder)
                .and_then(|folder| folder.sync_all())
                .map_err(io(folder))?;
            Ok(bytes)
        }
        Err(error) if error.error.kind() == ErrorKind::AlreadyExists => read(path),
        Err(error) => Err(io(path)(error.error)),
    }
}

/// Makes a folder, with those above it, into which only its owner can look. One that exists is closed to
/// others.
///
/// # Errors
/// [`PrivateError`] if it cannot be made or closed, or is one that users share.
pub fn make_folder(folder: &Path) -> Result<(), PrivateError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(io(folder))?;
    let metadata = std::fs::metadata(folder).map_err(io(folder))?;
    if metadata.mode() & STICKY != 0 {
        return Err(PrivateError::Shared(folder.to_owned()));
    }
    close(folder, 0o700)
}

/// Checks that others cannot look into a folder.
///
/// # Errors
/// [`PrivateError`].
pub fn check_folder(folder: &Path) -> Result<(), PrivateError> {
    Ok(file::check(
        folder,
        &std::fs::metadata(folder).map_err(io(folder))?,
        0o700,
    )?)
}

/// Takes from others every right to a file or folder that exists.
fn close(path: &Path, mode: u32) -> Result<(), PrivateError> {
    let metadata = std::fs::metadata(path).map_err(io(path))?;
    if metadata.mode() & OTHERS == 0 {
        return Ok(());
    }
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).map_err(|_| {
        let exposed = FileError::Exposed {
            path: path.to_owned(),
            mode: metadata.mode() & 0o7777,
            wanted: mode,
        };
        exposed.into()
    })
}

/// Makes a file that only its owner can read, or empties one that exists and closes it to others. What is
/// not a regular file, such as a pipe, is only opened.
///
/// # Errors
/// What the system says.
pub fn create(path: &Path) -> std::io::Result<File> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_file() && metadata.mode() & OTHERS != 0 {
        file.set_permissions(PermissionsExt::from_mode(0o600))?;
    }
    Ok(file)
}

/// The files that belong to an SQLite database: itself, its write-ahead log, and the log's index.
pub fn database_files(database: &Path) -> [PathBuf; 3] {
    ["", "-wal", "-shm"].map(|suffix| {
        let mut name = database.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    })
}

/// Closes the files of an SQLite database to others, as far as there are any.
///
/// # Errors
/// [`PrivateError`] if they cannot be closed.
pub fn close_database(database: &Path) -> Result<(), PrivateError> {
    database_files(database)
        .iter()
        .filter(|file| file.exists())
        .try_for_each(|file| close(file, 0o600))
}

/// Checks that others cannot read the files of an SQLite database.
///
/// # Errors
/// [`PrivateError`].
pub fn check_database(database: &Path) -> Result<(), PrivateError> {
    for path in database_files(database) {
        match std::fs::metadata(&path) {
            Ok(metadata) => file::check(&path, &metadata, 0o600)?,
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(io(&path)(error)),
        }
    }
    Ok(())
}
