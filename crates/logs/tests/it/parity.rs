//! The same events give the same report, whatever the format, the compression, the number of threads or the size of pieces.

use std::io::Write;
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;
use pawang_logs::choose::{Wish, choose};
use pawang_logs::engine::{Settings, read};
use pawang_logs::input::Input;
use pawang_logs::report::{Report, Source};
use pawang_logs::tally::Options;

const STDERR: &[u8] = include_bytes!("../data/forms.log");
const CSV: &[u8] = include_bytes!("../data/forms.csv");
const JSON: &[u8] = include_bytes!("../data/forms.json");

fn report(files: &[PathBuf], threads: usize, piece_bytes: u64) -> Report {
    let wish = Wish::default();
    let settings = Settings {
        threads,
        piece_bytes,
        choose: &|head| choose(head, &wish),
    };
    let options = Options::default();
    let inputs = files.iter().map(Input::file).collect();
    let outcome = read(inputs, &settings, &options).unwrap();
    let troubles: Vec<_> = outcome
        .source
        .files
        .iter()
        .filter_map(|file| file.trouble.as_ref())
        .collect();
    assert!(troubles.is_empty(), "{troubles:?}");
    outcome.tally.report(Source::default(), &options)
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

/// Compares as JSON, so that a difference names its field.
fn assert_equal(left: &Report, right: &Report, what: &str) {
    let json = |report: &Report| serde_json::to_string_pretty(report).unwrap();
    let (left, right) = (json(left), json(right));
    let different = left
        .lines()
        .zip(right.lines())
        .enumerate()
        .find(|(_, (a, b))| a != b);
    assert!(left == right, "{what}: {different:?}");
}

#[test]
fn stderr_csvlog_and_jsonlog_give_one_report() {
    let folder = tempfile::tempdir().unwrap();
    let csv = report(&[write(folder.path(), "a.csv", CSV)], 1, 1 << 25);
    assert!(csv.totals.records > 150, "{:?}", csv.totals);
    assert!(csv.statements.all.count > 20 && csv.errors.total > 5 && csv.locks.waits > 0);
    let json = report(&[write(folder.path(), "a.json", JSON)], 1, 1 << 25);
    assert_equal(&csv, &json, "jsonlog");
    let mut stderr = report(&[write(folder.path(), "a.log", STDERR)], 1, 1 << 25);
    // A name with a line end forges a line in this format only; csvlog and jsonlog quote it.
    assert_eq!(stderr.integrity.forged.total, 2, "{:?}", stderr.integrity);
    stderr.integrity = csv.integrity.clone();
    // And it numbers lines, not records, so that holes have other lengths.
    let comparable = |mut report: Report| {
        report.advice.retain(|advice| {
            advice.id != "forged-lines" && !advice.because.contains("holes in the line numbers")
        });
        report
    };
    assert_equal(&comparable(csv), &comparable(stderr), "stderr");
}

#[test]
fn threads_pieces_and_compression_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let whole = report(&[write(folder.path(), "a.log", STDERR)], 1, 1 << 25);
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(STDERR).unwrap();
    let gz = write(folder.path(), "b.log.gz", &gz.finish().unwrap());
    assert_equal(&whole, &report(&[gz], 2, 1 << 25), "gz");
    for (name, bytes) in [("c.log", STDERR), ("c.csv", CSV), ("c.json", JSON)] {
        let file = write(folder.path(), name, bytes);
        let one = report(std::slice::from_ref(&file), 1, 1 << 25);
        for (threads, piece) in [(1, 4_096), (2, 1_000), (3, 7_777), (4, 50_000)] {
            let cut = report(std::slice::from_ref(&file), threads, piece);
            assert_equal(
                &one,
                &cut,
                &format!("{name} with {threads} threads, pieces of {piece}"),
            );
        }
    }
}

#[test]
fn a_zone_that_is_only_abbreviated_is_what_the_caller_says() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), "a.csv", CSV);
    let wish = Wish {
        zone: Some(TimeZone::get("Asia/Jakarta").unwrap()),
        ..Wish::default()
    };
    let settings = Settings {
        threads: 1,
        piece_bytes: 1 << 25,
        choose: &|head| choose(head, &wish),
    };
    let outcome = read(vec![Input::file(&file)], &settings, &Options::default()).unwrap();
    let told = outcome.tally.report(Source::default(), &Options::default());
    let table = report(&[file], 1, 1 << 25);
    assert_eq!(told.totals.first_at, table.totals.first_at);
}

#[test]
fn a_prefix_that_explains_nothing_is_refused_with_the_likely_one() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), "a.log", STDERR);
    let wish = Wish {
        prefixes: vec!["%t [%p] ".to_owned()],
        certain: true,
        ..Wish::default()
    };
    let settings = Settings {
        threads: 1,
        piece_bytes: 1 << 25,
        choose: &|head| choose(head, &wish),
    };
    let outcome = read(vec![Input::file(&file)], &settings, &Options::default()).unwrap();
    let trouble = outcome.source.files[0].trouble.clone().unwrap();
    assert!(
        trouble.contains("matches 0 %") && trouble.contains("%m [%p] %c %l user=%u"),
        "{trouble}"
    );
    // What is not certain is only a help: the server may have written with another prefix before.
    let help = Wish {
        certain: false,
        ..wish.clone()
    };
    let settings = Settings {
        choose: &|head| choose(head, &help),
        ..settings
    };
    let outcome = read(vec![Input::file(&file)], &settings, &Options::default()).unwrap();
    assert_eq!(outcome.source.files[0].trouble, None);
    assert_eq!(outcome.source.files[0].records, 157);
}

/// What rsyslog wrote of a PostgreSQL 15 with `log_destination = 'stderr,syslog'`, beside what the server wrote itself.
const SYSLOGS: [(&str, &[u8]); 2] = [
    ("RFC 3164", include_bytes!("../data/syslog/rfc3164.log")),
    ("RFC 5424", include_bytes!("../data/syslog/rfc5424.log")),
];

#[test]
fn syslog_gives_the_report_of_the_stderr_format() {
    let folder = tempfile::tempdir().unwrap();
    let log = include_bytes!("../data/syslog/stderr.log");
    let stderr = report(&[write(folder.path(), "a.log", log)], 1, 1 << 25);
    assert_eq!(stderr.totals.records, 23);
    assert_eq!((stderr.locks.waits, stderr.unclassified.total), (1, 0));
    for (form, bytes) in SYSLOGS {
        let file = write(folder.path(), form, bytes);
        let syslog = report(&[file], 1, 1 << 25);
        assert_eq!(syslog.unclassified.items, [], "{form}");
        assert_equal(&stderr, &syslog, form);
    }
}

#[test]
fn every_line_of_a_pgbouncer_is_a_record_of_a_kind() {
    let folder = tempfile::tempdir().unwrap();
    let log = include_bytes!("../data/pgbouncer.log");
    let report = report(&[write(folder.path(), "p.log", log)], 1, 1 << 25);
    assert_eq!(report.totals.records, 42);
    assert_eq!(report.unclassified.total, 0, "{:?}", report.unclassified);
}
