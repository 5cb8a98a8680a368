//! `docs/reference/metrics.md`: every name, from the same rules that make them.

use std::fmt::Write;

use pawang_core::Column;

use crate::alert;
use crate::backup;
use crate::choice;
use crate::compatible::{EXTRAS, TWINS};
use crate::fold;
use crate::layout::{Family, Kind, native};
use crate::own;

const INTRODUCTION: &str = "\
# Metrics

What `/metrics` shows and remote-write sends. `docs/guide/prometheus.md` says how to use it.

A name is `pawang_<collector>_<column>_<unit>`, in bytes, seconds and shares of 1, with `_total` where it only grows.
Label `server` is the instance, label `database` the database that was looked into. NULL is absent, never 0.
";

/// Returns the page: collectors by name, with summary, columns, and whether they are read in each database.
pub fn reference<'a>(
    collectors: impl Iterator<Item = (&'a str, &'a str, &'a [Column], bool)>,
) -> String {
    let mut out = INTRODUCTION.to_owned();
    // Writing to a String cannot fail.
    let _ = writeln!(out, "\n## Pawang itself\n");
    let _ = writeln!(
        out,
        "`collect[]=pawang` asks for these, but for verdicts and findings, which are `collect[]=checks`, and for what could be restored, `collect[]=backups`.\n"
    );
    table(&mut out);
    for (metrics, labels) in [
        (&own::DAEMON[..], ""),
        (&own::REMOTE, "remote"),
        (&alert::ALERTS, "state, level"),
        (&alert::CHANNEL, "channel"),
        (&alert::NOTIFICATIONS, "channel, outcome"),
        (&own::INFOS[..1], "version"),
        (
            &own::INFOS[1..],
            "server, group, role, version, configured labels",
        ),
        (&own::INSTANCE, "server"),
        (&own::COLLECTOR, "server, collector"),
        (&own::CHECK, "server, check"),
        (&own::FINDINGS, "server, level"),
        (&own::FINDING, "server, check, database, object, level"),
        (&backup::BACKUPS, "server, repository"),
        (&own::DROPPED, "server, collector"),
    ] {
        for (base, kind, _, help) in metrics {
            let ending = match kind {
                Kind::Counter => "_total",
                Kind::Info => "_info",
                Kind::Gauge | Kind::Unknown => "",
            };
            let _ = writeln!(
                out,
                "| `{base}{ending}` | {} | {labels} | {help} |",
                word(*kind)
            );
        }
    }
    for (name, summary, columns, of_database) in collectors {
        collector(&mut out, name, summary, columns, of_database);
    }
    exceptions(&mut out);
    compatible(&mut out);
    out
}

fn collector(out: &mut String, name: &str, summary: &str, columns: &[Column], of_database: bool) {
    let columns = fold::columns(name, columns);
    let layout = native(name, &columns, of_database);
    if layout.families.is_empty() {
        return;
    }
    let database = of_database.then_some("database");
    let labels = layout.labels.iter().map(|(_, label)| label.as_str());
    let labels: Vec<&str> = ["server"]
        .into_iter()
        .chain(database)
        .chain(labels)
        .collect();
    let _ = writeln!(
        out,
        "\n## {name}\n\n{summary}\n\nLabels: {}.\n",
        labels.join(", ")
    );
    let _ = writeln!(out, "| name | kind | meaning |\n|---|---|---|");
    for family in &layout.families {
        let _ = writeln!(
            out,
            "| `{}` | {} | {} |",
            family.name(),
            word(family.kind),
            meaning(family, &columns)
        );
    }
}

fn meaning(family: &Family, columns: &[Column]) -> String {
    use crate::layout::Read;
    match &family.read {
        Read::One(labels) => {
            let labels: Vec<&str> = labels.iter().map(|(_, label)| label.as_str()).collect();
            format!("always 1; further labels {}", labels.join(", "))
        }
        _ if family.help.starts_with("Column ") => {
            let column = &columns[family.column];
            let unit = column.unit.as_deref();
            match (&family.read, unit) {
                (Read::Flag, _) => format!("`{}`: 1 is yes, 0 is no", column.name),
                (Read::Time, _) => format!("`{}`, as seconds since 1970", column.name),
                (_, Some(unit)) => format!("`{}`, from {unit}", column.name),
                (_, None) => format!("`{}`", column.name),
            }
        }
        _ => family.help.clone(),
    }
}

fn exceptions(out: &mut String) {
    let _ = writeln!(out, "\n## What is not shown\n");
    let _ = writeln!(
        out,
        "Columns that are texts, except those above. Rows of single processes are shown as sums.\n"
    );
    for (collector, why) in choice::HIDDEN {
        let _ = writeln!(out, "- Collector `{collector}`: {why}.");
    }
    for (collector, column, why) in choice::HIDDEN_COLUMNS {
        let _ = writeln!(
            out,
            "- Column `{column}` of collector `{collector}`: {why}."
        );
    }
}

fn compatible(out: &mut String) {
    let _ = writeln!(out, "\n## Names of postgres_exporter\n");
    let _ = writeln!(
        out,
        "With `serve.metrics.postgres_exporter_names = true`, beside the names above.\n"
    );
    let _ = writeln!(out, "| name | from |\n|---|---|");
    for twin in &TWINS {
        for (name, column) in twin.names() {
            let _ = writeln!(
                out,
                "| `{name}` | column `{column}` of collector `{}` |",
                twin.collector
            );
        }
    }
    for (name, help) in EXTRAS {
        let name = match name {
            "pg_settings" => "pg_settings_<name>_<unit>",
            name => name,
        };
        let _ = writeln!(out, "| `{name}` | {help} |");
    }
}

fn table(out: &mut String) {
    let _ = writeln!(out, "| name | kind | labels | meaning |\n|---|---|---|---|");
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Info => "info",
        Kind::Unknown => "untyped",
    }
}
