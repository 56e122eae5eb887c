//! A PostgreSQL server for one run of the tests.
//!
//! It runs under a small shell that waits for the end of its standard input. We hold the other end,
//! so the server stops when we drop it, and also when we are killed or interrupted, which std alone
//! gives no way to notice: the shell then stops the server and removes its directory. It has a
//! process group of its own, so that Ctrl-C reaches it only in this way.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::install;

/// PostgreSQL refuses to run as root; the Debian package makes this user.
const USER: &str = "postgres";

/// Starts the server and guards it. `$1` is its directory, `$2` PostgreSQL's, `$3` the port.
///
/// Durability is off: the data lives for minutes, and the tests make hundreds of databases.
const GUARD: &str = r#"
"$2/initdb" --pgdata="$1/data" --username=postgres --auth=trust --encoding=UTF8 --locale=C --no-sync \
    >"$1/log" 2>&1 </dev/null || { echo failed; exit 1; }
"$2/postgres" -D "$1/data" -p "$3" -c listen_addresses=127.0.0.1 -c unix_socket_directories= \
    -c fsync=off -c synchronous_commit=off -c full_page_writes=off -c max_connections=300 \
    >>"$1/log" 2>&1 </dev/null &
server=$!
echo started
read -r _
kill -INT "$server" 2>/dev/null
wait "$server"
rm -rf "$1"
"#;

/// A server that runs until this is dropped.
pub(crate) struct Server {
    guard: Child,
    directory: PathBuf,
    port: u16,
}

impl Server {
    pub(crate) fn start() -> io::Result<Self> {
        let programs = install::postgres_directory().ok_or_else(|| io::Error::other("it was not found"))?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        // As root we hand the directory to another user, who must be able to reach it.
        let parent = if install::is_root() {
            "/tmp".into()
        } else {
            std::env::temp_dir()
        };
        let directory = parent.join(format!("rollcall-postgres-{}", std::process::id()));
        std::fs::create_dir(&directory)?;
        let guard = guard(&directory, &programs, port).inspect_err(|_| {
            let _ = std::fs::remove_dir_all(&directory);
        })?;
        let mut server = Self {
            guard,
            directory,
            port,
        };
        server
            .wait()
            .map_err(|error| io::Error::new(error.kind(), format!("{error}\n{}", server.log())))?;
        println!("xtask: PostgreSQL from {} on port {port}", programs.display());
        Ok(server)
    }

    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}", self.port)
    }

    fn wait(&mut self) -> io::Result<()> {
        let mut word = [0; 8];
        let output = self
            .guard
            .stdout
            .as_mut()
            .ok_or_else(|| io::Error::other("no output"))?;
        let length = output.read(&mut word)?;
        if &word[..length] != b"started\n" {
            return Err(io::Error::other("initdb failed"));
        }
        for _ in 0..300 {
            if is_ready(self.port) {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(100));
        }
        Err(io::ErrorKind::TimedOut.into())
    }

    fn log(&self) -> String {
        let mut log = String::new();
        let _ = File::open(self.directory.join("log")).and_then(|mut it| it.read_to_string(&mut log));
        log
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
        if let Err(error) = std::fs::remove_dir_all(&self.directory)
            && error.kind() != io::ErrorKind::NotFound
        {
            println!("xtask: {} stays behind: {error}", self.directory.display());
        }
    }
}

/// Starts the guard, as another user if we are root.
fn guard(directory: &Path, programs: &Path, port: u16) -> io::Result<Child> {
    let mut command = if install::is_root() {
        run(Command::new("chown").arg(USER).arg(directory))?;
        if install::on_path("setpriv") {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", USER, "--regid", USER, "--init-groups"]);
            command
        } else {
            let mut command = Command::new("runuser");
            command.args(["-u", USER, "--"]);
            command
        }
    } else {
        Command::new("env")
    };
    command
        .args(["sh", "-c", GUARD, "sh"])
        .arg(directory)
        .arg(programs)
        .arg(port.to_string());
    // The user may not be allowed where we are.
    command
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
}

fn run(command: &mut Command) -> io::Result<()> {
    let status = command.status()?;
    if status.success() {
        Ok(())
    } else {
        Err(io::Error::other(format!("{command:?}: {status}")))
    }
}

/// Whether the server lets clients in. It answers one that names its user with `R`, or with an error
/// while it is still starting.
fn is_ready(port: u16) -> bool {
    const HELLO: &[u8] = b"\0\0\0\x17\0\x03\0\0user\0postgres\0\0";
    let talk = || {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(HELLO)?;
        let mut answer = [0];
        stream.read_exact(&mut answer)?;
        Ok::<_, io::Error>(answer == *b"R")
    };
    talk().unwrap_or(false)
}
