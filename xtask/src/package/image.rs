//! The container image, of `contrib/container/Containerfile`, with the program that is built here in the place of the
//! stage that would build it. Buildah makes it, which needs neither a service nor anything from a registry.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Making, VERSION, begin_anew, musl, repository, run};
use crate::install::{below_target, install, on_path};

/// The authorities that the hub trusts when it sends to an application.
const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Installs Buildah and what builds the program, if they are not there.
pub(super) fn prepare() -> Result<(), String> {
    musl::prepare()?;
    let mut packages = Vec::new();
    if !on_path("buildah") {
        packages.push("buildah");
    }
    if !Path::new(AUTHORITIES).is_file() {
        packages.push("ca-certificates");
    }
    match packages.is_empty() {
        true => Ok(()),
        false => install(&packages),
    }
}

/// Makes an archive that Podman and Docker load.
pub(super) fn make(making: &Making) -> io::Result<PathBuf> {
    let program = musl::build(making)?;
    let folder = below_target("image");
    let stage = folder.join("stage");
    write_stage(&program, &stage)?;
    let archive = making
        .into
        .join(format!("rollcall-{VERSION}-{}-image.tar", std::env::consts::ARCH));
    // Buildah adds to an archive that is there.
    match std::fs::remove_file(&archive) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let buildah = || {
        let mut command = Command::new("buildah");
        // Images of its own, so that those of this machine's user stay as they are.
        command.arg("--root").arg(folder.join("images"));
        command.arg("--runroot").arg(folder.join("running"));
        command.args(["--storage-driver", "vfs"]);
        command
    };
    let name = format!("localhost/rollcall:{VERSION}");
    let mut build = buildah();
    build.args(["build", "--quiet", "--isolation", "chroot", "--build-context"]);
    build.arg(format!("builder={}", stage.display()));
    build.args(["--file", "contrib/container/Containerfile", "--tag", &name, "."]);
    run(build.current_dir(repository()))?;
    let to = format!("docker-archive:{}:{name}", archive.display());
    run(buildah().args(["push", "--quiet", &name, &to]))?;
    Ok(archive)
}

/// Writes what the Containerfile takes from its first stage.
fn write_stage(program: &Path, stage: &Path) -> io::Result<()> {
    begin_anew(stage)?;
    let image = stage.join("image");
    for folder in ["usr/local/bin", "etc/ssl/certs", "tmp"] {
        std::fs::create_dir_all(image.join(folder))?;
    }
    std::fs::create_dir_all(stage.join("data"))?;
    std::fs::set_permissions(image.join("tmp"), Permissions::from_mode(0o1777))?;
    std::fs::copy(program, image.join("usr/local/bin/rollcall"))?;
    std::fs::copy(AUTHORITIES, image.join("etc/ssl/certs/ca-certificates.crt"))?;
    Ok(())
}
