//! `pawang window show`: one window, or its announcement.

use std::collections::BTreeMap;
use std::fmt::Write;

use jiff::SignedDuration;
use jiff::tz::TimeZone;
use pawang_alert::book::Subject;
use pawang_alert::matcher::Matchers;
use pawang_alert::template::{self, Maintenance};
use pawang_alert::window::{Ready, calendar};
use pawang_core::alert::WindowTime;
use pawang_core::{Kind, Report, Timestamp};
use serde_json::json;

use crate::cli::Global;
use crate::cli::alert::{order, words};
use crate::daemon::subject_of;
use crate::environment;
use crate::estate::{Estate, told};
use crate::output::{self, Exit};

/// Coming times that are shown, and how far they are looked for.
const TIMES: usize = 5;
const AHEAD_DAYS: i64 = 400;
/// What the users call the system when `[alert.status_page]` has no title.
const SYSTEM: &str = "the data warehouse";

/// Show a window and when it is open
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Its name
    #[arg(value_name = "NAME")]
    window: String,
    /// The announcement of its next time, for the users of the warehouse
    #[arg(long)]
    announcement: bool,
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    let windows = super::windows(global, true)?;
    // A name may come again after its window was removed: the newest is meant.
    let ready = windows
        .iter()
        .rev()
        .find(|ready| ready.window.name == args.window);
    let ready = ready.ok_or_else(|| {
        let name = args.window.escape_debug();
        Report::new(Kind::Usage, format!("there is no window \"{name}\""))
            .with_hint("pawang window list --all")
    })?;
    let now = environment::now();
    let far = now.checked_add(SignedDuration::from_hours(24 * AHEAD_DAYS));
    let far = far.unwrap_or(Timestamp::MAX);
    let times = calendar(std::slice::from_ref(ready), now, far, TIMES);
    let instances = instances(ready, global)?;
    if args.announcement {
        return announce(ready, &times, &instances, global);
    }
    if global.json {
        let data = json!({ "window": ready.window, "instances": instances, "times": times });
        output::json("pawang.window.show/1", &data)?;
    } else {
        output::data(&text(ready, &times, &instances))?;
    }
    Ok(Exit::Good)
}

/// Returns the instances of `pawang.toml` whose alerts the window may keep quiet.
fn instances(ready: &Ready, global: &Global) -> Result<Vec<String>, Report> {
    let estate = Estate::load(global.config.as_deref()).map_err(told)?;
    let setup = order::setup(&estate)?;
    if estate.config.instances.is_empty() {
        return Ok(Vec::new());
    }
    // Only what tells instances apart can be asked of them; the other matchers choose among their alerts.
    let matchers = ready.window.matchers.iter();
    let jobs = estate.jobs(&[], None)?;
    let mut names = Vec::new();
    for job in &jobs {
        let labels = labels(&subject_of(job, None, &setup));
        let known = matchers
            .clone()
            .filter(|matcher| labels.contains_key(&matcher.label));
        let known = Matchers::new(known.cloned().collect());
        if known.is_ok_and(|known| known.hold(&labels)) {
            names.push(job.instance.name.clone());
        }
    }
    Ok(names)
}

fn labels(subject: &Subject) -> BTreeMap<String, String> {
    let mut labels = subject.labels.clone();
    labels.insert("instance".to_owned(), subject.name.clone());
    labels.insert(
        "group".to_owned(),
        subject.group.clone().unwrap_or_default(),
    );
    labels.extend(subject.host.clone().map(|host| ("host".to_owned(), host)));
    labels
}

fn announce(
    ready: &Ready,
    times: &[WindowTime],
    instances: &[String],
    global: &Global,
) -> Result<Exit, Report> {
    let window = &ready.window;
    let Some(time) = times.first() else {
        return Err(Report::new(
            Kind::Answer,
            format!("window \"{}\" is not open again", window.name),
        ));
    };
    let estate = Estate::load(global.config.as_deref()).map_err(told)?;
    let page = estate.config.alert.status_page.as_ref();
    let zone: &TimeZone = ready.schedule.zone();
    let announcement = template::maintenance(&Maintenance {
        system: page.map_or(SYSTEM, |page| &page.title),
        time,
        zone,
        affected: instances,
        activities: &window.reason,
        contact: page.and_then(|page| page.contact.as_deref()),
    });
    if global.json {
        let data = json!({ "window": window.name, "time": time, "text": announcement });
        output::json("pawang.window.announcement/1", &data)?;
    } else {
        output::data(&announcement)?;
    }
    Ok(Exit::Good)
}

fn text(ready: &Ready, times: &[WindowTime], instances: &[String]) -> String {
    let window = &ready.window;
    let mut out = String::new();
    let mut line = |name: &str, text: String| {
        let _ = writeln!(out, "{name:<10} {}", pawang_report::one_line(&text));
    };
    line("Window", window.name.clone());
    line("Schedule", window.schedule.clone());
    line("Alerts", words::matchers(&window.matchers));
    line("Instances", instances.join(" "));
    line("By", window.by.clone());
    line("Reason", window.reason.clone());
    if let Some(at) = window.removed_at {
        line("Removed", format!("{at:.0}"));
    }
    for time in times {
        let note = time.note.as_ref().map(|note| format!(" ({note})"));
        line(
            "Open",
            format!(
                "{:.0} to {:.0}{}",
                time.from,
                time.to,
                note.unwrap_or_default()
            ),
        );
    }
    out
}
