//! `rollcall backup` and `restore`.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use rollcall_db::Db;
use rollcall_protocol::SystemRandom;
use serde_json::json;

use super::open;
use super::output::{Output, counted};
use crate::clock::Clock;
use crate::config::Config;
use crate::hub::Hub;
use crate::{backup, instance, schema};

pub(super) async fn backup(hub: &Hub, out: &Output, file: &Path) -> Result<ExitCode> {
    let rows = backup::write(&hub.db, file, hub.clock.now()).await?;
    out.show(&json!({ "file": file, "rows": rows }), || {
        format!(
            "{} written to {}. Keep the master key too, but elsewhere.",
            counted(rows, "row"),
            file.display()
        )
    });
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn restore(out: &Output, config: &Config, file: &Path) -> Result<ExitCode> {
    let url = config.database_url()?;
    let mut owner = open::own(config, &url)?;
    let db = tokio::task::spawn_blocking(move || {
        Db::open(&url, schema::migrations(), rollcall_db::Options::default())
    })
    .await?
    .context("the database cannot be opened")?;
    let now = Clock::system().now();
    let restored = backup::restore(&db, file, &config.data_dir, now, Arc::new(SystemRandom)).await?;
    let instance = db.read(instance::load).await?;
    if let (Some(owner), Some(instance)) = (&mut owner, &instance) {
        owner.set_instance(Some(&instance.id))?;
    }
    db.close().await;
    // A key that is missing or another is better noticed now than at the next start.
    let hub = open::hub(config).await.context(
        "the rows are restored, but the hub cannot be opened; put the master key of that time into its place",
    )?;
    hub.db.close().await;
    let backup::Restored { rows, due } = restored;
    out.show(&json!({ "rows": rows, "synchronizations": due }), || {
        let synchronized = match due {
            1 => "1 application is".to_owned(),
            due => format!("{} are", counted(due, "application")),
        };
        format!(
            "{} restored. Run rollcall doctor and start the hub. {synchronized} synchronized in full \
             then (those that are switched off: once they are switched on), because changes may have reached them \
             that this backup does not know of.",
            counted(rows, "row")
        )
    });
    Ok(ExitCode::SUCCESS)
}
