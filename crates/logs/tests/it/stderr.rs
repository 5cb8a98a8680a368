//! The `stderr` format: records over several lines, forged lines, pieces, what is no record.

use pawang_logs::format::stderr::{Options, Stderr};
use pawang_logs::format::{RECORD_BYTES_MAX, Scanner};
use pawang_logs::prefix::{Prefix, detect};
use pawang_logs::record::{Odd, Record, Sink};
use pawang_logs::severity::Severity;
use proptest::prelude::*;

const LOG: &[u8] = include_bytes!("../data/stderr.log");
const PREFIX: &str =
    "%m [%p] %c %l user=%u,db=%d,app=%a,client=%h,xid=%x,vxid=%v,state=%e,backend=%b,qid=%Q ";
const DEBIAN: &str = "%m [%p] %q%u@%d ";
const AMAZON: &str = "%t:%r:%u@%d:[%p]:";

/// What a scanner found, in order.
#[derive(Clone, Debug, Default, PartialEq)]
struct Seen {
    texts: Vec<String>,
    severities: Vec<Severity>,
    users: Vec<String>,
    messages: Vec<String>,
    offsets: Vec<u64>,
    forged: Vec<String>,
    raw: Vec<String>,
    malformed: usize,
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl Sink for Seen {
    fn record(&mut self, offset: u64, record: &Record<'_>) {
        self.texts.push(format!("{offset} {record:?}"));
        self.offsets.push(offset);
        self.severities.push(record.severity);
        self.users.push(text(record.user));
        self.messages.push(text(record.message));
    }

    fn odd(&mut self, offset: u64, odd: Odd<'_>) {
        self.texts.push(format!("{offset} {odd:?}"));
        match odd {
            Odd::Raw(line) => self.raw.push(text(line)),
            Odd::Forged(line) => self.forged.push(text(line)),
            Odd::Malformed(_) => self.malformed += 1,
        }
    }
}

fn scanner(prefix: &str) -> Stderr {
    Stderr::new([Prefix::new(prefix)], Options::default())
}

fn scan(prefix: &str, bytes: &[u8]) -> Seen {
    let mut seen = Seen::default();
    let done = scanner(prefix).scan(bytes, 0, bytes.len(), true, &mut seen);
    assert_eq!(done, bytes.len());
    seen
}

/// Scans bytes that come in pieces, the way a file is read.
fn scan_pieces(prefix: &str, bytes: &[u8], mut next: impl FnMut() -> usize) -> Seen {
    let mut seen = Seen::default();
    let mut scanner = scanner(prefix);
    let (mut done, mut have) = (0, 0);
    while have < bytes.len() {
        have = bytes.len().min(have + next().max(1));
        let piece = &bytes[done..have];
        let end = have == bytes.len();
        done += scanner.scan(piece, done as u64, piece.len(), end, &mut seen);
    }
    assert_eq!(done, bytes.len());
    seen
}

#[test]
fn every_line_of_a_real_log_is_a_record() {
    let seen = scan(PREFIX, LOG);
    assert_eq!(seen.raw, Vec::<String>::new());
    assert_eq!(seen.malformed, 0);
    let lines = LOG.split(|byte| *byte == b'\n').filter(|line| {
        memchr::memmem::find(line, b"backend=").is_some_and(|at| {
            let labels: [&[u8]; 4] = [b" LOG:  ", b" ERROR:  ", b" FATAL:  ", b" WARNING:  "];
            labels
                .iter()
                .any(|label| memchr::memmem::find(&line[at..], label).is_some_and(|at| at < 60))
        })
    });
    assert_eq!(seen.severities.len(), lines.count());
    assert!(!seen.severities.contains(&Severity::Panic));
    assert_eq!(seen.forged.len(), 2);
    assert!(
        seen.forged
            .iter()
            .all(|line| line.contains("PANIC:  forge"))
    );
    let name = "x\\x0a2026-01-01 08:00:00.000 UTC [1] 1.1 1 user=,db= PANIC:  forge";
    assert_eq!(seen.users.iter().filter(|user| *user == name).count(), 2);
    assert!(seen.users.iter().any(|user| user == "budi@itera.ac.id"));
    let refused = seen
        .messages
        .iter()
        .find(|message| message.starts_with("role \"x\n2026"));
    assert!(refused.is_some_and(|message| message.ends_with("PANIC:  forge\" does not exist")));
}

#[test]
fn the_prefix_of_a_real_log_is_found() {
    let guesses = detect(LOG);
    assert_eq!(guesses.len(), 1, "{guesses:?}");
    assert_eq!(guesses[0].prefix.as_str(), PREFIX);
    assert!(guesses[0].match_rate > 0.99);
}

#[test]
fn a_record_is_its_lines_together() {
    let log = b"\
2026-11-22 04:23:06.226 UTC [7] u@d ERROR:  42P01: relation \"x\" does not exist\n\
2026-11-22 04:23:06.226 UTC [7] u@d DETAIL:  a\n\tb\n\t\tc\n\t\n\
2026-11-22 04:23:06.226 UTC [7] u@d LOCATION:  parserOpenTable, parse_relation.c:1381\n\
2026-11-22 04:23:06.226 UTC [7] u@d STATEMENT:  select *\r\n\tfrom x\n\
2026-11-22 04:23:06.226 UTC [7] LOG:  AUDIT: SESSION\n\
2026-11-22 04:23:06.226 UTC [8] u@d STATEMENT:  of nobody\n";
    #[derive(Default)]
    struct One(Vec<[String; 5]>, Vec<u32>);
    impl Sink for One {
        fn record(&mut self, _: u64, record: &Record<'_>) {
            let texts = [
                record.message,
                &record.sqlstate,
                record.detail,
                record.location,
                record.statement,
            ];
            self.0.push(texts.map(text));
            self.1.push(record.lines);
        }
        fn odd(&mut self, _: u64, odd: Odd<'_>) {
            assert!(matches!(odd, Odd::Raw(line) if line.ends_with(b"of nobody")));
        }
    }
    let expected = [
        [
            "relation \"x\" does not exist",
            "42P01",
            "a\nb\n\tc\n",
            "parserOpenTable, parse_relation.c:1381",
            "select *\r\nfrom x",
        ],
        ["AUDIT: SESSION", "\0\0\0\0\0", "", "", ""],
    ];
    let mut one = One::default();
    scanner(DEBIAN).scan(log, 0, log.len(), true, &mut one);
    assert_eq!(one.0, expected.map(|texts| texts.map(String::from)));
    assert_eq!(one.1, [4, 1]);
    let mut windows = One::default();
    let carriage = text(log).replace('\n', "\r\n");
    scanner(DEBIAN).scan(carriage.as_bytes(), 0, carriage.len(), true, &mut windows);
    assert_eq!(windows.0[0][2], expected[0][2]);
    assert_eq!(windows.0[0][0], expected[0][0]);
}

#[test]
fn lines_without_prefix_are_told() {
    let log = b"cp: cannot stat 'x': No such file\n\
2026-11-22 04:23:06.226 UTC [7] LOG:  one\n\
rsync error\n\tindented\n\n\
\x00\x00\x002026-11-22 04:23:06.226 UTC [7] LOG:  two\n\
\x01\x02\x7f\x03garbage\n\
2026-11-22 04:23:06.226 UTC [7] LOG:  th\xffree\n";
    let seen = scan(DEBIAN, log);
    assert_eq!(seen.messages, ["one", "two", "th\u{fffd}ree"]);
    assert_eq!(
        seen.raw,
        [
            "cp: cannot stat 'x': No such file",
            "rsync error",
            "\tindented"
        ]
    );
    assert_eq!(seen.malformed, 2);
}

#[test]
fn a_line_end_in_a_name_makes_no_record() {
    let forged = "2026-01-01 08:00:00.000 UTC [1] a@b PANIC:  f";
    let debian = format!(
        "2026-11-22 04:23:06.226 UTC [7] [unknown]@[unknown] LOG:  connection received: host=[local]\n\
         2026-11-22 04:23:06.226 UTC [7] x\n{forged}@postgres FATAL:  role \"x\n\t{forged}\" does not exist\n\
         2026-11-22 04:23:07.226 UTC [8] u@d LOG:  next\n"
    );
    let seen = scan(DEBIAN, debian.as_bytes());
    assert_eq!(
        seen.severities,
        [Severity::Log, Severity::Fatal, Severity::Log]
    );
    assert_eq!(seen.users, ["", &format!("x\\x0a{forged}"), "u"]);
    assert_eq!(seen.forged.len(), 1);

    let forged = "2026-01-01 08:00:00 UTC:::a@b:[1]:PANIC:  f";
    let amazon = format!(
        "2026-11-22 04:23:06 UTC:10.0.0.7(40):x\ny\n{forged}@postgres:[7]:FATAL:  no\n\
         2026-11-22 04:23:07 UTC:10.0.0.7(40):u@d:[8]:LOG:  next\n"
    );
    let seen = scan(AMAZON, amazon.as_bytes());
    assert_eq!(seen.severities, [Severity::Fatal, Severity::Log]);
    assert_eq!(
        seen.users,
        [format!("x\\x0ay\\x0a{forged}"), "u".to_string()]
    );
    assert_eq!(seen.raw, Vec::<String>::new());

    let session = "%m %c [%p] %u ";
    let lines = "2026-11-22 04:23:06.226 UTC 6b020bba.7 [8] u PANIC:  forged\n\tmore\n\
         2026-11-22 04:23:06.226 UTC 6b020bba.7 [7] u LOG:  next\n";
    let seen = scan(session, lines.as_bytes());
    assert_eq!(seen.severities, [Severity::Log]);
    assert_eq!(seen.forged.len(), 1);
}

#[test]
fn a_prefix_may_change_within_a_file() {
    let log = b"2026-11-22 04:23:06.226 UTC [7] u@d LOG:  one\n2026-11-22 04:23:06 UTC-6b020bba.7-LOG:  two\n";
    let mut seen = Seen::default();
    let prefixes = [DEBIAN, "%t-%c-"].map(Prefix::new);
    Stderr::new(prefixes, Options::default()).scan(log, 0, log.len(), true, &mut seen);
    assert_eq!(seen.messages, ["one", "two"]);
}

#[test]
fn a_record_without_end_is_cut() {
    let mut log = b"2026-11-22 04:23:06.226 UTC [7] u@d LOG:  ".to_vec();
    for _ in 0..RECORD_BYTES_MAX / 5 {
        log.extend_from_slice(b"ab\n\tcd");
    }
    log.extend_from_slice(b"\n2026-11-22 04:23:06.226 UTC [7] u@d DETAIL:  left out\n");
    log.extend_from_slice(b"2026-11-22 04:23:06.226 UTC [7] u@d LOG:  next\n");
    let whole = scan(DEBIAN, &log);
    assert_eq!(whole.messages.len(), 2);
    assert!(whole.texts[0].contains("cut: true") && whole.messages[1] == "next");
    assert!(scan_pieces(DEBIAN, &log, || 1_000_003) == whole);
    let mut nothing = vec![0; RECORD_BYTES_MAX * 2];
    nothing.extend_from_slice(b"2026-11-22 04:23:06.226 UTC [7] u@d LOG:  next\n");
    let whole = scan(DEBIAN, &nothing);
    assert_eq!(whole.messages, ["next"]);
    assert!(scan_pieces(DEBIAN, &nothing, || 1_000_003) == whole);
    let mut garbage = vec![b'x'; RECORD_BYTES_MAX * 2];
    garbage.extend_from_slice(b"\n2026-11-22 04:23:06.226 UTC [7] u@d LOG:  next\n");
    let whole = scan(DEBIAN, &garbage);
    assert_eq!((whole.messages.len(), whole.raw.len()), (1, 1));
    assert!(scan_pieces(DEBIAN, &garbage, || 1_000_003) == whole);
}

/// Text with all that a log may hold, so that cuts fall everywhere.
fn mixed() -> Vec<u8> {
    let mut mixed = LOG[..16_800].to_vec();
    mixed.extend_from_slice(b"\nraw line\n\ttab\n\0\0\0\0\nDETAIL:  x\n");
    mixed.extend_from_slice(&LOG[16_800..]);
    mixed
}

#[test]
fn pieces_scanned_apart_are_the_whole() {
    let bytes = mixed();
    let whole = scan(PREFIX, &bytes);
    for size in [700, 1_500, 4_001, 10_000] {
        let mut joined = Seen::default();
        let mut expected = 0;
        for start in (0..bytes.len()).step_by(size) {
            let scanner = &mut scanner(PREFIX);
            let from = match start {
                0 => Some(0),
                _ => scanner.sync(&bytes[start..]).map(|at| start + at),
            };
            let stop = bytes.len().min(start + size);
            if expected >= stop {
                continue;
            }
            // A wrong guess is found by comparing it with where the piece before ended, and the piece is read again from there.
            let from = from.filter(|from| *from == expected).unwrap_or(expected);
            let rest = &bytes[from..];
            expected = from + scanner.scan(rest, from as u64, stop - from, true, &mut joined);
        }
        assert_eq!(joined.texts, whole.texts, "{size}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn cuts_change_nothing(sizes in prop::collection::vec(1_usize..3000, 1..40)) {
        let bytes = mixed();
        let mut sizes = sizes.into_iter().cycle();
        let pieces = scan_pieces(PREFIX, &bytes, || sizes.next().unwrap_or(1));
        prop_assert_eq!(pieces.texts, scan(PREFIX, &bytes).texts);
    }

    #[test]
    fn no_bytes_break_a_scanner(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        scan(DEBIAN, &bytes);
        scan("", &bytes);
    }
}
