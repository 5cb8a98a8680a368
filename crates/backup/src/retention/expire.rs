//! What the policy says is done: a tomb, then its grace, then a second look, and only then anything is deleted (invariant I6).
//!
//! The commit is deleted first: a crash leaves objects without a commit, which no restore takes for a backup and which a later
//! run sweeps. What a store refuses to delete is told, stays, and is tried again by the next run.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use pawang_core::{Kind, Report};
use serde::Serialize;

use super::{Fate, Known, Plan, Policy, WalNeed, plan};
use crate::repository::{
    BackupId, ClusterId, Commit, Entry, FORMAT, Held, Lease, LeaseFacts, Proof, ProvenBy,
    Repository, Tomb,
};
use crate::wal::SegmentName;
use crate::{Error, dump};

/// The lease that keeps two from expiring at once.
const LEASE: &str = "expire";
const LEASE_SECONDS: u32 = 600;
/// Objects without a commit may belong to a backup whose lease got lost: they stay for so long at least.
const SWEEP_AFTER: SignedDuration = SignedDuration::from_hours(24);
/// After so many objects the lease is renewed.
const RENEW_EVERY: usize = 256;

/// So many drills of backups that are gone are remembered.
const DRILLS_KEPT: usize = 50;

/// What was done, or would be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// What becomes of each backup, and why.
    pub plan: Plan,
    /// Whether nothing was touched.
    pub dry_run: bool,
    /// What was deleted; empty in a dry run.
    pub deleted: Expired,
    /// What a dry run would delete now.
    pub would_delete: Option<Expired>,
    /// What the store refused; it is tried again by the next run.
    pub problems: Vec<String>,
}

/// What was deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Expired {
    /// Whole backups.
    pub backups: Vec<BackupId>,
    /// Objects of backups that were never committed, and what writers left of others.
    pub swept_objects: u64,
    /// Objects of WAL.
    pub wal_objects: u64,
    /// Bytes of all that.
    pub bytes: u64,
}

/// What a repository says of a cluster at one moment.
struct Seen {
    known: Vec<Known>,
    commits: Vec<Commit>,
    leases: Vec<LeaseFacts>,
}

impl Seen {
    /// Says whether a backup is being taken. Of a standby it may begin before all that there are, and need WAL that these do not.
    fn running(&self) -> bool {
        let committed = |id: &BackupId| self.commits.iter().any(|commit| commit.backup == *id);
        let worked_at = self.leases.iter().flat_map(|lease| &lease.backups);
        worked_at.into_iter().any(|id| !committed(id))
    }

    /// Says whether somebody may be writing an object now: a large database's dump may take longer than anything waits here.
    fn works_at(&self, cluster: &ClusterId, path: &str) -> bool {
        let dumped = path.starts_with(&dump::folder_of_all(cluster));
        self.leases.iter().any(|lease| {
            let mut backups = lease.backups.iter().map(|id| cluster.backup(id));
            (dumped && lease.name == dump::LEASE) || backups.any(|folder| path.starts_with(&folder))
        })
    }
}

struct Run<'a> {
    repository: &'a Repository,
    cluster: &'a ClusterId,
    policy: &'a Policy,
    now: Timestamp,
    lease: Lease,
    deleted: Expired,
    problems: Vec<String>,
    since_renewal: usize,
}

/// Deletes what the policy says, or tells what it would.
///
/// # Errors
/// Somebody else does it now, or the store could not say what is there; what could not be deleted is told in the outcome.
pub async fn expire(
    repository: &Repository,
    cluster: &ClusterId,
    policy: &Policy,
    now: Timestamp,
    dry_run: bool,
) -> Result<Outcome, Error> {
    let word = format!("{:x}-{:x}", now.as_nanosecond(), std::process::id());
    let seen = look(repository, cluster, now, &word).await?;
    let first = plan(&seen.known, policy, now);
    if dry_run {
        return Ok(Outcome {
            would_delete: Some(would_delete(repository, cluster, &seen, &first).await?),
            plan: first,
            dry_run,
            deleted: Expired::default(),
            problems: Vec::new(),
        });
    }
    let mut facts = LeaseFacts::new(LEASE, &word, LEASE_SECONDS, now);
    facts.doing = "expires backups".to_owned();
    facts.pid = std::process::id();
    let lease = match repository.take_lease(cluster, facts).await? {
        Held::Ours(lease) => lease,
        Held::Other(other) => return Err(busy(&other)),
    };
    let mut run = Run {
        repository,
        cluster,
        policy,
        now,
        lease,
        deleted: Expired::default(),
        problems: Vec::new(),
        since_renewal: 0,
    };
    let done = run.all(&first, &seen, &word).await;
    let Run {
        lease,
        deleted,
        problems,
        ..
    } = run;
    let released = lease.release().await;
    done?;
    released?;
    Ok(Outcome {
        plan: first,
        dry_run,
        deleted,
        would_delete: None,
        problems,
    })
}

/// Counts what a plan would delete now; what was never finished is not counted.
async fn would_delete(
    repository: &Repository,
    cluster: &ClusterId,
    seen: &Seen,
    plan: &Plan,
) -> Result<Expired, Error> {
    let mut expired = Expired::default();
    for decision in &plan.decisions {
        if decision.fate == Fate::Delete {
            let objects = repository.list(&cluster.backup(&decision.backup)).await?;
            expired.bytes += objects.iter().map(|entry| entry.bytes).sum::<u64>();
            expired.backups.push(decision.backup.clone());
        }
    }
    if !seen.running() {
        let left = seen.commits.iter();
        let left = left.filter(|commit| !expired.backups.contains(&commit.backup));
        let left: Vec<Commit> = left.cloned().collect();
        let wal = needless_wal(repository, cluster, &left, &plan.wal).await?;
        expired.wal_objects = wal.len() as u64;
        expired.bytes += wal.iter().map(|entry| entry.bytes).sum::<u64>();
    }
    Ok(expired)
}

/// Returns the WAL that no backup needs any more, oldest first.
async fn needless_wal(
    repository: &Repository,
    cluster: &ClusterId,
    commits: &[Commit],
    need: &WalNeed,
) -> Result<Vec<Entry>, Error> {
    let mut sizes = commits.iter().map(|commit| commit.server.segment_bytes);
    // Without a backup, or after a change of the size, nothing can be said of a segment's positions.
    let Some(segment_bytes) = sizes
        .next()
        .filter(|first| sizes.all(|size| size == *first))
    else {
        return Ok(Vec::new());
    };
    let mut entries = repository.list(&cluster.wal()).await?;
    entries.retain(|entry| {
        segment_of(&entry.path).is_some_and(|name| {
            let (start, end) = (name.start(segment_bytes), name.end(segment_bytes));
            !need.needs(name.timeline, start, end)
        })
    });
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(entries)
}

fn busy(other: &LeaseFacts) -> Error {
    let report = Report::new(Kind::Refused, "backups are being expired already")
        .with_detail(format!(
            "by process {} on \"{}\", since {:.0}",
            other.pid, other.host, other.taken_at
        ))
        .with_hint("pawang backup list");
    Error::Refused(Box::new(report))
}

/// Reads all that the decision stands on.
async fn look(
    repository: &Repository,
    cluster: &ClusterId,
    now: Timestamp,
    word: &str,
) -> Result<Seen, Error> {
    let commits = repository.backups(cluster).await?;
    let holds = repository.holds(cluster).await?;
    let leases = repository.leases(cluster, word).await?;
    let tombs = repository.tombs(cluster).await?;
    let mut known = Vec::with_capacity(commits.len());
    for commit in &commits {
        let id = &commit.backup;
        let held = holds
            .iter()
            .find(|hold| hold.backup == *id && hold.until.is_none_or(|until| until > now));
        let leased = leases.iter().find(|lease| lease.backups.contains(id));
        let tomb = tombs.iter().find(|tomb| tomb.backup == *id);
        let standing = repository.standing(cluster, id).await?;
        known.push(Known {
            backup: id.clone(),
            parent: commit.parent.clone(),
            ended_at: commit.ended_at,
            start: commit.start,
            stop: commit.stop,
            state: standing.state,
            clean: commit.pages.wrong == 0 && standing.problems.is_empty(),
            held: held.map(|hold| format!("{} ({})", hold.why, hold.by)),
            leased: leased.map(|lease| format!("{} on \"{}\"", lease.doing, lease.host)),
            tomb_at: tomb.map(|tomb| tomb.laid_at),
        });
    }
    Ok(Seen {
        known,
        commits,
        leases,
    })
}

impl Run<'_> {
    async fn all(&mut self, first: &Plan, seen: &Seen, word: &str) -> Result<(), Error> {
        self.mark(first, &seen.known).await?;
        // Never decided and done in one pass: what was held, taken into use, or proven meanwhile is seen now.
        let again = look(self.repository, self.cluster, self.now, word).await?;
        let second = plan(&again.known, self.policy, self.now);
        let doomed: BTreeSet<&BackupId> = [first, &second]
            .map(|plan| {
                let doomed = plan.decisions.iter();
                let doomed = doomed.filter(|decision| decision.fate == Fate::Delete);
                doomed
                    .map(|decision| &decision.backup)
                    .collect::<BTreeSet<_>>()
            })
            .into_iter()
            .reduce(|one, other| one.intersection(&other).copied().collect())
            .unwrap_or_default();
        self.delete_backups(&again.known, &doomed).await?;
        let rest = look(self.repository, self.cluster, self.now, word).await?;
        self.sweep(&rest, word).await?;
        self.sweep_marks(&rest).await?;
        if rest.running() {
            return Ok(());
        }
        let need = plan(&rest.known, self.policy, self.now).wal;
        self.delete_wal(&rest.commits, &need).await
    }

    /// Lays tombs, and takes away those whose backups are kept after all.
    async fn mark(&mut self, plan: &Plan, known: &[Known]) -> Result<(), Error> {
        for (decision, known) in plan.decisions.iter().zip(known) {
            let id = &decision.backup;
            match (decision.fate, known.tomb_at) {
                (Fate::Keep, Some(_)) => self.repository.lift_tomb(self.cluster, id).await?,
                (Fate::Tomb, None) => {
                    let tomb = Tomb {
                        format: FORMAT,
                        backup: id.clone(),
                        at: self.now,
                        why: decision.why.clone(),
                        laid_at: self.now,
                    };
                    self.repository.lay_tomb(self.cluster, &tomb).await?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Deletes backups, those that stand on others first: a crash must not leave one without what it stands on.
    async fn delete_backups(
        &mut self,
        known: &[Known],
        doomed: &BTreeSet<&BackupId>,
    ) -> Result<(), Error> {
        let parents: BTreeMap<&BackupId, Option<&BackupId>> = known
            .iter()
            .map(|known| (&known.backup, known.parent.as_ref()))
            .collect();
        let mut left: BTreeSet<&BackupId> = doomed.clone();
        let mut resisting: BTreeSet<&BackupId> = known
            .iter()
            .map(|known| &known.backup)
            .filter(|id| !doomed.contains(id))
            .collect();
        loop {
            let stood_on: BTreeSet<&BackupId> = left
                .iter()
                .chain(&resisting)
                .filter_map(|id| parents.get(id).copied().flatten())
                .collect();
            let Some(next) = left.iter().copied().find(|id| !stood_on.contains(id)) else {
                return Ok(());
            };
            left.remove(next);
            if !self.delete_backup(next).await? {
                resisting.insert(next);
            }
        }
    }

    /// Deletes one backup; says whether it is gone.
    async fn delete_backup(&mut self, id: &BackupId) -> Result<bool, Error> {
        self.lease.renew(self.now).await?;
        let hold = self.cluster.hold(id);
        if self.repository.read(&hold).await?.is_some() {
            return Ok(false);
        }
        let objects = self.repository.list(&self.cluster.backup(id)).await?;
        // From here on it is no backup any more.
        if !self.delete(&self.cluster.commit(id)).await {
            return Ok(false);
        }
        self.deleted.backups.push(id.clone());
        self.deleted.bytes += objects.iter().map(|entry| entry.bytes).sum::<u64>();
        let tomb = self.cluster.tomb(id);
        let rest = objects.iter().map(|entry| &entry.path);
        for path in rest.chain([&tomb]) {
            self.delete(path).await;
        }
        for folder in [self.cluster.backup(id), self.cluster.proofs(id)] {
            if let Err(error) = self.repository.remove_empty(&folder).await {
                self.problem(&error);
            }
        }
        Ok(true)
    }

    /// Deletes what no commit speaks of, and nobody works at: what crashed while it was taken or deleted.
    async fn sweep(&mut self, seen: &Seen, word: &str) -> Result<(), Error> {
        let folder = self.cluster.backups();
        let mut stray: BTreeMap<BackupId, Vec<Entry>> = BTreeMap::new();
        for entry in self.repository.list(&folder).await? {
            let id = entry.path.strip_prefix(&folder).and_then(|rest| {
                let (id, _) = rest.trim_start_matches('/').split_once('/')?;
                id.parse::<BackupId>().ok()
            });
            if let Some(id) = id {
                stray.entry(id).or_default().push(entry);
            }
        }
        stray.retain(|id, _| {
            let committed = seen.commits.iter().any(|commit| commit.backup == *id);
            let leased = seen.leases.iter().any(|lease| lease.backups.contains(id));
            !committed && !leased
        });
        let store_now = self.repository.store_time(self.cluster, word).await?;
        let after = self.policy.grace.max(SWEEP_AFTER);
        let in_use = |path: &str| seen.works_at(self.cluster, path);
        let swept = self
            .repository
            .sweep_unfinished(&self.cluster.folder(), store_now - after, &in_use)
            .await;
        match swept {
            Ok(unfinished) => self.deleted.swept_objects += unfinished,
            Err(error) => self.problem(&error),
        }
        for (id, entries) in stray {
            let young = |entry: &Entry| store_now.duration_since(entry.modified) < after;
            // A commit may have come since the look.
            let commit = self.repository.read(&self.cluster.commit(&id)).await?;
            if commit.is_some() || entries.iter().any(young) {
                continue;
            }
            for entry in &entries {
                if self.delete(&entry.path).await {
                    self.deleted.swept_objects += 1;
                    self.deleted.bytes += entry.bytes;
                }
            }
        }
        Ok(())
    }

    /// Deletes tombs and proofs of backups of which nothing is left, but for the newest drills: how long restores took, and what
    /// they found, is known longer than the backups are there. What later turns of reading WAL again repeat goes too.
    async fn sweep_marks(&mut self, seen: &Seen) -> Result<(), Error> {
        let mut rereads = self.repository.list(&self.cluster.rereads()).await?;
        rereads.sort_by(|a, b| a.path.cmp(&b.path));
        rereads.pop();
        for older in rereads {
            self.delete(&older.path).await;
        }
        let tombs = self.repository.list(&self.cluster.tombs()).await?;
        let proofs = self.repository.list(&self.cluster.all_proofs()).await?;
        let mut gone: BTreeMap<BackupId, bool> = BTreeMap::new();
        let (mut rest, mut drills) = (Vec::new(), Vec::new());
        for (mark, is_proof) in [(tombs, false), (proofs, true)]
            .into_iter()
            .flat_map(|(marks, is_proof)| marks.into_iter().map(move |mark| (mark, is_proof)))
        {
            let mut names = mark
                .path
                .split('/')
                .map(|name| name.trim_end_matches(".json"));
            let Some(id) = names.find_map(|name| name.parse::<BackupId>().ok()) else {
                continue;
            };
            if !gone.contains_key(&id) {
                let known = seen.commits.iter().any(|commit| commit.backup == id);
                let folder = self.cluster.backup(&id);
                let left = known || !self.repository.list(&folder).await?.is_empty();
                gone.insert(id.clone(), !left);
            }
            match (gone[&id], is_proof) {
                (false, _) => {}
                (true, false) => rest.push(mark.path),
                (true, true) => match self.repository.read_json::<Proof>(&mark.path).await {
                    Ok(Some(proof)) if proof.by == ProvenBy::Drill => {
                        drills.push((proof.ended_at, mark.path));
                    }
                    Ok(_) | Err(Error::Format { .. }) => rest.push(mark.path),
                    Err(error) => self.problem(&error),
                },
            }
        }
        drills.sort();
        let old = drills.len().saturating_sub(DRILLS_KEPT);
        rest.extend(drills.drain(..old).map(|(_, path)| path));
        for path in rest {
            self.delete(&path).await;
        }
        Ok(())
    }

    /// Deletes WAL that no backup needs any more, oldest first.
    async fn delete_wal(&mut self, commits: &[Commit], need: &WalNeed) -> Result<(), Error> {
        for entry in needless_wal(self.repository, self.cluster, commits, need).await? {
            self.since_renewal += 1;
            if self.since_renewal >= RENEW_EVERY {
                self.since_renewal = 0;
                self.lease.renew(self.now).await?;
            }
            if self.delete(&entry.path).await {
                self.deleted.wal_objects += 1;
                self.deleted.bytes += entry.bytes;
            }
        }
        Ok(())
    }

    /// Deletes an object; says whether it is gone, and keeps what the store says otherwise.
    async fn delete(&mut self, path: &str) -> bool {
        match self.repository.delete(path).await {
            Ok(()) => true,
            Err(error) => {
                self.problem(&error);
                false
            }
        }
    }

    fn problem(&mut self, error: &Error) {
        let report = error.report();
        let detail = report
            .detail
            .map_or_else(String::new, |detail| format!(": {detail}"));
        self.problems.push(format!("{}{detail}", report.primary));
    }
}

/// Returns the segment that an object is of, whole or in part; histories are of none, and stay.
fn segment_of(path: &str) -> Option<SegmentName> {
    let (_, file) = path.rsplit_once('/')?;
    let (name, _) = file.split_once('.')?;
    name.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_known_by_their_names() {
        let name = "000000010000000000000003";
        for (path, expected) in [
            (format!("c/wal/00000001/00000000000000/{name}.zst"), true),
            (
                format!("c/wal/live/00000001/{name}.00000000-00001000.zst"),
                true,
            ),
            (
                format!("c/wal/00000001/00000000000000/{name}.zst.age"),
                true,
            ),
            ("c/wal/00000002.history".to_owned(), false),
            ("c/wal/README".to_owned(), false),
        ] {
            assert_eq!(segment_of(&path).is_some(), expected, "{path}");
        }
    }
}
