//! Keys: running out of numbers, and not being there.

use pawang_core::{Blind, Level, Missing, Row, Unit};

use crate::{Check, Direction, Floor, Group, Observation, Scope, View, relation};

pub(super) const INTEGER_KEY: Check = Check {
    id: "integer-key-exhaustion",
    group: Group::Schema,
    title: "integer keys running out",
    scope: Scope::Database,
    needs: &["sequences"],
    unit: Unit::Percent,
    direction: Direction::Above,
    warning: Some(70.0),
    critical: Some(90.0),
    floors: &[],
    what: "Last value of the sequence behind each integer or smallint column (serial, identity) as a share of the column's largest \
           number, for the 500 most used sequences. Needs SELECT on the sequence (pg_read_all_data); a sequence that is \
           locked at the moment is left out rather than waited for.",
    why: "At 2,147,483,647 every insert fails, and the change to bigint rewrites the table under an exclusive lock.",
    fix: "Change the column to bigint while there is time: a new bigint column filled in batches and swapped, or ALTER TABLE ... TYPE \
          bigint in a maintenance window. Columns that refer to it must change too.",
    observe: integer_key,
};

pub(super) const SEQUENCE_EXHAUSTION: Check = Check {
    id: "sequence-exhaustion",
    group: Group::Schema,
    title: "sequences running out",
    scope: Scope::Database,
    needs: &["sequences"],
    unit: Unit::Percent,
    direction: Direction::Above,
    warning: Some(80.0),
    critical: Some(95.0),
    floors: &[],
    what: "How far each sequence is on its way from its start to its limit (MAXVALUE, or MINVALUE when it counts down), except those \
           that CYCLE and those that integer-key-exhaustion already judges by a tighter limit.",
    why: "nextval() then fails, and with it every insert that uses it.",
    fix: "ALTER SEQUENCE ... AS bigint NO MAXVALUE; (a short lock); widen the column it feeds first.",
    observe: sequence_exhaustion,
};

pub(super) const PRIMARY_KEY: Check = Check {
    id: "primary-key",
    group: Group::Schema,
    title: "tables without primary key",
    scope: Scope::Database,
    needs: &["tables"],
    unit: Unit::Count,
    direction: Direction::Above,
    warning: None,
    critical: None,
    floors: &[Floor {
        name: "rows",
        value: 10_000.0,
        unit: Unit::Count,
        ignores: "tables with fewer rows",
    }],
    what: "Rows of tables without a primary key (pg_index.indisprimary); partitions count with their parent. Information: append-only \
           fact tables may do without.",
    why: "Duplicate loads go unnoticed, rows cannot be addressed one by one, and logical replication and pg_repack need a key.",
    fix: "CREATE UNIQUE INDEX CONCURRENTLY, then ALTER TABLE ... ADD PRIMARY KEY USING INDEX ...;",
    observe: primary_key,
};

/// Returns the last value of a sequence that can be judged; NULL means never used.
fn judged<'a>(
    view: &View<'a>,
    concerned: fn(&Row<'_>) -> bool,
) -> Result<Vec<(Row<'a>, f64)>, Missing> {
    let sequences = view.here("sequences")?;
    let mut judged = Vec::new();
    let mut hidden = 0_usize;
    for row in sequences.rows().filter(concerned) {
        if row.flag("readable") != Some(true) {
            hidden += 1;
        } else if let Some(last) = row.float("last_value") {
            judged.push((row, last));
        }
    }
    if hidden > 0 {
        let user = view
            .server()
            .map_or("pawang", |server| server.user.as_str());
        return Err(Blind::NoPrivilege {
            what: format!("SELECT on {hidden} sequences"),
            grant: format!("GRANT pg_read_all_data TO {};", relation::identifier(user)),
        }
        .into());
    }
    Ok(judged)
}

/// Returns whether the column that the sequence feeds overflows before the sequence does, or with it.
fn column_is_tighter(row: &Row<'_>) -> bool {
    row.int("increment_by").unwrap_or(1) > 0
        && row
            .int("column_max")
            .is_some_and(|most| most <= row.int("max_value").unwrap_or(i64::MAX))
}

fn integer_key(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let sequences = judged(view, column_is_tighter)?;
    let observations = sequences.into_iter().map(|(row, last)| {
        let most = row.float("column_max").unwrap_or(f64::NAN);
        let share = 100.0 * last / most;
        Observation {
            object: format!(
                "{}.{}.{}",
                row.text("table_schema").unwrap_or("?"),
                row.text("table_name").unwrap_or("?"),
                row.text("column_name").unwrap_or("?")
            ),
            value: share,
            title: format!(
                "{} of {} numbers of type {} are used ({share:.1} %)",
                Unit::Count.show(last),
                Unit::Count.show(most),
                row.text("column_type").unwrap_or("?")
            ),
            evidence: row.evidence(&["sequencename", "last_value", "column_type", "increment_by"]),
            ..Observation::default()
        }
    });
    Ok(observations.collect())
}

fn sequence_exhaustion(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let concerned = |row: &Row<'_>| row.flag("cycle") != Some(true) && !column_is_tighter(row);
    let sequences = judged(view, concerned)?;
    let observations = sequences.into_iter().map(|(row, last)| {
        let down = row.int("increment_by").unwrap_or(1) < 0;
        let number = |name: &str| row.float(name).unwrap_or(f64::NAN);
        let (from, to) = if down {
            (number("max_value"), number("min_value"))
        } else {
            (number("min_value"), number("max_value"))
        };
        let share = 100.0 * (last - from) / (to - from);
        let (schema, name) = (
            row.text("schemaname").unwrap_or("?"),
            row.text("sequencename").unwrap_or("?"),
        );
        Observation {
            object: format!("{schema}.{name}"),
            value: share,
            title: format!(
                "at {} of {} ({share:.1} %)",
                Unit::Count.show(last),
                Unit::Count.show(to)
            ),
            evidence: row.evidence(&[
                "last_value",
                "min_value",
                "max_value",
                "increment_by",
                "data_type",
                "table_name",
                "column_name",
            ]),
            remedy: (!down).then(|| {
                format!(
                    "ALTER SEQUENCE {} AS bigint NO MAXVALUE;",
                    relation::quoted(schema, name)
                )
            }),
            ..Observation::default()
        }
    });
    Ok(observations.collect())
}

fn primary_key(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let floor = view.floor("rows");
    let tables = view.here("tables")?;
    let without = tables.rows().filter(|row| {
        row.text("relkind") == Some("r")
            && row.flag("relispartition") != Some(true)
            && row.flag("has_primary_key") != Some(true)
            && row.text("relpersistence") == Some("p")
            && !matches!(
                row.text("schemaname"),
                Some("pg_catalog" | "information_schema")
            )
    });
    let observations = without.filter_map(|row| {
        let rows = row
            .float("n_live_tup")
            .unwrap_or(0.0)
            .max(row.float("reltuples").unwrap_or(0.0));
        (rows >= floor).then(|| Observation {
            object: relation::name(&row),
            value: rows,
            level: Some(Level::Info),
            title: format!("{} rows without a primary key", Unit::Count.show(rows)),
            evidence: row.evidence(&["index_count", "relreplident", "n_live_tup", "size_bytes"]),
            ..Observation::default()
        })
    });
    Ok(observations.collect())
}
