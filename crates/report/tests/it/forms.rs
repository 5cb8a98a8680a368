//! Snapshots of every form, and what must never appear in one.

use jiff::tz::TimeZone;
use pawang_core::{Evaluation, Level};
use pawang_report::{Detail, Style, html, markdown, nagios, operations_log, text, tsv};

use crate::evaluation::evaluation;

fn style() -> Style {
    Style {
        color: false,
        width: None,
        zone: TimeZone::UTC,
    }
}

#[test]
fn text_for_a_terminal() {
    insta::assert_snapshot!("short", text(&evaluation(), &style(), Detail::Short));
    insta::assert_snapshot!("long", text(&evaluation(), &style(), Detail::Long));
    let narrow = Style {
        width: Some(60),
        ..style()
    };
    let lines = text(&evaluation(), &narrow, Detail::Short);
    let first: Vec<&str> = lines.lines().take(2).collect();
    assert!(first[0].starts_with("CRIT  xid-wraparound"), "{first:?}");
    assert!(first[1].starts_with("      "), "what it is: {first:?}");
    for line in lines
        .lines()
        .filter(|line| line.starts_with("CRIT") || line.starts_with("WARN"))
    {
        assert!(line.chars().count() <= 60, "{line}");
    }
}

#[test]
fn no_form_lets_a_servers_control_characters_through() {
    let evil = "\u{1b}[31mred\u{202e}\u{9b}\r\n";
    let mut evaluation = evaluation();
    evaluation.instance.name = evil.to_owned();
    evaluation.notes.push(evil.to_owned());
    let (_, cost) = evaluation.costs.pop_first().unwrap();
    evaluation.costs.insert(evil.to_owned(), cost);
    for verdict in &mut evaluation.verdicts {
        verdict.title = evil.to_owned();
        verdict.note = Some(evil.to_owned());
        for measure in &mut verdict.measures {
            measure.object = evil.to_owned();
        }
        for finding in &mut verdict.findings {
            finding.object = evil.to_owned();
            finding.title = evil.to_owned();
            finding.remedy = evil.to_owned();
            finding.database = Some(evil.to_owned());
            finding.evidence.push((evil.to_owned(), evil.to_owned()));
        }
    }
    let log = operations_log(&evaluation, &style());
    for form in [
        text(&evaluation, &style(), Detail::Long),
        tsv(&evaluation),
        markdown(&evaluation, &style()),
        html(std::slice::from_ref(&evaluation), &style()),
        nagios(std::slice::from_ref(&evaluation)).line,
        log.markdown,
        log.html,
    ] {
        let through = form
            .chars()
            .find(|c| c.is_control() && !"\n\t".contains(*c));
        assert_eq!(through, None, "{form}");
        assert!(!form.contains("red\u{202e}\u{9b}"));
    }
}

#[test]
fn tab_separated_lines_have_ten_fields_whatever_the_names_hold() {
    let lines = tsv(&evaluation());
    insta::assert_snapshot!("tsv", lines);
    for line in lines.lines() {
        assert_eq!(line.split('\t').count(), 10, "{line}");
    }
}

#[test]
fn markdown_and_the_operations_log() {
    insta::assert_snapshot!("markdown", markdown(&evaluation(), &style()));
    insta::assert_snapshot!(
        "operations-log",
        operations_log(&evaluation(), &style()).markdown
    );
}

#[test]
fn html_escapes_what_servers_say() {
    for page in [
        html(&[evaluation()], &style()),
        operations_log(&evaluation(), &style()).html,
    ] {
        assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>"));
        assert!(!page.contains("<b>name"), "a name is not markup");
        assert!(!page.contains("://"), "a page needs no network");
    }
}

#[test]
fn the_plugin_line_holds_one_line_one_bar_and_the_worst_level() {
    let answer = nagios(&[evaluation()]);
    insta::assert_snapshot!("nagios", answer.line);
    assert_eq!((answer.code, answer.line.lines().count()), (2, 1));
    assert_eq!(
        answer.line.matches('|').count(),
        1,
        "one bar before the performance data"
    );
    for (level, code) in [(Level::Warning, 1), (Level::Unknown, 3), (Level::Ok, 0)] {
        assert_eq!(nagios(&[up_to(level)]).code, code, "{level}");
    }
    let nothing = Evaluation {
        verdicts: Vec::new(),
        ..evaluation()
    };
    assert_eq!(nagios(&[nothing]).code, 3, "nothing seen is never OK");
    assert_eq!(nagios(&[]).code, 3);
}

/// Returns the evaluation without the verdicts that are worse than `level`.
fn up_to(level: Level) -> Evaluation {
    let mut evaluation = evaluation();
    evaluation.verdicts.retain(|verdict| verdict.level <= level);
    evaluation
}
