//! Backups of files that are read over SQL, by a role that may do that and nothing else.

use pawang_backup::repository::{BackupKind, Mode};
use pawang_backup::take::{LANES, Progress, Reading, TakeRequest, Wanted, missing_grants, take};
use pawang_backup::wal::{Listing, SegmentName, Timeline};
use pawang_core::{ByteSize, Kind, Lsn, Report};
use pawang_testbed::{Cluster, Setup, installations, until, versions};

use crate::local::{coming_and_going, increments, without_increments};
use crate::take::{
    Bed, READER, TPC_B, corrupt_page, halted, killed, request_to, standby, tablespaces, take_as,
    target, under_load,
};
use crate::world::live_tail;

/// Bytes of WAL segments of servers that tests start.
const SEGMENT_BYTES: u32 = 1 << 20;
/// Connections of backups that are there, but for those of the one who asks.
const OURS: &str = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'pawang:%'";

#[tokio::test]
async fn files_that_change_while_they_are_read_become_whole() {
    let all: Vec<_> = installations().iter().map(|found| found.version).collect();
    under_load(&all, Reading::Lanes).await;
}

#[tokio::test]
async fn a_damaged_page_is_named() {
    corrupt_page(&versions(), Reading::Lanes).await;
}

#[tokio::test]
async fn files_of_tablespaces_and_hostile_names_come_whole() {
    tablespaces(&versions(), Reading::Lanes).await;
}

#[tokio::test]
async fn files_of_a_standby_are_as_good_until_it_is_promoted() {
    standby(&versions(), Reading::Lanes).await;
}

#[tokio::test]
async fn relations_that_come_and_go_do_no_harm() {
    coming_and_going(&versions(), Reading::Lanes).await;
}

#[tokio::test]
async fn increments_of_pages_are_the_stopped_server_byte_for_byte() {
    increments(Reading::Lanes, Mode::Lanes).await;
}

#[tokio::test]
async fn lanes_that_nobody_waits_for_end() {
    killed(Reading::Lanes).await;
}

/// Waits until no connection of a backup is left.
async fn all_gone(cluster: &Cluster) {
    until("the connections of the backup end", async || {
        cluster.sql("postgres", OURS).await[0][0].as_deref() == Some("0")
    })
    .await;
}

/// Waits until a server has no use for a segment any more.
async fn has_no_more(cluster: &Cluster, segment: &SegmentName) {
    let gone = format!("CHECKPOINT; SELECT pg_stat_file('pg_wal/{segment}', true) IS NULL");
    until("the server has no use for it any more", async || {
        cluster.sql("postgres", &gone).await[0][0].as_deref() == Some("t")
    })
    .await;
}

/// Begins a slow backup, has something done as soon as files come, and returns why there is none.
async fn disturbed(bed: &Bed, disturb: impl AsyncFnOnce(Lsn)) -> Report {
    let mut slow = bed.request();
    slow.rate_max = Some(ByteSize(8 << 20));
    let taken = halted(slow, disturb).await;
    let cluster = bed.repository.clusters().await.unwrap()[0];
    assert_eq!(bed.repository.backups(&cluster).await.unwrap(), []);
    taken.unwrap_err().report()
}

#[tokio::test]
async fn without_one_of_its_lanes_there_is_no_backup() {
    for lane in ["pawang:backup", "pawang:backup-lane"] {
        let bed = Bed::read_by(versions()[0], Reading::Lanes).await;
        bed.cluster.sql("postgres", TPC_B).await;
        let kill = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{lane}'
            ORDER BY backend_start DESC LIMIT 1"
        );
        let report = disturbed(&bed, async |_| {
            bed.cluster.sql("postgres", &kill).await;
        })
        .await;
        assert_eq!(report.kind, Kind::Target, "{report}");
        let words = report.to_string();
        let told = ["terminating connection", "lost the connection"];
        assert!(told.iter().any(|told| words.contains(told)), "{words}");
        all_gone(&bed.cluster).await;
        let commit = bed.take().await;
        assert_eq!(commit.mode, Mode::Lanes);
        all_gone(&bed.cluster).await;
    }
}

#[tokio::test]
async fn each_grant_that_is_missing_is_named_with_its_statement() {
    let bed = Bed::read_by(versions()[0], Reading::Lanes).await;
    bed.cluster
        .sql("postgres", "CREATE ROLE nobody LOGIN")
        .await;
    let mut request = bed.request();
    request.target = target(&bed.cluster.url_as("nobody", "postgres"));
    let report = take(request.clone(), &mut |_| {})
        .await
        .unwrap_err()
        .report();
    assert_eq!(report.kind, Kind::Target, "{report}");
    let words = report.to_string();
    for function in [
        "pg_read_binary_file",
        "pg_ls_dir",
        "pg_stat_file",
        "pg_backup_start",
        "pg_backup_stop",
    ] {
        assert!(words.contains(function), "{function}: {words}");
    }
    // What the hint says is all that is missing.
    let hint = report.hint.unwrap();
    let (database, grant) = hint.split_once(", as a superuser: ").unwrap();
    assert_eq!(database, "in database \"postgres\"");
    bed.cluster.sql("postgres", grant).await;
    assert!(missing_grants(&request.target).await.unwrap().is_none());
    let commit = take(request.clone(), &mut |_| {}).await.unwrap();
    assert_eq!((commit.mode, commit.pages.wrong), (Mode::Lanes, 0));
    // They hold in one database only.
    request.target = target(&bed.cluster.url_as("nobody", "template1"));
    let refused = missing_grants(&request.target).await.unwrap().unwrap();
    assert!(refused.to_string().contains("\"template1\""), "{refused}");
    let revoke = "REVOKE EXECUTE ON FUNCTION pg_ls_dir(text, boolean, boolean) FROM nobody";
    bed.cluster.sql("postgres", revoke).await;
    let refused = missing_grants(&target(&bed.cluster.url_as("nobody", "postgres"))).await;
    let hint = refused.unwrap().unwrap().hint.unwrap();
    assert!(
        hint.contains("pg_ls_dir(text, boolean, boolean) TO") && !hint.contains("pg_stat_file"),
        "{hint}"
    );
}

#[tokio::test]
async fn lanes_are_taken_where_nothing_else_is_possible() {
    let bed = Bed::read_by(versions()[0], Reading::Lanes).await;
    bed.cluster.sql("postgres", TPC_B).await;
    let mut request = TakeRequest {
        reading: Reading::Auto,
        ..bed.request()
    };
    let mut said = Vec::new();
    let commit = take(request.clone(), &mut |progress| said.push(progress))
        .await
        .unwrap();
    assert_eq!(commit.mode, Mode::Lanes);
    let told = |words: &str| {
        said.iter().any(|said| match said {
            Progress::Reads(Mode::Lanes, why) => why.contains(words),
            Progress::Note(note) => note.contains(words),
            _ => false,
        })
    };
    assert!(
        told("4 SQL connections") && told("does not keep WAL"),
        "{said:?}"
    );
    assert_eq!(LANES.get(), 4);
    // What is missing then is what a person would have to give first.
    let revoke = format!("REVOKE EXECUTE ON FUNCTION pg_stat_file(text, boolean) FROM {READER}");
    bed.cluster.sql("postgres", &revoke).await;
    request.backup = bed.request().backup;
    let report = take(request, &mut |_| {}).await.unwrap_err().report();
    assert!(report.to_string().contains("REPLICATION"), "{report}");
    // A role that may everything has the protocol keep its WAL.
    let mut all = request_to(&bed.cluster.url("postgres"), &bed.repository);
    all.reading = Reading::Lanes;
    said.clear();
    let commit = take(all, &mut |progress| said.push(progress))
        .await
        .unwrap();
    assert_eq!(commit.mode, Mode::Lanes);
    let noted = said.iter().any(|said| matches!(said, Progress::Note(_)));
    assert!(!noted, "{said:?}");
}

#[tokio::test]
async fn lanes_are_taken_where_the_server_has_no_senders_at_all() {
    let bed = Bed::new(&Setup {
        settings: &[("max_wal_senders", "0")],
        ..Setup::default()
    })
    .await;
    bed.cluster.sql("postgres", TPC_B).await;
    let mut request = request_to(&bed.cluster.url("postgres"), &bed.repository);
    request.reading = Reading::Auto;
    let commit = take(request, &mut |_| {}).await.unwrap();
    assert_eq!(commit.mode, Mode::Lanes);
}

#[tokio::test]
async fn wal_that_the_server_has_no_more_is_missed() {
    let bed = Bed::read_by(versions()[0], Reading::Lanes).await;
    bed.cluster.sql("postgres", TPC_B).await;
    let report = disturbed(&bed, async |start| {
        // Somebody brings WAL, and then no more of it.
        let cluster = bed.repository.clusters().await.unwrap()[0];
        live_tail(&bed.cluster, &cluster, &bed.repository, SEGMENT_BYTES).await;
        let first = SegmentName::holding(Timeline(1), start, SEGMENT_BYTES);
        bed.cluster
            .sql("postgres", "UPDATE tellers SET balance = 1")
            .await;
        bed.cluster.sql("postgres", "SELECT pg_switch_wal()").await;
        has_no_more(&bed.cluster, &first).await;
    })
    .await;
    assert_eq!(report.kind, Kind::Target, "{report}");
    let words = report.to_string();
    assert!(
        words.contains("pg_wal/") && words.contains("wal_keep_size"),
        "{words}"
    );
}

#[tokio::test]
async fn wal_that_is_damaged_at_the_server_is_no_wal() {
    let bed = Bed::read_by(versions()[0], Reading::Lanes).await;
    bed.cluster.sql("postgres", TPC_B).await;
    let write = "INSERT INTO history SELECT g, 1, 1, now() FROM generate_series(1, 1000) AS g";
    let report = disturbed(&bed, async |start| {
        bed.cluster.sql("postgres", write).await;
        let first = SegmentName::holding(Timeline(1), start, SEGMENT_BYTES).to_string();
        let wal = bed.cluster.data_directory().join("pg_wal");
        std::fs::remove_file(wal.join(&first)).unwrap();
        // The server makes the file again, without what it wrote before.
        bed.cluster.sql("postgres", write).await;
        assert!(wal.join(&first).exists());
    })
    .await;
    assert!(report.to_string().contains("00000001"), "{report}");
}

#[tokio::test]
async fn wal_that_the_server_would_remove_is_fetched_meanwhile() {
    let bed = Bed::read_by(versions()[0], Reading::Lanes).await;
    bed.cluster.sql("postgres", TPC_B).await;
    let mut slow = bed.request();
    slow.rate_max = Some(ByteSize(6 << 20));
    let client = bed.cluster.connect("postgres").await;
    let (begun, begin) = tokio::sync::oneshot::channel();
    let mut begun = Some(begun);
    let mut observe = |progress| {
        if let Progress::Started { start, .. } = progress {
            begun.take().map(|begun| begun.send(start));
        }
    };
    let churn = async {
        let start = begin.await.unwrap();
        let first = SegmentName::holding(Timeline(1), start, SEGMENT_BYTES);
        for sql in ["UPDATE tellers SET balance = 1", "SELECT pg_switch_wal()"] {
            client.batch_execute(sql).await.unwrap();
        }
        let cluster = bed.repository.clusters().await.unwrap()[0];
        until("the first segment is kept", async || {
            let listing = Listing::read(&bed.repository, &cluster).await.unwrap();
            listing.segments.contains_key(&first)
        })
        .await;
        has_no_more(&bed.cluster, &first).await;
    };
    let (commit, ()) = tokio::join!(take(slow, &mut observe), churn);
    let commit = commit.unwrap();
    let listing = Listing::read(&bed.repository, &commit.cluster)
        .await
        .unwrap();
    let coverage = listing.coverage(SEGMENT_BYTES);
    let whole = coverage
        .intervals(Timeline(1))
        .iter()
        .any(|interval| interval.from <= commit.start.lsn && interval.to >= commit.stop.lsn);
    assert!(whole, "{coverage:?}");
}

#[tokio::test]
async fn a_history_is_read_like_wal() {
    let bed = Bed::read_by(versions()[0], Reading::Lanes).await;
    bed.cluster.sql("postgres", TPC_B).await;
    let standby = bed.cluster.standby("standby").await;
    standby.sql("postgres", "SELECT pg_promote()").await;
    let commit = take(bed.request_of(&standby), &mut |_| {}).await.unwrap();
    assert_eq!(commit.start.timeline, Timeline(2));
    let history = commit.cluster.history(Timeline(2));
    let kept = bed.repository.read(&history).await.unwrap().unwrap();
    assert!(kept.starts_with(b"1\t"), "{kept:?}");
}

#[tokio::test]
async fn an_increment_stands_on_a_backup_of_the_same_way_only() {
    for version in without_increments().into_iter().take(1) {
        let mut bed = Bed::read_by(version, Reading::Lanes).await;
        bed.cluster.sql("postgres", TPC_B).await;
        bed.reading = Reading::Local;
        bed.take().await;
        bed.reading = Reading::Lanes;
        let (refused, _) = take_as(&bed, Wanted::Incremental).await;
        let report = refused.unwrap_err();
        assert!(report.to_string().contains("in another way"), "{report}");
        let (full, _) = take_as(&bed, Wanted::Auto).await;
        let full = full.unwrap();
        assert_eq!(full.kind, BackupKind::Full);
        let (increment, _) = take_as(&bed, Wanted::Incremental).await;
        assert_eq!(increment.unwrap().parent, Some(full.backup));
    }
}

#[tokio::test]
async fn the_rate_holds_for_all_lanes_together() {
    let bed = Bed::read_by(versions()[0], Reading::Lanes).await;
    let rate = 8 << 20;
    let mut slow = bed.request();
    slow.rate_max = Some(ByteSize(rate));
    let begun = std::time::Instant::now();
    let commit = take(slow, &mut |_| {}).await.unwrap();
    // A second's worth may come at once.
    let least = commit.server.data_bytes as f64 / rate as f64 - 1.0;
    assert!(
        least > 1.0 && begun.elapsed().as_secs_f64() > least,
        "{least}"
    );
}
