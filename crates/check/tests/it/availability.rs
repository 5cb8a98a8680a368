//! Faults of the group `availability`: silent when healthy, found when injected, gone when cleared.

use std::io::Write;
use std::sync::Arc;

use pawang_check::{CHECKS, Group, find};
use pawang_core::{Blind, Level, Outcome};
use pawang_testbed::{Cluster, Setup, Stop, until, versions};

use crate::connections::{counting, strict, value};
use crate::watch::{Watch, evaluate};

/// Checks of this file's neighbours as well: what a healthy server is must be said once.
const GROUPS: [Group; 4] = [
    Group::Availability,
    Group::Connections,
    Group::Transactions,
    Group::Locks,
];
const GRANTS: &str = "\
GRANT EXECUTE ON FUNCTION pg_catalog.pg_show_all_file_settings() TO monitor;
GRANT EXECUTE ON FUNCTION pg_catalog.pg_hba_file_rules() TO monitor;";

#[tokio::test]
async fn every_check_judges_a_healthy_server_and_its_standby_as_healthy() {
    for version in versions() {
        let cluster = Cluster::start(&Setup {
            version: Some(version),
            ..Setup::default()
        })
        .await;
        let mut primary = Watch::start(&cluster).await;
        cluster.sql("postgres", GRANTS).await;
        let standby = cluster.standby("s1").await;
        counting(&cluster).await;
        counting(&standby).await;
        let mut standby = Watch::over(&standby.url_as("monitor", "postgres"));
        let ids: Vec<&str> = CHECKS
            .iter()
            .filter(|check| GROUPS.contains(&check.group))
            .filter(|check| !check.needs.iter().any(|need| need.starts_with("host-log")))
            .map(|check| check.id)
            .collect();
        for watch in [&mut primary, &mut standby] {
            watch.look(&ids).await;
            for verdict in watch.look(&ids).await.verdicts {
                // How old a release is depends on the day and on the machine.
                let dated = ["end-of-life", "minor-version"].contains(&verdict.check.as_str());
                assert!(
                    verdict.level <= Level::Info || dated,
                    "{version:?}: {verdict:#?}"
                );
                assert_ne!(
                    verdict.outcome,
                    Outcome::Unknown,
                    "{version:?}: {verdict:#?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_server_that_is_down_is_critical_and_all_else_is_unseen() {
    let mut cluster = Cluster::start(&Setup::default()).await;
    let mut watch = Watch::start(&cluster).await;
    watch.silent("connection").await;
    watch.silent("connection-time").await;
    let verdict = strict(&mut watch, "connection-time", 0.01).await;
    assert_eq!(verdict.level, Level::Warning, "{verdict:#?}");
    watch.silent("uptime").await;
    watch.look(&["restart", "crash-restart"]).await;
    watch.silent("restart").await;
    let before = watch.older.clone();

    cluster.stop(Stop::Immediate).await;
    watch.found("connection", Level::Critical, "").await;
    for id in [
        "connection-time",
        "connections",
        "blocking",
        "xid-wraparound",
        "server-role",
    ] {
        let verdict = watch.verdict(id).await;
        assert_eq!(verdict.level, Level::Unknown, "{verdict:#?}");
        assert!(matches!(
            verdict.findings[0].blind,
            Some(Blind::Unreachable { .. })
        ));
    }

    cluster.start_again().await;
    watch.silent("connection").await;
    watch.older = before;
    watch.found("restart", Level::Warning, "").await;
    watch.silent("restart").await;
    watch.silent("crash-restart").await;
}

#[tokio::test]
async fn a_crashed_process_is_not_a_restart_and_is_found() {
    for version in versions() {
        let mut cluster = Cluster::start(&Setup {
            version: Some(version),
            ..Setup::default()
        })
        .await;
        let mut watch = Watch::start(&cluster).await;
        let ids = ["crash-restart", "restart"];
        watch.look(&ids).await;
        watch.silent("crash-restart").await;
        watch.look(&ids).await;
        let before = watch.older.clone();

        let victim = cluster.connect("postgres").await;
        let pid: i32 = victim
            .query_one("SELECT pg_backend_pid()", &[])
            .await
            .unwrap()
            .get(0);
        let killer = cluster.connect("postgres").await;
        let kill = format!("COPY (SELECT 1) TO PROGRAM 'kill -9 {pid}'");
        // The killer's own session goes down with all others.
        let _crashed = killer.batch_execute(&kill).await;
        until("the server has recovered", async || {
            let pid = format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}");
            watch.verdict("connection").await.level == Level::Ok
                && value(&cluster, &pid).await == "0"
        })
        .await;
        watch.older.clone_from(&before);
        watch.found("crash-restart", Level::Critical, "").await;
        watch.older = before;
        watch.silent("restart").await;

        cluster.stop(Stop::Fast).await;
        cluster.start_again().await;
        watch.look(&ids).await;
        watch.silent("crash-restart").await;
    }
}

#[tokio::test]
async fn a_promoted_standby_has_another_role() {
    let cluster = Cluster::start(&Setup::default()).await;
    cluster.monitor().await;
    let standby = cluster.standby("s1").await;
    let mut watch = Watch::over(&standby.url_as("monitor", "postgres"));
    assert_eq!(
        watch.verdict("server-role").await.findings[0].blind,
        Some(Blind::FirstSample)
    );
    watch.silent("server-role").await;
    standby.sql("postgres", "SELECT pg_promote()").await;
    let finding = watch.found("server-role", Level::Warning, "").await;
    assert!(finding.title.contains("was a standby"), "{finding:#?}");
    watch.silent("server-role").await;

    // Clusters of one version have one template, and therefore one identifier.
    for version in versions() {
        let other = Cluster::start(&Setup {
            version: Some(version),
            ..Setup::default()
        })
        .await;
        let mut stranger = Watch::start(&other).await;
        stranger.older.clone_from(&watch.older);
        if version == cluster.version() {
            stranger.silent("server-role").await;
        } else {
            stranger.found("server-role", Level::Critical, "").await;
        }
    }
}

#[tokio::test]
async fn wrong_lines_in_the_configuration_are_found_before_the_restart() {
    for version in versions() {
        let cluster = Cluster::start(&Setup {
            version: Some(version),
            settings: &[("max_connections", "40")],
            ..Setup::default()
        })
        .await;
        let mut watch = Watch::start(&cluster).await;
        for id in ["configuration-file-errors", "hba-file-errors"] {
            let verdict = watch.verdict(id).await;
            assert_eq!(verdict.level, Level::Unknown, "{verdict:#?}");
            let remedy = &verdict.findings[0].remedy;
            assert!(remedy.starts_with("GRANT EXECUTE ON FUNCTION"), "{remedy}");
            cluster.sql("postgres", remedy).await;
            watch.silent(id).await;
        }

        watch.silent("pending-restart").await;
        cluster.set("max_connections", Some("50")).await;
        watch
            .found("pending-restart", Level::Warning, "max_connections")
            .await;
        watch.silent("configuration-file-errors").await;
        cluster.set("max_connections", Some("40")).await;
        watch.silent("pending-restart").await;

        for (id, file, line) in [
            (
                "configuration-file-errors",
                "postgresql.conf",
                "work_mem = '4 elephants'",
            ),
            (
                "hba-file-errors",
                "pg_hba.conf",
                "host all all 10.0.0.0/8 scram",
            ),
        ] {
            let path = cluster.data_directory().join(file);
            let old = std::fs::read(&path).unwrap();
            let mut text = std::fs::OpenOptions::new()
                .append(true)
                .open(&path)
                .unwrap();
            writeln!(text, "\n{line}").unwrap();
            let finding = watch.found(id, Level::Critical, file).await;
            assert!(finding.object.contains(':'), "{finding:#?}");
            std::fs::write(&path, old).unwrap();
            watch.silent(id).await;
        }
    }
}

#[tokio::test]
async fn a_database_that_was_half_dropped_is_found() {
    let cluster = Cluster::start(&Setup::default()).await;
    let mut watch = Watch::start(&cluster).await;
    cluster.sql("postgres", "CREATE DATABASE \"Old\"").await;
    watch.silent("half-dropped-database").await;
    let half = "UPDATE pg_database SET datconnlimit = -2 WHERE datname = 'Old'";
    cluster.sql("postgres", half).await;
    let finding = watch
        .found("half-dropped-database", Level::Warning, "Old")
        .await;
    cluster.sql("postgres", &finding.remedy).await;
    watch.silent("half-dropped-database").await;
}

#[tokio::test]
async fn old_releases_and_wrong_clocks_are_found() {
    let cluster = Cluster::start(&Setup::default()).await;
    let mut watch = Watch::start(&cluster).await;
    watch.silent("server-clock").await;
    let mut facts = watch.older.take().unwrap();
    let judge = |facts: &pawang_core::Facts, id: &str| {
        evaluate(find(id).unwrap(), facts, None, &()).unwrap()
    };
    for (version, now, eol, minor) in [
        (150_018, "2026-06-01T00:00:00Z", Level::Ok, Level::Ok),
        (
            150_017,
            "2027-08-01T00:00:00Z",
            Level::Warning,
            Level::Warning,
        ),
        (
            150_001,
            "2027-12-01T00:00:00Z",
            Level::Critical,
            Level::Critical,
        ),
        (990_001, "2040-01-01T00:00:00Z", Level::Ok, Level::Ok),
    ] {
        facts.server.as_mut().unwrap().version = version;
        facts.at = now.parse().unwrap();
        assert_eq!(judge(&facts, "end-of-life").level, eol, "{version}");
        assert_eq!(judge(&facts, "minor-version").level, minor, "{version}");
    }
    for (hours, level) in [(1, Level::Critical), (-1, Level::Critical), (0, Level::Ok)] {
        let mut shifted = facts.clone();
        for sighting in &mut shifted.sightings {
            let snapshot = sighting.seen.as_mut().unwrap();
            Arc::make_mut(snapshot).at += jiff::SignedDuration::from_hours(hours);
        }
        assert_eq!(judge(&shifted, "server-clock").level, level, "{hours}");
    }
    let verdict = strict(&mut watch, "uptime", 1e9).await;
    assert_eq!(verdict.level, Level::Warning, "{verdict:#?}");
}
