//! A restored server is looked through: every table and index by `pg_amcheck`, every row counted, every probe asked.

use std::path::Path;
use std::time::Duration;

use pawang_core::Value;
use pawang_postgres::Session;
use serde::{Deserialize, Serialize};

use super::scratch::Scratch;
use crate::Error;

/// More problems than this are counted, not told.
const PROBLEMS_MAX: usize = 20;
/// So much of what a program says is read.
const WORDS_MAX: usize = 64 << 10;
/// `pg_amcheck` uses so many connections.
const JOBS: u32 = 2;
/// How long counting one table, or one probe, may take.
const STATEMENT_LIMIT: Duration = Duration::from_secs(3_600);
/// So many tables are told by name with their rows, the largest first.
const TABLES_TOLD: usize = 20;
const PURPOSE: &str = "drill";
const DATABASES: &str = "SELECT datname::text FROM pg_catalog.pg_database \
                         WHERE datallowconn AND NOT datistemplate ORDER BY datname";
const TABLES: &str = "SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) \
                      FROM pg_catalog.pg_class AS c \
                      JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace \
                      WHERE c.relkind IN ('r', 'm') \
                      AND c.relpersistence = 'p' \
                      AND (c.relkind = 'r' OR c.relispopulated) \
                      AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') \
                      ORDER BY 1";

/// A question of the user whose answer says whether the data are right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// In which database it is asked.
    pub database: String,
    /// One statement that reads.
    pub sql: String,
    /// What the first column of its first row must be, as text; `true` when it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect: Option<String>,
}

/// A table with its rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Counted {
    /// The table, with database and schema.
    pub table: String,
    /// How many rows it has.
    pub rows: u64,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Findings {
    /// What is wrong; nothing when all is right.
    pub problems: Vec<String>,
    /// Whether tables and indexes were looked through.
    pub amcheck: bool,
    /// How many tables were counted.
    pub tables: u64,
    /// How many rows they have together.
    pub rows: u64,
    /// The largest of them.
    pub largest: Vec<Counted>,
    /// How many probes were asked.
    pub probes: u64,
}

impl Findings {
    fn add(&mut self, problem: String) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(problem);
        } else if self.problems.len() == PROBLEMS_MAX {
            self.problems.push("there are more problems".to_owned());
        }
    }
}

/// Looks through a server that runs. What cannot be read is a problem of the data, never an error that hides it.
///
/// # Errors
/// The server cannot be asked at all.
pub async fn check(
    scratch: &Scratch,
    amcheck: Option<&Path>,
    probes: &[Probe],
) -> Result<Findings, Error> {
    let mut findings = Findings::default();
    if let Some(program) = amcheck {
        findings.amcheck = true;
        look_through(scratch, program, &mut findings).await?;
    }
    let any = match probes.first() {
        Some(probe) => probe.database.as_str(),
        None => "postgres",
    };
    for database in databases(scratch, any).await? {
        count(scratch, &database, &mut findings).await;
    }
    findings
        .largest
        .sort_by_key(|counted| std::cmp::Reverse(counted.rows));
    findings.largest.truncate(TABLES_TOLD);
    for probe in probes {
        findings.probes += 1;
        if let Err(problem) = ask(scratch, probe).await {
            findings.add(format!(
                "probe \"{}\" in \"{}\": {problem}",
                probe.sql, probe.database
            ));
        }
    }
    Ok(findings)
}

async fn databases(scratch: &Scratch, any: &str) -> Result<Vec<String>, Error> {
    let session = match Session::connect(&scratch.target("postgres")?, PURPOSE).await {
        Ok(session) => session,
        // Somebody may have dropped the database that all servers have.
        Err(_) => Session::connect(&scratch.target(any)?, PURPOSE).await?,
    };
    let rows = session.read(DATABASES).await?;
    Ok(texts(rows.rows))
}

/// Runs `pg_amcheck` on every database: heap against its own rules, and each index against its table.
async fn look_through(
    scratch: &Scratch,
    program: &Path,
    findings: &mut Findings,
) -> Result<(), Error> {
    let mut command = scratch.command(program);
    command
        .args(scratch.arguments())
        .args([
            "--all",
            "--install-missing",
            "--heapallindexed",
            "--no-password",
        ])
        .arg(format!("--jobs={JOBS}"));
    let output = command.output().await.map_err(|source| Error::File {
        doing: "start",
        path: program.to_owned(),
        source,
    })?;
    if output.status.success() {
        return Ok(());
    }
    // What is wrong goes to standard output, why it could not look to standard error.
    let mut told = 0;
    for bytes in [&output.stdout, &output.stderr] {
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(WORDS_MAX)]).into_owned();
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            told += 1;
            findings.add(format!("pg_amcheck: {}", line.trim()));
        }
    }
    if told == 0 {
        findings.add(format!("pg_amcheck ended with {}", output.status));
    }
    Ok(())
}

async fn count(scratch: &Scratch, database: &str, findings: &mut Findings) {
    let counted = async {
        let session = Session::connect(&scratch.target(database)?, PURPOSE).await?;
        let tables = texts(session.read(TABLES).await?.rows);
        let mut rows = Vec::with_capacity(tables.len());
        for table in tables {
            let sql = format!("SELECT pg_catalog.count(*) FROM ONLY {table}");
            let result = session.read_within(&sql, STATEMENT_LIMIT).await;
            rows.push((table, result.map(|rows| number(&rows.rows))));
        }
        Ok::<_, Error>(rows)
    };
    match counted.await {
        Err(error) => findings.add(format!("database \"{database}\": {}", told(&error))),
        Ok(tables) => {
            for (table, result) in tables {
                let table = format!("{database}.{table}");
                match result {
                    Ok(rows) => {
                        findings.tables += 1;
                        findings.rows += rows;
                        findings.largest.push(Counted { table, rows });
                    }
                    Err(error) => findings.add(format!("table {table}: {}", told(&error.into()))),
                }
            }
        }
    }
}

/// Asks a probe; a person who wrote none of the expected answer wants `true`.
async fn ask(scratch: &Scratch, probe: &Probe) -> Result<(), String> {
    let answer = async {
        let session = Session::connect(&scratch.target(&probe.database)?, PURPOSE).await?;
        Ok::<_, Error>(session.read_within(&probe.sql, STATEMENT_LIMIT).await?)
    };
    let rows = answer.await.map_err(|error| told(&error))?;
    let expected = probe.expect.as_deref().unwrap_or("true");
    let found = rows.rows.first().and_then(|row| row.first());
    match found {
        None => Err(format!("it has no row, and \"{expected}\" was expected")),
        Some(value) => {
            let found = text(value);
            let same = found == expected;
            same.then_some(()).ok_or_else(|| {
                format!("its answer is \"{found}\", and \"{expected}\" was expected")
            })
        }
    }
}

/// Returns a value as `psql` would show it, but for booleans, which are words.
fn text(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Float(value) => value.to_string(),
        Value::Time(value) => value.to_string(),
        Value::Text(value) => value.to_string(),
        Value::List(values) => format!("{{{}}}", values.join(",")),
    }
}

fn texts(rows: Vec<Vec<Value>>) -> Vec<String> {
    rows.iter()
        .filter_map(|row| row.first())
        .map(text)
        .collect()
}

fn number(rows: &[Vec<Value>]) -> u64 {
    match rows.first().and_then(|row| row.first()) {
        Some(Value::Int(number)) => u64::try_from(*number).unwrap_or(0),
        _ => 0,
    }
}

/// Returns an error in one line.
pub(super) fn told(error: &Error) -> String {
    let report = error.report();
    match report.detail {
        Some(detail) => format!("{}: {detail}", report.primary),
        None => report.primary,
    }
}
