//! Passwords of accounts: what may be one, and one-time passwords.
//!
//! A password has 12 to 256 characters, is not the name under which its owner signs in, and not one of those that
//! everybody tries first. Nothing else is asked: rules about kinds of characters make passwords worse (NIST SP 800-63B,
//! section 3.1.1.2).

use rollcall_protocol::Random;

use super::AccountError;
use crate::directory::fields::fold;
use crate::secret::{ExposeSecret as _, SecretString};

/// What is long enough to be a password and is tried first; one a line, folded.
const COMMON: &str = include_str!("common.txt");

/// Refuses what is no good as the password of an account with this name.
///
/// # Errors
/// [`AccountError::InvalidField`].
pub fn check(plain: &SecretString, name: &str) -> Result<(), AccountError> {
    let refuse = |reason: &str| Err(AccountError::invalid("password", reason));
    let plain = plain.expose_secret();
    if !(12..=256).contains(&plain.chars().count()) {
        return refuse("must have 12 to 256 characters");
    }
    let folded = fold(plain);
    if folded == fold(name) {
        return refuse("must not be the name of the account");
    }
    if COMMON.lines().any(|common| common == folded) {
        return refuse("is one of those that are tried first; choose another");
    }
    Ok(())
}

/// Letters and digits that nobody takes for another one.
const READABLE: &[u8; 31] = b"abcdefghjkmnpqrstuvwxyz23456789";

/// A password of 20 random characters in groups of five, to be shown once.
pub fn one_time(random: &dyn Random) -> SecretString {
    let mut text = String::new();
    let mut letters = 0;
    while letters < 20 {
        let mut byte = [0_u8];
        random.fill(&mut byte);
        // 248 is a multiple of 31: what is not below it would make some letters likelier.
        if byte[0] < 248 {
            if letters > 0 && letters % 5 == 0 {
                text.push('-');
            }
            text.push(char::from(READABLE[usize::from(byte[0] % 31)]));
            letters += 1;
        }
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use rollcall_protocol::SystemRandom;

    use super::*;

    #[test]
    fn only_what_is_short_known_or_the_name_is_refused() {
        let refused = |plain: &str| check(&plain.to_owned().into(), "Ada.Lovelace").is_err();
        for plain in [
            "",
            "elevenchars",
            "ADA.lovelace",
            "Password1234",
            &"x".repeat(257),
        ] {
            assert!(refused(plain), "{plain}");
        }
        for plain in ["twelve chars", "grün grün grün", &"x".repeat(256)] {
            assert!(!refused(plain), "{plain}");
        }
        for line in COMMON.lines() {
            assert!(line == fold(line) && line.chars().count() >= 12, "{line}");
        }
    }

    #[test]
    fn a_one_time_password_is_readable_and_good_enough() {
        let (one, other) = (one_time(&SystemRandom), one_time(&SystemRandom));
        assert_ne!(one.expose_secret(), other.expose_secret());
        let groups: Vec<_> = one.expose_secret().split('-').collect();
        assert!(groups.len() == 4 && groups.iter().all(|group| group.len() == 5));
        assert!(check(&one, "admin").is_ok());
    }
}
