//! What the columns of a collector become: labels and families of metrics.

use std::collections::HashSet;

use pawang_core::{Column, ColumnKind, Value};

use crate::choice::{self, As};
use crate::fold;
use crate::name::{self, Scale};

/// What the columns of one collector become.
#[derive(Clone, Debug, Default)]
pub(crate) struct Layout {
    /// The name of the label that says which server.
    pub(crate) server_label: &'static str,
    /// The name of the label that says which database, for snapshots of one.
    pub(crate) database_label: &'static str,
    /// Columns that become labels, and their names.
    pub(crate) labels: Vec<(usize, String)>,
    /// The column of the schema, where rows of system schemas are left out.
    pub(crate) user_schemas: Option<usize>,
    /// Metrics, in the order of the columns.
    pub(crate) families: Vec<Family>,
}

/// One metric: a name, and the column that its samples come from.
#[derive(Clone, Debug)]
pub(crate) struct Family {
    /// The name without `_total` or `_info`.
    pub(crate) base: String,
    pub(crate) kind: Kind,
    /// The base unit that the name ends with.
    pub(crate) unit: Option<&'static str>,
    pub(crate) help: String,
    /// The column.
    pub(crate) column: usize,
    pub(crate) read: Read,
}

/// What Prometheus is told about a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    /// Always 1; its labels say something.
    Info,
    /// A counter by nature whose name, made elsewhere, does not say so.
    Unknown,
}

/// How a value becomes a number.
#[derive(Clone, Debug)]
pub(crate) enum Read {
    Number(Scale),
    Flag,
    Time,
    /// The difference to another column, never negative.
    Less(usize),
    /// Always 1, with further labels.
    One(Vec<(usize, String)>),
}

/// A sample's value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Number {
    Whole(i64),
    Float(f64),
}

impl Family {
    /// Returns the name of the samples.
    pub(crate) fn name(&self) -> String {
        format!("{}{}", self.base, self.ending())
    }

    /// Returns what the name of the samples has and that of the family in OpenMetrics has not.
    pub(crate) fn ending(&self) -> &'static str {
        match self.kind {
            Kind::Counter => "_total",
            Kind::Info => "_info",
            Kind::Gauge | Kind::Unknown => "",
        }
    }

    /// Returns the number that a row has here; nothing for NULL, and for what is no number.
    pub(crate) fn number(&self, row: &[Value]) -> Option<Number> {
        match (&self.read, &row[self.column]) {
            (Read::One(_), _) => Some(Number::Whole(1)),
            (Read::Number(Scale::Same), Value::Int(number)) => Some(Number::Whole(*number)),
            (Read::Number(scale), Value::Int(number)) => {
                Some(Number::Float(scale.apply(*number as f64)))
            }
            (Read::Number(scale), Value::Float(number)) => {
                (!number.is_nan()).then(|| Number::Float(scale.apply(*number)))
            }
            (Read::Less(other), Value::Int(number)) => {
                let other = row[*other].as_int()?;
                Some(Number::Whole(number.saturating_sub(other).max(0)))
            }
            (Read::Flag | Read::Number(_), Value::Bool(flag)) => {
                Some(Number::Whole(i64::from(*flag)))
            }
            (Read::Flag, Value::Int(flag)) => Some(Number::Whole(i64::from(*flag != 0))),
            (Read::Time, Value::Time(instant)) => {
                let micros = instant.as_microsecond();
                Some(if micros % 1_000_000 == 0 {
                    Number::Whole(micros / 1_000_000)
                } else {
                    Number::Float(micros as f64 / 1e6)
                })
            }
            _ => None,
        }
    }
}

impl Number {
    /// Returns the number as Prometheus keeps it.
    pub(crate) fn float(self) -> f64 {
        match self {
            Number::Whole(number) => number as f64,
            Number::Float(number) => number,
        }
    }
}

/// Returns the layout of Pawang's own names.
pub(crate) fn native(collector: &str, columns: &[Column], of_database: bool) -> Layout {
    let mut layout = Layout {
        server_label: "server",
        database_label: "database",
        ..Layout::default()
    };
    if choice::hidden(collector) {
        return layout;
    }
    let instead = choice::labels_instead(collector);
    let mut taken = HashSet::new();
    for (index, column) in columns.iter().enumerate() {
        let is_label = match instead {
            Some(names) => names.contains(&column.name.as_str()),
            None => column.kind == ColumnKind::Label,
        };
        if is_label {
            let mut name = name::label(&column.name, of_database);
            while layout.labels.iter().any(|(_, label)| *label == name) {
                name.push('_');
            }
            layout.labels.push((index, name));
        } else if let Some(mut family) = family(collector, columns, index) {
            if taken.contains(&family.base) {
                family.base = name::whole(collector, &column.name);
                family.unit = None;
            }
            if taken.insert(family.base.clone()) {
                layout.families.push(family);
            }
        }
    }
    // A process id is a new series with every connection; such rows are shown as sums, or not at all.
    if layout.labels.iter().any(|(_, name)| name == "pid") {
        layout.families.clear();
        return layout;
    }
    layout
        .families
        .extend(description(collector, columns, &layout, of_database));
    layout
}

fn family(collector: &str, columns: &[Column], index: usize) -> Option<Family> {
    let column = &columns[index];
    let unit = name::unit(column.unit.as_deref());
    let (base, unit, read) = match column.kind {
        ColumnKind::Label => return None,
        ColumnKind::Counter | ColumnKind::Gauge => {
            if choice::hidden_column(collector, &column.name) {
                return None;
            }
            let base = name::base(collector, column, columns);
            // A column called `bytes` says its unit by itself.
            (base, unit.base, Read::Number(unit.scale))
        }
        ColumnKind::Info => match choice::shown(collector, &column.name)? {
            As::Flag => (name::whole(collector, &column.name), None, Read::Flag),
            As::Number => {
                let base = name::base(collector, column, columns);
                (base, unit.base, Read::Number(unit.scale))
            }
            As::Time => {
                let base = name::instant(collector, &column.name);
                (base, Some("seconds"), Read::Time)
            }
        },
    };
    Some(Family {
        base,
        kind: match column.kind {
            ColumnKind::Counter => Kind::Counter,
            _ => Kind::Gauge,
        },
        unit,
        help: help(collector, column, &read),
        column: index,
        read,
    })
}

fn help(collector: &str, column: &Column, read: &Read) -> String {
    if let Some(help) = fold::help(collector, &column.name) {
        return help.to_owned();
    }
    let name = &column.name;
    let what = match (read, column.unit.as_deref()) {
        (Read::Time, _) => ", as seconds since 1970".to_owned(),
        (Read::Flag, _) => ": 1 is yes, 0 is no".to_owned(),
        (_, None | Some("bytes" | "s" | "ms" | "us" | "per-second")) => String::new(),
        (_, Some("percent")) => ", as a share of 1".to_owned(),
        (_, Some(unit)) => format!(", in {unit}"),
    };
    format!("Column {name} of collector {collector}{what}.")
}

fn description(
    collector: &str,
    columns: &[Column],
    layout: &Layout,
    of_database: bool,
) -> Option<Family> {
    let wanted = choice::described(collector);
    let mut labels: Vec<(usize, String)> = Vec::new();
    for (index, column) in columns.iter().enumerate() {
        let name = name::label(&column.name, of_database);
        let free = !layout.labels.iter().any(|(_, label)| *label == name);
        if free && wanted.contains(&column.name.as_str()) {
            labels.push((index, name));
        }
    }
    let first = labels.first()?.0;
    Some(Family {
        base: name::whole(collector, "").trim_end_matches('_').to_owned(),
        kind: Kind::Info,
        unit: None,
        help: format!("What collector {collector} says in words; always 1."),
        column: first,
        read: Read::One(labels),
    })
}
