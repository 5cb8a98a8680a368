//! What a restore would do: which backups, which WAL, to where. It is computed, and refused, before anything is touched.
//!
//! Pure: whoever asks has read commits, coverage and histories, and has looked for the target in WAL.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use pawang_core::{ByteSize, Kind, Lsn, Report};
use serde::Serialize;

use super::target::Target;
use crate::repository::{BackupId, BackupKind, ClusterId, Commit, Tablespace};
use crate::wal::{Coverage, Histories, History, Hole, Timeline};

/// No chain of increments is longer; a longer one is a circle.
const CHAIN_MAX: usize = 1_000;
/// No WAL is at this position or behind it.
const NEVER: Lsn = Lsn(u64::MAX);

/// What is known of a cluster's archive.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// Whose it is.
    pub cluster: ClusterId,
    /// Every backup that exists and is not to be deleted.
    pub commits: &'a [Commit],
    /// When each backup was proven last by a drill.
    pub proven: &'a BTreeMap<BackupId, Timestamp>,
    /// Which are not what was stored, by the last look at their bytes, and what is wrong.
    pub rotten: &'a BTreeMap<BackupId, String>,
    /// Which WAL is there.
    pub coverage: &'a Coverage,
    /// The histories of its timelines.
    pub histories: &'a Histories,
    /// Where the target lies in WAL, as far as it was looked for.
    pub located: &'a Located,
}

/// Where a target lies, found by reading WAL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Located {
    /// Nobody looked: the target says by itself where it lies, or it does not matter.
    NotAsked,
    /// Replay ends somewhere in this stretch: not before `from`, and surely before `by`.
    Within {
        /// The first position where it may end.
        from: Lsn,
        /// The position behind what ends it.
        by: Lsn,
        /// By when a backup must have begun that leads there: no commit in WAL says that what lies before is not too new.
        begun_by: Option<Timestamp>,
    },
    /// Nobody can tell without replay.
    Untold,
    /// Recovery would end at the first of several.
    Several {
        /// Where each begins.
        at: Vec<Lsn>,
    },
    /// It is not in WAL from the first backup to the end.
    Nowhere {
        /// When the last transaction in it committed.
        last_commit_at: Option<Timestamp>,
    },
}

/// What is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// To where.
    pub target: Target,
    /// Whether the target itself is replayed.
    pub inclusive: bool,
    /// On which timeline; the newest one when not said.
    pub timeline: Option<Timeline>,
    /// From which backup; the best one when not said.
    pub backup: Option<BackupId>,
}

/// How fast a restore was, by the last drill.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Speed {
    /// Bytes of data unpacked in a second.
    pub unpack_bytes_per_second: f64,
    /// Bytes of WAL replayed in a second.
    pub replay_bytes_per_second: f64,
}

/// What a restore will do.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RestorePlan {
    /// Whose data.
    pub cluster: ClusterId,
    /// To where.
    pub target: Target,
    /// Whether the target itself is replayed.
    pub inclusive: bool,
    /// The backups in the order in which they are unpacked: a full one, then its increments.
    pub chain: Vec<Step>,
    /// The timeline that is followed.
    pub timeline: Timeline,
    /// Where replay begins.
    pub replay_from: Lsn,
    /// Where the data become consistent; replay cannot end before.
    pub consistent_at: Lsn,
    /// Where replay ends, or the end of what is known.
    pub replay_to: Lsn,
    /// Bytes of data when unpacked, at least.
    pub data_bytes: u64,
    /// Where tablespaces lay.
    pub tablespaces: Vec<Tablespace>,
    /// How many of the bytes lie in each tablespace.
    pub tablespace_bytes: BTreeMap<u32, u64>,
    /// Newer backups that cannot be used, and why.
    pub passed_over: Vec<PassedOver>,
    /// Backups of the chain that are not what was stored, and what is wrong; only what was asked for by name has any.
    pub rotten: Vec<PassedOver>,
    /// Why nobody knows yet whether the target will be reached; the server then ends with an error and does not promote.
    pub unproven: Option<String>,
    /// How long it takes, by the speed of the last drill; unknown without one.
    pub estimated: Option<Duration>,
}

/// A backup of the chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// The backup.
    pub backup: BackupId,
    /// Full or incremental.
    pub kind: BackupKind,
    /// When it ended.
    pub ended_at: Timestamp,
    /// Bytes that are fetched.
    pub stored_bytes: u64,
    /// Bytes of its archives.
    pub raw_bytes: u64,
    /// When a drill proved it last.
    pub proven_at: Option<Timestamp>,
}

/// A backup that would have been nearer to the target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PassedOver {
    /// The backup.
    pub backup: BackupId,
    /// Why it cannot be used.
    pub why: String,
}

impl RestorePlan {
    /// Returns bytes of WAL between the backup and the target.
    pub fn wal_bytes(&self) -> u64 {
        self.replay_to.bytes_since(self.replay_from)
    }

    /// Returns bytes that are fetched of the chain.
    pub fn stored_bytes(&self) -> u64 {
        self.chain.iter().map(|step| step.stored_bytes).sum()
    }

    /// Returns the backup that is restored: the last of the chain.
    ///
    /// # Panics
    /// Never: a plan has a chain.
    pub fn backup(&self) -> &BackupId {
        &self.chain.last().expect("a plan has a backup").backup
    }
}

/// Computes what a restore will do.
///
/// # Errors
/// It cannot be done; the report says what can.
pub fn plan(
    known: &Known<'_>,
    wanted: &Wanted,
    speed: Option<Speed>,
) -> Result<RestorePlan, Report> {
    let history = way(known, wanted)?;
    let archive = Archive {
        known,
        history: &history,
    };
    if known.commits.is_empty() {
        return Err(refused(format!(
            "cluster {} has no backup in this repository",
            known.cluster
        ))
        .with_hint("pawang backup create"));
    }
    let end = archive.target_position(wanted)?;
    let mut candidates = archive.candidates(wanted)?;
    candidates.sort_by_key(|commit| std::cmp::Reverse((commit.stop.lsn, commit.ended_at)));
    let mut passed_over = Vec::new();
    let mut hole = None;
    for commit in candidates {
        match archive.usable(commit, end, wanted) {
            Ok(chain) => {
                let reached = archive.reach(commit.start.lsn);
                let replay_to = match wanted.target {
                    Target::Immediate => commit.stop.lsn,
                    _ => end.map_or(reached, |end| end.by),
                };
                return Ok(archive.planned(wanted, &chain, replay_to, passed_over, speed));
            }
            Err(unusable) => {
                hole = hole.or(unusable.hole);
                passed_over.push(PassedOver {
                    backup: commit.backup.clone(),
                    why: unusable.why,
                });
            }
        }
    }
    Err(archive.impossible(wanted, end, hole, &passed_over))
}

/// Chooses the timeline and returns its way.
pub(super) fn way(known: &Known<'_>, wanted: &Wanted) -> Result<History, Report> {
    let of_backups = known.commits.iter().map(|commit| commit.stop.timeline);
    let newest = of_backups
        .chain(known.histories.keys().copied())
        .chain(known.coverage.timelines())
        .max();
    let timeline = wanted.timeline.or(newest).unwrap_or(Timeline(1));
    if let Some(history) = known.histories.get(&timeline) {
        return Ok(history.clone());
    }
    let has_wal = known.coverage.timelines().any(|found| found == timeline);
    if timeline == Timeline(1) && (has_wal || !known.commits.is_empty()) {
        return Ok(History::without_ancestors(timeline));
    }
    let known_ones: BTreeSet<String> = known
        .histories
        .keys()
        .map(|timeline| timeline.0.to_string())
        .chain(["1".to_owned()])
        .collect();
    let known_ones: Vec<String> = known_ones.into_iter().collect();
    Err(refused(format!(
        "the history of timeline {} is not in the repository",
        timeline.0
    ))
    .with_detail(format!(
        "without its history nobody knows from which WAL it comes; known are {}",
        known_ones.join(", ")
    ))
    .with_hint("pawang wal status"))
}

/// Where replay ends: not before `from`, surely before `by`.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    from: Lsn,
    by: Lsn,
    begun_by: Option<Timestamp>,
}

/// Why a backup cannot be used.
struct Unusable {
    why: String,
    hole: Option<Hole>,
}

/// The archive as seen from one timeline.
struct Archive<'a> {
    known: &'a Known<'a>,
    history: &'a History,
}

impl<'a> Archive<'a> {
    /// Returns where the target lies when that is known; none for the end and for the end of the backup.
    fn target_position(&self, wanted: &Wanted) -> Result<Option<Stretch>, Report> {
        match (&wanted.target, self.known.located) {
            (Target::Latest | Target::Immediate, _) | (_, Located::Untold) => Ok(None),
            (_, Located::Within { from, by, begun_by }) => Ok(Some(Stretch {
                from: *from,
                by: *by,
                begun_by: *begun_by,
            })),
            (Target::Lsn(at), _) => Ok(Some(Stretch {
                from: *at,
                // Replay of the target needs the record that begins there, not only what lies before it.
                by: Lsn(at.0.saturating_add(1)),
                begun_by: None,
            })),
            (target, Located::Several { at }) => {
                let places: Vec<String> = at.iter().map(ToString::to_string).collect();
                let report = refused(format!("{target} is in WAL {} times", at.len()));
                Err(report
                    .with_detail(format!("at {}", places.join(", ")))
                    .with_hint(format!("--to-lsn {}", places[places.len() - 1])))
            }
            (target, Located::Nowhere { last_commit_at }) => {
                Err(self.nowhere(target, *last_commit_at))
            }
            (target, Located::NotAsked) => Err(refused(format!(
                "{target} was not looked for in WAL, so nobody knows whether it can be reached"
            ))
            .with_hint("pawang wal status")),
        }
    }

    fn nowhere(&self, target: &Target, last_commit_at: Option<Timestamp>) -> Report {
        let report = refused(format!("{target} is not in the WAL of this archive"));
        let (Target::Time(at), Some(last)) = (target, last_commit_at) else {
            return report
                .with_detail(self.possible())
                .with_hint("pawang restore --to latest --preview");
        };
        if *at < last {
            return report.with_detail(self.possible());
        }
        report
            .with_detail(format!(
                "the last transaction in it committed at {last}, and no later one shows that the target has passed; {}",
                self.possible()
            ))
            .with_hint("pawang restore --to latest --preview")
    }

    fn candidates(&self, wanted: &Wanted) -> Result<Vec<&'a Commit>, Report> {
        let Some(id) = &wanted.backup else {
            return Ok(self.known.commits.iter().collect());
        };
        let found = self
            .known
            .commits
            .iter()
            .find(|commit| commit.backup == *id);
        found.map(|commit| vec![commit]).ok_or_else(|| {
            refused(format!("cluster {} has no backup {id}", self.known.cluster))
                .with_hint("pawang backup list")
        })
    }

    /// Says whether a backup leads to the target, and by which chain.
    fn usable(
        &self,
        commit: &'a Commit,
        end: Option<Stretch>,
        wanted: &Wanted,
    ) -> Result<Vec<&'a Commit>, Unusable> {
        let no = |why: String| Unusable { why, hole: None };
        let stop = commit.stop;
        if !self.history.includes(stop.timeline) {
            return Err(no(format!(
                "it is of timeline {}, which does not lead to timeline {}",
                stop.timeline.0, self.history.timeline.0
            )));
        }
        if let Some(left) = self.history.left(stop.timeline)
            && stop.lsn > left
        {
            return Err(no(format!(
                "it ends at {}, and timeline {} was left at {left}",
                stop.lsn, stop.timeline.0
            )));
        }
        if let Some(end) = end
            && end.from < stop.lsn
        {
            return Err(no(format!(
                "it ends at {} ({}), behind the target",
                stop.lsn, commit.ended_at
            )));
        }
        if let Some(begun_by) = end.and_then(|end| end.begun_by)
            && commit.started_at > begun_by
        {
            return Err(no(format!(
                "it began at {}, and no commit shows that what it holds is as old as the target",
                commit.started_at
            )));
        }
        let chain = self.chain(commit).map_err(no)?;
        if wanted.backup.is_none()
            && let Some(rotten) = self.rotten(&chain).next()
        {
            let PassedOver { backup, why } = rotten;
            return Err(no(format!("{backup} is not what was stored: {why}")));
        }
        let hole = match (&wanted.target, end) {
            // What comes behind a hole is newer, so the end before it is not the latest.
            (Target::Latest, _) => self
                .hole(commit.start.lsn, NEVER)
                .filter(|hole| hole.to < NEVER || hole.from < stop.lsn),
            (_, end) => {
                let needed = end.map_or(stop.lsn, |end| end.by.max(stop.lsn));
                self.hole(commit.start.lsn, needed)
            }
        };
        match hole {
            None => Ok(chain),
            Some(hole) => Err(Unusable {
                why: missing(&hole),
                hole: Some(hole),
            }),
        }
    }

    /// Returns which backups of a chain are not what was stored.
    fn rotten(&self, chain: &[&'a Commit]) -> impl Iterator<Item = PassedOver> {
        chain.iter().filter_map(|commit| {
            Some(PassedOver {
                backup: commit.backup.clone(),
                why: self.known.rotten.get(&commit.backup)?.clone(),
            })
        })
    }

    /// Returns the backups that it stands on, and itself, the full one first.
    fn chain(&self, commit: &'a Commit) -> Result<Vec<&'a Commit>, String> {
        let mut chain = vec![commit];
        let mut last = commit;
        while last.kind == BackupKind::Incremental {
            let Some(parent) = &last.parent else {
                return Err(format!(
                    "increment {} names no backup that it stands on",
                    last.backup
                ));
            };
            let found = self
                .known
                .commits
                .iter()
                .find(|commit| commit.backup == *parent);
            let Some(found) = found.filter(|_| chain.len() < CHAIN_MAX) else {
                return Err(format!("it stands on backup {parent}, which is not there"));
            };
            chain.push(found);
            last = found;
        }
        chain.reverse();
        Ok(chain)
    }

    /// Returns the end of WAL without a hole from a position on, along the way.
    fn reach(&self, from: Lsn) -> Lsn {
        self.known.coverage.last_contiguous_to(from, self.history)
    }

    /// Returns the first WAL that is missing between two positions, all of it.
    fn hole(&self, from: Lsn, to: Lsn) -> Option<Hole> {
        if self.reach(from) >= to {
            return None;
        }
        let holes = self.known.coverage.holes(from, NEVER, self.history);
        holes.into_iter().find(|hole| hole.from < to)
    }

    fn planned(
        &self,
        wanted: &Wanted,
        chain: &[&Commit],
        replay_to: Lsn,
        passed_over: Vec<PassedOver>,
        speed: Option<Speed>,
    ) -> RestorePlan {
        let last = chain[chain.len() - 1];
        let steps = chain.iter().map(|commit| Step {
            backup: commit.backup.clone(),
            kind: commit.kind,
            ended_at: commit.ended_at,
            stored_bytes: commit.parts.iter().map(|part| part.bytes).sum(),
            raw_bytes: commit.parts.iter().map(|part| part.raw_bytes).sum(),
            proven_at: self.known.proven.get(&commit.backup).copied(),
        });
        let mut plan = RestorePlan {
            cluster: self.known.cluster,
            target: wanted.target.clone(),
            inclusive: wanted.inclusive,
            chain: steps.collect(),
            timeline: self.history.timeline,
            replay_from: last.start.lsn,
            consistent_at: last.stop.lsn,
            replay_to,
            // An increment counts what it holds, and is put over all of what it stands on.
            data_bytes: largest(chain, |commit| commit.server.data_bytes),
            tablespaces: last.tablespaces.clone(),
            tablespace_bytes: last
                .tablespaces
                .iter()
                .map(|space| {
                    (
                        space.oid,
                        largest(chain, |commit| within(commit, space.oid)),
                    )
                })
                .collect(),
            passed_over,
            rotten: self.rotten(chain).collect(),
            unproven: (*self.known.located == Located::Untold).then(|| {
                format!(
                    "nobody knows without replay whether {} is in WAL",
                    wanted.target
                )
            }),
            estimated: None,
        };
        plan.estimated = speed.and_then(|speed| estimate(&plan, speed));
        plan
    }

    /// Says what was asked in vain, and what could be asked.
    fn impossible(
        &self,
        wanted: &Wanted,
        end: Option<Stretch>,
        hole: Option<Hole>,
        passed_over: &[PassedOver],
    ) -> Report {
        let target = &wanted.target;
        let first = self.on_the_way().min_by_key(|commit| commit.stop.lsn);
        if let (Some(end), Some(first)) = (end, first)
            && (end.from < first.stop.lsn || end.begun_by.is_some_and(|by| by < first.started_at))
        {
            return refused(format!("{target} is before the end of the first backup"))
                .with_detail(self.possible())
                .with_hint(format!(
                    "pawang restore --to-lsn {} --preview",
                    first.stop.lsn
                ));
        }
        let reasons: Vec<String> = passed_over
            .iter()
            .map(|passed| format!("backup {}: {}", passed.backup, passed.why))
            .collect();
        let detail = format!("{}; {}", reasons.join("; "), self.possible());
        match hole {
            Some(hole) if hole.to < NEVER => {
                let hint = match target {
                    Target::Latest => "choose a point before: pawang restore --to TIME --preview",
                    _ => "pawang wal gaps",
                };
                refused(format!("{target} cannot be reached: {}", missing(&hole)))
                    .with_detail(detail)
                    .with_hint(hint)
            }
            Some(hole) => refused(format!(
                "{target} is after the last WAL: {}",
                missing(&hole)
            ))
            .with_detail(detail)
            .with_hint("pawang restore --to latest --preview"),
            None => refused(format!("no backup leads to {target}"))
                .with_detail(detail)
                .with_hint("pawang backup list"),
        }
    }

    fn on_the_way(&self) -> impl Iterator<Item = &'a Commit> {
        let history = self.history;
        self.known.commits.iter().filter(move |commit| {
            history.includes(commit.stop.timeline)
                && history
                    .left(commit.stop.timeline)
                    .is_none_or(|left| commit.stop.lsn <= left)
        })
    }

    /// Returns the words for what can be restored on this timeline: the stretches of WAL behind backups.
    fn possible(&self) -> String {
        let mut windows: BTreeMap<Lsn, (Lsn, Timestamp)> = BTreeMap::new();
        for commit in self.on_the_way() {
            if self.chain(commit).is_err() || self.hole(commit.start.lsn, commit.stop.lsn).is_some()
            {
                continue;
            }
            let window = windows
                .entry(self.reach(commit.stop.lsn))
                .or_insert((commit.stop.lsn, commit.ended_at));
            if commit.stop.lsn < window.0 {
                *window = (commit.stop.lsn, commit.ended_at);
            }
        }
        if windows.is_empty() {
            return format!(
                "on timeline {} nothing can be restored",
                self.history.timeline.0
            );
        }
        let texts: Vec<String> = windows
            .iter()
            .map(|(to, (from, at))| format!("from {from} ({at:.0}) to {to}"))
            .collect();
        format!(
            "timeline {} can be restored {}",
            self.history.timeline.0,
            texts.join(", and ")
        )
    }
}

fn estimate(plan: &RestorePlan, speed: Speed) -> Option<Duration> {
    let raw: u64 = plan.chain.iter().map(|step| step.raw_bytes).sum();
    let seconds = |bytes: u64, speed: f64| (speed > 0.0).then(|| bytes as f64 / speed);
    let seconds = seconds(raw, speed.unpack_bytes_per_second)?
        + seconds(plan.wal_bytes(), speed.replay_bytes_per_second)?;
    Duration::try_from_secs_f64(seconds).ok()
}

fn missing(hole: &Hole) -> String {
    let (timeline, from) = (hole.timeline.0, hole.from);
    if hole.to == NEVER {
        format!("WAL of timeline {timeline} ends at {from}")
    } else {
        format!(
            "WAL of timeline {timeline} from {from} to {} is missing",
            hole.to
        )
    }
}

fn refused(primary: String) -> Report {
    Report::new(Kind::Refused, primary)
}

/// Returns the largest of what the backups of a chain have.
fn largest(chain: &[&Commit], bytes: impl Fn(&Commit) -> u64) -> u64 {
    chain.iter().map(|commit| bytes(commit)).max().unwrap_or(0)
}

/// Returns how many bytes the archives of a tablespace have in a backup.
fn within(commit: &Commit, oid: u32) -> u64 {
    let parts = commit.parts.iter();
    let of_it = parts.filter(|part| part.tablespace == Some(oid));
    of_it.map(|part| part.raw_bytes).sum()
}

impl fmt::Display for RestorePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "cluster    {}", self.cluster)?;
        writeln!(
            f,
            "target     {} on timeline {}",
            self.target, self.timeline.0
        )?;
        for step in &self.chain {
            let kind = match step.kind {
                BackupKind::Full => "full",
                BackupKind::Incremental => "increment",
            };
            let proven = step.proven_at.map_or_else(
                || "not proven yet".to_owned(),
                |at| format!("proven {at:.0}"),
            );
            writeln!(
                f,
                "backup     {} {kind} of {:.0}, {} stored, {proven}",
                step.backup,
                step.ended_at,
                ByteSize(step.stored_bytes)
            )?;
        }
        writeln!(
            f,
            "WAL        {} to {} ({}), consistent at {}",
            self.replay_from,
            self.replay_to,
            ByteSize(self.wal_bytes()),
            self.consistent_at
        )?;
        writeln!(f, "size       {} unpacked", ByteSize(self.data_bytes))?;
        for tablespace in &self.tablespaces {
            writeln!(
                f,
                "tablespace {} was at {}",
                tablespace.oid, tablespace.location
            )?;
        }
        match self.estimated {
            Some(time) => writeln!(
                f,
                "time       about {} s, by the speed of the last drill",
                time.as_secs().max(1)
            )?,
            None => writeln!(f, "time       unknown: no drill has measured it")?,
        }
        if let Some(unproven) = &self.unproven {
            writeln!(
                f,
                "unproven   {unproven}; if it is not, the server ends with an error and does not open"
            )?;
        }
        for rotten in &self.rotten {
            writeln!(
                f,
                "damaged    {}: {}; a restore ends with an error where it meets that",
                rotten.backup, rotten.why
            )?;
        }
        for passed in &self.passed_over {
            writeln!(f, "not used   {}: {}", passed.backup, passed.why)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
