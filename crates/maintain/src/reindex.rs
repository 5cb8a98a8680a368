//! Which indexes are built anew: by what a fresh one would give back, the biggest gain first; unused ones are told, not rebuilt.

use std::collections::HashMap;
use std::time::Duration;

use pawang_core::bloat::{PAGE_BYTES, Space, index_spaces};
use pawang_core::plan::{BuildRate, Cost, Left, Proposal, Relation, Task};
use pawang_core::{ByteSize, Facts, Missing, Row, Timestamp};

/// The collectors whose facts the planner needs.
pub(crate) const NEEDS: &[&str] = &["index-shape", "extended-statistics", "indexes"];

/// REINDEX CONCURRENTLY can corrupt an index before this version of 14: release notes of 14.4.
const SAFE_OF_14: u32 = 140_004;
/// Counters of scans that are younger than this tell nothing about use.
const USE_SECONDS_MIN: i64 = 14 * 86_400;
/// Bytes per second that a build is taken to read and write where nobody measured it: slow disks do twice as much, and at
/// worst it takes this many times longer.
const RATE: u64 = 20 << 20;
const RATE_WORST: u64 = 4;
/// Each of its three transactions waits for those of others at least so long.
const DURATION_MIN: Duration = Duration::from_secs(1);
/// A sorted build writes a little more ahead than the index has pages.
const WAL_SHARE: f64 = 1.05;

/// From when on an index is built anew.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Limits {
    /// Share of its size that a rebuild gives back.
    pub bloat_percent: f64,
    /// A smaller one is left alone.
    pub size_min: ByteSize,
    /// Whether its table is left alone whatever its bloat.
    pub skip: bool,
}

/// What the planner must be told besides facts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Surroundings {
    /// Free space where the indexes are, if known.
    pub free: Option<ByteSize>,
    /// How fast the server built indexes until now, where that is known.
    pub rate: Option<BuildRate>,
}

/// Something to be done, and what it gains.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Wanted {
    /// Bytes that it gives back.
    pub gain: ByteSize,
    /// What.
    pub proposal: Proposal,
}

/// Plans one database; `limits` tells those of a table named as `schema.table`.
///
/// # Errors
/// Why a collector saw nothing.
pub(crate) fn plan(
    facts: &Facts,
    database: &str,
    limits: &dyn Fn(&str) -> Limits,
    around: Surroundings,
    now: Timestamp,
) -> Result<(Vec<Wanted>, Vec<Left>), Missing> {
    let spaces = index_spaces(facts, database)?;
    let indexes = facts.snapshot("indexes", Some(database))?;
    let rows = indexes
        .rows()
        .filter_map(|row| Some((row.int("indexrelid")?, row)));
    let rows: HashMap<i64, Row<'_>> = rows.collect();
    let version = facts.server.as_ref().map_or(0, |server| server.version);
    let (mut wanted, mut left) = (Vec::new(), Vec::new());
    for space in &spaces {
        let table = format!("{}.{}", space.schema, space.table.as_deref().unwrap_or("?"));
        let limits = limits(&table);
        let row = rows.get(&i64::from(space.oid)).copied();
        match decide(space, row, &limits, version, around.free, now) {
            Decision::Build(gain) => wanted.push(build(space, row, gain, around)),
            Decision::Summarize => wanted.push(summarize(space)),
            Decision::Leave { why, blind } => left.push(Left {
                database: database.to_owned(),
                object: format!("{}.{}", space.schema, space.name),
                why,
                blind,
            }),
            Decision::Nothing => {}
        }
    }
    wanted.sort_by_key(|wanted| std::cmp::Reverse(wanted.gain));
    Ok((wanted, left))
}

#[derive(Debug, PartialEq)]
enum Decision {
    Build(ByteSize),
    Summarize,
    Leave { why: String, blind: bool },
    Nothing,
}

fn leave(why: impl Into<String>) -> Decision {
    Decision::Leave {
        why: why.into(),
        blind: false,
    }
}

fn decide(
    space: &Space,
    row: Option<Row<'_>>,
    limits: &Limits,
    version: u32,
    free: Option<ByteSize>,
    now: Timestamp,
) -> Decision {
    let flag = |name: &str| row.is_some_and(|row| row.flag(name) == Some(true));
    let not_valid = row.is_some_and(|row| row.flag("indisvalid") == Some(false));
    // What is not valid is no bloat: the planner of leftovers looks at it.
    if limits.skip || space.size < limits.size_min || not_valid {
        return Decision::Nothing;
    }
    if space.access_method.as_deref() == Some("brin") {
        return Decision::Summarize;
    }
    if let Some(decision) = unmeasured(space, limits) {
        return decision;
    }
    let (Some(percent), Some(gain)) = (space.percent(), space.waste.and_then(|waste| waste.likely))
    else {
        return Decision::Nothing;
    };
    if percent < limits.bloat_percent {
        return Decision::Nothing;
    }
    let told = format!("{percent:.0} % of {} is bloat", space.size);
    if let Some(unused) = row.and_then(|row| unused(row, now)) {
        return leave(format!(
            "{told}, and {unused}: drop it rather than rebuild it"
        ));
    }
    if space.schema == "pg_catalog" || space.schema == "information_schema" {
        return leave(format!(
            "{told}; indexes of system catalogs cannot be rebuilt CONCURRENTLY: REINDEX SYSTEM in a maintenance window"
        ));
    }
    if flag("indisexclusion") {
        return leave(format!(
            "{told}; it belongs to an exclusion constraint, which cannot be rebuilt CONCURRENTLY: REINDEX INDEX blocks writers"
        ));
    }
    if (140_000..SAFE_OF_14).contains(&version) {
        return leave(format!(
            "{told}; REINDEX CONCURRENTLY can corrupt indexes on PostgreSQL 14.0 to 14.3: upgrade to the newest 14 first"
        ));
    }
    if let Some(free) = free.filter(|free| *free < space.rebuilt()) {
        return leave(format!(
            "{told}; the new index needs up to {} and only {free} is free",
            space.rebuilt()
        ));
    }
    Decision::Build(gain)
}

/// Returns what becomes of an index whose bloat is not known as one number; of other methods than B-tree nothing is known.
fn unmeasured(space: &Space, limits: &Limits) -> Option<Decision> {
    let why = space.why_not.as_deref()?;
    let bounds = space.waste.map(|waste| {
        let percent = |bytes: ByteSize| 100.0 * bytes.0 as f64 / space.size.0.max(1) as f64;
        (percent(waste.least), percent(waste.most))
    });
    Some(match bounds {
        Some((_, most)) if most < limits.bloat_percent => Decision::Nothing,
        Some((least, most)) => leave(format!(
            "between {least:.0} % and {most:.0} % of {} is bloat: {why}",
            space.size
        )),
        None => Decision::Leave {
            why: format!(
                "{why}; pawang bloat indexes --exact measures what can be measured of {}",
                space.size
            ),
            blind: space.blind,
        },
    })
}

/// Says since when nobody used an index that nothing else needs; counters of standbys are not seen.
fn unused(row: Row<'_>, now: Timestamp) -> Option<String> {
    let needed = [
        "indisunique",
        "indisprimary",
        "indisexclusion",
        "indisreplident",
        "indisclustered",
    ];
    let needed = needed.iter().any(|name| row.flag(name) == Some(true));
    if needed || row.text("constraint_type").is_some() || row.int("idx_scan") != Some(0) {
        return None;
    }
    let since = row.time("stats_reset")?;
    let seconds = now.duration_since(since).as_secs();
    (seconds >= USE_SECONDS_MIN).then(|| {
        format!(
            "no query used it on this server in {} days (standbys may)",
            seconds / 86_400
        )
    })
}

fn relations(space: &Space) -> (Relation, Relation) {
    let relation = |oid: u32, name: &str| Relation {
        oid,
        schema: space.schema.clone(),
        name: name.to_owned(),
    };
    let table = space.table.as_deref().unwrap_or_default();
    (
        relation(space.oid, &space.name),
        relation(space.table_oid.unwrap_or_default(), table),
    )
}

fn build(space: &Space, row: Option<Row<'_>>, gain: ByteSize, around: Surroundings) -> Wanted {
    let (index, table) = relations(space);
    let waste = space.waste;
    let fresh = ByteSize(space.size.0.saturating_sub(gain.0));
    let range = waste.map_or_else(String::new, |waste| {
        format!("{} to {}", waste.least, waste.most)
    });
    let table_bytes = row.and_then(|row| row.float("table_pages"));
    let table_bytes = table_bytes.map(|pages| pages.max(0.0) as u64 * PAGE_BYTES);
    // A table whose size nobody told is taken to be as large as its index.
    let work = BuildRate::work(ByteSize(table_bytes.unwrap_or(space.size.0)), fresh);
    let (duration, bound) = duration(work, around.rate);
    let proposal = Proposal {
        database: space.database.clone(),
        task: Task::Reindex { index, table },
        reason: format!(
            "{:.0} % of {} is bloat: a fresh index has {fresh} and gives back {gain}",
            space.percent().unwrap_or(0.0),
            space.size
        ),
        evidence: vec![
            ("size".to_owned(), space.size.to_string()),
            ("given_back".to_owned(), range),
            ("needed_meanwhile".to_owned(), space.rebuilt().to_string()),
            (
                "free_space".to_owned(),
                around
                    .free
                    .map_or_else(|| "not known".to_owned(), |free| free.to_string()),
            ),
            ("longest".to_owned(), bound),
        ],
        cost: Cost {
            // CONCURRENTLY reads the table twice: to build, and to add what came meanwhile.
            read: table_bytes.map(|bytes| ByteSize(bytes * 2)),
            wal: Some(ByteSize((fresh.0 as f64 * WAL_SHARE) as u64)),
            disk: Some(space.rebuilt()),
            freed: Some(gain),
            duration: Some(duration),
        },
    };
    Wanted { gain, proposal }
}

/// Returns how long a build takes, and how much longer it may take, in words.
fn duration(work: ByteSize, rate: Option<BuildRate>) -> (Duration, String) {
    let at = |rate: u64| Duration::from_secs(work.0.div_ceil(rate.max(1))).max(DURATION_MIN);
    let words = |longest: Duration, rate: String| {
        format!(
            "{} s for {work} read and written {rate}, and as long as transactions older than it last",
            longest.as_secs()
        )
    };
    match rate {
        Some(rate) => {
            let told = format!(
                "at {}/s, the slowest of its last {} builds here (usual {}/s)",
                rate.slowest, rate.builds, rate.usual
            );
            (at(rate.usual.0), words(at(rate.slowest.0), told))
        }
        None => {
            let told = format!(
                "at {}/s, a quarter of the assumed {}/s: too few builds here to know",
                ByteSize(RATE / RATE_WORST),
                ByteSize(RATE)
            );
            (at(RATE), words(at(RATE / RATE_WORST), told))
        }
    }
}

fn summarize(space: &Space) -> Wanted {
    let (index, table) = relations(space);
    Wanted {
        gain: ByteSize(0),
        proposal: Proposal {
            database: space.database.clone(),
            task: Task::SummarizeBrin { index, table },
            reason: "a BRIN index has no bloat, but ranges that are not summarized are read whole by every scan".to_owned(),
            evidence: vec![("size".to_owned(), space.size.to_string())],
            cost: Cost::default(),
        },
    }
}

#[cfg(test)]
mod tests {
    use pawang_core::bloat::{SpaceKind, Waste};
    use pawang_core::{Column, ColumnKind, Value};

    use super::*;

    const LIMITS: Limits = Limits {
        bloat_percent: 40.0,
        size_min: ByteSize(1 << 20),
        skip: false,
    };

    fn space(method: &str, size_mb: u64, waste_mb: Option<u64>) -> Space {
        let mb = |mb: u64| ByteSize(mb << 20);
        Space {
            database: "sales".to_owned(),
            kind: SpaceKind::Index,
            oid: 9,
            schema: "dw".to_owned(),
            name: "fact_idx".to_owned(),
            table: Some("fact".to_owned()),
            table_oid: Some(8),
            access_method: Some(method.to_owned()),
            size: mb(size_mb),
            rows: Some(1e6),
            waste: waste_mb.map(|waste| Waste {
                least: mb(waste.saturating_sub(2)),
                likely: Some(mb(waste)),
                most: mb(waste + 2),
            }),
            why_not: None,
            blind: false,
        }
    }

    fn columns() -> Vec<Column> {
        let names = [
            "indisvalid",
            "indisunique",
            "indisprimary",
            "indisexclusion",
            "indisreplident",
            "indisclustered",
            "constraint_type",
            "idx_scan",
            "stats_reset",
            "table_pages",
        ];
        let column = |name: &str| Column {
            name: name.to_owned(),
            kind: ColumnKind::Info,
            unit: None,
        };
        names.into_iter().map(column).collect()
    }

    fn decide_with(
        space: &Space,
        change: &[(&str, Value)],
        version: u32,
        free: Option<u64>,
    ) -> Decision {
        let columns = columns();
        let now: Timestamp = "2026-11-20T00:00:00Z".parse().unwrap();
        let reset: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let values = columns.iter().map(|column| {
            let changed = change.iter().find(|(name, _)| *name == column.name);
            changed.map_or_else(
                || match column.name.as_str() {
                    "indisvalid" => Value::Bool(true),
                    "idx_scan" => Value::Int(5),
                    "stats_reset" => Value::Time(reset),
                    "constraint_type" => Value::Null,
                    "table_pages" => Value::Int(1000),
                    _ => Value::Bool(false),
                },
                |(_, value)| value.clone(),
            )
        });
        let snapshot = pawang_core::Snapshot {
            collector: "indexes".to_owned(),
            database: None,
            at: now,
            epoch: None,
            cost: pawang_core::Cost::default(),
            rows: vec![values.collect()],
            columns: columns.clone().into(),
        };
        let free = free.map(|mb| ByteSize(mb << 20));
        decide(space, snapshot.first(), &LIMITS, version, free, now)
    }

    fn why(decision: Decision) -> String {
        match decision {
            Decision::Leave { why, .. } => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_index_is_rebuilt_for_its_bloat_and_left_with_the_reason_where_that_is_not_safe() {
        let bloated = space("btree", 100, Some(60));
        let yes = || Value::Bool(true);
        assert_eq!(
            decide_with(&bloated, &[], 150_000, None),
            Decision::Build(ByteSize(60 << 20))
        );
        assert_eq!(
            decide_with(&space("btree", 100, Some(20)), &[], 150_000, None),
            Decision::Nothing
        );
        assert_eq!(
            decide_with(
                &bloated,
                &[("indisvalid", Value::Bool(false))],
                150_000,
                None
            ),
            Decision::Nothing
        );
        for (change, version, free, part) in [
            (vec![], 140_003, None, "14.0 to 14.3"),
            (
                vec![("indisexclusion", yes())],
                150_000,
                None,
                "exclusion constraint",
            ),
            (
                vec![("idx_scan", Value::Int(0))],
                150_000,
                None,
                "drop it rather than rebuild it",
            ),
            (vec![], 150_000, Some(10), "only 10.0 MB is free"),
        ] {
            let why = why(decide_with(&bloated, &change, version, free));
            assert!(why.contains(part), "{why}");
        }
        let unique = [("idx_scan", Value::Int(0)), ("indisunique", yes())];
        assert!(matches!(
            decide_with(&bloated, &unique, 140_004, None),
            Decision::Build(_)
        ));
        let mut catalog = bloated;
        catalog.schema = "pg_catalog".to_owned();
        assert!(why(decide_with(&catalog, &[], 150_000, None)).contains("system catalogs"));
    }

    #[test]
    fn other_methods_are_summarized_or_said_to_be_unknown() {
        assert_eq!(
            decide_with(&space("brin", 100, None), &[], 150_000, None),
            Decision::Summarize
        );
        let mut gin = space("gin", 100, None);
        gin.why_not =
            Some("how large a fresh gin index is cannot be told from statistics".to_owned());
        assert!(why(decide_with(&gin, &[], 150_000, None)).contains("gin"));
        gin.size = ByteSize(8192);
        assert_eq!(decide_with(&gin, &[], 150_000, None), Decision::Nothing);
    }

    #[test]
    fn how_long_a_build_takes_is_told_with_its_bound() {
        let work = BuildRate::work(ByteSize(900 << 20), ByteSize(100 << 20));
        let (usual, longest) = duration(work, None);
        assert_eq!(usual.as_secs(), 100);
        assert!(longest.starts_with("400 s for 1.9 GB"), "{longest}");
        let rate = BuildRate {
            usual: ByteSize(100 << 20),
            slowest: ByteSize(50 << 20),
            builds: 7,
        };
        let (usual, longest) = duration(work, Some(rate));
        assert_eq!(usual.as_secs(), 20);
        assert!(
            longest.starts_with("40 s") && longest.contains("last 7 builds"),
            "{longest}"
        );
        assert_eq!(duration(ByteSize(1), None).0, DURATION_MIN);
    }

    #[test]
    fn bounds_that_stay_below_the_limit_need_nobody() {
        let mut blurred = space("btree", 100, Some(10));
        blurred.why_not = Some("how the values repeat is not in the statistics".to_owned());
        assert_eq!(decide_with(&blurred, &[], 150_000, None), Decision::Nothing);
        blurred.waste = space("btree", 100, Some(70)).waste;
        assert!(why(decide_with(&blurred, &[], 150_000, None)).contains("between 68 % and 72 %"));
    }
}
