//! PostgreSQL (13 or newer): the same promises as on SQLite, across processes and lost connections.
//!
//! **One writer of the log at a time.** A writing transaction of the [log lane](crate::Lane) begins by taking an
//! advisory lock, so that the log writers of several processes are serial, as they are on SQLite. Their
//! closures never meet serialization failures, and a sequence that they count is gapless and in commit
//! order. Transactions of the settlement lane take a lock of their own, which nobody else wants.
//!
//! **A lost connection** gives the transaction up; the writer begins anew. Only a commit of which no
//! answer came is a riddle: was it applied? Each commit therefore writes a number, one higher each
//! time, to this writer's row in `commit_tokens`. The next session makes sure that the old one has ended; its
//! transaction takes the lock and looks: if the number is there, it was applied.
//!
//! **Few round trips.** What needs no answer is not sent at once: it waits for the next statement that needs
//! one, and goes with it. The server does all of it in order, so a closure sees no difference, except that
//! the error of such a statement is noticed later, by [`Connection::flush`] at the latest.

mod error;
mod listen;
mod server;
mod value;

use tokio_postgres::error::SqlState;

use self::error::typed;
pub(crate) use self::listen::listen;
pub(crate) use self::server::Server;
use self::server::{Failed, Identity, Reply, Session, Step, Unanswered};
use crate::error::with_causes;
use crate::patience::Patience;
use crate::tx::{Begun, Connection};
use crate::{Create, DbError, Dialect, Lane, Row, Value};

/// Serializes the writers of one database. The numbers are arbitrary, and fixed for ever.
const WRITER_LOCK: i64 = 0x726f_6c6c_6361_6c6c;
/// Serializes the migrations of one database.
const MIGRATION_LOCK: i64 = WRITER_LOCK + 1;

/// The channel on which the writers of the log tell other processes that something was announced.
const CHANNEL: &str = "rollcall_changes";

/// A statement that waits until something has to be answered.
enum Later {
    Batch(String),
    Execute(String, Vec<Value<'static>>),
}

/// A connection, or the wish for one.
pub(crate) struct Postgres {
    server: Server,
    session: Option<Session>,
    /// The session before, which was given up and may still live.
    left: Option<Identity>,
    role: Role,
    /// What was not sent yet, in order.
    later: Vec<Later>,
    /// Why the open transaction cannot be committed any more: a statement failed whose answer nobody waited
    /// for.
    broken: Option<DbError>,
    /// A commit of which nothing was heard.
    in_doubt: Option<i64>,
    /// Whether the transaction is one that reads only.
    reading: bool,
}

enum Role {
    Reader,
    Writer {
        /// Its row in `commit_tokens`.
        name: String,
        /// What its transactions lock.
        lock: i64,
        /// The number of its last commit.
        token: i64,
        /// Whether other processes are told of announcements.
        lane: Lane,
    },
}

impl Role {
    fn writer(lane: Lane, name: String) -> Self {
        let lock = match lane {
            Lane::Log => WRITER_LOCK,
            Lane::Settlement => own_lock(&name),
        };
        Self::Writer {
            name,
            lock,
            token: 0,
            lane,
        }
    }
}

impl Postgres {
    /// Connects, waiting for a server that is not up yet, migrates, and returns the writer of the log.
    pub(crate) fn create(
        server: Server,
        create: Create,
        migrations: &refinery::Runner,
    ) -> Result<Self, DbError> {
        let mut patience = Patience::new(server.unavailable_after);
        let mut opening = Self::reader(server);
        loop {
            match opening.prepare_database(create, migrations) {
                Err(error) if error.is_transient() => patience.wait(error)?,
                Err(error) => return Err(error),
                Ok(name) => {
                    opening.role = Role::writer(Lane::Log, name);
                    return Ok(opening);
                }
            }
        }
    }

    /// Whether there is such a table with a row in it.
    pub(crate) fn has_rows(server: Server, table: &str) -> Result<bool, DbError> {
        let mut patience = Patience::new(server.unavailable_after);
        let mut looking = Self::reader(server);
        loop {
            match looking.looks_for_rows(table) {
                Err(error) if error.is_transient() => patience.wait(error)?,
                result => return result,
            }
        }
    }

    fn looks_for_rows(&mut self, table: &str) -> Result<bool, DbError> {
        let has_table = "SELECT to_regclass($1) IS NOT NULL";
        let found = self.query(has_table, &[Value::from(table)])?;
        let exists = found.first().map_or(Ok(false), |row| row.get(0))?;
        let row = format!("SELECT 1 FROM {table} LIMIT 1");
        Ok(exists && !self.query(&row, &[])?.is_empty())
    }

    /// What the log's writer is called, unlike all others of all processes.
    pub(crate) fn name(&self) -> &str {
        match &self.role {
            Role::Reader => "",
            Role::Writer { name, .. } => name,
        }
    }

    /// The writer of the settlements beside a writer of the log. Connects when it is first used.
    pub(crate) fn settler(server: Server, log_writer: &str) -> Self {
        let name = format!("{log_writer}/settlement");
        Self::new(server, Role::writer(Lane::Settlement, name))
    }

    /// Connects when it is first used.
    pub(crate) fn reader(server: Server) -> Self {
        Self::new(server, Role::Reader)
    }

    fn new(server: Server, role: Role) -> Self {
        Self {
            server,
            session: None,
            left: None,
            role,
            later: Vec::new(),
            broken: None,
            in_doubt: None,
            reading: false,
        }
    }

    /// Migrates, and returns a name for the log's writer.
    fn prepare_database(&mut self, create: Create, migrations: &refinery::Runner) -> Result<String, DbError> {
        let known = "SELECT 1 FROM pg_tables WHERE schemaname = ANY (current_schemas(false))
                     AND tablename = 'refinery_schema_history'";
        if create == Create::Never && self.query(known, &[])?.is_empty() {
            return Err(DbError::Missing(
                "the PostgreSQL database holds no tables of ours yet".into(),
            ));
        }
        self.batch(&format!("SELECT pg_advisory_lock({MIGRATION_LOCK})"))?;
        let migrated = self
            .session()?
            .block_on(async |client| migrations.run_async(client).await);
        migrated
            .map_err(|unanswered| self.failed(&unanswered))?
            .map_err(|error| DbError::other(&error))?;
        self.batch(
            "CREATE TABLE IF NOT EXISTS commit_tokens (writer TEXT PRIMARY KEY, token BIGINT NOT NULL)",
        )?;
        // Not in one batch with the table, which is a transaction: the next one would not see it yet.
        self.batch(&format!("SELECT pg_advisory_unlock({MIGRATION_LOCK})"))?;
        let names = self.query("SELECT CAST(gen_random_uuid() AS TEXT)", &[])?;
        let name = names.first().map(|row| row.get(0));
        name.unwrap_or_else(|| Err(DbError::Other("PostgreSQL made no name".into())))
    }

    /// The session. A new one begins when the one before has ended.
    fn session(&mut self) -> Result<&mut Session, DbError> {
        let session = match self.session.take() {
            Some(session) => session,
            None => {
                let mut session = self.server.connect()?;
                if let Some(left) = &self.left {
                    session.end(left)?;
                    self.left = None;
                }
                session
            }
        };
        Ok(self.session.insert(session))
    }

    fn give_up(&mut self) {
        if let Some(session) = self.session.take() {
            self.left = Some(session.give_up());
        }
    }

    /// What it means that something was not answered. The session is given up if that shows that it is of no more
    /// use.
    fn failed(&mut self, unanswered: &Unanswered) -> DbError {
        let Unanswered::Error(error) = unanswered else {
            self.give_up();
            return server::silence();
        };
        let lost = self.session.as_ref().is_none_or(Session::is_lost);
        // A server that was made a standby takes no more writes; another one will.
        let demoted = !self.reading && error.code() == Some(&SqlState::READ_ONLY_SQL_TRANSACTION);
        let error = if lost || demoted {
            DbError::Unavailable {
                code: error.code().map(|code| code.code().to_owned()),
                message: with_causes(error),
            }
        } else {
            typed(error)
        };
        if error.is_transient() {
            self.give_up();
        }
        error
    }

    /// Sends what waits, and then a step, and returns what that is answered.
    fn send(&mut self, last: Option<Step<'_>>) -> Result<Option<Reply>, DbError> {
        if let Some(broken) = &self.broken {
            return Err(broken.clone());
        }
        let later = std::mem::take(&mut self.later);
        let has_last = last.is_some();
        let mut steps: Vec<Step<'_>> = Vec::with_capacity(later.len() + 1);
        steps.extend(later.iter().map(|it| match it {
            Later::Batch(sql) => Step::Batch(sql),
            Later::Execute(sql, params) => Step::Execute(sql, params),
        }));
        steps.extend(last);
        if steps.is_empty() {
            return Ok(None);
        }
        let session = self.session()?;
        session.tidy();
        let sent = session.send(&steps);
        match sent {
            Ok(mut replies) => Ok(replies.pop().filter(|_| has_last)),
            Err(Failed { step, error }) => {
                let was_waiting = step < later.len();
                let error = self.failed(&error);
                if was_waiting && !error.is_transient() {
                    self.broken = Some(error.clone());
                }
                Err(error)
            }
        }
    }

    fn batch(&mut self, sql: &str) -> Result<(), DbError> {
        self.send(Some(Step::Batch(sql))).map(drop)
    }

    fn batch_later(&mut self, sql: impl Into<String>) {
        self.later.push(Later::Batch(sql.into()));
    }

    fn was_committed(&mut self, token: i64) -> Result<bool, DbError> {
        let Role::Writer { name, .. } = &self.role else {
            return Ok(false);
        };
        let name = name.clone();
        let sql = "SELECT token FROM commit_tokens WHERE writer = $1";
        let found = self.query(sql, &[Value::from(name)])?;
        Ok(found
            .first()
            .is_some_and(|row| row.get::<i64>(0).is_ok_and(|found| found == token)))
    }

    fn begin(&mut self) -> Result<Begun, DbError> {
        self.reading = false;
        self.later.clear();
        self.broken = None;
        let Role::Writer { lock, .. } = self.role else {
            return Err(DbError::Other("a reader cannot write".into()));
        };
        self.batch_later(format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SELECT pg_advisory_xact_lock({lock})"
        ));
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

/// What the transactions of a settlement lane lock: a number that nobody else uses.
fn own_lock(name: &str) -> i64 {
    // FNV-1a: the number only has to be the same for each transaction of this writer.
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    i64::from_ne_bytes(hash.to_ne_bytes())
}

impl Connection for Postgres {
    fn dialect(&self) -> Dialect {
        Dialect::Postgres
    }

    fn begin_write(&mut self) -> Result<Begun, DbError> {
        self.begin().map_err(|error| match error {
            DbError::Unavailable { code, message } if self.in_doubt.is_some() => DbError::Unavailable {
                code,
                message: format!(
                    "{message} (the connection was lost during a commit, which may have been applied)"
                ),
            },
            error => error,
        })
    }

    fn begin_read(&mut self) -> Result<(), DbError> {
        self.reading = true;
        self.later.clear();
        self.broken = None;
        self.batch_later("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
        Ok(())
    }

    fn savepoint(&mut self) -> Result<(), DbError> {
        self.batch_later("SAVEPOINT closure");
        Ok(())
    }

    fn release(&mut self) -> Result<(), DbError> {
        self.batch_later("RELEASE closure");
        self.flush()
    }

    fn undo(&mut self) -> Result<(), DbError> {
        self.later.clear();
        self.broken = None;
        self.batch("ROLLBACK TO closure; RELEASE closure")
    }

    fn commit(&mut self, announce: bool) -> Result<(), DbError> {
        let Role::Writer {
            name, token, lane, ..
        } = &mut self.role
        else {
            return Err(DbError::Other("a reader cannot commit".into()));
        };
        *token += 1;
        let token = *token;
        let notify = if announce && *lane == Lane::Log {
            format!("NOTIFY {CHANNEL}, '{name}';")
        } else {
            String::new()
        };
        // The statements stand in one batch after a write, so that a transaction that has failed before
        // comes to an end there and is not committed.
        let commit = format!(
            "INSERT INTO commit_tokens (writer, token) VALUES ('{name}', {token})
                 ON CONFLICT (writer) DO UPDATE SET token = excluded.token;
             {notify}
             COMMIT"
        );
        let result = self.batch(&commit);
        if result.as_ref().is_err_and(DbError::is_transient) {
            self.in_doubt = Some(token);
        }
        result
    }

    fn abandon(&mut self) {
        self.in_doubt = None;
        self.broken = None;
        // What was never sent has not begun.
        let unsent = matches!(self.later.first(), Some(Later::Batch(sql)) if sql.starts_with("BEGIN"));
        self.later.clear();
        if !unsent && self.session.is_some() && self.batch("ROLLBACK").is_err() {
            self.give_up();
        }
    }

    fn flush(&mut self) -> Result<(), DbError> {
        self.send(None).map(drop)
    }

    fn failure(&self) -> Option<DbError> {
        match (&self.broken, &self.session) {
            (Some(broken), _) => Some(broken.clone()),
            (None, None) if self.later.is_empty() => Some(DbError::away("the connection was lost")),
            _ => None,
        }
    }

    fn execute(&mut self, sql: &str, params: &[Value<'_>]) -> Result<u64, DbError> {
        match self.send(Some(Step::Execute(sql, params)))? {
            Some(Reply::Changed(rows)) => Ok(rows),
            _ => Ok(0),
        }
    }

    fn execute_later(&mut self, sql: &str, params: &[Value<'_>]) -> Result<(), DbError> {
        let params = params.iter().map(Value::to_static).collect();
        self.later.push(Later::Execute(sql.to_owned(), params));
        Ok(())
    }

    fn query(&mut self, sql: &str, params: &[Value<'_>]) -> Result<Vec<Row>, DbError> {
        match self.send(Some(Step::Query(sql, params)))? {
            Some(Reply::Rows(rows)) => rows.iter().map(value::row).collect(),
            _ => Ok(Vec::new()),
        }
    }

    /// Takes this writer's row along. (A process that is killed leaves one small row behind.)
    fn close(mut self: Box<Self>) {
        if let (Some(_), Role::Writer { name, .. }) = (&self.session, &self.role) {
            let delete = format!("DELETE FROM commit_tokens WHERE writer = '{name}'");
            if let Err(error) = self.batch(&delete) {
                tracing::debug!(%error, "a commit token stays behind");
            }
        }
    }
}
