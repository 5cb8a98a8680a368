//! Measures the history: bytes per sample, samples per second, queries, memory, and two years by extrapolation.
//!
//! Run it with `cargo run --release -p pawang-store --example history_bench [targets]`; it prints a Markdown table. With
//! `openmetrics FILE` it writes a tenth of the workload for `promtool tsdb create-blocks-from openmetrics`. The
//! workload is one target for 24 hours, one sample a minute: 500 tables x 20 counters, 1,000 indexes x 5, 500
//! statements x 15 with churn, 200 singletons; about 82 % of the samples do not change.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench that stops says where, and prints"
)]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pawang_core::{
    Blind, Column, ColumnKind, Cost, Epoch, Facts, Instance, Sighting, Snapshot, Timestamp, Value,
};
use pawang_store::Store;
use pawang_store::history::{
    Fold, GrowthQuery, Reader, Retention, Rows, SeriesQuery, Span, Writer,
};

const START: i64 = 1_759_968_000;
const DAY: i64 = 86_400;
const KEPT: Retention = Retention {
    raw: Duration::from_hours(10_000),
    minute: Duration::from_hours(100_000),
    ten_minutes: Duration::from_hours(100_000),
    bytes: u64::MAX,
};

/// A cheap generator of numbers that look random.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// A collector whose rows live.
struct Simulated {
    name: &'static str,
    columns: Arc<[Column]>,
    labels: usize,
    rows: Vec<Row>,
    /// Seconds between samples; what happens in a minute does not depend on them.
    interval: u64,
    /// Rows replaced by new ones at each sample.
    churn: usize,
    /// Every how many samples an ordinary row changes.
    idle: u64,
    born: i64,
}

struct Row {
    values: Vec<Value>,
    /// Changes at every so many samples.
    every: u64,
    /// Growth of each counter when it changes.
    scale: Vec<u64>,
}

impl Simulated {
    fn new(
        name: &'static str,
        count: usize,
        labels: &[&str],
        numbers: usize,
        kind: ColumnKind,
        (churn, idle, interval): (usize, u64, u64),
        random: &mut Random,
    ) -> Simulated {
        let column = |name: String, kind| Column {
            name,
            kind,
            unit: None,
        };
        let labelled = labels
            .iter()
            .map(|name| column((*name).to_owned(), ColumnKind::Label));
        let numbered = (0..numbers).map(|number| column(format!("column_{number}"), kind));
        let mut simulated = Simulated {
            name,
            columns: labelled.chain(numbered).collect(),
            labels: labels.len(),
            rows: Vec::new(),
            interval,
            churn,
            idle,
            born: 0,
        };
        for _ in 0..count {
            let row = simulated.birth(random);
            simulated.rows.push(row);
        }
        simulated
    }

    fn birth(&mut self, random: &mut Random) -> Row {
        self.born += 1;
        let labels = (0..self.labels)
            .map(|label| Value::Text(format!("{}_{label}_{}", self.name, self.born).into()));
        let numbers = self.columns.len() - self.labels;
        let start: Vec<Value> = (0..numbers)
            .map(|_| Value::Int(random.below(1 << 30) as i64))
            .collect();
        let every = match random.below(10) {
            0 => 1,
            1 | 2 => 5 * 60 / self.interval,
            _ => self.idle * 60 / self.interval,
        };
        Row {
            values: labels.chain(start).collect(),
            every,
            scale: (0..numbers).map(|_| 1 << random.below(17)).collect(),
        }
    }

    fn sample(&mut self, at: Timestamp, random: &mut Random) -> Snapshot {
        for _ in 0..self.churn {
            let place = random.below(self.rows.len() as u64) as usize;
            self.rows[place] = self.birth(random);
        }
        let labels = self.labels;
        for row in &mut self.rows {
            if random.below(row.every) != 0 {
                continue;
            }
            for (value, scale) in row.values[labels..].iter_mut().zip(&row.scale) {
                if let Value::Int(number) = value
                    && random.below(10) != 0
                {
                    *number += (scale + random.below(1 + scale / 2)) as i64;
                }
            }
        }
        Snapshot {
            collector: self.name.to_owned(),
            database: None,
            at,
            epoch: Some(Epoch {
                system_identifier: 7_000_000_000_000_000_001,
                timeline: 1,
                started_at: Timestamp::from_second(START).unwrap(),
            }),
            cost: Cost {
                elapsed: Duration::from_millis(2 + random.below(3)),
                rows: self.rows.len(),
            },
            columns: Arc::clone(&self.columns),
            rows: self.rows.iter().map(|row| row.values.clone()).collect(),
        }
    }
}

/// The workload of one target; `share` of it.
fn target(random: &mut Random, share: usize, interval: u64) -> Vec<Simulated> {
    use ColumnKind::{Counter, Gauge};
    let mut all = vec![
        Simulated::new(
            "tables",
            500 / share,
            &["schemaname", "relname"],
            20,
            Counter,
            (0, 200, interval),
            random,
        ),
        Simulated::new(
            "indexes",
            1_000 / share,
            &["relname", "indexrelname"],
            5,
            Counter,
            (0, 200, interval),
            random,
        ),
    ];
    if share == 1 {
        all.push(Simulated::new(
            "statements",
            500,
            &["datname", "queryid"],
            15,
            Counter,
            (2, 4, interval),
            random,
        ));
        for name in [
            "wal",
            "bgwriter",
            "checkpointer",
            "archiver",
            "host-load",
            "host-memory",
            "host-disk",
            "slru",
            "recovery",
            "session-limits",
        ] {
            all.push(Simulated::new(
                name,
                1,
                &["name"],
                20,
                Gauge,
                (0, 2, interval),
                random,
            ));
        }
    }
    all
}

fn facts(instance: &str, at: Timestamp, snapshots: Vec<Snapshot>) -> Facts {
    Facts {
        instance: Instance {
            name: instance.to_owned(),
            ..Instance::default()
        },
        at,
        server: Err(Blind::FirstSample),
        down: None,
        databases: Vec::new(),
        sightings: snapshots
            .into_iter()
            .map(|snapshot| Sighting {
                collector: snapshot.collector.clone(),
                database: None,
                seen: Ok(Arc::new(snapshot)),
            })
            .collect(),
        notes: Vec::new(),
    }
}

/// CPU time of this process, and resident memory now and at most, from `/proc`.
fn cpu() -> f64 {
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap();
    text.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e9
}

fn memory(field: &str) -> f64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<f64>()
        .unwrap()
        / 1024.0
}

#[derive(Default)]
struct Written {
    samples: u64,
    unchanged: u64,
    append: f64,
    tend: f64,
}

/// Writes a day of `targets` targets, one sample each `interval` seconds.
fn write(store: &Store, targets: usize, share: usize, interval: i64) -> (Written, Writer) {
    let mut random = Random(0x5eed_1234_5678_9abc);
    let mut writer = store.writer().unwrap();
    let mut all: Vec<(String, Vec<Simulated>)> = (0..targets)
        .map(|number| {
            (
                format!("dwh-{number}"),
                target(&mut random, share, interval.unsigned_abs()),
            )
        })
        .collect();
    let mut written = Written::default();
    let mut before: Vec<Vec<Value>> = Vec::new();
    for step in 0..DAY / interval {
        let at = Timestamp::from_second(START + step * interval).unwrap();
        let round: Vec<Facts> = all
            .iter_mut()
            .map(|(name, simulated)| {
                let snapshots = simulated.iter_mut().map(|one| one.sample(at, &mut random));
                facts(name, at, snapshots.collect())
            })
            .collect();
        let snapshots = || round.iter().flat_map(|facts| &facts.sightings);
        for sighting in snapshots() {
            let snapshot = sighting.seen.as_ref().unwrap();
            let numbers = snapshot.rows.iter().flatten();
            written.samples += numbers
                .filter(|value| matches!(value, Value::Int(_)))
                .count() as u64;
        }
        if targets == 1 {
            let now: Vec<Vec<Value>> = snapshots()
                .flat_map(|one| one.seen.as_ref().unwrap().rows.clone())
                .collect();
            let pairs = now.iter().flatten().zip(before.iter().flatten());
            let same = pairs.filter(|(new, old)| matches!(new, Value::Int(_)) && new == old);
            written.unchanged += same.count() as u64;
            before = now;
        }
        let start = cpu();
        for facts in &round {
            writer.append(facts).unwrap();
        }
        writer.commit().unwrap();
        written.append += cpu() - start;
        let start = cpu();
        while writer.tend(&KEPT, at).unwrap().more {}
        written.tend += cpu() - start;
    }
    (written, writer)
}

fn row(what: &str, value: String, goal: &str) {
    println!("| {what} | {value} | {goal} |");
}

fn query(name: &str, goal: &str, mut ask: impl FnMut() -> usize) {
    ask();
    let times = 5;
    let start = cpu();
    let mut answered = 0;
    for _ in 0..times {
        answered = ask();
    }
    let spent = (cpu() - start) / f64::from(times) * 1e3;
    row(
        name,
        format!("{spent:.1} ms CPU ({answered} answers)"),
        goal,
    );
}

fn queries(reader: &Reader, when: &str) {
    let end = Timestamp::from_second(START + DAY - 60).unwrap();
    let span = |seconds: i64| Span {
        from: Timestamp::from_second(START + DAY - 60 - seconds).unwrap(),
        to: end,
    };
    let series = SeriesQuery {
        instance: "dwh-0",
        collector: "tables",
        database: None,
        columns: &["column_3"],
        rows: Rows::All,
        fold: Fold::SumBy(&[]),
        span: span(DAY - 60),
        step: Some(Duration::from_secs(300)),
    };
    let one = [vec!["tables_0_7".to_owned(), "tables_1_7".to_owned()]];
    let goal = "below 20 ms";
    query(
        &format!("q1 last value of every series, {when}"),
        goal,
        || {
            let facts = reader.facts_at("dwh-0", end).unwrap().unwrap();
            facts
                .sightings
                .iter()
                .map(|one| one.seen.as_ref().unwrap().rows.len())
                .sum()
        },
    );
    query(&format!("q2 one series over 24 h, {when}"), goal, || {
        let one = SeriesQuery {
            rows: Rows::Only(&one),
            fold: Fold::Each,
            step: None,
            ..series
        };
        reader.series(&one).unwrap()[0].points.len()
    });
    query(
        &format!("q3 growth of all tables over an hour, {when}"),
        goal,
        || {
            let growth = GrowthQuery {
                instance: "dwh-0",
                collector: "tables",
                database: None,
                columns: &["column_3"],
                span: span(3600),
            };
            reader.growth(&growth).unwrap().len()
        },
    );
    query(
        &format!("q4 sum of 500 rates over 24 h in 5 min, {when}"),
        goal,
        || reader.series(&series).unwrap()[0].points.len(),
    );
    charts(reader, when, &series);
}

fn charts(reader: &Reader, when: &str, series: &SeriesQuery<'_>) {
    query(
        &format!("500 series of 24 h in 5 min, {when}"),
        "below 50 ms",
        || {
            reader
                .series(&SeriesQuery {
                    fold: Fold::Each,
                    ..*series
                })
                .unwrap()
                .len()
        },
    );
    query(&format!("changes of a day, {when}"), "cheap", || {
        reader
            .changes("dwh-0", "tables", series.span, 100)
            .unwrap()
            .len()
    });
}

/// Bytes on disk of samples, one-minute and ten-minute values.
fn sizes(path: &Path) -> [f64; 3] {
    let connection = rusqlite::Connection::open(path).unwrap();
    [0, 60, 600].map(|resolution| {
        let query = "SELECT coalesce(sum(bytes), 0) FROM segment WHERE resolution = ?1";
        connection
            .query_row(query, [resolution], |row| row.get::<_, i64>(0))
            .unwrap() as f64
    })
}

/// Writes a day of a tenth of the tables and indexes into a history, and the same samples as OpenMetrics into a file;
/// prints how many they are and how many bytes the history needs for them.
fn beside_prometheus(path: &Path, file: &str) {
    let mut random = Random(0x5eed_1234_5678_9abc);
    let store = Store::open(path, Timestamp::UNIX_EPOCH).unwrap().store;
    let mut writer = store.writer().unwrap();
    let mut simulated = target(&mut random, 10, 60);
    let mut all: Vec<(i64, Vec<Snapshot>)> = Vec::new();
    for second in (0..DAY).step_by(60) {
        let at = Timestamp::from_second(START + second).unwrap();
        let snapshots: Vec<Snapshot> = simulated
            .iter_mut()
            .map(|one| one.sample(at, &mut random))
            .collect();
        writer
            .append(&facts("dwh-0", at, snapshots.clone()))
            .unwrap();
        writer.commit().unwrap();
        all.push((START + second, snapshots));
    }
    let later = Timestamp::from_second(START + 2 * DAY).unwrap();
    while writer.tend(&KEPT, later).unwrap().more {}
    drop(writer);
    let samples = open_metrics(&all, file);
    println!(
        "samples {samples}\nbytes {}",
        sizes(&path.join("history.db"))[0]
    );
}

fn open_metrics(all: &[(i64, Vec<Snapshot>)], file: &str) -> usize {
    use std::io::Write;
    let mut out = std::io::BufWriter::new(std::fs::File::create(file).unwrap());
    let mut samples = 0;
    for (number, first) in all[0].1.iter().enumerate() {
        let labels = first
            .columns
            .iter()
            .filter(|c| c.kind == ColumnKind::Label)
            .count();
        for (place, column) in first.columns.iter().enumerate().skip(labels) {
            let name = format!("{}_{}", first.collector, column.name);
            writeln!(out, "# TYPE {name} counter").unwrap();
            for (at, snapshots) in all {
                for row in &snapshots[number].rows {
                    let label =
                        |index: usize| format!("{}=\"{}\"", first.columns[index].name, row[index]);
                    let labels: Vec<String> = (0..labels).map(label).collect();
                    writeln!(
                        out,
                        "{name}_total{{{}}} {} {at}",
                        labels.join(","),
                        row[place]
                    )
                    .unwrap();
                    samples += 1;
                }
            }
        }
    }
    writeln!(out, "# EOF").unwrap();
    out.flush().unwrap();
    samples
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [mode, file] = words.as_slice()
        && mode == "openmetrics"
    {
        let directory = tempfile::tempdir().unwrap();
        return beside_prometheus(&directory.path().join("one"), file);
    }
    let targets = std::env::args()
        .nth(1)
        .and_then(|text| text.parse().ok())
        .unwrap_or(1);
    let directory = tempfile::tempdir().unwrap();
    println!("| measured | result | goal |\n|---|---|---|");
    let idle = memory("VmRSS");
    let path = directory.path().join("one");
    let store = Store::open(&path, Timestamp::UNIX_EPOCH).unwrap().store;
    let (written, mut writer) = write(&store, targets, 1, 60);
    let samples = written.samples as f64;
    row(
        "samples",
        format!(
            "{:.1} M, {:.0} % unchanged",
            samples / 1e6,
            written.unchanged as f64 / samples * 100.0
        ),
        "33.4 M, 82 %",
    );
    let reader = store.reader().unwrap();
    queries(&reader, "hours");
    let start = cpu();
    while writer
        .tend(&KEPT, Timestamp::from_second(START + 2 * DAY).unwrap())
        .unwrap()
        .more
    {}
    let tended = written.tend + cpu() - start;
    row(
        "append and commit",
        format!(
            "{:.1} M samples per CPU second",
            samples / written.append / 1e6
        ),
        "",
    );
    row(
        "whole write path, with sealing, rollups and compaction",
        format!(
            "{:.1} M samples per CPU second",
            samples / (written.append + tended) / 1e6
        ),
        "at least 1 M, better 10 M",
    );
    queries(&reader, "day");
    row(
        "resident memory, growth at most",
        format!("{:.0} MB", memory("VmHWM") - idle),
        "below 64 MB for ten targets, with the generator",
    );
    drop((reader, writer));
    file(&path.join("history.db"), samples);
    if targets == 1 {
        two_years(&directory.path().join("two"));
    }
}

fn file(path: &Path, samples: f64) {
    let sizes_of_one = sizes(path);
    let file = std::fs::metadata(path).unwrap().len() as f64;
    row(
        "bytes per sample, every sample",
        format!("{:.2}", sizes_of_one[0] / samples),
        "at most 0.4",
    );
    row(
        "bytes per sample, rollups",
        format!(
            "{:.2} + {:.2}",
            sizes_of_one[1] / samples,
            sizes_of_one[2] / samples
        ),
        "",
    );
    row("file", format!("{:.1} MB", file / 1e6), "");
}

/// A day of 3,000 series at ten seconds, made two years.
fn two_years(path: &Path) {
    let store = Store::open(path, Timestamp::UNIX_EPOCH).unwrap().store;
    let (written, mut writer) = write(&store, 1, 5, 10);
    while writer
        .tend(&KEPT, Timestamp::from_second(START + 2 * DAY).unwrap())
        .unwrap()
        .more
    {}
    drop(writer);
    let [raw, minute, ten] = sizes(&path.join("history.db"));
    let total = raw * 7.0 + minute * 90.0 + ten * 730.0;
    row(
        "a day of 3,000 series at 10 s",
        format!(
            "{:.1} M samples ({:.0} % unchanged): {:.1} MB, {:.1} MB, {:.1} MB",
            written.samples as f64 / 1e6,
            written.unchanged as f64 / written.samples as f64 * 100.0,
            raw / 1e6,
            minute / 1e6,
            ten / 1e6
        ),
        "",
    );
    row(
        "two years of it: 7 d, 90 d, 730 d",
        format!("{:.0} MB", total / 1e6),
        "at most 1,000 MB",
    );
}
