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

impl Drop for Staged {
    fn drop(&mut self) {
        // It belongs to whoever runs the tests, so the cluster's owner could not remove it.
        let _gone = fs::remove_dir_all(&self.0);
    }
}

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

    /// Puts the server's places on one disk, 254:0.
    fn mount_all(&self, cluster: &Cluster) {
        let data = cluster.data_directory().strip_prefix("/").unwrap();
        fs::create_dir_all(self.0.join(data).join("pg_wal")).unwrap();
        fs::create_dir_all(self.0.join("proc/self")).unwrap();
        let mount = "21 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n";
        self.write("proc/self/mountinfo", mount);
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

/// Sets a number in a pair of lines of names and numbers, such as those of `/proc/net/netstat`.
fn pair(staged: &Staged, file: &str, group: &str, names: &[(&str, u64)]) {
    let words = |word: fn(&(&str, u64)) -> String| names.iter().map(word).collect::<Vec<_>>();
    let (keys, numbers) = (words(|n| n.0.to_owned()), words(|n| n.1.to_string()));
    let text = format!(
        "{group} {}\n{group} {}\n",
        keys.join(" "),
        numbers.join(" ")
    );
    staged.write(file, &text);
}

#[tokio::test]
async fn paging_dirty_pages_and_swap_are_judged() {
    let cluster = Cluster::start(&Setup::default()).await;
    let staged = Staged::beside(&cluster);
    let mut watch = Watch::start(&cluster).await;
    watch.host.root = Some(staged.0.clone());

    let swapped = |into: u64, out: u64| {
        staged.write(
            "proc/vmstat",
            &format!("nr_dirty_threshold 100000\npswpin {into}\npswpout {out}\noom_kill 0\n"),
        );
    };
    swapped(50, 70);
    watch.verdict("swap-activity").await;
    watch.silent("swap-activity").await;
    swapped(5_000_050, 70);
    let finding = watch.found("swap-activity", Level::Critical, "").await;
    assert!(finding.title.contains("5000000 in, 0 out"), "{finding:?}");
    watch.silent("swap-activity").await;
    swapped(0, 0);
    let finding = watch.found("swap-activity", Level::Unknown, "").await;
    assert!(finding.title.contains("restarted"), "{finding:?}");

    for (dirty, writeback, level) in [
        (40_000, 0, Level::Ok),
        (200_000, 100_000, Level::Warning),
        (390_000, 9_000, Level::Critical),
        (0, 0, Level::Ok),
    ] {
        staged.set("proc/meminfo", "Dirty:", dirty);
        staged.set("proc/meminfo", "Writeback:", writeback);
        let verdict = watch.verdict("dirty-pages").await;
        assert_eq!(verdict.level, level, "{dirty} {writeback}: {verdict:#?}");
    }

    staged.set("proc/meminfo", "SwapTotal:", 0);
    let verdict = watch.verdict("swappiness").await;
    assert_eq!(verdict.outcome, Outcome::NotApplicable);
    staged.set("proc/meminfo", "SwapTotal:", 4_000_000);
    staged.write("proc/sys/vm/swappiness", "60\n");
    watch.found("swappiness", Level::Info, "").await;
    staged.write("proc/sys/vm/swappiness", "1\n");
    watch.silent("swappiness").await;
}

#[tokio::test]
async fn what_the_network_loses_is_judged() {
    let cluster = Cluster::start(&Setup::default()).await;
    let staged = Staged::beside(&cluster);
    let mut watch = Watch::start(&cluster).await;
    watch.host.root = Some(staged.0.clone());

    let card = |received: u64, errors: u64, drops: u64| {
        let line = |name: &str| {
            format!("{name}: 1000 {received} {errors} {drops} 0 0 0 0 1000 500 0 0 0 0 0 0\n")
        };
        let head = "Inter-|   Receive  |  Transmit\n face |bytes packets |bytes packets\n";
        staged.write(
            "proc/net/dev",
            &format!("{head}    lo{}  eth0{}", line(""), line("")),
        );
    };
    card(1_000, 0, 0);
    watch.verdict("network-errors").await;
    for (received, errors, drops, level) in [
        (101_000, 0, 0, Level::Ok),
        (201_000, 300, 200, Level::Warning),
        (301_000, 300, 5_200, Level::Critical),
        (301_100, 300, 5_290, Level::Ok),
    ] {
        card(received, errors, drops);
        let verdict = watch.verdict("network-errors").await;
        assert_eq!(verdict.level, level, "{received}: {verdict:#?}");
        assert_eq!(verdict.measures.len(), 1, "the loopback loses nothing");
        assert_eq!(verdict.measures[0].object, "eth0");
    }

    let tcp = |sent: u64, again: u64, overflows: u64| {
        let segments = [("OutSegs", sent), ("RetransSegs", again), ("CurrEstab", 3)];
        pair(&staged, "proc/net/snmp", "Tcp:", &segments);
        let queue = [("ListenOverflows", overflows), ("ListenDrops", overflows)];
        pair(&staged, "proc/net/netstat", "TcpExt:", &queue);
    };
    tcp(1_000, 10, 7);
    watch
        .look(&["listen-overflows", "tcp-retransmissions"])
        .await;
    tcp(11_000, 11, 7);
    watch.silent("listen-overflows").await;
    tcp(21_000, 511, 9);
    let evaluation = watch
        .look(&["listen-overflows", "tcp-retransmissions"])
        .await;
    for verdict in &evaluation.verdicts {
        assert_eq!(verdict.level, Level::Warning, "{verdict:#?}");
    }
    watch.silent("listen-overflows").await;
    watch.silent("tcp-retransmissions").await;
}

#[tokio::test]
async fn limits_of_processes_and_containers_are_judged() {
    let cluster = Cluster::start(&Setup::default()).await;
    let staged = Staged::beside(&cluster);
    let mut watch = Watch::start(&cluster).await;
    let pid = cluster.postmaster();
    watch.silent("open-files-limit").await;
    // The postmaster's file is looked for below the root as well.
    let data = staged
        .0
        .join(cluster.data_directory().strip_prefix("/").unwrap());
    fs::create_dir_all(&data).unwrap();
    fs::write(data.join("postmaster.pid"), format!("{pid}\n")).unwrap();
    watch.host.root = Some(staged.0.clone());

    let threads = |count: u64| staged.write("proc/loadavg", &format!("0.1 0.1 0.1 1/{count} 9\n"));
    staged.write("proc/sys/kernel/pid_max", "32768\n");
    staged.write("proc/sys/kernel/threads-max", "1000\n");
    for (count, level) in [
        (200, Level::Ok),
        (850, Level::Warning),
        (960, Level::Critical),
        (200, Level::Ok),
    ] {
        threads(count);
        let verdict = watch.verdict("process-limit").await;
        assert_eq!(verdict.level, level, "{verdict:#?}");
    }

    let own = format!("proc/{pid}");
    fs::create_dir_all(staged.0.join(&own)).unwrap();
    for file in ["stat", "status", "cmdline"] {
        let text = fs::read_to_string(Path::new("/").join(&own).join(file)).unwrap();
        staged.write(&format!("{own}/{file}"), &text);
    }
    for (limit, level) in [
        ("1024", Level::Ok),
        ("1000", Level::Warning),
        ("unlimited", Level::Ok),
    ] {
        let text = format!("Max open files            {limit}                 4096    files\n");
        staged.write(&format!("{own}/limits"), &text);
        let verdict = watch.verdict("open-files-limit").await;
        assert_eq!(verdict.level, level, "{limit}: {verdict:#?}");
    }

    staged.write(&format!("{own}/cgroup"), "0::/db.slice\n");
    container_limits(&mut watch, &staged).await;
}

/// Judges the control group of the postmaster against its limits.
async fn container_limits(watch: &mut Watch, staged: &Staged) {
    let group = "sys/fs/cgroup/db.slice";
    fs::create_dir_all(staged.0.join(group)).unwrap();
    let file = |name: &str, text: &str| staged.write(&format!("{group}/{name}"), text);
    file("memory.max", "max\n");
    file("cpu.max", "max 100000\n");
    for id in ["container-memory", "container-throttling"] {
        let verdict = watch.verdict(id).await;
        assert_eq!(verdict.outcome, Outcome::NotApplicable, "{verdict:#?}");
    }
    file("memory.max", "1000000000\n");
    file("memory.stat", "anon 1\ninactive_file 300000000\n");
    for (used, level) in [
        ("1000000000", Level::Ok),
        ("1170000000", Level::Warning),
        ("1260000000", Level::Critical),
        ("800000000", Level::Ok),
    ] {
        file("memory.current", used);
        let verdict = watch.verdict("container-memory").await;
        assert_eq!(verdict.level, level, "{used}: {verdict:#?}");
    }
    file("cpu.max", "200000 100000\n");
    let mut periods = (1_000, 10);
    for (more, throttled, level) in [
        (0, 0, Level::Unknown),
        (100, 0, Level::Ok),
        (100, 20, Level::Warning),
        (100, 80, Level::Critical),
        (10, 10, Level::Ok),
    ] {
        periods = (periods.0 + more, periods.1 + throttled);
        let text = format!("nr_periods {}\nnr_throttled {}\n", periods.0, periods.1);
        file("cpu.stat", &text);
        let verdict = watch.verdict("container-throttling").await;
        assert_eq!(verdict.level, level, "{more} {throttled}: {verdict:#?}");
    }
}

#[tokio::test]
async fn a_slow_disk_is_judged() {
    let cluster = Cluster::start(&Setup::default()).await;
    let staged = Staged::beside(&cluster);
    let mut watch = Watch::start(&cluster).await;
    watch.host.root = Some(staged.0.clone());
    staged.mount_all(&cluster);

    let ids = ["disk-busy", "disk-latency", "disk-queue"];
    let mut total = [0_u64; 11];
    let mut disk = |growth: [u64; 11]| {
        let mut line = String::from(" 254 0 vda");
        for (total, growth) in total.iter_mut().zip(growth) {
            *total += growth;
            line.push_str(&format!(" {total}"));
        }
        staged.write(
            "proc/diskstats",
            &format!("{line}\n   7 0 loop0 1 0 2 3 0 0 0 0 0 4 5\n"),
        );
    };
    disk([0; 11]);
    let evaluation = watch.look(&ids).await;
    for verdict in &evaluation.verdicts {
        assert_eq!(verdict.level, Level::Unknown, "{verdict:#?}");
    }
    // A thousand requests of 1 ms, then requests of 50 and 500 ms that keep the disk busy for longer than there was time.
    let fast = [500, 0, 4_000, 500, 500, 0, 4_000, 500, 0, 1, 1_000];
    let slow = [
        500, 0, 4_000, 25_000, 500, 0, 4_000, 250_000, 0, 600_000, 60_000_000,
    ];
    disk(fast);
    let evaluation = watch.look(&ids).await;
    let latency = |evaluation: &pawang_core::Evaluation| {
        let mut verdicts = evaluation.verdicts.iter();
        verdicts
            .find(|v| v.check == "disk-latency")
            .unwrap()
            .clone()
    };
    assert_eq!(latency(&evaluation).level, Level::Ok);
    disk(slow);
    let evaluation = watch.look(&ids).await;
    for verdict in &evaluation.verdicts {
        assert!(verdict.level >= Level::Warning, "{verdict:#?}");
        assert!(
            verdict.findings[0].object.starts_with("vda"),
            "{verdict:#?}"
        );
        assert_eq!(
            verdict.measures.len(),
            if verdict.check == "disk-latency" {
                2
            } else {
                1
            }
        );
    }
    let findings = latency(&evaluation).findings;
    assert!(
        findings
            .iter()
            .any(|f| f.object == "vda write" && f.level == Level::Critical)
    );
    assert!(
        findings
            .iter()
            .any(|f| f.object == "vda read" && f.level == Level::Warning)
    );
    disk([0; 11]);
    for verdict in &watch.look(&ids).await.verdicts {
        assert_eq!(verdict.level, Level::Ok, "{verdict:#?}");
    }
}
