//! `global/pg_control` without a server: what state a cluster was left in.
//!
//! Layouts are those of PostgreSQL 14 to 18 on little-endian machines with 8-byte alignment, as on every platform that
//! Pawang is built for.

use std::path::Path;
use std::time::Duration;

use pawang_core::{Lsn, Timestamp};

use crate::Error;

const FILE_BYTES_MAX: u64 = 8192;
/// The server may be writing the file while it is read; then the checksum is wrong for a moment.
const READS_MAX: usize = 10;
/// Whoever writes it may have lost the processor in the middle.
const READ_AGAIN_AFTER: Duration = Duration::from_millis(10);

/// `pg_control_version` of PostgreSQL 13 to 16.
const VERSION_13: u32 = 1300;
/// `pg_control_version` of PostgreSQL 17, which fills a gap of the layout before.
const VERSION_17: u32 = 1700;
/// `pg_control_version` of PostgreSQL 18.
const VERSION_18: u32 = 1800;
/// The date from which on a catalog version is of this major: each is well after the catalog of the one before was
/// frozen (202007201, 202107181, 202209061, 202307071 for 13 to 16).
const CATALOG_DAYS: [(u32, u32); 3] = [(202_210_000, 16), (202_108_000, 15), (202_008_000, 14)];

/// The state of a cluster, in PostgreSQL's own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It was starting.
    StartingUp,
    /// It was stopped in an orderly way.
    ShutDown,
    /// A standby was stopped in an orderly way.
    ShutDownInRecovery,
    /// It was stopping.
    ShuttingDown,
    /// It was replaying WAL after a crash.
    InCrashRecovery,
    /// It was replaying WAL as a standby or from a backup.
    InArchiveRecovery,
    /// It was running; without a running server this means that it crashed.
    InProduction,
}

/// What `pg_control` says.
#[derive(Clone, Debug, PartialEq)]
pub struct ControlFile {
    /// Identity of the cluster, shared with its standbys.
    pub system_identifier: u64,
    /// Version of the file's own layout.
    pub control_version: u32,
    /// Version of the system catalogs.
    pub catalog_version: u32,
    /// The server's major version, which the two above imply.
    pub major: u32,
    /// The state it was left in.
    pub state: State,
    /// When the file was written.
    pub written_at: Timestamp,
    /// Position of the last checkpoint record.
    pub checkpoint: Lsn,
    /// Where recovery would begin.
    pub redo: Lsn,
    /// Timeline of the last checkpoint.
    pub timeline: u32,
    /// When the last checkpoint was taken.
    pub checkpoint_at: Timestamp,
    /// The next transaction id, with its epoch in the upper half.
    pub next_xid: u64,
    /// The oldest transaction id that is not frozen everywhere.
    pub oldest_xid: u32,
    /// How far a standby or restored cluster must replay before it is consistent; zero for a primary.
    pub min_recovery_point: Lsn,
    /// Where the backup that it was restored from began; zero when that is done.
    pub backup_start: Lsn,
    /// `max_connections` when it was last running.
    pub max_connections: u32,
    /// `max_worker_processes` then.
    pub max_worker_processes: u32,
    /// `max_wal_senders` then.
    pub max_wal_senders: u32,
    /// `max_prepared_transactions` then.
    pub max_prepared_transactions: u32,
    /// `max_locks_per_transaction` then.
    pub max_locks_per_transaction: u32,
    /// Whether data pages carry checksums.
    pub data_checksums: bool,
    /// Size of a page of data.
    pub block_bytes: u32,
    /// Pages of one file of a relation.
    pub relation_file_blocks: u32,
    /// Size of one WAL file.
    pub wal_segment_bytes: u32,
}

impl State {
    /// Returns the words that `pg_controldata` prints.
    pub fn as_str(self) -> &'static str {
        match self {
            State::StartingUp => "starting up",
            State::ShutDown => "shut down",
            State::ShutDownInRecovery => "shut down in recovery",
            State::ShuttingDown => "shutting down",
            State::InCrashRecovery => "in crash recovery",
            State::InArchiveRecovery => "in archive recovery",
            State::InProduction => "in production",
        }
    }

    fn from_number(number: u32) -> Option<State> {
        Some(match number {
            0 => State::StartingUp,
            1 => State::ShutDown,
            2 => State::ShutDownInRecovery,
            3 => State::ShuttingDown,
            4 => State::InCrashRecovery,
            5 => State::InArchiveRecovery,
            6 => State::InProduction,
            _ => return None,
        })
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// Reads the control file of a data directory.
pub fn read(data_directory: &Path) -> Result<ControlFile, Error> {
    whole(data_directory).map(|(_, file)| file)
}

/// Reads the bytes of the control file of a data directory, as they were whole.
pub fn read_bytes(data_directory: &Path) -> Result<Vec<u8>, Error> {
    whole(data_directory).map(|(bytes, _)| bytes)
}

fn whole(data_directory: &Path) -> Result<(Vec<u8>, ControlFile), Error> {
    let path = data_directory.join("global").join("pg_control");
    let mut problem = String::new();
    for reads in 0..READS_MAX {
        if reads > 0 {
            std::thread::sleep(READ_AGAIN_AFTER);
        }
        let bytes = crate::file::read(&path, FILE_BYTES_MAX)?;
        match parse(&bytes) {
            Ok(file) => return Ok((bytes, file)),
            Err(found) => problem = found,
        }
    }
    Err(Error::ControlFile { path, problem })
}

/// Reads what the bytes of a control file say.
///
/// # Errors
/// Says what is wrong with them: they are cut short, damaged or torn, or of a version that is not known.
pub fn parse(bytes: &[u8]) -> Result<ControlFile, String> {
    let fields = Fields(bytes);
    let control_version = fields.u32(8)?;
    let catalog_version = fields.u32(12)?;
    let major = major(control_version, catalog_version)?;
    // PostgreSQL 18 has one more flag before the nonce, which moves the checksum to the next multiple of four.
    let end = if control_version == VERSION_18 {
        292
    } else {
        288
    };
    let content = bytes.get(..end).ok_or("it is too short")?;
    if crc32c::crc32c(content) != fields.u32(end)? {
        return Err(
            "its checksum is wrong: it is damaged, or was read while it was written".to_owned(),
        );
    }
    let state = fields.u32(16)?;
    Ok(ControlFile {
        system_identifier: fields.u64(0)?,
        control_version,
        catalog_version,
        major,
        state: State::from_number(state).ok_or_else(|| format!("it has no state {state}"))?,
        written_at: fields.time(24)?,
        checkpoint: Lsn(fields.u64(32)?),
        redo: Lsn(fields.u64(40)?),
        timeline: fields.u32(48)?,
        next_xid: fields.u64(64)?,
        oldest_xid: fields.u32(84)?,
        checkpoint_at: fields.time(104)?,
        min_recovery_point: Lsn(fields.u64(136)?),
        backup_start: Lsn(fields.u64(152)?),
        max_connections: fields.u32(180)?,
        max_worker_processes: fields.u32(184)?,
        max_wal_senders: fields.u32(188)?,
        max_prepared_transactions: fields.u32(192)?,
        max_locks_per_transaction: fields.u32(196)?,
        block_bytes: fields.u32(216)?,
        relation_file_blocks: fields.u32(220)?,
        wal_segment_bytes: fields.u32(228)?,
        data_checksums: fields.u32(252)? != 0,
    })
}

fn major(control_version: u32, catalog_version: u32) -> Result<u32, String> {
    let found = match control_version {
        VERSION_18 => Some(18),
        VERSION_17 => Some(17),
        VERSION_13 => CATALOG_DAYS
            .iter()
            .find(|(day, _)| catalog_version >= *day)
            .map(|(_, major)| *major),
        _ => None,
    };
    found.ok_or_else(|| {
        format!(
            "its version {control_version} (catalog {catalog_version}) is not of PostgreSQL 14 to 18"
        )
    })
}

/// Numbers at offsets.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn array<const N: usize>(&self, offset: usize) -> Result<[u8; N], String> {
        self.0
            .get(offset..offset + N)
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or_else(|| "it is too short".to_owned())
    }

    fn u32(&self, offset: usize) -> Result<u32, String> {
        self.array(offset).map(u32::from_le_bytes)
    }

    fn u64(&self, offset: usize) -> Result<u64, String> {
        self.array(offset).map(u64::from_le_bytes)
    }

    fn time(&self, offset: usize) -> Result<Timestamp, String> {
        let seconds = self.array(offset).map(i64::from_le_bytes)?;
        Timestamp::from_second(seconds).map_err(|_| "it has an impossible time".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(control_version: u32, catalog_version: u32) -> Vec<u8> {
        let mut bytes = vec![0; 8192];
        bytes[8..12].copy_from_slice(&control_version.to_le_bytes());
        bytes[12..16].copy_from_slice(&catalog_version.to_le_bytes());
        bytes[16..20].copy_from_slice(&6_u32.to_le_bytes());
        let end = if control_version == 1800 { 292 } else { 288 };
        let crc = crc32c::crc32c(&bytes[..end]);
        bytes[end..end + 4].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    #[test]
    fn tells_majors_apart_and_refuses_others() {
        for (control, catalog, expected) in [
            (1300, 202_007_201, None),
            (1300, 202_107_181, Some(14)),
            (1300, 202_209_061, Some(15)),
            (1300, 202_307_071, Some(16)),
            (1700, 202_406_281, Some(17)),
            (1800, 202_506_291, Some(18)),
            (1201, 201_909_212, None),
            (1900, 202_609_011, None),
        ] {
            let major = parse(&file(control, catalog)).ok().map(|file| file.major);
            assert_eq!(major, expected, "{control} {catalog}");
        }
    }

    #[test]
    fn refuses_damage_at_every_byte_and_every_length() {
        let good = file(1800, 202_506_291);
        assert_eq!(parse(&good).unwrap().state, State::InProduction);
        for index in 0..296 {
            let mut bytes = good.clone();
            bytes[index] ^= 0x10;
            assert!(parse(&bytes).is_err(), "byte {index}");
            assert!(parse(&good[..index]).is_err(), "length {index}");
        }
    }
}
