//! The server log of this machine: lines by severity of the last day, and events by kind of the last hour.

mod count;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::tz::TimeZone;
use pawang_core::{Blind, Missing, Timestamp, Value};
use pawang_logs::choose::{Wish, choose};
use pawang_logs::engine::{Chosen, FileHead, HEAD_BYTES, PIECE_BYTES, Settings, read_into};
use pawang_logs::input::Input;
use pawang_logs::kind::KindId;
use pawang_logs::report::Source;
use pawang_logs::severity::Severity;

use super::{Fields, Host, Rows, denied, text, under, whole};
use count::{Count, Seen, Window};

/// How far back lines count, and how old a log may be.
const DAY: Duration = Duration::from_hours(24);
/// How far back events count.
const HOUR: Duration = Duration::from_hours(1);
/// How far back an event is recent.
const RECENT: Duration = Duration::from_mins(5);
/// Bytes read at most per run, from the end of the newest files.
const BYTES_MAX: u64 = 64 << 20;
/// Where Debian's clusters write when the logging collector is off.
const DEBIAN: &str = "/var/log/postgresql";
/// Files of one name that were last written further apart than this are not the same records in two formats.
const COPIES_APART_MAX: Duration = Duration::from_mins(1);

/// The severities that the checklist asks for.
const SEVERITIES: [Severity; 3] = [Severity::Error, Severity::Fatal, Severity::Panic];

/// What was read of the log.
struct Look {
    count: Count,
    directory: PathBuf,
    files: usize,
    bytes: u64,
    /// More was written in that time than is read.
    truncated: bool,
}

/// How the server says that it writes its log; it may have been told otherwise since the older records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Writing {
    prefix: Option<String>,
    zone: Option<String>,
}

/// A file of the log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct LogFile {
    changed: Timestamp,
    path: PathBuf,
    length: u64,
}

/// The files of a server log on this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogFiles {
    /// Where they are.
    pub directory: PathBuf,
    /// The files, those that were written first before the others, each record in one format only.
    pub files: Vec<PathBuf>,
}

/// Finds the files of a server log that were written since an instant, compressed ones too.
///
/// `log` is the directory of the log as the server or the configuration tells it, `data` the data directory.
///
/// # Errors
/// Nobody tells where the log is, or it may not be read.
pub fn log_files(
    log: Option<&Path>,
    data: Option<&Path>,
    since: Timestamp,
) -> Result<LogFiles, Blind> {
    let (directory, prefix) = place(Path::new("/"), log, data)?;
    let mut found = newest(&directory, &prefix, since, true)?;
    if let Some(file) = found.first() {
        File::open(&file.path).map_err(|error| refused(&file.path, &error))?;
    }
    found.reverse();
    let files = found.into_iter().map(|file| file.path).collect();
    Ok(LogFiles { directory, files })
}

/// Counts the lines of the last 24 hours by severity.
pub(super) fn severities(host: &Host<'_>, now: Timestamp) -> Rows {
    let look = look(host, now, DAY)?;
    let none = Seen::default();
    let row = |severity: Severity| {
        let seen = look.count.severities.get(&severity).unwrap_or(&none);
        let mut row = look.fields();
        row.insert("severity", text(severity.as_str()));
        row.insert("lines", whole(seen.records));
        row.insert("bytes_read", whole(look.bytes));
        if seen.records > 0 {
            row.insert("last_message", text(seen.last_message()));
            row.insert("last_at", instant(seen.last_at));
        }
        row
    };
    Ok(SEVERITIES.into_iter().map(row).collect())
}

/// Counts the records of the last hour by kind, of kinds that are a warning or worse or ended a session.
pub(super) fn events(host: &Host<'_>, now: Timestamp) -> Rows {
    let look = look(host, now, HOUR)?;
    let row = |(id, seen): (&KindId, &Seen)| {
        let kind = id.kind();
        let mut row = look.fields();
        row.extend([
            ("kind", text(kind.id.as_str())),
            ("level", text(kind.level.as_str())),
            ("group", text(kind.group.as_str())),
            ("records", whole(seen.records)),
            ("records_5m", whole(seen.recent)),
            ("fatals", whole(seen.fatals)),
            ("panics", whole(seen.panics)),
            ("first_at", instant(seen.first_at)),
            ("last_at", instant(seen.last_at)),
            ("sample", text(seen.last_message())),
        ]);
        row
    };
    Ok(look.count.kinds.iter().map(row).collect())
}

impl Writing {
    /// Takes a setting of the server.
    pub(super) fn tell(&mut self, name: &str, value: &str) {
        match name {
            "log_line_prefix" => self.prefix = Some(value.to_owned()),
            "log_timezone" => self.zone = Some(value.to_owned()),
            _ => {}
        }
    }

    /// Chooses the format of a file; an abbreviation of a zone is one of `log_timezone`, which is the machine's own unless told otherwise.
    fn choose(&self, head: &FileHead<'_>) -> Result<Chosen, pawang_logs::Error> {
        let told = self.zone.as_deref();
        let zone =
            told.and_then(|zone| TimeZone::get(zone).or_else(|_| TimeZone::posix(zone)).ok());
        let wish = Wish {
            zone: Some(zone.unwrap_or_else(TimeZone::system)),
            prefixes: self
                .prefix
                .iter()
                .filter(|text| !text.is_empty())
                .cloned()
                .collect(),
            certain: false,
            ..Wish::default()
        };
        choose(head, &wish)
    }
}

impl Look {
    /// Returns what every row says of the files.
    fn fields(&self) -> Fields {
        Fields::from([
            ("directory", text(self.directory.to_string_lossy())),
            ("files", whole(self.files as u64)),
            ("truncated", Value::Bool(self.truncated)),
        ])
    }
}

fn instant(at: Option<i64>) -> Value {
    let at = at.and_then(|at| Timestamp::from_microsecond(at).ok());
    at.map_or(Value::Null, Value::Time)
}

/// Reads what was logged in a period before now.
fn look(host: &Host<'_>, now: Timestamp, period: Duration) -> Result<Look, Missing> {
    let (directory, prefix) = place(host.root, host.log.as_deref(), host.data.as_deref())?;
    let before = |period: Duration| now.checked_sub(period).unwrap_or(now);
    let mut files = newest(&directory, &prefix, before(DAY), false)?;
    if files.is_empty() {
        let what = format!(
            "\"{}\" holds no log file of the last 24 hours",
            directory.display()
        );
        return Err(Blind::Failed { what }.into());
    }
    files.retain(|file| file.changed >= before(period));
    let mut look = Look {
        count: Count::new(Window {
            since: before(period).as_microsecond(),
            recent: before(RECENT).as_microsecond(),
        }),
        files: files.len(),
        directory,
        bytes: 0,
        truncated: false,
    };
    let mut inputs = Vec::new();
    for file in &files {
        let take = (BYTES_MAX - look.bytes).min(file.length);
        look.truncated |= take < file.length;
        look.bytes += take;
        if take > 0 {
            let input =
                input(file, take, &host.wrote).map_err(|error| refused(&file.path, &error))?;
            inputs.push(input);
        }
    }
    // The older files come first, so that a line without time is beside the record before it.
    inputs.reverse();
    if !inputs.is_empty() {
        look.count = read(inputs, look.count, &host.wrote)?;
    }
    Ok(look)
}

/// Reads inputs, of which those that are no log do not matter as long as one is.
fn read(inputs: Vec<Input>, count: Count, wrote: &Writing) -> Result<Count, Blind> {
    let strange = Mutex::new(BTreeSet::new());
    let choose = |head: &FileHead<'_>| {
        let chosen = wrote.choose(head);
        if chosen.is_err() {
            let mut strange = strange.lock().unwrap_or_else(PoisonError::into_inner);
            strange.insert(head.name.to_owned());
        }
        chosen
    };
    let settings = Settings {
        threads: 1,
        piece_bytes: PIECE_BYTES,
        choose: &choose,
    };
    let failed = |what: String| Blind::Failed { what };
    let (count, source) =
        read_into(inputs, &settings, count).map_err(|error| failed(error.to_string()))?;
    let strange = strange.into_inner().unwrap_or_else(PoisonError::into_inner);
    trouble(&source, &strange).map_or(Ok(count), |what| Err(failed(what)))
}

/// Returns why the log was not read, if so.
fn trouble(source: &Source, strange: &BTreeSet<String>) -> Option<String> {
    let all = strange.len() == source.files.len();
    source.files.iter().find_map(|file| {
        let trouble = file.trouble.as_ref()?;
        let matters = all || !strange.contains(&file.name);
        matters.then(|| format!("could not read \"{}\": {trouble}", file.name))
    })
}

/// Returns a file as something to read: whole, or from the first record in its last bytes.
fn input(file: &LogFile, take: u64, wrote: &Writing) -> std::io::Result<Input> {
    let mut bytes = File::open(&file.path)?;
    if take == file.length {
        return Ok(Input::file(&file.path));
    }
    let start = file.length - take;
    bytes.seek(SeekFrom::Start(start))?;
    let mut window = Vec::new();
    bytes
        .by_ref()
        .take(HEAD_BYTES as u64)
        .read_to_end(&mut window)?;
    let name = file.path.to_string_lossy();
    let line = window.iter().position(|byte| *byte == b'\n');
    let line = line.map_or(window.len(), |end| end + 1);
    let head = FileHead {
        name: &name,
        bytes: &window[line..],
        modified: Some(file.changed.as_second()),
        known: None,
    };
    let record = wrote
        .choose(&head)
        .ok()
        .and_then(|chosen| (chosen.make)().sync(&window));
    let skip = record.unwrap_or(line) as u64;
    bytes.seek(SeekFrom::Start(start + skip))?;
    let rest = bytes.take(take.saturating_sub(skip));
    Ok(Input::reader(name, Box::new(rest)))
}

/// Returns where the log is: the server's own directory, else Debian's file of this very cluster.
///
/// The second part of the pair is how the names of its files begin.
fn place(root: &Path, log: Option<&Path>, data: Option<&Path>) -> Result<(PathBuf, String), Blind> {
    let own = log.map(|log| under(root, log));
    if let Some(own) = own.filter(|log| log.is_dir()) {
        return Ok((own, String::new()));
    }
    let cluster = data.and_then(|data| {
        let mut parts = data.strip_prefix("/var/lib/postgresql").ok()?.components();
        let mut part = || Some(parts.next()?.as_os_str().to_string_lossy().into_owned());
        Some(format!("postgresql-{}-{}.log", part()?, part()?))
    });
    let debian = under(root, Path::new(DEBIAN));
    cluster
        .filter(|_| debian.is_dir())
        .map(|file| (debian, file))
        .ok_or(Blind::NotConfigured {
            key: "log_directory".to_owned(),
            what: "where the server writes its log".to_owned(),
        })
}

/// Returns the files of that prefix that were written since then, newest first, each record in one format only.
fn newest(
    directory: &Path,
    prefix: &str,
    since: Timestamp,
    packed: bool,
) -> Result<Vec<LogFile>, Blind> {
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
        let Some(changed) = changed.filter(|at| *at >= since) else {
            continue;
        };
        if metadata.is_file() && named && (packed || !compressed) {
            let length = metadata.len();
            files.push(LogFile {
                changed,
                path,
                length,
            });
        }
    }
    files.sort_by(|a, b| b.cmp(a));
    let once = |file: &&LogFile| !files.iter().any(|other| is_copy(file, other));
    Ok(files.iter().filter(once).cloned().collect())
}

/// Returns whether a file holds the records of a better one: `log_destination` may name several formats.
fn is_copy(file: &LogFile, better: &LogFile) -> bool {
    let (stem, rank) = format(&file.path);
    let (better_stem, better_rank) = format(&better.path);
    let apart = file.changed.duration_since(better.changed);
    better_rank < rank && better_stem == stem && apart.unsigned_abs() <= COPIES_APART_MAX
}

/// Returns the name that the formats share, and how much the format of the file tells, the most first.
fn format(path: &Path) -> (PathBuf, u8) {
    let rank = match path.extension().and_then(|end| end.to_str()) {
        Some("json") => 0,
        Some("csv") => 1,
        Some("log") => 2,
        _ => return (path.to_owned(), 2),
    };
    (path.with_extension(""), rank)
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

    fn file(path: &str, changed: i64) -> LogFile {
        LogFile {
            changed: Timestamp::from_second(changed).unwrap(),
            path: PathBuf::from(path),
            length: 1,
        }
    }

    #[test]
    fn records_in_two_formats_are_read_once() {
        for (path, better, apart, copy) in [
            ("a/pg.log", "a/pg.csv", 0, true),
            ("a/pg.log", "a/pg.json", 59, true),
            ("a/pg.csv", "a/pg.json", 0, true),
            ("a/pg", "a/pg.csv", 0, true),
            ("a/pg.csv", "a/pg.log", 0, false),
            ("a/pg.log", "a/pg.log", 0, false),
            ("a/pg.log", "a/other.csv", 0, false),
            ("a/pg.log.1", "a/pg.csv", 0, false),
            // It was written long after the other: log_destination has changed.
            ("a/pg.log", "a/pg.csv", 61, false),
        ] {
            let better = file(better, 1_000);
            assert_eq!(is_copy(&file(path, 1_000 + apart), &better), copy, "{path}");
        }
    }

    #[test]
    fn the_end_of_a_file_is_read_from_its_first_record() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pg.csv");
        let line = |n: u32, message: &str| {
            format!(
                "2026-11-21 10:00:0{n}.123 UTC,\"a\",\"b\",1,,6920a5c1.1,{n},\"\",2026-11-21 10:00:00 UTC,,0,\
                 ERROR,42P01,\"{message}\",,,,,,,,,\"\",\"client backend\",,0\n"
            )
        };
        let text = [
            line(1, "first"),
            line(2, "second\n2026-11-21 is no record"),
            line(3, "third"),
            line(4, "fourth"),
        ]
        .concat();
        std::fs::write(&path, &text).unwrap();
        let changed = Timestamp::from_second(1_795_000_000).unwrap();
        let length = text.len() as u64;
        let log = LogFile {
            changed,
            path,
            length,
        };
        let window = Window {
            since: 0,
            recent: 0,
        };
        let wrote = Writing::default();
        for (take, expected) in [
            (length, 4),
            (length - 5, 3),
            (length - line(1, "first").len() as u64 - 130, 2),
        ] {
            let count = read(
                vec![input(&log, take, &wrote).unwrap()],
                Count::new(window),
                &wrote,
            )
            .unwrap();
            let errors = &count.severities[&Severity::Error];
            assert_eq!(errors.records, expected, "the last {take} bytes");
            assert_eq!(errors.last_message(), "fourth");
        }
    }

    #[test]
    fn a_file_that_is_no_log_hides_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let strange = directory.path().join("strange.bin");
        std::fs::write(&strange, [0_u8, 1, 2, 10].repeat(100)).unwrap();
        let log = directory.path().join("pg.log");
        let line = "2026-11-21 10:00:00.123 UTC [1] ERROR:  relation \"x\" does not exist\n";
        std::fs::write(&log, line.repeat(5)).unwrap();
        let count = || {
            Count::new(Window {
                since: 0,
                recent: 0,
            })
        };
        let both = vec![Input::file(&strange), Input::file(&log)];
        let errors = read(both, count(), &Writing::default()).unwrap();
        assert_eq!(errors.severities[&Severity::Error].records, 5);
        let none = read(vec![Input::file(&strange)], count(), &Writing::default());
        assert!(none.is_err());
    }

    #[test]
    fn the_server_tells_how_it_writes_and_is_not_believed_blindly() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pg.log");
        let mut wrote = Writing::default();
        wrote.tell("log_timezone", "Asia/Shanghai");
        wrote.tell("log_line_prefix", "%m %u#%d ");
        wrote.tell("other", "x");
        for (text, user_at) in [
            (
                "2026-11-21 10:00:00.123 CST ahli#dwh ERROR:  x\n",
                "2026-11-21T02:00:00.123Z",
            ),
            // The setting has changed since the file was written.
            (
                "2026-11-21 10:00:00.123 CST [17] ERROR:  x\n",
                "2026-11-21T02:00:00.123Z",
            ),
        ] {
            std::fs::write(&path, text.repeat(5)).unwrap();
            let count = Count::new(Window {
                since: 0,
                recent: 0,
            });
            let count = read(vec![Input::file(&path)], count, &wrote).unwrap();
            let errors = &count.severities[&Severity::Error];
            let at: Timestamp = user_at.parse().unwrap();
            assert_eq!(
                (errors.records, errors.last_at),
                (5, Some(at.as_microsecond()))
            );
        }
    }
}
