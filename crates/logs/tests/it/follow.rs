//! What is written to a log comes out, over every kind of rotation; the clock and the pauses are those of the test.

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use pawang_logs::follow::{
    Follow, HOLD_MILLISECONDS, Listener, QUIET_MILLISECONDS, Tail, Target, follow,
};
use pawang_logs::record::{Odd, Record, Sink};
use proptest::prelude::*;

use crate::lines::{Lines, Random, Seen, choose, log, write};

/// What came, in words.
#[derive(Default)]
struct Heard<'a> {
    words: Vec<String>,
    below: String,
    now: Option<&'a Cell<i64>>,
    times: Vec<i64>,
}

impl Sink for Heard<'_> {
    fn record(&mut self, _: u64, record: &Record<'_>) {
        self.words.push(
            String::from_utf8_lossy(record.message)
                .trim()
                .replace("\n\t", "|"),
        );
        self.times.extend(self.now.map(Cell::get));
    }

    fn odd(&mut self, _: u64, odd: Odd<'_>) {
        self.words.push(format!("{odd:?}"));
    }
}

impl Listener for Heard<'_> {
    fn turn(&mut self, file: &str) {
        self.words
            .push(format!("[{}]", file.replace(&self.below, "")));
    }

    fn notice(&mut self, file: &str, text: &str) {
        self.words.push(format!(
            "({}: {})",
            file.replace(&self.below, ""),
            text.replace(&self.below, "")
        ));
    }
}

fn append(path: &Path, text: &str) {
    let mut file = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// Follows while the acts are played, one in each pause at a time in milliseconds, and returns what came with its times.
fn play(
    directory: &Path,
    targets: &[Target],
    from_start: bool,
    acts: &[(i64, &dyn Fn())],
) -> (Vec<String>, Vec<i64>) {
    let now = Cell::new(0);
    let next = RefCell::new(acts.iter());
    let last = acts.last().map_or(0, |act| act.0) + 2 * HOLD_MILLISECONDS;
    let pause = |wait: Duration| {
        now.set(now.get() + i64::try_from(wait.as_millis()).unwrap());
        let mut left = next.borrow_mut();
        while left
            .as_slice()
            .first()
            .is_some_and(|act| act.0 <= now.get())
        {
            left.next().unwrap().1();
        }
    };
    let how = Follow {
        choose: &choose,
        from_start,
        back: 0,
        stop: &|| now.get() > last,
        clock: &|| now.get(),
        pause: &pause,
    };
    let mut heard = Heard {
        below: format!("{}/", directory.display()),
        now: Some(&now),
        ..Heard::default()
    };
    follow(targets, &how, &mut heard);
    (heard.words, heard.times)
}

#[test]
fn records_come_soon_and_incomplete_ones_are_held() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.log");
    write(&path, b"1 old\n2 torn");
    let (words, times) = play(
        directory.path(),
        &[Target::File(path.clone())],
        false,
        &[
            (900, &|| append(&path, " before\n3 whole\n")),
            (2_000, &|| append(&path, "4 first")),
            (2_500, &|| append(&path, " half\n\tgoes on\n")),
            (4_000, &|| append(&path, "5 no end")),
        ],
    );
    assert_eq!(words[0], "[a.log]");
    // What is torn when it is looked at first waits for its rest as any other.
    assert_eq!(
        words[1..],
        ["torn before", "whole", "first half|goes on", "no end"].map(str::to_owned)
    );
    let latest = [
        950,
        950 + QUIET_MILLISECONDS,
        2_600 + QUIET_MILLISECONDS,
        4_050 + HOLD_MILLISECONDS,
    ];
    assert!(
        times
            .iter()
            .zip(latest)
            .all(|(time, latest)| *time <= latest),
        "{times:?}"
    );
}

#[test]
fn rotations_lose_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (path, old) = (
        directory.path().join("a.log"),
        directory.path().join("a.log.1"),
    );
    let (words, _) = play(
        directory.path(),
        &[Target::File(path.clone())],
        true,
        &[
            (100, &|| append(&path, "1 one\n")),
            (1_000, &|| {
                append(&path, "2 two\n");
                std::fs::rename(&path, &old).unwrap();
            }),
            (1_300, &|| {
                append(&old, "3 by a writer that has not noticed\n")
            }),
            (2_000, &|| append(&path, "4 four\n")),
            (3_000, &|| {
                append(&path, "5 five\n");
            }),
            (4_000, &|| write(&path, b"6 six\n")),
            (5_000, &|| write(&path, b"7 as long as 6\n8 and more\n")),
            (6_000, &|| append(&path, "9 nine\n")),
        ],
    );
    let records: Vec<&str> = words
        .iter()
        .map(String::as_str)
        .filter(|word| !word.starts_with(['(', '[']))
        .collect();
    let expected = [
        "one",
        "two",
        "by a writer that has not noticed",
        "four",
        "five",
        "six",
        "as long as 6",
        "and more",
        "nine",
    ];
    assert_eq!(records, expected, "{words:?}");
    let truncated = words
        .iter()
        .filter(|word| word.contains("truncated"))
        .count();
    assert_eq!(
        (truncated, words[0].as_str()),
        (2, "(a.log: could not open it: no such file)")
    );
    assert!(words.iter().any(|word| word.contains("rotated")));
}

#[test]
fn the_current_log_of_a_server_and_the_newest_of_a_directory_are_followed() {
    let directory = tempfile::tempdir().unwrap();
    let (data, logs) = (directory.path().join("data"), directory.path().join("logs"));
    std::fs::create_dir_all(data.join("log")).unwrap();
    std::fs::create_dir(&logs).unwrap();
    write(&data.join("log/1.csv"), b"1 one\n");
    write(
        &data.join("current_logfiles"),
        b"stderr log/1.log\ncsvlog log/1.csv\n",
    );
    write(&logs.join("z"), b"10 ten\n");
    let far = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 33);
    let (words, _) = play(
        directory.path(),
        &[
            Target::DataDirectory(data.clone()),
            Target::Newest(logs.clone()),
        ],
        true,
        &[
            (1_000, &|| {
                append(&data.join("log/1.csv"), "2 two\n");
                write(&data.join("log/2.csv"), b"3 three\n");
                write(&data.join("current_logfiles"), b"csvlog log/2.csv\n");
            }),
            (2_000, &|| {
                write(&logs.join("a"), b"11 eleven\n");
                std::fs::File::options()
                    .append(true)
                    .open(logs.join("a"))
                    .unwrap()
                    .set_modified(far)
                    .unwrap();
            }),
        ],
    );
    let records: Vec<&str> = words
        .iter()
        .map(String::as_str)
        .filter(|word| !word.starts_with('('))
        .collect();
    let expected = [
        "[data/log/1.csv]",
        "one",
        "[logs/z]",
        "ten",
        "[data/log/1.csv]",
        "two",
        "[data/log/2.csv]",
        "three",
        "[logs/a]",
        "eleven",
    ];
    let sorted = |mut words: Vec<&str>| {
        words.retain(|word| !word.starts_with('['));
        words.sort_unstable();
        words.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(sorted(records), sorted(expected.to_vec()), "{words:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn however_the_bytes_come_the_records_are_the_same(seed in 1_u64.., cuts in proptest::collection::vec(1_usize..400, 1..200)) {
        let text = log(&mut Random(seed), 80, 100);
        let make = || Tail::new(Box::new(|| Box::new(Lines::default())), 0);
        let mut whole = Seen::default();
        let mut tail = make();
        tail.feed(&text, 0, &mut whole);
        tail.finish(&mut whole);
        let (mut parts, mut tail, mut from) = (Seen::default(), make(), 0);
        for (time, count) in cuts.iter().cycle().enumerate() {
            let until = (from + count).min(text.len());
            let now = i64::try_from(time).unwrap() * (QUIET_MILLISECONDS - 1);
            tail.tick(now, &mut parts);
            tail.feed(&text[from..until], now, &mut parts);
            from = until;
            if from == text.len() {
                break;
            }
        }
        tail.finish(&mut parts);
        prop_assert_eq!(parts, whole);
    }
}
