//! One object that is written piece by piece, in bounded memory, by a thread of its own.
//!
//! The object appears whole and durable at its end, or not at all.

use std::io::{self, Write};
use std::sync::Arc;
use std::thread::JoinHandle;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use object_store::path::Path as ObjectPath;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::Rate;
use super::seal::Sealer;

/// So many pieces are on their way at a time.
const FLYING_MAX: usize = 2;
/// So many pieces wait to be sent.
const WAITING_MAX: usize = 1;

/// What became of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) bytes: u64,
    /// Of its bytes, in hexadecimal.
    pub(super) sha256: String,
}

/// Where an object goes, and how.
#[derive(Clone, Debug)]
pub(super) struct Destination {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) path: String,
    pub(super) piece_bytes: usize,
    pub(super) rate: Option<Arc<Rate>>,
}

/// An object that is being written; one that is dropped before [`Upload::finish`] never appears.
#[derive(Debug)]
pub(super) struct Upload {
    piece: Vec<u8>,
    piece_bytes: usize,
    pieces: Option<mpsc::Sender<Piece>>,
    thread: Option<JoinHandle<Result<Stored, object_store::Error>>>,
    failed: Option<object_store::Error>,
}

#[derive(Debug)]
struct Piece {
    bytes: Bytes,
    last: bool,
}

impl Upload {
    /// Starts the thread that sends; it works within the runtime, which must run meanwhile.
    pub(super) fn start(destination: Destination, runtime: &Handle) -> io::Result<Upload> {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        let piece_bytes = destination.piece_bytes;
        let runtime = runtime.clone();
        let thread = std::thread::Builder::new()
            .name("pawang-upload".to_owned())
            .spawn(move || runtime.block_on(send(&destination, receiver)))?;
        Ok(Upload {
            piece: Vec::with_capacity(piece_bytes),
            piece_bytes,
            pieces: Some(sender),
            thread: Some(thread),
            failed: None,
        })
    }

    /// Waits until the object is whole and durable.
    pub(super) fn finish(mut self) -> Result<Stored, object_store::Error> {
        let rest = std::mem::take(&mut self.piece);
        // An error of the thread comes out of it below.
        let _sent = self.hand_over(rest, true);
        self.end()
    }

    /// Returns why it failed, after a write said that it did.
    pub(super) fn why(mut self) -> object_store::Error {
        let failed = self.failed.take();
        failed
            .or_else(|| self.end().err())
            .unwrap_or_else(abandoned)
    }

    fn hand_over(&mut self, bytes: Vec<u8>, last: bool) -> io::Result<()> {
        let piece = Piece {
            bytes: Bytes::from(bytes),
            last,
        };
        let sent = self
            .pieces
            .as_ref()
            .is_some_and(|pieces| pieces.blocking_send(piece).is_ok());
        if sent {
            return Ok(());
        }
        let error = self.end().err();
        self.failed = error.or_else(|| self.failed.take());
        Err(io::Error::other("the upload ended"))
    }

    fn end(&mut self) -> Result<Stored, object_store::Error> {
        self.pieces = None;
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => Err(self.failed.take().unwrap_or_else(abandoned)),
        }
    }
}

impl Write for Upload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.piece_bytes - self.piece.len();
        let taken = bytes.len().min(room);
        self.piece.extend_from_slice(&bytes[..taken]);
        if self.piece.len() == self.piece_bytes {
            let full = std::mem::replace(&mut self.piece, Vec::with_capacity(self.piece_bytes));
            self.hand_over(full, false)?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An upload, and what seals the bytes on their way into it, where they are sealed.
#[derive(Debug)]
pub(super) struct Outlet {
    pub(super) upload: Upload,
    pub(super) sealer: Option<Sealer>,
}

impl Outlet {
    /// Waits until the object is whole and durable.
    pub(super) fn finish(mut self) -> Result<Stored, object_store::Error> {
        if let Some(sealer) = self.sealer.take()
            && sealer.finish(&mut self.upload).is_err()
        {
            return Err(self.upload.why());
        }
        self.upload.finish()
    }
}

impl Write for Outlet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.sealer {
            Some(sealer) => sealer.write(bytes, &mut self.upload).map(|()| bytes.len()),
            None => self.upload.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        // Nothing of ours runs on: the thread sees the closed channel and takes back what it sent.
        let _abandoned = self.end();
    }
}

pub(super) fn abandoned() -> object_store::Error {
    object_store::Error::Generic {
        store: "upload",
        source: "it was given up before its end".into(),
    }
}

#[derive(Default)]
struct Sum {
    bytes: u64,
    hash: Sha256,
}

impl Sum {
    fn add(&mut self, piece: &Bytes) {
        self.bytes += piece.len() as u64;
        self.hash.update(piece);
    }

    fn stored(self) -> Stored {
        Stored {
            bytes: self.bytes,
            sha256: hexadecimal(&self.hash.finalize()),
        }
    }
}

pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a text takes any letter");
        text
    })
}

async fn send(
    destination: &Destination,
    mut pieces: mpsc::Receiver<Piece>,
) -> Result<Stored, object_store::Error> {
    let path = ObjectPath::from(destination.path.as_str());
    let mut sum = Sum::default();
    let first = pieces.recv().await.ok_or_else(abandoned)?;
    if first.last {
        sum.add(&first.bytes);
        wait(destination, &first).await;
        let options = PutOptions::from(PutMode::Create);
        let payload = PutPayload::from_bytes(first.bytes);
        destination.store.put_opts(&path, payload, options).await?;
        return Ok(sum.stored());
    }
    let mut upload = destination.store.put_multipart(&path).await?;
    if let Err(error) = send_all(destination, &mut *upload, first, pieces, &mut sum).await {
        // What matters is why it ended; what cannot be taken back is swept later.
        let _aborted = upload.abort().await;
        return Err(error);
    }
    let stored = sum.stored();
    match upload.complete().await {
        Ok(_) => Ok(stored),
        Err(error) => {
            // An answer may get lost after the work was done, and the second attempt then finds nothing to complete.
            let there = destination.store.head(&path).await;
            there
                .is_ok_and(|there| there.size == stored.bytes)
                .then_some(stored)
                .ok_or(error)
        }
    }
}

async fn send_all(
    destination: &Destination,
    upload: &mut dyn MultipartUpload,
    first: Piece,
    mut pieces: mpsc::Receiver<Piece>,
    sum: &mut Sum,
) -> Result<(), object_store::Error> {
    let mut flying = FuturesUnordered::new();
    let mut piece = first;
    loop {
        sum.add(&piece.bytes);
        wait(destination, &piece).await;
        if !piece.bytes.is_empty() {
            flying.push(upload.put_part(PutPayload::from_bytes(piece.bytes)));
        }
        if piece.last {
            break;
        }
        piece = loop {
            tokio::select! {
                biased;
                Some(done) = flying.next(), if !flying.is_empty() => done?,
                next = pieces.recv(), if flying.len() < FLYING_MAX => break next.ok_or_else(abandoned)?,
            }
        };
    }
    while let Some(done) = flying.next().await {
        done?;
    }
    Ok(())
}

async fn wait(destination: &Destination, piece: &Piece) {
    if let Some(rate) = &destination.rate {
        rate.take(piece.bytes.len() as u64).await;
    }
}
