//! Puts each record to its hour.

use std::collections::BTreeMap;

use crate::engine::Part;
use crate::record::{Odd, Record, Sink};

/// Most hours that a state keeps; records of further ones go to the hour of the record before them.
pub const HOURS_MAX: usize = 24 * 366 * 20;

const HOUR_MICROSECONDS: i64 = 3_600_000_000;

/// Parts by hour, of records in order.
pub(super) struct Hours<P> {
    done: BTreeMap<i64, P>,
    current: P,
    touched: bool,
    /// The hour of the last record.
    pub(super) hour: i64,
    /// Hours that a state has already, and may grow by.
    pub(super) room: usize,
    /// Records so far.
    pub(super) records: u64,
    /// The last record was cut: what follows may still be a part of it.
    pub(super) inside: bool,
}

impl<P: Part + Default> Default for Hours<P> {
    fn default() -> Hours<P> {
        Hours {
            done: BTreeMap::new(),
            current: P::default(),
            touched: false,
            hour: 0,
            room: HOURS_MAX,
            records: 0,
            inside: false,
        }
    }
}

impl<P: Part + Default> Hours<P> {
    /// Goes to another hour.
    pub(super) fn turn(&mut self, hour: i64) {
        if hour == self.hour {
            return;
        }
        if !self.done.contains_key(&hour) && self.done.len() >= self.room {
            return;
        }
        let next = self.done.remove(&hour);
        let touched = std::mem::replace(&mut self.touched, next.is_some());
        let before = std::mem::replace(&mut self.current, next.unwrap_or_default());
        if touched {
            self.done.insert(self.hour, before);
        }
        self.hour = hour;
    }

    /// Returns how many hours have something.
    pub(super) fn len(&self) -> usize {
        self.done.len() + usize::from(self.touched)
    }

    /// Returns the parts and begins anew, at the same hour.
    pub(super) fn take(&mut self) -> BTreeMap<i64, P> {
        let mut done = std::mem::take(&mut self.done);
        if std::mem::take(&mut self.touched) {
            done.insert(self.hour, std::mem::take(&mut self.current));
        }
        done
    }
}

impl<P: Part + Default> Sink for Hours<P> {
    fn record(&mut self, offset: u64, record: &Record<'_>) {
        if let Some(at) = record.at {
            self.turn(at.div_euclid(HOUR_MICROSECONDS));
        }
        self.records += 1;
        self.touched = true;
        self.inside = record.cut;
        self.current.record(offset, record);
    }

    fn odd(&mut self, offset: u64, odd: Odd<'_>) {
        self.touched = true;
        self.inside = false;
        self.current.odd(offset, odd);
    }
}
