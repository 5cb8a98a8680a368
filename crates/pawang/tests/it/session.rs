//! Sessions, as a person looks at them and ends them: `session list`, `tree`, `cancel`, `terminate`.

use std::sync::Arc;

use pawang_testbed::{Cluster, Setup, until};

use crate::program::{Desk, Screen, instance};

const LABELS: &str = "labels = { stage = \"prod\" }\n";

fn file(desk: &Desk, cluster: &Cluster, more: &str) {
    let name = instance("dwh-1", &cluster.url("postgres"));
    desk.write(
        "pawang.toml",
        &format!(
            "state_directory = \"state\"\n{}{more}",
            name.trim_end().to_owned() + "\n"
        ),
    );
}

/// Runs `pawang` beside the server's own sessions of this test.
async fn run(desk: &Arc<Desk>, words: &[&str]) -> Screen {
    let desk = Arc::clone(desk);
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    tokio::task::spawn_blocking(move || {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        desk.pawang(&words)
    })
    .await
    .unwrap()
}

/// Looks at the tree: the root blocker first, then the change, then the reader.
async fn drawn(desk: &Arc<Desk>) {
    let tree = run(desk, &["session", "tree"]).await;
    assert_eq!(tree.code, 1, "{tree:?}");
    let lines: Vec<&str> = tree.stdout.lines().collect();
    assert_eq!(lines.len(), 4, "{tree:?}");
    assert!(
        lines[1].contains("\tetl\tidle in transaction\t"),
        "{tree:?}"
    );
    assert!(
        lines[3].contains("\t> > "),
        "the reader stands behind the change: {tree:?}"
    );
    assert!(
        !tree.stdout.contains("secret"),
        "values of statements stay out: {tree:?}"
    );
}

/// Tries what is refused, and what only pretends.
async fn refused(desk: &Arc<Desk>, name: &str, pid: &str) {
    // A process id says too little where nobody is asked, and nobody agreed anyway.
    let bare = run(desk, &["session", "terminate", pid, "--yes"]).await;
    bare.is_clear_error(4, &["does not say which session", "session list"]);
    let unasked = run(desk, &["session", "terminate", "--blockers"]).await;
    unasked.is_clear_error(4, &["nobody agreed", "--yes"]);
    let idle = run(desk, &["session", "cancel", name, "--yes"]).await;
    idle.is_clear_error(4, &["runs no statement"]);
    let dry = run(desk, &["session", "terminate", "--blockers", "--dry-run"]).await;
    assert_eq!(dry.code, 0, "{dry:?}");
    assert!(
        dry.stdout
            .contains("dry-run    terminate-backend:postgres:pid "),
        "{dry:?}"
    );
    assert!(dry.stdout.contains("  user=etl  "), "{dry:?}");
}

/// Frees those that wait on a server of production, which asks for the name.
async fn freed(desk: &Arc<Desk>) {
    let yes = run(desk, &["session", "terminate", "--blockers", "--yes"]).await;
    yes.is_clear_error(4, &["production", "--confirm dwh-1"]);
    let wrong = run(
        desk,
        &["session", "terminate", "--blockers", "--confirm", "dwh-2"],
    )
    .await;
    wrong.is_clear_error(4, &["\"dwh-2\" is not the name"]);
    let freed = run(
        desk,
        &["session", "terminate", "--blockers", "--confirm", "dwh-1"],
    )
    .await;
    assert_eq!(freed.code, 0, "{freed:?}");
    assert!(
        freed.stderr.contains("2 sessions waited, 0 wait still"),
        "{freed:?}"
    );
    assert!(
        freed
            .stdout
            .contains("undo: none: the client must reconnect"),
        "{freed:?}"
    );
}

#[tokio::test]
async fn those_that_wait_are_freed_by_ending_root_blockers_only() {
    let cluster = Cluster::start(&Setup::default()).await;
    cluster
        .sql("postgres", "CREATE ROLE etl LOGIN; CREATE ROLE app LOGIN; CREATE TABLE t (n int); GRANT ALL ON t TO etl, app")
        .await;
    let desk = Arc::new(Desk::new());
    file(&desk, &cluster, "");
    let calm = run(&desk, &["session", "tree"]).await;
    assert_eq!(calm.code, 0, "{calm:?}");
    let nothing = run(&desk, &["session", "terminate", "--blockers", "--yes"]).await;
    assert_eq!(nothing.code, 0, "{nothing:?}");

    let blocker = cluster.connect_as("etl", "postgres").await;
    blocker
        .batch_execute("BEGIN; LOCK TABLE t IN ACCESS SHARE MODE")
        .await
        .unwrap();
    let mut waiters = tokio::task::JoinSet::new();
    let ddl = cluster.connect("postgres").await;
    waiters.spawn(async move { ddl.batch_execute("ALTER TABLE t ADD COLUMN m int").await });
    let waits = "SELECT 1 FROM pg_locks WHERE NOT granted";
    until("the change waits", async || {
        cluster.sql("postgres", waits).await.len() == 1
    })
    .await;
    let reader = cluster.connect_as("app", "postgres").await;
    waiters.spawn(async move { reader.batch_execute("SELECT 'secret' FROM t").await });
    until("the reader waits", async || {
        cluster.sql("postgres", waits).await.len() == 2
    })
    .await;

    drawn(&desk).await;
    let list = run(
        &desk,
        &["session", "list", "--user", "etl", "--state", "idle in*"],
    )
    .await;
    assert_eq!((list.code, list.stdout.lines().count()), (0, 2), "{list:?}");
    let row: Vec<&str> = list.stdout.lines().nth(1).unwrap().split('\t').collect();
    let (name, pid) = (row[1].to_owned(), row[2].to_owned());
    let none = run(&desk, &["session", "list", "--longer-than", "1h"]).await;
    assert_eq!(none.stdout.lines().count(), 1, "{none:?}");

    refused(&desk, &name, &pid).await;
    blocker.batch_execute("SELECT 1").await.unwrap();

    file(&desk, &cluster, LABELS);
    freed(&desk).await;
    blocker.batch_execute("SELECT 1").await.unwrap_err();
    while let Some(done) = waiters.join_next().await {
        done.unwrap().unwrap();
    }

    let journal = run(&desk, &["journal", "list"]).await;
    assert_eq!(journal.stdout.lines().count(), 2, "{journal:?}");
    assert!(
        journal
            .stdout
            .contains("\tbegun\tterminate-backend.apply\tdwh-1/postgres/pid "),
        "{journal:?}"
    );
    let verified = run(&desk, &["journal", "verify"]).await;
    assert_eq!(verified.code, 0, "{verified:?}");
    let gone = run(&desk, &["session", "terminate", &name, "--yes"]).await;
    gone.is_clear_error(1, &["there is no session"]);
}

#[tokio::test]
async fn whoever_is_protected_is_refused_and_so_is_a_role_without_the_right() {
    let cluster = Cluster::start(&Setup::default()).await;
    cluster.sql("postgres", "CREATE ROLE payments LOGIN; CREATE ROLE etl LOGIN; CREATE TABLE t (n int); GRANT ALL ON t TO payments").await;
    let monitor = cluster.monitor().await;
    let desk = Arc::new(Desk::new());
    file(&desk, &cluster, "[act]\nprotected_roles = [\"pay*\"]\n");
    let blocker = cluster.connect_as("payments", "postgres").await;
    blocker
        .batch_execute("BEGIN; LOCK TABLE t IN ACCESS SHARE MODE")
        .await
        .unwrap();
    let mut waiters = tokio::task::JoinSet::new();
    let ddl = cluster.connect("postgres").await;
    waiters.spawn(async move { ddl.batch_execute("ALTER TABLE t ADD COLUMN m int").await });
    let waits = "SELECT 1 FROM pg_locks WHERE NOT granted";
    until("the change waits", async || {
        cluster.sql("postgres", waits).await.len() == 1
    })
    .await;
    let refused = run(&desk, &["session", "terminate", "--blockers", "--yes"]).await;
    refused.is_clear_error(
        4,
        &["role \"payments\" is protected", "pawang session tree"],
    );
    let json = run(&desk, &["session", "tree", "--json"]).await;
    let data = json.data("pawang.session.tree/1");
    assert_eq!(data[0]["branches"][0]["victims"], 1, "{json:?}");
    assert_eq!(data[0]["branches"][0]["process"]["user"], "payments");

    let toml = instance("dwh-1", &cluster.url_as(&monitor, "postgres"));
    desk.write(
        "pawang.toml",
        &format!("state_directory = \"state\"\n{toml}"),
    );
    let etl = cluster.connect_as("etl", "postgres").await;
    etl.batch_execute("SELECT 1").await.unwrap();
    let list = run(&desk, &["session", "list", "--user", "etl"]).await;
    let name = list
        .stdout
        .lines()
        .nth(1)
        .unwrap()
        .split('\t')
        .nth(1)
        .unwrap()
        .to_owned();
    let denied = run(&desk, &["session", "terminate", &name, "--yes"]).await;
    assert_eq!(denied.code, 3, "{denied:?}");
    assert!(
        denied.stdout.contains("GRANT pg_signal_backend TO monitor"),
        "{denied:?}"
    );
    blocker.batch_execute("COMMIT").await.unwrap();
    while let Some(done) = waiters.join_next().await {
        done.unwrap().unwrap();
    }
}
