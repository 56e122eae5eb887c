//! Answers in memory, by whom they are about and for whom they are, within a number of bytes.
//!
//! If there is no room, a hand goes round the entries: who was asked for since it came by last stays, everybody else goes
//! (the clock algorithm, or "second chance"). So somebody who reads all users of a large directory one after the other
//! pushes out what nobody asks for, and little of what is asked for all the time.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use rollcall_protocol::SubjectKind;

use super::Reach;

/// What an entry takes besides its id and its body: the entry, its place in the map, and what the allocator adds.
const BESIDES: usize = 256;

/// An answer that is kept. The memory of a large directory's answers is in no cache of the processor, so an entry lies
/// in few places: here, and where the text is that is sent.
#[derive(Debug)]
struct Entry {
    /// The subject's id, and the body.
    text: Bytes,
    /// How long the id is.
    id: usize,
    kind: SubjectKind,
    reach: Reach,
    /// Whether it was asked for since the hand came by.
    is_wanted: AtomicBool,
    /// The next one whose id has the same hash: as a rule, about the same subject.
    next: Option<usize>,
}

impl Entry {
    fn id(&self) -> &[u8] {
        &self.text[..self.id]
    }

    fn is(&self, kind: SubjectKind, id: &[u8], reach: &Reach) -> bool {
        self.kind == kind && self.reach == *reach && self.id() == id
    }

    fn size(&self) -> usize {
        BESIDES + self.text.len()
    }
}

/// The answers.
#[derive(Debug)]
pub(super) struct Store {
    /// How many bytes they may take.
    most: usize,
    bytes: usize,
    slots: Vec<Option<Entry>>,
    free: Vec<usize>,
    /// With chance of its own, so that nobody can choose ids whose hashes are the same.
    hashing: RandomState,
    /// The first answer about the subjects whose ids have this hash.
    first: HashMap<u64, usize>,
    hand: usize,
}

impl Store {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            bytes: 0,
            slots: Vec::new(),
            free: Vec::new(),
            hashing: RandomState::new(),
            first: HashMap::new(),
            hand: 0,
        }
    }

    /// The same without answers.
    pub(super) fn emptied(&self) -> Self {
        Self::new(self.most)
    }

    /// In tests it has two bits, so that different ids have the same.
    fn hash(&self, id: &[u8]) -> u64 {
        let bits = if cfg!(test) { 2 } else { u64::BITS };
        self.hashing.hash_one(id) >> (u64::BITS - bits)
    }

    /// The first entry of this hash that is one of those wanted.
    fn find(&self, hash: u64, is_wanted: impl Fn(&Entry) -> bool) -> Option<usize> {
        let mut next = self.first.get(&hash).copied();
        while let Some(slot) = next {
            let entry = self.slots.get(slot)?.as_ref()?;
            if is_wanted(entry) {
                return Some(slot);
            }
            next = entry.next;
        }
        None
    }

    /// The answer about a subject for somebody who reaches so far.
    pub(super) fn get(&self, kind: SubjectKind, id: &str, reach: &Reach) -> Option<Bytes> {
        let id = id.as_bytes();
        let slot = self.find(self.hash(id), |entry| entry.is(kind, id, reach))?;
        let entry = self.slots.get(slot)?.as_ref()?;
        // Memory that is not written to stays in the caches of all processors. Nothing else hangs on when others see it.
        if !entry.is_wanted.load(Ordering::Relaxed) {
            entry.is_wanted.store(true, Ordering::Relaxed);
        }
        Some(entry.text.slice(entry.id..))
    }

    /// Keeps an answer.
    pub(super) fn insert(&mut self, kind: SubjectKind, id: &str, reach: Reach, body: &[u8]) {
        let id = id.as_bytes();
        let hash = self.hash(id);
        if self.find(hash, |entry| entry.is(kind, id, &reach)).is_some() {
            return;
        }
        let entry = Entry {
            text: Bytes::from([id, body].concat()),
            id: id.len(),
            kind,
            reach,
            is_wanted: AtomicBool::new(false),
            next: self.first.get(&hash).copied(),
        };
        if entry.size() > self.most {
            return;
        }
        self.bytes += entry.size();
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot] = Some(entry);
                slot
            }
            None => {
                self.slots.push(Some(entry));
                self.slots.len() - 1
            }
        };
        self.first.insert(hash, slot);
        while self.bytes > self.most {
            self.push_out(slot);
        }
    }

    /// Takes out the next one that nobody has asked for; not the one that has just come.
    fn push_out(&mut self, newest: usize) {
        self.hand = (self.hand + 1) % self.slots.len();
        let at = self.hand;
        let Some(entry) = &mut self.slots[at] else { return };
        if !std::mem::take(entry.is_wanted.get_mut()) && at != newest {
            self.take(at);
        }
    }

    fn take(&mut self, slot: usize) {
        let Some(entry) = self.slots[slot].take() else {
            return;
        };
        self.bytes -= entry.size();
        self.free.push(slot);
        // Out of its chain.
        let hash = self.hash(entry.id());
        let mut at = self.first.get(&hash).copied();
        if at == Some(slot) {
            match entry.next {
                Some(next) => self.first.insert(hash, next),
                None => self.first.remove(&hash),
            };
            return;
        }
        while let Some(before) = at {
            let Some(other) = self.slots[before].as_mut() else {
                return;
            };
            if other.next == Some(slot) {
                other.next = entry.next;
                return;
            }
            at = other.next;
        }
    }

    /// Forgets all answers about a subject.
    pub(super) fn forget(&mut self, id: &str) {
        let id = id.as_bytes();
        let hash = self.hash(id);
        while let Some(slot) = self.find(hash, |entry| entry.id() == id) {
            self.take(slot);
        }
    }

    /// How many answers there are.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt as _, SeedableRng as _};

    use super::*;

    const USER: SubjectKind = SubjectKind::User;

    fn reach(number: u8) -> Reach {
        Reach([number; 32])
    }

    fn body(text: &str) -> Bytes {
        Bytes::from(text.to_owned())
    }

    #[test]
    fn whoever_reads_everything_takes_no_more_than_there_is_room_and_leaves_what_is_asked_for() {
        let mut store = Store::new(100 * (BESIDES + 20));
        for number in 0..10 {
            store.insert(USER, &format!("wanted{number}"), reach(0), b"wanted");
        }
        for number in 0..100_000 {
            store.insert(USER, &format!("user{number}"), reach(0), b"anybody");
            assert!(store.bytes <= store.most);
            let wanted = format!("wanted{}", number % 10);
            assert_eq!(store.get(USER, &wanted, &reach(0)), Some(body("wanted")));
        }
        assert!(
            store.len() >= 100 && store.slots.len() <= 110,
            "{}",
            store.slots.len()
        );
        store.insert(USER, "large", reach(0), &[0; 1 << 20]);
        assert_eq!(store.get(USER, "large", &reach(0)), None);
    }

    #[test]
    fn it_answers_as_a_map_does_as_long_as_there_is_room() {
        let mut chance = StdRng::seed_from_u64(5);
        for room in [4, 1_000] {
            let mut store = Store::new(room * (BESIDES + 10));
            let mut map = HashMap::new();
            for _ in 0..20_000 {
                let id = format!("u{}", chance.random_range(0..12));
                let of = reach(chance.random_range(0..4));
                match chance.random_range(0..10) {
                    0 => {
                        store.forget(&id);
                        map.retain(|(known, _), _| *known != id);
                    }
                    1..5 => {
                        let new = body(&chance.random_range(0..100).to_string());
                        let is_new = store.get(USER, &id, &of).is_none();
                        store.insert(USER, &id, of, &new);
                        if is_new {
                            map.insert((id, of), new);
                        }
                    }
                    _ => {
                        let found = store.get(USER, &id, &of);
                        if room > 4 || found.is_some() {
                            assert_eq!(found.as_ref(), map.get(&(id.clone(), of)));
                        }
                        assert_eq!(store.get(SubjectKind::Group, &id, &of), None);
                    }
                }
                let sizes = store.slots.iter().flatten().map(Entry::size);
                assert_eq!(store.bytes, sizes.sum::<usize>());
            }
            assert!(store.len() > 2);
        }
    }
}
