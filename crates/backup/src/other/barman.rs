//! Barman: what it has of a server, by its own `list-backups` and `show-backup`, and its restore.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use pawang_core::{Kind, Report};
use serde::Deserialize;

use super::program;
use super::tool::{Kept, Order};
use crate::Error;
use crate::restore::{Owner, Target};
use crate::wal::WalFile;

/// Where Barman puts WAL that recovery takes, when it restores to a target.
pub(super) const WAL: &str = "barman_wal";
const RECOVERY_SIGNAL: &str = "recovery.signal";
/// A backup of which everything was copied.
const STATES_WHOLE: [&str; 2] = ["DONE", "WAITING_FOR_WALS"];

/// The program, with the options that say which configuration.
#[derive(Clone, Debug)]
pub struct Barman {
    /// The program.
    pub program: PathBuf,
    /// Its options.
    pub options: Vec<String>,
    /// As whom it runs; as the caller without it.
    pub owner: Option<Owner>,
}

/// A backup as `list-backups` tells of it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Listed {
    backup_id: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    end_time_timestamp: Option<String>,
    #[serde(default)]
    size_bytes: Option<u64>,
    #[serde(default)]
    tablespaces: Vec<Tablespace>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Tablespace {
    name: String,
}

/// A backup as `show-backup` tells of it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Shown {
    postgresql_version: u32,
}

impl Barman {
    /// Asks which servers it keeps backups of.
    ///
    /// # Errors
    /// The program did not say.
    pub async fn servers(&self) -> Result<Vec<String>, Error> {
        let answer: BTreeMap<String, serde_json::Value> = self.ask(&["list-servers"]).await?;
        Ok(answer.into_keys().collect())
    }

    /// Returns the whole backups of a server, oldest first.
    ///
    /// # Errors
    /// The program did not say.
    pub(super) async fn backups(&self, server: &str) -> Result<Vec<Kept>, Error> {
        let mut answer: BTreeMap<String, Vec<Listed>> = self.ask(&["list-backups", server]).await?;
        let listed = answer.remove(server).unwrap_or_default();
        let mut all: Vec<Kept> = listed
            .into_iter()
            .filter(|listed| STATES_WHOLE.contains(&listed.status.as_str()))
            .filter_map(kept)
            .collect();
        all.sort_by_key(|kept| kept.ended_at);
        Ok(all)
    }

    /// Returns the major version of a backup.
    ///
    /// # Errors
    /// The program did not say.
    pub(super) async fn major(&self, server: &str, backup: &str) -> Result<u32, Error> {
        let words = ["show-backup", server, backup];
        let mut answer: BTreeMap<String, Shown> = self.ask(&words).await?;
        let shown = answer.remove(server);
        let shown = shown.ok_or_else(|| self.unread("it says nothing of the backup"))?;
        Ok(shown.postgresql_version / 10_000)
    }

    /// Returns the words of a restore.
    pub(super) fn words(&self, server: &str, order: &Order<'_>) -> Vec<String> {
        let mut words = self.options.clone();
        words.extend(["recover", "--no-get-wal"].map(str::to_owned));
        if let Some((option, value)) = aim(order.target) {
            words.push(format!("--target-{option}"));
            words.extend(value);
        }
        if !order.inclusive && order.target.setting().is_some() {
            words.push("--exclusive".to_owned());
        }
        if let Some(timeline) = order.timeline {
            words.push("--target-tli".to_owned());
            words.push(timeline.0.to_string());
        }
        for (at, name) in order.backup.tablespaces.iter().enumerate() {
            let place = order.tablespaces.join(at.to_string());
            words.push("--tablespace".to_owned());
            words.push(format!("{name}:{}", place.display()));
        }
        words.push(server.to_owned());
        words.push(order.backup.label.clone());
        words.push(order.into.display().to_string());
        words
    }

    async fn ask<T: serde::de::DeserializeOwned>(&self, words: &[&str]) -> Result<T, Error> {
        let mut all = self.options.clone();
        all.extend(["-f", "json"].map(str::to_owned));
        all.extend(words.iter().map(|word| (*word).to_owned()));
        let answer = program::ask(&self.program, &all, self.owner).await?;
        serde_json::from_slice(&answer).map_err(|error| self.unread(&error.to_string()))
    }

    fn unread(&self, problem: &str) -> Error {
        let report = Report::new(Kind::Target, "could not read the catalogue of Barman");
        let hint = format!("{} list-servers", self.program.display());
        Error::Refused(Box::new(report.with_detail(problem).with_hint(hint)))
    }
}

fn kept(listed: Listed) -> Option<Kept> {
    let seconds = listed.end_time_timestamp?.parse().ok()?;
    Some(Kept {
        label: listed.backup_id,
        ended_at: Timestamp::from_second(seconds).ok()?,
        stop: None,
        data_bytes: listed.size_bytes,
        repository: None,
        tablespaces: listed.tablespaces.into_iter().map(|it| it.name).collect(),
    })
}

/// Returns the option of a target without its begin, and its value.
fn aim(target: &Target) -> Option<(&'static str, Option<String>)> {
    let (setting, value) = target.setting()?;
    Some(match (target, setting.rsplit_once('_')) {
        (Target::Immediate, _) => ("immediate", None),
        (_, Some((_, kind))) => (kind, Some(value)),
        _ => return None,
    })
}

/// Puts WAL where recovery takes it piece by piece. Without a target Barman puts it where a server looks by itself, which takes
/// the first hole in it for the end.
///
/// # Errors
/// The folders cannot be read or written.
pub(super) fn put_wal_aside(data: &Path, owner: Option<Owner>) -> Result<(), Error> {
    let aside = data.join(WAL);
    if aside.is_dir() {
        return Ok(());
    }
    let failed = |doing, path: &Path| {
        let path = path.to_owned();
        move |source| Error::File {
            doing,
            path,
            source,
        }
    };
    fs::create_dir(&aside).map_err(failed("create", &aside))?;
    let own = data.join("pg_wal");
    for entry in fs::read_dir(&own).map_err(failed("list", &own))? {
        let name = entry.map_err(failed("list", &own))?.file_name();
        if name.to_str().and_then(WalFile::parse).is_some() {
            let from = own.join(&name);
            fs::rename(&from, aside.join(&name)).map_err(failed("move", &from))?;
        }
    }
    let signal = data.join(RECOVERY_SIGNAL);
    fs::File::create(&signal).map_err(failed("create", &signal))?;
    if let Some(owner) = owner {
        for path in [&aside, &signal] {
            owner.give(path).map_err(failed("give away", path))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wal::Timeline;

    fn barman() -> Barman {
        Barman {
            program: "/usr/bin/barman".into(),
            options: vec!["-c".to_owned(), "/etc/barman.conf".to_owned()],
            owner: None,
        }
    }

    #[test]
    fn its_lists_are_read() {
        let text = r#"{"main": [
            {"backup_id": "20261122T090000", "end_time_timestamp": "1795000000", "size_bytes": 40, "status": "DONE",
             "retention_status": "-", "tablespaces": [{"name": "fast", "location": "/srv/fast"}]},
            {"backup_id": "20261122T100000", "status": "FAILED"}]}"#;
        let answer: BTreeMap<String, Vec<Listed>> = serde_json::from_str(text).unwrap();
        let all: Vec<Kept> = answer["main"].iter().cloned().filter_map(kept).collect();
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].tablespaces, ["fast"]);
        let shown: BTreeMap<String, Shown> =
            serde_json::from_str(r#"{"main": {"backup_id": "x", "postgresql_version": 150014}}"#)
                .unwrap();
        assert_eq!(shown["main"].postgresql_version / 10_000, 15);
    }

    #[test]
    fn a_target_is_said_in_its_words() {
        let backup = Kept {
            label: "20261122T090000".to_owned(),
            ended_at: Timestamp::UNIX_EPOCH,
            stop: None,
            data_bytes: None,
            repository: None,
            tablespaces: vec!["fast".to_owned()],
        };
        let order = |target, inclusive| Order {
            backup: &backup,
            target,
            inclusive,
            timeline: Some(Timeline(3)),
            into: Path::new("/s/data"),
            tablespaces: Path::new("/s/t"),
        };
        let time = Target::Time("2026-11-22T09:00:00.5Z".parse().unwrap());
        let words = barman().words("main", &order(&time, false)).join(" ");
        assert_eq!(
            words,
            "-c /etc/barman.conf recover --no-get-wal --target-time 2026-11-22 09:00:00.500000+00 --exclusive \
             --target-tli 3 --tablespace fast:/s/t/0 main 20261122T090000 /s/data"
        );
        let words = barman().words("main", &order(&Target::Immediate, true));
        assert!(
            words.contains(&"--target-immediate".to_owned()),
            "{words:?}"
        );
        let words = barman()
            .words("main", &order(&Target::Latest, true))
            .join(" ");
        assert!(!words.contains("--target-time"), "{words}");
    }
}
