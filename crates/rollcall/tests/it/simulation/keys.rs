//! Signing keys for histories.
//!
//! To make an RSA key takes longer than everything else in a history together, and nothing in one depends on which
//! numbers it holds. So a process makes some key pairs once, and histories take them in turn, each time under a
//! new key id.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use rollcall::application::keys::NewKey;
use rollcall::hub::Hub;
use rollcall::id;
use rollcall_protocol::SigningKey;

/// More than an application has at a time, so that none is given the same numbers twice in a row.
const PAIRS: usize = 8;

static TAKEN: AtomicUsize = AtomicUsize::new(0);

/// A key that no application has.
pub(super) fn new_key(hub: &Hub) -> NewKey {
    static MADE: [OnceLock<Vec<u8>>; PAIRS] = [const { OnceLock::new() }; PAIRS];
    let number = TAKEN.fetch_add(1, Ordering::Relaxed) % PAIRS;
    let der = MADE[number].get_or_init(|| {
        let pair = SigningKey::generate("pair").unwrap();
        pair.pkcs8_der().unwrap().to_vec()
    });
    let kid = id::make("KEY", hub.clock.now(), &*hub.random).replace('_', "");
    let key = SigningKey::from_pkcs8(&kid, der).unwrap();
    NewKey::of(&key, &*hub.random, &hub.master).unwrap()
}
