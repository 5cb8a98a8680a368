//! A backup of a real server is read again: whole, damaged as it is stored, and damaged before it was stored.

use std::fs;
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;

use jiff::Timestamp;
use pawang_backup::Commit;
use pawang_backup::repository::{Proof, Rate, State};
use pawang_backup::rolling;
use pawang_backup::take::tar::{MemberKind, Piece, Splitter};
use pawang_backup::verify::{Depth, Pace, VerifySettings, verify};
use pawang_backup::wal::Listing;
use pawang_testbed::{Setup, versions};
use sha2::{Digest, Sha256};

use crate::take::Bed;
use crate::world::World;

const TABLE: &str =
    "CREATE TABLE t AS SELECT g AS a, repeat('x', 200) AS b FROM generate_series(1, 20000) AS g";

pub(crate) fn settings(depth: Depth) -> VerifySettings {
    VerifySettings {
        depth,
        parts: None,
        pace: None,
        threads: NonZeroUsize::new(2).unwrap(),
        owner: "test".to_owned(),
        tool: "pawang test".to_owned(),
        clock: Timestamp::now,
    }
}

pub(crate) async fn looked(bed: &Bed, commit: &Commit, depth: Depth) -> Proof {
    let settings = settings(depth);
    let proof = verify(&bed.repository, &commit.cluster, &commit.backup, &settings);
    proof.await.unwrap().unwrap()
}

fn path(bed: &Bed, commit: &Commit, name: &str) -> PathBuf {
    bed.folder
        .path()
        .join(commit.cluster.part(&commit.backup, name))
}

/// Finds the first page of a table's file in an archive, and changes a byte in the middle of its second page.
fn damage(archive: &mut [u8], file: &str) {
    let mut splitter = Splitter::default();
    let mut at = None;
    let whole = archive.to_vec();
    let mut input = &whole[..];
    while let Some(piece) = splitter.next(&mut input).unwrap() {
        let passed = whole.len() - input.len();
        let member = splitter.member();
        let named = member.kind == MemberKind::File && member.path.ends_with(file.as_bytes());
        if matches!(piece, Piece::Member) && named {
            at = Some(passed);
        }
    }
    archive[at.unwrap() + 8192 + 5000] ^= 0x10;
}

#[tokio::test]
async fn a_backup_is_read_again() {
    for version in versions() {
        let bed = Bed::new(&Setup {
            version: Some(version),
            ..Setup::default()
        })
        .await;
        bed.cluster.sql("postgres", TABLE).await;
        let commit = bed.take().await;
        for (depth, state) in [
            (Depth::Hashed, State::Hashed),
            (Depth::Pages, State::PageVerified),
        ] {
            let proof = looked(&bed, &commit, depth).await;
            assert_eq!(proof.problems, Vec::<String>::new(), "{version:?}");
            assert_eq!((proof.state, proof.whole), (state, true));
            let standing = bed.repository.standing(&commit.cluster, &commit.backup);
            assert_eq!(standing.await.unwrap().state, state);
        }
        let leases = bed.repository.leases(&commit.cluster, "w").await.unwrap();
        assert_eq!(leases, []);
    }
}

#[tokio::test]
async fn a_share_is_read_slowly_and_ends_when_it_is_told_to() {
    let world = World::new(versions()[0]).await;
    let commit = world.backup().await;
    assert!(commit.parts.len() > 3, "{}", commit.parts.len());
    let names: Vec<String> = commit.parts.iter().map(|part| part.name.clone()).collect();
    let paced = |parts: &[String], looks: usize| {
        let left = AtomicUsize::new(looks);
        let go_on = move || {
            left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1))
                .is_ok()
        };
        VerifySettings {
            parts: Some(parts.to_vec()),
            pace: Some(Arc::new(Pace {
                rate: Rate::new(NonZeroU64::new(1 << 40).unwrap()),
                go_on: Box::new(go_on),
            })),
            threads: NonZeroUsize::MIN,
            ..settings(Depth::Hashed)
        }
    };
    let verified = async |parts: &[String], looks| {
        let settings = paced(parts, looks);
        let proof = verify(&world.repository, &world.id, &commit.backup, &settings);
        proof.await.unwrap()
    };
    assert_eq!(
        verified(&names, 0).await,
        None,
        "it was told to end at once"
    );
    let proof = verified(&names[1..3], usize::MAX).await.unwrap();
    assert_eq!(proof.parts, names[1..3]);
    assert!(!proof.whole && proof.problems.is_empty(), "{proof:?}");
    let part_bytes = usize::try_from(commit.parts[0].bytes).unwrap();
    let looks = part_bytes / (128 << 10) + 3;
    let proof = verified(&names, looks).await.unwrap();
    assert_eq!(proof.parts, names[..1], "what was begun is given up");
    let proofs = world.repository.proofs(&world.id, &commit.backup).await;
    let proofs = proofs.unwrap();
    let mut read = rolling::reads(&commit, proofs.iter());
    read.sort();
    let never = read
        .iter()
        .filter(|read| read.at == commit.ended_at)
        .count();
    assert_eq!(never, names.len() - 3);
    let newest: Vec<&str> = read[never..]
        .iter()
        .map(|read| read.part.as_str())
        .collect();
    assert_eq!(newest, [&names[1], &names[2], &names[0]]);
    let all = verified(&names, usize::MAX).await.unwrap();
    assert!(all.whole && all.parts == names, "{all:?}");
}

#[tokio::test]
async fn what_rots_in_the_repository_is_named() {
    let bed = Bed::new(&Setup::default()).await;
    bed.cluster.sql("postgres", TABLE).await;
    let commit = bed.take().await;
    let name = commit.parts[0].name.clone();
    let part = path(&bed, &commit, &name);
    let whole = fs::read(&part).unwrap();

    let mut rotten = whole.clone();
    rotten[whole.len() / 2] ^= 1;
    fs::write(&part, &rotten).unwrap();
    for depth in [Depth::Hashed, Depth::Pages] {
        let proof = looked(&bed, &commit, depth).await;
        assert_eq!(proof.problems.len(), 1, "{:?}", proof.problems);
        assert!(proof.problems[0].contains(&name), "{:?}", proof.problems);
        let standing = bed.repository.standing(&commit.cluster, &commit.backup);
        assert_eq!(standing.await.unwrap().state, State::Taken);
    }
    fs::remove_file(&part).unwrap();
    let proof = looked(&bed, &commit, Depth::Hashed).await;
    assert!(
        proof.problems[0].ends_with("is not there"),
        "{:?}",
        proof.problems
    );
    fs::write(&part, &whole).unwrap();

    let listing = Listing::read(&bed.repository, &commit.cluster)
        .await
        .unwrap();
    assert!(!listing.is_empty());
    fs::remove_dir_all(bed.folder.path().join(commit.cluster.wal())).unwrap();
    let proof = looked(&bed, &commit, Depth::Hashed).await;
    assert_eq!(proof.problems.len(), 1, "{:?}", proof.problems);
    assert!(
        proof.problems[0].contains("is not whole"),
        "{:?}",
        proof.problems
    );
}

#[tokio::test]
async fn what_was_wrong_before_it_was_stored_is_named() {
    let bed = Bed::new(&Setup::default()).await;
    bed.cluster.sql("postgres", TABLE).await;
    let file = "SELECT pg_relation_filepath('t')";
    let client = bed.cluster.connect("postgres").await;
    let file: String = client.query_one(file, &[]).await.unwrap().get(0);
    let mut commit = bed.take().await;
    assert_eq!(commit.parts.len(), 1);
    let part = path(&bed, &commit, &commit.parts[0].name);
    let mut archive = zstd::decode_all(fs::File::open(&part).unwrap()).unwrap();
    damage(&mut archive, &file);
    let stored = zstd::bulk::compress(&archive, 1).unwrap();
    fs::write(&part, &stored).unwrap();
    commit.parts[0].bytes = stored.len() as u64;
    let hash = Sha256::digest(&stored);
    commit.parts[0].sha256 = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    let text = serde_json::to_vec(&commit).unwrap();
    fs::write(path(&bed, &commit, "COMMIT.json"), text).unwrap();

    let proof = looked(&bed, &commit, Depth::Hashed).await;
    assert_eq!(proof.problems, Vec::<String>::new());
    let proof = looked(&bed, &commit, Depth::Pages).await;
    let said = proof.problems.join("; ");
    assert!(
        said.contains(&format!("\"{file}\" page 1: its checksum is")),
        "{said}"
    );
}
