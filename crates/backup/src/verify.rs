//! A backup is read again, without a server: what is stored is what was stored, the files inside are those of the manifest, the
//! pages inside have their checksums, and the WAL that makes them consistent is there.

use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use pawang_core::{Kind, Report};
use tokio::runtime::Handle;

use crate::Error;
use crate::repository::{
    ClusterId, Commit, FORMAT, LeaseFacts, Part, Phase, Proof, ProvenBy, Rate, Repository,
    SealError, State,
};
use crate::take::checksum::PageRules;
use crate::take::recheck::{self, Rechecked};
use crate::take::{Geometry, RELATION_FILE_BYTES};
use crate::wal::Listing;

/// So many problems are told one by one.
const PROBLEMS_MAX: usize = 20;
/// The lease that keeps the backup meanwhile; it is renewed after each part.
const LEASE: &str = "verify";
const LEASE_SECONDS: u32 = 6 * 3600;
/// Read at once, between two looks at the pace.
const PIECE_BYTES: usize = 128 << 10;

/// How far a backup is read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Bytes as they are stored.
    Hashed,
    /// Also what is inside: files, pages.
    Pages,
}

/// Reads slowly, and ends early when it is told to.
pub struct Pace {
    /// The limit.
    pub rate: Rate,
    /// Whether to go on; a part that was begun is given up.
    pub go_on: Box<dyn Fn() -> bool + Send + Sync>,
}

/// How a backup is verified.
#[derive(Clone)]
pub struct VerifySettings {
    /// How far.
    pub depth: Depth,
    /// Only these parts; what is found of them proves nothing of the rest.
    pub parts: Option<Vec<String>>,
    /// How fast, and how long; as fast as it goes, to the end, without it.
    pub pace: Option<Arc<Pace>>,
    /// So many parts at a time.
    pub threads: NonZeroUsize,
    /// Who verifies, in a word that is his alone.
    pub owner: String,
    /// The program, with its version.
    pub tool: String,
    /// What time it is.
    pub clock: fn() -> Timestamp,
}

/// Reads a backup again, and keeps what was found as a proof; `None` when it was told to end before anything was read.
///
/// # Errors
/// It does not exist, or the store could not say what is there. What is wrong with the backup is no error but in the proof.
pub async fn verify(
    repository: &Repository,
    cluster: &ClusterId,
    backup: &crate::BackupId,
    settings: &VerifySettings,
) -> Result<Option<Proof>, Error> {
    let started_at = (settings.clock)();
    let Some(commit) = repository.commit(cluster, backup).await? else {
        let report = Report::new(Kind::Usage, format!("backup \"{backup}\" does not exist"))
            .with_hint("pawang backup list");
        return Err(Error::Refused(Box::new(report)));
    };
    if settings.depth == Depth::Pages {
        repository.check_keys(&commit)?;
    }
    let mut facts = LeaseFacts::new(LEASE, &settings.owner, LEASE_SECONDS, started_at);
    facts.doing = "reads it again".to_owned();
    facts.backups = vec![backup.clone()];
    let lease = repository.share_lease(cluster, facts).await?;
    let looked = look(repository, &commit, settings).await;
    let released = lease.release().await;
    let looked = looked?;
    released?;
    let Looked {
        mut problems,
        bytes,
        read,
        whole,
    } = looked;
    if read.is_empty() && !whole {
        return Ok(None);
    }
    let told = problems.len();
    if told > PROBLEMS_MAX {
        problems.truncate(PROBLEMS_MAX);
        problems.push(format!("and {} more", told - PROBLEMS_MAX));
    }
    let ended_at = (settings.clock)();
    let milliseconds = ended_at.duration_since(started_at).as_millis();
    let proof = Proof {
        format: FORMAT,
        backup: backup.clone(),
        started_at,
        ended_at,
        state: match settings.depth {
            Depth::Hashed => State::Hashed,
            Depth::Pages => State::PageVerified,
        },
        whole,
        parts: settings.parts.as_ref().map_or_else(Vec::new, |_| read),
        by: ProvenBy::Verify,
        problems,
        target: None,
        phases: vec![Phase {
            name: "read".to_owned(),
            milliseconds: u64::try_from(milliseconds).unwrap_or(0),
            bytes: Some(bytes),
        }],
        rto_milliseconds: None,
        rpo_milliseconds: None,
        tool: settings.tool.clone(),
    };
    repository.add_proof(cluster, &proof).await?;
    Ok(Some(proof))
}

/// What was found.
struct Looked {
    problems: Vec<String>,
    bytes: u64,
    /// The parts that were read to their end, or to what is wrong with them.
    read: Vec<String>,
    /// Whether these are all.
    whole: bool,
}

async fn look(
    repository: &Repository,
    commit: &Commit,
    settings: &VerifySettings,
) -> Result<Looked, Error> {
    let wanted = |part: &&Part| {
        let parts = settings.parts.as_ref();
        parts.is_none_or(|parts| parts.contains(&part.name))
    };
    let reads: Vec<_> = commit
        .parts
        .iter()
        .filter(wanted)
        .map(|part| read(repository, commit, part, settings))
        .collect();
    let read: Vec<(&Part, Ended)> = stream::iter(reads)
        .buffer_unordered(settings.threads.get())
        .try_collect()
        .await?;
    let mut problems = Vec::new();
    let mut all = Rechecked::default();
    let (mut names, mut bytes) = (Vec::new(), 0);
    for (part, ended) in read {
        match ended {
            Ended::Stopped => continue,
            Ended::Good(found) => all.join(found),
            Ended::Wrong(problem) => problems.push(problem),
        }
        names.push(part.name.clone());
        bytes += part.bytes;
    }
    names.sort();
    let complete = names.len() == commit.parts.len();
    if names.is_empty() && !complete {
        return Ok(Looked {
            problems,
            bytes,
            read: names,
            whole: false,
        });
    }
    let (_, wrong, first) = all.pages();
    let untold = wrong - first.len() as u64;
    problems.extend(first);
    if untold > 0 {
        problems.push(format!("pages that are wrong besides: {untold}"));
    }
    // Where a part could not be read, or was not, all of its files would be missing.
    let known = (problems.is_empty() && complete).then_some(all);
    problems.extend(manifest(repository, commit, known, settings.depth).await?);
    problems.extend(wal(repository, commit).await?);
    Ok(Looked {
        problems,
        bytes,
        read: names,
        whole: complete,
    })
}

/// How reading a part ended.
enum Ended {
    Good(Rechecked),
    Wrong(String),
    /// It was told to stop; nothing is known of the part.
    Stopped,
}

/// Reads a part to its end; says what it holds, or what is wrong with it.
async fn read<'a>(
    repository: &Repository,
    commit: &Commit,
    part: &'a Part,
    settings: &VerifySettings,
) -> Result<(&'a Part, Ended), Error> {
    let path = commit.cluster.part(&commit.backup, &part.name);
    let runtime = Handle::current();
    let pace = settings.pace.clone();
    let work: Box<dyn FnOnce() -> io::Result<Rechecked> + Send> = match settings.depth {
        Depth::Hashed => {
            let mut stored = repository.stored_bytes(&path, part.bytes, &part.sha256);
            Box::new(move || {
                drain(&mut stored, pace.as_deref(), &runtime).map(|()| Rechecked::default())
            })
        }
        Depth::Pages => {
            let mut reader = repository.open_part(&commit.cluster, &commit.backup, part)?;
            let (geometry, rules) = (geometry(commit), rules(commit));
            let part = part.clone();
            Box::new(move || members(&mut reader, &part, geometry, &rules))
        }
    };
    let done = tokio::task::spawn_blocking(work).await;
    let ended = match done.expect("reading does not panic") {
        Ok(found) => Ended::Good(found),
        Err(error) if error.get_ref().is_some_and(|inner| inner.is::<Stopped>()) => Ended::Stopped,
        Err(error) => Ended::Wrong(judge(repository, &path, error).await?),
    };
    Ok((part, ended))
}

/// Reads to the end, no faster than is allowed, and no longer.
fn drain(stored: &mut dyn Read, pace: Option<&Pace>, runtime: &Handle) -> io::Result<()> {
    let mut buffer = vec![0; PIECE_BYTES];
    loop {
        if pace.is_some_and(|pace| !(pace.go_on)()) {
            return Err(io::Error::other(Stopped));
        }
        let read = stored.read(&mut buffer)?;
        if read == 0 {
            return Ok(());
        }
        if let Some(pace) = pace {
            runtime.block_on(pace.rate.take(read as u64));
        }
    }
}

/// It was told to stop.
#[derive(Debug, thiserror::Error)]
#[error("it was told to stop")]
struct Stopped;

fn members(
    reader: &mut dyn Read,
    part: &Part,
    geometry: Geometry,
    rules: &PageRules,
) -> io::Result<Rechecked> {
    let found = recheck::part(reader, part.tablespace, geometry, rules)?;
    if found.members == part.members {
        return Ok(found);
    }
    let problem = format!(
        "it has {} members, and its commit says {}",
        found.members, part.members
    );
    Err(io::Error::new(io::ErrorKind::InvalidData, problem))
}

/// Tells whether an object is wrong, which is an answer, or could not be read now, which is none.
async fn judge(repository: &Repository, path: &str, error: io::Error) -> Result<String, Error> {
    let of_store = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<object_store::Error>());
    if SealError::of(&error).is_some_and(SealError::by_keys) {
        return Err(repository.unopened(path, error));
    }
    let missing = error.kind() == io::ErrorKind::NotFound;
    let denied = error.kind() == io::ErrorKind::PermissionDenied;
    if denied || (of_store.is_some() && !missing) {
        return Err(repository.problem("read", path, error.into()));
    }
    if missing && repository.read(path).await?.is_none() {
        return Ok(format!("\"{path}\" is not there"));
    }
    Ok(format!("\"{path}\": {error}"))
}

/// Reads the manifest, and compares with it what the parts hold.
async fn manifest(
    repository: &Repository,
    commit: &Commit,
    found: Option<Rechecked>,
    depth: Depth,
) -> Result<Option<String>, Error> {
    let path = commit.manifest_path();
    let object = &commit.manifest;
    let mut stored = repository.stored_bytes(&path, object.bytes, &object.sha256);
    let mut data = repository.open_data(&path, object.bytes, &object.sha256);
    let work = move || match found.filter(|_| depth == Depth::Pages) {
        None => io::copy(&mut stored, &mut io::sink()).map(|_| None),
        Some(found) => {
            let mut tee = Remembering {
                stored: &mut data,
                failed: None,
            };
            let compared = found.compare(&mut tee);
            match (compared, tee.failed) {
                (_, Some(error)) => Err(error),
                (Ok((_, same)), None) => Ok(same.err()),
                (Err(error), None) => Ok(Some(error.to_string())),
            }
        }
    };
    let done = tokio::task::spawn_blocking(work).await;
    match done.expect("reading does not panic") {
        Ok(problem) => Ok(problem),
        Err(error) => judge(repository, &path, error).await.map(Some),
    }
}

/// Keeps the error of the store, which the manifest's reader only tells as text.
struct Remembering<'a> {
    stored: &'a mut dyn Read,
    failed: Option<io::Error>,
}

impl Read for Remembering<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.stored.read(into).inspect_err(|error| {
            let same = io::Error::new(error.kind(), error.to_string());
            self.failed = Some(same);
        })
    }
}

/// Says whether the WAL that makes the backup consistent is there, by the names of what is there.
async fn wal(repository: &Repository, commit: &Commit) -> Result<Option<String>, Error> {
    let listing = Listing::read(repository, &commit.cluster).await?;
    let coverage = listing.coverage(commit.server.segment_bytes);
    let (start, stop) = (commit.start, commit.stop);
    let covered = coverage
        .intervals(stop.timeline)
        .iter()
        .any(|interval| interval.from <= start.lsn && interval.to >= stop.lsn);
    Ok((!covered).then(|| {
        format!(
            "the WAL from {} to {} of timeline {} is not whole",
            start.lsn, stop.lsn, stop.timeline.0
        )
    }))
}

fn geometry(commit: &Commit) -> Geometry {
    let block_bytes = commit.server.block_bytes;
    Geometry {
        block_bytes,
        segment_blocks: RELATION_FILE_BYTES / block_bytes.max(1),
    }
}

fn rules(commit: &Commit) -> PageRules {
    PageRules {
        checksums: commit.server.data_checksums,
        start: commit.start.lsn,
    }
}
