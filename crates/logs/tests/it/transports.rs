//! Logs that come through something: syslog, the journal, services that wrap lines in JSON; and the guess which it is.

use pawang_logs::format::Scanner;
use pawang_logs::format::cloudnative::CloudNativePg;
use pawang_logs::format::csv::Csv;
use pawang_logs::format::detect::{Form, detect};
use pawang_logs::format::journald::{self, Journald};
use pawang_logs::format::syslog::{Assumed, Syslog};
use pawang_logs::format::wrapped::{Transport, Wrapped};
use pawang_logs::record::{Odd, Record, Sink};
use pawang_logs::severity::Severity;
use proptest::prelude::*;

use crate::found::{Found, Keep, odds, pieces, records, split, whole};

const ASSUMED: Assumed = Assumed {
    end: 1_795_300_000,
    offset: 0,
    certain: true,
};

/// Reads `[pid] LEVEL:  message` with lines that go on after a tab; enough of the stderr format to test what wraps it.
struct Tiny;

impl Scanner for Tiny {
    fn sync(&self, bytes: &[u8]) -> Option<usize> {
        if bytes.starts_with(b"[") {
            return Some(0);
        }
        let next = memchr::memmem::find(bytes, b"\n[")? + 1;
        Some(next)
    }

    fn scan(
        &mut self,
        bytes: &[u8],
        base: u64,
        until: usize,
        end: bool,
        sink: &mut dyn Sink,
    ) -> usize {
        let mut position = 0;
        while position < until {
            let rest = &bytes[position..];
            let next = memchr::memchr_iter(b'\n', rest)
                .map(|newline| newline + 1)
                .find(|next| rest.get(*next).is_some_and(|byte| *byte != b'\t'));
            let length = match next {
                Some(next) => next,
                None if end => rest.len(),
                None => break,
            };
            let text = String::from_utf8_lossy(&rest[..length]);
            let parsed = text.trim_end().strip_prefix('[').and_then(|text| {
                let (pid, text) = text.split_once("] ")?;
                let (level, message) = text.split_once(":  ")?;
                Some((
                    pid.parse().ok()?,
                    Severity::of(level.as_bytes())?,
                    message.replace("\n\t", "\n"),
                ))
            });
            match parsed {
                Some((pid, severity, message)) => sink.record(
                    base + position as u64,
                    &Record {
                        pid,
                        severity,
                        message: message.as_bytes(),
                        ..Record::default()
                    },
                ),
                None => sink.odd(base + position as u64, Odd::Raw(&rest[..length])),
            }
            position += length;
        }
        position
    }

    fn splittable(&self) -> bool {
        true
    }
}

fn tiny() -> Option<Box<dyn Scanner>> {
    Some(Box::new(Tiny))
}

fn plain_syslog() -> Syslog {
    Syslog::new(None, ASSUMED)
}

/// Shows records in short.
fn shown(found: &[Found]) -> Vec<String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let show = |record: &&Record<'_>| {
        let at = record.at.map_or(0, |at| at / 1_000_000 % 100);
        let (message, statement) = (text(record.message), text(record.statement));
        format!(
            "{} {} {} {message:?} {statement:?}",
            record.pid,
            at,
            record.severity.as_str()
        )
    };
    records(found).iter().map(show).collect()
}

const SYSLOG: &str = "\
nd of a line
Nov 22 04:23:06 db postgres[7]: [5-1] ERROR:  no
Nov 22 04:23:06 db postgres[8]: [3-1] LOG:  two#011tabs
Nov 22 04:23:07 db cron[9]: LOG:  of no server
Nov 22 04:23:07 db postgres[7]: [5-2] STATEMENT:  select
Nov 22 04:23:07 db postgres[8]: [3-2] DETAIL:  d
Nov 22 04:23:07 db postgres[7]: [5-3] #011from x
Nov 22 04:23:08 db postgres[7]: [1-1] LOG:  again
Nov 22 04:23:08 other postgres[7]: [1-1] LOG:  other host
Nov 22 04:23:08 db postgres[7]: [1-2] #011more
Nov 22 04:23:08 other postgres[7]: [1-2] #011more there
Nov 22 04:23:09 db postgres[7]: [9-2] lost
";

#[test]
fn syslog_records_are_put_together() {
    let found = whole(plain_syslog(), SYSLOG.as_bytes());
    assert_eq!(
        shown(&found),
        [
            r#"7 86 ERROR "no" "select\nfrom x""#,
            r#"8 86 LOG "two\ttabs" """#,
            r#"7 88 LOG "again\nmore" """#,
            r#"7 88 LOG "other host\nmore there" """#,
        ]
    );
    assert_eq!(
        odds(&found),
        [
            ("raw", "nd of a line".to_owned()),
            ("raw", "lost".to_owned())
        ]
    );
    for cut in 0..SYSLOG.len() {
        assert_eq!(
            pieces(plain_syslog(), SYSLOG.as_bytes(), &[cut]),
            found,
            "{cut}"
        );
    }
}

#[test]
fn a_stray_line_within_a_record_is_told_whatever_is_asked_for_at_once() {
    let text = SYSLOG.replacen(
        "Nov 22 04:23:07 db cron",
        "Nov 22 04:23:07 db postgres[7]: stray\nNov 22 04:23:07 db cron",
        1,
    );
    let bytes = text.as_bytes();
    let found = whole(plain_syslog(), bytes);
    assert!(odds(&found).contains(&("raw", "stray".to_owned())));
    for step in 1..bytes.len() {
        let (mut scanner, mut keep, mut done) = (plain_syslog(), Keep::default(), 0);
        while done < bytes.len() {
            let rest = &bytes[done..];
            let until = step.min(rest.len());
            let read = scanner.scan(rest, done as u64, until, true, &mut keep);
            assert!(read > 0, "nothing was read at {done}");
            done += read;
        }
        assert_eq!(keep.0, found, "in steps of {step}");
    }
}

#[test]
fn syslog_splits_of_long_lines_are_undone() {
    let words: Vec<String> = (0..900).map(|number| format!("w{number}")).collect();
    let statement = words.join(" ");
    let mut lines = vec!["ERROR:  no".to_owned()];
    let mut rest = format!("STATEMENT:  {statement}");
    while rest.len() > 900 {
        let space = rest[..900].rfind(' ').unwrap();
        let tail = rest.split_off(space);
        lines.push(std::mem::replace(&mut rest, tail));
    }
    lines.push(rest);
    let head = "<134>1 2026-11-22T04:23:06.5+00:00 db postgres 7 - - ";
    let text: String = (lines.iter().enumerate())
        .map(|(index, line)| format!("{head}[5-{}] {line}\n", index + 1))
        .collect();
    let found = whole(plain_syslog(), text.as_bytes());
    assert_eq!(records(&found).len(), 1);
    assert_eq!(records(&found)[0].statement, statement.as_bytes());
    let unbroken = "x".repeat(2000);
    let text = format!(
        "{head}[5-1] LOG:  {}\n{head}[5-2] {}\n{head}[5-3] {}\n",
        &unbroken[..894],
        &unbroken[894..1794],
        &unbroken[1794..]
    );
    assert_eq!(
        records(&whole(plain_syslog(), text.as_bytes()))[0].message,
        unbroken.as_bytes()
    );
}

#[test]
fn syslog_with_a_prefix_is_read_by_the_inner_scanner() {
    let text = "2026-11-22T04:23:06Z db postgres[1]: [5-1] [77] LOG:  a\n2026-11-22T04:23:06Z db postgres[1]: [5-2] #011b\n";
    let found = whole(Syslog::new(tiny(), ASSUMED), text.as_bytes());
    assert_eq!(shown(&found), [r#"77 86 LOG "a\nb" """#]);
}

#[test]
fn heroku_lines_give_records() {
    let text = "\
<190>1 2026-11-22T04:23:06+00:00 host app postgres.7 - [RED] [10-1] sql_error_code = 42P01 ERROR:  no
<190>1 2026-11-22T04:23:06+00:00 host app postgres.7 - [RED] [10-2] sql_error_code = 42P01 STATEMENT:  select
2026-11-22T04:23:07+00:00 app[postgres.8]: [BLUE_2] [2-1]  sql_error_code = 00000 time_ms = \"2026-11-22 04:23:06.9 UTC\" pid=\"9\" LOG:  x
";
    let found = whole(plain_syslog(), text.as_bytes());
    assert_eq!(
        shown(&found),
        [r#"7 86 ERROR "no" "select""#, r#"9 86 LOG "x" """#]
    );
    assert_eq!(records(&found)[0].sqlstate, *b"42P01");
    assert_eq!(detect(text.as_bytes()), Form::Heroku);
}

fn export(pid: u32, message: &str) -> Vec<u8> {
    let mut entry = format!("__CURSOR=s={pid}\n__REALTIME_TIMESTAMP=1795321386000000\nSYSLOG_IDENTIFIER=postgres\n_PID={pid}\n").into_bytes();
    if message.contains(['\n', '\t']) {
        entry.extend_from_slice(b"MESSAGE\n");
        entry.extend_from_slice(&(message.len() as u64).to_le_bytes());
        entry.extend_from_slice(message.as_bytes());
        entry.push(b'\n');
    } else {
        entry.extend_from_slice(format!("MESSAGE={message}\n").as_bytes());
    }
    entry.push(b'\n');
    entry
}

fn journal(messages: &[(u32, &str)], form: journald::Form) -> Vec<u8> {
    let entry = |(pid, message): &(u32, &str)| match form {
        journald::Form::Export => export(*pid, message),
        journald::Form::Json => {
            let bytes = message
                .contains('\t')
                .then(|| serde_json::json!(message.as_bytes()));
            let message = bytes.unwrap_or_else(|| serde_json::json!(message));
            let entry = serde_json::json!({
                "MESSAGE": message, "_PID": pid.to_string(), "SYSLOG_IDENTIFIER": "postgres", "__REALTIME_TIMESTAMP": "1795321386000000",
            });
            format!("{entry}\n").into_bytes()
        }
    };
    messages.iter().flat_map(entry).collect()
}

#[test]
fn journals_of_both_forms() {
    let messages = [
        (7, "ERROR:  no"),
        (8, "[3-1] LOG:  counted"),
        (7, "STATEMENT:  select"),
        (7, "\tfrom x"),
        (8, "[3-2] \tmore"),
        (7, "LOG:  one\n\ttwo"),
    ];
    for form in [journald::Form::Export, journald::Form::Json] {
        let bytes = journal(&messages, form);
        let new = || Journald::new(form, None);
        let found = whole(new(), &bytes);
        assert_eq!(
            shown(&found),
            [
                r#"7 86 ERROR "no" "select\nfrom x""#,
                r#"8 86 LOG "counted\nmore" """#,
                r#"7 86 LOG "one\ntwo" """#,
            ]
        );
        assert_eq!(odds(&found), []);
        for cut in 0..bytes.len() {
            assert_eq!(pieces(new(), &bytes, &[cut]), found, "{cut}");
        }
        let expected = match form {
            journald::Form::Export => Form::JournaldExport,
            journald::Form::Json => Form::JournaldJson,
        };
        assert_eq!(detect(&bytes), expected);
    }
}

fn cloud_sql(text: &str) -> String {
    let entry = serde_json::json!({"insertId": "x", "textPayload": text, "timestamp": "2026-11-22T04:23:06.5Z", "labels": {"a": "b"}});
    format!("{entry}\n")
}

const PAYLOADS: [&str; 6] = [
    "[7] LOG:  one",
    "[7] ERROR:  two\n\tmore",
    "\tand more",
    "[8] LOG:  three\nwithout tab",
    "[8] LOG:  \"four\"",
    "[9] LOG:  last",
];

fn wrapped() -> Wrapped {
    Wrapped::new(Transport::CloudSql, Box::new(Tiny))
}

#[test]
fn cloud_sql_is_unwrapped() {
    let mut text: String = PAYLOADS[..4].iter().map(|text| cloud_sql(text)).collect();
    text.push_str("{\"insertId\":\"y\",\"protoPayload\":{}}\n");
    text.push_str("{\"torn\":\n");
    text.extend(PAYLOADS[4..].iter().map(|text| cloud_sql(text)));
    let found = whole(wrapped(), text.as_bytes());
    assert_eq!(
        shown(&found),
        [
            r#"7 86 LOG "one" """#,
            r#"7 86 ERROR "two\nmore\nand more" """#,
            r#"8 86 LOG "three\nwithout tab" """#,
            r#"8 86 LOG "\"four\"" """#,
            r#"9 86 LOG "last" """#,
        ]
    );
    assert_eq!(odds(&found).len(), 2);
    // Right at its beginning a torn line looks like the rest of one.
    let torn = text.find("{\"torn").unwrap();
    for cut in 0..text.len() {
        assert_eq!(pieces(wrapped(), text.as_bytes(), &[cut]), found, "{cut}");
        if cut != torn {
            assert_eq!(split(wrapped, text.as_bytes(), cut), found, "{cut}");
        }
    }
}

#[test]
fn wrapped_statements_of_ten_megabytes_are_cut() {
    let long = "x\n\t\"y ".repeat(10 * 1024 * 1024 / 7);
    let text = [
        cloud_sql("[7] LOG:  one"),
        cloud_sql(&format!("[7] LOG:  {long}")),
        cloud_sql("[7] LOG:  three"),
    ]
    .concat();
    check_cut(wrapped, text.as_bytes());
    let line = |message: &str| {
        let record = serde_json::json!({"log_time": "2026-11-22 04:23:06.226 UTC", "error_severity": "LOG", "message": message});
        format!("{{\"logger\":\"postgres\",\"msg\":\"record\",\"record\":{record}}}\n")
    };
    // Its keys come in the order of the alphabet here, so that the message is after what a record needs.
    let text = [line("one"), line(&long), line("three")].concat();
    check_cut(CloudNativePg::default, text.as_bytes());
}

fn check_cut<S: Scanner>(scanner: impl Fn() -> S, text: &[u8]) {
    let found = whole(scanner(), text);
    let cut: Vec<bool> = records(&found).iter().map(|record| record.cut).collect();
    assert_eq!(cut, [false, true, false]);
    assert!(records(&found)[1].message.starts_with(b"x\n"));
    assert_eq!(records(&found)[2].message, b"three");
    let cuts: Vec<usize> = (0..text.len()).step_by(1_000_003).collect();
    assert!(pieces(scanner(), text, &cuts) == found);
}

#[test]
fn azure_gives_whole_lines_and_parts() {
    let text = format!(
        "{}\n{}\n{}\n[7] LOG:  as it is\n",
        r#"{"time":"2026-11-22T04:23:06Z","properties":{"timestamp":"2026-11-22 04:23:05 UTC","errorLevel":"LOG","message":"[7] LOG:  whole"}}"#,
        r#"{"properties":{"prefix":"[8] ","errorLevel":"ERROR","message":"parts\nof it","detail":""},"time":"2026-11-22T04:23:06Z"}"#,
        r#"{"properties":{"errorLevel":"ERROR","sqlerrcode":"42P01","message":"no prefix","detail":"d"},"time":"2026-11-22T04:23:06Z"}"#,
    );
    let found = whole(
        Wrapped::new(Transport::Azure, Box::new(Tiny)),
        text.as_bytes(),
    );
    assert_eq!(
        shown(&found),
        [
            r#"7 85 LOG "whole" """#,
            r#"8 86 ERROR "parts\nof it" """#,
            r#"0 86 ERROR "no prefix" """#,
            r#"7 0 LOG "as it is" """#,
        ]
    );
    assert_eq!(records(&found)[2].detail, b"d");
    assert_eq!(detect(text.as_bytes()), Form::Azure);
}

const CLOUD_NATIVE: &str = concat!(
    r#"{"level":"info","ts":"2026-11-22T04:23:06Z","logger":"postgres","msg":"record","record":{"log_time":"2026-11-22 04:23:06.226 UTC","user_name":"app","database_name":"db","process_id":"7","connection_from":"10.0.0.1:40000","session_id":"6b020bba.7","session_line_num":"3","command_tag":"SELECT","session_start_time":"2026-11-22 04:23:06 UTC","error_severity":"ERROR","sql_state_code":"42P01","message":"no \"x\"","detail":"d","query":"select","query_pos":"4","application_name":"psql","backend_type":"client backend","query_id":"-5"},"logging_pod":"db-1"}"#,
    "\n",
    r#"{"level":"info","logger":"wal-archive","msg":"archived"}"#,
    "\n",
    r#"{"level":"info","logger":"pgaudit","msg":"record","record":{"log_time":"2026-11-22 04:23:07.226 UTC","error_severity":"LOG","message":"","audit":{"audit_type":"SESSION","statement_id":"1","substatement_id":"1","class":"READ","command":"SELECT","statement":"select 1, \"a\"","parameter":"<none>"}}}"#,
    "\n",
);

#[test]
fn cloud_native_pg_gives_records() {
    let found = whole(CloudNativePg::default(), CLOUD_NATIVE.as_bytes());
    let all = records(&found);
    let expected = Record {
        at: Some(1_795_321_386_226_000),
        pid: 7,
        session_started: 0x6b02_0bba,
        line: 3,
        lines: 1,
        severity: Severity::Error,
        sqlstate: *b"42P01",
        query_id: -5,
        user: b"app",
        database: b"db",
        application: b"psql",
        host: b"10.0.0.1",
        backend: b"client backend",
        message: b"no \"x\"",
        detail: b"d",
        statement: b"select",
        ..Record::default()
    };
    assert_eq!(all[0], &expected);
    assert_eq!(
        all[1].message,
        br#"AUDIT: SESSION,1,1,READ,SELECT,,,"select 1, ""a""",<none>"#
    );
    assert_eq!(odds(&found).len(), 1);
}

#[test]
fn formats_are_detected_from_the_middle_of_a_file() {
    let csv = include_bytes!("../data/forms.csv");
    let json = include_bytes!("../data/forms.json");
    let wrapped: String = PAYLOADS.iter().map(|text| cloud_sql(text)).collect();
    let stderr = "2026-11-22 04:23:06.226 WIB [7] user=a LOG:  x\n\tmore\n2026-11-22 04:23:06.226 WIB [7] user=a ERROR:  y\n";
    let pgbouncer = "2026-11-22 04:23:06.226 UTC [7] LOG C-0x5: db/user@10.0.0.1:4 login attempt: db=a user=b tls=no\n";
    let rfc5424 = "<134>1 2026-11-21T21:23:06Z db postgres 7 - - [1-1] LOG:  x\n";
    for (bytes, expected) in [
        (&csv[..], Form::Csv),
        (json, Form::Json),
        (SYSLOG.as_bytes(), Form::Syslog3164),
        (rfc5424.as_bytes(), Form::Syslog5424),
        (wrapped.as_bytes(), Form::CloudSql),
        (CLOUD_NATIVE.as_bytes(), Form::CloudNativePg),
        (stderr.as_bytes(), Form::Stderr),
        (pgbouncer.as_bytes(), Form::PgBouncer),
        (b"hello\nworld\n", Form::Unknown),
        (b"", Form::Unknown),
        (b"\x1f\x8b\0\0", Form::Unknown),
    ] {
        assert_eq!(detect(bytes), expected);
        let with_raw = [b"sh: 1: not found\n{}\n", bytes].concat();
        assert_eq!(detect(&with_raw), expected);
    }
    for begin in 0..2000 {
        assert_eq!(detect(&csv[begin..begin + 8000]), Form::Csv, "{begin}");
        assert_eq!(detect(&json[begin..begin + 8000]), Form::Json, "{begin}");
    }
}

#[test]
fn names_of_formats_are_understood() {
    for form in Form::ALL {
        let expected = (form != Form::Unknown).then_some(form);
        assert_eq!(Form::of(form.as_str()), expected);
    }
    assert_eq!(Form::of("cloud-native-pg"), Some(Form::CloudNativePg));
    assert_eq!(Form::of("CSV"), Some(Form::Csv));
    assert_eq!(Form::of("xml"), None);
}

/// Writes a record as the server gives it to syslog: a line for each line, and for each 900 bytes of a longer one.
fn syslog_lines(number: usize, record: &Record<'_>) -> Vec<u8> {
    let mut text = format!("{}:  ", record.severity.as_str()).into_bytes();
    let parts: [(&str, &[u8]); 6] = [
        ("", record.message),
        ("DETAIL:  ", record.detail),
        ("HINT:  ", record.hint),
        ("QUERY:  ", record.internal_query),
        ("CONTEXT:  ", record.context),
        ("STATEMENT:  ", record.statement),
    ];
    for (word, part) in parts
        .iter()
        .filter(|(word, part)| word.is_empty() || !part.is_empty())
    {
        text.extend_from_slice(word.as_bytes());
        for byte in *part {
            text.push(*byte);
            if *byte == b'\n' {
                text.push(b'\t');
            }
        }
        text.push(b'\n');
    }
    let mut output = Vec::new();
    let mut rest = &text[..];
    let mut line = 0;
    while let Some(first) = rest.first() {
        if *first == b'\n' {
            rest = &rest[1..];
            continue;
        }
        let newline = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        let mut length = newline.min(900);
        while length < rest.len() && rest[length] & 0xc0 == 0x80 {
            length -= 1;
        }
        if rest
            .get(length)
            .is_some_and(|next| !next.is_ascii_whitespace())
        {
            let space = rest[..length].iter().rposition(u8::is_ascii_whitespace);
            length = space.filter(|space| *space > 0).unwrap_or(length);
        }
        line += 1;
        let head = format!(
            "2026-11-22T04:23:06Z db postgres[{}]: [{number}-{line}] ",
            record.pid
        );
        output.extend_from_slice(head.as_bytes());
        for byte in &rest[..length] {
            match byte {
                b'\t' => output.extend_from_slice(b"#011"),
                byte => output.push(*byte),
            }
        }
        output.push(b'\n');
        rest = &rest[length..];
    }
    output
}

#[test]
fn syslog_gives_the_same_texts_as_csvlog() {
    let csv = whole(Csv::default(), include_bytes!("../data/forms.csv"));
    let csv = records(&csv);
    let lines = csv
        .iter()
        .enumerate()
        .map(|(index, record)| syslog_lines(index + 1, record));
    let bytes = lines.collect::<Vec<_>>().concat();
    let found = whole(plain_syslog(), &bytes);
    assert_eq!(odds(&found), []);
    let syslog = records(&found);
    assert_eq!(syslog.len(), csv.len());
    for (syslog, csv) in syslog.iter().zip(&csv) {
        let expected = Record {
            pid: csv.pid,
            severity: csv.severity,
            at: syslog.at,
            lines: 1,
            message: csv.message,
            detail: csv.detail,
            hint: csv.hint,
            internal_query: csv.internal_query,
            context: csv.context,
            statement: csv.statement,
            ..Record::default()
        };
        assert_eq!(*syslog, &expected);
    }
    let cuts: Vec<usize> = (0..bytes.len()).step_by(997).collect();
    assert_eq!(pieces(plain_syslog(), &bytes, &cuts), found);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn interleaved_processes_in_pieces(
        order in prop::collection::vec((1_u32..6, 1_u64..4), 1..60),
        cuts in prop::collection::vec(0_usize..8000, 0..12),
    ) {
        let mut text = String::new();
        // Each process writes the lines of its records in order, between those of the others.
        let mut open: Vec<(u32, u64, u64, u64)> = Vec::new();
        for (number, (pid, lines)) in order.iter().enumerate() {
            let mut line = |pid: u32, number: u64, line: u64| {
                let content = if line == 1 { format!("LOG:  {number}") } else { format!("#011{line}") };
                text.push_str(&format!("2026-11-22T04:23:06Z db postgres[{pid}]: [{number}-{line}] {content}\n"));
            };
            open.retain_mut(|(other, number, next, last)| {
                if other == pid {
                    (*next..=*last).for_each(|next| line(*other, *number, next));
                    return false;
                }
                line(*other, *number, *next);
                *next += 1;
                *next <= *last
            });
            line(*pid, number as u64 + 1, 1);
            if *lines > 1 {
                open.push((*pid, number as u64 + 1, 2, *lines));
            }
        }
        let found = whole(plain_syslog(), text.as_bytes());
        let complete: Vec<Vec<u8>> = records(&found).iter().map(|record| record.message.to_vec()).collect();
        prop_assert_eq!(complete.len(), order.len());
        prop_assert!(odds(&found).is_empty());
        for (number, message) in complete.iter().enumerate() {
            prop_assert!(message.starts_with((number + 1).to_string().as_bytes()));
        }
        prop_assert_eq!(pieces(plain_syslog(), text.as_bytes(), &cuts), found);
    }

    #[test]
    fn garbage_does_no_harm(bytes: Vec<u8>, cuts in prop::collection::vec(0_usize..100, 0..3)) {
        for form in [journald::Form::Export, journald::Form::Json] {
            let new = || Journald::new(form, None);
            prop_assert_eq!(pieces(new(), &bytes, &cuts), whole(new(), &bytes));
        }
        prop_assert_eq!(pieces(plain_syslog(), &bytes, &cuts), whole(plain_syslog(), &bytes));
        prop_assert_eq!(pieces(CloudNativePg::default(), &bytes, &cuts), whole(CloudNativePg::default(), &bytes));
        detect(&bytes);
    }

    #[test]
    fn wrapped_texts_in_pieces(cuts in prop::collection::vec(0_usize..2000, 0..6), order in prop::collection::vec(0..PAYLOADS.len(), 0..20)) {
        let text: String = order.iter().map(|index| cloud_sql(PAYLOADS[*index])).collect();
        prop_assert_eq!(pieces(wrapped(), text.as_bytes(), &cuts), whole(wrapped(), text.as_bytes()));
        let text = CLOUD_NATIVE.repeat(order.len());
        let found = whole(CloudNativePg::default(), text.as_bytes());
        prop_assert_eq!(pieces(CloudNativePg::default(), text.as_bytes(), &cuts), found);
    }
}
