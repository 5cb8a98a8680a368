//! The backup that an incremental one stands on, and why there is none.

use std::io::{self, Read};

use pawang_core::{Kind, Report};
use pawang_postgres::replication::Replication;
use tokio::io::AsyncWriteExt;
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;

use super::preflight::Known;
use super::{Progress, TakeRequest, Wanted};
use crate::Error;
use crate::repository::{self, BackupId, Commit};

/// The first major version with incremental backups.
const INCREMENTAL_MAJOR: u32 = 17;
const PIPE_BYTES: usize = 128 << 10;

/// Tells that a full backup is taken instead, or refuses when only an incremental one will do.
pub(super) fn instead(
    request: &TakeRequest,
    why: &str,
    observe: &mut (dyn FnMut(Progress) + Send),
) -> Result<(), Error> {
    if request.wanted == Wanted::Incremental {
        let report = Report::new(Kind::Refused, "an incremental backup is not possible now")
            .with_detail(why)
            .with_hint(format!(
                "pawang backup create -i {} --type full",
                request.instance
            ));
        return Err(Error::Refused(Box::new(report)));
    }
    observe(Progress::Note(format!("takes a full backup: {why}")));
    Ok(())
}

/// Returns the newest backup that the server can make an incremental one on (invariant I9), or why there is none.
pub(super) async fn possible(
    request: &TakeRequest,
    known: &Known,
    replication: &mut Replication,
) -> Result<Result<Commit, String>, Error> {
    let major = known.cluster.major;
    if major < INCREMENTAL_MAJOR {
        return Ok(Err(format!("PostgreSQL {major} has no incremental ones")));
    }
    if replication.show("summarize_wal").await? != "on" {
        return Ok(Err("\"summarize_wal\" is off".to_owned()));
    }
    newest(request, known, |_| None).await
}

/// Returns the newest backup of the same history that is fit to stand on, or why there is none (invariant I9).
pub(super) async fn newest(
    request: &TakeRequest,
    known: &Known,
    unfit: impl Fn(&Commit) -> Option<&'static str>,
) -> Result<Result<Commit, String>, Error> {
    let tombs = request.repository.tombs(&known.cluster).await?;
    // What is in the way of the newest one is what a person can mend, or has to know.
    let mut newest: Option<String> = None;
    for commit in known.commits.iter().rev() {
        let id = &commit.backup;
        let why = if commit.stop.timeline != known.timeline {
            format!("the newest one, {id}, is of another timeline")
        } else if commit.server.data_checksums != known.data_checksums {
            // While they were off, pages may have changed that do not say so: older ones are no better.
            return Ok(Err(format!("data checksums were switched since {id}")));
        } else if tombs.iter().any(|tomb| tomb.backup == *id) {
            format!("{id} is about to be deleted")
        } else if let Some(reason) = unfit(commit) {
            format!("{id} {reason}")
        } else if let Err(locked) = request.repository.check_keys(commit) {
            // The server wants the manifest of what it stands on, or its files have to be compared.
            format!("what {id} holds cannot be read here: {}", locked.report())
        } else if let Some(id) = rotten(request, known, commit).await? {
            format!("{id}, on which it would stand, is not what was stored")
        } else {
            return Ok(Ok(commit.clone()));
        };
        newest.get_or_insert(why);
    }
    Ok(Err(
        newest.unwrap_or_else(|| "there is none to stand on".to_owned())
    ))
}

/// Returns which backup of a chain is known to be wrong as it is stored: nothing that stands on it could be restored.
async fn rotten(
    request: &TakeRequest,
    known: &Known,
    commit: &Commit,
) -> Result<Option<BackupId>, Error> {
    let mut next = Some(commit);
    while let Some(commit) = next {
        let proofs = request.repository.proofs(&known.cluster, &commit.backup);
        if repository::rotten(&proofs.await?).is_some() {
            return Ok(Some(commit.backup.clone()));
        }
        let parent = commit.parent.as_ref();
        next = parent.and_then(|id| known.commits.iter().find(|it| it.backup == *id));
    }
    Ok(None)
}

/// Returns a report in one line.
pub(super) fn words(report: Report) -> String {
    let detail = report.detail.map(|detail| format!(": {detail}"));
    format!("{}{}", report.primary, detail.unwrap_or_default())
}

/// Hands the parent's manifest to the server, unchanged.
///
/// # Errors
/// The repository does not have it as it was, or the server does not take it.
pub(super) async fn upload(
    request: &TakeRequest,
    replication: &mut Replication,
    parent: &Commit,
) -> Result<(), Error> {
    let path = parent.manifest_path();
    let object = &parent.manifest;
    let mut stored = request
        .repository
        .open_data(&path, object.bytes, &object.sha256);
    let (mut into, from) = tokio::io::duplex(PIPE_BYTES);
    let runtime = Handle::current();
    let reading = spawn_blocking(move || -> io::Result<()> {
        let mut buffer = vec![0; PIPE_BYTES];
        loop {
            match stored.read(&mut buffer)? {
                0 => return Ok(()),
                bytes => runtime.block_on(into.write_all(&buffer[..bytes]))?,
            }
        }
    });
    let sent = replication.upload_manifest(from).await;
    let read = reading.await.map_err(io::Error::other).flatten();
    // A server that refused closed the pipe, and then the refusal is what counts.
    if let (Ok(()), Err(source)) = (&sent, read) {
        return Err(request.repository.unopened(&path, source));
    }
    Ok(sent?)
}
