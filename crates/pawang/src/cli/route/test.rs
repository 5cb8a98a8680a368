//! `pawang route test`: what would become of a finding: who is told, when, why, and what would keep it quiet.

use std::fmt::Write;
use std::sync::Arc;

use jiff::tz::TimeZone;
use pawang_alert::book::{Book, Explanation, Question, Subject, Way};
use pawang_alert::replay::length;
use pawang_alert::rule::OWN_CHECKS;
use pawang_core::alert::{Recipient, Saved};
use pawang_core::{Kind, Level, Report, Timestamp};
use serde_json::{Value, json};

use crate::cli::Global;
use crate::cli::account::state;
use crate::cli::alert::order;
use crate::cli::rule::show;
use crate::daemon::subject_of;
use crate::estate::{Estate, told};
use crate::output::{self, Exit};
use crate::{environment, when};

/// Show who would be told of a finding, when and why; exit code 1 when it would be nobody
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Id of a check, or a name that other tools have for it
    #[arg(long, value_name = "CHECK")]
    finding: String,
    /// How bad it is
    #[arg(long, value_enum, default_value_t = Bad::Critical)]
    level: Bad,
    /// The object that it is about
    #[arg(long, value_name = "OBJECT", default_value = "")]
    object: String,
    /// The database of the object
    #[arg(long, value_name = "NAME")]
    database: Option<String>,
    /// When it comes, such as 03:00 or "2026-12-24 03:00", instead of now
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Bad {
    Warning,
    Critical,
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    let estate = Estate::load(global.config.as_deref()).map_err(told)?;
    let setup = Arc::new(order::setup(&estate)?);
    let check = show::check(&estate, &args.finding)?;
    show::instance(&estate, global)?;
    // What Pawang says about itself belongs to no instance, and is always waited for.
    let own = OWN_CHECKS.contains(&check.as_str());
    let subject = match estate.jobs(&global.instances, None)?.first() {
        Some(job) if !global.instances.is_empty() => subject_of(job, None, &setup),
        _ if estate.config.instances.len() > 1 && !own => {
            return Err(whose(&estate, &check));
        }
        Some(job) if !own => subject_of(job, None, &setup),
        _ => Subject {
            production: own || setup.all_production,
            ..Subject::default()
        },
    };
    let now = environment::now();
    let at = args
        .at
        .as_deref()
        .map(|at| when::coming(at, now, &TimeZone::system()));
    let at = at.transpose()?.unwrap_or(now);
    let saved = match state::open_to_read(global)? {
        Some(state) => state.saved_alerts().map_err(|error| error.report())?,
        None => Saved::default(),
    };
    let question = Question {
        check,
        level: match args.level {
            Bad::Warning => Level::Warning,
            Bad::Critical => Level::Critical,
        },
        object: args.object.clone(),
        database: args.database.clone(),
        subject,
    };
    let explanation = Book::new(setup, saved, now).explain(&question, at);
    if global.json {
        output::json("pawang.route.test/1", &value(&question, &explanation, at))?;
    } else {
        output::data(&text(&question, &explanation, at))?;
    }
    let somebody = explanation.ways.iter().flat_map(|way| &way.steps);
    let somebody = somebody.flat_map(|step| &step.recipients).next().is_some();
    Ok(if somebody && explanation.enabled {
        Exit::Good
    } else {
        Exit::Answer
    })
}

/// Refuses to answer for no instance in particular where they may differ.
fn whose(estate: &Estate, check: &str) -> Report {
    let first = estate.config.instances.first();
    let first = first.map_or("NAME", |instance| instance.name.as_str());
    Report::new(
        Kind::Usage,
        "cannot tell without an instance who would be told",
    )
    .with_detail("priority and routes are those of the instance")
    .with_hint(format!("pawang route test --finding {check} -i {first}"))
}

fn value(question: &Question, found: &Explanation, at: Timestamp) -> Value {
    let ways: Vec<Value> = found
        .ways
        .iter()
        .map(|way| {
            let steps: Vec<Value> = way
                .steps
                .iter()
                .map(|step| {
                    json!({
                        "step": step.step, "round": step.round, "at": step.at,
                        "recipients": step.recipients, "notes": step.notes,
                    })
                })
                .collect();
            json!({ "route": way.route, "policy": way.policy, "group": way.group, "steps": steps })
        })
        .collect();
    let mutes: Vec<Value> = found
        .mutes
        .iter()
        .map(|(mute, words)| json!({ "mute": mute, "words": words }))
        .collect();
    json!({
        "check": question.check,
        "level": question.level,
        "at": at,
        "labels": found.labels,
        "priority": found.priority,
        "alert": found.enabled,
        "for_seconds": found.lasts.as_secs_f64(),
        "samples": [found.samples.0, found.samples.1],
        "ways": ways,
        "mutes": mutes,
    })
}

fn text(question: &Question, found: &Explanation, at: Timestamp) -> String {
    let mut out = String::new();
    let _ = writeln!(
        out,
        "{} {}, {at:.0}\n",
        question.level,
        [question.check.as_str(), question.subject.name.as_str()]
            .join(" ")
            .trim_end()
    );
    if !found.enabled {
        let _ = writeln!(
            out,
            "It does not become an alert: pawang rule show {}",
            question.check
        );
        return out;
    }
    let labels: Vec<String> = found
        .labels
        .iter()
        .map(|(k, v)| format!("{k}={v:?}"))
        .collect();
    let (bad, of) = found.samples;
    let _ = writeln!(out, "Priority  {}", found.priority);
    let _ = writeln!(
        out,
        "Fires     after {}, {bad} of {of} samples",
        length(found.lasts)
    );
    let _ = writeln!(out, "Labels    {}", labels.join(" "));
    for (_, words) in &found.mutes {
        let _ = writeln!(out, "Muted     {words}");
    }
    if found.ways.is_empty() {
        let _ = writeln!(out, "\nno route matches: nobody is told");
    }
    found.ways.iter().for_each(|way| tell(&mut out, way, at));
    out
}

fn tell(out: &mut String, way: &Way, at: Timestamp) {
    let policy = way
        .policy
        .as_ref()
        .map(|policy| format!(", policy \"{policy}\""));
    let group: Vec<String> = way
        .group
        .iter()
        .map(|(k, v)| format!("{k}={v:?}"))
        .collect();
    let _ = writeln!(
        out,
        "\nroute \"{}\"{}, told together by {}",
        way.route,
        policy.unwrap_or_default(),
        if group.is_empty() {
            "nothing: all in one".to_owned()
        } else {
            group.join(" ")
        }
    );
    for step in &way.steps {
        let after = std::time::Duration::try_from(step.at.duration_since(at)).unwrap_or_default();
        let who: Vec<String> = step.recipients.iter().map(recipient).collect();
        let who = if who.is_empty() {
            "nobody".to_owned()
        } else {
            who.join(", ")
        };
        let _ = writeln!(out, "  {:.0}  after {:<8}  {who}", step.at, length(after));
        for note in &step.notes {
            let _ = writeln!(out, "    note: {note}");
        }
    }
}

fn recipient(recipient: &Recipient) -> String {
    match &recipient.address {
        Some(address) => format!("{} <{address}>", recipient.key()),
        None => recipient.key(),
    }
}
