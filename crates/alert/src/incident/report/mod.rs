//! The review of an incident after it, with all that is known already filled in: Markdown and HTML.

mod review;
mod show;
#[cfg(test)]
mod tests;

use jiff::tz::TimeZone;
use pawang_core::Timestamp;
use pawang_core::alert::{Alert, Incident};

use super::Line;

/// All that a review is filled from.
#[derive(Clone, Debug)]
pub struct Story<'a> {
    /// The incident.
    pub incident: &'a Incident,
    /// Its alerts as they were last, the cause first.
    pub alerts: &'a [Alert],
    /// What happened, in order; see [`super::timeline`].
    pub timeline: &'a [Line],
    /// Similar ones of the past; see [`super::similar`].
    pub similar: Vec<&'a Incident>,
    /// Who waited for it, in words, where that is known: `212 users, 14 reports`.
    pub waited: Option<&'a str>,
    /// The zone that its readers live in; UTC is always shown.
    pub zone: &'a TimeZone,
    /// When it is written.
    pub now: Timestamp,
    /// Takes secrets out of texts that servers and people gave.
    pub clean: fn(&str) -> String,
}

/// Returns the review as Markdown.
pub fn markdown(story: &Story<'_>) -> String {
    show::markdown(&review::review(story))
}

/// Returns the review as one HTML file without any other file.
pub fn html(story: &Story<'_>) -> String {
    show::html(&review::review(story))
}
