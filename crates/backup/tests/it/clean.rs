//! The last backup without a wrong page stays, however many come after it.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;

use jiff::SignedDuration;
use pawang_backup::retention::{Fate, Outcome, Policy, expire};
use pawang_backup::take::Reading;
use pawang_backup::{BackupId, Commit};
use pawang_testbed::versions;

use crate::take::Bed;
use crate::world::now;

/// Keeps nothing but what no policy can take away, and lets nothing lie.
async fn expired(bed: &Bed, commit: &Commit) -> Outcome {
    let policy = Policy {
        keep_fulls: Some(1),
        grace: SignedDuration::ZERO,
        ..Policy::default()
    };
    // The first run lays tombs.
    let expire = async || expire(&bed.repository, &commit.cluster, &policy, now(), false).await;
    expire().await.unwrap();
    expire().await.unwrap()
}

async fn left(bed: &Bed, commit: &Commit) -> Vec<BackupId> {
    let backups = bed.repository.backups(&commit.cluster).await.unwrap();
    backups.into_iter().map(|commit| commit.backup).collect()
}

#[tokio::test]
async fn the_last_clean_backup_outlives_those_with_wrong_pages() {
    let bed = Bed::read_by(versions()[0], Reading::Local).await;
    let create =
        "CREATE TABLE fact WITH (autovacuum_enabled = off) AS SELECT g, repeat('x', 500) FROM generate_series(1, 2000) AS g;
        CHECKPOINT; SELECT pg_relation_filepath('fact')";
    let path = bed.cluster.sql("postgres", create).await[0][0]
        .clone()
        .unwrap();
    let clean = bed.take().await;
    assert_eq!(clean.pages.wrong, 0);
    let path = bed.cluster.data_directory().join(path);
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(b"rot", 7 * 8192 + 5000).unwrap();
    let second = bed.take().await;
    let third = bed.take().await;
    assert_eq!((second.pages.wrong, third.pages.wrong), (1, 1));
    let outcome = expired(&bed, &clean).await;
    assert_eq!(
        left(&bed, &clean).await,
        [clean.backup.clone(), third.backup.clone()]
    );
    let decision = &outcome.plan.decisions[0];
    assert_eq!(decision.fate, Fate::Keep);
    assert!(
        decision
            .to_string()
            .contains("it is the newest without wrong pages"),
        "{decision}"
    );
    // What is wrong is gone from the server, and a backup without it takes the place of both.
    bed.cluster
        .sql("postgres", "DROP TABLE fact; CHECKPOINT")
        .await;
    let fourth = bed.take().await;
    assert_eq!(fourth.pages.wrong, 0);
    expired(&bed, &clean).await;
    assert_eq!(left(&bed, &clean).await, [fourth.backup]);
}
