//! What is known of the backups of one instance: the same facts for checks, pages, metrics and commands.
//!
//! Whoever reads a repository fills these in; what could not be read is a [`Blind`] and never an empty list.

mod sighting;

pub use sighting::{BACKUP_PREFIX, DRILL_PREFIX, REPOSITORY_PREFIX};

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{Blind, Level, Lsn};

/// Behind a switch of segments an idle server still writes the head of a page and one record about running transactions that
/// nobody can miss; the smallest transaction takes more.
pub const UNIMPORTANT_BYTES: u64 = 104;

/// What is known of the backups of one instance in all its repositories.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BackupFacts {
    /// One entry per repository, in the order of the configuration.
    pub repositories: Vec<RepositoryFacts>,
    /// Drills of what other tools keep of the same cluster.
    #[serde(default)]
    pub others: Vec<OtherDrill>,
    /// What was promised.
    pub promise: BackupPromise,
}

/// What drills proved of the backups that another tool keeps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OtherDrill {
    /// The tool.
    pub tool: String,
    /// What it calls the backups of the cluster: a stanza, a server.
    pub set: String,
    /// When the last drill ended.
    pub at: Timestamp,
    /// Whether it proved the backup.
    pub passed: bool,
    /// What it found, in a few words.
    pub detail: String,
    /// The backup that was proven last, and when.
    pub proven: Option<(String, Timestamp)>,
}

/// What was promised for the backups of an instance, and how they are made.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BackupPromise {
    /// The most time of changes that may be lost.
    pub rpo: Option<Duration>,
    /// The longest that a restore may take.
    pub rto: Option<Duration>,
    /// How often a backup is proven.
    pub drill_every: Duration,
    /// How soon every stored byte is read again.
    #[serde(default)]
    pub verify_every: Duration,
    /// The slot through which WAL is received; `None` when it is not.
    pub slot: Option<String>,
}

/// What is known of one repository.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RepositoryFacts {
    /// Its name in the configuration.
    pub name: String,
    /// Where it is, without secrets.
    pub place: String,
    /// When it was looked at.
    pub at: Timestamp,
    /// What is in it for this instance, or why nobody can say.
    pub survey: Result<Survey, Blind>,
    /// What went wrong last with each kind of work, until it goes right again.
    pub troubles: Vec<BackupTrouble>,
}

/// What is in a repository for one cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Survey {
    /// The cluster: system identifier and major version.
    pub cluster: String,
    /// Its backups, the one that ends first in WAL first.
    pub backups: Vec<BackupSummary>,
    /// Its WAL.
    pub wal: WalSummary,
    /// The drills of backups that are gone, oldest first.
    #[serde(default)]
    pub past: Vec<ProofSummary>,
    /// When a share of the stored bytes was last read again in its turn.
    #[serde(default)]
    pub read_at: Option<Timestamp>,
    /// Who works on it right now.
    pub leases: Vec<LeaseSummary>,
    /// Bytes that the cluster takes in it.
    pub used_bytes: u64,
    /// Bytes that everything takes in it, where that was counted.
    pub all_bytes: Option<u64>,
    /// Bytes that are free where it lies; a bucket does not tell.
    pub free_bytes: Option<u64>,
    /// The most that it may take, by the configuration.
    pub space_bytes: Option<u64>,
}

/// A backup that exists.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackupSummary {
    /// Its name.
    pub id: String,
    /// `full` or `incremental`.
    pub kind: String,
    /// The backup that it stands on.
    pub parent: Option<String>,
    /// How far it is proven.
    pub state: BackupState,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended: the first moment that it can restore.
    pub ended_at: Timestamp,
    /// Its timeline.
    pub timeline: u32,
    /// Where replay begins.
    pub start: Lsn,
    /// Where the data becomes consistent.
    pub stop: Lsn,
    /// Bytes of the data as they were read.
    pub data_bytes: u64,
    /// Bytes in the repository.
    pub stored_bytes: u64,
    /// Pages that were checked on the way.
    pub pages_checked: u64,
    /// Pages that are not what their checksum says.
    pub pages_wrong: u64,
    /// What was proven of it, oldest first.
    pub proofs: Vec<ProofSummary>,
    /// Since when all its stored bytes were written, or read again and compared with their hash.
    #[serde(default)]
    pub read_since: Option<Timestamp>,
    /// What a look into its stored bytes found wrong, as long as nothing says that it is right again.
    #[serde(default)]
    pub rotten: Option<String>,
    /// Who holds it and why; a held backup is never deleted.
    pub held: Option<String>,
    /// Since when it is marked to be deleted.
    pub marked_at: Option<Timestamp>,
    /// Why it is kept, or when and why it goes.
    pub fate: String,
    /// Why it cannot be restored, such as a hole in the WAL that it needs; `None` when nothing speaks against it.
    pub broken: Option<String>,
}

/// How far a backup is proven (invariant I8).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum BackupState {
    /// A test of it failed: it may not be what it seems.
    Failed,
    /// It was taken.
    #[default]
    Taken,
    /// Its stored bytes were read again and are those that were written.
    Hashed,
    /// Its pages were unpacked and checked.
    PageVerified,
    /// It was restored, started, and answered.
    Proven,
}

/// What was proven of a backup at one time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProofSummary {
    /// When.
    pub at: Timestamp,
    /// The state that was tried to prove.
    pub state: BackupState,
    /// Whether it was.
    pub passed: bool,
    /// What was found, in a few words.
    pub detail: String,
    /// How long the restore took until the server answered, for drills.
    pub rto: Option<Duration>,
}

/// The WAL of a cluster in a repository.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WalSummary {
    /// What is there without holes, oldest first.
    pub intervals: Vec<WalInterval>,
    /// What is not there, between two intervals of a timeline.
    pub gaps: Vec<WalGap>,
    /// Objects of the same name with different content: two servers write into one archive.
    pub conflicts: Vec<String>,
    /// The position behind the newest WAL that is durable.
    pub durable: Option<Lsn>,
    /// Its timeline.
    pub timeline: Option<u32>,
    /// When that was stored, by the repository's clock.
    pub durable_at: Option<Timestamp>,
    /// The last moment at which all WAL that the server had written was seen to be stored.
    pub complete_at: Option<Timestamp>,
    /// Bytes that it takes.
    pub stored_bytes: u64,
    /// Since when all its segments were written, or read again; none where nobody reads them again.
    #[serde(default)]
    pub read_since: Option<Timestamp>,
    /// The segments that are not what was stored, with what was found: they count as holes.
    #[serde(default)]
    pub rotten: BTreeMap<String, String>,
}

/// A stretch of WAL without holes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WalInterval {
    /// The timeline.
    pub timeline: u32,
    /// The first position.
    pub from: Lsn,
    /// The position behind the last.
    pub to: Lsn,
    /// When the end of it was stored.
    pub stored_at: Option<Timestamp>,
}

/// A stretch of WAL that is not there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WalGap {
    /// The timeline.
    pub timeline: u32,
    /// The first position that is missing.
    pub from: Lsn,
    /// The first position that is there again.
    pub to: Lsn,
    /// Whether a backup that is kept needs it for moments after that backup.
    pub needed: bool,
    /// Whether a later backup begins behind it, so that the present can be reached all the same.
    pub healed: bool,
}

/// Who works on a cluster in a repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseSummary {
    /// What is done, such as `backup`.
    pub work: String,
    /// Who does it.
    pub holder: String,
    /// Until when it is claimed.
    pub until: Timestamp,
}

/// What went wrong last with one kind of work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupTrouble {
    /// The work: `backup`, `wal`, `expire`, `verify`, `drill`.
    pub work: String,
    /// When.
    pub at: Timestamp,
    /// What.
    pub what: String,
}

/// A stretch of time to any moment of which the cluster can be restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoverableWindow {
    /// The first moment: the end of a backup.
    pub from: Timestamp,
    /// The last moment that is known to be stored.
    pub to: Timestamp,
    /// Whether WAL is still added at its end.
    pub open: bool,
}

impl BackupState {
    /// Returns its name.
    pub fn name(self) -> &'static str {
        match self {
            BackupState::Failed => "failed",
            BackupState::Taken => "taken",
            BackupState::Hashed => "hashed",
            BackupState::PageVerified => "page-verified",
            BackupState::Proven => "proven",
        }
    }
}

impl BackupSummary {
    /// Says whether all its data is what it was: no page was wrong, no test failed, nothing that it needs is missing.
    pub fn whole(&self) -> bool {
        self.pages_wrong == 0 && self.state != BackupState::Failed && self.broken.is_none()
    }

    /// Returns the newest restore that succeeded.
    pub fn drill(&self) -> Option<&ProofSummary> {
        let proofs = self.proofs.iter().rev();
        let mut drills = proofs.filter(|proof| proof.state == BackupState::Proven);
        drills.find(|proof| proof.passed)
    }
}

impl Survey {
    /// Returns the newest backup that is whole.
    pub fn newest(&self) -> Option<&BackupSummary> {
        let whole = self.backups.iter().filter(|backup| backup.whole());
        whole.max_by_key(|backup| backup.ended_at)
    }

    /// Returns since when all stored bytes of all backups and of WAL were written, or read again.
    pub fn read_since(&self) -> Option<Timestamp> {
        let backups = self.backups.iter().map(|backup| backup.read_since);
        backups.chain([self.wal.read_since]).flatten().min()
    }

    /// Returns the backups and segments of WAL whose stored bytes are not what they were, with what was found.
    pub fn rotten(&self) -> impl Iterator<Item = (&str, &str)> {
        let backups = self.backups.iter();
        let backups = backups.filter_map(|it| Some((it.id.as_str(), it.rotten.as_deref()?)));
        let segments = self.wal.rotten.iter();
        backups.chain(segments.map(|(name, why)| (name.as_str(), why.as_str())))
    }

    /// Returns the newest proof by a restore, passed or not, with its backup.
    pub fn last_drill(&self) -> Option<(&BackupSummary, &ProofSummary)> {
        self.drills().max_by_key(|(_, proof)| proof.at)
    }

    /// Returns the newest restore that succeeded, with its backup; what was found wrong of it later takes its proof back.
    pub fn last_proof(&self) -> Option<(&BackupSummary, &ProofSummary)> {
        let stands = |backup: &BackupSummary, proof: &ProofSummary| {
            let mut later = backup.proofs.iter().filter(|other| other.at >= proof.at);
            proof.passed && later.all(|other| other.passed)
        };
        let passed = self
            .drills()
            .filter(|(backup, proof)| stands(backup, proof));
        passed.max_by_key(|(_, proof)| proof.at)
    }

    /// Returns every proof by a restore.
    pub fn drills(&self) -> impl Iterator<Item = (&BackupSummary, &ProofSummary)> {
        let proofs = |backup| {
            let backup: &BackupSummary = backup;
            backup.proofs.iter().map(move |proof| (backup, proof))
        };
        let all = self.backups.iter().flat_map(proofs);
        all.filter(|(_, proof)| proof.state == BackupState::Proven)
    }

    /// Returns the stretches of time to any moment of which the cluster can be restored, oldest first.
    ///
    /// A backup opens one at its end, and the WAL without holes from its start on carries it on.
    pub fn windows(&self) -> Vec<RecoverableWindow> {
        let mut windows: Vec<RecoverableWindow> = Vec::new();
        let mut backups: Vec<&BackupSummary> =
            self.backups.iter().filter(|it| it.whole()).collect();
        backups.sort_by_key(|backup| backup.ended_at);
        for backup in backups {
            let carried = self.carried(backup);
            let to = carried.and_then(|interval| interval.stored_at);
            let window = RecoverableWindow {
                from: backup.ended_at,
                // What was stored before the backup ended says nothing about later moments.
                to: to.unwrap_or(backup.ended_at).max(backup.ended_at),
                open: carried.is_some_and(|it| Some(it.to) == self.wal.durable),
            };
            match windows.last_mut() {
                Some(last) if last.to >= window.from => {
                    last.to = last.to.max(window.to);
                    last.open |= window.open;
                }
                _ => windows.push(window),
            }
        }
        windows
    }

    /// Returns the WAL without holes that a backup's end lies in.
    fn carried(&self, backup: &BackupSummary) -> Option<&WalInterval> {
        self.wal.intervals.iter().find(|interval| {
            let timeline = interval.timeline == backup.timeline;
            timeline && interval.from <= backup.start && interval.to >= backup.stop
        })
    }
}

impl RepositoryFacts {
    /// Says how good it stands: ok only while a backup in it is proven within the promise, and nothing is in the way.
    pub fn standing(&self, promise: &BackupPromise, now: Timestamp) -> (Level, String) {
        let survey = match &self.survey {
            Ok(survey) => survey,
            Err(blind) => return (Level::Unknown, blind.sentence()),
        };
        if survey.newest().is_none() {
            return (Level::Critical, "there is no whole backup".to_owned());
        }
        // A segment that rots is a hole as well, and this says why.
        if let Some((name, why)) = survey.rotten().next() {
            let text = format!("{name} is not what was stored: {why}");
            return (Level::Critical, text);
        }
        if let Some(gap) = survey.wal.gaps.iter().find(|gap| gap.needed && !gap.healed) {
            let text = format!("WAL is missing from {} to {}", gap.from, gap.to);
            return (Level::Critical, text);
        }
        if let Some((backup, proof)) = survey.last_drill().filter(|(_, proof)| !proof.passed) {
            let text = format!(
                "the last restore, of {}, failed: {}",
                backup.id, proof.detail
            );
            return (Level::Critical, text);
        }
        let Some((backup, proof)) = survey.last_proof() else {
            return (
                Level::Warning,
                "no backup was ever proven by a restore".to_owned(),
            );
        };
        let age = now.duration_since(proof.at);
        let allowed = SignedDuration::try_from(promise.drill_every).unwrap_or(SignedDuration::MAX);
        if age > allowed {
            let text = format!("the last proof, of {}, is older than promised", backup.id);
            return (Level::Warning, text);
        }
        (
            Level::Ok,
            format!("{} was restored and answered", backup.id),
        )
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn at(text: &str) -> Timestamp {
        format!("2026-11-{text}:00Z").parse().unwrap()
    }

    pub(crate) fn backup(id: &str, ended_at: &str, start: u64, stop: u64) -> BackupSummary {
        BackupSummary {
            id: id.to_owned(),
            kind: "full".to_owned(),
            parent: None,
            state: BackupState::Taken,
            started_at: at(ended_at),
            ended_at: at(ended_at),
            timeline: 1,
            start: Lsn(start),
            stop: Lsn(stop),
            data_bytes: 4 << 30,
            stored_bytes: 1 << 30,
            pages_checked: 7,
            pages_wrong: 0,
            proofs: Vec::new(),
            read_since: Some(at(ended_at)),
            rotten: None,
            held: None,
            marked_at: None,
            fate: "newest full backup".to_owned(),
            broken: None,
        }
    }

    pub(crate) fn drill(at_: &str, passed: bool) -> ProofSummary {
        ProofSummary {
            at: at(at_),
            state: BackupState::Proven,
            passed,
            detail: "probe 1 answered f".to_owned(),
            rto: Some(Duration::from_secs(90)),
        }
    }

    pub(crate) fn interval(from: u64, to: u64, stored: &str) -> WalInterval {
        WalInterval {
            timeline: 1,
            from: Lsn(from),
            to: Lsn(to),
            stored_at: Some(at(stored)),
        }
    }

    #[test]
    fn a_hole_in_the_wal_ends_a_window_until_the_next_backup() {
        let survey = Survey {
            backups: vec![
                backup("A", "10T02:00", 100, 200),
                backup("B", "12T02:00", 900, 950),
                backup("C", "13T02:00", 980, 990),
            ],
            wal: WalSummary {
                intervals: vec![
                    interval(50, 400, "10T09:00"),
                    interval(800, 1000, "13T08:00"),
                ],
                durable: Some(Lsn(1000)),
                ..WalSummary::default()
            },
            ..Survey::default()
        };
        let window = |from, to, open| RecoverableWindow {
            from: at(from),
            to: at(to),
            open,
        };
        assert_eq!(
            survey.windows(),
            [
                window("10T02:00", "10T09:00", false),
                window("12T02:00", "13T08:00", true),
            ]
        );
    }

    #[test]
    fn a_backup_without_its_wal_restores_to_no_later_moment() {
        let survey = Survey {
            backups: vec![backup("A", "10T02:00", 100, 200)],
            ..Survey::default()
        };
        let only = survey.windows()[0];
        assert_eq!(
            (only.from, only.to, only.open),
            (at("10T02:00"), at("10T02:00"), false)
        );
    }

    #[test]
    fn only_a_proof_within_its_promise_is_ok() {
        let promise = BackupPromise {
            drill_every: Duration::from_secs(86_400),
            ..BackupPromise::default()
        };
        let mut facts = RepositoryFacts {
            name: "main".to_owned(),
            place: "/srv/backup".to_owned(),
            at: at("20T00:00"),
            survey: Ok(Survey::default()),
            troubles: Vec::new(),
        };
        let level = |facts: &RepositoryFacts| facts.standing(&promise, at("20T00:00")).0;
        assert_eq!(level(&facts), Level::Critical);
        let mut survey = Survey {
            backups: vec![backup("A", "10T02:00", 100, 200)],
            ..Survey::default()
        };
        facts.survey = Ok(survey.clone());
        assert_eq!(level(&facts), Level::Warning, "never proven");
        survey.backups[0].proofs = vec![drill("18T00:00", true)];
        facts.survey = Ok(survey.clone());
        assert_eq!(level(&facts), Level::Warning, "too long ago");
        survey.backups[0].proofs.push(drill("19T12:00", true));
        facts.survey = Ok(survey.clone());
        assert_eq!(level(&facts), Level::Ok);
        survey.backups[0].proofs.push(drill("19T13:00", false));
        facts.survey = Ok(survey.clone());
        assert_eq!(level(&facts), Level::Critical, "the last one failed");
        assert!(survey.last_proof().is_none(), "it took the proof back");
        survey.backups[0].proofs.pop();
        let mut rotten = backup("B", "09T02:00", 50, 60);
        rotten.rotten = Some("another hash".to_owned());
        survey.backups.push(rotten);
        assert_eq!(survey.read_since(), Some(at("09T02:00")));
        facts.survey = Ok(survey);
        assert_eq!(level(&facts), Level::Critical, "an older one rots");
        facts.survey = Err(Blind::Failed {
            what: "could not list it".to_owned(),
        });
        assert_eq!(level(&facts), Level::Unknown);
    }
}
