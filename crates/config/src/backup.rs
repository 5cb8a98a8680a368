//! `[[repository]]` and `[backup]`: where backups and WAL are kept, when they are taken, how long they stay, what is promised.

use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::quantity::{Period, Size};
use crate::tree::{Config, InstanceConfig};

/// A place that holds backups and WAL.
///
/// Its format is described in `docs/reference/repository.md`; `tar` and `zstd` read it without Pawang.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RepositoryConfig {
    /// Name of the repository in every output; unique, without spaces.
    #[schemars(extend("format" = "name", "x-unique" = true))]
    pub name: String,
    /// A folder, such as `/srv/backup`, or a bucket of an S3-compatible store, such as `s3://bucket/prefix`.
    #[schemars(length(min = 1))]
    pub place: String,
    /// Address of the store when it is not that of Amazon: `https://minio.example.org:9000`.
    #[serde(default)]
    #[schemars(extend("format" = "web-url"))]
    pub endpoint: Option<String>,
    /// Region of the bucket; `us-east-1` when not set.
    #[serde(default)]
    pub region: Option<String>,
    /// Name of the access key.
    #[serde(default)]
    pub access_key: Option<String>,
    /// File whose first line is the secret of the access key; only its owner may be able to read it.
    #[serde(default)]
    pub secret_key_file: Option<PathBuf>,
    /// Whether the bucket is a part of the path instead of the host's name; it is where there is an endpoint when not set.
    #[serde(default)]
    pub path_style: Option<bool>,
    /// Whether the store may be asked without TLS: whoever listens could read the backups.
    #[serde(default)]
    pub allow_http: bool,
    /// File of certificates that are trusted besides those of the system.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// Whether backups and WAL are encrypted, and how: `age`, for its `recipients`.
    #[serde(default)]
    pub encryption: Option<Encryption>,
    /// Public keys of age (`age1...`) for whose holders they are encrypted, such as one of this machine and one in a safe.
    #[serde(default)]
    pub recipients: Vec<String>,
    /// File with the secret keys of age that read them again, for restores, drills and verification; only its owner may be
    /// able to read it.
    ///
    /// A server that only takes backups needs none. Without a secret key nothing can be restored.
    #[serde(default)]
    pub identity_file: Option<PathBuf>,
    /// Most bytes per second that are sent to it and read from it, all together.
    #[serde(default)]
    pub bandwidth: Option<Size>,
    /// Most space that it may take; the check `repository-space` judges by it, and no backup is begun beyond it.
    #[serde(default)]
    pub space: Option<Size>,
}

/// How what is in a repository is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Encryption {
    /// Each object is a file of age, which the program `age` decrypts too.
    Age,
}

/// Where a repository is, once its `place` is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RepositoryPlace<'a> {
    /// A folder on this machine or mounted on it.
    Directory(&'a Path),
    /// A bucket of an S3-compatible store, and what the names in it begin with.
    Bucket {
        /// The bucket.
        bucket: &'a str,
        /// Begin of all names, without slashes around it; may be empty.
        prefix: &'a str,
    },
}

impl RepositoryConfig {
    /// Returns where it is; `None` when the text names no place that exists.
    pub fn location(&self) -> Option<RepositoryPlace<'_>> {
        let Some((scheme, rest)) = self.place.split_once("://") else {
            let path = Path::new(&self.place);
            return (!self.place.is_empty()).then_some(RepositoryPlace::Directory(path));
        };
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let plain = !bucket.is_empty() && bucket.bytes().all(of_bucket);
        (scheme == "s3" && plain).then_some(RepositoryPlace::Bucket {
            bucket,
            prefix: prefix.trim_matches('/'),
        })
    }
}

fn of_bucket(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.')
}

/// When and how backups are taken, how long they are kept, and what is promised.
///
/// What stands in `[backup]` holds for every instance; `[instance.backup_policy]` changes it for one, key by key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BackupPolicy {
    /// Names of the repositories that hold its backups and WAL; all when not set, and with `[]` it is left alone.
    pub repositories: Option<Vec<String>>,
    /// When the daemon takes backups, proves and expires them: `daily 01:00-05:00 Asia/Jakarta`, as windows of maintenance.
    ///
    /// Without it only a person, or cron, does, and what is stored is read again at any time. What runs at its end is finished.
    pub window: Option<String>,
    /// How old the newest full backup may grow before the next one is due; `7 d` when not set.
    pub full_every: Option<Period>,
    /// How old the newest backup of any kind may grow before an incremental one is due; `1 d` when not set.
    ///
    /// Where incremental backups are not possible, a full one is taken instead.
    pub incremental_every: Option<Period>,
    /// How long backups and WAL are kept.
    pub retention: BackupRetention,
    /// The most time of changes that may be lost, as it was promised; the check `rpo` holds the facts against it.
    pub rpo: Option<Period>,
    /// The longest that a restore may take, as it was promised; the check `rto` holds the drills against it.
    pub rto: Option<Period>,
    /// How often a backup is proven by a restore; `7 d` when not set.
    pub drill_every: Option<Period>,
    /// How soon every stored byte of a backup is read again and compared with its hash, and WAL as a server would get it; `30 d` when not set.
    ///
    /// The daemon reads what was not read for longest, inside the window and at `verify_rate`, so that all of it is read within
    /// this time.
    pub verify_every: Option<Period>,
    /// Most bytes per second that are read again; `20 MB` when not set.
    pub verify_rate: Option<Size>,
    /// Queries that a restored server must answer as expected, one `[[backup.probe]]` each.
    #[serde(rename = "probe")]
    pub probes: Vec<ProbeConfig>,
    /// The server that drills and restores of single tables start on restored files, and throw away.
    pub scratch: ScratchConfig,
    /// Whether the daemon receives WAL as it is written, through a replication slot; false when not set.
    pub stream: Option<bool>,
    /// Name of that slot; `pawang` when not set.
    pub slot: Option<String>,
    /// Most bytes per second that a backup reads from the server; no limit when not set.
    pub max_rate: Option<Size>,
    /// Connections that read files side by side, where a backup reads them over SQL (`--mode lanes`); 4 when not set.
    #[schemars(range(min = 1, max = 32))]
    pub lanes: Option<u32>,
}

/// How long backups and WAL are kept.
///
/// A backup is kept while any key asks for it; a backup that another one stands on, that is held, or that is the newest proven
/// one is kept whatever stands here. WAL is kept from the oldest kept backup on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BackupRetention {
    /// So many newest full backups, with the incremental ones that stand on them; 2 when not set.
    #[schemars(range(min = 1, max = 10_000))]
    pub fulls: Option<u32>,
    /// Backups that are younger.
    pub age: Option<Period>,
    /// What a restore to any moment of this time needs; `14 d` when neither it nor `age` is set.
    pub window: Option<Period>,
    /// The last backup of each of so many days.
    #[schemars(range(min = 0, max = 10_000))]
    pub daily: Option<u32>,
    /// The last backup of each of so many weeks.
    #[schemars(range(min = 0, max = 10_000))]
    pub weekly: Option<u32>,
    /// The last backup of each of so many months.
    #[schemars(range(min = 0, max = 10_000))]
    pub monthly: Option<u32>,
    /// The last backup of each of so many years.
    #[schemars(range(min = 0, max = 10_000))]
    pub yearly: Option<u32>,
    /// How long a backup that is no longer needed stays marked before it is deleted; `1 d` when not set.
    pub grace: Option<Period>,
}

/// The server that drills and restores of single tables start on restored files, and throw away.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ScratchConfig {
    /// Folder in which it is made and removed; `/var/tmp` when not set.
    ///
    /// Its owner runs it; where that is root, the user `postgres`.
    pub folder: Option<PathBuf>,
    /// Folder of the server's programs, when it is none of the usual.
    pub programs: Option<PathBuf>,
    /// A superuser of the cluster; `postgres` when not set.
    pub role: Option<String>,
    /// Libraries that must be loaded to read the data, such as `timescaledb`; no others are.
    pub preload: Option<String>,
}

/// A query that a restored server must answer as expected.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProbeConfig {
    /// Database to run it in.
    #[schemars(length(min = 1))]
    pub database: String,
    /// The query; its first column counts, and it runs on the restored server only.
    #[schemars(length(min = 1))]
    pub sql: String,
    /// What the first column of the first row must be, as text; `true` when not set.
    #[serde(default)]
    pub expect: Option<String>,
}

/// What holds for the backups of one instance, with every key that was not set filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct BackupSettings {
    /// The repositories, in their order; none when the instance is left alone.
    pub repositories: Vec<String>,
    /// When the daemon takes backups.
    pub window: Option<String>,
    /// How old the newest full backup may grow.
    pub full_every: Duration,
    /// How old the newest backup may grow.
    pub incremental_every: Duration,
    /// How long backups are kept; what was not set and has no default is `None`.
    pub retention: BackupRetention,
    /// The promised recovery point.
    pub rpo: Option<Duration>,
    /// The promised recovery time.
    pub rto: Option<Duration>,
    /// How often a backup is proven.
    pub drill_every: Duration,
    /// How soon every stored byte is read again.
    pub verify_every: Duration,
    /// Most bytes per second that are read again.
    pub verify_rate: u64,
    /// Queries of a drill.
    pub probes: Vec<ProbeConfig>,
    /// The server of a drill.
    pub scratch: ScratchConfig,
    /// Whether WAL is received.
    pub stream: bool,
    /// The slot.
    pub slot: String,
    /// Most bytes per second that a backup reads.
    pub max_rate: Option<u64>,
    /// Connections that read files over SQL, where that was set.
    pub lanes: Option<u32>,
}

const DAY: Duration = Duration::from_secs(86_400);
/// Full backups that are kept when nothing is said.
const FULLS: u32 = 2;
/// Recovery window when nothing is said.
const WINDOW: Duration = Duration::from_secs(14 * 86_400);
/// How soon all is read again when nothing is said, and how fast.
const VERIFY_EVERY: Duration = Duration::from_secs(30 * 86_400);
const VERIFY_RATE: u64 = 20_000_000;
/// The slot when none is named.
pub(crate) const SLOT: &str = "pawang";

impl BackupPolicy {
    /// Returns this policy with what it does not set taken from `base`; probes of both are asked.
    pub fn over(&self, base: &BackupPolicy) -> BackupPolicy {
        let probes = base.probes.iter().chain(&self.probes);
        BackupPolicy {
            repositories: or(&self.repositories, &base.repositories),
            window: or(&self.window, &base.window),
            full_every: self.full_every.or(base.full_every),
            incremental_every: self.incremental_every.or(base.incremental_every),
            retention: self.retention.over(base.retention),
            rpo: self.rpo.or(base.rpo),
            rto: self.rto.or(base.rto),
            drill_every: self.drill_every.or(base.drill_every),
            verify_every: self.verify_every.or(base.verify_every),
            verify_rate: self.verify_rate.or(base.verify_rate),
            probes: probes.cloned().collect(),
            scratch: self.scratch.over(&base.scratch),
            stream: self.stream.or(base.stream),
            slot: or(&self.slot, &base.slot),
            max_rate: self.max_rate.or(base.max_rate),
            lanes: self.lanes.or(base.lanes),
        }
    }
}

fn or<T: Clone>(first: &Option<T>, second: &Option<T>) -> Option<T> {
    first.as_ref().or(second.as_ref()).cloned()
}

impl ScratchConfig {
    /// Returns its paths, which may be relative.
    pub(crate) fn folders(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        self.folder.iter_mut().chain(&mut self.programs)
    }

    fn over(&self, base: &ScratchConfig) -> ScratchConfig {
        ScratchConfig {
            folder: or(&self.folder, &base.folder),
            programs: or(&self.programs, &base.programs),
            role: or(&self.role, &base.role),
            preload: or(&self.preload, &base.preload),
        }
    }
}

impl BackupRetention {
    fn over(self, base: BackupRetention) -> BackupRetention {
        BackupRetention {
            fulls: self.fulls.or(base.fulls),
            age: self.age.or(base.age),
            window: self.window.or(base.window),
            daily: self.daily.or(base.daily),
            weekly: self.weekly.or(base.weekly),
            monthly: self.monthly.or(base.monthly),
            yearly: self.yearly.or(base.yearly),
            grace: self.grace.or(base.grace),
        }
    }
}

impl Config {
    /// Returns what holds for the backups of an instance.
    pub fn backup_settings(&self, instance: &InstanceConfig) -> BackupSettings {
        let policy = instance.backup_policy.over(&self.backup);
        let all = || self.repositories.iter().map(|it| it.name.clone()).collect();
        let mut retention = policy.retention;
        retention.fulls = retention.fulls.or(Some(FULLS));
        if retention.age.is_none() {
            retention.window = retention.window.or(Some(Period(WINDOW)));
        }
        retention.grace = retention.grace.or(Some(Period(DAY)));
        BackupSettings {
            repositories: policy.repositories.unwrap_or_else(all),
            window: policy.window,
            full_every: policy.full_every.map_or(7 * DAY, |period| period.0),
            incremental_every: policy.incremental_every.map_or(DAY, |period| period.0),
            retention,
            rpo: policy.rpo.map(|period| period.0),
            rto: policy.rto.map(|period| period.0),
            drill_every: policy.drill_every.map_or(7 * DAY, |period| period.0),
            verify_every: policy.verify_every.map_or(VERIFY_EVERY, |period| period.0),
            verify_rate: policy.verify_rate.map_or(VERIFY_RATE, |size| size.0.0),
            probes: policy.probes,
            scratch: policy.scratch,
            stream: policy.stream.unwrap_or(false),
            slot: policy.slot.unwrap_or_else(|| SLOT.to_owned()),
            max_rate: policy.max_rate.map(|size| size.0.0),
            lanes: policy.lanes,
        }
    }

    /// Returns the repository of that name.
    pub fn repository(&self, name: &str) -> Option<&RepositoryConfig> {
        self.repositories.iter().find(|it| it.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_folder_or_a_bucket() {
        let at = |place: &str| RepositoryConfig {
            place: place.to_owned(),
            ..RepositoryConfig::default()
        };
        let bucket = |bucket, prefix| Some(RepositoryPlace::Bucket { bucket, prefix });
        for (place, expected) in [
            (
                "/srv/backup",
                Some(RepositoryPlace::Directory(Path::new("/srv/backup"))),
            ),
            ("s3://bucket", bucket("bucket", "")),
            ("s3://bucket/a/b/", bucket("bucket", "a/b")),
            ("s3:///a", None),
            ("s3://key:secret@bucket/a", None),
            ("gs://bucket", None),
            ("", None),
        ] {
            assert_eq!(at(place).location(), expected, "{place}");
        }
    }
}
