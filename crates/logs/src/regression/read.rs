//! What log files say that may explain a regression, hour by hour.

use std::ops::Range;

use super::{HOUR_SECONDS, Log, Trail};
use crate::engine::{Part, Settings, read_into};
use crate::error::Error;
use crate::input::Input;
use crate::record::{Odd, Record, Sink};
use crate::report::Source;
use crate::tally::Tally;

const HOUR_MICROSECONDS: i64 = HOUR_SECONDS * 1_000_000;

/// Reads log files for what they say of some hours, and returns what was wrong with the files.
///
/// # Errors
/// There is no file.
pub fn read(
    inputs: Vec<Input>,
    settings: &Settings<'_>,
    hours: Range<i64>,
) -> Result<(Log, Source), Error> {
    let first = ByHour {
        hours,
        hour: 0,
        tally: Tally::default(),
        done: Vec::new(),
    };
    let (mut all, source) = read_into(inputs, settings, first)?;
    all.turn(i64::MAX);
    all.done.retain(|trail| trail.span.is_some());
    let read = match all.done.is_empty() {
        true => Err("its files hold no record of that time".to_owned()),
        false => Ok(all.done),
    };
    Ok((Log { read }, source))
}

/// Trails of hours that are over, and the tally of the one that is read.
struct ByHour {
    hours: Range<i64>,
    hour: i64,
    tally: Tally,
    done: Vec<Trail>,
}

impl ByHour {
    fn turn(&mut self, hour: i64) {
        if hour != self.hour {
            self.done.push(self.tally.hand_over().trail());
            self.hour = hour;
        }
    }
}

impl Sink for ByHour {
    fn record(&mut self, _: u64, record: &Record<'_>) {
        let Some(at) = record.at else {
            return;
        };
        let hour = at.div_euclid(HOUR_MICROSECONDS);
        if self.hours.contains(&hour) {
            self.turn(hour);
            self.tally.take(record);
        }
    }

    fn odd(&mut self, _: u64, _: Odd<'_>) {}
}

impl Part for ByHour {
    fn fresh(&self) -> ByHour {
        ByHour {
            hours: self.hours.clone(),
            hour: self.hour,
            tally: Tally::default(),
            done: Vec::new(),
        }
    }

    fn absorb(&mut self, later: ByHour) {
        self.turn(i64::MIN);
        self.done.extend(later.done);
        (self.hour, self.tally) = (later.hour, later.tally);
    }

    fn settle(&mut self) {}

    fn since(&self) -> Option<i64> {
        self.hours.start.checked_mul(HOUR_MICROSECONDS)
    }
}
