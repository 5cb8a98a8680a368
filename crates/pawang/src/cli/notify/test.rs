//! `pawang notify test`: a real message to a channel, a person, or whoever is on duty.

use std::collections::BTreeMap;

use pawang_alert::channel::Channel;
use pawang_alert::recipient;
use pawang_alert::setup::Setup;
use pawang_core::alert::{Message, MessageKind, Priority, Recipient};
use pawang_core::{Kind, Level, Report, Timestamp};
use serde::Serialize;

use crate::cli::Global;
use crate::cli::alert::order;
use crate::environment;
use crate::estate::{Estate, told};
use crate::grid::Grid;
use crate::output::{self, Exit};

/// Send a test message; exit code 3 when a target does not take it
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A channel, a contact or a rota of pawang.toml
    #[arg(value_name = "NAME")]
    name: String,
}

#[derive(Serialize)]
struct Attempt {
    recipient: String,
    address: Option<String>,
    taken: bool,
    trouble: Option<String>,
    hint: Option<String>,
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    let estate = Estate::load(global.config.as_deref()).map_err(told)?;
    let setup = order::setup(&estate)?;
    known(&setup, &args.name)?;
    let now = environment::now();
    let found = recipient::find(&setup, std::slice::from_ref(&args.name), now);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| {
            Report::new(Kind::Target, "could not start").with_detail(error.to_string())
        })?;
    let attempts: Vec<Attempt> = runtime.block_on(async {
        let mut attempts = Vec::new();
        for recipient in &found.recipients {
            attempts.push(attempt(&setup, recipient, now).await);
        }
        attempts
    });
    if global.json {
        output::json("pawang.notify.test/1", &attempts)?;
    } else {
        output::data(&table(&attempts))?;
    }
    if !global.quiet {
        found.notes.iter().for_each(|note| output::talk(note));
    }
    let taken = !attempts.is_empty() && attempts.iter().all(|attempt| attempt.taken);
    Ok(if taken { Exit::Good } else { Exit::Target })
}

/// Makes sure that a name leads somewhere.
fn known(setup: &Setup, name: &str) -> Result<(), Report> {
    let config = &setup.config;
    let names: Vec<&str> = (config.channels.iter().map(|channel| channel.name.as_str()))
        .chain(config.contacts.iter().map(|contact| contact.name.as_str()))
        .chain(config.rotas.iter().map(|rota| rota.name.as_str()))
        .collect();
    if names.contains(&name) {
        return Ok(());
    }
    let word = name.escape_debug();
    let report = Report::new(
        Kind::Usage,
        format!("there is no channel, contact or rota \"{word}\""),
    );
    Err(match pawang_config::nearest(name, names.iter().copied()) {
        Some(nearest) => report.with_hint(format!("pawang notify test {nearest}")),
        None if names.is_empty() => report
            .with_detail("pawang.toml has no [[alert.channel]]")
            .with_hint("docs/guide/alerts.md shows a first one"),
        None => report.with_detail(format!("there are {}", names.join(", "))),
    })
}

async fn attempt(setup: &Setup, recipient: &Recipient, now: Timestamp) -> Attempt {
    let mut attempt = Attempt {
        recipient: recipient.key(),
        address: recipient.address.clone(),
        taken: false,
        trouble: None,
        hint: None,
    };
    let mut channels = setup.config.channels.iter();
    let Some(config) = channels.find(|channel| channel.name == recipient.channel) else {
        attempt.trouble = Some(format!("there is no channel \"{}\"", recipient.channel));
        return attempt;
    };
    let message = message(recipient, setup, now);
    let sent = match Channel::new(config) {
        Ok(mut channel) => channel
            .send(&message)
            .await
            .map_err(|trouble| (trouble.what, trouble.hint)),
        Err(report) => Err((
            [Some(report.primary), report.detail]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
                .join(": "),
            report.hint,
        )),
    };
    match sent {
        Ok(()) => attempt.taken = true,
        Err((what, hint)) => (attempt.trouble, attempt.hint) = (Some(what), hint),
    }
    attempt
}

fn message(recipient: &Recipient, setup: &Setup, now: Timestamp) -> Message {
    let key = format!("test-{}-{}", recipient.key(), now.as_millisecond());
    Message {
        thread: key.clone(),
        key,
        sequence: 1,
        kind: MessageKind::Test,
        recipient: recipient.clone(),
        created_at: now,
        priority: Priority::P4,
        level: Level::Ok,
        route: "test".to_owned(),
        group_labels: BTreeMap::new(),
        common_labels: BTreeMap::new(),
        subject: "[TEST] Pawang: messages get through".to_owned(),
        notices: Vec::new(),
        firing: 0,
        resolved: 0,
        left_out: 0,
        incident: None,
        link: setup.config.link.clone(),
        notes: vec![format!(
            "{} sent this with pawang notify test; nothing is wrong",
            environment::person()
        )],
    }
}

fn table(attempts: &[Attempt]) -> String {
    let mut grid = Grid::new(&["recipient", "address", "outcome", "what", "hint"]);
    for attempt in attempts {
        let outcome = if attempt.taken { "taken" } else { "not taken" };
        grid.row(vec![
            attempt.recipient.clone(),
            attempt.address.clone().unwrap_or_default(),
            outcome.to_owned(),
            attempt.trouble.clone().unwrap_or_default(),
            attempt.hint.clone().unwrap_or_default(),
        ]);
    }
    grid.text()
}
