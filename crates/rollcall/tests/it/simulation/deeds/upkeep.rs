//! What makes the hub forget, and what makes it remember again.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rollcall::backup;
use rollcall::maintenance::erasure::erase_user;
use rollcall::maintenance::retention::{self, Retention};
use rollcall::schema;
use rollcall_db::{Db, Options};
use rollcall_protocol::EncryptionKey;
use tokio::runtime::Runtime;

use super::super::known::{Known, pick};
use super::super::plan::Step;
use super::super::world::{World, caller};
use super::told;

/// A backup, and what was known when it was made.
#[derive(Clone)]
pub(in super::super) struct Backup {
    file: PathBuf,
    known: Known,
    /// The encryption keys of the applications.
    keys: Vec<(String, Option<EncryptionKey>)>,
}

impl World {
    /// Erases somebody, perhaps somebody who was deleted long ago.
    pub(super) fn erase_user(&mut self, step: &Step) {
        let Some(id) = pick(&self.known.users, step.whom) else {
            return;
        };
        let done = self.on_hub(async |hub| {
            let erased = erase_user(hub, &caller(), &id).await?;
            Ok::<_, rollcall::directory::DirectoryError>((erased, super::super::invariants::head(hub).await))
        });
        self.history.note(format_args!("EraseUser {id}: {done:?}"));
        if let Some(Ok((erased, head))) = done {
            self.acknowledged = self.acknowledged.max(head.unwrap_or_default());
            self.known.erase(&id);
            self.files_are_clean &= erased.files_clean;
            self.look_for_the_erased = true;
        }
    }

    /// Removes what is older than a few minutes at most.
    pub(super) fn trim(&mut self, step: &Step) {
        let seconds = |number: u64| Duration::from_secs(number);
        let retention = Retention {
            changes: seconds(step.what % 60),
            laggards: seconds(60 + step.whom % 600),
            attempts: seconds(step.what % 120),
            audit: seconds(step.whom % 120),
        };
        let done = self.on_hub(async |hub| told(retention::trim(hub, retention).await));
        self.history.note(format_args!("Trim: {done:?}"));
    }

    /// Makes a backup while everything goes on.
    pub(in super::super) fn back_up(&mut self, step: &Step) {
        let file = self.folder.path().join(format!("backup-{}", step.number));
        let done = self.on_hub(async |hub| backup::write(&hub.db, &file, hub.clock.now()).await);
        self.history.note(format_args!("BackUp: {done:?}"));
        if let Some(Ok(_)) = done {
            let keys = self.tenants.iter();
            let keys = keys.map(|tenant| (tenant.application.id.clone(), tenant.key.clone()));
            self.backups.push(Backup {
                file,
                known: self.known.clone(),
                keys: keys.collect(),
            });
        }
    }

    /// Goes back to an earlier backup, in a new database, on which all nodes are started then.
    ///
    /// The applications converge by the full synchronizations that the hub owes them from then on. Those without a
    /// memory are not told who is gone, since nobody knows any more that they were there.
    pub(in super::super) fn restore(&mut self, step: &Step) {
        let Some(backup) = self.dice.pick(&self.backups).cloned() else {
            return;
        };
        self.kill_all();
        let database = self.folder.path().join(format!("hub-{}.db", step.number));
        let url = format!("sqlite:{}", database.display());
        // Whoever restores must see to it that the clock is not behind all that was ever sent, since nobody else knows.
        let now = self.now() + self.furthest;
        let random = Arc::new(self.dice.clone());
        let runtime: Runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let (restored, head) = runtime.block_on(async {
            let db = Db::open_inline(&url, schema::migrations(), Options::default()).unwrap();
            let workshop = self.folder.path();
            let restored = backup::restore(&db, &backup.file, workshop, now, random).await;
            let head = db.read(rollcall::change::head).await.unwrap();
            db.close().await;
            (restored.unwrap(), head.seq)
        });
        self.history
            .note(format_args!("Restore: {restored:?}, the log ends at {head}"));
        self.database = database;
        self.acknowledged = head;
        self.positions.clear();
        self.epochs.clear();
        self.entitled_at = None;
        for tenant in &self.tenants {
            // What the backup takes for the next key may have been the present one for long.
            drop(self.network.signers.take(&tenant.application.name));
            self.network.wanted(&tenant.application.name).forget();
        }
        self.settlements_seen = 0;
        self.restored = true;
        self.files_are_clean = true;
        // Names and ids stay known, so that commands are about those too whom the hub knows no more.
        self.known.erased = backup.known.erased;
        for (id, key) in backup.keys {
            let back = self.tenants.iter_mut().find(|tenant| tenant.application.id == id);
            if let Some(tenant) = back {
                tenant.key = key;
            }
        }
        self.start_all();
        self.meet_guests();
        for index in 0..self.tenants.len() {
            self.restart_receiver(index);
        }
    }
}
