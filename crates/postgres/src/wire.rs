//! The socket itself: opening it, asking for TLS, and remembering the first bytes that the peer sent.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

const HEARD_BYTES_MAX: usize = 64;
/// No message before login is longer; a larger length means another protocol.
const GREETING_BYTES_MAX: u32 = 64 * 1024;
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// Where a socket leads.
#[derive(Clone, Debug)]
pub(crate) enum Address {
    /// A TCP address.
    Tcp(SocketAddr),
    /// The file of a Unix socket.
    Socket(PathBuf),
}

/// A connected socket that remembers how the conversation began.
pub(crate) struct Wire {
    stream: Stream,
    heard: Heard,
    remembering: bool,
}

enum Stream {
    Tcp(TcpStream),
    Socket(UnixStream),
}

/// The first bytes that a peer sent.
#[derive(Clone, Default)]
pub(crate) struct Heard(Arc<Mutex<Vec<u8>>>);

/// What a server answers when asked for TLS.
pub(crate) enum SslAnswer {
    /// It waits for the handshake.
    Yes,
    /// It goes on without.
    No,
    /// It sent an error message instead.
    Error,
}

impl Heard {
    fn push(&self, bytes: &[u8]) -> bool {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = HEARD_BYTES_MAX - heard.len();
        heard.extend_from_slice(&bytes[..bytes.len().min(room)]);
        heard.len() < HEARD_BYTES_MAX
    }

    /// Returns what was sent, or `None` if nothing was.
    pub(crate) fn bytes(&self) -> Option<Vec<u8>> {
        let heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (!heard.is_empty()).then(|| heard.clone())
    }
}

/// Says whether bytes can be the beginning of what a PostgreSQL server sends before login.
pub(crate) fn is_greeting(bytes: &[u8]) -> bool {
    let Some((&kind, rest)) = bytes.split_first() else {
        return true;
    };
    let plausible = match rest.first_chunk::<4>() {
        Some(length) => (4..GREETING_BYTES_MAX).contains(&u32::from_be_bytes(*length)),
        None => true,
    };
    b"RESKNZv".contains(&kind) && plausible
}

/// Shows foreign bytes without letting them control a terminal.
pub(crate) fn show(bytes: &[u8]) -> String {
    format!("\"{}\"", bytes.escape_ascii())
}

impl Wire {
    /// Opens a socket.
    pub(crate) async fn open(address: &Address) -> io::Result<Wire> {
        let stream = match address {
            Address::Tcp(address) => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                Stream::Tcp(stream)
            }
            Address::Socket(path) => Stream::Socket(UnixStream::connect(path).await?),
        };
        Ok(Wire {
            stream,
            heard: Heard::default(),
            remembering: true,
        })
    }

    /// Returns the memory of the first bytes, which outlives the socket.
    pub(crate) fn heard(&self) -> Heard {
        self.heard.clone()
    }

    /// Says whether the peer is on this machine: a Unix socket, loopback, or one of our own addresses.
    pub(crate) fn local(&self) -> bool {
        match &self.stream {
            Stream::Socket(_) => true,
            Stream::Tcp(stream) => match (stream.peer_addr(), stream.local_addr()) {
                (Ok(peer), Ok(own)) => {
                    let peer = peer.ip().to_canonical();
                    peer.is_loopback() || peer == own.ip().to_canonical()
                }
                _ => false,
            },
        }
    }

    /// Asks the server for TLS.
    pub(crate) async fn ask_for_tls(&mut self) -> io::Result<SslAnswer> {
        self.write_all(&SSL_REQUEST).await?;
        self.flush().await?;
        let mut answer = [0];
        self.read_exact(&mut answer).await?;
        let answer = match answer[0] {
            b'S' => SslAnswer::Yes,
            b'N' => SslAnswer::No,
            b'E' => SslAnswer::Error,
            _ => return Err(self.foreign()),
        };
        // A server is silent until the handshake. More bytes mean another protocol (SSH begins with an S too), or
        // somebody in between who wants plain bytes to be taken for encrypted ones (CVE-2021-23222).
        let mut more = [0; HEARD_BYTES_MAX];
        let count = match &self.stream {
            Stream::Tcp(stream) => stream.try_read(&mut more),
            Stream::Socket(stream) => stream.try_read(&mut more),
        };
        match (count, &answer) {
            (Ok(1..), SslAnswer::Yes | SslAnswer::No) => {
                self.heard.push(&more);
                Err(self.foreign())
            }
            _ => {
                self.forget();
                Ok(answer)
            }
        }
    }

    /// Forgets the answer to the question for TLS, so that only what follows counts as the greeting.
    fn forget(&mut self) {
        self.heard = Heard::default();
        self.remembering = true;
    }

    fn foreign(&self) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, "another protocol")
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Stream::Socket(stream) => Pin::new(stream).poll_read(cx, buffer),
        };
        if self.remembering && polled.is_ready() {
            self.remembering = self.heard.push(&buffer.filled()[before..]);
        }
        polled
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Socket(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Socket(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Socket(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_greeting;

    #[test]
    fn knows_a_greeting_from_other_protocols() {
        for (bytes, expected) in [
            (&b""[..], true),
            (b"R\0\0\0\x08\0\0\0\0", true),
            (b"E\0\0\0\x60SFATAL", true),
            (b"HTTP/1.1 400 Bad Request", false),
            (b"SSH-2.0-OpenSSH_9.2", false),
            (b"J\0\0\0\x0a8.0.36", false),
            (b"-ERR wrong", false),
        ] {
            assert_eq!(is_greeting(bytes), expected, "{bytes:?}");
        }
    }
}
