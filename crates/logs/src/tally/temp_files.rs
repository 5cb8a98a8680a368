//! Temporary files by statement.

use serde::{Deserialize, Serialize};

use super::counts::{Counts, CountsByShape, Order};
use super::minutes::Minutes;
use super::{Event, Options, ShapeId, Shapes};
use crate::report;

/// Temporary files by statement.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct TempFiles {
    all: Counts,
    shapes: CountsByShape,
    series: Minutes,
}

impl TempFiles {
    /// Adds one record.
    pub(crate) fn take(&mut self, event: &Event<'_>) {
        let record = event.record;
        let Some(size) = size(record.message) else {
            return;
        };
        self.all.add(size, record.at);
        self.shapes.add(event.shape, size, record.at);
        if let Some(at) = record.at {
            self.series.add(at, size);
        }
    }

    /// Adds the part that follows.
    pub(crate) fn absorb(&mut self, other: TempFiles) {
        self.all.absorb(other.all);
        self.shapes.absorb(other.shapes);
        self.series.absorb(other.series);
    }

    /// Returns the bytes that a shape wrote.
    pub(crate) fn bytes(&self, shape: ShapeId) -> u64 {
        self.shapes.total(shape)
    }

    /// Returns its part of the report.
    pub(crate) fn report(&self, shapes: &Shapes, options: &Options) -> report::TempFiles {
        report::TempFiles {
            count: self.all.count,
            bytes: self.all.total,
            max: self.all.max,
            statements: self.shapes.report(shapes, Order::Total, options.items),
            series: self.series.series(),
        }
    }
}

/// Reads the size of `temporary file: path "base/pgsql_tmp/pgsql_tmp1.0", size 14000000`.
fn size(message: &[u8]) -> Option<u64> {
    let rest = message.strip_prefix(b"temporary file: path ")?;
    let start = memchr::memmem::rfind(rest, b", size ")? + 7;
    std::str::from_utf8(&rest[start..])
        .ok()?
        .trim()
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_is_at_the_end() {
        for (message, expected) in [
            (
                "temporary file: path \"base/pgsql_tmp/pgsql_tmp1.0\", size 14000000",
                Some(14_000_000),
            ),
            ("temporary file: path \"a, size 1\", size 2", Some(2)),
            ("temporary file: path \"a\"", None),
            ("out of memory, size 3", None),
        ] {
            assert_eq!(size(message.as_bytes()), expected, "{message}");
        }
    }
}
