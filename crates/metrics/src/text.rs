//! The exposition: the present of the estate in Prometheus' text format or in OpenMetrics.

use std::collections::{BTreeSet, HashSet};
use std::io;
use std::sync::Arc;

use pawang_config::MetricsConfig;
use pawang_core::Timestamp;
use pawang_core::alert::AlertsPresent;
use pawang_store::live::{DaemonStatus, Present};

use crate::alert;
use crate::backup;
use crate::compatible;
use crate::layout::{Family, Kind, Number, Read, native};
use crate::own::{self, Dropped};
use crate::sheet::{self, Line, MakeLayout, Sheet};

/// So much is gathered before the writer is called.
const BUFFER_BYTES: usize = 64 * 1024;
/// Room for one sample beyond the buffer; longer ones only make it grow.
const SAMPLE_BYTES: usize = 4 * 1024;

/// In which of its two languages Prometheus is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// The text format 0.0.4, which everything reads.
    #[default]
    Prometheus,
    /// OpenMetrics 1.0, with units and an end mark.
    OpenMetrics,
}

impl Format {
    /// Chooses by the request's `Accept` header: OpenMetrics only for those who name it and do not like text better.
    pub fn of_accept(accept: &str) -> Format {
        let mut best = (0.0, Format::Prometheus);
        for range in accept.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let format = match parts.next().unwrap_or_default() {
                "application/openmetrics-text" => Format::OpenMetrics,
                "text/plain" | "text/*" | "*/*" => Format::Prometheus,
                _ => continue,
            };
            let mut quality = 1.0;
            let mut spoken = true;
            for part in parts {
                match part.split_once('=') {
                    Some(("q", number)) => quality = number.trim().parse().unwrap_or(0.0),
                    Some(("version", version)) if format == Format::OpenMetrics => {
                        spoken = matches!(version, "0.0.1" | "1.0.0");
                    }
                    _ => {}
                }
            }
            if spoken && quality > best.0 {
                best = (quality, format);
            }
        }
        best.1
    }

    /// Returns the answer's `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Scrape<'a> {
    /// In which language.
    pub format: Format,
    /// The values of `collect[]`: collectors, with `*`, and `pawang`, `checks` and `backups` for what Pawang says of
    /// itself, what it found, and what could be restored; everything when absent.
    pub collect: Option<Vec<String>>,
    /// What may be shown.
    pub config: &'a MetricsConfig,
    /// Alerts and channels.
    pub alerts: &'a AlertsPresent,
    /// The time of the scrape, for ages.
    pub now: Timestamp,
}

/// Writes the present of the estate; memory beyond the present itself is bounded by the largest collector's labels.
///
/// The sink is called with pieces of about 64 KiB. It runs as long as the processor needs: tens of milliseconds for
/// 10,000 tables.
///
/// # Errors
/// The sink's own.
pub fn write(
    presents: &[Arc<Present>],
    daemon: &DaemonStatus,
    scrape: &Scrape<'_>,
    sink: &mut impl io::Write,
) -> io::Result<()> {
    let mut writer = Writer {
        format: scrape.format,
        buffer: Vec::with_capacity(BUFFER_BYTES + SAMPLE_BYTES),
        sink,
        written: HashSet::new(),
    };
    let mut dropped = Dropped::default();
    let collect = scrape.collect.as_deref();
    let wanted = |name: &str| sheet::wanted(name, scrape.config, collect);
    let presents = once_each(presents);
    for mut part in own::parts(&presents, daemon, &mut dropped, scrape.now) {
        if sheet::asked(part.group, collect) {
            writer.sheets(&mut part.sheets)?;
        }
    }
    if sheet::asked("pawang", collect) {
        writer.sheets(&mut alert::of_alerts(scrape.alerts))?;
    }
    for name in collectors(&presents) {
        if wanted(name) {
            collector(&mut writer, &presents, name, &native, scrape, &mut dropped)?;
        }
    }
    if scrape.config.postgres_exporter_names {
        compatible(&mut writer, &presents, scrape, &mut dropped)?;
    }
    if sheet::asked("pawang", collect) {
        writer.sheets(&mut [dropped.sheet(&presents)])?;
    }
    if scrape.format == Format::OpenMetrics {
        writer.buffer.extend_from_slice(b"# EOF\n");
    }
    writer.flush()
}

/// Writes the names of postgres_exporter.
fn compatible(
    writer: &mut Writer<'_, impl io::Write>,
    presents: &[&Present],
    scrape: &Scrape<'_>,
    dropped: &mut Dropped,
) -> io::Result<()> {
    let wanted = |name: &str| sheet::wanted(name, scrape.config, scrape.collect.as_deref());
    for twin in compatible::TWINS
        .iter()
        .filter(|twin| wanted(twin.collector))
    {
        let make: MakeLayout<'_> = &|_, columns, _| twin.layout(columns);
        collector(writer, presents, twin.collector, make, scrape, dropped)?;
    }
    if sheet::asked("pawang", scrape.collect.as_deref()) {
        let extras = presents
            .iter()
            .flat_map(|present| compatible::extras(present, scrape.now));
        writer.sheets(&mut extras.collect::<Vec<_>>())?;
    }
    Ok(())
}

fn collector(
    writer: &mut Writer<'_, impl io::Write>,
    presents: &[&Present],
    name: &str,
    make: MakeLayout<'_>,
    scrape: &Scrape<'_>,
    dropped: &mut Dropped,
) -> io::Result<()> {
    let samples_max = scrape.config.series_per_collector as usize;
    let mut sheets: Vec<Sheet<'_>> = Vec::new();
    for present in presents {
        let (found, left_out) = sheet::of_collector(present, name, make, samples_max, scrape.now);
        sheets.extend(found);
        dropped.add(&present.instance.name, name, left_out);
    }
    let repeated = writer.sheets(&mut sheets)?;
    if let (true, Some(first)) = (repeated > 0, presents.first()) {
        dropped.add(&first.instance.name, name, repeated);
    }
    Ok(())
}

/// Returns every instance once, by name: the same name twice would be every series twice.
fn once_each(presents: &[Arc<Present>]) -> Vec<&Present> {
    let mut names = HashSet::new();
    let presents = presents.iter().map(Arc::as_ref);
    presents
        .filter(|present| names.insert(present.instance.name.as_str()))
        .collect()
}

/// Returns the names of all collectors that were asked anywhere.
pub(crate) fn collectors<'a>(presents: &[&'a Present]) -> BTreeSet<&'a str> {
    let sightings = presents.iter().flat_map(|present| &present.facts.sightings);
    let all: BTreeSet<&str> = sightings
        .map(|sighting| sighting.collector.as_str())
        .collect();
    let shown = all.iter().copied();
    let shown = shown.filter(|collector| !backup::is_of_repository(collector, &all));
    shown.collect()
}

struct Writer<'w, W> {
    format: Format,
    buffer: Vec<u8>,
    sink: &'w mut W,
    /// Names that are written already: a name may come only once.
    written: HashSet<String>,
}

impl<W: io::Write> Writer<'_, W> {
    /// Writes all sheets of a collector, metric by metric; returns how many samples had a name that was taken.
    fn sheets(&mut self, sheets: &mut [Sheet<'_>]) -> io::Result<usize> {
        let mut repeated = 0;
        let mut names = HashSet::new();
        for first in 0..sheets.len() {
            for place in 0..sheets[first].layout.families.len() {
                let family = sheets[first].layout.families[place].clone();
                if !names.insert(family.name()) {
                    continue;
                }
                if !self.written.insert(family.name()) {
                    repeated += sheets.iter().map(|sheet| sheet.rows.len()).sum::<usize>();
                    continue;
                }
                self.family(&family, place, &mut sheets[first..])?;
            }
            sheets[first].forget_numbers();
        }
        Ok(repeated)
    }

    /// Writes one metric of all sheets; most have it at the same place.
    fn family(
        &mut self,
        family: &Family,
        place: usize,
        sheets: &mut [Sheet<'_>],
    ) -> io::Result<()> {
        let mut started = false;
        let name = family.name();
        for sheet in sheets {
            let families = &sheet.layout.families;
            let same = |found: &Family| found.base == family.base && found.kind == family.kind;
            let place = if families.get(place).is_some_and(same) {
                Some(place)
            } else {
                families.iter().position(same)
            };
            let Some(place) = place else {
                continue;
            };
            sheet.load(place);
            let sheet = &*sheet;
            for (line, number) in sheet.rows.iter().zip(sheet.numbers(place)) {
                let Some(number) = *number else {
                    continue;
                };
                if !started {
                    self.head(family);
                    started = true;
                }
                self.buffer.extend_from_slice(name.as_bytes());
                self.labels(sheet, place, *line);
                push_number(&mut self.buffer, number);
                self.buffer.push(b'\n');
                if self.buffer.len() >= BUFFER_BYTES {
                    self.flush()?;
                }
            }
        }
        Ok(())
    }

    fn labels(&mut self, sheet: &Sheet<'_>, place: usize, line: Line) {
        let labels = sheet.labels(line);
        let Read::One(more) = &sheet.layout.families[place].read else {
            self.buffer.extend_from_slice(labels.as_bytes());
            return;
        };
        let row = &sheet.snapshot.rows[line.row];
        let mut text = "{".to_owned();
        text.push_str(labels.trim_matches(['{', '}', ' ']));
        for (column, name) in more {
            sheet::with_text(&row[*column], |value| {
                sheet::write_label(&mut text, name, value);
            });
        }
        text.push_str("} ");
        self.buffer.extend_from_slice(text.as_bytes());
    }

    fn head(&mut self, family: &Family) {
        let (name, kind) = match (self.format, family.kind) {
            (Format::OpenMetrics, Kind::Counter) => (family.base.clone(), "counter"),
            (Format::OpenMetrics, Kind::Info) => (family.base.clone(), "info"),
            (Format::OpenMetrics, Kind::Unknown) => (family.name(), "unknown"),
            (Format::Prometheus, Kind::Counter) => (family.name(), "counter"),
            (Format::Prometheus, Kind::Unknown) => (family.name(), "untyped"),
            (_, Kind::Gauge | Kind::Info) => (family.name(), "gauge"),
        };
        let help = family.help.replace('\\', "\\\\").replace('\n', "\\n");
        let help = match self.format {
            Format::OpenMetrics => help.replace('"', "\\\""),
            Format::Prometheus => help,
        };
        let mut head = format!("# HELP {name} {help}\n# TYPE {name} {kind}\n");
        let unit = family.unit.filter(|unit| {
            let before = family.base.strip_suffix(unit);
            before.is_some_and(|before| before.ends_with('_'))
        });
        if let (Format::OpenMetrics, Some(unit)) = (self.format, unit) {
            head.push_str(&format!("# UNIT {name} {unit}\n"));
        }
        self.buffer.extend_from_slice(head.as_bytes());
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }
}

fn push_number(buffer: &mut Vec<u8>, number: Number) {
    match number {
        Number::Whole(number) => push_whole(buffer, number),
        Number::Float(number) if number.fract() == 0.0 && number.abs() < 1e15 => {
            push_whole(buffer, number as i64);
        }
        Number::Float(number) => {
            let text = if number == f64::INFINITY {
                "+Inf".to_owned()
            } else if number == f64::NEG_INFINITY {
                "-Inf".to_owned()
            } else if (1e-5..1e17).contains(&number.abs()) {
                number.to_string()
            } else {
                format!("{number:e}")
            };
            buffer.extend_from_slice(text.as_bytes());
        }
    }
}

/// Writes an integer without the machinery of `format!`, which takes most of the time of a large scrape.
fn push_whole(buffer: &mut Vec<u8>, number: i64) {
    if number < 0 {
        buffer.push(b'-');
    }
    let mut rest = number.unsigned_abs();
    // u64::MAX has 20 digits.
    let mut digits = [0_u8; 20];
    let mut first = digits.len();
    loop {
        first -= 1;
        digits[first] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    buffer.extend_from_slice(&digits[first..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_is_chosen_by_the_accept_header() {
        let prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        for (accept, expected) in [
            ("", Format::Prometheus),
            ("*/*", Format::Prometheus),
            (
                "text/html,application/xhtml+xml,*/*;q=0.8",
                Format::Prometheus,
            ),
            (prometheus, Format::OpenMetrics),
            ("application/openmetrics-text", Format::OpenMetrics),
            (
                "application/openmetrics-text; version=2.0.0",
                Format::Prometheus,
            ),
            (
                "application/openmetrics-text;q=0.1, text/plain",
                Format::Prometheus,
            ),
            ("application/openmetrics-text;q=x", Format::Prometheus),
            (";;=,=;q", Format::Prometheus),
        ] {
            assert_eq!(Format::of_accept(accept), expected, "{accept}");
        }
    }

    #[test]
    fn numbers_are_written_as_go_reads_them() {
        for (number, expected) in [
            (Number::Whole(0), "0"),
            (Number::Whole(-7), "-7"),
            (Number::Whole(i64::MIN), "-9223372036854775808"),
            (Number::Whole(i64::MAX), "9223372036854775807"),
            (Number::Float(2.0), "2"),
            (Number::Float(0.25), "0.25"),
            (Number::Float(-1.5), "-1.5"),
            (Number::Float(1e300), "1e300"),
            (Number::Float(f64::INFINITY), "+Inf"),
            (Number::Float(f64::NEG_INFINITY), "-Inf"),
        ] {
            let mut buffer = Vec::new();
            push_number(&mut buffer, number);
            assert_eq!(String::from_utf8(buffer).unwrap(), expected);
        }
    }
}
