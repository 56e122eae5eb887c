//! The program with musl, in a root folder that has nothing but itself.

use std::path::Path;
use std::process::Command;

use super::{done, made, text, with_musl};

/// What the tests call it.
const NAME: &str = "static program";

/// The segment of an executable file that names what loads its libraries (`PT_INTERP`, System V ABI).
const INTERPRETER: u32 = 3;

/// Whether something else has to load a program: the library's loader is named in its headers (ELF-64).
fn needs_a_loader(program: &Path) -> bool {
    let file = std::fs::read(program).unwrap();
    let number = |at: usize, length: usize| {
        let bytes = file[at..at + length].iter().rev();
        usize::try_from(bytes.fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte))).unwrap()
    };
    let (first, size, count) = (number(32, 8), number(54, 2), number(56, 2));
    (0..count).any(|index| number(first + index * size, 4) == INTERPRETER as usize)
}

#[test]
fn nothing_else_is_needed() {
    let Some(program) = with_musl(NAME) else {
        return;
    };
    assert!(!needs_a_loader(&program));
    assert!(needs_a_loader(Path::new(env!("CARGO_BIN_EXE_rollcall"))));

    let root = tempfile::tempdir().unwrap();
    std::fs::copy(&program, root.path().join("rollcall")).unwrap();
    std::fs::create_dir(root.path().join("tmp")).unwrap();
    let alone = |arguments: &[&str]| {
        let mut command = Command::new("unshare");
        command.arg("--map-root-user").arg("--root").arg(root.path());
        command.env_clear().arg("/rollcall").args(arguments);
        command.output().unwrap()
    };
    // Whom to trust is the system's to say. Without that it tells what to install.
    let tested = alone(&["--data-dir", "/data", "self-test"]);
    let told = text(&tested);
    assert!(
        !tested.status.success() && told.contains("ca-certificates"),
        "{told}"
    );
    let authorities = root.path().join("etc/ssl/certs");
    std::fs::create_dir_all(&authorities).unwrap();
    let file = "ca-certificates.crt";
    std::fs::copy(Path::new("/etc/ssl/certs").join(file), authorities.join(file)).unwrap();

    let tested = alone(&["--data-dir", "/data", "self-test"]);
    assert!(tested.status.success(), "{}", text(&tested));
}

#[test]
fn the_archive_has_everything() {
    if with_musl(NAME).is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let Some(archive) = made("static", NAME, folder.path()) else {
        return;
    };
    done(
        Command::new("tar")
            .arg("--extract")
            .arg("--file")
            .arg(&archive)
            .arg("--directory")
            .arg(folder.path()),
    );
    let name = archive.file_name().unwrap().to_str().unwrap();
    let content = folder.path().join(name.strip_suffix(".tar.gz").unwrap());
    for file in [
        "README.md",
        "LICENSE-MIT",
        "rollcall.service",
        "rollcall.toml",
        "man/rollcall.1",
        "completions/_rollcall",
    ] {
        assert!(content.join(file).is_file(), "{file} is missing");
    }
    let version = done(Command::new(content.join("rollcall")).arg("--version"));
    assert_eq!(version, concat!("rollcall ", env!("CARGO_PKG_VERSION"), "\n"));
    // The configuration that comes with it can be used.
    let configuration = content.join("rollcall.toml");
    let mut command = Command::new(content.join("rollcall"));
    command
        .arg("--config")
        .arg(&configuration)
        .args(["--data-dir"])
        .arg(folder.path().join("data"));
    done(command.arg("self-test"));
}
