//! Which dumps stay: by the same policy as backups, with a tomb and its grace before anything is deleted.

use jiff::Timestamp;
use pawang_core::Lsn;
use serde::Serialize;

use super::create::hold;
use super::{COMMIT, Dump, folder, object};
use crate::Error;
use crate::repository::{BackupId, ClusterId, FORMAT, Position, Repository, State, Tomb};
use crate::retention::{Decision, Fate, Known, Policy, plan};
use crate::take::Owner;
use crate::wal::Timeline;

const TOMB: &str = "TOMB.json";

/// What becomes of a dump, and whether that was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DumpFate {
    /// The decision, with its reasons.
    #[serde(flatten)]
    pub decision: Decision,
    /// Whether it was deleted now.
    pub deleted: bool,
}

/// Deletes the dumps that no rule keeps and whose grace is over, or tells which it would.
///
/// # Errors
/// Somebody else dumps or expires now, or the store refused.
pub async fn expire(
    repository: &Repository,
    cluster: &ClusterId,
    policy: &Policy,
    owner: &Owner,
    now: Timestamp,
    dry_run: bool,
) -> Result<Vec<DumpFate>, Error> {
    if dry_run {
        let decisions = decide(repository, cluster, policy, now).await?;
        let told = decisions.into_iter().map(|decision| DumpFate {
            decision,
            deleted: false,
        });
        return Ok(told.collect());
    }
    let lease = hold(repository, cluster, owner, "expires dumps", now).await?;
    let done = carry_out(repository, cluster, policy, now).await;
    let released = lease.release().await;
    let done = done?;
    released?;
    Ok(done)
}

async fn carry_out(
    repository: &Repository,
    cluster: &ClusterId,
    policy: &Policy,
    now: Timestamp,
) -> Result<Vec<DumpFate>, Error> {
    let mut done = Vec::new();
    for decision in decide(repository, cluster, policy, now).await? {
        let id = &decision.backup;
        let tomb = object(cluster, id, TOMB);
        let mut deleted = false;
        match decision.fate {
            // A tomb of a dump that is kept after all must not count later.
            Fate::Keep => repository.delete(&tomb).await?,
            Fate::Tomb => {
                let laid = Tomb {
                    format: FORMAT,
                    backup: id.clone(),
                    at: now,
                    why: decision.why.clone(),
                    laid_at: now,
                };
                if repository.read(&tomb).await?.is_none() {
                    repository.create_json(&tomb, &laid).await?;
                }
            }
            Fate::Delete => {
                delete(repository, cluster, id).await?;
                deleted = true;
            }
        }
        done.push(DumpFate { decision, deleted });
    }
    Ok(done)
}

/// Deletes the commit first: what is left after a crash is no dump.
async fn delete(repository: &Repository, cluster: &ClusterId, id: &BackupId) -> Result<(), Error> {
    repository.delete(&object(cluster, id, COMMIT)).await?;
    for entry in repository.list(&folder(cluster, id)).await? {
        repository.delete(&entry.path).await?;
    }
    Ok(())
}

async fn decide(
    repository: &Repository,
    cluster: &ClusterId,
    policy: &Policy,
    now: Timestamp,
) -> Result<Vec<Decision>, Error> {
    let mut known = Vec::new();
    for dump in repository.dumps(cluster).await? {
        let entries = repository.list(&folder(cluster, &dump.dump)).await?;
        let tomb = entries.iter().find(|entry| entry.path.ends_with(TOMB));
        known.push(as_known(&dump, tomb.map(|entry| entry.modified)));
    }
    Ok(plan(&known, policy, now).decisions)
}

/// A dump stands by itself, and needs no WAL.
fn as_known(dump: &Dump, tomb_at: Option<Timestamp>) -> Known {
    // The policy orders what it judges by positions; a dump has none but its time.
    let milliseconds = u64::try_from(dump.ended_at.as_millisecond()).unwrap_or(0);
    let place = Position {
        timeline: Timeline(1),
        lsn: Lsn(milliseconds),
    };
    Known {
        backup: dump.dump.clone(),
        parent: None,
        ended_at: dump.ended_at,
        start: place,
        stop: place,
        state: State::Taken,
        // It was read row by row.
        clean: true,
        held: None,
        leased: None,
        tomb_at,
    }
}
