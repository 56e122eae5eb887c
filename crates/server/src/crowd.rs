//! How many connections there are, and whose turn it is to go when there are too many.
//!
//! There is a limit for all of them and one for each address; an IPv6 address counts with its /64, which is what
//! one subscriber has. A new connection is always worth more than one that has been silent: when a limit is
//! reached, the one of those counted that has been silent longest is closed. Connections that wait for an
//! answer of ours are never closed for others; only if there is no other kind, the new one is refused.
//!
//! The connections of a trusted proxy count to no address, because the requests of many clients come over each of
//! them. A client's requests that are being answered count to its address instead, as its own connections would, and
//! the one that is too many is refused.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::config::Limits;
use crate::connection::Watch;

/// All connections.
pub(crate) struct Crowd {
    connections: usize,
    per_address: usize,
    members: Mutex<Members>,
}

#[derive(Default)]
struct Members {
    next: u64,
    all: HashMap<u64, Member>,
    by_address: HashMap<IpAddr, usize>,
}

struct Member {
    /// `None` if it is a trusted proxy's.
    address: Option<IpAddr>,
    watch: Arc<Watch>,
    leave: Arc<Notify>,
}

/// Whatever counts is waiting for an answer.
#[derive(Debug)]
pub(crate) struct Refused;

/// A place among the connections, given back when it is dropped.
pub(crate) struct Place {
    /// The others.
    pub(crate) crowd: Arc<Crowd>,
    number: u64,
    /// What the connection does.
    pub(crate) watch: Arc<Watch>,
    /// Says that the connection has to go.
    pub(crate) leave: Arc<Notify>,
    /// Whether another had to go for it.
    pub(crate) displaced: bool,
}

/// A request that is being answered counts to its client until this is dropped.
pub(crate) struct Turn {
    crowd: Arc<Crowd>,
    address: IpAddr,
}

impl Crowd {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            connections: limits.connections.max(1),
            per_address: limits.per_address.max(1),
            members: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a connection in, perhaps in another's place. It counts to this address, if to any.
    pub(crate) fn admit(self: &Arc<Self>, remote: Option<IpAddr>, now: Instant) -> Result<Place, Refused> {
        let address = remote.map(counted_as);
        let mut members = self.lock();
        let of_address = address.map_or(0, |address| members.of(address));
        let displaced = if of_address >= self.per_address {
            members.displace(|member| member.address == address)?
        } else if members.all.len() >= self.connections {
            members.displace(|_| true)?
        } else {
            false
        };
        let number = members.next;
        members.next += 1;
        let watch = Arc::new(Watch::new(now));
        let leave = Arc::new(Notify::new());
        if let Some(address) = address {
            members.count(address);
        }
        members.all.insert(
            number,
            Member {
                address,
                watch: Arc::clone(&watch),
                leave: Arc::clone(&leave),
            },
        );
        drop(members);
        Ok(Place {
            crowd: Arc::clone(self),
            number,
            watch,
            leave,
            displaced,
        })
    }

    /// Lets a request that a proxy passes on be answered for a client at this address.
    pub(crate) fn turn(self: &Arc<Self>, client: IpAddr) -> Result<Turn, Refused> {
        let address = counted_as(client);
        let mut members = self.lock();
        if members.of(address) >= self.per_address {
            return Err(Refused);
        }
        members.count(address);
        drop(members);
        let crowd = Arc::clone(self);
        Ok(Turn { crowd, address })
    }
}

impl Members {
    fn displace(&mut self, counts: impl Fn(&Member) -> bool) -> Result<bool, Refused> {
        let silent = |member: &Member| member.watch.silent_since();
        let (_, number) = self
            .all
            .iter()
            .filter(|(_, member)| counts(member))
            .filter_map(|(number, member)| Some((silent(member)?, *number)))
            .min()
            .ok_or(Refused)?;
        if let Some(member) = self.remove(number) {
            member.leave.notify_one();
        }
        Ok(true)
    }

    fn remove(&mut self, number: u64) -> Option<Member> {
        let member = self.all.remove(&number)?;
        if let Some(address) = member.address {
            self.discount(address);
        }
        Some(member)
    }

    fn of(&self, address: IpAddr) -> usize {
        self.by_address.get(&address).copied().unwrap_or(0)
    }

    fn count(&mut self, address: IpAddr) {
        *self.by_address.entry(address).or_default() += 1;
    }

    fn discount(&mut self, address: IpAddr) {
        if let Entry::Occupied(mut count) = self.by_address.entry(address) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(self.crowd.lock().remove(self.number));
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.crowd.lock().discount(self.address);
    }
}

fn counted_as(remote: IpAddr) -> IpAddr {
    match remote.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn crowd(connections: usize, per_address: usize) -> Arc<Crowd> {
        Arc::new(Crowd::new(&Limits {
            connections,
            per_address,
            ..Limits::default()
        }))
    }

    fn is_told_to_leave(place: &Place) -> bool {
        let mut leaving = std::pin::pin!(place.leave.notified());
        let waker = std::task::Waker::noop();
        leaving
            .as_mut()
            .poll(&mut std::task::Context::from_waker(waker))
            .is_ready()
    }

    #[test]
    fn the_longest_silent_gives_way_and_who_waits_for_an_answer_does_not() {
        let crowd = crowd(3, 2);
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let admit = |address: &str, seconds| crowd.admit(Some(address.parse().unwrap()), at(seconds));
        let a = admit("192.0.2.1", 0).unwrap();
        let b = admit("192.0.2.1", 1).unwrap();
        // The third of one address takes the place of its own first.
        let c = admit("::ffff:192.0.2.1", 2).unwrap();
        assert!(is_told_to_leave(&a) && !is_told_to_leave(&b) && !is_told_to_leave(&c));
        // A whole /64 counts as one.
        let d = admit("2001:db8::1", 3).unwrap();
        b.watch.arrived(at(4));
        let e = admit("2001:db8::2", 5).unwrap();
        assert!(is_told_to_leave(&c) && !is_told_to_leave(&d));
        let f = admit("2001:db8::3", 6).unwrap();
        assert!(is_told_to_leave(&d) && !is_told_to_leave(&b));
        for place in [&e, &f] {
            place.watch.shaken_hands(at(7));
            place.watch.asked(true, at(7));
        }
        assert!(admit("2001:db8::4", 8).is_err(), "both wait for an answer");
        let g = admit("192.0.2.9", 8).unwrap();
        assert!(is_told_to_leave(&b));
        g.watch.shaken_hands(at(9));
        g.watch.asked(true, at(9));
        assert!(admit("192.0.2.9", 9).is_err());
        drop(e);
        assert!(admit("192.0.2.9", 9).is_ok());
        drop((a, b, c, d, f, g));
        let members = crowd.lock();
        assert!(members.all.is_empty() && members.by_address.is_empty());
    }

    #[test]
    fn requests_through_a_proxy_count_to_their_client_and_its_connections_to_nobody() {
        let crowd = crowd(4, 2);
        let now = Instant::now();
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let proxied: Vec<_> = (0..3).map(|_| crowd.admit(None, now).unwrap()).collect();
        let first = crowd.turn(address("192.0.2.1")).unwrap();
        let second = crowd.turn(address("::ffff:192.0.2.1")).unwrap();
        assert!(crowd.turn(address("192.0.2.1")).is_err());
        let other = crowd.turn(address("192.0.2.2")).unwrap();
        // Whoever comes by both ways has as much as by one of them, and loses no connection of others.
        assert!(crowd.admit(Some(address("192.0.2.1")), now).is_err());
        drop(first);
        let direct = crowd.admit(Some(address("192.0.2.1")), now).unwrap();
        assert!(crowd.turn(address("192.0.2.1")).is_err());
        assert!(!proxied.iter().any(is_told_to_leave));
        // For the limit of all of them a proxy's connections count as others do.
        let displacing = crowd.admit(None, now).unwrap();
        assert!(displacing.displaced && is_told_to_leave(&proxied[0]));
        drop((second, other, direct, displacing, proxied));
        let members = crowd.lock();
        assert!(members.all.is_empty() && members.by_address.is_empty());
    }
}
