//! The program with musl: everything is in it, so it runs on any Linux of its architecture, and in an image with nothing
//! else.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Making, VERSION, program, repository, run, write_texts};
use crate::install::{below_target, install, on_path, succeeds};

/// What cargo calls this machine with musl.
pub(crate) fn target() -> String {
    format!("{}-unknown-linux-musl", std::env::consts::ARCH)
}

/// Installs musl's compiler and Rust's library for it, if they are not there.
pub(super) fn prepare() -> Result<(), String> {
    if !on_path("musl-gcc") {
        install(&["musl-tools"])?;
    }
    let target = target();
    if has_library(&target) {
        return Ok(());
    }
    println!("xtask: installing Rust's library for {target}");
    match succeeds(Command::new("rustup").args(["target", "add", &target])) {
        true => Ok(()),
        false => Err(format!(
            "Rust's library is not there; this shows why: rustup target add {target}"
        )),
    }
}

/// Whether the compiler has its library for a target.
fn has_library(target: &str) -> bool {
    let asked = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", target])
        .output();
    asked.is_ok_and(|it| Path::new(String::from_utf8_lossy(&it.stdout).trim()).is_dir())
}

/// Builds it.
pub(super) fn build(making: &Making) -> io::Result<PathBuf> {
    program(making, Some(&target()))
}

/// Makes an archive with the program, its manual pages, completions, licences, and the service.
pub(super) fn make(making: &Making) -> io::Result<PathBuf> {
    let program = build(making)?;
    let name = format!("rollcall-{VERSION}-{}-linux", std::env::consts::ARCH);
    let folder = below_target("static");
    let content = folder.join(&name);
    write_texts(&program, &content)?;
    std::fs::copy(&program, content.join("rollcall"))?;
    let repository = repository();
    for file in ["README.md", "CHANGELOG.md", "LICENSE-APACHE", "LICENSE-MIT"] {
        std::fs::copy(repository.join(file), content.join(file))?;
    }
    std::fs::copy(
        repository.join("contrib/systemd/rollcall.service"),
        content.join("rollcall.service"),
    )?;
    let archive = making.into.join(format!("{name}.tar.gz"));
    let mut tar = Command::new("tar");
    tar.args([
        "--create",
        "--gzip",
        "--sort=name",
        "--owner=0",
        "--group=0",
        "--numeric-owner",
    ]);
    run(tar
        .arg("--file")
        .arg(&archive)
        .arg("--directory")
        .arg(&folder)
        .arg(&name))?;
    Ok(archive)
}
