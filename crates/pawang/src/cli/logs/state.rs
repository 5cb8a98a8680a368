//! Reports that are read bit by bit: what was read before is kept in a folder, per hour.

use std::ops::Range;
use std::path::Path;

use pawang_core::{Kind, Report};
use pawang_logs::choose::choose;
use pawang_logs::engine::{PIECE_BYTES, Settings};
use pawang_logs::input::expand;
use pawang_logs::render;
use pawang_logs::report::Source;
use pawang_logs::resume::{RealDisk, STEP_BYTES, Store, kept_hours};
use pawang_logs::tally::{Options, Tally};

use super::read::{self, ReadArgs};
use crate::{environment, output};

const HOUR_MICROSECONDS: i64 = 3_600_000_000;

/// Reads what is new in the files, and reports the hours that the folder keeps; without files only the latter.
///
/// # Errors
/// An option is wrong, somebody else writes to the folder, or nothing can be read.
pub(super) fn read(
    state: &Path,
    files: &[String],
    args: &ReadArgs,
) -> Result<pawang_logs::report::Report, Report> {
    let options = args.options()?;
    let hours = hours(&options);
    let (tally, source) = if files.is_empty() {
        let kept = kept_hours(state).and_then(|mut kept| Ok((kept.count(), kept.sum(hours)?)));
        let (count, tally) = kept.map_err(|error| refused(state, &error))?;
        if count == 0 {
            let primary = format!("there are no kept hours in \"{}\"", state.display());
            let hint = "pawang logs report --state DIR FILE...";
            return Err(Report::new(Kind::Usage, primary).with_hint(hint));
        }
        (tally, Source::default())
    } else {
        read_new(state, files, args, hours)?
    };
    let mut report = tally.report(source, &options);
    read::nothing_read(&report)?;
    render::redact(&mut report);
    Ok(report)
}

fn read_new(
    state: &Path,
    files: &[String],
    args: &ReadArgs,
    hours: Range<i64>,
) -> Result<(Tally, Source), Report> {
    let wish = args.wish()?;
    let found = expand(files, None);
    for left in &found.skipped {
        output::talk(&format!("warning: {}: {}", left.name, left.why));
    }
    let settings = Settings {
        threads: 1,
        piece_bytes: PIECE_BYTES,
        choose: &|head| choose(head, &wish),
    };
    let now = environment::now().as_second();
    let mut store = Store::<Tally>::open(state, Box::new(RealDisk), STEP_BYTES)
        .map_err(|error| refused(state, &error))?;
    let step = store
        .run(&found.inputs, &settings, now)
        .map_err(|error| refused(state, &error))?;
    for gap in &step.gaps {
        output::talk(&format!(
            "warning: {}: it is gone, and {} bytes or more of it were never read",
            gap.name, gap.bytes
        ));
    }
    let tally = store.sum(hours).map_err(|error| refused(state, &error))?;
    Ok((tally, step.source))
}

/// Returns the whole hours of a window.
fn hours(options: &Options) -> Range<i64> {
    let hour = |at: i64| at.div_euclid(HOUR_MICROSECONDS);
    let first = options.since.map_or(i64::MIN, hour);
    let end = options.until.map_or(i64::MAX, |until| hour(until - 1) + 1);
    first..end
}

fn refused(state: &Path, error: &pawang_logs::Error) -> Report {
    let hint = if error.begin_anew() {
        let state = state.display();
        format!("mv '{state}' '{state}.aside', then pawang logs report --state '{state}' FILE...")
    } else {
        "pawang logs report --state DIR FILE..., with a folder that no other run has open"
            .to_owned()
    };
    Report::from_error(Kind::Refused, error).with_hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_of_whole_hours() {
        let hour = HOUR_MICROSECONDS;
        for (since, until, expected) in [
            (None, None, i64::MIN..i64::MAX),
            (Some(hour + 1), Some(3 * hour), 1..3),
            (Some(hour), Some(3 * hour + 1), 1..4),
            (Some(-1), None, -1..i64::MAX),
        ] {
            let options = Options {
                since,
                until,
                ..Options::default()
            };
            assert_eq!(hours(&options), expected, "{since:?} {until:?}");
        }
    }
}
