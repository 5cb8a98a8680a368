//! `pawang drill run`: one drill, and what it proved.

use std::fmt::Write as _;
use std::path::PathBuf;

use jiff::tz::TimeZone;
use pawang_backup::drill::{Drilled, Findings, Probe, forecast};
use pawang_backup::repository::Phase;
use pawang_backup::restore::{RestorePlan, Source};
use pawang_config::BackupSettings;
use pawang_core::{ByteSize, Report};
use serde::Serialize;

use super::other;
use crate::cli::Global;
use crate::cli::restore::{Aim, Place, ScratchArgs, estate, until_signal};
use crate::environment;
use crate::output::{self, Exit};
use crate::recovering::Order;

const RANDOM: &str = "random";
/// Restore a backup into a scratch server, recover to a point, look through it, ask it, and write down the proof
///
/// The scratch server has no network, a socket in a closed folder, and no jobs or subscriptions of its source. pg_amcheck looks
/// through every table and index, every row is counted, and every probe of pawang.toml is asked; then everything is deleted.
/// What is wrong ends the command with 1 and is written into the repository as well.
///
/// With --repository pgbackrest or --repository barman a backup of that tool is restored by its own program, as the owner of
/// the folder of --scratch, to --to, or to the end of its archive; its restore_command runs under `pawang wal guard`. Its
/// repository is only read, and what was proven is written into the journal of Pawang.
///
/// Any other tool is named by its commands, for example
/// `pawang drill run --repository wal-g --major 16 --to TIME --restore-command 'wal-g wal-fetch %f %p' -- wal-g backup-fetch %d LATEST`:
/// the command behind -- runs as the owner of the folder of --scratch, without a shell, and restores into %d, tablespaces too; the server is
/// given restore_command as it stands. Where that command does not say honestly where the archive ends, a target is needed: PostgreSQL takes
/// every failure for the end, but refuses to end before its target.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) aim: Aim,
    #[command(flatten)]
    pub(super) place: Place,
    /// Stanza of pgBackRest, or server of Barman, when it has several
    #[arg(long, value_name = "NAME", hide_short_help = true)]
    pub(super) stanza: Option<String>,
    /// Configuration file of that tool, when it is not the usual one
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    pub(super) tool_config: Option<PathBuf>,
    /// Query whose first column must be true (repeatable), besides those of pawang.toml
    #[arg(long = "probe", value_name = "SQL")]
    probes: Vec<String>,
    /// Database of these queries
    #[arg(long, value_name = "NAME", default_value = "postgres")]
    database: String,
    #[command(flatten)]
    scratch: ScratchArgs,
    /// restore_command of a tool that is named by its command, as its manual gives it
    #[arg(
        long,
        value_name = "COMMAND",
        requires = "restore",
        hide_short_help = true
    )]
    pub(super) restore_command: Option<String>,
    /// Major version of the cluster that it restores
    #[arg(
        long,
        value_name = "NUMBER",
        requires = "restore",
        hide_short_help = true
    )]
    pub(super) major: Option<u32>,
    /// Command of any other tool that restores a backup into the folder %d
    #[arg(last = true, value_name = "COMMAND", hide_short_help = true)]
    pub(super) restore: Vec<String>,
    /// Do not look through tables and indexes; the backup is not proven then
    #[arg(long, hide_short_help = true)]
    no_amcheck: bool,
}

/// What is told of a drill.
#[derive(Serialize)]
struct Told<'a> {
    instance: &'a str,
    #[serde(flatten)]
    drilled: &'a Drilled,
    forecast_milliseconds: Option<u128>,
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    let estate = estate(global)?;
    if !args.restore.is_empty() {
        return other::run_foreign(args, &estate, global);
    }
    if let Some(kind) = other::meant(args.place.repository.as_deref(), &estate)? {
        return other::run(kind, args, &estate, global);
    }
    let report = |error: pawang_backup::Error| error.report();
    until_signal(async {
        let from = args.place.open(&estate, global).await?;
        let source = Source::read(&from.repository, &from.cluster)
            .await
            .map_err(report)?;
        let wanted = match args.is_random() {
            true => args.aim.with(from.random_target(&source).await?)?,
            false => args.aim.wanted(&TimeZone::system())?,
        };
        let wanted = args.aim.settled(wanted, &source);
        let plan = source
            .plan(&from.repository, &wanted)
            .await
            .map_err(report)?;
        let job = args.place.job(&estate, global)?;
        let configured = job.map(|job| estate.config.backup_settings(&job.config));
        let order = args.order(configured.as_ref());
        if !global.quiet {
            output::talk(plan.to_string().trim_end());
        }
        if let Some(instead) = order.programs_of(plan.cluster.major).await?.instead {
            output::talk(&instead);
        }
        let drilled = from
            .drill(&source, &plan, order, environment::now())
            .await?;
        tell(&from.name, &plan, &drilled, global)
    })
}

impl Args {
    fn is_random(&self) -> bool {
        !self.aim.is_said() || self.aim.to.as_deref() == Some(RANDOM)
    }

    pub(super) fn order(&self, configured: Option<&BackupSettings>) -> Order {
        let mut order = self.scratch.order(configured);
        order.amcheck = !self.no_amcheck;
        let probes = self.probes.iter().map(|sql| Probe {
            database: self.database.clone(),
            sql: sql.clone(),
            expect: None,
        });
        order.probes = probes.chain(order.probes).collect();
        order
    }
}

fn tell(
    name: &str,
    plan: &RestorePlan,
    drilled: &Drilled,
    global: &Global,
) -> Result<Exit, Report> {
    let Drilled { proof, findings } = drilled;
    let forecast = forecast(proof, plan.data_bytes, plan.wal_bytes());
    let good = proof.problems.is_empty();
    let exit = if good { Exit::Good } else { Exit::Answer };
    if global.json {
        let told = Told {
            instance: name,
            drilled,
            forecast_milliseconds: forecast.map(|forecast| forecast.as_millis()),
        };
        output::json("pawang.drill.run/1", &told)?;
        return Ok(exit);
    }
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = match (good, proof.whole) {
        (true, true) => writeln!(
            text,
            "proven     backup {} of {name}, recovered to {}",
            proof.backup, plan.target
        ),
        (true, false) => writeln!(
            text,
            "recovered  backup {} of {name} to {}; tables and indexes were not looked through, so it is not proven",
            proof.backup, plan.target
        ),
        (false, _) => writeln!(
            text,
            "NOT PROVEN backup {} of {name}, to {}",
            proof.backup, plan.target
        ),
    };
    let times = (proof.rto_milliseconds, proof.rpo_milliseconds);
    text.push_str(&measured(findings, &proof.phases, times));
    output::data(&text)?;
    Ok(exit)
}

/// Returns what was found and measured, one line each.
pub(super) fn measured(
    findings: &Findings,
    phases: &[Phase],
    (rto, rpo): (Option<u64>, Option<u64>),
) -> String {
    let mut text = String::new();
    for problem in &findings.problems {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "problem    {}", pawang_report::one_line(problem));
    }
    for phase in phases {
        let bytes = phase
            .bytes
            .map_or_else(String::new, |bytes| format!("  {}", ByteSize(bytes)));
        let _ = writeln!(
            text,
            "{:<10} {:>8.1} s{bytes}",
            phase.name,
            phase.milliseconds as f64 / 1000.0
        );
    }
    if let Some(rto) = rto {
        let _ = writeln!(
            text,
            "open after {:>8.1} s, from the order to a server that answers",
            rto as f64 / 1000.0
        );
    }
    if let Some(rpo) = rpo {
        let _ = writeln!(
            text,
            "newest     commit in the archive was {:.1} s old",
            rpo as f64 / 1000.0
        );
    }
    if findings.problems.is_empty() {
        let _ = writeln!(
            text,
            "looked at  {} tables with {} rows, {} probes",
            findings.tables, findings.rows, findings.probes
        );
    }
    text
}
