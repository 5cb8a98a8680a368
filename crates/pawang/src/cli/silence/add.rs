//! `pawang silence add`: alerts are kept quiet from now, or from later, until an end.

use jiff::tz::TimeZone;
use pawang_core::Report;
use pawang_core::alert::{Draft, Request};

use crate::cli::Global;
use crate::cli::alert::{order, words};
use crate::cli::silence::list;
use crate::output::Exit;
use crate::{environment, when};

/// Keep matching alerts quiet until an end
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Which alerts: check=disk-space, 'instance=~"dwh-.*"', level!=critical; all of them must hold
    #[arg(value_name = "MATCHER")]
    matchers: Vec<String>,
    /// How long, such as 2h; it always ends
    #[arg(long = "for", value_name = "TIME", required_unless_present = "preview")]
    length: Option<String>,
    /// Why
    #[arg(long, value_name = "TEXT", required_unless_present = "preview")]
    reason: Option<String>,
    /// From when on, such as 22:00 or "2026-11-22 22:00", instead of now
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Only list what it would keep quiet now
    #[arg(long)]
    preview: bool,
    /// It matches everything, and that is meant
    #[arg(long)]
    everything: bool,
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    let mut matchers = words::parse(&args.matchers)?;
    words::known(None, global)?;
    matchers.extend(words::instances(&global.instances)?);
    let now = environment::now();
    let from = args
        .from
        .as_deref()
        .map(|from| when::coming(from, now, &TimeZone::system()));
    let from = from.transpose()?;
    let length = args.length.as_deref();
    let ends_at = length.map(|length| order::until(length, from.unwrap_or(now)));
    let ends_at = ends_at.transpose()?;
    if args.preview {
        return list::preview("pawang.silence.preview/1", &matchers, None, global);
    }
    let draft = Draft {
        matchers,
        reason: args.reason.clone().unwrap_or_default(),
        everything: args.everything,
    };
    let request = Request::AddSilence {
        draft,
        starts_at: from,
        ends_at: ends_at.unwrap_or(now),
    };
    order::give("pawang.silence.add/1", request, global)
}
