//! What is handed out: a Debian package, a program that needs no library of the system (with musl), and a container
//! image with that program and nothing else. The tests install and start each of them, made by the same code.

mod debian;
mod image;
mod musl;
mod sources;

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use crate::install::below_target;

pub(crate) use self::debian::{machine as debian_machine, prepare_machine as prepare_debian_machine};
pub(crate) use self::musl::target as static_target;
pub(crate) use self::sources::build as build_from_packages;

/// What can be made.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Debian,
    Static,
    Image,
}

/// All of it.
pub(crate) const ALL: [Part; 3] = [Part::Debian, Part::Static, Part::Image];

impl Part {
    /// Its name on the command line.
    fn name(self) -> &'static str {
        match self {
            Self::Debian => "deb",
            Self::Static => "static",
            Self::Image => "image",
        }
    }

    /// What the tests call it.
    pub(crate) fn tested_as(self) -> &'static str {
        match self {
            Self::Debian => "debian package",
            Self::Static => "static program",
            Self::Image => "container image",
        }
    }

    /// Installs what making and testing it takes, if it is not there. The error is a sentence about why that failed.
    pub(crate) fn prepare(self) -> Result<(), String> {
        match self {
            Self::Debian => debian::prepare(),
            Self::Static => musl::prepare(),
            Self::Image => image::prepare(),
        }
    }
}

/// How it is compiled.
#[derive(Clone, Copy)]
enum Profile {
    Release,
    Dev,
}

impl Profile {
    /// Its name to cargo.
    fn name(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Dev => "dev",
        }
    }

    /// The folder below `target` of what it builds.
    fn folder(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Dev => "debug",
        }
    }
}

/// How something is made.
struct Making {
    profile: Profile,
    /// Take the program as it was built last.
    built: bool,
    /// Where the result goes.
    into: PathBuf,
}

/// Makes what the arguments name, or everything, and says where it is.
pub(crate) fn package(arguments: &[OsString]) -> io::Result<ExitCode> {
    let mut making = Making {
        profile: Profile::Release,
        built: false,
        into: below_target("dist"),
    };
    let mut parts = Vec::new();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("--debug") => making.profile = Profile::Dev,
            Some("--built") => making.built = true,
            Some("--into") => {
                let folder = arguments.next();
                making.into = folder
                    .ok_or_else(|| io::Error::other("--into names a folder"))?
                    .into();
            }
            named => match ALL.into_iter().find(|part| named == Some(part.name())) {
                Some(part) => parts.push(part),
                None => {
                    eprintln!("xtask: what to make is deb, static or image, not {argument:?}");
                    return Ok(ExitCode::from(2));
                }
            },
        }
    }
    if parts.is_empty() {
        parts.extend(ALL);
    }
    std::fs::create_dir_all(&making.into)?;
    for part in parts {
        part.prepare().map_err(io::Error::other)?;
        let made = match part {
            Part::Debian => debian::make(&making)?,
            Part::Static => musl::make(&making)?,
            Part::Image => image::make(&making)?,
        };
        println!("xtask: made {}", made.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// Builds the program, unless it is to be taken as it is, and returns where it is. Without a target it is for this
/// machine's own C library.
fn program(making: &Making, target: Option<&str>) -> io::Result<PathBuf> {
    let mut folder = below_target("");
    let mut command = Command::new(cargo());
    command.args(["build", "--locked", "-p", "rollcall", "--bin", "rollcall"]);
    command.args(["--profile", making.profile.name()]);
    if let Some(target) = target {
        command.args(["--target", target]);
        folder.push(target);
    }
    if !making.built {
        run(&mut command)?;
    }
    let program = folder.join(making.profile.folder()).join("rollcall");
    if program.is_file() {
        return Ok(program);
    }
    Err(io::Error::other(format!(
        "{} is not built; without --built it is",
        program.display()
    )))
}

/// Has the program write what comes with it: manual pages, completions and the configuration of a hub that keeps its
/// data in `/var/lib/rollcall`.
fn write_texts(program: &Path, folder: &Path) -> io::Result<()> {
    // A page of a command that is gone must not be packed again.
    begin_anew(folder)?;
    std::fs::create_dir_all(folder.join("completions"))?;
    run(Command::new(program).arg("man").arg(folder.join("man")))?;
    let said = |arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output()?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        Err(io::Error::other(format!(
            "{} {arguments:?} fails",
            program.display()
        )))
    };
    for (shell, file) in [
        ("bash", "rollcall"),
        ("zsh", "_rollcall"),
        ("fish", "rollcall.fish"),
    ] {
        let script = said(&["completions", shell])?;
        std::fs::write(folder.join("completions").join(file), script)?;
    }
    let example = String::from_utf8(said(&["example"])?).map_err(io::Error::other)?;
    let default = "#data_dir = \"rollcall-data\"";
    if !example.contains(default) {
        return Err(io::Error::other(format!(
            "the configuration has no line {default}"
        )));
    }
    let example = example.replace(default, "data_dir = \"/var/lib/rollcall\"");
    std::fs::write(folder.join("rollcall.toml"), example)
}

/// Makes a folder that has nothing in it, whatever was there.
fn begin_anew(folder: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => std::fs::create_dir_all(folder),
    }
}

/// The version of what is made.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The top folder of the repository.
fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// Runs a command, which has to succeed.
fn run(command: &mut Command) -> io::Result<()> {
    let status = command.status()?;
    if status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("this fails: {command:?}")))
}
