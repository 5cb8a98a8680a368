//! The cluster that is backed up, and the programs that do it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use pawang_testbed::{Cluster, Setup};

use crate::run;

pub(super) const DATABASE: &str = "bench";
/// Workers of everybody who has workers.
const WORKERS: u32 = 2;
const SETTINGS: [(&str, &str); 8] = [
    // Its work would be counted as that of the tools, and change pages between two backups.
    ("autovacuum", "off"),
    ("shared_buffers", "256MB"),
    ("max_wal_size", "8GB"),
    ("min_wal_size", "1GB"),
    ("checkpoint_timeout", "1h"),
    ("wal_compression", "on"),
    ("max_wal_senders", "10"),
    ("fsync", "on"),
];

/// A server with the tables of pgbench, and a folder for what is made of it.
pub(super) struct Stage {
    pub(super) cluster: Cluster,
    pub(super) folder: PathBuf,
    binary: PathBuf,
}

impl Stage {
    /// Starts a server with tables of about 16 MB times this scale; their pages have room for some changes.
    pub(super) async fn start(binary: &Path, scale: u32) -> Result<Stage, String> {
        Stage::start_with(binary, scale, &[]).await
    }

    /// Starts such a server with more settings.
    pub(super) async fn start_with(
        binary: &Path,
        scale: u32,
        more: &[(&str, &str)],
    ) -> Result<Stage, String> {
        let settings = [&SETTINGS[..], more].concat();
        let setup = Setup {
            settings: &settings,
            wal_segment_mb: Some(16),
            ..Setup::default()
        };
        let cluster = Cluster::start(&setup).await;
        let create = format!("CREATE DATABASE {DATABASE}");
        cluster.sql("postgres", &create).await;
        let folder = cluster.folder("bench");
        let stage = Stage {
            cluster,
            folder,
            binary: binary.to_owned(),
        };
        if scale > 0 {
            let scale = scale.to_string();
            let words = ["-i", "-q", "-F", "90", "-s", &scale, DATABASE];
            run::quiet(stage.client("pgbench").args(words))?;
        }
        stage.cluster.sql("postgres", "CHECKPOINT").await;
        Ok(stage)
    }

    /// Returns a client program of the server's own version that connects to it.
    pub(super) fn client(&self, name: &str) -> Command {
        let mut command = Command::new(self.cluster.bin_directory().join(name));
        command
            .args(["-U", "postgres", "-h"])
            .arg(self.cluster.socket_directory())
            .args(["-p", &self.cluster.port().to_string()]);
        command
    }

    /// Returns a place in the folder.
    pub(super) fn place(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Writes the configuration of Pawang with one repository, which is set up.
    pub(super) fn set_up(&self) -> Result<(), String> {
        let config = format!(
            "state_directory = \"state\"\n[[instance]]\nname = \"dwh-1\"\nurl = \"{}\"\ndatabases = [\"{DATABASE}\"]\n",
            self.cluster.url(DATABASE)
        );
        fs::write(self.place("pawang.toml"), config)
            .map_err(|error| format!("could not write into {:?}: {error}", self.folder))?;
        let repository = self.place("pawang").display().to_string();
        let words = [
            "backup",
            "setup",
            "--repo",
            &repository,
            "--no-backup",
            "-q",
        ];
        run::quiet(&mut self.pawang(&words)).map(drop)
    }

    /// Returns a command of Pawang in the folder of its configuration.
    pub(super) fn pawang(&self, words: &[&str]) -> Command {
        let mut command = run::command(&self.binary.to_string_lossy());
        command
            .args(words)
            .current_dir(&self.folder)
            .env("HOME", &self.folder);
        command
    }

    /// Returns the `archive_command` that stores WAL in the repository of Pawang.
    pub(super) fn archive_command(&self) -> String {
        format!(
            "{} wal push %p --repository {}",
            self.binary.display(),
            self.place("pawang").display()
        )
    }

    /// Makes a repository of pgBackRest that compresses as Pawang does.
    pub(super) fn set_up_pgbackrest(&self) -> Result<(), String> {
        let folder = self.folder.display();
        let config = format!(
            "[global]\nrepo1-path={folder}/pgbackrest\nlog-path={folder}\nlock-path={folder}/lock\nspool-path={folder}/spool\n\
             log-level-file=off\nlog-level-console=warn\ncompress-type=zst\ncompress-level=1\nprocess-max={WORKERS}\n\
             checksum-page=y\nstart-fast=y\narchive-check=n\nrepo1-retention-full=9\n\
             [main]\npg1-path={data}\npg1-port={port}\npg1-socket-path={socket}\npg1-user=postgres\n",
            data = self.cluster.data_directory().display(),
            port = self.cluster.port(),
            socket = self.cluster.socket_directory().display(),
        );
        fs::write(self.place("pgbackrest.conf"), config)
            .map_err(|error| format!("could not write into {:?}: {error}", self.folder))?;
        run::quiet(&mut self.pgbackrest(&["stanza-create"])).map(drop)
    }

    /// Returns a command of pgBackRest.
    pub(super) fn pgbackrest(&self, words: &[&str]) -> Command {
        let mut command = Command::new("pgbackrest");
        command
            .arg(format!(
                "--config={}",
                self.place("pgbackrest.conf").display()
            ))
            .arg("--stanza=main")
            .args(words)
            .current_dir(&self.folder);
        command
    }

    /// Writes what is dirty to the disk, so that nobody pays for what another one wrote.
    pub(super) fn settle(&self) -> Result<(), String> {
        run::quiet(&mut Command::new("sync")).map(drop)
    }

    /// Removes a folder that a contestant filled.
    pub(super) fn remove(&self, name: &str) -> Result<(), String> {
        let path = self.place(name);
        if !path.exists() {
            return Ok(());
        }
        fs::remove_dir_all(&path).map_err(|error| format!("could not remove {path:?}: {error}"))
    }

    /// Returns the megabytes in a folder.
    pub(super) fn megabytes(&self, name: &str) -> Result<f64, String> {
        megabytes(&self.place(name))
    }
}

/// Returns the megabytes of the files below a folder.
pub(super) fn megabytes(folder: &Path) -> Result<f64, String> {
    let told = run::quiet(Command::new("du").args(["-sb"]).arg(folder))?;
    let bytes = told
        .split_whitespace()
        .next()
        .and_then(|word| word.parse::<f64>().ok());
    Ok(bytes.ok_or("du told no number")? / 1e6)
}
