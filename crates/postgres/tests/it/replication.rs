//! The replication protocol: base backups, WAL, slots, timelines, and everything that keeps us out.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use pawang_core::Lsn;
use pawang_postgres::replication::{
    BackupEvent, BaseBackupOptions, CompressionMethod, Replication, ServerCompression, WalEvent,
    WalStream,
};
use pawang_postgres::{Error, Target};
use pawang_testbed::{Cluster, Setup, Stop, Version, installations, versions};

use crate::target;
use crate::tls::{self, Authority};

/// The test bed's clusters have small segments.
const SEGMENT_BYTES: u64 = 1 << 20;

/// The usual versions, and those where the protocol differs.
fn tested(others: &[u32]) -> Vec<Version> {
    let mut tested = versions();
    let installed = installations().iter().map(|found| found.version);
    tested.extend(installed.filter(|version| others.contains(&version.0)));
    tested.sort_unstable();
    tested.dedup();
    tested
}

async fn start(version: Version, settings: &[(&str, &str)]) -> Cluster {
    Cluster::start(&Setup {
        version: Some(version),
        settings,
        ..Setup::default()
    })
    .await
}

async fn connect_to(target: &Target) -> Replication {
    Replication::connect(target, "test")
        .await
        .unwrap_or_else(|error| panic!("{}", error.report()))
}

async fn connect(cluster: &Cluster) -> Replication {
    connect_to(&target(&cluster.url("postgres"))).await
}

async fn refused(target: &Target) -> Error {
    match Replication::connect(target, "test").await {
        Ok(_) => panic!("it must not connect"),
        Err(error) => error,
    }
}

async fn one(cluster: &Cluster, sql: &str) -> String {
    let rows = cluster.sql("postgres", sql).await;
    rows[0][0].clone().unwrap_or_default()
}

async fn position(cluster: &Cluster, sql: &str) -> Lsn {
    one(cluster, sql).await.parse().unwrap()
}

/// A whole base backup in memory.
#[derive(Default)]
struct Taken {
    start: Lsn,
    end: Lsn,
    tablespaces: usize,
    estimate: u64,
    archives: BTreeMap<String, (Option<PathBuf>, Vec<u8>)>,
    manifest: Vec<u8>,
    progress: u64,
}

async fn take(replication: &mut Replication, options: &BaseBackupOptions) -> Taken {
    let mut backup = replication.base_backup(options).await.unwrap();
    let mut taken = Taken::default();
    let mut current = String::new();
    while let Some(event) = backup.next().await.unwrap() {
        match event {
            BackupEvent::Start {
                lsn,
                timeline,
                tablespaces,
                estimate,
            } => {
                assert_eq!(timeline, 1);
                taken.start = lsn;
                taken.tablespaces = tablespaces.len();
                taken.estimate = estimate.map_or(0, |size| size.0);
            }
            BackupEvent::Archive { name, location } => {
                taken.archives.insert(name.clone(), (location, Vec::new()));
                current = name;
            }
            BackupEvent::Data(bytes) => {
                let (_, archive) = taken.archives.get_mut(&current).unwrap();
                archive.extend_from_slice(&bytes);
            }
            BackupEvent::Manifest(bytes) => taken.manifest.extend_from_slice(&bytes),
            BackupEvent::Progress(bytes) => taken.progress = bytes,
            BackupEvent::Warning(words) => panic!("{words}"),
            BackupEvent::End { lsn, .. } => taken.end = lsn,
        }
    }
    assert!(backup.next().await.unwrap().is_none());
    taken
}

fn unpack(archive: &[u8], folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    tar::Archive::new(archive).unpack(folder).unwrap();
}

#[tokio::test]
async fn a_base_backup_is_a_server_again() {
    for version in tested(&[14, 17]) {
        let cluster = start(version, &[]).await;
        let folder = cluster.folder("space");
        let create = format!("CREATE TABLESPACE space LOCATION '{}'", folder.display());
        cluster.sql("postgres", &create).await;
        let fill = "CREATE TABLE far TABLESPACE space AS SELECT generate_series(1, 1000) AS id; CREATE TABLE near AS TABLE far";
        cluster.sql("postgres", fill).await;
        let oid = one(
            &cluster,
            "SELECT oid FROM pg_tablespace WHERE spcname = 'space'",
        )
        .await;

        let mut replication = connect(&cluster).await;
        assert_eq!(
            replication.server_version() / 10_000,
            version.0.cast_signed()
        );
        let system = replication.identify_system().await.unwrap();
        let identifier = one(
            &cluster,
            "SELECT system_identifier FROM pg_control_system()",
        )
        .await;
        assert_eq!(system.system_identifier.to_string(), identifier);
        assert_eq!(replication.show("wal_segment_size").await.unwrap(), "1MB");
        let options = BaseBackupOptions {
            label: "it's \"mine\"".to_owned(),
            wal: true,
            progress: true,
            ..BaseBackupOptions::default()
        };
        let taken = take(&mut replication, &options).await;
        assert!(system.position <= taken.start && taken.start < taken.end);
        assert_eq!(taken.tablespaces, 1);
        assert!(taken.estimate > 1 << 20, "{}", taken.estimate);
        assert!(String::from_utf8_lossy(&taken.manifest).contains("CRC32C"));
        let (location, far) = &taken.archives[&format!("{oid}.tar")];
        assert_eq!(location.as_deref(), Some(&*folder));
        let (location, near) = &taken.archives["base.tar"];
        assert_eq!(*location, None);
        if version.0 >= 15 {
            assert!(taken.progress >= near.len() as u64);
        }

        let place = tempfile::tempdir().unwrap();
        let data = place.path().join("data");
        unpack(near, &data);
        // Inside the data directory, as tablespaces in place are.
        std::fs::remove_file(data.join("tablespace_map")).unwrap();
        unpack(far, &data.join("pg_tblspc").join(&oid));
        let copy = cluster
            .start_from(&data, &[("allow_in_place_tablespaces", "on")])
            .await;
        let sum = "SELECT sum(near.id) FROM near JOIN far USING (id)";
        assert_eq!(one(&copy, sum).await, "500500", "{version}");

        // The connection takes another command after a backup, and another backup.
        replication.identify_system().await.unwrap();
        let options = BaseBackupOptions {
            manifest: false,
            max_rate_kib: Some(1_048_576),
            verify_checksums: false,
            ..BaseBackupOptions::default()
        };
        let taken = take(&mut replication, &options).await;
        assert!(taken.manifest.is_empty());
    }
}

#[tokio::test]
async fn the_server_compresses_from_15_on() {
    let options = BaseBackupOptions {
        server_compression: Some(ServerCompression {
            method: CompressionMethod::Gzip,
            level: Some(1),
            workers: None,
        }),
        ..BaseBackupOptions::default()
    };
    for version in tested(&[14]) {
        let cluster = start(version, &[]).await;
        let mut replication = connect(&cluster).await;
        if version.0 >= 15 {
            let taken = take(&mut replication, &options).await;
            let (_, archive) = &taken.archives["base.tar.gz"];
            assert!(archive.starts_with(&[0x1f, 0x8b]), "{version}");
            continue;
        }
        let Err(error) = replication.base_backup(&options).await else {
            panic!("PostgreSQL 14 does not compress");
        };
        assert!(
            matches!(error, Error::NeedsVersion { needed: 15, .. }),
            "{error}"
        );
        assert_eq!(replication.identify_system().await.unwrap().timeline, 1);
    }
}

#[tokio::test]
async fn incremental_backups_stand_on_a_manifest() {
    for version in tested(&[17]).into_iter().filter(|version| version.0 >= 17) {
        let cluster = start(version, &[("summarize_wal", "on")]).await;
        let fill = "CREATE TABLE t AS SELECT i, repeat('x', 500) AS pad FROM generate_series(1, 20000) AS i";
        cluster.sql("postgres", fill).await;
        let mut replication = connect(&cluster).await;
        let full = take(&mut replication, &BaseBackupOptions::default()).await;
        let incremental = BaseBackupOptions {
            incremental: true,
            ..BaseBackupOptions::default()
        };
        let Err(error) = replication.base_backup(&incremental).await.map(drop) else {
            panic!("it has no manifest to stand on");
        };
        assert!(matches!(error, Error::Replication { .. }), "{error}");
        let error = replication.upload_manifest(&b"{}"[..]).await.unwrap_err();
        assert!(matches!(error, Error::Replication { .. }), "{error}");

        cluster
            .sql("postgres", "UPDATE t SET i = -i WHERE i < 100")
            .await;
        // An error leaves the connection as it was.
        replication
            .upload_manifest(&full.manifest[..])
            .await
            .unwrap();
        let less = take(&mut replication, &incremental).await;
        let [all, few] = [&full, &less].map(|taken| taken.archives["base.tar"].1.len());
        assert!(few < all / 2, "{few} of {all}");
        let archive = &less.archives["base.tar"].1;
        let marked = archive.windows(12).any(|name| name == b"INCREMENTAL.");
        assert!(marked && less.start > full.start);
    }
    let old = start(Version(15), &[]).await;
    let mut replication = connect(&old).await;
    let error = replication.upload_manifest(&b"{}"[..]).await.unwrap_err();
    assert!(
        matches!(error, Error::NeedsVersion { needed: 17, .. }),
        "{error}"
    );
}

/// Reads a stream until it has everything up to a position; answers whatever wants an answer.
async fn read_to(stream: &mut WalStream<'_>, from: Lsn, to: Lsn) -> Vec<u8> {
    let mut wal = Vec::new();
    while from.0 + (wal.len() as u64) < to.0 {
        match stream.next().await.unwrap() {
            WalEvent::Data { start, bytes, end } => {
                assert_eq!(start.0, from.0 + wal.len() as u64, "no byte is missing");
                wal.extend_from_slice(&bytes);
                assert!(end.0 >= start.0);
            }
            WalEvent::Keepalive { reply_wanted, .. } => {
                let here = Lsn(from.0 + wal.len() as u64);
                if reply_wanted {
                    stream.reply(here, Lsn(0), Lsn(0), false).await.unwrap();
                }
            }
            WalEvent::TimelineEnd { .. } => panic!("the timeline goes on"),
        }
    }
    wal
}

#[tokio::test]
async fn wal_streams_and_the_slot_follows() {
    const FLUSHED: &str = "SELECT pg_current_wal_flush_lsn()";
    for version in tested(&[14]) {
        let cluster = start(version, &[]).await;
        let mut replication = connect(&cluster).await;
        replication
            .create_physical_slot("follower", true)
            .await
            .unwrap();
        let slot = replication.read_slot("follower").await;
        let from = position(&cluster, "SELECT restart_lsn FROM pg_replication_slots").await;
        if version.0 >= 15 {
            let slot = slot.unwrap().unwrap();
            assert_eq!(
                (slot.restart_lsn, slot.restart_timeline),
                (Some(from), Some(1))
            );
            assert_eq!(replication.read_slot("nobody").await.unwrap(), None);
        } else {
            let error = slot.unwrap_err();
            assert!(matches!(error, Error::NeedsVersion { .. }), "{error}");
        }
        cluster
            .sql(
                "postgres",
                "CREATE TABLE t AS SELECT generate_series(1, 200000); SELECT pg_switch_wal()",
            )
            .await;
        let from = Lsn(from.0 / SEGMENT_BYTES * SEGMENT_BYTES);
        let to = position(&cluster, FLUSHED).await;
        let mut stream = replication
            .start_replication(Some("follower"), from, 1)
            .await
            .unwrap();
        let wal = read_to(&mut stream, from, to).await;
        let name = one(
            &cluster,
            &format!("SELECT pg_walfile_name('{}')", Lsn(from.0 + 1)),
        )
        .await;
        let file = std::fs::read(cluster.data_directory().join("pg_wal").join(name)).unwrap();
        let whole = wal.len().min(file.len());
        assert!(
            wal[..whole] == file[..whole],
            "{version}: the server's own segment"
        );

        stream.reply(to, to, Lsn(0), true).await.unwrap();
        let end = loop {
            match stream.next().await.unwrap() {
                WalEvent::Keepalive { end, .. } => break end,
                // What the server writes for itself every fifteen seconds.
                WalEvent::Data { .. } => {}
                WalEvent::TimelineEnd { .. } => panic!("the timeline goes on"),
            }
        };
        assert!(end >= to);
        let told = "SELECT flush_lsn = restart_lsn FROM pg_stat_replication, pg_replication_slots WHERE application_name = 'pawang:test'";
        assert_eq!(one(&cluster, told).await, "t");
        let moved = position(&cluster, "SELECT restart_lsn FROM pg_replication_slots").await;
        assert_eq!(moved, to);
        assert_eq!(stream.finish().await.unwrap(), None);
        replication.drop_slot("follower").await.unwrap();
        assert_eq!(replication.identify_system().await.unwrap().timeline, 1);
    }
}

#[tokio::test]
async fn a_stream_follows_a_promotion() {
    for version in versions() {
        let primary = start(version, &[]).await;
        let standby = primary.standby("second").await;
        let both = target(&format!(
            "host={},{} user=postgres dbname=postgres target_session_attrs=standby",
            primary.socket_directory().display(),
            standby.socket_directory().display()
        ));
        let mut replication = connect_to(&both).await;
        assert!(replication.in_recovery());
        let from = replication.identify_system().await.unwrap().position;
        let from = Lsn(from.0 / SEGMENT_BYTES * SEGMENT_BYTES);
        let mut stream = replication.start_replication(None, from, 1).await.unwrap();
        standby.sql("postgres", "SELECT pg_promote()").await;
        let (timeline, switch) = loop {
            match stream.next().await.unwrap() {
                WalEvent::TimelineEnd {
                    next_timeline,
                    position,
                } => break (next_timeline, position),
                WalEvent::Data { start, bytes, .. } => {
                    let here = Lsn(start.0 + bytes.len() as u64);
                    stream.reply(here, here, here, false).await.unwrap();
                }
                WalEvent::Keepalive { .. } => {}
            }
        };
        assert_eq!(timeline, 2);
        let history = replication.timeline_history(2).await.unwrap();
        assert_eq!(history.name, "00000002.history");
        assert!(String::from_utf8_lossy(&history.bytes).contains(&switch.to_string()));
        let mut over = replication
            .start_replication(None, switch, 1)
            .await
            .unwrap();
        let end = WalEvent::TimelineEnd {
            next_timeline: 2,
            position: switch,
        };
        assert_eq!(over.next().await.unwrap(), end, "there is nothing between");
        standby.sql("postgres", "CREATE TABLE later ()").await;
        let to = position(&standby, "SELECT pg_current_wal_flush_lsn()").await;
        let mut stream = replication
            .start_replication(None, switch, 2)
            .await
            .unwrap();
        read_to(&mut stream, switch, to).await;
        let error = replication_elsewhere(&primary, switch).await;
        assert!(matches!(error, Error::Replication { .. }), "{error}");
    }
}

/// Asks the old primary for the timeline that it does not know.
async fn replication_elsewhere(primary: &Cluster, switch: Lsn) -> Error {
    let mut replication = connect(primary).await;
    let error = match replication.start_replication(None, switch, 2).await {
        Ok(_) => panic!("the old primary knows no timeline 2"),
        Err(error) => error,
    };
    replication.identify_system().await.unwrap();
    error
}

#[tokio::test]
async fn slots_that_cannot_be_had() {
    for version in versions() {
        let settings = [("max_replication_slots", "2"), ("wal_level", "logical")];
        let cluster = start(version, &settings).await;
        let mut replication = connect(&cluster).await;
        replication.create_physical_slot("one", true).await.unwrap();
        let error = replication
            .create_physical_slot("one", true)
            .await
            .unwrap_err();
        assert!(
            matches!(&error, Error::SlotExists { slot } if slot == "one"),
            "{error}"
        );
        let error = replication.drop_slot("none").await.unwrap_err();
        assert!(matches!(error, Error::NoSlot { .. }), "{error}");
        let error = replication
            .start_replication(Some("none"), Lsn(0x100_0000), 1)
            .await
            .map(drop);
        assert!(matches!(error, Err(Error::NoSlot { .. })), "{error:?}");
        cluster
            .sql(
                "postgres",
                "SELECT pg_create_logical_replication_slot('two', 'pgoutput')",
            )
            .await;
        let error = replication
            .create_physical_slot("three", false)
            .await
            .unwrap_err();
        assert!(matches!(error, Error::NoFreeSlot { .. }), "{error}");
        let error = replication
            .start_replication(Some("two"), Lsn(0x100_0000), 1)
            .await
            .map(drop);
        assert!(
            matches!(error, Err(Error::SlotUnusable { .. })),
            "{error:?}"
        );

        let here = replication.identify_system().await.unwrap().position;
        let mut other = connect(&cluster).await;
        let _held = other.start_replication(Some("one"), here, 1).await.unwrap();
        let error = replication
            .start_replication(Some("one"), here, 1)
            .await
            .map(drop);
        let Err(error @ Error::SlotActive { .. }) = error else {
            panic!("{error:?}");
        };
        assert!(error.report().detail.unwrap().contains("PID"), "{error}");
    }
}

#[tokio::test]
async fn wal_that_is_gone() {
    for version in versions() {
        let cluster = start(version, &[("max_slot_wal_keep_size", "1MB")]).await;
        let mut replication = connect(&cluster).await;
        replication
            .create_physical_slot("behind", true)
            .await
            .unwrap();
        let from = replication.identify_system().await.unwrap().position;
        let from = Lsn(from.0 / SEGMENT_BYTES * SEGMENT_BYTES);
        for _ in 0..8 {
            let turn = "CREATE TABLE t (); DROP TABLE t; SELECT pg_switch_wal(); CHECKPOINT";
            cluster.sql("postgres", turn).await;
        }
        for slot in [None, Some("behind")] {
            let error = match replication.start_replication(slot, from, 1).await {
                Ok(mut stream) => stream.next().await.unwrap_err(),
                Err(error) => error,
            };
            let lost = matches!(&error, Error::WalRemoved { .. })
                || slot.is_some() && matches!(&error, Error::SlotUnusable { .. });
            assert!(lost, "{version}: {}", error.report());
            // The connection survives.
            replication.identify_system().await.unwrap();
        }
    }
}

#[tokio::test]
async fn servers_that_have_no_place_for_us() {
    for version in versions() {
        let mut cluster = start(version, &[]).await;
        cluster.sql("postgres", "CREATE ROLE plain LOGIN").await;
        let error = refused(&target(&cluster.url_as("plain", "postgres"))).await;
        assert!(
            matches!(&error, Error::NoReplication { user, .. } if user == "plain"),
            "{error}"
        );
        let hint = error.report().hint.unwrap();
        assert_eq!(hint, "ALTER ROLE \"plain\" REPLICATION;");

        // A sender that was refused keeps its place until its process has ended: the restart waits.
        cluster.set("max_wal_senders", Some("1")).await;
        cluster.stop(Stop::Fast).await;
        cluster.start_again().await;
        let held = connect(&cluster).await;
        let error = refused(&target(&cluster.url("postgres"))).await;
        assert!(matches!(error, Error::NoWalSender { .. }), "{error}");
        drop(held);
        for (name, value) in [("wal_level", "minimal"), ("max_wal_senders", "0")] {
            cluster.set(name, Some(value)).await;
        }
        cluster.stop(Stop::Fast).await;
        cluster.start_again().await;
        let error = refused(&target(&cluster.url("postgres"))).await;
        assert!(matches!(error, Error::WalSendersOff { .. }), "{error}");
        let report = error.report();
        assert!(report.primary.contains("wal_level = minimal"), "{report}");
        assert!(report.hint.unwrap().contains("wal_level = 'replica'"));
    }
}

#[tokio::test]
async fn a_server_that_leaves() {
    for version in versions() {
        let mut cluster = start(version, &[]).await;
        let mut replication = connect(&cluster).await;
        let from = replication.identify_system().await.unwrap().position;
        let mut stream = replication.start_replication(None, from, 1).await.unwrap();
        // A server that shuts down waits until what it wrote has arrived.
        let read = async {
            loop {
                let event = match stream.next().await {
                    Ok(event) => event,
                    Err(error) => break error,
                };
                if let WalEvent::Data { start, bytes, .. } = event {
                    let here = Lsn(start.0 + bytes.len() as u64);
                    stream.reply(here, here, here, false).await.unwrap();
                }
            }
        };
        let (error, ()) = tokio::join!(read, cluster.stop(Stop::Fast));
        assert!(
            matches!(error, Error::ShutDown { .. }),
            "{version}: {}",
            error.report()
        );

        cluster.start_again().await;
        let mut replication = connect(&cluster).await;
        let mut stream = replication.start_replication(None, from, 1).await.unwrap();
        cluster.kill();
        let error = loop {
            if let Err(error) = stream.next().await {
                break error;
            }
        };
        assert!(matches!(error, Error::Lost { .. }), "{error}");
        let error = replication.identify_system().await.unwrap_err();
        assert!(matches!(error, Error::Lost { .. }), "{error}");
        let error = refused(&target(&cluster.url("postgres"))).await;
        assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    }
}

#[tokio::test]
async fn passwords_tls_and_pg_hba() {
    let hba = "hostssl replication scram all scram-sha-256\nhostssl replication md all md5
hostssl replication plain all password\nlocal replication scram scram-sha-256\nlocal all all trust";
    let cluster = Cluster::start(&Setup {
        hba: Some(hba),
        tcp: true,
        ..Setup::default()
    })
    .await;
    let roles = "CREATE ROLE scram LOGIN REPLICATION PASSWORD 'right'; CREATE ROLE plain LOGIN REPLICATION PASSWORD 'right';
        CREATE ROLE nobody LOGIN REPLICATION; SET password_encryption = md5; CREATE ROLE md LOGIN REPLICATION PASSWORD 'right'";
    cluster.sql("postgres", roles).await;
    let authority = Authority::new("pawang test");
    let pair = authority.issue(&["localhost"], |_| {});
    tls::install(&cluster, &authority, &pair).await;
    let tcp = |user: &str, more: &str| {
        target(&format!(
            "host=localhost hostaddr=127.0.0.1 port={} user={user} dbname=postgres sslmode=verify-full sslrootcert={} {more}",
            cluster.port(),
            authority.root().display()
        ))
    };
    for user in ["scram", "md", "plain"] {
        let mut replication = connect_to(&tcp(user, "password=right")).await;
        replication.identify_system().await.unwrap();
        let error = refused(&tcp(user, "password=hunter2")).await;
        assert!(
            matches!(&error, Error::Refused { sqlstate, .. } if sqlstate == "28P01"),
            "{error}"
        );
        assert!(!format!("{error:?} {}", error.report()).contains("hunter2"));
        let error = refused(&tcp(user, "")).await;
        assert!(matches!(error, Error::PasswordMissing { .. }), "{error}");
    }
    connect_to(&tcp("scram", "password=right channel_binding=require")).await;
    let error = refused(&tcp("md", "password=right channel_binding=require")).await;
    assert!(matches!(error, Error::LogIn { .. }), "{error}");

    let place = tempfile::tempdir().unwrap();
    let passfile = place.path().join("pass");
    std::fs::write(
        &passfile,
        "*:*:postgres:scram:wrong\n*:*:replication:scram:right\n",
    )
    .unwrap();
    std::fs::set_permissions(&passfile, std::fs::Permissions::from_mode(0o600)).unwrap();
    let socket = |user: &str| {
        target(&format!(
            "host={} port={} user={user} dbname=postgres passfile={}",
            cluster.socket_directory().display(),
            cluster.port(),
            passfile.display()
        ))
    };
    assert!(connect_to(&socket("scram")).await.local());
    let error = refused(&socket("nobody")).await;
    assert!(
        matches!(&error, Error::Refused { sqlstate, .. } if sqlstate == "28000"),
        "{error}"
    );
    let hint = error.report().hint.unwrap();
    assert!(hint.contains("host replication \"nobody\""), "{hint}");
}
