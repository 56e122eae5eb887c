//! What a file says, without looking at a directory.

use std::sync::Arc;

use super::entry::{GroupEntry, UnitEntry, UserEntry};
use super::reader::{Entries, File, Source};
use super::{ImportError, Options, Trouble};

/// The entries of a file, each kind in the file's order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Contents {
    /// The organizational units that it lists.
    pub units: Vec<UnitEntry>,
    /// The users.
    pub users: Vec<UserEntry>,
    /// The groups that it lists.
    pub groups: Vec<GroupEntry>,
    /// How many entries cannot be read, by their own fault.
    pub refused: u64,
    /// How many entries are none of these.
    pub passed_over: u64,
}

/// Reads all that the bytes of a file say. An import reads the same in portions, from the file that the options
/// name, and compares it with the directory.
///
/// # Errors
/// [`ImportError`] if these are not the bytes of such a file.
pub fn contents(bytes: &[u8], options: &Options) -> Result<Contents, ImportError> {
    let file = File::from(Source::Memory(Arc::from(bytes)), options)?;
    let mut refused = 0;
    Ok(Contents {
        units: gather(file.units()?, &mut refused)?,
        groups: gather(file.groups()?, &mut refused)?,
        users: gather(file.users()?, &mut refused)?,
        passed_over: file.passed_over(),
        refused,
    })
}

fn gather<T>(entries: Entries<T>, refused: &mut u64) -> Result<Vec<T>, ImportError> {
    let mut gathered = Vec::new();
    for entry in entries {
        match entry {
            Ok(entry) => gathered.push(entry),
            Err(Trouble::Entry(_)) => *refused += 1,
            // The entry that it is about follows.
            Err(Trouble::Note(_)) => {}
            Err(Trouble::File(error)) => return Err(error),
        }
    }
    Ok(gathered)
}
