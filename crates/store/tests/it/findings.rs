//! Findings open, change, close and come back; what was not seen is never over.

use pawang_core::{Blind, Evaluation, Level, Outcome};
use pawang_store::state::{FindingQuery, FindingRecord, State};

use crate::world::{at, directory, evaluation, finding, open, verdict};

const ALL: FindingQuery<'_> = FindingQuery {
    instance: None,
    fingerprint: None,
    open_at: None,
    since: None,
    before: None,
    limit: 1_000,
};

fn judged(seconds: i64, level: Option<Level>, value: f64) -> Evaluation {
    let findings = level.map(|level| finding("disk-full", "/data", level, value));
    let disk = verdict("disk-full", Outcome::Judged, findings.into_iter().collect());
    evaluation(seconds, vec![disk])
}

fn all(state: &State) -> Vec<FindingRecord> {
    state.findings(&ALL).unwrap()
}

#[test]
fn a_finding_opens_worsens_closes_and_comes_back_as_a_new_record() {
    let directory = directory();
    let store = open(&directory);
    let state = store.state();
    let fingerprint = finding("disk-full", "/data", Level::Warning, 0.0).fingerprint;
    let since = state.judge(&judged(0, Some(Level::Warning), 81.0)).unwrap();
    assert_eq!(since.get(&fingerprint), Some(&at(0)));
    state
        .judge(&judged(10, Some(Level::Critical), 95.0))
        .unwrap();
    let since = state
        .judge(&judged(20, Some(Level::Warning), 82.0))
        .unwrap();
    assert_eq!(since.get(&fingerprint), Some(&at(0)));
    // Its last words are those of the last time it was seen, also when only numbers changed.
    state
        .judge(&judged(30, Some(Level::Warning), 83.0))
        .unwrap();
    assert!(state.judge(&judged(40, None, 0.0)).unwrap().is_empty());
    let record = all(state).remove(0);
    assert_eq!((record.opened_at, record.closed_at), (at(0), Some(at(40))));
    assert_eq!(
        (record.worst, record.finding.value),
        (Level::Critical, Some(83.0))
    );
    state
        .judge(&judged(50, Some(Level::Warning), 84.0))
        .unwrap();
    let records = all(state);
    assert_eq!(records.len(), 2);
    assert!(records[0].id > records[1].id && records[0].closed_at.is_none());
}

#[test]
fn numbers_are_written_again_after_a_minute() {
    let directory = directory();
    let store = open(&directory);
    let state = store.state();
    for (seconds, written) in [
        (0, 0.0),
        (30, 0.0),
        (59, 0.0),
        (60, 60.0),
        (90, 60.0),
        (120, 120.0),
    ] {
        state
            .judge(&judged(seconds, Some(Level::Warning), seconds as f64))
            .unwrap();
        assert_eq!(all(state)[0].finding.value, Some(written), "at {seconds}");
    }
}

#[test]
fn what_was_not_seen_is_not_over() {
    let directory = directory();
    let store = open(&directory);
    let state = store.state();
    state
        .judge(&judged(0, Some(Level::Critical), 95.0))
        .unwrap();
    let unseen = verdict("disk-full", Outcome::Unknown, Vec::new());
    state.judge(&evaluation(10, vec![unseen])).unwrap();
    let other = verdict("other", Outcome::Judged, Vec::new());
    state.judge(&evaluation(20, vec![other])).unwrap();
    let mut silent = judged(30, None, 0.0);
    silent.server = None;
    state.judge(&silent).unwrap();
    let mut cut = judged(40, None, 0.0);
    cut.verdicts[0].findings_total = 101;
    let since = state.judge(&cut).unwrap();
    assert_eq!(since.len(), 1);
    assert_eq!(all(state)[0].closed_at, None);
    let beside = verdict("disk-full", Outcome::NotApplicable, Vec::new());
    assert!(
        state
            .judge(&evaluation(50, vec![beside]))
            .unwrap()
            .is_empty()
    );
}

#[test]
fn a_blind_database_does_not_keep_the_findings_of_another_open() {
    let directory = directory();
    let store = open(&directory);
    let state = store.state();
    let in_database = |object: &str, database: &str, level| {
        let mut finding = finding("bloat", object, level, 50.0);
        finding.database = Some(database.to_owned());
        finding
    };
    let findings = vec![
        in_database("a", "sales", Level::Warning),
        in_database("b", "stock", Level::Warning),
    ];
    let first = verdict("bloat", Outcome::Judged, findings);
    state.judge(&evaluation(0, vec![first])).unwrap();
    let blind = in_database("", "stock", Level::Unknown);
    let second = verdict("bloat", Outcome::Unknown, vec![blind]);
    state.judge(&evaluation(10, vec![second])).unwrap();
    let open = state
        .findings(&FindingQuery {
            open_at: Some(at(10)),
            ..ALL
        })
        .unwrap();
    let mut objects: Vec<&str> = open
        .iter()
        .map(|record| record.finding.object.as_str())
        .collect();
    objects.sort_unstable();
    assert_eq!(objects, ["", "b"]);
}

#[test]
fn what_every_check_says_of_a_silent_server_is_no_finding_of_each() {
    let directory = directory();
    let store = open(&directory);
    let mut unseen = finding("disk-full", "", Level::Unknown, 0.0);
    unseen.blind = Some(Blind::FirstSample);
    let verdict = verdict("disk-full", Outcome::Unknown, vec![unseen]);
    let since = store.state().judge(&evaluation(0, vec![verdict])).unwrap();
    assert!(since.is_empty() && all(store.state()).is_empty());
}

#[test]
fn a_restart_goes_on_with_what_was_open() {
    let directory = directory();
    let store = open(&directory);
    let before = store
        .state()
        .judge(&judged(0, Some(Level::Warning), 81.0))
        .unwrap();
    drop(store);
    let store = open(&directory);
    let state = store.state();
    let after = state
        .judge(&judged(100, Some(Level::Warning), 82.0))
        .unwrap();
    assert_eq!(before, after);
    assert_eq!(all(state).len(), 1);
    state.release("dwh-1", at(110)).unwrap();
    assert_eq!(all(state)[0].closed_at, Some(at(110)));
    assert!(state.judge(&judged(120, None, 0.0)).unwrap().is_empty());
}

#[test]
fn questions_are_answered_newest_first() {
    let directory = directory();
    let store = open(&directory);
    let state = store.state();
    for number in 0..6 {
        let level = (number % 2 == 0).then_some(Level::Warning);
        state.judge(&judged(number * 100, level, 90.0)).unwrap();
    }
    // Open from 0 to 100, 200 to 300, 400 to 500.
    let opened = |query: FindingQuery<'_>| -> Vec<i64> {
        let records = state.findings(&query).unwrap();
        let seconds = |record: &FindingRecord| record.opened_at.duration_since(at(0)).as_secs();
        records.iter().map(seconds).collect()
    };
    assert_eq!(opened(ALL), [400, 200, 0]);
    assert_eq!(opened(FindingQuery { limit: 1, ..ALL }), [400]);
    let open_at = Some(at(250));
    assert_eq!(opened(FindingQuery { open_at, ..ALL }), [200]);
    let open_at = Some(at(350));
    assert!(opened(FindingQuery { open_at, ..ALL }).is_empty());
    let since = Some(at(300));
    assert_eq!(opened(FindingQuery { since, ..ALL }), [400, 200]);
    let before = state
        .findings(&ALL)
        .unwrap()
        .first()
        .map(|record| record.id);
    assert_eq!(opened(FindingQuery { before, ..ALL }), [200, 0]);
    let instance = Some("dwh-2");
    assert!(opened(FindingQuery { instance, ..ALL }).is_empty());
    let fingerprint = Some("0123456789abcdef");
    assert!(opened(FindingQuery { fingerprint, ..ALL }).is_empty());
}

#[test]
fn old_findings_go_and_endless_new_ones_push_out_what_was_seen_longest_ago() {
    let directory = directory();
    let store = open(&directory);
    let state = store.state();
    state.judge(&judged(0, Some(Level::Warning), 81.0)).unwrap();
    state.judge(&judged(10, None, 0.0)).unwrap();
    let years = 3 * 366 * 86_400;
    for round in 0..15 {
        let findings = (0..100)
            .map(|number| finding("locks", &format!("{round}-{number}"), Level::Warning, 1.0))
            .collect();
        let mut cut = verdict("locks", Outcome::Judged, findings);
        cut.findings_total = 500;
        let since = state
            .judge(&evaluation(years + round * 10, vec![cut]))
            .unwrap();
        assert!(since.len() <= 1_000, "{}", since.len());
    }
    let records = state
        .findings(&FindingQuery {
            limit: 10_000,
            ..ALL
        })
        .unwrap();
    assert_eq!(records.len(), 1_500);
    assert_eq!(
        records
            .iter()
            .filter(|record| record.closed_at.is_none())
            .count(),
        1_000
    );
}
