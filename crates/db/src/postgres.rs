//! PostgreSQL (13 or newer): the same promises as on SQLite, across processes and lost connections.
//!
//! **One writer at a time.** A writing transaction begins by taking an advisory lock, so that the
//! writers of several processes are serial, as they are on SQLite. Closures never meet serialization
//! failures, and a sequence that they count is gapless and in commit order.
//!
//! **A lost connection** gives the transaction up; the writer begins anew. Only a commit of which no
//! answer came is a riddle: was it applied? Each commit therefore writes a number, one higher each
//! time, to this writer's row in `commit_tokens`. The next transaction takes the lock, which waits for
//! the old session to end if it still lives, and looks: if the number is there, it was applied.
//!
//! **TLS** is used with `sslmode=require` (or `verify-full`, which means the same here): the server's
//! certificate is always verified, against the system's roots or those that `SSL_CERT_FILE` names.
//! Without it the connection is in the clear.
//!
//! The `postgres` crate blocks, and panics on a thread that runs async code. It is only used on
//! threads of our own.

use std::collections::HashMap;
use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use ::postgres::config::SslMode;
use ::postgres::error::SqlState;
use ::postgres::types::private::BytesMut;
use ::postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use ::postgres::{Client, Config, NoTls, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::error::with_causes;
use crate::patience::Patience;
use crate::tx::{Begun, Connection};
use crate::value::kind;
use crate::{DbError, Dialect, Row, Value};

/// Serializes the writers of one database. The numbers are arbitrary, and fixed for ever.
const WRITER_LOCK: i64 = 0x726f_6c6c_6361_6c6c;
/// Serializes the migrations of one database.
const MIGRATION_LOCK: i64 = WRITER_LOCK + 1;

/// A server that holds our half-finished transaction after the network was cut holds the lock as
/// well. It lets go after this long.
const IDLE_IN_TRANSACTION: Duration = Duration::from_secs(30);

/// How long one try to connect may take, at most.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Prepared statements per connection. Multi-row inserts come in many lengths.
const STATEMENTS: usize = 256;

/// Where to connect to, and how.
#[derive(Clone)]
pub(crate) struct Server {
    config: Arc<Config>,
    tls: Option<MakeRustlsConnect>,
    unavailable_after: Duration,
}

impl Server {
    pub(crate) fn new(url: &str, unavailable_after: Duration) -> Result<Self, DbError> {
        let url = url.replace("sslmode=verify-full", "sslmode=require");
        let mut config: Config = url
            .parse()
            .map_err(|error: ::postgres::Error| DbError::other(&error))?;
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT.min(unavailable_after.max(Duration::from_secs(1))));
        }
        if config.get_application_name().is_none() {
            config.application_name("rollcall");
        }
        config.keepalives_idle(Duration::from_secs(30));
        config.tcp_user_timeout(unavailable_after);
        let tls = (config.get_ssl_mode() == SslMode::Require)
            .then(tls)
            .transpose()?;
        Ok(Self {
            config: Arc::new(config),
            tls,
            unavailable_after,
        })
    }

    fn connect(&self) -> Result<Session, DbError> {
        let mut client = match &self.tls {
            Some(tls) => self.config.connect(tls.clone()),
            None => self.config.connect(NoTls),
        }
        .map_err(|error| typed_connecting(&error))?;
        client
            .batch_execute(&format!(
                "SET client_min_messages = warning;
                 SET idle_in_transaction_session_timeout = {};
                 SET lock_timeout = {}",
                IDLE_IN_TRANSACTION.as_millis(),
                self.unavailable_after
                    .as_millis()
                    .clamp(1, i32::MAX.unsigned_abs().into()),
            ))
            .map_err(|error| typed(&error))?;
        Ok(Session {
            client,
            statements: HashMap::new(),
        })
    }
}

fn tls() -> Result<MakeRustlsConnect, DbError> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(DbError::Other(
            "sslmode=require, but the system has no root certificates".into(),
        ));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| DbError::other(&error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

struct Session {
    client: Client,
    statements: HashMap<String, Statement>,
}

impl Session {
    fn prepare(&mut self, sql: &str) -> Result<Statement, ::postgres::Error> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare(sql)?;
        if self.statements.len() >= STATEMENTS {
            self.statements.clear();
        }
        self.statements.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }
}

/// A connection, or the wish for one.
pub(crate) struct Postgres {
    server: Server,
    session: Option<Session>,
    /// This writer's row in `commit_tokens`; empty for readers.
    writer: String,
    token: i64,
    /// A commit of which nothing was heard.
    in_doubt: Option<i64>,
}

impl Postgres {
    /// Connects, waiting for a server that is not up yet, and migrates.
    pub(crate) fn create(server: Server, migrations: &refinery::Runner) -> Result<Self, DbError> {
        let mut patience = Patience::new(server.unavailable_after);
        let mut postgres = Self::reader(server);
        loop {
            match postgres.prepare_database(migrations) {
                Err(error @ DbError::Unavailable(_)) => patience.wait(error)?,
                result => return result.map(|()| postgres),
            }
        }
    }

    /// Connects when it is first used.
    pub(crate) fn reader(server: Server) -> Self {
        Self {
            server,
            session: None,
            writer: String::new(),
            token: 0,
            in_doubt: None,
        }
    }

    /// Whether there is such a table with a row in it.
    pub(crate) fn has_rows(server: Server, table: &str) -> Result<bool, DbError> {
        let mut patience = Patience::new(server.unavailable_after);
        let mut postgres = Self::reader(server);
        loop {
            let looked = postgres.with(|session| {
                let there: bool = session
                    .client
                    .query_one("SELECT to_regclass($1::text) IS NOT NULL", &[&table])?
                    .try_get(0)?;
                let row = format!("SELECT 1 FROM {table} LIMIT 1");
                Ok(there && session.client.query_opt(&row, &[])?.is_some())
            });
            match looked {
                Err(error @ DbError::Unavailable(_)) => patience.wait(error)?,
                result => return result,
            }
        }
    }

    fn prepare_database(&mut self, migrations: &refinery::Runner) -> Result<(), DbError> {
        self.batch(&format!("SELECT pg_advisory_lock({MIGRATION_LOCK})"))?;
        self.with(|session| Ok(migrations.run(&mut session.client)))?
            .map_err(|error| DbError::other(&error))?;
        self.batch(
            "CREATE TABLE IF NOT EXISTS commit_tokens (writer TEXT PRIMARY KEY, token BIGINT NOT NULL)",
        )?;
        self.writer = self.with(|session| {
            session
                .client
                .query_one("SELECT gen_random_uuid()::text", &[])?
                .try_get(0)
        })?;
        self.batch(&format!("SELECT pg_advisory_unlock({MIGRATION_LOCK})"))
    }

    /// Does something with the session, which is given up if that shows that it is of no more use.
    fn with<T>(
        &mut self,
        work: impl FnOnce(&mut Session) -> Result<T, ::postgres::Error>,
    ) -> Result<T, DbError> {
        let session = match &mut self.session {
            Some(session) => session,
            none => none.insert(self.server.connect()?),
        };
        let result = work(session);
        let lost = session.client.is_closed();
        result.map_err(|error| {
            let error = if lost {
                DbError::Unavailable(with_causes(&error))
            } else {
                typed(&error)
            };
            if matches!(error, DbError::Unavailable(_)) {
                self.session = None;
            }
            error
        })
    }

    fn batch(&mut self, sql: &str) -> Result<(), DbError> {
        self.with(|session| session.client.batch_execute(sql))
    }

    fn was_committed(&mut self, token: i64) -> Result<bool, DbError> {
        let writer = self.writer.clone();
        let found = self.with(|session| {
            session
                .client
                .query_opt("SELECT token FROM commit_tokens WHERE writer = $1", &[&writer])
        })?;
        Ok(found.is_some_and(|row| row.try_get(0).is_ok_and(|found: i64| found == token)))
    }

    fn begin(&mut self) -> Result<Begun, DbError> {
        self.batch(&format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;
             SELECT pg_advisory_xact_lock({WRITER_LOCK});
             SAVEPOINT closure"
        ))?;
        if let Some(token) = self.in_doubt {
            let committed = self.was_committed(token)?;
            self.in_doubt = None;
            if committed {
                self.abandon();
                return Ok(Begun::AlreadyCommitted);
            }
        }
        Ok(Begun::Open)
    }
}

impl Connection for Postgres {
    fn dialect(&self) -> Dialect {
        Dialect::Postgres
    }

    fn begin_write(&mut self) -> Result<Begun, DbError> {
        self.begin().map_err(|error| match error {
            DbError::Unavailable(why) if self.in_doubt.is_some() => DbError::Unavailable(format!(
                "{why} (the connection was lost during a commit, which may have been applied)"
            )),
            error => error,
        })
    }

    fn begin_read(&mut self) -> Result<(), DbError> {
        self.batch("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    }

    fn savepoint(&mut self) -> Result<(), DbError> {
        self.batch("RELEASE closure; SAVEPOINT closure")
    }

    fn undo(&mut self) -> Result<(), DbError> {
        self.batch("ROLLBACK TO closure")
    }

    fn commit(&mut self) -> Result<(), DbError> {
        self.token += 1;
        let (writer, token) = (self.writer.clone(), self.token);
        let result = self.batch(&format!(
            "INSERT INTO commit_tokens (writer, token) VALUES ('{writer}', {token})
                 ON CONFLICT (writer) DO UPDATE SET token = excluded.token;
             COMMIT"
        ));
        if matches!(result, Err(DbError::Unavailable(_))) {
            self.in_doubt = Some(token);
        }
        result
    }

    fn abandon(&mut self) {
        self.in_doubt = None;
        if self.session.is_some() && self.batch("ROLLBACK").is_err() {
            self.session = None;
        }
    }

    fn is_intact(&self) -> bool {
        self.session.is_some()
    }

    fn execute(&mut self, sql: &str, params: &[Value<'_>]) -> Result<u64, DbError> {
        self.with(|session| {
            let statement = session.prepare(sql)?;
            session.client.execute(&statement, &bound(params))
        })
    }

    fn query(&mut self, sql: &str, params: &[Value<'_>]) -> Result<Vec<Row>, DbError> {
        let rows = self.with(|session| {
            let statement = session.prepare(sql)?;
            session.client.query(&statement, &bound(params))
        })?;
        rows.iter().map(row).collect()
    }

    /// Takes this writer's row along. (A process that is killed leaves one small row behind.)
    fn close(mut self: Box<Self>) {
        if self.session.is_some() {
            let delete = format!("DELETE FROM commit_tokens WHERE writer = '{}'", self.writer);
            if let Err(error) = self.batch(&delete) {
                tracing::debug!(%error, "a commit token stays behind");
            }
        }
    }
}

fn bound<'p>(params: &'p [Value<'p>]) -> Vec<&'p (dyn ToSql + Sync)> {
    params.iter().map(|value| value as &(dyn ToSql + Sync)).collect()
}

/// Adapts a value to the type that the statement gives the parameter.
impl ToSql for Value<'_> {
    fn to_sql(
        &self,
        wanted: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match (self, wanted) {
            (Value::Null, _) => Ok(IsNull::Yes),
            (Value::Int(value), &Type::INT8) => value.to_sql(wanted, out),
            (Value::Int(value), &Type::INT4) => i32::try_from(*value)?.to_sql(wanted, out),
            (Value::Int(value), &Type::INT2) => i16::try_from(*value)?.to_sql(wanted, out),
            (Value::Bool(value), &Type::BOOL) => value.to_sql(wanted, out),
            (Value::Text(value), ty) if <&str as ToSql>::accepts(ty) => value.to_sql(wanted, out),
            (Value::Blob(value), &Type::BYTEA) => value.as_ref().to_sql(wanted, out),
            (value, wanted) => Err(format!(
                "{} was given, the statement wants {wanted}; if that is a guess, write CAST($n AS …)",
                kind(value)
            )
            .into()),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

fn row(row: &::postgres::Row) -> Result<Row, DbError> {
    let value = |(index, column): (usize, &::postgres::Column)| {
        let value = match *column.type_() {
            Type::INT8 => row.try_get::<_, Option<i64>>(index).map(|it| it.map(Value::Int)),
            Type::INT4 => row
                .try_get::<_, Option<i32>>(index)
                .map(|it| it.map(|it| Value::Int(it.into()))),
            Type::INT2 => row
                .try_get::<_, Option<i16>>(index)
                .map(|it| it.map(|it| Value::Int(it.into()))),
            Type::BOOL => row
                .try_get::<_, Option<bool>>(index)
                .map(|it| it.map(Value::Bool)),
            Type::BYTEA => row
                .try_get::<_, Option<Vec<u8>>>(index)
                .map(|it| it.map(Value::from)),
            Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::UNKNOWN => row
                .try_get::<_, Option<String>>(index)
                .map(|it| it.map(Value::from)),
            ref other => {
                let name = column.name();
                return Err(DbError::Other(format!(
                    "column {name} has the type {other}: CAST it to BIGINT or TEXT"
                )));
            }
        };
        value
            .map(|it| it.unwrap_or(Value::Null))
            .map_err(|error| typed(&error))
    };
    row.columns()
        .iter()
        .enumerate()
        .map(value)
        .collect::<Result<_, _>>()
        .map(Row::new)
}

/// What an error on an open connection means. [`DbError::Unavailable`] is what may go away by itself,
/// on a new connection.
fn typed(error: &::postgres::Error) -> DbError {
    let Some(refusal) = error.as_db_error() else {
        let broken = error.is_closed() || error.source().is_some_and(|it| it.is::<std::io::Error>());
        return if broken {
            DbError::Unavailable(with_causes(error))
        } else {
            DbError::other(error)
        };
    };
    let message = refusal.message().to_owned();
    let code = refusal.code();
    match code.code() {
        _ if *code == SqlState::UNIQUE_VIOLATION => {
            let columns = refusal.table().zip(refusal.detail().and_then(key_columns));
            let columns = columns.map(|(table, columns)| qualified(table, columns));
            DbError::Unique {
                constraint: columns.or(refusal.constraint().map(str::to_owned)),
                message,
            }
        }
        _ if *code == SqlState::FOREIGN_KEY_VIOLATION => DbError::ForeignKey(message),
        // The server shuts down or starts, has too many clients, or let go of an idle transaction; a
        // lock was not to be had, or a deadlock was broken at our cost.
        "57P01" | "57P02" | "57P03" | "57P05" | "53300" | "25P03" | "55P03" | "40001" | "40P01" => {
            DbError::Unavailable(message)
        }
        connection if connection.starts_with("08") => DbError::Unavailable(message),
        // Another process has migrated: a prepared statement is out of date.
        "0A000" if message.contains("cached plan") => DbError::Unavailable(message),
        // Data exceptions, violated constraints, and a key that is too long for its index.
        values if values.starts_with("22") || values.starts_with("23") || values == "54000" => {
            DbError::Refused {
                code: Some(values.to_owned()),
                message,
            }
        }
        _ => DbError::Other(message),
    }
}

/// What an error while connecting means: wrong credentials, a missing database and a certificate that
/// is not trusted do not go away by themselves.
fn typed_connecting(error: &::postgres::Error) -> DbError {
    let text = with_causes(error);
    if error.as_db_error().is_some() {
        typed(error)
    } else if ["TLS", "configuration", "authentication"]
        .iter()
        .any(|it| error.to_string().contains(it))
    {
        DbError::Other(text)
    } else {
        DbError::Unavailable(text)
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

    #[test]
    fn tls_is_used_when_required() {
        let plain = Server::new("postgres://localhost/a", Duration::from_secs(1)).unwrap();
        assert!(plain.tls.is_none());
        match Server::new(
            "postgres://localhost/a?sslmode=verify-full",
            Duration::from_secs(1),
        ) {
            Ok(server) => assert!(server.tls.is_some()),
            Err(error) => assert!(error.to_string().contains("root certificates"), "{error}"),
        }
    }
}
