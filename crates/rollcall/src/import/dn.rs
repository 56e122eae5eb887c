//! Distinguished names (DNs) in the text form of RFC 4514.
//!
//! A DN is a path from an entry up to the root of a directory: `cn=Ann,ou=Sales,dc=example,dc=org` is a list
//! of relative names (RDNs), the most specific first, and an RDN is one or more `type=value` pairs joined by
//! `+`. [`Dn::parse`] is a recursive descent over the grammar of RFC 4514 section 3. A value is gathered as
//! bytes rather than as characters, because a character may be spelled as several escaped bytes: `\C4\8D`.
//!
//! Directories still hold names in older spellings, so the reader takes more than the writer makes: `;` as a
//! separator and white space around separators (RFC 2253), quoted values and types that begin with `oid.`
//! (RFC 1779), and, where they are not ambiguous, `<`, `>` and `"` without a backslash.
//!
//! `==` compares names as they were given, [`Dn::normalized`] is for whether they name the same entry.

use std::fmt::{self, Display, Formatter, Write};
use std::str::Chars;

use thiserror::Error;

use crate::directory::fields::fold;

/// Why a text is not a distinguished name: what is wrong with it, in words for the person who wrote it, and
/// at which of its characters, counted from 1.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}, at character {1}")]
pub struct DnError(pub &'static str, pub usize);

/// A distinguished name: its RDNs, the most specific first. The empty one names the root of the directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dn(Vec<Rdn>);

impl Dn {
    /// Reads a DN from its text.
    pub fn parse(text: &str) -> Result<Dn, DnError> {
        if text.trim_ascii().is_empty() {
            return Ok(Dn::default());
        }
        let (rest, at) = (text.chars(), 1);
        Parser { rest, at }.dn()
    }

    /// The relative names, the most specific first.
    pub fn rdns(&self) -> &[Rdn] {
        &self.0
    }

    /// The DN one level up, or nothing for the root.
    pub fn parent(&self) -> Option<Dn> {
        self.0.split_first().map(|(_, above)| Dn(above.to_vec()))
    }

    /// The DN one level below this one, with the RDN `kind=value`. The value is plain text, not escaped.
    pub fn child(&self, kind: &str, value: &str) -> Dn {
        let rdn = Rdn(vec![(canonical_kind(kind), value.to_owned())]);
        Dn(std::iter::once(rdn).chain(self.0.iter().cloned()).collect())
    }

    /// Whether this is the empty DN, the root.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The names from the entry that stands `rdns` below the root up to it, or all of them if there are fewer.
    pub fn base(&self, rdns: usize) -> Dn {
        Dn(self.0[self.0.len().saturating_sub(rdns)..].to_vec())
    }

    /// The naming context: the `dc`, `o` and `c` at the top, which say whose directory it is.
    pub fn context(&self) -> Dn {
        let of_context = |rdn: &&Rdn| matches!(rdn.first().0, "dc" | "o" | "c");
        self.base(self.0.iter().rev().take_while(of_context).count())
    }

    /// A text that is the same for DNs that differ only in case, in the amount of white space inside or
    /// around values, in the order of the pairs of an RDN or in spelling, and different for all others.
    ///
    /// This is how the matching rules of most naming attributes compare; texts are folded as the directory
    /// folds names.
    pub fn normalized(&self) -> String {
        let mut dn = self.clone();
        for Rdn(pairs) in &mut dn.0 {
            for (_, value) in pairs.iter_mut() {
                let folded = fold(value);
                *value = folded.split_whitespace().collect::<Vec<_>>().join(" ");
            }
            pairs.sort();
        }
        dn.to_string()
    }
}

impl Display for Dn {
    /// Writes the DN as RFC 4514 has it, with no more escapes than keep it unambiguous and on one line.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for rdn in &self.0 {
            for (kind, value) in rdn.pairs() {
                write!(f, "{separator}{kind}=")?;
                write_escaped(f, value)?;
                separator = "+";
            }
            separator = ",";
        }
        Ok(())
    }
}

/// One level of a DN: one or more pairs of an attribute type, in lower case, and a value without escapes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rdn(Vec<(String, String)>);

impl Rdn {
    /// The value of the first pair of this attribute type, in whatever case the type is given.
    pub fn get(&self, kind: &str) -> Option<&str> {
        Some(self.pairs().find(|(own, _)| own.eq_ignore_ascii_case(kind))?.1)
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

/// Writes a value so that the parser reads the same one back (RFC 4514 section 2.4).
fn write_escaped(f: &mut Formatter<'_>, value: &str) -> fmt::Result {
    let last = value.chars().count().saturating_sub(1);
    for (index, c) in value.chars().enumerate() {
        match c {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => write!(f, "\\{c}")?,
            ' ' if index == 0 || index == last => f.write_str("\\ ")?,
            '#' if index == 0 => f.write_str("\\#")?,
            // Only NUL has to be escaped, but a line break would tear apart a log line or a list of DNs.
            _ if c.is_ascii_control() => write!(f, "\\{:02X}", u32::from(c))?,
            _ => f.write_char(c)?,
        }
    }
    Ok(())
}

/// The one spelling of an attribute type: in lower case, and by name if it is the OID of a common type.
fn canonical_kind(kind: &str) -> String {
    let kind = kind.to_ascii_lowercase();
    let name = match kind.strip_prefix("oid.").unwrap_or(&kind) {
        "2.5.4.3" => "cn",
        "2.5.4.10" => "o",
        "2.5.4.11" => "ou",
        "0.9.2342.19200300.100.1.1" => "uid",
        "0.9.2342.19200300.100.1.25" => "dc",
        _ => &kind,
    };
    name.to_owned()
}

/// A position in the text of a DN.
struct Parser<'a> {
    rest: Chars<'a>,
    /// The number of the next character, for error messages.
    at: usize,
}

impl<'a> Parser<'a> {
    fn dn(&mut self) -> Result<Dn, DnError> {
        let mut rdns = vec![Rdn(vec![self.pair()?])];
        // A pair ends before a separator or at the end.
        while let Some(separator) = self.next() {
            let pair = self.pair()?;
            match rdns.last_mut() {
                Some(Rdn(pairs)) if separator == '+' => pairs.push(pair),
                _ => rdns.push(Rdn(vec![pair])),
            }
        }
        Ok(Dn(rdns))
    }

    fn pair(&mut self) -> Result<(String, String), DnError> {
        self.skip_space();
        // The underscore is not in the grammar, but old schemas use it.
        let kind = self.take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_'));
        self.skip_space();
        if kind.is_empty() || self.peek() != Some('=') {
            return Err(DnError("an attribute type and '=' are expected", self.at));
        }
        self.next();
        self.skip_space();
        let hex = self.peek() == Some('#');
        let value = if hex { self.hex()? } else { self.text()? };
        self.skip_space();
        match self.peek() {
            Some(c) if !is_separator(c) => Err(DnError("only ',', ';' or '+' may follow", self.at)),
            _ => Ok((canonical_kind(kind), value)),
        }
    }

    /// Reads a value that is written out, perhaps in quotes.
    fn text(&mut self) -> Result<String, DnError> {
        let start = self.at;
        let quoted = self.peek() == Some('"');
        if quoted {
            self.next();
        }
        let is_end = |c| if quoted { c == '"' } else { is_separator(c) };
        let mut bytes = Vec::new();
        // White space before a separator is no part of the value, unless it is escaped or quoted.
        let mut significant = 0;
        while let Some(c) = self.peek().filter(|c| !is_end(*c)) {
            self.value_char(&mut bytes)?;
            if quoted || !c.is_ascii_whitespace() {
                significant = bytes.len();
            }
        }
        if quoted && self.next().is_none() {
            return Err(DnError("the quote is never closed", start));
        }
        bytes.truncate(significant);
        String::from_utf8(bytes).map_err(|_| DnError("the escapes do not make UTF-8 text", start))
    }

    /// Reads a value that is given as the hex of its BER encoding. One that is no text keeps its hex form.
    fn hex(&mut self) -> Result<String, DnError> {
        let at = self.at;
        self.next();
        let digits = self.take_while(|c| c.is_ascii_hexdigit());
        let byte = |at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
        let ber: Option<Vec<u8>> = (0..digits.len()).step_by(2).map(byte).collect();
        let ber = ber.filter(|ber| !ber.is_empty());
        let ber = ber.ok_or(DnError("'#' needs pairs of hex digits after it", at))?;
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
                let problem = "'\\' needs a special character or two hex digits after it";
                bytes.push(byte.ok_or(DnError(problem, at))?);
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
    // OCTET STRING, UTF8String, PrintableString and IA5String, the last being the type of `dc` values.
    let [0x04 | 0x0C | 0x13 | 0x16, rest @ ..] = ber else {
        return None;
    };
    // A length below 128 is one byte. A longer one has a byte before it that counts its bytes.
    let (length, content) = match rest {
        [length @ ..=0x7F, content @ ..] | [0x81, length, content @ ..] => (u16::from(*length), content),
        [0x82, high, low, content @ ..] => (u16::from_be_bytes([*high, *low]), content),
        _ => return None,
    };
    let text = str::from_utf8(content).ok()?;
    (content.len() == usize::from(length)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_values() {
        for (text, pair) in [
            (r"OU=Sales\+Marketing\, EMEA", "ou=Sales+Marketing, EMEA"),
            (r#"CN=James \"Jim\" Smith\, III"#, r#"cn=James "Jim" Smith, III"#),
            (r"cn=\C4\8Di\c4\87", "cn=čić"),
            (r"cn=\ \#a\=\;\<\>\\", r"cn= #a=;<>\"),
            (r"cn=trailing\ ", "cn=trailing "),
            (r"cn=trailing\20  ", "cn=trailing "),
            (r"CN=Gone\0ADEL:1", "cn=Gone\nDEL:1"),
            (" cn =  two  words ", "cn=two  words"),
            (r#"cn = "Smith, \"Jim\" + co; " "#, r#"cn=Smith, "Jim" + co; "#),
            (r#"cn=a=b <x> "y" 東京"#, r#"cn=a=b <x> "y" 東京"#),
            ("cn=", "cn="),
            ("dc=#16024869", "dc=Hi"),
            ("cn=#0C8104C48D6921", "cn=či!"),
            ("cn=#048200024869", "cn=Hi"),
            ("cn=#0402FFfe", "cn=#0402FFfe"),
            ("cn=#0403FF", "cn=#0403FF"),
            ("1.3.6.1=x", "1.3.6.1=x"),
            ("OID.1.2=x", "oid.1.2=x"),
            ("OID.2.5.4.11=x", "ou=x"),
            ("0.9.2342.19200300.100.1.1=x", "uid=x"),
        ] {
            let parsed = Dn::parse(text).unwrap_or_default();
            let firsts = parsed.rdns().iter().map(Rdn::first);
            assert!(firsts.eq(pair.split_once('=')), "{text}: {parsed:?}");
        }
    }

    #[test]
    fn reads_levels() {
        let ann = Dn::default().child("ou", "IT").child("cn", "Ann");
        for text in ["CN=Ann,OU=IT", " cn=Ann ;\n ou = IT ", "2.5.4.3=Ann,ou=\"IT\""] {
            assert_eq!(Dn::parse(text), Ok(ann.clone()), "{text}");
        }
        let many = Dn::parse("cn=Ann + UID=a1,o=x").unwrap_or_default();
        assert_eq!(many.parent(), Some(Dn::default().child("o", "x")));
        assert!(many.0[0].pairs().eq([("cn", "Ann"), ("uid", "a1")]));
        assert_eq!((many.0[0].get("Uid"), many.0[0].get("o")), (Some("a1"), None));
        assert_eq!(Dn::parse(" "), Ok(Dn::default()));
    }

    #[test]
    fn says_what_is_wrong_and_where() {
        for (text, at, problem) in [
            ("Ann", 4, "attribute type"),
            ("=Ann", 1, "attribute type"),
            ("cn=Ann,", 8, "attribute type"),
            ("cn=é,,o=x", 6, "attribute type"),
            ("cn=a\\", 5, "two hex digits"),
            (r"cn=\zz", 4, "two hex digits"),
            (r"cn=\4", 4, "two hex digits"),
            (r"o=x,cn=a\C4", 8, "UTF-8"),
            ("cn=#", 4, "pairs of hex digits"),
            ("cn=#041", 4, "pairs of hex digits"),
            ("cn=\"Ann", 4, "never closed"),
            ("cn=\"Ann\" Lee", 10, "may follow"),
        ] {
            let error = Dn::parse(text).err();
            let told = error.as_ref().map(|e| (e.0.contains(problem), e.1));
            assert_eq!(told, Some((true, at)), "{text}: {error:?}");
        }
    }

    #[test]
    fn climbs_and_descends() {
        let root = Dn::default();
        let below = root.child("DC", "org").child("ou", "A, B ");
        assert_eq!(below.to_string(), r"ou=A\, B\ ,dc=org");
        assert_eq!(below.parent(), Some(root.child("dc", "org")));
        assert_eq!(root.child("dc", "org").parent().map(|dn| dn.parent()), Some(None));
        assert!(root.is_empty() && !below.is_empty());
    }

    #[test]
    fn normalizes() {
        let normalized = |text| Dn::parse(text).map_or_else(|e| e.to_string(), |dn| dn.normalized());
        let name = normalized(r"UID=Z+CN=ÉVA \20 \, B,O=\ X\ ");
        assert_eq!(name, r"cn=éva \, b+uid=z,o=x");
        assert_ne!(normalized(r"cn=a\,o=b"), normalized("cn=a,o=b"));
        assert_ne!(normalized(r"cn=a\+o=b"), normalized("cn=a+o=b"));
    }

    /// Any text, or one that is dense with the characters that mean something in a DN.
    fn text() -> impl Strategy<Value = String> {
        prop_oneof![any::<String>(), "[ \t\n\\\\\"#+,;<=>a0č\0]{0,12}"]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(rdns in vec(vec(("[a-z][a-z0-9-]{0,8}", text()), 1..3), 0..4)) {
            let dn = Dn(rdns.into_iter().map(Rdn).collect());
            prop_assert_eq!(Dn::parse(&dn.to_string()), Ok(dn.clone()));
            let normalized = dn.normalized();
            prop_assert_eq!(Dn::parse(&normalized).map(|dn| dn.normalized()), Ok(normalized));
        }

        #[test]
        fn any_text_is_read_or_refused(text in text()) {
            let _ = Dn::parse(&text);
        }
    }
}
