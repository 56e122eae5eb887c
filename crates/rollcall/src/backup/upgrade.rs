//! The backup of an earlier version, brought up to date.
//!
//! What has to be done to rows of an earlier version is written down once, in the migrations. So the rows go into a
//! small SQLite database of that version, the migrations run, and a backup of the outcome is written.

use std::path::{Path, PathBuf};

use rollcall_db::{Db, DbError, Options};
use rollcall_protocol::Random;

use super::restore::load;
use super::{BackupError, Header, write};
use crate::clock::Millis;
use crate::{id, private, schema};

/// A folder for it that nobody else can read, and that is removed in the end.
#[derive(Debug)]
pub(super) struct Workbench(PathBuf);

impl Drop for Workbench {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            let folder = self.0.display();
            tracing::warn!(%folder, %error, "this folder holds a copy of the backup and has to be removed by hand");
        }
    }
}

impl Workbench {
    pub(super) fn make(inside: &Path, now: Millis, random: &dyn Random) -> Result<Self, BackupError> {
        let folder = inside.join(id::make("restore", now, random));
        private::make_folder(&folder).map_err(|error| BackupError::File(error.to_string()))?;
        Ok(Self(folder))
    }

    /// Writes what a backup of this version would hold.
    pub(super) async fn upgrade(&self, header: Header, file: &Path) -> Result<PathBuf, BackupError> {
        let (schema, created_at) = (header.schema, header.created_at);
        let earlier = self.open(move || schema::migrations_up_to(schema)).await?;
        let file = file.to_owned();
        let loaded = earlier.write(move |tx| load(tx, &header, &file)).await;
        earlier.close().await;
        loaded?;
        let present = self.open(schema::migrations).await?;
        let upgraded = self.0.join("upgraded.backup");
        let written = write(&present, &upgraded, created_at).await;
        present.close().await;
        written?;
        Ok(upgraded)
    }

    async fn open(
        &self,
        migrations: impl FnOnce() -> rollcall_db::Migrations + Send + 'static,
    ) -> Result<Db, BackupError> {
        let url = format!("sqlite:{}", self.0.join("hub.db").display());
        let opening = move || Db::open(&url, migrations(), Options::default());
        let opened = tokio::task::spawn_blocking(opening).await;
        Ok(opened.map_err(|error| DbError::Other(error.to_string()))??)
    }
}
