//! Connection slots, sessions and their limits.

pub(crate) mod session;

use std::collections::BTreeMap;

use pawang_core::{Level, Missing, Row, Unit};

use crate::{Check, Direction, Floor, Group, Observation, Scope, View};
use session::{clients, counts, end, object, ours, seconds, who};

/// Holders of connections listed as evidence.
const HOLDERS_SHOWN_MAX: usize = 5;

pub(crate) static CHECKS: &[Check] = &[
    Check {
        id: "connections",
        group: Group::Connections,
        title: "connections used",
        scope: Scope::Server,
        needs: &["sessions", "activity"],
        unit: Unit::Percent,
        direction: Direction::Above,
        warning: Some(80.0),
        critical: Some(90.0),
        floors: &[],
        what: "Client backends (pg_stat_activity.backend_type = 'client backend') as a share of the slots that ordinary \
               roles can use: max_connections minus superuser_reserved_connections and, from PostgreSQL 16, \
               reserved_connections. Background processes do not count; the session that asks does, since it takes a slot.",
        why: "When the last slot is taken, applications are refused and even the DBA needs a reserved slot to look.",
        fix: "Find who holds them: SELECT usename, application_name, state, count(*) FROM pg_stat_activity \
              WHERE backend_type = 'client backend' GROUP BY 1, 2, 3 ORDER BY 4 DESC; put a pooler in front, or raise \
              max_connections (restart).",
        observe: connections,
    },
    Check {
        id: "reserved-connections",
        group: Group::Connections,
        title: "connection slots left for superusers",
        scope: Scope::Server,
        needs: &["sessions"],
        unit: Unit::Count,
        direction: Direction::Below,
        warning: Some(3.0),
        critical: Some(1.0),
        floors: &[],
        what: "Free connection slots of any kind: max_connections minus client backends. When no more than \
               superuser_reserved_connections (3 by default) are left, only superusers get in.",
        why: "With no slot left even a superuser is refused, and the only way in is to kill processes from the shell.",
        fix: "End idle sessions: SELECT pid, usename, application_name, state_change FROM pg_stat_activity WHERE state = 'idle' \
              ORDER BY state_change; then SELECT pg_terminate_backend(pid); for those that nobody misses.",
        observe: reserved_connections,
    },
    Check {
        id: "connection-growth",
        group: Group::Connections,
        title: "growth of connections",
        scope: Scope::Server,
        needs: &["sessions"],
        unit: Unit::Percent,
        direction: Direction::Above,
        warning: Some(30.0),
        critical: Some(50.0),
        floors: &[Floor {
            name: "sessions",
            value: 10.0,
            unit: Unit::Count,
            ignores: "a growth by fewer sessions than this",
        }],
        what: "How many client backends there are more than at the last look, as a share of the usable slots.",
        why: "A jump in connections is how a retry storm, a lock pile-up or a leaking pool looks before the slots run out.",
        fix: "Look for what they wait for (pawang check blocking wait-lock) and which application opened them: \
              SELECT usename, application_name, client_addr, count(*) FROM pg_stat_activity GROUP BY 1, 2, 3 ORDER BY 4 DESC;",
        observe: connection_growth,
    },
    Check {
        id: "role-connections",
        group: Group::Connections,
        title: "connections of a role against its limit",
        scope: Scope::Server,
        needs: &["session-limits", "sessions"],
        unit: Unit::Percent,
        direction: Direction::Above,
        warning: Some(80.0),
        critical: Some(90.0),
        floors: &[],
        what: "Client backends of each role that has a CONNECTION LIMIT, as a share of the limit (pg_roles.rolconnlimit). \
               Superusers are not limited and not listed.",
        why: "At its limit a role is refused though the server has slots left; nothing but the application's log says so.",
        fix: "Close sessions of the role, or raise its limit: ALTER ROLE name CONNECTION LIMIT n;",
        observe: role_connections,
    },
    Check {
        id: "database-connections",
        group: Group::Connections,
        title: "connections to a database against its limit",
        scope: Scope::Server,
        needs: &["session-limits", "sessions"],
        unit: Unit::Percent,
        direction: Direction::Above,
        warning: Some(80.0),
        critical: Some(90.0),
        floors: &[],
        what: "Client backends in each database that has a CONNECTION LIMIT, as a share of the limit (pg_database.datconnlimit).",
        why: "At its limit a database refuses everybody but superusers, though the server has slots left.",
        fix: "Close sessions in the database, or raise its limit: ALTER DATABASE name CONNECTION LIMIT n;",
        observe: database_connections,
    },
    Check {
        id: "idle-connections",
        group: Group::Connections,
        title: "connection slots held by idle sessions",
        scope: Scope::Server,
        needs: &["activity", "sessions"],
        unit: Unit::Percent,
        direction: Direction::Above,
        warning: Some(50.0),
        critical: None,
        floors: &[Floor {
            name: "idle",
            value: 600.0,
            unit: Unit::Seconds,
            ignores: "sessions that have been idle for less than this",
        }],
        what: "Sessions in state 'idle' (outside a transaction) for longer than the floor, as a share of the usable slots.",
        why: "Idle sessions do nothing but hold a slot and memory, and make every snapshot a little slower; \
              they are the reserve that is missing when load comes.",
        fix: "Shrink the applications' pools or put PgBouncer in front; idle_session_timeout ends forgotten ones: \
              ALTER ROLE name SET idle_session_timeout = '1h'; (never for the role of a pooler).",
        observe: idle_connections,
    },
    Check {
        id: "idle-in-transaction",
        group: Group::Connections,
        title: "sessions idle in a transaction",
        scope: Scope::Server,
        needs: &["activity"],
        unit: Unit::Seconds,
        direction: Direction::Above,
        warning: Some(300.0),
        critical: Some(1_800.0),
        floors: &[],
        what: "How long each session has been in state 'idle in transaction' or 'idle in transaction (aborted)' \
               (now - pg_stat_activity.state_change): it began a transaction and does nothing.",
        why: "Its locks stay, and after it has written or in a repeatable-read transaction vacuum cannot remove \
              anything that was deleted since.",
        fix: "Find the missing COMMIT in the application; set idle_in_transaction_session_timeout for its role: \
              ALTER ROLE name SET idle_in_transaction_session_timeout = '5min';",
        observe: idle_in_transaction,
    },
    Check {
        id: "idle-in-transaction-count",
        group: Group::Connections,
        title: "number of sessions idle in a transaction",
        scope: Scope::Server,
        needs: &["activity"],
        unit: Unit::Count,
        direction: Direction::Above,
        warning: Some(10.0),
        critical: Some(25.0),
        floors: &[Floor {
            name: "idle",
            value: 5.0,
            unit: Unit::Seconds,
            ignores: "sessions that have been idle in their transaction for less than this",
        }],
        what: "How many sessions have been idle in a transaction for longer than the floor.",
        why: "One is a forgotten window of a person; many at once are an application that calls other services, or waits \
              for people, in the middle of its transactions.",
        fix: "Look at their last statements: SELECT application_name, query, count(*) FROM pg_stat_activity \
              WHERE state LIKE 'idle in transaction%' GROUP BY 1, 2 ORDER BY 3 DESC;",
        observe: idle_in_transaction_count,
    },
    Check {
        id: "session-age",
        group: Group::Connections,
        title: "age of the oldest session",
        scope: Scope::Server,
        needs: &["activity"],
        unit: Unit::Days,
        direction: Direction::Above,
        warning: None,
        critical: None,
        floors: &[],
        what: "Days since the oldest client session was opened (pg_stat_activity.backend_start). It has no limit by default, \
               since poolers may keep sessions on purpose.",
        why: "A session's caches of relations and plans only grow; long-lived ones in databases with many tables end in \
              hundreds of megabytes each. They also keep deleted users and old passwords connected.",
        fix: "Let the pool recycle its connections (server_lifetime in PgBouncer, maxLifetime in HikariCP).",
        observe: session_age,
    },
    Check {
        id: "slow-clients",
        group: Group::Connections,
        title: "sessions that wait for their client",
        scope: Scope::Server,
        needs: &["activity"],
        unit: Unit::Seconds,
        direction: Direction::Above,
        warning: Some(3_600.0),
        critical: None,
        floors: &[],
        what: "Sessions in state 'active' that wait for their own client (wait_event_type = 'Client': it does not take the \
               rows, or does not send its COPY data), with the age of their statement. Dumps and loads wait so too, for as long as they take.",
        why: "The statement keeps its snapshot and locks for as long as the client takes; a client that vanished without \
              a word holds them until TCP gives up.",
        fix: "Fetch large results with a cursor, set tcp_keepalives_idle, tcp_user_timeout and \
              client_connection_check_interval; end the session when its client is gone.",
        observe: slow_clients,
    },
    Check {
        id: "connection-rate",
        group: Group::Connections,
        title: "new sessions per second",
        scope: Scope::Server,
        needs: &["database"],
        unit: Unit::PerSecond,
        direction: Direction::Above,
        warning: Some(50.0),
        critical: Some(200.0),
        floors: &[],
        what: "Sessions opened per second in all databases since the last look (pg_stat_database.sessions).",
        why: "Every session is a process: fork, authentication and cold caches cost milliseconds each, often more than the \
              statement that follows.",
        fix: "Put a pooler in front: PgBouncer with pool_mode = transaction.",
        observe: connection_rate,
    },
    Check {
        id: "sessions-abandoned",
        group: Group::Connections,
        title: "sessions whose client was lost",
        scope: Scope::Server,
        needs: &["database"],
        unit: Unit::Percent,
        direction: Direction::Above,
        warning: Some(5.0),
        critical: Some(25.0),
        floors: ABNORMAL_FLOORS,
        what: "Sessions that ended because the connection to the client was lost (pg_stat_database.sessions_abandoned), \
               per database, as a share of the sessions opened since the last look.",
        why: "Clients that crash, are killed, or are cut off by a firewall or load balancer leave without a word; their \
              transactions roll back.",
        fix: "Compare with the server log (could not receive data from client) and the time-outs of the network between.",
        observe: sessions_abandoned,
    },
    Check {
        id: "sessions-fatal",
        group: Group::Connections,
        title: "sessions ended by a fatal error",
        scope: Scope::Server,
        needs: &["database"],
        unit: Unit::Percent,
        direction: Direction::Above,
        warning: Some(5.0),
        critical: Some(25.0),
        floors: ABNORMAL_FLOORS,
        what: "Sessions ended by a fatal error (pg_stat_database.sessions_fatal), per database, as a share of the sessions \
               opened since the last look. Time-outs such as idle_session_timeout count here.",
        why: "A fatal error ends the session in the middle of its work; applications see a broken connection.",
        fix: "Read the reasons in the server log: grep FATAL.",
        observe: sessions_fatal,
    },
    Check {
        id: "sessions-killed",
        group: Group::Connections,
        title: "sessions ended by an operator",
        scope: Scope::Server,
        needs: &["database"],
        unit: Unit::Count,
        direction: Direction::Above,
        warning: Some(1.0),
        critical: Some(20.0),
        floors: &[],
        what: "Sessions ended by pg_terminate_backend() or by a shutdown request (pg_stat_database.sessions_killed), \
               per database, since the last look.",
        why: "Somebody, or a script, ends sessions: their work was rolled back, and somebody else should know.",
        fix: "Ask who did it; the server log says: terminating connection due to administrator command.",
        observe: sessions_killed,
    },
    Check {
        id: "unencrypted-clients",
        group: Group::Connections,
        title: "clients that connect without encryption",
        scope: Scope::Server,
        needs: &["activity"],
        unit: Unit::Count,
        direction: Direction::Above,
        warning: Some(1.0),
        critical: None,
        floors: &[],
        what: "Sessions over TCP from another machine that use neither TLS (pg_stat_ssl.ssl) nor GSSAPI encryption \
               (pg_stat_gssapi.encrypted), by role and address. Unix sockets and loopback addresses do not count; \
               behind a pooler on the server's machine its own clients are not visible here.",
        why: "Statements and rows, and with some methods passwords, cross the network in clear text.",
        fix: "Set ssl = on with a certificate, and change host to hostssl in pg_hba.conf so that nothing else is let in.",
        observe: unencrypted_clients,
    },
];

const ABNORMAL_FLOORS: &[Floor] = &[Floor {
    name: "sessions",
    value: 10.0,
    unit: Unit::Count,
    ignores: "databases with fewer of these sessions since the last look",
}];

fn connections(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let row = counts(view)?;
    let used = row.float("client_backends").unwrap_or(f64::NAN);
    let usable = row.float("usable_connections").unwrap_or(f64::NAN);
    let share = 100.0 * used / usable;
    let mut evidence = row.evidence(&[
        "client_backends",
        "usable_connections",
        "active",
        "idle",
        "idle_in_transaction",
        "max_connections",
    ]);
    evidence.extend(holders(view));
    Ok(vec![Observation {
        value: share,
        title: format!("{used:.0} of {usable:.0} usable connections are taken ({share:.0} %)"),
        evidence,
        ..Observation::default()
    }])
}

/// Returns the roles and applications with the most sessions.
fn holders(view: &View<'_>) -> Vec<(String, String)> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for row in clients(view).unwrap_or_default() {
        let role = row.text("usename").unwrap_or_default();
        let holder = match row.text("application_name") {
            Some(application) if !application.is_empty() => {
                format!("sessions of {role} ({application})")
            }
            _ => format!("sessions of {role}"),
        };
        *counts.entry(holder).or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counts.truncate(HOLDERS_SHOWN_MAX);
    let shown = counts.into_iter();
    shown
        .map(|(holder, count)| (holder, count.to_string()))
        .collect()
}

fn reserved_connections(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let row = counts(view)?;
    let used = row.float("client_backends").unwrap_or(f64::NAN);
    let all = row.float("max_connections").unwrap_or(f64::NAN);
    let free = all - used;
    Ok(vec![Observation {
        value: free,
        title: format!("{free:.0} of {all:.0} connection slots are free"),
        evidence: row.evidence(&[
            "client_backends",
            "max_connections",
            "superuser_reserved_connections",
            "reserved_connections",
        ]),
        ..Observation::default()
    }])
}

fn connection_growth(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    counts(view)?;
    let growth = view.growth("sessions")?;
    let mut seen = Vec::new();
    for (row, old) in &growth.rows {
        let Some(old) = old else { continue };
        let count = |row: &Row<'_>| row.float("client_backends").unwrap_or(f64::NAN);
        let more = count(row) - count(old);
        let usable = row.float("usable_connections").unwrap_or(f64::NAN);
        let share = 100.0 * more.max(0.0) / usable;
        seen.push(Observation {
            value: share,
            level: (more < view.floor("sessions")).then_some(Level::Ok),
            title: format!(
                "{more:.0} more connections than {} ago ({share:.0} % of the usable slots)",
                seconds(growth.seconds)
            ),
            evidence: row.evidence(&["client_backends", "usable_connections"]),
            ..Observation::default()
        });
    }
    Ok(seen)
}

fn role_connections(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    limited(view, "role")
}

fn database_connections(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    limited(view, "database")
}

fn limited(view: &View<'_>, kind: &str) -> Result<Vec<Observation>, Missing> {
    counts(view)?;
    let rows = view.snapshot("session-limits")?.rows();
    let seen = rows
        .filter(|row| row.text("kind") == Some(kind))
        .map(|row| {
            let name = row.text("name").unwrap_or_default();
            let used = row.float("sessions").unwrap_or(f64::NAN);
            let limit = row.float("connection_limit").unwrap_or(f64::NAN);
            let closed = limit == 0.0;
            let share = if closed { 100.0 } else { 100.0 * used / limit };
            Observation {
                object: name.to_owned(),
                value: share,
                level: closed.then_some(Level::Ok),
                title: format!(
                    "{kind} \"{name}\" has {used:.0} of its {limit:.0} connections ({share:.0} %)"
                ),
                evidence: row.evidence(&["sessions", "connection_limit"]),
                remedy: Some(format!(
                    "ALTER {} {} CONNECTION LIMIT {:.0};",
                    kind.to_uppercase(),
                    session::quote(name),
                    (limit * 1.5).max(limit + 5.0)
                )),
                ..Observation::default()
            }
        });
    Ok(seen.collect())
}

fn idle_connections(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let sessions = clients(view)?;
    let usable = counts(view)?.float("usable_connections");
    let usable = usable.unwrap_or(f64::NAN);
    let floor = view.floor("idle");
    let mut by_role: BTreeMap<&str, usize> = BTreeMap::new();
    let idle = sessions.iter().filter(|row| {
        row.text("state") == Some("idle") && row.float("state_age_seconds") >= Some(floor)
    });
    for row in idle {
        *by_role
            .entry(row.text("usename").unwrap_or_default())
            .or_default() += 1;
    }
    let idle: usize = by_role.values().sum();
    let share = 100.0 * idle as f64 / usable;
    let mut evidence: Vec<(String, String)> = by_role
        .iter()
        .map(|(role, count)| (format!("idle sessions of {role}"), count.to_string()))
        .collect();
    evidence.truncate(HOLDERS_SHOWN_MAX);
    Ok(vec![Observation {
        value: share,
        title: format!(
            "{idle} sessions have been idle for {} and hold {share:.0} % of the usable connections",
            seconds(floor)
        ),
        evidence,
        ..Observation::default()
    }])
}

fn idle_in_transaction(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let sessions = clients(view)?;
    let seen = sessions
        .iter()
        .filter(|row| idle_in_a_transaction(row))
        .map(|row| {
            let idle = row.float("state_age_seconds").unwrap_or(f64::NAN);
            Observation {
                object: object(row),
                value: idle,
                title: format!(
                    "session of {} has been idle in a transaction for {}",
                    who(row),
                    seconds(idle)
                ),
                since: row.time("state_change"),
                evidence: session::evidence(row),
                remedy: Some(end(row)),
                ..Observation::default()
            }
        });
    Ok(seen.collect())
}

fn idle_in_a_transaction(row: &Row<'_>) -> bool {
    row.text("state")
        .is_some_and(|state| state.starts_with("idle in transaction"))
}

fn idle_in_transaction_count(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let floor = view.floor("idle");
    let sessions = clients(view)?;
    let idle = sessions
        .iter()
        .filter(|row| idle_in_a_transaction(row) && row.float("state_age_seconds") >= Some(floor));
    let count = idle.count();
    Ok(vec![Observation {
        value: count as f64,
        title: format!(
            "{count} sessions have been idle in a transaction for {} or longer",
            seconds(floor)
        ),
        ..Observation::default()
    }])
}

fn session_age(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let sessions = clients(view)?;
    let age = |row: &Row<'_>| row.float("backend_age_seconds").unwrap_or(0.0);
    let oldest = sessions.iter().max_by(|a, b| age(a).total_cmp(&age(b)));
    Ok(oldest
        .map(|row| Observation {
            value: age(row) / 86_400.0,
            title: format!(
                "the oldest session, of {}, is {} old",
                who(row),
                seconds(age(row))
            ),
            since: row.time("backend_start"),
            evidence: session::evidence(row),
            ..Observation::default()
        })
        .into_iter()
        .collect())
}

fn slow_clients(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let sessions = clients(view)?;
    let waiting = sessions.iter().filter(|row| {
        row.text("state") == Some("active") && row.text("wait_event_type") == Some("Client")
    });
    Ok(waiting
        .map(|row| {
            let age = row.float("query_age_seconds").unwrap_or(f64::NAN);
            let mut evidence = session::evidence(row);
            evidence.extend(row.evidence(&["wait_event"]));
            Observation {
                object: object(row),
                value: age,
                title: format!(
                    "a statement of {} has run for {} and waits for its client",
                    who(row),
                    seconds(age)
                ),
                since: row.time("query_start"),
                evidence,
                remedy: Some(end(row)),
                ..Observation::default()
            }
        })
        .collect())
}

/// Returns how much a counter of the collector `database` grew in a row.
fn grown(row: &Row<'_>, old: Option<&Row<'_>>, name: &str) -> Option<f64> {
    old.and_then(|old| row.growth(*old, name))
}

fn connection_rate(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let growth = view.growth("database")?;
    let mut seen = session::reset_databases(view, &growth);
    let opened: f64 = growth
        .rows
        .iter()
        .filter_map(|(row, old)| grown(row, old.as_ref(), "sessions"))
        .sum();
    seen.push(Observation {
        value: opened / growth.seconds,
        title: format!(
            "{opened:.0} sessions were opened in {}",
            seconds(growth.seconds)
        ),
        ..Observation::default()
    });
    Ok(seen)
}

fn sessions_abandoned(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    abnormal(
        view,
        "sessions_abandoned",
        "ended because the client was lost",
    )
}

fn sessions_fatal(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    abnormal(view, "sessions_fatal", "were ended by a fatal error")
}

fn abnormal(view: &View<'_>, column: &str, ended: &str) -> Result<Vec<Observation>, Missing> {
    let growth = view.growth("database")?;
    let floor = view.floor("sessions");
    let mut seen = session::reset_databases(view, &growth);
    seen.extend(growth.rows.iter().filter_map(|(row, old)| {
        let name = row.text("datname")?;
        let count = grown(row, old.as_ref(), column)?;
        let opened = grown(row, old.as_ref(), "sessions")?;
        // Sessions opened before the last look end too: the share never exceeds all of them.
        let share = 100.0 * count / opened.max(count).max(1.0);
        (count >= floor).then(|| Observation {
            object: name.to_owned(),
            value: share,
            title: format!(
                "{count:.0} sessions in database \"{name}\" {ended} within {} ({share:.0} % of {opened:.0} opened)",
                seconds(growth.seconds)
            ),
            evidence: row.evidence(&["sessions", column]),
            ..Observation::default()
        })
    }));
    Ok(seen)
}

fn sessions_killed(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let growth = view.growth("database")?;
    let mut seen = session::reset_databases(view, &growth);
    seen.extend(growth.rows.iter().filter_map(|(row, old)| {
        let name = row.text("datname")?;
        let count = grown(row, old.as_ref(), "sessions_killed")?;
        Some(Observation {
            object: name.to_owned(),
            value: count,
            title: format!(
                "{count:.0} sessions in database \"{name}\" were ended by an operator within {}",
                seconds(growth.seconds)
            ),
            evidence: row.evidence(&["sessions_killed"]),
            ..Observation::default()
        })
    }));
    Ok(seen)
}

fn unencrypted_clients(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let mut processes = session::processes(view)?;
    processes.retain(|row| {
        let address = row.text("client_addr");
        let loopback = |address: &str| address.starts_with("127.") || address == "::1";
        !ours(row) && address.is_some_and(|address| !loopback(address))
    });
    let mut clear: BTreeMap<(&str, &str), f64> = BTreeMap::new();
    for row in processes {
        if row.flag("ssl") != Some(true) && row.flag("encrypted") != Some(true) {
            let role = row.text("usename").unwrap_or_default();
            let address = row.text("client_addr").unwrap_or_default();
            *clear.entry((role, address)).or_default() += 1.0;
        }
    }
    let seen = clear.iter().map(|((role, address), count)| Observation {
        object: format!("{role}@{address}"),
        value: *count,
        title: format!("role \"{role}\" has {count:.0} unencrypted sessions from {address}"),
        ..Observation::default()
    });
    Ok(seen.collect())
}
