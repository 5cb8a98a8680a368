//! The same result for any number of threads and any size of pieces, and a statement of what was not read.

use std::io::{Read, Write};
use std::path::Path;

use pawang_logs::choose::{self as choosing, Wish};
use pawang_logs::engine::{FileHead, Settings, read, read_into};
use pawang_logs::format::detect::Form;
use pawang_logs::input::Input;
use pawang_logs::report::Source;
use pawang_logs::tally::Options;

use crate::lines::{Lines, Random, Seen, choose, choose_as, log, write};

fn read_lines(
    inputs: Vec<Input>,
    threads: usize,
    piece_bytes: u64,
    scanner: Lines,
) -> (Seen, Source) {
    let choose = move |head: &FileHead<'_>| choose_as(head, scanner);
    let settings = Settings {
        threads,
        piece_bytes,
        choose: &choose,
    };
    read_into(inputs, &settings, Seen::default()).unwrap()
}

fn one(path: &Path, threads: usize, piece_bytes: u64) -> (Seen, Source) {
    read_lines(
        vec![Input::file(path)],
        threads,
        piece_bytes,
        Lines::default(),
    )
}

fn trouble(source: &Source, file: usize) -> &str {
    source.files[file].trouble.as_deref().unwrap_or("none")
}

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn tar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o600);
        builder.append_data(&mut header, name, *bytes).unwrap();
    }
    builder.into_inner().unwrap()
}

#[test]
fn any_threads_and_pieces_give_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let mut random = Random(0x5eed_1234);
    let paths: Vec<_> = (0..4)
        .map(|number| directory.path().join(format!("{number}.log")))
        .collect();
    for (number, path) in paths.iter().enumerate() {
        write(
            path,
            &log(
                &mut random,
                300 * (number as u64 * 5 + 1),
                1_000_000 * (number as u64 + 1),
            ),
        );
    }
    let packed = directory.path().join("2.packed");
    write(&packed, &gz(&std::fs::read(&paths[2]).unwrap()));
    let inputs = |packs: bool| -> Vec<Input> {
        let path = |number: usize| {
            if packs && number == 2 {
                &packed
            } else {
                &paths[number]
            }
        };
        (0..4).map(|number| Input::file(path(number))).collect()
    };
    let (expected, source) = read_lines(inputs(false), 1, 1 << 30, Lines::default());
    assert_eq!(expected.records.len(), 300 * (1 + 6 + 11 + 16));
    assert_eq!(
        source.bytes,
        source.files.iter().map(|file| file.bytes).sum::<u64>()
    );
    for round in 0..60 {
        let threads = usize::try_from(1 + random.below(6)).unwrap();
        let piece_bytes = 1 + random.below(if round % 3 == 0 { 3_000 } else { 200_000 });
        let piece_bytes = piece_bytes.max(300);
        let scanner = Lines {
            guesses: round % 2 == 0,
            whole: round % 5 == 0,
            ..Lines::default()
        };
        let (seen, found) = read_lines(inputs(round % 4 == 0), threads, piece_bytes, scanner);
        assert!(
            seen == expected,
            "threads {threads}, pieces {piece_bytes}, round {round}"
        );
        let numbers = |source: &Source| -> Vec<_> {
            source
                .files
                .iter()
                .map(|file| (file.bytes, file.records, file.trouble.clone()))
                .collect()
        };
        assert_eq!(
            numbers(&found),
            numbers(&source),
            "threads {threads}, pieces {piece_bytes}"
        );
    }
}

/// A line that two prefixes explain, after one that only the second does: in a piece of its own the first is tried first.
#[test]
fn the_slowest_executions_are_the_same_however_the_log_is_cut() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("slow.log");
    let mut random = Random(0x5107);
    let mut text = String::new();
    for number in 0..4_000_u64 {
        // Many took as long as others, some of them at the same instant.
        let (duration, second) = (random.below(40), number / 400 % 60);
        text += &format!(
            "2026-01-02 03:04:{second:02}.000 UTC [{}] LOG:  duration: {duration}.000 ms  statement: select {} from t{}\n",
            number % 7 + 1,
            random.below(1_000),
            random.below(30),
        );
    }
    write(&path, text.as_bytes());
    let wish = Wish::default();
    let choose = |head: &FileHead<'_>| choosing::choose(head, &wish);
    let report = |threads: usize, piece_bytes: u64| {
        let settings = Settings {
            threads,
            piece_bytes,
            choose: &choose,
        };
        let options = Options {
            constants: true,
            items: 1_000,
            ..Options::default()
        };
        let outcome = read(vec![Input::file(&path)], &settings, &options).unwrap();
        outcome.tally.report(outcome.source, &options)
    };
    let whole = report(1, 1 << 30);
    assert_eq!(whole.statements.all.count, 4_000);
    assert!(whole.statements.slowest.len() >= 200);
    for (threads, piece_bytes) in [(1, 9_000), (2, 20_000), (3, 9_000), (4, 60_000)] {
        let cut = report(threads, piece_bytes);
        assert!(cut == whole, "threads {threads}, pieces {piece_bytes}");
    }
}

#[test]
fn pieces_of_a_log_with_two_prefixes_are_read_as_the_whole_is() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let line = |process: &str, number: u32| {
        format!("2026-11-22 04:23:06.226 UTC [7]{process} {number} LOG:  a message\n")
    };
    let log = line("a", 3) + &line(" 6b020bba.7", 4) + &line(" 6b020bba.7", 9);
    std::fs::write(&path, &log).unwrap();
    let wish = Wish {
        form: Some(Form::Stderr),
        prefixes: ["%m [%p] %c %l ", "%m [%p]%u %l "]
            .map(str::to_owned)
            .into(),
        certain: true,
        zone: None,
    };
    let report = |threads, piece_bytes| {
        let settings = Settings {
            threads,
            piece_bytes,
            choose: &|head| choosing::choose(head, &wish),
        };
        let outcome = read(vec![Input::file(&path)], &settings, &Options::default()).unwrap();
        outcome.tally.report(Source::default(), &Options::default())
    };
    let whole = report(1, 1 << 20);
    assert_eq!(whole.integrity.gaps.total, 1, "lines 5 to 8 of the session");
    for piece_bytes in 1..=log.len() as u64 {
        assert_eq!(report(2, piece_bytes), whole, "pieces of {piece_bytes}");
    }
}

#[test]
fn a_record_longer_than_any_piece_is_cut_and_what_follows_is_exact() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("long.log");
    let mut text = log(&mut Random(7), 500, 100);
    text.extend_from_slice(b"700 long ");
    for _ in 0..60_000 {
        text.extend_from_slice(&[b'y'; 200]);
        text.extend_from_slice(b"\n\t900 no record\n\t");
    }
    text.extend_from_slice(b"\n");
    text.extend(log(&mut Random(8), 500, 800));
    write(&path, &text);
    let (expected, source) = one(&path, 1, 1 << 40);
    assert_eq!(expected.records.len(), 1001);
    assert!(expected.records[500].1.ends_with("cut"));
    assert_eq!(
        (source.bytes, trouble(&source, 0)),
        (text.len() as u64, "none")
    );
    for (threads, piece_bytes) in [(1, 1 << 20), (2, 1 << 20), (3, 300_000), (2, 5_000_000)] {
        let (seen, found) = one(&path, threads, piece_bytes);
        assert!(
            seen == expected,
            "threads {threads}, pieces {piece_bytes}: {}",
            seen.records.len()
        );
        assert_eq!(found, source);
    }
}

#[test]
fn compressed_files_archives_and_standard_input_are_read_alike() {
    let directory = tempfile::tempdir().unwrap();
    let text = log(&mut Random(9), 2_000, 50);
    let plain = directory.path().join("plain");
    write(&plain, &text);
    let (expected, _) = one(&plain, 1, 1 << 20);
    let check = |name: &str, bytes: &[u8], compression: &str| {
        let path = directory.path().join(name);
        write(&path, bytes);
        for threads in [1, 3] {
            let (seen, source) = one(&path, threads, 10_000);
            assert!(seen == expected, "{name}");
            let file = &source.files[0];
            assert_eq!(
                (file.compression.as_deref(), &file.trouble),
                (Some(compression), &None),
                "{name}"
            );
            assert_eq!((file.bytes, file.records), (text.len() as u64, 2_000));
        }
    };
    check("a.gz", &gz(&text), "gz");
    check(
        "two members",
        &[gz(&text[..1_000]), gz(&text[1_000..])].concat(),
        "gz",
    );
    check("no ending", &zstd::encode_all(&text[..], 1).unwrap(), "zst");
    check(
        "twice",
        &gz(&zstd::encode_all(&text[..], 1).unwrap()),
        "zst.gz",
    );
    check("one.tar", &tar(&[("log/pg.log", &text)]), "tar");
    check("one.tgz", &gz(&tar(&[("log/pg.log", &text)])), "tar.gz");
    check(
        "inner.tar",
        &tar(&[("log/pg.log.gz", &gz(&text))]),
        "gz.tar",
    );
    for threads in [1, 2] {
        let reader: Box<dyn Read + Send> = Box::new(std::io::Cursor::new(gz(&text)));
        let (seen, source) = read_lines(
            vec![Input::reader("-", reader)],
            threads,
            5_000,
            Lines::default(),
        );
        assert!(seen == expected);
        assert_eq!(source.files[0].name, "-");
    }
}

#[test]
fn each_member_of_an_archive_is_a_file_and_each_log_is_read_once() {
    let directory = tempfile::tempdir().unwrap();
    let text = log(&mut Random(9), 2_000, 50);
    let other = log(&mut Random(10), 300, 9_000);
    let path = directory.path().join("two.tar");
    write(
        &path,
        &tar(&[
            ("a.csv", &text),
            ("empty", b""),
            ("b.log", &other),
            ("a.log", &text),
        ]),
    );
    let (seen, source) = one(&path, 2, 4_000);
    assert_eq!(seen.records.len(), 2_300);
    let names: Vec<_> = source
        .files
        .iter()
        .map(|file| file.name.rsplit("two.tar/").next().unwrap())
        .collect();
    assert_eq!(names, ["a.csv", "empty", "b.log", "a.log"]);
    assert_eq!(
        trouble(&source, 3),
        "not read, since another member holds the same log in another format"
    );
}

/// Two streams in one file, made with `seq -f '%.0f record' 1 1000 | xz -9` and 1001 to 2000 with `xz`.
#[test]
fn xz_is_read_whole_or_its_end_is_stated() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("lines");
    let packed =
        std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/lines.xz")).unwrap();
    write(&path, &packed);
    let (seen, source) = one(&path, 1, 1_000);
    assert_eq!((seen.records.len(), trouble(&source, 0)), (2_000, "none"));
    assert_eq!(source.files[0].compression.as_deref(), Some("xz"));
    for cut in [20, packed.len() / 3, packed.len() - 5, packed.len() - 1] {
        write(&path, &packed[..cut]);
        let (_, source) = one(&path, 2, 1_000);
        assert!(
            trouble(&source, 0).contains("its xz data is cut short or damaged"),
            "{cut}: {}",
            trouble(&source, 0)
        );
    }
}

#[test]
fn what_could_not_be_read_is_stated() {
    let directory = tempfile::tempdir().unwrap();
    let text = log(&mut Random(11), 30_000, 50);
    let check = |name: &str, bytes: &[u8], expected: &str| {
        let path = directory.path().join(name);
        write(&path, bytes);
        for threads in [1, 2] {
            let (_, source) = one(&path, threads, 1 << 20);
            let found = source
                .files
                .last()
                .unwrap()
                .trouble
                .as_deref()
                .unwrap_or("none");
            assert!(found.contains(expected), "{name}: {found}");
        }
    };
    let packed = gz(&text);
    check(
        "cut.gz",
        &packed[..packed.len() / 2],
        "its gz data is cut short or damaged (it ends early): ",
    );
    check(
        "cut.zst",
        &zstd::encode_all(&text[..], 1).unwrap()[..9_000],
        "its zst data is cut short or damaged",
    );
    let mut damaged = packed.clone();
    damaged[packed.len() / 2] ^= 0x55;
    check(
        "damaged.gz",
        &damaged,
        "its gz data is cut short or damaged",
    );
    let archive = tar(&[("a.log", &text), ("b.log", &text[..1_000])]);
    check("cut.tar", &archive[..20_000], "members may be missing");
    check(
        "no end.tar",
        &archive[..archive.len() - 1_024],
        "members may be missing",
    );
    check(
        "binary",
        b"\0\x01\x02",
        "it has NUL bytes; nothing of it was read",
    );
    check("a.zip", b"PK\x03\x04 and so on", "zip archive");
    check("empty", b"", "none");
    let (seen, source) = read_lines(
        vec![
            Input::file("/nowhere/a.log"),
            Input::file(directory.path()),
            Input::file(directory.path().join("empty")),
        ],
        2,
        1_000,
        Lines::default(),
    );
    assert_eq!(seen, Seen::default());
    assert_eq!(
        trouble(&source, 0),
        "could not open it: no such file; nothing of it was read"
    );
    assert_eq!(trouble(&source, 1), "it is a directory");
    let (_, source) = one(&directory.path().join("cut.gz"), 2, 100_000);
    assert!(source.files[0].bytes > 0 && source.files[0].records > 0);
}

/// A scanner's choice is made after the size was taken: what the file does then is what it does while it is read.
#[test]
fn a_file_that_grows_or_shrinks_while_it_is_read_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("live.log");
    let text = log(&mut Random(12), 60_000, 50);
    for threads in [1, 2] {
        let run = |change: &(dyn Fn() + Sync)| {
            write(&path, &text);
            let choose = |head: &FileHead<'_>| {
                change();
                choose(head)
            };
            let settings = Settings {
                threads,
                piece_bytes: 500_000,
                choose: &choose,
            };
            read_into(vec![Input::file(&path)], &settings, Seen::default()).unwrap()
        };
        let (seen, source) = run(&|| {
            let mut file = std::fs::OpenOptions::new()
                .append(true)
                .open(&path)
                .unwrap();
            file.write_all(b"99 more\n").unwrap();
        });
        assert_eq!(seen.records.len(), 60_000);
        let expected = format!(
            "it grew by 8 bytes while it was read: the first {} bytes were read",
            text.len()
        );
        assert_eq!(trouble(&source, 0), expected);
        let (seen, source) = run(&|| {
            std::fs::OpenOptions::new()
                .write(true)
                .open(&path)
                .unwrap()
                .set_len(1_700_000)
                .unwrap();
        });
        assert!(seen.records.len() > 10_000 && seen.records.len() < 60_000);
        // The torn record at the end is not taken for a whole one.
        let read = source.files[0].bytes;
        assert!((1_699_500..=1_700_000).contains(&read) && text[..read as usize].ends_with(b"\n"));
        let expected = format!(
            "it shrank to 1700000 bytes or less while it was read: {read} bytes were read, what follows was not"
        );
        assert_eq!(trouble(&source, 0), expected);
    }
}

#[test]
fn a_file_that_ends_before_the_window_is_not_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("old.log");
    write(&path, &log(&mut Random(13), 5_000, 50));
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(6_000))
        .unwrap();
    let settings = Settings {
        threads: 1,
        piece_bytes: 1 << 20,
        choose: &choose,
    };
    let run = |since: i64| {
        let first = Seen {
            since: Some(since * 1_000_000),
            ..Seen::default()
        };
        read_into(vec![Input::file(&path)], &settings, first).unwrap()
    };
    let (seen, source) = run(7_000);
    assert_eq!(
        (seen.records.len(), trouble(&source, 0)),
        (0, "not read, since it ends before the window of time")
    );
    // Written after the window's beginning, though its records are before it: read.
    assert_eq!(run(5_500).0.records.len(), 5_000);
    let options = Options::default();
    assert!(read(Vec::new(), &settings, &options).is_err());
    assert_eq!(
        read(vec![Input::file(&path)], &settings, &options)
            .unwrap()
            .source
            .files[0]
            .records,
        5_000
    );
}
