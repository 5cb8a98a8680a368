//! Looks at a cluster as `pawang check` does: as the role `monitor`, with rates since the last look.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;

use pawang_check::{CHECKS, Check, Policy, evaluate_all, find};
use pawang_collect::{BackupPlace, Catalog, HostRequest, Question, Request, observe};
use pawang_core::backup::BackupFacts;
use pawang_core::{Evaluation, Facts, Finding, Instance, Level, Timestamp, Verdict};
use pawang_postgres::{Environment, Target};
use pawang_testbed::Cluster;

/// Names a directory in which each test leaves what it saw, one evaluation per line: `cargo xtask bench alert truth`
/// replays that as alerts.
const RECORD: &str = "PAWANG_RECORD";

/// A cluster under observation; change its public fields to configure the next look.
pub(crate) struct Watch {
    pub(crate) instance: Instance,
    pub(crate) target: Target,
    pub(crate) pgbouncer: Option<Target>,
    pub(crate) patroni: Option<String>,
    pub(crate) host: HostRequest,
    pub(crate) questions: Vec<Question>,
    pub(crate) backups: Vec<BackupPlace>,
    pub(crate) repositories: BackupFacts,
    pub(crate) older: Option<Facts>,
}

impl Watch {
    /// Watches as the role `monitor`, a member of `pg_monitor` and nothing more.
    pub(crate) async fn start(cluster: &Cluster) -> Watch {
        let user = cluster.monitor().await;
        Watch::over(&cluster.url_as(&user, "postgres"))
    }

    /// Watches over any URL.
    pub(crate) fn over(url: &str) -> Watch {
        let target = Target::parse(url, &Environment::default()).unwrap();
        let instance = Instance {
            name: "test".to_owned(),
            ..Instance::default()
        };
        Watch {
            instance,
            target,
            pgbouncer: None,
            patroni: None,
            host: HostRequest::default(),
            questions: Vec::new(),
            backups: Vec::new(),
            repositories: BackupFacts::default(),
            older: None,
        }
    }

    /// Looks once with the named checks (all checks when empty) and remembers the facts for rates.
    pub(crate) async fn look(&mut self, ids: &[&str]) -> Evaluation {
        let checks: Vec<&'static Check> = match ids {
            [] => CHECKS.clone(),
            ids => ids
                .iter()
                .map(|id| find(id).unwrap_or_else(|| panic!("no check {id}")))
                .collect(),
        };
        let collectors: BTreeSet<String> = checks
            .iter()
            .flat_map(|check| check.needs)
            .map(|name| (*name).to_owned())
            .collect();
        let catalog = Catalog::built_in();
        let request = Request {
            instance: &self.instance,
            target: &self.target,
            purpose: "test",
            catalog: &catalog,
            collectors: &collectors,
            questions: &self.questions,
            databases: &[],
            pgbouncer: self.pgbouncer.as_ref(),
            patroni: self.patroni.as_deref(),
            host: self.host.clone(),
            backups: &self.backups,
            now: now(),
        };
        let mut facts = observe(&request).await;
        facts.sightings.extend(self.repositories.sightings());
        let evaluation = evaluate_all(&checks, &facts, self.older.as_ref(), &());
        record(&evaluation);
        self.older = Some(facts);
        evaluation
    }

    /// Looks with one check and returns its verdict.
    pub(crate) async fn verdict(&mut self, id: &str) -> Verdict {
        self.look(&[id]).await.verdicts.remove(0)
    }

    /// Asserts that one check is ok: judged, and nothing found.
    pub(crate) async fn silent(&mut self, id: &str) {
        let verdict = self.verdict(id).await;
        assert_eq!(
            verdict.level,
            Level::Ok,
            "{id} must be silent: {verdict:#?}"
        );
        assert_eq!(
            verdict.outcome,
            pawang_core::Outcome::Judged,
            "{id} must judge: {verdict:#?}"
        );
    }

    /// Asserts that one check finds something whose object contains `object`, and returns it.
    pub(crate) async fn found(&mut self, id: &str, level: Level, object: &str) -> Finding {
        let verdict = self.verdict(id).await;
        let finding = verdict
            .findings
            .iter()
            .find(|f| f.level == level && f.object.contains(object));
        finding
            .cloned()
            .unwrap_or_else(|| panic!("{id} must find {level} {object}: {verdict:#?}"))
    }
}

/// Judges facts by other limits, or in another order, than a look does.
pub(crate) fn evaluate(
    check: &Check<'_>,
    facts: &Facts,
    older: Option<&Facts>,
    policy: &dyn Policy,
) -> Option<Verdict> {
    let verdict = pawang_check::evaluate(check, facts, older, policy)?;
    record(&Evaluation {
        instance: facts.instance.clone(),
        at: facts.at,
        server: facts.server.as_ref().ok().cloned(),
        profile: None,
        verdicts: vec![verdict.clone()],
        costs: BTreeMap::new(),
        notes: Vec::new(),
    });
    Some(verdict)
}

/// Writes down what was seen, where somebody asks for that; a thread has the name of its test.
#[expect(
    clippy::disallowed_methods,
    reason = "a test is told by a variable to leave a record"
)]
fn record(evaluation: &Evaluation) {
    let Ok(directory) = std::env::var(RECORD) else {
        return;
    };
    let thread = std::thread::current();
    let test = thread.name().unwrap().replace("::", ".");
    let path = Path::new(&directory).join(format!("{test}.jsonl"));
    let file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path);
    let line = serde_json::to_string(evaluation).unwrap();
    writeln!(file.unwrap(), "{line}").unwrap();
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test is the edge that reads the clock"
)]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}
