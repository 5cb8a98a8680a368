//! `pawang serve reload`: the running daemon reads its configuration again.

use pawang_core::Report;
use serde_json::Value;

use super::Place;
use crate::cli::Global;
use crate::daemon::{Answer, Wanted};
use crate::estate::told;
use crate::output::{self, Exit};

/// Runs the command; exit code 2 when the configuration has mistakes.
pub(super) fn run(place: &Place, global: &Global) -> Result<Exit, Report> {
    match place.order(Wanted::Reload, global)? {
        Answer::Done(outcome) if global.json => output::json("pawang.serve.reload/1", &outcome)?,
        Answer::Done(outcome) => output::data(&text(&outcome))?,
        Answer::Refused(reasons) => {
            output::talk("the daemon goes on with the configuration that it had\n");
            return Err(told(
                reasons.into_iter().map(|reason| reason.report()).collect(),
            ));
        }
    }
    Ok(Exit::Good)
}

fn text(outcome: &Value) -> String {
    let mut text = format!("read again: {} instances\n", outcome["instances"]);
    for (key, words) in [
        ("added", "added"),
        ("removed", "removed"),
        ("changed", "changed"),
        ("warnings", "warning:"),
        ("needs_restart", "note:"),
    ] {
        for name in outcome[key].as_array().into_iter().flatten() {
            text += &format!("{words} {}\n", name.as_str().unwrap_or_default());
        }
    }
    text
}
