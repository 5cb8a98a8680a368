//! Single records behind a number of the report, from the ends of files.

use std::fmt::Write as _;
use std::io::Write as _;
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

/// Finds records of a server that tells its prefix, which is quicker than to guess it.
fn found_told(files: &[PathBuf], wanted: &Wanted, records: usize) -> Found {
    let wish = Wish::told(Some("%m [%p] %q%u@%d "), Some("UTC"));
    let limits = Limits {
        records,
        bytes: u64::MAX,
        stop: &|| false,
    };
    let choose = |head: &pawang_logs::engine::FileHead<'_>| choose(head, &wish);
    search(files, &choose, wanted, Masked::default(), &limits)
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

/// Compresses a file into one beside it, of each compression.
fn pack(path: &Path) -> Vec<PathBuf> {
    let bytes = std::fs::read(path).unwrap();
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(&bytes).unwrap();
    let mut bz2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    bz2.write_all(&bytes).unwrap();
    let mut lz4 = lz4_flex::frame::FrameEncoder::new(Vec::new());
    lz4.write_all(&bytes).unwrap();
    let packed = [
        ("gz", gz.finish().unwrap()),
        ("bz2", bz2.finish().unwrap()),
        ("lz4", lz4.finish().unwrap()),
        ("zst", zstd::encode_all(&bytes[..], 1).unwrap()),
    ];
    let write = |(name, packed): (&str, Vec<u8>)| {
        let path = path.with_extension(format!("log.{name}"));
        std::fs::write(&path, packed).unwrap();
        path
    };
    packed.into_iter().map(write).collect()
}

#[test]
fn a_compressed_file_has_the_records_of_the_plain_one() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.log");
    log(&path, 0, 2_000);
    let at = |second: i64| Some(MIDNIGHT + second * SECOND);
    let packed = pack(&path);
    let window = Wanted {
        since: at(100),
        until: at(200),
        ..Wanted::default()
    };
    let text = Wanted {
        text: "connection 6 ".to_owned(),
        severity: Some(Severity::Fatal),
        ..Wanted::default()
    };
    for (wanted, most, count) in [
        (Wanted::default(), 10, 10),
        (window, 10_000, 100),
        (text, 10_000, 1),
    ] {
        let plain = found_told(std::slice::from_ref(&path), &wanted, most);
        assert_eq!(plain.records.len(), count, "{wanted:?}");
        for file in &packed {
            let packed = found_told(std::slice::from_ref(file), &wanted, most);
            assert_eq!(packed.records, plain.records, "{file:?} {wanted:?}");
            assert_eq!(packed.left_out, []);
            let cut = (count == most).then_some(Cut::Records);
            assert_eq!(packed.cut, cut, "{file:?} {wanted:?}");
        }
    }
    let wanted = Wanted {
        until: at(100),
        ..Wanted::default()
    };
    let early = found_told(&packed[..1], &wanted, 10);
    assert_eq!(early.cut, Some(Cut::Records));
}

#[test]
fn what_of_a_compressed_file_was_not_searched_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.log");
    log(&path, 0, 14_000);
    let oldest = directory.path().join("0.log");
    log(&oldest, 0, 5);
    let old = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000);
    let file = std::fs::File::options().append(true).open(&oldest).unwrap();
    file.set_modified(old).unwrap();
    // The others differ in nothing but what unpacks them.
    for packed in pack(&path)
        .into_iter()
        .filter(|path| path.extension().is_some_and(|name| name == "gz"))
    {
        let files = [packed, oldest.clone()];
        let limited = found(&files, &Wanted::default(), usize::MAX, 1);
        assert_eq!((limited.cut, limited.unopened), (Some(Cut::Bytes), 1));
        assert!((1..14_000).contains(&limited.records.len()));
        let [(path, why)] = &limited.left_out[..] else {
            panic!("{:?}", limited.left_out)
        };
        assert_eq!(*path, files[0]);
        assert!(why.contains("what follows was not"), "{why}");
        assert!(why.contains("up to 2026-11-21 0"), "{why}");
        let late = Limits {
            records: 10,
            bytes: u64::MAX,
            stop: &counted(2),
        };
        let late = search(
            &files,
            &chosen,
            &Wanted::default(),
            Masked::default(),
            &late,
        );
        assert_eq!(
            (late.cut, late.unopened, late.left_out.len()),
            (Some(Cut::Time), 1, 1)
        );
        let whole = std::fs::read(&files[0]).unwrap();
        std::fs::write(&files[0], &whole[..whole.len() / 2]).unwrap();
        let short = found(&files, &Wanted::default(), usize::MAX, u64::MAX);
        assert_eq!((short.cut, short.left_out.len()), (None, 1));
        let why = &short.left_out[0].1;
        assert!(
            why.contains("cut short or damaged") && why.contains("bytes were read"),
            "{why}"
        );
        assert!(short.records.len() < 14_005);
    }
}

/// Says at the look with that number that time is up.
fn counted(looks: u32) -> impl Fn() -> bool {
    let left = std::cell::Cell::new(looks);
    move || {
        left.set(left.get().saturating_sub(1));
        left.get() == 0
    }
}

#[test]
fn a_file_that_unpacks_to_more_than_any_log_is_left() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.log.zst");
    let line = "2026-11-21 00:00:00.000 UTC [1] LOG:  again\n";
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    for _ in 0..8 {
        encoder
            .write_all(line.repeat(1 << 20 >> 6).as_bytes())
            .unwrap();
    }
    std::fs::write(&path, encoder.finish().unwrap()).unwrap();
    let size = std::fs::metadata(&path).unwrap().len();
    assert!(size < 64 << 10, "{size}");
    let found = found(&[path], &Wanted::default(), 10, 64 << 10);
    assert_eq!((found.cut, found.records.len()), (Some(Cut::Bytes), 10));
    assert!(found.bytes < 4 << 20, "{}", found.bytes);
}

#[test]
fn what_cannot_be_searched_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.log");
    log(&path, 0, 50);
    let packed = directory.path().join("b.log.zst");
    let garbage = zstd::encode_all(&[0xff_u8, 0xfe, 1, 2, 0][..], 1).unwrap();
    std::fs::write(&packed, garbage).unwrap();
    let archive = directory.path().join("d.tar");
    let mut tar = tar::Builder::new(std::fs::File::create(&archive).unwrap());
    tar.append_path_with_name(&path, "a.log").unwrap();
    tar.finish().unwrap();
    let missing = directory.path().join("c.log");
    let files = [path, packed.clone(), missing.clone(), archive.clone()];
    let found = found(&files, &Wanted::default(), 100, u64::MAX);
    assert_eq!(found.records.len(), 50);
    let mut left_out = found.left_out;
    left_out.sort();
    let whys: Vec<(&PathBuf, &str)> = left_out
        .iter()
        .map(|(path, why)| (path, why.as_str()))
        .collect();
    assert!(whys[0].1.contains("was not recognised"), "{whys:?}");
    assert_eq!(*whys[0].0, packed);
    assert_eq!(
        whys[1..],
        [(&missing, "no such file"), (&archive, "it is an archive"),]
    );
}
