//! `pawang window add`: once, or again and again.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use pawang_config::schedule::{Occurrence, Schedule};
use pawang_core::alert::{Draft, Request};
use pawang_core::{Kind, Report};
use serde_json::json;

use crate::cli::Global;
use crate::cli::alert::{order, words};
use crate::cli::silence::list;
use crate::environment;
use crate::grid::Grid;
use crate::output::{self, Exit};

/// Times that --preview shows, and how far it looks.
const PREVIEWED: usize = 5;
const PREVIEWED_DAYS: i64 = 366;

/// Add a maintenance window, once or recurring
///
/// Forms of a schedule: "sun 02:00-06:00 Asia/Jakarta", "mon-fri 22:00-02:00", "first sun 00:00-04:00",
/// "last sat of quarter 22:00-02:00", "day 1 00:00-02:00", "2026-12-01 22:00 for 2 h", "now for 2 h",
/// "cron 0 2 * * 0 for 4 h", "rrule FREQ=MONTHLY;BYDAY=1SU;BYHOUR=0;BYMINUTE=0 for 4 h".
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    /// When, such as "sun 02:00-06:00 Asia/Jakarta" or "now for 2 h"
    #[arg(value_name = "SCHEDULE")]
    schedule: String,
    /// Which alerts, besides those of --group and -i; the whole estate when nothing is given
    #[arg(value_name = "MATCHER")]
    matchers: Vec<String>,
    /// Only instances of this group
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// What is done in it
    #[arg(long, value_name = "TEXT", required_unless_present = "preview")]
    reason: Option<String>,
    /// Its name, instead of window-N
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Only show when it would be open, and what it would keep quiet now
    #[arg(long)]
    preview: bool,
    /// It is for the whole estate, and that is meant
    #[arg(long)]
    everything: bool,
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    words::known(args.group.as_deref(), global)?;
    let mut matchers = words::parse(&args.matchers)?;
    if let Some(group) = &args.group {
        matchers.extend(words::parse(&[format!("group={group:?}")])?);
    }
    matchers.extend(words::instances(&global.instances)?);
    let (now, zone) = (environment::now(), TimeZone::system());
    let wrong = |detail: String| {
        Report::new(
            Kind::Usage,
            format!("cannot read schedule \"{}\"", args.schedule),
        )
        .with_detail(detail)
        .with_hint("pawang window add --help shows the forms")
    };
    let schedule = Schedule::anchor(&args.schedule, now, &zone).map_err(wrong)?;
    let parsed = Schedule::parse_in(&schedule, &zone).map_err(wrong)?;
    let schedule = with_zone(&schedule, &parsed);
    if args.preview {
        let far = now.checked_add(SignedDuration::from_hours(24 * PREVIEWED_DAYS));
        let times = parsed.between(now, far.unwrap_or(Timestamp::MAX), PREVIEWED);
        if !global.json {
            show(&times)?;
        }
        let told = times
            .iter()
            .map(|time| json!({ "from": time.from, "to": time.to, "note": time.note }));
        let told = Some(told.collect());
        return list::preview("pawang.window.preview/1", &matchers, told, global);
    }
    let draft = Draft {
        matchers,
        reason: args.reason.clone().unwrap_or_default(),
        everything: args.everything,
    };
    let request = Request::AddWindow {
        draft,
        schedule,
        name: args.name.clone(),
    };
    order::give("pawang.window.add/1", request, global)
}

/// Writes the zone behind a schedule that names none, so that it means the same everywhere and for ever.
fn with_zone(text: &str, parsed: &Schedule) -> String {
    let named = Schedule::parse_in(text, &TimeZone::UTC);
    let named = named.is_ok_and(|named| named.zone() == parsed.zone());
    let zone = parsed.zone().iana_name().filter(|_| !named);
    zone.map(|zone| format!("{text} {zone}"))
        .filter(|text| Schedule::parse(text).is_ok())
        .unwrap_or_else(|| text.to_owned())
}

fn show(times: &[Occurrence]) -> Result<(), Report> {
    let mut grid = Grid::new(&["from", "until", "note"]);
    for time in times {
        grid.row(vec![
            format!("{:.0}", time.from),
            format!("{:.0}", time.to),
            time.note.clone().unwrap_or_default(),
        ]);
    }
    if grid.is_empty() {
        output::talk("it is not open within a year");
        return Ok(());
    }
    output::data(&grid.text())
}
