//! The disk refuses for a while: nothing stored is lost, what is new waits, and it is said.

use pawang_core::{Level, Outcome};
use pawang_store::{Recorder, Store};

use crate::world::{at, directory, evaluation, facts, finding, number_at, open, verdict};

/// Rows and bytes of noise of each round: about 80 kB that do not compress.
const ROWS: usize = 20;
const NOISE: usize = 4_000;
const MEBIBYTE: u64 = 1 << 20;

/// Offers rounds, from `next` on, until the disk refuses; returns the number after the last.
fn fill(recorder: &mut Recorder, mut next: i64) -> i64 {
    while recorder.status().trouble.is_none() {
        assert!(next < 1_000, "the disk never refused");
        recorder.offer(facts(next, next * 60, ROWS, NOISE));
        next += 1;
        recorder.flush(at(next * 60));
    }
    next
}

fn stored(store: &Store, numbers: std::ops::Range<i64>) -> Vec<i64> {
    let reader = store.reader().unwrap();
    numbers
        .filter(|number| number_at(&reader, number * 60) == Some(*number))
        .collect()
}

#[test]
fn a_full_disk_loses_nothing_and_everything_is_written_when_there_is_space() {
    let directory = directory();
    let store = open(&directory);
    store.limit_history(MEBIBYTE);
    let mut recorder = Recorder::new(store.clone());
    let full = fill(&mut recorder, 0);
    assert!(full > 3, "{full}");
    let trouble = recorder.status().trouble.clone().unwrap();
    assert!(
        trouble.primary.starts_with("there is no space left"),
        "{trouble:?}"
    );
    assert!(trouble.detail.unwrap().contains("waits in memory"));
    assert_eq!(
        stored(&store, 0..full - 1),
        (0..full - 1).collect::<Vec<_>>()
    );
    for number in full..full + 5 {
        recorder.offer(facts(number, number * 60, ROWS, NOISE));
        recorder.flush(at(number * 60));
    }
    let status = recorder.status();
    assert_eq!((status.waiting_snapshots, status.dropped_snapshots), (6, 0));
    assert!(status.waiting_bytes > 6 * ROWS * NOISE && status.trouble.is_some());
    // Findings and accounts live elsewhere, and go on.
    let found = finding("disk-full", "/data", Level::Critical, 99.0);
    let disk = verdict("disk-full", Outcome::Judged, vec![found]);
    assert_eq!(recorder.judge(&evaluation(0, vec![disk])).len(), 1);
    assert!(recorder.flush(at(1)).trouble.is_some());
    store.limit_history(u64::MAX);
    let status = recorder.flush(at(9_000));
    assert!(status.trouble.is_none(), "{:?}", status.trouble);
    assert_eq!((status.waiting_snapshots, status.waiting_bytes), (0, 0));
    assert_eq!(status.committed_at, Some(at(9_000)));
    assert_eq!(
        stored(&store, 0..full + 5),
        (0..full + 5).collect::<Vec<_>>()
    );
}

#[test]
fn memory_is_bounded_and_what_was_dropped_is_counted() {
    let directory = directory();
    let store = open(&directory);
    store.limit_history(MEBIBYTE);
    let mut recorder = Recorder::new(store.clone());
    let full = fill(&mut recorder, 0);
    recorder.bound_memory(MEBIBYTE as usize / 2);
    for number in full..full + 20 {
        recorder.offer(facts(number, number * 60, ROWS, NOISE));
    }
    let status = recorder.flush(at(0)).clone();
    assert!(status.waiting_bytes <= MEBIBYTE as usize / 2);
    let dropped = status.dropped_snapshots as i64;
    assert_eq!(dropped, 21 - status.waiting_snapshots as i64);
    store.limit_history(u64::MAX);
    assert!(recorder.flush(at(1)).trouble.is_none());
    let mut expected: Vec<i64> = (0..full - 1).collect();
    expected.extend(full - 1 + dropped..full + 20);
    assert_eq!(stored(&store, 0..full + 20), expected);
}

#[test]
fn a_restart_while_the_disk_is_full_loses_only_what_waited() {
    let directory = directory();
    let store = open(&directory);
    store.limit_history(MEBIBYTE);
    let mut recorder = Recorder::new(store.clone());
    let full = fill(&mut recorder, 0);
    drop((recorder, store));
    let store = open(&directory);
    let mut recorder = Recorder::new(store.clone());
    recorder.offer(facts(full, full * 60, ROWS, NOISE));
    assert!(recorder.flush(at(0)).trouble.is_none());
    let mut expected: Vec<i64> = (0..full - 1).collect();
    expected.push(full);
    assert_eq!(stored(&store, 0..full + 1), expected);
}
