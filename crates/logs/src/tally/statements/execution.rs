//! Executions that are shown one by one, and what a shape's executions add up to.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::histogram::Histogram;
use crate::report::{Shape, Slow};
use crate::secret::without_secrets;
use crate::statement::{cut, tags, verb};
use crate::tally::names::{People, earlier, early_first, later};
use crate::tally::{Options, ShapeId, Shapes};

/// Longest text of an execution that is kept.
pub(super) const TEXT_BYTES_MAX: usize = 4096;
/// Longest text of parameters that is kept.
const PARAMETERS_BYTES_MAX: usize = 1024;
/// Most combinations of names that are told apart for one shape.
const WHO_MAX: usize = 200;

/// One execution.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Execution {
    pub(super) duration: u64,
    pub(super) at: Option<i64>,
    pub(super) who: u32,
    pub(super) shape: Option<ShapeId>,
    /// The text as it ran, redacted.
    pub(super) text: String,
    pub(super) parameters: String,
    pub(super) tags: BTreeMap<String, String>,
}

/// An execution whose texts are still those of its record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run<'a> {
    pub(super) duration: u64,
    pub(super) at: Option<i64>,
    pub(super) who: u32,
    pub(super) shape: Option<ShapeId>,
    pub(super) text: &'a [u8],
    pub(super) detail: &'a [u8],
    /// What was kept of its parameters and tags, where the record that tells them is gone.
    pub(super) kept: Option<(&'a str, &'a BTreeMap<String, String>)>,
}

impl Run<'_> {
    /// Returns it with its own texts.
    pub(super) fn keep(&self) -> Execution {
        let (parameters, tags) = match self.kept {
            Some((parameters, tags)) => (parameters.to_owned(), tags.clone()),
            None => (kept_parameters(self.detail), tags(self.text)),
        };
        Execution {
            duration: self.duration,
            at: self.at,
            who: self.who,
            shape: self.shape,
            text: kept_text(self.text),
            parameters,
            tags,
        }
    }

    /// Whether it could be shown before another: it is slower, or as slow and not later.
    #[inline]
    pub(super) fn may_precede(&self, other: &Execution) -> bool {
        self.duration > other.duration
            || (self.duration == other.duration && early_first(self.at) <= early_first(other.at))
    }
}

/// Returns a statement as it is kept.
pub(super) fn kept_text(text: &[u8]) -> String {
    without_secrets(&cut(text, TEXT_BYTES_MAX)).into_owned()
}

/// Returns the parameters that a DETAIL tells, as they are kept.
pub(super) fn kept_parameters(detail: &[u8]) -> String {
    let text = cut(detail, PARAMETERS_BYTES_MAX);
    let rest = ["parameters: ", "Parameters: "]
        .iter()
        .find_map(|start| text.strip_prefix(start));
    rest.map(|text| without_secrets(text).into_owned())
        .unwrap_or_default()
}

impl Execution {
    /// Whether it is shown before another: the slower, then the earlier, then by texts and names.
    pub(super) fn precedes(&self, other: &Execution, people: &People) -> bool {
        let key = |one: &Execution| (std::cmp::Reverse(one.duration), early_first(one.at));
        let texts = |one: &Execution| {
            (
                one.text.clone(),
                one.parameters.clone(),
                people.get(one.who).clone(),
            )
        };
        match key(self).cmp(&key(other)) {
            std::cmp::Ordering::Equal => texts(self) < texts(other),
            order => order.is_lt(),
        }
    }

    /// Returns it as the report shows it.
    pub(super) fn report(&self, people: &People, shapes: &Shapes, options: &Options) -> Slow {
        let who = people.get(self.who);
        let normalised = || self.shape.map_or("", |id| shapes.text(id)).to_owned();
        Slow {
            at: self.at,
            duration: self.duration,
            user: who.user.clone(),
            database: who.database.clone(),
            application: who.application.clone(),
            host: who.host.clone(),
            text: if options.constants {
                self.text.clone()
            } else {
                normalised()
            },
            parameters: if options.constants {
                self.parameters.clone()
            } else {
                String::new()
            },
        }
    }
}

/// What the executions of a shape add up to.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct ShapeTally {
    pub(super) durations: Histogram,
    first_at: Option<i64>,
    last_at: Option<i64>,
    /// Executions by combination of names, the last one first.
    who: Vec<(u32, u64)>,
    /// Executions by combination beyond the bound.
    unnamed: u64,
    hours: [u64; 24],
    slowest: Option<Box<Execution>>,
}

impl ShapeTally {
    #[inline]
    pub(super) fn add(&mut self, run: &Run<'_>, hour: Option<usize>, people: &People) {
        self.durations.add(run.duration);
        if let Some(hour) = hour {
            self.hours[hour] += 1;
            self.first_at = earlier(self.first_at, run.at);
            self.last_at = later(self.last_at, run.at);
        }
        match self.who.first_mut() {
            Some((who, count)) if *who == run.who => *count += 1,
            _ => self.add_who(run.who, 1),
        }
        if self
            .slowest
            .as_ref()
            .is_none_or(|slowest| run.may_precede(slowest))
        {
            self.take_slowest(run.keep(), people);
        }
    }

    fn add_who(&mut self, who: u32, count: u64) {
        if let Some(index) = self.who.iter().position(|entry| entry.0 == who) {
            self.who[index].1 += count;
            self.who.swap(0, index);
        } else if self.who.len() < WHO_MAX {
            self.who.push((who, count));
        } else {
            self.unnamed += count;
        }
    }

    #[inline(never)]
    fn take_slowest(&mut self, execution: Execution, people: &People) {
        if self
            .slowest
            .as_ref()
            .is_none_or(|slowest| execution.precedes(slowest, people))
        {
            self.slowest = Some(Box::new(execution));
        }
    }

    /// Adds all of another, whose numbers of names are those of `people` already.
    pub(super) fn absorb(&mut self, other: ShapeTally, people: &People) {
        self.durations.merge(&other.durations);
        self.first_at = earlier(self.first_at, other.first_at);
        self.last_at = later(self.last_at, other.last_at);
        for (hour, more) in self.hours.iter_mut().zip(other.hours) {
            *hour += more;
        }
        for (who, count) in other.who {
            self.add_who(who, count);
        }
        self.unnamed += other.unnamed;
        if let Some(slowest) = other.slowest {
            self.take_slowest(*slowest, people);
        }
    }

    /// Replaces the numbers of names.
    pub(super) fn renumber(&mut self, numbers: &[u32]) {
        for (who, _) in &mut self.who {
            *who = numbers[*who as usize];
        }
        // Two numbers may have become one where names were beyond the bound.
        for (who, count) in std::mem::take(&mut self.who) {
            self.add_who(who, count);
        }
        if let Some(slowest) = &mut self.slowest {
            slowest.who = numbers[slowest.who as usize];
        }
    }

    /// Returns it as the report shows it.
    pub(super) fn report(
        &self,
        id: ShapeId,
        people: &People,
        shapes: &Shapes,
        options: &Options,
    ) -> Shape {
        let text = shapes.text(id);
        let mut shape = Shape {
            id: id.to_string(),
            text: text.to_owned(),
            verb: verb(text).to_owned(),
            durations: self.durations.durations(),
            first_at: self.first_at,
            last_at: self.last_at,
            hours: (0..)
                .zip(self.hours)
                .filter(|(_, count)| *count > 0)
                .collect(),
            tags: self
                .slowest
                .as_ref()
                .map(|slowest| slowest.tags.clone())
                .unwrap_or_default(),
            slowest: self
                .slowest
                .as_ref()
                .map(|slowest| slowest.report(people, shapes, options)),
            ..Shape::default()
        };
        for &(who, count) in &self.who {
            let who = people.get(who);
            for (names, name) in [
                (&mut shape.users, &who.user),
                (&mut shape.databases, &who.database),
                (&mut shape.applications, &who.application),
            ] {
                if !name.is_empty() {
                    *names.entry(name.clone()).or_default() += count;
                }
            }
        }
        if self.unnamed > 0 {
            for names in [
                &mut shape.users,
                &mut shape.databases,
                &mut shape.applications,
            ] {
                *names
                    .entry(crate::tally::names::OTHERS.to_owned())
                    .or_default() += self.unnamed;
            }
        }
        shape
    }
}
