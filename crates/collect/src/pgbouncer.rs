//! PgBouncer's console.

use pawang_core::{Missing, Sighting, Timestamp};
use pawang_postgres::Target;

use crate::Collector;

/// Reads the wanted collectors of PgBouncer, or says why they cannot be read.
pub(crate) async fn observe(
    console: Option<&Target>,
    purpose: &str,
    wanted: &[&Collector],
    now: Timestamp,
) -> Vec<Sighting> {
    let _ = (console, purpose, now);
    let none = |collector: &&Collector| Sighting {
        collector: collector.name.clone(),
        database: None,
        seen: Err(Missing::NotApplicable(
            "no PgBouncer is configured".to_owned(),
        )),
    };
    wanted.iter().map(none).collect()
}
