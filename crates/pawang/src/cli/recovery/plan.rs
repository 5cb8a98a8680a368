//! `pawang recovery plan`: promised, configured and measured, and the playbook, in Markdown.

use std::fmt::Write as _;
use std::time::Duration;

use pawang_backup::drill::forecast;
use pawang_backup::repository::Proof;
use pawang_backup::restore::{REPLAY, Source};
use pawang_config::BackupSettings;
use pawang_core::{Report, Timestamp};
use serde::Serialize;

use super::playbook::{self, Way};
use crate::cli::Global;
use crate::cli::restore::estate;
use crate::each::each;
use crate::environment;
use crate::estate::{Estate, Job};
use crate::output::{self, Exit};
use crate::repositories;

/// Write the recovery plan of each instance as Markdown: promises, facts, and what to do when data are lost
///
/// Print it and keep it where the servers are not: it is needed when nothing answers.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

/// What is told of one instance.
#[derive(Serialize)]
struct Planned {
    instance: String,
    promised_rpo_seconds: Option<u64>,
    promised_rto_seconds: Option<u64>,
    streams_wal: bool,
    repositories: Vec<Kept>,
}

/// What one repository holds of an instance.
#[derive(Serialize)]
struct Kept {
    name: String,
    place: String,
    /// Why nothing is known of it.
    trouble: Option<String>,
    backups: usize,
    /// What is wrong with the first backup that is there and cannot be read.
    unreadable: Option<String>,
    newest_ended_at: Option<Timestamp>,
    first_possible_at: Option<Timestamp>,
    last_commit_at: Option<Timestamp>,
    drill: Option<Proof>,
    forecast_seconds: Option<u64>,
    #[serde(skip)]
    way: Way,
}

/// Runs the command.
pub(super) fn run(_: &Args, global: &Global) -> Result<Exit, Report> {
    let estate = estate(global)?;
    let jobs = estate.jobs(&global.instances, None)?;
    let planned = each(&estate, &jobs, async |job| planned(&estate, job).await)?;
    let Some(planned) = planned else {
        return Ok(Exit::Interrupted);
    };
    if global.json {
        output::json("pawang.recovery.plan/1", &planned)?;
    } else {
        output::data(&text(&planned, environment::now()))?;
    }
    let mut kept = planned.iter().flat_map(|one| &one.repositories);
    // What is written stands for what was seen; a plan that lacks a repository must not pass for a whole one.
    Ok(match kept.any(|kept| kept.trouble.is_some()) {
        true => Exit::Target,
        false => Exit::Good,
    })
}

async fn planned(estate: &Estate, job: &Job) -> Planned {
    let settings: BackupSettings = estate.config.backup_settings(&job.config);
    let name = &job.instance.name;
    let mut kept = Vec::new();
    for opened in repositories::open_all(&estate.config, &settings.repositories).await {
        let mut one = Kept {
            name: opened.config.name.clone(),
            place: opened.config.place.clone(),
            trouble: None,
            backups: 0,
            unreadable: None,
            newest_ended_at: None,
            first_possible_at: None,
            last_commit_at: None,
            drill: None,
            forecast_seconds: None,
            way: Way::of(opened.config),
        };
        if let Err(report) = look(&mut one, opened.repository, name).await {
            one.trouble = Some(words(&report));
        }
        kept.push(one);
    }
    Planned {
        instance: name.clone(),
        promised_rpo_seconds: settings.rpo.map(|promise| promise.as_secs()),
        promised_rto_seconds: settings.rto.map(|promise| promise.as_secs()),
        streams_wal: settings.stream,
        repositories: kept,
    }
}

async fn look(
    kept: &mut Kept,
    repository: Result<pawang_backup::Repository, Report>,
    name: &str,
) -> Result<(), Report> {
    let repository = repository?;
    let report = |error: pawang_backup::Error| error.report();
    let cluster = repositories::cluster(&repository, name, None).await;
    let Some(cluster) = cluster.map_err(report)? else {
        return nobody_knows_whose(&repository).await.map_err(report);
    };
    kept.way.cluster = Some(cluster);
    let source = Source::read(&repository, &cluster).await.map_err(report)?;
    kept.backups = source.commits.len();
    kept.unreadable = source.damaged.first().map(|passed| passed.why.clone());
    kept.newest_ended_at = source.commits.last().map(|commit| commit.ended_at);
    kept.first_possible_at = source.commits.first().map(|commit| commit.ended_at);
    let good = source
        .drills
        .iter()
        .rev()
        .find(|proof| proof.problems.is_empty());
    let bytes = source.commits.last().map(|commit| commit.server.data_bytes);
    let forecast = good.zip(bytes).and_then(|(proof, bytes)| {
        let replayed = proof.phases.iter().find(|phase| phase.name == REPLAY);
        forecast(
            proof,
            bytes,
            replayed.and_then(|phase| phase.bytes).unwrap_or(0),
        )
    });
    kept.forecast_seconds = forecast.map(|forecast| forecast.as_secs().max(1));
    kept.drill = source.drills.last().cloned();
    let last = source.last_commit(&repository).await.map_err(report)?;
    kept.last_commit_at = last.map(|commit| commit.at);
    Ok(())
}

/// A backup that cannot be read may be of any instance: none is said to have no backup then.
async fn nobody_knows_whose(
    repository: &pawang_backup::Repository,
) -> Result<(), pawang_backup::Error> {
    for cluster in repository.clusters().await? {
        let (_, damaged) = repository.readable_backups(&cluster).await?;
        if let Some((_, error)) = damaged.into_iter().next() {
            return Err(error);
        }
    }
    Ok(())
}

fn words(report: &Report) -> String {
    match &report.detail {
        Some(detail) => format!("{}: {detail}", report.primary),
        None => report.primary.clone(),
    }
}

fn text(planned: &[Planned], now: Timestamp) -> String {
    let mut text = format!("# Recovery plan\n\nWritten {now:.0}.\n");
    for one in planned {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n## {}\n\n", one.instance);
        facts(&mut text, one, now);
        let (seen, unseen): (Vec<&Kept>, Vec<&Kept>) = one
            .repositories
            .iter()
            .partition(|kept| kept.trouble.is_none());
        let ways: Vec<&Way> = seen
            .into_iter()
            .chain(unseen)
            .map(|kept| &kept.way)
            .collect();
        playbook::write(&mut text, &one.instance, &ways);
    }
    text
}

fn facts(text: &mut String, one: &Planned, now: Timestamp) {
    let span = |seconds: u64| {
        format!(
            "{:#}",
            jiff::SignedDuration::from_secs(seconds.cast_signed())
        )
    };
    let promise = |seconds: Option<u64>| seconds.map_or_else(|| "not promised".to_owned(), span);
    let best = one
        .repositories
        .iter()
        .filter(|kept| kept.trouble.is_none());
    let measured = best
        .clone()
        .filter_map(|kept| kept.drill.as_ref()?.rto_milliseconds)
        .min();
    let forecast = best.filter_map(|kept| kept.forecast_seconds).min();
    let receives = if one.streams_wal {
        "WAL is received as it is written"
    } else {
        "Pawang receives no WAL: only what archive_command brings, where it is set"
    };
    let unknown = || "not measured: pawang drill run".to_owned();
    let newest = match newest(&one.repositories, now) {
        Ok(age) => {
            let unseen = one.repositories.iter().any(|kept| kept.trouble.is_some());
            let known = if unseen { " of what was seen" } else { "" };
            let age = span(age);
            format!("the newest commit{known} that can be restored is {age} old")
        }
        Err(why) => why.to_owned(),
    };
    let took = measured.map_or_else(unknown, |value| {
        format!(
            "{} in the last drill",
            span(Duration::from_millis(value).as_secs().max(1))
        )
    });
    let takes = forecast.map_or_else(String::new, |seconds| {
        format!("; about {} at today's size", span(seconds))
    });
    let _ = write!(
        text,
        "| | promised | measured | configured |\n|---|---|---|---|\n\
         | data that may be lost (RPO) | {} | {newest} | {receives} |\n\
         | time until it is back (RTO) | {} | {took}{takes} | |\n\n",
        promise(one.promised_rpo_seconds),
        promise(one.promised_rto_seconds),
    );
    places(text, one);
}

/// Returns how many seconds old the newest commit is that can be restored, or why that is not known.
fn newest(repositories: &[Kept], now: Timestamp) -> Result<u64, &'static str> {
    let seen = || repositories.iter().filter(|kept| kept.trouble.is_none());
    if let Some(last) = seen().filter_map(|kept| kept.last_commit_at).max() {
        return Ok(u64::try_from(now.duration_since(last).as_secs()).unwrap_or(0));
    }
    Err(if seen().any(|kept| kept.newest_ended_at.is_some()) {
        "unknown: no commit is in the WAL behind the backups"
    } else if repositories.iter().any(|kept| kept.trouble.is_some()) {
        "unknown: a repository was not seen"
    } else {
        "nothing can be restored: there is no backup"
    })
}

fn places(text: &mut String, one: &Planned) {
    for kept in &one.repositories {
        let _ = write!(text, "- Repository `{}` at `{}`: ", kept.name, kept.place);
        let _ = match (&kept.trouble, kept.first_possible_at, kept.newest_ended_at) {
            (Some(trouble), ..) => writeln!(text, "**not seen**: {trouble}"),
            (_, Some(first), Some(newest)) => writeln!(
                text,
                "backups: {}, the first of {first:.0}, the newest of {newest:.0}; {}{}",
                kept.backups,
                proven(kept.drill.as_ref()),
                unreadable(kept.unreadable.as_deref())
            ),
            _ if kept.unreadable.is_some() => {
                let why = kept.unreadable.as_deref().unwrap_or_default();
                writeln!(text, "**no backup that can be read**: {why}")
            }
            _ => writeln!(
                text,
                "**no backup**: pawang backup create -i {}",
                one.instance
            ),
        };
    }
    if one.repositories.is_empty() {
        let _ = writeln!(
            text,
            "- **No repository holds its backups**: pawang backup setup -i {} --repo /srv/backup",
            one.instance
        );
    }
}

fn unreadable(why: Option<&str>) -> String {
    why.map_or_else(String::new, |why| {
        format!("; **a backup cannot be read**: {why}")
    })
}

fn proven(drill: Option<&Proof>) -> String {
    match drill {
        None => "**never proven**".to_owned(),
        Some(proof) => match proof.problems.first() {
            None => format!("proven {:.0}", proof.ended_at),
            Some(problem) => format!("**the drill of {:.0} failed**: {problem}", proof.ended_at),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_not_called_lost() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let kept = |trouble: Option<&str>, ended: Option<&str>, commit: Option<&str>| Kept {
            name: "main".to_owned(),
            place: "/srv/backup".to_owned(),
            trouble: trouble.map(str::to_owned),
            backups: usize::from(ended.is_some()),
            unreadable: None,
            newest_ended_at: ended.map(at),
            first_possible_at: ended.map(at),
            last_commit_at: commit.map(at),
            drill: None,
            forecast_seconds: None,
            way: Way::default(),
        };
        let now = at("2026-11-22T08:01:00Z");
        let ended = Some("2026-11-22T07:00:00Z");
        let said = |repositories: &[Kept]| newest(repositories, now).map_err(str::to_owned);
        let commit = kept(None, ended, Some("2026-11-22T08:00:00Z"));
        assert_eq!(said(&[kept(None, ended, None), commit]), Ok(60));
        let why = |repositories: &[Kept]| said(repositories).unwrap_err();
        assert!(why(&[kept(None, ended, None)]).starts_with("unknown: no commit"));
        let unseen = kept(Some("away"), None, None);
        assert!(why(&[kept(None, None, None), unseen]).contains("not seen"));
        assert!(why(&[kept(None, None, None)]).starts_with("nothing can be restored"));
    }
}
