//! What records add up to, in parts that can be joined.

use crate::record::{Odd, Record, Sink};
use crate::tally::{Counter, Tally};

/// What the records of a part of a log add up to: the tally of the report, or a list of the records that somebody asks for.
pub trait Part: Sink + Send {
    /// Returns an empty part with the same settings.
    fn fresh(&self) -> Self
    where
        Self: Sized;
    /// Returns what it has, and goes on empty with the same settings and what it has learnt.
    fn hand_over(&mut self) -> Self
    where
        Self: Sized,
    {
        let fresh = self.fresh();
        std::mem::replace(self, fresh)
    }
    /// Adds the part of the bytes right after its own.
    fn absorb(&mut self, later: Self)
    where
        Self: Sized;
    /// Joins what belongs together; called for the part that holds the beginning only.
    fn settle(&mut self);
    /// Returns the duration in microseconds below which no single execution of what follows is kept: this part, with everything before it,
    /// has as many slower ones as are kept.
    fn floor(&self) -> u64 {
        0
    }
    /// Takes the floor of what is before, so that it does not keep what is thrown away when the parts are joined.
    fn raise(&mut self, _floor: u64) {}
    /// Returns the instant before which it leaves records out, in microseconds.
    fn since(&self) -> Option<i64> {
        None
    }
}

impl Sink for Tally {
    fn record(&mut self, _: u64, record: &Record<'_>) {
        self.take(record);
    }

    fn odd(&mut self, _: u64, odd: Odd<'_>) {
        self.take_odd(&odd);
    }
}

impl Part for Tally {
    fn fresh(&self) -> Tally {
        Tally::default()
    }

    fn hand_over(&mut self) -> Tally {
        Tally::hand_over(self)
    }

    fn absorb(&mut self, later: Tally) {
        Tally::absorb(self, later);
    }

    fn settle(&mut self) {
        Tally::settle(self);
    }

    fn floor(&self) -> u64 {
        Tally::floor(self)
    }

    fn raise(&mut self, floor: u64) {
        Tally::raise(self, floor);
    }
}

impl Part for Counter {
    fn fresh(&self) -> Counter {
        Counter {
            tally: Tally::default(),
            options: self.options.clone(),
        }
    }

    fn hand_over(&mut self) -> Counter {
        Counter {
            tally: self.tally.hand_over(),
            options: self.options.clone(),
        }
    }

    fn absorb(&mut self, later: Counter) {
        self.tally.absorb(later.tally);
    }

    fn settle(&mut self) {
        self.tally.settle();
    }

    fn floor(&self) -> u64 {
        self.tally.floor()
    }

    fn raise(&mut self, floor: u64) {
        self.tally.raise(floor);
    }

    fn since(&self) -> Option<i64> {
        self.options.since
    }
}

/// Hands on to a part and counts.
pub(crate) struct Counting<'a, P> {
    /// The part.
    pub(crate) part: &'a mut P,
    /// Records so far.
    pub(crate) records: u64,
}

impl<P: Sink> Sink for Counting<'_, P> {
    fn record(&mut self, offset: u64, record: &Record<'_>) {
        self.records += 1;
        self.part.record(offset, record);
    }

    fn odd(&mut self, offset: u64, odd: Odd<'_>) {
        self.part.odd(offset, odd);
    }
}
