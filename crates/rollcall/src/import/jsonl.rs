//! JSON lines: one unit, user or group a line, in the form of [`Entry`].

use std::io::{BufRead as _, BufReader, Read};

use super::Trouble;
use super::entry::Entry;
use super::report::Remark;

/// A line that is longer is not a record of a directory.
const LONGEST_LINE: u64 = 4 << 20;

/// The lines of a file.
pub(super) struct Lines {
    source: BufReader<Box<dyn Read + Send>>,
    line: u64,
}

impl Lines {
    pub(super) fn new(source: Box<dyn Read + Send>) -> Self {
        Self {
            source: BufReader::with_capacity(1 << 16, source),
            line: 0,
        }
    }
}

impl Iterator for Lines {
    type Item = Result<Entry, Trouble>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let mut bytes = Vec::new();
            self.line += 1;
            let line = self.line;
            let read = self
                .source
                .by_ref()
                .take(LONGEST_LINE)
                .read_until(b'\n', &mut bytes);
            match read {
                Err(error) => return Some(Err(Trouble::File(error.into()))),
                Ok(0) => return None,
                Ok(_) if bytes.iter().all(u8::is_ascii_whitespace) => {}
                Ok(_) => {
                    let entry = serde_json::from_slice(&bytes).map_err(|error| {
                        Trouble::Entry(Remark::new(line, "", format!("is not an entry: {error}")))
                    });
                    return Some(entry.map(|mut entry: Entry| {
                        match &mut entry {
                            Entry::OrganizationalUnit(unit) => unit.line = line,
                            Entry::User(user) => user.line = line,
                            Entry::Group(group) => group.line = line,
                        }
                        entry
                    }));
                }
            }
        }
    }
}
