//! A log that was read in parts gives the report of one reading.

use pawang_logs::record::{Odd, Record};
use pawang_logs::report::{Report, Source};
use pawang_logs::severity::Severity;
use pawang_logs::tally::{Options, Tally};
use proptest::prelude::*;

use crate::sections::{record, rows};

fn settled(mut tally: Tally) -> Report {
    tally.settle();
    tally.report(Source::default(), &Options::default())
}

/// Reads items in parts that begin at `cuts`, and joins the parts; `often` settles after each, which must not matter.
fn joined<T>(items: &[T], cuts: &[usize], often: bool, take: impl Fn(&mut Tally, &T)) -> Report {
    let mut parts = vec![Tally::default()];
    for (index, item) in items.iter().enumerate() {
        if cuts.contains(&index) {
            parts.push(Tally::default());
        }
        take(parts.last_mut().expect("there is one"), item);
    }
    let mut parts = parts.into_iter();
    let mut first = parts.next().expect("there is one");
    for part in parts {
        if often {
            first.settle();
        }
        first.absorb(part);
    }
    settled(first)
}

#[test]
fn the_excerpt_may_be_cut_anywhere() {
    let rows = rows(include_str!("../data/sections.csv"));
    let take = |tally: &mut Tally, row: &Vec<String>| tally.take(&record(row));
    let whole = joined(&rows, &[], false, take);
    for cut in (0..rows.len()).step_by(3) {
        let cuts = [cut, (cut * 7) % rows.len()];
        assert!(
            joined(&rows, &cuts, cut % 2 == 0, take) == whole,
            "cut at {cuts:?}"
        );
    }
}

#[test]
fn a_tally_survives_its_file() {
    let rows = rows(include_str!("../data/sections.csv"));
    let mut tally = Tally::default();
    for row in &rows {
        tally.take(&record(row));
    }
    let text = serde_json::to_string(&tally).expect("a tally is data");
    let read: Tally = serde_json::from_str(&text).expect("it was just written");
    assert!(settled(read) == settled(tally));
}

/// One line of a made-up log.
#[derive(Clone, Debug)]
struct Line {
    seconds: i64,
    pid: u32,
    number: u32,
    what: u8,
    other: u32,
}

fn line() -> impl Strategy<Value = Line> {
    (0_i64..100_000, 1_u32..7, 1_u32..9, 0_u8..24, 1_u32..7).prop_map(
        |(seconds, pid, number, what, other)| Line {
            seconds,
            pid,
            number,
            what,
            other,
        },
    )
}

/// The texts of a record.
#[derive(Default)]
struct Texts {
    severity: Severity,
    message: String,
    detail: String,
    statement: String,
}

fn texts(line: &Line) -> Texts {
    let Line { pid, other, .. } = *line;
    let number = line.number;
    let say = |message: String| Texts {
        message,
        ..Texts::default()
    };
    match line.what {
        0..=2 => Texts {
            detail: format!("Processes holding the lock: {other}, {number}. Wait queue: {pid}."),
            ..say(format!(
                "process {pid} still waiting for ShareLock on transaction {other} after 1000.{number} ms"
            ))
        },
        3..=5 => say(format!(
            "process {pid} acquired ShareLock on transaction {other} after 2000.5 ms"
        )),
        8 | 9 => say(format!(
            "connection received: host=10.0.0.{other} port=4000"
        )),
        10 | 11 => say(format!(
            "connection authorized: user=u{other} database=d application_name=a b"
        )),
        12 | 13 => {
            say("disconnection: session time: 0:00:01.234 user=u database=d host=h".to_owned())
        }
        15 => say("checkpoint starting: wal".to_owned()),
        16 => say(format!(
            "checkpoint complete: wrote {number} buffers (0.1%); 0 WAL file(s) added, 1 removed, 0 recycled; write=0.03{number} s, \
             sync=0.071 s, total=0.124 s; sync files=3, longest=0.006 s, average=0.001 s; distance={other} kB, estimate=26867 kB"
        )),
        17 => say(format!(
            "automatic vacuum of table \"d.s.t{other}\": index scans: {number}\ntuples: 1 removed, 2 remain, {number} are dead but not \
             yet removable\nsystem usage: CPU: user: 0.00 s, system: 0.00 s, elapsed: 1.0{number} s"
        )),
        18 => Texts {
            detail: format!("Failed process was running: select {other}"),
            ..say(format!(
                "server process (PID {other}) was terminated by signal 9: Killed"
            ))
        },
        19 => say("database system is ready to accept connections".to_owned()),
        21 => say(format!(
            "AUDIT: SESSION,{number},1,DDL,DROP TABLE,TABLE,public.t{other},drop table t{other},<none>"
        )),
        22 => say("starting PostgreSQL 15.18 on x86_64-pc-linux-gnu".to_owned()),
        6 | 7 | 14 | 20 => failure(line),
        _ => {
            let statement = format!("select a{other} from t{number}");
            Texts {
                message: format!("duration: 1.{number} ms  statement: {statement}"),
                statement,
                ..Texts::default()
            }
        }
    }
}

fn failure(line: &Line) -> Texts {
    let Line { pid, other, .. } = *line;
    let fail = |severity, message: &str| Texts {
        severity,
        message: message.to_owned(),
        ..Texts::default()
    };
    match line.what {
        6 => Texts {
            detail: format!(
                "Process {pid} waits for ShareLock on transaction 7; blocked by process {other}.\nProcess {pid}: update t{other}"
            ),
            ..fail(Severity::Error, "deadlock detected")
        },
        7 => fail(Severity::Error, "canceling statement due to lock timeout"),
        14 => fail(
            Severity::Fatal,
            "password authentication failed for user \"a\"",
        ),
        _ => fail(Severity::Error, "out of memory"),
    }
}

fn take(tally: &mut Tally, line: &Line) {
    let texts = texts(line);
    tally.take(&Record {
        at: (line.seconds % 97 != 0).then_some(line.seconds * 1_000_000),
        pid: line.pid,
        session_started: u32::from(line.what % 2) * 50_000,
        line: line.number,
        lines: 1,
        severity: texts.severity,
        message: texts.message.as_bytes(),
        detail: texts.detail.as_bytes(),
        statement: texts.statement.as_bytes(),
        ..Record::default()
    });
    if line.what == 8 {
        tally.take_odd(&Odd::Raw(texts.message.as_bytes()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn parts_add_up(
        lines in proptest::collection::vec(line(), 0..120),
        cuts in proptest::collection::vec(0_usize..120, 0..6),
        often in any::<bool>(),
    ) {
        let whole = joined(&lines, &[], false, take);
        prop_assert_eq!(joined(&lines, &cuts, often, take), whole);
    }
}
