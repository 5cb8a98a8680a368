//! Which scanner a file needs, by its first bytes and by what the caller knows.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::tz::TimeZone;

use crate::engine::{Chosen, FileHead};
use crate::error::Error;
use crate::format::Scanner;
use crate::format::cloudnative::CloudNativePg;
use crate::format::csv::Csv;
use crate::format::detect::{self, Form};
use crate::format::journald::{self, Journald};
use crate::format::json::Json;
use crate::format::pgbouncer::PgBouncer;
use crate::format::stderr::{Options, Stderr};
use crate::format::syslog::{Assumed, Syslog};
use crate::format::wrapped::{Transport, Wrapped};
use crate::prefix::{self, Fields, Prefix, Prefixes, Reading};
use crate::record::Sink;
use crate::time::Clock;

/// A file of which less matches than this has none of the formats that are known.
const MATCH_MIN: f64 = 0.01;

/// A prefix that was given must match at least this share of the first lines; a log that changed its prefix later is none of this.
const GIVEN_MATCH_MIN: f64 = 0.05;
/// Lines that are compared with a prefix that was given.
const LINES_MAX: usize = 5_000;

/// What the caller knows of the logs.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// The format; told by the first bytes otherwise.
    pub form: Option<Form>,
    /// `log_line_prefix`, as it is and as it was; told by the first bytes otherwise.
    pub prefixes: Vec<String>,
    /// Whether these prefixes must explain a log; else one that they do not explain is read by its lines.
    pub certain: bool,
    /// `log_timezone`, which tells what abbreviations mean.
    pub zone: Option<TimeZone>,
}

impl Wish {
    /// Returns what a server tells of its log now: `log_line_prefix` and `log_timezone`. What it wrote before they changed is read all the
    /// same.
    pub fn told(prefix: Option<&str>, zone: Option<&str>) -> Wish {
        let zone = zone.and_then(|name| TimeZone::get(name).ok());
        Wish {
            form: None,
            prefixes: prefix.map(str::to_owned).into_iter().collect(),
            certain: false,
            zone: Some(zone.unwrap_or_else(TimeZone::system)),
        }
    }
}

/// Chooses the scanner of a file.
///
/// # Errors
/// None of the formats fits.
pub fn choose(head: &FileHead<'_>, wish: &Wish) -> Result<Chosen, Error> {
    let known = head.known.and_then(|known| Form::of(&known.format));
    let form = wish
        .form
        .or(known)
        .unwrap_or_else(|| detect::detect(head.bytes));
    let end = head.modified.unwrap_or(i64::MAX / 4_000_000);
    let zone = wish.zone.clone();
    match form {
        Form::Csv => Ok(plain(form, move || Box::new(Csv::new(zone.clone())))),
        Form::Json => Ok(plain(form, move || Box::new(Json::new(zone.clone())))),
        Form::PgBouncer => Ok(plain(form, move || Box::new(PgBouncer::new(zone.clone())))),
        Form::CloudNativePg => Ok(plain(form, move || {
            Box::new(CloudNativePg::new(zone.clone()))
        })),
        Form::Stderr | Form::Unknown => stderr(head, wish),
        Form::CloudSql => Ok(carried(head, wish, form, |inner| {
            Box::new(Wrapped::new(
                Transport::CloudSql,
                inner.unwrap_or_else(nothing),
            ))
        })),
        Form::Azure => Ok(carried(head, wish, form, |inner| {
            Box::new(Wrapped::new(
                Transport::Azure,
                inner.unwrap_or_else(nothing),
            ))
        })),
        Form::Syslog3164 | Form::Syslog5424 | Form::Heroku => {
            let assumed = Assumed {
                end,
                offset: offset(wish.zone.as_ref(), end),
                certain: wish.zone.is_some(),
            };
            Ok(carried(head, wish, form, move |inner| {
                Box::new(Syslog::new(inner, assumed))
            }))
        }
        Form::JournaldExport => Ok(carried(head, wish, form, |inner| {
            Box::new(Journald::new(journald::Form::Export, inner))
        })),
        Form::JournaldJson => Ok(carried(head, wish, form, |inner| {
            Box::new(Journald::new(journald::Form::Json, inner))
        })),
    }
}

fn plain(form: Form, make: impl Fn() -> Box<dyn Scanner> + Send + Sync + 'static) -> Chosen {
    Chosen {
        make: Box::new(make),
        format: form.as_str().to_owned(),
        prefixes: Vec::new(),
        match_rate: None,
    }
}

/// Returns seconds east of UTC of a zone about the end of the log.
fn offset(zone: Option<&TimeZone>, end: i64) -> i32 {
    let at = jiff::Timestamp::from_second(end).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    zone.map_or(0, |zone| zone.to_offset(at).seconds())
}

/// Prefixes and how much of a sample they explain; the rate is absent where they were given.
struct Found {
    prefixes: Vec<String>,
    match_rate: Option<f64>,
}

/// The prefixes that the caller or an earlier reading knows, and unless those are certain, what the sample shows.
fn prefixes(head: &FileHead<'_>, wish: &Wish, sample: &[u8]) -> Found {
    let known = head.known.map_or(&[] as &[String], |known| &known.prefixes);
    let given = if wish.prefixes.is_empty() {
        known
    } else {
        &wish.prefixes
    };
    if !given.is_empty() && (wish.certain || wish.prefixes.is_empty()) {
        return Found {
            prefixes: given.to_vec(),
            match_rate: None,
        };
    }
    let guesses = prefix::detect(sample);
    let match_rate = guesses.iter().map(|guess| guess.match_rate).sum();
    let mut prefixes = given.to_vec();
    let shown = guesses.into_iter().map(|guess| guess.prefix.to_string());
    prefixes.extend(shown.filter(|prefix| !given.contains(prefix)));
    Found {
        prefixes,
        match_rate: Some(match_rate),
    }
}

fn stderr(head: &FileHead<'_>, wish: &Wish) -> Result<Chosen, Error> {
    let found = prefixes(head, wish, head.bytes);
    if wish.certain && !wish.prefixes.is_empty() {
        explains(head, &wish.prefixes)?;
    }
    let unexplained = found.match_rate.is_some_and(|rate| rate < MATCH_MIN);
    if unexplained && !head.bytes.is_empty() {
        let why = if head.bytes.contains(&0) {
            "it holds NUL bytes and no line that any log_line_prefix explains"
        } else {
            "no line looks like a record with any log_line_prefix"
        };
        return Err(Error::Unrecognised {
            name: head.name.to_owned(),
            why: why.to_owned(),
        });
    }
    let chosen = found.prefixes.clone();
    let options = Options {
        zone: wish.zone.clone(),
    };
    Ok(Chosen {
        make: Box::new(move || scanner(&chosen, &options)),
        format: Form::Stderr.as_str().to_owned(),
        prefixes: found.prefixes,
        match_rate: found.match_rate,
    })
}

/// Makes sure that prefixes that were given explain the sample, and says which would if they do not.
fn explains(head: &FileHead<'_>, given: &[String]) -> Result<(), Error> {
    let mut prefixes = Prefixes::new(given.iter().map(|text| Prefix::new(text)));
    let mut clock = Clock::default();
    let mut fields = Fields::default();
    let lines = head.bytes.split(|byte| *byte == b'\n');
    let (mut all, mut matching) = (0_u32, 0_u32);
    for line in lines
        .filter(|line| !line.is_empty() && line[0] != b'\t')
        .take(LINES_MAX)
    {
        all += 1;
        let whole = matches!(prefixes.read(line, &mut clock, &mut fields), Reading::Whole);
        matching += u32::from(whole);
    }
    let rate = f64::from(matching) / f64::from(all.max(1));
    if all == 0 || rate >= GIVEN_MATCH_MIN {
        return Ok(());
    }
    let likely = prefix::detect(head.bytes).into_iter().next();
    let likely = likely.map_or("no prefix explains them".to_owned(), |guess| {
        format!(
            "\"{}\" matches {:.0} %",
            guess.prefix,
            guess.match_rate * 100.0
        )
    });
    Err(Error::Unrecognised {
        name: head.name.to_owned(),
        why: format!(
            "the given log_line_prefix matches {:.0} % of its first lines, {likely}",
            rate * 100.0
        ),
    })
}

fn scanner(prefixes: &[String], options: &Options) -> Box<dyn Scanner> {
    let prefixes = prefixes.iter().map(|text| Prefix::new(text));
    Box::new(Stderr::new(prefixes, options.clone()))
}

fn nothing() -> Box<dyn Scanner> {
    scanner(&[String::new()], &Options::default())
}

/// Chooses for a transport that carries lines in the stderr format: their prefix is told by what the transport carries.
fn carried(
    head: &FileHead<'_>,
    wish: &Wish,
    form: Form,
    make: impl Fn(Option<Box<dyn Scanner>>) -> Box<dyn Scanner> + Send + Sync + 'static,
) -> Chosen {
    let sample = Sample::default();
    let mut transport = make(Some(Box::new(sample.clone())));
    transport.scan(head.bytes, 0, head.bytes.len(), true, &mut Nowhere);
    let found = prefixes(head, wish, &sample.taken());
    let options = Options {
        zone: wish.zone.clone(),
    };
    // Lines that begin with their severity have no prefix, and the transport tells what it would have told.
    let prefixes: Vec<String> = found
        .prefixes
        .into_iter()
        .filter(|prefix| !prefix.is_empty())
        .collect();
    let inner = prefixes.clone();
    Chosen {
        make: Box::new(move || {
            let scanner = (!inner.is_empty()).then(|| scanner(&inner, &options));
            make(scanner)
        }),
        format: form.as_str().to_owned(),
        match_rate: found.match_rate.filter(|_| !prefixes.is_empty()),
        prefixes,
    }
}

/// Takes the bytes that a transport hands on, and makes no record of them.
#[derive(Clone, Debug, Default)]
struct Sample(Arc<Mutex<Vec<u8>>>);

impl Sample {
    fn taken(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Scanner for Sample {
    fn sync(&self, _: &[u8]) -> Option<usize> {
        Some(0)
    }

    fn scan(&mut self, bytes: &[u8], _: u64, _: usize, _: bool, _: &mut dyn Sink) -> usize {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        taken.extend_from_slice(bytes);
        if !bytes.ends_with(b"\n") {
            taken.push(b'\n');
        }
        bytes.len()
    }

    fn splittable(&self) -> bool {
        false
    }
}

/// Where nothing is kept.
struct Nowhere;

impl Sink for Nowhere {
    fn record(&mut self, _: u64, _: &crate::record::Record<'_>) {}

    fn odd(&mut self, _: u64, _: crate::record::Odd<'_>) {}
}
