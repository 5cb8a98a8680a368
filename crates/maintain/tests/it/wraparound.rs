//! Age of transaction numbers, and who keeps it from becoming less.

use pawang_maintain::{Area, burn};

use crate::watch::{Watch, patient};

const AREAS: &[Area] = &[Area::Wraparound];
/// One transaction number for each turn.
const BURN: &str =
    "DO $$ BEGIN FOR i IN 1..8000 LOOP PERFORM txid_current(); COMMIT; END LOOP; END $$";

#[tokio::test]
async fn old_tables_are_frozen_unless_somebody_stands_in_the_way() {
    // The lowest limit that the server takes; 5 % of it is reached within a second.
    let cluster = patient(None, &[("autovacuum_freeze_max_age", "100000")]).await;
    let mut watch = Watch::start(&cluster).await;
    watch.policy.base.freeze_age_percent = 5.0;
    cluster
        .sql(
            "postgres",
            "CREATE TABLE t AS SELECT g AS id FROM generate_series(1, 100) AS g",
        )
        .await;
    cluster.sql("postgres", "VACUUM (FREEZE)").await;
    watch.healthy(AREAS).await;

    let areas = AREAS.iter().copied().collect();
    let older = watch.facts(&areas).await;
    let holder = cluster.hold("postgres", "SELECT txid_current()").await;
    cluster.sql("postgres", BURN).await;
    let newer = watch.facts(&areas).await;
    let found = burn(&newer, Some(&older)).unwrap();
    assert!(
        found.per_second > 10.0 && found.days_left.is_some(),
        "{found:?}"
    );

    let planned = watch.proposed(AREAS, &[]).await;
    assert!(
        planned
            .left
            .iter()
            .all(|left| left.why.contains("session ")),
        "{planned:#?}"
    );
    assert!(!planned.left.is_empty());
    drop(holder);
    crate::watch::holds(
        &cluster,
        "NOT EXISTS (SELECT FROM pg_stat_activity WHERE state = 'idle in transaction')",
    )
    .await;
    let planned = watch.plan(AREAS).await;
    assert!(!planned.proposals.is_empty(), "{planned:#?}");
    assert!(
        planned
            .proposals
            .iter()
            .all(|proposal| proposal.task.name() == "vacuum")
    );
    cluster.sql("postgres", "VACUUM (FREEZE)").await;
    watch.healthy(AREAS).await;
}
