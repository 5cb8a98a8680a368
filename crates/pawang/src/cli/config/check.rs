//! `pawang config check`: every mistake of the file at once.

use pawang_core::{Kind, Report};
use serde_json::json;

use crate::cli::Global;
use crate::estate::{Estate, told};
use crate::output::{self, Exit};

/// Runs the command.
pub(super) fn run(global: &Global) -> Result<Exit, Report> {
    let estate = Estate::load(global.config.as_deref()).map_err(told)?;
    let Some(file) = &estate.file else {
        return Err(
            Report::new(Kind::Usage, "there is no configuration file to check")
                .with_hint("pawang init"),
        );
    };
    estate.catalog()?;
    estate.alerts().map_err(told)?;
    for warning in &estate.config.warnings {
        output::talk(&format!("warning: {warning}"));
    }
    // Addresses are read too, so that a wrong URL is told here and not at night.
    let jobs = estate.jobs(&[], None)?;
    let facts = json!({
        "file": file,
        "instances": jobs.len(),
        "overrides": estate.config.overrides.len(),
        "user_checks": estate.config.user_checks.len(),
        "warnings": estate.config.warnings,
    });
    if global.json {
        output::json("pawang.config.check/1", &facts)?;
    } else if !global.quiet {
        output::data(&format!(
            "{}: good ({} instances, {} overrides, {} checks of your own)\n",
            file.display(),
            jobs.len(),
            estate.config.overrides.len(),
            estate.config.user_checks.len()
        ))?;
    }
    Ok(Exit::Good)
}
