//! `pawang backup verify`: a backup is read again, without a server, and what was found is kept as a proof.

use pawang_backup::Error;
use pawang_backup::take::THREADS;
use pawang_backup::verify::{Depth, VerifySettings, verify};
use pawang_core::Report;
use serde_json::json;

use super::find::{Which, find, only};
use crate::cli::Global;
use crate::each::each;
use crate::environment;
use crate::estate::{Estate, told};
use crate::output::{self, Exit};
use crate::taking;

/// Read a backup again: bytes as they were stored, files as the manifest says, pages with their checksums, its WAL
///
/// What is found is kept in the repository as a proof. It ends with 1 when something is wrong. It proves less than a restore:
/// pawang drill run.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    which: Which,
    /// Only the bytes as they are stored, not the files and pages inside
    #[arg(long)]
    bytes_only: bool,
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    let estate = Estate::load(global.config.as_deref()).map_err(told)?;
    let job = only(&estate, global)?;
    let settings = VerifySettings {
        depth: if args.bytes_only {
            Depth::Hashed
        } else {
            Depth::Pages
        },
        parts: None,
        pace: None,
        threads: THREADS,
        owner: taking::owner()?.word,
        tool: format!("pawang {}", env!("CARGO_PKG_VERSION")),
        clock: environment::now,
    };
    let looked = each(&estate, std::slice::from_ref(&job), async |job| {
        let found = find(&estate, job, &args.which).await?;
        let proof = verify(&found.repository, &found.cluster, found.id(), &settings).await;
        let proof = proof.map_err(|error: Error| error.report())?;
        let proof = proof.unwrap_or_else(|| unreachable!("nothing ends it early"));
        Ok::<_, Report>((found.name, proof))
    })?;
    let Some(mut looked) = looked else {
        return Ok(Exit::Interrupted);
    };
    let (repository, proof) = looked
        .pop()
        .unwrap_or_else(|| unreachable!("one instance was asked"))?;
    let good = proof.problems.is_empty();
    if global.json {
        let data = json!({
            "instance": job.instance.name,
            "repository": repository,
            "proof": proof,
        });
        output::json("pawang.backup.verify/1", &data)?;
    } else {
        let id = &proof.backup;
        let word = if good {
            "is as it was"
        } else {
            "is not as it was"
        };
        let mut out = format!("{id} in \"{repository}\" {word}\n");
        for problem in &proof.problems {
            out.push_str(&format!("  {}\n", pawang_report::one_line(problem)));
        }
        output::data(&out)?;
    }
    Ok(if good { Exit::Good } else { Exit::Answer })
}
