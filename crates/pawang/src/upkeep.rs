//! From what a server looks like to a plan of maintenance, and to its outcome: for the command line and for the daemon.

use std::collections::BTreeSet;
use std::path::Path;

use pawang_act::session::Policy as Sessions;
use pawang_act::{Apply, Effects, JsonLines, Limits, Mirrored, Progress, Settled};
use pawang_collect::{Catalog, HostRequest, Request, observe};
use pawang_config::{Area, Config, HighRisk};
use pawang_core::bloat::PAGE_BYTES;
use pawang_core::plan::{BuildRate, Left, Outcome, Plan, RewriteMethod, Task, World};
use pawang_core::{ByteSize, Facts, Kind, Report, Timestamp};
use pawang_maintain::{Areas, Policy};
use pawang_postgres::Target;
use pawang_store::Store;
use pawang_store::state::JournalRecord;
use tokio::sync::watch;

use crate::estate::{Estate, Job};

/// The copy of the journal beside the state, one JSON line for each record.
const JOURNAL_LINES: &str = "journal.jsonl";

/// So many of the newest records tell how fast indexes were built.
const JOURNAL_RECORDS_MAX: usize = 5_000;
const JOURNAL_PAGE: usize = 1_000;

/// Major versions whose pg_repack is looked for.
const MAJORS: std::ops::RangeInclusive<u32> = 14..=19;

/// How a plan of maintenance is applied.
pub(crate) struct How<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// Where the server is.
    pub target: &'a Target,
    /// Where everything is written down.
    pub journal: &'a Mirrored,
    /// Who does it.
    pub actor: &'a str,
    /// Why now.
    pub why: &'a str,
    /// Actions that run at the same time.
    pub lanes: u32,
    /// When the window ends.
    pub until: Option<Timestamp>,
    /// Turns true when everything has to stop.
    pub stop: watch::Receiver<bool>,
    /// The clock.
    pub clock: fn() -> Timestamp,
    /// Whether anything changes.
    pub effects: Effects,
    /// Whether actions of high risk were agreed to.
    pub allow_high_risk: bool,
    /// Is told of every step.
    pub watch: &'a (dyn Fn(&Progress) + Sync),
}

/// Returns the policy of this name, or the one that holds when none is named.
///
/// # Errors
/// The file has no policy of this name.
pub(crate) fn policy(config: &Config, name: Option<&str>) -> Result<Policy, Report> {
    let Some(name) = name else {
        return Ok(Policy::unnamed(&config.maintenance));
    };
    Policy::named(name, &config.maintenance).ok_or_else(|| {
        let names: Vec<&str> = config
            .maintenance
            .policies
            .keys()
            .map(String::as_str)
            .collect();
        let report = Report::new(Kind::Usage, format!("there is no policy \"{name}\""));
        let nearest = pawang_config::nearest(name, names.iter().copied());
        match (nearest, names.is_empty()) {
            (Some(nearest), _) => {
                report.with_hint(format!("pawang maintain plan --policy {nearest}"))
            }
            (None, true) => report
                .with_detail("pawang.toml has no [maintenance.policy.<name>]")
                .with_hint("pawang config schema"),
            (None, false) => report.with_detail(format!("pawang.toml has {}", names.join(", "))),
        }
    })
}

/// What is planned by.
pub(crate) struct Basis {
    /// The policy.
    pub policy: Policy,
    /// The subjects.
    pub areas: Areas,
}

impl Basis {
    /// Returns the policy of a name and the subjects of the command line.
    ///
    /// # Errors
    /// There is no such policy.
    pub(crate) fn new(
        estate: &Estate,
        name: Option<&str>,
        areas: &[Area],
    ) -> Result<Basis, Report> {
        let policy = policy(&estate.config, name)?;
        let mut policy = policy;
        // Debian and PGDG keep one for each major version; which one is right is known when the server is.
        policy.repack_program = (MAJORS.rev().find_map(pawang_act::repack::find))
            .map(|path| path.display().to_string());
        let areas = match areas {
            [] => policy.areas.clone(),
            areas => areas.iter().copied().collect(),
        };
        Ok(Basis { policy, areas })
    }

    /// Looks at a server and plans; every object is looked at for the plan's preconditions.
    ///
    /// # Errors
    /// The server cannot be seen or is a standby.
    pub(crate) async fn plan(
        &self,
        estate: &Estate,
        job: &Job,
        by: &str,
        clock: fn() -> Timestamp,
    ) -> Result<Plan, Report> {
        let facts = self.look(&estate.catalog()?, job, clock()).await;
        let older = earlier(estate, job);
        let policy = Policy {
            build_rate: build_rate(estate, &job.instance.name),
            ..self.policy.clone()
        };
        let mut plan = draft(&self.areas, &facts, older.as_ref(), &policy, by, clock())?;
        if !plan.actions.is_empty() {
            let witnessed = pawang_act::witness(&mut plan, &job.target).await;
            witnessed.map_err(|error| error.report())?;
        }
        Ok(plan)
    }

    /// Looks at everything that the policy wants looked at, also where checks and charts look at the largest only.
    async fn look(&self, catalog: &Catalog, job: &Job, now: Timestamp) -> Facts {
        let mut catalog = catalog.clone();
        let collectors = self.areas.collectors();
        let (tables, indexes) = self.policy.least_sizes();
        for (shape, least) in [(TABLE_SHAPE, tables), (INDEX_SHAPE, indexes)] {
            if collectors.contains(shape) {
                want_whole(&mut catalog, shape, least);
            }
        }
        look(&catalog, job, &collectors, now).await
    }
}

/// The collectors of how full relations are, which see the largest unless all are wanted.
pub(crate) const TABLE_SHAPE: &str = "table-shape";
pub(crate) const INDEX_SHAPE: &str = "index-shape";

/// Makes a collector of shapes see all relations of at least this size.
pub(crate) fn want_whole(catalog: &mut Catalog, shape: &str, least: ByteSize) {
    let pages = least.0.div_ceil(PAGE_BYTES).max(1);
    let pages = u32::try_from(pages).unwrap_or(u32::MAX);
    catalog.want_whole(shape, pages.min(i32::MAX.unsigned_abs()));
}

/// Asks a server for what these collectors see.
pub(crate) async fn look(
    catalog: &Catalog,
    job: &Job,
    collectors: &BTreeSet<String>,
    now: Timestamp,
) -> Facts {
    let databases = job.config.databases.clone().unwrap_or_default();
    let request = Request {
        instance: &job.instance,
        target: &job.target,
        purpose: "maintain",
        catalog,
        collectors,
        questions: &[],
        databases: &databases,
        pgbouncer: None,
        patroni: None,
        host: HostRequest {
            data_directory: job.config.data_directory.clone(),
            log_directory: job.config.log_directory.clone(),
            ..HostRequest::default()
        },
        backups: &job.backups(),
        now,
    };
    observe(&request).await
}

/// Returns what an earlier run saw, for rates; without it what needs one says so.
fn earlier(estate: &Estate, job: &Job) -> Option<Facts> {
    let directory = estate.state_directory()?;
    match pawang_store::load(&directory, &job.instance.name) {
        Ok(sample) => sample.map(|sample| sample.facts),
        Err(error) => {
            tracing::warn!(
                instance = job.instance.name,
                "the last sample cannot be read: {error}"
            );
            None
        }
    }
}

/// Returns how fast an instance built indexes, by its journal; nothing where there is none yet.
pub(crate) fn build_rate(estate: &Estate, instance: &str) -> Option<BuildRate> {
    let state = Store::open_state_to_read(&estate.data_directory()?).ok()?;
    let mut records = Vec::new();
    while records.len() < JOURNAL_RECORDS_MAX {
        let before = records.last().map(|record: &JournalRecord| record.id);
        let page = state.journal_page(before, JOURNAL_PAGE).ok()?;
        let last = page.len() < JOURNAL_PAGE;
        records.extend(page);
        if last {
            break;
        }
    }
    pawang_act::build_rate(records.iter().map(|record| &record.entry), instance)
}

/// Plans what is due; the objects are not looked at again.
///
/// # Errors
/// The server did not say what it is.
pub(crate) fn draft(
    areas: &Areas,
    facts: &Facts,
    older: Option<&Facts>,
    policy: &Policy,
    made_by: &str,
    now: Timestamp,
) -> Result<Plan, Report> {
    let world = world(facts)?;
    let planned = pawang_maintain::plan(areas, facts, older, policy, now);
    let title = title(areas, policy);
    let mut plan = pawang_act::draft(&title, world, planned.proposals, planned.left, made_by, now)
        .map_err(|error| error.report())?;
    if !policy.name.is_empty() {
        leave_out(&mut plan, policy);
    }
    Ok(plan)
}

/// Leaves out what is of high risk and what the policy does not allow by name: nobody confirms it one by one.
fn leave_out(plan: &mut Plan, policy: &Policy) {
    let refused = |task: &Task| high_risk(task).filter(|kind| !policy.allows(*kind));
    let left = plan.actions.iter().filter_map(|action| {
        let kind = refused(&action.task)?.name();
        Some(Left {
            database: action.database.clone(),
            object: action.object.clone(),
            why: format!(
                "{}; policy \"{}\" does not allow it: allow = [\"{kind}\"]",
                action.reason, policy.name
            ),
            blind: false,
        })
    });
    plan.left.extend(left.collect::<Vec<Left>>());
    plan.actions
        .retain(|action| refused(&action.task).is_none());
}

/// Returns the name by which a policy allows a task of high risk.
fn high_risk(task: &Task) -> Option<HighRisk> {
    match task {
        Task::Rewrite {
            method: RewriteMethod::VacuumFull,
            ..
        } => Some(HighRisk::VacuumFull),
        Task::DropTable { .. } => Some(HighRisk::DropTable),
        Task::DropChunks { .. } => Some(HighRisk::DropChunks),
        Task::DeleteFile { .. } => Some(HighRisk::DeleteFile),
        _ => None,
    }
}

/// Returns the command that makes the plan.
fn title(areas: &Areas, policy: &Policy) -> String {
    let mut title = "maintain".to_owned();
    if !policy.name.is_empty() {
        title.push_str(&format!(" --policy {}", policy.name));
    }
    if *areas != policy.areas {
        for area in &areas.0 {
            title.push(' ');
            title.push_str(area.name());
        }
    }
    title
}

fn world(facts: &Facts) -> Result<World, Report> {
    let server = facts.server.as_ref().map_err(|blind| {
        Report::new(
            Kind::Target,
            format!("cannot plan for \"{}\"", facts.instance.name),
        )
        .with_detail(blind.sentence())
        .with_hint(format!("pawang check -i {}", facts.instance.name))
    })?;
    let known = server.epoch.system_identifier != 0;
    Ok(World {
        instance: facts.instance.name.clone(),
        system_identifier: known.then(|| server.epoch.system_identifier.to_string()),
        timeline: known.then_some(i64::from(server.epoch.timeline)),
        version: server.version,
    })
}

/// Opens the journal and its copy of JSON lines beside it.
///
/// # Errors
/// The disk refuses: what cannot be written down is not done.
pub(crate) fn journal(directory: &Path) -> Result<Mirrored, Report> {
    let state = Store::open_state(directory).map_err(|error| error.report())?;
    let lines = JsonLines::open(&directory.join(JOURNAL_LINES)).map_err(|error| error.report())?;
    Ok(Mirrored { state, lines })
}

/// Looks what became of what earlier runs began, and applies a plan.
///
/// # Errors
/// Nothing was done: see [`pawang_act::apply`].
pub(crate) async fn apply(plan: &Plan, how: &How<'_>) -> Result<(Vec<Settled>, Outcome), Report> {
    let settled = match how.effects {
        Effects::Real => pawang_act::settle(how.target, how.journal, how.clock).await,
        Effects::Dry => Ok(Vec::new()),
    };
    let settled = settled.map_err(|error| error.report())?;
    let limits = Limits::from(&how.config.act);
    let sessions = Sessions::new(&how.config.act, false);
    let apply = Apply {
        target: how.target,
        limits: &limits,
        journal: how.journal,
        effects: how.effects,
        actor: how.actor,
        why: how.why,
        lanes: usize::try_from(how.lanes).unwrap_or(1),
        until: how.until,
        stop: how.stop.clone(),
        clock: how.clock,
        allow_high_risk: how.allow_high_risk,
        sessions: &sessions,
        watch: how.watch,
    };
    let outcome = pawang_act::apply(plan, &apply)
        .await
        .map_err(|error| error.report())?;
    Ok((settled, outcome))
}

#[cfg(test)]
mod tests {
    use pawang_core::plan::{Cost, Proposal, Relation};

    use super::*;

    fn plan(tasks: Vec<Task>) -> Plan {
        let world = World {
            instance: "dwh-1".to_owned(),
            system_identifier: None,
            timeline: None,
            version: 150_000,
        };
        let proposals = tasks.into_iter().map(|task| Proposal {
            database: "sales".to_owned(),
            task,
            reason: "it is over".to_owned(),
            evidence: Vec::new(),
            cost: Cost::default(),
        });
        let now = Timestamp::UNIX_EPOCH;
        pawang_act::draft(
            "maintain",
            world,
            proposals.collect(),
            Vec::new(),
            "cli:x",
            now,
        )
        .unwrap()
    }

    #[test]
    fn a_policy_does_of_high_risk_only_what_it_allows_by_name() {
        let table = Relation {
            oid: 7,
            schema: "dw".to_owned(),
            name: "old".to_owned(),
        };
        let full = Task::Rewrite {
            table: table.clone(),
            method: RewriteMethod::VacuumFull,
        };
        let tasks = vec![
            Task::DropTable {
                table: table.clone(),
            },
            full,
        ];
        for (allow, kept) in [
            (vec![], vec![]),
            (vec![HighRisk::DropTable], vec!["drop-table"]),
            (vec![HighRisk::DeleteFile], vec![]),
            (
                vec![HighRisk::DropTable, HighRisk::VacuumFull],
                vec!["drop-table", "rewrite"],
            ),
        ] {
            let mut plan = plan(tasks.clone());
            let policy = Policy {
                name: "nightly".to_owned(),
                allow,
                ..Policy::default()
            };
            leave_out(&mut plan, &policy);
            let names: Vec<&str> = plan
                .actions
                .iter()
                .map(|action| action.task.name())
                .collect();
            assert_eq!(names, kept);
            assert_eq!(plan.left.len(), tasks.len() - kept.len());
        }
    }
}
