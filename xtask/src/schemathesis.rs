//! Schemathesis, which sends to the administrator's API what its description permits and forbids: it is a Python
//! program, and gets an environment of its own below `target`.

use std::path::PathBuf;
use std::process::Command;

use crate::install::{on_path, succeeds};

/// Another version finds other things, so it changes only when somebody means it.
const VERSION: &str = "4.32.5";

fn folder() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    let target = std::path::absolute(&target).unwrap_or(target);
    target.join(format!("schemathesis-{VERSION}"))
}

/// The program, if it is there.
pub(crate) fn program() -> Option<PathBuf> {
    // What was interrupted while it was installed lacks the mark.
    let folder = folder();
    let program = folder.join("bin/st");
    (folder.join("whole").is_file() && program.is_file()).then_some(program)
}

/// Installs it, if it is not there. The error is a sentence about why that failed.
pub(crate) fn install() -> Result<(), String> {
    if program().is_some() {
        return Ok(());
    }
    if !on_path("python3") {
        return Err("There is no python3.".to_owned());
    }
    let folder = folder();
    let made = succeeds(
        Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(&folder),
    );
    if !made {
        return Err("Python makes no environments here (Debian: python3-venv).".to_owned());
    }
    println!(
        "xtask: installing schemathesis {VERSION} into {}",
        folder.display()
    );
    let wanted = format!("schemathesis=={VERSION}");
    let arguments = [
        "install",
        "--quiet",
        "--disable-pip-version-check",
        wanted.as_str(),
    ];
    if !succeeds(Command::new(folder.join("bin/pip")).args(arguments)) {
        return Err(format!(
            "pip cannot install {wanted} from pypi.org. With the network, this shows why: {} install {wanted}",
            folder.join("bin/pip").display()
        ));
    }
    std::fs::write(folder.join("whole"), VERSION)
        .map_err(|error| format!("{} cannot be written: {error}", folder.display()))
}
