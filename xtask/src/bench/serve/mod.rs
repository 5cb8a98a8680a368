//! `cargo xtask bench serve`: the daemon, its store, its pages and its `/metrics`.

mod daemon;
mod estate;
mod metrics;
mod store;

pub(crate) use daemon::{Daemon, free_address};

use std::fmt::Write;
use std::time::Instant;

use super::page;
use crate::run;
use crate::system::{Need, provide};
use crate::test::build_release;

/// A figure that is to be reached, and what was reached.
pub(super) struct Goal {
    pub(super) text: &'static str,
    pub(super) reached: String,
    pub(super) met: bool,
}

/// One part of the page.
pub(super) struct Part {
    pub(super) title: &'static str,
    /// What was measured, as a table.
    pub(super) text: String,
    pub(super) goals: Vec<Goal>,
}

/// Measures, prints and writes the tables.
pub(crate) fn run(only: Option<&str>) -> Result<(), String> {
    provide(&[Need::Server, Need::Prometheus])?;
    let binary = build_release()?;
    let begin = Instant::now();
    let version = run::quiet(run::command(&binary.to_string_lossy()).arg("--version"))?;
    let about = page::circumstances("15", version.trim());
    let runtime = run::runtime()?;
    let wanted = |name: &str| only.is_none_or(|only| only == name);
    if wanted("store") {
        tell(&about, "store", store::measure()?)?;
    }
    if wanted("estate") {
        tell(
            &about,
            "estate",
            runtime.block_on(estate::measure(&binary))?,
        )?;
    }
    if wanted("metrics") {
        tell(
            &about,
            "metrics",
            runtime.block_on(metrics::measure(&binary))?,
        )?;
    }
    println!("({:.0} s)", begin.elapsed().as_secs_f64());
    Ok(())
}

/// Shows a part, and writes it into the page.
fn tell(about: &str, name: &str, part: Part) -> Result<(), String> {
    let (title, section) = section(&format!("serve {name}"), about, &part);
    println!("\n## {title}\n\n{section}");
    page::write(title, &section)
}

/// Returns title and text of a part.
pub(super) fn section(command: &str, about: &str, part: &Part) -> (&'static str, String) {
    let mut section = format!("`cargo xtask bench {command}`: {about}.\n\n{}\n", part.text);
    section.push_str("| goal | reached | |\n|---|---|---|\n");
    for goal in &part.goals {
        let met = if goal.met { "met" } else { "missed" };
        let _ = writeln!(section, "| {} | {} | {met} |", goal.text, goal.reached);
    }
    (part.title, section)
}
