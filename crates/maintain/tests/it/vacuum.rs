//! Dead rows, inserted rows and statistics, and who makes a vacuum useless.

use pawang_core::plan::Task;
use pawang_maintain::Area;
use pawang_testbed::{Cluster, versions};

use crate::watch::{Watch, holds, patient};

const BOTH: &[Area] = &[Area::Vacuum, Area::Analyze];

async fn done(cluster: &Cluster, table: &str) {
    cluster
        .sql("postgres", &format!("VACUUM (ANALYZE) {table}"))
        .await;
    let name = table.trim_matches('"');
    let clean = format!(
        "(SELECT n_dead_tup = 0 AND n_mod_since_analyze = 0 FROM pg_stat_user_tables WHERE relname = '{name}')"
    );
    holds(cluster, &clean).await;
}

#[tokio::test]
async fn dead_rows_are_vacuumed_by_autovacuums_own_formula() {
    for version in versions() {
        let cluster = patient(Some(version), &[]).await;
        let watch = Watch::start(&cluster).await;
        watch.healthy(BOTH).await;
        cluster
            .sql("postgres", "CREATE TABLE \"Sales\" AS SELECT g AS id, repeat('x', 100) AS note FROM generate_series(1, 20000) AS g")
            .await;
        holds(
            &cluster,
            "(SELECT n_live_tup = 20000 FROM pg_stat_user_tables)",
        )
        .await;
        let planned = watch.proposed(BOTH, &[("vacuum", "public.Sales")]).await;
        let Task::Vacuum { options, .. } = &planned.proposals[0].task else {
            panic!("{planned:#?}")
        };
        assert!(options.analyze, "one visit does for both");
        done(&cluster, "\"Sales\"").await;
        watch.healthy(BOTH).await;

        // 50 + 0.2 * 20,000 rows.
        cluster
            .sql(
                "postgres",
                "UPDATE \"Sales\" SET note = 'y' WHERE id <= 4050",
            )
            .await;
        holds(
            &cluster,
            "(SELECT n_dead_tup = 4050 FROM pg_stat_user_tables)",
        )
        .await;
        watch.proposed(BOTH, &[("vacuum", "public.Sales")]).await;
        cluster
            .sql("postgres", "ALTER TABLE \"Sales\" SET (autovacuum_vacuum_threshold = 5000, autovacuum_analyze_threshold = 9000)")
            .await;
        watch.healthy(BOTH).await;
        cluster
            .sql(
                "postgres",
                "ALTER TABLE \"Sales\" RESET (autovacuum_vacuum_threshold)",
            )
            .await;
        watch.proposed(BOTH, &[("vacuum", "public.Sales")]).await;
        done(&cluster, "\"Sales\"").await;
        watch.healthy(BOTH).await;
    }
}

#[tokio::test]
async fn a_vacuum_that_somebody_makes_useless_is_left_and_he_is_named() {
    let cluster = patient(None, &[]).await;
    let watch = Watch::start(&cluster).await;
    cluster
        .sql(
            "postgres",
            "CREATE TABLE t AS SELECT g AS id FROM generate_series(1, 20000) AS g",
        )
        .await;
    done(&cluster, "t").await;
    let holder = cluster.hold("postgres", "SELECT txid_current()").await;
    cluster
        .sql("postgres", "DELETE FROM t WHERE id <= 10000")
        .await;
    holds(
        &cluster,
        "(SELECT n_dead_tup = 10000 FROM pg_stat_user_tables)",
    )
    .await;
    watch
        .proposed(&[Area::Vacuum], &[("vacuum", "public.t")])
        .await;
    cluster.sql("postgres", "VACUUM t").await;
    holds(
        &cluster,
        "(SELECT vacuum_count = 2 AND n_dead_tup = 10000 FROM pg_stat_user_tables)",
    )
    .await;
    let planned = watch.proposed(&[Area::Vacuum], &[]).await;
    assert!(
        planned.left[0].object.starts_with("session "),
        "{planned:#?}"
    );
    assert!(planned.left[0].why.contains("public.t"), "{planned:#?}");
    drop(holder);
    holds(
        &cluster,
        "NOT EXISTS (SELECT FROM pg_stat_activity WHERE state = 'idle in transaction')",
    )
    .await;
    watch
        .proposed(&[Area::Vacuum], &[("vacuum", "public.t")])
        .await;
    done(&cluster, "t").await;
    watch.healthy(&[Area::Vacuum]).await;
}

#[tokio::test]
async fn a_partitioned_table_is_analyzed_as_a_whole() {
    let cluster = patient(None, &[]).await;
    let watch = Watch::start(&cluster).await;
    cluster
        .sql(
            "postgres",
            "CREATE TABLE p (id int) PARTITION BY RANGE (id); CREATE TABLE p_0 PARTITION OF p FOR VALUES FROM (0) TO (100000); \
             INSERT INTO p SELECT generate_series(1, 5000)",
        )
        .await;
    cluster.sql("postgres", "VACUUM (ANALYZE) p_0").await;
    holds(
        &cluster,
        "(SELECT n_mod_since_analyze = 0 FROM pg_stat_user_tables WHERE relname = 'p_0')",
    )
    .await;
    watch.proposed(BOTH, &[("analyze", "public.p")]).await;
    cluster.sql("postgres", "ANALYZE p").await;
    watch.healthy(BOTH).await;
}
