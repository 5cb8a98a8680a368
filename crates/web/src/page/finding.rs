//! One finding: what, since when, why it matters, the proof, what to do, and how often it was so.

use std::sync::{Arc, LazyLock};

use maud::{Markup, html};
use pawang_check::{CHECKS, Check};
use pawang_collect::Catalog;
use pawang_core::alert::Alert;
use pawang_core::{Level, Measure, Timestamp, Unit};
use pawang_store::history::{Fold, Rows, Series};
use pawang_store::live::Present;
use pawang_store::state::{AlertQuery, FindingQuery, FindingRecord};

use super::parts::{Ask, series};
use super::verdict::{Open, address, name, open, place, since, title, where_of};
use super::{Page, PageError, Place, Visit, alert};
use crate::page::parts::{shell, without_secrets};
use crate::words::{age, badge, command, copyable, duration, encode, moment, not_seen, quantity};
use pawang_chart::Chart;

/// Times that a finding was open, in its history.
const TIMES_MAX: usize = 100;
/// Series that a finding's chart looks at to find its own.
const OTHERS_MAX: usize = 20;

/// Statements of the collectors, to show what a finding was read from.
static CATALOG: LazyLock<Catalog> = LazyLock::new(Catalog::built_in);

/// A finding with everything around it.
struct Story {
    open: Open,
    /// When it was over; `None` while it is open.
    closed_at: Option<Timestamp>,
    /// All its times, newest first.
    times: Vec<FindingRecord>,
    /// How the newest verdict measured its object.
    measure: Option<Measure>,
    /// Objects of the same check on the same instance that have a finding now.
    siblings: usize,
    /// Other instances where the same check has a finding now.
    elsewhere: Vec<Open>,
    /// The server's major version.
    major: Option<u32>,
    /// What it is as an alert, as long as that is kept in mind.
    alert: Option<Arc<Alert>>,
}

/// Draws the page.
pub(crate) fn render(visit: &Visit<'_>, fingerprint: &str) -> Result<Page, PageError> {
    let story = story(visit, fingerprint)?;
    let finding = &story.open.finding;
    let check = CHECKS
        .iter()
        .find(|check| check.id == finding.check)
        .copied();
    let body = html! {
        (headline(visit, &story))
        (figures(visit, &story))
        @if let Some(alert) = &story.alert { (alert::care(visit, alert)) }
        @if let Some(blind) = &finding.blind { (not_seen(blind)) }
        @if let Some(check) = check {
            div .texts {
                section { h2 { "What" } p { (check.what) } }
                section { h2 { "Why it matters" } p { (check.why) } }
            }
        }
        h2 { "What to do" }
        @if let Some(check) = check { p { (check.fix) } }
        @if check.is_none_or(|check| check.fix != finding.remedy) && finding.blind.is_none() { (copyable(&finding.remedy)) }
        @if !story.open.instance.is_empty() {
            (command(&format!("pawang check {} -i {}", finding.check, shell(&story.open.instance))))
        }
        @if check.is_some() { (command(&format!("pawang explain {}", finding.check))) }
        (evidence(visit, &story)?)
        @if let Some(check) = check { (statements(check, story.major)) }
        (alert::life(visit, fingerprint)?)
        (past(visit, &story))
        (elsewhere(visit, &story))
    };
    Ok(Page {
        title: finding.check.clone(),
        place: Place::Findings,
        instance: Some(story.open.instance.clone()).filter(|name| !name.is_empty()),
        body,
        seen_at: visit
            .site
            .live
            .instance(&story.open.instance)
            .map(|present| present.facts.at),
    })
}

fn story(visit: &Visit<'_>, fingerprint: &str) -> Result<Story, PageError> {
    let times = visit.reader.findings(&FindingQuery {
        fingerprint: Some(fingerprint),
        limit: TIMES_MAX,
        ..FindingQuery::default()
    })?;
    let instances = visit.site.live.instances();
    let all = open(visit, instances.iter().map(AsRef::as_ref))?;
    let now = all
        .iter()
        .find(|open| open.finding.fingerprint == fingerprint);
    let present = visit.site.live.alerts();
    let mut alerts = present.alerts.iter();
    let alert = alerts.find(|alert| alert.fingerprint == fingerprint && !visit.range.frozen);
    let (own, closed_at) = match (now, times.first()) {
        (Some(open), _) => (open.clone(), None),
        // A finding of Pawang itself, or of somebody else, is only an alert.
        (None, None) => (alone(visit, alert, fingerprint)?, None),
        (None, Some(record)) => {
            let open = Open {
                instance: record.instance.clone(),
                finding: record.finding.clone(),
                since: Some(record.opened_at),
            };
            (open, record.closed_at)
        }
    };
    let same = |open: &&Open| {
        open.finding.check == own.finding.check && open.finding.fingerprint != fingerprint
    };
    let (siblings, elsewhere): (Vec<Open>, Vec<Open>) = all
        .iter()
        .filter(same)
        .cloned()
        .partition(|open| open.instance == own.instance);
    let alert = alert.cloned();
    let present = instances
        .iter()
        .find(|present| present.instance.name == own.instance);
    Ok(Story {
        alert,
        measure: present.and_then(|present| measure(present, &own)),
        major: present.and_then(|present| {
            present
                .facts
                .server
                .as_ref()
                .ok()
                .map(pawang_core::Server::major)
        }),
        siblings: siblings.len(),
        elsewhere,
        closed_at,
        times,
        open: own,
    })
}

/// Returns an alert that is no finding of an instance, as one; also one that is over.
fn alone(
    visit: &Visit<'_>,
    alert: Option<&Arc<Alert>>,
    fingerprint: &str,
) -> Result<Open, PageError> {
    if let Some(alert) = alert {
        return Ok(alert::as_finding(alert));
    }
    let kept = visit.site.store.state().alerts(&AlertQuery {
        fingerprint: Some(fingerprint),
        limit: 1,
        ..AlertQuery::default()
    })?;
    let kept = kept.first().map(alert::as_finding);
    kept.ok_or_else(|| PageError::NotFound {
        what: format!("finding \"{fingerprint}\""),
    })
}

/// Returns how the newest verdict measured the object of a finding.
fn measure(present: &Present, open: &Open) -> Option<Measure> {
    let finding = &open.finding;
    let verdicts = &present.evaluation.as_ref()?.verdicts;
    let verdict = verdicts
        .iter()
        .find(|verdict| verdict.check == finding.check)?;
    let names = measured_as(finding.database.as_deref(), &finding.object);
    let mut measures = verdict.measures.iter();
    measures
        .find(|measure| names.contains(&measure.object))
        .cloned()
}

/// Returns the names under which an object may be measured: measures of checks of databases begin with the database.
fn measured_as(database: Option<&str>, object: &str) -> Vec<String> {
    match (database, object) {
        (Some(database), "") => vec![database.to_owned(), String::new()],
        (Some(database), object) => vec![format!("{database}/{object}"), object.to_owned()],
        (None, object) => vec![object.to_owned()],
    }
}

fn headline(visit: &Visit<'_>, story: &Story) -> Markup {
    let finding = &story.open.finding;
    let instance = &story.open.instance;
    html! {
        p .lead {
            @if instance.is_empty() { (story.alert.as_deref().map_or("Pawang", where_of)) }
            @else { a href=(visit.link(&format!("/instances/{}", encode(instance)))) { (instance) } }
            @if !place(finding).is_empty() { " · " (place(finding)) }
        }
        p .sentence.(finding.level.as_str()) {
            @if story.closed_at.is_none() { (badge(finding.level)) } @else { (badge(Level::Ok)) }
            " " b { (title(finding)) }
        }
    }
}

fn figures(visit: &Visit<'_>, story: &Story) -> Markup {
    let finding = &story.open.finding;
    html! {
        dl .figures {
            @if let Some(value) = finding.value.filter(|_| finding.unit != Unit::State) {
                div { dt { "Value" } dd { (finding.unit.show(value)) (began(story, value)) } }
            }
            @if let Some(limit) = finding.threshold.filter(|_| finding.unit != Unit::State) {
                div { dt { "Limit" } dd { (finding.unit.show(limit)) } }
            }
            @if let Some(at) = story.open.since {
                div {
                    dt { @if story.closed_at.is_some() { "Was open" } @else { "Open since" } }
                    dd {
                        (moment(visit.now, at))
                        @if let Some(closed) = story.closed_at { " to " (moment(visit.now, closed)) }
                        " " small { (age(story.closed_at.unwrap_or(visit.now).duration_since(at).as_secs_f64())) }
                    }
                }
            }
            div { dt { "Seen" } dd { (times(story.times.len())) } }
            @if story.siblings > 0 {
                div { dt { "On this instance" } dd { (story.siblings) " more " small { "like it" } } }
            }
        }
    }
}

/// Shows what the value was when the alert began, where it is another one now.
fn began(story: &Story, value: f64) -> Markup {
    let (alert, unit) = (story.alert.as_ref(), story.open.finding.unit);
    let first = alert.and_then(|alert| alert.first_value);
    let first = first.map(|first| unit.show(first));
    let other = first.filter(|first| *first != unit.show(value));
    html! { @if let Some(first) = other { " " small { "began at " (first) } } }
}

fn times(count: usize) -> String {
    match count {
        0 | 1 => "for the first time".to_owned(),
        TIMES_MAX => format!("{TIMES_MAX} times or more"),
        count => format!("{count} times"),
    }
}

/// Draws the rows that prove it, and the measure over time with its limits.
fn evidence(visit: &Visit<'_>, story: &Story) -> Result<Markup, PageError> {
    let finding = &story.open.finding;
    let chart = chart(visit, story)?;
    Ok(html! {
        @if !finding.evidence.is_empty() || chart.is_some() { h2 { "Evidence" } }
        @if let Some(chart) = &chart { div .charts { (chart) } }
        @if !finding.evidence.is_empty() {
            dl .facts { @for (fact, value) in &finding.evidence { dt { (fact) } dd { (without_secrets(value)) } } }
        }
    })
}

fn chart(visit: &Visit<'_>, story: &Story) -> Result<Option<Markup>, PageError> {
    let finding = &story.open.finding;
    let Some(unit) = unit(finding.unit) else {
        return Ok(None);
    };
    let database = finding.database.as_deref();
    let mut rows = vec![vec![
        finding.check.clone(),
        database.unwrap_or_default().to_owned(),
        finding.object.clone(),
    ]];
    let whole = measured_as(database, &finding.object).into_iter();
    rows.extend(whole.map(|name| vec![finding.check.clone(), String::new(), name]));
    rows.dedup();
    let ask = Ask {
        collector: "check-measures",
        columns: &["value"],
        rows: Rows::Only(&rows),
        fold: Fold::Each,
        ..Ask::default()
    };
    let found = series(visit, &story.open.instance, &ask)?;
    let Some(own) = found
        .iter()
        .take(OTHERS_MAX)
        .find(|series| seen(series) > 0)
    else {
        return Ok(None);
    };
    let limit = |value: Option<f64>, level| value.map(|value| (value, level));
    let limits = match &story.measure {
        Some(measure) => [
            limit(measure.warning, Level::Warning),
            limit(measure.critical, Level::Critical),
        ],
        None => [limit(finding.threshold, finding.level), None],
    };
    let label = if finding.object.is_empty() {
        story.open.instance.clone()
    } else {
        finding.object.clone()
    };
    let chart = Chart {
        title: name(finding),
        unit,
        span: visit.range.span,
        lines: vec![(label, own)],
        stacked: false,
        limits: limits.into_iter().flatten().collect(),
        marks: story
            .times
            .iter()
            .map(|record| (record.opened_at, "finding opened".to_owned()))
            .collect(),
    };
    Ok(Some(
        html! { div .double { (chart.draw()) @if let Some(text) = trend(own, unit) { p .muted { (text) } } } },
    ))
}

fn seen(series: &Series) -> usize {
    series
        .points
        .iter()
        .filter(|point| point.reading.is_some())
        .count()
}

/// Says how the value moved over the range.
fn trend(series: &Series, unit: &str) -> Option<String> {
    let mut seen = series
        .points
        .iter()
        .filter_map(|point| Some((point.at, point.reading?.mean)));
    let (first_at, first) = seen.next()?;
    let (last_at, last) = seen.next_back()?;
    let seconds = last_at.duration_since(first_at).as_secs_f64();
    let change = last - first;
    let size = first.abs().max(last.abs());
    if seconds < 60.0 || change.abs() <= size * 0.005 {
        return Some("Steady over what was seen of this stretch of time.".to_owned());
    }
    let word = if change > 0.0 { "Up" } else { "Down" };
    Some(format!(
        "{word} by {} in {}.",
        quantity(change.abs(), unit),
        duration(seconds)
    ))
}

/// Returns the unit of a chart; `None` where a drawing says nothing.
fn unit(unit: Unit) -> Option<&'static str> {
    Some(match unit {
        Unit::Percent => "%",
        Unit::Bytes => "bytes",
        Unit::BytesPerSecond => "bytes/s",
        Unit::Seconds => "s",
        Unit::Milliseconds => "ms",
        Unit::PerSecond => "/s",
        Unit::Days => "days",
        Unit::Count | Unit::Ratio => "",
        Unit::State => return None,
    })
}

/// Draws the statements that the check's collectors run, on demand.
fn statements(check: &Check<'_>, major: Option<u32>) -> Markup {
    let statement = |name: &&str| {
        let collector = CATALOG.collectors.get(*name)?;
        let newest = || {
            collector
                .statements
                .values()
                .next_back()
                .map(String::as_str)
        };
        let own = major.and_then(|major| collector.statement((major, 0)));
        let sql = if collector.header.extension.is_some() {
            newest()
        } else {
            own.or_else(newest)
        };
        Some((
            collector.name.clone(),
            collector.header.summary.clone(),
            sql.map(str::to_owned),
        ))
    };
    let found: Vec<_> = check.needs.iter().filter_map(statement).collect();
    html! {
        @if !found.is_empty() {
            h2 { "Where it was read" }
            @for (name, summary, sql) in &found {
                details id={ "sql-" (name) } {
                    summary { b { (name) } " " span .muted { (summary) } }
                    @match sql {
                        Some(sql) => { (copyable(sql.trim())) },
                        None => { p .muted { "Read from files of the machine, not by a statement." } }
                    }
                }
            }
        }
    }
}

/// Draws all its times.
fn past(visit: &Visit<'_>, story: &Story) -> Markup {
    html! {
        @if !story.times.is_empty() {
            h2 { "Its history" }
            div .wide { table {
                thead { tr { th { "Opened" } th { "Closed" } th .number { "Lasted" } th { "Worst" } th { "As it was seen last" } } }
                tbody { @for record in &story.times { tr {
                    td { (moment(visit.now, record.opened_at)) }
                    td { @match record.closed_at { Some(at) => (moment(visit.now, at)), None => b { "open" } } }
                    td .number { (age(record.closed_at.unwrap_or(visit.now).duration_since(record.opened_at).as_secs_f64())) }
                    td { (badge(record.worst)) }
                    td { (title(&record.finding)) }
                } } }
            } }
        }
    }
}

fn elsewhere(visit: &Visit<'_>, story: &Story) -> Markup {
    const SHOWN: usize = 20;
    html! {
        @if !story.elsewhere.is_empty() {
            h2 { "The same elsewhere" small { (story.elsewhere.len()) } }
            ul .findings .across { @for open in story.elsewhere.iter().take(SHOWN) { li {
                (crate::words::glyph(open.finding.level))
                a .where href=(visit.link(&format!("/instances/{}", encode(&open.instance)))) { (open.instance) }
                a .title href=(visit.link(&address(&open.finding))) { (title(&open.finding)) }
                (since(visit, open.since))
            } } }
        }
    }
}
