//! Cuts archives into chunks that are checked and compressed each for itself, and into parts of whole members.
//!
//! A chunk never ends within a page, so that whoever gets it can check all of its pages alone.

use std::collections::VecDeque;
use std::sync::Arc;

use super::relation_file::RelationFile;
use super::source::Source;
use super::tar::{Member, MemberKind};
use crate::repository::PART_BYTES;

/// Bytes of an archive in one chunk, which becomes one frame of zstd; a page may be more.
pub(super) const CHUNK_BYTES: usize = 1 << 20;
/// How files of changed blocks begin (PostgreSQL 17).
pub(super) const CHANGED_MAGIC: u32 = 0xd3ae_1f0d;
/// The magic number, the count of blocks, and the length that is left of the file.
pub(super) const CHANGED_HEAD_BYTES: usize = 12;

/// How the files of a cluster are made up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Bytes of a page.
    pub block_bytes: u32,
    /// Pages of one file of a fork.
    pub segment_blocks: u32,
}

/// A piece of an archive.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    /// Its bytes, but for those that are still in files.
    pub(super) raw: Vec<u8>,
    /// What is read from files when it is worked on, in order.
    pub(super) fills: Vec<Fill>,
    /// The sum of their bytes.
    pub(super) filled: usize,
    pub(super) extents: Vec<Extent>,
    /// Members that begin in it.
    pub(super) members: u32,
    /// The archive's tablespace; none for the data directory.
    pub(super) tablespace: Option<u32>,
    /// Whether the part ends with it.
    pub(super) ends_part: bool,
}

/// Bytes of a chunk that are still in a file.
#[derive(Debug)]
pub(super) struct Fill {
    /// So many bytes of the chunk's own come before it.
    pub(super) behind: usize,
    pub(super) source: Arc<Source>,
    /// Where they lie in the file.
    pub(super) from: u64,
    pub(super) bytes: usize,
}

/// Content of one file within a chunk.
#[derive(Clone, Debug)]
pub(super) struct Extent {
    /// The file's path within the data directory.
    pub(super) file: Arc<[u8]>,
    /// Where it lies in the chunk.
    pub(super) from: usize,
    pub(super) bytes: usize,
    /// Where it lies in the file.
    pub(super) offset: u64,
    /// Whether the file ends with it.
    pub(super) ends_file: bool,
    /// When the file was changed, in seconds since 1970.
    pub(super) modified_s: u64,
    pub(super) pages: PageNumbers,
}

/// Which pages an extent has.
#[derive(Clone, Debug)]
pub(super) enum PageNumbers {
    /// It is not made of pages.
    None,
    /// All of them, and the file begins with this one.
    From(u32),
    /// Those of the list, after a header of so many bytes.
    Listed(Arc<[u32]>, u64),
}

/// The file that passes now.
struct Passing {
    file: Arc<[u8]>,
    offset: u64,
    bytes: u64,
    modified_s: u64,
    form: Form,
}

enum Form {
    Known(PageNumbers),
    /// Changed blocks: the header is not whole yet, and the file begins with this page.
    Head(Vec<u8>, u32),
}

/// Cuts.
pub(super) struct Cutter {
    geometry: Geometry,
    chunk: Chunk,
    /// Chunks that are ready to be taken.
    ready: VecDeque<Chunk>,
    /// Buffers that were used before.
    spare: Vec<Vec<u8>>,
    passing: Option<Passing>,
    tablespace: Option<u32>,
    part_bytes: u64,
    part_bytes_max: u64,
}

impl Cutter {
    pub(super) fn new(geometry: Geometry) -> Cutter {
        Cutter {
            geometry,
            chunk: Chunk::default(),
            ready: VecDeque::new(),
            spare: Vec::new(),
            passing: None,
            tablespace: None,
            part_bytes: 0,
            part_bytes_max: PART_BYTES,
        }
    }

    /// Begins an archive; the one before must have ended.
    pub(super) fn archive(&mut self, tablespace: Option<u32>) {
        self.tablespace = tablespace;
        self.chunk.tablespace = tablespace;
    }

    /// Begins a member with the blocks of its header.
    pub(super) fn member(&mut self, member: &Member, header: &[u8]) {
        if self.part_bytes >= self.part_bytes_max {
            self.seal(true);
        } else if self.chunk.bytes() >= CHUNK_BYTES {
            self.seal(false);
        }
        self.chunk.members += 1;
        self.raw(header);
        self.passing = None;
        if member.kind == MemberKind::File {
            let passing = self.passing(member);
            if member.bytes == 0 {
                self.chunk.extents.push(passing.extent(&self.chunk, 0));
            }
            self.passing = Some(passing);
        }
    }

    /// Adds content of the member.
    pub(super) fn data(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            let (now, later) = data.split_at(self.limit().min(data.len()));
            data = later;
            self.add(now);
        }
    }

    /// Adds content of the member that is read later, by whoever works on the chunk.
    pub(super) fn file(&mut self, source: &Arc<Source>, mut from: u64, mut bytes: u64) {
        while bytes > 0 {
            let now = u64::try_from(self.limit()).unwrap_or(u64::MAX).min(bytes);
            let length = usize::try_from(now).expect("a chunk's room is a usize");
            self.extend(length);
            self.chunk.fills.push(Fill {
                behind: self.chunk.raw.len(),
                source: Arc::clone(source),
                from,
                bytes: length,
            });
            self.chunk.filled += length;
            self.part_bytes += now;
            if let Some(passing) = &mut self.passing {
                passing.offset += now;
            }
            from += now;
            bytes -= now;
        }
    }

    /// Returns how many bytes of content may come now; begins a chunk when the last one is full.
    fn limit(&mut self) -> usize {
        let to_boundary = self
            .passing
            .as_ref()
            .map_or(0, |passing| passing.to_boundary(&self.geometry));
        let mut room = CHUNK_BYTES.saturating_sub(self.chunk.bytes());
        if room == 0 && to_boundary == 0 {
            self.seal(false);
            room = CHUNK_BYTES;
        }
        match &self.passing {
            Some(passing) => passing.limit(room, &self.geometry),
            None => room,
        }
    }

    /// Adds what fills the member's last block up.
    pub(super) fn padding(&mut self, bytes: &[u8]) {
        self.raw(bytes);
    }

    /// Ends the archive, and its last part.
    pub(super) fn end(&mut self) {
        if self.part_bytes > 0 {
            self.seal(true);
        }
        self.passing = None;
    }

    /// Takes a chunk that is ready.
    pub(super) fn take(&mut self) -> Option<Chunk> {
        self.ready.pop_front()
    }

    /// Returns how many bytes the chunks have that are ready.
    pub(super) fn ready_bytes(&self) -> u64 {
        self.ready.iter().map(|chunk| chunk.bytes() as u64).sum()
    }

    /// Gives a used buffer back.
    pub(super) fn reuse(&mut self, mut buffer: Vec<u8>) {
        buffer.clear();
        self.spare.push(buffer);
    }

    fn raw(&mut self, bytes: &[u8]) {
        self.chunk.raw.extend_from_slice(bytes);
        self.part_bytes += bytes.len() as u64;
    }

    fn add(&mut self, data: &[u8]) {
        self.extend(data.len());
        if let Some(passing) = &mut self.passing {
            passing.pass(data, &self.geometry);
        }
        self.raw(data);
    }

    /// Tells where in the chunk the next bytes of the member will be.
    fn extend(&mut self, bytes: usize) {
        let Some(passing) = &self.passing else { return };
        let extent = passing.extent(&self.chunk, bytes);
        match self.chunk.extents.last_mut() {
            Some(last) if last.continues(&extent) => {
                last.bytes += extent.bytes;
                last.ends_file = extent.ends_file;
            }
            _ => self.chunk.extents.push(extent),
        }
    }

    fn seal(&mut self, ends_part: bool) {
        let next = Chunk {
            raw: self.spare.pop().unwrap_or_default(),
            tablespace: self.tablespace,
            ..Chunk::default()
        };
        let mut full = std::mem::replace(&mut self.chunk, next);
        full.ends_part = ends_part;
        if ends_part {
            self.part_bytes = 0;
        }
        self.ready.push_back(full);
    }

    fn passing(&self, member: &Member) -> Passing {
        let path = member.path.strip_prefix(b"./").unwrap_or(&member.path);
        let file = match self.tablespace {
            None => path.to_vec(),
            Some(oid) => [format!("pg_tblspc/{oid}/").as_bytes(), path].concat(),
        };
        let relation = RelationFile::read(path, self.tablespace);
        let begin = relation.map(|relation| {
            relation
                .segment
                .saturating_mul(self.geometry.segment_blocks)
        });
        let form = match (relation, begin) {
            (Some(relation), Some(begin)) if relation.incremental => Form::Head(Vec::new(), begin),
            (Some(_), Some(begin)) => Form::Known(PageNumbers::From(begin)),
            _ => Form::Known(PageNumbers::None),
        };
        Passing {
            file: Arc::from(file),
            offset: 0,
            bytes: member.bytes,
            modified_s: member.modified_s,
            form,
        }
    }
}

impl Chunk {
    /// Returns how many bytes of an archive it is.
    pub(super) fn bytes(&self) -> usize {
        self.raw.len() + self.filled
    }

    /// Says whether some of its bytes are still at the server.
    pub(super) fn is_far(&self) -> bool {
        let far = |fill: &Fill| matches!(*fill.source, Source::Server(_));
        self.fills.iter().any(far)
    }
}

impl Passing {
    /// Returns how many bytes of the page are still to come.
    fn to_boundary(&self, geometry: &Geometry) -> usize {
        match &self.form {
            Form::Known(PageNumbers::None) | Form::Head(..) => 0,
            Form::Known(_) => {
                let block = u64::from(geometry.block_bytes);
                (self.offset.next_multiple_of(block) - self.offset) as usize
            }
        }
    }

    /// Returns how many bytes may come now: to the end of the chunk, or of the page across it, or of the header.
    fn limit(&self, room: usize, geometry: &Geometry) -> usize {
        match &self.form {
            Form::Known(PageNumbers::None) => room,
            Form::Known(_) => {
                let block = u64::from(geometry.block_bytes);
                let end = (self.offset + room as u64).next_multiple_of(block);
                (end - self.offset) as usize
            }
            Form::Head(head, _) => {
                let missing = head_bytes(head, geometry.block_bytes) - head.len() as u64;
                room.min(missing as usize)
            }
        }
    }

    fn extent(&self, chunk: &Chunk, bytes: usize) -> Extent {
        Extent {
            file: self.file.clone(),
            from: chunk.bytes(),
            bytes,
            offset: self.offset,
            ends_file: self.offset + bytes as u64 == self.bytes,
            modified_s: self.modified_s,
            pages: match &self.form {
                Form::Known(pages) => pages.clone(),
                Form::Head(..) => PageNumbers::None,
            },
        }
    }

    fn pass(&mut self, data: &[u8], geometry: &Geometry) {
        self.offset += data.len() as u64;
        let Form::Head(head, begin) = &mut self.form else {
            return;
        };
        head.extend_from_slice(data);
        let word = |at: usize| {
            let bytes = head.get(at..at + 4)?;
            Some(u32::from_le_bytes(bytes.try_into().ok()?))
        };
        let Some(count) = word(4) else {
            return;
        };
        if word(0) != Some(CHANGED_MAGIC) || count > geometry.segment_blocks {
            self.form = Form::Known(PageNumbers::None);
        } else if head_bytes(head, geometry.block_bytes) == head.len() as u64 {
            let blocks = (0..count as usize)
                .filter_map(|place| word(CHANGED_HEAD_BYTES + 4 * place))
                .map(|block| block.saturating_add(*begin))
                .collect();
            self.form = Form::Known(PageNumbers::Listed(blocks, self.offset));
        }
    }
}

/// Returns how long a header of changed blocks is, as far as is known of it.
fn head_bytes(head: &[u8], block_bytes: u32) -> u64 {
    let least = CHANGED_HEAD_BYTES as u64;
    let Some(count) = head.get(4..8).and_then(|count| count.try_into().ok()) else {
        return least;
    };
    match u32::from_le_bytes(count) {
        0 => least,
        count => (least + 4 * u64::from(count)).next_multiple_of(u64::from(block_bytes)),
    }
}

impl Extent {
    fn continues(&self, next: &Extent) -> bool {
        Arc::ptr_eq(&self.file, &next.file)
            && self.offset + self.bytes as u64 == next.offset
            && self.from + self.bytes == next.from
            && std::mem::discriminant(&self.pages) == std::mem::discriminant(&next.pages)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::take::tar::{self, Piece, Splitter};

    const GEOMETRY: Geometry = Geometry {
        block_bytes: 8192,
        segment_blocks: 131_072,
    };

    fn member(path: &str, bytes: usize) -> Member {
        Member {
            path: path.into(),
            kind: MemberKind::File,
            bytes: bytes as u64,
            mode: 0o600,
            user: 0,
            group: 0,
            modified_s: 0,
            link: Vec::new(),
        }
    }

    /// Cuts an archive of these files that comes in pieces of a size.
    fn cut(files: &[(&str, Vec<u8>)], piece: usize, part_bytes_max: u64) -> (Vec<u8>, Vec<Chunk>) {
        let mut archive = Vec::new();
        for (path, content) in files {
            tar::write_header(&member(path, content.len()), &mut archive);
            archive.extend_from_slice(content);
            archive.resize(archive.len().next_multiple_of(512), 0);
        }
        let mut cutter = Cutter::new(GEOMETRY);
        cutter.part_bytes_max = part_bytes_max;
        cutter.archive(None);
        let (mut splitter, mut chunks) = (Splitter::default(), Vec::new());
        for mut input in archive.chunks(piece) {
            while let Some(piece) = splitter.next(&mut input).unwrap() {
                match piece {
                    Piece::Member => cutter.member(splitter.member(), splitter.header()),
                    Piece::Data(data) => cutter.data(data),
                    Piece::Padding(bytes) => cutter.padding(bytes),
                    Piece::End => {}
                }
            }
            chunks.extend(std::iter::from_fn(|| cutter.take()));
        }
        cutter.end();
        chunks.extend(std::iter::from_fn(|| cutter.take()));
        (archive, chunks)
    }

    /// The content of a file, put together again.
    fn content(chunks: &[Chunk], path: &str) -> Vec<u8> {
        let mut all = Vec::new();
        for chunk in chunks {
            for extent in &chunk.extents {
                if &*extent.file == path.as_bytes() {
                    assert_eq!(extent.offset, all.len() as u64);
                    all.extend_from_slice(&chunk.raw[extent.from..extent.from + extent.bytes]);
                }
            }
        }
        all
    }

    fn bytes(count: usize) -> Vec<u8> {
        (0..count).map(|at| (at / 8192 + at % 251) as u8).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8))]

        #[test]
        fn nothing_is_lost_and_no_page_is_cut(
            odd in 0usize..3_000_000,
            pages in 0usize..400,
            piece in 1000usize..100_000,
        ) {
            let files = [
                ("PG_VERSION", bytes(3)),
                ("pg_xact/0000", bytes(odd)),
                ("base/5/16385.1", bytes(pages * 8192)),
                ("base/5/empty", Vec::new()),
                ("base/5/16386", bytes(pages * 8192 / 2)),
            ];
            let (archive, chunks) = cut(&files, piece, u64::MAX);
            let all: Vec<u8> = chunks.iter().flat_map(|chunk| chunk.raw.clone()).collect();
            prop_assert!(all == archive);
            for (path, expected) in &files {
                prop_assert!(&content(&chunks, path) == expected, "{}", path);
            }
            for chunk in &chunks {
                prop_assert!(chunk.raw.len() < CHUNK_BYTES + 8192 + 1024);
                for extent in &chunk.extents {
                    if let PageNumbers::From(begin) = extent.pages {
                        prop_assert!(extent.offset % 8192 == 0);
                        prop_assert!(extent.ends_file || extent.bytes % 8192 == 0);
                        let second = &*extent.file == b"base/5/16385.1";
                        prop_assert_eq!(begin, if second { 131_072 } else { 0 });
                    }
                }
            }
            prop_assert_eq!(chunks.iter().filter(|chunk| chunk.ends_part).count(), 1);
            prop_assert!(chunks.last().unwrap().ends_part);
        }
    }

    #[test]
    fn parts_are_of_whole_members() {
        let files = ["a", "b", "c", "d"].map(|path| (path, bytes(700_000)));
        let (archive, chunks) = cut(&files, 30_000, 1_000_000);
        let mut parts = vec![Vec::new()];
        for chunk in &chunks {
            parts.last_mut().unwrap().extend_from_slice(&chunk.raw);
            if chunk.ends_part {
                parts.push(Vec::new());
            }
        }
        assert_eq!(parts.pop(), Some(Vec::new()));
        assert_eq!(parts.len(), 2);
        assert_eq!(parts.concat(), archive);
        for part in &parts {
            let mut splitter = Splitter::default();
            let mut input = part.as_slice();
            while splitter.next(&mut input).unwrap().is_some() {}
            assert_eq!(splitter.finish(), Ok(()));
        }
    }

    #[test]
    fn changed_blocks_have_the_numbers_of_their_header() {
        let mut content = Vec::new();
        for word in [CHANGED_MAGIC, 2, 100, 7, 99] {
            content.extend_from_slice(&word.to_le_bytes());
        }
        content.resize(8192, 0);
        content.extend(bytes(2 * 8192));
        for piece in [1, 5, 4000, 100_000] {
            let files = [("base/5/INCREMENTAL.16385.1", content.clone())];
            let (_, chunks) = cut(&files, piece, u64::MAX);
            let [head, pages] = chunks[0].extents.as_slice() else {
                panic!("{:?}", chunks[0].extents);
            };
            assert!(matches!(head.pages, PageNumbers::None) && head.bytes == 8192);
            let PageNumbers::Listed(blocks, 8192) = &pages.pages else {
                panic!("{:?}", pages.pages);
            };
            assert_eq!(**blocks, [131_079, 131_171]);
        }
    }
}
