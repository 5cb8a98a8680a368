//! A text that is looked for in many others, whatever the case of its letters.

use memchr::memchr2_iter;

/// Bytes from common to rare in logs; all others are rarer.
const COMMON: &[u8] = b" etaionsr0123456789lcdu:=.,pm_-g\"()bfhkvwyxqjz/[]'";

/// A text that is looked for; upper and lower case of ASCII letters are the same.
#[derive(Clone, Debug)]
pub struct Needle {
    text: Vec<u8>,
    /// The place of its rarest byte.
    rarest: usize,
}

impl Needle {
    /// Takes what is looked for; none when it is empty, and everything has it.
    pub fn new(text: &str) -> Option<Needle> {
        let text = text.to_ascii_lowercase().into_bytes();
        let rarity = |byte: u8| {
            let place = COMMON.iter().position(|common| *common == byte);
            place.unwrap_or(COMMON.len())
        };
        let rarest = (0..text.len()).max_by_key(|&at| rarity(text[at]))?;
        Some(Needle { text, rarest })
    }

    /// Whether a text has it.
    pub fn is_in(&self, text: &[u8]) -> bool {
        let Some(last) = text.len().checked_sub(self.text.len()) else {
            return false;
        };
        let byte = self.text[self.rarest];
        let places = &text[self.rarest..=self.rarest + last];
        let mut found = memchr2_iter(byte, byte.to_ascii_uppercase(), places);
        found.any(|at| text[at..at + self.text.len()].eq_ignore_ascii_case(&self.text))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_empty_is_not_looked_for() {
        assert!(Needle::new("").is_none());
        let needle = Needle::new("Deadlock Detected").unwrap();
        assert!(needle.is_in(b"ERROR: DEADLOCK detected"));
        assert!(!needle.is_in(b"deadlock detecte") && !needle.is_in(b""));
    }

    proptest! {
        #[test]
        fn it_is_found_where_a_plain_search_finds_it(text in "[abAB.\u{e9}]{0,12}", wanted in "[abAB.\u{e9}]{1,4}") {
            let plain = text.to_ascii_lowercase().contains(&wanted.to_ascii_lowercase());
            prop_assert_eq!(Needle::new(&wanted).unwrap().is_in(text.as_bytes()), plain);
        }
    }
}
