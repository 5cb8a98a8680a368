//! Where each object of format v1 lies; the only place that spells a path.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::wal::{SegmentName, Timeline};
use pawang_core::Lsn;

/// A cluster in a repository: servers with another identity or major version never meet (invariant I7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClusterId {
    /// `pg_control`'s system identifier, in JSON as text, since it does not fit into a number of every reader.
    #[serde(with = "as_text")]
    pub system_identifier: u64,
    /// PostgreSQL's major version.
    pub major: u32,
}

/// A backup's name: 26 letters of a ULID. It is unique, not an order: clocks go wrong, so order is by stop position.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BackupId(String);

/// The text is no name of a backup.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot read \"{0}\" as the name of a backup")]
pub struct ParseBackupIdError(pub String);

/// Crockford's alphabet, in upper case.
const LETTERS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const ID_LETTERS: usize = 26;

impl BackupId {
    /// Makes a name of the time in milliseconds and 80 random bits.
    pub fn new(at: Timestamp, random: [u8; 10]) -> BackupId {
        let mut bits = u128::from(at.as_millisecond().max(0).cast_unsigned()) << 80;
        bits |= random
            .iter()
            .fold(0u128, |bits, byte| bits << 8 | u128::from(*byte));
        let letter = |place: usize| {
            char::from(LETTERS[(bits >> (5 * (ID_LETTERS - 1 - place)) & 31) as usize])
        };
        BackupId((0..ID_LETTERS).map(letter).collect())
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for BackupId {
    type Err = ParseBackupIdError;

    fn from_str(text: &str) -> Result<BackupId, ParseBackupIdError> {
        let plain =
            text.len() == ID_LETTERS && text.bytes().all(|letter| LETTERS.contains(&letter));
        plain
            .then(|| BackupId(text.to_owned()))
            .ok_or_else(|| ParseBackupIdError(text.to_owned()))
    }
}

impl TryFrom<String> for BackupId {
    type Error = ParseBackupIdError;

    fn try_from(text: String) -> Result<BackupId, ParseBackupIdError> {
        text.parse()
    }
}

impl From<BackupId> for String {
    fn from(id: BackupId) -> String {
        id.0
    }
}

impl fmt::Display for BackupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.system_identifier, self.major)
    }
}

impl FromStr for ClusterId {
    type Err = String;

    fn from_str(text: &str) -> Result<ClusterId, String> {
        text.split_once('-')
            .and_then(|(identifier, major)| {
                Some(ClusterId {
                    system_identifier: identifier.parse().ok()?,
                    major: major.parse().ok()?,
                })
            })
            .filter(|id| id.to_string() == text)
            .ok_or_else(|| text.to_owned())
    }
}

impl ClusterId {
    /// The folder of everything of the cluster: `cluster/<system identifier>-<major>`.
    pub fn folder(&self) -> String {
        format!("cluster/{self}")
    }

    /// The folder of all backups.
    pub fn backups(&self) -> String {
        format!("{}/backup", self.folder())
    }

    /// The folder of one backup.
    pub fn backup(&self, id: &BackupId) -> String {
        format!("{}/{id}", self.backups())
    }

    /// The record that makes a backup exist.
    pub fn commit(&self, id: &BackupId) -> String {
        format!("{}/COMMIT.json", self.backup(id))
    }

    /// A part of a backup; the name is that of [`super::Part::name`].
    pub fn part(&self, id: &BackupId, name: &str) -> String {
        format!("{}/{name}", self.backup(id))
    }

    /// The folder of all WAL.
    pub fn wal(&self) -> String {
        format!("{}/wal", self.folder())
    }

    /// The folder of one timeline's WAL.
    pub fn timeline(&self, timeline: Timeline) -> String {
        format!("{}/{timeline}", self.wal())
    }

    /// A whole segment of WAL, compressed: 256 of them in a folder. A suffix such as `.age` may follow.
    pub fn segment(&self, name: &SegmentName, segment_bytes: u32) -> String {
        let folder = name.number(segment_bytes) / 256;
        format!("{}/{folder:014X}/{name}.zst", self.timeline(name.timeline))
    }

    /// The last segment of a timeline that was left, as PostgreSQL archives it at a promotion: whole in size, not in WAL.
    pub fn partial(&self, name: &SegmentName, segment_bytes: u32) -> String {
        let segment = self.segment(name, segment_bytes);
        segment.replace(".zst", ".partial.zst")
    }

    /// A backup's history file, which PostgreSQL archives when a backup ends: `<segment>.<offset>.backup`.
    pub fn backup_history(&self, timeline: Timeline, name: &str) -> String {
        format!("{}/backup/{name}", self.timeline(timeline))
    }

    /// A file whose name is taken by another content (two servers write under one identity), by the begin of its SHA-256.
    pub fn conflict(&self, name: &str, sha256: &str) -> String {
        format!("{}/{name}.{sha256}.zst", self.conflicts())
    }

    /// The folder of files whose names were taken.
    pub fn conflicts(&self) -> String {
        format!("{}/conflict", self.wal())
    }

    /// A timeline's history file.
    pub fn history(&self, timeline: Timeline) -> String {
        format!("{}/{timeline}.history", self.wal())
    }

    /// A piece of a segment that is not whole yet, from byte `from` to byte `to` of it.
    pub fn live(&self, name: &SegmentName, from: u32, to: u32) -> String {
        format!(
            "{}/live/{}/{name}.{from:08X}-{to:08X}.zst",
            self.wal(),
            name.timeline
        )
    }

    /// The folder of pieces of one timeline.
    pub fn live_folder(&self, timeline: Timeline) -> String {
        format!("{}/live/{timeline}", self.wal())
    }

    /// The record of WAL that is known to be missing.
    pub fn gap(&self, timeline: Timeline, from: Lsn, to: Lsn) -> String {
        format!(
            "{}/gaps/{timeline}-{:016X}-{:016X}.json",
            self.folder(),
            from.0,
            to.0
        )
    }

    /// The folder of records about missing WAL.
    pub fn gaps(&self) -> String {
        format!("{}/gaps", self.folder())
    }

    /// The folder of what was proven about all backups.
    pub fn all_proofs(&self) -> String {
        format!("{}/proof", self.folder())
    }

    /// The folder of what was proven about a backup.
    pub fn proofs(&self, id: &BackupId) -> String {
        format!("{}/{id}", self.all_proofs())
    }

    /// One proof of a backup, by the time it ended.
    pub fn proof(&self, id: &BackupId, at: Timestamp) -> String {
        format!("{}/{:013}.json", self.proofs(id), at.as_millisecond())
    }

    /// The folder of what was found when WAL was read again.
    pub fn rereads(&self) -> String {
        format!("{}/wal-read", self.folder())
    }

    /// What one turn of reading WAL again left, by the time it ended.
    pub fn reread(&self, at: Timestamp) -> String {
        format!("{}/{:013}.json", self.rereads(), at.as_millisecond())
    }

    /// The mark that a backup is to be deleted.
    pub fn tomb(&self, id: &BackupId) -> String {
        format!("{}/tomb/{id}.json", self.folder())
    }

    /// The mark that a backup must be kept.
    pub fn hold(&self, id: &BackupId) -> String {
        format!("{}/hold/{id}.json", self.folder())
    }

    /// The folder of holds.
    pub fn holds(&self) -> String {
        format!("{}/hold", self.folder())
    }

    /// The folder of tombs.
    pub fn tombs(&self) -> String {
        format!("{}/tomb", self.folder())
    }

    /// The folder of leases.
    pub fn leases(&self) -> String {
        format!("{}/lease", self.folder())
    }

    /// Who works at something now; each that takes it over is another generation.
    pub fn lease(&self, name: &str, generation: u32) -> String {
        format!("{}/{name}.{generation:08x}.json", self.leases())
    }

    /// An object that is written to learn the store's time, and deleted.
    pub fn clock(&self, word: &str) -> String {
        format!("{}/clock-{word}", self.leases())
    }
}

mod as_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(number: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(number)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_where_things_lie() {
        let cluster = ClusterId {
            system_identifier: 7_300_000_000_000_000_001,
            major: 17,
        };
        let id = BackupId::new("2026-11-22T08:00:00Z".parse().unwrap(), [7; 10]);
        assert_eq!(id.as_str().len(), 26);
        assert_eq!(id.as_str().parse(), Ok(id.clone()));
        assert_eq!(cluster.to_string().parse(), Ok(cluster));
        assert!("17-7 ".parse::<ClusterId>().is_err());
        assert!("../../../../../../../../x".parse::<BackupId>().is_err());
        assert_eq!(
            cluster.commit(&id),
            format!("cluster/7300000000000000001-17/backup/{id}/COMMIT.json")
        );
        let name: SegmentName = "0000000A00000001000000FE".parse().unwrap();
        assert_eq!(
            cluster.segment(&name, 16 << 20),
            "cluster/7300000000000000001-17/wal/0000000A/00000000000001/0000000A00000001000000FE.zst"
        );
    }

    #[test]
    fn later_names_sort_behind_earlier_ones() {
        let at = |second: i64| BackupId::new(Timestamp::from_second(second).unwrap(), [255; 10]);
        assert!(at(1_800_000_000) < at(1_800_000_001));
    }
}
