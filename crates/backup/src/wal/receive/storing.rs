//! From the spool into the repositories: whole segments, and pieces of the one that grows.

use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;

use super::super::SegmentName;
use super::super::frame::content_digest;
use super::super::push::{LEVEL, push};
use super::begin::blocking;
use super::spool::{self, Spool};
use crate::Error;
use crate::repository::{ClusterId, Repository};

/// A piece holds so much at most, so that few bytes are in memory at a time.
pub(super) const PIECE_BYTES_MAX: u64 = 4 << 20;

/// Something on its way into the repositories.
pub(super) type Storing = Pin<Box<dyn Future<Output = Stored> + Send>>;

/// What became of it.
pub(super) enum Stored {
    /// A whole segment; when it is stored, maybe its pieces could not be removed.
    Whole(SegmentName, Result<Option<Error>, Error>),
    /// A piece, and where in the segment it ends.
    Piece(SegmentName, Result<u64, Error>),
}

/// Stores a whole segment everywhere, and then takes it out of the spool.
pub(super) fn whole(
    repositories: &[Repository],
    cluster: ClusterId,
    spool: Arc<Spool>,
    name: SegmentName,
) -> Storing {
    let repositories = repositories.to_vec();
    Box::pin(async move {
        let path = spool.whole(&name);
        if let Err(error) = push(&repositories, &cluster, &path, LEVEL).await {
            return Stored::Whole(name, Err(error));
        }
        let mut problem = None;
        for repository in &repositories {
            if let Err(error) = remove_pieces(repository, &cluster, &name).await {
                problem = Some(error);
            }
        }
        let removed = blocking(move || spool.remove(&path)).await;
        Stored::Whole(name, removed.map(|()| problem))
    })
}

/// Stores the begin of a range of a growing segment everywhere.
pub(super) fn piece(
    repositories: &[Repository],
    cluster: ClusterId,
    spool: Arc<Spool>,
    name: SegmentName,
    range: Range<u64>,
) -> Storing {
    let repositories = repositories.to_vec();
    Box::pin(async move {
        let stored = store_piece(&repositories, cluster, spool, name, range).await;
        Stored::Piece(name, stored)
    })
}

/// Stores the begin of a range of a growing segment everywhere, and returns where that ends.
pub(super) async fn store_piece(
    repositories: &[Repository],
    cluster: ClusterId,
    spool: Arc<Spool>,
    name: SegmentName,
    range: Range<u64>,
) -> Result<u64, Error> {
    let from = range.start;
    let to = range.end.min(from + PIECE_BYTES_MAX);
    let frame = blocking(move || {
        let path = spool.partial(&name);
        let bytes = spool::read(&path, from, to)?;
        zstd::bulk::compress(&bytes, LEVEL)
            .map_err(|source| spool::failed("compress", &path, source))
    })
    .await?;
    let frame = Bytes::from(frame);
    let [start, end] = [from, to].map(|byte| u32::try_from(byte).unwrap_or(u32::MAX));
    for repository in repositories {
        let path = cluster.live(&name, start, end);
        let created = repository.create_data(&path, frame.clone(), content_digest);
        created.await?;
    }
    Ok(to)
}

/// Removes the pieces of a segment, which is stored whole.
pub(super) async fn remove_pieces(
    repository: &Repository,
    cluster: &ClusterId,
    name: &SegmentName,
) -> Result<(), Error> {
    let prefix = format!("{}/{name}.", cluster.live_folder(name.timeline));
    let listed = repository.list(&cluster.live_folder(name.timeline)).await?;
    for entry in listed
        .iter()
        .filter(|entry| entry.path.starts_with(&prefix))
    {
        repository.delete(&entry.path).await?;
    }
    Ok(())
}
