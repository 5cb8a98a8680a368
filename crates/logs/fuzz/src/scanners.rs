//! Targets of the scanners: one for each format.

use std::sync::Arc;

use pawang_logs::format::Scanner;
use pawang_logs::format::cloudnative::CloudNativePg;
use pawang_logs::format::csv::Csv;
use pawang_logs::format::journald::{self, Journald};
use pawang_logs::format::json::Json;
use pawang_logs::format::pgbouncer::PgBouncer;
use pawang_logs::format::stderr::{Options, Stderr};
use pawang_logs::format::syslog::{Assumed, Syslog};
use pawang_logs::format::wrapped::{Transport, Wrapped};
use pawang_logs::prefix::Prefix;

use super::control;
use super::found::{Lines, check};

/// What a time without a year and a zone is taken for.
const ASSUMED: Assumed = Assumed {
    end: 1_795_300_000,
    offset: 0,
    certain: true,
};

/// Prefixes of lines that a transport carries.
const CARRIED: [&str; 4] = ["%m [%p] ", "%t:%r:%u@%d:[%p]:", "%q%u@%d ", ""];

/// Prefixes on the first line, with a space between them where one would end, and the log after it.
pub(crate) fn stderr(data: &[u8]) {
    let (body, control) = control(data);
    let end = body.iter().position(|byte| *byte == b'\n');
    let Some((first, log)) = end.map(|end| (&body[..end], &body[end + 1..])) else {
        return;
    };
    let text = String::from_utf8_lossy(first);
    let prefixes: Vec<Prefix> = text.split('\u{1f}').map(Prefix::new).collect();
    for prefix in &prefixes {
        assert_eq!(Prefix::new(prefix.as_str()), *prefix);
    }
    let make = Arc::new(move || -> Box<dyn Scanner> {
        Box::new(Stderr::new(prefixes.clone(), Options::default()))
    });
    check(&(make as _), Lines::All, log, control);
}

pub(crate) fn csv(data: &[u8]) {
    let (body, control) = control(data);
    let make = || -> Box<dyn Scanner> { Box::new(Csv::new(None)) };
    check(&(Arc::new(make) as _), Lines::All, body, control);
}

pub(crate) fn json(data: &[u8]) {
    let (body, control) = control(data);
    let make = || -> Box<dyn Scanner> { Box::new(Json::new(None)) };
    check(&(Arc::new(make) as _), Lines::All, body, control);
}

pub(crate) fn pgbouncer(data: &[u8]) {
    let (body, control) = control(data);
    let make = || -> Box<dyn Scanner> { Box::new(PgBouncer::new(None)) };
    check(&(Arc::new(make) as _), Lines::All, body, control);
}

/// RFC 3164, RFC 5424 and Heroku's: each line tells which it is.
pub(crate) fn syslog(data: &[u8]) {
    let (body, [first, second, third, which]) = control(data);
    let make = move || -> Box<dyn Scanner> { Box::new(Syslog::new(carried(which), ASSUMED)) };
    let control = [first, second, third];
    check(&(Arc::new(make) as _), Lines::Some, body, control);
}

/// The journal's export form and its JSON.
pub(crate) fn journald(data: &[u8]) {
    let (body, [first, second, third, which]) = control(data);
    let form = match body.first() {
        Some(b'{') => journald::Form::Json,
        _ => journald::Form::Export,
    };
    let make = move || -> Box<dyn Scanner> { Box::new(Journald::new(form, carried(which))) };
    let control = [first, second, third];
    check(&(Arc::new(make) as _), Lines::Some, body, control);
}

/// Services that wrap lines or records in JSON.
pub(crate) fn wrapped(data: &[u8]) {
    let (body, [first, second, third, which]) = control(data);
    let make = move || -> Box<dyn Scanner> {
        let inner = || carried(which | 1).expect("it has a prefix");
        match which % 3 {
            0 => Box::new(CloudNativePg::new(None)),
            1 => Box::new(Wrapped::new(Transport::CloudSql, inner())),
            _ => Box::new(Wrapped::new(Transport::Azure, inner())),
        }
    };
    let control = [first, second, third];
    check(&(Arc::new(make) as _), Lines::Some, body, control);
}

/// Returns the scanner of what a transport carries; none for an even number.
fn carried(which: u8) -> Option<Box<dyn Scanner>> {
    let prefix = CARRIED[usize::from(which / 2) % CARRIED.len()];
    let scanner = Stderr::new([Prefix::new(prefix)], Options::default());
    (which % 2 == 1).then(|| Box::new(scanner) as Box<dyn Scanner>)
}
