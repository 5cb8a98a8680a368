//! Vacuum and analyze by autovacuum, by table.

use serde::{Deserialize, Serialize};

use super::minutes::Minutes;
use super::table::{Row, Table, top};
use super::{Event, Options};
use crate::extract::{after, number_after, number_before, seconds_after};
use crate::histogram::Histogram;
use crate::report;

/// Most tables that are told apart.
const TABLES_MAX: usize = 20_000;

/// Vacuum and analyze by autovacuum.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Vacuums {
    vacuums: u64,
    aggressive: u64,
    wraparound: u64,
    analyzes: u64,
    cancelled: u64,
    tables: Table<TableRow, TABLES_MAX>,
    elapsed: Histogram,
    series: Minutes,
}

/// What happened to one table.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct TableRow {
    vacuums: u64,
    analyzes: u64,
    elapsed: u64,
    removed: u64,
    dead_kept: u64,
    pages_removed: u64,
    index_scans: u64,
    dirtied: u64,
    wal_bytes: u64,
    last_at: Option<i64>,
}

impl Row for TableRow {
    fn absorb(&mut self, later: TableRow) {
        if later.vacuums > 0 {
            self.dead_kept = later.dead_kept;
        }
        self.vacuums += later.vacuums;
        self.analyzes += later.analyzes;
        self.elapsed = self.elapsed.saturating_add(later.elapsed);
        self.removed = self.removed.saturating_add(later.removed);
        self.pages_removed = self.pages_removed.saturating_add(later.pages_removed);
        self.index_scans += later.index_scans;
        self.dirtied = self.dirtied.saturating_add(later.dirtied);
        self.wal_bytes = self.wal_bytes.saturating_add(later.wal_bytes);
        self.last_at = self.last_at.max(later.last_at);
    }

    fn count(&self) -> u64 {
        self.vacuums + self.analyzes
    }
}

impl Vacuums {
    /// Adds one record.
    pub(crate) fn take(&mut self, event: &Event<'_>) {
        let record = event.record;
        if record.message.starts_with(b"canceling autovacuum task") {
            self.cancelled += 1;
            return;
        }
        let Some(rest) = record.message.strip_prefix(b"automatic ") else {
            return;
        };
        let Some((how, table, numbers)) = split(rest) else {
            return;
        };
        let mut row = if how.starts_with(b"analyze") {
            self.analyzes += 1;
            analyzed(numbers)
        } else {
            self.vacuums += 1;
            self.aggressive += u64::from(how.starts_with(b"aggressive "));
            let wraparound = after(how, "to prevent wraparound").is_some();
            self.wraparound += u64::from(wraparound);
            let row = vacuumed(numbers);
            self.elapsed.add(row.elapsed);
            if let Some(at) = record.at {
                self.series.add(at, 1);
            }
            row
        };
        row.last_at = record.at;
        self.tables.change(table, |all| all.absorb(row));
    }

    /// Adds the part that follows.
    pub(crate) fn absorb(&mut self, later: Vacuums) {
        self.vacuums += later.vacuums;
        self.aggressive += later.aggressive;
        self.wraparound += later.wraparound;
        self.analyzes += later.analyzes;
        self.cancelled += later.cancelled;
        self.tables.absorb(later.tables);
        self.elapsed.merge(&later.elapsed);
        self.series.absorb(later.series);
    }

    /// Returns its part of the report.
    pub(crate) fn report(&self, options: &Options) -> report::Vacuums {
        let mut tables: Vec<report::VacuumedTable> = self.tables.iter().map(table).collect();
        tables.sort_by(|left, right| left.table.cmp(&right.table));
        report::Vacuums {
            vacuums: self.vacuums,
            aggressive: self.aggressive,
            wraparound: self.wraparound,
            analyzes: self.analyzes,
            cancelled: self.cancelled,
            tables: top(tables, options.items, self.tables.complete(), |table| {
                (table.elapsed, table.vacuums + table.analyzes)
            }),
            elapsed: self.elapsed.durations(),
            series: self.series.series(),
        }
    }
}

fn table((name, row): (&str, &TableRow)) -> report::VacuumedTable {
    report::VacuumedTable {
        table: name.to_owned(),
        vacuums: row.vacuums,
        analyzes: row.analyzes,
        elapsed: row.elapsed,
        removed: row.removed,
        dead_kept: row.dead_kept,
        pages_removed: row.pages_removed,
        index_scans: row.index_scans,
        dirtied: row.dirtied,
        wal_bytes: row.wal_bytes,
        last_at: row.last_at,
    }
}

/// Splits what follows `automatic ` into what was done, the table and the lines of numbers.
fn split(rest: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    const MARK: &str = " of table \"";
    let named = after(rest, MARK)?;
    let how = &rest[..rest.len() - named.len() - MARK.len()];
    // The server does not double quotes within a name, so a name ends at what follows it, not at the next quote.
    let ends = ["\": index scans: ", "\" system usage: ", "\"\n"];
    let ends = ends
        .iter()
        .filter_map(|end| memchr::memmem::find(named, end.as_bytes()));
    let end = ends
        .min()
        .or_else(|| memchr::memrchr(b'"', named))
        .filter(|&end| end > 0)?;
    Some((how, &named[..end], &named[end..]))
}

fn analyzed(text: &[u8]) -> TableRow {
    TableRow {
        analyzes: 1,
        elapsed: seconds_after(text, "elapsed: ").unwrap_or(0),
        dirtied: dirtied(text),
        wal_bytes: wal_bytes(text),
        ..TableRow::default()
    }
}

/// Reads the lines of a vacuum by what each begins with, since lines come and go with versions.
fn vacuumed(text: &[u8]) -> TableRow {
    let mut row = TableRow {
        vacuums: 1,
        index_scans: number_after(text, "index scans: ").unwrap_or(0),
        dirtied: dirtied(text),
        wal_bytes: wal_bytes(text),
        elapsed: seconds_after(text, "elapsed: ").unwrap_or(0),
        ..TableRow::default()
    };
    if let Some(line) = line(text, "\npages: ") {
        row.pages_removed = number_before(line, " removed").unwrap_or(0);
    }
    if let Some(line) = line(text, "\ntuples: ") {
        row.removed = number_before(line, " removed").unwrap_or(0);
        row.dead_kept = number_before(line, " are dead but not yet removable").unwrap_or(0);
    }
    row
}

fn line<'a>(text: &'a [u8], begin: &str) -> Option<&'a [u8]> {
    let rest = after(text, begin)?;
    Some(&rest[..memchr::memchr(b'\n', rest).unwrap_or(rest.len())])
}

fn dirtied(text: &[u8]) -> u64 {
    line(text, "\nbuffer usage: ")
        .and_then(|line| number_before(line, " dirtied"))
        .unwrap_or(0)
}

fn wal_bytes(text: &[u8]) -> u64 {
    line(text, "\nWAL usage: ")
        .and_then(|line| number_before(line, " bytes"))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tally::testing::taken;

    const V15: &str = "automatic vacuum of table \"postgres.public.t\": index scans: 2
pages: 3 removed, 345 remain, 345 scanned (100.00% of total)
tuples: 17 removed, 20000 remain, 5 are dead but not yet removable
removable cutoff: 731, which was 3 XIDs old when operation ended
new relfrozenxid: 729, which is 1 XIDs ahead of previous value
index scan needed: 1 pages from table (0.29% of total) had 1 dead item identifiers removed
index \"t_pkey\": pages: 276 in total, 4 newly deleted, 5 currently deleted, 6 reusable
I/O timings: read: 0.046 ms, write: 0.000 ms
avg read rate: 1.914 MB/s, avg write rate: 2.870 MB/s
buffer usage: 732 hits, 2 misses, 3 dirtied
WAL usage: 345 records, 1 full page images, 28678 bytes
system usage: CPU: user: 0.00 s, system: 0.00 s, elapsed: 1.25 s";

    const V13: &str =
        "automatic aggressive vacuum to prevent wraparound of table \"a.b.c\": index scans: 0
pages: 0 removed, 14 remain, 1 skipped due to pins, 0 skipped frozen
tuples: 9 removed, 410 remain, 7 are dead but not yet removable, oldest xmin: 738
buffer usage: 59 hits, 0 misses, 1 dirtied
avg read rate: 0.000 MB/s, avg write rate: 13.332 MB/s
system usage: CPU: user: 0.00 s, system: 0.00 s, elapsed: 0.50 s
WAL usage: 1 records, 1 full page images, 3653 bytes";

    const V18: &str = "automatic vacuum of table \"a.b.c\": index scans: 1
pages: 0 removed, 14 remain, 14 scanned (100.00% of total), 0 eagerly scanned
tuples: 2 removed, 410 remain, 0 are dead but not yet removable
removable cutoff: 738, which was 0 XIDs old when operation ended
frozen: 1 pages from table (7.14% of total) had 20 tuples frozen
visibility map: 14 pages set all-visible, 13 pages set all-frozen (0 were all-visible)
index scan needed: 1 pages from table (0.29% of total) had 1 dead item identifiers removed
delay time: 12.000 ms
avg read rate: 0.000 MB/s, avg write rate: 13.332 MB/s
buffer usage: 59 hits, 8 reads, 4 dirtied
WAL usage: 1 records, 1 full page images, 100 bytes, 2 buffers full
system usage: CPU: user: 0.00 s, system: 0.00 s, elapsed: 0.25 s";

    fn of(messages: &[&str]) -> report::Vacuums {
        let mut vacuums = Vacuums::default();
        for message in messages {
            taken(message, |event| vacuums.take(event));
        }
        vacuums.report(&Options::default())
    }

    #[test]
    fn every_version_is_read() {
        let report = of(&[V15, V13, V18]);
        assert_eq!(
            (report.vacuums, report.aggressive, report.wraparound),
            (3, 1, 1)
        );
        assert_eq!(report.elapsed.total, 2_000_000);
        let first = &report.tables.items[0];
        assert_eq!(first.table, "postgres.public.t");
        assert_eq!(
            (first.removed, first.dead_kept, first.pages_removed),
            (17, 5, 3)
        );
        assert_eq!(
            (first.index_scans, first.dirtied, first.wal_bytes),
            (2, 3, 28_678)
        );
        let second = &report.tables.items[1];
        assert_eq!((second.table.as_str(), second.vacuums), ("a.b.c", 2));
        assert_eq!(
            (second.removed, second.dead_kept, second.dirtied),
            (11, 0, 5)
        );
        assert_eq!((second.wal_bytes, second.index_scans), (3_753, 1));
    }

    #[test]
    fn analyzes_and_cancellations_are_counted() {
        let report = of(&[
            "automatic analyze of table \"a.b.we\"ird\"\navg read rate: 2.441 MB/s, avg write rate: 1.465 MB/s\nbuffer usage: 521 hits, \
             5 misses, 3 dirtied\nsystem usage: CPU: user: 0.00 s, system: 0.00 s, elapsed: 0.01 s",
            "automatic analyze of table \"a.b.old\" system usage: CPU: user: 0.00 s, system: 0.00 s, elapsed: 0.02 s",
            "canceling autovacuum task",
            "automatic vacuum of nothing",
        ]);
        assert_eq!(
            (report.vacuums, report.analyzes, report.cancelled),
            (0, 2, 1)
        );
        assert_eq!(report.tables.items[0].table, "a.b.old");
        assert_eq!(report.tables.items[1].table, "a.b.we\"ird");
        assert_eq!(report.tables.items[1].dirtied, 3);
        assert_eq!(report.elapsed.count, 0, "times of vacuums only");
    }

    #[test]
    fn rows_that_stay_dead_are_those_of_the_last_vacuum() {
        let (mut first, mut second) = (Vacuums::default(), Vacuums::default());
        taken(V13, |event| first.take(event));
        taken(V18, |event| second.take(event));
        first.absorb(second);
        let report = first.report(&Options::default());
        assert_eq!(report.tables.items[0].dead_kept, 0);
    }
}
