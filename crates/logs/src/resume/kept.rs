//! What a state holds, for readers beside the process that writes it.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::state::{Manifest, decode, decode_part, state};
use super::{Kept, MANIFEST, path_of};
use crate::error::Error;

/// Folder of the states of all instances.
const FOLDER: &str = "logs";
/// How often a reader begins again because the writer replaced an hour meanwhile.
const RACES_MAX: usize = 8;

/// The hours of a state, as they were at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeptHours {
    directory: PathBuf,
    /// The hours that have records, oldest first, each with its version.
    hours: Vec<(i64, u64)>,
}

/// Returns where the state of an instance is, in the data directory of a daemon.
pub fn directory_of(data: &Path, instance: &str) -> PathBuf {
    let mut name = String::new();
    for byte in instance.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => name.push(char::from(byte)),
            other => name.push_str(&format!("%{other:02X}")),
        }
    }
    data.join(FOLDER).join(name)
}

/// Returns the hours of a state; none when there is no state.
///
/// It takes no lock: the one who writes is not disturbed.
pub fn kept_hours(directory: &Path) -> Result<KeptHours, Error> {
    let path = directory.join(MANIFEST);
    let manifest = match std::fs::read(&path) {
        Ok(bytes) => decode(&path, &bytes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Manifest::default(),
        Err(source) => return Err(state("read", &path, source)),
    };
    Ok(KeptHours {
        directory: directory.to_owned(),
        hours: manifest.hours.into_iter().collect(),
    })
}

impl KeptHours {
    /// Returns the first and the last hour that has records, as seconds since 1970-01-01 UTC divided by 3600.
    pub fn span(&self) -> Option<(i64, i64)> {
        Some((self.hours.first()?.0, self.hours.last()?.0))
    }

    /// Returns the hours of a range that have records, each with a number that grows when it changes.
    pub fn within(&self, wanted: &Range<i64>) -> Vec<(i64, u64)> {
        let hours = self.hours.iter().copied();
        hours.filter(|(hour, _)| wanted.contains(hour)).collect()
    }

    /// Returns how many hours have records.
    pub fn count(&self) -> usize {
        self.hours.len()
    }

    /// Returns what the records of some hours add up to, without reading any log.
    ///
    /// When the writer replaced one of them meanwhile, it becomes the hours as they are then.
    pub fn sum<P: Kept>(&mut self, wanted: Range<i64>) -> Result<P, Error> {
        for _ in 1..RACES_MAX {
            if let Some(sum) = self.try_sum(&wanted)? {
                return Ok(sum);
            }
            *self = kept_hours(&self.directory)?;
        }
        let path = self.directory.join(MANIFEST);
        let source = io::Error::other("it changes faster than it can be read");
        self.try_sum(&wanted)?
            .ok_or_else(|| state("read", &path, source))
    }

    /// Returns the sum; none when an hour is no longer there.
    fn try_sum<P: Kept>(&self, wanted: &Range<i64>) -> Result<Option<P>, Error> {
        let mut sum = P::default();
        for (hour, generation) in self.within(wanted) {
            let path = path_of(&self.directory, hour, generation);
            match std::fs::read(&path) {
                Ok(bytes) => sum.absorb(decode_part(&path, &bytes)?),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(source) => return Err(state("read", &path, source)),
            }
            sum.settle();
        }
        Ok(Some(sum))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_instance_has_a_directory_of_its_own_within_the_data() {
        for (instance, name) in [
            ("dwh-1", "dwh-1"),
            ("..", "%2E%2E"),
            ("a/b", "a%2Fb"),
            ("jakarta.1", "jakarta%2E1"),
        ] {
            assert_eq!(
                directory_of(Path::new("/data"), instance),
                Path::new("/data/logs").join(name)
            );
        }
    }
}
