//! Decompression in a thread of its own, so that it and the scanner work at the same time.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;

use crate::input::peel;

/// Bytes handed over at once.
const BUFFER_BYTES: usize = 512 * 1024;

/// Buffers that wait for the scanner; each is used again.
const BUFFERS: usize = 3;

/// What a decompressor hands over: a buffer and how many bytes of it are filled, none at the end.
type Handed = io::Result<(Vec<u8>, usize)>;

/// The decompressed bytes of a reader, which another thread reads.
pub(crate) struct Piped {
    full: Option<Receiver<Handed>>,
    empty: Sender<Vec<u8>>,
    current: (Vec<u8>, usize),
    taken: usize,
    ended: bool,
    thread: Option<JoinHandle<()>>,
}

impl Piped {
    /// Starts to decompress, and returns the compressions, outermost first.
    pub(crate) fn start(raw: Box<dyn Read + Send>) -> io::Result<(Piped, Vec<&'static str>)> {
        let (send_layers, layers) = sync_channel(1);
        let (send_full, full) = sync_channel(BUFFERS);
        let (empty, take_empty) = channel();
        let thread = std::thread::Builder::new()
            .name("decompress".to_owned())
            .spawn(move || decompress(raw, &send_layers, &send_full, &take_empty))?;
        let piped = Piped {
            full: Some(full),
            empty,
            current: (Vec::new(), 0),
            taken: 0,
            ended: false,
            thread: Some(thread),
        };
        let layers = layers.recv().unwrap_or_else(|_| Err(stopped()))?;
        Ok((piped, layers))
    }
}

/// A decompressor that panics on damaged bytes ends without a word.
fn stopped() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the compressed data is damaged")
}

fn decompress(
    raw: Box<dyn Read + Send>,
    layers: &SyncSender<io::Result<Vec<&'static str>>>,
    full: &SyncSender<Handed>,
    empty: &Receiver<Vec<u8>>,
) {
    let mut reader = match peel(raw) {
        Ok((reader, found)) => {
            if layers.send(Ok(found)).is_err() {
                return;
            }
            reader
        }
        Err(error) => {
            // Nobody listens any more when this fails.
            let _ = layers.send(Err(error));
            return;
        }
    };
    loop {
        let mut buffer = empty.try_recv().unwrap_or_else(|_| vec![0; BUFFER_BYTES]);
        let mut filled = 0;
        let ended = loop {
            match reader.read(&mut buffer[filled..]) {
                Ok(0) => break (filled < BUFFER_BYTES).then_some(Ok(())),
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Some(Err(error)),
            }
        };
        if filled > 0 && full.send(Ok((buffer, filled))).is_err() {
            return;
        }
        if let Some(ended) = ended {
            let _ = full.send(ended.map(|()| (Vec::new(), 0)));
            return;
        }
    }
}

impl Read for Piped {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.taken == self.current.1 && !self.ended {
            let full = self.full.as_ref().expect("it is taken when dropped only");
            let next = full.recv().unwrap_or_else(|_| Err(stopped()));
            self.ended = next.as_ref().map_or(true, |(_, filled)| *filled == 0);
            let (used, _) = std::mem::replace(&mut self.current, next?);
            self.taken = 0;
            if !used.is_empty() {
                // The decompressor may have ended already.
                let _ = self.empty.send(used);
            }
        }
        let rest = &self.current.0[self.taken..self.current.1];
        let count = rest.len().min(into.len());
        into[..count].copy_from_slice(&rest[..count]);
        self.taken += count;
        Ok(count)
    }
}

impl Drop for Piped {
    fn drop(&mut self) {
        // Without its receiver the decompressor ends at its next buffer.
        self.full = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
