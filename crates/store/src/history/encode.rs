//! The alphabet of the history's blobs: variable-length numbers, values, and compression.

use pawang_core::{Timestamp, Value};
use zstd::bulk::{Compressor, Decompressor};

/// Longest text, in bytes, that is kept of one value or one item of a list; longer ones are cut and marked.
pub const TEXT_BYTES_MAX: usize = 8 * 1024;
/// Most items that are kept of one list.
pub(super) const LIST_ITEMS_MAX: usize = 1_000;
/// Largest blob after decompression; more is damage.
const UNPACKED_BYTES_MAX: u64 = 512 << 20;
/// Blobs below this size are not compressed: the header of a frame would cost more.
const PACKED_BYTES_MIN: usize = 64;
/// Marks a text that was cut.
const CUT_MARK: &str = "… (cut)";

/// A blob that does not mean anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Torn(pub(super) &'static str);

/// Tags of values; in a frame's cells, numbers from [`tag::FREE`] on mean something else.
pub(super) mod tag {
    pub(in super::super) const NULL: u64 = 0;
    pub(in super::super) const FALSE: u64 = 1;
    pub(in super::super) const TRUE: u64 = 2;
    pub(in super::super) const INT: u64 = 3;
    pub(in super::super) const FLOAT: u64 = 4;
    pub(in super::super) const TIME: u64 = 5;
    pub(in super::super) const FINE_TIME: u64 = 6;
    pub(in super::super) const TEXT: u64 = 7;
    pub(in super::super) const LIST: u64 = 8;
    pub(in super::super) const FREE: u64 = 16;
}

/// Maps small positive and negative numbers to small positive ones.
pub(super) fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

/// The reverse of [`zigzag`].
pub(super) fn unzigzag(number: u64) -> i64 {
    ((number >> 1) as i64) ^ -((number & 1) as i64)
}

/// Appends a number, seven bits to a byte, the lowest first.
pub(super) fn put_uint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number as u8) | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Appends a number that may be negative.
pub(super) fn put_int(out: &mut Vec<u8>, number: i64) {
    put_uint(out, zigzag(number));
}

/// Appends bytes after their number.
pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_uint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Splits an instant into microseconds and the nanoseconds that remain.
pub(super) fn split(at: Timestamp) -> (i64, u16) {
    let nanos = at.as_nanosecond();
    let micros = i64::try_from(nanos.div_euclid(1000)).expect("a timestamp has less than 2^63 µs");
    let rest = u16::try_from(nanos.rem_euclid(1000)).expect("the rest of a division by 1000");
    (micros, rest)
}

/// The reverse of [`split`].
pub(super) fn join(micros: i64, nanos: u16) -> Result<Timestamp, Torn> {
    Timestamp::from_nanosecond(i128::from(micros) * 1000 + i128::from(nanos))
        .map_err(|_| Torn("a time is out of range"))
}

/// Appends a value; texts beyond [`TEXT_BYTES_MAX`] are cut.
pub(super) fn put_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => put_uint(out, tag::NULL),
        Value::Bool(false) => put_uint(out, tag::FALSE),
        Value::Bool(true) => put_uint(out, tag::TRUE),
        Value::Int(number) => {
            put_uint(out, tag::INT);
            put_int(out, *number);
        }
        Value::Float(number) => {
            put_uint(out, tag::FLOAT);
            out.extend_from_slice(&number.to_bits().to_le_bytes());
        }
        Value::Time(at) => {
            let (micros, nanos) = split(*at);
            put_uint(
                out,
                if nanos == 0 {
                    tag::TIME
                } else {
                    tag::FINE_TIME
                },
            );
            put_int(out, micros);
            if nanos != 0 {
                put_uint(out, u64::from(nanos));
            }
        }
        Value::Text(text) => {
            put_uint(out, tag::TEXT);
            put_text(out, text);
        }
        Value::List(items) => {
            put_uint(out, tag::LIST);
            put_uint(out, items.len().min(LIST_ITEMS_MAX) as u64);
            for item in items.iter().take(LIST_ITEMS_MAX) {
                put_text(out, item);
            }
        }
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    if text.len() <= TEXT_BYTES_MAX {
        return put_bytes(out, text.as_bytes());
    }
    let kept = &text[..text.floor_char_boundary(TEXT_BYTES_MAX - CUT_MARK.len())];
    put_uint(out, (kept.len() + CUT_MARK.len()) as u64);
    out.extend_from_slice(kept.as_bytes());
    out.extend_from_slice(CUT_MARK.as_bytes());
}

/// Reads what the `put_` functions wrote.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Cursor<'a> {
        Cursor { bytes }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Returns how many bytes are left.
    pub(super) fn left(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn byte(&mut self) -> Result<u8, Torn> {
        let (first, rest) = self.bytes.split_first().ok_or(Torn("a blob ends early"))?;
        self.bytes = rest;
        Ok(*first)
    }

    #[inline]
    pub(super) fn uint(&mut self) -> Result<u64, Torn> {
        if let [first @ 0..0x80, rest @ ..] = self.bytes {
            self.bytes = rest;
            return Ok(u64::from(*first));
        }
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(Torn("a number is too long"))
    }

    pub(super) fn int(&mut self) -> Result<i64, Torn> {
        self.uint().map(unzigzag)
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Torn> {
        let (taken, rest) = self
            .bytes
            .split_at_checked(count)
            .ok_or(Torn("a blob ends early"))?;
        self.bytes = rest;
        Ok(taken)
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], Torn> {
        let count = self.uint()?;
        self.take(usize::try_from(count).map_err(|_| Torn("a blob ends early"))?)
    }

    /// Reads how many things follow, each of which takes at least one byte.
    pub(super) fn count(&mut self) -> Result<usize, Torn> {
        let count = self.uint()?;
        let left = self.bytes.len();
        let count = usize::try_from(count).ok().filter(|count| *count <= left);
        count.ok_or(Torn("a count is larger than its blob"))
    }

    /// Reads a number below `limit`.
    pub(super) fn below(&mut self, limit: usize) -> Result<usize, Torn> {
        let number = usize::try_from(self.uint()?).ok();
        let number = number.filter(|number| *number < limit);
        number.ok_or(Torn("a number points outside"))
    }

    pub(super) fn value(&mut self) -> Result<Value, Torn> {
        let tag = self.uint()?;
        self.tagged(tag)
    }

    /// Reads a value whose tag was read before.
    pub(super) fn tagged(&mut self, tag: u64) -> Result<Value, Torn> {
        Ok(match tag {
            tag::NULL => Value::Null,
            tag::FALSE => Value::Bool(false),
            tag::TRUE => Value::Bool(true),
            tag::INT => Value::Int(self.int()?),
            tag::FLOAT => {
                let bytes = self.take(8)?.try_into().expect("eight bytes were taken");
                Value::Float(f64::from_bits(u64::from_le_bytes(bytes)))
            }
            tag::TIME => Value::Time(join(self.int()?, 0)?),
            tag::FINE_TIME => {
                let micros = self.int()?;
                let nanos = u16::try_from(self.uint()?).map_err(|_| Torn("a time is torn"))?;
                Value::Time(join(micros, nanos)?)
            }
            tag::TEXT => Value::Text(self.text()?.into()),
            tag::LIST => {
                let count = self.count()?;
                let items = (0..count).map(|_| self.text().map(str::to_owned));
                Value::List(items.collect::<Result<_, _>>()?)
            }
            _ => return Err(Torn("a value has no type")),
        })
    }

    fn text(&mut self) -> Result<&'a str, Torn> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Torn("a text is not UTF-8"))
    }
}

/// Returns whether two values are the same to the bit, which `==` does not say of floats.
pub(super) fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Int(one), Value::Int(other)) => one == other,
        (Value::Float(one), Value::Float(other)) => one.to_bits() == other.to_bits(),
        _ => one == other,
    }
}

/// Compresses blobs; keeps its working memory from one to the next.
pub(super) struct Packer {
    compressor: Compressor<'static>,
}

impl Packer {
    /// Returns a packer of a zstd level.
    pub(super) fn new(level: i32) -> Packer {
        let compressor = Compressor::new(level).expect("memory for a compressor");
        Packer { compressor }
    }

    pub(super) fn pack(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len().min(1024) + 1);
        if bytes.len() >= PACKED_BYTES_MIN {
            let packed = self.compressor.compress(bytes);
            let packed = packed.expect("a buffer of the size that zstd asks for");
            if packed.len() + 4 < bytes.len() {
                put_uint(&mut out, bytes.len() as u64);
                out.extend_from_slice(&packed);
                return out;
            }
        }
        put_uint(&mut out, 0);
        out.extend_from_slice(bytes);
        out
    }
}

/// Decompresses blobs; keeps its working memory from one to the next.
pub(super) struct Unpacker {
    decompressor: Decompressor<'static>,
}

impl Unpacker {
    pub(super) fn new() -> Unpacker {
        let decompressor = Decompressor::new().expect("memory for a decompressor");
        Unpacker { decompressor }
    }

    pub(super) fn unpack(&mut self, blob: &[u8]) -> Result<Vec<u8>, Torn> {
        let mut cursor = Cursor::new(blob);
        let size = cursor.uint()?;
        if size == 0 {
            return Ok(cursor.bytes.to_vec());
        }
        if size > UNPACKED_BYTES_MAX {
            return Err(Torn("a blob is larger than any that is written"));
        }
        let unpacked = self.decompressor.decompress(cursor.bytes, size as usize);
        let unpacked = unpacked.map_err(|_| Torn("a blob does not decompress"))?;
        if unpacked.len() as u64 == size {
            Ok(unpacked)
        } else {
            Err(Torn("a blob has not the size that it names"))
        }
    }
}
