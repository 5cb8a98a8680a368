//! One run of `pawang check`: choose, observe all servers side by side, judge, tell.

use std::collections::BTreeSet;
use std::path::PathBuf;

use pawang_check::{CHECKS, Check, Group, evaluate_all};
use pawang_collect::{Catalog, HostRequest, Request, observe};
use pawang_config::{KnownCheck, Quantity};
use pawang_core::backup::{BackupFacts, OtherDrill};
use pawang_core::{Evaluation, Facts, Kind, Level, Outcome, Report, Server, Unit};
use pawang_store::{Sample, Store};

use super::{FailOn, Run, show};
use crate::cli::Global;
use crate::each::each;
use crate::elsewhere::Drills;
use crate::estate::{
    CommandLimits, Estate, Job, Limited, known, known_checks, nearest_check, told,
};
use crate::output::{self, Exit};
use crate::{alias, environment, profile, repositories};

/// A sample is kept until it is this old, so that runs in quick succession do not shorten the time that rates span to
/// nothing.
const SAMPLE_SECONDS_MIN: i64 = 10;

/// Everything that the judging of one server needs.
struct Plan<'a> {
    estate: &'a Estate,
    catalog: Catalog,
    checks: Vec<&'a Check<'a>>,
    known: Vec<KnownCheck>,
    limits: CommandLimits,
    profile: Option<&'a str>,
    state: Option<PathBuf>,
}

/// Runs the command.
pub(super) fn run(args: &Run, global: &Global) -> Result<Exit, Report> {
    let (url, names) = split(&args.targets)?;
    if let (Some(_), [name, ..]) = (url, global.instances.as_slice()) {
        let report = Report::new(Kind::Usage, "cannot judge a URL and instances in one run");
        return Err(report.with_hint(format!("pawang check -i {name}")));
    }
    let estate = Estate::load(global.config.as_deref()).map_err(told)?;
    let user_checks = estate.user_checks();
    let profile = args.profile.as_deref().or(match &args.operations_log {
        _ if !names.is_empty() => None,
        // The page asks what the daily checks answer.
        Some(_) => Some("daily"),
        None => estate.config.defaults.profile.as_deref(),
    });
    let checks = choose(&names, profile, &user_checks)?;
    let limits = limits(args, &names, &checks)?;
    let mut known_all = known_checks();
    known_all.extend(user_checks.iter().map(known));
    let plan = Plan {
        catalog: estate.catalog()?,
        checks,
        known: known_all,
        limits,
        profile,
        state: if args.no_state {
            None
        } else {
            estate.state_directory()
        },
        estate: &estate,
    };
    let jobs = estate.jobs(&global.instances, url)?;
    if let (Some(_), [first, _, ..]) = (&args.operations_log, jobs.as_slice()) {
        let report = Report::new(
            Kind::Usage,
            "cannot write one operations log for several instances",
        );
        let name = &first.instance.name;
        return Err(report.with_hint(format!("pawang check -i {name} --operations-log FILE")));
    }
    let Some(evaluations) = each(&estate, &jobs, async |job| plan.judge(job).await)? else {
        output::talk("interrupted: nothing was written");
        return Ok(Exit::Interrupted);
    };
    let plugin = show::show(args, global, &evaluations)?;
    Ok(plugin.unwrap_or_else(|| exit(args, &evaluations)))
}

/// Tells the URL from the names of checks.
fn split(targets: &[String]) -> Result<(Option<&str>, Vec<&str>), Report> {
    let is_url = |target: &&String| target.contains("://") || target.contains('=');
    let urls: Vec<&str> = targets.iter().filter(is_url).map(String::as_str).collect();
    let names = targets
        .iter()
        .filter(|target| !is_url(target))
        .map(String::as_str)
        .collect();
    match urls.as_slice() {
        [] => Ok((None, names)),
        [url] => Ok((Some(url), names)),
        _ => Err(
            Report::new(Kind::Usage, "cannot judge several URLs in one run")
                .with_hint("list the servers in pawang.toml (pawang init) and use -i"),
        ),
    }
}

/// Returns the checks of the names (ids, groups, names of other plugins), else of the profile, else all.
fn choose<'a>(
    names: &[&str],
    profile: Option<&str>,
    user: &'a [Check<'a>],
) -> Result<Vec<&'a Check<'a>>, Report> {
    let mut chosen: Vec<&'a Check<'a>> = Vec::new();
    for name in names {
        let own = user.iter().filter(|check| check.id == *name);
        let found: Vec<&'a Check<'a>> = match (pawang_check::find(name), alias::checks(name)) {
            (Some(check), _) => vec![check],
            (None, Some(ids)) => ids.iter().filter_map(|id| pawang_check::find(id)).collect(),
            (None, None) => own.chain(pawang_check::of_group(name)).collect(),
        };
        if found.is_empty() {
            let report = Report::new(Kind::Usage, format!("there is no check \"{name}\""));
            return Err(match nearest_check(name) {
                Some(nearest) => report.with_hint(format!("pawang check {nearest}")),
                None => report.with_hint("pawang check list"),
            });
        }
        chosen.extend(found);
    }
    match (names.is_empty(), profile) {
        (true, Some(name)) => chosen.extend(profile::checks(name)?),
        (true, None) => {
            chosen.extend(CHECKS.iter().copied());
            chosen.extend(user);
        }
        (false, Some(name)) => {
            let more = profile::checks(name)?;
            chosen.extend(more);
        }
        (false, None) => {}
    }
    let mut seen = BTreeSet::new();
    chosen.retain(|check| seen.insert(check.id));
    Ok(chosen)
}

/// Reads `-w` and `-c`; a number without unit counts in the unit of each named check.
fn limits(args: &Run, names: &[&str], checks: &[&Check<'_>]) -> Result<CommandLimits, Report> {
    if args.warning.is_none() && args.critical.is_none() {
        return Ok(CommandLimits::default());
    }
    if names.is_empty() {
        return Err(
            Report::new(Kind::Usage, "-w and -c need the names of checks")
                .with_hint("pawang check connections -w 80 -c 90"),
        );
    }
    let read = |text: &Option<String>| text.as_deref().map(|text| limit(text, checks)).transpose();
    let limits = CommandLimits {
        warning: read(&args.warning)?,
        critical: read(&args.critical)?,
    };
    for check in checks {
        if check.unit == Unit::State {
            let report = Report::new(
                Kind::Usage,
                format!("check \"{}\" has no limits to change", check.id),
            );
            return Err(report.with_hint(format!("pawang explain {}", check.id)));
        }
        let own = limits.of(check.unit);
        let (Some(warning), Some(critical)) = (own.warning, own.critical) else {
            continue;
        };
        let ordered = match check.direction {
            pawang_check::Direction::Above => warning <= critical,
            pawang_check::Direction::Below => warning >= critical,
        };
        if !ordered {
            let detail = format!(
                "of \"{}\", {critical} would be reached before {warning}",
                check.id
            );
            return Err(Report::new(
                Kind::Usage,
                "cannot use a critical limit on the good side of the warning limit",
            )
            .with_detail(detail)
            .with_hint(format!("pawang explain {}", check.id)));
        }
    }
    Ok(limits)
}

/// Reads one limit; it must fit the unit of every named check.
fn limit(text: &str, checks: &[&Check<'_>]) -> Result<Quantity, Report> {
    let wrong = |detail: String| {
        let example = checks.first().map_or("connections", |check| check.id);
        Report::new(Kind::Usage, format!("cannot use \"{text}\" as a limit"))
            .with_detail(detail)
            .with_hint(format!("pawang explain {example}"))
    };
    let quantity = text.parse::<Quantity>().map_err(wrong)?;
    for check in checks {
        let own = quantity
            .in_unit(check.unit)
            .map_err(|error| wrong(format!("check \"{}\": {error}", check.id)))?;
        let percent = check.unit == Unit::Percent;
        if own.is_some_and(|own| own < 0.0 || (percent && own > 100.0)) {
            let range = if percent { "0 to 100 %" } else { "from 0 up" };
            return Err(wrong(format!("check \"{}\" measures {range}", check.id)));
        }
    }
    Ok(quantity)
}

impl Plan<'_> {
    /// Observes and judges one server; whatever fails is in the evaluation.
    async fn judge(&self, job: &Job) -> Evaluation {
        let mut notes = Vec::new();
        let sample = self.earlier(job, &mut notes);
        let collectors: BTreeSet<String> = self
            .checks
            .iter()
            .flat_map(|check| check.needs)
            .map(|name| (*name).to_owned())
            .collect();
        let questions = job.questions(&self.estate.config.user_checks);
        let remembered = sample.as_ref();
        let host = HostRequest {
            data_directory: job
                .config
                .data_directory
                .clone()
                .or(remembered.and_then(|s| s.data_directory.clone())),
            log_directory: job
                .config
                .log_directory
                .clone()
                .or(remembered.and_then(|s| s.log_directory.clone())),
            environment_data_directory: environment::variable("PGDATA").map(PathBuf::from),
            ..HostRequest::default()
        };
        let databases = job.config.databases.clone().unwrap_or_default();
        let request = Request {
            instance: &job.instance,
            target: &job.target,
            purpose: "check",
            catalog: &self.catalog,
            collectors: &collectors,
            questions: &questions,
            databases: &databases,
            pgbouncer: job.pgbouncer.as_ref(),
            patroni: job.config.patroni.as_ref().map(|url| url.reveal().as_str()),
            host,
            backups: &job.backups(),
            now: environment::now(),
        };
        let mut facts = observe(&request).await;
        self.repositories(job, &mut facts).await;
        let older = sample.as_ref().map(|sample| &sample.facts);
        let policy = Limited {
            config: &self.estate.config,
            instance: &job.instance,
            known: &self.known,
            limits: self.limits,
        };
        let mut evaluation = evaluate_all(&self.checks, &facts, older, &policy);
        evaluation.profile = self.profile.map(str::to_owned);
        evaluation.notes.append(&mut notes);
        self.keep(facts, sample.as_ref(), &mut evaluation);
        evaluation
    }

    /// Looks into the repositories of an instance, when a check of backups was chosen.
    async fn repositories(&self, job: &Job, facts: &mut Facts) {
        if !self.checks.iter().any(|check| check.group == Group::Backup) {
            return;
        }
        let config = &self.estate.config;
        let settings = config.backup_settings(&job.config);
        let server = facts.server.as_ref().ok();
        let mut known = BackupFacts {
            promise: repositories::promise(&settings),
            ..BackupFacts::default()
        };
        if !settings.repositories.is_empty() {
            let looked = repositories::look_once(config, job, server, facts.at).await;
            known = looked.unwrap_or(known);
        }
        known.others = self.drilled_elsewhere(server);
        facts.sightings.extend(known.sightings());
    }

    /// Returns what drills of other tools' backups proved, as far as there is a journal.
    fn drilled_elsewhere(&self, server: Option<&Server>) -> Vec<OtherDrill> {
        let (Some(server), Some(directory)) = (server, self.estate.data_directory()) else {
            return Vec::new();
        };
        let Ok(state) = Store::open_state_to_read(&directory) else {
            return Vec::new();
        };
        let mut known = Drills::default();
        let read = known.read_on(&state);
        if let Err(error) = read {
            output::talk(&error.report().to_string());
        }
        known.of(server)
    }

    /// Returns the last sample; a note says when there is none or it cannot be read.
    fn earlier(&self, job: &Job, notes: &mut Vec<String>) -> Option<Sample> {
        let directory = self.state.as_ref()?;
        match pawang_store::load(directory, &job.instance.name) {
            Ok(Some(sample)) => Some(sample),
            Ok(None) => {
                notes.push("no earlier sample of this instance: checks of rates will see from the next run on".to_owned());
                None
            }
            Err(error) => {
                notes.push(told_in_a_line(&error));
                None
            }
        }
    }

    /// Keeps the sample for the next run; collectors that were not asked now keep their older one.
    fn keep(&self, facts: Facts, earlier: Option<&Sample>, evaluation: &mut Evaluation) {
        let (Some(directory), Ok(server)) = (&self.state, &facts.server) else {
            return;
        };
        let data_directory = server
            .data_directory
            .as_ref()
            .filter(|_| server.local)
            .map(PathBuf::from);
        let log_directory = pawang_collect::log_directory(&facts);
        let mut sample = Sample::of(facts, |name| {
            self.catalog
                .collectors
                .get(name)
                .is_some_and(|c| c.header.remember)
        });
        if let Some(earlier) = earlier {
            keep_earlier(&mut sample.facts, &earlier.facts);
        }
        let earlier = earlier.filter(|earlier| same_cluster(&earlier.facts, &sample.facts));
        sample.data_directory =
            data_directory.or_else(|| earlier.and_then(|s| s.data_directory.clone()));
        sample.log_directory =
            log_directory.or_else(|| earlier.and_then(|s| s.log_directory.clone()));
        if let Err(error) = pawang_store::save(directory, &sample) {
            evaluation.notes.push(told_in_a_line(&error));
        }
    }
}

/// Says whether both are of one cluster: another one under the same name has its files elsewhere.
fn same_cluster(a: &Facts, b: &Facts) -> bool {
    match (&a.server, &b.server) {
        (Ok(a), Ok(b)) => a.epoch.system_identifier == b.epoch.system_identifier,
        _ => false,
    }
}

/// Keeps what was not asked now, and what is too young to be replaced; never anything of another server or epoch.
fn keep_earlier(facts: &mut Facts, earlier: &Facts) {
    let epoch = |facts: &Facts| {
        facts
            .server
            .as_ref()
            .ok()
            .map(|server| server.epoch.clone())
    };
    if epoch(facts) != epoch(earlier) {
        return;
    }
    for old in &earlier.sightings {
        let mut sightings = facts.sightings.iter_mut();
        let new =
            sightings.find(|new| new.collector == old.collector && new.database == old.database);
        match new {
            None => facts.sightings.push(old.clone()),
            Some(new) => {
                if let (Ok(newer), Ok(older)) = (&new.seen, &old.seen) {
                    let age = newer.at.duration_since(older.at).as_secs();
                    if older.at <= newer.at && age < SAMPLE_SECONDS_MIN {
                        *new = old.clone();
                    }
                }
            }
        }
    }
}

/// Returns an error and its cause on one line: a sample that cannot be kept is never more than a note.
fn told_in_a_line(error: &dyn std::error::Error) -> String {
    let cause = error
        .source()
        .map_or(String::new(), |cause| format!(": {cause}"));
    format!("{error}{cause}")
}

/// Picks the exit code: a server that does not answer weighs more than a finding, a finding more than blindness.
fn exit(args: &Run, evaluations: &[Evaluation]) -> Exit {
    let limit = match args.fail_on {
        FailOn::Info => Level::Info,
        FailOn::Warning => Level::Warning,
        FailOn::Critical => Level::Critical,
    };
    let any = |test: &dyn Fn(&pawang_core::Verdict) -> bool| {
        evaluations.iter().flat_map(|e| &e.verdicts).any(test)
    };
    if evaluations
        .iter()
        .any(|evaluation| evaluation.server.is_none())
    {
        return Exit::Target;
    }
    if any(&|verdict| {
        verdict
            .findings
            .iter()
            .any(|f| f.level >= limit && f.level != Level::Unknown)
    }) {
        return Exit::Answer;
    }
    if any(&|verdict| verdict.outcome == Outcome::Unknown) {
        return Exit::Target;
    }
    Exit::Good
}
