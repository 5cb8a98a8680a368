//! Backups: to which moments the server can be restored, how far that is proven, what WAL there is, and why each backup stays or goes.

use jiff::SignedDuration;
use maud::{Markup, html};
use pawang_chart::{Stretch, Timeline, TimelineRow};
use pawang_core::backup::{
    BackupPromise, BackupState, BackupSummary, OtherDrill, RecoverableWindow, RepositoryFacts,
    Survey,
};
use pawang_core::{ByteSize, Level, Span};
use pawang_store::live::{BackupsPresent, Present};

use super::parts::{dash, figure, known_at, or_dash, shell, without_secrets};
use super::{Page, PageError, Place, Visit};
use crate::words;

/// Backups that are drawn; the command shows all.
const BACKUPS_MAX: usize = 200;
/// Restores that are drawn.
const DRILLS_MAX: usize = 50;
/// Stretches of WAL that are written out.
const INTERVALS_MAX: usize = 50;
/// Checks whose findings stand on top of the page.
const CHECKS: [&str; 10] = [
    "rpo",
    "wal-gap",
    "drill-age",
    "verify-age",
    "rto",
    "backup-age",
    "backup-failed",
    "repository-space",
    "slot-risk",
    "archiver-failing",
];

/// Draws the page.
///
/// # Errors
/// There is no such instance.
pub(crate) fn render(visit: &Visit<'_>, name: &str) -> Result<Page, PageError> {
    let present = visit.instance(name)?;
    let known = visit.site.live.backups(name);
    let body = html! {
        @match known.as_deref() {
            None => (words::empty(
                "No repository holds backups of this server, or nobody looked into one yet: that takes a minute from the start of pawang serve.",
                Some(&format!("pawang backup setup -i {} --repo /srv/backup", shell(name))),
            )),
            Some(known) => (all(visit, &present, known)),
        }
        (words::command(&format!("pawang backup list -i {}", shell(name))))
    };
    Ok(Page {
        title: "Backups".to_owned(),
        place: Place::Backups,
        instance: Some(name.to_owned()),
        body,
        seen_at: known_at(&present),
    })
}

fn all(visit: &Visit<'_>, present: &Present, known: &BackupsPresent) -> Markup {
    let promise = &known.facts.promise;
    html! {
        (verdicts(visit, present))
        (plan(visit, known))
        @if !known.facts.others.is_empty() { (others(visit, &known.facts.others)) }
        @for repository in &known.facts.repositories {
            section id={ "repository-" (repository.name) } {
                h2 { "Repository " (repository.name) " " small { code { (without_secrets(&repository.place)) } } }
                (standing(visit, repository, promise))
                @match &repository.survey {
                    Err(blind) => (words::not_seen(blind)),
                    Ok(survey) => {
                        (figures(visit, survey, promise))
                        (timeline(visit, survey))
                        (backups(visit, survey))
                        (wal(visit, survey))
                        (drills(visit, survey))
                    }
                }
            }
        }
    }
}

/// What drills proved of the backups that other tools keep.
fn others(visit: &Visit<'_>, others: &[OtherDrill]) -> Markup {
    html! {
        section #other-tools {
            h2 { "Other tools" }
            div .wide { table {
                thead { tr { th scope="col" { "Tool" } th scope="col" { "Backups of" } th scope="col" { "Last drill" } th scope="col" { "Result" } th scope="col" { "Proven last" } th scope="col" { "What was found" } } }
                tbody { @for other in others { tr {
                    td { (other.tool) }
                    td { (other.set) }
                    td { (words::moment(visit.now, other.at)) }
                    td { span .pill.ok[other.passed].critical[!other.passed] { (if other.passed { "proven" } else { "failed" }) } }
                    td { @match &other.proven {
                        Some((backup, at)) => { code { (backup) } " " (words::moment(visit.now, *at)) },
                        None => (dash("none was ever proven")),
                    } }
                    td { (found(&other.detail)) }
                } } }
            } }
        }
    }
}

/// What the checks say: the page judges nothing itself.
fn verdicts(visit: &Visit<'_>, present: &Present) -> Markup {
    let evaluation = present.evaluation.as_deref();
    let verdicts = evaluation.map_or(&[][..], |evaluation| &evaluation.verdicts);
    let of_backups = verdicts.iter();
    let of_backups = of_backups.filter(|it| CHECKS.contains(&it.check.as_str()));
    let findings = of_backups.flat_map(|verdict| &verdict.findings);
    html! {
        @for finding in findings {
            div .notice.(finding.level.as_str()) { (words::glyph(finding.level)) div {
                p { a href=(visit.link(&format!("/findings/{}", words::encode(&finding.fingerprint)))) { (finding.check) } " " (without_secrets(&finding.title)) }
                p .muted { (without_secrets(&finding.remedy)) }
            } }
        }
    }
}

fn plan(visit: &Visit<'_>, known: &BackupsPresent) -> Markup {
    html! {
        p .lead {
            @match (&known.window, known.open_until, known.opens_at) {
                (None, ..) => "Only people take backups: [backup] has no window.",
                (Some(_), Some(until), _) => { "The window for backups is open until " (words::moment(visit.now, until)) "." },
                (Some(window), None, Some(at)) => { "Backups are taken in the window " b { (window) } ", next " (words::moment(visit.now, at)) "." },
                (Some(window), None, None) => { "The window " b { (window) } " never opens again." },
            }
        }
        @if !known.running.is_empty() {
            ul { @for work in &known.running { li {
                b { (work.work) } " into " (work.repository) " since " (words::moment(visit.now, work.since))
                @if !work.progress.is_empty() { ": " (work.progress) }
            } } }
        }
    }
}

fn standing(visit: &Visit<'_>, repository: &RepositoryFacts, promise: &BackupPromise) -> Markup {
    let (level, why) = repository.standing(promise, visit.now);
    html! {
        p { (words::badge(level)) " "
            @if level == Level::Ok { b { "Proven" } ": " }
            (without_secrets(&why)) ", looked at " (words::ago(visit.now, repository.at)) "." }
        @for trouble in &repository.troubles {
            div .notice.warning { (words::glyph(Level::Warning)) div {
                p { b { (trouble.work) } " went wrong " (words::ago(visit.now, trouble.at)) ": " (without_secrets(&trouble.what)) }
            } }
        }
    }
}

fn figures(visit: &Visit<'_>, survey: &Survey, promise: &BackupPromise) -> Markup {
    let windows = survey.windows();
    let proof = survey.last_proof();
    let rto = proof.and_then(|(_, proof)| proof.rto);
    let seconds = |length: std::time::Duration| words::duration(length.as_secs_f64());
    let promised = |length: Option<std::time::Duration>| {
        length.map_or_else(
            || "nothing was promised".to_owned(),
            |length| format!("promised: {}", seconds(length)),
        )
    };
    html! {
        dl .figures {
            (figure("recoverable", recoverable(visit, &windows), "to any moment in between the server can be restored"))
            (figure("WAL stored", stored(visit, survey), &promised(promise.rpo)))
            (figure("last proof", match proof {
                Some((_, proof)) => words::ago(visit.now, proof.at),
                None => dash("no backup was ever proven by a restore"),
            }, "when a restore last started a server and it answered"))
            (figure("read again", match survey.read_since() {
                Some(since) => words::ago(visit.now, since),
                None => dash("there is no backup"),
            }, &format!("when what was not read for longest was read; promised: within {}", seconds(promise.verify_every))))
            (figure("restore takes", or_dash(rto.map(seconds), "never measured"), &promised(promise.rto)))
            (figure("backups", html! { (survey.backups.len()) }, "backups that exist"))
            (figure("takes", html! { (ByteSize(survey.used_bytes)) }, "what this server takes in the repository"))
            (figure("free", or_dash(survey.free_bytes.map(|free| ByteSize(free).to_string()), "a bucket does not tell"), "where the repository lies"))
        }
    }
}

fn recoverable(visit: &Visit<'_>, windows: &[RecoverableWindow]) -> Markup {
    let (Some(first), Some(last)) = (windows.first(), windows.last()) else {
        return dash("no backup can be restored");
    };
    html! {
        (words::moment(visit.now, first.from)) " – " (words::moment(visit.now, last.to))
        @if windows.len() > 1 { " " small { "with " (windows.len() - 1) " gaps" } }
    }
}

fn stored(visit: &Visit<'_>, survey: &Survey) -> Markup {
    match survey.wal.durable_at.max(survey.wal.complete_at) {
        Some(at) => words::ago(visit.now, at),
        None => dash("there is no WAL"),
    }
}

/// Draws backups, WAL, windows and restores over the time that the repository knows.
fn timeline(visit: &Visit<'_>, survey: &Survey) -> Markup {
    let first = survey.backups.iter().map(|backup| backup.started_at).min();
    let Some(first) = first else {
        return html! {};
    };
    // A repository that began a minute ago still has an axis.
    let least = visit.now - SignedDuration::from_hours(1);
    let of_kind = |full: bool| TimelineRow {
        name: if full { "full" } else { "incremental" }.to_owned(),
        stretches: survey
            .backups
            .iter()
            .filter(|backup| (backup.kind == "full") == full)
            .map(|backup| Stretch {
                from: backup.started_at,
                to: backup.ended_at,
                level: level(backup),
                title: format!("{}, {}", backup.id, backup.state.name()),
            })
            .collect(),
        marks: Vec::new(),
    };
    let windows = survey.windows().into_iter().map(|window| Stretch {
        from: window.from,
        to: window.to,
        level: Level::Ok,
        title: "any moment can be restored".to_owned(),
    });
    let drills = survey.drills().map(|(backup, proof)| {
        let level = if proof.passed {
            Level::Ok
        } else {
            Level::Critical
        };
        (proof.at, level, format!("{}: {}", backup.id, proof.detail))
    });
    let row = |name: &str, stretches, marks| TimelineRow {
        name: name.to_owned(),
        stretches,
        marks,
    };
    let timeline = Timeline {
        title: "What could be restored",
        span: Span {
            from: first.min(least),
            to: visit.now,
        },
        rows: vec![
            of_kind(true),
            of_kind(false),
            row("recoverable", windows.collect(), Vec::new()),
            row("restores", Vec::new(), drills.collect()),
        ],
    };
    timeline.draw()
}

/// The colour of a backup: green is only what a restore proved.
fn level(backup: &BackupSummary) -> Level {
    match backup.state {
        _ if !backup.whole() => Level::Critical,
        BackupState::Proven => Level::Ok,
        _ => Level::Info,
    }
}

fn backups(visit: &Visit<'_>, survey: &Survey) -> Markup {
    let more = survey.backups.len().saturating_sub(BACKUPS_MAX);
    html! {
        h3 { "Backups" }
        @if survey.backups.is_empty() { p { "There is none." } }
        @else {
            div .wide { table {
                thead { tr {
                    th scope="col" { "Backup" } th scope="col" { "Kind" } th scope="col" { "Ended" } th scope="col" { "State" }
                    th .number scope="col" { "Data" } th .number scope="col" { "Stored" } th .number scope="col" { "Pages" }
                    th scope="col" { "Stays or goes" }
                } }
                tbody { @for backup in survey.backups.iter().rev().take(BACKUPS_MAX) { (backup_row(visit, backup)) } }
            } }
            @if more > 0 { p .muted { (more) " older ones; the command below shows all" } }
        }
    }
}

fn backup_row(visit: &Visit<'_>, backup: &BackupSummary) -> Markup {
    html! { tr {
        td { code { (backup.id) }
            @if let Some(parent) = &backup.parent { br; small .muted { "stands on " (parent) } } }
        td { (backup.kind) }
        td { (words::moment(visit.now, backup.ended_at)) }
        td .words {
            span .pill.(level(backup).as_str()) { (backup.state.name()) }
            @if let Some(broken) = &backup.broken { " " (without_secrets(broken)) }
            @if backup.state == BackupState::Failed {
                @for proof in backup.proofs.iter().rev().filter(|proof| !proof.passed).take(1) { " " (found(&proof.detail)) }
            }
        }
        td .number { (ByteSize(backup.data_bytes)) }
        td .number { (ByteSize(backup.stored_bytes)) }
        td .number { @match (backup.pages_checked, backup.pages_wrong) {
            (0, _) => (dash("the server has no page checksums, or they were not checked")),
            (checked, 0) => (words::number(checked as f64)),
            (_, wrong) => span .pill.critical { (wrong) " wrong" },
        } }
        td .words { @if let Some(held) = &backup.held { b { "held" } ": " (without_secrets(held)) ". " } (backup.fate) }
    } }
}

/// Shows what a proof found; the words of a server behind its first line only when they are asked for.
fn found(detail: &str) -> Markup {
    let shown = without_secrets(detail);
    match shown.split_once('\n') {
        None => html! { (shown) },
        Some((first, rest)) => html! { details { summary { (first) } pre { (rest) } } },
    }
}

fn wal(visit: &Visit<'_>, survey: &Survey) -> Markup {
    let wal = &survey.wal;
    html! {
        h3 { "WAL " small { (ByteSize(wal.stored_bytes)) } }
        @for conflict in &wal.conflicts {
            div .notice.critical { (words::glyph(Level::Critical)) div { p { "Two contents of " code { (conflict) } ": two servers write into this repository." } } }
        }
        @for gap in &wal.gaps {
            p { (words::badge(match (gap.needed, gap.healed) { (true, false) => Level::Critical, (true, true) => Level::Warning, _ => Level::Info }))
                " Missing on timeline " (gap.timeline) " from " code { (gap.from) } " to " code { (gap.to) }
                @if !gap.needed { ", and no backup that is kept needs it" }
                @else if gap.healed { ", and a later backup begins behind it" } }
        }
        @if wal.intervals.is_empty() { p { "There is none: a backup restores to the moment at which it ended, and to no later one." } }
        @else {
            div .wide { table {
                thead { tr { th scope="col" { "Timeline" } th scope="col" { "From" } th scope="col" { "To" } th .number scope="col" { "WAL" } th scope="col" { "Stored" } } }
                tbody { @for interval in wal.intervals.iter().rev().take(INTERVALS_MAX) { tr {
                    td { (interval.timeline) }
                    td { code { (interval.from) } }
                    td { code { (interval.to) } }
                    td .number { (ByteSize(interval.to.bytes_since(interval.from))) }
                    td { @match interval.stored_at { Some(at) => (words::moment(visit.now, at)), None => (dash("not known")) } }
                } } }
            } }
        }
    }
}

fn drills(visit: &Visit<'_>, survey: &Survey) -> Markup {
    let mut drills: Vec<_> = survey.drills().collect();
    drills.sort_by_key(|(_, proof)| std::cmp::Reverse(proof.at));
    html! {
        h3 { "Restores that were tried" }
        @if drills.is_empty() { p .muted { "None. A backup is green only when a restore has proven it: pawang drill run" } }
        @else {
            div .wide { table {
                thead { tr { th scope="col" { "When" } th scope="col" { "Backup" } th scope="col" { "Result" } th .number scope="col" { "Took" } th scope="col" { "What was found" } } }
                tbody { @for (backup, proof) in drills.into_iter().take(DRILLS_MAX) { tr {
                    td { (words::moment(visit.now, proof.at)) }
                    td { code { (backup.id) } }
                    td { span .pill.ok[proof.passed].critical[!proof.passed] { (if proof.passed { "proven" } else { "failed" }) } }
                    td .number { (or_dash(proof.rto.map(|took| words::duration(took.as_secs_f64())), "not measured")) }
                    td { (found(&proof.detail)) }
                } } }
            } }
        }
        @if !survey.leases.is_empty() {
            h3 { "Who works on it" }
            ul { @for lease in &survey.leases { li { b { (lease.work) } " by " (lease.holder) ", claimed until " (words::moment(visit.now, lease.until)) } } }
        }
    }
}
