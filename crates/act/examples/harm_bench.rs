//! Measures how long others wait for each kind of action behind a long transaction, with guard and without.
//!
//! `cargo xtask bench act harm` runs it; words are the kinds that are wanted, else all. For each kind a transaction of six seconds has read and written the table, four clients
//! read and write it, and one does the same on a table that nobody changes: what that one waits for is the machine itself. Prints
//! one line of tab-separated values for each run.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a bench that stops says where, prints, and drives its load in tasks"
)]

#[expect(dead_code, reason = "the world of the tests has more than this needs")]
#[path = "../tests/it/world.rs"]
mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pawang_core::plan::{
    Plan, RewriteMethod, State, StatisticsKind, Task, VacuumOptions, VacuumPace,
};
use pawang_testbed::{until, versions};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};
use world::{DATABASE, Scene};

/// Half of them read, half of them write.
const CLIENTS: u64 = 4;
/// Each client sends a statement so often, or as fast as the server answers.
const REST: Duration = Duration::from_millis(2);
/// The transaction that is in the way.
const HOLDER: &str = "SELECT count(*) FROM dw.fakta; UPDATE dw.fakta SET v = v WHERE id = 1; SELECT pg_sleep(6); COMMIT";

/// What every kind begins with: the table that nobody changes.
const TABLES: &str = "DROP SCHEMA IF EXISTS dw CASCADE; CREATE SCHEMA dw;
    CREATE TABLE dw.lain (id int PRIMARY KEY, v int); INSERT INTO dw.lain SELECT n, 0 FROM generate_series(1, 1000) n;";
const PLAIN: &str = "CREATE TABLE dw.fakta (id int, v int) WITH (autovacuum_enabled = off);
    INSERT INTO dw.fakta SELECT n, 0 FROM generate_series(1, 1000) n;
    CREATE UNIQUE INDEX fakta_id ON dw.fakta (id); CREATE INDEX fakta_v ON dw.fakta (v);
    CREATE INDEX fakta_brin ON dw.fakta USING brin (id)";
const PARTED: &str = "CREATE TABLE dw.fakta (id int, v int) PARTITION BY RANGE (id);
    CREATE TABLE dw.fakta_1 PARTITION OF dw.fakta FOR VALUES FROM (0) TO (2000);
    CREATE TABLE dw.fakta_2 PARTITION OF dw.fakta FOR VALUES FROM (2000) TO (3000);
    CREATE INDEX fakta_id ON dw.fakta (id); INSERT INTO dw.fakta SELECT n, 0 FROM generate_series(1, 1000) n";

/// An action of every kind, by name; whether its table is partitioned.
const KINDS: [(&str, bool); 12] = [
    ("detach-partition", true),
    ("detach-partition-concurrently", true),
    ("create-partition", true),
    ("rewrite-vacuum-full", false),
    ("drop-table", true),
    ("reindex-concurrently", false),
    ("drop-invalid-index", false),
    ("summarize-brin", false),
    ("vacuum", false),
    ("analyze", false),
    ("set-storage-parameters", false),
    ("create-statistics", false),
];

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let only: Vec<String> = std::env::args().skip(1).collect();
    let scene = Scene::new(versions()[0]).await;
    for (kind, parted) in KINDS {
        if !only.is_empty() && !only.iter().any(|name| name == kind) {
            continue;
        }
        for guarded in [false, true] {
            let plan = prepare(&scene, kind, parted).await;
            one(&scene, kind, &plan, guarded).await;
        }
    }
}

/// Makes the tables and the plan.
async fn prepare(scene: &Scene, kind: &str, parted: bool) -> Plan {
    scene.sql(TABLES).await;
    scene.sql(if parted { PARTED } else { PLAIN }).await;
    match kind {
        "drop-table" => {
            // What is dropped was detached before; somebody still reads it.
            scene
                .sql("ALTER TABLE dw.fakta DETACH PARTITION dw.fakta_1")
                .await;
            scene
                .sql("ALTER TABLE dw.fakta RENAME TO tua; ALTER TABLE dw.fakta_1 RENAME TO fakta")
                .await;
        }
        "drop-invalid-index" => {
            scene
                .sql("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'dw.fakta_v'::regclass")
                .await;
        }
        _ => {}
    }
    let task = task(scene, kind).await;
    let plan = scene.plan(vec![task]).await;
    assert_eq!(plan.left, [], "{kind} is planned");
    plan
}

async fn task(scene: &Scene, kind: &str) -> Task {
    let table = scene.relation("dw", "fakta").await;
    let index = async |name: &str| scene.relation("dw", name).await;
    match kind {
        "detach-partition" | "detach-partition-concurrently" => Task::DetachPartition {
            parent: table,
            partition: scene.relation("dw", "fakta_2").await,
            concurrently: kind.ends_with("concurrently"),
        },
        "create-partition" => Task::CreatePartition {
            parent: table,
            name: "fakta_3".to_owned(),
            from: "3000".to_owned(),
            to: "4000".to_owned(),
            like: None,
        },
        "rewrite-vacuum-full" => Task::Rewrite {
            table,
            method: RewriteMethod::VacuumFull,
        },
        "drop-table" => Task::DropTable { table },
        "reindex-concurrently" => Task::Reindex {
            index: index("fakta_v").await,
            table,
        },
        "drop-invalid-index" => Task::DropInvalidIndex {
            index: index("fakta_v").await,
            table,
        },
        "summarize-brin" => Task::SummarizeBrin {
            index: index("fakta_brin").await,
            table,
        },
        "vacuum" => Task::Vacuum {
            table,
            options: VacuumOptions {
                truncate: true,
                ..VacuumOptions::default()
            },
        },
        "analyze" => Task::Analyze {
            table,
            columns: Vec::new(),
            pace: VacuumPace::default(),
        },
        "set-storage-parameters" => Task::SetStorageParameters {
            table,
            set: [("autovacuum_vacuum_scale_factor", "0.05")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            reset: Vec::new(),
        },
        "create-statistics" => Task::CreateStatistics {
            table,
            name: "fakta_stat".to_owned(),
            columns: vec!["id".to_owned(), "v".to_owned()],
            kinds: vec![StatisticsKind::Dependencies],
        },
        other => panic!("{other} is no kind"),
    }
}

/// Does the action behind a transaction and beside a load, and prints what others waited.
async fn one(scene: &Scene, kind: &str, plan: &Plan, guarded: bool) {
    let over = Arc::new(AtomicBool::new(false));
    let holder = scene.cluster.connect(DATABASE).await;
    holder.batch_execute("BEGIN").await.unwrap();
    let held = tokio::spawn(async move { holder.batch_execute(HOLDER).await });
    until("the transaction has its locks", async || {
        let sql = "SELECT count(*) FROM pg_locks WHERE relation = 'dw.fakta'::regclass AND granted AND mode = 'RowExclusiveLock'";
        scene.sql(sql).await != "0"
    })
    .await;
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        clients.push(client(scene, "dw.fakta", number, &over).await);
    }
    let control = client(scene, "dw.lain", 0, &over).await;
    let began = Instant::now();
    let (state, tries, told) = if guarded {
        let done = scene.apply(plan).await.actions.remove(0);
        assert_eq!(done.state, State::Done, "{done:?}");
        (done.state.to_string(), done.tries, done.impact.longest)
    } else {
        let naive = scene.cluster.connect(DATABASE).await;
        for sql in &plan.actions[0].sql {
            naive.simple_query(sql).await.unwrap();
        }
        ("done".to_owned(), 1, Duration::ZERO)
    };
    let took = began.elapsed();
    held.await.unwrap().unwrap();
    over.store(true, Ordering::Relaxed);
    let mut longest = Duration::ZERO;
    for client in clients {
        longest = longest.max(client.await.unwrap());
    }
    let control = control.await.unwrap();
    let how = if guarded { "guarded" } else { "naive" };
    println!(
        "{kind}\t{how}\t{state}\t{tries}\t{}\t{}\t{}\t{}",
        took.as_millis(),
        longest.as_millis(),
        control.as_millis(),
        told.as_millis()
    );
}

/// Reads or writes single rows until it is over or the table is gone; returns the longest that a statement took.
async fn client(
    scene: &Scene,
    table: &'static str,
    number: u64,
    over: &Arc<AtomicBool>,
) -> JoinHandle<Duration> {
    let client = scene.cluster.connect(DATABASE).await;
    let over = Arc::clone(over);
    tokio::spawn(async move {
        let mut pace = interval(REST);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut longest = Duration::ZERO;
        for row in (2..1000).cycle() {
            let sql = if number.is_multiple_of(2) {
                format!("SELECT count(*) FROM {table} WHERE id = {row}")
            } else {
                format!("UPDATE {table} SET v = v + 1 WHERE id = {}", row + number)
            };
            let began = Instant::now();
            let done = client.simple_query(&sql).await;
            longest = longest.max(began.elapsed());
            if let Err(error) = &done {
                let gone = error.code().is_some_and(|code| code.code() == "42P01");
                assert!(gone, "{sql}: {error:?}");
            }
            if over.load(Ordering::Relaxed) || done.is_err() {
                break;
            }
            pace.tick().await;
        }
        longest
    })
}
