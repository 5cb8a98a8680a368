//! What the kernel counts: CPU, load, memory, pressure, paging, network, and its settings.

use pawang_core::{Missing, Value};

use super::{Fields, Host, Rows, text};

/// Milliseconds per clock tick of `/proc/stat`: Linux shows 100 ticks per second on every machine that PostgreSQL runs on.
const TICK_MS: i64 = 10;
const CPU_COLUMNS: [&str; 10] = [
    "user_ms",
    "nice_ms",
    "system_ms",
    "idle_ms",
    "iowait_ms",
    "irq_ms",
    "softirq_ms",
    "steal_ms",
    "guest_ms",
    "guest_nice_ms",
];
/// Column to key of `/proc/meminfo`; sizes there are in kB.
const MEMORY_COLUMNS: [(&str, &str); 20] = [
    ("total_bytes", "MemTotal"),
    ("free_bytes", "MemFree"),
    ("available_bytes", "MemAvailable"),
    ("buffers_bytes", "Buffers"),
    ("cached_bytes", "Cached"),
    ("swap_total_bytes", "SwapTotal"),
    ("swap_free_bytes", "SwapFree"),
    ("swap_cached_bytes", "SwapCached"),
    ("dirty_bytes", "Dirty"),
    ("writeback_bytes", "Writeback"),
    ("anonymous_bytes", "AnonPages"),
    ("mapped_bytes", "Mapped"),
    ("shared_bytes", "Shmem"),
    ("slab_bytes", "Slab"),
    ("slab_unreclaimable_bytes", "SUnreclaim"),
    ("page_tables_bytes", "PageTables"),
    ("commit_limit_bytes", "CommitLimit"),
    ("committed_bytes", "Committed_AS"),
    ("anonymous_huge_bytes", "AnonHugePages"),
    ("huge_page_bytes", "Hugepagesize"),
];
const HUGE_COLUMNS: [(&str, &str); 3] = [
    ("huge_pages", "HugePages_Total"),
    ("huge_pages_free", "HugePages_Free"),
    ("huge_pages_reserved", "HugePages_Rsvd"),
];
const PAGING_COLUMNS: [(&str, &str); 8] = [
    ("oom_kills", "oom_kill"),
    ("pages_swapped_in", "pswpin"),
    ("pages_swapped_out", "pswpout"),
    ("major_faults", "pgmajfault"),
    ("page_steals", "pgsteal_direct"),
    ("compaction_stalls", "compact_stall"),
    ("dirty_background_pages", "nr_dirty_background_threshold"),
    ("dirty_limit_pages", "nr_dirty_threshold"),
];
/// Column to file; all hold one number.
const SETTINGS: [(&str, &str); 14] = [
    ("overcommit_memory", "/proc/sys/vm/overcommit_memory"),
    ("overcommit_ratio", "/proc/sys/vm/overcommit_ratio"),
    ("swappiness", "/proc/sys/vm/swappiness"),
    ("dirty_ratio", "/proc/sys/vm/dirty_ratio"),
    ("dirty_bytes", "/proc/sys/vm/dirty_bytes"),
    (
        "dirty_background_ratio",
        "/proc/sys/vm/dirty_background_ratio",
    ),
    (
        "dirty_background_bytes",
        "/proc/sys/vm/dirty_background_bytes",
    ),
    ("zone_reclaim_mode", "/proc/sys/vm/zone_reclaim_mode"),
    ("huge_pages", "/proc/sys/vm/nr_hugepages"),
    ("pid_max", "/proc/sys/kernel/pid_max"),
    ("threads_max", "/proc/sys/kernel/threads-max"),
    ("somaxconn", "/proc/sys/net/core/somaxconn"),
    ("shmmax_bytes", "/proc/sys/kernel/shmmax"),
    ("autogroup", "/proc/sys/kernel/sched_autogroup_enabled"),
];

/// One row: CPU time of the whole machine since it was started.
pub(super) fn cpu(host: &Host<'_>) -> Rows {
    let stat = host.read("/proc/stat")?;
    let mut row = Fields::new();
    let mut cores = 0;
    for line in stat.lines() {
        let mut words = line.split_ascii_whitespace();
        let name = words.next().unwrap_or_default();
        let mut number = || words.next().and_then(|word| word.parse::<i64>().ok());
        match name {
            "cpu" => {
                for column in CPU_COLUMNS {
                    let ticks = number();
                    row.insert(
                        column,
                        integer(ticks.map(|ticks| ticks.saturating_mul(TICK_MS))),
                    );
                }
            }
            "ctxt" => drop(row.insert("context_switches", integer(number()))),
            "processes" => drop(row.insert("forks", integer(number()))),
            "procs_running" => drop(row.insert("running", integer(number()))),
            "procs_blocked" => drop(row.insert("blocked", integer(number()))),
            _ if name.starts_with("cpu") => cores += 1,
            _ => {}
        }
    }
    row.insert("cores", Value::Int(cores));
    Ok(vec![row])
}

/// One row: the load averages and the cores that share the load.
pub(super) fn load(host: &Host<'_>) -> Rows {
    let averages = host.read("/proc/loadavg")?;
    let mut words = averages.split_ascii_whitespace();
    let mut row = Fields::new();
    for column in ["load_1_min", "load_5_min", "load_15_min"] {
        let value = words.next().and_then(|word| word.parse().ok());
        row.insert(column, value.map_or(Value::Null, Value::Float));
    }
    let (running, total) = words.next().and_then(|word| word.split_once('/')).unzip();
    row.insert("running", parse(running));
    row.insert("threads", parse(total));
    let stat = host.read("/proc/stat")?;
    let is_core = |line: &&str| {
        line.strip_prefix("cpu")
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    let cores = stat.lines().filter(is_core).count();
    row.insert("cores", super::whole(cores as u64));
    Ok(vec![row])
}

/// One row: where the memory is.
pub(super) fn memory(host: &Host<'_>) -> Rows {
    let file = host.read("/proc/meminfo")?;
    let find = |key: &str| {
        let line = file
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
        line.split_ascii_whitespace().next()?.parse::<i64>().ok()
    };
    let sizes = MEMORY_COLUMNS.map(|(column, key)| {
        let bytes = find(key).and_then(|kilobytes| kilobytes.checked_mul(1024));
        (column, integer(bytes))
    });
    let pages = HUGE_COLUMNS.map(|(column, key)| (column, integer(find(key))));
    Ok(vec![sizes.into_iter().chain(pages).collect()])
}

/// One row per resource: how much of the time somebody, or everybody, waited for it.
pub(super) fn pressure(host: &Host<'_>) -> Rows {
    let mut rows = Vec::new();
    for resource in ["cpu", "memory", "io"] {
        let file = host.read(&format!("/proc/pressure/{resource}"))?;
        let mut row = Fields::from([("resource", text(resource))]);
        for line in file.lines() {
            let columns = match line.split_once(' ') {
                Some(("some", _)) => ["some_10_s", "some_60_s", "some_300_s", "some_us"],
                Some(("full", _)) => ["full_10_s", "full_60_s", "full_300_s", "full_us"],
                _ => continue,
            };
            for (column, word) in columns.iter().zip(line.split(' ').skip(1)) {
                let value = word.split_once('=').map(|(_, value)| value);
                let value = if column.ends_with("_us") {
                    parse(value)
                } else {
                    value
                        .and_then(|value| value.parse().ok())
                        .map_or(Value::Null, Value::Float)
                };
                row.insert(column, value);
            }
        }
        rows.push(row);
    }
    Ok(rows)
}

/// One row: swapping, faults and processes killed for want of memory since the machine was started.
pub(super) fn paging(host: &Host<'_>) -> Rows {
    let file = host.read("/proc/vmstat")?;
    let find = |key: &str| {
        let line = file.lines().find(|line| {
            line.strip_prefix(key)
                .is_some_and(|rest| rest.starts_with(' '))
        })?;
        line.split_once(' ')?.1.trim().parse().ok()
    };
    Ok(vec![
        PAGING_COLUMNS
            .map(|(column, key)| (column, integer(find(key))))
            .into(),
    ])
}

/// One row: the kernel's settings that matter to a database.
pub(super) fn settings(host: &Host<'_>) -> Rows {
    let mut row: Fields = SETTINGS
        .map(|(column, path)| (column, integer(host.number(path))))
        .into();
    if row.values().all(|value| *value == Value::Null) {
        return Err(Missing::NotApplicable(
            "this kernel has no /proc/sys".to_owned(),
        ));
    }
    for (column, file) in [
        ("transparent_huge_pages", "enabled"),
        ("transparent_huge_pages_defrag", "defrag"),
    ] {
        let path = format!("/sys/kernel/mm/transparent_hugepage/{file}");
        let chosen = host.read(&path).ok().and_then(|choices| {
            let (_, rest) = choices.split_once('[')?;
            Some(rest.split_once(']')?.0.to_owned())
        });
        row.insert(column, chosen.map_or(Value::Null, text));
    }
    if let Ok(files) = host.read("/proc/sys/fs/file-nr") {
        let mut words = files.split_ascii_whitespace();
        row.insert("open_files", parse(words.next()));
        row.insert("open_files_max", parse(words.nth(1)));
    }
    Ok(vec![row])
}

/// One row per network interface except the loopback.
pub(super) fn network(host: &Host<'_>) -> Rows {
    const COLUMNS: [&str; 16] = [
        "received_bytes",
        "received_packets",
        "receive_errors",
        "receive_drops",
        "receive_fifo_errors",
        "receive_frame_errors",
        "",
        "",
        "sent_bytes",
        "sent_packets",
        "send_errors",
        "send_drops",
        "send_fifo_errors",
        "collisions",
        "carrier_errors",
        "",
    ];
    let file = host.read("/proc/net/dev")?;
    let rows = file.lines().filter_map(|line| {
        let (name, numbers) = line.split_once(':')?;
        let name = name.trim();
        if name == "lo" {
            return None;
        }
        let numbers = numbers.split_ascii_whitespace().map(Some).map(parse);
        let mut row: Fields = COLUMNS.into_iter().zip(numbers).collect();
        row.remove("");
        row.insert("interface", text(name));
        Some(row)
    });
    Ok(rows.collect())
}

/// One row: what TCP lost, on all interfaces together.
pub(super) fn tcp(host: &Host<'_>) -> Rows {
    let snmp = host.read("/proc/net/snmp")?;
    let netstat = host.read("/proc/net/netstat")?;
    let row = Fields::from([
        ("segments_sent", paired(&snmp, "Tcp:", "OutSegs")),
        ("segments_resent", paired(&snmp, "Tcp:", "RetransSegs")),
        ("connections", paired(&snmp, "Tcp:", "CurrEstab")),
        (
            "listen_overflows",
            paired(&netstat, "TcpExt:", "ListenOverflows"),
        ),
        ("listen_drops", paired(&netstat, "TcpExt:", "ListenDrops")),
    ]);
    Ok(vec![row])
}

/// Finds a number in the kernel's pairs of a line of names and a line of numbers.
fn paired(file: &str, group: &str, name: &str) -> Value {
    let mut lines = file.lines().filter_map(|line| line.strip_prefix(group));
    let (Some(names), Some(numbers)) = (lines.next(), lines.next()) else {
        return Value::Null;
    };
    let found = names
        .split_ascii_whitespace()
        .zip(numbers.split_ascii_whitespace())
        .find(|(candidate, _)| *candidate == name);
    parse(found.map(|(_, number)| number))
}

fn parse(word: Option<&str>) -> Value {
    integer(word.and_then(|word| word.parse().ok()))
}

fn integer(number: Option<i64>) -> Value {
    number.map_or(Value::Null, Value::Int)
}
