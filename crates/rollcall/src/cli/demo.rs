//! `rollcall demo`: the whole of it in one process.
//!
//! A hub and a receiving application, each with a database and a port of its own, as they would be on
//! two machines. The application is the receiver kit's mirror, unchanged.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use indicatif::HumanCount;
use rollcall_receiver::Mirror;
use rollcall_server::StopSignals;
use tokio::net::TcpListener;

use super::output::{counted, line};
use super::pair::{self, Pair};
use super::{app, args};
use crate::access::Caller;
use crate::application::Application;
use crate::change::{self, ChangeKind};
use crate::delivery::{connectivity, job};
use crate::directory::search::{self, Wanted};
use crate::directory::{Command, NewUnit, NewUser, UserChanges, query};
use crate::hub::Hub;
use crate::id::ROOT_UNIT;
use crate::import::{self, Format, import};
use crate::private;
use crate::secret::ExposeSecret as _;
use crate::signin::manage::{self, First, Fresh};

/// The company that the demo shows.
const COMPANY: &str = include_str!("../../assets/demo.csv");

/// How long a change may take to arrive before the demo says that something is wrong.
const PATIENCE: Duration = Duration::from_secs(20);

/// How often the synchronization is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

pub(super) async fn run(arguments: &args::Demo) -> Result<ExitCode> {
    let folder = tempfile::tempdir().context("no folder for the demo's databases")?;
    private::make_folder(folder.path())?;
    let mut stop = StopSignals::listen()?;
    let code = tokio::select! {
        code = tell(arguments, folder.path()) => code,
        () = stop.next() => Ok(ExitCode::SUCCESS),
    };
    // Said aloud, because a folder that cannot be removed would stay for ever.
    folder.close().context("the demo's folder cannot be removed")?;
    code
}

async fn tell(arguments: &args::Demo, folder: &Path) -> Result<ExitCode> {
    let hub_port = if arguments.once { 0 } else { arguments.port };
    let app_port = if hub_port == 0 { 0 } else { hub_port + 1 };
    let hub_listener = listen(hub_port).await?;
    let app_listener = listen(app_port).await?;
    let hub_url = format!("http://{}", hub_listener.local_addr()?);
    let app_url = format!("http://{}/events", app_listener.local_addr()?);

    line("1  A hub, and a company in its directory");
    let hub = pair::make_hub(folder, "Meridian Instruments").await?;
    import_people(&hub, folder, arguments.import.as_deref()).await?;

    line("\n2  An application that is to have a copy, encrypted");
    let pair = Pair::start(folder, hub, "Demo application", (hub_listener, app_listener)).await?;
    let Pair {
        hub,
        application,
        mirror,
        delivery,
        ..
    } = &pair;
    line(&format!(
        "   application {}\n   receives at {app_url}\n   public keys {}",
        application.id, pair.jwks_url
    ));

    line("\n3  Test Connectivity");
    let report = connectivity::test(delivery.shared(), &application.id).await?;
    line(&indent(&app::delivery::lines_of(&report)));
    if !report.passed {
        bail!("the connection test failed");
    }

    line("\n4  Synchronize: everything is pushed");
    synchronize(hub, application).await?;

    line("\n5  From now on, every change as it happens");
    live_changes(hub, mirror).await?;

    line("\n6  The application's copy against the hub's directory");
    let equal = compare_both(hub, mirror).await?;
    if !arguments.once {
        if let First::Made(first) = manage::first_start(hub, None).await? {
            line(&sign_in(&hub_url, &first));
        }
        line(&next_steps(&hub_url, &pair.token, folder, application));
        StopSignals::listen()?.next().await;
        line("\nFinishing the requests in flight.");
    }
    pair.stop().await;
    Ok(if equal {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn listen(port: u16) -> Result<TcpListener> {
    TcpListener::bind(("127.0.0.1", port))
        .await
        .with_context(|| format!("port {port} is taken; choose another with --port, or 0 for a free one"))
}

async fn import_people(hub: &Hub, folder: &Path, file: Option<&Path>) -> Result<()> {
    let watch = hub.clock.stopwatch();
    let options = match file {
        None => {
            let file = folder.join("company.csv");
            std::fs::write(&file, COMPANY)?;
            import::Options::of(file, Format::Csv)
        }
        Some(file) => import::Options::of(file, Format::of(file)?),
    };
    let report = import(hub, &options, |_, _| {})
        .await
        .with_context(|| options.file.display().to_string())?;
    line(&format!(
        "   {}, {} and {} imported in {:.1} s",
        counted(report.users.created, "user"),
        counted(report.organizational_units.created, "organizational unit"),
        counted(report.groups.created, "group"),
        watch.elapsed().as_secs_f64()
    ));
    for error in report.errors.iter().take(5) {
        line(&indent(&super::files::line_of(error)));
    }
    if report.errors_total > 5 {
        line(&format!(
            "   … {} refused in all",
            counted(report.errors_total, "row")
        ));
    }
    Ok(())
}

async fn synchronize(hub: &Hub, application: &Application) -> Result<()> {
    let id = application.id.clone();
    let watch = hub.clock.stopwatch();
    let job_id = hub
        .write_as(Caller::system("demo"), move |tx, ctx| {
            job::request_full(tx, ctx, &id)
        })
        .await?;
    let look = async || {
        let id = job_id.clone();
        let job = hub.db.read(move |tx| job::load(tx, &id)).await?;
        let job = job.context("the synchronization was deleted with its application")?;
        let elsewhere = None;
        Ok(app::delivery::Look { job, elsewhere })
    };
    let job = match app::delivery::follow(look, false, LOOK_EVERY).await? {
        app::delivery::Followed::Ended(job) | app::delivery::Followed::Left { job, .. } => job,
    };
    let elapsed = watch.elapsed();
    let statistics = &job.statistics;
    for (what, tally) in [
        ("organizational units", &statistics.organizational_units),
        ("users", &statistics.users),
        ("group events", &statistics.groups),
    ] {
        line(&format!(
            "   {:>6} of {} {what} accepted",
            tally.success, tally.total
        ));
    }
    if let Some(reason) = statistics.skips.reason() {
        line(&format!(
            "   {:>6} skipped by the endpoint: {reason}",
            statistics.skips.count()
        ));
    }
    let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
    let rate = HumanCount(statistics.done() * 1_000 / millis);
    line(&format!(
        "   {} in {:.2} s, {rate} events/s",
        job.status.as_str(),
        elapsed.as_secs_f64()
    ));
    Ok(())
}

async fn live_changes(hub: &Hub, mirror: &Mirror) -> Result<()> {
    let (user, unit, group) = hub
        .db
        .read(|tx| {
            let user = search::users(tx, &Wanted::default(), "", 1)?.found.pop();
            let unit = crate::directory::children(tx, ROOT_UNIT)?.into_iter().next();
            let group = query::list_groups(tx)?.into_iter().next();
            Ok::<_, rollcall_db::DbError>((user, unit, group))
        })
        .await?;
    let new = NewUnit {
        name: "Space Telescopes".to_owned(),
        parent_id: ROOT_UNIT.to_owned(),
        ..NewUnit::default()
    };
    let team = step(
        hub,
        mirror,
        "a unit is founded: Space Telescopes",
        Command::CreateUnit(new),
    )
    .await?;
    let new = NewUser {
        username: "ada.lovelace".to_owned(),
        display_name: "Ada Lovelace".to_owned(),
        primary_organizational_unit_id: team.clone(),
        email: Some("ada.lovelace@meridian.example".to_owned()),
        ..NewUser::default()
    };
    let ada = step(hub, mirror, "Ada Lovelace joins it", Command::CreateUser(new)).await?;
    let changes = UserChanges {
        display_name: Some("Countess Lovelace".to_owned()),
        ..UserChanges::default()
    };
    step(
        hub,
        mirror,
        "she changes her name",
        Command::UpdateUser {
            id: ada.clone(),
            changes,
        },
    )
    .await?;
    if let Some(group) = group {
        let what = format!("she is added to the group {}", group.name);
        let command = Command::AddMembers {
            group_id: group.id,
            user_ids: vec![ada],
        };
        step(hub, mirror, &what, command).await?;
    }
    if let Some(unit) = unit {
        let what = format!("{} moves below it, with everybody in it", unit.name);
        let command = Command::MoveUnit {
            id: unit.id,
            parent_id: team,
        };
        step(hub, mirror, &what, command).await?;
    }
    if let Some(user) = user {
        let what = format!("{} is disabled", user.display_name);
        step(hub, mirror, &what, Command::DisableUser { id: user.id.clone() }).await?;
        let what = format!("{} leaves the company", user.display_name);
        step(hub, mirror, &what, Command::DeleteUser { id: user.id }).await?;
    }
    Ok(())
}

/// Applies a command and shows how long it takes from its commit until the application has stored it.
async fn step(hub: &Hub, mirror: &Mirror, what: &str, command: Command) -> Result<String> {
    let before = hub.db.read(change::head).await?.seq;
    let applied = hub.apply(Caller::system("demo"), command).await?;
    let watch = hub.clock.stopwatch();
    let changes = hub
        .db
        .read(move |tx| change::read_after(tx, before, usize::MAX))
        .await?;
    // Changes of placement alone are no news to an application that sees everything.
    let told = changes
        .iter()
        .rev()
        .find(|change| matches!(change.kind, ChangeKind::Event(_)));
    let event_id = told
        .map(|change| change.event_id.clone())
        .context("nothing was changed")?;
    while !mirror.has_received(&event_id).await? {
        if watch.elapsed() > PATIENCE {
            bail!(
                "after {} s the application does not know of this: {what}",
                PATIENCE.as_secs()
            );
        }
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
    let millis = watch.elapsed().as_secs_f64() * 1_000.0;
    line(&format!("   {millis:>7.1} ms  {what}"));
    Ok(applied.id)
}

async fn compare_both(hub: &Hub, mirror: &Mirror) -> Result<bool> {
    let (should, has) = (pair::should_be(hub).await?, mirror.snapshot().await?);
    let (left, right) = (should.counts(), has.counts());
    line("                            hub   application");
    for (what, left, right) in [
        (
            "organizational units",
            left.organizational_units,
            right.organizational_units,
        ),
        ("users", left.users, right.users),
        ("units of users", left.memberships, right.memberships),
        ("groups", left.groups, right.groups),
        ("members of groups", left.group_members, right.group_members),
    ] {
        line(&format!("   {what:<22} {left:>5} {right:>13}"));
    }
    let differences = should.differences(&has);
    for difference in differences.iter().take(10) {
        line(&format!("   {difference}"));
    }
    line(if differences.is_empty() {
        "   equal, field by field"
    } else {
        "   NOT equal"
    });
    Ok(differences.is_empty())
}

fn indent(text: &str) -> String {
    text.trim_end()
        .lines()
        .map(|line| format!("   {line}"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Where the console is, and how to come in.
fn sign_in(hub_url: &str, first: &Fresh) -> String {
    let password = first.one_time_password.as_ref();
    format!(
        "\n7  In a browser\n\n   {hub_url}/console/\n   name {}, one-time password {}",
        first.account.name,
        password.map_or("", |password| password.expose_secret())
    )
}

fn next_steps(hub_url: &str, token: &str, folder: &Path, application: &Application) -> String {
    let data = folder.display();
    format!(
        "\n8  Your turn; both keep running until Ctrl-C

   Change something, and look at the application's tables:

     curl -s -X POST {hub_url}/api/v1/users -H 'Authorization: Bearer {token}' \\
       -H 'Content-Type: application/json' \\
       -d '{{\"username\":\"grace\",\"displayName\":\"Grace Hopper\",\"primaryOrganizationalUnitId\":\"ou_root\"}}'
     curl -s -X PATCH {hub_url}/api/v1/users/grace -H 'Authorization: Bearer {token}' \\
       -H 'Content-Type: application/json' -d '{{\"displayName\":\"Admiral Hopper\"}}'
     sqlite3 {data}/application.db \"SELECT * FROM mirror_users WHERE username = 'grace'\"

   What was changed, and what was sent:

     curl -s '{hub_url}/api/v1/changes?after=0&limit=3' -H 'Authorization: Bearer {token}'
     curl -s {hub_url}/api/v1/applications/{id}/attempts -H 'Authorization: Bearer {token}'
     curl -s {hub_url}/api/v1/applications/{id} -H 'Authorization: Bearer {token}'",
        id = application.id
    )
}
