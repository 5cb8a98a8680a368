//! Charts as SVG, drawn on the server: readable without a script, zoomed and read off with ours.
//!
//! Colours are classes of the stylesheet; sizes are shares of the width, so that one drawing fits a phone and a wall.

mod colour;
mod data;
mod draw;
mod legend;
mod scale;
mod shape;
mod spark;
mod thin;

use maud::{Markup, PreEscaped, html};
use pawang_core::{Level, Timestamp};
use pawang_store::history::{Series, Span};

pub(crate) use spark::sparkline;

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

/// How values become ink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Lines,
    Areas,
    Bars,
}

impl Chart<'_> {
    /// Draws it: figure with heading, SVG, legend with last values, and the same numbers as a table for readers
    /// without eyes.
    pub(crate) fn draw(&self) -> Markup {
        draw::figure(
            self,
            if self.stacked {
                Form::Areas
            } else {
                Form::Lines
            },
        )
    }

    /// Draws it with one bar per step: for amounts per step, such as checkpoints.
    pub(crate) fn bars(&self) -> Markup {
        draw::figure(self, Form::Bars)
    }
}

/// Embeds data for the script; nothing in it can end the element.
pub(crate) fn json(id: &str, data: &serde_json::Value) -> Markup {
    html! { script type="application/json" id=(id) { (PreEscaped(escaped(&data.to_string()))) } }
}

fn escaped(json: &str) -> String {
    json.replace('<', "\\u003c")
}
