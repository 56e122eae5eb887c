//! The command line.
//!
//! Commands work on the database directly, with or without a running hub beside them: a running hub
//! notices within a fraction of a second what another process committed, and delivers it.

mod accounts;
mod app;
mod args;
mod audit;
mod bench;
mod caller;
mod copy;
mod demo;
mod doctor;
mod envelope;
mod failure;
mod files;
mod keys;
mod list;
mod log;
mod open;
mod ordered;
mod output;
mod password;
mod people;
mod push;
mod serve;
mod serving;
mod shell;
mod why;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;

use crate::config::{self, Config, LogFormat, Overrides};
use args::{Arguments, Verb};
use failure::Failure;
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
        Verb::Doctor => doctor::run(&out, read(), file.as_deref(), &places).await,
        Verb::Restore { ref file } => copy::restore(&out, &read()?, file).await,
        Verb::Example => {
            output::line(crate::config::example().trim_end());
            Ok(ExitCode::SUCCESS)
        }
        Verb::Completions { shell } => Ok(shell::completions(shell)),
        Verb::Man { ref folder } => shell::manual(folder),
        _ => {
            let config = read()?;
            let hub = open::hub(&config).await?;
            let code = on_hub(&hub, &out, &config, arguments.verb).await;
            hub.db.close().await;
            code
        }
    }
}

/// The commands that work on an open hub.
async fn on_hub(
    hub: &crate::hub::Hub,
    out: &Output,
    config: &Config,
    verb: Verb,
) -> anyhow::Result<ExitCode> {
    let sessions = config.maintenance_options().sessions;
    match verb {
        Verb::Import(import) => files::run_import(hub, out, import).await,
        Verb::Export(export) => files::run_export(hub, out, export).await,
        Verb::App { verb } => app::run(hub, out, config, verb).await,
        Verb::User { verb } => people::user(hub, out, verb).await,
        Verb::Unit { verb } => people::unit(hub, out, verb).await,
        Verb::Group { verb } => people::group(hub, out, verb).await,
        Verb::Account { verb } => {
            let provider = config.access.oidc.issuer.as_deref();
            accounts::account(hub, out, sessions, provider, verb).await
        }
        Verb::Token { verb } => accounts::token(hub, out, verb).await,
        Verb::Session { verb } => accounts::session(hub, out, sessions, verb).await,
        Verb::Log(log) => log::run(hub, out, log).await,
        Verb::Audit(args) => audit::run(hub, out, args).await,
        Verb::Push(wanted) => push::run(hub, out, wanted).await,
        Verb::Why(question) => why::run(hub, out, question).await,
        Verb::Backup { file } => copy::backup(hub, out, &file).await,
        Verb::Serve(_)
        | Verb::Demo(_)
        | Verb::Bench(_)
        | Verb::Open(_)
        | Verb::Doctor
        | Verb::Restore { .. }
        | Verb::Example
        | Verb::Completions { .. }
        | Verb::Man { .. } => Ok(ExitCode::SUCCESS),
    }
}
