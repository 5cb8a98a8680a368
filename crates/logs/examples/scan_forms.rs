//! Measures how fast csvlog or jsonlog is scanned, and nothing else: `scan_forms FILE...`.

use std::process::ExitCode;
use std::time::Instant;

use pawang_logs::format::Scanner;
use pawang_logs::format::csv::Csv;
use pawang_logs::format::json::Json;
use pawang_logs::record::{Odd, Record, Sink};

/// How often a file is scanned; the quickest counts.
const ROUNDS: usize = 20;

#[derive(Default)]
struct Count {
    records: u64,
    odd: u64,
    bytes: usize,
}

impl Sink for Count {
    fn record(&mut self, _: u64, record: &Record<'_>) {
        self.records += 1;
        self.bytes += record.message.len();
    }

    fn odd(&mut self, _: u64, _: Odd<'_>) {
        self.odd += 1;
    }
}

#[expect(clippy::print_stdout, reason = "its result")]
fn main() -> ExitCode {
    for path in std::env::args().skip(1) {
        let Ok(bytes) = std::fs::read(&path) else {
            return ExitCode::FAILURE;
        };
        let mut best = f64::INFINITY;
        let mut count = Count::default();
        for _ in 0..ROUNDS {
            count = Count::default();
            let mut scanner: Box<dyn Scanner> = if path.ends_with("json") {
                Box::new(Json::default())
            } else {
                Box::new(Csv::default())
            };
            let start = Instant::now();
            scanner.scan(&bytes, 0, bytes.len(), true, &mut count);
            best = best.min(start.elapsed().as_secs_f64());
        }
        let speed = bytes.len() as f64 / best / 1e6;
        println!(
            "{path}: {} records, {} odd, {speed:.0} MB/s",
            count.records, count.odd
        );
    }
    ExitCode::SUCCESS
}
