//! CSV import.
//!
//! The first line names the columns, in any order:
//!
//! | column | meaning |
//! |---|---|
//! | `username` | required; finds the user again at the next import |
//! | `display_name` | required |
//! | `path` | required: the primary organizational unit from below the root, `Engineering/Optics`; units that are missing are made; empty is the root |
//! | `email`, `phone_region`, `phone_number`, `external_id`, `description` | an empty cell empties the field |
//! | `further_paths` | further units, separated by `;` |
//! | `groups` | groups that the user is added to, separated by `;`; groups that are missing are made; other memberships stay |
//! | `status` | `enabled` or `disabled` |
//!
//! A column that is left out leaves its field alone. Each row is applied for itself: one that is refused
//! is reported with its line, and the rest is imported. Importing the same file again changes nothing.

use std::collections::HashSet;
use std::io::Read;

use rollcall_db::Tx;
use serde::Serialize;

use crate::directory::{Command, DirectoryError, NewGroup, NewUnit, NewUser, UserChanges, query};
use crate::hub::Hub;
use crate::id::ROOT_UNIT;

const COLUMNS: [&str; 11] = [
    "username",
    "display_name",
    "email",
    "phone_region",
    "phone_number",
    "path",
    "further_paths",
    "groups",
    "external_id",
    "status",
    "description",
];
const REQUIRED: [&str; 3] = ["username", "display_name", "path"];

/// How many rows are on their way at once. Each is a transaction of its own that shares its commit.
const AT_ONCE: usize = 256;

/// Why a file cannot be imported at all.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// A column that nobody knows.
    #[error("unknown column {0:?}; the columns are {columns}", columns = COLUMNS.join(", "))]
    UnknownColumn(String),
    /// A column that must be there.
    #[error("the column {0:?} is missing")]
    MissingColumn(&'static str),
    /// The file cannot be read.
    #[error("the file cannot be read: {0}")]
    Csv(#[from] csv::Error),
}

/// A row that was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RowError {
    /// The line in the file; the first is 1.
    pub line: u64,
    /// Why, and what to do.
    pub message: String,
}

/// What an import did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ImportReport {
    /// Users made.
    pub created: u64,
    /// Users changed.
    pub updated: u64,
    /// Users that were so already.
    pub unchanged: u64,
    /// Units made.
    pub units_created: u64,
    /// Groups made.
    pub groups_created: u64,
    /// Rows that were refused.
    pub errors: Vec<RowError>,
}

#[derive(Clone, Debug, Default)]
struct Row {
    username: String,
    display_name: String,
    path: String,
    email: Option<String>,
    phone_region: Option<String>,
    phone_number: Option<String>,
    external_id: Option<String>,
    description: Option<String>,
    further_paths: Option<String>,
    groups: String,
    status: Option<String>,
    columns: HashSet<&'static str>,
}

#[derive(Clone, Copy, Debug, Default)]
struct RowReport {
    created: bool,
    changes: usize,
    units_created: u64,
    groups_created: u64,
}

/// Imports a CSV file. `progress` is called with the number of rows done.
///
/// # Errors
/// [`ImportError`] if the file is not such a file; rows that are refused are in the report.
pub async fn import_csv(
    hub: &Hub,
    actor: &str,
    source: impl Read,
    mut progress: impl FnMut(u64),
) -> Result<ImportReport, ImportError> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(source);
    let columns = columns(reader.headers()?)?;
    let mut report = ImportReport::default();
    let mut records = reader.records();
    let mut done = 0;
    loop {
        let mut waiting = Vec::with_capacity(AT_ONCE);
        for record in records.by_ref().take(AT_ONCE) {
            let record = record?;
            let line = record.position().map_or(0, csv::Position::line);
            let row = parse(&columns, &record);
            let (hub_too, actor) = (hub.clone(), actor.to_owned());
            waiting.push((
                line,
                hub.db.write(move |tx| apply_row(&hub_too, tx, &actor, &row)),
            ));
        }
        if waiting.is_empty() {
            return Ok(report);
        }
        for (line, row) in waiting {
            match row.await {
                Ok(row) => {
                    match (row.created, row.changes) {
                        (true, _) => report.created += 1,
                        (false, 0) => report.unchanged += 1,
                        (false, _) => report.updated += 1,
                    }
                    report.units_created += row.units_created;
                    report.groups_created += row.groups_created;
                }
                Err(error) => report.errors.push(RowError {
                    line,
                    message: error.to_string(),
                }),
            }
            done += 1;
        }
        progress(done);
    }
}

fn columns(headers: &csv::StringRecord) -> Result<Vec<&'static str>, ImportError> {
    let found = headers
        .iter()
        .map(|name| {
            COLUMNS
                .into_iter()
                .find(|column| *column == name.trim_start_matches('\u{feff}'))
                .ok_or_else(|| ImportError::UnknownColumn(name.to_owned()))
        })
        .collect::<Result<Vec<_>, _>>()?;
    match REQUIRED.into_iter().find(|required| !found.contains(required)) {
        Some(missing) => Err(ImportError::MissingColumn(missing)),
        None => Ok(found),
    }
}

fn parse(columns: &[&'static str], record: &csv::StringRecord) -> Row {
    let mut row = Row {
        columns: columns.iter().copied().collect(),
        ..Row::default()
    };
    for (column, cell) in columns.iter().zip(record.iter()) {
        let text = || Some(cell.to_owned()).filter(|text| !text.is_empty());
        match *column {
            "username" => cell.clone_into(&mut row.username),
            "display_name" => cell.clone_into(&mut row.display_name),
            "path" => cell.clone_into(&mut row.path),
            "email" => row.email = text(),
            "phone_region" => row.phone_region = text(),
            "phone_number" => row.phone_number = text(),
            "external_id" => row.external_id = text(),
            "description" => row.description = text(),
            "further_paths" => row.further_paths = Some(cell.to_owned()),
            "groups" => cell.clone_into(&mut row.groups),
            _ => row.status = text(),
        }
    }
    row
}

fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(';').map(str::trim).filter(|item| !item.is_empty())
}

fn apply_row(hub: &Hub, tx: &mut Tx<'_>, actor: &str, row: &Row) -> Result<RowReport, DirectoryError> {
    let mut report = RowReport::default();
    let disabled = match row.status.as_deref() {
        None | Some("enabled") => false,
        Some("disabled") => true,
        Some(other) => {
            let reason = format!("{other:?} is neither enabled nor disabled");
            return Err(DirectoryError::InvalidField {
                field: "status",
                reason,
            });
        }
    };
    let primary = ensure_unit(hub, tx, actor, &row.path, &mut report)?;
    let mut further = Vec::new();
    for path in row.further_paths.iter().flat_map(|paths| list(paths)) {
        further.push(ensure_unit(hub, tx, actor, path, &mut report)?);
    }
    let user_id = match query::user_by_username(tx, &row.username)? {
        None => {
            report.created = true;
            let new = NewUser {
                username: row.username.clone(),
                display_name: row.display_name.clone(),
                primary_organizational_unit_id: primary,
                organizational_unit_ids: further,
                email: row.email.clone(),
                phone_region: row.phone_region.clone(),
                phone_number: row.phone_number.clone(),
                description: row.description.clone(),
                external_id: row.external_id.clone(),
                disabled,
                ..NewUser::default()
            };
            hub.apply_in(tx, actor, &Command::CreateUser(new))?.id
        }
        Some(user) => {
            let given =
                |column: &str, value: &Option<String>| row.columns.contains(column).then(|| value.clone());
            let changes = UserChanges {
                display_name: Some(row.display_name.clone()),
                email: given("email", &row.email),
                phone_region: given("phone_region", &row.phone_region),
                phone_number: given("phone_number", &row.phone_number),
                description: given("description", &row.description),
                external_id: given("external_id", &row.external_id),
                ..UserChanges::default()
            };
            let id = user.id.clone();
            let further = if row.further_paths.is_some() {
                further
            } else {
                user.unit_ids().into_iter().skip(1).collect()
            };
            let mut commands = vec![
                Command::UpdateUser {
                    id: id.clone(),
                    changes,
                },
                Command::SetUnits {
                    id: id.clone(),
                    primary,
                    further,
                },
            ];
            if row.status.is_some() {
                let id = id.clone();
                commands.push(if disabled {
                    Command::DisableUser { id }
                } else {
                    Command::EnableUser { id }
                });
            }
            for command in commands {
                report.changes += hub.apply_in(tx, actor, &command)?.changes;
            }
            id
        }
    };
    for name in list(&row.groups) {
        let group_id = match query::find_group(tx, name)? {
            Some(group) => group.id,
            None => {
                report.groups_created += 1;
                let new = NewGroup {
                    name: name.to_owned(),
                    ..NewGroup::default()
                };
                hub.apply_in(tx, actor, &Command::CreateGroup(new))?.id
            }
        };
        let command = Command::AddMembers {
            group_id,
            user_ids: vec![user_id.clone()],
        };
        report.changes += hub.apply_in(tx, actor, &command)?.changes;
    }
    Ok(report)
}

fn ensure_unit(
    hub: &Hub,
    tx: &mut Tx<'_>,
    actor: &str,
    path: &str,
    report: &mut RowReport,
) -> Result<String, DirectoryError> {
    let mut parent_id = ROOT_UNIT.to_owned();
    for name in path.split('/').map(str::trim).filter(|name| !name.is_empty()) {
        parent_id = match query::unit_below(tx, &parent_id, name)? {
            Some(id) => id,
            None => {
                report.units_created += 1;
                let new = NewUnit {
                    name: name.to_owned(),
                    parent_id,
                    ..NewUnit::default()
                };
                hub.apply_in(tx, actor, &Command::CreateUnit(new))?.id
            }
        };
    }
    Ok(parent_id)
}
