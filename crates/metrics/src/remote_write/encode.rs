//! From what is new in the present to requests: every snapshot once, at its own time, and an end to series that ended.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use pawang_config::{MetricsConfig, matches};
use pawang_core::Timestamp;
use pawang_store::live::Present;
use prost::Message;

use super::message::{Label, Sample, TimeSeries, WriteRequest, stale};
use crate::layout::{Family, Read, native};
use crate::own::{self, Dropped};
use crate::sheet::{self, Line, Sheet};
use crate::text::collectors;

/// Most series of one request.
pub(crate) const SERIES_MAX: usize = 2_000;

/// One request, ready to be sent.
pub(crate) struct Batch {
    /// How many samples are in it.
    pub(crate) samples: u32,
    /// The body: a snappy block.
    pub(crate) body: Vec<u8>,
}

/// What was sent last, so that what ended can be told.
pub(crate) struct Encoder {
    labels: BTreeMap<String, String>,
    patterns: Option<Vec<String>>,
    samples_max: usize,
    last: HashMap<String, Arc<Present>>,
    /// The newest time sent, by instance, collector and database: stores take samples of a series only in order.
    sent_at: HashMap<Key, i64>,
}

/// Instance, collector and database; the collector is empty for what Pawang says of itself.
type Key = (String, String, Option<String>);

impl Encoder {
    pub(crate) fn new(labels: &BTreeMap<String, String>, patterns: Option<&[String]>) -> Encoder {
        Encoder {
            labels: labels.clone(),
            patterns: patterns.map(<[String]>::to_vec),
            samples_max: MetricsConfig::default().series_per_collector as usize,
            last: HashMap::new(),
            sent_at: HashMap::new(),
        }
    }

    /// Encodes what is new since the instance was offered last; returns how many samples came too late to be sent.
    pub(crate) fn offer(&mut self, present: &Arc<Present>, take: &mut dyn FnMut(Batch)) -> u64 {
        let name = present.instance.name.clone();
        let before = self.last.insert(name, Arc::clone(present));
        let change = Change {
            before: before.as_deref(),
            after: Some(present),
            now: present.facts.at,
        };
        self.all(&change, take)
    }

    /// Ends all series of an instance that is no longer looked after.
    pub(crate) fn forget(&mut self, name: &str, now: Timestamp, take: &mut dyn FnMut(Batch)) {
        let Some(before) = self.last.remove(name) else {
            return;
        };
        let change = Change {
            before: Some(&before),
            after: None,
            now,
        };
        self.all(&change, take);
        self.sent_at.retain(|(instance, ..), _| instance != name);
    }

    fn all(&mut self, change: &Change<'_>, take: &mut dyn FnMut(Batch)) -> u64 {
        let mut batches = Batches::new(take);
        let mut late = self.own(change, &mut batches);
        for name in change.collectors() {
            let patterns = self.patterns.as_ref();
            let any = |patterns: &Vec<String>| patterns.iter().any(|p| matches(p, name));
            if patterns.is_none_or(any) && change.is_new(name) {
                late += self.collector(change, name, &mut batches);
            }
        }
        batches.finish();
        late
    }

    /// What Pawang says of the instance is said anew each time.
    fn own(&mut self, change: &Change<'_>, batches: &mut Batches<'_>) -> u64 {
        let before = change.before.map_or(Vec::new(), own_sheets);
        let after = change.after.map_or(Vec::new(), own_sheets);
        let subject = |sheet: &Sheet<'_>| sheet.layout.families[0].name();
        let key = (change.name().to_owned(), String::new(), None);
        let Some(at) = self.time(key, change.now, after.is_empty()) else {
            return after.iter().map(Sheet::samples_of_all).sum();
        };
        for sheet in &after {
            self.write(sheet, at, batches);
        }
        for sheet in &before {
            let mut same = after
                .iter()
                .filter(|after| subject(after) == subject(sheet));
            self.end(sheet, same.next(), at, batches);
        }
        0
    }

    fn collector(&mut self, change: &Change<'_>, name: &str, batches: &mut Batches<'_>) -> u64 {
        let before = self.sheets(change.before, name);
        let after = self.sheets(change.after, name);
        let mut late = 0;
        let key = |database: &Option<String>| {
            (change.name().to_owned(), name.to_owned(), database.clone())
        };
        for sheet in &after {
            let database = &sheet.snapshot.database;
            let mut same = before.iter().filter(|b| b.snapshot.database == *database);
            let before = same.next();
            if before.is_some_and(|before| before.snapshot.at == sheet.snapshot.at) {
                continue;
            }
            let Some(at) = self.time(key(database), sheet.snapshot.at, false) else {
                late += sheet.samples_of_all();
                continue;
            };
            self.write(sheet, at, batches);
            if let Some(before) = before {
                self.end(before, Some(sheet), at, batches);
            }
        }
        for sheet in &before {
            let database = &sheet.snapshot.database;
            if after
                .iter()
                .all(|after| after.snapshot.database != *database)
                && let Some(at) = self.time(key(database), change.now, true)
            {
                self.end(sheet, None, at, batches);
            }
        }
        late
    }

    fn sheets<'a>(&self, present: Option<&'a Present>, collector: &str) -> Vec<Sheet<'a>> {
        let Some(present) = present else {
            return Vec::new();
        };
        let now = present.facts.at;
        sheet::of_collector(present, collector, &native, self.samples_max, now).0
    }

    /// Returns the time to send with, in milliseconds; an end is never late, since it has no time of its own.
    fn time(&mut self, key: Key, at: Timestamp, is_end: bool) -> Option<i64> {
        let at = at.as_millisecond();
        let newest = self.sent_at.entry(key).or_insert(i64::MIN);
        let at = if is_end {
            at.max(newest.saturating_add(1))
        } else {
            at
        };
        (at > *newest).then(|| {
            *newest = at;
            at
        })
    }

    /// Adds all samples of a sheet.
    fn write(&self, sheet: &Sheet<'_>, at: i64, batches: &mut Batches<'_>) {
        let names = names(sheet);
        for line in &sheet.rows {
            let row = &sheet.snapshot.rows[line.row];
            let labels = self.labels(sheet, *line);
            for (family, name) in sheet.layout.families.iter().zip(&names) {
                if let Some(number) = family.number(row) {
                    batches.add(series(
                        sheet,
                        *line,
                        family,
                        name,
                        &labels,
                        number.float(),
                        at,
                    ));
                }
            }
        }
    }

    /// Ends the series of `before` that `after` does not have.
    fn end(
        &self,
        before: &Sheet<'_>,
        after: Option<&Sheet<'_>>,
        at: i64,
        batches: &mut Batches<'_>,
    ) {
        let lines = after.map_or(&[][..], |after| &after.rows);
        let lines = lines
            .iter()
            .filter_map(|line| Some((after?.labels(*line), *line)));
        let lines: HashMap<&str, Line> = lines.collect();
        let names = names(before);
        let places: Vec<Option<&Family>> = names
            .iter()
            .map(|name| after?.layout.families.iter().find(|f| f.name() == *name))
            .collect();
        for line in &before.rows {
            let row = &before.snapshot.rows[line.row];
            let lives_on = |family: &Family, place: Option<&Family>| {
                let line = lines.get(before.labels(*line))?;
                let sheet = after?;
                let new = &sheet.snapshot.rows[line.row];
                place?.number(new)?;
                match (&family.read, &place?.read) {
                    (Read::One(old), Read::One(more)) => {
                        let old = old.iter().map(|(column, name)| (name, &row[*column]));
                        let more = more.iter().map(|(column, name)| (name, &new[*column]));
                        old.eq(more).then_some(())
                    }
                    _ => Some(()),
                }
            };
            let mut labels = None;
            for (index, family) in before.layout.families.iter().enumerate() {
                if family.number(row).is_none() || lives_on(family, places[index]).is_some() {
                    continue;
                }
                let labels = labels.get_or_insert_with(|| self.labels(before, *line));
                let name = &names[index];
                batches.add(series(before, *line, family, name, labels, stale(), at));
            }
        }
    }

    /// Returns the labels of a row without the name, and the configured ones where they mean nothing else.
    fn labels(&self, sheet: &Sheet<'_>, line: Line) -> Vec<Label> {
        let mut labels: Vec<Label> = Vec::new();
        sheet::each_label(
            sheet.server,
            &sheet.snapshot,
            &sheet.layout,
            line.row,
            |name, value| labels.push(label(name, value)),
        );
        for (name, value) in &self.labels {
            if labels.iter().all(|label| label.name != *name) {
                labels.push(label(name, value));
            }
        }
        labels
    }
}

/// What became of one instance between two offers.
struct Change<'a> {
    before: Option<&'a Present>,
    after: Option<&'a Present>,
    now: Timestamp,
}

impl<'a> Change<'a> {
    fn both(&self) -> Vec<&'a Present> {
        self.before.into_iter().chain(self.after).collect()
    }

    fn name(&self) -> &'a str {
        self.both()
            .first()
            .map_or("", |present| &present.instance.name)
    }

    fn collectors(&self) -> BTreeSet<&'a str> {
        collectors(&self.both())
    }

    /// Says whether a collector has seen anything else than before, in any database.
    fn is_new(&self, collector: &str) -> bool {
        let seen = |present: Option<&'a Present>| -> Vec<(Option<&'a str>, Timestamp)> {
            let seen = |present: &'a Present| {
                let seen = sheet::current(present, collector, present.facts.at);
                seen.map(|snapshot| (snapshot.database.as_deref(), snapshot.at))
            };
            present.into_iter().flat_map(seen).collect()
        };
        seen(self.before) != seen(self.after)
    }
}

/// Gathers series until a request is full.
struct Batches<'t> {
    request: WriteRequest,
    take: &'t mut dyn FnMut(Batch),
}

impl<'t> Batches<'t> {
    fn new(take: &'t mut dyn FnMut(Batch)) -> Batches<'t> {
        Batches {
            request: WriteRequest::default(),
            take,
        }
    }

    fn add(&mut self, series: TimeSeries) {
        self.request.timeseries.push(series);
        if self.request.timeseries.len() >= SERIES_MAX {
            self.finish();
        }
    }

    fn finish(&mut self) {
        if self.request.timeseries.is_empty() {
            return;
        }
        let samples = self.request.timeseries.len();
        let plain = self.request.encode_to_vec();
        self.request.timeseries.clear();
        let body = snap::raw::Encoder::new().compress_vec(&plain);
        (self.take)(Batch {
            samples: u32::try_from(samples).expect("a request has at most 2,000 series"),
            body: body.expect("a request is far smaller than 4 GiB"),
        });
    }
}

fn own_sheets(present: &Present) -> Vec<Sheet<'_>> {
    let sheets = own::of_present(present, &mut Dropped::default());
    sheets
        .into_iter()
        .filter(|sheet| !sheet.layout.families.is_empty())
        .collect()
}

fn names(sheet: &Sheet<'_>) -> Vec<String> {
    sheet.layout.families.iter().map(Family::name).collect()
}

fn label(name: &str, value: &str) -> Label {
    Label {
        name: name.to_owned(),
        value: value.to_owned(),
    }
}

fn series(
    sheet: &Sheet<'_>,
    line: Line,
    family: &Family,
    name: &str,
    labels: &[Label],
    value: f64,
    timestamp: i64,
) -> TimeSeries {
    let mut all = Vec::with_capacity(labels.len() + 1);
    all.push(label("__name__", name));
    all.extend_from_slice(labels);
    if let Read::One(more) = &family.read {
        let row = &sheet.snapshot.rows[line.row];
        for (column, name) in more {
            sheet::with_text(&row[*column], |value| {
                all.retain(|label| label.name != *name);
                all.push(label(name, value));
            });
        }
    }
    all.sort();
    TimeSeries {
        labels: all,
        samples: vec![Sample { value, timestamp }],
    }
}
