//! What a restored server needs to start and its backup does not have: the configuration of a source that keeps it outside of the
//! data directory, as the packages of Debian and Ubuntu do.
//!
//! What is there is never replaced. What is written is enough to replay and to let the server's own user in, and no more.

use std::fmt::Write as _;
use std::path::Path;

use pawang_postgres::control_file::ControlFile;

use super::settings::{SILENCED, silenced};
use super::tree::Tree;
use super::{failed, read_text};
use crate::Error;

const MAIN: &str = "postgresql.conf";
/// The files that it leads to, with the setting that names each where it is another.
const OTHERS: [(&str, &str, &str); 2] = [
    ("pg_hba.conf", "hba_file", "local all all peer\n"),
    ("pg_ident.conf", "ident_file", ""),
];
const WHY: &str = "# Written by pawang restore: the source keeps this file outside of its data directory, and the backup does not have it.\n";

/// Writes what is missing, and silences what would lead a restored cluster elsewhere; returns the names of the files it made.
pub(super) fn complete(tree: &Tree, control: &ControlFile) -> Result<Vec<&'static str>, Error> {
    let path = tree.data.join(MAIN);
    let mut made = Vec::new();
    let main = match read_text(&path)? {
        Some(text) => without_lost(&silenced(&text), &tree.data),
        None => {
            made.push(MAIN);
            least(control)
        }
    };
    tree.write_file(&path, main.as_bytes())?;
    for (name, setting, content) in OTHERS {
        let path = tree.data.join(name);
        let named = main.lines().any(|line| value(line, setting).is_some());
        let there = path.try_exists();
        if named || there.map_err(|source| failed("look for", &path, source))? {
            continue;
        }
        made.push(name);
        tree.write_file(&path, format!("{WHY}{content}").as_bytes())?;
    }
    Ok(made)
}

/// Returns the settings without which a server does not replay WAL of its source: they must not be smaller than there.
fn least(control: &ControlFile) -> String {
    let mut text = WHY.to_owned();
    for (name, value) in [
        ("max_connections", control.max_connections),
        ("max_worker_processes", control.max_worker_processes),
        ("max_wal_senders", control.max_wal_senders),
        (
            "max_prepared_transactions",
            control.max_prepared_transactions,
        ),
        (
            "max_locks_per_transaction",
            control.max_locks_per_transaction,
        ),
    ] {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name} = {value}");
    }
    text
}

/// Returns the text with those lines as comments that name a file that is not on this machine.
fn without_lost(text: &str, data: &Path) -> String {
    let lost = |line: &str| {
        let mut named = OTHERS
            .iter()
            .filter_map(|(_, setting, _)| value(line, setting));
        named.any(|file| !data.join(file).exists())
    };
    let mut kept = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        if lost(line) {
            kept.push_str(SILENCED);
        }
        kept.push_str(line);
    }
    kept
}

/// Returns the value of a line that sets this; names are not case-sensitive, and `=` is optional.
fn value(line: &str, setting: &str) -> Option<String> {
    let line = line.trim_start();
    let name = line.get(..setting.len())?;
    let rest = line.get(setting.len()..)?;
    if !name.eq_ignore_ascii_case(setting) || !rest.starts_with([' ', '\t', '=']) {
        return None;
    }
    let rest = rest.trim_start().trim_start_matches('=').trim_start();
    let value = match rest.strip_prefix('\'') {
        Some(quoted) => quoted.split('\'').next(),
        None => rest.split([' ', '\t', '#', '\r', '\n']).next(),
    };
    value.map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_lead_to_a_file_that_is_gone_are_silenced() {
        let data = tempfile::tempdir().unwrap();
        std::fs::File::create(data.path().join("mine.conf")).unwrap();
        for (line, expected) in [
            ("hba_file = '/no/such/file'  # elsewhere\n", true),
            ("HBA_FILE /no/such/file\n", true),
            ("ident_file='gone.conf'\n", true),
            ("ident_file = 'mine.conf'\n", false),
            ("hba_files = 'x'\n", false),
            ("# hba_file = '/no/such/file'\n", false),
        ] {
            let found = without_lost(line, data.path());
            assert_eq!(found.starts_with(SILENCED), expected, "{line}");
        }
    }
}
