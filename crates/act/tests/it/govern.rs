//! The governor: nothing begins over a limit, and what runs is cancelled over a hard one; windows, interrupts, stop file.

use std::time::{Duration, Instant};

use futures_util::future::{join, join3};
use pawang_act::Step;
use pawang_core::plan::{State, Task, VacuumOptions, VacuumPace};
use pawang_testbed::{until, versions};

use crate::world::{DATABASE, How, Scene, clock, set_ahead};

const HOUR: Duration = Duration::from_hours(1);

pub(crate) async fn slow_table(scene: &Scene) {
    let sql = "CREATE SCHEMA dw; CREATE TABLE dw.pelan (n int, filler text);
        ALTER TABLE dw.pelan SET (autovacuum_enabled = off);
        INSERT INTO dw.pelan SELECT n, repeat('x', 1000) FROM generate_series(1, 5000) n;
        DELETE FROM dw.pelan WHERE n % 2 = 0;
        CREATE TABLE dw.lain AS SELECT n FROM generate_series(1, 10) n";
    scene.sql(sql).await;
}

/// Returns a VACUUM that takes about a minute when nobody stops it.
pub(crate) async fn slow_vacuum(scene: &Scene) -> Task {
    Task::Vacuum {
        table: scene.relation("dw", "pelan").await,
        options: VacuumOptions {
            pace: VacuumPace {
                cost_delay_ms: Some(100.0),
                cost_limit: Some(1),
            },
            ..VacuumOptions::default()
        },
    }
}

pub(crate) async fn vacuum_runs(scene: &Scene) {
    until("VACUUM runs", async || {
        scene
            .sql("SELECT count(*) FROM pg_stat_progress_vacuum")
            .await
            == "1"
    })
    .await;
}

/// Waits until so many sessions sleep.
async fn asleep(scene: &Scene, count: usize) {
    until("they sleep", async || {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
        scene.sql(sql).await == count.to_string()
    })
    .await;
}

async fn other(scene: &Scene) -> Task {
    Task::Analyze {
        table: scene.relation("dw", "lain").await,
        columns: Vec::new(),
        pace: VacuumPace::default(),
    }
}

#[tokio::test]
async fn waits_while_the_server_is_busy_and_goes_on_afterwards() {
    let mut scene = Scene::new(versions()[0]).await;
    slow_table(&scene).await;
    scene.limits.active_sessions = 0;
    let plan = scene.plan(vec![other(&scene).await]).await;
    let busy = scene.cluster.connect(DATABASE).await;
    let work = busy.batch_execute("SELECT pg_sleep(600)");
    let action = async {
        asleep(&scene, 1).await;
        scene.apply(&plan).await
    };
    let waited = |step: &Step| matches!(step, Step::Waiting { why } if why.contains("sessions that run a statement: 1"));
    let calm = async {
        until("the action waits", async || {
            let seen = scene.seen.lock().unwrap();
            seen.iter().any(|progress| waited(&progress.step))
        })
        .await;
        scene
            .sql("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'")
            .await;
    };
    let (worked, outcome, ()) = join3(work, action, calm).await;
    worked.unwrap_err();
    assert_eq!(outcome.actions[0].state, State::Done, "{outcome:?}");
}

#[tokio::test]
async fn cancels_its_own_session_only_when_the_server_is_overloaded() {
    let mut scene = Scene::new(versions()[0]).await;
    slow_table(&scene).await;
    scene.limits.active_sessions = 1;
    scene.limits.patience = Duration::ZERO;
    let plan = scene
        .plan(vec![slow_vacuum(&scene).await, other(&scene).await])
        .await;
    let clients = join3(
        scene.cluster.connect(DATABASE),
        scene.cluster.connect(DATABASE),
        scene.cluster.connect(DATABASE),
    )
    .await;
    let load = async {
        vacuum_runs(&scene).await;
        let work = "SELECT pg_sleep(600)";
        join3(
            clients.0.batch_execute(work),
            clients.1.batch_execute(work),
            clients.2.batch_execute(work),
        )
        .await
    };
    let outcome = tokio::select! {
        outcome = scene.apply(&plan) => outcome,
        ended = load => unreachable!("they sleep for ten minutes: {ended:?}"),
    };
    // None of theirs was cancelled.
    asleep(&scene, 3).await;
    let [vacuum, analyze] = &outcome.actions[..] else {
        panic!("{outcome:?}");
    };
    assert_eq!(vacuum.state, State::Cancelled, "{vacuum:?}");
    assert!(
        vacuum
            .detail
            .contains("sessions that run a statement: 3 (limit 1)"),
        "{vacuum:?}"
    );
    assert_eq!(analyze.state, State::Skipped, "{analyze:?}");
}

#[tokio::test]
async fn stop_file_interrupt_and_window_end_what_runs_and_what_waits() {
    let mut scene = Scene::new(versions()[0]).await;
    slow_table(&scene).await;
    let file = scene.cluster.folder("stop").join("pawang.stop");
    scene.limits.stop_file = Some(file.clone());
    let plan = scene
        .plan(vec![slow_vacuum(&scene).await, other(&scene).await])
        .await;
    let end = clock() + HOUR;
    for (why, until) in [
        ("the window has closed", Some(end)),
        ("interrupted", None),
        ("the stop file", None),
    ] {
        let trouble = async {
            vacuum_runs(&scene).await;
            match why {
                "interrupted" => scene.stop.send_replace(true),
                "the stop file" => std::fs::File::create(&file).map(|_| true).unwrap(),
                _ => {
                    set_ahead(HOUR);
                    true
                }
            };
            Instant::now()
        };
        let how = How {
            until,
            ..How::default()
        };
        let (outcome, since) = join(scene.try_apply(&plan, how), trouble).await;
        set_ahead(Duration::ZERO);
        let outcome = outcome.unwrap();
        // Long before it would have ended by itself.
        assert!(
            since.elapsed() < Duration::from_secs(30),
            "{why}: {:?}",
            since.elapsed()
        );
        let [vacuum, analyze] = &outcome.actions[..] else {
            panic!("{outcome:?}");
        };
        assert_eq!(vacuum.state, State::Cancelled, "{why}: {vacuum:?}");
        assert!(vacuum.detail.starts_with(why), "{why}: {vacuum:?}");
        assert_eq!(analyze.state, State::Skipped, "{why}: {analyze:?}");
        scene.stop.send_replace(false);
        assert!(!outcome.good());
    }
    // Nothing begins while the file is there.
    let outcome = scene.apply(&plan).await;
    assert_eq!(outcome.actions[0].state, State::Skipped, "{outcome:?}");
    assert_eq!(
        scene
            .sql("SELECT count(*) FROM pg_stat_progress_vacuum")
            .await,
        "0"
    );
}

#[tokio::test]
async fn nothing_begins_on_a_full_disk_or_without_the_standby() {
    let mut scene = Scene::with(versions()[0], &[("log_statement", "all")]).await;
    slow_table(&scene).await;
    scene.limits.patience = Duration::ZERO;
    let plan = scene.plan(vec![other(&scene).await]).await;
    scene.limits.free_disk.0 = 1 << 60;
    let outcome = scene.apply(&plan).await;
    assert_eq!(outcome.actions[0].state, State::Skipped, "{outcome:?}");
    assert!(
        outcome.actions[0].detail.contains("free disk space"),
        "{outcome:?}"
    );
    scene.limits.free_disk.0 = 1;
    let standby = scene.cluster.standby("s1").await;
    let plan = scene
        .plan(vec![slow_vacuum(&scene).await, other(&scene).await])
        .await;
    let trouble = async {
        vacuum_runs(&scene).await;
        drop(standby);
        until("the standby is gone", async || {
            scene.sql("SELECT count(*) FROM pg_stat_replication").await == "0"
        })
        .await;
        // When the governor asks once more, it has judged by what it was answered the time before.
        let asked = || {
            let log = std::fs::read_to_string(scene.cluster.log_file()).unwrap();
            log.matches("AS active_sessions").count()
        };
        let before = asked();
        until("the governor knows", async || asked() >= before + 2).await;
        // Somebody ends the VACUUM, and the next action is up.
        scene
            .sql("SELECT pg_cancel_backend(pid) FROM pg_stat_progress_vacuum")
            .await;
    };
    let (outcome, ()) = join(scene.apply(&plan), trouble).await;
    assert_eq!(outcome.actions[0].state, State::Failed, "{outcome:?}");
    assert_eq!(outcome.actions[1].state, State::Skipped, "{outcome:?}");
    assert!(
        outcome.actions[1]
            .detail
            .contains("a standby that was connected"),
        "{outcome:?}"
    );
}
