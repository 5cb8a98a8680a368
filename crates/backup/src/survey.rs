//! What is in a repository for one cluster: the same facts for checks, pages, metrics and commands.
//!
//! Read from the listing and from the small objects beside the data; nothing of the data itself is fetched.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use pawang_core::backup::{
    BackupState, BackupSummary, LeaseSummary, ProofSummary, Survey, WalGap, WalInterval, WalSummary,
};
use pawang_core::{Blind, Kind, Lsn};

use crate::Error;
use crate::repository::{
    BackupId, BackupKind, ClusterId, Commit, Entry, Hold, LeaseFacts, Proof, ProvenBy, Repository,
    State, Tomb, rotten, standing,
};
use crate::retention::{self, Fate, Known, Policy};
use crate::rolling;
use crate::wal::reread::{Reread, segments};
use crate::wal::{Coverage, Histories, History, Hole, Listing, SegmentName, Timeline};

/// What was read before: objects that are written once need not be read again.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    commits: BTreeMap<BackupId, Commit>,
    proofs: BTreeMap<String, Proof>,
    reread: Option<(String, Reread)>,
}

/// Looks at what a repository holds for a cluster.
///
/// # Errors
/// The store could not say, or an object of the catalogue cannot be read: then nothing is known, which is not the same as
/// nothing being there.
pub async fn survey(
    repository: &Repository,
    cluster: &ClusterId,
    policy: &Policy,
    memory: &mut Memory,
    now: Timestamp,
) -> Result<Survey, Error> {
    let entries = repository.list(&cluster.folder()).await?;
    let reread = reread(repository, cluster, &entries, memory).await?;
    let seen = Seen::read(repository, cluster, &entries, memory, now).await?;
    let wal_folder = format!("{}/", cluster.wal());
    let of_wal = |entry: &&Entry| entry.path.starts_with(&wal_folder);
    let of_wal: Vec<Entry> = entries.iter().filter(of_wal).cloned().collect();
    let mut listing = Listing::of(&cluster.wal(), &of_wal);
    let again = Again::new(&of_wal, reread.as_ref());
    listing.without(&again.rotten);
    let histories = listing.histories(repository, cluster).await?;
    let wal = Wal::new(&listing, &of_wal, histories, seen.segment_bytes());
    let mut backups: Vec<BackupSummary> = seen.backups(&wal);
    seen.decide(&mut backups, policy, now);
    let whole = backups.iter().filter(|backup| backup.whole());
    let whole: Vec<&BackupSummary> = whole.collect();
    let wal = WalSummary {
        read_since: again.read_since,
        rotten: again.rotten,
        ..wal.summary(&whole, &listing, &of_wal)
    };
    backups.sort_by(|a, b| (a.timeline, a.stop, &a.id).cmp(&(b.timeline, b.stop, &b.id)));
    Ok(Survey {
        cluster: cluster.to_string(),
        backups,
        wal,
        past: seen.past(),
        read_at: rolling::turn_at(seen.proofs.values().flatten()),
        leases: seen.leases(now),
        used_bytes: entries.iter().map(|entry| entry.bytes).sum(),
        all_bytes: None,
        free_bytes: free_bytes(repository).await,
        space_bytes: None,
    })
}

/// What reading WAL again found of what is there now.
#[derive(Default)]
struct Again {
    read_since: Option<Timestamp>,
    rotten: BTreeMap<String, String>,
}

impl Again {
    fn new(of_wal: &[Entry], reread: Option<&Reread>) -> Again {
        // Where nobody reads it again, that is no promise that was broken.
        let Some(reread) = reread else {
            return Again::default();
        };
        let entries = segments(of_wal).into_iter();
        Again {
            read_since: entries
                .map(|(name, entry)| reread.read_at(&name, entry))
                .min(),
            rotten: reread.rotten(of_wal),
        }
    }
}

/// Reads what the last turn found when WAL was read again.
async fn reread(
    repository: &Repository,
    cluster: &ClusterId,
    entries: &[Entry],
    memory: &mut Memory,
) -> Result<Option<Reread>, Error> {
    let folder = format!("{}/", cluster.rereads());
    let paths = entries.iter().map(|entry| entry.path.as_str());
    let newest = paths.filter(|path| path.starts_with(&folder)).max();
    let known = memory.reread.as_ref().map(|(path, _)| path.as_str());
    if newest != known {
        let read: Option<Reread> = match newest {
            Some(path) => repository.read_json(path).await?,
            None => None,
        };
        memory.reread = newest.map(str::to_owned).zip(read);
    }
    Ok(memory.reread.as_ref().map(|(_, reread)| reread.clone()))
}

/// Says why a repository could not be looked at.
pub fn blind(error: &Error) -> Blind {
    let report = error.report();
    let mut what = report.primary;
    if let Some(detail) = report.detail {
        what.push_str(": ");
        what.push_str(&detail.replace('\n', "; "));
    }
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !what.contains(&cause_text) {
            what.push_str(": ");
            what.push_str(&cause_text);
        }
        source = cause.source();
    }
    match report.kind {
        Kind::Target => Blind::Unreachable {
            what,
            hint: report.hint,
        },
        _ => Blind::Failed { what },
    }
}

/// The small objects of a cluster.
struct Seen<'a> {
    commits: Vec<&'a Commit>,
    proofs: BTreeMap<BackupId, Vec<Proof>>,
    holds: BTreeMap<BackupId, Hold>,
    tombs: BTreeMap<BackupId, Tomb>,
    leases: Vec<(LeaseFacts, Timestamp)>,
}

impl<'a> Seen<'a> {
    async fn read(
        repository: &Repository,
        cluster: &ClusterId,
        entries: &[Entry],
        memory: &'a mut Memory,
        now: Timestamp,
    ) -> Result<Seen<'a>, Error> {
        let mut there = BTreeSet::new();
        let mut proofs: BTreeMap<BackupId, Vec<Proof>> = BTreeMap::new();
        let mut proof_paths = BTreeSet::new();
        let (mut holds, mut tombs) = (BTreeMap::new(), BTreeMap::new());
        let mut leases = Vec::new();
        let folder = format!("{}/", cluster.folder());
        for entry in entries {
            let path = entry.path.strip_prefix(&folder).unwrap_or(&entry.path);
            let parts: Vec<&str> = path.split('/').collect();
            match parts[..] {
                ["backup", id, "COMMIT.json"] => {
                    let Ok(id) = id.parse::<BackupId>() else {
                        continue;
                    };
                    if !memory.commits.contains_key(&id)
                        && let Some(commit) = repository.commit(cluster, &id).await?
                    {
                        memory.commits.insert(id.clone(), commit);
                    }
                    there.insert(id);
                }
                ["proof", _, _] => {
                    if !memory.proofs.contains_key(&entry.path)
                        && let Some(proof) = repository.read_json(&entry.path).await?
                    {
                        memory.proofs.insert(entry.path.clone(), proof);
                    }
                    proof_paths.insert(entry.path.as_str());
                }
                ["hold", _] => {
                    let hold = repository.read_json::<Hold>(&entry.path).await?;
                    let in_force = |hold: &Hold| hold.until.is_none_or(|until| until > now);
                    if let Some(hold) = hold.filter(in_force) {
                        holds.insert(hold.backup.clone(), hold);
                    }
                }
                ["tomb", _] => {
                    if let Some(tomb) = repository.read_json::<Tomb>(&entry.path).await? {
                        let laid_at = entry.modified;
                        tombs.insert(tomb.backup.clone(), Tomb { laid_at, ..tomb });
                    }
                }
                ["lease", name] if name.ends_with(".json") => {
                    // Whoever gave it back meanwhile deleted it.
                    if let Some(lease) = repository.read_json::<LeaseFacts>(&entry.path).await? {
                        leases.push((lease, entry.modified));
                    }
                }
                _ => {}
            }
        }
        memory.commits.retain(|id, _| there.contains(id));
        memory
            .proofs
            .retain(|path, _| proof_paths.contains(path.as_str()));
        for proof in memory.proofs.values() {
            proofs
                .entry(proof.backup.clone())
                .or_default()
                .push(proof.clone());
        }
        Ok(Seen {
            commits: memory.commits.values().collect(),
            proofs,
            holds,
            tombs,
            leases,
        })
    }

    /// Returns the bytes of a segment of the newest backup; what `initdb` takes when there is none yet.
    fn segment_bytes(&self) -> u32 {
        const USUAL: u32 = 16 << 20;
        let newest = self.commits.iter().max_by_key(|commit| commit.ended_at);
        newest.map_or(USUAL, |commit| commit.server.segment_bytes)
    }

    fn backups(&self, wal: &Wal) -> Vec<BackupSummary> {
        let ids: BTreeSet<&BackupId> = self.commits.iter().map(|commit| &commit.backup).collect();
        let summary = |commit: &&Commit| {
            let mut summary = self.summary(commit, wal);
            if let Some(parent) = commit
                .parent
                .as_ref()
                .filter(|parent| !ids.contains(parent))
            {
                summary.broken = Some(format!("it stands on {parent}, which is not there"));
            }
            summary
        };
        let mut found: Vec<BackupSummary> = self.commits.iter().map(summary).collect();
        on_rotten(&mut found);
        found
    }

    /// Says of each backup whether it stays or goes, and why.
    fn decide(&self, backups: &mut [BackupSummary], policy: &Policy, now: Timestamp) {
        let mut commits: Vec<&Commit> = self.commits.clone();
        commits.sort_by(|a, b| {
            let order = |commit: &Commit| (commit.stop.timeline, commit.stop.lsn);
            order(a)
                .cmp(&order(b))
                .then_with(|| a.backup.cmp(&b.backup))
        });
        let known: Vec<Known> = commits
            .iter()
            .map(|commit| self.known(commit, now))
            .collect();
        for decision in retention::plan(&known, policy, now).decisions {
            let id = decision.backup.as_str();
            if let Some(backup) = backups.iter_mut().find(|backup| backup.id == id) {
                let word = match decision.fate {
                    Fate::Keep => "stays",
                    Fate::Tomb => "is marked to go",
                    Fate::Delete => "goes",
                };
                backup.fate = format!("{word}: {}", decision.why.join("; "));
            }
        }
    }

    fn known(&self, commit: &Commit, now: Timestamp) -> Known {
        let id = &commit.backup;
        let proofs: &[Proof] = self.proofs.get(id).map_or(&[], Vec::as_slice);
        let leased = self.leases.iter().find(|(lease, renewed_at)| {
            lease.backups.contains(id) && in_force(lease, *renewed_at, now)
        });
        let standing = standing(proofs);
        Known {
            backup: id.clone(),
            parent: commit.parent.clone(),
            ended_at: commit.ended_at,
            start: commit.start,
            stop: commit.stop,
            state: standing.state,
            clean: commit.pages.wrong == 0 && standing.problems.is_empty(),
            held: self
                .holds
                .get(id)
                .map(|hold| format!("{} ({})", hold.why, hold.by)),
            leased: leased.map(|(lease, _)| format!("{} on \"{}\"", lease.doing, lease.host)),
            tomb_at: self.tombs.get(id).map(|tomb| tomb.laid_at),
        }
    }

    fn summary(&self, commit: &Commit, wal: &Wal) -> BackupSummary {
        let id = &commit.backup;
        let mut proofs: Vec<&Proof> = self.proofs.get(id).into_iter().flatten().collect();
        proofs.sort_by_key(|proof| proof.ended_at);
        let owned: Vec<Proof> = proofs.iter().copied().cloned().collect();
        let standing = standing(&owned);
        let state = match standing.state {
            _ if !standing.problems.is_empty() => BackupState::Failed,
            state => of(state),
        };
        let read = rolling::reads(commit, owned.iter());
        let tomb = self.tombs.get(id);
        let held = self.holds.get(id).map(|hold| match hold.until {
            Some(until) => format!("by {} until {until:.0}: {}", hold.by, hold.why),
            None => format!("by {}: {}", hold.by, hold.why),
        });
        BackupSummary {
            id: id.to_string(),
            kind: match commit.kind {
                BackupKind::Full => "full",
                BackupKind::Incremental => "incremental",
            }
            .to_owned(),
            parent: commit.parent.as_ref().map(ToString::to_string),
            state,
            started_at: commit.started_at,
            ended_at: commit.ended_at,
            timeline: commit.stop.timeline.0,
            start: commit.start.lsn,
            stop: commit.stop.lsn,
            data_bytes: commit.server.data_bytes,
            stored_bytes: commit.stored_bytes(),
            pages_checked: commit.pages.checked,
            pages_wrong: commit.pages.wrong,
            rotten: rotten(&owned).map(|problems| problems.join("; ")),
            read_since: read.iter().map(|read| read.at).min(),
            proofs: proofs.into_iter().filter(tells).map(proof).collect(),
            held,
            marked_at: tomb.map(|tomb| tomb.laid_at),
            fate: String::new(),
            broken: wal.missing(commit),
        }
    }

    /// Returns the drills of backups that are gone, oldest first.
    fn past(&self) -> Vec<ProofSummary> {
        let there: BTreeSet<&BackupId> = self.commits.iter().map(|commit| &commit.backup).collect();
        let of_gone = self.proofs.values().flatten();
        let of_gone = of_gone.filter(|it| it.by == ProvenBy::Drill && !there.contains(&it.backup));
        let mut past: Vec<ProofSummary> = of_gone.map(proof).collect();
        past.sort_by_key(|proof| proof.at);
        past
    }

    /// Returns who works on the cluster, as far as the leases say by the clock of their owners.
    fn leases(&self, now: Timestamp) -> Vec<LeaseSummary> {
        let running = self.leases.iter().filter_map(|(lease, renewed_at)| {
            let doing = if lease.doing.is_empty() {
                &lease.name
            } else {
                &lease.doing
            };
            in_force(lease, *renewed_at, now).then(|| LeaseSummary {
                work: doing.clone(),
                holder: format!("{} (process {})", lease.host, lease.pid),
                until: runs_out(lease, *renewed_at),
            })
        });
        running.collect()
    }
}

/// Says of each backup that stands on one whose stored bytes are wrong that it cannot be restored either.
fn on_rotten(backups: &mut [BackupSummary]) {
    let mut wrong: BTreeSet<String> = backups
        .iter()
        .filter(|backup| backup.rotten.is_some())
        .map(|backup| backup.id.clone())
        .collect();
    // A chain may be listed in any order.
    loop {
        let known = wrong.len();
        for backup in backups.iter_mut() {
            let Some(parent) = backup.parent.as_ref().filter(|it| wrong.contains(*it)) else {
                continue;
            };
            if wrong.contains(&backup.id) {
                continue;
            }
            let why = format!("it stands on {parent}, which is not what was stored");
            backup.broken.get_or_insert(why);
            wrong.insert(backup.id.clone());
        }
        if wrong.len() == known {
            return;
        }
    }
}

fn runs_out(lease: &LeaseFacts, renewed_at: Timestamp) -> Timestamp {
    renewed_at + SignedDuration::from_secs(i64::from(lease.lasts_seconds))
}

fn in_force(lease: &LeaseFacts, renewed_at: Timestamp, now: Timestamp) -> bool {
    !lease.released && runs_out(lease, renewed_at) > now
}

fn of(state: State) -> BackupState {
    match state {
        State::Taken => BackupState::Taken,
        State::Hashed => BackupState::Hashed,
        State::PageVerified => BackupState::PageVerified,
        State::Proven => BackupState::Proven,
    }
}

/// Says whether a proof tells something of the whole backup; a share that was read again and is right is in `read_since`.
fn tells(proof: &&Proof) -> bool {
    proof.whole || proof.by == ProvenBy::Drill || !proof.problems.is_empty()
}

fn proof(proof: &Proof) -> ProofSummary {
    let passed = proof.problems.is_empty();
    let whole = if proof.whole { "" } else { "a sample of it" };
    ProofSummary {
        at: proof.ended_at,
        // What a drill found wrong is a failed drill, however far it came; one that could not look at everything is none.
        state: match proof.by {
            ProvenBy::Drill if proof.whole || !passed => BackupState::Proven,
            ProvenBy::Drill => BackupState::PageVerified,
            ProvenBy::Verify => of(proof.state),
        },
        passed,
        detail: match (passed, &proof.target) {
            (false, _) => proof.problems.join("; "),
            (true, Some(target)) => format!("recovered to {target}"),
            (true, None) => whole.to_owned(),
        },
        rto: proof.rto_milliseconds.map(Duration::from_millis),
    }
}

/// The WAL of a cluster, as far as names tell.
struct Wal {
    coverage: Coverage,
    histories: Histories,
    /// The newest timeline.
    newest: Option<Timeline>,
    /// When what ends at a position was stored.
    stored_at: BTreeMap<(Timeline, Lsn), Timestamp>,
}

impl Wal {
    fn new(listing: &Listing, entries: &[Entry], histories: Histories, segment_bytes: u32) -> Wal {
        let mut stored_at: BTreeMap<(Timeline, Lsn), Timestamp> = BTreeMap::new();
        for entry in entries {
            if let Some(end) = end_of(&entry.path, segment_bytes) {
                let at = stored_at.entry(end).or_insert(entry.modified);
                *at = entry.modified.min(*at);
            }
        }
        Wal {
            coverage: listing.coverage(segment_bytes),
            histories,
            newest: listing.newest_timeline(),
            stored_at,
        }
    }

    fn history(&self, timeline: Timeline) -> History {
        let known = self.histories.get(&timeline).cloned();
        known.unwrap_or_else(|| History::without_ancestors(timeline))
    }

    /// Says which WAL of a backup itself is missing: without it the data never becomes consistent.
    fn missing(&self, commit: &Commit) -> Option<String> {
        let history = self.history(commit.stop.timeline);
        let holes = self
            .coverage
            .holes(commit.start.lsn, commit.stop.lsn, &history);
        let first = holes.first()?;
        Some(format!(
            "WAL from {} to {} is missing, without which its data is not consistent",
            first.from, first.to
        ))
    }

    /// Returns how far WAL without holes goes from a backup on, towards the newest timeline it leads to.
    fn reach(&self, backup: &BackupSummary) -> Option<(Timeline, Lsn)> {
        let newest = self.newest?;
        let history = self.history(newest);
        // A backup of a timeline that nobody went on from leads only to the end of that.
        let history = if history.includes(Timeline(backup.timeline)) {
            history
        } else {
            self.history(Timeline(backup.timeline))
        };
        let reached = self.coverage.last_contiguous_to(backup.start, &history);
        (reached > backup.start)
            .then(|| (history.holder(Lsn(reached.0.saturating_sub(1))), reached))
    }

    fn stored(&self, timeline: Timeline, end: Lsn) -> Option<Timestamp> {
        let exact = self.stored_at.get(&(timeline, end)).copied();
        // The end of a timeline lies within a segment.
        exact.or_else(|| {
            let mut behind = self.stored_at.range((timeline, end)..);
            let (_, at) = behind.next().filter(|((on, _), _)| *on == timeline)?;
            Some(*at)
        })
    }

    fn summary(
        &self,
        whole: &[&BackupSummary],
        listing: &Listing,
        entries: &[Entry],
    ) -> WalSummary {
        let newest = whole
            .iter()
            .max_by_key(|backup| (backup.timeline, backup.stop));
        let durable = newest.and_then(|backup| self.reach(backup));
        let intervals = self.coverage.timelines().flat_map(|timeline| {
            let intervals = self.coverage.intervals(timeline).iter();
            intervals.map(move |interval| WalInterval {
                timeline: timeline.0,
                from: interval.from,
                to: interval.to,
                stored_at: self.stored(timeline, interval.to),
            })
        });
        WalSummary {
            intervals: intervals.collect(),
            gaps: self.gaps(whole),
            conflicts: listing.conflicts.clone(),
            durable: durable.map(|(_, lsn)| lsn),
            timeline: durable.map(|(timeline, _)| timeline.0),
            durable_at: durable.and_then(|(timeline, lsn)| self.stored(timeline, lsn)),
            stored_bytes: entries.iter().map(|entry| entry.bytes).sum(),
            ..WalSummary::default()
        }
    }

    /// Returns every hole, those that a whole backup needs first.
    fn gaps(&self, whole: &[&BackupSummary]) -> Vec<WalGap> {
        let Some(newest) = self.newest else {
            return Vec::new();
        };
        let history = self.history(newest);
        let end = self
            .coverage
            .intervals(newest)
            .last()
            .map_or(Lsn(0), |it| it.to);
        let mut gaps: Vec<WalGap> = Vec::new();
        for backup in whole {
            if !history.includes(Timeline(backup.timeline)) {
                continue;
            }
            for Hole { timeline, from, to } in self.coverage.holes(backup.start, end, &history) {
                let healed = whole.iter().any(|later| later.start >= to);
                let gap = WalGap {
                    timeline: timeline.0,
                    from,
                    to,
                    needed: true,
                    healed,
                };
                if !gaps.contains(&gap) {
                    gaps.push(gap);
                }
            }
        }
        for timeline in self.coverage.timelines() {
            for pair in self.coverage.intervals(timeline).windows(2) {
                let (from, to) = (pair[0].to, pair[1].from);
                if !gaps.iter().any(|gap| gap.from <= from && to <= gap.to) {
                    gaps.push(WalGap {
                        timeline: timeline.0,
                        from,
                        to,
                        needed: false,
                        healed: false,
                    });
                }
            }
        }
        gaps
    }
}

/// Returns where an object of WAL ends, by its name.
fn end_of(path: &str, segment_bytes: u32) -> Option<(Timeline, Lsn)> {
    let (folder, file) = path.rsplit_once('/')?;
    let (name, rest) = file.split_at_checked(24)?;
    let name: SegmentName = name.parse().ok()?;
    if rest.starts_with(".zst") {
        return Some((name.timeline, name.end(segment_bytes)));
    }
    let (range, _) = rest.strip_prefix('.')?.split_once(".zst")?;
    let (_, to) = range.split_once('-')?;
    let to = u32::from_str_radix(to, 16).ok()?;
    let live = folder.contains("/live/");
    live.then(|| {
        (
            name.timeline,
            Lsn(name.start(segment_bytes).0 + u64::from(to)),
        )
    })
}

/// Returns the bytes that are free where a folder lies; a bucket does not tell.
async fn free_bytes(repository: &Repository) -> Option<u64> {
    let place = repository.place().to_owned();
    if !Path::new(&place).is_absolute() {
        return None;
    }
    let asked = tokio::task::spawn_blocking(move || rustix::fs::statvfs(place.as_str()));
    let told = asked.await.ok()?.ok()?;
    Some(told.f_bavail.saturating_mul(told.f_frsize))
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;
    use std::sync::Arc;

    use super::*;
    use crate::repository::{Mode, Object, Pages, Position, ServerFacts};

    const SEGMENT: u32 = 16 << 20;
    const CLUSTER: ClusterId = ClusterId {
        system_identifier: 7_300_000_000_000_000_001,
        major: 17,
    };

    /// In a year that has not begun: the store says that everything came in now, which must lie before what the test tells.
    fn at(hour: u32) -> Timestamp {
        format!("2126-11-21T{hour:02}:00:00Z").parse().unwrap()
    }

    /// Returns a backup whose WAL is within one segment.
    fn commit(hour: u32, segment: u64) -> Commit {
        let position = |byte: u64| Position {
            timeline: Timeline(1),
            lsn: Lsn(segment * u64::from(SEGMENT) + byte),
        };
        Commit {
            format: crate::repository::FORMAT,
            backup: BackupId::new(at(hour), [1; 10]),
            cluster: CLUSTER,
            server: ServerFacts {
                instance: "dwh-1".to_owned(),
                version: 170_000,
                segment_bytes: SEGMENT,
                block_bytes: 8192,
                data_checksums: true,
                standby: false,
                data_bytes: 1 << 20,
            },
            mode: Mode::Protocol,
            kind: BackupKind::Full,
            parent: None,
            started_at: at(hour),
            ended_at: at(hour),
            start: position(40),
            stop: position(400),
            parts: Vec::new(),
            tablespaces: Vec::new(),
            manifest: Object {
                bytes: 1,
                sha256: String::new(),
            },
            pages: Pages::default(),
            relation_files: None,
            recipients: Vec::new(),
            tool: "pawang".to_owned(),
        }
    }

    async fn put(repository: &Repository, commits: &[Commit], segments: &[u64]) {
        for commit in commits {
            let path = CLUSTER.commit(&commit.backup);
            repository.create_json(&path, commit).await.unwrap();
        }
        for segment in segments {
            let name = SegmentName::numbered(Timeline(1), *segment, SEGMENT);
            let path = CLUSTER.segment(&name, SEGMENT);
            repository.create(&path, vec![1; 9].into()).await.unwrap();
        }
    }

    async fn looked(repository: &Repository, memory: &mut Memory) -> Survey {
        let policy = Policy::default();
        survey(repository, &CLUSTER, &policy, memory, at(20))
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn holes_are_told_with_whether_a_later_backup_heals_them() {
        let repository = Repository::over(Arc::new(InMemory::new()), "memory");
        let mut memory = Memory::default();
        assert_eq!(looked(&repository, &mut memory).await.backups, []);
        put(&repository, &[commit(1, 5)], &[5, 6, 8]).await;
        let seen = looked(&repository, &mut memory).await;
        assert_eq!(seen.backups[0].broken, None);
        assert!(
            seen.backups[0].fate.starts_with("stays: "),
            "{:?}",
            seen.backups
        );
        let gap = seen.wal.gaps[0].clone();
        assert_eq!(
            (gap.from, gap.to),
            (Lsn(7 * u64::from(SEGMENT)), Lsn(8 * u64::from(SEGMENT)))
        );
        assert!(
            gap.needed && !gap.healed && seen.wal.gaps.len() == 1,
            "{gap:?}"
        );
        assert_eq!(
            seen.wal.durable,
            Some(gap.from),
            "what lies behind a hole cannot be reached"
        );
        put(&repository, &[commit(2, 9)], &[9]).await;
        let seen = looked(&repository, &mut memory).await;
        assert!(seen.wal.gaps[0].needed && seen.wal.gaps[0].healed);
        assert_eq!(seen.wal.durable, Some(Lsn(10 * u64::from(SEGMENT))));
        assert_eq!(seen.windows().len(), 2);
        assert_eq!(memory.commits.len(), 2);
        // What is gone is forgotten.
        let path = CLUSTER.commit(&commit(1, 5).backup);
        repository.delete(&path).await.unwrap();
        assert_eq!(looked(&repository, &mut memory).await.backups.len(), 1);
        assert_eq!(memory.commits.len(), 1);
    }

    #[tokio::test]
    async fn what_stands_on_a_rotten_backup_is_broken_too() {
        let repository = Repository::over(Arc::new(InMemory::new()), "memory");
        let mut memory = Memory::default();
        let full = commit(1, 5);
        let on = |hour, segment, parent: &Commit| Commit {
            kind: BackupKind::Incremental,
            parent: Some(parent.backup.clone()),
            ..commit(hour, segment)
        };
        let first = on(2, 6, &full);
        let second = on(3, 7, &first);
        let other = commit(4, 8);
        let all = [full.clone(), first, second, other];
        put(&repository, &all, &[5, 6, 7, 8]).await;
        let mut share = Proof {
            format: crate::repository::FORMAT,
            backup: full.backup.clone(),
            started_at: at(5),
            ended_at: at(5),
            state: State::Hashed,
            whole: false,
            parts: vec!["part-00000.tar.zst".to_owned()],
            by: ProvenBy::Verify,
            problems: Vec::new(),
            target: None,
            phases: Vec::new(),
            rto_milliseconds: None,
            rpo_milliseconds: None,
            tool: "pawang".to_owned(),
        };
        repository.add_proof(&CLUSTER, &share).await.unwrap();
        let seen = looked(&repository, &mut memory).await;
        assert_eq!(seen.read_at, Some(at(5)));
        assert_eq!(seen.backups[0].proofs, [], "a share proves nothing of it");
        assert_eq!(seen.rotten().count(), 0);
        share.ended_at = at(6);
        share.problems.push("another hash".to_owned());
        repository.add_proof(&CLUSTER, &share).await.unwrap();
        let seen = looked(&repository, &mut memory).await;
        let rotten: Vec<&str> = seen.rotten().map(|(_, why)| why).collect();
        assert_eq!(rotten, ["another hash"]);
        let whole: Vec<bool> = seen.backups.iter().map(BackupSummary::whole).collect();
        assert_eq!(whole, [false, false, false, true]);
        let why = seen.backups[2].broken.as_deref().unwrap();
        assert!(why.ends_with("which is not what was stored"), "{why}");
    }

    #[tokio::test]
    async fn a_backup_without_its_own_wal_is_broken_and_a_failed_test_shows() {
        let repository = Repository::over(Arc::new(InMemory::new()), "memory");
        let mut memory = Memory::default();
        let lost = commit(1, 5);
        let whole = commit(2, 9);
        put(&repository, &[lost.clone(), whole.clone()], &[6, 9]).await;
        let seen = looked(&repository, &mut memory).await;
        assert!(
            seen.backups[0]
                .broken
                .as_ref()
                .is_some_and(|why| why.contains("is missing"))
        );
        assert_eq!(
            seen.newest().map(|it| it.id.as_str()),
            Some(whole.backup.as_str())
        );
        let mut proof = Proof {
            format: crate::repository::FORMAT,
            backup: whole.backup.clone(),
            started_at: at(3),
            ended_at: at(3),
            state: State::Proven,
            whole: true,
            parts: Vec::new(),
            by: ProvenBy::Drill,
            problems: Vec::new(),
            target: Some("the latest".to_owned()),
            phases: Vec::new(),
            rto_milliseconds: Some(90_000),
            rpo_milliseconds: None,
            tool: "pawang".to_owned(),
        };
        repository.add_proof(&CLUSTER, &proof).await.unwrap();
        let seen = looked(&repository, &mut memory).await;
        assert_eq!(seen.backups[1].state, BackupState::Proven);
        let (_, last) = seen.last_proof().unwrap();
        assert_eq!(last.rto, Some(Duration::from_secs(90)));
        proof.ended_at = at(4);
        proof.problems.push("probe 1 answered f".to_owned());
        repository.add_proof(&CLUSTER, &proof).await.unwrap();
        let seen = looked(&repository, &mut memory).await;
        assert_eq!(seen.backups[1].state, BackupState::Failed);
        assert!(!seen.last_drill().unwrap().1.passed);
        assert!(
            seen.newest().is_none(),
            "what failed its test is not counted on"
        );
    }
}
