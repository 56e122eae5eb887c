//! A PostgreSQL server of the run's own, which is killed too.

use std::path::{Path, PathBuf};
use std::process::{Command as Process, Stdio};
use std::time::{Duration, Instant};

use postgres::{Client, NoTls};
use tempfile::TempDir;

use super::programs::{Program, address, bound};

/// The name of its program.
pub(super) const NAME: &str = "postgres";

/// The folder of its programs; `cargo xtask chaos` says it.
const PROGRAMS: &str = "ROLLCALL_CHAOS_POSTGRES";

/// The user as whom it runs if this is root, whom it refuses.
const USER: &str = "postgres";

pub(super) struct Server {
    folder: TempDir,
    programs: PathBuf,
    user: Option<&'static str>,
    listen: std::net::SocketAddr,
}

impl Server {
    /// Makes its data; none if there is no PostgreSQL.
    pub(super) fn new() -> Option<Self> {
        let programs = PathBuf::from(std::env::var_os(PROGRAMS)?);
        let folder = tempfile::Builder::new()
            .prefix("rollcall-chaos-")
            .tempdir_in("/tmp")
            .unwrap();
        let is_root = rustix::process::geteuid().is_root();
        if is_root {
            let owned = Process::new("chown").arg(USER).arg(folder.path()).status();
            assert!(owned.unwrap().success());
        }
        let server = Self {
            user: is_root.then_some(USER),
            folder,
            programs,
            listen: address(),
        };
        let made = server
            .command("initdb")
            .arg("--pgdata")
            .arg(server.data())
            .args([
                "--username=postgres",
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C",
                "--no-sync",
            ])
            .stdout(Stdio::null())
            .status();
        assert!(made.unwrap().success(), "initdb");
        Some(server)
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn command(&self, program: &str) -> Process {
        command(&self.programs.join(program), self.user)
    }

    /// Starts it. What it has acknowledged the system has, so a kill loses nothing although nothing waits for the
    /// disk; pages that a kill cuts in half it writes whole.
    pub(super) fn start(&self) -> Program {
        let (postgres, user, data, listen) = (
            self.programs.join("postgres"),
            self.user,
            self.data(),
            self.listen,
        );
        let program = Program::start(self.folder.path(), NAME, listen, move || {
            let mut command = command(&postgres, user);
            command
                .arg("-D")
                .arg(&data)
                .args(["-p", &listen.port().to_string()])
                .args(["-c", &format!("listen_addresses={}", listen.ip())])
                .args(["-c", "unix_socket_directories=", "-c", "fsync=off"]);
            command
        });
        let deadline = Instant::now() + Duration::from_secs(30);
        while Client::connect(&self.url("postgres"), NoTls).is_err() {
            assert!(Instant::now() < deadline, "PostgreSQL does not start");
            std::thread::sleep(Duration::from_millis(50));
        }
        program
    }

    fn url(&self, database: &str) -> String {
        format!("postgres://postgres@{}/{database}", self.listen)
    }

    /// Makes a database.
    pub(super) fn database(&self, name: &str) -> String {
        let mut client = Client::connect(&self.url("postgres"), NoTls).unwrap();
        client.batch_execute(&format!("CREATE DATABASE {name}")).unwrap();
        self.url(name)
    }
}

fn command(program: &Path, user: Option<&str>) -> Process {
    let mut command = bound(program, user);
    // The user may not be allowed where we are.
    command.current_dir("/");
    command
}
