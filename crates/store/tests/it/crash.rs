//! kill -9 at any moment: what was acknowledged is there, at most the interval in flight is lost, and readers go on.
#![expect(
    clippy::disallowed_methods,
    reason = "the one who is killed is this program once more, told by variables what to do"
)]

use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use pawang_core::{Level, Outcome};
use pawang_store::Store;
use pawang_store::history::{Fold, Reader, Retention, Rows, SeriesQuery, Span};
use pawang_store::state::Entry;

use crate::world::{Random, at, evaluation, facts, finding, number_at, verdict};

const DIRECTORY: &str = "PAWANG_CRASH_DIRECTORY";
const FROM: &str = "PAWANG_CRASH_FROM";
const SEED: &str = "PAWANG_CRASH_SEED";

const KILLS: u64 = 200;
/// Seconds from one interval to the next: an hour is sealed every 12, a day is compacted every 288.
const INTERVAL: i64 = 300;
const ROWS: usize = 5;
const NOISE: usize = 20;
/// Every so many intervals a finding changes and somebody writes into the journal.
const JOURNAL_EVERY: i64 = 16;
const DAY: Duration = Duration::from_secs(86_400);
const RETENTION: Retention = Retention {
    raw: Duration::from_secs(2 * 86_400),
    minute: Duration::from_secs(4 * 86_400),
    ten_minutes: Duration::from_secs(8 * 86_400),
    bytes: 1 << 30,
};

/// The program that is killed: appends, commits, acknowledges, tends, without end.
#[test]
fn child() {
    let Ok(directory) = std::env::var(DIRECTORY) else {
        return;
    };
    let from: i64 = std::env::var(FROM).unwrap().parse().unwrap();
    let store = Store::open(Path::new(&directory), at(from * INTERVAL))
        .unwrap()
        .store;
    let mut writer = store.writer().unwrap();
    for number in from.. {
        let seconds = number * INTERVAL;
        writer.append(&facts(number, seconds, ROWS, NOISE)).unwrap();
        writer.commit().unwrap();
        if !acknowledged("interval", number) {
            return;
        }
        if number % JOURNAL_EVERY == 0 {
            let level = [Level::Warning, Level::Critical][(number / JOURNAL_EVERY % 2) as usize];
            let found = finding("disk-full", "/data", level, 90.0);
            let disk = verdict("disk-full", Outcome::Judged, vec![found]);
            writer.judge(&evaluation(seconds, vec![disk])).unwrap();
            let record = store.state().journal(&entry(seconds)).unwrap();
            if !acknowledged("record", record.id) {
                return;
            }
        }
        while writer.tend(&RETENTION, at(seconds)).unwrap().more {}
    }
}

fn entry(seconds: i64) -> Entry {
    Entry {
        at: at(seconds),
        actor: "daemon".to_owned(),
        action: "daemon.start".to_owned(),
        object: String::new(),
        outcome: "done".to_owned(),
        detail: serde_json::Value::Null,
    }
}

/// Tells the parent; ends with it.
fn acknowledged(what: &str, number: i64) -> bool {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{what} {number}")
        .and_then(|()| stdout.flush())
        .is_ok()
}

/// What the killed programs acknowledged so far.
struct Known {
    interval: i64,
    record: i64,
}

fn start(directory: &Path, from: i64) -> Child {
    // Not its path: this very program is started also when a newer build has replaced it meanwhile.
    Command::new("/proc/self/exe")
        .args(["--exact", "crash::child", "--nocapture", "--test-threads=1"])
        .env(DIRECTORY, directory)
        .env(FROM, from.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Runs the program until some intervals were acknowledged and some time passed, and kills it.
fn run_and_kill(directory: &Path, known: &mut Known, random: &mut Random) {
    let mut child = start(directory, known.interval + 1);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut intervals = random.below(60);
    let mut take = |line: &str| {
        let mut words = line.split(' ');
        match (
            words.next(),
            words.next().and_then(|number| number.parse().ok()),
        ) {
            (Some("interval"), Some(number)) => known.interval = number,
            (Some("record"), Some(number)) => known.record = number,
            _ => return false,
        }
        true
    };
    while intervals > 0 {
        let line = lines.next().expect("it runs until it is killed").unwrap();
        intervals -= u64::from(take(&line));
    }
    // Some moments are within a commit, some within tending, some before the first line.
    let moment = Instant::now() + Duration::from_micros(random.below(15_000));
    while Instant::now() < moment {
        std::thread::yield_now();
    }
    child.kill().unwrap();
    for line in lines {
        // The last line may be half a line, which acknowledges nothing.
        take(&line.unwrap());
    }
    child.wait().unwrap();
}

fn whole(path: &Path) {
    let connection = rusqlite::Connection::open(path).unwrap();
    let answer: String = connection
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(answer, "ok", "{}", path.display());
}

/// Asserts that every interval of the span is there, and the last one whole.
fn all_there(reader: &Reader, first: i64, last: i64) {
    if first > last {
        return;
    }
    let series = reader.series(&SeriesQuery {
        instance: "dwh-1",
        collector: "tables",
        database: Some("sales"),
        columns: &["n_live_tup"],
        rows: Rows::Only(&[vec!["table-1".to_owned()]]),
        fold: Fold::Each,
        span: Span {
            from: at(first * INTERVAL),
            to: at(last * INTERVAL),
        },
        step: None,
    });
    let readings = series.unwrap().remove(0).points.into_iter();
    let numbers: Vec<i64> = readings
        .filter_map(|point| Some(point.reading?.mean as i64))
        .collect();
    assert_eq!(numbers, (first..=last).collect::<Vec<_>>());
    assert_eq!(number_at(reader, last * INTERVAL), Some(last));
}

#[test]
fn two_hundred_kills_lose_nothing_that_was_acknowledged() {
    let seed = std::env::var(SEED).ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| RandomState::new().hash_one(0));
    println!("{SEED}={seed}");
    let mut random = Random(seed);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    drop(Store::open(path, at(0)).unwrap());
    let beside = Store::open_to_read(path).unwrap().reader().unwrap();
    let mut known = Known {
        interval: 0,
        record: 0,
    };
    for _ in 0..KILLS {
        let before = known.interval;
        run_and_kill(path, &mut known, &mut random);
        for name in ["history.db", "state.db"] {
            whole(&path.join(name));
        }
        let opened = Store::open(path, at(known.interval * INTERVAL)).unwrap();
        assert!(opened.notes.is_empty(), "{:?}", opened.notes);
        let reader = opened.store.reader().unwrap();
        let raw = (RETENTION.raw - DAY).as_secs() as i64 / INTERVAL;
        let first = (before + 1).max(known.interval - raw);
        all_there(&reader, first, known.interval);
        all_there(&beside, first, known.interval);
        let in_flight = number_at(&reader, (known.interval + 1) * INTERVAL);
        assert!(in_flight.is_none_or(|number| number == known.interval + 1));
        assert_eq!(number_at(&reader, (known.interval + 2) * INTERVAL), None);
        known.interval += i64::from(in_flight.is_some());
        let journal = opened.store.state().journal_verify().unwrap();
        assert_eq!(journal.broken, None);
        assert!((known.record..=known.record + 1).contains(&journal.records));
        known.record = journal.records;
    }
    println!(
        "{} intervals, {} journal records",
        known.interval, known.record
    );
    assert!(
        known.interval > 500,
        "the program got to {}",
        known.interval
    );
}
