//! Answers in memory, by whom they are about and for whom they are, within a number of bytes.
//!
//! If there is no room, a hand goes round the entries: who was asked for since it came by last stays, everybody else goes
//! (the clock algorithm, or "second chance"). So somebody who reads all users of a large directory one after the other
//! pushes out what nobody asks for, and little of what is asked for all the time.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use rollcall_protocol::SubjectKind;

use super::Reach;

/// What an entry takes besides its id and its body: the entry, its place in the map, and what the allocator adds.
const BESIDES: usize = 256;

/// An answer that is kept.
#[derive(Debug)]
struct Entry {
    kind: SubjectKind,
    id: Arc<str>,
    reach: Reach,
    body: Bytes,
    /// Whether it was asked for since the hand came by.
    is_wanted: bool,
    /// The next one of the same subject.
    next: Option<usize>,
}

impl Entry {
    fn size(&self) -> usize {
        BESIDES + self.id.len() + self.body.len()
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
    /// The first answer about each subject.
    first: HashMap<Arc<str>, usize>,
    hand: usize,
}

impl Store {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            bytes: 0,
            slots: Vec::new(),
            free: Vec::new(),
            first: HashMap::new(),
            hand: 0,
        }
    }

    /// The same without answers.
    pub(super) fn emptied(&self) -> Self {
        Self::new(self.most)
    }

    fn find(&self, kind: SubjectKind, id: &str, reach: &Reach) -> Option<usize> {
        let mut next = self.first.get(id).copied();
        while let Some(slot) = next {
            let entry = self.slots.get(slot)?.as_ref()?;
            if entry.kind == kind && entry.reach == *reach {
                return Some(slot);
            }
            next = entry.next;
        }
        None
    }

    /// The answer about a subject for somebody who reaches so far.
    pub(super) fn get(&mut self, kind: SubjectKind, id: &str, reach: &Reach) -> Option<Bytes> {
        let slot = self.find(kind, id, reach)?;
        let entry = self.slots.get_mut(slot)?.as_mut()?;
        entry.is_wanted = true;
        Some(entry.body.clone())
    }

    /// Keeps an answer.
    pub(super) fn insert(&mut self, kind: SubjectKind, id: &str, reach: Reach, body: Bytes) {
        if self.find(kind, id, &reach).is_some() {
            return;
        }
        let known = self.first.get_key_value(id);
        let entry = Entry {
            kind,
            id: known.map_or_else(|| Arc::from(id), |(id, _)| Arc::clone(id)),
            reach,
            body,
            is_wanted: false,
            next: known.map(|(_, slot)| *slot),
        };
        if entry.size() > self.most {
            return;
        }
        self.bytes += entry.size();
        let id = Arc::clone(&entry.id);
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
        self.first.insert(id, slot);
        while self.bytes > self.most {
            self.push_out(slot);
        }
    }

    /// Takes out the next one that nobody has asked for; not the one that has just come.
    fn push_out(&mut self, newest: usize) {
        self.hand = (self.hand + 1) % self.slots.len();
        let at = self.hand;
        match &mut self.slots[at] {
            Some(entry) if entry.is_wanted => entry.is_wanted = false,
            Some(_) if at != newest => self.take(at),
            Some(_) | None => {}
        }
    }

    fn take(&mut self, slot: usize) {
        let Some(entry) = self.slots[slot].take() else {
            return;
        };
        self.bytes -= entry.size();
        self.free.push(slot);
        // Out of the chain of its subject.
        let mut at = self.first.get(&entry.id).copied();
        if at == Some(slot) {
            match entry.next {
                Some(next) => self.first.insert(entry.id, next),
                None => self.first.remove(&entry.id),
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
        while let Some(slot) = self.first.get(id).copied() {
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
            store.insert(USER, &format!("wanted{number}"), reach(0), body("wanted"));
        }
        for number in 0..100_000 {
            store.insert(USER, &format!("user{number}"), reach(0), body("anybody"));
            assert!(store.bytes <= store.most);
            let wanted = format!("wanted{}", number % 10);
            assert_eq!(store.get(USER, &wanted, &reach(0)), Some(body("wanted")));
        }
        assert!(
            store.len() >= 100 && store.slots.len() <= 110,
            "{}",
            store.slots.len()
        );
        assert_eq!(store.first.len(), store.len());
        store.insert(USER, "large", reach(0), Bytes::from(vec![0; 1 << 20]));
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
                        if store.find(USER, &id, &of).is_none() {
                            map.insert((id.clone(), of), new.clone());
                        }
                        store.insert(USER, &id, of, new);
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
