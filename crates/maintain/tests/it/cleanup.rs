//! Files on the server's machine: only those that are known to be over.

use std::fs::File;
use std::time::Duration;

use pawang_config::Period;
use pawang_maintain::Area;

use crate::watch::{Watch, holds, patient};

const AREAS: &[Area] = &[Area::Cleanup];

/// Writes a file that seems to be forty days old.
fn old(path: &std::path::Path) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let file = File::create(path).unwrap();
    let metadata = file.metadata().unwrap();
    let then = metadata.modified().unwrap() - Duration::from_secs(40 * 86_400);
    file.set_modified(then).unwrap();
}

#[tokio::test]
async fn old_logs_and_files_of_dead_processes_go_and_nothing_else() {
    let settings = [
        ("logging_collector", "on"),
        ("log_filename", "postgresql-%Y-%m-%d.log"),
    ];
    let cluster = patient(None, &settings).await;
    let mut watch = Watch::start(&cluster).await;
    holds(&cluster, "pg_current_logfile() IS NOT NULL").await;
    let period = Some(Period(Duration::from_secs(30 * 86_400)));
    watch.policy.cleanup.logs_after = period;
    watch.policy.cleanup.logs_at_least = Some(1);
    watch.policy.cleanup.temporary_after = period;
    watch.healthy(AREAS).await;

    let data = cluster.data_directory();
    let log = data.join("log/postgresql-2001-01-01.log");
    // No kernel gives out a process number as high as this.
    let temporary = data.join("base/pgsql_tmp/pgsql_tmp999999999.0");
    let living = data.join(format!(
        "base/pgsql_tmp/pgsql_tmp{}.0",
        cluster.postmaster()
    ));
    for path in [&log, &temporary, &living, &data.join("log/notes.txt")] {
        old(path);
    }
    let mut expected = [log, temporary].map(|path| path.to_string_lossy().into_owned());
    expected.sort();
    let planned = watch.plan(AREAS).await;
    let mut found: Vec<String> = planned.proposals.iter().map(|p| p.task.object()).collect();
    found.sort();
    assert_eq!(found, expected, "{planned:#?}");
    for path in found {
        std::fs::remove_file(path).unwrap();
    }
    watch.healthy(AREAS).await;
}
