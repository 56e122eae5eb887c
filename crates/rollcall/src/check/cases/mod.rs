//! The table of all cases, in the order in which they run.

mod connection;
mod keys;
mod order;
mod refusals;
mod repetition;
mod shapes;
mod state;
mod types;
mod unknown;
mod values;

use strum::IntoEnumIterator as _;

use super::case::{Case, Group};

/// All cases. What must be refused comes last, so that an endpoint which shuts out whoever misbehaves has taken
/// everything else before.
pub fn all() -> Vec<Case> {
    Group::iter()
        .flat_map(|group| {
            let mut cases = match group {
                Group::Connection => connection::cases(),
                Group::Types => types::cases(),
                Group::Batches => shapes::batches(),
                Group::Unknown => unknown::cases(),
                Group::Names => values::names(),
                Group::Values => values::cases(),
                Group::Repetition => repetition::cases(),
                Group::Order => order::cases(),
                Group::Keys => keys::cases(),
                Group::Load => shapes::load(),
                Group::State => state::cases(),
                Group::Refusal => refusals::cases(),
            };
            for case in &mut cases {
                case.group = group;
            }
            cases
        })
        .collect()
}

const REQUEST: &str = "RECEIVING.md, A request";
const ANSWER: &str = "RECEIVING.md, The answer; PROTOCOL.md, section 6";
const RELIED: &str = "RECEIVING.md, What may be relied upon";
const TYPES: &str = "PROTOCOL.md, section 5";
const PAYLOAD: &str = "PROTOCOL.md, section 4";

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_case_is_told_in_full_and_has_an_id_of_its_own() {
        let cases = all();
        assert!(cases.len() >= 45, "{}", cases.len());
        let ids: BTreeSet<_> = cases.iter().map(|case| &case.id).collect();
        assert_eq!(ids.len(), cases.len());
        for case in &cases {
            let kebab = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            assert!(case.id.chars().all(kebab), "{}", case.id);
            for sentence in [&*case.requirement, case.expected, case.advice] {
                assert!(
                    sentence.len() > 20 && sentence.ends_with('.'),
                    "{}: {sentence}",
                    case.id
                );
            }
            assert!(!case.source.is_empty(), "{}", case.id);
        }
    }
}
