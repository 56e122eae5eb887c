//! Packages of npm's that the tests run. Each gets a folder of its own below `target`.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::install::{below_target, on_path, succeeds};

/// A package of npm's, with what it needs.
pub(crate) struct Package {
    /// What it is called.
    pub(crate) name: &'static str,
    /// The versions of it and of all that it needs, with their checksums.
    versions: [(&'static str, &'static str); 2],
    /// The first version of Node.js on which it runs.
    node: u32,
    /// The variable that names its folder to the tests.
    pub(crate) variable: &'static str,
}

/// A provider of OpenID Connect, at which tests sign in. Its dependencies take Web Crypto from the global scope.
pub(crate) const OIDC_PROVIDER: Package = Package {
    name: "oidc-provider",
    versions: [
        ("package.json", include_str!("../oidc-provider/package.json")),
        (
            "package-lock.json",
            include_str!("../oidc-provider/package-lock.json"),
        ),
    ],
    node: 20,
    variable: "ROLLCALL_TEST_OIDC_PROVIDER",
};

/// A library for SCIM service providers, with its routes; a strict one, to which the hub pushes.
pub(crate) const SCIMMY: Package = Package {
    name: "scimmy-routers",
    versions: [
        ("package.json", include_str!("../scimmy/package.json")),
        ("package-lock.json", include_str!("../scimmy/package-lock.json")),
    ],
    node: 16,
    variable: "ROLLCALL_TEST_SCIMMY",
};

/// All of them.
pub(crate) const ALL: [&Package; 2] = [&OIDC_PROVIDER, &SCIMMY];

impl Package {
    /// Its folder, if it is there and runs.
    pub(crate) fn path(&self) -> Option<PathBuf> {
        // What is installed is another one's where the versions are others.
        let folder = below_target(self.name);
        let is_same = |(name, text): &(&str, &str)| {
            std::fs::read_to_string(folder.join(name)).is_ok_and(|there| there == *text)
        };
        let is_there = self.versions.iter().all(is_same);
        let is_whole = folder.join("node_modules").join(self.name).is_dir();
        (is_there && is_whole && self.too_old_node().is_none()).then_some(folder)
    }

    /// Why the Node.js that is there does not run it, if it does not.
    pub(crate) fn too_old_node(&self) -> Option<String> {
        let told = Command::new("node").arg("--version").output().ok()?;
        let version = String::from_utf8_lossy(&told.stdout).trim().to_owned();
        let major = version.strip_prefix('v')?.split('.').next()?;
        (major.parse::<u32>().ok()? < self.node).then(|| {
            format!(
                "This is Node.js {version}, and {} needs {} or newer: Debian has 20 from version 13 on, nodejs.org for \
                 older ones.",
                self.name, self.node
            )
        })
    }

    /// Installs it, if it is not there, without running anything that comes with it. The error is a sentence about why
    /// that failed.
    pub(crate) fn install(&self) -> Result<(), String> {
        if self.path().is_some() {
            return Ok(());
        }
        println!("xtask: installing {}", self.name);
        let folder = below_target(self.name);
        self.write_versions(&folder)
            .map_err(|error| format!("{} cannot be written: {error}.", folder.display()))?;
        let mut npm = Command::new("npm");
        npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
        if !succeeds(npm.current_dir(&folder)) {
            return Err(format!(
                "npm cannot install it from registry.npmjs.org. With the network, this shows why: npm ci --prefix {}",
                folder.display()
            ));
        }
        match self.path() {
            Some(_) => Ok(()),
            None => Err("It was installed, and is still not found.".to_owned()),
        }
    }

    fn write_versions(&self, folder: &Path) -> std::io::Result<()> {
        std::fs::create_dir_all(folder)?;
        let mut versions = self.versions.iter();
        versions.try_for_each(|(name, text)| std::fs::write(folder.join(name), text))
    }
}

/// Whether there is Node.js, with npm.
pub(crate) fn is_there() -> bool {
    ["node", "npm"].iter().all(|it| on_path(it))
}
