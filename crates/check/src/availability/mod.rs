//! Whether the server answers, as what, and whether it runs with the configuration that its files say.

mod releases;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use pawang_core::{Blind, Level, Missing, Row, Timestamp, Unit};

use crate::connections::session::{quote, seconds};
use crate::{Check, Direction, Group, Observation, Scope, View};

/// From PostgreSQL 15 on, the checkpointer starts with the postmaster; one that is younger by this many seconds has replaced another.
const CHECKPOINTER_DELAY_MAX: f64 = 10.0;
/// `pg_database.datconnlimit` of a database whose DROP DATABASE was interrupted.
const DATABASE_HALF_DROPPED: i64 = -2;

pub(crate) static CHECKS: &[Check] = &[
    Check {
        id: "connection",
        group: Group::Availability,
        title: "the server lets Pawang in",
        scope: Scope::Server,
        needs: &["server"],
        unit: Unit::State,
        direction: Direction::Below,
        warning: None,
        critical: None,
        floors: &[],
        what: "Whether a session could be opened: name resolution, network, TLS, authentication, a free slot, and an answer \
               to a first statement. The only check that is critical, and not unknown, when the server cannot be reached.",
        why: "If Pawang is not let in, applications probably are not either; and nothing else can be judged.",
        fix: "Look from the server's own machine, where Pawang reads the reason without a connection; otherwise check host, \
              port, firewall, pg_hba.conf and password.",
        observe: connection,
    },
    Check {
        id: "connection-time",
        group: Group::Availability,
        title: "time until the server lets Pawang in",
        scope: Scope::Server,
        needs: &["server"],
        unit: Unit::Milliseconds,
        direction: Direction::Above,
        warning: Some(1_000.0),
        critical: Some(5_000.0),
        floors: &[],
        what: "Milliseconds from the beginning of the run until the session was ready to be asked: name resolution, network, TLS, \
               authentication, start of a server process, and two small statements.",
        why: "Applications wait as long; slow name resolution, slow LDAP or RADIUS, a server out of memory or CPU show here \
              before anything is refused.",
        fix: "Compare with a connection over the Unix socket on the server's machine: if that is fast, look at the network and DNS; \
              otherwise at the method in pg_hba.conf, at CPU, and at huge_pages (process start is slow without).",
        observe: connection_time,
    },
    Check {
        id: "end-of-life",
        group: Group::Availability,
        title: "days until the major version is out of support",
        scope: Scope::Server,
        needs: &["server"],
        unit: Unit::Days,
        direction: Direction::Below,
        warning: Some(180.0),
        critical: Some(0.0),
        floors: &[],
        what: "Days until the last minor release of this major version, from a table of PostgreSQL's releases in Pawang. \
               A version newer than the table is supported and has no value.",
        why: "After that day security holes and bugs that lose data stay open.",
        fix: "Plan the upgrade: pg_upgrade --check with the new version's binaries, then pg_upgrade --link in a window, or \
              logical replication to a new server.",
        observe: end_of_life,
    },
    Check {
        id: "minor-version",
        group: Group::Availability,
        title: "minor releases behind",
        scope: Scope::Server,
        needs: &["server"],
        unit: Unit::Count,
        direction: Direction::Above,
        warning: Some(1.0),
        critical: Some(5.0),
        floors: &[],
        what: "How many minor releases the server is behind the newest one of its major version that Pawang knows; \
               the evidence names the day of that knowledge, and there may be newer ones.",
        why: "Minor releases contain nothing but fixes: of security holes, crashes and lost data.",
        fix: "Install the newest minor version and restart the server; read its release notes for indexes to rebuild.",
        observe: minor_version,
    },
    Check {
        id: "uptime",
        group: Group::Availability,
        title: "time since the server was started",
        scope: Scope::Server,
        needs: &["server"],
        unit: Unit::Seconds,
        direction: Direction::Below,
        warning: None,
        critical: None,
        floors: &[],
        what: "Seconds since the postmaster was started (pg_postmaster_start_time()). It has no limit by default; \
               see the check restart for a start that nobody expected.",
        why: "After a start caches are cold; a server that never runs long has a problem.",
        fix: "Read the server log before the start: it says whether it was a request, a crash or the OOM killer.",
        observe: uptime,
    },
    Check {
        id: "restart",
        group: Group::Availability,
        title: "restarted since the last look",
        scope: Scope::Server,
        needs: &["server"],
        unit: Unit::State,
        direction: Direction::Above,
        warning: None,
        critical: None,
        floors: &[],
        what: "Whether pg_postmaster_start_time() has changed since the last look.",
        why: "Every session was cut. If nobody meant it to happen, it was a crash, the OOM killer or a failover.",
        fix: "Read the server log before the start, and journalctl -u postgresql -k for the OOM killer.",
        observe: restart,
    },
    Check {
        id: "crash-restart",
        group: Group::Availability,
        title: "time since a server process crashed",
        scope: Scope::Server,
        needs: &["server", "sessions"],
        unit: Unit::Seconds,
        direction: Direction::Below,
        warning: Some(86_400.0),
        critical: Some(3_600.0),
        floors: &[],
        what: "When one server process dies, the postmaster stops all others, recovers and starts new ones without being \
               restarted itself. It shows in the checkpointer: its backend_start in pg_stat_activity is later than the \
               postmaster's start, or differs from the last look. On PostgreSQL 14 only the second counts, since there \
               the checkpointer starts after recovery.",
        why: "All sessions were cut and all uncommitted work was lost: by the OOM killer, kill -9, a bug in an extension, or \
              broken memory. It comes again.",
        fix: "grep -A5 'was terminated by signal' in the server log; signal 9 is the OOM killer (journalctl -k | grep -i oom) \
              or a person, signals 6 and 11 are bugs: look at the last extension that was added.",
        observe: crash_restart,
    },
    Check {
        id: "server-role",
        group: Group::Availability,
        title: "primary or standby, and the same as before",
        scope: Scope::Server,
        needs: &["server"],
        unit: Unit::State,
        direction: Direction::Above,
        warning: None,
        critical: None,
        floors: &[],
        what: "Whether the server's role (pg_is_in_recovery()) and identity (system identifier in pg_control) are those of \
               the last look.",
        why: "A standby that became a primary was promoted: by a failover, or by accident, and then there are two primaries. \
              Another system identifier means that this is not the same cluster at all.",
        fix: "Find out who promoted it; make sure that the old primary is stopped or rewound: pg_rewind.",
        observe: server_role,
    },
    Check {
        id: "server-clock",
        group: Group::Availability,
        title: "difference between the server's clock and Pawang's",
        scope: Scope::Server,
        needs: &["server"],
        unit: Unit::Seconds,
        direction: Direction::Above,
        warning: Some(5.0),
        critical: Some(60.0),
        floors: &[],
        what: "The server's clock_timestamp() against the clock of the machine that Pawang runs on, when the answer arrived; \
               the time that the statement took counts in favour of the server.",
        why: "Timestamps in tables, replication lag, certificates, point-in-time recovery and every log that is compared with \
              another depend on right clocks.",
        fix: "timedatectl status and chronyc tracking on both machines.",
        observe: server_clock,
    },
    Check {
        id: "pending-restart",
        group: Group::Availability,
        title: "settings that wait for a restart",
        scope: Scope::Server,
        needs: &["settings"],
        unit: Unit::State,
        direction: Direction::Above,
        warning: None,
        critical: None,
        floors: &[],
        what: "Settings that were changed in a configuration file or by ALTER SYSTEM, loaded, and take effect only after a \
               restart (pg_settings.pending_restart).",
        why: "The server does not run with the configuration that people believe; the next restart, perhaps in the middle \
              of an incident, changes its behaviour.",
        fix: "Restart in a window, or take the change back (ALTER SYSTEM RESET name; SELECT pg_reload_conf();).",
        observe: pending_restart,
    },
    Check {
        id: "configuration-file-errors",
        group: Group::Availability,
        title: "errors in the configuration files",
        scope: Scope::Server,
        needs: &["file-settings", "settings"],
        unit: Unit::State,
        direction: Direction::Above,
        warning: None,
        critical: None,
        floors: &[],
        what: "Lines of postgresql.conf, its includes and postgresql.auto.conf that the server would refuse as they are now \
               (pg_file_settings.error). A setting that merely waits for a restart is no error. Members of pg_monitor may \
               not read this without a grant.",
        why: "A reload ignores the whole file, so that no change takes effect any more; a restart fails, and the server stays down.",
        fix: "Correct the line, then SELECT pg_reload_conf(); and look at pg_file_settings again.",
        observe: configuration_file_errors,
    },
    Check {
        id: "hba-file-errors",
        group: Group::Availability,
        title: "errors in pg_hba.conf",
        scope: Scope::Server,
        needs: &["hba-rules"],
        unit: Unit::State,
        direction: Direction::Above,
        warning: None,
        critical: None,
        floors: &[],
        what: "Lines of pg_hba.conf that the server cannot read as they are now (pg_hba_file_rules.error). Members of \
               pg_monitor may not read this without a grant.",
        why: "A reload keeps the old rules, so that a lock-out or a new role never takes effect; a restart fails.",
        fix: "Correct the line, then SELECT pg_reload_conf(); and look at pg_hba_file_rules again.",
        observe: hba_file_errors,
    },
    Check {
        id: "half-dropped-database",
        group: Group::Availability,
        title: "databases that can only be dropped",
        scope: Scope::Server,
        needs: &["database"],
        unit: Unit::State,
        direction: Direction::Above,
        warning: None,
        critical: None,
        floors: &[],
        what: "Databases that an interrupted DROP DATABASE left behind (pg_database.datconnlimit = -2).",
        why: "Nobody can connect to it, not even vacuum: it holds its disk space and keeps the oldest transaction of the whole \
              server where it was.",
        fix: "DROP DATABASE name;",
        observe: half_dropped_database,
    },
];

/// An observation whose level the check says itself.
fn state(object: &str, level: Level, title: String) -> Observation {
    Observation {
        object: object.to_owned(),
        value: f64::from(u8::from(level != Level::Ok)),
        level: Some(level),
        title,
        ..Observation::default()
    }
}

fn connection(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let seen = match &view.facts.server {
        Ok(server) => Observation {
            value: 1.0,
            ..state(
                "",
                Level::Ok,
                format!("connected to PostgreSQL {}", server.short_version()),
            )
        },
        Err(blind) => Observation {
            value: 0.0,
            remedy: Some(blind.remedy()),
            evidence: match blind {
                Blind::Unreachable { what, .. } | Blind::Failed { what } => {
                    vec![("error".to_owned(), what.clone())]
                }
                _ => Vec::new(),
            },
            ..state("", Level::Critical, blind.sentence())
        },
    };
    Ok(vec![seen])
}

fn connection_time(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    view.server()?;
    let mut seen = view.facts.sightings.iter();
    let first = seen.find_map(|sighting| {
        let snapshot = sighting.seen.as_ref().ok()?;
        snapshot.epoch.is_some().then_some(snapshot)
    });
    let first = first.ok_or_else(|| Blind::Failed {
        what: "nothing was asked of the server".to_owned(),
    })?;
    // The first answer came this long after the run began; what it took to answer is not the connection's.
    let since = first.at.duration_since(view.facts.at).as_secs_f64();
    let milliseconds = 1_000.0 * (since - first.cost.elapsed.as_secs_f64()).max(0.0);
    Ok(vec![Observation {
        value: milliseconds,
        title: format!("it took {milliseconds:.0} ms until the session was ready"),
        ..Observation::default()
    }])
}

fn end_of_life(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let server = view.server()?;
    let Some(release) = releases::release(server.major()) else {
        return Ok(Vec::new());
    };
    let days = days_until(view.now, release.end_of_life);
    let when = if days >= 0.0 { "ends" } else { "ended" };
    Ok(vec![Observation {
        value: days,
        title: format!(
            "support for PostgreSQL {} {when} on {}",
            release.major, release.end_of_life
        ),
        evidence: vec![("server_version".to_owned(), server.version_text.clone())],
        ..Observation::default()
    }])
}

/// Returns the days from an instant to the end of a day in UTC.
fn days_until(now: Timestamp, day: &str) -> f64 {
    let day: Date = day.parse().expect("days of releases are in ISO form");
    let end = day
        .tomorrow()
        .and_then(|next| next.to_zoned(TimeZone::UTC))
        .expect("days of releases are in range");
    (end.timestamp().duration_since(now).as_secs_f64() / 86_400.0).floor()
}

fn minor_version(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let server = view.server()?;
    let Some(release) = releases::release(server.major()) else {
        return Ok(Vec::new());
    };
    let behind = release.minor.saturating_sub(server.version % 10_000);
    let releases = if behind == 1 { "release" } else { "releases" };
    Ok(vec![Observation {
        value: f64::from(behind),
        title: format!(
            "PostgreSQL {} is {behind} minor {releases} behind {}.{}",
            server.short_version(),
            release.major,
            release.minor
        ),
        evidence: vec![
            ("server_version".to_owned(), server.version_text.clone()),
            (
                "releases known up to".to_owned(),
                releases::AS_OF.to_owned(),
            ),
        ],
        ..Observation::default()
    }])
}

fn uptime(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let row = view.row("server")?;
    let uptime = row.float("uptime_seconds").unwrap_or(f64::NAN);
    Ok(vec![Observation {
        value: uptime,
        title: format!("the server was started {} ago", seconds(uptime)),
        since: row.time("postmaster_start_time"),
        ..Observation::default()
    }])
}

/// Returns what the collector `server` saw now and at the last look.
fn twice<'a>(view: &View<'a>) -> Result<(Row<'a>, Row<'a>), Missing> {
    let now = view.row("server")?;
    let older = view
        .older
        .and_then(|older| older.snapshot("server", None).ok())
        .and_then(|snapshot| snapshot.first());
    older
        .map(|older| (now, older))
        .ok_or_else(|| Blind::FirstSample.into())
}

fn restart(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let (now, older) = twice(view)?;
    let (Some(started), Some(before)) = (
        now.time("postmaster_start_time"),
        older.time("postmaster_start_time"),
    ) else {
        return Err(Blind::Failed {
            what: "the server does not say when it was started".to_owned(),
        }
        .into());
    };
    let restarted = started > before;
    let level = if restarted { Level::Warning } else { Level::Ok };
    Ok(vec![Observation {
        since: Some(started),
        evidence: vec![("started before".to_owned(), before.to_string())],
        ..state(
            "",
            level,
            format!(
                "the server was restarted {} ago, after the last look",
                seconds(now.float("uptime_seconds").unwrap_or(f64::NAN))
            ),
        )
    }])
}

fn crash_restart(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    crate::connections::session::counts(view)?;
    let row = view.row("server")?;
    let (Some(started), Some(age)) = (
        row.time("checkpointer_start"),
        row.float("checkpointer_age_seconds"),
    ) else {
        return Err(Blind::Failed {
            what: "the checkpointer is not running at this moment".to_owned(),
        }
        .into());
    };
    let delay = row.float("checkpointer_start_delay_seconds");
    let late = view.server()?.major() >= 15 && delay >= Some(CHECKPOINTER_DELAY_MAX);
    let replaced = match twice(view) {
        Ok((now, older)) => {
            now.value("postmaster_start_time") == older.value("postmaster_start_time")
                && now.value("checkpointer_pid") != older.value("checkpointer_pid")
        }
        Err(missing) if view.server()?.major() < 15 => return Err(missing),
        Err(_) => false,
    };
    if !(late || replaced) {
        return Ok(Vec::new());
    }
    Ok(vec![Observation {
        value: age,
        title: format!(
            "all server processes were replaced {} ago without a restart, as after a crash of one",
            seconds(age)
        ),
        since: Some(started),
        evidence: row.evidence(&["postmaster_start_time", "checkpointer_start"]),
        ..Observation::default()
    }])
}

fn server_role(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let (now, older) = twice(view)?;
    let name = |row: &Row<'_>| match row.flag("in_recovery") {
        Some(true) => "standby",
        _ => "primary",
    };
    let evidence = now.evidence(&["system_identifier", "timeline_id", "in_recovery"]);
    let (level, title) = if now.value("system_identifier") != older.value("system_identifier") {
        (
            Level::Critical,
            format!(
                "this is another cluster than at the last look: system identifier {} instead of {}",
                now.value("system_identifier"),
                older.value("system_identifier")
            ),
        )
    } else if name(&now) != name(&older) {
        (
            Level::Warning,
            format!(
                "the server was a {} at the last look and is a {} now",
                name(&older),
                name(&now)
            ),
        )
    } else {
        (Level::Ok, format!("the server is a {}", name(&now)))
    };
    Ok(vec![Observation {
        evidence,
        ..state("", level, title)
    }])
}

fn server_clock(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let snapshot = view.snapshot("server")?;
    let row = view.row("server")?;
    let clock = row.time("server_clock").ok_or_else(|| Blind::Failed {
        what: "the server does not tell the time".to_owned(),
    })?;
    // The server read its clock somewhere between sending and receiving.
    let ahead = clock.duration_since(snapshot.at).as_secs_f64();
    let behind = -ahead - snapshot.cost.elapsed.as_secs_f64();
    let difference = ahead.max(behind).max(0.0);
    let side = if ahead > 0.0 { "ahead of" } else { "behind" };
    Ok(vec![Observation {
        value: difference,
        title: format!("the server's clock is {difference:.1} s {side} this machine's"),
        evidence: vec![
            ("server".to_owned(), clock.to_string()),
            ("here".to_owned(), snapshot.at.to_string()),
        ],
        ..Observation::default()
    }])
}

fn pending_restart(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let files = view.snapshot("file-settings").ok();
    let rows = view.snapshot("settings")?.rows();
    let seen = rows
        .filter(|row| row.flag("pending_restart") == Some(true))
        .map(|row| {
            let name = row.text("name").unwrap_or_default();
            let current = row.text("setting").unwrap_or_default();
            let next = files.and_then(|files| {
                let line = files.rows().filter(|line| line.text("name") == Some(name));
                line.last().and_then(|line| line.text("setting"))
            });
            let next = next
                .map(|next| format!(", then \"{next}\""))
                .unwrap_or_default();
            Observation {
                evidence: row.evidence(&["setting", "unit", "sourcefile", "sourceline"]),
                ..state(
                    name,
                    Level::Warning,
                    format!("setting \"{name}\" stays at \"{current}\" until a restart{next}"),
                )
            }
        });
    Ok(seen.collect())
}

fn configuration_file_errors(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let rows = view.snapshot("file-settings")?.rows();
    let seen = rows.filter_map(|row| {
        let error = row.text("error").filter(|error| !error.is_empty())?;
        // The server's own words for a change that is right and merely has to wait.
        if error == "setting could not be applied" && waits_for_restart(view, &row) {
            return None;
        }
        let name = row.text("name").unwrap_or_default();
        let place = place(&row, "sourcefile", "sourceline");
        Some(Observation {
            evidence: row.evidence(&["sourcefile", "sourceline", "name", "error"]),
            ..state(
                &place,
                Level::Critical,
                format!("{place}: setting \"{name}\": {error}"),
            )
        })
    });
    Ok(seen.collect())
}

fn waits_for_restart(view: &View<'_>, line: &Row<'_>) -> bool {
    let Ok(settings) = view.snapshot("settings") else {
        return false;
    };
    settings
        .rows()
        .find(|row| row.text("name") == line.text("name"))
        .is_some_and(|row| row.flag("pending_restart") == Some(true))
}

fn hba_file_errors(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let rows = view.snapshot("hba-rules")?.rows();
    let seen = rows.filter_map(|row| {
        let error = row.text("error").filter(|error| !error.is_empty())?;
        let place = place(&row, "file_name", "line_number");
        // A line with a type was loaded and can merely match nobody, such as hostssl while ssl is off.
        let level = if row.text("type").is_some() {
            Level::Warning
        } else {
            Level::Critical
        };
        Some(Observation {
            evidence: row.evidence(&["file_name", "line_number", "error"]),
            ..state(&place, level, format!("{place}: {error}"))
        })
    });
    Ok(seen.collect())
}

/// Returns the place of a line as `pg_hba.conf:12`; before PostgreSQL 16 the server does not say in which file.
fn place(row: &Row<'_>, file: &str, line: &str) -> String {
    let path = row.text(file).filter(|path| !path.is_empty());
    let name = path
        .and_then(|path| path.rsplit('/').next())
        .unwrap_or("pg_hba.conf");
    match row.int(line) {
        Some(line) => format!("{name}:{line}"),
        None => name.to_owned(),
    }
}

fn half_dropped_database(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let rows = view.snapshot("database")?.rows();
    let seen = rows
        .filter(|row| row.int("connection_limit") == Some(DATABASE_HALF_DROPPED))
        .map(|row| {
            let name = row.text("datname").unwrap_or_default();
            Observation {
                evidence: row.evidence(&["connection_limit", "frozen_xid_age"]),
                remedy: Some(format!("DROP DATABASE {};", quote(name))),
                ..state(
                    name,
                    Level::Warning,
                    format!("database \"{name}\" was left behind by an interrupted DROP DATABASE"),
                )
            }
        });
    Ok(seen.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn support_lasts_through_its_last_day() {
        let day = releases::release(14).unwrap().end_of_life;
        for (now, days) in [
            ("2026-11-11T12:00:00Z", 1.0),
            ("2026-11-12T23:59:59Z", 0.0),
            ("2026-11-13T00:00:01Z", -1.0),
        ] {
            assert_eq!(days_until(now.parse().unwrap(), day), days, "{now}");
        }
    }

    #[test]
    fn every_release_has_a_readable_day_and_they_are_in_order() {
        let days: Vec<Date> = releases::RELEASES
            .iter()
            .map(|release| release.end_of_life.parse().unwrap())
            .collect();
        assert!(days.is_sorted());
        assert!(releases::AS_OF.parse::<Date>().is_ok());
    }
}
