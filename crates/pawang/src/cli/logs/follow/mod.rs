//! `pawang logs follow`: what a server writes into its log, while it writes it.

mod alarm;
mod filter;
mod line;
mod over_sql;
mod place;
mod show;
mod waiter;

use std::cell::RefCell;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use pawang_core::{Kind, Report};
use pawang_logs::choose::{Wish, choose};
use pawang_logs::engine::{Chosen, FileHead, Known};
use pawang_logs::follow::{self as files, Follow, Target};

use self::alarm::Alarm;
use self::filter::{Filter, Least};
use self::line::Lines;
use self::place::Place;
use self::show::{Out, Show};
use self::waiter::Waiter;
use super::read;
use crate::cli::Global;
use crate::output::{self, Exit};

const EXAMPLES: &str = "\
Examples:
  pawang logs follow /var/log/postgresql/postgresql-15-main.log
  pawang logs follow -i dwh-1 --level warning
  pawang logs follow -i dwh-1 --kind 'deadlock' --kind 'lock-*' --alert";

/// Records of before that can be asked for.
const LINES_MAX: u32 = 10_000;
/// Bytes of records of before, for each that is asked for and for those that are filtered out.
const BACK_BYTES_LINE: u64 = 1_024;
const BACK_BYTES_MIN: u64 = 256 * 1_024;
/// A file that is shorter may hold too little to tell its prefix, and is read as the one before it.
const SAMPLE_BYTES_MIN: usize = 64 * 1_024;

/// Follow a log while it is written: every record with its kind, coloured by how bad it is
///
/// A directory means its newest file. With -i and no file the server says where its log is; where its files cannot be read
/// they are followed over its connection. Rotation of any kind loses nothing. Secrets are redacted.
///
/// --json writes one object per line (schema pawang.logs.follow/1).
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES)]
pub(super) struct Args {
    /// Log files or directories; none with -i, which follows the server's own
    #[arg(value_name = "FILE|DIRECTORY")]
    files: Vec<PathBuf>,
    /// Least level that is shown; all shows the server's DEBUG too
    #[arg(long, value_enum, default_value_t, value_name = "LEVEL")]
    level: Least,
    /// Only records of this kind, with * (repeatable); pawang logs events lists them
    #[arg(long = "kind", value_name = "KIND")]
    kinds: Vec<String>,
    /// Only records with this text in message, detail or statement; upper and lower case are the same
    #[arg(long, value_name = "TEXT")]
    grep: Option<String>,
    /// Show so many records of before first
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(0..=i64::from(LINES_MAX)))]
    lines: u32,
    /// Hand each kind of level warning or worse to the daemon as an alert, at most once a minute, with its count
    #[arg(long)]
    alert: bool,
    /// Show statements with their constants and parameters; secrets are redacted all the same
    #[arg(long)]
    constants: bool,
    /// log_line_prefix of the server, instead of the one that the lines tell
    #[arg(long, value_name = "PREFIX", hide_short_help = true)]
    prefix: Option<String>,
    /// log_timezone of the server, such as Asia/Jakarta, for zones that the log only abbreviates
    #[arg(long, value_name = "ZONE", hide_short_help = true)]
    zone: Option<String>,
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    let filter = Filter::new(args.level, &args.kinds, args.grep.as_deref())?;
    let mut wish = Wish {
        form: None,
        prefixes: args.prefix.iter().cloned().collect(),
        certain: false,
        zone: read::zone(args.zone.as_deref())?,
    };
    let waiter = Waiter::new()?;
    let place = if args.files.is_empty() {
        let Some(place) = waiter.run(place::of_server(global, &mut wish)) else {
            return Ok(Exit::Good);
        };
        place?
    } else {
        place::of_files(&args.files)?
    };
    let alarm = if args.alert {
        Some(Alarm::start(global)?)
    } else {
        None
    };
    let out = RefCell::new(Out::new(args.lines, alarm));
    let lines = Lines::new(global, args.constants);
    let mut show = Show::new(&filter, &lines, &out);
    match place {
        Place::Files(targets) => follow_files(&targets, &wish, &waiter, args.lines, &mut show),
        Place::Server(target) => {
            over_sql::follow(&target, &wish, &waiter, back(args.lines), &mut show)?
        }
    }
    out.into_inner().end()?;
    Ok(Exit::Good)
}

fn back(lines: u32) -> u64 {
    match lines {
        0 => 0,
        lines => (u64::from(lines) * BACK_BYTES_LINE).max(BACK_BYTES_MIN),
    }
}

fn follow_files(targets: &[Target], wish: &Wish, waiter: &Waiter, lines: u32, show: &mut Show<'_>) {
    let before = Mutex::new(Before::default());
    let out = show.out();
    let began = Instant::now();
    let how = Follow {
        choose: &|head| choose_as_before(head, wish, &before),
        from_start: false,
        back: back(lines),
        stop: &|| waiter.stopped() || out.borrow().ended(),
        clock: &|| i64::try_from(began.elapsed().as_millis()).unwrap_or(i64::MAX),
        pause: &|time| {
            out.borrow_mut().flush();
            waiter.pause(time);
        },
    };
    files::follow(targets, &how, show);
}

/// The file that was chosen for last, how it is read, and how the one before it was read.
#[derive(Default)]
struct Before {
    name: String,
    current: Known,
    earlier: Option<Known>,
}

/// Chooses for a file; one that is too short to tell its prefixes has those of the file before it too.
fn choose_as_before(
    head: &FileHead<'_>,
    wish: &Wish,
    before: &Mutex<Before>,
) -> Result<Chosen, pawang_logs::Error> {
    let mut before = before.lock().unwrap_or_else(PoisonError::into_inner);
    if before.name != head.name {
        let current = std::mem::take(&mut before.current);
        before.earlier = Some(current).filter(|known| !known.prefixes.is_empty());
        head.name.clone_into(&mut before.name);
    }
    let chosen = choose(head, wish);
    let form = pawang_logs::format::detect::detect(head.bytes);
    let earlier = before.earlier.as_ref().filter(|known| {
        head.bytes.len() < SAMPLE_BYTES_MIN && (form.as_str() == known.format || chosen.is_err())
    });
    let chosen = match earlier {
        None => chosen?,
        Some(earlier) => {
            let mut known = earlier.clone();
            let guessed = chosen.map_or_else(|_| Vec::new(), |chosen| chosen.prefixes);
            let more = guessed
                .into_iter()
                .filter(|prefix| !earlier.prefixes.contains(prefix));
            known.prefixes.extend(more);
            let known = Some(&known);
            choose(&FileHead { known, ..*head }, wish)?
        }
    };
    before.current = Known {
        format: chosen.format.clone(),
        prefixes: chosen.prefixes.clone(),
    };
    Ok(chosen)
}

/// Says something about the log that is no record.
fn notice(file: &str, text: &str) {
    output::talk(&format!("note: {file}: {text}"));
}

fn no_place(primary: &str) -> Report {
    Report::new(Kind::Usage, primary)
        .with_hint("pawang logs follow FILE, or -i NAME for the log of a server")
}
