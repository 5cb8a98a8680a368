//! What was known at one instant.

use std::collections::BTreeMap;
use std::sync::Arc;

use pawang_core::{Facts, Sighting, Snapshot, Timestamp};
use rusqlite::OptionalExtension;

use super::super::encode::{Torn, split};
use super::super::shelf::{Shelf, Stream, Stretch};
use super::super::writer::ServerFacts;
use crate::Error;

/// A snapshot answers for an instant for so many of its usual intervals.
const INTERVALS_MAX: i64 = 10;
/// And for so long, when its usual interval cannot be told.
const ALONE_MAX: i64 = 600_000_000;
/// And never for longer than a day, in which the first one is looked for.
const LOOK_BACK: i64 = 86_400_000_000;

/// Returns the newest snapshot of each target and collector at or before `at`.
pub(super) fn snapshots(
    shelf: &Shelf,
    streams: &[Stream],
    at: Timestamp,
) -> Result<Vec<Snapshot>, Error> {
    let mut newest: BTreeMap<(String, Option<String>), Snapshot> = BTreeMap::new();
    for stream in streams {
        let Some(snapshot) = snapshot(shelf, stream, at)? else {
            continue;
        };
        let key = (snapshot.collector.clone(), snapshot.database.clone());
        // Two versions of a collector's columns are two streams.
        if newest.get(&key).is_none_or(|known| known.at <= snapshot.at) {
            newest.insert(key, snapshot);
        }
    }
    Ok(newest.into_values().collect())
}

fn snapshot(shelf: &Shelf, stream: &Stream, at: Timestamp) -> Result<Option<Snapshot>, Error> {
    let (at, _) = split(at);
    let from = at.saturating_sub(LOOK_BACK);
    let mut stretches = shelf.sealed(stream.id, 0, from, at)?;
    stretches.extend(shelf.hot(stream.id)?);
    stretches.retain(|stretch| stretch.first_at <= at && stretch.to_at >= from);
    // Where the clock was set back, stretches overlap: the newest snapshot of all is the answer.
    stretches.sort_by_key(|stretch| std::cmp::Reverse(stretch.to_at.min(at)));
    let mut best: Option<(Snapshot, i64)> = None;
    for stretch in &stretches {
        if better_before(best.as_ref(), stretch) {
            break;
        }
        if let Some(found) = shelf.snapshot(stream, stretch, at)?
            && best.as_ref().is_none_or(|(known, _)| known.at < found.0.at)
        {
            best = Some(found);
        }
    }
    let Some((snapshot, interval)) = best else {
        return Ok(None);
    };
    let age = at - split(snapshot.at).0;
    let most = match interval {
        i64::MAX => ALONE_MAX,
        interval => interval.saturating_mul(INTERVALS_MAX).min(LOOK_BACK),
    };
    Ok((age <= most).then_some(snapshot))
}

/// Returns whether no snapshot of a stretch can be newer than the best known.
fn better_before(best: Option<&(Snapshot, i64)>, stretch: &Stretch) -> bool {
    best.is_some_and(|(known, _)| split(known.at).0 >= stretch.to_at)
}

/// Returns what was known of an instance at one time.
pub(super) fn facts(shelf: &Shelf, instance: &str, at: Timestamp) -> Result<Option<Facts>, Error> {
    let streams = shelf.streams(instance, None)?;
    let snapshots = snapshots(shelf, &streams, at)?;
    let Some((since, server)) = server(shelf, instance, at)? else {
        return Ok(None);
    };
    let newest = snapshots.iter().map(|snapshot| snapshot.at).max();
    Ok(Some(Facts {
        instance: server.instance,
        at: newest.unwrap_or(since).max(since),
        server: server.server,
        down: server.down,
        databases: server.databases,
        sightings: snapshots
            .into_iter()
            .map(|snapshot| Sighting {
                collector: snapshot.collector.clone(),
                database: snapshot.database.clone(),
                seen: Ok(Arc::new(snapshot)),
            })
            .collect(),
        notes: Vec::new(),
    }))
}

fn server(
    shelf: &Shelf,
    instance: &str,
    at: Timestamp,
) -> Result<Option<(Timestamp, ServerFacts)>, Error> {
    let (at, _) = split(at);
    let query = "SELECT at, facts FROM server WHERE instance = ?1 AND at <= ?2
                  ORDER BY at DESC LIMIT 1";
    let found: Option<(i64, Vec<u8>)> = shelf
        .connection
        .prepare_cached(query)
        .and_then(|mut query| {
            let row = query.query_row((instance, at), |row| Ok((row.get(0)?, row.get(1)?)));
            row.optional()
        })
        .map_err(|error| shelf.sql(error))?;
    let Some((since, blob)) = found else {
        return Ok(None);
    };
    let text = shelf.unpack(&blob)?;
    let facts = serde_json::from_slice(&text)
        .map_err(|_| shelf.torn(Torn("what a server said of itself is torn")))?;
    let since = super::join(since, 0).map_err(|torn| shelf.torn(torn))?;
    Ok(Some((since, facts)))
}
