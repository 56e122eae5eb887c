//! The crates as cargo packs them for others, and the hub built from them: what `cargo install` would build. A file that
//! the sources include and no package has is found here, and nowhere else.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Profile, VERSION, begin_anew, cargo, repository, run};
use crate::install::below_target;

/// Builds the hub unoptimized from packages, for a target if one is named, and returns where it is.
pub(crate) fn build(target: Option<&str>) -> io::Result<PathBuf> {
    let mut pack = Command::new(cargo());
    pack.args([
        "package",
        "--workspace",
        "--exclude",
        "xtask",
        "--exclude",
        "rollcall-fuzz",
    ]);
    // What is not committed yet is meant too. It is built below, all of it at once.
    pack.args(["--locked", "--allow-dirty", "--no-verify", "--quiet"]);
    run(pack.current_dir(repository()))?;

    let folder = below_target("packaged");
    begin_anew(&folder)?;
    write_workspace(&unpack(&folder)?, &folder)?;

    let mut build = Command::new(cargo());
    build.args(["build", "-p", "rollcall", "--bin", "rollcall"]);
    let mut built = below_target("");
    if let Some(target) = target {
        build.args(["--target", target]);
        built.push(target);
    }
    // What they depend on is built once for them and for the sources.
    build
        .env("CARGO_TARGET_DIR", below_target(""))
        .current_dir(&folder);
    run(&mut build)?;
    Ok(built.join(Profile::Dev.folder()).join("rollcall"))
}

/// Unpacks the packages, and returns the names of the crates.
fn unpack(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(below_target("package"))? {
        let path = entry?.path();
        let file = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let Some(name) = file.strip_suffix(&format!("-{VERSION}.crate")) else {
            continue;
        };
        let mut tar = Command::new("tar");
        // All files of a package have one time of long ago, by which cargo would take what has changed for what it has
        // built already.
        tar.args(["--extract", "--gzip", "--touch", "--file"]).arg(&path);
        run(tar.arg("--directory").arg(folder))?;
        names.push(name.to_owned());
    }
    names.sort();
    Ok(names)
}

/// Writes what makes the crates find each other, with the versions and the profiles of the repository.
fn write_workspace(names: &[String], folder: &Path) -> io::Result<()> {
    let here = std::fs::read_to_string(repository().join("Cargo.toml"))?;
    let profiles = here.find("[profile.").and_then(|at| here.get(at..));
    let profiles = profiles.ok_or_else(|| io::Error::other("Cargo.toml has no profile"))?;
    let mut text = String::from("[workspace]\nresolver = \"3\"\nmembers = [\"*\"]\n\n[patch.crates-io]\n");
    for name in names {
        let written = writeln!(text, "{name} = {{ path = \"{name}-{VERSION}\" }}");
        written.map_err(io::Error::other)?;
    }
    text.push('\n');
    text.push_str(profiles);
    std::fs::write(folder.join("Cargo.toml"), text)?;
    std::fs::copy(repository().join("Cargo.lock"), folder.join("Cargo.lock"))?;
    Ok(())
}
