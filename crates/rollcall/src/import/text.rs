//! Files as spreadsheets and other systems write them: encodings, ends of lines, what separates columns.

use std::fmt;
use std::io::{self, BufRead as _, BufReader, Read};
use std::str::FromStr;

use super::ImportError;

/// A text file without a byte-order mark, whose lines end with a line feed alone, the last one too.
pub(super) struct Text<R> {
    source: BufReader<R>,
    /// Whether the start of the file is still to come.
    at_start: bool,
    /// Whether a carriage return was read and not handed on: what follows decides about it.
    carriage_return: bool,
    /// The last byte that was handed on.
    last: u8,
}

impl<R: Read> Text<R> {
    pub(super) fn new(source: R) -> Self {
        Self {
            source: BufReader::with_capacity(1 << 16, source),
            at_start: true,
            carriage_return: false,
            last: b'\n',
        }
    }
}

impl<R: Read> Read for Text<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        if self.at_start {
            // A buffer holds more than the mark, unless the file is shorter.
            if self.source.fill_buf()?.starts_with(b"\xef\xbb\xbf") {
                self.source.consume(3);
            }
            self.at_start = false;
        }
        let mut written = 0;
        while written == 0 {
            let from = self.source.fill_buf()?;
            let Some(first) = from.first() else {
                // The end: of a carriage return that nothing follows, and of a line that does not end.
                if std::mem::take(&mut self.carriage_return) || self.last != b'\n' {
                    into[0] = b'\n';
                    self.last = b'\n';
                    return Ok(1);
                }
                return Ok(0);
            };
            if std::mem::take(&mut self.carriage_return) && *first != b'\n' {
                into[0] = b'\r';
                self.last = b'\r';
                return Ok(1);
            }
            let end = from.len().min(into.len());
            let plain = from[..end].iter().position(|byte| *byte == b'\r').unwrap_or(end);
            into[..plain].copy_from_slice(&from[..plain]);
            written = plain;
            let mut consumed = plain;
            if plain < end {
                self.carriage_return = true;
                consumed += 1;
            }
            self.source.consume(consumed);
        }
        self.last = into[written - 1];
        Ok(written)
    }
}

/// Refuses UTF-16, with and without a byte-order mark.
pub(super) fn refuse_utf16(source: impl Read) -> Result<(), ImportError> {
    let mut start = Vec::new();
    source.take(4).read_to_end(&mut start)?;
    let marked = start.starts_with(b"\xff\xfe") || start.starts_with(b"\xfe\xff");
    match marked || start.contains(&0) {
        true => Err(ImportError::Utf16),
        false => Ok(()),
    }
}

/// Refuses a file that is not UTF-8, with the first line that is not.
pub(super) fn check_utf8(source: impl Read) -> Result<(), ImportError> {
    let mut source = BufReader::with_capacity(1 << 16, source);
    let mut line = 1;
    // The start of a character whose end is in the next part.
    let mut rest: Vec<u8> = Vec::new();
    loop {
        let part = source.fill_buf()?;
        let length = part.len();
        if length == 0 {
            return match rest.is_empty() {
                true => Ok(()),
                false => Err(ImportError::NotUtf8 { line }),
            };
        }
        rest.extend_from_slice(part);
        source.consume(length);
        let breaks = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
        match std::str::from_utf8(&rest) {
            Ok(_) => {
                line += breaks(&rest);
                rest.clear();
            }
            Err(error) => {
                line += breaks(&rest[..error.valid_up_to()]);
                if error.error_len().is_some() {
                    return Err(ImportError::NotUtf8 { line });
                }
                rest.drain(..error.valid_up_to());
            }
        }
    }
}

/// What separates the columns of a CSV file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Delimiter {
    /// `,`
    #[default]
    Comma,
    /// `;`, as Excel writes where the comma belongs to numbers.
    Semicolon,
    /// A tab.
    Tab,
}

impl Delimiter {
    const ALL: [Self; 3] = [Self::Comma, Self::Semicolon, Self::Tab];

    pub(super) fn byte(self) -> u8 {
        match self {
            Self::Comma => b',',
            Self::Semicolon => b';',
            Self::Tab => b'\t',
        }
    }

    /// The one that the header has most of, outside of quotes.
    pub(super) fn of_header(source: impl Read) -> Result<Self, ImportError> {
        /// No header is longer.
        const LONGEST: u64 = 1 << 20;
        let mut header = Vec::new();
        BufReader::new(source)
            .take(LONGEST)
            .read_until(b'\n', &mut header)?;
        let mut quoted = false;
        let mut counts = [0_usize; 3];
        for byte in header {
            quoted ^= byte == b'"';
            for (count, delimiter) in counts.iter_mut().zip(Self::ALL) {
                *count += usize::from(!quoted && byte == delimiter.byte());
            }
        }
        let most = counts.iter().copied().max().unwrap_or_default();
        let found = Self::ALL
            .into_iter()
            .zip(counts)
            .find(|(_, count)| *count == most);
        Ok(found.map(|(delimiter, _)| delimiter).unwrap_or_default())
    }
}

impl FromStr for Delimiter {
    type Err = String;

    /// Reads the character or its name.
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "," | "comma" => Ok(Self::Comma),
            ";" | "semicolon" => Ok(Self::Semicolon),
            "\t" | "\\t" | "tab" => Ok(Self::Tab),
            _ => Err(format!("{text:?} is none of comma, semicolon and tab")),
        }
    }
}

impl fmt::Display for Delimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Comma => "commas",
            Self::Semicolon => "semicolons",
            Self::Tab => "tabs",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Reads through a source that brings few bytes at a time.
    struct Slow<'a>(&'a [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let length = self.1.min(into.len()).min(self.0.len());
            let (now, later) = self.0.split_at(length);
            into[..length].copy_from_slice(now);
            self.0 = later;
            Ok(length)
        }
    }

    proptest! {
        #[test]
        fn lines_end_with_a_line_feed_however_they_are_read(text in "[ab\r\n\"]{0,40}", step in 1_usize..5) {
            let mut read = String::new();
            Text::new(Slow(text.as_bytes(), step)).read_to_string(&mut read).unwrap();
            let mut expected = text.replace("\r\n", "\n");
            if expected.ends_with('\r') {
                expected.pop();
                expected.push('\n');
            } else if !expected.is_empty() && !expected.ends_with('\n') {
                expected.push('\n');
            }
            prop_assert_eq!(read, expected);
        }

        #[test]
        fn utf8_is_recognised_however_it_is_read(text in any::<String>(), step in 1_usize..5) {
            prop_assert!(check_utf8(Slow(text.as_bytes(), step)).is_ok());
            let broken = [text.as_bytes(), b"\n\xe9 \n"].concat();
            let line = 2 + text.matches('\n').count() as u64;
            match check_utf8(Slow(&broken, step)) {
                Err(ImportError::NotUtf8 { line: found }) => prop_assert_eq!(found, line),
                other => prop_assert!(false, "{:?}", other),
            }
        }
    }

    #[test]
    fn the_header_tells_what_separates_columns() {
        for (header, delimiter) in [
            ("a,b;c,d\n", Delimiter::Comma),
            ("a;\"b,c,d\";e\n1,2,3,4\n", Delimiter::Semicolon),
            ("a\tb", Delimiter::Tab),
            ("a", Delimiter::Comma),
        ] {
            assert_eq!(
                Delimiter::of_header(header.as_bytes()).unwrap(),
                delimiter,
                "{header}"
            );
        }
        assert!("x".parse::<Delimiter>().is_err());
    }
}
