//! The members of a tar archive while it passes, and headers for members of our own.
//!
//! It reads ustar, pax and GNU archives as the server, GNU tar and this program write them, in pieces of any size, and never holds
//! content. It unpacks nothing.

use std::borrow::Cow;

/// What archives are made of.
pub const BLOCK_BYTES: usize = 512;
/// Bytes of headers before a member's own: long names and the like.
const EXTENSION_BYTES_MAX: usize = 64 << 10;
/// The longest name that a plain header takes whole.
const NAME_BYTES: usize = 100;
/// The largest size that eleven octal digits say.
const OCTAL_MAX: u64 = (1 << 33) - 1;

/// What a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberKind {
    /// A file with content.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
    /// Something that data directories do not have, by its letter.
    Other(u8),
}

/// A member of an archive, without its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its path as it is written, which need not be UTF-8.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: MemberKind,
    /// Bytes of its content.
    pub bytes: u64,
    /// Its permissions.
    pub mode: u32,
    /// The user who owns it.
    pub user: u32,
    /// The group that owns it.
    pub group: u32,
    /// When it was changed, in seconds since 1970.
    pub modified_s: u64,
    /// Where a link points to.
    pub link: Vec<u8>,
}

/// What the archive has next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// A member begins: [`Splitter::member`] and [`Splitter::header`] say more.
    Member,
    /// Some of its content.
    Data(&'a [u8]),
    /// What fills its last block up.
    Padding(&'a [u8]),
    /// The archive ends.
    End,
}

/// The bytes are no archive that could be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TarError {
    /// The header says what cannot be.
    #[error("cannot read the archive: {what} after {at} bytes")]
    Header {
        /// What is wrong.
        what: &'static str,
        /// Where the header ends.
        at: u64,
    },
    /// It ends in the middle of a member.
    #[error("the archive ends in the middle of a member after {at} bytes")]
    Truncated {
        /// Its length.
        at: u64,
    },
}

/// Splits an archive into its members.
pub struct Splitter {
    state: State,
    member: Member,
    /// The blocks of the member's header, with those before that extend it.
    raw: Vec<u8>,
    /// Where the block that is being read begins in `raw`.
    block: usize,
    extended: Extended,
    passed: u64,
}

#[derive(Clone, Copy)]
enum State {
    Header,
    Extension { letter: u8, bytes: usize },
    Data(u64),
    Padding(u64),
    Ended,
}

/// What extending headers say of the next member.
#[derive(Default)]
struct Extended {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    bytes: Option<u64>,
}

impl Default for Splitter {
    fn default() -> Splitter {
        Splitter {
            state: State::Header,
            member: Member {
                path: Vec::new(),
                kind: MemberKind::File,
                bytes: 0,
                mode: 0,
                user: 0,
                group: 0,
                modified_s: 0,
                link: Vec::new(),
            },
            raw: Vec::with_capacity(BLOCK_BYTES),
            block: 0,
            extended: Extended::default(),
            passed: 0,
        }
    }
}

impl Splitter {
    /// Returns the member that began last.
    pub fn member(&self) -> &Member {
        &self.member
    }

    /// Returns the blocks of its header as they were read.
    pub fn header(&self) -> &[u8] {
        &self.raw
    }

    /// Returns how much of the member's content is still to come.
    pub fn left(&self) -> u64 {
        match self.state {
            State::Data(left) => left,
            _ => 0,
        }
    }

    /// Says that somebody else took so much of the content.
    ///
    /// # Panics
    /// There is not so much of it.
    pub fn pass(&mut self, bytes: u64) {
        let left = self.left().checked_sub(bytes);
        let left = left.expect("only what is left can be taken");
        if let State::Data(_) = self.state {
            self.state = State::Data(left);
            self.passed += bytes;
        }
    }

    /// Takes the next piece off the front of `input`; none when it needs more.
    ///
    /// # Errors
    /// What comes is no header.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Piece<'a>>, TarError> {
        loop {
            match self.state {
                State::Data(0) => self.state = State::Padding(padding(self.member.bytes)),
                State::Padding(0) => {
                    self.raw.clear();
                    self.block = 0;
                    self.state = State::Header;
                }
                State::Data(left) => {
                    return Ok(self.take(input, left).map(|piece| {
                        self.state = State::Data(left - piece.len() as u64);
                        Piece::Data(piece)
                    }));
                }
                State::Padding(left) => {
                    return Ok(self.take(input, left).map(|piece| {
                        self.state = State::Padding(left - piece.len() as u64);
                        Piece::Padding(piece)
                    }));
                }
                State::Header => {
                    if !self.fill(input, BLOCK_BYTES) {
                        return Ok(None);
                    }
                    if let Some(piece) = self.block()? {
                        return Ok(Some(piece));
                    }
                }
                State::Extension { letter, bytes } => {
                    if !self.fill(input, bytes.next_multiple_of(BLOCK_BYTES)) {
                        return Ok(None);
                    }
                    self.extend(letter, bytes)?;
                    self.block = self.raw.len();
                    self.state = State::Header;
                }
                State::Ended => {
                    let rest = input.len();
                    self.passed += rest as u64;
                    *input = &[];
                    return Ok(None);
                }
            }
        }
    }

    /// Says that nothing comes any more.
    ///
    /// # Errors
    /// A member is not whole.
    pub fn finish(&self) -> Result<(), TarError> {
        let whole = match self.state {
            State::Header => self.raw.is_empty(),
            State::Data(left) => left == 0 && padding(self.member.bytes) == 0,
            State::Padding(left) => left == 0,
            State::Extension { .. } => false,
            State::Ended => true,
        };
        if whole {
            Ok(())
        } else {
            Err(TarError::Truncated { at: self.passed })
        }
    }

    fn take<'a>(&mut self, input: &mut &'a [u8], most: u64) -> Option<&'a [u8]> {
        let bytes = usize::try_from(most).map_or(input.len(), |most| most.min(input.len()));
        let (piece, rest) = input.split_at(bytes);
        *input = rest;
        self.passed += bytes as u64;
        (bytes > 0).then_some(piece)
    }

    /// Fills the block that is being read up to so many bytes, and says whether it is whole.
    fn fill(&mut self, input: &mut &[u8], bytes: usize) -> bool {
        let missing = self.block + bytes - self.raw.len();
        if let Some(piece) = self.take(input, missing as u64) {
            self.raw.extend_from_slice(piece);
        }
        self.raw.len() == self.block + bytes
    }

    /// Reads a header's block: a member begins, the archive ends, or a header follows that extends the next one.
    fn block(&mut self) -> Result<Option<Piece<'static>>, TarError> {
        let wrong = |what| TarError::Header {
            what,
            at: self.passed,
        };
        let block = &self.raw[self.block..];
        if block.iter().all(|byte| *byte == 0) {
            if self.block > 0 {
                return Err(wrong("no member follows the header of a long name"));
            }
            self.state = State::Ended;
            return Ok(Some(Piece::End));
        }
        let fields = Fields(block);
        if fields.number(148, 8) != Some(sum(block)) {
            return Err(wrong("a header with another checksum"));
        }
        let letter = block[156];
        let bytes = fields
            .number(124, 12)
            .ok_or(wrong("a member without size"))?;
        if matches!(letter, b'x' | b'g' | b'L' | b'K') {
            let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
            if bytes > EXTENSION_BYTES_MAX || self.raw.len() > EXTENSION_BYTES_MAX {
                return Err(wrong("a header that is too long"));
            }
            self.block = self.raw.len();
            self.state = State::Extension { letter, bytes };
            return Ok(None);
        }
        let extended = std::mem::take(&mut self.extended);
        let kind = match letter {
            b'0' | 0 | b'7' => MemberKind::File,
            b'5' => MemberKind::Folder,
            b'2' => MemberKind::Link,
            other => MemberKind::Other(other),
        };
        let small = |at, width| fields.number(at, width).and_then(|n| u32::try_from(n).ok());
        self.member = Member {
            path: extended.path.unwrap_or_else(|| fields.path()),
            kind,
            bytes: match kind {
                MemberKind::Folder | MemberKind::Link => 0,
                MemberKind::Other(b'1' | b'3' | b'4' | b'6') => 0,
                _ => extended.bytes.unwrap_or(bytes),
            },
            mode: small(100, 8).ok_or(wrong("a member without permissions"))?,
            user: small(108, 8).unwrap_or(0),
            group: small(116, 8).unwrap_or(0),
            modified_s: fields.number(136, 12).unwrap_or(0),
            link: extended
                .link
                .unwrap_or_else(|| fields.text(157, NAME_BYTES).to_vec()),
        };
        self.state = State::Data(self.member.bytes);
        Ok(Some(Piece::Member))
    }

    /// Reads what a header that is not a member's own says of the next member.
    fn extend(&mut self, letter: u8, bytes: usize) -> Result<(), TarError> {
        let content = &self.raw[self.block..self.block + bytes];
        let until_zero = || {
            let end = content.iter().position(|byte| *byte == 0);
            content[..end.unwrap_or(bytes)].to_vec()
        };
        match letter {
            b'L' => self.extended.path = Some(until_zero()),
            b'K' => self.extended.link = Some(until_zero()),
            b'x' => {
                let read = records(content, &mut self.extended);
                read.ok_or(TarError::Header {
                    what: "an extended header that is not made of records",
                    at: self.passed,
                })?;
            }
            // What holds for all members is not about their names and sizes.
            _ => {}
        }
        Ok(())
    }
}

/// Reads the records of a pax header: `<length> <key>=<value>\n`.
fn records(mut content: &[u8], extended: &mut Extended) -> Option<()> {
    while !content.is_empty() {
        let space = content.iter().position(|byte| *byte == b' ')?;
        let length: usize = std::str::from_utf8(&content[..space]).ok()?.parse().ok()?;
        let record = content.get(space + 1..length)?.strip_suffix(b"\n")?;
        content = &content[length..];
        let equals = record.iter().position(|byte| *byte == b'=')?;
        let value = &record[equals + 1..];
        match &record[..equals] {
            b"path" => extended.path = Some(value.to_vec()),
            b"linkpath" => extended.link = Some(value.to_vec()),
            b"size" => extended.bytes = Some(std::str::from_utf8(value).ok()?.parse().ok()?),
            _ => {}
        }
    }
    Some(())
}

/// Returns how many bytes fill the last block of a member up.
pub fn padding(bytes: u64) -> u64 {
    bytes.next_multiple_of(BLOCK_BYTES as u64) - bytes
}

/// Appends the header of a member: one block of ustar, and before it one of pax where that does not say enough.
pub fn write_header(member: &Member, out: &mut Vec<u8>) {
    let mut records = Vec::new();
    if member.path.len() > NAME_BYTES {
        record(b"path", &member.path, &mut records);
    }
    if member.link.len() > NAME_BYTES {
        record(b"linkpath", &member.link, &mut records);
    }
    if member.bytes > OCTAL_MAX {
        record(b"size", member.bytes.to_string().as_bytes(), &mut records);
    }
    if !records.is_empty() {
        let long = Member {
            path: b"././@PaxHeader".to_vec(),
            kind: MemberKind::Other(b'x'),
            bytes: records.len() as u64,
            link: Vec::new(),
            ..member.clone()
        };
        block(&long, out);
        out.extend_from_slice(&records);
        out.resize(out.len().next_multiple_of(BLOCK_BYTES), 0);
    }
    block(member, out);
}

/// Appends one record; its length counts itself.
fn record(key: &[u8], value: &[u8], out: &mut Vec<u8>) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    out.extend_from_slice(length.to_string().as_bytes());
    out.push(b' ');
    out.extend_from_slice(key);
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(b'\n');
}

fn block(member: &Member, out: &mut Vec<u8>) {
    let mut block = [0; BLOCK_BYTES];
    let mut put = |at: usize, width: usize, bytes: &[u8]| {
        let bytes = &bytes[..bytes.len().min(width)];
        block[at..at + bytes.len()].copy_from_slice(bytes);
    };
    let octal = |number: u64, width: usize| Cow::from(format!("{number:0width$o}"));
    put(0, NAME_BYTES, &member.path);
    put(100, 8, octal(u64::from(member.mode & 0o7777), 7).as_bytes());
    // Numbers beyond seven digits are those of nobody.
    put(
        108,
        8,
        octal(u64::from(member.user).min(0o777_7777), 7).as_bytes(),
    );
    put(
        116,
        8,
        octal(u64::from(member.group).min(0o777_7777), 7).as_bytes(),
    );
    let bytes = if member.bytes > OCTAL_MAX {
        0
    } else {
        member.bytes
    };
    put(124, 12, octal(bytes, 11).as_bytes());
    put(
        136,
        12,
        octal(member.modified_s.min(OCTAL_MAX), 11).as_bytes(),
    );
    let letter = match member.kind {
        MemberKind::File => b'0',
        MemberKind::Folder => b'5',
        MemberKind::Link => b'2',
        MemberKind::Other(letter) => letter,
    };
    put(156, 1, &[letter]);
    put(157, NAME_BYTES, &member.link);
    put(257, 8, b"ustar\x0000");
    let sum = sum(&block);
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    out.extend_from_slice(&block);
}

/// Computes a header's checksum, as if its own place were spaces.
fn sum(block: &[u8]) -> u64 {
    let all: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
    let own: u64 = block[148..156].iter().map(|byte| u64::from(*byte)).sum();
    all - own + 8 * u64::from(b' ')
}

/// The fields of a header's block.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn text(&self, at: usize, width: usize) -> &'a [u8] {
        let field = &self.0[at..at + width];
        let end = field.iter().position(|byte| *byte == 0);
        &field[..end.unwrap_or(width)]
    }

    /// Reads octal digits, or a binary number where they do not suffice.
    fn number(&self, at: usize, width: usize) -> Option<u64> {
        let field = &self.0[at..at + width];
        if field[0] & 0x80 != 0 {
            let mut number = u64::from(field[0] & 0x7F);
            for byte in &field[1..] {
                number = number.checked_mul(256)? | u64::from(*byte);
            }
            return Some(number);
        }
        let text = std::str::from_utf8(self.text(at, width))
            .ok()?
            .trim_matches(' ');
        u64::from_str_radix(text, 8).ok()
    }

    fn path(&self) -> Vec<u8> {
        let name = self.text(0, NAME_BYTES);
        // GNU archives have times where ustar ones have the beginning of a long name.
        let prefix = match &self.0[257..263] {
            b"ustar\0" => self.text(345, 155),
            _ => b"",
        };
        if prefix.is_empty() {
            name.to_vec()
        } else {
            [prefix, b"/", name].concat()
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(path: &str, bytes: u64) -> Member {
        Member {
            path: path.into(),
            kind: MemberKind::File,
            bytes,
            mode: 0o600,
            user: 1000,
            group: 1000,
            modified_s: 1_700_000_000,
            link: Vec::new(),
        }
    }

    fn archive(members: &[(Member, Vec<u8>)]) -> Vec<u8> {
        let mut out = Vec::new();
        for (member, content) in members {
            write_header(member, &mut out);
            out.extend_from_slice(content);
            out.resize(out.len().next_multiple_of(BLOCK_BYTES), 0);
        }
        out
    }

    /// Splits an archive that comes in pieces of these sizes; returns its members and all bytes that passed.
    #[allow(clippy::type_complexity, reason = "two results of one test")]
    fn split(
        bytes: &[u8],
        sizes: &[usize],
    ) -> Result<(Vec<(Member, Vec<u8>)>, Vec<u8>, bool), TarError> {
        let mut splitter = Splitter::default();
        let (mut members, mut passed) = (Vec::<(Member, Vec<u8>)>::new(), Vec::new());
        let (mut rest, mut ended) = (bytes, false);
        let mut sizes = sizes.iter().cycle();
        while !rest.is_empty() {
            let size = (*sizes.next().expect("there are sizes")).clamp(1, rest.len());
            let (mut input, later) = rest.split_at(size);
            rest = later;
            while let Some(piece) = splitter.next(&mut input)? {
                match piece {
                    Piece::Member => {
                        passed.extend_from_slice(splitter.header());
                        members.push((splitter.member().clone(), Vec::new()));
                    }
                    Piece::Data(data) => {
                        passed.extend_from_slice(data);
                        members.last_mut().unwrap().1.extend_from_slice(data);
                    }
                    Piece::Padding(data) => passed.extend_from_slice(data),
                    Piece::End => ended = true,
                }
            }
        }
        splitter.finish()?;
        Ok((members, passed, ended))
    }

    #[test]
    fn an_archive_may_lack_its_end() {
        let bytes = archive(&[(file("global/pg_control", 3), b"abc".to_vec())]);
        assert!(!split(&bytes, &[7]).unwrap().2);
        let whole = [bytes.clone(), vec![0; 1024]].concat();
        let (members, passed, ended) = split(&whole, &[300]).unwrap();
        assert!(ended);
        assert_eq!((members.len(), passed), (1, bytes));
    }

    #[test]
    fn a_cut_archive_is_an_error() {
        let bytes = archive(&[(file("a", 600), vec![1; 600])]);
        for cut in [1, 511, 513, 1000, 1500] {
            let got = split(&bytes[..cut], &[cut]);
            assert_eq!(got, Err(TarError::Truncated { at: cut as u64 }), "{cut}");
        }
    }

    #[test]
    fn a_damaged_header_is_an_error() {
        let mut bytes = archive(&[(file("a", 0), Vec::new())]);
        bytes[0] ^= 1;
        assert!(matches!(
            split(&bytes, &[512]),
            Err(TarError::Header { .. })
        ));
    }

    #[test]
    fn sizes_beyond_eight_gigabytes_are_read_in_both_ways() {
        let large = file("large", 9 << 33);
        let mut pax = Vec::new();
        write_header(&large, &mut pax);
        let mut gnu = pax[pax.len() - BLOCK_BYTES..].to_vec();
        gnu[124..136].copy_from_slice(&[0x80, 0, 0, 0, 0, 0, 0, 0x12, 0, 0, 0, 0]);
        let sum = sum(&gnu);
        gnu[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        for bytes in [pax, gnu] {
            let mut splitter = Splitter::default();
            assert_eq!(
                splitter.next(&mut bytes.as_slice()),
                Ok(Some(Piece::Member))
            );
            assert_eq!(splitter.member(), &large);
        }
    }

    #[test]
    fn long_names_of_gnu_are_read() {
        let long = "x/".repeat(90);
        let mut bytes = Vec::new();
        let name = Member {
            path: b"././@LongLink".to_vec(),
            kind: MemberKind::Other(b'L'),
            bytes: long.len() as u64 + 1,
            ..file("", 0)
        };
        block(&name, &mut bytes);
        bytes.extend_from_slice(long.as_bytes());
        bytes.resize(bytes.len().next_multiple_of(BLOCK_BYTES), 0);
        let folder = Member {
            kind: MemberKind::Folder,
            ..file(&long, 0)
        };
        block(&folder, &mut bytes);
        let (members, passed, _) = split(&bytes, &[100]).unwrap();
        assert_eq!(members, [(folder, Vec::new())]);
        assert_eq!(passed, bytes);
    }

    fn member() -> impl Strategy<Value = (Member, Vec<u8>)> {
        let bytes = |range| proptest::collection::vec(1u8.., range);
        (
            bytes(1..300usize),
            bytes(0..3000usize),
            bytes(1..200usize),
            0..3usize,
            0u32..0o7777,
        )
            .prop_map(|(path, content, link, kind, mode)| {
                let kind = [MemberKind::File, MemberKind::Folder, MemberKind::Link][kind];
                let content = if kind == MemberKind::File {
                    content
                } else {
                    Vec::new()
                };
                let link = if kind == MemberKind::Link {
                    link
                } else {
                    Vec::new()
                };
                let member = Member {
                    path,
                    kind,
                    mode,
                    link,
                    ..file("", content.len() as u64)
                };
                (member, content)
            })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_in_pieces_of_any_size(
            members in proptest::collection::vec(member(), 0..6),
            sizes in proptest::collection::vec(1usize..2000, 1..8),
        ) {
            let bytes = archive(&members);
            let (read, passed, _) = split(&bytes, &sizes).unwrap();
            prop_assert_eq!(read, members);
            prop_assert_eq!(passed, bytes);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..3000)) {
            let _ = split(&bytes, &[700]);
        }
    }
}
