//! Texts of statements: once each, and never too many.

use crate::world::{at, directory, open};

const DAY: i64 = 86_400;

#[test]
fn each_text_is_kept_once_and_those_seen_longest_ago_go_first() {
    let directory = directory();
    let store = open(&directory);
    let state = store.state();
    let text = |queryid: i64| (queryid, format!("SELECT {queryid}"));
    state
        .put_texts(&(1..=3).map(text).collect::<Vec<_>>(), at(0))
        .unwrap();
    state
        .put_texts(&[(1, "another".to_owned())], at(1))
        .unwrap();
    assert_eq!(state.text(1).unwrap().as_deref(), Some("SELECT 1"));
    assert_eq!(state.text(4).unwrap(), None);
    // A day later only 2 is still seen.
    assert_eq!(state.missing_texts(&[2, 4], at(2 * DAY)).unwrap(), [4]);
    let flood: Vec<(i64, String)> = (100..50_100).map(text).collect();
    state.put_texts(&flood, at(3 * DAY)).unwrap();
    assert_eq!(
        state.missing_texts(&[1, 2, 3], at(3 * DAY)).unwrap(),
        [1, 2, 3]
    );
    let ids: Vec<i64> = (100..50_100).collect();
    let kept = ids.len() - state.missing_texts(&ids, at(3 * DAY)).unwrap().len();
    assert!((45_000..50_000).contains(&kept), "{kept}");
}

#[test]
fn long_texts_are_cut_and_their_sum_is_bounded() {
    let directory = directory();
    let store = open(&directory);
    let state = store.state();
    state.put_texts(&[(1, "é".repeat(1 << 20))], at(0)).unwrap();
    let text = state.text(1).unwrap().unwrap();
    assert!(text.len() <= 8 << 10 && text.ends_with("..."));
    for batch in 0..20 {
        let long: Vec<(i64, String)> = (0..500)
            .map(|number| (2 + batch * 500 + number, "x".repeat(8 << 10)))
            .collect();
        state.put_texts(&long, at(batch)).unwrap();
    }
    let ids: Vec<i64> = (1..10_002).collect();
    let missing = state.missing_texts(&ids, at(20)).unwrap();
    let kept = ids.len() - missing.len();
    assert!(kept * (8 << 10) <= 64 << 20 && kept > 6_000, "{kept}");
    assert!(missing.contains(&1) && !missing.contains(&10_001));
}
