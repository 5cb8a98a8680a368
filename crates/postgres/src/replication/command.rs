//! The commands of the replication protocol as texts, in the dialect of each version.

use std::time::Duration;

use pawang_core::Lsn;

use crate::Error;

/// The first major version that takes options in parentheses, and compresses.
pub(super) const PARENTHESES_MAJOR: u32 = 15;
const INCREMENTAL_MAJOR: u32 = 17;
/// What `MAX_RATE` accepts, in kB a second.
const RATE_KIB: std::ops::RangeInclusive<u32> = 32..=1_048_576;

/// What a base backup should be like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseBackupOptions {
    /// The text of `LABEL:` in `backup_label`.
    pub label: String,
    /// Whether the checkpoint before it is done at once instead of spread over `checkpoint_timeout`.
    pub checkpoint_fast: bool,
    /// Whether the WAL that it needs comes at the end of the data directory's archive.
    pub wal: bool,
    /// Whether the server adds up sizes first, and tells how far it is.
    pub progress: bool,
    /// Whether a manifest comes at the end.
    pub manifest: bool,
    /// The checksums in the manifest.
    pub manifest_checksums: ManifestChecksums,
    /// How much the server sends in a second at most.
    pub max_rate_kib: Option<u32>,
    /// Whether only what changed since the backup of the uploaded manifest is sent (PostgreSQL 17).
    pub incremental: bool,
    /// Whether the server checks the pages' checksums; it warns of wrong ones and fails at the end.
    pub verify_checksums: bool,
    /// Whether the server compresses the archives (PostgreSQL 15).
    pub server_compression: Option<ServerCompression>,
}

impl Default for BaseBackupOptions {
    fn default() -> BaseBackupOptions {
        BaseBackupOptions {
            label: "pawang".to_owned(),
            checkpoint_fast: true,
            wal: false,
            progress: false,
            manifest: true,
            manifest_checksums: ManifestChecksums::Crc32c,
            max_rate_kib: None,
            incremental: false,
            verify_checksums: true,
            server_compression: None,
        }
    }
}

/// How the manifest can prove a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ManifestChecksums {
    /// By its size only.
    None,
    /// Against accidents.
    #[default]
    Crc32c,
    /// Against forgery, at some cost to the server.
    Sha256,
}

/// How the server compresses the archives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerCompression {
    /// The method, which the server must have been built with.
    pub method: CompressionMethod,
    /// Its level; the method's own default when not given.
    pub level: Option<i32>,
    /// Threads of zstd.
    pub workers: Option<u32>,
}

/// A way to compress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompressionMethod {
    /// `gzip`.
    Gzip,
    /// `lz4`.
    Lz4,
    /// `zstd`.
    Zstd,
}

/// Quotes a name.
pub(super) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Passes a setting's name only if it is one: the grammar has no quotes there.
pub(super) fn setting(name: &str) -> Result<&str, Error> {
    let plain = !name.is_empty()
        && name
            .bytes()
            .all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, b'_' | b'.'));
    plain.then_some(name).ok_or_else(|| Error::Parameter {
        name: name.to_owned(),
        problem: "it is no name of a setting".to_owned(),
    })
}

/// Refuses what the server is too old for.
pub(super) fn needs(
    major: u32,
    needed: u32,
    what: &'static str,
    server: impl FnOnce() -> [String; 2],
) -> Result<(), Error> {
    if major >= needed {
        return Ok(());
    }
    let [address, version] = server();
    Err(Error::NeedsVersion {
        address,
        what,
        needed,
        version,
    })
}

pub(super) fn create_slot(name: &str, reserve_wal: bool, major: u32) -> String {
    let options = match (reserve_wal, major >= PARENTHESES_MAJOR) {
        (false, _) => "",
        (true, true) => " (RESERVE_WAL)",
        (true, false) => " RESERVE_WAL",
    };
    let name = quote(name);
    format!("CREATE_REPLICATION_SLOT {name} PHYSICAL{options}")
}

pub(super) fn create_temporary_slot(name: &str, major: u32) -> String {
    create_slot(name, true, major).replacen(" PHYSICAL", " TEMPORARY PHYSICAL", 1)
}

pub(super) fn start_replication(slot: Option<&str>, position: Lsn, timeline: u32) -> String {
    let slot = slot.map(|slot| format!("SLOT {} ", quote(slot)));
    let slot = slot.unwrap_or_default();
    format!("START_REPLICATION {slot}PHYSICAL {position} TIMELINE {timeline}")
}

/// Writes BASE_BACKUP: a list of words up to 14, a list in parentheses since.
pub(super) fn base_backup(
    options: &BaseBackupOptions,
    major: u32,
    server: impl Fn() -> [String; 2],
) -> Result<String, Error> {
    let new = major >= PARENTHESES_MAJOR;
    let choose = |since_15: &str, before: &str| if new { since_15 } else { before }.to_owned();
    let mut words = vec![format!("LABEL {}", literal(&options.label))];
    // Without it, links of tablespaces are in the archive, which whoever unpacks it elsewhere would follow.
    words.push("TABLESPACE_MAP".to_owned());
    words.push(choose("WAIT 0", "NOWAIT"));
    if options.progress {
        words.push("PROGRESS".to_owned());
    }
    if options.checkpoint_fast {
        words.push(choose("CHECKPOINT 'fast'", "FAST"));
    }
    if options.wal {
        words.push("WAL".to_owned());
    }
    if let Some(rate) = options.max_rate_kib {
        if !RATE_KIB.contains(&rate) {
            return Err(Error::Parameter {
                name: "max_rate".to_owned(),
                problem: format!("{rate} kB a second is not between 32 kB and 1 GB"),
            });
        }
        words.push(format!("MAX_RATE {rate}"));
    }
    if !options.verify_checksums {
        words.push(choose("VERIFY_CHECKSUMS 0", "NOVERIFY_CHECKSUMS"));
    }
    if options.manifest {
        words.push("MANIFEST 'yes'".to_owned());
        let checksums = match options.manifest_checksums {
            ManifestChecksums::None => "NONE",
            ManifestChecksums::Crc32c => "CRC32C",
            ManifestChecksums::Sha256 => "SHA256",
        };
        words.push(format!("MANIFEST_CHECKSUMS '{checksums}'"));
    }
    if let Some(compression) = &options.server_compression {
        needs(
            major,
            PARENTHESES_MAJOR,
            "compression by the server",
            &server,
        )?;
        words.extend(compressed(compression));
    }
    if options.incremental {
        needs(major, INCREMENTAL_MAJOR, "an incremental backup", &server)?;
        words.push("INCREMENTAL".to_owned());
    }
    Ok(match new {
        true => format!("BASE_BACKUP ({}, TARGET 'client')", words.join(", ")),
        false => format!("BASE_BACKUP {}", words.join(" ")),
    })
}

fn compressed(compression: &ServerCompression) -> Vec<String> {
    let method = match compression.method {
        CompressionMethod::Gzip => "gzip",
        CompressionMethod::Lz4 => "lz4",
        CompressionMethod::Zstd => "zstd",
    };
    let level = compression.level.map(|level| format!("level={level}"));
    let workers = compression.workers.map(|count| format!("workers={count}"));
    let detail: Vec<String> = level.into_iter().chain(workers).collect();
    let mut words = vec![format!("COMPRESSION '{method}'")];
    if !detail.is_empty() {
        words.push(format!("COMPRESSION_DETAIL '{}'", detail.join(",")));
    }
    words
}

/// Reads a time as `SHOW` writes it: `5min`, `90s`, `1d`.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let seconds = match unit {
        "s" => 1,
        "min" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    let number: u64 = number.parse().ok()?;
    Some(Duration::from_secs(number.checked_mul(seconds)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> [String; 2] {
        ["db:5432".to_owned(), "14.9".to_owned()]
    }

    #[test]
    fn base_backups_in_both_dialects() {
        let mut options = BaseBackupOptions {
            label: "it's".to_owned(),
            progress: true,
            max_rate_kib: Some(1024),
            verify_checksums: false,
            ..BaseBackupOptions::default()
        };
        assert_eq!(
            base_backup(&options, 14, server).unwrap(),
            "BASE_BACKUP LABEL 'it''s' TABLESPACE_MAP NOWAIT PROGRESS FAST MAX_RATE 1024 NOVERIFY_CHECKSUMS MANIFEST 'yes' MANIFEST_CHECKSUMS 'CRC32C'"
        );
        options.server_compression = Some(ServerCompression {
            method: CompressionMethod::Zstd,
            level: Some(1),
            workers: Some(2),
        });
        options.incremental = true;
        assert_eq!(
            base_backup(&options, 17, server).unwrap(),
            "BASE_BACKUP (LABEL 'it''s', TABLESPACE_MAP, WAIT 0, PROGRESS, CHECKPOINT 'fast', MAX_RATE 1024, VERIFY_CHECKSUMS 0, MANIFEST 'yes', MANIFEST_CHECKSUMS 'CRC32C', COMPRESSION 'zstd', COMPRESSION_DETAIL 'level=1,workers=2', INCREMENTAL, TARGET 'client')"
        );
        let refused = base_backup(&options, 16, server).unwrap_err();
        assert!(matches!(refused, Error::NeedsVersion { needed: 17, .. }));
        options.max_rate_kib = Some(31);
        assert!(base_backup(&options, 17, server).is_err());
    }

    #[test]
    fn names_are_quoted_and_settings_refused() {
        assert_eq!(
            create_slot("a\"b", true, 18),
            "CREATE_REPLICATION_SLOT \"a\"\"b\" PHYSICAL (RESERVE_WAL)"
        );
        assert_eq!(
            create_temporary_slot("a", 14),
            "CREATE_REPLICATION_SLOT \"a\" TEMPORARY PHYSICAL RESERVE_WAL"
        );
        assert_eq!(
            start_replication(Some("s"), Lsn(0x1_0000_0000), 3),
            "START_REPLICATION SLOT \"s\" PHYSICAL 1/0 TIMELINE 3"
        );
        for (name, good) in [
            ("wal_segment_size", true),
            ("a.b", true),
            ("a;b", false),
            ("", false),
        ] {
            assert_eq!(setting(name).is_ok(), good, "{name}");
        }
    }

    #[test]
    fn reads_times() {
        for (text, seconds) in [
            ("5min", Some(300)),
            ("30s", Some(30)),
            ("1d", Some(86_400)),
            ("x", None),
        ] {
            assert_eq!(duration(text), seconds.map(Duration::from_secs), "{text}");
        }
    }
}
