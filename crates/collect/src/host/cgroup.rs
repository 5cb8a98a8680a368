//! Limits of the container or service that the server runs in, from control groups of version 2 and 1.

use std::collections::BTreeMap;

use pawang_core::{Missing, Value};

use super::{Fields, Host, Rows, text};

/// Version 1 says "no limit" as a number near the largest one.
const NO_LIMIT: i64 = 1 << 60;

/// One row: memory and CPU against the limits, or "not applicable" when there are none.
pub(super) fn limits(host: &Host<'_>) -> Rows {
    let pid = host.postmaster().map(|pid| pid.to_string());
    let pid = pid.as_deref().unwrap_or("self");
    let groups = host.read(&format!("/proc/{pid}/cgroup"))?;
    let mut paths: BTreeMap<&str, &str> = BTreeMap::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, path) = (parts.next(), parts.next(), parts.next());
        for controller in controllers.unwrap_or_default().split(',') {
            paths.insert(controller, path.unwrap_or("/"));
        }
    }
    let unified = paths.get("").copied().unwrap_or("/");
    let row = version_2(host, unified).or_else(|| version_1(host, &paths));
    match row {
        Some(row) => Ok(vec![row]),
        None => Err(Missing::NotApplicable(
            "the server runs in no control group with limits".to_owned(),
        )),
    }
}

fn version_2(host: &Host<'_>, path: &str) -> Option<Fields> {
    let file = |name: &str| {
        let inside = host.read(&format!("/sys/fs/cgroup{path}/{name}"));
        // In a container with a namespace of its own the group is the root of what is seen.
        inside
            .or_else(|_| host.read(&format!("/sys/fs/cgroup/{name}")))
            .ok()
    };
    let number = |name: &str| file(name).and_then(|text| text.trim().parse::<i64>().ok());
    let memory_max = number("memory.max");
    let cpu = file("cpu.max").and_then(|text| {
        let (quota, period) = text.trim().split_once(' ')?;
        Some(quota.parse::<f64>().ok()? / period.parse::<f64>().ok()?)
    });
    if memory_max.is_none() && cpu.is_none() {
        return None;
    }
    let memory = file("memory.stat").unwrap_or_default();
    let cpu_stat = file("cpu.stat").unwrap_or_default();
    let events = file("memory.events").unwrap_or_default();
    Some(Fields::from([
        ("path", text(path)),
        ("version", Value::Int(2)),
        ("memory_max_bytes", integer(memory_max)),
        ("memory_bytes", integer(number("memory.current"))),
        (
            "inactive_file_bytes",
            integer(keyed(&memory, "inactive_file")),
        ),
        ("oom_kills", integer(keyed(&events, "oom_kill"))),
        ("cpu_max_cores", cpu.map_or(Value::Null, Value::Float)),
        ("periods", integer(keyed(&cpu_stat, "nr_periods"))),
        (
            "throttled_periods",
            integer(keyed(&cpu_stat, "nr_throttled")),
        ),
        ("throttled_us", integer(keyed(&cpu_stat, "throttled_usec"))),
    ]))
}

fn version_1(host: &Host<'_>, paths: &BTreeMap<&str, &str>) -> Option<Fields> {
    let file = |controller: &str, name: &str| {
        let path = paths.get(controller)?;
        let inside = host.read(&format!("/sys/fs/cgroup/{controller}{path}/{name}"));
        inside
            .or_else(|_| host.read(&format!("/sys/fs/cgroup/{controller}/{name}")))
            .ok()
    };
    let number = |controller: &str, name: &str| {
        file(controller, name).and_then(|text| text.trim().parse::<i64>().ok())
    };
    let memory_max = number("memory", "memory.limit_in_bytes").filter(|limit| *limit < NO_LIMIT);
    let quota = number("cpu", "cpu.cfs_quota_us").filter(|quota| *quota > 0);
    let period = number("cpu", "cpu.cfs_period_us").filter(|period| *period > 0);
    let cpu = quota
        .zip(period)
        .map(|(quota, period)| quota as f64 / period as f64);
    if memory_max.is_none() && cpu.is_none() {
        return None;
    }
    let memory = file("memory", "memory.stat").unwrap_or_default();
    let cpu_stat = file("cpu", "cpu.stat").unwrap_or_default();
    let events = file("memory", "memory.oom_control").unwrap_or_default();
    Some(Fields::from([
        ("path", text(*paths.get("memory").unwrap_or(&"/"))),
        ("version", Value::Int(1)),
        ("memory_max_bytes", integer(memory_max)),
        (
            "memory_bytes",
            integer(number("memory", "memory.usage_in_bytes")),
        ),
        (
            "inactive_file_bytes",
            integer(keyed(&memory, "total_inactive_file")),
        ),
        ("oom_kills", integer(keyed(&events, "oom_kill"))),
        ("cpu_max_cores", cpu.map_or(Value::Null, Value::Float)),
        ("periods", integer(keyed(&cpu_stat, "nr_periods"))),
        (
            "throttled_periods",
            integer(keyed(&cpu_stat, "nr_throttled")),
        ),
        (
            "throttled_us",
            integer(keyed(&cpu_stat, "throttled_time").map(|ns| ns / 1_000)),
        ),
    ]))
}

fn keyed(file: &str, key: &str) -> Option<i64> {
    let line = file
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))?;
    line.trim().parse().ok()
}

fn integer(number: Option<i64>) -> Value {
    number.map_or(Value::Null, Value::Int)
}
