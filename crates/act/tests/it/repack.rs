//! pg_repack by its client program, with a real server.

use std::time::Duration;

use pawang_act::repack::{Ended, Reach, find, repack};
use pawang_core::plan::Relation;
use pawang_testbed::{Cluster, Setup, Version};
use tokio::sync::watch;

/// Debian packages it for this version.
const MAJOR: u32 = 15;
const WAIT: Duration = Duration::from_secs(1);

async fn start() -> Cluster {
    let cluster = Cluster::start(&Setup {
        version: Some(Version(MAJOR)),
        ..Setup::default()
    })
    .await;
    cluster
        .sql(
            "postgres",
            "CREATE EXTENSION pg_repack; CREATE SCHEMA \"Dw\"; CREATE TABLE \"Dw\".\"Fact x\" (id int PRIMARY KEY, note text);
             INSERT INTO \"Dw\".\"Fact x\" SELECT g, repeat('x', 100) FROM generate_series(1, 20000) g; DELETE FROM \"Dw\".\"Fact x\" WHERE id > 1000;
             CREATE TABLE public.keyless (id int)",
        )
        .await;
    cluster
}

async fn run(
    cluster: &Cluster,
    schema: &str,
    name: &str,
    stop: &mut watch::Receiver<bool>,
) -> Ended {
    let program = find(MAJOR).expect("pg_repack is installed");
    let host = cluster.socket_directory().to_string_lossy().into_owned();
    let table = Relation {
        oid: 0,
        schema: schema.to_owned(),
        name: name.to_owned(),
    };
    let reach = Reach {
        host: &host,
        port: cluster.port(),
        user: "postgres",
        database: "postgres",
        password: None,
    };
    repack(&program, &table, &reach, WAIT, stop)
        .await
        .expect("pg_repack can be started")
}

async fn number(cluster: &Cluster, sql: &str) -> i64 {
    let rows = cluster.sql("postgres", sql).await;
    let text = rows[0][0].as_deref();
    text.and_then(|text| text.parse().ok())
        .expect("the query returns a number")
}

#[tokio::test]
async fn a_table_is_written_anew_and_one_without_a_key_is_said_to_be_skipped() {
    let cluster = start().await;
    let (_stop, mut stopped) = watch::channel(false);
    let size = "SELECT pg_relation_size('\"Dw\".\"Fact x\"')";
    let before = number(&cluster, size).await;
    assert_eq!(
        run(&cluster, "Dw", "Fact x", &mut stopped).await,
        Ended::Done
    );
    assert!(number(&cluster, size).await * 10 < before);
    assert_eq!(
        number(&cluster, "SELECT count(*) FROM \"Dw\".\"Fact x\"").await,
        1000
    );
    let skipped = run(&cluster, "public", "keyless", &mut stopped).await;
    assert!(
        matches!(&skipped, Ended::Failed(why) if why.contains("key")),
        "{skipped:?}"
    );
}

#[tokio::test]
async fn it_gives_up_behind_a_lock_instead_of_ending_its_holder_and_stops_when_told() {
    let cluster = start().await;
    let (stop, mut stopped) = watch::channel(false);
    let holder = cluster
        .hold("postgres", "SELECT count(*) FROM \"Dw\".\"Fact x\"")
        .await;
    let gave_up = run(&cluster, "Dw", "Fact x", &mut stopped).await;
    assert!(matches!(gave_up, Ended::Failed(_)), "{gave_up:?}");
    holder
        .simple_query("SELECT 1")
        .await
        .expect("the session of the holder still lives");
    stop.send(true).unwrap();
    let ended = run(&cluster, "Dw", "Fact x", &mut stopped).await;
    assert_eq!(ended, Ended::Stopped { clean: true });
    drop(holder);
    let left = "SELECT count(*) FROM pg_trigger WHERE tgname LIKE '%repack%'";
    assert_eq!(number(&cluster, left).await, 0);
}
