//! Cache, temporary files, I/O time.

mod cache;
mod health;
mod latency;
mod temporary;

use pawang_core::{Missing, Row};

use crate::{Check, View};

pub(crate) static CHECKS: &[Check] = &[
    cache::HIT_RATIO,
    cache::TURNOVER,
    cache::BACKEND_WRITES,
    cache::BACKEND_FSYNCS,
    cache::MAXWRITTEN,
    cache::SLRU,
    temporary::BYTES,
    temporary::FILES,
    temporary::SPACE,
    latency::READ,
    latency::WRITE,
    health::CHECKSUMS,
    health::PARALLEL,
    health::HUGE_PAGES,
];

/// Sums the growth of counters over the rows of pg_stat_io that `wanted` picks.
fn sum<const N: usize>(
    view: &View<'_>,
    wanted: impl Fn(&Row<'_>) -> bool,
    counters: [&str; N],
) -> Result<([f64; N], f64), Missing> {
    let growth = view.growth("io")?;
    let mut sums = [0.0; N];
    for (row, old) in growth.rows.iter().filter(|(row, _)| wanted(row)) {
        let Some(old) = *old else { continue };
        for (sum, name) in sums.iter_mut().zip(counters) {
            *sum += row.growth(old, name).unwrap_or(0.0);
        }
    }
    Ok((sums, growth.seconds))
}

/// Whether a row of pg_stat_io is about permanent relations.
fn of_relation(row: &Row<'_>) -> bool {
    row.text("object") == Some("relation")
}
