//! What a repository knows of a cluster, read once, from which every plan of a restore is computed.

use std::collections::BTreeMap;

use jiff::Timestamp;
use pawang_core::{Kind, Lsn, Report};

use super::locate::{Search, last_commit, locate};
use super::plan::{Known, Located, PassedOver, RestorePlan, Speed, Wanted, plan, way};
use super::target::Target;
use crate::Error;
use crate::repository::{
    BackupId, ClusterId, Commit, Proof, ProvenBy, Repository, State, rotten, standing,
};
use crate::wal::listing::Listing;
use crate::wal::{CommitRecord, Coverage, Histories};

/// The phases of a drill by which the speed of the next restore is estimated.
pub const UNPACK: &str = "unpack";
/// Replay of WAL.
pub const REPLAY: &str = "replay";
/// So many segments that rot are named.
const WAL_TOLD_MAX: usize = 3;
/// Less than this says nothing about speed.
const MEASURED_BYTES_MIN: u64 = 1 << 20;

/// What a repository knows of a cluster.
#[derive(Clone, Debug)]
pub struct Source {
    /// Whose.
    pub cluster: ClusterId,
    /// The backups that exist and are not to be deleted, oldest stop position first.
    pub commits: Vec<Commit>,
    /// Backups of which nobody can say what they are made of.
    pub damaged: Vec<PassedOver>,
    /// Which are not what was stored, by the last look at their bytes, and what is wrong.
    pub rotten: BTreeMap<BackupId, String>,
    /// Segments of WAL that are not what was stored, which count as missing, and what is wrong.
    pub rotten_wal: BTreeMap<String, String>,
    /// When each was proven last.
    pub proven: BTreeMap<BackupId, Timestamp>,
    /// What drills proved, oldest first.
    pub drills: Vec<Proof>,
    /// WAL by names.
    pub listing: Listing,
    /// WAL by positions.
    pub coverage: Coverage,
    /// From where timelines come.
    pub histories: Histories,
}

impl Source {
    /// Reads everything.
    ///
    /// # Errors
    /// The store could not say, or something in it cannot be read.
    pub async fn read(repository: &Repository, cluster: &ClusterId) -> Result<Source, Error> {
        let tombs = unless_damaged(repository.tombs(cluster).await)?;
        let (mut commits, damaged) = repository.readable_backups(cluster).await?;
        let damaged = damaged.into_iter().map(|(backup, error)| PassedOver {
            backup,
            why: error.to_string(),
        });
        commits.retain(|commit| !tombs.iter().any(|tomb| tomb.backup == commit.backup));
        let (mut proven, mut wrong) = (BTreeMap::new(), BTreeMap::new());
        let mut drills = Vec::new();
        for commit in &commits {
            let proofs = unless_damaged(repository.proofs(cluster, &commit.backup).await)?;
            let standing = standing(&proofs);
            if let (State::Proven, Some(at)) = (standing.state, standing.proven_at) {
                proven.insert(commit.backup.clone(), at);
            }
            if let Some(problems) = rotten(&proofs) {
                wrong.insert(commit.backup.clone(), problems.join("; "));
            }
            drills.extend(
                proofs
                    .into_iter()
                    .filter(|proof| proof.by == ProvenBy::Drill),
            );
        }
        drills.sort_by_key(|proof| proof.ended_at);
        let entries = repository.list(&cluster.wal()).await?;
        let mut listing = Listing::of(&cluster.wal(), &entries);
        let reread = match repository.reread(cluster).await {
            Err(Error::Format { .. }) => None,
            reread => reread?,
        };
        let rotten_wal = reread.map_or_else(BTreeMap::new, |reread| reread.rotten(&entries));
        listing.without(&rotten_wal);
        let histories = listing.histories(repository, cluster).await?;
        let segment_bytes = commits.last().map(|commit| commit.server.segment_bytes);
        let coverage =
            segment_bytes.map_or_else(Coverage::default, |bytes| listing.coverage(bytes));
        Ok(Source {
            cluster: *cluster,
            commits,
            damaged: damaged.collect(),
            rotten: wrong,
            rotten_wal,
            proven,
            drills,
            listing,
            coverage,
            histories,
        })
    }

    /// Computes what a restore will do, after looking for the target in WAL.
    ///
    /// # Errors
    /// It cannot be done, or WAL could not be read.
    pub async fn plan(
        &self,
        repository: &Repository,
        wanted: &Wanted,
    ) -> Result<RestorePlan, Error> {
        let located = match self.commits.last() {
            None => Located::NotAsked,
            Some(_) => {
                let history = way(&self.known(&Located::NotAsked), wanted).map_err(boxed)?;
                let mut search = self.search(repository, &history);
                if let Some(id) = &wanted.backup {
                    let begin = |commit: &&Commit| commit.backup == *id;
                    search.backups = self.commits.iter().filter(begin).map(stretch).collect();
                }
                locate(&search, &wanted.target, wanted.inclusive).await?
            }
        };
        let planned = plan(&self.known(&located), wanted, self.speed());
        let mut planned = planned.map_err(|report| boxed(self.with_damage(report)))?;
        for step in &planned.chain {
            let chosen = self
                .commits
                .iter()
                .find(|commit| commit.backup == step.backup);
            chosen.map_or(Ok(()), |commit| repository.check_keys(commit))?;
        }
        planned.passed_over.extend(self.damaged.iter().cloned());
        Ok(planned)
    }

    /// Adds the backups that cannot be read, and WAL that rots, to what a refusal says.
    fn with_damage(&self, mut report: Report) -> Report {
        let backups = self.damaged.iter();
        let backups = backups.map(|PassedOver { backup, why }| format!("backup {backup}: {why}"));
        let wal = self.rotten_wal.iter();
        let wal = wal.map(|(name, why)| format!("segment {name}: {why}"));
        let said = report.detail.take().into_iter();
        let said: Vec<String> = said.chain(backups).chain(wal.take(WAL_TOLD_MAX)).collect();
        report.detail = (!said.is_empty()).then(|| said.join("; "));
        report
    }

    /// Returns the last commit that can be restored, on the newest timeline.
    ///
    /// # Errors
    /// WAL could not be read.
    pub async fn last_commit(
        &self,
        repository: &Repository,
    ) -> Result<Option<CommitRecord>, Error> {
        if self.commits.is_empty() {
            return Ok(None);
        }
        let newest = latest();
        let history = way(&self.known(&Located::NotAsked), &newest).map_err(boxed)?;
        last_commit(&self.search(repository, &history)).await
    }

    /// Returns a target anywhere between the first backup that can be restored and the last commit; `random` decides.
    ///
    /// # Errors
    /// Nothing can be restored, or WAL could not be read.
    pub async fn random_target(
        &self,
        repository: &Repository,
        random: u64,
    ) -> Result<Target, Error> {
        let last = self
            .last_commit(repository)
            .await?
            .map_or(Lsn(0), |commit| commit.end);
        let located = Located::NotAsked;
        let possible = |commit: &&Commit| {
            let wanted = Wanted {
                target: Target::Lsn(commit.stop.lsn),
                ..latest()
            };
            plan(&self.known(&located), &wanted, None).is_ok()
        };
        let first = self
            .commits
            .iter()
            .find(possible)
            .map(|commit| commit.stop.lsn);
        match first {
            Some(first) if first < last => {
                let room = last.bytes_since(first);
                Ok(Target::Lsn(Lsn(first.0 + random % room)))
            }
            // No transaction was committed since; there is one state to recover.
            Some(_) => Ok(Target::Immediate),
            None => Err(boxed(
                Report::new(
                    Kind::Refused,
                    format!(
                        "cluster {} has no backup that can be restored",
                        self.cluster
                    ),
                )
                .with_hint("pawang backup list"),
            )),
        }
    }

    /// Returns how fast the newest drill was that found nothing wrong.
    pub fn speed(&self) -> Option<Speed> {
        let good = self
            .drills
            .iter()
            .rev()
            .find(|proof| proof.problems.is_empty())?;
        let rate = |name: &str| {
            let phase = good.phases.iter().find(|phase| phase.name == name)?;
            let bytes = phase.bytes.filter(|bytes| *bytes >= MEASURED_BYTES_MIN)?;
            (phase.milliseconds > 0).then(|| bytes as f64 * 1000.0 / phase.milliseconds as f64)
        };
        let unpack = rate(UNPACK)?;
        Some(Speed {
            unpack_bytes_per_second: unpack,
            // A drill that replayed next to nothing says nothing; replay is slower than unpacking as a rule.
            replay_bytes_per_second: rate(REPLAY).unwrap_or(unpack / 2.0),
        })
    }

    fn known<'a>(&'a self, located: &'a Located) -> Known<'a> {
        Known {
            cluster: self.cluster,
            commits: &self.commits,
            proven: &self.proven,
            rotten: &self.rotten,
            coverage: &self.coverage,
            histories: &self.histories,
            located,
        }
    }

    fn search<'a>(
        &'a self,
        repository: &'a Repository,
        history: &'a crate::wal::History,
    ) -> Search<'a> {
        let segment_bytes = self
            .commits
            .last()
            .map_or(0, |commit| commit.server.segment_bytes);
        Search {
            repository,
            cluster: self.cluster,
            listing: &self.listing,
            history,
            segment_bytes,
            backups: self.commits.iter().map(stretch).collect(),
        }
    }
}

/// Returns nothing for what is damaged, where it would only stand in the way of a restore.
fn unless_damaged<T>(read: Result<Vec<T>, Error>) -> Result<Vec<T>, Error> {
    match read {
        Err(Error::Format { .. }) => Ok(Vec::new()),
        read => read,
    }
}

/// Returns where replay of a backup begins, and where it is consistent.
fn stretch(commit: &Commit) -> (Lsn, Lsn) {
    (commit.start.lsn, commit.stop.lsn)
}

fn latest() -> Wanted {
    Wanted {
        target: Target::Latest,
        inclusive: true,
        timeline: None,
        backup: None,
    }
}

fn boxed(report: Report) -> Error {
    Error::Refused(Box::new(report))
}
