//! Measures one scrape of a server with many tables: `scrape 10000`. Nothing is asked; the snapshots are made up.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a tool for developers"
)]

use std::fs;
use std::io::{self, Write};
use std::sync::Arc;

use pawang_collect::Catalog;
use pawang_config::MetricsConfig;
use pawang_core::alert::AlertsPresent;
use pawang_core::{
    Blind, Column, ColumnKind, Cost, Epoch, Facts, Instance, Sighting, Snapshot, Timestamp, Value,
};
use pawang_metrics::{Format, Scrape, write};
use pawang_store::live::{BudgetStatus, DaemonStatus, Present};

const REPEATS: u32 = 10;

fn main() {
    let tables: usize = std::env::args()
        .nth(1)
        .map_or(10_000, |count| count.parse().unwrap());
    let catalog = Catalog::built_in();
    let sightings = ["tables", "indexes"].map(|name| {
        let columns = Arc::clone(&catalog.collectors[name].header.columns);
        Sighting {
            collector: name.to_owned(),
            database: Some("warehouse".to_owned()),
            seen: Ok(Arc::new(snapshot(name, columns, tables))),
        }
    });
    let instance = Instance {
        name: "dwh-1".to_owned(),
        ..Instance::default()
    };
    let present = Arc::new(Present {
        instance: instance.clone(),
        labels: Default::default(),
        facts: Arc::new(Facts {
            instance,
            at: Timestamp::UNIX_EPOCH,
            server: Err(Blind::FirstSample),
            down: None,
            databases: Vec::new(),
            sightings: sightings.to_vec(),
            notes: Vec::new(),
        }),
        evaluation: None,
        since: Arc::default(),
        collectors: Arc::new([]),
        budget: BudgetStatus::default(),
        activity: Arc::new([]),
        answered_at: None,
    });
    let config = MetricsConfig {
        series_per_collector: 10_000_000,
        ..MetricsConfig::default()
    };
    println!("facts: {} kB resident", status("VmRSS:"));
    let presents = [present];
    for format in [Format::Prometheus, Format::OpenMetrics] {
        let scrape = Scrape {
            format,
            collect: None,
            config: &config,
            alerts: &AlertsPresent::default(),
            now: Timestamp::UNIX_EPOCH,
        };
        let mut sink = Counter::default();
        let begin = cpu_ms();
        for _ in 0..REPEATS {
            sink = Counter::default();
            write(&presents, &DaemonStatus::default(), &scrape, &mut sink).unwrap();
        }
        let spent = (cpu_ms() - begin) / f64::from(REPEATS);
        let mut lines = Counter {
            count_lines: true,
            ..Counter::default()
        };
        write(&presents, &DaemonStatus::default(), &scrape, &mut lines).unwrap();
        println!(
            "{format:?}: {} lines, {} bytes, {spent:.1} ms of CPU, peak {} kB resident",
            lines.lines,
            sink.bytes,
            status("VmHWM:"),
        );
    }
}

fn snapshot(collector: &str, columns: Arc<[Column]>, rows: usize) -> Snapshot {
    let row = |number: usize| -> Vec<Value> {
        let value = |column: &Column| match (column.kind, column.name.as_str()) {
            (ColumnKind::Label, "schemaname") => Value::Text("public".into()),
            (ColumnKind::Label, name) => Value::Text(format!("{name}_{number:06}").into()),
            (ColumnKind::Counter | ColumnKind::Gauge, _) => match column.unit.as_deref() {
                Some("ms" | "s") => Value::Float(number as f64 * 1.37),
                _ => Value::Int(number as i64 * 7_919),
            },
            (ColumnKind::Info, name) if name.starts_with("last_") => {
                Value::Time(Timestamp::from_microsecond(1_700_000_000_123_456).unwrap())
            }
            (ColumnKind::Info, _) => Value::Null,
        };
        columns.iter().map(value).collect()
    };
    Snapshot {
        collector: collector.to_owned(),
        database: Some("warehouse".to_owned()),
        at: Timestamp::UNIX_EPOCH,
        // Without an epoch it is shown although the server was not asked.
        epoch: None::<Epoch>,
        cost: Cost::default(),
        rows: (0..rows).map(row).collect(),
        columns,
    }
}

#[derive(Default)]
struct Counter {
    bytes: usize,
    lines: usize,
    /// Counting takes nearly as long as writing.
    count_lines: bool,
}

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes += bytes.len();
        if self.count_lines {
            self.lines += bytes.iter().filter(|byte| **byte == b'\n').count();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns the CPU time of the process so far; other processes do not disturb it much.
fn cpu_ms() -> f64 {
    let text = fs::read_to_string("/proc/self/schedstat").unwrap();
    let nanoseconds: f64 = text.split(' ').next().unwrap().parse().unwrap();
    nanoseconds / 1e6
}

fn status(name: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
