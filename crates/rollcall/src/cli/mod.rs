//! The command line.
//!
//! Commands work on the database directly, with or without a running hub beside them: a running hub
//! notices within a fraction of a second what another process committed, and delivers it. With `--server` they work
//! through the administrator's API of a hub elsewhere (`backend`).

mod accounts;
mod app;
mod args;
mod audit;
mod backend;
mod bench;
mod caller;
mod check;
mod connections;
mod copy;
mod demo;
mod doctor;
mod envelope;
mod failure;
mod files;
mod keys;
mod list;
mod listen;
mod log;
mod open;
mod ordered;
mod output;
mod pair;
mod password;
mod people;
mod push;
mod self_test;
mod serve;
mod serving;
mod shell;
mod trigger;
mod why;

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Parser as _;

use crate::config::{self, Config, LogFormat, Overrides};
use args::{Arguments, Verb};
use backend::{Backend, Remote, database_only};
use failure::{Failure, Refusal};
use output::Output;

/// What is logged by commands that are not the hub: only what went wrong.
const QUIET: &str = "rollcall=warn,rollcall_receiver=error";

/// Runs the program. `rollcall --help` lists the exit codes.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return failure::of_command_line(&error, std::env::args_os()),
    };
    let json = arguments.json;
    let ended = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the program cannot start its threads")
        .and_then(|runtime| {
            runtime.block_on(async {
                tokio::select! {
                    biased;
                    ended = run(arguments) => ended,
                    () = output::reader_gone() => Ok(ExitCode::SUCCESS),
                }
            })
        });
    match ended {
        // Also if that made it fail: nobody is interested any more.
        _ if output::is_reader_gone() => ExitCode::from(output::READER_GONE),
        Ok(code) => code,
        Err(error) => Failure::of(&error).tell(json),
    }
}

fn start_log(level: &str, format: LogFormat) -> anyhow::Result<()> {
    use rollcall_server::log::{Format, filter, start};
    let filter = filter(level).map_err(anyhow::Error::msg)?;
    let format = match format {
        LogFormat::Text => Format::Text,
        LogFormat::Json => Format::Json,
    };
    start(filter, format);
    Ok(())
}

fn overrides(arguments: &Arguments) -> Overrides {
    let mut overrides = Overrides {
        data_dir: arguments.data_dir.clone(),
        database: arguments.database.clone(),
        ..Overrides::default()
    };
    if let Verb::Serve(serve) = &arguments.verb {
        overrides.listen = serve.listen;
        overrides.public_url.clone_from(&serve.public_url);
        overrides.egress_allow.clone_from(&serve.egress_allow);
        overrides.log_level.clone_from(&serve.log_level);
        overrides.log_format = serve.log_format;
    }
    overrides
}

async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let out = Output { json: arguments.json };
    let places = config::places(arguments.data_dir.as_deref());
    let file = match &arguments.config {
        Some(named) => Some(named.clone()),
        None => places.iter().find(|place| place.is_file()).cloned(),
    };
    let read = || Config::read(file.as_deref(), overrides(&arguments));
    let remote = remote(&arguments)?;
    if let Verb::Serve(_) = arguments.verb {
        let config = read()?;
        start_log(&config.log.level, config.log.format).context("log.level")?;
        return serve::run(&config, file.as_deref()).await;
    }
    let level = std::env::var("ROLLCALL_LOG").unwrap_or_else(|_| QUIET.to_owned());
    start_log(&level, LogFormat::Text).context("ROLLCALL_LOG")?;
    match arguments.verb {
        Verb::Serve(_) => Ok(ExitCode::SUCCESS),
        Verb::Demo(ref demo) => demo::run(demo).await,
        Verb::Bench(ref bench) => bench::run(&out, bench).await,
        Verb::Open(ref open) => envelope::run(&out, open).await,
        Verb::Listen(ref wanted) => {
            let backend = match (&wanted.app, &remote) {
                (None, _) => None,
                (Some(_), Some(remote)) => Some(Backend::connect(remote)?),
                (Some(_), None) => Some(Backend::open(read()?).await?),
            };
            let code = listen::run(&out, wanted, backend.as_ref()).await;
            if let Some(backend) = backend {
                backend.close().await;
            }
            code
        }
        Verb::Check(ref check) => check::run(&out, check, arguments.ca_file.as_deref()).await,
        Verb::Trigger(ref trigger) => {
            let ca_file = arguments.ca_file.as_deref();
            trigger::run(&out, trigger, ca_file, &read()?.data_dir).await
        }
        Verb::Doctor => match &remote {
            Some(remote) => doctor::look_elsewhere(&out, remote).await,
            None => doctor::run(&out, read(), file.as_deref(), &places).await,
        },
        Verb::SelfTest => self_test::run(&out, &read()?).await,
        Verb::Restore { ref file } => copy::restore(&out, &read()?, file).await,
        Verb::Example => {
            output::line(crate::config::example().trim_end());
            Ok(ExitCode::SUCCESS)
        }
        Verb::Completions { shell } => Ok(shell::completions(shell)),
        Verb::Man { ref folder } => shell::manual(folder),
        _ => {
            let backend = match &remote {
                Some(remote) => Backend::connect(remote)?,
                None => Backend::open(read()?).await?,
            };
            let code = on(&backend, &out, arguments.verb).await;
            backend.close().await;
            code
        }
    }
}

/// The hub elsewhere that is named, for commands that have to do with one.
fn remote(arguments: &Arguments) -> anyhow::Result<Option<Remote>> {
    // They send by themselves, and have to do with no hub.
    if let Verb::Check(_) | Verb::Trigger(_) = arguments.verb {
        return Ok(None);
    }
    let Some(server) = &arguments.server else {
        return alone(arguments).map(|()| None);
    };
    let elsewhere_is_no_use = match arguments.verb {
        // They have to do with no hub.
        Verb::Open(_) | Verb::Example | Verb::Completions { .. } | Verb::Man { .. } => {
            return Ok(None);
        }
        Verb::Serve(_) => Some(("serve", "it is the hub: start it on its own machine")),
        Verb::Demo(_) => Some(("demo", "it brings a hub of its own")),
        Verb::Bench(_) => Some(("bench", "it measures this machine")),
        Verb::SelfTest => Some(("self-test", "it proves this machine")),
        Verb::Backup { .. } => bail!(database_only("backup")),
        Verb::Restore { .. } => bail!(database_only("restore")),
        _ => None,
    };
    if let Some((command, instead)) = elsewhere_is_no_use {
        let message =
            format!("rollcall {command} does not work with --server (or ROLLCALL_SERVER): {instead}");
        bail!(Refusal::wrong_use(
            message,
            "leave --server out, and unset ROLLCALL_SERVER"
        ));
    }
    let here = [
        (arguments.config.is_some(), "--config (or ROLLCALL_CONFIG)"),
        (arguments.data_dir.is_some(), "--data-dir"),
        (arguments.database.is_some(), "--database"),
    ];
    if let Some((_, option)) = here.into_iter().find(|(is_given, _)| *is_given) {
        bail!(Refusal::wrong_use(
            format!("--server (or ROLLCALL_SERVER) names one hub, and {option} another"),
            "name only one of them",
        ));
    }
    Ok(Some(Remote {
        server: server.clone(),
        token_file: arguments.token_file.clone(),
        ca_file: arguments.ca_file.clone(),
        plain_http: arguments.plain_http,
    }))
}

/// Refuses what was typed of a hub elsewhere that is not named, so that nobody believes to work with that one. What
/// variables say is for whenever one is named.
fn alone(arguments: &Arguments) -> anyhow::Result<()> {
    let is_typed = |is_given: bool, variable| is_given && std::env::var_os(variable).is_none();
    let typed = [
        (
            is_typed(arguments.token_file.is_some(), "ROLLCALL_TOKEN_FILE"),
            "--token-file",
        ),
        (
            is_typed(arguments.ca_file.is_some(), "ROLLCALL_CA_FILE"),
            "--ca-file",
        ),
        (arguments.plain_http, "--plain-http"),
    ];
    if let Some((_, option)) = typed.into_iter().find(|(is_typed, _)| *is_typed) {
        bail!(Refusal::wrong_use(
            format!("{option} is about a hub elsewhere, and none is named"),
            "name it with --server (or ROLLCALL_SERVER), or leave the option out to work on the database",
        ));
    }
    Ok(())
}

/// The commands that work with a hub, on its database or elsewhere.
async fn on(backend: &Backend, out: &Output, verb: Verb) -> anyhow::Result<ExitCode> {
    match verb {
        Verb::Import(import) => files::run_import(backend, out, import).await,
        Verb::Export(export) => files::run_export(backend, out, export).await,
        Verb::App { verb } => app::run(backend, out, verb).await,
        Verb::User { verb } => people::user(backend, out, verb).await,
        Verb::Unit { verb } => people::unit(backend, out, verb).await,
        Verb::Group { verb } => people::group(backend, out, verb).await,
        Verb::Account { verb } => accounts::account(backend, out, verb).await,
        Verb::Token { verb } => accounts::token(backend, out, verb).await,
        Verb::Connection { verb } => connections::run(backend, out, verb).await,
        Verb::Session { verb } => accounts::session(backend, out, verb).await,
        Verb::Log(log) => log::run(backend, out, log).await,
        Verb::Audit(args) => audit::run(backend, out, args).await,
        Verb::Push(wanted) => push::run(backend, out, wanted).await,
        Verb::Why(question) => why::run(backend, out, question).await,
        Verb::Backup { file } => copy::backup(&backend.database("backup")?.hub, out, &file).await,
        Verb::Serve(_)
        | Verb::Demo(_)
        | Verb::Bench(_)
        | Verb::Open(_)
        | Verb::Listen(_)
        | Verb::Check(_)
        | Verb::Trigger(_)
        | Verb::Doctor
        | Verb::SelfTest
        | Verb::Restore { .. }
        | Verb::Example
        | Verb::Completions { .. }
        | Verb::Man { .. } => Ok(ExitCode::SUCCESS),
    }
}
