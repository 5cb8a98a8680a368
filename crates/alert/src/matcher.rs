//! Matchers: which alerts are meant, in Alertmanager's syntax.

use std::collections::BTreeMap;

use pawang_core::alert::{Matcher, Operator};
use regex_lite::{Regex, RegexBuilder};

/// Longest text of a matcher, or of a list of them.
const TEXT_BYTES_MAX: usize = 4_096;
/// Most matchers of one list.
const MATCHERS_MAX: usize = 64;
/// Largest regular expression, compiled.
const REGEX_BYTES_MAX: usize = 256 << 10;
/// What ends a text without quotes.
const SPECIAL: &str = "{}!=~,\\\"'`";

/// Parses `check="disk-space"`, `instance=~"dwh-.*"`, `level!=critical`; quotes may be left out where nothing is special.
///
/// # Errors
/// What is wrong with it, in words that complete "matcher ...: ".
pub fn parse(text: &str) -> Result<Matcher, String> {
    let mut matchers = parse_list(text)?;
    match (matchers.pop(), matchers.is_empty()) {
        (Some(matcher), true) => Ok(matcher),
        (None, _) => Err("it is empty".to_owned()),
        (Some(_), false) => Err("it is more than one matcher".to_owned()),
    }
}

/// Parses matchers with commas between them, as Alertmanager writes them: `{check="disk-space",instance=~"dwh-.*"}`;
/// the braces may be left out.
///
/// # Errors
/// What is wrong with them, in words.
pub fn parse_list(text: &str) -> Result<Vec<Matcher>, String> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(format!("it is longer than {TEXT_BYTES_MAX} bytes"));
    }
    let trimmed = text.trim();
    let inner = match (trimmed.strip_prefix('{'), trimmed.strip_suffix('}')) {
        (Some(_), Some(_)) => &trimmed[1..trimmed.len() - 1],
        (None, None) => trimmed,
        _ => return Err("a brace has no partner".to_owned()),
    };
    let mut rest = inner.trim_start();
    let mut matchers = Vec::new();
    while !rest.is_empty() {
        let (matcher, after) = one(rest)?;
        matchers.push(matcher);
        rest = match after.strip_prefix(',') {
            Some(after) => after.trim_start(),
            None if after.is_empty() => after,
            None => {
                return Err(format!(
                    "there is no comma before \"{}\"",
                    after.escape_debug()
                ));
            }
        };
    }
    if matchers.len() > MATCHERS_MAX {
        return Err(format!("it is more than {MATCHERS_MAX} matchers"));
    }
    Matchers::new(matchers).map(|ready| ready.matchers)
}

/// Reads one matcher; returns it and what comes after.
fn one(text: &str) -> Result<(Matcher, &str), String> {
    let (label, rest) = word(text)?;
    if label.is_empty() {
        return Err("it names no label".to_owned());
    }
    let operators = [
        ("=~", Operator::Matches),
        ("!~", Operator::MatchesNot),
        ("!=", Operator::NotEqual),
        ("=", Operator::Equal),
    ];
    let found = operators
        .iter()
        .find_map(|(sign, operator)| Some((*operator, rest.strip_prefix(sign)?)));
    let Some((operator, rest)) = found else {
        let label = label.escape_debug();
        return Err(format!("there is no =, !=, =~ or !~ after \"{label}\""));
    };
    let (value, rest) = word(rest.trim_start())?;
    let matcher = Matcher {
        label,
        operator,
        value,
    };
    Ok((matcher, rest))
}

/// Reads a text with or without quotes; returns it and what comes after, without blanks in front.
fn word(text: &str) -> Result<(String, &str), String> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(|c: char| c.is_whitespace() || SPECIAL.contains(c));
        let (word, rest) = text.split_at(end.unwrap_or(text.len()));
        if let Some(c) = rest.chars().next().filter(|c| "'`\\~{}".contains(*c)) {
            return Err(format!("{c:?} must stand in double quotes"));
        }
        return Ok((word.to_owned(), rest.trim_start()));
    };
    let mut word = String::new();
    let mut rest = quoted;
    loop {
        let mut characters = rest.chars();
        match characters.next() {
            None => return Err("a double quote is not closed".to_owned()),
            Some('"') => return Ok((word, characters.as_str().trim_start())),
            Some('\\') => rest = escaped(characters.as_str(), &mut word),
            Some(c) => {
                word.push(c);
                rest = characters.as_str();
            }
        }
    }
}

/// Reads what a backslash protects; one that protects nothing stays, so that `"a\.b"` needs no second one.
fn escaped<'a>(text: &'a str, word: &mut String) -> &'a str {
    let mut characters = text.chars();
    let code = text
        .strip_prefix("u{")
        .and_then(|rest| rest.split_once('}'));
    if let Some((code, rest)) = code
        && let Some(c) = u32::from_str_radix(code, 16).ok().and_then(char::from_u32)
    {
        word.push(c);
        return rest;
    }
    match characters.next() {
        Some('n') => word.push('\n'),
        Some('t') => word.push('\t'),
        Some('r') => word.push('\r'),
        Some('0') => word.push('\0'),
        Some(c @ ('"' | '\\' | '\'')) => word.push(c),
        Some(c) => word.extend(['\\', c]),
        None => word.push('\\'),
    }
    characters.as_str()
}

/// Matchers made ready to be asked often.
#[derive(Clone, Debug, Default)]
pub struct Matchers {
    /// As they were written.
    pub matchers: Vec<Matcher>,
    tests: Vec<Test>,
}

impl Matchers {
    /// Makes matchers ready.
    ///
    /// # Errors
    /// A regular expression is wrong or too large.
    pub fn new(matchers: Vec<Matcher>) -> Result<Matchers, String> {
        let tests = matchers.iter().map(Test::new).collect::<Result<_, _>>()?;
        Ok(Matchers { matchers, tests })
    }

    /// Makes matchers ready that are still text, each a matcher or a list of them.
    ///
    /// # Errors
    /// The place of the first that is wrong, and what is wrong with it.
    pub fn read(texts: &[String]) -> Result<Matchers, (usize, String)> {
        let mut matchers = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            let list = parse_list(text).map_err(|error| (index, error))?;
            if list.is_empty() {
                return Err((index, "it is empty".to_owned()));
            }
            matchers.extend(list);
        }
        Matchers::new(matchers).map_err(|error| (0, error))
    }

    /// Says whether all of them hold; none always hold.
    pub fn hold(&self, labels: &BTreeMap<String, String>) -> bool {
        self.pairs().all(|(matcher, test)| {
            let value = labels.get(&matcher.label).map_or("", String::as_str);
            test.holds(matcher.operator, value)
        })
    }

    /// Says whether those on one label hold for a value of it: whether alerts with that value can be meant at all.
    pub fn hold_for(&self, label: &str, value: &str) -> bool {
        let mut pairs = self.pairs().filter(|(matcher, _)| matcher.label == label);
        pairs.all(|(matcher, test)| test.holds(matcher.operator, value))
    }

    /// Says whether they hold for anything at all: there is none, or each also matches what is not there.
    ///
    /// So does one that holds for every value which its label has on alerts, such as `priority=~"P."`.
    pub fn match_everything(&self) -> bool {
        let mut pairs = self.pairs();
        pairs.all(|(matcher, test)| {
            let all: &[&str] = match matcher.label.as_str() {
                "priority" => &["P1", "P2", "P3", "P4"],
                "level" => &["warning", "critical"],
                "check" => &["load", "replication-lag", "wait-io"],
                "instance" => &["a", "dwh-1", "Zebra 9"],
                "production" => &["true", "false"],
                "role" => &["primary", "standby"],
                _ => &[],
            };
            let holds = |value: &&str| test.holds(matcher.operator, value);
            holds(&"") || !all.is_empty() && all.iter().all(holds)
        })
    }

    fn pairs(&self) -> impl Iterator<Item = (&Matcher, &Test)> {
        self.matchers.iter().zip(&self.tests)
    }
}

/// What the value of a label is held against; regular expressions that say something simple are not run as such.
#[derive(Clone, Debug)]
enum Test {
    Text(String),
    OneOf(Vec<String>),
    Begin(String),
    Something,
    Regex(Regex),
}

impl Test {
    fn new(matcher: &Matcher) -> Result<Test, String> {
        let text = matcher.value.as_str();
        if matches!(matcher.operator, Operator::Equal | Operator::NotEqual) {
            return Ok(Test::Text(text.to_owned()));
        }
        let plain = |text: &str| {
            text.chars()
                .all(|c| c.is_alphanumeric() || "-_/: ".contains(c))
        };
        if text == ".+" {
            return Ok(Test::Something);
        }
        if text.split('|').all(plain) {
            return Ok(Test::OneOf(text.split('|').map(str::to_owned).collect()));
        }
        if let Some(begin) = text.strip_suffix(".*").filter(|begin| plain(begin)) {
            return Ok(Test::Begin(begin.to_owned()));
        }
        let build = |text: &str| RegexBuilder::new(text).size_limit(REGEX_BYTES_MAX).build();
        // Alone first: what is wrong is told of what was written, and it cannot close our own bracket.
        build(text)
            .and_then(|_| build(&format!("^(?:{text})$")))
            .map(Test::Regex)
            .map_err(|error| {
                let text = text.escape_debug();
                format!("\"{text}\" is no regular expression: {error}")
            })
    }

    fn holds(&self, operator: Operator, value: &str) -> bool {
        // As in Alertmanager, "." is any character but a line feed.
        let one_line = |text: &str| !text.contains('\n');
        let same = match self {
            Test::Text(text) => text == value,
            Test::OneOf(texts) => texts.iter().any(|text| text == value),
            Test::Begin(begin) => value.strip_prefix(begin.as_str()).is_some_and(one_line),
            Test::Something => !value.is_empty() && one_line(value),
            Test::Regex(regex) => regex.is_match(value),
        };
        same == matches!(operator, Operator::Equal | Operator::Matches)
    }
}

#[cfg(test)]
mod tests;
