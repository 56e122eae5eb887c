//! What the bytes of a connection pass through: the socket, and with a certificate TLS above it.

use std::io::{self, ErrorKind};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::tls::Tls;

/// How long the end of a connection may take: to say that it ends, and to let a caller whose request was not read
/// go on writing.
const LINGER: Duration = Duration::from_secs(2);
/// How much it may write.
const LINGER_BYTES: usize = 32 << 20;

/// What HTTP without TLS gets where TLS is spoken.
const PLAIN: &str = "this port takes encrypted connections only: ask with https:// in place of http://\n";

/// A socket, with or without TLS above it.
pub(crate) trait Layered: AsyncRead + AsyncWrite + Send + Unpin {
    fn socket(&self) -> &TcpStream;
}

impl Layered for TcpStream {
    fn socket(&self) -> &TcpStream {
        self
    }
}

impl Layered for TlsStream<TcpStream> {
    fn socket(&self) -> &TcpStream {
        self.get_ref().0
    }
}

pub(crate) type Stream = Box<dyn Layered>;

/// Shakes hands with a client. `None` if it hung up, or spoke HTTP without TLS and was told so.
pub(crate) async fn shake_hands(socket: TcpStream, tls: &Tls) -> io::Result<Option<Stream>> {
    let mut first = [0];
    if socket.peek(&mut first).await? == 0 {
        return Ok(None);
    }
    // A method begins with a letter; the first record of TLS with 22.
    if first[0].is_ascii_alphabetic() {
        tell_plain(socket).await?;
        return Ok(None);
    }
    let stream = tls.acceptor().accept(socket).await?;
    Ok(Some(Box::new(stream)))
}

async fn tell_plain(mut socket: TcpStream) -> io::Result<()> {
    let length = PLAIN.len();
    let answer = format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {length}\r\n\
         connection: close\r\n\r\n{PLAIN}"
    );
    socket.write_all(answer.as_bytes()).await?;
    finish(Box::new(socket), true).await;
    Ok(())
}

/// Ends the stream. A socket that is closed while bytes come in is reset, and the caller would lose the answer
/// that says why its request was not read; so those bytes are thrown away for a while.
pub(crate) async fn finish(mut stream: Stream, unread: bool) {
    let end = async {
        if stream.shutdown().await.is_ok() && unread {
            discard(stream.socket()).await;
        }
    };
    drop(tokio::time::timeout(LINGER, end).await);
}

async fn discard(socket: &TcpStream) {
    let mut buffer = [0_u8; 8 << 10];
    let mut total = 0;
    while total < LINGER_BYTES && socket.readable().await.is_ok() {
        match socket.try_read(&mut buffer) {
            Ok(0) => return,
            Ok(read) => total += read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}
