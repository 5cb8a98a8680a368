//! Pages that were wrong as they were read are read again from their files, since they may have been torn.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use super::super::checksum::{Verdict, judge};
use super::super::crew::PageCheck;
use super::super::relation_file::INCREMENTAL_PREFIX;
use super::super::source::read_or_zero;

/// A page that is being written again and again is not read more often.
const READS_MAX: usize = 5;

/// Where the files of a server are.
#[derive(Clone, Debug)]
pub(crate) struct PageSource {
    /// The data directory.
    pub(crate) root: Arc<Path>,
}

impl PageSource {
    /// Reads a page of a file until it is right, and judges it; none when it cannot be read.
    ///
    /// A page that is not there any more becomes zero: whatever cut it off is replayed.
    pub(crate) fn again(
        &self,
        file: &[u8],
        block: u32,
        page: &mut [u8],
        check: &PageCheck,
    ) -> Option<Verdict> {
        let file = match File::open(self.root.join(OsStr::from_bytes(&source(file)))) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                page.fill(0);
                return Some(Verdict::Zero);
            }
            Err(_) => return None,
        };
        let within = block % check.geometry.segment_blocks;
        let from = u64::from(within) * u64::from(check.geometry.block_bytes);
        let mut verdict = None;
        for _ in 0..READS_MAX {
            if read_or_zero(&file, from, page).ok()? < page.len() {
                page.fill(0);
            }
            let now = judge(page, block, &check.rules);
            verdict = Some(now);
            if matches!(now, Verdict::Good | Verdict::Zero) {
                break;
            }
        }
        verdict
    }
}

/// Returns the path of the file that a file of changed blocks is made from.
fn source(path: &[u8]) -> Vec<u8> {
    let name = path
        .iter()
        .rposition(|byte| *byte == b'/')
        .map_or(0, |slash| slash + 1);
    let (folder, name) = path.split_at(name);
    let name = name.strip_prefix(INCREMENTAL_PREFIX).unwrap_or(name);
    [folder, name].concat()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use pawang_core::Lsn;

    use super::super::super::checksum::{PageRules, checksum};
    use super::super::super::cut::Geometry;
    use super::*;

    #[test]
    fn a_torn_page_is_read_again_and_one_that_is_gone_is_zero() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("base/5")).unwrap();
        let path = folder.path().join("base/5/16385.1");
        let mut good = vec![0; 8192];
        good[12..18].copy_from_slice(&[24, 0, 0, 32, 0, 32]);
        good[4000] = 7;
        let block = 131_072 + 3;
        let sum = checksum(&good, block);
        good[8..10].copy_from_slice(&sum.to_le_bytes());
        let file = File::create(&path).unwrap();
        file.write_all_at(&good, 3 * 8192).unwrap();
        let check = PageCheck {
            rules: PageRules {
                checksums: true,
                start: Lsn(1 << 40),
            },
            geometry: Geometry {
                block_bytes: 8192,
                segment_blocks: 131_072,
            },
            source: None,
        };
        let source = PageSource {
            root: folder.path().into(),
        };
        let mut page = good.clone();
        page[4096..].fill(0);
        let torn = page.clone();
        for name in ["base/5/16385.1", "base/5/INCREMENTAL.16385.1"] {
            page.copy_from_slice(&torn);
            let verdict = source.again(name.as_bytes(), block, &mut page, &check);
            assert_eq!(verdict, Some(Verdict::Good), "{name}");
            assert!(page == good, "{name}");
        }
        file.write_all_at(&[1], 3 * 8192 + 5000).unwrap();
        let verdict = source.again(b"base/5/16385.1", block, &mut page, &check);
        assert!(matches!(verdict, Some(Verdict::Corrupt(_))), "{verdict:?}");
        file.set_len(3 * 8192 + 100).unwrap();
        let verdict = source.again(b"base/5/16385.1", block, &mut page, &check);
        assert_eq!(verdict, Some(Verdict::Zero));
        assert!(page.iter().all(|byte| *byte == 0));
        page.copy_from_slice(&torn);
        let verdict = source.again(b"base/5/16390", 3, &mut page, &check);
        assert_eq!(verdict, Some(Verdict::Zero));
        assert!(page.iter().all(|byte| *byte == 0));
    }
}
