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
mod timeline;
pub mod words;

use maud::{Markup, PreEscaped, html};
use pawang_core::{Level, Series, Span, Timestamp};

pub use spark::sparkline;
pub use timeline::{Stretch, Timeline, TimelineRow};

/// The stylesheet of colours and fonts, for light and dark.
pub const PALETTE: &str = include_str!("../assets/palette.css");
/// The stylesheet of charts; it needs [`PALETTE`].
pub const CSS: &str = include_str!("../assets/chart.css");

/// Values over time.
pub struct Chart<'a> {
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
    pub fn draw(&self) -> Markup {
        draw::figure(self, self.form(), true)
    }

    /// Draws it with one bar per step: for amounts per step, such as checkpoints.
    pub fn bars(&self) -> Markup {
        draw::figure(self, Form::Bars, true)
    }

    /// Draws it for a page without a script; with one bar per step unless it is stacked.
    pub fn still(&self) -> Markup {
        let form = if self.stacked {
            Form::Areas
        } else {
            Form::Bars
        };
        draw::figure(self, form, false)
    }

    fn form(&self) -> Form {
        if self.stacked {
            Form::Areas
        } else {
            Form::Lines
        }
    }
}

/// Embeds data for the script; nothing in it can end the element.
pub fn json(id: &str, data: &serde_json::Value) -> Markup {
    html! { script type="application/json" id=(id) { (PreEscaped(escaped(&data.to_string()))) } }
}

fn escaped(json: &str) -> String {
    json.replace('<', "\\u003c")
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::thin::{POINTS_MAX, tests::series};
    use super::*;

    /// What a whole page may weigh over the wire; the rest of it gets the difference to 150 KB.
    const CHARTS_BYTES_MAX: usize = 120 << 10;

    fn chart<'a>(title: &'a str, lines: Vec<(String, &'a Series)>) -> Chart<'a> {
        let from: Timestamp = "2026-11-21T00:00:00Z".parse().unwrap();
        let to: Timestamp = "2026-11-21T05:00:00Z".parse().unwrap();
        Chart {
            title,
            unit: "/s",
            span: Span { from, to },
            lines,
            stacked: false,
            limits: Vec::new(),
            marks: Vec::new(),
        }
    }

    /// Returns noise, which no compression makes small.
    fn noise(seed: u64) -> Series {
        let mut state = seed;
        let mut values = [0.0; POINTS_MAX];
        for value in &mut values {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            *value = (state >> 40) as f64 / 1_000.0;
        }
        series(&values)
    }

    #[test]
    fn a_page_of_charts_is_light_even_when_they_are_full_of_noise() {
        let mut page = String::new();
        for number in 0..12 {
            let all: Vec<Series> = (0..3).map(|line| noise(number * 7 + line)).collect();
            let lines = all.iter().map(|series| ("line".to_owned(), series));
            page.push_str(&chart("noise", lines.collect()).draw().into_string());
        }
        let level = flate2::Compression::new(6);
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), level);
        packed.write_all(page.as_bytes()).unwrap();
        let bytes = packed.finish().unwrap().len();
        assert!(bytes < CHARTS_BYTES_MAX, "{bytes} of {}", page.len());
    }

    #[test]
    fn hostile_names_stay_text() {
        let hostile = "</script><script>alert(1)</script>\"'<b>";
        let values = series(&[1.0, f64::NAN, 3.0]);
        for stacked in [false, true] {
            let chart = Chart {
                stacked,
                marks: vec![("2026-11-21T01:00:00Z".parse().unwrap(), hostile.to_owned())],
                ..chart(hostile, vec![(hostile.to_owned(), &values)])
            };
            let drawn = chart.draw().into_string();
            assert!(!drawn.contains("<script>alert"), "{drawn}");
            assert!(!drawn.contains("<b>"), "{drawn}");
        }
        let data = serde_json::json!({ "name": hostile });
        assert_eq!(
            json("x", &data).into_string().matches("</script>").count(),
            1
        );
    }

    #[test]
    fn a_chart_without_values_says_so_and_draws_no_axis() {
        let gaps = series(&[f64::NAN, f64::NAN]);
        for lines in [Vec::new(), vec![("gaps".to_owned(), &gaps)]] {
            let drawn = chart("nothing", lines).draw().into_string();
            assert!(drawn.contains("Nothing was seen"), "{drawn}");
            assert!(!drawn.contains("<svg"), "{drawn}");
        }
    }

    #[test]
    fn what_is_stacked_is_zero_where_others_were_seen_and_a_gap_where_none_was() {
        let (a, b) = (
            series(&[1.0, 2.0, f64::NAN]),
            series(&[f64::NAN, 1.0, f64::NAN]),
        );
        let lines = [thin::thin(&a), thin::thin(&b)];
        let aligned = draw::aligned(&lines);
        let means = |line: usize| -> Vec<Option<f64>> {
            let points = aligned[line].iter();
            points
                .map(|point| point.reading.map(|reading| reading.mean))
                .collect()
        };
        assert_eq!(means(0), [Some(1.0), Some(2.0), None]);
        assert_eq!(means(1), [Some(0.0), Some(1.0), None]);
    }

    #[test]
    fn sparklines_of_nothing_are_nothing() {
        assert!(sparkline(&series(&[])).into_string().is_empty());
        assert!(sparkline(&series(&[f64::NAN])).into_string().is_empty());
        assert!(
            sparkline(&series(&[0.0, 0.0]))
                .into_string()
                .contains("<svg")
        );
    }
}
