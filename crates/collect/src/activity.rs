//! Active-session history: many samples of the active sessions, folded into one snapshot before it is stored.
//!
//! Pure: the samples are taken by [`Observer::sample`](crate::Observer::sample).

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use pawang_core::{Column, Cost, Row, Snapshot, Timestamp, Value};

use crate::Catalog;

/// The collector whose snapshots are folded: one row per session that is active at one instant.
pub const SAMPLES: &str = "activity-samples";
/// The collector that the folded snapshot belongs to.
pub const HISTORY: &str = "activity-history";

/// `wait_event_type` of a session that works and waits for nothing.
pub const CPU: &str = "CPU";
/// `wait_event_type` of a session that holds a transaction open and does nothing.
pub const IDLE_IN_TRANSACTION: &str = "Idle in transaction";
/// Label of what is not among the most frequent.
pub const OTHER: &str = "other";

/// Rows of a folded snapshot, before the sums of the rest.
const ROWS_MAX: usize = 200;
/// Labels of a folded row, which come before its numbers.
const LABELS: usize = 8;
/// Which of the labels is `wait_event_type`.
const CLASS: usize = 5;

/// What tells folded rows apart, in the order of the declared labels.
type Labels = [Value; LABELS];

/// What is counted of one combination of labels.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Count {
    samples: i64,
    blocked: i64,
}

/// Adds up what was active in a period: collector `activity-history`.
///
/// `samples` are snapshots of `activity-samples`, one per instant that was looked at, empty ones included: the mean is
/// taken over all of them. There is always at least one row, that of `other`, so that an idle server reads as zero
/// and not as a gap. The cost is that of all the samples.
pub fn fold(samples: &[Arc<Snapshot>], at: Timestamp) -> Snapshot {
    let mut counts: HashMap<String, (Labels, Count)> = HashMap::new();
    let mut rest: BTreeMap<String, Count> = BTreeMap::new();
    rest.insert(OTHER.to_owned(), Count::default());
    for sample in samples {
        for row in sample.rows() {
            let labels = labels(row);
            let counted = &mut counts
                .entry(key(&labels))
                .or_insert((labels, Count::default()))
                .1;
            counted.samples += 1;
            counted.blocked += i64::from(row.text("wait_event_type") == Some("Lock"));
        }
        let seen = i64::try_from(sample.rows.len()).unwrap_or(i64::MAX);
        let total = sample.first().and_then(|row| row.int("total"));
        rest.entry(OTHER.to_owned()).or_default().samples += (total.unwrap_or(seen) - seen).max(0);
    }
    let mut counts: Vec<(String, (Labels, Count))> = counts.into_iter().collect();
    counts.sort_by(|(a, (_, x)), (b, (_, y))| y.samples.cmp(&x.samples).then_with(|| a.cmp(b)));
    for (_, (labels, count)) in counts.drain(counts.len().min(ROWS_MAX)..) {
        let class = labels[CLASS].as_text().unwrap_or(OTHER).to_owned();
        let rest = rest.entry(class).or_default();
        rest.samples += count.samples;
        rest.blocked += count.blocked;
    }
    let rest = rest
        .into_iter()
        .map(|(class, count)| (others(&class), count));
    let counted = counts.into_iter().map(|(_, counted)| counted);
    let rows: Vec<Vec<Value>> = counted
        .chain(rest)
        .map(|(labels, count)| folded(labels, count, samples.len()))
        .collect();
    let elapsed: Duration = samples.iter().map(|sample| sample.cost.elapsed).sum();
    Snapshot {
        collector: HISTORY.to_owned(),
        database: None,
        at,
        epoch: samples.last().and_then(|sample| sample.epoch.clone()),
        cost: Cost {
            elapsed,
            rows: rows.len(),
        },
        columns: columns(),
        rows,
    }
}

/// Returns the labels under which a sampled session is counted.
fn labels(row: Row<'_>) -> Labels {
    let text = |name: &str| match row.text(name) {
        Some(text) => Value::Text(text.into()),
        None => Value::Text("".into()),
    };
    let application = row.text("application_name").unwrap_or_default();
    let (class, event) = class(row);
    [
        text("datname"),
        text("usename"),
        Value::Text(without_digits(application).into()),
        text("backend_type"),
        text("state"),
        Value::Text(class.into()),
        Value::Text(event.into()),
        row.value("query_id").clone(),
    ]
}

/// Returns class and event of what a session waits for; holding a transaction open is a class of its own.
fn class(row: Row<'_>) -> (&str, &str) {
    let state = row.text("state").unwrap_or_default();
    if state.starts_with("idle in transaction") {
        return (IDLE_IN_TRANSACTION, "");
    }
    match row.text("wait_event_type") {
        Some(class) => (class, row.text("wait_event").unwrap_or_default()),
        None => (CPU, ""),
    }
}

/// Replaces each run of digits by `#`: names that carry a process or job number would be a new row every time.
fn without_digits(name: &str) -> String {
    let mut short = String::with_capacity(name.len());
    for character in name.chars() {
        match character {
            '0'..='9' if short.ends_with('#') => {}
            '0'..='9' => short.push('#'),
            other => short.push(other),
        }
    }
    short
}

fn key(labels: &Labels) -> String {
    let texts: Vec<String> = labels.iter().map(Value::to_string).collect();
    texts.join("\0")
}

fn others(class: &str) -> Labels {
    let mut labels: Labels = std::array::from_fn(|_| Value::Text(OTHER.into()));
    labels[CLASS] = Value::Text(class.into());
    labels[LABELS - 1] = Value::Null;
    labels
}

fn folded(labels: Labels, count: Count, instants: usize) -> Vec<Value> {
    let mean = match instants {
        0 => 0.0,
        instants => count.samples as f64 / instants as f64,
    };
    let numbers = [
        Value::Int(count.samples),
        Value::Float(mean),
        Value::Int(count.blocked),
    ];
    labels.into_iter().chain(numbers).collect()
}

/// Returns the columns that the catalogue declares, read once.
fn columns() -> Arc<[Column]> {
    static COLUMNS: OnceLock<Arc<[Column]>> = OnceLock::new();
    let columns = COLUMNS.get_or_init(|| {
        Catalog::built_in()
            .collector(HISTORY)
            .header
            .columns
            .clone()
    });
    Arc::clone(columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 10] = [
        "datname",
        "usename",
        "application_name",
        "backend_type",
        "state",
        "wait_event_type",
        "wait_event",
        "query_id",
        "blocked_by",
        "total",
    ];

    fn text(text: &str) -> Value {
        Value::Text(text.into())
    }

    /// A session of user `u` by application, state, class of wait and query.
    fn session(application: &str, state: &str, class: Option<&str>, query: i64) -> Vec<Value> {
        let class = class.map_or(Value::Null, text);
        let query = Value::Int(query);
        let who = ["db", "u", application, "client backend", state].map(text);
        let what = [class, text("e"), query, Value::Null, Value::Null];
        who.into_iter().chain(what).collect()
    }

    fn sample(rows: Vec<Vec<Value>>, total: usize) -> Arc<Snapshot> {
        let mut rows = rows;
        for row in &mut rows {
            row[9] = Value::Int(i64::try_from(total).unwrap());
        }
        let column = |name: &&str| Column {
            name: (*name).to_owned(),
            kind: pawang_core::ColumnKind::Info,
            unit: None,
        };
        Arc::new(Snapshot {
            collector: SAMPLES.to_owned(),
            database: None,
            at: "2026-01-01T00:00:00Z".parse().unwrap(),
            epoch: None,
            cost: Cost {
                elapsed: Duration::from_millis(1),
                rows: rows.len(),
            },
            columns: NAMES.iter().map(column).collect(),
            rows,
        })
    }

    /// Sums of `sessions` by class of wait.
    fn load(folded: &Snapshot) -> BTreeMap<String, f64> {
        let mut load = BTreeMap::new();
        for row in folded.rows() {
            let class = row.text("wait_event_type").unwrap().to_owned();
            *load.entry(class).or_insert(0.0) += row.float("sessions").unwrap();
        }
        load
    }

    fn at() -> Timestamp {
        "2026-01-01T00:00:10Z".parse().unwrap()
    }

    #[test]
    fn means_are_taken_over_all_instants_and_sum_up_to_the_load() {
        let busy = vec![
            session("app-17", "active", None, 1),
            session("app-4", "active", Some("Lock"), 1),
            session("app-5", "idle in transaction", Some("Client"), 1),
        ];
        let samples = [
            sample(busy.clone(), 3),
            sample(busy, 3),
            sample(vec![], 0),
            sample(vec![], 0),
        ];
        let folded = fold(&samples, at());
        let expected = [
            ("CPU", 0.5),
            (IDLE_IN_TRANSACTION, 0.5),
            ("Lock", 0.5),
            (OTHER, 0.0),
        ];
        let expected: BTreeMap<String, f64> = expected
            .into_iter()
            .map(|(class, load)| (class.to_owned(), load))
            .collect();
        assert_eq!(load(&folded), expected);
        assert_eq!(folded.cost.elapsed, Duration::from_millis(4));
        let lock = folded
            .rows()
            .find(|row| row.text("wait_event_type") == Some("Lock"))
            .unwrap();
        assert_eq!(
            (lock.int("samples"), lock.int("blocked")),
            (Some(2), Some(2))
        );
        assert_eq!(lock.text("application_name"), Some("app-#"));
        assert_eq!(lock.int("query_id"), Some(1));
    }

    #[test]
    fn an_idle_server_reads_as_zero_and_not_as_a_gap() {
        for samples in [vec![], vec![sample(vec![], 0)]] {
            let folded = fold(&samples, at());
            assert_eq!(load(&folded), BTreeMap::from([(OTHER.to_owned(), 0.0)]));
        }
    }

    #[test]
    fn rows_are_bounded_and_nothing_is_lost() {
        let many: Vec<_> = (0..1000)
            .map(|query| {
                let class = if query % 2 == 0 { "IO" } else { "LWLock" };
                session("a", "active", Some(class), query)
            })
            .collect();
        let folded = fold(&[sample(many, 1500)], at());
        assert!(folded.rows.len() <= ROWS_MAX + 3);
        let expected = [("IO", 500.0), ("LWLock", 500.0), (OTHER, 500.0)];
        let expected: BTreeMap<String, f64> = expected
            .into_iter()
            .map(|(class, load)| (class.to_owned(), load))
            .collect();
        assert_eq!(load(&folded), expected);
        let mut identities: Vec<_> = folded.rows().map(|row| row.labels()).collect();
        identities.sort();
        identities.dedup();
        assert_eq!(
            identities.len(),
            folded.rows.len(),
            "no two rows share their labels"
        );
    }

    #[test]
    fn names_that_carry_numbers_are_one_name() {
        for (name, expected) in [
            ("worker-17", "worker-#"),
            ("a1b22c", "a#b#c"),
            ("", ""),
            ("ünï 9", "ünï #"),
            ("#7", "#"),
        ] {
            assert_eq!(without_digits(name), expected);
        }
    }
}
