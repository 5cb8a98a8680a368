//! A part is read again: its members are those of the manifest, and the pages inside are what their checksums say.

use std::io::{self, Read};

use super::checksum::PageRules;
use super::contents::Contents;
use super::crew::{PageCheck, PageTally, check_pages};
use super::cut::{Cutter, Geometry};
use super::manifest::{self, Manifest, ManifestError};
use super::tar::{Piece, Splitter};

/// A part is read by so many bytes.
const READ_BYTES: usize = 256 << 10;

/// What a part, or all parts together, hold.
#[derive(Debug, Default)]
pub(crate) struct Rechecked {
    contents: Contents,
    pages: PageTally,
    pub(crate) members: u32,
}

impl Rechecked {
    /// Adds what another part holds.
    pub(crate) fn join(&mut self, other: Rechecked) {
        self.contents.join(other.contents);
        self.pages.join(other.pages);
        self.members += other.members;
    }

    /// Returns how many pages were checked, how many are wrong, and the first of these in words.
    pub(crate) fn pages(&self) -> (u64, u64, Vec<String>) {
        let tell = |page: &super::crew::WrongPage| {
            let file = String::from_utf8_lossy(&page.file);
            format!("\"{file}\" page {}: {}", page.block, page.problem)
        };
        let first = self.pages.first.iter().map(tell);
        (self.pages.checked, self.pages.wrong, first.collect())
    }

    /// Compares with the manifest, when all parts were read; the text says what differs.
    ///
    /// # Errors
    /// The manifest cannot be read, or is none.
    pub(crate) fn compare(
        mut self,
        source: &mut dyn Read,
    ) -> Result<(Manifest, Result<(), String>), ManifestError> {
        let contents = &mut self.contents;
        let manifest = manifest::read(source, &mut |file| contents.compare(&file))?;
        Ok((manifest, self.contents.finish()))
    }
}

/// Reads a part to its end.
///
/// # Errors
/// It cannot be read, or is no archive of whole members.
pub(crate) fn part(
    source: &mut dyn Read,
    tablespace: Option<u32>,
    geometry: Geometry,
    rules: &PageRules,
) -> io::Result<Rechecked> {
    let mut splitter = Splitter::default();
    let mut cutter = Cutter::new(geometry);
    cutter.archive(tablespace);
    let pages = PageCheck {
        rules: *rules,
        geometry,
        source: None,
    };
    let mut found = Rechecked::default();
    let mut buffer = vec![0; READ_BYTES];
    let wrong = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    loop {
        let read = source.read(&mut buffer)?;
        let mut input = &buffer[..read];
        while let Some(piece) = splitter.next(&mut input).map_err(wrong)? {
            match piece {
                Piece::Member => cutter.member(splitter.member(), splitter.header()),
                Piece::Data(data) => cutter.data(data),
                Piece::Padding(padding) => cutter.padding(padding),
                Piece::End => {}
            }
        }
        if read == 0 {
            splitter.finish().map_err(wrong)?;
            cutter.end();
        }
        while let Some(mut chunk) = cutter.take() {
            found.members += chunk.members;
            for extent in &chunk.extents {
                let content = &mut chunk.raw[extent.from..extent.from + extent.bytes];
                found.contents.add(extent, crc32c::crc32c(content));
                check_pages(extent, content, &pages, &mut found.pages);
            }
            cutter.reuse(chunk.raw);
        }
        if read == 0 {
            return Ok(found);
        }
    }
}
