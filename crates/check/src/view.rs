//! What a check sees: the facts of one run, narrowed to one database where it asks for that.

use pawang_core::{Blind, Facts, Limits, Missing, Row, Server, Snapshot, Timestamp};

/// A rate over a longer time says nothing about now.
const RATE_SECONDS_MAX: f64 = 7.0 * 86_400.0;

/// What a check sees.
pub struct View<'a> {
    /// The id of the check that looks.
    pub check: &'a str,
    /// Everything seen in this run.
    pub facts: &'a Facts,
    /// What an earlier run remembered, for rates.
    pub older: Option<&'a Facts>,
    /// The database being judged, for checks of scope `Database`.
    pub database: Option<&'a str>,
    /// The limits and floors in force here.
    pub limits: &'a Limits,
    /// The time of the run.
    pub now: Timestamp,
}

impl<'a> View<'a> {
    /// Returns what a collector of the server saw.
    ///
    /// # Errors
    /// Why it saw nothing.
    pub fn snapshot(&self, collector: &str) -> Result<&'a Snapshot, Missing> {
        self.facts.snapshot(collector, None)
    }

    /// Returns whether a collector of the server was asked at all; a history holds only what answered.
    pub fn asked(&self, collector: &str) -> bool {
        let mut sightings = self.facts.sightings.iter();
        sightings.any(|sighting| sighting.collector == collector)
    }

    /// Returns what a collector saw in the database being judged.
    ///
    /// # Errors
    /// Why it saw nothing.
    pub fn here(&self, collector: &str) -> Result<&'a Snapshot, Missing> {
        self.facts.snapshot(collector, self.database)
    }

    /// Returns the only row of a one-row collector of the server.
    ///
    /// # Errors
    /// Why there is none.
    pub fn row(&self, collector: &str) -> Result<Row<'a>, Missing> {
        let snapshot = self.snapshot(collector)?;
        let none = || Blind::Failed {
            what: format!("collector \"{collector}\" returned no row"),
        };
        snapshot.first().ok_or_else(|| none().into())
    }

    /// Returns the rows of a collector of the server, each with its older self, and the seconds between the two runs.
    ///
    /// Rows whose counters were reset in between are paired with `None`; see [`Row::growth`].
    ///
    /// # Errors
    /// [`Blind::FirstSample`] without an earlier run, [`Blind::Reset`] when no row can be compared or the earlier run
    /// is more than a week old.
    pub fn growth(&self, collector: &str) -> Result<Growth<'a>, Missing> {
        let newer = self.snapshot(collector)?;
        let older = self
            .older
            .and_then(|older| older.snapshot(collector, None).ok());
        let older = older.ok_or(Blind::FirstSample)?;
        let seconds = newer.at.duration_since(older.at).as_secs_f64();
        if seconds > RATE_SECONDS_MAX {
            let what = format!("more than {} days passed", RATE_SECONDS_MAX / 86_400.0);
            return Err(Blind::Reset { what }.into());
        }
        if newer.epoch != older.epoch {
            let what = "the server was restarted or failed over".to_owned();
            return Err(Blind::Reset { what }.into());
        }
        if seconds <= 0.0 {
            return Err(Blind::Reset {
                what: "the clock went back".to_owned(),
            }
            .into());
        }
        let has_reset = newer
            .columns
            .iter()
            .any(|column| column.name == "stats_reset");
        let same = |row: &Row<'_>, old: &Row<'_>| {
            !has_reset || row.value("stats_reset") == old.value("stats_reset")
        };
        let rows = newer.paired(older);
        let rows: Vec<_> = rows
            .into_iter()
            .map(|(row, old)| (row, old.filter(|old| same(&row, old))))
            .collect();
        if !rows.is_empty() && rows.iter().all(|(_, old)| old.is_none()) {
            return Err(Blind::Reset {
                what: "the statistics were reset".to_owned(),
            }
            .into());
        }
        Ok(Growth { rows, seconds })
    }

    /// Returns what the server says about itself.
    ///
    /// # Errors
    /// Why it could not be asked.
    pub fn server(&self) -> Result<&'a Server, Missing> {
        self.facts
            .server
            .as_ref()
            .map_err(|blind| blind.clone().into())
    }

    /// Returns the value of a setting as the collector `settings` read it, in its own unit.
    ///
    /// # Errors
    /// Why the settings could not be read.
    pub fn setting(&self, name: &str) -> Result<Option<&'a str>, Missing> {
        let settings = self.snapshot("settings")?;
        let row = settings.rows().find(|row| row.text("name") == Some(name));
        Ok(row.and_then(|row| row.text("setting")))
    }

    /// Returns a floor of the check.
    ///
    /// # Panics
    /// When the check does not declare that floor.
    pub fn floor(&self, name: &str) -> f64 {
        *self
            .limits
            .floors
            .get(name)
            .unwrap_or_else(|| unreachable!("floor \"{name}\" is not declared"))
    }
}

/// Rows with their older selves.
pub struct Growth<'a> {
    /// The newer rows, each with its older self unless that cannot be compared.
    pub rows: Vec<(Row<'a>, Option<Row<'a>>)>,
    /// Seconds between the two.
    pub seconds: f64,
}

#[cfg(test)]
mod tests {
    use pawang_core::{Column, ColumnKind, Cost, Instance, Sighting, Value};

    use super::*;

    fn facts(at: &str, count: i64) -> Facts {
        let at: Timestamp = at.parse().unwrap();
        let column = Column {
            name: "count".to_owned(),
            kind: ColumnKind::Counter,
            unit: None,
        };
        let snapshot = Snapshot {
            collector: "wal".to_owned(),
            database: None,
            at,
            epoch: None,
            cost: Cost::default(),
            columns: [column].into(),
            rows: vec![vec![Value::Int(count)]],
        };
        Facts {
            instance: Instance::default(),
            at,
            server: Err(Blind::FirstSample),
            down: None,
            databases: Vec::new(),
            sightings: vec![Sighting {
                collector: "wal".to_owned(),
                database: None,
                seen: Ok(snapshot.into()),
            }],
            notes: Vec::new(),
        }
    }

    #[test]
    fn a_rate_spans_more_than_nothing_and_at_most_a_week() {
        let newer = facts("2026-01-31T00:00:00Z", 90);
        for (older, reason) in [
            ("2026-01-30T23:59:50Z", None),
            ("2026-01-24T00:00:00Z", None),
            ("2026-01-23T23:59:59Z", Some("more than 7 days passed")),
            ("2026-01-31T00:00:00Z", Some("the clock went back")),
            ("2036-01-31T00:00:00Z", Some("the clock went back")),
        ] {
            let older = facts(older, 40);
            let view = View {
                check: "wal-rate",
                facts: &newer,
                older: Some(&older),
                database: None,
                limits: &Limits::default(),
                now: newer.at,
            };
            let growth = view.growth("wal").map(|growth| growth.seconds);
            let blind = reason.map(|what| Blind::Reset {
                what: what.to_owned(),
            });
            assert_eq!(growth.err(), blind.map(Missing::Blind));
        }
    }
}
