//! One snapshot as a frame: whole, or as what differs from the frame before.

use std::collections::HashMap;

use pawang_core::{Column, ColumnKind, Epoch, Snapshot, Timestamp, Value};

use super::encode::{
    Cursor, Torn, join, put_bytes, put_int, put_uint, put_value, same, split, tag,
};

/// Info columns whose change says that the counters of the row began anew, or that the row is another thing now.
const MARKERS: [&str; 7] = [
    "stats_reset",
    "stats_since",
    "relid",
    "relfilenode",
    "indexrelid",
    "datid",
    "subid",
];

/// A copy of the last frame of the stretch before, there to be compared with; no sample of its own.
pub(super) const LEAD: u8 = 1;
/// The frame is whole.
pub(super) const KEY: u8 = 2;
/// Counters may be compared with the frame before: the same epoch, and no gap.
pub(super) const JOINED: u8 = 4;
const SAME_EPOCH: u8 = 8;
const SAME_ROWS: u8 = 16;
const BROKEN: u8 = 32;
const NANOS: u8 = 64;

/// Codes of rows: the next of the frame before, a new one, or (plus a number) any of the frame before.
const ROW_NEXT: u64 = 0;
const ROW_NEW: u64 = 1;
const ROW_OLD: u64 = 2;

/// What the columns of a collector are used for.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Layout {
    pub(super) labels: Vec<usize>,
    /// Every column that is no label.
    pub(super) values: Vec<usize>,
    counters: Vec<usize>,
    markers: Vec<usize>,
    infos: Vec<usize>,
}

impl Layout {
    pub(super) fn of(columns: &[Column]) -> Layout {
        let all = |wanted: &dyn Fn(&Column) -> bool| -> Vec<usize> {
            let numbered = columns.iter().enumerate();
            let wanted = numbered.filter(|(_, column)| wanted(column));
            wanted.map(|(number, _)| number).collect()
        };
        Layout {
            labels: all(&|column| column.kind == ColumnKind::Label),
            values: all(&|column| column.kind != ColumnKind::Label),
            counters: all(&|column| column.kind == ColumnKind::Counter),
            markers: all(&|column| {
                column.kind == ColumnKind::Info && MARKERS.contains(&column.name.as_str())
            }),
            infos: all(&|column| column.kind == ColumnKind::Info),
        }
    }
}

/// A frame before it is packed.
#[derive(Debug)]
pub(super) struct Encoded {
    pub(super) flags: u8,
    pub(super) body: Vec<u8>,
    /// How many labels, rows and info values differ from the frame before.
    pub(super) changes: u64,
}

/// Rows that share their labels with another row of the same snapshot.
pub(super) type Shared = Vec<u32>;

/// How the rows of a snapshot follow from those of the one before.
struct Match {
    /// The older self of every row; `None` when all rows are the same in the same order.
    sources: Option<Vec<Option<u32>>>,
    shared: Shared,
}

/// Encodes a snapshot whole; `lead` says that it is only there to be compared with.
pub(super) fn whole(layout: &Layout, new: &Snapshot, lead: bool) -> Encoded {
    let sources = Some(vec![None; new.rows.len()]);
    let flags = if lead { KEY | LEAD } else { KEY };
    encode(layout, new, None, &sources, &[], flags)
}

/// Encodes what differs from `old`, whose rows `shared` share their labels; returns also those of the new one.
pub(super) fn difference(
    layout: &Layout,
    new: &Snapshot,
    old: &Snapshot,
    shared: &Shared,
    joined: bool,
) -> (Encoded, Shared) {
    let Match { sources, shared } = match_rows(layout, new, old, shared);
    let broken = if joined {
        broken_rows(layout, new, old, sources.as_deref(), &shared)
    } else {
        Vec::new()
    };
    let flags = if joined { JOINED } else { 0 };
    (
        encode(layout, new, Some(old), &sources, &broken, flags),
        shared,
    )
}

/// Returns the rows that share their labels.
pub(super) fn shared_rows(layout: &Layout, snapshot: &Snapshot) -> Shared {
    keys(layout, snapshot).1
}

/// Returns the key of every row, which is labels and occurrence, and the rows that share their labels.
fn keys(layout: &Layout, snapshot: &Snapshot) -> (Vec<Vec<u8>>, Shared) {
    let mut seen: HashMap<Vec<u8>, (u32, u32)> = HashMap::with_capacity(snapshot.rows.len());
    let mut shared = Shared::new();
    let mut keys = Vec::with_capacity(snapshot.rows.len());
    for (number, row) in snapshot.rows.iter().enumerate() {
        let mut key = Vec::with_capacity(32);
        for label in &layout.labels {
            put_value(&mut key, &row[*label]);
        }
        let (first, times) = *seen
            .entry(key.clone())
            .and_modify(|(_, times)| *times += 1)
            .or_insert((number as u32, 1));
        if times > 1 {
            if times == 2 {
                shared.push(first);
            }
            shared.push(number as u32);
        }
        put_uint(&mut key, u64::from(times));
        keys.push(key);
    }
    shared.sort_unstable();
    (keys, shared)
}

fn match_rows(layout: &Layout, new: &Snapshot, old: &Snapshot, shared: &Shared) -> Match {
    let labels_same = |one: &[Value], other: &[Value]| {
        let mut labels = layout.labels.iter();
        labels.all(|label| same(&one[*label], &other[*label]))
    };
    let mut pairs = new.rows.iter().zip(&old.rows);
    if new.rows.len() == old.rows.len() && pairs.all(|(new, old)| labels_same(new, old)) {
        return Match {
            sources: None,
            shared: shared.clone(),
        };
    }
    let (old_keys, _) = keys(layout, old);
    let places: HashMap<&[u8], u32> = old_keys
        .iter()
        .enumerate()
        .map(|(place, key)| (key.as_slice(), place as u32))
        .collect();
    let (new_keys, shared) = keys(layout, new);
    let sources = new_keys
        .iter()
        .map(|key| places.get(key.as_slice()).copied());
    Match {
        sources: Some(sources.collect()),
        shared,
    }
}

/// Returns the rows whose counters cannot be compared with their older selves, though there is one.
fn broken_rows(
    layout: &Layout,
    new: &Snapshot,
    old: &Snapshot,
    sources: Option<&[Option<u32>]>,
    shared: &Shared,
) -> Vec<u32> {
    if layout.counters.is_empty() {
        return Vec::new();
    }
    let mut broken = Vec::new();
    for (number, row) in new.rows.iter().enumerate() {
        let source = match sources {
            Some(sources) => sources[number],
            None => Some(number as u32),
        };
        let Some(source) = source else { continue };
        let older = &old.rows[source as usize];
        let marked = |column: &usize| !same(&row[*column], &older[*column]);
        let shrank = |column: &usize| match (&row[*column], &older[*column]) {
            (Value::Int(new), Value::Int(old)) => new < old,
            (new, old) => match (new.as_float(), old.as_float()) {
                (Some(new), Some(old)) => new < old || new.is_nan() || old.is_nan(),
                _ => false,
            },
        };
        if layout.markers.iter().any(marked)
            || layout.counters.iter().any(shrank)
            || shared.binary_search(&(number as u32)).is_ok()
        {
            broken.push(number as u32);
        }
    }
    broken
}

fn encode(
    layout: &Layout,
    new: &Snapshot,
    old: Option<&Snapshot>,
    sources: &Option<Vec<Option<u32>>>,
    broken: &[u32],
    mut flags: u8,
) -> Encoded {
    let (_, nanos) = split(new.at);
    let same_epoch = old.is_some_and(|old| old.epoch == new.epoch);
    for (flag, wanted) in [
        (SAME_EPOCH, same_epoch),
        (SAME_ROWS, sources.is_none()),
        (BROKEN, !broken.is_empty()),
        (NANOS, nanos != 0),
    ] {
        flags |= if wanted { flag } else { 0 };
    }
    let mut body = vec![flags];
    if nanos != 0 {
        put_uint(&mut body, u64::from(nanos));
    }
    if !same_epoch {
        put_epoch(&mut body, new.epoch.as_ref());
    }
    let elapsed_ms = u64::try_from(new.cost.elapsed.as_millis()).unwrap_or(u64::MAX);
    put_uint(&mut body, elapsed_ms);
    put_int(
        &mut body,
        (new.cost.rows as i64).wrapping_sub(new.rows.len() as i64),
    );
    let mut changes = 0;
    if let Some(sources) = sources {
        changes += put_rows(&mut body, layout, new, old, sources);
    }
    if !broken.is_empty() {
        put_uint(&mut body, broken.len() as u64);
        put_ascending(&mut body, broken.iter().copied());
    }
    changes += put_columns(&mut body, layout, new, old, sources.as_deref());
    Encoded {
        flags,
        body,
        changes: if old.is_some() { changes } else { 0 },
    }
}

pub(super) fn put_epoch(out: &mut Vec<u8>, epoch: Option<&Epoch>) {
    let Some(epoch) = epoch else {
        out.push(0);
        return;
    };
    let (micros, nanos) = split(epoch.started_at);
    out.push(1);
    put_uint(out, epoch.system_identifier);
    put_uint(out, u64::from(epoch.timeline));
    put_int(out, micros);
    put_uint(out, u64::from(nanos));
}

pub(super) fn epoch(cursor: &mut Cursor<'_>) -> Result<Option<Epoch>, Torn> {
    if cursor.byte()? == 0 {
        return Ok(None);
    }
    let torn = Torn("an epoch is torn");
    Ok(Some(Epoch {
        system_identifier: cursor.uint()?,
        timeline: u32::try_from(cursor.uint()?).map_err(|_| torn)?,
        started_at: {
            let micros = cursor.int()?;
            join(micros, u16::try_from(cursor.uint()?).map_err(|_| torn)?)?
        },
    }))
}

/// Appends ascending numbers as their distances.
fn put_ascending(out: &mut Vec<u8>, numbers: impl Iterator<Item = u32>) {
    let mut next = 0;
    for number in numbers {
        put_uint(out, u64::from(number - next));
        next = number + 1;
    }
}

/// Appends where the rows come from; returns how many came and went.
fn put_rows(
    body: &mut Vec<u8>,
    layout: &Layout,
    new: &Snapshot,
    old: Option<&Snapshot>,
    sources: &[Option<u32>],
) -> u64 {
    let mut next = 0;
    let mut came = 0;
    put_uint(body, sources.len() as u64);
    for (row, source) in new.rows.iter().zip(sources) {
        match source {
            Some(source) if *source == next => put_uint(body, ROW_NEXT),
            Some(source) => put_uint(body, ROW_OLD + u64::from(*source)),
            None => {
                came += 1;
                put_uint(body, ROW_NEW);
                for label in &layout.labels {
                    put_value(body, &row[*label]);
                }
            }
        }
        next = source.map_or(next, |source| source + 1);
    }
    let stayed = sources.len() as u64 - came;
    came + old.map_or(0, |old| old.rows.len() as u64) - stayed
}

/// Appends the values that differ, column by column; returns how many of them are info.
fn put_columns(
    body: &mut Vec<u8>,
    layout: &Layout,
    new: &Snapshot,
    old: Option<&Snapshot>,
    sources: Option<&[Option<u32>]>,
) -> u64 {
    // Rows are walked once, since each is a piece of memory of its own.
    let mut columns: Vec<(u32, u64, Vec<u8>)> = vec![Default::default(); new.columns.len()];
    for (number, row) in new.rows.iter().enumerate() {
        let older = match (old, sources) {
            (Some(old), None) => Some(&old.rows[number]),
            (Some(old), Some(sources)) => sources[number].map(|source| &old.rows[source as usize]),
            (None, _) => None,
        };
        for column in &layout.values {
            let value = &row[*column];
            let before = older.map_or(&Value::Null, |older| &older[*column]);
            if same(value, before) {
                continue;
            }
            let (next, count, out) = &mut columns[*column];
            put_uint(out, u64::from(number as u32 - *next));
            *next = number as u32 + 1;
            *count += u64::from(older.is_some());
            match (value, before) {
                (Value::Int(value), Value::Int(before)) => {
                    let step = super::encode::zigzag(value.wrapping_sub(*before));
                    match step.checked_add(tag::FREE) {
                        Some(token) => put_uint(out, token),
                        None => put_value(out, &Value::Int(*value)),
                    }
                }
                _ => put_value(out, value),
            }
        }
    }
    let mut next = 0;
    for (number, (_, _, bytes)) in columns.iter().enumerate() {
        if !bytes.is_empty() {
            put_uint(body, (number - next) as u64);
            put_bytes(body, bytes);
            next = number + 1;
        }
    }
    layout.infos.iter().map(|column| columns[*column].1).sum()
}

/// Where a row of a frame comes from.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Source {
    Old(u32),
    New(Vec<Value>),
}

/// A frame that was read; its values are still packed.
#[derive(Debug)]
pub(super) struct Frame<'a> {
    pub(super) flags: u8,
    pub(super) nanos: u16,
    /// `None` when it is that of the frame before.
    pub(super) epoch: Option<Option<Epoch>>,
    pub(super) elapsed_ms: u64,
    /// Rows received minus rows kept.
    pub(super) rows_dropped: i64,
    /// `None` when they are those of the frame before.
    pub(super) rows: Option<Vec<Source>>,
    pub(super) broken: Vec<u32>,
    columns: Vec<(usize, &'a [u8])>,
}

/// What became of one value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    Grown(i64),
    Set(Value),
}

impl<'a> Frame<'a> {
    /// Reads a frame of a collector with `columns` columns, of which `labels` are labels, after one of `rows` rows.
    pub(super) fn read(
        body: &'a [u8],
        columns: usize,
        labels: usize,
        rows: usize,
    ) -> Result<Frame<'a>, Torn> {
        let mut cursor = Cursor::new(body);
        let flags = cursor.byte()?;
        let nanos = if flags & NANOS == 0 {
            0
        } else {
            u16::try_from(cursor.uint()?).map_err(|_| Torn("a time is torn"))?
        };
        let mut frame = Frame {
            flags,
            nanos,
            epoch: match flags & SAME_EPOCH {
                0 => Some(epoch(&mut cursor)?),
                _ => None,
            },
            elapsed_ms: cursor.uint()?,
            rows_dropped: cursor.int()?,
            rows: None,
            broken: Vec::new(),
            columns: Vec::new(),
        };
        let mut count = rows;
        if flags & SAME_ROWS == 0 {
            let read = read_rows(&mut cursor, labels, rows)?;
            count = read.len();
            frame.rows = Some(read);
        }
        if flags & BROKEN != 0 {
            let broken = cursor.count()?;
            let mut next = 0;
            for _ in 0..broken {
                let row = next + cursor.below(count.saturating_sub(next))?;
                frame.broken.push(row as u32);
                next = row + 1;
            }
        }
        let mut next = 0;
        while !cursor.is_empty() {
            let column = next + cursor.below(columns.saturating_sub(next))?;
            frame.columns.push((column, cursor.bytes()?));
            next = column + 1;
        }
        Ok(frame)
    }

    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Calls `each` with column, row and what became of the value, for every value of the wanted columns that changed.
    pub(super) fn steps(
        &self,
        wanted: impl Fn(usize) -> bool,
        mut each: impl FnMut(usize, usize, Step) -> Result<(), Torn>,
    ) -> Result<(), Torn> {
        for (column, bytes) in self.columns.iter().filter(|(column, _)| wanted(*column)) {
            let mut cursor = Cursor::new(bytes);
            let mut next = 0_usize;
            while !cursor.is_empty() {
                let row = next.checked_add(cursor.below(usize::MAX)?);
                let row = row.ok_or(Torn("a row is out of range"))?;
                next = row + 1;
                let step = match cursor.uint()? {
                    token if token >= tag::FREE => {
                        Step::Grown(super::encode::unzigzag(token - tag::FREE))
                    }
                    tag => Step::Set(cursor.tagged(tag)?),
                };
                each(*column, row, step)?;
            }
        }
        Ok(())
    }
}

fn read_rows(cursor: &mut Cursor<'_>, labels: usize, before: usize) -> Result<Vec<Source>, Torn> {
    let count = cursor.count()?;
    let mut rows = Vec::with_capacity(count);
    let mut next = 0;
    for _ in 0..count {
        let place = match cursor.uint()? {
            ROW_NEW => {
                let values = (0..labels).map(|_| cursor.value());
                rows.push(Source::New(values.collect::<Result<_, _>>()?));
                continue;
            }
            ROW_NEXT => next,
            code => usize::try_from(code - ROW_OLD).unwrap_or(usize::MAX),
        };
        if place >= before {
            return Err(Torn("a row comes from nowhere"));
        }
        rows.push(Source::Old(place as u32));
        next = place + 1;
    }
    Ok(rows)
}

/// Frames turned back into snapshots, one after the other.
#[derive(Debug, Default)]
pub(super) struct Replay {
    pub(super) at: i64,
    pub(super) nanos: u16,
    pub(super) epoch: Option<Epoch>,
    pub(super) elapsed_ms: u64,
    pub(super) rows_dropped: i64,
    pub(super) rows: Vec<Vec<Value>>,
}

impl Replay {
    /// Applies the next frame.
    pub(super) fn apply(
        &mut self,
        layout: &Layout,
        columns: usize,
        at: i64,
        body: &[u8],
    ) -> Result<(), Torn> {
        let frame = Frame::read(body, columns, layout.labels.len(), self.rows.len())?;
        (self.at, self.nanos) = (at, frame.nanos);
        (self.elapsed_ms, self.rows_dropped) = (frame.elapsed_ms, frame.rows_dropped);
        if let Some(epoch) = &frame.epoch {
            self.epoch.clone_from(epoch);
        }
        if let Some(sources) = &frame.rows {
            let mut old = std::mem::take(&mut self.rows);
            for source in sources {
                self.rows.push(match source {
                    Source::Old(place) => std::mem::take(&mut old[*place as usize]),
                    Source::New(labels) => {
                        let mut row = vec![Value::Null; columns];
                        for (column, label) in layout.labels.iter().zip(labels) {
                            row[*column] = label.clone();
                        }
                        row
                    }
                });
            }
            if self.rows.iter().any(|row| row.len() != columns) {
                return Err(Torn("a row is used twice"));
            }
        }
        let rows = &mut self.rows;
        frame.steps(
            |_| true,
            |column, row, step| {
                let row = rows.get_mut(row).ok_or(Torn("a row is out of range"))?;
                let value = &mut row[column];
                *value = match (step, &*value) {
                    (Step::Set(value), _) => value,
                    (Step::Grown(growth), Value::Int(old)) => Value::Int(old.wrapping_add(growth)),
                    _ => return Err(Torn("a difference to something that is no integer")),
                };
                Ok(())
            },
        )
    }

    /// Returns the instant of the newest frame.
    pub(super) fn timestamp(&self) -> Result<Timestamp, Torn> {
        join(self.at, self.nanos)
    }
}
