//! Replays the corpus, and mutations of it that are the same every time.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use crate::{PROPERTIES, Property};

/// How many mutations of the corpus each property is tried on.
fn mutations(name: &str) -> usize {
    match name {
        "imports" => 60,
        "api" | "scim_requests" => 1_000,
        _ => 3_000,
    }
}

fn folder(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name)
}

fn inputs(name: &str) -> Vec<Vec<u8>> {
    let mut files: Vec<_> = std::fs::read_dir(folder(name))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

/// A small generator (splitmix64): what counts is that every run does the same.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % limit.max(1) as u64).unwrap()
    }
}

fn mutated(inputs: &[Vec<u8>], numbers: &mut Numbers) -> Vec<u8> {
    let mut bytes = inputs[numbers.below(inputs.len())].clone();
    for _ in 0..=numbers.below(3) {
        let place = numbers.below(bytes.len() + 1);
        let byte = u8::try_from(numbers.below(256)).unwrap();
        match (numbers.below(6), place < bytes.len()) {
            (0, true) => bytes[place] = byte,
            (1, true) => bytes[place] ^= 1 << (byte % 8),
            (2, true) => {
                bytes.remove(place);
            }
            (3, _) => bytes.truncate(place),
            (4, _) => {
                // The end of another input.
                let other = &inputs[numbers.below(inputs.len())];
                bytes.truncate(place);
                bytes.extend_from_slice(&other[numbers.below(other.len() + 1)..]);
            }
            _ => bytes.insert(place, byte),
        }
    }
    bytes
}

fn try_one(name: &str, property: Property, input: &[u8]) {
    let tried = catch_unwind(AssertUnwindSafe(|| property(input)));
    assert!(
        tried.is_ok(),
        "{name} does not hold (see above) for {}",
        input.escape_ascii()
    );
}

fn replay(name: &str) {
    let (_, property) = *PROPERTIES.iter().find(|(known, _)| *known == name).unwrap();
    let inputs = inputs(name);
    for input in &inputs {
        try_one(name, property, input);
    }
    let mut numbers = Numbers(1);
    for _ in 0..mutations(name) {
        try_one(name, property, &mutated(&inputs, &mut numbers));
    }
}

macro_rules! replays {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                replay(stringify!($name));
            }
        )*

        #[test]
        fn every_property_is_replayed_and_has_a_target() {
            let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
            let known = names(&PROPERTIES.iter().map(|(name, _)| *name).collect::<Vec<_>>());
            assert_eq!(names(&[$(stringify!($name)),*]), known);
            let targets = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("targets")).unwrap();
            let targets: BTreeSet<_> = targets
                .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
                .collect();
            assert_eq!(targets, known);
        }
    };
}

replays! {
    answer api batch bodies claims config csv differential envelope imports jsonl jwks ldif receiver scim_expression
    scim_filter scim_patch scim_requests signing
}

/// What the corpus asks of a connection's routes is done, and not only refused.
#[test]
fn the_requests_of_a_connection_make_something() {
    let inputs = inputs("scim_requests");
    let made: usize = inputs
        .iter()
        .map(|input| crate::scim_requests::made_by(input))
        .sum();
    assert!(made >= 3, "only {made} resources were made");
}

/// The target draws the number of a route from one byte; and every route stands in the corpus.
#[test]
fn every_route_of_the_api_is_in_the_corpus() {
    let count = crate::api::World::default().count();
    assert!(count <= 256);
    let inputs = inputs("api");
    let lines = inputs.iter().flat_map(|input| input.split(|byte| *byte == b'\n'));
    let drawn: BTreeSet<usize> = lines
        .filter_map(|line| line.first())
        .map(|first| usize::from(*first) % count)
        .collect();
    let missing: Vec<usize> = (0..count).filter(|number| !drawn.contains(number)).collect();
    assert!(
        missing.is_empty(),
        "make an input that begins with each of {missing:?}"
    );
}

/// The target draws which body it is from one byte; and of every body there is one in the corpus that is taken.
#[test]
fn every_body_of_the_api_is_in_the_corpus() {
    let known = crate::bodies::known();
    assert!(known.len() <= 256);
    let taken: BTreeSet<usize> = (inputs("bodies").iter())
        .filter_map(|input| crate::bodies::taken(input))
        .collect();
    let missing: Vec<(usize, &str)> = (known.iter().enumerate())
        .filter(|(which, _)| !taken.contains(which))
        .map(|(which, body)| (which, body.route.as_str()))
        .collect();
    assert!(
        missing.is_empty(),
        "make an input for each of them, with its number as the first byte: {missing:?}"
    );
}
