//! Fields as files write them.

use crate::clock::Millis;

/// `enabled`, `disabled` or another word for one of them, or nothing.
pub(super) fn status(text: &str) -> Result<Option<bool>, String> {
    match text.to_lowercase().as_str() {
        "" => Ok(None),
        "enabled" | "active" | "true" | "yes" | "1" => Ok(Some(true)),
        "disabled" | "inactive" | "false" | "no" | "0" => Ok(Some(false)),
        _ => Err(format!(
            "status: {text:?} is none of enabled, active, true, yes, 1 and disabled, inactive, false, no, 0"
        )),
    }
}

/// A time in RFC 3339, a date, or nothing for never.
pub(super) fn expires(text: &str) -> Result<Option<Millis>, String> {
    if text.is_empty() || text == "never" {
        return Ok(None);
    }
    let time = text.parse::<jiff::Timestamp>().or_else(|_| {
        text.parse::<jiff::civil::Date>()
            .and_then(|date| date.to_zoned(jiff::tz::TimeZone::UTC))
            .map(|zoned| zoned.timestamp())
    });
    match time {
        Ok(time) => Ok(Some(time.as_millisecond())),
        Err(_) => Err(format!(
            "expires: {text:?} is neither a date nor a time such as 2027-01-31 or 2027-01-31T18:00:00Z"
        )),
    }
}

/// A phone number with its country, such as `+49 170 1234567`: region and number. The region ends at the
/// first space, hyphen, dot or bracket, because where it ends cannot be told from the digits alone; only the
/// regions 1 and 7, which no longer one begins with, need no mark.
pub(super) fn phone(text: &str) -> Result<(String, String), String> {
    let refuse = || format!("phone: {text:?} is not of the form +REGION NUMBER, such as +49 170 1234567");
    let international = text
        .trim()
        .strip_prefix('+')
        .or_else(|| text.trim().strip_prefix("00"))
        .ok_or_else(refuse)?;
    let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
    let end = match international.find(|c: char| !c.is_ascii_digit()) {
        Some(end) if end > 0 && end <= 4 => end,
        _ if international.starts_with(['1', '7']) => 1,
        _ => return Err(refuse()),
    };
    let (region, number) = international.split_at(end);
    if number
        .chars()
        .any(|c| !(c.is_ascii_digit() || " -.()/".contains(c)))
    {
        return Err(refuse());
    }
    Ok((region.to_owned(), digits(number)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phones_are_read_with_their_region_or_not_at_all() {
        let ok = |text| phone(text).unwrap();
        assert_eq!(ok("+49 170 123-4567"), ("49".into(), "1701234567".into()));
        assert_eq!(ok("0086-13800001111"), ("86".into(), "13800001111".into()));
        assert_eq!(ok("+14155550100"), ("1".into(), "4155550100".into()));
        for text in ["030 1234", "+491701234567", "+49 170 CALL", ""] {
            assert!(phone(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_are_dates_or_moments() {
        assert_eq!(expires("1970-01-02"), Ok(Some(86_400_000)));
        assert_eq!(expires("1970-01-01T00:00:01Z"), Ok(Some(1_000)));
        assert_eq!(expires("never"), Ok(None));
        assert!(expires("soon").is_err());
    }
}
