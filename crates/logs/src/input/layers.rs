//! Compression, told by the first bytes and not by the name.

use std::io::{self, BufRead, BufReader, Read};

use bzip2::read::MultiBzDecoder;
use flate2::read::MultiGzDecoder;
use lz4_flex::frame::FrameDecoder;
use lzma_rust2::XzReader;

use super::Peeked;

/// Bytes needed to tell what a file is: the header of a tar member.
pub(crate) const MAGIC_BYTES: usize = 512;

/// Compressions inside each other that are undone; more is an attack.
const LAYERS_MAX: usize = 4;

/// Memory that the dictionary of an xz file may take, in KiB: what `xz -9` needs.
const XZ_KIB_MAX: u32 = 66 * 1024;

/// Bytes read at once from below a decompressor.
const BUFFER_BYTES: usize = 128 * 1024;

/// The bytes below all compressions, and the names of these, outermost first.
pub(crate) type Peel<'r> = (Peeked<Box<dyn Read + 'r>>, Vec<&'static str>);

/// Undoes every compression and returns the bytes with the names of the compressions, outermost first.
pub(crate) fn peel<'r>(reader: Box<dyn Read + 'r>) -> io::Result<Peel<'r>> {
    let mut peeked = Peeked::new(reader);
    let mut layers = Vec::new();
    while let Some(layer) = compression(peeked.peek(MAGIC_BYTES)) {
        if layers.len() == LAYERS_MAX {
            return Err(io::Error::other("it is compressed more than four times"));
        }
        layers.push(layer);
        peeked = Peeked::new(undo(layer, peeked)?);
    }
    Ok((peeked, layers))
}

/// Returns the compression that bytes begin with.
fn compression(head: &[u8]) -> Option<&'static str> {
    match head {
        [0x1f, 0x8b, 8, ..] => Some("gz"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some("zst"),
        // A skippable frame, which pzstd and lz4 both write first.
        [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some("zst"),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some("xz"),
        [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, ..]
        | [b'B', b'Z', b'h', b'1'..=b'9', 0x17, 0x72, 0x45, 0x38, ..] => Some("bz2"),
        [0x04, 0x22, 0x4d, 0x18, ..] => Some("lz4"),
        _ => None,
    }
}

/// Whether bytes begin with those of a compression.
pub(crate) fn compressed(head: &[u8]) -> bool {
    compression(head).is_some()
}

fn undo<'r>(
    layer: &'static str,
    reader: Peeked<Box<dyn Read + 'r>>,
) -> io::Result<Box<dyn Read + 'r>> {
    let reader = BufReader::with_capacity(BUFFER_BYTES, reader);
    Ok(match layer {
        "gz" => Box::new(MultiGzDecoder::new(reader)),
        "zst" => Box::new(zstd::stream::read::Decoder::with_buffer(reader)?),
        "xz" => Box::new(XzReader::new_mem_limit(reader, true, XZ_KIB_MAX)),
        "bz2" => Box::new(MultiBzDecoder::new(reader)),
        _ => Box::new(Frames::new(reader)),
    })
}

/// Every frame of an lz4 file: the decoder stops after each, and takes an end between two blocks for the end of the frame.
struct Frames<R: Read> {
    decoder: Option<FrameDecoder<Starved<R>>>,
}

/// A reader that knows whether it was asked for more than it has.
struct Starved<R> {
    inner: R,
    starved: bool,
}

impl<R: BufRead> Frames<R> {
    fn new(inner: R) -> Frames<R> {
        let starved = false;
        Frames {
            decoder: Some(FrameDecoder::new(Starved { inner, starved })),
        }
    }
}

impl<R: Read> Read for Starved<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(into)?;
        self.starved |= count == 0 && !into.is_empty();
        Ok(count)
    }
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while let Some(decoder) = &mut self.decoder {
            let count = decoder.read(into)?;
            if count > 0 || into.is_empty() {
                return Ok(count);
            }
            let below = decoder.get_mut();
            if below.starved {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if below.inner.fill_buf()?.is_empty() {
                self.decoder = None;
                break;
            }
            self.decoder = self
                .decoder
                .take()
                .map(|decoder| FrameDecoder::new(decoder.into_inner()));
        }
        Ok(0)
    }
}

/// Whether bytes begin with the header of a tar member, by its checksum.
pub(crate) fn is_archive(peeked: &mut Peeked<impl Read>) -> bool {
    let head = peeked.peek(MAGIC_BYTES);
    let Some(stored) = head.get(148..156).filter(|_| head.len() == MAGIC_BYTES) else {
        return false;
    };
    let digits = stored
        .iter()
        .skip_while(|&&byte| byte == b' ')
        .take_while(|byte| (b'0'..=b'7').contains(byte));
    let stored = digits.fold(0_u32, |sum, digit| sum * 8 + u32::from(digit - b'0'));
    let sum = |bytes: &[u8]| bytes.iter().map(|&byte| u32::from(byte)).sum::<u32>();
    head[0] != 0 && stored == sum(&head[..148]) + 8 * u32::from(b' ') + sum(&head[156..])
}

/// Returns why bytes cannot be read at all: an archive that this program does not open.
pub(crate) fn refused(head: &[u8]) -> Option<&'static str> {
    match head {
        [b'P', b'K', 3, 4, ..] => Some("it is a zip archive, which must be unpacked first"),
        [b'7', b'z', 0xbc, 0xaf, ..] => Some("it is a 7z archive, which must be unpacked first"),
        [b'R', b'a', b'r', b'!', 0x1a, ..] => {
            Some("it is a rar archive, which must be unpacked first")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn lz4(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn gz(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn bz2(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zst(bytes: &[u8]) -> Vec<u8> {
        zstd::encode_all(bytes, 1).unwrap()
    }

    fn plain(bytes: &[u8]) -> (Vec<u8>, Vec<&'static str>, io::Result<()>) {
        let (mut reader, layers) = peel(Box::new(bytes)).unwrap();
        let mut all = Vec::new();
        let ended = reader.read_to_end(&mut all).map(drop);
        (all, layers, ended)
    }

    #[test]
    fn each_compression_is_told_by_its_bytes_and_has_many_members() {
        let text = b"2026-08-21 08:00:00 UTC [1] LOG:  one\n".repeat(3000);
        for (name, pack) in [
            ("gz", gz as fn(&[u8]) -> Vec<u8>),
            ("zst", zst),
            ("bz2", bz2),
            ("lz4", lz4),
        ] {
            let packed = [pack(&text), pack(b""), pack(&text)].concat();
            let (all, layers, ended) = plain(&packed);
            assert!(ended.is_ok(), "{name}: {ended:?}");
            assert_eq!(layers, [name]);
            assert!(all == [&text[..], &text[..]].concat(), "{name}");
        }
        let (all, layers, _) = plain(&gz(&zst(&text)));
        assert_eq!((all, layers), (text, vec!["gz", "zst"]));
    }

    #[test]
    fn a_file_cut_short_is_never_a_silent_end() {
        let text: Vec<u8> = (0..20_000_u32)
            .flat_map(|number| {
                format!("{} line\n", number.wrapping_mul(2_654_435_761)).into_bytes()
            })
            .collect();
        for (name, pack) in [
            ("gz", gz as fn(&[u8]) -> Vec<u8>),
            ("zst", zst),
            ("bz2", bz2),
            ("lz4", lz4),
        ] {
            let packed = pack(&text);
            for cut in [
                12,
                100,
                packed.len() / 3,
                packed.len() / 2,
                packed.len() - 9,
                packed.len() - 1,
            ] {
                let (all, _, ended) = plain(&packed[..cut]);
                assert!(
                    ended.is_err(),
                    "{name} cut at {cut} of {} read {}",
                    packed.len(),
                    all.len()
                );
                assert!(text.starts_with(&all), "{name} cut at {cut}");
            }
        }
    }

    #[test]
    fn plain_text_is_plain() {
        let (all, layers, ended) = plain(b"PK is a name\n");
        assert_eq!((all.as_slice(), layers.len()), (&b"PK is a name\n"[..], 0));
        assert!(ended.is_ok());
        assert!(!is_archive(&mut Peeked::new(&b"LOG:  x\n".repeat(100)[..])));
    }
}
