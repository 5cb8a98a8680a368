//! Statements that became slower, out of the history of a server and the kept hours of its log.

mod hours;
mod marks;

pub use hours::hours;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use pawang_core::Timestamp;
use pawang_store::Error;
use pawang_store::history::{Reader, Rows, Span};
use serde::Serialize;

use super::{
    BASELINE_HOURS_MIN, Cause, CauseKind, HOUR_SECONDS, Hour, Known, Log, Mark, Regression, Trail,
    comparable, regression,
};
use crate::resume::kept_hours;
use crate::tally::Tally;

/// Two weeks make the baseline, besides what is judged.
const BASELINE_HOURS: i64 = 336;
/// Plans of so long before what is judged are looked at.
const PLANS_HOURS: i64 = 72;

/// A statement that became slower.
#[derive(Clone, Debug, Serialize)]
pub struct Slower {
    /// The instance.
    pub instance: String,
    /// PostgreSQL's query identifier.
    pub queryid: String,
    /// The beginning of the first hour in which it was slower.
    pub since: Timestamp,
    /// How much slower, and why.
    pub regression: Regression,
    /// Its normalised text, where that is known.
    pub text: Option<String>,
}

/// Statements that became slower, of those that were looked at.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The slower ones, the costliest first.
    pub slower: Vec<Slower>,
    /// How many statements the history knows of.
    pub seen: usize,
    /// How many of them were compared with their past.
    pub compared: usize,
    /// How many were called but have no past yet.
    pub without_past: usize,
}

impl Found {
    /// Says why nothing can be told, when nothing was compared that should have been.
    pub fn unknown(&self) -> Option<String> {
        if self.seen == 0 {
            let why = "no statement was seen at that time: it takes pg_stat_statements and a daemon that observes it";
            return Some(why.to_owned());
        }
        (self.compared == 0 && self.without_past > 0).then(|| {
            format!(
                "{} statements were called, and none has a past of {BASELINE_HOURS_MIN} hours to compare with yet",
                self.without_past
            )
        })
    }

    /// Says in a sentence that nothing became slower, and of how much that is known.
    pub fn nothing(&self) -> String {
        let mut words = format!("none of {} statements became slower", self.compared);
        if self.without_past > 0 {
            words += &format!("; {} have no past to compare with yet", self.without_past);
        }
        words
    }
}

/// Which statements are looked at, and when.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The instance.
    pub instance: &'a str,
    /// The rows of the collector `statements`.
    pub rows: Rows<'a>,
    /// The end of what is judged.
    pub now: Timestamp,
    /// How many of the newest hours are judged.
    pub judged: i64,
}

/// Hours of each statement, by its query identifier.
type Hours = BTreeMap<String, Vec<Hour>>;

/// Finds the statements of an instance that became slower within the last hours, and why.
///
/// `log` is asked only when there are such: for the hours since 1970 in which plans and changes matter.
///
/// # Errors
/// The history cannot be read.
pub fn slower(
    reader: &Reader,
    asked: &Asked<'_>,
    log: impl FnOnce(Range<i64>) -> Log,
) -> Result<Found, Error> {
    let Asked {
        instance,
        rows,
        now,
        judged,
    } = *asked;
    let newest = now.as_second().div_euclid(HOUR_SECONDS);
    let since = |hours: i64| Span {
        from: at(newest - judged - hours),
        to: now,
    };
    let mut all = hours(reader, instance, rows, since(BASELINE_HOURS))?;
    let happened = marks::happened(reader, instance, since(1))?;
    let mut marks = happened.marks;
    let renamed = joined(reader, &mut all, &marks)?;
    let verdicts = all
        .values()
        .filter_map(|hours| comparable(hours, newest, judged));
    let (compared, without_past): (Vec<bool>, Vec<bool>) = verdicts.partition(|past| *past);
    let mut answer = Found {
        slower: Vec::new(),
        seen: all.len(),
        compared: compared.len(),
        without_past: without_past.len(),
    };
    let judge = |(queryid, hours): (String, Vec<Hour>)| {
        Some((queryid, regression(&hours, newest, judged)?))
    };
    let found: Vec<(String, Regression)> = all.into_iter().filter_map(judge).collect();
    let mut slower = Vec::new();
    if !found.is_empty() {
        let log = log(newest - judged - PLANS_HOURS..newest + 1);
        let stale = marks::stale(reader, instance, now)?;
        marks.extend(log.marks(&marks, &happened.owners));
        for (queryid, mut regression) in found {
            let text = text(reader, &queryid)?;
            let before = renamed.get(&queryid);
            let ids = [Some(&queryid), before.map(|renamed| &renamed.earlier)];
            let ids: Vec<i64> = ids
                .into_iter()
                .flatten()
                .filter_map(|id| id.parse().ok())
                .collect();
            regression.explain(&Known {
                text: text.as_deref(),
                query_ids: &ids,
                marks: &marks,
                stale: &stale,
                log: &log,
            });
            regression
                .causes
                .extend(before.map(|renamed| renamed.cause.clone()));
            slower.push(Slower {
                instance: instance.to_owned(),
                since: at(regression.since_hour),
                queryid,
                regression,
                text,
            });
        }
    }
    slower.sort_by(|a, b| b.regression.extra_ms.total_cmp(&a.regression.extra_ms));
    answer.slower = slower;
    Ok(answer)
}

/// Returns what the hours of a log say that a daemon keeps in a directory.
pub fn kept_log(directory: &Path, hours: Range<i64>) -> Log {
    let read = || -> Result<Vec<Trail>, String> {
        let mut kept = kept_hours(directory).map_err(|error| error.to_string())?;
        let mut trails = Vec::new();
        for (hour, _) in kept.within(&hours) {
            let tally: Tally = kept
                .sum(hour..hour + 1)
                .map_err(|error| error.to_string())?;
            trails.push(tally.trail());
        }
        match trails.is_empty() {
            true => Err(
                "no hour of it is kept (pawang serve reads the logs of servers on its own machine)"
                    .to_owned(),
            ),
            false => Ok(trails),
        }
    };
    Log { read: read() }
}

fn at(hour: i64) -> Timestamp {
    Timestamp::from_second(hour * HOUR_SECONDS).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn text(reader: &Reader, queryid: &str) -> Result<Option<String>, Error> {
    match queryid.parse() {
        Ok(queryid) => reader.text(queryid),
        Err(_) => Ok(None),
    }
}

/// Query identifiers by texts without constants.
type Texts = BTreeMap<String, Vec<String>>;

/// What a statement was called before an upgrade.
struct Renamed {
    earlier: String,
    cause: Cause,
}

/// Gives statements of a new major version the hours that they had under another identifier, and says so.
fn joined(
    reader: &Reader,
    all: &mut Hours,
    marks: &[Mark],
) -> Result<BTreeMap<String, Renamed>, Error> {
    let mut told = BTreeMap::new();
    for upgrade in marks.iter().filter(|mark| mark.kind == CauseKind::Upgrade) {
        let at = upgrade.at.as_second().div_euclid(HOUR_SECONDS);
        let (mut over, mut new) = (Texts::new(), Texts::new());
        for (queryid, hours) in all.iter() {
            let first = hours.first().map_or(i64::MAX, |hour| hour.hour);
            let last = hours.last().map_or(i64::MIN, |hour| hour.hour);
            if last > at && first < at {
                continue;
            }
            let Some(text) = text(reader, queryid)? else {
                continue;
            };
            let texts = if first >= at { &mut new } else { &mut over };
            // A newer server writes lists of constants in another way.
            let text = crate::statement::normalise(text.as_bytes());
            texts.entry(text).or_default().push(queryid.clone());
        }
        for (text, queryids) in new {
            let earlier = over.remove(&text).unwrap_or_default();
            let ([queryid], [earlier]) = (queryids.as_slice(), earlier.as_slice()) else {
                continue;
            };
            let mut hours = all.remove(earlier).unwrap_or_default();
            hours.extend(all.remove(queryid).unwrap_or_default());
            all.insert(queryid.clone(), hours);
            let cause = Cause {
                kind: CauseKind::Upgrade,
                what: format!("its query id was {earlier} before the upgrade"),
                at: Some(upgrade.at),
                evidence: "the same text, which nothing else is called by before or since"
                    .to_owned(),
                guess: true,
            };
            let earlier = earlier.clone();
            told.insert(queryid.clone(), Renamed { earlier, cause });
        }
    }
    Ok(told)
}
