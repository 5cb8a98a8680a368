//! Scans a log in the `stderr` format and tells how fast: `scan <file> [<prefix>]`.

use std::time::Instant;

use pawang_logs::format::Scanner;
use pawang_logs::format::stderr::{Options, Stderr};
use pawang_logs::prefix::{Prefix, detect};
use pawang_logs::record::{Odd, Record, Sink};

#[derive(Default)]
struct Count {
    records: u64,
    odds: Vec<String>,
    errors: u64,
}

impl Sink for Count {
    fn record(&mut self, _: u64, record: &Record<'_>) {
        self.records += 1;
        self.errors += u64::from(record.severity > pawang_logs::severity::Severity::Warning);
    }

    fn odd(&mut self, offset: u64, odd: Odd<'_>) {
        let (kind, text) = match odd {
            Odd::Raw(text) => ("raw", text),
            Odd::Forged(text) => ("forged", text),
            Odd::Malformed(text) => ("malformed", text),
        };
        let text = String::from_utf8_lossy(&text[..text.len().min(120)]);
        self.odds.push(format!("{offset} {kind} {text}"));
    }
}

#[expect(clippy::print_stdout, reason = "an example talks")]
fn main() {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().expect("a file is named");
    let bytes = std::fs::read(path).expect("the file can be read");
    let prefixes = match arguments.next() {
        Some(prefix) => vec![Prefix::new(&prefix)],
        None => {
            let began = Instant::now();
            let guesses = detect(&bytes);
            println!("detection {:?}", began.elapsed());
            for guess in &guesses {
                println!("{:.4} {}", guess.match_rate, guess.prefix);
            }
            guesses.into_iter().map(|guess| guess.prefix).collect()
        }
    };
    let mut best = f64::MAX;
    let mut count = Count::default();
    for _ in 0..20 {
        let began = Instant::now();
        count = Count::default();
        let mut scanner = Stderr::new(prefixes.clone(), Options::default());
        scanner.scan(&bytes, 0, bytes.len(), true, &mut count);
        best = best.min(began.elapsed().as_secs_f64());
    }
    for odd in count.odds.iter().take(20) {
        println!("{odd}");
    }
    println!(
        "{} records, {} errors, {} odd, {:.0} MB/s",
        count.records,
        count.errors,
        count.odds.len(),
        bytes.len() as f64 / best / 1e6
    );
}
