//! Maintenance, as a person plans and applies it, and as the daemon does in its windows.

use std::io::{Read, Write};
use std::sync::Arc;

use pawang_testbed::{Cluster, Setup, Version, until};
use serde_json::Value;

use crate::program::{Desk, instance};

/// What must not depend on how full the machine of the test is.
const CALM: &str =
    "[check.disk-space]\nenabled = false\n[act]\nfree_disk = \"1MB\"\nactive_sessions = 10000\n";

fn file(desk: &Desk, cluster: &Cluster, more: &str) {
    let one = instance("dwh-1", &cluster.url("postgres"));
    let text = format!("state_directory = \"state\"\n{one}{CALM}{more}");
    desk.write("pawang.toml", &text);
}

/// Returns a server with a table that is due, one that is not, and partitions that end soon.
async fn neglected() -> Cluster {
    let setup = Setup {
        settings: &[("autovacuum", "off")],
        ..Setup::default()
    };
    let cluster = Cluster::start(&setup).await;
    let made = "CREATE SCHEMA dw;
        CREATE TABLE dw.\"Fact Surat\" AS SELECT g AS id, repeat('x', 20) AS note FROM generate_series(1, 50000) AS g;
        ANALYZE dw.\"Fact Surat\"; DELETE FROM dw.\"Fact Surat\" WHERE id % 2 = 0";
    for statement in made.split(';') {
        cluster.sql("postgres", statement).await;
    }
    until("the deletions are counted", async || {
        let sql = "SELECT n_dead_tup FROM pg_stat_all_tables WHERE relname = 'Fact Surat'";
        cluster.sql("postgres", sql).await[0][0].as_deref() == Some("25000")
    })
    .await;
    cluster
}

async fn dead(cluster: &Cluster) -> String {
    let sql = "SELECT n_dead_tup FROM pg_stat_all_tables WHERE relname = 'Fact Surat'";
    cluster.sql("postgres", sql).await[0][0].clone().unwrap()
}

#[tokio::test]
async fn what_is_due_is_planned_agreed_to_done_and_written_down() {
    let cluster = neglected().await;
    let desk = Desk::new();
    file(&desk, &cluster, "");
    let plan = ["maintain", "plan", "vacuum", "-o", "plan.json"];
    let due = desk.pawang(&plan);
    assert_eq!(due.code, 1, "{due:?}");
    assert!(due.stdout.contains("VACUUM"), "{due:?}");
    assert!(due.stdout.contains("\"dw\".\"Fact Surat\""), "{due:?}");
    let apply = ["maintain", "apply", "plan.json"];
    desk.pawang(&apply).is_clear_error(4, &["nobody agreed"]);
    let dry = desk.pawang(&[&apply[..], &["--dry-run"]].concat());
    assert_eq!(dry.code, 0, "{dry:?}");
    assert_eq!(dead(&cluster).await, "25000", "a dry run changes nothing");
    let done = desk.pawang(&[&apply[..], &["--yes", "--why", "ticket 7"]].concat());
    assert_eq!(done.code, 0, "{done:?}");
    assert!(
        done.stdout.contains("1 of 1 done") && done.stdout.contains("undo: "),
        "{done:?}"
    );
    assert_eq!(dead(&cluster).await, "0");
    let again = desk.pawang(&[&apply[..], &["--yes", "--json"]].concat());
    assert_ne!(again.code, 101, "{again:?}");
    let nothing = desk.pawang(&["maintain", "plan", "vacuum"]);
    assert_eq!(nothing.code, 0, "{nothing:?}");
    told(&desk);
}

#[tokio::test]
async fn an_index_is_looked_at_from_the_size_that_the_policy_says() {
    let cluster = Cluster::start(&Setup::default()).await;
    let made = "CREATE TABLE kecil AS SELECT g AS id FROM generate_series(1, 40000) AS g;
        CREATE INDEX kecil_id ON kecil (id); DELETE FROM kecil WHERE id % 10 <> 0; VACUUM ANALYZE kecil";
    for statement in made.split(';') {
        cluster.sql("postgres", statement).await;
    }
    let desk = Desk::new();
    let plan = ["maintain", "plan", "reindex"];
    file(&desk, &cluster, "");
    let usual = desk.pawang(&plan);
    assert_eq!(usual.code, 0, "{usual:?}");
    let rule =
        "[[maintenance.rule]]\nmatch = \"public.kecil\"\nindex = { minimum_size = \"100kB\" }\n";
    file(&desk, &cluster, rule);
    let small = desk.pawang(&plan);
    assert_eq!(small.code, 1, "{small:?}");
    assert!(small.stdout.contains("\"kecil_id\""), "{small:?}");
}

/// Looks at what the journal keeps of it.
fn told(desk: &Desk) {
    let history = desk.pawang(&["maintain", "history", "--json"]);
    let records = history.data("pawang.maintain.history/1");
    let records = records.as_array().unwrap();
    let real = records
        .iter()
        .find(|record| record["entry"]["detail"]["why"] == "ticket 7");
    let entry = &real.expect("the change is in the journal")["entry"];
    assert_eq!(entry["detail"]["before"]["dead_tuples"], "25000", "{entry}");
    assert_eq!(entry["detail"]["after"]["dead_tuples"], "0", "{entry}");
    assert!(
        entry["actor"].as_str().unwrap().starts_with("cli:"),
        "{entry}"
    );
    assert_eq!(desk.pawang(&["journal", "verify"]).code, 0);
    let status = desk.pawang(&["maintain", "status"]);
    assert_eq!(status.code, 0, "nothing is unsettled: {status:?}");
}

#[tokio::test]
async fn a_plan_that_is_not_what_it_was_is_refused() {
    let cluster = neglected().await;
    let desk = Desk::new();
    file(&desk, &cluster, "");
    assert_eq!(
        desk.pawang(&["maintain", "plan", "vacuum", "-o", "plan.json"])
            .code,
        1
    );
    let text = desk.read("plan.json");
    desk.write(
        "forged.json",
        &text.replace("VACUUM (", "DROP TABLE x; VACUUM ("),
    );
    desk.pawang(&["maintain", "apply", "forged.json", "--yes"])
        .is_clear_error(4, &["statements"]);
    desk.write("torn.json", &text[..text.len() / 2]);
    desk.pawang(&["maintain", "apply", "torn.json", "--yes"])
        .is_clear_error(2, &["plan"]);
    let renamed = "ALTER TABLE dw.\"Fact Surat\" RENAME TO moved";
    cluster.sql("postgres", renamed).await;
    let stale = desk.pawang(&["maintain", "apply", "plan.json", "--yes", "--json"]);
    assert_eq!(stale.code, 1, "{stale:?}");
    let outcome = stale.data("pawang.maintain.apply/1")["outcome"].clone();
    assert_eq!(outcome["actions"][0]["state"], "stale", "{outcome}");
    let wrong = desk.pawang(&["maintain", "plan", "--policy", "nightli"]);
    wrong.is_clear_error(2, &["there is no policy \"nightli\""]);
}

#[tokio::test]
async fn the_daemon_applies_a_policy_in_its_window() {
    let cluster = neglected().await;
    let desk = Arc::new(Desk::new());
    let policy = "[serve]\nlisten = \"127.0.0.1:0\"\n\
        [maintenance.policy.nightly]\nwindow = \"2026-01-01 00:00 for 90000 h\"\nareas = [\"vacuum\"]\n";
    file(&desk, &cluster, policy);
    let daemon = desk.start_into(&["serve"], "out", "err");
    until("the policy was applied", async || {
        let records = desk
            .pawang(&["journal", "list", "--json"])
            .data("pawang.journal.list/1");
        let records: &Vec<Value> = records.as_array().unwrap();
        records.iter().any(|record| {
            let entry = &record["entry"];
            entry["action"] == "maintain.policy" && entry["outcome"] == "done"
        })
    })
    .await;
    assert_eq!(dead(&cluster).await, "0", "{}", desk.read("err"));
    let records = desk
        .pawang(&["journal", "list", "--json"])
        .data("pawang.journal.list/1");
    let actions: Vec<&str> = records
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|record| record["entry"]["action"].as_str())
        .collect();
    for action in ["window.add", "vacuum.apply", "window.remove"] {
        assert!(
            actions.contains(&action),
            "{action} is missing in {actions:?}"
        );
    }
    let ended_at = records.as_array().unwrap().iter().find_map(|record| {
        let entry = &record["entry"];
        (entry["action"] == "maintain.policy").then(|| entry["at"].as_str().unwrap().to_owned())
    });
    // Tables are looked at every few minutes, but at once after a change.
    let ended_at = ended_at.unwrap();
    until("the observers looked again", async || {
        let socket = desk.path("state/data/pawang.sock");
        let mut stream = std::os::unix::net::UnixStream::connect(socket).unwrap();
        stream.write_all(b"present dwh-1\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let answer: Value = serde_json::from_str(&answer).unwrap();
        looked_at(&answer, "tables").is_some_and(|at| time(&at) > time(&ended_at))
    })
    .await;
    let mut daemon = daemon;
    daemon.signal("TERM");
    let ended = daemon.screen();
    assert_eq!(ended.code, 0, "{}", desk.read("err"));
}

/// Reads a time: as text, one with a fraction of a second sorts before the second itself.
fn time(text: &str) -> pawang_core::Timestamp {
    text.parse().unwrap()
}

/// Returns when a collector of the daemon's present looked last, wherever its snapshot stands.
fn looked_at(value: &Value, collector: &str) -> Option<String> {
    match value {
        Value::Object(map) => match (map.get("collector"), map.get("at"), map.get("rows")) {
            (Some(name), Some(at), Some(_)) if name == collector => at.as_str().map(str::to_owned),
            _ => map.values().find_map(|value| looked_at(value, collector)),
        },
        Value::Array(list) => list.iter().find_map(|value| looked_at(value, collector)),
        _ => None,
    }
}

#[test]
fn of_a_server_that_is_not_seen_nothing_good_is_said() {
    let desk = Desk::new();
    let gone = instance("dwh-1", "postgres://x@/x?host=/nowhere");
    desk.write(
        "pawang.toml",
        &format!("state_directory = \"state\"\n{gone}"),
    );
    for (words, never) in [
        (&["maintain", "status"][..], "doing nothing"),
        (&["progress"][..], "nothing that reports"),
        (&["bloat"][..], "relation"),
        (&["maintain", "plan"][..], "nothing to do"),
        (&["session", "tree"][..], "nobody waits"),
    ] {
        let screen = desk.pawang(words);
        assert_eq!(screen.code, 3, "{words:?}: {screen:?}");
        assert!(
            screen.stderr.contains("could not reach"),
            "{words:?}: {screen:?}"
        );
        let said = format!("{}{}", screen.stdout, screen.stderr);
        assert!(!said.contains(never), "{words:?}: {screen:?}");
    }
}

/// A table of pg_partman that nobody looked after for a while.
const PARTMAN: &str =
    "CREATE SCHEMA partman; CREATE EXTENSION pg_partman SCHEMA partman; CREATE SCHEMA dw;
    CREATE TABLE dw.\"Sales\" (at timestamptz NOT NULL, amount int) PARTITION BY RANGE (at);
    SELECT partman.create_parent('dw.Sales', 'at', 'native', 'daily', p_premake := 4)";
const PARTMAN_AHEAD: &str = "SELECT count(*) FROM pg_inherits i JOIN pg_class c ON c.oid = inhrelid
    WHERE inhparent = 'dw.\"Sales\"'::regclass AND relname > 'Sales_p' || to_char(now(), 'YYYY_MM_DD') AND relname NOT LIKE '%default'";

#[tokio::test]
async fn pg_partman_is_asked_when_it_fell_behind() {
    // Debian packages it for this version.
    let cluster = Cluster::start(&Setup {
        version: Some(Version(15)),
        ..Setup::default()
    })
    .await;
    for statement in PARTMAN.split(';') {
        cluster.sql("postgres", statement).await;
    }
    let desk = Desk::new();
    file(&desk, &cluster, "");
    let nothing = desk.pawang(&["maintain", "plan", "partitions"]);
    assert_eq!(nothing.code, 0, "{nothing:?}");
    let ahead = async || cluster.sql("postgres", PARTMAN_AHEAD).await[0][0].clone();
    assert_eq!(ahead().await.as_deref(), Some("4"));
    cluster
        .sql(
            "postgres",
            "DO $$ DECLARE p regclass; BEGIN FOR p IN SELECT inhrelid::regclass FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid
                WHERE inhparent = 'dw.\"Sales\"'::regclass AND relname NOT LIKE '%default' ORDER BY relname DESC LIMIT 2
            LOOP EXECUTE format('DROP TABLE %s', p); END LOOP; END $$",
        )
        .await;
    // pg_partman makes nothing while no rows come: asking it would be in vain.
    let nothing = desk.pawang(&["maintain", "plan", "partitions"]);
    assert_eq!(nothing.code, 0, "{nothing:?}");
    let row = "INSERT INTO dw.\"Sales\" VALUES (now(), 1); ANALYZE dw.\"Sales\"";
    cluster.sql("postgres", row).await;
    let due = desk.pawang(&["maintain", "plan", "partitions", "-o", "plan.json"]);
    assert_eq!(due.code, 1, "{due:?}");
    assert!(due.stdout.contains("run_maintenance"), "{due:?}");
    let done = desk.pawang(&["maintain", "apply", "plan.json", "--yes"]);
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(ahead().await.as_deref(), Some("4"));
    let nothing = desk.pawang(&["maintain", "plan", "partitions"]);
    assert_eq!(nothing.code, 0, "{nothing:?}");
}
