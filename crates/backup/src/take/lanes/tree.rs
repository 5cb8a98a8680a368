//! The data directory as the server lists it.
//!
//! The server says of a file how long it is and when it was changed, but neither what it is for the file system nor whether a
//! link stands for it: links but those of tablespaces are followed.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use pawang_core::Value;
use pawang_postgres::control_file;

use super::super::local::list::FileIdentity;
use super::super::local::tree::{Kind, Listing, Stat, failed};
use super::super::local::walk::CONTROL;
use super::super::manifest::bytes_of;
use super::super::relation_file::RelationFile;
use super::super::source::Source;
use super::{Lane, sql_of_path};
use crate::Error;
use crate::repository::Tablespace;

const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
/// Files that are of no relation are read at once up to this size, so that one that went away is not there.
const HELD_BYTES: u64 = 1 << 20;
/// `pg_control` is written while it is read; then its checksum is wrong for a moment.
const CONTROL_READS_MAX: usize = 5;
const CONTROL_BYTES: usize = 8192;
/// Folders nest deeper only where a link leads back to one of them.
const DEPTH_MAX: usize = 32;
const TABLESPACES: &[u8] = b"pg_tblspc";
/// What a socket of the server is called, which has no bytes.
const SOCKET: &[u8] = b".s.PGSQL.";

/// The data directory of a server.
pub(crate) struct ServerTree {
    lane: Lane,
    /// Where each tablespace is; of those in the data directory the path begins with `pg_tblspc`.
    tablespaces: HashMap<u32, Vec<u8>>,
    /// What makes the files of a database the same ones as before; 0 is what all databases share.
    databases: HashMap<u32, FileIdentity>,
}

impl ServerTree {
    /// Asks for tablespaces and databases, while the server is in backup mode. It blocks.
    pub(crate) fn new(lane: Lane, version_folder: &str) -> Result<ServerTree, Error> {
        let asked = |source| failed(Path::new("pg_tblspc"), source);
        let tablespaces = lane.ask(SPACES).map_err(asked)?;
        let tablespaces = tablespaces.rows.iter().filter_map(|row| {
            let oid = u32::try_from(row.first()?.as_int()?).ok()?;
            Some((oid, bytes_of(row.get(1)?.as_text()?)?))
        });
        let tablespaces = tablespaces.collect();
        let sql = DATABASES.replace("{version_folder}", version_folder);
        let databases = lane.ask(&sql).map_err(asked)?;
        let databases = databases.rows.iter().filter_map(|row| identity(row));
        let databases = databases.collect();
        Ok(ServerTree {
            lane,
            tablespaces,
            databases,
        })
    }

    /// Lists a folder; one that is gone has nothing.
    pub(crate) fn list(&self, folder: &Path) -> io::Result<Listing> {
        if folder.components().count() > DEPTH_MAX {
            let problem = format!(
                "\"{}\" is nested too deep: a link leads back",
                folder.display()
            );
            return Err(io::Error::other(problem));
        }
        let folder = folder.as_os_str().as_bytes();
        let path = match folder {
            b"" => "'.'".to_owned(),
            _ => sql_of_path(folder),
        };
        let rows = self.lane.ask(&LIST.replace("{folder}", &path))?;
        let mut all = Listing::default();
        for row in &rows.rows {
            let listed = listed(row).ok_or_else(|| io::Error::other("a folder was not listed"))?;
            let (name, stat) = listed;
            if let Some(stat) = self.known(folder, &name, stat) {
                all.push(&name, Some(stat))?;
            }
        }
        Ok(all)
    }

    /// Corrects what a link or a socket looks like; a tablespace that was made meanwhile is made again by replay.
    fn known(&self, folder: &[u8], name: &[u8], mut stat: Stat) -> Option<Stat> {
        if name.starts_with(SOCKET) && stat.bytes == 0 {
            stat.kind = Kind::Special;
        }
        if folder == TABLESPACES
            && let Some(oid) = oid(OsStr::from_bytes(name))
        {
            let location = self.tablespaces.get(&oid)?;
            if !location.starts_with(TABLESPACES) {
                stat.kind = Kind::Link;
            }
        }
        Some(stat)
    }

    /// Returns what a path is, or nothing when it is not there.
    pub(crate) fn there(&self, place: &Path) -> io::Result<Option<Stat>> {
        let path = sql_of_path(place.as_os_str().as_bytes());
        let rows = self.lane.ask(&THERE.replace("{path}", &path))?;
        let Some(row) = rows.rows.first() else {
            return Ok(None);
        };
        let stat = stat(row).ok_or_else(|| io::Error::other("it was not looked at"))?;
        Ok(Some(stat))
    }

    /// Returns where the link of a tablespace leads to.
    pub(crate) fn link(&self, place: &Path) -> Option<Vec<u8>> {
        let name = place.file_name()?.to_owned();
        self.tablespaces.get(&oid(&name)?).cloned()
    }

    /// Returns the bytes of a small file, or where those of another one are.
    pub(crate) fn open(
        &self,
        place: &Path,
        listed: &Stat,
        relation: Option<&RelationFile>,
    ) -> io::Result<Option<(Source, Stat)>> {
        let path = place.as_os_str().as_bytes();
        let mut stat = listed.clone();
        // Nothing is read of what has no bytes: it may be a pipe, at which the server would wait for ever.
        if stat.bytes == 0 {
            return Ok(Some((Source::Held(Vec::new()), stat)));
        }
        if let Some(relation) = relation {
            let database = relation.database.unwrap_or(0);
            stat.identity = self.databases.get(&database).copied();
            return Ok(Some((Source::Server(path.to_vec()), stat)));
        }
        if stat.bytes > HELD_BYTES {
            return Ok(Some((Source::Server(path.to_vec()), stat)));
        }
        let bytes = usize::try_from(stat.bytes).expect("it is small");
        Ok(self.lane.whole(path, bytes)?.map(|content| {
            stat.bytes = content.len() as u64;
            (Source::Held(content), stat)
        }))
    }

    /// Returns what `pg_control` holds.
    pub(crate) fn control(&self) -> Result<(Vec<u8>, Stat), Error> {
        let path = Path::new("global/pg_control");
        let mut problem = "it is not there".to_owned();
        for _ in 0..CONTROL_READS_MAX {
            let stat = self.there(path).map_err(|error| failed(path, error))?;
            let bytes = self.lane.whole(CONTROL, CONTROL_BYTES);
            let bytes = bytes.map_err(|error| failed(path, error))?;
            let (Some(stat), Some(bytes)) = (stat, bytes) else {
                continue;
            };
            match control_file::parse(&bytes) {
                Ok(_) => return Ok((bytes, stat)),
                Err(found) => problem = found,
            }
        }
        Err(failed(path, io::Error::other(problem)))
    }

    /// Returns the tablespaces.
    pub(crate) fn tablespaces(&self) -> Vec<Tablespace> {
        let spaces = self.tablespaces.iter();
        let spaces = spaces.map(|(oid, location)| Tablespace {
            oid: *oid,
            location: String::from_utf8_lossy(location).into_owned(),
        });
        spaces.collect()
    }

    /// Returns what is known of a file of the server: owner and rights are those of whoever restores it.
    pub(crate) fn stat(kind: Kind, bytes: u64, modified_s: u64) -> Stat {
        Stat {
            kind,
            bytes,
            mode: match kind {
                Kind::Folder => FOLDER_MODE,
                _ => FILE_MODE,
            },
            user: 0,
            group: 0,
            modified_s,
            identity: None,
        }
    }
}

/// What a folder has, but for what went away meanwhile.
const LIST: &str = "\
SELECT s.isdir, s.size, pg_catalog.floor(EXTRACT(epoch FROM s.modification))::pg_catalog.int8,
       pg_catalog.encode(pg_catalog.textsend(f.name), 'hex')
  FROM pg_catalog.pg_ls_dir({folder}, true, false) AS f (name),
       LATERAL pg_catalog.pg_stat_file({folder} || '/' || f.name, true) AS s
 WHERE s.isdir IS NOT NULL";
const THERE: &str = "\
SELECT s.isdir, s.size, pg_catalog.floor(EXTRACT(epoch FROM s.modification))::pg_catalog.int8
  FROM pg_catalog.pg_stat_file({path}, true) AS s
 WHERE s.isdir IS NOT NULL";
/// The tablespaces that a data directory always has are no links.
const SPACES: &str = "\
SELECT t.oid::pg_catalog.int8,
       pg_catalog.encode(pg_catalog.textsend(pg_catalog.pg_tablespace_location(t.oid)), 'hex')
  FROM pg_catalog.pg_tablespace AS t
 WHERE t.oid NOT IN (1663, 1664)";
/// A database that is made, or moved, has another row and another `PG_VERSION`, and only then files with pages that were copied with
/// their positions. What was made within this second is not told from what is made after it.
const DATABASES: &str = "\
SELECT d.oid::pg_catalog.int8, d.xmin::pg_catalog.text::pg_catalog.int8,
       pg_catalog.floor(EXTRACT(epoch FROM s.change))::pg_catalog.int8
  FROM (SELECT d.oid, d.xmin,
               CASE d.dattablespace
                   WHEN 1663 THEN 'base/'
                   ELSE 'pg_tblspc/' || d.dattablespace || '/{version_folder}/'
               END || d.oid || '/PG_VERSION' AS path
          FROM pg_catalog.pg_database AS d
         UNION ALL
        SELECT 0, '0'::pg_catalog.xid, 'PG_VERSION') AS d,
       LATERAL pg_catalog.pg_stat_file(d.path, true) AS s
 WHERE s.change < pg_catalog.date_trunc('second', pg_catalog.clock_timestamp())";

fn identity(row: &[Value]) -> Option<(u32, FileIdentity)> {
    let number = |at: usize| u64::try_from(row.get(at)?.as_int()?).ok();
    let oid = u32::try_from(number(0)?).ok()?;
    Some((oid, FileIdentity::of_database(number(1)?, number(2)?)))
}

fn listed(row: &[Value]) -> Option<(Vec<u8>, Stat)> {
    Some((bytes_of(row.get(3)?.as_text()?)?, stat(row)?))
}

fn stat(row: &[Value]) -> Option<Stat> {
    let kind = match row.first()? {
        Value::Bool(true) => Kind::Folder,
        Value::Bool(false) => Kind::File,
        _ => return None,
    };
    let number = |at: usize| u64::try_from(row.get(at)?.as_int()?).ok();
    Some(ServerTree::stat(kind, number(1)?, number(2).unwrap_or(0)))
}

fn oid(name: &OsStr) -> Option<u32> {
    name.to_str()?.parse().ok()
}
