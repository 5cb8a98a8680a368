//! What Pawang says of the backups of an instance, per repository.

use std::collections::BTreeSet;

use pawang_core::backup::{BACKUP_PREFIX, DRILL_PREFIX, REPOSITORY_PREFIX};
use pawang_core::{Timestamp, Value};
use pawang_store::live::Present;

use crate::layout::Kind;
use crate::own::{Metric, seconds, sheet, text};
use crate::sheet::Sheet;

pub(crate) const BACKUPS: [Metric; 16] = [
    (
        "pawang_backup_repository_up",
        Kind::Gauge,
        None,
        "Whether the repository could be looked at.",
    ),
    (
        "pawang_backup_age_seconds",
        Kind::Gauge,
        Some("seconds"),
        "Time since the newest whole backup ended.",
    ),
    (
        "pawang_backups",
        Kind::Gauge,
        None,
        "Backups of the instance in the repository.",
    ),
    (
        "pawang_backup_proven_timestamp_seconds",
        Kind::Gauge,
        Some("seconds"),
        "When a restore last proved a backup.",
    ),
    (
        "pawang_backup_drill_passed",
        Kind::Gauge,
        None,
        "Whether the last restore that was tried as a drill succeeded.",
    ),
    (
        "pawang_backup_read_since_timestamp_seconds",
        Kind::Gauge,
        Some("seconds"),
        "Since when all stored bytes of backups and WAL were written, or read again and compared.",
    ),
    (
        "pawang_backup_rotten",
        Kind::Gauge,
        None,
        "Backups and segments of WAL whose stored bytes are not what was stored.",
    ),
    (
        "pawang_backup_rto_seconds",
        Kind::Gauge,
        Some("seconds"),
        "How long the last restore that proved a backup took until the server answered.",
    ),
    (
        "pawang_backup_recoverable_from_timestamp_seconds",
        Kind::Gauge,
        Some("seconds"),
        "The first moment that can be restored.",
    ),
    (
        "pawang_backup_recoverable_to_timestamp_seconds",
        Kind::Gauge,
        Some("seconds"),
        "The last moment that is known to be stored.",
    ),
    (
        "pawang_backup_wal_gaps",
        Kind::Gauge,
        None,
        "Stretches of WAL that are missing and that a kept backup needs.",
    ),
    (
        "pawang_backup_wal_durable_bytes",
        Kind::Gauge,
        Some("bytes"),
        "Position behind the newest WAL that is stored.",
    ),
    (
        "pawang_backup_wal_durable_timestamp_seconds",
        Kind::Gauge,
        Some("seconds"),
        "When the newest WAL was stored.",
    ),
    (
        "pawang_backup_repository_used_bytes",
        Kind::Gauge,
        Some("bytes"),
        "What the repository holds.",
    ),
    (
        "pawang_backup_repository_free_bytes",
        Kind::Gauge,
        Some("bytes"),
        "What is free where the repository lies; a bucket does not tell.",
    ),
    (
        "pawang_backup_repository_space_bytes",
        Kind::Gauge,
        Some("bytes"),
        "What the repository may hold at most, by the configuration.",
    ),
];

/// Says whether a collector's name is that of facts about one of our repositories, all of which `names` has, or about drills:
/// they have names of people, and are shown by [`of_backups`] alone.
pub(crate) fn is_of_repository(collector: &str, names: &BTreeSet<&str>) -> bool {
    let list = collector.strip_prefix(BACKUP_PREFIX);
    let listed = list.is_some_and(|name| {
        let about = format!("{REPOSITORY_PREFIX}{name}");
        names.contains(about.as_str())
    });
    listed || collector.starts_with(REPOSITORY_PREFIX) || collector.starts_with(DRILL_PREFIX)
}

/// Returns what is known of the backups of an instance; nothing where no repository holds any.
pub(crate) fn of_backups(present: &Present, now: Timestamp) -> Option<Sheet<'_>> {
    let rows = present.facts.sightings.iter().filter_map(|sighting| {
        let name = sighting.collector.strip_prefix(REPOSITORY_PREFIX)?;
        let row = sighting.seen.as_ref().ok().and_then(|seen| seen.first());
        let number = |column| row.map_or(Value::Null, |row| row.value(column).clone());
        let at = |column| seconds(row.and_then(|row| row.time(column)));
        let newest = row.and_then(|row| row.time("newest_backup_at"));
        let age = newest.map_or(Value::Null, |newest| {
            Value::Float(now.duration_since(newest).as_secs_f64().max(0.0))
        });
        Some(vec![
            text(name),
            Value::Bool(row.is_some()),
            age,
            number("backups"),
            at("proven_at"),
            number("drill_passed"),
            at("read_since"),
            row.map_or(Value::Null, |row| {
                let rotten = row.list("rotten").len();
                Value::Int(i64::try_from(rotten).unwrap_or(i64::MAX))
            }),
            number("rto_seconds"),
            at("recoverable_from"),
            at("recoverable_to"),
            number("gaps_needed"),
            number("durable_lsn"),
            at("durable_at"),
            number("used_bytes"),
            number("free_bytes"),
            number("space_bytes"),
        ])
    });
    let rows: Vec<Vec<Value>> = rows.collect();
    let server = Some(present.instance.name.as_str());
    (!rows.is_empty()).then(|| sheet(server, &["repository"], &BACKUPS, rows))
}
