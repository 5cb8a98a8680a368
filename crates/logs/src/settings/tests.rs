//! What is proposed for settings of several servers.

use super::*;

fn settings(changes: &[(&str, &str)]) -> Settings {
    let good = [
        ("log_min_duration_statement", "500"),
        ("log_min_duration_sample", "-1"),
        ("log_statement", "ddl"),
        ("log_duration", "off"),
        ("log_min_error_statement", "error"),
        ("log_checkpoints", "on"),
        ("log_lock_waits", "on"),
        ("log_temp_files", "0"),
        ("log_autovacuum_min_duration", "1000"),
        ("log_connections", "on"),
        ("log_disconnections", "on"),
        ("log_line_prefix", PREFIX),
        ("log_destination", "stderr,jsonlog"),
        ("logging_collector", "on"),
        ("log_rotation_age", "1440"),
        ("log_rotation_size", "0"),
        ("log_filename", "postgresql-%Y-%m-%d.log"),
        ("log_truncate_on_rotation", "off"),
        ("log_error_verbosity", "default"),
        ("log_min_messages", "warning"),
        ("session_preload_libraries", "auto_explain"),
        ("auto_explain.log_min_duration", "1000"),
    ];
    let all = good.iter().chain(changes);
    all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

#[test]
fn a_server_that_logs_well_is_left_alone() {
    assert_eq!(propose(&settings(&[]), 17, None), []);
    // What a server does not have is not asked of it.
    assert!(
        propose(&Settings::new(), 17, None)
            .iter()
            .all(|p| p.level < Level::Warning)
    );
}

#[test]
fn each_gap_has_its_statement() {
    for (name, value, level, sql) in [
        (
            "log_checkpoints",
            "off",
            Level::Warning,
            "ALTER SYSTEM SET log_checkpoints = 'on';",
        ),
        (
            "log_temp_files",
            "-1",
            Level::Warning,
            "ALTER SYSTEM SET log_temp_files = '10MB';",
        ),
        (
            "log_min_duration_statement",
            "-1",
            Level::Warning,
            "ALTER SYSTEM SET log_min_duration_statement = '1s';",
        ),
        (
            "log_line_prefix",
            "",
            Level::Critical,
            "ALTER SYSTEM SET log_line_prefix = '%m [%p] %l %c %q%u@%d %a %h %e %Q ';",
        ),
        (
            "log_line_prefix",
            "%m [%-8p] %q%u@%d ",
            Level::Info,
            "ALTER SYSTEM SET log_line_prefix = '%m [%p] %l %c %q%u@%d %a %h %e %Q ';",
        ),
        (
            "log_destination",
            "stderr",
            Level::Info,
            "ALTER SYSTEM SET log_destination = 'stderr,jsonlog';",
        ),
        (
            "session_preload_libraries",
            "pg_hint_plan",
            Level::Info,
            "ALTER SYSTEM SET session_preload_libraries = 'pg_hint_plan', 'auto_explain';",
        ),
        (
            "log_filename",
            "postgresql-%a.log",
            Level::Warning,
            "ALTER SYSTEM SET log_truncate_on_rotation = 'on';",
        ),
    ] {
        let found = propose(&settings(&[(name, value)]), 17, None);
        let told: Vec<_> = found.iter().map(|p| (p.level, p.sql())).collect();
        assert_eq!(told, [(level, sql.to_owned())], "{name} = {value}");
    }
}

#[test]
fn versions_differ() {
    let found = propose(&settings(&[("log_destination", "stderr")]), 14, None);
    assert_eq!(found[0].wanted, "'stderr,csvlog'");
    let found = propose(&settings(&[("log_connections", "")]), 18, None);
    assert_eq!(found[0].wanted, "'receipt,authentication,authorization'");
}

/// A hundred fast calls a second, and one in ten seconds that takes three.
fn workload(fast_ms: f64) -> Workload {
    let spread = |calls: f64, ms: f64| Spread {
        calls,
        mean_ms: ms,
        deviation_ms: ms / 10.0,
        min_ms: ms * 0.8,
        max_ms: ms * 1.3,
        text_bytes: 80.0,
        seconds: 86_400.0,
    };
    Workload {
        spreads: vec![spread(8_640_000.0, fast_ms), spread(8_640.0, 3_000.0)],
        seconds: 86_400.0,
        source: "pg_stat_statements over 1 day".to_owned(),
        budget: Budget::default(),
    }
}

fn of_workload(now: &str, fast_ms: f64) -> Vec<(Level, String)> {
    let settings = settings(&[
        ("log_min_duration_statement", now),
        ("log_statement_sample_rate", "1"),
    ]);
    let found = propose(&settings, 17, Some(&workload(fast_ms)));
    found
        .iter()
        .map(|proposal| (proposal.level, proposal.sql()))
        .collect()
}

#[test]
fn the_threshold_is_chosen_by_how_long_statements_take() {
    let to = |level, wanted: &str| {
        (
            level,
            format!("ALTER SYSTEM SET log_min_duration_statement = '{wanted}';"),
        )
    };
    assert_eq!(of_workload("-1", 30.0), [to(Level::Warning, "50ms")]);
    assert_eq!(of_workload("0", 30.0), [to(Level::Warning, "50ms")]);
    assert_eq!(
        of_workload("10", 30.0),
        [to(Level::Warning, "50ms")],
        "too many are written"
    );
    assert_eq!(of_workload("100", 30.0), []);
    assert_eq!(
        of_workload("5000", 30.0),
        [to(Level::Info, "50ms")],
        "much is hidden"
    );
    let found = of_workload("-1", 300.0);
    assert_eq!(found[0], to(Level::Warning, "500ms"));
    assert_eq!(
        found[1].1,
        "ALTER SYSTEM SET log_min_duration_sample = '50ms';"
    );
    assert_eq!(
        found[2].1,
        "ALTER SYSTEM SET log_statement_sample_rate = '0.04';"
    );
    let found = propose(
        &settings(&[("log_min_duration_statement", "-1")]),
        17,
        Some(&workload(30.0)),
    );
    for words in [
        "lines a second",
        "MB a day",
        "at most",
        "pg_stat_statements over 1 day",
        "budget of 10 lines",
    ] {
        assert!(found[0].cost.contains(words), "{}", found[0].cost);
    }
}

#[test]
fn hosted_servers_get_parameters_in_their_own_units() {
    let own = settings(&[
        ("log_min_duration_statement", "-1"),
        ("log_temp_files", "-1"),
        ("rds.extensions", ""),
    ]);
    assert_eq!(platform(&settings(&[])), Platform::Own);
    assert_eq!(platform(&own), Platform::Rds);
    let script = script_for(Platform::Rds, &propose(&own, 17, None));
    assert!(script[0].contains("parameter group"), "{script:?}");
    assert_eq!(
        script[1..],
        [
            "log_min_duration_statement = 1000",
            "log_temp_files = 10240"
        ]
    );
}

#[test]
fn the_script_reloads_before_what_waits_for_a_restart() {
    let found = propose(
        &settings(&[("logging_collector", "off"), ("log_lock_waits", "off")]),
        17,
        None,
    );
    assert_eq!(
        script(&found),
        [
            "ALTER SYSTEM SET log_lock_waits = 'on';",
            "SELECT pg_reload_conf();",
            "-- in force after the next restart:",
            "ALTER SYSTEM SET logging_collector = 'on';"
        ]
    );
    assert!(script(&[]).is_empty());
}
