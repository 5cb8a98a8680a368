//! The other tools, as a monitoring system runs them: one process per question.

use std::path::Path;
use std::process::Command;

use pawang_testbed::Cluster;

use super::database::DATABASE;

const CHECK_POSTGRES: &str = "/usr/bin/check_postgres";
const CHECK_PGACTIVITY: &str = "/usr/lib/nagios/plugins/check_pgactivity";

/// Actions that apply to a primary without further components; sizes get limits that nothing reaches.
const ACTIONS: [&str; 35] = [
    "archive_ready",
    "autovac_freeze",
    "backends",
    "bloat",
    "checkpoint --warning=86400 --critical=172800 --datadir=@DATA@",
    "cluster_id --critical=1 --datadir=@DATA@",
    "commitratio",
    "connection",
    "database_size --warning=1TB --critical=2TB",
    "dbstats",
    "disabled_triggers",
    "disk_space",
    "hitratio",
    "index_size --warning=1TB --critical=2TB",
    "indexes_size --warning=1TB --critical=2TB",
    "last_analyze",
    "last_autoanalyze",
    "last_autovacuum",
    "last_vacuum",
    "locks",
    "prepared_txns",
    "query_runtime --queryname=pg_stat_activity --warning=10 --critical=20",
    "query_time --warning=60s --critical=120s",
    "relation_size --warning=1TB --critical=2TB",
    "replication_slots --warning=1TB",
    "sequence",
    "settings_checksum --critical=00000000000000000000000000000000",
    "table_size --warning=1TB --critical=2TB",
    "timesync",
    "total_relation_size --warning=1TB --critical=2TB",
    "txn_idle --warning=60s --critical=120s",
    "txn_time --warning=60s --critical=120s",
    "txn_wraparound",
    "version --warning=15.0",
    "wal_files",
];

/// Services that apply to a primary without further components.
const SERVICES: [&str; 36] = [
    "archiver -w 100 -c 200",
    "autovacuum",
    "backends -w 80% -c 90%",
    "backends_status",
    "bgwriter",
    "btree_bloat -w 80% -c 90%",
    "checksum_errors",
    "commit_ratio",
    "configuration",
    "connection",
    "custom_query --query 'SELECT 1' -w 10 -c 20",
    "database_size -w 1TB -c 2TB",
    "extensions_versions",
    "hit_ratio -w 80% -c 60%",
    "invalid_indexes",
    "is_master",
    "last_analyze -w 10d -c 20d",
    "last_vacuum -w 10d -c 20d",
    "locks -w 50% -c 90%",
    "longest_query -w 1h -c 2h",
    "max_freeze_age",
    "minor_version -w 15.0",
    "oldest_2pc -w 1h -c 2h",
    "oldest_idlexact -w 1h -c 2h",
    "oldest_xmin -w 1000000 -c 2000000",
    "pga_version -w 2.6",
    "pgdata_permission",
    "replication_slots",
    "sequences_exhausted -w 50% -c 80%",
    "session_stats",
    "settings",
    "table_bloat -w 80% -c 90%",
    "table_unlogged -w 1 -c 2",
    "temp_files -w 100 -c 200",
    "uptime",
    "wal_files",
];

/// One of the other tools with all its questions.
pub(super) struct Tool {
    /// Its name, for people.
    pub(super) name: &'static str,
    /// What it calls a question.
    pub(super) noun: &'static str,
    program: &'static str,
    questions: &'static [&'static str],
}

pub(super) const TOOLS: [Tool; 2] = [
    Tool {
        name: "check_postgres",
        noun: "actions",
        program: CHECK_POSTGRES,
        questions: &ACTIONS,
    },
    Tool {
        name: "check_pgactivity",
        noun: "services",
        program: CHECK_PGACTIVITY,
        questions: &SERVICES,
    },
];

impl Tool {
    pub(super) fn installed(&self) -> bool {
        Path::new(self.program).is_file()
    }

    /// Returns one command per question; `folder` is where the tool may keep its state.
    pub(super) fn commands(&self, cluster: &Cluster, folder: &Path) -> Vec<Command> {
        let commands = self.questions.iter().map(|question| {
            let data = cluster.data_directory().to_string_lossy();
            let question = question.replace("@DATA@", &data);
            let mut command = Command::new(self.program);
            let host = cluster.socket_directory().to_string_lossy().into_owned();
            let port = cluster.port().to_string();
            if self.program == CHECK_POSTGRES {
                command
                    .arg(format!("--host={host}"))
                    .arg(format!("--port={port}"))
                    .args(["--dbuser=postgres", &format!("--dbname={DATABASE}")])
                    .arg(format!(
                        "--action={}",
                        question.split(' ').next().unwrap_or_default()
                    ))
                    .args(question.split(' ').skip(1));
            } else {
                command
                    .args(["-h", &host, "-p", &port, "-U", "postgres", "-d", DATABASE])
                    .args([
                        "--status-file",
                        &folder.join("pgactivity").to_string_lossy(),
                    ])
                    .arg("-s")
                    .args(words(&question));
            }
            command.env("HOME", folder).current_dir(folder);
            command
        });
        commands.collect()
    }
}

/// Splits at blanks, except between single quotes.
fn words(line: &str) -> Vec<String> {
    let pieces = line.split('\'').enumerate();
    pieces
        .flat_map(|(index, piece)| match index % 2 {
            0 => piece.split_whitespace().map(str::to_owned).collect(),
            _ => vec![piece.to_owned()],
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn quotes_keep_blanks() {
        assert_eq!(
            words("a --query 'SELECT 1' -w 1"),
            ["a", "--query", "SELECT 1", "-w", "1"]
        );
    }
}
