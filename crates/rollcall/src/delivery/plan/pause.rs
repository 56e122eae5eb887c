//! How a wait grows.

use std::time::Duration;

/// A pause that doubles with every failure, up to a limit.
pub(in crate::delivery) fn grown(first: Duration, failures: u32, longest: Duration) -> Duration {
    first.saturating_mul(1 << failures.min(20)).min(longest)
}
