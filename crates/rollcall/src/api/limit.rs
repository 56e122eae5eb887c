//! How many requests somebody may send: so many a second in the long run, and some at once.
//!
//! Each caller has a bucket in the memory of the process, which fills with time and from which every request takes; a
//! request that finds it empty is refused, and told when it is worth another try. Headers say how much is left, as
//! draft-ietf-httpapi-ratelimit-headers writes them.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;

use crate::access::RateLimit;

/// The header that says how much is left.
const LEFT: HeaderName = HeaderName::from_static("ratelimit");

/// The header that says how much there is.
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// How many callers are remembered before those are forgotten whose buckets are full.
const MANY: usize = 10_000;

/// What is left to somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Left {
    limit: RateLimit,
    /// So many requests may be sent now.
    requests: u128,
    /// After so long another one may.
    another: Duration,
    /// Whether this request may be carried out.
    pub(super) is_granted: bool,
}

impl Left {
    /// In how many seconds another request is worth a try.
    pub(super) fn retry_after(&self) -> u16 {
        u16::try_from(self.another.as_secs() + 1).unwrap_or(u16::MAX)
    }

    /// Says it in the headers of an answer.
    pub(super) fn tell(&self, headers: &mut HeaderMap) {
        let window = self.limit.window().as_secs().max(1);
        let wait = self.another.as_nanos().div_ceil(1_000_000_000);
        let mut number = itoa::Buffer::new();
        let mut text = String::with_capacity(64);
        let mut set = |name, parts: [(&str, u128); 2]| {
            text.clear();
            text.push_str("\"default\"");
            for (before, value) in parts {
                text.push_str(before);
                text.push_str(number.format(value));
            }
            if let Ok(value) = HeaderValue::from_str(&text) {
                headers.insert(name, value);
            }
        };
        set(POLICY, [(";q=", self.limit.burst.into()), (";w=", window.into())]);
        set(LEFT, [(";r=", self.requests), (";t=", wait)]);
    }
}

/// The buckets of all callers.
#[derive(Debug, Default)]
pub(super) struct Limiter {
    limit: Option<RateLimit>,
    /// When each bucket is full again.
    full_at: Mutex<HashMap<String, Instant>>,
}

impl Limiter {
    /// With this limit for each caller; `None` for none.
    pub(super) fn new(limit: Option<RateLimit>) -> Self {
        Self {
            limit,
            full_at: Mutex::default(),
        }
    }

    /// Takes a request out of somebody's bucket; `None` if there is no limit.
    pub(super) fn take(&self, who: &str, now: Instant) -> Option<Left> {
        Some(self.take_within(self.limit?, who, now))
    }

    /// Takes a request out of the bucket of somebody who has a limit of his own.
    pub(super) fn take_within(&self, limit: RateLimit, who: &str, now: Instant) -> Left {
        let (interval, window) = (limit.interval(), limit.window());
        let mut buckets = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MANY {
            buckets.retain(|_, full_at| *full_at > now);
        }
        let before = buckets.get(who).copied().unwrap_or(now).max(now);
        let after = before + interval;
        let is_granted = after - now <= window;
        let full_at = if is_granted { after } else { before };
        match buckets.get_mut(who) {
            Some(bucket) => *bucket = full_at,
            None if is_granted => drop(buckets.insert(who.to_owned(), full_at)),
            None => {}
        }
        let room = window.saturating_sub(full_at - now);
        Left {
            limit,
            requests: room.as_nanos() / interval.as_nanos().max(1),
            another: interval.saturating_sub(room),
            is_granted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_emptied_at_once_and_fills_with_time() {
        let limiter = Limiter::new(Some(RateLimit {
            per_second: 10,
            burst: 3,
        }));
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let granted = |who, millis| limiter.take(who, at(millis)).unwrap().is_granted;
        assert!(granted("a", 0) && granted("a", 0) && granted("a", 0));
        assert!(
            !granted("a", 0) && !granted("a", 99),
            "what is refused takes nothing"
        );
        assert!(granted("b", 0), "everybody has a bucket");
        assert!(granted("a", 100) && !granted("a", 100));
        let left = limiter.take("a", at(10_000)).unwrap();
        assert_eq!(
            (left.requests, left.is_granted),
            (2, true),
            "never more than full"
        );
        let mut headers = HeaderMap::new();
        left.tell(&mut headers);
        assert_eq!(headers[LEFT], "\"default\";r=2;t=0");
        assert_eq!(headers[POLICY], "\"default\";q=3;w=1");
        assert_eq!(Limiter::new(None).take("a", start), None);
    }
}
