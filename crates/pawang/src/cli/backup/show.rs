//! `pawang backup show`: one backup, with what was proven of it.

use std::fmt::Write;

use pawang_backup::survey::{Memory, survey};
use pawang_core::backup::BackupSummary;
use pawang_core::{ByteSize, Kind, Report};
use serde_json::json;

use super::find::{Found, Which, find, only};
use crate::cli::Global;
use crate::each::each;
use crate::environment;
use crate::estate::{Estate, told};
use crate::output::{self, Exit, counted};
use crate::repositories;

/// Show one backup: what it is made of, what was proven of it, why it stays or goes
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    which: Which,
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    let estate = Estate::load(global.config.as_deref()).map_err(told)?;
    let job = only(&estate, global)?;
    let settings = estate.config.backup_settings(&job.config);
    let policy = repositories::policy(&settings.retention);
    let now = environment::now();
    let looked = each(&estate, std::slice::from_ref(&job), async |job| {
        let found = find(&estate, job, &args.which).await?;
        let mut memory = Memory::default();
        let survey = survey(&found.repository, &found.cluster, &policy, &mut memory, now).await;
        let survey = survey.map_err(|error| error.report())?;
        let summary = survey.backups.into_iter();
        let summary = summary.into_iter().find(|it| it.id == found.id().as_str());
        let summary = summary.ok_or_else(|| {
            Report::new(
                Kind::Target,
                format!("backup \"{}\" was deleted just now", found.id()),
            )
        })?;
        Ok::<_, Report>((found, summary))
    })?;
    let Some(mut looked) = looked else {
        return Ok(Exit::Interrupted);
    };
    let (found, summary) = looked
        .pop()
        .unwrap_or_else(|| unreachable!("one instance was asked"))?;
    if global.json {
        let data = json!({
            "instance": job.instance.name,
            "repository": found.name,
            "summary": summary,
            "commit": found.commit,
        });
        output::json("pawang.backup.show/1", &data)?;
    } else {
        output::data(&text(&found, &summary))?;
    }
    let good = summary.whole();
    Ok(if good { Exit::Good } else { Exit::Answer })
}

fn text(found: &Found, summary: &BackupSummary) -> String {
    let commit = &found.commit;
    let mut out = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(out, "{name:<12}  {value}");
    };
    line("backup", summary.id.clone());
    line(
        "repository",
        format!("{}, {}", found.name, found.repository.place()),
    );
    line("cluster", found.cluster.to_string());
    line(
        "server",
        format!(
            "\"{}\", PostgreSQL {}{}",
            commit.server.instance,
            commit.server.version / 10_000,
            if commit.server.standby {
                ", a standby"
            } else {
                ""
            }
        ),
    );
    line(
        "kind",
        match &summary.parent {
            Some(parent) => format!("{}, stands on {parent}", summary.kind),
            None => summary.kind.clone(),
        },
    );
    line("state", summary.state.name().to_owned());
    if let Some(broken) = &summary.broken {
        line("broken", broken.clone());
    }
    line("began", format!("{:.0}", summary.started_at));
    line("ended", format!("{:.0}", summary.ended_at));
    content(&mut line, found, summary);
    out
}

/// Adds what is in it and what is known of that.
fn content(line: &mut dyn FnMut(&str, String), found: &Found, summary: &BackupSummary) {
    let commit = &found.commit;
    line(
        "WAL",
        format!(
            "timeline {}, {} to {}",
            summary.timeline, summary.start, summary.stop
        ),
    );
    line("data", ByteSize(summary.data_bytes).to_string());
    line(
        "stored",
        format!(
            "{} in {}",
            ByteSize(summary.stored_bytes),
            counted(commit.parts.len() as u64, "part")
        ),
    );
    line(
        "pages",
        match (summary.pages_checked, summary.pages_wrong) {
            (0, _) => "not checked".to_owned(),
            (checked, 0) => format!("{checked} checked, all right"),
            (checked, wrong) => format!("{checked} checked, {wrong} wrong"),
        },
    );
    for bad in &commit.pages.bad {
        let relation = bad.relation.as_deref().unwrap_or(&bad.file);
        line(
            "",
            format!("{relation}, block {}: {}", bad.block, bad.problem),
        );
    }
    for tablespace in &commit.tablespaces {
        line(
            "tablespace",
            format!("{} at {}", tablespace.oid, tablespace.location),
        );
    }
    for proof in &summary.proofs {
        let word = if proof.passed {
            proof.state.name()
        } else {
            "failed"
        };
        let took = proof.rto.map_or_else(String::new, |took| {
            format!(" in {:.0} s", took.as_secs_f64())
        });
        line(
            "proof",
            format!("{:.0}  {word}{took}  {}", proof.at, proof.detail),
        );
    }
    if let Some(held) = &summary.held {
        line("held", held.clone());
    }
    line("fate", summary.fate.clone());
    line("made by", commit.tool.clone());
}
