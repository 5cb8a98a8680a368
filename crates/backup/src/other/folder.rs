//! A folder of segments, as `cp` in an `archive_command` makes it.

use std::fs;
use std::path::Path;

use crate::Error;
use crate::wal::{Catalogue, History, WalFile};

/// Adds a file to a catalogue by its name; what follows the name, such as a hash or a compression, does not matter.
///
/// Returns the file's own name if it is a history, which is to be read.
pub(super) fn add(catalogue: &mut Catalogue, file: &str) -> Option<WalFile> {
    let listing = &mut catalogue.listing;
    if let Some(WalFile::History(timeline)) = WalFile::parse(file) {
        listing.histories.insert(timeline);
        return Some(WalFile::History(timeline));
    }
    let (name, rest) = file.split_at_checked(24)?;
    let name = name.parse().ok()?;
    if rest.starts_with(".partial") {
        listing.partials.insert(name);
    } else if !rest.contains(".backup") && (rest.is_empty() || rest.starts_with(['.', '-'])) {
        listing.segments.insert(name, 1);
    }
    None
}

/// Reads a folder and its histories.
///
/// # Errors
/// The folder, or a history in it, cannot be read.
pub fn catalogue(folder: &Path, segment_bytes: u32) -> Result<Catalogue, Error> {
    let failed = |source| Error::File {
        doing: "list",
        path: folder.to_owned(),
        source,
    };
    let mut catalogue = Catalogue {
        segment_bytes,
        ..Catalogue::default()
    };
    for entry in fs::read_dir(folder).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let Some(name) = name.to_str() else { continue };
        if let Some(WalFile::History(timeline)) = add(&mut catalogue, name) {
            let text = fs::read_to_string(folder.join(name)).map_err(failed)?;
            let history = History::parse(timeline, &text);
            let history = history.map_err(|error| failed(std::io::Error::other(error)))?;
            catalogue.histories.insert(timeline, history);
        }
    }
    Ok(catalogue)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wal::Timeline;

    #[test]
    fn files_of_an_archive_are_known_by_their_names() {
        let mut catalogue = Catalogue::default();
        for name in [
            "0000000A0000000100000002",
            "0000000A0000000100000003-9d4cd2ba3a0ea5ae5b4e7f7e5d6ed0a1c3ac1b9d.gz",
            "0000000A0000000100000004.zst",
            "0000000A0000000100000005.partial-9d4c.gz",
            "0000000A0000000100000002.00000028.backup",
            "0000000A0000000100000006x",
            "archive.info",
        ] {
            assert_eq!(add(&mut catalogue, name), None);
        }
        let history = add(&mut catalogue, "0000000A.history");
        assert_eq!(history, Some(WalFile::History(Timeline(10))));
        assert_eq!(catalogue.listing.segments.len(), 3);
        assert_eq!(catalogue.listing.partials.len(), 1);
    }
}
