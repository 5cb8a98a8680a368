//! Patroni leads, replicates, answers over HTTP, and leaves nothing behind.

use pawang_testbed::{PatroniNode, until};

#[tokio::test]
async fn two_nodes_answer_and_go() {
    if !PatroniNode::installed() {
        return;
    }
    let leader = PatroniNode::start("one").await;
    let replica = leader.replica("two").await;
    until("the leader sees both members", async || {
        let answer = leader.rest("GET", "/cluster", "").await;
        answer.is_some_and(|(status, body)| {
            status == 200 && body.matches("\"state\"").count() == 2 && body.contains("\"two\"")
        })
    })
    .await;
    leader.sql("postgres", "CREATE TABLE milk ()").await;
    until("the table arrives", async || {
        let table = "SELECT FROM pg_class WHERE relname = 'milk'";
        replica.sql("postgres", table).await.len() == 1
    })
    .await;
    let paused = leader.rest("PATCH", "/config", r#"{"pause": true}"#).await;
    assert_eq!(paused.map(|(status, _)| status), Some(200));

    let traces = [&leader, &replica].map(|node| {
        let file = node.data_directory().join("postmaster.pid");
        let text = std::fs::read_to_string(file).expect("the server runs");
        let postmaster = text.lines().next().expect("the first line is its id");
        std::path::PathBuf::from(format!("/proc/{postmaster}/cwd/PG_VERSION"))
    });
    assert!(traces.iter().all(|trace| trace.exists()));
    drop((leader, replica));
    assert!(!traces.iter().any(|trace| trace.exists()));
}
