//! What the server's own log says.

mod events;

use pawang_core::{Level, Missing, Unit};

use crate::{Check, Direction, Group, Observation, Scope, View};

/// What checks that are about events of the log have in common.
const EVENT: Check = Check {
    id: "",
    group: Group::Availability,
    title: "",
    scope: Scope::Server,
    needs: &["host-paths", "host-log-events"],
    unit: Unit::Count,
    direction: Direction::Above,
    warning: None,
    critical: None,
    floors: &[],
    what: "",
    why: "",
    fix: "",
    observe: events::of_kinds,
};

pub(crate) static CHECKS: &[Check] = &[
    Check {
        id: "log-errors",
        title: "errors in the server log",
        needs: &["host-paths", "host-log"],
        warning: Some(100.0),
        what: "Lines of severity ERROR and FATAL in the server log of the last 24 hours, each counted by itself; any PANIC \
           is critical. Reads stderr, csvlog and jsonlog, at most the newest 64 MB, and only on the server's own \
           machine. Continuation lines do not count, so a statement that quotes \"ERROR:\" is no error. A line \
           without date counts as one of today.",
        why: "A PANIC means that the server restarted itself. Many FATAL lines mean refused logins or a crashing \
          application; many ERROR lines mean that statements, often a load, fail without anyone looking.",
        fix: "Read the log around the last message. Set log_line_prefix = '%m [%p] %q%u@%d/%a ' so that every line tells \
          when, who and where. Raise the limit for this server in pawang.toml when its errors are expected.",
        observe: log_errors,
        ..EVENT
    },
    Check {
        id: "logs-panic",
        title: "PANIC in the server log",
        critical: Some(1.0),
        what: "Records of severity PANIC of the last hour, by kind of event. Reads stderr, csvlog and jsonlog, at most the \
               newest 64 MB, and only on the server's own machine.",
        why: "A PANIC ends all sessions and starts the server again from its WAL; what led to it, such as a full disk for WAL \
               or damaged files, is often still there.",
        fix: "Read the log before the PANIC, make room or replace the storage, and take a backup before anything else.",
        observe: events::panics,
        ..EVENT
    },
    Check {
        id: "logs-crash",
        title: "crashed processes in the server log",
        critical: Some(1.0),
        what: "Records of the last hour that say that a process of the server was killed or crashed, and that all sessions were \
               ended for it. Told by SQLSTATE and message; what code of a user raises with the same text does not count. Reads \
               stderr, csvlog and jsonlog, at most the newest 64 MB, and only on the server's own machine.",
        why: "One crashed process ends all sessions and rolls their work back. Signal 9 is nearly always the kernel, out of \
               memory.",
        fix: "Signal 9: look for the kernel's message with dmesg, set vm.overcommit_memory = 2 and lower work_mem or \
               max_connections. Signal 6 or 11: look for an extension or a bug of a minor version that is behind.",
        ..EVENT
    },
    Check {
        id: "logs-corruption",
        title: "damaged data in the server log",
        critical: Some(1.0),
        what: "Records of the last hour that say that data cannot be read or trusted: checksums, invalid pages, missing files, \
               commit status or TOAST values, damaged indexes, failed reads and fsyncs, a read-only file system. Told by \
               SQLSTATE and message; what code of a user raises with the same text does not count. Reads stderr, csvlog and \
               jsonlog, at most the newest 64 MB, and only on the server's own machine.",
        why: "Damage spreads with every backup that replaces a good one, and rarely stays where it was first seen.",
        fix: "Keep the backups that exist. Copy the data directory before any repair; REINDEX a damaged index; restore a \
               damaged table, and have the storage checked.",
        ..EVENT
    },
    Check {
        id: "logs-disk-full",
        title: "a full disk in the server log",
        critical: Some(1.0),
        what: "Records of the last hour that say that no space was left on a device, for data, WAL, temporary files or the \
               target of COPY. Told by SQLSTATE and message; what code of a user raises with the same text does not count. \
               Reads stderr, csvlog and jsonlog, at most the newest 64 MB, and only on the server's own machine.",
        why: "A file system may have been full only for a moment, such as by temporary files of a sort, and show room again \
               when somebody looks; the statements failed all the same. Without room for WAL the server stops.",
        fix: "Find which device it was by the file in the message. Limit temporary files with temp_file_limit, move WAL or \
               temporary files to a device of their own, or make room.",
        ..EVENT
    },
    Check {
        id: "logs-out-of-memory",
        title: "memory refused in the server log",
        critical: Some(1.0),
        what: "Records of the last hour that say that memory was refused: by the operating system, for shared memory, for \
               locks, or for a new process. Told by SQLSTATE and message; what code of a user raises with the same text does \
               not count. Reads stderr, csvlog and jsonlog, at most the newest 64 MB, and only on the server's own machine.",
        why: "Statements and logins fail, and where the kernel overcommits memory the next refusal is a killed process and the \
               end of all sessions.",
        fix: "Lower work_mem, hash_mem_multiplier, maintenance_work_mem or the number of sessions. For shared memory raise \
               max_locks_per_transaction, as the hint in the log says.",
        ..EVENT
    },
    Check {
        id: "logs-wraparound",
        title: "wraparound warnings in the server log",
        critical: Some(1.0),
        what: "Records of the last hour in which the server warns that a database must be vacuumed, or refuses commands, \
               because transaction or multixact identifiers run out. Told by SQLSTATE and message; what code of a user raises \
               with the same text does not count. Reads stderr, csvlog and jsonlog, at most the newest 64 MB, and only on the \
               server's own machine.",
        why: "When identifiers have run out nothing can be written until a vacuum has finished, which may take days.",
        fix: "End old transactions, drop abandoned slots and prepared transactions, then run VACUUM (FREEZE) in the database \
               that the message names: pawang check xid-wraparound.",
        ..EVENT
    },
    Check {
        id: "logs-slot-lost",
        title: "lost replication slots in the server log",
        critical: Some(1.0),
        what: "Records of the last hour that say that a replication slot was invalidated or that a standby asked for WAL which \
               was removed. Told by SQLSTATE and message; what code of a user raises with the same text does not count. Reads \
               stderr, csvlog and jsonlog, at most the newest 64 MB, and only on the server's own machine.",
        why: "What read from the slot cannot go on: a standby has to be built again or to read the archive, a subscription has \
               to be copied again.",
        fix: "Build the standby again, or let it read the archive with restore_command; then raise max_slot_wal_keep_size or \
               wal_keep_size: pawang check slot-lost.",
        ..EVENT
    },
    Check {
        id: "logs-archive-failed",
        title: "failed archiving in the server log",
        warning: Some(1.0),
        what: "Records of the last hour that say that archive_command or the archive library failed. Told by SQLSTATE and \
               message; what code of a user raises with the same text does not count. Reads stderr, csvlog and jsonlog, at most \
               the newest 64 MB, and only on the server's own machine.",
        why: "WAL that cannot be archived is kept until the disk is full, and what is not in the archive cannot be restored.",
        fix: "Run archive_command by hand as the user of the server with a file of pg_wal; its own message is in the log \
               beside the failure: pawang check archiver-failing.",
        ..EVENT
    },
    Check {
        id: "logs-login-failures",
        title: "refused logins in the server log",
        warning: Some(20.0),
        critical: Some(200.0),
        what: "Logins of the last five minutes that the server refused, all together: wrong passwords, no line in pg_hba.conf, \
               unknown roles and databases, failed TLS. Needs a log line with date and time. Reads stderr, csvlog and jsonlog, \
               at most the newest 64 MB, and only on the server's own machine.",
        why: "Somebody guesses passwords, or an application was deployed with wrong ones and locks itself out.",
        fix: "Find the host in the log (log_line_prefix with %h) and stop it. Let pg_hba.conf name the networks of \
               applications only, with scram-sha-256: pawang check security.",
        observe: events::logins,
        ..EVENT
    },
    Check {
        id: "logs-deadlock",
        title: "deadlocks in the server log",
        warning: Some(5.0),
        what: "Deadlocks of the last hour, one for each statement that was ended for it. Unlike pg_stat_database, the log tells \
               which statements they were. Reads stderr, csvlog and jsonlog, at most the newest 64 MB, and only on the server's \
               own machine.",
        why: "Each one waited for deadlock_timeout and then lost its transaction; an application without retries lost its \
               work.",
        fix: "Read the DETAIL of the record: it names the statements and locks of all that took part. Lock rows in one order, \
               and let the application try again.",
        ..EVENT
    },
    Check {
        id: "logs-fatal",
        title: "sessions ended by FATAL",
        warning: Some(1.0),
        what: "Records of severity FATAL of the last hour, by kind of event, but for refused logins and sessions that an \
               administrator ended. Reads stderr, csvlog and jsonlog, at most the newest 64 MB, and only on the server's own \
               machine.",
        why: "A FATAL ends a session or keeps a process such as a standby's receiver from starting; the client sees a lost \
               connection.",
        fix: "Read the records around it: the kind of event tells the cause.",
        observe: events::fatal,
        ..EVENT
    },
    Check {
        id: "logs-forged",
        title: "forged lines in the server log",
        warning: Some(1.0),
        what: "Lines of the last hour that pretend to be records of the server, but came in through a name that a client chose, \
               such as a user name with a line end. Only the stderr format can be forged; in csvlog and jsonlog a name cannot \
               break a line. Reads stderr, csvlog and jsonlog, at most the newest 64 MB, and only on the server's own machine.",
        why: "Somebody who may not even be logged in tries to hide something, or to mislead whoever reads the log.",
        fix: "Find the client by the record before it, and let the server write jsonlog or csvlog: ALTER SYSTEM SET \
               log_destination = 'jsonlog'.",
        ..EVENT
    },
];

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
