//! The Debian package, by cargo-deb. What is in it stands in `crates/rollcall/Cargo.toml`.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Making, Profile, cargo, program, run, write_texts};
use crate::install::{below_target, install, is_root, on_path, succeeds};

/// What a machine has besides Debian's smallest set, so that a service can be installed and started in it.
const BESIDES: &str = "systemd,systemd-sysv,ca-certificates";

/// Where cargo-deb is, or will be.
fn cargo_deb() -> PathBuf {
    below_target("cargo-deb/bin/cargo-deb")
}

/// Installs cargo-deb below `target`, if it is not there.
pub(super) fn prepare() -> Result<(), String> {
    if cargo_deb().is_file() {
        return Ok(());
    }
    let folder = below_target("cargo-deb");
    println!("xtask: installing cargo-deb into {}", folder.display());
    let mut command = Command::new(cargo());
    command.args(["install", "cargo-deb", "--locked", "--quiet", "--root"]);
    match succeeds(command.arg(&folder)) {
        true => Ok(()),
        false => {
            Err("cargo installs no cargo-deb; this shows why: cargo install cargo-deb --locked".to_owned())
        }
    }
}

/// The folder with a small Debian in which the tests install the package, if there is one.
pub(crate) fn machine() -> Option<PathBuf> {
    let folder = below_target("debian");
    folder.join("whole").is_file().then(|| folder.join("root"))
}

/// Makes the Debian in which the tests install the package, if it is not there. The error is a sentence about why that
/// failed.
pub(crate) fn prepare_machine() -> Result<(), String> {
    if machine().is_some() {
        return Ok(());
    }
    if !is_root() {
        return Err("A Debian to install it in is made by root alone.".to_owned());
    }
    if !succeeds(Command::new("unshare").args([
        "--mount", "--pid", "--net", "--uts", "--ipc", "--cgroup", "--fork", "true",
    ])) {
        return Err("Namespaces are not permitted here, so no Debian can be started in them.".to_owned());
    }
    if !on_path("debootstrap") && !Path::new("/usr/sbin/debootstrap").is_file() {
        install(&["debootstrap"])?;
    }
    let codename = codename()
        .ok_or("/etc/os-release names no VERSION_CODENAME, so the Debian to install it in is unknown.")?;
    let folder = below_target("debian");
    let unwritten = |error: io::Error| format!("{} cannot be written: {error}.", folder.display());
    let root = folder.join("root");
    if root.exists() {
        // One that was interrupted.
        std::fs::remove_dir_all(&root).map_err(unwritten)?;
    }
    std::fs::create_dir_all(&root).map_err(unwritten)?;
    println!("xtask: making a small Debian ({codename}) in {}", root.display());
    let include = format!("--include={BESIDES}");
    let mut command = Command::new("debootstrap");
    command
        .args(["--variant=minbase", &include, &codename])
        .arg(&root);
    if !succeeds(&mut command) {
        return Err(format!(
            "debootstrap fails; {} says why.",
            root.join("debootstrap/debootstrap.log").display()
        ));
    }
    // Packages that were fetched are of no use any more.
    let _ = std::fs::remove_dir_all(root.join("var/cache/apt/archives"));
    std::fs::write(folder.join("whole"), codename).map_err(unwritten)
}

/// The name of this machine's release.
fn codename() -> Option<String> {
    let told = std::fs::read_to_string("/etc/os-release").ok()?;
    let name = told
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))?;
    Some(name.trim_matches('"').to_owned())
}

/// Makes the package.
pub(super) fn make(making: &Making) -> io::Result<PathBuf> {
    let program = program(making, None)?;
    // cargo-deb finds what lies beside the program, whatever the profile is.
    let texts = program.with_file_name("dist");
    write_texts(&program, &texts)?;
    // Debian has manual pages compressed, and without the time, so that the same page is the same file.
    run(Command::new("gzip")
        .args(["--recursive", "--best", "--no-name"])
        .arg(texts.join("man")))?;
    let before = packages(&making.into)?;
    for old in before {
        std::fs::remove_file(old)?;
    }
    let mut command = Command::new(cargo_deb());
    command.args(["-p", "rollcall", "--no-build", "--quiet", "--locked"]);
    command.args(["--profile", making.profile.name(), "--output"]);
    command.arg(&making.into);
    if matches!(making.profile, Profile::Dev) {
        // It is large, and made to be tried.
        command.arg("--fast");
    }
    run(command.current_dir(super::repository()))?;
    let made = packages(&making.into)?.pop();
    made.ok_or_else(|| io::Error::other("cargo-deb has made no package"))
}

fn packages(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut packages = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            packages.push(path);
        }
    }
    Ok(packages)
}
