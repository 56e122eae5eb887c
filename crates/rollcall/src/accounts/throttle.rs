//! Sign-ins that fail are slowed down, by account and by address.
//!
//! Some failures are free; after that each one doubles the pause before the next try, up to a few minutes, so that
//! nobody is ever locked out for good. An hour without failures forgets them. The counts are in the database, where all
//! nodes see them and a restart does not forget them, under hashes: people type their passwords into the wrong field.
//! A name that nobody has is counted as one that somebody has, so the pauses do not tell them apart.
//!
//! A try counts as failed before the password is looked at ([`begin`]) and is taken back if it was right
//! ([`succeed`]), so that many tries at once get no further than as many in a row.

use std::net::IpAddr;
use std::time::Duration;

use rollcall_db::{DbError, Tx, params};

use crate::clock::Millis;
use crate::secret::hash_token;

/// After so long without failures they are forgotten.
const FORGOTTEN_AFTER: Millis = 3_600_000;

/// The first pause.
const FIRST_PAUSE: Millis = 1_000;

/// How much is allowed to one subject.
#[derive(Clone, Copy)]
struct Allowance {
    /// Failures without a pause.
    free: i64,
    /// The longest pause.
    longest: Millis,
}

const OF_ACCOUNT: Allowance = Allowance {
    free: 5,
    longest: 300_000,
};

/// Many people may share an address.
const OF_ADDRESS: Allowance = Allowance {
    free: 30,
    longest: 60_000,
};

impl Allowance {
    /// The pause after so many failures.
    fn pause(self, failures: i64) -> Millis {
        match u32::try_from(failures - self.free) {
            Ok(doublings @ 0..=20) => (FIRST_PAUSE << doublings).min(self.longest),
            Ok(_) => self.longest,
            Err(_) => 0,
        }
    }
}

/// Who tries to sign in: under which name, and from which address.
#[derive(Clone, Debug)]
pub struct Try {
    account: Option<String>,
    address: Option<String>,
}

/// It is too early for another try, for so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooEarly(pub Duration);

impl Try {
    /// Under this name, which is folded, and from this address. An IPv6 address counts with its /64, which is what one
    /// customer has.
    pub fn of(folded: &str, address: Option<IpAddr>) -> Self {
        Self {
            account: Some(hash_token(&format!("account/{folded}"))),
            ..Self::at_provider(address)
        }
    }

    /// By what a provider says, of which nobody can guess a name: only the address counts.
    pub fn at_provider(address: Option<IpAddr>) -> Self {
        let network = |address: IpAddr| match address {
            IpAddr::V4(_) => address.to_string(),
            IpAddr::V6(v6) => format!("{:x?}", &v6.segments()[..4]),
        };
        Self {
            account: None,
            address: address.map(|address| hash_token(&format!("address/{}", network(address)))),
        }
    }

    fn subjects(&self) -> impl Iterator<Item = (&str, Allowance)> {
        let account = self.account.as_deref().map(|account| (account, OF_ACCOUNT));
        let address = self.address.as_deref().map(|address| (address, OF_ADDRESS));
        account.into_iter().chain(address)
    }
}

/// The failures that are not forgotten, and until when there is a pause.
fn counted(tx: &mut Tx<'_>, subject: &str, now: Millis) -> Result<(i64, Millis), DbError> {
    let row = tx.query_opt(
        "SELECT failures, blocked_until FROM sign_in_failures WHERE subject = $1 AND last_at > $2",
        params![subject, now - FORGOTTEN_AFTER],
    )?;
    row.map_or(Ok((0, 0)), |row| Ok((row.get(0)?, row.get(1)?)))
}

/// Counts a try as failed, if it is not too early for one.
///
/// # Errors
/// What the database reports.
pub fn begin(tx: &mut Tx<'_>, of: &Try, now: Millis) -> Result<Result<(), TooEarly>, DbError> {
    let mut wait = 0;
    let mut counts = Vec::new();
    for (subject, allowance) in of.subjects() {
        let (before, blocked_until) = counted(tx, subject, now)?;
        // A clock that was set back must not lock anybody out for longer.
        wait = wait.max((blocked_until - now).min(allowance.longest));
        counts.push((subject, before + 1, now + allowance.pause(before + 1)));
    }
    if let Ok(wait @ 1..) = u64::try_from(wait) {
        return Ok(Err(TooEarly(Duration::from_millis(wait))));
    }
    for (subject, failures, blocked_until) in counts {
        tx.execute(
            "INSERT INTO sign_in_failures (subject, failures, last_at, blocked_until) VALUES ($1, $2, $3, $4)
             ON CONFLICT (subject) DO UPDATE SET failures = excluded.failures, last_at = excluded.last_at,
                 blocked_until = excluded.blocked_until",
            params![subject, failures, now, blocked_until],
        )?;
    }
    Ok(Ok(()))
}

/// Takes back that a try failed: the account begins anew, and the address has one failure less.
///
/// # Errors
/// What the database reports.
pub fn succeed(tx: &mut Tx<'_>, of: &Try) -> Result<(), DbError> {
    if let Some(account) = &of.account {
        tx.execute(
            "DELETE FROM sign_in_failures WHERE subject = $1",
            params![account.as_str()],
        )?;
    }
    if let Some(address) = &of.address {
        tx.execute(
            "UPDATE sign_in_failures SET failures = failures - 1, blocked_until = 0 WHERE subject = $1",
            params![address.as_str()],
        )?;
    }
    Ok(())
}

/// Removes what is forgotten.
///
/// # Errors
/// What the database reports.
pub fn trim(tx: &mut Tx<'_>, now: Millis) -> Result<u64, DbError> {
    tx.execute(
        "DELETE FROM sign_in_failures WHERE last_at <= $1",
        params![now - FORGOTTEN_AFTER],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let pauses: Vec<_> = [1, 4, 5, 6, 7, 13, 14, 1_000_000]
            .map(|failures| OF_ACCOUNT.pause(failures))
            .into();
        assert_eq!(pauses, [0, 0, 1_000, 2_000, 4_000, 256_000, 300_000, 300_000]);
    }

    #[test]
    fn neighbours_in_one_network_of_version_6_are_one() {
        let of = |address: &str| Try::of("ada", address.parse().ok()).address;
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }
}
