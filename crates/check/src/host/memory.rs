//! Memory, swap, and processes killed for want of it.

use pawang_core::{ByteSize, Level, Missing, Unit};

use super::{HOST, Since, number};
use crate::{Check, Direction, Floor, Observation, View};

/// Server processes that a finding names.
const NAMED_MAX: usize = 5;

pub(super) const MEMORY_AVAILABLE: Check = Check {
    id: "memory-available",
    title: "memory available",
    needs: &["host-memory", "host-paths"],
    direction: Direction::Below,
    warning: Some(10.0),
    critical: Some(5.0),
    what: "MemAvailable as a share of MemTotal (/proc/meminfo): what processes can still take without swapping, page cache included. \
           \"free\" memory is small on every healthy machine and says nothing.",
    why: "When it is used up, Linux swaps or kills a process; a killed backend makes the whole server restart.",
    fix: "Lower work_mem x max_connections x hash_mem_multiplier, maintenance_work_mem x autovacuum_max_workers, or shared_buffers; \
          set vm.overcommit_memory = 2 so that an allocation fails instead.",
    observe: available,
    ..HOST
};

pub(super) const SWAP_USED: Check = Check {
    id: "swap-used",
    title: "swap used",
    needs: &["host-memory", "host-paths"],
    warning: Some(25.0),
    critical: Some(75.0),
    floors: &[Floor {
        name: "used-bytes",
        value: 268_435_456.0,
        unit: Unit::Bytes,
        ignores: "less swap than this",
    }],
    what: "Used share of the swap space (/proc/meminfo). Some used swap is normal: see swap-activity for pages on the move.",
    why: "Swapped memory of a backend comes back one page at a time, in the middle of a query.",
    fix: "Find who is swapped: grep VmSwap /proc/*/status | sort -k2 -n | tail; lower memory settings; vm.swappiness = 1.",
    observe: swap_used,
    ..HOST
};

pub(super) const SWAP_ACTIVITY: Check = Check {
    id: "swap-activity",
    title: "pages swapped in and out",
    needs: &["host-paging", "host-paths"],
    unit: Unit::PerSecond,
    warning: Some(100.0),
    critical: Some(2_000.0),
    what: "Pages swapped in plus out per second since the last run (pswpin and pswpout of /proc/vmstat).",
    why: "A server that swaps is slower by orders of magnitude and its locks are held as long.",
    fix: "Free memory now: end the largest queries; then lower work_mem and shared_buffers or add memory.",
    observe: swap_activity,
    ..HOST
};

pub(super) const PRESSURE_MEMORY: Check = Check {
    id: "pressure-memory",
    title: "tasks that waited for memory",
    needs: &["host-pressure", "host-paths"],
    warning: Some(10.0),
    critical: Some(40.0),
    what: "Share of the last minute in which at least one task waited for memory: reclaim, swap-in, refaults (\"some avg60\" of /proc/pressure/memory).",
    why: "It rises before anything is killed, also where the page cache hides the shortage.",
    fix: "Lower memory settings or add memory; see memory-available and swap-activity.",
    observe: |view| super::cpu::pressure(view, "memory"),
    ..HOST
};

pub(super) const OOM_KILLS: Check = Check {
    id: "oom-kills",
    title: "processes killed for want of memory",
    needs: &["host-paging", "host-paths"],
    unit: Unit::Count,
    critical: Some(1.0),
    what: "Processes that the kernel killed since the last run because memory ran out (oom_kill of /proc/vmstat).",
    why: "If it was a backend, the postmaster ended all sessions and recovered; if it was the postmaster, the server is down.",
    fix: "See who was killed: dmesg -T | grep -i 'killed process'. Set vm.overcommit_memory = 2 with a fitting vm.overcommit_ratio, \
          OOMScoreAdjust=-900 for the service, and lower work_mem.",
    observe: oom_kills,
    ..HOST
};

pub(super) const CONTAINER_MEMORY: Check = Check {
    id: "container-memory",
    title: "memory of the container against its limit",
    needs: &["host-cgroup", "host-paths"],
    warning: Some(85.0),
    critical: Some(95.0),
    what: "Memory of the server's control group without inactive page cache (as Kubernetes counts it) as a share of memory.max.",
    why: "At the limit the kernel kills a process of the group, although the machine has memory.",
    fix: "Raise the limit of the container or service, or lower shared_buffers and work_mem to fit.",
    observe: container,
    ..HOST
};

pub(super) const BACKEND_MEMORY: Check = Check {
    id: "backend-memory",
    title: "private memory of one process",
    needs: &["host-process", "host-memory", "host-paths"],
    warning: Some(20.0),
    critical: Some(40.0),
    floors: &[Floor {
        name: "bytes",
        value: 1_073_741_824.0,
        unit: Unit::Bytes,
        ignores: "processes with less private memory",
    }],
    what: "Private memory (RssAnon of /proc/PID/status, shared buffers not counted) of the largest process of the server as a share of the machine's memory.",
    why: "One runaway query or a session with a huge cache can bring the whole machine down.",
    fix: "Look at it: SELECT * FROM pg_stat_activity WHERE pid = PID; cancel it with SELECT pg_cancel_backend(PID); \
          log its contexts with SELECT pg_log_backend_memory_contexts(PID);",
    observe: backend_memory,
    ..HOST
};

pub(super) const SERVER_SWAPPED: Check = Check {
    id: "server-swapped",
    title: "memory of the server in swap",
    needs: &["host-process", "host-paths"],
    unit: Unit::Bytes,
    warning: Some(268_435_456.0),
    critical: Some(4_294_967_296.0),
    what: "Memory of all processes of the server that is in swap space (VmSwap of /proc/PID/status).",
    why: "Shared buffers in swap make a cache hit slower than reading the table.",
    fix: "Give the memory back: lower other programs' memory or shared_buffers; use huge_pages = on, which are never swapped; vm.swappiness = 1.",
    observe: server_swapped,
    ..HOST
};

pub(super) const DIRTY_PAGES: Check = Check {
    id: "dirty-pages",
    title: "pages waiting to be written",
    needs: &["host-memory", "host-paging", "host-paths"],
    warning: Some(70.0),
    critical: Some(95.0),
    what: "Dirty pages and pages under writeback as a share of the limit at which the kernel makes writers wait \
           (Dirty and Writeback of /proc/meminfo, nr_dirty_threshold of /proc/vmstat).",
    why: "At the limit every writing process stands still until the disk has caught up: commits and checkpoints stall for seconds.",
    fix: "Start writing earlier: sysctl vm.dirty_background_bytes=67108864 vm.dirty_bytes=536870912; see checkpoint_flush_after and backend_flush_after.",
    observe: dirty,
    ..HOST
};

pub(super) const HUGE_PAGES: Check = Check {
    id: "huge-pages",
    title: "shared buffers without huge pages",
    needs: &["host-memory", "host-paths", "settings"],
    unit: Unit::State,
    floors: &[Floor {
        name: "shared-buffers-bytes",
        value: 8_589_934_592.0,
        unit: Unit::Bytes,
        ignores: "smaller shared_buffers",
    }],
    what: "Whether a server with large shared_buffers and huge_pages = try or on runs on a machine that has no huge pages reserved (/proc/meminfo).",
    why: "Each backend then has page tables of its own for all of shared_buffers: gigabytes with hundreds of sessions, and slower access.",
    fix: "Reserve them: postgres -C shared_memory_size_in_huge_pages -D DATA_DIRECTORY says how many (PostgreSQL 15); sysctl vm.nr_hugepages=N; restart.",
    observe: huge_pages,
    ..HOST
};

fn available(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let row = view.row("host-memory")?;
    let (available, total) = (number(row, "available_bytes")?, number(row, "total_bytes")?);
    let share = available / total.max(1.0) * 100.0;
    Ok(vec![Observation {
        value: share,
        title: format!(
            "{} of {} memory are available ({share:.0} %)",
            ByteSize(available as u64),
            ByteSize(total as u64)
        ),
        evidence: row.evidence(&[
            "total_bytes",
            "available_bytes",
            "cached_bytes",
            "shared_bytes",
            "anonymous_bytes",
            "page_tables_bytes",
        ]),
        ..Observation::default()
    }])
}

fn swap_used(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let row = view.row("host-memory")?;
    let total = number(row, "swap_total_bytes")?;
    if total <= 0.0 {
        return Err(Missing::NotApplicable("the machine has no swap".to_owned()));
    }
    let used = total - number(row, "swap_free_bytes")?;
    let share = used / total * 100.0;
    Ok(vec![Observation {
        value: share,
        level: (used < view.floor("used-bytes")).then_some(Level::Ok),
        title: format!(
            "{} of {} swap are used",
            ByteSize(used as u64),
            ByteSize(total as u64)
        ),
        evidence: row.evidence(&["swap_total_bytes", "swap_free_bytes", "swap_cached_bytes"]),
        ..Observation::default()
    }])
}

fn swap_activity(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let since = Since::of(view, "host-paging")?;
    let (into, out) = (
        since.growth("pages_swapped_in")?,
        since.growth("pages_swapped_out")?,
    );
    let rate = (into + out) / since.seconds;
    Ok(vec![Observation {
        value: rate,
        title: format!("{rate:.0} pages per second were swapped ({into:.0} in, {out:.0} out)"),
        evidence: since
            .row
            .evidence(&["pages_swapped_in", "pages_swapped_out", "major_faults"]),
        ..Observation::default()
    }])
}

fn oom_kills(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let since = Since::of(view, "host-paging")?;
    let kills = since.growth("oom_kills")?;
    Ok(vec![Observation {
        value: kills,
        title: format!(
            "{kills:.0} processes were killed for want of memory in the last {}",
            Unit::Seconds.show(since.seconds)
        ),
        evidence: since.row.evidence(&["oom_kills"]),
        ..Observation::default()
    }])
}

fn container(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let row = view.row("host-cgroup")?;
    let Some(limit) = row.float("memory_max_bytes") else {
        return Err(Missing::NotApplicable(
            "the server has no memory limit".to_owned(),
        ));
    };
    let used = number(row, "memory_bytes")? - row.float("inactive_file_bytes").unwrap_or(0.0);
    let share = used / limit.max(1.0) * 100.0;
    Ok(vec![Observation {
        object: row.text("path").unwrap_or_default().to_owned(),
        value: share,
        title: format!(
            "the server uses {} of its limit of {}",
            ByteSize(used.max(0.0) as u64),
            ByteSize(limit as u64)
        ),
        evidence: row.evidence(&[
            "memory_max_bytes",
            "memory_bytes",
            "inactive_file_bytes",
            "oom_kills",
        ]),
        ..Observation::default()
    }])
}

fn backend_memory(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let total = number(view.row("host-memory")?, "total_bytes")?.max(1.0);
    let mut processes: Vec<_> = view
        .snapshot("host-process")?
        .rows()
        .filter_map(|row| Some((row.float("anonymous_bytes")?, row)))
        .collect();
    processes.sort_by(|a, b| b.0.total_cmp(&a.0));
    let observation = |(bytes, row): &(f64, pawang_core::Row<'_>)| {
        let pid = row.int("pid").unwrap_or_default();
        let title = row.text("title").unwrap_or_default();
        let cancel = format!("SELECT pg_cancel_backend({pid});");
        Observation {
            object: format!("pid {pid}"),
            value: bytes / total * 100.0,
            level: (*bytes < view.floor("bytes")).then_some(Level::Ok),
            title: format!(
                "process {pid} ({title}) has {} of private memory",
                ByteSize(*bytes as u64)
            ),
            evidence: row.evidence(&[
                "title",
                "state",
                "resident_bytes",
                "anonymous_bytes",
                "swap_bytes",
            ]),
            remedy: Some(cancel),
            ..Observation::default()
        }
    };
    Ok(processes.iter().take(NAMED_MAX).map(observation).collect())
}

fn server_swapped(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let rows = view.snapshot("host-process")?.rows();
    let processes = rows.len();
    let swapped: f64 = rows.filter_map(|row| row.float("swap_bytes")).sum();
    Ok(vec![Observation {
        value: swapped,
        title: format!(
            "{} of the memory of {processes} server processes are in swap",
            ByteSize(swapped as u64)
        ),
        ..Observation::default()
    }])
}

fn dirty(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let memory = view.row("host-memory")?;
    let waiting = number(memory, "dirty_bytes")? + number(memory, "writeback_bytes")?;
    let limit = number(view.row("host-paging")?, "dirty_limit_pages")?;
    // /proc/vmstat counts pages of 4 kB on every machine whose page size PostgreSQL's packages support by default.
    let limit = limit * 4_096.0;
    let share = waiting / limit.max(1.0) * 100.0;
    Ok(vec![Observation {
        value: share,
        title: format!(
            "{} wait to be written, writers are stopped at {}",
            ByteSize(waiting as u64),
            ByteSize(limit as u64)
        ),
        evidence: memory.evidence(&["dirty_bytes", "writeback_bytes"]),
        ..Observation::default()
    }])
}

fn huge_pages(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let setting = view.setting("huge_pages")?.unwrap_or("try");
    if setting == "off" {
        return Err(Missing::NotApplicable("huge_pages is off".to_owned()));
    }
    let blocks: f64 = view
        .setting("shared_buffers")?
        .and_then(|blocks| blocks.parse().ok())
        .unwrap_or(0.0);
    let block: f64 = view
        .setting("block_size")?
        .and_then(|size| size.parse().ok())
        .unwrap_or(8_192.0);
    let buffers = blocks * block;
    let row = view.row("host-memory")?;
    let reserved = number(row, "huge_pages")?;
    let missing = reserved == 0.0 && buffers >= view.floor("shared-buffers-bytes");
    Ok(vec![Observation {
        value: f64::from(u8::from(missing)),
        level: Some(if missing { Level::Warning } else { Level::Ok }),
        title: format!(
            "shared_buffers of {} are in ordinary pages: the machine has no huge pages reserved",
            ByteSize(buffers as u64)
        ),
        evidence: row.evidence(&[
            "huge_pages",
            "huge_pages_free",
            "huge_page_bytes",
            "page_tables_bytes",
        ]),
        ..Observation::default()
    }])
}
