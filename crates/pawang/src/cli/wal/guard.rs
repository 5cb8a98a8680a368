//! `pawang wal guard`: another tool's `restore_command`, made honest.

use std::path::PathBuf;

use pawang_backup::other::{Guarded, Verdict, guard};
use pawang_core::Report;

use super::place::{server_of, wait};
use crate::output::Exit;

/// Guard the restore_command of another tool: 'pawang wal guard -- pgbackrest --stanza=main archive-get %f %p'
///
/// PostgreSQL takes every exit code from 1 to 125 for the end of the archive: it stops replaying, and takes new writes. So
/// do other tools end for a file that is damaged or missing in the middle, and for a store that is down. The guard runs the
/// command, without a shell, and looks at what it did: 0 when the file is there and whole; 1 when the tool's own catalogue
/// proves that its archive ends there; 200, which stops the server instead, in all other cases. The catalogue of pgBackRest
/// is asked by its info and repo-ls; that of a command with the archive's folder in its words, such as cp, is the folder.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Data directory of the server, instead of the folder that the command runs in
    #[arg(long, value_name = "DIR", hide_short_help = true)]
    data_directory: Option<PathBuf>,
    /// The command, with %f and %p
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Runs the command.
pub(super) fn run(args: &Args) -> Result<Exit, Report> {
    let guarded = Guarded::parse(&args.command).map_err(|error| error.report())?;
    let server = server_of(args.data_directory.as_deref())?;
    let verdict = wait(guard(&guarded, &server.cluster, server.segment_bytes))?;
    match verdict.map_err(|error| error.report())? {
        Verdict::Delivered => Ok(Exit::Good),
        Verdict::End => Ok(Exit::Answer),
    }
}
