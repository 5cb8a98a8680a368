//! The server log of the last day, counted by severity: stderr, csvlog and jsonlog.
//!
//! This answers "was there an error" for the daily checklist; it does not classify events.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use pawang_core::{Blind, Timestamp, Value};

use super::{Fields, Host, Rows, denied, text, under, whole};

/// How far back lines count.
const PERIOD: Duration = Duration::from_hours(24);
/// Bytes read at most per run, from the end of the newest files.
const BYTES_MAX: u64 = 64 << 20;
/// Characters kept of the last message.
const MESSAGE_MAX: usize = 300;
/// Where Debian's clusters write when the logging collector is off.
const DEBIAN: &str = "/var/log/postgresql";

/// The severities that the checklist asks for, as the server writes them.
const SEVERITIES: [&str; 3] = ["PANIC", "FATAL", "ERROR"];

/// What was counted of one severity.
#[derive(Default)]
struct Count {
    lines: u64,
    last: Option<(Option<Timestamp>, String)>,
}

/// Counts the lines of the last 24 hours by severity.
pub(super) fn severities(host: &Host<'_>, now: Timestamp) -> Rows {
    let (directory, prefix) = place(host)?;
    let since = now.checked_sub(PERIOD).unwrap_or(now);
    let files = newest(&directory, &prefix, since)?;
    if files.is_empty() {
        let what = format!(
            "\"{}\" holds no log file of the last 24 hours",
            directory.display()
        );
        return Err(Blind::Failed { what }.into());
    }
    let mut counts: BTreeMap<&str, Count> = SEVERITIES.map(|name| (name, Count::default())).into();
    let (mut left, mut truncated) = (BYTES_MAX, false);
    for (path, length) in &files {
        let take = left.min(*length);
        truncated |= take < *length;
        left -= take;
        if take > 0 {
            count(path, length - take, since, &mut counts)
                .map_err(|error| refused(path, &error))?;
        }
    }
    let row = |(severity, count): (&str, Count)| {
        let mut row = Fields::from([
            ("severity", text(severity)),
            ("lines", whole(count.lines)),
            ("directory", text(directory.to_string_lossy())),
            ("files", whole(files.len() as u64)),
            ("bytes_read", whole(BYTES_MAX - left)),
            ("truncated", Value::Bool(truncated)),
        ]);
        if let Some((at, message)) = count.last {
            row.insert("last_message", text(message));
            row.insert("last_at", at.map_or(Value::Null, Value::Time));
        }
        row
    };
    Ok(counts.into_iter().map(row).collect())
}

/// Returns where the log is: the server's own directory, else Debian's file of this very cluster.
///
/// The second part of the pair is how the names of its files begin.
fn place(host: &Host<'_>) -> Result<(PathBuf, String), Blind> {
    if let Some(own) = host
        .log
        .as_ref()
        .map(|log| under(host.root, log))
        .filter(|log| log.is_dir())
    {
        return Ok((own, String::new()));
    }
    let cluster = host.data.as_ref().and_then(|data| {
        let mut parts = data.strip_prefix("/var/lib/postgresql").ok()?.components();
        let mut part = || Some(parts.next()?.as_os_str().to_string_lossy().into_owned());
        Some(format!("postgresql-{}-{}.log", part()?, part()?))
    });
    let debian = under(host.root, Path::new(DEBIAN));
    cluster
        .filter(|_| debian.is_dir())
        .map(|file| (debian, file))
        .ok_or(Blind::NotConfigured {
            key: "log_directory".to_owned(),
            what: "where the server writes its log".to_owned(),
        })
}

/// Returns the files of that prefix that were written since then with their lengths, newest first.
fn newest(directory: &Path, prefix: &str, since: Timestamp) -> Result<Vec<(PathBuf, u64)>, Blind> {
    let entries = std::fs::read_dir(directory).map_err(|error| refused(directory, &error))?;
    let mut files = Vec::new();
    for entry in entries.flatten() {
        let path = entry.path();
        let compressed = path
            .extension()
            .is_some_and(|end| end == "gz" || end == "xz" || end == "zst");
        let Ok(metadata) = entry.metadata() else {
            continue;
        };
        let changed = metadata
            .modified()
            .ok()
            .and_then(|time| Timestamp::try_from(time).ok());
        let named = entry.file_name().to_string_lossy().starts_with(prefix);
        if metadata.is_file() && named && !compressed && changed.is_some_and(|at| at >= since) {
            files.push((changed, path, metadata.len()));
        }
    }
    files.sort_by(|a, b| b.cmp(a));
    Ok(files
        .into_iter()
        .map(|(_, path, length)| (path, length))
        .collect())
}

fn count(
    path: &Path,
    from: u64,
    since: Timestamp,
    counts: &mut BTreeMap<&str, Count>,
) -> std::io::Result<()> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(from))?;
    let mut reader = BufReader::with_capacity(1 << 16, file);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        if let Some((severity, message)) = severity(&line)
            && let Some(count) = counts.get_mut(severity)
        {
            let at = written_at(&line);
            if at.is_none_or(|at| at >= since) {
                count.lines += 1;
                let newer = count.last.as_ref().is_none_or(|(last, _)| at >= *last);
                if newer {
                    let message = String::from_utf8_lossy(message);
                    count.last = Some((at, message.trim().chars().take(MESSAGE_MAX).collect()));
                }
            }
        }
        line.clear();
    }
    Ok(())
}

/// Returns the severity of a line that begins a record, and its message.
///
/// In stderr's format the first word before `:` and two spaces is the severity, or `STATEMENT`, `DETAIL`, ...: a statement
/// that quotes "ERROR:  " is no error.
fn severity(line: &[u8]) -> Option<(&'static str, &[u8])> {
    let by_mark = |mark: &dyn Fn(&str) -> String| {
        SEVERITIES.into_iter().find_map(|name| {
            let mark = mark(name);
            let at = find(line, mark.as_bytes())?;
            Some((name, &line[at + mark.len()..]))
        })
    };
    match line {
        [b'{', ..] => by_mark(&|name| format!("\"error_severity\":\"{name}\"")),
        [b'0'..=b'9', ..] if is_csv(line) => by_mark(&|name| format!(",{name},")),
        [b'\t', ..] => None,
        _ => {
            let end = find(line, b":  ")?;
            let word = line[..end]
                .rsplit(|byte| !byte.is_ascii_uppercase())
                .next()?;
            let name = SEVERITIES
                .into_iter()
                .find(|name| name.as_bytes() == word)?;
            Some((name, &line[end + 3..]))
        }
    }
}

/// Returns whether a line begins as csvlog does: the time and its zone, then a comma.
fn is_csv(line: &[u8]) -> bool {
    let time =
        |byte: &u8| byte.is_ascii_digit() || b"-:. +".contains(byte) || byte.is_ascii_uppercase();
    line.iter().find(|byte| !time(byte)) == Some(&b',')
}

fn find(line: &[u8], mark: &[u8]) -> Option<usize> {
    line.windows(mark.len()).position(|window| window == mark)
}

/// Returns the time of a record when its line begins, as `%m` and `%t` do, with date, time and zone.
///
/// A zone abbreviation that is not UTC or GMT means the machine's own zone, which is what the server uses unless
/// `log_timezone` says otherwise.
fn written_at(line: &[u8]) -> Option<Timestamp> {
    let start = line.iter().position(u8::is_ascii_digit)?;
    let text = std::str::from_utf8(line.get(start..start + 40.min(line.len() - start))?).ok()?;
    let date_time: DateTime = text.get(..19)?.parse().ok()?;
    let zone = text[19..]
        .trim_start_matches(|c: char| c == '.' || c.is_ascii_digit())
        .trim_start();
    let utc = zone.starts_with("UTC") || zone.starts_with("GMT");
    let zone = if utc {
        TimeZone::UTC
    } else {
        TimeZone::system()
    };
    date_time.to_zoned(zone).ok().map(|zoned| zoned.timestamp())
}

fn refused(path: &Path, error: &std::io::Error) -> Blind {
    if error.kind() == std::io::ErrorKind::PermissionDenied {
        return denied(&path.to_string_lossy());
    }
    Blind::Failed {
        what: format!("could not read \"{}\": {error}", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn severities_are_read_from_all_three_formats_and_not_from_quotations() {
        for (line, expected) in [
            (
                "2026-11-21 10:00:00.123 UTC [1] ERROR:  relation \"x\" does not exist\n",
                Some("ERROR"),
            ),
            (
                "2026-11-21 10:00:00 UTC [1] app@db FATAL:  password failed\n",
                Some("FATAL"),
            ),
            (
                "2026-11-21 10:00:00.123 UTC,\"a\",\"b\",1,,x,1,\"\",,,0,ERROR,42P01,\"no\"\n",
                Some("ERROR"),
            ),
            (
                "{\"timestamp\":\"2026-11-21 10:00:00.123 UTC\",\"error_severity\":\"PANIC\"}\n",
                Some("PANIC"),
            ),
            (
                "2026-11-21 10:00:00 UTC [1] LOG:  checkpoint starting\n",
                None,
            ),
            ("\tERROR:  quoted in a statement\n", None),
            (
                "2026-11-21 10:00:00 UTC [1] STATEMENT:  SELECT 'ERROR:  quoted'\n",
                None,
            ),
        ] {
            assert_eq!(
                severity(line.as_bytes()).map(|(name, _)| name),
                expected,
                "{line}"
            );
        }
    }

    #[test]
    fn the_time_of_a_line_is_its_own() {
        let expected: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
        for line in [
            "2026-11-21 10:00:00.123 UTC [1] ERROR:  x",
            "2026-11-21 10:00:00 GMT [1] ERROR:  x",
            "{\"timestamp\":\"2026-11-21 10:00:00.123 UTC\",\"error_severity\":\"ERROR\"}",
        ] {
            assert_eq!(written_at(line.as_bytes()), Some(expected), "{line}");
        }
        assert_eq!(written_at(b"ERROR:  no time at all"), None);
    }
}
