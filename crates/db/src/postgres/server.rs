//! Where the server is, and a session with it.
//!
//! **TLS** is used with `sslmode=require` (or `verify-full`, which means the same here): the server's
//! certificate is always verified, against the system's roots or those that `SSL_CERT_FILE` names.
//! Without it the connection is in the clear.
//!
//! **A server that falls silent** (its connection is cut without a word, it is stopped, or something in between
//! takes our bytes and passes nothing on) would be waited for without end. After [`LOOK_AFTER`] another connection
//! asks whether the server still works on what the session was told to do. If it does not, or cannot be asked, the
//! session is given up. So a statement may take as long as it needs, and silence has a limit.
//!
//! A session blocks its thread: it drives its connection on a small runtime of its own. That is refused on
//! a thread that runs async code, so sessions are only used on threads of ours.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::time::timeout;
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::TlsConnect;
use tokio_postgres::{Client, Config, Connection, Error, NoTls, SimpleQueryMessage, Socket, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::error::{typed, typed_connecting};
use super::value::bound;
use crate::patience::monotonic;
use crate::{DbError, Value};

/// A server that holds our half-finished transaction after the network was cut holds the lock as
/// well. It lets go after this long.
const IDLE_IN_TRANSACTION: Duration = Duration::from_secs(30);

/// How long one try to connect to one host may take, at most, until the session is set up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// After how long without an answer the server is asked whether it works on it, at most.
const LOOK_AFTER: Duration = Duration::from_secs(5);

/// What the server has answered when it is asked whether it works may still be on its way for so long.
const ON_ITS_WAY: Duration = Duration::from_secs(1);

/// How often one looks whether a session has ended.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Prepared statements per connection. Multi-row inserts come in many lengths.
const STATEMENTS: usize = 256;

/// Where to connect to, and how.
#[derive(Clone)]
pub(crate) struct Server {
    config: Arc<Config>,
    tls: Option<MakeRustlsConnect>,
    pub(super) unavailable_after: Duration,
    /// How long it may take until a session is set up.
    connect_within: Duration,
    look_after: Duration,
}

impl Server {
    pub(crate) fn new(url: &str, unavailable_after: Duration) -> Result<Self, DbError> {
        let url = url.replace("sslmode=verify-full", "sslmode=require");
        let mut config: Config = url.parse().map_err(|error: Error| DbError::other(&error))?;
        let patience = unavailable_after.max(Duration::from_secs(1));
        let to_one_host = *config
            .get_connect_timeout()
            .unwrap_or(&CONNECT_TIMEOUT.min(patience));
        config.connect_timeout(to_one_host);
        let hosts = config.get_hosts().len().max(config.get_hostaddrs().len()).max(1);
        if config.get_application_name().is_none() {
            config.application_name("rollcall");
        }
        // For the connection that only listens. Who asks notices silence by itself.
        config.keepalives_idle(Duration::from_secs(10));
        config.keepalives_interval(Duration::from_secs(5));
        config.tcp_user_timeout(unavailable_after);
        let tls = (config.get_ssl_mode() == SslMode::Require)
            .then(tls)
            .transpose()?;
        Ok(Self {
            config: Arc::new(config),
            tls,
            unavailable_after,
            connect_within: to_one_host * u32::try_from(hosts).unwrap_or(u32::MAX),
            look_after: LOOK_AFTER.min(patience),
        })
    }

    pub(super) fn connect(&self) -> Result<Session, DbError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| DbError::other(&error))?;
        let (client, identity) = runtime.block_on(self.in_time(async {
            let client = self.client().await?;
            let identity = self.set_up(&client).await?;
            Ok((client, identity))
        }))?;
        Ok(Session {
            client,
            runtime,
            statements: HashMap::new(),
            server: self.clone(),
            identity,
        })
    }

    /// Gives up what has not come about in the time that connecting may take: a server that is stopped still
    /// accepts connections.
    async fn in_time<T>(&self, work: impl Future<Output = Result<T, DbError>>) -> Result<T, DbError> {
        timeout(self.connect_within, work)
            .await
            .unwrap_or_else(|_| Err(DbError::away("the server did not answer in time")))
    }

    async fn client(&self) -> Result<Client, DbError> {
        let connected = match &self.tls {
            Some(tls) => connected(&self.config, tls.clone()).await,
            None => connected(&self.config, NoTls).await,
        };
        connected.map_err(|error| typed_connecting(&error))
    }

    async fn set_up(&self, client: &Client) -> Result<Identity, DbError> {
        let setting_up = format!(
            // Compiling a statement takes longer than any of ours.
            "SET client_min_messages = warning;
             SET jit = off;
             SET idle_in_transaction_session_timeout = {};
             SET lock_timeout = {};
             SELECT pid, {SINCE} FROM pg_stat_activity WHERE pid = pg_backend_pid()",
            IDLE_IN_TRANSACTION.as_millis(),
            self.unavailable_after
                .as_millis()
                .clamp(1, i32::MAX.unsigned_abs().into()),
        );
        let answer = client
            .simple_query(&setting_up)
            .await
            .map_err(|error| typed(&error))?;
        let identity = answer.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(Identity {
                pid: row.get(0)?.parse().ok()?,
                since: row.get(1)?.to_owned(),
            }),
            _ => None,
        });
        identity.ok_or_else(|| DbError::Other("PostgreSQL does not say which session this is".into()))
    }

    /// Whether the server works on what a session was asked, as far as one can know.
    async fn works_for(&self, session: &Identity) -> bool {
        let asked = self.in_time(async {
            let client = self.client().await?;
            let states = format!("SELECT state FROM pg_stat_activity WHERE {}", session.condition());
            let answer = client
                .simple_query(&states)
                .await
                .map_err(|error| typed(&error))?;
            Ok(answer.iter().any(|message| match message {
                // With `track_activities` off it says `disabled`, which may be either.
                SimpleQueryMessage::Row(row) => matches!(row.get(0), Some("active" | "disabled")),
                _ => false,
            }))
        });
        match asked.await {
            Ok(works) => works,
            // It has no room for one more who asks, so it is there.
            Err(DbError::Unavailable { code: Some(code), .. }) => code == "53300",
            Err(_) => false,
        }
    }

    /// A connection whose messages the caller reads, for whoever listens.
    pub(super) async fn connect_with<T>(
        &self,
        listen: impl AsyncFnOnce(Client, Messages) -> T,
    ) -> Result<T, DbError> {
        let failed = |error: Error| typed_connecting(&error);
        Ok(match &self.tls {
            Some(tls) => {
                let connecting = async { self.config.connect(tls.clone()).await.map_err(failed) };
                let (client, mut connection) = self.in_time(connecting).await?;
                listen(client, Box::new(move |cx| connection.poll_message(cx))).await
            }
            None => {
                let connecting = async { self.config.connect(NoTls).await.map_err(failed) };
                let (client, mut connection) = self.in_time(connecting).await?;
                listen(client, Box::new(move |cx| connection.poll_message(cx))).await
            }
        })
    }
}

/// Polls a connection for what the server says next.
pub(super) type Messages = Box<
    dyn FnMut(&mut std::task::Context<'_>) -> Poll<Option<Result<tokio_postgres::AsyncMessage, Error>>>
        + Send,
>;

async fn connected<T>(config: &Config, tls: T) -> Result<Client, Error>
where
    T: tokio_postgres::tls::MakeTlsConnect<Socket>,
    T::Stream: Send + 'static,
    T::TlsConnect: TlsConnect<Socket, Stream = T::Stream>,
{
    let (client, connection): (_, Connection<Socket, T::Stream>) = config.connect(tls).await?;
    // What goes wrong with the connection, the client's next request reports.
    tokio::spawn(async { drop(connection.await) });
    Ok(client)
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

/// When a session began, in every time zone alike.
const SINCE: &str = "CAST(EXTRACT(EPOCH FROM backend_start) AS TEXT)";

/// Which of the server's sessions one is. The number of its process is used again for others.
pub(super) struct Identity {
    pid: i32,
    since: String,
}

impl Identity {
    fn condition(&self) -> String {
        format!("pid = {} AND {SINCE} = '{}'", self.pid, self.since)
    }
}

/// Why something was not answered.
pub(super) enum Unanswered {
    /// The server refused it, or the connection was lost.
    Error(Error),
    /// Nothing came, and the server does not work on it.
    Silence,
}

impl From<Error> for Unanswered {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// A statement that waits to be sent.
pub(super) enum Step<'a> {
    /// One or more statements without parameters, of which nothing comes back.
    Batch(&'a str),
    /// A statement that changes rows.
    Execute(&'a str, &'a [Value<'a>]),
    /// A statement that returns rows.
    Query(&'a str, &'a [Value<'a>]),
}

/// What the server answered to a [`Step`].
pub(super) enum Reply {
    Done,
    Changed(u64),
    Rows(Vec<tokio_postgres::Row>),
}

/// Which step failed, from zero, and why.
pub(super) struct Failed {
    pub(super) step: usize,
    pub(super) error: Unanswered,
}

type Sent<'a> = Pin<Box<dyn Future<Output = Result<Reply, Error>> + 'a>>;

/// An open connection. Dropping it ends the session on the server, and with it what it left undone.
pub(super) struct Session {
    client: Client,
    runtime: Runtime,
    statements: HashMap<String, Statement>,
    server: Server,
    identity: Identity,
}

impl Session {
    /// Gives the session up, and says which it was, so that the next one can make sure that it [ends](Self::end).
    pub(super) fn give_up(self) -> Identity {
        self.identity
    }

    /// Whether the connection is known to be lost.
    pub(super) fn is_lost(&self) -> bool {
        self.client.is_closed()
    }

    /// Does something with the client, which blocks.
    pub(super) fn block_on<T>(&mut self, work: impl AsyncFnOnce(&mut Client) -> T) -> Result<T, Unanswered> {
        let Self {
            client,
            runtime,
            server,
            identity,
            ..
        } = self;
        runtime.block_on(answered(server, identity, work(client)))
    }

    /// Waits until a session that was given up has ended, and ends it if it waits for us. Otherwise it could hold
    /// the writers' lock for a long time, and what was sent to it could be done after one has looked for it.
    pub(super) fn end(&mut self, other: &Identity) -> Result<(), DbError> {
        let begun = monotonic();
        // One that works is left alone: it may be at its commit, and wait for a standby. One that still answers
        // whoever has given up would try for as long as the network lets it.
        let end = format!(
            "SELECT CASE WHEN state <> 'active' OR wait_event = 'ClientWrite' THEN pg_terminate_backend(pid) END
             FROM pg_stat_activity WHERE {}",
            other.condition()
        );
        loop {
            let found = self
                .block_on(async |client| client.simple_query(&end).await)
                .and_then(|answer| answer.map_err(Unanswered::Error))
                .map_err(|unanswered| match unanswered {
                    Unanswered::Error(error) => typed(&error),
                    Unanswered::Silence => silence(),
                })?;
            if !found.iter().any(|it| matches!(it, SimpleQueryMessage::Row(_))) {
                return Ok(());
            }
            if monotonic().duration_since(begun) >= self.server.unavailable_after {
                return Err(DbError::away(
                    "the server still works for a connection that was lost",
                ));
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// Sends all steps at once and returns what the server answers to each. The server does them in their
    /// order; after one that fails inside a transaction the others fail as well, and the first one's error is
    /// returned.
    pub(super) fn send(&mut self, steps: &[Step<'_>]) -> Result<Vec<Reply>, Failed> {
        for (step, it) in steps.iter().enumerate() {
            if let Step::Execute(sql, _) | Step::Query(sql, _) = it {
                self.prepare(sql).map_err(|error| Failed { step, error })?;
            }
        }
        let (client, statements) = (&self.client, &self.statements);
        let mut sent: Vec<Sent<'_>> = steps
            .iter()
            .map(|step| request(client, statements, step))
            .collect();
        let all = async {
            let mut replies: Vec<Option<Result<Reply, Error>>> = Vec::with_capacity(sent.len());
            // A request is sent when it is first polled.
            poll_fn(|cx| {
                for request in &mut sent {
                    replies.push(match request.as_mut().poll(cx) {
                        Poll::Ready(reply) => Some(reply),
                        Poll::Pending => None,
                    });
                }
                Poll::Ready(())
            })
            .await;
            let mut answers = Vec::with_capacity(replies.len());
            for (step, (request, early)) in sent.iter_mut().zip(replies).enumerate() {
                let reply = match early {
                    Some(reply) => reply,
                    None => request.await,
                };
                answers.push(reply.map_err(|error| Failed {
                    step,
                    error: error.into(),
                })?);
            }
            Ok(answers)
        };
        let within = answered(&self.server, &self.identity, all);
        self.runtime
            .block_on(within)
            .unwrap_or_else(|error| Err(Failed { step: 0, error }))
    }

    fn prepare(&mut self, sql: &str) -> Result<(), Unanswered> {
        if self.statements.contains_key(sql) {
            return Ok(());
        }
        let statement = self.block_on(async |client| client.prepare(sql).await)??;
        self.statements.insert(sql.to_owned(), statement);
        Ok(())
    }

    /// Forgets prepared statements if there are many. Not between preparing and sending.
    pub(super) fn tidy(&mut self) {
        if self.statements.len() > STATEMENTS {
            self.statements.clear();
        }
    }
}

/// Waits for an answer, for as long as the server works on it.
async fn answered<T>(
    server: &Server,
    session: &Identity,
    request: impl Future<Output = T>,
) -> Result<T, Unanswered> {
    let mut request = pin!(request);
    loop {
        if let Ok(answer) = timeout(server.look_after, &mut request).await {
            return Ok(answer);
        }
        if !server.works_for(session).await {
            return timeout(ON_ITS_WAY, request)
                .await
                .map_err(|_| Unanswered::Silence);
        }
    }
}

/// What a caller learns of a session that has fallen silent.
pub(super) fn silence() -> DbError {
    DbError::away("the server does not answer, and does not work on an answer")
}

fn request<'a>(
    client: &'a Client,
    statements: &'a HashMap<String, Statement>,
    step: &'a Step<'_>,
) -> Sent<'a> {
    match step {
        Step::Batch(sql) => Box::pin(async move { client.batch_execute(sql).await.map(|()| Reply::Done) }),
        Step::Execute(sql, params) => Box::pin(async move {
            let params = bound(params);
            // It was prepared before; the text would do as well.
            match statements.get(*sql) {
                Some(statement) => client.execute(statement, &params).await,
                None => client.execute(*sql, &params).await,
            }
            .map(Reply::Changed)
        }),
        Step::Query(sql, params) => Box::pin(async move {
            let params = bound(params);
            match statements.get(*sql) {
                Some(statement) => client.query(statement, &params).await,
                None => client.query(*sql, &params).await,
            }
            .map(Reply::Rows)
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
