//! The command line with a hub elsewhere: the real program against the real program, over HTTP, with no access to the
//! database.

mod reading;
mod refused;
mod scim;
mod waiting;
mod writing;

use std::path::{Path, PathBuf};
use std::process::{Command as Process, Output, Stdio};

use rollcall::hub::Hub;
use serde_json::Value;
use tempfile::TempDir;

use crate::operate::Served;
use crate::strangers;
use crate::world::open_hub;

/// A hub as a process, and commands on its database and elsewhere.
struct Place {
    database: String,
    /// The hub's folder.
    here: TempDir,
    /// A folder of somebody who has a token and nothing else.
    there: TempDir,
    served: Served,
}

/// What a command printed, what it said beside it, and its exit code.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    out: String,
    beside: String,
    code: i32,
}

impl Told {
    fn of(output: &Output) -> Self {
        Self {
            out: String::from_utf8(output.stdout.clone()).unwrap(),
            beside: String::from_utf8(output.stderr.clone()).unwrap(),
            code: output.status.code().unwrap(),
        }
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|_| panic!("{self:?}"))
    }

    /// The code, the message and the hint of an error under `--json`.
    fn error(&self) -> (String, String, String) {
        let error: Value = serde_json::from_str(&self.beside).unwrap_or_else(|_| panic!("{self:?}"));
        let text = |name: &str| error["error"][name].as_str().unwrap_or_default().to_owned();
        (text("code"), text("message"), text("hint"))
    }
}

/// Writes a file that only its owner may read.
fn private(path: &Path, text: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path.to_owned()
}

/// The program, in a folder where there is no hub.
fn program(folder: &Path) -> Process {
    let mut process = Process::new(env!("CARGO_BIN_EXE_rollcall"));
    process
        .current_dir(folder)
        .stdin(Stdio::null())
        .env("HOME", folder)
        .env_remove("ROLLCALL_LOG")
        .env_remove("ROLLCALL_DATA_DIR");
    process
}

impl Place {
    fn start(database: &str) -> Self {
        Self::with(database, "")
    }

    /// The same, with these settings of its server.
    fn with(database: &str, server: &str) -> Self {
        let here = strangers::folder(server);
        let served = strangers::serve(here.path(), database);
        let there = tempfile::tempdir().unwrap();
        let token = strangers::token(here.path());
        private(&there.path().join("token"), &format!("{token}\n"));
        Self {
            database: database.to_owned(),
            here,
            there,
            served,
        }
    }

    /// The hub, for what no command does.
    async fn hub(&self) -> Hub {
        open_hub(&self.database).await
    }

    fn server(&self) -> String {
        format!("http://{}", self.served.address)
    }

    /// A command on the hub's database.
    fn beside(&self, arguments: &[&str]) -> Process {
        let mut process = Process::new(env!("CARGO_BIN_EXE_rollcall"));
        process
            .args(["--config", "rollcall.toml", "--database", &self.database])
            .args(arguments)
            .current_dir(self.here.path())
            .stdin(Stdio::null())
            .env("ROLLCALL_DATA_DIR", self.here.path().join("data"))
            .env_remove("ROLLCALL_LOG");
        process
    }

    /// A command of somebody who has the token in a file.
    fn remote(&self, token: &str, arguments: &[&str]) -> Process {
        let mut process = program(self.there.path());
        process
            .args(["--server", &self.server(), "--token-file", token])
            .args(arguments);
        process
    }

    async fn here(&self, arguments: &[&str]) -> Told {
        run(self.beside(arguments)).await
    }

    async fn there(&self, arguments: &[&str]) -> Told {
        run(self.remote("token", arguments)).await
    }

    /// What a command elsewhere prints, which does its work.
    async fn done(&self, arguments: &[&str]) -> String {
        let told = self.there(arguments).await;
        assert_eq!(told.code, 0, "{arguments:?}: {told:?}");
        told.out
    }

    async fn json(&self, arguments: &[&str]) -> Value {
        let told = self.there(&[&["--json"], arguments].concat()).await;
        assert_eq!(told.code, 0, "{arguments:?}: {told:?}");
        told.json()
    }
}

/// Runs a command while the endpoints of the test answer.
async fn run(mut process: Process) -> Told {
    let output = tokio::task::spawn_blocking(move || process.output().unwrap());
    Told::of(&output.await.unwrap())
}
