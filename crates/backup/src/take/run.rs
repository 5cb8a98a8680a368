//! A backup from its beginning to its commit, however its files are read.

use std::sync::OnceLock;
use std::time::Duration;

use pawang_core::{Kind, Report};
use tokio::time::sleep;

use super::checksum::PageRules;
use super::contact::Contact;
use super::keep::Kept;
use super::parent::words;
use super::preflight::{self, Known};
use super::secure::{self, Needed, WalSource};
use super::way::{self, Way};
use super::{Progress, TakeRequest, local, protocol, relations};
use crate::Error;
use crate::repository::{
    BackupKind, Commit, FORMAT, Held, Lease, LeaseFacts, Mode, Object, Position, ServerFacts,
    Tablespace,
};

/// What keeps two backups of a cluster into the same repository apart.
const LEASE: &str = "backup";
const LEASE_SECONDS: u32 = 600;
const RENEW_EVERY: Duration = Duration::from_secs(120);
/// So often a renewal may fail in a row before the lease may have run out.
const RENEWALS_LOST_MAX: u32 = 3;
/// What was read, and kept.
pub(super) struct Came {
    pub(super) mode: Mode,
    pub(super) start: Position,
    pub(super) stop: Position,
    pub(super) tablespaces: Vec<Tablespace>,
    pub(super) kept: Kept,
    /// The list of files of relations, where the files were read here.
    pub(super) relation_files: Option<Object>,
}

/// Takes a backup, and returns its commit, which is written by then.
///
/// # Errors
/// The server or the repository refused, what came is not whole, or its WAL cannot be had. Then there is no backup, and what was
/// written of it is deleted; what a process leaves that is killed is swept later.
pub async fn take(
    request: TakeRequest,
    observe: &mut (dyn FnMut(Progress) + Send),
) -> Result<Commit, Error> {
    let mut contact = Contact::open(&request).await?;
    let known = preflight::look(&request, &mut contact, observe).await?;
    let way = way::choose(&request, &known, &mut contact, observe).await?;
    let mut lease = lease(&request, &known, way.parent()).await?;
    let result = {
        // It is the largest part of a backup's state, and callers keep several of them.
        let work = Box::pin(under_lease(&request, &known, contact, way, observe));
        let renewals = renew(&mut lease, &request);
        tokio::select! {
            biased;
            result = work => result,
            error = renewals => Err(error),
        }
    };
    let released = lease.release().await;
    let commit = result?;
    if let Err(error) = released {
        observe(Progress::Note(format!(
            "the next backup has to wait until this one's lease runs out: {error}"
        )));
    }
    Ok(commit)
}

async fn lease(
    request: &TakeRequest,
    known: &Known,
    parent: Option<&Commit>,
) -> Result<Lease, Error> {
    let now = (request.clock)();
    let mut backups = vec![request.backup.clone()];
    backups.extend(parent.map(|parent| parent.backup.clone()));
    let facts = LeaseFacts {
        host: request.owner.host.clone(),
        pid: request.owner.pid,
        doing: format!("takes backup {}", request.backup),
        backups,
        ..LeaseFacts::new(LEASE, &request.owner.word, LEASE_SECONDS, now)
    };
    match request.repository.take_lease(&known.cluster, facts).await? {
        Held::Ours(lease) => Ok(lease),
        Held::Other(other) => {
            let report = Report::new(
                Kind::Refused,
                format!("a backup of \"{}\" is being taken already", request.instance),
            )
            .with_detail(format!(
                "process {} on \"{}\" {} since {}; if it was killed, the next one can begin {} seconds after {}",
                other.pid, other.host, other.doing, other.taken_at, other.lasts_seconds, other.renewed_at
            ))
            .with_hint(format!("pawang backup list -i {}", request.instance));
            Err(Error::Refused(Box::new(report)))
        }
    }
}

/// Renews the lease for ever; returns why that did not go on.
async fn renew(lease: &mut Lease, request: &TakeRequest) -> Error {
    let mut lost = 0;
    loop {
        sleep(RENEW_EVERY).await;
        match lease.renew((request.clock)()).await {
            Ok(()) => lost = 0,
            Err(Error::Storage { .. }) if lost < RENEWALS_LOST_MAX => lost += 1,
            Err(error) => return error,
        }
    }
}

async fn under_lease(
    request: &TakeRequest,
    known: &Known,
    contact: Contact,
    way: Way,
    observe: &mut (dyn FnMut(Progress) + Send),
) -> Result<Commit, Error> {
    preflight::unfinished(request, known, observe).await?;
    let commit = match read(request, known, contact, way, observe).await {
        Ok(commit) => commit,
        Err(error) => {
            take_back(request, known, observe).await;
            return Err(error);
        }
    };
    match request.repository.commit_backup(&commit).await {
        Ok(()) => Ok(commit),
        Err(error) => {
            // A store may have got a commit whose answer was lost, but a disk that is full has none.
            if error.disk_is_full() {
                take_back(request, known, observe).await;
            }
            Err(error)
        }
    }
}

/// Deletes what there is of a backup that has no commit and gets none: a disk that it filled must not stay full.
async fn take_back(
    request: &TakeRequest,
    known: &Known,
    observe: &mut (dyn FnMut(Progress) + Send),
) {
    let folder = known.cluster.backup(&request.backup);
    let deleted = async {
        for entry in request.repository.list(&folder).await? {
            request.repository.delete(&entry.path).await?;
        }
        Ok::<_, Error>(())
    };
    if let Err(error) = deleted.await {
        observe(Progress::Note(format!(
            "what came of backup {} stays until a later run removes it: {}",
            request.backup,
            words(error.report())
        )));
    }
}

/// Reads the files, and returns the record of a backup whose data and WAL are in the repository.
async fn read(
    request: &TakeRequest,
    known: &Known,
    mut contact: Contact,
    way: Way,
    observe: &mut (dyn FnMut(Progress) + Send),
) -> Result<Commit, Error> {
    let started_at = (request.clock)();
    let mut from = WalSource::of(&contact, request, observe).await;
    let begun = OnceLock::new();
    let (came, parent) = match (way, &mut contact) {
        (Way::Files(way), _) => {
            let mut hear = |progress: Progress| {
                if let Progress::Started { start, .. } = &progress {
                    let _once = begun.set(*start);
                }
                observe(progress);
            };
            let work = Box::pin(local::read(request, known, *way, &mut hear));
            from.meanwhile(request, known, &begun, work).await?
        }
        (Way::Protocol(parent), Contact::Replication(replication)) => {
            protocol::receive(request, known, replication, *parent, observe).await?
        }
        (Way::Protocol(_), Contact::Sql(..)) => unreachable!("the way was chosen by the contact"),
    };
    came.consistent(known)
        .map_err(|problem| Error::Incomplete {
            address: contact.address().to_owned(),
            problem,
        })?;
    let needed = Needed::between(came.start, came.stop);
    secure::history(request, known, &mut contact, needed.timeline).await?;
    secure::secure(request, known, from, &needed, observe).await?;
    let mut commit = commit(request, known, came).await;
    commit.started_at = started_at;
    if let Some(parent) = parent {
        commit.kind = BackupKind::Incremental;
        commit.parent = Some(parent.backup);
    }
    Ok(commit)
}

/// Returns the record of a full backup of what came.
async fn commit(request: &TakeRequest, known: &Known, came: Came) -> Commit {
    let rules = PageRules {
        checksums: known.data_checksums,
        start: came.start.lsn,
    };
    let kept = came.kept;
    let pages = relations::settle(kept.pages, &request.target, &known.geometry, &rules).await;
    let ended_at = (request.clock)();
    Commit {
        format: FORMAT,
        backup: request.backup.clone(),
        cluster: known.cluster,
        server: ServerFacts {
            instance: request.instance.clone(),
            version: known.version,
            segment_bytes: known.segment_bytes,
            block_bytes: known.geometry.block_bytes,
            data_checksums: known.data_checksums,
            standby: known.standby,
            data_bytes: kept.data_bytes,
        },
        mode: came.mode,
        kind: BackupKind::Full,
        parent: None,
        started_at: ended_at,
        ended_at,
        start: came.start,
        stop: came.stop,
        parts: kept.parts,
        tablespaces: came.tablespaces,
        manifest: kept.manifest_object,
        relation_files: came.relation_files,
        pages,
        recipients: request.repository.recipients(),
        tool: request.tool.clone(),
    }
}

impl Came {
    /// Says what does not fit together.
    fn consistent(&self, known: &Known) -> Result<(), String> {
        let other = self.kept.manifest.system_identifier;
        if other.is_some_and(|other| other != known.cluster.system_identifier) {
            return Err("its manifest is of another system identifier".to_owned());
        }
        if self.start.timeline != self.stop.timeline || self.start.lsn > self.stop.lsn {
            return Err(format!(
                "it begins at {} of timeline {} and ends at {} of timeline {}",
                self.start.lsn, self.start.timeline.0, self.stop.lsn, self.stop.timeline.0
            ));
        }
        Ok(())
    }
}
