//! An open connection of bytes, encrypted or not, before anybody has logged in on it.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};

use crate::certificate;
use crate::wire::Wire;

/// A connected socket with TLS as far as it was agreed upon.
pub(crate) enum Channel {
    /// Everybody on the way can read it.
    Plain(Wire),
    /// Encrypted.
    Tls(Box<tokio_rustls::client::TlsStream<Wire>>),
}

impl Channel {
    /// Returns what SCRAM binds itself to, which is a digest of the server's certificate (`tls-server-end-point`).
    pub(crate) fn end_point(&self) -> Option<Vec<u8>> {
        let Channel::Tls(stream) = self else {
            return None;
        };
        let certificates = stream.get_ref().1.peer_certificates()?;
        certificate::end_point(certificates.first()?)
    }
}

impl AsyncRead for Channel {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Channel::Plain(wire) => Pin::new(wire).poll_read(cx, buffer),
            Channel::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Channel {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Channel::Plain(wire) => Pin::new(wire).poll_write(cx, bytes),
            Channel::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Channel::Plain(wire) => Pin::new(wire).poll_flush(cx),
            Channel::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Channel::Plain(wire) => Pin::new(wire).poll_shutdown(cx),
            Channel::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

impl TlsStream for Channel {
    fn channel_binding(&self) -> ChannelBinding {
        match self.end_point() {
            Some(digest) => ChannelBinding::tls_server_end_point(digest),
            None => ChannelBinding::none(),
        }
    }
}

/// Tells tokio-postgres that TLS is settled: it takes the stream as it is.
pub(crate) struct Settled;

impl<S: TlsStream + Unpin> TlsConnect<S> for Settled {
    type Stream = S;
    type Error = Infallible;
    type Future = Ready<Result<S, Infallible>>;

    fn connect(self, stream: S) -> Self::Future {
        ready(Ok(stream))
    }
}
