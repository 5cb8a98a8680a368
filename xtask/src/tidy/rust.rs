//! Rules for Rust files: absences, sizes, modules that nobody compiles, tests that wait or look away.

use super::{File, Problem};

/// Blank and comment lines, and the tests at the end, are not counted.
const CODE_LINES_MAX: usize = 800;

/// Programs beside the product, which cargo finds by themselves.
const BESIDE: [&str; 3] = ["/examples/", "/benches/", "/fuzz_targets/"];

/// Stands for the session that can change a server, however it is imported.
const WRITER: &str = "pawang_postgres::Writer";

/// In which code a rule holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Holds {
    Everywhere,
    OutsideTests,
    InTests,
}

/// Something that may only stand in some places.
struct Absence {
    /// Any of these in code; comments and texts do not count.
    words: &'static [&'static str],
    /// Where the rule holds; empty is everywhere.
    within: &'static str,
    /// Where it does not hold.
    except: &'static [&'static str],
    holds: Holds,
    why: &'static str,
}

const ABSENCES: [Absence; 6] = [
    Absence {
        words: &["tokio_postgres"],
        within: "",
        except: &["crates/postgres/", "crates/testbed/"],
        holds: Holds::Everywhere,
        why: "only crates/postgres and the testbed speak to PostgreSQL",
    },
    Absence {
        words: &[
            "println!",
            "eprintln!",
            "print!",
            "eprint!",
            "dbg!",
            "io::stdout",
            "io::stderr",
        ],
        within: "",
        // A build script speaks to cargo by printing.
        except: &["crates/pawang/", "xtask/", "crates/collect/build.rs"],
        holds: Holds::OutsideTests,
        why: "only the program prints",
    },
    Absence {
        words: &["std::env", "env::var", "env::vars", "env::args"],
        within: "",
        except: &[
            "crates/pawang/src/environment.rs",
            "crates/testbed/",
            "xtask/",
        ],
        holds: Holds::OutsideTests,
        why: "only pawang::environment reads the environment",
    },
    Absence {
        words: &[
            "std::fs",
            "std::net",
            "std::process",
            "std::os",
            "tokio",
            "SystemTime",
            "Instant",
        ],
        within: "crates/core/src/",
        except: &[],
        holds: Holds::OutsideTests,
        why: "core does no I/O and reads no clock",
    },
    Absence {
        // Of this name there is also the writer of the history: only those who use crate postgres are meant.
        words: &[WRITER],
        within: "",
        except: &["crates/act/", "crates/postgres/"],
        holds: Holds::Everywhere,
        why: "only crates/act opens sessions that can change a server",
    },
    Absence {
        words: &["ignore]", "ignore =", "should_panic", "todo!", "sleep("],
        within: "",
        except: &[],
        holds: Holds::InTests,
        why: "tests neither look away nor wait for a time",
    },
];

/// Checks one Rust file.
pub(super) fn check(file: &File, files: &[File], problems: &mut Vec<Problem>) {
    let path = &file.path;
    if !file.text.starts_with("//!") {
        problems.push(format!(
            "{path}:1: the file must open with //! and its purpose"
        ));
    }
    if let Some(problem) = forgotten(path, files) {
        problems.push(problem);
    }
    let code = strip(&file.text);
    let lines: Vec<&str> = code.lines().collect();
    let is_test = path.contains("/tests/") || BESIDE.iter().any(|beside| path.contains(beside));
    let tests_from = first_test_line(&lines);
    let own = lines[..if is_test { lines.len() } else { tests_from }].iter();
    let count = own.filter(|line| !line.trim().is_empty()).count();
    if count > CODE_LINES_MAX {
        problems.push(format!(
            "{path}: {count} lines of code, {CODE_LINES_MAX} are allowed: split it by subject"
        ));
    }
    for absence in &ABSENCES {
        let place = absence
            .except
            .iter()
            .find(|place| path.starts_with(**place));
        if !path.starts_with(absence.within) || place.is_some() {
            continue;
        }
        for (index, line) in lines.iter().enumerate() {
            let excused = match absence.holds {
                Holds::Everywhere => false,
                Holds::OutsideTests => is_test || index >= tests_from,
                Holds::InTests => !is_test && index < tests_from,
            };
            let found = absence.words.iter().find(|word| match **word {
                WRITER => imported(&lines, index, "pawang_postgres", "Writer"),
                word => has_word(line, word),
            });
            if let Some(word) = found.filter(|_| !excused) {
                let number = index + 1;
                problems.push(format!("{path}:{number}: \"{word}\": {}", absence.why));
            }
        }
    }
}

/// Returns the index of the line where the test module at the end begins, else the number of lines.
fn first_test_line(lines: &[&str]) -> usize {
    let attribute = lines.iter().rposition(|line| *line == "#[cfg(test)]");
    attribute
        .filter(|at| {
            lines
                .get(at + 1)
                .is_some_and(|next| next.starts_with("mod ") && next.ends_with('{'))
        })
        .unwrap_or(lines.len())
}

/// Tells whether `word` stands in the line by itself, not as a part of a longer name.
fn has_word(line: &str, word: &str) -> bool {
    let name = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let open =
            |c: Option<char>, edge: Option<char>| !(c.is_some_and(name) && edge.is_some_and(name));
        open(before, word.chars().next()) && open(after, word.chars().next_back())
    })
}

/// Tells whether a line names something of another crate: by its path, or in a list of imports that may have begun on an
/// earlier line.
fn imported(lines: &[&str], index: usize, from: &str, name: &str) -> bool {
    if !has_word(lines[index], name) {
        return false;
    }
    let line = lines[index];
    if line.contains(&format!("{from}::{name}")) {
        return true;
    }
    let import = lines[..=index]
        .iter()
        .rposition(|line| line.contains("use "));
    import.is_some_and(|begin| {
        // A list ends with its semicolon: a name behind it is something else.
        let ended = lines[begin..index].iter().any(|line| line.contains(';'));
        !ended && has_word(lines[begin], from)
    })
}

/// Tells when no module declares the file, so that nobody compiles it.
fn forgotten(path: &str, files: &[File]) -> Option<Problem> {
    let (folder, file) = path.rsplit_once('/')?;
    let stem = file.strip_suffix(".rs")?;
    let beside = format!("/{folder}/");
    let root = folder.ends_with("/src") || folder.ends_with("/tests/it");
    if (root && ["main", "lib"].contains(&stem))
        || stem == "build"
        || BESIDE.iter().any(|top| beside.ends_with(top))
    {
        return None;
    }
    let (name, above) = if stem == "mod" {
        let (above, name) = folder.rsplit_once('/')?;
        (name, above)
    } else {
        (stem, folder)
    };
    let mut parents: Vec<String> = ["mod", "main", "lib"]
        .iter()
        .map(|parent| format!("{above}/{parent}.rs"))
        .collect();
    parents.push(format!("{above}.rs"));
    let declared = files
        .iter()
        .filter(|file| parents.contains(&file.path))
        .any(|parent| {
            let code = strip(&parent.text);
            code.lines().any(|line| {
                let declaration = line.trim().trim_end_matches(';');
                declaration
                    .strip_suffix(name)
                    .is_some_and(|start| start.ends_with("mod "))
            })
        });
    (!declared).then(|| format!("{path}: forgotten: no \"mod {name};\" in {above}"))
}

/// Returns the text with comments and the content of literals replaced by nothing, line by line.
pub(super) fn strip(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skipped = literal(rest, code.chars().next_back());
        if skipped == 0 {
            code.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        }
        let (literal, behind) = rest.split_at(skipped);
        if !literal.starts_with('/') {
            code.push_str("\"\"");
        }
        code.extend(literal.chars().filter(|c| *c == '\n'));
        rest = behind;
    }
    code.lines()
        .map(str::trim_end)
        .collect::<Vec<_>>()
        .join("\n")
}

/// Returns the length of the comment or literal that the text begins with, or 0.
fn literal(text: &str, before: Option<char>) -> usize {
    let until = |end: &str, from: usize| {
        text[from..]
            .find(end)
            .map_or(text.len(), |at| from + at + end.len())
    };
    let bytes = text.as_bytes();
    match bytes[0] {
        b'/' if text.starts_with("//") => text.find('\n').unwrap_or(text.len()),
        b'/' if text.starts_with("/*") => until("*/", 2),
        b'"' => escaped(bytes, b'"'),
        b'r' if !before.is_some_and(|c| c.is_alphanumeric() && c != 'b' || c == '_') => {
            let hashes = bytes[1..].iter().take_while(|b| **b == b'#').count();
            if bytes.get(1 + hashes) == Some(&b'"') {
                until(&format!("\"{}", "#".repeat(hashes)), 2 + hashes)
            } else {
                0
            }
        }
        // A lifetime has no quote behind its first letter.
        b'\'' if text.starts_with("'\\") => escaped(bytes, b'\''),
        b'\'' => {
            let mut letters = text[1..].chars();
            let letter = letters.next().map_or(0, char::len_utf8);
            if letters.next() == Some('\'') {
                letter + 2
            } else {
                0
            }
        }
        _ => 0,
    }
}

fn escaped(bytes: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }

    fn problems(path: &str, text: &str) -> Vec<String> {
        let main = file("crates/x/src/lib.rs", "//! X.\nmod a;\npub(crate) mod b;\n");
        let mut problems = Vec::new();
        check(&file(path, text), &[main], &mut problems);
        problems
    }

    #[test]
    fn comments_and_literals_are_no_code() {
        for (text, expected) in [
            ("a // b\nc", "a\nc"),
            ("a /* b\n */ c", "a\n c"),
            (r#"f("x \" // y") + 1"#, "f(\"\") + 1"),
            ("f(r#\"x \" y\"#);", "f(\"\");"),
            (
                "fn f<'a>(x: &'a str) -> char { 'x' }",
                "fn f<'a>(x: &'a str) -> char { \"\" }",
            ),
            (r"['\'', '/']", "[\"\", \"\"]"),
            ("for r in x {}", "for r in x {}"),
        ] {
            assert_eq!(strip(text), expected, "{text}");
        }
    }

    #[test]
    fn absences_hold_in_code_only() {
        for (path, text, expected) in [
            ("crates/x/src/a.rs", "//! A.\nprintln!();\n", 1),
            (
                "crates/x/src/a.rs",
                "//! A.\n// println!()\nlet x = \"println!\";\n",
                0,
            ),
            (
                "crates/x/src/a.rs",
                "//! A.\n#[cfg(test)]\nmod tests {\n println!();\n}\n",
                0,
            ),
            (
                "crates/x/src/a.rs",
                "//! A.\nuse std::env;\nstd::env::var(x);\n",
                2,
            ),
            (
                "crates/x/src/a.rs",
                "//! A.\nuse tokio_postgres::Client;\n",
                1,
            ),
            (
                "crates/postgres/src/lib.rs",
                "//! A.\nuse tokio_postgres::Client;\n",
                0,
            ),
            (
                "crates/x/src/a.rs",
                "//! A.\nuse pawang_postgres::{Session, Writer};\n",
                1,
            ),
            (
                "crates/x/src/a.rs",
                "//! A.\nuse pawang_postgres::{\n    Session,\n    Writer,\n};\n",
                1,
            ),
            (
                "crates/x/src/a.rs",
                "//! A.\nlet w = pawang_postgres::Writer::connect(t);\n",
                1,
            ),
            (
                "crates/x/src/a.rs",
                "//! A.\nuse pawang_postgres::Session;\nuse pawang_store::history::Writer;\n",
                0,
            ),
            (
                "crates/act/src/lib.rs",
                "//! A.\nuse pawang_postgres::Writer;\n",
                0,
            ),
            ("crates/core/src/lib.rs", "//! A.\nuse std::fs;\n", 1),
            (
                "crates/x/tests/it/main.rs",
                "//! A.\nsleep(1);\n#[ignore]\n",
                2,
            ),
            ("crates/x/src/a.rs", "//! A.\nsleep(1);\n", 0),
            ("crates/x/src/a.rs", "mod x {}\n", 1),
            ("crates/x/src/c.rs", "//! C.\n", 1),
            ("crates/x/src/b.rs", "//! B.\n", 0),
        ] {
            let problems = problems(path, text);
            assert_eq!(problems.len(), expected, "{path}: {text}: {problems:?}");
        }
    }

    #[test]
    fn only_code_before_the_tests_counts() {
        let code = "let a = 1;\n".repeat(CODE_LINES_MAX);
        let tests = format!("#[cfg(test)]\nmod tests {{\n{code}}}\n");
        let fits = format!("//! A.\n{code}\n// why\n{tests}");
        assert_eq!(problems("crates/x/src/a.rs", &fits), [""; 0]);
        let long = format!("//! A.\nlet b = 1;\n{code}{tests}");
        assert_eq!(problems("crates/x/src/a.rs", &long).len(), 1);
        assert_eq!(problems("crates/x/tests/it/main.rs", &long).len(), 1);
    }
}
