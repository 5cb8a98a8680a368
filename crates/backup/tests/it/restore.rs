//! Clusters are restored to points in time: what was acknowledged before is there, and nothing after.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use pawang_backup::Error;
use pawang_backup::restore::{self, Found, MARKER, Source, Target, Wanted};
use pawang_backup::verify::{Depth, verify};
use pawang_core::{Kind, Lsn};
use pawang_testbed::{Stop, Version};

use crate::verify::settings;
use crate::world::{World, all, asked, now, owner_of};

/// How many targets of the ledger are restored; 200 take some minutes.
const TARGETS: u64 = 8;

fn refusal<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    let report = result.unwrap_err().report();
    assert_eq!(report.kind, Kind::Refused, "{report}");
    format!("{} {}", report.primary, report.detail.unwrap_or_default())
}

/// A row that was acknowledged, and between which positions and instants.
struct Acknowledged {
    number: i64,
    after: Lsn,
    at: Timestamp,
}

impl Acknowledged {
    fn index(&self) -> usize {
        usize::try_from(self.number - 1).unwrap()
    }
}

impl World {
    /// Commits one row after the other, and writes down when each was acknowledged.
    async fn commit_rows(&self, ledger: &mut Vec<Acknowledged>, rows: i64) {
        let client = self.cluster.connect("postgres").await;
        for _ in 0..rows {
            let number = i64::try_from(ledger.len()).unwrap() + 1;
            let insert = format!("INSERT INTO ledger VALUES ({number}, repeat('x', 200))");
            client.batch_execute(&insert).await.unwrap();
            let asked = "SELECT pg_current_wal_insert_lsn()::text, \
                         to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')";
            let row = client.query_one(asked, &[]).await.unwrap();
            ledger.push(Acknowledged {
                number,
                after: row.get::<_, &str>(0).parse().unwrap(),
                at: row.get::<_, &str>(1).parse().unwrap(),
            });
        }
    }
}

#[tokio::test]
async fn every_row_that_was_acknowledged_before_the_target_is_there_and_none_after() {
    ledger(all().into_iter().step_by(2)).await;
}

#[tokio::test]
async fn and_so_on_the_other_versions() {
    ledger(all().into_iter().skip(1).step_by(2)).await;
}

async fn ledger(versions: impl Iterator<Item = Version>) {
    for version in versions {
        let world = World::new(version).await;
        let create = "CREATE TABLE ledger (number bigint PRIMARY KEY, filler text)";
        world.many("postgres", &[create]).await;
        let mut ledger = Vec::new();
        world.commit_rows(&mut ledger, 50).await;
        let first = world.backup().await;
        world.commit_rows(&mut ledger, 100).await;
        world.archive().await;
        world.commit_rows(&mut ledger, 100).await;
        let second = world.backup().await;
        world.commit_rows(&mut ledger, 100).await;
        // The commit behind the last target: without one, nothing proves that its time has passed.
        world.archive().await;
        let begin = ledger
            .iter()
            .position(|row| row.after >= first.stop.lsn)
            .unwrap();
        let mut used = Vec::new();
        for turn in 0..TARGETS {
            // A fixed walk through the window, so that a failure is seen again.
            let window = (ledger.len() - 1 - begin) as u64;
            let place = begin + usize::try_from((turn * 7919 + 13) % window).unwrap();
            let row = &ledger[place];
            let target = match turn % 2 {
                0 => Target::Lsn(row.after),
                // Between this acknowledgement and the next one's beginning.
                _ => Target::Time(row.at),
            };
            let plan = world.plan(target.clone()).await;
            used.push(plan.backup().clone());
            let scratch = world
                .recovered(&format!("turn-{turn}"), target.clone())
                .await;
            let last = "SELECT coalesce(max(number), 0) FROM public.ledger";
            let last = asked(&scratch, last).await;
            let count = asked(&scratch, "SELECT count(*) FROM public.ledger").await;
            assert_eq!(
                (last, count),
                (row.number, row.number),
                "{target} on {version}\n{plan}\n{}",
                scratch.log_tail()
            );
            scratch.remove().await;
        }
        used.sort();
        used.dedup();
        assert_eq!(used.len(), 2, "both backups are used");
        // Where WAL is missing, a time that may have been in it is refused, and no later backup is taken for it.
        let row = ledger
            .iter()
            .rfind(|row| row.after < second.start.lsn)
            .unwrap();
        world.forget(row.after);
        let gap = refusal(
            world
                .try_plan(Target::Time(ledger[row.index() - 20].at))
                .await,
        );
        assert!(gap.contains("is missing"), "{gap}");
    }
}

#[tokio::test]
async fn transactions_and_restore_points_are_looked_for_in_wal_first() {
    for version in all() {
        let world = World::new(version).await;
        world
            .many("postgres", &["CREATE TABLE t (number int)"])
            .await;
        let point = "SELECT pg_create_restore_point('before batch 42')";
        world.many("postgres", &[point]).await;
        world.backup().await;
        let write = "WITH written AS (INSERT INTO t VALUES (1) RETURNING 1) \
                     SELECT pg_current_xact_id()::text FROM written";
        let xid = world.text(write).await;
        world
            .many(
                "postgres",
                &["SELECT pg_create_restore_point('before batch 43')"],
            )
            .await;
        world.many("postgres", &["INSERT INTO t VALUES (2)"]).await;
        let named = |name: &str| Target::Name(name.to_owned());
        let nowhere = refusal(world.try_plan(named("before batch 43")).await);
        assert!(nowhere.contains("is not in the WAL"), "{nowhere}");
        world.archive().await;
        let xid = Target::Xid(xid.parse().unwrap());
        for (name, target, rows) in [("xid", xid, 1), ("name", named("before batch 43"), 1)] {
            let plan = world.plan(target.clone()).await;
            assert_eq!(plan.unproven, None);
            let scratch = world.recovered(name, target).await;
            let found = asked(&scratch, "SELECT count(*) FROM public.t").await;
            assert_eq!(found, rows, "{name}\n{}", scratch.log_tail());
            scratch.remove().await;
        }
        for (target, word) in [
            (Target::Xid(4_000_000_000), "is not in the WAL"),
            (named("before batch"), "is not in the WAL"),
            (
                named("before batch 42"),
                "before the end of the first backup",
            ),
        ] {
            let refused = refusal(world.try_plan(target).await);
            assert!(refused.contains(word), "{refused}");
        }
        // Recovery would end at the first of two.
        world
            .many(
                "postgres",
                &["SELECT pg_create_restore_point('before batch 43')"],
            )
            .await;
        world.archive().await;
        let twice = refusal(world.try_plan(named("before batch 43")).await);
        assert!(twice.contains("is in WAL 2 times"), "{twice}");
    }
}

#[tokio::test]
async fn a_time_when_nothing_was_committed_needs_no_commit_before() {
    let world = World::new(all()[0]).await;
    world
        .many("postgres", &["CREATE TABLE t (number int)"])
        .await;
    world.backup().await;
    let at =
        "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')";
    let at = Target::Time(world.text(at).await.parse().unwrap());
    world.many("postgres", &["INSERT INTO t VALUES (1)"]).await;
    world.archive().await;
    let scratch = world.recovered("quiet", at).await;
    assert_eq!(asked(&scratch, "SELECT count(*) FROM public.t").await, 0);
    scratch.remove().await;
}

#[tokio::test]
async fn what_the_live_tail_ends_with_can_be_a_target() {
    for version in all() {
        let world = World::new(version).await;
        world
            .many("postgres", &["CREATE TABLE t (number int)"])
            .await;
        world.backup().await;
        world.archive().await;
        world.many("postgres", &["INSERT INTO t VALUES (1)"]).await;
        let before = world.position().await;
        let at = "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')";
        let at = world.text(at).await.parse().unwrap();
        let write = "WITH written AS (INSERT INTO t VALUES (2) RETURNING 1) \
                     SELECT pg_current_xact_id()::text FROM written";
        let xid = world.text(write).await.parse().unwrap();
        let point = "SELECT pg_create_restore_point('after the mistake')";
        world.many("postgres", &[point]).await;
        let after = world.position().await;
        world.store_live_tail().await;
        for target in [
            Target::Time(at),
            Target::Xid(xid),
            Target::Name("after the mistake".to_owned()),
        ] {
            let plan = world.plan(target.clone()).await;
            let within = before < plan.replay_to && plan.replay_to <= after;
            assert!(within, "{target}: {plan}, not within {before} and {after}");
        }
        let source = Source::read(&world.repository, &world.id).await.unwrap();
        let last = source.last_commit(&world.repository).await.unwrap();
        assert_eq!(last.unwrap().xid, xid, "{version}");
    }
}

#[tokio::test]
async fn a_backup_that_rots_is_not_chosen_and_changes_no_directory() {
    let mut world = World::new(all()[0]).await;
    let good = world.backup().await;
    let bad = world.backup().await;
    let part = world.id.part(&bad.backup, &bad.parts[0].name);
    std::fs::write(world.folder.join(part), "rot").unwrap();
    assert_eq!(*world.plan(Target::Latest).await.backup(), bad.backup);
    let hashed = settings(Depth::Hashed);
    let look = verify(&world.repository, &world.id, &bad.backup, &hashed);
    let problems = look.await.unwrap().unwrap().problems;
    let plan = world.plan(Target::Latest).await;
    assert_eq!(*plan.backup(), good.backup);
    assert!(plan.to_string().contains(&problems[0]), "{plan}");

    // Whoever names it gets it, but for a directory that it would leave in ruins.
    let wanted = Wanted {
        target: Target::Latest,
        inclusive: true,
        timeline: None,
        backup: Some(bad.backup.clone()),
    };
    let source = Source::read(&world.repository, &world.id).await.unwrap();
    let plan = source.plan(&world.repository, &wanted).await.unwrap();
    assert_eq!(plan.rotten[0].backup, bad.backup);
    world.cluster.stop(Stop::Fast).await;
    let mut options = world.options(world.cluster.data_directory());
    options.delta = true;
    let refused = refusal(restore::run(&world.repository, &plan, &options, now()).await);
    assert!(refused.contains("is not what was stored"), "{refused}");
    assert!(options.into.join("global/pg_control").exists());
    world.cluster.start_again().await;
}

#[tokio::test]
async fn what_cannot_be_restored_is_refused_and_nothing_is_touched() {
    let world = World::new(all()[0]).await;
    world
        .cluster
        .sql("postgres", "CREATE TABLE t AS SELECT 1 AS one")
        .await;
    let commit = world.backup().await;
    let before = refusal(world.try_plan(Target::Lsn(commit.start.lsn)).await);
    assert!(
        before.contains("before the end of the first backup"),
        "{before}"
    );
    // A time needs a commit behind it that shows where to stop, and says nothing of what came before the backup.
    let insert = "INSERT INTO t VALUES (2)";
    world.cluster.sql("postgres", insert).await;
    world.archive().await;
    let hour_ago = now().checked_sub(SignedDuration::from_hours(1)).unwrap();
    let before = refusal(world.try_plan(Target::Time(hour_ago)).await);
    assert!(
        before.contains("before the end of the first backup"),
        "{before}"
    );
    let after = refusal(world.try_plan(Target::Lsn(Lsn(u64::MAX / 2))).await);
    assert!(after.contains("after the last WAL"), "{after}");
    let future = now().checked_add(SignedDuration::from_hours(1)).unwrap();
    let future = refusal(world.try_plan(Target::Time(future)).await);
    assert!(future.contains("is not in the WAL"), "{future}");

    let plan = world.plan(Target::Latest).await;
    let into = world.cluster.folder("full");
    std::fs::File::create(into.join("notes.txt")).unwrap();
    let run = async |into: &Path| {
        restore::run(&world.repository, &plan, &world.options(into), now()).await
    };
    let full = refusal(run(&into).await);
    assert!(full.contains("not empty, and no data directory"), "{full}");
    let live = refusal(run(world.cluster.data_directory()).await);
    assert!(live.contains("a server runs in"), "{live}");
    // Clusters of the testbed are copies of one, so that only their majors tell them apart.
    if let Some(version) = all().get(1) {
        let mut other = World::new(*version).await.cluster;
        other.stop(Stop::Fast).await;
        let mixed = refusal(run(other.data_directory()).await);
        assert!(mixed.contains("is of cluster"), "{mixed}");
    }
    assert_eq!(std::fs::read_dir(&into).unwrap().count(), 1);

    // A gap in WAL behind the backup, with more behind it.
    world
        .cluster
        .sql("postgres", "INSERT INTO t VALUES (2)")
        .await;
    let hidden = world.position().await;
    world.archive().await;
    world
        .cluster
        .sql("postgres", "INSERT INTO t VALUES (3)")
        .await;
    let target = world.position().await;
    world.archive().await;
    assert!(world.try_plan(Target::Lsn(target)).await.is_ok());
    world.forget(hidden);
    for target in [Target::Lsn(target), Target::Lsn(hidden), Target::Latest] {
        let gap = refusal(world.try_plan(target).await);
        assert!(gap.contains("is missing"), "{gap}");
    }
}

#[tokio::test]
async fn the_old_data_directory_is_kept_and_its_last_wal_is_not_lost() {
    let mut world = World::new(all()[0]).await;
    world
        .cluster
        .sql("postgres", "CREATE TABLE t AS SELECT 1 AS one")
        .await;
    world.backup().await;
    world
        .cluster
        .sql("postgres", "INSERT INTO t VALUES (2)")
        .await;
    world.archive().await;
    // Committed, and in no archive.
    world
        .cluster
        .sql("postgres", "INSERT INTO t VALUES (3)")
        .await;
    world.cluster.stop(Stop::Immediate).await;
    let plan = world.plan(Target::Latest).await;
    let into = world.cluster.data_directory().to_owned();
    let mut options = world.options(&into);
    let refused = refusal(restore::run(&world.repository, &plan, &options, now()).await);
    assert!(
        refused.contains("is the data directory of this cluster"),
        "{refused}"
    );
    options.replace = true;
    let restored = restore::run(&world.repository, &plan, &options, now())
        .await
        .unwrap();
    let aside = restored.aside.unwrap();
    assert!(aside.join("PG_VERSION").exists() && aside.join("pg_wal").is_dir());
    assert!(!restored.salvaged.is_empty());
    assert!(!into.join(MARKER).exists());
    assert_eq!(owner_of(&into).1, 0o700);
    assert_eq!(
        owner_of(&into.join("PG_VERSION")),
        (owner_of(&into).0, 0o600)
    );
    world.cluster.start_again().await;
    pawang_testbed::until("it is promoted", async || {
        world.text("SELECT pg_is_in_recovery()").await == "f"
    })
    .await;
    assert_eq!(world.text("SELECT count(*) FROM t").await, "3");
    assert_eq!(world.text("SHOW archive_mode").await, "off");
}

#[tokio::test]
async fn half_a_restore_cannot_start_and_the_next_run_finishes_it() {
    let world = World::new(all()[0]).await;
    let commit = world.backup().await;
    let plan = world.plan(Target::Latest).await;
    let into = world.cluster.folder("restored");
    let options = world.options(&into);
    let part = commit.parts.last().unwrap();
    let path = world.folder.join(world.id.part(&commit.backup, &part.name));
    let good = std::fs::read(&path).unwrap();
    for damage in ["cut", "flipped", "gone"] {
        let mut bytes = good.clone();
        match damage {
            "cut" => bytes.truncate(good.len() / 2),
            "flipped" => bytes[good.len() / 2] ^= 0x40,
            _ => {}
        }
        std::fs::remove_file(&path).unwrap();
        if damage != "gone" {
            std::io::Write::write_all(&mut std::fs::File::create(&path).unwrap(), &bytes).unwrap();
        }
        let error = restore::run(&world.repository, &plan, &options, now())
            .await
            .unwrap_err();
        assert!(matches!(error, Error::Format { .. }), "{damage}: {error:?}");
        let found = restore::look(&into, &world.id).unwrap();
        assert!(matches!(found, Found::Unfinished(_)), "{damage}: {found:?}");
        assert!(!into.join("global/pg_control").exists(), "{damage}");
        if damage != "gone" {
            std::fs::remove_file(&path).unwrap();
        }
        std::io::Write::write_all(&mut std::fs::File::create(&path).unwrap(), &good).unwrap();
    }
    std::fs::File::create(into.join("left by the first attempt")).unwrap();
    restore::run(&world.repository, &plan, &options, now())
        .await
        .unwrap();
    assert_eq!(restore::look(&into, &world.id).unwrap(), Found::Data);
    assert!(!into.join("left by the first attempt").exists());
    let mode = std::fs::metadata(into.join("base"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[tokio::test]
async fn tablespaces_go_where_they_are_told_to() {
    let world = World::new(all()[0]).await;
    let space = world.cluster.folder("space");
    for sql in [
        format!("CREATE TABLESPACE cold LOCATION '{}'", space.display()),
        "CREATE TABLE old TABLESPACE cold AS SELECT generate_series(1, 5000) AS number".to_owned(),
    ] {
        world.cluster.sql("postgres", &sql).await;
    }
    let commit = world.backup().await;
    let oid = commit.tablespaces[0].oid;
    let plan = world.plan(Target::Immediate).await;
    let into = world.cluster.folder("restored");
    let mut options = world.options(&into);
    let refused = refusal(restore::run(&world.repository, &plan, &options, now()).await);
    assert!(refused.contains("is not empty"), "{refused}");
    assert_eq!(std::fs::read_dir(&into).unwrap().count(), 0);
    let mut scratch = pawang_backup::drill::Scratch::new(world.scratch("spaces"))
        .await
        .unwrap();
    options.into = scratch.data();
    options.tablespaces.insert(oid, scratch.tablespace(oid));
    restore::run(&world.repository, &plan, &options, now())
        .await
        .unwrap();
    scratch
        .start(std::time::Duration::from_secs(60))
        .await
        .unwrap();
    assert_eq!(
        asked(&scratch, "SELECT count(*) FROM public.old").await,
        5000
    );
    let link = std::fs::read_link(scratch.data().join(format!("pg_tblspc/{oid}"))).unwrap();
    assert_eq!(link, scratch.tablespace(oid));
    let folder = scratch.data();
    scratch.remove().await;
    assert!(!folder.exists());
}
