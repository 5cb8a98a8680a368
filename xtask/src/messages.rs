//! `cargo xtask messages <source tree of PostgreSQL>`: the messages of the server with their SQLSTATEs, as the table that
//! `pawang-logs` tells kinds with when a log does not say SQLSTATE.
//!
//! It reads the calls of `ereport` and `elog` in C, far enough to take level, code and message out of them; what it cannot read, such as
//! a message that is put together elsewhere, it leaves out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Where the table goes.
const TABLE: &str = "crates/logs/data/messages.zst";
/// Folders of the source tree whose messages can be in a log.
const FOLDERS: [&str; 5] = ["src/backend", "src/pl", "src/common", "src/port", "contrib"];
/// Macros that write a record, all with the level first.
const CALLS: [&str; 5] = [
    "ereport(",
    "elog(",
    "errsave(",
    "ereturn(",
    "ereport_domain(",
];
/// Messages with less literal text would match too much.
const TEXT_MIN: usize = 8;
/// Best compression; the table is made once per version of PostgreSQL.
const LEVEL: i32 = 22;

/// How often each code is given to a severity and pattern.
type Table = BTreeMap<(char, String), BTreeMap<String, u32>>;

/// Writes the table.
pub(crate) fn run(tree: &str) -> Result<(), String> {
    let tree = Path::new(tree);
    let codes = codes(tree)?;
    let mut files = Vec::new();
    for folder in FOLDERS {
        sources(&tree.join(folder), &mut files)?;
    }
    let mut table = Table::new();
    for file in &files {
        let bytes = std::fs::read(file)
            .map_err(|error| format!("could not read {}: {error}", file.display()))?;
        read(
            &without_comments(&String::from_utf8_lossy(&bytes)),
            &codes,
            &mut table,
        );
    }
    let mut text = String::new();
    for ((severity, pattern), codes) in &table {
        let code = codes
            .iter()
            .max_by_key(|(code, count)| (*count, std::cmp::Reverse(*code)));
        let Some((code, _)) = code else { continue };
        text.push_str(&format!("{severity}\t{code}\t{pattern}\n"));
    }
    let packed = zstd::bulk::compress(text.as_bytes(), LEVEL)
        .map_err(|error| format!("could not compress: {error}"))?;
    std::fs::write(TABLE, &packed).map_err(|error| format!("could not write {TABLE}: {error}"))?;
    println!(
        "{} messages of {} files, {} bytes, {} packed",
        table.len(),
        files.len(),
        text.len(),
        packed.len()
    );
    Ok(())
}

/// Reads the names of SQLSTATEs.
fn codes(tree: &Path) -> Result<BTreeMap<String, String>, String> {
    let path = tree.join("src/backend/utils/errcodes.txt");
    let text = std::fs::read_to_string(&path)
        .map_err(|error| format!("could not read {}: {error}", path.display()))?;
    let names = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let (code, _, name) = (words.next()?, words.next()?, words.next()?);
        name.starts_with("ERRCODE_")
            .then(|| (name.to_owned(), code.to_owned()))
    });
    Ok(names.collect())
}

/// Collects the C files below a folder.
fn sources(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), String> {
    let entries = std::fs::read_dir(folder)
        .map_err(|error| format!("could not read {}: {error}", folder.display()))?;
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    paths.sort();
    for path in paths {
        let extension = path.extension().and_then(|extension| extension.to_str());
        if path.is_dir() {
            sources(&path, files)?;
        } else if matches!(extension, Some("c" | "y" | "l" | "h")) {
            files.push(path);
        }
    }
    Ok(())
}

fn without_comments(text: &str) -> String {
    let mut parts = text.split("/*");
    let mut kept = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        kept.push(' ');
        kept.push_str(part.split_once("*/").map_or("", |(_, rest)| rest));
    }
    kept
}

/// Adds the messages of one file.
fn read(text: &str, codes: &BTreeMap<String, String>, table: &mut Table) {
    for call in CALLS {
        for (at, _) in text.match_indices(call) {
            let longer =
                text[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_');
            if longer {
                continue;
            }
            let arguments = arguments(&text[at + call.len()..]);
            let Some((level, rest)) = arguments.split_once(',') else {
                continue;
            };
            let message = match call {
                "elog(" => literal(rest),
                _ => ["errmsg(", "errmsg_internal(", "errmsg_plural("]
                    .iter()
                    .find_map(|word| literal(&rest[rest.find(word)? + word.len()..])),
            };
            let Some(pattern) = message.map(|message| pattern(&message)) else {
                continue;
            };
            if pattern.chars().filter(|c| c.is_alphabetic()).count() < TEXT_MIN {
                continue;
            }
            for severity in severities(call, level) {
                let code = code(rest, severity, codes);
                let counts = table.entry((severity, pattern.clone())).or_default();
                *counts.entry(code).or_default() += 1;
            }
        }
    }
}

/// Returns the letters of the severities that a level may be.
fn severities(call: &str, level: &str) -> Vec<char> {
    if call == "errsave(" || call == "ereturn(" {
        return vec!['E'];
    }
    let has = |word: &str| level.contains(word);
    let mut letters = Vec::new();
    if has("ERROR") && !has("COMMERROR")
        || has("FATAL")
        || has("PANIC")
        || has("elevel")
        || has("emode")
    {
        letters.push('E');
    }
    if has("WARNING") || has("elevel") {
        letters.push('W');
    }
    letters
}

fn code(call: &str, severity: char, codes: &BTreeMap<String, String>) -> String {
    if call.contains("errcode_for_file_access") {
        return "58000".to_owned();
    }
    if call.contains("errcode_for_socket_access") {
        return "08006".to_owned();
    }
    let name = call.find("ERRCODE_").map(|at| {
        let rest = &call[at..];
        let end = rest
            .find(|c: char| !c.is_alphanumeric() && c != '_')
            .unwrap_or(rest.len());
        &rest[..end]
    });
    let other = if severity == 'W' { "01000" } else { "XX000" };
    name.and_then(|name| codes.get(name))
        .map_or(other, String::as_str)
        .to_owned()
}

/// Returns what is inside of the parentheses that are already open.
fn arguments(text: &str) -> &str {
    let mut depth = 1;
    let mut quoted = false;
    let mut bytes = text.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\\' if quoted => {
                bytes.next();
            }
            b'"' => quoted = !quoted,
            b'\'' if !quoted && text.as_bytes().get(at + 2) == Some(&b'\'') => {
                bytes.nth(1);
            }
            b'(' if !quoted => depth += 1,
            b')' if !quoted => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return &text[..at];
        }
    }
    ""
}

/// Returns the string literals that a text begins with, put together; macros between them, such as `INT64_FORMAT`, stand for a number.
fn literal(text: &str) -> Option<String> {
    let mut all = String::new();
    let mut rest = text.trim_start().trim_start_matches("_(").trim_start();
    if !rest.starts_with('"') {
        return None;
    }
    loop {
        rest = rest.trim_start();
        if let Some(inside) = rest.strip_prefix('"') {
            let mut end = 0;
            let bytes = inside.as_bytes();
            while *bytes.get(end)? != b'"' {
                end += if bytes[end] == b'\\' { 2 } else { 1 };
            }
            all.push_str(inside.get(..end)?);
            rest = inside.get(end + 1..)?;
        } else if rest.starts_with(|c: char| c.is_ascii_uppercase()) {
            let end = rest
                .find(|c: char| !c.is_alphanumeric() && c != '_')
                .unwrap_or(rest.len());
            all.push_str("%d");
            rest = &rest[end..];
        } else {
            return Some(all);
        }
    }
}

/// Turns a format of printf into a pattern with `*`.
fn pattern(format: &str) -> String {
    let mut out = String::new();
    let mut characters = format.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '%' if characters.next_if_eq(&'%').is_some() => out.push('%'),
            '%' => {
                for c in characters.by_ref() {
                    if c.is_alphabetic() && !matches!(c, 'l' | 'z' | 'h') {
                        break;
                    }
                }
                if !out.ends_with('*') {
                    out.push('*');
                }
            }
            '\\' => match characters.next() {
                Some('n') => out.push_str("\\n"),
                Some('t') => out.push(' '),
                Some(other) => out.push(other),
                None => {}
            },
            '\n' => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn level_code_and_message_are_taken_out_of_calls() {
        let codes = BTreeMap::from([("ERRCODE_X".to_owned(), "22012".to_owned())]);
        let mut table = Table::new();
        let text = r#"
            ereport(ERROR, (errcode(ERRCODE_X), errmsg("cannot divide \"%s\" by (%ld)" " today", a, b)));
            elog(WARNING, "something " INT64_FORMAT " leaked", n);
            ereport(LOG, (errmsg("nothing of interest")));
        "#;
        read(&without_comments(text), &codes, &mut table);
        let found: Vec<_> = table
            .into_iter()
            .map(|((severity, pattern), codes)| (severity, pattern, codes.into_keys().next()))
            .collect();
        assert_eq!(
            found,
            [
                (
                    'E',
                    "cannot divide \"*\" by (*) today".to_owned(),
                    Some("22012".to_owned())
                ),
                (
                    'W',
                    "something * leaked".to_owned(),
                    Some("01000".to_owned())
                ),
            ]
        );
    }
}
