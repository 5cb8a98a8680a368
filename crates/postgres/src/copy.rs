//! COPY from one server into another: rows pass through, and are never kept.

use std::pin::pin;

use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt, TryStreamExt, future};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::writer::FOREVER;
use crate::{Error, Session, Writer, session};

/// Rows are gathered up to this size, because each is a message of its own.
const CHUNK_BYTES: usize = 64 << 10;
/// So many chunks wait at most between the two servers.
const CHUNKS_WAITING: usize = 16;
/// In the text format a row ends with it, and it is nowhere else.
const ROW_END: u8 = b'\n';

/// What goes from one server to the other.
enum Passed {
    Rows(Bytes),
    /// Everything that the first server has, so many rows.
    Whole(u64),
}

impl Writer {
    /// Runs `into`, a `COPY ... FROM STDIN` in the text format, with what `out`, a `COPY ... TO STDOUT`, reads in another
    /// session; returns how many rows there were. The limits of the statement before hold.
    ///
    /// Nobody may drop the future while it runs: [`Writer::cancel`] ends it. The other session is of no use after an error.
    ///
    /// # Errors
    /// Whatever either server says. The rows of the target are not there then.
    pub async fn feed(&self, into: &str, source: &Session, out: &str) -> Result<u64, Error> {
        let (sender, receiver) = mpsc::channel(CHUNKS_WAITING);
        let both = future::join(
            source.send_rows(out, sender),
            self.take_rows(into, receiver),
        );
        let (sent, taken) = both.await;
        match (sent, taken) {
            (_, Ok(rows)) => Ok(rows),
            // It ended because nobody sent any more.
            (Err(error), Err(Error::Cancelled { .. })) if !self.is_cancelled() => Err(error),
            (_, Err(error)) => Err(error),
        }
    }

    async fn take_rows(&self, into: &str, rows: mpsc::Receiver<Passed>) -> Result<u64, Error> {
        let link = self.link();
        let started = Instant::now();
        let explain = |error| link.explain(&error, started, FOREVER, FOREVER);
        let work = async {
            let sink = link.client.copy_in::<_, Bytes>(into).await;
            let mut sink = pin!(sink.map_err(explain)?);
            // Held here: it closes with the work, and whoever sends learns that nobody takes any more.
            let mut rows = rows;
            let cancelled = |message: &str| Error::Cancelled {
                message: message.to_owned(),
            };
            loop {
                match rows.recv().await {
                    _ if self.is_cancelled() => return Err(cancelled("the copy was cancelled")),
                    Some(Passed::Rows(bytes)) => sink.send(bytes).await.map_err(explain)?,
                    Some(Passed::Whole(sent)) => {
                        let taken = sink.as_mut().finish().await.map_err(explain)?;
                        return match taken == sent {
                            true => Ok(taken),
                            false => Err(cancelled(&format!(
                                "{sent} rows were sent and {taken} arrived"
                            ))),
                        };
                    }
                    // A sink that is dropped tells the server to forget what came.
                    None => return Err(cancelled("the rows ended early")),
                }
            }
        };
        link.run(work, FOREVER).await
    }
}

impl Session {
    async fn send_rows(&self, out: &str, sender: mpsc::Sender<Passed>) -> Result<(), Error> {
        let link = self.link();
        let started = Instant::now();
        let explain = |error| link.explain(&error, started, FOREVER, FOREVER);
        // Held here: it closes with the work.
        let sender = sender;
        let work = async {
            link.read_text(&session::timeout(std::time::Duration::ZERO))
                .await?;
            let stream = link.client.copy_out(out).await.map_err(explain)?;
            let mut stream = pin!(stream);
            let mut chunk = BytesMut::with_capacity(2 * CHUNK_BYTES);
            let mut rows = 0;
            while let Some(bytes) = stream.try_next().await.map_err(explain)? {
                rows += bytes.iter().filter(|byte| **byte == ROW_END).count() as u64;
                chunk.extend_from_slice(&bytes);
                if chunk.len() >= CHUNK_BYTES {
                    let full = Passed::Rows(chunk.split().freeze());
                    if sender.send(full).await.is_err() {
                        return Ok(());
                    }
                }
            }
            for last in [Passed::Rows(chunk.freeze()), Passed::Whole(rows)] {
                if sender.send(last).await.is_err() {
                    break;
                }
            }
            Ok(())
        };
        let result = link.run(work, FOREVER).await;
        drop(sender);
        result
    }
}
