//! One drill of a backup that another tool took: restored by that tool's own program, recovered under our guard, and looked
//! through like one of ours.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use pawang_core::Value;
use pawang_postgres::{Session, control_file};
use serde::{Deserialize, Serialize};

use super::check::{Findings, Probe, check, told};
use super::run::{Work, later, milliseconds, wrong};
use super::scratch::{Scratch, ScratchSettings, data};
use crate::Error;
use crate::other::tool::Order;
use crate::other::{Kept, Tool};
use crate::repository::{ClusterId, Phase};
use crate::restore::{Target, UNPACK};
use crate::wal::Timeline;

const PURPOSE: &str = "drill";
/// It stays as it was at the end of recovery.
const LAST_COMMIT: &str = "SELECT pg_catalog.pg_last_xact_replay_timestamp()";

/// How the drill is done.
#[derive(Clone, Debug)]
pub struct OtherSettings {
    /// The server that is thrown away; how it gets WAL is added.
    pub scratch: ScratchSettings,
    /// What stands before the tool's own command to get WAL: `pawang wal guard --`.
    pub guard: String,
    /// To where.
    pub target: Target,
    /// Whether the target itself is restored.
    pub inclusive: bool,
    /// The timeline to follow, instead of the tool's choice.
    pub timeline: Option<Timeline>,
    /// How long replay and promotion may take.
    pub limit: Duration,
    /// The program that looks through tables and indexes; without it the backup is not proven.
    pub amcheck: Option<PathBuf>,
    /// The user's questions.
    pub probes: Vec<Probe>,
    /// The program, with its version.
    pub by: String,
}

/// What a drill proved of another tool's backup.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OtherProof {
    /// The tool: `pgbackrest`, `barman`.
    pub tool: String,
    /// Its stanza or server.
    pub set: String,
    /// Its backup.
    pub backup: String,
    /// The cluster that was restored, where it came so far.
    pub cluster: Option<ClusterId>,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// Whether tables and indexes were looked through.
    pub whole: bool,
    /// What is wrong, with the phase; nothing when it is proven.
    pub problems: Vec<String>,
    /// What it was recovered to, in words.
    pub target: String,
    /// How long each phase took.
    pub phases: Vec<Phase>,
    /// From the order to a server that answers.
    pub rto_milliseconds: Option<u64>,
    /// How old the last commit was, when the whole archive was replayed.
    pub rpo_milliseconds: Option<u64>,
    /// The program, with its version.
    pub by: String,
}

/// What a drill of another tool's backup found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OtherDrilled {
    /// What is kept.
    pub proof: OtherProof,
    /// What was looked at.
    pub findings: Findings,
}

/// Restores a backup by its tool, and proves it or not; the tool's repository is only read.
///
/// # Errors
/// The drill could not be done for a reason that says nothing about the backup.
pub async fn run(
    tool: &Tool,
    backup: &Kept,
    settings: &OtherSettings,
    now: Timestamp,
) -> Result<OtherDrilled, Error> {
    let began = Instant::now();
    let mut server = settings.scratch.clone();
    let command = tool.restore_command(&settings.guard, &data(&server.folder));
    server.settings.push(("restore_command", command));
    server
        .settings
        .push(("recovery_target_action", "promote".to_owned()));
    let OtherSettings {
        target,
        inclusive,
        timeline,
        ..
    } = settings;
    let recovery = tool.recovery(target, *inclusive, *timeline);
    server.settings.extend(recovery);
    let mut scratch = Scratch::new(server).await?;
    let mut drill = Drill {
        label: backup.label.clone(),
        tool,
        backup,
        settings,
        work: Work::default(),
        cluster: None,
        last_commit_at: None,
    };
    let findings = drill.prove(&mut scratch).await;
    scratch.remove().await;
    let findings = findings?;
    let replayed = settings.target == Target::Latest;
    let lost = drill.last_commit_at.filter(|_| replayed);
    let lost = lost.map(|last| now.duration_since(last).as_millis());
    let proof = OtherProof {
        tool: tool.name().to_owned(),
        set: tool.set.clone(),
        backup: drill.label,
        cluster: drill.cluster,
        started_at: now,
        ended_at: later(now, began.elapsed()),
        whole: findings.amcheck,
        problems: findings.problems.clone(),
        target: settings.target.to_string(),
        phases: drill.work.phases,
        rto_milliseconds: drill.work.open_after.map(milliseconds),
        rpo_milliseconds: lost.map(|lost| u64::try_from(lost).unwrap_or(0)),
        by: settings.by.clone(),
    };
    Ok(OtherDrilled { proof, findings })
}

struct Drill<'a> {
    label: String,
    tool: &'a Tool,
    backup: &'a Kept,
    settings: &'a OtherSettings,
    work: Work,
    cluster: Option<ClusterId>,
    last_commit_at: Option<Timestamp>,
}

impl Drill<'_> {
    async fn prove(&mut self, scratch: &mut Scratch) -> Result<Findings, Error> {
        let began = Instant::now();
        let into = scratch.data();
        self.make(&into)?;
        let order = Order {
            backup: self.backup,
            target: &self.settings.target,
            inclusive: self.settings.inclusive,
            timeline: self.settings.timeline,
            into: &into,
            tablespaces: &self.settings.scratch.folder.join("tablespaces"),
        };
        let (status, words) = self.tool.restore(&order).await?;
        self.work
            .phase(UNPACK, began.elapsed(), self.backup.data_bytes);
        if !status.success() {
            let name = self.tool.name();
            return Ok(wrong(format!(
                "{UNPACK}: the restore by {name} ended with {status}: {words}"
            )));
        }
        if let Err(error) = self.settle(&into) {
            return Ok(wrong(format!("{UNPACK}: {}", told(&error))));
        }
        let limit = self.settings.limit;
        if let Err(error) = self.work.open(scratch, limit, began, None).await {
            return Ok(wrong(format!("replay: {}", told(&error))));
        }
        self.last_commit_at = last_commit(scratch).await?;
        let checking = Instant::now();
        let amcheck = self.settings.amcheck.as_deref();
        let mut findings = check(scratch, amcheck, &self.settings.probes).await?;
        for problem in &mut findings.problems {
            problem.insert_str(0, "check: ");
        }
        self.work
            .phase("check", checking.elapsed(), self.backup.data_bytes);
        scratch.stop().await;
        Ok(findings)
    }

    /// Makes the empty data directory: these tools want one that is there, and that the server accepts.
    fn make(&self, into: &Path) -> Result<(), Error> {
        let made = fs::DirBuilder::new().mode(0o700).create(into);
        let owned = made.and_then(|()| match self.settings.scratch.owner {
            Some(owner) => owner.give(into),
            None => Ok(()),
        });
        owned.map_err(|source| Error::File {
            doing: "create",
            path: into.to_owned(),
            source,
        })
    }

    fn settle(&mut self, into: &Path) -> Result<(), Error> {
        let control = control_file::read(into)?;
        if let Some(label) = self.tool.label(into) {
            self.label = label;
        }
        self.cluster = Some(ClusterId {
            system_identifier: control.system_identifier,
            major: control.major,
        });
        self.tool.settle(into)
    }
}

async fn last_commit(scratch: &Scratch) -> Result<Option<Timestamp>, Error> {
    let session = Session::connect(&scratch.target("template1")?, PURPOSE).await?;
    let rows = session.read(LAST_COMMIT).await?.rows;
    Ok(match rows.first().and_then(|row| row.first()) {
        Some(Value::Time(at)) => Some(*at),
        _ => None,
    })
}
