//! CSV: one line for each user, with a header that names the columns.

use std::collections::BTreeMap;
use std::io::Read;

use super::entry::UserEntry;
use super::mapping::{FIELDS, Mapping};
use super::{ImportError, RowError, Trouble, fields};
use crate::directory::path;

const REQUIRED: [&str; 3] = ["username", "display_name", "path"];

/// What a column holds: a field, or nothing of interest.
type Column = Option<String>;

/// The users of a CSV file.
pub(super) struct Users {
    columns: Vec<Column>,
    records: ::csv::ByteRecordsIntoIter<Box<dyn Read + Send>>,
}

impl Users {
    /// Reads the header.
    ///
    /// # Errors
    /// [`ImportError`] if it is not the header of such a file.
    pub(super) fn open(source: Box<dyn Read + Send>, mapping: &Mapping) -> Result<Self, ImportError> {
        let mut reader = ::csv::ReaderBuilder::new()
            .trim(::csv::Trim::All)
            .flexible(true)
            .from_reader(source);
        let columns = columns(reader.headers()?, mapping)?;
        Ok(Self {
            columns,
            records: reader.into_byte_records(),
        })
    }
}

impl Iterator for Users {
    type Item = Result<UserEntry, Trouble>;

    fn next(&mut self) -> Option<Self::Item> {
        let record = match self.records.next()? {
            Ok(record) => record,
            Err(error) => return Some(Err(Trouble::File(error.into()))),
        };
        let line = record.position().map_or(0, ::csv::Position::line);
        let refuse = |message: String| Some(Err(Trouble::Entry(RowError { line, message })));
        if record.len() != self.columns.len() {
            return refuse(format!(
                "has {} cells where the header has {}",
                record.len(),
                self.columns.len()
            ));
        }
        match ::csv::StringRecord::from_byte_record(record) {
            Err(_) => refuse("is not UTF-8; convert the file, for example with iconv".to_owned()),
            Ok(record) => match entry(&self.columns, &record, line) {
                Ok(entry) => Some(Ok(entry)),
                Err(message) => refuse(message),
            },
        }
    }
}

fn columns(headers: &::csv::StringRecord, mapping: &Mapping) -> Result<Vec<Column>, ImportError> {
    let found = headers
        .iter()
        .map(|name| {
            let name = name.trim_start_matches('\u{feff}');
            if let Some(field) = mapping.field_of(name) {
                return Ok(Some(field.to_owned()));
            }
            let own = FIELDS.contains(&name) || name.starts_with("custom.");
            match own && mapping.given(name).is_none() {
                true => Ok(Some(name.to_owned())),
                // Whoever maps columns has looked at them; without that, an unknown one is a slip.
                false if mapping.is_empty() => Err(ImportError::UnknownColumn(name.to_owned())),
                false => Ok(None),
            }
        })
        .collect::<Result<Vec<Column>, _>>()?;
    let has = |field: &str| found.iter().flatten().any(|column| column == field);
    match REQUIRED.into_iter().find(|required| !has(required)) {
        Some(missing) => Err(ImportError::MissingColumn(missing)),
        None => Ok(found),
    }
}

fn entry(columns: &[Column], record: &::csv::StringRecord, line: u64) -> Result<UserEntry, String> {
    let mut user = UserEntry {
        line,
        ..UserEntry::default()
    };
    let mut custom: Option<BTreeMap<String, String>> = None;
    for (column, cell) in columns.iter().zip(record.iter()) {
        let Some(column) = column else { continue };
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
                let phone = if cell.is_empty() {
                    None
                } else {
                    Some(fields::phone(cell)?)
                };
                user.phone_region = Some(phone.as_ref().map(|(region, _)| region.clone()));
                user.phone_number = Some(phone.map(|(_, number)| number));
            }
            "phone_region" => user.phone_region = text(),
            "phone_number" => user.phone_number = text(),
            "external_id" => user.external_id = text(),
            "description" => user.description = text(),
            "status" => user.enabled = fields::status(cell)?,
            "expires" => user.account_expire_time = Some(fields::expires(cell)?),
            other => {
                let fields = custom.get_or_insert_default();
                if let Some(name) = other.strip_prefix("custom.").filter(|_| !cell.is_empty()) {
                    fields.insert(name.to_owned(), cell.to_owned());
                }
            }
        }
    }
    user.custom_fields = custom;
    Ok(user)
}
