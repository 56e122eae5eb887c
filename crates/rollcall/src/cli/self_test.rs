//! `rollcall self-test`: proves that this machine can run a hub, with nothing but itself.
//!
//! Everything happens in a folder of its own within the data folder's file system, and on loopback addresses; it is
//! removed at the end, also after Ctrl-C. What is there already is neither read nor changed.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use rollcall_protocol::{
    EncryptionKey, Event, EventBatch, EventType, JwkSet, Opener, Random as _, SealParams, SigningKey,
    SystemRandom, seal,
};
use rollcall_server::StopSignals;
use serde::Serialize;
use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::output::Output;
use super::pair::{self, Pair};
use crate::access::Caller;
use crate::clock::{Clock, Stopwatch, shown as time};
use crate::config::Config;
use crate::delivery::job;
use crate::directory::{Command, NewUser, UserChanges, query};
use crate::hub::Hub;
use crate::id::ROOT_UNIT;
use crate::private;

/// How many users are pushed.
const USERS: usize = 10;
/// How long they may take to arrive.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often it is looked whether they have.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// No machine that runs this has an earlier time: 2025-01-01.
const BEFORE_THIS_PROGRAM: i64 = 1_735_689_600_000;
/// How far the clock of the file system may differ.
const FILE_CLOCK: i64 = 10_000;

/// A step, and how it came out.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Step {
    name: &'static str,
    passed: bool,
    milliseconds: f64,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<&'static str>,
}

/// What has been proven.
struct Report {
    steps: Vec<Step>,
    clock: Clock,
}

impl Report {
    /// Adds a step; gives what it has made, if it passed.
    fn add<T>(
        &mut self,
        name: &'static str,
        watch: Stopwatch,
        result: Result<(T, String)>,
        advice: &'static str,
    ) -> Option<T> {
        let milliseconds = (watch.elapsed().as_secs_f64() * 10_000.0).round() / 10.0;
        let (made, detail) = match result {
            Ok((made, detail)) => (Some(made), detail),
            Err(error) => (None, format!("{error:#}")),
        };
        self.steps.push(Step {
            name,
            passed: made.is_some(),
            milliseconds,
            detail,
            advice: made.is_none().then_some(advice),
        });
        made
    }

    fn passed(&self) -> bool {
        self.steps.iter().all(|step| step.passed)
    }

    fn lines(&self) -> String {
        let mut text = String::new();
        for step in &self.steps {
            let mark = if step.passed { "ok  " } else { "FAIL" };
            let Step {
                name,
                milliseconds,
                detail,
                ..
            } = step;
            text.push_str(&format!("  {mark} {name:<11} {milliseconds:>7.1} ms  {detail}\n"));
            if let Some(advice) = step.advice {
                text.push_str(&format!("                              to do: {advice}\n"));
            }
        }
        text.push_str(match self.passed() {
            true => "this machine can run a hub\n",
            false => "this machine cannot run a hub as it is\n",
        });
        text
    }
}

/// Runs the command.
pub(super) async fn run(out: &Output, config: &Config) -> Result<ExitCode> {
    let mut report = Report {
        steps: Vec::new(),
        clock: Clock::system(),
    };
    let watch = report.clock.stopwatch();
    let advice = "let the account that runs the hub write there, or name another folder with --data-dir";
    if let Some(folder) = report.add("folder", watch, folder(&config.data_dir), advice) {
        let mut stop = StopSignals::listen()?;
        let ended = tokio::select! {
            () = steps(&mut report, folder.path()) => true,
            () = stop.next() => false,
        };
        let watch = report.clock.stopwatch();
        let place = folder.path().to_owned();
        let removed = folder
            .close()
            .map(|()| ((), "nothing is left behind".to_owned()))
            .with_context(|| place.display().to_string());
        report.add("removal", watch, removed, "remove the folder by hand");
        if !ended {
            bail!("it was asked to end before it had proven anything");
        }
    }
    let passed = report.passed();
    out.show(&json!({ "passed": passed, "steps": report.steps }), || {
        report.lines()
    });
    Ok(match passed {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// A folder of its own, where the data folder is or would be.
fn folder(data_dir: &Path) -> Result<(TempDir, String)> {
    let absolute = std::path::absolute(data_dir)?;
    let place: PathBuf = absolute
        .ancestors()
        .find(|folder| folder.is_dir())
        .context("there is no folder at all")?
        .to_owned();
    let made = tempfile::Builder::new()
        .prefix("rollcall-self-test-")
        .tempdir_in(&place)
        .with_context(|| place.display().to_string())?;
    private::make_folder(made.path())?;
    Ok((made, format!("in {}", place.display())))
}

async fn steps(report: &mut Report, folder: &Path) {
    let watch = report.clock.stopwatch();
    let advice = "use a file system that keeps owners and modes of files (not FAT, nor a share without them)";
    report.add("permissions", watch, permissions(folder), advice);

    let watch = report.clock.stopwatch();
    let result = clock_of(&report.clock, folder);
    report.add(
        "clock",
        watch,
        result,
        "set the clock, and keep it right with a time server",
    );

    let watch = report.clock.stopwatch();
    report.add(
        "entropy",
        watch,
        entropy(),
        "see whether the system has a source of randomness",
    );

    let watch = report.clock.stopwatch();
    let result = cryptography(&report.clock);
    report.add(
        "keys",
        watch,
        result,
        "install the program again: it is damaged, or was built for another processor",
    );

    let watch = report.clock.stopwatch();
    let result = database(folder).await;
    let advice = "use a local disk with free space, whose file system has locks";
    let hub = report.add("database", watch, result, advice);

    let watch = report.clock.stopwatch();
    let advice = "see what keeps programs from listening on 127.0.0.1";
    let listeners = report.add("ports", watch, listeners().await, advice);

    let (Some(hub), Some(listeners)) = (hub, listeners) else {
        return;
    };
    let watch = report.clock.stopwatch();
    let pair = Pair::start(folder, hub, "Self-test", listeners).await;
    let started = pair.map(|pair| (pair, "a hub, and an application with a mirror".to_owned()));
    let advice = "see the reason, and what else runs on this machine";
    let Some(pair) = report.add("start", watch, started, advice) else {
        return;
    };
    let watch = report.clock.stopwatch();
    let result = delivery(&pair).await;
    let advice = "see whether requests from this machine to itself are kept back (a firewall, a proxy)";
    report.add("delivery", watch, result, advice);
    pair.stop().await;
}

/// What is made for nobody else can be read by nobody else.
fn permissions(folder: &Path) -> Result<((), String)> {
    let file = folder.join("private");
    private::create(&file)
        .and_then(|mut file| file.write_all(b"secret"))
        .with_context(|| file.display().to_string())?;
    let mode = |path: &Path| -> Result<u32> { Ok(std::fs::metadata(path)?.permissions().mode() & 0o777) };
    let modes = (mode(folder)?, mode(&file)?);
    if modes.0 & 0o077 != 0 || modes.1 & 0o077 != 0 {
        bail!(
            "others may read what is private: folder {:04o}, file {:04o}",
            modes.0,
            modes.1
        );
    }
    Ok(((), format!("folder {:04o}, file {:04o}", modes.0, modes.1)))
}

/// The time is plausible, and that of the file system is the same.
fn clock_of(clock: &Clock, folder: &Path) -> Result<((), String)> {
    let file = folder.join("clock");
    std::fs::write(&file, "now").with_context(|| file.display().to_string())?;
    let now = clock.now();
    if now < BEFORE_THIS_PROGRAM {
        bail!(
            "it is {} by the clock of this machine, which cannot be",
            time(now)
        );
    }
    let written = std::fs::metadata(&file)?.modified()?;
    let written = written.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let ahead = i64::try_from(written)? - now;
    if ahead.abs() > FILE_CLOCK {
        bail!(
            "the clock of the file system is {} s from that of this machine",
            ahead / 1_000
        );
    }
    Ok(((), time(now)))
}

/// Randomness comes, and differs.
fn entropy() -> Result<((), String)> {
    let draw = || {
        let mut bytes = [0_u8; 32];
        SystemRandom.fill(&mut bytes);
        bytes
    };
    let (first, second) = (draw(), draw());
    if first == second || first == [0; 32] || second == [0; 32] {
        bail!("the source of randomness repeats itself");
    }
    Ok(((), "the system gives randomness".to_owned()))
}

/// Keys are made; what is sealed is opened, and what was altered is refused.
fn cryptography(clock: &Clock) -> Result<((), String)> {
    let signing = SigningKey::generate("SELFTEST")?;
    let key = EncryptionKey::generate(&SystemRandom);
    let keys = JwkSet {
        keys: vec![signing.public_jwk()],
    };
    let keys = keys.verifier();
    let now_ms = clock.now();
    let batch = EventBatch {
        instance_id: "idaas_selftest".to_owned(),
        event_version: "V1.0".to_owned(),
        ali_uid: "1".to_owned(),
        events: vec![Event {
            event_id: "evnt_selftest".to_owned(),
            event_type: EventType::Test.urn().to_owned(),
            event_time: now_ms,
            biz_id: "idaas_selftest".to_owned(),
            biz_data: "{}".to_owned(),
        }],
    };
    let params = SealParams {
        key: &signing,
        instance_id: "idaas_selftest",
        application_id: "app_selftest",
        encryption: Some(&key),
        now_ms,
        random: &SystemRandom,
    };
    let body = seal(&batch, &params)?.body;
    let opener = Opener {
        decryption: Some(&key),
        require_encryption: true,
        ..Opener::new(&keys, "app_selftest")
    };
    let opened = opener.open(body.as_bytes(), now_ms)?;
    if opened.batch != batch {
        bail!("what was opened is not what was sealed");
    }
    let altered = body.replace("\"}", "AA\"}");
    if opener.open(altered.as_bytes(), now_ms).is_ok() {
        bail!("an altered envelope was opened");
    }
    Ok((
        (),
        "RS256 and A256GCM: sealed, opened, and refused when altered".to_owned(),
    ))
}

/// A hub on SQLite, written and read.
async fn database(folder: &Path) -> Result<(Hub, String)> {
    let hub = pair::make_hub(folder, "Self-test").await?;
    let root = hub.db.read(|tx| query::name_of(tx, ROOT_UNIT)).await?;
    if root.as_deref() != Some("Self-test") {
        bail!("what was read is not what was written");
    }
    Ok((hub, "SQLite: written and read".to_owned()))
}

async fn listeners() -> Result<((TcpListener, TcpListener), String)> {
    let hub = TcpListener::bind("127.0.0.1:0").await?;
    let app = TcpListener::bind("127.0.0.1:0").await?;
    let shown = format!(
        "127.0.0.1, {} and {}",
        hub.local_addr()?.port(),
        app.local_addr()?.port()
    );
    Ok(((hub, app), shown))
}

/// Users are made, pushed by a full synchronization, changed and deleted at the hub, until the application has what it
/// should have.
async fn delivery(pair: &Pair) -> Result<((), String)> {
    let hub = &pair.hub;
    let apply = async |command| hub.apply(Caller::system("self-test"), command).await;
    let mut ids = Vec::new();
    for number in 0..USERS + 1 {
        let new = NewUser {
            username: format!("user{number}"),
            display_name: format!("User {number}"),
            primary_organizational_unit_id: ROOT_UNIT.to_owned(),
            ..NewUser::default()
        };
        ids.push(apply(Command::CreateUser(new)).await?.id);
    }
    let application = pair.application.id.clone();
    hub.write_as(Caller::system("self-test"), move |tx, ctx| {
        job::request_full(tx, ctx, &application)
    })
    .await?;
    let gone = ids.pop().unwrap_or_default();
    apply(Command::DeleteUser { id: gone }).await?;
    let changes = UserChanges {
        display_name: Some("Zoë GRÜN 王".to_owned()),
        ..UserChanges::default()
    };
    let id = ids.pop().unwrap_or_default();
    apply(Command::UpdateUser { id, changes }).await?;
    let should = pair::should_be(hub).await?;
    let watch = hub.clock.stopwatch();
    loop {
        let has = pair.mirror.snapshot().await?;
        let differences = should.differences(&has);
        let users = has.counts().users;
        if differences.is_empty() {
            return Ok(((), format!("{users} users arrived, equal field by field")));
        }
        if watch.elapsed() > PATIENCE {
            let first = differences.first().cloned().unwrap_or_default();
            bail!("after {} s the application differs: {first}", PATIENCE.as_secs());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
