//! From events to requests: what is sent at once, and over which lane.

use rollcall_protocol::SubjectKind;

use crate::application::Limits;
use crate::delivery::model::{Batch, Outgoing};

/// Fills the lanes of a round.
#[derive(Debug)]
pub struct Lanes {
    limits: Limits,
    lanes: Vec<Vec<Outgoing>>,
    bytes: Vec<usize>,
    /// Whether the round carries events that nothing may run beside; `None` while it is empty.
    barrier: Option<bool>,
}

impl Lanes {
    /// Empty lanes.
    pub fn new(limits: Limits) -> Self {
        let count = limits.lanes.max(1) as usize;
        Self {
            limits,
            lanes: vec![Vec::new(); count],
            bytes: vec![0; count],
            barrier: None,
        }
    }

    /// Takes an event, or says (`false`) that it belongs to the next round: because its lane is full, or
    /// because events of units and groups and events of users do not go side by side.
    pub fn take(&mut self, kind: SubjectKind, outgoing: &Outgoing) -> bool {
        let several = self.lanes.len() > 1;
        let barrier = several && kind != SubjectKind::User;
        if self.barrier.is_some_and(|other| other != barrier) {
            return false;
        }
        let lane = if barrier || !several {
            0
        } else {
            lane_of(outgoing.subject_id(), self.lanes.len())
        };
        let bytes = outgoing.bytes();
        let full = self.lanes[lane].len() >= self.limits.max_events as usize
            || (!self.lanes[lane].is_empty() && self.bytes[lane] + bytes > self.limits.max_bytes as usize);
        if full {
            return false;
        }
        self.bytes[lane] += bytes;
        self.lanes[lane].push(outgoing.clone());
        self.barrier = Some(barrier);
        true
    }

    /// Whether no lane can take any more.
    pub fn are_full(&self) -> bool {
        let most = self.limits.max_events as usize;
        self.lanes.iter().all(|lane| lane.len() >= most)
    }

    /// Whether nothing was taken.
    pub fn is_empty(&self) -> bool {
        self.barrier.is_none()
    }

    /// The requests.
    pub fn into_batches(self) -> Vec<Batch> {
        (0..)
            .zip(self.lanes)
            .filter(|(_, events)| !events.is_empty())
            .map(|(lane, events)| Batch {
                lane,
                events: events.into(),
            })
            .collect()
    }
}

/// The lane of a subject: the same for ever while the number of lanes is, since attempts are read by it
/// later. (FNV-1a; the standard library's hasher may change from one release to the next.)
pub fn lane_of(subject_id: &str, lanes: usize) -> usize {
    let hash = subject_id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    usize::try_from(hash % lanes.max(1) as u64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rollcall_protocol::{Event, EventType};

    use super::*;
    use crate::delivery::model::Origin;

    fn event(subject: &str, bytes: usize) -> Outgoing {
        Outgoing {
            origin: Origin::Apart(Arc::new(Event {
                event_id: format!("evnt_{subject}"),
                event_type: EventType::UserCreate.urn().to_owned(),
                event_time: 1,
                biz_id: subject.to_owned(),
                biz_data: "x".repeat(bytes),
            })),
            event_type: EventType::UserCreate,
            attempts: 0,
        }
    }

    #[test]
    fn a_lane_ends_at_its_limits_but_takes_one_large_event() {
        let limits = Limits {
            max_events: 2,
            max_bytes: 16 << 10,
            ..Limits::default()
        };
        let mut lanes = Lanes::new(limits);
        assert!(lanes.take(SubjectKind::User, &event("a", 1 << 20)));
        assert!(!lanes.take(SubjectKind::User, &event("b", 1)));
        let mut lanes = Lanes::new(limits);
        assert!(lanes.take(SubjectKind::User, &event("a", 1)));
        assert!(lanes.take(SubjectKind::Unit, &event("b", 1)));
        assert!(!lanes.take(SubjectKind::User, &event("c", 1)));
        assert_eq!(lanes.into_batches().len(), 1);
    }

    #[test]
    fn units_and_groups_go_alone_where_there_are_lanes() {
        let limits = Limits {
            lanes: 4,
            ..Limits::default()
        };
        let mut lanes = Lanes::new(limits);
        for n in 0..40 {
            assert!(lanes.take(SubjectKind::User, &event(&format!("user_{n}"), 1)));
        }
        assert!(!lanes.take(SubjectKind::Unit, &event("ou_1", 1)));
        assert!(lanes.into_batches().len() > 1);
        let mut lanes = Lanes::new(limits);
        assert!(lanes.take(SubjectKind::Unit, &event("ou_1", 1)));
        assert!(lanes.take(SubjectKind::Group, &event("group_1", 1)));
        assert!(!lanes.take(SubjectKind::User, &event("user_1", 1)));
        assert_eq!(lanes.into_batches().len(), 1);
    }

    #[test]
    fn a_subject_keeps_its_lane_from_one_version_to_the_next() {
        // Attempts that are stored name the lane of their time.
        for (subject, of_three, of_eight) in [
            ("user_06gsjxj8x4h2p6v9t3f0dwsn1m", 2, 7),
            ("group_06gsjxjem8b5q1y7z2k4rcvt9w", 0, 2),
            ("ou_root", 1, 6),
        ] {
            assert_eq!((lane_of(subject, 3), lane_of(subject, 8)), (of_three, of_eight));
        }
    }
}
