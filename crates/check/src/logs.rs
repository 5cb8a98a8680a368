//! What the server's own log says.

use pawang_core::{Level, Missing, Unit};

use crate::{Check, Direction, Group, Observation, Scope, View};

pub(crate) static CHECKS: &[Check] = &[Check {
    id: "log-errors",
    group: Group::Availability,
    title: "errors in the server log",
    scope: Scope::Server,
    needs: &["host-paths", "host-log"],
    unit: Unit::Count,
    direction: Direction::Above,
    warning: Some(100.0),
    critical: None,
    floors: &[],
    what: "Lines of severity ERROR and FATAL in the server log of the last 24 hours, each counted by itself; any PANIC \
           is critical. Reads stderr, csvlog and jsonlog, at most the newest 64 MB, and only on the server's own \
           machine. Continuation lines do not count, so a statement that quotes \"ERROR:\" is no error. A line \
           without date counts as one of today.",
    why: "A PANIC means that the server restarted itself. Many FATAL lines mean refused logins or a crashing \
          application; many ERROR lines mean that statements, often a load, fail without anyone looking.",
    fix: "Read the log around the last message. Set log_line_prefix = '%m [%p] %q%u@%d/%a ' so that every line tells \
          when, who and where. Raise the limit for this server in pawang.toml when its errors are expected.",
    observe: log_errors,
}];

fn log_errors(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let log = view.snapshot("host-log")?;
    let observe = |row: pawang_core::Row<'_>| {
        let severity = row.text("severity").unwrap_or_default().to_owned();
        let lines = row.float("lines").unwrap_or(f64::NAN);
        let last = row
            .text("last_message")
            .map_or(String::new(), |message| format!("; last: {message}"));
        Observation {
            title: format!("{lines:.0} lines of severity {severity} in 24 hours{last}"),
            level: (severity == "PANIC" && lines > 0.0).then_some(Level::Critical),
            since: row.time("last_at"),
            evidence: row.evidence(&["directory", "files", "bytes_read", "truncated"]),
            object: severity,
            value: lines,
            ..Observation::default()
        }
    };
    Ok(log.rows().map(observe).collect())
}
