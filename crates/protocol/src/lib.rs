//! The wire between a provisioning hub and the applications that receive its changes: the event
//! callback protocol of Alibaba Cloud IDaaS, both directions, without I/O.
//!
//! From the inside out: an [`Event`] says what happened to a user, an organizational unit or a group,
//! and carries its record ([`UserPayload`], [`UnitPayload`], [`GroupPayload`]); an
//! [`InventoryPayload`] closes a full synchronization. Events travel as an
//! [`EventBatch`]. [`seal`] puts a batch into a signed and, if asked, encrypted envelope; [`Opener`]
//! opens one and refuses everything that is not exactly that. The application answers with an
//! [`Answer`] that names each event.
//!
//! Nothing here reads a clock or a network: times are parameters, randomness comes from [`Random`].

mod answer;
mod envelope;
mod event;
mod jwe;
mod jwk;
mod open;
mod payload;
mod shown;

pub use answer::{
    Answer, AnswerList, CODE_LIMIT, ErrorAnswer, EventResult, Foreign, MESSAGE_LIMIT, Reading, read_answer,
};
pub use envelope::{ISSUER, SealError, SealParams, Sealed, VALID_FOR_S, seal};
pub use event::{Event, EventBatch, EventType, SubjectKind};
pub use jwe::EncryptionKey;
pub use jwk::{Jwk, JwkSet, KeyError, KeySet, SigningKey};
pub use open::{OpenError, Opened, Opener, REQUEST_LIMIT};
pub use payload::{
    GroupPayload, InventoryKind, InventoryPayload, Password, PayloadError, UnitMembership, UnitPayload,
    UserPayload, UserStatus,
};
pub use shown::shown;

/// A source of randomness.
pub trait Random: Send + Sync {
    /// Fills the buffer with random bytes.
    fn fill(&self, buffer: &mut [u8]);
}

/// The operating system's randomness.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&self, buffer: &mut [u8]) {
        // The library's generator is seeded by the system and cannot fail once the process runs; a hub
        // that went on without randomness would be worse than one that stops.
        #[expect(
            clippy::expect_used,
            reason = "there is no safe way to go on without randomness"
        )]
        aws_lc_rs::rand::fill(buffer).expect("the system gives randomness");
    }
}
