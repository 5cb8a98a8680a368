//! Backups are proven by drills, and a drill that finds something wrong says so: one that cannot fail proves nothing.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use pawang_backup::drill::{self, DrillSettings, Drilled, Probe, Scratch, binaries};
use pawang_backup::repository::{Commit, State};
use pawang_backup::restore::{self, REPLAY, RestorePlan, Source, Target, UNPACK};
use pawang_backup::retention::{Policy, expire};
use pawang_backup::survey::{Memory, survey};
use pawang_backup::take::{Reading, TakeRequest, take};
use pawang_postgres::control_file;
use pawang_testbed::{Stop, until};

use crate::take::request;
use crate::world::{World, all, asked, now};

const ROWS: u32 = 2_000;

fn probe(sql: &str, expect: Option<&str>) -> Probe {
    Probe {
        database: "postgres".to_owned(),
        sql: sql.to_owned(),
        expect: expect.map(str::to_owned),
    }
}

impl World {
    /// A cluster with one table, its backup, and some WAL behind it.
    async fn with_table() -> (World, Commit) {
        let world = World::new(all()[0]).await;
        let create = format!(
            "CREATE TABLE fact AS SELECT number, md5(number::text) AS word FROM generate_series(1, {ROWS}) AS number; \
             CREATE UNIQUE INDEX fact_key ON fact (number); ANALYZE fact"
        );
        world.cluster.sql("postgres", &create).await;
        let commit = world.backup().await;
        (world, commit)
    }

    async fn drill(&self, target: Target, probes: Vec<Probe>) -> Drilled {
        let plan = self.plan(target).await;
        self.drill_as(&plan, probes).await
    }

    async fn drill_as(&self, plan: &RestorePlan, probes: Vec<Probe>) -> Drilled {
        let settings = DrillSettings {
            scratch: self.scratch("drill"),
            restore_command: self.restore_command(),
            workers: 2,
            limit: Duration::from_secs(60),
            amcheck: binaries::amcheck(self.cluster.bin_directory()),
            probes,
            last_commit_at: None,
            word: "drill".to_owned(),
            tool: "test".to_owned(),
        };
        assert!(
            settings.amcheck.is_some(),
            "pg_amcheck is in the package of every server"
        );
        let drilled = drill::run(&self.repository, plan, &settings, now())
            .await
            .unwrap();
        assert!(
            !self.scratch("drill").folder.exists(),
            "nothing is left of it"
        );
        drilled
    }

    async fn state(&self, commit: &Commit) -> State {
        self.repository
            .standing(&self.id, &commit.backup)
            .await
            .unwrap()
            .state
    }
}

fn problem(drilled: &Drilled, words: &str) {
    let problems = drilled.proof.problems.join("\n");
    assert!(
        problems.contains(words),
        "{words:?} is missing in {problems:?}"
    );
}

#[tokio::test]
async fn a_good_backup_is_proven_and_measured() {
    let (world, commit) = World::with_table().await;
    world
        .cluster
        .sql("postgres", "INSERT INTO fact VALUES (0, 'zero')")
        .await;
    let position = world.position().await;
    world.cluster.sql("postgres", "DELETE FROM fact").await;
    world.archive().await;
    assert_eq!(world.state(&commit).await, State::Taken);
    let probes = vec![
        probe("SELECT count(*) FROM public.fact", Some("2001")),
        probe("SELECT max(number) = 2000 FROM public.fact", None),
    ];
    let drilled = world.drill(Target::Lsn(position), probes).await;
    assert_eq!(drilled.proof.problems, Vec::<String>::new());
    assert!(drilled.proof.whole && drilled.findings.amcheck);
    assert_eq!(drilled.findings.rows, 2001);
    assert_eq!(drilled.findings.largest[0].table, "postgres.public.fact");
    assert_eq!(drilled.findings.probes, 2);
    assert!(drilled.proof.rto_milliseconds.unwrap() > 0);
    let names: Vec<&str> = drilled
        .proof
        .phases
        .iter()
        .map(|phase| phase.name.as_str())
        .collect();
    assert_eq!(names, [UNPACK, "sync", "start", REPLAY, "promote", "check"]);
    assert_eq!(world.state(&commit).await, State::Proven);
    let source = Source::read(&world.repository, &world.id).await.unwrap();
    assert!(source.speed().unwrap().unpack_bytes_per_second > 0.0);
    let plan = world.plan(Target::Latest).await;
    assert!(plan.estimated.is_some() && plan.chain[0].proven_at.is_some());
    for random in [0, 1, u64::MAX / 3, u64::MAX] {
        let target = source
            .random_target(&world.repository, random)
            .await
            .unwrap();
        assert!(world.try_plan(target.clone()).await.is_ok(), "{target}");
    }
}

#[tokio::test]
async fn an_index_without_an_entry_is_found() {
    let (world, _) = World::with_table().await;
    // As after a defect of the server or of a sort order: rows are added, and the index does not hear of them.
    let set = |ready: bool| {
        format!("UPDATE pg_index SET indisready = {ready} WHERE indexrelid = 'fact_key'::regclass")
    };
    world.cluster.sql("postgres", &set(false)).await;
    world
        .cluster
        .sql("postgres", "INSERT INTO fact VALUES (99999, 'lost')")
        .await;
    world.cluster.sql("postgres", &set(true)).await;
    let commit = world.backup().await;
    let drilled = world.drill(Target::Immediate, Vec::new()).await;
    problem(&drilled, "fact_key");
    problem(&drilled, "lacks matching index tuple");
    assert_eq!(drilled.proof.backup, commit.backup);
    assert_eq!(world.state(&commit).await, State::Taken);
}

#[tokio::test]
async fn missing_rows_and_wrong_probes_are_found() {
    let (world, commit) = World::with_table().await;
    let probes = vec![
        probe("SELECT count(*) FROM public.fact", Some("2001")),
        probe("SELECT count(*) > 5000 FROM public.fact", None),
        probe("SELECT number FROM public.fact WHERE number < 0", None),
        probe("SELECT FROM nowhere", None),
        probe("DELETE FROM public.fact", Some("x")),
        Probe {
            database: "no such database".to_owned(),
            ..probe("SELECT true", None)
        },
    ];
    let drilled = world.drill(Target::Immediate, probes).await;
    assert_eq!(
        drilled.proof.problems.len(),
        6,
        "{:?}",
        drilled.proof.problems
    );
    problem(
        &drilled,
        "its answer is \"2000\", and \"2001\" was expected",
    );
    problem(&drilled, "its answer is \"false\"");
    problem(&drilled, "it has no row");
    problem(&drilled, "nowhere");
    problem(&drilled, "no such database");
    assert_eq!(world.state(&commit).await, State::Taken);
    let drilled = world.drill(Target::Immediate, Vec::new()).await;
    assert_eq!(drilled.proof.problems, Vec::<String>::new());
    assert_eq!(world.state(&commit).await, State::Proven);
}

#[tokio::test]
async fn rot_in_the_repository_is_a_problem_of_the_backup() {
    let (world, commit) = World::with_table().await;
    world
        .cluster
        .sql("postgres", "INSERT INTO fact VALUES (0, 'zero')")
        .await;
    let position = world.position().await;
    world.archive().await;
    let part = world
        .folder
        .join(world.id.part(&commit.backup, &commit.parts[0].name));
    let segment = world.segment(position);
    for (path, words) in [
        (segment, "ended before it was open"),
        (part, "part-00000.tar.zst"),
    ] {
        let good = std::fs::read(&path).unwrap();
        let mut bytes = good.clone();
        bytes[good.len() / 2] ^= 0x40;
        replace(&path, &bytes);
        let drilled = world.drill(Target::Lsn(position), Vec::new()).await;
        problem(&drilled, words);
        assert_eq!(drilled.proof.rto_milliseconds, None);
        assert_eq!(world.state(&commit).await, State::Taken);
        replace(&path, &good);
    }
}

fn append(path: &std::path::Path, text: &str) {
    let mut file = std::fs::File::options().append(true).open(path).unwrap();
    std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
}

#[tokio::test]
async fn settings_of_the_source_lead_a_drill_nowhere_else() {
    let (mut world, _) = World::with_table().await;
    let data = world.cluster.data_directory().to_owned();
    let pid_file = world.cluster.folder("run").join("source.pid");
    let lines = format!(
        "data_directory = '{}'\nexternal_pid_file = '{}'\nshared_preload_libraries = 'not_there'\ninclude_dir = 'more'\n",
        data.display(),
        pid_file.display()
    );
    let more = world.cluster.folder("data/more");
    append(&data.join("postgresql.conf"), &lines);
    replace(
        &more.join("one.conf"),
        b"archive_command = 'touch archived'\narchive_mode = on\n",
    );
    let read = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(more.join("one.conf"), read).unwrap();
    world.backup().await;
    let inside = world.plan(Target::Immediate).await;
    world.cluster.sql("postgres", "DROP TABLE fact").await;
    // A server that is down cannot defend its directory.
    world.cluster.stop(Stop::Fast).await;
    let before = control_file::read(&data).unwrap();
    let probes = || vec![probe("SELECT count(*) FROM public.fact", Some("2000"))];
    let drilled = world.drill_as(&inside, probes()).await;
    assert_eq!(drilled.proof.problems, Vec::<String>::new());
    assert_eq!(control_file::read(&data).unwrap(), before);
    assert!(!pid_file.exists());
    // Nor when a person starts what was restored.
    let into = world.cluster.folder("restored");
    let restored = restore::run(&world.repository, &inside, &world.options(&into), now()).await;
    restored.unwrap();
    let text = std::fs::read_to_string(into.join("postgresql.conf")).unwrap();
    for name in ["data_directory", "external_pid_file"] {
        let silenced = format!("# pawang restore: {name} = ");
        assert!(text.contains(&silenced), "{text}");
    }
}

#[tokio::test]
async fn a_configuration_outside_of_the_data_directory_is_not_needed() {
    let (mut world, _) = World::with_table().await;
    world.cluster.stop(Stop::Fast).await;
    let folder = world.cluster.move_configuration().to_owned();
    world.cluster.start_again().await;
    for reading in [Reading::Protocol, Reading::Local] {
        let request = TakeRequest {
            reading,
            ..request(&world.cluster, &world.repository)
        };
        let commit = take(request, &mut |_| {}).await.unwrap();
        assert_eq!(commit.pages.wrong, 0);
    }
    let plan = world.plan(Target::Immediate).await;
    let probes = vec![probe("SELECT count(*) FROM public.fact", Some("2000"))];
    let drilled = world.drill_as(&plan, probes).await;
    assert_eq!(drilled.proof.problems, Vec::<String>::new());
    assert!(folder.join("postgresql.conf").exists());
}

#[tokio::test]
async fn what_the_machine_of_a_drill_lacks_is_told() {
    let (world, commit) = World::with_table().await;
    // As on a machine without the package of an extension, and without a locale.
    let lacking = [
        "CREATE FUNCTION lost() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "UPDATE pg_proc SET prolang = 13, probin = '$libdir/not_there', prosrc = 'lost' WHERE proname = 'lost'",
        "CREATE DATABASE abroad",
        "UPDATE pg_database SET datcollate = 'xx_XX.UTF-8', datctype = 'xx_XX.UTF-8' WHERE datname = 'abroad'",
    ];
    world.many("postgres", &lacking).await;
    let second = world.backup().await;
    let plan = world.plan(Target::Immediate).await;
    let probes = vec![probe("SELECT public.lost()", Some("1"))];
    let drilled = world.drill_as(&plan, probes).await;
    problem(&drilled, "not_there");
    problem(&drilled, "abroad");
    problem(&drilled, "locale");
    assert_eq!(world.state(&second.clone()).await, State::Taken);
    assert_eq!(world.state(&commit).await, State::Taken);
    // A file that the configuration includes and that is nowhere: the server's words are told.
    let configuration = world.cluster.data_directory().join("postgresql.conf");
    append(&configuration, "include = '/no/such/place/more.conf'\n");
    world.backup().await;
    let plan = world.plan(Target::Immediate).await;
    let drilled = world.drill_as(&plan, Vec::new()).await;
    problem(&drilled, "/no/such/place/more.conf");
}

fn replace(path: &std::path::Path, bytes: &[u8]) {
    std::io::Write::write_all(&mut std::fs::File::create(path).unwrap(), bytes).unwrap();
}

#[tokio::test]
async fn a_scratch_server_does_not_outlive_whoever_wanted_it() {
    let (world, _) = World::with_table().await;
    let scratch = world.recovered("orphan", Target::Immediate).await;
    assert_eq!(
        asked(&scratch, "SELECT count(*) FROM public.fact").await,
        i64::from(ROWS)
    );
    let folder = world.scratch("orphan").folder;
    let pid = std::fs::read_to_string(scratch.data().join("postmaster.pid")).unwrap();
    let pid = pid.lines().next().unwrap().to_owned();
    // What the kernel does with the pipe of a process that was killed.
    drop(scratch);
    until("the server ended and its folder is gone", async || {
        let runs = std::path::Path::new("/proc").join(&pid).exists();
        !folder.exists() && !runs
    })
    .await;
    let taken = world.scratch("taken");
    std::fs::create_dir(&taken.folder).unwrap();
    assert!(
        Scratch::new(taken).await.is_err(),
        "a folder of somebody else is not touched"
    );
    assert!(world.scratch("taken").folder.exists());
}

#[tokio::test]
async fn what_drills_found_is_known_longer_than_their_backups() {
    let (world, first) = World::with_table().await;
    let wrong = vec![probe("SELECT false", None)];
    world.drill(Target::Immediate, wrong).await;
    let second = world.backup().await;
    let drilled = world.drill(Target::Immediate, Vec::new()).await;
    assert_eq!(drilled.proof.backup, second.backup);
    let policy = Policy {
        keep_fulls: Some(1),
        ..Policy::default()
    };
    for _ in 0..2 {
        let done = expire(&world.repository, &world.id, &policy, now(), false);
        done.await.unwrap();
    }
    let left = world.repository.backups(&world.id).await.unwrap();
    assert_eq!(left.len(), 1);
    let drills = world.repository.drills(&world.id).await.unwrap();
    let of: Vec<_> = drills.iter().map(|proof| proof.backup.clone()).collect();
    assert_eq!(of, [first.backup, second.backup]);
    let mut memory = Memory::default();
    let seen = survey(&world.repository, &world.id, &policy, &mut memory, now());
    let seen = seen.await.unwrap();
    let past: Vec<bool> = seen.past.iter().map(|proof| proof.passed).collect();
    assert_eq!((past, seen.drills().count()), (vec![false], 1));
}
