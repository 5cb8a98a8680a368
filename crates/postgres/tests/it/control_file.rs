//! The control file against the server's own functions.

use std::io::Write;

use pawang_core::Value;
use pawang_postgres::control_file::{self, State};
use pawang_testbed::{Cluster, Setup, Stop, versions};

use crate::session;

#[tokio::test]
async fn the_file_says_what_the_functions_say() {
    for version in versions() {
        let mut cluster = Cluster::start(&Setup {
            version: Some(version),
            settings: &[("max_connections", "37")],
            ..Setup::default()
        })
        .await;
        cluster.sql("postgres", "CHECKPOINT").await;
        let session = session(&cluster.url("postgres")).await;
        let sql = "SELECT s.system_identifier, s.pg_control_version, s.catalog_version_no, c.checkpoint_lsn, c.redo_lsn,
                c.timeline_id, extract(epoch FROM c.checkpoint_time)::int8 AS at,
                split_part(c.next_xid, ':', 2)::int8 AS next_xid, c.oldest_xid, i.data_page_checksum_version,
                i.bytes_per_wal_segment, i.database_block_size, i.blocks_per_segment
            FROM pg_control_system() s, pg_control_checkpoint() c, pg_control_init() i";
        let rows = session.read(sql).await.unwrap();
        let file = control_file::read(cluster.data_directory()).unwrap();
        let ours: Vec<i64> = vec![
            file.system_identifier.cast_signed(),
            file.control_version.into(),
            file.catalog_version.into(),
            file.checkpoint.0.cast_signed(),
            file.redo.0.cast_signed(),
            file.timeline.into(),
            file.checkpoint_at.as_second(),
            (file.next_xid & 0xFFFF_FFFF).cast_signed(),
            file.oldest_xid.into(),
            i64::from(file.data_checksums),
            file.wal_segment_bytes.into(),
            file.block_bytes.into(),
            file.relation_file_blocks.into(),
        ];
        let theirs: Vec<i64> = rows.rows[0]
            .iter()
            .map(|v| Value::as_int(v).unwrap())
            .collect();
        assert_eq!(ours, theirs, "{:?} on {version}", rows.names);
        assert_eq!((file.major, file.max_connections), (version.0, 37));
        assert_eq!(file.state, State::InProduction);
        drop(session);
        cluster.stop(Stop::Immediate).await;
        assert_eq!(
            control_file::read(cluster.data_directory()).unwrap().state,
            State::InProduction
        );
        cluster.start_again().await;
        cluster.stop(Stop::Fast).await;
        assert_eq!(
            control_file::read(cluster.data_directory()).unwrap().state,
            State::ShutDown
        );
    }
}

#[tokio::test]
async fn a_standby_is_in_archive_recovery() {
    let primary = Cluster::start(&Setup::default()).await;
    let mut standby = primary.standby("second").await;
    let file = control_file::read(standby.data_directory()).unwrap();
    assert_eq!(file.state, State::InArchiveRecovery);
    assert!(file.min_recovery_point.0 > 0);
    standby.stop(Stop::Fast).await;
    let file = control_file::read(standby.data_directory()).unwrap();
    assert_eq!(file.state.as_str(), "shut down in recovery");
}

/// What a reader sees who comes while the server writes: the first sectors are new, and the rest is old.
#[test]
#[expect(clippy::disallowed_methods, reason = "a pipe is made by a program")]
fn a_file_that_is_torn_is_read_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("global/pg_control");
    let whole = directory.path().join("whole");
    std::fs::create_dir(directory.path().join("global")).unwrap();
    let mut bytes = control(3);
    std::fs::write(&whole, &bytes).unwrap();
    bytes[128..].copy_from_slice(&control(5)[128..]);
    // Whoever opens the pipe reads the torn one from it, and what the name leads to by then is whole.
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    assert!(made.unwrap().success());
    let writer = std::thread::spawn({
        let path = path.clone();
        move || {
            let mut pipe = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
            std::fs::rename(&whole, &path).unwrap();
            pipe.write_all(&bytes).unwrap();
            bytes
        }
    });
    assert_eq!(
        control_file::read_bytes(directory.path()).unwrap(),
        control(3)
    );
    let torn = writer.join().unwrap();
    // One that stays so is refused.
    std::fs::write(&path, &torn).unwrap();
    let report = control_file::read(directory.path()).unwrap_err().report();
    assert!(report.to_string().contains("checksum is wrong"), "{report}");
}

/// A control file of PostgreSQL 15 with the same number in both halves.
fn control(number: u8) -> Vec<u8> {
    let mut bytes = vec![0; 8192];
    bytes[8..12].copy_from_slice(&1300_u32.to_le_bytes());
    bytes[12..16].copy_from_slice(&202_209_061_u32.to_le_bytes());
    (bytes[32], bytes[136]) = (number, number);
    let crc = crc32c::crc32c(&bytes[..288]);
    bytes[288..292].copy_from_slice(&crc.to_le_bytes());
    bytes
}

#[test]
fn a_missing_file_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let error = control_file::read(directory.path()).unwrap_err();
    assert!(
        error.to_string().ends_with("global/pg_control\""),
        "{error}"
    );
}
