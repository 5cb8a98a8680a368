//! One drill: restore, recover, promote, look through, measure, write down what was proven, throw everything away.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::check::{Findings, Probe, check, told};
use super::scratch::{Milestones, Scratch, ScratchSettings};
use crate::Error;
use crate::repository::{FORMAT, Phase, Proof, ProvenBy, Repository, State};
use crate::restore::{self, Options, REPLAY, RestorePlan, UNPACK};

/// How a drill is done.
#[derive(Clone, Debug)]
pub struct DrillSettings {
    /// The server that is thrown away.
    pub scratch: ScratchSettings,
    /// The command by which it gets WAL.
    pub restore_command: String,
    /// How many parts are unpacked at the same time.
    pub workers: usize,
    /// How long replay and promotion may take.
    pub limit: Duration,
    /// The program that looks through tables and indexes; without it the backup is not proven.
    pub amcheck: Option<PathBuf>,
    /// The user's questions.
    pub probes: Vec<Probe>,
    /// When the newest commit that could be restored was made.
    pub last_commit_at: Option<Timestamp>,
    /// A random word that is this drill's own.
    pub word: String,
    /// The program, with its version.
    pub tool: String,
}

/// What a drill found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Drilled {
    /// What is written into the repository.
    pub proof: Proof,
    /// What was looked at.
    pub findings: Findings,
}

/// Proves a backup by the plan of its restore, and writes the proof, also of a failure.
///
/// # Errors
/// The drill could not be done for a reason that says nothing about the backup, or the proof could not be written.
pub async fn run(
    repository: &Repository,
    plan: &RestorePlan,
    settings: &DrillSettings,
    now: Timestamp,
) -> Result<Drilled, Error> {
    let began = Instant::now();
    let mut scratch = Scratch::new(settings.scratch.clone()).await?;
    let mut work = Work::default();
    let findings = work
        .prove(repository, plan, settings, &mut scratch, now)
        .await;
    scratch.remove().await;
    let findings = findings?;
    let whole = findings.amcheck;
    let lost = settings.last_commit_at.map(|last| now.duration_since(last));
    let proof = Proof {
        format: FORMAT,
        backup: plan.backup().clone(),
        started_at: now,
        ended_at: later(now, began.elapsed()),
        state: State::Proven,
        whole: whole || !findings.problems.is_empty(),
        parts: Vec::new(),
        by: ProvenBy::Drill,
        problems: findings.problems.clone(),
        target: Some(plan.target.to_string()),
        phases: work.phases,
        rto_milliseconds: work.open_after.map(milliseconds),
        rpo_milliseconds: lost.map(|lost| u64::try_from(lost.as_millis()).unwrap_or(0)),
        tool: settings.tool.clone(),
    };
    repository.add_proof(&plan.cluster, &proof).await?;
    Ok(Drilled { proof, findings })
}

/// What is measured on the way.
#[derive(Default)]
pub(super) struct Work {
    pub(super) phases: Vec<Phase>,
    pub(super) open_after: Option<Duration>,
}

impl Work {
    async fn prove(
        &mut self,
        repository: &Repository,
        plan: &RestorePlan,
        settings: &DrillSettings,
        scratch: &mut Scratch,
        now: Timestamp,
    ) -> Result<Findings, Error> {
        let began = Instant::now();
        let options = Options {
            workers: settings.workers,
            ..scratch.options(plan, &settings.restore_command, &settings.word)
        };
        let restored = match restore::run(repository, plan, &options, now).await {
            Ok(restored) => restored,
            // That the repository holds something else than it should is what a drill is for.
            Err(error @ Error::Format { .. }) => return Ok(failed(&error)),
            Err(error) => return Err(error),
        };
        self.phase(UNPACK, restored.unpacking, Some(restored.bytes));
        self.phase("sync", restored.syncing, None);
        let wal_bytes = Some(plan.wal_bytes());
        if let Err(error) = self.open(scratch, settings.limit, began, wal_bytes).await {
            return Ok(failed(&error));
        }
        let checking = Instant::now();
        let amcheck = settings.amcheck.as_deref();
        let findings = check(scratch, amcheck, &settings.probes).await?;
        self.phase("check", checking.elapsed(), Some(plan.data_bytes));
        scratch.stop().await;
        Ok(findings)
    }

    /// Starts the server on what was restored, and measures until it is open for writing.
    pub(super) async fn open(
        &mut self,
        scratch: &mut Scratch,
        limit: Duration,
        began: Instant,
        wal_bytes: Option<u64>,
    ) -> Result<(), Error> {
        let starting = Instant::now();
        scratch.start(limit).await?;
        self.open_after = Some(began.elapsed());
        let Milestones { replay, promote } = scratch.milestones();
        let other = starting.elapsed().saturating_sub(replay + promote);
        self.phase("start", other, None);
        self.phase(REPLAY, replay, wal_bytes);
        self.phase("promote", promote, None);
        Ok(())
    }

    pub(super) fn phase(&mut self, name: &str, took: Duration, bytes: Option<u64>) {
        self.phases.push(Phase {
            name: name.to_owned(),
            milliseconds: milliseconds(took),
            bytes,
        });
    }
}

/// Returns how long a restore would take that is as fast as a drill was, with other amounts of data and WAL.
pub fn forecast(proof: &Proof, data_bytes: u64, wal_bytes: u64) -> Option<Duration> {
    let mut milliseconds = 0.0;
    for phase in proof.phases.iter().filter(|phase| phase.name != "check") {
        let bytes = match phase.name.as_str() {
            UNPACK => Some(data_bytes),
            REPLAY => Some(wal_bytes),
            _ => None,
        };
        let took = phase.milliseconds as f64;
        milliseconds += match (bytes, phase.bytes) {
            (Some(bytes), Some(measured)) if measured > 0 => took * bytes as f64 / measured as f64,
            _ => took,
        };
    }
    proof.rto_milliseconds?;
    Duration::try_from_secs_f64(milliseconds / 1000.0).ok()
}

fn failed(error: &Error) -> Findings {
    wrong(told(error))
}

/// Returns what was found when a drill came no further.
pub(super) fn wrong(problem: String) -> Findings {
    Findings {
        problems: vec![problem],
        ..Findings::default()
    }
}

pub(super) fn later(now: Timestamp, elapsed: Duration) -> Timestamp {
    let elapsed = SignedDuration::try_from(elapsed).unwrap_or(SignedDuration::ZERO);
    now.checked_add(elapsed).unwrap_or(now)
}

pub(super) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::BackupId;

    #[test]
    fn a_forecast_grows_with_what_grew() {
        let phase = |name: &str, milliseconds, bytes| Phase {
            name: name.to_owned(),
            milliseconds,
            bytes,
        };
        let mut proof = Proof {
            format: FORMAT,
            backup: BackupId::new(Timestamp::UNIX_EPOCH, [0; 10]),
            started_at: Timestamp::UNIX_EPOCH,
            ended_at: Timestamp::UNIX_EPOCH,
            state: State::Proven,
            whole: true,
            parts: Vec::new(),
            by: ProvenBy::Drill,
            problems: Vec::new(),
            target: None,
            phases: vec![
                phase(UNPACK, 10_000, Some(1_000)),
                phase("start", 500, None),
                phase(REPLAY, 2_000, Some(100)),
                phase("check", 60_000, Some(1_000)),
            ],
            rto_milliseconds: Some(12_500),
            rpo_milliseconds: None,
            tool: "pawang".to_owned(),
        };
        assert_eq!(
            forecast(&proof, 1_000, 100),
            Some(Duration::from_millis(12_500))
        );
        assert_eq!(
            forecast(&proof, 2_000, 50),
            Some(Duration::from_millis(21_500))
        );
        proof.rto_milliseconds = None;
        assert_eq!(forecast(&proof, 1_000, 100), None);
    }
}
