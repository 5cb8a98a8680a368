//! PgBouncer and the server side by side, so that what clients felt stands beside what the server did.

use super::{Drawing, Part, Table, any, figure, row};
use crate::render::style::{Clock, time, whole};
use crate::report::{Report, Series, Timeline};

/// Most rows of the table.
const ROWS_MAX: usize = 36;
/// Lengths of a row in seconds; after them a week's is repeated.
const STEPS: [i64; 10] = [
    60, 300, 600, 1_800, 3_600, 10_800, 21_600, 43_200, 86_400, 604_800,
];

pub(super) fn timeline<'a>(report: &'a Report, clock: &Clock) -> Part<'a> {
    let line = &report.timeline;
    if line.server_errors.values.is_empty() {
        return Part::nothing("it needs both the log of PgBouncer and that of the server");
    }
    let step = step(&line.server_errors);
    let rows = rows(line, step);
    let mut table = Table::new(
        "",
        &[
            "from",
            "clients in>",
            "clients out>",
            "pool errors>",
            "mean wait>",
            "connections opened>",
            "PostgreSQL logins>",
            "PostgreSQL errors>",
        ],
    )
    .with(rows.iter().map(|(at, numbers)| {
        let [logins, closings, errors, wait, connections, server, bad] = numbers.map(whole);
        let wait = match numbers[3] {
            0 => wait,
            micros => time(micros),
        };
        row([
            clock.at(Some(at.saturating_mul(1_000_000))),
            logins,
            closings,
            errors,
            wait,
            connections,
            server,
            bad,
        ])
    }));
    table.whole = true;
    let mut notes = Vec::new();
    if let Some((at, numbers)) = rows.iter().rev().max_by_key(|(_, numbers)| numbers[3])
        && numbers[3] > 0
    {
        notes.push(format!(
            "Clients waited longest from {}: {} on average at worst, with {} pool errors, {} logins and {} errors of PostgreSQL.",
            clock.at(Some(at.saturating_mul(1_000_000))),
            time(numbers[3]),
            whole(numbers[2]),
            whole(numbers[5]),
            whole(numbers[6]),
        ));
    }
    Part {
        figures: vec![figure(
            "each row",
            pawang_chart::words::duration(step as f64),
        )],
        tables: vec![table],
        charts: charts(line),
        notes,
        nothing: None,
    }
}

fn chart<'a>(title: &'static str, lines: &[(&str, &'a Series)]) -> Drawing<'a> {
    let lines = lines.iter().filter(|(_, series)| any(series));
    Drawing {
        title,
        unit: "",
        divisor: 1.0,
        peak: false,
        lines: lines
            .map(|(name, series)| ((*name).to_owned(), *series))
            .collect(),
    }
}

fn charts(line: &Timeline) -> Vec<Drawing<'_>> {
    let mut waits = Drawing::one(
        "PgBouncer: highest mean wait",
        "s",
        "wait",
        &line.pooler_waits,
    );
    (waits.divisor, waits.peak) = (1e6, true);
    let mut charts = vec![
        chart(
            "PgBouncer",
            &[
                ("clients in", &line.pooler_logins),
                ("clients out", &line.pooler_closings),
                ("errors", &line.pooler_errors),
                ("connections opened", &line.pooler_connections),
            ],
        ),
        waits,
        chart(
            "PostgreSQL",
            &[
                ("logins", &line.server_logins),
                ("errors", &line.server_errors),
            ],
        ),
    ];
    charts.retain(|chart| chart.lines.iter().any(|(_, series)| any(series)));
    charts
}

/// Returns the length of a row: the least that gives few enough of them.
fn step(series: &Series) -> i64 {
    let step = series.step.max(60);
    let buckets = i64::try_from(series.values.len()).unwrap_or(i64::MAX);
    let most = i64::try_from(ROWS_MAX).unwrap_or(i64::MAX);
    let seconds = buckets.saturating_mul(step);
    let fits = |long: &i64| long % step == 0 && seconds / long < most;
    STEPS
        .into_iter()
        .find(fits)
        .unwrap_or_else(|| step.saturating_mul(buckets / most + 1))
}

/// Returns what happened in each row that has anything, with when it begins; the fourth number is the highest, the others are sums.
fn rows(line: &Timeline, step: i64) -> Vec<(i64, [u64; 7])> {
    let all = [
        &line.pooler_logins,
        &line.pooler_closings,
        &line.pooler_errors,
        &line.pooler_waits,
        &line.pooler_connections,
        &line.server_logins,
        &line.server_errors,
    ];
    let mut rows: Vec<(i64, [u64; 7])> = Vec::new();
    for (at, index) in (0..line.server_errors.values.len())
        .zip(0_i64..)
        .map(|(at, i)| (i, at))
    {
        let second = line
            .server_errors
            .start
            .saturating_add(at.saturating_mul(line.server_errors.step));
        let begin = second.div_euclid(step) * step;
        if rows.last().is_none_or(|(last, _)| *last != begin) {
            rows.push((begin, [0; 7]));
        }
        let (_, numbers) = rows.last_mut().expect("one was pushed");
        for (place, (number, series)) in numbers.iter_mut().zip(all).enumerate() {
            let value = series.values.get(index).copied().unwrap_or(0);
            *number = match place {
                3 => (*number).max(value),
                _ => number.saturating_add(value),
            };
        }
    }
    rows.retain(|(_, numbers)| numbers.iter().any(|number| *number > 0));
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_as_short_as_few_enough_allow() {
        for (buckets, expected) in [(1, 60), (35, 60), (36, 300), (300, 600)] {
            let series = Series {
                start: 0,
                step: 60,
                values: vec![0; buckets],
            };
            assert_eq!(step(&series), expected, "{buckets}");
        }
        let weeks = Series {
            start: 0,
            step: 1_209_600,
            values: vec![0; 100],
        };
        assert_eq!(step(&weeks), 3 * 1_209_600);
    }
}
