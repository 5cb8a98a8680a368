//! The one place that prints: data to stdout, talk to stderr.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use jiff::tz::TimeZone;
use pawang_core::{Kind, Report};
use pawang_report::Style;

use crate::environment;

/// When colours are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The exit codes of every command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Good.
    Good,
    /// The answer is that something needs attention.
    Answer,
    /// Wrong usage or configuration.
    Usage,
    /// The target cannot be reached or seen.
    Target,
    /// A safety rule refused.
    Refused,
    /// A signal ended it.
    Interrupted,
    /// The code of a Nagios plugin, 0 to 3.
    Plugin(u8),
    /// PostgreSQL's recovery must stop: it takes every code from 1 to 125 for the end of the archive.
    Withheld,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(match exit {
            Exit::Good => 0,
            Exit::Answer => 1,
            Exit::Usage => 2,
            Exit::Target => 3,
            Exit::Refused => 4,
            Exit::Interrupted => 130,
            Exit::Plugin(code) => code,
            Exit::Withheld => 200,
        })
    }
}

impl From<Kind> for Exit {
    fn from(kind: Kind) -> Exit {
        match kind {
            Kind::Answer => Exit::Answer,
            Kind::Usage => Exit::Usage,
            Kind::Target => Exit::Target,
            Kind::Refused => Exit::Refused,
        }
    }
}

/// Writes data to stdout; a reader that went away is no error.
///
/// # Errors
/// Stdout refuses for another reason, such as a full disk.
pub(crate) fn data(text: &str) -> Result<(), Report> {
    let mut stdout = std::io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Report::new(
            Kind::Usage,
            "could not write to standard output",
        )
        .with_detail(error.to_string())),
        _ => Ok(()),
    }
}

/// Returns how many of something there are, in words: `1 part`, `2 parts`.
pub(crate) fn counted(count: u64, noun: &str) -> String {
    let end = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{end}")
}

/// Writes talk to stderr; control characters of servers and arguments do not reach the terminal.
pub(crate) fn talk(text: &str) {
    let lines: Vec<String> = text.split('\n').map(pawang_report::one_line).collect();
    let _ = writeln!(std::io::stderr().lock(), "{}", lines.join("\n"));
}

/// Writes the JSON envelope `{"schema": .., "data": ..}` to stdout.
///
/// # Errors
/// As [`data`].
pub(crate) fn json(schema: &str, value: &impl serde::Serialize) -> Result<(), Report> {
    data(&envelope(schema, value)?)
}

/// Returns the JSON envelope as text.
///
/// # Errors
/// The value cannot be serialised.
pub(crate) fn envelope(schema: &str, value: &impl serde::Serialize) -> Result<String, Report> {
    let envelope = serde_json::json!({ "schema": schema, "data": value });
    serde_json::to_string_pretty(&envelope)
        .map(|text| text + "\n")
        .map_err(|error| {
            Report::new(Kind::Usage, "could not write JSON").with_detail(error.to_string())
        })
}

/// Writes a file that must not be there yet and that only its owner may read; it is durable when this returns.
///
/// # Errors
/// It is there, or cannot be written.
pub(crate) fn new_secret_file(path: &Path, text: &str) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = std::fs::File::options();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    std::fs::File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// Replaces a file whole; nobody ever reads half of it. A link keeps pointing to its file, and a file its permissions.
///
/// # Errors
/// The file or its directory refuses.
pub(crate) fn replace_file(path: &Path, text: &str) -> Result<(), Report> {
    let report = |error: std::io::Error| {
        Report::new(
            Kind::Usage,
            format!("could not write file \"{}\"", path.display()),
        )
        .with_detail(error.to_string())
    };
    let metadata = std::fs::metadata(path).ok();
    if metadata.as_ref().is_some_and(|found| !found.is_file()) {
        // A device or a pipe is written to: to put a file in the place of /dev/null would break the machine.
        let mut special = std::fs::File::options()
            .write(true)
            .open(path)
            .map_err(report)?;
        return special.write_all(text.as_bytes()).map_err(report);
    }
    let permissions = metadata.map_or_else(
        || std::os::unix::fs::PermissionsExt::from_mode(0o644),
        |found| found.permissions(),
    );
    let real = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let directory = real
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .permissions(permissions)
        .tempfile_in(directory)
        .map_err(report)?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.as_file().sync_all())
        .map_err(report)?;
    file.persist(&real)
        .map(drop)
        .map_err(|error| report(error.error))
}

/// Appends to a file and makes it durable.
///
/// # Errors
/// The file refuses.
pub(crate) fn append_file(path: &Path, text: &str) -> Result<(), Report> {
    let write = || -> std::io::Result<()> {
        let mut file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().map_err(|error| {
        Report::new(
            Kind::Usage,
            format!("could not append to file \"{}\"", path.display()),
        )
        .with_detail(error.to_string())
    })
}

/// Returns whether stdout is a terminal.
pub(crate) fn terminal() -> bool {
    std::io::stdout().is_terminal()
}

/// Returns the style for stdout.
pub(crate) fn style(color: Color) -> Style {
    let forced = environment::variable("CLICOLOR_FORCE").is_some_and(|value| value != "0");
    let refused = environment::variable("NO_COLOR").is_some();
    let color = match color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => !refused && (forced || terminal()),
    };
    let width = terminal().then(|| terminal_width().unwrap_or(100));
    Style {
        color,
        width,
        zone: TimeZone::system(),
    }
}

/// Returns a style without colour and without cutting, for files.
pub(crate) fn file_style() -> Style {
    Style {
        color: false,
        width: None,
        zone: TimeZone::system(),
    }
}

fn terminal_width() -> Option<usize> {
    let columns = environment::variable("COLUMNS").and_then(|columns| columns.parse().ok());
    columns.or_else(|| {
        let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
        (size.ws_col > 0).then_some(usize::from(size.ws_col))
    })
}
