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
