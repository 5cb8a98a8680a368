//! Nobody waits for us: an action that stops readers, behind a long transaction, while others read.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::{join, join_all};
use pawang_act::Step;
use pawang_core::plan::{RewriteMethod, State, Task};
use pawang_testbed::{until, versions};

use crate::world::Scene;

/// Nobody else may be held up for longer. These tests run alone (`.config/nextest.toml`), so that it is us who are measured.
const HARM_MAX: Duration = Duration::from_millis(150);
const READERS: usize = 4;

/// Several clients read a table until it is over; returns the longest that a statement took.
async fn read_all(scene: &Scene, table: &str, over: &AtomicBool) -> Duration {
    let sql = format!("SELECT count(*) FROM {table}");
    let readers = (0..READERS).map(|_| read(scene, &sql, over));
    join_all(readers).await.into_iter().max().unwrap()
}

/// Reads until it is over, and returns the longest that a statement took.
async fn read(scene: &Scene, sql: &str, over: &AtomicBool) -> Duration {
    let client = scene.cluster.connect(crate::world::DATABASE).await;
    let mut longest = Duration::ZERO;
    while !over.load(Ordering::Relaxed) {
        let started = Instant::now();
        client.simple_query(sql).await.unwrap();
        longest = longest.max(started.elapsed());
    }
    longest
}

/// Does a task behind a transaction of six seconds, or as long as it takes to be in the way twice, that reads the table, while
/// four clients read it too.
async fn behind_a_long_transaction(scene: &Scene, task: Task) {
    let plan = scene.plan(vec![task]).await;
    let holder = scene.cluster.connect(crate::world::DATABASE).await;
    let over = AtomicBool::new(false);
    let long = async {
        holder
            .batch_execute("BEGIN; SELECT FROM dw.fakta; SELECT pg_sleep(6)")
            .await?;
        let again = |step: &Step| matches!(step, Step::Begun { tries: 2.., .. });
        until("the task is tried again", async || {
            let seen = scene.seen.lock().unwrap();
            seen.iter().any(|progress| again(&progress.step))
        })
        .await;
        holder.batch_execute("COMMIT").await
    };
    let action = async {
        until("the long transaction has its lock", async || {
            !scene
                .sql("SELECT 1 FROM pg_locks WHERE relation = 'dw.fakta'::regclass AND granted")
                .await
                .is_empty()
        })
        .await;
        let readers = read_all(scene, "dw.fakta", &over);
        // What the machine itself makes wait: as many who read a twin that nobody changes.
        let control = read_all(scene, "dw.twin", &over);
        let action = async {
            let done = scene.apply(&plan).await.actions.remove(0);
            over.store(true, Ordering::Relaxed);
            done
        };
        let ((longest, noise), done) = join(join(readers, control), action).await;
        assert_eq!(done.state, State::Done, "{done:?}");
        assert!(done.tries > 1, "{done:?}");
        let most = HARM_MAX + noise;
        assert!(
            done.impact.longest < most,
            "{done:?}, the machine's own pauses are {noise:?}"
        );
        assert!(
            longest < most,
            "a reader waited {longest:?}, the machine's own pauses are {noise:?}"
        );
        longest
    };
    let (held, _longest) = join(long, action).await;
    held.unwrap();
}

#[tokio::test]
async fn no_reader_waits_for_an_exclusive_action_behind_a_long_transaction() {
    for version in versions() {
        let scene = Scene::new(version).await;
        scene
            .sql(
                "CREATE SCHEMA dw;
                CREATE TABLE dw.fakta (n int) PARTITION BY RANGE (n);
                CREATE TABLE dw.fakta_1 PARTITION OF dw.fakta FOR VALUES FROM (0) TO (1000);
                CREATE TABLE dw.fakta_2 PARTITION OF dw.fakta FOR VALUES FROM (1000) TO (2000);
                CREATE TABLE dw.twin (n int) PARTITION BY RANGE (n);
                CREATE TABLE dw.twin_1 PARTITION OF dw.twin FOR VALUES FROM (0) TO (1000);
                CREATE TABLE dw.twin_2 PARTITION OF dw.twin FOR VALUES FROM (1000) TO (2000);
                INSERT INTO dw.fakta SELECT n FROM generate_series(0, 1999) n;
                INSERT INTO dw.twin SELECT n FROM generate_series(0, 1999) n",
            )
            .await;
        let task = Task::DetachPartition {
            parent: scene.relation("dw", "fakta").await,
            partition: scene.relation("dw", "fakta_2").await,
            concurrently: false,
        };
        behind_a_long_transaction(&scene, task).await;
        assert_eq!(scene.sql("SELECT count(*) FROM dw.fakta").await, "1000");
    }
}

#[tokio::test]
async fn no_reader_waits_for_the_lock_of_a_rewrite() {
    let scene = Scene::new(versions()[0]).await;
    scene
        .sql(
            "CREATE SCHEMA dw; CREATE TABLE dw.twin AS SELECT n FROM generate_series(1, 100) n;
            CREATE TABLE dw.fakta AS SELECT n FROM generate_series(1, 100) n",
        )
        .await;
    let task = Task::Rewrite {
        table: scene.relation("dw", "fakta").await,
        method: RewriteMethod::VacuumFull,
    };
    behind_a_long_transaction(&scene, task).await;
}

#[tokio::test]
async fn vacuum_gives_way_to_whoever_waits_for_it() {
    let mut scene = Scene::new(versions()[0]).await;
    scene.limits.patience = Duration::ZERO;
    crate::govern::slow_table(&scene).await;
    let plan = scene
        .plan(vec![crate::govern::slow_vacuum(&scene).await])
        .await;
    let other = scene.cluster.connect(crate::world::DATABASE).await;
    let alter = async {
        crate::govern::vacuum_runs(&scene).await;
        let started = Instant::now();
        let alter = "ALTER TABLE dw.pelan ADD COLUMN more int";
        other.batch_execute(alter).await.unwrap();
        started.elapsed()
    };
    let (outcome, waited) = join(scene.apply(&plan), alter).await;
    let done = &outcome.actions[0];
    assert_eq!(done.state, State::Cancelled, "{done:?}");
    assert!(done.detail.contains("gave way"), "{done:?}");
    assert!(done.impact.longest >= Duration::from_secs(1), "{done:?}");
    assert_eq!(done.impact.sessions, 1, "{done:?}");
    assert!(waited < Duration::from_secs(10), "{waited:?}");
}
