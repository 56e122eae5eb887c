//! A PostgreSQL server of the run's own, which is killed too.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command as Process, Stdio};
use std::time::{Duration, Instant};

use postgres::{Client, NoTls};
use tempfile::TempDir;

use super::apart::Disk;
use crate::programs::{Program, address, bound};

/// The name of its program.
pub(super) const NAME: &str = "postgres";

/// The folder of its programs; `cargo xtask chaos` says it.
const PROGRAMS: &str = "ROLLCALL_CHAOS_POSTGRES";

/// The user as whom it runs if this is root, whom it refuses.
const USER: &str = "postgres";

/// Whether there is PostgreSQL.
pub(super) fn is_there() -> bool {
    std::env::var_os(PROGRAMS).is_some()
}

pub(super) struct Server {
    /// Where it writes what it has to say.
    folder: TempDir,
    /// Its data, which may be on a disk of its own.
    data: PathBuf,
    programs: PathBuf,
    user: Option<&'static str>,
    listen: std::net::SocketAddr,
}

impl Server {
    /// Makes its data, on a disk of its own if there is one.
    pub(super) fn new(disk: Option<&Disk>) -> Self {
        let programs = PathBuf::from(std::env::var_os(PROGRAMS).unwrap());
        let folder = tempfile::Builder::new()
            .prefix("rollcall-chaos-")
            .tempdir_in("/tmp")
            .unwrap();
        let holds = disk.map_or(folder.path(), Disk::folder);
        let is_root = rustix::process::geteuid().is_root();
        if is_root {
            let owned = Process::new("chown").arg(USER).arg(holds).status();
            assert!(owned.unwrap().success());
        }
        let server = Self {
            data: holds.join("data"),
            user: is_root.then_some(USER),
            folder,
            programs,
            listen: address(),
        };
        let made = server
            .command("initdb")
            .arg("--pgdata")
            .arg(&server.data)
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
        server
    }

    fn command(&self, program: &str) -> Process {
        command(&self.programs.join(program), self.user)
    }

    /// Starts it, at all addresses of its port, so that each client can have one of its own. What it has acknowledged the system has, so a kill loses nothing although nothing waits for the
    /// disk; pages that a kill cuts in half it writes whole.
    pub(super) fn start(&self) -> Program {
        let (postgres, user, data, listen) = (
            self.programs.join("postgres"),
            self.user,
            self.data.clone(),
            self.listen,
        );
        let program = Program::start(self.folder.path(), NAME, move || {
            let mut command = command(&postgres, user);
            command
                .arg("-D")
                .arg(&data)
                .args(["-p", &listen.port().to_string()])
                .args(["-c", "listen_addresses=0.0.0.0"])
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
    pub(super) fn database(&self, name: &str) -> Database {
        let mut client = Client::connect(&self.url("postgres"), NoTls).unwrap();
        client.batch_execute(&format!("CREATE DATABASE {name}")).unwrap();
        Database {
            url: self.url(name),
            name: name.to_owned(),
            port: self.listen.port(),
        }
    }
}

/// A database of the server.
pub(super) struct Database {
    /// For us, who are not cut off.
    pub(super) url: String,
    name: String,
    port: u16,
}

impl Database {
    /// Another address for the same, which can be cut off alone.
    pub(super) fn apart(&self) -> (String, IpAddr) {
        let ip = address().ip();
        let url = format!("postgres://postgres@{ip}:{}/{}", self.port, self.name);
        (url, ip)
    }
}

fn command(program: &Path, user: Option<&str>) -> Process {
    let mut command = bound(&Process::new(program), user);
    // The user may not be allowed where we are.
    command.current_dir("/");
    command
}
