//! A standby streams what its primary writes, and takes over when asked.

use pawang_testbed::{Cluster, Setup, until, versions};

#[tokio::test]
async fn streams_on_every_version() {
    for version in versions() {
        let primary = Cluster::start(&Setup {
            version: Some(version),
            settings: &[("work_mem", "7MB")],
            ..Setup::default()
        })
        .await;
        primary
            .sql("postgres", "CREATE TABLE milk AS SELECT 1 AS litres")
            .await;
        let mut standby = primary.standby("s 1").await;
        let names = "SELECT application_name FROM pg_stat_replication";
        assert_eq!(
            primary.sql("postgres", names).await,
            [[Some("s 1".to_owned())]]
        );
        let slots = "SELECT FROM pg_replication_slots";
        until("the slot of the copy is gone", async || {
            primary.sql("postgres", slots).await.is_empty()
        })
        .await;
        assert!(standby.sql("postgres", slots).await.is_empty());
        standby.kill();
        primary.sql("postgres", "INSERT INTO milk VALUES (2)").await;
        standby.start_again().await;
        until("the row arrives", async || {
            standby.sql("postgres", "SELECT FROM milk").await.len() == 2
        })
        .await;
    }
}

#[tokio::test]
async fn standby_of_a_standby() {
    let primary = Cluster::start(&Setup::default()).await;
    let first = primary.standby("first").await;
    let second = first.standby("second").await;
    primary.sql("postgres", "CREATE TABLE milk ()").await;
    until("the table arrives", async || {
        let table = "SELECT FROM pg_class WHERE relname = 'milk'";
        second.sql("postgres", table).await.len() == 1
    })
    .await;
    drop(primary);
    first.sql("postgres", "SELECT pg_promote()").await;
    first
        .sql("postgres", "INSERT INTO milk DEFAULT VALUES")
        .await;
}
