//! `rollcall bench`: what this machine can do, each figure beside its floor.
//!
//! A floor is the same work without the hub: the bare signature, a bare request, a bare commit. Figures
//! and floors are taken in the same run, one after the other, so their ratio means something also on a
//! machine that is shared or slow; the figures alone do not.
//!
//! Each section runs in a process of its own, so that its peak of memory is its own; the application's
//! endpoint is another process, which verifies, decrypts and answers each event as the receiver kit does,
//! and stores nothing.

mod bare;
mod client;
mod commits;
mod connection;
mod crowd;
mod crypto;
mod database;
mod deliver;
mod developer;
mod endpoint;
mod lists;
mod nodes;
mod pages;
mod provider;
mod requests;
mod scale;
mod scim;
mod site;
mod world;

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

/// The sections, in the order in which they run.
pub const SECTIONS: [&str; 18] = [
    "crypto",
    "commit",
    "idle",
    "deliver",
    "requests",
    "nodes",
    "crowd",
    "pages",
    "watchers",
    "import",
    "sync",
    "scim",
    "connection",
    "developer",
    "lists",
    "sick",
    "storage",
    "backlog",
];

/// What to measure, and how much of it.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which sections; all if empty.
    pub sections: Vec<String>,
    /// A PostgreSQL server on which databases may be made and dropped, for what is measured on both.
    pub postgres: Option<String>,
    /// The sizes of the targets (100,000 users, a backlog of a million changes) instead of a tenth.
    pub full: bool,
    /// How many users pages are shown of, 10,000 or 100,000 if nobody says; and how many there are whose lists are paged
    /// through, 100,000 or a million.
    pub users: Option<usize>,
    /// How many applications pages are shown of, and are delivered to while somebody watches; 100 or 1,000 if nobody
    /// says.
    pub applications: Option<usize>,
}

impl Options {
    fn applications(&self) -> usize {
        self.applications.unwrap_or(if self.full { 1_000 } else { 100 })
    }
}

/// A figure beside its floor.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Figure {
    /// The section.
    pub section: String,
    /// What was measured.
    pub what: String,
    /// How much it was.
    pub value: f64,
    /// In which unit.
    pub unit: String,
    /// What the floor is, and how much that was.
    pub floor: Option<(String, f64)>,
    /// The target for the ratio or the value, in words, and whether it is met.
    pub target: Option<(String, bool)>,
}

impl Figure {
    fn new(section: &str, what: impl Into<String>, value: f64, unit: &str) -> Self {
        Self {
            section: section.to_owned(),
            what: what.into(),
            value,
            unit: unit.to_owned(),
            floor: None,
            target: None,
        }
    }

    fn beside(mut self, floor: impl Into<String>, value: f64) -> Self {
        self.floor = Some((floor.into(), value));
        self
    }

    fn aims(mut self, target: impl Into<String>, met: bool) -> Self {
        self.target = Some((target.into(), met));
        self
    }

    /// The figure as a part of its floor.
    pub fn ratio(&self) -> Option<f64> {
        self.floor.as_ref().map(|(_, floor)| self.value / floor)
    }
}

/// Runs one section in this process.
///
/// # Errors
/// Whatever goes wrong.
pub async fn section(name: &str, options: &Options) -> Result<Vec<Figure>> {
    match name {
        "crypto" => crypto::measure(),
        "commit" => commits::measure(options).await,
        "idle" => deliver::idle().await,
        "deliver" => deliver::throughput().await,
        "requests" => requests::measure(options).await,
        "nodes" => nodes::measure(options).await,
        "crowd" => crowd::measure().await,
        "pages" => pages::measure(options).await,
        "watchers" => pages::watchers(options).await,
        "import" => scale::import(options).await,
        "sync" => scale::sync(options).await,
        "scim" => scim::measure(options).await,
        "connection" => connection::measure(options).await,
        "developer" => developer::measure(options).await,
        "lists" => lists::measure(options).await,
        "sick" => scale::sick(options).await,
        "storage" => scale::storage().await,
        "backlog" => scale::backlog(options).await,
        other => bail!("there is no section {other:?}; there are {}", SECTIONS.join(", ")),
    }
}

/// Runs the sections one after the other, each in a process of its own, and hands the figures of each to
/// `each` as they come.
///
/// # Errors
/// If a section fails; those before it were handed over.
pub fn run(options: &Options, mut each: impl FnMut(&str, Vec<Figure>)) -> Result<()> {
    let all: Vec<String> = SECTIONS.iter().map(|name| (*name).to_owned()).collect();
    let sections = if options.sections.is_empty() {
        &all
    } else {
        &options.sections
    };
    if let Some(unknown) = sections.iter().find(|name| !all.contains(name)) {
        bail!(
            "there is no section {unknown:?}; there are {}",
            SECTIONS.join(", ")
        );
    }
    for name in sections {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["bench", "--json", "--alone", name]);
        if options.full {
            command.arg("--full");
        }
        if let Some(url) = &options.postgres {
            command.args(["--postgres", url]);
        }
        for (option, count) in [
            ("--users", options.users),
            ("--applications", options.applications),
        ] {
            if let Some(count) = count {
                command.args([option, &count.to_string()]);
            }
        }
        let output = command
            .stderr(Stdio::inherit())
            .output()
            .context("a section cannot be started")?;
        if !output.status.success() {
            bail!("the section {name} failed");
        }
        each(name, serde_json::from_slice(&output.stdout)?);
    }
    Ok(())
}

/// A part that another process plays in a measurement.
#[derive(Clone, Debug)]
pub enum Part {
    /// The applications' endpoint; their keys are in this folder.
    Endpoint(PathBuf),
    /// An application that takes SCIM.
    Provider,
    /// A node that delivers from this database.
    Node(String),
    /// Strangers who open this many connections to this port of the loopback interface, and say nothing.
    Crowd(u16, usize),
}

/// Plays a part until the standard input ends; tells `ready` when it is there: the endpoint's port, or how many
/// connections there are.
///
/// # Errors
/// Whatever goes wrong.
pub async fn play(part: Part, ready: impl FnOnce(usize)) -> Result<()> {
    match part {
        Part::Endpoint(folder) => endpoint::serve(&folder, |port| ready(usize::from(port))).await,
        Part::Provider => provider::serve(|port| ready(usize::from(port))).await,
        Part::Node(database) => nodes::serve(database, ready).await,
        Part::Crowd(port, connections) => crowd::gather(port, connections, ready).await,
    }
}

/// Whoever started this process keeps its standard input open as long as it is needed.
async fn orphaned() {
    let input = tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
    drop(input.await);
}

/// Another process that plays a part. It ends when this is dropped.
struct Player {
    child: Child,
    /// What it said when it was ready.
    ready: usize,
}

impl Player {
    fn start(arguments: &[&OsStr]) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("bench")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("another process cannot be started")?;
        let mut ready = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut ready)?;
        }
        let ready = ready.trim().parse();
        Ok(Self {
            child,
            ready: ready.context("another process did not begin")?,
        })
    }

    /// Asks it to end, and waits for that.
    fn end(mut self) -> Result<()> {
        drop(self.child.stdin.take());
        let status = self.child.wait()?;
        anyhow::ensure!(status.success(), "another process ended with {status}");
        Ok(())
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Values in order, to take quantiles of.
struct Sorted(Vec<f64>);

impl Sorted {
    fn new(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        Self(values)
    }

    /// The value below which a part of the others lies.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an index into a list of measurements"
    )]
    fn quantile(&self, part: f64) -> f64 {
        let index = (part * self.0.len() as f64) as usize;
        self.0
            .get(index.min(self.0.len().saturating_sub(1)))
            .copied()
            .unwrap_or_default()
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of a benchmark are far below 2^52"
)]
fn float(count: usize) -> f64 {
    count as f64
}
