//! A Debian that is started for a test: systemd is its first process, in namespaces of its own, so that a service is
//! installed, started and stopped as on any machine, and this one does not notice. It reaches no network.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rollcall_db::testing::did_not_run;
use tempfile::TempDir;

use super::{done, text};

/// The folder with a Debian that `cargo xtask test` makes.
const FOLDER: &str = "ROLLCALL_TEST_DEBIAN";

/// Mounts what a machine has besides its files, and starts systemd. The folder is `$1`; it becomes the root of its mount
/// namespace, since systemd mounts anew what lies there for a service.
const START: &str = r#"
mount --bind "$1" "$1"
mount -t proc proc "$1/proc"
mount -t sysfs sysfs "$1/sys"
mount -t cgroup2 cgroup2 "$1/sys/fs/cgroup"
mount -t tmpfs tmpfs "$1/run"
mount -t tmpfs tmpfs "$1/dev"
for device in null zero full random urandom tty; do
    : > "$1/dev/$device"
    mount --bind "/dev/$device" "$1/dev/$device"
done
ln -s pts/ptmx "$1/dev/ptmx"
mkdir "$1/dev/shm" "$1/dev/pts" "$1/old"
cd "$1"
pivot_root . old
umount --lazy old
rmdir old
exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd
"#;

/// How long systemd may take. Others may keep the machine busy meanwhile.
const PATIENCE: Duration = Duration::from_secs(120);

pub(super) struct Machine {
    root: PathBuf,
    /// `unshare`; what it has started ends with it.
    started: Child,
    /// The process id of its first process, as it is seen from here.
    first: String,
    _folder: TempDir,
}

impl Machine {
    /// Starts one. Where that is not possible it is noted that the test did not run.
    pub(super) fn start(tested_as: &str) -> Option<Self> {
        let Some(of) = std::env::var_os(FOLDER) else {
            let why = format!(
                "{FOLDER} is not set; cargo xtask test makes a Debian, as root and where namespaces are permitted"
            );
            did_not_run(tested_as, &why);
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        done(
            Command::new("cp")
                .args(["--archive", "--reflink=auto"])
                .arg(of)
                .arg(&root),
        );
        let mut command = Command::new("unshare");
        command.args([
            "--mount",
            "--pid",
            "--net",
            "--uts",
            "--ipc",
            "--cgroup",
            "--fork",
            "--kill-child",
        ]);
        command.args(["sh", "-euc", START, "sh"]).arg(&root);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let started = command.spawn().unwrap();
        let first = wait_for("its first process", || {
            let children = format!("/proc/{0}/task/{0}/children", started.id());
            let children = std::fs::read_to_string(children).unwrap();
            children.split_whitespace().next().map(str::to_owned)
        });
        let machine = Self {
            root,
            started,
            first,
            _folder: folder,
        };
        wait_for("systemd", || {
            let said = machine.run(&["systemctl", "is-system-running"]);
            let said = String::from_utf8_lossy(&said.stdout).trim().to_owned();
            assert_ne!(
                said,
                "degraded",
                "{}",
                text(&machine.run(&["systemctl", "--failed"]))
            );
            (said == "running").then_some(())
        });
        Some(machine)
    }

    /// Runs a command on it, as root.
    pub(super) fn run(&self, command: &[&str]) -> Output {
        let mut process = Command::new("nsenter");
        process.args(["--target", &self.first]);
        process.args([
            "--mount", "--pid", "--net", "--uts", "--ipc", "--cgroup", "--root", "--wd=/",
        ]);
        process.args(["env", "-i", "HOME=/root", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"]);
        process.args(["DEBIAN_FRONTEND=noninteractive"]).args(command);
        process.stdin(Stdio::null()).output().unwrap()
    }

    /// Runs a command on it that has to succeed, and returns what it writes.
    pub(super) fn done(&self, command: &[&str]) -> String {
        let output = self.run(command);
        assert!(output.status.success(), "{command:?} fails: {}", text(&output));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Puts a file into its `/root`, and returns its path there.
    pub(super) fn take(&self, file: &Path) -> String {
        let name = file.file_name().unwrap().to_str().unwrap();
        std::fs::copy(file, self.root.join("root").join(name)).unwrap();
        format!("/root/{name}")
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.started.kill();
        let _ = self.started.wait();
    }
}

/// Asks again and again until there is an answer.
pub(super) fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < end, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}
