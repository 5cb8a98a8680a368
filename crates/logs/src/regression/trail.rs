//! What the server log says that may explain a regression: plans of statements over time, changes of schemas and settings, starts.

use std::collections::BTreeMap;

use pawang_core::Timestamp;
use serde::{Deserialize, Serialize};

use super::{CauseKind, LATE_SECONDS, Mark};
use crate::statement::{changes, normalise};

/// What one part of a log, such as an hour, says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trail {
    /// Plans of auto_explain.
    pub plans: Vec<PlanSeen>,
    /// Changes and starts, in the order of the log.
    pub happenings: Vec<Happening>,
    /// Whether nothing had to go for lack of room.
    pub complete: bool,
    /// The first and the last instant of its records, in microseconds since 1970-01-01 UTC.
    pub span: Option<(i64, i64)>,
}

/// One plan of one statement.
#[derive(Clone, Debug, PartialEq)]
pub struct PlanSeen {
    /// The plan's fingerprint.
    pub plan: u64,
    /// The statement: a hash of its text without constants.
    pub shape: u64,
    /// The plan of the longest, constants masked.
    pub sample: String,
    /// When it was used, by PostgreSQL's query identifier; 0 where the log does not say.
    pub uses: BTreeMap<i64, Use>,
}

/// When something was used, and how often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Use {
    /// How often, of what has a time.
    pub count: u64,
    /// First, in microseconds since 1970-01-01 UTC.
    pub first_at: i64,
    /// Last.
    pub last_at: i64,
}

/// Something that happened, as the log tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happening {
    /// When, in microseconds since 1970-01-01 UTC.
    pub at: i64,
    /// The process that wrote it; 0 when the log does not say.
    pub pid: u32,
    /// What it was.
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Statements of which one or more change a schema or a setting.
    Change {
        /// The role.
        user: String,
        /// The database.
        database: String,
        /// The statements, without constants.
        text: String,
        /// Whether pgaudit told it.
        audit: bool,
    },
    /// The statements of this text failed in this process.
    Failed(String),
    /// The server starts, with its version.
    Version(String),
    /// The server was started.
    Ready,
    /// `parameter "work_mem" changed to "64kB"`.
    Setting(String),
}

/// The log of a server.
#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    /// What its parts say, in their order; or why it was not read.
    pub read: Result<Vec<Trail>, String>,
}

/// A plan of one statement in one part of the log.
#[derive(Clone, Copy, Debug)]
pub(super) struct PlanUse<'a> {
    pub(super) plan: u64,
    pub(super) sample: &'a str,
    pub(super) used: Use,
    /// Whether the query identifier tells that it is of the statement.
    pub(super) by_id: bool,
}

impl Use {
    /// Returns one use.
    pub(crate) fn once(at: Option<i64>) -> Use {
        let one = |at| Use {
            count: 1,
            first_at: at,
            last_at: at,
        };
        at.map(one).unwrap_or_default()
    }

    /// Adds more uses.
    pub(crate) fn absorb(&mut self, more: Use) {
        if self.count == 0 || more.count == 0 {
            *self = if self.count == 0 { more } else { *self };
            return;
        }
        self.count += more.count;
        self.first_at = self.first_at.min(more.first_at);
        self.last_at = self.last_at.max(more.last_at);
    }
}

impl Log {
    /// Returns the plans of a statement, by its query identifiers, or by its text where the log has no identifier.
    pub(super) fn plans(&self, query_ids: &[i64], text: Option<&str>) -> Vec<PlanUse<'_>> {
        let shape = text.map(|text| crate::statement::fingerprint(&normalise(text.as_bytes())));
        let all = self.read.iter().flatten().flat_map(|trail| &trail.plans);
        let of = |seen: &PlanSeen, (id, used): (&i64, &Use)| {
            let by_id = query_ids.contains(id);
            let ours = by_id || (*id == 0 && Some(seen.shape) == shape);
            (ours && used.count > 0).then_some((by_id, *used))
        };
        all.flat_map(|seen| {
            let uses = seen.uses.iter().filter_map(|found| of(seen, found));
            uses.map(|(by_id, used)| PlanUse {
                plan: seen.plan,
                sample: &seen.sample,
                used,
                by_id,
            })
            .collect::<Vec<_>>()
        })
        .collect()
    }

    /// Returns what happened according to the log and is not known from elsewhere.
    ///
    /// `owners` are the tables of indexes that are known by name, also of those that are gone.
    pub fn marks(&self, known: &[Mark], owners: &BTreeMap<String, Vec<String>>) -> Vec<Mark> {
        let mut marks = Vec::new();
        let mut version: Option<&str> = None;
        for happening in self.happened() {
            let Ok(at) = Timestamp::from_microsecond(happening.at) else {
                continue;
            };
            let server = |kind, what: String| Mark {
                at,
                kind,
                what,
                evidence: "server log".to_owned(),
                tables: Vec::new(),
            };
            let told = |mark: Mark| (!doubled(&mark, known)).then_some(mark);
            match &happening.what {
                What::Change { .. } => marks.extend(changed(at, &happening.what, owners)),
                What::Failed(_) => {}
                What::Version(new) => {
                    if let Some(old) = version.replace(new).filter(|old| old != new) {
                        let what = format!("PostgreSQL {old} became {new}");
                        marks.extend(told(server(CauseKind::Upgrade, what)));
                    }
                }
                What::Ready => {
                    let what = "the server was started: its memory was empty".to_owned();
                    marks.extend(told(server(CauseKind::Restart, what)));
                }
                What::Setting(message) => {
                    let what = message
                        .replacen("parameter ", "setting ", 1)
                        .replace('"', "");
                    marks.extend(told(server(CauseKind::Setting, what)));
                }
            }
        }
        marks
    }

    /// Returns what happened, in order, without statements that failed and without what was told twice.
    fn happened(&self) -> Vec<&Happening> {
        let mut all: Vec<&Happening> = self
            .read
            .iter()
            .flatten()
            .flat_map(|trail| &trail.happenings)
            .collect();
        all.sort_by_key(|happening| happening.at);
        let mut kept: Vec<&Happening> = Vec::new();
        for happening in all {
            let own = happening.what.statement();
            let same = |other: &&Happening| {
                matches!(other.what, What::Change { .. })
                    && other.pid == happening.pid
                    && other.what.statement() == own
            };
            match &happening.what {
                What::Failed(_) => {
                    if let Some(at) = kept.iter().rposition(same) {
                        kept.remove(at);
                    }
                }
                // log_statement and pgaudit tell the same one within a moment.
                What::Change { .. } => {
                    let twice = |other: &&Happening| {
                        same(other) && happening.at - other.at < TWICE_MICROSECONDS
                    };
                    if !kept.iter().rev().take(TWICE_BACK).any(twice) {
                        kept.push(happening);
                    }
                }
                _ => kept.push(happening),
            }
        }
        kept
    }
}

/// Records about one statement come within so long.
const TWICE_MICROSECONDS: i64 = 2_000_000;
/// And within so many.
const TWICE_BACK: usize = 50;
/// Starts so close to each other are one, in seconds.
const SAME_START_SECONDS: i64 = 120;
/// Characters of a statement.
const SHOWN_CHARACTERS_MAX: usize = 160;

impl What {
    fn statement(&self) -> Option<&str> {
        match self {
            What::Change { text, .. } | What::Failed(text) => Some(text),
            _ => None,
        }
    }
}

/// Says whether the history knows the same thing.
fn doubled(mark: &Mark, known: &[Mark]) -> bool {
    let name = |what: &str| what.split(" changed ").next().map(str::to_owned);
    known.iter().any(|other| {
        let late = other.at.as_second() - mark.at.as_second();
        other.kind == mark.kind
            && match mark.kind {
                CauseKind::Setting => {
                    name(&other.what) == name(&mark.what) && (-1..LATE_SECONDS).contains(&late)
                }
                CauseKind::Upgrade => late.abs() < LATE_SECONDS,
                _ => late.abs() < SAME_START_SECONDS,
            }
    })
}

/// Returns a mark for each change of a statement.
fn changed(at: Timestamp, what: &What, owners: &BTreeMap<String, Vec<String>>) -> Vec<Mark> {
    let What::Change {
        user,
        database,
        text,
        audit,
    } = what
    else {
        return Vec::new();
    };
    let by = match user.as_str() {
        "" => String::new(),
        user => format!(" by role {user}"),
    };
    let evidence = format!(
        "server log{}, database {database}; whether it was committed is not logged",
        if *audit { ", pgaudit" } else { "" }
    );
    let mark = |change: crate::statement::Ddl<'_>| {
        let owned = change.names.iter().filter_map(|name| owners.get(name));
        let mut tables: Vec<String> = owned.flatten().cloned().collect();
        tables.extend(change.names.iter().cloned());
        let shown: String = change.text.chars().take(SHOWN_CHARACTERS_MAX).collect();
        Mark {
            at,
            kind: if change.setting {
                CauseKind::Setting
            } else {
                CauseKind::Schema
            },
            what: format!("DDL{by}: {shown}"),
            evidence: evidence.clone(),
            tables,
        }
    };
    changes(text).into_iter().map(mark).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(at: i64, pid: u32, text: &str, audit: bool) -> Happening {
        Happening {
            at: at * 1_000_000,
            pid,
            what: What::Change {
                user: "deploy".to_owned(),
                database: "dwh".to_owned(),
                text: text.to_owned(),
                audit,
            },
        }
    }

    fn log(happenings: Vec<Happening>) -> Log {
        Log {
            read: Ok(vec![Trail {
                happenings,
                ..Trail::default()
            }]),
        }
    }

    fn told(log: &Log, known: &[Mark]) -> Vec<String> {
        let marks = log.marks(known, &BTreeMap::new());
        marks.into_iter().map(|mark| mark.what).collect()
    }

    #[test]
    fn a_change_is_told_once_and_one_that_failed_is_not() {
        let failed = Happening {
            at: 9_000_000,
            pid: 8,
            what: What::Failed("drop index b".to_owned()),
        };
        let log = log(vec![
            change(5, 7, "begin; drop index a; commit", false),
            change(5, 7, "begin; drop index a; commit", true),
            change(6, 8, "drop index b", false),
            change(7, 9, "drop index b", false),
            failed,
        ]);
        assert_eq!(
            told(&log, &[]),
            [
                "DDL by role deploy: drop index a",
                "DDL by role deploy: drop index b"
            ]
        );
        let owners = BTreeMap::from([("a".to_owned(), vec!["orders".to_owned()])]);
        let marks = log.marks(&[], &owners);
        assert_eq!(marks[0].tables, ["orders", "a"]);
        assert_eq!(marks[1].at.as_second(), 7, "that of the other session");
    }

    #[test]
    fn what_the_history_knows_is_not_told_again() {
        let at = |second: i64, what| Happening {
            at: second * 1_000_000,
            pid: 1,
            what,
        };
        let setting = What::Setting("parameter \"work_mem\" changed to \"64kB\"".to_owned());
        let log = log(vec![
            at(10, What::Version("15.20".to_owned())),
            at(11, What::Ready),
            at(5_000, setting),
            at(9_000, What::Version("18.1".to_owned())),
            at(9_001, What::Ready),
        ]);
        assert_eq!(
            told(&log, &[]),
            [
                "the server was started: its memory was empty",
                "setting work_mem changed to 64kB",
                "PostgreSQL 15.20 became 18.1",
                "the server was started: its memory was empty"
            ]
        );
        let known = |second: i64, kind, what: &str| Mark {
            at: Timestamp::from_second(second).unwrap(),
            kind,
            what: what.to_owned(),
            evidence: String::new(),
            tables: Vec::new(),
        };
        let known = [
            known(
                5_200,
                CauseKind::Setting,
                "setting work_mem changed from 4096 to 64",
            ),
            known(9_001, CauseKind::Restart, "the server was started"),
            known(9_001, CauseKind::Upgrade, "PostgreSQL 15.20 became 18.1"),
        ];
        assert_eq!(
            told(&log, &known),
            ["the server was started: its memory was empty"]
        );
    }

    #[test]
    fn uses_add_up_in_any_order() {
        let mut all = Use::default();
        for at in [Some(5), None, Some(2), Some(9)] {
            all.absorb(Use::once(at));
        }
        let expected = Use {
            count: 3,
            first_at: 2,
            last_at: 9,
        };
        assert_eq!(all, expected);
    }
}
