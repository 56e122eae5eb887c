//! The last connection test of each application, in memory: for the page to which a test leads back.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::clock::Millis;
use crate::delivery::connectivity::Report;

/// How many are kept.
const KEPT: usize = 1_000;

/// The reports, by application.
#[derive(Debug, Default)]
pub(super) struct Tests(Mutex<HashMap<String, (Millis, Arc<Report>)>>);

impl Tests {
    pub(super) fn keep(&self, application_id: &str, at: Millis, report: Report) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT && !kept.contains_key(application_id) {
            let oldest = kept.iter().min_by_key(|(_, (at, _))| *at);
            if let Some(id) = oldest.map(|(id, _)| id.clone()) {
                kept.remove(&id);
            }
        }
        kept.insert(application_id.to_owned(), (at, Arc::new(report)));
    }

    pub(super) fn of(&self, application_id: &str) -> Option<(Millis, Arc<Report>)> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(application_id).cloned()
    }
}
