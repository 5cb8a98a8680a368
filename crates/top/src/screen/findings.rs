//! What the checks found, worst first.

use pawang_core::{Finding, Timestamp};

use super::glyph;
use crate::memory::Seen;
use crate::table::{Cell, Heading, Line, Table};
use crate::words::{NOTHING, age};

const HEADINGS: [Heading; 4] = [
    Heading::text("", 2),
    Heading::text("check", 24),
    Heading::number("since", 7),
    Heading::text("finding", 0),
];

pub(super) fn table(seen: &Seen, now: Timestamp) -> Table {
    let Some(evaluation) = &seen.present.evaluation else {
        return Table {
            empty: "not judged yet: the first verdicts need one round of all collectors".to_owned(),
            ..Table::default()
        };
    };
    let findings = evaluation.findings();
    Table {
        headings: HEADINGS.to_vec(),
        lines: findings
            .into_iter()
            .map(|finding| line(finding, seen, now))
            .collect(),
        notes: Vec::new(),
        empty: "nothing was found".to_owned(),
    }
}

fn line(finding: &Finding, seen: &Seen, now: Timestamp) -> Line {
    let opened = seen.present.since.get(&finding.fingerprint).copied();
    let since = finding.since.or(opened);
    let place = finding
        .database
        .as_deref()
        .map(|database| format!("{database}: "))
        .unwrap_or_default();
    let seconds = since.map(|since| now.duration_since(since).as_secs_f64());
    let cells = vec![
        Cell::number(
            glyph(finding.level).to_owned(),
            Some(f64::from(finding.level as u8)),
        ),
        Cell::text(&*finding.check),
        Cell::number(
            since.map_or(NOTHING.to_owned(), |since| age(since, now)),
            seconds,
        ),
        Cell::text(format!("{place}{}", finding.title)),
    ];
    Line {
        key: finding.fingerprint.clone(),
        cells,
        level: Some(finding.level),
        detail: detail(finding, &seen.present.instance.name),
    }
}

fn detail(finding: &Finding, instance: &str) -> Vec<(String, String)> {
    let mut detail = vec![("finding".to_owned(), finding.title.clone())];
    if let (Some(value), Some(limit)) = (finding.value, finding.threshold) {
        let (value, limit) = (finding.unit.show(value), finding.unit.show(limit));
        detail.push(("value".to_owned(), format!("{value}, limit {limit}")));
    }
    if let Some(check) = pawang_check::find(&finding.check) {
        detail.push(("what".to_owned(), check.what.to_owned()));
        detail.push(("why it matters".to_owned(), check.why.to_owned()));
    }
    detail.push(("what to do".to_owned(), finding.remedy.clone()));
    let evidence = finding
        .evidence
        .iter()
        .map(|(name, value)| format!("{name}: {value}"));
    let evidence: Vec<String> = evidence.collect();
    if !evidence.is_empty() {
        detail.push(("evidence".to_owned(), evidence.join("\n")));
    }
    detail.push((
        "command".to_owned(),
        format!("pawang check {} -i {instance} -v", finding.check),
    ));
    detail
}
