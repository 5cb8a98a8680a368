//! Plans about sessions that come as any other plan pass the kill guard as well: only root blockers, nobody protected, within the
//! budget, looked at again before each step.

use std::sync::Arc;

use pawang_act::Error;
use pawang_core::plan::{Done, SessionKey, State, Task, VacuumOptions};
use pawang_testbed::{Client, until, versions};
use tokio::task::JoinSet;

use crate::world::{DATABASE, How, Scene, relation, target};

const ROLES: &str = "CREATE ROLE app LOGIN; CREATE ROLE payments LOGIN; CREATE TABLE a (n int); CREATE TABLE b (n int);
    GRANT ALL ON a, b TO app, payments";

/// Returns what tells the session of a client from all others.
async fn key(client: &Client) -> SessionKey {
    let sql =
        "SELECT pid, to_char(backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')
        FROM pg_stat_activity WHERE pid = pg_backend_pid()";
    let rows = client.query(sql, &[]).await.unwrap();
    SessionKey {
        pid: rows[0].get(0),
        backend_start: rows[0].get::<_, String>(1).parse().unwrap(),
    }
}

/// Opens a transaction that holds a table.
async fn holder(scene: &Scene, role: &str, table: &str) -> (Client, SessionKey) {
    let client = scene.cluster.connect_as(role, DATABASE).await;
    let key = key(&client).await;
    let sql = format!("BEGIN; LOCK TABLE {table} IN ACCESS SHARE MODE");
    client.batch_execute(&sql).await.unwrap();
    (client, key)
}

async fn waiting(scene: &Scene) -> usize {
    let sql = "SELECT count(*) FROM pg_locks WHERE NOT granted";
    scene.sql(sql).await.parse().unwrap()
}

/// Makes somebody wait for a table, and returns who that is.
async fn waiter(scene: &Scene, works: &mut JoinSet<bool>, table: &str) -> SessionKey {
    let client = Arc::new(scene.cluster.connect_as("app", DATABASE).await);
    let key = key(&client).await;
    let sql = format!("LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE");
    let before = waiting(scene).await;
    works.spawn(async move {
        let sql = format!("BEGIN; {sql}; COMMIT");
        client.batch_execute(&sql).await.is_ok()
    });
    until("one more waits", async || waiting(scene).await > before).await;
    key
}

fn terminate(session: &SessionKey) -> Task {
    Task::TerminateBackend {
        session: session.clone(),
    }
}

fn told(done: &[Done]) -> Vec<(State, &str)> {
    let told = done.iter();
    told.map(|done| (done.state, done.detail.as_str()))
        .collect()
}

#[tokio::test]
async fn only_root_blockers_are_ended_and_nobody_who_is_protected() {
    for version in versions() {
        let mut scene = Scene::new(version).await;
        scene.sessions.protected_roles = vec!["pay*".to_owned()];
        scene.sql(ROLES).await;
        let (app, blocker) = holder(&scene, "app", "a").await;
        let (spared, protected) = holder(&scene, "payments", "a").await;
        let (superuser, postgres) = holder(&scene, "postgres", "a").await;
        let idle = scene.cluster.connect_as("app", DATABASE).await;
        let innocent = key(&idle).await;
        let mut works = JoinSet::new();
        let victim = waiter(&scene, &mut works, "a").await;
        let mut reused = innocent.clone();
        reused.backend_start = "2001-01-01T00:00:00Z".parse().unwrap();
        let sessions = [&innocent, &victim, &protected, &postgres, &blocker];
        let mut tasks: Vec<Task> = sessions.into_iter().map(terminate).collect();
        tasks.push(Task::CancelBackend {
            session: innocent.clone(),
            query_start: None,
        });
        let mut plan = scene.plan(tasks).await;
        // A plan that was made of another session with the same process id.
        let mut other = plan.actions[0].clone();
        other.id.push_str(" before");
        other.task = terminate(&reused);
        other.sql = vec![pawang_act::session::statement(&other.task).unwrap()];
        plan.actions.push(other);
        let outcome = scene.apply(&plan).await;
        let nobody = "it makes nobody wait any more, or waits itself";
        assert_eq!(
            told(&outcome.actions),
            [
                (State::Needless, nobody),
                (State::Needless, nobody),
                (
                    State::Refused,
                    "role \"payments\" is protected by act.protected_roles"
                ),
                (
                    State::Refused,
                    "role \"postgres\" is a superuser; --allow-superuser lets it be touched"
                ),
                (State::Done, "1 session waits still"),
                (State::Needless, "its statement has ended"),
                (State::Needless, "the session has ended"),
            ],
            "{outcome:?}"
        );
        app.batch_execute("SELECT 1").await.unwrap_err();
        for client in [&idle, &spared, &superuser] {
            client.batch_execute("COMMIT").await.unwrap();
        }
        assert!(works.join_next().await.unwrap().unwrap(), "it goes on");
        let again = scene.apply(&plan).await;
        assert_eq!(again.actions[4].state, State::Needless, "{again:?}");
    }
}

#[tokio::test]
async fn the_budget_counts_sessions_and_who_is_free_already_is_left_alone() {
    let mut scene = Scene::new(versions()[0]).await;
    scene.sessions.terminate_sessions_max = 1;
    scene.sessions.terminate_percent_max = 0.0;
    scene.sql(ROLES).await;
    let (first, one) = holder(&scene, "app", "a").await;
    let (second, two) = holder(&scene, "app", "b").await;
    let mut works = JoinSet::new();
    waiter(&scene, &mut works, "a").await;
    waiter(&scene, &mut works, "b").await;
    let plan = scene.plan(vec![terminate(&one), terminate(&two)]).await;
    let unconfirmed = How {
        allow_high_risk: false,
        ..How::default()
    };
    let refused = scene.try_apply(&plan, unconfirmed).await.unwrap();
    let why = (State::Refused, "its risk is high, and nobody confirmed it");
    assert_eq!(told(&refused.actions), [why; 2]);
    let dry = How {
        effects: pawang_act::Effects::Dry,
        ..How::default()
    };
    let dry = scene.try_apply(&plan, dry).await.unwrap();
    assert_eq!(told(&dry.actions), [(State::DryRun, "nothing was sent"); 2]);
    let outcome = scene.apply(&plan).await;
    assert_eq!(
        told(&outcome.actions),
        [
            (State::Done, "1 session waits still"),
            (
                State::Refused,
                "the budget of 1 sessions is spent (act.terminate_sessions_max, act.terminate_percent_max)"
            ),
        ]
    );
    first.batch_execute("SELECT 1").await.unwrap_err();
    second.batch_execute("COMMIT").await.unwrap();
    while let Some(done) = works.join_next().await {
        assert!(done.unwrap());
    }
    let calm = scene.apply(&plan).await;
    let states: Vec<State> = calm.actions.iter().map(|done| done.state).collect();
    assert_eq!(states, [State::Needless; 2], "{calm:?}");
    scene.stop.send_replace(true);
    let stopped = scene.apply(&plan).await;
    assert_eq!(stopped.actions[0].state, State::Skipped, "{stopped:?}");
}

#[tokio::test]
async fn what_is_no_plan_of_sessions_is_refused_whole_and_one_pawang_at_a_time_ends_them() {
    let scene = Scene::new(versions()[0]).await;
    scene.sql(ROLES).await;
    let (app, blocker) = holder(&scene, "app", "a").await;
    let mut works = JoinSet::new();
    waiter(&scene, &mut works, "a").await;
    let vacuum = Task::Vacuum {
        table: relation(&scene.cluster, "public", "b").await,
        options: VacuumOptions::default(),
    };
    let mixed = scene.plan(vec![vacuum, terminate(&blocker)]).await;
    let error = scene.try_apply(&mixed, How::default()).await.unwrap_err();
    assert!(matches!(error, Error::PlanChanged { .. }), "{error:?}");

    let plan = scene.plan(vec![terminate(&blocker)]).await;
    let other = scene.cluster.connect(DATABASE).await;
    let lock = "SELECT pg_advisory_lock(x'70617761'::int, ('x' || left(encode(sha256('session'), 'hex'), 8))::bit(32)::int)";
    other.batch_execute(lock).await.unwrap();
    let error = scene.try_apply(&plan, How::default()).await.unwrap_err();
    assert!(matches!(error, Error::AnotherPawang { .. }), "{error:?}");
    drop(other);
    until("the other is gone", async || {
        let left = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'";
        scene.sql(left).await == "0"
    })
    .await;
    app.batch_execute("SELECT 1").await.unwrap();

    let standby = scene.cluster.standby("standby_1").await;
    let mut elsewhere = plan.clone();
    elsewhere.world.timeline = None;
    let there = target(&standby.url(DATABASE));
    let error = scene.apply_at(&elsewhere, &there).await.unwrap_err();
    assert!(matches!(error, Error::Standby { .. }), "{error:?}");

    let outcome = scene.apply(&plan).await;
    assert_eq!(
        told(&outcome.actions),
        [(State::Done, "everybody who waited goes on")]
    );
    assert!(works.join_next().await.unwrap().unwrap());
}
