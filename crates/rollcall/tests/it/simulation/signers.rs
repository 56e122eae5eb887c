//! With which keys requests were signed: a key that waits for its trial may sign tests only.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rollcall_protocol::{Event, EventType};

#[derive(Default)]
struct Noted {
    /// The ids of the test events that have arrived.
    tests: BTreeSet<String>,
    /// The keys that have signed something else for an application since somebody looked.
    signers: BTreeMap<String, BTreeSet<String>>,
}

#[derive(Default)]
pub(super) struct Signers(Mutex<Noted>);

impl Signers {
    /// Looks at an event that arrives.
    pub(super) fn arrives(&self, event: &Event) {
        if event.kind() == Some(EventType::Test) {
            self.0.lock().unwrap().tests.insert(event.event_id.clone());
        }
    }

    /// Notes who has signed a request, if it has brought something else than tests.
    pub(super) fn note(&self, name: &str, body: &[u8], brought: &BTreeSet<String>) {
        let mut noted = self.0.lock().unwrap();
        if !brought.is_subset(&noted.tests)
            && let Some(kid) = signer(body)
        {
            noted.signers.entry(name.to_owned()).or_default().insert(kid);
        }
    }

    /// The keys that have signed something else than tests for an application since the last time.
    pub(super) fn take(&self, name: &str) -> BTreeSet<String> {
        self.0.lock().unwrap().signers.remove(name).unwrap_or_default()
    }
}

/// The id of the key that has signed a request.
fn signer(body: &[u8]) -> Option<String> {
    let body: serde_json::Value = serde_json::from_slice(body).ok()?;
    let (header, _) = body["event"].as_str()?.split_once('.')?;
    let header = URL_SAFE_NO_PAD.decode(header).ok()?;
    let header: serde_json::Value = serde_json::from_slice(&header).ok()?;
    header["kid"].as_str().map(str::to_owned)
}
