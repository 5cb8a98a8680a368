//! Which files of a data directory are made of pages, by their names.

/// The fork of a relation that a file belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fork {
    /// The data.
    Main,
    /// The free space map.
    FreeSpace,
    /// The visibility map.
    Visibility,
    /// What an unlogged relation is made from after a crash.
    Init,
}

/// A file of a relation that is not temporary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelationFile {
    /// The tablespace that it lies in, when it is neither of the two that a data directory always has.
    pub tablespace: Option<u32>,
    /// Its database; none for the relations of all databases.
    pub database: Option<u32>,
    /// The number that names its files.
    pub filenode: u32,
    /// The fork.
    pub fork: Fork,
    /// Which file of the fork, since each has at most so many pages.
    pub segment: u32,
    /// Whether it holds only the blocks that changed, in the form of PostgreSQL 17.
    pub incremental: bool,
}

/// What the name of a file begins with that holds only changed blocks.
pub const INCREMENTAL_PREFIX: &[u8] = b"INCREMENTAL.";

impl RelationFile {
    /// Reads the path of a file, within the data directory or, with its object id, within a tablespace's folder.
    ///
    /// Returns none for files that are not of a relation, and for those of temporary ones.
    pub fn read(path: &[u8], tablespace: Option<u32>) -> Option<RelationFile> {
        let mut names = path
            .strip_prefix(b"./")
            .unwrap_or(path)
            .split(|b| *b == b'/');
        let mut tablespace = tablespace;
        let first = names.next()?;
        if tablespace.is_none() && first == b"pg_tblspc" {
            tablespace = Some(number(names.next()?)?);
            return Self::within(names.next()?, &mut names, tablespace);
        }
        Self::within(first, &mut names, tablespace)
    }

    fn within<'a>(
        first: &[u8],
        names: &mut impl Iterator<Item = &'a [u8]>,
        tablespace: Option<u32>,
    ) -> Option<RelationFile> {
        let database = match (tablespace, first) {
            (None, b"global") => None,
            (None, b"base") => Some(number(names.next()?)?),
            (Some(_), folder) if folder.starts_with(b"PG_") => Some(number(names.next()?)?),
            _ => return None,
        };
        let name = names.next()?;
        if names.next().is_some() {
            return None;
        }
        let changed = name.strip_prefix(INCREMENTAL_PREFIX);
        let (filenode, fork, segment) = parts(changed.unwrap_or(name))?;
        Some(RelationFile {
            tablespace,
            database,
            filenode,
            fork,
            segment,
            incremental: changed.is_some(),
        })
    }
}

/// Reads `16385`, `16385_fsm`, `16385.2`, `16385_vm.1`; numbers have no sign and no zero before them.
fn parts(name: &[u8]) -> Option<(u32, Fork, u32)> {
    let (name, segment) = match name.iter().position(|byte| *byte == b'.') {
        Some(dot) => (&name[..dot], number(&name[dot + 1..])?),
        None => (name, 0),
    };
    let (digits, fork) = match name.iter().position(|byte| *byte == b'_') {
        None => (name, Fork::Main),
        Some(line) => {
            let fork = match &name[line + 1..] {
                b"fsm" => Fork::FreeSpace,
                b"vm" => Fork::Visibility,
                b"init" => Fork::Init,
                _ => return None,
            };
            (&name[..line], fork)
        }
    };
    Some((number(digits)?, fork, segment))
}

/// Reads a number from 1 on as the server spells it.
fn number(digits: &[u8]) -> Option<u32> {
    let plain = digits.first() != Some(&b'0') && digits.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(digits).ok()?;
    plain.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(database: Option<u32>, fork: Fork, segment: u32) -> RelationFile {
        RelationFile {
            tablespace: None,
            database,
            filenode: 16385,
            fork,
            segment,
            incremental: false,
        }
    }

    #[test]
    fn files_of_relations_are_known_by_their_names() {
        for (path, expected) in [
            ("base/5/16385", file(Some(5), Fork::Main, 0)),
            ("./base/5/16385.3", file(Some(5), Fork::Main, 3)),
            ("base/5/16385_fsm", file(Some(5), Fork::FreeSpace, 0)),
            ("base/5/16385_vm.12", file(Some(5), Fork::Visibility, 12)),
            ("base/5/16385_init", file(Some(5), Fork::Init, 0)),
            ("global/16385", file(None, Fork::Main, 0)),
        ] {
            assert_eq!(
                RelationFile::read(path.as_bytes(), None),
                Some(expected),
                "{path}"
            );
        }
    }

    #[test]
    fn other_files_are_not_made_of_pages() {
        for path in [
            "",
            "base",
            "base/5",
            "base/5/PG_VERSION",
            "base/5/pg_filenode.map",
            "base/5/pg_internal.init",
            "base/5/pg_internal.init.16385",
            "base/5/t3_16385",
            "base/5/016385",
            "base/5/16385.0",
            "base/5/16385.01",
            "base/5/16385_x",
            "base/5/16385_fsm_vm",
            "base/5/+16385",
            "base/5/16385.1.2",
            "base/5/99999999999",
            "base/5/x/16385",
            "base/pgsql_tmp/16385",
            "global/pg_control",
            "pg_wal/000000010000000000000001",
            "pg_xact/0000",
            "16385",
            "PG_15_202209061/5/16385",
            "pg_tblspc/7/PG_15_202209061/pgsql_tmp/1",
        ] {
            assert_eq!(RelationFile::read(path.as_bytes(), None), None, "{path}");
        }
    }

    #[test]
    fn tablespaces_have_files_of_relations_in_folders_of_versions() {
        let expected = RelationFile {
            tablespace: Some(7),
            ..file(Some(5), Fork::Main, 1)
        };
        assert_eq!(
            RelationFile::read(b"PG_15_202209061/5/16385.1", Some(7)),
            Some(expected)
        );
        assert_eq!(
            RelationFile::read(b"pg_tblspc/7/PG_15_202209061/5/16385.1", None),
            Some(expected)
        );
        assert_eq!(RelationFile::read(b"base/5/16385", Some(7)), None);
    }

    #[test]
    fn files_of_changed_blocks_are_of_their_relation() {
        let expected = RelationFile {
            incremental: true,
            ..file(Some(5), Fork::Main, 2)
        };
        assert_eq!(
            RelationFile::read(b"base/5/INCREMENTAL.16385.2", None),
            Some(expected)
        );
    }
}
