//! How a password gets to the command line: over a terminal, or through a pipe.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rollcall_db::testing::databases;
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};
use serde_json::Value;

use crate::operate::{done, rollcall};
use crate::world::make_hub;

/// A terminal, of which the test is the person before it.
struct Terminal {
    keyboard: File,
    device: OwnedFd,
    shown: Receiver<Vec<u8>>,
    text: String,
}

impl Terminal {
    fn new() -> Self {
        let person = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&person).unwrap();
        unlockpt(&person).unwrap();
        let name = ptsname(&person, Vec::new()).unwrap();
        let name = Path::new(std::ffi::OsStr::from_bytes(name.as_bytes())).to_owned();
        let device = rustix::fs::open(&name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
        let keyboard = File::from(person);
        let mut screen = keyboard.try_clone().unwrap();
        let (seen, shown) = channel();
        std::thread::spawn(move || {
            let mut part = [0; 1024];
            while let Ok(count @ 1..) = screen.read(&mut part) {
                if seen.send(part[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self {
            keyboard,
            device,
            shown,
            text: String::new(),
        }
    }

    fn run(&self, folder: &Path, arguments: &[&str]) -> Child {
        let device = || Stdio::from(self.device.try_clone().unwrap());
        let mut process = rollcall(folder, arguments);
        process
            .stdin(device())
            .stdout(device())
            .stderr(device())
            .spawn()
            .unwrap()
    }

    /// Waits until this is on the screen, and returns everything that is.
    fn until(&mut self, wanted: &str) -> &str {
        while !self.text.contains(wanted) {
            let more = self.shown.recv_timeout(Duration::from_secs(20));
            let more = more.unwrap_or_else(|_| panic!("{wanted:?} does not come after {:?}", self.text));
            self.text.push_str(&String::from_utf8_lossy(&more));
        }
        &self.text
    }

    fn type_in(&mut self, text: &str) {
        self.keyboard.write_all(text.as_bytes()).unwrap();
    }

    fn echoes(&self) -> bool {
        tcgetattr(&self.device)
            .unwrap()
            .local_modes
            .contains(LocalModes::ECHO)
    }
}

fn has_password(folder: &Path, database: &str) -> bool {
    let arguments = ["--json", "--database", database, "user", "show", "ada"];
    let shown = done(&rollcall(folder, &arguments).output().unwrap());
    let shown: Value = serde_json::from_str(&shown).unwrap();
    shown["passwordSet"]
        .as_bool()
        .unwrap_or_else(|| panic!("{shown:#}"))
}

#[test]
fn a_terminal_asks_twice_and_shows_nothing() {
    for database in databases("passwords") {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        make_hub(&folder.join("data"), &database.url);
        let on = ["--database", database.url.as_str()];
        let create = ["user", "create", "ada", "--display-name", "Ada"];
        done(&rollcall(folder, &[&on[..], &create].concat()).output().unwrap());
        let set = [&on[..], &["user", "password", "ada"]].concat();

        let mut terminal = Terminal::new();
        assert!(terminal.echoes(), "what is typed would be shown otherwise");
        let mut child = terminal.run(folder, &set);
        terminal.until("New password: ");
        terminal.type_in("correct horse battery\n");
        terminal.until("The same again: ");
        terminal.type_in("correct horse buttery\n");
        terminal.until("nothing is changed");
        assert!(!child.wait().unwrap().success());
        assert!(!terminal.text.contains("horse"), "{}", terminal.text);
        assert!(terminal.echoes() && !has_password(folder, &database.url));

        let mut terminal = Terminal::new();
        let mut child = terminal.run(folder, &set);
        terminal.until("New password: ");
        terminal.type_in("correct horse battery\n");
        terminal.until("The same again: ");
        terminal.type_in("correct horse battery\n");
        assert!(child.wait().unwrap().success(), "{}", terminal.text);
        let shown = terminal.until("user_").to_owned();
        assert!(!shown.contains("horse"), "{shown}");
        assert!(terminal.echoes() && has_password(folder, &database.url));

        // Who gives up, or is ended, leaves a terminal that shows what is typed.
        for signal in ["-INT", "-TERM"] {
            let mut terminal = Terminal::new();
            let mut child = terminal.run(folder, &set);
            terminal.until("New password: ");
            assert!(!terminal.echoes());
            let kill = std::process::Command::new("kill")
                .args([signal, &child.id().to_string()])
                .status();
            assert!(kill.unwrap().success());
            assert!(!child.wait().unwrap().success());
            assert!(terminal.echoes(), "{signal}");
            terminal.until("cancelled; nothing is changed");
        }
    }
}

#[test]
fn a_pipe_brings_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let database = format!("sqlite:{}", folder.join("data/rollcall.db").display());
    make_hub(&folder.join("data"), &database);
    let piped = |arguments: &[&str], text: &str| {
        let mut process = rollcall(folder, arguments);
        process
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = process.spawn().unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(!said.contains("password: "), "nobody is asked: {said}");
        (output.status.success(), said)
    };
    let create = [
        "user",
        "create",
        "ada",
        "--display-name",
        "Ada",
        "--password-stdin",
    ];
    let (created, said) = piped(&create, "");
    assert!(!created && said.contains("no password was given"), "{said}");
    let (created, said) = piped(&create, "correct horse battery\nand more\n");
    assert!(created, "{said}");
    assert!(has_password(folder, &database));
    let (set, said) = piped(&["user", "password", "ada"], "another horse battery");
    assert!(set, "without an end of the line, too: {said}");
}
