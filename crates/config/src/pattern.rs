//! Names with `*` in them, and the nearest of several names.

/// Returns whether `text` matches `pattern`, where `*` stands for any run of characters; case matters.
pub fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().expect("split yields at least one part");
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let Some(last) = parts.next_back() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.find(part) {
            Some(start) => rest = &rest[start + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// Returns the candidate that looks most like `word`, if one is near enough to be a slip of the pen.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| text.to_lowercase().replace('-', "_");
    let word = plain(word);
    candidates
        .into_iter()
        .map(|candidate| (distance(&word, &plain(candidate)), candidate))
        .filter(|(distance, candidate)| distance * 3 <= candidate.chars().count().max(3))
        .min()
        .map(|(_, candidate)| candidate)
}

/// Long words are never near anything: the edit distance is quadratic.
const WORD_LENGTH_MAX: usize = 128;

fn distance(one: &str, other: &str) -> usize {
    if one.len() > WORD_LENGTH_MAX || other.len() > WORD_LENGTH_MAX {
        return usize::from(one != other) * WORD_LENGTH_MAX;
    }
    strsim::osa_distance(one, other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_star_stands_for_any_run() {
        for (pattern, text, expected) in [
            ("dwh-1", "dwh-1", true),
            ("dwh-1", "dwh-11", false),
            ("*", "", true),
            ("*", "anything", true),
            ("dwh-*", "dwh-1", true),
            ("*-lag", "replication-lag", true),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "acb", false),
            ("ab*ba", "aba", false),
            ("*a*a*", "a", false),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn finds_slips_of_the_pen_and_no_more() {
        let keys = ["expected_standbys", "name", "url"];
        for (word, expected) in [
            ("expected_standby", Some("expected_standbys")),
            ("expected-standbys", Some("expected_standbys")),
            ("Name", Some("name")),
            ("nmae", Some("name")),
            ("ulr", Some("url")),
            ("password", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, keys), expected, "{word}");
        }
    }

    fn slow(pattern: &[char], text: &[char]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some(('*', rest)) => (0..=text.len()).any(|skip| slow(rest, &text[skip..])),
            Some((first, rest)) => text
                .split_first()
                .is_some_and(|(head, tail)| head == first && slow(rest, tail)),
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(pattern in "[ab*é]{0,7}", text in "[abé]{0,8}") {
            let pattern_chars: Vec<char> = pattern.chars().collect();
            let text_chars: Vec<char> = text.chars().collect();
            prop_assert_eq!(matches(&pattern, &text), slow(&pattern_chars, &text_chars));
        }
    }
}
