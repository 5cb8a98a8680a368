//! `cargo xtask languages [folder]`: the translated messages that `pawang-logs` reads, from PostgreSQL's own catalogues (PostgreSQL
//! licence), for those messages that a pattern of `kinds.toml` tells or that the report takes apart.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Where the table goes.
const TABLE: &str = "crates/logs/data/language/messages.zst";
const KINDS: &str = "crates/logs/data/kinds.toml";
/// Best compression; the table is made once per version of PostgreSQL.
const LEVEL: i32 = 22;
/// The catalogues that are read, in each language's folder.
const CATALOGUES: [&str; 2] = ["postgres-15.mo", "plpgsql-15.mo"];
/// Other messages that are kept: parts that the report reads. Those with `~` may also stand for a `%s` of another message.
const PARTS: &[&str] = &[
    "starting %s",
    "Process %d waits for",
    "Process %d: %s",
    "Process holding the lock",
    "Failed process was running",
    "~relation %u of database",
    "~extension of relation",
    "~page %u of relation",
    "~tuple (%u,%u) of relation",
    "~transaction %u",
    "~virtual transaction",
    "~speculative token",
    "~object %u of class",
    "~user lock [",
    "~advisory lock [",
    "~pg_database.datfrozenxid",
    "~server process",
    "~checkpointer process",
    "~background writer process",
    "~startup process",
    "~WAL writer process",
    "~WAL receiver process",
    "~archiver process",
    "~autovacuum launcher process",
    "~system logger process",
    "~statistics collector process",
    "~background worker \"%s\"",
    "~recovery conflict on",
    "~unknown reason",
    "~CPU: user:",
    "pages: ",
    "tuples: ",
    "tuples missed: ",
    "removable cutoff",
    "new relfrozenxid",
    "new relminmxid",
    "frozen: ",
    "index \"%s\": pages",
    "I/O timings",
    "avg read rate",
    "buffer usage",
    "WAL usage",
    "system usage",
    "while updating tuple",
    "while inserting index tuple",
    "while locking",
    "while deleting tuple",
    "while rechecking",
    "SQL statement \"%s\"",
    "SQL function \"%s\"",
    "parameters: %s",
    "Key %s",
    "Key (%s)",
    "Connection matched pg_hba.conf",
    "Role \"%s\" does not exist",
    "Password does not match",
    "User \"%s\" has no password",
    "User \"%s\" has an expired password",
    "PL/pgSQL function %s line %d at %s",
    "PL/pgSQL function %s during",
    "PL/pgSQL function %s",
    "Failed on request of size",
    "Failed while",
    "The failed archive command was",
    "processing remote data",
    "User query might have",
    "User was holding",
    "Tables have",
    "The source",
    "COPY %s, line",
    "~execute",
    "~fetch",
    "~execute fetch from",
];
/// Messages that the server puts together from several: each inner list is one place, of which one is taken.
const COMPOSED: &[&[&[&str]]] = &[
    &[
        &[
            "connection authorized: user=%s",
            "replication connection authorized: user=%s",
        ],
        &["", " database=%s"],
        &["", " application_name=%s"],
        &["", " SSL enabled (protocol=%s, cipher=%s, bits=%d)"],
    ],
    &[
        &[
            "index scan not needed: ",
            "index scan needed: ",
            "index scan bypassed: ",
            "index scan bypassed by failsafe: ",
        ],
        &[
            "%u pages from table (%.2f%% of total) had %lld dead item identifiers removed\n",
            "%u pages from table (%.2f%% of total) have %lld dead item identifiers\n",
        ],
    ],
];

/// The texts of one language by the English ones; plural forms are separated by NUL.
type Catalogue = BTreeMap<String, String>;

/// Writes the table.
pub(crate) fn run(folder: &str) -> Result<(), String> {
    let patterns = patterns()?;
    let entries =
        std::fs::read_dir(folder).map_err(|error| format!("could not read {folder}: {error}"))?;
    let languages: BTreeSet<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    let mut text = String::new();
    let mut count = 0;
    for language in &languages {
        if !Path::new(folder)
            .join(language)
            .join("LC_MESSAGES")
            .join(CATALOGUES[0])
            .exists()
        {
            continue;
        }
        let mut catalogue = Catalogue::new();
        for name in CATALOGUES {
            let path = Path::new(folder)
                .join(language)
                .join("LC_MESSAGES")
                .join(name);
            if let Ok(bytes) = std::fs::read(&path) {
                let read = read(&bytes)
                    .ok_or_else(|| format!("{} is no catalogue of messages", path.display()))?;
                catalogue.extend(read);
            }
        }
        count += 1;
        text.push_str(&format!("#{language}\n"));
        for (english, translated) in &catalogue {
            if let Some(flag) = wanted(english, &patterns) {
                write(&mut text, flag, english, translated);
            }
        }
        for places in COMPOSED {
            compose(&catalogue, places, "", "", &mut text);
        }
    }
    let packed = zstd::bulk::compress(text.as_bytes(), LEVEL)
        .map_err(|error| format!("could not compress: {error}"))?;
    std::fs::write(TABLE, &packed).map_err(|error| format!("could not write {TABLE}: {error}"))?;
    println!(
        "{count} languages, {} lines, {} bytes, {} packed",
        text.lines().count(),
        text.len(),
        packed.len()
    );
    Ok(())
}

/// Reads the patterns of the server's kinds.
fn patterns() -> Result<Vec<String>, String> {
    let text = std::fs::read_to_string(KINDS)
        .map_err(|error| format!("could not read {KINDS}: {error}"))?;
    let file: toml::Table = text.parse().map_err(|error| format!("{KINDS}: {error}"))?;
    let kinds = file["kind"].as_array().ok_or("kinds.toml has no kinds")?;
    let of_server = kinds.iter().filter(|kind| kind.get("origin").is_none());
    let messages = of_server
        .filter_map(|kind| kind.get("message")?.as_array())
        .flatten();
    let texts = messages.filter_map(|message| message.as_str());
    Ok(texts
        .filter(|text| *text != "*")
        .map(str::to_owned)
        .collect())
}

/// Reads a catalogue of GNU gettext in the byte order of this machine's kind.
fn read(bytes: &[u8]) -> Option<Catalogue> {
    let number = |at: usize| {
        let four = bytes.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(four)).ok()
    };
    if number(0)? != 0x950412de {
        return None;
    }
    let (count, originals, translations) = (number(8)?, number(12)?, number(16)?);
    let text = |table: usize, index: usize| {
        let (length, at) = (number(table + 8 * index)?, number(table + 8 * index + 4)?);
        String::from_utf8(bytes.get(at..at + length)?.to_vec()).ok()
    };
    (0..count)
        .map(|index| Some((text(originals, index)?, text(translations, index)?)))
        .collect()
}

/// Tells whether a message is kept, and with which flag.
fn wanted(english: &str, patterns: &[String]) -> Option<&'static str> {
    for part in PARTS {
        match part.strip_prefix('~') {
            Some(start) if english.starts_with(start) => return Some("~"),
            None if english.starts_with(part) => return Some(""),
            _ => {}
        }
    }
    if english.is_empty() || english.starts_with(' ') || !english.contains(' ') {
        return None;
    }
    let sample = sample(english.split('\0').next_back()?);
    patterns
        .iter()
        .any(|pattern| matches(pattern, &sample))
        .then_some("")
}

/// Fills a format of printf with something.
fn sample(format: &str) -> String {
    let mut out = String::new();
    let mut characters = format.trim_end_matches('\n').chars().peekable();
    while let Some(c) = characters.next() {
        if c != '%' {
            out.push(c);
        } else if characters.next_if_eq(&'%').is_some() {
            out.push('%');
        } else {
            for c in characters.by_ref() {
                if c.is_alphabetic() && !matches!(c, 'l' | 'z' | 'h') {
                    out.push(if matches!(c, 's' | 'm' | 'c') {
                        'x'
                    } else {
                        '1'
                    });
                    break;
                }
            }
        }
    }
    out
}

/// Tells whether a pattern with `*` matches a whole text.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => text.strip_prefix(start).is_some_and(|text| {
            let ends = (0..=text.len()).filter(|at| text.is_char_boundary(*at));
            rest.is_empty() || ends.into_iter().any(|at| matches(rest, &text[at..]))
        }),
    }
}

/// Writes one line for each form of a translation; what is as in English needs none.
fn write(out: &mut String, flag: &str, english: &str, translated: &str) {
    let escape = |text: &str| {
        text.trim_end_matches('\n')
            .replace('\\', "\\\\")
            .replace('\n', "\\n")
            .replace('\t', "\\t")
    };
    let english = english
        .split('\0')
        .map(escape)
        .collect::<Vec<_>>()
        .join("\u{1}");
    let mut seen = BTreeSet::new();
    for form in translated.split('\0').filter(|form| !form.is_empty()) {
        let form = escape(form);
        if form != english && seen.insert(form.clone()) {
            out.push_str(&format!("{flag}{english}\t{form}\n"));
        }
    }
}

/// Writes all messages that can be put together from places.
fn compose(
    catalogue: &Catalogue,
    places: &[&[&str]],
    english: &str,
    translated: &str,
    out: &mut String,
) {
    let Some((first, rest)) = places.split_first() else {
        write(out, "", english, translated);
        return;
    };
    for part in *first {
        let form = catalogue.get(*part).map_or(*part, |form| form.as_str());
        compose(
            catalogue,
            rest,
            &format!("{english}{part}"),
            &format!("{translated}{form}"),
            out,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_that_a_pattern_tells_are_kept() {
        let patterns = ["process * acquired * on *".to_owned()];
        assert_eq!(
            wanted("process %d acquired %s on %s after %ld.%03d ms", &patterns),
            Some("")
        );
        assert_eq!(wanted("something else", &patterns), None);
        assert_eq!(wanted("transaction %u", &patterns), Some("~"));
    }

    #[test]
    fn each_form_of_a_plural_has_its_line() {
        let mut out = String::new();
        write(&mut out, "", "%d file\0%d files", "%d fichier\0%d fichiers");
        assert_eq!(
            out,
            "%d file\u{1}%d files\t%d fichier\n%d file\u{1}%d files\t%d fichiers\n"
        );
    }
}
