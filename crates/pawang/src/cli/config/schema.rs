//! `pawang config schema`: the JSON schema of `pawang.toml`.

use pawang_core::{Kind, Report};

use crate::output::{self, Exit};

/// Runs the command.
pub(super) fn run() -> Result<Exit, Report> {
    let text = serde_json::to_string_pretty(&pawang_config::schema()).map_err(|error| {
        Report::new(Kind::Usage, "could not write JSON").with_detail(error.to_string())
    })?;
    output::data(&(text + "\n"))?;
    Ok(Exit::Good)
}
