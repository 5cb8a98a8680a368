//! What must be true before a backup begins, asked of the server and of the repository.

use std::collections::BTreeSet;
use std::path::Path;

use pawang_core::{ByteSize, Kind, Report};
use pawang_postgres::Session;

use super::contact::Contact;
use super::cut::Geometry;
use super::{Progress, RELATION_FILE_BYTES, TakeRequest};
use crate::Error;
use crate::repository::{BackupId, ClusterId, Commit};
use crate::wal::Timeline;

/// So much of its estimated size a first backup needs at least: data rarely compress better than this.
const FIRST_SHARE: f64 = 0.2;
/// The major version whose base backups leave tablespaces in the data directory out.
const LEAVES_OUT_MAJOR: u32 = 15;
/// By how much a backup may be larger than the one before, relative to the data.
const GROWTH: f64 = 1.1;

/// PostgreSQL can be built with pages of so many bytes.
const BLOCK_BYTES_MIN: u32 = 1 << 10;
const BLOCK_BYTES_MAX: u32 = 32 << 10;

/// What is known of the server before the backup begins.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) cluster: ClusterId,
    /// `server_version_num`.
    pub(super) version: u32,
    pub(super) timeline: Timeline,
    pub(super) standby: bool,
    pub(super) data_checksums: bool,
    pub(super) segment_bytes: u32,
    pub(super) geometry: Geometry,
    /// The backups that the repository has of this cluster.
    pub(super) commits: Vec<Commit>,
}

/// Asks the server and the repository, and refuses what cannot become a backup.
pub(super) async fn look(
    request: &TakeRequest,
    contact: &mut Contact,
    observe: &mut (dyn FnMut(Progress) + Send),
) -> Result<Known, Error> {
    let server = contact.identify().await?;
    let cluster = ClusterId {
        system_identifier: server.system_identifier,
        major: server.version / 10_000,
    };
    let wal_level = contact.show("wal_level").await?;
    if wal_level == "minimal" {
        let report = Report::new(Kind::Refused, "\"wal_level\" is \"minimal\"")
            .with_detail("WAL of that level cannot bring a backup into a consistent state")
            .with_hint("ALTER SYSTEM SET wal_level = 'replica', then restart the server");
        return Err(Error::Refused(Box::new(report)));
    }
    let size = async |contact: &mut Contact, name: &str| {
        let text = contact.show(name).await?;
        let size: Option<u32> = text
            .parse()
            .ok()
            .and_then(|ByteSize(bytes)| u32::try_from(bytes).ok());
        size.filter(|bytes| *bytes > 0)
            .ok_or_else(|| Error::Incomplete {
                address: contact.address().to_owned(),
                problem: format!("its \"{name}\" is \"{text}\""),
            })
    };
    let block_bytes = size(contact, "block_size").await?;
    let file_bytes = size(contact, "segment_size").await?;
    let segment_bytes = size(contact, "wal_segment_size").await?;
    let geometry = geometry(block_bytes, file_bytes)?;
    let data_checksums = contact.show("data_checksums").await? == "on";
    if !data_checksums {
        observe(Progress::Note(
            "data checksums are off: damage of pages is seen only where it breaks their headers"
                .to_owned(),
        ));
    }
    left_out(request, cluster.major).await?;
    // One that cannot be read keeps nobody from taking another.
    let (commits, _) = request.repository.readable_backups(&cluster).await?;
    other_identity(request, &cluster, &commits).await?;
    too_much(request).await?;
    Ok(Known {
        cluster,
        version: server.version,
        timeline: server.timeline,
        standby: server.standby,
        data_checksums,
        segment_bytes,
        geometry,
        commits,
    })
}

/// Returns how the files of relations are made up; refuses what could be taken, but neither be verified nor put together again.
fn geometry(block_bytes: u32, file_bytes: u32) -> Result<Geometry, Error> {
    let known = (BLOCK_BYTES_MIN..=BLOCK_BYTES_MAX).contains(&block_bytes);
    if known && block_bytes.is_power_of_two() && file_bytes == RELATION_FILE_BYTES {
        return Ok(Geometry {
            block_bytes,
            segment_blocks: file_bytes / block_bytes,
        });
    }
    let built = format!(
        "the server was built with pages of {} and files of {}",
        ByteSize(block_bytes.into()),
        ByteSize(file_bytes.into())
    );
    let report = Report::new(Kind::Refused, built)
        .with_detail(format!(
            "backups are for pages of {} to {}, and files of {}",
            ByteSize(BLOCK_BYTES_MIN.into()),
            ByteSize(BLOCK_BYTES_MAX.into()),
            ByteSize(RELATION_FILE_BYTES.into())
        ))
        .with_hint(
            "SELECT name, setting FROM pg_settings WHERE name IN ('block_size', 'segment_size')",
        );
    Err(Error::Refused(Box::new(report)))
}

/// Refuses what PostgreSQL 15 would leave out in silence: tablespaces that a developer's setting put into the data directory.
async fn left_out(request: &TakeRequest, major: u32) -> Result<(), Error> {
    const SQL: &str = "\
SELECT t.spcname::pg_catalog.text
  FROM pg_catalog.pg_tablespace AS t
 WHERE pg_catalog.pg_tablespace_location(t.oid) LIKE 'pg_tblspc/%'";
    if major != LEAVES_OUT_MAJOR {
        return Ok(());
    }
    let Ok(session) = Session::connect(&request.target, "backup").await else {
        return Ok(());
    };
    let rows = session.read(SQL).await?;
    let Some(name) = rows.rows.first().and_then(|row| row.first()?.as_text()) else {
        return Ok(());
    };
    let report = Report::new(
        Kind::Refused,
        format!("tablespace \"{name}\" lies in the data directory"),
    )
    .with_detail("PostgreSQL 15 leaves such tablespaces out of base backups")
    .with_hint("move what is in it with ALTER TABLE ... SET TABLESPACE, then drop it");
    Err(Error::Refused(Box::new(report)))
}

/// Refuses a server under the name of an instance that was another cluster so far (invariant I7), also where the repository
/// knows that cluster by another name.
///
/// The newest backup under a name says which cluster it is: that of a server that was promoted is the same.
async fn other_identity(
    request: &TakeRequest,
    cluster: &ClusterId,
    commits: &[Commit],
) -> Result<(), Error> {
    if request.new_identity {
        return Ok(());
    }
    let own = |commit: &&Commit| commit.server.instance == request.instance;
    let own_here = commits.iter().filter(own);
    let here = own_here.map(|commit| &commit.backup).max();
    for other in request.repository.clusters().await? {
        if other == *cluster {
            continue;
        }
        let later = request.repository.readable_backups_after(&other, here);
        let (commits, _) = later.await?;
        let Some(last) = commits.iter().rfind(own) else {
            continue;
        };
        let report = Report::new(
            Kind::Refused,
            format!("\"{}\" is not the server that it was", request.instance),
        )
        .with_detail(format!(
            "the repository holds its backup {} of PostgreSQL {} with system identifier {}, and this is PostgreSQL {} with {}",
            last.backup,
            other.major,
            other.system_identifier,
            cluster.major,
            cluster.system_identifier
        ))
        .with_hint(format!(
            "pawang backup create -i {} --new-identity, after an upgrade or a new initdb",
            request.instance
        ));
        return Err(Error::Refused(Box::new(report)));
    }
    Ok(())
}

/// Refuses when the repository holds as much as it may.
async fn too_much(request: &TakeRequest) -> Result<(), Error> {
    let Some(space) = request.space else {
        return Ok(());
    };
    let repository = &request.repository;
    let used = ByteSize(repository.bytes().await?);
    match full(repository.place(), used, space) {
        Some(report) => Err(Error::Refused(Box::new(report))),
        None => Ok(()),
    }
}

/// Says why no backup is begun in a repository that holds as much as it may.
pub fn full(repository: &str, used: ByteSize, space: ByteSize) -> Option<Report> {
    (used >= space).then(|| {
        let what = format!("repository \"{repository}\" holds as much as it may");
        Report::new(Kind::Refused, what)
            .with_detail(format!("{used} of {space}, its key \"space\""))
            .with_hint("pawang backup expire --dry-run")
    })
}

/// Tells of backups that were begun and not finished; they are none, and nothing of them is used.
pub(super) async fn unfinished(
    request: &TakeRequest,
    known: &Known,
    observe: &mut (dyn FnMut(Progress) + Send),
) -> Result<(), Error> {
    let entries = request.repository.list(&known.cluster.backups()).await?;
    let prefix = known.cluster.backups();
    let folders = entries.iter().filter_map(|entry| {
        let path = entry.path.strip_prefix(&prefix)?.strip_prefix('/')?;
        path.split('/').next()?.parse().ok()
    });
    let folders: BTreeSet<BackupId> = folders.collect();
    let mut names = Vec::new();
    for id in &folders {
        let finished = known.commits.iter().any(|commit| commit.backup == *id);
        // Another backup may have ended since the commits were read.
        let commit = match finished {
            true => continue,
            false => request.repository.commit(&known.cluster, id).await,
        };
        match commit {
            Ok(None) => names.push(id.as_str()),
            // One that cannot be read is there, and whoever looks after backups is told of it.
            Ok(Some(_)) | Err(Error::Format { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    if !names.is_empty() {
        observe(Progress::Note(format!(
            "begun and never finished: {} (pawang backup expire removes what they left)",
            names.join(", ")
        )));
    }
    Ok(())
}

/// Refuses when the repository is a directory that cannot take what comes.
pub(super) fn space(request: &TakeRequest, known: &Known, estimate: ByteSize) -> Result<(), Error> {
    let folder = Path::new(request.repository.place());
    if !folder.is_absolute() {
        return Ok(());
    }
    let status = rustix::fs::statvfs(folder).map_err(|source| Error::File {
        doing: "measure",
        path: folder.to_owned(),
        source: source.into(),
    })?;
    let free = status.f_bavail.saturating_mul(status.f_frsize);
    let share = known.commits.iter().rev().find_map(|commit| {
        let stored: u64 = commit.parts.iter().map(|part| part.bytes).sum();
        let raw: u64 = commit.parts.iter().map(|part| part.raw_bytes).sum();
        (raw > 0).then(|| GROWTH * stored as f64 / raw as f64)
    });
    let needed = ByteSize((share.unwrap_or(FIRST_SHARE) * estimate.0 as f64) as u64);
    if free >= needed.0 {
        return Ok(());
    }
    let report = Report::new(
        Kind::Refused,
        format!(
            "repository {} has not enough space",
            request.repository.place()
        ),
    )
    .with_detail(format!(
        "{} are free, and a backup of {estimate} needs about {needed}",
        ByteSize(free)
    ))
    .with_hint("pawang backup expire --dry-run");
    Err(Error::Refused(Box::new(report)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_pages_are_known_and_other_files_refused() {
        const GIGABYTE: u32 = 1 << 30;
        for (block_bytes, file_bytes, segment_blocks) in [
            (8192, GIGABYTE, Some(131_072)),
            (1024, GIGABYTE, Some(1 << 20)),
            (32_768, GIGABYTE, Some(32_768)),
            (8192, 2 * GIGABYTE, None),
            (8192, GIGABYTE / 2, None),
            (65_536, GIGABYTE, None),
            (3000, GIGABYTE, None),
            (512, GIGABYTE, None),
        ] {
            let found = geometry(block_bytes, file_bytes);
            let found = found.map_err(|error| error.report());
            match segment_blocks {
                Some(blocks) => assert_eq!(found.unwrap().segment_blocks, blocks),
                None => assert_eq!(found.unwrap_err().kind, Kind::Refused),
            }
        }
    }
}
