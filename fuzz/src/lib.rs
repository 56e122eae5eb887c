//! Properties that hold for all bytes whatever, each a function of bytes that panics where it does not hold.
//!
//! Two callers try them. The tests of this crate, and so every run of `cargo xtask test`, replay what `corpus/` holds
//! and a fixed number of mutations of it, on any compiler. `cargo xtask fuzz` builds the programs in `targets/` with
//! libFuzzer, which looks for new inputs by the code that they reach, for as long as one likes.
//!
//! That nothing takes too long or too much memory is for libFuzzer to see (`xtask/src/fuzz.rs` has its limits); where
//! a size has to be in proportion to the input, the property asserts it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a property fails by panicking"
)]

mod answers;
mod api;
mod bodies;
mod config;
mod differential;
mod envelopes;
mod fixtures;
mod imports;
mod receiving;
mod scim;
mod scim_requests;
mod signing;

#[cfg(test)]
mod corpus;

pub use answers::answer;
pub use api::api;
pub use bodies::bodies;
pub use config::config;
pub use differential::differential;
pub use envelopes::{batch, claims, envelope, jwks};
pub use imports::{csv, imports, jsonl, ldif};
pub use receiving::receiver;
pub use scim::{scim_expression, scim_filter, scim_patch};
pub use scim_requests::scim_requests;
pub use signing::signing;

/// A property.
pub type Property = fn(&[u8]);

/// All properties by their names, which are those of the targets and of the folders of the corpus.
pub const PROPERTIES: &[(&str, Property)] = &[
    ("answer", answer),
    ("api", api),
    ("batch", batch),
    ("bodies", bodies),
    ("claims", claims),
    ("config", config),
    ("csv", csv),
    ("differential", differential),
    ("envelope", envelope),
    ("imports", imports),
    ("jsonl", jsonl),
    ("jwks", jwks),
    ("ldif", ldif),
    ("receiver", receiver),
    ("scim_expression", scim_expression),
    ("scim_filter", scim_filter),
    ("scim_patch", scim_patch),
    ("scim_requests", scim_requests),
    ("signing", signing),
];

/// The program of a target. Without libFuzzer it does nothing: the tests call the property itself.
#[macro_export]
macro_rules! target {
    ($name:ident) => {
        #[cfg(fuzzing)]
        libfuzzer_sys::fuzz_target!(|data: &[u8]| $crate::$name(data));

        #[cfg(not(fuzzing))]
        fn main() {}
    };
}

/// Changes a text in up to two places, as a script of four bytes each says. `None` if it is no text any more.
fn edited(text: &str, mut script: &[u8]) -> Option<String> {
    let mut bytes = text.as_bytes().to_vec();
    let mut times = 0;
    while let ([how, high, low, byte, more @ ..], 0..2) = (script, times) {
        let place = usize::from(u16::from_be_bytes([*high, *low])) % (bytes.len() + 1);
        match (how % 4, place < bytes.len()) {
            (0, true) => bytes[place] = *byte,
            (1, true) => {
                bytes.remove(place);
            }
            (2, true) => bytes.truncate(place),
            _ => bytes.insert(place, *byte),
        }
        script = more;
        times += 1;
    }
    String::from_utf8(bytes).ok()
}

/// The first byte, which says how the rest is meant, and the rest.
fn split(data: &[u8]) -> (u8, &[u8]) {
    data.split_first()
        .map_or((0, data), |(first, rest)| (*first, rest))
}
