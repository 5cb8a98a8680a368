//! What the daemon remembers, as a person asks for it: `history`, `at`, `diff`.

use pawang_testbed::{Cluster, Setup, until};

use crate::program::{Desk, instance};
use crate::serve::file;
use crate::serve_daemon::Daemon;

/// A daemon that has seen a table, a setting that changed, a new column and new rows.
async fn changed<'a>(desk: &'a Desk, cluster: &Cluster) -> Daemon<'a> {
    cluster
        .sql(
            "postgres",
            "CREATE TABLE orders AS SELECT g AS id FROM generate_series(1, 20000) AS g; ANALYZE orders",
        )
        .await;
    // Whoever writes tells statistics what became of it when the session ends, which nobody waits for.
    until("the rows are counted", async || {
        let counted = "SELECT n_live_tup FROM pg_stat_user_tables WHERE relname = 'orders'";
        cluster.sql("postgres", counted).await[0][0].as_deref() == Some("20000")
    })
    .await;
    file(desk, &instance("one", &cluster.url("postgres")));
    let daemon = Daemon::start(desk).await;
    daemon.judged("one").await;
    until("all that is asked for is remembered", async || {
        let tables = desk.pawang(&["history", "show", "tables", "n_live_tup", "--top", "50"]);
        let compared = desk.pawang(&["diff", "-1s", "now"]);
        let seen = compared.code == 0 && !compared.stdout.contains(": not seen");
        seen && tables.stdout.contains("orders")
    })
    .await;
    daemon
}

#[tokio::test]
async fn rows_are_ranked_and_instants_are_shown() {
    let cluster = Cluster::start(&Setup::default()).await;
    let desk = Desk::new();
    let daemon = changed(&desk, &cluster).await;
    let screen = desk.pawang(&["history", "list"]);
    assert!(screen.stdout.contains("one\t20"), "{screen:?}");
    let screen = desk.pawang(&[
        "history",
        "show",
        "tables",
        "n_live_tup",
        "--top",
        "1",
        "--since",
        "1h",
    ]);
    assert_eq!(screen.code, 0, "{screen:?}");
    let lines: Vec<&str> = screen.stdout.lines().collect();
    assert_eq!(lines.len(), 2, "{screen:?}");
    assert!(
        lines[1].starts_with("one\tpostgres\tpublic\torders\t20,000\t"),
        "{screen:?}"
    );
    let data = desk.pawang(&[
        "history",
        "show",
        "tables",
        "n_live_tup",
        "--top",
        "1",
        "--json",
    ]);
    let data = data.data("pawang.history.show/1");
    assert_eq!(data[0]["last"], 20_000.0, "{data}");
    let holder = cluster.hold("postgres", "LOCK TABLE orders").await;
    until("the session is remembered", async || {
        desk.pawang(&["at", "now", "-i", "one"])
            .stdout
            .contains("idle in transaction")
    })
    .await;
    let screen = desk.pawang(&["at", "now"]);
    assert!(screen.stdout.contains("LOCK TABLE orders"), "{screen:?}");
    assert!(
        screen.stdout.contains("nobody waited for a lock"),
        "{screen:?}"
    );
    let data = desk.pawang(&["at", "now", "--json"]).data("pawang.at/1");
    assert_eq!(data[0]["instance"], "one");
    drop(holder);
    // The history is read without a daemon too, and a daemon that ends leaves nothing half.
    daemon.signal("TERM");
    assert_eq!(daemon.ended().await, 0);
    let screen = desk.pawang(&["at", "-1s"]);
    assert!(screen.stdout.contains("FINDINGS"), "{screen:?}");
    let screen = desk.pawang(&["at", "-1d"]);
    assert_eq!(screen.code, 1, "{screen:?}");
    assert!(
        screen.stderr.contains("there is history from"),
        "{screen:?}"
    );
}

#[tokio::test]
async fn what_changed_is_told() {
    let cluster = Cluster::start(&Setup::default()).await;
    let desk = Desk::new();
    let daemon = changed(&desk, &cluster).await;
    let before = pawang_core::Timestamp::from_second(now() + 1).unwrap();
    until("a second has passed", async || now() > before.as_second()).await;
    cluster
        .sql("postgres", "ALTER TABLE orders ADD note text; CREATE INDEX orders_id ON orders (id); CREATE ROLE auditor")
        .await;
    cluster.set("work_mem", Some("32MB")).await;
    // Slow collectors are asked anew by a daemon that begins.
    daemon.signal("TERM");
    assert_eq!(daemon.ended().await, 0);
    let daemon = Daemon::start(&desk).await;
    let diff = || desk.pawang(&["diff", &before.to_string(), "now"]);
    until("the change is told", async || {
        let out = diff().stdout;
        out.contains("work_mem") && out.contains("auditor") && out.contains("orders_id")
    })
    .await;
    let out = diff().stdout;
    assert!(out.contains("~\t\twork_mem\tsetting\t4096\t32768"), "{out}");
    let column = out
        .lines()
        .find(|line| line.starts_with("~\tpostgres\ttable public orders\tdefinition"));
    assert!(
        column.is_some_and(|line| line.contains("note text")),
        "{out}"
    );
    let data = desk
        .pawang(&["diff", &before.to_string(), "now", "--json"])
        .data("pawang.diff/1");
    assert!(data[0]["changes"].as_array().unwrap().len() >= 4, "{data}");
    drop(daemon);
}

#[tokio::test]
async fn the_history_is_taken_elsewhere() {
    let cluster = Cluster::start(&Setup::default()).await;
    let desk = Desk::new();
    let daemon = changed(&desk, &cluster).await;
    let screen = desk.pawang(&[
        "history", "export", "--csv", "out", "tables", "settings", "--since", "1h",
    ]);
    assert_eq!(screen.code, 0, "{screen:?}");
    let csv = desk.read("out/tables.csv");
    assert!(
        csv.starts_with("instance,database,at,schemaname,relname,"),
        "{csv}"
    );
    assert!(csv.contains(",public,orders,"), "{csv}");
    assert!(desk.read("out/settings.csv").contains("work_mem"));
    let wrong = desk.pawang(&["history", "export", "--csv", "out", "tabels"]);
    assert_eq!(wrong.code, 2, "{wrong:?}");
    assert!(wrong.stderr.contains("did you mean tables?"), "{wrong:?}");
    let screen = desk.pawang(&["history", "export", "--parquet", "pq", "tables"]);
    if cfg!(feature = "parquet") {
        assert_eq!(screen.code, 0, "{screen:?}");
        let bytes = std::fs::read(desk.path("pq/tables.parquet")).unwrap();
        assert!(bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1"));
    } else {
        assert_eq!(screen.code, 2, "{screen:?}");
        assert!(screen.stderr.contains("--features parquet"), "{screen:?}");
    }
    drop(daemon);
}

#[tokio::test]
async fn what_cannot_be_answered_says_why() {
    let desk = Desk::new();
    file(&desk, "");
    for (words, code, said) in [
        (
            &["history", "list"][..],
            4,
            "pawang serve begins to remember",
        ),
        (&["at", "noon"][..], 4, "pawang serve begins to remember"),
    ] {
        let screen = desk.pawang(words);
        assert!(screen.code == code || screen.code == 2, "{screen:?}");
        assert!(screen.stderr.contains(said), "{screen:?}");
    }
    let cluster = Cluster::start(&Setup::default()).await;
    let daemon = changed(&desk, &cluster).await;
    for (words, said) in [
        (&["at", "noon"][..], "cannot read \"noon\" as a time"),
        (
            &["diff", "now", "yesterday"][..],
            "a time that is not later",
        ),
        (
            &["history", "show", "tabels", "x"][..],
            "pawang history show tables x",
        ),
        (
            &["history", "show", "tables", "n_dead_tups"][..],
            "pawang history show tables n_dead_tup",
        ),
        (
            &["history", "show", "tables", "n_dead_tup", "--since", "soon"][..],
            "cannot read \"soon\" as a time",
        ),
        (
            &["at", "now", "-i", "two"][..],
            "there is no history of \"two\"",
        ),
    ] {
        let screen = desk.pawang(words);
        assert_eq!(screen.code, 2, "{screen:?}");
        assert!(screen.stderr.contains(said), "{said}: {screen:?}");
    }
    drop(daemon);
}

#[expect(clippy::disallowed_methods, reason = "the program reads the clock too")]
fn now() -> i64 {
    pawang_core::Timestamp::now().as_second()
}
