//! `pawang silence expire`: a silence ends before its time.

use pawang_core::alert::Request;
use pawang_core::{Kind, Report};

use crate::cli::Global;
use crate::cli::account::state;
use crate::cli::alert::order;
use crate::cli::silence::list;
use crate::output::Exit;

/// End a silence before its time
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Its number
    #[arg(value_name = "NUMBER")]
    silence: i64,
    /// Only list what it keeps quiet now
    #[arg(long)]
    preview: bool,
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    if args.preview {
        let silences = match state::open_to_read(global)? {
            Some(state) => state.silences(true).map_err(|error| error.report())?,
            None => Vec::new(),
        };
        let found = silences.iter().find(|silence| silence.id == args.silence);
        let found = found.ok_or_else(|| {
            Report::new(Kind::Usage, format!("there is no silence {}", args.silence))
                .with_hint("pawang silence list --all")
        })?;
        return list::preview("pawang.silence.preview/1", &found.matchers, None, global);
    }
    let request = Request::ExpireSilence {
        silence: args.silence,
    };
    order::give("pawang.silence.expire/1", request, global)
}
