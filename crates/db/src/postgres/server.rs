//! Where the server is, and a session with it.
//!
//! **TLS** is used with `sslmode=require` (or `verify-full`, which means the same here): the server's
//! certificate is always verified, against the system's roots or those that `SSL_CERT_FILE` names.
//! Without it the connection is in the clear.
//!
//! A session blocks its thread: it drives its connection on a small runtime of its own. That is refused on
//! a thread that runs async code, so sessions are only used on threads of ours.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::TlsConnect;
use tokio_postgres::{Client, Config, Connection, Error, NoTls, Socket, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::error::{typed, typed_connecting};
use super::value::bound;
use crate::{DbError, Value};

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
    pub(super) unavailable_after: Duration,
}

impl Server {
    pub(crate) fn new(url: &str, unavailable_after: Duration) -> Result<Self, DbError> {
        let url = url.replace("sslmode=verify-full", "sslmode=require");
        let mut config: Config = url.parse().map_err(|error: Error| DbError::other(&error))?;
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

    pub(super) fn connect(&self) -> Result<Session, DbError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| DbError::other(&error))?;
        let connected = match &self.tls {
            Some(tls) => runtime.block_on(connected(&self.config, tls.clone())),
            None => runtime.block_on(connected(&self.config, NoTls)),
        };
        let client = connected.map_err(|error| typed_connecting(&error))?;
        let mut session = Session {
            client,
            runtime,
            statements: HashMap::new(),
        };
        let settings = format!(
            // Compiling a statement takes longer than any of ours.
            "SET client_min_messages = warning;
             SET jit = off;
             SET idle_in_transaction_session_timeout = {};
             SET lock_timeout = {}",
            IDLE_IN_TRANSACTION.as_millis(),
            self.unavailable_after
                .as_millis()
                .clamp(1, i32::MAX.unsigned_abs().into()),
        );
        session
            .block_on(async |client| client.batch_execute(&settings).await)
            .map_err(|error| typed(&error))?;
        Ok(session)
    }

    /// A connection whose messages the caller reads, for whoever listens.
    pub(super) async fn connect_with<T>(
        &self,
        listen: impl AsyncFnOnce(Client, Messages) -> T,
    ) -> Result<T, DbError> {
        let failed = |error: Error| typed_connecting(&error);
        Ok(match &self.tls {
            Some(tls) => {
                let (client, mut connection) = self.config.connect(tls.clone()).await.map_err(failed)?;
                listen(client, Box::new(move |cx| connection.poll_message(cx))).await
            }
            None => {
                let (client, mut connection) = self.config.connect(NoTls).await.map_err(failed)?;
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
    pub(super) error: Error,
}

type Sent<'a> = Pin<Box<dyn Future<Output = Result<Reply, Error>> + 'a>>;

/// An open connection. Dropping it ends the session on the server, and with it what it left undone.
pub(super) struct Session {
    client: Client,
    runtime: Runtime,
    statements: HashMap<String, Statement>,
}

impl Session {
    /// Whether the connection is known to be lost.
    pub(super) fn is_lost(&self) -> bool {
        self.client.is_closed()
    }

    /// Does something with the client, which blocks.
    pub(super) fn block_on<T>(&mut self, work: impl AsyncFnOnce(&mut Client) -> T) -> T {
        self.runtime.block_on(work(&mut self.client))
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
                answers.push(reply.map_err(|error| Failed { step, error })?);
            }
            Ok(answers)
        };
        self.runtime.block_on(all)
    }

    fn prepare(&mut self, sql: &str) -> Result<(), Error> {
        if self.statements.contains_key(sql) {
            return Ok(());
        }
        let statement = self.runtime.block_on(self.client.prepare(sql))?;
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
