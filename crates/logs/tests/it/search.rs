//! Single records behind a number of the report, from the ends of files.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use pawang_logs::choose::{Wish, choose};
use pawang_logs::engine::{PIECE_BYTES, Settings, read};
use pawang_logs::input::Input;
use pawang_logs::render::{self, Masked};
use pawang_logs::report::Report;
use pawang_logs::search::{Cut, Found, Limits, Wanted, error_id, search};
use pawang_logs::severity::Severity;
use pawang_logs::tally::Options;

/// 2026-11-21 00:00:00 UTC in microseconds.
const MIDNIGHT: i64 = 1_795_219_200_000_000;
const SECOND: i64 = 1_000_000;

/// Writes one record per second from a second of the day on: errors of two texts, durations of two shapes, logins.
fn log(path: &Path, from: u32, seconds: u32) {
    let mut text = String::new();
    for second in from..from + seconds {
        let stamp = format!(
            "2026-11-21 {:02}:{:02}:{:02}.000 UTC [{}] app@shop ",
            second / 3600,
            second / 60 % 60,
            second % 60,
            100 + second % 7
        );
        let what = match second % 5 {
            0 => format!(
                "ERROR:  relation \"t{second}\" does not exist at character 15\n{stamp}STATEMENT:  select * from t{second}"
            ),
            1 => format!("FATAL:  terminating connection {second} due to timeout"),
            2 => format!(
                "LOG:  duration: {second}.5 ms  statement: select * from orders where id = {second}"
            ),
            3 => format!(
                "LOG:  duration: 1.5 ms  statement: update orders set note = 'note {second}'"
            ),
            _ => "LOG:  connection authorized: user=app database=shop".to_owned(),
        };
        let _ = writeln!(text, "{stamp}{what}");
    }
    std::fs::write(path, text).unwrap();
}

fn chosen(
    head: &pawang_logs::engine::FileHead<'_>,
) -> Result<pawang_logs::engine::Chosen, pawang_logs::Error> {
    choose(head, &Wish::default())
}

fn found(files: &[PathBuf], wanted: &Wanted, records: usize, bytes: u64) -> Found {
    let limits = Limits {
        records,
        bytes,
        stop: &|| false,
    };
    search(files, &chosen, wanted, Masked::default(), &limits)
}

fn report(files: &[PathBuf]) -> Report {
    let settings = Settings {
        threads: 1,
        piece_bytes: PIECE_BYTES,
        choose: &chosen,
    };
    let inputs = files.iter().map(Input::file).collect();
    let outcome = read(inputs, &settings, &Options::default()).unwrap();
    let mut report = outcome.tally.report(outcome.source, &Options::default());
    render::redact(&mut report);
    report
}

#[test]
fn every_number_of_the_report_leads_to_its_records() {
    let directory = tempfile::tempdir().unwrap();
    let files = [
        directory.path().join("a.log"),
        directory.path().join("b.log"),
    ];
    log(&files[0], 0, 6_000);
    log(&files[1], 6_000, 3_000);
    let report = report(&files);
    assert_eq!(report.totals.records, 9_000);
    let count = |wanted: &Wanted| {
        let found = found(&files, wanted, usize::MAX, u64::MAX);
        assert_eq!((found.cut, found.left_out.len()), (None, 0));
        found.records.len() as u64
    };
    assert_eq!(count(&Wanted::default()), 9_000);
    for kind in &report.kinds {
        let wanted = Wanted {
            kind: Some(kind.kind.clone()),
            ..Wanted::default()
        };
        assert_eq!(count(&wanted), kind.count, "{}", kind.kind);
    }
    assert_eq!(report.errors.items.len(), 2);
    for error in &report.errors.items {
        let wanted = Wanted {
            error: Some(error_id(&error.sqlstate, &error.text)),
            ..Wanted::default()
        };
        assert_eq!(count(&wanted), error.count, "{}", error.text);
    }
    let shapes = &report.statements.by_time.items;
    assert_eq!(shapes.len(), 2);
    for shape in shapes {
        let wanted = Wanted {
            shape: Some(shape.id.clone()),
            ..Wanted::default()
        };
        assert_eq!(count(&wanted), shape.durations.count, "{}", shape.text);
    }
}

#[test]
fn the_newest_come_first_within_the_limits() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.log");
    log(&path, 0, 12_000);
    let size = std::fs::metadata(&path).unwrap().len();
    let files = [path];
    let newest = found(&files, &Wanted::default(), 10, u64::MAX);
    let at = |second: i64| Some(MIDNIGHT + second * SECOND);
    let ats: Vec<_> = newest.records.iter().map(|line| line.at).collect();
    let expected: Vec<_> = (0..10).map(|back| at(11_999 - back)).collect();
    assert_eq!((ats, newest.cut), (expected, Some(Cut::Records)));
    assert!(newest.bytes < size / 2, "the beginning was left alone");
    let texts: Vec<&str> = newest.records.iter().map(|r| r.message.as_str()).collect();
    assert!(!texts.concat().contains("note 1"), "{texts:?}");
    let wanted = Wanted {
        since: at(100),
        until: at(110),
        severity: Some(Severity::Error),
        ..Wanted::default()
    };
    let window = found(&files, &wanted, 100, u64::MAX);
    let ats: Vec<_> = window.records.iter().map(|line| line.at).collect();
    assert_eq!(ats, [at(106), at(105), at(101), at(100)]);
    assert_eq!(window.records[3].statement, "select * from t100");
    let few = found(&files, &wanted, 100, 1);
    assert_eq!((few.records.len(), few.cut), (0, Some(Cut::Bytes)));
    let limits = Limits {
        records: 100,
        bytes: u64::MAX,
        stop: &|| true,
    };
    let late = search(&files, &chosen, &wanted, Masked::default(), &limits);
    assert_eq!(late.cut, Some(Cut::Time));
    let text = Wanted {
        text: "CONNECTION 11996".to_owned(),
        ..Wanted::default()
    };
    let texts = found(&files, &text, 100, u64::MAX);
    assert_eq!((texts.records.len(), texts.cut), (1, None));
}

#[test]
fn what_cannot_be_searched_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.log");
    log(&path, 0, 50);
    let packed = directory.path().join("b.log.zst");
    std::fs::write(&packed, zstd::encode_all(&b"text"[..], 1).unwrap()).unwrap();
    let missing = directory.path().join("c.log");
    let files = [path, packed.clone(), missing.clone()];
    let found = found(&files, &Wanted::default(), 100, u64::MAX);
    assert_eq!(found.records.len(), 50);
    let mut left_out = found.left_out;
    left_out.sort();
    assert_eq!(
        left_out,
        [
            (packed, "it is compressed".to_owned()),
            (missing, "no such file".to_owned())
        ]
    );
}
