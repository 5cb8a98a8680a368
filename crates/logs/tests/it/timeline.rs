//! PgBouncer and the server on one time line, from the logs of both.

use jiff::tz::TimeZone;
use pawang_logs::choose::{Wish, choose};
use pawang_logs::engine::{Settings, read};
use pawang_logs::input::Input;
use pawang_logs::render::{Section, Style, html, markdown, section_text};
use pawang_logs::report::Report;
use pawang_logs::tally::Options;

const POOLER: &str = "\
2026-11-22 04:00:01.000 WIB [9] LOG C-0x1: shop/app@10.0.0.7:40000 login attempt: db=shop user=app tls=no
2026-11-22 04:00:02.000 WIB [9] LOG S-0x2: shop/app@10.0.0.1:5432 new connection to server (from 10.0.0.2:41000)
2026-11-22 04:00:30.000 WIB [9] LOG stats: 12 xacts/s, 34 queries/s, in 1 B/s, out 2 B/s, xact 3 us, query 4 us, wait 5000 us
2026-11-22 04:00:40.000 WIB [9] LOG C-0x1: shop/app@10.0.0.7:40000 closing because: client close request (age=39s)
2026-11-22 04:00:41.000 WIB [9] LOG S-0x2: shop/app@10.0.0.1:5432 closing because: server idle timeout (age=39s)
2026-11-22 04:02:01.000 WIB [9] WARNING C-0x3: shop/app@10.0.0.7:40001 pooler error: query_wait_timeout
2026-11-22 04:02:30.000 WIB [9] LOG stats: 1 xacts/s, 3 queries/s, in 1 B/s, out 2 B/s, xact 3 us, query 4 us, wait 1500000 us
2026-11-22 04:02:50.000 WIB [9] LOG stats: 1 xacts/s, 3 queries/s, in 1 B/s, out 2 B/s, xact 3 us, query 4 us, wait 900000 us
";

const SERVER: &str = "\
2026-11-21 21:00:02.000 UTC [7] LOG:  connection authorized: user=app database=shop
2026-11-21 21:00:03.000 UTC [7] LOG:  duration: 1.000 ms
2026-11-21 21:02:03.000 UTC [7] ERROR:  deadlock detected
2026-11-21 21:02:04.000 UTC [8] FATAL:  sorry, too many clients already
";

fn report(logs: &[&str], threads: usize) -> Report {
    let directory = tempfile::tempdir().unwrap();
    let input = |(number, text): (usize, &&str)| {
        let path = directory.path().join(format!("{number}.log"));
        std::fs::write(&path, text).unwrap();
        Input::file(&path)
    };
    let settings = Settings {
        threads,
        piece_bytes: 300,
        choose: &|head| choose(head, &Wish::default()),
    };
    let options = Options::default();
    let inputs = logs.iter().enumerate().map(input).collect();
    let outcome = read(inputs, &settings, &options).unwrap();
    outcome.tally.report(outcome.source, &options)
}

#[test]
fn both_stand_in_the_same_minutes_whatever_the_order_and_the_threads() {
    let style = Style::file(TimeZone::UTC);
    for (logs, threads) in [
        ([POOLER, SERVER], 1),
        ([SERVER, POOLER], 1),
        ([POOLER, SERVER], 2),
    ] {
        let report = report(&logs, threads);
        let line = &report.timeline;
        for (series, expected) in [
            (&line.pooler_logins, [1, 0, 0]),
            (&line.pooler_closings, [1, 0, 0]),
            (&line.pooler_errors, [0, 0, 1]),
            (&line.pooler_waits, [5_000, 0, 1_500_000]),
            (&line.pooler_connections, [1, 0, 0]),
            (&line.server_logins, [1, 0, 0]),
            (&line.server_errors, [0, 0, 2]),
        ] {
            assert_eq!((series.step, series.values.as_slice()), (60, &expected[..]));
        }
        let text = section_text(&report, Section::Timeline, &style, false);
        let text = text.replace('\n', " ");
        assert!(text.contains("Clients waited longest from 21:02"), "{text}");
        assert!(
            text.contains("1.5 s on average at worst, with 1 pool errors, 0 logins and 2 errors")
        );
        assert!(markdown(&report, &style).contains("## PgBouncer and PostgreSQL"));
        let page = html(&report, "log");
        for chart in [
            "PgBouncer: highest mean wait",
            "PostgreSQL per",
            "clients in",
        ] {
            assert!(page.contains(chart), "{chart}");
        }
    }
}

#[test]
fn one_log_alone_has_no_time_line() {
    let style = Style::file(TimeZone::UTC);
    for log in [POOLER, SERVER] {
        let report = report(&[log], 1);
        assert_eq!(report.timeline, pawang_logs::report::Timeline::default());
        let text = section_text(&report, Section::Timeline, &style, false);
        assert!(text.contains("it needs both"), "{text}");
    }
}
