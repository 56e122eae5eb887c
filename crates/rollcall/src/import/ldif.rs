//! LDIF (RFC 2849): reading records, and writing them.
//!
//! A record is its lines up to an empty one. A line that begins with a space continues the line before it,
//! and may do so in the middle of a character, so lines are put together as bytes and decoded afterwards. A
//! record that cannot be read is an error with its line; reading goes on with the next one.

use std::io::{self, BufRead, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::dn::Dn;

/// A record that is longer is not one of a directory.
const LONGEST_RECORD: usize = 16 << 20;
/// How long a line becomes that is written.
const WIDTH: usize = 76;

/// An entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The line on which it begins; the first is 1.
    pub line: u64,
    /// Its name.
    pub dn: Dn,
    attributes: Vec<(String, Vec<u8>)>,
}

/// Why a record cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct LdifError {
    /// The line.
    pub line: u64,
    /// What is wrong with it, and what to do.
    pub message: String,
}

impl Record {
    /// The values of an attribute that are texts and not blank. The name is in lower case.
    pub fn texts(&self, name: &str) -> impl Iterator<Item = &str> {
        self.values(name)
            .filter_map(|value| std::str::from_utf8(value).ok())
            .map(str::trim)
            .filter(|text| !text.is_empty())
    }

    /// The first of [`Record::texts`].
    pub fn text(&self, name: &str) -> Option<&str> {
        self.texts(name).next()
    }

    /// The first value of an attribute, as it is.
    pub fn bytes(&self, name: &str) -> Option<&[u8]> {
        self.values(name).next()
    }

    /// Whether the entry is of an object class.
    pub fn has_class(&self, class: &str) -> bool {
        self.texts("objectclass")
            .any(|own| own.eq_ignore_ascii_case(class))
    }

    fn values(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.attributes
            .iter()
            .filter(move |(own, _)| own == name)
            .map(|(_, value)| value.as_slice())
    }
}

/// Reads records one by one.
pub struct Reader<R> {
    source: R,
    /// The number of the last line that was read.
    line: u64,
    ended: bool,
}

/// A line with those that continue it.
struct Line {
    number: u64,
    bytes: Vec<u8>,
}

impl<R: BufRead> Reader<R> {
    /// Reads from here.
    pub fn new(source: R) -> Self {
        Self {
            source,
            line: 0,
            ended: false,
        }
    }

    /// The lines of the next record, comments left out; none at the end.
    fn lines(&mut self) -> Result<Vec<Line>, LdifError> {
        let mut lines: Vec<Line> = Vec::new();
        let mut in_comment = false;
        let mut size = 0;
        let mut buffer = Vec::new();
        loop {
            buffer.clear();
            self.line += 1;
            // One byte more than a record may have tells that it has too many.
            let mut limited = io::Read::take(&mut self.source, LONGEST_RECORD as u64 + 1);
            let read = limited.read_until(b'\n', &mut buffer).map_err(|error| {
                self.ended = true;
                self.error(format!("the file cannot be read: {error}"))
            })?;
            if read == 0 {
                self.ended = true;
                return Ok(lines);
            }
            if self.line == 1 && buffer.starts_with(b"\xef\xbb\xbf") {
                buffer.drain(..3);
            }
            while matches!(buffer.last(), Some(b'\n' | b'\r')) {
                buffer.pop();
            }
            size += buffer.len();
            if size > LONGEST_RECORD {
                self.ended = true;
                return Err(self.error("the record is longer than 16 MiB; this is no LDIF file".to_owned()));
            }
            match (buffer.first(), lines.last_mut()) {
                (None, None) => in_comment = false,
                (None, Some(_)) => return Ok(lines),
                (Some(b' '), _) if in_comment => {}
                (Some(b' '), Some(last)) => last.bytes.extend_from_slice(&buffer[1..]),
                (Some(b'#'), _) => in_comment = true,
                (Some(_), _) => {
                    in_comment = false;
                    lines.push(Line {
                        number: self.line,
                        bytes: buffer.clone(),
                    });
                }
            }
        }
    }

    fn error(&self, message: String) -> LdifError {
        LdifError {
            line: self.line,
            message,
        }
    }
}

impl<R: BufRead> Iterator for Reader<R> {
    type Item = Result<Record, LdifError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.ended {
            let lines = match self.lines() {
                Ok(lines) => lines,
                Err(error) => return Some(Err(error)),
            };
            match record(&lines) {
                Ok(None) => {}
                Ok(Some(record)) => return Some(Ok(record)),
                Err(error) => return Some(Err(error)),
            }
        }
        None
    }
}

/// Makes a record of its lines; `None` if there is only a version or nothing.
fn record(lines: &[Line]) -> Result<Option<Record>, LdifError> {
    let mut attributes = Vec::with_capacity(lines.len());
    let mut name = None;
    for line in lines {
        let refuse = |message: String| LdifError {
            line: line.number,
            message,
        };
        let (attribute, value) = attribute(&line.bytes).map_err(refuse)?;
        match (attribute.as_str(), &name) {
            ("version", None) => {
                if value != b"1" {
                    return Err(refuse("only version 1 of LDIF is known".to_owned()));
                }
            }
            ("dn", None) => {
                let text =
                    std::str::from_utf8(&value).map_err(|_| refuse("the dn is not UTF-8".to_owned()))?;
                let dn = Dn::parse(text).map_err(|error| refuse(format!("dn: {error}")))?;
                name = Some((line.number, dn));
            }
            // What ldapsearch says of the search itself, without -LLL.
            ("search" | "result" | "ref", None) => return Ok(None),
            (_, None) => {
                return Err(refuse("a record begins with its dn".to_owned()));
            }
            ("dn", Some(_)) => {
                return Err(refuse(
                    "a second dn: an empty line is missing before it".to_owned(),
                ));
            }
            ("changetype", Some(_)) if value != b"add" => {
                return Err(refuse(format!(
                    "changetype {}: export entries, not changes",
                    String::from_utf8_lossy(&value)
                )));
            }
            ("changetype" | "control", Some(_)) => {}
            _ => attributes.push((attribute, value)),
        }
    }
    Ok(name.map(|(line, dn)| Record { line, dn, attributes }))
}

/// Splits a line into the attribute's name, without options and in lower case, and its value.
fn attribute(line: &[u8]) -> Result<(String, Vec<u8>), String> {
    let colon = line
        .iter()
        .position(|byte| *byte == b':')
        .ok_or("this is not of the form attribute: value")?;
    let name = std::str::from_utf8(&line[..colon]).map_err(|_| "the attribute's name is not UTF-8")?;
    let name = name.split(';').next().unwrap_or_default().trim().to_lowercase();
    if name.is_empty() {
        return Err("the attribute has no name".to_owned());
    }
    let rest = &line[colon + 1..];
    let value = match rest.first() {
        Some(b':') => {
            let text: Vec<u8> = rest[1..]
                .iter()
                .copied()
                .filter(|byte| !byte.is_ascii_whitespace())
                .collect();
            STANDARD
                .decode(text)
                .map_err(|error| format!("{name}: the value is not base64: {error}"))?
        }
        Some(b'<') => return Err(format!("{name}: values that stand in other files are not read")),
        _ => rest.trim_ascii_start().to_vec(),
    };
    Ok((name, value))
}

/// Writes records one by one.
pub struct Writer<W> {
    sink: W,
    /// Whether a record was written, so that the next one needs an empty line before it.
    begun: bool,
}

impl<W: Write> Writer<W> {
    /// Begins a file. It says no version: OpenLDAP's `slapadd` takes that for an entry, and other readers do without.
    pub fn new(sink: W) -> Self {
        Self { sink, begun: false }
    }

    /// Writes a record: its name and its attributes in order.
    ///
    /// # Errors
    /// What writing reports.
    pub fn record(&mut self, dn: &Dn, attributes: &[(&str, &str)]) -> io::Result<()> {
        if self.begun {
            self.sink.write_all(b"\n")?;
        }
        self.begun = true;
        self.line("dn", &dn.to_string())?;
        attributes
            .iter()
            .try_for_each(|(name, value)| self.line(name, value))
    }

    /// Writes what is still in memory.
    ///
    /// # Errors
    /// What writing reports.
    pub fn finish(mut self) -> io::Result<()> {
        self.sink.flush()
    }

    fn line(&mut self, name: &str, value: &str) -> io::Result<()> {
        let line = if is_safe(value) {
            format!("{name}: {value}")
        } else {
            format!("{name}:: {}", STANDARD.encode(value))
        };
        let mut rest = line.as_str();
        let mut width = WIDTH;
        // The line is ASCII, so it may be cut anywhere.
        while rest.len() > width {
            let (start, end) = rest.split_at(width);
            writeln!(self.sink, "{start}")?;
            self.sink.write_all(b" ")?;
            rest = end;
            width = WIDTH - 1;
        }
        writeln!(self.sink, "{rest}")
    }
}

/// Whether a value may stand as it is: a SAFE-STRING that does not end with a space.
fn is_safe(value: &str) -> bool {
    !value.starts_with([' ', ':', '<'])
        && !value.ends_with(' ')
        && value
            .chars()
            .all(|c| c.is_ascii() && !matches!(c, '\0' | '\n' | '\r'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &[u8]) -> Vec<Result<Record, LdifError>> {
        Reader::new(text).collect()
    }

    #[test]
    fn records_are_read_as_servers_write_them() {
        let text = b"\xef\xbb\xbfversion: 1\r\n\r\n# a comment\r\n  that goes on\r\ndn: cn=Ann Example,\r\n ou=People,dc=example\r\n\
            cn;lang-en: Ann\r\nobjectClass: inetOrgPerson\r\ndescription:: w4Q=\r\nsn: \r\n\r\n\r\n\r\ndn:: b3U9w4QsZGM9eA==\nou: \xc3\n \x84";
        let records = read(text);
        let [Ok(ann), Ok(unit)] = records.as_slice() else {
            panic!("{records:?}")
        };
        assert_eq!(ann.line, 5);
        assert_eq!(ann.dn.to_string(), "cn=Ann Example,ou=People,dc=example");
        assert_eq!(
            (ann.text("cn"), ann.text("description"), ann.text("sn")),
            (Some("Ann"), Some("Ä"), None)
        );
        assert!(ann.has_class("INETORGPERSON"));
        assert_eq!(
            (unit.dn.to_string().as_str(), unit.text("ou")),
            ("ou=Ä,dc=x", Some("Ä"))
        );
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_its_line_and_the_rest_is_read() {
        for (text, line, part) in [
            ("dn: cn=a\nno colon\n\ndn: cn=b\n", 2, "attribute: value"),
            ("dn: cn=a\njpegPhoto:< file:///x\n\ndn: cn=b\n", 2, "other files"),
            ("dn: cn=a\nchangetype: modify\n\ndn: cn=b\n", 2, "export entries"),
            ("dn: cn=a\nx:: ***\n\ndn: cn=b\n", 2, "base64"),
            ("cn: a\n\ndn: cn=b\n", 1, "begins with its dn"),
            ("dn: a\n\ndn: cn=b\n", 1, "dn:"),
            ("dn: cn=a\ndn: cn=c\n\ndn: cn=b\n", 2, "empty line"),
            ("dn: cn=a\n: x\n\ndn: cn=b\n", 2, "no name"),
        ] {
            let records = read(text.as_bytes());
            let [Err(error), Ok(next)] = records.as_slice() else {
                panic!("{text}: {records:?}")
            };
            assert_eq!(
                (error.line, next.dn.to_string().as_str()),
                (line, "cn=b"),
                "{text}"
            );
            assert!(error.message.contains(part), "{error}");
        }
        assert!(read(b"dn: cn=a\nchangetype: add\ncontrol: 1.2\n")[0].is_ok());
        let searched = read(b"dn: cn=a\n\n# search result\nsearch: 2\nresult: 0 Success\n");
        assert_eq!(searched.len(), 1);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(values in proptest::collection::vec(("[a-z][a-z0-9]{0,8}", any::<String>()), 0..6)) {
            let values: Vec<(String, String)> = values
                .into_iter()
                .filter(|(name, _)| !matches!(name.as_str(), "dn" | "version" | "changetype" | "control"))
                .collect();
            let dn = Dn::parse("ou=x,dc=y").unwrap().child("cn", "Ä \"b\", c+d");
            let mut bytes = Vec::new();
            let attributes: Vec<_> = values.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            Writer::new(&mut bytes).record(&dn, &attributes).unwrap();
            prop_assert!(bytes.split(|b| *b == b'\n').all(|line| line.len() <= WIDTH));
            let records = read(&bytes);
            prop_assert_eq!(records.len(), 1);
            let record = records[0].as_ref().unwrap();
            prop_assert_eq!(&record.dn, &dn);
            let attributes: Vec<_> = values.into_iter().map(|(n, v)| (n, v.into_bytes())).collect();
            prop_assert_eq!(&record.attributes, &attributes);
        }

        #[test]
        fn nothing_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            read(&bytes);
        }
    }
}
