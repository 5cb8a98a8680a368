//! `backup_manifest` as the server writes it, for backups whose files were read here.

use std::fmt::Write as _;
use std::io::{self, Write};

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::super::manifest::{Manifest, WalRange, hexadecimal};

/// The first major version whose manifests name the cluster, which are of version 2.
const IDENTIFIED_MAJOR: u32 = 17;
/// Lines are written when there are so many bytes of them.
const WRITE_BYTES: usize = 64 << 10;

/// Writes a manifest, file by file.
#[derive(Debug)]
pub(crate) struct ManifestWriter {
    lines: String,
    hash: Sha256,
    manifest: Manifest,
}

impl ManifestWriter {
    /// Begins the manifest of a cluster.
    pub(crate) fn new(major: u32, system_identifier: u64) -> ManifestWriter {
        let identified = major >= IDENTIFIED_MAJOR;
        let manifest = Manifest {
            version: if identified { 2 } else { 1 },
            system_identifier: identified.then_some(system_identifier),
            ..Manifest::default()
        };
        let mut lines = format!(
            "{{ \"PostgreSQL-Backup-Manifest-Version\": {},\n",
            manifest.version
        );
        if identified {
            let _ = writeln!(lines, "\"System-Identifier\": {system_identifier},");
        }
        lines.push_str("\"Files\": [");
        ManifestWriter {
            lines,
            hash: Sha256::new(),
            manifest,
        }
    }

    /// Adds a file with its CRC-32C.
    pub(crate) fn file(&mut self, path: &[u8], bytes: u64, modified_s: u64, crc: u32) {
        let comma = if self.manifest.files == 0 { "" } else { "," };
        let path = match std::str::from_utf8(path) {
            Ok(text) => format!("\"Path\": {}", serde_json::Value::from(text)),
            Err(_) => format!("\"Encoded-Path\": \"{}\"", hexadecimal(path)),
        };
        let modified = i64::try_from(modified_s)
            .ok()
            .and_then(|seconds| Timestamp::from_second(seconds).ok())
            .unwrap_or_default();
        let _ = write!(
            self.lines,
            "{comma}\n{{ {path}, \"Size\": {bytes}, \"Last-Modified\": \"{}\", \
             \"Checksum-Algorithm\": \"CRC32C\", \"Checksum\": \"{}\" }}",
            modified.strftime("%Y-%m-%d %H:%M:%S GMT"),
            hexadecimal(&crc.to_le_bytes()),
        );
        self.manifest.files += 1;
        self.manifest.bytes = self.manifest.bytes.saturating_add(bytes);
    }

    /// Writes the lines so far, when there are many.
    pub(crate) fn flush(&mut self, into: &mut dyn Write) -> io::Result<()> {
        if self.lines.len() < WRITE_BYTES {
            return Ok(());
        }
        self.write(into)
    }

    /// Writes the rest, and says what it says.
    pub(crate) fn finish(mut self, wal: WalRange, into: &mut dyn Write) -> io::Result<Manifest> {
        let _ = write!(
            self.lines,
            "\n],\n\"WAL-Ranges\": [\n{{ \"Timeline\": {}, \"Start-LSN\": \"{}\", \"End-LSN\": \"{}\" }}\n],\n",
            wal.timeline.0, wal.start, wal.end
        );
        self.write(into)?;
        let checksum = hexadecimal(&self.hash.finalize());
        writeln!(into, "\"Manifest-Checksum\": \"{checksum}\"}}")?;
        self.manifest.wal = vec![wal];
        Ok(self.manifest)
    }

    fn write(&mut self, into: &mut dyn Write) -> io::Result<()> {
        self.hash.update(&self.lines);
        into.write_all(self.lines.as_bytes())?;
        self.lines.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use pawang_core::Lsn;

    use super::super::super::manifest::read;
    use super::*;
    use crate::wal::Timeline;

    #[test]
    fn what_is_written_is_read() {
        let wal = WalRange {
            timeline: Timeline(3),
            start: Lsn(0x200_0028),
            end: Lsn(0x200_0100),
        };
        for (major, count) in [(15, 0), (15, 1), (18, 3000)] {
            let mut writer = ManifestWriter::new(major, 7_300_000_000_000_000_001);
            let mut bytes = Vec::new();
            let paths: Vec<Vec<u8>> = (0..count)
                .map(|number| match number % 3 {
                    0 => format!("base/5/{number}").into_bytes(),
                    1 => format!("base/\"ha\nck\\ é{number}").into_bytes(),
                    _ => [b"base/\xff".as_slice(), number.to_string().as_bytes()].concat(),
                })
                .collect();
            for (path, size) in paths.iter().zip(0..) {
                writer.file(path, size, 1_763_800_000, 0x0d0c_0b0a);
                writer.flush(&mut bytes).unwrap();
            }
            let said = writer.finish(wal, &mut bytes).unwrap();
            let mut files = Vec::new();
            let read = read(&mut bytes.as_slice(), &mut |file| files.push(file)).unwrap();
            assert_eq!(read, said);
            assert_eq!(read.files, count);
            assert_eq!(read.system_identifier.is_some(), major == 18);
            for (file, path) in files.iter().zip(&paths) {
                assert_eq!(&file.path, path);
                assert_eq!(file.modified, "2025-11-22 08:26:40 GMT");
                assert_eq!(file.checksum.as_ref().unwrap().digest, [10, 11, 12, 13]);
            }
        }
    }
}
