//! What PostgreSQL's SQLSTATEs mean to a caller.

use std::error::Error as _;

use tokio_postgres::Error;
use tokio_postgres::error::DbError as Refusal;

use crate::DbError;
use crate::error::with_causes;

/// What an error on an open connection means. [`DbError::Unavailable`] is what may go away by itself,
/// on a new connection.
pub(super) fn typed(error: &Error) -> DbError {
    if let Some(refusal) = error.as_db_error() {
        return refused(refusal);
    }
    let broken = error.is_closed() || error.source().is_some_and(|it| it.is::<std::io::Error>());
    if broken {
        DbError::away(with_causes(error))
    } else {
        DbError::Statement {
            code: None,
            message: with_causes(error),
        }
    }
}

fn refused(refusal: &Refusal) -> DbError {
    let message = refusal.message().to_owned();
    let sqlstate = refusal.code().code();
    let code = Some(sqlstate.to_owned());
    match sqlstate {
        "23505" => {
            let columns = refusal.table().zip(refusal.detail().and_then(key_columns));
            let columns = columns.map(|(table, columns)| qualified(table, columns));
            DbError::Unique {
                constraint: columns.or(refusal.constraint().map(str::to_owned)),
                message,
            }
        }
        "23503" => DbError::ForeignKey(message),
        // The server shuts down or starts, ended a statement or an idle transaction, has too many clients or
        // too little memory; a lock was not to be had, or a deadlock was broken at our cost.
        "57P01" | "57P02" | "57P03" | "57P05" | "57014" | "25P03" | "53300" | "53200" | "53000" | "55P03"
        | "40001" | "40P01" | "40003" => DbError::Unavailable { code, message },
        // Another process has migrated: a prepared statement is out of date.
        "0A000" if message.contains("cached plan") => DbError::Unavailable { code, message },
        "53100" => DbError::Full { code, message },
        // Corrupt pages and indexes, missing files, an input or output error.
        "XX001" | "XX002" | "58P01" | "58P02" | "58030" => DbError::Damaged { code, message },
        _ => match &sqlstate[..2] {
            "08" => DbError::Unavailable { code, message },
            // Data that does not fit, constraints, and limits such as that of an index row.
            "22" | "23" | "44" | "54" => DbError::Refused { code, message },
            _ => DbError::Statement { code, message },
        },
    }
}

/// What an error while connecting means: wrong credentials, a missing database and a certificate that
/// is not trusted do not go away by themselves.
pub(super) fn typed_connecting(error: &Error) -> DbError {
    let text = with_causes(error);
    if let Some(refusal) = error.as_db_error() {
        match refused(refusal) {
            DbError::Statement { .. } => DbError::Other(text),
            known => known,
        }
    } else if ["TLS", "configuration", "authentication"]
        .iter()
        .any(|it| error.to_string().contains(it))
    {
        DbError::Other(text)
    } else {
        DbError::away(text)
    }
}

/// The columns in `Key (a, b)=(1, 2) already exists.`, in whatever language the server speaks. The
/// values are left where they are.
fn key_columns(detail: &str) -> Option<&str> {
    let (_, rest) = detail.split_once('(')?;
    let (columns, _) = rest.split_once(")=(")?;
    // An index on expressions has no columns to name.
    (!columns.contains('(')).then_some(columns)
}

fn qualified(table: &str, columns: &str) -> String {
    let columns: Vec<_> = columns
        .split(", ")
        .map(|column| format!("{table}.{}", column.trim_matches('"')))
        .collect();
    columns.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_violated_key_is_named_as_sqlite_names_it() {
        let columns = key_columns("Key (unit_id, user_id)=(u (1), )=() already exists.");
        assert_eq!(columns, Some("unit_id, user_id"));
        assert_eq!(
            qualified("members", "unit_id, user_id"),
            "members.unit_id, members.user_id"
        );
        assert_eq!(key_columns("Key (lower(name))=(a) already exists."), None);
    }
}
