//! WAL of real servers of every version: it is walked to its end, stored once, and refused where it does not belong.

use std::fs;
use std::path::PathBuf;

use bytes::Bytes;
use pawang_backup::wal::{Content, Ending, SegmentName, Stored, Walked, Walker, store_segment};
use pawang_backup::{ClusterId, Error, Repository};
use pawang_postgres::control_file;
use pawang_testbed::{Cluster, Setup, versions};

/// A server with some segments that are whole.
pub(crate) struct Written {
    pub(crate) server: Cluster,
    pub(crate) cluster: ClusterId,
    pub(crate) segments: Vec<(SegmentName, PathBuf)>,
}

/// Writes WAL of many kinds, and leaves one segment by a switch.
pub(crate) async fn written(setup: &Setup<'_>) -> Written {
    let server = Cluster::start(setup).await;
    // What was written is not recycled.
    server.set("wal_keep_size", Some("512MB")).await;
    for sql in [
        "CREATE TABLE ledger (row int PRIMARY KEY, filler text)",
        "INSERT INTO ledger SELECT i, repeat(md5(i::text), 20) FROM generate_series(1, 20000) i",
        "UPDATE ledger SET filler = filler || 'x' WHERE row % 7 = 0",
        "CHECKPOINT",
        "UPDATE ledger SET filler = filler || 'y' WHERE row % 11 = 0",
        "SELECT pg_logical_emit_message(false, 'large', repeat('z', 3000000))",
        "DELETE FROM ledger WHERE row % 3 = 0",
        "VACUUM ledger",
        "SELECT pg_switch_wal()",
        "INSERT INTO ledger VALUES (0, 'behind the switch')",
    ] {
        server.sql("postgres", sql).await;
    }
    let control = control_file::read(server.data_directory()).unwrap();
    let cluster = ClusterId {
        system_identifier: control.system_identifier,
        major: control.major,
    };
    let current = server
        .sql("postgres", "SELECT pg_walfile_name(pg_current_wal_lsn())")
        .await;
    let current: SegmentName = current[0][0].clone().unwrap().parse().unwrap();
    let folder = server.data_directory().join("pg_wal");
    let names = fs::read_dir(&folder).unwrap().filter_map(|entry| {
        let name = entry.unwrap().file_name();
        name.to_str()?.parse::<SegmentName>().ok()
    });
    let mut names: Vec<SegmentName> = names.filter(|name| *name < current).collect();
    names.sort_unstable();
    let segments = names.into_iter();
    let segments = segments.map(|name| (name, folder.join(name.to_string())));
    Written {
        segments: segments.collect(),
        server,
        cluster,
    }
}

fn walk((name, path): &(SegmentName, PathBuf)) -> Walked {
    Walker::walk(name.timeline, &fs::read(path).unwrap()).unwrap()
}

#[tokio::test]
async fn wal_of_every_version_is_walked_to_its_end() {
    for version in versions() {
        let written = written(&Setup {
            version: Some(version),
            ..Setup::default()
        })
        .await;
        let mut commits = 0;
        // The first one may have been copied with the template.
        let segments = &written.segments;
        for segment in segments {
            let walked = walk(segment);
            walked.header.check(&written.cluster, &segment.0).unwrap();
            let last = segment == segments.last().unwrap();
            let ending = if last {
                Ending::Switched
            } else {
                Ending::Whole
            };
            assert_eq!(walked.ending, ending, "PostgreSQL {version}: {}", segment.0);
            commits += u32::from(walked.last_commit.is_some());
        }
        assert!(segments.len() > 15, "{}", segments.len());
        assert!(commits >= 3, "{commits}");
        // The server's own clock says the same.
        let sql = "SELECT (extract(epoch FROM now()) * 1000)::bigint::text";
        let now = written.server.sql("postgres", sql).await;
        let now: i64 = now[0][0].clone().unwrap().parse().unwrap();
        let last = segments
            .iter()
            .rev()
            .find_map(|segment| walk(segment).last_commit);
        let behind = now - last.unwrap().at.as_millisecond();
        assert!((0..120_000).contains(&behind), "{behind} ms");
    }
}

#[tokio::test]
async fn a_segment_is_stored_once_and_never_replaced() {
    let written = written(&Setup::default()).await;
    let folder = tempfile::tempdir().unwrap();
    let repository = Repository::directory(folder.path()).unwrap();
    let cluster = &written.cluster;
    let (name, path) = &written.segments[5];
    let bytes = fs::read(path).unwrap();
    let store = async |name: &SegmentName, content: Content, level| {
        store_segment(&repository, cluster, name, content, level).await
    };
    let file = || Content::File(path.clone());
    assert_eq!(store(name, file(), 1).await.unwrap(), Stored::New);
    assert_eq!(store(name, file(), 1).await.unwrap(), Stored::Same);
    // The same content at another level is the same.
    let content = Content::Bytes(bytes.clone().into());
    assert_eq!(store(name, content, 5).await.unwrap(), Stored::Same);
    // Another content is kept beside it.
    let mut other = bytes.clone();
    *other.last_mut().unwrap() ^= 1;
    for _ in 0..2 {
        let refused = store(name, Content::Bytes(other.clone().into()), 1).await;
        let Err(Error::Conflict { kept, .. }) = refused else {
            panic!("{refused:?}");
        };
        assert!(repository.read(&kept).await.unwrap().is_some());
    }
    assert_eq!(store(name, file(), 1).await.unwrap(), Stored::Same);
    // What does not belong there is refused, and nothing is written.
    let mut identity = bytes.clone();
    identity[24] ^= 1;
    let listed = repository.list("cluster").await.unwrap().len();
    for (name, content) in [
        (name.next(1 << 20), bytes.clone()),
        (*name, identity),
        (*name, bytes[..bytes.len() - 1].to_vec()),
        (*name, [&bytes[..], &[0]].concat()),
        (*name, vec![0; bytes.len()]),
        (*name, Vec::new()),
    ] {
        let refused = store(&name, Content::Bytes(Bytes::from(content)), 1).await;
        assert!(matches!(refused, Err(Error::Refused(_))), "{refused:?}");
    }
    assert_eq!(repository.list("cluster").await.unwrap().len(), listed);
}
