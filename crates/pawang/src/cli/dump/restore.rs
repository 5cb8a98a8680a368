//! `pawang dump restore`: a database of a dump, into one that is new.

use std::path::PathBuf;

use pawang_backup::dump::{self, RestoreRequest};
use pawang_core::{ByteSize, Report};
use pawang_postgres::Session;
use serde_json::json;

use crate::cli::Global;
use crate::cli::account::state;
use crate::cli::confirm::Agreement;
use crate::cli::restore::{estate, until_signal};
use crate::environment;
use crate::estate::Job;
use crate::output::{self, Exit};

/// What the journal calls it.
const ACTION: &str = "dump.restore";

/// Restore a database of a dump into a new database, or into one that is empty; never over anything
///
/// The database is made with the encoding and locale that it had, and filled in one transaction by pg_restore.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Name of the dump, or as much of its begin or end as no other has; `latest` for the newest
    #[arg(value_name = "DUMP")]
    dump: String,
    /// Database of the dump
    #[arg(long, value_name = "NAME")]
    database: String,
    /// Database that is made
    #[arg(long, value_name = "NAME")]
    into: String,
    /// Instance that was dumped, when it is another than the one that is restored into
    #[arg(long, value_name = "INSTANCE")]
    from: Option<String>,
    /// Leave out owners and privileges, as where their roles are not there
    #[arg(long)]
    no_owner: bool,
    /// Only this repository of pawang.toml
    #[arg(long, value_name = "NAME", visible_alias = "repo")]
    repository: Option<String>,
    /// Folder of the client programs, when it is none of the usual
    #[arg(
        long,
        value_name = "DIR",
        visible_alias = "programs",
        hide_short_help = true
    )]
    bindir: Option<PathBuf>,
    #[command(flatten)]
    agreement: Agreement,
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    let estate = estate(global)?;
    let job = super::only(&estate, &global.instances)?;
    let dumped = match &args.from {
        Some(name) => super::only(&estate, std::slice::from_ref(name))?,
        None => super::only(&estate, &global.instances)?,
    };
    let mut found = None;
    let exit = until_signal(async {
        let repository = args.repository.as_deref();
        let one = super::one(&estate, &dumped, repository, &args.dump).await?;
        let request = request(args, &job, &one).await?;
        let made = dump::has_to_be_made(&request).await;
        found = Some((one, request, made.map_err(|error| error.report())?));
        Ok(Exit::Good)
    })?;
    let Some((found, request, made)) = found else {
        return Ok(exit);
    };
    if !global.quiet {
        output::talk(&format!(
            "database \"{}\" of dump {} ({:.0}) is restored into database \"{}\" of {}, which is {}",
            args.database,
            found.dump.dump,
            found.dump.ended_at,
            args.into,
            job.instance.name,
            if made { "made" } else { "there and empty" }
        ));
    }
    args.agreement.ask(&job)?;
    let journal = state::open(global)?;
    let tell = |outcome: &str, detail: &str| {
        let entry = pawang_store::state::Entry {
            at: environment::now(),
            actor: format!("cli:{}", environment::person()),
            action: ACTION.to_owned(),
            object: format!("{} {}", job.instance.name, args.into),
            outcome: outcome.to_owned(),
            detail: json!({ "dump": found.dump.dump, "database": args.database, "detail": detail }),
        };
        let written = journal.journal(&entry).map(drop);
        written.map_err(|error| error.report())
    };
    tell("begun", "")?;
    let mut bytes = 0;
    let done = until_signal(async {
        bytes = fill(&request, &found).await?;
        Ok(Exit::Good)
    });
    match &done {
        Ok(Exit::Good) => tell("done", "")?,
        Ok(_) => tell("failed", "interrupted")?,
        Err(report) => tell("failed", &report.primary)?,
    }
    let exit = done?;
    if matches!(exit, Exit::Good) {
        if global.json {
            let told = json!({ "dump": found.dump.dump, "database": args.into, "bytes": bytes });
            output::json("pawang.dump.restore/1", &told)?;
        } else {
            let size = ByteSize(bytes);
            let into = &args.into;
            output::data(&format!(
                "database \"{into}\" of {} has all of it, {size} as dumped\n",
                job.instance.name
            ))?;
        }
    }
    Ok(exit)
}

async fn request(args: &Args, job: &Job, found: &super::Found) -> Result<RestoreRequest, Report> {
    let session = Session::connect(&job.target, "dump").await;
    let session = session.map_err(|error| error.report())?;
    // What a later program wrote, an older one does not read.
    let dumped = found.dump.server_version / 10_000;
    let major = dumped.max(session.server.version / 10_000);
    Ok(RestoreRequest {
        target: job.target.clone(),
        client: super::programs(major, args.bindir.as_ref()).await?,
        from: args.database.clone(),
        into: args.into.clone(),
        no_owner: args.no_owner,
    })
}

async fn fill(request: &RestoreRequest, found: &super::Found) -> Result<u64, Report> {
    let (cluster, dump) = (&found.cluster, &found.dump);
    let filled = dump::restore(&found.repository, cluster, dump, request).await;
    filled.map_err(|error| error.report())
}
