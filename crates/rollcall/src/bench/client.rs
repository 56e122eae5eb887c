//! A browser that keeps one connection and reads what it gets as fast as it comes: the time of an answer is that of the
//! server and the loopback interface.

use anyhow::{Context as _, Result, bail, ensure};
use bytes::{Bytes, BytesMut};
use httparse::{EMPTY_HEADER, Response, Status};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

/// How long a head may be.
const HEAD: usize = 65_536;

/// How many headers it may have.
const HEADERS: usize = 64;

/// How much is read at once, in bytes.
const PIECE: usize = 16_384;

/// An answer.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Bytes,
}

/// A connection to the hub, of somebody who is known by a header.
pub(super) struct Client {
    stream: TcpStream,
    /// What has come, and was not looked at yet.
    come: BytesMut,
    /// The header.
    known: String,
}

impl Client {
    /// With the session of somebody who has signed in.
    pub(super) async fn connect(port: u16, session: &str) -> Result<Self> {
        Self::with(port, format!("Cookie: rollcall_session={session}")).await
    }

    /// With a header that tells who it is.
    pub(super) async fn with(port: u16, known: String) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            come: BytesMut::with_capacity(PIECE),
            known,
        })
    }

    async fn ask(&mut self, method: &str, path: &str, body: &[u8]) -> Result<()> {
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept-Language: en\r\n{}\r\n",
            self.known
        )
        .into_bytes();
        if method != "GET" {
            let length = format!(
                "Content-Type: application/json\r\nContent-Length: {}\r\n",
                body.len()
            );
            request.extend_from_slice(length.as_bytes());
        }
        request.extend_from_slice(b"\r\n");
        request.extend_from_slice(body);
        self.stream.write_all(&request).await?;
        Ok(())
    }

    /// Waits until more has come.
    async fn more(&mut self) -> Result<()> {
        self.come.reserve(PIECE);
        let count = self.stream.read_buf(&mut self.come).await?;
        ensure!(count > 0, "the connection has ended");
        Ok(())
    }

    /// The status, and how long the body is if that is said.
    async fn head(&mut self) -> Result<(u16, Option<usize>)> {
        loop {
            if let Some((head, status, length)) = head(&self.come)? {
                drop(self.come.split_to(head));
                return Ok((status, length));
            }
            ensure!(self.come.len() < HEAD, "the head of an answer does not end");
            self.more().await?;
        }
    }

    /// Asks for something and reads the answer.
    pub(super) async fn get(&mut self, path: &str) -> Result<Answer> {
        self.send("GET", path, b"").await
    }

    /// Sends a request and reads the answer.
    pub(super) async fn send(&mut self, method: &str, path: &str, body: &[u8]) -> Result<Answer> {
        self.ask(method, path, body).await?;
        let (status, length) = self.head().await?;
        let length = length.with_context(|| format!("{path}: an answer of unknown length"))?;
        while self.come.len() < length {
            self.more().await?;
        }
        let body = self.come.split_to(length).freeze();
        Ok(Answer { status, body })
    }

    /// Follows something live for as long as it is sent, and throws away what comes. Says when the first of it is here.
    pub(super) async fn follow(mut self, path: &str, begun: oneshot::Sender<()>) -> Result<()> {
        self.ask("GET", path, b"").await?;
        let (status, _) = self.head().await?;
        ensure!(status == 200, "{path}: {status}");
        if self.come.is_empty() {
            self.more().await?;
        }
        // Whoever does not wait for it has ended.
        let _ = begun.send(());
        tokio::io::copy(&mut self.stream, &mut tokio::io::sink()).await?;
        Ok(())
    }
}

/// How long the head is at the beginning of what has come, its status, and how long it says that the body is; `None` if
/// it is not here whole.
fn head(come: &[u8]) -> Result<Option<(usize, u16, Option<usize>)>> {
    let mut headers = [EMPTY_HEADER; HEADERS];
    let mut head = Response::new(&mut headers);
    let Status::Complete(size) = head.parse(come)? else {
        return Ok(None);
    };
    let Some(status) = head.code else {
        bail!("no status")
    };
    let mut length = None;
    for header in head.headers.iter() {
        if header.name.eq_ignore_ascii_case("content-length") {
            length = Some(std::str::from_utf8(header.value)?.parse()?);
        }
    }
    Ok(Some((size, status, length)))
}
