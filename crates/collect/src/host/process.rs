//! The server's own processes.

use std::fs;

use pawang_core::{Blind, Value};

use super::{Fields, Host, Rows, text};

/// More processes of one server than this are not looked at.
const PROCESSES_MAX: usize = 4_096;
const TICK_MS: i64 = 10;

/// What `/proc/<pid>/stat` says that matters here.
pub(super) struct Stat {
    pub(super) parent: i64,
    state: String,
    cpu_ms: i64,
}

/// One row per process of the server, the postmaster first.
pub(super) fn processes(host: &Host<'_>) -> Rows {
    let postmaster = host.postmaster().ok_or_else(|| Blind::Failed {
        what: "the postmaster's process could not be found".to_owned(),
    })?;
    let mut rows: Vec<Fields> = process(host, postmaster, None).into_iter().collect();
    let mut pids: Vec<i64> = fs::read_dir(host.path("/proc"))
        .map_err(|error| super::missing("/proc", &error))?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    pids.sort_unstable();
    for pid in pids {
        if rows.len() >= PROCESSES_MAX {
            break;
        }
        rows.extend(process(host, pid, Some(postmaster)));
    }
    Ok(rows)
}

/// Reads one process, if it is a child of `parent`; a process may end while it is looked at.
fn process(host: &Host<'_>, pid: i64, parent: Option<i64>) -> Option<Fields> {
    let stat = stat(&host.read(&format!("/proc/{pid}/stat")).ok()?)?;
    if parent.is_some_and(|parent| stat.parent != parent) {
        return None;
    }
    let status = host.read(&format!("/proc/{pid}/status")).ok()?;
    let kilobytes = |key: &str| {
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
        let number: i64 = line.split_ascii_whitespace().next()?.parse().ok()?;
        number.checked_mul(1024)
    };
    let title = host.read(&format!("/proc/{pid}/cmdline")).ok()?;
    let title = title.replace('\0', " ");
    let files = fs::read_dir(host.path(&format!("/proc/{pid}/fd")));
    let limits = host.read(&format!("/proc/{pid}/limits")).ok();
    let files_max = limits.as_deref().and_then(|limits| {
        let line = limits
            .lines()
            .find_map(|line| line.strip_prefix("Max open files"))?;
        line.split_ascii_whitespace().next()?.parse().ok()
    });
    let integer = |number: Option<i64>| number.map_or(Value::Null, Value::Int);
    let files = files
        .ok()
        .and_then(|files| i64::try_from(files.count()).ok());
    Some(Fields::from([
        ("pid", Value::Int(pid)),
        ("title", text(title.trim())),
        ("postmaster", Value::Bool(parent.is_none())),
        ("state", text(stat.state)),
        ("cpu_ms", Value::Int(stat.cpu_ms)),
        ("resident_bytes", integer(kilobytes("VmRSS"))),
        ("anonymous_bytes", integer(kilobytes("RssAnon"))),
        ("swap_bytes", integer(kilobytes("VmSwap"))),
        ("open_files", integer(files)),
        ("open_files_max", integer(files_max)),
        (
            "oom_score_adjustment",
            integer(host.number(&format!("/proc/{pid}/oom_score_adj"))),
        ),
    ]))
}

/// Reads `/proc/<pid>/stat`, whose second field may itself contain blanks and parentheses.
pub(super) fn stat(line: &str) -> Option<Stat> {
    let (_, rest) = line.rsplit_once(") ")?;
    let words: Vec<&str> = rest.split_ascii_whitespace().collect();
    let ticks = |index: usize| words.get(index)?.parse::<i64>().ok();
    Some(Stat {
        state: (*words.first()?).to_owned(),
        parent: words.get(1)?.parse().ok()?,
        cpu_ms: ticks(11)?
            .saturating_add(ticks(12)?)
            .saturating_mul(TICK_MS),
    })
}

#[cfg(test)]
mod tests {
    use super::stat;

    #[test]
    fn a_program_name_may_contain_what_separates_fields() {
        let line = "7 (a) R (b) S 1 7 7 0 -1 4194560 1 2 3 4 150 50 0 0 20 0";
        let seen = stat(line).unwrap();
        assert_eq!(
            (seen.parent, seen.state.as_str(), seen.cpu_ms),
            (1, "S", 2_000)
        );
    }
}
