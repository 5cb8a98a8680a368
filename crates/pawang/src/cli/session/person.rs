//! What the verbs about sessions have in common: one look at a server, and words for what is seen.

use std::time::Duration;

use pawang_act::session::{Process, View, look};
use pawang_config::QueryText;
use pawang_core::relation::identifier;
use pawang_core::{Kind, Report, Timestamp, Unit};

use crate::cli::Global;
use crate::each::each;
use crate::estate::{Estate, Job};
use crate::output;
use crate::sessions::connect;

/// Looks at every server that is meant; `None` when a signal came first.
///
/// # Errors
/// A server does not answer.
pub(super) fn views(estate: &Estate, jobs: &[Job]) -> Result<Option<Vec<View>>, Report> {
    let views = each(estate, jobs, async |job| {
        let session = connect(job).await?;
        look(&session).await.map_err(|error| error.report())
    })?;
    views.map(|views| views.into_iter().collect()).transpose()
}

/// Returns the one server that is meant.
///
/// # Errors
/// There are several, or none of that name.
pub(super) fn only(estate: &Estate, global: &Global) -> Result<Job, Report> {
    let mut jobs = estate.jobs(&global.instances, None)?;
    match (jobs.pop(), jobs.as_slice()) {
        (Some(job), []) => Ok(job),
        (last, others) => {
            let names = others.iter().chain(&last);
            let names: Vec<&str> = names.map(|job| job.instance.name.as_str()).collect();
            Err(
                Report::new(Kind::Usage, "sessions of one server are ended at a time")
                    .with_detail(format!("there are {}", names.join(", ")))
                    .with_hint("name it: pawang session terminate --blockers -i NAME"),
            )
        }
    }
}

/// Returns what lets the role of a target see the sessions of others.
pub(super) fn grant(job: &Job) -> String {
    format!("GRANT pg_monitor TO {}", identifier(&job.target.user))
}

/// Tells of sessions whose doing is hidden from the role.
pub(super) fn tell_hidden(jobs: &[Job], views: &[View]) {
    for (job, view) in jobs.iter().zip(views) {
        let hidden = view.processes.iter().filter(|p| p.backend_type.is_none());
        let hidden = hidden.count();
        if hidden > 0 {
            let name = &job.instance.name;
            output::talk(&format!(
                "note: {name}: what {hidden} processes do is hidden from the role"
            ));
            output::talk(&format!("hint: {}", grant(job)));
        }
    }
}

/// Returns a statement as the configuration lets it be shown.
pub(super) fn statement(estate: &Estate, text: &str) -> String {
    match estate.config.serve.query_text {
        QueryText::Raw => text.to_owned(),
        QueryText::Normalised => pawang_store::text::normalise(text),
    }
}

/// Returns how long ago something was, `-` when it never was.
pub(super) fn since(at: Option<Timestamp>, now: Timestamp) -> String {
    age(at, now).map_or_else(
        || "-".to_owned(),
        |age| Unit::Seconds.show(age.as_secs_f64()),
    )
}

/// Returns how long ago something was.
pub(super) fn age(at: Option<Timestamp>, now: Timestamp) -> Option<Duration> {
    let age = at?.duration_until(now);
    Some(Duration::try_from(age).unwrap_or_default())
}

/// Returns what a session waits for, in a few words.
pub(super) fn waits_for(process: &Process, now: Timestamp) -> String {
    match &process.wait {
        None => String::new(),
        Some(wait) => {
            let object = wait.relation.as_deref().unwrap_or(&wait.kind);
            format!("{} on {object} for {}", wait.mode, since(wait.since, now))
        }
    }
}

/// Returns a text, or `-` for none.
pub(super) fn dash(text: Option<&str>) -> String {
    text.filter(|text| !text.is_empty())
        .unwrap_or("-")
        .to_owned()
}
