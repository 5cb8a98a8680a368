//! Texts that are no plans, or plans no longer: reading them must end with an answer.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use pawang_logs::plan;
use proptest::prelude::*;

/// Plans in all formats.
static PLANS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/plan");
    let mut paths: Vec<_> = ["15", "18", "auto", "rules"]
        .iter()
        .flat_map(|folder| fs::read_dir(data.join(folder)).unwrap())
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths
        .into_iter()
        .map(|path| fs::read_to_string(path).unwrap())
        .collect()
});

/// Does all that can be done with a text.
fn handle(text: &str) {
    if let Ok(plan) = plan::read(text) {
        let _ = plan::fingerprint(&plan);
        let _ = plan.to_string();
        let times = plan::spent(&plan);
        assert!(
            times
                .iter()
                .all(|time| time.exclusive >= 0.0 && time.exclusive <= time.inclusive)
        );
        let _ = plan::review(&plan);
    }
    let _ = plan::mask(text);
}

/// Returns the nearest place at or before a byte where a text may be cut.
fn boundary(text: &str, mut at: usize) -> usize {
    at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn random_bytes(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        handle(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn random_lines(text in "((Query Text: | +-> |Seq Scan on |Filter: |\\(cost=|rows=|\\)|'|\"|<[A-Z/]|>|\\{|\\}|\\[|\\]|- |: |Worker 0: |[0-9.]{1,3}|[a-z]{1,3}|ä|\t)|\n){0,80}") {
        handle(&text);
    }

    #[test]
    fn cut_plans(which in any::<prop::sample::Index>(), from in 0.0_f64..1.0, to in 0.0_f64..1.0) {
        let text = which.get(&PLANS);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a share of a length")]
        let place = |share: f64| boundary(text, (text.len() as f64 * share) as usize);
        let (from, to) = (place(from.min(to)), place(from.max(to)));
        handle(&text[..to]);
        handle(&text[from..]);
        handle(&text[from..to]);
    }

    #[test]
    fn mutated_plans(which in any::<prop::sample::Index>(), changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12)) {
        let mut bytes = which.get(&PLANS).clone().into_bytes();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        handle(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn shuffled_lines(which in any::<prop::sample::Index>(), swaps in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 1..6)) {
        let mut lines: Vec<&str> = which.get(&PLANS).lines().collect();
        for (a, b) in swaps {
            let (a, b) = (a.index(lines.len()), b.index(lines.len()));
            lines.swap(a, b);
        }
        handle(&lines.join("\n"));
    }
}

#[test]
fn depth_is_bounded() {
    let mut text = "Limit  (cost=0.00..1.00 rows=1 width=4)\n".to_owned();
    for depth in 0..5_000 {
        text.push_str(&" ".repeat(depth * 6 + 2));
        text.push_str("->  Limit  (cost=0.00..1.00 rows=1 width=4)\n");
        if text.len() > plan::MAX_TEXT / 2 {
            break;
        }
    }
    assert!(matches!(plan::read(&text), Err(plan::Error::TooLarge)));
    handle(&"[".repeat(100_000));
    handle(&"<a>".repeat(100_000));
    handle(&"- ".repeat(100_000));
}
