//! Charts as SVG, drawn on the server: readable without a script, zoomed and read off with ours.

use maud::{Markup, html};
use pawang_core::{Level, Timestamp};
use pawang_store::history::{Series, Span};

/// Values over time.
pub(crate) struct Chart<'a> {
    /// What it shows, as its heading.
    pub title: &'a str,
    /// Unit of the values as columns declare it: `bytes`, `ms`, `s`, `/s`, `%`, ...
    pub unit: &'a str,
    /// The stretch of time; all charts of a page share it.
    pub span: Span,
    /// Its lines, each with its name for people.
    pub lines: Vec<(String, &'a Series)>,
    /// Whether lines are stacked as areas.
    pub stacked: bool,
    /// Limits, drawn across.
    pub limits: Vec<(f64, Level)>,
    /// Things that happened, marked on the time axis.
    pub marks: Vec<(Timestamp, String)>,
}

impl Chart<'_> {
    /// Draws it: figure with heading, SVG, legend with last values, and the same numbers as a table for readers
    /// without eyes.
    pub(crate) fn draw(&self) -> Markup {
        html! {}
    }
}

/// Draws the shape of one series in a line of text.
pub(crate) fn sparkline(_series: &Series) -> Markup {
    html! {}
}
