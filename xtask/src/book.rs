//! Builds the book of `docs/` as a site, with mdBook.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use crate::install;

/// Builds it, and says where it is.
pub(crate) fn book() -> io::Result<ExitCode> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let Some(mdbook) = program()? else {
        return Ok(ExitCode::FAILURE);
    };
    let site = install::below_target("book");
    let status = Command::new(mdbook)
        .arg("build")
        .arg(root.join("docs"))
        .arg("--dest-dir")
        .arg(&site)
        .status()?;
    if status.success() {
        println!("xtask: the book is {}", site.join("index.html").display());
    }
    Ok(crate::exit_code(status))
}

/// mdBook: the one that is installed, or else one below target, which is installed if it is not there.
fn program() -> io::Result<Option<PathBuf>> {
    if install::on_path("mdbook") {
        return Ok(Some("mdbook".into()));
    }
    let folder = install::below_target("mdbook");
    let program = folder.join("bin/mdbook");
    if program.is_file() {
        return Ok(Some(program));
    }
    println!("xtask: installing mdbook in {}", folder.display());
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let installed = Command::new(cargo)
        .args(["install", "mdbook", "--locked", "--root"])
        .arg(&folder)
        .status()?;
    if installed.success() {
        return Ok(Some(program));
    }
    eprintln!("xtask: mdbook is missing: cargo install mdbook --locked");
    Ok(None)
}
