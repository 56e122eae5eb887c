//! Distinguished names (DNs) in the text form of RFC 4514.
//!
//! A DN is a path from an entry up to the root of a directory: `cn=Ann,ou=Sales,dc=example,dc=org` is a list of
//! relative names (RDNs), the most specific first, and an RDN is one or more `type=value` pairs joined by `+`.
//! [`Dn::parse`] is a recursive descent over the grammar of RFC 4514 section 3. A value is gathered as bytes
//! rather than as characters, because one character may be spelled as several escaped bytes (`\C4\8D` is `č`).
//!
//! Directories still hold names in older spellings, so the reader is wider than the writer. It also takes `;`
//! as a separator and white space around separators (RFC 2253), quoted values and types that begin with `oid.`
//! (RFC 1779), and, where they are not ambiguous, `<`, `>` and `"` without a backslash.
//!
//! Two DNs that are written differently may name the same entry. `==` compares what was written;
//! [`Dn::normalized`] is the text to compare when the question is whether the entry is the same.

use std::fmt::{self, Display, Formatter, Write};
use std::str::Chars;

use thiserror::Error;

/// The object identifiers that some tools write in place of the names of common attribute types.
const NAMED_OIDS: [(&str, &str); 5] = [
    ("2.5.4.3", "cn"),
    ("2.5.4.11", "ou"),
    ("2.5.4.10", "o"),
    ("0.9.2342.19200300.100.1.25", "dc"),
    ("0.9.2342.19200300.100.1.1", "uid"),
];

/// Why a text is not a distinguished name. Characters are counted from 1.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DnError {
    /// Something else stands where an attribute type and its `=` should be.
    #[error("an attribute type followed by '=' (such as 'cn=') is expected at character {at}")]
    Type {
        /// Where the type or its `=` is missing.
        at: usize,
    },
    /// A backslash that escapes nothing.
    #[error("the backslash at character {at} must be followed by a special character or by two hex digits")]
    Escape {
        /// Where the backslash is.
        at: usize,
    },
    /// Escaped bytes that make no text.
    #[error("the value that begins at character {at} is not UTF-8 once its escapes are decoded")]
    NotUtf8 {
        /// Where the value begins.
        at: usize,
    },
    /// A `#` value that is not made of bytes in hex.
    #[error(
        "the '#' at character {at} must be followed by pairs of hex digits (a plain '#' is written '\\#')"
    )]
    Hex {
        /// Where the `#` is.
        at: usize,
    },
    /// A quoted value without its second quote.
    #[error("the quote that is opened at character {at} is never closed")]
    OpenQuote {
        /// Where the quote is opened.
        at: usize,
    },
    /// More text after a quoted or hex value.
    #[error("only ',', ';', '+' or the end may follow a quoted or hex value, at character {at}")]
    AfterValue {
        /// Where the superfluous text begins.
        at: usize,
    },
}

/// A distinguished name: its RDNs, the most specific first. The empty one names the root of the directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dn(Vec<Rdn>);

impl Dn {
    /// Reads a DN from its text.
    pub fn parse(text: &str) -> Result<Dn, DnError> {
        Parser {
            rest: text.chars(),
            at: 1,
        }
        .dn()
    }

    /// The relative names, the most specific first.
    pub fn rdns(&self) -> &[Rdn] {
        &self.0
    }

    /// The DN one level up, or nothing for the root.
    pub fn parent(&self) -> Option<Dn> {
        self.0.split_first().map(|(_, above)| Dn(above.to_vec()))
    }

    /// The DN one level below this one, whose RDN is the pair `kind=value`. The value is plain text, not escaped.
    pub fn child(&self, kind: &str, value: &str) -> Dn {
        let rdn = Rdn(vec![(canonical_kind(kind), value.to_owned())]);
        Dn(std::iter::once(rdn).chain(self.0.iter().cloned()).collect())
    }

    /// Whether this is the empty DN, the root.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A text that is the same for DNs that differ only in case, in the amount of white space inside or around
    /// values, in the order of the pairs of an RDN or in spelling, and different for all others.
    ///
    /// This is how the matching rules of most naming attributes compare. Unicode normalization is not applied:
    /// a letter with a combining accent differs from the precomposed letter.
    pub fn normalized(&self) -> String {
        let rdns = self.0.iter().map(|rdn| {
            let mut pairs: Vec<_> = rdn
                .0
                .iter()
                .map(|(kind, value)| (kind.clone(), folded(value)))
                .collect();
            pairs.sort();
            Rdn(pairs)
        });
        Dn(rdns.collect()).to_string()
    }
}

impl Display for Dn {
    /// Writes the DN as RFC 4514 has it, with no more escapes than are needed to keep it readable on one line.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (index, rdn) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_char(',')?;
            }
            write!(f, "{rdn}")?;
        }
        Ok(())
    }
}

/// One level of a DN: pairs of an attribute type, in lower case, and a value without escapes. It has at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rdn(Vec<(String, String)>);

impl Rdn {
    /// The value of the first pair of this attribute type, in whatever case the type is given.
    pub fn get(&self, kind: &str) -> Option<&str> {
        self.pairs()
            .find(|(own, _)| own.eq_ignore_ascii_case(kind))
            .map(|(_, value)| value)
    }

    /// The first pair, which is the only one of nearly every RDN.
    pub fn first(&self) -> (&str, &str) {
        self.pairs().next().unwrap_or_default()
    }

    /// The pairs of type and value, in the order in which they were written.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(kind, value)| (kind.as_str(), value.as_str()))
    }
}

impl Display for Rdn {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (index, (kind, value)) in self.pairs().enumerate() {
            if index > 0 {
                f.write_char('+')?;
            }
            write!(f, "{kind}=")?;
            write_escaped(f, value)?;
        }
        Ok(())
    }
}

/// Writes a value so that the parser reads the same one back (RFC 4514 section 2.4).
fn write_escaped(f: &mut Formatter<'_>, value: &str) -> fmt::Result {
    let last = value.chars().count().saturating_sub(1);
    for (index, c) in value.chars().enumerate() {
        match c {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => write!(f, "\\{c}")?,
            ' ' if index == 0 || index == last => f.write_str("\\ ")?,
            '#' if index == 0 => f.write_str("\\#")?,
            // Only NUL has to be escaped, but a line break would tear apart a log line or a file that lists DNs.
            _ if c.is_ascii_control() => write!(f, "\\{:02X}", u32::from(c))?,
            _ => f.write_char(c)?,
        }
    }
    Ok(())
}

/// The one spelling of an attribute type: in lower case, and by name where an OID has a well-known one.
fn canonical_kind(kind: &str) -> String {
    let kind = kind.to_ascii_lowercase();
    let oid = kind.strip_prefix("oid.").unwrap_or(&kind);
    match NAMED_OIDS.iter().find(|(known, _)| *known == oid) {
        Some((_, name)) => (*name).to_owned(),
        None => kind,
    }
}

/// A value without the differences that matching ignores: case, and how much white space there is.
fn folded(value: &str) -> String {
    value
        .to_lowercase()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

/// A position in the text of a DN.
struct Parser<'a> {
    rest: Chars<'a>,
    /// The number of the next character, for error messages.
    at: usize,
}

impl<'a> Parser<'a> {
    fn dn(&mut self) -> Result<Dn, DnError> {
        let mut rdns = Vec::new();
        self.skip_space();
        if self.peek().is_none() {
            return Ok(Dn(rdns));
        }
        loop {
            rdns.push(self.rdn()?);
            // An RDN ends at the end or before a separator, so whatever comes next is a "," or a ";".
            if self.next().is_none() {
                return Ok(Dn(rdns));
            }
        }
    }

    fn rdn(&mut self) -> Result<Rdn, DnError> {
        let mut pairs = vec![self.pair()?];
        while self.peek() == Some('+') {
            self.next();
            pairs.push(self.pair()?);
        }
        Ok(Rdn(pairs))
    }

    fn pair(&mut self) -> Result<(String, String), DnError> {
        self.skip_space();
        // The underscore is not in the grammar, but old schemas use it.
        let kind = self.take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_'));
        self.skip_space();
        if kind.is_empty() || self.peek() != Some('=') {
            return Err(DnError::Type { at: self.at });
        }
        self.next();
        self.skip_space();
        let value = match self.peek() {
            Some('#') => self.hex_value()?,
            Some('"') => self.quoted_value()?,
            _ => self.plain_value()?,
        };
        self.skip_space();
        match self.peek() {
            Some(c) if !is_separator(c) => Err(DnError::AfterValue { at: self.at }),
            _ => Ok((canonical_kind(kind), value)),
        }
    }

    fn plain_value(&mut self) -> Result<String, DnError> {
        let start = self.at;
        let mut bytes = Vec::new();
        // White space before a separator is no part of the value, unless it is escaped.
        let mut significant = 0;
        while let Some(c) = self.peek().filter(|c| !is_separator(*c)) {
            self.value_char(&mut bytes)?;
            if !c.is_ascii_whitespace() {
                significant = bytes.len();
            }
        }
        bytes.truncate(significant);
        String::from_utf8(bytes).map_err(|_| DnError::NotUtf8 { at: start })
    }

    fn quoted_value(&mut self) -> Result<String, DnError> {
        let start = self.at;
        self.next();
        let mut bytes = Vec::new();
        while self.peek().ok_or(DnError::OpenQuote { at: start })? != '"' {
            self.value_char(&mut bytes)?;
        }
        self.next();
        String::from_utf8(bytes).map_err(|_| DnError::NotUtf8 { at: start })
    }

    /// Reads a value that is given as the hex of its BER encoding. One that is no text keeps its hex form.
    fn hex_value(&mut self) -> Result<String, DnError> {
        let at = self.at;
        self.next();
        let digits = self.take_while(|c| c.is_ascii_hexdigit());
        let bytes: Option<Vec<u8>> = digits
            .as_bytes()
            .chunks(2)
            .map(|pair| match pair {
                [high, low] => hex_byte(char::from(*high), char::from(*low)),
                _ => None,
            })
            .collect();
        let ber = bytes
            .filter(|bytes| !bytes.is_empty())
            .ok_or(DnError::Hex { at })?;
        Ok(ber_text(&ber).unwrap_or_else(|| format!("#{digits}")))
    }

    /// Moves one character of a value, or the character or byte that an escape stands for, to `bytes`.
    fn value_char(&mut self, bytes: &mut Vec<u8>) -> Result<(), DnError> {
        let at = self.at;
        let mut c = self.next();
        if c == Some('\\') {
            c = self.next();
            if !c.is_some_and(|c| " \"#+,;<=>\\".contains(c)) {
                let byte = c.zip(self.next()).and_then(|(high, low)| hex_byte(high, low));
                bytes.push(byte.ok_or(DnError::Escape { at })?);
                return Ok(());
            }
        }
        if let Some(c) = c {
            bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        }
        Ok(())
    }

    fn peek(&self) -> Option<char> {
        self.rest.clone().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.rest.next()?;
        self.at += 1;
        Some(c)
    }

    fn skip_space(&mut self) {
        self.take_while(|c| c.is_ascii_whitespace());
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let text = self.rest.as_str();
        while self.peek().is_some_and(&wanted) {
            self.next();
        }
        &text[..text.len() - self.rest.as_str().len()]
    }
}

fn is_separator(c: char) -> bool {
    matches!(c, ',' | ';' | '+')
}

fn hex_byte(high: char, low: char) -> Option<u8> {
    u8::try_from((high.to_digit(16)? << 4) | low.to_digit(16)?).ok()
}

/// The text in a BER encoded string: one byte for the type, then the length, then the content.
fn ber_text(ber: &[u8]) -> Option<String> {
    let (&tag, rest) = ber.split_first()?;
    // OCTET STRING, UTF8String, PrintableString and IA5String, the last being the type of `dc` values.
    if !matches!(tag, 0x04 | 0x0C | 0x13 | 0x16) {
        return None;
    }
    let (&short, rest) = rest.split_first()?;
    let (length, content) = match short {
        0..=0x7f => (usize::from(short), rest),
        // The low bits say how many bytes the length has. None would be the indefinite form, which strings in
        // a DN do not use, and more than four would be longer than any DN.
        0x81..=0x84 => {
            let (long, content) = rest.split_at_checked(usize::from(short & 0x7F))?;
            (
                long.iter().fold(0, |sum, byte| (sum << 8) | usize::from(*byte)),
                content,
            )
        }
        _ => return None,
    };
    if content.len() != length {
        return None;
    }
    String::from_utf8(content.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Builds a DN from RDNs, each a list of pairs.
    fn dn(rdns: &[&[(&str, &str)]]) -> Dn {
        let owned = |(kind, value): &(&str, &str)| (kind.to_string(), value.to_string());
        Dn(rdns
            .iter()
            .map(|pairs| Rdn(pairs.iter().map(owned).collect()))
            .collect())
    }

    #[test]
    fn reads_one_value() {
        for (text, kind, value) in [
            (r"OU=Sales\+Marketing\, EMEA", "ou", "Sales+Marketing, EMEA"),
            (
                r#"CN=James \"Jim\" Smith\, III"#,
                "cn",
                "James \"Jim\" Smith, III",
            ),
            (r"CN=Lu\C4\8Di\C4\87", "cn", "Lučić"),
            (r"cn=\C4\8di\c4\87", "cn", "čić"),
            (r"cn=\ \#a\=\;\<\>\\", "cn", " #a=;<>\\"),
            (r"cn=trailing\ ", "cn", "trailing "),
            (r"cn=trailing\20  ", "cn", "trailing "),
            (r"CN=Gone\0ADEL:1", "cn", "Gone\nDEL:1"),
            (" cn =  two  words ", "cn", "two  words"),
            (r#"cn="Smith, "" "#, "", ""),
            (r#"cn = "Smith, \"Jim\" + co; " "#, "cn", "Smith, \"Jim\" + co; "),
            ("cn=a=b <x> \"y\"", "cn", "a=b <x> \"y\""),
            ("cn=Zoë 東京", "cn", "Zoë 東京"),
            ("cn=", "cn", ""),
            ("cn=#04024869", "cn", "Hi"),
            ("dc=#16024869", "dc", "Hi"),
            ("cn=#0C8104C48D6921", "cn", "či!"),
            ("cn=#0402FFfe", "cn", "#0402FFfe"),
            ("cn=#0403FF", "cn", "#0403FF"),
            ("cn=#0480", "cn", "#0480"),
            ("cn=#0482", "cn", "#0482"),
            ("1.3.6.1=x", "1.3.6.1", "x"),
            ("OID.1.2=x", "oid.1.2", "x"),
            ("OID.2.5.4.11=x", "ou", "x"),
            ("0.9.2342.19200300.100.1.1=x", "uid", "x"),
        ] {
            let expected = dn(&[&[(kind, value)]]);
            match Dn::parse(text) {
                Ok(parsed) => assert_eq!(parsed, expected, "{text}"),
                Err(error) => assert_eq!((kind, error), ("", DnError::AfterValue { at: 13 }), "{text}"),
            }
        }
    }

    #[test]
    fn reads_several_levels() {
        let ann = dn(&[&[("cn", "Ann")], &[("ou", "IT")], &[("dc", "example")]]);
        for text in [
            "CN=Ann,OU=IT,DC=example",
            " cn=Ann ; ou = IT,\n dc=example ",
            "2.5.4.3=Ann,ou=\"IT\",dc=example",
        ] {
            assert_eq!(Dn::parse(text), Ok(ann.clone()), "{text}");
        }
        let many = dn(&[&[("cn", "Ann"), ("uid", "a1")], &[("o", "x")]]);
        assert_eq!(Dn::parse("cn=Ann + UID=a1,o=x"), Ok(many.clone()));
        assert_eq!(many.rdns()[0].get("Uid"), Some("a1"));
        assert_eq!(many.rdns()[0].get("o"), None);
        assert_eq!(many.rdns()[0].first(), ("cn", "Ann"));
        assert_eq!(Dn::parse(" "), Ok(Dn::default()));
    }

    #[test]
    fn says_what_is_wrong_and_where() {
        for (text, error) in [
            ("Ann", DnError::Type { at: 4 }),
            ("=Ann", DnError::Type { at: 1 }),
            ("cn=Ann,", DnError::Type { at: 8 }),
            ("cn=é,,o=x", DnError::Type { at: 6 }),
            ("cn=a\\", DnError::Escape { at: 5 }),
            (r"cn=\zz", DnError::Escape { at: 4 }),
            (r"cn=\4", DnError::Escape { at: 4 }),
            (r"o=x,cn=a\C4", DnError::NotUtf8 { at: 8 }),
            ("cn=#", DnError::Hex { at: 4 }),
            ("cn=#041", DnError::Hex { at: 4 }),
            ("cn=\"Ann", DnError::OpenQuote { at: 4 }),
            ("cn=\"Ann\" Lee", DnError::AfterValue { at: 10 }),
        ] {
            assert_eq!(Dn::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn climbs_and_descends() {
        let root = Dn::default();
        let below = root.child("DC", "org").child("ou", "A, B ");
        assert_eq!(below.to_string(), r"ou=A\, B\ ,dc=org");
        assert_eq!(below.parent(), Some(root.child("dc", "org")));
        assert_eq!(root.child("dc", "org").parent(), Some(root.clone()));
        assert_eq!(root.parent(), None);
        assert!(root.is_empty() && !below.is_empty());
    }

    #[test]
    fn normalizes() {
        let normalized = |text| Dn::parse(text).map(|dn| dn.normalized());
        assert_eq!(
            normalized(r"UID=Z+CN=ÉVA \20 \, B,O=\ X\ "),
            Ok(r"cn=éva \, b+uid=z,o=x".to_owned())
        );
        assert_ne!(normalized(r"cn=a\,o=b"), normalized("cn=a,o=b"));
        assert_ne!(normalized(r"cn=a\+o=b"), normalized("cn=a+o=b"));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            rdns in prop::collection::vec(prop::collection::vec(("[a-z][a-z0-9-]{0,8}", any::<String>()), 1..3), 0..4)
        ) {
            let dn = Dn(rdns.into_iter().map(Rdn).collect());
            prop_assert_eq!(Dn::parse(&dn.to_string()), Ok(dn.clone()));
            let normalized = dn.normalized();
            prop_assert_eq!(Dn::parse(&normalized).map(|dn| dn.normalized()), Ok(normalized));
        }

        #[test]
        fn awkward_values_are_read_back(value in "[ \t\n\\\\\"#+,;<=>a0č\0]{0,8}") {
            let dn = Dn::default().child("cn", &value);
            prop_assert_eq!(Dn::parse(&dn.to_string()), Ok(dn));
        }

        #[test]
        fn any_text_is_read_or_refused(text in any::<String>(), close in "[a=,+;\"#\\\\ 04č]{0,16}") {
            let _ = (Dn::parse(&text), Dn::parse(&close));
        }
    }
}
