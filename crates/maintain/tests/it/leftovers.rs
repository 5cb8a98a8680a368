//! Invalid indexes: one that is being built is not one that was left.

use pawang_maintain::Area;
use pawang_testbed::until;

use crate::watch::{Watch, holds, patient};

const AREAS: &[Area] = &[Area::Leftovers];
const BUILD: &str = "CREATE INDEX CONCURRENTLY \"Half\" ON t (id)";

#[tokio::test]
async fn an_index_that_nobody_builds_any_more_is_dropped() {
    let cluster = patient(None, &[]).await;
    let watch = Watch::start(&cluster).await;
    cluster
        .sql(
            "postgres",
            "CREATE TABLE t AS SELECT g AS id FROM generate_series(1, 100) AS g",
        )
        .await;
    watch.healthy(AREAS).await;

    // It waits for this one and is not valid meanwhile.
    let holder = cluster.hold("postgres", "INSERT INTO t VALUES (0)").await;
    let builder = cluster.connect("postgres").await;
    let building = builder.batch_execute(BUILD);
    let seen = async {
        holds(
            &cluster,
            "EXISTS (SELECT FROM pg_index WHERE NOT indisvalid)",
        )
        .await;
        let planned = watch.proposed(AREAS, &[]).await;
        assert!(planned.left[0].why.contains("right now"), "{planned:#?}");
        let stop = "SELECT pg_cancel_backend(pid) FROM pg_stat_progress_create_index";
        cluster.sql("postgres", stop).await;
    };
    let (built, ()) = tokio::join!(building, seen);
    built.unwrap_err();
    drop(holder);

    until("nobody builds it", async || {
        let running = cluster
            .sql("postgres", "SELECT FROM pg_stat_progress_create_index")
            .await;
        running.is_empty()
    })
    .await;
    watch
        .proposed(AREAS, &[("drop-invalid-index", "public.Half")])
        .await;
    cluster
        .sql("postgres", "DROP INDEX CONCURRENTLY \"Half\"")
        .await;
    watch.healthy(AREAS).await;
}
