//! Streaming standbys by an online copy, because packages without client tools have no pg_basebackup.

use std::fs;
use std::path::Path;

use tokio_postgres::Client;

use crate::cluster::Cluster;
use crate::until::until;
use crate::{owner, session};

/// What a copy of a running server must not keep of its identity as a process.
const NOT_COPIED: [&str; 3] = ["postmaster.pid", "postmaster.opts", "standby.signal"];
/// Its slots would hold WAL for ever, and the WAL itself is streamed from the start of the backup.
const EMPTIED: [&str; 3] = ["pg_wal", "pg_replslot", "pg_dynshmem"];
/// How often a copy is tried in which a file was replaced.
const COPIES_MAX: u32 = 3;

impl Cluster {
    /// Starts a standby of this server and waits until it streams; `application_name` is what this server calls it.
    ///
    /// The standby gets this server's settings. Tablespaces outside the data directory are not supported.
    pub async fn standby(&self, application_name: &str) -> Cluster {
        // The slot lives as long as this session, which is until the standby streams: no WAL that it needs can be recycled.
        let (mut standby, _session) = self.copied_online().await;
        owner::write(&standby.data_directory().join("standby.signal"), "");
        let conninfo = format!(
            "host={} port={} user=postgres application_name='{}'",
            self.socket_directory().display(),
            self.port(),
            application_name.replace('\\', r"\\").replace('\'', r"\'")
        );
        standby.configure(&[("primary_conninfo", &conninfo)]);
        standby.start_again().await;
        self.streaming_to(application_name).await;
        standby
    }

    /// Copies this running server as a backup does, without WAL; the session holds a slot for it.
    pub(crate) async fn copied_online(&self) -> (Cluster, Client) {
        let session = self.connect("postgres").await;
        let query = async |sql: &str| {
            session::rows(&session, sql)
                .await
                .unwrap_or_else(|error| panic!("{}\n{sql}", session::explain(&error)))
        };
        let old = self.version().0 < 15;
        query("SELECT pg_create_physical_replication_slot('testbed_' || pg_backend_pid(), true, true)").await;
        query(if old {
            "SELECT pg_start_backup('testbed', true, false)"
        } else {
            "SELECT pg_backup_start('testbed', true)"
        })
        .await;
        let copied = Cluster::prepare(self.installation, self.tcp);
        copy(self.data_directory(), copied.data_directory());
        let label = query(if old {
            "SELECT labelfile FROM pg_stop_backup(false, false)"
        } else {
            "SELECT labelfile FROM pg_backup_stop(false)"
        })
        .await;
        let label = label
            .into_iter()
            .flatten()
            .next()
            .flatten()
            .expect("the backup has a label");
        owner::write(&copied.data_directory().join("backup_label"), &label);
        (copied, session)
    }

    /// Waits until a standby of this name streams from this server.
    pub async fn streaming_to(&self, application_name: &str) {
        let sql = format!(
            "SELECT FROM pg_stat_replication WHERE state = 'streaming' AND application_name = '{}'",
            application_name.replace('\'', "''")
        );
        until("the standby streams", async || {
            !self.sql("postgres", &sql).await.is_empty()
        })
        .await;
    }
}

fn copy(from: &Path, to: &Path) {
    for attempt in 1.. {
        let mut command = owner::command("cp");
        command
            .args(["-a", "--reflink=auto", "--"])
            .args([from, to]);
        let output = owner::output(&mut command);
        // Files come and go in a running server; recovery from the backup's start makes up for those that went, but
        // not for those that cp skips because they were replaced while it read them.
        let said = String::from_utf8_lossy(&output.stderr);
        if said
            .lines()
            .all(|line| line.ends_with("No such file or directory"))
        {
            break;
        }
        assert!(
            attempt < COPIES_MAX,
            "could not copy the data directory: {said}"
        );
        fs::remove_dir_all(to).expect("an incomplete copy can be removed");
    }
    for name in NOT_COPIED {
        let _absent = fs::remove_file(to.join(name));
    }
    for name in EMPTIED {
        let mut remove = owner::command("find");
        let directory = to.join(name);
        owner::run(remove.arg(directory).args(["-mindepth", "1", "-delete"]));
    }
}
