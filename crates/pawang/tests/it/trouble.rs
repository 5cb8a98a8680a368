//! What happens when something goes wrong around a run: signals, files, names, and servers that go away.

use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};

use pawang_testbed::{Cluster, Setup, until};

use crate::program::{Desk, instance};

#[tokio::test]
async fn a_signal_ends_the_run_and_leaves_no_backend() {
    let cluster = Cluster::start(&Setup::default()).await;
    let desk = Desk::new();
    let file = instance("one", &cluster.url("postgres"))
        + "[[user_check]]\nid = \"slow\"\ntitle = \"slow\"\nsql = \"SELECT 'a', 1 FROM pg_sleep(25)\"\nwarning = 5\n";
    desk.write("pawang.toml", &file);
    let ours = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'pawang%' AND query LIKE '%pg_sleep(25)%'";
    for signal in ["INT", "TERM"] {
        let mut run = desk.start(&["check", "slow"]);
        until("the statement runs", async || {
            cluster.sql("postgres", ours).await[0][0].as_deref() == Some("1")
        })
        .await;
        run.signal(signal);
        let screen = run.screen();
        assert_eq!(screen.code, 130, "{signal} {screen:?}");
        assert!(screen.stderr.contains("interrupted"), "{screen:?}");
        assert_eq!(screen.stdout, "");
        until("the backend is gone", async || {
            cluster.sql("postgres", ours).await[0][0].as_deref() == Some("0")
        })
        .await;
    }
}

#[tokio::test]
async fn databases_with_odd_names_are_looked_into_and_grants_can_be_run() {
    let cluster = Cluster::start(&Setup::default()).await;
    let user = cluster.monitor().await;
    let names = ["Up per", "per%cent", "st*ar", "We\"\"ird", "new\nline"];
    for name in names {
        let create = format!("CREATE DATABASE \"{name}\"");
        cluster.sql("postgres", &create).await;
    }
    cluster
        .sql(
            "postgres",
            "REVOKE CONNECT ON DATABASE \"We\"\"ird\" FROM PUBLIC",
        )
        .await;
    let desk = Desk::new();
    let url = cluster.url_as(&user, "postgres");
    let words = ["check", "dead-tuples", &url, "--json"];
    let data = desk.pawang(&words).data("pawang.check.run/1");
    let findings = data[0]["verdicts"][0]["findings"].clone();
    assert_eq!(findings.as_array().unwrap().len(), 1, "{findings}");
    let grant = findings[0]["remedy"].as_str().unwrap();
    assert_eq!(
        grant,
        "GRANT CONNECT ON DATABASE \"We\"\"ird\" TO \"monitor\";"
    );
    cluster.sql("postgres", grant).await;
    let healed = desk.pawang(&words);
    assert_eq!(healed.code, 0, "{healed:?}");
    let closed = cluster.url_as(&user, "We\"ird");
    cluster
        .sql(
            "postgres",
            "REVOKE CONNECT ON DATABASE \"We\"\"ird\" FROM monitor",
        )
        .await;
    let screen = desk.pawang(&["check", "connections", &closed, "--json"]);
    let remedy = &screen.data("pawang.check.run/1")[0]["verdicts"][0]["findings"][0]["remedy"];
    assert_eq!(remedy, grant, "{screen:?}");
    let long = desk.pawang(&["check", "dead-tuples", &url, "--format", "text", "-v"]);
    assert!(
        !long.stdout.contains("(new\nline)"),
        "a name stays on its line: {long:?}"
    );
}

#[tokio::test]
async fn a_database_that_is_dropped_during_the_run_is_a_note() {
    let cluster = Cluster::start(&Setup::default()).await;
    cluster.sql("postgres", "CREATE DATABASE zz_short").await;
    cluster.sql("postgres", "CREATE DATABASE zz_long").await;
    let desk = Desk::new();
    // The first connection's questions are asked before any other database is opened.
    let file = instance("one", &cluster.url("postgres"))
        + "[[user_check]]\nid = \"slow\"\ntitle = \"slow\"\nsql = \"SELECT 'a', 1 FROM pg_sleep(25)\"\nwarning = 5\n";
    desk.write("pawang.toml", &file);
    let run = desk.start(&["check", "slow", "dead-tuples", "--json"]);
    let asks = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'pawang%' AND query LIKE '%pg_sleep(25)%'";
    let found = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'pawang%' AND query LIKE '%pg_sleep(25)%'";
    until("the statement runs", async || {
        cluster.sql("postgres", found).await[0][0].as_deref() == Some("1")
    })
    .await;
    cluster.sql("postgres", "DROP DATABASE zz_short").await;
    cluster.sql("postgres", asks).await;
    let screen = run.screen();
    let data = screen.data("pawang.check.run/1");
    let notes = data[0]["notes"].to_string();
    assert!(
        notes.contains("zz_short") && notes.contains("dropped or renamed"),
        "{screen:?}"
    );
    let verdicts = data[0]["verdicts"].as_array().unwrap();
    let tuples = verdicts.iter().find(|v| v["check"] == "dead-tuples");
    assert_eq!(tuples.unwrap()["outcome"], "judged", "{screen:?}");
}

#[tokio::test]
async fn a_connection_that_is_cut_is_told_and_what_was_seen_is_kept() {
    let cluster = Cluster::start(&Setup::default()).await;
    let desk = Desk::new();
    let file = instance("one", &cluster.url("postgres"))
        + "[[user_check]]\nid = \"a-slow\"\ntitle = \"slow\"\nsql = \"SELECT 'a', 1 FROM pg_sleep(25)\"\nwarning = 5\n"
        + "[[user_check]]\nid = \"b-after\"\ntitle = \"after\"\nsql = \"SELECT 'a', 1\"\nwarning = 5\n";
    desk.write("pawang.toml", &file);
    let run = desk.start(&["check", "connections", "a-slow", "b-after", "--json"]);
    let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name LIKE 'pawang%' AND query LIKE '%pg_sleep(25)%'";
    until("the statement runs and is cut", async || {
        cluster.sql("postgres", cut).await[0][0].as_deref() == Some("1")
    })
    .await;
    let screen = run.screen();
    assert_eq!(screen.code, 3, "{screen:?}");
    let data = screen.data("pawang.check.run/1");
    let outcome = |id: &str| {
        let verdicts = data[0]["verdicts"].as_array().unwrap();
        verdicts.iter().find(|v| v["check"] == id).unwrap()["outcome"].clone()
    };
    assert_eq!(outcome("connections"), "judged", "{screen:?}");
    assert_eq!(outcome("a-slow"), "unknown", "{screen:?}");
    assert_eq!(outcome("b-after"), "unknown", "{screen:?}");
    let notes = data[0]["notes"].to_string();
    assert!(
        notes.contains("lost during the run and not opened again"),
        "{screen:?}"
    );
}

#[tokio::test]
async fn questions_to_a_database_do_not_widen_what_is_looked_into() {
    let cluster = Cluster::start(&Setup::default()).await;
    cluster.sql("postgres", "CREATE DATABASE asked").await;
    cluster.sql("asked", "CREATE TABLE t (i int); ").await;
    let desk = Desk::new();
    let check = "[[user_check]]\nid = \"own\"\ntitle = \"own\"\ndatabase = \"asked\"\nsql = \"SELECT current_database(), 1\"\nwarning = 5\n";
    let only = "databases = [\"postgres\"]\n\n";
    let one = instance("one", &cluster.url("postgres"));
    desk.write(
        "pawang.toml",
        &(one.trim_end().to_owned() + "\n" + only + check),
    );
    let screen = desk.pawang(&["check", "own", "primary-key", "--json"]);
    let text = screen.data("pawang.check.run/1").to_string();
    assert!(!text.contains("\"database\":\"asked\""), "{screen:?}");
    assert!(text.contains("\"object\":\"asked\""), "{screen:?}");
    let none = one.trim_end().to_owned() + "\ndatabases = [\"zz*\"]\n\n";
    desk.write("pawang.toml", &none);
    let screen = desk.pawang(&["check", "dead-tuples"]);
    assert_eq!(screen.code, 3, "{screen:?}");
    assert!(
        screen
            .stdout
            .contains("no database of the server matches zz*"),
        "{screen:?}"
    );
}

#[test]
fn devices_links_and_permissions_survive_output() {
    let desk = Desk::new();
    let url = "host=/nowhere user=x";
    let real = desk.write("real.txt", "old");
    std::fs::set_permissions(&real, PermissionsExt::from_mode(0o600)).unwrap();
    symlink(&real, desk.path("link.txt")).unwrap();
    desk.pawang(&["check", "connection", url, "--output", "link.txt"]);
    assert!(desk.path("link.txt").is_symlink());
    assert!(desk.read("real.txt").contains("connection"));
    let mode = std::fs::metadata(&real).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let null = std::fs::symlink_metadata("/dev/null").unwrap().file_type();
    assert!(null.is_char_device());
    // A link to the device stands for the device, which a failing test must not destroy.
    symlink("/dev/null", desk.path("null")).unwrap();
    let screen = desk.pawang(&["check", "connection", url, "--output", "null"]);
    assert_eq!(screen.code, 3, "{screen:?}");
    assert!(
        desk.path("null").is_symlink(),
        "the device is written, not replaced"
    );
}

#[tokio::test]
async fn a_sample_that_cannot_be_used_is_a_note_on_one_line() {
    let cluster = Cluster::start(&Setup::default()).await;
    let desk = Desk::new();
    desk.write(
        "pawang.toml",
        &(String::from("state_directory = \"state\"\n")
            + &instance("one", &cluster.url("postgres"))),
    );
    let words = ["check", "connections", "--format", "text"];
    std::fs::create_dir(desk.path("state")).unwrap();
    desk.write("state/one.sample.json", "{");
    let broken = desk.pawang(&words);
    assert_eq!(broken.code, 0, "{broken:?}");
    assert!(broken.stdout.contains("note: cannot read"), "{broken:?}");
    assert!(!broken.stdout.contains("detail:"), "{broken:?}");
    std::fs::remove_dir_all(desk.path("state")).unwrap();
    desk.write("state", "a file in the way");
    let refused = desk.pawang(&words);
    assert_eq!(refused.code, 0, "{refused:?}");
    assert!(
        refused.stdout.contains("note: could not use"),
        "{refused:?}"
    );
}

#[tokio::test]
async fn runs_in_quick_succession_do_not_shorten_what_rates_span() {
    let cluster = Cluster::start(&Setup::default()).await;
    let desk = Desk::new();
    let file =
        String::from("state_directory = \"state\"\n") + &instance("one", &cluster.url("postgres"));
    desk.write("pawang.toml", &file);
    let at = || {
        let text = desk.read("state/one.sample.json");
        let sample: serde_json::Value = serde_json::from_str(&text).unwrap();
        let sightings = sample["facts"]["sightings"].as_array().unwrap().clone();
        let wal = sightings.iter().find(|s| s["collector"] == "wal").unwrap();
        wal["seen"]["Ok"]["at"].clone()
    };
    desk.pawang(&["check", "wal-rate"]);
    let first = at();
    desk.pawang(&["check", "wal-rate"]);
    assert_eq!(at(), first, "too young to be replaced");
}

#[test]
fn collectors_that_checks_could_not_read_are_refused() {
    let desk = Desk::new();
    std::fs::create_dir_all(desk.path("mine/sessions")).unwrap();
    desk.write(
        "mine/sessions/collector.toml",
        "summary = \"x\"\nscope = \"server\"\ninterval = \"10s\"\n[columns]\nactive = \"gauge\"\n",
    );
    desk.write("mine/sessions/14.sql", "SELECT 1 AS active");
    desk.write("pawang.toml", "[collectors]\ndirectory = \"mine\"\n");
    desk.pawang(&["check", "connections", "host=/nowhere user=x"])
        .is_clear_error(2, &["sessions", "usable_connections"]);
}

#[test]
fn words_that_contradict_each_other_are_refused_before_anything_is_asked() {
    let desk = Desk::new();
    let url = "host=/nowhere user=x";
    desk.pawang(&["check", "connection", "-i", "one", url])
        .is_clear_error(2, &["a URL and instances"]);
    desk.pawang(&["check", "connection", "-w", "1", url])
        .is_clear_error(2, &["\"connection\" has no limits"]);
    desk.pawang(&["check", "--profile", "dayly", url])
        .is_clear_error(2, &["pawang check --profile daily"]);
    let two = instance("a", "host=/nowhere") + &instance("b", "host=/nowhere");
    desk.write("pawang.toml", &two);
    let screen = desk.pawang(&["check", "--operations-log", "page.md"]);
    screen.is_clear_error(2, &["one operations log"]);
    assert_eq!(screen.stdout, "", "nothing was asked");
    desk.pawang(&["check", "\u{1b}[31mred"])
        .is_clear_error(2, &["there is no check \" [31mred\""]);
}

#[test]
fn the_operations_log_runs_the_daily_checks() {
    let desk = Desk::new();
    let url = "host=/nowhere user=x";
    let words = ["check", url, "--operations-log", "page.md", "--json"];
    let data = desk.pawang(&words).data("pawang.check.run/1");
    assert_eq!(data[0]["profile"], "daily");
}

#[test]
fn several_instances_are_told_apart() {
    let desk = Desk::new();
    let two = instance("first-one", "host=/nowhere") + &instance("other-one", "host=/nowhere");
    desk.write("pawang.toml", &two);
    let screen = desk.pawang(&["check", "connections", "--format", "text"]);
    for name in ["first-one:\n", "other-one:\n"] {
        assert!(screen.stdout.contains(name), "{screen:?}");
    }
    let hint = "to get in: ";
    assert!(screen.stdout.contains(hint), "{screen:?}");
}

#[test]
fn servers_that_never_answer_hold_up_nobody_but_themselves() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let mut file = String::from("[defaults]\nconnect_timeout = \"1 s\"\nconcurrency = 4\n\n");
    for index in 0..30 {
        let url = if index % 3 == 0 {
            format!("postgres://x@127.0.0.1:{port}/x?sslmode=disable")
        } else {
            "host=/nowhere user=x".to_owned()
        };
        file += &instance(&format!("i{index}"), &url);
    }
    let desk = Desk::new();
    desk.write("pawang.toml", &file);
    let started = std::time::Instant::now();
    let screen = desk.pawang(&["check", "connection"]);
    assert_eq!(screen.code, 3, "{screen:?}");
    let order: Vec<&str> = screen
        .stdout
        .lines()
        .filter_map(|l| l.split('\t').nth(2))
        .collect();
    assert_eq!(order.len(), 30, "{screen:?}");
    assert_eq!(&order[..3], ["i0", "i1", "i2"], "in the order of the file");
    let elapsed = started.elapsed();
    assert!(
        elapsed.as_secs() < 10,
        "10 hosts of 1 s, 4 at a time: {elapsed:?}"
    );
}

#[test]
fn no_colour_is_stronger_than_forced_colour() {
    let desk = Desk::new();
    let words = [
        "check",
        "connection",
        "host=/nowhere user=x",
        "--format",
        "text",
    ];
    let forced = desk.pawang_with(&words, &[("CLICOLOR_FORCE", "1")]);
    assert!(forced.stdout.contains('\u{1b}'), "{forced:?}");
    let variables = [("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")];
    let refused = desk.pawang_with(&words, &variables);
    assert!(!refused.stdout.contains('\u{1b}'), "{refused:?}");
}
