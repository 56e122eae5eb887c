//! Identifiers in the form that the wire shows: a prefix and 26 lower-case base-32 digits
//! (`user_…`, `ou_…`, `group_…`, `app_…`, `idaas_…`, `evnt_…`, `job_…`).
//!
//! The digits spell 48 bits of milliseconds followed by 82 random bits, in an alphabet that sorts
//! like the bits do. Ids made later therefore sort later, which keeps indexes compact.

use crate::clock::Millis;
use rollcall_protocol::Random;

/// The id of the organizational unit that every other unit hangs under (wire contract, section 4).
pub const ROOT_UNIT: &str = "ou_root";

const ALPHABET: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";

/// Makes an id such as `user_06c9…`.
pub fn make(prefix: &str, now: Millis, random: &dyn Random) -> String {
    let mut bytes = [0_u8; 16];
    random.fill(&mut bytes);
    made_of(prefix, now, bytes)
}

/// The same, of random bytes that were drawn before.
pub fn made_of(prefix: &str, now: Millis, bytes: [u8; 16]) -> String {
    let millis = u128::from(now.max(0).cast_unsigned()) & 0xffff_ffff_ffff;
    let bits = (millis << 82) | (u128::from_be_bytes(bytes) & ((1 << 82) - 1));
    spell(prefix, bits)
}

/// Whether an id has the form of a user's.
pub fn is_of_user(id: &str) -> bool {
    id.starts_with("user_")
}

/// Derives an id from the hash of some text: the same text gives the same id.
pub fn derive(prefix: &str, text: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    let mut bytes = [0_u8; 16];
    bytes.copy_from_slice(&digest.as_ref()[..16]);
    spell(prefix, u128::from_be_bytes(bytes))
}

/// The UUID that spells the same bits as an id, for formats that know only UUIDs; `None` for an id of another
/// form, such as the root's.
pub fn to_uuid(id: &str) -> Option<String> {
    let (_, digits) = id.split_once('_')?;
    if digits.len() != 26 {
        return None;
    }
    let bits = digits.bytes().try_fold(0_u128, |bits, digit| {
        let value = ALPHABET.iter().position(|known| *known == digit)?;
        bits.checked_mul(32)?.checked_add(value as u128)
    })?;
    Some(uuid(bits))
}

/// The UUID of these bits.
pub fn uuid(bits: u128) -> String {
    let hex = format!("{bits:032x}");
    format!(
        "{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    )
}

/// The id of this kind that spells the same bits as a UUID in lower case; `None` for another text.
pub fn from_uuid(prefix: &str, uuid: &str) -> Option<String> {
    let bits = u128::from_str_radix(&uuid.replace('-', ""), 16).ok()?;
    let id = spell(prefix, bits);
    (to_uuid(&id)? == uuid).then_some(id)
}

/// A short text that stands for a plan, made of all that the plan says. Whoever confirms the plan names it.
pub fn plan_token(text: &str) -> String {
    let id = derive("plan", text);
    id[id.len() - 10..].to_owned()
}

fn spell(prefix: &str, bits: u128) -> String {
    let mut id = String::with_capacity(prefix.len() + 27);
    id.push_str(prefix);
    id.push('_');
    for position in (0..26).rev() {
        let digit = (bits >> (position * 5)) & 31;
        id.push(char::from(ALPHABET[digit as usize]));
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;
    use rollcall_protocol::SystemRandom;

    #[test]
    fn later_ids_sort_later() {
        let early = make("user", 1_700_000_000_000, &SystemRandom);
        let late = make("user", 1_700_000_000_001, &SystemRandom);
        assert!(early < late);
        assert_eq!(early.len(), "user_".len() + 26);
    }

    #[test]
    fn an_id_and_its_uuid_spell_the_same() {
        let id = make("user", 1_700_000_000_000, &SystemRandom);
        let uuid = to_uuid(&id).unwrap();
        assert_eq!(from_uuid("user", &uuid), Some(id));
        assert_eq!(to_uuid("ou_root"), None);
        for text in ["", "x", "0018bcfe-5680", "0018BCFE-5680-7000-8000-00000000000A"] {
            assert_eq!(from_uuid("user", text), None, "{text}");
        }
    }

    #[test]
    fn derived_ids_repeat() {
        assert_eq!(derive("evnt", "a|b"), derive("evnt", "a|b"));
        assert_ne!(derive("evnt", "a|b"), derive("evnt", "a|c"));
    }
}
