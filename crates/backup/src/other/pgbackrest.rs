//! pgBackRest: what its repositories have of a cluster, by its own `info`, `repo-ls` and `repo-get`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use pawang_core::{Kind, Lsn, Report};
use serde::Deserialize;

use super::{folder, program};
use crate::Error;
use crate::repository::{ClusterId, Position};
use crate::restore::Owner;
use crate::wal::{Catalogue, History, SegmentName, WalFile};

/// Options of other commands that also say which repository is meant.
const KEPT: [&str; 8] = [
    "--stanza=",
    "--config=",
    "--config-path=",
    "--config-include-path=",
    "--repo=",
    "--repo",
    "--log-",
    "--no-log-",
];
/// A repository is as it should be, or only has no backup yet.
const STATES_GOOD: [u32; 2] = [0, 2];

/// The program, with the options that say which stanza and which configuration.
#[derive(Clone, Debug)]
pub struct PgBackRest {
    /// The program.
    pub program: PathBuf,
    /// Its options.
    pub options: Vec<String>,
    /// As whom it runs; as the caller without it.
    pub owner: Option<Owner>,
}

/// A stanza as `info --output=json` tells of it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Stanza {
    /// Its name.
    pub name: String,
    /// The clusters that it had, one after the other, in each repository.
    #[serde(rename = "db", default)]
    pub databases: Vec<Database>,
    /// What of their WAL is there.
    #[serde(rename = "archive", default)]
    pub archives: Vec<Archive>,
    /// The backups.
    #[serde(rename = "backup", default)]
    pub backups: Vec<Backup>,
    /// The state of each repository.
    #[serde(rename = "repo", default)]
    pub repositories: Vec<RepositoryState>,
}

/// A cluster of a stanza.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Database {
    /// Its number within the stanza.
    pub id: u32,
    /// The repository that says so.
    #[serde(rename = "repo-key", default = "first")]
    pub repository: u32,
    /// Its system identifier.
    #[serde(rename = "system-id")]
    pub system_identifier: u64,
    /// Its major version.
    pub version: String,
}

/// WAL of one cluster in one repository.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Archive {
    /// Its folder.
    pub id: String,
    /// Whose it is.
    pub database: Which,
    /// The first segment.
    pub min: Option<String>,
    /// The last segment.
    pub max: Option<String>,
}

/// A cluster by its number in a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct Which {
    /// The number within the stanza.
    pub id: u32,
    /// The repository.
    #[serde(rename = "repo-key", default = "first")]
    pub repository: u32,
}

/// A backup of a stanza.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Backup {
    /// Its name.
    pub label: String,
    /// `full`, `diff` or `incr`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The WAL that it needs.
    pub archive: Needed,
    /// Whose it is.
    pub database: Which,
    /// When it was taken.
    pub timestamp: Times,
    /// Whether pages were wrong in it.
    #[serde(default)]
    pub error: Option<bool>,
    /// Where in WAL it begins and ends.
    #[serde(default)]
    pub lsn: Option<Positions>,
    /// How large it is.
    #[serde(rename = "info", default)]
    pub size: Option<Size>,
}

/// Positions in WAL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Positions {
    /// The begin.
    pub start: Lsn,
    /// The end.
    pub stop: Lsn,
}

/// How large a backup is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Size {
    /// The bytes of the restored cluster.
    #[serde(rename = "size")]
    pub bytes: u64,
}

/// The segments that a backup needs to be consistent.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Needed {
    /// The first one.
    pub start: Option<SegmentName>,
    /// The last one.
    pub stop: Option<SegmentName>,
}

/// Seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Times {
    /// The begin.
    pub start: i64,
    /// The end.
    pub stop: i64,
}

/// The state of one repository.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct RepositoryState {
    /// Its number.
    pub key: u32,
    /// How it is.
    pub status: State,
}

/// A state, by pgBackRest's number and words.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct State {
    /// 0 is good.
    pub code: u32,
    /// In words.
    pub message: String,
}

impl Backup {
    /// Returns when it ended.
    pub fn ended_at(&self) -> Option<Timestamp> {
        Timestamp::from_second(self.timestamp.stop).ok()
    }
}

fn first() -> u32 {
    1
}

impl PgBackRest {
    /// Takes from a command what says which repository it is about.
    pub fn of_command(program: &Path, words: &[String]) -> PgBackRest {
        let kept = |word: &&String| KEPT.iter().any(|option| word.starts_with(option));
        PgBackRest {
            program: program.to_owned(),
            options: words.iter().filter(kept).cloned().collect(),
            owner: None,
        }
    }

    /// Asks what there is.
    ///
    /// # Errors
    /// The program did not say.
    pub async fn stanzas(&self) -> Result<Vec<Stanza>, Error> {
        let answer = self.ask(&[], &["info", "--output=json"]).await?;
        serde_json::from_slice(&answer).map_err(|error| self.unread(&error.to_string()))
    }

    /// Reads all that its repositories say of a cluster's WAL.
    ///
    /// # Errors
    /// The program did not say, a repository is not as it should be, or none has WAL of the cluster.
    pub async fn catalogue(
        &self,
        cluster: &ClusterId,
        segment_bytes: u32,
    ) -> Result<Catalogue, Error> {
        let mut catalogue = Catalogue {
            segment_bytes,
            ..Catalogue::default()
        };
        let mut found = false;
        for stanza in self.stanzas().await? {
            for repository in &stanza.repositories {
                if !STATES_GOOD.contains(&repository.status.code) {
                    let state = &repository.status.message;
                    return Err(self.unread(&format!("repository {}: {state}", repository.key)));
                }
            }
            let own = |which: &Which| {
                stanza.databases.iter().any(|database| {
                    database.id == which.id
                        && database.repository == which.repository
                        && database.system_identifier == cluster.system_identifier
                })
            };
            for archive in stanza
                .archives
                .iter()
                .filter(|archive| own(&archive.database))
            {
                found |= archive.max.is_some();
                self.list(&stanza.name, archive, &mut catalogue).await?;
            }
            let backups = stanza.backups.iter().filter(|backup| own(&backup.database));
            let needed = backups.filter_map(|backup| backup.archive.stop);
            catalogue.needed.extend(needed.map(|stop| Position {
                timeline: stop.timeline,
                lsn: Lsn(stop.start(segment_bytes).0 + 1),
            }));
        }
        if !found {
            return Err(self.unread(&format!("it has no WAL of {cluster}")));
        }
        Ok(catalogue)
    }

    async fn list(
        &self,
        stanza: &str,
        archive: &Archive,
        catalogue: &mut Catalogue,
    ) -> Result<(), Error> {
        let path = format!("archive/{stanza}/{}", archive.id);
        let repository = archive.database.repository;
        let words = ["repo-ls", "--recurse", "--output=json", &path];
        let answer = self.ask_repository(repository, &words).await?;
        let files: BTreeMap<String, serde_json::Value> =
            serde_json::from_slice(&answer).map_err(|error| self.unread(&error.to_string()))?;
        let mut seen = 0;
        for file in files.keys() {
            seen += 1;
            let name = file.rsplit('/').next().unwrap_or(file);
            if let Some(WalFile::History(timeline)) = folder::add(catalogue, name) {
                let words = ["repo-get", &format!("{path}/{file}")];
                let text = self.ask_repository(repository, &words).await?;
                let text = String::from_utf8_lossy(&text);
                let history = History::parse(timeline, &text);
                let history = history.map_err(|error| self.unread(&error.to_string()))?;
                catalogue.histories.insert(timeline, history);
            }
        }
        if seen == 0 && archive.max.is_some() {
            return Err(self.unread(&format!("\"{path}\" is empty")));
        }
        Ok(())
    }

    async fn ask_repository(&self, repository: u32, words: &[&str]) -> Result<Vec<u8>, Error> {
        let named = self
            .options
            .iter()
            .any(|option| option.starts_with("--repo="));
        let option = format!("--repo={repository}");
        let options = if named { &[][..] } else { &[option] };
        self.ask(options, words).await
    }

    async fn ask(&self, options: &[String], words: &[&str]) -> Result<Vec<u8>, Error> {
        // What it says besides must not be mixed with the answer.
        let quiet = ["--log-level-console=off".to_owned()];
        let loud = |option: &&String| !option.starts_with("--log-level-console");
        let all = self
            .options
            .iter()
            .filter(loud)
            .chain(options)
            .chain(&quiet);
        let mut all: Vec<String> = all.cloned().collect();
        all.extend(words.iter().map(|word| (*word).to_owned()));
        program::ask(&self.program, &all, self.owner).await
    }

    fn unread(&self, problem: &str) -> Error {
        let report = Report::new(Kind::Target, "could not read the catalogue of pgBackRest");
        let hint = format!("{} info", self.program.display());
        Error::Refused(Box::new(report.with_detail(problem).with_hint(hint)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_answer_is_read() {
        let text = r#"[{"archive":[{"database":{"id":1,"repo-key":1},"id":"15-1",
            "max":"000000010000000000000009","min":"000000010000000000000002"}],
            "backup":[{"archive":{"start":"000000010000000000000003","stop":"000000010000000000000003"},
            "backrest":{"format":5,"version":"2.45"},"database":{"id":1,"repo-key":1},"error":false,
            "info":{"delta":1,"repository":{"delta":1,"size":1},"size":1},"label":"20261122-080000F",
            "lsn":{"start":"0/3000028","stop":"0/3000100"},"prior":null,"reference":null,
            "timestamp":{"start":1763798400,"stop":1763798402},"type":"full"}],
            "cipher":"none","db":[{"id":1,"repo-key":1,"system-id":7300000000000000001,"version":"15"}],
            "name":"main","repo":[{"cipher":"none","key":1,"status":{"code":0,"message":"ok"}}],
            "status":{"code":0,"lock":{"backup":{"held":false}},"message":"ok"}}]"#;
        let stanzas: Vec<Stanza> = serde_json::from_str(text).unwrap();
        let stanza = &stanzas[0];
        assert_eq!(
            stanza.databases[0].system_identifier,
            7_300_000_000_000_000_001
        );
        assert_eq!(
            stanza.backups[0].archive.stop,
            "000000010000000000000003".parse().ok()
        );
        assert!(stanza.backups[0].ended_at().is_some());
        assert_eq!(stanza.archives[0].id, "15-1");
    }

    #[test]
    fn options_of_a_command_say_which_repository_it_means() {
        let line = "--stanza=main --config=/etc/x.conf --archive-async --repo1-path=/srv --pg1-path=/data archive-get";
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let found = PgBackRest::of_command(Path::new("/usr/bin/pgbackrest"), &words);
        assert_eq!(
            found.options,
            ["--stanza=main", "--config=/etc/x.conf", "--repo1-path=/srv"]
        );
    }
}
