//! Programs that are killed and stopped from outside, and started again.

use std::fs::{File, OpenOptions};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Process, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};

/// A program that can be started again and again.
pub(super) struct Program {
    pub(super) name: String,
    /// Where it is reached.
    pub(super) listen: SocketAddr,
    make: Box<dyn Fn() -> Process>,
    log: PathBuf,
    child: Option<Child>,
}

impl Program {
    /// Starts a program. What it writes is added to a file of its name in `folder`.
    pub(super) fn start(
        folder: &Path,
        name: &str,
        listen: SocketAddr,
        make: impl Fn() -> Process + 'static,
    ) -> Self {
        let mut program = Self {
            name: name.to_owned(),
            listen,
            make: Box::new(make),
            log: folder.join(format!("{name}.log")),
            child: None,
        };
        program.start_again();
        program
    }

    pub(super) fn start_again(&mut self) {
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

    pub(super) fn runs(&self) -> bool {
        self.child.is_some()
    }

    /// Whether it has ended without being killed. Asked once, it is taken for not running.
    pub(super) fn has_ended(&mut self) -> bool {
        let ended = self
            .child
            .as_mut()
            .is_some_and(|child| child.try_wait().unwrap().is_some());
        if ended {
            self.child = None;
        }
        ended
    }

    /// Kills it with SIGKILL, whether it is stopped or not.
    pub(super) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Sends `-STOP` or `-CONT`.
    pub(super) fn signal(&self, name: &str) {
        if let Some(child) = &self.child {
            let id = child.id().to_string();
            assert!(Process::new("kill").args([name, &id]).status().unwrap().success());
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A command that the kernel kills when the thread that started it ends, whatever ends that, and that runs as
/// another user if one is named. The program takes the place of `setpriv`, so signals reach it.
pub(super) fn bound(program: &Path, user: Option<&str>) -> Process {
    let mut command = Process::new("setpriv");
    if let Some(user) = user {
        command.args(["--reuid", user, "--regid", user, "--init-groups"]);
    }
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

/// An address that stays free while the program that listens there is down. Every process has addresses of the
/// loopback network to itself, from which no connection goes out: those come from 127.0.0.1.
pub(super) fn address() -> SocketAddr {
    static NUMBER: AtomicU8 = AtomicU8::new(1);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    let port = 20_000 + u16::from(high & 0x3f) * 256 + u16::from(number);
    SocketAddr::from((Ipv4Addr::new(127, number, middle, low), port))
}

/// The program `rollcall-mirror`, which stands beside `rollcall`. Tests of the whole workspace have built it.
pub(super) fn mirror() -> PathBuf {
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
