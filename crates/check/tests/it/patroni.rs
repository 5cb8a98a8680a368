//! Faults of Patroni: silent when healthy, found when injected, gone when cleared.

use pawang_core::Level;
use pawang_testbed::{PatroniNode, until};

use crate::watch::Watch;

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

    let change = r#"{"postgresql": {"parameters": {"max_connections": 60}}}"#;
    leader.rest("PATCH", "/config", change).await;
    becomes(&mut watch, "patroni-pending-restart", Level::Warning).await;

    drop((leader, replica));
    watch.found("patroni-reachable", Level::Critical, "").await;
    watch.found("patroni-lag", Level::Unknown, "").await;
}
