//! Sessions that wait for each other on a real server, and who is ended so that they go on.
#![expect(clippy::disallowed_methods, reason = "a plan is applied now")]

use std::sync::Mutex;

use pawang_act::session::{
    Deed, Freed, How, Policy, Step, View, blockers, draft, free, look, one, signal, statement,
};
use pawang_act::{Effects, Error, Intent, Journal};
use pawang_core::Timestamp;
use pawang_core::plan::{Plan, State, Task, World};
use pawang_postgres::{Environment, Session, Target};
use pawang_store::state::Entry;
use pawang_testbed::{Cluster, Fate, Setup, Tangle, until, versions};
use serde_json::json;
use tokio::sync::watch;

use crate::world::{named, sessions};

/// Random tangles that are freed by each run of the tests.
const TANGLES: u64 = 24;

pub(crate) fn target(url: &str) -> Target {
    Target::parse(url, &Environment::default()).unwrap()
}

async fn session(cluster: &Cluster) -> Session {
    Session::connect(&target(&cluster.url("postgres")), "session")
        .await
        .unwrap_or_else(|error| panic!("{}", error.report()))
}

/// A journal that keeps what it is told.
#[derive(Default)]
struct Kept(Mutex<Vec<Entry>>);

impl Journal for Kept {
    fn write(&self, entry: &Entry) -> Result<(), Error> {
        self.0.lock().unwrap().push(entry.clone());
        Ok(())
    }

    fn open_intents(&self) -> Result<Vec<Intent>, Error> {
        Ok(Vec::new())
    }
}

fn world(session: &Session) -> World {
    World {
        instance: "test".to_owned(),
        system_identifier: None,
        timeline: None,
        version: session.server.version,
    }
}

/// Carries a plan out and returns what came of it, and what the journal was told.
async fn carry_out(
    session: &Session,
    plan: &Plan,
    policy: &Policy,
    step: Step,
) -> (Freed, Vec<Entry>) {
    let journal = Kept::default();
    let (_keep, stop) = watch::channel(false);
    let how = How {
        session,
        policy,
        step,
        effects: Effects::Real,
        allow_high_risk: true,
        actor: "test",
        why: "a test",
        journal: &journal,
        stop,
        stop_file: None,
        until: None,
        clock: Timestamp::now,
        watch: &|_| {},
    };
    let freed = free(plan, &how).await.unwrap();
    (freed, journal.0.into_inner().unwrap())
}

fn plan_of(session: &Session, view: &View, policy: &Policy) -> Plan {
    let decision = blockers(view, policy);
    draft(
        "session terminate --blockers",
        world(session),
        decision,
        view,
        "test",
        Timestamp::now(),
    )
    .unwrap()
}

#[tokio::test]
async fn no_innocent_session_is_ended_and_every_tangle_is_freed() {
    // A tangle is made only when the server has broken its circles.
    let cluster = Cluster::start(&Setup {
        settings: &[("deadlock_timeout", "100ms")],
        ..Setup::default()
    })
    .await;
    Tangle::prepare(&cluster).await;
    let session = session(&cluster).await;
    let policy = sessions();
    let mut freed_tangles = 0;
    for seed in 0..TANGLES {
        let tangle = Tangle::make(&cluster, seed).await;
        let (roots, waiting) = (tangle.roots(), tangle.waiting());
        let view = look(&session).await.unwrap();
        let plan = plan_of(&session, &view, &policy);
        let (freed, _) = carry_out(&session, &plan, &policy, Step::Blockers).await;
        assert!(
            freed.good(Step::Blockers),
            "seed {seed}: {freed:?}\n{plan:?}"
        );
        for member in tangle.fates(&cluster).await {
            let ended = matches!(member.fate, Fate::Cancelled | Fate::Terminated);
            assert!(
                member.root || !ended,
                "seed {seed}: {member:?} is innocent\n{plan:?}"
            );
        }
        freed_tangles += usize::from(roots > 0 && waiting > 0);
    }
    assert!(
        freed_tangles > 10,
        "only {freed_tangles} of the tangles held anybody"
    );
}

#[tokio::test]
async fn what_is_seen_is_who_waits_for_whom_and_for_what() {
    for version in versions() {
        let cluster = Cluster::start(&Setup {
            version: Some(version),
            settings: &[
                ("max_prepared_transactions", "5"),
                ("deadlock_timeout", "10min"),
            ],
            ..Setup::default()
        })
        .await;
        cluster
            .sql("postgres", "CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t SELECT g, 0 FROM generate_series(1, 5) AS g; CREATE TABLE q (n int)")
            .await;
        let idle = cluster
            .hold(
                "postgres",
                "UPDATE t SET n = 1 WHERE id = 1; LOCK TABLE q IN ACCESS SHARE MODE",
            )
            .await;
        let prepared = cluster
            .hold("postgres", "UPDATE t SET n = 1 WHERE id = 2")
            .await;
        prepared
            .batch_execute("PREPARE TRANSACTION 'order-7'")
            .await
            .unwrap();
        let row = std::sync::Arc::new(cluster.connect("postgres").await);
        let ddl = std::sync::Arc::new(cluster.connect("postgres").await);
        let reader = std::sync::Arc::new(cluster.connect("postgres").await);
        let behind = std::sync::Arc::new(cluster.connect("postgres").await);
        let mut works = tokio::task::JoinSet::new();
        for (client, sql) in [
            (&row, "UPDATE t SET n = 2 WHERE id = 1"),
            (&ddl, "ALTER TABLE q ADD COLUMN m int"),
            (&behind, "UPDATE t SET n = 2 WHERE id = 2"),
        ] {
            let client = std::sync::Arc::clone(client);
            works.spawn(async move { client.batch_execute(sql).await });
        }
        let session = session(&cluster).await;
        let waits = async |count| {
            let view = look(&session).await.unwrap();
            view.processes.iter().filter(|p| p.wait.is_some()).count() == count
        };
        until("three wait", async || waits(3).await).await;
        let client = std::sync::Arc::clone(&reader);
        works.spawn(async move { client.batch_execute("SELECT FROM q").await });
        until("the reader waits behind the change", async || {
            waits(4).await
        })
        .await;

        let view = look(&session).await.unwrap();
        judge(&view);
        drop(idle);
        cluster.sql("postgres", "ROLLBACK PREPARED 'order-7'").await;
        while let Some(done) = works.join_next().await {
            done.unwrap().unwrap();
        }
    }
}

/// Says that two trees are seen: one below a session with a queue in it, one below a prepared transaction.
fn judge(view: &View) {
    let tree = view.tree();
    let roots: Vec<i64> = tree
        .iter()
        .filter(|b| b.depth == 0)
        .map(|b| b.pid)
        .collect();
    assert_eq!(roots.len(), 2, "{tree:?}");
    assert!(roots.contains(&0), "the prepared transaction: {tree:?}");
    assert_eq!(view.prepared.len(), 1, "{view:?}");
    assert_eq!(view.prepared[0].gid, "order-7");
    let objects: Vec<Option<&str>> = view
        .processes
        .iter()
        .filter_map(|p| Some(p.wait.as_ref()?.relation.as_deref()))
        .collect();
    assert_eq!(
        objects.iter().filter(|o| **o == Some("public.t")).count(),
        2,
        "{objects:?}"
    );
    assert_eq!(
        objects.iter().filter(|o| **o == Some("public.q")).count(),
        2,
        "{objects:?}"
    );
    let deepest = tree.iter().map(|b| b.depth).max();
    assert_eq!(deepest, Some(2), "the reader waits for who waits: {tree:?}");
}

/// Returns the process of the only other session of a role.
async fn seen(session: &Session, user: &str) -> (View, pawang_act::session::Process) {
    let view = look(session).await.unwrap();
    let mut found = view
        .processes
        .iter()
        .filter(|p| p.user.as_deref() == Some(user));
    let process = found.next().unwrap().clone();
    (view, process)
}

/// Ends the session of the application by a plan, and not by one whose statement was changed.
async fn terminated(session: &Session) {
    let (view, process) = seen(session, "app").await;
    let decision = one(&view, &process, Deed::Terminate, &sessions());
    let plan = draft(
        "session terminate",
        world(session),
        decision,
        &view,
        "test",
        Timestamp::now(),
    )
    .unwrap();
    let mut changed = plan.clone();
    changed.actions[0].sql[0].push_str(" OR true");
    let (refused, _) = carry_out(session, &changed, &named(), Step::Named).await;
    assert_eq!(refused.outcome.actions[0].state, State::Refused);
    let (done, _) = carry_out(session, &plan, &named(), Step::Named).await;
    assert!(done.good(Step::Named), "{done:?}");
}

#[tokio::test]
async fn a_signal_hits_only_the_session_and_the_statement_that_were_seen() {
    let cluster = Cluster::start(&Setup::default()).await;
    cluster.sql("postgres", "CREATE ROLE app LOGIN").await;
    let session = session(&cluster).await;
    let client = std::sync::Arc::new(cluster.connect_as("app", "postgres").await);
    let (view, idle) = seen(&session, "app").await;
    let decision = one(&view, &idle, Deed::Cancel, &sessions());
    assert_eq!(decision.proposals.len(), 0);
    assert!(decision.left[0].why.contains("it is idle"), "{decision:?}");

    let mut works = tokio::task::JoinSet::new();
    let worker = std::sync::Arc::clone(&client);
    works.spawn(async move { worker.batch_execute("SELECT pg_sleep(600)").await });
    let runs = async || seen(&session, "app").await.1.running();
    until("it runs", runs).await;
    let (view, running) = seen(&session, "app").await;
    let session_key = running.key().unwrap();
    // The statement before, the session before, and a session of another process with this number.
    let mut earlier = session_key.clone();
    earlier.backend_start = Timestamp::from_second(earlier.backend_start.as_second() - 1).unwrap();
    for task in [
        Task::CancelBackend {
            session: session_key.clone(),
            query_start: idle.backend_start,
        },
        Task::CancelBackend {
            session: earlier.clone(),
            query_start: None,
        },
        Task::TerminateBackend { session: earlier },
    ] {
        let sent = signal(&session, &statement(&task).unwrap()).await.unwrap();
        assert_eq!(sent, pawang_act::session::Signalled::Gone, "{task:?}");
    }
    assert!(runs().await, "nobody was hit");

    let decision = one(&view, &running, Deed::Cancel, &sessions());
    let plan = draft(
        "session cancel",
        world(&session),
        decision,
        &view,
        "test",
        Timestamp::now(),
    )
    .unwrap();
    let (done, entries) = carry_out(&session, &plan, &named(), Step::Named).await;
    assert!(done.good(Step::Named), "{done:?}");
    let told: Vec<(&str, &str)> = entries
        .iter()
        .map(|e| (e.action.as_str(), e.outcome.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            ("cancel-backend.apply", "begun"),
            ("cancel-backend.apply", "done")
        ]
    );
    works.join_next().await.unwrap().unwrap().unwrap_err();

    // The same plan again: its statement has ended.
    let (again, entries) = carry_out(&session, &plan, &named(), Step::Named).await;
    assert_eq!(again.outcome.actions[0].state, State::Needless);
    let told: Vec<_> = entries
        .iter()
        .map(|e| (e.outcome.as_str(), &e.detail["state"], &e.detail["intent"]))
        .collect();
    assert_eq!(told, [("done", &json!("needless"), &json!(null))]);

    terminated(&session).await;
    client.batch_execute("SELECT 1").await.unwrap_err();
}

#[tokio::test]
async fn a_cancelled_blocker_that_blocks_all_the_same_is_terminated_and_a_protected_one_is_not() {
    let cluster = Cluster::start(&Setup::default()).await;
    cluster.sql("postgres", "CREATE ROLE app LOGIN; CREATE ROLE payments LOGIN; CREATE TABLE t (n int); GRANT ALL ON t TO payments").await;
    let session = session(&cluster).await;
    let holder = std::sync::Arc::new(cluster.connect_as("app", "postgres").await);
    holder
        .batch_execute("SELECT pg_advisory_lock(1)")
        .await
        .unwrap();
    let spared = cluster.connect_as("payments", "postgres").await;
    spared
        .batch_execute("BEGIN; LOCK TABLE t IN ACCESS SHARE MODE")
        .await
        .unwrap();
    let mut works = tokio::task::JoinSet::new();
    let worker = std::sync::Arc::clone(&holder);
    works.spawn(async move { worker.batch_execute("SELECT pg_sleep(600)").await });
    let mut waiters = tokio::task::JoinSet::new();
    let [key, table] = [
        cluster.connect("postgres").await,
        cluster.connect("postgres").await,
    ];
    waiters.spawn(async move { key.batch_execute("SELECT pg_advisory_lock(1)").await });
    until("one waits", async || {
        look(&session).await.unwrap().tree().len() == 2
    })
    .await;
    waiters.spawn(async move { table.batch_execute("ALTER TABLE t ADD COLUMN m int").await });
    until("the holder works and two wait", async || {
        let (view, holder) = seen(&session, "app").await;
        holder.running() && view.tree().len() == 4
    })
    .await;
    let mut policy = sessions();
    policy.protected_roles = vec!["pay*".to_owned()];
    let view = look(&session).await.unwrap();
    let plan = plan_of(&session, &view, &policy);
    assert_eq!(plan.left.len(), 1, "{plan:?}");
    assert!(plan.left[0].why.contains("payments"), "{plan:?}");
    let (freed, _) = carry_out(&session, &plan, &policy, Step::Blockers).await;
    let states: Vec<State> = freed
        .outcome
        .actions
        .iter()
        .map(|done| done.state)
        .collect();
    assert_eq!(states, [State::Done, State::Done], "{freed:?}");
    assert_eq!((freed.waited, freed.waiting), (2, 1));
    assert!(
        !freed.good(Step::Blockers),
        "one waits for the protected session still"
    );
    holder.batch_execute("SELECT 1").await.unwrap_err();
    spared.batch_execute("COMMIT").await.unwrap();
    while let Some(done) = waiters.join_next().await {
        let _ended = done.unwrap();
    }
}
