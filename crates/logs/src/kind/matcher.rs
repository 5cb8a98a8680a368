//! Finds the rule whose pattern has the most literal text among those that match a message, without looking at more than a few of them.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use super::KindId;
use super::pattern::Pattern;
use crate::severity::Severity;

/// Patterns that begin with as much text as this are found by it.
const KEY: usize = 8;

/// A match that begins with text and has this much of it ends the search: patterns that begin with `*` are slow, and are for messages
/// that begin with a name or end with the operating system's reason.
const SURE: u16 = 16;

/// A pattern of messages with the kind that it means.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) pattern: Pattern,
    /// A bit for each severity that it applies to.
    pub(super) severities: u8,
    /// DETAIL must match this, when given.
    pub(super) detail: Option<Pattern>,
    pub(super) kind: KindId,
}

/// Rules, sorted by how their patterns begin.
#[derive(Debug, Default)]
pub(super) struct Matcher {
    /// By the first bytes of patterns that begin with enough text; each list has the heaviest pattern first.
    by_key: HashMap<u64, Box<[Rule]>, FixedState>,
    /// By the first byte of those that begin with less.
    by_byte: Vec<Box<[Rule]>>,
    /// Those that begin with `*`, for each severity.
    loose: Vec<Box<[Rule]>>,
}

/// Returns the bit of a severity.
pub(super) fn bit(severity: Severity) -> u8 {
    1 << severity as u8
}

/// Returns the first bytes of a text as a number.
fn key(text: &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(*text.first_chunk::<KEY>()?))
}

fn heaviest_first(mut rules: Vec<Rule>) -> Box<[Rule]> {
    rules.sort_by_key(|rule| (std::cmp::Reverse(rule.pattern.weight()), rule.kind));
    rules.into()
}

impl Matcher {
    /// Sorts rules.
    pub(super) fn new(rules: impl IntoIterator<Item = Rule>) -> Matcher {
        let mut by_key: HashMap<u64, Vec<Rule>> = HashMap::new();
        let mut by_byte = vec![Vec::new(); 256];
        let mut loose = vec![Vec::new(); Severity::ALL.len()];
        for rule in rules {
            match (key(rule.pattern.prefix()), rule.pattern.prefix().first()) {
                (Some(key), _) => by_key.entry(key).or_default().push(rule),
                (None, Some(byte)) => by_byte[usize::from(*byte)].push(rule),
                (None, None) => {
                    for (severity, list) in Severity::ALL.into_iter().zip(&mut loose) {
                        if rule.severities & bit(severity) != 0 {
                            list.push(rule.clone());
                        }
                    }
                }
            }
        }
        Matcher {
            by_key: by_key
                .into_iter()
                .map(|(key, rules)| (key, heaviest_first(rules)))
                .collect(),
            by_byte: by_byte.into_iter().map(heaviest_first).collect(),
            loose: loose.into_iter().map(heaviest_first).collect(),
        }
    }

    /// Returns the kind of the heaviest rule that matches.
    pub(super) fn find<'a>(
        &'a self,
        severity: Severity,
        message: &[u8],
        detail: &[u8],
    ) -> Option<KindId> {
        let first = message.first()?;
        let by_key = key(message).and_then(|key| self.by_key.get(&key));
        let by_byte = self.by_byte.get(usize::from(*first));
        let mut best: Option<&Rule> = None;
        let mut search = |rules: &'a [Rule]| {
            for rule in rules {
                if best.is_some_and(|best| best.pattern.weight() >= rule.pattern.weight()) {
                    break;
                }
                let fits = rule.severities & bit(severity) != 0
                    && rule.pattern.matches(message)
                    && rule
                        .detail
                        .as_ref()
                        .is_none_or(|pattern| pattern.matches(detail));
                if fits {
                    best = Some(rule);
                    break;
                }
            }
            best.is_some_and(|best| best.pattern.weight() >= SURE)
        };
        let sure =
            by_key.is_some_and(|rules| search(rules)) || by_byte.is_some_and(|rules| search(rules));
        if !sure && let Some(loose) = self.loose.get(severity as usize) {
            search(loose);
        }
        best.map(|rule| rule.kind)
    }
}
