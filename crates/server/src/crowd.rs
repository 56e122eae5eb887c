//! How many connections there are, and whose turn it is to go when there are too many.
//!
//! There is a limit for all of them and one for each address; an IPv6 address counts with its /64, which is what
//! one subscriber has. A new connection is always worth more than one that has been silent: when a limit is
//! reached, the one of those counted that has been silent longest is closed. Connections that wait for an
//! answer of ours are never closed for others; only if there is no other kind, the new one is refused.

use std::collections::HashMap;
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
    address: IpAddr,
    watch: Arc<Watch>,
    leave: Arc<Notify>,
}

/// Every connection that counts is waiting for an answer.
#[derive(Debug)]
pub(crate) struct Refused;

/// A place among the connections, given back when it is dropped.
pub(crate) struct Place {
    crowd: Arc<Crowd>,
    number: u64,
    /// What the connection does.
    pub(crate) watch: Arc<Watch>,
    /// Says that the connection has to go.
    pub(crate) leave: Arc<Notify>,
    /// Whether another had to go for it.
    pub(crate) displaced: bool,
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

    /// Lets a connection in, perhaps in another's place.
    pub(crate) fn admit(self: &Arc<Self>, remote: IpAddr, now: Instant) -> Result<Place, Refused> {
        let address = counted_as(remote);
        let mut members = self.lock();
        let of_address = members.by_address.get(&address).copied().unwrap_or(0);
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
        *members.by_address.entry(address).or_default() += 1;
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
        if let Some(count) = self.by_address.get_mut(&member.address) {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&member.address);
            }
        }
        Some(member)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(self.crowd.lock().remove(self.number));
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
        let admit = |address: &str, seconds| crowd.admit(address.parse().unwrap(), at(seconds));
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
            place.watch.asked(true, at(7));
        }
        assert!(admit("2001:db8::4", 8).is_err(), "both wait for an answer");
        let g = admit("192.0.2.9", 8).unwrap();
        assert!(is_told_to_leave(&b));
        g.watch.asked(true, at(9));
        assert!(admit("192.0.2.9", 9).is_err());
        drop(e);
        assert!(admit("192.0.2.9", 9).is_ok());
        drop((a, b, c, d, f, g));
        let members = crowd.lock();
        assert!(members.all.is_empty() && members.by_address.is_empty());
    }
}
