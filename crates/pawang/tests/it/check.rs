//! `pawang check` on real servers.

use pawang_testbed::{Cluster, Setup};

use crate::program::{Desk, holds_something, instance};

#[tokio::test]
async fn a_url_is_judged_and_the_first_run_says_that_it_has_no_rates_yet() {
    let cluster = Cluster::start(&Setup::default()).await;
    let user = cluster.monitor().await;
    let desk = Desk::new();
    let url = cluster.url_as(&user, "postgres");
    let first = desk.pawang(&["check", &url, "--format", "text"]);
    assert!(first.stdout.contains("no earlier sample"), "{first:?}");
    assert!(
        first.stdout.contains("a rate needs two samples"),
        "{first:?}"
    );
    assert!(!first.stderr.contains("WARN"), "{first:?}");
    let second = desk.pawang(&["check", &url, "--format", "text"]);
    assert!(
        !second.stdout.contains("a rate needs two samples"),
        "{second:?}"
    );
    let third = desk.pawang(&["check", &url, "--format", "text", "--no-state"]);
    assert!(
        third.stdout.contains("a rate needs two samples"),
        "{third:?}"
    );
}

#[tokio::test]
async fn libpq_environment_is_enough() {
    let cluster = Cluster::start(&Setup::default()).await;
    let port = cluster.port().to_string();
    let directory = cluster.socket_directory().display().to_string();
    let variables = [
        ("PGHOST", directory.as_str()),
        ("PGPORT", &port),
        ("PGUSER", "postgres"),
        ("PGDATABASE", "postgres"),
    ];
    let desk = Desk::new();
    let screen = desk.pawang_with(&["check", "connections"], &variables);
    assert_eq!(screen.code, 0, "{screen:?}");
    assert!(screen.stdout.starts_with("ok\tconnections\t"), "{screen:?}");
}

#[tokio::test]
async fn exit_codes_tell_good_answer_and_blindness_apart() {
    let cluster = Cluster::start(&Setup::default()).await;
    let user = cluster.monitor().await;
    let url = cluster.url_as(&user, "postgres");
    let desk = Desk::new();
    assert_eq!(desk.pawang(&["check", "connections", &url]).code, 0);
    let finding = ["check", "connections", &url, "-w", "0", "-c", "100"];
    assert_eq!(desk.pawang(&finding).code, 1);
    assert_eq!(
        desk.pawang(&[&finding[..], &["--fail-on", "critical"]].concat())
            .code,
        0
    );
    let blind = desk.pawang(&["check", "hba-file-errors", &url]);
    assert_eq!(blind.code, 3, "{blind:?}");
    assert!(blind.stdout.contains("unknown"), "{blind:?}");
}

#[tokio::test]
async fn a_group_is_as_good_as_its_checks() {
    let cluster = Cluster::start(&Setup::default()).await;
    let desk = Desk::new();
    let screen = desk.pawang(&["check", "transactions", &cluster.url("postgres"), "--json"]);
    let verdicts = &screen.data("pawang.check.run/1")[0]["verdicts"];
    let ids: Vec<&str> = verdicts
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|v| v["check"].as_str())
        .collect();
    assert!(
        ids.contains(&"xmin-horizon") && ids.contains(&"xid-wraparound"),
        "{ids:?}"
    );
}

#[tokio::test]
async fn other_instances_are_judged_when_one_is_down() {
    let cluster = Cluster::start(&Setup::default()).await;
    let desk = Desk::new();
    let good = instance("good", &cluster.url("postgres"));
    let down = instance("down", "postgresql:///postgres?host=/nowhere&user=postgres");
    desk.write("pawang.toml", &(down + &good));
    let screen = desk.pawang(&["check", "connections", "connection"]);
    assert_eq!(screen.code, 3, "{screen:?}");
    assert!(
        screen.stdout.contains("critical\tconnection\tdown"),
        "{screen:?}"
    );
    assert!(
        screen.stdout.contains("ok\tconnections\tgood"),
        "{screen:?}"
    );
    assert!(
        screen.stdout.contains("unknown\tconnections\tdown"),
        "{screen:?}"
    );
    let one = desk.pawang(&["check", "connections", "-i", "g*"]);
    assert_eq!(one.code, 0, "{one:?}");
}

#[tokio::test]
async fn limits_of_the_file_hold_and_those_of_the_command_line_hold_above_them() {
    let cluster = Cluster::start(&Setup::default()).await;
    let desk = Desk::new();
    let file = instance("one", &cluster.url("postgres")) + "[check.connections]\nwarning = 0\n";
    desk.write("pawang.toml", &file);
    assert_eq!(desk.pawang(&["check", "connections"]).code, 1);
    assert_eq!(
        desk.pawang(&["check", "connections", "-w", "80", "-c", "90"])
            .code,
        0
    );
    let file = instance("one", &cluster.url("postgres")) + "[check.connections]\nenabled = false\n";
    desk.write("pawang.toml", &file);
    let screen = desk.pawang(&["check", "connections", "--json"]);
    assert_eq!(
        screen.data("pawang.check.run/1")[0]["verdicts"],
        serde_json::json!([])
    );
}

#[tokio::test]
async fn a_users_check_is_graded_and_its_mistakes_are_told() {
    let cluster = Cluster::start(&Setup::default()).await;
    let desk = Desk::new();
    let check = |id: &str, sql: &str| {
        format!(
            "[[user_check]]\nid = \"{id}\"\ntitle = \"{id}\"\nsql = \"{sql}\"\nwarning = 10\ncritical = 20\nhint = \"look\"\n\n"
        )
    };
    let file = instance("one", &cluster.url("postgres"))
        + &check(
            "stale-orders",
            "SELECT 'a', 5 UNION ALL SELECT 'b', 15 UNION ALL SELECT 'c', 25.5",
        )
        + &check("quiet-orders", "SELECT 'a', 1 WHERE false")
        + &check("wrong-shape", "SELECT 1")
        + &check("wrong-sql", "SELECT nothing")
        + &check("no-number", "SELECT 'a', 'b'")
        + &check("null-value", "SELECT 'a', NULL::int")
        + &check("nan-value", "SELECT 'a', 'nan'::float8");
    desk.write("pawang.toml", &file);
    let screen = desk.pawang(&["check", "stale-orders"]);
    assert!(
        screen
            .stdout
            .contains("critical\tstale-orders\tone\t\tc\t25.5"),
        "{screen:?}"
    );
    assert!(
        screen
            .stdout
            .contains("warning\tstale-orders\tone\t\tb\t15"),
        "{screen:?}"
    );
    assert_eq!(screen.code, 1);
    assert_eq!(desk.pawang(&["check", "quiet-orders"]).code, 0);
    for (id, words) in [
        (
            "wrong-shape",
            "returns 1 columns and must return 2 (object, value)",
        ),
        ("wrong-sql", "column \"nothing\" does not exist"),
        ("no-number", "must be a number"),
        ("null-value", "returned NULL"),
        ("nan-value", "returned no number"),
    ] {
        let screen = desk.pawang(&["check", id]);
        assert_eq!(screen.code, 3, "{id} {screen:?}");
        assert!(
            screen.stdout.contains("unknown") && screen.stdout.contains(words),
            "{id} {screen:?}"
        );
    }
}

#[tokio::test]
async fn a_users_check_cannot_change_anything() {
    let cluster = Cluster::start(&Setup::default()).await;
    let desk = Desk::new();
    let file = instance("one", &cluster.url("postgres"))
        + "[[user_check]]\nid = \"evil\"\ntitle = \"evil\"\nsql = \"CREATE TABLE harm (i int)\"\nwarning = 1\n";
    desk.write("pawang.toml", &file);
    let screen = desk.pawang(&["check", "evil"]);
    assert_eq!(screen.code, 3, "{screen:?}");
    assert!(
        screen.stdout.contains("read-only transaction"),
        "{screen:?}"
    );
    let tables = cluster
        .sql(
            "postgres",
            "SELECT count(*) FROM pg_class WHERE relname = 'harm'",
        )
        .await;
    assert_eq!(tables[0][0].as_deref(), Some("0"));
}

#[tokio::test]
async fn profiles_logs_and_the_operations_log_are_written() {
    let cluster = Cluster::start(&Setup::default()).await;
    let desk = Desk::new();
    desk.write("pawang.toml", &instance("one", &cluster.url("postgres")));
    for profile in [
        "startup",
        "daily",
        "pre-maintenance",
        "post-maintenance",
        "full",
    ] {
        let screen = desk.pawang(&["check", "--profile", profile, "--json"]);
        let data = screen.data("pawang.check.run/1");
        assert_eq!(data[0]["profile"], profile);
        assert!(
            data[0]["verdicts"].as_array().unwrap().len() > 5,
            "{profile}"
        );
    }
    let words = [
        "check",
        "--profile",
        "daily",
        "--append-log",
        "daily.log",
        "--operations-log",
        "page.html",
    ];
    desk.pawang(&words);
    let lines = desk.read("daily.log").lines().count();
    assert!(lines > 5);
    desk.pawang(&words);
    assert!(
        desk.read("daily.log").lines().count() > lines,
        "the log only grows"
    );
    assert!(desk.read("page.html").contains("Daily operations log: one"));
    desk.pawang(&["check", "--profile", "daily", "--operations-log", "page.md"]);
    let page = desk.read("page.md");
    assert!(page.contains("| Database connectivity | OK |"), "{page}");
    assert!(
        page.contains("| Backups | NOT SEEN |"),
        "no backup is configured: {page}"
    );
}

#[tokio::test]
async fn every_statement_is_told_before_it_runs() {
    let cluster = Cluster::start(&Setup::default()).await;
    let desk = Desk::new();
    let screen = desk.pawang(&[
        "check",
        "connections",
        &cluster.url("postgres"),
        "--explain",
    ]);
    assert!(
        screen.stderr.contains("-- collector sessions"),
        "{screen:?}"
    );
    assert!(screen.stderr.contains("pg_stat_activity"), "{screen:?}");
    assert!(holds_something(&desk.path(".local/state/pawang")));
}
