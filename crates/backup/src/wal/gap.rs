//! Records of WAL that is known to be missing: found once, told for ever, until what is missing came after all.

use jiff::Timestamp;
use pawang_core::Lsn;
use serde::{Deserialize, Serialize};

use super::Timeline;
use crate::Error;
use crate::repository::{ClusterId, Created, Repository};

/// WAL that is known to be missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// The timeline.
    pub timeline: Timeline,
    /// The first position that is missing.
    pub from: Lsn,
    /// The position behind the last one.
    pub to: Lsn,
    /// When that was found, by the clock of whoever found it.
    pub found_at: Timestamp,
    /// Why, as far as is known.
    pub cause: String,
}

/// Writes a record; a gap that is known already keeps the record that it has.
///
/// # Errors
/// The store refused.
pub async fn record_gap(
    repository: &Repository,
    cluster: &ClusterId,
    gap: &Gap,
) -> Result<Created, Error> {
    let path = cluster.gap(gap.timeline, gap.from, gap.to);
    let json = serde_json::to_vec_pretty(gap).expect("a gap is JSON");
    match repository.create(&path, json.into()).await {
        Err(Error::Exists { .. }) => Ok(Created::Same),
        other => other,
    }
}

/// Reads all records of a cluster, in order of timeline and position.
///
/// # Errors
/// The store could not say, or a record cannot be read: what is missing must not be forgotten in silence.
pub async fn gaps(repository: &Repository, cluster: &ClusterId) -> Result<Vec<Gap>, Error> {
    let mut gaps = Vec::new();
    for entry in repository.list(&cluster.gaps()).await? {
        // It may be deleted in this moment, with the WAL around it.
        let Some(bytes) = repository.read(&entry.path).await? else {
            continue;
        };
        let gap: Gap = serde_json::from_slice(&bytes).map_err(|error| Error::Format {
            object: entry.path,
            place: repository.place().to_owned(),
            problem: error.to_string(),
        })?;
        gaps.push(gap);
    }
    gaps.sort_by_key(|gap| (gap.timeline, gap.from, gap.to));
    Ok(gaps)
}
