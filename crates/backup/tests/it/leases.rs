//! Leases, holds and the marker: who may do what, and what is refused.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use pawang_backup::Repository;
use pawang_backup::repository::{
    FORMAT, Held, Hold, LeaseFacts, MARKER, Proof, ProvenBy, README, RepositorySettings, State,
};
use pawang_backup::retention::{Fate, Policy, expire};
use pawang_backup::wal::{SegmentName, Timeline};
use pawang_core::Kind;

use crate::faults::take;
use crate::parts::{CLUSTER, backup_id};

fn facts(owner: &str) -> LeaseFacts {
    LeaseFacts::new("backup", owner, 60, Timestamp::now())
}

/// Sets a file back, as if the owner had not renewed its lease.
fn set_back(path: &Path, by: Duration) {
    let file = File::options().write(true).open(path).unwrap();
    let modified = file.metadata().unwrap().modified().unwrap();
    file.set_modified(modified - by).unwrap();
}

#[tokio::test]
async fn a_lease_is_taken_over_only_after_it_ran_out() {
    let folder = tempfile::tempdir().unwrap();
    let repository = Repository::directory(folder.path()).unwrap();
    let Held::Ours(mut first) = repository.take_lease(&CLUSTER, facts("a")).await.unwrap() else {
        panic!("nobody else has it");
    };
    let second = repository.take_lease(&CLUSTER, facts("b")).await.unwrap();
    assert!(matches!(second, Held::Other(other) if other.owner == "a"));
    first.renew(Timestamp::now()).await.unwrap();
    assert_eq!(repository.leases(&CLUSTER, "w").await.unwrap().len(), 1);

    let path = folder.path().join(CLUSTER.lease("backup", 0));
    set_back(&path, Duration::from_secs(61));
    assert_eq!(repository.leases(&CLUSTER, "w").await.unwrap(), []);
    let Held::Ours(third) = repository.take_lease(&CLUSTER, facts("c")).await.unwrap() else {
        panic!("it ran out");
    };
    // The former owner wakes up.
    let lost = first.renew(Timestamp::now()).await.unwrap_err();
    assert_eq!(lost.report().kind, Kind::Refused);
    assert!(first.release().await.is_err());
    third.release().await.unwrap();
    let fourth = repository.take_lease(&CLUSTER, facts("d")).await.unwrap();
    assert!(matches!(fourth, Held::Ours(_)), "it was given back");
    assert!(folder.path().join(CLUSTER.lease("backup", 2)).exists());
}

#[tokio::test]
async fn one_of_many_gets_a_lease() {
    let folder = tempfile::tempdir().unwrap();
    let repository = Repository::directory(folder.path()).unwrap();
    let owners: Vec<String> = (0..8).map(|number| format!("o{number}")).collect();
    let takes = owners
        .iter()
        .map(|owner| repository.take_lease(&CLUSTER, facts(owner)));
    let taken = futures_util::future::join_all(takes).await;
    let ours = taken
        .into_iter()
        .filter(|held| matches!(held, Ok(Held::Ours(_))));
    assert_eq!(ours.count(), 1);
}

#[tokio::test]
async fn a_backup_is_held_once() {
    let folder = tempfile::tempdir().unwrap();
    let repository = Repository::directory(folder.path()).unwrap();
    take(&repository, 1, None).await.unwrap();
    repository.hold(&CLUSTER, &hold_of(1)).await.unwrap();
    let again = Hold {
        by: "ben".to_owned(),
        ..hold_of(1)
    };
    let refused = repository.hold(&CLUSTER, &again).await.unwrap_err();
    assert!(refused.report().detail.unwrap().contains("by ann: audit"));
    assert!(repository.hold(&CLUSTER, &hold_of(9)).await.is_err());
    repository.unhold(&CLUSTER, &backup_id(1)).await.unwrap();
    assert_eq!(repository.holds(&CLUSTER).await.unwrap(), []);
}

#[tokio::test]
async fn what_is_held_or_read_is_not_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let repository = Repository::directory(folder.path()).unwrap();
    for number in 1..=4 {
        take(&repository, number, None).await.unwrap();
    }
    repository.hold(&CLUSTER, &hold_of(1)).await.unwrap();
    let mut reading = facts("restore");
    reading.backups = vec![backup_id(2)];
    reading.doing = "restores".to_owned();
    let lease = repository.share_lease(&CLUSTER, reading).await.unwrap();

    let policy = Policy {
        keep_fulls: Some(1),
        grace: SignedDuration::ZERO,
        ..Policy::default()
    };
    let run = async |dry_run| {
        let expired = expire(&repository, &CLUSTER, &policy, Timestamp::now(), dry_run);
        expired.await.unwrap()
    };
    let told = run(true).await;
    let fates: Vec<Fate> = told.plan.decisions.iter().map(|one| one.fate).collect();
    assert_eq!(fates, [Fate::Keep, Fate::Keep, Fate::Tomb, Fate::Keep]);
    let tombs = async || repository.tombs(&CLUSTER).await.unwrap().len();
    assert_eq!(tombs().await, 0, "a dry run touches nothing");
    run(false).await;
    assert_eq!(tombs().await, 1);

    // Who holds it after the tomb was laid keeps it, and the tomb is taken away.
    repository.hold(&CLUSTER, &hold_of(3)).await.unwrap();
    assert_eq!(run(false).await.deleted.backups, []);
    assert_eq!(tombs().await, 0);

    repository.unhold(&CLUSTER, &backup_id(3)).await.unwrap();
    lease.release().await.unwrap();
    run(false).await;
    let would = run(true).await.would_delete.unwrap();
    assert_eq!(would.backups, [backup_id(2), backup_id(3)]);
    assert!(would.bytes > 0, "{would:?}");
    let done = run(false).await;
    assert_eq!((done.deleted.bytes, done.would_delete), (would.bytes, None));
    for number in [2, 3] {
        let gone = folder.path().join(CLUSTER.backup(&backup_id(number)));
        assert!(!gone.exists(), "no empty folder stays: {gone:?}");
    }
    let left = repository.backups(&CLUSTER).await.unwrap();
    let left: Vec<_> = left.into_iter().map(|commit| commit.backup).collect();
    assert_eq!(left, [backup_id(1), backup_id(4)]);
}

#[tokio::test]
async fn no_wal_is_deleted_while_a_backup_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let repository = Repository::directory(folder.path()).unwrap();
    take(&repository, 1, None).await.unwrap();
    for number in [0, 5, 12] {
        let name = SegmentName::numbered(Timeline(1), number, 16 << 20);
        let path = CLUSTER.segment(&name, 16 << 20);
        repository.create(&path, "wal".into()).await.unwrap();
    }
    let mut taking = facts("a");
    taking.backups = vec![backup_id(2)];
    let Held::Ours(lease) = repository.take_lease(&CLUSTER, taking).await.unwrap() else {
        panic!("nobody else has it");
    };
    let policy = Policy {
        keep_fulls: Some(1),
        ..Policy::default()
    };
    let deleted = async || {
        let now = Timestamp::now();
        let outcome = expire(&repository, &CLUSTER, &policy, now, false).await;
        outcome.unwrap().deleted.wal_objects
    };
    assert_eq!(deleted().await, 0);
    lease.release().await.unwrap();
    assert_eq!(deleted().await, 2);
}

fn hold_of(number: u8) -> Hold {
    Hold {
        format: FORMAT,
        backup: backup_id(number),
        by: "ann".to_owned(),
        why: "audit".to_owned(),
        at: Timestamp::now(),
        until: None,
    }
}

#[tokio::test]
async fn the_newest_that_is_proven_outlives_any_policy() {
    let folder = tempfile::tempdir().unwrap();
    let repository = Repository::directory(folder.path()).unwrap();
    for number in 1..=3 {
        take(&repository, number, None).await.unwrap();
    }
    let proof = Proof {
        format: FORMAT,
        backup: backup_id(1),
        started_at: Timestamp::now(),
        ended_at: Timestamp::now(),
        state: State::Proven,
        whole: true,
        parts: Vec::new(),
        by: ProvenBy::Drill,
        problems: Vec::new(),
        target: Some("the end".to_owned()),
        phases: Vec::new(),
        rto_milliseconds: Some(1000),
        rpo_milliseconds: Some(1),
        tool: "pawang".to_owned(),
    };
    repository.add_proof(&CLUSTER, &proof).await.unwrap();
    let standing = repository.standing(&CLUSTER, &backup_id(1)).await.unwrap();
    assert_eq!(standing.state, State::Proven);
    let policy = Policy {
        keep_fulls: Some(0),
        grace: SignedDuration::ZERO,
        ..Policy::default()
    };
    for _ in 0..3 {
        expire(&repository, &CLUSTER, &policy, Timestamp::now(), false)
            .await
            .unwrap();
    }
    let left = repository.backups(&CLUSTER).await.unwrap();
    let left: Vec<_> = left.into_iter().map(|commit| commit.backup).collect();
    assert_eq!(left, [backup_id(1), backup_id(3)]);
}

#[tokio::test]
async fn a_place_becomes_a_repository_once() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("new/backup");
    let place = place.to_str().unwrap();
    let settings = RepositorySettings::default();
    let missing = Repository::open(place, &settings).await.unwrap_err();
    assert!(missing.report().hint.is_some(), "{}", missing.report());
    let made = Repository::setup(place, &settings, Timestamp::now(), [1; 10])
        .await
        .unwrap();
    let marker = made.marker().await.unwrap().unwrap();
    Repository::setup(place, &settings, Timestamp::now(), [2; 10])
        .await
        .unwrap();
    let url = format!("file://{place}");
    let opened = Repository::open(&url, &settings).await.unwrap();
    assert_eq!(opened.marker().await.unwrap().unwrap(), marker);
    assert!(opened.read(README).await.unwrap().is_some());

    // A disk that is unmounted while it is in use is not an empty repository.
    assert_eq!(opened.read("cluster/x").await.unwrap(), None);
    let aside = folder.path().join("aside");
    std::fs::rename(place, &aside).unwrap();
    std::fs::create_dir(place).unwrap();
    assert!(opened.read("cluster/x").await.is_err());
    assert!(opened.list("cluster").await.is_err());
    assert!(opened.backups(&CLUSTER).await.is_err());
    std::fs::remove_dir(place).unwrap();
    std::fs::rename(&aside, place).unwrap();

    let text = std::fs::read_to_string(format!("{place}/{MARKER}")).unwrap();
    let newer = text.replace("\"format\": 1", "\"format\": 2");
    std::fs::write(format!("{place}/{MARKER}"), newer).unwrap();
    let newer = Repository::open(place, &settings).await.unwrap_err();
    assert!(newer.to_string().contains("its format is 2"), "{newer}");

    let other = folder.path().join("other");
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("thesis.txt"), "mine").unwrap();
    let other = other.to_str().unwrap();
    let refused = Repository::setup(other, &settings, Timestamp::now(), [1; 10]).await;
    assert!(
        refused
            .unwrap_err()
            .report()
            .detail
            .unwrap()
            .contains("thesis.txt")
    );
    let empty = folder.path().to_str().unwrap();
    let unmounted = Repository::open(empty, &settings).await.unwrap_err();
    assert!(
        unmounted.to_string().contains("is no repository"),
        "{unmounted}"
    );
}
