//! Faults of the machine: real file systems and directories, and the kernel's own files with one number changed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use pawang_core::{Level, Outcome};
use pawang_testbed::{Cluster, Setup};

use crate::watch::Watch;

/// The kernel's files that host collectors read, copied so that a fault can be staged in them.
const FILES: [&str; 18] = [
    "proc/stat",
    "proc/loadavg",
    "proc/meminfo",
    "proc/vmstat",
    "proc/pressure/cpu",
    "proc/pressure/memory",
    "proc/pressure/io",
    "proc/diskstats",
    "proc/net/dev",
    "proc/net/snmp",
    "proc/net/netstat",
    "proc/sys/vm/overcommit_memory",
    "proc/sys/vm/swappiness",
    "proc/sys/fs/file-nr",
    "proc/sys/kernel/pid_max",
    "proc/sys/kernel/threads-max",
    "proc/sys/vm/overcommit_ratio",
    "sys/kernel/mm/transparent_hugepage/enabled",
];

/// A root directory with copies of the kernel's files, below the cluster's own directory, so that it goes with it.
struct Staged(PathBuf);

impl Staged {
    fn beside(cluster: &Cluster) -> Staged {
        let root = cluster.socket_directory().join("root");
        for file in FILES {
            let path = root.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let text = fs::read_to_string(Path::new("/").join(file)).unwrap_or_default();
            fs::write(&path, text).unwrap();
        }
        Staged(root)
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.0.join(file), text).unwrap();
    }

    /// Replaces the number behind a key of a table such as `/proc/meminfo`.
    fn set(&self, file: &str, key: &str, number: u64) {
        let path = self.0.join(file);
        let text = fs::read_to_string(&path).unwrap();
        let change = |line: &str| match line.split_once(|c: char| c.is_whitespace()) {
            Some((name, _)) if name == key => format!("{key} {number} kB\n"),
            _ => format!("{line}\n"),
        };
        let mut changed: String = text.lines().map(change).collect();
        if file.ends_with("vmstat") {
            changed = changed.replace(" kB", "");
        }
        fs::write(path, changed).unwrap();
    }
}

#[tokio::test]
async fn the_real_machine_is_seen_whole() {
    let cluster = Cluster::start(&Setup::default()).await;
    let mut watch = Watch::start(&cluster).await;
    for id in [
        "inodes",
        "disk-read-only",
        "clock-skew",
        "file-handles",
        "backend-memory",
    ] {
        watch.silent(id).await;
    }
    let verdict = watch.verdict("disk-space").await;
    assert_eq!(verdict.outcome, Outcome::Judged);
    assert!(verdict.measures[0].value > 0.0, "{verdict:?}");
    let verdict = watch.verdict("wal-disk").await;
    assert_eq!(verdict.outcome, Outcome::NotApplicable, "{verdict:?}");
}

#[tokio::test]
async fn a_data_directory_that_everybody_may_enter_is_found() {
    let cluster = Cluster::start(&Setup::default()).await;
    let mut watch = Watch::start(&cluster).await;
    watch.silent("data-directory-permissions").await;
    let data = cluster.data_directory();
    fs::set_permissions(data, fs::Permissions::from_mode(0o755)).unwrap();
    let finding = watch
        .found("data-directory-permissions", Level::Critical, "data")
        .await;
    assert!(finding.remedy.contains("chmod 0700"), "{finding:?}");
    fs::set_permissions(data, fs::Permissions::from_mode(0o700)).unwrap();
    watch.silent("data-directory-permissions").await;
}

#[tokio::test]
async fn rates_and_levels_of_the_kernel_are_judged() {
    let cluster = Cluster::start(&Setup::default()).await;
    let staged = Staged::beside(&cluster);
    let mut watch = Watch::start(&cluster).await;
    watch.host.root = Some(staged.0.clone());

    let cpu = |busy: u64, steal: u64, idle: u64| {
        let text = format!("cpu  {busy} 0 0 {idle} 0 0 0 {steal} 0 0\ncpu0 1 0 0 1 0 0 0 0 0 0\n");
        staged.write("proc/stat", &text);
    };
    cpu(1_000, 0, 1_000);
    let verdict = watch.verdict("cpu-usage").await;
    assert_eq!(verdict.level, Level::Unknown, "the first sample is no rate");
    cpu(1_010, 0, 1_990);
    watch.silent("cpu-usage").await;
    cpu(1_860, 0, 2_140);
    watch.found("cpu-usage", Level::Warning, "").await;
    cpu(1_870, 300, 2_840);
    watch.found("cpu-steal", Level::Critical, "").await;

    staged.write("proc/loadavg", "9.00 8.00 7.00 3/200 1");
    watch.found("load", Level::Critical, "").await;
    staged.write("proc/loadavg", "0.10 0.10 0.10 1/200 1");
    watch.silent("load").await;

    staged.set("proc/meminfo", "MemTotal:", 16_000_000);
    staged.set("proc/meminfo", "MemAvailable:", 8_000_000);
    watch.silent("memory-available").await;
    staged.set("proc/meminfo", "MemAvailable:", 1_000_000);
    watch.found("memory-available", Level::Warning, "").await;
    staged.set("proc/meminfo", "SwapTotal:", 4_000_000);
    staged.set("proc/meminfo", "SwapFree:", 500_000);
    watch.found("swap-used", Level::Critical, "").await;

    staged.set("proc/vmstat", "oom_kill", 3);
    watch.verdict("oom-kills").await;
    watch.silent("oom-kills").await;
    staged.set("proc/vmstat", "oom_kill", 4);
    watch.found("oom-kills", Level::Critical, "").await;
    watch.silent("oom-kills").await;

    let pressure = |share: &str| {
        let text = format!(
            "some avg10={share} avg60={share} avg300={share} total=5\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"
        );
        for resource in ["cpu", "memory", "io"] {
            staged.write(&format!("proc/pressure/{resource}"), &text);
        }
    };
    pressure("1.50");
    for id in ["pressure-cpu", "pressure-memory", "pressure-io"] {
        watch.silent(id).await;
    }
    pressure("62.10");
    watch.found("pressure-cpu", Level::Warning, "").await;
    watch.found("pressure-memory", Level::Critical, "").await;
    watch.found("pressure-io", Level::Warning, "").await;

    let thp = "sys/kernel/mm/transparent_hugepage/enabled";
    staged.write(thp, "always [madvise] never\n");
    watch.silent("transparent-huge-pages").await;
    staged.write(thp, "[always] madvise never\n");
    watch
        .found("transparent-huge-pages", Level::Warning, "")
        .await;
    staged.write("proc/sys/vm/overcommit_memory", "2\n");
    watch.silent("overcommit-memory").await;
    staged.write("proc/sys/vm/overcommit_memory", "1\n");
    watch.found("overcommit-memory", Level::Warning, "").await;
    staged.write("proc/sys/fs/file-nr", "900 0 1000\n");
    watch.found("file-handles", Level::Warning, "").await;
}

#[tokio::test]
async fn a_machine_that_is_elsewhere_is_unknown() {
    let mut watch = Watch::over("postgresql://postgres@127.0.0.1:1/postgres?connect_timeout=1");
    watch.found("memory-available", Level::Unknown, "").await;
}
