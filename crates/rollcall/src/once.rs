//! Requests that are carried out once, however often they are sent: under a key of the caller's.
//!
//! A key is *begun* before its request is carried out. The transaction that does the work marks it as *done*, so both
//! come true together or not at all; and whoever asks again is given the *answer*, which is kept sealed for a day. A
//! process that dies in between leaves a key that is begun, which somebody takes over after a while: whatever the first
//! one may still try then finds that the key is no more its own, and is undone. Or it leaves one that is done without
//! an answer; then nothing is done again, and that is what is said.

use rollcall_db::{DbError, Tx, params};
use rollcall_protocol::Random;

use crate::clock::Millis;
use crate::id;
use crate::secret::{MasterKey, hash_token};

/// For how long a key is known.
pub const KNOWN_FOR: Millis = 24 * 3_600_000;

/// After how long somebody else may carry out what was begun.
const TAKEN_OVER_AFTER: Millis = 120_000;

/// A request that is carried out under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Once {
    /// The hash of the caller and the key.
    id: String,
    /// Which of several who carry out the same.
    attempt: String,
}

/// An answer as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

/// What is known of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begun {
    /// Nothing was: the request is to be carried out.
    Now(Once),
    /// It was carried out, and this was answered.
    Answered(Kept),
    /// It was carried out, and nobody knows what was answered.
    Unanswered,
    /// It is being carried out.
    UnderWay,
    /// Another request was made under it.
    Other,
}

/// The fingerprint of a request: the same parts give the same one.
pub fn fingerprint(parts: &[&[u8]]) -> String {
    let mut text = String::new();
    for part in parts {
        text.push_str(&base16ct::lower::encode_string(
            aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, part).as_ref(),
        ));
    }
    hash_token(&text)
}

fn belongs_to(id: &str) -> String {
    format!("idempotency/{id}")
}

/// Begins a request of somebody under a key.
///
/// # Errors
/// What the database reports.
pub fn begin(
    tx: &mut Tx<'_>,
    (principal, key): (&str, &str),
    request: &str,
    master: &MasterKey,
    (now, random): (Millis, &dyn Random),
) -> Result<Begun, DbError> {
    let once = Once {
        id: fingerprint(&[principal.as_bytes(), key.as_bytes()]),
        attempt: id::make("try", now, random),
    };
    let id = once.id.as_str();
    tx.execute(
        "DELETE FROM idempotency_keys WHERE id = $1 AND begun_at < $2",
        params![id, now - KNOWN_FOR],
    )?;
    let begun = tx.execute(
        "INSERT INTO idempotency_keys (id, request, attempt, done, begun_at) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (id) DO NOTHING",
        params![id, request, once.attempt.as_str(), false, now],
    )?;
    if begun > 0 {
        return Ok(Begun::Now(once));
    }
    let row = tx.query_one(
        "SELECT request, done, begun_at, status, answer FROM idempotency_keys WHERE id = $1",
        params![id],
    )?;
    if row.get::<String>(0)? != request {
        return Ok(Begun::Other);
    }
    if row.get::<bool>(1)? {
        let status = row
            .get::<Option<i64>>(3)?
            .and_then(|status| u16::try_from(status).ok());
        let (Some(status), Some(sealed)) = (status, row.get::<Option<Vec<u8>>>(4)?) else {
            return Ok(Begun::Unanswered);
        };
        // What an earlier master key has sealed is lost.
        return Ok(match master.open(&sealed, &belongs_to(id)) {
            Ok(body) => Begun::Answered(Kept {
                status,
                body: body.to_vec(),
            }),
            Err(_) => Begun::Unanswered,
        });
    }
    if row.get::<Millis>(2)? > now - TAKEN_OVER_AFTER {
        return Ok(Begun::UnderWay);
    }
    tx.execute(
        "UPDATE idempotency_keys SET attempt = $2, begun_at = $3 WHERE id = $1",
        params![id, once.attempt.as_str(), now],
    )?;
    Ok(Begun::Now(once))
}

/// Marks a request as carried out, in the transaction that does its work.
///
/// # Errors
/// What the database reports; also if somebody else carries it out by now, so that the work is undone.
pub fn done(tx: &mut Tx<'_>, once: &Once) -> Result<(), DbError> {
    let marked = tx.execute(
        "UPDATE idempotency_keys SET done = $3 WHERE id = $1 AND attempt = $2",
        params![once.id.as_str(), once.attempt.as_str(), true],
    )?;
    match marked {
        0 => Err(DbError::Other(
            "the request took too long, and another one was begun under its idempotency key".to_owned(),
        )),
        _ => Ok(()),
    }
}

/// Keeps what was answered to a request that was carried out; forgets one by which nothing was done, so that it may be
/// sent again.
///
/// # Errors
/// What the database reports.
pub fn answer(
    tx: &mut Tx<'_>,
    once: &Once,
    kept: Option<&Kept>,
    master: &MasterKey,
    random: &dyn Random,
) -> Result<(), DbError> {
    let (id, attempt) = (once.id.as_str(), once.attempt.as_str());
    if let Some(Kept { status, body }) = kept {
        let sealed = master.seal(body, &belongs_to(id), random);
        tx.execute(
            "UPDATE idempotency_keys SET status = $3, answer = $4 WHERE id = $1 AND attempt = $2 AND done = $5",
            params![id, attempt, i64::from(*status), sealed.as_slice(), true],
        )?;
    }
    tx.execute(
        "DELETE FROM idempotency_keys WHERE id = $1 AND attempt = $2 AND done = $3",
        params![id, attempt, false],
    )?;
    Ok(())
}

/// Forgets keys that were begun before a time. Returns how many.
///
/// # Errors
/// What the database reports.
pub fn trim(tx: &mut Tx<'_>, before: Millis, limit: i64) -> Result<u64, DbError> {
    tx.execute(
        "DELETE FROM idempotency_keys WHERE id IN
             (SELECT id FROM idempotency_keys WHERE begun_at < $1 ORDER BY begun_at LIMIT $2)",
        params![before, limit],
    )
}
