//! What a page of a data file says about itself: its checksum, its header, and whether it may have been torn while it was read.
//!
//! The checksum is that of PostgreSQL 9.3 and later: 32 sums of FNV-1a side by side.

use std::fmt;

use pawang_core::Lsn;

/// The sums that run side by side.
const SUMS: usize = 32;
const WORD_BYTES: usize = 4;
const ROW_BYTES: usize = SUMS * WORD_BYTES;
/// So many of them are computed at a time.
const TOGETHER: usize = 8;
const PRIME: u32 = 16_777_619;
/// What the sums begin with; random numbers that are part of the format of data files.
const BEGINNINGS: [u32; SUMS] = [
    0x5B1F_36E9,
    0xB852_5960,
    0x02AB_50AA,
    0x1DE6_6D2A,
    0x79FF_467A,
    0x9BB9_F8A3,
    0x217E_7CD2,
    0x83E1_3D2C,
    0xF8D4_474F,
    0xE39E_B970,
    0x42C6_AE16,
    0x9932_16FA,
    0x7B09_3B5D,
    0x98DA_FF3C,
    0xF718_902A,
    0x0B1C_9CDB,
    0xE58F_764B,
    0x1876_36BC,
    0x5D7B_3BB1,
    0xE73D_E7DE,
    0x92BE_C979,
    0xCCA6_C0B2,
    0x304A_0979,
    0x85AA_43D4,
    0x7831_25BB,
    0x6CA8_EAA2,
    0xE407_EAC6,
    0x4B5C_FC3E,
    0x9FBF_8C76,
    0x15CA_20BE,
    0xF2CA_9FD3,
    0x959B_D756,
];

const CHECKSUM_AT: usize = 8;
const FLAGS_AT: usize = 10;
const LOWER_AT: usize = 12;
const UPPER_AT: usize = 14;
const SPECIAL_AT: usize = 16;
/// The flags that PostgreSQL 14 to 18 know.
const KNOWN_FLAGS: u16 = 0x0007;
/// What the special space of a page is aligned to.
const ALIGNMENT: u16 = 8;

/// What is to be thought of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Its checksum and header are right.
    Good,
    /// It was never written: all of it is zero.
    Zero,
    /// It is wrong, but was written after the backup began: it was read while it was written, and replay writes it again.
    Torn(Lsn),
    /// It is wrong, and replay will not write it.
    Corrupt(Problem),
}

/// What is wrong with a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// The checksum is another one.
    Checksum {
        /// The one in the page.
        stored: u16,
        /// The one of the page.
        computed: u16,
    },
    /// It says that it was never used, but is not empty.
    NotEmpty,
    /// Its header says what cannot be.
    Header(&'static str),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Checksum { stored, computed } => {
                write!(
                    f,
                    "its checksum is {computed}, and its header says {stored}"
                )
            }
            Problem::NotEmpty => {
                f.write_str("its header is of an unused page, but it is not empty")
            }
            Problem::Header(what) => f.write_str(what),
        }
    }
}

/// How the pages of a cluster are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageRules {
    /// Whether pages carry checksums.
    pub checksums: bool,
    /// Where the backup began: replay writes again what is later.
    pub start: Lsn,
}

/// Computes the checksum of a page at its place in the relation's fork; the length is a power of two from 1 kB to 32 kB.
///
/// Few of the sums at a time go through the whole page, so that they stay in registers: the optimiser of the whole program makes
/// no vectors of them.
pub fn checksum(page: &[u8], block: u32) -> u16 {
    let mut folded = block;
    for (begin, at) in BEGINNINGS
        .chunks_exact(TOGETHER)
        .zip((0..).step_by(TOGETHER * WORD_BYTES))
    {
        let mut sums: [u32; TOGETHER] = begin.try_into().expect("chunks are of this many");
        let mut rows = page.chunks_exact(ROW_BYTES).map(|row| {
            let words = row[at..].first_chunk();
            words.expect("a row has words for each of the sums")
        });
        if let Some(first) = rows.next() {
            let mut words = *first;
            // The checksum is computed as if its own place were empty.
            if at == 0 {
                words[CHECKSUM_AT..FLAGS_AT].fill(0);
            }
            sums = add(sums, &words);
        }
        sums = rows.fold(sums, add);
        let nothing = [0; TOGETHER * WORD_BYTES];
        sums = add(add(sums, &nothing), &nothing);
        folded = sums.iter().fold(folded, |all, sum| all ^ sum);
    }
    // Never zero, which means that there is none.
    u16::try_from(folded % 65_535 + 1).expect("a remainder of 65535 and one more fit")
}

fn add(sums: [u32; TOGETHER], words: &[u8; TOGETHER * WORD_BYTES]) -> [u32; TOGETHER] {
    let next = |sum: u32, at: usize| {
        let word = [words[at], words[at + 1], words[at + 2], words[at + 3]];
        let mixed = sum ^ u32::from_le_bytes(word);
        mixed.wrapping_mul(PRIME) ^ (mixed >> 17)
    };
    let [a, b, c, d, e, f, g, h] = sums;
    [
        next(a, 0),
        next(b, 4),
        next(c, 8),
        next(d, 12),
        next(e, 16),
        next(f, 20),
        next(g, 24),
        next(h, 28),
    ]
}

/// Returns where the change was logged that a page had last.
pub fn lsn(page: &[u8]) -> Lsn {
    let half = |at: usize| {
        u64::from(u32::from_le_bytes([
            page[at],
            page[at + 1],
            page[at + 2],
            page[at + 3],
        ]))
    };
    Lsn(half(0) << 32 | half(4))
}

/// Judges a page that lies at `block` of its fork.
pub fn judge(page: &[u8], block: u32, rules: &PageRules) -> Verdict {
    if half(page, UPPER_AT) == 0 {
        return if page.iter().all(|byte| *byte == 0) {
            Verdict::Zero
        } else {
            wrong(page, rules, Problem::NotEmpty)
        };
    }
    if rules.checksums {
        let stored = half(page, CHECKSUM_AT);
        let computed = checksum(page, block);
        if stored != computed {
            return wrong(page, rules, Problem::Checksum { stored, computed });
        }
    }
    match header(page) {
        None => Verdict::Good,
        Some(what) => wrong(page, rules, Problem::Header(what)),
    }
}

fn wrong(page: &[u8], rules: &PageRules, problem: Problem) -> Verdict {
    let lsn = lsn(page);
    if lsn >= rules.start {
        Verdict::Torn(lsn)
    } else {
        Verdict::Corrupt(problem)
    }
}

/// Returns what cannot be in a page's header; the rules are those by which the server refuses to read it, and no others,
/// since extensions make pages too.
fn header(page: &[u8]) -> Option<&'static str> {
    let [lower, upper, special] = [LOWER_AT, UPPER_AT, SPECIAL_AT].map(|at| half(page, at));
    if half(page, FLAGS_AT) & !KNOWN_FLAGS != 0 {
        Some("its header has flags that do not exist")
    } else if lower > upper || upper > special {
        Some("its header names places out of order")
    } else if usize::from(special) > page.len() || special % ALIGNMENT != 0 {
        Some("its header names a special space that cannot be")
    } else {
        None
    }
}

fn half(page: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([page[at], page[at + 1]])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BLOCK_BYTES: usize = 8192;
    const RULES: PageRules = PageRules {
        checksums: true,
        start: Lsn(0x2_0000_0000),
    };

    /// A page as PostgreSQL makes it, with content of a seed.
    fn page(seed: u32, block: u32, lsn: Lsn) -> Vec<u8> {
        let mut page = vec![0; BLOCK_BYTES];
        let mut state = seed | 1;
        for byte in &mut page[4096..] {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *byte = (state >> 24) as u8;
        }
        page[..4].copy_from_slice(&((lsn.0 >> 32) as u32).to_le_bytes());
        page[4..8].copy_from_slice(&(lsn.0 as u32).to_le_bytes());
        for (at, value) in [(LOWER_AT, 28), (UPPER_AT, 4096), (SPECIAL_AT, 8192)] {
            page[at..at + 2].copy_from_slice(&u16::to_le_bytes(value));
        }
        let sum = checksum(&page, block);
        page[CHECKSUM_AT..FLAGS_AT].copy_from_slice(&sum.to_le_bytes());
        page
    }

    #[test]
    fn a_page_of_zeros_was_never_written() {
        let mut page = vec![0; BLOCK_BYTES];
        assert_eq!(judge(&page, 7, &RULES), Verdict::Zero);
        page[BLOCK_BYTES - 1] = 1;
        assert_eq!(judge(&page, 7, &RULES), Verdict::Corrupt(Problem::NotEmpty));
    }

    #[test]
    fn a_wrong_page_is_torn_when_replay_writes_it_again() {
        for (lsn, torn) in [
            (Lsn(RULES.start.0 - 1), false),
            (RULES.start, true),
            (Lsn(u64::MAX), true),
        ] {
            let mut page = page(1, 3, lsn);
            assert_eq!(judge(&page, 3, &RULES), Verdict::Good);
            page[5000] ^= 1;
            let verdict = judge(&page, 3, &RULES);
            assert_eq!(matches!(verdict, Verdict::Torn(at) if at == lsn), torn);
            assert_eq!(matches!(verdict, Verdict::Corrupt(_)), !torn);
        }
    }

    #[test]
    fn a_page_at_another_place_is_wrong() {
        let page = page(1, 3, Lsn(1));
        assert!(matches!(
            judge(&page, 4, &RULES),
            Verdict::Corrupt(Problem::Checksum { .. })
        ));
    }

    #[test]
    fn headers_are_read_by_the_servers_rules() {
        let rules = PageRules {
            checksums: false,
            ..RULES
        };
        for (at, value, good) in [
            (FLAGS_AT, 7, true),
            (FLAGS_AT, 8, false),
            (LOWER_AT, 0, true),
            (LOWER_AT, 4097, false),
            (UPPER_AT, 8193, false),
            (SPECIAL_AT, 8191, false),
            (SPECIAL_AT, 8200, false),
        ] {
            let mut page = page(9, 0, Lsn(1));
            page[at..at + 2].copy_from_slice(&u16::to_le_bytes(value));
            let verdict = judge(&page, 0, &rules);
            assert_eq!(verdict == Verdict::Good, good, "{at} {value}: {verdict:?}");
        }
    }

    #[test]
    fn pages_of_other_sizes_are_judged_alike() {
        for bytes in [1024, 2048, 4096, 16_384, 32_768_u16] {
            let mut page = vec![7; usize::from(bytes)];
            page[..24].fill(0);
            for (at, value) in [(LOWER_AT, 28), (UPPER_AT, bytes / 2), (SPECIAL_AT, bytes)] {
                page[at..at + 2].copy_from_slice(&value.to_le_bytes());
            }
            let sum = checksum(&page, 3);
            page[CHECKSUM_AT..FLAGS_AT].copy_from_slice(&sum.to_le_bytes());
            assert_eq!(judge(&page, 3, &RULES), Verdict::Good, "{bytes}");
            *page.last_mut().unwrap() ^= 1;
            assert!(matches!(judge(&page, 3, &RULES), Verdict::Corrupt(_)));
        }
    }

    proptest! {
        #[test]
        fn a_flipped_bit_is_seen(seed: u32, block: u32, bit in 0..BLOCK_BYTES * 8) {
            let mut page = page(seed, block, Lsn(1));
            prop_assert_eq!(judge(&page, block, &RULES), Verdict::Good);
            page[bit / 8] ^= 1 << (bit % 8);
            prop_assert_ne!(judge(&page, block, &RULES), Verdict::Good);
        }
    }
}
