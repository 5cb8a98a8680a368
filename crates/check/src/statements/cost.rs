//! Which statements cost what, and which ones changed.

use pawang_core::{ByteSize, Level, Missing, Unit};

use super::grown::{Grown, Statement, grown, name, show_text, visible};
use crate::security::{number, setting};
use crate::{Check, Direction, Floor, Group, Observation, Scope, View};

const MILLISECONDS: f64 = 1_000.0;
/// Statements named in one verdict.
const STATEMENTS_MAX: usize = 20;
/// From this share on a single statement is worth a word although it is no fault.
const SHARE_TOLD_PERCENT: f64 = 50.0;

const STATEMENT: Check = Check {
    id: "",
    group: Group::Statements,
    title: "",
    scope: Scope::Server,
    needs: &["statements", "statements-info"],
    unit: Unit::Percent,
    direction: Direction::Above,
    warning: None,
    critical: None,
    floors: &[],
    what: "",
    why: "",
    fix: "Read its plan with EXPLAIN (ANALYZE, BUFFERS) and the text with the statement shown.",
    observe: |_| Ok(Vec::new()),
};

/// The share of one processor below which times of a statement are not worth a word.
const BUSY: Floor = Floor {
    name: "busy",
    value: 10.0,
    unit: Unit::Percent,
    ignores: "times that come to less than this share of one processor",
};

pub(super) const SLOW_STATEMENTS: Check = Check {
    id: "slow-statements",
    title: "statements that are slow on average",
    unit: Unit::Milliseconds,
    warning: Some(30_000.0),
    floors: &[Floor {
        name: "calls",
        value: 10.0,
        unit: Unit::Count,
        ignores: "statements called less often than this, such as nightly loads",
    }],
    what: "Mean execution time of each listed statement since its counting began, weighted by its calls, from pg_stat_statements. For a \
           web application set the warning to 100 ms.",
    why: "A statement that is slow every time is a missing index, a stale plan or a report that belongs on a standby.",
    observe: slow_statements,
    ..STATEMENT
};

pub(super) const TOP_STATEMENT: Check = Check {
    id: "top-statement",
    title: "the statement that takes most time",
    floors: &[BUSY],
    what: "The largest share that one top-level statement has of the execution and planning time of all listed statements since the last \
           sample, from pg_stat_statements, those of Pawang's own role left out. Told from 50 % as information; a batch window is normal.",
    why: "When one statement takes half of the server's time, making it twice as fast is worth more than any setting.",
    observe: |view| {
        let grown = grown(view)?;
        let busy = view.floor("busy") / 100.0 * MILLISECONDS * grown.seconds;
        let time = |statement: &Statement<'_>| {
            Some(statement.growth("total_exec_time")? + statement.growth("total_plan_time")?)
        };
        Ok(share(
            &grown,
            view,
            busy,
            time,
            "of the time of all statements",
        ))
    },
    ..STATEMENT
};

pub(super) const STATEMENT_READS: Check = Check {
    id: "statement-reads",
    title: "the statement that reads most",
    floors: &[Floor {
        name: "rate",
        value: 10_485_760.0,
        unit: Unit::BytesPerSecond,
        ignores: "less read per second than this by all statements together",
    }],
    needs: &["statements", "statements-info", "settings"],
    what: "The largest share that one top-level statement has of the blocks that all listed statements read from outside shared_buffers \
           since the last sample, from pg_stat_statements. Told from 50 % as information.",
    why: "It pushes everybody else's pages out of the cache: a missing index, or a report that belongs on a standby.",
    observe: |view| {
        let floor = view.floor("rate") / number(view, "block_size")?;
        let grown = grown(view)?;
        let reads = |statement: &Statement<'_>| statement.growth("shared_blks_read");
        Ok(share(
            &grown,
            view,
            floor * grown.seconds,
            reads,
            "of all blocks read",
        ))
    },
    ..STATEMENT
};

pub(super) const STATEMENT_WAL: Check = Check {
    id: "statement-wal",
    title: "the statement that writes most WAL",
    floors: &[Floor {
        name: "rate",
        value: 1_048_576.0,
        unit: Unit::BytesPerSecond,
        ignores: "less WAL per second than this by all statements together",
    }],
    what: "The largest share that one top-level statement has of the WAL of all listed statements since the last sample, from \
           pg_stat_statements. Told from 50 % as information; loads are normal.",
    why: "WAL is written, archived, sent to every standby and kept by every slot: its largest source is where to save.",
    observe: |view| {
        let grown = grown(view)?;
        let wal = |statement: &Statement<'_>| statement.growth("wal_bytes");
        Ok(share(
            &grown,
            view,
            view.floor("rate") * grown.seconds,
            wal,
            "of the WAL of all statements",
        ))
    },
    ..STATEMENT
};

pub(super) const STATEMENT_TEMP: Check = Check {
    id: "statement-temp",
    title: "statements that spill to disk",
    unit: Unit::Bytes,
    warning: Some(1_073_741_824.0),
    needs: &["statements", "statements-info", "settings"],
    what: "Temporary bytes written per call since the last sample, from pg_stat_statements: sorts, hashes and materialised rows that did \
           not fit into work_mem.",
    why: "Spilled work is read and written again from disk, and fills it: temporary files share the disk with the data.",
    fix: "Raise work_mem for that role only (ALTER ROLE ... SET work_mem), add an index that gives the order, or bound the volume with \
          temp_file_limit.",
    observe: statement_temp,
    ..STATEMENT
};

pub(super) const STATEMENT_CALLS: Check = Check {
    id: "statement-calls",
    title: "one statement many times per transaction",
    unit: Unit::Count,
    warning: Some(50.0),
    needs: &["statements", "statements-info", "database"],
    floors: &[Floor {
        name: "calls",
        value: 1_000.0,
        unit: Unit::Count,
        ignores: "statements called less often than this between two samples",
    }],
    what: "Calls of each top-level statement per transaction of its database since the last sample, from pg_stat_statements and \
           pg_stat_database.",
    why: "A program that asks row by row (the N+1 pattern), or loads row by row, spends its time on round trips; so does the server.",
    fix: "Ask once with = ANY($1) or a join; load with COPY or INSERT of many rows.",
    observe: statement_calls,
    ..STATEMENT
};

pub(super) const STATEMENT_REGRESSION: Check = Check {
    id: "statement-regression",
    title: "statements that became slower",
    unit: Unit::Ratio,
    warning: Some(5.0),
    floors: &[
        Floor {
            name: "calls",
            value: 20.0,
            unit: Unit::Count,
            ignores: "statements called less often than this since the last sample, or ten times less often before",
        },
        Floor {
            name: "time",
            value: 1_000.0,
            unit: Unit::Milliseconds,
            ignores: "statements that took less time than this since the last sample",
        },
    ],
    what: "Mean execution time since the last sample against the mean until then, from pg_stat_statements.",
    why: "The same statement suddenly slower is a plan that flipped, statistics that are stale, a lost index or a lock.",
    fix: "ANALYZE its tables, compare the plan with EXPLAIN, and look for what changed: pawang check settings-drift.",
    observe: statement_regression,
    ..STATEMENT
};

pub(super) const STATEMENT_PLANNING: Check = Check {
    id: "statement-planning",
    title: "statements that are planned longer than they run",
    warning: Some(50.0),
    floors: &[BUSY],
    needs: &["statements", "statements-info", "settings"],
    what: "Planning time as a share of planning plus execution since the last sample, from pg_stat_statements; only with \
           pg_stat_statements.track_planning on.",
    why: "Many partitions, many joins or no prepared statements: the server plans the same statement again and again.",
    fix: "Use prepared statements (or plan_cache_mode = force_generic_plan for that role), fewer partitions, and constant partition keys.",
    observe: statement_planning,
    ..STATEMENT
};

pub(super) const STATEMENT_JIT: Check = Check {
    id: "statement-jit",
    title: "statements that compile longer than they save",
    warning: Some(30.0),
    floors: &[BUSY],
    what: "Just-in-time compilation as a share of the execution time since the last sample, from pg_stat_statements 1.10 and newer \
           (PostgreSQL 15).",
    why: "Compilation pays only for long scans; when the planner overestimates, short statements wait for the compiler.",
    fix: "ALTER ROLE ... SET jit = off; or raise jit_above_cost.",
    observe: statement_jit,
    ..STATEMENT
};

pub(super) const STATEMENT_WORKERS: Check = Check {
    id: "statement-workers",
    title: "statements that do not get their workers",
    warning: Some(50.0),
    floors: &[Floor {
        name: "workers",
        value: 20.0,
        unit: Unit::Count,
        ignores: "statements that wanted fewer workers than this since the last sample",
    }],
    what: "Parallel workers that were planned and could not be launched, as a share of those planned since the last sample, from \
           pg_stat_statements 1.12 and newer (PostgreSQL 18).",
    why: "The plan counted on workers: alone, the leader takes several times as long, at the very time when the server is busiest.",
    fix: "Raise max_parallel_workers (and max_worker_processes, restart), or lower max_parallel_workers_per_gather.",
    observe: statement_workers,
    ..STATEMENT
};

fn observation(statement: &Statement<'_>, value: f64, title: String) -> Observation {
    Observation {
        object: name(statement.row),
        value,
        title,
        evidence: statement
            .row
            .evidence(&["calls", "total_exec_time", "mean_exec_time", "rows"]),
        remedy: Some(show_text(statement.row)),
        ..Observation::default()
    }
}

/// Keeps the statements with the highest values.
fn highest(mut observations: Vec<Observation>) -> Vec<Observation> {
    observations.sort_by(|a, b| b.value.total_cmp(&a.value));
    observations.truncate(STATEMENTS_MAX);
    observations
}

/// Returns the top-level statement with the largest share of a cost, if all together cost more than `floor`.
fn share(
    grown: &Grown<'_>,
    view: &View<'_>,
    floor: f64,
    cost: impl Fn(&Statement<'_>) -> Option<f64>,
    of: &str,
) -> Vec<Observation> {
    // What a role made for monitoring does is Pawang itself, whose cost is told elsewhere.
    let own = view.server().ok().filter(|server| !server.superuser);
    let own = own.map(|server| server.user.as_str());
    let costs = grown.statements.iter().filter_map(|statement| {
        (statement.row.flag("toplevel") != Some(false) && statement.row.text("rolname") != own)
            .then(|| Some((cost(statement)?, statement)))
            .flatten()
    });
    let costs: Vec<(f64, &Statement<'_>)> = costs.collect();
    let total: f64 = costs.iter().map(|(cost, _)| cost).sum();
    let Some((most, statement)) = costs.into_iter().max_by(|a, b| a.0.total_cmp(&b.0)) else {
        return Vec::new();
    };
    if total <= 0.0 || total < floor {
        return Vec::new();
    }
    let percent = 100.0 * most / total;
    let limited = [view.limits.warning, view.limits.critical]
        .into_iter()
        .flatten()
        .any(|limit| percent >= limit);
    let title = format!(
        "statement {} took {percent:.0} % {of} in {:.0} s",
        name(statement.row),
        grown.seconds
    );
    let mut seen = observation(statement, percent, title);
    seen.level = (!limited && percent >= SHARE_TOLD_PERCENT).then_some(Level::Info);
    vec![seen]
}

fn slow_statements(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    visible(view)?;
    let statements = view.snapshot("statements")?;
    let mut observations = Vec::new();
    for row in statements.rows() {
        let (Some(calls), Some(total)) = (row.float("calls"), row.float("total_exec_time")) else {
            continue;
        };
        if calls < view.floor("calls").max(1.0) {
            continue;
        }
        let mean = total / calls;
        let title = format!(
            "statement {} takes {} on average over {calls:.0} calls",
            name(row),
            Unit::Seconds.show(mean / MILLISECONDS)
        );
        observations.push(Observation {
            object: name(row),
            value: mean,
            title,
            since: row.time("stats_since"),
            evidence: row.evidence(&[
                "calls",
                "mean_exec_time",
                "max_exec_time",
                "stddev_exec_time",
                "rows",
            ]),
            remedy: Some(show_text(row)),
            ..Observation::default()
        });
    }
    Ok(highest(observations))
}

fn statement_temp(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let block = number(view, "block_size")?;
    let grown = grown(view)?;
    let observed = grown.statements.iter().filter_map(|statement| {
        let calls = statement.growth("calls").filter(|calls| *calls > 0.0)?;
        let written = statement
            .growth("temp_blks_written")
            .filter(|blocks| *blocks > 0.0)?
            * block;
        let title = format!(
            "statement {} wrote {} of temporary files in {calls:.0} calls, {} each",
            name(statement.row),
            ByteSize(written as u64),
            ByteSize((written / calls) as u64)
        );
        Some(observation(statement, written / calls, title))
    });
    Ok(highest(observed.collect()))
}

fn statement_calls(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let grown = grown(view)?;
    let databases = view.growth("database")?;
    let transactions = |database: &str| {
        let row = databases
            .rows
            .iter()
            .find(|(row, _)| row.text("datname") == Some(database));
        let (row, older) = row.and_then(|(row, older)| Some((row, (*older)?)))?;
        Some(row.growth(older, "xact_commit")? + row.growth(older, "xact_rollback")?)
    };
    let observed = grown.statements.iter().filter_map(|statement| {
        if statement.row.flag("toplevel") == Some(false) {
            return None;
        }
        let calls = statement
            .growth("calls")
            .filter(|calls| *calls >= view.floor("calls"))?;
        let transactions = transactions(statement.row.text("datname")?)?.max(1.0);
        let title = format!(
            "statement {} ran {calls:.0} times in {transactions:.0} transactions of its database",
            name(statement.row)
        );
        Some(observation(statement, calls / transactions, title))
    });
    Ok(highest(observed.collect()))
}

fn statement_regression(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let grown = grown(view)?;
    let (least, slowest) = (view.floor("calls"), view.floor("time"));
    let observed = grown.statements.iter().filter_map(|statement| {
        let calls = statement.growth("calls").filter(|calls| *calls >= least.max(1.0))?;
        let time = statement.growth("total_exec_time").filter(|time| *time >= slowest)?;
        let calls_before = statement.before("calls").filter(|calls| *calls >= 10.0 * least)?;
        let mean_before = statement.before("total_exec_time")? / calls_before;
        let mean = time / calls;
        if mean_before <= 0.0 {
            return None;
        }
        let title = format!(
            "statement {} takes {mean:.2} ms on average, {:.1} times the {mean_before:.2} ms of {calls_before:.0} calls before",
            name(statement.row),
            mean / mean_before
        );
        Some(observation(statement, mean / mean_before, title))
    });
    Ok(highest(observed.collect()))
}

fn statement_planning(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    if setting(view, "pg_stat_statements.track_planning")? == "off" {
        let reason = "pg_stat_statements.track_planning is off";
        return Err(Missing::NotApplicable(reason.to_owned()));
    }
    let grown = grown(view)?;
    let floor = view.floor("busy") / 100.0 * MILLISECONDS * grown.seconds;
    let observed = grown.statements.iter().filter_map(|statement| {
        let plan = statement
            .growth("total_plan_time")
            .filter(|plan| *plan >= floor && *plan > 0.0)?;
        let all = plan + statement.growth("total_exec_time")?;
        let title = format!(
            "statement {} was planned for {plan:.0} ms and ran for {:.0} ms",
            name(statement.row),
            all - plan
        );
        Some(observation(statement, 100.0 * plan / all, title))
    });
    Ok(highest(observed.collect()))
}

const JIT_TIMES: [&str; 4] = [
    "jit_generation_time",
    "jit_inlining_time",
    "jit_optimization_time",
    "jit_emission_time",
];

fn statement_jit(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let grown = grown(view)?;
    let floor = view.floor("busy") / 100.0 * MILLISECONDS * grown.seconds;
    let counted = |statement: &Statement<'_>| statement.row.float(JIT_TIMES[0]).is_some();
    if !grown.statements.is_empty() && !grown.statements.iter().any(counted) {
        let reason = "needs pg_stat_statements 1.10";
        return Err(Missing::NotApplicable(reason.to_owned()));
    }
    let observed = grown.statements.iter().filter_map(|statement| {
        let times: Option<Vec<f64>> = JIT_TIMES
            .iter()
            .map(|name| statement.growth(name))
            .collect();
        let jit: f64 = times?.iter().sum();
        let all = statement
            .growth("total_exec_time")
            .filter(|all| *all >= floor && *all > 0.0)?;
        if jit <= 0.0 {
            return None;
        }
        let title = format!(
            "statement {} spent {jit:.0} of {all:.0} ms on compilation",
            name(statement.row)
        );
        Some(observation(statement, 100.0 * jit / all, title))
    });
    Ok(highest(observed.collect()))
}

fn statement_workers(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let grown = grown(view)?;
    let counted =
        |statement: &Statement<'_>| statement.row.float("parallel_workers_to_launch").is_some();
    if !grown.statements.is_empty() && !grown.statements.iter().any(counted) {
        let reason = "needs pg_stat_statements 1.12";
        return Err(Missing::NotApplicable(reason.to_owned()));
    }
    let observed = grown.statements.iter().filter_map(|statement| {
        let planned = statement.growth("parallel_workers_to_launch")?;
        let launched = statement.growth("parallel_workers_launched")?;
        if planned < view.floor("workers").max(1.0) {
            return None;
        }
        let title = format!(
            "statement {} got {launched:.0} of {planned:.0} planned parallel workers",
            name(statement.row)
        );
        Some(observation(
            statement,
            100.0 * (planned - launched) / planned,
            title,
        ))
    });
    Ok(highest(observed.collect()))
}
