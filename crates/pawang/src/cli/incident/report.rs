//! `pawang incident report`: the review, or news for the users of the warehouse.

use jiff::tz::TimeZone;
use pawang_alert::incident::report;
use pawang_alert::template::{self, News};
use pawang_core::Report;
use pawang_core::alert::EntryKind;
use serde_json::json;

use super::story::Story;
use crate::cli::Global;
use crate::environment;
use crate::estate::{Estate, told};
use crate::output::{self, Exit};

/// What the users call the system when `[alert.status_page]` has no title.
const SYSTEM: &str = "the data warehouse";

/// Print the review with all that is known filled in, or news for the users of the warehouse
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Its number
    #[arg(value_name = "NUMBER")]
    incident: i64,
    /// How the review is written
    #[arg(long, value_enum, default_value_t = Format::Markdown, conflicts_with = "template")]
    format: Format,
    /// News for the users instead of the review
    #[arg(long, value_enum)]
    template: Option<Template>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    Markdown,
    Html,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Template {
    /// The first news: that it is known
    Notice,
    /// How far it is, with the notes since
    Update,
    /// That it is over, and what it was
    Resolved,
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    let story = Story::read(args.incident, global)?;
    let zone = TimeZone::system();
    let text = match args.template {
        Some(template) => news(template, &story, &zone, global)?,
        None => review(args.format, &story, &zone),
    };
    if global.json {
        let data = json!({ "incident": story.incident.id, "text": text });
        output::json("pawang.incident.report/1", &data)?;
    } else {
        output::data(&text)?;
    }
    Ok(Exit::Good)
}

fn review(format: Format, story: &Story, zone: &TimeZone) -> String {
    let known = report::Story {
        incident: &story.incident,
        alerts: &story.alerts,
        timeline: &story.timeline,
        similar: story.similar.iter().collect(),
        waited: None,
        zone,
        now: environment::now(),
        clean: pawang_web::without_secrets,
    };
    match format {
        Format::Markdown => report::markdown(&known),
        Format::Html => report::html(&known),
    }
}

fn news(
    template: Template,
    story: &Story,
    zone: &TimeZone,
    global: &Global,
) -> Result<String, Report> {
    let estate = Estate::load(global.config.as_deref()).map_err(told)?;
    let page = estate.config.alert.status_page.as_ref();
    let notes = story
        .timeline
        .iter()
        .filter(|line| line.kind == EntryKind::Note);
    let notes: Vec<String> = notes.map(|line| line.text.clone()).collect();
    let news = News {
        system: page.map_or(SYSTEM, |page| &page.title),
        incident: &story.incident,
        zone,
        now: environment::now(),
        notes: &notes,
        contact: page.and_then(|page| page.contact.as_deref()),
    };
    Ok(match template {
        Template::Notice => template::notice(&news),
        Template::Update => template::update(&news),
        Template::Resolved => template::resolved(&news),
    })
}
