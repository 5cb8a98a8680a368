//! What a report says of times that are not sure and of lines that were left out.

use jiff::tz::TimeZone;
use pawang_logs::choose::{Wish, choose};
use pawang_logs::engine::{Settings, read};
use pawang_logs::input::Input;
use pawang_logs::render::{Style, doubts, html, markdown, text};
use pawang_logs::report::Report;
use pawang_logs::tally::Options;
use pawang_logs::time::Zone;

fn report(texts: &[(&str, String)], threads: usize, piece_bytes: u64) -> Report {
    let directory = tempfile::tempdir().unwrap();
    let inputs = texts
        .iter()
        .map(|(name, text)| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            Input::file(&path)
        })
        .collect();
    let settings = Settings {
        threads,
        piece_bytes,
        choose: &|head| choose(head, &Wish::default()),
    };
    let options = Options::default();
    let outcome = read(inputs, &settings, &options).unwrap();
    let mut report = outcome.tally.report(outcome.source, &options);
    for file in &mut report.source.files {
        let name = file.name.rsplit('/').next().unwrap_or_default();
        file.name = name.to_owned();
    }
    report
}

fn zone(name: &str, offset_seconds: i32, certain: bool) -> Zone {
    Zone {
        name: name.to_owned(),
        offset_seconds,
        certain,
    }
}

#[test]
fn lines_of_other_programs_are_counted_once_and_shown() {
    let mut log = String::new();
    for number in 1..=300 {
        log += &format!(
            "Nov 22 04:23:06 db postgres[7]: [{number}-1] ERROR:  no {number}\n\
             Nov 22 04:23:06 db cron[{number}]: (root) CMD (true)\n\
             Nov 22 04:23:06 db postgres[7]: [{number}-2] STATEMENT:  select {number}\n"
        );
    }
    log += "\nNov 22 04:23:07 db kernel: out of memory\n";
    for (threads, piece_bytes) in [(1, 1 << 20), (1, 700), (2, 100)] {
        let report = report(&[("syslog", log.clone())], threads, piece_bytes);
        assert_eq!(report.totals.records, 300, "{threads} {piece_bytes}");
        assert_eq!(report.source.files[0].foreign, 301);
        // A time of RFC 3164 names no zone.
        assert_eq!(report.source.files[0].zones, [zone("", 0, false)]);
        let said = "syslog: 301 lines of other programs were left out";
        let style = Style::file(TimeZone::UTC);
        assert!(text(&report, &style, true).contains(said));
        assert!(markdown(&report, &style).contains(said));
        assert!(html(&report, "log").contains(said));
    }
}

#[test]
fn zones_that_are_not_sure_or_mixed_are_told_whatever_the_threads() {
    let line = |zone: &str, second: usize| {
        format!(
            "2026-11-22 04:{:02}:{:02}.000 {zone} [7] LOG:  x\n",
            second / 60,
            second % 60
        )
    };
    let of = |zone: &str| {
        (0..400)
            .map(|second| line(zone, second))
            .collect::<String>()
    };
    // The first words of a line that is no record are no zone.
    let unsure = format!("{}2026-11-22 05:00:00 hello\n{}", of("CST"), of("WIB"));
    let logs = [("a.log", unsure), ("b.log", of("UTC"))];
    for (threads, piece_bytes) in [(1, 1 << 20), (2, 2_000)] {
        let report = report(&logs, threads, piece_bytes);
        let zones = &report.source.files[0].zones;
        assert_eq!(
            *zones,
            [zone("CST", -21_600, false), zone("WIB", 25_200, true)]
        );
        assert_eq!(report.source.files[1].zones, [zone("UTC", 0, true)]);
        let doubts = doubts(&report);
        assert_eq!(doubts.len(), 1);
        assert!(doubts[0].starts_with("a.log: \"CST\" abbreviates several time zones"));
        let shown = text(&report, &Style::file(TimeZone::UTC), true);
        for said in [doubts[0].as_str(), "CST (UTC-06:00), UTC, WIB (UTC+07:00)"] {
            assert!(shown.contains(said), "{shown}");
        }
    }
}
