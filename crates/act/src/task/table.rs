//! Tables and their columns: dropped, storage parameters, statistics targets, extended statistics.

use pawang_core::plan::{StatisticsKind, Task};

use super::{Facts, Probe, Proof, Recipe, ownership, relation_facts, table_numbers};
use crate::quote;

/// Extended statistics are about so many columns at least, and so many at most.
const STATISTICS_COLUMNS: std::ops::RangeInclusive<usize> = 2..=8;
/// Statistics targets of a column; -1 is the server's default.
const TARGETS: std::ops::RangeInclusive<i32> = -1..=10_000;

pub(super) fn recipe(task: &Task) -> Result<Recipe, String> {
    match task {
        Task::DropTable { table } => Ok(Recipe {
            // Without CASCADE: what depends on the table keeps it.
            sql: vec![format!("DROP TABLE {}", quote::relation(table))],
            verify: "the table is gone".to_owned(),
            undo: "nothing brings it back but a restore from a backup".to_owned(),
        }),
        Task::SetStorageParameters { set, reset, .. } if set.is_empty() && reset.is_empty() => {
            Err("there is no parameter to change".to_owned())
        }
        Task::SetStorageParameters { table, set, reset } => {
            let table = quote::relation(table);
            let set: Vec<String> = set
                .iter()
                .map(|(name, value)| format!("{} = {}", parameter(name), quote::text(value)))
                .collect();
            let reset: Vec<String> = reset.iter().map(|name| parameter(name)).collect();
            let mut actions = Vec::new();
            if !set.is_empty() {
                actions.push(format!("SET ({})", set.join(", ")));
            }
            if !reset.is_empty() {
                actions.push(format!("RESET ({})", reset.join(", ")));
            }
            Ok(Recipe {
                sql: vec![format!("ALTER TABLE {table} {}", actions.join(", "))],
                verify: "the table has these storage parameters".to_owned(),
                undo: "set the parameters that it had before".to_owned(),
            })
        }
        Task::SetStatisticsTarget { target, .. } if !TARGETS.contains(target) => {
            Err(format!("a statistics target of {target} does not exist"))
        }
        Task::SetStatisticsTarget {
            table,
            column,
            target,
        } => Ok(Recipe {
            sql: vec![statistics_target(&quote::relation(table), column, *target)],
            verify: "the column has this statistics target".to_owned(),
            undo: "set the target that it had before".to_owned(),
        }),
        Task::CreateStatistics { columns, kinds, .. }
            if !STATISTICS_COLUMNS.contains(&columns.len()) || kinds.is_empty() =>
        {
            Err("extended statistics need 2 to 8 columns and a kind".to_owned())
        }
        Task::CreateStatistics {
            table,
            name,
            columns,
            kinds,
        } => {
            let statistics = quote::qualified(&table.schema, name);
            let kinds: Vec<&str> = kinds.iter().map(|kind| kind_name(*kind)).collect();
            Ok(Recipe {
                sql: vec![format!(
                    "CREATE STATISTICS {statistics} ({}) ON {} FROM {}",
                    kinds.join(", "),
                    quote::names(columns),
                    quote::relation(table)
                )],
                verify: "the statistics exist; the next ANALYZE fills them".to_owned(),
                undo: format!("DROP STATISTICS {statistics};"),
            })
        }
        _ => unreachable!("only tasks of tables come here"),
    }
}

pub(super) fn probe(task: &Task) -> Probe {
    let (Task::DropTable { table }
    | Task::SetStorageParameters { table, .. }
    | Task::SetStatisticsTarget { table, .. }
    | Task::CreateStatistics { table, .. }) = task
    else {
        unreachable!("only tasks of tables come here");
    };
    let oid = table.oid;
    let (further, proof) = match task {
        Task::SetStorageParameters { set, reset, .. } => {
            let set = set.iter().map(|(name, value)| option_holds(name, value));
            let reset = reset.iter().map(|name| option_absent(name));
            let all: Vec<String> = set.chain(reset).collect();
            (
                format!(
                    ",
    (SELECT pg_catalog.string_agg(o.option, E'\\n' ORDER BY o.option) FROM ({OPTIONS}) AS o (option)) AS options"
                ),
                Proof::Holds(format!(
                    "SELECT ({})::pg_catalog.text FROM pg_catalog.pg_class AS c WHERE c.oid = {oid}",
                    all.join(" AND ")
                )),
            )
        }
        Task::SetStatisticsTarget { column, target, .. } => {
            let column = quote::text(column);
            let of_column = format!(
                "FROM pg_catalog.pg_attribute AS a
        WHERE a.attrelid = {oid} AND a.attname = {column} AND a.attnum > 0 AND NOT a.attisdropped"
            );
            (
                format!(
                    ",
    (SELECT COALESCE(a.attstattarget, -1)::pg_catalog.text {of_column}) AS target,
    (SELECT a.atttypid::pg_catalog.text {of_column}) AS type"
                ),
                Proof::Holds(format!(
                    "SELECT (COALESCE(a.attstattarget, -1) = {target})::pg_catalog.text {of_column}"
                )),
            )
        }
        Task::CreateStatistics { name, .. } => (
            String::new(),
            Proof::Holds(format!(
                "SELECT EXISTS (SELECT FROM pg_catalog.pg_statistic_ext AS s
    WHERE s.stxrelid = {oid} AND s.stxname = {})::pg_catalog.text",
                quote::text(name)
            )),
        ),
        _ => (
            String::new(),
            Proof::Holds(format!(
                "SELECT (NOT EXISTS (SELECT FROM pg_catalog.pg_class AS c WHERE c.oid = {oid}))::pg_catalog.text"
            )),
        ),
    };
    let numbers = matches!(task, Task::DropTable { .. }).then(|| table_numbers(oid));
    Probe {
        facts: Some(relation_facts(oid, &further)),
        numbers,
        proof,
        privilege: Some(ownership(oid, "", None)),
    }
}

/// Returns the statement that takes a change back to what the facts say.
pub(super) fn undo(task: &Task, facts: &Facts) -> Option<String> {
    match task {
        Task::SetStorageParameters { table, set, reset } => {
            let before: Vec<(&str, &str)> = facts
                .get("options")?
                .lines()
                .filter_map(|option| option.split_once('='))
                .collect();
            let mut back = Vec::new();
            let mut away = Vec::new();
            for name in set.keys().chain(reset) {
                match before.iter().find(|(known, _)| known == name) {
                    Some((_, value)) => {
                        back.push(format!("{} = {}", parameter(name), quote::text(value)));
                    }
                    None => away.push(parameter(name)),
                }
            }
            let mut actions = Vec::new();
            if !back.is_empty() {
                actions.push(format!("SET ({})", back.join(", ")));
            }
            if !away.is_empty() {
                actions.push(format!("RESET ({})", away.join(", ")));
            }
            let table = quote::relation(table);
            Some(format!("ALTER TABLE {table} {};", actions.join(", ")))
        }
        Task::SetStatisticsTarget { table, column, .. } => {
            let target = facts.get("target")?.parse().ok()?;
            let statement = statistics_target(&quote::relation(table), column, target);
            Some(format!("{statement};"))
        }
        _ => None,
    }
}

/// The storage parameters of table `c` and of its TOAST table.
const OPTIONS: &str = "SELECT pg_catalog.unnest(c.reloptions)
    UNION ALL SELECT 'toast.' || pg_catalog.unnest(t.reloptions)
    FROM pg_catalog.pg_class AS t WHERE t.oid = c.reltoastrelid";

fn option_holds(name: &str, value: &str) -> String {
    let option = quote::text(&format!("{name}={value}"));
    format!("EXISTS (SELECT FROM ({OPTIONS}) AS o (option) WHERE o.option = {option})")
}

fn option_absent(name: &str) -> String {
    let option = quote::text(&format!("{name}="));
    format!(
        "NOT EXISTS (SELECT FROM ({OPTIONS}) AS o (option) WHERE pg_catalog.starts_with(o.option, {option}))"
    )
}

/// Returns a storage parameter, which may have a namespace before it.
fn parameter(name: &str) -> String {
    let parts: Vec<String> = name.splitn(2, '.').map(quote::name).collect();
    parts.join(".")
}

fn statistics_target(table: &str, column: &str, target: i32) -> String {
    format!(
        "ALTER TABLE {table} ALTER COLUMN {} SET STATISTICS {target}",
        quote::name(column)
    )
}

fn kind_name(kind: StatisticsKind) -> &'static str {
    match kind {
        StatisticsKind::Dependencies => "dependencies",
        StatisticsKind::Ndistinct => "ndistinct",
        StatisticsKind::Mcv => "mcv",
    }
}
