//! The frame of every page: where one is, how much needs doing, which stretch of time is shown, how old it is.
//!
//! Everything here is readable and usable without a script; with one, pages stay live.

use std::time::Duration;

use maud::{DOCTYPE, Markup, html};
use pawang_core::alert::{AlertsPresent, Incident, IncidentState};
use pawang_core::{Level, Outcome, Report, Timestamp};
use pawang_store::live::{DaemonStatus, Present};

use crate::assets;
use crate::page::parts::{acknowledge_form, critical, may, mute_form, shell, without_secrets};
use crate::page::{Page, Place, Visit};
use crate::words::{address, ago, clock, command, encode, exact, instant, seconds_since};

/// Instances in the picker; the fleet page has them all.
const PICKED_MAX: usize = 200;
/// From this age on, facts are stale: three rounds of the fastest collectors.
pub(crate) const STALE_SECONDS: f64 = 60.0;
/// The stretches of time of the range picker.
const RANGES: [&str; 5] = ["1h", "6h", "24h", "7d", "30d"];

/// How much of the estate is how bad.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Findings that want somebody now.
    pub critical: usize,
    /// Findings for today.
    pub warning: usize,
    /// Things that could not be seen.
    pub unknown: usize,
    /// Things worth knowing.
    pub info: usize,
    /// Checks that saw and found nothing.
    pub ok: usize,
}

impl Counts {
    /// Counts open findings and quiet checks of some instances; one without verdicts counts as not seen.
    pub(crate) fn of<'a>(instances: impl IntoIterator<Item = &'a Present>) -> Counts {
        let mut counts = Counts::default();
        for present in instances {
            let Some(evaluation) = &present.evaluation else {
                counts.unknown += 1;
                continue;
            };
            for verdict in &evaluation.verdicts {
                for finding in &verdict.findings {
                    counts.add(finding.level, 1);
                }
                let hidden = verdict
                    .findings_total
                    .saturating_sub(verdict.findings.len());
                counts.add(verdict.level, hidden);
                let quiet = verdict.findings.is_empty() && verdict.level == Level::Ok;
                if quiet && verdict.outcome == Outcome::Judged {
                    counts.ok += 1;
                }
            }
        }
        counts
    }

    /// Adds alerts that are no finding of an instance: of Pawang itself, and of others.
    pub(crate) fn and_alerts(mut self, alerts: &AlertsPresent) -> Counts {
        let own = alerts
            .alerts
            .iter()
            .filter(|alert| alert.instance.is_empty());
        for level in own.filter_map(|alert| alert.firing()) {
            self.add(level, 1);
        }
        self
    }

    fn add(&mut self, level: Level, more: usize) {
        match level {
            Level::Critical => self.critical += more,
            Level::Warning => self.warning += more,
            Level::Unknown => self.unknown += more,
            Level::Info => self.info += more,
            Level::Ok => {}
        }
    }

    /// Returns the level that the icon shows.
    pub(crate) fn level(&self) -> Level {
        match self {
            Counts { critical: 1.., .. } => Level::Critical,
            Counts { warning: 1.., .. } => Level::Warning,
            Counts { unknown: 1.., .. } => Level::Unknown,
            _ => Level::Ok,
        }
    }

    /// Shows them in a line: `2 act now  3 today  1 not seen  214 ok`.
    pub(crate) fn show(&self) -> Markup {
        html! {
            p .counts {
                (counted(self.critical, Level::Critical))
                (counted(self.warning, Level::Warning))
                @if self.unknown > 0 { (counted(self.unknown, Level::Unknown)) }
                @if self.info > 0 { (counted(self.info, Level::Info)) }
                (counted(self.ok, Level::Ok))
            }
        }
    }
}

fn counted(count: usize, level: Level) -> Markup {
    let word = match (level, count) {
        (Level::Info, 2..) => "notes",
        _ => crate::words::word(level),
    };
    html! { span .count.(level.as_str()).none[count == 0] { b { (count) } " " (word) } " " }
}

/// Returns a whole page: the frame around what `page` says.
pub(crate) fn frame(visit: &Visit<'_>, page: &Page) -> Markup {
    let instances = visit.site.live.instances();
    let alerts = visit.site.live.alerts();
    let counts = Counts::of(instances.iter().map(AsRef::as_ref)).and_alerts(&alerts);
    let stale = page
        .seen_at
        .is_some_and(|at| seconds_since(visit.now, at) > STALE_SECONDS);
    let stale = stale && !visit.range.frozen;
    let red = critical(&alerts).unwrap_or(counts.critical);
    html! {
        (DOCTYPE)
        html lang="en" {
            (head(&title(page, red), assets::icon(counts.level(), red)))
            body data-live[!visit.range.frozen] data-now=(instant(visit.now))
                data-from=(visit.range.span.from.as_millisecond())
                data-to=(visit.range.span.to.as_millisecond()) {
                a .skip href="#main" { "Skip to content" }
                (rail(visit, page, &counts, &alerts))
                header #top {
                    (picker(visit, page, &instances))
                    (search(visit))
                    (ranges(visit))
                    (seen(visit, page, stale))
                }
                div #notices role="status" { (trouble(visit, &visit.site.live.daemon())) (untold(visit, &alerts)) }
                main #main tabindex="-1" .stale[stale] {
                    h1 { (page.title) }
                    (page.body)
                }
                (palette(visit, &instances))
                @if alerts.running && may(visit) { (orders(visit)) }
            }
        }
    }
}

/// Returns a page without rail and bar, for whoever is not signed in and for errors.
pub(crate) fn plain(title: &str, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            (head(&format!("{title} - Pawang"), assets::icon(Level::Ok, 0)))
            body .plain {
                main #main tabindex="-1" {
                    p .brand { (mark()) "Pawang" }
                    h1 { (title) }
                    (body)
                }
            }
        }
    }
}

/// Returns the head of a page that everybody may see, which browsers load again by themselves.
pub(crate) fn public_head(title: &str, level: Level, refresh: Duration) -> Markup {
    html! {
        head {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width, initial-scale=1, viewport-fit=cover";
            meta name="color-scheme" content="light dark";
            meta name="robots" content="noindex";
            meta http-equiv="refresh" content=(refresh.as_secs());
            title { (title) }
            link rel="icon" type="image/svg+xml" href=(assets::icon(level, 0));
            link rel="stylesheet" href=(assets::stylesheet());
            script type="module" src=(assets::script()) {}
        }
    }
}

fn head(title: &str, icon: &str) -> Markup {
    html! {
        head {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width, initial-scale=1, viewport-fit=cover";
            meta name="color-scheme" content="light dark";
            meta name="robots" content="noindex";
            title { (title) }
            link #icon rel="icon" type="image/svg+xml" href=(icon);
            link rel="stylesheet" href=(assets::stylesheet());
            script type="module" src=(assets::script()) {}
        }
    }
}

fn title(page: &Page, red: usize) -> String {
    let count = match red {
        0 => String::new(),
        count => format!("({count}) "),
    };
    match &page.instance {
        Some(instance) if *instance != page.title => {
            format!("{count}{} - {instance} - Pawang", page.title)
        }
        _ => format!("{count}{} - Pawang", page.title),
    }
}

fn mark() -> Markup {
    html! {
        svg .mark viewBox="0 0 32 32" width="22" height="22" aria-hidden="true" {
            rect width="32" height="32" rx="8" {}
            path d="M9 25V13a7 7 0 0 1 14 0v3a4 4 0 0 1-4 4h-4" {}
            circle cx="17.5" cy="12.5" r="1.9" {}
        }
    }
}

/// The pages of one instance: place, address below the instance, name, key.
const PAGES: [(Place, &str, &str, &str); 12] = [
    (Place::Instance, "", "Overview", "g o"),
    (Place::Activity, "/activity", "Activity", "g a"),
    (Place::Queries, "/queries", "Queries", "g q"),
    (Place::Tables, "/tables", "Tables", "g t"),
    (Place::Tables, "/indexes", "Indexes", "g x"),
    (Place::Replication, "/replication", "Replication", "g r"),
    (Place::Storage, "/storage", "Storage", "g d"),
    (Place::Logs, "/logs", "Logs", "g l"),
    (Place::Backups, "/backups", "Backups", "g b"),
    (Place::Maintenance, "/maintenance", "Maintenance", "g m"),
    (Place::Settings, "/settings", "Settings", "g s"),
    (Place::Setup, "/setup", "Setup", "g u"),
];

fn rail(visit: &Visit<'_>, page: &Page, counts: &Counts, alerts: &AlertsPresent) -> Markup {
    let open = counts.critical + counts.warning;
    let firing = |incident: &&Incident| incident.state == IncidentState::Open;
    let incidents = alerts.incidents.iter().filter(firing).count();
    let (windows, red) = (alerts.open_windows.len(), Level::Critical);
    let general = [
        (Place::Fleet, "/", "Fleet", "g f", 0, Level::Ok),
        (
            Place::Incidents,
            "/incidents",
            "Incidents",
            "g i",
            incidents,
            red,
        ),
        (
            Place::Findings,
            "/findings",
            "Findings",
            "g n",
            open,
            counts.level(),
        ),
        (
            Place::Windows,
            "/windows",
            "Windows",
            "g w",
            windows,
            Level::Info,
        ),
    ];
    html! {
        nav #rail aria-label="Pages" {
            a .brand href="/" { (mark()) span { "Pawang" } }
            ul {
                @for (place, path, name, key, count, level) in general {
                    li { a href=(visit.link(path)) data-key=(key) aria-current=[current(page, place, name)] {
                        (name)
                        @if count > 0 { span .pill.(level.as_str()) { (count) } }
                    } }
                }
            }
            @if let Some(instance) = &page.instance {
                p .group { (instance) }
                ul {
                    @for (place, path, name, key) in PAGES {
                        @let path = format!("/instances/{}{path}", encode(instance));
                        li { a href=(visit.link(&path)) data-key=(key) aria-current=[current(page, place, name)] {
                            (name)
                        } }
                    }
                }
            }
            ul .last {
                li { a href=(visit.link("/journal")) data-key="g j"
                    aria-current=[current(page, Place::Journal, "Journal")] { "Journal" } }
                @if let Some(account) = visit.account {
                    li { a href="/account" { (account.name) } }
                }
            }
        }
    }
}

/// Says whether an entry of the rail is where one is; `Tables` has two entries, told apart by the title.
fn current(page: &Page, place: Place, name: &str) -> Option<&'static str> {
    let indexes = page.title.starts_with("Index");
    let here = page.place == place && (place != Place::Tables || (name == "Indexes") == indexes);
    here.then_some("page")
}

/// The way to the same page of another instance.
fn picker(visit: &Visit<'_>, page: &Page, instances: &[std::sync::Arc<Present>]) -> Markup {
    let found = PAGES.iter().find(|(place, _, name, _)| {
        page.instance.is_some() && current(page, *place, name).is_some()
    });
    let below = found.map_or("", |(_, path, ..)| path);
    html! {
        details .picker data-menu {
            summary { (page.instance.as_deref().unwrap_or("All instances")) }
            ul {
                li { a href=(visit.link("/")) { "All instances" } }
                @for present in instances.iter().take(PICKED_MAX) {
                    @let name = &present.instance.name;
                    @let path = format!("/instances/{}{below}", encode(name));
                    li { a href=(visit.link(&path))
                        aria-current=[(page.instance.as_ref() == Some(name)).then_some("true")] {
                        (crate::words::glyph(level(present))) (name)
                    } }
                }
                @if instances.len() > PICKED_MAX {
                    li { a href=(visit.link("/")) { (instances.len() - PICKED_MAX) " more on Fleet" } }
                }
            }
        }
    }
}

/// Returns how bad the worst of an instance is; unknown when nothing judged it yet.
pub(crate) fn level(present: &Present) -> Level {
    let evaluation = present.evaluation.as_ref();
    evaluation.map_or(Level::Unknown, |evaluation| evaluation.level())
}

fn search(visit: &Visit<'_>) -> Markup {
    html! {
        form .search action="/" role="search" {
            input type="search" name="search" placeholder="Search" maxlength="200" autocomplete="off"
                aria-label="Search instances and findings" aria-keyshortcuts="Control+K"
                value=(visit.parameter("search").unwrap_or(""));
        }
    }
}

fn ranges(visit: &Visit<'_>) -> Markup {
    let chosen = |name: &str| !visit.range.frozen && visit.range.name == name;
    let clear = [("from", None), ("to", None), ("at", None), ("before", None)];
    let range = |name| {
        let mut changes = clear.to_vec();
        changes.push(("range", Some(name)));
        address(visit.query, &changes)
    };
    let span = visit.range.span;
    let length = span.to.duration_since(span.from);
    let shifted = |by: i8| {
        let by = length / 2 * i32::from(by);
        let (from, to) = (span.from.saturating_add(by), span.to.saturating_add(by));
        frozen(visit, from.ok()?, to.ok()?)
    };
    html! {
        nav .ranges aria-label="Time" {
            @if let Some(earlier) = shifted(-1) {
                a .step href=(earlier) rel="prev" title="Earlier  ," data-step="-1" { "‹" }
            }
            @for name in RANGES {
                a href=(range(name)) aria-current=[chosen(name).then_some("true")] { (name) }
            }
            @if visit.range.frozen {
                @if let Some(later) = shifted(1).filter(|_| span.to < visit.now) {
                    a .step href=(later) rel="next" title="Later  ." data-step="1" { "›" }
                }
                span .frozen title={ (exact(span.from)) " to " (exact(span.to)) } {
                    "frozen " (stretch(visit.now, span.from, span.to))
                }
                a .now href=(range(back(length.unsigned_abs()))) data-back { "back to now" }
            } @else if let Some(address) = frozen(visit, span.from, span.to) {
                a .freeze href=(address) title="A link that shows this stretch of time for ever" { "freeze" }
            }
        }
    }
}

/// Returns the stretch from now backwards that comes closest to a span.
fn back(length: Duration) -> &'static str {
    match length.as_secs() / 3_600 {
        0..=3 => "1h",
        4..=14 => "6h",
        15..=71 => "24h",
        72..=359 => "7d",
        _ => "30d",
    }
}

/// Returns the address of the same page with a frozen span; `None` before anything can have been seen.
fn frozen(visit: &Visit<'_>, from: Timestamp, to: Timestamp) -> Option<String> {
    let (from, to) = (instant(from), instant(to.min(visit.now)));
    let changes = [
        ("range", None),
        ("at", None),
        ("before", None),
        ("from", Some(from.as_str())),
        ("to", Some(to.as_str())),
    ];
    (from < to).then(|| address(visit.query, &changes))
}

/// Returns a span for people: `02:12-03:12 UTC`, with days where they differ from today's.
fn stretch(now: Timestamp, from: Timestamp, to: Timestamp) -> String {
    let (from, to) = (clock(now, from), clock(now, to));
    let from = from.trim_end_matches(" UTC");
    match (
        from.rsplit_once(' '),
        to.rsplit_once(' ')
            .and_then(|(rest, _)| rest.rsplit_once(' ')),
    ) {
        (Some((a, _)), Some((b, time))) if a == b => format!("{from}–{time} UTC"),
        _ => format!("{from}–{to}"),
    }
}

fn seen(visit: &Visit<'_>, page: &Page, stale: bool) -> Markup {
    html! {
        p #seen .stale[stale] {
            @match page.seen_at {
                Some(at) if visit.range.frozen => { "as of " (crate::words::moment(visit.now, at)) }
                Some(at) if stale => { "not seen since " (crate::words::moment(visit.now, at)) }
                Some(at) => { span .beat {} span .said { "seen " } (ago(visit.now, at)) }
                None => {}
            }
        }
    }
}

/// Says what keeps the daemon from doing all of its work.
fn trouble(visit: &Visit<'_>, daemon: &DaemonStatus) -> Markup {
    let store = &daemon.store;
    html! {
        @if let Some(report) = &store.trouble {
            (notice(Level::Critical, "History is not being written", report, html! {
                @if let Some(at) = store.committed_at { "Last written " (ago(visit.now, at)) ". " }
                (store.waiting_snapshots) " snapshots wait in memory"
                @if store.dropped_snapshots > 0 { ", " (store.dropped_snapshots) " were dropped" }
                "."
            }))
        }
        @if let Some(report) = &daemon.config_refused {
            (notice(Level::Warning, "The new configuration was refused; the one before is in force", report, html! {}))
        }
        @for remote in &daemon.remote_writes {
            @if let Some(what) = &remote.trouble {
                div .notice.warning {
                    (crate::words::glyph(Level::Warning))
                    div { p { b { "Remote write to " (remote.name) " waits: " } (without_secrets(what)) } }
                }
            }
        }
        @for note in &daemon.notes {
            div .notice.info { (crate::words::glyph(Level::Info)) div { p { (note) } } }
        }
    }
}

/// Says what keeps people from hearing of alerts.
fn untold(visit: &Visit<'_>, alerts: &AlertsPresent) -> Markup {
    html! {
        @for channel in &alerts.channels {
            @if let Some((since, why)) = &channel.trouble {
                div .notice.critical {
                    (crate::words::glyph(Level::Critical))
                    div {
                        p { b { "Channel " (channel.name) " gets no message through: " } (without_secrets(why))
                            " Since " (crate::words::moment(visit.now, *since)) ", " (channel.waiting) " wait." }
                        (command(&format!("pawang notify test {}", shell(&channel.name))))
                    }
                }
            }
        }
        @for note in &alerts.notes {
            div .notice.info { (crate::words::glyph(Level::Info)) div { p { (without_secrets(note)) } } }
        }
    }
}

/// The forms of the keys `a` and `m`: the script opens them for the row that is chosen.
fn orders(visit: &Visit<'_>) -> Markup {
    html! {
        template #order-acknowledge data-title="Acknowledge" { (acknowledge_form(visit, "", "")) }
        template #order-mute data-title="Mute" { (mute_form(visit, "", "")) }
    }
}

fn notice(level: Level, what: &str, report: &Report, more: Markup) -> Markup {
    html! {
        div .notice.(level.as_str()) {
            (crate::words::glyph(level))
            div {
                p { b { (what) ": " } (report.primary) @if let Some(detail) = &report.detail { " (" (detail) ")" } " " (more) }
                @if let Some(hint) = &report.hint { (command(hint)) }
            }
        }
    }
}

/// What `Ctrl-K` searches: the script fills its dialog from here.
fn palette(visit: &Visit<'_>, instances: &[std::sync::Arc<Present>]) -> Markup {
    let names: Vec<&str> = instances
        .iter()
        .take(PICKED_MAX)
        .map(|present| present.instance.name.as_str())
        .collect();
    let kept = visit.link("");
    let data = serde_json::json!({ "instances": names, "keep": kept });
    html! { (pawang_chart::json("estate", &data)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn frozen_spans_read_short() {
        let now = at("2026-11-21T15:00:00Z");
        for (from, to, text) in [
            (
                "2026-11-21T02:12:00Z",
                "2026-11-21T03:12:00Z",
                "02:12–03:12 UTC",
            ),
            (
                "2026-11-20T02:12:00Z",
                "2026-11-20T03:12:00Z",
                "20 Nov 02:12–03:12 UTC",
            ),
            (
                "2026-11-20T22:00:00Z",
                "2026-11-21T03:12:00Z",
                "20 Nov 22:00–03:12 UTC",
            ),
        ] {
            assert_eq!(stretch(now, at(from), at(to)), text);
        }
    }

    #[test]
    fn the_icon_shows_the_worst_that_needs_somebody() {
        let counts = Counts {
            warning: 2,
            unknown: 1,
            ok: 9,
            ..Counts::default()
        };
        assert_eq!(counts.level(), Level::Warning);
        assert_eq!(
            Counts {
                unknown: 1,
                ..Counts::default()
            }
            .level(),
            Level::Unknown
        );
        assert_eq!(Counts::default().level(), Level::Ok);
    }
}
