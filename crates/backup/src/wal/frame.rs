//! Files of WAL as frames of zstd: packed with a look at what they are, unpacked with a proof of it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use pawang_core::{Kind, Report};
use sha2::{Digest, Sha256};
use zstd::stream::raw::CParameter;

use super::{SEGMENT_HEADER_BYTES, SegmentHeader, SegmentName, Walked, Walker};
use crate::Error;
use crate::repository::ClusterId;

/// Files are read, and frames unpacked, by so many bytes.
const CHUNK_BYTES: usize = 256 << 10;

/// A segment that is handed over.
#[derive(Clone, Debug)]
pub enum Content {
    /// Its bytes.
    Bytes(Bytes),
    /// The file that it is in.
    File(PathBuf),
}

/// A segment as it is stored, and what is known of it.
#[derive(Clone, Debug)]
pub struct Packed {
    /// Its name.
    pub name: SegmentName,
    /// One frame of zstd, with the size and a checksum of its content.
    pub frame: Bytes,
    /// CRC-32C of its content.
    pub crc: u32,
    /// What its records say.
    pub walked: Walked,
}

impl Content {
    fn open(&self) -> Result<(Box<dyn Read + '_>, u64), Error> {
        match self {
            Content::Bytes(bytes) => Ok((Box::new(&bytes[..]), bytes.len() as u64)),
            Content::File(path) => {
                let failed = |source| unreadable(path, source);
                let file = File::open(path).map_err(failed)?;
                let bytes = file.metadata().map_err(failed)?.len();
                Ok((Box::new(file), bytes))
            }
        }
    }
}

/// Compresses a segment. It blocks.
///
/// # Errors
/// It cannot be read, or it is not the segment of the cluster that its name says (invariant I7).
pub fn pack(
    cluster: &ClusterId,
    name: &SegmentName,
    content: &Content,
    level: i32,
) -> Result<Packed, Error> {
    let (mut from, bytes) = content.open()?;
    let failed = |source| match content {
        Content::File(path) => unreadable(path, source),
        Content::Bytes(_) => unreadable(Path::new(&name.to_string()), source),
    };
    let mut walker = Walker::new(name.timeline);
    let mut crc = 0;
    let mut seen = 0;
    let mut encoder = encoder(bytes, level).map_err(failed)?;
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let read = fill(&mut from, &mut chunk).map_err(failed)?;
        let taken = &chunk[..read];
        if seen == 0 {
            let head = &taken[..read.min(SEGMENT_HEADER_BYTES)];
            check(cluster, name, head, bytes)?;
        }
        seen += read as u64;
        walker.feed(taken);
        crc = crc32c::crc32c_append(crc, taken);
        encoder.write_all(taken).map_err(failed)?;
        if read < chunk.len() {
            break;
        }
    }
    if seen != bytes {
        return Err(refuse(
            name,
            &format!("it changed its size from {bytes} to {seen} bytes"),
        ));
    }
    let frame = encoder.finish().map_err(failed)?;
    let walked = walker.finish().map_err(|problem| refuse(name, &problem))?;
    Ok(Packed {
        name: *name,
        frame: frame.into(),
        crc,
        walked,
    })
}

/// Compresses a small file as it is.
///
/// # Errors
/// The compressor refuses the level.
pub(super) fn pack_plain(bytes: &[u8], level: i32) -> io::Result<Bytes> {
    let mut encoder = encoder(bytes.len() as u64, level)?;
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?.into())
}

/// Stock `zstd -d` sees rot by the checksum, and truncation by the size.
fn encoder(bytes: u64, level: i32) -> io::Result<zstd::stream::write::Encoder<'static, Vec<u8>>> {
    let room = usize::try_from(bytes / 2).unwrap_or(0);
    let mut encoder = zstd::stream::write::Encoder::new(Vec::with_capacity(room), level)?;
    encoder.set_parameter(CParameter::ChecksumFlag(true))?;
    encoder.set_pledged_src_size(Some(bytes))?;
    encoder.include_contentsize(true)?;
    Ok(encoder)
}

fn check(cluster: &ClusterId, name: &SegmentName, head: &[u8], bytes: u64) -> Result<(), Error> {
    let header = SegmentHeader::parse(head).map_err(|problem| refuse(name, &problem))?;
    header
        .check(cluster, name)
        .map_err(|problem| refuse(name, &problem))?;
    if bytes != u64::from(header.segment_bytes) {
        let problem = format!("it has {bytes} bytes instead of {}", header.segment_bytes);
        return Err(refuse(name, &problem));
    }
    Ok(())
}

fn refuse(name: &SegmentName, problem: &str) -> Error {
    let report = Report::new(
        Kind::Refused,
        format!("cannot archive WAL segment \"{name}\""),
    );
    Error::Refused(Box::new(
        report.with_detail(problem).with_hint("pawang wal status"),
    ))
}

fn unreadable(path: &Path, source: io::Error) -> Error {
    Error::File {
        doing: "read",
        path: path.to_owned(),
        source,
    }
}

/// Reads until the chunk is full or there is no more.
fn fill(from: &mut impl Read, chunk: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < chunk.len() {
        match from.read(&mut chunk[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Decompresses exactly one frame, chunk by chunk, of at most so many bytes; returns how many there were.
///
/// # Errors
/// The text says what is wrong with the frame, or what `take` said.
pub(super) fn unpack(
    frame: &[u8],
    bytes_max: u64,
    mut take: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<u64> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(frame)?.single_frame();
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut seen = 0;
    loop {
        let read = fill(&mut decoder, &mut chunk)?;
        seen += read as u64;
        if seen > bytes_max {
            let told = format!("it has more than {bytes_max} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, told));
        }
        take(&chunk[..read])?;
        if read < chunk.len() {
            break;
        }
    }
    if !decoder.finish().is_empty() {
        let told = "bytes follow its frame of zstd";
        return Err(io::Error::new(io::ErrorKind::InvalidData, told));
    }
    Ok(seen)
}

/// Returns the SHA-256 of a frame's content.
///
/// # Errors
/// It is no whole frame.
pub(crate) fn content_digest(frame: &[u8]) -> io::Result<[u8; 32]> {
    let mut hash = Sha256::new();
    unpack(frame, u64::MAX, |bytes| {
        hash.update(bytes);
        Ok(())
    })?;
    Ok(hash.finalize().into())
}

pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_whole_frame_is_unpacked_and_nothing_else() {
        let content = vec![7; CHUNK_BYTES + 9];
        let frame = pack_plain(&content, 1).unwrap();
        let mut back = Vec::new();
        let mut keep = |bytes: &[u8]| {
            back.extend_from_slice(bytes);
            Ok(())
        };
        assert_eq!(
            unpack(&frame, u64::MAX, &mut keep).unwrap(),
            content.len() as u64
        );
        assert_eq!(back, content);
        let drop_all = |_: &[u8]| Ok(());
        assert!(unpack(&frame, 9, drop_all).is_err(), "too long");
        assert!(
            unpack(&frame[..frame.len() - 1], u64::MAX, drop_all).is_err(),
            "cut"
        );
        assert!(unpack(&[&frame[..], b"x"].concat(), u64::MAX, drop_all).is_err());
        assert!(unpack(&[&frame[..], &frame[..]].concat(), u64::MAX, drop_all).is_err());
        assert!(unpack(b"", u64::MAX, drop_all).is_err());
        for place in 0..frame.len() {
            let mut rotten = frame.to_vec();
            // The format leaves one bit of its header without a meaning: not this one.
            rotten[place] ^= 0x01;
            let read = unpack(&rotten, u64::MAX, drop_all);
            assert!(read.is_err(), "a bit of byte {place} of {}", frame.len());
        }
    }
}
