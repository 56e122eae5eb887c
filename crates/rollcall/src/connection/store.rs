//! The rows of connections.

use std::collections::HashMap;

use rollcall_db::{DbError, Row, Tx, Value, params};
use rollcall_protocol::SubjectKind;
use serde_json::{Map, Value as Json, json};

use super::model::{check_mapping, check_rate};
use super::tokens::{self, ConnectionToken};
use super::{Connection, ConnectionChanges, ConnectionError, NewConnection, SOURCE_TYPE};
use crate::access::Context;
use crate::audit::{self, Target};
use crate::directory::fields::{self, fold};
use crate::directory::{self, Source, query};
use crate::id;

const COLUMNS: &str = "c.id, c.name, c.unit_id, c.takes_over, c.strict, c.disabled, c.requests_per_second, \
                       c.mapping, c.create_time, c.update_time";

/// How many columns of a connection there are.
pub(super) const COLUMN_COUNT: usize = 10;

pub(super) fn from_row(row: &Row) -> Result<Connection, DbError> {
    let id: String = row.get(0)?;
    let unreadable = |what: &str| DbError::Other(format!("the {what} of the connection {id} cannot be read"));
    let takes_over: String = row.get(3)?;
    let mapping: String = row.get(7)?;
    Ok(Connection {
        name: row.get(1)?,
        organizational_unit_id: row.get(2)?,
        takes_over: takes_over.parse().map_err(|_| unreadable("takes_over"))?,
        strict: row.get(4)?,
        disabled: row.get(5)?,
        requests_per_second: u32::try_from(row.get::<i64>(6)?).unwrap_or(u32::MAX),
        mapping: serde_json::from_str(&mapping).map_err(|_| unreadable("mapping"))?,
        create_time: row.get(8)?,
        update_time: row.get(9)?,
        tokens: Vec::new(),
        id,
    })
}

/// Reads connections with their tokens, by name.
fn load(tx: &mut Tx<'_>, condition: &str, values: &[Value<'_>]) -> Result<Vec<Connection>, DbError> {
    let sql = format!("SELECT {COLUMNS} FROM connections c {condition} ORDER BY c.name_folded");
    let rows = tx.query(&sql, values)?;
    let mut connections: Vec<Connection> = rows.iter().map(from_row).collect::<Result<_, _>>()?;
    let only = match connections.as_slice() {
        [only] => Some(only.id.as_str()),
        _ => None,
    };
    let mut by_connection: HashMap<String, Vec<ConnectionToken>> = HashMap::new();
    if !connections.is_empty() {
        for (id, token) in tokens::of(tx, only)? {
            by_connection.entry(id).or_default().push(token);
        }
    }
    for connection in &mut connections {
        connection.tokens = by_connection.remove(&connection.id).unwrap_or_default();
    }
    Ok(connections)
}

/// All connections, by name.
///
/// # Errors
/// What the database reports.
pub fn list(tx: &mut Tx<'_>) -> Result<Vec<Connection>, DbError> {
    load(tx, "", params![])
}

/// The connection that an id or a name names.
///
/// # Errors
/// [`ConnectionError::NotFound`], or what the database reports.
pub fn find(tx: &mut Tx<'_>, text: &str) -> Result<Connection, ConnectionError> {
    let mut found = load(
        tx,
        "WHERE c.id = $1 OR c.name_folded = $2",
        params![text, fold(text)],
    )?;
    // No name looks like an id.
    found
        .pop()
        .ok_or_else(|| ConnectionError::NotFound(text.to_owned()))
}

/// The names of all connections, by id.
///
/// # Errors
/// What the database reports.
pub fn names(tx: &mut Tx<'_>) -> Result<HashMap<String, String>, DbError> {
    let rows = tx.query("SELECT id, name FROM connections", params![])?;
    rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
}

/// The id and the name of the connection that has this source; `None` if it is no connection, or one that is gone.
///
/// # Errors
/// What the database reports.
pub fn of_source(tx: &mut Tx<'_>, source: &Source) -> Result<Option<(String, String)>, DbError> {
    if source.source_type != SOURCE_TYPE {
        return Ok(None);
    }
    let id = source.source_id.as_str();
    let row = tx.query_opt("SELECT id, name FROM connections WHERE id = $1", params![id])?;
    row.map(|row| Ok((row.get(0)?, row.get(1)?))).transpose()
}

/// The columns of a connection, of which [`from_row`] makes one.
pub(super) fn columns() -> &'static str {
    COLUMNS
}

/// Reads a connection that is to be changed, if it is what the caller has read.
pub(super) fn open(tx: &mut Tx<'_>, ctx: &Context<'_>, id: &str) -> Result<Connection, ConnectionError> {
    let connection = find(tx, id)?;
    match ctx.caller.expected {
        Some(expected) if expected != connection.update_time => Err(ConnectionError::Changed {
            id: connection.id,
            name: connection.name,
            expected,
            found: connection.update_time,
        }),
        _ => Ok(connection),
    }
}

/// The id of a unit that is there.
fn unit(tx: &mut Tx<'_>, text: &str) -> Result<String, ConnectionError> {
    let refuse = |reason: String| ConnectionError::invalid("organizationalUnitId", reason);
    match query::find_unit(tx, text) {
        Ok(Some(unit)) => Ok(unit.id),
        Ok(None) => Err(refuse(directory::not_found(SubjectKind::Unit, text).to_string())),
        Err(directory::DirectoryError::Database(error)) => Err(error.into()),
        Err(error) => Err(refuse(error.to_string())),
    }
}

/// Refuses a name that breaks its limits or is taken.
fn check_name(tx: &mut Tx<'_>, id: &str, name: &str) -> Result<(), ConnectionError> {
    fields::name("name", name, 64)?;
    if fold(name).starts_with("conn_") {
        return Err(ConnectionError::invalid(
            "name",
            "must not begin with conn_, as ids do",
        ));
    }
    let taken = tx.query_opt(
        "SELECT id FROM connections WHERE name_folded = $1 AND id <> $2",
        params![fold(name), id],
    )?;
    match taken {
        Some(_) => Err(ConnectionError::NameTaken(name.to_owned())),
        None => Ok(()),
    }
}

/// Writes a row by a statement whose parameters are the columns but for the time at which it was made, in the order of
/// the table.
fn store(tx: &mut Tx<'_>, connection: &Connection, sql: &str) -> Result<(), DbError> {
    tx.execute(
        sql,
        params![
            connection.id.as_str(),
            connection.name.as_str(),
            fold(&connection.name),
            connection.organizational_unit_id.as_str(),
            connection.takes_over.as_str(),
            connection.strict,
            connection.disabled,
            i64::from(connection.requests_per_second),
            json!(connection.mapping).to_string(),
            connection.update_time
        ],
    )?;
    Ok(())
}

/// What the audit log shows.
fn shown(connection: &Connection) -> Map<String, Json> {
    let mut fields = match json!(connection) {
        Json::Object(fields) => fields,
        _ => Map::new(),
    };
    for field in ["id", "createTime", "updateTime", "tokens"] {
        fields.remove(field);
    }
    fields
}

fn tell(
    tx: &mut Tx<'_>,
    ctx: &Context<'_>,
    action: &str,
    connection: &Connection,
    before: Option<Map<String, Json>>,
    after: Option<Map<String, Json>>,
) -> Result<(), DbError> {
    let target = Target::connection(&connection.id, &connection.name);
    let [before, after] = [before, after].map(|fields| fields.map(Json::Object));
    audit::record(tx, ctx, action, &target, before.as_ref(), after.as_ref())
}

pub(super) fn create(
    tx: &mut Tx<'_>,
    ctx: &Context<'_>,
    new: &NewConnection,
) -> Result<Connection, ConnectionError> {
    let NewConnection {
        name,
        organizational_unit_id,
        takes_over,
        strict,
        requests_per_second,
        mapping: differing,
    } = new.clone();
    check_name(tx, "", &name)?;
    check_mapping(&differing)?;
    check_rate(requests_per_second)?;
    let connection = Connection {
        id: id::make("conn", ctx.now, ctx.random),
        name,
        organizational_unit_id: unit(tx, &organizational_unit_id)?,
        takes_over,
        strict,
        disabled: false,
        requests_per_second,
        mapping: differing,
        create_time: ctx.now,
        update_time: ctx.now,
        tokens: Vec::new(),
    };
    store(
        tx,
        &connection,
        "INSERT INTO connections (id, name, name_folded, unit_id, takes_over, strict, disabled, requests_per_second,
                                  mapping, update_time, create_time)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10)",
    )?;
    tell(
        tx,
        ctx,
        "create_connection",
        &connection,
        None,
        Some(shown(&connection)),
    )?;
    Ok(connection)
}

pub(super) fn update(
    tx: &mut Tx<'_>,
    ctx: &Context<'_>,
    id: &str,
    changes: &ConnectionChanges,
) -> Result<Connection, ConnectionError> {
    let before = open(tx, ctx, id)?;
    let ConnectionChanges {
        name,
        organizational_unit_id,
        takes_over,
        strict,
        disabled,
        requests_per_second,
        mapping: differing,
    } = changes.clone();
    let mut after = before.clone();
    after.name = name.unwrap_or(after.name);
    if let Some(text) = organizational_unit_id {
        after.organizational_unit_id = unit(tx, &text)?;
    }
    after.takes_over = takes_over.unwrap_or(after.takes_over);
    after.strict = strict.unwrap_or(after.strict);
    after.disabled = disabled.unwrap_or(after.disabled);
    after.requests_per_second = requests_per_second.unwrap_or(after.requests_per_second);
    after.mapping = differing.unwrap_or(after.mapping);
    if after == before {
        return Ok(before);
    }
    if after.name != before.name {
        check_name(tx, id, &after.name)?;
    }
    check_mapping(&after.mapping)?;
    check_rate(after.requests_per_second)?;
    after.update_time = ctx.next_version(before.update_time);
    store(
        tx,
        &after,
        "UPDATE connections SET name = $2, name_folded = $3, unit_id = $4, takes_over = $5, strict = $6,
                                disabled = $7, requests_per_second = $8, mapping = $9, update_time = $10
         WHERE id = $1",
    )?;
    let (was, is) = audit::different(&shown(&before), &shown(&after));
    tell(tx, ctx, "update_connection", &after, Some(was), Some(is))?;
    Ok(after)
}

pub(super) fn delete(tx: &mut Tx<'_>, ctx: &Context<'_>, id: &str) -> Result<Connection, ConnectionError> {
    let connection = open(tx, ctx, id)?;
    for table in ["connection_users", "connection_tokens"] {
        tx.execute(
            &format!("DELETE FROM {table} WHERE connection_id = $1"),
            params![connection.id.as_str()],
        )?;
    }
    tx.execute(
        "DELETE FROM connections WHERE id = $1",
        params![connection.id.as_str()],
    )?;
    tell(
        tx,
        ctx,
        "delete_connection",
        &connection,
        Some(shown(&connection)),
        None,
    )?;
    Ok(connection)
}
