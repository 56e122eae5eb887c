//! CSV: one line for each user, with a header that names the columns. What separates them is told from the header.

use std::io::Read;

use super::entry::UserEntry;
use super::mapping::{FIELDS, Mapping};
use super::report::Remark;
use super::{Delimiter, ImportError, Trouble, fields};
use crate::directory::path;

const REQUIRED: [&str; 3] = ["username", "display_name", "path"];

/// What a column holds: a field, or nothing of interest.
type Column = Option<String>;

/// The users of a CSV file.
pub(super) struct Users {
    columns: Vec<Column>,
    reader: ::csv::Reader<Box<dyn Read + Send>>,
    record: ::csv::StringRecord,
}

impl Users {
    /// Reads the header.
    ///
    /// # Errors
    /// [`ImportError`] if it is not the header of such a file.
    pub(super) fn open(
        source: Box<dyn Read + Send>,
        mapping: &Mapping,
        delimiter: Delimiter,
    ) -> Result<Self, ImportError> {
        let mut reader = ::csv::ReaderBuilder::new()
            .delimiter(delimiter.byte())
            .flexible(true)
            .from_reader(source);
        let columns = columns(reader.headers()?, mapping, delimiter)?;
        Ok(Self {
            columns,
            reader,
            record: ::csv::StringRecord::new(),
        })
    }
}

impl Iterator for Users {
    type Item = Result<UserEntry, Trouble>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.reader.read_record(&mut self.record) {
            Ok(true) => {}
            Ok(false) => return None,
            Err(error) => return Some(Err(Trouble::File(error.into()))),
        }
        // Where a record begins, the library tells only if no empty lines stand before it; where it ends, always.
        let breaks = self
            .record
            .iter()
            .map(|cell| cell.matches('\n').count())
            .sum::<usize>();
        let line = self.reader.position().line().saturating_sub(1 + breaks as u64);
        let refuse =
            |subject: &str, message: String| Some(Err(Trouble::Entry(Remark::new(line, subject, message))));
        if self.record.len() != self.columns.len() {
            return refuse(
                "",
                format!(
                    "has {} cells where the header has {}",
                    self.record.len(),
                    self.columns.len()
                ),
            );
        }
        let mut user = UserEntry {
            line,
            ..UserEntry::default()
        };
        match fill(&mut user, &self.columns, &self.record) {
            Ok(()) => Some(Ok(user)),
            Err(message) => refuse(&user.username, message),
        }
    }
}

fn columns(
    headers: &::csv::StringRecord,
    mapping: &Mapping,
    delimiter: Delimiter,
) -> Result<Vec<Column>, ImportError> {
    let found = headers
        .iter()
        .map(|name| {
            let name = name.trim();
            if let Some(field) = mapping.field_of(name) {
                return Ok(Some(field.to_owned()));
            }
            let own = FIELDS.contains(&name) || name.starts_with("custom.");
            match own && mapping.given(name).is_none() {
                true => Ok(Some(name.to_owned())),
                // Whoever maps columns has looked at them; without that, an unknown one is a slip.
                false if mapping.is_empty() => Err(ImportError::UnknownColumn {
                    name: name.to_owned(),
                    delimiter,
                }),
                false => Ok(None),
            }
        })
        .collect::<Result<Vec<Column>, _>>()?;
    let has = |field: &str| found.iter().flatten().any(|column| column == field);
    match REQUIRED.into_iter().find(|required| !has(required)) {
        Some(name) => Err(ImportError::MissingColumn { name, delimiter }),
        None => Ok(found),
    }
}

fn fill(user: &mut UserEntry, columns: &[Column], record: &::csv::StringRecord) -> Result<(), String> {
    for (column, cell) in columns.iter().zip(record.iter()) {
        let Some(column) = column else { continue };
        let cell = cell.trim();
        let text = || Some(Some(cell.to_owned()).filter(|text| !text.is_empty()));
        match column.as_str() {
            "username" => cell.clone_into(&mut user.username),
            "display_name" => cell.clone_into(&mut user.display_name),
            "path" => user.path = path::split(cell),
            "further_paths" => {
                user.further_paths = Some(
                    path::split_list(cell)
                        .iter()
                        .map(|path| path::split(path))
                        .collect(),
                );
            }
            "groups" => {
                user.groups = path::split_list(cell)
                    .iter()
                    .map(|name| path::unescape(name))
                    .collect()
            }
            "email" => user.email = text(),
            "phone" => {
                // A number that does not say its country is passed over later, as any other that cannot be one.
                let (region, number) = match fields::phone(cell) {
                    Ok((region, number)) => (Some(region), Some(number)),
                    Err(_) => (None, Some(cell.to_owned()).filter(|cell| !cell.is_empty())),
                };
                user.phone_region = Some(region);
                user.phone_number = Some(number);
            }
            "phone_region" => user.phone_region = text(),
            "phone_number" => user.phone_number = text(),
            "external_id" => user.external_id = text(),
            "description" => user.description = text(),
            "status" => user.enabled = fields::status(cell)?,
            "expires" => user.account_expire_time = Some(fields::expires(cell)?),
            other => {
                if let Some(name) = other.strip_prefix("custom.") {
                    user.custom_fields.insert(name.to_owned(), text().flatten());
                }
            }
        }
    }
    Ok(())
}
