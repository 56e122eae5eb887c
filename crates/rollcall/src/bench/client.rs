//! A browser that keeps one connection and reads what it gets as fast as it comes: the time of an answer is that of the
//! server and the loopback interface.

use anyhow::{Context as _, Result, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

/// How long a line of a head may be.
const LINE: usize = 16_384;

/// An answer.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

/// A connection to the hub, of somebody who is known by a header.
pub(super) struct Client {
    stream: BufReader<TcpStream>,
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
            stream: BufReader::new(stream),
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

    /// A line of the head, without its end.
    async fn line(&mut self) -> Result<String> {
        let mut line = Vec::new();
        loop {
            match self.stream.read_u8().await? {
                b'\n' => break,
                byte => line.push(byte),
            }
            ensure!(line.len() < LINE, "the head of an answer does not end");
        }
        Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
    }

    /// The status, and how long the body is if that is said.
    async fn head(&mut self) -> Result<(u16, Option<usize>)> {
        let first = self.line().await?;
        let status = first.split(' ').nth(1).context("no status")?.parse()?;
        let mut length = None;
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                return Ok((status, length));
            }
            let (name, value) = line.split_once(':').context("no header")?;
            if name.eq_ignore_ascii_case("content-length") {
                length = Some(value.trim().parse()?);
            }
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
        let mut body = vec![0; length.with_context(|| format!("{path}: an answer of unknown length"))?];
        self.stream.read_exact(&mut body).await?;
        Ok(Answer { status, body })
    }

    /// Follows something live for as long as it is sent, and throws away what comes. Says when the first of it is here.
    pub(super) async fn follow(mut self, path: &str, begun: oneshot::Sender<()>) -> Result<()> {
        self.ask("GET", path, b"").await?;
        let (status, _) = self.head().await?;
        ensure!(status == 200, "{path}: {status}");
        self.stream.read_u8().await?;
        // Whoever does not wait for it has ended.
        let _ = begun.send(());
        tokio::io::copy(&mut self.stream, &mut tokio::io::sink()).await?;
        Ok(())
    }
}
