//! `postgresql.conf` and what it includes, read as the server would, as far as errors can be proved without it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use pawang_core::ConfigurationProblem;

use super::directory::Place;
use super::hba;
use crate::host::read;

/// Deeper includes are refused by the server too.
const DEPTH_MAX: usize = 10;
const FILES_MAX: usize = 200;
/// Name, type, first and last version, and range of every setting of PostgreSQL 14 to 18, from their `pg_settings`.
const PARAMETERS: &str = include_str!("parameters.txt");
/// All spellings whose prefixes the server takes for a flag, beside 0 and 1.
const FLAGS: [&str; 6] = ["true", "false", "yes", "no", "on", "off"];
const UNITS: [&str; 11] = [
    "B", "kB", "MB", "GB", "TB", "us", "ms", "s", "min", "h", "d",
];

/// The last line that sets a parameter.
pub(super) struct Setting {
    pub(super) value: String,
    file: PathBuf,
    line: usize,
}

/// All settings of a cluster's files, and what is wrong with the files themselves.
#[derive(Default)]
pub(super) struct Configuration {
    pub(super) settings: BTreeMap<String, Setting>,
    problems: Vec<ConfigurationProblem>,
    files: usize,
}

/// One entry of the table of parameters.
struct Parameter<'a> {
    kind: &'a str,
    versions: (u32, u32),
    range: Option<(f64, f64)>,
}

/// Reads `postgresql.conf` with its includes, then `postgresql.auto.conf`.
pub(super) fn read_all(place: &Place) -> Configuration {
    let mut configuration = Configuration::default();
    configuration.file(&place.configuration, 0);
    let auto = place.data.join("postgresql.auto.conf");
    if auto.exists() {
        configuration.file(&auto, 0);
    }
    configuration
}

/// Reads one file with its includes.
pub(super) fn settings(path: &Path) -> BTreeMap<String, Setting> {
    let mut configuration = Configuration::default();
    configuration.file(path, 0);
    configuration.settings
}

impl Configuration {
    fn file(&mut self, path: &Path, depth: usize) {
        self.files += 1;
        if depth > DEPTH_MAX || self.files > FILES_MAX {
            return;
        }
        let text = match read(path) {
            Ok(text) => text,
            Err(error) => {
                let what = format!("it cannot be read: {error}");
                return self.problem("file", path, 0, what);
            }
        };
        for (index, line) in text.lines().enumerate() {
            self.line(path, index + 1, line, depth);
        }
    }

    fn line(&mut self, path: &Path, number: usize, line: &str, depth: usize) {
        let (name, value) = match parse(line) {
            Ok(Some(pair)) => pair,
            Ok(None) => return,
            Err(near) => {
                let what = format!("syntax error near \"{near}\"");
                return self.problem("syntax", path, number, what);
            }
        };
        let target = path.parent().unwrap_or(Path::new("/")).join(&value);
        match name.as_str() {
            "include" => self.file(&target, depth + 1),
            "include_if_exists" if target.exists() => self.file(&target, depth + 1),
            "include_if_exists" => {}
            "include_dir" => self.directory(&target, depth + 1),
            _ => {
                let setting = Setting {
                    value,
                    file: path.to_owned(),
                    line: number,
                };
                self.settings.insert(name, setting);
            }
        }
    }

    fn directory(&mut self, path: &Path, depth: usize) {
        let entries = match fs::read_dir(path) {
            Ok(entries) => entries,
            Err(error) => {
                let what = format!("the directory of include_dir cannot be read: {error}");
                return self.problem("file", path, 0, what);
            }
        };
        let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        files.retain(|file| {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            name.ends_with(".conf") && !name.starts_with('.')
        });
        files.sort();
        for file in files {
            self.file(&file, depth);
        }
    }

    fn problem(&mut self, kind: &str, file: &Path, line: usize, what: String) {
        self.problems.push(ConfigurationProblem {
            kind: kind.to_owned(),
            file: file.to_owned(),
            line,
            what,
        });
    }

    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.settings
            .get(name)
            .map(|setting| setting.value.as_str())
    }

    fn on(&self, name: &str) -> bool {
        let value = self.value(name).unwrap_or("off").to_ascii_lowercase();
        value == "1" || "true".starts_with(&value) || "yes".starts_with(&value) || value == "on"
    }
}

/// Reads one line: nothing, a name and a value, or the text at which it stops making sense.
fn parse(line: &str) -> Result<Option<(String, String)>, String> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let is_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '$');
    let end = line.find(|c| !is_name(c)).unwrap_or(line.len());
    let (name, rest) = line.split_at(end);
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(line.chars().take(20).collect());
    }
    let rest = rest.trim_start();
    let rest = rest.strip_prefix('=').unwrap_or(rest).trim_start();
    let (value, tail) = match rest.strip_prefix('\'') {
        Some(rest) => quoted(rest).ok_or_else(|| rest.chars().take(20).collect::<String>())?,
        None => {
            let end = rest
                .find(|c: char| c.is_whitespace() || matches!(c, '#' | '\'' | '='))
                .unwrap_or(rest.len());
            (rest[..end].to_owned(), &rest[end..])
        }
    };
    let tail = tail.trim_start();
    if (value.is_empty() && !rest.starts_with('\'')) || !(tail.is_empty() || tail.starts_with('#'))
    {
        let near = tail.split_whitespace().next().unwrap_or(name);
        return Err(near.to_owned());
    }
    Ok(Some((name.to_ascii_lowercase(), value)))
}

/// Reads up to the closing quote; a doubled quote or a backslash stands for the next character.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '\'' if chars.peek().is_some_and(|(_, next)| *next == '\'') => {
                chars.next();
                value.push('\'');
            }
            '\'' => return Some((value, &text[at + 1..])),
            '\\' => value.push(chars.next()?.1),
            _ => value.push(c),
        }
    }
    None
}

/// Returns everything that keeps the server from starting and can be proved from the files.
pub(super) fn problems(
    place: &Place,
    configuration: &Configuration,
    version: Option<u32>,
) -> Vec<ConfigurationProblem> {
    let mut problems = configuration.problems.clone();
    let table = parameters();
    for (name, setting) in &configuration.settings {
        let wrong = match table.get(name.as_str()) {
            Some(parameter) => parameter.wrong(name, &setting.value, version),
            None if name.contains('.') => None,
            None => Some(("parameter", format!("there is no parameter \"{name}\""))),
        };
        if let Some((kind, what)) = wrong {
            problems.push(ConfigurationProblem {
                kind: kind.to_owned(),
                file: setting.file.clone(),
                line: setting.line,
                what,
            });
        }
    }
    files(place, configuration, &mut problems);
    let hba = path_of(place, configuration, "hba_file", "pg_hba.conf");
    problems.extend(hba::problems(&hba));
    problems
}

fn parameters() -> BTreeMap<&'static str, Parameter<'static>> {
    let entry = |line: &'static str| {
        let words: Vec<&str> = line.split(' ').collect();
        let [name, kind, first, last, ref range @ ..] = words[..] else {
            return None;
        };
        let range = match range {
            [low, high] => low.parse().ok().zip(high.parse().ok()),
            _ => None,
        };
        let versions = (first.parse().ok()?, last.parse().ok()?);
        let parameter = Parameter {
            kind,
            versions,
            range,
        };
        Some((name, parameter))
    };
    PARAMETERS.lines().filter_map(entry).collect()
}

impl Parameter<'_> {
    fn wrong(
        &self,
        name: &str,
        value: &str,
        version: Option<u32>,
    ) -> Option<(&'static str, String)> {
        let (first, last) = self.versions;
        if let Some(version) = version.filter(|version| *version < first || *version > last) {
            return Some((
                "parameter",
                format!(
                    "PostgreSQL {version} has no parameter \"{name}\" (it is of {first} to {last})"
                ),
            ));
        }
        let wrong = |what: &str| {
            Some((
                "value",
                format!("parameter \"{name}\" is \"{value}\": {what}"),
            ))
        };
        let lower = value.to_ascii_lowercase();
        match self.kind {
            "bool" if value.is_empty() || !is_flag(&lower) => wrong("it must be on or off"),
            "integer" | "real" => {
                let end = value
                    .find(|c: char| {
                        !matches!(c, '0'..='9' | '.' | '-' | '+' | 'e' | 'E' | 'x' | 'X')
                    })
                    .unwrap_or(value.len());
                let (digits, unit) = value.split_at(end);
                let unit = unit.trim();
                if digits.is_empty() || !(unit.is_empty() || UNITS.contains(&unit)) {
                    // Hexadecimal digits beyond e are cut off above and are too rare to be judged.
                    let hexadecimal = lower.starts_with("0x");
                    return if hexadecimal {
                        None
                    } else {
                        wrong("it must be a number, with a unit if it has one")
                    };
                }
                let number = digits.parse::<f64>().ok().filter(|_| unit.is_empty())?;
                let (low, high) = self.range?;
                (number < low || number > high)
                    .then(|| wrong(&format!("it must be between {low} and {high}")))
                    .flatten()
            }
            _ => None,
        }
    }
}

fn is_flag(value: &str) -> bool {
    // "o" could be on or off, and the server refuses it.
    matches!(value, "0" | "1") || (value != "o" && FLAGS.iter().any(|flag| flag.starts_with(value)))
}

fn path_of(place: &Place, configuration: &Configuration, name: &str, default: &str) -> PathBuf {
    match configuration.value(name).filter(|value| !value.is_empty()) {
        Some(value) => place.data.join(value),
        None => place.data.join(default),
    }
}

/// Files that the settings name and that must be there, and readable by nobody else for a private key.
fn files(place: &Place, configuration: &Configuration, problems: &mut Vec<ConfigurationProblem>) {
    let mut add = |kind: &str, file: PathBuf, what: String| {
        problems.push(ConfigurationProblem {
            kind: kind.to_owned(),
            file,
            line: 0,
            what,
        });
    };
    for (name, default) in [("hba_file", "pg_hba.conf"), ("ident_file", "pg_ident.conf")] {
        let path = path_of(place, configuration, name, default);
        // The server starts without an ident file; it only says so.
        if name == "hba_file" && gone(&path) {
            add(
                "hba",
                path,
                "it does not exist, and no client could be let in".to_owned(),
            );
        }
    }
    if configuration.on("ssl") {
        for (name, default) in [
            ("ssl_cert_file", "server.crt"),
            ("ssl_key_file", "server.key"),
        ] {
            let path = path_of(place, configuration, name, default);
            if gone(&path) {
                add(
                    "ssl",
                    path,
                    format!("the file of {name} does not exist and ssl is on"),
                );
            } else if name == "ssl_key_file"
                && let Ok(seen) = fs::metadata(&path)
            {
                let mode = seen.mode() & 0o777;
                let allowed = if seen.uid() == 0 { 0o640 } else { 0o600 };
                if mode & !allowed != 0 {
                    let what = format!(
                        "the private key has mode {mode:04o}, the server wants {allowed:04o} or less"
                    );
                    add("ssl", path, what);
                }
            }
        }
    }
    let sockets = configuration
        .value("unix_socket_directories")
        .unwrap_or_default();
    for directory in sockets.split(',').map(str::trim) {
        if directory.starts_with('/') && gone(Path::new(directory)) {
            let what = "the directory of unix_socket_directories does not exist".to_owned();
            add("socket-directory", PathBuf::from(directory), what);
        }
    }
}

fn gone(path: &Path) -> bool {
    fs::metadata(path).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_the_server_reads_them() {
        let pair = |name: &str, value: &str| Ok(Some((name.to_owned(), value.to_owned())));
        for (line, expected) in [
            ("  # comment", Ok(None)),
            ("", Ok(None)),
            ("Port = 5433", pair("port", "5433")),
            ("port 5433 # why", pair("port", "5433")),
            ("work_mem=64MB", pair("work_mem", "64MB")),
            (
                "search_path = '\"$user\", public'",
                pair("search_path", "\"$user\", public"),
            ),
            ("a.b = 'it''s'", pair("a.b", "it's")),
            ("x = ''", pair("x", "")),
            ("port = ", Err("port".to_owned())),
            ("port = 5433 5434", Err("5434".to_owned())),
            ("port = 'open", Err("open".to_owned())),
            ("= 5", Err("= 5".to_owned())),
        ] {
            assert_eq!(parse(line), expected, "{line}");
        }
    }

    #[test]
    fn only_what_is_proved_is_a_problem() {
        let table = parameters();
        let wrong = |name: &str, value: &str| table[name].wrong(name, value, Some(15)).is_some();
        for (name, value, expected) in [
            ("work_mem", "64MB", false),
            ("work_mem", "64 MB", false),
            ("work_mem", "64mb", true),
            ("work_mem", "lots", true),
            ("port", "0", true),
            ("port", "5432", false),
            ("fsync", "of", false),
            ("fsync", "o", true),
            ("fsync", "maybe", true),
            ("wal_level", "logical", false),
            ("shared_buffers", "0x1FFF", false),
            ("statement_timeout", "1.5min", false),
            ("autovacuum_vacuum_scale_factor", "0.1", false),
        ] {
            assert_eq!(wrong(name, value), expected, "{name} = {value}");
        }
        assert!(
            table["summarize_wal"]
                .wrong("summarize_wal", "on", Some(15))
                .is_some()
        );
        assert!(
            table["summarize_wal"]
                .wrong("summarize_wal", "on", Some(17))
                .is_none()
        );
    }
}
