//! Records by kind, and those that no rule knows.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::names::{earlier, early_first, later};
use super::{Event, Options};
use crate::kind::{Group, KindId, find, kinds};
use crate::report;
use crate::secret::without_secrets;
use crate::statement::{cut, normalise_message};

/// Most different texts that no rule knows.
const TEXTS_MAX: usize = 5000;
/// Longest sample of a message.
pub(super) const SAMPLE_BYTES_MAX: usize = 600;

/// Records by kind, and those that no rule knows.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub(crate) struct Kinds {
    /// By the kind's number.
    kinds: Vec<Counted>,
    texts: BTreeMap<String, Counted>,
    /// Records of texts beyond the bound.
    dropped: u64,
    normalised: String,
}

/// The form in which it is kept: a kind's number may be another in the next version, its id is not.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Stored {
    kinds: BTreeMap<String, Counted>,
    texts: BTreeMap<String, Counted>,
    dropped: u64,
}

impl From<Stored> for Kinds {
    fn from(stored: Stored) -> Kinds {
        let mut all = Kinds {
            texts: stored.texts,
            dropped: stored.dropped,
            ..Kinds::default()
        };
        for (id, counted) in stored.kinds {
            // What the version before knew and this one does not is as good as unclassified.
            let last = KindId(kinds().len().saturating_sub(1) as u16);
            all.kind(find(&id).unwrap_or(last)).absorb(counted);
        }
        all
    }
}

impl From<Kinds> for Stored {
    fn from(all: Kinds) -> Stored {
        let known = kinds().iter().map(|kind| kind.id.clone());
        Stored {
            kinds: known
                .zip(all.kinds)
                .filter(|(_, counted)| counted.count > 0)
                .collect(),
            texts: all.texts,
            dropped: all.dropped,
        }
    }
}

/// How often, when, and the earliest message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Counted {
    count: u64,
    first_at: Option<i64>,
    last_at: Option<i64>,
    sample: String,
}

impl Counted {
    #[inline]
    fn add(&mut self, at: Option<i64>, message: &[u8]) {
        if self.count == 0 || (at.is_some() && early_first(at) <= early_first(self.first_at)) {
            self.sample(at, message);
        }
        self.count += 1;
        self.first_at = earlier(self.first_at, at);
        self.last_at = later(self.last_at, at);
    }

    /// Takes the message as sample when it comes before: by time, then by text; without a time the first of the log stays.
    fn sample(&mut self, at: Option<i64>, message: &[u8]) {
        let text = cut(message, SAMPLE_BYTES_MAX);
        let text = without_secrets(&text);
        if self.count == 0
            || (early_first(at), &*text) < (early_first(self.first_at), &*self.sample)
        {
            text.as_ref().clone_into(&mut self.sample);
        }
    }

    fn absorb(&mut self, other: Counted) {
        let before = (early_first(self.first_at), &self.sample);
        let sooner =
            other.first_at.is_some() && (early_first(other.first_at), &other.sample) < before;
        if other.count > 0 && (self.count == 0 || sooner) {
            self.sample = other.sample;
        }
        self.count += other.count;
        self.first_at = earlier(self.first_at, other.first_at);
        self.last_at = later(self.last_at, other.last_at);
    }
}

impl Kinds {
    /// Adds one record.
    #[inline]
    pub(crate) fn take(&mut self, event: &Event<'_>) {
        let record = event.record;
        self.kind(event.kind).add(record.at, record.message);
        if kinds()[usize::from(event.kind.0)].group == Group::Unclassified {
            self.text(record.at, record.message);
        }
    }

    #[inline]
    fn kind(&mut self, kind: KindId) -> &mut Counted {
        let index = usize::from(kind.0);
        if index >= self.kinds.len() {
            self.kinds
                .resize(kinds().len().max(index + 1), Counted::default());
        }
        &mut self.kinds[index]
    }

    fn text(&mut self, at: Option<i64>, message: &[u8]) {
        self.normalised.clear();
        normalise_message(message, &mut self.normalised);
        if let Some(counted) = self.texts.get_mut(&self.normalised) {
            counted.add(at, message);
        } else if self.texts.len() < TEXTS_MAX {
            self.texts
                .entry(self.normalised.clone())
                .or_default()
                .add(at, message);
        } else {
            self.dropped += 1;
        }
    }

    /// Adds the part that follows.
    pub(crate) fn absorb(&mut self, other: Kinds) {
        for (index, counted) in (0..).zip(other.kinds) {
            if counted.count > 0 {
                self.kind(KindId(index)).absorb(counted);
            }
        }
        self.dropped += other.dropped;
        for (text, counted) in other.texts {
            if self.texts.len() < TEXTS_MAX || self.texts.contains_key(&text) {
                self.texts.entry(text).or_default().absorb(counted);
            } else {
                self.dropped += counted.count;
            }
        }
    }

    /// Returns the kinds, most severe and most frequent first.
    pub(crate) fn report(&self) -> Vec<report::KindCount> {
        let mut all: Vec<report::KindCount> = kinds()
            .iter()
            .zip(&self.kinds)
            .filter(|(_, counted)| counted.count > 0)
            .map(|(kind, counted)| report::KindCount {
                kind: kind.id.clone(),
                level: kind.level,
                count: counted.count,
                first_at: counted.first_at,
                last_at: counted.last_at,
                sample: counted.sample.clone(),
            })
            .collect();
        all.sort_by(|left, right| {
            let first = (right.level, right.count).cmp(&(left.level, left.count));
            first.then_with(|| left.kind.cmp(&right.kind))
        });
        all
    }

    /// Returns the texts that no rule knows.
    pub(crate) fn unclassified(&self, options: &Options) -> report::Top<report::Text> {
        let mut all: Vec<(&String, &Counted)> = self.texts.iter().collect();
        all.sort_by_key(|(text, counted)| (Reverse(counted.count), *text));
        report::Top {
            total: all.len() as u64,
            complete: self.dropped == 0,
            items: all
                .into_iter()
                .take(options.items)
                .map(|(text, counted)| report::Text {
                    text: without_secrets(text).into_owned(),
                    count: counted.count,
                    first_at: counted.first_at,
                    last_at: counted.last_at,
                    sample: counted.sample.clone(),
                })
                .collect(),
        }
    }
}
