//! What the tests need beside Rust: looking for it, and installing it where that is easy.

use std::fmt;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::package::{self, Part};
use crate::receivers::{self, Language};
use crate::{node, python};

/// Something that is not there, and could not be installed.
pub(crate) struct Missing {
    what: What,
    why: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Postgres,
    Slapd,
    OpenSsl,
    Chromium,
    Python,
    Schemathesis,
    Scim2,
    ScimSanity,
    OfficialClients,
    Node,
    OidcProvider,
    Scimmy,
    /// Node.js is there, and too old for oidc-provider.
    NewerNode,
    Compilers,
    Java,
    Go,
    Receiver(Language),
    Package(Part),
    /// A Debian in which the package is installed.
    Machine,
}

impl Missing {
    /// Whether nothing that this program could have done would have brought it: the system's own packages do not
    /// have it, or the system does not permit it.
    pub(crate) fn is_excused(&self) -> bool {
        matches!(self.what, What::NewerNode | What::Package(_) | What::Machine)
    }

    /// Whether it is what oidc-provider and the receiver in Node.js need.
    pub(crate) fn is_newer_node(&self) -> bool {
        self.what == What::NewerNode
    }

    /// Whether a package cannot be tried for want of it.
    pub(crate) fn is_of(&self, part: Part) -> bool {
        self.what == What::Package(part) || (part == Part::Debian && self.what == What::Machine)
    }

    pub(crate) fn package(part: Part, why: String) -> Self {
        Self {
            what: What::Package(part),
            why,
        }
    }

    pub(crate) fn postgres(why: String) -> Self {
        Self {
            what: What::Postgres,
            why,
        }
    }

    pub(crate) fn is_postgres(&self) -> bool {
        self.what == What::Postgres
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, so) = match self.what {
            What::Postgres => ("PostgreSQL (initdb, postgres)", "the tests run on SQLite only"),
            What::Slapd => (
                "OpenLDAP's slapadd and slapcat",
                "what is exported is not loaded into OpenLDAP",
            ),
            What::Chromium => (
                "Chromium and its driver (Debian: chromium chromium-driver fonts-noto-cjk)",
                "no page of the console is looked at in a browser",
            ),
            What::Python => (
                "Python with venv (Debian: python3 python3-venv)",
                "Schemathesis, scim2-cli, scim-sanity, the official clients and the receiver in Python cannot be installed",
            ),
            What::Schemathesis => (
                "Schemathesis (a program of Python's, below target)",
                "the administrator's API is not tried on what its description permits",
            ),
            What::Scim2 => (
                "scim2-cli and scim2-server (programs of Python's, below target)",
                "SCIM is tried in neither direction with programs that others have written",
            ),
            What::ScimSanity => (
                "scim-sanity (a program of Python's, below target)",
                "the SCIM service provider is not tried by a second tester that others have written",
            ),
            What::OfficialClients => (
                "the official clients of the developer API and the management API (packages of Python's, below target)",
                "neither API is called by them",
            ),
            What::Node => (
                "Node.js with npm (Debian: nodejs npm)",
                "oidc-provider, scimmy-routers and the receiver in Node.js cannot be installed",
            ),
            What::OidcProvider => (
                "npm's oidc-provider (below target)",
                "nobody signs in at a provider that others have written",
            ),
            What::Scimmy => (
                "npm's scimmy-routers (below target)",
                "the hub pushes to no strict SCIM service provider that others have written",
            ),
            What::NewerNode => (
                "a Node.js on which oidc-provider and contrib/receivers/node run",
                "nobody signs in at a provider that others have written, and that receiver is not tried",
            ),
            What::Compilers => (
                "a C++ compiler and make (Debian: g++ make)",
                "npm compiles nothing that it cannot download, as the receiver in Node.js needs it",
            ),
            What::Java => (
                "a JDK, Jackson and the driver of SQLite \
                 (Debian: default-jdk-headless libjackson2-databind-java libxerial-sqlite-jdbc-java)",
                "the receiver in Java is not tried",
            ),
            What::Go => (
                "Go and its driver of SQLite (Debian: golang-go gcc libc6-dev golang-github-mattn-go-sqlite3-dev)",
                "the receiver in Go is not tried",
            ),
            What::Receiver(language) => {
                let name = language.name();
                return write!(
                    f,
                    "missing: what contrib/receivers/{name} needs; that receiver is not tried. {}",
                    self.why
                );
            }
            What::Package(part) => {
                let name = part.tested_as();
                return write!(
                    f,
                    "missing: what makes the {name}, which is not tried. {}",
                    self.why
                );
            }
            What::Machine => (
                "a Debian of its own, started in namespaces",
                "the Debian package is not installed and started",
            ),
            What::OpenSsl => (
                "OpenSSL's headers, or pkg-config (Debian: libssl-dev pkg-config)",
                "josekit, which tests of this workspace compare with, will not build",
            ),
        };
        write!(f, "missing: {what}; {so}. {}", self.why)
    }
}

/// Looks for everything, installs what is not there, and returns what still is not.
pub(crate) fn missing_after_installing(postgres: bool) -> Vec<Missing> {
    let wanted = |what: &What| match what {
        What::Postgres => postgres && postgres_directory().is_none(),
        What::Slapd => !has_slapd(),
        What::OpenSsl => !has_openssl(),
        What::Chromium => !has_chromium(),
        What::Python => python::ALL.iter().any(|it| it.path().is_none()) && !has_python(),
        What::Node => !node::is_there(),
        What::Compilers => !receivers::has_compilers(),
        What::Java => !receivers::has_java(),
        What::Go => !receivers::has_go(),
        // They are no packages of the system.
        What::Schemathesis
        | What::OfficialClients
        | What::Scim2
        | What::ScimSanity
        | What::OidcProvider
        | What::Scimmy
        | What::NewerNode
        | What::Receiver(_)
        | What::Package(_)
        | What::Machine => false,
    };
    let mut missing = vec![
        What::Postgres,
        What::Slapd,
        What::OpenSsl,
        What::Chromium,
        What::Python,
        What::Node,
        What::Compilers,
        What::Java,
        What::Go,
    ];
    missing.retain(wanted);
    let mut still = match missing.is_empty() {
        true => Vec::new(),
        false => missing_after_installing_packages(missing, wanted),
    };
    // These need Python and Node.js, which were installed just now, perhaps.
    for (program, what) in [
        (python::SCHEMATHESIS, What::Schemathesis),
        (python::SCIM2, What::Scim2),
        (python::SCIM2_SERVER, What::Scim2),
        (python::SCIM_SANITY, What::ScimSanity),
        (python::OFFICIAL_CLIENTS, What::OfficialClients),
    ] {
        still.extend(program.install().err().map(|why| Missing { what, why }));
    }
    if node::is_there() {
        still.extend(install_packages_of_node());
    }
    for language in receivers::ALL {
        if language == Language::Node && node::OIDC_PROVIDER.too_old_node().is_some() {
            // It needs the same version, which is told once.
            continue;
        }
        let what = What::Receiver(language);
        still.extend(language.prepare().err().map(|why| Missing { what, why }));
    }
    for part in package::ALL {
        still.extend(part.prepare().err().map(|why| Missing::package(part, why)));
    }
    let what = What::Machine;
    let machine = package::prepare_debian_machine();
    still.extend(machine.err().map(|why| Missing { what, why }));
    still
}

/// Installs what is npm's, and returns what cannot be had.
fn install_packages_of_node() -> Vec<Missing> {
    let packages = [
        (node::OIDC_PROVIDER, What::OidcProvider),
        (node::SCIMMY, What::Scimmy),
    ];
    let missing = packages.into_iter().filter_map(|(package, what)| {
        if let Some(why) = package.too_old_node() {
            // Debian's own is new enough for everything but oidc-provider.
            let what = match what {
                What::OidcProvider => What::NewerNode,
                other => other,
            };
            return Some(Missing { what, why });
        }
        let why = package.install().err()?;
        Some(Missing { what, why })
    });
    missing.collect()
}

fn missing_after_installing_packages(mut missing: Vec<What>, wanted: impl Fn(&What) -> bool) -> Vec<Missing> {
    let packages = missing.iter().flat_map(|what| match what {
        What::Postgres => ["postgresql"].as_slice(),
        What::Slapd => &["slapd"],
        What::OpenSsl => &["libssl-dev", "pkg-config"],
        // Without a font for them, Chinese texts would be looked at as empty boxes.
        What::Chromium => &["chromium", "chromium-driver", "fonts-noto-cjk"],
        What::Python => &["python3", "python3-venv"],
        What::Node => &["nodejs", "npm"],
        What::Compilers => &["g++", "make"],
        What::Java => &[
            "default-jdk-headless",
            "libjackson2-databind-java",
            "libxerial-sqlite-jdbc-java",
        ],
        What::Go => &[
            "golang-go",
            "gcc",
            "libc6-dev",
            "golang-github-mattn-go-sqlite3-dev",
        ],
        // They come from elsewhere.
        What::Schemathesis
        | What::OfficialClients
        | What::Scim2
        | What::ScimSanity
        | What::OidcProvider
        | What::Scimmy
        | What::NewerNode
        | What::Receiver(_)
        | What::Package(_)
        | What::Machine => &[],
    });
    let tried = install(&packages.copied().collect::<Vec<_>>());
    missing.retain(wanted);
    let why = tried
        .err()
        .unwrap_or_else(|| "It was installed, and is still not found.".into());
    missing
        .into_iter()
        .map(|what| Missing {
            what,
            why: why.clone(),
        })
        .collect()
}

/// The directory that has `initdb` and `postgres`: one on the `PATH`, or the newest of Debian's.
pub(crate) fn postgres_directory() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).find(|it| has_postgres(it));
    on_path.or_else(|| {
        let version = |it: &PathBuf| it.file_name()?.to_str()?.parse::<u32>().ok();
        let versions = std::fs::read_dir("/usr/lib/postgresql")
            .ok()?
            .flatten()
            .map(|it| it.path());
        let mut versions: Vec<_> = versions.filter(|it| has_postgres(&it.join("bin"))).collect();
        versions.sort_by_key(version);
        Some(versions.pop()?.join("bin"))
    })
}

fn has_postgres(directory: &Path) -> bool {
    ["initdb", "postgres"]
        .iter()
        .all(|it| directory.join(it).is_file())
}

fn has_slapd() -> bool {
    // They are in directories that are not on everybody's path.
    let sbin = ["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).chain(sbin).collect();
    let is_there = |program: &&str| folders.iter().any(|folder| folder.join(program).is_file());
    ["slapadd", "slapcat"].iter().all(is_there)
}

fn has_chromium() -> bool {
    let browsers = ["chromium", "google-chrome", "chromium-browser"];
    on_path("chromedriver") && browsers.iter().any(|it| on_path(it))
}

/// Whether Python makes environments with pip in them, which Debian keeps apart.
fn has_python() -> bool {
    succeeds(Command::new("python3").args(["-c", "import ensurepip, venv"]))
}

/// A folder below that of what is built, out of the sources' way.
pub(crate) fn below_target(name: &str) -> PathBuf {
    // A relative one counts from the working folder, as cargo has it; without one it is that of the repository, whatever
    // folder this was started in.
    let named = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let target = named.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("target"));
    std::path::absolute(&target).unwrap_or(target).join(name)
}

fn has_openssl() -> bool {
    // The openssl-sys crate is content with this variable as well.
    std::env::var_os("OPENSSL_DIR").is_some()
        || succeeds(Command::new("pkg-config").args(["--exists", "openssl"]))
}

/// Installs Debian packages. The error is a sentence about why that was not tried, or failed.
pub(crate) fn install(packages: &[&str]) -> Result<(), String> {
    let names = packages.join(" ");
    if !Path::new("/etc/debian_version").is_file() || !on_path("apt-get") {
        return Err(format!(
            "This is no Debian, so nothing was installed (Debian calls it: {names})."
        ));
    }
    let sudo = !is_root();
    if sudo && !succeeds(Command::new("sudo").args(["-n", "true"])) {
        return Err(format!(
            "Neither root nor sudo without a password. Run: sudo apt-get install {names}"
        ));
    }
    println!("xtask: installing {names}");
    let apt = |arguments: &[&str]| {
        let mut command = Command::new(if sudo { "sudo" } else { "apt-get" });
        if sudo {
            command.args(["-n", "DEBIAN_FRONTEND=noninteractive", "apt-get"]);
        }
        command
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(["-qq", "-o", "DPkg::Lock::Timeout=300"]);
        let status = command.args(arguments).status();
        status.is_ok_and(|it| it.success())
    };
    if packages.contains(&"slapd") {
        leave_slapd_unconfigured(sudo);
    }
    // Package lists that cannot be brought up to date may still be good enough.
    apt(&["update"]);
    let arguments = [&["install", "--yes", "--no-install-recommends"], packages].concat();
    if apt(&arguments) {
        Ok(())
    } else {
        Err(format!("apt-get install {names} failed."))
    }
}

/// Tells Debian's package not to make a directory: without one its server does not start.
fn leave_slapd_unconfigured(sudo: bool) {
    let mut command = Command::new(if sudo { "sudo" } else { "debconf-set-selections" });
    if sudo {
        command.args(["-n", "debconf-set-selections"]);
    }
    let child = command.stdin(Stdio::piped()).spawn();
    // Where that fails, the package's own way with the server holds.
    let _ = child.and_then(|mut child| {
        if let Some(mut input) = child.stdin.take() {
            input.write_all(b"slapd slapd/no_configuration boolean true\n")?;
        }
        child.wait()
    });
}

pub(crate) fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|it| it.stdout.trim_ascii() == b"0")
}

pub(crate) fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|it| it.join(program).is_file())
}

pub(crate) fn succeeds(command: &mut Command) -> bool {
    let status = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|it| it.success())
}
