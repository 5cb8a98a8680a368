//! A cluster starts, answers, stops, comes back, and is gone when it is dropped.

use std::fs;
use std::path::Path;

use pawang_testbed::{Cluster, Setup, Stop, until, versions};

#[tokio::test]
async fn starts_on_every_version() {
    for version in versions() {
        let cluster = Cluster::start(&Setup {
            version: Some(version),
            settings: &[("work_mem", "7MB"), ("cluster_name", "it's mine")],
            ..Setup::default()
        })
        .await;
        assert_eq!(cluster.version(), version);
        let sql = "SELECT 1; SELECT current_setting('work_mem'), current_setting('cluster_name'), NULL, \
                   current_setting('server_version_num')::int / 10000, current_user";
        let rows = cluster.sql("postgres", sql).await;
        let major = version.to_string();
        let expected = [
            Some("7MB"),
            Some("it's mine"),
            None,
            Some(&major),
            Some("postgres"),
        ];
        assert_eq!(rows, [expected.map(|value| value.map(str::to_owned))]);
    }
}

#[tokio::test]
async fn contrib_is_there_on_every_version() {
    for version in versions() {
        let cluster = Cluster::start(&Setup {
            version: Some(version),
            settings: &[("shared_preload_libraries", "pg_stat_statements")],
            ..Setup::default()
        })
        .await;
        for extension in [
            "pg_stat_statements",
            "pgstattuple",
            "pageinspect",
            "amcheck",
            "pg_buffercache",
            "pg_visibility",
            "pg_prewarm",
            "pg_freespacemap",
        ] {
            let create = format!("CREATE EXTENSION {extension}");
            cluster.sql("postgres", &create).await;
        }
        let counted = cluster
            .sql("postgres", "SELECT count(*) > 0 FROM pg_stat_statements")
            .await;
        assert_eq!(counted, [[Some("t".to_owned())]]);
    }
}

#[tokio::test]
async fn comes_back_after_stop_and_kill() {
    for version in versions() {
        let mut cluster = Cluster::start(&Setup {
            version: Some(version),
            ..Setup::default()
        })
        .await;
        cluster.sql("postgres", "CREATE TABLE kept (id int)").await;
        for stop in [
            Some(Stop::Smart),
            Some(Stop::Fast),
            Some(Stop::Immediate),
            None,
        ] {
            let client = cluster.hold("postgres", "LOCK TABLE kept").await;
            match stop {
                Some(Stop::Smart) => {
                    drop(client);
                    cluster.stop(Stop::Smart).await;
                }
                Some(mode) => cluster.stop(mode).await,
                None => cluster.kill(),
            }
            cluster.start_again().await;
            cluster.sql("postgres", "INSERT INTO kept VALUES (1)").await;
        }
        let rows = cluster.sql("postgres", "SELECT count(*) FROM kept").await;
        assert_eq!(rows, [[Some("4".to_owned())]]);
    }
}

#[tokio::test]
async fn a_stopped_cluster_is_copied() {
    let mut cluster = Cluster::start(&Setup::default()).await;
    cluster
        .sql("postgres", "CREATE TABLE kept AS SELECT 1")
        .await;
    cluster.stop(Stop::Fast).await;
    let copies = [cluster.duplicate().await, cluster.duplicate().await];
    copies[0].sql("postgres", "DROP TABLE kept").await;
    let rows = copies[1].sql("postgres", "SELECT count(*) FROM kept").await;
    assert_eq!(rows, [[Some("1".to_owned())]]);
}

#[tokio::test]
async fn is_gone_when_dropped() {
    let mut killed = Cluster::start(&Setup::default()).await;
    let running = Cluster::start(&Setup::default()).await;
    let postmasters = [&killed, &running].map(|cluster| cluster.postmaster().to_string());
    killed.kill();
    let directories = [&killed, &running].map(|cluster| cluster.socket_directory().to_owned());
    drop((killed, running));
    assert!(!directories.iter().any(|directory| directory.exists()));
    let segments = fs::read_to_string("/proc/sysvipc/shm").expect("Linux shows its segments");
    for postmaster in postmasters {
        assert!(!Path::new("/proc").join(&postmaster).exists());
        let mut creators = segments
            .lines()
            .filter_map(|line| line.split_whitespace().nth(4));
        assert!(!creators.any(|creator| creator == postmaster));
    }
}

#[tokio::test]
async fn settings_change_at_run_time() {
    let cluster = Cluster::start(&Setup::default()).await;
    for (value, shown) in [(Some("9MB"), "9MB"), (None, "4MB")] {
        cluster.set("work_mem", value).await;
        let rows = cluster.sql("postgres", "SHOW work_mem").await;
        assert_eq!(rows, [[Some(shown.to_owned())]]);
    }
}

#[tokio::test]
async fn listens_on_tcp_only_when_asked() {
    let cluster = Cluster::start(&Setup {
        tcp: true,
        hba: Some("host all monitor 127.0.0.1/32 trust"),
        ..Setup::default()
    })
    .await;
    assert_eq!(cluster.monitor().await, "monitor");
    assert_eq!(cluster.monitor().await, "monitor");
    let connect = async |user: &str| {
        tokio_postgres::Config::new()
            .host("127.0.0.1")
            .port(cluster.port())
            .user(user)
            .dbname("postgres")
            .connect(tokio_postgres::NoTls)
            .await
            .is_ok()
    };
    assert!(connect("monitor").await);
    assert!(!connect("postgres").await);
}

#[tokio::test]
async fn monitor_is_no_superuser() {
    let cluster = Cluster::start(&Setup::default()).await;
    let monitor = cluster.monitor().await;
    let url = cluster.url_as(&monitor, "postgres");
    let config: tokio_postgres::Config = url.parse().expect("the URL is in libpq's form");
    let (client, connection) = config
        .connect(tokio_postgres::NoTls)
        .await
        .expect("trust on the socket");
    let session = async {
        let row = client
            .query_one(
                "SELECT usesuper, pg_has_role('pg_monitor', 'member') FROM pg_user WHERE usename = current_user",
                &[],
            )
            .await
            .expect("the catalog is readable");
        assert_eq!((row.get(0), row.get(1)), (false, true));
    };
    tokio::select! {
        () = session => {}
        ended = connection => panic!("{ended:?}"),
    }
    until("only our own session is left", async || {
        let others = "SELECT FROM pg_stat_activity WHERE usename = 'monitor'";
        cluster.sql("postgres", others).await.len() <= 1
    })
    .await;
}
