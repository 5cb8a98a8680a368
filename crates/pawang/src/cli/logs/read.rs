//! How files become a report: the options that all verbs share, and the one place that reads.

use jiff::tz::TimeZone;
use pawang_core::{Kind, Report, Timestamp};
use pawang_logs::choose::{Wish, choose};
use pawang_logs::engine::{self, PIECE_BYTES, Settings};
use pawang_logs::input::expand;
use pawang_logs::render;
use pawang_logs::tally::Options;

use super::remote;
use crate::cli::Global;
use crate::output::{Color, Exit};
use crate::{environment, output, when};

/// Most items of a list that can be asked for.
const TOP_MAX: u64 = 10_000;

/// The files, and how they are read.
#[derive(Debug, clap::Args)]
pub(super) struct FilesArgs {
    /// Log files, directories or patterns, plain or compressed; - for standard input; none with -i, which reads the server's own
    #[arg(value_name = "FILE")]
    pub files: Vec<String>,
    #[command(flatten)]
    pub read: ReadArgs,
}

/// How files are read.
#[derive(Debug, clap::Args)]
pub(super) struct ReadArgs {
    /// Leave out what was before: a length of time such as 24h, or an instant such as "yesterday 03:00"
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub since: Option<String>,
    /// Leave out what was at that time or later
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub until: Option<String>,
    /// Most items of each list
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=TOP_MAX))]
    pub top: u64,
    /// log_line_prefix of the server, instead of the one that the lines tell
    #[arg(long, value_name = "PREFIX", hide_short_help = true)]
    pub prefix: Option<String>,
    /// log_timezone of the server, such as Asia/Jakarta, for zones that the log only abbreviates
    #[arg(long, value_name = "ZONE", hide_short_help = true)]
    pub zone: Option<String>,
    /// Threads that read; one per processor unless given
    #[arg(long, value_name = "N", hide_short_help = true, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub threads: Option<u16>,
    /// Show statements with their constants and parameters; secrets are redacted all the same
    #[arg(long)]
    pub constants: bool,
}

impl ReadArgs {
    /// Returns what is kept and shown.
    ///
    /// # Errors
    /// A time cannot be read, or the window has no length.
    pub(super) fn options(&self) -> Result<Options, Report> {
        let now = environment::now();
        let zone = TimeZone::system();
        let instant = |text: &Option<String>| -> Result<Option<i64>, Report> {
            let Some(text) = text else { return Ok(None) };
            let back = when::length(text).ok();
            let ago = back.and_then(|length| now.checked_sub(length).ok());
            let at: Timestamp = match ago {
                Some(at) => at,
                None => when::instant(text, now, &zone)?,
            };
            Ok(Some(at.as_microsecond()))
        };
        let (since, until) = (instant(&self.since)?, instant(&self.until)?);
        if let (Some(since), Some(until)) = (since, until)
            && since >= until
        {
            return Err(Report::new(
                Kind::Usage,
                "cannot use a time of --since after that of --until",
            )
            .with_hint("pawang logs report FILE --since 24h"));
        }
        Ok(Options {
            since,
            until,
            constants: self.constants,
            items: usize::try_from(self.top).unwrap_or(usize::MAX),
        })
    }
}

impl ReadArgs {
    /// Returns what is known of the form of the files.
    ///
    /// # Errors
    /// There is no such time zone.
    pub(super) fn wish(&self) -> Result<Wish, Report> {
        Ok(Wish {
            form: None,
            prefixes: self.prefix.iter().cloned().collect(),
            certain: true,
            zone: zone(self.zone.as_deref())?,
        })
    }
}

/// Reads files, or the log of the one instance of `-i` over its own connection, and returns their report without secrets.
///
/// # Errors
/// An option is wrong, or nothing of the files can be read.
pub(super) fn read(
    files: &[String],
    args: &ReadArgs,
    global: &Global,
) -> Result<pawang_logs::report::Report, Report> {
    let options = args.options()?;
    let mut wish = args.wish()?;
    let over_server = files.is_empty() && !global.instances.is_empty();
    let (inputs, skipped) = if over_server {
        (remote::inputs(global, &options, &mut wish)?, Vec::new())
    } else {
        let found = expand(files, Some(Box::new(std::io::stdin())));
        (found.inputs, found.skipped)
    };
    for left in &skipped {
        output::talk(&format!("warning: {}: {}", left.name, left.why));
    }
    let threads = match args.threads {
        // A server is asked over one connection at a time.
        _ if over_server => Some(1),
        Some(threads) => Some(usize::from(threads)),
        None => std::thread::available_parallelism().ok().map(usize::from),
    };
    let settings = Settings {
        threads: threads.unwrap_or(1),
        piece_bytes: PIECE_BYTES,
        choose: &|head| choose(head, &wish),
    };
    let outcome = engine::read(inputs, &settings, &options).map_err(|error| {
        Report::from_error(Kind::Usage, &error)
            .with_hint("pawang logs report FILE..., or -i NAME for the log of a server")
    })?;
    let mut report = outcome.tally.report(outcome.source, &options);
    nothing_read(&report)?;
    render::redact(&mut report);
    Ok(report)
}

/// Returns the time zone of a name.
///
/// # Errors
/// There is none of this name.
pub(super) fn zone(name: Option<&str>) -> Result<Option<TimeZone>, Report> {
    let Some(name) = name else {
        return Ok(None);
    };
    TimeZone::get(name).map(Some).map_err(|error| {
        Report::new(Kind::Usage, format!("there is no time zone \"{name}\""))
            .with_detail(error.to_string())
            .with_hint("write it as log_timezone does, such as Asia/Jakarta")
    })
}

/// Refuses to show a report of nothing, when every file had trouble.
pub(super) fn nothing_read(report: &pawang_logs::report::Report) -> Result<(), Report> {
    let files = &report.source.files;
    let troubles: Vec<String> = files
        .iter()
        .filter_map(|file| Some(format!("{}: {}", file.name, file.trouble.as_ref()?)))
        .collect();
    if report.totals.records > 0 || troubles.len() < files.len() || troubles.is_empty() {
        return Ok(());
    }
    let unread = Report::new(Kind::Target, "no record was read").with_detail(troubles.join("; "));
    let unknown = |trouble: &String| trouble.contains("was not recognised");
    Err(match troubles.iter().any(unknown) {
        true => unread.with_hint(
            "--prefix gives the server's log_line_prefix: psql -c 'SHOW log_line_prefix'",
        ),
        false => unread,
    })
}

/// Returns the exit code of a report that was shown: files that were not read whole, and zones that are not sure, are told on
/// stderr.
pub(super) fn exit(report: &pawang_logs::report::Report, good: Exit) -> Exit {
    let mut code = good;
    for doubt in render::doubts(report) {
        output::talk(&format!("warning: {doubt}"));
    }
    for file in &report.source.files {
        if let Some(trouble) = &file.trouble {
            output::talk(&format!("warning: {}: {trouble}", file.name));
            code = Exit::Target;
        }
    }
    code
}

/// Returns how text is shown on stdout.
pub(super) fn style(color: Color) -> render::Style {
    let style = output::style(color);
    render::Style {
        color: style.color,
        width: style.width,
        zone: style.zone,
    }
}
