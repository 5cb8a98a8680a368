//! Stretches of time and things that happened, one row each, over a shared axis: backups, WAL, restores.

use maud::{Markup, html};
use pawang_core::{Level, Span, Timestamp};

use super::scale::{across, times};
use crate::words::exact;

/// Height of a row in pixels.
const ROW: f64 = 22.0;
/// Height of what is drawn in it.
const BAR: f64 = 12.0;
/// Room below the rows for the time axis.
const BOTTOM: f64 = 20.0;
/// A stretch is drawn at least so wide, in percent of the axis: a short one is seen too.
const WIDTH_MIN: f64 = 0.3;
/// Stretches and marks of a row that are drawn, the newest.
const DRAWN_MAX: usize = 400;

/// Rows over a shared axis of time.
pub struct Timeline<'a> {
    /// What it shows, as its heading.
    pub title: &'a str,
    /// The stretch of time.
    pub span: Span,
    /// Its rows, from the top.
    pub rows: Vec<TimelineRow>,
}

/// One row.
pub struct TimelineRow {
    /// Its name.
    pub name: String,
    /// Stretches of time; those that go on beyond the axis are cut.
    pub stretches: Vec<Stretch>,
    /// Things that happened at one time.
    pub marks: Vec<(Timestamp, Level, String)>,
}

/// A stretch of time.
pub struct Stretch {
    /// From when.
    pub from: Timestamp,
    /// Until when.
    pub to: Timestamp,
    /// How good it is.
    pub level: Level,
    /// What it is, in words.
    pub title: String,
}

impl Timeline<'_> {
    /// Draws it: figure with heading and SVG, and the same as a list for readers without eyes.
    pub fn draw(&self) -> Markup {
        let full = ROW * self.rows.len() as f64 + BOTTOM;
        html! {
            figure .timeline {
                figcaption { (self.title) }
                div .plot {
                    svg .axis width="110" height=(full) aria-hidden="true" {
                        @for (place, row) in self.rows.iter().enumerate() {
                            text x="100%" dx="-10" y=(place as f64 * ROW + ROW / 2.0) dy=".32em" { (row.name) }
                        }
                    }
                    svg .area width="100%" height=(full) role="img" aria-label=(self.said()) {
                        g .grid aria-hidden="true" {
                            @for place in 0..=self.rows.len() {
                                line x1="0" x2="100%" y1=(place as f64 * ROW) y2=(place as f64 * ROW) {}
                            }
                        }
                        @for (place, row) in self.rows.iter().enumerate() { (self.row(row, place as f64 * ROW)) }
                        g .times aria-hidden="true" {
                            @for (at, label) in times(self.span) {
                                @let x = across(self.span, at) * 100.0;
                                text x={ (format!("{x:.2}")) "%" } y=(full - 5.0) .first[x < 4.0] .last[x > 96.0] { (label) }
                            }
                        }
                    }
                }
            }
        }
    }

    fn row(&self, row: &TimelineRow, top: f64) -> Markup {
        let percent = |at: Timestamp| (across(self.span, at) * 100.0).clamp(0.0, 100.0);
        let seen = |from: Timestamp, to: Timestamp| to >= self.span.from && from <= self.span.to;
        let stretches = row.stretches.iter().rev();
        let stretches = stretches.filter(|it| seen(it.from, it.to)).take(DRAWN_MAX);
        let marks = row.marks.iter().rev();
        let marks = marks.filter(|(at, ..)| seen(*at, *at)).take(DRAWN_MAX);
        html! {
            @for stretch in stretches {
                @let from = percent(stretch.from);
                @let width = (percent(stretch.to) - from).max(WIDTH_MIN);
                rect .stretch.(stretch.level.as_str()) x=(format!("{from:.2}%")) width=(format!("{width:.2}%"))
                    y=(top + (ROW - BAR) / 2.0) height=(BAR) rx="2" {
                    title { (stretch.title) ": " (exact(stretch.from)) " to " (exact(stretch.to)) }
                }
            }
            @for (at, level, what) in marks {
                circle .event.(level.as_str()) cx=(format!("{:.2}%", percent(*at))) cy=(top + ROW / 2.0) r="4" {
                    title { (exact(*at)) ": " (what) }
                }
            }
        }
    }

    /// Says in one sentence what the drawing shows.
    fn said(&self) -> String {
        let rows = self.rows.iter().map(|row| {
            let count = row.stretches.len() + row.marks.len();
            format!("{} {count}", row.name)
        });
        let rows: Vec<String> = rows.collect();
        format!("{}: {}", self.title, rows.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hour: u32) -> Timestamp {
        format!("2026-11-21T{hour:02}:00:00Z").parse().unwrap()
    }

    #[test]
    fn what_is_outside_is_cut_and_hostile_names_stay_text() {
        let hostile = "</svg><script>alert(1)</script>";
        let stretch = |from, to| Stretch {
            from: at(from),
            to: at(to),
            level: Level::Ok,
            title: hostile.to_owned(),
        };
        let timeline = Timeline {
            title: hostile,
            span: Span {
                from: at(10),
                to: at(20),
            },
            rows: vec![TimelineRow {
                name: hostile.to_owned(),
                stretches: vec![stretch(1, 5), stretch(5, 15), stretch(12, 12)],
                marks: vec![(at(3), Level::Ok, String::new())],
            }],
        };
        let drawn = timeline.draw().into_string();
        assert_eq!(drawn.matches("<rect").count(), 2, "{drawn}");
        assert!(drawn.contains("x=\"0.00%\" width=\"50.00%\""), "{drawn}");
        assert!(drawn.contains("width=\"0.30%\""), "{drawn}");
        assert!(!drawn.contains("<circle") && !drawn.contains("<script"));
    }
}
