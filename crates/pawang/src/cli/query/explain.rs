//! `pawang query explain`: what is wrong with a plan, from a file or from the server.

use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use pawang_core::{Kind, Level, Report, Value};
use pawang_logs::plan::{self, Plan};
use pawang_postgres::{Session, Target};
use serde::Serialize;

use crate::cli::Global;
use crate::cli::history::History;
use crate::each::each;
use crate::estate::{Estate, told};
use crate::output::{self, Exit};
use crate::when;

/// The longest plan that is read.
const PLAN_BYTES_MAX: u64 = 64 << 20;
/// The first version that plans a statement with $1 in it.
const GENERIC_PLAN_VERSION: u32 = 160_000;

/// Say what is wrong with a plan
///
/// Reads the output of EXPLAIN in any of its formats, also wrapped in a message of auto_explain. With --sql or --queryid
/// the server is asked for the plan; the statement itself is run only with --analyze, in a read-only transaction that is
/// rolled back, within --timeout. Exit code 1 when there is a warning.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// File with the output of EXPLAIN; - is standard input
    #[arg(value_name = "FILE", required_unless_present_any = ["sql", "queryid"], conflicts_with_all = ["sql", "queryid"])]
    file: Option<PathBuf>,
    /// Ask the server for the plan of this statement; $1 and so on may stand for constants (PostgreSQL 16 and newer)
    #[arg(long, value_name = "STATEMENT", conflicts_with = "queryid")]
    sql: Option<String>,
    /// Ask the server for the plan of a statement that the history knows
    #[arg(long, value_name = "QUERY ID", allow_hyphen_values = true)]
    queryid: Option<i64>,
    /// The database to plan it in
    #[arg(long, value_name = "NAME")]
    database: Option<String>,
    /// Run the statement, and roll it back
    #[arg(long, requires = "sql")]
    analyze: bool,
    /// The longest that --analyze may run
    #[arg(long, default_value = "30s", value_name = "LENGTH")]
    timeout: String,
}

#[derive(Serialize)]
struct Answer {
    fingerprint: String,
    outline: String,
    findings: Vec<pawang_logs::report::PlanFinding>,
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    let text = match &args.file {
        Some(file) => from_file(file)?,
        None => match from_server(args, global)? {
            Some(text) => text,
            None => return Ok(Exit::Interrupted),
        },
    };
    let plan = plan::read(&text).map_err(|error| {
        Report::from_error(Kind::Usage, &error).with_hint(
            "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) ... writes a plan that is read with certainty",
        )
    })?;
    let answer = answer(&plan);
    if global.json {
        output::json("pawang.query.explain/1", &answer)?;
    } else {
        output::data(&page(&answer))?;
    }
    let worst = answer.findings.iter().map(|finding| finding.level).max();
    Ok(match worst {
        Some(Level::Warning | Level::Critical) => Exit::Answer,
        _ => Exit::Good,
    })
}

fn answer(plan: &Plan) -> Answer {
    Answer {
        fingerprint: format!("{:016x}", plan::fingerprint(plan)),
        outline: plan::outline(plan),
        findings: plan::review(plan),
    }
}

fn page(answer: &Answer) -> String {
    let mut page = answer.outline.clone();
    if answer.findings.is_empty() {
        page.push_str("\nnothing is wrong with this plan by any rule\n");
    }
    for finding in &answer.findings {
        let remedy = finding.remedy.replace('\n', "\n    ");
        page.push_str(&format!(
            "\n{} {} ({})\n    at {}\n    {remedy}\n",
            finding.level, finding.title, finding.rule, finding.node
        ));
    }
    page
}

fn from_file(file: &PathBuf) -> Result<String, Report> {
    let refused = |error: std::io::Error| {
        Report::new(
            Kind::Usage,
            format!("could not read \"{}\"", file.display()),
        )
        .with_detail(error.to_string())
    };
    let mut bytes = Vec::new();
    if file.as_os_str() == "-" {
        std::io::stdin()
            .take(PLAN_BYTES_MAX)
            .read_to_end(&mut bytes)
            .map_err(refused)?;
    } else {
        let opened = std::fs::File::open(file).map_err(refused)?;
        opened
            .take(PLAN_BYTES_MAX)
            .read_to_end(&mut bytes)
            .map_err(refused)?;
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Asks the one server that is meant; `None` when a signal came first.
fn from_server(args: &Args, global: &Global) -> Result<Option<String>, Report> {
    let sql = match (&args.sql, args.queryid) {
        (Some(sql), _) => sql.clone(),
        (None, Some(queryid)) => known(queryid, global)?,
        (None, None) => return Err(Report::new(Kind::Usage, "there is no statement to plan")),
    };
    let sql = single(&sql)?;
    let timeout = Duration::try_from(when::length(&args.timeout)?).unwrap_or_default();
    let estate = Estate::load(global.config.as_deref()).map_err(told)?;
    let jobs = estate.jobs(&global.instances, None)?;
    let [job] = jobs.as_slice() else {
        let names: Vec<&str> = jobs.iter().map(|job| job.instance.name.as_str()).collect();
        return Err(Report::new(Kind::Usage, "a plan is asked of one server")
            .with_detail(format!("there are {}", names.join(", ")))
            .with_hint("name it: pawang query explain -i NAME --sql ..."));
    };
    let mut target = job.target.clone();
    if let Some(database) = &args.database {
        target = target.with_database(database);
    }
    if args.analyze {
        target.statement_timeout = timeout;
    }
    let texts = each(&estate, std::slice::from_ref(job), async |_| {
        ask(&target, &sql, args.analyze).await
    })?;
    texts.and_then(|mut texts| texts.pop()).transpose()
}

/// Returns the text of a statement of the history.
fn known(queryid: i64, global: &Global) -> Result<String, Report> {
    let history = History::open(global)?;
    let text = history
        .reader
        .text(queryid)
        .map_err(|error| error.report())?;
    text.ok_or_else(|| {
        Report::new(
            Kind::Answer,
            format!("the history has no text of query {queryid}"),
        )
        .with_hint("pawang query top --since 7d")
    })
}

/// Returns the one statement of a text, without its semicolon: what follows a second one would run outside of EXPLAIN.
fn single(sql: &str) -> Result<String, Report> {
    let statements = pawang_logs::statement::split(sql);
    match statements.as_slice() {
        [one] => Ok((*one).to_owned()),
        other => Err(Report::new(Kind::Usage, "one statement has one plan")
            .with_detail(format!("there are {} statements", other.len()))),
    }
}

/// Gives the session back what a statement of this role and database runs with: ours finds no schema and reads times in UTC.
const AS_IT_RUNS: &str = "SET LOCAL search_path TO DEFAULT; SET LOCAL jit TO DEFAULT; SET LOCAL timezone TO DEFAULT; \
    SET LOCAL datestyle TO DEFAULT; SET LOCAL intervalstyle TO DEFAULT";

async fn ask(target: &Target, sql: &str, analyze: bool) -> Result<String, Report> {
    let session = Session::connect(target, "explain")
        .await
        .map_err(|error| error.report())?;
    let generic = pawang_logs::statement::has_parameters(sql);
    if generic && (analyze || session.server.version < GENERIC_PLAN_VERSION) {
        let why = if analyze {
            "a statement cannot run without its constants"
        } else {
            "the server is older than PostgreSQL 16, which plans a statement without its constants"
        };
        return Err(
            Report::new(Kind::Usage, why).with_hint("write constants in place of $1 and so on")
        );
    }
    let options = match (analyze, generic) {
        (true, _) => "ANALYZE, BUFFERS, SETTINGS, FORMAT JSON",
        (false, true) => "GENERIC_PLAN, SETTINGS, FORMAT JSON",
        (false, false) => "SETTINGS, FORMAT JSON",
    };
    let explain = format!("{AS_IT_RUNS}; EXPLAIN ({options}) {sql}");
    // The simple protocol: in the other one $1 would be a parameter of ours.
    let begin = if session.pooled() {
        ""
    } else {
        "BEGIN READ ONLY"
    };
    session
        .read_text(begin)
        .await
        .map_err(|error| error.report())?;
    let rows = session.read_text(&explain).await;
    if !session.pooled() {
        session
            .read_text("ROLLBACK")
            .await
            .map_err(|error| error.report())?;
    }
    let rows = rows.map_err(|error| error.report())?;
    let lines = rows
        .rows
        .iter()
        .filter_map(|row| row.first().and_then(Value::as_text));
    Ok(lines.collect::<Vec<&str>>().join("\n"))
}
