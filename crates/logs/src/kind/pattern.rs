//! Patterns of messages, in which `*` stands for any text.

use memchr::memmem;

/// How much of a message is searched for the middle parts of a pattern; a statement in a message can be 100 MB long.
const HEAD: usize = 1024;

/// A pattern that must match a whole text.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    /// Text before the first `*`, or all of it.
    prefix: Box<[u8]>,
    /// Texts between two `*`.
    middle: Box<[memmem::Finder<'static>]>,
    /// Text after the last `*`; none when the pattern has no `*`.
    suffix: Option<Box<[u8]>>,
    /// Bytes of literal text.
    weight: u16,
}

impl Pattern {
    /// Reads a pattern.
    pub(super) fn new(text: &str) -> Pattern {
        let mut parts: Vec<Box<[u8]>> =
            text.split('*').map(|part| part.as_bytes().into()).collect();
        let weight = parts.iter().map(|part| part.len()).sum::<usize>();
        let suffix = if parts.len() > 1 { parts.pop() } else { None };
        let prefix = parts.remove(0);
        parts.retain(|part| !part.is_empty());
        Pattern {
            prefix,
            middle: parts
                .iter()
                .map(|part| memmem::Finder::new(part).into_owned())
                .collect(),
            suffix,
            weight: u16::try_from(weight).unwrap_or(u16::MAX),
        }
    }

    /// Returns the literal text that every match begins with.
    pub(super) fn prefix(&self) -> &[u8] {
        &self.prefix
    }

    /// Returns the pattern with a weight that loses against other patterns.
    pub(super) fn weak(self) -> Pattern {
        Pattern {
            weight: self.weight / 8,
            ..self
        }
    }

    /// Returns how many bytes of literal text it has.
    pub(super) fn weight(&self) -> u16 {
        self.weight
    }

    /// Tells whether the whole text matches.
    pub(super) fn matches(&self, text: &[u8]) -> bool {
        let Some(rest) = text.strip_prefix(&*self.prefix) else {
            return false;
        };
        let Some(suffix) = &self.suffix else {
            return rest.is_empty();
        };
        let Some(rest) = rest.strip_suffix(&**suffix) else {
            return false;
        };
        let mut rest = &rest[..rest.len().min(HEAD)];
        for part in &self.middle {
            let Some(at) = part.find(rest) else {
                return false;
            };
            rest = &rest[at + part.needle().len()..];
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_any_text() {
        let check = |pattern: &str, text: &str, expected: bool| {
            assert_eq!(
                Pattern::new(pattern).matches(text.as_bytes()),
                expected,
                "{pattern} {text}"
            );
        };
        check("deadlock detected", "deadlock detected", true);
        check("deadlock detected", "deadlock detected ", false);
        check("a*", "a", true);
        check("a*b", "ab", true);
        check("a*b", "a", false);
        check("aa*aa", "aaa", false);
        check("*: No space", "x: No space", true);
        check("*: No space", "x: No spaces", false);
        check("p * on * after", "p x on y after", true);
        check("p * on * after", "p x on y", false);
        check("*", "", true);
    }

    #[test]
    fn the_weight_counts_literal_text() {
        assert_eq!(Pattern::new("ab*c*").weight(), 3);
        assert_eq!(Pattern::new("ab*c*").prefix(), b"ab");
    }
}
