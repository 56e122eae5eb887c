//! Who is at the command line.

use crate::access::{Caller, Origin, Principal};

/// The administrator who runs this program, by the account in the operating system.
pub(super) fn caller() -> Caller {
    let name = account_name(rustix::process::getuid().as_raw());
    Caller::from(Principal::Administrator { name }).from_there(Origin::CommandLine)
}

/// The name of an account; its number where the system does not keep names in a file.
fn account_name(uid: u32) -> String {
    let accounts = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let number = uid.to_string();
    let found = accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, id) = (fields.next()?, fields.nth(1)?);
        (id == number).then(|| name.to_owned())
    });
    found.unwrap_or_else(|| format!("uid {uid}"))
}
