//! The files of a data directory that belong into a base backup: the same that the server would send.

use std::collections::HashSet;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::super::relation_file::{Fork, RelationFile};
use super::tree::{Kind, Listed, Listing, Stat, Tree};

/// Folders whose content is made anew by every server; they come empty.
const EMPTY_FOLDERS: [&[u8]; 7] = [
    b"pg_stat_tmp",
    b"pg_replslot",
    b"pg_dynshmem",
    b"pg_notify",
    b"pg_serial",
    b"pg_snapshots",
    b"pg_subtrans",
];
/// Files of the running server, and what other backups left.
const LEFT_OUT: [&[u8]; 8] = [
    b"postgresql.auto.conf.tmp",
    b"current_logfiles.tmp",
    b"backup_label",
    b"tablespace_map",
    b"backup_manifest",
    b"postmaster.pid",
    b"postmaster.opts",
    b".DS_Store",
];
/// What the names of files begin with that are made anew: caches of catalogs, and what did not fit into memory.
const LEFT_OUT_BEGINNINGS: [&[u8]; 2] = [b"pg_internal.init", b"pgsql_tmp"];
/// It is read last of all.
pub(crate) const CONTROL: &[u8] = b"global/pg_control";
const WAL: &[u8] = b"pg_wal";
/// The folders that a server misses in `pg_wal`: the second from PostgreSQL 17 on.
const WAL_FOLDERS: [(&[u8], u32); 2] = [(b"pg_wal/archive_status", 0), (b"pg_wal/summaries", 17)];
const TABLESPACES: &[u8] = b"pg_tblspc";

/// What there is.
#[derive(Debug)]
pub(crate) struct Entry<'a> {
    /// Its path within the archive.
    pub(crate) path: &'a [u8],
    /// Its path on this machine, or from the server's data directory on.
    pub(crate) place: &'a Path,
    pub(crate) what: What,
    pub(crate) stat: &'a Stat,
    /// The relation that a file belongs to.
    pub(crate) relation: Option<RelationFile>,
}

/// What kind of thing it is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum What {
    Folder,
    File,
    /// A link of a tablespace, and where it points to.
    Link(Vec<u8>),
    /// Something that no data directory has: it does not come.
    Special,
}

/// One archive that is walked: the data directory, or a tablespace's folder.
pub(crate) struct Walk<'a, E> {
    pub(crate) tree: &'a Tree,
    /// The tablespace; none for the data directory.
    pub(crate) tablespace: Option<u32>,
    pub(crate) major: u32,
    /// Takes what there is, folders before what is in them.
    pub(crate) each: &'a mut dyn FnMut(&Entry<'_>) -> Result<(), E>,
    /// Makes an error of a folder that could not be listed.
    pub(crate) unreadable: fn(&Path, io::Error) -> E,
}

impl<E> Walk<'_, E> {
    /// Walks the data directory, whose own name does not come.
    pub(crate) fn data_directory(&mut self, root: &Path) -> Result<(), E> {
        self.within(b"", root)
    }

    /// Walks a tablespace: the folder that this server has in it.
    pub(crate) fn tablespace(&mut self, root: &Path, version_folder: &str) -> Result<(), E> {
        let place = root.join(version_folder);
        let there = self.tree.there(&place);
        let Some(stat) = there.map_err(|error| (self.unreadable)(&place, error))? else {
            return Ok(());
        };
        self.entry(version_folder.as_bytes(), &place, What::Folder, &stat)?;
        self.within(version_folder.as_bytes(), &place)
    }

    fn within(&mut self, folder: &[u8], place: &Path) -> Result<(), E> {
        let all = self.tree.list(place);
        let Some(all) = all.map_err(|error| (self.unreadable)(place, error))? else {
            return Ok(());
        };
        let unlogged = if is_database(folder, self.tablespace) {
            unlogged(&all)
        } else {
            HashSet::new()
        };
        for listed in all.iter() {
            let name = listed.name;
            let place = place.join(std::ffi::OsStr::from_bytes(name));
            let path = match folder {
                b"" => name.to_vec(),
                _ => [folder, b"/", name].concat(),
            };
            if left_out(&path, name, self.tablespace)
                || (is_database(folder, self.tablespace) && is_temporary(name))
            {
                continue;
            }
            let relation = RelationFile::read(&path, self.tablespace);
            let made_anew = relation.is_some_and(|relation| {
                relation.fork != Fork::Init && unlogged.contains(&relation.filenode)
            });
            if !made_anew {
                self.one(&path, listed, &place)?;
            }
        }
        Ok(())
    }

    fn one(&mut self, path: &[u8], listed: Listed<'_>, place: &Path) -> Result<(), E> {
        let stat = match listed.stat {
            Some(stat) => Ok(Some(stat.clone())),
            None => self.tree.there(place),
        };
        let Some(stat) = stat.map_err(|error| (self.unreadable)(place, error))? else {
            return Ok(());
        };
        let of_data = self.tablespace.is_none();
        if of_data && path == WAL {
            return self.wal(place, &stat);
        }
        let empty = EMPTY_FOLDERS.contains(&listed.name);
        if empty && matches!(stat.kind, Kind::Folder | Kind::Link) {
            return self.entry(path, place, What::Folder, &stat);
        }
        if stat.kind == Kind::Folder {
            self.entry(path, place, What::Folder, &stat)?;
            return if of_data && is_tablespace(path) {
                Ok(())
            } else {
                self.within(path, place)
            };
        }
        if stat.kind == Kind::Link && of_data && is_tablespace(path) {
            let target = self.tree.link(place);
            return match target.map_err(|error| (self.unreadable)(place, error))? {
                Some(target) => self.entry(path, place, What::Link(target), &stat),
                None => Ok(()),
            };
        }
        let what = match stat.kind {
            Kind::File => What::File,
            Kind::Folder | Kind::Link | Kind::Special => What::Special,
        };
        self.entry(path, place, what, &stat)
    }

    /// WAL comes by other ways; its folders are there, also when it lies elsewhere.
    fn wal(&mut self, place: &Path, stat: &Stat) -> Result<(), E> {
        self.entry(WAL, place, What::Folder, stat)?;
        for (path, since) in WAL_FOLDERS {
            if self.major >= since {
                self.entry(path, place, What::Folder, stat)?;
            }
        }
        Ok(())
    }

    fn entry(&mut self, path: &[u8], place: &Path, what: What, stat: &Stat) -> Result<(), E> {
        let relation = match what {
            What::File => RelationFile::read(path, self.tablespace),
            _ => None,
        };
        (self.each)(&Entry {
            path,
            place,
            what,
            stat,
            relation,
        })
    }
}

fn left_out(path: &[u8], name: &[u8], tablespace: Option<u32>) -> bool {
    LEFT_OUT.contains(&name)
        || LEFT_OUT_BEGINNINGS
            .iter()
            .any(|begin| name.starts_with(begin))
        || (tablespace.is_none() && path == CONTROL)
}

/// Says whether files of a database's relations lie in a folder.
fn is_database(folder: &[u8], tablespace: Option<u32>) -> bool {
    let file = [folder, b"/1"].concat();
    RelationFile::read(&file, tablespace).is_some_and(|file| file.database.is_some())
}

/// Says whether a path of the data directory is that of a tablespace.
fn is_tablespace(path: &[u8]) -> bool {
    let name = path
        .strip_prefix(TABLESPACES)
        .and_then(|rest| rest.strip_prefix(b"/"));
    name.is_some_and(|name| !name.contains(&b'/'))
}

/// Returns the relations of a database that are empty after a crash: only those have files to be made from.
fn unlogged(all: &Listing) -> HashSet<u32> {
    let init = |listed: Listed<'_>| {
        let path = [b"base/1/".as_slice(), listed.name].concat();
        RelationFile::read(&path, None).filter(|file| file.fork == Fork::Init)
    };
    all.iter()
        .filter_map(init)
        .map(|file| file.filenode)
        .collect()
}

/// Says whether a file belongs to a temporary relation: `t3_16385`, with a fork and a number behind it.
fn is_temporary(name: &[u8]) -> bool {
    let Some(rest) = name.strip_prefix(b"t") else {
        return false;
    };
    let Some(line) = rest.iter().position(|byte| *byte == b'_') else {
        return false;
    };
    let (backend, file) = (&rest[..line], &rest[line + 1..]);
    let path = [b"base/1/".as_slice(), file].concat();
    !backend.is_empty()
        && backend.iter().all(u8::is_ascii_digit)
        && RelationFile::read(&path, None).is_some_and(|file| !file.incremental)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn walked(root: &Path, tablespace: Option<(u32, &str)>, major: u32) -> Vec<String> {
        let mut found = Vec::new();
        let mut each = |entry: &Entry<'_>| {
            let path = String::from_utf8_lossy(entry.path).into_owned();
            found.push(match &entry.what {
                What::Folder => format!("{path}/"),
                What::File => path,
                What::Link(target) => format!("{path} -> {}", String::from_utf8_lossy(target)),
                What::Special => format!("{path} ?"),
            });
            Ok::<(), io::Error>(())
        };
        let mut walk = Walk {
            tree: &Tree::Here(root.to_owned()),
            tablespace: tablespace.map(|(oid, _)| oid),
            major,
            each: &mut each,
            unreadable: |_, error| error,
        };
        match tablespace {
            None => walk.data_directory(root).unwrap(),
            Some((_, folder)) => walk.tablespace(root, folder).unwrap(),
        }
        found
    }

    fn make(root: &Path, paths: &[&str]) {
        for path in paths {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::File::create(path).unwrap();
        }
    }

    #[test]
    fn what_a_server_would_send_comes() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        make(
            root,
            &[
                "PG_VERSION",
                "postmaster.pid",
                "backup_label",
                "backup_label.old",
                "postgresql.auto.conf.tmp",
                "global/pg_control",
                "global/1262",
                "global/pg_internal.init",
                "base/pgsql_tmp/pgsql_tmp12.0",
                "base/5/16385",
                "base/5/16385.1",
                "base/5/16390",
                "base/5/16390.1",
                "base/5/16390_fsm",
                "base/5/16390_init",
                "base/5/t3_16400",
                "base/5/t3_16400_fsm",
                "base/5/t3_16400.1",
                "base/5/t_16400",
                "base/5/pg_internal.init.77",
                "pg_replslot/one/state",
                "pg_stat_tmp/global.stat",
                "pg_tblspc/17000/PG_16_1/5/1",
                "pg_wal/000000010000000000000001",
                "pg_wal/archive_status/x.ready",
                "pg_xact/0000",
                "away/empty",
            ],
        );
        symlink("/elsewhere", root.join("pg_tblspc/16999")).unwrap();
        symlink("/elsewhere", root.join("odd")).unwrap();
        symlink(root.join("away"), root.join("pg_notify")).unwrap();
        let expected = "PG_VERSION away/ away/empty backup_label.old base/ base/5/ base/5/16385 base/5/16385.1 \
            base/5/16390_init base/5/t_16400 global/ global/1262 odd_? pg_notify/ pg_replslot/ pg_stat_tmp/ pg_tblspc/ \
            pg_tblspc/16999_->_/elsewhere pg_tblspc/17000/ pg_wal/ pg_wal/archive_status/ pg_xact/ pg_xact/0000";
        let words: Vec<String> = expected
            .split_whitespace()
            .map(|word| word.replace('_', " "))
            .collect();
        let found: Vec<String> = walked(root, None, 16)
            .iter()
            .map(|path| path.replace('_', " "))
            .collect();
        assert_eq!(found, words);
        assert!(walked(root, None, 17).contains(&"pg_wal/summaries/".to_owned()));
    }

    #[test]
    fn of_a_tablespace_the_folder_of_this_server_comes() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        make(
            root,
            &[
                "PG_14_1/5/1",
                "PG_15_2/5/16385",
                "PG_15_2/5/16390",
                "PG_15_2/5/16390_init",
                "PG_15_2/5/t3_1",
                "PG_15_2/pgsql_tmp/x",
                "mine",
            ],
        );
        let expected = [
            "PG_15_2/",
            "PG_15_2/5/",
            "PG_15_2/5/16385",
            "PG_15_2/5/16390_init",
        ];
        assert_eq!(walked(root, Some((17_000, "PG_15_2")), 15), expected);
        assert_eq!(walked(root, Some((17_000, "PG_16_3")), 16), [] as [&str; 0]);
    }
}
