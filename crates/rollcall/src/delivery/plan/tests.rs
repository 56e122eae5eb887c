//! Whatever an application wants again, and however rounds are cut: what arrives last of a subject is the newest of it, and
//! a membership arrives after everything that happened before to whoever joins.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use rollcall_protocol::{Event, EventType, GroupPayload, SubjectKind};
use tokio::time::Instant;

use super::conclude::{Conclusion, Patience, Present, conclude};
use super::lanes::Lanes;
use super::parked::{Health, ParkedQueue};
use super::{LogRound, Room};
use crate::application::Limits;
use crate::delivery::model::{Answered, Origin, Outgoing, Parked, Position, Remark, Round, Source, Verdict};

/// Something that happened.
#[derive(Clone, Copy, Debug)]
enum Happening {
    /// To a user.
    User(u8),
    /// A user joined a group.
    Join(u8, u8),
    /// A user left a group.
    Leave(u8, u8),
    /// Something else happened to a group.
    Group(u8),
}

impl Happening {
    fn kind(self) -> SubjectKind {
        match self {
            Self::User(_) => SubjectKind::User,
            _ => SubjectKind::Group,
        }
    }

    fn outgoing(self, seq: i64) -> Outgoing {
        let (event_type, biz_id, member) = match self {
            Self::User(user) => (EventType::UserUpdateInfo, format!("user_{user}"), None),
            Self::Join(group, user) => (EventType::GroupAddUser, format!("group_{group}"), Some(user)),
            Self::Leave(group, user) => (EventType::GroupRemoveUser, format!("group_{group}"), Some(user)),
            Self::Group(group) => (EventType::GroupUpdate, format!("group_{group}"), None),
        };
        let payload = GroupPayload {
            group_id: biz_id.clone(),
            user_ids: member.map(|user| vec![format!("user_{user}")]),
            ..GroupPayload::default()
        };
        Outgoing {
            origin: Origin::Apart(Arc::new(Event {
                event_id: format!("evnt_{seq:04}"),
                event_type: event_type.urn().to_owned(),
                event_time: seq,
                biz_id,
                biz_data: payload.to_json(),
            })),
            event_type,
            attempts: 0,
        }
    }
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        (0..3_u8).prop_map(Happening::User),
        (0..2_u8, 0..3_u8).prop_map(|(group, user)| Happening::Join(group, user)),
        (0..2_u8, 0..3_u8).prop_map(|(group, user)| Happening::Leave(group, user)),
        (0..2_u8).prop_map(Happening::Group),
    ]
}

/// Takes over what a round means for what is stored.
fn store(stored: &mut Vec<Parked>, conclusion: Conclusion) {
    stored.retain(|parked| !conclusion.unpark.contains(&parked.event_id));
    for parked in conclusion.park {
        match stored.iter_mut().find(|it| it.event_id == parked.event_id) {
            Some(before) => *before = parked,
            None => stored.push(parked),
        }
    }
}

/// Delivers what happened to an application that wants events again as this says; then it takes all. After some rounds
/// another worker goes on with what is stored. Returns what arrived, in its order: the numbers of what happened, from 1.
fn deliver(all: &[Happening], whims: &[bool], restarts: &[bool], limits: Limits) -> Vec<usize> {
    let (mut queue, mut health) = (ParkedQueue::default(), Health::default());
    let patience = Patience {
        event_tries: u32::MAX,
        first_pause: Duration::from_secs(1),
        longest_pause: Duration::from_secs(1),
    };
    let mut whims = whims.iter().copied();
    let mut restarts = restarts.iter().copied();
    let mut stored: Vec<Parked> = Vec::new();
    let mut arrived = Vec::new();
    let (mut cursor, mut turn, at) = (0, false, Instant::now());
    for _ in 0..1_000 {
        turn = !turn;
        let after = |cursor| Position { cursor, job: None };
        let due = queue.due(at, limits.max_events as usize, true);
        let round = if turn && !due.is_empty() {
            let mut lanes = Lanes::new(limits);
            for parked in &due {
                let number = usize::try_from(parked.event_time).unwrap();
                let happening = all[number - 1];
                if !lanes.take(happening.kind(), &happening.outgoing(parked.event_time)) {
                    break;
                }
            }
            Round {
                source: Source::Parked,
                from: cursor,
                batches: lanes.into_batches(),
                held: Vec::new(),
                renamed: Vec::new(),
                after: after(cursor),
            }
        } else {
            let mut round = LogRound::new(after(cursor), limits);
            for (happening, seq) in all.iter().zip(1..).skip(usize::try_from(cursor).unwrap()) {
                let outgoing = Some(happening.outgoing(seq));
                if round.look(seq, happening.kind(), outgoing, &queue, 1_000) == Room::Full {
                    break;
                }
            }
            match round.finish() {
                Some(round) => round,
                None if queue.is_empty() => return arrived,
                None => continue,
            }
        };
        let answered: Vec<Answered> = round
            .batches
            .iter()
            .map(|batch| {
                let verdicts = batch.events.iter().map(|outgoing| {
                    arrived.push(usize::try_from(outgoing.time()).unwrap());
                    match whims.next() {
                        Some(true) => Verdict::Again(Remark {
                            code: "busy".to_owned(),
                            message: None,
                        }),
                        _ => Verdict::Accepted,
                    }
                });
                Answered {
                    verdicts: verdicts.collect(),
                    asked: true,
                    events: Arc::clone(&batch.events),
                    attempt: None,
                    remembered: Vec::new(),
                }
            })
            .collect();
        let present = Present {
            now: 0,
            at,
            jitter: 1.0,
        };
        store(
            &mut stored,
            conclude(&round, &answered, &mut queue, &mut health, &patience, &present),
        );
        cursor = round.after.cursor;
        if restarts.next() == Some(true) {
            let with_members = stored.iter().map(|parked| {
                let number = usize::try_from(parked.event_time).unwrap();
                (parked.clone(), all[number - 1].outgoing(0).follows())
            });
            queue = ParkedQueue::load(with_members.collect(), cursor, 0, at, patience.longest_pause);
        }
    }
    panic!("it does not end: {arrived:?}, and {queue:?} waits")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn what_arrives_last_is_the_newest_whatever_is_wanted_again(
        all in proptest::collection::vec(happening(), 1..16),
        whims in proptest::collection::vec(any::<bool>(), 0..24),
        restarts in proptest::collection::vec(any::<bool>(), 0..12),
        (max_events, lanes) in (1..6_u32, 1..3_u32),
    ) {
        let limits = Limits { max_events, lanes, ..Limits::default() };
        let arrived = deliver(&all, &whims, &restarts, limits);
        let mut newest: HashMap<String, usize> = HashMap::new();
        for (happening, number) in all.iter().zip(1..) {
            newest.insert(happening.outgoing(0).subject_id().to_owned(), number);
        }
        let last = |number: usize| arrived.iter().rposition(|it| *it == number);
        for (happening, number) in all.iter().zip(1..) {
            prop_assert!(last(number).is_some(), "{number} was lost: {arrived:?}");
            let subject = happening.outgoing(0).subject_id().to_owned();
            prop_assert!(
                last(number) <= last(newest[&subject]),
                "of {subject}, {number} came last: {arrived:?}"
            );
            let Happening::Join(_, member) = happening else { continue };
            for (earlier, before) in all.iter().zip(1..number) {
                let concerns = matches!(earlier, Happening::User(user) if user == member);
                prop_assert!(
                    !concerns || last(before) < last(number),
                    "{before} came after {number}, which adds that user: {arrived:?}"
                );
            }
        }
    }
}
