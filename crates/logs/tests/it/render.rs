//! What a report looks like: the same numbers as text, Markdown and HTML, safe and small whatever is in it.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use pawang_logs::render::{
    HTML_BYTES_MAX, Section, Style, diff, html, markdown, redact, section_markdown, section_rows,
    section_text, text,
};
use pawang_logs::report::{ErrorText, Report, SourceFile};

use crate::render_sample::report;

const HOSTILE: &str =
    "</style><script>alert(1)</script><img src=x onerror=alert(2)>\"'\u{1b}[31m\u{202e}|`";

fn style(width: Option<usize>) -> Style {
    Style {
        color: false,
        width,
        zone: TimeZone::UTC,
    }
}

#[test]
fn no_line_of_a_terminal_is_wider_than_it() {
    for width in [80, 100, 160] {
        let shown = text(&report(), &style(Some(width)), false);
        for line in shown.lines() {
            assert!(line.chars().count() <= width, "{width}: {line}");
        }
    }
}

#[test]
fn the_first_screen_says_what_matters_worst_first() {
    let shown = text(&report(), &style(Some(100)), false);
    keep("report.txt", &shown);
    for expected in [
        "2026-11-21 00:00:00 to 2026-11-21 23:59:00 UTC",
        "1,312,744 records",
        "FATAL 473",
        "ERROR 2,011",
        "CRIT  keep the kernel from killing the server for memory",
        "ALTER SYSTEM SET max_wal_size = '16GB';",
        "p95",
        "nothing about: audit, pgbouncer, timeline",
    ] {
        assert!(shown.contains(expected), "{expected} in\n{shown}");
    }
    let place = |text: &str| shown.find(text).unwrap();
    assert!(place("ADVICE") < place("ERRORS") && place("ERRORS") < place("\nLOCKS"));
    let order = ["backend-crash", "deadlock", "duration "].map(place);
    assert!(order.is_sorted(), "{order:?}");
}

#[test]
fn every_section_says_something_or_why_it_cannot() {
    for report in [report(), Report::default()] {
        for section in Section::ALL {
            let shown = section_text(&report, section, &style(Some(100)), true);
            assert!(!shown.trim().is_empty(), "{}", section.name());
            let shown = section_markdown(&report, section, &style(None));
            assert!(shown.contains(section.title()), "{shown}");
            let rows = section_rows(&report, section, &style(None));
            assert!(rows.windows(2).all(|pair| pair[0].len() == pair[1].len()));
        }
    }
    let shown = text(&Report::default(), &style(Some(80)), false);
    assert!(shown.contains("no warning and no error"), "{shown}");
}

#[test]
fn the_page_is_one_small_file_without_a_network_and_without_a_script() {
    let page = html(&report(), "dwh-1");
    keep("report.html", &page);
    assert!(page.len() < 200_000, "{}", page.len());
    for absent in [
        "<script", "src=", "url(", "@import", "<link", "http:", "https:",
    ] {
        assert!(!page.contains(absent), "{absent}");
    }
    for section in Section::ALL {
        let id = format!("id=\"{}\"", section.name());
        let empty = ["audit", "pgbouncer", "timeline"].contains(&section.name());
        assert_eq!(page.contains(&id), !empty, "{id}");
    }
    for expected in [
        "<svg",
        "prefers-color-scheme: dark",
        "@media print",
        "<details",
        "1,312,744",
    ] {
        assert!(page.contains(expected), "{expected}");
    }
}

#[test]
fn a_full_report_is_cut_to_the_size_of_the_page() {
    let mut full = report();
    let long = "x".repeat(5_000);
    let errors = (0..200).map(|count| ErrorText {
        text: format!("{count} {long}"),
        sample: long.clone(),
        statement: long.clone(),
        detail: long.clone(),
        ..ErrorText::default()
    });
    full.errors.items = errors.collect();
    for shape in &mut full.statements.by_time.items {
        shape.text = long.clone();
        shape.tags = (0..100)
            .map(|tag| (tag.to_string(), long.clone()))
            .collect::<BTreeMap<_, _>>();
    }
    full.source.files = (0..300)
        .map(|file| SourceFile {
            name: format!("{file}{long}"),
            prefixes: vec![long.clone(); 3],
            trouble: Some("it was cut short".to_owned()),
            ..SourceFile::default()
        })
        .collect();
    full.advice
        .iter_mut()
        .for_each(|advice| advice.remedy = long.clone());
    let page = html(&full, "dwh-1");
    assert!(page.len() < HTML_BYTES_MAX, "{}", page.len());
}

/// Puts a hostile text into every text of a report.
fn hostile() -> Report {
    fn walk(value: &mut serde_json::Value) {
        match value {
            serde_json::Value::String(text) if !is_word(text) => *text = HOSTILE.to_owned(),
            serde_json::Value::Array(items) => items.iter_mut().for_each(walk),
            serde_json::Value::Object(map) => map.values_mut().for_each(walk),
            _ => {}
        }
    }
    // Levels and severities are words of ours.
    fn is_word(text: &str) -> bool {
        ["critical", "warning", "info", "error", "fatal", "log"].contains(&text)
    }
    let mut value = serde_json::to_value(report()).expect("a report is data");
    walk(&mut value);
    let mut report: Report = serde_json::from_value(value).expect("it still is a report");
    report.sessions.users.insert(HOSTILE.to_owned(), 3);
    report
        .statements
        .applications
        .insert(HOSTILE.to_owned(), Default::default());
    report.checkpoints.reasons.insert(HOSTILE.to_owned(), 1);
    report
}

#[test]
fn hostile_texts_stay_texts_everywhere() {
    let report = hostile();
    let page = html(&report, HOSTILE);
    for absent in ["<script", "<img", "\u{1b}", "onerror=alert(2)>\""] {
        assert!(!page.contains(absent), "{absent}");
    }
    let shown = markdown(&report, &style(None));
    assert!(!shown.contains('\u{1b}') && !shown.contains('\u{202e}'));
    for line in shown.lines().filter(|line| !line.contains('`')) {
        assert!(!line.contains("<script"), "{line}");
    }
    for long in [false, true] {
        let shown = text(&report, &style(Some(100)), long);
        assert!(!shown.contains('\u{1b}'), "{shown:?}");
    }
}

#[test]
fn redacted_reports_show_the_same_numbers() {
    let mut redacted = report();
    redacted.errors.items[0].detail = "password='hunter2'".to_owned();
    redact(&mut redacted);
    let page = html(&redacted, "dwh-1");
    assert!(!page.contains("hunter2") && page.contains("1,312,744"));
}

#[test]
fn what_changed_is_told_in_words() {
    let before = report();
    let mut after = report();
    after.statements.by_time.items[1].durations.total *= 8;
    after.errors.items.remove(3);
    after.errors.items[1].count = 40_000;
    after.locks.waits = 4_000;
    after.errors.total = 4;
    let mut before_whole = before.clone();
    before_whole.errors.total = 5;
    let found = diff::diff(&before_whole, &after);
    assert!(found.worse());
    let shown = diff::text(&found, &style(Some(100)));
    keep("diff.txt", &shown);
    for expected in ["8 times slower", "gone", "lock waits per hour", "23505"] {
        assert!(shown.contains(expected), "{expected} in\n{shown}");
    }
    assert!(
        shown.lines().all(|line| line.chars().count() <= 100),
        "{shown}"
    );
    let shown = diff::markdown(&found, &style(None));
    assert!(shown.contains("## Statements"), "{shown}");
    let same = diff::text(&diff::diff(&before, &before), &style(Some(100)));
    assert!(same.contains("no difference that matters"), "{same}");
}

/// Keeps a rendering where a person can look at it.
fn keep(name: &str, text: &str) {
    std::fs::write(format!("{}/{name}", env!("CARGO_TARGET_TMPDIR")), text)
        .expect("the folder of test files is writable");
}
