//! `pawang progress`: what long commands are doing, how far they got, and when they will be through.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use pawang_collect::{Catalog, HostRequest, Observer, Question, Request};
use pawang_core::progress::{NEEDS, Running, running};
use pawang_core::{ByteSize, Column, ColumnKind, Facts, Report};
use serde::Serialize;

use super::Global;
use crate::each::each;
use crate::environment;
use crate::estate::{Estate, Job, told};
use crate::grid::Grid;
use crate::output::{self, Exit};

/// `statement_timeout` of looking up names.
const NAMES_TIMEOUT: Duration = Duration::from_secs(5);
/// Looks are at least so far apart.
const EVERY_MIN: Duration = Duration::from_millis(100);
/// Relations of one database whose names are looked up.
const NAMES_MAX: usize = 1_000;

/// Show what VACUUM, CREATE INDEX, base backups and the like are doing, with time left
///
/// Looks twice, for rates. Percent and time left are those of the phase: how long the phases after
/// it take, nobody knows.
///
/// Examples:
///   pawang progress -i dwh-1
///   pawang progress --watch
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    /// Look again and again until Ctrl-C; with --json one line for each look
    #[arg(long)]
    watch: bool,
    /// Time between two looks
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = period)]
    every: Duration,
}

#[derive(Serialize)]
struct Answer {
    instance: String,
    running: Vec<Named>,
    /// What could not be seen.
    unseen: Vec<String>,
}

#[derive(Serialize)]
struct Named {
    #[serde(flatten)]
    running: Running,
    relation: Option<String>,
    percent: Option<f64>,
}

fn period(text: &str) -> Result<Duration, String> {
    let span: jiff::SignedDuration = text
        .parse()
        .map_err(|error: jiff::Error| error.to_string())?;
    let seconds = Duration::try_from(span).map_err(|error| error.to_string())?;
    if seconds < EVERY_MIN {
        return Err("two looks are at least 100ms apart".to_owned());
    }
    Ok(seconds)
}

/// Runs the command; exit code 3 when a server could not be seen.
pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    let estate = Estate::load(global.config.as_deref()).map_err(told)?;
    let jobs = estate.jobs(&global.instances, None)?;
    let catalog = estate.catalog()?;
    let watched = each(&estate, &jobs, async |job| {
        watch(args, global, &catalog, job).await
    })?;
    let Some(answers) = watched else {
        // The usual end of --watch.
        return Ok(if args.watch {
            Exit::Good
        } else {
            Exit::Interrupted
        });
    };
    let answers: Vec<Answer> = answers.into_iter().collect::<Result<_, Report>>()?;
    if global.json {
        output::json("pawang.progress/1", &answers)?;
    } else {
        answers.iter().try_for_each(tell)?;
    }
    let seen = answers.iter().all(|answer| answer.unseen.is_empty());
    Ok(if seen { Exit::Good } else { Exit::Target })
}

/// Looks twice, or with `--watch` until a signal comes.
async fn watch(
    args: &Args,
    global: &Global,
    catalog: &Catalog,
    job: &Job,
) -> Result<Answer, Report> {
    let mut observer = Observer::default();
    let mut older = look(&mut observer, catalog, job, &[]).await;
    loop {
        tokio::time::sleep(args.every).await;
        let questions = names(&running(&older, None));
        let facts = look(&mut observer, catalog, job, &questions).await;
        let answer = answer(&facts, Some(&older));
        if !args.watch {
            return Ok(answer);
        }
        if global.json {
            let line = serde_json::json!({ "schema": "pawang.progress/1", "data": [answer] });
            output::data(&format!("{line}\n"))?;
        } else {
            tell(&answer)?;
        }
        older = facts;
    }
}

async fn look(
    observer: &mut Observer,
    catalog: &Catalog,
    job: &Job,
    questions: &[Question],
) -> Facts {
    let collectors: BTreeSet<String> = NEEDS.iter().map(|name| (*name).to_owned()).collect();
    observer
        .look(&Request {
            instance: &job.instance,
            target: &job.target,
            purpose: "progress",
            catalog,
            collectors: &collectors,
            questions,
            databases: &[],
            pgbouncer: None,
            patroni: None,
            host: HostRequest::default(),
            backups: &[],
            now: environment::now(),
        })
        .await
}

/// Returns one question per database for the names of the relations that are worked on; it locks none of them.
fn names(all: &[Running]) -> Vec<Question> {
    let mut wanted: BTreeMap<&str, BTreeSet<u32>> = BTreeMap::new();
    for one in all {
        if let (Some(database), Some(oid)) = (&one.database, one.relation_oid) {
            wanted.entry(database).or_default().insert(oid);
        }
    }
    let column = |name: &str, kind| Column {
        name: name.to_owned(),
        kind,
        unit: None,
    };
    let question = |(database, oids): (&str, BTreeSet<u32>)| {
        let oids: Vec<String> = oids.iter().take(NAMES_MAX).map(u32::to_string).collect();
        Question {
            name: format!("names:{database}"),
            database: Some(database.to_owned()),
            sql: format!(
                "SELECT c.oid::bigint, n.nspname::text, c.relname::text FROM pg_catalog.pg_class AS c \
                 JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid IN ({})",
                oids.join(", ")
            ),
            columns: [
                column("oid", ColumnKind::Label),
                column("schema", ColumnKind::Info),
                column("name", ColumnKind::Info),
            ]
            .into(),
            constants: Vec::new(),
            timeout: NAMES_TIMEOUT,
        }
    };
    wanted.into_iter().map(question).collect()
}

fn answer(facts: &Facts, older: Option<&Facts>) -> Answer {
    let mut unseen = Vec::new();
    match &facts.server {
        Err(blind) => unseen.push(format!("{}; {}", blind.sentence(), blind.remedy())),
        Ok(server) if !server.superuser && !server.monitor => unseen.push(format!(
            "what sessions of other roles do cannot be seen; GRANT pg_monitor TO {}",
            pawang_core::relation::identifier(&server.user)
        )),
        Ok(_) => {}
    }
    let named = running(facts, older).into_iter().map(|running| Named {
        relation: relation(facts, &running),
        percent: running.percent(),
        running,
    });
    Answer {
        instance: facts.instance.name.clone(),
        running: named.collect(),
        unseen,
    }
}

fn relation(facts: &Facts, one: &Running) -> Option<String> {
    let (database, oid) = (one.database.as_ref()?, one.relation_oid?);
    let snapshot = facts.snapshot(&format!("names:{database}"), None).ok();
    let row = snapshot.and_then(|names| {
        names
            .rows()
            .find(|row| row.int("oid") == Some(i64::from(oid)))
    });
    let name = row.and_then(|row| Some(format!("{}.{}", row.text("schema")?, row.text("name")?)));
    Some(name.unwrap_or_else(|| format!("oid {oid}")))
}

fn tell(answer: &Answer) -> Result<(), Report> {
    for why in &answer.unseen {
        output::talk(&format!("{}: {why}", answer.instance));
    }
    if answer.running.is_empty() {
        // Nothing is said of what was not seen.
        if answer.unseen.is_empty() {
            let instance = &answer.instance;
            output::talk(&format!(
                "{instance}: nothing that reports its progress runs"
            ));
        }
        return Ok(());
    }
    let mut grid = Grid::new(&[
        "pid>",
        "command",
        "database",
        "relation",
        "phase",
        "done>",
        "of>",
        "percent>",
        "rate>",
        "left>",
        "running>",
        "waits for",
        "by",
        "detail",
    ]);
    for named in &answer.running {
        grid.row(cells(named));
    }
    output::data(&grid.text())
}

fn cells(named: &Named) -> Vec<String> {
    let one = &named.running;
    let dash = || "-".to_owned();
    let amount = |value: f64| match one.unit {
        "bytes" => ByteSize(value.max(0.0) as u64).to_string(),
        _ => format!("{value:.0}"),
    };
    let seconds = |value: f64| pawang_core::Unit::Seconds.show(value);
    let by: Vec<&str> = [one.user.as_deref(), one.application.as_deref()]
        .into_iter()
        .flatten()
        .collect();
    let detail = |(name, value): &(&'static str, f64)| match name.ends_with("bytes") {
        true => format!("{name} {}", ByteSize(value.max(0.0) as u64)),
        false => format!("{name} {value:.0}"),
    };
    let details: Vec<String> = one.detail.iter().map(detail).collect();
    vec![
        one.pid.to_string(),
        one.command.clone(),
        one.database.clone().unwrap_or_else(dash),
        named.relation.clone().unwrap_or_else(dash),
        one.phase.clone(),
        one.done.map_or_else(dash, amount),
        one.total.map_or_else(dash, |total| match one.unit {
            "bytes" => amount(total),
            unit => format!("{total:.0} {unit}"),
        }),
        named
            .percent
            .map_or_else(dash, |percent| format!("{percent:.1} %")),
        one.rate
            .map_or_else(dash, |rate| format!("{}/s", amount(rate))),
        one.left
            .map_or_else(dash, |left| seconds(left.as_secs_f64())),
        one.seconds.map_or_else(dash, seconds),
        one.waits_for.clone().unwrap_or_else(dash),
        by.join(" "),
        details.join(", "),
    ]
}
