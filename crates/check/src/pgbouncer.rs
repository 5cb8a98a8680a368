//! PgBouncer: who waits, what is full, what is paused, and settings that put logins at risk.

use pawang_core::{Blind, Level, Missing, Row, Unit};

use crate::{Check, Direction, Floor, Group, Observation, Scope, View};

pub(crate) static CHECKS: &[Check] = &[
    Check {
        id: "pgbouncer-reachable",
        title: "PgBouncer answers",
        needs: &["pgbouncer-version"],
        unit: Unit::State,
        what: "Whether the console of PgBouncer (database \"pgbouncer\") answers SHOW VERSION. A console that answers and refuses Pawang's role is \
               no outage: that is reported as not seen, with the lines that let the role in.",
        why: "Applications that go through the pooler are cut off although the server itself is well.",
        fix: "systemctl status pgbouncer; tail its log; psql -h HOST -p 6432 pgbouncer. For 'not allowed' add the role to stats_users.",
        observe: reachable,
        ..POOLER
    },
    Check {
        id: "pgbouncer-maxwait",
        title: "longest wait for a server connection",
        needs: &["pgbouncer-pools"],
        unit: Unit::Seconds,
        warning: Some(1.0),
        critical: Some(10.0),
        what: "How long the first client in the queue of each pool has waited (maxwait and maxwait_us of SHOW POOLS).",
        why: "A waiting client is a hanging application: the pool is too small or its servers are stuck in long transactions.",
        fix: "Find what holds the servers: SHOW SERVERS; and on the database SELECT pid, state, xact_start, query FROM pg_stat_activity \
              WHERE state <> 'idle' ORDER BY xact_start; then raise pool_size or shorten transactions.",
        observe: maxwait,
        ..POOLER
    },
    Check {
        id: "pgbouncer-waiting-clients",
        title: "clients waiting for a server connection",
        needs: &["pgbouncer-pools"],
        unit: Unit::Count,
        warning: Some(5.0),
        critical: Some(50.0),
        what: "Clients of each pool that have sent a query and have no server connection yet (cl_waiting of SHOW POOLS).",
        why: "A queue that does not empty grows until clients time out.",
        fix: "Raise pool_size if the database has free slots and CPU, else make transactions shorter.",
        observe: waiting,
        ..POOLER
    },
    Check {
        id: "pgbouncer-pool-saturation",
        title: "server connections of a pool in use",
        needs: &["pgbouncer-pools", "pgbouncer-databases"],
        unit: Unit::Percent,
        warning: Some(100.0),
        floors: &[Floor {
            name: "pool-size",
            value: 2.0,
            unit: Unit::Count,
            ignores: "pools of fewer server connections",
        }],
        what: "Server connections that work for a client (sv_active) as a share of pool_size, per pool.",
        why: "In a full pool the next client waits; the reserve pool, if any, helps only after reserve_pool_timeout.",
        fix: "Raise pool_size of that database, or move long transactions to a pool of their own.",
        observe: saturation,
        ..POOLER
    },
    Check {
        id: "pgbouncer-database-connections",
        title: "connections of a database against max_db_connections",
        needs: &["pgbouncer-databases"],
        unit: Unit::Percent,
        warning: Some(80.0),
        critical: Some(95.0),
        what: "Server connections of all pools of a database as a share of its max_connections (SHOW DATABASES); 0 means no limit.",
        why: "At the limit the pools of different users take connections from each other and clients wait.",
        fix: "Raise max_db_connections, or lower pool_size of the users that need less.",
        observe: database_connections,
        ..POOLER
    },
    Check {
        id: "pgbouncer-client-connections",
        title: "clients against max_client_conn",
        needs: &["pgbouncer-lists", "pgbouncer-config"],
        unit: Unit::Percent,
        warning: Some(80.0),
        critical: Some(90.0),
        what: "Connected clients (used_clients of SHOW LISTS) as a share of max_client_conn (SHOW CONFIG).",
        why: "At the limit PgBouncer refuses with \"no more connections allowed (max_client_conn)\".",
        fix: "Raise max_client_conn and the limit of open files of the service (LimitNOFILE), and look for applications that leak connections: SHOW CLIENTS;",
        observe: clients,
        ..POOLER
    },
    Check {
        id: "pgbouncer-wait-time",
        title: "mean wait for a server connection",
        needs: &["pgbouncer-stats"],
        unit: Unit::Milliseconds,
        warning: Some(100.0),
        critical: Some(1_000.0),
        what: "Time that clients waited for a server connection per assignment of one, of each database, since the last run (growth of \
               total_wait_time of SHOW STATS; before PgBouncer 1.23 per transaction). avg_wait_time is another number there: \
               until 1.22 the microseconds waited per second. Clients that wait while they log in are not counted: see pgbouncer-server-login.",
        why: "It is added to every transaction and no statistic of the database shows it.",
        fix: "Raise pool_size, or shorten transactions; see pgbouncer-maxwait.",
        observe: wait_time,
        ..POOLER
    },
    Check {
        id: "pgbouncer-query-time",
        title: "mean time per query",
        needs: &["pgbouncer-stats"],
        unit: Unit::Milliseconds,
        warning: Some(30_000.0),
        critical: Some(300_000.0),
        what: "Mean time of the queries of each database since the last run (growth of total_query_time and total_query_count of SHOW STATS). \
               A query counts when it has ended: those that still run are in SHOW SERVERS.",
        why: "Pools are sized for a query time; when it doubles, the same pool serves half of the clients.",
        fix: "Find the statements: pawang check statements; keep long reports out of pools of short transactions.",
        observe: query_time,
        ..POOLER
    },
    Check {
        id: "pgbouncer-paused",
        title: "databases that are paused or disabled",
        needs: &["pgbouncer-databases"],
        unit: Unit::State,
        what: "Whether a database was stopped by PAUSE or DISABLE in the console (paused and disabled of SHOW DATABASES).",
        why: "Clients of a paused database hang without an error, those of a disabled one are refused; both are easily forgotten after maintenance.",
        fix: "RESUME database; or ENABLE database; in the console.",
        observe: paused,
        ..POOLER
    },
    Check {
        id: "pgbouncer-server-login",
        title: "pools that cannot log in to the server",
        needs: &["pgbouncer-pools", "pgbouncer-databases"],
        unit: Unit::State,
        what: "Pools with waiting clients and no server connection that is logged in (SHOW POOLS), while nobody paused the database and \
               max_db_connections is not reached. Between two attempts (server_login_retry, 15 s) there is none even in sv_login. \
               Where an attempt is under way, it must have been so in the last run too. Clients that the server refuses, for a wrong password \
               for instance, do not wait but are sent away: only PgBouncer's log counts them.",
        why: "The server is down, full, or refuses the pooler's password: every client of that pool waits and then fails.",
        fix: "Look at PgBouncer's log for the server's answer; check auth_file, auth_query and pg_hba.conf of the server.",
        observe: logging_in,
        ..POOLER
    },
    Check {
        id: "pgbouncer-auth-type",
        title: "how PgBouncer authenticates clients",
        needs: &["pgbouncer-config"],
        unit: Unit::State,
        what: "auth_type of SHOW CONFIG: \"any\" and \"trust\" ask for no password, \"plain\" and \"md5\" are weak. \
               Without a TCP address (listen_addr empty or loopback) only users of the machine get in.",
        why: "Whoever reaches the port is any user of the database, past pg_hba.conf of the server.",
        fix: "auth_type = scram-sha-256 with auth_file or auth_query, or hba with auth_hba_file; then RELOAD;",
        observe: auth_type,
        ..POOLER
    },
    Check {
        id: "pgbouncer-tls",
        title: "TLS between clients and PgBouncer",
        needs: &["pgbouncer-config"],
        unit: Unit::State,
        what: "client_tls_sslmode of SHOW CONFIG, when PgBouncer listens on an address that is not the loopback.",
        why: "Passwords and data of all clients travel readable: hostssl lines in pg_hba.conf protect only the way behind the pooler.",
        fix: "client_tls_sslmode = require, client_tls_key_file and client_tls_cert_file in pgbouncer.ini; then RELOAD;",
        observe: tls,
        ..POOLER
    },
    Check {
        id: "pgbouncer-pool-mode",
        title: "pool mode",
        needs: &["pgbouncer-databases", "pgbouncer-config"],
        unit: Unit::State,
        what: "pool_mode of each database: \"statement\" forbids transactions; \"transaction\" shares sessions, so SET, LISTEN, \
               advisory locks and row security by session settings leak to other clients.",
        why: "In statement mode multi-statement transactions fail with an error that looks like one of the application.",
        fix: "pool_mode = transaction, with SET LOCAL instead of SET in applications.",
        observe: pool_mode,
        ..POOLER
    },
    Check {
        id: "pgbouncer-version",
        title: "version of PgBouncer",
        needs: &["pgbouncer-version"],
        unit: Unit::State,
        what: "The version of SHOW VERSION against 1.24.1, which closes CVE-2025-2291 (an auth_query that ignores password expiry). \
               Distributions may have the correction in an older number.",
        why: "Old versions let expired passwords in, lack KILL_CLIENT and prepared statements in transaction mode (1.21).",
        fix: "Upgrade from https://apt.postgresql.org; restart without losing clients: SO_REUSEPORT with a second process, or RELOAD and takeover.",
        observe: version,
        ..POOLER
    },
];

/// What the checks of this group have in common.
const POOLER: Check = Check {
    id: "",
    group: Group::Pgbouncer,
    title: "",
    scope: Scope::Server,
    needs: &[],
    unit: Unit::State,
    direction: Direction::Above,
    warning: None,
    critical: None,
    floors: &[],
    what: "",
    why: "",
    fix: "",
    observe: |_| Ok(Vec::new()),
};

fn pool(row: Row<'_>) -> String {
    format!("{}/{}", text(row, "database"), text(row, "user"))
}

fn text<'a>(row: Row<'a>, column: &str) -> &'a str {
    row.text(column).unwrap_or_default()
}

fn config<'a>(view: &View<'a>, key: &str) -> Result<&'a str, Missing> {
    let mut rows = view.snapshot("pgbouncer-config")?.rows();
    let row = rows.find(|row| row.text("key") == Some(key));
    Ok(row.and_then(|row| row.text("value")).unwrap_or_default())
}

fn judged(object: &str, level: Level, title: String) -> Observation {
    Observation {
        object: object.to_owned(),
        value: f64::from(u8::from(level > Level::Ok)),
        level: Some(level),
        title,
        ..Observation::default()
    }
}

fn reachable(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    match view.snapshot("pgbouncer-version") {
        Ok(_) => Ok(vec![judged("", Level::Ok, "PgBouncer answers".to_owned())]),
        // That the server does not answer says nothing about it.
        Err(Missing::Blind(Blind::Unreachable { what, .. })) if view.asked("pgbouncer-version") => {
            let title = format!("PgBouncer does not answer: {what}");
            Ok(vec![judged("", Level::Critical, title)])
        }
        Err(missing) => Err(missing),
    }
}

fn pools<'a>(view: &View<'a>) -> Result<Vec<Row<'a>>, Missing> {
    let rows = view.snapshot("pgbouncer-pools")?.rows();
    // The console's own pool serves no database.
    Ok(rows
        .filter(|row| row.text("database") != Some("pgbouncer"))
        .collect())
}

const POOL_COLUMNS: [&str; 8] = [
    "cl_active",
    "cl_waiting",
    "sv_active",
    "sv_idle",
    "sv_used",
    "sv_login",
    "maxwait",
    "pool_mode",
];

fn maxwait(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let observation = |row: Row<'_>| {
        let seconds = row.float("maxwait").unwrap_or(0.0);
        let seconds = seconds + row.float("maxwait_us").unwrap_or(0.0) / 1e6;
        let waiting = row.float("cl_waiting").unwrap_or(0.0);
        Observation {
            object: pool(row),
            value: seconds,
            title: format!(
                "the first of {waiting:.0} waiting clients of pool {} has waited {}",
                pool(row),
                Unit::Seconds.show(seconds)
            ),
            evidence: row.evidence(&POOL_COLUMNS),
            ..Observation::default()
        }
    };
    Ok(pools(view)?.into_iter().map(observation).collect())
}

fn waiting(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let observation = |row: Row<'_>| {
        let waiting = row.float("cl_waiting").unwrap_or(0.0);
        Observation {
            object: pool(row),
            value: waiting,
            title: format!(
                "{waiting:.0} clients of pool {} wait for a server connection",
                pool(row)
            ),
            evidence: row.evidence(&POOL_COLUMNS),
            ..Observation::default()
        }
    };
    Ok(pools(view)?.into_iter().map(observation).collect())
}

fn saturation(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let databases = view.snapshot("pgbouncer-databases")?;
    let mut observations = Vec::new();
    for row in pools(view)? {
        let mut rows = databases.rows();
        let database = rows.find(|database| database.text("name") == row.text("database"));
        let size = database.and_then(|database| database.float("pool_size"));
        let (Some(size), Some(active)) = (size, row.float("sv_active")) else {
            continue;
        };
        let small = size < view.floor("pool-size");
        observations.push(Observation {
            object: pool(row),
            value: active / size.max(1.0) * 100.0,
            level: small.then_some(Level::Ok),
            title: format!(
                "{active:.0} of {size:.0} server connections of pool {} are in use",
                pool(row)
            ),
            evidence: row.evidence(&POOL_COLUMNS),
            ..Observation::default()
        });
    }
    Ok(observations)
}

fn database_connections(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let mut observations = Vec::new();
    for row in view.snapshot("pgbouncer-databases")?.rows() {
        let limit = row.float("max_connections").unwrap_or(0.0);
        let Some(used) = row.float("current_connections").filter(|_| limit > 0.0) else {
            continue;
        };
        observations.push(Observation {
            object: text(row, "name").to_owned(),
            value: used / limit * 100.0,
            title: format!(
                "database \"{}\" has {used:.0} of {limit:.0} server connections",
                text(row, "name")
            ),
            evidence: row.evidence(&["max_connections", "current_connections", "pool_size"]),
            ..Observation::default()
        });
    }
    if observations.is_empty() {
        return Err(Missing::NotApplicable(
            "no database of PgBouncer has max_db_connections".to_owned(),
        ));
    }
    Ok(observations)
}

fn clients(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let mut rows = view.snapshot("pgbouncer-lists")?.rows();
    let used = rows.find(|row| row.text("list") == Some("used_clients"));
    let used = used.and_then(|row| row.float("items"));
    let limit: Option<f64> = config(view, "max_client_conn")?.parse().ok();
    let (Some(used), Some(limit)) = (used, limit) else {
        return Err(Blind::Failed {
            what: "SHOW LISTS or SHOW CONFIG lacks used_clients or max_client_conn".to_owned(),
        }
        .into());
    };
    Ok(vec![Observation {
        value: used / limit.max(1.0) * 100.0,
        title: format!("{used:.0} of {limit:.0} client connections are taken"),
        ..Observation::default()
    }])
}

fn wait_time(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    // Each transaction needs one assignment in transaction mode, and at most one in session mode.
    let times = ["total_server_assignment_count", "total_xact_count"];
    mean(view, "total_wait_time", &times, |mean, count, database| {
        format!(
            "clients of database \"{database}\" waited {mean} on average for a server connection ({count:.0} times one was assigned)"
        )
    })
}

fn query_time(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let times = ["total_query_count"];
    mean(view, "total_query_time", &times, |mean, count, database| {
        format!("{count:.0} queries in database \"{database}\" took {mean} on average")
    })
}

/// Divides the growth of a time by that of the first of several counts that this version tells.
fn mean(
    view: &View<'_>,
    time: &str,
    counts: &[&str],
    title: impl Fn(String, f64, &str) -> String,
) -> Result<Vec<Observation>, Missing> {
    let mut observations = Vec::new();
    for (row, older) in view.growth("pgbouncer-stats")?.rows {
        let database = text(row, "database");
        let Some(older) = older.filter(|_| database != "pgbouncer") else {
            continue;
        };
        let known = counts.iter().find(|count| row.float(count).is_some());
        let count = known.and_then(|count| row.growth(older, count));
        let (Some(spent), Some(count)) = (row.growth(older, time), count) else {
            let what = "PgBouncer was restarted".to_owned();
            return Err(Blind::Reset { what }.into());
        };
        let value = spent / 1_000.0 / count.max(1.0);
        observations.push(Observation {
            object: database.to_owned(),
            value,
            title: title(Unit::Milliseconds.show(value), count, database),
            evidence: row.evidence(&["total_xact_count", "total_query_count", time]),
            ..Observation::default()
        });
    }
    Ok(observations)
}

fn paused(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let mut observations = Vec::new();
    for row in view.snapshot("pgbouncer-databases")?.rows() {
        let name = text(row, "name");
        let set = |column: &str| row.float(column).unwrap_or(0.0) != 0.0;
        let (level, word, command) = match (set("paused"), set("disabled")) {
            (true, _) => (Level::Critical, "paused", "RESUME"),
            (_, true) => (Level::Warning, "disabled", "ENABLE"),
            _ => (Level::Ok, "served", ""),
        };
        observations.push(Observation {
            remedy: Some(format!("{command} \"{name}\";  -- in PgBouncer's console")),
            evidence: row.evidence(&["host", "port", "paused", "disabled"]),
            ..judged(
                name,
                level,
                format!("database \"{name}\" of PgBouncer is {word}"),
            )
        });
    }
    Ok(observations)
}

fn logging_in(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let databases = view.snapshot("pgbouncer-databases")?;
    let older = view
        .older
        .and_then(|older| older.snapshot("pgbouncer-pools", None).ok());
    let mut observations = Vec::new();
    for row in pools(view)? {
        let mut rows = databases.rows();
        let database = rows.find(|database| database.text("name") == row.text("database"));
        let before = older.and_then(|older| older.rows().find(|old| pool(*old) == pool(row)));
        let level = match alone(row) {
            false => Level::Ok,
            true if database.is_some_and(held_back) => Level::Ok,
            true if row.float("sv_login").unwrap_or(0.0) == 0.0 => Level::Critical,
            // A new pool logs in as well, for milliseconds.
            true if before.is_some_and(alone) => Level::Critical,
            true => Level::Ok,
        };
        let title = format!(
            "pool {} has {:.0} waiting clients and no server connection that is logged in",
            pool(row),
            row.float("cl_waiting").unwrap_or(0.0)
        );
        observations.push(Observation {
            evidence: row.evidence(&POOL_COLUMNS),
            ..judged(&pool(row), level, title)
        });
    }
    Ok(observations)
}

/// Says whether clients of a pool wait without one server connection that works.
fn alone(row: Row<'_>) -> bool {
    let servers = [
        "sv_active",
        "sv_active_cancel",
        "sv_being_canceled",
        "sv_idle",
        "sv_used",
        "sv_tested",
    ];
    let none = |column: &&str| row.float(column).unwrap_or(0.0) == 0.0;
    row.float("cl_waiting").unwrap_or(0.0) > 0.0 && servers.iter().all(none)
}

/// Says whether PgBouncer itself opens no more connections to a database.
fn held_back(database: Row<'_>) -> bool {
    let number = |column: &str| database.float(column).unwrap_or(0.0);
    let limit = number("max_connections");
    number("paused") != 0.0 || (limit > 0.0 && number("current_connections") >= limit)
}

/// Says whether clients of other machines can reach PgBouncer.
fn open(view: &View<'_>) -> Result<bool, Missing> {
    let addresses = config(view, "listen_addr")?;
    let loopback =
        |address: &str| matches!(address, "" | "localhost" | "::1") || address.starts_with("127.");
    Ok(!addresses.split(',').map(str::trim).all(loopback))
}

fn auth_type(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let kind = config(view, "auth_type")?;
    let open = open(view)?;
    let level = match kind {
        "any" | "trust" if open => Level::Critical,
        "any" | "trust" => Level::Info,
        "plain" if open => Level::Critical,
        "plain" | "md5" => Level::Warning,
        _ => Level::Ok,
    };
    let reach = if open {
        "other machines"
    } else {
        "this machine only"
    };
    let title = format!("auth_type is \"{kind}\" for clients of {reach}");
    Ok(vec![judged("", level, title)])
}

fn tls(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    if !open(view)? {
        return Err(Missing::NotApplicable(
            "PgBouncer listens on no address of the network".to_owned(),
        ));
    }
    let mode = config(view, "client_tls_sslmode")?;
    let level = match mode {
        "" | "disable" | "allow" => Level::Warning,
        "prefer" => Level::Info,
        _ => Level::Ok,
    };
    let title = format!("client_tls_sslmode is \"{mode}\"");
    Ok(vec![judged("", level, title)])
}

fn pool_mode(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let level = |mode: &str| {
        if mode == "statement" {
            Level::Warning
        } else {
            Level::Ok
        }
    };
    let general = config(view, "pool_mode")?;
    let title = format!("pool_mode is {general} for databases without one of their own");
    let mut observations = vec![judged("", level(general), title)];
    for row in view.snapshot("pgbouncer-databases")?.rows() {
        let name = text(row, "name");
        let own = row.text("pool_mode").filter(|mode| !mode.is_empty());
        // The console itself is always pooled by statement.
        if let Some(mode) = own.filter(|_| name != "pgbouncer") {
            let title = format!("database \"{name}\" is pooled by {mode}");
            observations.push(judged(name, level(mode), title));
        }
    }
    Ok(observations)
}

fn version(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    const SAFE: [u32; 3] = [1, 24, 1];
    let row = view.row("pgbouncer-version")?;
    let text = text(row, "version");
    let number = text.split_whitespace().last().unwrap_or_default();
    let parts: Vec<u32> = number
        .split('.')
        .filter_map(|part| part.parse().ok())
        .collect();
    if parts.len() < 2 {
        return Err(Blind::Failed {
            what: format!("cannot read \"{text}\" as a version"),
        }
        .into());
    }
    let old = parts.as_slice() < SAFE.as_slice();
    let level = if old { Level::Info } else { Level::Ok };
    Ok(vec![judged(
        "",
        level,
        format!("PgBouncer is {number}, and 1.24.1 closes CVE-2025-2291"),
    )])
}

#[cfg(test)]
mod tests {
    use pawang_core::{Facts, Instance, Limits, Sighting, Timestamp};

    use super::*;

    #[test]
    fn a_server_that_is_down_says_nothing_about_pgbouncer() {
        let silent = |what: &str| Blind::Unreachable {
            what: what.to_owned(),
            hint: None,
        };
        let mut facts = Facts {
            instance: Instance::default(),
            at: Timestamp::UNIX_EPOCH,
            server: Err(silent("the server")),
            down: None,
            databases: Vec::new(),
            sightings: Vec::new(),
            notes: Vec::new(),
        };
        let title = |facts: &Facts| {
            let view = View {
                check: "pgbouncer-reachable",
                facts,
                older: None,
                database: None,
                limits: &Limits::default(),
                now: facts.at,
            };
            reachable(&view).map(|found| found[0].title.clone())
        };
        assert!(matches!(title(&facts), Err(Missing::Blind(_))));
        facts.sightings.push(Sighting {
            collector: "pgbouncer-version".to_owned(),
            database: None,
            seen: Err(silent("the pooler").into()),
        });
        let found = title(&facts).unwrap();
        assert_eq!(found, "PgBouncer does not answer: the pooler");
    }
}
