//! Names: from collector and column to what Prometheus calls good practice, by rule and not by list.

use pawang_core::{Column, ColumnKind};

/// What every metric of ours begins with.
const PREFIX: &str = "pawang";
/// Labels that Pawang, Prometheus or the exposition format give a meaning to.
const RESERVED_LABELS: [&str; 6] = ["server", "instance", "job", "le", "quantile", "exported"];

/// How a number becomes one in a base unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Scale {
    /// It is one already.
    Same,
    /// Dividing is exact where multiplying by the inverse is not: 0.3 s, not 0.30000000000000004 s.
    Divide(f64),
    /// The unit is larger than the base unit.
    Multiply(f64),
}

/// A unit as the collectors write it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Unit {
    /// The base unit that ends the name; things that are merely counted have none.
    pub(crate) base: Option<&'static str>,
    pub(crate) scale: Scale,
    /// Endings of column names that say the same and make way for the base unit.
    endings: &'static [&'static str],
}

/// Returns what a collector's unit means in base units.
pub(crate) fn unit(unit: Option<&str>) -> Unit {
    const BYTES: &[&str] = &["_bytes", "_kb", "_mb", "_gb"];
    const SECONDS: &[&str] = &["_seconds", "_secs", "_ms", "_us", "_s"];
    const RATIO: &[&str] = &["_percent", "_ratio", "_pct"];
    let (base, scale, endings) = match unit.unwrap_or_default() {
        "bytes" | "B" => ("bytes", Scale::Same, BYTES),
        "kB" => ("bytes", Scale::Multiply(1024.0), BYTES),
        "MB" => ("bytes", Scale::Multiply(1_048_576.0), BYTES),
        "GB" => ("bytes", Scale::Multiply(1_073_741_824.0), BYTES),
        "s" => ("seconds", Scale::Same, SECONDS),
        "ms" => ("seconds", Scale::Divide(1e3), SECONDS),
        "us" => ("seconds", Scale::Divide(1e6), SECONDS),
        "ns" => ("seconds", Scale::Divide(1e9), SECONDS),
        "min" => ("seconds", Scale::Multiply(60.0), SECONDS),
        "h" => ("seconds", Scale::Multiply(3_600.0), SECONDS),
        "d" => ("seconds", Scale::Multiply(86_400.0), SECONDS),
        "percent" | "%" => ("ratio", Scale::Divide(100.0), RATIO),
        "per-second" => ("per_second", Scale::Same, &[] as &[&str]),
        _ => {
            return Unit {
                base: None,
                scale: Scale::Same,
                endings: &[],
            };
        }
    };
    Unit {
        base: Some(base),
        scale,
        endings,
    }
}

impl Scale {
    /// Returns the number in the base unit.
    pub(crate) fn apply(self, number: f64) -> f64 {
        match self {
            Scale::Same => number,
            Scale::Divide(by) => number / by,
            Scale::Multiply(by) => number * by,
        }
    }
}

/// Returns the name of a metric without `_total`: `pawang_<collector>_<column>_<unit>`.
///
/// What the name would say twice is said once, unless another column of the collector has the shorter name already.
pub(crate) fn base(collector: &str, column: &Column, columns: &[Column]) -> String {
    let collector = plain(collector);
    let unit = unit(column.unit.as_deref());
    let mut stem = plain(&column.name);
    let alone = |short: &str| columns.iter().all(|other| plain(&other.name) != short);
    let own = format!("{collector}_");
    stem = shorter(stem, |stem| stem.strip_prefix(own.as_str()), alone);
    if column.kind == ColumnKind::Counter {
        stem = shorter(stem, |stem| stem.strip_prefix("total_"), alone);
        stem = shorter(stem, |stem| stem.strip_suffix("_count"), alone);
    }
    let ending = |stem: &'_ str| {
        let ending = unit
            .endings
            .iter()
            .find(|ending| stem.ends_with(**ending))?;
        Some(stem.len() - ending.len())
    };
    stem = shorter(
        stem,
        |stem| ending(stem).map(|length| &stem[..length]),
        alone,
    );
    stem = shorter(stem, |stem| stem.strip_suffix("_total"), alone);
    if column.kind != ColumnKind::Counter {
        stem = without_reserved_ending(stem, column.unit.as_deref());
    }
    let stem = join_periods(&stem);
    match unit.base {
        Some(base) if stem != base => format!("{PREFIX}_{collector}_{stem}_{base}"),
        _ => format!("{PREFIX}_{collector}_{stem}"),
    }
}

/// Returns the name for an instant: `pawang_<collector>_<column>_timestamp_seconds`.
pub(crate) fn instant(collector: &str, column: &str) -> String {
    let stem = plain(column);
    let stem = ["_timestamp", "_time", "_at"]
        .iter()
        .find_map(|ending| stem.strip_suffix(ending))
        .unwrap_or(&stem);
    format!("{PREFIX}_{}_{stem}_timestamp_seconds", plain(collector))
}

/// Returns the name for a flag or a number without unit.
pub(crate) fn whole(collector: &str, column: &str) -> String {
    format!("{PREFIX}_{}_{}", plain(collector), plain(column))
}

/// Returns a label's name; one that means something else already is called `exported_...`, as Prometheus does.
pub(crate) fn label(column: &str, of_database: bool) -> String {
    let name = plain(column);
    let taken = RESERVED_LABELS.contains(&name.as_str())
        || name.starts_with('_')
        || name.starts_with(|first: char| first.is_ascii_digit())
        || of_database && name == "database";
    if taken {
        format!("exported_{}", name.trim_start_matches('_'))
    } else {
        name
    }
}

/// Returns a name of lower-case letters, digits and underscores.
pub(crate) fn plain(name: &str) -> String {
    name.chars()
        .map(|letter| match letter {
            'a'..='z' | '0'..='9' | '_' => letter,
            'A'..='Z' => letter.to_ascii_lowercase(),
            _ => '_',
        })
        .collect()
}

fn shorter(
    stem: String,
    cut: impl Fn(&str) -> Option<&str>,
    alone: impl Fn(&str) -> bool,
) -> String {
    match cut(&stem) {
        Some(short) if !short.is_empty() && alone(short) => short.to_owned(),
        _ => stem,
    }
}

/// `_count`, `_sum` and `_bucket` belong to histograms: `index_count` in indexes is `indexes`.
fn without_reserved_ending(stem: String, unit: Option<&str>) -> String {
    for ending in ["_count", "_sum", "_bucket"] {
        let Some(short) = stem.strip_suffix(ending) else {
            continue;
        };
        return match unit.map(plain) {
            Some(unit) if unit.starts_with(short) => unit,
            Some(_) => short.to_owned(),
            None => format!("{stem}_value"),
        };
    }
    stem
}

/// `some_10_s` reads as `some_10s`.
fn join_periods(stem: &str) -> String {
    let mut parts: Vec<String> = Vec::new();
    for part in stem.split('_') {
        match parts.last_mut() {
            Some(last) if part == "s" && last.bytes().all(|byte| byte.is_ascii_digit()) => {
                last.push('s');
            }
            _ => parts.push(part.to_owned()),
        }
    }
    parts.join("_")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, kind: ColumnKind, unit: &str) -> Column {
        Column {
            name: name.to_owned(),
            kind,
            unit: (!unit.is_empty()).then(|| unit.to_owned()),
        }
    }

    #[test]
    fn names_follow_collector_column_and_unit() {
        for line in [
            "tables n_dead_tup gauge rows pawang_tables_n_dead_tup",
            "tables size_bytes gauge bytes pawang_tables_size_bytes",
            "tables vacuum_count counter runs pawang_tables_vacuum",
            "tables index_count gauge indexes pawang_tables_indexes",
            "wal wal_bytes counter bytes pawang_wal_bytes",
            "database blk_read_time counter ms pawang_database_blk_read_time_seconds",
            "host-cpu user_ms counter ms pawang_host_cpu_user_seconds",
            "host-pressure some_10_s gauge percent pawang_host_pressure_some_10s_ratio",
            "host-pressure some_us counter us pawang_host_pressure_some_seconds",
            "statements total_exec_time counter ms pawang_statements_exec_time_seconds",
            "stats avg_xact_count gauge per-second pawang_stats_avg_xact_per_second",
            "my.Own Größe gauge kB pawang_my_own_gr__e_bytes",
        ] {
            let words: Vec<&str> = line.split(' ').collect();
            let kind = match words[2] {
                "gauge" => ColumnKind::Gauge,
                _ => ColumnKind::Counter,
            };
            let column = column(words[1], kind, words[3]);
            let name = base(words[0], &column, std::slice::from_ref(&column));
            assert_eq!(name, words[4]);
        }
    }

    #[test]
    fn a_shorter_name_that_is_taken_is_not_taken_again() {
        let columns = [
            column("time", ColumnKind::Counter, "ms"),
            column("total_time", ColumnKind::Counter, "ms"),
        ];
        assert_eq!(base("x", &columns[0], &columns), "pawang_x_time_seconds");
        assert_eq!(
            base("x", &columns[1], &columns),
            "pawang_x_total_time_seconds"
        );
    }

    #[test]
    fn labels_that_mean_something_else_are_exported() {
        assert_eq!(label("relname", true), "relname");
        assert_eq!(label("database", false), "database");
        assert_eq!(label("database", true), "exported_database");
        assert_eq!(label("__name__", false), "exported_name__");
        assert_eq!(label("1st", false), "exported_1st");
    }
}
