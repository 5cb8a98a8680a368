//! The last sample of an instance; the format is described in `format/v1.md`.

use std::io::Write;
use std::path::{Path, PathBuf};

use pawang_core::Facts;
use serde::{Deserialize, Serialize};

use crate::Error;

const FORMAT: &str = "pawang.sample/1";
/// A larger file is not a sample of ours.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// What is kept of one run until the next.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    format: String,
    /// Facts reduced to the collectors that are remembered.
    pub facts: Facts,
    /// The data directory of a local server, as last seen.
    pub data_directory: Option<PathBuf>,
    /// The directory of the server log, as last seen.
    pub log_directory: Option<PathBuf>,
}

impl Sample {
    /// Keeps of `facts` only what `remembered` names and what was seen.
    pub fn of(mut facts: Facts, remembered: impl Fn(&str) -> bool) -> Sample {
        facts
            .sightings
            .retain(|sighting| sighting.seen.is_ok() && remembered(&sighting.collector));
        Sample {
            format: FORMAT.to_owned(),
            facts,
            data_directory: None,
            log_directory: None,
        }
    }
}

/// Returns the last sample of an instance, or `None` when there is none yet.
///
/// # Errors
/// The file exists and cannot be read, or is not a sample.
pub fn load(directory: &Path, instance: &str) -> Result<Option<Sample>, Error> {
    let path = path_of(directory, instance);
    let file_error = |source| Error::File {
        path: path.clone(),
        source,
    };
    let text = match std::fs::metadata(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(file_error(error)),
        Ok(metadata) if metadata.len() > FILE_BYTES_MAX => {
            return Err(file_error(std::io::ErrorKind::FileTooLarge.into()));
        }
        Ok(_) => std::fs::read(&path).map_err(file_error)?,
    };
    let content = |source| Error::Content {
        path: path.clone(),
        source,
    };
    let envelope: Envelope = serde_json::from_slice(&text).map_err(content)?;
    if envelope.format != FORMAT {
        return Ok(None);
    }
    serde_json::from_slice(&text).map(Some).map_err(content)
}

#[derive(Deserialize)]
struct Envelope {
    format: String,
}

/// Replaces the sample of its instance; a crash leaves the old file or the new one, never half of one.
///
/// # Errors
/// The directory cannot be made or written.
pub fn save(directory: &Path, sample: &Sample) -> Result<(), Error> {
    let path = path_of(directory, &sample.facts.instance.name);
    let file_error = |source| Error::File {
        path: path.clone(),
        source,
    };
    let text = serde_json::to_vec(sample).map_err(|source| Error::Content {
        path: path.clone(),
        source,
    })?;
    std::fs::create_dir_all(directory).map_err(file_error)?;
    let mut file = tempfile::NamedTempFile::new_in(directory).map_err(file_error)?;
    file.write_all(&text).map_err(file_error)?;
    file.as_file().sync_all().map_err(file_error)?;
    file.persist(&path)
        .map_err(|error| file_error(error.error))?;
    Ok(())
}

fn path_of(directory: &Path, instance: &str) -> PathBuf {
    let mut name = String::new();
    for byte in instance.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => name.push(char::from(byte)),
            _ => name.push_str(&format!("%{byte:02X}")),
        }
    }
    directory.join(format!("{name}.sample.json"))
}

#[cfg(test)]
mod tests {
    use pawang_core::{Blind, Cost, Instance, Missing, Sighting, Snapshot, Timestamp};

    use super::*;

    fn sighting(collector: &str, seen: bool) -> Sighting {
        let snapshot = Snapshot {
            collector: collector.to_owned(),
            database: None,
            at: Timestamp::UNIX_EPOCH,
            epoch: None,
            cost: Cost::default(),
            columns: [].into(),
            rows: Vec::new(),
        };
        Sighting {
            collector: collector.to_owned(),
            database: None,
            seen: if seen {
                Ok(snapshot.into())
            } else {
                Err(Missing::Blind(Blind::FirstSample))
            },
        }
    }

    fn facts(instance: &str) -> Facts {
        Facts {
            instance: Instance {
                name: instance.to_owned(),
                ..Instance::default()
            },
            at: Timestamp::UNIX_EPOCH,
            server: Err(Blind::FirstSample),
            down: None,
            databases: Vec::new(),
            sightings: vec![
                sighting("database", true),
                sighting("tables", true),
                sighting("wal", false),
            ],
            notes: Vec::new(),
        }
    }

    #[test]
    fn what_is_saved_is_loaded_and_only_what_was_seen_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["dwh-1", "a/../b", "host:5432", ""] {
            assert_eq!(load(directory.path(), name).unwrap(), None);
            let sample = Sample::of(facts(name), |collector| collector != "tables");
            assert_eq!(sample.facts.sightings.len(), 1);
            save(directory.path(), &sample).unwrap();
            assert_eq!(load(directory.path(), name).unwrap(), Some(sample));
        }
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 4);
    }

    #[test]
    fn another_format_is_no_sample_and_rubbish_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let path = path_of(directory.path(), "x");
        std::fs::write(&path, r#"{"format":"pawang.sample/99","new":1}"#).unwrap();
        assert_eq!(load(directory.path(), "x").unwrap(), None);
        std::fs::write(&path, "{").unwrap();
        assert!(matches!(
            load(directory.path(), "x"),
            Err(Error::Content { .. })
        ));
    }

    #[test]
    fn the_fixture_of_version_1_stays_readable() {
        let directory = tempfile::tempdir().unwrap();
        let fixture = include_str!("format/v1.json");
        std::fs::write(path_of(directory.path(), "fixture"), fixture).unwrap();
        let sample = load(directory.path(), "fixture").unwrap().unwrap();
        assert_eq!(sample.facts.sightings[0].collector, "database");
    }
}
