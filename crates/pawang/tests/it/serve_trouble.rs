//! A daemon in a world that breaks: servers that hang or stop, kill -9, a full disk, odd texts.

use std::net::TcpListener;

use pawang_core::Timestamp;
use pawang_store::Store;
use pawang_store::state::FindingQuery;
use pawang_testbed::{Cluster, Setup, Stop, until};

use crate::program::{Desk, instance};
use crate::serve::{extent, file};
use crate::serve_daemon::Daemon;

/// Returns since when the open findings of a check are open.
fn open_since(desk: &Desk, check: &str) -> Vec<Timestamp> {
    let Ok(store) = Store::open_to_read(&desk.path("state/data")) else {
        return Vec::new();
    };
    let reader = store.reader().unwrap();
    let query = FindingQuery {
        instance: Some("one"),
        limit: 1_000,
        ..FindingQuery::default()
    };
    let records = reader.findings(&query).unwrap().into_iter();
    let open = records.filter(|r| r.closed_at.is_none() && r.finding.check == check);
    open.map(|record| record.opened_at).collect()
}

#[tokio::test]
async fn servers_that_never_answer_delay_nobody() {
    let cluster = Cluster::start(&Setup::default()).await;
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let desk = Desk::new();
    let mut instances = instance("one", &cluster.url("postgres"));
    for index in 0..5 {
        let url = format!("postgres://x@127.0.0.1:{port}/x?sslmode=disable&connect_timeout=120");
        instances += &instance(&format!("silent-{index}"), &url);
    }
    file(&desk, &instances);
    let daemon = Daemon::start(&desk).await;
    let one = daemon.judged("one").await;
    assert!(one["silent"].is_null(), "{one}");
    // None of the silent ones has given up yet, which takes 2 min.
    assert!(daemon.instance("silent-0")["level"].is_null());
    daemon.signal("TERM");
    assert_eq!(daemon.ended().await, 0);
}

#[tokio::test]
async fn a_server_that_stops_is_a_finding_until_it_comes_back() {
    let mut cluster = Cluster::start(&Setup::default()).await;
    let desk = Desk::new();
    file(&desk, &instance("one", &cluster.url("postgres")));
    let daemon = Daemon::start(&desk).await;
    daemon.judged("one").await;
    cluster.stop(Stop::Immediate).await;
    until("the server is missed", async || {
        daemon.instance("one")["silent"].is_string()
    })
    .await;
    until("it is a finding", async || {
        !open_since(&desk, "server-down").is_empty()
    })
    .await;
    let one = daemon.instance("one");
    assert_eq!(one["level"], "critical", "{one}");
    cluster.start_again().await;
    daemon.look("one");
    until("the server is back", async || {
        daemon.instance("one")["silent"].is_null()
    })
    .await;
    until("the finding is over", async || {
        open_since(&desk, "server-down").is_empty()
    })
    .await;
}

#[tokio::test]
async fn a_daemon_that_is_killed_goes_on_where_it_was() {
    let cluster = Cluster::start(&Setup::default()).await;
    let desk = Desk::new();
    let limit = "[check.connections]\nwarning = 0\n";
    file(&desk, &(instance("one", &cluster.url("postgres")) + limit));
    let data = desk.path("state/data");
    let daemon = Daemon::start(&desk).await;
    until("the finding is kept", async || {
        open_since(&desk, "connections").len() == 1
    })
    .await;
    let since = open_since(&desk, "connections");
    until("the history has something", async || {
        extent(&data, "one").is_some()
    })
    .await;
    let before = extent(&data, "one").unwrap();
    daemon.signal("KILL");
    assert_eq!(daemon.ended().await, 137);
    let kept = extent(&data, "one").unwrap();
    assert!(
        kept.to >= before.to && kept.from == before.from,
        "nothing was lost"
    );

    let daemon = Daemon::start(&desk).await;
    daemon.judged("one").await;
    until("the history goes on", async || {
        extent(&data, "one").is_some_and(|span| span.to > kept.to && span.from == kept.from)
    })
    .await;
    assert_eq!(
        open_since(&desk, "connections"),
        since,
        "still the same finding"
    );
    assert!(!daemon.log().contains("ERROR"), "{}", daemon.log());
    daemon.signal("INT");
    assert_eq!(daemon.ended().await, 0);
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once_and_no_signal_is_lost_at_the_start() {
    let desk = Desk::new();
    file(&desk, &instance("one", "host=/nowhere user=x"));
    let daemon = Daemon::start(&desk).await;
    daemon.signal("TERM");
    daemon.signal("TERM");
    let code = daemon.ended().await;
    assert!([0, 130].contains(&code), "{code}");
    let next = Daemon::start(&desk).await;
    next.signal("TERM");
    assert_eq!(next.ended().await, 0);
}

#[tokio::test]
async fn odd_texts_break_no_round_and_values_of_customers_are_not_kept() {
    let settings = [("track_activity_query_size", "1MB")];
    let setup = Setup {
        settings: &settings,
        ..Setup::default()
    };
    let cluster = Cluster::start(&setup).await;
    cluster
        .sql(
            "postgres",
            "CREATE DATABASE odd TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'",
        )
        .await;
    let latin = cluster.connect("odd").await;
    latin
        .batch_execute("SET client_encoding = 'SQL_ASCII'")
        .await
        .unwrap();
    let long = cluster.connect("postgres").await;
    let text = format!("SELECT 'geheim-{}' FROM pg_sleep(60)", "x".repeat(900_000));
    let desk = Desk::new();
    file(&desk, &instance("one", &cluster.url("postgres")));
    let daemon = Daemon::start(&desk).await;
    let running =
        "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND wait_event = 'PgSleep'";
    tokio::select! {
        _ = long.batch_execute(&text) => panic!("it sleeps for a minute"),
        _ = latin.batch_execute("SELECT E'\\xe9\\xff', 'caf\u{e9} geheim' FROM pg_sleep(60)") => {
            panic!("it sleeps for a minute")
        }
        () = async {
            until("both run", async || {
                cluster.sql("postgres", running).await[0][0].as_deref() == Some("2")
            })
            .await;
            until("a round saw them", async || kept_queries(&desk).iter().any(|q| q.contains("pg_sleep"))).await;
        } => {}
    }
    let kept = kept_queries(&desk);
    assert!(
        kept.iter().all(|query| !query.contains("geheim")),
        "{kept:?}"
    );
    let one = daemon.judged("one").await;
    assert!(one["silent"].is_null(), "{one}");
}

/// Returns the query texts of the newest snapshot of sessions in the history.
fn kept_queries(desk: &Desk) -> Vec<String> {
    let Ok(store) = Store::open_to_read(&desk.path("state/data")) else {
        return Vec::new();
    };
    let reader = store.reader().unwrap();
    let Some(span) = reader.extent("one").unwrap() else {
        return Vec::new();
    };
    let snapshots = reader.snapshots_at("one", "activity", span.to).unwrap();
    let rows = snapshots.iter().flat_map(|snapshot| snapshot.rows());
    rows.filter_map(|row| row.text("query").map(str::to_owned))
        .collect()
}
