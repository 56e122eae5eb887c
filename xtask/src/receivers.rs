//! The receivers of `contrib/receivers` that the tests start: each with what it needs, in a folder of its own below
//! `target`, made as its README says. The one in Rust is an example of the workspace, which cargo builds.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::install::{below_target, on_path, succeeds};
use crate::node;

/// The variable that names the folder in which they are to the tests.
pub(crate) const VARIABLE: &str = "ROLLCALL_TEST_RECEIVERS";

/// The libraries that the receiver in Java needs besides the JDK.
const JARS: &str = "/usr/share/java/jackson-databind.jar:/usr/share/java/sqlite-jdbc.jar";

/// Where Debian puts the sources of Go's packages.
const GO_PATH: &str = "/usr/share/gocode";

/// A language in which there is a receiver.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    Python,
    Node,
    Java,
    Go,
}

/// All of them.
pub(crate) const ALL: [Language; 4] = [Language::Python, Language::Node, Language::Java, Language::Go];

/// Whether there is a JDK with the libraries.
pub(crate) fn has_java() -> bool {
    on_path("javac") && JARS.split(':').all(|jar| Path::new(jar).is_file())
}

/// Whether there is Go with the driver of SQLite.
pub(crate) fn has_go() -> bool {
    on_path("go")
        && Path::new(GO_PATH)
            .join("src/github.com/mattn/go-sqlite3")
            .is_dir()
}

/// Whether npm can compile what it cannot download.
pub(crate) fn has_compilers() -> bool {
    ["g++", "make"].iter().all(|it| on_path(it))
}

/// The folder with all of them.
pub(crate) fn folder() -> PathBuf {
    below_target("receivers")
}

impl Language {
    /// The name of its folder.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::Node => "node",
            Self::Java => "java",
            Self::Go => "go",
        }
    }

    fn sources(self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../contrib/receivers")
            .join(self.name())
    }

    /// Whether what it is written in is there.
    fn is_there(self) -> bool {
        match self {
            Self::Python => on_path("python3"),
            Self::Node => node::is_there(),
            Self::Java => has_java(),
            Self::Go => has_go(),
        }
    }

    /// Makes it, unless it is there as its sources are now. The error is a sentence about why that failed. Of a language
    /// that is not there at all it says nothing: that is told by itself.
    pub(crate) fn prepare(self) -> Result<(), String> {
        let folder = folder().join(self.name());
        let mark = self
            .mark(&folder)
            .map_err(|error| format!("{} cannot be read: {error}.", self.sources().display()))?;
        let told = folder.join("whole");
        if std::fs::read_to_string(&told).is_ok_and(|told| told == mark) {
            return Ok(());
        }
        // One of an earlier version must not be taken for this one.
        let _ = std::fs::remove_dir_all(&folder);
        if !self.is_there() {
            return Ok(());
        }
        println!("xtask: making the receiver in contrib/receivers/{}", self.name());
        let unwritten = |error: io::Error| format!("{} cannot be written: {error}.", folder.display());
        self.copy_to(&folder).map_err(unwritten)?;
        for mut command in self.commands() {
            if !succeeds(command.current_dir(&folder)) {
                return Err(format!(
                    "This fails, and shows why: cd {} && {command:?}",
                    folder.display()
                ));
            }
        }
        std::fs::write(told, mark).map_err(unwritten)
    }

    /// What it is made of, and where: an environment of Python's names its interpreter by its path.
    fn mark(self, folder: &Path) -> io::Result<String> {
        let mut mark = folder.display().to_string();
        for file in self.files()? {
            mark.push_str(&std::fs::read_to_string(file)?);
        }
        Ok(mark)
    }

    /// Its sources, by name.
    fn files(self) -> io::Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(self.sources())? {
            let path = entry?.path();
            let is_made = path.extension().is_some_and(|extension| extension == "db");
            if path.is_file() && !is_made {
                files.push(path);
            }
        }
        files.sort();
        Ok(files)
    }

    fn copy_to(self, folder: &Path) -> io::Result<()> {
        std::fs::create_dir_all(folder)?;
        for file in self.files()? {
            if let Some(name) = file.file_name() {
                std::fs::copy(&file, folder.join(name))?;
            }
        }
        Ok(())
    }

    fn commands(self) -> Vec<Command> {
        let command = |program: &str, arguments: &[&str]| {
            let mut command = Command::new(program);
            command.args(arguments);
            command
        };
        match self {
            Self::Python => vec![
                command("python3", &["-m", "venv", ".venv"]),
                command(
                    ".venv/bin/pip",
                    &[
                        "install",
                        "--quiet",
                        "--disable-pip-version-check",
                        "-r",
                        "requirements.txt",
                    ],
                ),
            ],
            Self::Node => {
                let mut npm = command("npm", &["ci", "--no-audit", "--no-fund"]);
                if Path::new("/usr/include/node").is_dir() {
                    // What cannot be downloaded is compiled, with the headers of this Node.js.
                    npm.env("npm_config_nodedir", "/usr");
                }
                vec![npm]
            }
            Self::Java => vec![command(
                "javac",
                &["-cp", JARS, "-d", "build", "Receiver.java", "Store.java"],
            )],
            Self::Go => {
                let mut go = command("go", &["build", "-tags", "libsqlite3", "-o", "receiver", "."]);
                go.env("GO111MODULE", "off").env("GOPATH", GO_PATH);
                vec![go]
            }
        }
    }
}
