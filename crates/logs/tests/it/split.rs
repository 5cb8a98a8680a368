//! Any split of a log's records gives the report of one reading.

use pawang_logs::record::{Odd, Record, Sink};
use pawang_logs::report::{Report, Source};
use pawang_logs::severity::Severity;
use pawang_logs::tally::{Counter, Options, Tally};
use proptest::prelude::*;

/// A record with texts of its own.
#[derive(Clone, Debug)]
struct Line {
    at: Option<i64>,
    pid: u32,
    severity: Severity,
    sqlstate: &'static [u8; 5],
    user: &'static str,
    application: String,
    message: String,
    detail: &'static str,
    statement: &'static str,
}

impl Line {
    fn record(&self) -> Record<'_> {
        Record {
            at: self.at,
            pid: self.pid,
            session_started: self.pid * 7,
            severity: self.severity,
            sqlstate: *self.sqlstate,
            user: self.user.as_bytes(),
            database: if self.pid.is_multiple_of(2) {
                b"Data Mart"
            } else {
                b"sales"
            },
            application: self.application.as_bytes(),
            host: b"[local]",
            message: self.message.as_bytes(),
            detail: self.detail.as_bytes(),
            statement: self.statement.as_bytes(),
            ..Record::default()
        }
    }
}

const STATEMENTS: [&str; 7] = [
    "select 1",
    "SELECT  2 /*route='a'*/",
    "insert into t values (1, 2), (3, 4)",
    "update t set a = 'password=x' where b in (1, 2)",
    "savepoint s1",
    "",
    "select \u{e9}",
];

fn line() -> impl Strategy<Value = Line> {
    let message =
        (0..16_u32, 0..STATEMENTS.len(), 0..4_u64).prop_map(|(form, statement, duration)| {
            let text = STATEMENTS[statement];
            match form {
                0 | 1 => format!("duration: {duration}.5 ms  statement: {text}"),
                2 => format!("duration: {duration}.0 ms  parse <unnamed>: {text}"),
                3 => format!("duration: {duration}.0 ms  execute p/c: {text}"),
                4..=6 => format!("statement: {text}"),
                7 => format!("execute <unnamed>: {text}"),
                8..=10 => format!("duration: {duration}.25 ms"),
                11 => format!(
                    "temporary file: path \"base/pgsql_tmp/x.{duration}\", size {}",
                    duration * 1000
                ),
                12 => format!("relation \"t{duration}\" does not exist at character {duration}"),
                13 => "canceling statement due to statement timeout".to_owned(),
                14 => format!("what no rule knows {duration}"),
                _ => "canceling statement due to user request".to_owned(),
            }
        });
    let at = prop_oneof![8 => (0..5_i64).prop_map(Some), 1 => (0..30_000_000_i64).prop_map(Some), 1 => Just(None)];
    (at, 0..4_u32, message, 0..STATEMENTS.len(), any::<bool>()).prop_map(
        |(at, pid, message, statement, hint)| {
            let error = !message.contains(": ") || message.starts_with("relation");
            Line {
                at: at.map(|at| at * 60_000_000),
                pid,
                severity: if error {
                    Severity::Error
                } else {
                    Severity::Log
                },
                sqlstate: if error { b"42P01" } else { b"00000" },
                user: ["app", "", "ahli data", "budi@itera.ac.id"][pid as usize],
                application: format!("app {}", statement % 3),
                message,
                detail: if hint { "parameters: $1 = 'x'" } else { "" },
                statement: if error { STATEMENTS[statement] } else { "" },
            }
        },
    )
}

fn tally(lines: &[Line]) -> Tally {
    let mut counter = Counter::default();
    for line in lines {
        counter.record(0, &line.record());
    }
    counter.odd(0, Odd::Raw(b"raw"));
    counter.tally
}

fn report(mut tally: Tally, constants: bool) -> Report {
    tally.settle();
    let options = Options {
        constants,
        ..Options::default()
    };
    tally.report(Source::default(), &options)
}

fn stored(tally: &Tally) -> Tally {
    let text = serde_json::to_string(tally).expect("a tally is text");
    serde_json::from_str(&text).expect("its text is a tally")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn parts_give_the_report_of_the_whole(
        lines in prop::collection::vec(line(), 0..60),
        mut cuts in prop::collection::vec(0..60_usize, 0..4),
        constants in any::<bool>(),
    ) {
        cuts.iter_mut().for_each(|cut| *cut = (*cut).min(lines.len()));
        cuts.extend([0, lines.len()]);
        cuts.sort_unstable();
        let parts: Vec<Tally> = cuts.windows(2).map(|cut| tally(&lines[cut[0]..cut[1]])).collect();
        let mut whole = Counter::default();
        for line in &lines {
            whole.record(0, &line.record());
        }
        for _ in &parts {
            whole.odd(0, Odd::Raw(b"raw"));
        }
        let whole = report(whole.tally, constants);

        let mut left = Tally::default();
        for part in &parts {
            left.absorb(stored(part));
            left = stored(&left);
        }
        prop_assert_eq!(&report(left, constants), &whole);

        let mut right = Tally::default();
        for part in parts.into_iter().rev() {
            let mut all = part;
            all.absorb(right);
            right = all;
        }
        prop_assert_eq!(&report(right, constants), &whole);
    }
}

fn of(lines: &[(u32, &str)]) -> Report {
    let mut counter = Counter::default();
    for (pid, message) in lines {
        counter.record(
            0,
            &Record {
                at: Some(0),
                pid: *pid,
                user: b"u",
                message: message.as_bytes(),
                ..Record::default()
            },
        );
    }
    report(counter.tally, true)
}

#[test]
fn a_statement_and_its_duration_on_two_lines_are_one_execution() {
    let report = of(&[
        (1, "duration: 9.000 ms"),
        (1, "statement: select 1"),
        (2, "statement: select 2, 3"),
        (2, "duration: 2.000 ms"),
        (1, "duration: 1.000 ms"),
        (1, "statement: select 4"),
    ]);
    let statements = report.statements;
    assert_eq!((statements.all.count, statements.all.total), (2, 3000));
    assert_eq!(statements.phases["simple"].count, 2);
    assert_eq!(statements.phases["unknown"].count, 1);
    assert_eq!(statements.without_duration, 1);
    assert_eq!(statements.by_time.items[0].text, "select ?, ?");
    assert_eq!(statements.slowest[0].text, "select 2, 3");
}

#[test]
fn parse_and_bind_are_no_executions() {
    let statements = of(&[
        (1, "duration: 1.000 ms  parse <unnamed>: select 1"),
        (1, "duration: 2.000 ms  bind <unnamed>: select 1"),
        (1, "duration: 4.000 ms  execute <unnamed>: select 1"),
        (1, "duration: 8.000 ms  statement: select 1"),
    ])
    .statements;
    assert_eq!((statements.all.count, statements.all.total), (2, 12_000));
    assert_eq!(statements.phases.len(), 4);
    assert_eq!(statements.users["u"].count, 2);
    assert_eq!(statements.hours[&0].count, 2);
    assert_eq!(statements.verbs["select"].max, 8000);
    let alone = of(&[(1, "duration: 1.000 ms"), (1, "duration: 2.000 ms")]).statements;
    assert_eq!((alone.all.count, alone.phases["unknown"].count), (2, 2));
}
