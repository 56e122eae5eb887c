//! Programs of Python's that the tests run. Each gets an environment of its own below `target`.

use std::path::PathBuf;
use std::process::Command;

use crate::install::{below_target, on_path, succeeds};

/// A program of Python's.
pub(crate) struct Program {
    /// What it is called.
    name: &'static str,
    /// What is installed. Another version finds other things, so it changes only when somebody means it.
    packages: &'static [&'static str],
    /// Its file in the environment.
    file: &'static str,
    /// The variable that names it to the tests.
    pub(crate) variable: &'static str,
}

/// Schemathesis, which sends to the administrator's API what its description permits and forbids.
pub(crate) const SCHEMATHESIS: Program = Program {
    name: "schemathesis-4.32.5",
    packages: &["schemathesis==4.32.5"],
    file: "bin/st",
    variable: "ROLLCALL_TEST_SCHEMATHESIS",
};

/// The tester of scim2-cli, which asks a service provider for what it says that it has.
pub(crate) const SCIM2: Program = Program {
    name: "scim2-cli-0.6.0",
    packages: &["scim2-cli==0.6.0", "scim2-tester==0.5.2"],
    file: "bin/scim2",
    variable: "ROLLCALL_TEST_SCIM2",
};

/// A SCIM service provider, to which the hub pushes.
pub(crate) const SCIM2_SERVER: Program = Program {
    name: "scim2-server-0.8.3",
    packages: &["scim2-server==0.8.3"],
    file: "bin/scim2-server",
    variable: "ROLLCALL_TEST_SCIM2_SERVER",
};

/// scim-sanity, which has users and groups made, changed and deleted at a service provider.
pub(crate) const SCIM_SANITY: Program = Program {
    name: "scim-sanity-0.7.4",
    packages: &["scim-sanity==0.7.4"],
    file: "bin/scim-sanity",
    variable: "ROLLCALL_TEST_SCIM_SANITY",
};

/// The official clients of the product's developer API and management API, which call the hub instead.
pub(crate) const OFFICIAL_CLIENTS: Program = Program {
    name: "official-clients-1.9.0-3.0.1",
    packages: &[
        "alibabacloud-eiam-developerapi20220225==1.9.0",
        "alibabacloud-eiam20211201==3.0.1",
    ],
    file: "bin/python3",
    variable: "ROLLCALL_TEST_OFFICIAL_CLIENTS",
};

/// All of them.
pub(crate) const ALL: [&Program; 5] = [
    &SCHEMATHESIS,
    &SCIM2,
    &SCIM2_SERVER,
    &SCIM_SANITY,
    &OFFICIAL_CLIENTS,
];

impl Program {
    fn folder(&self) -> PathBuf {
        below_target(self.name)
    }

    /// Where it is, if it is there.
    pub(crate) fn path(&self) -> Option<PathBuf> {
        // What was interrupted while it was installed lacks the mark, and what was moved since has another one: an
        // environment's programs name its interpreter by its path.
        let folder = self.folder();
        let told = std::fs::read_to_string(folder.join("whole"));
        let program = folder.join(self.file);
        (told.is_ok_and(|told| told == self.mark()) && program.is_file()).then_some(program)
    }

    /// What is installed, and where.
    fn mark(&self) -> String {
        format!("{} in {}", self.packages.join(" "), self.folder().display())
    }

    /// Installs it, if it is not there. The error is a sentence about why that failed.
    pub(crate) fn install(&self) -> Result<(), String> {
        if self.path().is_some() {
            return Ok(());
        }
        if !on_path("python3") {
            return Err("There is no python3.".to_owned());
        }
        let folder = self.folder();
        let made = succeeds(
            Command::new("python3")
                .args(["-m", "venv", "--clear"])
                .arg(&folder),
        );
        if !made {
            return Err("Python makes no environments here (Debian: python3-venv).".to_owned());
        }
        let wanted = self.packages.join(" ");
        println!("xtask: installing {wanted} into {}", folder.display());
        let arguments = ["install", "--quiet", "--disable-pip-version-check"];
        let mut pip = Command::new(folder.join("bin/pip"));
        if !succeeds(pip.args(arguments).args(self.packages)) {
            return Err(format!(
                "pip cannot install {wanted} from pypi.org. With the network, this shows why: {} install {wanted}",
                folder.join("bin/pip").display()
            ));
        }
        std::fs::write(folder.join("whole"), self.mark())
            .map_err(|error| format!("{} cannot be written: {error}", folder.display()))
    }
}
