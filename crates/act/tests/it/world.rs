//! A server, a journal, and plans for them.

use std::cell::Cell;
use std::sync::Mutex;
use std::time::Duration;

use pawang_act::session::Policy;
use pawang_act::{Apply, Effects, Error, JsonLines, Limits, Progress, apply, draft, witness};
use pawang_config::ActConfig;
use pawang_core::Timestamp;
use pawang_core::plan::{Cost, Done, Outcome, Plan, Proposal, Relation, Task, World};
use pawang_postgres::{Environment, Session, Target};
use pawang_testbed::{Cluster, Setup, Version};
use tempfile::TempDir;
use tokio::sync::watch;

/// The database of all tests; its name needs quotes.
pub(crate) const DATABASE: &str = "Gudang data";

/// A server with one database, and a journal beside it.
pub(crate) struct Scene {
    pub(crate) cluster: Cluster,
    pub(crate) target: Target,
    pub(crate) journal: JsonLines,
    pub(crate) limits: Limits,
    pub(crate) sessions: Policy,
    pub(crate) seen: Mutex<Vec<Progress>>,
    /// Turns everything off when it is set to true.
    pub(crate) stop: watch::Sender<bool>,
    folder: TempDir,
}

/// What differs from an ordinary application.
pub(crate) struct How {
    pub(crate) effects: Effects,
    pub(crate) lanes: usize,
    pub(crate) allow_high_risk: bool,
    pub(crate) until: Option<Timestamp>,
}

impl Default for How {
    fn default() -> How {
        How {
            effects: Effects::Real,
            lanes: 1,
            allow_high_risk: true,
            until: None,
        }
    }
}

impl Scene {
    pub(crate) async fn new(version: Version) -> Scene {
        Scene::with(version, &[]).await
    }

    pub(crate) async fn with(version: Version, settings: &[(&str, &str)]) -> Scene {
        let cluster = Cluster::start(&Setup {
            version: Some(version),
            settings,
            ..Setup::default()
        })
        .await;
        cluster
            .sql("postgres", &format!("CREATE DATABASE \"{DATABASE}\""))
            .await;
        let target = target(&cluster.url(DATABASE));
        let folder = tempfile::tempdir().unwrap();
        let journal = JsonLines::open(&folder.path().join("journal.jsonl")).unwrap();
        Scene {
            cluster,
            target,
            journal,
            limits: limits(),
            sessions: sessions(),
            seen: Mutex::new(Vec::new()),
            stop: watch::Sender::new(false),
            folder,
        }
    }

    /// Runs statements and returns the first value of the last one.
    pub(crate) async fn sql(&self, sql: &str) -> String {
        let rows = self.cluster.sql(DATABASE, sql).await;
        let value = rows.into_iter().flatten().next().flatten();
        value.unwrap_or_default()
    }

    pub(crate) async fn relation(&self, schema: &str, name: &str) -> Relation {
        relation(&self.cluster, schema, name).await
    }

    /// Returns the file of the journal.
    pub(crate) fn journal_file(&self) -> std::path::PathBuf {
        self.folder.path().join("journal.jsonl")
    }

    /// Makes a plan of tasks, with everything that is expected.
    pub(crate) async fn plan(&self, tasks: Vec<Task>) -> Plan {
        plan(&self.target, tasks).await
    }

    pub(crate) async fn apply(&self, plan: &Plan) -> Outcome {
        self.try_apply(plan, How::default()).await.unwrap()
    }

    pub(crate) async fn try_apply(&self, plan: &Plan, how: How) -> Result<Outcome, Error> {
        self.apply_so(plan, &self.target, how).await
    }

    /// Applies a plan to another server than the scene's.
    pub(crate) async fn apply_at(&self, plan: &Plan, target: &Target) -> Result<Outcome, Error> {
        self.apply_so(plan, target, How::default()).await
    }

    async fn apply_so(&self, plan: &Plan, target: &Target, how: How) -> Result<Outcome, Error> {
        let watch = |progress: &Progress| self.seen.lock().unwrap().push(progress.clone());
        let how = Apply {
            target,
            limits: &self.limits,
            journal: &self.journal,
            effects: how.effects,
            actor: "cli:test",
            why: "a test",
            lanes: how.lanes,
            until: how.until,
            stop: self.stop.subscribe(),
            clock,
            allow_high_risk: how.allow_high_risk,
            sessions: &self.sessions,
            watch: &watch,
        };
        sendable(apply(plan, &how)).await
    }

    /// Plans and applies one task.
    pub(crate) async fn one(&self, task: Task) -> Done {
        let plan = self.plan(vec![task]).await;
        assert_eq!(plan.left, [], "everything is planned");
        self.apply(&plan).await.actions.remove(0)
    }
}

/// The daemon applies plans in a task that may move between threads.
fn sendable<T>(future: impl Future<Output = T> + Send) -> impl Future<Output = T> + Send {
    future
}

/// Limits that a busy test machine does not pass by itself.
pub(crate) fn limits() -> Limits {
    let mut limits = Limits {
        free_disk: pawang_core::ByteSize(1),
        ..Limits::default()
    };
    limits.wal_rate.0 = 100 << 30;
    limits
}

/// Who may be ended: everybody but superusers. The pause goes by as a whole where somebody waits still.
pub(crate) fn sessions() -> Policy {
    Policy {
        terminate_sessions_max: 100,
        pause: Duration::from_secs(1),
        ..Policy::new(&ActConfig::default(), false)
    }
}

/// The same where sessions are named: nobody looks longer than until the effect is there, however slow the machine is.
pub(crate) fn named() -> Policy {
    Policy {
        pause: Duration::from_secs(30),
        ..sessions()
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the program reads the clock, and here the tests are the program"
)]
pub(crate) fn clock() -> Timestamp {
    Timestamp::now() + AHEAD.get()
}

/// Sets how far the clock of this test is ahead.
pub(crate) fn set_ahead(ahead: Duration) {
    AHEAD.set(ahead);
}

thread_local! {
    static AHEAD: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

pub(crate) fn target(url: &str) -> Target {
    Target::parse(url, &Environment::default()).unwrap()
}

pub(crate) async fn relation(cluster: &Cluster, schema: &str, name: &str) -> Relation {
    let sql = format!(
        "SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
         WHERE nspname = '{schema}' AND relname = '{}'",
        name.replace('\'', "''")
    );
    let rows = cluster.sql(DATABASE, &sql).await;
    Relation {
        oid: rows[0][0].as_ref().unwrap().parse().unwrap(),
        schema: schema.to_owned(),
        name: name.to_owned(),
    }
}

pub(crate) async fn plan(target: &Target, tasks: Vec<Task>) -> Plan {
    let session = Session::connect(target, "test").await.unwrap();
    let world = World {
        instance: "dwh-1".to_owned(),
        system_identifier: Some(session.server.epoch.system_identifier.to_string()),
        timeline: Some(i64::from(session.server.epoch.timeline)),
        version: session.server.version,
    };
    let proposals = tasks.into_iter().map(|task| Proposal {
        database: DATABASE.to_owned(),
        task,
        reason: "a test wants it".to_owned(),
        evidence: Vec::new(),
        cost: Cost::default(),
    });
    let proposals = proposals.collect();
    let mut plan = draft(
        "maintain test",
        world,
        proposals,
        Vec::new(),
        "cli:test",
        clock(),
    )
    .unwrap();
    witness(&mut plan, target).await.unwrap();
    plan
}
