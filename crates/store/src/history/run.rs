//! One row's values of one column over time, as differences: what did not change costs nothing.

use super::encode::{Cursor, Torn, put_int, put_uint, zigzag};

/// One value of a run; texts and everything else that is no number are numbers of a dictionary.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Cell {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    /// Microseconds since 1970.
    Time(i64),
    Entry(u32),
}

const NULL: u8 = 0;
const BOOL: u8 = 1;
const INT: u8 = 2;
const TIME: u8 = 3;
const ENTRY: u8 = 4;
const BITS: u8 = 5;
/// Plus the number of decimals.
const DECIMAL: u8 = 6;
const DECIMALS_MAX: u8 = 6;
const POWERS: [f64; 7] = [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6];
/// Whole numbers up to here are exact in floating point.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

/// Token: the value before is repeated so many times more than once.
const REPEAT: u64 = 0;
/// Token: kind and absolute value follow.
const ABSOLUTE: u64 = 1;

/// Writes a run.
#[derive(Debug, Default)]
pub(super) struct RunWriter {
    kind: u8,
    last: i64,
    written: u32,
    bytes: Vec<u8>,
}

impl RunWriter {
    /// Says that the value number `index` and all after it, until told otherwise, are `cell`.
    ///
    /// Indexes never go back.
    pub(super) fn set(&mut self, index: u32, cell: Cell) {
        let (kind, last) = self.encode(cell);
        if kind == self.kind && last == self.last {
            return;
        }
        debug_assert!(index >= self.written, "a run is written forwards");
        if index > self.written {
            put_uint(&mut self.bytes, REPEAT);
            put_uint(&mut self.bytes, u64::from(index - self.written - 1));
        }
        let step = zigzag(last.wrapping_sub(self.last));
        if kind == self.kind && step < u64::MAX - 1 {
            put_uint(&mut self.bytes, step + 1);
        } else {
            put_uint(&mut self.bytes, ABSOLUTE);
            self.bytes.push(kind);
            put_int(&mut self.bytes, last);
        }
        (self.kind, self.last) = (kind, last);
        self.written = index + 1;
    }

    /// Adds to an integer; anything else cannot be added to.
    pub(super) fn add(&mut self, index: u32, growth: i64) -> Result<(), Torn> {
        if self.kind != INT {
            return Err(Torn("a difference to something that is no integer"));
        }
        self.set(index, Cell::Int(self.last.wrapping_add(growth)));
        Ok(())
    }

    /// Returns the bytes; values after the last change need none.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn encode(&self, cell: Cell) -> (u8, i64) {
        match cell {
            Cell::Null => (NULL, 0),
            Cell::Bool(flag) => (BOOL, i64::from(flag)),
            Cell::Int(number) => (INT, number),
            Cell::Time(micros) => (TIME, micros),
            Cell::Entry(number) => (ENTRY, i64::from(number)),
            Cell::Float(number) => self.encode_float(number),
        }
    }

    /// Floats that are exact with few decimals are written as whole numbers; the number of decimals never shrinks.
    fn encode_float(&self, number: f64) -> (u8, i64) {
        let least = match self.kind {
            BITS => DECIMALS_MAX + 1,
            kind if kind >= DECIMAL => kind - DECIMAL,
            _ => 0,
        };
        for decimals in least..=DECIMALS_MAX {
            let power = POWERS[usize::from(decimals)];
            let whole = (number * power).round();
            let back = (whole as i64) as f64 / power;
            if whole.abs() < WHOLE_MAX && back.to_bits() == number.to_bits() {
                return (DECIMAL + decimals, whole as i64);
            }
        }
        let bits = number.to_bits() as i64;
        (BITS, bits ^ (((bits >> 63) as u64) >> 1) as i64)
    }
}

fn decode(kind: u8, last: i64) -> Result<Cell, Torn> {
    Ok(match kind {
        NULL => Cell::Null,
        BOOL => Cell::Bool(last != 0),
        INT => Cell::Int(last),
        TIME => Cell::Time(last),
        ENTRY => Cell::Entry(u32::try_from(last).map_err(|_| Torn("a dictionary number is torn"))?),
        BITS => {
            let bits = last ^ (((last >> 63) as u64) >> 1) as i64;
            Cell::Float(f64::from_bits(bits as u64))
        }
        _ => {
            let power = POWERS.get(usize::from(kind - DECIMAL));
            Cell::Float(last as f64 / power.ok_or(Torn("a run has no type"))?)
        }
    })
}

/// Calls `each` with the first index, the number and the value of every stretch of equal values of a run of `count`.
pub(super) fn spans(
    bytes: &[u8],
    count: u32,
    mut each: impl FnMut(u32, u32, Cell) -> Result<(), Torn>,
) -> Result<(), Torn> {
    let mut cursor = Cursor::new(bytes);
    let (mut kind, mut last) = (NULL, 0_i64);
    let mut cell = Cell::Null;
    let mut index = 0;
    while index < count && !cursor.is_empty() {
        match cursor.uint()? {
            REPEAT => {
                let more = cursor.uint()?.min(u64::from(count - index));
                let length = (more as u32 + 1).min(count - index);
                each(index, length, cell)?;
                index += length;
                continue;
            }
            ABSOLUTE => {
                kind = cursor.byte()?;
                last = cursor.int()?;
            }
            step => last = last.wrapping_add(super::encode::unzigzag(step - 1)),
        }
        cell = decode(kind, last)?;
        each(index, 1, cell)?;
        index += 1;
    }
    if index < count {
        each(index, count - index, cell)?;
    }
    Ok(())
}

/// Returns the value number `index` of a run.
pub(super) fn value_at(bytes: &[u8], index: u32) -> Result<Cell, Torn> {
    let mut found = Cell::Null;
    spans(bytes, index + 1, |_, _, cell| {
        found = cell;
        Ok(())
    })?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cell() -> impl Strategy<Value = Cell> {
        prop_oneof![
            Just(Cell::Null),
            any::<bool>().prop_map(Cell::Bool),
            any::<i64>().prop_map(Cell::Int),
            (-3_i64..3).prop_map(Cell::Int),
            prop_oneof![Just(i64::MIN), Just(i64::MAX), Just(0)].prop_map(Cell::Int),
            any::<f64>().prop_map(Cell::Float),
            (-100_000_i64..100_000).prop_map(|n| Cell::Float(n as f64 / 1000.0)),
            Just(Cell::Float(-0.0)),
            any::<i64>().prop_map(Cell::Time),
            any::<u32>().prop_map(Cell::Entry),
        ]
    }

    /// To the bit, also of floats that are no number.
    fn key(cell: Cell) -> String {
        match cell {
            Cell::Float(number) => format!("float {:x}", number.to_bits()),
            other => format!("{other:?}"),
        }
    }

    proptest! {
        #[test]
        fn a_run_is_read_as_it_was_written(
            stretches in prop::collection::vec((cell(), 1_u32..5), 0..40)
        ) {
            let mut run = RunWriter::default();
            let mut expected = Vec::new();
            for (cell, length) in stretches {
                run.set(expected.len() as u32, cell);
                expected.extend(std::iter::repeat_n(key(cell), length as usize));
            }
            let mut read = Vec::new();
            spans(run.bytes(), expected.len() as u32, |start, length, cell| {
                assert_eq!(start as usize, read.len());
                read.extend(std::iter::repeat_n(key(cell), length as usize));
                Ok(())
            }).unwrap();
            for (index, cell) in expected.iter().enumerate() {
                prop_assert_eq!(&key(value_at(run.bytes(), index as u32).unwrap()), cell);
            }
            prop_assert_eq!(read, expected);
        }

        #[test]
        fn rubbish_is_refused_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..60), count in 0_u32..500) {
            let mut seen = 0;
            let read = spans(&bytes, count, |_, length, _| { seen += length; Ok(()) });
            prop_assert!(read.is_err() || seen == count);
        }
    }

    #[test]
    fn what_does_not_change_costs_nothing() {
        let mut run = RunWriter::default();
        run.set(0, Cell::Int(7));
        for index in 1..1_000 {
            run.set(index, Cell::Int(7));
        }
        assert_eq!(run.bytes().len(), 3);
    }
}
