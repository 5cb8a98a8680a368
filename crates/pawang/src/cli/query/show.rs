//! `pawang query show`: one statement, hour by hour from the history, or as the server counts it now.

use jiff::tz::TimeZone;
use pawang_core::{Kind, Report, Timestamp};
use pawang_logs::looks::Entry;
use pawang_logs::regression::Hour;
use pawang_logs::regression::history::{Slower, hours, slower};
use pawang_store::history::Rows;
use serde::Serialize;

use super::live::{self, Answered, Asked, Seen};
use super::regressions::{causes, everything, kept};
use super::{blocks, from_history, milliseconds};
use crate::cli::Global;
use crate::cli::history::{History, span};
use crate::each::each;
use crate::environment;
use crate::estate::{Estate, told};
use crate::grid::Grid;
use crate::output::{self, Exit};

/// Newest hours in which it is judged at most whether the statement became slower.
const JUDGED_HOURS_MAX: i64 = 168;

/// Show one statement: its text, and what its calls did hour by hour
///
/// From the history that `pawang serve` keeps, with the causes when it became slower since --since; where there is none,
/// or with --for or --total, the server is asked now.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// PostgreSQL's query identifier, as `pawang query top` shows it
    #[arg(value_name = "QUERY ID", allow_hyphen_values = true)]
    queryid: i64,
    /// A server to ask now, instead of -i
    #[arg(value_name = "URL", conflicts_with = "instances")]
    url: Option<String>,
    #[command(flatten)]
    asked: Asked,
    /// How far back in the history: a length of time such as 1h or 7d, or an instant such as 03:12 [default: 24h]
    #[arg(long, value_name = "TIME", conflicts_with_all = ["length", "total", "url"])]
    since: Option<String>,
    /// Until when
    #[arg(long, default_value = "now", value_name = "TIME")]
    until: String,
}

#[derive(Serialize)]
struct Answer {
    instance: String,
    queryid: String,
    text: Option<String>,
    hours: Vec<Line>,
    /// How much slower it became since --since, and why; nothing when it did not, or when the server was asked.
    slower: Option<Slower>,
    /// What the server counts now; absent for what the history holds.
    live: Option<Live>,
}

/// The text of a statement, and what each server or its history says of it.
type Found = (Option<String>, Vec<Answer>);

/// One statement as the server counts it, by database, role and nesting.
#[derive(Serialize)]
struct Live {
    /// What was done between two looks.
    growth: Vec<Entry>,
    /// What was done since the last reset.
    total: Vec<Entry>,
    /// How the server was asked.
    seen: Seen,
}

#[derive(Serialize)]
struct Line {
    at: Timestamp,
    calls: f64,
    total_ms: f64,
    rows: f64,
    hit_blocks: f64,
    read_blocks: f64,
    temp_blocks: f64,
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    let live = args.asked.wanted() || args.url.is_some();
    let history = match live {
        true => None,
        false => from_history(global, args.since.is_some())?,
    };
    let (text, answers) = match history {
        Some((history, instances)) => remembered(args, &history, instances)?,
        None => match now(args, global)? {
            Some(found) => found,
            None => return Ok(Exit::Interrupted),
        },
    };
    if global.json {
        output::json("pawang.query.show/1", &answers)?;
        return Ok(Exit::Good);
    }
    output::data(&format!(
        "{}\n",
        text.as_deref().unwrap_or("(the text is not known)")
    ))?;
    for answer in &answers {
        match &answer.live {
            Some(live) => {
                output::data(&format!("\n{}\n{}", answer.instance, counted(live)))?;
                let notes = live.seen.notes().iter();
                notes.for_each(|note| output::talk(&format!("{}: {note}", answer.instance)));
            }
            None => {
                output::data(&format!("\n{}\n{}", answer.instance, table(&answer.hours)))?;
                if let Some(slower) = &answer.slower {
                    output::data(&why(slower))?;
                }
            }
        }
    }
    Ok(Exit::Good)
}

fn remembered(args: &Args, history: &History, instances: Vec<String>) -> Result<Found, Report> {
    let span = span(args.since.as_deref().unwrap_or("24h"), &args.until)?;
    let queryid = args.queryid.to_string();
    let text = history
        .reader
        .text(args.queryid)
        .map_err(|error| error.report())?;
    let mut answers = Vec::new();
    for instance in instances {
        let found =
            hours(&history.reader, &instance, Rows::All, span).map_err(|error| error.report())?;
        if let Some(found) = found.get(&queryid) {
            let judged = (environment::now().as_second() - span.from.as_second()) / 3_600;
            let judged = judged.clamp(1, JUDGED_HOURS_MAX);
            let slower = regressed(history, &instance, &queryid, judged)?;
            answers.push(Answer {
                instance,
                queryid: queryid.clone(),
                text: text.clone(),
                hours: found.iter().map(line).collect(),
                slower,
                live: None,
            });
        }
    }
    if answers.is_empty() && text.is_none() {
        let what = format!("there is no history of query {queryid}");
        return Err(Report::new(Kind::Answer, what).with_hint("pawang query top --since 7d"));
    }
    Ok((text, answers))
}

/// Returns how a statement became slower within the newest hours, if it did.
fn regressed(
    history: &History,
    instance: &str,
    queryid: &str,
    judged: i64,
) -> Result<Option<Slower>, Report> {
    let log = |hours| kept(history, instance, hours);
    let found = slower(&history.reader, &everything(instance, judged), log);
    let found = found.map_err(|error| error.report())?;
    Ok(found
        .slower
        .into_iter()
        .find(|slower| slower.queryid == queryid))
}

/// Says that it became slower, since when, and why.
fn why(slower: &Slower) -> String {
    let (found, zone) = (&slower.regression, TimeZone::system());
    let since = slower.since.to_zoned(zone.clone());
    let causes = causes(found, &zone);
    format!(
        "\nx{:.1} slower per call since {}: {} before, {} now\n  {}\n",
        found.ratio,
        since.strftime("%Y-%m-%d %H:%M"),
        milliseconds(found.before_ms),
        milliseconds(found.now_ms),
        causes.join("\n  ")
    )
}

/// Asks the servers; `None` when a signal came first.
fn now(args: &Args, global: &Global) -> Result<Option<Found>, Report> {
    let between = args.asked.between()?;
    let estate = Estate::load(global.config.as_deref()).map_err(told)?;
    let jobs = estate.jobs(&global.instances, args.url.as_deref())?;
    let asked = each(&estate, &jobs, async |job| {
        let answered = live::ask(&job.target, between, Some(args.queryid)).await;
        (job.instance.name.clone(), answered)
    })?;
    let Some(asked) = asked else {
        return Ok(None);
    };
    let (mut text, mut answers, mut silent) = (None, Vec::new(), None);
    for (instance, answered) in asked {
        let Answered {
            growth,
            total,
            mut texts,
            seen,
        } = match answered {
            Ok(answered) => answered,
            Err(report) => {
                silent = Some(report);
                continue;
            }
        };
        let own = texts.remove(&args.queryid);
        let (growth, total) = match total {
            Some(total) => (growth.entries, total.entries),
            None => (Vec::new(), growth.entries),
        };
        if total.is_empty() && growth.is_empty() {
            continue;
        }
        text = text.or_else(|| own.clone());
        answers.push(Answer {
            instance,
            queryid: args.queryid.to_string(),
            text: own,
            hours: Vec::new(),
            slower: None,
            live: Some(Live {
                growth,
                total,
                seen,
            }),
        });
    }
    match silent {
        Some(report) => Err(report),
        None if answers.is_empty() => Err(Report::new(
            Kind::Answer,
            format!("the server counts no query {}", args.queryid),
        )
        .with_hint("pawang query top --total")),
        None => Ok(Some((text, answers))),
    }
}

fn counted(live: &Live) -> String {
    let mut grid = Grid::new(&[
        "counted",
        "database",
        "role",
        "nested",
        "calls>",
        "time>",
        "per call>",
        "rows>",
        "hit>",
        "read>",
        "temp>",
    ]);
    let spans = [
        ("between looks", &live.growth),
        ("since reset", &live.total),
    ];
    for (span, entries) in spans {
        for entry in entries {
            let sums = &entry.counters;
            grid.row(vec![
                span.to_owned(),
                entry.database.clone(),
                entry.role.clone(),
                if entry.key.toplevel { "no" } else { "yes" }.to_owned(),
                format!("{:.0}", sums.calls),
                milliseconds(sums.total_ms),
                milliseconds(sums.total_ms / sums.calls.max(1.0)),
                format!("{:.0}", sums.rows),
                blocks(sums.hit),
                blocks(sums.read),
                blocks(sums.temp),
            ]);
        }
    }
    grid.text()
}

fn line(hour: &Hour) -> Line {
    Line {
        at: Timestamp::from_second(hour.hour * 3_600).unwrap_or(Timestamp::UNIX_EPOCH),
        calls: hour.calls,
        total_ms: hour.total_ms,
        rows: hour.rows,
        hit_blocks: hour.hit,
        read_blocks: hour.read,
        temp_blocks: hour.temp,
    }
}

fn table(lines: &[Line]) -> String {
    let zone = TimeZone::system();
    let mut grid = Grid::new(&[
        "hour",
        "calls>",
        "time>",
        "per call>",
        "rows>",
        "hit>",
        "read>",
        "temp>",
    ]);
    for line in lines {
        let mean = if line.calls > 0.0 {
            milliseconds(line.total_ms / line.calls)
        } else {
            "-".to_owned()
        };
        grid.row(vec![
            line.at
                .to_zoned(zone.clone())
                .strftime("%Y-%m-%d %H:%M")
                .to_string(),
            format!("{:.0}", line.calls),
            milliseconds(line.total_ms),
            mean,
            format!("{:.0}", line.rows),
            blocks(line.hit_blocks),
            blocks(line.read_blocks),
            blocks(line.temp_blocks),
        ]);
    }
    grid.text()
}
