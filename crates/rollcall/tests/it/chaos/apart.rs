//! What can be done to disk and network in namespaces of the run's own, where the machine does not notice: filling a
//! disk, and cutting an address off.

use std::net::IpAddr;
use std::path::Path;
use std::process::Command as Process;
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

/// The network namespace in which `cargo xtask chaos` was started, if the run has others than that.
const OUTSIDE: &str = "ROLLCALL_CHAOS_OUTSIDE";

/// Whether the run has a disk and a network to itself. Brings the network up.
pub(super) fn is_apart() -> bool {
    let Ok(outside) = std::env::var(OUTSIDE) else {
        return false;
    };
    let inside = std::fs::read_link("/proc/self/ns/net").unwrap();
    assert_ne!(
        inside.to_str(),
        Some(outside.as_str()),
        "this is the machine's network"
    );
    run("ip", &["link", "set", "lo", "up"]);
    true
}

fn succeeds(program: &str, arguments: &[&str]) -> bool {
    let output = Process::new(program).args(arguments).output().unwrap();
    output.status.success()
}

fn run(program: &str, arguments: &[&str]) {
    assert!(succeeds(program, arguments), "{program} {arguments:?}");
}

/// Drops what is sent to an address, without a word to the sender.
pub(super) fn cut(address: IpAddr) {
    run(
        "ip",
        &[
            "route",
            "add",
            "blackhole",
            &address.to_string(),
            "table",
            "local",
        ],
    );
}

/// Lets an address be reached again.
pub(super) fn mend(address: IpAddr) {
    run(
        "ip",
        &[
            "route",
            "del",
            "blackhole",
            &address.to_string(),
            "table",
            "local",
        ],
    );
}

/// A file system in memory that can be filled.
pub(super) struct Disk(TempDir);

impl Disk {
    pub(super) fn new() -> Self {
        // Another user must be able to reach it.
        let folder = tempfile::Builder::new()
            .prefix("rollcall-chaos-")
            .tempdir_in("/tmp")
            .unwrap();
        let disk = Self(folder);
        let path = disk.path();
        run(
            "mount",
            &["-t", "tmpfs", "-o", "size=4g", "rollcall-chaos", &path],
        );
        disk
    }

    pub(super) fn folder(&self) -> &Path {
        self.0.path()
    }

    fn path(&self) -> String {
        self.0.path().to_str().unwrap().to_owned()
    }

    fn resize(&self, size: &str) -> bool {
        let size = format!("remount,size={size}");
        succeeds("mount", &["-o", &size, &self.path()])
    }

    /// Leaves no more room than some pages.
    pub(super) fn fill(&self) {
        for _ in 0..100 {
            let now = rustix::fs::statvfs(self.0.path()).unwrap();
            let used = (now.f_blocks - now.f_bfree) * now.f_frsize;
            // It may have grown meanwhile.
            if self.resize(&(used + 32_768).to_string()) {
                return;
            }
            thread::sleep(Duration::from_millis(2));
        }
        panic!("the disk grows faster than it is filled");
    }

    pub(super) fn make_room(&self) {
        assert!(self.resize("4g"));
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Some descriptor may still be open.
        succeeds("umount", &["--lazy", &self.path()]);
    }
}
