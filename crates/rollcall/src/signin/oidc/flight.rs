//! What a browser keeps while it is at the provider: sealed under the master key, so that any node of the hub takes the
//! browser back, and nobody else can make one or read it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::clock::Millis;
use crate::hub::Hub;
use crate::secret::SecretString;

/// How long a browser may be away.
pub(super) const AWAY: Millis = 10 * 60_000;

/// How much of a cookie is looked at.
const LONGEST: usize = 4_096;

#[derive(Deserialize, Serialize)]
pub(super) struct Flight {
    /// What the provider's answer shows.
    pub(super) state: String,
    /// What the ID token holds.
    pub(super) nonce: String,
    /// What the code is exchanged with.
    pub(super) verifier: String,
    /// Where the browser wanted to go.
    pub(super) next: String,
    /// When it is too late.
    pub(super) until: Millis,
}

fn belongs_to(hub: &Hub) -> String {
    format!("sign-in-at-provider/{}", hub.instance.id)
}

impl Flight {
    pub(super) fn seal(&self, hub: &Hub) -> SecretString {
        // Five plain fields are always written.
        let plain = serde_json::to_vec(self).unwrap_or_default();
        let sealed = hub.master.seal(&plain, &belongs_to(hub), &*hub.random);
        URL_SAFE_NO_PAD.encode(sealed).into()
    }

    /// What was sealed; `None` if it was not.
    pub(super) fn open(shown: &str, hub: &Hub) -> Option<Self> {
        if shown.len() > LONGEST {
            return None;
        }
        let sealed = URL_SAFE_NO_PAD.decode(shown).ok()?;
        let plain = hub.master.open(&sealed, &belongs_to(hub)).ok()?;
        serde_json::from_slice(&plain).ok()
    }
}
