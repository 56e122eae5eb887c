//! `rollcall doctor`: looks at everything that operation depends on, and says what to do.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use rollcall_db::{DbError, Dialect};
use rollcall_server::file::FileError;
use rollcall_server::health::State;
use serde::Serialize;

use super::backend::{Backend, Remote, SAME_VERSION};
use super::failure::Failure;
use super::open;
use super::output::{Output, counted};
use super::serving::{self, Known};
use crate::application::keys::rotation::Setback;
use crate::application::{Application, store};
use crate::change;
use crate::clock::Clock;
use crate::config::Config;
use crate::delivery::ledger::parked::{self, ParkedState};
use crate::delivery::route::Target;
use crate::health;
use crate::hub::Hub;
use crate::private::{self, PrivateError};

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Health {
    Good,
    Doubtful,
    Bad,
}

/// A check.
#[derive(Debug, Serialize)]
struct Check {
    what: String,
    health: Health,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

#[derive(Default)]
struct Report(Vec<Check>);

impl Report {
    fn good(&mut self, what: &str, detail: impl Into<String>) {
        self.add(what, Health::Good, detail.into(), None);
    }

    fn doubtful(&mut self, what: &str, detail: impl Into<String>, advice: impl Into<String>) {
        self.add(what, Health::Doubtful, detail.into(), Some(advice.into()));
    }

    fn bad(&mut self, what: &str, detail: impl Into<String>, advice: impl Into<String>) {
        self.add(what, Health::Bad, detail.into(), Some(advice.into()));
    }

    fn add(&mut self, what: &str, health: Health, detail: String, advice: Option<String>) {
        self.0.push(Check {
            what: what.to_owned(),
            health,
            detail,
            advice,
        });
    }
}

pub(super) async fn run(
    out: &Output,
    config: Result<Config>,
    file: Option<&Path>,
    places: &[PathBuf],
) -> Result<ExitCode> {
    let mut report = Report::default();
    match config {
        Ok(config) => {
            report.good("configuration", used(file, places));
            look_at_files(&mut report, &config);
            look_at_certificate(&mut report, &config);
            match open::hub(&config).await {
                Ok(hub) => look_at_hub(&mut report, &config, &hub).await?,
                Err(error) => {
                    let Failure { message, hint, .. } = Failure::of(&error);
                    let advice = hint.unwrap_or_else(|| {
                        "mend that; with PostgreSQL, see that it runs, and that its address and password are right"
                            .to_owned()
                    });
                    report.bad("database", message, advice);
                }
            }
        }
        Err(error) => report.bad("configuration", format!("{error:#}"), "mend that setting first"),
    }
    Ok(ended(out, &report))
}

/// Looks at a hub elsewhere: whether it is reached, whether it knows the token, and how its parts are.
pub(super) async fn look_elsewhere(out: &Output, remote: &Remote) -> Result<ExitCode> {
    let health = Backend::connect(remote)?.health().await?;
    let mut report = Report::default();
    let detail = format!(
        "version {}, instance {}, at {}",
        health.version, health.instance_id, remote.server
    );
    let here = env!("CARGO_PKG_VERSION");
    match health.version == here {
        true => report.good("hub", detail),
        false => report.doubtful(
            "hub",
            format!("{detail}; this program is of version {here}"),
            format!("commands may lack something: {SAME_VERSION}"),
        ),
    }
    for part in health.parts {
        let advice = part.action;
        let health = match part.state {
            State::Ok => Health::Good,
            State::Warning => Health::Doubtful,
            State::Failed => Health::Bad,
        };
        report.add(&part.name, health, part.message, advice);
    }
    Ok(ended(out, &report))
}

/// Shows a report. The exit code tells the worst of it.
fn ended(out: &Output, report: &Report) -> ExitCode {
    let worst = |health| report.0.iter().any(|check| check.health == health);
    let code = match (worst(Health::Bad), worst(Health::Doubtful)) {
        (true, _) => ExitCode::FAILURE,
        (false, true) => ExitCode::from(super::output::IN_PART),
        (false, false) => ExitCode::SUCCESS,
    };
    out.show(&report.0, || lines_of(report));
    code
}

fn lines_of(report: &Report) -> String {
    let mut text = String::new();
    for check in &report.0 {
        let mark = match check.health {
            Health::Good => "ok  ",
            Health::Doubtful => "??  ",
            Health::Bad => "FAIL",
        };
        text.push_str(&format!("{mark}  {:<26} {}\n", check.what, check.detail));
        if let Some(advice) = &check.advice {
            text.push_str(&format!("                                 → {advice}\n"));
        }
    }
    text
}

/// Which configuration file is used.
fn used(file: Option<&Path>, places: &[PathBuf]) -> String {
    match file {
        Some(file) => format!("{}; every setting can be used", file.display()),
        None => {
            let places: Vec<_> = places.iter().map(|place| place.display().to_string()).collect();
            format!(
                "there is no file ({}); every other setting can be used",
                places.join(", ")
            )
        }
    }
}

fn look_at_files(report: &mut Report, config: &Config) {
    let look = |report: &mut Report, what: &str, found: Result<String, PrivateError>| match found {
        Ok(detail) => report.good(what, detail),
        Err(PrivateError::File(FileError::Missing(path))) => report.doubtful(
            what,
            format!("{} does not exist", path.display()),
            "rollcall serve makes it with a new hub; of a hub that exists it is needed",
        ),
        Err(error) => report.bad(what, error.to_string(), "mend that first"),
    };
    let folder = &config.data_dir;
    let found = if folder.exists() {
        private::check_folder(folder).map(|()| folder.display().to_string())
    } else {
        Err(FileError::Missing(folder.clone()).into())
    };
    look(report, "data folder", found);
    for (what, file) in [
        ("master key", config.master_key_path()),
        ("administrator's token", config.token_path()),
    ] {
        let found = private::read(&file).map(|_| file.display().to_string());
        look(report, what, found);
    }
    let database = config.database_url().ok();
    if let Some(file) = database.as_deref().and_then(rollcall_db::sqlite_file) {
        let found = private::check_database(&file).map(|()| file.display().to_string());
        look(report, "database files", found);
    }
}

/// What a hub that is started now would show, and one that runs has loaded by itself.
fn look_at_certificate(report: &mut Report, config: &Config) {
    const WHAT: &str = "certificate";
    match config.server.tls() {
        Ok(None) => {}
        Ok(Some(tls)) => {
            let part = tls.part(Clock::system().now() / 1_000);
            let health = match part.state {
                State::Ok => Health::Good,
                State::Warning => Health::Doubtful,
                State::Failed => Health::Bad,
            };
            report.add(WHAT, health, part.message, part.action);
        }
        Err(error) => report.bad(
            WHAT,
            error.to_string(),
            "mend that: a hub that runs goes on with the certificate that it has, but one that is started ends at once",
        ),
    }
}

/// Whether the database does its work and is whole. Returns the log's end, and how long a transaction took.
async fn look_at_database(hub: &Hub) -> Result<(change::Head, Duration), DbError> {
    let watch = hub.clock.stopwatch();
    hub.db.check().await?;
    let head = hub.db.read(change::head).await?;
    let took = watch.elapsed();
    hub.db.verify().await?;
    Ok((head, took))
}

async fn look_at_hub(report: &mut Report, config: &Config, hub: &Hub) -> Result<()> {
    let (change::Head { seq: head, time }, took) = match look_at_database(hub).await {
        Ok(found) => found,
        Err(error) => {
            report.bad("database", error.to_string(), health::advice(error.class()));
            return Ok(());
        }
    };
    let took = took.as_secs_f64() * 1e3;
    let dialect = match hub.db.dialect() {
        Dialect::Sqlite => "SQLite",
        Dialect::Postgres => "PostgreSQL",
    };
    let detail = format!("{dialect}, a transaction takes {took:.1} ms, the log stands at {head}");
    if took > 500.0 {
        report.doubtful(
            "database",
            detail,
            "that is slow; look at the disk or at the way to the server",
        );
    } else {
        report.good("database", detail);
    }
    look_at_clock(report, hub, time);
    let known = serving::known(hub, config).await?;
    look_at_service(report, &known).await;
    let applications = hub.db.read(store::list).await?;
    if applications.is_empty() {
        report.good("applications", "none yet; rollcall app create adds one");
    }
    let egress = known.egress()?;
    for application in applications {
        look_at_application(report, hub, &egress, application, head).await?;
    }
    hub.db.clone().close().await;
    Ok(())
}

/// Receivers allow a minute; a clock that is further off makes them refuse every event.
fn look_at_clock(report: &mut Report, hub: &Hub, last_change: i64) {
    let ahead = last_change - hub.clock.now();
    let synchronized = Path::new("/run/systemd/timesync/synchronized").exists();
    if ahead > 5_000 {
        report.bad(
            "clock",
            format!("it stands {} s before the last change of the log", ahead / 1_000),
            "it was set back; applications refuse events that are more than a minute off. Synchronize it (NTP)",
        );
    } else if synchronized {
        report.good("clock", "synchronized, and after the last change of the log");
    } else {
        report.good(
            "clock",
            "after the last change of the log; whether it is synchronized cannot be told here",
        );
    }
}

async fn look_at_service(report: &mut Report, known: &Known<'_>) {
    let listens_on = known.listens_on();
    let connect = tokio::net::TcpStream::connect(listens_on);
    match tokio::time::timeout(Duration::from_secs(2), connect).await {
        Ok(Ok(_)) => report.good("hub", format!("something answers on {listens_on}")),
        _ => report.doubtful(
            "hub",
            format!("nobody answers on {listens_on}"),
            "changes wait until the hub runs: rollcall serve",
        ),
    }
    if let Some(note) = known.note() {
        let what = "where applications fetch the public keys";
        report.doubtful("public_url", format!("{what}: {}", known.public_url()), note);
    }
}

async fn look_at_application(
    report: &mut Report,
    hub: &Hub,
    egress: &crate::delivery::egress::Egress,
    application: Application,
    head: change::Seq,
) -> Result<()> {
    let what = format!("application {}", application.name);
    let (id, too) = (application.id.clone(), hub.clone());
    let own = application.clone();
    let loaded = hub
        .db
        .read(move |tx| {
            let parked = parked::list(tx, &id)?;
            let failed = parked.iter().filter(|it| it.state == ParkedState::Failed).count();
            Ok::<_, DbError>((failed, Target::of(tx, own.clone(), &too)))
        })
        .await?;
    let (failed, link) = loaded;
    let link = match link {
        Ok(link) => link,
        Err(error) => {
            report.bad(
                &what,
                error.to_string(),
                "is this the master key that its keys were sealed under?",
            );
            return Ok(());
        }
    };
    if let Some(suspension) = &application.suspended {
        report.bad(
            &what,
            format!("does not answer: {}", suspension.in_full()),
            format!("rollcall app test {:?}", application.name),
        );
        return Ok(());
    }
    if failed > 0 {
        report.doubtful(
            &what,
            format!("{} refused and set aside", counted(failed as u64, "event")),
            format!(
                "rollcall app show {0:?}, mend the cause, then rollcall app resend {0:?}",
                application.name
            ),
        );
        return Ok(());
    }
    let setback = link
        .candidate()
        .and_then(|candidate| candidate.trial.setback.as_ref());
    if let Some(Setback::Refused { reason, .. }) = setback {
        report.doubtful(
            &what,
            format!("refuses the new signing key, so the old one goes on signing: {reason}"),
            format!(
                "restart the application or update its pinned keys, then rollcall app key try {:?}",
                application.name
            ),
        );
        return Ok(());
    }
    if !application.synchronize {
        report.doubtful(
            &what,
            "is switched off; its changes wait",
            format!("rollcall app resume {:?}", application.name),
        );
        return Ok(());
    }
    match reach(egress, &link).await {
        Ok(address) => report.good(
            &what,
            format!(
                "{address} is reached; {} behind",
                counted((head - application.position).unsigned_abs(), "change")
            ),
        ),
        Err(error) => report.bad(
            &what,
            error,
            format!("rollcall app test {:?} says more", application.name),
        ),
    }
    Ok(())
}

async fn reach(egress: &crate::delivery::egress::Egress, target: &Target) -> Result<String, String> {
    let addresses = egress
        .resolve(target.url())
        .await
        .map_err(|error| error.to_string())?;
    match egress.connect(&addresses).await {
        Ok(stream) => Ok(stream
            .peer_addr()
            .map_or_else(|_| "the endpoint".to_owned(), |peer| peer.to_string())),
        Err(error) => Err(format!("no connection: {error}")),
    }
}
