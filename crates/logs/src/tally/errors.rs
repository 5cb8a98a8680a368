//! Errors by SQLSTATE and normalised text.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use foldhash::fast::FixedState;
use serde::{Deserialize, Serialize};

use super::kinds::SAMPLE_BYTES_MAX;
use super::names::{OTHERS, earlier, early_first, later};
use super::{Event, Options, ShapeId, Shapes};
use crate::kind::kinds;
use crate::record::Record;
use crate::report;
use crate::secret::without_secrets;
use crate::severity::Severity;
use crate::statement::{cut, fingerprint, normalise_message};

/// Most different errors.
const ERRORS_MAX: usize = 5000;
/// Most roles or databases that are told apart for one error.
const NAMES_MAX: usize = 100;
/// Longest name that is kept.
const NAME_BYTES_MAX: usize = 256;

/// Errors by SQLSTATE and normalised text.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Errors {
    /// By a hash of SQLSTATE and text.
    errors: HashMap<u64, Counted, FixedState>,
    /// Records of errors beyond the bound.
    dropped: u64,
    #[serde(skip)]
    normalised: String,
}

/// One error.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Counted {
    severity: Severity,
    sqlstate: String,
    text: String,
    count: u64,
    first_at: Option<i64>,
    last_at: Option<i64>,
    databases: BTreeMap<String, u64>,
    users: BTreeMap<String, u64>,
    sample: Sample,
}

/// The earliest record of an error; compared in the order of its fields.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Sample {
    message: String,
    shape: Option<ShapeId>,
    detail: String,
    kind: String,
}

impl Errors {
    /// Adds one record.
    pub(crate) fn take(&mut self, event: &Event<'_>) {
        let record = event.record;
        let sqlstate = sqlstate(record);
        self.normalised.clear();
        self.normalised.push_str(sqlstate);
        normalise_message(record.message, &mut self.normalised);
        let key = fingerprint(&self.normalised);
        if !self.errors.contains_key(&key) {
            if self.errors.len() >= ERRORS_MAX {
                self.dropped += 1;
                return;
            }
            let text = self.normalised[sqlstate.len()..].to_owned();
            self.errors.insert(
                key,
                Counted {
                    sqlstate: sqlstate.to_owned(),
                    text,
                    ..Counted::default()
                },
            );
        }
        let error = self
            .errors
            .get_mut(&key)
            .expect("it was there or has been put there");
        error.add(event);
    }

    /// Adds the part that follows.
    pub(crate) fn absorb(&mut self, other: Errors) {
        self.dropped += other.dropped;
        let mut errors: Vec<(u64, Counted)> = other.errors.into_iter().collect();
        errors.sort_unstable_by_key(|(key, _)| *key);
        for (key, more) in errors {
            if let Some(error) = self.errors.get_mut(&key) {
                error.absorb(more);
            } else if self.errors.len() < ERRORS_MAX {
                self.errors.insert(key, more);
            } else {
                self.dropped += more.count;
            }
        }
    }

    /// Returns its part of the report.
    pub(crate) fn report(
        &self,
        shapes: &Shapes,
        options: &Options,
    ) -> report::Top<report::ErrorText> {
        let mut all: Vec<&Counted> = self.errors.values().collect();
        all.sort_by_key(|error| (Reverse(error.count), &error.text, &error.sqlstate));
        report::Top {
            total: all.len() as u64,
            complete: self.dropped == 0,
            items: all
                .into_iter()
                .take(options.items)
                .map(|error| error.report(shapes))
                .collect(),
        }
    }
}

impl Counted {
    fn add(&mut self, event: &Event<'_>) {
        let record = event.record;
        let first = self.count == 0;
        if first || (record.at.is_some() && early_first(record.at) <= early_first(self.first_at)) {
            let sample = Sample::of(event);
            if first
                || (early_first(record.at), &sample) < (early_first(self.first_at), &self.sample)
            {
                self.sample = sample;
            }
        }
        self.severity = self.severity.max(record.severity);
        self.count += 1;
        self.first_at = earlier(self.first_at, record.at);
        self.last_at = later(self.last_at, record.at);
        count(&mut self.databases, record.database);
        count(&mut self.users, record.user);
    }

    fn absorb(&mut self, other: Counted) {
        let before = (early_first(self.first_at), &self.sample);
        if other.first_at.is_some() && (early_first(other.first_at), &other.sample) < before {
            self.sample = other.sample;
        }
        self.severity = self.severity.max(other.severity);
        self.count += other.count;
        self.first_at = earlier(self.first_at, other.first_at);
        self.last_at = later(self.last_at, other.last_at);
        for (mine, theirs) in [
            (&mut self.databases, other.databases),
            (&mut self.users, other.users),
        ] {
            for (name, more) in theirs {
                add(mine, &name, more);
            }
        }
    }

    fn report(&self, shapes: &Shapes) -> report::ErrorText {
        report::ErrorText {
            kind: self.sample.kind.clone(),
            severity: self.severity,
            sqlstate: self.sqlstate.clone(),
            text: without_secrets(&self.text).into_owned(),
            count: self.count,
            first_at: self.first_at,
            last_at: self.last_at,
            databases: self.databases.clone(),
            users: self.users.clone(),
            sample: self.sample.message.clone(),
            statement: self
                .sample
                .shape
                .map_or("", |id| shapes.text(id))
                .to_owned(),
            detail: self.sample.detail.clone(),
        }
    }
}

impl Sample {
    fn of(event: &Event<'_>) -> Sample {
        let record = event.record;
        let shown = |text| without_secrets(&cut(text, SAMPLE_BYTES_MAX)).into_owned();
        let mut detail = shown(record.detail);
        if !record.hint.is_empty() {
            if !detail.is_empty() {
                detail.push('\n');
            }
            detail.push_str(&shown(record.hint));
        }
        Sample {
            message: shown(record.message),
            shape: event.shape,
            detail,
            kind: kinds()[usize::from(event.kind.0)].id.clone(),
        }
    }
}

/// Returns the SQLSTATE; empty when the log does not say.
fn sqlstate<'a>(record: &'a Record<'_>) -> &'a str {
    match &record.sqlstate {
        [0, ..] | b"00000" => "",
        known => std::str::from_utf8(known).unwrap_or(""),
    }
}

fn count(names: &mut BTreeMap<String, u64>, name: &[u8]) {
    if !name.is_empty() {
        add(names, &cut(name, NAME_BYTES_MAX), 1);
    }
}

fn add(names: &mut BTreeMap<String, u64>, name: &str, more: u64) {
    if let Some(sum) = names.get_mut(name) {
        *sum += more;
    } else {
        let name = if names.len() < NAMES_MAX {
            name
        } else {
            OTHERS
        };
        *names.entry(name.to_owned()).or_default() += more;
    }
}
