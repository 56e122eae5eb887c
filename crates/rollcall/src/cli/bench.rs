//! `rollcall bench`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use super::output::{Output, line};
use crate::bench::{self, Figure, Options, Part};

/// Measure what this machine can do, each figure beside its floor.
///
/// A floor is the same work without the hub: a bare signature, a bare request, a bare commit, taken in the
/// same run. The sections are crypto, commit, idle, deliver, requests, nodes, crowd, pages, watchers, import, sync,
/// scim, connection, developer, lists, sick, storage and backlog; all of them take some minutes. Nothing of the configured hub is used or touched.
#[derive(Debug, Args)]
pub(super) struct Bench {
    /// Only these sections.
    sections: Vec<String>,
    /// Also measure commits, requests, nodes and pages on this PostgreSQL server: postgres://USER@HOST/DATABASE, of a
    /// superuser. Databases are made and dropped on it.
    #[arg(long, value_name = "URL")]
    postgres: Option<String>,
    /// The whole sizes: 100,000 users, lists of a million users, a backlog of a million changes. Takes half an hour.
    #[arg(long)]
    full: bool,
    /// How many users pages are shown of, and how many stand in the lists that are paged through.
    #[arg(long, value_name = "COUNT")]
    users: Option<usize>,
    /// How many applications pages are shown of, and are delivered to while somebody watches.
    #[arg(long, value_name = "COUNT")]
    applications: Option<usize>,
    /// Run one section in this process.
    #[arg(long, hide = true)]
    alone: Option<String>,
    /// Play the applications whose keys are in this folder.
    #[arg(long, hide = true)]
    endpoint: Option<PathBuf>,
    /// Play an application that takes SCIM.
    #[arg(long, hide = true)]
    provider: bool,
    /// Play a node that delivers from this database.
    #[arg(long, hide = true)]
    node: Option<String>,
    /// Play strangers: the port that they connect to, and how many there are.
    #[arg(long, hide = true, num_args = 2)]
    crowd: Option<Vec<usize>>,
}

impl Bench {
    fn part(&self) -> Result<Option<Part>> {
        if self.provider {
            return Ok(Some(Part::Provider));
        }
        Ok(match (&self.endpoint, &self.node, self.crowd.as_deref()) {
            (Some(folder), ..) => Some(Part::Endpoint(folder.clone())),
            (_, Some(database), _) => Some(Part::Node(database.clone())),
            (.., Some(&[port, connections])) => Some(Part::Crowd(port.try_into()?, connections)),
            _ => None,
        })
    }
}

pub(super) async fn run(out: &Output, arguments: &Bench) -> Result<ExitCode> {
    if let Some(part) = arguments.part()? {
        bench::play(part, |ready| line(&ready.to_string())).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let options = Options {
        sections: arguments.sections.clone(),
        postgres: arguments.postgres.clone(),
        full: arguments.full,
        users: arguments.users,
        applications: arguments.applications,
    };
    if let Some(section) = &arguments.alone {
        let figures = bench::section(section, &options).await?;
        line(&serde_json::to_string(&figures)?);
        return Ok(ExitCode::SUCCESS);
    }
    let json = out.json;
    let mut all = Vec::new();
    tokio::task::spawn_blocking(move || {
        bench::run(&options, |_, figures| {
            if !json {
                figures.iter().for_each(|figure| line(&row(figure)));
            }
            all.extend(figures);
        })?;
        if json {
            line(&serde_json::to_string_pretty(&all)?);
        }
        Ok::<_, anyhow::Error>(())
    })
    .await??;
    Ok(ExitCode::SUCCESS)
}

fn row(figure: &Figure) -> String {
    let floor = match (&figure.floor, figure.ratio()) {
        (Some((floor, value)), Some(ratio)) => format!("{ratio:>8.2} × {floor} ({})", number(*value)),
        _ => String::new(),
    };
    let target = match &figure.target {
        Some((target, true)) => format!("  ✓ {target}"),
        Some((target, false)) => format!("  ✗ {target}"),
        None => String::new(),
    };
    format!(
        "{:<72} {:>9} {:<8}{floor}{target}",
        figure.what,
        number(figure.value),
        figure.unit
    )
}

/// Three digits that matter.
fn number(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
