//! What a planner sees: the facts of one run, narrowed to one database, with the policy in force there.

use pawang_core::plan::{Left, Proposal, Relation, Task};
use pawang_core::{Autovacuum, Blind, Facts, Missing, Row, Snapshot, Timestamp};

use pawang_config::Area;

use crate::{Policy, Settings};

/// A rate over a longer time says nothing about now.
const RATE_SECONDS_MAX: f64 = 7.0 * 86_400.0;

/// What a planner sees.
pub(crate) struct Scope<'a> {
    /// Everything seen in this run.
    pub(crate) facts: &'a Facts,
    /// What an earlier run saw, for rates.
    pub(crate) older: Option<&'a Facts>,
    /// The policy in force.
    pub(crate) policy: &'a Policy,
    /// The time of the run.
    pub(crate) now: Timestamp,
    /// The database being looked at.
    pub(crate) database: &'a str,
}

/// A proposal with what decides its turn.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Want {
    /// The subject that wants it.
    pub(crate) area: Area,
    /// The higher, the earlier within its subject.
    pub(crate) urgency: f64,
    /// What is wanted.
    pub(crate) proposal: Proposal,
}

/// What a planner came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Findings {
    /// What is to be done.
    pub(crate) wants: Vec<Want>,
    /// What is left alone, and why.
    pub(crate) left: Vec<Left>,
}

impl<'a> Scope<'a> {
    /// Returns what a collector of the server saw.
    pub(crate) fn server(&self, collector: &str) -> Result<&'a Snapshot, Missing> {
        self.facts.snapshot(collector, None)
    }

    /// Returns what a collector saw in this database.
    pub(crate) fn here(&self, collector: &str) -> Result<&'a Snapshot, Missing> {
        self.facts.snapshot(collector, Some(self.database))
    }

    /// Returns the rows of a collector of this database, each with its older self, and the seconds between the two looks.
    ///
    /// # Errors
    /// Why the collector saw nothing, or that there is no earlier look to compare with.
    pub(crate) fn growth_here(&self, collector: &str) -> Result<Growth<'a>, Missing> {
        growth(
            self.here(collector)?,
            self.older
                .and_then(|older| older.snapshot(collector, Some(self.database)).ok()),
        )
    }

    /// The same for a collector of the server.
    pub(crate) fn growth_server(&self, collector: &str) -> Result<Growth<'a>, Missing> {
        growth(
            self.server(collector)?,
            self.older
                .and_then(|older| older.snapshot(collector, None).ok()),
        )
    }

    /// Returns the text of a setting of the server; `None` when the server has none of that name.
    pub(crate) fn setting(&self, name: &str) -> Result<Option<&'a str>, Missing> {
        let settings = self.server("settings")?;
        let mut rows = settings.rows();
        let row = rows.find(|row| row.text("name") == Some(name));
        Ok(row.and_then(|row| row.text("setting")))
    }

    /// Returns the text of a setting as other sessions have it: ours changes some, such as `TimeZone`, for itself.
    pub(crate) fn configured(&self, name: &str) -> Result<Option<&'a str>, Missing> {
        let settings = self.server("settings")?;
        let mut rows = settings.rows();
        let row = rows.find(|row| row.text("name") == Some(name));
        Ok(row.and_then(|row| row.text("reset_val").or(row.text("setting"))))
    }

    /// Returns a setting that is a number.
    pub(crate) fn number(&self, name: &str) -> Result<f64, Missing> {
        let value = self.setting(name)?.and_then(|text| text.parse().ok());
        value.ok_or_else(|| unread(name))
    }

    /// Reads the settings that autovacuum decides by.
    pub(crate) fn autovacuum(&self) -> Result<Autovacuum, Missing> {
        Autovacuum::read(|name| self.setting(name), unread)
    }

    /// Says whether the role sees what sessions of other roles do.
    pub(crate) fn sees_all_sessions(&self) -> bool {
        let server = self.facts.server.as_ref();
        server.is_ok_and(|server| server.superuser || server.monitor)
    }

    /// Returns what the policy says about a table.
    pub(crate) fn settings(&self, table: &Relation) -> Settings {
        self.policy.settings(self.database, &table.to_string())
    }

    /// Returns something that is to be done in this database.
    pub(crate) fn proposal(&self, task: Task, reason: String) -> Proposal {
        Proposal {
            database: self.database.to_owned(),
            task,
            reason,
            evidence: Vec::new(),
            cost: pawang_core::plan::Cost::default(),
        }
    }

    /// Returns something that is left alone in this database.
    pub(crate) fn left(&self, object: impl Into<String>, why: impl Into<String>) -> Left {
        Left {
            database: self.database.to_owned(),
            object: object.into(),
            why: why.into(),
            blind: false,
        }
    }

    /// Returns something of this database that could not be seen.
    pub(crate) fn unseen(&self, object: impl Into<String>, why: impl Into<String>) -> Left {
        Left {
            blind: true,
            ..self.left(object, why)
        }
    }

    /// Returns that a collector could not be read; `None` when its question does not arise here.
    pub(crate) fn missing(&self, object: &str, missing: Missing) -> Option<Left> {
        match missing {
            Missing::NotApplicable(_) => None,
            Missing::Blind(blind) => {
                Some(self.unseen(object, format!("{}; {}", blind.sentence(), blind.remedy())))
            }
        }
    }
}

impl Findings {
    /// Adds what is to be done.
    pub(crate) fn want(&mut self, area: Area, urgency: f64, proposal: Proposal) {
        self.wants.push(Want {
            area,
            urgency,
            proposal,
        });
    }
}

fn unread(name: &str) -> Missing {
    let what = format!("setting \"{name}\" could not be read");
    Blind::Failed { what }.into()
}

/// Rows with their older selves, and the seconds between the two looks.
pub(crate) struct Growth<'a> {
    /// Each row, and what it was.
    pub(crate) rows: Vec<(Row<'a>, Option<Row<'a>>)>,
    /// Time between the two looks.
    pub(crate) seconds: f64,
}

fn growth<'a>(newer: &'a Snapshot, older: Option<&'a Snapshot>) -> Result<Growth<'a>, Missing> {
    let older = older.ok_or(Blind::FirstSample)?;
    let seconds = newer.at.duration_since(older.at).as_secs_f64();
    if newer.epoch != older.epoch || seconds <= 0.0 || seconds > RATE_SECONDS_MAX {
        let what = "the server was restarted, or too much time passed,".to_owned();
        return Err(Blind::Reset { what }.into());
    }
    Ok(Growth {
        rows: newer.paired(older),
        seconds,
    })
}

/// Returns the relation of a row with `schemaname`, `relname` and `relid`.
pub(crate) fn relation(row: &Row<'_>) -> Relation {
    named(row, "schemaname", "relname", "relid")
}

/// Returns a relation by the names of its three columns.
pub(crate) fn named(row: &Row<'_>, schema: &str, name: &str, oid: &str) -> Relation {
    let text = |column| row.text(column).unwrap_or_default().to_owned();
    Relation {
        oid: oid_of(row, oid),
        schema: text(schema),
        name: text(name),
    }
}

fn oid_of(row: &Row<'_>, column: &str) -> u32 {
    row.int(column)
        .and_then(|oid| u32::try_from(oid).ok())
        .unwrap_or_default()
}

/// Returns the table that a row of `tables` or `freeze` is worked on through: TOAST tables through their owner.
pub(crate) fn target(row: &Row<'_>, schema: &str) -> Relation {
    match row.text("toast_of").and_then(pawang_core::relation::parts) {
        Some((schema, name)) => Relation {
            oid: oid_of(row, "toast_of_relid"),
            schema,
            name,
        },
        None => named(row, schema, "relname", "relid"),
    }
}

/// Returns how many rows a table has: counters that were reset know only of those that came since.
pub(crate) fn rows(row: &Row<'_>) -> f64 {
    let counted = row.float("n_live_tup").unwrap_or(0.0);
    counted.max(row.float("reltuples").unwrap_or(0.0))
}

/// Returns what a row is about, as people write it.
pub(crate) fn object(row: &Row<'_>, target: &Relation) -> String {
    match row.text("toast_of") {
        Some(_) => format!("TOAST of {target}"),
        None => target.to_string(),
    }
}
