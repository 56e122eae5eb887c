//! What is handed out, made as `cargo xtask package` makes it, and installed and started where nothing else of Rollcall
//! is: the Debian package on a Debian with systemd, the program with musl in an empty root folder, the image by Buildah.

mod debian;
mod image;
mod machine;
mod program;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;

use rollcall_db::testing::did_not_run;

/// The program that makes packages.
const PACKAGER: &str = "ROLLCALL_TEST_PACKAGER";

/// The program with musl.
const STATIC: &str = "ROLLCALL_TEST_STATIC";

/// Held while something is made.
static MAKING: Mutex<()> = Mutex::new(());

/// Makes a part of what is handed out, of the programs that are built for the tests, and returns where it is. Without
/// what makes it, it is noted that the test did not run.
fn made(part: &str, tested_as: &str, folder: &Path) -> Option<PathBuf> {
    let Some(packager) = std::env::var_os(PACKAGER) else {
        did_not_run(
            tested_as,
            &format!("{PACKAGER} is not set; cargo xtask test sets it"),
        );
        return None;
    };
    // Each is made in one folder below target.
    let _alone = MAKING.lock();
    let mut command = Command::new(packager);
    command.args(["package", part, "--debug", "--built", "--into"]);
    let told = done(command.arg(folder));
    let made = told.lines().find_map(|line| line.strip_prefix("xtask: made "));
    Some(made.unwrap_or_else(|| panic!("nothing was made: {told}")).into())
}

/// Whether the program with musl is at hand; if not, it is noted that the test did not run.
fn with_musl(tested_as: &str) -> Option<PathBuf> {
    let program = std::env::var_os(STATIC);
    if program.is_none() {
        let why = format!("{STATIC} is not set; cargo xtask test without arguments builds the program");
        did_not_run(tested_as, &why);
    }
    program.map(PathBuf::from)
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// What a command that has to succeed writes to its standard output.
fn done(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?} fails: {}", text(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// Both outputs together.
fn text(output: &Output) -> String {
    let (out, error) = (&output.stdout, &output.stderr);
    format!(
        "{}{}",
        String::from_utf8_lossy(out),
        String::from_utf8_lossy(error)
    )
}
