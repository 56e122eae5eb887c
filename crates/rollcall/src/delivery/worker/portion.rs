//! How much goes into a round where every event takes requests of its own.
//!
//! What a round brought is settled when it is over. A long one keeps the position where it is for as long, and if the
//! hub is killed or the application changed meanwhile, all of it is told again. So a round is as large as the
//! application is fast: small at first, twice as large after each that was quick, and smaller after one that was not.

use std::time::Duration;

/// How many events the first round takes.
const FIRST: u32 = 16;

/// How long a round is to last at most.
const AIM: Duration = Duration::from_secs(5);

/// How many events a round takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Portion(u32);

impl Default for Portion {
    fn default() -> Self {
        Self(FIRST)
    }
}

impl Portion {
    /// How many events a round takes at most; one at least.
    pub(super) fn events(self) -> u32 {
        self.0
    }

    /// Learns from a round of so many events, how long it took.
    pub(super) fn learn(&mut self, events: u32, took: Duration) {
        if took > AIM {
            // At most as many as were sent, so it fits.
            let fitting = f64::from(events) * AIM.as_secs_f64() / took.as_secs_f64();
            self.0 = self.0.min(fitting as u32).max(1);
        } else if took < AIM / 2 && events >= self.0 {
            self.0 = self.0.saturating_mul(2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Sends rounds to an application that takes so long for an event, and returns how long each lasted.
    fn rounds(an_event: Duration, most: u32) -> Vec<Duration> {
        let mut portion = Portion::default();
        let one = |_| {
            let events = portion.events().min(most);
            let took = an_event * events;
            portion.learn(events, took);
            took
        };
        (0..40).map(one).collect()
    }

    #[test]
    fn a_fast_application_soon_gets_as_much_as_it_may() {
        let millisecond = Duration::from_millis(1);
        assert_eq!(rounds(millisecond, 500)[5..], [millisecond * 500; 35]);
    }

    #[test]
    fn a_round_that_was_not_full_says_nothing_of_larger_ones() {
        let mut portion = Portion::default();
        portion.learn(3, Duration::from_millis(1));
        assert_eq!(portion, Portion::default());
    }

    proptest! {
        #[test]
        fn all_rounds_but_the_first_last_some_seconds_or_are_of_one_event(millis in 1_u64..60_000, most in 1_u32..5_000) {
            let an_event = Duration::from_millis(millis);
            for took in &rounds(an_event, most)[1..] {
                prop_assert!(*took <= AIM || *took == an_event, "{took:?}");
                prop_assert!(*took >= an_event);
            }
        }
    }
}
