//! Settings and limits of the kernel, the clock, and the data directory's permissions.

use pawang_core::{Level, Missing, Unit};

use super::{HOST, number};
use crate::{Check, Floor, Observation, View};

/// Files that a backend has open beside those that max_files_per_process counts.
const RESERVED_FILES: f64 = 10.0;

pub(super) const OVERCOMMIT_MEMORY: Check = Check {
    id: "overcommit-memory",
    title: "memory overcommit of the kernel",
    needs: &["host-kernel", "host-memory", "host-paths"],
    unit: Unit::State,
    floors: &[Floor {
        name: "memory-bytes",
        value: 8_589_934_592.0,
        unit: Unit::Bytes,
        ignores: "machines with less memory",
    }],
    what: "vm.overcommit_memory: 1 promises memory without end, 0 guesses, 2 (PostgreSQL's advice) refuses what cannot be given.",
    why: "With 1, and at times with 0, the kernel kills the process that uses the memory last: often a backend, and with it all sessions.",
    fix: "sysctl -w vm.overcommit_memory=2 vm.overcommit_ratio=90, on a machine that is for the database alone; write it to /etc/sysctl.d/30-postgresql.conf.",
    observe: overcommit,
    ..HOST
};

pub(super) const TRANSPARENT_HUGE_PAGES: Check = Check {
    id: "transparent-huge-pages",
    title: "transparent huge pages",
    needs: &["host-kernel", "host-paths"],
    unit: Unit::State,
    what: "/sys/kernel/mm/transparent_hugepage/enabled: \"always\" gives every process huge pages unasked, \"madvise\" and \"never\" do not.",
    why: "Building and splitting huge pages in the background stalls backends for milliseconds and makes small allocations large.",
    fix: "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled, and transparent_hugepage=madvise on the kernel's command line.",
    observe: transparent_huge_pages,
    ..HOST
};

pub(super) const SWAPPINESS: Check = Check {
    id: "swappiness",
    title: "eagerness to swap",
    needs: &["host-kernel", "host-memory", "host-paths"],
    unit: Unit::Count,
    what: "vm.swappiness on a machine that has swap: how readily the kernel swaps processes out to keep its page cache.",
    why: "At the default of 60 a nightly backup or scan pushes idle backends and parts of shared_buffers out.",
    fix: "sysctl -w vm.swappiness=1, and write it to /etc/sysctl.d/30-postgresql.conf.",
    observe: swappiness,
    ..HOST
};

pub(super) const FILE_HANDLES: Check = Check {
    id: "file-handles",
    title: "file handles of the machine",
    needs: &["host-kernel", "host-paths"],
    warning: Some(80.0),
    critical: Some(95.0),
    what: "Open file handles of all processes as a share of fs.file-max (/proc/sys/fs/file-nr).",
    why: "At the limit nothing on the machine can open a file: queries fail with \"too many open files in system\".",
    fix: "sysctl -w fs.file-max=N; lower max_files_per_process.",
    observe: file_handles,
    ..HOST
};

pub(super) const OPEN_FILES_LIMIT: Check = Check {
    id: "open-files-limit",
    title: "limit of open files of the server",
    needs: &["host-process", "host-paths", "settings"],
    unit: Unit::Count,
    what: "The soft limit of open files that the postmaster runs under (/proc/PID/limits) against max_files_per_process.",
    why: "With a lower limit backends close and reopen files all the time, and extensions that open files of their own fail with \"too many open files\".",
    fix: "LimitNOFILE=65536 in the unit of the service (systemctl edit postgresql@15-main), then restart; or lower max_files_per_process.",
    observe: open_files_limit,
    ..HOST
};

pub(super) const PROCESS_LIMIT: Check = Check {
    id: "process-limit",
    title: "threads against the kernel's limit",
    needs: &["host-kernel", "host-load", "host-paths"],
    warning: Some(80.0),
    critical: Some(95.0),
    what: "Threads of all processes as a share of the smaller of kernel.pid_max and kernel.threads-max.",
    why: "At the limit the postmaster cannot fork: new connections fail with \"could not fork new process\".",
    fix: "sysctl -w kernel.pid_max=4194304; find who has so many: ps -eo user --no-headers | sort | uniq -c | sort -n.",
    observe: process_limit,
    ..HOST
};

pub(super) const CLOCK_SKEW: Check = Check {
    id: "clock-skew",
    title: "difference of the clocks",
    needs: &["host-clock"],
    unit: Unit::Seconds,
    warning: Some(5.0),
    critical: Some(60.0),
    what: "Difference between clock_timestamp() on the server and the clock of the machine that Pawang runs on, less the time of the question. \
           Nearly always zero when both are the same machine.",
    why: "Time lag of standbys, point-in-time recovery, certificates, password expiry and all monitoring go by the clock.",
    fix: "timedatectl on both machines; start chrony or systemd-timesyncd.",
    observe: clock_skew,
    ..HOST
};

pub(super) const DATA_DIRECTORY_PERMISSIONS: Check = Check {
    id: "data-directory-permissions",
    title: "permissions of the data directory",
    needs: &["host-directory", "host-paths"],
    unit: Unit::State,
    what: "Mode and owner of the data directory: it must be 0700 or 0750 and belong to the user that the postmaster runs as.",
    why: "Whoever may read it reads all data past every privilege; with a wrong mode or owner the server does not start again.",
    fix: "chmod 0700 DATA_DIRECTORY; chown postgres: DATA_DIRECTORY.",
    observe: permissions,
    ..HOST
};

fn overcommit(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let row = view.row("host-kernel")?;
    let mode = number(row, "overcommit_memory")?;
    let total = number(view.row("host-memory")?, "total_bytes")?;
    let level = match mode {
        _ if total < view.floor("memory-bytes") => Level::Ok,
        1.0 => Level::Warning,
        0.0 => Level::Info,
        _ => Level::Ok,
    };
    Ok(vec![Observation {
        value: mode,
        level: Some(level),
        title: format!(
            "vm.overcommit_memory is {mode:.0}, 2 keeps the kernel from killing backends"
        ),
        evidence: row.evidence(&["overcommit_memory", "overcommit_ratio"]),
        ..Observation::default()
    }])
}

fn transparent_huge_pages(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let row = view.row("host-kernel")?;
    let Some(mode) = row.text("transparent_huge_pages") else {
        return Err(Missing::NotApplicable(
            "this kernel has no transparent huge pages".to_owned(),
        ));
    };
    let always = mode == "always";
    Ok(vec![Observation {
        value: f64::from(u8::from(always)),
        level: Some(if always { Level::Warning } else { Level::Ok }),
        title: format!("transparent huge pages are \"{mode}\""),
        evidence: row.evidence(&["transparent_huge_pages", "transparent_huge_pages_defrag"]),
        ..Observation::default()
    }])
}

fn swappiness(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let row = view.row("host-kernel")?;
    let swappiness = number(row, "swappiness")?;
    if number(view.row("host-memory")?, "swap_total_bytes")? <= 0.0 {
        return Err(Missing::NotApplicable("the machine has no swap".to_owned()));
    }
    let level = if swappiness > 10.0 {
        Level::Info
    } else {
        Level::Ok
    };
    Ok(vec![Observation {
        value: swappiness,
        level: Some(level),
        title: format!("vm.swappiness is {swappiness:.0}, a database wants 1 to 10"),
        ..Observation::default()
    }])
}

fn file_handles(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let row = view.row("host-kernel")?;
    let (open, limit) = (number(row, "open_files")?, number(row, "open_files_max")?);
    let share = open / limit.max(1.0) * 100.0;
    Ok(vec![Observation {
        value: share,
        title: format!("{open:.0} of {limit:.0} file handles of the machine are open"),
        evidence: row.evidence(&["open_files", "open_files_max"]),
        ..Observation::default()
    }])
}

fn open_files_limit(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let wanted: f64 = view
        .setting("max_files_per_process")?
        .and_then(|files| files.parse().ok())
        .unwrap_or(1_000.0);
    let mut rows = view.snapshot("host-process")?.rows();
    let Some(row) = rows.find(|row| row.flag("postmaster") == Some(true)) else {
        return Err(Missing::NotApplicable("no postmaster was seen".to_owned()));
    };
    // "unlimited" reads as NULL.
    let limit = row.float("open_files_max").unwrap_or(f64::MAX);
    let low = limit < wanted + RESERVED_FILES;
    Ok(vec![Observation {
        value: limit,
        level: Some(if low { Level::Warning } else { Level::Ok }),
        title: format!(
            "the server may open {limit:.0} files and max_files_per_process is {wanted:.0}"
        ),
        evidence: row.evidence(&["pid", "open_files", "open_files_max"]),
        ..Observation::default()
    }])
}

fn process_limit(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let row = view.row("host-kernel")?;
    let limit = number(row, "pid_max")?.min(number(row, "threads_max")?);
    let threads = number(view.row("host-load")?, "threads")?;
    let share = threads / limit.max(1.0) * 100.0;
    Ok(vec![Observation {
        value: share,
        title: format!("{threads:.0} of {limit:.0} threads of the machine are taken"),
        evidence: row.evidence(&["pid_max", "threads_max"]),
        ..Observation::default()
    }])
}

fn clock_skew(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let snapshot = view.snapshot("host-clock")?;
    let row = view.row("host-clock")?;
    let Some(theirs) = row.time("server_time") else {
        return Err(Missing::NotApplicable("the server told no time".to_owned()));
    };
    let between = snapshot.at.duration_since(theirs).as_secs_f64();
    // The answer was made somewhere between question and arrival.
    let elapsed = snapshot.cost.elapsed.as_secs_f64();
    let skew = (between.abs() - elapsed).max(0.0);
    let side = if between > 0.0 { "behind" } else { "ahead of" };
    Ok(vec![Observation {
        value: skew,
        title: format!("the server's clock is {skew:.1} s {side} ours"),
        evidence: vec![
            ("server".to_owned(), theirs.to_string()),
            ("pawang".to_owned(), snapshot.at.to_string()),
        ],
        ..Observation::default()
    }])
}

fn permissions(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let row = view.row("host-directory")?;
    let path = row.text("path").unwrap_or_default();
    let mode = row.text("mode").unwrap_or_default();
    let owner = row.text("owner").unwrap_or_default();
    let open = !matches!(mode, "0700" | "0750");
    let runner = row.text("postmaster_user").unwrap_or(owner);
    let foreign = runner != owner;
    let title = if foreign {
        format!("\"{path}\" belongs to \"{owner}\" and the server runs as \"{runner}\"")
    } else {
        format!("\"{path}\" has mode {mode}, the server starts only with 0700 or 0750")
    };
    let remedy = if foreign {
        format!("chown -R '{runner}': '{path}'")
    } else {
        format!("chmod 0700 '{path}'")
    };
    Ok(vec![Observation {
        object: path.to_owned(),
        value: f64::from(u8::from(open || foreign)),
        level: Some(if open || foreign {
            Level::Critical
        } else {
            Level::Ok
        }),
        title,
        evidence: row.evidence(&["mode", "owner", "postmaster_user"]),
        remedy: Some(remedy),
        ..Observation::default()
    }])
}
