//! What statements cost now, asked of real servers without a history.

use pawang_testbed::{Cluster, Setup, Version, versions};

use crate::program::{Desk, Screen, instance};
use crate::serve::file;

const LOADED: [(&str, &str); 2] = [
    ("shared_preload_libraries", "pg_stat_statements"),
    ("pg_stat_statements.max", "100"),
];

async fn cluster(version: Option<Version>, settings: &[(&str, &str)]) -> Cluster {
    Cluster::start(&Setup {
        version,
        settings,
        ..Setup::default()
    })
    .await
}

async fn with_extension(version: Option<Version>) -> Cluster {
    let cluster = cluster(version, &LOADED).await;
    cluster
        .sql("postgres", "CREATE EXTENSION pg_stat_statements")
        .await;
    cluster.monitor().await;
    cluster
}

/// Runs a command while the server is busy with `sql`, again and again.
async fn meanwhile(
    desk: &Desk,
    words: &[&str],
    cluster: &Cluster,
    sql: impl Fn(usize) -> String,
) -> Screen {
    let client = cluster.connect("postgres").await;
    let running = desk.start(words);
    let mut screen = tokio::task::spawn_blocking(move || running.screen());
    for number in 0.. {
        let sql = sql(number);
        tokio::select! {
            biased;
            screen = &mut screen => return screen.unwrap(),
            done = client.batch_execute(&sql) => done.unwrap(),
        }
    }
    unreachable!("the command ends")
}

#[tokio::test]
async fn two_looks_tell_what_was_done_in_between() {
    for version in versions() {
        let cluster = with_extension(Some(version)).await;
        let url = cluster.url_as("monitor", "postgres");
        cluster
            .sql(
                "postgres",
                "SELECT sum(n) AS earlier FROM generate_series(1, 300000) AS n",
            )
            .await;
        let desk = Desk::new();
        let words = ["query", "top", &url, "--for", "1s", "--json"];
        let busy = "SELECT count(*) AS busy FROM generate_series(1, 1000)";
        let screen = meanwhile(&desk, &words, &cluster, |_| busy.to_owned()).await;
        assert_eq!(screen.code, 0, "{screen:?}");
        let data = screen.data("pawang.query.top/1");
        let statements = data[0]["workload"]["statements"].as_array().unwrap();
        let text = |words: &str| {
            let mut all = statements.iter();
            all.find(|one| {
                one["text"]
                    .as_str()
                    .is_some_and(|text| text.contains(words))
            })
        };
        let found = text("AS busy").unwrap_or_else(|| panic!("{version}: {data}"));
        assert!(found["sums"]["calls"].as_f64().unwrap() >= 1.0, "{found}");
        assert!(
            text("AS earlier").is_none(),
            "{version}: nothing was done of it: {data}"
        );
        let seconds = data[0]["live"]["seconds"].as_f64().unwrap();
        assert!((1.0..30.0).contains(&seconds), "{data}");
        assert_eq!(data[0]["live"]["doubts"]["reset"], false, "{data}");

        let total = desk.pawang(&["query", "top", &url, "--total"]);
        assert_eq!(total.code, 0, "{total:?}");
        assert!(total.stdout.contains("AS earlier"), "{total:?}");
        assert!(
            total.stderr.contains("everything since the reset"),
            "{total:?}"
        );
        let id = found["queryid"].as_str().unwrap();
        let one = desk.pawang(&["query", "show", id, &url, "--total"]);
        assert_eq!(one.code, 0, "{one:?}");
        assert!(one.stdout.starts_with("SELECT count(*) AS busy"), "{one:?}");
        assert!(
            one.stdout.contains("since reset\tpostgres\tpostgres\tno\t"),
            "{one:?}"
        );
        desk.pawang(&["query", "show", "7", &url, "--total"])
            .is_clear_error(1, &["counts no query 7", "query top"]);
    }
}

#[tokio::test]
async fn a_reset_and_evictions_in_between_are_told_and_nothing_is_negative() {
    for version in versions() {
        let cluster = with_extension(Some(version)).await;
        let url = cluster.url_as("monitor", "postgres");
        let desk = Desk::new();
        let words = [
            "query", "top", &url, "--for", "2s", "--json", "--top", "1000",
        ];
        // Far more statements than there is room for.
        let flood = |number: usize| {
            let one = |length: usize| format!("SELECT {};", vec!["1"; length % 400 + 1].join(", "));
            (number * 20..number * 20 + 20).map(one).collect::<String>()
        };
        let evicted = meanwhile(&desk, &words, &cluster, flood).await;
        let data = evicted.data("pawang.query.top/1");
        assert!(
            data[0]["live"]["doubts"]["evictions"].as_u64().unwrap() > 0,
            "{version}: {data}"
        );
        let notes = data[0]["live"]["notes"].to_string();
        assert!(notes.contains("pg_stat_statements.max"), "{notes}");
        for statement in data[0]["workload"]["statements"].as_array().unwrap() {
            let sums = statement["sums"].as_object().unwrap();
            assert!(
                sums.values().all(|value| value.as_f64().unwrap() >= 0.0),
                "{statement}"
            );
        }
        let reset = |_| "SELECT pg_stat_statements_reset()".to_owned();
        let screen = meanwhile(&desk, &words, &cluster, reset).await;
        let data = screen.data("pawang.query.top/1");
        assert_eq!(
            data[0]["live"]["doubts"]["reset"], true,
            "{version}: {data}"
        );
        assert!(
            data[0]["live"]["seconds"].as_f64().unwrap() < 2.0,
            "counted from the reset: {data}"
        );
    }
}

#[tokio::test]
async fn what_is_missing_is_told_with_the_statement_that_provides_it() {
    let bare = cluster(None, &[("shared_preload_libraries", "auto_explain")]).await;
    let desk = Desk::new();
    let top = |url: &str| desk.pawang(&["query", "top", url, "--total"]);
    top(&bare.url("postgres")).is_clear_error(
        3,
        &[
            "not loaded",
            "ALTER SYSTEM SET shared_preload_libraries = 'auto_explain', 'pg_stat_statements';",
        ],
    );
    drop(bare);
    let cluster = cluster(None, &LOADED).await;
    cluster.monitor().await;
    cluster
        .sql("postgres", "CREATE ROLE app LOGIN; CREATE SCHEMA ext")
        .await;
    let url = cluster.url_as("app", "postgres");
    top(&url).is_clear_error(
        3,
        &[
            "database \"postgres\"",
            "CREATE EXTENSION pg_stat_statements;",
        ],
    );
    cluster
        .sql(
            "postgres",
            "CREATE EXTENSION pg_stat_statements SCHEMA ext VERSION '1.8'",
        )
        .await;
    top(&url).is_clear_error(3, &["GRANT USAGE ON SCHEMA ext TO \"app\";"]);
    cluster
        .sql("postgres", "GRANT USAGE ON SCHEMA ext TO app")
        .await;
    top(&url).is_clear_error(
        3,
        &["version 1.8", "ALTER EXTENSION pg_stat_statements UPDATE;"],
    );
    cluster
        .sql("postgres", "ALTER EXTENSION pg_stat_statements UPDATE")
        .await;
    let hidden = top(&url);
    assert!(
        hidden
            .stderr
            .contains("GRANT pg_read_all_stats TO \"app\";"),
        "{hidden:?}"
    );
    cluster
        .sql("postgres", "GRANT pg_read_all_stats TO app")
        .await;
    let seen = top(&url);
    assert_eq!(seen.code, 0, "{seen:?}");
    assert!(!seen.stderr.contains("GRANT"), "{seen:?}");
    cluster.set("pg_stat_statements.track", Some("none")).await;
    cluster
        .sql("postgres", "SELECT ext.pg_stat_statements_reset()")
        .await;
    let none = top(&url);
    assert_eq!(none.code, 1, "{none:?}");
    assert!(
        none.stderr
            .contains("ALTER SYSTEM SET pg_stat_statements.track = 'top';"),
        "{none:?}"
    );
}

#[tokio::test]
async fn a_server_without_history_is_asked_by_its_name() {
    let cluster = with_extension(None).await;
    let desk = Desk::new();
    let good = instance("one", &cluster.url_as("monitor", "postgres"));
    file(&desk, &(good + &instance("two", "host=/nowhere user=x")));
    let one = desk.pawang(&["query", "top", "-i", "one", "--for", "1s"]);
    assert_eq!(one.code, 0, "{one:?}");
    let both = desk.pawang(&["query", "top", "--total"]);
    both.is_clear_error(3, &["/nowhere"]);
    assert!(
        both.stdout.contains("query id"),
        "the other one is shown: {both:?}"
    );
    desk.pawang(&["query", "top", "--for", "2h"])
        .is_clear_error(2, &["from 1s to 1h"]);
    desk.pawang(&["query", "top", "--total", "--by", "change"])
        .is_clear_error(2, &["day before", "pawang serve"]);
    desk.pawang(&["query", "top", "-i", "three"])
        .is_clear_error(2, &["three"]);
}

#[tokio::test]
async fn the_threshold_of_the_log_is_proposed_by_how_long_statements_take() {
    let cluster = with_extension(None).await;
    let url = cluster.url_as("monitor", "postgres");
    let desk = Desk::new();
    let threshold = |words: &[&str]| {
        let words = [&["logs", "settings", &url, "--json"], words].concat();
        let data = desk.pawang(&words).data("pawang.logs.settings/1");
        let all = data[0]["proposals"].as_array().unwrap().clone();
        let found = all
            .into_iter()
            .find(|one| one["setting"] == "log_min_duration_statement");
        (found.unwrap_or_else(|| panic!("{data}")), data[0].clone())
    };
    let slow = "SELECT pg_sleep(0.06) FROM generate_series(1, 2)";
    for _ in 0..5 {
        cluster.sql("postgres", slow).await;
    }
    let (found, whole) = threshold(&[]);
    assert_eq!(
        found["wanted"], "'10ms'",
        "a quiet server can tell nearly all: {found}"
    );
    let cost = found["cost"].as_str().unwrap();
    for words in [
        "lines a second",
        "MB a day",
        "by pg_stat_statements",
        "at most",
    ] {
        assert!(cost.contains(words), "{cost}");
    }
    assert_eq!(whole["platform"], "own", "{whole}");
    // Five calls of 120 ms in a minute or so are too many for one line an hour.
    let (found, _) = threshold(&["--lines-per-second", "0.0003"]);
    let wanted = found["wanted"].as_str().unwrap();
    let low = ["'10ms'", "'20ms'", "'50ms'", "'100ms'"];
    assert!(!low.contains(&wanted), "they took more than that: {found}");
    desk.pawang(&["logs", "settings", &url, "--lines-per-second", "0"])
        .is_clear_error(2, &["budget"]);
    cluster
        .sql("postgres", "DROP EXTENSION pg_stat_statements")
        .await;
    let (found, whole) = threshold(&[]);
    assert_eq!(found["wanted"], "'1s'", "{found}");
    assert!(
        found["cost"].as_str().unwrap().contains("not known"),
        "{found}"
    );
    assert_eq!(
        whole["statements"]["missing"]["hint"], "CREATE EXTENSION pg_stat_statements;",
        "{whole}"
    );
}
