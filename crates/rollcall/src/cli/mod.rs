//! The command line.
//!
//! Commands work on the database directly, with or without a running hub beside them: a running hub
//! notices within a fraction of a second what another process committed, and delivers it.

mod app;
mod args;
mod bench;
mod demo;
mod files;
mod log;
mod open;
mod output;
mod people;
mod serve;

use std::process::ExitCode;

use clap::Parser as _;

use args::{Arguments, Verb};

/// Runs the program. Exit codes: 0 done, 1 failed, 2 wrong use, 3 done in part (rows of an import were
/// refused, a connectivity test failed, a synchronization was refused in part).
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let quiet = !matches!(arguments.verb, Verb::Serve(_));
    let default = if quiet {
        "rollcall=warn,rollcall_receiver=error"
    } else {
        "info"
    };
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("ROLLCALL_LOG").unwrap_or_else(|_| default.into()),
        )
        .with_writer(std::io::stderr)
        .init();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            output::complain(&anyhow::Error::from(error));
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(arguments)) {
        Ok(code) => code,
        Err(error) => {
            output::complain(&error);
            ExitCode::FAILURE
        }
    }
}

/// Prints a line of a result.
pub(crate) fn print(text: &str) {
    output::line(text);
}

async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let out = output::Output { json: arguments.json };
    let config = arguments.config.as_deref();
    match arguments.verb {
        Verb::Serve(serve) => serve::run(config, serve).await,
        Verb::Demo(demo) => demo::run(demo).await,
        Verb::Bench(bench) => bench::run(&out, bench).await,
        verb => {
            let hub = open::hub(&crate::config::Config::read(config)?).await?;
            let code = match verb {
                Verb::Import(import) => files::run_import(&hub, &out, import).await,
                Verb::Export(export) => files::run_export(&hub, &out, export).await,
                Verb::App { verb } => app::run(&hub, &out, config, verb).await,
                Verb::User { verb } => people::user(&hub, &out, verb).await,
                Verb::Unit { verb } => people::unit(&hub, &out, verb).await,
                Verb::Group { verb } => people::group(&hub, &out, verb).await,
                Verb::Log(log) => log::run(&hub, &out, log).await,
                Verb::Serve(_) | Verb::Demo(_) | Verb::Bench(_) => Ok(ExitCode::SUCCESS),
            };
            hub.db.close().await;
            code
        }
    }
}
