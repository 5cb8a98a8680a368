//! Causes that only the server log tells.

use pawang_core::DownFacts;

use super::{Cause, cause};

/// A text of the server's and what it means.
struct Sign {
    /// Texts that must all be in the line.
    texts: &'static [&'static str],
    id: &'static str,
    remedy: &'static str,
}

/// In the order of certainty; the server writes these texts when `lc_messages` is English, its default in most packages.
const SIGNS: &[Sign] = &[
    Sign {
        texts: &["No space left on device"],
        id: "disk-full",
        remedy: "free room on the disk that the message names, outside of the data directory; never delete files in pg_wal",
    },
    Sign {
        texts: &["could not access file", "No such file or directory"],
        id: "library-missing",
        remedy: "install the package of the library, or take it out of shared_preload_libraries in postgresql.conf",
    },
    Sign {
        texts: &["could not load library"],
        id: "library-missing",
        remedy: "install the library for this major version, or take it out of shared_preload_libraries in postgresql.conf",
    },
    Sign {
        texts: &["could not bind", "Address already in use"],
        id: "port-in-use",
        remedy: "stop the other program, or set another port: ss -lntp",
    },
    Sign {
        texts: &["could not map anonymous shared memory"],
        id: "shared-memory",
        remedy: "lower shared_buffers or max_connections, or reserve enough huge pages (huge_pages = try starts without them)",
    },
    Sign {
        texts: &["could not create shared memory segment"],
        id: "shared-memory",
        remedy: "raise kernel.shmmax and kernel.shmall, or lower shared_buffers",
    },
    Sign {
        texts: &["could not create semaphores"],
        id: "semaphores",
        remedy: "sysctl -w kernel.sem='250 512000 100 2048', or lower max_connections",
    },
    Sign {
        texts: &["pre-existing shared memory block"],
        id: "left-processes",
        remedy: "processes of the old server still run: end them (ps -C postgres), then start",
    },
    Sign {
        texts: &["database files are incompatible with server"],
        id: "version-mismatch",
        remedy: "start it with the binaries of its own major version, or upgrade with pg_upgrade",
    },
    Sign {
        texts: &["could not locate a valid checkpoint record"],
        id: "checkpoint-missing",
        remedy: "WAL was deleted, or a backup was restored without its WAL: restore from a backup with its backup_label, or fail over",
    },
    Sign {
        texts: &["could not locate required checkpoint record"],
        id: "checkpoint-missing",
        remedy: "the backup lacks WAL: set restore_command and create recovery.signal; do not delete backup_label",
    },
    Sign {
        texts: &["recovery ended before configured recovery target was reached"],
        id: "recovery-target",
        remedy: "the archive ends before the target: choose an earlier recovery_target or add the missing WAL",
    },
    Sign {
        texts: &[
            "requested timeline",
            "is not a child of this server's history",
        ],
        id: "timeline",
        remedy: "the standby went its own way: pg_rewind it, or build it anew",
    },
    Sign {
        texts: &["insufficient parameter settings"],
        id: "standby-settings",
        remedy: "set max_connections, max_worker_processes, max_wal_senders, max_prepared_transactions and max_locks_per_transaction at least as on the primary",
    },
    Sign {
        texts: &["private key file", "has group or world access"],
        id: "ssl-file",
        remedy: "chmod 0600 on the file of ssl_key_file",
    },
    Sign {
        texts: &["could not load server certificate file"],
        id: "ssl-file",
        remedy: "put a certificate at ssl_cert_file, or set ssl = off",
    },
    Sign {
        texts: &["has wrong ownership"],
        id: "data-directory-owner",
        remedy: "chown postgres: on the data directory",
    },
    Sign {
        texts: &["has invalid permissions"],
        id: "data-directory-permissions",
        remedy: "chmod 0700 on the data directory",
    },
    Sign {
        texts: &["could not create lock file"],
        id: "lock-file",
        remedy: "make the directory that the message names, writable for the server's user",
    },
    Sign {
        texts: &["could not load pg_hba.conf"],
        id: "hba-syntax",
        remedy: "correct the line that the log names just before",
    },
    Sign {
        texts: &["unrecognized configuration parameter"],
        id: "configuration-parameter",
        remedy: "remove the line that the message names",
    },
    Sign {
        texts: &["out of memory"],
        id: "out-of-memory",
        remedy: "lower work_mem and shared_buffers, or add memory; set vm.overcommit_memory = 2",
    },
    Sign {
        texts: &["was terminated by signal 9"],
        id: "killed",
        remedy: "the kernel or a person killed it: dmesg -T | grep -i 'killed process'; see the check oom-kills",
    },
    Sign {
        texts: &["PANIC:"],
        id: "panic",
        remedy: "look at the disk (dmesg) and at the message; start it again, it recovers by itself; else restore or fail over",
    },
];

/// Adds what the log tells and is not known already.
pub(super) fn causes(facts: &DownFacts, causes: &mut Vec<Cause>) {
    for sign in SIGNS {
        let meant = |line: &&String| {
            sign.texts.iter().all(|text| line.contains(text)) && !is_statement(line)
        };
        let Some(line) = facts.log_lines.iter().rev().find(meant) else {
            continue;
        };
        if causes.iter().any(|known| known.id == sign.id) {
            continue;
        }
        let message = message(line);
        let mut found = cause(
            sign.id,
            format!("the server log says: {message}"),
            sign.remedy,
        );
        found.evidence.push(("log line".to_owned(), line.clone()));
        causes.push(found);
    }
}

/// Quoted statements and client errors may hold any text.
fn is_statement(line: &str) -> bool {
    ["STATEMENT:", "ERROR:", "CONTEXT:", "DETAIL:"]
        .iter()
        .any(|word| line.contains(word))
}

fn message(line: &str) -> &str {
    let words = ["PANIC:", "FATAL:", "LOG:", "WARNING:"];
    let found = words.iter().find_map(|word| line.split_once(word));
    found.map_or(line, |(_, message)| message.trim())
}
