//! CPU, load, and time that was taken away.

use pawang_core::{Blind, Missing, Unit};

use super::{HOST, Since, number};
use crate::{Check, Floor, Observation, View};

/// Everything that makes up the time of a CPU; guest time is contained in user time.
const TIMES: [&str; 8] = [
    "user_ms",
    "nice_ms",
    "system_ms",
    "idle_ms",
    "iowait_ms",
    "irq_ms",
    "softirq_ms",
    "steal_ms",
];

pub(super) const CPU_USAGE: Check = Check {
    id: "cpu-usage",
    title: "CPU used",
    needs: &["host-cpu", "host-paths"],
    warning: Some(80.0),
    critical: Some(95.0),
    what: "Share of the CPU time of all cores since the last run that was neither idle nor waiting for I/O nor stolen (/proc/stat). \
           Unlike a load average it is bounded and does not count waiting processes.",
    why: "Above 80 % the next burst has no reserve: queries queue for a core and every latency grows.",
    fix: "Find the statements: pawang check statements, or SELECT pid, query FROM pg_stat_activity WHERE state = 'active'; \
          spread batch jobs, limit max_parallel_workers, add cores.",
    observe: |view| {
        share(
            view,
            &["user_ms", "nice_ms", "system_ms", "irq_ms", "softirq_ms"],
            "was used",
        )
    },
    ..HOST
};

pub(super) const CPU_IOWAIT: Check = Check {
    id: "cpu-iowait",
    title: "CPU idle because of I/O",
    needs: &["host-cpu", "host-paths"],
    warning: Some(30.0),
    critical: None,
    what: "Share of the CPU time since the last run in which a core had nothing to do but wait for disk requests that it had issued (/proc/stat). \
           It is idle time: low values prove nothing on a machine that has other work.",
    why: "It shows a server whose disks, not its cores, set the pace.",
    fix: "See disk-latency and disk-busy; raise shared_buffers or memory if the working set does not fit.",
    observe: |view| share(view, &["iowait_ms"], "was spent waiting for I/O"),
    ..HOST
};

pub(super) const CPU_STEAL: Check = Check {
    id: "cpu-steal",
    title: "CPU time stolen by the hypervisor",
    needs: &["host-cpu", "host-paths"],
    warning: Some(10.0),
    critical: Some(25.0),
    what: "Share of the CPU time since the last run in which a virtual core was ready to run and the hypervisor ran somebody else (/proc/stat).",
    why: "The server is slower than its own numbers show, in bursts that nothing inside the machine explains.",
    fix: "Move the machine, or use a size with dedicated cores; cloud burst credits may be used up.",
    observe: |view| share(view, &["steal_ms"], "was taken by the hypervisor"),
    ..HOST
};

pub(super) const LOAD: Check = Check {
    id: "load",
    title: "load average per core",
    needs: &["host-load", "host-paths"],
    unit: Unit::Ratio,
    warning: Some(1.5),
    critical: Some(4.0),
    floors: &[Floor {
        name: "load",
        value: 4.0,
        unit: Unit::Count,
        ignores: "load averages below this, on machines with few cores",
    }],
    what: "Load average of five minutes divided by the number of cores (/proc/loadavg). Linux also counts tasks that wait for disks.",
    why: "More runnable tasks than cores means that each of them waits for its turn.",
    fix: "Limit concurrency where it enters: a pooler with few server connections, max_parallel_workers_per_gather, fewer batch jobs at once.",
    observe: load,
    ..HOST
};

pub(super) const PRESSURE_CPU: Check = Check {
    id: "pressure-cpu",
    title: "tasks that waited for a core",
    needs: &["host-pressure", "host-paths"],
    warning: Some(50.0),
    critical: Some(90.0),
    what: "Share of the last minute in which at least one task was ready to run and had no core (\"some avg60\" of /proc/pressure/cpu).",
    why: "It measures waiting itself: a machine may be fully used without anybody waiting.",
    fix: "Limit concurrency, or add cores; see cpu-usage for what uses them.",
    observe: |view| pressure(view, "cpu"),
    ..HOST
};

pub(super) const CONTAINER_THROTTLING: Check = Check {
    id: "container-throttling",
    title: "container held back by its CPU limit",
    needs: &["host-cgroup", "host-paths"],
    warning: Some(10.0),
    critical: Some(50.0),
    floors: &[Floor {
        name: "periods",
        value: 50.0,
        unit: Unit::Count,
        ignores: "intervals with fewer scheduling periods",
    }],
    what: "Share of the scheduling periods since the last run in which the control group of the server had used up its CPU quota (cpu.stat).",
    why: "A throttled backend stands still with its locks and its transaction open, although the machine has idle cores.",
    fix: "Raise the CPU limit of the container or service (systemctl set-property postgresql@15-main CPUQuota=...), or lower parallelism.",
    observe: throttling,
    ..HOST
};

fn share(view: &View<'_>, columns: &[&str], words: &str) -> Result<Vec<Observation>, Missing> {
    let since = Since::of(view, "host-cpu")?;
    let mut total = 0.0;
    let mut evidence = Vec::new();
    for column in TIMES {
        let growth = since.growth(column)?;
        total += growth;
        evidence.push((column.to_owned(), format!("{growth:.0}")));
    }
    if total <= 0.0 {
        return Err(Blind::FirstSample.into());
    }
    let mut part = 0.0;
    for column in columns {
        part += since.growth(column)?;
    }
    let share = part / total * 100.0;
    let cores = number(since.row, "cores")?;
    Ok(vec![Observation {
        value: share,
        title: format!(
            "{share:.0} % of the time of {cores:.0} cores {words} in the last {}",
            Unit::Seconds.show(since.seconds)
        ),
        evidence,
        ..Observation::default()
    }])
}

fn load(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let row = view.row("host-load")?;
    let load = number(row, "load_5_min")?;
    let cores = number(row, "cores")?.max(1.0);
    let quiet = load < view.floor("load");
    Ok(vec![Observation {
        value: load / cores,
        level: quiet.then_some(pawang_core::Level::Ok),
        title: format!("the load average is {load:.1} on {cores:.0} cores"),
        evidence: row.evidence(&[
            "load_1_min",
            "load_5_min",
            "load_15_min",
            "running",
            "threads",
        ]),
        ..Observation::default()
    }])
}

/// Judges how much of the last minute somebody waited for a resource.
pub(super) fn pressure(view: &View<'_>, resource: &str) -> Result<Vec<Observation>, Missing> {
    let mut rows = view.snapshot("host-pressure")?.rows();
    let Some(row) = rows.find(|row| row.text("resource") == Some(resource)) else {
        return Err(Missing::NotApplicable(format!(
            "this kernel has no /proc/pressure/{resource}"
        )));
    };
    let share = number(row, "some_60_s")?;
    Ok(vec![Observation {
        value: share,
        title: format!("tasks waited for {resource} in {share:.0} % of the last minute"),
        evidence: row.evidence(&["some_10_s", "some_60_s", "some_300_s", "full_60_s"]),
        ..Observation::default()
    }])
}

fn throttling(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let row = view.row("host-cgroup")?;
    let Some(cores) = row.float("cpu_max_cores") else {
        return Err(Missing::NotApplicable(
            "the server has no CPU limit".to_owned(),
        ));
    };
    let since = Since::of(view, "host-cgroup")?;
    let periods = since.growth("periods")?;
    let throttled = since.growth("throttled_periods")?;
    let share = throttled / periods.max(1.0) * 100.0;
    Ok(vec![Observation {
        object: row.text("path").unwrap_or_default().to_owned(),
        value: share,
        level: (periods < view.floor("periods")).then_some(pawang_core::Level::Ok),
        title: format!(
            "the server was held back by its limit of {cores:.1} cores in {share:.0} % of the periods"
        ),
        evidence: since
            .row
            .evidence(&["cpu_max_cores", "periods", "throttled_periods"]),
        ..Observation::default()
    }])
}
