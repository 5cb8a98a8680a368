//! Restores are killed at any moment: the old data directory is never lost, and the same command finishes, or says what to do.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use pawang_backup::repository::BackupKind;
use pawang_backup::restore::{self, Options, Source, Target, Wanted};
use pawang_backup::{ClusterId, Repository};
use pawang_core::Kind;
use pawang_testbed::{Stop, until};

use crate::delta::{Files, files};
use crate::world::{World, all, now};

/// Names repository, cluster, directory, command and manner of the process that is killed.
const VICTIM: &str = "PAWANG_TEST_RESTORE";

/// The process that is killed: a restore until then; nothing when tests run.
#[tokio::test]
async fn victim() {
    let Ok(told) = std::env::var(VICTIM) else {
        return;
    };
    let words: Vec<&str> = told.split('\n').collect();
    let [folder, cluster, into, command, manner] = words[..] else {
        panic!("{words:?}");
    };
    let cluster: ClusterId = cluster.parse().unwrap();
    let repository = Repository::directory(Path::new(folder)).unwrap();
    let source = Source::read(&repository, &cluster).await.unwrap();
    let wanted = Wanted {
        target: Target::Latest,
        inclusive: true,
        timeline: None,
        backup: None,
    };
    let plan = source.plan(&repository, &wanted).await.unwrap();
    let options = Options {
        into: PathBuf::from(into),
        replace: manner == "replace",
        delta: manner == "delta",
        tablespaces: std::collections::BTreeMap::new(),
        action: restore::Action::Promote,
        restore_command: command.to_owned(),
        workers: 1,
        word: "victim".to_owned(),
    };
    restore::run(&repository, &plan, &options, now())
        .await
        .unwrap();
}

struct Victim(Child);

impl Victim {
    fn start(world: &World, into: &Path, manner: &str) -> Victim {
        let told = [
            world.folder.display().to_string(),
            world.id.to_string(),
            into.display().to_string(),
            world.restore_command(),
            manner.to_owned(),
        ];
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["interrupted::victim", "--exact", "--nocapture"])
            .env(VICTIM, told.join("\n"))
            .spawn()
            .unwrap();
        Victim(child)
    }

    /// Waits until the moment has come, or it is over before.
    fn until(&mut self, come: impl Fn() -> bool) {
        while !come() && self.0.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        // It may be over.
        let _ = self.0.kill();
        self.0.wait().unwrap();
    }
}

/// When it is killed: so many eighths of the data are written, or a file is there, or is not.
#[derive(Clone, Copy, Debug)]
enum Moment {
    Eighths(u64),
    Exists(&'static str),
    Gone(&'static str),
    Aside,
}

impl Moment {
    fn has_come(self, into: &Path, grown: &Path, bytes: u64) -> bool {
        match self {
            Moment::Eighths(part) => written(grown) > bytes / 8 * part,
            Moment::Exists(file) => grown.join(file).exists(),
            Moment::Gone(file) => !grown.join(file).exists(),
            Moment::Aside => !asides(into).is_empty(),
        }
    }
}

/// Returns how many bytes the files below a folder have.
pub(crate) fn written(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(found) if found.is_dir() => written(&entry.path()),
            Ok(found) => found.len(),
            Err(_) => 0,
        })
        .sum()
}

/// Returns the directories that were moved aside.
fn asides(into: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(into.parent().unwrap()).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.display().to_string().contains(".before-"))
        .collect()
}

/// Tells whether the directory, as it was, is in its place or aside.
fn is_kept(into: &Path, original: &Files) -> bool {
    let mut places = asides(into);
    places.push(into.to_owned());
    places.retain(|place| place.exists());
    places.iter().any(|place| files(place) == *original)
}

impl World {
    /// A stopped server with a backup, WAL behind it, and a row that is in no archive.
    async fn broken() -> World {
        let mut world = World::new(all()[0]).await;
        let create = "CREATE TABLE t AS SELECT generate_series(1, 30000) AS number";
        world.many("postgres", &[create, "CHECKPOINT"]).await;
        world.taken(BackupKind::Full).await;
        world
            .many("postgres", &["INSERT INTO t VALUES (30001)"])
            .await;
        world.archive().await;
        world
            .many("postgres", &["INSERT INTO t VALUES (30002)"])
            .await;
        world.cluster.stop(Stop::Immediate).await;
        world
    }

    /// Returns a copy of the stopped server's directory.
    fn copied(&self, name: &str) -> PathBuf {
        let into = self.cluster.folder(name).join("data");
        let copy = Command::new("cp")
            .arg("-a")
            .args([self.cluster.data_directory(), &into])
            .status();
        assert!(copy.unwrap().success());
        into
    }

    /// Runs the restore again, as whoever finds it interrupted does, and starts the server.
    async fn finished(&self, into: &Path, manner: &str, context: &str) {
        let plan = self.plan(Target::Latest).await;
        let options = Options {
            replace: manner == "replace",
            delta: manner == "delta",
            ..self.options(into)
        };
        match restore::run(&self.repository, &plan, &options, now()).await {
            Ok(_) => {}
            Err(error) => {
                let report = error.report();
                assert_eq!(report.kind, Kind::Refused, "{context}: {report}");
                let hint = report.hint.unwrap();
                assert!(hint.starts_with("mv "), "{context}: {hint}");
                let moved = Command::new("/bin/sh").args(["-euc", &hint]).status();
                assert!(moved.unwrap().success(), "{context}");
            }
        }
        let mut server = self.cluster.start_from(into, &[]).await;
        until("it is promoted", async || {
            let asked = server.sql("postgres", "SELECT pg_is_in_recovery()").await;
            asked[0][0].as_deref() == Some("f")
        })
        .await;
        let asked = "SELECT count(*) || ' ' || max(number) FROM t";
        let found = server.sql("postgres", asked).await[0][0].clone();
        assert_eq!(found.as_deref(), Some("30002 30002"), "{context}");
        server.stop(Stop::Immediate).await;
    }
}

#[tokio::test]
async fn a_killed_restore_never_costs_the_directory_that_it_replaces() {
    let world = World::broken().await;
    let original = files(world.cluster.data_directory());
    let bytes = world.plan(Target::Latest).await.data_bytes;
    let moments = [
        Moment::Exists("pawang-restore.json"),
        Moment::Eighths(4),
        Moment::Exists("recovery.signal"),
        Moment::Exists("global/pg_control"),
        Moment::Aside,
    ];
    for (number, moment) in moments.into_iter().enumerate() {
        let into = world.copied(&format!("replaced-{number}"));
        let grown = into.with_file_name("data.restoring");
        let mut victim = Victim::start(&world, &into, "replace");
        victim.until(|| moment.has_come(&into, &grown, bytes));
        drop(victim);
        let context = format!("{moment:?}");
        assert!(is_kept(&into, &original), "{context}: killed");
        world.finished(&into, "replace", &context).await;
        assert!(is_kept(&into, &original), "{context}: finished");
    }
}

#[tokio::test]
async fn between_two_names_a_killed_restore_says_what_to_do() {
    let world = World::broken().await;
    let into = world.copied("between");
    let plan = world.plan(Target::Latest).await;
    let options = Options {
        replace: true,
        ..world.options(&into)
    };
    let restored = restore::run(&world.repository, &plan, &options, now())
        .await
        .unwrap();
    // As it was between the two renames.
    let grown = into.with_file_name("data.restoring");
    std::fs::rename(&into, &grown).unwrap();
    let old = restored.aside.unwrap();
    let marker = serde_json::json!({
        "cluster": world.id,
        "backup": plan.backup(),
        "began_at": now(),
    });
    let mark = |folder: &Path| std::fs::write(folder.join(restore::MARKER), marker.to_string());
    mark(&grown).unwrap();
    for options in [world.options(&into), options] {
        let refused = restore::destination(&plan, &options).unwrap_err().report();
        assert!(
            refused.primary.contains("has only to be moved"),
            "{refused}"
        );
    }
    world.finished(&into, "replace", "between").await;
    // Done but for the mark: what it salvaged is taken over by the next one.
    mark(&into).unwrap();
    std::fs::remove_dir_all(&old).unwrap();
    world.finished(&into, "replace", "marked").await;
    // And so is what a restore salvaged that nobody liked.
    for old in asides(&into) {
        std::fs::remove_dir_all(old).unwrap();
    }
    world.finished(&into, "delta", "in place").await;
}

#[tokio::test]
async fn a_killed_restore_in_place_goes_on() {
    let world = World::broken().await;
    let moments = [
        (Moment::Exists("pawang-salvaged"), "delta"),
        (Moment::Gone("global/pg_control"), "delta"),
        (Moment::Gone("global/pg_control"), "anew"),
        (Moment::Exists("recovery.signal"), "delta"),
        (Moment::Exists("backup_label"), "anew"),
    ];
    for (number, (moment, again)) in moments.into_iter().enumerate() {
        let into = world.copied(&format!("delta-{number}"));
        let mut victim = Victim::start(&world, &into, "delta");
        victim.until(|| moment.has_come(&into, &into, 0));
        drop(victim);
        let context = format!("{moment:?}, {again}");
        // What can be started still is asked for by the same command.
        let whole = into.join("global/pg_control").exists();
        let manner = if whole { "delta" } else { again };
        world.finished(&into, manner, &context).await;
    }
}
