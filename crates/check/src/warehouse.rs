//! Loads, freshness and data quality.

use pawang_core::{Blind, ByteSize, Level, Missing, Row, Snapshot, Timestamp, Unit};

use crate::backup::{median, unseen};
use crate::security::quoted;
use crate::{Check, Direction, Floor, Group, Observation, Scope, View};

const HOUR_SECONDS: f64 = 3_600.0;
/// An instant later than this after now was written by another clock.
const FUTURE_SECONDS: f64 = 300.0;
/// Past the maximum age of the configuration it is a warning, past this multiple of it critical.
const CRITICAL_MULTIPLE: f64 = 2.0;
/// Runs before the newest that make a trend.
const TREND_MIN: usize = 2;

const SUCCEEDED: [&str; 9] = [
    "success",
    "succeeded",
    "successful",
    "ok",
    "completed",
    "complete",
    "done",
    "finished",
    "sukses",
];
const FAILED: [&str; 10] = [
    "failed",
    "failure",
    "error",
    "errored",
    "aborted",
    "cancelled",
    "canceled",
    "timeout",
    "killed",
    "gagal",
];
const RUNNING: [&str; 7] = [
    "running",
    "started",
    "in progress",
    "in_progress",
    "pending",
    "queued",
    "berjalan",
];

pub(crate) static CHECKS: &[Check] = &[
    Check {
        id: "load-age",
        title: "age of the last good load",
        unit: Unit::Seconds,
        warning: Some(26.0 * HOUR_SECONDS),
        critical: Some(50.0 * HOUR_SECONDS),
        what: "Time since the last successful run of each load of [[instance.load]]. Where maximum_age is set there, it is the warning \
               limit and twice it the critical one.",
        why: "Reports go on answering with yesterday's data, and nobody sees it in the numbers.",
        fix: "Look at the scheduler and at the log of that load, then run it again.",
        observe: load_age,
        ..LOAD
    },
    Check {
        id: "load-failed",
        title: "the last run of each load",
        what: "The status of the newest finished run of each load of [[instance.load]], by its word: success, ok, completed ...; failed, \
               error, aborted ...; running, started ... A word that is none of these is not seen.",
        why: "A load that failed leaves its tables as they were, or half written.",
        fix: "Look at the error of that run, repair its cause, and run it again; check that it can be repeated without double rows.",
        observe: load_failed,
        ..LOAD
    },
    Check {
        id: "load-error-rate",
        title: "rows rejected by loads",
        unit: Unit::Percent,
        warning: Some(1.0),
        critical: Some(5.0),
        what: "Rejected rows as a share of rejected and loaded rows in the newest finished run of each load of [[instance.load]].",
        why: "Rejected rows are missing from every report that is built on the load.",
        fix: "Look at the rejected rows, repair them at their source and load them again.",
        observe: load_error_rate,
        ..LOAD
    },
    Check {
        id: "quality-score",
        title: "data quality score",
        unit: Unit::Percent,
        direction: Direction::Below,
        warning: Some(94.0),
        critical: Some(80.0),
        what: "100 * (1 - rejected / (loaded + rejected)) over the newest finished runs of all loads of one [[instance.load]], with decimals: \
               errors of older runs do not count, and 999 errors in 1,000 rows are 0.1, not 100.",
        why: "The warehouse's promise is a score above 94 %.",
        fix: "See which load rejects most (pawang check load-error-rate -v) and repair its rows at their source.",
        observe: quality_score,
        ..LOAD
    },
    Check {
        id: "load-rows",
        title: "rows of the last load against those before",
        unit: Unit::Percent,
        direction: Direction::Below,
        warning: Some(50.0),
        critical: Some(10.0),
        floors: &[Floor {
            name: "rows",
            value: 100.0,
            unit: Unit::Count,
            ignores: "loads that usually bring fewer rows than this",
        }],
        what: "Rows loaded by the newest successful run of each load as a share of the median of its successful runs before (at least two; \
               the query must return several runs per load).",
        why: "A load that succeeds with a tenth of its rows read an empty or truncated source.",
        fix: "Compare the source of that day with the target before reports are trusted.",
        observe: load_rows,
        ..LOAD
    },
    Check {
        id: "load-running",
        title: "loads that do not come to an end",
        unit: Unit::Seconds,
        warning: Some(26.0 * HOUR_SECONDS),
        critical: Some(50.0 * HOUR_SECONDS),
        what: "For loads whose newest run is still running: time since the run before it finished. The query tells when runs finished, \
               not when they started, so that this is the longest that it can have been running. maximum_age counts as in load-age.",
        why: "A load that hangs blocks the next one and keeps its locks and its snapshot.",
        fix: "Find its session (pawang check oldest-transaction blocking) and what it waits for.",
        observe: load_running,
        ..LOAD
    },
    Check {
        id: "freshness",
        title: "age of the newest row",
        unit: Unit::Seconds,
        warning: Some(26.0 * HOUR_SECONDS),
        critical: Some(50.0 * HOUR_SECONDS),
        what: "Time since last_at of each object of [[instance.freshness]]. Its maximum_age is the warning limit and twice it the critical \
               one. An object without any row (NULL) is critical.",
        why: "A table that is not fed any more looks exactly like one without news.",
        fix: "Find the load that feeds it: pawang check load-age load-failed.",
        observe: freshness,
        ..LOAD
    },
    Check {
        id: "staging-leftovers",
        title: "rows left in staging",
        scope: Scope::Database,
        needs: &["staging-tables"],
        unit: Unit::Seconds,
        warning: Some(48.0 * HOUR_SECONDS),
        floors: &[Floor {
            name: "size",
            value: 10_485_760.0,
            unit: Unit::Bytes,
            ignores: "tables that are smaller than this",
        }],
        what: "Tables with rows in schemas named stag*, stg* or landing* that have hardly changed (by a tenth at most) since they were last \
               analyzed: time since then, from pg_class and the table statistics.",
        why: "Staging that is not emptied is loaded twice, is backed up every night, and keeps personal data longer than allowed.",
        fix: "TRUNCATE the table after its load has been proven, and let the load do it the next time.",
        observe: staging_leftovers,
        ..LOAD
    },
];

const LOAD: Check = Check {
    id: "",
    group: Group::Warehouse,
    title: "",
    scope: Scope::Server,
    needs: &["settings"],
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

/// What a run of a load came to.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Status {
    Succeeded,
    Failed,
    Running,
    /// A word that is none of those known, or NULL.
    Unclear,
}

/// One run of a load.
#[derive(Clone, Copy)]
struct Run<'a> {
    row: Row<'a>,
    status: Status,
    finished_at: Option<Timestamp>,
}

/// A load with its runs: unfinished ones last, before them the newest.
struct Load<'a> {
    name: &'a str,
    runs: Vec<Run<'a>>,
}

impl<'a> Load<'a> {
    fn succeeded(&self) -> impl DoubleEndedIterator<Item = &Run<'a>> {
        self.runs
            .iter()
            .filter(|run| run.status == Status::Succeeded && run.finished_at.is_some())
    }

    /// Returns the newest run that came to an end.
    fn newest(&self) -> Option<&Run<'a>> {
        self.runs
            .iter()
            .rev()
            .find(|run| run.finished_at.is_some() && run.status != Status::Running)
    }
}

impl Run<'_> {
    fn observation(&self, load: &Load<'_>, value: f64, title: String) -> Observation {
        Observation {
            object: load.name.to_owned(),
            value,
            title,
            since: self.finished_at,
            evidence: self.row.evidence(&[
                "load",
                "finished_at",
                "status",
                "rows_loaded",
                "rows_rejected",
            ]),
            ..Observation::default()
        }
    }

    /// Returns rejected rows and all rows, if the run counted both and there were any.
    fn rejected(&self) -> Option<(f64, f64)> {
        let rejected = self.row.float("rows_rejected")?;
        let all = self.row.float("rows_loaded")? + rejected;
        (all > 0.0).then_some((rejected, all))
    }
}

fn status(text: Option<&str>) -> Status {
    let word = text.unwrap_or_default().trim().to_lowercase();
    let is = |words: &[&str]| words.contains(&word.as_str());
    if is(&SUCCEEDED) {
        Status::Succeeded
    } else if is(&FAILED) {
        Status::Failed
    } else if is(&RUNNING) {
        Status::Running
    } else {
        Status::Unclear
    }
}

fn loads(snapshot: &Snapshot) -> Vec<Load<'_>> {
    let mut loads: Vec<Load<'_>> = Vec::new();
    for row in snapshot.rows() {
        let run = Run {
            row,
            status: status(row.text("status")),
            finished_at: row.time("finished_at"),
        };
        let name = row.text("load").unwrap_or_default();
        match loads.iter_mut().find(|load| load.name == name) {
            Some(load) => load.runs.push(run),
            None => loads.push(Load {
                name,
                runs: vec![run],
            }),
        }
    }
    for load in &mut loads {
        load.runs
            .sort_by_key(|run| (run.finished_at.is_none(), run.finished_at));
    }
    loads
}

/// Reads every answer whose name begins with `prefix`; one that was not seen is an observation of its own.
fn answers<'a>(
    view: &View<'a>,
    prefix: &str,
    mut judge: impl FnMut(&'a str, &'a Snapshot) -> Result<Vec<Observation>, Missing>,
) -> Result<Vec<Observation>, Missing> {
    let mut observations = Vec::new();
    let mut configured = false;
    for sighting in &view.facts.sightings {
        let Some(name) = sighting.collector.strip_prefix(prefix) else {
            continue;
        };
        configured = true;
        match &sighting.seen {
            Ok(snapshot) => observations.extend(judge(name, snapshot)?),
            Err(missing) => observations.push(unseen(name, missing)),
        }
    }
    if configured {
        return Ok(observations);
    }
    let key = prefix.trim_end_matches(':');
    let reason = format!("no [[instance.{key}]] is configured");
    Err(Missing::NotApplicable(reason))
}

/// Measures every load of every answer; an answer without a single run is not seen.
fn each_load(
    view: &View<'_>,
    measure: impl Fn(&Load<'_>) -> Option<Observation>,
) -> Result<Vec<Observation>, Missing> {
    answers(view, "load:", |name, snapshot| {
        let loads = loads(snapshot);
        if loads.is_empty() {
            let blind = Blind::Failed {
                what: "the query returned no runs".to_owned(),
            };
            return Ok(vec![unseen(name, &blind.into())]);
        }
        Ok(loads.iter().filter_map(&measure).collect())
    })
}

/// Grades an age by the maximum age of the configuration; `None` leaves it to the check's limits.
fn level_of_age(row: Row<'_>, age: f64) -> Option<Level> {
    if age < -FUTURE_SECONDS {
        return Some(Level::Unknown);
    }
    let maximum = row.float("maximum_age")?;
    Some(if age >= CRITICAL_MULTIPLE * maximum {
        Level::Critical
    } else if age >= maximum {
        Level::Warning
    } else {
        Level::Ok
    })
}

/// Says how old something is, and how old it may be.
fn age_in_words(row: Row<'_>, what: &str, age: f64) -> String {
    let limit = row.float("maximum_age").map_or_else(String::new, |limit| {
        format!(", at most {} are allowed", Unit::Seconds.show(limit))
    });
    if age < -FUTURE_SECONDS {
        format!("{what} is dated in the future")
    } else {
        format!("{what} is {} old{limit}", Unit::Seconds.show(age))
    }
}

fn load_age(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    each_load(view, |load| {
        let Some(run) = load.succeeded().next_back() else {
            let run = load.runs.last()?;
            // There was none since the beginning of time.
            let never = view.now.as_second() as f64;
            let title = format!("load \"{}\" never succeeded", load.name);
            return Some(Observation {
                level: Some(Level::Critical),
                ..run.observation(load, never, title)
            });
        };
        let age = view.now.duration_since(run.finished_at?).as_secs_f64();
        let what = format!("the last good run of load \"{}\"", load.name);
        Some(Observation {
            level: level_of_age(run.row, age),
            ..run.observation(load, age.max(0.0), age_in_words(run.row, &what, age))
        })
    })
}

fn load_failed(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    each_load(view, |load| {
        let run = load.newest().or(load.runs.last())?;
        let word = run.row.value("status");
        let (level, title) = match run.status {
            Status::Failed => (
                Level::Critical,
                format!("the last run of load \"{}\" ended as \"{word}\"", load.name),
            ),
            Status::Unclear => (
                Level::Unknown,
                format!(
                    "status \"{word}\" of load \"{}\" is neither success nor failure",
                    load.name
                ),
            ),
            Status::Succeeded | Status::Running => {
                (Level::Ok, format!("load \"{}\" is \"{word}\"", load.name))
            }
        };
        let value = f64::from(u8::from(level != Level::Ok));
        Some(Observation {
            level: Some(level),
            ..run.observation(load, value, title)
        })
    })
}

fn load_error_rate(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    each_load(view, |load| {
        let run = load.newest()?;
        let (rejected, all) = run.rejected()?;
        let title = format!(
            "load \"{}\" rejected {rejected:.0} of {all:.0} rows",
            load.name
        );
        Some(run.observation(load, 100.0 * rejected / all, title))
    })
}

fn quality_score(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    answers(view, "load:", |name, snapshot| {
        let loads = loads(snapshot);
        let counted = loads.iter().filter_map(|load| load.newest()?.rejected());
        let (rejected, all) = counted.fold((0.0, 0.0), |sum, run| (sum.0 + run.0, sum.1 + run.1));
        if all <= 0.0 {
            return Ok(Vec::new());
        }
        let score = 100.0 * (1.0 - rejected / all);
        Ok(vec![Observation {
            object: name.to_owned(),
            value: score,
            title: format!(
                "the quality score of \"{name}\" is {score:.1} %: {rejected:.0} of {all:.0} rows were rejected"
            ),
            ..Observation::default()
        }])
    })
}

fn load_rows(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    each_load(view, |load| {
        let runs: Vec<&Run<'_>> = load.succeeded().collect();
        let (newest, before) = runs.split_last()?;
        let before = before.iter().filter_map(|run| run.row.float("rows_loaded"));
        let usual = median(before.collect(), TREND_MIN)?;
        let rows = newest.row.float("rows_loaded")?;
        if usual < view.floor("rows").max(1.0) {
            return None;
        }
        let title = format!(
            "load \"{}\" brought {rows:.0} rows where {usual:.0} are usual",
            load.name
        );
        Some(newest.observation(load, 100.0 * rows / usual, title))
    })
}

fn load_running(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    each_load(view, |load| {
        let run = load.runs.iter().find(|run| run.status == Status::Running)?;
        let since = load.newest()?.finished_at?;
        let age = view.now.duration_since(since).as_secs_f64().max(0.0);
        let title = format!(
            "load \"{}\" is still \"{}\", {} after the run before it",
            load.name,
            run.row.value("status"),
            Unit::Seconds.show(age)
        );
        Some(Observation {
            since: Some(since),
            level: level_of_age(run.row, age),
            ..run.observation(load, age, title)
        })
    })
}

fn freshness(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    answers(view, "freshness:", |name, snapshot| {
        if snapshot.rows.is_empty() {
            let blind = Blind::Failed {
                what: "the query returned no objects".to_owned(),
            };
            return Ok(vec![unseen(name, &blind.into())]);
        }
        let observation = |row: Row<'_>| {
            let object = row.value("object").to_string();
            let Some(last) = row.time("last_at") else {
                return Observation {
                    // There was none since the beginning of time.
                    value: view.now.as_second() as f64,
                    level: Some(Level::Critical),
                    title: format!("\"{object}\" has no rows"),
                    object,
                    ..Observation::default()
                };
            };
            let age = view.now.duration_since(last).as_secs_f64();
            Observation {
                value: age.max(0.0),
                level: level_of_age(row, age),
                title: age_in_words(row, &format!("the newest row of \"{object}\""), age),
                since: Some(last),
                object,
                ..Observation::default()
            }
        };
        Ok(snapshot.rows().map(observation).collect())
    })
}

fn staging_leftovers(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let tables = view.here("staging-tables")?;
    let observation = |row: Row<'_>| {
        let rows = row.float("n_live_tup")?;
        let bytes = row.float("bytes")?;
        let since = row.time("last_analyze")?;
        let changed = row.float("n_mod_since_analyze")?;
        if bytes < view.floor("size") || changed * 10.0 > rows {
            return None;
        }
        let (schema, table) = (row.text("schema")?, row.text("table")?);
        let age = view.now.duration_since(since).as_secs_f64();
        Some(Observation {
            object: format!("{schema}.{table}"),
            value: age,
            title: format!(
                "about {rows:.0} rows ({}) lie in \"{schema}.{table}\", untouched for {}",
                ByteSize(bytes as u64),
                Unit::Seconds.show(age)
            ),
            since: Some(since),
            evidence: row.evidence(&["n_live_tup", "n_mod_since_analyze", "bytes", "last_analyze"]),
            remedy: Some(format!(
                "TRUNCATE {}.{};  -- after its load has been proven",
                quoted(schema),
                quoted(table)
            )),
            ..Observation::default()
        })
    };
    Ok(tables.rows().filter_map(observation).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_for_the_end_of_a_run_are_understood() {
        for (word, expected) in [
            ("SUCCESS", Status::Succeeded),
            (" ok ", Status::Succeeded),
            ("Failed", Status::Failed),
            ("running", Status::Running),
            ("maybe", Status::Unclear),
            ("", Status::Unclear),
        ] {
            assert_eq!(status(Some(word)), expected, "{word}");
        }
        assert_eq!(status(None), Status::Unclear);
    }
}
