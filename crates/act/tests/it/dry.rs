//! A dry run does everything but the change.

use pawang_act::Effects;
use pawang_core::plan::{RewriteMethod, State, Task, VacuumOptions, VacuumPace};
use pawang_testbed::versions;

use crate::world::{How, Scene};

/// Everything in the catalog and all counters that a change would move.
const STATE: &str = "SELECT md5(string_agg(t, ';' ORDER BY t)) FROM (
    SELECT c::text AS t FROM pg_class c
    UNION ALL SELECT i::text FROM pg_index i
    UNION ALL SELECT a::text FROM pg_attribute a
    UNION ALL SELECT h::text FROM pg_inherits h
    UNION ALL SELECT s::text FROM pg_statistic_ext s
    UNION ALL SELECT concat_ws(',', relid, n_tup_ins, n_tup_upd, n_tup_del, n_live_tup, n_dead_tup, vacuum_count, analyze_count)
        FROM pg_stat_all_tables WHERE schemaname = 'dw') AS everything";
const WAL: &str = "SELECT pg_current_wal_insert_lsn()";

#[tokio::test]
async fn a_dry_run_changes_nothing() {
    for version in versions() {
        let settings = [("autovacuum", "off"), ("checkpoint_timeout", "1h")];
        let scene = Scene::with(version, &settings).await;
        scene
            .sql(
                "CREATE SCHEMA dw; CREATE TABLE dw.fakta (n int NOT NULL) PARTITION BY RANGE (n);
                CREATE TABLE dw.fakta_1 PARTITION OF dw.fakta FOR VALUES FROM (0) TO (1000);
                CREATE INDEX fakta_1_idx ON dw.fakta_1 (n);
                INSERT INTO dw.fakta SELECT n FROM generate_series(0, 999) n; DELETE FROM dw.fakta WHERE n > 10",
            )
            .await;
        let table = scene.relation("dw", "fakta_1").await;
        let parent = scene.relation("dw", "fakta").await;
        let plan = scene
            .plan(vec![
                Task::Vacuum {
                    table: table.clone(),
                    options: VacuumOptions::default(),
                },
                Task::Analyze {
                    table: table.clone(),
                    columns: Vec::new(),
                    pace: VacuumPace::default(),
                },
                Task::Reindex {
                    index: scene.relation("dw", "fakta_1_idx").await,
                    table: table.clone(),
                },
                Task::CreatePartition {
                    parent: parent.clone(),
                    name: "fakta_2".to_owned(),
                    from: "1000".to_owned(),
                    to: "2000".to_owned(),
                    like: Some(table.clone()),
                },
                Task::Rewrite {
                    table: table.clone(),
                    method: RewriteMethod::VacuumFull,
                },
                Task::DetachPartition {
                    parent,
                    partition: table,
                    concurrently: true,
                },
            ])
            .await;
        assert_eq!(plan.left, []);
        let before = scene.sql(STATE).await;
        let mut written = Vec::new();
        // Reading may set hint bits and the server writes for itself now and then; a change would write every time.
        for _ in 0..3 {
            let wal = scene.sql(WAL).await;
            let how = How {
                effects: Effects::Dry,
                lanes: 2,
                ..How::default()
            };
            let outcome = scene.try_apply(&plan, how).await.unwrap();
            written.push(scene.sql(WAL).await != wal);
            for done in &outcome.actions {
                assert_eq!(done.state, State::DryRun, "{version}: {done:?}");
            }
        }
        assert_eq!(scene.sql(STATE).await, before, "{version}");
        assert!(written.contains(&false), "{version}: {written:?}");
        // The same plan is still good for the real thing.
        let outcome = scene.apply(&plan).await;
        assert!(outcome.good(), "{version}: {outcome:?}");
        assert_ne!(scene.sql(STATE).await, before, "{version}");
    }
}
