//! Looks at the objects of tasks: the same code for making a plan, for applying it, and for settling.

use std::collections::BTreeMap;
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

/// What one look at a task's object says before it is changed.
pub(crate) struct Seen {
    /// What is true of it; `None` when it is gone.
    pub facts: Option<Facts>,
    /// What the role lacks for the task: the statement that would grant it.
    pub lacking: Option<String>,
    /// Its numbers; empty where they cannot be read now.
    pub numbers: Facts,
}

/// Looks at a task's object in one statement: a night has thousands of them.
pub(crate) async fn seen(writer: &Writer, task: &Task) -> Result<Seen, Error> {
    let probe = task::probe(task, writer.server.version);
    let queries = [&probe.facts, &probe.privilege, &probe.numbers];
    let values: Vec<String> = queries
        .into_iter()
        .zip(["facts", "privilege", "numbers"])
        .filter_map(|(sql, name)| Some(one(sql.as_deref()?, name)))
        .collect();
    if values.is_empty() {
        return in_turn(writer, task).await;
    }
    match row(writer, &format!("SELECT {}", values.join(",\n"))).await {
        Ok(found) => {
            let found = found.unwrap_or_default();
            let object = |name: &str| found.get(name).and_then(|text| members(text));
            Ok(Seen {
                facts: match probe.facts {
                    Some(_) => object("facts"),
                    None => Some(Facts::new()),
                },
                lacking: lacks(&object("privilege").unwrap_or_default()),
                numbers: object("numbers").unwrap_or_default(),
            })
        }
        // Somebody holds a lock that even reading the size would wait for: the facts do not need it.
        Err(Error::LockTimeout { .. }) => in_turn(writer, task).await,
        Err(error) => Err(error),
    }
}

async fn in_turn(writer: &Writer, task: &Task) -> Result<Seen, Error> {
    Ok(Seen {
        facts: facts(writer, task).await?,
        lacking: lacking(writer, task).await?,
        numbers: numbers(writer, task).await,
    })
}

/// Returns the first row of a query as one value of another.
fn one(sql: &str, name: &str) -> String {
    format!(
        "(SELECT pg_catalog.row_to_json(r)::pg_catalog.text FROM ({sql}) AS r LIMIT 1) AS {name}"
    )
}

/// Returns the members of a JSON object as texts, NULL as the empty one; `None` without an object.
fn members(text: &str) -> Option<Facts> {
    use serde_json::Value;
    let object: BTreeMap<String, Value> = serde_json::from_str(text).ok()?;
    let plain = |value| match value {
        Value::String(text) => text,
        Value::Null => String::new(),
        other => other.to_string(),
    };
    Some(
        object
            .into_iter()
            .map(|(name, value)| (name, plain(value)))
            .collect(),
    )
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
async fn lacking(writer: &Writer, task: &Task) -> Result<Option<String>, Error> {
    let Some(sql) = task::probe(task, writer.server.version).privilege else {
        return Ok(None);
    };
    Ok(lacks(&row(writer, &sql).await?.unwrap_or_default()))
}

fn lacks(privilege: &Facts) -> Option<String> {
    let may = privilege.get("may").is_none_or(|may| may == "true");
    (!may).then(|| privilege.get("grant").cloned().unwrap_or_default())
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
