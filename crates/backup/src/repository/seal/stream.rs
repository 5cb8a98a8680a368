//! The content of a sealed object: chunks of 64 KiB, each authenticated with its place and with whether it is the last.

use std::io::{self, BufRead, Read, Write};
use std::sync::Arc;

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use super::header::Header;
use super::{FILE_KEY_BYTES, Keys, Recipient, SealError, Stamp, derive, random};

const CHUNK_BYTES: usize = 64 << 10;
/// What a payload begins with.
const NONCE_BYTES: usize = 16;
const PAYLOAD: &str = "payload";

/// ChaCha20 with Poly1305 under one key.
pub(super) struct Cipher {
    key: LessSafeKey,
    counter: u64,
}

/// Seals what is written to it, in bounded memory.
pub(crate) struct Sealer {
    cipher: Cipher,
    /// What goes out before the first chunk.
    begin: Vec<u8>,
    /// The chunk that fills.
    chunk: Vec<u8>,
}

/// Reads what is sealed, in bounded memory. A chunk is given only after it was found to be what was sealed; that nothing is
/// missing is known at the end alone.
pub(crate) struct Opener<R> {
    from: R,
    keys: Arc<Keys>,
    path: String,
    cipher: Option<Cipher>,
    /// An opened chunk, of which so much was given.
    chunk: Vec<u8>,
    given: usize,
    ended: bool,
}

impl Cipher {
    pub(super) const TAG_BYTES: usize = 16;

    pub(super) fn new(key: &[u8; 32]) -> Cipher {
        let key = UnboundKey::new(&CHACHA20_POLY1305, key);
        Cipher {
            key: LessSafeKey::new(key.expect("the key has the length that it takes")),
            counter: 0,
        }
    }

    /// Seals the one text that the key is used for.
    pub(super) fn seal_once(self, text: &mut Vec<u8>) {
        let nonce = Nonce::assume_unique_for_key([0; NONCE_LEN]);
        let sealed = self.key.seal_in_place_append_tag(nonce, Aad::empty(), text);
        sealed.expect("the text is short");
    }

    /// Opens the one text that the key was used for; `None` when it was sealed with another one.
    pub(super) fn open_once(self, text: &mut [u8]) -> Option<&[u8]> {
        let nonce = Nonce::assume_unique_for_key([0; NONCE_LEN]);
        let opened = self.key.open_in_place(nonce, Aad::empty(), text).ok()?;
        Some(opened)
    }

    fn of_payload(file_key: &[u8; FILE_KEY_BYTES], nonce: &[u8]) -> Cipher {
        Cipher::new(&derive(nonce, file_key, PAYLOAD))
    }

    /// Eleven bytes that count chunks, and one that tells the last.
    fn nonce(&self, last: bool) -> Nonce {
        let mut nonce = [0; NONCE_LEN];
        nonce[3..11].copy_from_slice(&self.counter.to_be_bytes());
        nonce[11] = u8::from(last);
        Nonce::assume_unique_for_key(nonce)
    }

    fn seal_chunk(&mut self, chunk: &mut Vec<u8>, last: bool) {
        let nonce = self.nonce(last);
        self.counter += 1;
        let sealed = self
            .key
            .seal_in_place_append_tag(nonce, Aad::empty(), chunk);
        sealed.expect("a chunk is short");
    }

    fn open_chunk(&mut self, chunk: &mut Vec<u8>, last: bool) -> Result<(), SealError> {
        let nonce = self.nonce(last);
        let cut = last.then(|| chunk.clone());
        let opened = self.key.open_in_place(nonce, Aad::empty(), chunk);
        if let Ok(bytes) = opened.map(|opened| opened.len()) {
            chunk.truncate(bytes);
            self.counter += 1;
            // Where something went before, a last chunk holds something.
            return match last && bytes == 0 && self.counter > 1 {
                true => Err(SealError::Chunk(self.counter)),
                false => Ok(()),
            };
        }
        let nonce = self.nonce(false);
        let whole = cut.is_some_and(|mut cut| {
            let opened = self.key.open_in_place(nonce, Aad::empty(), &mut cut);
            opened.is_ok()
        });
        Err(match whole {
            true => SealError::Truncated(self.counter + 1),
            false => SealError::Chunk(self.counter + 1),
        })
    }
}

/// Returns how many bytes follow a header, for a content of so many.
pub(super) fn payload_bytes(content_bytes: u64) -> u64 {
    let chunks = content_bytes.div_ceil(CHUNK_BYTES as u64).max(1);
    NONCE_BYTES as u64 + content_bytes + chunks * Cipher::TAG_BYTES as u64
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealer")
            .field("chunks", &self.cipher.counter)
            .finish_non_exhaustive()
    }
}

impl Sealer {
    /// Begins an object.
    ///
    /// # Errors
    /// The operating system gives no random numbers, or a recipient is no usable key.
    pub(crate) fn new(recipients: &[Recipient], path: &str) -> io::Result<Sealer> {
        let file_key = random()?;
        let mut begin = Header::write(recipients, &Stamp::named(path), &file_key)?;
        let mut sealer = Sealer::of_payload(&file_key)?;
        begin.append(&mut sealer.begin);
        Ok(Sealer { begin, ..sealer })
    }

    /// Begins what follows a header.
    pub(super) fn of_payload(file_key: &[u8; FILE_KEY_BYTES]) -> io::Result<Sealer> {
        let nonce = random::<NONCE_BYTES>()?;
        Ok(Sealer {
            cipher: Cipher::of_payload(file_key, &nonce),
            begin: nonce.to_vec(),
            chunk: Vec::with_capacity(CHUNK_BYTES + Cipher::TAG_BYTES),
        })
    }

    /// Seals bytes; what does not fill a chunk waits for more.
    ///
    /// # Errors
    /// The sink refused.
    pub(crate) fn write(&mut self, mut bytes: &[u8], sink: &mut dyn Write) -> io::Result<()> {
        while !bytes.is_empty() {
            // A full chunk is the last one if nothing more comes.
            if self.chunk.len() == CHUNK_BYTES {
                self.chunk_to(false, sink)?;
            }
            let room = CHUNK_BYTES - self.chunk.len();
            let (now, later) = bytes.split_at(bytes.len().min(room));
            self.chunk.extend_from_slice(now);
            bytes = later;
        }
        Ok(())
    }

    /// Seals the last chunk.
    ///
    /// # Errors
    /// The sink refused.
    pub(crate) fn finish(mut self, sink: &mut dyn Write) -> io::Result<()> {
        self.chunk_to(true, sink)
    }

    fn chunk_to(&mut self, last: bool, sink: &mut dyn Write) -> io::Result<()> {
        sink.write_all(&self.begin)?;
        self.begin.clear();
        self.cipher.seal_chunk(&mut self.chunk, last);
        sink.write_all(&self.chunk)?;
        self.chunk.clear();
        Ok(())
    }
}

impl<R: BufRead> Opener<R> {
    /// Opens an object under its name; nothing is read before the first read.
    pub(crate) fn new(from: R, keys: Arc<Keys>, path: &str) -> Opener<R> {
        Opener {
            from,
            keys,
            path: path.to_owned(),
            cipher: None,
            chunk: Vec::new(),
            given: 0,
            ended: false,
        }
    }

    fn begin(&mut self) -> io::Result<Cipher> {
        let header = Header::read(&mut self.from)?;
        let file_key = header.open(&self.keys)?;
        // What `age` itself sealed has no name.
        if let Some(stamp) = header.stamp().filter(|stamp| stamp.path != self.path) {
            return Err(SealError::OtherObject(stamp.path).into());
        }
        let mut nonce = [0; NONCE_BYTES];
        let read = self.from.read_exact(&mut nonce);
        read.map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => SealError::Truncated(0).into(),
            _ => error,
        })?;
        Ok(Cipher::of_payload(&file_key, &nonce))
    }

    fn next(&mut self) -> io::Result<()> {
        if self.cipher.is_none() {
            self.cipher = Some(self.begin()?);
        }
        let cipher = self.cipher.as_mut().expect("it was made just now");
        self.chunk.clear();
        self.given = 0;
        let room = (CHUNK_BYTES + Cipher::TAG_BYTES) as u64;
        let from = &mut self.from;
        Read::take(&mut *from, room).read_to_end(&mut self.chunk)?;
        self.ended = from.fill_buf()?.is_empty();
        if self.chunk.len() < Cipher::TAG_BYTES {
            return Err(SealError::Truncated(cipher.counter).into());
        }
        let opened = cipher.open_chunk(&mut self.chunk, self.ended);
        opened.map_err(io::Error::from)
    }
}

impl<R: BufRead> Read for Opener<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.given == self.chunk.len() {
            if self.ended || out.is_empty() {
                return Ok(0);
            }
            self.next().inspect_err(|_| self.chunk.clear())?;
        }
        let read = out.len().min(self.chunk.len() - self.given);
        out[..read].copy_from_slice(&self.chunk[self.given..self.given + read]);
        self.given += read;
        Ok(read)
    }
}
