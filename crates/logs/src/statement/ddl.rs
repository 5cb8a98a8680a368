//! What a statement changes of a schema or of settings: the objects that it names.

use super::split;
use super::token::{Lexer, Token};

/// First words of statements that may change how others are planned.
const VERBS: [&str; 6] = ["create", "alter", "drop", "reindex", "cluster", "refresh"];
/// Words between a verb and the kind of object.
const MODIFIERS: [&str; 11] = [
    "or",
    "replace",
    "unique",
    "unlogged",
    "recursive",
    "materialized",
    "foreign",
    "constraint",
    "trusted",
    "procedural",
    "concurrently",
];
/// Words between the kind of object and its name.
const BEFORE_NAME: [&str; 6] = ["if", "not", "exists", "only", "concurrently", "verbose"];
/// Objects of one statement that are kept.
const NAMES_MAX: usize = 20;

/// A change of a schema, or of a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ddl<'a> {
    /// The statement.
    pub text: &'a str,
    /// The relations, indexes and functions that it names, without schema and in lower case; none of a setting.
    pub names: Vec<String>,
    /// Whether it changes a setting of the server, of a database or of a role.
    pub setting: bool,
}

/// Tells whether one of a text's statements may be a change, without looking closely.
pub(crate) fn may_change(text: &[u8]) -> bool {
    let begins = |text: &[u8]| {
        let text = after_comments(text);
        let word = |verb: &str| {
            let head = text.get(..verb.len());
            head.is_some_and(|head| head.eq_ignore_ascii_case(verb.as_bytes()))
        };
        VERBS.iter().any(|verb| word(verb))
    };
    begins(text) || memchr::memchr_iter(b';', text).any(|at| begins(&text[at + 1..]))
}

/// Returns what follows white space and comments.
fn after_comments(mut text: &[u8]) -> &[u8] {
    loop {
        text = text.trim_ascii_start();
        let end = match text.get(..2) {
            Some(b"/*") => memchr::memmem::find(text, b"*/").map(|at| at + 2),
            Some(b"--") => memchr::memchr(b'\n', text),
            _ => return text,
        };
        text = end.map_or(b"", |end| &text[end..]);
    }
}

/// Returns the changes of tables, indexes, views, functions, statistics and settings among the statements of a text.
///
/// Temporary tables are none, nor is what no other statement is planned by: roles, grants, comments.
pub fn changes(text: &str) -> Vec<Ddl<'_>> {
    split(text).into_iter().filter_map(change).collect()
}

fn change(text: &str) -> Option<Ddl<'_>> {
    let words = Words::of(text);
    let verb = words.keyword(0)?;
    let (names, setting) = match verb {
        "cluster" => (words.names(words.skip(1, &BEFORE_NAME))?, false),
        "refresh" => (
            words.names(words.skip(1, &["materialized", "view", "concurrently"]))?,
            false,
        ),
        "reindex" => (words.reindexed()?, false),
        "create" | "alter" | "drop" => words.changed(verb)?,
        _ => return None,
    };
    (setting || !names.is_empty()).then_some(Ddl {
        text,
        names,
        setting,
    })
}

/// A token, as far as it matters here.
#[derive(Debug, PartialEq, Eq)]
enum Word {
    /// A keyword or name, in lower case.
    Plain(String),
    /// A name that stood in quotes.
    Quoted(String),
    Mark(u8),
    Other,
}

struct Words(Vec<Word>);

impl Words {
    fn of(text: &str) -> Words {
        let mut lexer = Lexer::new(text.as_bytes());
        let mut words = Vec::new();
        loop {
            let token = lexer.next();
            let own = || String::from_utf8_lossy(lexer.bytes()).to_lowercase();
            words.push(match token {
                Token::End => return Words(words),
                Token::Word(_) => Word::Plain(own()),
                Token::Quoted { .. } => Word::Quoted(own().trim_matches('"').replace("\"\"", "\"")),
                Token::Mark(mark) => Word::Mark(mark),
                _ => Word::Other,
            });
        }
    }

    fn keyword(&self, at: usize) -> Option<&str> {
        match self.0.get(at)? {
            Word::Plain(word) => Some(word),
            _ => None,
        }
    }

    /// Returns the first place from there on that is none of these words.
    fn skip(&self, mut at: usize, words: &[&str]) -> usize {
        while self.keyword(at).is_some_and(|word| words.contains(&word)) {
            at += 1;
        }
        at
    }

    /// Returns the place after the first such word.
    fn after(&self, from: usize, word: &str) -> Option<usize> {
        (from..self.0.len())
            .find(|at| self.keyword(*at) == Some(word))
            .map(|at| at + 1)
    }

    /// Returns the last part of the name that stands there, and the place after it.
    fn name(&self, mut at: usize) -> Option<(String, usize)> {
        loop {
            let (Word::Plain(name) | Word::Quoted(name)) = self.0.get(at)? else {
                return None;
            };
            if self.0.get(at + 1) != Some(&Word::Mark(b'.')) {
                return Some((name.clone(), at + 1));
            }
            at += 2;
        }
    }

    /// Returns the names of a list.
    fn names(&self, mut at: usize) -> Option<Vec<String>> {
        let mut names = Vec::new();
        while names.len() < NAMES_MAX {
            let (name, next) = self.name(at)?;
            names.push(name);
            if self.0.get(next) != Some(&Word::Mark(b',')) {
                break;
            }
            at = next + 1;
        }
        Some(names)
    }

    fn one(&self, at: usize) -> Option<Vec<String>> {
        Some(vec![self.name(at)?.0])
    }

    fn reindexed(&self) -> Option<Vec<String>> {
        let mut at = 1;
        if self.0.get(at) == Some(&Word::Mark(b'(')) {
            let close = self.0.iter().position(|word| *word == Word::Mark(b')'))?;
            at = close + 1;
        }
        matches!(self.keyword(at)?, "index" | "table").then_some(())?;
        self.one(self.skip(at + 1, &BEFORE_NAME))
    }

    /// Returns what CREATE, ALTER or DROP names, and whether it is a setting.
    fn changed(&self, verb: &str) -> Option<(Vec<String>, bool)> {
        let kind = self.skip(1, &MODIFIERS);
        let name = self.skip(kind + 1, &BEFORE_NAME);
        let names = match self.keyword(kind)? {
            "system" | "database" | "role" | "user" if verb == "alter" => {
                let sets = self.after(kind, "set").or(self.after(kind, "reset"));
                return sets.map(|_| (Vec::new(), true));
            }
            "index" if verb == "create" => {
                let table = self.after(kind, "on")?;
                let mut names = self.one(self.skip(table, &BEFORE_NAME))?;
                // It may have no name of its own.
                names.extend(
                    self.name(name)
                        .filter(|_| name + 1 < table)
                        .map(|found| found.0),
                );
                names
            }
            "statistics" if verb == "create" => self.one(self.after(kind, "from")?)?,
            "trigger" | "policy" => self.one(self.skip(self.after(kind, "on")?, &BEFORE_NAME))?,
            "rule" => {
                let mark = if verb == "create" { "to" } else { "on" };
                self.one(self.after(kind, mark)?)?
            }
            "table" | "view" | "index" | "statistics" | "function" | "procedure" | "aggregate"
            | "routine" => {
                let mut names = self.names(name)?;
                let parent = self
                    .after(name, "partition")
                    .and_then(|at| match self.keyword(at) {
                        Some("of") => self.name(at + 1),
                        _ => None,
                    });
                names.extend(parent.map(|found| found.0));
                names
            }
            _ => return None,
        };
        Some((names, false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(text: &str) -> Vec<Vec<String>> {
        let all = changes(text);
        assert!(all.is_empty() || may_change(text.as_bytes()), "{text}");
        all.into_iter().map(|ddl| ddl.names).collect()
    }

    #[test]
    fn a_change_names_its_objects() {
        for (text, names) in [
            (
                "DROP INDEX CONCURRENTLY IF EXISTS public.a, \"B\"",
                vec!["a", "b"],
            ),
            (
                "create unique index concurrently if not exists i on only public.orders (day)",
                vec!["orders", "i"],
            ),
            ("CREATE INDEX ON orders (day)", vec!["orders"]),
            (
                "ALTER TABLE IF EXISTS ONLY orders ADD COLUMN customer int",
                vec!["orders"],
            ),
            (
                "create table p1 partition of orders for values in (?)",
                vec!["p1", "orders"],
            ),
            ("ALTER INDEX public.i RENAME TO j", vec!["i"]),
            ("/* deploy 7 */ DROP MATERIALIZED VIEW v", vec!["v"]),
            (
                "CREATE OR REPLACE FUNCTION f(int) RETURNS int LANGUAGE sql AS ?",
                vec!["f"],
            ),
            ("DROP TRIGGER t ON orders", vec!["orders"]),
            (
                "CREATE STATISTICS s (dependencies) ON a, b FROM orders",
                vec!["orders"],
            ),
            ("REINDEX (VERBOSE) INDEX CONCURRENTLY i", vec!["i"]),
            ("CLUSTER orders USING i", vec!["orders"]),
            ("REFRESH MATERIALIZED VIEW CONCURRENTLY v", vec!["v"]),
        ] {
            assert_eq!(named(text), [names], "{text}");
        }
    }

    #[test]
    fn of_several_statements_each_change_is_found() {
        let text = "BEGIN; DROP INDEX a; SELECT 1; ALTER TABLE t ADD b int; COMMIT";
        assert_eq!(named(text), [["a"], ["t"]]);
        assert_eq!(changes(text)[0].text, "DROP INDEX a");
    }

    #[test]
    fn a_setting_of_a_role_is_a_change_and_its_password_is_none() {
        let of = |text| changes(text).first().map(|ddl| ddl.setting);
        assert_eq!(
            of("ALTER ROLE budi IN DATABASE dwh SET enable_seqscan = off"),
            Some(true)
        );
        assert_eq!(of("ALTER SYSTEM RESET work_mem"), Some(true));
        assert_eq!(of("ALTER ROLE budi PASSWORD 'geheim'"), None);
        for text in [
            "CREATE ROLE budi PASSWORD 'geheim'",
            "CREATE TEMP TABLE t (a int)",
            "CREATE EVENT TRIGGER t ON ddl_command_end EXECUTE FUNCTION f()",
            "GRANT SELECT ON orders TO budi",
            "REINDEX DATABASE dwh",
            "SELECT 'DROP INDEX a'",
            "DROP",
            "",
        ] {
            assert_eq!(named(text), [] as [Vec<String>; 0], "{text}");
        }
    }
}
