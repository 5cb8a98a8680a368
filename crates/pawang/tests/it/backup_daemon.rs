//! What `pawang serve` does with backups by itself: takes them when the window opens, proves them, and reads them again.

use std::fs;
use std::path::{Path, PathBuf};

use pawang_testbed::{Cluster, Setup, until};
use serde_json::Value;

use crate::program::{Desk, Screen, instance};
use crate::serve_daemon::Daemon;
use crate::wal::files;

/// Open when the test runs, and over for ever.
const OPEN: &str = "2026-01-01 00:00 for 90000 h";
const OVER: &str = "2020-01-01 00:00 for 1 h";

/// A server with a repository that its user can read.
struct Kept {
    cluster: Cluster,
    desk: Desk,
}

impl Kept {
    async fn new() -> Kept {
        let kept = Kept {
            cluster: Cluster::start(&Setup::default()).await,
            desk: Desk::new(),
        };
        kept.configure("");
        let place = kept.place().display().to_string();
        kept.good(&["backup", "setup", "--repo", &place, "--no-backup"]);
        kept
    }

    fn place(&self) -> PathBuf {
        self.cluster.folder("repository")
    }

    /// Writes `pawang.toml` with these lines about backups.
    fn configure(&self, backup: &str) {
        let text = format!(
            "state_directory = \"state\"\n{}[[repository]]\nname = \"main\"\nplace = \"{}\"\n{backup}",
            instance("dwh-1", &self.cluster.url("postgres")),
            self.place().display()
        );
        self.desk.write("pawang.toml", &text);
    }

    fn good(&self, words: &[&str]) -> Screen {
        let screen = self.desk.pawang(words);
        assert_eq!(screen.code, 0, "{screen:?}");
        screen
    }

    /// Returns the backups of the repository, oldest first.
    fn backups(&self) -> Vec<Value> {
        let listed = self.good(&["backup", "list", "--json"]);
        let data = listed.data("pawang.backup.list/1");
        let survey = &data[0]["repositories"][0]["survey"]["Ok"];
        survey["backups"].as_array().unwrap().clone()
    }

    /// How the scratch server of a drill is run, and what it has to answer.
    fn drills(&self, window: &str, more: &str, answer: u32) -> String {
        format!(
            "[backup]\nwindow = \"{window}\"\nstream = true\n{more}\n[backup.scratch]\nfolder = \"{}\"\nprograms = \"{}\"\n\
             [[backup.probe]]\ndatabase = \"postgres\"\nsql = \"SELECT count(*) FROM pg_database\"\nexpect = \"{answer}\"\n",
            self.cluster.socket_directory().display(),
            self.cluster.bin_directory().display()
        )
    }
}

async fn page(daemon: &Daemon<'_>) -> String {
    daemon.ask("GET", "/instances/dwh-1/backups", "", "").await
}

async fn metric(daemon: &Daemon<'_>, name: &str) -> Option<String> {
    let metrics = daemon.ask("GET", "/metrics", "", "").await;
    let begin = format!("{name}{{server=\"dwh-1\",repository=\"main\"}} ");
    let line = metrics.lines().find(|line| line.starts_with(&begin))?;
    Some(line[begin.len()..].to_owned())
}

#[tokio::test]
async fn the_daemon_takes_a_backup_in_its_window_and_proves_it() {
    let kept = Kept::new().await;
    kept.configure(&kept.drills(OVER, "", 3));
    let daemon = Daemon::start(&kept.desk).await;
    until("the repository was looked into", async || {
        assert!(daemon.lives(), "{}", daemon.log());
        page(&daemon).await.contains("never opens again")
    })
    .await;
    assert!(kept.backups().is_empty(), "no window was open");

    kept.configure(&kept.drills(OPEN, "", 3));
    kept.good(&["serve", "reload"]);
    until("a backup is proven, and the page says so", async || {
        assert!(daemon.lives(), "{}", daemon.log());
        page(&daemon).await.contains("<b>Proven</b>")
    })
    .await;
    let backups = kept.backups();
    assert_eq!(backups.len(), 1, "{backups:?}");
    assert_eq!(backups[0]["state"], "proven");
    until("the numbers say so too", async || {
        metric(&daemon, "pawang_backup_drill_passed")
            .await
            .as_deref()
            == Some("1")
    })
    .await;
    let proven = metric(&daemon, "pawang_backup_proven_timestamp_seconds").await;
    assert!(proven.is_some_and(|at| at.parse::<f64>().unwrap() > 1e9));
    assert!(metric(&daemon, "pawang_backup_rto_seconds").await.is_some());
    kept.good(&["check", "drill-age", "backup-age"]);
    let drawn = page(&daemon).await;
    assert!(drawn.contains("recovered to"), "{drawn}");

    // What fails is told as loudly.
    kept.configure(&kept.drills(OPEN, "drill_every = \"1 s\"", 77));
    kept.good(&["serve", "reload"]);
    until("a drill fails", async || {
        assert!(daemon.lives(), "{}", daemon.log());
        metric(&daemon, "pawang_backup_drill_passed")
            .await
            .as_deref()
            == Some("0")
    })
    .await;
    let judged = kept.desk.pawang(&["check", "drill-age"]);
    assert_eq!(judged.code, 1, "{judged:?}");
    assert!(judged.stdout.contains("expected"), "{judged:?}");
    let drawn = page(&daemon).await;
    assert!(drawn.contains("is not proven"), "{drawn}");
    assert!(!drawn.contains("<b>Proven</b>"), "{drawn}");
    daemon.signal("TERM");
    assert_eq!(daemon.ended().await, 0);
    // A drill that was under way is dropped, and its shell removes what it left behind the daemon's back.
    until("nothing is left of a drill", async || {
        let entries = fs::read_dir(kept.cluster.socket_directory()).unwrap();
        let mut names = entries.map(|entry| entry.unwrap().file_name());
        !names.any(|name| name.to_string_lossy().starts_with("pawang-drill"))
    })
    .await;
}

/// Returns the first part of a backup.
fn part(kept: &Kept, backup: &Value) -> PathBuf {
    let id = backup["id"].as_str().unwrap();
    let of_backup = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        path.parent().unwrap().ends_with(id) && name.starts_with("part-")
    };
    files(&kept.place()).into_iter().find(of_backup).unwrap()
}

/// Changes a bit as a disk does: nobody wrote the file.
fn flip(path: &Path) {
    let modified = fs::metadata(path).unwrap().modified().unwrap();
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_modified(modified).unwrap();
}

#[tokio::test]
async fn a_byte_that_rots_in_an_old_backup_is_found_without_being_asked() {
    let kept = Kept::new().await;
    // Without a window nobody takes backups, and what is there is read again at any time.
    kept.configure("[backup]\nverify_every = \"20 s\"\n");
    for _ in 0..2 {
        kept.good(&["backup", "create", "--type", "full"]);
    }
    let backups = kept.backups();
    let written = backups[0]["read_since"].clone();
    assert_eq!(written, backups[0]["ended_at"]);
    let daemon = Daemon::start(&kept.desk).await;
    until("the older one was read again", async || {
        assert!(daemon.lives(), "{}", daemon.log());
        kept.backups()[0]["read_since"] != written
    })
    .await;
    let found = kept.backups();
    assert_eq!(found[0]["state"], "hashed", "{found:?}");
    until("the numbers say that nothing rots", async || {
        metric(&daemon, "pawang_backup_rotten").await.as_deref() == Some("0")
    })
    .await;
    daemon.signal("TERM");
    assert_eq!(daemon.ended().await, 0);

    // The next daemon goes on with what was not read for longest: the other one.
    let newer = part(&kept, &backups[1]);
    flip(&newer);
    let daemon = Daemon::start(&kept.desk).await;
    until("what rots is found", async || {
        assert!(daemon.lives(), "{}", daemon.log());
        metric(&daemon, "pawang_backup_rotten").await.as_deref() == Some("1")
    })
    .await;
    let found = kept.backups();
    assert_eq!(found[1]["state"], "failed", "{found:?}");
    let name = newer.file_name().unwrap().to_str().unwrap();
    let judged = kept.desk.pawang(&["check", "verify-age"]);
    assert_eq!(judged.code, 1, "{judged:?}");
    for words in ["is not what was stored", name] {
        assert!(judged.stdout.contains(words), "{words}: {judged:?}");
    }
    until("the page says so", async || {
        let drawn = page(&daemon).await;
        drawn.contains("is not what was stored") && drawn.contains(name)
    })
    .await;
    daemon.signal("TERM");
    assert_eq!(daemon.ended().await, 0);
    // Nothing is built on it.
    kept.good(&["backup", "create", "--type", "incremental"]);
    let newest = kept.backups().pop().unwrap();
    assert_eq!(newest["parent"], backups[0]["id"], "{newest}");
}

#[tokio::test]
async fn a_byte_that_rots_in_stored_wal_is_found_without_being_asked() {
    let kept = Kept::new().await;
    kept.configure("[backup]\nverify_every = \"8 s\"\n");
    kept.good(&["backup", "create", "--type", "full"]);
    let of_wal = |path: &PathBuf| {
        let text = path.display().to_string();
        text.contains("/wal/00000001/") && text.ends_with(".zst")
    };
    let segment = files(&kept.place()).into_iter().find(of_wal).unwrap();
    let read = || {
        files(&kept.place())
            .iter()
            .any(|path| path.to_string_lossy().contains("/wal-read/"))
    };
    let daemon = Daemon::start(&kept.desk).await;
    until("WAL was read again", async || {
        assert!(daemon.lives(), "{}", daemon.log());
        read()
    })
    .await;
    assert_eq!(
        metric(&daemon, "pawang_backup_rotten").await.as_deref(),
        Some("0")
    );

    // What a whole look at the backup says of its bytes is not asked for here.
    let whole = fs::read(&segment).unwrap();
    flip(&segment);
    until("what rots is found", async || {
        assert!(daemon.lives(), "{}", daemon.log());
        metric(&daemon, "pawang_backup_rotten").await.as_deref() == Some("1")
    })
    .await;
    let name = segment.file_name().unwrap().to_str().unwrap();
    let name = name.trim_end_matches(".zst");
    let judged = kept.desk.pawang(&["check", "verify-age"]);
    assert_eq!(judged.code, 1, "{judged:?}");
    for words in ["is not what was stored", name] {
        assert!(judged.stdout.contains(words), "{words}: {judged:?}");
    }
    // Without it the data is not consistent.
    let broken = kept.backups()[0]["broken"].clone();
    assert!(broken.as_str().unwrap().contains("WAL from"), "{broken}");
    until("the page says so", async || {
        let drawn = page(&daemon).await;
        drawn.contains("is not what was stored") && drawn.contains(name)
    })
    .await;

    // Whoever brings it again has healed it.
    fs::write(&segment, whole).unwrap();
    assert!(kept.backups()[0]["broken"].is_null());
    daemon.signal("TERM");
    assert_eq!(daemon.ended().await, 0);
}
