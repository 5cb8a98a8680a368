//! WAL of a real server is given back when it is whole, and an end is only told where it is proven.

use std::fs;
use std::path::PathBuf;

use pawang_backup::wal::gap::{Gap, record_gap};
use pawang_backup::wal::push::push;
use pawang_backup::wal::status::status;
use pawang_backup::wal::{Content, GetSettings, Got, SegmentName, Timeline, get, store_segment};
use pawang_backup::{Error, Repository};
use pawang_testbed::Setup;
use tempfile::TempDir;

use crate::push::{Written, written};

const SEGMENT: u32 = 1 << 20;

/// Two repositories with the same WAL, and a folder for what is got.
struct Archive {
    written: Written,
    folders: [TempDir; 2],
    desk: TempDir,
    prefetch: usize,
}

impl Archive {
    async fn new() -> Archive {
        let archive = Archive {
            written: written(&Setup::default()).await,
            folders: [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()],
            desk: tempfile::tempdir().unwrap(),
            prefetch: 0,
        };
        let (cluster, repositories) = (archive.written.cluster, archive.repositories());
        for (_, path) in &archive.written.segments {
            push(&repositories, &cluster, path, 1).await.unwrap();
        }
        archive
    }

    fn repositories(&self) -> Vec<Repository> {
        let open = |folder: &TempDir| Repository::directory(folder.path()).unwrap();
        self.folders.iter().map(open).collect()
    }

    fn name(&self, index: usize) -> SegmentName {
        self.written.segments[index].0
    }

    fn last(&self) -> SegmentName {
        self.name(self.written.segments.len() - 1)
    }

    /// Returns the file of a segment in one of the repositories.
    fn object(&self, repository: usize, name: &SegmentName) -> PathBuf {
        let folder = self.folders[repository].path();
        folder.join(self.written.cluster.segment(name, SEGMENT))
    }

    async fn get(&self, name: &str) -> Result<Got, Error> {
        let settings = GetSettings {
            segment_bytes: SEGMENT,
            prefetch: self.prefetch,
            spool: self.desk.path().join("spool"),
        };
        let cluster = &self.written.cluster;
        get(
            &self.repositories(),
            cluster,
            name,
            &self.target(),
            &settings,
        )
        .await
    }

    fn target(&self) -> PathBuf {
        self.desk.path().join("RECOVERYXLOG")
    }

    async fn is_refused(&self, name: &SegmentName) {
        let got = self.get(&name.to_string()).await;
        assert!(got.is_err(), "{name}: {got:?}");
    }
}

#[tokio::test]
async fn one_good_repository_is_enough_and_two_must_agree_on_the_end() {
    let archive = Archive::new().await;
    let name = archive.name(5);
    let content = fs::read(&archive.written.segments[5].1).unwrap();
    fs::write(archive.object(0, &name), "rotten").unwrap();
    assert_eq!(
        archive.get(&name.to_string()).await.unwrap(),
        Got::Delivered
    );
    assert_eq!(fs::read(archive.target()).unwrap(), content);
    fs::remove_file(archive.object(1, &name)).unwrap();
    archive.is_refused(&name).await;
    // The second has lost its end, the first has not.
    let last = archive.last();
    fs::remove_file(archive.object(1, &last)).unwrap();
    assert_eq!(
        archive.get(&last.to_string()).await.unwrap(),
        Got::Delivered
    );
    let next = last.next(SEGMENT);
    assert_eq!(archive.get(&next.to_string()).await.unwrap(), Got::End);
    assert_eq!(archive.get("00000002.history").await.unwrap(), Got::End);
    archive
        .is_refused(&SegmentName {
            timeline: Timeline(2),
            ..next
        })
        .await;
    // An empty place is no archive that ends.
    fs::remove_dir_all(archive.folders[1].path().join("cluster")).unwrap();
    archive.is_refused(&next).await;
    assert!(archive.get("00000002.history").await.is_err());
    assert!(archive.get("../../x").await.is_err());
}

#[tokio::test]
async fn the_segment_that_was_being_written_is_given_where_nothing_is_behind_it() {
    let archive = Archive::new().await;
    let (name, path) = archive.written.segments[6].clone();
    let bytes = fs::read(path).unwrap();
    let cluster = archive.written.cluster;
    let [repository, other] = &archive.repositories()[..] else {
        panic!("there are two");
    };
    for index in 6..archive.written.segments.len() {
        for repository in 0..2 {
            fs::remove_file(archive.object(repository, &archive.name(index))).unwrap();
        }
    }
    let piece = async |repository: &Repository, from: u32, to: u32| {
        let content = &bytes[from as usize..to as usize];
        let frame = zstd::bulk::compress(content, 1).unwrap();
        let path = cluster.live(&name, from, to);
        repository.create(&path, frame.into()).await.unwrap();
    };
    piece(repository, 0, 100_000).await;
    piece(repository, 200_000, 300_001).await;
    // Bytes between the pieces are missing.
    archive.is_refused(&name).await;
    piece(other, 90_000, 200_000).await;
    piece(other, 0, 100_000).await;
    archive.is_refused(&name).await;
    piece(repository, 100_000, 200_000).await;
    let end = pawang_core::Lsn(name.start(SEGMENT).0 + 300_001);
    let got = archive.get(&name.to_string()).await.unwrap();
    assert_eq!(got, Got::Tail { end });
    let given = fs::read(archive.target()).unwrap();
    assert_eq!(given.len(), SEGMENT as usize);
    assert_eq!(given[..300_001], bytes[..300_001]);
    assert!(given[300_001..].iter().all(|byte| *byte == 0));
    let shown = status(repository, &cluster).await.unwrap();
    assert_eq!(shown.timelines[0].newest, Some(end));
    assert!(shown.is_good() && shown.timelines[0].newest_commit_at.is_some());
    // Something behind it is known.
    let gap = Gap {
        timeline: name.timeline,
        from: end,
        to: name.end(SEGMENT),
        found_at: jiff::Timestamp::UNIX_EPOCH,
        cause: "the slot was lost".to_owned(),
    };
    record_gap(repository, &cluster, &gap).await.unwrap();
    archive.is_refused(&name).await;
    assert!(!status(repository, &cluster).await.unwrap().is_good());
    // It came after all.
    let content = Content::Bytes(bytes.clone().into());
    store_segment(other, &cluster, &name, content, 1)
        .await
        .unwrap();
    assert_eq!(
        archive.get(&name.to_string()).await.unwrap(),
        Got::Delivered
    );
}

#[tokio::test]
async fn following_segments_are_fetched_ahead_and_checked_again() {
    let mut archive = Archive::new().await;
    archive.prefetch = 3;
    let spooled = |index: usize| {
        let name = archive.name(index).to_string();
        archive.desk.path().join("spool").join(name)
    };
    let first = archive.name(4).to_string();
    assert_eq!(archive.get(&first).await.unwrap(), Got::Delivered);
    assert!((5..=7).all(|index| spooled(index).exists()));
    assert!(!spooled(8).exists() && !spooled(4).exists());
    // They come from the spool although the archive has lost them; a damaged one is fetched anew.
    for (index, repository) in [(5, 0), (5, 1), (7, 0), (7, 1)] {
        fs::remove_file(archive.object(repository, &archive.name(index))).unwrap();
    }
    fs::write(spooled(6), "rotten").unwrap();
    for index in [5, 6, 7] {
        let (name, path) = &archive.written.segments[index];
        assert_eq!(
            archive.get(&name.to_string()).await.unwrap(),
            Got::Delivered
        );
        assert_eq!(fs::read(archive.target()).unwrap(), fs::read(path).unwrap());
    }
    // What lies there of another place of the archive goes.
    assert_eq!(archive.get(&first).await.unwrap(), Got::Delivered);
    assert!(!spooled(9).exists());
}
