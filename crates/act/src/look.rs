//! Looks at the objects of tasks: the same code for making a plan, for applying it, and for settling.

use std::time::Duration;

use pawang_core::plan::Task;
use pawang_postgres::{Error, Limits, Rows, Writer};

use crate::task::{self, Facts, Proof};

/// Looking never waits for long, and nobody waits for it.
const LOOK: Limits = Limits {
    statement: Some(Duration::from_secs(30)),
    lock: Duration::from_millis(200),
};
/// Counting the rows of a default partition may read much of it.
const COUNT: Limits = Limits {
    statement: Some(Duration::from_secs(300)),
    lock: Duration::from_millis(200),
};

/// Returns the first row of a query by name; NULL is the empty text.
pub(crate) async fn row(writer: &Writer, sql: &str) -> Result<Option<Facts>, Error> {
    let rows = writer.run(sql, LOOK).await?;
    Ok(all(&rows).into_iter().next())
}

/// Returns all rows of a query by name.
pub(crate) async fn rows(writer: &Writer, sql: &str) -> Result<Vec<Facts>, Error> {
    Ok(all(&writer.run(sql, LOOK).await?))
}

/// Returns what is true of a task's object, or `None` when it is gone.
pub(crate) async fn facts(writer: &Writer, task: &Task) -> Result<Option<Facts>, Error> {
    if let Task::DeleteFile { path, .. } = task {
        return Ok(task::describe(path).ok().flatten());
    }
    match task::probe(task, writer.server.version).facts {
        Some(sql) => row(writer, &sql).await,
        None => Ok(Some(Facts::new())),
    }
}

/// Returns the numbers of a task's object; empty where they cannot be read now.
pub(crate) async fn numbers(writer: &Writer, task: &Task) -> Facts {
    let Some(sql) = task::probe(task, writer.server.version).numbers else {
        return Facts::new();
    };
    match row(writer, &sql).await {
        Ok(row) => row.unwrap_or_default(),
        // Somebody holds a lock that even reading the size would wait for.
        Err(error) => {
            tracing::debug!("could not read the numbers of {}: {error}", task.object());
            Facts::new()
        }
    }
}

/// Says whether a query's only value is true.
pub(crate) async fn holds(writer: &Writer, sql: &str) -> Result<bool, Error> {
    let row = row(writer, sql).await?;
    Ok(row.is_some_and(|row| row.values().next().is_some_and(|value| value == "true")))
}

/// Says whether a task is needless because everything is already as wanted.
pub(crate) async fn needless(writer: &Writer, task: &Task) -> Result<bool, Error> {
    match task::probe(task, writer.server.version).proof {
        Proof::Holds(sql) => holds(writer, &sql).await,
        _ => Ok(false),
    }
}

/// Returns what the role lacks for a task: the statement that would grant it.
pub(crate) async fn lacking(writer: &Writer, task: &Task) -> Result<Option<String>, Error> {
    let Some(sql) = task::probe(task, writer.server.version).privilege else {
        return Ok(None);
    };
    let row = row(writer, &sql).await?.unwrap_or_default();
    let may = row.get("may").is_none_or(|may| may == "true");
    Ok((!may).then(|| row.get("grant").cloned().unwrap_or_default()))
}

/// Returns how many rows of a default partition are in the way of a task.
pub(crate) async fn in_the_way(writer: &Writer, task: &Task, facts: &Facts) -> Result<u64, Error> {
    let Some(sql) = task::default_rows(task, facts) else {
        return Ok(0);
    };
    let rows = all(&writer.run(&sql, COUNT).await?);
    let count = rows.first().and_then(|row| row.get("rows"));
    Ok(count.and_then(|count| count.parse().ok()).unwrap_or(0))
}

fn all(rows: &Rows) -> Vec<Facts> {
    let named = |row: &Vec<pawang_core::Value>| {
        let values = row.iter().map(|value| value.as_text().unwrap_or_default());
        let names = rows.names.iter().cloned();
        names.zip(values.map(str::to_owned)).collect()
    };
    rows.rows.iter().map(named).collect()
}
