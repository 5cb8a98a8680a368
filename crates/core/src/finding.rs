//! What a check says: verdicts, findings, measures and the limits that graded them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Blind, ByteSize, Cost, Instance, Level, Server};

/// The unit of a check's value, for people and for perfdata.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// A share of a whole, 0 to 100.
    Percent,
    /// An amount of bytes.
    Bytes,
    /// A duration in seconds.
    Seconds,
    /// A duration in milliseconds.
    Milliseconds,
    /// A number of things.
    Count,
    /// A number of things per second.
    PerSecond,
    /// Bytes per second.
    BytesPerSecond,
    /// A ratio of two like things.
    Ratio,
    /// A duration in days.
    Days,
    /// Yes (1) or no (0): the check says its level itself.
    State,
}

impl Unit {
    /// Returns the value as people write it: `82 %`, `1.5 GB`, `2 h 10 min`.
    pub fn show(self, value: f64) -> String {
        let short = |value: f64| {
            if value.fract() == 0.0 || value.abs() >= 100.0 {
                format!("{value:.0}")
            } else {
                format!("{value:.1}")
            }
        };
        match self {
            Unit::Percent => format!("{} %", short(value)),
            Unit::Bytes => ByteSize(value.max(0.0) as u64).to_string(),
            Unit::BytesPerSecond => format!("{}/s", ByteSize(value.max(0.0) as u64)),
            Unit::Seconds => show_seconds(value),
            Unit::Milliseconds => format!("{} ms", short(value)),
            Unit::Days => format!("{} d", short(value)),
            Unit::PerSecond => format!("{}/s", short(value)),
            Unit::Count => show_count(value),
            Unit::Ratio => format!("{value:.2}"),
            Unit::State => if value == 0.0 { "no" } else { "yes" }.to_owned(),
        }
    }

    /// Returns the unit of measurement of the Nagios plugin guidelines.
    pub fn perfdata(self) -> &'static str {
        match self {
            Unit::Percent => "%",
            Unit::Bytes => "B",
            Unit::Seconds => "s",
            Unit::Milliseconds => "ms",
            Unit::Count
            | Unit::PerSecond
            | Unit::BytesPerSecond
            | Unit::Ratio
            | Unit::Days
            | Unit::State => "",
        }
    }
}

fn show_count(value: f64) -> String {
    if value.fract() != 0.0 && value.abs() < 100.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if value < 0.0 {
        format!("-{text}")
    } else {
        text
    }
}

fn show_seconds(value: f64) -> String {
    let whole = value.max(0.0) as u64;
    match whole {
        0..=9 if value.fract() != 0.0 => format!("{value:.1} s"),
        0..=119 => format!("{whole} s"),
        120..=7_199 => format!("{} min {} s", whole / 60, whole % 60),
        7_200..=172_799 => format!("{} h {} min", whole / 3_600, whole % 3_600 / 60),
        _ => format!("{} d {} h", whole / 86_400, whole % 86_400 / 3_600),
    }
}

/// The limits that grade a check's values, after all overrides.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// From here on it is a warning; `None` means never.
    pub warning: Option<f64>,
    /// From here on it is critical; `None` means never.
    pub critical: Option<f64>,
    /// Named floors: below them an object is not judged at all.
    pub floors: BTreeMap<String, f64>,
}

/// One measured object, good or bad: what perfdata, history and charts are made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measure {
    /// What was measured, such as `public.orders`; empty for the server as a whole.
    pub object: String,
    /// The value, in the check's unit.
    pub value: f64,
    /// How it was graded.
    pub level: Level,
    /// The warning limit that graded it.
    pub warning: Option<f64>,
    /// The critical limit that graded it.
    pub critical: Option<f64>,
}

/// Something that a person should know: one object of one check above its limit, or not seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// The check's kebab-case id.
    pub check: String,
    /// What it is about: `public.orders`, `slot "s1"`; empty for the server as a whole.
    pub object: String,
    /// The database that the object lives in, where it lives in one.
    pub database: Option<String>,
    /// How bad it is.
    pub level: Level,
    /// One sentence with number and limit, without full stop.
    pub title: String,
    /// The value in the check's unit.
    pub value: Option<f64>,
    /// The check's unit.
    pub unit: Unit,
    /// The limit that was crossed.
    pub threshold: Option<f64>,
    /// Since when it is so, where the server tells.
    pub since: Option<Timestamp>,
    /// Named facts from the rows that prove it.
    pub evidence: Vec<(String, String)>,
    /// What to do: a statement or command for this very object, else the check's general advice.
    pub remedy: String,
    /// Why it could not be seen, for level `unknown`.
    pub blind: Option<Blind>,
    /// Stable identity of check, instance and object, for mute and history.
    pub fingerprint: String,
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It saw and judged.
    Judged,
    /// It does not apply to this server; `Verdict::note` says why.
    NotApplicable,
    /// It could not see all that it had to.
    Unknown,
}

/// What one check says about one instance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The check's kebab-case id.
    pub check: String,
    /// The check's title.
    pub title: String,
    /// How it ended.
    pub outcome: Outcome,
    /// The worst level of all objects; `ok` when nothing was found.
    pub level: Level,
    /// The check's unit.
    pub unit: Unit,
    /// Findings, worst first, bounded; ok objects have none.
    pub findings: Vec<Finding>,
    /// How many findings there were before the bound.
    pub findings_total: usize,
    /// Measured objects, worst first, bounded.
    pub measures: Vec<Measure>,
    /// How many objects were measured.
    pub measures_total: usize,
    /// Why it does not apply, or what it wants to add.
    pub note: Option<String>,
}

/// All verdicts about one instance at one time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Which server.
    pub instance: Instance,
    /// When.
    pub at: Timestamp,
    /// What the server says about itself; `None` when it could not be reached.
    pub server: Option<Server>,
    /// The profile that chose the checks, if any.
    pub profile: Option<String>,
    /// Worst first.
    pub verdicts: Vec<Verdict>,
    /// What each collector cost, by name.
    pub costs: BTreeMap<String, Cost>,
    /// Things to know about the run itself, such as a missing earlier sample.
    pub notes: Vec<String>,
}

impl Evaluation {
    /// Returns the worst level of all verdicts; `Unknown` when there are none.
    pub fn level(&self) -> Level {
        self.verdicts
            .iter()
            .map(|verdict| verdict.level)
            .max()
            .unwrap_or(Level::Unknown)
    }

    /// Returns how many verdicts have this level; those that do not apply never count.
    pub fn count(&self, level: Level) -> usize {
        self.verdicts
            .iter()
            .filter(|v| v.outcome != Outcome::NotApplicable && v.level == level)
            .count()
    }

    /// Returns all findings, worst first.
    pub fn findings(&self) -> Vec<&Finding> {
        let mut findings: Vec<&Finding> = self
            .verdicts
            .iter()
            .flat_map(|verdict| &verdict.findings)
            .collect();
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.level));
        findings
    }
}

/// Returns the stable identity of a finding: 16 hexadecimal digits of FNV-1a over check, instance, database and object.
pub fn fingerprint(check: &str, instance: &str, database: Option<&str>, object: &str) -> String {
    let parts = [check, instance, database.unwrap_or(""), object];
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in parts.join("\0").bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    }
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_values_as_people_write_them() {
        for (unit, value, text) in [
            (Unit::Percent, 82.25, "82.2 %"),
            (Unit::Percent, 100.0, "100 %"),
            (Unit::Seconds, 41.0, "41 s"),
            (Unit::Seconds, 0.25, "0.2 s"),
            (Unit::Seconds, 7_800.0, "2 h 10 min"),
            (Unit::Count, 1_930_000_000.0, "1,930,000,000"),
            (Unit::Bytes, 2_469_606_195.0, "2.2 GB"),
            (Unit::State, 1.0, "yes"),
        ] {
            assert_eq!(unit.show(value), text);
        }
    }

    #[test]
    fn unknown_is_worse_than_ok_and_never_hides_a_warning() {
        assert!(Level::Unknown > Level::Ok && Level::Unknown > Level::Info);
        assert!(Level::Unknown < Level::Warning);
    }

    #[test]
    fn fingerprints_keep_their_parts_apart() {
        assert_ne!(
            fingerprint("a", "b", None, "c"),
            fingerprint("a", "b", Some("c"), "")
        );
        assert_eq!(fingerprint("a", "b", None, "c").len(), 16);
    }
}
