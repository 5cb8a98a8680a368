//! Rules about checkpoints, vacuum and temporary files.

use pawang_core::Level;

use super::{
    Rule, advice, beginning, many, percent, round_size, set, setting_size, size, span, time,
};
use crate::report::{Advice, Checkpoints, Report, VacuumedTable};

/// Share of checkpoints started by the amount of WAL, in percent, above which `max_wal_size` is too small.
const WAL_SHARE_MAX: u64 = 30;

/// Fewest such checkpoints that say anything.
const WAL_STARTS_MIN: u64 = 3;

/// Longest time that syncing one file, or all files of most checkpoints, should take, in microseconds.
const SYNC_ONE_MAX: u64 = 5_000_000;
const SYNC_ALL_MAX: u64 = 30_000_000;

/// Seconds between checkpoints that `max_wal_size` should allow: the default of `checkpoint_timeout`.
const TIMEOUT_SECONDS: u64 = 300;

/// Fewest cancelled vacuums, and the share of all in percent, that are worth a word.
const CANCELLED_MIN: u64 = 5;
const CANCELLED_SHARE_MIN: u64 = 5;

/// Fewest dead rows of a table that could not be removed.
const DEAD_KEPT_MIN: u64 = 100_000;

/// Fewest temporary files.
const TEMP_FILES_MIN: u64 = 10;

/// Share of the files, in percent, that the recommended memory avoids.
const TEMP_SHARE: u64 = 95;

/// Largest `work_mem` that is recommended for all sessions.
const WORK_MEM_GLOBAL_MAX: u64 = 64 << 20;

pub(super) const RULES: &[Rule] = &[
    max_wal_size,
    too_frequent,
    sync_slow,
    vacuum_memory,
    vacuum_cancelled,
    dead_rows,
    wraparound,
    work_mem,
];

fn starts(checkpoints: &Checkpoints, reason: &str) -> u64 {
    let has = |text: &str| text.split_ascii_whitespace().any(|word| word == reason);
    let starts = checkpoints.reasons.iter();
    starts
        .filter(|(text, _)| has(text))
        .map(|(_, count)| count)
        .sum()
}

/// Returns the `max_wal_size` that the log calls for: a checkpoint starts when about half of it is written (1.9 parts with the default of
/// `checkpoint_completion_target`), and the distances seen are capped by the value in use.
fn wal_size_needed(report: &Report) -> u64 {
    let distances = report.checkpoints.distance_max.saturating_mul(4);
    let rate = span(report)
        .filter(|&span| span >= 600_000_000)
        .map(|span| {
            let seconds = span / 1_000_000;
            report.checkpoints.distance / seconds * TIMEOUT_SECONDS * 2
        });
    round_size(distances.max(rate.unwrap_or(0)).max(1 << 30))
}

fn max_wal_size(report: &Report) -> Option<Advice> {
    let checkpoints = &report.checkpoints;
    let by_wal = starts(checkpoints, "wal");
    let regular = by_wal + starts(checkpoints, "time");
    let share = percent(by_wal, regular);
    if by_wal < WAL_STARTS_MIN || share <= WAL_SHARE_MAX {
        return None;
    }
    let needed = setting_size(wal_size_needed(report));
    advice(
        "checkpoint-max-wal-size",
        Level::Warning,
        "Let checkpoints start by time, not by the amount of WAL",
        format!(
            "{by_wal} of {regular} checkpoints ({share} %) started because max_wal_size was reached; up to {} of WAL lay between two",
            size(checkpoints.distance_max)
        ),
        set("max_wal_size", &needed),
    )
}

fn too_frequent(report: &Report) -> Option<Advice> {
    let count = report.checkpoints.too_frequent;
    if count == 0 {
        return None;
    }
    advice(
        "checkpoint-too-frequent",
        Level::Warning,
        "Give checkpoints more room",
        format!(
            "the server warned {} that checkpoints come closer than checkpoint_warning; they wrote {} in {}",
            many(count, "time", "times"),
            many(report.checkpoints.buffers, "buffer", "buffers"),
            time(report.checkpoints.total.total),
        ),
        set("max_wal_size", &setting_size(wal_size_needed(report))),
    )
}

fn sync_slow(report: &Report) -> Option<Advice> {
    let checkpoints = &report.checkpoints;
    if checkpoints.longest_sync < SYNC_ONE_MAX && checkpoints.sync.p95 < SYNC_ALL_MAX {
        return None;
    }
    advice(
        "checkpoint-sync-slow",
        Level::Warning,
        "Let the kernel write earlier, or give the data directory a faster disk",
        format!(
            "the longest sync of one file took {}, 5 of 100 checkpoints synced for {} or more",
            time(checkpoints.longest_sync),
            time(checkpoints.sync.p95)
        ),
        format!(
            "{}  -- and in /etc/sysctl.conf: vm.dirty_background_bytes = 268435456",
            set("checkpoint_flush_after", "256kB")
        ),
    )
}

fn vacuum_memory(report: &Report) -> Option<Advice> {
    let tables = report.vacuums.tables.items.iter();
    let tables: Vec<&VacuumedTable> = tables
        .filter(|table| table.vacuums > 0 && table.index_scans > table.vacuums)
        .collect();
    let worst = tables.iter().max_by_key(|table| table.index_scans)?;
    advice(
        "autovacuum-memory",
        Level::Warning,
        "Give autovacuum the memory to scan indexes once",
        format!(
            "{} had its indexes scanned more than once per vacuum; worst is {} with {} scans in {}",
            many(tables.len() as u64, "table", "tables"),
            worst.table,
            worst.index_scans,
            many(worst.vacuums, "vacuum", "vacuums"),
        ),
        set("autovacuum_work_mem", "1GB"),
    )
}

fn vacuum_cancelled(report: &Report) -> Option<Advice> {
    let vacuums = &report.vacuums;
    let all = vacuums.cancelled + vacuums.vacuums + vacuums.analyzes;
    let share = percent(vacuums.cancelled, all);
    if vacuums.cancelled < CANCELLED_MIN || share < CANCELLED_SHARE_MIN {
        return None;
    }
    advice(
        "autovacuum-cancelled",
        Level::Warning,
        "Let autovacuum finish",
        format!(
            "{} of {all} tasks of autovacuum ({share} %) were cancelled by a session that wanted a lock",
            vacuums.cancelled
        ),
        "take strong locks (ALTER TABLE, TRUNCATE, LOCK TABLE) at fixed hours, then run there: VACUUM (ANALYZE, VERBOSE) <table>;",
    )
}

fn dead_rows(report: &Report) -> Option<Advice> {
    let tables = report.vacuums.tables.items.iter();
    let kept = tables.filter(|table| table.dead_kept >= DEAD_KEPT_MIN);
    let kept: Vec<&VacuumedTable> = kept.collect();
    let worst = kept.iter().max_by_key(|table| table.dead_kept)?;
    advice(
        "dead-rows-kept",
        Level::Warning,
        "End what keeps dead rows alive: long transactions, prepared transactions, slots, standbys with feedback",
        format!(
            "the last vacuum of {} could not remove dead rows that somebody may still see; worst is {} with {}",
            many(kept.len() as u64, "table", "tables"),
            worst.table,
            worst.dead_kept
        ),
        "SELECT pid, usename, state, xact_start, backend_xmin, left(query, 60) FROM pg_stat_activity WHERE backend_xmin IS NOT NULL \
         ORDER BY age(backend_xmin) DESC LIMIT 10; SELECT gid, prepared FROM pg_prepared_xacts; \
         SELECT slot_name, xmin, catalog_xmin FROM pg_replication_slots;",
    )
}

fn wraparound(report: &Report) -> Option<Advice> {
    let vacuums = &report.vacuums;
    if vacuums.wraparound == 0 {
        return None;
    }
    advice(
        "autovacuum-wraparound",
        Level::Info,
        "Freeze large tables at a time of your choosing, before autovacuum must",
        format!(
            "{} of {} vacuums ran to prevent wraparound, which no lock request cancels",
            vacuums.wraparound, vacuums.vacuums
        ),
        "SELECT oid::regclass, age(relfrozenxid) FROM pg_class WHERE relkind IN ('r', 'm', 't') ORDER BY 2 DESC LIMIT 10; \
         then in a quiet hour: VACUUM (FREEZE, VERBOSE) <table>;",
    )
}

/// Returns the size that at least 95 of 100 files do not exceed, as far as the largest file of each statement tells.
fn temp_size(report: &Report) -> u64 {
    let files = &report.temp_files;
    let mut sizes: Vec<(u64, u64)> = files
        .statements
        .items
        .iter()
        .map(|statement| (statement.max, statement.count))
        .collect();
    sizes.sort_unstable();
    let mut covered = 0;
    for (max, count) in sizes {
        covered += count;
        if percent(covered, files.count) >= TEMP_SHARE {
            return max;
        }
    }
    files.max
}

fn work_mem(report: &Report) -> Option<Advice> {
    let files = &report.temp_files;
    if files.count < TEMP_FILES_MIN {
        return None;
    }
    // What is sorted takes about twice the room in memory that it takes in a file.
    let needed = round_size(temp_size(report).saturating_mul(2));
    let value = setting_size(needed);
    let top = files.statements.items.first();
    let because = format!(
        "{} files with {} in all, the largest {}; {value} would avoid about {TEMP_SHARE} of 100{}",
        files.count,
        size(files.bytes),
        size(files.max),
        top.filter(|top| !top.text.is_empty())
            .map_or_else(String::new, |top| format!(
                "; {} % of the bytes are of one statement: {}",
                percent(top.total, files.bytes),
                beginning(&top.text)
            ))
    );
    let sessions = report.sessions.open_max.unwrap_or(0);
    let warning = match sessions {
        0 => "each sort and hash of each session may take it".to_owned(),
        sessions => format!(
            "each sort and hash may take it: {} with the {sessions} sessions seen at once, one each",
            size(needed.saturating_mul(sessions))
        ),
    };
    let remedy = if needed > WORK_MEM_GLOBAL_MAX {
        format!("for the statement alone: SET LOCAL work_mem = '{value}';  -- {warning}")
    } else {
        format!("{}  -- {warning}", set("work_mem", &value))
    };
    let title = if needed > WORK_MEM_GLOBAL_MAX {
        "Give the statements that spill more memory, not all sessions"
    } else {
        "Give sorts and hashes more memory"
    };
    advice("work-mem", Level::Info, title, because, remedy)
}

#[cfg(test)]
mod tests {
    use super::super::tests::check;
    use crate::report::{Counted, Report, VacuumedTable};

    fn table(change: impl FnOnce(&mut VacuumedTable)) -> VacuumedTable {
        let mut table = VacuumedTable {
            table: "dwh.public.orders".to_owned(),
            vacuums: 4,
            ..VacuumedTable::default()
        };
        change(&mut table);
        table
    }

    #[test]
    fn wal_size_follows_the_distances() {
        let starts = |report: &mut Report, wal, time| {
            let reasons = [("wal".to_owned(), wal), ("time".to_owned(), time)];
            report.checkpoints.reasons = reasons.into();
            report.checkpoints.distance_max = 900 << 20;
        };
        let found = check(
            "checkpoint-max-wal-size",
            |report| starts(report, 12, 3),
            |report| starts(report, 3, 12),
        );
        assert!(found.because.contains("12 of 15"), "{}", found.because);
        assert!(
            found.remedy.contains("max_wal_size = '4GB'"),
            "{}",
            found.remedy
        );
    }

    #[test]
    fn a_high_rate_of_wal_needs_more() {
        let found = check(
            "checkpoint-max-wal-size",
            |report| {
                report.checkpoints.reasons = [("wal".to_owned(), 50)].into();
                report.checkpoints.distance_max = 512 << 20;
                report.checkpoints.distance = 36_000 << 20;
                (report.totals.first_at, report.totals.last_at) = (Some(0), Some(3_600_000_000));
            },
            |report| report.checkpoints.reasons = [("shutdown immediate".to_owned(), 50)].into(),
        );
        // 10 MB/s for 300 seconds, twice.
        assert!(found.remedy.contains("'8GB'"), "{}", found.remedy);
    }

    #[test]
    fn frequent_and_slow_checkpoints() {
        check(
            "checkpoint-too-frequent",
            |report| report.checkpoints.too_frequent = 4,
            |report| report.checkpoints.count = 400,
        );
        check(
            "checkpoint-sync-slow",
            |report| report.checkpoints.longest_sync = 9_000_000,
            |report| report.checkpoints.longest_sync = 900_000,
        );
    }

    #[test]
    fn vacuums_want_memory_and_time() {
        check(
            "autovacuum-memory",
            |report| report.vacuums.tables.items = vec![table(|table| table.index_scans = 9)],
            |report| report.vacuums.tables.items = vec![table(|table| table.index_scans = 4)],
        );
        check(
            "autovacuum-cancelled",
            |report| {
                report.vacuums.cancelled = 9;
                report.vacuums.vacuums = 20;
            },
            |report| {
                report.vacuums.cancelled = 9;
                report.vacuums.vacuums = 2_000;
            },
        );
        check(
            "dead-rows-kept",
            |report| report.vacuums.tables.items = vec![table(|table| table.dead_kept = 5_000_000)],
            |report| report.vacuums.tables.items = vec![table(|table| table.dead_kept = 5_000)],
        );
        check(
            "autovacuum-wraparound",
            |report| report.vacuums.wraparound = 1,
            |report| report.vacuums.aggressive = 1,
        );
    }

    #[test]
    fn memory_for_sorts_avoids_most_files() {
        let files = |report: &mut Report, count: u64, small: u64| {
            report.temp_files.count = count;
            report.temp_files.bytes = count * small;
            report.temp_files.max = 1 << 30;
            let statement = |text: &str, count, max| Counted {
                text: text.to_owned(),
                count,
                max,
                total: count * max,
                ..Counted::default()
            };
            report.temp_files.statements.items = vec![
                statement("select big", 1, 1 << 30),
                statement("select small", count - 1, small),
            ];
        };
        let found = check(
            "work-mem",
            |report| files(report, 100, 10 << 20),
            |report| files(report, 3, 10 << 20),
        );
        assert!(
            found.remedy.contains("ALTER SYSTEM SET work_mem = '32MB'"),
            "{}",
            found.remedy
        );
        let found = check(
            "work-mem",
            |report| files(report, 100, 500 << 20),
            |report| files(report, 1, 1),
        );
        assert!(
            found.remedy.contains("SET LOCAL work_mem = '1GB'"),
            "{}",
            found.remedy
        );
    }
}
