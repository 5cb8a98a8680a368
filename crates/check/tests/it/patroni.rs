//! Faults of Patroni: silent when healthy, found when injected, gone when cleared.

use std::sync::Arc;

use pawang_check::find;
use pawang_core::{Level, Value};
use pawang_testbed::{PatroniNode, until};

use crate::watch::{Watch, evaluate};

const SILENT: [&str; 8] = [
    "patroni-reachable",
    "patroni-leader",
    "patroni-member-state",
    "patroni-lag",
    "patroni-paused",
    "patroni-dcs",
    "patroni-timeline",
    "patroni-failover-candidates",
];

/// Waits until a check says a level: Patroni tells the others only once per round.
async fn becomes(watch: &mut Watch, id: &str, level: Level) {
    until(&format!("{id} becomes {level}"), async || {
        watch.verdict(id).await.level == level
    })
    .await;
}

fn postmaster(node: &PatroniNode) -> String {
    let file = node.data_directory().join("postmaster.pid");
    let text = std::fs::read_to_string(file).unwrap();
    text.lines().next().unwrap().to_owned()
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test starts programs to break a server"
)]
fn signal(pid: &str, name: &str) {
    let status = std::process::Command::new("kill")
        .args(["-s", name, pid])
        .status();
    assert!(status.unwrap().success());
}

/// Holds back WAL, so that it is not even received.
async fn stopped_receiver(watch: &mut Watch, leader: &PatroniNode, replica: &PatroniNode) {
    let receiver = replica
        .sql("postgres", "SELECT pid FROM pg_stat_wal_receiver")
        .await;
    let receiver = receiver[0][0].clone().unwrap();
    signal(&receiver, "STOP");
    let write = "CREATE TABLE t AS SELECT repeat('x', 100) FROM generate_series(1, 30000)";
    leader.sql("postgres", write).await;
    becomes(watch, "patroni-lag", Level::Warning).await;
    watch.found("patroni-lag", Level::Warning, "two").await;
    becomes(watch, "patroni-failover-candidates", Level::Warning).await;
    signal(&receiver, "CONT");
    becomes(watch, "patroni-lag", Level::Ok).await;
    becomes(watch, "patroni-failover-candidates", Level::Ok).await;
}

/// Judges facts of the real cluster with one value changed by hand, for faults that Patroni heals or prevents itself.
async fn constructed(watch: &mut Watch) {
    let cases = [
        ("patroni-timeline", "two", "timeline", Value::Int(1_000)),
        ("patroni-leader", "two", "own_role", text("primary")),
        ("patroni-leader", "one", "role", text("replica")),
        ("patroni-leader", "one", "own_state", text("stopping")),
        ("patroni-member-state", "one", "state", text("start failed")),
    ];
    for (id, member, column, value) in cases {
        watch.silent(id).await;
        let mut facts = watch.older.clone().unwrap();
        let sighting = facts
            .sightings
            .iter_mut()
            .find(|sighting| sighting.collector == "patroni-cluster");
        let snapshot = sighting.unwrap().seen.as_mut().unwrap();
        let place = |name: &str| snapshot.columns.iter().position(|c| c.name == name);
        let (name, column) = (place("name").unwrap(), place(column).unwrap());
        let mut rows = Arc::make_mut(snapshot).rows.iter_mut();
        let row = rows.find(|row| row[name] == text(member)).unwrap();
        row[column] = value;
        let verdict = evaluate(find(id).unwrap(), &facts, None, &()).unwrap();
        assert_eq!(verdict.level, Level::Critical, "{verdict:#?}");
    }
}

fn text(word: &str) -> Value {
    Value::Text(word.into())
}

#[tokio::test]
async fn a_cluster_of_two_and_what_can_befall_it() {
    if !PatroniNode::installed() {
        return;
    }
    let leader = PatroniNode::start("one").await;
    let replica = leader.replica("two").await;
    let mut watch = Watch::over(&leader.url("postgres"));
    watch.patroni = Some(leader.rest_url());
    for id in SILENT {
        becomes(&mut watch, id, Level::Ok).await;
        watch.silent(id).await;
    }

    let pause = async |paused: bool| {
        let body = format!("{{\"pause\": {paused}}}");
        let answer = leader.rest("PATCH", "/config", &body).await;
        assert_eq!(answer.map(|(status, _)| status), Some(200));
    };
    pause(true).await;
    becomes(&mut watch, "patroni-paused", Level::Warning).await;
    pause(false).await;
    becomes(&mut watch, "patroni-paused", Level::Ok).await;

    // A replica's server that is stopped under a paused Patroni stays so.
    pause(true).await;
    becomes(&mut watch, "patroni-paused", Level::Warning).await;
    until("the replica's Patroni knows of the pause", async || {
        let answer = replica.rest("GET", "/patroni", "").await;
        answer.is_some_and(|(_, body)| body.contains(r#""pause": true"#))
    })
    .await;
    signal(&postmaster(&replica), "INT");
    until("the replica is found stopped", async || {
        let verdict = watch.verdict("patroni-member-state").await;
        let mut findings = verdict.findings.iter();
        findings.any(|f| f.level == Level::Warning && f.object == "two")
    })
    .await;
    pause(false).await;
    becomes(&mut watch, "patroni-member-state", Level::Ok).await;
    until("the replica streams again", async || {
        watch.verdict("patroni-lag").await.level == Level::Ok
            && !leader
                .sql(
                    "postgres",
                    "SELECT FROM pg_stat_replication WHERE state = 'streaming'",
                )
                .await
                .is_empty()
    })
    .await;

    stopped_receiver(&mut watch, &leader, &replica).await;
    constructed(&mut watch).await;

    let change = r#"{"postgresql": {"parameters": {"max_connections": 60}}}"#;
    leader.rest("PATCH", "/config", change).await;
    becomes(&mut watch, "patroni-pending-restart", Level::Warning).await;

    // Without its partner the store has no majority and goes on naming a leader that has given up.
    drop(replica);
    becomes(&mut watch, "patroni-leader", Level::Critical).await;
    let finding = watch.found("patroni-leader", Level::Critical, "").await;
    assert!(finding.title.contains("\"one\""), "{finding:?}");
    becomes(&mut watch, "patroni-dcs", Level::Critical).await;
    watch
        .found("patroni-member-state", Level::Unknown, "two")
        .await;

    drop(leader);
    watch.found("patroni-reachable", Level::Critical, "").await;
    watch.found("patroni-lag", Level::Unknown, "").await;
}
