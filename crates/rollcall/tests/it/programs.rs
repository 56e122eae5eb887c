//! Programs that are started, killed and stopped from outside, and started again.

use std::fs::{File, OpenOptions};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Process, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};

/// A program that can be started again and again. It is killed when this is dropped.
pub(crate) struct Program {
    pub(crate) name: String,
    make: Box<dyn Fn() -> Process>,
    log: PathBuf,
    child: Option<Child>,
}

impl Program {
    /// Starts a program. What it writes is added to a file of its name in `folder`.
    pub(crate) fn start(folder: &Path, name: &str, make: impl Fn() -> Process + 'static) -> Self {
        let mut program = Self {
            name: name.to_owned(),
            make: Box::new(make),
            log: folder.join(format!("{name}.log")),
            child: None,
        };
        program.start_again();
        program
    }

    pub(crate) fn start_again(&mut self) {
        let log = || -> Stdio {
            let file: File = OpenOptions::new()
                .create(true)
                .append(true)
                .open(&self.log)
                .unwrap();
            file.into()
        };
        let mut command = (self.make)();
        command.stdin(Stdio::null()).stdout(log()).stderr(log());
        self.child = Some(command.spawn().unwrap());
    }

    pub(crate) fn runs(&self) -> bool {
        self.child.is_some()
    }

    /// Whether it has ended without being killed. Asked once, it is taken for not running.
    pub(crate) fn has_ended(&mut self) -> bool {
        let ended = self
            .child
            .as_mut()
            .is_some_and(|child| child.try_wait().unwrap().is_some());
        if ended {
            self.child = None;
        }
        ended
    }

    /// Kills it with SIGKILL, whether it is stopped or not. What it has started goes on, and sees that.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let started = started_by(child.id());
            child.kill().unwrap();
            child.wait().unwrap();
            signal("-CONT", &started);
        }
    }

    /// Stops it with SIGSTOP, and then all that it has started.
    pub(crate) fn stop(&self) {
        if let Some(child) = &self.child {
            assert!(signal("-STOP", &[child.id()]));
            signal("-STOP", &started_by(child.id()));
        }
    }

    /// Lets it go on after it was stopped.
    pub(crate) fn go_on(&self) {
        if let Some(child) = &self.child {
            signal("-CONT", &started_by(child.id()));
            assert!(signal("-CONT", &[child.id()]));
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Whether all of them could be told.
fn signal(name: &str, processes: &[u32]) -> bool {
    let ids = processes.iter().map(u32::to_string);
    let told = || {
        Process::new("kill")
            .arg(name)
            .args(ids)
            .stderr(Stdio::null())
            .status()
    };
    processes.is_empty() || told().unwrap().success()
}

/// What a process has started, as Linux lists it; nothing elsewhere.
fn started_by(parent: u32) -> Vec<u32> {
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let parent_of = |id: u32| -> Option<u32> {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        // The name may have spaces and parentheses of its own.
        let (_, rest) = stat.rsplit_once(')')?;
        rest.split_ascii_whitespace().nth(1)?.parse().ok()
    };
    processes
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|id| parent_of(*id) == Some(parent))
        .collect()
}

/// The folder of a hub that shares the master key of the tests, with such a configuration.
pub(crate) fn hub_folder(folder: &Path, configuration: &str) {
    rollcall::private::make_folder(folder).unwrap();
    let mut key = rollcall::private::create(&folder.join("master.key")).unwrap();
    std::io::Write::write_all(&mut key, "07".repeat(32).as_bytes()).unwrap();
    std::fs::write(folder.join("rollcall.toml"), configuration).unwrap();
}

/// `rollcall serve` in such a folder.
pub(crate) fn serve(folder: &Path, database: &str, listen: &str) -> Process {
    let mut command = Process::new(env!("CARGO_BIN_EXE_rollcall"));
    command
        .args(["serve", "--listen", listen])
        .env("ROLLCALL_DATA_DIR", folder)
        .env("ROLLCALL_DATABASE", database)
        .env("ROLLCALL_LOG", "warn");
    command
}

/// A command that the kernel kills when the thread that started it ends, whatever ends that, and that runs as
/// another user if one is named. The program takes the place of `setpriv`, so signals reach it.
pub(crate) fn bound(command: &Process, user: Option<&str>) -> Process {
    let mut bound = Process::new("setpriv");
    if let Some(user) = user {
        bound.args(["--reuid", user, "--regid", user, "--init-groups"]);
    }
    bound
        .args(["--pdeathsig", "KILL", "--"])
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            bound.env(name, value);
        }
    }
    bound
}

/// An address that stays free while the program that listens there is down. Every process has addresses of the
/// loopback network to itself, from which no connection goes out: those come from 127.0.0.1.
pub(crate) fn address() -> SocketAddr {
    static NUMBER: AtomicU8 = AtomicU8::new(1);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    let port = 20_000 + u16::from(high & 0x3f) * 256 + u16::from(number);
    SocketAddr::from((Ipv4Addr::new(127, number, middle, low), port))
}

/// The program `rollcall-mirror`, which stands beside `rollcall`. Tests of the whole workspace have built it.
pub(crate) fn mirror() -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_rollcall")).with_file_name("rollcall-mirror");
    if !path.is_file() {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let built = Process::new(cargo)
            .args([
                "build",
                "--package",
                "rollcall-receiver",
                "--all-features",
                "--bins",
            ])
            .status()
            .unwrap();
        assert!(
            built.success() && path.is_file(),
            "{} is missing: run cargo build --workspace --all-features first",
            path.display()
        );
    }
    path
}
