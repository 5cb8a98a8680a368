//! Partitions made ahead, the default partition, retention, and a detach that did not end.

use pawang_core::plan::Task;
use pawang_maintain::{Area, Planned};
use pawang_testbed::{Cluster, versions};

use crate::watch::{Watch, patient};

const AREAS: &[Area] = &[Area::Partitions];

/// A table by month, from four months ago to this one, as somebody in Jakarta made it.
const MONTHS: &str = "SET timezone = 'Asia/Jakarta';
CREATE SCHEMA dw; CREATE TABLE dw.\"Sales\" (at timestamptz NOT NULL, amount int) PARTITION BY RANGE (at);
DO $$ DECLARE m timestamptz; BEGIN
  FOR back IN REVERSE 4..0 LOOP
    m := date_trunc('month', now()) - make_interval(months => back);
    EXECUTE format('CREATE TABLE dw.%I PARTITION OF dw.\"Sales\" FOR VALUES FROM (%L) TO (%L)',
                   'Sales_' || to_char(m, 'YYYY_MM'), m, m + interval '1 month');
  END LOOP;
END $$";

/// Does what was proposed, as plainly as SQL can.
async fn apply(cluster: &Cluster, planned: &Planned) {
    for proposal in &planned.proposals {
        let sql = match &proposal.task {
            Task::CreatePartition { name, from, to, .. } => format!(
                "CREATE TABLE dw.\"{name}\" PARTITION OF dw.\"Sales\" FOR VALUES FROM ('{from}') TO ('{to}')"
            ),
            Task::DetachPartition {
                partition,
                concurrently,
                ..
            } => format!(
                "ALTER TABLE dw.\"Sales\" DETACH PARTITION dw.\"{}\"{}",
                partition.name,
                if *concurrently { " CONCURRENTLY" } else { "" }
            ),
            Task::FinalizeDetach { partition, .. } => format!(
                "ALTER TABLE dw.\"Sales\" DETACH PARTITION dw.\"{}\" FINALIZE",
                partition.name
            ),
            Task::DropTable { table } => format!("DROP TABLE dw.\"{}\"", table.name),
            other => panic!("{other:?}"),
        };
        cluster.sql("postgres", &sql).await;
    }
}

fn names(planned: &Planned) -> Vec<&'static str> {
    planned
        .proposals
        .iter()
        .map(|proposal| proposal.task.name())
        .collect()
}

#[tokio::test]
async fn partitions_are_made_taken_out_and_dropped_in_time() {
    for version in versions() {
        let cluster = patient(Some(version), &[("timezone", "Asia/Jakarta")]).await;
        let mut watch = Watch::start(&cluster).await;
        watch.healthy(AREAS).await;
        cluster.sql("postgres", MONTHS).await;
        let planned = watch.plan(AREAS).await;
        assert_eq!(names(&planned), ["create-partition"; 4], "{planned:#?}");
        apply(&cluster, &planned).await;
        watch.healthy(AREAS).await;
        let months = "SELECT count(*) FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid \
            WHERE c.relname = 'Sales_' || to_char(substring(pg_get_expr(c.relpartbound, 0) FROM '''(.*?)''')::timestamptz, 'YYYY_MM')";
        let count = cluster.sql("postgres", months).await;
        assert_eq!(
            count[0][0].as_deref(),
            Some("9"),
            "each is named after its month by the server's clock"
        );

        let days = |days: u64| std::time::Duration::from_secs(days * 86_400);
        watch.policy.base.partitions_keep = Some(days(70));
        let planned = watch.plan(AREAS).await;
        assert!(!planned.proposals.is_empty(), "{planned:#?}");
        assert!(
            names(&planned)
                .iter()
                .all(|name| *name == "detach-partition"),
            "{planned:#?}"
        );
        apply(&cluster, &planned).await;
        watch.healthy(AREAS).await;
        watch.policy.base.partitions_drop_after = Some(days(70));
        let dropped = watch.plan(AREAS).await;
        assert_eq!(
            names(&dropped),
            vec!["drop-table"; planned.proposals.len()],
            "{dropped:#?}"
        );
        apply(&cluster, &dropped).await;
        watch.healthy(AREAS).await;
    }
}

#[tokio::test]
async fn rows_in_the_default_partition_are_told_before_anything_is_made() {
    let cluster = patient(None, &[("timezone", "Asia/Jakarta")]).await;
    let watch = Watch::start(&cluster).await;
    cluster.sql("postgres", MONTHS).await;
    cluster
        .sql(
            "postgres",
            "CREATE TABLE dw.rest PARTITION OF dw.\"Sales\" DEFAULT",
        )
        .await;
    assert_eq!(names(&watch.plan(AREAS).await), ["create-partition"; 4]);
    cluster
        .sql(
            "postgres",
            "INSERT INTO dw.\"Sales\" SELECT '2001-01-01', g FROM generate_series(1, 7) AS g",
        )
        .await;
    cluster.sql("postgres", "ANALYZE dw.rest").await;
    let planned = watch.proposed(AREAS, &[]).await;
    assert!(planned.left[0].why.contains("about 7 rows"), "{planned:#?}");
    cluster.sql("postgres", "DELETE FROM dw.rest").await;
    cluster.sql("postgres", "VACUUM (ANALYZE) dw.rest").await;
    let planned = watch.plan(AREAS).await;
    apply(&cluster, &planned).await;
    watch.healthy(AREAS).await;
}

#[tokio::test]
async fn a_detach_that_did_not_end_is_ended() {
    let cluster = patient(None, &[("timezone", "Asia/Jakarta")]).await;
    let watch = Watch::start(&cluster).await;
    cluster.sql("postgres", MONTHS).await;
    apply(&cluster, &watch.plan(AREAS).await).await;
    let reader = cluster.hold("postgres", "SELECT FROM dw.\"Sales\"").await;
    let client = cluster.connect("postgres").await;
    // Only the wait for the reader is limited: what comes before it takes as long as it takes.
    client
        .batch_execute("SET lock_timeout = '500ms'")
        .await
        .unwrap();
    let oldest = cluster
        .sql(
            "postgres",
            "SELECT relname FROM pg_class WHERE relispartition ORDER BY relname LIMIT 1",
        )
        .await;
    let oldest = oldest[0][0].clone().unwrap();
    let detach = format!("ALTER TABLE dw.\"Sales\" DETACH PARTITION dw.\"{oldest}\" CONCURRENTLY");
    client.batch_execute(&detach).await.unwrap_err();
    drop(reader);
    let object = format!("dw.{oldest}");
    let planned = watch
        .proposed(AREAS, &[("finalize-detach", object.as_str())])
        .await;
    apply(&cluster, &planned).await;
    watch.healthy(AREAS).await;
}
