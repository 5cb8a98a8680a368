//! Parts come back as they were written, and say so when they do not.

use std::io::Read;
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use pawang_backup::repository::{Part, PartSettings, Rate};
use pawang_backup::{BackupId, ClusterId, Repository};

pub(crate) const CLUSTER: ClusterId = ClusterId {
    system_identifier: 7_300_000_000_000_000_001,
    major: 17,
};

pub(crate) fn backup_id(number: u8) -> BackupId {
    BackupId::new("2026-11-22T08:00:00Z".parse().unwrap(), [number; 10])
}

/// Bytes that do not compress, and that differ by seed.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Writes one part of the pieces, each a member, in a thread of its own.
pub(crate) async fn write_part(
    repository: &Repository,
    backup: &BackupId,
    number: u32,
    pieces: Vec<Vec<u8>>,
    settings: PartSettings,
) -> Result<Part, pawang_backup::Error> {
    let mut writer = repository.part_writer(&CLUSTER, backup, &settings);
    let work = move || {
        writer.begin(number, None)?;
        for piece in &pieces {
            writer.write(piece)?;
            writer.end_member();
        }
        writer.finish()
    };
    tokio::task::spawn_blocking(work).await.unwrap()
}

pub(crate) async fn read_part(
    repository: &Repository,
    backup: &BackupId,
    part: &Part,
) -> std::io::Result<Vec<u8>> {
    let mut reader = repository.open_part(&CLUSTER, backup, part).unwrap();
    let work = move || {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).map(|_| bytes)
    };
    tokio::task::spawn_blocking(work).await.unwrap()
}

#[tokio::test]
async fn a_part_comes_back_and_rot_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let repository = Repository::directory(folder.path()).unwrap();
    let id = backup_id(1);
    let pieces = vec![noise(1, 3 << 20), vec![0; 5 << 20], noise(2, 777)];
    let settings = PartSettings {
        part_bytes: 8 << 20,
        ..PartSettings::default()
    };
    let part = write_part(&repository, &id, 0, pieces.clone(), settings)
        .await
        .unwrap();
    assert_eq!(part.name, "part-00000.tar.zst");
    assert_eq!((part.members, part.raw_bytes), (3, (8 << 20) + 777));
    let path = folder.path().join(CLUSTER.part(&id, &part.name));
    assert_eq!(std::fs::metadata(&path).unwrap().len(), part.bytes);
    let back = read_part(&repository, &id, &part).await.unwrap();
    assert!(back == pieces.concat());

    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.write_all_at(b"rot", part.bytes / 2).unwrap();
    let rotten = read_part(&repository, &id, &part).await.unwrap_err();
    assert!(!rotten.to_string().is_empty());
    file.set_len(part.bytes - 1).unwrap();
    let short = read_part(&repository, &id, &part).await.unwrap_err();
    assert!(short.to_string().contains("and its commit says"), "{short}");
    std::fs::remove_file(&path).unwrap();
    assert!(read_part(&repository, &id, &part).await.is_err());
}

#[tokio::test]
async fn many_members_one_frame_each_are_one_part() {
    let folder = tempfile::tempdir().unwrap();
    let repository = Repository::directory(folder.path()).unwrap();
    let id = backup_id(2);
    let mut writer = repository.part_writer(&CLUSTER, &id, &PartSettings::default());
    let members: Vec<Vec<u8>> = (0..20).map(|seed| noise(seed, 100_000)).collect();
    let frames = members.clone();
    let part = tokio::task::spawn_blocking(move || {
        writer.begin(3, Some(16_385)).unwrap();
        for member in &frames {
            let frame = zstd::bulk::compress(member, 1).unwrap();
            let full = writer.write_frame(&frame, member.len() as u64, 1).unwrap();
            assert!(!full);
        }
        writer.finish().unwrap()
    });
    let part = part.await.unwrap();
    assert_eq!(part.name, "part-00003.16385.tar.zst");
    let back = read_part(&repository, &id, &part).await.unwrap();
    assert!(back == members.concat());
}

#[tokio::test]
async fn a_writer_that_is_dropped_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let repository = Repository::directory(folder.path()).unwrap();
    let id = backup_id(3);
    let mut writer = repository.part_writer(&CLUSTER, &id, &PartSettings::default());
    let work = move || {
        writer.begin(0, None).unwrap();
        writer.write(&noise(1, 5 << 20)).unwrap();
    };
    tokio::task::spawn_blocking(work).await.unwrap();
    let left: Vec<_> = std::fs::read_dir(folder.path().join(CLUSTER.backup(&id)))
        .unwrap()
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn a_rate_is_shared() {
    let folder = tempfile::tempdir().unwrap();
    let repository = Repository::directory(folder.path()).unwrap();
    let rate = Arc::new(Rate::new(NonZeroU64::new(20 << 20).unwrap()));
    let settings = PartSettings {
        rate: Some(Arc::clone(&rate)),
        ..PartSettings::default()
    };
    let begun = std::time::Instant::now();
    let id = backup_id(4);
    let pieces = || vec![noise(5, 5 << 20)];
    let (one, other) = tokio::join!(
        write_part(&repository, &id, 0, pieces(), settings.clone()),
        write_part(&repository, &id, 1, pieces(), settings.clone()),
    );
    assert_ne!(one.unwrap().name, other.unwrap().name);
    // 10 MiB in pieces of one, of which the last need not wait for what is behind it.
    let took = begun.elapsed();
    assert!(took >= std::time::Duration::from_millis(400), "{took:?}");
}
