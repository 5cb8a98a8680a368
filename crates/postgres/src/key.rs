//! The number of the backend that the server announced at log-in.
//!
//! The driver keeps it to itself except in the cancel request that it writes; so it writes one into a buffer.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::CancelToken;
use tokio_postgres::tls::{ChannelBinding, TlsStream};

use crate::channel::Settled;

/// Returns the process id that came with the session's cancel key; a pooler invents one.
pub(crate) async fn process_id(token: &CancelToken) -> i32 {
    let buffer = Buffer::default();
    let written = token.cancel_query_raw(buffer.clone(), Settled).await;
    let bytes = buffer.0.lock().unwrap_or_else(PoisonError::into_inner);
    // Length, code, process id, secret.
    match (written, bytes.get(8..12)) {
        (Ok(()), Some(id)) => i32::from_be_bytes(id.try_into().expect("the slice has four bytes")),
        _ => 0,
    }
}

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl TlsStream for Buffer {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl AsyncRead for Buffer {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Buffer {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut buffer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        buffer.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
