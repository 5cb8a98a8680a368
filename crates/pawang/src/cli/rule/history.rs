//! `pawang rule test --history`: what the daemon remembers, judged and replayed again with the rules of today.

use std::collections::BTreeMap;
use std::sync::Arc;

use pawang_alert::book::Subject;
use pawang_alert::replay::{Fired, Replay};
use pawang_alert::setup::Setup as Alerts;
use pawang_check::evaluate_all;
use pawang_core::{Facts, Kind, Report, Timestamp};
use serde_json::json;

use crate::cli::Global;
use crate::cli::history::{self, History};
use crate::daemon::{Rates, Setup, subject_of};
use crate::environment;
use crate::estate::{CommandLimits, Limited, told};
use crate::grid::Grid;
use crate::output::{self, Exit};
use crate::when;

/// Looks that one replay takes at most, over all instances.
const LOOKS_MAX: i64 = 50_000;

/// Which part of the history is replayed.
#[derive(Debug, clap::Args)]
pub(super) struct Span {
    /// From when on: a length of time such as 24h, or an instant such as "yesterday 03:00"
    #[arg(long, value_name = "TIME", default_value = "24h")]
    from: String,
    /// Until when
    #[arg(long, value_name = "TIME", default_value = "now")]
    to: String,
    /// How often to look; the daemon itself looks every 10 s
    #[arg(long, value_name = "TIME", default_value = "1min")]
    every: String,
}

/// Runs the command.
pub(super) fn run(span: &Span, alerts: &Arc<Alerts>, global: &Global) -> Result<Exit, Report> {
    let history = History::open(global)?;
    let mut times = history::span(&span.from, &span.to)?;
    let every = when::length(&span.every)?;
    let instances = history.instances(global)?;
    // Nothing is known before the history begins.
    let begun = instances.iter().map(|name| history.reader.extent(name));
    let begun: Result<Vec<_>, _> = begun.collect();
    let begun = begun.map_err(|error| error.report())?;
    let begun = begun.into_iter().flatten().map(|known| known.from).min();
    times.from = times.from.max(begun.unwrap_or(times.from));
    let setup = Setup::read(global.config.as_deref(), &[], environment::now()).map_err(told)?;
    let looks = times.to.duration_since(times.from).as_secs() / every.as_secs().max(1);
    let looks = looks.saturating_mul(i64::try_from(instances.len()).unwrap_or(i64::MAX));
    if looks > LOOKS_MAX || every.as_secs() < 1 {
        return Err(Report::new(Kind::Usage, "cannot replay so much at once")
            .with_detail(format!("{looks} looks of at most {LOOKS_MAX}"))
            .with_hint("pawang rule test --history --every 5min"));
    }
    let mut replay = Replay::new(Arc::clone(alerts), times.from);
    let mut rates: BTreeMap<String, Rates> = BTreeMap::new();
    let (mut at, mut seen) = (times.from, 0_u64);
    while at <= times.to {
        for instance in &instances {
            let facts = history.reader.facts_at(instance, at);
            let Some(mut facts) = facts.map_err(|error| error.report())? else {
                continue;
            };
            facts.at = at;
            seen += 1;
            let rates = rates.entry(instance.clone()).or_default();
            look(&setup, alerts, &mut replay, rates, &facts);
        }
        replay.advance(at);
        let Ok(next) = at.checked_add(every) else {
            break;
        };
        at = next;
    }
    if seen == 0 {
        return Err(
            Report::new(Kind::Answer, "there is no history of that time")
                .with_detail(format!("from {} to {}", times.from, times.to))
                .with_hint("pawang history list"),
        );
    }
    tell(&replay, times.from, times.to, global)
}

/// Judges what was known of an instance at one time.
fn look(setup: &Setup, alerts: &Alerts, replay: &mut Replay, rates: &mut Rates, facts: &Facts) {
    let own = setup.estate.user_checks();
    let policy = Limited {
        config: &setup.estate.config,
        instance: &facts.instance,
        known: &setup.known,
        limits: CommandLimits::default(),
    };
    let older = rates.older(facts, &setup.catalog);
    let evaluation = evaluate_all(&setup.checks(&own), facts, older.as_ref(), &policy);
    rates.absorb(facts, &setup.catalog);
    let name = &facts.instance.name;
    let identity = facts.server.as_ref().ok();
    let identity = identity.map(|server| (server.epoch.system_identifier, server.role));
    let subject = match setup.jobs.get(name) {
        Some(job) => subject_of(job, identity, alerts),
        None => Subject {
            name: name.clone(),
            group: facts.instance.group.clone(),
            ..Subject::default()
        },
    };
    replay.judged(Arc::new(evaluation), None, Arc::new(subject));
}

fn tell(replay: &Replay, from: Timestamp, to: Timestamp, global: &Global) -> Result<Exit, Report> {
    let fired = replay.fired();
    if global.json {
        let messages: Vec<_> = replay
            .messages()
            .iter()
            .map(|m| json!({ "at": m.created_at, "to": m.recipient.key(), "subject": m.subject }))
            .collect();
        let data = json!({ "from": from, "to": to, "fired": fired, "messages": messages });
        output::json("pawang.rule.history/1", &data)?;
        return Ok(Exit::Good);
    }
    if !fired.is_empty() || !output::terminal() {
        output::data(&table(fired))?;
    }
    if global.verbose > 0 {
        for message in replay.messages() {
            let who = message.recipient.key();
            output::talk(&format!(
                "{:.0}  to {who}: {}",
                message.created_at, message.subject
            ));
        }
    }
    if !global.quiet {
        output::talk(&format!(
            "{} alerts and {} messages from {from:.0} to {to:.0}; nobody was told anything",
            fired.len(),
            replay.messages().len()
        ));
    }
    Ok(Exit::Good)
}

fn table(fired: &[Fired]) -> String {
    let mut grid = Grid::new(&[
        "fired", "over", "priority", "level", "check", "instance", "object", "told", "what",
    ]);
    for fired in fired {
        let told: Vec<&str> = fired.told.iter().map(String::as_str).collect();
        let object = match &fired.database {
            Some(database) => format!("{database}/{}", fired.object),
            None => fired.object.clone(),
        };
        grid.row(vec![
            format!("{:.0}", fired.at),
            fired
                .over_at
                .map_or_else(String::new, |at| format!("{at:.0}")),
            fired.priority.to_string(),
            fired.level.to_string(),
            fired.check.clone(),
            fired.instance.clone(),
            object,
            told.join(" "),
            fired.title.clone(),
        ]);
    }
    grid.text()
}
