//! The import of each account that is under way, in memory, and its file in a folder that nobody else may read: what was
//! uploaded until it is imported, and then what came of it. A new one takes the place of the one before.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tempfile::TempDir;

use crate::clock::Millis;
use crate::import::{ImportReport, Options};

/// How many are kept.
const KEPT: usize = 8;

/// For how long.
const AGE: Millis = 3_600_000;

/// A file that was uploaded, and what importing it would do.
pub(in crate::console) struct Planned {
    /// What it is called.
    pub(super) name: String,
    pub(super) options: Options,
    pub(super) report: ImportReport,
    /// What tells the plan from others.
    pub(super) fingerprint: String,
    /// Goes with the last who has it, and takes the file along.
    pub(super) folder: Arc<TempDir>,
}

impl Planned {
    /// The path of a file of this name in a folder.
    pub(super) fn path(folder: &TempDir, name: &str) -> PathBuf {
        folder.path().join(name)
    }
}

/// What became of a file.
pub(in crate::console) struct Imported {
    pub(super) name: String,
    pub(super) report: ImportReport,
}

/// How far an import has come.
#[derive(Clone)]
pub(in crate::console) enum State {
    Planned(Arc<Planned>),
    Imported(Arc<Imported>),
}

/// The imports, by account.
#[derive(Default)]
pub(in crate::console) struct Imports(Mutex<HashMap<String, (Millis, State)>>);

impl Imports {
    /// Keeps how far the import of an account has come. The oldest of others goes if there are too many.
    pub(super) fn keep(&self, account_id: &str, now: Millis, state: State) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|_, (at, _)| now - *at < AGE);
        if kept.len() >= KEPT && !kept.contains_key(account_id) {
            let oldest = kept.iter().min_by_key(|(_, (at, _))| *at);
            if let Some(id) = oldest.map(|(id, _)| id.clone()) {
                kept.remove(&id);
            }
        }
        kept.insert(account_id.to_owned(), (now, state));
    }

    /// How far the import of an account has come; `None` if there is none.
    pub(super) fn of(&self, account_id: &str, now: Millis) -> Option<State> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|_, (at, _)| now - *at < AGE);
        kept.get(account_id).map(|(_, state)| state.clone())
    }

    /// Forgets the import of an account, with its file.
    pub(super) fn forget(&self, account_id: &str) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.remove(account_id);
    }
}
