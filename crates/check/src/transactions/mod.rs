//! Long transactions, what holds the horizon back, and how far transaction identifiers are from their end.

mod age;
mod long;
mod rate;

pub(crate) use long::end_prepared;

use pawang_core::Unit;

use crate::{Check, Direction, Floor, Group, Scope};

pub(crate) static CHECKS: &[Check] = &[
    Check {
        id: "oldest-transaction",
        group: Group::Transactions,
        title: "longest open transactions",
        scope: Scope::Server,
        needs: &["activity", "server"],
        unit: Unit::Seconds,
        direction: Direction::Above,
        warning: Some(1_800.0),
        critical: Some(7_200.0),
        floors: &[Floor {
            name: "age",
            value: 5.0,
            unit: Unit::Seconds,
            ignores: "transactions younger than this",
        }],
        what: "Age of each client's open transaction (now - pg_stat_activity.xact_start), whatever its state. Replication, \
               autovacuum, a VACUUM by hand and Pawang itself do not count; dumps and CREATE INDEX do, since they hold vacuum back. \
               For loads that run long every night, raise the limits of their database or of that time.",
        why: "Locks are held until the end of a transaction, and vacuum removes nothing in its database that was deleted \
              after its snapshot was taken: tables and indexes grow.",
        fix: "Commit in smaller pieces; for a forgotten session SELECT pg_terminate_backend(pid); on PostgreSQL 17 and later \
              transaction_timeout ends them by itself.",
        observe: long::oldest_transaction,
    },
    Check {
        id: "standby-transaction",
        group: Group::Transactions,
        title: "longest open transactions on a standby",
        scope: Scope::Server,
        needs: &["activity", "settings"],
        unit: Unit::Seconds,
        direction: Direction::Above,
        warning: Some(1_800.0),
        critical: Some(7_200.0),
        floors: &[Floor {
            name: "age",
            value: 5.0,
            unit: Unit::Seconds,
            ignores: "transactions younger than this",
        }],
        what: "Age of each client's open transaction on a standby, with what hot_standby_feedback and \
               max_standby_streaming_delay make of it.",
        why: "With hot_standby_feedback it holds back vacuum on the primary; without it, replay either waits for it \
              (max_standby_streaming_delay) or cancels it.",
        fix: "Run long reports on a standby of their own, with max_standby_streaming_delay = -1 and hot_standby_feedback = off.",
        observe: long::standby_transaction,
    },
    Check {
        id: "oldest-query",
        group: Group::Transactions,
        title: "longest running statements",
        scope: Scope::Server,
        needs: &["activity"],
        unit: Unit::Seconds,
        direction: Direction::Above,
        warning: Some(30.0),
        critical: Some(300.0),
        floors: &[Floor {
            name: "age",
            value: 1.0,
            unit: Unit::Seconds,
            ignores: "statements that have run for less than this",
        }],
        what: "How long each client's current statement has run (state 'active', now - pg_stat_activity.query_start). \
               Replication, autovacuum, parallel workers and Pawang itself do not count, nor does maintenance, which takes long by \
               nature (VACUUM, ANALYZE, REINDEX, CLUSTER, REPACK, CREATE, COPY): its transactions are judged by \
               oldest-transaction.",
        why: "A statement that runs longer than people wait for it is a missing index, a wrong plan, or one that waits \
              for a lock.",
        fix: "If it waits for a lock, see the check blocking. Otherwise EXPLAIN it; SELECT pg_cancel_backend(pid) stops it \
              without ending the session.",
        observe: long::oldest_query,
    },
    Check {
        id: "prepared-transactions",
        group: Group::Transactions,
        title: "forgotten prepared transactions",
        scope: Scope::Server,
        needs: &["prepared-transactions"],
        unit: Unit::Seconds,
        direction: Direction::Above,
        warning: Some(300.0),
        critical: Some(3_600.0),
        floors: &[],
        what: "Age of each transaction prepared for two-phase commit and neither committed nor rolled back \
               (pg_prepared_xacts).",
        why: "It has no session, survives restarts, keeps its locks, and holds back vacuum until somebody ends it: \
              the classic cause of a wraparound that nobody understands.",
        fix: "Ask the transaction manager what became of it; then, in its database, COMMIT PREPARED 'gid'; or ROLLBACK PREPARED 'gid';",
        observe: long::prepared_transactions,
    },
    Check {
        id: "xmin-horizon",
        group: Group::Transactions,
        title: "who holds vacuum back",
        scope: Scope::Server,
        needs: &["horizon"],
        unit: Unit::Count,
        direction: Direction::Above,
        warning: Some(10_000_000.0),
        critical: Some(100_000_000.0),
        floors: &[],
        what: "For each holder of an old snapshot or transaction, how many transactions have begun since: sessions \
               (backend_xid, backend_xmin), replication slots (xmin, catalog_xmin), standbys with hot_standby_feedback \
               and prepared transactions. Running vacuums do not count, since they hold nobody back.",
        why: "Vacuum cannot remove or freeze anything newer than the oldest of them, in any table of the database (slots, \
              standbys: of any database). Everything else that vacuum complains about follows from this.",
        fix: "Remove the holder that the finding names; vacuum catches up by itself afterwards.",
        observe: age::horizon,
    },
    Check {
        id: "xid-wraparound",
        group: Group::Transactions,
        title: "transaction identifiers used up",
        scope: Scope::Server,
        needs: &["database"],
        unit: Unit::Percent,
        direction: Direction::Above,
        warning: Some(40.0),
        critical: Some(70.0),
        floors: &[],
        what: "Age of each database's oldest unfrozen transaction (age(pg_database.datfrozenxid)) as a share of the 2,144,483,647 \
               after which the server refuses to begin transactions that write.",
        why: "At 100 % the server accepts no more writes until a vacuum is done, which takes hours on large tables.",
        fix: "Find what holds vacuum back (pawang check xmin-horizon table-xid-age), remove it, then in that database \
              VACUUM (FREEZE, INDEX_CLEANUP off, VERBOSE) the oldest tables. Do not wait for single-user mode.",
        observe: age::xid_wraparound,
    },
    Check {
        id: "multixact-wraparound",
        group: Group::Transactions,
        title: "multixact identifiers used up",
        scope: Scope::Server,
        needs: &["database"],
        unit: Unit::Percent,
        direction: Direction::Above,
        warning: Some(40.0),
        critical: Some(70.0),
        floors: &[],
        what: "Age of each database's oldest multixact (mxid_age(pg_database.datminmxid)) as a share of the 2,144,483,647 after \
               which the server refuses statements that need a new one. The members of multixacts have a limit of their own \
               that PostgreSQL 14 to 18 do not show.",
        why: "SELECT FOR SHARE and foreign keys on busy rows need multixacts; at 100 % such statements fail.",
        fix: "VACUUM (FREEZE) the tables that table-multixact-age names; end long transactions first.",
        observe: age::multixact_wraparound,
    },
    Check {
        id: "freeze-overdue",
        group: Group::Transactions,
        title: "databases that should have been frozen",
        scope: Scope::Server,
        needs: &["database", "server"],
        unit: Unit::Percent,
        direction: Direction::Above,
        warning: Some(150.0),
        critical: Some(300.0),
        floors: &[],
        what: "Age of each database's oldest unfrozen transaction as a share of autovacuum_freeze_max_age. At 100 % \
               autovacuum starts to freeze even where it is switched off, so that a little more is normal.",
        why: "An age well beyond 100 % means that the forced vacuum does not get there: it is blocked, too slow, cancelled \
              again and again, or held back by an old snapshot.",
        fix: "Look at pg_stat_progress_vacuum and at the checks xmin-horizon and blocking; give autovacuum more room: \
              ALTER SYSTEM SET vacuum_cost_limit = 2000; SELECT pg_reload_conf();",
        observe: age::freeze_overdue,
    },
    Check {
        id: "multixact-freeze-overdue",
        group: Group::Transactions,
        title: "databases whose multixacts should have been frozen",
        scope: Scope::Server,
        needs: &["database", "server"],
        unit: Unit::Percent,
        direction: Direction::Above,
        warning: Some(150.0),
        critical: Some(300.0),
        floors: &[],
        what: "Age of each database's oldest multixact as a share of autovacuum_multixact_freeze_max_age.",
        why: "As for transaction identifiers: the forced vacuum does not get there.",
        fix: "Look at pg_stat_progress_vacuum, and for long transactions that keep multixacts alive.",
        observe: age::multixact_freeze_overdue,
    },
    Check {
        id: "vacuum-failsafe",
        group: Group::Transactions,
        title: "distance to vacuum's failsafe",
        scope: Scope::Server,
        needs: &["database", "server"],
        unit: Unit::Percent,
        direction: Direction::Above,
        warning: Some(80.0),
        critical: Some(100.0),
        floors: &[],
        what: "Age of each database's oldest unfrozen transaction as a share of vacuum_failsafe_age (never taken as less than \
               105 % of autovacuum_freeze_max_age, as the server does).",
        why: "Beyond it vacuum drops everything else: no cost delay, no index cleanup. I/O goes up and indexes keep dead entries.",
        fix: "As for xid-wraparound; afterwards vacuum the tables once more, so that their indexes are cleaned.",
        observe: age::vacuum_failsafe,
    },
    Check {
        id: "xid-runway",
        group: Group::Transactions,
        title: "days until transaction identifiers run out",
        scope: Scope::Server,
        needs: &["database", "server"],
        unit: Unit::Days,
        direction: Direction::Below,
        warning: Some(30.0),
        critical: Some(7.0),
        floors: &[Floor {
            name: "span",
            value: 30.0,
            unit: Unit::Seconds,
            ignores: "looks that are closer together than this",
        }],
        what: "For databases that are beyond autovacuum_freeze_max_age and therefore rely on a vacuum that has not finished: \
               identifiers left until the server refuses writes, divided by those used per second since the last look.",
        why: "A percentage does not say how long there is; a busy server uses up a billion in days.",
        fix: "As for xid-wraparound, and stop what uses identifiers up: single-row commits, exception blocks in loops.",
        observe: age::runway,
    },
    Check {
        id: "table-xid-age",
        group: Group::Transactions,
        title: "tables that should have been frozen",
        scope: Scope::Database,
        needs: &["freeze"],
        unit: Unit::Percent,
        direction: Direction::Above,
        warning: Some(150.0),
        critical: Some(300.0),
        floors: &[],
        what: "age(pg_class.relfrozenxid) of the tables, materialized views and TOAST tables that are closest to their limit, \
               as a share of autovacuum_freeze_max_age or of the table's own smaller storage parameter.",
        why: "The oldest table makes the age of its database. Temporary tables of sessions count too, and only their own \
              session can vacuum them.",
        fix: "VACUUM (FREEZE, VERBOSE) the table; if that does not lower its age, something holds the horizon back.",
        observe: age::table_xid_age,
    },
    Check {
        id: "table-multixact-age",
        group: Group::Transactions,
        title: "tables whose multixacts should have been frozen",
        scope: Scope::Database,
        needs: &["freeze"],
        unit: Unit::Percent,
        direction: Direction::Above,
        warning: Some(150.0),
        critical: Some(300.0),
        floors: &[],
        what: "mxid_age(pg_class.relminmxid) of the tables that are closest to their limit, as a share of \
               autovacuum_multixact_freeze_max_age or of the table's own smaller storage parameter.",
        why: "The table with the oldest multixact makes the age of its database.",
        fix: "VACUUM (FREEZE, VERBOSE) the table.",
        observe: age::table_multixact_age,
    },
    Check {
        id: "subtransaction-overflow",
        group: Group::Transactions,
        title: "sessions with too many subtransactions",
        scope: Scope::Server,
        needs: &["subtransactions"],
        unit: Unit::Count,
        direction: Direction::Above,
        warning: None,
        critical: None,
        floors: &[],
        what: "Sessions with more than 64 open subtransactions, which no longer fit into shared memory \
               (pg_stat_get_backend_subxact(), PostgreSQL 16 and later). Savepoints and exception blocks of PL/pgSQL make them.",
        why: "From then on every other session looks each row's transaction up in pg_subtrans; together with one long \
              transaction the whole server, standbys first, slows down to a tenth.",
        fix: "Do not loop over exception blocks or savepoints in one transaction: INSERT .. ON CONFLICT, or a commit per batch.",
        observe: long::subtransaction_overflow,
    },
    Check {
        id: "subtransaction-reads",
        group: Group::Transactions,
        title: "reads of pg_subtrans from disk",
        scope: Scope::Server,
        needs: &["slru"],
        unit: Unit::PerSecond,
        direction: Direction::Above,
        warning: Some(100.0),
        critical: Some(1_000.0),
        floors: &[],
        what: "Blocks of pg_subtrans read per second because its cache does not hold them (pg_stat_slru, 'Subtrans', from \
               PostgreSQL 17 'subtransaction').",
        why: "Subtransactions have overflowed and visibility checks wait for the SLRU's lock: the subtransaction cliff.",
        fix: "End the longest transaction first, then find who uses savepoints; PostgreSQL 17: raise subtransaction_buffers.",
        observe: rate::subtransaction_reads,
    },
    Check {
        id: "rollback-ratio",
        group: Group::Transactions,
        title: "share of transactions rolled back",
        scope: Scope::Server,
        needs: &["database"],
        unit: Unit::Percent,
        direction: Direction::Above,
        warning: Some(5.0),
        critical: Some(20.0),
        floors: &[Floor {
            name: "transactions",
            value: 100.0,
            unit: Unit::Count,
            ignores: "databases with fewer transactions since the last look",
        }],
        what: "Transactions rolled back as a share of all that ended since the last look, per database \
               (pg_stat_database.xact_rollback, xact_commit). Every failed statement outside a transaction counts as one.",
        why: "Errors that an application swallows show up here first.",
        fix: "Group the errors in the server log by text; some drivers and poolers roll back instead of committing reads: \
              raise the limit for their database.",
        observe: rate::rollback_ratio,
    },
    Check {
        id: "commit-rate",
        group: Group::Transactions,
        title: "transactions per second",
        scope: Scope::Server,
        needs: &["database"],
        unit: Unit::PerSecond,
        direction: Direction::Below,
        warning: None,
        critical: None,
        floors: &[],
        what: "Transactions committed per second since the last look, per database. It has no limit by default: set a floor \
               for databases that are never quiet.",
        why: "A database that falls silent is often the first sign that its applications are down.",
        fix: "Look at the applications, the pooler and the checks blocking and connections.",
        observe: rate::commit_rate,
    },
    Check {
        id: "timeouts",
        group: Group::Transactions,
        title: "time-outs that are switched off",
        scope: Scope::Server,
        needs: &["settings"],
        unit: Unit::State,
        direction: Direction::Above,
        warning: None,
        critical: None,
        floors: &[],
        what: "Time-outs that are 0 for new sessions (pg_settings.reset_val, as this role sees it; others may have their own \
               by ALTER ROLE): idle_in_transaction_session_timeout, lock_timeout, statement_timeout, and from \
               PostgreSQL 17 transaction_timeout.",
        why: "Without them one forgotten window or one runaway statement holds locks and vacuum back for as long as it likes.",
        fix: "Set them per role, not for the whole server, so that dumps and maintenance are not cut off.",
        observe: rate::timeouts,
    },
];
