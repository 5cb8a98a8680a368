//! Cache, temporary files, I/O time.

mod cache;
mod health;
mod latency;
mod temporary;

use pawang_core::{Level, Missing, Row};

use crate::{Check, Observation, View};

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

/// Looks at the growth of every database; one whose statistics were reset in between was not seen, which is not ok.
fn per_database(
    view: &View<'_>,
    measure: impl Fn(Row<'_>, Row<'_>, f64) -> Option<Observation>,
) -> Result<Vec<Observation>, Missing> {
    let growth = view.growth("database")?;
    let before = view
        .older
        .and_then(|older| older.snapshot("database", None).ok())
        .map(|older| older.at);
    let observations = growth.rows.iter().filter_map(|(row, old)| {
        let object = format!("database \"{}\"", row.text("datname")?);
        let seen = match old {
            Some(old) => measure(*row, *old, growth.seconds)?,
            None if row.time("stats_reset") > before => Observation {
                value: f64::NAN,
                level: Some(Level::Unknown),
                title: "the statistics were reset between the two samples".to_owned(),
                since: row.time("stats_reset"),
                ..Observation::default()
            },
            // It was created since.
            None => return None,
        };
        Some(Observation { object, ..seen })
    });
    Ok(observations.collect())
}
