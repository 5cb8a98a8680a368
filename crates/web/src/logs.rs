//! What is known of the logs of servers: sums of kept hours, and single records out of the files, each for pages and API alike.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pawang_config::QueryText;
use pawang_core::{Blind, Timestamp};
use pawang_logs::choose::{Wish, choose};
use pawang_logs::engine::FileHead;
use pawang_logs::regression::history::Found as Regressions;
use pawang_logs::render::{self, Masked};
use pawang_logs::report::{Report, Source};
use pawang_logs::resume::{KeptHours, directory_of, kept_hours};
use pawang_logs::search::{Found, Limits, Wanted, search};
use pawang_logs::severity::Severity;
use pawang_logs::tally::{Options, Tally};
use pawang_store::live::LogStatus;

use crate::page::{PageError, Range, Visit};

/// Items of each list.
pub(crate) const ITEMS_MAX: usize = 100;
/// Records of one page.
pub(crate) const RECORDS_MAX: usize = 200;
/// Bytes that one search reads at most.
const SEARCH_BYTES_MAX: u64 = 64 << 20;
/// How long one search may take.
const SEARCH_MAX: Duration = Duration::from_secs(2);
/// A search that read more than this answers those who ask the same for so long.
const CHEAP_BYTES: u64 = 1 << 20;
const FOUND_FOR: Duration = Duration::from_secs(20);
/// Regressions are of hours: those who ask again get the same for so long.
const SLOWER_FOR: Duration = Duration::from_secs(300);
/// Reports and searches that are remembered.
const REMEMBERED_MAX: usize = 8;
const HOUR_SECONDS: i64 = 3_600;

/// Reports and searches that were made a moment ago.
#[derive(Default)]
pub struct Logs {
    reports: Mutex<Vec<(ReportKey, Arc<Report>)>>,
    found: Mutex<Vec<(SearchKey, Timestamp, Arc<Found>)>>,
    slower: Mutex<Vec<(SlowerKey, Timestamp, Arc<Regressions>)>>,
}

/// Whose statements were judged: the instance, and the stretch of time as the address says it.
type SlowerKey = (String, String);

/// The hours that a report is of, as they were.
type ReportKey = (PathBuf, Vec<(i64, u64)>);
/// What was searched for: the instance, what is wanted but for its time, and the stretch of time as the address says it.
type SearchKey = (String, Wanted, String);

/// The log of one instance over a stretch of time.
pub(crate) struct Summary {
    /// How reading goes; none when nobody reads.
    pub status: Option<Arc<LogStatus>>,
    /// The whole hours that are summed, from the first one to the end of the last one.
    pub from: Timestamp,
    /// Their end.
    pub to: Timestamp,
    /// Since when hours are kept.
    pub kept_since: Option<Timestamp>,
    /// What they add up to; why not.
    pub report: Result<Arc<Report>, Blind>,
}

/// Sums the hours of the stretch of time that a visit shows.
pub(crate) fn summary(visit: &Visit<'_>, name: &str) -> Summary {
    let span = visit.range.span;
    let first = span.from.as_second().div_euclid(HOUR_SECONDS);
    let last = span.to.as_second().div_euclid(HOUR_SECONDS);
    let begin = |hour: i64| Timestamp::from_second(hour * HOUR_SECONDS).unwrap_or(span.to);
    let directory = directory_of(visit.site.store.directory(), name);
    let kept = kept_hours(&directory).map_err(|error| failed(&error));
    let oldest = kept.as_ref().ok().and_then(KeptHours::span);
    let sum = |kept: KeptHours| visit.site.logs.report(directory, kept, first..last + 1);
    Summary {
        status: visit.site.live.log(name),
        from: begin(first),
        to: begin(last + 1),
        kept_since: oldest.map(|(hour, _)| begin(hour)),
        report: kept.and_then(sum),
    }
}

fn failed(error: &pawang_logs::Error) -> Blind {
    Blind::Failed {
        what: error.to_string(),
    }
}

/// Reads a severity as addresses write it.
pub(crate) fn severity(text: &str) -> Option<Severity> {
    let upper = text.to_ascii_uppercase();
    Severity::of(upper.as_bytes())
}

/// Finds records in the files of an instance; `stretch` is how the address says from when to when.
pub(crate) fn records(
    visit: &Visit<'_>,
    name: &str,
    status: &LogStatus,
    wanted: &Wanted,
    records: usize,
) -> Arc<Found> {
    let range = &visit.range;
    let stretch = stretch(range);
    let key = (
        name.to_owned(),
        wanted.clone(),
        format!("{stretch} {records}"),
    );
    if let Some(found) = visit.site.logs.remembered(&key, visit.now) {
        return found;
    }
    let mut wanted = wanted.clone();
    wanted.since = Some(range.span.from.as_microsecond());
    wanted.until = range.frozen.then(|| range.span.to.as_microsecond());
    let masked = Masked {
        constants: visit.site.settings.query_text == QueryText::Raw,
    };
    let wish = Wish::told(status.prefix.as_deref(), status.zone.as_deref());
    let clock = visit.site.now;
    let end = clock() + SEARCH_MAX;
    let limits = Limits {
        records,
        bytes: SEARCH_BYTES_MAX,
        stop: &|| clock() > end,
    };
    let choose = |head: &FileHead<'_>| choose(head, &wish);
    let found = Arc::new(search(&status.files, &choose, &wanted, masked, &limits));
    if found.bytes > CHEAP_BYTES {
        visit.site.logs.remember(key, visit.now, &found);
    }
    found
}

/// Returns a stretch of time as the address says it.
fn stretch(range: &Range) -> String {
    match range.frozen {
        true => format!("{} {}", range.span.from, range.span.to),
        false => range.name.clone(),
    }
}

impl Logs {
    /// Returns what `judge` finds, or what it found a few minutes ago.
    ///
    /// # Errors
    /// It does not answer.
    pub(crate) fn slower(
        &self,
        visit: &Visit<'_>,
        name: &str,
        judge: impl FnOnce() -> Result<Regressions, PageError>,
    ) -> Result<Arc<Regressions>, PageError> {
        let key = (name.to_owned(), stretch(&visit.range));
        let now = visit.now;
        let lock = || self.slower.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = lock();
        all.retain(|(_, at, _)| *at <= now && now < *at + SLOWER_FOR);
        if let Some((.., found)) = all.iter().find(|(known, ..)| *known == key) {
            return Ok(Arc::clone(found));
        }
        drop(all);
        let found = Arc::new(judge()?);
        let mut all = lock();
        all.push((key, now, Arc::clone(&found)));
        let excess = all.len().saturating_sub(REMEMBERED_MAX);
        all.drain(..excess);
        Ok(found)
    }

    fn report(
        &self,
        directory: PathBuf,
        mut kept: KeptHours,
        hours: std::ops::Range<i64>,
    ) -> Result<Arc<Report>, Blind> {
        let key = (directory, kept.within(&hours));
        let reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        let known = reports.iter().find(|(known, _)| *known == key);
        if let Some((_, report)) = known {
            return Ok(Arc::clone(report));
        }
        drop(reports);
        let tally: Tally = kept.sum(hours.clone()).map_err(|error| failed(&error))?;
        let options = Options {
            items: ITEMS_MAX,
            ..Options::default()
        };
        let mut report = tally.report(Source::default(), &options);
        render::redact(&mut report);
        let report = Arc::new(report);
        let mut reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        // While it was summed the hours may have become others.
        reports.push(((key.0, kept.within(&hours)), Arc::clone(&report)));
        let excess = reports.len().saturating_sub(REMEMBERED_MAX);
        reports.drain(..excess);
        Ok(report)
    }

    fn remembered(&self, key: &SearchKey, now: Timestamp) -> Option<Arc<Found>> {
        let mut all = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|(_, at, _)| *at <= now && now < *at + FOUND_FOR);
        let known = all.iter().find(|(known, ..)| known == key);
        known.map(|(.., found)| Arc::clone(found))
    }

    fn remember(&self, key: SearchKey, now: Timestamp, found: &Arc<Found>) {
        let mut all = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        all.push((key, now, Arc::clone(found)));
        let excess = all.len().saturating_sub(REMEMBERED_MAX);
        all.drain(..excess);
    }
}
